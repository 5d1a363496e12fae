package main

import (
	"bytes"
	"context"
	"os"
	"syscall"
	"testing"
	"time"
)

// A node whose store is taken away while it runs says so in one line and ends; the others go on.
func TestStoreTakenAway(t *testing.T) {
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	conn := connect(t, ctx, c.Nodes[0].URL())
	mustExec(t, ctx, conn, `create table t (id int primary key)`)
	mustExec(t, ctx, conn, `insert into t select generate_series(1, 1000)`)
	awaitReplication(t, ctx, c)

	n := c.Nodes[2]
	before, err := os.ReadFile(n.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(n.Store); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.Done():
	case <-ctx.Done():
		t.Fatal("the node goes on without a store")
	}
	if n.ExitCode() != 1 {
		t.Errorf("exit code %d, want 1", n.ExitCode())
	}
	log, err := os.ReadFile(n.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	log = log[len(before):]
	t.Logf("%s", log)
	if lines := bytes.Count(log, []byte("\n")); lines > 10 || bytes.Count(log, []byte("the node stops")) != 1 || bytes.Contains(log, []byte("goroutine ")) {
		t.Errorf("its last words are %d lines", lines)
	}
	if !bytes.Contains(log, []byte("\nmeridian: --store (MERIDIAN_STORE): ")) {
		t.Error("the process does not say why it ends")
	}
	conn.Close(ctx)
	for _, o := range c.Nodes[:2] {
		conn := connect(t, ctx, o.URL())
		mustExec(t, ctx, conn, `update t set id = id + 1000000 where id = 1`)
		mustExec(t, ctx, conn, `update t set id = id - 1000000 where id = 1000001`)
		conn.Close(ctx)
	}
}

// When all nodes are told to end at once none waits for a quorum of the others, nor for a statement that does: not
// until the drain timeout, which is long here.
func TestStopAllAtOnce(t *testing.T) {
	c := startCluster(t, 3, "--drain-timeout", "1h")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	conn := connect(t, ctx, c.Nodes[0].URL())
	mustExec(t, ctx, conn, `create table t (id int primary key)`)
	awaitReplication(t, ctx, c)
	// On every node one client is idle, and one at work.
	for i, n := range c.Nodes {
		mustExec(t, ctx, connect(t, ctx, n.URL()), `select 1`)
		busy := connect(t, ctx, n.URL())
		go func() {
			for k := 0; ; k++ {
				if _, err := busy.Exec(ctx, `insert into t values ($1)`, 1_000_000*(i+1)+k); err != nil {
					return
				}
			}
		}()
	}
	begin := time.Now()
	for _, n := range c.Nodes {
		if err := n.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range c.Nodes {
		select {
		case <-n.Done():
			t.Logf("node %d had ended after %v", i+1, time.Since(begin).Round(time.Millisecond))
		case <-ctx.Done():
			t.Fatalf("node %d does not end", i+1)
		}
		if n.ExitCode() != 0 {
			t.Errorf("node %d: exit code %d", i+1, n.ExitCode())
		}
	}
}

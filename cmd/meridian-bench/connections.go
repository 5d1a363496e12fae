package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

const (
	connectionsActive = 200
	connectionsTime   = 10 * time.Second
	connectionBytes   = 100 << 10
)

// runConnections opens idle connections to one node and measures its memory for each, then has active ones select and
// update beside them. Each idle connection has run a statement, and answers another one at the end.
func runConnections(ctx context.Context, o options, idle int, out io.Writer) error {
	dir := filepath.Join(o.dir, "meridian")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	c, err := proc.Start(ctx, proc.Config{Binary: o.binary, Dir: dir, Nodes: o.nodes})
	if err != nil {
		return err
	}
	defer c.Close()
	m := &meridian{c}
	if _, err := pgbench(ctx, m, "-i", "-q", "-s", strconv.Itoa(o.scale), "-I", "dtGvp"); err != nil {
		return err
	}
	if err := settle(ctx, m); err != nil {
		return err
	}
	node := c.Nodes[0]
	heap0, rss0, err := inUse(ctx, node)
	if err != nil {
		return err
	}
	connect := func() (*pgx.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		conn, err := pgx.Connect(ctx, node.URL())
		if err != nil {
			return nil, err
		}
		return conn, conn.QueryRow(ctx, `select abalance from pgbench_accounts where aid = $1`, 1+rand.IntN(o.scale*tpcbAccounts)).Scan(new(int))
	}
	idlers := make([]*pgx.Conn, 0, idle)
	defer func() {
		for _, conn := range idlers {
			conn.Close(context.WithoutCancel(ctx))
		}
	}()
	began := time.Now()
	for i := range idle {
		conn, err := connect()
		if err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
		idlers = append(idlers, conn)
	}
	opened := time.Since(began)
	heap1, rss1, err := inUse(ctx, node)
	if err != nil {
		return err
	}
	each := (heap1 - heap0) / float64(idle)
	fmt.Fprintf(out, "%d idle connections, opened in %.1f s: %.1f KB of memory in use for each (after garbage collection; resident %.1f KB)\n",
		idle, opened.Seconds(), each/1024, (rss1-rss0)/float64(idle)/1024)
	var done, failed atomic.Int64
	var first atomic.Pointer[error]
	running, stop := context.WithTimeout(ctx, connectionsTime)
	defer stop()
	cpu0, err := m.cpu()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for i := range connectionsActive {
		wg.Go(func() {
			fail := func(err error) {
				failed.Add(1)
				first.CompareAndSwap(nil, &err)
			}
			conn, err := connect()
			if err != nil {
				fail(err)
				return
			}
			defer conn.Close(context.WithoutCancel(ctx))
			for n := 0; running.Err() == nil; n++ {
				aid := 1 + rand.IntN(o.scale*tpcbAccounts)
				if (n+i)%4 == 0 {
					_, err = conn.Exec(ctx, `update pgbench_accounts set abalance = abalance + 1 where aid = $1`, aid)
				} else {
					err = conn.QueryRow(ctx, `select abalance from pgbench_accounts where aid = $1`, aid).Scan(new(int))
				}
				if err != nil {
					fail(err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	cpu1, err := m.cpu()
	if err != nil {
		return err
	}
	heap2, rss2, err := inUse(ctx, node)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d active connections beside them for %s: %d statements (three selects for each update), %.0f a second, %.3f ms of CPU each, %d errors; memory in use %.0f MB, resident %.0f MB\n",
		connectionsActive, connectionsTime, done.Load(), float64(done.Load())/connectionsTime.Seconds(), ms(cpu1-cpu0)/float64(max(1, done.Load())), failed.Load(), heap2/(1<<20), rss2/(1<<20))
	for i, conn := range idlers {
		if err := conn.QueryRow(ctx, `select 1`).Scan(new(int)); err != nil {
			return fmt.Errorf("idle connection %d afterwards: %w", i+1, err)
		}
	}
	var broken error
	if failed.Load() > 0 {
		broken = fmt.Errorf("%d active connections failed, the first with: %w", failed.Load(), *first.Load())
	}
	if each > connectionBytes {
		broken = errors.Join(broken, fmt.Errorf("an idle connection takes %.0f KB, wanted at most %d KB", each/1024, connectionBytes>>10))
	}
	return broken
}

// inUse returns a node's memory, as Go's runtime counts what is in use after a garbage collection (heap and stacks), and
// as the kernel counts it.
func inUse(ctx context.Context, n *proc.Node) (heap, rss float64, err error) {
	if _, err := n.HTTP(ctx, "/debug/pprof/heap?gc=1"); err != nil {
		return 0, 0, err
	}
	for _, name := range []string{"go_memstats_heap_alloc_bytes", "go_memstats_stack_inuse_bytes"} {
		b, err := n.Metric(ctx, name)
		if err != nil {
			return 0, 0, err
		}
		heap += b
	}
	b, err := n.RSS()
	return heap, float64(b), err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

// binDir holds the binary that the tests run, once one of them has asked for it.
var binDir string

// builtBinary is the program, built once for all tests that run real processes.
var builtBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "meridian-bin")
	if err != nil {
		return "", err
	}
	binDir = dir
	path := filepath.Join(dir, "meridian")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if binDir != "" {
		os.RemoveAll(binDir)
	}
	os.Exit(code)
}

func startCluster(t *testing.T, nodes int, args ...string) *proc.Cluster {
	t.Helper()
	return startWith(t, proc.Config{Nodes: nodes})
}

// startWith starts a cluster of the test's binary in a directory of its own.
func startWith(t *testing.T, cfg proc.Config) *proc.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real processes; left out with -short")
	}
	bin, err := builtBinary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	cfg.Binary, cfg.Dir = bin, dir
	c, err := proc.Start(ctx, cfg)
	if err != nil {
		dumpLogs(t, dir)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if t.Failed() {
			dumpLogs(t, dir)
		}
	})
	return c
}

func dumpLogs(t *testing.T, dir string) {
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, path := range logs {
		text, _ := os.ReadFile(path)
		t.Logf("%s:\n%s", filepath.Base(path), text[max(0, len(text)-4000):])
	}
}

// TestKillUnderTransfers moves money between accounts through every node while one node after the other
// is killed with SIGKILL and restarted. Nothing acknowledged may be lost, the total must hold (I11), and
// every transfer that was acknowledged must be found in the ledger exactly once (I8).
func TestKillUnderTransfers(t *testing.T) {
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()

	const accounts, balance = 50, 1000
	admin := connect(t, ctx, c.Nodes[0].URL())
	mustExec(t, ctx, admin, `create table accounts (id int primary key, bal int not null check (bal >= 0))`)
	mustExec(t, ctx, admin, `create table ledger (id text primary key, src int not null, dst int not null, amount int not null)`)
	mustExec(t, ctx, admin, fmt.Sprintf(`insert into accounts select g, %d from generate_series(1, %d) g`, balance, accounts))
	admin.Close(ctx)

	awaitReplication(t, ctx, c)
	b := &bank{accounts: accounts, acked: map[string]bool{}, progress: make(chan struct{}, 1)}
	workers, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b.run(workers, w, c.Nodes[w%len(c.Nodes)].URL())
		}()
	}
	b.await(t, ctx, 20)
	for _, victim := range []int{2, 0, 1} {
		t.Logf("kill -9 node %d", victim+1)
		killed := time.Now()
		c.Nodes[victim].Kill()
		b.await(t, ctx, 1)
		t.Logf("first commit %v after the kill", time.Since(killed).Round(time.Millisecond))
		b.await(t, ctx, 20)
		if err := c.Nodes[victim].Start(); err != nil {
			t.Fatal(err)
		}
		if err := c.Nodes[victim].WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		b.await(t, ctx, 20)
	}
	stop()
	wg.Wait()

	for i, n := range c.Nodes {
		conn := connect(t, ctx, n.URL())
		var total, count int
		if err := conn.QueryRow(ctx, `select sum(bal), count(*) from accounts`).Scan(&total, &count); err != nil {
			t.Fatal(err)
		}
		if total != accounts*balance || count != accounts {
			t.Errorf("node %d: total %d over %d accounts, want %d over %d", i+1, total, count, accounts*balance, accounts)
		}
		rows, err := conn.Query(ctx, `select id from ledger`)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, id := range ids {
			found[id] = true
		}
		for id := range b.acked {
			if !found[id] {
				t.Errorf("node %d: transfer %s was acknowledged and is lost", i+1, id)
			}
		}
		t.Logf("node %d: %d transfers acknowledged, %d in the ledger", i+1, len(b.acked), len(found))
		conn.Close(ctx)
	}
}

// awaitReplication returns when every range has a voting replica on each of three nodes: before that the loss
// of a node may rightly stop a range.
func awaitReplication(t *testing.T, ctx context.Context, c *proc.Cluster) {
	t.Helper()
	conn := connect(t, ctx, c.Nodes[0].URL())
	defer conn.Close(ctx)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var replicas int
		if err := conn.QueryRow(ctx, `select min(cardinality(replicas)) from meridian.ranges`).Scan(&replicas); err != nil {
			t.Fatal(err)
		}
		if replicas >= min(3, len(c.Nodes)) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("ranges have %d replicas: %v", replicas, ctx.Err())
		}
	}
}

// bank is the transfer workload and what its clients were told.
type bank struct {
	accounts int
	mu       sync.Mutex
	acked    map[string]bool
	progress chan struct{} // a token when something was acknowledged
}

func (b *bank) await(t *testing.T, ctx context.Context, n int) {
	t.Helper()
	b.mu.Lock()
	want := len(b.acked) + n
	b.mu.Unlock()
	for {
		b.mu.Lock()
		have := len(b.acked)
		b.mu.Unlock()
		if have >= want {
			return
		}
		select {
		case <-b.progress:
		case <-ctx.Done():
			t.Fatalf("no progress: %d transfers acknowledged, waiting for %d", have, want)
		}
	}
}

func (b *bank) run(ctx context.Context, worker int, url string) {
	rng := rand.New(rand.NewPCG(uint64(worker), 1))
	var conn *pgx.Conn
	for i := 0; ctx.Err() == nil; i++ {
		if conn == nil || conn.IsClosed() {
			try, cancel := context.WithTimeout(ctx, 2*time.Second)
			c, err := pgx.Connect(try, url)
			cancel()
			if err != nil {
				select { // the node is down: do not spin
				case <-time.After(50 * time.Millisecond):
				case <-ctx.Done():
				}
				continue
			}
			conn = c
		}
		id := fmt.Sprintf("w%d-%d", worker, i)
		src, dst := 1+rng.IntN(b.accounts), 1+rng.IntN(b.accounts)
		if src == dst {
			continue
		}
		if err := b.transfer(ctx, conn, id, src, dst, 1+rng.IntN(5)); err != nil {
			continue
		}
		b.mu.Lock()
		b.acked[id] = true
		b.mu.Unlock()
		select {
		case b.progress <- struct{}{}:
		default:
		}
	}
	if conn != nil {
		closing, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn.Close(closing)
	}
}

func (b *bank) transfer(ctx context.Context, conn *pgx.Conn, id string, src, dst, amount int) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	tag, err := tx.Exec(ctx, `update accounts set bal = bal - $1 where id = $2 and bal >= $1`, amount, src)
	if err != nil {
		return err
	}
	if tag.RowsAffected() != 1 {
		return errors.New("not enough money")
	}
	if _, err := tx.Exec(ctx, `update accounts set bal = bal + $1 where id = $2`, amount, dst); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `insert into ledger values ($1, $2, $3, $4)`, id, src, dst, amount); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func connect(t *testing.T, ctx context.Context, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func mustExec(t *testing.T, ctx context.Context, conn *pgx.Conn, sql string) pgconn.CommandTag {
	t.Helper()
	tag, err := conn.Exec(ctx, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return tag
}

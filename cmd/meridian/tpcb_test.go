package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

// maxGap bounds how long no transaction may be acknowledged after a kill -9. It is a promise about an otherwise
// idle machine, so only the long tests hold the cluster to it.
const maxGap = 5 * time.Second

// long reports whether the tests that need a quiet machine, or minutes, are wanted (make test-long).
func long() bool { return os.Getenv("MERIDIAN_LONG") != "" }

// TestKillDuringPgbench runs pgbench's TPC-B while the leader's node, a follower's node, and the clients' own gateway are
// killed with SIGKILL and restarted. Eight clients of ours send pgbench's statements and name their transactions in the
// history, and move to another node when theirs is gone; where pgbench is installed it runs with eight more. Afterwards
// the balances must agree with the history (I11), every acknowledged transaction must be in it once, and none that was
// refused (I8).
func TestKillDuringPgbench(t *testing.T) {
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	createTPCB(t, ctx, c.Nodes[0].URL())
	awaitReplication(t, ctx, c)

	rounds := 1
	if long() {
		rounds = 4
	}
	b := &tpcb{nodes: c.Nodes, acked: map[string]bool{}, refused: map[string]error{}, progress: make(chan struct{}, 1)}
	benched := 0
	for range rounds {
		for _, what := range []string{"the leader", "a follower", "the gateway"} {
			leader := dataLeader(t, ctx, c)
			victim, gateway := leader, (leader+1)%3
			switch what {
			case "a follower":
				victim, gateway = (leader+1)%3, (leader+2)%3
			case "the gateway":
				victim = gateway
			}
			stopClients := b.start(ctx, gateway)
			bench := startPgbench(t, ctx, c.Nodes[gateway])
			b.await(t, ctx, 30)

			killed := time.Now()
			c.Nodes[victim].Kill()
			b.await(t, ctx, 1)
			first := time.Since(killed)
			b.await(t, ctx, 30)
			if err := c.Nodes[victim].Start(); err != nil {
				t.Fatal(err)
			}
			if err := c.Nodes[victim].WaitReady(ctx); err != nil {
				t.Fatal(err)
			}
			b.await(t, ctx, 30)
			stopClients()
			benched += bench.stop(t, ctx)

			gap := b.gapSince(killed)
			t.Logf("kill -9 of %s (node %d), clients on node %d: first commit after %v, longest silence %v; so far %d acknowledged, %d to pgbench",
				what, victim+1, gateway+1, first.Round(time.Millisecond), gap.Round(time.Millisecond), len(b.acked), benched)
			if long() && gap > maxGap {
				t.Errorf("kill -9 of %s: no transaction for %v, more than %v", what, gap, maxGap)
			}
			awaitReplication(t, ctx, c)
		}
	}
	if n := len(b.unexpected); n > 0 {
		t.Errorf("%d errors that a client of a living node must not see, such as %v", n, b.unexpected[0])
	}
	for i := range c.Nodes {
		b.check(t, ctx, i, benched)
	}
}

// createTPCB makes pgbench's tables as `pgbench -i` does.
func createTPCB(t *testing.T, ctx context.Context, url string) {
	t.Helper()
	admin := connect(t, ctx, url)
	defer admin.Close(ctx)
	for _, sql := range []string{
		`create table pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22))`,
		`create table pgbench_tellers (tid int not null, bid int, tbalance int, filler char(84)) with (fillfactor=100)`,
		`create table pgbench_accounts (aid int not null, bid int, abalance int, filler char(84)) with (fillfactor=100)`,
		`create table pgbench_branches (bid int not null, bbalance int, filler char(88)) with (fillfactor=100)`,
		`insert into pgbench_branches (bid, bbalance) values (1, 0)`,
		`insert into pgbench_tellers (tid, bid, tbalance) select g, 1, 0 from generate_series(1, 10) g`,
		`insert into pgbench_accounts (aid, bid, abalance, filler) select g, 1, 0, '' from generate_series(1, 100000) g`,
		`alter table pgbench_branches add primary key (bid)`,
		`alter table pgbench_tellers add primary key (tid)`,
		`alter table pgbench_accounts add primary key (aid)`,
	} {
		mustExec(t, ctx, admin, sql)
	}
}

// dataLeader returns the index of the node that leads most of the ranges with tables, and says who leads what.
func dataLeader(t *testing.T, ctx context.Context, c *proc.Cluster) int {
	t.Helper()
	conn := connect(t, ctx, c.Nodes[0].URL())
	defer conn.Close(ctx)
	var leaders string
	if err := conn.QueryRow(ctx, `select string_agg(start_key || ' by ' || coalesce(leader::text, 'nobody'), ', ' order by range_id) from meridian.ranges`).Scan(&leaders); err != nil {
		t.Fatal(err)
	}
	t.Logf("ranges led: %s", leaders)
	var node int
	if err := conn.QueryRow(ctx, `select leader from meridian.ranges where start_key like '/table%' and leader is not null
		group by leader order by count(*) desc, leader limit 1`).Scan(&node); err != nil {
		t.Fatal(err)
	}
	return node - 1
}

// pgbench is a run of the real program; nil where it is not installed.
type pgbench struct {
	node *proc.Node
	cmd  *exec.Cmd
	out  bytes.Buffer // read after Wait
}

// startPgbench returns when all clients are connected.
func startPgbench(t *testing.T, ctx context.Context, n *proc.Node) *pgbench {
	if exec.Command("pgbench", "--version").Run() != nil {
		return nil
	}
	p := &pgbench{node: n, cmd: exec.Command("pgbench", "-n", "-M", "prepared", "-c", "8", "-T", "600", "--max-tries", "100", n.URL())}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	conn := connect(t, ctx, n.URL())
	defer conn.Close(ctx)
	for clients := 0; clients < 8; {
		if err := conn.QueryRow(ctx, `select count(*) from pg_stat_activity where application_name = 'pgbench'`).Scan(&clients); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

var processed = regexp.MustCompile(`number of transactions actually processed: (\d+)`)

// stop ends the run and returns how many transactions pgbench saw acknowledged. pgbench reports when all its clients
// are gone: either its node was killed, or its sessions are terminated here.
func (p *pgbench) stop(t *testing.T, ctx context.Context) int {
	t.Helper()
	if p == nil {
		return 0
	}
	conn := connect(t, ctx, p.node.URL())
	defer conn.Close(ctx)
	mustExec(t, ctx, conn, `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgbench'`)
	p.cmd.Wait() // Status 2: clients were aborted.
	out := p.out.String()
	for line := range strings.Lines(out) {
		if strings.Contains(line, "ERROR") || strings.Contains(line, "FATAL") && !strings.Contains(line, "administrator command") {
			t.Errorf("pgbench on node %d: %s", p.node.Index+1, line)
		}
	}
	m := processed.FindStringSubmatch(out)
	if m == nil {
		t.Errorf("pgbench ended without a report:\n%s", out)
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// tpcb runs pgbench's transaction and remembers what its clients were told.
type tpcb struct {
	nodes    []*proc.Node
	serial   atomic.Int64
	progress chan struct{} // a token when something was acknowledged

	mu         sync.Mutex
	acked      map[string]bool
	refused    map[string]error // certainly not committed
	times      []time.Time      // of the acknowledgements
	unexpected []error
}

// start starts eight clients that prefer a node. The function it returns ends them.
func (b *tpcb) start(ctx context.Context, gateway int) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b.client(ctx, uint64(w), gateway)
		}()
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// client runs transactions, on the next node when its own is gone.
func (b *tpcb) client(ctx context.Context, seed uint64, node int) {
	rng := rand.New(rand.NewPCG(seed, uint64(b.serial.Load())))
	for ; ctx.Err() == nil; node = (node + 1) % len(b.nodes) {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		conn, err := pgx.Connect(try, b.nodes[node].URL())
		cancel()
		if err != nil {
			select { // do not spin while two nodes refuse
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		for ctx.Err() == nil && !conn.IsClosed() {
			// The filler that pgbench leaves empty names the transaction.
			id := fmt.Sprintf("t%d", b.serial.Add(1))
			committing, err := transaction(ctx, conn, id, rng)
			b.record(id, committing, err)
		}
		closing, cancel := context.WithTimeout(context.Background(), time.Second)
		conn.Close(closing)
		cancel()
	}
}

// transaction sends pgbench's TPC-B. committing says whether the error came when END was on its way.
func transaction(ctx context.Context, conn *pgx.Conn, id string, rng *rand.Rand) (committing bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	aid, tid, delta := 1+rng.IntN(100000), 1+rng.IntN(10), rng.IntN(10001)-5000
	tx, err := conn.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer tx.Rollback(ctx)
	if _, err := tx.Exec(ctx, `UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2`, delta, aid); err != nil {
		return false, err
	}
	var balance int
	if err := tx.QueryRow(ctx, `SELECT abalance FROM pgbench_accounts WHERE aid = $1`, aid).Scan(&balance); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, `UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2`, delta, tid); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, `UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = 1`, delta); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO pgbench_history (tid, bid, aid, delta, mtime, filler) VALUES ($1, 1, $2, $3, CURRENT_TIMESTAMP, $4)`,
		tid, aid, delta, id); err != nil {
		return false, err
	}
	return true, tx.Commit(ctx)
}

func (b *tpcb) record(id string, committing bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var pg *pgconn.PgError
	switch {
	case err == nil:
		b.acked[id] = true
		b.times = append(b.times, time.Now())
		select {
		case b.progress <- struct{}{}:
		default:
		}
	case errors.As(err, &pg):
		// The server lives and has answered. A conflict may be reported; that an outcome is unknown may not: two
		// nodes live, and they know it (I8).
		if pg.Code == "40001" {
			b.refused[id] = err
		} else {
			b.unexpected = append(b.unexpected, err)
		}
	case !committing:
		b.refused[id] = err // The connection was lost before END was sent.
	}
}

func (b *tpcb) await(t *testing.T, ctx context.Context, n int) {
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
			t.Fatalf("no progress: %d transactions acknowledged, waiting for %d", have, want)
		}
	}
}

// gapSince returns the longest time without an acknowledgement, from start to the last one.
func (b *tpcb) gapSince(start time.Time) (gap time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := start
	for _, at := range b.times {
		if at.After(last) {
			gap = max(gap, at.Sub(last))
			last = at
		}
	}
	return gap
}

// check compares what a node says with what the clients were told; benched transactions were acknowledged to pgbench.
func (b *tpcb) check(t *testing.T, ctx context.Context, node, benched int) {
	t.Helper()
	conn := connect(t, ctx, b.nodes[node].URL())
	defer conn.Close(ctx)
	var accounts, tellers, branches, history, n int64
	if err := conn.QueryRow(ctx, `select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers),
		(select sum(bbalance) from pgbench_branches), (select sum(delta) from pgbench_history), (select count(*) from pgbench_accounts)`).
		Scan(&accounts, &tellers, &branches, &history, &n); err != nil {
		t.Fatal(err)
	}
	if accounts != history || tellers != history || branches != history || n != 100000 {
		t.Errorf("node %d: accounts %d, tellers %d, branches %d, history %d, over %d accounts", node+1, accounts, tellers, branches, history, n)
	}
	rows, err := conn.Query(ctx, `select coalesce(rtrim(filler), '') from pgbench_history`)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	found, unnamed := map[string]int{}, 0
	for _, id := range ids {
		if id == "" {
			unnamed++
		} else {
			found[id]++
		}
	}
	for id := range b.acked {
		if found[id] == 0 {
			t.Errorf("node %d: transaction %s was acknowledged and is lost", node+1, id)
		}
	}
	for id, times := range found {
		if times > 1 {
			t.Errorf("node %d: transaction %s is in the history %d times", node+1, id, times)
		}
		if err := b.refused[id]; err != nil {
			t.Errorf("node %d: transaction %s is in the history, and its client was told %v", node+1, id, err)
		}
	}
	// Eight clients at a time may lose the answer to a commit when their node dies.
	if unnamed < benched {
		t.Errorf("node %d: %d transactions were acknowledged to pgbench, %d are in the history", node+1, benched, unnamed)
	}
	t.Logf("node %d: %d of our transactions acknowledged, %d in the history; %d of pgbench, %d in the history",
		node+1, len(b.acked), len(found), benched, unnamed)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// tpcb runs pgbench's TPC-B transactions from this process, where pgbench would give up: its clients go to another node
// when theirs has gone. Each transaction leaves its name in the history, so that it can be told at the end whether
// everything that was acknowledged is there.
type tpcb struct {
	urls    []string
	clients int
	scale   int
	slice   time.Duration // of the throughput over time

	mu      sync.Mutex
	began   time.Time
	counts  []int           // acknowledged in each slice
	last    time.Time       // of the newest acknowledgement
	pauses  []pauseSpan     // of a tenth of a second and more without one
	acked   map[string]bool // names
	retries int             // 40001 and 40P01: asked to try again
	unknown int             // the connection broke; the outcome is not known
	failed  int             // anything else
	first   error           // of those
}

const tpcbAccounts = 100_000 // for each unit of scale

// run goes on until ctx ends; transactions under way are finished.
func (t *tpcb) run(ctx context.Context) {
	t.start()
	t.mu.Lock()
	t.acked = map[string]bool{}
	t.mu.Unlock()
	var wg sync.WaitGroup
	for i := range t.clients {
		wg.Go(func() { t.client(ctx, i) })
	}
	wg.Wait()
}

func (t *tpcb) client(ctx context.Context, id int) {
	rng := rand.New(rand.NewPCG(uint64(id), 1))
	var conn *pgx.Conn
	closeConn := func() {
		if conn != nil {
			closing, cancel := context.WithTimeout(context.Background(), time.Second)
			conn.Close(closing)
			cancel()
			conn = nil
		}
	}
	defer closeConn()
	next := id
	for n := 0; ctx.Err() == nil; n++ {
		if conn == nil {
			dialing, cancel := context.WithTimeout(ctx, time.Second)
			c, err := pgx.Connect(dialing, t.urls[next%len(t.urls)])
			cancel()
			if next++; err != nil {
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
				}
				continue
			}
			conn = c
		}
		name := fmt.Sprintf("c%d-%d", id, n)
		err := t.transaction(conn, rng, name)
		t.note(name, err)
		if err != nil && conn.IsClosed() {
			closeConn()
		}
	}
}

// transaction is that of pgbench's tpcb-like script.
func (t *tpcb) transaction(conn *pgx.Conn, rng *rand.Rand, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	aid, bid, tid := 1+rng.IntN(t.scale*tpcbAccounts), 1+rng.IntN(t.scale), 1+rng.IntN(10*t.scale)
	delta := rng.IntN(10001) - 5000
	steps := []struct {
		sql  string
		args []any
	}{
		{`begin`, nil},
		{`update pgbench_accounts set abalance = abalance + $1 where aid = $2`, []any{delta, aid}},
		{`select abalance from pgbench_accounts where aid = $1`, []any{aid}},
		{`update pgbench_tellers set tbalance = tbalance + $1 where tid = $2`, []any{delta, tid}},
		{`update pgbench_branches set bbalance = bbalance + $1 where bid = $2`, []any{delta, bid}},
		{`insert into pgbench_history (tid, bid, aid, delta, mtime, filler) values ($1, $2, $3, $4, current_timestamp, $5)`, []any{tid, bid, aid, delta, name}},
		{`commit`, nil},
	}
	for _, s := range steps {
		if _, err := conn.Exec(ctx, s.sql, s.args...); err != nil {
			if !conn.IsClosed() {
				_, _ = conn.Exec(ctx, `rollback`)
			}
			return err
		}
	}
	return nil
}

func (t *tpcb) note(name string, err error) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	var pg *pgconn.PgError
	switch {
	case err == nil:
		t.acked[name] = true
		i := int(now.Sub(t.began) / t.slice)
		for len(t.counts) <= i {
			t.counts = append(t.counts, 0)
		}
		t.counts[i]++
		if !t.last.IsZero() && now.Sub(t.last) >= 100*time.Millisecond {
			t.pauses = append(t.pauses, pauseSpan{t.last, now})
		}
		t.last = now
	case errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01"):
		t.retries++
	case !errors.As(err, &pg), strings.HasPrefix(pg.Code, "57P"), pg.Code == "40003":
		t.unknown++
	default:
		if t.failed++; t.first == nil {
			t.first = err
		}
	}
}

// pauseSpan is a time in which nothing was acknowledged.
type pauseSpan struct{ from, to time.Time }

// start returns when the run began.
func (t *tpcb) start() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.began.IsZero() {
		t.began = time.Now()
	}
	return t.began
}

// longestPause returns the longest time without an acknowledgement that ended after the run had gone on for so long.
func (t *tpcb) longestPause(after time.Duration) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := t.began.Add(after)
	longest := time.Duration(0)
	for _, p := range t.pauses {
		if p.to.After(from) {
			longest = max(longest, p.to.Sub(p.from))
		}
	}
	return longest
}

// rates returns the transactions acknowledged in each slice so far, the one under way left out.
func (t *tpcb) rates() []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	whole := int(time.Since(t.began) / t.slice)
	out := make([]int, whole)
	copy(out, t.counts)
	return out
}

// check reports an acknowledged transaction that is not in the history, and balances that do not agree with it.
func (t *tpcb) check(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `select trim(filler) from pgbench_history where filler is not null`)
	if err != nil {
		return err
	}
	found := map[string]bool{}
	var name string
	twice := ""
	if _, err := pgx.ForEachRow(rows, []any{&name}, func() error {
		if found[name] {
			twice = name
		}
		found[name] = true
		return nil
	}); err != nil {
		return err
	}
	if twice != "" {
		return fmt.Errorf("transaction %s is in the history twice", twice)
	}
	for name := range t.acked {
		if !found[name] {
			return fmt.Errorf("transaction %s was acknowledged and is not in the history", name)
		}
	}
	for name, column := range map[string]string{"accounts": "abalance", "tellers": "tbalance", "branches": "bbalance"} {
		var balance, history int64
		q := fmt.Sprintf(`select (select sum(%s) from pgbench_%s), (select coalesce(sum(delta), 0) from pgbench_history)`, column, name)
		if err := conn.QueryRow(ctx, q).Scan(&balance, &history); err != nil {
			return err
		}
		if balance != history {
			return fmt.Errorf("%s hold %d, the history adds up to %d", name, balance, history)
		}
	}
	return nil
}

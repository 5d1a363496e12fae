// Package workload runs client workloads over PostgreSQL's protocol and reports rates and latencies: a bank whose
// total must hold, keys and values, YCSB's six mixes, and TPC-C's five transactions with its consistency
// conditions. It knows nothing of Meridian but what pgx tells it, so it runs against PostgreSQL as well.
//
// Execute owns the goroutines of a run, one for each client, and waits for them.
package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Workload is one kind of load. Its methods may be called by several clients at once.
type Workload interface {
	// Init makes the tables and fills them, replacing those that are there.
	Init(ctx context.Context, conn *pgx.Conn, progress io.Writer) error
	// Next runs one operation and names its kind. An error that Retryable knows makes the runner call again
	// what Next returns as retry, nil for a fresh operation.
	Next(ctx context.Context, c *Client) (kind string, err error)
	// Check looks for what must hold whatever has been done, and reports what does not.
	Check(ctx context.Context, conn *pgx.Conn) error
}

// Client is one client of a run. It belongs to one goroutine.
type Client struct {
	ID   int
	Conn *pgx.Conn
	Rand *rand.Rand // starts again at each attempt of an operation, so that a retry does the same
}

// Options configure a run.
type Options struct {
	URLs    []string      // Clients take them in turns. Required.
	Clients int           // Default 1.
	Time    time.Duration // Default 10s.
	Rate    float64       // Operations a second that all clients begin together; 0: as many as they can.
	Seed    uint64        // Of what the operations do. Default: from the clock.
	Every   time.Duration // Between progress lines; default 1s.
	Out     io.Writer     // Required.
}

// ErrFailed ends a run in which operations failed for good.
var ErrFailed = errors.New("operations failed")

// Retryable reports whether an error asks the client to run its transaction again.
func Retryable(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}

// maxAttempts bounds how often one operation is tried.
const maxAttempts = 1000

// tally is what came of the operations of one kind.
type tally struct {
	hist            *hdrhistogram.Histogram // microseconds
	retries, failed int64
}

func newTally() *tally {
	return &tally{hist: hdrhistogram.New(1, 10*60*1e6, 3)}
}

// run is a run under way.
type run struct {
	o     Options
	w     Workload
	mu    sync.Mutex
	all   map[string]*tally // of the whole run
	now   map[string]*tally // since the last progress line
	fault error             // the first failure
}

// Execute runs a workload and prints its progress and, at the end, a table. It fails with ErrFailed when an operation
// failed with anything but a request to try again.
func Execute(ctx context.Context, w Workload, o Options) error {
	if len(o.URLs) == 0 {
		return errors.New("no URL to connect to")
	}
	if o.Clients == 0 {
		o.Clients = 1
	}
	if o.Time == 0 {
		o.Time = 10 * time.Second
	}
	if o.Every == 0 {
		o.Every = time.Second
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	clients := make([]*Client, o.Clients)
	for i := range clients {
		conn, err := pgx.Connect(ctx, o.URLs[i%len(o.URLs)])
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		clients[i] = &Client{ID: i, Conn: conn}
	}
	r := &run{o: o, w: w, all: map[string]*tally{}, now: map[string]*tally{}}
	timed, cancel := context.WithTimeout(ctx, o.Time)
	defer cancel()
	began := time.Now()
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() { r.client(ctx, timed, c) })
	}
	r.report(timed, began)
	wg.Wait()
	r.table(time.Since(began))
	if r.fault != nil {
		return fmt.Errorf("%w, the first with: %w", ErrFailed, r.fault)
	}
	return ctx.Err()
}

// client runs operations until timed ends; the one under way is finished under ctx.
func (r *run) client(ctx, timed context.Context, c *Client) {
	var pace time.Duration
	if r.o.Rate > 0 {
		pace = time.Duration(float64(time.Second) * float64(r.o.Clients) / r.o.Rate)
	}
	next := time.Now()
	for op := uint64(0); timed.Err() == nil; op++ {
		if pace > 0 {
			next = next.Add(pace)
			select {
			case <-time.After(time.Until(next)):
			case <-timed.Done():
				return
			}
		}
		r.operation(ctx, c, op)
	}
}

// operation runs one operation, again when the database asks for it. Its latency is that of all attempts.
func (r *run) operation(ctx context.Context, c *Client, op uint64) {
	began := time.Now()
	for attempt := int64(0); ; attempt++ {
		c.Rand = rand.New(rand.NewPCG(r.o.Seed+uint64(c.ID)<<32, op))
		kind, err := r.w.Next(ctx, c)
		switch {
		case err != nil && Retryable(err) && attempt < maxAttempts && ctx.Err() == nil:
			continue
		case err != nil && ctx.Err() != nil:
			return
		}
		took := time.Since(began)
		r.mu.Lock()
		for _, m := range []map[string]*tally{r.all, r.now} {
			t := m[kind]
			if t == nil {
				t = newTally()
				m[kind] = t
			}
			t.retries += attempt
			if err != nil {
				t.failed++
			} else {
				_ = t.hist.RecordValue(min(max(took.Microseconds(), 1), t.hist.HighestTrackableValue()))
			}
		}
		if err != nil && r.fault == nil {
			r.fault = fmt.Errorf("%s: %w", kind, err)
		}
		r.mu.Unlock()
		if err != nil && c.Conn.IsClosed() {
			r.reconnect(ctx, c)
		}
		return
	}
}

// reconnect gives a client whose connection broke another, to the next URL.
func (r *run) reconnect(ctx context.Context, c *Client) {
	for i := c.ID; ctx.Err() == nil; i++ {
		conn, err := pgx.Connect(ctx, r.o.URLs[i%len(r.o.URLs)])
		if err == nil {
			c.Conn = conn
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// report prints a line every now and then.
func (r *run) report(timed context.Context, began time.Time) {
	tick := time.NewTicker(r.o.Every)
	defer tick.Stop()
	for last := began; ; {
		select {
		case <-timed.Done():
			return
		case at := <-tick.C:
			r.mu.Lock()
			sum := newTally()
			for _, t := range r.now {
				sum.hist.Merge(t.hist)
				sum.retries += t.retries
				sum.failed += t.failed
			}
			clear(r.now)
			r.mu.Unlock()
			fmt.Fprintf(r.o.Out, "%6.0fs %9.1f ops/s  p50 %8s  p99 %8s  max %8s  %d retries  %d failed\n", at.Sub(began).Seconds(),
				float64(sum.hist.TotalCount())/at.Sub(last).Seconds(), ms(sum.hist.ValueAtQuantile(50)), ms(sum.hist.ValueAtQuantile(99)), ms(sum.hist.Max()),
				sum.retries, sum.failed)
			last = at
		}
	}
}

func ms(micros int64) string { return fmt.Sprintf("%.2f ms", float64(micros)/1000) }

func (r *run) table(took time.Duration) {
	kinds := make([]string, 0, len(r.all))
	total := newTally()
	for k, t := range r.all {
		kinds = append(kinds, k)
		total.hist.Merge(t.hist)
		total.retries += t.retries
		total.failed += t.failed
	}
	slices.Sort(kinds)
	fmt.Fprintf(r.o.Out, "\n| operation | count | per second | mean | p50 | p95 | p99 | max | retries | failed |\n|---|---|---|---|---|---|---|---|---|---|\n")
	row := func(kind string, t *tally) {
		h := t.hist
		fmt.Fprintf(r.o.Out, "| %s | %d | %.1f | %.2f ms | %s | %s | %s | %s | %d | %d |\n", kind, h.TotalCount(), float64(h.TotalCount())/took.Seconds(),
			h.Mean()/1000, ms(h.ValueAtQuantile(50)), ms(h.ValueAtQuantile(95)), ms(h.ValueAtQuantile(99)), ms(h.Max()), t.retries, t.failed)
	}
	for _, k := range kinds {
		row(k, r.all[k])
	}
	if len(kinds) != 1 {
		row("all", total)
	}
}

// inTxn runs fn in a transaction of the client's connection.
func inTxn(ctx context.Context, c *Client, opts pgx.TxOptions, fn func(tx pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, c.Conn, opts, fn)
}

// copyRows fills a table from a generator in one COPY.
func copyRows(ctx context.Context, conn *pgx.Conn, table string, columns []string, n int, row func(i int) []any) error {
	i := -1
	_, err := conn.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromFunc(func() ([]any, error) {
		if i++; i >= n {
			return nil, nil
		}
		return row(i), nil
	}))
	if err != nil {
		return fmt.Errorf("load %s: %w", table, err)
	}
	return nil
}

// expect fails with what a query that must find nothing has found.
func expect(ctx context.Context, conn *pgx.Conn, what, query string) error {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		v, err := row.Values()
		return fmt.Sprint(v...), err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if len(found) > 0 {
		return fmt.Errorf("%s: violated %d times, first by %s", what, len(found), found[0])
	}
	return nil
}

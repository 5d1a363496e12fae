package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

const (
	indexWarm  = 10 * time.Second // TPC-B before an index is made
	indexRest  = 2 * time.Second
	indexLeast = 0.5 // of the throughput before, in any slice

	ddlRuns   = 30
	ddlMedian = 50 * time.Millisecond
	ddlTables = 100
	ddlAll    = 2 * time.Second
)

// indexSlice is long enough for a rate: what a second's figure leaves to chance is a few percent.
const indexSlice = time.Second

// indexRun is TPC-B under way, and what it shares the machine with.
type indexRun struct {
	*tpcb
	out     io.Writer
	machine *machine
}

// stretch is a part of the run, in slices.
type stretch struct{ from, to int }

// during waits for so long and returns the whole slices of that time.
func (r *indexRun) during(ctx context.Context, d time.Duration) (stretch, error) {
	from := len(r.rates())
	select {
	case <-time.After(d):
		return stretch{from, len(r.rates())}, nil
	case <-ctx.Done():
		return stretch{}, ctx.Err()
	}
}

// least returns the slice with the fewest transactions.
func (r *indexRun) least(s stretch) int {
	rates, at := r.rates(), s.from
	for i := s.from; i < s.to; i++ {
		if rates[i] < rates[at] {
			at = i
		}
	}
	return at
}

func (r *indexRun) mean(s stretch) float64 { return perSecond(r.rates()[s.from:s.to]) }

// share is the rate of the least slice in that of a whole stretch.
func (r *indexRun) share(least, of stretch) float64 {
	return perSecond(r.rates()[r.least(least):][:1]) / r.mean(of)
}

// low prints the slices below a share of a rate, with the processor time that others had in them: what they took from the
// servers says nothing about an index.
func (r *indexRun) low(what string, s stretch, rate float64) {
	for i, rates := s.from, r.rates(); i < s.to; i++ {
		if float64(rates[i]) < lowShare*rate*indexSlice.Seconds() {
			fmt.Fprintf(r.out, "%s: second %d: %d transactions, %.0f%%; %s\n", what, i-s.from+1, rates[i], 100*float64(rates[i])/(rate*indexSlice.Seconds()), r.machine.in(i))
		}
	}
}

// lowShare is from where on a slice is worth a line.
const lowShare = 0.65

// runIndex makes two indexes over a million accounts and more while clients run TPC-B: one over a column that nobody
// changes, one over the balances that every transaction changes. After each the clients go on for as long again, so that
// what they lose to an index can be told from what they lose to the machine.
func runIndex(ctx context.Context, o options, clients int, out io.Writer) error {
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
	conn, err := pgx.Connect(ctx, c.Nodes[0].URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	t := &tpcb{urls: m.target(), clients: clients, scale: o.scale, slice: indexSlice}
	r := &indexRun{tpcb: t, out: out, machine: &machine{servers: m.cpu}}
	running, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	began := t.start()
	wg.Go(func() { t.run(running) })
	wg.Go(func() { r.machine.watch(running, began, indexSlice) })
	if _, err := r.during(ctx, indexRest); err != nil { // connections and plans
		return err
	}
	profile := func(what string) {
		if o.profile != "" {
			go m.saveProfile(ctx, filepath.Join(o.profile, what+"-n%d.pprof"), o.seconds)
		}
	}
	var broken error
	var table strings.Builder
	fmt.Fprintf(&table, "| index | took s | tps before | tps meanwhile | least in %s | alone afterwards | least in %[1]s |\n|---|---|---|---|---|---|---|\n", indexSlice)
	for i, columns := range []string{"bid, aid", "abalance"} {
		before, err := r.during(ctx, indexWarm)
		if err != nil {
			return err
		}
		build := stretch{from: before.to}
		began := time.Now()
		profile(fmt.Sprintf("index%d-build", i+1))
		if _, err := conn.Exec(ctx, fmt.Sprintf(`create index on pgbench_accounts (%s)`, columns)); err != nil {
			return fmt.Errorf("create index on (%s): %w", columns, err)
		}
		took := time.Since(began)
		rest, err := r.during(ctx, indexRest)
		if err != nil {
			return err
		}
		build.to = rest.from + 1 // the slice in which it ended
		profile(fmt.Sprintf("index%d-alone", i+1))
		alone, err := r.during(ctx, took)
		if err != nil {
			return err
		}
		rate := r.mean(before)
		fmt.Fprintf(&table, "| (%s) | %.1f | %.0f | %.0f (%.0f%%) | %.0f%% | %.0f | %.0f%% |\n", columns, took.Seconds(), rate, r.mean(build),
			100*r.mean(build)/rate, 100*r.share(build, before), r.mean(alone), 100*r.share(alone, alone))
		r.low(fmt.Sprintf("index on (%s)", columns), build, rate)
		r.low("alone afterwards", alone, r.mean(alone))
		if s := r.share(build, before); s < indexLeast && s < r.share(alone, alone) {
			broken = errors.Join(broken, fmt.Errorf("index on (%s): in one second %.0f%% of the transactions before; alone never less than %.0f%%", columns, 100*s, 100*r.share(alone, alone)))
		}
	}
	stop()
	wg.Wait()
	fmt.Fprint(out, table.String())
	fmt.Fprintf(out, "%d transactions, %d failed, %d asked to be tried again; rates %v\n", len(t.acked), t.failed+t.unknown, t.retries, t.counts)
	if t.failed+t.unknown > 0 {
		broken = errors.Join(broken, fmt.Errorf("%d transactions failed, the first with: %w", t.failed+t.unknown, t.first))
	}
	if err := t.check(ctx, c.Nodes[1].URL()); err != nil {
		return errors.Join(broken, err)
	}
	return errors.Join(broken, checkIndexes(ctx, conn, out))
}

// checkIndexes compares what the new indexes hold with the table.
func checkIndexes(ctx context.Context, conn *pgx.Conn, out io.Writer) error {
	count := func(q string) (n, sum int64, err error) {
		err = conn.QueryRow(ctx, q).Scan(&n, &sum)
		return n, sum, err
	}
	if _, err := conn.Exec(ctx, `set enable_seqscan = off`); err != nil {
		return err
	}
	defer conn.Exec(ctx, `reset enable_seqscan`)
	for _, q := range [][2]string{
		{`select count(*), sum(abalance)::bigint from pgbench_accounts where aid > 0`, `select count(*), sum(abalance)::bigint from pgbench_accounts where abalance >= -2147483648`},
		{`select count(*), sum(bid)::bigint from pgbench_accounts where aid > 0`, `select count(*), sum(bid)::bigint from pgbench_accounts where bid > 0`},
	} {
		n, sum, err := count(q[0])
		if err != nil {
			return err
		}
		m, isum, err := count(q[1])
		if err != nil {
			return err
		}
		if n != m || sum != isum {
			return fmt.Errorf("the table has %d rows with the sum %d, %q finds %d with %d", n, sum, q[1], m, isum)
		}
	}
	fmt.Fprintln(out, "the indexes hold what the table holds")
	return nil
}

func perSecond(slices []int) float64 {
	sum := 0
	for _, n := range slices {
		sum += n
	}
	return float64(sum) / (float64(len(slices)) * indexSlice.Seconds())
}

// runDDL measures schema changes on a cluster that does nothing else.
func runDDL(ctx context.Context, o options, out io.Writer) error {
	dir := filepath.Join(o.dir, "meridian")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	c, err := proc.Start(ctx, proc.Config{Binary: o.binary, Dir: dir, Nodes: o.nodes})
	if err != nil {
		return err
	}
	defer c.Close()
	conn, err := pgx.Connect(ctx, c.Nodes[o.nodes-1].URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if err := waitReplicated(ctx, conn, o.nodes); err != nil {
		return err
	}
	kinds := []string{
		`create table ddl%d (id int primary key, a int, b text)`,
		`alter table ddl%d add column c int default 7`,
		`alter table ddl%d add column d text`,
		`create index ddl%[1]d_a on ddl%[1]d (a)`,
		`create view ddl%[1]d_v as select id, a from ddl%[1]d`,
		`alter table ddl%d rename column b to e`,
		`drop view ddl%d_v`,
		`drop index ddl%d_a`,
		`alter table ddl%d drop column d`,
		`truncate ddl%d`,
		`drop table ddl%d`,
	}
	took := make([][]time.Duration, len(kinds))
	var all []time.Duration
	for i := range ddlRuns {
		for k, format := range kinds {
			began := time.Now()
			if _, err := conn.Exec(ctx, fmt.Sprintf(format, i)); err != nil {
				return fmt.Errorf(format+": %w", i, err)
			}
			d := time.Since(began)
			took[k], all = append(took[k], d), append(all, d)
		}
	}
	fmt.Fprintf(out, "| statement | median ms | p90 ms |\n|---|---|---|\n")
	for k, format := range kinds {
		fmt.Fprintf(out, "| %s | %.1f | %.1f |\n", fmt.Sprintf(format, 1), ms(median(took[k])), ms(quantile(took[k], 0.9)))
	}
	fmt.Fprintf(out, "| all of them | %.1f | %.1f |\n", ms(median(all)), ms(quantile(all, 0.9)))
	began := time.Now()
	if err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for i := range ddlTables {
			if _, err := tx.Exec(ctx, fmt.Sprintf(`create table many%d (id int primary key, a int unique, b text not null default 'x')`, i)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	many := time.Since(began)
	fmt.Fprintf(out, "%d CREATE TABLEs in one transaction: %.2f s\n", ddlTables, many.Seconds())
	var broken error
	if median(all) > ddlMedian {
		broken = fmt.Errorf("median of schema changes %.1f ms, wanted at most %s", ms(median(all)), ddlMedian)
	}
	if many > ddlAll {
		broken = errors.Join(broken, fmt.Errorf("%d tables in one transaction took %.2f s, wanted at most %s", ddlTables, many.Seconds(), ddlAll))
	}
	return broken
}

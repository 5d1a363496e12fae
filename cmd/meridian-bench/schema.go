package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

const (
	indexWarm  = 10 * time.Second // TPC-B before and after the index is made
	indexLeast = 0.5              // of the throughput before, in any slice

	ddlRuns   = 30
	ddlMedian = 50 * time.Millisecond
	ddlTables = 100
	ddlAll    = 2 * time.Second
)

// indexSlice is long enough for a rate: what a second's figure leaves to chance is a few percent.
const indexSlice = time.Second

// runIndex makes two indexes over a million accounts and more while clients run TPC-B: one over a column that nobody
// changes, one over the balances that every transaction changes.
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
	running, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { t.run(running) })
	pause := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := pause(2*time.Second + indexWarm); err != nil { // two seconds for connections and plans
		return err
	}
	var broken error
	fmt.Fprintf(out, "| index | took s | tps before | tps meanwhile | least in %s | after |\n|---|---|---|---|---|---|\n", indexSlice)
	for _, columns := range []string{"bid, aid", "abalance"} {
		from := len(t.rates())
		before := t.rates()[from-int(indexWarm/indexSlice):]
		began := time.Now()
		if _, err := conn.Exec(ctx, fmt.Sprintf(`create index on pgbench_accounts (%s)`, columns)); err != nil {
			return fmt.Errorf("create index on (%s): %w", columns, err)
		}
		took := time.Since(began)
		// Whole slices only: the last one may have seen little of it.
		if err := pause(indexSlice); err != nil {
			return err
		}
		during := t.rates()[from:]
		if err := pause(2*time.Second + indexWarm); err != nil {
			return err
		}
		all := t.rates()
		after := all[len(all)-int(indexWarm/indexSlice):]
		least := slices.Min(during)
		fmt.Fprintf(out, "| (%s) | %.1f | %.0f | %.0f | %.0f | %.0f |\n", columns, took.Seconds(), perSecond(before), perSecond(during),
			float64(least)/indexSlice.Seconds(), perSecond(after))
		if float64(least)/indexSlice.Seconds() < indexLeast*perSecond(before) {
			broken = errors.Join(broken, fmt.Errorf("index on (%s): %d transactions in a second, below %.0f%% of %.0f", columns, least, 100*indexLeast, perSecond(before)))
		}
	}
	stop()
	wg.Wait()
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

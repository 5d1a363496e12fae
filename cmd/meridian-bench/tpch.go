package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/meridian-db/meridian/cmd/internal/tpch"
)

// tpchOptions configure the TPC-H comparison.
type tpchOptions struct {
	scale   float64
	runs    int
	queries []string // names, nil for all
	golden  string   // file to write PostgreSQL's answers to, instead of measuring
	explain bool
}

// runTPCH loads the same data into Meridian and into a single PostgreSQL server, compares the answers to the 22
// queries and prints both times with their ratio. Each query's time is the best of some runs, taken in turn.
func runTPCH(ctx context.Context, o options, out io.Writer) error {
	t := o.tpch
	p, err := startPostgres(ctx, o, 1)
	if err != nil {
		return err
	}
	defer p.close()
	pg, err := connect(ctx, p)
	if err != nil {
		return err
	}
	defer pg.Close(ctx)
	if err := load(ctx, p, pg, t.scale, out); err != nil {
		return err
	}
	if t.golden != "" {
		return writeGolden(ctx, pg, t)
	}
	m, err := startMeridian(ctx, o)
	if err != nil {
		return err
	}
	defer m.close()
	mer, err := connect(ctx, m)
	if err != nil {
		return err
	}
	defer mer.Close(ctx)
	if err := load(ctx, m, mer, t.scale, out); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n| query | rows | postgres ms | meridian ms | ratio | postgres cpu ms | meridian cpu ms | answer |\n|---|---|---|---|---|---|---|---|\n")
	var ratios []float64
	wrong := 0
	for _, q := range tpch.Queries(t.scale) {
		if len(t.queries) > 0 && !slices.Contains(t.queries, q.Name) {
			continue
		}
		want, _, _, err := timed(ctx, p, pg, q.Text)
		if err != nil {
			return fmt.Errorf("postgres %s: %w", q.Name, err)
		}
		got, _, _, err := timed(ctx, m, mer, q.Text)
		if err != nil {
			fmt.Fprintf(out, "| %s | | | | | | | %v |\n", q.Name, err)
			wrong++
			if mer.IsClosed() {
				return err
			}
			continue
		}
		verdict := "same"
		if got != want {
			verdict = "DIFFERENT"
			wrong++
			fmt.Fprintf(os.Stderr, "%s postgres:\n%.2000s\nmeridian:\n%.2000s\n", q.Name, want, got)
		}
		if o.profile != "" {
			if err := profileQuery(ctx, m, mer, q, o.profile); err != nil {
				return err
			}
		}
		best := func(s system, conn *pgconn.PgConn, sofar, cpu time.Duration) (time.Duration, time.Duration, error) {
			_, d, c, err := timed(ctx, s, conn, q.Text)
			if err != nil || sofar > 0 && sofar < d {
				return sofar, cpu, err
			}
			return d, c, nil
		}
		var pt, mt, pc, mc time.Duration
		for range t.runs {
			if pt, pc, err = best(p, pg, pt, pc); err != nil {
				return err
			}
			if mt, mc, err = best(m, mer, mt, mc); err != nil {
				return err
			}
		}
		ratio := float64(mt) / float64(pt)
		ratios = append(ratios, ratio)
		rows := 0
		for _, c := range want {
			if c == '\n' {
				rows++
			}
		}
		fmt.Fprintf(out, "| %s | %d | %.1f | %.1f | %.2f | %.0f | %.0f | %s |\n", q.Name, rows, ms(pt), ms(mt), ratio, ms(pc), ms(mc), verdict)
		if t.explain {
			plan, err := tpch.Answer(ctx, mer, "EXPLAIN ANALYZE "+q.Text)
			if err != nil {
				plan = err.Error()
			}
			fmt.Fprintf(os.Stderr, "%s\n%s\n", q.Name, plan)
		}
	}
	slices.Sort(ratios)
	under := 0
	for _, r := range ratios {
		if r < 2 {
			under++
		}
	}
	if len(ratios) > 0 {
		fmt.Fprintf(out, "\n%d queries: ratio at most %.2f, median %.2f, below 2 in %d; %d with a wrong answer\n",
			len(ratios), ratios[len(ratios)-1], ratios[len(ratios)/2], under, wrong)
	}
	if wrong > 0 {
		return errors.New("answers differ from PostgreSQL's")
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func connect(ctx context.Context, s system) (*pgconn.PgConn, error) {
	return pgconn.Connect(ctx, s.target()[0])
}

func load(ctx context.Context, s system, conn *pgconn.PgConn, scale float64, out io.Writer) error {
	start := time.Now()
	if err := tpch.Load(ctx, conn, scale); err != nil {
		return fmt.Errorf("%s: %w", s.name(), err)
	}
	loaded := time.Since(start)
	if _, err := conn.Exec(ctx, "VACUUM ANALYZE").ReadAll(); err != nil {
		return err
	}
	if err := settle(ctx, s); err != nil {
		return err
	}
	fmt.Fprintf(out, "loaded %-10s scale %g: %.1f s, and %.1f s until its background work was done\n", s.name(), scale,
		loaded.Seconds(), (time.Since(start) - loaded).Seconds())
	return nil
}

// timed runs a query; cpu is what the server processes used meanwhile.
func timed(ctx context.Context, s system, conn *pgconn.PgConn, query string) (answer string, wall, cpu time.Duration, err error) {
	before, err := s.cpu()
	if err != nil {
		return "", 0, 0, err
	}
	start := time.Now()
	answer, err = tpch.Answer(ctx, conn, query)
	wall = time.Since(start)
	if err != nil {
		return "", 0, 0, err
	}
	after, err := s.cpu()
	return answer, wall, after - before, err
}

// profileQuery runs a query over and over while the gateway takes a CPU profile.
func profileQuery(ctx context.Context, m *meridian, conn *pgconn.PgConn, q tpch.Query, dir string) error {
	const seconds = 5
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.saveProfile(ctx, filepath.Join(dir, q.Name+".pprof"), seconds)
	}()
	for {
		if _, err := tpch.Answer(ctx, conn, q.Text); err != nil {
			return err
		}
		select {
		case <-done:
			return nil
		default:
		}
	}
}

func writeGolden(ctx context.Context, pg *pgconn.PgConn, t tpchOptions) error {
	f, err := os.Create(t.golden)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, q := range tpch.Queries(t.scale) {
		a, err := tpch.Answer(ctx, pg, q.Text)
		if err != nil {
			return fmt.Errorf("%s: %w", q.Name, err)
		}
		fmt.Fprintf(f, "-- %s\n%s", q.Name, a)
	}
	return f.Close()
}

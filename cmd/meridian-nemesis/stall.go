package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

// stallWatch writes down who waits for what when nothing has committed for a while: an outage that mends itself
// leaves no other trace.
type stallWatch struct {
	cluster *proc.Cluster
	w       *workload
	after   time.Duration // without a commit
	dir     string
	out     io.Writer
	n       int
}

// stallViews are asked of each node by itself; a node that is stuck may not answer some of them.
var stallViews = []string{
	`select * from meridian.transactions`,
	`select * from meridian.locks`,
	`select * from meridian.ranges`,
	`select * from pg_stat_activity`,
}

// run watches until ctx ends. One stall is written down once.
func (s *stallWatch) run(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	seen := time.Time{}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		last := s.w.lastCommit()
		if last.IsZero() || last.Equal(seen) || time.Since(last) < s.after {
			continue
		}
		seen = last
		s.n++
		dir := filepath.Join(s.dir, fmt.Sprintf("stall%d", s.n))
		if err := s.write(ctx, dir); err != nil {
			fmt.Fprintf(s.out, "  stall not written down: %v\n", err)
			continue
		}
		fmt.Fprintf(s.out, "  %s nothing committed since %s: %s\n", time.Now().Format("15:04:05.000"), last.Format("15:04:05.000"), dir)
	}
}

func (s *stallWatch) write(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for _, n := range s.cluster.Nodes {
		name := filepath.Join(dir, fmt.Sprintf("node%d.", n.Index+1))
		// The goroutines first and by themselves: they are what the moment is about.
		wg.Go(func() {
			save(name+"goroutines", func() (string, error) { return stallPage(ctx, n, "/debug/pprof/goroutine?debug=2") })
		})
		wg.Go(func() { save(name+"metrics", func() (string, error) { return stallPage(ctx, n, "/metrics") }) })
		wg.Go(func() { save(name+"views", func() (string, error) { return stallTables(ctx, n) }) })
	}
	wg.Wait()
	return nil
}

func save(path string, get func() (string, error)) {
	text, err := get()
	if err != nil {
		text += "\n" + err.Error() + "\n"
	}
	_ = os.WriteFile(path, []byte(text), 0o644)
}

const stallPatience = 2 * time.Second

func stallPage(ctx context.Context, n *proc.Node, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stallPatience)
	defer cancel()
	return n.HTTP(ctx, path)
}

func stallTables(ctx context.Context, n *proc.Node) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stallPatience)
	defer cancel()
	conn, err := pgx.Connect(ctx, n.URL())
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var b strings.Builder
	for _, q := range stallViews {
		rows, err := conn.Query(ctx, q, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return b.String(), err
		}
		fmt.Fprintf(&b, "# %s\n", q)
		for _, f := range rows.FieldDescriptions() {
			fmt.Fprintf(&b, "%s\t", f.Name)
		}
		b.WriteByte('\n')
		for rows.Next() {
			for _, v := range rows.RawValues() {
				fmt.Fprintf(&b, "%s\t", v)
			}
			b.WriteByte('\n')
		}
		if rows.Close(); rows.Err() != nil {
			return b.String(), rows.Err()
		}
	}
	return b.String(), nil
}

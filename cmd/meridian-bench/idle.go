package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

// Ranges of a few rows each: what is measured is the range, not its data.
const (
	idleSplitBytes = 4096
	idleRowBytes   = 1400
	idleChunk      = 500
	idleRest       = 65 * time.Second
	idleWindow     = 30 * time.Second
)

// runIdle makes a cluster with many ranges, starts it anew, and measures CPU, memory and the start of three
// processes that nobody asks for anything.
func runIdle(ctx context.Context, o options, out io.Writer) error {
	dir := filepath.Join(o.dir, "meridian")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	c, err := proc.Start(ctx, proc.Config{Binary: o.binary, Dir: dir, Nodes: o.nodes,
		Args: []string{"--range-max-bytes", fmt.Sprint(idleSplitBytes)}})
	if err != nil {
		return err
	}
	defer c.Close()
	before, err := rss(c)
	if err != nil {
		return err
	}
	begin := time.Now()
	ranges, err := fillRanges(ctx, c, o.idle)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d ranges made in %.1f s\n", ranges, time.Since(begin).Seconds())
	for _, n := range c.Nodes {
		if err := n.Signal(syscall.SIGTERM); err != nil {
			return err
		}
	}
	for _, n := range c.Nodes {
		<-n.Done()
	}
	c.SetArgs()
	begin = time.Now()
	errs := make(chan error, len(c.Nodes))
	for _, n := range c.Nodes {
		go func() {
			err := n.Start()
			if err == nil {
				err = n.WaitReady(ctx)
			}
			errs <- err
		}()
	}
	for range c.Nodes {
		if err := <-errs; err != nil {
			return err
		}
	}
	ready := time.Since(begin)
	m := &meridian{c}
	start, err := m.cpu()
	if err != nil {
		return err
	}
	// A minute after the start every range is asked once for garbage.
	select {
	case <-time.After(idleRest):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := settle(ctx, m); err != nil {
		return err
	}
	if o.profile != "" {
		defer profileAll(ctx, o, c)()
	}
	cpu0, err := m.cpu()
	if err != nil {
		return err
	}
	begin = time.Now()
	select {
	case <-time.After(idleWindow):
	case <-ctx.Done():
		return ctx.Err()
	}
	cpu1, err := m.cpu()
	if err != nil {
		return err
	}
	after, err := rss(c)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "| ranges | idle CPU, %d processes together | memory a range and node | all nodes started to ready | CPU of that |\n|---|---|---|---|---|\n", len(c.Nodes))
	fmt.Fprintf(out, "| %d | %.2f %% of a core | %.1f KB | %.1f s | %.1f s |\n", ranges, 100*float64(cpu1-cpu0)/float64(time.Since(begin)),
		float64(after-before)/float64(len(c.Nodes)*ranges)/1024, ready.Seconds(), start.Seconds())
	return nil
}

func rss(c *proc.Cluster) (int64, error) {
	var sum int64
	for _, n := range c.Nodes {
		b, err := n.RSS()
		if err != nil {
			return 0, err
		}
		sum += b
	}
	return sum, nil
}

// fillRanges inserts rows until there are so many ranges.
func fillRanges(ctx context.Context, c *proc.Cluster, want int) (int, error) {
	conn, err := pgx.Connect(ctx, c.Nodes[0].URL())
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `create table idle (id int primary key, filler text)`); err != nil {
		return 0, err
	}
	rows := 0
	for {
		held, err := c.Nodes[0].Metric(ctx, "meridian_range_replicas") // the view would list them all
		if err != nil {
			return 0, err
		}
		ranges := int(held)
		switch {
		case ranges >= want:
			return ranges, nil
		case rows > 2*ranges+4*idleChunk:
			// Let the splits catch up.
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				return 0, ctx.Err()
			}
			continue
		}
		_, err = conn.Exec(ctx, `insert into idle select g, repeat('x', $3) from generate_series($1::int, $2::int) g`, rows, rows+idleChunk-1, idleRowBytes)
		if err != nil {
			return 0, fmt.Errorf("after %d rows: %w", rows, err)
		}
		rows += idleChunk
	}
}

// profileAll starts a CPU profile of every node and returns a function that waits for them.
func profileAll(ctx context.Context, o options, c *proc.Cluster) func() {
	var wg sync.WaitGroup
	for i, n := range c.Nodes {
		wg.Add(1)
		go func() {
			defer wg.Done()
			page, err := n.HTTP(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(idleWindow.Seconds())))
			if err == nil {
				err = os.WriteFile(filepath.Join(o.profile, fmt.Sprintf("idle-%d.pprof", i+1)), []byte(page), 0o644)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "profile:", err)
			}
		}()
	}
	return wg.Wait
}

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

// lagSample is how often the followers' metrics are read. It has no common factor with the periods in which leaders close
// time.
const lagSample = 73 * time.Millisecond

// lagSetting is a network and a clock under which the lag of followers is measured. All leaders and clients are on the
// first node.
type lagSetting struct {
	name     string
	trips    [2]time.Duration // round trips from the first node to the other two, on top of the machine's own
	stated   time.Duration    // the error that the time servers admit; zero: as little as they can
	distance time.Duration    // round trip between the other two
}

var lagSettings = []lagSetting{
	{name: "one site"},
	{name: "one site, clocks as in the paper", stated: 4 * time.Millisecond},
	{name: "three regions", trips: [2]time.Duration{geoNear, geoFar}, distance: 150 * time.Millisecond},
}

// runLag measures, under TPC-B, how far the safe time of followers is behind, beside what it should be: the width of the
// clock's interval, which is what a commit has to wait, and one way of the network.
func runLag(ctx context.Context, o options, clients int, out io.Writer) error {
	fmt.Fprintf(out, "| setting | clients | tps | follower | interval ms | one way ms | limit ms | median lag ms | p90 ms | samples |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for i, set := range lagSettings {
		dir := filepath.Join(o.dir, fmt.Sprintf("lag%d", i))
		if err := lagOf(ctx, o, set, clients, dir, out); err != nil {
			return fmt.Errorf("%s: %w", set.name, err)
		}
		os.RemoveAll(dir)
	}
	return nil
}

func lagOf(ctx context.Context, o options, set lagSetting, clients int, dir string, out io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	matrix := filepath.Join(dir, "latency")
	lines := fmt.Sprintf("r1 r2 %s\nr1 r3 %s\nr2 r3 %s\n", set.trips[0], set.trips[1], set.distance)
	if err := os.WriteFile(matrix, []byte(lines), 0o644); err != nil {
		return err
	}
	c, err := proc.Start(ctx, proc.Config{Binary: o.binary, Dir: dir})
	if err != nil {
		return err
	}
	defer c.Close()
	home := c.Nodes[0]
	if _, err := pgbench(ctx, &meridian{c}, "-i", "-q", "-s", strconv.Itoa(o.scale), "-I", "dtGp"); err != nil {
		return err
	}
	// The rows are there: from here on the nodes are far apart, and their clocks as they should be.
	c.SetArgs("--simulated-latency", matrix)
	for i := range c.TimeServers() {
		if set.stated > 0 {
			if err := c.StartTimeServer(i, "--root-dispersion", set.stated.String()); err != nil {
				return err
			}
		}
	}
	for _, n := range c.Nodes {
		n.Stop()
		if err := n.Start(); err != nil {
			return err
		}
		if err := n.WaitReady(ctx); err != nil {
			return err
		}
	}
	conn, err := pgx.Connect(ctx, home.URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if err := leadAtHome(ctx, conn); err != nil {
		return err
	}
	if err := settle(ctx, &meridian{c}); err != nil {
		return err
	}
	t := &tpcb{clients: clients, scale: o.scale, slice: time.Second, urls: []string{home.URL()}}
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { t.run(running) })
	var width []time.Duration
	lags := make([][]time.Duration, len(c.Nodes))
	tick := time.NewTicker(lagSample)
	defer tick.Stop()
	// The first seconds are the leaders' to see what is written to.
	for warm, end := t.start().Add(5*time.Second), t.start().Add(5*time.Second+time.Duration(o.seconds)*time.Second); time.Now().Before(end); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if time.Now().Before(warm) {
			continue
		}
		for i, n := range c.Nodes[1:] {
			lag, err := n.Metric(ctx, "meridian_range_follower_safe_time_lag_median_seconds")
			if err != nil {
				return err
			}
			bound, err := n.Metric(ctx, "meridian_clock_bound_seconds")
			if err != nil {
				return err
			}
			lags[i] = append(lags[i], seconds(lag))
			width = append(width, seconds(2*bound))
		}
	}
	stop()
	wg.Wait()
	tps := rate(t.rates()[5:], t.slice)
	for i := range c.Nodes[1:] {
		way := set.trips[i] / 2
		fmt.Fprintf(out, "| %s | %d | %.0f | r%d | %.1f | %.0f | %.1f | %.1f | %.1f | %d |\n", set.name, clients, tps, i+2, ms(median(width)), ms(way),
			ms(median(width)+way), ms(median(lags[i])), ms(quantile(lags[i], 0.9)), len(lags[i]))
	}
	if t.failed > 0 {
		return fmt.Errorf("%d transactions failed, the first with: %w", t.failed, t.first)
	}
	return t.check(ctx, home.URL())
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// leadAtHome has the first node lead the range of all tables, which is the last one, and waits until it does.
func leadAtHome(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, `alter tablespace pg_default set (leaders = 'r1')`); err != nil {
		return err
	}
	return awaitBank(ctx, conn, "the tables' leader in the first region", `select count(*) = 3 and count(*) filter (where role = 'leader' and region = 'r1') = 1 from meridian.replicas where range_id = (select range_id from meridian.ranges order by start_key desc limit 1)`)
}

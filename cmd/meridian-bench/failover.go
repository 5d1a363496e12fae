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

// The setting of Figure 5 of the Spanner paper, on one machine: five regions of one node, three replicas of every range,
// all leaders in the first region. Clients are in the last two regions, of which none is ever killed.
const (
	failoverNodes   = 5
	failoverClients = 8
	failoverSlice   = 250 * time.Millisecond
	failoverKill    = 10 * time.Second // of load before
	failoverAfter   = 20 * time.Second // and after
	failoverRanges  = 2 << 20          // range size, for some tens of ranges
	failoverGap     = 5 * time.Second
	failoverHealed  = 2 * time.Minute
	// A node that said it was going is waited for so long; by default it is five minutes.
	failoverReplace = 30 * time.Second
)

// failoverCase is one of the figure's three lines.
type failoverCase struct {
	name   string
	victim int
	notice bool // SIGTERM instead of SIGKILL: leaders are handed over first
}

var failoverCases = []failoverCase{
	{"non-leader", 1, false},
	{"leader with notice", 0, true},
	{"leader without notice", 0, false},
}

type failoverResult struct {
	failoverCase
	rates  []int // in each failoverSlice
	killed time.Duration
	lags   []time.Duration // median safe-time lags of followers, sampled under load
}

// runFailover kills a region under TPC-B in three ways, each on a new cluster, and measures throughput over time, the
// longest time without a commit, and how long it is until every range has three live replicas again. plot is where an
// SVG of it goes, if anywhere.
func runFailover(ctx context.Context, o options, plot string, out io.Writer) error {
	var results []failoverResult
	var broken error
	fmt.Fprintf(out, "| killed | tps before | longest pause s | tps after | asked to try again | unknown outcome | failed | three live replicas after s | safe-time lag of followers, median ms |\n|---|---|---|---|---|---|---|---|---|\n")
	for i, fc := range failoverCases {
		dir := filepath.Join(o.dir, fmt.Sprintf("failover%d", i))
		r, err := failover(ctx, o, fc, dir, out)
		if err != nil {
			if r == nil {
				return fmt.Errorf("%s: %w", fc.name, err)
			}
			broken = errors.Join(broken, fmt.Errorf("%s: %w", fc.name, err))
		}
		results = append(results, *r)
		os.RemoveAll(dir)
	}
	if plot != "" {
		return errors.Join(broken, os.WriteFile(plot, failoverPlot(results), 0o644))
	}
	return broken
}

func failover(ctx context.Context, o options, fc failoverCase, dir string, out io.Writer) (*failoverResult, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	c, err := proc.Start(ctx, proc.Config{Binary: o.binary, Dir: dir, Nodes: failoverNodes, Args: []string{
		"--range-max-bytes", fmt.Sprint(failoverRanges), "--replace-after", failoverReplace.String()}})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	client := c.Nodes[failoverNodes-1]
	conn, err := pgx.Connect(ctx, client.URL())
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `create tablespace bank location '' with (leaders = 'r1', regions = 'r1,r2,r3', replicas = 3)`); err != nil {
		return nil, err
	}
	if _, err := pgbench(ctx, &meridian{c}, "-i", "-q", "-s", strconv.Itoa(o.scale), "-I", "dtGp", "--tablespace=bank"); err != nil {
		return nil, err
	}
	// The policy that the failover is about: three replicas anywhere, so that a lost region can be replaced.
	if _, err := conn.Exec(ctx, `alter tablespace bank reset (regions)`); err != nil {
		return nil, err
	}
	if err := awaitBank(ctx, conn, "all leaders in the first region", `select count(*) filter (where role = 'leader' and region <> 'r1') = 0 and count(*) filter (where role = 'leader') > 5 from meridian.replicas where tablespace = 'bank'`); err != nil {
		return nil, err
	}
	if err := settle(ctx, &meridian{c}); err != nil {
		return nil, err
	}
	t := &tpcb{clients: failoverClients, scale: o.scale, slice: failoverSlice}
	for _, n := range c.Nodes[failoverNodes-2:] {
		t.urls = append(t.urls, n.URL())
	}
	r := &failoverResult{failoverCase: fc}
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { t.run(running) })
	rest := func(until time.Duration) error {
		select {
		case <-time.After(time.Until(t.start().Add(until))):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for at := 2 * time.Second; at < failoverKill; at += failoverSlice {
		if err := rest(at); err != nil {
			return nil, err
		}
		for _, n := range c.Nodes {
			lag, err := n.Metric(ctx, "meridian_range_follower_safe_time_lag_median_seconds")
			if err != nil {
				return nil, err
			}
			if lag > 0 {
				r.lags = append(r.lags, time.Duration(lag*float64(time.Second)))
			}
		}
	}
	if err := rest(failoverKill); err != nil {
		return nil, err
	}
	r.killed = time.Since(t.start())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if victim := c.Nodes[fc.victim]; fc.notice {
			victim.Stop()
		} else {
			victim.Kill()
		}
	}()
	killed := time.Now()
	healed := make(chan error, 1)
	var full time.Duration
	go func() {
		<-gone
		err := awaitBank(ctx, conn, "three live replicas of every range", fmt.Sprintf(
			`select count(*) > 0 and min(live) >= 3 from (select count(*) filter (where role <> 'learner') as live from meridian.replicas where region <> 'r%d' group by range_id) as r`, fc.victim+1))
		full = time.Since(killed)
		healed <- err
	}()
	if err := rest(r.killed + failoverAfter); err != nil {
		return nil, err
	}
	stop()
	wg.Wait()
	r.rates = t.rates()
	broken := <-healed
	at := int(r.killed / failoverSlice)
	warm := int(2 * time.Second / failoverSlice)
	end := int((r.killed + failoverAfter) / failoverSlice)
	for len(r.rates) < end {
		r.rates = append(r.rates, 0)
	}
	r.rates = r.rates[:end]
	pause := t.longestPause(r.killed)
	fmt.Fprintf(out, "| %s | %.0f | %.2f | %.0f | %d | %d | %d | %.0f | %.1f |\n", fc.name, rate(r.rates[warm:at], failoverSlice), pause.Seconds(),
		rate(r.rates[end-int(5*time.Second/failoverSlice):], failoverSlice), t.retries, t.unknown, t.failed, full.Seconds(), ms(median(r.lags)))
	if pause > failoverGap {
		broken = errors.Join(broken, fmt.Errorf("no commit for %.1f s, wanted at most %s", pause.Seconds(), failoverGap))
	}
	if t.failed > 0 {
		broken = errors.Join(broken, fmt.Errorf("%d transactions failed, the first with: %w", t.failed, t.first))
	}
	return r, errors.Join(broken, t.check(ctx, client.URL()))
}

// awaitBank returns when a query that yields one boolean yields true.
func awaitBank(ctx context.Context, conn *pgx.Conn, what, query string) error {
	ctx, cancel := context.WithTimeout(ctx, failoverHealed)
	defer cancel()
	for {
		var ok bool
		err := conn.QueryRow(ctx, query).Scan(&ok)
		if err == nil && ok {
			return nil
		}
		if conn.IsClosed() {
			return err
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s: not after %s (last error: %v)", what, failoverHealed, err)
		}
	}
}

func rate(slices []int, slice time.Duration) float64 {
	sum := 0
	for _, n := range slices {
		sum += n
	}
	return float64(sum) / (float64(len(slices)) * slice.Seconds())
}

var failoverColors = []string{"#2a6f97", "#2d7d46", "#b23a48"}

// failoverPlot draws throughput over time, a panel for each case, and below them what had been committed, as the paper does.
func failoverPlot(results []failoverResult) []byte {
	const left, width, panel, gap, sum = 60.0, 640.0, 90.0, 34.0, 180.0
	most, total, seconds := 1, 1, 0.0
	for _, r := range results {
		n := 0
		for _, v := range r.rates {
			most, n = max(most, v), n+v
		}
		total = max(total, n)
		seconds = max(seconds, float64(len(r.rates))*failoverSlice.Seconds())
	}
	x := func(s float64) float64 { return left + s/seconds*width }
	var b strings.Builder
	height := 30 + float64(len(results))*(panel+gap) + sum + 46
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="sans-serif" font-size="11">`+"\n", left+width+20, height, left+width+20, height)
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	axis := func(top, h float64, label string) {
		fmt.Fprintf(&b, `<path d="M%.1f %.1fv%.1fh%.1f" fill="none" stroke="#666"/><text x="%.1f" y="%.1f">%s</text>`+"\n", left, top, h, width, left+4, top-5, label)
		for s := 0.0; s <= seconds; s += 5 {
			fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="#666">%.0f s</text>`, x(s), top+h+13, s)
		}
		b.WriteString("\n")
	}
	top := 26.0
	for i, r := range results {
		axis(top, panel, fmt.Sprintf("%s killed: transactions a second", r.name))
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="end" fill="#666">%.0f</text>`, left-5, top+9, float64(most)/failoverSlice.Seconds())
		w := failoverSlice.Seconds() / seconds * width
		for j, v := range r.rates {
			h := panel * float64(v) / float64(most)
			fmt.Fprintf(&b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s"/>`, x(float64(j)*failoverSlice.Seconds()), top+panel-h, w, h, failoverColors[i%len(failoverColors)])
		}
		fmt.Fprintf(&b, `<path d="M%.1f %.1fv%.1f" stroke="#000" stroke-dasharray="3 2"/>`+"\n", x(r.killed.Seconds()), top, panel)
		top += panel + gap
	}
	axis(top, sum, "transactions committed since the start")
	fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="end" fill="#666">%d</text>`, left-5, top+9, total)
	for i, r := range results {
		color := failoverColors[i%len(failoverColors)]
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="1.5" d="M%.1f %.1f`, color, x(0), top+sum)
		n := 0
		for j, v := range r.rates {
			n += v
			fmt.Fprintf(&b, "L%.1f %.1f", x(float64(j+1)*failoverSlice.Seconds()), top+sum-sum*float64(n)/float64(total))
		}
		fmt.Fprintf(&b, `"/><text x="%.1f" y="%.1f" fill="%s">%s</text>`+"\n", left+14, top+18+14*float64(i), color, r.name)
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

type loadOptions struct {
	rows       int
	batch      int
	rangeBytes int64
}

const (
	// loadFiller makes a row of about 200 bytes with its key and checksum.
	loadFiller = 160
	// loadReport is the time between progress lines.
	loadReport = 5 * time.Second
	// loadEvenWait bounds how long the placer is given after the load to make leaders even.
	loadEvenWait = 3 * time.Minute
	// loadEven is how far from even a node's replicas and leaders may end, unless it is by a single one.
	loadEven = 0.1
)

// runLoad copies rows into three nodes, by one client through each, and says what it cost, how ranges split meanwhile,
// how even replicas and leaders ended, and whether every node counts what was loaded.
func runLoad(ctx context.Context, o options, out io.Writer) error {
	dir := filepath.Join(o.dir, "meridian")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	c, err := proc.Start(ctx, proc.Config{Binary: o.binary, Dir: dir, Nodes: o.nodes,
		Args: []string{"--range-max-bytes", fmt.Sprint(o.load.rangeBytes)}})
	if err != nil {
		return err
	}
	defer c.Close()
	m := &meridian{c}
	conn, err := pgx.Connect(ctx, c.Nodes[0].URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `create table load (id bigint primary key, v int not null, filler text not null)`); err != nil {
		return err
	}
	if err := waitReplicated(ctx, conn, len(c.Nodes)); err != nil {
		return err
	}
	cpu0, err := m.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	var done atomic.Int64
	watching, stop := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { loadProgress(watching, c, &done, dir, began, out) })
	err = copyLoad(ctx, c, o.load, &done)
	took := time.Since(began)
	stop()
	watcher.Wait()
	if err != nil {
		return err
	}
	cpu1, err := m.cpu()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d rows copied in %.1f s: %.0f rows/s, %.1f us of server CPU a row, all nodes together\n", o.load.rows, took.Seconds(),
		float64(o.load.rows)/took.Seconds(), float64((cpu1-cpu0).Microseconds())/float64(o.load.rows))
	splits, pause, worst, err := splitPauses(ctx, c)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d splits; commits of the range waited %.1f ms on average, at most %.1f ms\n", splits, pause*1000, worst*1000)
	if err := awaitEven(ctx, conn, c, out); err != nil {
		return err
	}
	if err := settle(ctx, m); err != nil {
		return err
	}
	cpu2, err := m.cpu()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "background work done %.0f s after the load, %.1f us of CPU a row more; %s\n", (time.Since(began) - took).Seconds(),
		float64((cpu2-cpu1).Microseconds())/float64(o.load.rows), footprint(c, dir))
	return countLoad(ctx, c, o.load.rows, out)
}

// copyLoad has one client at each node copy its share of the rows, in one COPY or in several of o.batch rows.
func copyLoad(ctx context.Context, c *proc.Cluster, o loadOptions, done *atomic.Int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, len(c.Nodes))
	for i, n := range c.Nodes {
		from, to := o.rows*i/len(c.Nodes), o.rows*(i+1)/len(c.Nodes)
		go func() {
			errs <- func() error {
				conn, err := pgx.Connect(ctx, n.URL())
				if err != nil {
					return err
				}
				defer conn.Close(context.WithoutCancel(ctx))
				for batch := from; batch < to; {
					end := to
					if o.batch > 0 {
						end = min(to, batch+o.batch)
					}
					if _, err := conn.PgConn().CopyFrom(ctx, &loadRows{next: batch, end: end, done: done}, `copy load from stdin`); err != nil {
						return fmt.Errorf("copy rows %d to %d through node %d: %w", batch, end, n.Index+1, err)
					}
					batch = end
				}
				return nil
			}()
		}()
	}
	var first error
	for range c.Nodes {
		if err := <-errs; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

// loadRows writes COPY's text format. Fillers differ, so that compression finds little.
type loadRows struct {
	next, end int
	done      *atomic.Int64
	buf       []byte
}

func (r *loadRows) Read(p []byte) (int, error) {
	if len(r.buf) == 0 {
		if r.next == r.end {
			return 0, io.EOF
		}
		const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
		to := min(r.end, r.next+256)
		for ; r.next < to; r.next++ {
			r.buf = fmt.Appendf(r.buf, "%d\t%d\t", r.next, loadValue(r.next))
			for i, x := 0, uint64(0); i < loadFiller; i++ {
				if i%10 == 0 {
					x = splitmix(uint64(r.next)<<8 | uint64(i))
				}
				r.buf = append(r.buf, letters[x&63])
				x >>= 6
			}
			r.buf = append(r.buf, '\n')
			r.done.Add(1)
		}
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	if len(r.buf) == 0 {
		r.buf = nil
	}
	return n, nil
}

func loadValue(id int) int { return id % 1000 }

// splitmix is Steele, Lea and Flood's generator, of one number.
func splitmix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// loadProgress prints a line every now and then until ctx ends.
func loadProgress(ctx context.Context, c *proc.Cluster, done *atomic.Int64, dir string, began time.Time, out io.Writer) {
	tick := time.NewTicker(loadReport)
	defer tick.Stop()
	for before := int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		n := done.Load()
		fmt.Fprintf(out, "%5.0f s: %d rows sent, %.0f rows/s; %s\n", time.Since(began).Seconds(), n, float64(n-before)/loadReport.Seconds(), footprint(c, dir))
		before = n
	}
}

// footprint says what memory and disk the nodes use.
func footprint(c *proc.Cluster, dir string) string {
	var b strings.Builder
	b.WriteString("memory MB")
	for _, n := range c.Nodes {
		rss, _ := n.RSS()
		fmt.Fprintf(&b, " %d", rss>>20)
	}
	b.WriteString(", log and state MB")
	for _, n := range c.Nodes {
		fmt.Fprintf(&b, " %d+%d", treeBytes(filepath.Join(n.Store, "raftlog"))>>20, treeBytes(filepath.Join(n.Store, "state"))>>20)
	}
	return b.String()
}

func treeBytes(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // files come and go
		}
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}

// splitPauses returns the number of splits that leaders made, and for how long commits waited for one, in seconds: on
// average, and the bound of the highest bucket of the histogram that is not empty.
func splitPauses(ctx context.Context, c *proc.Cluster) (n int, mean, worst float64, err error) {
	const name = "meridian_range_split_pause_seconds"
	var sum, count float64
	for _, node := range c.Nodes {
		page, err := node.HTTP(ctx, "/metrics")
		if err != nil {
			return 0, 0, 0, err
		}
		below := 0.0
		for line := range strings.Lines(page) {
			var v, bound float64
			line = strings.TrimSpace(line)
			switch {
			case strings.HasPrefix(line, name+"_sum "):
				fmt.Sscan(line[len(name+"_sum "):], &v)
				sum += v
			case strings.HasPrefix(line, name+"_count "):
				fmt.Sscan(line[len(name+"_count "):], &v)
				count += v
			case strings.HasPrefix(line, name+`_bucket{le="`):
				le, rest, _ := strings.Cut(line[len(name+`_bucket{le="`):], `"} `)
				fmt.Sscan(rest, &v)
				if bound = math.Inf(1); le != "+Inf" {
					fmt.Sscan(le, &bound)
				}
				if v > below {
					worst, below = max(worst, bound), v
				}
			}
		}
	}
	if count > 0 {
		mean = sum / count
	}
	return int(count), mean, worst, nil
}

// waitReplicated returns when every range has so many replicas.
func waitReplicated(ctx context.Context, conn *pgx.Conn, want int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		var least int
		if err := conn.QueryRow(ctx, `select min(cardinality(replicas)) from meridian.ranges`).Scan(&least); err != nil {
			return err
		}
		if least >= min(3, want) {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("ranges have %d replicas: %w", least, ctx.Err())
		}
	}
}

// held is what one node has.
type held struct {
	Node              int
	Replicas, Leaders int
	Bytes             int64
}

func whatNodesHold(ctx context.Context, conn *pgx.Conn) ([]held, error) {
	rows, err := conn.Query(ctx, `select node, count(*)::int, count(*) filter (where role = 'leader')::int, sum(size_bytes)::bigint from meridian.replicas group by node order by node`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (h held, err error) {
		return h, r.Scan(&h.Node, &h.Replicas, &h.Leaders, &h.Bytes)
	})
}

// even reports whether all are within loadEven of their mean, or within one.
func even(counts []int) bool {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	mean := float64(sum) / float64(len(counts))
	return !slices.ContainsFunc(counts, func(n int) bool {
		off := math.Abs(float64(n) - mean)
		return off > loadEven*mean && off >= 1
	})
}

// awaitEven waits until replicas and leaders are even, and prints when that was and what every node holds.
func awaitEven(ctx context.Context, conn *pgx.Conn, c *proc.Cluster, out io.Writer) error {
	for began := time.Now(); ; {
		nodes, err := whatNodesHold(ctx, conn)
		if err != nil {
			return err
		}
		var replicas, leaders []int
		for _, h := range nodes {
			replicas, leaders = append(replicas, h.Replicas), append(leaders, h.Leaders)
		}
		isEven := len(nodes) == len(c.Nodes) && even(replicas) && even(leaders)
		if isEven || time.Since(began) > loadEvenWait {
			text, _ := json.Marshal(nodes)
			verdict := "even"
			if !isEven {
				verdict = "NOT EVEN"
			}
			fmt.Fprintf(out, "replicas and leaders are %s %.0f s after the load: %s\n", verdict, time.Since(began).Seconds(), text)
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// countLoad has each node count and add up the rows.
func countLoad(ctx context.Context, c *proc.Cluster, rows int, out io.Writer) error {
	var want int64
	for i := range rows {
		want += int64(loadValue(i))
	}
	for _, n := range c.Nodes {
		conn, err := pgx.Connect(ctx, n.URL())
		if err != nil {
			return err
		}
		began := time.Now()
		var count, sum, least, most int64
		err = conn.QueryRow(ctx, `select count(*), sum(v)::bigint, min(id), max(id) from load`).Scan(&count, &sum, &least, &most)
		conn.Close(ctx)
		if err != nil {
			return fmt.Errorf("count at node %d: %w", n.Index+1, err)
		}
		if count != int64(rows) || sum != want || least != 0 || most != int64(rows-1) {
			return fmt.Errorf("node %d counts %d rows from %d to %d with the sum %d, not %d with %d", n.Index+1, count, least, most, sum, rows, want)
		}
		fmt.Fprintf(out, "node %d counts %d rows, as loaded, in %.1f s\n", n.Index+1, count, time.Since(began).Seconds())
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// commitFactor is how much longer than its unavoidable parts a commit of a single client may take.
const commitFactor = 1.5

// commitLatency measures COMMIT of one-row updates by a single client at Meridian's leader, and in the same seconds what
// no commit can do without: one fsync of the log's disk and one round trip over loopback. The limit is commitFactor times
// these two, and what was left of commit wait. PostgreSQL, when it runs too, has the same statements timed beside. All
// parts are measured in turn, so that they see the same machine.
func commitLatency(ctx context.Context, o options, m *meridian, systems []system, out io.Writer) error {
	disk, err := newDiskProbe(o.dir)
	if err != nil {
		return err
	}
	defer disk.close()
	loop, err := newLoopProbe()
	if err != nil {
		return err
	}
	defer loop.close()
	bare, err := newBareProbe(ctx, o.dir)
	if err != nil {
		return err
	}
	defer bare.close()
	conns := make([]*pgx.Conn, len(systems))
	for i, s := range systems {
		if conns[i], err = pgx.Connect(ctx, s.target()[0]); err != nil {
			return err
		}
		defer conns[i].Close(ctx)
	}
	waited0, waits0, err := m.commitWait(ctx)
	if err != nil {
		return err
	}
	commits := make([][]time.Duration, len(systems))
	var fsyncs, trips, bares []time.Duration
	for end := time.Now().Add(time.Duration(o.seconds) * time.Second); time.Now().Before(end); {
		for i, conn := range conns {
			d, err := timeCommit(ctx, conn, 1+len(fsyncs)%1000)
			if err != nil {
				return fmt.Errorf("%s: %w", systems[i].name(), err)
			}
			commits[i] = append(commits[i], d)
		}
		d, err := disk.probe()
		if err != nil {
			return err
		}
		fsyncs = append(fsyncs, d)
		if d, err = loop.probe(); err != nil {
			return err
		}
		trips = append(trips, d)
		if d, err = bare.probe(); err != nil {
			return err
		}
		bares = append(bares, d)
	}
	waited1, waits1, err := m.commitWait(ctx)
	if err != nil {
		return err
	}
	wait := time.Duration(0)
	if n := waits1 - waits0; n > 0 {
		wait = time.Duration((waited1 - waited0) / n * float64(time.Second))
	}
	fsync, trip := median(fsyncs), median(trips)
	limit := time.Duration(commitFactor*float64(fsync+trip)) + wait
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	fmt.Fprintf(out, "\nsingle-client COMMIT, limit of %.0f us = %.1f x (fsync %.0f us + loopback round trip %.0f us) + commit wait left %.0f us\n",
		us(limit), commitFactor, us(fsync), us(trip), us(wait))
	fmt.Fprintf(out, "  replication alone, three processes that write, sync and answer: median of %d %.0f us (p99 %.0f us)\n",
		len(bares), us(median(bares)), us(quantile(bares, 0.99)))
	for i, s := range systems {
		verdict := "within"
		if median(commits[i]) > limit {
			verdict = "ABOVE"
		}
		fmt.Fprintf(out, "  %s: median of %d %.0f us (p99 %.0f us), %s the limit\n",
			s.name(), len(commits[i]), us(median(commits[i])), us(quantile(commits[i], 0.99)), verdict)
	}
	return nil
}

// timeCommit returns how long COMMIT takes after an update of one account.
func timeCommit(ctx context.Context, conn *pgx.Conn, aid int) (time.Duration, error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := tx.Exec(ctx, `update pgbench_accounts set abalance = abalance where aid = $1`, aid); err != nil {
		return 0, err
	}
	start := time.Now()
	err = tx.Commit(ctx)
	return time.Since(start), err
}

func median(d []time.Duration) time.Duration { return quantile(d, 0.5) }

func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Clone(d)
	slices.Sort(s)
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

// commitWait returns the seconds of commit wait that all nodes had left after replication, and the number of commits.
func (m *meridian) commitWait(ctx context.Context) (seconds, commits float64, err error) {
	for _, n := range m.c.Nodes {
		s, err := n.Metric(ctx, "meridian_txn_commit_wait_seconds_sum")
		if err != nil {
			return 0, 0, err
		}
		c, err := n.Metric(ctx, "meridian_txn_commit_wait_seconds_count")
		if err != nil {
			return 0, 0, err
		}
		seconds, commits = seconds+s, commits+c
	}
	return seconds, commits, nil
}

// diskProbe appends to a file as a raft log does: some hundred bytes, then fdatasync.
type diskProbe struct{ f *os.File }

func newDiskProbe(dir string) (*diskProbe, error) {
	f, err := os.Create(filepath.Join(dir, "fsync-probe"))
	if err != nil {
		return nil, err
	}
	return &diskProbe{f}, nil
}

func (p *diskProbe) probe() (time.Duration, error) {
	start := time.Now()
	if _, err := p.f.Write(make([]byte, 512)); err != nil {
		return 0, err
	}
	err := fdatasync(p.f)
	return time.Since(start), err
}

func (p *diskProbe) close() {
	p.f.Close()
	os.Remove(p.f.Name())
}

// loopProbe sends a hundred bytes over loopback and waits for the echo.
type loopProbe struct {
	l    net.Listener
	conn net.Conn
}

func newLoopProbe() (*loopProbe, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.Copy(c, c)
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		l.Close()
		return nil, err
	}
	return &loopProbe{l, conn}, nil
}

func (p *loopProbe) probe() (time.Duration, error) {
	b := make([]byte, 100)
	start := time.Now()
	if _, err := p.conn.Write(b); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(p.conn, b)
	return time.Since(start), err
}

func (p *loopProbe) close() {
	p.conn.Close()
	p.l.Close()
}

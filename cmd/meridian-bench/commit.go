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

// commitLatency measures COMMIT of one-row updates by a single client at the leader, and in the same seconds what no
// commit can do without: one fsync of the log's disk and one round trip over loopback. The limit is commitFactor times
// these two, and what was left of commit wait. The parts are measured between the commits, so that all of them see the
// same machine.
func commitLatency(ctx context.Context, o options, m *meridian, out io.Writer) error {
	conn, err := pgx.Connect(ctx, m.c.Nodes[0].URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
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
	waited0, waits0, err := m.commitWait(ctx)
	if err != nil {
		return err
	}
	var commits, fsyncs, trips []time.Duration
	for end := time.Now().Add(time.Duration(o.seconds) * time.Second); time.Now().Before(end); {
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update pgbench_accounts set abalance = abalance where aid = $1`, 1+len(commits)%1000); err != nil {
			return err
		}
		start := time.Now()
		if err := tx.Commit(ctx); err != nil {
			return err
		}
		commits = append(commits, time.Since(start))
		d, err := disk.probe()
		if err != nil {
			return err
		}
		fsyncs = append(fsyncs, d)
		if d, err = loop.probe(); err != nil {
			return err
		}
		trips = append(trips, d)
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
	verdict := "within"
	if median(commits) > limit {
		verdict = "ABOVE"
	}
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	fmt.Fprintf(out, "\nsingle-client COMMIT, median of %d: %.0f us (p99 %.0f us), %s the limit of %.0f us = %.1f x (fsync %.0f us + loopback round trip %.0f us) + commit wait left %.0f us\n",
		len(commits), us(median(commits)), us(quantile(commits, 0.99)), verdict, us(limit), commitFactor, us(fsync), us(trip), us(wait))
	return nil
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

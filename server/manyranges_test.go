package server

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server/rpc"
	"github.com/meridian-db/meridian/truetime"
)

// noNetwork is the network of a lone node.
type noNetwork struct{}

func (noNetwork) Ranges() ranges.Transport          { return noTransport{} }
func (noNetwork) RegisterRanges(rpc.RangesHandler)  {}
func (noNetwork) Register(rpc.Service, rpc.Handler) {}
func (noNetwork) Connect(ranges.NodeID)             {}
func (noNetwork) Connected(ranges.NodeID) bool      { return false }
func (noNetwork) Call(context.Context, ranges.NodeID, rpc.Service, []byte) ([]byte, error) {
	return nil, fmt.Errorf("no network")
}

type noTransport struct{}

func (noTransport) SendRaft(ranges.NodeID, []byte) {}
func (noTransport) Call(context.Context, ranges.NodeID, ranges.Method, []byte) ([]byte, error) {
	return nil, fmt.Errorf("no network")
}
func (noTransport) OpenBulk(context.Context, ranges.NodeID) (ranges.BulkStream, error) {
	return nil, fmt.Errorf("no network")
}

// BenchmarkStartManyRanges starts a node with 10,000 ranges that it has served before, until the last of them has a leader.
func BenchmarkStartManyRanges(b *testing.B) {
	const n = 10000
	dir := b.TempDir()
	open := func() *Core {
		c, err := OpenCore(CoreConfig{NodeID: 1, FS: vfs.Default, Dir: dir, Clock: benchClock{}, Network: noNetwork{},
			Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	led := func(c *Core) (n int) {
		for _, s := range c.Store.Status() {
			if s.LeaseUntil != 0 {
				n++
			}
		}
		return n
	}
	await := func(c *Core) {
		for led(c) < n+2 {
			time.Sleep(5 * time.Millisecond)
		}
	}
	c := open()
	descs := initialDescriptors(1)[:1]
	key := func(i int) []byte { return binary.BigEndian.AppendUint32([]byte{0x03}, uint32(i)) }
	for i := range n + 1 {
		d := &ranges.Descriptor{ID: ranges.RangeID(2 + i), Start: key(i), End: key(i + 1), NextReplica: 2, Generation: 1,
			Replicas: []ranges.ReplicaDesc{{Node: 1, Replica: 1, Type: ranges.Voter}}}
		if i == 0 {
			d.Start = []byte{0x03}
		}
		if i == n {
			d.End = []byte{0xff}
		}
		descs = append(descs, d)
	}
	if err := c.Store.Bootstrap(descs); err != nil {
		b.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	await(c)
	time.Sleep(2 * time.Second)
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		t := time.Now()
		c := open()
		opened := time.Since(t)
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		started := time.Since(t)
		await(c)
		b.ReportMetric(opened.Seconds(), "s-open")
		b.ReportMetric((started - opened).Seconds(), "s-start")
		b.ReportMetric((time.Since(t) - started).Seconds(), "s-lead")
		b.StopTimer()
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// benchClock is the machine's clock, taken for true.
type benchClock struct{}

func (benchClock) Now() truetime.Interval {
	t := truetime.FromTime(time.Now())
	return truetime.Interval{Earliest: t, Latest: t.Add(time.Millisecond)}
}
func (c benchClock) WaitAfter(ctx context.Context, ts truetime.Timestamp) error {
	for !c.Now().After(ts) {
		time.Sleep(time.Millisecond)
	}
	return nil
}
func (benchClock) Health() error { return nil }

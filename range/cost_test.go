package ranges

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/range/raftlog"
	"github.com/meridian-db/meridian/truetime"
)

// A commit costs one log fsync on each replica, and the leader needs one frame to and one from the nearest
// follower before it can answer.
func TestCommitCost(t *testing.T) {
	runSim(t, 8, 3, func(c *Config) { c.SupportInterval = time.Hour; c.SupportWindow = 100 * time.Hour }, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		for range 5 {
			time.Sleep(3 * time.Second) // everything settles, and the range is quiescent
			before := map[NodeID]uint64{}
			for id, x := range c.nodes {
				before[id] = x.store.Fsyncs()
			}
			c.mustPut(r, "a", "2")
			time.Sleep(3 * time.Second)
			for id, x := range c.nodes {
				if n := x.store.Fsyncs() - before[id]; n != 1 {
					t.Errorf("%s: %d fsyncs for one commit", id, n)
				}
			}
		}
	})
}

// In a stream of commits each costs one frame to and one from each follower: what is committed goes along with the
// next entries. The last of them is told a moment later, and who asks is told at once.
func TestCommitFrames(t *testing.T) {
	runSim(t, 13, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		time.Sleep(3 * time.Second)
		var frames atomic.Int32
		c.net.mu.Lock()
		c.net.taps = append(c.net.taps, func(from, to NodeID, frame []byte) {
			if frame[0] == frameRaft {
				frames.Add(1)
			}
		})
		c.net.mu.Unlock()
		const commits = 100
		for i := range commits {
			c.mustPut(r, "a", fmt.Sprint(i))
			time.Sleep(time.Millisecond)
		}
		// Heartbeats, and now and then a commit that waited long enough.
		if n, limit := frames.Load(), int32(4*commits+4*commits/4); n > limit {
			t.Errorf("%d frames for %d commits, more than %d", n, commits, limit)
		}
		var followers []*simNode
		for _, x := range c.nodes {
			if x.id != r.NodeID() {
				followers = append(followers, x)
			}
		}
		time.Sleep(time.Second)
		ts := c.mustPut(r, "a", "last")
		start := time.Now()
		f, _ := followers[0].store.Replica(1)
		if err := f.WaitSafe(context.Background(), ts); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d >= time.Millisecond {
			t.Errorf("a follower that asks waits for %s", d)
		}
		// Told at once for a while, then again late.
		for i := range 2 * eagerCommits {
			c.mustPut(r, "a", fmt.Sprint(i))
			time.Sleep(time.Millisecond)
		}
		c.mustPut(r, "a", "end")
		time.Sleep(6 * time.Millisecond)
		for _, x := range followers {
			if got := c.get(x, "a", truetime.MaxTimestamp); got != "end" {
				t.Errorf("%s has %q", x.id, got)
			}
		}
	})
}

// The leader sends entries before its own disk has them: with 5 ms to the followers, whose answer takes 10 ms,
// a commit takes hardly longer even if the leader's disk is slow.
func TestOneRoundTrip(t *testing.T) {
	runSim(t, 9, 3, nil, func(c *sim) {
		c.net.delay = func() time.Duration { return 5 * time.Millisecond }
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		start := time.Now()
		c.mustPut(r, "a", "2")
		if d := time.Since(start); d != 10*time.Millisecond {
			t.Fatalf("a commit took %s, want one round trip of 10ms", d)
		}
	})
}

// An idle range sends nothing but its share of a closed-timestamp frame.
func TestIdleSilence(t *testing.T) {
	runSim(t, 10, 3, nil, func(c *sim) {
		var ds []*Descriptor
		for i := range 50 {
			ds = append(ds, desc(RangeID(i+1), fmt.Sprintf("k%03d", i), fmt.Sprintf("k%03d", i+1), 1, 2, 3))
		}
		c.startAll(ds...)
		for i := range 50 {
			c.leader(fmt.Sprintf("k%03d", i), 10*time.Second)
		}
		time.Sleep(5 * time.Second)
		var raft atomic.Int32
		c.net.mu.Lock()
		c.net.taps = append(c.net.taps, func(from, to NodeID, frame []byte) {
			if frame[0] == frameRaft {
				raft.Add(1)
			}
		})
		c.net.mu.Unlock()
		time.Sleep(20 * time.Second)
		if n := raft.Load(); n != 0 {
			t.Fatalf("%d raft frames among idle ranges", n)
		}
		for _, x := range c.nodes {
			now := x.clock.Now().Earliest
			for _, r := range x.store.Replicas() {
				if lag := now.Sub(r.SafeTime()); lag > 1200*time.Millisecond {
					t.Fatalf("%s on %s: safe time lags by %s", r.ID(), x.id, lag)
				}
			}
		}
	})
}

// Between the writes of a range that is written to now and then its followers hear that time goes on, soon; of one that is
// not, rarely.
func TestFreshFollowers(t *testing.T) {
	runSim(t, 17, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		var frames atomic.Int32
		c.net.mu.Lock()
		c.net.taps = append(c.net.taps, func(from, to NodeID, frame []byte) {
			if frame[0] == frameClosed {
				frames.Add(1)
			}
		})
		c.net.mu.Unlock()
		var worst time.Duration
		for i := range 30 {
			c.mustPut(r, "a", fmt.Sprint(i))
			for range 10 {
				time.Sleep(37 * time.Millisecond)
				if i < 10 {
					continue
				}
				for _, x := range c.nodes {
					f, _ := x.store.Replica(1)
					worst = max(worst, x.clock.Now().Earliest.Sub(f.SafeTime()))
				}
			}
		}
		// A period, and what clocks and network of the simulation add.
		if worst > 60*time.Millisecond {
			t.Errorf("safe time lags by up to %s between writes", worst)
		}
		time.Sleep(5 * time.Second)
		frames.Store(0)
		time.Sleep(10 * time.Second)
		if n := frames.Load(); n > 2*11 {
			t.Errorf("%d closed timestamps in 10 s to the followers of an idle range", n)
		}
	})
}

// realCluster is three stores in this process on real disk and time, for measurements.
func realCluster(tb testing.TB, ranges int) []*Store {
	net := newSimNet(1)
	var ds []*Descriptor
	for i := range ranges {
		ds = append(ds, desc(RangeID(i+1), fmt.Sprintf("k%05d", i), fmt.Sprintf("k%05d", i+1), 1, 2, 3))
	}
	var stores []*Store
	for id := NodeID(1); id <= 3; id++ {
		dir := tb.TempDir()
		eng, err := mvcc.Open(mvcc.Config{FS: vfs.Default, Dir: dir + "/state"})
		if err != nil {
			tb.Fatal(err)
		}
		s, err := Open(Config{
			NodeID: id, Engine: eng, FS: vfs.Default, Dir: dir, Clock: &simClock{eps: time.Millisecond},
			Transport: simTransport{net, id}, NewMachine: newRegister,
		})
		if err != nil {
			tb.Fatal(err)
		}
		if err := s.Bootstrap(ds); err != nil {
			tb.Fatal(err)
		}
		if err := s.Start(); err != nil {
			tb.Fatal(err)
		}
		net.mu.Lock()
		net.stores[id] = s
		net.mu.Unlock()
		stores = append(stores, s)
		tb.Cleanup(func() { s.Close(); eng.Close() })
	}
	return stores
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func leaders(stores []*Store) map[RangeID]*Replica {
	out := map[RangeID]*Replica{}
	for _, s := range stores {
		for _, r := range s.Replicas() {
			if r.Lease().Until != 0 {
				out[r.ID()] = r
			}
		}
	}
	return out
}

// TestIdleCPU measures what idle ranges cost; set RANGE_IDLE=2000 to run it.
func TestIdleCPU(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("RANGE_IDLE"))
	if n == 0 {
		t.Skip("a measurement on real time: set RANGE_IDLE to a number of ranges")
	}
	stores := realCluster(t, n)
	for start := time.Now(); len(leaders(stores)) < n; time.Sleep(50 * time.Millisecond) {
		if time.Since(start) > 60*time.Second {
			t.Fatalf("%d of %d ranges led", len(leaders(stores)), n)
		}
	}
	time.Sleep(3 * time.Second)
	runtime.GC()
	start, cpu := time.Now(), cpuTime()
	if path := os.Getenv("RANGE_IDLE_PROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			t.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	time.Sleep(10 * time.Second)
	used := float64(cpuTime()-cpu) / float64(time.Since(start))
	t.Logf("%d idle ranges on three nodes: %.1f%% of a core", n, 100*used)
	if used > 0.05 {
		t.Errorf("over 5%% of a core")
	}
}

// BenchmarkPropose measures commits on three nodes over real fsyncs and an in-process network.
func BenchmarkPropose(b *testing.B) {
	for _, clients := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			stores := realCluster(b, 1)
			var r *Replica
			for r == nil {
				r = leaders(stores)[1]
				time.Sleep(10 * time.Millisecond)
			}
			c := &sim{}
			value := string(make([]byte, 200))
			f0, cpu := stores[0].Fsyncs()+stores[1].Fsyncs()+stores[2].Fsyncs(), cpuTime()
			b.ResetTimer()
			var wg sync.WaitGroup
			for k := range clients {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for i := k; i < b.N; i += clients {
						if _, err := c.put(r, "k00000"+strconv.Itoa(i%1000), value); err != nil {
							b.Error(err)
							return
						}
					}
				}()
			}
			wg.Wait()
			b.StopTimer()
			f1 := stores[0].Fsyncs() + stores[1].Fsyncs() + stores[2].Fsyncs()
			b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N)/1e3, "cpu-µs/op")
			b.ReportMetric(float64(f1-f0)/3/float64(b.N), "fsyncs/op/replica")
		})
	}
}

// BenchmarkLogSync is the floor under BenchmarkPropose/clients=1: one synced log append, nothing else.
func BenchmarkLogSync(b *testing.B) {
	l, err := raftlog.Open(vfs.Default, b.TempDir(), slog.New(slog.DiscardHandler), b.Fatalf)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	data := make([]byte, 250)
	for i := range b.N {
		bt := l.NewBatch()
		bt.Append(1, []*pb.Entry{{Type: pb.EntryNormal.Enum(), Term: new(uint64(1)), Index: new(uint64(i + 1)), Data: data}}, uint64(i))
		if err := bt.Commit(true); err != nil {
			b.Fatal(err)
		}
	}
}

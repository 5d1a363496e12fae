package sim

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/range/placement"
	"github.com/meridian-db/meridian/server"
	"github.com/meridian-db/meridian/txn"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/participant"
)

// Three regions, 100 ms apart both ways.
const (
	geoOneWay    = 50 * time.Millisecond
	geoRoundTrip = 2 * geoOneWay
)

// policies stands in for the records in system keys.
type policies struct {
	mu    sync.Mutex
	spans []placement.SpanPolicy
}

func (p *policies) ReadPolicies(context.Context) ([]placement.SpanPolicy, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spans == nil {
		return []placement.SpanPolicy{{Start: []byte{0x03}, End: []byte{0x04}, Policy: placement.Policy{Leaders: []string{"r1"}}}}, nil
	}
	return p.spans, nil
}

// far makes every node a region of its own, placed by p.
func (p *policies) far(c *server.CoreConfig) {
	c.Nearness = func(ranges.NodeID) int { return txn.FarRank + int(geoRoundTrip/time.Microsecond) }
	tune := c.TuneRanges
	c.TuneRanges = func(rc *ranges.Config) {
		if tune != nil {
			tune(rc)
		}
		rc.Policies = p
		rc.RoundTrip = func(ranges.NodeID) time.Duration { return geoRoundTrip }
	}
}

// declare sets the policies of the two data ranges, and waits until all nodes know them and the leaders are where
// they should be.
func (p *policies) declare(ctx context.Context, c *Cluster, first, second placement.Policy) error {
	border := []byte{0x03, 0, 0, 2}
	p.mu.Lock()
	p.spans = []placement.SpanPolicy{{Start: []byte{0x03}, End: border, Policy: first}, {Start: border, End: []byte{0x04}, Policy: second}}
	p.mu.Unlock()
	for ctx.Err() == nil {
		done := true
		for _, n := range c.Nodes() {
			for i, want := range []placement.Policy{first, second} {
				rep, ok := n.Core().Store.ReplicaForKey(listKey(i))
				led := len(want.Leaders) == 0 || ok && fmt.Sprintf("r%d", rep.LeaderHint()) == want.Leaders[0]
				done = done && ok && led && rep.Policy().Name == want.Name
			}
		}
		if done {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return ctx.Err()
}

// geo is a cluster of three regions with two data ranges, led by node 1. The second may be global.
type geo struct {
	*Cluster
	t   *testing.T
	ctx context.Context
}

func inGeo(t *testing.T, global bool, f func(g *geo)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		var placed policies
		c, err := New(ctx, Config{Seed: 1, Tune: placed.far})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		rep, ok := c.Nodes()[0].Core().Store.ReplicaForKey(listKey(0))
		if !ok {
			t.Fatal("no replica of the data range")
		}
		if err := rep.Split(ctx, []byte{0x03, 0, 0, 2}); err != nil {
			t.Fatal(err)
		}
		c.Net.SetFaults(Faults{Latency: geoOneWay})
		if err := placed.declare(ctx, c, placement.Policy{Name: "home", Leaders: []string{"r1"}}, placement.Policy{Name: "second", Leaders: []string{"r1"}, Global: global}); err != nil {
			t.Fatal(err)
		}
		g := &geo{c, t, ctx}
		for id := range 3 { // routes are learned, and everyone knows the leader
			g.read(id+1, kv.TxnOptions{ReadOnly: true}, 0, 1)
		}
		time.Sleep(2 * time.Second)
		f(g)
	})
}

func (g *geo) db(id int) kv.DB { return g.Nodes()[id-1].Core().DB }

// write writes keys by node id, and returns how long it took.
func (g *geo) write(id int, keys ...int) time.Duration {
	g.t.Helper()
	began := time.Now()
	tx, err := g.db(id).Begin(g.ctx, kv.TxnOptions{})
	if err != nil {
		g.t.Fatal(err)
	}
	defer tx.Rollback(g.ctx)
	for _, k := range keys {
		if err := tx.Put(listKey(k), []byte("x")); err != nil {
			g.t.Fatal(err)
		}
	}
	if _, err := tx.Commit(g.ctx); err != nil {
		g.t.Fatal(err)
	}
	return time.Since(began)
}

// read reads keys one by one in a transaction at node id; a key below zero scans all.
func (g *geo) read(id int, opts kv.TxnOptions, keys ...int) (time.Duration, kv.Stats) {
	g.t.Helper()
	began := time.Now()
	tx, err := g.db(id).Begin(g.ctx, opts)
	if err != nil {
		g.t.Fatal(err)
	}
	defer tx.Rollback(g.ctx)
	for _, k := range keys {
		if k < 0 {
			sc, err := tx.Scan(g.ctx, kv.Span{Start: []byte{0x03, 0, 0, 1}, End: []byte{0x03, 0, 0, 1, 0xff}}, kv.ScanOptions{})
			if err != nil {
				g.t.Fatal(err)
			}
			for sc.Next(g.ctx) {
			}
			err = sc.Err()
			sc.Close()
			if err != nil {
				g.t.Fatal(err)
			}
			continue
		}
		if _, err := tx.Get(g.ctx, listKey(k), kv.LockNone, kv.WaitBlock); err != nil {
			g.t.Fatal(err)
		}
	}
	return time.Since(began), tx.Stats()
}

// roundTrips says how many ways to another region and back fit into d, beside commit wait and other small change.
func roundTrips(d time.Duration) string {
	n, rest := int(d/geoRoundTrip), d%geoRoundTrip
	if rest > 20*time.Millisecond {
		return fmt.Sprintf("%d round trips and %s", n, rest)
	}
	return fmt.Sprint(n)
}

// TestRoundTrips counts the round trips between regions that each kind of transaction waits for.
func TestRoundTrips(t *testing.T) {
	inGeo(t, false, func(g *geo) {
		strong := kv.TxnOptions{ReadOnly: true}
		lone := kv.TxnOptions{ReadOnly: true, OneShot: true}
		stale := func(s kv.Staleness) kv.TxnOptions { return kv.TxnOptions{ReadOnly: true, Staleness: s} }
		past := kv.Staleness{Kind: kv.ExactStaleness, Age: int64(3 * time.Second)}
		for _, step := range []struct {
			what   string
			do     func() (time.Duration, kv.Stats)
			want   string
			remote int // requests that carry data across regions
		}{
			{"write of one range, in the leader's region", func() (time.Duration, kv.Stats) { return g.write(1, 0), kv.Stats{} }, "1", 0},
			{"write of two ranges, in the leaders' region", func() (time.Duration, kv.Stats) { return g.write(1, 0, 1), kv.Stats{} }, "2", 0},
			{"strong read in the leader's region", func() (time.Duration, kv.Stats) { return g.read(1, strong, 0) }, "0", 0},
			{"lone read in the leader's region", func() (time.Duration, kv.Stats) { return g.read(1, lone, 0) }, "0", 0},
			{"lone read elsewhere", func() (time.Duration, kv.Stats) { return g.read(2, lone, 0) }, "1", 1},
			{"lone scan elsewhere", func() (time.Duration, kv.Stats) { return g.read(2, lone, -1) }, "1", 0},
			{"strong read-only transaction elsewhere", func() (time.Duration, kv.Stats) { return g.read(2, strong, 0) }, "1", 0},
			{"strong read-only transaction elsewhere, many reads of one range", func() (time.Duration, kv.Stats) { return g.read(3, strong, 0, 2, 4, -1) }, "1", 0},
			{"strong read-only transaction elsewhere, two ranges one after the other", func() (time.Duration, kv.Stats) { return g.read(3, strong, 0, 1) }, "2", 0},
			{"exact staleness", func() (time.Duration, kv.Stats) { return g.read(2, stale(past), 0, 1, -1) }, "0", 0},
			{"bounded staleness", func() (time.Duration, kv.Stats) {
				return g.read(3, stale(kv.Staleness{Kind: kv.MaxStaleness, Age: int64(5 * time.Second)}), 0, 1)
			}, "0", 0},
		} {
			time.Sleep(time.Second)
			d, stats := step.do()
			got := roundTrips(d)
			t.Logf("%s: %s (%s), %d requests to other nodes", step.what, got, d, stats.RPCs)
			if got != step.want || stats.RPCs != step.remote {
				t.Errorf("%s: waits for %s round trips, %d requests for data; want %s and %d", step.what, got, stats.RPCs, step.want, step.remote)
			}
		}
	})
}

// TestGlobalRoundTrips: every region reads a global range at once, also while it is written, and the write waits.
func TestGlobalRoundTrips(t *testing.T) {
	inGeo(t, true, func(g *geo) {
		strong, lone := kv.TxnOptions{ReadOnly: true}, kv.TxnOptions{ReadOnly: true, OneShot: true}
		for id := 1; id <= 3; id++ {
			for _, opts := range []kv.TxnOptions{strong, lone} {
				if d, stats := g.read(id, opts, 1); roundTrips(d) != "0" || stats.RPCs != 0 {
					t.Errorf("node %d, idle: %s, %+v", id, d, stats)
				}
			}
		}
		// Replication takes one round trip and is known after another half; the lead covers it all.
		took := make(chan time.Duration)
		go func() { took <- g.write(1, 1) }()
		for range 50 {
			time.Sleep(10 * time.Millisecond)
			for id := 1; id <= 3; id++ {
				if d, stats := g.read(id, strong, 1); d > 10*time.Millisecond || stats.RPCs != 0 {
					t.Errorf("node %d, while it is written: %s, %+v", id, d, stats)
				}
			}
		}
		d := <-took
		t.Logf("write: %s", d)
		if d < geoRoundTrip+geoOneWay || d > 3*geoRoundTrip {
			t.Errorf("the write took %s", d)
		}
		// Many writes, one after the other.
		stop := make(chan bool)
		go func() {
			for range 20 {
				g.write(1, 1)
			}
			close(stop)
		}()
		worst := time.Duration(0)
		for open := true; open; {
			select {
			case <-stop:
				open = false
			case <-time.After(7 * time.Millisecond):
				d, _ := g.read(2, strong, 1)
				worst = max(worst, d)
			}
		}
		t.Logf("slowest read: %s", worst)
		if worst > 10*time.Millisecond {
			t.Errorf("a read took %s while others wrote", worst)
		}
	})
}

// globalLife is a list-append history over two ranges, of which one is global, read in every region.
func globalLife(tune func(*server.CoreConfig)) Life {
	var placed policies
	return Life{Length: 20 * time.Second,
		Tune: func(c *server.CoreConfig) {
			if tune != nil {
				tune(c)
			}
			placed.far(c)
		},
		Disturb: func(c *Cluster) {
			c.Net.SetFaults(Faults{Latency: 5 * time.Millisecond, Jitter: 10 * time.Millisecond})
			if err := placed.declare(context.Background(), c, placement.Policy{Name: "home", Leaders: []string{"r1"}}, placement.Policy{Name: "everywhere", Leaders: []string{"r1"}, Global: true}); err != nil {
				panic(err)
			}
		}}
}

// TestSimGlobal: histories in which a global range takes part are strictly serializable, through faults, too.
func TestSimGlobal(t *testing.T) {
	for _, seed := range seeds(t) {
		l := globalLife(nil)
		l.Seed, l.Schedule = seed, Plan(seed, 3, l.Length, 1500*time.Millisecond)
		report(t, seed, live(t, l))
	}
}

// TestGlobalReadersWait: what one region has read in a global range, another one reads later, although the clock of
// the first ran ahead and the write's timestamp lies in the future when it is replicated. Readers that ignore the
// uncertainty of their clocks break that.
func TestGlobalReadersWait(t *testing.T) {
	backwards := func(seed uint64, early bool) (anomaly bool) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
			defer cancel()
			var placed policies
			c, err := New(ctx, Config{Seed: seed, ClockBound: 20 * time.Millisecond, DriftPPM: 1, Tune: func(c *server.CoreConfig) {
				placed.far(c)
				c.TuneParticipant = func(p *participant.Config) { p.TestReadEarly = early }
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			home := placement.Policy{Name: "all", Leaders: []string{"r1"}, Global: true}
			if err := placed.declare(ctx, c, home, home); err != nil {
				t.Fatal(err)
			}
			g := &geo{c, t, ctx}
			g.write(1, 1)
			time.Sleep(time.Second)
			sees := func(id int) string {
				tx, err := g.db(id).Begin(ctx, kv.TxnOptions{ReadOnly: true})
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Rollback(ctx)
				b, err := tx.Get(ctx, listKey(1), kv.LockNone, kv.WaitBlock)
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			for first := 2; first <= 3; first++ {
				old := sees(first)
				done := make(chan bool)
				go func() {
					defer close(done)
					tx, _ := g.db(1).Begin(ctx, kv.TxnOptions{})
					defer tx.Rollback(ctx)
					_ = tx.Put(listKey(1), []byte(fmt.Sprint("by ", first)))
					if _, err := tx.Commit(ctx); err != nil {
						t.Error(err)
					}
				}()
				for sees(first) == old {
					time.Sleep(time.Millisecond)
				}
				anomaly = anomaly || sees(5-first) == old
				<-done
			}
		})
		return anomaly
	}
	found := false
	for seed := uint64(1); seed <= 4; seed++ {
		if backwards(seed, false) {
			t.Errorf("seed %d: a later read saw less", seed)
		}
		found = found || backwards(seed, true)
	}
	if !found {
		t.Error("readers ignored uncertainty and nothing was seen")
	}
}

// TestLeadersFollow: the leader of a range that follows the workload goes to the region that most requests come from,
// and that of another range stays.
func TestLeadersFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
		defer cancel()
		var placed policies
		c, err := New(ctx, Config{Seed: 1, Tune: placed.far})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		home := placement.Policy{Name: "home", Leaders: []string{"r1"}}
		if err := placed.declare(ctx, c, home, placement.Policy{Name: "roams", Leaders: []string{"r1"}, Follow: true}); err != nil {
			t.Fatal(err)
		}
		g := &geo{c, t, ctx}
		leader := func(key int) ranges.NodeID {
			rep, _ := c.Nodes()[0].Core().Store.ReplicaForKey(listKey(key))
			return rep.LeaderHint()
		}
		for _, region := range []int{3, 2} {
			began := time.Now()
			for leader(1) != ranges.NodeID(region) {
				g.write(region, 0)
				g.write(region, 1)
				if time.Sleep(100 * time.Millisecond); time.Since(began) > 10*time.Minute {
					t.Fatalf("the leader is on node %d, the requests come from region %d", leader(1), region)
				}
			}
			t.Logf("followed to region %d after %s", region, time.Since(began).Round(time.Second))
			if leader(0) != 1 {
				t.Errorf("the other range's leader went to node %d", leader(0))
			}
		}
	})
}

// TestSimFarApart: with replicas so far apart that timestamps lie ahead of the clock by what replication takes, histories are
// strictly serializable, also when the network is suddenly much faster, or slower, than it was.
func TestSimFarApart(t *testing.T) {
	few := seeds(t)
	few = few[:min(2, len(few))]
	for _, seed := range few {
		far := Faults{Latency: 25 * time.Millisecond, Jitter: 5 * time.Millisecond}
		l := Life{Seed: seed, Clients: 32, Keys: 24, Length: 20 * time.Second, Schedule: Plan(seed, 3, 20*time.Second, 3*time.Second),
			Tune: func(c *server.CoreConfig) {
				c.Nearness = func(ranges.NodeID) int { return txn.FarRank + int(2*far.Latency/time.Microsecond) } // reads at followers
				c.TuneRanges = func(rc *ranges.Config) {
					rc.RoundTrip = func(ranges.NodeID) time.Duration { return 2 * far.Latency }
				}
			},
			Disturb: func(c *Cluster) { c.Net.SetFaults(far) },
			Aside: func(ctx context.Context, c *Cluster) {
				for n := 0; ctx.Err() == nil; n++ {
					pause(ctx, time.Second)
					if f := far; n%3 < 2 {
						c.Net.SetFaults(f)
					} else {
						f.Latency /= 10
						c.Net.SetFaults(f)
					}
				}
			}}
		report(t, seed, live(t, l))
	}
}

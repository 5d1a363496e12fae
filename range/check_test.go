package ranges

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
)

func (c *sim) check(r *Replica) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return r.Check(ctx)
}

// bend writes a version that no command has written into one node's state.
func (c *sim) bend(x *simNode, key string, ts truetime.Timestamp) {
	c.t.Helper()
	b := x.eng.NewBatch()
	b.Put([]byte(key), ts, []byte("bent"))
	if err := errors.Join(b.Commit(false), b.Close()); err != nil {
		c.t.Fatal(err)
	}
}

func brokenOn(x *simNode, id RangeID) bool {
	r, ok := x.store.Replica(id)
	return ok && r.broken.Load() != nil
}

// Replicas that have applied the same commands are equal, whatever else goes on: writes, garbage that one store has
// collected and others have not, a replica that came by a snapshot.
func TestCheckOfEqualReplicas(t *testing.T) {
	runSim(t, 90, 4, shortLogs, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		var last truetime.Timestamp
		for i := range 50 {
			last = c.mustPut(r, fmt.Sprintf("k%d", i%5), fmt.Sprint(i))
		}
		for _, x := range c.nodes {
			if _, ok := x.store.Replica(1); !ok {
				continue
			}
			b := x.eng.NewBatch()
			if err := errors.Join(b.SetGCThreshold(1, last), b.Commit(false), b.Close()); err != nil {
				t.Fatal(err)
			}
		}
		d := r.Desc()
		stats, err := c.nodes[2].eng.GC(context.Background(), mvcc.Span{Start: d.Start, End: d.End}, last)
		if err != nil || stats.Removed == 0 {
			t.Fatal(stats, err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; ctx.Err() == nil; i++ {
				if _, err := c.put(r, fmt.Sprintf("k%d", i%7), "x"); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		for range 5 {
			if err := c.check(r); err != nil {
				t.Error(err)
			}
		}
		if err := r.ChangeReplicas(ctx, []NodeID{1, 2, 3, 4}); err != nil {
			t.Fatal(err)
		}
		if err := c.check(r); err != nil {
			t.Error(err)
		}
		stop()
		<-done
		if at, differs := r.Checked(); at.IsZero() || differs != "" {
			t.Errorf("checked %s: %s", at, differs)
		}
		for _, x := range c.nodes {
			rep, _ := x.store.Replica(1)
			rep.checks.mu.Lock()
			k := rep.checks.last
			rep.checks.mu.Unlock()
			if <-k.done; k.err != nil {
				t.Errorf("%s: %v", x.id, k.err)
			}
			if brokenOn(x, 1) {
				t.Errorf("%s is out of service", x.id)
			}
		}
	})
}

// A replica that differs from a majority is out of service: it answers no reads, leads no more, and is so after a restart
// too. The range goes on.
func TestCheckOfDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		leader bool
		bend   func(c *sim, x *simNode)
	}{
		{"follower", false, func(c *sim, x *simNode) { c.bend(x, "k3", 1000) }},
		{"leader", true, func(c *sim, x *simNode) { c.bend(x, "k3", 1000) }},
		{"lost row", false, func(c *sim, x *simNode) {
			b := x.eng.NewBatch()
			b.ClearSpan(mvcc.Span{Start: []byte("k4"), End: []byte("k5")})
			if err := errors.Join(b.Commit(false), b.Close()); err != nil {
				c.t.Fatal(err)
			}
		}},
		{"local key", false, func(c *sim, x *simNode) {
			b := x.eng.NewBatch()
			b.PutLocal(mvcc.LocalKey(1, []byte("other")), []byte("x"))
			if err := errors.Join(b.Commit(false), b.Close()); err != nil {
				c.t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			damage := c
			runSim(t, 91, 3, func(c *Config) { c.Nodes = nil; c.CheckInterval = 10 * time.Minute }, func(c *sim) {
				c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
				r := c.leader("a", 5*time.Second)
				for i := range 10 {
					c.mustPut(r, fmt.Sprintf("k%d", i), fmt.Sprint(i))
				}
				victim := c.nodes[r.NodeID()]
				if !damage.leader {
					victim = c.nodes[r.NodeID()%3+1]
				}
				last := r.Status().Applied
				c.until(time.Minute, "the replica has what is to be damaged", func() bool {
					bad, _ := victim.store.Replica(1)
					return bad.Status().Applied >= last
				})
				damage.bend(c, victim)
				// Found without being asked for, within the interval.
				c.until(12*time.Minute, "the replica is out of service", func() bool { return brokenOn(victim, 1) })
				time.Sleep(time.Second)
				other := c.leader("a", 10*time.Second)
				if other.NodeID() == victim.id {
					t.Fatalf("%s leads", victim.id)
				}
				if _, what := r.Checked(); !strings.Contains(what, "differ") {
					t.Errorf("found: %q", what)
				}
				ts := c.mustPut(other, "k3", "new")
				for again := range 2 {
					bad, _ := victim.store.Replica(1)
					ctx, cancel := context.WithTimeout(context.Background(), time.Second)
					if err := bad.WaitSafe(ctx, ts); err == nil || bad.SafeTime() != 0 {
						t.Errorf("%d: a damaged replica serves reads: %v, safe time %s", again, err, bad.SafeTime())
					}
					cancel()
					if st := bad.Status(); !errors.Is(st.Failed, ErrDamaged) {
						t.Errorf("%d: status %v", again, st.Failed)
					}
					if again == 0 {
						c.stop(victim)
						c.restart(victim)
						time.Sleep(5 * time.Second)
					}
				}
				for _, x := range c.nodes {
					if x != victim && brokenOn(x, 1) {
						t.Errorf("%s is out of service", x.id)
					}
				}
			})
		})
	}
}

// Where no majority agrees nobody is taken out of service, but it is told.
func TestCheckWithoutMajority(t *testing.T) {
	runSim(t, 92, 2, func(c *Config) { c.Nodes = nil }, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "k", "v")
		c.bend(c.nodes[1], "k", 1000)
		if err := c.check(r); err != nil {
			t.Fatal(err)
		}
		if _, what := r.Checked(); !strings.Contains(what, "differ") {
			t.Errorf("found: %q", what)
		}
		if brokenOn(c.nodes[1], 1) || brokenOn(c.nodes[2], 1) {
			t.Error("a replica is out of service")
		}
	})
}

// A cluster whose nodes do not all know checks makes none.
func TestCheckWaitsForVersion(t *testing.T) {
	may := false
	runSim(t, 93, 3, func(c *Config) {
		c.Nodes, c.CheckInterval, c.MayCheck = nil, time.Minute, func() bool { return may }
	}, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		time.Sleep(10 * time.Minute)
		if at, _ := r.Checked(); !at.IsZero() {
			t.Error("a check was made")
		}
	})
}

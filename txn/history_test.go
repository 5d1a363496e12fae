package txn

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/history"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/participant"
)

// skewed gives node i a clock at one end of a wide interval: late on one, early on the next.
func skewed(i int) truetime.Clock {
	return truetime.NewSimClock(truetime.SimConfig{Bound: 20 * time.Millisecond, Offset: []time.Duration{0, 19 * time.Millisecond, -19 * time.Millisecond}[i%3]})
}

// workload returns a configuration over all gateways of c.
func (c *storeCluster) workload(seed uint64) history.Workload {
	w := history.Workload{
		Seed: seed, Clients: 6, Txns: 25, Keys: 6,
		Pause: func(r *rand.Rand) { time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond) },
		Stale: &kv.Staleness{Kind: kv.ExactStaleness, Age: int64(50 * time.Millisecond)},
	}
	for _, n := range c.nodes {
		w.DBs = append(w.DBs, n.db)
	}
	return w
}

// spread divides the workload's keys among several ranges with different leaders.
func (c *storeCluster) spread(ctx context.Context) {
	for i, at := range []string{"\x03history/0002", "\x03history/0004"} {
		rep := c.leader(at)
		if rep == nil {
			return
		}
		if err := rep.Split(ctx, []byte(at)); err != nil {
			c.t.Fatal(err)
		}
		to := ranges.NodeID(i + 2)
		for deadline := 0; ; deadline++ {
			if rep = c.leader(at); rep == nil {
				return
			}
			if rep.Store().NodeID() == to || deadline == 100 {
				break
			}
			_ = rep.TransferLease(ctx, to) // Refused while the target lags.
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// leader returns the replica that leads the range of key, once there is one: whatever else goes on, that is soon.
func (c *storeCluster) leader(key string) *ranges.Replica {
	for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
		for _, n := range c.nodes {
			if rep, ok := n.store.ReplicaForKey([]byte(key)); ok && rep.Lease().Until > n.clock.Now().Latest {
				return rep
			}
		}
	}
	c.t.Errorf("nobody leads the range of %q for 10 s", key)
	return nil
}

// run runs both workloads over three stores in a bubble, with disturb at their side.
func runHistories(t *testing.T, seed uint64, tune storeTune, disturb func(ctx context.Context, c *storeCluster, r *rand.Rand)) (reports map[string]*history.Report) {
	reports = map[string]*history.Report{}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		c := newStoreCluster(t, 3, func(int) (vfs.FS, string) { return vfs.NewMem(), "data" }, tune)
		defer c.close()
		c.replicated(ctx)
		c.spread(ctx)
		dctx, stop := context.WithCancel(ctx)
		disturbed := make(chan struct{})
		go func() {
			defer close(disturbed)
			if disturb != nil {
				disturb(dctx, c, rand.New(rand.NewPCG(seed, 77)))
			}
		}()
		h := history.RunListAppend(ctx, c.workload(seed))
		reports["list-append"] = history.Check(h)
		reports["timestamps"] = history.CheckTimestamps(h)
		w := c.workload(seed)
		w.Prefix = "\x03history/bank/"
		b, err := history.RunBank(ctx, w)
		stop()
		<-disturbed
		if err != nil {
			t.Fatal(err)
		}
		reports["bank"] = history.CheckBank(b)
		committed := 0
		for _, x := range h {
			if x.Outcome == history.Committed {
				committed++
			}
		}
		if committed < 100 || len(b.Transfers) < 50 {
			t.Errorf("only %d of %d transactions committed, %d transfers", committed, len(h), len(b.Transfers))
		}
	})
	return reports
}

// TestHistories: with clocks at opposite ends of wide intervals, and leases that move under the load, histories
// are strictly serializable, totals hold, and every commit timestamp lies where it must (I6).
func TestHistories(t *testing.T) {
	seeds := uint64(4)
	if testing.Short() {
		seeds = 1
	}
	for seed := uint64(0); seed < seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			reports := runHistories(t, seed, storeTune{clock: skewed}, func(ctx context.Context, c *storeCluster, r *rand.Rand) {
				for ctx.Err() == nil {
					time.Sleep(time.Duration(20+r.IntN(100)) * time.Millisecond)
					key := fmt.Sprintf("\x03history/%04d", r.IntN(6))
					lead := c.leader(key)
					if lead == nil {
						return
					}
					if r.IntN(4) == 0 {
						_ = lead.Split(ctx, []byte(key)) // May be refused: the key starts the range, or it is busy.
					} else {
						_ = lead.TransferLease(ctx, ranges.NodeID(1+r.IntN(3)))
					}
				}
			})
			for name, r := range reports {
				if err := r.Err(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// TestHistoriesBroken switches off one mechanism at a time: the checker must notice. A checker that does not
// would prove nothing above.
func TestHistoriesBroken(t *testing.T) {
	for _, c := range []struct {
		name  string
		tune  storeTune
		wants []string
	}{
		{"no commit wait", storeTune{clock: skewed, participant: func(p *participant.Config) { p.TestNoCommitWait = true }}, []string{"list-append", "timestamps", "bank"}},
		{"locks released early", storeTune{participant: func(p *participant.Config) { p.TestReleaseEarly = true }}, []string{"list-append", "bank"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := map[string]bool{}
			for seed := uint64(0); seed < 6 && len(found) < len(c.wants); seed++ {
				for name, r := range runHistories(t, seed, c.tune, nil) {
					if r.Err() != nil {
						found[name] = true
					}
				}
			}
			for _, name := range c.wants {
				if !found[name] {
					t.Errorf("%s did not notice", name)
				}
			}
		})
	}
}

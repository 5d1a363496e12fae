package sim

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server"
	"github.com/meridian-db/meridian/txn"
	"github.com/meridian-db/meridian/txn/participant"
)

// TestSimChecks compares the replicas of every range again and again while they crash, lose messages, split, merge and
// move, while transactions stage what they write and each store collects garbage in its own time: they are never
// found to differ.
func TestSimChecks(t *testing.T) {
	all := seeds(t)
	for _, seed := range all[:(len(all)+3)/4] { // each takes its time
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			var made atomic.Int64
			l := Life{Seed: seed, Keys: 8, Length: 40 * time.Second, Flush: true, Schedule: Plan(seed, 3, 40*time.Second, 1500*time.Millisecond)}
			l.Reshape(time.Second)
			tune, aside := l.Tune, l.Aside
			l.Tune = func(cc *server.CoreConfig) {
				if tune != nil {
					tune(cc)
				}
				cc.TuneTxn = func(c *txn.Config) { c.StageBytes = 1 }
				cc.TuneParticipant = func(c *participant.Config) {
					c.MoveAfter, c.GCTTL, c.GCInterval = 300*time.Millisecond, 2*time.Second, time.Second
				}
				old := cc.TuneRanges
				cc.TuneRanges = func(c *ranges.Config) {
					if old != nil {
						old(c)
					}
					c.CheckInterval, c.CheckRate = 200*time.Millisecond, 256<<10
				}
			}
			l.Aside = func(ctx context.Context, c *Cluster) {
				done := make(chan struct{})
				go func() {
					defer close(done)
					if aside != nil {
						aside(ctx, c)
					}
				}()
				last := map[*ranges.Replica]time.Time{}
				for ctx.Err() == nil {
					for _, n := range c.Nodes() {
						core := n.Core()
						if core == nil {
							continue
						}
						for _, r := range core.Store.Replicas() {
							at, differs := r.Checked()
							if differs != "" {
								t.Errorf("range %d on node %d: %s", r.ID(), n.ID, differs)
							}
							if failed := r.Status().Failed; failed != nil {
								t.Errorf("range %d on node %d: %v", r.ID(), n.ID, failed)
							}
							if !at.Equal(last[r]) {
								last[r] = at
								made.Add(1)
							}
						}
					}
					pause(ctx, 100*time.Millisecond)
				}
				<-done
			}
			report(t, seed, live(t, l))
			if made.Load() < 50 {
				t.Errorf("%d checks were made", made.Load())
			}
			t.Logf("%d checks", made.Load())
		})
	}
}

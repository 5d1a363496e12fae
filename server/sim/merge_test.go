package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server"
)

// reshape splits the data range between the lists and merges it again, all the time, wherever it is led.
func reshape(seed uint64, done func(merged bool)) func(ctx context.Context, c *Cluster) {
	return func(ctx context.Context, c *Cluster) {
		rng := rand.New(rand.NewPCG(seed, 11))
		points := [][]byte{{0x03, 0, 0, 1, 0, 0, 0, 0, 2}, {0x03, 0, 0, 2}, {0x03, 0, 0, 2, 0, 0, 0, 0, 3}}
		for ctx.Err() == nil {
			pause(ctx, time.Duration(20+rng.IntN(300))*time.Millisecond)
			key := points[rng.IntN(len(points))]
			merge := rng.IntN(2) == 0
			for _, n := range c.Nodes() {
				core := n.Core()
				if core == nil {
					continue
				}
				rep, ok := core.Store.ReplicaForKey(key)
				if ok && merge {
					// The range to the left of the split point, if it is one.
					if string(rep.Desc().Start) != string(key) {
						break
					}
					rep, ok = core.Store.ReplicaForKey(key[:len(key)-1])
				}
				if !ok || rep.Lease().Until <= n.Clock.Now().Latest {
					continue
				}
				try, cancel := context.WithTimeout(ctx, 5*time.Second)
				if merge {
					if err := rep.Merge(try); err == nil {
						done(true)
					}
				} else if err := rep.Split(try, key); err == nil {
					done(false)
				}
				cancel()
				break
			}
		}
	}
}

// TestSimMerges: ranges split and merge under transactions that use both sides of every boundary.
func TestSimMerges(t *testing.T) {
	list := seeds(t)
	if os.Getenv("MERIDIAN_SIM_SEEDS") == "" {
		list = list[:min(2, len(list))] // each takes as long as several of the others
	}
	for _, seed := range list {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			for _, faults := range []bool{false, true} {
				splits, merges := 0, 0
				l := Life{Seed: seed, Keys: 8, Length: 20 * time.Second, Flush: seed%2 == 0,
					Tune: func(cfg *server.CoreConfig) {
						cfg.TuneRanges = func(r *ranges.Config) { r.QueueInterval = 200 * time.Millisecond }
					},
					Aside: reshape(seed, func(merged bool) {
						if merged {
							merges++
						} else {
							splits++
						}
					})}
				if faults {
					// While a node is being replaced its ranges are not merged, which can take up all of this life.
					l.Schedule = slices.DeleteFunc(Plan(seed, 3, l.Length, 1500*time.Millisecond), func(e Event) bool { return e.Kind == KindReplace })
					l.Length += 20 * time.Second // some let little through; they are over then
				}
				report(t, seed, live(t, l))
				t.Logf("faults %v: %d splits, %d merges", faults, splits, merges)
				if merges < 3 {
					t.Errorf("seed %d: only %d merges: the run shows nothing", seed, merges)
				}
			}
		})
	}
}

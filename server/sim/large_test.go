package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/meridian-db/meridian/server"
	"github.com/meridian-db/meridian/txn"
	"github.com/meridian-db/meridian/txn/participant"
)

// splitLists splits the ranges of the lists between lists, one after the other, until each has a range of its own.
func splitLists(ctx context.Context, c *Cluster, rng *rand.Rand, keys int) {
	for _, i := range rng.Perm(keys) {
		for ctx.Err() == nil {
			pause(ctx, time.Duration(100+rng.IntN(2000))*time.Millisecond)
			core := c.Nodes()[rng.IntN(len(c.Nodes()))].Core()
			if core == nil {
				continue
			}
			rep, ok := core.Store.ReplicaForKey(listKey(i))
			if !ok {
				continue
			}
			try, cancel := context.WithTimeout(ctx, 2*time.Second)
			err := rep.Split(try, listKey(i))
			cancel()
			if err == nil {
				break
			}
		}
	}
}

// TestSimLarge: transactions that stage everything they write, piece by piece, under the faults of TestSimFaults, while
// the ranges that hold what they have staged split and what is committed is moved.
func TestSimLarge(t *testing.T) {
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := workload{keys: 8, clients: 8, length: 20 * time.Second, faults: true, flush: true}
			w.tune = func(cc *server.CoreConfig) {
				cc.TuneTxn = func(c *txn.Config) { c.StageBytes = 1 }
				cc.TuneParticipant = func(c *participant.Config) {
					c.MoveAfter, c.GCTTL, c.GCInterval = 300*time.Millisecond, 2*time.Second, time.Second
				}
			}
			w.aside = func(ctx context.Context, c *Cluster) {
				splitLists(ctx, c, rand.New(rand.NewPCG(seed, 77)), w.keys)
			}
			ops, errs := w.run(t, seed)
			report(t, seed, ops, errs)
		})
	}
}

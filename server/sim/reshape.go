package sim

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	"github.com/meridian-db/meridian/server"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/txn"
	"github.com/meridian-db/meridian/txn/participant"
)

// Reshape splits the data ranges at random lists and registers, moves what was split off and others, and merges them again,
// every so often on average, beside a life's load and faults.
func (l *Life) Reshape(every time.Duration) {
	l.Keys = cmp.Or(l.Keys, defaultKeys)
	l.Aside = func(ctx context.Context, c *Cluster) {
		rng := rand.New(rand.NewPCG(l.Seed, 11))
		t := &trouble{c: c, life: l}
		for ctx.Err() == nil {
			pause(ctx, time.Duration(rng.Int64N(int64(2*every)+1)))
			rep, at := t.leader(listKey(rng.IntN(l.Keys))), listKey(rng.IntN(l.Keys))
			if rng.IntN(2) == 0 {
				at = registerKey(rng.IntN(registers))
			}
			if rep == nil || ctx.Err() != nil {
				continue
			}
			try, cancel := context.WithTimeout(ctx, 5*time.Second)
			if n := rng.IntN(4); n == 0 {
				_ = rep.TransferLease(try, c.Nodes()[rng.IntN(len(c.Nodes()))].ID)
			} else if n == 1 {
				_ = rep.Merge(try) // the last range has no neighbour, others may have no time for it
			} else if rep := t.leader(at); rep != nil && rep.Split(try, at) == nil && rng.IntN(2) == 0 {
				// The new range goes away at once, from under those who have not heard of it.
				if rep := t.leader(at); rep != nil {
					_ = rep.TransferLease(try, c.Nodes()[rng.IntN(len(c.Nodes()))].ID)
				}
			}
			cancel()
		}
	}
}

// stage has a life's transactions stage what they write as soon as they say so, however little it is.
func (l *Life) stage() {
	tune := l.Tune
	l.Tune = func(cfg *server.CoreConfig) {
		if tune != nil {
			tune(cfg)
		}
		own := cfg.TuneTxn
		cfg.TuneTxn = func(c *txn.Config) {
			c.StageBytes = 1
			if own != nil {
				own(c)
			}
		}
	}
}

// Hurry has a life of this length see what a cluster does over hours: garbage is collected, what was staged is moved, and
// what small tables leave is dealt with as if they were large.
func (l *Life) Hurry() {
	tune, length := l.Tune, l.Length
	l.Tune = func(cfg *server.CoreConfig) {
		if tune != nil {
			tune(cfg)
		}
		p := cfg.TuneParticipant
		cfg.TuneParticipant = func(c *participant.Config) {
			c.MoveAfter = max(300*time.Millisecond, length/100)
			c.GCTTL, c.GCInterval = max(25*time.Second, length/4), max(time.Second, length/20)
			if p != nil {
				p(c)
			}
		}
		cfg.TuneCatalog = func(c *catalog.Config) {
			c.GarbageEvery, c.GarbageKeys = max(2*time.Second, length/40), 10
		}
	}
}

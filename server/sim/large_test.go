package sim

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn"
	"github.com/meridian-db/meridian/txn/kv"
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
			l := Life{Seed: seed, Keys: 8, Length: 20 * time.Second, Flush: true, Schedule: Plan(seed, 3, 20*time.Second, 1500*time.Millisecond)}
			l.Tune = func(cc *server.CoreConfig) {
				cc.TuneTxn = func(c *txn.Config) { c.StageBytes = 1 }
				cc.TuneParticipant = func(c *participant.Config) {
					c.MoveAfter, c.GCTTL, c.GCInterval = 300*time.Millisecond, 2*time.Second, time.Second
				}
			}
			l.Aside = func(ctx context.Context, c *Cluster) {
				splitLists(ctx, c, rand.New(rand.NewPCG(seed, 77)), l.Keys)
			}
			report(t, seed, live(t, l))
		})
	}
}

// TestSimLoadSpreads: ranges split by size while one transaction loads into them, so that its rows end up in many ranges;
// it commits them all at once.
func TestSimLoadSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		c, err := New(ctx, Config{Seed: 1, Tune: func(cc *server.CoreConfig) {
			cc.TuneTxn = func(c *txn.Config) { c.StageBytes = 8 << 10 }
			cc.TuneRanges = func(c *ranges.Config) { c.SplitBytes = 64 << 10 }
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		const rows = 4000
		db := c.Nodes()[0].Core().DB
		tx, err := db.Begin(ctx, kv.TxnOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(ctx)
		for i := range rows {
			key := []byte(fmt.Sprintf("\x03\x00\x00\x01%06d", i))
			if err := tx.Put(key, bytes.Repeat([]byte("v"), 150)); err != nil {
				t.Fatal(err)
			}
			if i%50 == 49 {
				if err := tx.Flush(ctx); err != nil {
					t.Fatal(err)
				}
				pause(ctx, 20*time.Millisecond)
			}
		}
		dataRanges := func() (n int) {
			for _, s := range c.Nodes()[0].Core().Store.Status() {
				if bytes.Compare(s.Desc.End, []byte{0x03}) > 0 {
					n++
				}
			}
			return n
		}
		if n := dataRanges(); n < 4 {
			t.Errorf("%d ranges while the load was under way", n)
		}
		ts, err := tx.Commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []truetime.Timestamp{ts.Prev(), ts} {
			for _, node := range c.Nodes() {
				r, err := node.Core().DB.Begin(ctx, kv.TxnOptions{ReadOnly: true, Staleness: kv.Staleness{Kind: kv.ReadTimestamp, At: at}})
				if err != nil {
					t.Fatal(err)
				}
				s, err := r.Scan(ctx, kv.Span{Start: []byte{0x03}, End: []byte{0x04}}, kv.ScanOptions{})
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				for s.Next(ctx) {
					n++
				}
				if s.Err() != nil {
					t.Fatal(s.Err())
				}
				s.Close()
				if want := map[bool]int{true: rows}[at == ts]; n != want {
					t.Errorf("node %d: %d rows at commit%+d, want %d", node.ID, n, at-ts, want)
				}
			}
		}
	})
}

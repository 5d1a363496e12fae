package txn

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// merge makes the range of left absorb that of right, its neighbour. Both must be led by one node.
func (c *testCluster) merge(left, right string) {
	c.t.Helper()
	l, r := c.rangeOf(left), c.rangeOf(right)
	lead, rlead := l.replicas[ranges.NodeID(l.leader.Load())], r.replicas[ranges.NodeID(r.leader.Load())]
	if lead.node != rlead.node {
		c.t.Fatalf("%s is led by %s, %s by %s", left, lead.node, right, rlead.node)
	}
	releaseLeft, err := lead.m.PrepareMerge(context.Background(), rlead.m)
	if err != nil {
		c.t.Fatal(err)
	}
	releaseRight, err := rlead.m.PrepareSplit(context.Background(), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	p, err := l.propose(lead, ranges.Proposal{}, func() {
		d, rd := l.desc.Load(), r.desc.Load()
		merged := *d
		merged.End, merged.Generation = rd.End, max(d.Generation, rd.Generation+1)+1
		for _, rep := range l.replicas {
			// The engine is shared: what the followers add is thrown away.
			b := c.engine.NewIndexedBatch()
			if err := rep.m.MergeState(b, r.replicas[rep.node].m); err != nil {
				panic(err)
			}
			if rep == lead {
				if err := b.Commit(false); err != nil {
					panic(err)
				}
			}
			b.Close()
			rep.m.Merge(r.replicas[rep.node].m)
		}
		l.desc.Store(&merged)
		c.mu.Lock()
		for i, x := range c.ranges {
			if x == r {
				c.ranges = append(c.ranges[:i:i], c.ranges[i+1:]...)
				break
			}
		}
		c.mu.Unlock()
		close(r.queue)
	})
	if err != nil {
		c.t.Fatal(err)
	}
	<-p.done
	releaseRight()
	releaseLeft()
	for _, rep := range r.replicas {
		rep.m.Close()
	}
}

// TestMergeWhilePreparing: a commit over three ranges has prepared one, to which it only reads, when that loses its leader,
// and with it the promise, and absorbs the next one before that is prepared. Its writes there must not be forgotten.
func TestMergeWhilePreparing(t *testing.T) {
	inCluster(t, 3, nil, []string{"g", "p"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "a", "0", "h", "0", "q", "0") // on nodes 2, 3 and 1
		tx := c.begin(2, kv.TxnOptions{})
		if _, err := tx.Get(ctx, []byte("h"), kv.LockShared, kv.WaitBlock); err != nil {
			t.Fatal(err)
		}
		// The first is led here, and decides.
		for _, key := range []string{"a", "b", "q"} {
			if err := tx.Put([]byte(key), []byte("1")); err != nil {
				t.Fatal(err)
			}
		}
		reader, third := c.rangeOf("h").id, c.rangeOf("q").id
		prepared := make(chan struct{})
		var once, twice sync.Once
		c.inject(func(from, to ranges.NodeID, req *txnpb.BatchRequest) fault {
			if req.Kind != txnpb.Kind_PREPARE {
				return deliver
			}
			switch ranges.RangeID(req.RangeId) {
			case reader:
				once.Do(func() { time.AfterFunc(10*time.Millisecond, func() { close(prepared) }) })
			case third:
				<-prepared
				twice.Do(func() {
					c.transfer("h", 1, false)
					c.merge("h", "q")
				})
			}
			return deliver
		})
		_, err := tx.Commit(ctx)
		c.inject(nil)
		want := "a=1 b=1 h=0 q=1"
		if err != nil {
			if want = "a=0 h=0 q=0"; !errors.Is(err, kv.ErrRetry) {
				t.Errorf("commit: %v", err)
			}
		}
		c.writeMeta()
		if got := c.all(3); got != want {
			t.Errorf("commit answered %v, and left %q", err, got)
		}
		if len(c.ranges) != 3 {
			t.Error("no merge: the test shows nothing")
		}
	})
}

// TestRouteOfAbsorbedRange: the range a gateway knows was absorbed by one that has been split since, and who says so does
// not know who holds the keys now.
func TestRouteOfAbsorbedRange(t *testing.T) {
	inCluster(t, 3, nil, []string{"g", "p"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "h", "0", "q", "0")
		c.transfer("q", 3, true)
		c.put(2, "q", "1") // node 2 knows where it is
		c.merge("h", "q")
		c.split("m")
		// The merged range's leader, who is the one asked, has forgotten what it was split into.
		c.transfer("h", 1, false)
		c.transfer("h", 3, false)
		tx := c.begin(2, kv.TxnOptions{ReadOnly: true})
		defer tx.Rollback(ctx)
		if got := c.get(tx, "q"); got != "1" {
			t.Errorf("node 2 reads %q", got)
		}
	})
}

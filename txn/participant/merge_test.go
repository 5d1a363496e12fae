package participant

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// merge makes a range absorb its right neighbour as the store does. Both are led by the left one's leader for it, with
// the locks of the right one if handoff.
func (c *cluster) merge(ctx context.Context, left, right ranges.RangeID, handoff bool) {
	c.t.Helper()
	g, rg := c.groups[left], c.groups[right]
	leader := g.leaderNode()
	if old := rg.leaderNode(); old != leader {
		var locks []byte
		if handoff {
			locks = rg.replicas[old].m.LeaseHandoff()
		}
		rg.elect(leader, locks)
	}
	m := g.replicas[leader].m
	releaseLeft, err := m.PrepareMerge(ctx, rg.replicas[leader].m)
	if err != nil {
		c.t.Fatal(err)
	}
	releaseRight, err := rg.replicas[leader].m.PrepareSplit(ctx, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, x := range []*group{g, rg} {
		x.mu.Lock()
		n := len(x.log)
		x.mu.Unlock()
		for _, r := range x.replicas {
			r.catchUp(n)
		}
	}
	for id, r := range g.replicas {
		b := r.n.eng.NewIndexedBatch()
		if err := r.m.MergeState(b, rg.replicas[id].m); err != nil {
			c.t.Fatal(err)
		}
		local := mvcc.LocalSpan(uint64(right))
		b.DeleteLocalRange(local.Start, local.End)
		if err := b.Commit(false); err != nil {
			c.t.Fatal(err)
		}
		b.Close()
		if c.merging != nil && id == leader {
			c.merging(r.m)
		}
		r.m.Merge(rg.replicas[id].m)
	}
	rg.mu.Lock()
	end, gen, floor := rg.desc.End, rg.desc.Generation+1, rg.floor // the freeze has a generation of its own
	rg.mu.Unlock()
	g.mu.Lock()
	merged := *g.desc
	merged.End, merged.Generation = end, max(merged.Generation, gen)+1
	g.desc, g.floor = &merged, max(g.floor, floor)
	g.mu.Unlock()
	releaseRight()
	releaseLeft()
	for _, r := range rg.replicas {
		r.m.Close()
	}
}

// inMerges runs f over three nodes and ranges 1 up to h, 2 up to p, and 3.
func inMerges(t *testing.T, f func(ctx context.Context, t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, clusterConfig{nodes: 3, splits: []string{"h", "p"}, delay: time.Millisecond, eps: time.Millisecond})
		defer c.close()
		f(context.Background(), t, c)
	})
}

// TestMergeRefusesStalePrepare: a gateway that does not know of a merge takes the absorbed range for another participant,
// so what it sends to the merged one is a part of what that has to prepare.
func TestMergeRefusesStalePrepare(t *testing.T) {
	inMerges(t, func(ctx context.Context, t *testing.T, c *cluster) {
		cl := client{c, 1}
		writer, reader, one := cl.begin(1), cl.begin(2), cl.begin(3)
		if _, err := reader.read(ctx, "j", txnpb.LockMode_LOCK_SHARED); err != nil {
			t.Fatal(err)
		}
		writer.put("k", "1")
		one.put("n", "1")
		before := int64(c.groups[2].descriptor().Generation)
		c.merge(ctx, 2, 3, true)
		gen := int64(c.groups[2].descriptor().Generation)
		prepare := func(x *testTxn, gen int64) (*txnpb.BatchResponse, error) {
			req := x.withWrites(txnpb.Kind_PREPARE, 2)
			req.CommitId, req.CoordinatorRange, req.CoordinatorKey = c.commitID(), 1, []byte("\x02")
			req.DescGeneration = gen
			return x.send(ctx, 2, req)
		}
		stale := func(when string) {
			t.Helper()
			for _, x := range []*testTxn{writer, reader} {
				resp, err := prepare(x, before)
				mustEqual(t, when+": a PREPARE by the old descriptor", codeOf(err), txnpb.ErrorCode_RANGE_MISMATCH)
				if d, err := ranges.DecodeDescriptor(resp.Descriptors[0]); err != nil || d.Generation != uint64(gen) {
					t.Fatal(when, d, err)
				}
			}
		}
		stale("after the merge")
		// What is committed here alone is here whole.
		req := one.withWrites(txnpb.Kind_COMMIT_ONE, 2)
		req.CommitId, req.DescGeneration = c.commitID(), before
		if _, err := one.send(ctx, 2, req); err != nil {
			t.Fatal(err)
		}
		g := c.groups[2]
		g.elect(3, g.replicas[g.leaderNode()].m.LeaseHandoff())
		stale("under the next leader")
		for _, x := range []*testTxn{writer, reader} {
			if _, err := prepare(x, gen); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestSweepWhileMerging: a merge brings what a transaction has staged in the right range before its locks. A sweep in
// between does not take it for what nobody owns.
func TestSweepWhileMerging(t *testing.T) {
	inMerges(t, func(ctx context.Context, t *testing.T, c *cluster) {
		cl := client{c, 1}
		large := cl.begin(2)
		large.put("q", "large")
		if err := large.stage(ctx); err != nil {
			t.Fatal(err)
		}
		swept := false
		c.merging = func(m *Machine) {
			m.sweep()
			swept = m.lead.Load().table.Lookup(large.id) == nil
		}
		c.merge(ctx, 2, 3, true)
		if !swept {
			t.Fatal("the locks were there at the sweep: this shows nothing")
		}
		time.Sleep(100 * time.Millisecond)
		large.epochs[2] = large.epochs[3]
		delete(large.epochs, 3)
		ts, err := large.commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		v, _, err := cl.snapshot(ctx, "q", ts)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "q", v, "large")
	})
}

// TestMergeKeepsStrongReads: what was committed in the right range is seen in the merged one, although the left one's
// last commit is older.
func TestMergeKeepsStrongReads(t *testing.T) {
	for _, handoff := range []bool{true, false} {
		inMerges(t, func(ctx context.Context, t *testing.T, c *cluster) {
			cl := client{c, 1}
			time.Sleep(time.Second) // the leases are older than what is committed
			load(ctx, t, cl, 1, "j=1")
			load(ctx, t, cl, 2, "q=1") // by a leader that is gone when the ranges merge
			c.merge(ctx, 2, 3, handoff)
			for _, key := range []string{"q", "j"} {
				v, _, err := cl.snapshot(ctx, key, 0)
				if err != nil {
					t.Fatal(err)
				}
				mustEqual(t, key, v, "1")
			}
		})
	}
}

// TestMergeKnowsOutcomes: who asks for the outcome of a commit that the right range has decided is told by the merged
// one, and by either half of that.
func TestMergeKnowsOutcomes(t *testing.T) {
	inMerges(t, func(ctx context.Context, t *testing.T, c *cluster) {
		cl := client{c, 1}
		time.Sleep(2 * seenMargin) // the merged range's leader could take the commit for a new one
		x, id := cl.begin(1), c.commitID()
		x.put("q", "1")
		ts, err := x.commitAs(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		c.merge(ctx, 2, 3, true)
		ask := func(at ranges.RangeID, id []byte) *txnpb.BatchResponse {
			t.Helper()
			req := &txnpb.BatchRequest{Kind: txnpb.Kind_QUERY, CommitId: id, AbortIfUndecided: true}
			resp, err := c.send(ctx, 1, at, req)
			if err != nil || resp.Error != txnpb.ErrorCode_OK {
				t.Fatal(resp, err)
			}
			return resp
		}
		committed := func(at ranges.RangeID) {
			t.Helper()
			resp := ask(at, id)
			mustEqual(t, "outcome", resp.Outcome, txnpb.Outcome_OUTCOME_COMMITTED)
			mustEqual(t, "timestamp", truetime.Timestamp(resp.CommitTs), ts)
		}
		// A repetition of the request itself finds it.
		again := cl.begin(1)
		again.put("q", "1")
		req := again.withWrites(txnpb.Kind_COMMIT_ONE, 2)
		req.CommitId = id
		resp, err := again.send(ctx, 2, req)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "timestamp of the repetition", truetime.Timestamp(resp.CommitTs), ts)
		committed(2)
		if err := c.split(ctx, 2, 7, "q"); err != nil {
			t.Fatal(err)
		}
		committed(2)
		committed(7)
	})
}

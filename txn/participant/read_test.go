package participant

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// one runs f in a bubble over a cluster with one range.
func one(t *testing.T, f func(ctx context.Context, c *cluster, cl client)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, clusterConfig{nodes: 3, delay: time.Millisecond, eps: time.Millisecond})
		defer c.close()
		f(context.Background(), c, client{c, 1})
	})
}

// load commits pairs "k=v".
func load(ctx context.Context, t *testing.T, cl client, n byte, pairs ...string) truetime.Timestamp {
	t.Helper()
	x := cl.begin(n)
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		x.put(k, v)
	}
	ts, err := x.commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

// scan sends a span read of a..z and shows the answer.
func (x *testTxn) scan(ctx context.Context, set func(*txnpb.BatchRequest)) (string, *txnpb.BatchResponse, error) {
	req := x.req(txnpb.Kind_READ, 1)
	req.SpanStarts, req.SpanEnds = [][]byte{[]byte("a")}, [][]byte{[]byte("z")}
	set(req)
	resp, err := x.send(ctx, 1, req)
	if err != nil {
		return "", resp, err
	}
	var b strings.Builder
	for i, k := range resp.RowKeys {
		fmt.Fprintf(&b, "%s=%s ", k, resp.RowValues[i])
	}
	if r := resp.ResumeKeys[0]; len(r) > 0 {
		fmt.Fprintf(&b, "from %q", r)
	}
	return strings.TrimSpace(b.String()), resp, nil
}

func exclusive(req *txnpb.BatchRequest) { req.Lock = txnpb.LockMode_LOCK_EXCLUSIVE }

func TestSpanPages(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		load(ctx, t, cl, 1, "b=1", "d=2", "f=3", "h=4")
		x := cl.begin(2)
		got, _, err := x.scan(ctx, func(r *txnpb.BatchRequest) { exclusive(r); r.MaxRows = 2 })
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "first page", got, `b=1 d=2 from "f"`)
		// Only what was answered is locked: f is free, c (a gap in the page) is not.
		y := cl.begin(3)
		y.put("f", "5")
		if _, err := y.commit(ctx); err != nil {
			t.Fatal(err)
		}
		z := cl.begin(4)
		req := z.req(txnpb.Kind_READ, 1)
		req.Keys, req.Lock, req.Wait = [][]byte{[]byte("c")}, txnpb.LockMode_LOCK_SHARED, txnpb.WaitPolicy_WAIT_ERROR
		_, err = z.send(ctx, 1, req)
		mustEqual(t, "phantom", codeOf(err), txnpb.ErrorCode_LOCK_NOT_AVAILABLE)
		got, _, err = x.scan(ctx, func(r *txnpb.BatchRequest) { exclusive(r); r.SpanStarts[0] = []byte("f") })
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "second page", got, "f=5 h=4")
		got, _, err = x.scan(ctx, func(r *txnpb.BatchRequest) { exclusive(r); r.Reverse = true; r.MaxRows = 3 })
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "backwards", got, `h=4 f=5 d=2 from "b\x00"`)
	})
}

func TestSkipLockedAndNoWait(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		load(ctx, t, cl, 1, "b=1", "d=2", "f=3")
		holder := cl.begin(2)
		if _, err := holder.read(ctx, "d", txnpb.LockMode_LOCK_EXCLUSIVE); err != nil {
			t.Fatal(err)
		}
		// Even an older transaction takes nothing from the holder by these.
		x := cl.begin(1)
		got, _, err := x.scan(ctx, func(r *txnpb.BatchRequest) { exclusive(r); r.Wait = txnpb.WaitPolicy_WAIT_SKIP })
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "SKIP LOCKED", got, "b=1 f=3")
		_, _, err = x.scan(ctx, func(r *txnpb.BatchRequest) { exclusive(r); r.Wait = txnpb.WaitPolicy_WAIT_ERROR })
		mustEqual(t, "NOWAIT", codeOf(err), txnpb.ErrorCode_LOCK_NOT_AVAILABLE)
		young := cl.begin(9)
		req := young.req(txnpb.Kind_READ, 1)
		req.Keys, req.Lock, req.LockTimeout = [][]byte{[]byte("d")}, txnpb.LockMode_LOCK_SHARED, int64(time.Second)
		began := time.Now()
		_, err = young.send(ctx, 1, req)
		mustEqual(t, "lock timeout", codeOf(err), txnpb.ErrorCode_LOCK_TIMEOUT)
		mustEqual(t, "waited", time.Since(began), time.Second)
	})
}

func TestSnapshotConflicts(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		ts := load(ctx, t, cl, 1, "b=1", "d=2", "f=3")
		load(ctx, t, cl, 2, "d=4", "e=5")
		x := cl.begin(3)
		at := func(r *txnpb.BatchRequest) {
			exclusive(r)
			r.ConflictTs, r.LockScope = int64(ts), txnpb.LockScope_LOCK_ROWS
		}
		_, _, err := x.scan(ctx, at)
		mustEqual(t, "changed row", codeOf(err), txnpb.ErrorCode_WRITE_CONFLICT)
		got, _, err := x.scan(ctx, func(r *txnpb.BatchRequest) { at(r); r.SpanStarts[0] = []byte("e") })
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "rows of the snapshot", got, "f=3") // e is newer than the snapshot: not a row of it
		x.put("d", "6")
		req := x.withWrites(txnpb.Kind_COMMIT_ONE, 1)
		req.CommitId, req.ConflictTs = c.commitID(), int64(ts)
		_, err = x.send(ctx, 1, req)
		mustEqual(t, "blind write", codeOf(err), txnpb.ErrorCode_WRITE_CONFLICT)
		// Rows are locked, gaps are not.
		y := cl.begin(4)
		y.put("g", "1")
		if _, err := y.commit(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

func TestInsertConditions(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		load(ctx, t, cl, 1, "b=1")
		x := cl.begin(2)
		x.write(txnpb.WriteOp_WRITE_INSERT, "b", "2")
		_, err := x.commit(ctx)
		mustEqual(t, "insert", codeOf(err), txnpb.ErrorCode_CONDITION_FAILED)
		x.rollback(ctx, nil)
		y := cl.begin(3)
		y.write(txnpb.WriteOp_WRITE_DELETE, "b", "")
		if _, err := y.commit(ctx); err != nil {
			t.Fatal(err)
		}
		z := cl.begin(4)
		z.write(txnpb.WriteOp_WRITE_INSERT, "b", "3")
		if _, err := z.commit(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// TestStrongReadOfIdleRange: the leader answers at the timestamp of its last commit, but not below the GC threshold when
// that has passed it.
func TestStrongReadOfIdleRange(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		load(ctx, t, cl, 1, "b=1")
		time.Sleep(5 * time.Hour)
		m := c.groups[1].replicas[1].m
		if err := m.RaiseGCThreshold(ctx, truetime.FromTime(time.Now().Add(-time.Hour))); err != nil {
			t.Fatal(err)
		}
		if threshold := truetime.Timestamp(m.threshold.Load()); threshold <= truetime.Timestamp(m.lead.Load().lastTS.Load()) {
			t.Fatalf("the threshold is %s: the test shows nothing", threshold)
		}
		v, _, err := cl.snapshot(ctx, "b", 0)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "value", v, "1")
	})
}

// TestSplit: locks above the key move, transactions with locks on both sides commit over both halves, and
// those that do not know of the split are told.
func TestSplit(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		x := cl.begin(1)
		for _, k := range []string{"b", "n"} {
			if _, err := x.read(ctx, k, txnpb.LockMode_LOCK_EXCLUSIVE); err != nil {
				t.Fatal(err)
			}
		}
		parent := x.epochs[1]
		if err := c.split(ctx, 1, 7, "m"); err != nil {
			t.Fatal(err)
		}

		// Another transaction finds the moved lock held.
		y := cl.begin(2)
		req := y.req(txnpb.Kind_READ, 7)
		req.Keys, req.Lock, req.Wait = [][]byte{[]byte("n")}, txnpb.LockMode_LOCK_SHARED, txnpb.WaitPolicy_WAIT_ERROR
		_, err := y.send(ctx, 7, req)
		mustEqual(t, "moved lock", codeOf(err), txnpb.ErrorCode_LOCK_NOT_AVAILABLE)

		// A commit that thinks of one range is told of the other.
		x.put("b", "1")
		one := x.withWrites(txnpb.Kind_COMMIT_ONE, 1)
		one.CommitId, one.DescGeneration = c.commitID(), 1
		resp, err := x.send(ctx, 1, one)
		mustEqual(t, "commit with the old descriptor", codeOf(err), txnpb.ErrorCode_RANGE_MISMATCH)
		mustEqual(t, "descriptors in the answer", len(resp.Descriptors), 2)
		if d, err := ranges.DecodeDescriptor(resp.Descriptors[1]); err != nil || d.ID != 7 {
			t.Fatal(d, err)
		}
		x.epochs[7] = parent
		x.put("n", "2")
		if _, err := x.commit(ctx); err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{"b", "n"} {
			if v, _, err := cl.snapshot(ctx, k, 0); err != nil || v == "-" {
				t.Fatal(k, v, err)
			}
		}
	})
}

// TestFollowerReadAcrossSplit: while a follower waits until it may answer, the keys are split off and written, and it has
// not heard of the write yet. Its safe time says nothing about them.
func TestFollowerReadAcrossSplit(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		load(ctx, t, cl, 1, "b=0", "n=0")
		var written truetime.Timestamp
		c.groups[1].replicas[3].beforeSafe = func() {
			if written != 0 {
				return
			}
			if err := c.split(ctx, 1, 7, "m"); err != nil {
				t.Error(err)
			}
			c.mu.Lock()
			c.down[3] = true
			c.mu.Unlock()
			written = load(ctx, t, cl, 2, "n=1")
		}
		ts := c.nodes[3].srv.cfg.Clock.Now().Latest.Add(time.Second)
		read := func(key string) *txnpb.BatchResponse {
			req := &txnpb.BatchRequest{Kind: txnpb.Kind_READ, RangeId: 1, Keys: [][]byte{[]byte(key)}, ReadTs: int64(ts), FollowerOk: true}
			resp, err := c.nodes[3].srv.Batch(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		resp := read("n")
		if written == 0 || written > ts {
			t.Fatalf("written at %s, read at %s", written, ts)
		}
		mustEqual(t, "read of what was split off", resp.Error, txnpb.ErrorCode_RANGE_MISMATCH)
		resp = read("b")
		mustEqual(t, "read of what has stayed", resp.Error, txnpb.ErrorCode_OK)
		mustEqual(t, "value", string(resp.Values[0]), "0")
	})
}

// TestFollowerCutOffFromLeader: a replica whose leader cannot be asked sends readers elsewhere. That the transport's error
// has no name here makes no internal error of it.
func TestFollowerCutOffFromLeader(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, _ client) {
		r := c.groups[1].replicas[3]
		for _, tc := range []struct {
			err  error
			want txnpb.ErrorCode
		}{
			{errors.New("connection lost"), txnpb.ErrorCode_NOT_LEADER},
			{ranges.ErrOverloaded, txnpb.ErrorCode_UNAVAILABLE},
		} {
			r.safeErr = tc.err
			ts := c.nodes[3].srv.cfg.Clock.Now().Latest.Add(time.Second)
			resp, err := c.nodes[3].srv.Batch(ctx, &txnpb.BatchRequest{
				Kind: txnpb.Kind_READ, RangeId: 1, Keys: [][]byte{[]byte("b")}, ReadTs: int64(ts), FollowerOk: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			mustEqual(t, tc.err.Error(), resp.Error, tc.want)
		}
	})
}

// TestSplitWaits: a split waits for prepared transactions and blocks new ones.
func TestSplitWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, clusterConfig{nodes: 2, splits: []string{"m"}, delay: time.Millisecond, eps: time.Millisecond})
		defer c.close()
		ctx := context.Background()
		s := &script{c: c, start: time.Now(), decide: map[string]*txnpb.BatchRequest{}, commits: map[string][]byte{"t1": c.commitID()}}
		x := client{c, 1}.begin(1)
		x.put("a", "1")
		x.put("n", "1")
		s.prepare(ctx, x, "t1", 2)
		split := make(chan func(), 1)
		go func() {
			release, err := c.groups[2].replicas[2].m.PrepareSplit(ctx, []byte("t"))
			if err != nil {
				t.Error(err)
			}
			split <- release
		}()
		time.Sleep(time.Second)
		if len(split) != 0 {
			t.Fatal("split in the middle of a prepared transaction")
		}
		y := client{c, 1}.begin(2)
		y.put("z", "1")
		y.put("b", "1")
		done := make(chan error, 1)
		go func() {
			_, err := y.commit(ctx)
			done <- err
		}()
		time.Sleep(time.Second)
		s.sendDecide(ctx, x, "t1")
		release := <-split
		time.Sleep(time.Second)
		if len(done) != 0 {
			t.Fatal("prepare passed the gate")
		}
		release()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestSafeTimeAndHeartbeat(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		ts := load(ctx, t, cl, 1, "b=1")
		resp, err := c.nodes[2].srv.Batch(ctx, &txnpb.BatchRequest{Kind: txnpb.Kind_SAFE_TIME, RangeIds: []int64{1, 99}})
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.SafeTimes) != 2 || resp.SafeTimes[0] < int64(ts) || resp.SafeTimes[1] != 0 {
			t.Fatal(resp.SafeTimes)
		}
		young, old := cl.begin(9), cl.begin(2)
		if _, err := young.read(ctx, "b", txnpb.LockMode_LOCK_EXCLUSIVE); err != nil {
			t.Fatal(err)
		}
		if _, err := old.read(ctx, "b", txnpb.LockMode_LOCK_EXCLUSIVE); err != nil {
			t.Fatal(err)
		}
		resp, err = c.nodes[1].srv.Batch(ctx, &txnpb.BatchRequest{Kind: txnpb.Kind_HEARTBEAT, TxnIds: [][]byte{young.id[:], old.id[:]}})
		if err != nil || len(resp.LostTxnIds) != 1 || resp.LostTxnIds[0][0] != 9 {
			t.Fatal(resp, err)
		}
		young.put("b", "2")
		_, err = young.commit(ctx)
		mustEqual(t, "wounded commit", codeOf(err), txnpb.ErrorCode_WOUNDED)
	})
}

// TestTooLate: a bound on the commit timestamp is kept, and the transaction can still be rolled back.
func TestTooLate(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		// The range's promises are already past the bound, the clock is not.
		if _, _, err := cl.snapshot(ctx, "b", truetime.FromTime(time.Now().Add(time.Minute))); err != nil {
			t.Fatal(err)
		}
		x := cl.begin(1)
		x.put("b", "1")
		req := x.withWrites(txnpb.Kind_COMMIT_ONE, 1)
		req.CommitId, req.MaxTs = c.commitID(), int64(truetime.FromTime(time.Now().Add(time.Second)))
		_, err := x.send(ctx, 1, req)
		mustEqual(t, "late commit", codeOf(err), txnpb.ErrorCode_COMMIT_TOO_LATE)
		x.rollback(ctx, nil)
		y := cl.begin(2)
		if v, err := y.read(ctx, "b", txnpb.LockMode_LOCK_SHARED); err != nil || v != "-" {
			t.Fatal(v, err)
		}
	})
}

// TestCanceledCommit: a canceled request leaves its commit to the server, which ends it.
func TestCanceledCommit(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		cctx, cancel := context.WithTimeout(ctx, 500*time.Microsecond)
		defer cancel()
		x := cl.begin(1)
		x.put("b", "1")
		id := c.commitID()
		if _, err := x.commitAs(cctx, id); err == nil {
			t.Fatal("not canceled")
		}
		y := cl.begin(2)
		v, err := y.read(ctx, "b", txnpb.LockMode_LOCK_SHARED)
		if err != nil || v != "1" {
			t.Fatal(v, err)
		}
		if _, err := x.commitAs(ctx, id); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSilentLoss: a RESOLVE, or a recovery's QUERY, that is never answered over a healthy connection is sent again.
func TestSilentLoss(t *testing.T) {
	for _, kind := range []txnpb.Kind{txnpb.Kind_RESOLVE, txnpb.Kind_QUERY} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, clusterConfig{nodes: 2, splits: []string{"m"}, delay: time.Millisecond, eps: time.Millisecond})
			defer c.close()
			ctx := context.Background()
			lost := 0
			c.mu.Lock()
			c.mute = func(_ ranges.NodeID, req *txnpb.BatchRequest) bool {
				if req.Kind == kind && lost < 2 {
					lost++
					return true
				}
				return false
			}
			c.mu.Unlock()
			s := &script{c: c, start: time.Now(), decide: map[string]*txnpb.BatchRequest{}, commits: map[string][]byte{"t1": c.commitID()}}
			x := client{c, 1}.begin(1)
			x.put("a", "1")
			x.put("n", "1")
			s.prepare(ctx, x, "t1", 2)
			if kind == txnpb.Kind_RESOLVE {
				s.sendDecide(ctx, x, "t1")
			}
			time.Sleep(20 * time.Second)
			m := c.groups[2].replicas[2].m
			m.mu.RLock()
			records := len(m.state.records)
			m.mu.RUnlock()
			c.mu.Lock()
			defer c.mu.Unlock()
			if lost != 2 || records != 0 || m.lead.Load().table.Len() != 0 {
				t.Errorf("%s: %d lost, %d records left", kind, lost, records)
			}
		})
	}
}

// A commit that finishes between the look at LastTS and the look at the locks may have been answered before the read came,
// by its coordinator. The read must see it.
func TestLastTSWhileCommitFinishes(t *testing.T) {
	var l leadership
	l.lastTS.Store(10)
	looks := 0
	last, ok := l.lastFinished(func() bool {
		if looks++; looks == 1 {
			l.finished(20)
		}
		return true
	})
	if !ok || last != 20 {
		t.Errorf("LastTS is %v, %v", last, ok)
	}
	if _, ok = l.lastFinished(func() bool { return false }); ok {
		t.Error("LastTS holds although what is read is locked")
	}
	next := truetime.Timestamp(30)
	if _, ok = l.lastFinished(func() bool { l.finished(next); next++; return true }); ok {
		t.Error("LastTS holds although it does not stand still")
	}
}

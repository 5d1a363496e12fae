package participant

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// largeWorld is a range with rows and one large commit over them: rows deleted by span, staged before and after that,
// and with the commit.
type largeWorld struct {
	t      *testing.T
	ctx    context.Context
	c      *cluster
	cl     client
	before truetime.Timestamp // when its first writes were staged, before the commit
	ts     truetime.Timestamp
}

const (
	rowsBefore = "b=1 k005=5 k006=6 k123=123 x=2"
	rowsAfter  = "b=1 k007=staged after k008=staged after k009=with the commit x=2"
)

func newLargeWorld(ctx context.Context, t *testing.T, c *cluster, cl client) *largeWorld {
	w := &largeWorld{t: t, ctx: ctx, c: c, cl: cl}
	pairs := strings.Fields(rowsBefore)
	load(ctx, t, cl, 1, pairs...)
	x := cl.begin(2)
	x.put("k005", "staged before, and deleted")
	x.stageOrFail(ctx, t)
	time.Sleep(time.Second)
	w.before = truetime.FromTime(time.Now())
	x.write(txnpb.WriteOp_WRITE_DELETE_SPAN, "k", "l")
	x.put("k007", "staged after")
	x.put("k008", "staged after")
	x.stageOrFail(ctx, t)
	// A piece that was sent again, and came late: an old number under a new timestamp counts for nothing.
	late := x.req(txnpb.Kind_STAGE, 1)
	late.StageSeq = 0
	late.WriteKeys, late.WriteValues = [][]byte{[]byte("k005")}, [][]byte{[]byte("staged before, and deleted")}
	if _, err := x.send(ctx, 1, late); err != nil {
		t.Fatal(err)
	}
	// It sees its own writes.
	got, _, err := x.scan(ctx, exclusive)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "own view", got, "b=1 k007=staged after k008=staged after x=2")
	got, _, err = x.scan(ctx, func(r *txnpb.BatchRequest) { exclusive(r); r.Reverse = true })
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "own view, reverse", got, "x=2 k008=staged after k007=staged after b=1")
	if v, err := x.read(ctx, "k005", txnpb.LockMode_LOCK_EXCLUSIVE); err != nil || v != "-" {
		t.Fatal(v, err)
	}
	x.put("k009", "with the commit")
	time.Sleep(time.Second)
	if w.ts, err = x.commit(ctx); err != nil {
		t.Fatal(err)
	}
	return w
}

// keeping is one with a cluster that collects no garbage.
func keeping(t *testing.T, f func(ctx context.Context, c *cluster, cl client)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, clusterConfig{nodes: 3, delay: time.Millisecond, eps: time.Millisecond, config: func(c *Config) { c.GCTTL = -1 }})
		defer c.close()
		f(context.Background(), c, client{c, 1})
	})
}

func (x *testTxn) stageOrFail(ctx context.Context, t *testing.T) {
	t.Helper()
	if err := x.stage(ctx); err != nil {
		t.Fatal(err)
	}
}

// at reads everything at ts, on the leader.
func (w *largeWorld) at(ts truetime.Timestamp) string {
	w.t.Helper()
	got, _, err := w.cl.begin(3).scan(w.ctx, func(r *txnpb.BatchRequest) { r.ReadTs = int64(ts) })
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

// onFollower reads everything at ts on a replica that does not lead.
func (w *largeWorld) onFollower(node ranges.NodeID, ts truetime.Timestamp) string {
	w.t.Helper()
	req := &txnpb.BatchRequest{
		Kind: txnpb.Kind_READ, RangeId: 1, SpanStarts: [][]byte{[]byte("a")}, SpanEnds: [][]byte{[]byte("z")},
		ReadTs: int64(ts), FollowerOk: true,
	}
	resp, err := w.c.nodes[node].srv.Batch(w.ctx, req)
	if err != nil || resp.Error != 0 || !resp.Follower {
		w.t.Fatal(resp, err)
	}
	var b strings.Builder
	for i, k := range resp.RowKeys {
		fmt.Fprintf(&b, "%s=%s ", k, resp.RowValues[i])
	}
	return strings.TrimSpace(b.String())
}

// check looks at the commit from all sides.
func (w *largeWorld) check(what string) {
	w.t.Helper()
	for _, x := range []struct {
		ts   truetime.Timestamp
		want string
	}{{w.before, rowsBefore}, {w.ts - 1, rowsBefore}, {w.ts, rowsAfter}, {w.ts + 1, rowsAfter}} {
		mustEqual(w.t, what+", on the leader", w.at(x.ts), x.want)
		mustEqual(w.t, what+", on a follower", w.onFollower(3, x.ts), x.want)
	}
	for k, want := range map[string]string{"k005": "-", "k007": "staged after", "k009": "with the commit", "k123": "-", "b": "1"} {
		got, _, err := w.cl.snapshot(w.ctx, k, w.ts)
		if err != nil {
			w.t.Fatal(err)
		}
		mustEqual(w.t, what+", point "+k, got, want)
	}
}

// equal checks that the replicas hold the same, and nothing provisional once every layer has been moved.
func (w *largeWorld) equal(what string) {
	w.t.Helper()
	time.Sleep(time.Second) // for what is still in the log
	data := mvcc.RangeData{RangeID: 1, Span: mvcc.Span{Start: []byte{2}, End: []byte{0xff}}}
	first := w.c.nodes[1].eng
	for _, n := range w.c.nodes {
		same, where, err := mvcc.EqualData(first, n.eng, data)
		if err != nil || !same {
			w.t.Fatalf("%s: node %d differs at %q: %v", what, n.id, where, err)
		}
	}
	for _, r := range w.c.groups[1].replicas {
		if n := len(r.m.state.layers) + len(r.m.state.staged) + len(r.m.state.records); n != 0 || r.m.layers.Load() != nil {
			w.t.Fatalf("%s: node %d has %d layers, heads and records left", what, r.n.id, n)
		}
	}
	err := mvcc.LayerKeys(first, &mvcc.Layer{Txn: mvcc.TxnID{2}}, data.Span, func(key []byte) bool {
		w.t.Errorf("%s: %q has not been moved", what, key)
		return true
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestLargeCommitIsReadableAtOnce: on the leader and on followers, by point and by span, while its locks are free; and
// nothing changes when it is moved.
func TestLargeCommitIsReadableAtOnce(t *testing.T) {
	keeping(t, func(ctx context.Context, c *cluster, cl client) {
		w := newLargeWorld(ctx, t, c, cl)
		m := c.groups[1].replicas[1].m
		mustEqual(t, "layers", len(m.state.layers), 1)
		mustEqual(t, "locks", m.lead.Load().table.Len(), 0)
		w.check("committed")
		got, _, err := cl.begin(4).scan(ctx, func(r *txnpb.BatchRequest) { r.Strong = true })
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "strong read", got, rowsAfter)
		if v, err := cl.begin(4).read(ctx, "k007", txnpb.LockMode_LOCK_SHARED); err != nil || v != "staged after" {
			t.Fatal(v, err)
		}
		c.groups[1].elect(2, nil)
		w.check("after a change of leaders")
		for _, r := range c.groups[1].replicas {
			r.m.Reset()
		}
		w.check("after a restart")
		time.Sleep(time.Hour)
		w.equal("moved")
		w.check("moved")
	})
}

// TestLayers: what later transactions, small and large, make of a large commit that has not been moved.
func TestLayers(t *testing.T) {
	keeping(t, func(ctx context.Context, c *cluster, cl client) {
		w := newLargeWorld(ctx, t, c, cl)
		load(ctx, t, cl, 5, "k007=small", "k123=again")

		// A large one over both, which reads what it writes over.
		x := cl.begin(6)
		got, _, err := x.scan(ctx, exclusive)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "read by a large one", got, "b=1 k007=small k008=staged after k009=with the commit k123=again x=2")
		x.put("k008", "large")
		x.write(txnpb.WriteOp_WRITE_DELETE, "k007", "")
		x.stageOrFail(ctx, t)
		got, _, err = x.scan(ctx, exclusive)
		if err != nil {
			t.Fatal(err)
		}
		own := "b=1 k008=large k009=with the commit k123=again x=2"
		mustEqual(t, "own view over a layer", got, own)
		first := truetime.FromTime(time.Now())
		time.Sleep(time.Second)
		ts2, err := x.commit(ctx)
		if err != nil {
			t.Fatal(err)
		}

		// And one that deletes all of it.
		y := cl.begin(7)
		y.write(txnpb.WriteOp_WRITE_DELETE_SPAN, "k", "l")
		y.stageOrFail(ctx, t)
		y.put("k2", "last")
		ts3, err := y.commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string) {
			t.Helper()
			w.check(what)
			mustEqual(t, what+", second", w.at(ts2), own)
			mustEqual(t, what+", before the third", w.at(ts3-1), own)
			mustEqual(t, what+", third", w.at(ts3), "b=1 k2=last x=2")
			mustEqual(t, what+", third, on a follower", w.onFollower(2, ts3), "b=1 k2=last x=2")

			// What a snapshot transaction from before the second commit, though after its writes were staged, may not
			// write over: rows of it, and the span deleted later.
			for key, want := range map[string]txnpb.ErrorCode{
				"k008": txnpb.ErrorCode_WRITE_CONFLICT, "k007": txnpb.ErrorCode_WRITE_CONFLICT,
				"k009": txnpb.ErrorCode_WRITE_CONFLICT, "b": 0,
			} {
				z := cl.begin(8)
				req := z.req(txnpb.Kind_STAGE, 1)
				req.ConflictTs, req.WriteKeys, req.WriteValues = int64(first), [][]byte{[]byte(key)}, [][]byte{nil}
				if resp, err := z.send(ctx, 1, req); resp == nil || resp.Error != want {
					t.Fatalf("%s: write of %s: %v", what, key, err)
				}
				z.rollback(ctx, nil)
			}
			for _, span := range [][2]string{{"k008", "k0080"}, {"k", "l"}} {
				for ts, want := range map[truetime.Timestamp]txnpb.ErrorCode{first: txnpb.ErrorCode_WRITE_CONFLICT, ts3: 0} {
					z := cl.begin(9)
					req := z.req(txnpb.Kind_READ, 1)
					req.Lock, req.ConflictTs = txnpb.LockMode_LOCK_EXCLUSIVE, int64(ts)
					req.SpanStarts, req.SpanEnds = [][]byte{[]byte(span[0])}, [][]byte{[]byte(span[1])}
					if resp, err := z.send(ctx, 1, req); resp == nil || resp.Error != want {
						t.Fatalf("%s: locking read of %v at %s: %v", what, span, ts, err)
					}
					z.rollback(ctx, nil)
				}
			}
		}
		mustEqual(t, "layers", len(c.groups[1].replicas[1].m.state.layers), 3)
		check("three layers")
		time.Sleep(time.Hour)
		check("moved")
		w.equal("moved")
	})
}

// TestMoveIsReplicated: replicas that restart in the middle of moving a layer, and that collect garbage when they
// like, end with the same data; the threshold of that stays below the layer until then (I3).
func TestMoveIsReplicated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// No mover but this test.
		c := newCluster(t, clusterConfig{nodes: 3, delay: time.Millisecond, eps: time.Millisecond, config: func(c *Config) {
			c.MoveAfter, c.GCTTL = 1000*time.Hour, -1
		}})
		defer c.close()
		ctx, cl := context.Background(), client{c, 1}
		value := strings.Repeat("v", 16<<10)
		old := cl.begin(1)
		for i := range 100 {
			old.put(fmt.Sprintf("d%03d", i), value)
		}
		if _, err := old.commit(ctx); err != nil {
			t.Fatal(err)
		}
		load(ctx, t, cl, 2, "d007=newer")
		x := cl.begin(3)
		for i := range 100 {
			x.put(fmt.Sprintf("k%03d", i), value)
			if i%10 == 9 {
				x.stageOrFail(ctx, t)
			}
		}
		x.write(txnpb.WriteOp_WRITE_DELETE_SPAN, "d", "e")
		x.put("d050", "kept")
		x.stageOrFail(ctx, t)
		ts, err := x.commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		w := &largeWorld{t: t, ctx: ctx, c: c, cl: cl, ts: ts}
		count := func(what string) {
			t.Helper()
			for _, id := range []ranges.NodeID{1, 2, 3} {
				n := 0
				s := mvcc.NewScanner(c.nodes[id].eng, mvcc.ScanOptions{
					Span: mvcc.Span{Start: []byte("a"), End: []byte("z")}, TS: ts,
					View: mvcc.View{Layers: c.groups[1].replicas[id].m.layers.Load()},
				})
				for s.Next() {
					n++
				}
				if err := s.Err(); err != nil || n != 101 {
					t.Fatalf("%s, node %d: %d rows, %v", what, id, n, err)
				}
				s.Close()
			}
		}
		count("committed")
		m := c.groups[1].replicas[1].m
		pieces := 0
		for ; m.layers.Load() != nil; pieces++ {
			if pieces > 100 {
				t.Fatal("no end")
			}
			var id TxnID
			for x := range m.state.layers {
				id = x
			}
			if err := m.movePiece(ctx, id, 0); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			count(fmt.Sprintf("piece %d", pieces))
			r := c.groups[1].replicas[ranges.NodeID(pieces%3+1)]
			r.m.Reset()
			if err := m.RaiseGCThreshold(ctx, truetime.FromTime(time.Now())); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if m.layers.Load() != nil && truetime.Timestamp(m.threshold.Load()) >= ts {
				t.Fatal("I3: the threshold has reached a layer that is not moved")
			}
			r.m.dirty.Store(true)
			if err := r.m.collect(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if pieces < 5 {
			t.Fatalf("%d pieces are not enough to test anything", pieces)
		}
		for _, r := range c.groups[1].replicas {
			r.m.dirty.Store(true)
			if err := r.m.collect(ctx); err != nil {
				t.Fatal(err)
			}
		}
		w.equal("moved")
		count("moved")
	})
}

// TestDeletedSpanIsCleared: what a deletion of a span has hidden goes without a tombstone for each key, once nobody may
// read below it; not if something as new as the deletion lies in the span, of its own transaction or another.
func TestDeletedSpanIsCleared(t *testing.T) {
	for _, keep := range []string{"", "own", "later", "undecided"} {
		t.Run("keep "+keep, func(t *testing.T) {
			one(t, func(ctx context.Context, c *cluster, cl client) {
				var pairs []string
				for i := range 200 {
					pairs = append(pairs, fmt.Sprintf("k%03d=%d", i, i))
				}
				load(ctx, t, cl, 1, append(pairs, "b=1", "x=2")...)
				x := cl.begin(2)
				x.write(txnpb.WriteOp_WRITE_DELETE_SPAN, "k", "l")
				x.stageOrFail(ctx, t)
				if keep == "own" {
					x.put("k100", "kept")
				}
				ts, err := x.commit(ctx)
				if err != nil {
					t.Fatal(err)
				}
				y := cl.begin(3)
				want := "b=1 x=2"
				switch keep {
				case "own":
					want = "b=1 k100=kept x=2"
				case "later":
					load(ctx, t, cl, 4, "k150=later")
					want = "b=1 k150=later x=2"
				case "undecided":
					y.put("k120", "undecided")
					y.stageOrFail(ctx, t)
					id := y.id[:]
					stop := make(chan struct{})
					defer close(stop)
					go func() {
						for {
							select {
							case <-time.After(time.Second):
								for _, n := range c.nodes {
									_, _ = n.srv.Batch(ctx, &txnpb.BatchRequest{Kind: txnpb.Kind_HEARTBEAT, TxnIds: [][]byte{id}})
								}
							case <-stop:
								return
							}
						}
					}()
				}
				scan := func() string {
					got, _, err := cl.begin(5).scan(ctx, func(r *txnpb.BatchRequest) { r.Strong = true })
					if err != nil {
						t.Fatal(err)
					}
					return got
				}
				mustEqual(t, "deleted", scan(), want)
				versions := func() int64 {
					size, err := mvcc.Size(c.nodes[3].eng, mvcc.Span{Start: []byte("k"), End: []byte("l")})
					if err != nil {
						t.Fatal(err)
					}
					return size.Versions
				}
				if n := versions(); n < 200 {
					t.Fatalf("%d versions in the deleted span", n)
				}
				time.Sleep(59 * time.Minute)
				w := &largeWorld{t: t, ctx: ctx, c: c, cl: cl}
				if got := w.at(ts - 1); !strings.Contains(got, "k123=123") {
					t.Fatalf("before: %s", got)
				}
				tombstones := int64(0)
				for range 30 { // the pass that moves it and collects the garbage comes by in this time
					time.Sleep(10 * time.Second)
					tombstones = max(tombstones, versions()-201)
				}
				mustEqual(t, "without a tombstone for each", tombstones <= 0, keep == "")
				mustEqual(t, "later", scan(), want)
				if keep == "" {
					mustEqual(t, "versions left", versions(), 0)
				}
				if keep == "undecided" {
					if _, err := y.commit(ctx); err != nil {
						t.Fatal(err)
					}
					mustEqual(t, "decided", scan(), "b=1 k120=undecided x=2")
				}
			})
		})
	}
}

// TestLatePiece: a staged piece that was sent twice, and whose second copy gets into the log behind the commit, changes
// nothing, though its timestamp lies above what others have written since.
func TestLatePiece(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		x := cl.begin(1)
		x.put("a", "first")
		x.put("b", "staged")
		x.stageOrFail(ctx, t)
		x.put("a", "second")
		x.stageOrFail(ctx, t)
		if _, err := x.commit(ctx); err != nil {
			t.Fatal(err)
		}
		load(ctx, t, cl, 2, "b=later")
		m := c.groups[1].replicas[1].m
		late := &command{kind: cmdStage, txn: x.id, ts: m.now(), writes: writeSet{
			keys: [][]byte{[]byte("a"), []byte("b")}, values: [][]byte{[]byte("first"), []byte("staged")},
		}}
		if _, err := m.logged(ctx, late); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			got, _, err := cl.begin(3).scan(ctx, func(r *txnpb.BatchRequest) { r.ReadTs = int64(m.now()) })
			if err != nil {
				t.Fatal(err)
			}
			mustEqual(t, "rows", got, "a=second b=later")
			time.Sleep(time.Hour)
		}
	})
}

// TestStagedOnce: whether a layer is known to have one version of each key, by the order in which its pieces came.
func TestStagedOnce(t *testing.T) {
	piece := func(keys string) *writeSet {
		var w writeSet
		for _, k := range keys {
			w.keys, w.values = append(w.keys, []byte(string(k))), append(w.values, nil)
		}
		return &w
	}
	for _, x := range []struct {
		pieces []string
		once   bool
	}{
		{[]string{"abc", "def", "xyz"}, true},
		{[]string{"xyz", "abc", "def"}, true},
		{[]string{"ac", "b"}, false}, // b is not known not to be there
		{[]string{"abc", "cde"}, false},
		{[]string{"cde", "abc"}, false},
		{[]string{"ae", "ae"}, false},
		{[]string{"bc", "ad"}, false},
	} {
		st := &stagedTxn{pieces: []mvcc.Span{}}
		for _, p := range x.pieces {
			st.note(piece(p))
		}
		if once := st.pieces != nil; once != x.once {
			t.Errorf("%v: %v", x.pieces, once)
		}
	}
	st := &stagedTxn{pieces: []mvcc.Span{}}
	for i := range 10 * maxPieces {
		st.note(&writeSet{keys: [][]byte{[]byte(fmt.Sprintf("%05d", 2*i))}, values: [][]byte{nil}})
	}
	if n := len(st.pieces); n != maxPieces {
		t.Errorf("%d pieces", n)
	}
	if st.note(&writeSet{keys: [][]byte{[]byte("00007")}, values: [][]byte{nil}}); st.pieces != nil {
		t.Error("a key between joined pieces is taken to be new")
	}
}

// TestManyLocks: a transaction that locks very many keys holds few locks, whether it reads or writes them, and takes none
// from others.
func TestManyLocks(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		const batch, batches = 500, 60
		other := cl.begin(1)
		taken := fmt.Sprintf("k%06d", batch*(batches-5)+7)
		if _, err := other.read(ctx, taken, txnpb.LockMode_LOCK_EXCLUSIVE); err != nil {
			t.Fatal(err)
		}
		x := cl.begin(2)
		table := c.groups[1].replicas[1].m.lead.Load().table
		for i := range batches {
			var keys [][]byte
			for j := range batch {
				if key := fmt.Sprintf("k%06d", i*batch+j); key != taken {
					keys = append(keys, []byte(key))
				}
			}
			req := x.req(txnpb.Kind_READ, 1)
			req.Lock, req.Keys = txnpb.LockMode_LOCK_EXCLUSIVE, keys
			if _, err := x.send(ctx, 1, req); err != nil {
				t.Fatal(err)
			}
			for _, k := range keys {
				x.put(string(k), "v")
			}
			x.stageOrFail(ctx, t)
		}
		if n := table.Points(table.Lookup(x.id)); n > maxPointLocks+2*batch {
			t.Errorf("%d locks", n)
		}
		for _, k := range []string{"k000000", "k015000", fmt.Sprintf("k%06d", batch*batches-1)} {
			y := cl.begin(3)
			req := y.req(txnpb.Kind_READ, 1)
			req.Keys, req.Lock, req.Wait = [][]byte{[]byte(k)}, txnpb.LockMode_LOCK_SHARED, txnpb.WaitPolicy_WAIT_ERROR
			_, err := y.send(ctx, 1, req)
			mustEqual(t, "lock of "+k, codeOf(err), txnpb.ErrorCode_LOCK_NOT_AVAILABLE)
		}
		other.put(taken, "other")
		if _, err := other.commit(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := x.commit(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// TestAbortedStagedWritesGo: what an aborted transaction has staged never counts, is removed from every replica, and is
// in nobody's way meanwhile.
func TestAbortedStagedWritesGo(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		load(ctx, t, cl, 1, "k1=1", "k2=2")
		x := cl.begin(2)
		for i := range 50 {
			x.put(fmt.Sprintf("k%d", i), strings.Repeat("v", 32<<10))
		}
		x.stageOrFail(ctx, t)
		x.rollback(ctx, nil)
		load(ctx, t, cl, 3, "k2=3", "k9=9")
		for range 2 {
			got, _, err := cl.begin(4).scan(ctx, exclusive)
			if err != nil {
				t.Fatal(err)
			}
			mustEqual(t, "rows", got, "k1=1 k2=3 k9=9")
			time.Sleep(time.Minute)
		}
		(&largeWorld{t: t, ctx: ctx, c: c, cl: cl}).equal("aborted")
	})
}

// TestSplitWithStaged: a range that holds staged writes of several transactions splits, again and again, before and
// after they commit. Each half moves, or drops, its own.
func TestSplitWithStaged(t *testing.T) {
	keeping(t, func(ctx context.Context, c *cluster, cl client) {
		load(ctx, t, cl, 1, "b=1", "h=1", "p=1", "t=1")
		large := cl.begin(2)
		for _, k := range []string{"b", "h", "p", "t"} {
			large.put(k, "large")
		}
		large.write(txnpb.WriteOp_WRITE_DELETE_SPAN, "u", "x")
		large.stageOrFail(ctx, t)
		dead := cl.begin(3)
		for _, k := range []string{"c", "i", "q"} {
			dead.put(k, "dead")
		}
		dead.stageOrFail(ctx, t)
		if err := c.split(ctx, 1, 2, "k"); err != nil {
			t.Fatal(err)
		}
		large.epochs[2], dead.epochs[2] = large.epochs[1], dead.epochs[1]
		// It goes on in either half, and the lower half splits again.
		large.put("a", "large")
		large.put("r", "large")
		large.stageOrFail(ctx, t)
		if err := c.split(ctx, 1, 3, "f"); err != nil {
			t.Fatal(err)
		}
		large.epochs[3], dead.epochs[3] = large.epochs[1], dead.epochs[1]
		if v, err := large.read(ctx, "h", txnpb.LockMode_LOCK_EXCLUSIVE); err != nil || v != "large" {
			t.Fatal(v, err)
		}
		ts, err := large.commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.split(ctx, 2, 4, "q"); err != nil {
			t.Fatal(err)
		}
		dead.epochs[4] = dead.epochs[2]
		dead.rollback(ctx, nil)
		rows := func() string {
			var b bytes.Buffer
			for _, k := range []string{"a", "b", "c", "h", "i", "p", "q", "r", "t"} {
				v, _, err := cl.snapshot(ctx, k, ts)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&b, "%s=%s ", k, v)
			}
			return strings.TrimSpace(b.String())
		}
		want := "a=large b=large c=- h=large i=- p=large q=- r=large t=large"
		mustEqual(t, "committed", rows(), want)
		for id, g := range c.groups {
			g.elect(ranges.NodeID(int(id)%3+1), nil)
		}
		mustEqual(t, "after a change of leaders", rows(), want)
		time.Sleep(time.Hour)
		mustEqual(t, "moved", rows(), want)
		for id, g := range c.groups {
			for _, r := range g.replicas {
				if n := len(r.m.state.layers) + len(r.m.state.staged) + len(r.m.state.records); n != 0 {
					t.Errorf("range %d, node %d: %d left", id, r.n.id, n)
				}
			}
			desc := g.descriptor()
			for _, x := range []*testTxn{large, dead} {
				_ = mvcc.LayerKeys(c.nodes[2].eng, &mvcc.Layer{Txn: mvcc.TxnID(x.id)}, mvcc.Span{Start: desc.Start, End: desc.End}, func(k []byte) bool {
					t.Errorf("range %d: %q is left of transaction %d", id, k, x.id[0])
					return true
				})
			}
		}
	})
}

// TestMergeOfHeadAndLayer: a split leaves the head of a large transaction in a half that it has written nothing to. It
// commits in the other, and the halves are merged before that head has been dropped.
func TestMergeOfHeadAndLayer(t *testing.T) {
	keeping(t, func(ctx context.Context, c *cluster, cl client) {
		large := cl.begin(2)
		large.put("b", "large")
		large.stageOrFail(ctx, t)
		if err := c.split(ctx, 1, 2, "k"); err != nil {
			t.Fatal(err)
		}
		ts, err := large.commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		c.merge(ctx, 1, 2, true)
		m := c.groups[1].replicas[c.groups[1].leaderNode()].m
		if m.state.staged[large.id] == nil || m.state.layers[large.id] == nil {
			t.Fatal("the range has not both: this shows nothing")
		}
		time.Sleep(5 * time.Second)
		v, _, err := cl.snapshot(ctx, "b", ts)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "b", v, "large")
		if m.state.staged[large.id] != nil {
			t.Error("the head is still there")
		}
	})
}

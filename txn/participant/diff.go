package participant

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// Kinds of a row of DIFF.
const (
	rowExists  = 1 // at its timestamp
	rowExisted = 2 // right below it
)

// diff answers what was committed in a span between two timestamps. It is a read at the later one: what makes
// that safe, makes it certain that nothing at or below it is still to come, prepared transactions included. Who reads on
// from there has missed nothing, whichever replica answers next, and nothing has to be kept for him meanwhile.
func (m *Machine) diff(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	after, ts := truetime.Timestamp(req.MinTs), truetime.Timestamp(req.MaxTs)
	desc := m.rep.Desc()
	if len(req.SpanStarts) != 1 || ts <= 0 {
		return invalid("differences of %d spans up to %s", len(req.SpanStarts), ts)
	}
	if !contains(desc, req) {
		return errMismatch
	}
	// I7: a commit whose timestamp has not passed yet is not to be seen.
	if err := m.srv.cfg.Clock.WaitAfter(ctx, ts); err != nil {
		return err
	}
	if err := m.settleDiff(ctx, req, resp, ts); err != nil {
		return err
	}
	writes := m.tailWrites(desc.Generation, after, ts)
	left := newPageLimit(req)
	view := m.view(req)
	var last []byte
	err := mvcc.Diffs(m.rep.Engine(), mvcc.DiffOptions{
		Span: mvcc.Span{Start: req.SpanStarts[0], End: req.SpanEnds[0]}, After: after, TS: ts,
		View: mvcc.View{Layers: view.Layers}, Previous: req.Previous, Writes: writes,
	}, func(c *mvcc.Diff) bool {
		if !bytes.Equal(c.Key, last) || last == nil {
			// A page ends between keys. One key's history is not bounded by it, only by the time asked about.
			if left.exhausted() {
				resp.ResumeKeys = [][]byte{bytes.Clone(c.Key)}
				return false
			}
			last = bytes.Clone(c.Key)
		}
		var kind byte
		if !c.Deleted {
			kind |= rowExists
		}
		if c.Existed {
			kind |= rowExisted
		}
		resp.RowKeys = append(resp.RowKeys, last)
		resp.RowTs = append(resp.RowTs, int64(c.TS))
		resp.RowKinds = append(resp.RowKinds, kind)
		resp.RowValues = append(resp.RowValues, bytes.Clone(c.Value))
		if req.Previous {
			resp.RowPrevious = append(resp.RowPrevious, bytes.Clone(c.Previous))
		}
		left.take(last, c.Value)
		left.bytes -= int64(len(c.Previous))
		return ctx.Err() == nil
	})
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case m.rep.Desc().Generation != desc.Generation:
		return errMismatch // what was split off may have gone on without this replica
	}
	m.srv.metrics.diffs.Add(float64(len(resp.RowKeys)))
	return mvcc.CheckGC(after, truetime.Timestamp(m.threshold.Load()))
}

// settleDiff waits until nothing in the span can be committed at or below ts any more, and all that was is applied
// here.
func (m *Machine) settleDiff(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse, ts truetime.Timestamp) error {
	if ts <= m.rep.SafeTime() || m.srv.cfg.TestFeedUnsettled {
		return nil
	}
	l, err := m.leader()
	if err == nil {
		return m.settle(ctx, l, req, resp, ts)
	}
	if !req.FollowerOk || m.lead.Load() != nil {
		return err
	}
	resp.Follower = true
	return m.rep.WaitSafe(ctx, ts)
}

// tail remembers what was written to a range lately, for readers of changes who come back all the time: without it they
// would have to look through the memtable, which time bounds do not divide. It is kept by the replicas that are asked
// only. Apply adds to it and never waits for a reader; what does not fit is found by a scan.
type tail struct {
	gen uint64 // of the descriptor it was begun under: splits and merges begin it anew

	mu sync.Mutex
	// since: every write committed above it is in writes, in the order of their application.
	since  truetime.Timestamp
	writes []mvcc.Write
	bytes  int64
	asked  atomic.Bool // since the last sweep
}

const (
	tailBytes  = 1 << 20  // of one range
	tailsBytes = 64 << 20 // of a store
	tailSweeps = 30       // a tail is dropped when nobody has asked for that many sweeps
	writeBytes = 48       // a mvcc.Write, and what its key takes besides its length
)

// tailWrites returns the writes committed in (after, ts] when the tail has them all, else nil: look for them. gen is the
// generation of the range's descriptor, as the reader knows it. The first question begins the tail.
func (m *Machine) tailWrites(gen uint64, after, ts truetime.Timestamp) []mvcc.Write {
	t := m.tail.Load()
	if t == nil || t.gen != gen {
		m.mu.Lock() // keeps Apply out: newest is that of the moment
		if t = m.tail.Load(); t == nil || t.gen != gen {
			m.dropTail(t)
			t = &tail{gen: gen, since: truetime.Timestamp(m.newest.Load())}
			m.tail.Store(t)
		}
		m.mu.Unlock()
	}
	if !t.asked.Load() {
		t.asked.Store(true)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if after < t.since {
		return nil
	}
	writes := []mvcc.Write{}
	for _, w := range t.writes {
		if w.TS > after && w.TS <= ts {
			writes = append(writes, w)
		}
	}
	slices.SortFunc(writes, mvcc.Write.Compare)
	return writes
}

// noteWrites adds writes to the tail, if there is one. Only Apply calls it, under m.mu.
func (m *Machine) noteWrites(w *writeSet, ts truetime.Timestamp) {
	t := m.tail.Load()
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var size int64
	for _, k := range w.keys {
		size += int64(len(k)) + writeBytes
	}
	if t.bytes+size > tailBytes {
		m.clearTailLocked(t)
	}
	if size > tailBytes/2 || m.srv.tailBytes.Load()+size > tailsBytes {
		m.clearTailLocked(t)
		t.since = max(t.since, ts)
		return
	}
	for i, k := range w.keys {
		if w.op(i) != txnpb.WriteOp_WRITE_DELETE_SPAN {
			t.writes = append(t.writes, mvcc.Write{Key: bytes.Clone(k), TS: ts})
		}
	}
	t.bytes += size
	m.srv.tailBytes.Add(size)
}

// noteLayer makes readers of changes up to ts look for them: a layer's writes are not in the tail.
func (m *Machine) noteLayer(ts truetime.Timestamp) {
	if t := m.tail.Load(); t != nil {
		t.mu.Lock()
		t.since = max(t.since, ts)
		t.mu.Unlock()
	}
}

func (m *Machine) clearTailLocked(t *tail) {
	for _, w := range t.writes {
		t.since = max(t.since, w.TS)
	}
	m.srv.tailBytes.Add(-t.bytes)
	t.writes, t.bytes = nil, 0
}

// dropTail ends a tail. m.mu is held.
func (m *Machine) dropTail(t *tail) {
	if t == nil {
		return
	}
	m.tail.CompareAndSwap(t, nil)
	t.mu.Lock()
	defer t.mu.Unlock()
	m.clearTailLocked(t)
	t.since = truetime.MaxTimestamp // for those who still hold it
}

// sweepTail drops the tail when nobody has asked for it since the last call.
func (m *Machine) sweepTail() {
	if t := m.tail.Load(); t != nil && !t.asked.Swap(false) {
		m.mu.Lock()
		m.dropTail(t)
		m.mu.Unlock()
	}
}

package participant

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
)

// PrepareMerge blocks new prepares and waits until no transaction is prepared here, until release. A gateway that has
// prepared a transaction in a range takes that range's part in it for settled (txn, twoPhase.run): nothing may be
// added to it by a merge.
//
// The merged range keeps no more versions than either had: it is refused while that would take what somebody has
// asked to be kept (I3).
func (m *Machine) PrepareMerge(ctx context.Context, right ranges.Machine) (release func(), err error) {
	r := right.(*Machine)
	if err := m.mayForget(ctx, truetime.Timestamp(r.threshold.Load())); err != nil {
		return nil, err
	}
	if err := r.mayForget(ctx, truetime.Timestamp(m.threshold.Load())); err != nil {
		return nil, err
	}
	l, release, err := m.holdPrepares(ctx)
	if err == nil && m.lead.Load() != l {
		release()
		err = m.notLeader()
	}
	if err != nil {
		return nil, err
	}
	return release, nil
}

// mayForget fails if versions below threshold are protected in this range.
func (m *Machine) mayForget(ctx context.Context, threshold truetime.Timestamp) error {
	protected, desc := m.srv.cfg.Protected, m.rep.Desc()
	if protected == nil || threshold <= truetime.Timestamp(m.threshold.Load()) {
		return nil
	}
	if protected(ctx, desc.Start, desc.End, threshold) < threshold {
		return fmt.Errorf("%w: old versions in range %s are protected", ranges.ErrNotReady, m.id)
	}
	return nil
}

// MergeState takes over what the right range has on record. Nothing is prepared there.
//
//   - Outcomes of commit attempts that the right range decided keep their key by commit id, apart from this range's own
//     (inheritedKeys): whoever asks for one does so by the right range's first key, so a split gives both halves a copy.
//   - Decisions go on being told to their participants, from here.
//   - Heads and layers of a large transaction that both have become one, for the transaction commits in one range now.
//     Deletions of spans are cut to the range that they were in, and moving starts over.
//   - The horizon of outcomes and the GC threshold are the larger ones: what either range has forgotten is forgotten.
//     A layer may then lie below the threshold; collect stays below it all the same.
func (m *Machine) MergeState(b *mvcc.Batch, right ranges.Machine) error {
	r := right.(*Machine)
	eng := m.rep.Engine()
	desc, rdesc := m.rep.Desc(), r.rep.Desc()
	// Only this and the range's own Apply change its state; it has applied all there is.
	r.mu.Lock()
	defer r.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.failed != nil:
		return m.failed
	case r.failed != nil:
		return r.failed
	case len(r.state.records) > 0:
		return fmt.Errorf("participant: range %s has prepared transactions and is to be merged into %s", r.id, m.id)
	}
	for _, prefix := range []string{outcomeKeys, inheritedKeys} {
		start := localKey(r.id, prefix, nil)
		err := mvcc.ScanLocal(eng, start, mvcc.PrefixEnd(start), func(k, v []byte) error {
			b.PutLocal(localKey(m.id, inheritedKeys, k[len(start):]), v)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for id, d := range r.state.decisions {
		c := command{kind: cmdDecide, txn: d.txn, commit: id, ts: d.ts, parts: d.parts}
		b.PutLocal(localKey(m.id, decisionKeys, id[:]), c.encode(nil))
		m.state.decisions[id] = d
	}
	for id, st := range m.state.staged {
		if o := r.state.staged[id]; o != nil {
			st.join(o, desc, rdesc)
			b.PutLocal(localKey(m.id, stagedKeys, id[:]), st.encode(id))
		}
	}
	for id, o := range r.state.staged {
		if m.state.staged[id] != nil {
			continue
		}
		st := *o
		st.spans = clipSpans(o.spans, rdesc)
		st.from, st.pieces = nil, nil
		m.state.staged[id] = &st
		b.PutLocal(localKey(m.id, stagedKeys, id[:]), st.encode(id))
	}
	for id, o := range r.state.layers {
		// Readers hold on to the layers they have: a changed one is a new one.
		l := &layer{Layer: o.Layer}
		l.Deleted, l.Once = clipSpans(o.Deleted, rdesc), false
		if own := m.state.layers[id]; own != nil {
			l.First = min(l.First, own.First)
			l.Deleted = append(clipSpans(own.Deleted, desc), l.Deleted...)
		}
		m.state.layers[id] = l
		b.PutLocal(localKey(m.id, layerKeys, id[:]), encodeLayer(&l.Layer, 0, 0, 0))
	}
	m.publishLayersLocked()
	if h := r.state.horizon; h > m.state.horizon {
		m.state.horizon = h
		b.PutLocal(localKey(m.id, horizonKey, nil), binary.BigEndian.AppendUint64(nil, uint64(h)))
	}
	if t := r.state.threshold; t > m.state.threshold {
		if err := m.raiseThresholdLocked(b, t); err != nil {
			return err
		}
	}
	if n := r.newest.Load(); n > m.newest.Load() {
		m.newest.Store(n)
	}
	m.dirty.Store(true)
	m.collected.Store(0)
	return nil
}

// join makes one head of those that a transaction has in two neighbours.
func (s *stagedTxn) join(o *stagedTxn, desc, rdesc *ranges.Descriptor) {
	s.first = min(s.first, o.first)
	s.spans = append(clipSpans(s.spans, desc), clipSpans(o.spans, rdesc)...)
	s.from, s.pieces = nil, nil
}

// clipSpans cuts deleted spans to a range. Those that a split has given to both of its halves would else be there twice
// when these are merged again, and one of them could reach where it has been moved already.
func clipSpans(spans []mvcc.DeletedSpan, d *ranges.Descriptor) []mvcc.DeletedSpan {
	var out []mvcc.DeletedSpan
	for _, s := range spans {
		if bytes.Compare(s.Start, d.Start) < 0 {
			s.Start = d.Start
		}
		if bytes.Compare(s.End, d.End) > 0 {
			s.End = d.End
		}
		if bytes.Compare(s.Start, s.End) < 0 {
			out = append(out, s)
		}
	}
	return out
}

// Merge moves the locks of the right range here, if both are led by this node. If the right one is not, its locks are
// lost as with any change of leaders: the transactions that hold some learn it by their tokens (I9).
func (m *Machine) Merge(right ranges.Machine) {
	r := right.(*Machine)
	r.mergedInto.Store(m)
	l, rl := m.lead.Load(), r.lead.Load()
	if l == nil {
		return
	}
	if rl != nil {
		l.table.Join(rl.table)
	}
	// What was answered on either side lies below now; that does not hold for the last commit of either alone, the less
	// as others may have led the right range since it was frozen.
	now := m.now()
	l.lastTS.Store(-int64(now))
	l.mu.Lock()
	// A commit id that only the right range has seen is no stranger here.
	l.seen = seenCommits{since: now}
	// The merged range's own: gateways that know of the two are refused where that matters (checkKnown).
	l.mergeGen = m.rep.Desc().Generation + 1
	l.mu.Unlock()
	m.mu.RLock()
	decisions := make(map[CommitID]decision, len(r.state.decisions))
	for id := range r.state.decisions {
		decisions[id] = m.state.decisions[id]
	}
	m.mu.RUnlock()
	for id, d := range decisions {
		m.push(l, id, d)
	}
}

// successor returns the machine of the range that has absorbed this one, nil while it lives.
func (m *Machine) successor() *Machine {
	last := m.mergedInto.Load()
	for x := last; x != nil; x = x.mergedInto.Load() {
		last = x
	}
	return last
}

// maxMergedRanges bounds what a Server remembers of ranges that were absorbed, for gateways that do not know it yet.
const maxMergedRanges = 1024

// noteMerged remembers which range has absorbed m. The caller holds s.mu.
func (s *Server) noteMerged(m *Machine) {
	g := &s.merged
	if g.by == nil {
		g.by = map[ranges.RangeID]ranges.RangeID{}
	}
	g.by[m.id] = m.mergedInto.Load().id
	if g.order = append(g.order, m.id); len(g.order) > maxMergedRanges {
		delete(g.by, g.order[0])
		g.order = slices.Clone(g.order[1:])
	}
}

// absorbedBy returns the machine of the range that has absorbed range id on this node, nil when none is known.
func (s *Server) absorbedBy(id ranges.RangeID) *Machine {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for {
		into, ok := s.merged.by[id]
		if !ok {
			return nil
		}
		if m := s.machines[into]; m != nil {
			return m
		}
		id = into
	}
}

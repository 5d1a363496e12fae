package participant

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// pieceBytes bounds what one command moves or drops of a large transaction. The commands behind it wait as long.
const pieceBytes = 256 << 10

// applied is what Apply returns to the proposer where there is something to say.
type applied struct {
	outcome txnpb.Outcome // cmdAbort, cmdResolve: what the record says now
	ts      truetime.Timestamp
	more    bool // cmdMove, cmdDropStaged: there is a next piece
}

// Apply adds one command's effects to b. It reads m.state, which is a function of the applied state, and
// b only where a command is rare: a batch that is never read needs no index.
func (m *Machine) Apply(b *mvcc.Batch, index uint64, cmd []byte) (any, error) {
	c, err := decodeInto(cmd, &m.scratch.writes)
	if err != nil {
		return nil, fmt.Errorf("range %s, entry %d: %w", m.id, index, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed != nil {
		return nil, m.failed
	}
	switch c.kind {
	case cmdCommit, cmdDecide:
		return nil, m.applyCommit(b, &c)
	case cmdPrepare:
		m.addRecordLocked(b, &c, cmd)
		return nil, nil
	case cmdResolve:
		return m.applyResolve(b, index, &c)
	case cmdStage:
		return nil, m.applyStage(b, &c)
	case cmdMove:
		return m.applyMove(b, index, &c)
	case cmdAbort:
		return m.applyAbort(b, &c)
	case cmdForget:
		for _, id := range c.ids {
			b.DeleteLocal(localKey(m.id, decisionKeys, id[:]))
			delete(m.state.decisions, id)
		}
		return nil, nil
	case cmdDropStaged:
		return m.applyDropStaged(b, &c)
	case cmdTrim:
		m.applyTrim(b, &c)
		return nil, nil
	case cmdGC:
		return m.applyGC(b, &c)
	}
	return nil, fmt.Errorf("range %s, entry %d: %w: kind %d", m.id, index, errCommand, c.kind)
}

// Applied is called once the effects of Apply are visible.
func (m *Machine) Applied(index uint64, _ truetime.Timestamp) {
	m.mu.RLock()
	n := len(m.leaving) + len(m.movedLayers)
	m.mu.RUnlock()
	if n == 0 {
		return
	}
	m.mu.Lock()
	keep := m.leaving[:0]
	for _, r := range m.leaving {
		if r.removed > index {
			keep = append(keep, r)
		}
	}
	clear(m.leaving[len(keep):])
	m.leaving = keep
	if n := len(m.movedLayers); n > 0 {
		m.movedLayers = slices.DeleteFunc(m.movedLayers, func(l *layer) bool { return l.removed <= index })
		if len(m.movedLayers) < n {
			m.publishLayersLocked()
		}
	}
	m.refloorLocked()
	m.mu.Unlock()
	if l := m.lead.Load(); l != nil {
		l.mu.Lock()
		l.wakeLocked()
		l.mu.Unlock()
	}
}

func (m *Machine) applyWrites(b *mvcc.Batch, w *writeSet, ts truetime.Timestamp) {
	m.wrote(ts)
	m.noteWrites(w, ts)
	for i := range w.keys {
		switch w.op(i) {
		case txnpb.WriteOp_WRITE_PUT, txnpb.WriteOp_WRITE_INSERT:
			b.Put(w.keys[i], ts, w.values[i])
		case txnpb.WriteOp_WRITE_DELETE:
			b.Delete(w.keys[i], ts)
		}
	}
}

// wrote notes that versions at ts are being written.
func (m *Machine) wrote(ts truetime.Timestamp) {
	if int64(ts) > m.newest.Load() {
		m.newest.Store(int64(ts)) // only Apply stores
	}
	if !m.dirty.Load() {
		m.dirty.Store(true)
	}
}

// hasOutcomes reports whether there is an outcome of an attempt begun between the two timestamps.
func (m *Machine) hasOutcomes(after, upTo truetime.Timestamp) bool {
	found := false
	for _, prefix := range []string{outcomeKeys, inheritedKeys} {
		at := func(ts truetime.Timestamp) []byte {
			return localKey(m.id, prefix, binary.BigEndian.AppendUint64(nil, uint64(ts)))
		}
		_ = mvcc.ScanLocal(m.rep.Engine(), at(after+1), at(upTo+1), func(_, _ []byte) error {
			found = true
			return errStop
		})
	}
	return found
}

var errStop = errors.New("participant: seen enough")

func (m *Machine) putOutcome(b *mvcc.Batch, commit CommitID, o txnpb.Outcome, ts truetime.Timestamp) {
	k := append(m.scratch.key[:0], m.outcomePrefix...)
	k = append(k, commit[:]...)
	m.scratch.key = k
	m.scratch.outcome[0] = byte(o)
	binary.BigEndian.PutUint64(m.scratch.outcome[1:], uint64(ts))
	b.PutLocal(k, m.scratch.outcome[:])
}

func (m *Machine) applyCommit(b *mvcc.Batch, c *command) error {
	m.putOutcome(b, c.commit, txnpb.Outcome_OUTCOME_COMMITTED, c.ts)
	if c.kind == cmdDecide && len(c.parts) > 0 {
		d := command{kind: cmdDecide, txn: c.txn, commit: c.commit, ts: c.ts, parts: c.parts}
		enc := d.encode(make([]byte, 0, d.sizeHint()))
		b.PutLocal(localKey(m.id, decisionKeys, c.commit[:]), enc)
		d, err := decodeCommand(enc) // its own copy: c aliases the log entry
		if err != nil {
			return err
		}
		m.state.decisions[c.commit] = decision{txn: d.txn, ts: d.ts, parts: d.parts}
	}
	m.landLocked(b, c, c.ts)
	return nil
}

// landLocked makes what c writes and has staged count at ts. Readers find staged writes and span deletions by the layer
// that they become, from the moment that the command is visible: only then may anyone read at ts, or have the locks
// that covered them.
func (m *Machine) landLocked(b *mvcc.Batch, c *command, ts truetime.Timestamp) {
	m.applyWrites(b, &c.writes, ts)
	l := &layer{Layer: mvcc.Layer{Txn: mvcc.TxnID(c.txn), TS: ts, First: ts, Ignore: slices.Clone(c.ignore)}}
	if head := m.state.staged[c.txn]; c.staged && head != nil {
		l.First, l.Deleted, l.Once = head.first, slices.Clone(head.spans), head.pieces != nil
		b.DeleteLocal(localKey(m.id, stagedKeys, c.txn[:]))
		delete(m.state.staged, c.txn)
	} else if !c.writes.deletesSpans() {
		return
	}
	for i := range c.writes.keys {
		if c.writes.op(i) == txnpb.WriteOp_WRITE_DELETE_SPAN {
			// Whatever was staged; the puts of c are versions at ts, which no deletion at ts hides.
			l.Deleted = append(l.Deleted, mvcc.DeletedSpan{
				Start: bytes.Clone(c.writes.keys[i]), End: bytes.Clone(c.writes.values[i]), Seq: math.MaxUint64,
			})
		}
	}
	b.PutLocal(localKey(m.id, layerKeys, c.txn[:]), encodeLayer(&l.Layer, c.age, c.gateway, c.token))
	m.state.layers[c.txn] = l
	m.noteLayer(ts)
	m.publishLayersLocked()
}

// publishLayersLocked tells readers of the layers.
func (m *Machine) publishLayersLocked() {
	all := make([]*mvcc.Layer, 0, len(m.state.layers)+len(m.movedLayers))
	for _, l := range m.state.layers {
		all = append(all, &l.Layer)
	}
	for _, l := range m.movedLayers {
		all = append(all, &l.Layer)
	}
	m.layers.Store(mvcc.NewLayers(all))
}

// addRecordLocked adds a prepared transaction.
func (m *Machine) addRecordLocked(b *mvcc.Batch, c *command, raw []byte) {
	raw = bytes.Clone(raw)
	own, err := decodeCommand(raw)
	if err != nil {
		panic(fmt.Sprintf("participant: command does not decode twice: %v", err))
	}
	b.PutLocal(localKey(m.id, recordKeys, c.txn[:]), raw)
	rec := &record{cmd: own, floor: c.ts}
	m.state.records[c.txn] = rec
	if f := int64(rec.floor); f < m.floor.Load() {
		m.floor.Store(f)
	}
}

// dropRecordLocked takes rec away at log index. Its floor holds until that is visible.
func (m *Machine) dropRecordLocked(b *mvcc.Batch, index uint64, rec *record) {
	id := rec.cmd.txn
	b.DeleteLocal(localKey(m.id, recordKeys, id[:]))
	delete(m.state.records, id)
	rec.removed = index
	m.leaving = append(m.leaving, rec)
}

func (m *Machine) applyResolve(b *mvcc.Batch, index uint64, c *command) (any, error) {
	rec := m.state.records[c.txn]
	if rec == nil || rec.cmd.commit != c.commit {
		return nil, nil // resolved before
	}
	// I8: the outcome is final, so a retry of the PREPARE is answered from it.
	m.putOutcome(b, c.commit, c.outcome, c.ts)
	if c.outcome == txnpb.Outcome_OUTCOME_ABORTED {
		m.dropRecordLocked(b, index, rec)
		return nil, nil
	}
	if c.ts < rec.floor {
		return nil, fmt.Errorf("participant: range %s: commit of %x at %s below its prepare timestamp %s", m.id, c.commit, c.ts, rec.floor)
	}
	m.landLocked(b, &rec.cmd, c.ts)
	m.dropRecordLocked(b, index, rec)
	return nil, nil
}

func (m *Machine) applyAbort(b *mvcc.Batch, c *command) (any, error) {
	outcome, ts, err := readOutcome(b, m.id, c.commit)
	if err != nil {
		return nil, err
	}
	if outcome == txnpb.Outcome_OUTCOME_UNKNOWN {
		outcome = txnpb.Outcome_OUTCOME_ABORTED
		m.putOutcome(b, c.commit, outcome, 0)
	}
	return applied{outcome: outcome, ts: ts}, nil
}

func (m *Machine) applyStage(b *mvcc.Batch, c *command) error {
	if m.state.layers[c.txn] != nil || m.state.records[c.txn] != nil {
		// A piece that was sent twice and came in behind the commit, or the prepare. It must not count: its timestamp may
		// be above what others have written since.
		return nil
	}
	st := m.state.staged[c.txn]
	changed := st == nil
	if changed {
		st = &stagedTxn{age: c.age, gateway: c.gateway, token: c.token, first: c.ts, pieces: []mvcc.Span{}}
		m.state.staged[c.txn] = st
	}
	if c.writes.deletesSpans() {
		st.pieces = nil
	}
	st.note(&c.writes)
	txn := mvcc.TxnID(c.txn)
	for i := range c.writes.keys {
		key, seq := c.writes.keys[i], c.seq+uint64(i)
		switch c.writes.op(i) {
		case txnpb.WriteOp_WRITE_DELETE_SPAN:
			st.spans = append(slices.Clone(st.spans), mvcc.DeletedSpan{
				Start: bytes.Clone(key), End: bytes.Clone(c.writes.values[i]), Seq: seq,
			})
			changed = true
		case txnpb.WriteOp_WRITE_DELETE:
			b.DeleteProvisional(key, c.ts, txn, seq)
		default:
			b.PutProvisional(key, c.ts, txn, seq, c.writes.values[i])
		}
	}
	if changed {
		b.PutLocal(localKey(m.id, stagedKeys, c.txn[:]), st.encode(c.txn))
	}
	return nil
}

// applyMove moves the next piece of a layer. What it does depends on the replicated state alone, not on how far this
// replica believes it has got: nothing is left of what has been moved.
func (m *Machine) applyMove(b *mvcc.Batch, index uint64, c *command) (any, error) {
	l := m.state.layers[c.txn]
	if l == nil {
		return applied{}, nil
	}
	desc := m.rep.Desc()
	left := pieceBytes
	if !l.moved {
		span := mvcc.Span{Start: desc.Start, End: desc.End}
		if l.from != nil {
			span.Start = l.from
		}
		resume, n, err := b.MoveLayer(&l.Layer, span, left)
		if err != nil {
			return nil, err
		}
		if l.from = resume; resume != nil {
			return applied{more: true}, nil
		}
		l.moved = true
		left -= n
	}
	if c.ts != 0 && l.span == 0 && l.from == nil {
		cleared, err := m.clearDeleted(b, l, c.ts)
		if err != nil {
			return nil, err
		}
		if cleared {
			l.span = len(l.Deleted)
		}
	}
	var others *mvcc.Layers
	if len(l.Deleted) > 0 {
		var all []*mvcc.Layer
		for _, o := range m.state.layers {
			if o != l {
				all = append(all, &o.Layer)
			}
		}
		others = mvcc.NewLayers(all)
	}
	for ; l.span < len(l.Deleted); l.span++ {
		if left <= 0 {
			return applied{more: true}, nil
		}
		span := m.clip(&l.Deleted[l.span])
		if l.from != nil {
			span.Start = l.from
		}
		resume, n, err := b.MoveDeletion(&l.Layer, span, others, left)
		if err != nil {
			return nil, err
		}
		if l.from = resume; resume != nil {
			return applied{more: true}, nil
		}
		left -= n
	}
	b.DeleteLocal(localKey(m.id, layerKeys, c.txn[:]))
	delete(m.state.layers, c.txn)
	l.removed = index
	m.movedLayers = append(m.movedLayers, l)
	return applied{}, nil
}

// clearDeleted removes what a layer's span deletions hide, without a tombstone for each key, if the GC threshold may be
// raised to ts, past the layer, and nothing in the spans is as new as the layer: then no permitted read can see anything
// there.
func (m *Machine) clearDeleted(b *mvcc.Batch, l *layer, ts truetime.Timestamp) (bool, error) {
	for _, o := range m.state.layers {
		if o != l {
			ts = min(ts, o.TS.Prev())
		}
	}
	if ts < l.TS || len(l.Deleted) == 0 {
		return false, nil
	}
	for i := range l.Deleted {
		newer, err := mvcc.NewerThan(b, m.clip(&l.Deleted[i]), l.TS)
		if err != nil || newer {
			return false, err
		}
	}
	for i := range l.Deleted {
		b.ClearSpan(m.clip(&l.Deleted[i]))
	}
	return true, m.raiseThresholdLocked(b, ts)
}

// clip returns the part of a deleted span that lies in the range.
func (m *Machine) clip(d *mvcc.DeletedSpan) mvcc.Span {
	desc := m.rep.Desc()
	span := mvcc.Span{Start: d.Start, End: d.End}
	if bytes.Compare(span.Start, desc.Start) < 0 {
		span.Start = desc.Start
	}
	if bytes.Compare(span.End, desc.End) > 0 {
		span.End = desc.End
	}
	return span
}

func (m *Machine) applyDropStaged(b *mvcc.Batch, c *command) (any, error) {
	st := m.state.staged[c.txn]
	if m.state.records[c.txn] != nil || st == nil {
		return applied{}, nil // prepared or committed meanwhile, or dropped before
	}
	if m.state.layers[c.txn] != nil {
		// A split gave the head to a half that the transaction had nothing in, and a merge has brought it together with what
		// the transaction has committed in the other. The head goes, and nothing else.
		b.DeleteLocal(localKey(m.id, stagedKeys, c.txn[:]))
		delete(m.state.staged, c.txn)
		return applied{}, nil
	}
	desc := m.rep.Desc()
	span := mvcc.Span{Start: desc.Start, End: desc.End}
	if st.from != nil {
		span.Start = st.from
	}
	resume, _, err := b.DropLayer(st.own(c.txn, nil), span, pieceBytes)
	if err != nil {
		return nil, err
	}
	if st.from = resume; resume != nil {
		return applied{more: true}, nil
	}
	b.DeleteLocal(localKey(m.id, stagedKeys, c.txn[:]))
	delete(m.state.staged, c.txn)
	return applied{}, nil
}

// applyTrim drops outcomes. The outcome of a decision that a participant may still ask for stays.
func (m *Machine) applyTrim(b *mvcc.Batch, c *command) {
	horizon := c.ts
	for id := range m.state.decisions {
		horizon = min(horizon, id.time()-1)
	}
	if horizon <= m.state.horizon {
		return
	}
	m.state.horizon = horizon
	v := binary.BigEndian.AppendUint64(nil, uint64(horizon))
	b.PutLocal(localKey(m.id, horizonKey, nil), v)
	end := binary.BigEndian.AppendUint64(nil, uint64(horizon)+1)
	b.DeleteLocalRange(localKey(m.id, outcomeKeys, nil), localKey(m.id, outcomeKeys, end))
	b.DeleteLocalRange(localKey(m.id, inheritedKeys, nil), localKey(m.id, inheritedKeys, end))
}

func (m *Machine) applyGC(b *mvcc.Batch, c *command) (any, error) {
	// What a layer deletes is found by reading at its timestamp when it is moved, and has to be the same on every
	// replica, wherever their collection has got to.
	for _, l := range m.state.layers {
		c.ts = min(c.ts, l.TS.Prev())
	}
	return nil, m.raiseThresholdLocked(b, c.ts)
}

func (m *Machine) raiseThresholdLocked(b *mvcc.Batch, ts truetime.Timestamp) error {
	if err := b.SetGCThreshold(uint64(m.id), ts); err != nil {
		return err
	}
	if ts > m.state.threshold {
		// Readers are refused from now on. What they can no longer see each replica removes on its own time:
		// a scan of the whole range has no place in the apply of a command.
		m.state.threshold = ts
		m.threshold.Store(int64(ts))
	}
	return nil
}

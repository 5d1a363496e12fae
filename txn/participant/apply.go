package participant

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// pieceBytes bounds what one command adds or removes on behalf of a large transaction.
const pieceBytes = 1 << 20

// applied is what Apply returns to the proposer where there is something to say.
type applied struct {
	outcome txnpb.Outcome // cmdAbort, cmdResolve: what the record says now
	ts      truetime.Timestamp
	more    bool // cmdContinue, cmdDropStaged: propose the next piece
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
		return nil, m.applyCommit(b, &c, cmd)
	case cmdPrepare:
		m.addRecordLocked(b, &c, cmd, 0)
		return nil, nil
	case cmdResolve:
		return m.applyResolve(b, index, &c)
	case cmdStage:
		return nil, m.applyStage(b, &c)
	case cmdContinue:
		return m.applyContinue(b, index, &c)
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
	n := len(m.leaving)
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
	at := func(ts truetime.Timestamp) []byte {
		return localKey(m.id, outcomeKeys, binary.BigEndian.AppendUint64(nil, uint64(ts)))
	}
	found := false
	_ = mvcc.ScanLocal(m.rep.Engine(), at(after+1), at(upTo+1), func(_, _ []byte) error {
		found = true
		return errStop
	})
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

func (m *Machine) applyCommit(b *mvcc.Batch, c *command, raw []byte) error {
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
	if c.staged || c.writes.deletesSpans() {
		m.addRecordLocked(b, c, raw, c.ts)
		return nil
	}
	m.applyWrites(b, &c.writes, c.ts)
	return nil
}

// addRecordLocked adds a prepared (commitTS zero) or large committed transaction.
func (m *Machine) addRecordLocked(b *mvcc.Batch, c *command, raw []byte, commitTS truetime.Timestamp) {
	raw = bytes.Clone(raw)
	own, err := decodeCommand(raw)
	if err != nil {
		panic(fmt.Sprintf("participant: command does not decode twice: %v", err))
	}
	b.PutLocal(localKey(m.id, recordKeys, c.txn[:]), raw)
	rec := &record{cmd: own, floor: c.ts, commitTS: commitTS}
	m.state.records[c.txn] = rec
	if f := int64(rec.floor); f < m.floor.Load() {
		m.floor.Store(f)
	}
}

// dropRecordLocked takes rec away at log index. Its floor holds until that is visible.
func (m *Machine) dropRecordLocked(b *mvcc.Batch, index uint64, rec *record) {
	id := rec.cmd.txn
	b.DeleteLocal(localKey(m.id, recordKeys, id[:]))
	if rec.large() {
		b.DeleteLocal(localKey(m.id, progressKeys, id[:]))
	}
	delete(m.state.records, id)
	rec.removed = index
	m.leaving = append(m.leaving, rec)
}

func (m *Machine) applyResolve(b *mvcc.Batch, index uint64, c *command) (any, error) {
	rec := m.state.records[c.txn]
	if rec == nil || rec.cmd.commit != c.commit || rec.commitTS != 0 {
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
	if rec.large() {
		rec.commitTS = c.ts
		rec.progress.ts = c.ts
		b.PutLocal(localKey(m.id, progressKeys, c.txn[:]), rec.progress.encode())
		return nil, nil
	}
	m.applyWrites(b, &rec.cmd.writes, c.ts)
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
	st := m.state.staged[c.txn]
	fresh := st == nil
	if fresh {
		st = &stagedTxn{age: c.age, gateway: c.gateway, token: c.token}
		m.state.staged[c.txn] = st
		if c.writes.len() > 0 {
			st.lo, st.hi = bytes.Clone(c.writes.keys[0]), bytes.Clone(c.writes.keys[0])
		}
	}
	if st.lo != nil && c.writes.len() > 0 {
		// Batches come sorted: their ends are enough to look at, mostly.
		lo, hi := c.writes.keys[0], c.writes.keys[0]
		for _, k := range c.writes.keys[1:] {
			if bytes.Compare(k, hi) > 0 {
				hi = k
			} else if bytes.Compare(k, lo) < 0 {
				lo = k
			}
		}
		st.extend(lo)
		st.extend(hi)
	}
	for i := range c.writes.keys {
		key, seq := c.writes.keys[i], c.seq+uint64(i)
		switch c.writes.op(i) {
		case txnpb.WriteOp_WRITE_DELETE_SPAN:
			span := mvcc.Span{Start: bytes.Clone(key), End: bytes.Clone(c.writes.values[i])}
			if _, _, err := b.DropStaged(mvcc.TxnID(c.txn), span, 0); err != nil {
				return err
			}
			st.spans = append(st.spans, [2][]byte{span.Start, span.End})
			fresh = true
		case txnpb.WriteOp_WRITE_DELETE:
			b.StageDelete(mvcc.TxnID(c.txn), seq, key)
		default:
			b.StagePut(mvcc.TxnID(c.txn), seq, key, c.writes.values[i])
		}
	}
	if fresh {
		b.PutLocal(localKey(m.id, stagedKeys, c.txn[:]), st.encode(c.txn))
	}
	return nil
}

// applyContinue does the next piece of a large committed transaction.
func (m *Machine) applyContinue(b *mvcc.Batch, index uint64, c *command) (any, error) {
	rec := m.state.records[c.txn]
	if rec == nil || rec.commitTS == 0 {
		return applied{}, nil
	}
	p := rec.progress
	p.ts = rec.commitTS
	m.wrote(p.ts)
	st := m.state.staged[c.txn]
	var staged [][2][]byte
	if st != nil {
		staged = st.spans
	}
	var err error
	switch p.phase {
	case phaseStagedSpans:
		err = m.deleteSpans(b, &p, staged)
	case phaseStaged:
		err = m.commitStaged(b, &p, rec)
	case phaseSpans:
		var spans [][2][]byte
		w := &rec.cmd.writes
		for i := range w.keys {
			if w.op(i) == txnpb.WriteOp_WRITE_DELETE_SPAN {
				spans = append(spans, [2][]byte{w.keys[i], w.values[i]})
			}
		}
		err = m.deleteSpans(b, &p, spans)
	}
	if err != nil {
		return nil, err
	}
	if p.phase == phaseWrites {
		m.applyWrites(b, &rec.cmd.writes, rec.commitTS)
		if st != nil {
			b.DeleteLocal(localKey(m.id, stagedKeys, c.txn[:]))
			delete(m.state.staged, c.txn)
		}
		m.dropRecordLocked(b, index, rec)
		return applied{}, nil
	}
	rec.progress = p
	b.PutLocal(localKey(m.id, progressKeys, c.txn[:]), p.encode())
	return applied{more: true}, nil
}

// deleteSpans writes tombstones over the visible keys of spans[p.span:] from p.key on, up to pieceBytes, and
// advances p.
func (m *Machine) deleteSpans(b *mvcc.Batch, p *progress, spans [][2][]byte) error {
	if p.span >= len(spans) {
		p.phase, p.span, p.key = p.phase+1, 0, nil
		return nil
	}
	span := mvcc.Span{Start: spans[p.span][0], End: spans[p.span][1]}
	if p.key != nil {
		span.Start = p.key
	}
	// The keys are collected first: the scanner and the writes share the batch.
	var keys [][]byte
	size := 0
	s := mvcc.NewScanner(b, mvcc.ScanOptions{Span: span, TS: p.ts})
	for s.Next() {
		keys = append(keys, bytes.Clone(s.Key()))
		if size += len(s.Key()) + 32; size >= pieceBytes {
			break
		}
	}
	err := s.Err()
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	for _, k := range keys {
		b.Delete(k, p.ts)
	}
	if size >= pieceBytes {
		p.key = append(keys[len(keys)-1], 0)
	} else {
		p.span, p.key = p.span+1, nil
	}
	return nil
}

func (m *Machine) commitStaged(b *mvcc.Batch, p *progress, rec *record) error {
	desc := m.rep.Desc()
	span := mvcc.Span{Start: desc.Start, End: desc.End}
	if p.key != nil {
		span.Start = p.key
	}
	st := mvcc.Staged{Txn: mvcc.TxnID(rec.cmd.txn), Ignore: rec.cmd.ignore}
	resume, _, err := b.ResolveStaged(st, span, p.ts, pieceBytes)
	if err != nil {
		return err
	}
	if p.key = resume; resume == nil {
		p.phase++
	}
	return nil
}

func (m *Machine) applyDropStaged(b *mvcc.Batch, c *command) (any, error) {
	if m.state.records[c.txn] != nil || m.state.staged[c.txn] == nil {
		return applied{}, nil // prepared or committed meanwhile, or dropped before
	}
	desc := m.rep.Desc()
	resume, _, err := b.DropStaged(mvcc.TxnID(c.txn), mvcc.Span{Start: desc.Start, End: desc.End}, pieceBytes)
	if err != nil {
		return nil, err
	}
	if resume != nil {
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
}

func (m *Machine) applyGC(b *mvcc.Batch, c *command) (any, error) {
	if err := b.SetGCThreshold(uint64(m.id), c.ts); err != nil {
		return nil, err
	}
	if c.ts > m.state.threshold {
		// Readers are refused from now on. What they can no longer see each replica removes on its own time:
		// a scan of the whole range has no place in the apply of a command.
		m.state.threshold = c.ts
		m.threshold.Store(int64(c.ts))
	}
	return nil, nil
}

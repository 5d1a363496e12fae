package participant

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/fields"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// Range-local keys of this package: LocalKey(range, "t" + type + id).
const (
	recordKeys   = "tp" // + txn id: a prepared transaction (command)
	stagedKeys   = "ts" // + txn id: an undecided transaction with staged writes (stagedTxn)
	layerKeys    = "tl" // + txn id: a committed one, whose writes have not all been moved (layer)
	decisionKeys = "td" // + commit id: a decision its participants have yet to hear (command, cmdDecide)
	outcomeKeys  = "to" // + commit id: the outcome of a commit attempt
	// + commit id: one that a range has decided which this one, or one that this was split from, has absorbed.
	inheritedKeys = "ti"
	horizonKey    = "th" // outcomes of attempts begun up to this timestamp are gone
)

func localKey(id ranges.RangeID, prefix string, suffix []byte) []byte {
	k := mvcc.AppendLocalKey(make([]byte, 0, 10+len(prefix)+len(suffix)), uint64(id), nil)
	k = append(k, prefix...)
	return append(k, suffix...)
}

// record is the replicated state of a transaction that is prepared here.
type record struct {
	cmd     command // cmdPrepare
	floor   truetime.Timestamp
	removed uint64 // log index at which the record went; kept until that is visible
}

// stagedTxn is the replicated head of an undecided transaction with staged writes in this range. A split gives a copy
// to either side.
type stagedTxn struct {
	age     int64
	gateway int32
	token   int64
	first   truetime.Timestamp // of its staged writes
	spans   []mvcc.DeletedSpan // deleted by staged WRITE_DELETE_SPANs
	// from is where the next piece of dropping it begins: below it nothing is left. Not replicated.
	from []byte
	// pieces are the key spans of what was staged so far, if every key was staged once; nil when that is not known, as
	// after a restart. Not replicated.
	pieces []mvcc.Span
}

// maxPieces bounds stagedTxn.pieces. Neighbours are joined past it, the lowest first: loads come in key order.
const maxPieces = 64

// note notes that the keys of a piece have been staged.
func (s *stagedTxn) note(w *writeSet) {
	if s.pieces == nil {
		return
	}
	start, end := w.bounds()
	i, found := slices.BinarySearchFunc(s.pieces, start, func(p mvcc.Span, key []byte) int { return bytes.Compare(p.Start, key) })
	if found || start == nil || i > 0 && bytes.Compare(s.pieces[i-1].End, start) > 0 || i < len(s.pieces) && bytes.Compare(end, s.pieces[i].Start) > 0 {
		s.pieces = nil // a key may have been staged twice
		return
	}
	s.pieces = slices.Insert(s.pieces, i, mvcc.Span{Start: bytes.Clone(start), End: bytes.Clone(end)})
	if len(s.pieces) > maxPieces {
		s.pieces[1].Start = s.pieces[0].Start
		s.pieces = slices.Delete(s.pieces, 0, 1)
	}
}

// layer is the replicated state of a committed transaction with staged writes, or with deletions of spans. Readers see
// those through Machine.layers. What it says moves into plain versions bit by bit.
type layer struct {
	mvcc.Layer
	// How far moving has got, not replicated: nothing is left of what comes before. Writes first, then the span
	// deletions one by one.
	moved bool // the writes
	span  int
	from  []byte

	removed uint64 // log index at which it went; readers keep it until that is visible
}

// own returns the staged writes as their own transaction reads them.
func (s *stagedTxn) own(id TxnID, ignore []mvcc.SeqSpan) *mvcc.Layer {
	return &mvcc.Layer{Txn: mvcc.TxnID(id), First: s.first, Ignore: ignore, Deleted: s.spans}
}

// Heads and layers share an encoding: version, timestamps, whose it is, deleted spans, ignored numbers.
func encodeLayer(l *mvcc.Layer, age int64, gateway int32, token int64) []byte {
	b := []byte{commandVersion}
	b = binary.AppendVarint(b, int64(l.TS))
	b = binary.AppendVarint(b, int64(l.First))
	b = binary.AppendVarint(b, age)
	b = binary.AppendVarint(b, int64(gateway))
	b = binary.AppendVarint(b, token)
	b = binary.AppendUvarint(b, uint64(len(l.Deleted)))
	for _, d := range l.Deleted {
		b = binary.AppendUvarint(b, d.Seq)
		b = fields.AppendBytes(b, d.Start)
		b = fields.AppendBytes(b, d.End)
	}
	return appendIgnore(b, l.Ignore)
}

func decodeLayer(b []byte) (l mvcc.Layer, head stagedTxn, err error) {
	d := fields.Reader{B: bytes.Clone(b)}
	if d.Byte() != commandVersion {
		return l, head, errCommand
	}
	l.TS = truetime.Timestamp(d.Varint())
	l.First = truetime.Timestamp(d.Varint())
	head.age = d.Varint()
	head.gateway = int32(d.Varint())
	head.token = d.Varint()
	for range d.Count(3) {
		l.Deleted = append(l.Deleted, mvcc.DeletedSpan{Seq: d.Uvarint(), Start: d.Bytes(), End: d.Bytes()})
	}
	l.Ignore = decodeIgnore(&d)
	if d.Err != nil || len(d.B) != 0 {
		return l, head, errCommand
	}
	head.first, head.spans = l.First, l.Deleted
	return l, head, nil
}

func (s *stagedTxn) encode(id TxnID) []byte {
	return encodeLayer(s.own(id, nil), s.age, s.gateway, s.token)
}

func decodeOutcome(b []byte) (txnpb.Outcome, truetime.Timestamp, error) {
	if len(b) != 9 || b[0] == 0 || b[0] > byte(txnpb.Outcome_OUTCOME_ABORTED) {
		return 0, 0, errCommand
	}
	return txnpb.Outcome(b[0]), truetime.Timestamp(binary.BigEndian.Uint64(b[1:])), nil
}

// time returns when the commit attempt began, by its gateway's clock.
func (id CommitID) time() truetime.Timestamp {
	return truetime.Timestamp(binary.BigEndian.Uint64(id[:8]))
}

// readOutcome returns the recorded outcome of a commit attempt, OUTCOME_UNKNOWN when there is none.
func readOutcome(r mvcc.Reader, id ranges.RangeID, commit CommitID) (txnpb.Outcome, truetime.Timestamp, error) {
	v, found, err := mvcc.GetLocal(r, localKey(id, outcomeKeys, commit[:]))
	if err == nil && !found {
		v, found, err = mvcc.GetLocal(r, localKey(id, inheritedKeys, commit[:]))
	}
	if err != nil || !found {
		return txnpb.Outcome_OUTCOME_UNKNOWN, 0, err
	}
	return decodeOutcome(v)
}

// decision is a commit over several ranges, decided here, that not every participant has acknowledged.
type decision struct {
	txn   TxnID
	ts    truetime.Timestamp
	parts []target
}

// replicated is the part of a range's replicated state that is kept in memory as well: what Apply must
// know, and what safe time and recovery look at. It is a function of the applied state.
type replicated struct {
	records   map[TxnID]*record
	staged    map[TxnID]*stagedTxn
	layers    map[TxnID]*layer
	decisions map[CommitID]decision
	horizon   truetime.Timestamp
	threshold truetime.Timestamp
}

func loadReplicated(r mvcc.LocalReader, id ranges.RangeID) (*replicated, error) {
	s := &replicated{
		records:   make(map[TxnID]*record),
		staged:    make(map[TxnID]*stagedTxn),
		layers:    make(map[TxnID]*layer),
		decisions: make(map[CommitID]decision),
	}
	scan := func(prefix string, fn func(id [16]byte, v []byte) error) error {
		start := localKey(id, prefix, nil)
		return r.ScanLocal(start, mvcc.PrefixEnd(start), func(k, v []byte) error {
			if len(k) != len(start)+16 {
				return fmt.Errorf("%w: key %x", errCommand, k)
			}
			return fn([16]byte(k[len(start):]), v)
		})
	}
	err := scan(recordKeys, func(id [16]byte, v []byte) error {
		c, err := decodeCommand(bytes.Clone(v))
		if err != nil {
			return err
		}
		s.records[id] = &record{cmd: c, floor: c.ts}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = scan(stagedKeys, func(id [16]byte, v []byte) error {
		_, head, err := decodeLayer(v)
		if err != nil {
			return err
		}
		s.staged[id] = &head
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = scan(layerKeys, func(id [16]byte, v []byte) error {
		l, _, err := decodeLayer(v)
		if err != nil {
			return err
		}
		l.Txn = id
		s.layers[id] = &layer{Layer: l}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = scan(decisionKeys, func(id [16]byte, v []byte) error {
		c, err := decodeCommand(bytes.Clone(v))
		if err != nil {
			return err
		}
		s.decisions[id] = decision{txn: c.txn, ts: c.ts, parts: c.parts}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if v, found, err := r.GetLocal(localKey(id, horizonKey, nil)); err != nil {
		return nil, err
	} else if found && len(v) == 8 {
		s.horizon = truetime.Timestamp(binary.BigEndian.Uint64(v))
	}
	s.threshold, err = mvcc.LocalGCThreshold(r, uint64(id))
	return s, err
}

package participant

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// Range-local keys of this package: LocalKey(range, "t" + type + id).
const (
	recordKeys   = "tp" // + txn id: a prepared or large committed transaction (command)
	progressKeys = "tq" // + txn id: how far a large committed one has got (progress)
	stagedKeys   = "ts" // + txn id: a transaction with staged writes (command, cmdStage)
	decisionKeys = "td" // + commit id: a decision its participants have yet to hear (command, cmdDecide)
	outcomeKeys  = "to" // + commit id: the outcome of a commit attempt
	horizonKey   = "th" // outcomes of attempts begun up to this timestamp are gone
)

func localKey(id ranges.RangeID, prefix string, suffix []byte) []byte {
	k := mvcc.AppendLocalKey(make([]byte, 0, 10+len(prefix)+len(suffix)), uint64(id), nil)
	k = append(k, prefix...)
	return append(k, suffix...)
}

// record is the replicated state of a transaction that is prepared here, or that is committed while its
// staged writes and span deletions are still being applied piece by piece.
type record struct {
	cmd      command // cmdPrepare, or cmdCommit/cmdDecide for a large transaction of this range
	floor    truetime.Timestamp
	commitTS truetime.Timestamp // zero while undecided
	progress progress
	removed  uint64 // log index at which the record went; kept until that is visible
}

// large reports whether committing the record takes several commands.
func (r *record) large() bool { return r.cmd.staged || r.cmd.writes.deletesSpans() }

// progress is how far a large commit has got. Its phases in order: the spans deleted by staged
// WRITE_DELETE_SPANs, the staged writes, the span deletions of the commit request, its other writes.
type progress struct {
	phase byte
	span  int    // index of the span being deleted
	key   []byte // where to go on
	ts    truetime.Timestamp
}

const (
	phaseStagedSpans = iota
	phaseStaged
	phaseSpans
	phaseWrites
)

func (p *progress) encode() []byte {
	b := []byte{commandVersion, p.phase}
	b = binary.AppendUvarint(b, uint64(p.span))
	b = binary.AppendVarint(b, int64(p.ts))
	return appendBytes(b, p.key)
}

func decodeProgress(b []byte) (p progress, err error) {
	d := reader{b: b}
	if d.byte() != commandVersion {
		return p, errCommand
	}
	p.phase = d.byte()
	p.span = int(d.uvarint())
	p.ts = truetime.Timestamp(d.varint())
	p.key = bytes.Clone(d.bytes())
	if d.err != nil || len(d.b) != 0 || p.phase > phaseWrites || p.span < 0 {
		return p, errCommand
	}
	return p, nil
}

// stagedTxn is the replicated head of a transaction with staged writes in this range.
type stagedTxn struct {
	age     int64
	gateway int32
	token   int64
	spans   [][2][]byte // deleted by staged WRITE_DELETE_SPANs
	// lo <= every staged key <= hi; nil lo: unknown, as after a restart. Not replicated.
	lo, hi []byte
}

// outside reports whether nothing is staged at key: a rewrite of a table asks that for each of its rows, most of
// which lie beyond all that it has written.
func (s *stagedTxn) outside(key []byte) bool {
	return s.lo != nil && (bytes.Compare(key, s.lo) < 0 || bytes.Compare(key, s.hi) > 0)
}

// extend notes that key is staged.
func (s *stagedTxn) extend(key []byte) {
	if bytes.Compare(key, s.lo) < 0 {
		s.lo = bytes.Clone(key)
	}
	if bytes.Compare(key, s.hi) > 0 {
		s.hi = bytes.Clone(key)
	}
}

func (s *stagedTxn) encode(id TxnID) []byte {
	c := command{kind: cmdStage, txn: id, age: s.age, gateway: s.gateway, token: s.token}
	for _, sp := range s.spans {
		c.writes.ops = append(c.writes.ops, byte(txnpb.WriteOp_WRITE_DELETE_SPAN))
		c.writes.keys = append(c.writes.keys, sp[0])
		c.writes.values = append(c.writes.values, sp[1])
	}
	return c.encode(nil)
}

// deleted reports whether key lies in a span that the transaction has deleted.
func (s *stagedTxn) deleted(key []byte) bool {
	if s == nil {
		return false
	}
	for _, sp := range s.spans {
		if bytes.Compare(sp[0], key) <= 0 && bytes.Compare(key, sp[1]) < 0 {
			return true
		}
	}
	return false
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
	decisions map[CommitID]decision
	horizon   truetime.Timestamp
	threshold truetime.Timestamp
}

func loadReplicated(r mvcc.Reader, id ranges.RangeID) (*replicated, error) {
	s := &replicated{
		records:   make(map[TxnID]*record),
		staged:    make(map[TxnID]*stagedTxn),
		decisions: make(map[CommitID]decision),
	}
	scan := func(prefix string, fn func(id [16]byte, v []byte) error) error {
		start := localKey(id, prefix, nil)
		return mvcc.ScanLocal(r, start, mvcc.PrefixEnd(start), func(k, v []byte) error {
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
		rec := &record{cmd: c, floor: c.ts}
		if c.kind != cmdPrepare {
			rec.commitTS = c.ts
		}
		s.records[id] = rec
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = scan(progressKeys, func(id [16]byte, v []byte) error {
		p, err := decodeProgress(v)
		if err != nil {
			return err
		}
		if rec := s.records[id]; rec != nil {
			rec.progress, rec.commitTS = p, p.ts
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = scan(stagedKeys, func(id [16]byte, v []byte) error {
		c, err := decodeCommand(bytes.Clone(v))
		if err != nil {
			return err
		}
		st := &stagedTxn{age: c.age, gateway: c.gateway, token: c.token}
		for i := range c.writes.keys {
			st.spans = append(st.spans, [2][]byte{c.writes.keys[i], c.writes.values[i]})
		}
		s.staged[id] = st
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
	if v, found, err := mvcc.GetLocal(r, localKey(id, horizonKey, nil)); err != nil {
		return nil, err
	} else if found && len(v) == 8 {
		s.horizon = truetime.Timestamp(binary.BigEndian.Uint64(v))
	}
	s.threshold, err = mvcc.GCThreshold(r, uint64(id))
	return s, err
}

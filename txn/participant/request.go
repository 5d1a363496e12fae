package participant

import (
	"bytes"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/truetime/plant"
	"github.com/meridian-db/meridian/txn/locktable"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// check refuses malformed requests, whoever sent them (I12). What passes cannot make a later step panic.
func check(req *txnpb.BatchRequest) error {
	if n := len(req.TxnId); n != 0 && n != 16 {
		return invalid("transaction id of %d bytes", n)
	}
	switch req.Kind {
	case txnpb.Kind_COMMIT_ONE, txnpb.Kind_PREPARE, txnpb.Kind_DECIDE, txnpb.Kind_RESOLVE, txnpb.Kind_QUERY:
		if len(req.CommitId) != 16 {
			return invalid("commit id of %d bytes", len(req.CommitId))
		}
	case txnpb.Kind_ROLLBACK:
		if n := len(req.CommitId); n != 0 && n != 16 {
			return invalid("commit id of %d bytes", n)
		}
	}
	if req.Kind != txnpb.Kind_QUERY && req.Kind != txnpb.Kind_DIFF && len(req.TxnId) == 0 && (req.Kind != txnpb.Kind_READ || req.Lock != 0) {
		return invalid("%s without transaction id", req.Kind)
	}
	if len(req.SpanStarts) != len(req.SpanEnds) {
		return invalid("%d span starts, %d ends", len(req.SpanStarts), len(req.SpanEnds))
	}
	if len(req.WriteKeys) != len(req.WriteValues) || len(req.WriteOps) != 0 && len(req.WriteOps) != len(req.WriteKeys) {
		return invalid("%d write keys, %d values, %d ops", len(req.WriteKeys), len(req.WriteValues), len(req.WriteOps))
	}
	if n := len(req.ParticipantRanges); n != len(req.ParticipantKeys) ||
		len(req.ParticipantReadOnly) != 0 && len(req.ParticipantReadOnly) != n {
		return invalid("participants of different lengths")
	}
	if len(req.IgnoreFrom) != len(req.IgnoreTo) {
		return invalid("ignored sequences of different lengths")
	}
	if req.Lock > txnpb.LockMode_LOCK_EXCLUSIVE || req.Lock < 0 || req.Wait > txnpb.WaitPolicy_WAIT_SKIP || req.Wait < 0 {
		return invalid("unknown lock mode or wait policy")
	}
	if req.LockScope < 0 || req.LockScope > txnpb.LockScope_LOCK_ONLY || req.LockScope == txnpb.LockScope_LOCK_ONLY && req.Wait == txnpb.WaitPolicy_WAIT_SKIP {
		return invalid("unknown lock scope, or one that cannot skip")
	}
	if req.Changes && (req.Kind != txnpb.Kind_READ || req.Lock != 0 || len(req.Keys) > 0 || len(req.SpanStarts) != 1 || req.Reverse) {
		return invalid("changes are read of one span, forwards and without a lock")
	}
	if req.ChangesAfter < 0 || req.ResumeBelow < 0 {
		return invalid("negative timestamp")
	}
	if req.ReadTs < 0 || req.MinTs < 0 || req.MaxTs < 0 || req.CommitTs < 0 || req.ConflictTs < 0 || req.StageSeq < 0 {
		return invalid("negative timestamp")
	}
	for _, k := range req.Keys {
		if err := mvcc.ValidateKey(k); err != nil {
			return err
		}
	}
	for i, k := range req.SpanStarts {
		if err := mvcc.ValidateKey(k); err != nil {
			return err
		}
		if bytes.Compare(k, req.SpanEnds[i]) > 0 {
			return invalid("span ends before it starts")
		}
	}
	for i, k := range req.WriteKeys {
		if err := mvcc.ValidateKey(k); err != nil {
			return err
		}
		if len(req.WriteOps) > 0 {
			if req.WriteOps[i] > byte(txnpb.WriteOp_WRITE_DELETE_SPAN) {
				return invalid("unknown write op %d", req.WriteOps[i])
			}
			if req.WriteOps[i] == byte(txnpb.WriteOp_WRITE_DELETE_SPAN) && bytes.Compare(k, req.WriteValues[i]) >= 0 {
				return invalid("empty span to delete")
			}
		}
	}
	return nil
}

// contains checks that every key and span of req lies in the range.
func contains(d *ranges.Descriptor, req *txnpb.BatchRequest) bool {
	if plant.On(plant.StaleRoute) {
		return true
	}
	for _, k := range req.Keys {
		if !d.Contains(k) {
			return false
		}
	}
	for i, k := range req.SpanStarts {
		if !d.Contains(k) || bytes.Compare(req.SpanEnds[i], d.End) > 0 {
			return false
		}
	}
	for i, k := range req.WriteKeys {
		if !d.Contains(k) {
			return false
		}
		if len(req.WriteOps) > 0 && req.WriteOps[i] == byte(txnpb.WriteOp_WRITE_DELETE_SPAN) &&
			bytes.Compare(req.WriteValues[i], d.End) > 0 {
			return false
		}
	}
	return true
}

var (
	errMismatch   = &Error{Code: txnpb.ErrorCode_RANGE_MISMATCH, Msg: "key outside the range"}
	errStaleRoute = &Error{Code: txnpb.ErrorCode_RANGE_MISMATCH, Msg: "the range has been split or merged since the gateway looked"}
)

func writesOf(req *txnpb.BatchRequest) writeSet {
	return writeSet{ops: req.WriteOps, keys: req.WriteKeys, values: req.WriteValues}
}

func ignoreOf(req *txnpb.BatchRequest) []mvcc.SeqSpan {
	if len(req.IgnoreFrom) == 0 {
		return nil
	}
	out := make([]mvcc.SeqSpan, len(req.IgnoreFrom))
	for i := range out {
		out[i] = mvcc.SeqSpan{From: uint64(req.IgnoreFrom[i]), To: uint64(req.IgnoreTo[i])}
	}
	return out
}

func targetsOf(req *txnpb.BatchRequest) []target {
	out := make([]target, len(req.ParticipantRanges))
	for i := range out {
		out[i] = target{
			id:       ranges.RangeID(req.ParticipantRanges[i]),
			key:      req.ParticipantKeys[i],
			readOnly: len(req.ParticipantReadOnly) > 0 && req.ParticipantReadOnly[i] != 0,
		}
	}
	return out
}

// begin finds or makes the transaction's lock table entry.
func (l *leadership) begin(req *txnpb.BatchRequest, resp *txnpb.BatchResponse) (*locktable.Txn, error) {
	x, err := l.table.Begin(TxnID(req.TxnId), req.Age, req.Gateway, req.LockEpoch, req.AbsorbedLockEpochs...)
	if err != nil {
		return nil, err
	}
	if resp.LockEpoch = req.LockEpoch; resp.LockEpoch == 0 {
		resp.LockEpoch = x.Token
	}
	return x, nil
}

// bounds returns the smallest span that holds all write keys, for the replica's own check at the log.
func (w *writeSet) bounds() (start, end []byte) {
	var last []byte // the greatest key, which is inside; end is not
	for i, k := range w.keys {
		if start == nil || bytes.Compare(k, start) < 0 {
			start = k
		}
		if w.op(i) == txnpb.WriteOp_WRITE_DELETE_SPAN {
			if hi := w.values[i]; bytes.Compare(hi, end) > 0 {
				end = hi
			}
		} else if bytes.Compare(k, last) > 0 {
			last = k
		}
	}
	if last != nil && bytes.Compare(last, end) >= 0 {
		end = append(append(make([]byte, 0, len(last)+1), last...), 0)
	}
	return start, end
}

// now is the latest that true time can be.
func (m *Machine) now() truetime.Timestamp { return m.srv.cfg.Clock.Now().Latest }

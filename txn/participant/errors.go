package participant

import (
	"context"
	"errors"
	"fmt"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/txn/locktable"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// Error is a refusal, as it goes into a BatchResponse.
type Error struct {
	Code txnpb.ErrorCode
	Msg  string
	Key  []byte
	Txn  TxnID
	Hint ranges.NodeID
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Code, e.Msg) }

func invalid(format string, args ...any) error {
	return &Error{Code: txnpb.ErrorCode_INVALID, Msg: fmt.Sprintf(format, args...)}
}

// errorCodes maps the sentinels of the layers below.
var errorCodes = []struct {
	err  error
	code txnpb.ErrorCode
}{
	{locktable.ErrWounded, txnpb.ErrorCode_WOUNDED},
	{locktable.ErrLockLost, txnpb.ErrorCode_LOCK_LOST},
	{locktable.ErrExpired, txnpb.ErrorCode_LOCK_LOST},
	{locktable.ErrWouldBlock, txnpb.ErrorCode_LOCK_NOT_AVAILABLE},
	{locktable.ErrMoved, txnpb.ErrorCode_RANGE_MISMATCH},
	{locktable.ErrClosed, txnpb.ErrorCode_NOT_LEADER},
	{ranges.ErrNotLeader, txnpb.ErrorCode_NOT_LEADER},
	{ranges.ErrLeaseExpired, txnpb.ErrorCode_UNAVAILABLE},
	{ranges.ErrDropped, txnpb.ErrorCode_NOT_LEADER},
	{ranges.ErrAmbiguous, txnpb.ErrorCode_AMBIGUOUS},
	{ranges.ErrRangeKeyMismatch, txnpb.ErrorCode_RANGE_MISMATCH},
	{ranges.ErrProposalTooLarge, txnpb.ErrorCode_TOO_LARGE},
	{ranges.ErrOverloaded, txnpb.ErrorCode_UNAVAILABLE},
	{ranges.ErrNotReady, txnpb.ErrorCode_UNAVAILABLE},
	{ranges.ErrRangeNotFound, txnpb.ErrorCode_RANGE_NOT_FOUND},
	{ranges.ErrClosed, txnpb.ErrorCode_NOT_LEADER},
	{mvcc.ErrBelowGC, txnpb.ErrorCode_BELOW_GC},
	{mvcc.ErrCorrupt, txnpb.ErrorCode_CORRUPT},
	{mvcc.ErrInvalidKey, txnpb.ErrorCode_INVALID},
}

// refusalCode returns the code for an error of the layers below.
func refusalCode(err error) (code txnpb.ErrorCode, ok bool) {
	for i := range errorCodes {
		if errors.Is(err, errorCodes[i].err) {
			return errorCodes[i].code, true
		}
	}
	return txnpb.ErrorCode_INTERNAL, false
}

// known reports whether err says what is wrong in terms of this package or the layers below, as errors of the
// transport do not.
func known(err error) bool {
	_, ok := refusalCode(err)
	var e *Error
	return ok || errors.As(err, &e)
}

// refuse puts err into resp. Only an error of the request's own context is returned: there is nobody to
// answer to then.
func (m *Machine) refuse(ctx context.Context, resp *txnpb.BatchResponse, err error) error {
	if err == errDetached {
		err = context.Cause(ctx)
	}
	if cerr := ctx.Err(); cerr != nil && (errors.Is(err, cerr) || errors.Is(err, context.Cause(ctx))) {
		return err
	}
	resp.ErrorMessage = err.Error()
	var e *Error
	if errors.As(err, &e) {
		resp.Error, resp.ErrorMessage, resp.LeaderHint = e.Code, e.Msg, int32(e.Hint)
		resp.ConflictKey = e.Key
		if e.Txn != (TxnID{}) {
			resp.ConflictTxn = e.Txn[:]
		}
	} else {
		resp.Error, _ = refusalCode(err)
		var corrupt *mvcc.CorruptError
		if errors.As(err, &corrupt) {
			resp.ConflictKey = corrupt.Key
		}
	}
	switch resp.Error {
	case txnpb.ErrorCode_NOT_LEADER:
		var nl *ranges.NotLeaderError
		if errors.As(err, &nl) {
			resp.LeaderHint = int32(nl.Hint)
		} else if hint := m.rep.LeaderHint(); hint != m.srv.cfg.NodeID {
			resp.LeaderHint = int32(hint)
		}
	case txnpb.ErrorCode_RANGE_MISMATCH:
		m.describe(resp)
	}
	return nil
}

// describe adds the range's descriptor, and those of ranges split off from it, to resp.
func (m *Machine) describe(resp *txnpb.BatchResponse) {
	if into := m.successor(); into != nil {
		m = into
	}
	resp.Descriptors = append(resp.Descriptors[:0], m.rep.Desc().Encode())
	if l := m.lead.Load(); l != nil {
		l.mu.Lock()
		resp.Descriptors = append(resp.Descriptors, l.right...)
		l.mu.Unlock()
	}
}

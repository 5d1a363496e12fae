package txn

import (
	"errors"
	"fmt"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// Reasons for which a transaction is aborted. Each also is a kv.ErrRetry.
var (
	// ErrWounded: an older transaction took a lock that this one held (wound-wait).
	ErrWounded = errors.New("wounded by an older transaction")
	// ErrLockLost: a range changed its leader without a handoff, or took the gateway for dead (I9).
	ErrLockLost = errors.New("lock lost")
	// ErrTooLate: no commit timestamp before the transaction's bound was left.
	ErrTooLate = errors.New("commit timestamp would be past the transaction's bound")
	// ErrAborted: the commit was decided against, by recovery.
	ErrAborted = errors.New("aborted")
)

var (
	// ErrFinished reports the use of a transaction after its Commit or Rollback.
	ErrFinished = errors.New("txn: transaction is finished")
	// ErrSpanDeleted reports a rollback to a savepoint from before a DeleteSpan, which can only be undone
	// with the whole transaction. The transaction is aborted. SQLSTATE 0A000.
	ErrSpanDeleted = errors.New("txn: a span deletion cannot be rolled back to a savepoint")
	// ErrCorrupt reports data that failed its checksum at a range. SQLSTATE XX001.
	ErrCorrupt = errors.New("txn: stored data is corrupt")
	// ErrInternal reports a refusal that nothing in this layer can cure. SQLSTATE XX000.
	ErrInternal = errors.New("txn: internal error")
)

// AmbiguousError is the kv.ErrAmbiguous of one commit. CommitID names it in the ranges' records and logs.
//
// Cause is for people: errors.Is does not look at it. It may well be something after which a transaction is run
// again, and this one must not be.
type AmbiguousError struct {
	CommitID [16]byte
	Cause    error
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%v (commit %x): %v", kv.ErrAmbiguous, e.CommitID, e.Cause)
}

func (e *AmbiguousError) Unwrap() error { return kv.ErrAmbiguous }

// reasonError is a kv error with the reason from this layer.
type reasonError struct {
	kind   error // one of package kv's
	reason error
	detail string
}

func (e *reasonError) Error() string {
	s := e.kind.Error()
	if e.reason != nil {
		s += ": " + e.reason.Error()
	}
	if e.detail != "" {
		s += ": " + e.detail
	}
	return s
}

func (e *reasonError) Unwrap() []error {
	if e.reason == nil {
		return []error{e.kind}
	}
	return []error{e.kind, e.reason}
}

func wrap(kind error, detail string) error { return &reasonError{kind: kind, detail: detail} }

// errReroute says that a request has not been executed because the route to its keys was wrong: look them
// up again. It never leaves the package.
var errReroute = errors.New("txn: route changed")

// responseError turns a refusal into what the caller gets, nil for OK. Codes about routing have been dealt
// with before.
func responseError(req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	switch resp.Error {
	case txnpb.ErrorCode_OK:
		return nil
	case txnpb.ErrorCode_WOUNDED:
		return &reasonError{kv.ErrRetry, ErrWounded, resp.ErrorMessage}
	case txnpb.ErrorCode_LOCK_LOST:
		return &reasonError{kv.ErrRetry, ErrLockLost, resp.ErrorMessage}
	case txnpb.ErrorCode_ABORTED:
		return &reasonError{kv.ErrRetry, ErrAborted, resp.ErrorMessage}
	case txnpb.ErrorCode_COMMIT_TOO_LATE:
		return &reasonError{kv.ErrRetry, ErrTooLate, resp.ErrorMessage}
	case txnpb.ErrorCode_WRITE_CONFLICT:
		return wrap(kv.ErrWriteConflict, fmt.Sprintf("key %x", resp.ConflictKey))
	case txnpb.ErrorCode_CONDITION_FAILED:
		// The caller saw the key absent: someone else has inserted it since.
		return wrap(kv.ErrRetry, fmt.Sprintf("key %x exists", resp.ConflictKey))
	case txnpb.ErrorCode_LOCK_NOT_AVAILABLE:
		return wrap(kv.ErrLockNotAvailable, fmt.Sprintf("key %x", resp.ConflictKey))
	case txnpb.ErrorCode_LOCK_TIMEOUT:
		return &reasonError{kv.ErrLockNotAvailable, kv.ErrLockTimeout, fmt.Sprintf("key %x", resp.ConflictKey)}
	case txnpb.ErrorCode_BELOW_GC:
		return wrap(kv.ErrReadTooOld, "read at "+truetime.Timestamp(req.ReadTs).String())
	case txnpb.ErrorCode_CLOCK:
		return wrap(kv.ErrClock, resp.ErrorMessage)
	case txnpb.ErrorCode_TOO_LARGE:
		return wrap(kv.ErrTooLarge, resp.ErrorMessage)
	case txnpb.ErrorCode_CORRUPT:
		return fmt.Errorf("%w: key %x", ErrCorrupt, resp.ConflictKey)
	}
	return fmt.Errorf("%w: %s of range %d: %s: %s", ErrInternal, req.Kind, req.RangeId, resp.Error, resp.ErrorMessage)
}

// fatal reports whether an error leaves a transaction with nothing but Rollback.
func fatal(err error) bool {
	return errors.Is(err, kv.ErrRetry) || errors.Is(err, kv.ErrWriteConflict) || errors.Is(err, kv.ErrAmbiguous)
}

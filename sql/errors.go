package sql

import (
	"context"
	"errors"

	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv"
)

// WireError turns any error into the one the client gets. It is the one place where errors of the layers
// below become SQLSTATEs. The result may be shared: copy it before changing it.
func WireError(err error) *pgerr.Error {
	var e *pgerr.Error
	if errors.As(err, &e) {
		return e
	}
	for _, m := range stateMap {
		if errors.Is(err, m.is) {
			out := pgerr.New(m.code, "%s", m.message)
			if m.message == "" {
				out.Message = err.Error()
			}
			out.Detail, out.Hint = m.detail, m.hint
			if out.Detail == "" && out.Message != err.Error() {
				out.Detail = err.Error()
			}
			return out.WithCause(err)
		}
	}
	return pgerr.New(pgerr.InternalError, "%s", err.Error()).WithCause(err)
}

// stateMap is tried in order: an ambiguous commit may have a retryable cause, but must not be retried.
var stateMap = []struct {
	is      error
	code    string
	message string // "" takes the error's own text
	detail  string
	hint    string
}{
	{is: kv.ErrAmbiguous, code: pgerr.TRStatementCompletionUnknown, message: "the outcome of the commit is unknown"},
	{is: kv.ErrWriteConflict, code: pgerr.TRSerializationFailure, message: "could not serialize access due to concurrent update"},
	{is: kv.ErrRetry, code: pgerr.TRSerializationFailure, message: "could not serialize access due to read/write dependencies among transactions",
		hint: "The transaction might succeed if retried."},
	{is: kv.ErrLockTimeout, code: pgerr.LockNotAvailable, message: "canceling statement due to lock timeout"},
	{is: kv.ErrLockNotAvailable, code: pgerr.LockNotAvailable, message: "could not obtain lock on row"},
	{is: kv.ErrReadTooOld, code: pgerr.SnapshotTooOld, message: "snapshot too old"},
	{is: kv.ErrClock, code: pgerr.CannotConnectNow, message: "this node cannot serve: its clock is not trustworthy"},
	{is: kv.ErrUnavailable, code: pgerr.CannotConnectNow, message: "the data cannot be reached at the moment"},
	{is: kv.ErrTooLarge, code: pgerr.ProgramLimitExceeded},
	{is: kv.ErrReadOnly, code: pgerr.ReadOnlySQLTransaction, message: "cannot write in a read-only transaction"},
	{is: context.DeadlineExceeded, code: pgerr.QueryCanceled, message: "canceling statement due to timeout"},
	{is: context.Canceled, code: pgerr.QueryCanceled, message: "canceling statement due to user request"},
}

// clientError gives an error its SQLSTATE and turns its position, a byte offset in text, into the number of
// characters that clients count in.
func clientError(err error, text string) *pgerr.Error {
	e := WireError(err)
	if e.Position == 0 {
		return e
	}
	out := *e
	out.Position = parser.CharPosition(text, e.Position)
	return &out
}

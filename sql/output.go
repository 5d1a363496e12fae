package sql

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// Column describes one column of a result, as a RowDescription message does.
type Column = plan.Column

// Format codes of values on the wire.
const (
	FormatText   int16 = 0
	FormatBinary int16 = 1
)

// Mark is a place in an Output's buffer.
type Mark struct{ Pos, Flushed int64 }

// Output receives what a Session answers, in order. Package pgwire implements it over a connection's
// buffer, tests implement it in memory. It is used by the session's goroutine only; slices passed in are
// not kept.
type Output interface {
	// BeginRows fixes the columns, their formats (none: all text; one: for all; else one each) and the
	// settings that the text forms of the following rows depend on. It sends a row description if told.
	BeginRows(cols []Column, formats []int16, settings *types.Settings, describe bool)
	// Row sends one row. Its error is the connection's, or that of a value without a binary form.
	Row(row []types.Datum) error
	// Complete ends a statement with its command tag.
	Complete(tag string)
	// CompleteRows ends a statement with the tag "verb n".
	CompleteRows(verb string, n int64)
	EmptyQuery()
	Suspended()
	Notice(n *pgerr.Error)
	Parameter(name, value string)
	Notify(pid int32, channel, payload string)

	// BeginCopyIn asks the client for COPY data and returns its source.
	BeginCopyIn(columns int, format int16) (CopySource, error)
	BeginCopyOut(columns int, format int16)
	CopyData(b []byte) error
	EndCopyOut()

	// Mark and Rewind undo what a statement has written before it is retried. Rewind reports false, and
	// changes nothing, when some of it has already left.
	Mark() Mark
	Rewind(m Mark) bool
	// BeginDigest starts a digest over everything written until EndDigest. With discard it is only
	// digested, not sent.
	BeginDigest(discard bool)
	EndDigest() uint64
	// Sent reports whether anything written after m has left.
	Sent(m Mark) bool
}

// CopySource yields the pieces of COPY data as the client sent them. The slice is valid until the next
// call. It returns io.EOF at CopyDone, and an error with SQLSTATE 57014 at CopyFail.
type CopySource interface {
	NextCopyData() ([]byte, error)
}

package pgerr

import (
	"errors"
	"fmt"
)

// Severity values of an error or notice, as the protocol spells them.
const (
	SeverityError   = "ERROR"
	SeverityFatal   = "FATAL"
	SeverityPanic   = "PANIC"
	SeverityWarning = "WARNING"
	SeverityNotice  = "NOTICE"
	SeverityInfo    = "INFO"
	SeverityLog     = "LOG"
	SeverityDebug   = "DEBUG"
)

// Error is an error as a PostgreSQL client sees it. Its fields are those of the protocol's ErrorResponse;
// an empty field is not sent. An Error is built with New and the With methods and not changed after it has
// been returned to a caller of another package.
type Error struct {
	Severity      string // "" means ERROR
	Code          string // SQLSTATE
	Message       string
	Detail        string
	Hint          string
	Position      int // 1-based character offset in the statement, 0 for none
	InternalPos   int
	InternalQuery string
	Where         string
	Schema        string
	Table         string
	Column        string
	DataType      string
	Constraint    string
	Routine       string
	located       bool // Where is complete
	wrapped       error
}

// New returns an error with a SQLSTATE and a formatted primary message. A %w in the format keeps its
// operand for errors.Is and errors.As.
func New(code, format string, args ...any) *Error {
	if len(args) == 0 {
		return &Error{Code: code, Message: format}
	}
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), wrapped: errors.Unwrap(err)}
}

// Unsupported returns a feature_not_supported error.
func Unsupported(format string, args ...any) *Error {
	return New(FeatureNotSupported, format, args...)
}

// Wrap gives err a SQLSTATE, keeping its text as the message; an err that already is an *Error comes back
// as it is.
func Wrap(code string, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: code, Message: err.Error(), wrapped: err}
}

// Code returns the SQLSTATE of the first *Error in err's chain, or "" if there is none.
func Code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Error returns the message with its SQLSTATE.
func (e *Error) Error() string { return e.Message + " (SQLSTATE " + e.Code + ")" }

// Unwrap returns the cause, if the error was built from one.
func (e *Error) Unwrap() error { return e.wrapped }

// SeverityOrDefault returns the severity, ERROR when none was set.
func (e *Error) SeverityOrDefault() string {
	if e.Severity == "" {
		return SeverityError
	}
	return e.Severity
}

// The With methods set a field and return the same error, to be chained after New.

func (e *Error) WithDetail(format string, args ...any) *Error {
	e.Detail = format
	if len(args) > 0 {
		e.Detail = fmt.Sprintf(format, args...)
	}
	return e
}

func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = format
	if len(args) > 0 {
		e.Hint = fmt.Sprintf(format, args...)
	}
	return e
}

// WithPosition sets the 1-based character position unless a more precise one is already set.
func (e *Error) WithPosition(pos int) *Error {
	if e.Position == 0 {
		e.Position = pos
	}
	return e
}

func (e *Error) WithSeverity(s string) *Error      { e.Severity = s; return e }
func (e *Error) WithWhere(s string) *Error         { e.Where = s; return e }
func (e *Error) WithSchema(s string) *Error        { e.Schema = s; return e }
func (e *Error) WithTable(schema, t string) *Error { e.Schema, e.Table = schema, t; return e }
func (e *Error) WithColumn(s string) *Error        { e.Column = s; return e }
func (e *Error) WithDataType(s string) *Error      { e.DataType = s; return e }
func (e *Error) WithConstraint(s string) *Error    { e.Constraint = s; return e }
func (e *Error) WithCause(err error) *Error        { e.wrapped = err; return e }

// Within returns the error with what it happened in, once: what is called further out has been told of by then.
func (e *Error) Within(context func() string) *Error {
	if e.located {
		return e
	}
	k := *e
	k.located = true
	if c := context(); k.Where == "" {
		k.Where = c
	} else if c != "" {
		k.Where += "\n" + c
	}
	return &k
}

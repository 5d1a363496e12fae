// Package inverted says what inverted indexes hold: the terms of a value, and the terms that a row must have to
// satisfy an operator (PostgreSQL's GIN, with its operator classes for arrays, jsonb and tsvector, and pg_trgm's for
// text).
//
// # What it guarantees
//
// Terms and Find belong together: whatever value satisfies an operator for an argument has terms for which the Query
// that Find makes of the argument holds. The reverse is not true (terms know nothing of nesting, positions or weights,
// and long ones are hashed), so whoever reads by a Query tests the condition again on the rows.
//
// Terms are bytes without any order that matters, except that those of a tsvector are its lexemes: a Prefix asks for
// the terms that begin with it. They are stored: what Terms makes of a value may not change between versions.
//
// Values are immutable and nothing here keeps state; everything may be used from any goroutine.
package inverted

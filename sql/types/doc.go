// Package types holds SQL values and their types: the Datum of 24 bytes, PostgreSQL's built-in types under
// their own OIDs, text and binary input and output exactly as PostgreSQL 15 writes and reads them, ordering
// and hashing, and the arithmetic of numeric with PostgreSQL's scale rules.
//
// The text form depends on Settings (DateStyle, IntervalStyle, TimeZone, ...), which are immutable: a
// session that changes one makes a new Settings. Bad input gives an *pgerr.Error with PostgreSQL's message
// and SQLSTATE, never a panic.
//
// Values are immutable and all functions are safe for concurrent use; the package starts no goroutines.
// Text sorts bytewise (collation "C", which is also the default collation).
package types

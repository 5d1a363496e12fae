// Package sql runs a client's statements: sessions with their settings, transactions, prepared statements
// and portals. It sits between the wire protocol (package pgwire, which calls Session) and the packages that
// do a statement's work: parser, plan, exec, catalog and ddl over a kv.DB.
//
// Guarantees:
//
//   - Transactions behave as PostgreSQL's do: implicit ones for each message, blocks, savepoints, the failed
//     state (25P02), modes that are fixed by the first statement (txn.go).
//   - A conflict that the client cannot have noticed is hidden: an implicit transaction is run again until a
//     byte of its answer has left, and a block is repeated when each of its statements answers exactly as
//     before (replay.go). Otherwise the client gets 40001, and 40003 when a commit's outcome is unknown.
//   - Every error that leaves has PostgreSQL's SQLSTATE; errors.go is the one place where errors of lower
//     layers get theirs.
//   - Settings have PostgreSQL's names, defaults, units and transaction rules (setting.go).
//
// Server is a node's SQL layer, Session one client's state, Output where its answers go. A Session is used by
// one goroutine, its connection's; Cancel, Terminate and Info may be called by others. The package starts no
// goroutines but the timers of statement timeouts.
//
// Upholds I8's client side (a retried commit is asked for again by kv, never repeated here after
// kv.ErrAmbiguous) and I12.
package sql

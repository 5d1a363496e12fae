// Package pgwire serves clients that speak PostgreSQL's frontend/backend protocol, version 3.0.
//
// Guarantees:
//
//   - No bytes that a client sends crash the process or make it allocate more than they are themselves
//     (I12). Messages are decoded by pgproto3, which trusts what it reads, so guard hands it only messages
//     that have been checked; before authentication only small ones of one type. Each connection recovers
//     panics besides.
//   - Authentication is SCRAM-SHA-256, bound to the TLS channel where there is one; a role that does not
//     exist cannot be told from one with another password. Trust serves loopback only, unless the operator
//     says otherwise. Passwords never travel, in clear or as MD5.
//   - Answers are buffered and leave in one write when the client waits for them, or in pieces past
//     outFlushSize. Until a byte has left, package sql may take an answer back and run its statement again.
//   - After an error in the extended protocol messages are skipped up to the next Sync, and every Query and
//     Sync is answered by exactly one ReadyForQuery.
//
// Server accepts; conn is one client, run by one goroutine from accept to close, which calls the methods of
// its sql.Session and encodes their answers (output implements sql.Output). Only Cancel, Terminate and
// interrupt reach into it from outside. What statements mean is package sql's business: this package knows
// messages, not SQL.
package pgwire

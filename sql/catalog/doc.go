// Package catalog holds the names and shapes of everything SQL knows: databases, schemas, tables, types,
// sequences, views, roles. It is stored in the database itself, versioned, and changed by transactions.
//
// A Snapshot is the whole catalog at one version: immutable, shared, and where names are resolved. A Txn is
// one transaction's view: the snapshot plus the transaction's own changes, which it writes through the
// transaction's kv.Txn, so that DDL is atomic with everything else the transaction does. A Manager keeps a
// node's current snapshot and the node's lease on it.
//
// # Invariant I10
//
// At any timestamp one schema version holds for all nodes. A node's transactions commit only at timestamps
// before the end of the node's catalog lease (Lease.CommitBound goes to kv.Txn.CommitBefore), and a
// transaction that changes the catalog, before it commits,
//
//  1. takes the exclusive lock on the version key, so that one change is in progress at a time and no
//     lease is renewed meanwhile (a renewal reads that key),
//  2. asks every node with a lease to stop: it starts no statement on the old version any more, lets
//     commits under way finish, and waits for (then dooms) transactions that have used a changed object,
//  3. waits out the leases of nodes that do not answer,
//  4. commits, so its timestamp is after every commit under the old version.
//
// A node that has stopped learns the outcome by reading the version key, which waits for the lock of step
// 1: it needs no message from the changing node, which may have died. So a change takes a few milliseconds
// when all is well, and at most a lease when a node is gone. A node that was cut off meanwhile learns of the
// change when it renews its lease; its transactions that used a changed object then fail, at their next
// statement or at commit. lease.go has the node's side, revoke.go the changing transaction's.
//
// # Storage
//
// All keys start with 0x02 'c'; keys.go lists them. Descriptors are JSON in an envelope with their kind.
// Names have keys of their own, so that two transactions creating the same name conflict on one key and
// transactions on different objects do not. A log of changed ids by version lets a node catch up without
// reading everything.
//
// Goroutines: a Manager runs one that renews the lease, and one for each change in progress elsewhere that
// learns its outcome; Stop ends them.
package catalog

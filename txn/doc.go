// Package txn is the gateway side of transactions: it implements kv.DB for the SQL layer of its node and
// talks to the leaders of the ranges that a transaction touches (package participant is their side).
//
// # What it guarantees
//
// Read-write transactions are strictly two-phase locked and commit at a timestamp between the arrival of
// the commit request and its answer (I6); the answer is given after commit wait (I7). A commit is decided
// once: it is repeated under its commit id until the outcome is known, so ErrAmbiguous is returned only
// when no quorum of the deciding range answers before Config.CommitTimeout (I8). A transaction whose lock
// token changed at any range aborts, and no other does (I9). Read-only transactions take no locks and read
// at one timestamp.
//
// # Main types
//
// DB begins transactions and owns the descriptor cache, the router and the heartbeats. Txn is one
// transaction: a write buffer with savepoints (buffer.go), reads that merge it over what ranges answer
// (read.go, scan.go), staging of writes past the memory budget (stage.go), and the commit protocol
// (commit.go):
//
//	one range       COMMIT_ONE ------------------------------------------> outcome
//	several ranges  PREPARE to all but one, in parallel --> DECIDE at the one --> outcome
//	only locks      COMMIT_ONE to each, in parallel: the locks are checked and released
//
// The gateway drives; once DECIDE is logged the coordinator range finishes alone, and before that any
// participant can have the coordinator range decide against it.
//
// # Routing
//
// A request names a range and is sent to its leader. Descriptors come from the replicas on this node, from
// the meta range, and from the answers of ranges that have split or moved; the one with the highest
// generation wins. A wrong route costs a round trip, never a wrong answer: ranges check each key.
//
// # Goroutines
//
// DB runs one goroutine for heartbeats, and one for each rollback and each flushed buffer on its way (at most
// two a transaction); Close ends them and waits. Commit, Rollback and RollbackTo leave none of a transaction's
// buffers behind. For requests to several ranges at once a call starts goroutines and waits for them before
// it returns.
//
// Paper: Corbett et al., OSDI 2012, §4.1 and §4.2.
package txn

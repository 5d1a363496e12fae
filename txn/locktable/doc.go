// Package locktable is the lock table of one range's leader: shared and exclusive locks on points and
// key spans, held by transactions until they end (strict two-phase locking).
//
// # What it guarantees
//
// No two transactions hold conflicting locks: two locks conflict when they share a key and one of them
// is exclusive. A point is lockable whether or not the key exists, a span covers every key in it, so
// there are no phantoms.
//
// No deadlock lasts (wound-wait, by age). Queues are ordered by age. A request that has waited for its patience
// (Press) wounds the younger, still active holders in its way: they lose all their locks at once and every
// later call of theirs answers ErrWounded; from then on it waits only for transactions older than its own,
// or for those that can no longer be aborted here because they are committing or prepared. The paper
// wounds at once. But an interactive transaction that has already shown rows to a client cannot be retried
// for it, and most younger holders are about to commit: patience turns nearly all such aborts into short
// waits. Cycles within one table are found when the last request of them queues, and the youngest of
// them is aborted without delay; those through several tables the gateways find within some tens of
// milliseconds (WaitsFor, Break; package txn, waitGraph). As age survives retries, every transaction becomes the oldest in time and
// starves no longer. What this leaves open is the chain "older waits for prepared younger, which still waits
// elsewhere"; the participant breaks it by asking the coordinator to abort the prepared one (Blockers).
//
// I9: every transaction has an entry with a token unique in the history of the range. A transaction whose
// entry is gone, or was made anew, is told ErrLockLost; one whose entry was handed to the next leader
// (Encode, Decode) or across a split (SplitOff) notices nothing.
//
// # Main types
//
// Table is the lock table, Txn a transaction's entry in it, Request one acquisition that has to wait. The
// package starts no goroutine, reads no clock and does no I/O: time comes in by Sweep, waiting is done
// on channels that the table closes. A Table is safe for concurrent use; one mutex guards it, held for
// memory only. (Sharding was considered: an uncontended acquire and release of a point takes a few hundred
// nanoseconds, and a range has one leader on one node.)
//
// Paper: Corbett et al., OSDI 2012, §4.2.1; wound-wait is Rosenkrantz, Stearns and Lewis, 1978.
package locktable

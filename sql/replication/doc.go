// Package replication gives what was committed to the tables of a database in the words of PostgreSQL's logical
// replication: slots, publications, and the output of pgoutput and test_decoding. Package pgwire carries it to clients,
// package txn/feed is where it comes from.
//
// # Positions
//
// There is no log of the cluster to count bytes of. An LSN is a commit timestamp, in nanoseconds: a transaction
// committed at ts has the commit LSN ts and the end LSN ts+1, so the position L holds everything committed below L, and
// LSNs compare as transactions do on all nodes. A transaction that a position holds is never sent again to who confirmed it.
//
// # Slots
//
// A slot is a record in the system keys: any node can serve it, one session at a time does (Slots.Acquire). It keeps garbage
// collection away from what it has not confirmed (package txn/protect), for Config.Retention at the longest; after that,
// or when the history is gone, it is lost and says so.
//
// # Schema
//
// Rows are decoded by the catalog that held at their commit timestamp. A round of reading ends right below the next
// change of the catalog; the transactions at that timestamp make a round of their own. TRUNCATE is a change of the catalog
// (the table gets new storage), and shows as such; a rewrite, which leaves the same rows, does not show.
//
// # Goroutines
//
// Stream.Run uses its caller's, and one that keeps the slot until it returns.
package replication

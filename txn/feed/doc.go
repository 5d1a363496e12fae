// Package feed reads what was committed to some spans of keys, transaction by transaction, in the order of commit
// timestamps. Change data capture (package sql/replication) stands on it.
//
// # How
//
// There are no subscriptions. A reader holds one timestamp, up to which it has seen everything, and asks every range for
// what was committed from there up to a later one, the same for all ranges. A range answers when nothing at or below
// that one can be committed to it any more: closed timestamp and prepared transactions are looked at as for a read at
// that timestamp, because it is one (participant.Server, DIFF). So all ranges are at the same frontier when the answers
// have come, every transaction at or below it is complete, and its rows from several ranges meet by their commit timestamp.
//
// Ranges keep nothing for a reader but, as far as memory allows, the keys that were written lately; so there is nothing
// to restore after a split, a change of leaders or the loss of a node, a slow reader holds up nobody, and one that
// comes back after an hour reads the history of versions, down to the garbage collection threshold.
//
// # Guarantees
//
// Each change is given exactly once, in a transaction of its own timestamp; transactions come in the order of timestamps,
// which is the order of their commits (I6). Transactions with the same timestamp, which touch different rows, are
// given as one. Within a transaction deletions come first, then updates, then insertions, each in the order of
// keys: the order of statements is not stored. Several writes of a row by one transaction are one change.
//
// Memory is bounded: what a reader asks for is divided in time until it fits, and a single transaction that does not fit
// is read from the ranges while it is handed on.
//
// A Reader starts no goroutine that outlives a call.
package feed

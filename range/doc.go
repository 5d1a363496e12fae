// Package ranges keeps the ranges of one node: replicated, ordered slices of the key space, each a Raft
// group whose leader holds a lease in true time.
//
// # What it guarantees
//
//   - I4: the leases of two leaders of one range never overlap. Nodes, not ranges, exchange the votes that
//     leases are made of; votes.go states the protocol and why it holds.
//   - I5: once a leader has let a replica answer at a timestamp, nothing is written at or below it. Every
//     promise raises the range's floor, every proposal gets a timestamp above it, under one mutex that
//     also fixes the order of the log; so timestamps ascend along the log, across leaders too, as
//     every lease starts after the one before has ended in true time.
//   - I11: a proposal whose Pending says so is on the synced logs of a quorum. Each replica pays one
//     fsync for it, shared with whatever else is under way on the node; entries leave for the followers
//     before the leader's own disk has them.
//   - An idle range costs nothing but its share of one small message per node pair: no ticks, no heartbeats.
//
// # Main types
//
// Store runs all replicas of a node. Replica is one of them: Propose, Lease, BumpFloor, SafeTime are what the
// transaction layer builds on. Machine is the replicated state machine that layer provides. Descriptor says
// which keys a range holds and where its replicas are. Transport connects stores; raftlog keeps their logs.
//
// # Life of a proposal
//
// Propose gives it a timestamp and puts it into the replica's inbox (propose.go). A worker hands all that
// waits there to Raft in one message, sends the appends to the followers, and queues the local append
// (raft.go). The append goroutine writes the appends of all replicas in one batch, the sync goroutine waits
// for the disk and delivers the answers (scheduler.go). Committed entries go to the apply goroutine of the
// range, which has the machine turn them into a batch for the state engine, commits it without a sync,
// publishes index and closed timestamp, and tells the proposer (apply.go). While the store is idle the proposer
// itself, or whoever brings a message, does the worker's and the append goroutine's part, which saves the switches.
//
// The state engine has no log of its own: after a crash it holds a prefix of what was applied, and the Raft
// log, truncated only below what is durable there, replays the rest.
//
// # Leaders
//
// Followers have no election timers. When a node's support for another runs out, its replicas that followed
// that node campaign, taking turns (raft.go, tick). A leader without a lease for some seconds steps down.
// A planned transfer (transfer.go) ships the machine's volatile state and needs no waiting.
//
// # Changes
//
// Merges (merge.go) freeze the right range and are decided in the left one's log.
// Splits (split.go) and replica changes (change.go) are log entries that carry whole new descriptors with the
// next generation; one made for a descriptor that has been replaced has no effect. New replicas are
// learners until a snapshot (snapshot.go) has brought them up to date; voters change by joint consensus.
// The meta range, through MetaWriter, is told afterwards and may lag. The queue (queue.go) finishes what an
// earlier leader began, splits large ranges and truncates logs. Where replicas and leaders should be, one
// store decides for all of them (placer.go), by a pure function (package placement).
//
// # Goroutines
//
// Store lists its own; they live from Start to Close. Short-lived ones, for vote requests, queue tasks and
// incoming snapshots, end before Close returns. No mutex is held while a goroutine waits for disk, network
// or time.
//
// # Failing
//
// A store whose disk refuses a write, in either engine, stops as if it had crashed (failure.go). A replica whose
// data cannot be applied goes out of service by itself (apply.go, fail), and so does one whose data is found to differ from
// that of a majority (check.go).
//
// It leaves to others: locks, transactions and what commands mean (package txn), versions and their garbage
// (package mvcc), and waiting out timestamps before their effects are shown (I7).
//
// Paper: Corbett et al., OSDI 2012, §2.1, §4.1. Raft: Ongaro's thesis, with the joint consensus of
// go.etcd.io/raft.
package ranges

// Package participant is the server side of transactions: the leader of a range as the place where locks are
// taken and commits decided, as participant of a two-phase commit and as its coordinator, and followers as
// readers at safe time. A Machine is one range replica's part of it (ranges.Machine); a Server holds the
// machines of a store and answers txnpb requests, from the gateway on the same node and from others alike.
//
// # Life of a commit
//
//	COMMIT_ONE   lock writes -> gate -> propose (timestamp) -> apply -> wait TT.after(s) -> release, answer
//	PREPARE      lock writes -> gate -> propose (prepare ts) -> apply -> answer; locks stay
//	DECIDE       as COMMIT_ONE, and the decision is pushed to the participants until they acknowledge
//	RESOLVE      propose the outcome -> apply (writes at s) -> acknowledge; wait TT.after(s) -> release
//
// The commit timestamp s is chosen when the command enters the log, so commit wait and replication run at the
// same time. The request's own goroutine does all of it; only a request that is canceled while its
// command is in the log leaves the rest to a goroutine of the Server.
//
// # What it guarantees
//
// I5: the leader promises a timestamp (Replica.BumpFloor) before it reads at it, and waits for those commits in
// flight and prepared that could still end up below it on the keys read. PreparedFloor holds back safe
// time on every replica while a prepared transaction is undecided, until its end is visible.
//
// I6: s >= TT.now().latest taken after the commit request arrived, and the answer leaves after TT.after(s).
//
// I7: exclusive locks are held until TT.after(s); snapshot reads at or above s wait for them.
//
// I8: outcomes are records in the range's replicated state, by commit id. A commit attempt that is asked for
// again is answered from its record; one that has no record can be decided to be aborted (QUERY), after
// which it can never commit. Prepared transactions whose gateway is silent are settled that way. Records
// belong to a range id; splits leave them with the left half, whose id and start key do not change.
//
// I9: the lock table entry's token travels with the gateway; a planned transfer and a split carry entries over,
// any other change of leaders makes their tokens unknown, and only transactions that hold one notice.
//
// Prepared transactions that wrote nothing here are not logged. Their locks are as durable as the lease, and
// commit below its end (valid_until); the next leader's commits are above it.
//
// # Large transactions
//
// Writes staged ahead of the commit are provisional versions in the engine (package mvcc), under the locks of their
// keys. The commit makes a layer of them, by which every reader from then on counts them at the commit timestamp; no
// lock and no safe time waits for more. Server.moveLoop rewrites them later, by bounded commands (cmdMove)
// that depend on the replicated state alone. Heads and layers go to both sides of a split.
//
// # Changes
//
// DIFF answers what was committed in a span between two timestamps, for change feeds (package txn/feed). It is a read at
// the later one, so the same rules make it complete; nothing is kept for its sender but a bounded tail of the keys
// written lately, on the replicas that are asked.
//
// # Garbage
//
// I3: the log carries the GC threshold; from the apply of that command on, reads below it are refused. Each replica
// then removes dead versions beside the log, on its own time. Outcomes of commit attempts go after
// Config.OutcomeRetention, by one command for all; those that a participant may still ask for stay.
//
// # Goroutines
//
// Server owns one goroutine that sweeps lock tables, one that collects garbage, one that moves layers, and short-lived ones for
// recovery, for telling participants outcomes, and for work whose request has gone; Close waits for all.
//
// Paper: Corbett et al., OSDI 2012, §4.1.2, §4.1.3, §4.2.1, §4.2.2.
package participant

package ranges

import (
	"context"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
)

// Machine is the replicated state machine of one range replica: what the transaction layer puts on top
// of consensus. The store creates one per replica through Config.NewMachine and calls it as follows.
//
// Apply is called in log order, by one goroutine at a time, on every replica. The other methods may be
// called concurrently with Apply and with each other unless they say otherwise.
type Machine interface {
	// Apply adds the effects of one committed command to b. It must be deterministic: it may read only
	// b (which reads through to the applied state) and cmd. An error is a broken invariant or a failed
	// disk; the replica stops serving.
	//
	// The returned value is handed to the waiting proposer on the replica that proposed the command.
	Apply(b *mvcc.Batch, index uint64, cmd []byte) (result any, err error)

	// Applied is called after b, holding every command up to index, has become visible to readers.
	// closed is the closed timestamp that came with the last of them.
	Applied(index uint64, closed truetime.Timestamp)

	// LeaseAcquired is called once for each lease (term), after every entry of earlier terms has been
	// applied and before the first request can see Replica.Lease() valid. handoff is what LeaseHandoff
	// returned on the previous leader when the lease came by a planned transfer, else nil; empty and not nil
	// it stands for a range's first lease after a split applied on this very replica, under which the
	// locks that Split moved here go on. The machine rebuilds the locks of prepared transactions from the
	// replica's state.
	LeaseAcquired(lease Lease, handoff []byte)

	// LeaseLost is called when this replica stops being leader, or its lease has run out. Waiters on
	// locks are answered with ErrNotLeader.
	LeaseLost()

	// LeaseHandoff freezes the machine for a planned transfer and returns its volatile state (the lock
	// table) for the next leader. If the transfer fails LeaseLost follows.
	LeaseHandoff() []byte

	// PrepareSplit is called on the leader before it proposes a split at key. It blocks new prepares,
	// waits until no prepared transaction is undecided, and returns a function that lifts the block.
	PrepareSplit(ctx context.Context, key []byte) (release func(), err error)

	// Split is called on every replica when a split applies, within the apply of that command, after
	// the range's descriptor has shrunk to [start, key). The right-hand machine has been created through
	// NewMachine. On the leader, locks at and above key move to right, with their owners and epochs.
	Split(key []byte, right Machine)

	// PreparedFloor returns the smallest prepare timestamp of the undecided transactions prepared here,
	// or MaxTimestamp. Safe time is min(closed, PreparedFloor()-1) (I5).
	PreparedFloor() truetime.Timestamp

	// Reset is called after a snapshot replaced the replica's state.
	Reset()

	// Close is called once, when the replica is removed or the store closes.
	Close()
}

// StateSplitter is what a Machine implements besides when it keeps replicated records of its own in the
// range's local key space. SplitState is called on every replica while a split applies, before Split, and
// adds to b what the right-hand range starts with. The rules of Apply hold.
type StateSplitter interface {
	SplitState(b *mvcc.Batch, key []byte, right RangeID) error
}

// Merger is what a Machine implements besides so that its range can be merged with its right neighbour.
type Merger interface {
	// PrepareMerge is called on the leader of the left range before the right one is frozen. It blocks new prepares and
	// waits until no prepared transaction is undecided; PrepareSplit is called on the right. release lifts the block.
	PrepareMerge(ctx context.Context, right Machine) (release func(), err error)
	// MergeState is called on every replica while a merge applies. It adds to b what this range takes over of the right
	// one's records, whose own are removed afterwards; the right machine has applied all it ever will. The rules of
	// Apply hold.
	MergeState(b *mvcc.Batch, right Machine) error
	// Merge is called after MergeState, once b is committed and before the range's descriptor grows. Where both are led,
	// the locks of right move here. Close of right follows.
	Merge(right Machine)
}

// LeaseSettler is what a Machine implements besides to let a store that closes in order give up its leases
// before they run out. LeaseSettled is called after LeaseHandoff; it answers true when nobody was promised
// anything up to the end of the lease: no lock is held that the next leader could not rebuild from the
// replicated state.
type LeaseSettler interface {
	LeaseSettled() bool
}

// Lease says which replica may serve a range as leader, and until when (I4).
type Lease struct {
	// Epoch identifies this uninterrupted leadership: raft term of the leader. Lock state taken under
	// one epoch is void under another unless it was handed over.
	Epoch uint64
	// Holder is the leader's node as far as this replica knows, zero when unknown.
	Holder NodeID
	// Until is the lease's end, exclusive: no timestamp at or after it may be assigned or promised. It
	// is zero on a replica that is not the leader.
	Until truetime.Timestamp
}

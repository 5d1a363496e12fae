package ranges

import (
	"context"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
)

// Proposal is a command for a range's log.
type Proposal struct {
	// MinTS is the least timestamp a timed proposal may get.
	MinTS truetime.Timestamp
	// Timed asks for a timestamp above every one promised so far: max(MinTS, floor+1, now.latest), below
	// the lease's end. The entry's closed timestamp is that timestamp. An untimed proposal gets the
	// floor, and closes it.
	Timed bool
	// Start and End, when Start is set, bound the keys of the command, [Start, End) or, with an empty
	// End, Start alone. They are checked against the descriptor that will hold where the command
	// stands in the log; ErrRangeKeyMismatch otherwise.
	Start, End []byte
	// Encode returns the command. It is called once, under the replica's proposal mutex, so it must be
	// quick and must not call the replica.
	Encode func(ts truetime.Timestamp) []byte
	// Traced commands carry the span context of Propose's ctx, so that append and apply on every replica
	// become spans of the trace. Set by Propose when ctx holds a sampled span.
}

// Pending is a command on its way through the log.
type Pending struct{}

// TS returns the command's timestamp: that of a timed proposal, else the floor.
func (p *Pending) TS() truetime.Timestamp { return 0 }

// Done is closed when the outcome is known.
func (p *Pending) Done() <-chan struct{} { return nil }

// Wait waits until the command has been applied here, and returns what Machine.Apply returned. Errors:
// ErrDropped, ErrAmbiguous, ErrClosed, or ctx's, after which the outcome is as unknown as with ErrAmbiguous.
func (p *Pending) Wait(ctx context.Context) (result any, err error) { return nil, ErrDropped }

// Replica is one node's copy of a range.
type Replica struct{}

func (r *Replica) ID() RangeID                           { return 0 }
func (r *Replica) Store() *Store                         { return nil }
func (r *Replica) Machine() Machine                      { return nil }
func (r *Replica) Desc() *Descriptor                     { return nil }
func (r *Replica) Engine() *mvcc.Engine                  { return nil }
func (r *Replica) Lease() Lease                          { return Lease{} }
func (r *Replica) LeaderHint() NodeID                    { return 0 }
func (r *Replica) AppliedIndex() uint64                  { return 0 }
func (r *Replica) ClosedTimestamp() truetime.Timestamp   { return 0 }
func (r *Replica) SafeTime() truetime.Timestamp          { return 0 }
func (r *Replica) BumpFloor(ts truetime.Timestamp) error { return ErrLeaseExpired }

// WaitApplied waits until the entry at index has been applied here.
func (r *Replica) WaitApplied(ctx context.Context, index uint64) error { return ErrClosed }

// WaitSafe waits until SafeTime() >= ts, asking the leader to close ts when it is not near.
func (r *Replica) WaitSafe(ctx context.Context, ts truetime.Timestamp) error { return ErrClosed }
func (r *Replica) Propose(ctx context.Context, p Proposal) (*Pending, error) { return nil, ErrDropped }

// ConfirmSafeTime, on the leader, promises that no later proposal gets a timestamp <= ts and returns the
// index a follower must have applied to answer reads at ts (its own PreparedFloor still limits it).
func (r *Replica) ConfirmSafeTime(ctx context.Context, ts truetime.Timestamp) (index uint64, err error) {
	return 0, ErrLeaseExpired
}
func (r *Replica) Split(ctx context.Context, key []byte) error               { return ErrNotReady }
func (r *Replica) TransferLease(ctx context.Context, to NodeID) error        { return ErrNotReady }
func (r *Replica) ChangeReplicas(ctx context.Context, voters []NodeID) error { return ErrNotReady }

// Store runs all replicas of one node.
type Store struct{}

func Open(cfg Config) (*Store, error) { return nil, ErrClosed }

// Bootstrap writes the initial state of ranges into an empty store: call between Open and Start, on the
// first node of a cluster only.
func (s *Store) Bootstrap(descs []*Descriptor) error       { return nil }
func (s *Store) Start() error                              { return nil }
func (s *Store) Drain(ctx context.Context) error           { return nil }
func (s *Store) Close() error                              { return nil }
func (s *Store) NodeID() NodeID                            { return 0 }
func (s *Store) Replica(id RangeID) (*Replica, bool)       { return nil, false }
func (s *Store) ReplicaForKey(key []byte) (*Replica, bool) { return nil, false }
func (s *Store) Replicas() []*Replica                      { return nil }
func (s *Store) Status() []RangeStatus                     { return nil }
func (s *Store) NodesChanged()                             {}
func (s *Store) HandleRaft(from NodeID, frame []byte)      {}
func (s *Store) HandleCall(ctx context.Context, from NodeID, method Method, payload []byte) ([]byte, error) {
	return nil, ErrClosed
}
func (s *Store) HandleBulk(ctx context.Context, from NodeID, stream BulkStream) error {
	return ErrClosed
}

// MetaKey returns the key of the meta record of the range that ends at end.
func MetaKey(end []byte) []byte { return append([]byte{0x01}, end...) }

// RangeStatus is one row of the meridian.ranges system view.
type RangeStatus struct {
	Desc       *Descriptor
	Leader     NodeID
	IsLeader   bool
	Term       uint64
	LeaseUntil truetime.Timestamp
	Applied    uint64
	Committed  uint64
	LastIndex  uint64
	Truncated  uint64
	LogBytes   int64
	SizeBytes  int64
	Closed     truetime.Timestamp
	SafeTime   truetime.Timestamp
	Quiesced   bool
	Pending    int
}

package ranges

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/range/raftlog"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/truetime/plant"
)

// Replica is one node's copy of a range. Its exported methods are safe for concurrent use.
//
// Locks, in the order in which they may be taken: applyMu, mu, seq.mu, inbox.mu / lease.mu / waits.mu / pend.mu.
// All but the first are held for memory only.
type Replica struct {
	id        RangeID
	replicaID ReplicaID
	store     *Store
	machine   Machine
	// made says that machine is set: its owner serves requests, which ask for SafeTime, from the moment it has made it.
	made  atomic.Bool
	queue *applyQueue

	// mu guards Raft's state and what follows from it. Workers take it, one at a time.
	mu struct {
		sync.Mutex
		rn         *raft.RawNode // nil once removed
		view       *logView
		term       uint64
		lead       ReplicaID // leader of term, zero when unknown
		role       raft.StateType
		termStart  uint64 // on a leader: index of the first entry of its term
		prevTerm   uint64 // on a leader: term of the entry before that
		follow     follow
		ticks      int64
		campaignAt int64 // tick of the next campaign; negative: none planned
		idleTicks  int
		drainWait  int                  // ticks without a leader on a draining node
		snapshots  map[ReplicaID]uint64 // on a leader: snapshots on their way, and their indexes
		refused    map[ReplicaID]int64  // on a leader: ticks at which one last failed
		strangers  map[ReplicaID]bool   // on a leader: replicas that are not where they should be (orphans.go)
		handoff    *handoff             // volatile state received from, or kept by, a leader that hands over
		transfer   *transfer            // on a leader: a hand-over under way
		heir       bool                 // held the lease of the range that this one was split from, and nobody has led since
		installing int                  // snapshots accepted by Raft and not yet installed
		held       heldCommits          // on a leader: messages that wait for company
		logged     raftlog.HardState    // as last given to the appender
		change     *Pending             // on a leader: a configuration change proposed and not yet seen
	}

	inbox inbox
	lease leaseState
	load  Load
	pend  pending
	waits applyWaits

	traced tracedAppends

	// seq orders proposals: the order of timestamps is the order of the log.
	seq struct {
		sync.Mutex
		floor  truetime.Timestamp // no later timed proposal gets a timestamp <= floor (I5)
		told   truetime.Timestamp // the last that followers were told is closed, or that an entry will tell them
		fence  chan struct{}      // non-nil while a split is in the log and not yet applied
		nextID uint64
	}

	// disk belongs to whoever writes appends (appendQueue.busy).
	disk struct {
		last          uint64
		hard, written raftlog.HardState // the newest, and the newest that was written
	}

	// applyMu is held by the range's apply goroutine while it works for this replica, and by that of the left neighbour
	// while a merge applies there, which takes its own first.
	applyMu sync.Mutex
	// apply is guarded by applyMu.
	apply struct {
		term   uint64 // of the last applied entry
		size   int64
		closed truetime.Timestamp
	}

	boot mvcc.LocalReader // the local keys as Start has read them, while it makes the machine; else nil

	desc        atomic.Pointer[Descriptor]
	applied     atomic.Uint64
	committed   atomic.Uint64
	truncated   atomic.Uint64
	logBytes    atomic.Int64
	size        atomic.Int64
	termNow     atomic.Uint64
	closed      atomic.Int64
	side        sideClosed
	pos         logEnd
	replication replicationTime
	hint        atomic.Uint32 // node of the leader
	leading     atomic.Bool
	quiesced    atomic.Bool
	idle        atomic.Bool // a follower that knows its leader: needs no tick while the leader is supported
	awake       atomic.Bool // in Store.awake
	removed     atomic.Bool
	broken      atomic.Pointer[error] // why it is out of service
	wantLease   atomic.Bool
	eager       atomic.Int32 // commits that followers are told of at once
	moving      atomic.Bool  // the lease is being transferred
	global      atomic.Bool  // time is closed ahead of now
	quietRounds atomic.Int32 // rounds of publishClosed since it fell silent

	// freshAt is where the log ended in the last round of publishClosed, freshness how often it has grown lately (written).
	freshAt   uint64
	freshness int
	usedAt    uint64        // applied when the queue last looked; its own
	used      atomic.Uint64 // entries applied between its last two looks

	// splitAfter is when the queue may split the range again; its own, and its task's.
	splitAfter truetime.Timestamp
	// wholeAt is the size at which the range was found to hold a single key, zero otherwise; as splitAfter.
	wholeAt int64

	checks      checks        // of its data against that of the other replicas
	origins     origins       // of the requests served as the leader
	mergeLooked time.Time     // when the queue last thought of a merge; its own
	queueBusy   atomic.Bool   // the queue works on it
	sending     atomic.Bool   // the queue sends a snapshot of it
	changing    atomic.Bool   // ChangeReplicas runs
	heard       atomic.Bool   // a message has come from a leader since the queue's last pass
	leaderless  atomic.Int32  // queue passes without one
	metaGen     atomic.Uint64 // the generation that the meta range has, as far as this store made it so
	peers       sync.Map      // ReplicaID -> NodeID, of replicas heard from
}

// ID returns the range's id.
func (r *Replica) ID() RangeID { return r.id }

// ReplicaID returns the id of this replica within the range.
func (r *Replica) ReplicaID() ReplicaID { return r.replicaID }

// Store returns the store that runs the replica.
func (r *Replica) Store() *Store { return r.store }

// NodeID returns the node this replica is on.
func (r *Replica) NodeID() NodeID { return r.store.cfg.NodeID }

// Machine returns the replica's state machine.
func (r *Replica) Machine() Machine { return r.machine }

// Clock returns the store's clock.
func (r *Replica) Clock() truetime.Clock { return r.store.cfg.Clock }

// Desc returns the range's descriptor as of the last applied entry.
func (r *Replica) Desc() *Descriptor { return r.desc.Load() }

// Engine returns the engine that holds the replica's state.
func (r *Replica) Engine() *mvcc.Engine { return r.store.cfg.Engine }

// LocalReader returns a reader of the range's local keys, for the machine to find its records. While a store starts it
// reads them from memory.
func (r *Replica) LocalReader() mvcc.LocalReader {
	if r.boot != nil {
		return r.boot
	}
	return mvcc.LocalOf(r.store.cfg.Engine)
}

// LeaderHint returns the node that leads the range as far as this replica knows, or zero.
func (r *Replica) LeaderHint() NodeID { return NodeID(r.hint.Load()) }

// AppliedIndex returns the index of the last entry whose effects readers of Engine see.
func (r *Replica) AppliedIndex() uint64 { return r.applied.Load() }

// ClosedTimestamp returns t_raft: no entry still to be applied here was given a timestamp at or below
// it, but a transaction prepared at or below it may commit at or below it.
func (r *Replica) ClosedTimestamp() truetime.Timestamp {
	return truetime.Timestamp(r.closed.Load())
}

// SafeTime returns t_safe = min(t_raft, t_prepared-1), the largest timestamp at which this replica may
// answer a read by itself (Corbett et al., OSDI 2012, §4.1.3). It never decreases while the replica
// lives (I5). It may be ahead of TT.now().earliest: a reader still waits out its timestamp (I7).
func (r *Replica) SafeTime() truetime.Timestamp {
	if !r.made.Load() || r.broken.Load() != nil {
		return 0 // what it holds is not to be trusted
	}
	// The closed timestamp first: a prepare applied in between is above it.
	closed := r.ClosedTimestamp()
	if p := r.machine.PreparedFloor(); p <= closed && !plant.On(plant.SafeTimeEarly) {
		return p.Prev()
	}
	return closed
}

// WaitApplied waits until the entry at index has been applied here.
func (r *Replica) WaitApplied(ctx context.Context, index uint64) error {
	ch := r.waits.add(r, index)
	if ch == nil {
		return nil
	}
	select {
	case <-ch:
		if r.applied.Load() < index {
			return ErrClosed
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// applyWaits holds those who wait for an index.
type applyWaits struct {
	mu     sync.Mutex
	list   []applyWait
	closed bool
}

type applyWait struct {
	index uint64
	ch    chan struct{}
}

func (w *applyWaits) add(r *Replica, index uint64) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.applied.Load() >= index {
		return nil
	}
	ch := make(chan struct{})
	if w.closed {
		close(ch)
		return ch
	}
	w.list = append(w.list, applyWait{index, ch})
	return ch
}

func (w *applyWaits) advance(applied uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	keep := w.list[:0]
	for _, x := range w.list {
		if x.index <= applied {
			close(x.ch)
		} else {
			keep = append(keep, x)
		}
	}
	clear(w.list[len(keep):])
	w.list = keep
}

func (w *applyWaits) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, x := range w.list {
		close(x.ch)
	}
	w.list = nil
}

// inbox holds what a replica's next pass will take up.
type inbox struct {
	mu     sync.Mutex
	msgs   []inMsg
	props  []*Pending
	flags  inFlags
	queued bool // in the scheduler's queue, or with the goroutine that steps it
}

// inMsg is a message for Raft: from a peer, or, with a zero node, from a goroutine of this store.
type inMsg struct {
	m     *pb.Message
	from  NodeID
	epoch uint64
}

type inFlags uint8

const (
	flagTick     inFlags = 1 << iota
	flagWake             // stop being quiescent
	flagCampaign         // campaign now if votes allow
	flagLook             // look at the lease, the transfer, the queues
	flagCommits          // send what heldCommits holds
)

// maxInbox bounds the messages that wait for one replica; Raft repeats what is dropped.
const maxInbox = 4096

// local queues a message of this store, which must not be lost.
func (in *inbox) local(m *pb.Message) {
	in.mu.Lock()
	in.msgs = append(in.msgs, inMsg{m: m})
	in.mu.Unlock()
}

func (in *inbox) remote(m inMsg) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.msgs) >= maxInbox {
		return false
	}
	in.msgs = append(in.msgs, m)
	return true
}

// wake reports whether the replica must be pushed to the scheduler.
func (in *inbox) wake() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.queued || len(in.msgs) == 0 && len(in.props) == 0 && in.flags == 0 {
		return false
	}
	in.queued = true
	return true
}

func (in *inbox) take(msgs []inMsg, props []*Pending) ([]inMsg, []*Pending, inFlags) {
	in.mu.Lock()
	defer in.mu.Unlock()
	m, p, f := in.msgs, in.props, in.flags
	in.msgs, in.props, in.flags = msgs[:0], props[:0], 0
	return m, p, f
}

// rest is called after a pass, and reports whether another is needed.
func (in *inbox) rest() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.queued = len(in.msgs) > 0 || len(in.props) > 0 || in.flags != 0
	return in.queued
}

// poke sets flags and has the replica stepped.
func (r *Replica) poke(f inFlags) {
	r.inbox.mu.Lock()
	r.inbox.flags |= f
	push := !r.inbox.queued
	r.inbox.queued = true
	r.inbox.mu.Unlock()
	if push {
		r.store.sched.push(r)
	}
}

// nodeOf returns the node of a replica that has been heard from but is in no descriptor known here.
func (r *Replica) nodeOf(id ReplicaID) (NodeID, bool) {
	if v, ok := r.peers.Load(id); ok {
		return v.(NodeID), true
	}
	return 0, false
}

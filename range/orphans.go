package ranges

import (
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/truetime"
)

// Messages for ranges that have no replica here. As a rule one is about to come: the split that makes it has yet to
// be applied. So the messages wait for it.
//
// But it may never come that way. A node that was away while a range was split, and the log with the split in it
// truncated, gets a snapshot of the left half, and with it no right half. The leader of that one has its first
// entries in the log and sends them for ever: Raft thinks of a lost message, for a follower that lacks the very
// beginning would say so. The range has a replica less than it believes, which is an outage when the next node goes. So
// when no replica has come for a while, the store answers as an empty one would, and the leader sends a snapshot.
type orphans struct {
	of map[RangeID]*orphan
	n  int // frames held
}

// orphan is what has come for one range.
type orphan struct {
	since  truetime.Timestamp // of the first message
	frames []inFrame
}

// inFrame is a message for a replica.
type inFrame struct {
	to ReplicaID
	m  inMsg
}

// Bounds on messages kept for ranges not here yet.
const (
	maxOrphans         = 1024
	maxOrphansPerRange = 16
	maxOrphanRanges    = 1 << 16
	// strangerTicks is how long a range is waited for. A split is applied here a round trip after its leader has applied
	// it; where that takes longer the snapshot is refused, as the undivided range is in its way.
	strangerTicks = 5
)

// keep holds a message, and reports whether the range has been waited for in vain.
func (o *orphans) keep(id RangeID, f inFrame, now truetime.Timestamp, patience truetime.Timestamp) (stranger bool) {
	x := o.of[id]
	if x == nil {
		if len(o.of) >= maxOrphanRanges {
			return false
		}
		x = &orphan{since: now}
		o.of[id] = x
	}
	if now-x.since > patience {
		// Whatever has waited is old by now, and would be sent again.
		o.n -= len(x.frames)
		x.frames = nil
		return true
	}
	if o.n < maxOrphans && len(x.frames) < maxOrphansPerRange {
		x.frames = append(x.frames, f)
		o.n++
	}
	return false
}

// take returns what waits for a range, which has come.
func (o *orphans) take(id RangeID) []inFrame {
	x := o.of[id]
	if x == nil {
		return nil
	}
	o.n -= len(x.frames)
	delete(o.of, id)
	return x.frames
}

// answerStranger answers a leader whose range has no replica here. An empty log has nothing to acknowledge and nothing
// to forget, so the answers bind this node to nothing: they are no votes, and carry no support epoch.
func (s *Store) answerStranger(from NodeID, rm raftMsg) {
	m := rm.m
	a := &pb.Message{From: m.To, To: m.From, Term: m.Term}
	switch m.GetType() {
	case pb.MsgHeartbeat:
		a.Type, a.Context = pb.MsgHeartbeatResp.Enum(), m.Context
	case pb.MsgApp:
		a.Type, a.Index, a.Reject, a.RejectHint = pb.MsgAppResp.Enum(), m.Index, new(true), new(uint64(0))
	default:
		return
	}
	// A replica that was removed stays removed.
	if t, err := s.log.Tombstone(uint64(rm.rng)); err != nil || ReplicaID(t) >= ReplicaID(m.GetTo()) {
		return
	}
	out := newOutbox(s)
	out.add(from, raftMsg{rng: rm.rng, m: a})
	out.flush()
}

package ranges

import (
	"go.etcd.io/raft/v3"
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
//
// The leader may even take such a replica for one that has everything: before its node crashed it was there and had
// acknowledged entries, and the crash undid the split, which was applied but not durable. Raft never expects less of a
// follower than it has acknowledged, so the leader remembers by itself who has answered as an empty replica
// (Replica.fromStranger). And if nothing is written nothing is sent that could be answered, so a closed timestamp for a
// range that is not here is answered by asking its leader for a sign (Store.missing).
type orphans struct {
	of    map[RangeID]*orphan
	n     int                // frames held
	swept truetime.Timestamp // when those waited for in vain were forgotten last
}

// orphan is what has come for one range.
type orphan struct {
	since  truetime.Timestamp // of the first message for the newest replica that there was one for
	to     ReplicaID          // that one; zero while only closed timestamps have come
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
	maxOrphanRanges    = 1 << 14 // then those waited for in vain are forgotten
	// strangerTicks is how long a range is waited for. A split is applied here a round trip after its leader has applied
	// it; where that takes longer the snapshot is refused, as the undivided range is in its way.
	strangerTicks = 5
)

// keep holds a message, and reports whether the range has been waited for in vain.
func (o *orphans) keep(id RangeID, f inFrame, now truetime.Timestamp, patience truetime.Timestamp) (stranger bool) {
	x := o.wait(id, now, patience)
	if f.to > x.to {
		// What has come for a replica that was removed from here says nothing about one that is about to come.
		x.to, x.since = f.to, now
	}
	if now-x.since > patience {
		// Whatever has waited is old by now, and would be sent again.
		o.n -= len(x.frames)
		x.frames = nil
		return true
	}
	if o.n < maxOrphans && len(x.frames) < maxOrphansPerRange && o.of[id] == x {
		x.frames = append(x.frames, f)
		o.n++
	}
	return false
}

// wait returns what is kept of a range, and remembers since when it has been waited for.
func (o *orphans) wait(id RangeID, now, patience truetime.Timestamp) *orphan {
	if x := o.of[id]; x != nil {
		return x
	}
	if (len(o.of) >= maxOrphanRanges || o.n >= maxOrphans) && now-o.swept > patience {
		// Most were removed from here, and nobody will send for them again. The others are waited for anew.
		o.swept = now
		for other, x := range o.of {
			if now-x.since > patience {
				o.n -= len(x.frames)
				delete(o.of, other)
			}
		}
	}
	x := &orphan{since: now}
	if len(o.of) < maxOrphanRanges {
		o.of[id] = x
	}
	return x
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
	if m.GetType() == pb.MsgHeartbeat {
		// A leader that believes that all is here would not send anything that could be refused.
		out.add(from, raftMsg{rng: rm.rng, m: &pb.Message{
			Type: pb.MsgAppResp.Enum(), From: m.To, To: m.From, Term: m.Term, Reject: new(true), RejectHint: new(uint64(0)),
		}})
	}
	out.flush()
}

// fromStranger notes, on the leader, an answer of a node that has no replica of the range where it should have one, so that
// it gets a snapshot. It reports whether Raft has nothing to learn from it. The caller holds r.mu.
func (r *Replica) fromStranger(from ReplicaID, m *pb.Message) bool {
	if r.mu.role != raft.StateLeader || m.GetTerm() != r.mu.term {
		return false
	}
	if !m.GetReject() {
		delete(r.mu.strangers, from)
		return false
	}
	if m.GetRejectHint() != 0 { // a replica's log starts at initialIndex
		return false
	}
	pr, ok := r.mu.rn.Status().Progress[uint64(from)]
	if !ok {
		return true
	}
	if !r.mu.strangers[from] {
		r.mu.strangers[from] = true
		r.store.kickReplica(r)
	}
	// What it refuses was acknowledged: Raft would send that again, and again. And whoever has made it a learner sends it its
	// first snapshot: Raft, which would have nothing left to send before that, is to go on asking where it is.
	d, found := r.Desc().ByID(from)
	return pr.Match > 0 || found && d.Type == Learner
}

// missing is called when the leader of a range tells this node of it as of one of its followers. It reports whether the
// replica has been waited for in vain.
func (s *Store) missing(id RangeID) bool {
	now := s.cfg.Clock.Now().Latest
	patience := s.patience()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.replicas[id] != nil || s.mu.creating[id] != nil || s.mu.leaving[id] != nil {
		return false
	}
	return now-s.mu.orphans.wait(id, now, patience).since > patience
}

// patience is how long a range that is not here is waited for.
func (s *Store) patience() truetime.Timestamp {
	return truetime.Timestamp(strangerTicks * s.cfg.TickInterval)
}

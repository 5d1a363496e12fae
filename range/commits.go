package ranges

import (
	"sync"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// When a leader learns that an entry is committed it tells its followers, who have nothing to do but apply it and
// to answer. In a stream of commits the next entries carry the news as well, so it waits for them a moment: a commit
// then costs one message to and one from each follower instead of two. The followers' safe time lags by as much;
// one that is asked for reads asks the leader (WaitSafe), which makes it tell at once for a while. Where proposals follow
// each other less closely nothing would come to go along with, and the news leaves at once, too.

// eagerCommits is how many commits a follower that has asked is told of at once.
const eagerCommits = 64

// heldCommits are, on a leader, the messages that bring followers no more than a commit index. They belong to
// whoever holds Replica.mu.
type heldCommits struct {
	msgs   []heldCommit
	queued bool          // in Store.late: flagCommits will come
	last   time.Time     // when something was proposed
	gap    time.Duration // the time between proposals, on average
	told   bool          // news have left in this pass without entries
}

// proposed notes when proposals come. A gap counts as twice delay at most: a stream that goes on after a pause is soon one.
func (h *heldCommits) proposed(now time.Time, delay time.Duration) {
	h.gap += (min(now.Sub(h.last), 2*delay) - h.gap) / 4
	h.last = now
}

type heldCommit struct {
	node NodeID
	m    *pb.Message
}

// hold keeps a message back if it tells nothing but what is committed.
func (r *Replica) hold(node NodeID, m *pb.Message, out *outbox) bool {
	h := &r.mu.held
	if m.GetType() != pb.MsgApp {
		return false
	}
	old := -1
	for i := range h.msgs {
		if h.msgs[i].node == node {
			old = i
		}
	}
	if len(m.Entries) > 0 || r.mu.role != raft.StateLeader || m.GetTerm() != r.mu.term ||
		m.GetIndex() != r.mu.view.last.Index || r.mu.transfer != nil || r.eager.Load() > 0 || h.gap > r.store.cfg.CommitDelay {
		r.eager.Store(max(0, r.eager.Load()-1))
		if old >= 0 {
			if held := h.msgs[old].m; m.GetTerm() == held.GetTerm() && m.GetCommit() < held.GetCommit() {
				out.add(node, raftMsg{rng: r.id, m: held})
			}
			h.msgs = append(h.msgs[:old], h.msgs[old+1:]...)
		}
		h.told = h.told || len(m.Entries) == 0
		return false
	}
	if old >= 0 {
		h.msgs[old].m = m
	} else {
		h.msgs = append(h.msgs, heldCommit{node, m})
	}
	if !h.queued {
		h.queued = true
		r.store.late.add(r)
	}
	return true
}

// flushCommits sends what is held.
func (r *Replica) flushCommits(out *outbox) {
	h := &r.mu.held
	for i, x := range h.msgs {
		if r.mu.role == raft.StateLeader && x.m.GetTerm() == r.mu.term {
			out.add(x.node, raftMsg{rng: r.id, m: x.m})
			h.told = true
		}
		h.msgs[i] = heldCommit{}
	}
	h.msgs = h.msgs[:0]
}

// tellCommits has the followers told of what is committed, and of what will be soon, at once.
func (r *Replica) tellCommits() {
	r.eager.Store(eagerCommits)
	r.poke(flagCommits)
}

// lateCommits wakes the leaders that hold messages back, all with one timer.
type lateCommits struct {
	mu    sync.Mutex
	list  []*Replica
	timer *time.Timer // nil before the first
	delay time.Duration
	ended bool
}

func (l *lateCommits) add(r *Replica) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.list = append(l.list, r)
	switch {
	case len(l.list) > 1:
	case l.timer == nil:
		l.timer = time.AfterFunc(l.delay, l.fire)
	default:
		l.timer.Reset(l.delay)
	}
}

func (l *lateCommits) fire() {
	l.mu.Lock()
	list := l.list
	l.list = nil
	l.mu.Unlock()
	for _, r := range list {
		r.poke(flagCommits)
	}
}

func (l *lateCommits) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.timer != nil {
		l.timer.Stop()
	}
}

// What follows keeps replicas from being stepped for news that can wait until they are stepped anyway.

// lazyBytes is how much may wait so: Raft keeps entries in memory until it is told that they are stable.
const lazyBytes = 4 << 10

// lateAck reports whether a message is a follower's answer that changes nothing now: it has the whole log, and what
// it confirms is committed already.
func (r *Replica) lateAck(m *pb.Message) bool {
	return m.GetType() == pb.MsgAppResp && !m.GetReject() && r.leading.Load() && !r.wantLease.Load() &&
		m.GetTerm() == r.termNow.Load() && m.GetIndex() <= r.committed.Load() && m.GetIndex() == r.pos.bound() &&
		!r.moving.Load()
}

// lateStable reports, on a follower, whether the news that its own entries up to m are on disk can wait: it knows of nothing
// committed that it has not applied. The message is in the inbox already, so a pass that learns it at this moment
// either is seen here or finds the message when it ends (inbox.rest).
func (r *Replica) lateStable(m *pb.Message, bytes int) bool {
	return m.GetType() == pb.MsgStorageAppendResp && m.Snapshot == nil && !r.leading.Load() && bytes <= lazyBytes &&
		m.GetTerm() == r.termNow.Load() && m.GetIndex() > r.committed.Load() && r.committed.Load() <= r.applied.Load()
}

// lateApplied reports whether the news that entries have been applied can wait.
func (r *Replica) lateApplied(bytes int) bool {
	return bytes <= lazyBytes && !r.wantLease.Load() && !r.moving.Load()
}

func entriesBytes(ents []*pb.Entry) int {
	n := 0
	for _, e := range ents {
		n += len(e.Data)
	}
	return n
}

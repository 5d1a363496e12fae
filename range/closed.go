package ranges

import (
	"context"
	"errors"
	"sync"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/truetime"
)

// sideClosed holds, on a follower, closed timestamps that wait for an index to be applied: one that came beside the log, and
// those that the entries imply which are in the log and not applied yet.
type sideClosed struct {
	mu     sync.Mutex
	index  uint64
	closed truetime.Timestamp
	behind int         // updates in a row that found this replica behind
	next   []entryTime // ascending, at most maxNext
}

// entryTime is an entry with its timestamp.
type entryTime struct {
	index uint64
	ts    truetime.Timestamp
}

// maxNext bounds what a follower that is far behind remembers of the entries it has yet to apply.
const maxNext = 1024

// logEnd knows the last index that the proposals made so far can take.
type logEnd struct {
	mu       sync.Mutex
	last     uint64 // of the log
	unlogged uint64 // proposals that will follow it, one entry each
}

func (e *logEnd) bound() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last + e.unlogged
}

func (e *logEnd) proposed() {
	e.mu.Lock()
	e.unlogged++
	e.mu.Unlock()
}

// logged notes that n proposals have been appended to the log, or dropped.
func (e *logEnd) logged(last uint64, n int) {
	e.mu.Lock()
	e.last, e.unlogged = last, e.unlogged-uint64(n)
	e.mu.Unlock()
}

// raiseClosed publishes a closed timestamp.
func (r *Replica) raiseClosed(ts truetime.Timestamp) {
	for {
		old := r.closed.Load()
		if int64(ts) <= old || r.closed.CompareAndSwap(old, int64(ts)) {
			return
		}
	}
}

// closedApplied publishes what applying up to index closes. It runs on the apply goroutine.
func (r *Replica) closedApplied(index uint64) {
	r.raiseClosed(r.apply.closed)
	s := &r.side
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != 0 && s.index <= index {
		r.raiseClosed(s.closed)
		s.closed, s.behind = 0, 0
	}
	r.nextClosed(index)
}

// entriesReceived notes the timestamps of entries that a follower has been sent. What has been applied up to the entry
// before one with timestamp t is all there will be below t, whether or not that entry is ever committed: timestamps ascend
// along the log of a leader, and it got t under a lease. So its leader had committed an entry of its own term before; every
// log that can win an election holds that one, hence nothing older after it, and what later leaders write lies above the end
// of that lease (I4). A follower that has applied all it knows is so as fresh as the entry that it has just received.
func (r *Replica) entriesReceived(ents []*pb.Entry) {
	s := &r.side
	s.mu.Lock()
	defer s.mu.Unlock()
	first := ents[0].GetIndex()
	for len(s.next) > 0 && s.next[len(s.next)-1].index >= first { // replaced
		s.next = s.next[:len(s.next)-1]
	}
	for _, e := range ents {
		if len(s.next) == maxNext {
			break
		}
		if e.GetType() != pb.EntryNormal || len(e.Data) == 0 {
			continue // it has no timestamp, or is not worth looking for it
		}
		if h, err := decodeEntryHeader(e.Data); err == nil {
			s.next = append(s.next, entryTime{e.GetIndex(), h.closed})
		}
	}
	r.nextClosed(r.applied.Load())
}

// nextClosed publishes what the entry after index implies. The caller holds r.side.mu.
func (r *Replica) nextClosed(index uint64) {
	s := &r.side
	n := 0
	for n < len(s.next) && s.next[n].index <= index {
		n++
	}
	s.next = append(s.next[:0], s.next[n:]...)
	if len(s.next) > 0 && s.next[0].index == index+1 {
		r.raiseClosed(s.next[0].ts.Prev())
	}
}

// closedUpdate takes a leader's word that it will never write at or below u.closed after u.index. That
// holds whoever wrote the entries up to there: what this leader had proposed at or below u.closed stands
// at or before u.index or nowhere, and later leaders write above this one's lease.
func (r *Replica) closedUpdate(from NodeID, u closedUpdate) {
	r.heard.Store(true)
	s := &r.side
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.applied.Load() >= u.index {
		r.raiseClosed(u.closed)
		s.behind = 0
		return
	}
	// Keep the earliest index that waits; a newer update for the same index only raises it.
	if s.closed == 0 || u.index <= s.index || r.applied.Load() >= s.index {
		s.index, s.closed = u.index, max(u.closed, 0)
	}
	if s.behind++; s.behind >= 3 {
		// Twice the leader had nothing to send and yet this replica lacks entries: one was lost.
		s.behind = 0
		r.store.requestWake(from, r.id)
	}
}

// closeAt promises, on the leader, that nothing will be written at or below ts after the index returned.
func (r *Replica) closeAt(ts truetime.Timestamp) (closedUpdate, error) {
	return r.closeUpTo(ts, ts, r.store.cfg.Clock.Now())
}

// closeUpTo is closeAt for the largest timestamp up to ts, at least for low, that the lease permits.
func (r *Replica) closeUpTo(low, ts truetime.Timestamp, now truetime.Interval) (closedUpdate, error) {
	r.seq.Lock()
	defer r.seq.Unlock()
	lease, err := r.leaseAt(now)
	if err != nil {
		return closedUpdate{}, err
	}
	ts = max(low, min(ts, lease.Until.Prev()))
	if ts >= lease.Until {
		return closedUpdate{}, ErrLeaseExpired
	}
	r.seq.floor = max(r.seq.floor, ts)
	r.seq.told = ts
	return closedUpdate{rng: r.id, term: lease.Epoch, index: r.pos.bound(), closed: ts}, nil
}

const (
	quietAfter = 10 // rounds of CloseInterval
	quietEvery = 5
)

// publishClosed closes time on the ranges led here and tells the other replicas, in one frame per node. After a while of
// silence a range is told less often, when all are: who wants fresher asks (WaitSafe).
func (s *Store) publishClosed(all bool) {
	frames := closedFrames{s: s}
	now := s.cfg.Clock.Now()
	s.findAhead()
	list := s.awake.take()
	if all {
		list = s.replicaList()
	}
	s.fresh = s.fresh[:0]
	for _, r := range list {
		if !r.leading.Load() || r.global.Load() {
			continue // publishAhead does it
		}
		if r.written() {
			s.fresh = append(s.fresh, r)
		}
		if !r.quiesced.Load() {
			r.quietRounds.Store(0)
			r.measureTrip()
		} else if r.quietRounds.Load() <= quietAfter {
			r.quietRounds.Add(1)
		}
		if r.pend.len() > 0 {
			continue // entries under way carry it
		}
		if u, err := r.closeNow(now); err == nil {
			frames.add(r, u)
		}
	}
	frames.send()
}

// closeNow closes, on the leader, all that costs nothing: what lies below the least timestamp that a proposal could get
// from now on.
func (r *Replica) closeNow(now truetime.Interval) (closedUpdate, error) {
	return r.closeUpTo(0, r.soonest(now).Prev(), now)
}

// closeBehind closes time when followers are told that all there is has been committed: until the next entry comes they
// would hear nothing newer. The caller holds r.mu.
func (r *Replica) closeBehind(out *outbox) {
	if r.mu.role != raft.StateLeader || r.global.Load() || r.committed.Load() < r.pos.bound() {
		return
	}
	u, err := r.closeNow(r.store.cfg.Clock.Now())
	if err != nil {
		return
	}
	for _, rd := range r.Desc().Replicas {
		if rd.Node != r.store.cfg.NodeID {
			out.last(rd.Node, appendClosed([]byte{frameClosed}, u))
		}
	}
}

const (
	freshStep = 3 // what a round with writes counts; one without counts -1
	freshMost = 10
)

// written notes, in a round of publishClosed, whether the log has grown, and reports whether it does so often: more than
// once, and at least every third round. Then followers' reads care for what is newer than the last entry.
func (r *Replica) written() bool {
	last := r.pos.bound()
	if last != r.freshAt {
		r.freshAt, r.freshness = last, min(r.freshness+freshStep, freshMost)
	} else {
		r.freshness = max(r.freshness-1, 0)
	}
	return r.freshness > freshStep
}

// addFresh closes time on ranges that are written to, but not all the time: between two entries nothing else tells their
// followers that time goes on.
func (s *Store) addFresh(frames *closedFrames, now truetime.Interval) {
	for _, r := range s.fresh {
		if !r.leading.Load() || r.global.Load() || r.pend.len() > 0 || r.toldSince(r.soonest(now).Add(-s.cfg.AheadInterval/2)) {
			continue
		}
		if u, err := r.closeNow(now); err == nil {
			frames.add(r, u)
		}
	}
}

// toldSince reports whether followers were told of a timestamp after ts, or are about to be.
func (r *Replica) toldSince(ts truetime.Timestamp) bool {
	r.seq.Lock()
	defer r.seq.Unlock()
	return r.seq.told > ts
}

// WaitSafe waits until SafeTime() >= ts. When the closed timestamp is behind, it asks the leader to close
// ts. The caller has waited out TT.after(ts) or will (I7).
func (r *Replica) WaitSafe(ctx context.Context, ts truetime.Timestamp) error {
	if err := r.broken.Load(); err != nil {
		return &NotLeaderError{Range: r.id, Hint: r.LeaderHint()}
	}
	for r.ClosedTimestamp() < ts {
		index, err := r.askSafeTime(ctx, ts)
		if err != nil {
			return err
		}
		// A new leader's log may not reach that far yet: ask again now and then.
		wctx, cancel := context.WithTimeout(ctx, r.store.cfg.CloseInterval)
		err = r.WaitApplied(wctx, index)
		cancel()
		switch {
		case err == nil:
			r.raiseClosed(ts)
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return err
		}
	}
	// Prepared transactions below ts resolve through the log.
	for {
		applied := r.applied.Load()
		if r.SafeTime() >= ts {
			return nil
		}
		if err := r.WaitApplied(ctx, applied+1); err != nil {
			return err
		}
	}
}

func (r *Replica) askSafeTime(ctx context.Context, ts truetime.Timestamp) (uint64, error) {
	if r.leading.Load() {
		return r.ConfirmSafeTime(ctx, ts)
	}
	leader := r.LeaderHint()
	if leader == 0 {
		return 0, &NotLeaderError{Range: r.id}
	}
	b := appendClosed(nil, closedUpdate{rng: r.id, closed: ts})
	ans, err := r.store.cfg.Transport.Call(ctx, leader, methodSafeTime, b)
	if err != nil {
		return 0, err
	}
	rd := reader{b: ans}
	u := readClosed(&rd)
	if rd.bad {
		return 0, errFrame
	}
	if u.closed < ts {
		return 0, &NotLeaderError{Range: r.id, Hint: NodeID(u.term)}
	}
	return u.index, nil
}

// handleSafeTime answers askSafeTime. An answer that closes nothing names the leader instead.
func (s *Store) handleSafeTime(payload []byte) ([]byte, error) {
	rd := reader{b: payload}
	q := readClosed(&rd)
	if rd.bad {
		return nil, errFrame
	}
	r, ok := s.Replica(q.rng)
	if !ok {
		return nil, ErrRangeNotFound
	}
	// A follower's clock may run ahead of this one; nothing is closed further ahead than a lease reaches.
	u, err := r.closeAt(q.closed)
	if err == nil {
		r.tellCommits() // the follower waits for u.index
	}
	if err != nil {
		u = closedUpdate{rng: q.rng, term: uint64(r.LeaderHint())}
	}
	return appendClosed(nil, u), nil
}

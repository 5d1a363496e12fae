package ranges

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// A planned transfer hands leadership, lease and lock table to another replica without a gap in the
// promises made under the lease:
//
//	leader   ask whether the target would take it: it follows, and is not draining   methodReady
//	leader   freeze: no proposal, no read from here on in this term, for good
//	leader   wait until what it has proposed is applied; take the machine's volatile state
//	leader   ship (term, floor, state) to the target, which keeps it            methodHandoff
//	leader   tell the target to campaign                                        MsgTimeoutNow
//	target   campaigns only if it holds the state of that very term; its votes pass the lease filter
//	target   continues above floor with the locks
//
// If it fails the leader steps down, and whoever of the two is elected next, with no other leader in
// between, continues with the state; anyone else waits until the lease is over.

// handoff is the volatile state of a leader that froze in term.
type handoff struct {
	term  uint64
	floor truetime.Timestamp
	state []byte
}

// transfer is a hand-over under way on the leader.
type transfer struct {
	to       ReplicaID
	deadline int64 // tick
	ended    bool  // the leadership is over; who leads next has not been heard
	over     chan struct{}
	heard    chan struct{} // closed with next set, or at the end of the replica without
	next     NodeID        // the first leader after this one
}

// lookAtSuccessor tells whoever waits for a hand-over that the leadership is over, and who leads next as soon as that
// is known. The caller holds r.mu.
func (r *Replica) lookAtSuccessor(ended bool, leader NodeID) {
	t := r.mu.transfer
	if t == nil {
		return
	}
	if ended && !t.ended {
		t.ended = true
		close(t.over)
	}
	if t.ended && leader != 0 {
		t.next = leader
		r.dropTransfer()
	}
}

// dropTransfer ends the wait for a hand-over. The caller holds r.mu.
func (r *Replica) dropTransfer() {
	t := r.mu.transfer
	if t == nil {
		return
	}
	r.mu.transfer = nil
	if !t.ended {
		close(t.over)
	}
	close(t.heard)
}

const (
	transferTicks = 10
	catchUpPolls  = 50 // tenths of a tick that a lagging target is waited for
	drainParallel = 64 // leases that Drain hands over at once
)

// TransferLease hands leadership and lease over to the replica on a node. It returns nil once that node
// leads, as far as this replica knows. ErrNotReady: the target is no voter, or lags and does not catch up
// within a moment, and nothing has changed; or it was told to take over and has not been heard to lead.
func (r *Replica) TransferLease(ctx context.Context, to NodeID) error {
	return r.transferLease(ctx, to, 0)
}

// transferLease is TransferLease of the lease of an epoch and no other, if that is not zero.
func (r *Replica) transferLease(ctx context.Context, to NodeID, epoch uint64) error {
	if to == r.store.cfg.NodeID {
		_, err := r.checkedLease()
		return err
	}
	rd, ok := r.Desc().ReplicaOn(to)
	if !ok || rd.Type != Voter {
		return fmt.Errorf("%w: %s has no voting replica of %s", ErrNotReady, to, r.id)
	}
	r.moving.Store(true)
	defer r.moving.Store(false)
	if err := r.awaitCaughtUp(ctx, rd); err != nil {
		return err
	}
	pctx, cancel := context.WithTimeout(ctx, time.Second)
	b := binary.AppendUvarint(nil, uint64(r.id))
	ans, err := r.store.cfg.Transport.Call(pctx, to, methodReady, binary.AppendUvarint(b, r.termNow.Load()))
	cancel()
	switch {
	case err != nil:
		return err
	case len(ans) == 1 && ans[0] == answerDraining:
		return errDraining
	case len(ans) != 1 || ans[0] != answerReady:
		return fmt.Errorf("%w: %s does not follow in %s", ErrNotReady, to, r.id)
	}
	// Freeze. Under seq: no proposal slips in behind.
	r.seq.Lock()
	lease, err := r.checkedLease()
	if err == nil && epoch != 0 && epoch != lease.Epoch {
		err = &NotLeaderError{Range: r.id, Hint: r.store.cfg.NodeID} // it leads again, for reasons that its caller does not know
	}
	if err == nil && r.seq.fence != nil {
		err = fmt.Errorf("%w: a split is under way", ErrNotReady)
	}
	if err != nil {
		r.seq.Unlock()
		return err
	}
	l := &r.lease
	l.mu.Lock()
	if l.term != lease.Epoch || l.frozen {
		l.mu.Unlock()
		r.seq.Unlock()
		return ErrNotReady
	}
	l.frozen = true
	l.changed()
	l.mu.Unlock()
	floor, last := r.seq.floor, r.pos.bound()
	r.seq.Unlock()

	h := &handoff{term: lease.Epoch, floor: floor}
	err = func() error {
		if err := r.WaitApplied(ctx, last); err != nil {
			return err
		}
		h.state = r.machine.LeaseHandoff()
		r.mu.Lock()
		r.mu.handoff = h
		r.mu.Unlock()
		cctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		b := binary.AppendUvarint(nil, uint64(r.id))
		b = binary.AppendUvarint(b, h.term)
		b = binary.AppendUvarint(b, uint64(h.floor))
		b = append(b, h.state...)
		_, err := r.store.cfg.Transport.Call(cctx, to, methodHandoff, b)
		return err
	}()
	r.mu.Lock()
	if r.mu.rn == nil || r.lease.term != lease.Epoch {
		r.mu.Unlock()
		return ErrNotLeader
	}
	if err != nil {
		r.stepDown()
		r.mu.Unlock()
		r.poke(flagLook)
		return err
	}
	t := &transfer{to: rd.Replica, deadline: r.mu.ticks + transferTicks, over: make(chan struct{}), heard: make(chan struct{})}
	r.mu.transfer = t
	r.mu.idleTicks = 0
	r.quiesced.Store(false)
	r.mu.rn.TransferLeader(uint64(rd.Replica))
	r.mu.Unlock()
	r.poke(flagLook)
	select {
	case <-t.over:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.store.stop:
		return ErrClosed
	}
	// The old leader follows from the moment it hears of a new term; were its process to end then, its vote might not have
	// left, and without it nobody is elected before the lease is over.
	patience := time.NewTimer(catchUpPolls * r.store.cfg.TickInterval / 10)
	defer patience.Stop()
	select {
	case <-t.heard:
	case <-patience.C:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.store.stop:
		return ErrClosed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.transfer == t {
		r.mu.transfer = nil
	}
	if t.next != to {
		return fmt.Errorf("%w: %s did not take over %s", ErrNotReady, to, r.id)
	}
	return nil
}

// lookAtTransfer gives up a transfer that takes too long: the lease of this term is gone, so the leader
// steps down and an election follows. The caller holds r.mu.
func (r *Replica) lookAtTransfer() {
	if t := r.mu.transfer; t != nil && !t.ended && r.mu.ticks >= t.deadline {
		r.stepDown()
		r.poke(flagLook)
	}
}

// caughtUp reports, on the leader, whether a follower has the whole log.
func (r *Replica) caughtUp(id ReplicaID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.rn == nil {
		return false
	}
	pr, ok := r.mu.rn.Status().Progress[uint64(id)]
	return ok && pr.Match >= r.committed.Load() && r.mu.snapshots[id] == 0
}

// awaitCaughtUp wakes a follower that lags and gives it a moment: one that was asleep or cut off, and is back,
// has the rest of the log a round trip later. The range serves meanwhile.
func (r *Replica) awaitCaughtUp(ctx context.Context, rd ReplicaDesc) error {
	for n := 0; !r.caughtUp(rd.Replica); n++ {
		if n == catchUpPolls || !r.leading.Load() {
			return fmt.Errorf("%w: the replica of %s on %s lags", ErrNotReady, r.id, rd.Node)
		}
		r.poke(flagWake)
		t := time.NewTimer(r.store.cfg.TickInterval / 10)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-r.store.stop:
			t.Stop()
			return ErrClosed
		}
	}
	return nil
}

// Answers of methodReady.
const (
	answerNotReady = 0
	answerReady    = 1
	answerDraining = 2
)

var errDraining = fmt.Errorf("%w: the node is draining", ErrNotReady)

func (s *Store) handleReady(from NodeID, payload []byte) ([]byte, error) {
	rd := reader{b: payload}
	id, term := RangeID(rd.uvarint()), rd.uvarint()
	if rd.bad {
		return nil, errFrame
	}
	r, ok := s.Replica(id)
	switch {
	case s.draining.Load():
		return []byte{answerDraining}, nil
	case !ok || r.broken.Load() != nil || r.LeaderHint() != from || r.termNow.Load() != term || s.cfg.Clock.Health() != nil:
		return []byte{answerNotReady}, nil
	}
	return []byte{answerReady}, nil
}

func (s *Store) handleHandoff(from NodeID, payload []byte) ([]byte, error) {
	rd := reader{b: payload}
	id := RangeID(rd.uvarint())
	h := &handoff{term: rd.uvarint(), floor: truetime.Timestamp(rd.uvarint())}
	if rd.bad {
		return nil, errFrame
	}
	h.state = append([]byte{}, rd.b...)
	r, ok := s.Replica(id)
	if !ok {
		return nil, ErrRangeNotFound
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.term != h.term || r.LeaderHint() != from {
		return nil, fmt.Errorf("%w: %s does not follow %s in term %d", ErrNotReady, s.cfg.NodeID, from, h.term)
	}
	r.mu.handoff = h
	return nil, nil
}

// RequestTransfer asks the leader of a range, wherever it is, to hand it to this node.
func (r *Replica) RequestTransfer(ctx context.Context) error {
	leader := r.LeaderHint()
	if leader == 0 {
		return &NotLeaderError{Range: r.id}
	}
	if leader == r.store.cfg.NodeID {
		return nil
	}
	_, err := r.store.cfg.Transport.Call(ctx, leader, methodTransfer, binary.AppendUvarint(nil, uint64(r.id)))
	return err
}

func (s *Store) handleTransfer(ctx context.Context, from NodeID, payload []byte) ([]byte, error) {
	rd := reader{b: payload}
	id := RangeID(rd.uvarint())
	if rd.bad {
		return nil, errFrame
	}
	r, ok := s.Replica(id)
	if !ok {
		return nil, ErrRangeNotFound
	}
	return nil, r.TransferLease(ctx, from)
}

// Drain hands all leases of this node to others, as far as there are others, and keeps the node from
// leading again. It returns when none is left or ctx ends.
func (s *Store) Drain(ctx context.Context) error {
	s.draining.Store(true)
	for {
		left := s.giveAwayAll(ctx)
		if left == 0 {
			return nil
		}
		t := time.NewTimer(s.cfg.TickInterval / 2)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("range: %d leases not handed over: %w", left, ctx.Err())
		case <-s.stop:
			t.Stop()
			return ErrClosed
		}
	}
}

// giveAwayAll tries once to hand each lease of this node to another, and returns how many could not be although
// there are other voters.
func (s *Store) giveAwayAll(ctx context.Context) int64 {
	var left atomic.Int64
	var wg sync.WaitGroup
	slots := make(chan struct{}, drainParallel)
	layout := s.layout.Load()
	for _, r := range s.replicaList() {
		if !r.leading.Load() {
			if r.awaitsLease() {
				left.Add(1)
			}
			continue
		}
		slots <- struct{}{}
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() { <-slots }()
			if err := r.giveAway(ctx); err != nil && !errors.Is(err, errAlone) {
				left.Add(1)
			}
		}()
	}
	wg.Wait()
	if s.layout.Load() != layout {
		left.Add(1) // a split may have been applied meanwhile, and its right half is still to be handed over
	}
	return left.Load()
}

// watchClock hands over the leases of a node that has stopped trusting its clock, while it still has them:
// it serves no transactions now, and asks for no more votes, so the ranges it leads would be without a leader
// until the votes have run out. A transfer needs no clock: what this leader has promised lies below the floor
// that it ships. n counts ticks.
func (s *Store) watchClock(n int) (sick bool) {
	if s.cfg.Clock.Health() == nil {
		s.fenced = false
		return false
	}
	first := !s.fenced
	s.fenced = true
	if (first || n%10 == 0) && s.leaving.CompareAndSwap(false, true) {
		if !s.spawn(func() {
			defer s.leaving.Store(false)
			ctx, cancel := context.WithTimeout(s.ctx, s.cfg.SupportWindow)
			defer cancel()
			if s.cfg.Clock.Health() != nil {
				s.giveAwayAll(ctx)
			}
		}) {
			s.leaving.Store(false)
		}
	}
	return true
}

var errAlone = errors.New("range: no other voter")

// giveAway transfers the lease to a voter that is supported, those first that are caught up.
func (r *Replica) giveAway(ctx context.Context) error {
	now := r.store.cfg.Clock.Now()
	var ready, behind []ReplicaDesc
	for _, rd := range r.Desc().Replicas {
		switch {
		case rd.Node == r.store.cfg.NodeID || rd.Type != Voter || !r.store.votes.supports(rd.Node, now):
		case r.caughtUp(rd.Replica):
			ready = append(ready, rd)
		default:
			behind = append(behind, rd)
		}
	}
	err := errAlone
	targets := append(ready, behind...)
	if len(targets) == 0 {
		return err
	}
	lease, lerr := r.checkedLease()
	if lerr != nil {
		return lerr // there is nothing to hand over
	}
	for _, rd := range targets {
		switch terr := r.transferLease(ctx, rd.Node, lease.Epoch); {
		case terr == nil:
			return nil
		case !errors.Is(terr, errDraining): // nor would it help to wait for that one
			err = terr
		}
	}
	return err
}

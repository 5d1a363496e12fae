package ranges

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/range/raftlog"
	"github.com/meridian-db/meridian/truetime"
)

// A merge makes two neighbours one range: the left one absorbs the right one. The leader of the left drives it.
//
//	align    both have voters on the same nodes, and are led on this one            methodAlign, methodTransfer
//	hold     both machines let prepared transactions end and begin no others        PrepareMerge, PrepareSplit
//	freeze   the right range's log gets an entry that ends its service: its leader promises nothing more in
//	         this term, and later leaders find the range frozen                     entryFreeze
//	wait     until that entry is in the log of every replica of the right range
//	merge    the left range's log gets the merge, which closes all that the right range has promised
//	                                                                                entryMerge
//	apply    each replica of the left brings the right one beside it up to the freeze, takes over its records, and
//	         removes it. The data stays where it is: both lie in one engine.
//
// The merge is decided in the left range's log, and nowhere else: it names the generation of the left descriptor that
// it was made for, and has no effect on another. So whoever finds the right range frozen and its driver gone, its next
// leader as a rule, has the left range's leader log an entry that does nothing but raise the generation; once that is
// applied, the merge has happened or never will, and in the second case the right range is thawed by an entry of its
// own.
//
// A replica of the right range that missed all this (its node was away while the merge was applied elsewhere) is dead:
// no quorum of its kind is left. It goes when the left replica beside it applies the merge; when a snapshot arrives that
// holds its first key at a later generation (Store.claim); or when it finds no leader and asks (lookForLeader).

// mergeHold bounds how long the two ranges may be held up before the merge is given up.
const mergeHold = 3 * time.Second

// mergeCommand is the payload of a merge entry.
type mergeCommand struct {
	merged, right  *Descriptor
	leftGeneration uint64           // the merge applies to this one
	freeze         raftlog.Position // the entry of the right range's log that froze it: what comes after is void
}

func (c mergeCommand) encode() []byte {
	b := binary.AppendUvarint(nil, c.leftGeneration)
	b = binary.AppendUvarint(b, c.freeze.Index)
	b = binary.AppendUvarint(b, c.freeze.Term)
	m := c.merged.Encode()
	b = binary.AppendUvarint(b, uint64(len(m)))
	b = append(b, m...)
	return c.right.AppendTo(b)
}

func decodeMerge(b []byte) (c mergeCommand, err error) {
	rd := reader{b: b}
	c.leftGeneration = rd.uvarint()
	c.freeze.Index, c.freeze.Term = rd.uvarint(), rd.uvarint()
	m := rd.bytes(rd.uvarint())
	if rd.bad {
		return c, errEntry
	}
	if c.merged, err = DecodeDescriptor(m); err != nil {
		return c, err
	}
	c.right, err = DecodeDescriptor(rd.b)
	return c, err
}

// Merge makes this range absorb its right neighbour. Called on the leader. It returns once that is so here.
// ErrNotReady: something is in the way (a change of replicas, a replica that is down, transactions that do not end);
// nothing has changed, or will be undone in a moment.
func (r *Replica) Merge(ctx context.Context) error {
	if _, err := r.checkedLease(); err != nil {
		return err
	}
	left, ok := r.machine.(Merger)
	if !ok {
		return errors.New("range: the state machine cannot merge")
	}
	// Freezes, merges, and the questions that they lead to, come of this alone.
	if may := r.store.cfg.MayMerge; may != nil && !may() {
		return fmt.Errorf("%w: not every node knows merges yet", ErrNotReady)
	}
	if !r.changing.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: another change of %s is under way", ErrNotReady, r.id)
	}
	defer r.changing.Store(false)
	right, err := r.alignRight(ctx)
	if err != nil {
		return err
	}
	if !right.changing.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: another change of %s is under way", ErrNotReady, right.id)
	}
	defer right.changing.Store(false)
	began := time.Now()
	hold, cancel := context.WithTimeout(ctx, mergeHold)
	defer cancel()
	// A machine holds back transactions as long as the lease lasts under which it was asked to.
	held := [2]uint64{r.Lease().Epoch, right.Lease().Epoch}
	// The left one first: what is prepared there may have its coordinator on the right.
	releaseLeft, err := left.PrepareMerge(hold, right.machine)
	if err != nil {
		return fmt.Errorf("merge of %s: %w", r.id, notReady(err))
	}
	releaseRight, err := right.machine.PrepareSplit(hold, nil)
	if err != nil {
		releaseLeft()
		return fmt.Errorf("merge of %s: %w", right.id, notReady(err))
	}
	release := func() { releaseRight(); releaseLeft() }
	p, err := r.freezeAndMerge(hold, right, held)
	if p == nil {
		release()
		if right.Desc().Frozen != nil || right.isHeld() {
			r.store.spawn(func() { right.settleFreeze(r.store.ctx) })
		}
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		// Until the fate of the merge is known nothing may be prepared on either side: it would be prepared on a part
		// of what the range then is.
		r.store.spawn(func() {
			select {
			case <-p.Done():
			case <-r.store.stop:
			}
			release()
		})
		return ctx.Err()
	}
	release()
	if _, err := p.Wait(ctx); err != nil {
		r.store.spawn(func() { right.settleFreeze(r.store.ctx) })
		return err
	}
	r.store.metrics.mergePause.Observe(time.Since(began).Seconds())
	return nil
}

// notReady turns a timeout of our own into something that may be tried again.
func notReady(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: transactions do not end", ErrNotReady)
	}
	return err
}

// freezeAndMerge proposes the merge, with the right range frozen on every replica, under the leases of the epochs given. A
// nil Pending: nothing was proposed on the left.
func (r *Replica) freezeAndMerge(ctx context.Context, right *Replica, epochs [2]uint64) (*Pending, error) {
	d, rd := r.Desc(), right.Desc()
	if err := mergeable(d, rd); err != nil {
		return nil, err
	}
	frozen := rd.clone()
	frozen.Generation++
	frozen.Frozen = &Freeze{Left: r.id, LeftGeneration: d.Generation}
	p, err := right.propose(ctx, Proposal{
		Epoch: epochs[1], Encode: func(truetime.Timestamp) []byte { return frozen.Encode() },
	}, entryFreeze, nil)
	if err != nil {
		return nil, err
	}
	right.tellCommits()
	res, err := p.Wait(ctx)
	if err != nil {
		return nil, err
	}
	at, ok := res.(raftlog.Position)
	if !ok {
		return nil, fmt.Errorf("range: freeze of %s returned %T", right.id, res)
	}
	if err := right.awaitEverywhere(ctx, at.Index); err != nil {
		return nil, err
	}
	c := mergeCommand{merged: d.clone(), right: frozen, leftGeneration: d.Generation, freeze: at}
	c.merged.End = rd.End
	c.merged.Generation = max(d.Generation, frozen.Generation) + 1
	// The timestamp of the freeze is what the right range has promised at most, and the merge closes it (I5).
	m, err := r.propose(ctx, Proposal{
		Epoch: epochs[0], MinTS: p.TS(), Encode: func(truetime.Timestamp) []byte { return c.encode() },
	}, entryMerge, nil)
	if err != nil {
		return nil, err
	}
	r.tellCommits()
	return m, nil
}

// mergeable reports why the two cannot be merged now.
func mergeable(left, right *Descriptor) error {
	switch {
	case !bytes.Equal(left.End, right.Start):
		return fmt.Errorf("%w: %s and %s are no neighbours", ErrNotReady, left.ID, right.ID)
	case left.Frozen != nil || right.Frozen != nil:
		return fmt.Errorf("%w: another merge of %s or %s is under way", ErrNotReady, left.ID, right.ID)
	case !aligned(left, right):
		return fmt.Errorf("%w: %s and %s have replicas on different nodes", ErrNotReady, left.ID, right.ID)
	}
	return nil
}

// aligned reports whether both have voters, and nothing else, on the same nodes.
func aligned(left, right *Descriptor) bool {
	if len(left.Replicas) != len(right.Replicas) {
		return false
	}
	for _, x := range left.Replicas {
		y, ok := right.ReplicaOn(x.Node)
		if !ok || x.Type != Voter || y.Type != Voter {
			return false
		}
	}
	return true
}

// alignRight brings the replicas of the right neighbour to the nodes of this range, and its lease to this node.
func (r *Replica) alignRight(ctx context.Context) (*Replica, error) {
	d := r.Desc()
	voters, outgoing := d.voterNodes()
	if len(outgoing) > 0 || len(voters) < len(d.Replicas) {
		return nil, fmt.Errorf("%w: a change of replicas of %s is under way", ErrNotReady, r.id)
	}
	if bytes.Compare(d.Start, []byte{0x02}) < 0 || bytes.Compare(d.End, []byte{0xff}) >= 0 {
		return nil, fmt.Errorf("%w: %s has no right neighbour to merge with", ErrNotReady, r.id)
	}
	right, here := r.store.ReplicaForKey(d.End)
	var rd *Descriptor
	if here {
		rd = right.Desc()
	} else if r.store.cfg.Locate != nil {
		var err error
		if rd, err = r.store.cfg.Locate(ctx, d.End); err != nil {
			return nil, err
		}
	}
	if rd == nil {
		return nil, fmt.Errorf("%w: the right neighbour of %s is not known", ErrNotReady, r.id)
	}
	if !here || !aligned(d, rd) {
		if err := r.store.askAlign(ctx, rd, voters); err != nil {
			return nil, err
		}
		if right, here = r.store.ReplicaForKey(d.End); !here {
			return nil, fmt.Errorf("%w: the replica of %s is not here yet", ErrNotReady, rd.ID)
		}
	}
	if !right.leading.Load() {
		if err := right.RequestTransfer(ctx); err != nil {
			return nil, fmt.Errorf("lease of %s: %w", right.id, err)
		}
		if err := right.awaitLease(ctx); err != nil {
			return nil, err
		}
	}
	return right, nil
}

// awaitLease waits a moment until this replica may serve: a transfer returns when it leads.
func (r *Replica) awaitLease(ctx context.Context) error {
	return r.poll(ctx, catchUpPolls, fmt.Errorf("%w: %s has no lease here", ErrNotReady, r.id), func() bool {
		_, err := r.checkedLease()
		return err == nil
	})
}

// awaitEverywhere waits until every replica has the entry at index in its log, durably.
func (r *Replica) awaitEverywhere(ctx context.Context, index uint64) error {
	err := fmt.Errorf("%w: not every replica of %s is up to date", ErrNotReady, r.id)
	return r.poll(ctx, 10*catchUpPolls, err, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.mu.rn == nil {
			return false
		}
		progress := r.mu.rn.Status().Progress
		for _, x := range r.Desc().Replicas {
			if pr, ok := progress[uint64(x.Replica)]; !ok || pr.Match < index {
				return false
			}
		}
		return true
	})
}

// poll steps the replica until ok holds, a few times in a tick; after n times, or when this replica does not lead any
// more, it gives up with err.
func (r *Replica) poll(ctx context.Context, n int, err error, ok func() bool) error {
	t := time.NewTicker(max(time.Millisecond, r.store.cfg.TickInterval/50))
	defer t.Stop()
	for !ok() {
		if n--; n == 0 || !r.leading.Load() {
			return err
		}
		r.poke(flagLook)
		select {
		case <-t.C:
		case <-ctx.Done():
			return err
		case <-r.store.stop:
			return ErrClosed
		}
	}
	return nil
}

// isHeld reports whether the leader has given up its lease for a freeze whose fate is open.
func (r *Replica) isHeld() bool {
	r.lease.mu.Lock()
	defer r.lease.mu.Unlock()
	return r.lease.held
}

// holdLease ends all promises of this leader until releaseLease: no timestamp is assigned or promised meanwhile. The
// caller holds seq.
func (r *Replica) holdLease() {
	l := &r.lease
	l.mu.Lock()
	l.held = true
	l.changed()
	l.mu.Unlock()
}

func (r *Replica) releaseLease() {
	l := &r.lease
	l.mu.Lock()
	l.held = false
	l.changed()
	l.mu.Unlock()
}

// heldLease is the lease that holdLease has put away, for the entry that ends a freeze.
func (r *Replica) heldLease() (Lease, error) {
	l := &r.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term == 0 || !l.ready || l.frozen {
		return Lease{}, &NotLeaderError{Range: r.id, Hint: r.LeaderHint()}
	}
	until := r.store.votes.leaseUntil(l.incoming, l.outgoing, l.acks)
	if r.store.cfg.Clock.Now().Latest >= until {
		return Lease{}, ErrLeaseExpired
	}
	return Lease{Epoch: l.term, Holder: r.store.cfg.NodeID, Until: until}, nil
}

// applyDescriptor applies a freeze or its end, or a new generation, on every replica.
func (r *Replica) applyDescriptor(a *applier, payload []byte, frozen bool) error {
	n, err := DecodeDescriptor(payload)
	if err != nil {
		return err
	}
	d := r.Desc()
	if n.ID != r.id || n.Generation != d.Generation+1 || (n.Frozen != nil) != frozen {
		return errStale
	}
	a.b.PutLocal(localKey(r.id, suffixDesc), n.Encode())
	index := a.index
	if err := a.commit(); err != nil {
		return err
	}
	r.desc.Store(n)
	if !frozen {
		r.releaseLease()
	} else {
		r.lease.mu.Lock()
		r.lease.changed()
		r.lease.mu.Unlock()
	}
	a.visible(index)
	return nil
}

// applyMerge applies a merge, on every replica of the left range, and removes the right one beside it.
//
// Crash safety: one batch of the state engine holds the new descriptor and the removal of the right range's records, and
// the right range's log stays until that batch is durable. So after a crash either both are as before, and the merge is
// replayed, or it is done, and clearMerged removes the log.
func (r *Replica) applyMerge(a *applier, payload []byte) error {
	c, err := decodeMerge(payload)
	if err != nil {
		return err
	}
	d := r.Desc()
	if d.Generation != c.leftGeneration || c.merged.ID != r.id || !bytes.Equal(d.End, c.right.Start) {
		return errStale // made for a descriptor that has been replaced
	}
	s := r.store
	right, ok := s.Replica(c.right.ID)
	if !ok {
		return fmt.Errorf("merge of %s: no replica of %s here", r.id, c.right.ID)
	}
	// Left before right, and nobody takes them the other way round.
	right.applyMu.Lock()
	defer right.applyMu.Unlock()
	if err := right.catchUp(c.freeze); err != nil {
		return fmt.Errorf("merge of %s: %w", r.id, err)
	}
	if rd := right.Desc(); rd.Generation != c.right.Generation || rd.Frozen == nil {
		return fmt.Errorf("merge of %s: %s is not frozen", r.id, rd)
	}
	m, ok := r.machine.(Merger)
	if !ok {
		return errors.New("range: the state machine cannot merge")
	}
	if err := m.MergeState(a.b, right.machine); err != nil {
		return err
	}
	local := mvcc.LocalSpan(uint64(right.id))
	a.b.DeleteLocalRange(local.Start, local.End)
	a.b.PutLocal(localKey(r.id, suffixDesc), c.merged.Encode())
	if err := r.noteAbsorbed(a.b, right, c.merged.Generation); err != nil {
		return err
	}
	gone := mergedReplica{rng: right.id, replica: right.replicaID, into: r.id}
	a.b.PutLocal(gone.key(), gone.encode())
	r.apply.size += right.apply.size
	index := a.index
	if err := a.commit(); err != nil {
		return err
	}
	// The locks first: from the descriptor on this range grants some on keys of the right one.
	m.Merge(right.machine)
	s.mu.Lock()
	r.desc.Store(c.merged)
	r.load.forget()
	delete(s.mu.replicas, right.id)
	s.reindex()
	s.mu.Unlock()
	a.visible(index)
	right.retire()
	s.metrics.merges.Inc()
	if r.leading.Load() {
		s.publish([]*Descriptor{d, c.right}, []*Descriptor{c.merged})
	}
	s.spawn(func() { // or the next start does it
		err := s.cfg.Engine.Flush()
		if err == nil {
			err = s.clearMerged(gone)
		}
		if err != nil && !s.failed() {
			s.fatal("remove the log of %s: %w", gone.rng, err)
		}
	})
	return nil
}

// catchUp applies the replica's log up to a position that is known to be committed, as the leader that would say so
// may be gone. The caller holds applyMu.
func (r *Replica) catchUp(at raftlog.Position) error {
	if r.applied.Load() >= at.Index {
		return nil
	}
	if err := r.broken.Load(); err != nil {
		return *err
	}
	var ents []*pb.Entry
	term := uint64(0)
	err := r.store.log.Scan(uint64(r.id), r.applied.Load()+1, at.Index+1, func(e *pb.Entry) (bool, error) {
		if e.GetIndex() != r.applied.Load()+1+uint64(len(ents)) {
			return false, fmt.Errorf("range: the log of %s lacks entry %d", r.id, r.applied.Load()+1+uint64(len(ents)))
		}
		ents, term = append(ents, e), e.GetTerm()
		return true, nil
	})
	if err != nil {
		return err
	}
	// By the log matching property all that comes before that entry is committed, too.
	if n := len(ents); n == 0 || ents[n-1].GetIndex() != at.Index || term != at.Term {
		return fmt.Errorf("range: %s was frozen at %d/%d, which its log does not hold", r.id, at.Index, at.Term)
	}
	r.tell(r.applyEntries(ents))
	if err := r.broken.Load(); err != nil {
		return *err
	}
	if r.applied.Load() < at.Index {
		return ErrClosed
	}
	return nil
}

// retire ends a replica whose data belongs to another range now. The caller holds applyMu, and has taken it from the
// store's list.
func (r *Replica) retire() {
	r.removed.Store(true)
	r.mu.Lock()
	if r.leading.Load() {
		r.store.metrics.leaders.Dec()
	}
	r.mu.rn = nil
	r.mu.view.evict(len(r.mu.view.entries))
	r.mu.Unlock()
	r.shutdown()
}

// mergedReplica is the store's note, in the state engine, that the log of a replica has to go because its range was
// absorbed. It is written with the merge.
type mergedReplica struct {
	rng     RangeID
	replica ReplicaID
	into    RangeID
}

// No range has the id 0: its local keys are the store's own.
const storeLocal = 0

var suffixMerged = []byte{0, 'm'}

func (g mergedReplica) key() []byte {
	return binary.BigEndian.AppendUint64(mvcc.LocalKey(storeLocal, suffixMerged), uint64(g.rng))
}

func (g mergedReplica) encode() []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, uint64(g.replica)), uint64(g.into))
}

// clearMerged removes the log of a replica that a merge has done away with, once the merge is durable.
func (s *Store) clearMerged(g mergedReplica) error {
	lb := s.log.NewBatch()
	lb.RemoveMerged(uint64(g.rng), uint64(g.replica), uint64(g.into))
	if err := lb.Commit(true); err != nil {
		return err
	}
	b := s.cfg.Engine.NewBatch()
	defer b.Close()
	b.DeleteLocal(g.key())
	return b.Commit(false)
}

// finishMerges removes the logs that merges of an earlier life have left behind. What the state engine holds now is
// durable.
func (s *Store) finishMerges() error {
	var list []mergedReplica
	start := mvcc.LocalKey(storeLocal, suffixMerged)
	err := mvcc.ScanLocal(s.cfg.Engine, start, mvcc.PrefixEnd(start), func(key, value []byte) error {
		rd := reader{b: value}
		g := mergedReplica{replica: ReplicaID(rd.uvarint()), into: RangeID(rd.uvarint())}
		if rd.bad || len(key) != len(start)+8 {
			return fmt.Errorf("range: malformed note of a merge at %x", key)
		}
		g.rng = RangeID(binary.BigEndian.Uint64(key[len(start):]))
		list = append(list, g)
		return nil
	})
	if err != nil {
		return err
	}
	for _, g := range list {
		if err := s.clearMerged(g); err != nil {
			return err
		}
	}
	return nil
}

// askAlign asks the leader of a range to have voters on the nodes given, and to be led by one of them.
func (s *Store) askAlign(ctx context.Context, d *Descriptor, voters []NodeID) error {
	b := binary.AppendUvarint(nil, uint64(d.ID))
	for _, n := range voters {
		b = binary.AppendUvarint(b, uint64(n))
	}
	err := fmt.Errorf("%w: no leader of %s is known", ErrNotReady, d.ID)
	for _, x := range d.Replicas {
		var e error
		if x.Node == s.cfg.NodeID {
			_, e = s.handleAlign(ctx, b)
		} else {
			_, e = s.cfg.Transport.Call(ctx, x.Node, methodAlign, b)
		}
		if e == nil {
			return nil
		}
		if !errors.Is(e, ErrNotLeader) {
			err = e
		}
	}
	return fmt.Errorf("align %s: %w", d.ID, err)
}

func (s *Store) handleAlign(ctx context.Context, payload []byte) ([]byte, error) {
	rd := reader{b: payload}
	id := RangeID(rd.uvarint())
	var voters []NodeID
	for len(rd.b) > 0 && !rd.bad && len(voters) < maxReplicas {
		voters = append(voters, NodeID(rd.uvarint()))
	}
	if rd.bad || len(voters) == 0 {
		return nil, errFrame
	}
	r, ok := s.Replica(id)
	if !ok {
		return nil, ErrRangeNotFound
	}
	if _, err := r.checkedLease(); err != nil {
		return nil, err
	}
	self := s.cfg.NodeID
	if slices.Contains(voters, self) {
		return nil, r.ChangeReplicas(ctx, voters)
	}
	// The leader itself has to go: first there must be somebody to hand over to.
	with := append([]NodeID{self}, voters...)
	if err := r.ChangeReplicas(ctx, with); err != nil {
		return nil, err
	}
	if err := r.TransferLease(ctx, voters[0]); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %s is led by %s now", ErrNotReady, id, voters[0])
}

package ranges

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
)

// splitCommand is the payload of a split entry: the two halves.
type splitCommand struct{ left, right *Descriptor }

func (c splitCommand) encode() []byte {
	l := c.left.Encode()
	b := binary.AppendUvarint(nil, uint64(len(l)))
	b = append(b, l...)
	return c.right.AppendTo(b)
}

func decodeSplit(b []byte) (c splitCommand, err error) {
	rd := reader{b: b}
	l := rd.bytes(rd.uvarint())
	if rd.bad {
		return c, errEntry
	}
	if c.left, err = DecodeDescriptor(l); err != nil {
		return c, err
	}
	c.right, err = DecodeDescriptor(rd.b)
	return c, err
}

// splitHold bounds how long a split keeps new transactions from being prepared while it waits for those that are. One whose
// gateway or coordinator cannot be reached takes seconds to end; the split can wait for that, and the range need not.
const splitHold = time.Second

// Split divides the range at key: it keeps [start, key), a new range takes [key, end). It returns once
// that is so here; the right half elects this node's replica next. Proposals wait meanwhile. The two are not merged by
// themselves for Config.SplitStays.
func (r *Replica) Split(ctx context.Context, key []byte) error {
	return r.split(ctx, key, r.store.cfg.Clock.Now().Latest.Add(r.store.cfg.SplitStays))
}

func (r *Replica) split(ctx context.Context, key []byte, stays truetime.Timestamp) error {
	if err := mvcc.ValidateKey(key); err != nil {
		return err
	}
	lease, err := r.checkedLease()
	if err != nil {
		return err
	}
	began := time.Now()
	hold, cancel := context.WithTimeout(ctx, splitHold)
	release, err := r.machine.PrepareSplit(hold, key)
	cancel()
	if err != nil {
		return fmt.Errorf("split of %s: %w", r.id, notReady(err))
	}
	// The machine holds back what a split would tear apart until the fate of the split is known, whoever waits for it or not:
	// what it lets pass has been looked at against the undivided range, and would follow the split in the log.
	p, d, c, err := r.proposeSplit(ctx, lease, key, stays)
	if p == nil {
		release()
		return err
	}
	if _, err = p.Wait(ctx); err == nil {
		release()
		r.store.metrics.splitPause.Observe(time.Since(began).Seconds())
		r.store.publish([]*Descriptor{d}, []*Descriptor{c.left, c.right})
	} else {
		r.liftFenceAfter(p, release)
	}
	return err
}

// proposeSplit proposes the split of the range that d describes. A nil Pending: nothing was proposed, or the range is divided
// there already.
func (r *Replica) proposeSplit(ctx context.Context, lease Lease, key []byte, stays truetime.Timestamp) (p *Pending, d *Descriptor, c splitCommand, err error) {
	d = r.Desc()
	switch {
	case bytes.Equal(key, d.Start):
		return nil, d, c, nil
	case !d.Contains(key):
		return nil, d, c, ErrRangeKeyMismatch
	case bytes.Compare(key, []byte{0x02}) < 0:
		return nil, d, c, fmt.Errorf("range: the meta records stay in one range: split at %x", key)
	case d.Joint():
		return nil, d, c, fmt.Errorf("%w: %s is between two configurations", ErrNotReady, r.id)
	}
	id, err := r.store.newRangeID()
	if err != nil {
		return nil, d, c, err
	}
	c.left = d.clone()
	c.left.End = bytes.Clone(key)
	c.left.Generation++
	c.right = d.clone()
	c.right.ID, c.right.Start, c.right.Generation, c.right.Stays = id, bytes.Clone(key), c.left.Generation, stays
	// Under another lease than that under which the machine was asked, it holds nothing back.
	p, err = r.propose(ctx, Proposal{
		Epoch: lease.Epoch, Encode: func(truetime.Timestamp) []byte { return c.encode() },
	}, entrySplit, nil)
	if err != nil {
		return nil, d, c, err
	}
	return p, d, c, nil
}

// liftFenceAfter lets proposals pass, and calls release, once the fate of a split is known, whoever waits for it or not.
func (r *Replica) liftFenceAfter(p *Pending, release func()) {
	select {
	case <-p.Done():
		r.liftFence()
		release()
	default:
		r.store.spawn(func() {
			select {
			case <-p.Done():
			case <-r.store.stop:
			}
			r.liftFence()
			release()
		})
	}
}

// newRangeID returns an id that no other range has or will have: this node's own numbers.
func (s *Store) newRangeID() (RangeID, error) {
	select {
	case s.ceilings <- struct{}{}: // one store record at a time
	case <-s.ctx.Done():
		return 0, ErrClosed
	}
	defer func() { <-s.ceilings }()
	v, err := s.log.GetStore("lastrange")
	if err != nil {
		return 0, err
	}
	n, _ := binary.Uvarint(v)
	n++
	if err := s.log.SetStore("lastrange", binary.AppendUvarint(nil, n)); err != nil {
		return 0, err
	}
	return RangeID(n<<16 | uint64(s.cfg.NodeID)), nil
}

// applySplit applies a split, on every replica of the range.
//
// Crash safety: the state engine survives as a prefix of its batches, so after a crash either the split is
// there with both halves, or it is replayed, over whatever the right half's own log holds by then.
func (r *Replica) applySplit(a *applier, payload []byte) (err error) {
	c, err := decodeSplit(payload)
	if err != nil {
		return err
	}
	d := r.Desc()
	if c.left.Generation != d.Generation+1 || !bytes.Equal(c.left.Start, d.Start) || !bytes.Equal(c.right.End, d.End) {
		return errStale // made for a descriptor that has been replaced
	}
	me, ok := c.right.ByID(r.replicaID)
	if !ok || me.Node != r.store.cfg.NodeID {
		return fmt.Errorf("split of %s: replica %s is not in %s", r.id, r.replicaID, c.right)
	}
	tomb, err := r.store.log.Tombstone(uint64(c.right.ID))
	if err != nil {
		return err
	}
	exists, _, err := readState(r.Engine(), c.right.ID)
	if err != nil {
		return err
	}
	// A replay can find the right half gone from this node, or come back by a snapshot.
	makeRight := ReplicaID(tomb) < me.Replica && exists == nil
	half := r.apply.size / 2
	right := appliedState{index: initialIndex, term: initialTerm, closed: r.apply.closed, size: half}
	if makeRight {
		if m, ok := r.machine.(StateSplitter); ok {
			if err := m.SplitState(a.b, c.right.Start, c.right.ID); err != nil {
				return err
			}
		}
		putState(a.b, c.right, right)
	} else if exists == nil {
		a.b.ClearSpan(mvcc.Span{Start: c.right.Start, End: c.right.End})
	}
	a.b.PutLocal(mvcc.LocalKey(uint64(r.id), suffixDesc), c.left.Encode())
	r.apply.size -= half

	// From the commit on the left half must not be asked for keys of the right one; until the right
	// half leads, nobody is. Descriptor, state and both replicas change before proposals pass again.
	index := a.index
	if err := a.commit(); err != nil {
		return err
	}
	if makeRight {
		// The moment this replica lets go of the right half's keys a snapshot of that could take them for nobody's.
		release := r.store.claimHalf(c.right)
		defer release()
	}
	r.mu.Lock()
	r.desc.Store(c.left)
	r.load.forget()
	inherit := r.mu.follow
	leads := r.leading.Load()
	held, until := r.holdsLease()
	r.mu.Unlock()
	var rr *Replica
	if makeRight {
		rr, err = r.store.newReplica(c.right, right, me.Replica, func(x *Replica) {
			// Whoever holds the lease of the undivided range holds it for keys of the right half, too.
			x.mu.follow = inherit
			if leads {
				r.divideLoad(x)
				r.seq.Lock()
				x.seq.floor = max(x.seq.floor, r.seq.floor)
				r.seq.Unlock()
				// The locks have moved with their epochs: the first lease here continues.
				x.mu.handoff = &handoff{term: initialTerm, floor: x.seq.floor, state: []byte{}}
				x.mu.heir, x.lease.last.until = held, until
			}
		})
		if err != nil {
			return err
		}
		r.machine.Split(c.right.Start, rr.machine)
	} else {
		r.store.mu.Lock()
		r.store.reindex()
		r.store.mu.Unlock()
	}
	a.visible(index)
	r.store.metrics.splits.Inc()
	r.liftFence()
	if rr != nil && leads {
		rr.poke(flagCampaign)
	}
	return nil
}

// The leader of the undivided range hands its lease on the right half over to itself. As in any planned transfer, the votes
// for that wait for no promise: neither for what it has promised itself, which it keeps, nor for what it took over from the
// leader before it, which may have gone with its promises still running (follow.past).
//
// The leases on the right half's keys do not overlap by that (I4). Let B hold the lease of the undivided range in term t when
// it applies the split there. A lease of an earlier term has ended, or was handed over on the way to B. A leader of a later
// term has the split in its log and applies it before it has a lease, so that never covers the right half. And nobody has had
// a lease on the right half by itself: that takes an entry of its own which a quorum has stored, and one of them would have to
// vote for B, whose log is empty.

// holdsLease reports whether the replica has acquired a lease in the term it leads, and has not given it up; and until
// when that may have been used. The caller holds r.mu.
func (r *Replica) holdsLease() (held bool, until truetime.Timestamp) {
	l := &r.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	return r.mu.role == raft.StateLeader && l.term == r.mu.term && l.ready && !l.frozen && !l.held, l.published
}

// inheritsLease reports whether this replica is to take the lease of a range split off. The caller holds r.mu.
func (r *Replica) inheritsLease() bool {
	if r.mu.heir && (r.mu.lead != 0 || r.mu.view.last.Index != initialIndex) {
		r.mu.heir = false
	}
	return r.mu.heir
}

// awaitsLease reports whether this replica is about to lead a range split off, with what was promised under the lease of the
// undivided one: a node that goes must see that through, to hand it over.
func (r *Replica) awaitsLease() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.rn != nil && r.inheritsLease()
}

// campaignAsHeir has Raft hold the election of a planned transfer.
func (r *Replica) campaignAsHeir() {
	if r.mu.rn.BasicStatus().RaftState != raft.StateFollower {
		r.stepDown() // the votes of the last time were lost
	}
	_ = r.mu.rn.Step(&pb.Message{Type: pb.MsgTimeoutNow.Enum(), From: new(uint64(r.replicaID)), To: new(uint64(r.replicaID)), Term: new(r.mu.rn.BasicStatus().HardState.GetTerm())})
}

// claimHalf keeps snapshots of a range away, as claim does, until its replica has been made by a split and release is called.
func (s *Store) claimHalf(d *Descriptor) (release func()) {
	s.mu.Lock()
	s.mu.creating[d.ID] = d
	s.mu.Unlock()
	return func() { s.unclaim(d.ID) }
}

// destroyData removes what a store holds of a range, of which it has no replica any more.
func (s *Store) destroyData(d *Descriptor, node NodeID) error {
	lb := s.log.NewBatch()
	last := ReplicaID(0)
	if t, err := s.log.Tombstone(uint64(d.ID)); err == nil {
		last = ReplicaID(t)
	}
	if rd, ok := d.ReplicaOn(node); ok {
		last = max(last, rd.Replica)
	}
	lb.Remove(uint64(d.ID), uint64(last))
	if err := lb.Commit(true); err != nil {
		return err
	}
	b := s.cfg.Engine.NewBatch()
	defer b.Close()
	span := mvcc.LocalSpan(uint64(d.ID))
	b.DeleteLocalRange(span.Start, span.End)
	b.ClearSpan(mvcc.Span{Start: d.Start, End: d.End})
	return b.Commit(false)
}

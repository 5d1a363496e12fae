package ranges

import (
	"errors"
	"fmt"
	"math"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/mvcc"
)

// Replicas end here because a snapshot replaces them or because they were removed from their range. What they held is
// cleared after that, and nothing new comes to its place before.

// absorbed returns the replicas here whose ranges the snapshot's range has absorbed. The caller holds s.mu.
func (s *Store) absorbed(h snapshotHeader) (dead []*Replica, err error) {
	for id, r := range s.mu.replicas {
		d := r.Desc()
		if id == h.rng || !d.Overlaps(h.desc.Start, h.desc.End) {
			continue
		}
		if !h.desc.Contains(d.Start) || d.Generation >= h.desc.Generation {
			return nil, fmt.Errorf("%w: %s overlaps %s", ErrNotReady, h.rng, id)
		}
		if left, err := s.needs(r, h); err != nil {
			return nil, err
		} else if left != nil {
			return nil, fmt.Errorf("%w: %s has yet to absorb %s here", ErrNotReady, left.id, id)
		}
		dead = append(dead, r)
	}
	return dead, nil
}

// needs returns the replica that has yet to apply the merge with r, if there is one that the snapshot leaves as it is: the
// snapshot's range may have been split off again after that merge, and the log with both may be here already. A replica that
// the merge counts on has the freeze in its log, and the last one is that merge's. The caller holds s.mu.
func (s *Store) needs(r *Replica, h snapshotHeader) (*Replica, error) {
	f, err := r.lastFreeze()
	if err != nil || f == nil {
		return nil, err
	}
	left := s.mu.replicas[f.Left]
	if left == nil || left.id == h.rng || left.Desc().Generation > f.LeftGeneration || left.Desc().Overlaps(h.desc.Start, h.desc.End) {
		return nil, nil
	}
	return left, nil
}

// lastFreeze returns for which merge the range is frozen, or will be once what is in its log here is applied.
func (r *Replica) lastFreeze() (*Freeze, error) {
	applied := r.applied.Load() // before the descriptor: what is applied meanwhile is only seen twice
	f := r.Desc().Frozen
	err := r.store.log.Scan(uint64(r.id), applied+1, math.MaxUint64, func(e *pb.Entry) (bool, error) {
		if e.GetType() != pb.EntryNormal || len(e.Data) == 0 {
			return true, nil
		}
		h, err := decodeEntryHeader(e.Data)
		if err != nil {
			return false, err
		}
		switch h.kind {
		case entryFreeze, entryThaw:
			d, err := DecodeDescriptor(h.payload)
			if err != nil {
				return false, err
			}
			f = d.Frozen
		}
		return true, nil
	})
	return f, err
}

// departure is a replica that is being removed: it is in nobody's list any more, and its data is still to be cleared.
type departure struct {
	desc *Descriptor
	done chan struct{} // closed when that is done
}

// awaitLeaving waits until no replica that overlaps the snapshot is being removed: what clears its data would clear
// the snapshot's. The removal may have begun while the snapshot was on its way.
func (s *Store) awaitLeaving(h snapshotHeader) error {
	for {
		var x *departure
		s.mu.Lock()
		for _, d := range s.mu.leaving {
			if d.desc.Overlaps(h.desc.Start, h.desc.End) {
				x = d
			}
		}
		s.mu.Unlock()
		if x == nil {
			return nil
		}
		select {
		case <-x.done:
		case <-s.stop:
			return ErrClosed
		}
	}
}

// bury ends the replicas that a snapshot replaces, and returns them for clearBuried to be called when it is installed, which
// removes what is left of them. Until then nothing of them is lost: after a crash they are back.
//
// Which they are is seen now, not when the snapshot began to arrive. A replica that gets one may yet have applied entries
// meanwhile: merges, after which the other is gone and what was right of it may be another range's, and splits, whose right
// halves the snapshot has absorbed again.
func (s *Store) bury(h snapshotHeader) (buried []*Replica, err error) {
	if err := s.awaitLeaving(h); err != nil {
		return nil, err
	}
	s.mu.Lock()
	dead, err := s.absorbed(h)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for _, x := range dead {
		x.applyMu.Lock()
		if !x.removed.Load() {
			s.mu.Lock()
			delete(s.mu.replicas, x.id)
			s.reindex()
			s.mu.Unlock()
			x.retire()
			buried = append(buried, x)
		}
		x.applyMu.Unlock()
	}
	return buried, nil
}

// clearBuried removes what is left of replicas that a snapshot has replaced.
func (s *Store) clearBuried(buried []*Replica, h snapshotHeader) error {
	for _, x := range buried {
		if err := s.clearDead(x.Desc(), x.replicaID, h.rng, h.desc); err != nil {
			return err
		}
	}
	return nil
}

// clearDead removes the records and the log of a replica whose range was absorbed, and its data but for what lies in
// the range that d describes, whose it is now.
func (s *Store) clearDead(old *Descriptor, id ReplicaID, into RangeID, d *Descriptor) error {
	b := s.cfg.Engine.NewBatch()
	span := mvcc.LocalSpan(uint64(old.ID))
	b.DeleteLocalRange(span.Start, span.End)
	b.ClearSpan(mvcc.Span{Start: d.End, End: old.End})
	gone := mergedReplica{rng: old.ID, replica: id, into: into}
	b.PutLocal(gone.key(), gone.encode())
	if err := errors.Join(b.Commit(false), b.Close()); err != nil {
		return err
	}
	if err := s.cfg.Engine.Flush(); err != nil {
		return err
	}
	return s.clearMerged(gone)
}

// removeReplica takes a replica that is no longer part of its range off this store. It runs on the range's
// apply goroutine.
func (s *Store) removeReplica(r *Replica, d *Descriptor) {
	old := d.clone()
	old.Replicas = []ReplicaDesc{{Node: s.cfg.NodeID, Replica: r.replicaID}}
	x := &departure{desc: old, done: make(chan struct{})}
	s.mu.Lock()
	delete(s.mu.replicas, r.id)
	s.mu.leaving[r.id] = x // nothing comes here until the data is gone
	s.reindex()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.mu.leaving, r.id)
		s.mu.Unlock()
		close(x.done)
	}()
	r.removed.Store(true)
	r.mu.Lock()
	if r.leading.Load() {
		s.metrics.leaders.Dec()
	}
	r.mu.rn = nil
	r.mu.view.evict(len(r.mu.view.entries))
	r.mu.Unlock()
	r.shutdown()
	// A split of this range that the state engine does not hold durably could not be replayed without
	// this range's log, and the right half would be lost with it.
	if err := s.cfg.Engine.Flush(); err != nil {
		s.fatal("remove %s: %w", r.id, err)
		return
	}
	if err := s.destroyData(old, s.cfg.NodeID); err != nil {
		s.fatal("remove %s: %w", r.id, err)
	}
}

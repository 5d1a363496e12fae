package ranges

import (
	"bytes"
	"fmt"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/range/raftlog"
)

// found is what Start finds of a range in the state engine.
type found struct {
	d     *Descriptor
	a     appliedState
	local mvcc.LocalReader
	log   raftlog.Loaded
}

// loadReplicas makes the replicas that this store holds. It reads the local keys of the state engine in one pass and the
// Raft log in another: ten thousand ranges have their keys side by side, and to open an iterator for one of them costs
// more than to read all of them.
func (s *Store) loadReplicas() error {
	var list []*found
	byID := map[uint64]*found{}
	err := mvcc.ScanLocalRanges(s.cfg.Engine, func(id uint64, l mvcc.LocalReader) error {
		d, a, err := readLocalState(l, RangeID(id))
		if err != nil || d == nil {
			return err
		}
		f := &found{d: d, a: a, local: l}
		list, byID[id] = append(list, f), f
		return nil
	})
	if err != nil {
		return err
	}
	err = s.log.LoadAll(func(id uint64) uint64 {
		if f := byID[id]; f != nil {
			return f.a.index
		}
		return 0
	}, func(id uint64, x raftlog.Loaded) error {
		if f := byID[id]; f != nil {
			f.log = x
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b *found) int { return bytes.Compare(a.d.Start, b.d.Start) })
	if list, err = s.dropDead(list); err != nil {
		return err
	}
	for _, f := range list {
		rd, ok := f.d.ReplicaOn(s.cfg.NodeID)
		if !ok || ReplicaID(f.log.Tombstone) >= rd.Replica {
			if err := s.destroyData(f.d, s.cfg.NodeID); err != nil {
				return err
			}
			continue
		}
		st, err := s.adoptLog(f.d.ID, f.a, f.log.State, f.log.TermAt)
		if err != nil {
			return err
		}
		r, err := s.addReplica(f.d, f.a, rd.Replica, st, func(r *Replica) { r.boot = f.local })
		if err != nil {
			return err
		}
		r.boot = nil
	}
	return nil
}

// dropDead removes what is left of ranges that were absorbed, where a crash has come between the snapshot that brought the
// larger range and the removal of the other (Store.bury). list is in key order.
func (s *Store) dropDead(list []*found) ([]*found, error) {
	var alive []*found
	for _, f := range list {
		if n := len(alive); n > 0 {
			if o := alive[n-1]; o.d.Contains(f.d.Start) && o.d.Generation > f.d.Generation {
				me, _ := f.d.ReplicaOn(s.cfg.NodeID)
				if err := s.clearDead(f.d, me.Replica, o.d.ID, o.d); err != nil {
					return nil, err
				}
				continue
			}
		}
		alive = append(alive, f)
	}
	return alive, nil
}

// recoverLog reads a range's log and makes it agree with its applied state.
func (s *Store) recoverLog(id RangeID, a appliedState) (raftlog.State, error) {
	st, err := s.log.Load(uint64(id))
	if err != nil {
		return st, err
	}
	term := uint64(0)
	if st.Exists && a.index > st.Truncated.Index && a.index <= st.Last.Index {
		err := s.log.Scan(uint64(id), a.index, a.index+1, func(e *pb.Entry) (bool, error) {
			term = e.GetTerm()
			return false, nil
		})
		if err != nil {
			return st, err
		}
	}
	return s.adoptLog(id, a, st, term)
}

// adoptLog makes a range's log agree with its applied state, which runs ahead of the log only when a
// snapshot had been ingested but the log not yet been reset. term is that of the log's entry at the applied index.
func (s *Store) adoptLog(id RangeID, a appliedState, st raftlog.State, term uint64) (raftlog.State, error) {
	if st.Exists && a.index < st.Truncated.Index {
		return st, fmt.Errorf("range: %s: state at index %d but the log starts after %d: the state engine lost data",
			id, a.index, st.Truncated.Index)
	}
	if !st.Exists || a.index > st.Last.Index || a.index > st.Truncated.Index && term != a.term {
		at := raftlog.Position{Index: a.index, Term: a.term}
		st = raftlog.State{Exists: true, Truncated: at, Last: at, Hard: raftlog.HardState{
			Term: max(st.Hard.Term, a.term), Vote: st.Hard.Vote, Commit: a.index,
		}}
		b := s.log.NewBatch()
		b.Reset(uint64(id), at, st.Hard)
		// What makes it durable is the first vote or append of the replica, synced after this.
		if err := b.Commit(false); err != nil {
			return st, err
		}
	}
	st.Hard.Commit = min(max(st.Hard.Commit, a.index), st.Last.Index)
	st.Hard.Term = max(st.Hard.Term, st.Last.Term)
	return st, nil
}

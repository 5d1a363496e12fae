package ranges

import (
	"fmt"
	"sync/atomic"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/range/raftlog"
)

// logView is a replica's log as Raft reads it (raft.Storage): the tail from memory, the rest from disk.
// It belongs to whoever holds Replica.mu.
//
// Entries enter when they are handed to the appender, before they are durable: Raft asks Storage only for
// what it has been told is stable, and the appender writes in order, so nothing is seen too early.
type logView struct {
	id     uint64
	log    *raftlog.Log
	budget *cacheBudget

	hard      raftlog.HardState // as loaded; only InitialState reads it
	conf      *pb.ConfState     // as loaded
	truncated raftlog.Position
	last      raftlog.Position
	before    raftlog.Position // what last was before the newest append
	entries   []*pb.Entry      // contiguous, ends at last; may be empty
	bytes     int64            // of entries
	logBytes  int64            // of the whole log, roughly

	needSnapshot func()          // Raft asked for a snapshot: some follower needs one
	failed       func(err error) // the log cannot be read
}

// cacheBudget is what all logs of a store may keep in memory.
type cacheBudget struct {
	limit int64
	used  atomic.Int64
}

func (v *logView) InitialState() (*pb.HardState, *pb.ConfState, error) {
	return &pb.HardState{Term: new(v.hard.Term), Vote: new(v.hard.Vote), Commit: new(v.hard.Commit)}, v.conf, nil
}

func (v *logView) FirstIndex() (uint64, error) { return v.truncated.Index + 1, nil }
func (v *logView) LastIndex() (uint64, error)  { return v.last.Index, nil }

func (v *logView) Term(i uint64) (uint64, error) {
	switch {
	case i == v.truncated.Index:
		return v.truncated.Term, nil
	case i < v.truncated.Index:
		return 0, raft.ErrCompacted
	case i == v.last.Index:
		return v.last.Term, nil
	case i == v.before.Index && i != 0:
		return v.before.Term, nil // a new leader looks at the entry before its first
	case i > v.last.Index:
		return 0, raft.ErrUnavailable
	}
	if e := v.cached(i); e != nil {
		return e.GetTerm(), nil
	}
	ents, err := v.read(i, i+1, 1<<62)
	if err != nil {
		return 0, err
	}
	return ents[0].GetTerm(), nil
}

func (v *logView) cached(i uint64) *pb.Entry {
	if len(v.entries) == 0 {
		return nil
	}
	first := v.entries[0].GetIndex()
	if i < first {
		return nil
	}
	return v.entries[i-first]
}

func (v *logView) Entries(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	if lo <= v.truncated.Index {
		return nil, raft.ErrCompacted
	}
	if hi > v.last.Index+1 {
		return nil, raft.ErrUnavailable
	}
	if v.cached(lo) == nil {
		return v.read(lo, hi, maxSize)
	}
	first := v.entries[0].GetIndex()
	ents := v.entries[lo-first : hi-first]
	size := uint64(0)
	for i, e := range ents {
		if size += entrySize(e); i > 0 && size > maxSize {
			return ents[:i:i], nil
		}
	}
	return ents[:len(ents):len(ents)], nil
}

// read reads entries from disk; only lagging followers make it happen.
func (v *logView) read(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	var out []*pb.Entry
	size := uint64(0)
	err := v.log.Scan(v.id, lo, hi, func(e *pb.Entry) (bool, error) {
		if e.GetIndex() != lo+uint64(len(out)) {
			return false, nil
		}
		if size += entrySize(e); len(out) > 0 && size > maxSize {
			return false, nil
		}
		out = append(out, e)
		return true, nil
	})
	if err == nil && len(out) == 0 {
		err = raft.ErrUnavailable
	}
	if err != nil && err != raft.ErrUnavailable {
		// Raft would panic for it, and nothing else could be done with half a log.
		v.failed(fmt.Errorf("read the raft log: %w", err))
		err = raft.ErrCompacted
	}
	return out, err
}

// Snapshot is asked for when a follower needs entries that have been truncated. The store streams
// snapshots by itself, so Raft is told to come back later.
func (v *logView) Snapshot() (*pb.Snapshot, error) {
	if v.needSnapshot != nil {
		v.needSnapshot()
	}
	return nil, raft.ErrSnapshotTemporarilyUnavailable
}

func entrySize(e *pb.Entry) uint64 { return uint64(len(e.Data)) + 24 }

// append takes entries on their way to the appender, replacing those they conflict with.
func (v *logView) append(ents []*pb.Entry) {
	if len(ents) == 0 {
		return
	}
	first := ents[0].GetIndex()
	if len(v.entries) > 0 {
		switch have := v.entries[0].GetIndex(); {
		case first <= have:
			v.evict(len(v.entries))
		case first <= v.last.Index:
			cut := first - have
			for _, e := range v.entries[cut:] {
				v.account(-int64(entrySize(e)))
			}
			// A copy: slices handed to Raft share the old array.
			v.entries = append(make([]*pb.Entry, 0, cut+uint64(len(ents))), v.entries[:cut]...)
		}
	}
	for _, e := range ents {
		v.account(int64(entrySize(e)))
	}
	v.entries = append(v.entries, ents...)
	if v.before = v.last; first <= v.last.Index {
		v.before = raftlog.Position{} // it may have been replaced
	}
	e := ents[len(ents)-1]
	v.last = raftlog.Position{Index: e.GetIndex(), Term: e.GetTerm()}
}

func (v *logView) account(n int64) {
	v.bytes += n
	if n > 0 {
		v.logBytes += n
	}
	v.budget.used.Add(n)
}

// trim drops entries up to index from memory when the store is over its budget. They must be on disk.
func (v *logView) trim(index uint64) {
	if v.budget.used.Load() <= v.budget.limit || len(v.entries) == 0 || index < v.entries[0].GetIndex() {
		return
	}
	v.evict(int(min(index-v.entries[0].GetIndex()+1, uint64(len(v.entries)))))
}

func (v *logView) evict(n int) {
	for _, e := range v.entries[:n] {
		v.account(-int64(entrySize(e)))
	}
	v.entries = append([]*pb.Entry(nil), v.entries[n:]...)
}

// truncate forgets the entries up to at.
func (v *logView) truncate(at raftlog.Position) {
	if at.Index <= v.truncated.Index {
		return
	}
	v.truncated = at
	if len(v.entries) > 0 && at.Index >= v.entries[0].GetIndex() {
		v.evict(int(at.Index - v.entries[0].GetIndex() + 1))
	}
	v.logBytes = v.bytes
}

// reset empties the log on the way of a snapshot at the position to the appender. Entries that follow the snapshot may
// enter before it has been installed: Raft takes them as soon as it has taken that.
func (v *logView) reset(at raftlog.Position) {
	v.evict(len(v.entries))
	v.truncated, v.last, v.before, v.logBytes = at, at, raftlog.Position{}, 0
}

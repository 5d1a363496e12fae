package raftlog

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/truetime/plant"
)

// Batch collects writes to the logs of any number of ranges.
type Batch struct {
	l      *Log
	b      *pebble.Batch
	number uint64 // of its mark, once it is on its way to the disk
}

// NewBatch returns an empty batch.
func (l *Log) NewBatch() *Batch { return &Batch{l: l, b: l.db.NewBatch()} }

// must holds because a Pebble batch without an index only fails when it has been closed or is too large
// for memory.
func must(err error) {
	if err != nil {
		panic("raftlog: " + err.Error())
	}
}

// SetHardState records term, vote and commit index.
func (b *Batch) SetHardState(id uint64, hs HardState) {
	must(b.b.Set(rangeKey(id, kindHard), encode3(hs.Term, hs.Vote, hs.Commit), nil))
}

// Append adds entries. last is the index of the last entry in the log so far: those that the new ones
// replace, and all after them, go.
func (b *Batch) Append(id uint64, entries []*pb.Entry, last uint64) {
	if len(entries) == 0 {
		return
	}
	if first := entries[0].GetIndex(); first <= last {
		b.DeleteEntries(id, first, last+1)
	}
	for _, e := range entries {
		var head [1 + binary.MaxVarintLen64]byte
		head[0] = byte(e.GetType())
		n := 1 + binary.PutUvarint(head[1:], e.GetTerm())
		op := b.b.SetDeferred(18, n+len(e.Data))
		k := op.Key[:0]
		k = append(k, prefixRange)
		k = binary.BigEndian.AppendUint64(k, id)
		k = append(k, kindEntry)
		binary.BigEndian.AppendUint64(k, e.GetIndex())
		copy(op.Value[copy(op.Value, head[:n]):], e.Data)
		must(op.Finish())
	}
}

// DeleteEntries removes the entries lo <= index < hi.
func (b *Batch) DeleteEntries(id, lo, hi uint64) {
	must(b.b.DeleteRange(entryKey(id, lo), entryKey(id, hi), nil))
}

// Truncate removes the entries up to and including at, and records that the log starts after it.
func (b *Batch) Truncate(id uint64, at Position) {
	b.DeleteEntries(id, 0, at.Index+1)
	must(b.b.Set(rangeKey(id, kindTruncated), encode3(at.Index, at.Term, 0), nil))
}

// Reset empties the log: it continues after at, which a snapshot holds.
func (b *Batch) Reset(id uint64, at Position, hs HardState) {
	b.DeleteEntries(id, 0, 1<<63)
	must(b.b.Set(rangeKey(id, kindTruncated), encode3(at.Index, at.Term, 0), nil))
	b.SetHardState(id, hs)
}

// Remove deletes everything of a range and leaves a tombstone for the replica.
func (b *Batch) Remove(id, replica uint64) {
	must(b.b.DeleteRange(rangeKey(id, 0), rangeKey(id, 0xff), nil))
	must(b.b.Set(rangeKey(id, kindTombstone), encode3(replica, 0, 0), nil))
}

// RemoveMerged is Remove for a replica whose range was absorbed by another, which the tombstone names.
func (b *Batch) RemoveMerged(id, replica, into uint64) {
	must(b.b.DeleteRange(rangeKey(id, 0), rangeKey(id, 0xff), nil))
	must(b.b.Set(rangeKey(id, kindTombstone), encode3(replica, into, 0), nil))
}

// Empty reports whether the batch holds no writes.
func (b *Batch) Empty() bool { return b.b.Empty() }

// Len returns the batch's size in bytes.
func (b *Batch) Len() int { return b.b.Len() }

// Commit writes the batch, durably when sync is set, and releases it.
func (b *Batch) Commit(sync bool) error {
	if sync {
		if err := b.CommitNoWait(); err != nil {
			return err
		}
		return b.SyncWait()
	}
	m := &b.l.marks
	m.turn <- struct{}{}
	err := b.b.Commit(pebble.NoSync)
	<-m.turn
	if err := b.l.check(err); err != nil {
		return err
	}
	return b.b.Close()
}

// Discard releases a batch that is not to be written.
func (b *Batch) Discard() error { return b.b.Close() }

// CommitNoWait writes the batch and starts making it durable; SyncWait waits for that.
func (b *Batch) CommitNoWait() error {
	m := &b.l.marks
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	m.number++
	b.number = m.number
	must(b.b.Set(markKey, encodeMark(m.number, m.durable.Load()), nil))
	if plant.On(plant.UnsyncedLog) {
		return b.l.check(b.l.db.Apply(b.b, pebble.NoSync))
	}
	return b.l.check(b.l.db.ApplyNoSyncWait(b.b, pebble.Sync))
}

// SyncWait waits until a batch given to CommitNoWait is durable, and releases it.
func (b *Batch) SyncWait() error {
	if plant.On(plant.UnsyncedLog) {
		// Nothing to wait for.
	} else if err := b.l.check(b.b.SyncWait()); err != nil {
		return err
	}
	b.l.marks.synced(b.number)
	return b.b.Close()
}

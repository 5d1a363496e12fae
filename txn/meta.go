package txn

import (
	"bytes"
	"context"
	"errors"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/txn/kv"
)

// UpdateMeta implements ranges.MetaWriter: one transaction over the meta range. It repeats itself when it loses
// against another, until ctx ends. The records are a hint for routing, so their order of arrival does not
// matter: the higher generation stays.
func (db *DB) UpdateMeta(ctx context.Context, old, new []*ranges.Descriptor) error {
	for _, d := range new {
		db.learn(d)
	}
	opts := kv.TxnOptions{Name: "meta"}
	for n := 1; ; n++ {
		t, err := db.Begin(ctx, opts)
		if err == nil {
			opts.Age = t.Age()
			if err = updateMeta(ctx, t, old, new); err == nil {
				_, err = t.Commit(ctx)
			}
			if err == nil {
				return nil
			}
			t.Rollback(ctx)
		}
		if !errors.Is(err, kv.ErrRetry) {
			return err
		}
		if err := db.pause(ctx, n); err != nil {
			return err
		}
	}
}

func updateMeta(ctx context.Context, t kv.Txn, old, new []*ranges.Descriptor) error {
	// newer returns the record at end when its generation is at least gen.
	current := func(end []byte) (*ranges.Descriptor, error) {
		v, err := t.Get(ctx, ranges.MetaKey(end), kv.LockExclusive, kv.WaitBlock)
		if err != nil || v == nil {
			return nil, err
		}
		return ranges.DecodeDescriptor(v)
	}
	for _, o := range old {
		replaced := false
		for _, d := range new {
			replaced = replaced || bytes.Equal(d.End, o.End)
		}
		if replaced {
			continue
		}
		cur, err := current(o.End)
		if err != nil {
			return err
		}
		if cur == nil || cur.ID != o.ID || cur.Generation > o.Generation {
			continue
		}
		if err := t.Delete(ranges.MetaKey(o.End)); err != nil {
			return err
		}
	}
	for _, d := range new {
		cur, err := current(d.End)
		if err != nil {
			return err
		}
		if cur != nil && cur.Generation >= d.Generation {
			continue
		}
		if err := t.Put(ranges.MetaKey(d.End), d.Encode()); err != nil {
			return err
		}
	}
	return nil
}

// StaleMeta implements ranges.MetaChecker: it reads the records from the first to the last, in pages.
func (db *DB) StaleMeta(ctx context.Context, descs []*ranges.Descriptor) ([]*ranges.Descriptor, error) {
	if len(descs) == 0 {
		return nil, nil
	}
	t, err := db.Begin(ctx, kv.TxnOptions{Name: "meta", ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer t.Rollback(ctx)
	span := kv.Span{Start: ranges.MetaKey(descs[0].End), End: append(ranges.MetaKey(descs[len(descs)-1].End), 0)}
	sc, err := t.Scan(ctx, span, kv.ScanOptions{})
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	var stale []*ranges.Descriptor
	for sc.Next(ctx) {
		rec, err := ranges.DecodeDescriptor(sc.Pair().Value)
		if err != nil {
			return nil, err
		}
		for len(descs) > 0 && bytes.Compare(descs[0].End, rec.End) < 0 {
			stale, descs = append(stale, descs[0]), descs[1:]
		}
		if len(descs) > 0 && bytes.Equal(descs[0].End, rec.End) {
			if rec.Generation < descs[0].Generation {
				stale = append(stale, descs[0])
			}
			descs = descs[1:]
		}
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	return append(stale, descs...), nil
}

// StoreDescriptors makes a store's replicas the start of routing. First is asked for range 1 when the store
// holds no replica of it, and may be nil.
type StoreDescriptors struct {
	Store *ranges.Store
	First func() *ranges.Descriptor
}

// LocalDescriptor implements Descriptors.
func (s StoreDescriptors) LocalDescriptor(key []byte, before bool) *ranges.Descriptor {
	if !before {
		if r, ok := s.Store.ReplicaForKey(key); ok {
			return r.Desc()
		}
		return nil
	}
	for _, r := range s.Store.Replicas() {
		if d := r.Desc(); d != nil && bytes.Compare(d.Start, key) < 0 && bytes.Compare(key, d.End) <= 0 {
			return d
		}
	}
	return nil
}

// FirstRange implements Descriptors.
func (s StoreDescriptors) FirstRange() *ranges.Descriptor {
	if r, ok := s.Store.ReplicaForKey(ranges.MetaKey(nil)); ok {
		return r.Desc()
	}
	if s.First != nil {
		return s.First()
	}
	return nil
}

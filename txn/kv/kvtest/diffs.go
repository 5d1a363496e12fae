package kvtest

import (
	"bytes"
	"context"
	"time"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

var _ kv.DiffReader = (*DB)(nil)

// Now is the database's clock: it stands still but for commits and the beginnings of transactions.
func (db *DB) Now() truetime.Interval {
	db.mu.Lock()
	defer db.mu.Unlock()
	return truetime.Interval{Earliest: db.now, Latest: db.now}
}

// SetGCThreshold makes Diffs fail below ts.
func (db *DB) SetGCThreshold(ts truetime.Timestamp) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.threshold = ts
}

// Partition implements kv.Partitioner: there is one range.
func (db *DB) Partition(_ context.Context, span kv.Span) ([]kv.Span, error) {
	return []kv.Span{span}, nil
}

// Diffs implements kv.DiffReader. A commit takes effect at once, so nothing below now is still to come.
func (db *DB) Diffs(ctx context.Context, req kv.DiffRequest, fn func(*kv.Diff) error) error {
	db.mu.Lock()
	if req.After < db.threshold {
		db.mu.Unlock()
		return kv.ErrReadTooOld
	}
	var out []kv.Diff
	for n := db.data.seek(req.Span.Start, nil); n != nil && bytes.Compare(n.key, req.Span.End) < 0; n = n.next[0] {
		var before []byte
		for _, v := range n.val {
			if v.ts > req.After && v.ts <= req.TS && (v.value != nil || before != nil) {
				d := kv.Diff{Key: n.key, TS: v.ts, Value: v.value, Existed: before != nil}
				if req.Previous {
					d.Previous = before
				}
				out = append(out, d)
			}
			before = v.value
		}
	}
	db.mu.Unlock()
	for i := range out {
		if err := fn(&out[i]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Advance moves the clock.
func (db *DB) Advance(d time.Duration) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.now = db.now.Add(d)
}

package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// Txn implements kv.Txn.
type Txn struct {
	db      *DB
	opts    kv.TxnOptions
	age     truetime.Timestamp
	readTS  truetime.Timestamp
	before  truetime.Timestamp // CommitBefore's bound, 0 for none
	writes  *list[[]write]
	log     []*node[[]write] // one entry for each write, in order, for RollbackTo
	locked  map[string]kv.LockMode
	aborted bool
	done    bool
	stats   kv.Stats

	lockTimeout time.Duration
}

// write is one buffered write; a nil value is a delete.
type write struct {
	value []byte
	ins   bool
}

func (t *Txn) check() error {
	switch {
	case t.aborted:
		return fmt.Errorf("kvtest: wounded: %w", kv.ErrRetry)
	case t.done:
		return errors.New("kvtest: transaction is finished")
	}
	if t.locked == nil {
		t.locked = map[string]kv.LockMode{}
	}
	return nil
}

// read returns the value visible to t, after locking when asked. db.mu is held.
func (t *Txn) read(ctx context.Context, key []byte, mode kv.LockMode, wait kv.WaitPolicy) (val []byte, skipped bool, err error) {
	if err := t.check(); err != nil {
		return nil, false, err
	}
	locking := mode != kv.LockNone && !t.opts.ReadOnly
	if locking {
		if have, ok := t.locked[string(key)]; !ok || have < mode {
			got, err := t.db.acquire(ctx, t, key, mode, wait)
			if err != nil {
				return nil, false, err
			}
			if !got {
				return nil, true, nil
			}
		}
	}
	if n := t.writes.get(key); n != nil && len(n.val) > 0 {
		return n.val[len(n.val)-1].value, false, nil
	}
	ts := t.snapshot()
	n := t.db.data.get(key)
	if n == nil {
		return nil, false, nil
	}
	if locking {
		newest := n.val[len(n.val)-1]
		if t.opts.Isolation == kv.Snapshot && newest.ts > ts {
			return nil, false, kv.ErrWriteConflict
		}
		return newest.value, false, nil
	}
	v, _ := valueAt(n.val, ts)
	return v, false, nil
}

// snapshot returns the timestamp that reads without locks use. db.mu is held.
func (t *Txn) snapshot() truetime.Timestamp {
	if t.opts.ReadOnly {
		return t.readTS
	}
	if t.opts.Isolation == kv.Serializable {
		return t.db.now
	}
	if t.readTS == 0 {
		t.readTS = t.db.now
	}
	return t.readTS
}

// Get implements kv.Txn.
func (t *Txn) Get(ctx context.Context, key []byte, lock kv.LockMode, wait kv.WaitPolicy) ([]byte, error) {
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	t.stats.LocalReads++
	v, _, err := t.read(ctx, key, lock, wait)
	return v, err
}

// GetBatch implements kv.Txn.
func (t *Txn) GetBatch(ctx context.Context, keys [][]byte, lock kv.LockMode, wait kv.WaitPolicy) ([][]byte, []bool, error) {
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	t.stats.LocalReads++
	values := make([][]byte, len(keys))
	var skipped []bool
	for i, k := range keys {
		v, skip, err := t.read(ctx, k, lock, wait)
		if err != nil {
			return nil, nil, err
		}
		values[i] = v
		if skip {
			if skipped == nil {
				skipped = make([]bool, len(keys))
			}
			skipped[i] = true
		}
	}
	return values, skipped, nil
}

// Scan implements kv.Txn.
func (t *Txn) Scan(_ context.Context, span kv.Span, opts kv.ScanOptions) (kv.Scanner, error) {
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	t.stats.LocalReads++
	if err := t.check(); err != nil {
		return nil, err
	}
	if bytes.Compare(span.Start, span.End) > 0 {
		return nil, fmt.Errorf("kvtest: inverted span %x-%x", span.Start, span.End)
	}
	return &scanner{t: t, span: kv.Span{Start: bytes.Clone(span.Start), End: bytes.Clone(span.End)}, opts: opts}, nil
}

func (t *Txn) put(key, value []byte, ins bool) error {
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	if err := t.check(); err != nil {
		return err
	}
	if t.opts.ReadOnly {
		return kv.ErrReadOnly
	}
	if len(key) > kv.MaxKeySize || len(value) > kv.MaxValueSize {
		return kv.ErrTooLarge
	}
	n := t.writes.upsert(key)
	n.val = append(n.val, write{value: value, ins: ins})
	t.log = append(t.log, n)
	return nil
}

// Put implements kv.Txn.
func (t *Txn) Put(key, value []byte) error {
	return t.put(key, append(make([]byte, 0, len(value)), value...), false)
}

// Insert implements kv.Txn.
func (t *Txn) Insert(key, value []byte) error {
	return t.put(key, append(make([]byte, 0, len(value)), value...), true)
}

// Delete implements kv.Txn.
func (t *Txn) Delete(key []byte) error { return t.put(key, nil, false) }

// DeleteSpan implements kv.Txn.
func (t *Txn) DeleteSpan(ctx context.Context, span kv.Span) error {
	sc, err := t.Scan(ctx, span, kv.ScanOptions{Lock: kv.LockExclusive})
	if err != nil {
		return err
	}
	defer sc.Close()
	for sc.Next(ctx) {
		if err := t.Delete(sc.Pair().Key); err != nil {
			return err
		}
	}
	return sc.Err()
}

// LockSpan implements kv.Txn. It locks what the span holds, not the gaps.
func (t *Txn) LockSpan(ctx context.Context, span kv.Span, lock kv.LockMode, wait kv.WaitPolicy) error {
	sc, err := t.Scan(ctx, span, kv.ScanOptions{Lock: lock, Wait: wait})
	if err != nil {
		return err
	}
	defer sc.Close()
	for sc.Next(ctx) {
	}
	return sc.Err()
}

// SetLockTimeout implements kv.Txn.
func (t *Txn) SetLockTimeout(d time.Duration) { t.lockTimeout = d }

// Flush implements kv.Txn; memory is the only budget here.
func (t *Txn) Flush(context.Context) error { return nil }

// Step implements kv.Txn.
func (t *Txn) Step(context.Context) error {
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	if t.opts.Isolation == kv.ReadCommitted && !t.opts.ReadOnly {
		t.readTS = t.db.now
	}
	return t.check()
}

// Savepoint implements kv.Txn.
func (t *Txn) Savepoint() kv.Savepoint { return kv.Savepoint{Seq: uint64(len(t.log))} }

// RollbackTo implements kv.Txn.
func (t *Txn) RollbackTo(_ context.Context, sp kv.Savepoint) error {
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	if err := t.check(); err != nil {
		return err
	}
	for uint64(len(t.log)) > sp.Seq {
		n := t.log[len(t.log)-1]
		n.val = n.val[:len(n.val)-1]
		t.log = t.log[:len(t.log)-1]
	}
	return nil
}

// Commit implements kv.Txn.
func (t *Txn) Commit(ctx context.Context) (truetime.Timestamp, error) {
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	if err := t.check(); err != nil {
		return 0, err
	}
	if t.opts.ReadOnly {
		t.done = true
		return t.readTS, nil
	}
	err := t.apply(ctx)
	t.done = true
	t.db.release(t)
	return t.db.now, err
}

func (t *Txn) apply(ctx context.Context) error {
	for n := t.writes.head.next[0]; n != nil; n = n.next[0] {
		if len(n.val) == 0 {
			continue
		}
		if have, ok := t.locked[string(n.key)]; !ok || have < kv.LockExclusive {
			if _, err := t.db.acquire(ctx, t, n.key, kv.LockExclusive, kv.WaitBlock); err != nil {
				return err
			}
			if d := t.db.data.get(n.key); d != nil && t.opts.Isolation == kv.Snapshot && t.readTS != 0 && d.val[len(d.val)-1].ts > t.readTS {
				return kv.ErrWriteConflict
			}
		}
		if w := n.val[0]; w.ins {
			if d := t.db.data.get(n.key); d != nil && d.val[len(d.val)-1].value != nil {
				return fmt.Errorf("kvtest: insert over an existing key: %w", kv.ErrRetry)
			}
		}
	}
	ts := t.db.now + 1
	if t.before != 0 && ts >= t.before {
		return kv.ErrRetry
	}
	t.db.now = ts
	for n := t.writes.head.next[0]; n != nil; n = n.next[0] {
		if len(n.val) > 0 {
			d := t.db.data.upsert(n.key)
			d.val = append(d.val, version{ts: ts, value: n.val[len(n.val)-1].value})
		}
	}
	return nil
}

// Rollback implements kv.Txn.
func (t *Txn) Rollback(context.Context) {
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	if !t.done {
		t.done = true
		t.db.release(t)
	}
}

// CommitBefore implements kv.Txn.
func (t *Txn) CommitBefore(ts truetime.Timestamp) {
	if t.before == 0 || ts < t.before {
		t.before = ts
	}
}

// ReadTimestamp implements kv.Txn.
func (t *Txn) ReadTimestamp() truetime.Timestamp { return t.readTS }

// Age implements kv.Txn.
func (t *Txn) Age() truetime.Timestamp { return t.age }

// Stats implements kv.Txn.
func (t *Txn) Stats() kv.Stats {
	s := t.stats
	if s.LocalReads > 0 || len(t.log) > 0 {
		s.Ranges = 1
	}
	return s
}

// scanner reads one pair per step; each step sees the transaction's writes so far beyond its position.
type scanner struct {
	t     *Txn
	span  kv.Span
	opts  kv.ScanOptions
	pos   []byte // last key returned
	begun bool
	kv    kv.KeyValue
	err   error
}

func (s *scanner) Next(ctx context.Context) bool {
	if s.err != nil {
		return false
	}
	s.t.db.mu.Lock()
	defer s.t.db.mu.Unlock()
	for {
		key := s.nextKey()
		if key == nil {
			return false
		}
		s.pos, s.begun = key, true
		v, skipped, err := s.t.read(ctx, key, s.opts.Lock, s.opts.Wait)
		if err != nil {
			s.err = err
			return false
		}
		if v == nil || skipped {
			continue
		}
		s.kv = kv.KeyValue{Key: key, Value: v}
		return true
	}
}

// nextKey merges the keys of the database with those of the write buffer.
func (s *scanner) nextKey() []byte {
	var a, b []byte
	if s.opts.Reverse {
		bound := s.span.End
		if s.begun {
			bound = s.pos
		}
		if n := s.t.db.data.before(bound); n != nil {
			a = n.key
		}
		if n := s.t.writes.before(bound); n != nil {
			b = n.key
		}
		if a == nil || (b != nil && bytes.Compare(b, a) > 0) {
			a = b
		}
		if a == nil || bytes.Compare(a, s.span.Start) < 0 {
			return nil
		}
		return a
	}
	from := s.span.Start
	if s.begun {
		from = append(bytes.Clone(s.pos), 0)
	}
	if n := s.t.db.data.seek(from, nil); n != nil {
		a = n.key
	}
	if n := s.t.writes.seek(from, nil); n != nil {
		b = n.key
	}
	if a == nil || (b != nil && bytes.Compare(b, a) < 0) {
		a = b
	}
	if a == nil || bytes.Compare(a, s.span.End) >= 0 {
		return nil
	}
	return a
}

func (s *scanner) Pair() kv.KeyValue { return s.kv }
func (s *scanner) Err() error        { return s.err }
func (s *scanner) Close()            {}

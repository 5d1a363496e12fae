package kvtest

import (
	"context"
	"fmt"
	"sync"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// DB is the in-memory database.
type DB struct {
	// Programs runs what scans bring along, nil leaves the pairs as they are. To be set before the first transaction.
	Programs kv.Programs

	mu        sync.Mutex
	released  sync.Cond // broadcast whenever locks are released
	data      *list[[]version]
	locks     map[string]*lock
	threshold truetime.Timestamp // of Diffs
	now       truetime.Timestamp // the newest commit; every commit and begin advances it
}

// version is one committed value; a nil value is a tombstone. Versions of a key are in commit order.
type version struct {
	ts    truetime.Timestamp
	value []byte
}

// lock is held exclusively by owner, or shared by sharers.
type lock struct {
	owner   *Txn
	sharers map[*Txn]struct{}
}

// New returns an empty database.
func New() *DB {
	db := &DB{data: newList[[]version](), locks: map[string]*lock{}, now: 1}
	db.released.L = &db.mu
	return db
}

// Begin implements kv.DB.
func (db *DB) Begin(_ context.Context, opts kv.TxnOptions) (kv.Txn, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.now++
	t := &Txn{db: db, opts: opts, age: opts.Age, writes: newList[[]write]()}
	if t.age == 0 {
		t.age = db.now
	}
	if opts.ReadOnly {
		t.readTS = db.now
		switch opts.Staleness.Kind {
		case kv.ReadTimestamp:
			t.readTS = opts.Staleness.At
		case kv.ExactStaleness, kv.MaxStaleness:
			t.readTS = db.now - truetime.Timestamp(opts.Staleness.Age)
		}
	}
	return t, nil
}

// valueAt returns the newest value at or below ts, nil for none, and its timestamp.
func valueAt(vs []version, ts truetime.Timestamp) ([]byte, truetime.Timestamp) {
	for i := len(vs) - 1; i >= 0; i-- {
		if vs[i].ts <= ts {
			return vs[i].value, vs[i].ts
		}
	}
	return nil, 0
}

// acquire takes a lock for t, waiting for older holders and wounding younger ones. db.mu is held.
// It returns false for a key that WaitSkipLocked leaves out.
func (db *DB) acquire(ctx context.Context, t *Txn, key []byte, mode kv.LockMode, wait kv.WaitPolicy) (bool, error) {
	if t.lockTimeout > 0 && wait == kv.WaitBlock {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t.lockTimeout, fmt.Errorf("%w: %w", kv.ErrLockNotAvailable, kv.ErrLockTimeout))
		defer cancel()
	}
	for {
		if err := t.check(); err != nil {
			return false, err
		}
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		l := db.locks[string(key)]
		if l == nil {
			l = &lock{sharers: map[*Txn]struct{}{}}
			db.locks[string(key)] = l
		}
		var holders []*Txn
		if l.owner != nil && l.owner != t {
			holders = append(holders, l.owner)
		}
		if mode == kv.LockExclusive {
			for s := range l.sharers {
				if s != t {
					holders = append(holders, s)
				}
			}
		}
		if len(holders) == 0 {
			if mode == kv.LockExclusive {
				l.owner = t
			} else {
				l.sharers[t] = struct{}{}
			}
			t.locked[string(key)] = mode
			return true, nil
		}
		switch wait {
		case kv.WaitError:
			return false, kv.ErrLockNotAvailable
		case kv.WaitSkipLocked:
			return false, nil
		}
		wounded := false
		for _, h := range holders {
			if t.age < h.age {
				h.aborted = true
				db.release(h)
				wounded = true
			}
		}
		if wounded {
			continue
		}
		stop := context.AfterFunc(ctx, db.released.Broadcast)
		db.released.Wait()
		stop()
	}
}

// release drops every lock of t. db.mu is held.
func (db *DB) release(t *Txn) {
	for k := range t.locked {
		if l := db.locks[k]; l != nil {
			if l.owner == t {
				l.owner = nil
			}
			delete(l.sharers, t)
			if l.owner == nil && len(l.sharers) == 0 {
				delete(db.locks, k)
			}
		}
	}
	t.locked = nil
	db.released.Broadcast()
}

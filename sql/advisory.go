package sql

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// Advisory locks are locks on keys of their own (0x02 'A' database(4) class(1) number(8)) in the ordinary lock
// tables, so that they hold for the whole cluster. Each key that a session has locked is held by a kv
// transaction that does nothing else. It cannot be the client's transaction, because session locks outlive
// that, and because a holder must never be wounded for a waiter: a waiter therefore gives up its place in the
// queue, and takes it again, before the patience of wound-wait (a second) ends.

const (
	advisoryWait = 400 * time.Millisecond // one stay in a queue
	advisoryPoll = 50 * time.Millisecond  // between attempts to turn a shared lock into an exclusive one
)

// advisoryKey names a lock: one number of 64 bits (class 1) or two of 32 (class 2).
type advisoryKey struct {
	class  byte
	number uint64
}

// advisoryMode is a way to hold a lock; a session may hold one in several ways, each any number of times.
type advisoryMode uint8

const (
	advisoryShared advisoryMode = iota
	advisoryExclusive
	advisoryXactShared // released with the transaction
	advisoryXactExclusive
	advisoryModes
)

func (m advisoryMode) exclusive() bool { return m == advisoryExclusive || m == advisoryXactExclusive }

// advisoryLock is a key that the session holds.
type advisoryLock struct {
	tx        kv.Txn
	exclusive bool // tx holds it so; it is not weakened before all is released
	held      [advisoryModes]int
}

func (l *advisoryLock) free() bool { return l.held == [advisoryModes]int{} }

// advisoryChange is a change of a session lock by a statement that may have to be run again.
type advisoryChange struct {
	key   advisoryKey
	mode  advisoryMode
	delta int
}

func (s *Session) advisoryBytes(k advisoryKey) []byte {
	b := append(make([]byte, 0, 15), 0x02, 'A')
	b = binary.BigEndian.AppendUint32(b, s.databaseID)
	return binary.BigEndian.AppendUint64(append(b, k.class), k.number)
}

// lockAdvisory takes a lock; without wait it reports false when another session is in the way.
func (s *Session) lockAdvisory(ctx context.Context, k advisoryKey, mode advisoryMode, wait bool) (bool, error) {
	l := s.advisory[k]
	if l == nil || mode.exclusive() && !l.exclusive {
		tx, err := s.acquireAdvisory(ctx, k, l, mode.exclusive(), wait)
		if tx == nil || err != nil {
			return false, err
		}
		if l == nil {
			l = &advisoryLock{tx: tx}
			if s.advisory == nil {
				s.advisory = map[advisoryKey]*advisoryLock{}
			}
			s.advisory[k] = l
		}
		l.exclusive = mode.exclusive()
	}
	l.held[mode]++
	s.txn.advisory = append(s.txn.advisory, advisoryChange{k, mode, 1})
	return true, nil
}

// acquireAdvisory gets the lock itself, for held's transaction when the key is held already.
func (s *Session) acquireAdvisory(ctx context.Context, k advisoryKey, held *advisoryLock, exclusive, wait bool) (kv.Txn, error) {
	key, lock := s.advisoryBytes(k), kv.LockShared
	if exclusive {
		lock = kv.LockExclusive
	}
	deadline, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.lockTimeout > 0 {
		timer := time.AfterFunc(s.lockTimeout, cancel)
		defer timer.Stop()
	}
	var tx kv.Txn
	if held != nil {
		tx = held.tx
	}
	for {
		if tx == nil {
			var err error
			if tx, err = s.srv.cfg.DB.Begin(ctx, kv.TxnOptions{Name: "advisory lock"}); err != nil {
				return nil, err
			}
		}
		policy := kv.WaitError
		if wait && held == nil {
			policy = kv.WaitBlock
			tx.SetLockTimeout(advisoryWait)
		}
		_, err := tx.Get(deadline, key, lock, policy)
		if err == nil {
			return tx, nil
		}
		if held == nil {
			tx.Rollback(context.WithoutCancel(ctx))
			tx = nil
		} else if retryable(err) {
			return nil, s.lostAdvisory()
		}
		switch {
		case ctx.Err() != nil:
			return nil, err
		case deadline.Err() != nil:
			return nil, pgerr.New(pgerr.LockNotAvailable, "canceling statement due to lock timeout")
		case errors.Is(err, kv.ErrLockNotAvailable) && !wait:
			return nil, nil
		case errors.Is(err, kv.ErrLockNotAvailable) && held != nil:
			select {
			case <-time.After(advisoryPoll):
			case <-deadline.Done():
			}
		case !errors.Is(err, kv.ErrLockNotAvailable) && !retryable(err):
			return nil, err
		}
	}
}

// unlockAdvisory releases a session lock once, and reports false when it is not held in that mode.
func (s *Session) unlockAdvisory(ctx context.Context, k advisoryKey, mode advisoryMode) bool {
	l := s.advisory[k]
	if l == nil || l.held[mode] == 0 {
		s.warn(pgerr.Warning, "you don't own a lock of type %s", [...]string{"ShareLock", "ExclusiveLock"}[mode])
		return false
	}
	l.held[mode]--
	s.txn.advisory = append(s.txn.advisory, advisoryChange{k, mode, -1})
	s.freeAdvisory(ctx, k, l)
	return true
}

func (s *Session) freeAdvisory(ctx context.Context, k advisoryKey, l *advisoryLock) {
	if l.free() {
		l.tx.Rollback(context.WithoutCancel(ctx))
		delete(s.advisory, k)
	}
}

// releaseXactLocks releases what the transaction holds, at its end.
func (s *Session) releaseXactLocks(ctx context.Context) {
	for k, l := range s.advisory {
		if l.held[advisoryXactShared]+l.held[advisoryXactExclusive] > 0 {
			l.held[advisoryXactShared], l.held[advisoryXactExclusive] = 0, 0
			s.freeAdvisory(ctx, k, l)
		}
	}
}

// releaseSessionLocks releases what pg_advisory_unlock_all does.
func (s *Session) releaseSessionLocks(ctx context.Context) {
	for k, l := range s.advisory {
		l.held[advisoryShared], l.held[advisoryExclusive] = 0, 0
		s.freeAdvisory(ctx, k, l)
	}
}

// undoAdvisory takes back what statements did that are about to be run again: for them it must be as if they
// had not run. A lock given up meanwhile cannot be had back for certain, so its release stays.
func (s *Session) undoAdvisory(ctx context.Context) {
	for _, c := range s.txn.advisory {
		if l := s.advisory[c.key]; l != nil && c.delta > 0 && l.held[c.mode] > 0 {
			l.held[c.mode]--
			s.freeAdvisory(ctx, c.key, l)
		}
	}
	s.txn.advisory = s.txn.advisory[:0]
}

// checkAdvisory fails when a lock is gone: with the leader that kept it, or because this node was silent for so
// long that it counted as dead. What the lock protects must not be committed then.
func (s *Session) checkAdvisory(ctx context.Context) error {
	for _, l := range s.advisory {
		if err := l.tx.Step(ctx); err != nil && retryable(err) {
			return s.lostAdvisory()
		}
	}
	return nil
}

// lostAdvisory ends the session, as nothing less tells the client that a lock it has relied on is gone.
func (s *Session) lostAdvisory() error {
	return pgerr.New(pgerr.AdminShutdown, "terminating connection because an advisory lock was lost").
		WithDetail("The node that kept the lock failed, or this one could not be reached for seconds.").
		WithSeverity(pgerr.SeverityFatal)
}

// advisoryArgs reads a lock's name from a function's arguments.
func advisoryArgs(args []types.Datum) advisoryKey {
	if len(args) == 2 {
		return advisoryKey{class: 2, number: uint64(uint32(args[0].Int()))<<32 | uint64(uint32(args[1].Int()))}
	}
	return advisoryKey{class: 1, number: uint64(args[0].Int())}
}

func advisoryLockFunc(mode advisoryMode) builtin.EvalFunc {
	return onSession(func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		_, err := s.lockAdvisory(ctx, advisoryArgs(args), mode, true)
		return types.NewString(""), err
	})
}

func advisoryTryFunc(mode advisoryMode) builtin.EvalFunc {
	return onSession(func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		ok, err := s.lockAdvisory(ctx, advisoryArgs(args), mode, false)
		return types.NewBool(ok), err
	})
}

func advisoryUnlockFunc(mode advisoryMode) builtin.EvalFunc {
	return onSession(func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		return types.NewBool(s.unlockAdvisory(ctx, advisoryArgs(args), mode)), nil
	})
}

// advisoryFunctions are the SQL functions about advisory locks.
var advisoryFunctions = map[string]builtin.EvalFunc{
	"pg_advisory_lock":                 advisoryLockFunc(advisoryExclusive),
	"pg_advisory_lock_shared":          advisoryLockFunc(advisoryShared),
	"pg_advisory_xact_lock":            advisoryLockFunc(advisoryXactExclusive),
	"pg_advisory_xact_lock_shared":     advisoryLockFunc(advisoryXactShared),
	"pg_try_advisory_lock":             advisoryTryFunc(advisoryExclusive),
	"pg_try_advisory_lock_shared":      advisoryTryFunc(advisoryShared),
	"pg_try_advisory_xact_lock":        advisoryTryFunc(advisoryXactExclusive),
	"pg_try_advisory_xact_lock_shared": advisoryTryFunc(advisoryXactShared),
	"pg_advisory_unlock":               advisoryUnlockFunc(advisoryExclusive),
	"pg_advisory_unlock_shared":        advisoryUnlockFunc(advisoryShared),
	"pg_advisory_unlock_all": onSession(func(s *Session, ctx context.Context, _ []types.Datum) (types.Datum, error) {
		s.releaseSessionLocks(ctx)
		return types.NewString(""), nil
	}),
}

package sql

import (
	"context"
	"errors"
	"slices"

	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// A transaction that an older one wounded has lost its locks and must start again. The client has seen the
// answers to its earlier statements, so they cannot simply be dropped; but if the same statements, run
// again, answer byte for byte the same, then the history the client has seen is also the history of the
// new attempt, and the client need not know. replayLog keeps what that takes: the statements of the block
// so far with a digest of each answer. When an answer differs the client gets the 40001 that it would have
// got anyway.
type replayLog struct {
	entries []replayEntry
	size    int  // of the kept parameters, in bytes
	off     bool // the block did something that cannot be repeated unseen
}

type replayEntry struct {
	st      *statement
	params  []types.Datum
	formats []int16
	descr   bool // the answer began with a row description
	digest  uint64
}

const (
	maxReplayStatements = 128
	maxReplayBytes      = 256 << 10
)

func (l *replayLog) reset() {
	clear(l.entries)
	l.entries, l.size, l.off = l.entries[:0], 0, false
}

// stop gives up replaying for the rest of the block.
func (l *replayLog) stop() {
	l.reset()
	l.off = true
}

// add notes a statement that has run in the block.
func (l *replayLog) add(st *statement, params []types.Datum, formats []int16, describe bool, digest uint64) {
	if l.off {
		return
	}
	for _, p := range params {
		l.size += 24
		if k := p.Kind(); k == types.KindString || k == types.KindBytes {
			l.size += len(p.Bytes())
		}
	}
	if len(l.entries) >= maxReplayStatements || l.size > maxReplayBytes {
		l.stop()
		return
	}
	// The parameters' slice is reused by the next Bind, what they point to is not.
	l.entries = append(l.entries, replayEntry{st, slices.Clone(params), slices.Clone(formats), describe, digest})
}

// errReplayDiverged says that a statement answered differently the second time.
var errReplayDiverged = errors.New("sql: replayed statement answered differently")

// retryBlock runs the statements of a block again after cause, a retryable error, ended the attempt. nil:
// the block is where it was, in a new kv transaction. Otherwise the block has failed with cause.
func (s *Session) retryBlock(ctx context.Context, cause error) error {
	t := &s.txn
	if t.kv != nil {
		t.age = t.kv.Age()
	}
	s.rollbackKV(ctx)
	s.cost.retries++
	if t.replay.off || t.iso == kv.Snapshot && errors.Is(cause, kv.ErrWriteConflict) {
		// Snapshot isolation promises the client that its snapshot was the state it changed; a new
		// snapshot would break that silently.
		t.dead = true
		return cause
	}
	for {
		if t.catalog != nil {
			// The new attempt takes the current version and makes its own changes again.
			t.catalog.Release(false)
			t.catalog = nil
		}
		t.deferred.RollbackTo(exec.DeferredMark{})
		t.notify = notifyState{} // pg_notify() is called again
		s.undoAdvisory(ctx)
		if t.attempts++; t.attempts > s.maxRetries {
			t.dead = true
			return cause
		}
		err := s.replayOnce(ctx)
		if err == nil {
			s.srv.metrics.replays.Inc()
			return nil
		}
		if errors.Is(err, errReplayDiverged) {
			s.srv.metrics.diverged.Inc()
		}
		if t.kv != nil {
			t.age = t.kv.Age()
		}
		s.rollbackKV(ctx)
		if !retryable(err) {
			t.dead = true
			if errors.Is(err, errReplayDiverged) || ctx.Err() == nil {
				return cause
			}
			return err
		}
	}
}

// replayOnce repeats the block's statements and compares their answers.
func (s *Session) replayOnce(ctx context.Context) error {
	for i := range s.txn.replay.entries {
		e := &s.txn.replay.entries[i]
		s.describing = e.descr
		s.out.BeginDigest(true)
		var err error
		if isPlanned(e.st.node) {
			err = s.runPlanned(ctx, e.st, e.params, e.formats)
		} else {
			var tag string
			if tag, err = s.executeDDL(ctx, e.st, e.params); err == nil {
				s.out.Complete(tag)
			}
		}
		digest := s.out.EndDigest()
		if err != nil {
			return err
		}
		if digest != e.digest {
			return errReplayDiverged
		}
	}
	return nil
}

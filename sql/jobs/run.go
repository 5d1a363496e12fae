package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// Run is one node's work on a job. Its methods may be called by several goroutines of the handler.
type Run struct {
	r      *Registry
	id     uint64
	epoch  uint64
	ctx    context.Context // ends with the lease, with a request, and with the registry
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed when this node has stopped working on the job

	renewing chan struct{} // holds a token while a renewal or checkpoint is stored: one at a time

	mu     sync.Mutex
	rec    Record
	until  truetime.Timestamp
	stored time.Time // when the last checkpoint was stored
	shown  Progress
}

// The causes for which a run ends early.
var (
	errPause = errors.New("jobs: paused")
	// ErrCanceled is what Checkpoint, and the context of Resume, say when the job is to be undone.
	ErrCanceled = errors.New("jobs: canceled")
	// ErrLost reports that the lease has gone to another node: nothing more must be done.
	ErrLost = errors.New("jobs: another node has the job")
)

// ID is the job's id.
func (x *Run) ID() uint64 { return x.id }

// Record returns the job as it was when it was last read or stored.
func (x *Run) Record() Record {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.rec
}

// Payload decodes what is to be done, Checkpoint's counterpart State how far it is; false when there is no checkpoint.
func (x *Run) Payload(into any) error { return json.Unmarshal(x.Record().Payload, into) }

// State decodes the last checkpoint and reports whether there is one.
func (x *Run) State(into any) (bool, error) {
	b := x.Record().Checkpoint
	if len(b) == 0 {
		return false, nil
	}
	return true, json.Unmarshal(b, into)
}

// Until is the end of the lease: what is written on behalf of the job must commit before it.
func (x *Run) Until() truetime.Timestamp {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.until
}

func (x *Run) progress() Progress {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.shown
}

// Show sets the progress that is shown, and stored with the next checkpoint.
func (x *Run) Show(p Progress) {
	x.mu.Lock()
	x.shown = p
	x.mu.Unlock()
}

// checkpointEvery is the least time between two checkpoints that are stored.
const checkpointEvery = time.Second

// Checkpoint notes how far the work is: whoever resumes it will find state. It is stored at most once a second unless
// force is set, so work may be repeated. An error means that the work must stop.
func (x *Run) Checkpoint(ctx context.Context, state any, force bool) error {
	if err := context.Cause(x.ctx); err != nil {
		return err
	}
	x.mu.Lock()
	due := force || time.Since(x.stored) >= checkpointEvery
	x.mu.Unlock()
	if !due {
		return nil
	}
	b, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("jobs: checkpoint: %w", err)
	}
	err = x.update(ctx, func(rec *Record) { rec.Checkpoint = b })
	if err == nil {
		x.mu.Lock()
		x.stored = time.Now()
		x.mu.Unlock()
	}
	return err
}

// CheckpointIn stores a checkpoint within tx, together with whatever else tx does: both are done, or neither. The run
// learns of it with the next renewal.
func (x *Run) CheckpointIn(ctx context.Context, tx kv.Txn, state any) error {
	b, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("jobs: checkpoint: %w", err)
	}
	rec, err := get(ctx, tx, x.id, kv.LockExclusive)
	if err != nil {
		return err
	}
	if rec.Epoch != x.epoch || rec.State.Final() {
		return ErrLost
	}
	rec.Checkpoint = b
	return put(tx, rec)
}

// renew extends the lease and acts on requests.
func (x *Run) renew(ctx context.Context) error { return x.update(ctx, func(*Record) {}) }

// update changes the record, if it is still this run's, and extends the lease.
func (x *Run) update(ctx context.Context, change func(*Record)) error {
	select {
	case x.renewing <- struct{}{}:
		defer func() { <-x.renewing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var rec *Record
	err := x.r.txn(ctx, func(tx kv.Txn) (err error) {
		if rec, err = get(ctx, tx, x.id, kv.LockExclusive); err != nil {
			return err
		}
		if rec.Epoch != x.epoch || rec.State.Final() {
			return ErrLost
		}
		rec.Until = x.r.cfg.Clock.Now().Latest.Add(x.r.cfg.Lease)
		rec.Progress = x.progress()
		change(rec)
		return put(tx, rec)
	})
	switch {
	case errors.Is(err, ErrLost), errors.Is(err, ErrNotFound):
		x.cancel(ErrLost)
		return ErrLost
	case err != nil:
		return err
	}
	x.mu.Lock()
	x.rec, x.until = *rec, rec.Until
	x.mu.Unlock()
	if rec.State == Running {
		switch rec.Request {
		case "pause":
			x.cancel(errPause)
			return errPause
		case "cancel":
			x.cancel(ErrCanceled)
			return ErrCanceled
		}
	}
	return nil
}

// release gives the lease back: the job may be adopted at once.
func (x *Run) release(ctx context.Context) error {
	return x.r.txn(ctx, func(tx kv.Txn) error {
		rec, err := get(ctx, tx, x.id, kv.LockExclusive)
		if err != nil || rec.Epoch != x.epoch || rec.State.Final() || rec.State == Paused {
			return err
		}
		rec.Until = 0
		return put(tx, rec)
	})
}

// main works on the job until it ends, is paused, or is another node's.
func (x *Run) main() {
	defer close(x.ended)
	defer x.cancel(nil)
	if !x.retry(x.ctx, "begin", func() error { return x.renew(x.ctx) }) && x.Record().Kind == "" {
		return // not read: it is another node's, or the registry ends
	}
	var renewal sync.WaitGroup
	renewal.Add(1)
	// The renewal outlives a request to stop: the lease holds until the outcome is stored.
	bg, stop := context.WithCancel(x.r.bg)
	defer renewal.Wait()
	defer stop()
	go func() {
		defer renewal.Done()
		x.renewLoop(bg)
	}()
	rec := x.Record()
	h := x.r.handlers[rec.Kind]
	log := x.r.cfg.Log.With("job", x.id, "kind", rec.Kind)
	if rec.State == Running && rec.Request != "cancel" {
		var result any
		var err error
		done := context.Cause(x.ctx) == nil &&
			x.retry(x.ctx, "run", func() error { result, err = h.Resume(x.ctx, x); return err })
		cause := context.Cause(x.ctx)
		switch {
		case x.r.bg.Err() != nil || cause == ErrLost:
			return
		case done:
			x.finish(bg, func(rec *Record) {
				rec.State, rec.Fraction, rec.Request = Succeeded, 1, ""
				if result != nil {
					rec.Result, _ = json.Marshal(result)
				}
			})
			return
		case cause == errPause:
			x.finish(bg, func(rec *Record) {
				if rec.State == Running {
					rec.State, rec.Request, rec.Until = Paused, "", 0
				}
			})
			return
		case cause != ErrCanceled:
			log.Warn("job failed", "err", err)
		}
		failure := err
		if cause == ErrCanceled {
			failure = nil
		}
		if !x.finish(bg, func(rec *Record) {
			rec.State = Reverting
			if failure != nil {
				rec.Code, rec.Error, rec.ErrorDetail, rec.Hint = x.r.cfg.Describe(failure)
			}
		}) {
			return
		}
	} else if rec.State == Running {
		if !x.finish(bg, func(rec *Record) { rec.State = Reverting }) {
			return
		}
	}
	// Undoing is not interrupted by requests; only the end of the registry or of the lease ends it.
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		err := h.Revert(bg, x)
		if err == nil {
			break
		}
		log.Warn("job cannot be undone yet", "err", err)
		if !sleep(bg, pause) || context.Cause(x.ctx) == ErrLost {
			return
		}
	}
	x.finish(bg, func(rec *Record) {
		if rec.State, rec.Request = Failed, ""; rec.Error == "" {
			rec.State = Canceled
		}
	})
}

// retry repeats f while its errors are transient, until ctx ends, and reports whether it succeeded.
func (x *Run) retry(ctx context.Context, what string, f func() error) bool {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := f()
		if err == nil {
			return true
		}
		if ctx.Err() != nil || !transient(err) {
			return false
		}
		x.r.cfg.Log.Warn("job is held up", "job", x.id, "doing", what, "err", err)
		if !sleep(ctx, pause) {
			return false
		}
		if err := x.renew(ctx); err != nil && !transient(err) {
			return false // otherwise the record is what the database has, whatever the outcome of the attempt was
		}
	}
}

// transient reports whether trying again later may help, whatever the job.
func transient(err error) bool {
	return errors.Is(err, kv.ErrUnavailable) || errors.Is(err, kv.ErrClock) || errors.Is(err, kv.ErrAmbiguous) || errors.Is(err, kv.ErrRetry)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// finish stores an outcome; false when the job is not this run's any more.
func (x *Run) finish(ctx context.Context, change func(*Record)) bool {
	ended := false
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := x.update(ctx, func(rec *Record) {
			if change(rec); rec.State.Final() {
				rec.Finished = x.r.cfg.Clock.Now().Latest
				ended = true
			}
		})
		if err == nil || errors.Is(err, errPause) || errors.Is(err, ErrCanceled) {
			if ended {
				if err := x.r.trim(ctx); err != nil && ctx.Err() == nil {
					x.r.cfg.Log.Info("records of ended jobs are not dropped", "err", err)
				}
			}
			return true
		}
		if errors.Is(err, ErrLost) || !sleep(ctx, pause) {
			return false
		}
	}
}

// renewLoop keeps the lease. When it cannot be kept the work ends before the lease does.
func (x *Run) renewLoop(ctx context.Context) {
	for sleep(ctx, x.r.cfg.Renew) {
		err := x.renew(ctx)
		switch {
		case errors.Is(err, ErrLost):
			return
		case err != nil && ctx.Err() == nil:
			x.r.cfg.Log.Warn("the lease of a job is not renewed", "job", x.id, "err", err)
			if x.r.cfg.Clock.Now().Latest > x.Until() {
				x.cancel(ErrLost)
				return
			}
		}
	}
}

package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// Clock is the part of TrueTime that leases need.
type Clock interface{ Now() truetime.Interval }

// Config configures a Registry. A zero field takes the default named in its comment.
type Config struct {
	DB    kv.DB         // Required.
	Clock Clock         // Required.
	Node  uint64        // Required: this node's id.
	Lease time.Duration // How long a job of a dead node waits at most, and Adopt more. Default 15s.
	Renew time.Duration // How often an owner renews its lease, and looks for requests. Default 2s.
	Adopt time.Duration // How often a node looks for jobs without an owner. Default 10s.
	// Keep is how many records of ended jobs are kept. Default 200.
	Keep int
	Log  *slog.Logger // Default: discards.
	// Describe returns the SQLSTATE of an error, and what it says. Default: what it says.
	Describe func(error) (code, message, detail, hint string)
}

// Handler does the work of one kind of jobs.
type Handler interface {
	// Resume works until the job is done, from its last checkpoint on. Every error but those of Run.Checkpoint and of
	// ctx, and those that kv calls transient, is the job's failure. The result is stored with the job.
	Resume(ctx context.Context, run *Run) (result any, err error)
	// Revert undoes what Resume and the job's creation did, after a failure or a request. It is repeated until it
	// succeeds, on another node if need be.
	Revert(ctx context.Context, run *Run) error
}

// Registry creates jobs and runs those that this node owns. It is safe for concurrent use.
type Registry struct {
	cfg      Config
	handlers map[string]Handler

	mu      sync.Mutex
	runs    map[uint64]*Run
	stopped bool

	bg   context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// New returns a Registry that does nothing yet.
func New(cfg Config) (*Registry, error) {
	if cfg.DB == nil || cfg.Clock == nil || cfg.Node == 0 {
		return nil, errors.New("jobs: Config.DB, Clock and Node are required")
	}
	cfg.Lease = cmp.Or(cfg.Lease, 15*time.Second)
	cfg.Renew = cmp.Or(cfg.Renew, 2*time.Second)
	cfg.Adopt = cmp.Or(cfg.Adopt, 10*time.Second)
	cfg.Keep = cmp.Or(cfg.Keep, 200)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Describe == nil {
		cfg.Describe = func(err error) (code, message, detail, hint string) { return "", err.Error(), "", "" }
	}
	r := &Registry{cfg: cfg, handlers: map[string]Handler{}, runs: map[uint64]*Run{}}
	r.bg, r.stop = context.WithCancel(context.Background())
	return r, nil
}

// Handle names the handler of a kind, before Start.
func (r *Registry) Handle(kind string, h Handler) { r.handlers[kind] = h }

// Start begins to look for jobs without an owner.
func (r *Registry) Start() {
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		r.adoptLoop()
	}()
}

// Stop ends this node's runs, gives their leases back as far as ctx allows, and waits. Other nodes adopt the jobs. It
// may be called again.
func (r *Registry) Stop(ctx context.Context) {
	r.mu.Lock()
	first := !r.stopped
	r.stopped = true
	runs := make([]*Run, 0, len(r.runs))
	for _, run := range r.runs {
		runs = append(runs, run)
	}
	r.mu.Unlock()
	r.stop()
	r.wg.Wait()
	if !first || ctx.Err() != nil {
		return
	}
	for _, run := range runs {
		if err := run.release(ctx); err != nil {
			r.cfg.Log.Info("the lease of a job is not given back", "job", run.id, "err", err)
		}
	}
}

// Create writes a job within tx: nothing exists until tx commits, after which the caller calls Launch on this node. A
// node that dies in between leaves a job that others adopt. payload becomes JSON.
func (r *Registry) Create(ctx context.Context, tx kv.Txn, rec Record, payload any) (uint64, error) {
	if r.handlers[rec.Kind] == nil {
		return 0, fmt.Errorf("jobs: unknown kind %q", rec.Kind)
	}
	b, err := json.Marshal(payload)
	if err != nil {
		return 0, fmt.Errorf("jobs: payload: %w", err)
	}
	if rec.ID, err = nextID(ctx, tx); err != nil {
		return 0, err
	}
	now := r.cfg.Clock.Now().Latest
	rec.Payload, rec.State, rec.Created = b, Running, now
	rec.Node, rec.Epoch, rec.Until = r.cfg.Node, 1, now.Add(r.cfg.Lease)
	return rec.ID, put(tx, &rec)
}

// CreateAlone creates a job in a transaction of its own and launches it.
func (r *Registry) CreateAlone(ctx context.Context, rec Record, payload any) (id uint64, err error) {
	err = r.txn(ctx, func(tx kv.Txn) error {
		id, err = r.Create(ctx, tx, rec, payload)
		return err
	})
	if err == nil {
		r.Launch(id)
	}
	return id, err
}

// Launch runs a job that was created on this node, now that it is committed.
func (r *Registry) Launch(id uint64) { r.launch(id, 1) }

func (r *Registry) launch(id, epoch uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped || r.runs[id] != nil {
		return
	}
	run := &Run{renewing: make(chan struct{}, 1), r: r, id: id, epoch: epoch, ended: make(chan struct{})}
	run.ctx, run.cancel = context.WithCancelCause(r.bg)
	r.runs[id] = run
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		run.main()
		if r.bg.Err() == nil {
			r.mu.Lock()
			delete(r.runs, id)
			r.mu.Unlock()
		}
	}()
}

// txn runs f in transactions until one commits.
func (r *Registry) txn(ctx context.Context, f func(tx kv.Txn) error) error {
	age := truetime.Timestamp(0)
	for attempt := 0; ; attempt++ {
		err := func() error {
			tx, err := r.cfg.DB.Begin(ctx, kv.TxnOptions{Name: "job", Age: age})
			if err != nil {
				return err
			}
			defer tx.Rollback(ctx)
			age = tx.Age()
			if err := f(tx); err != nil {
				return err
			}
			_, err = tx.Commit(ctx)
			return err
		}()
		if err == nil || attempt >= 100 || !errors.Is(err, kv.ErrRetry) && !errors.Is(err, kv.ErrWriteConflict) || ctx.Err() != nil {
			return err
		}
	}
}

// Get returns a job.
func (r *Registry) Get(ctx context.Context, id uint64) (*Record, error) {
	tx, err := r.cfg.DB.Begin(ctx, kv.TxnOptions{ReadOnly: true, OneShot: true, Name: "jobs"})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx)
	return get(ctx, tx, id, kv.LockNone)
}

// List returns all jobs that are known, in the order of their ids.
func (r *Registry) List(ctx context.Context) ([]*Record, error) {
	var out []*Record
	err := scan(ctx, r.cfg.DB, recordSpan, func(id uint64, b []byte) error {
		rec, err := decode(id, b)
		out = append(out, rec)
		return err
	})
	if err != nil {
		return nil, err
	}
	// What runs here is shown as it is, not as it was at its last checkpoint.
	for _, rec := range out {
		r.mu.Lock()
		run := r.runs[rec.ID]
		r.mu.Unlock()
		if run != nil && !rec.State.Final() {
			rec.Progress = run.progress()
		}
	}
	return out, nil
}

// Wait waits until a job has ended, or is paused, wherever it runs, and returns it.
func (r *Registry) Wait(ctx context.Context, id uint64) (*Record, error) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, r.cfg.Renew) {
		r.mu.Lock()
		run := r.runs[id]
		r.mu.Unlock()
		var ended chan struct{}
		if run != nil {
			ended, pause = run.ended, time.Minute
		}
		t := time.NewTimer(pause)
		select {
		case <-ended:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
		t.Stop()
		if r.bg.Err() != nil {
			return nil, fmt.Errorf("%w: the node is stopping, job %d goes on elsewhere", kv.ErrUnavailable, id)
		}
		rec, err := r.Get(ctx, id)
		if err != nil || rec.State.Final() || rec.State == Paused {
			return rec, err
		}
	}
}

// StateError reports that a job cannot be paused, resumed or canceled in the state it is in.
type StateError struct {
	ID     uint64
	State  State
	Action string
}

func (e *StateError) Error() string {
	return fmt.Sprintf("job %d is %s and cannot be %s", e.ID, e.State, e.Action)
}

// Pause asks for a job to be paused. Pausing a paused job is no error.
func (r *Registry) Pause(ctx context.Context, id uint64) error {
	return r.request(ctx, id, func(rec *Record) error {
		switch {
		case rec.State == Running && rec.Request != "cancel":
			rec.Request = "pause"
		case rec.State != Paused:
			return &StateError{id, rec.State, "paused"}
		}
		return nil
	})
}

// Resume lets a paused job go on, on whichever node adopts it first.
func (r *Registry) Resume(ctx context.Context, id uint64) error {
	err := r.request(ctx, id, func(rec *Record) error {
		switch {
		case rec.State == Paused:
			rec.State, rec.Until, rec.Request = Running, 0, ""
		case rec.State == Running && rec.Request == "pause":
			rec.Request = ""
		case rec.State != Running:
			return &StateError{id, rec.State, "resumed"}
		}
		return nil
	})
	if err == nil {
		r.adopt(ctx, id) // here and now rather than within Config.Adopt; whoever is first has it
	}
	return err
}

// Cancel asks for a job to be undone.
func (r *Registry) Cancel(ctx context.Context, id uint64) error {
	err := r.request(ctx, id, func(rec *Record) error {
		switch rec.State {
		case Running:
			rec.Request = "cancel"
		case Paused:
			rec.State, rec.Request, rec.Until = Reverting, "cancel", 0
		case Reverting, Canceled:
		default:
			return &StateError{id, rec.State, "canceled"}
		}
		return nil
	})
	if err == nil {
		r.adopt(ctx, id)
	}
	return err
}

func (r *Registry) request(ctx context.Context, id uint64, change func(*Record) error) error {
	err := r.txn(ctx, func(tx kv.Txn) error {
		rec, err := get(ctx, tx, id, kv.LockExclusive)
		if err != nil {
			return err
		}
		if err := change(rec); err != nil {
			return err
		}
		return put(tx, rec)
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	run := r.runs[id]
	r.mu.Unlock()
	if run != nil {
		if err := run.renew(ctx); !errors.Is(err, errPause) && !errors.Is(err, ErrCanceled) {
			return err
		}
	}
	return nil
}

// adoptLoop looks for jobs whose owner is gone.
func (r *Registry) adoptLoop() {
	t := time.NewTicker(r.cfg.Adopt)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-r.bg.Done():
			return
		}
		if err := r.AdoptAll(r.bg); err != nil && r.bg.Err() == nil {
			r.cfg.Log.Warn("cannot look for jobs without an owner", "err", err)
		}
	}
}

// AdoptAll takes every job whose owner's lease has ended. The registry does so by itself.
func (r *Registry) AdoptAll(ctx context.Context) error {
	var ids []uint64
	if err := scan(ctx, r.cfg.DB, activeSpan, func(id uint64, _ []byte) error { ids = append(ids, id); return nil }); err != nil {
		return err
	}
	for _, id := range ids {
		r.adopt(ctx, id)
	}
	return nil
}

// adopt takes a job that has no owner, or whose owner's lease has certainly ended.
func (r *Registry) adopt(ctx context.Context, id uint64) {
	r.mu.Lock()
	mine := r.runs[id] != nil
	r.mu.Unlock()
	if mine {
		return
	}
	rec, err := r.Get(ctx, id) // without a lock first: nearly always somebody has it
	if err != nil || !r.free(rec) {
		return
	}
	err = r.txn(ctx, func(tx kv.Txn) error {
		if rec, err = get(ctx, tx, id, kv.LockExclusive); err != nil {
			return err
		}
		if !r.free(rec) {
			return errTaken
		}
		rec.Node, rec.Epoch, rec.Until = r.cfg.Node, rec.Epoch+1, r.cfg.Clock.Now().Latest.Add(r.cfg.Lease)
		return put(tx, rec)
	})
	switch {
	case err == nil:
		r.cfg.Log.Info("adopted a job", "job", id, "kind", rec.Kind, "epoch", rec.Epoch)
		r.launch(id, rec.Epoch)
	case !errors.Is(err, errTaken) && ctx.Err() == nil:
		r.cfg.Log.Warn("cannot adopt a job", "job", id, "err", err)
	}
}

var errTaken = errors.New("jobs: another node has it")

func (r *Registry) free(rec *Record) bool {
	return (rec.State == Running || rec.State == Reverting) && r.handlers[rec.Kind] != nil && rec.Until < r.cfg.Clock.Now().Earliest
}

// trim drops the records of the oldest ended jobs.
func (r *Registry) trim(ctx context.Context) error {
	var ended []uint64
	err := scan(ctx, r.cfg.DB, recordSpan, func(id uint64, b []byte) error {
		rec, err := decode(id, b)
		if err == nil && rec.State.Final() {
			ended = append(ended, id)
		}
		return err
	})
	if err != nil || len(ended) <= r.cfg.Keep {
		return err
	}
	slices.Sort(ended)
	return r.txn(ctx, func(tx kv.Txn) error {
		for _, id := range ended[:len(ended)-r.cfg.Keep] {
			if err := tx.Delete(recordKey(id)); err != nil {
				return err
			}
		}
		return nil
	})
}

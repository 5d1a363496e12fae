package ranges

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/truetime/plant"
)

// Proposal is a command for a range's log.
type Proposal struct {
	// MinTS is the least timestamp a timed proposal may get.
	MinTS truetime.Timestamp
	// Timed asks for a timestamp above every one promised so far: max(MinTS, floor+1, now.latest), or later by what
	// replication takes anyway (replication.go), below the lease's end. The entry's closed timestamp is that timestamp. An untimed proposal gets the
	// floor, and closes it.
	Timed bool
	// Start and End, when Start is set, bound the keys of the command: [Start, End) or, with an empty
	// End, Start alone. They are checked against the descriptor that will hold where the command
	// stands in the log; ErrRangeKeyMismatch otherwise.
	Start, End []byte
	// Epoch, when set, is that of the lease without which the proposal makes no sense: ErrNotReady under another.
	Epoch uint64
	// Encode returns the command. It is called once, under the replica's proposal mutex, so it must be
	// quick and must not call the replica. A nil result withdraws the proposal (ErrDropped).
	Encode func(ts truetime.Timestamp) []byte
}

// Pending is a command on its way through the log.
type Pending struct {
	id       uint64
	epoch    uint64 // the leader's term under whose lease it got its timestamp
	ts       truetime.Timestamp
	typ      pb.EntryType
	data     []byte
	proposed bool // handed to Raft; guarded by Replica.mu
	began    time.Time
	done     chan struct{}
	result   any
	err      error
	span     trace.Span // nil unless traced
}

// TS returns the command's timestamp: that of a timed proposal, else the floor when it was made.
func (p *Pending) TS() truetime.Timestamp { return p.ts }

// Done is closed when the outcome is known.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Wait waits until the command has been applied here, and returns what Machine.Apply returned. Errors:
// ErrDropped, ErrAmbiguous, ErrClosed, or ctx's, after which the outcome is as unknown as with
// ErrAmbiguous.
func (p *Pending) Wait(ctx context.Context) (result any, err error) {
	select {
	case <-p.done:
		return p.result, p.err
	default:
	}
	select {
	case <-p.done:
		return p.result, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pending holds the proposals whose outcome is not known yet.
type pending struct {
	mu    sync.Mutex
	m     map[uint64]*Pending
	bytes int64 // of their data
}

func (t *pending) add(p *Pending, limit int, limitBytes int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.m) >= limit || len(t.m) > 0 && t.bytes+int64(len(p.data)) > limitBytes {
		return false
	}
	t.bytes += int64(len(p.data))
	if t.m == nil {
		t.m = make(map[uint64]*Pending)
	}
	t.m[p.id] = p
	return true
}

// resolve tells the proposer of id, once. It returns when that was made, if it is known.
func (t *pending) resolve(id uint64, result any, err error) (began time.Time) {
	t.mu.Lock()
	p, ok := t.m[id]
	if ok {
		delete(t.m, id)
		t.bytes -= int64(len(p.data))
	}
	t.mu.Unlock()
	if ok {
		began = p.began
		p.finish(result, err)
	}
	return began
}

func (p *Pending) finish(result any, err error) {
	p.result, p.err = result, err
	if p.span != nil {
		if err != nil {
			p.span.RecordError(err)
		}
		p.span.End()
	}
	close(p.done)
}

func (t *pending) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.m)
}

// failAll tells all proposers for which f answers an error.
func (t *pending) failAll(f func(p *Pending) error) {
	t.mu.Lock()
	var out []*Pending
	var errs []error
	for id, p := range t.m {
		if err := f(p); err != nil {
			out, errs = append(out, p), append(errs, err)
			delete(t.m, id)
			t.bytes -= int64(len(p.data))
		}
	}
	t.mu.Unlock()
	for i, p := range out {
		p.finish(nil, errs[i])
	}
}

// Propose puts a command into the range's log. On success the command stands, with its timestamp, in the
// order of the log; Pending tells what becomes of it. Errors (nothing was proposed): ErrNotLeader,
// ErrLeaseExpired, ErrRangeKeyMismatch, ErrProposalTooLarge, ErrOverloaded, ErrDropped, ctx's.
func (r *Replica) Propose(ctx context.Context, prop Proposal) (*Pending, error) {
	return r.propose(ctx, prop, entryCommand, nil)
}

// propose proposes an entry of any kind. wrap, for a configuration change, puts the entry's data into the
// form that Raft reads itself.
func (r *Replica) propose(ctx context.Context, prop Proposal, kind byte, wrap func(data []byte) []byte) (*Pending, error) {
	var span trace.Span
	var sc trace.SpanContext
	if parent := trace.SpanContextFromContext(ctx); parent.IsSampled() {
		_, span = r.store.cfg.Tracer.Start(ctx, "raft.propose", trace.WithAttributes(attribute.Int64("meridian.range", int64(r.id))))
		sc = span.SpanContext()
	}
	p, step, err := r.sequence(ctx, prop, kind, wrap, sc, span)
	switch {
	case !step:
	case r.store.unsynced.Load() > 0:
		r.store.sched.push(r) // others may come along while the disk is busy
	default:
		r.store.run(r)
	}
	if err != nil {
		if span != nil {
			span.RecordError(err)
			span.End()
		}
		return nil, err
	}
	return p, nil
}

// sequence gives a command its timestamp and its place. The caller then has the replica stepped, if step says so.
func (r *Replica) sequence(ctx context.Context, prop Proposal, kind byte, wrap func([]byte) []byte, sc trace.SpanContext, span trace.Span) (p *Pending, step bool, err error) {
	r.seq.Lock()
	for r.seq.fence != nil && kind != entrySplit {
		fence := r.seq.fence
		r.seq.Unlock()
		select {
		case <-fence:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		r.seq.Lock()
	}
	defer r.seq.Unlock()
	lease, err := r.checkedLease()
	if err != nil && kind == entryThaw {
		lease, err = r.heldLease()
	}
	if err != nil {
		return nil, false, err
	}
	if prop.Epoch != 0 && prop.Epoch != lease.Epoch {
		return nil, false, fmt.Errorf("%w: the lease of %s has changed", ErrNotReady, r.id)
	}
	if prop.Start != nil && !r.Desc().ContainsSpan(prop.Start, prop.End) && !plant.On(plant.StaleRoute) {
		return nil, false, ErrRangeKeyMismatch
	}
	ts := r.seq.floor
	if prop.Timed {
		ts = max(prop.MinTS, ts.Next(), r.soonest(r.store.cfg.Clock.Now()))
		if ts >= lease.Until {
			return nil, false, ErrLeaseExpired
		}
	} else if kind == entryMerge {
		ts = max(ts, prop.MinTS)
	}
	cmd := prop.Encode(ts)
	switch {
	case cmd == nil:
		return nil, false, ErrDropped
	case len(cmd) > r.store.cfg.MaxProposalBytes:
		return nil, false, ErrProposalTooLarge
	}
	r.seq.nextID++
	h := entryHeader{
		kind: kind, proposer: r.store.cfg.NodeID, id: r.store.boot<<40 | r.seq.nextID,
		closed: ts, span: sc, payload: cmd,
	}
	p = &Pending{id: h.id, epoch: lease.Epoch, ts: ts, began: time.Now(), done: make(chan struct{}), span: span}
	p.data = h.encode()
	if wrap != nil {
		p.typ, p.data = pb.EntryConfChangeV2, wrap(p.data)
	}
	if !r.pend.add(p, r.store.cfg.MaxPending, r.store.cfg.MaxPendingBytes) {
		return nil, false, ErrOverloaded
	}
	r.seq.floor, r.seq.told = ts, ts
	switch kind {
	case entrySplit:
		r.seq.fence = make(chan struct{})
	case entryFreeze:
		if r.store.cfg.TestNoFreeze {
			break
		}
		r.holdLease() // what has been promised is at most ts, and the entry closes it
	}
	r.pos.proposed()
	r.inbox.mu.Lock()
	r.inbox.props = append(r.inbox.props, p)
	step = !r.inbox.queued
	r.inbox.queued = true
	r.inbox.mu.Unlock()
	return p, step, nil
}

// liftFence lets proposals pass again after a split has been applied or has failed.
func (r *Replica) liftFence() {
	r.seq.Lock()
	if r.seq.fence != nil {
		close(r.seq.fence)
		r.seq.fence = nil
	}
	r.seq.Unlock()
}

// BumpFloor promises that no later timed proposal gets a timestamp <= ts. The caller may then answer
// reads at ts. It fails when the lease does not reach past ts.
func (r *Replica) BumpFloor(ts truetime.Timestamp) error {
	r.seq.Lock()
	defer r.seq.Unlock()
	lease, err := r.checkedLease()
	if err != nil {
		return err
	}
	if ts >= lease.Until {
		return ErrLeaseExpired
	}
	r.seq.floor = max(r.seq.floor, ts)
	return nil
}

// checkedLease returns the lease if this replica may use it now.
func (r *Replica) checkedLease() (Lease, error) { return r.leaseAt(r.store.cfg.Clock.Now()) }

// leaseAt is checkedLease by a reading of the clock just taken.
func (r *Replica) leaseAt(now truetime.Interval) (Lease, error) {
	lease := r.Lease()
	if lease.Until == 0 {
		if r.leading.Load() {
			return lease, ErrLeaseExpired
		}
		return lease, &NotLeaderError{Range: r.id, Hint: r.LeaderHint()}
	}
	if now.Latest >= lease.Until {
		return lease, ErrLeaseExpired
	}
	return lease, nil
}

// ConfirmSafeTime, on the leader, promises that no later proposal gets a timestamp <= ts, and returns the
// index that a follower must have applied to answer reads at ts (its own PreparedFloor still limits it).
func (r *Replica) ConfirmSafeTime(ctx context.Context, ts truetime.Timestamp) (index uint64, err error) {
	u, err := r.closeAt(ts)
	return u.index, err
}

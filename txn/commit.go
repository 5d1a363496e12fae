package txn

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// piece is a commit's share of one range.
type piece struct {
	rt     *route
	writes []stagedWrite // by key
	staged bool          // the range holds staged writes of the transaction
}

func (p *piece) writing() bool { return len(p.writes) > 0 || p.staged }

// settleTime is what a commit takes beyond its timeout to learn what became of it.
const settleTime = 5 * time.Second

// Commit implements kv.Txn.
func (t *Txn) Commit(ctx context.Context) (truetime.Timestamp, error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	t.mu.Lock()
	touched := len(t.mu.parts) > 0
	ts := t.mu.readTS
	t.mu.Unlock()
	if t.opts.ReadOnly || (!touched && !t.stage.any && len(t.buf.entries) == 0) {
		t.finish()
		return ts, nil
	}
	if trace.SpanFromContext(ctx).IsRecording() {
		var span trace.Span
		ctx, span = t.db.tracer.Start(ctx, "txn.commit", trace.WithAttributes(
			attribute.Int("writes", len(t.buf.entries)), attribute.Bool("staged", t.stage.any)))
		defer span.End()
	}
	cctx := ctx
	if len(t.buf.entries) > 0 || t.stage.any {
		// From here on the client's cancellation does not count: half a commit is worse than a late one.
		var cancel context.CancelFunc
		cctx, cancel = context.WithTimeout(detached{t.db.stop, ctx}, t.db.cfg.CommitTimeout)
		defer cancel()
	}
	ts, commitID, err := t.commit(cctx)
	t.ground()
	if (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) && cctx != ctx && !errors.Is(err, kv.ErrAmbiguous) {
		err = wrap(kv.ErrUnavailable, "commit: "+err.Error())
	}
	t.finish()
	switch {
	case err == nil:
		t.db.metrics.Committed.Add(1)
		return ts, nil
	case errors.Is(err, kv.ErrAmbiguous):
		// To roll back now could release locks of a transaction that is committing.
		t.db.metrics.Ambiguous.Add(1)
	default:
		t.db.metrics.Aborted.Add(1)
		t.release(ctx, commitID)
	}
	return 0, err
}

// detached is a context with the values of a client's, trace included, that ends with the DB and not with the client: a
// node that shuts down waits for nobody.
type detached struct {
	context.Context // the DB's
	values          context.Context
}

// Value asks the DB's context first, so that package context finds that one when it looks for whom to be canceled by.
func (d detached) Value(key any) any {
	if v := d.Context.Value(key); v != nil {
		return v
	}
	return d.values.Value(key)
}

// commit returns the commit timestamp, zero when nothing was written, and the id of the last attempt.
func (t *Txn) commit(ctx context.Context) (truetime.Timestamp, []byte, error) {
	if t.buf.bytes > 4*t.db.cfg.StageBytes {
		if err := t.flush(ctx); err != nil {
			return 0, nil, err
		}
	}
	if err := t.land(ctx, nil, nil); err != nil {
		return 0, nil, err
	}
	retry := t.db.newRetry()
	for {
		pieces, err := t.plan(ctx)
		if err != nil {
			return 0, nil, err
		}
		if !slices.ContainsFunc(pieces, func(p piece) bool { return p.writing() }) {
			return 0, nil, t.checkLocks(ctx, pieces)
		}
		id := t.db.newID(t.db.clock.Now().Latest)
		var ts truetime.Timestamp
		if len(pieces) == 1 {
			t.db.metrics.OneRange.Add(1)
			ts, err = t.commitOne(ctx, pieces[0], id)
		} else {
			t.db.metrics.TwoPhase.Add(1)
			c := twoPhase{t: t, id: id, prepared: map[ranges.RangeID]prepared{}}
			ts, err = c.run(ctx, pieces)
		}
		if errors.Is(err, errReroute) {
			// The attempt has certainly not committed, and holds nothing but its locks.
			retry.cause = "routing"
			if err := retry.wait(ctx); err != nil {
				return 0, id[:], err
			}
			continue
		}
		return ts, id[:], err
	}
}

// plan divides what the transaction has written and locked among the ranges as they are now, in key order.
func (t *Txn) plan(ctx context.Context) ([]piece, error) {
	pieces := make([]piece, 0, max(1, len(t.mu.parts)))
	find := func(rt *route) *piece {
		for i := range pieces {
			if p := &pieces[i]; p.rt.desc.ID == rt.desc.ID {
				if rt.desc.Generation > p.rt.desc.Generation {
					p.rt = rt // learned while the plan was being made
				}
				return p
			}
		}
		pieces = append(pieces, piece{rt: rt})
		return &pieces[len(pieces)-1]
	}
	var p *piece
	for _, e := range t.buf.entries {
		if p == nil || !p.rt.desc.Contains(e.key) {
			rt, err := t.db.routeFor(ctx, e.key, false)
			if err != nil {
				return nil, err
			}
			p = find(rt)
			if p.writes == nil {
				p.writes = make([]stagedWrite, 0, len(t.buf.entries))
			}
		}
		p.writes = append(p.writes, stagedWrite{e.key, &e.version})
	}
	// Requests are over by now: nothing else touches parts.
	for _, part := range t.mu.parts {
		if part.covered() {
			p := find(part.rt)
			p.staged = p.staged || part.staged
			continue
		}
		err := t.ranges(ctx, part, func(rt *route) error {
			p := find(rt)
			p.staged = p.staged || part.staged
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return pieces, nil
}

// commitRequest returns a request of the commit protocol for a piece.
func (t *Txn) commitRequest(kind txnpb.Kind, p piece, id []byte) *txnpb.BatchRequest {
	req := t.newWrite(kind, p.rt)
	req.CommitId = id
	if n := len(p.writes); n > 0 {
		req.WriteKeys, req.WriteValues = make([][]byte, 0, n), make([][]byte, 0, n)
		for _, w := range p.writes {
			addWrite(req, w.v.op, w.key, w.v.value)
		}
	}
	if t.stage.any {
		req.IgnoreFrom, req.IgnoreTo = t.stage.ignored(latestLevel)
	}
	return req
}

// commitOne commits a transaction that touches one range. errReroute: it certainly did not.
func (t *Txn) commitOne(ctx context.Context, p piece, id [16]byte) (truetime.Timestamp, error) {
	req := t.commitRequest(txnpb.Kind_COMMIT_ONE, p, id[:])
	req.MaxTs = int64(t.bound)
	resp, s, err := t.db.send(ctx, p.rt, req)
	t.account(s, req, resp)
	ts, err := t.outcome(ctx, p.rt, id, req, resp, s, err)
	if err != nil && !errors.Is(err, errReroute) {
		_ = t.noteLocks(p, resp)
	}
	return ts, err
}

// noteLocks has a rollback reach the range of a piece, whatever it has answered: it may have locked what it was asked to
// commit before it refused, or after it was given up on. Locks that nobody releases make the next transaction wait until
// they expire, and if that has no time for it, leave its own behind.
func (t *Txn) noteLocks(p piece, resp *txnpb.BatchResponse) error {
	var epoch int64
	if resp != nil {
		epoch = resp.LockEpoch
	}
	lo, hi := p.rt.desc.Start, p.rt.desc.Start
	if n := len(p.writes); n > 0 {
		lo, hi = p.writes[0].key, p.writes[n-1].key
	}
	return t.touched(p.rt, epoch, lo, hi, false, false)
}

// outcome turns the answer to a deciding request (COMMIT_ONE, DECIDE) into the commit's fate. When an attempt
// went unanswered and the last answer does not say, the deciding range is asked.
func (t *Txn) outcome(ctx context.Context, rt *route, id [16]byte, req *txnpb.BatchRequest, resp *txnpb.BatchResponse, s sent, err error) (truetime.Timestamp, error) {
	if err == nil && resp.Error == txnpb.ErrorCode_OK {
		if resp.Outcome == txnpb.Outcome_OUTCOME_ABORTED {
			return 0, &reasonError{kv.ErrRetry, ErrAborted, ""}
		}
		return timestamp(resp.CommitTs), nil
	}
	final := err
	if err == nil {
		final = responseError(req, resp)
	}
	if !s.maybe || (err == nil && resp.Error == txnpb.ErrorCode_ABORTED) {
		return 0, final
	}
	ts, committed, qerr := t.settle(ctx, rt, id)
	switch {
	case qerr != nil:
		return 0, &AmbiguousError{CommitID: id, Cause: final}
	case committed:
		return ts, nil
	case fatal(final) || errors.Is(final, errReroute):
		return 0, final
	}
	// It is decided against now, whatever went wrong before.
	return 0, &reasonError{kv.ErrRetry, ErrAborted, final.Error()}
}

// settle learns the outcome of a commit from the range that decides it; if there is none yet, it becomes
// aborted (I8).
func (t *Txn) settle(ctx context.Context, rt *route, id [16]byte) (ts truetime.Timestamp, committed bool, err error) {
	// The commit's own time may be up; what it needs is an answer.
	ctx, cancel := context.WithTimeout(detached{t.db.stop, ctx}, settleTime)
	defer cancel()
	req := &txnpb.BatchRequest{
		Kind: txnpb.Kind_QUERY, TxnId: t.id[:], Age: int64(t.age), Gateway: int32(t.db.cfg.NodeID),
		CommitId: id[:], AbortIfUndecided: true,
	}
	for n := 1; ; n++ {
		resp, err := t.db.SendToRange(ctx, int64(rt.desc.ID), rt.desc.Start, req)
		if err != nil {
			return 0, false, err
		}
		if resp.Error == txnpb.ErrorCode_OK || resp.Error == txnpb.ErrorCode_ABORTED {
			switch resp.Outcome {
			case txnpb.Outcome_OUTCOME_COMMITTED:
				return timestamp(resp.CommitTs), true, nil
			case txnpb.Outcome_OUTCOME_ABORTED:
				return 0, false, nil
			}
		}
		if err := t.db.pause(ctx, n); err != nil {
			return 0, false, err
		}
	}
}

// checkLocks ends a transaction without writes: if every range still holds its locks, there was a moment,
// after the last read, at which all were held, and the transaction is serialized there.
func (t *Txn) checkLocks(ctx context.Context, pieces []piece) error {
	if t.bound != 0 && t.db.clock.Now().Latest >= t.bound {
		return &reasonError{kv.ErrRetry, ErrTooLate, ""}
	}
	id := t.db.newID(t.db.clock.Now().Latest)
	return parallel(len(pieces), func(i int) error {
		req := t.commitRequest(txnpb.Kind_COMMIT_ONE, pieces[i], id[:])
		resp, s, err := t.db.send(ctx, pieces[i].rt, req)
		t.account(s, req, resp)
		if errors.Is(err, errReroute) {
			// Split since the plan was made. Nothing was written, so to run it again costs little.
			return &reasonError{kv.ErrRetry, ErrLockLost, "range split"}
		}
		if err != nil {
			return err
		}
		return responseError(req, resp)
	})
}

// twoPhase is one attempt to commit over several ranges.
type twoPhase struct {
	t  *Txn
	id [16]byte

	coord    *route // of the range that decides: its id and start key stay what they are
	mu       sync.Mutex
	prepared map[ranges.RangeID]prepared
}

// prepared is a participant's promise.
type prepared struct {
	start, end []byte // the range, as it was when the piece was cut that it has prepared
	ts         truetime.Timestamp
	readOnly   bool
	validUntil truetime.Timestamp // of its locks that are not on record; zero: all are
}

// renewMargin is for how much longer a promise has to hold when the decision is sent, or it is renewed first.
const renewMargin = 500 * time.Millisecond

// lapses reports whether the promise may end before the decision is made.
func (p prepared) lapses(now truetime.Timestamp) bool {
	return p.validUntil != 0 && p.validUntil < now.Add(renewMargin)
}

// lapses reports whether a promise does.
func (c *twoPhase) lapses() bool {
	now := c.t.db.clock.Now().Latest
	for _, p := range c.prepared {
		if p.lapses(now) {
			return true
		}
	}
	return false
}

func (c *twoPhase) run(ctx context.Context, pieces []piece) (truetime.Timestamp, error) {
	c.choose(pieces)
	retry := c.t.db.newRetry()
	for {
		err := c.prepare(ctx, pieces)
		if err == nil && c.lapses() {
			err = c.prepare(ctx, pieces) // a participant took that long
		}
		if err == nil {
			var ts truetime.Timestamp
			if ts, err = c.decide(ctx, pieces); !errors.Is(err, errReroute) {
				return ts, err
			}
		}
		if !errors.Is(err, errReroute) {
			return 0, err
		}
		// Some range was split, merged or replaced. Those that are prepared have not been merged: that waits for them,
		// and one that has been merged refuses a gateway that does not know it (prepare looks all the same, as a
		// promise to a reader goes with its lease, and holds nothing up after that). So the same commit goes on with a
		// new plan for the rest.
		retry.cause = "routing"
		if err := retry.wait(ctx); err != nil {
			return 0, err
		}
		if pieces, err = c.t.plan(ctx); err != nil {
			return 0, err
		}
	}
}

// choose picks the coordinator: a range that is written to, led by this node if there is one, with the most
// writes: its own writes need no PREPARE.
func (c *twoPhase) choose(pieces []piece) {
	rank := func(p piece) int {
		r := len(p.writes)
		if p.staged {
			r += 1 << 10
		}
		if p.writing() {
			r += 1 << 20
		}
		if ranges.NodeID(p.rt.leader.Load()) == c.t.db.cfg.NodeID {
			r += 1 << 19
		}
		return r
	}
	c.coord = slices.MaxFunc(pieces, func(a, b piece) int { return cmp.Compare(rank(a), rank(b)) }).rt
}

// prepare sends PREPARE to every range but the coordinator that has not answered one yet, and once more to those whose
// promise is about to lapse: it is renewed if the leader still holds the locks.
func (c *twoPhase) prepare(ctx context.Context, pieces []piece) error {
	var todo []piece
	now := c.t.db.clock.Now().Latest
	for _, p := range pieces {
		d := p.rt.desc
		switch was, ok := c.prepared[d.ID]; {
		case d.ID == c.coord.desc.ID:
		case !ok:
			todo = append(todo, p)
		case bytes.Compare(d.Start, was.start) < 0 || bytes.Compare(was.end, d.End) < 0:
			// It holds more than it did, of which it has prepared nothing; and it prepares once.
			return &reasonError{kv.ErrRetry, ErrAborted, fmt.Sprintf("range %d has absorbed another since it prepared", d.ID)}
		case was.lapses(now):
			todo = append(todo, p)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	return parallel(len(todo), func(i int) error {
		p := todo[i]
		req := c.t.commitRequest(txnpb.Kind_PREPARE, p, c.id[:])
		req.CoordinatorRange, req.CoordinatorKey = int64(c.coord.desc.ID), c.coord.desc.Start
		resp, s, err := c.t.db.send(ctx, p.rt, req)
		c.t.account(s, req, resp)
		if !errors.Is(err, errReroute) {
			if terr := c.t.noteLocks(p, resp); err == nil {
				err = terr
			}
		}
		if err == nil {
			err = responseError(req, resp)
		}
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.prepared[p.rt.desc.ID] = prepared{
			start: p.rt.desc.Start, end: p.rt.desc.End, ts: timestamp(resp.PrepareTs),
			readOnly: resp.ReadOnly, validUntil: timestamp(resp.ValidUntil),
		}
		c.mu.Unlock()
		return nil
	})
}

// decide sends DECIDE to the coordinator range, once all others are prepared.
func (c *twoPhase) decide(ctx context.Context, pieces []piece) (truetime.Timestamp, error) {
	own := piece{rt: c.coord}
	if i := slices.IndexFunc(pieces, func(p piece) bool { return p.rt.desc.ID == c.coord.desc.ID }); i >= 0 {
		own = pieces[i]
	} else if c.coord.stale.Load() {
		rt, err := c.t.db.routeFor(ctx, c.coord.desc.Start, false)
		if err != nil {
			return 0, err
		}
		if rt.desc.ID != c.coord.desc.ID {
			// The participants would look for the decision where they were told to; so nothing is decided elsewhere.
			return 0, &reasonError{kv.ErrRetry, ErrAborted, fmt.Sprintf("coordinator range %d was merged", c.coord.desc.ID)}
		}
		own.rt = rt
	}
	req := c.t.commitRequest(txnpb.Kind_DECIDE, own, c.id[:])
	req.CoordinatorRange, req.CoordinatorKey = int64(c.coord.desc.ID), c.coord.desc.Start
	maxTS := c.t.bound
	ids := make([]ranges.RangeID, 0, len(c.prepared))
	for id := range c.prepared {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	req.ParticipantReadOnly = make([]byte, 0, len(ids))
	for _, id := range ids {
		p := c.prepared[id]
		req.ParticipantRanges = append(req.ParticipantRanges, int64(id))
		req.ParticipantKeys = append(req.ParticipantKeys, p.start)
		var ro byte
		if p.readOnly {
			ro = 1
		} else {
			req.MinTs = max(req.MinTs, int64(p.ts))
		}
		if p.validUntil != 0 && (maxTS == 0 || p.validUntil < maxTS) {
			maxTS = p.validUntil
		}
		req.ParticipantReadOnly = append(req.ParticipantReadOnly, ro)
	}
	req.MaxTs = int64(maxTS)
	resp, s, err := c.t.db.send(ctx, own.rt, req)
	c.t.account(s, req, resp)
	ts, err := c.t.outcome(ctx, c.coord, c.id, req, resp, s, err)
	if err != nil && !errors.Is(err, errReroute) {
		_ = c.t.noteLocks(own, resp)
	}
	if errors.Is(err, errReroute) && s.maybe {
		// Settled as aborted: this commit id is used up, and the participants' promises with it.
		return 0, &reasonError{kv.ErrRetry, ErrAborted, "coordinator range split"}
	}
	return ts, err
}

package participant

import (
	"context"
	"errors"
	"slices"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/locktable"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// inLog is a commit or prepare whose command has been proposed. Its steps are run by the request's goroutine;
// should the request be canceled, by one of the server's. Each step is done once.
type inLog struct {
	m       *Machine
	l       *leadership
	x       *locktable.Txn
	cmd     command
	at      attempt
	pending Pending
	ts      truetime.Timestamp

	applied bool // the command is applied here
	waited  bool // its commit wait is over
}

// errTooLate answers a commit that could have no timestamp below max_ts.
var errTooLate = &Error{Code: txnpb.ErrorCode_COMMIT_TOO_LATE, Msg: "no commit timestamp below the bound can be had any more"}

// commit serves COMMIT_ONE and DECIDE.
func (m *Machine) commit(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	l, err := m.leader()
	if err != nil {
		return err
	}
	commit := CommitID(req.CommitId)
	if req.Kind == txnpb.Kind_COMMIT_ONE && len(req.WriteKeys) == 0 {
		if m.stagedHead(req) == nil && !l.attempted(commit) {
			// Nothing to write, so nothing that an earlier attempt could have logged, unless what was staged
			// is gone because it has committed: then the lock table entry has gone with it.
			return m.commitReadOnly(ctx, l, req, resp)
		}
	}
	t := &inLog{m: m, l: l}
	at := &t.at
	if ok, err := m.beginAttempt(ctx, l, commit, at, resp); !ok {
		return err
	}
	ended := false
	defer func() {
		if !ended {
			l.endAttempt(commit, at)
		}
	}()
	if !contains(m.rep.Desc(), req) {
		return errMismatch
	}
	if err := m.srv.cfg.Clock.Health(); err != nil {
		return &Error{Code: txnpb.ErrorCode_CLOCK, Msg: err.Error()}
	}
	x, err := l.begin(req, resp)
	if err != nil {
		return err
	}
	t.x = x
	if err := l.checkKnown(req); err != nil {
		return err
	}
	head := m.stagedHead(req)
	lk := m.locking(l, x, req, resp)
	lk.at = at
	if err := lk.lockWrites(ctx); err != nil {
		return err
	}
	writes := writesOf(req)
	decide := req.Kind == txnpb.Kind_DECIDE
	if req.MaxTs != 0 && m.now() >= truetime.Timestamp(req.MaxTs) {
		return errTooLate
	}
	c := &t.cmd
	*c = command{
		kind: cmdCommit, commit: commit, txn: x.ID, age: x.Age, gateway: x.Gateway, token: x.Token,
		staged: head != nil, writes: writes,
	}
	if decide {
		c.kind, c.parts = cmdDecide, targetsOf(req)
	}
	if c.staged {
		c.ignore = ignoreOf(req)
	}
	if err := l.enter(ctx, gateAll); err != nil {
		return err
	}
	// The gate may have held us while a split went by.
	if err := m.stillHere(l, req); err != nil {
		l.exit()
		return err
	}
	began := time.Now()
	minTS := max(truetime.Timestamp(req.MinTs), m.now())
	if err := l.table.BeginCommit(x, locktable.Committing, minTS); err != nil {
		l.exit()
		return err
	}
	if err := l.startLogging(at); err != nil {
		l.table.Reopen(x)
		l.exit()
		return err
	}
	if err := t.propose(ctx, minTS, truetime.Timestamp(req.MaxTs), writes); err != nil {
		l.table.Reopen(x)
		l.exit()
		return err
	}
	ended = true       // t does it
	resp.LockEpoch = 0 // the entry ends with the commit
	err = t.run(ctx, func(stage time.Time) { resp.Replication = int64(stage.Sub(began)) })
	if err == errDetached {
		m.srv.spawn(func() { _ = t.run(l.ctx, nil) })
		return err
	}
	if err != nil {
		return err
	}
	resp.CommitWait = int64(time.Since(began)) - resp.Replication
	resp.Outcome, resp.CommitTs = txnpb.Outcome_OUTCOME_COMMITTED, int64(t.ts)
	return nil
}

// commitReadOnly ends a transaction that wrote nothing: it is serializable now, if every lock it ever took is
// still held. The lease is looked at last, for only under it the table's word counts.
func (m *Machine) commitReadOnly(ctx context.Context, l *leadership, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	x, err := l.table.Begin(TxnID(req.TxnId), req.Age, req.Gateway, req.LockEpoch, req.AbsorbedLockEpochs...)
	if errors.Is(err, locktable.ErrLockLost) {
		// A large transaction whose answer was lost looks like this, too.
		if known, kerr := m.knownOutcome(ctx, CommitID(req.CommitId), false, resp); known || kerr != nil {
			return kerr
		}
	}
	if err != nil {
		return err
	}
	if err := l.checkKnown(req); err != nil {
		return err
	}
	if s := x.State(); s != locktable.Active {
		// Handed over by another leader while it was committing, for all we know.
		if known, kerr := m.knownOutcome(ctx, CommitID(req.CommitId), false, resp); known || kerr != nil {
			return kerr
		}
		return locktable.ErrLockLost
	}
	if now, err := m.leader(); err != nil {
		return err
	} else if now != l {
		return m.notLeader()
	}
	l.end(x)
	resp.Outcome = txnpb.Outcome_OUTCOME_COMMITTED
	return nil
}

// attempted reports whether the commit attempt is in progress.
func (l *leadership) attempted(commit CommitID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.attempts[commit] != nil
}

// checkKnown refuses a commit by a gateway whose descriptor is too old for it to have sent all that belongs here.
//
//   - After a split: some of the locks that the transaction holds may be in the other half, which must then take part.
//   - After a merge a PREPARE may be a part of what the range now has to promise, as the gateway takes the absorbed range
//     for another participant: it would be told that the range is gone, and find this one prepared. What is decided here
//     alone, or decided last, has been sent whole by then (COMMIT_ONE, DECIDE).
func (l *leadership) checkKnown(req *txnpb.BatchRequest) error {
	if req.DescGeneration == 0 {
		return nil
	}
	gen := uint64(req.DescGeneration)
	l.mu.Lock()
	split, merged := gen < l.splitGen, gen < l.mergeGen
	l.mu.Unlock()
	if split && req.LockEpoch != 0 || merged && req.Kind == txnpb.Kind_PREPARE {
		return errStaleRoute
	}
	return nil
}

func (m *Machine) stillHere(l *leadership, req *txnpb.BatchRequest) error {
	if !contains(m.rep.Desc(), req) {
		return errMismatch
	}
	return l.checkKnown(req)
}

// propose hands the command to the log. The timestamp is chosen there, in log order.
func (t *inLog) propose(ctx context.Context, minTS, maxTS truetime.Timestamp, writes writeSet) error {
	c := &t.cmd
	start, end := writes.bounds()
	tooLate := false
	p := ranges.Proposal{
		MinTS: minTS, Timed: true, Start: start, End: end, Epoch: t.l.lease.Epoch,
		Encode: func(ts truetime.Timestamp) []byte {
			c.ts = ts
			if maxTS != 0 && ts >= maxTS {
				tooLate = true
				return nil // withdrawn: nothing is logged
			}
			return c.encode(make([]byte, 0, c.sizeHint()))
		},
	}
	pending, err := t.m.rep.Propose(ctx, p)
	if tooLate {
		return errTooLate
	}
	if err != nil {
		return err
	}
	t.pending, t.ts = pending, pending.TS()
	t.l.table.SetTimestamp(t.x, t.ts)
	return nil
}

// run waits until the commit is applied and its timestamp has passed, releases the locks and starts what
// follows. Commit wait overlaps replication: both began when the timestamp was chosen (I6, I7).
func (t *inLog) run(ctx context.Context, onApplied func(time.Time)) error {
	m, l := t.m, t.l
	if !t.applied {
		_, err := t.pending.Wait(ctx)
		if err != nil {
			if ctx.Err() != nil && !errors.Is(err, ranges.ErrDropped) {
				return t.detach(ctx)
			}
			l.exit()
			l.endAttempt(t.cmd.commit, &t.at)
			if errors.Is(err, ranges.ErrDropped) {
				l.table.Reopen(t.x)
				return err
			}
			// Nobody knows. The locks stay until this leadership ends, which is what made it ambiguous.
			return &Error{Code: txnpb.ErrorCode_AMBIGUOUS, Msg: err.Error()}
		}
		t.applied = true
		l.exit()
		if t.cmd.kind == cmdDecide {
			m.srv.metrics.decide.Inc()
			m.push(l, t.cmd.commit, decision{txn: t.x.ID, ts: t.ts, parts: t.cmd.parts})
		} else {
			m.srv.metrics.commitOne.Inc()
		}
	}
	if onApplied != nil {
		onApplied(time.Now())
	}
	if !t.waited {
		if err := m.commitWait(ctx, t.ts); err != nil {
			return t.detach(ctx)
		}
		t.waited = true
	}
	l.finished(t.ts)
	l.end(t.x)
	l.endAttempt(t.cmd.commit, &t.at)
	return nil
}

// detach leaves the rest to a goroutine of the server, unless the leadership is over.
func (t *inLog) detach(ctx context.Context) error {
	if t.l.ctx.Err() != nil {
		if !t.applied {
			t.l.exit()
		}
		t.l.endAttempt(t.cmd.commit, &t.at)
		return &Error{Code: txnpb.ErrorCode_AMBIGUOUS, Msg: "leader lost its lease"}
	}
	return errDetached
}

// commitWait waits until ts has passed everywhere.
func (m *Machine) commitWait(ctx context.Context, ts truetime.Timestamp) error {
	clock := m.srv.cfg.Clock
	if m.srv.cfg.TestNoCommitWait || clock.Now().After(ts) {
		m.srv.metrics.commitWait.Observe(0)
		return nil
	}
	if end := m.srv.phase(ctx, "commit wait"); end != nil {
		defer end()
	}
	began := time.Now()
	err := clock.WaitAfter(ctx, ts)
	m.srv.metrics.commitWait.Observe(time.Since(began).Seconds())
	return err
}

// prepare serves PREPARE.
func (m *Machine) prepare(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	l, err := m.leader()
	if err != nil {
		return err
	}
	commit := CommitID(req.CommitId)
	t := &inLog{m: m, l: l}
	at := &t.at
	if ok, err := m.beginAttempt(ctx, l, commit, at, resp); !ok {
		return err
	}
	ended := false
	defer func() {
		if !ended {
			l.endAttempt(commit, at)
		}
	}()
	if done, err := m.preparedAlready(l, req, resp); done || err != nil {
		return err
	}
	if !contains(m.rep.Desc(), req) {
		return errMismatch
	}
	if err := m.srv.cfg.Clock.Health(); err != nil {
		return &Error{Code: txnpb.ErrorCode_CLOCK, Msg: err.Error()}
	}
	x, err := l.begin(req, resp)
	if err != nil {
		return err
	}
	if err := l.checkKnown(req); err != nil {
		return err
	}
	head := m.stagedHead(req)
	lk := m.locking(l, x, req, resp)
	lk.at = at
	if err := lk.lockWrites(ctx); err != nil {
		return err
	}
	if err := l.enter(ctx, gatePrepares); err != nil {
		return err
	}
	if err := m.stillHere(l, req); err != nil {
		l.exit()
		return err
	}
	p := &part{commit: commit, coord: target{id: ranges.RangeID(req.CoordinatorRange), key: slices.Clone(req.CoordinatorKey)}}
	x.Payload = p
	writes := writesOf(req)
	p.readOnly = writes.len() == 0 && head == nil
	if p.readOnly || head != nil || !l.table.HoldsOnly(x, writes.len()) {
		if _, err := m.promise(l, p); err != nil {
			l.exit()
			return err
		}
	}
	minTS := m.now()
	if err := l.table.BeginCommit(x, locktable.Prepared, minTS); err != nil {
		l.exit()
		return err
	}
	if p.readOnly {
		// There is nothing to log.
		l.exit()
		m.srv.metrics.preparesRO.Inc()
		resp.ReadOnly, resp.ValidUntil = true, int64(m.renew(l, p))
		return nil
	}
	t.x = x
	t.cmd = command{
		kind: cmdPrepare, commit: commit, txn: x.ID, age: x.Age, gateway: x.Gateway, token: x.Token,
		coordRange: p.coord.id, coordKey: p.coord.key, staged: head != nil, writes: writes,
	}
	if head != nil {
		t.cmd.ignore = ignoreOf(req)
	}
	if err := l.startLogging(at); err != nil {
		l.table.Reopen(x)
		l.exit()
		return err
	}
	began := time.Now()
	if err := t.propose(ctx, minTS, truetime.Timestamp(req.MaxTs), writes); err != nil {
		l.table.Reopen(x)
		l.exit()
		return err
	}
	ended = true
	err = t.runPrepare(ctx)
	if err == errDetached {
		m.srv.spawn(func() { _ = t.runPrepare(l.ctx) })
		return err
	}
	if err != nil {
		return err
	}
	resp.Replication = int64(time.Since(began))
	resp.PrepareTs, resp.ValidUntil = int64(t.ts), int64(m.renew(l, p))
	m.srv.metrics.prepares.Inc()
	return nil
}

// runPrepare waits until the prepare is applied. Its locks then stay until RESOLVE.
func (t *inLog) runPrepare(ctx context.Context) error {
	l := t.l
	_, err := t.pending.Wait(ctx)
	if err != nil && ctx.Err() != nil && !errors.Is(err, ranges.ErrDropped) {
		return t.detach(ctx)
	}
	t.applied = true
	l.exit()
	l.endAttempt(t.cmd.commit, &t.at)
	switch {
	case errors.Is(err, ranges.ErrDropped):
		l.table.Reopen(t.x)
		return err
	case err != nil:
		return &Error{Code: txnpb.ErrorCode_AMBIGUOUS, Msg: err.Error()}
	}
	return nil
}

// preparedAlready answers a repeated PREPARE.
func (m *Machine) preparedAlready(l *leadership, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) (bool, error) {
	commit := CommitID(req.CommitId)
	id := TxnID(req.TxnId)
	m.mu.RLock()
	rec := m.state.records[id]
	m.mu.RUnlock()
	if rec != nil {
		if rec.cmd.commit != commit {
			return true, invalid("transaction is prepared for another commit")
		}
		resp.PrepareTs = int64(rec.cmd.ts)
		var p *part
		if x := l.table.Lookup(id); x != nil {
			p, _ = x.Payload.(*part)
		}
		switch {
		case p != nil && !p.restored:
			resp.ValidUntil = int64(m.renew(l, p))
		case req.LockEpoch != 0:
			// It had locks here before it was prepared. Whether they are all on record the record does not tell.
			return true, locktable.ErrLockLost
		}
		return true, nil
	}
	x := l.table.Lookup(id)
	if x == nil || x.State() != locktable.Prepared {
		return false, nil
	}
	if p, _ := x.Payload.(*part); p != nil && p.commit == commit && p.readOnly {
		resp.LockEpoch = x.Token
		until := m.renew(l, p)
		if until == 0 {
			var err error // another leader's has lapsed, and the locks have come along
			if until, err = m.promise(l, p); err != nil {
				return true, err
			}
		}
		resp.ReadOnly, resp.ValidUntil = true, int64(until)
		return true, nil
	}
	return false, nil
}

// stage serves STAGE.
func (m *Machine) stage(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	l, err := m.leader()
	if err != nil {
		return err
	}
	if !contains(m.rep.Desc(), req) {
		return errMismatch
	}
	x, err := l.begin(req, resp)
	if err != nil {
		return err
	}
	lk := m.locking(l, x, req, resp)
	if err := lk.lockWrites(ctx); err != nil {
		return err
	}
	writes := writesOf(req)
	if writes.len() == 0 {
		return nil
	}
	if err := l.enter(ctx, gateAll); err != nil {
		return err
	}
	defer l.exit()
	if err := m.stillHere(l, req); err != nil {
		return err
	}
	if s := x.State(); s != locktable.Active {
		return locktable.ErrWounded
	}
	c := &command{
		kind: cmdStage, txn: x.ID, age: x.Age, gateway: x.Gateway, token: x.Token,
		seq: uint64(req.StageSeq), writes: writes,
	}
	start, end := writes.bounds()
	size := 0
	// The locks are held, so the timestamp is above all versions of the keys; and the commit's will be above it.
	pending, err := m.rep.Propose(ctx, ranges.Proposal{Timed: true, MinTS: m.now(), Start: start, End: end, Epoch: l.lease.Epoch, Encode: func(ts truetime.Timestamp) []byte {
		c.ts = ts
		b := c.encode(make([]byte, 0, c.sizeHint()))
		size = len(b)
		return b
	}})
	if err != nil {
		return err
	}
	if _, err = pending.Wait(ctx); err != nil {
		if errors.Is(err, ranges.ErrAmbiguous) || errors.Is(err, ranges.ErrClosed) {
			// Staging is idempotent, and this leader's locks are lost with its lease.
			return m.notLeader()
		}
		return err
	}
	m.srv.metrics.stagedBytes.Add(float64(size))
	return nil
}

// dropStaged removes what an aborted transaction has staged, in pieces, behind the caller's back.
func (m *Machine) dropStaged(l *leadership, id TxnID) {
	m.mu.RLock()
	head := m.state.staged[id]
	m.mu.RUnlock()
	if head == nil || !l.claim(l.dropping, id) {
		return
	}
	m.srv.spawn(func() {
		defer l.unclaim(l.dropping, id)
		for {
			if more, err := m.dropPiece(l, id); err != nil || !more {
				return
			}
		}
	})
}

// dropPiece drops a piece of what a transaction has staged, unless it is alive.
//
// Whether it is, is certain only while no merge is under way: that brings what the transaction has staged in the other
// range before its locks, and a piece dropped behind it in the log would be one of both ranges.
func (m *Machine) dropPiece(l *leadership, id TxnID) (more bool, err error) {
	if err := l.pass(l.ctx, gatePrepares, &l.drops); err != nil {
		return false, err
	}
	defer l.leave(&l.drops)
	m.mu.RLock()
	gone := m.state.staged[id] == nil || m.state.records[id] != nil
	m.mu.RUnlock()
	if x := l.table.Lookup(id); gone || x != nil && x.State() != locktable.Aborted {
		return false, nil
	}
	c := command{kind: cmdDropStaged, txn: id}
	res, err := m.loggedUnder(l.ctx, l.lease.Epoch, &c)
	a, _ := res.(applied)
	return a.more, err
}

// logged proposes an untimed command and waits for its result.
func (m *Machine) logged(ctx context.Context, c *command) (any, error) {
	return m.loggedUnder(ctx, 0, c)
}

// loggedUnder is logged for a command that makes no sense but under the lease of an epoch.
func (m *Machine) loggedUnder(ctx context.Context, epoch uint64, c *command) (any, error) {
	pending, err := m.rep.Propose(ctx, ranges.Proposal{Epoch: epoch, Encode: func(truetime.Timestamp) []byte { return c.encode(nil) }})
	if err != nil {
		return nil, err
	}
	return pending.Wait(ctx)
}

// release ends a transaction that committed here at ts. That has passed, by this node's clock as well: whatever commits
// here from now on does so above it, whether or not the lease has just run out, to come back in the same term.
func (m *Machine) release(l *leadership, id TxnID, ts truetime.Timestamp) {
	l.finished(ts)
	if x := l.table.Lookup(id); x != nil {
		l.end(x)
	}
}

// claim makes the caller the only one to recover id, or to drop what it has staged; unclaim ends that.
func (l *leadership) claim(set map[TxnID]bool, id TxnID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if set[id] {
		return false
	}
	set[id] = true
	return true
}

func (l *leadership) unclaim(set map[TxnID]bool, id TxnID) {
	l.mu.Lock()
	delete(set, id)
	l.mu.Unlock()
}

package participant

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/locktable"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// resolve serves RESOLVE at a participant.
func (m *Machine) resolve(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	l, err := m.leader()
	if err != nil {
		return err
	}
	if !contains(m.rep.Desc(), req) {
		return errMismatch // not the successor of the range that was meant
	}
	if req.Outcome != txnpb.Outcome_OUTCOME_COMMITTED && req.Outcome != txnpb.Outcome_OUTCOME_ABORTED {
		return invalid("RESOLVE without outcome")
	}
	return m.settleTxn(ctx, l, TxnID(req.TxnId), CommitID(req.CommitId), req.Outcome, truetime.Timestamp(req.CommitTs))
}

// settleTxn applies the outcome of a prepared transaction of this range and ends it.
func (m *Machine) settleTxn(ctx context.Context, l *leadership, id TxnID, commit CommitID, outcome txnpb.Outcome, ts truetime.Timestamp) error {
	// A PREPARE may still be in the log, with nobody waiting for its answer.
	if err := l.awaitAttempt(ctx, commit); err != nil {
		return err
	}
	m.mu.RLock()
	rec := m.state.records[id]
	known := rec != nil && rec.cmd.commit == commit
	m.mu.RUnlock()
	x := l.table.Lookup(id)
	committed := outcome == txnpb.Outcome_OUTCOME_COMMITTED
	if !known {
		// Nothing on record: resolved before, or prepared in memory only.
		if x == nil || x.State() != locktable.Prepared {
			return nil
		}
		p, _ := x.Payload.(*part)
		if p == nil || p.commit != commit {
			return nil
		}
		if !p.readOnly {
			// The record has gone, the locks have yet to: not before readers of the engine see why.
			if err := l.waitIdle(ctx, func() bool { return !m.isLeaving(id) }); err != nil {
				return err
			}
			if committed {
				m.endAfter(l, id, ts)
				return nil
			}
		}
		if committed {
			// What was read under these locks was read at ts: later writes must lie above. A lease that
			// does not reach ts has been outlived, and so has every promise under it.
			if err := m.rep.BumpFloor(ts); err != nil {
				return err
			}
		}
		l.end(x)
		return nil
	}
	if x != nil && committed {
		l.table.SetTimestamp(x, ts)
	}
	c := command{kind: cmdResolve, txn: id, commit: commit, outcome: outcome, ts: ts}
	if _, err := m.logged(ctx, &c); err != nil {
		return err
	}
	if !committed {
		if x != nil {
			l.end(x)
		}
		m.dropStaged(l, id)
		return nil
	}
	// Durable is enough for the coordinator to know. The locks go when the timestamp has passed (I7).
	m.endAfter(l, id, ts)
	return nil
}

// isLeaving reports whether a record of id has been removed by Apply, but not yet visibly.
func (m *Machine) isLeaving(id TxnID) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, r := range m.leaving {
		if r.cmd.txn == id {
			return true
		}
	}
	return false
}

// rollback serves ROLLBACK.
func (m *Machine) rollback(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	l, err := m.leader()
	if err != nil {
		return err
	}
	id := TxnID(req.TxnId)
	if len(req.CommitId) == 16 {
		commit := CommitID(req.CommitId)
		if err := m.settleTxn(ctx, l, id, commit, txnpb.Outcome_OUTCOME_ABORTED, 0); err != nil {
			return err
		}
	}
	if x := l.table.Lookup(id); x != nil {
		switch x.State() {
		case locktable.Active, locktable.Aborted:
			l.end(x)
		case locktable.Prepared:
			if len(req.CommitId) == 0 {
				return invalid("ROLLBACK of a prepared transaction without commit id")
			}
		case locktable.Committing:
			return &Error{Code: txnpb.ErrorCode_AMBIGUOUS, Msg: "commit is in the log"}
		}
	}
	m.dropStaged(l, id)
	return nil
}

// query serves QUERY at a coordinator range.
func (m *Machine) query(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	l, err := m.leader()
	if err != nil {
		return err
	}
	if !contains(m.rep.Desc(), req) {
		return errMismatch // not the successor of the range that was meant
	}
	commit := CommitID(req.CommitId)
	if req.AbortIfUndecided {
		return m.abortUndecided(ctx, l, commit, req.FromParticipant, resp)
	}
	l.mu.Lock()
	at := l.attempts[commit]
	l.mu.Unlock()
	if at != nil {
		return nil // undecided
	}
	_, err = m.knownOutcome(ctx, commit, req.FromParticipant, resp)
	return ignoreAborted(err, resp)
}

// abortUndecided decides an undecided commit to be aborted (I8) and answers what the decision is. An attempt
// that still waits for locks is overtaken; one that is in the log is waited for.
func (m *Machine) abortUndecided(ctx context.Context, l *leadership, commit CommitID, forParticipant bool, resp *txnpb.BatchResponse) error {
	own := &attempt{logging: true}
	for {
		l.mu.Lock()
		at := l.attempts[commit]
		if at == nil {
			l.seen.add(commit, m.now)
			l.attempts[commit] = own // whoever tries the same commit from now on waits for this
			l.mu.Unlock()
			break
		}
		at.cutLocked()
		done := at.doneLocked()
		l.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ctx.Done():
			return m.notLeader()
		}
	}
	known, err := m.knownOutcome(ctx, commit, forParticipant, resp)
	if err != nil || known {
		l.endAttempt(commit, own)
		return ignoreAborted(err, resp)
	}
	// Not under ctx: once it is in the log nobody may try this commit before it is applied. Whoever asks need not wait for
	// that: a leader that has been cut off does, until its lease ends.
	var res any
	done := make(chan struct{})
	m.srv.spawn(func() {
		defer close(done)
		defer l.endAttempt(commit, own)
		c := command{kind: cmdAbort, commit: commit}
		res, err = m.logged(l.ctx, &c)
	})
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ctx.Done():
		return m.notLeader()
	}
	if err != nil {
		return err
	}
	a, _ := res.(applied)
	resp.Outcome, resp.CommitTs = a.outcome, int64(a.ts)
	if a.outcome == txnpb.Outcome_OUTCOME_ABORTED {
		m.srv.metrics.aborts.Inc()
	}
	return nil
}

// ignoreAborted turns the refusal "aborted" into the answer of a QUERY.
func ignoreAborted(err error, resp *txnpb.BatchResponse) error {
	var e *Error
	if errors.As(err, &e) && e.Code == txnpb.ErrorCode_ABORTED {
		resp.Outcome = txnpb.Outcome_OUTCOME_ABORTED
		return nil
	}
	return err
}

// push tells every participant of a decision its outcome, until each has acknowledged. The read-only ones,
// whose locks live in memory only, hear it once or ask themselves.
func (m *Machine) push(l *leadership, commit CommitID, d decision) {
	if len(d.parts) == 0 {
		return
	}
	l.mu.Lock()
	if l.pushing[commit] {
		l.mu.Unlock()
		return
	}
	l.pushing[commit] = true
	l.mu.Unlock()
	left := new(atomic.Int64)
	left.Store(int64(len(d.parts)))
	for _, p := range d.parts {
		m.srv.spawn(func() {
			if !m.tell(l, p, d.txn, commit, d.ts) || left.Add(-1) > 0 {
				return
			}
			l.mu.Lock()
			l.forget = append(l.forget, commit)
			delete(l.pushing, commit)
			full := len(l.forget) >= 256
			l.mu.Unlock()
			if full {
				m.forgetDecisions(l)
			}
		})
	}
}

// tell sends RESOLVE to one participant until it is acknowledged.
func (m *Machine) tell(l *leadership, p target, id TxnID, commit CommitID, ts truetime.Timestamp) bool {
	for l.ctx.Err() == nil {
		router := m.srv.getRouter()
		if router != nil {
			req := &txnpb.BatchRequest{
				Kind: txnpb.Kind_RESOLVE, RangeId: int64(p.id), TxnId: id[:], CommitId: commit[:],
				Outcome: txnpb.Outcome_OUTCOME_COMMITTED, CommitTs: int64(ts),
			}
			ctx, cancel := context.WithTimeout(l.ctx, m.srv.cfg.ResolveTimeout)
			resp, err := router.SendToRange(ctx, int64(p.id), p.key, req)
			cancel()
			if err == nil && resp.Error == txnpb.ErrorCode_OK {
				return true
			}
			if p.readOnly && err == nil && resp.Error == txnpb.ErrorCode_UNAVAILABLE {
				return true // its lease did not reach the timestamp: nothing left to release
			}
		}
		select {
		case <-time.After(m.srv.cfg.ResolveRetry):
		case <-l.ctx.Done():
		}
	}
	return false
}

// forgetDecisions logs that decisions have reached every participant, many with one command.
func (m *Machine) forgetDecisions(l *leadership) {
	l.mu.Lock()
	ids := l.forget
	l.forget = nil
	l.mu.Unlock()
	if len(ids) == 0 {
		return
	}
	m.srv.spawn(func() {
		c := command{kind: cmdForget, ids: ids}
		if _, err := m.logged(l.ctx, &c); err != nil && l.ctx.Err() == nil {
			l.mu.Lock()
			l.forget = append(l.forget, ids...)
			l.mu.Unlock()
		}
	})
}

// recover settles a prepared transaction by asking its coordinator range, which decides to abort it if it is
// undecided (I8). It returns at once; one recovery of a transaction runs at a time.
func (m *Machine) recover(l *leadership, x *locktable.Txn) {
	p, _ := x.Payload.(*part)
	if p == nil || x.State() != locktable.Prepared || p.coord.id == 0 || !l.claim(l.recovering, x.ID) {
		return
	}
	m.srv.spawn(func() {
		defer l.unclaim(l.recovering, x.ID)
		m.srv.metrics.recoveries.Inc()
		for l.ctx.Err() == nil && x.State() == locktable.Prepared {
			if m.recoverOnce(l, x, p) {
				return
			}
			select {
			case <-time.After(m.srv.cfg.ResolveRetry):
			case <-l.ctx.Done():
			}
		}
	})
}

func (m *Machine) recoverOnce(l *leadership, x *locktable.Txn, p *part) bool {
	router := m.srv.getRouter()
	if router == nil {
		return false
	}
	req := &txnpb.BatchRequest{
		Kind: txnpb.Kind_QUERY, RangeId: int64(p.coord.id), CommitId: p.commit[:], AbortIfUndecided: true, FromParticipant: true,
	}
	ctx, cancel := context.WithTimeout(l.ctx, m.srv.cfg.ResolveTimeout)
	defer cancel()
	resp, err := router.SendToRange(ctx, int64(p.coord.id), p.coord.key, req)
	if err != nil || resp.Error != txnpb.ErrorCode_OK || resp.Outcome == txnpb.Outcome_OUTCOME_UNKNOWN {
		return false
	}
	err = m.settleTxn(l.ctx, l, x.ID, p.commit, resp.Outcome, truetime.Timestamp(resp.CommitTs))
	if p.readOnly && errors.Is(err, ranges.ErrLeaseExpired) {
		return false
	}
	return err == nil
}

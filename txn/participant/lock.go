package participant

import (
	"context"
	"time"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/locktable"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// locking is one request's way of taking locks.
type locking struct {
	m       *Machine
	l       *leadership
	x       *locktable.Txn
	req     *txnpb.BatchRequest
	resp    *txnpb.BatchResponse
	timeout time.Duration // left; 0 = none
	at      *attempt      // whose abortion ends a wait with errAborted; may be nil
}

func (m *Machine) locking(l *leadership, x *locktable.Txn, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) locking {
	return locking{m: m, l: l, x: x, req: req, resp: resp, timeout: time.Duration(req.LockTimeout)}
}

// acquire takes one lock. skipped reports that WAIT_SKIP left it out.
func (k *locking) acquire(ctx context.Context, start, end []byte, mode locktable.Mode) (skipped bool, err error) {
	policy := locktable.Block
	if k.req.Wait != txnpb.WaitPolicy_WAIT_BLOCK {
		policy = locktable.Try
	}
	r, err := k.l.table.Acquire(k.x, start, end, mode, policy)
	if r == nil {
		if err == locktable.ErrWouldBlock {
			if k.req.Wait == txnpb.WaitPolicy_WAIT_SKIP {
				return true, nil
			}
			return false, &Error{Code: txnpb.ErrorCode_LOCK_NOT_AVAILABLE, Msg: "lock is held by another transaction", Key: start}
		}
		return false, err
	}
	return false, k.wait(ctx, r, start)
}

// wait waits for a queued lock. After its patience it wounds the younger transactions in its way; a younger one
// that is prepared has its coordinator asked to abort it: that one may itself be waiting, elsewhere, for us.
func (k *locking) wait(ctx context.Context, r *locktable.Request, key []byte) (err error) {
	srv := k.m.srv
	srv.metrics.lockWaits.Inc()
	if end := srv.phase(ctx, "lock wait"); end != nil {
		defer end()
	}
	began := time.Now()
	defer func() {
		waited := time.Since(began)
		k.resp.LockWait += int64(waited)
		srv.metrics.lockWait.Observe(waited.Seconds())
		if k.timeout > 0 {
			k.timeout = max(k.timeout-waited, 1)
		}
	}()
	patience := time.NewTimer(srv.cfg.WoundPatience)
	defer patience.Stop()
	var deadline <-chan time.Time
	if k.timeout > 0 {
		t := time.NewTimer(k.timeout)
		defer t.Stop()
		deadline = t.C
	}
	abort := k.l.abortion(k.at)
	chase := time.NewTimer(srv.cfg.DeadlockDelay)
	defer chase.Stop()
	victim := make(chan bool, 1)
	for {
		select {
		case <-r.Done():
			return r.Err()
		case <-chase.C:
			k.m.reportWait(k.l, r, victim)
		case lost := <-victim:
			if lost {
				k.l.table.Break(r)
			}
			chase.Reset(chaseInterval)
		case <-patience.C:
			k.l.table.Press(r)
			for _, y := range k.l.table.Blockers(r) {
				if y.State() == locktable.Prepared {
					k.m.recover(k.l, y)
				}
			}
			patience.Reset(srv.cfg.WoundPatience)
		case <-deadline:
			if err := k.l.table.Cancel(r); err != locktable.ErrCanceled {
				return err
			}
			return &Error{Code: txnpb.ErrorCode_LOCK_TIMEOUT, Msg: "lock timeout", Key: key}
		case <-abort:
			_ = k.l.table.Cancel(r)
			return errAborted
		case <-ctx.Done():
			if k.l.table.Cancel(r) == nil {
				return nil // granted at the last moment
			}
			return ctx.Err()
		}
	}
}

// chaseInterval is how often a wait is reported again: what the others of a circle wait for may have changed, and
// a gateway forgets a report that is not repeated.
const chaseInterval = 40 * time.Millisecond

// reportWait tells the gateway of the waiting transaction what it waits for, and sends to victim whether that one
// has to be aborted because they wait for each other in a circle that leads through other ranges. Circles within a
// table the table breaks by itself.
func (m *Machine) reportWait(l *leadership, r *locktable.Request, victim chan<- bool) {
	router := m.srv.getRouter()
	others := l.table.WaitsFor(r)
	if router == nil || len(others) == 0 {
		victim <- false
		return
	}
	x := r.Txn()
	req := &txnpb.BatchRequest{Kind: txnpb.Kind_WAITS, TxnId: x.ID[:], Age: x.Age, RangeIds: []int64{int64(m.id)}}
	for _, y := range others {
		req.TxnIds = append(req.TxnIds, y.ID[:])
		req.TxnGateways = append(req.TxnGateways, y.Gateway)
	}
	m.srv.spawn(func() {
		ctx, cancel := context.WithTimeout(l.ctx, m.srv.cfg.ResolveTimeout)
		defer cancel()
		resp, err := router.SendToNode(ctx, ranges.NodeID(x.Gateway), req)
		victim <- err == nil && len(resp.LostTxnIds) > 0
	})
}

// escalate locks one span around all keys, exclusively, if the transaction has very many locks and nobody else is
// there: memory does not grow with the transaction. It reports whether that has been done.
func (k *locking) escalate(w writeSet) bool {
	if w.len() < 16 || k.l.table.Points(k.x) < maxPointLocks {
		return false
	}
	start, end := w.bounds()
	return start != nil && k.l.table.Escalate(k.x, start, end)
}

// lockWrites locks what the request writes, exclusively, and checks the conditions of the writes: no version
// newer than conflict_ts, no value under an insert.
func (k *locking) lockWrites(ctx context.Context) error {
	w := writesOf(k.req)
	covered := k.escalate(w)
	ts := truetime.Timestamp(k.req.ConflictTs)
	conditions := ts != 0
	for i, key := range w.keys {
		var end []byte
		switch w.op(i) {
		case txnpb.WriteOp_WRITE_DELETE_SPAN:
			end = w.values[i]
		case txnpb.WriteOp_WRITE_INSERT:
			conditions = true
		}
		if covered {
			continue
		}
		if _, err := k.acquire(ctx, key, end, locktable.Exclusive); err != nil {
			return err
		}
	}
	if !conditions {
		return nil
	}
	// Under the locks what is read now holds until the commit.
	eng, view := k.m.rep.Engine(), k.m.view(k.req)
	points := mvcc.NewPointReader(eng, view)
	defer points.Close()
	for i, key := range w.keys {
		op := w.op(i)
		if ts != 0 {
			var latest truetime.Timestamp
			var err error
			if op == txnpb.WriteOp_WRITE_DELETE_SPAN {
				latest, err = mvcc.LatestInSpan(eng, mvcc.Span{Start: key, End: w.values[i]}, ts, view)
			} else {
				latest, err = points.Latest(key)
			}
			if err != nil {
				return err
			}
			if latest > ts {
				return writeConflict(key)
			}
		}
		if op == txnpb.WriteOp_WRITE_INSERT {
			_, _, found, err := points.Get(key, truetime.MaxTimestamp)
			if err != nil {
				return err
			}
			if found {
				return &Error{Code: txnpb.ErrorCode_CONDITION_FAILED, Msg: "key exists", Key: key}
			}
		}
	}
	return nil
}

func writeConflict(key []byte) error {
	return &Error{Code: txnpb.ErrorCode_WRITE_CONFLICT, Msg: "key changed after the transaction's snapshot", Key: key}
}

// view says what staged writes count for a reader: those of committed transactions, and the request's own. It is
// to be taken when the timestamp or the locks of the read are certain: what commits later is not in it.
func (m *Machine) view(req *txnpb.BatchRequest) mvcc.View {
	v := mvcc.View{Layers: m.layers.Load()}
	if head := m.stagedHead(req); head != nil {
		v.Own = head.own(TxnID(req.TxnId), ignoreOf(req))
	}
	return v
}

// stagedHead returns the head of the transaction's staged writes in this range, nil when it has none.
func (m *Machine) stagedHead(req *txnpb.BatchRequest) *stagedTxn {
	if len(req.TxnId) == 0 {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(m.state.staged) == 0 {
		return nil
	}
	st := m.state.staged[TxnID(req.TxnId)]
	if st == nil {
		return nil
	}
	copied := *st // it changes by Apply
	return &copied
}

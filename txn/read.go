package txn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// lockFor returns the lock a read takes: none in snapshot transactions that did not ask for one, at least a
// shared one in serializable ones (that is what makes them so).
func (t *Txn) lockFor(lock kv.LockMode) kv.LockMode {
	switch {
	case t.opts.ReadOnly:
		return kv.LockNone
	case lock == kv.LockNone && t.opts.Isolation == kv.Serializable:
		return kv.LockShared
	}
	return lock
}

// snapshotTS returns the transaction's read timestamp, choosing it now if there is none. strong is set, and ts
// zero, when the one range that is asked may choose.
func (t *Txn) snapshotTS(ctx context.Context, key []byte, oneRange bool) (ts truetime.Timestamp, strong bool, err error) {
	t.mu.Lock()
	ts = t.mu.readTS
	t.mu.Unlock()
	if ts != 0 {
		return ts, false, nil
	}
	if t.opts.ReadOnly {
		switch st := t.opts.Staleness; st.Kind {
		case kv.Strong:
			if t.opts.OneShot && oneRange {
				return 0, true, nil
			}
			ts = t.db.clock.Now().Latest
		case kv.ExactStaleness:
			ts = t.db.clock.Now().Latest - truetime.Timestamp(st.Age)
		case kv.ReadTimestamp:
			ts = st.At
		case kv.MaxStaleness:
			ts, err = t.db.boundedTS(ctx, key, t.db.clock.Now().Latest-truetime.Timestamp(st.Age), t.opts.OneShot && oneRange)
		case kv.MinReadTimestamp:
			ts, err = t.db.boundedTS(ctx, key, st.At, t.opts.OneShot && oneRange)
		}
		if err != nil {
			return 0, false, err
		}
		if ts <= 0 {
			return 0, false, wrap(kv.ErrReadTooOld, ts.String())
		}
	} else {
		ts = t.db.clock.Now().Latest
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.readTS == 0 {
		t.mu.readTS = ts
	}
	return t.mu.readTS, false, nil
}

// maxBounded bounds the ranges whose safe times decide about a bounded stale read.
const maxBounded = 64

// boundedTS returns the newest timestamp, at least bound, at which the replica of key nearest to this node can answer
// at once. A transaction that may go on to other ranges does not know them yet: for it the safe times of the known
// ranges on that node count too, the nearest in the order of keys first.
func (db *DB) boundedTS(ctx context.Context, key []byte, bound truetime.Timestamp, oneRange bool) (truetime.Timestamp, error) {
	rt, err := db.routeFor(ctx, key, false)
	if err != nil {
		return 0, err
	}
	node := db.nearest(rt)
	req := &txnpb.BatchRequest{Kind: txnpb.Kind_SAFE_TIME, RangeIds: []int64{int64(rt.desc.ID)}, Gateway: int32(db.cfg.NodeID)}
	if !oneRange {
		list := db.routes.snapshot()
		at := max(0, slices.Index(list, rt)-maxBounded/2)
		for _, o := range list[at:min(len(list), at+maxBounded)] {
			if o != rt && slices.Contains(o.order, node) && db.nearest(o) == node {
				req.RangeIds = append(req.RangeIds, int64(o.desc.ID))
			}
		}
	}
	var s sent
	resp, err := db.call(ctx, node, req, &s)
	if err != nil || resp.Error != txnpb.ErrorCode_OK || len(resp.SafeTimes) != len(req.RangeIds) || resp.SafeTimes[0] == 0 {
		return bound, nil // whoever answers has to wait for it
	}
	// Not past now: a table that closes time ahead would have readers wait for their own clock.
	safe := min(timestamp(resp.SafeTimes[0]), db.clock.Now().Latest)
	for _, ts := range resp.SafeTimes[1:] {
		if ts := timestamp(ts); ts >= bound {
			safe = min(safe, ts) // the others lag too far to be waited for
		}
	}
	return max(bound, safe), nil
}

// stale reports whether the transaction reads in the past, where followers can answer.
func (t *Txn) stale() bool { return t.opts.ReadOnly && t.opts.Staleness.Kind != kv.Strong }

// latestLevel sees all of a transaction's writes.
const latestLevel = math.MaxUint64

// prepareRead fills the part of a READ that does not depend on keys.
func (t *Txn) prepareRead(ctx context.Context, req *txnpb.BatchRequest, key []byte, lock kv.LockMode, wait kv.WaitPolicy, oneRange bool, level uint64) error {
	req.Kind = txnpb.Kind_READ
	req.Gateway = int32(t.db.cfg.NodeID)
	req.Age = int64(t.age)
	switch lock {
	case kv.LockShared:
		req.Lock = txnpb.LockMode_LOCK_SHARED
	case kv.LockExclusive:
		req.Lock = txnpb.LockMode_LOCK_EXCLUSIVE
	}
	switch wait {
	case kv.WaitError:
		req.Wait = txnpb.WaitPolicy_WAIT_ERROR
	case kv.WaitSkipLocked:
		req.Wait = txnpb.WaitPolicy_WAIT_SKIP
	}
	if lock == kv.LockNone {
		ts, strong, err := t.snapshotTS(ctx, key, oneRange)
		if err != nil {
			return err
		}
		req.ReadTs, req.Strong = int64(ts), strong
		req.FollowerOk = t.opts.ReadOnly
	} else {
		req.TxnId = t.id[:]
		req.LockTimeout = int64(t.lockTimeout)
		if t.opts.Isolation == kv.Snapshot {
			ts, _, err := t.snapshotTS(ctx, key, false)
			if err != nil {
				return err
			}
			req.ConflictTs = int64(ts)
		}
		if t.opts.Isolation != kv.Serializable || wait == kv.WaitSkipLocked {
			req.LockScope = txnpb.LockScope_LOCK_ROWS
		}
	}
	if t.stage.any {
		req.TxnId = t.id[:]
		req.IgnoreFrom, req.IgnoreTo = t.stage.ignored(level)
	}
	return nil
}

// pointRead is the reusable request of a single Get.
type pointRead struct {
	req  txnpb.BatchRequest
	keys [1][]byte
}

var pointReads = sync.Pool{New: func() any { return new(pointRead) }}

// Get implements kv.Txn.
func (t *Txn) Get(ctx context.Context, key []byte, lock kv.LockMode, wait kv.WaitPolicy) ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	lock = t.lockFor(lock)
	own := t.own(key)
	if own != nil && lock == kv.LockNone {
		return own.read(), nil
	}
	value, _, err := t.getOne(ctx, key, lock, wait)
	if err != nil {
		return nil, t.fail(err)
	}
	if own != nil {
		return own.read(), nil
	}
	return value, nil
}

// read returns the value a buffered write leaves, nil for a deletion.
func (e *entry) read() []byte { return e.version.read() }

func (v *version) read() []byte {
	if v.op == txnpb.WriteOp_WRITE_DELETE {
		return nil
	}
	return v.value
}

func (t *Txn) getOne(ctx context.Context, key []byte, lock kv.LockMode, wait kv.WaitPolicy) (value []byte, skipped bool, err error) {
	p := pointReads.Get().(*pointRead)
	p.keys[0] = key
	req := &p.req
	req.Keys = p.keys[:]
	if err := t.prepareRead(ctx, req, key, lock, wait, true, latestLevel); err != nil {
		return nil, false, err
	}
	retry := t.db.newRetry()
	for {
		rt, err := t.db.routeFor(ctx, key, false)
		if err != nil {
			return nil, false, err
		}
		if lock != kv.LockNone {
			req.LockEpoch = t.ask(rt)
		}
		resp, s, err := t.sendRead(ctx, rt, req)
		t.account(s, req, resp)
		if errors.Is(err, errReroute) {
			retry.cause = "routing"
			if err = retry.wait(ctx); err == nil {
				continue
			}
		}
		if lock != kv.LockNone {
			// Even a refusal, or silence, may leave a lock behind.
			var epoch int64
			if resp != nil {
				epoch = resp.LockEpoch
			}
			if terr := t.touched(rt, epoch, key, key, false, false); err == nil {
				err = terr
			}
		}
		if err == nil {
			err = responseError(req, resp)
		}
		if err != nil {
			return nil, false, err
		}
		if len(resp.Presence) != 1 || len(resp.Values) != 1 {
			return nil, false, malformed(req, resp)
		}
		t.learnTS(resp)
		switch resp.Presence[0] {
		case 1:
			value = resp.Values[0]
			if value == nil {
				value = []byte{}
			}
		case 2:
			skipped = true
		}
		// Only now is the request surely out of the server's hands.
		*p = pointRead{}
		pointReads.Put(p)
		return value, skipped, nil
	}
}

// learnTS keeps the timestamp that a range has chosen for a one-shot read.
func (t *Txn) learnTS(resp *txnpb.BatchResponse) {
	if resp.ReadTs == 0 || !t.opts.ReadOnly {
		return
	}
	t.mu.Lock()
	if t.mu.readTS == 0 {
		t.mu.readTS = timestamp(resp.ReadTs)
	}
	t.mu.Unlock()
}

func malformed(req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	return fmt.Errorf("%w: answer to %s of range %d does not fit", ErrInternal, req.Kind, req.RangeId)
}

// maxBatchKeys bounds the keys of one request.
const maxBatchKeys = 2048

// GetBatch implements kv.Txn.
func (t *Txn) GetBatch(ctx context.Context, keys [][]byte, lock kv.LockMode, wait kv.WaitPolicy) (values [][]byte, skipped []bool, err error) {
	if err := t.check(); err != nil {
		return nil, nil, err
	}
	lock = t.lockFor(lock)
	values = make([][]byte, len(keys))
	own := make([]bool, len(keys))
	ask := make([]int, 0, len(keys))
	for i, k := range keys {
		if e := t.own(k); e != nil {
			values[i], own[i] = e.read(), true
			if lock == kv.LockNone {
				continue
			}
		}
		ask = append(ask, i)
	}
	if wait == kv.WaitSkipLocked {
		skipped = make([]bool, len(keys))
	}
	retry := t.db.newRetry()
	for len(ask) > 0 {
		var groups []keyGroup
		if groups, err = t.groupKeys(ctx, keys, ask); err != nil {
			return nil, nil, err
		}
		var (
			mu    sync.Mutex
			again []int
		)
		// All groups read at one timestamp; choose it before they part.
		oneRange := len(groups) == 1
		if lock == kv.LockNone && !oneRange {
			if _, _, err := t.snapshotTS(ctx, keys[ask[0]], false); err != nil {
				return nil, nil, err
			}
		}
		err = parallel(len(groups), func(i int) error {
			g := groups[i]
			err := t.getGroup(ctx, g, keys, values, own, skipped, lock, wait, oneRange)
			if errors.Is(err, errReroute) {
				mu.Lock()
				again = append(again, g.index...)
				mu.Unlock()
				return nil
			}
			return err
		})
		if err != nil {
			return nil, nil, t.fail(err)
		}
		if ask = again; len(ask) > 0 {
			retry.cause = "routing"
			if err := retry.wait(ctx); err != nil {
				return nil, nil, err
			}
		}
	}
	return values, skipped, nil
}

// keyGroup is the keys of one request: positions in the caller's slice, in one range.
type keyGroup struct {
	rt    *route
	index []int
}

func (t *Txn) groupKeys(ctx context.Context, keys [][]byte, ask []int) ([]keyGroup, error) {
	var groups []keyGroup
	byRoute := map[*route]int{}
	for _, i := range ask {
		// Keys come sorted as a rule: the last group's range is the first guess.
		if n := len(groups); n > 0 && groups[n-1].rt.desc.Contains(keys[i]) && len(groups[n-1].index) < maxBatchKeys {
			groups[n-1].index = append(groups[n-1].index, i)
			continue
		}
		rt, err := t.db.routeFor(ctx, keys[i], false)
		if err != nil {
			return nil, err
		}
		g, ok := byRoute[rt]
		if !ok || len(groups[g].index) >= maxBatchKeys {
			g = len(groups)
			groups = append(groups, keyGroup{rt: rt})
			byRoute[rt] = g
		}
		groups[g].index = append(groups[g].index, i)
	}
	return groups, nil
}

func (t *Txn) getGroup(ctx context.Context, g keyGroup, keys, values [][]byte, own, skipped []bool, lock kv.LockMode, wait kv.WaitPolicy, oneRange bool) error {
	req := &txnpb.BatchRequest{Keys: make([][]byte, len(g.index))}
	lo, hi := keys[g.index[0]], keys[g.index[0]]
	for j, i := range g.index {
		req.Keys[j] = keys[i]
		if string(keys[i]) < string(lo) {
			lo = keys[i]
		}
		if string(keys[i]) > string(hi) {
			hi = keys[i]
		}
	}
	if err := t.prepareRead(ctx, req, lo, lock, wait, oneRange, latestLevel); err != nil {
		return err
	}
	if lock != kv.LockNone {
		req.LockEpoch = t.ask(g.rt)
	}
	resp, s, err := t.sendRead(ctx, g.rt, req)
	t.account(s, req, resp)
	if lock != kv.LockNone && !errors.Is(err, errReroute) {
		var epoch int64
		if resp != nil {
			epoch = resp.LockEpoch
		}
		if terr := t.touched(g.rt, epoch, lo, hi, false, false); err == nil {
			err = terr
		}
	}
	if err == nil {
		err = responseError(req, resp)
	}
	if err != nil {
		return err
	}
	if len(resp.Presence) != len(req.Keys) || len(resp.Values) != len(req.Keys) {
		return malformed(req, resp)
	}
	t.learnTS(resp)
	for j, i := range g.index {
		switch resp.Presence[j] {
		case 1:
			if !own[i] {
				if values[i] = resp.Values[j]; values[i] == nil {
					values[i] = []byte{}
				}
			}
		case 2:
			if skipped == nil {
				return malformed(req, resp)
			}
			skipped[i], values[i] = true, nil
		}
	}
	return nil
}

// LockSpan implements kv.Txn.
func (t *Txn) LockSpan(ctx context.Context, span kv.Span, lock kv.LockMode, wait kv.WaitPolicy) error {
	if err := t.check(); err != nil {
		return err
	}
	if t.opts.ReadOnly || lock == kv.LockNone {
		return nil
	}
	if wait == kv.WaitSkipLocked {
		return fmt.Errorf("%w: a span cannot be skipped", ErrInternal)
	}
	retry := t.db.newRetry()
	for cur := span.Start; bytes.Compare(cur, span.End) < 0; {
		rt, err := t.db.routeFor(ctx, cur, false)
		if err != nil {
			return err
		}
		end := span.End
		if bytes.Compare(rt.desc.End, end) < 0 {
			end = rt.desc.End
		}
		req := &txnpb.BatchRequest{SpanStarts: [][]byte{cur}, SpanEnds: [][]byte{end}, NoValues: true}
		if err := t.prepareRead(ctx, req, cur, lock, wait, false, latestLevel); err != nil {
			return err
		}
		req.ConflictTs, req.LockScope = 0, txnpb.LockScope_LOCK_ONLY
		req.LockEpoch = t.ask(rt)
		resp, s, err := t.db.send(ctx, rt, req)
		t.account(s, req, resp)
		if errors.Is(err, errReroute) {
			retry.cause = "routing"
			if err := retry.wait(ctx); err != nil {
				return err
			}
			continue
		}
		var epoch int64
		if resp != nil {
			epoch = resp.LockEpoch
		}
		if terr := t.touched(rt, epoch, cur, end, true, false); err == nil {
			err = terr
		}
		if err == nil {
			err = responseError(req, resp)
		}
		if err != nil {
			return t.fail(err)
		}
		cur = end
	}
	return nil
}

// maxParallel bounds the requests that one call has in flight.
const maxParallel = 16

// parallel runs fn(0..n-1), at most maxParallel at a time, and returns the first error once all have ended.
func parallel(n int, fn func(i int) error) error {
	if n == 1 {
		return fn(0)
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs error
		slot = make(chan struct{}, maxParallel)
	)
	for i := 0; i < n; i++ {
		slot <- struct{}{}
		wg.Add(1)
		go func() {
			defer func() { <-slot; wg.Done() }()
			if err := fn(i); err != nil {
				mu.Lock()
				if errs == nil {
					errs = err
				}
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	return errs
}

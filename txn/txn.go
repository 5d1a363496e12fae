package txn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// Txn is one transaction. See kv.Txn for who may call what when.
type Txn struct {
	db    *DB
	opts  kv.TxnOptions
	id    [16]byte // read-write only
	age   truetime.Timestamp
	began truetime.Timestamp
	bound truetime.Timestamp // commit timestamps must be below; zero: no bound

	// lost is set by heartbeats when a range has aborted the transaction.
	lost atomic.Bool
	// itemizes is set by Itemize, and then stays.
	itemizes atomic.Bool

	mu struct { // reads of one transaction may run at once
		sync.Mutex
		readTS  truetime.Timestamp
		parts   []*part
		asked   []*route // what requests that may leave something were sent to, one for each range
		failed  error    // the error that left only Rollback
		stats   kv.Stats
		seen    []int64 // the ranges that stats.Ranges counts, at first in seenFew
		seenFew [2]int64
		items   itemized   // nil unless somebody has asked for it
		listed  bool       // in db.active
		scanner []*Scanner // open ones
		flights []*flight  // flushed buffers on their way, oldest first

		firstPart part
		partSpace [4]*part
		askedFew  [2]*route
	}

	// Below: touched by writes, Flush, savepoints and the end, which run alone.
	done  bool
	level uint64
	// lockTimeout goes with every request that takes locks; zero: no bound.
	lockTimeout time.Duration
	buf         buffer
	stage       staging
	// stopCtx ends what is in flight, and is made with the first flight.
	stopCtx context.Context
	stop    context.CancelFunc
}

var _ kv.Txn = (*Txn)(nil)

// part is what a transaction holds in one range, as the range was when it was contacted.
type part struct {
	rt    *route
	epoch int64
	// All locks lie in [lo, hi], or [lo, hi) when hiOpen; nil lo: none.
	lo, hi []byte
	hiOpen bool
	staged bool
	// root is the part whose token this one has taken over: the range was split from that part's, or has absorbed it.
	// It is the part itself when the token was given to it.
	root *part
}

func (p *part) extend(lo, hi []byte, hiOpen bool) {
	if p.lo == nil {
		p.lo = bytes.Clone(lo)
		if p.hi, p.hiOpen = p.lo, hiOpen; !bytes.Equal(lo, hi) {
			p.hi = bytes.Clone(hi)
		}
		return
	}
	if bytes.Compare(lo, p.lo) < 0 {
		p.lo = bytes.Clone(lo)
	}
	if c := bytes.Compare(hi, p.hi); c > 0 {
		p.hi, p.hiOpen = bytes.Clone(hi), hiOpen
	} else if c == 0 && !hiOpen {
		p.hiOpen = false
	}
}

// reaches reports whether some lock of the part may lie in [start, end).
func (p *part) reaches(start, end []byte) bool {
	if p.lo == nil || bytes.Compare(p.lo, end) >= 0 {
		return false
	}
	c := bytes.Compare(start, p.hi)
	return c < 0 || (c == 0 && !p.hiOpen)
}

// ask is called before each request that may leave locks in a range, and returns the token to send: that of the last
// contact, or of the range it was split from when locks may have moved to it. From now on heartbeats go to the range's
// replicas: the request may wait there for long before it is answered, and nothing but heartbeats keeps its transaction.
func (t *Txn) ask(rt *route) int64 {
	t.mu.Lock()
	d := rt.desc
	if n := len(t.mu.asked); n == 0 || t.mu.asked[n-1] != rt {
		if i := slices.IndexFunc(t.mu.asked, func(a *route) bool { return a.desc.ID == d.ID }); i >= 0 {
			t.mu.asked[i] = rt
		} else {
			if n == 0 {
				t.mu.asked = t.mu.askedFew[:0]
			}
			t.mu.asked = append(t.mu.asked, rt)
		}
	}
	epoch := t.epochLocked(d)
	list := !t.mu.listed
	t.mu.listed = true
	t.mu.Unlock()
	if list {
		t.db.active.Lock()
		t.db.active.txns[t] = struct{}{}
		t.db.active.Unlock()
	}
	return epoch
}

func (t *Txn) epochLocked(d *ranges.Descriptor) int64 {
	if p := t.partLocked(d.ID); p != nil {
		return p.epoch
	}
	for _, p := range t.mu.parts {
		if p.epoch != 0 && p.reaches(d.Start, d.End) {
			return p.epoch
		}
	}
	return 0
}

// noToken is a token that no range gives.
const noToken = -1

// absorbedEpochs returns the tokens that a range must know besides ask's: those of other ranges that it has
// absorbed, under which the transaction may hold locks there.
func (t *Txn) absorbedEpochs(d *ranges.Descriptor) (epochs []int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.mu.parts) < 2 {
		return nil
	}
	var known []*part
	note := func(p *part, first bool) {
		for _, q := range known {
			if q.root == p.root {
				return
			}
			if q.epoch == p.epoch {
				// Two ranges have given the same number: it would not show if the locks of one were lost.
				epochs = append(epochs, noToken)
			}
		}
		if known = append(known, p); !first {
			epochs = append(epochs, p.epoch)
		}
	}
	if p := t.partLocked(d.ID); p != nil && p.epoch != 0 {
		note(p, true)
	}
	for _, p := range t.mu.parts {
		if p.epoch != 0 && p.rt.desc.ID != d.ID && p.reaches(d.Start, d.End) {
			note(p, len(known) == 0)
		}
	}
	return epochs
}

// covered reports whether the range as now known holds all that was locked under the part. After a split the
// same range id holds only the left half of it.
func (p *part) covered() bool {
	d := p.rt.desc
	if p.rt.stale.Load() {
		return false
	}
	if p.lo == nil {
		return true
	}
	c := bytes.Compare(p.hi, d.End)
	return bytes.Compare(d.Start, p.lo) <= 0 && (c < 0 || (c == 0 && p.hiOpen))
}

// ranges calls fn for each range that may hold something of the part.
func (t *Txn) ranges(ctx context.Context, p *part, fn func(rt *route) error) error {
	if p.covered() {
		return fn(p.rt)
	}
	cur := p.lo
	if cur == nil {
		cur = p.rt.desc.Start
	}
	for {
		rt, err := t.db.routeFor(ctx, cur, false)
		if err != nil {
			return err
		}
		if err := fn(rt); err != nil {
			return err
		}
		if p.lo == nil || !p.reaches(rt.desc.End, maxKey) {
			return nil
		}
		cur = rt.desc.End
	}
}

// maxKey is above all keys.
var maxKey = []byte{0xff, 0xff}

func (t *Txn) partLocked(id ranges.RangeID) *part {
	for _, p := range t.mu.parts {
		if p.rt.desc.ID == id {
			return p
		}
	}
	return nil
}

// touched records the token that a range answered, and the extent of what may be locked there. A token other
// than before means that the locks taken under that one are gone (I9).
func (t *Txn) touched(rt *route, epoch int64, lo, hi []byte, hiOpen, staged bool) error {
	t.mu.Lock()
	p := t.partLocked(rt.desc.ID)
	lost := false // the token is none of those that it may be
	if p == nil {
		var root *part
		for _, q := range t.mu.parts {
			if q.epoch != 0 && q.reaches(rt.desc.Start, rt.desc.End) {
				if lost = true; q.epoch == epoch {
					root = q.root
				}
			}
		}
		lost = lost && root == nil
		if t.mu.parts == nil {
			// Most transactions hold locks in one range.
			p, t.mu.parts = &t.mu.firstPart, t.mu.partSpace[:0]
			p.rt = rt
		} else {
			p = &part{rt: rt}
		}
		if p.root = root; root == nil {
			p.root = p
		}
		t.mu.parts = append(t.mu.parts, p)
	} else {
		lost = p.epoch != 0 && p.epoch != epoch
		p.rt = rt
	}
	if epoch != 0 {
		p.epoch = epoch
	}
	p.staged = p.staged || staged
	if lo != nil {
		p.extend(lo, hi, hiOpen)
	}
	t.mu.Unlock()
	if lost && epoch != 0 {
		return &reasonError{kv.ErrRetry, ErrLockLost, fmt.Sprintf("range %d", rt.desc.ID)}
	}
	return nil
}

// check returns why the transaction may not go on.
func (t *Txn) check() error {
	if t.done {
		return ErrFinished
	}
	t.mu.Lock()
	err := t.mu.failed
	t.mu.Unlock()
	if err != nil {
		return err
	}
	if t.lost.Load() {
		return t.fail(&reasonError{kv.ErrRetry, ErrWounded, "told by heartbeat"})
	}
	return nil
}

// fail records an error that leaves nothing but Rollback, and passes every error through.
func (t *Txn) fail(err error) error {
	if err == nil || !fatal(err) {
		return err
	}
	t.mu.Lock()
	if t.mu.failed == nil {
		t.mu.failed = err
	}
	t.mu.Unlock()
	return err
}

// ReadTimestamp implements kv.Txn.
func (t *Txn) ReadTimestamp() truetime.Timestamp {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.readTS
}

// Age implements kv.Txn.
func (t *Txn) Age() truetime.Timestamp { return t.age }

// CommitBefore implements kv.Txn: the commit timestamp will be below ts.
func (t *Txn) CommitBefore(ts truetime.Timestamp) {
	if t.bound == 0 || ts < t.bound {
		t.bound = ts
	}
}

// Stats implements kv.Txn.
func (t *Txn) Stats() kv.Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.stats
}

// account adds an answer to the statistics.
func (t *Txn) account(s sent, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) {
	t.mu.Lock()
	if n := len(t.mu.seen); (n == 0 || t.mu.seen[n-1] != req.RangeId) && !slices.Contains(t.mu.seen, req.RangeId) {
		if t.mu.seen == nil {
			t.mu.seen = t.mu.seenFew[:0]
		}
		t.mu.seen = append(t.mu.seen, req.RangeId)
		t.mu.stats.Ranges++
	}
	t.mu.stats.RPCs += s.rpcs
	if s.rpcs == 0 {
		t.mu.stats.LocalReads++
	}
	if resp != nil {
		t.mu.stats.LockWait += resp.LockWait
		t.mu.stats.CommitWait += resp.CommitWait
		t.mu.stats.Replication += resp.Replication
		t.mu.stats.FollowerRead = t.mu.stats.FollowerRead || resp.Follower
	}
	if t.mu.items != nil {
		t.mu.items.add(t.db.cfg.NodeID, s, req, resp)
	}
	t.mu.Unlock()
}

// SetLockTimeout implements kv.Txn.
func (t *Txn) SetLockTimeout(d time.Duration) { t.lockTimeout = max(d, 0) }

// Step implements kv.Txn.
func (t *Txn) Step(ctx context.Context) error {
	if err := t.check(); err != nil {
		return err
	}
	if t.opts.Isolation == kv.ReadCommitted && !t.opts.ReadOnly {
		t.mu.Lock()
		t.mu.readTS = 0
		t.mu.Unlock()
	}
	return nil
}

// Put implements kv.Txn.
func (t *Txn) Put(key, value []byte) error { return t.write(txnpb.WriteOp_WRITE_PUT, key, value) }

// Insert implements kv.Txn.
func (t *Txn) Insert(key, value []byte) error { return t.write(txnpb.WriteOp_WRITE_INSERT, key, value) }

// Delete implements kv.Txn.
func (t *Txn) Delete(key []byte) error { return t.write(txnpb.WriteOp_WRITE_DELETE, key, nil) }

func (t *Txn) write(op txnpb.WriteOp, key, value []byte) error {
	if err := t.check(); err != nil {
		return err
	}
	switch {
	case t.opts.ReadOnly:
		return kv.ErrReadOnly
	case len(key) > kv.MaxKeySize:
		return wrap(kv.ErrTooLarge, fmt.Sprintf("key of %d bytes, at most %d", len(key), kv.MaxKeySize))
	case len(value) > kv.MaxValueSize:
		return wrap(kv.ErrTooLarge, fmt.Sprintf("value of %d bytes, at most %d", len(value), kv.MaxValueSize))
	case len(key) == 0 || key[0] == 0 || key[0] == 0xff:
		return fmt.Errorf("%w: write of reserved key %.32x", ErrInternal, key)
	case t.buf.bytes+len(key)+len(value) > t.db.cfg.MaxBufferBytes:
		return wrap(kv.ErrTooLarge, fmt.Sprintf("%d bytes of writes are waiting to be flushed", t.buf.bytes))
	}
	if op == txnpb.WriteOp_WRITE_INSERT && t.stage.any {
		// Whether the key is absent cannot be told by the range alone any more: what was staged counts.
		op = txnpb.WriteOp_WRITE_PUT
	}
	t.buf.set(op, key, value, t.level)
	return nil
}

// Savepoint implements kv.Txn.
func (t *Txn) Savepoint() kv.Savepoint {
	t.level++
	t.stage.savepoint(t.level)
	return kv.Savepoint{Seq: t.level}
}

// RollbackTo implements kv.Txn.
func (t *Txn) RollbackTo(ctx context.Context, sp kv.Savepoint) error {
	if err := t.check(); err != nil {
		return err
	}
	if sp.Seq == 0 || sp.Seq > t.level {
		return fmt.Errorf("%w: rollback to an unknown savepoint", ErrInternal)
	}
	if err := t.land(ctx, nil, nil); err != nil {
		return err
	}
	if err := t.stage.rollback(sp.Seq); err != nil {
		t.mu.Lock()
		t.mu.failed = err
		t.mu.Unlock()
		return err
	}
	t.buf.rollback(sp.Seq)
	t.level++
	return nil
}

// Rollback implements kv.Txn.
func (t *Txn) Rollback(ctx context.Context) {
	if t.done {
		return
	}
	t.ground()
	t.finish()
	t.db.metrics.RolledBack.Add(1)
	t.release(ctx, nil)
}

// ground ends what is in flight and waits for it: a piece that arrived after the rollback would leave locks
// behind until they expire.
func (t *Txn) ground() {
	if t.stop == nil {
		return
	}
	t.stop()
	for _, f := range t.flights() {
		<-f.done
	}
}

// finish makes the transaction unusable and forgets it.
func (t *Txn) finish() {
	t.done = true
	t.mu.Lock()
	listed := t.mu.listed
	t.mu.Unlock()
	if listed {
		t.db.active.Lock()
		delete(t.db.active.txns, t)
		t.db.active.Unlock()
	}
	t.buf.reset()
}

// release sends ROLLBACK wherever the transaction may hold something: to ranges led here at once, to others
// in the background, for nobody waits for their answer. commitID is set when prepared state may exist.
func (t *Txn) release(ctx context.Context, commitID []byte) {
	t.mu.Lock()
	parts := slices.Clone(t.mu.parts)
	t.mu.Unlock()
	for _, p := range parts {
		t.mu.Lock()
		p := *p // a copy: requests given up on may still be on their way back
		t.mu.Unlock()
		req := &txnpb.BatchRequest{
			Kind: txnpb.Kind_ROLLBACK, TxnId: t.id[:], Age: int64(t.age), Gateway: int32(t.db.cfg.NodeID),
			LockEpoch: p.epoch, CommitId: commitID,
			RangeId: int64(p.rt.desc.ID), DescGeneration: int64(p.rt.desc.Generation),
		}
		if ranges.NodeID(p.rt.leader.Load()) == t.db.cfg.NodeID && p.covered() {
			resp, err := t.db.local.Batch(context.WithoutCancel(ctx), req)
			if err == nil {
				t.db.learnAll(resp)
			}
			if err == nil && resp.Error == txnpb.ErrorCode_OK && p.covered() {
				continue
			}
		}
		t.db.background(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, t.db.cfg.CommitTimeout)
			defer cancel()
			t.rollbackPart(ctx, &p, req)
		})
	}
}

// rollbackPart releases one part, wherever it has gone: a split may have divided it. What cannot be reached
// expires.
func (t *Txn) rollbackPart(ctx context.Context, p *part, req *txnpb.BatchRequest) {
	for n := 1; ; n++ {
		whole := p.covered()
		err := t.ranges(ctx, p, func(rt *route) error {
			_, _, err := t.db.send(ctx, rt, req)
			return err
		})
		if err == nil && whole && !p.covered() {
			continue // The answer told of a split: the other half holds locks too.
		}
		if !errors.Is(err, errReroute) || t.db.pause(ctx, n) != nil {
			return
		}
	}
}

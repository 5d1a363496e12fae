package txn

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sort"
	"sync"

	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// staging keeps track of the writes that have left the buffer for the ranges' staging areas. They are numbered;
// runs tell which numbers were written at which level, so that a rollback to a savepoint, and a scanner from
// before, can name those that do not exist for them.
type staging struct {
	any        bool
	next       uint64     // number of the next staged write; from 1
	runs       []stageRun // by number, and by level within one flush
	dead       []stageRun // rolled back
	savepoints []uint64   // levels of savepoints, ascending
	spanMark   uint64     // one above the level of the last DeleteSpan, 0 when none
}

// stageRun is the staged writes with from <= number < to.
type stageRun struct{ level, from, to uint64 }

func (g *staging) savepoint(level uint64) { g.savepoints = append(g.savepoints, level) }

// ignored returns the staged writes that do not exist for a reader at level.
func (g *staging) ignored(level uint64) (from, to []int64) {
	add := func(r stageRun) {
		if n := len(to); n > 0 && to[n-1] == int64(r.from) {
			to[n-1] = int64(r.to)
			return
		}
		from, to = append(from, int64(r.from)), append(to, int64(r.to))
	}
	for _, r := range g.dead {
		add(r)
	}
	if level != latestLevel {
		for _, r := range g.runs {
			if r.level > level {
				add(r)
			}
		}
	}
	return from, to
}

// rollback forgets what was staged at level and above.
func (g *staging) rollback(level uint64) error {
	if g.spanMark > level {
		return ErrSpanDeleted
	}
	kept := g.runs[:0]
	for _, r := range g.runs {
		if r.level < level {
			kept = append(kept, r)
		} else if n := len(g.dead); n > 0 && g.dead[n-1].to == r.from {
			g.dead[n-1].to = r.to
		} else {
			g.dead = append(g.dead, r)
		}
	}
	g.runs = kept
	for n := len(g.savepoints); n > 0 && g.savepoints[n-1] > level; n-- {
		g.savepoints = g.savepoints[:n-1]
	}
	return nil
}

// effective returns the level that stands for level: the latest savepoint at or below it. Levels between two
// savepoints were made by scanners, and do not matter once those are closed.
func (g *staging) effective(level uint64) uint64 {
	i := sort.Search(len(g.savepoints), func(i int) bool { return g.savepoints[i] > level })
	if i == 0 {
		return 0
	}
	return g.savepoints[i-1]
}

// record notes that the numbers [from, next) were used at level.
func (g *staging) record(level, from uint64) {
	if from == g.next {
		return
	}
	if n := len(g.runs); n > 0 && g.runs[n-1].level == level && g.runs[n-1].to == from {
		g.runs[n-1].to = g.next
		return
	}
	g.runs = append(g.runs, stageRun{level, from, g.next})
}

// Pieces of one STAGE request.
const (
	stagePieceBytes  = 512 << 10
	stagePieceWrites = 4096
)

// Flush implements kv.Txn. It starts to send what is buffered and returns, unless much is on its way already: a
// load goes on reading while its last writes replicate.
func (t *Txn) Flush(ctx context.Context) error {
	if err := t.check(); err != nil {
		return err
	}
	if t.buf.bytes < t.db.cfg.StageBytes {
		return nil
	}
	return t.flush(ctx)
}

// maxFlights is how many flushed buffers may be on their way at once: one replicates while the next is cut and
// sent. More only queue before the same disks.
const maxFlights = 2

// flight is a flushed buffer on its way into the ranges' staging areas. Until it has arrived the transaction
// reads its writes from here.
type flight struct {
	buf  buffer // not changed any more
	runs []flightRun
	done chan struct{}
}

// flightRun is the writes of one level, numbered from seq in key order.
type flightRun struct {
	writes []stagedWrite
	seq    uint64
}

// flush sends the buffer off.
func (t *Txn) flush(ctx context.Context) error {
	if len(t.buf.entries) == 0 {
		return nil
	}
	for {
		flights := t.flights()
		if len(flights) < maxFlights {
			break
		}
		select {
		case <-flights[0].done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := t.check(); err != nil {
		return err
	}
	t.mu.Lock()
	scanners := slices.Clone(t.mu.scanner)
	t.mu.Unlock()
	level := func(l uint64) uint64 {
		if len(scanners) > 0 {
			return l
		}
		return t.stage.effective(l)
	}
	levels := map[uint64]bool{}
	for _, e := range t.buf.entries {
		for v := &e.version; v != nil; v = v.prev {
			levels[level(v.level)] = true
		}
	}
	for _, s := range scanners {
		s.retain(&t.buf)
	}
	if t.stage.next == 0 {
		t.stage.next = 1
	}
	t.stage.any = true
	// The numbers are given out here, in the order of flushes: of two writes of a key the later one has the
	// higher number, whichever arrives first, and a piece that is sent again keeps its numbers.
	f := &flight{buf: t.buf, done: make(chan struct{})}
	for _, l := range slices.Sorted(maps.Keys(levels)) {
		run := flightRun{seq: t.stage.next, writes: make([]stagedWrite, 0, len(t.buf.entries))}
		for _, e := range t.buf.entries {
			for v := &e.version; v != nil; v = v.prev {
				// Of several versions that fall together the first met is the latest.
				if level(v.level) == l {
					run.writes = append(run.writes, stagedWrite{e.key, v})
					break
				}
			}
		}
		t.stage.next += uint64(len(run.writes))
		t.stage.record(l, run.seq)
		f.runs = append(f.runs, run)
	}
	t.buf.reset()
	if t.stop == nil {
		t.stopCtx, t.stop = context.WithCancel(context.WithoutCancel(ctx))
	}
	t.mu.Lock()
	t.mu.flights = append(t.mu.flights, f)
	t.mu.Unlock()
	if !t.db.background(func(dbCtx context.Context) {
		ctx, cancel := context.WithCancel(t.stopCtx)
		defer cancel()
		defer context.AfterFunc(dbCtx, cancel)()
		var err error
		for _, run := range f.runs {
			if err = t.stageRun(ctx, run); err != nil {
				// Part of the buffer is staged: going on would need to know which.
				t.abort(err)
				break
			}
		}
		t.mu.Lock()
		t.mu.flights = slices.DeleteFunc(t.mu.flights, func(g *flight) bool { return g == f })
		t.mu.Unlock()
		close(f.done)
	}) {
		close(f.done)
		return t.abort(wrap(kv.ErrUnavailable, "shutting down"))
	}
	return nil
}

// flights returns the flushed buffers on their way, oldest first.
func (t *Txn) flights() []*flight {
	if !t.stage.any {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.mu.flights)
}

// land waits until every flushed buffer that holds a key in [start, end) has arrived (nil: every one), and
// reports what went wrong with any.
func (t *Txn) land(ctx context.Context, start, end []byte) error {
	for _, f := range t.flights() {
		if start != nil {
			if i, _ := f.buf.search(start); i == len(f.buf.entries) || bytes.Compare(f.buf.entries[i].key, end) >= 0 {
				continue
			}
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return t.check()
}

// own returns the transaction's own unstaged write of key, nil when there is none.
func (t *Txn) own(key []byte) *entry {
	if e := t.buf.get(key); e != nil {
		return e
	}
	flights := t.flights()
	for i := len(flights) - 1; i >= 0; i-- {
		if e := flights[i].buf.get(key); e != nil {
			return e
		}
	}
	return nil
}

// abort makes any error leave only Rollback.
func (t *Txn) abort(err error) error {
	t.mu.Lock()
	if t.mu.failed == nil {
		t.mu.failed = err
	}
	t.mu.Unlock()
	return err
}

// stagedWrite is one write on its way.
type stagedWrite struct {
	key []byte
	v   *version
}

// stagePiece is the writes [from, to) of a run, in one range.
type stagePiece struct {
	rt       *route
	from, to int
}

// stageRun stages the writes of a run. Pieces whose range has split meanwhile are cut anew.
func (t *Txn) stageRun(ctx context.Context, run flightRun) error {
	todo := []stagePiece{{nil, 0, len(run.writes)}}
	retry := t.db.newRetry()
	for {
		var pieces []stagePiece
		for _, p := range todo {
			cut, err := t.cutPieces(ctx, run.writes, p.from, p.to)
			if err != nil {
				return err
			}
			pieces = append(pieces, cut...)
		}
		var mu sync.Mutex
		todo = nil
		err := parallel(len(pieces), func(i int) error {
			p := pieces[i]
			err := t.stagePiece(ctx, p.rt, run.writes[p.from:p.to], run.seq+uint64(p.from))
			if errors.Is(err, errReroute) {
				mu.Lock()
				todo = append(todo, p)
				mu.Unlock()
				return nil
			}
			return err
		})
		if err != nil || len(todo) == 0 {
			return err
		}
		retry.cause = "routing"
		if err := retry.wait(ctx); err != nil {
			return err
		}
	}
}

// cutPieces cuts sorted writes where ranges end and requests grow too large.
func (t *Txn) cutPieces(ctx context.Context, writes []stagedWrite, from, to int) ([]stagePiece, error) {
	var pieces []stagePiece
	for from < to {
		rt, err := t.db.routeFor(ctx, writes[from].key, false)
		if err != nil {
			return nil, err
		}
		n, size := from, 0
		for n < to && n-from < stagePieceWrites && (n == from || size < stagePieceBytes) && rt.desc.Contains(writes[n].key) {
			size += len(writes[n].key) + len(writes[n].v.value)
			n++
		}
		pieces = append(pieces, stagePiece{rt, from, n})
		from = n
	}
	return pieces, nil
}

func (t *Txn) stagePiece(ctx context.Context, rt *route, writes []stagedWrite, seq uint64) error {
	req := t.newWrite(txnpb.Kind_STAGE, rt)
	req.StageSeq = int64(seq)
	req.WriteKeys, req.WriteValues = make([][]byte, 0, len(writes)), make([][]byte, 0, len(writes))
	for _, w := range writes {
		op := w.v.op
		if op == txnpb.WriteOp_WRITE_INSERT {
			// A repeated request must not find its own first try.
			op = txnpb.WriteOp_WRITE_PUT
		}
		addWrite(req, op, w.key, w.v.value)
	}
	return t.sendStage(ctx, rt, req, writes[0].key, writes[len(writes)-1].key, false)
}

func (t *Txn) sendStage(ctx context.Context, rt *route, req *txnpb.BatchRequest, lo, hi []byte, hiOpen bool) error {
	t.db.metrics.Staged.Add(1)
	resp, s, err := t.db.send(ctx, rt, req)
	t.account(s, req, resp)
	if errors.Is(err, errReroute) && !s.maybe {
		return err
	}
	var epoch int64
	if resp != nil {
		epoch = resp.LockEpoch
	}
	if terr := t.touched(rt, epoch, lo, hi, hiOpen, true); err == nil {
		err = terr
	}
	if err == nil {
		err = responseError(req, resp)
	}
	return err
}

// newWrite returns a request that carries writes, for a range.
func (t *Txn) newWrite(kind txnpb.Kind, rt *route) *txnpb.BatchRequest {
	req := &txnpb.BatchRequest{
		Kind: kind, TxnId: t.id[:], Age: int64(t.age), Gateway: int32(t.db.cfg.NodeID),
		LockEpoch: t.ask(rt), LockTimeout: int64(t.lockTimeout), AbsorbedLockEpochs: t.absorbedEpochs(rt.desc),
	}
	if t.opts.Isolation == kv.Snapshot {
		req.ConflictTs = int64(t.ReadTimestamp())
	}
	return req
}

// addWrite appends a write; write_ops stays empty while all are puts.
func addWrite(req *txnpb.BatchRequest, op txnpb.WriteOp, key, value []byte) {
	if op != txnpb.WriteOp_WRITE_PUT && len(req.WriteOps) == 0 {
		req.WriteOps = make([]byte, len(req.WriteKeys), cap(req.WriteKeys))
	}
	if op != txnpb.WriteOp_WRITE_PUT || len(req.WriteOps) > 0 {
		req.WriteOps = append(req.WriteOps, byte(op))
	}
	req.WriteKeys = append(req.WriteKeys, key)
	req.WriteValues = append(req.WriteValues, value)
}

// DeleteSpan implements kv.Txn. The deletion goes to the ranges at once, as a staged write: what the span holds
// need not be known here.
func (t *Txn) DeleteSpan(ctx context.Context, span kv.Span) error {
	if err := t.check(); err != nil {
		return err
	}
	if t.opts.ReadOnly {
		return kv.ErrReadOnly
	}
	if bytes.Compare(span.Start, span.End) >= 0 {
		return nil
	}
	if err := t.land(ctx, nil, nil); err != nil {
		return err
	}
	t.buf.removeSpan(span.Start, span.End)
	if t.stage.next == 0 {
		t.stage.next = 1
	}
	t.stage.any = true
	t.stage.spanMark = t.level + 1
	retry := t.db.newRetry()
	for cur := span.Start; bytes.Compare(cur, span.End) < 0; {
		rt, err := t.db.routeFor(ctx, cur, false)
		if err != nil {
			return t.abort(err)
		}
		end := span.End
		if bytes.Compare(rt.desc.End, end) < 0 {
			end = rt.desc.End
		}
		req := t.newWrite(txnpb.Kind_STAGE, rt)
		req.StageSeq = int64(t.stage.next)
		from := t.stage.next
		t.stage.next++
		t.stage.record(t.level, from)
		addWrite(req, txnpb.WriteOp_WRITE_DELETE_SPAN, cur, end)
		err = t.sendStage(ctx, rt, req, cur, end, true)
		if errors.Is(err, errReroute) {
			retry.cause = "routing"
			if err := retry.wait(ctx); err != nil {
				return t.abort(err)
			}
			continue
		}
		if err != nil {
			return t.abort(err)
		}
		cur = end
	}
	return nil
}

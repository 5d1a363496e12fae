package participant

import (
	"bytes"
	"context"
	"time"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/truetime/plant"
	"github.com/meridian-db/meridian/txn/locktable"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// Presence bytes of a response.
const (
	absent  = 0
	present = 1
	skipped = 2
)

// defaultPageBytes bounds a span page when the request does not.
const defaultPageBytes = 1 << 20

// Presence of a single key is shared between responses, which are not modified.
var onePresence = [...][]byte{{absent}, {present}, {skipped}}

func (m *Machine) read(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	desc := m.rep.Desc()
	if !contains(desc, req) {
		return errMismatch
	}
	if req.Lock != txnpb.LockMode_LOCK_NONE {
		return m.readLocking(ctx, req, resp)
	}
	if err := m.readUnlocked(ctx, req, resp); err != nil {
		return err
	}
	return m.stillHolds(desc, req)
}

// stillHolds reports whether this replica, whose descriptor was desc, held the keys of req until now. What was split off
// meanwhile may have gone on without it: neither its safe time nor its locks, which have moved, said anything about
// those keys. And the data of a replica that has left may be gone.
func (m *Machine) stillHolds(desc *ranges.Descriptor, req *txnpb.BatchRequest) error {
	now := m.rep.Desc()
	switch {
	case m.closed.Load():
		return m.notLeader()
	case now != desc && !contains(now, req):
		return errMismatch
	}
	return nil
}

// readUnlocked answers a snapshot read.
func (m *Machine) readUnlocked(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	ts := truetime.Timestamp(req.ReadTs)
	if ts == 0 && !req.Strong {
		return invalid("snapshot read without timestamp")
	}
	if ts != 0 && ts <= m.rep.SafeTime() {
		// Any replica may answer: nothing at or below its safe time changes any more. A leader does better
		// for timestamps that have not passed: it knows by its locks which keys have to wait.
		leads := m.lead.Load() != nil
		if !leads && (!req.FollowerOk || len(req.TxnId) > 0) {
			return m.notLeader()
		}
		if !leads || m.srv.cfg.Clock.Now().After(ts) {
			resp.Follower = !leads
			return m.readSafe(ctx, req, resp, ts)
		}
	}
	l, err := m.leader()
	if err != nil {
		// What a transaction has staged may not have reached this replica yet.
		if !req.FollowerOk || m.lead.Load() != nil || len(req.TxnId) > 0 {
			return err
		}
		if ts == 0 {
			if ts = m.now(); ts > m.rep.SafeTime() && smallRead(req) {
				return err // the leader's answer is as quick as its word that this one may answer
			}
		}
		if err := m.waitSafe(ctx, ts); err != nil {
			return err
		}
		resp.Follower = true
		return m.readSafe(ctx, req, resp, ts)
	}
	if ts == 0 {
		if ts, err = m.strongTimestamp(ctx, l, req); err != nil {
			return err
		}
	} else if err := m.settle(ctx, l, req, resp, ts); err != nil {
		return err
	}
	return m.readAt(ctx, req, resp, ts)
}

// followerPatience bounds how long a replica that does not lead waits until it may answer: one that lags, or is cut
// off, sends readers on to the leader.
const followerPatience = time.Second

func (m *Machine) waitSafe(ctx context.Context, ts truetime.Timestamp) error {
	if ts <= m.rep.SafeTime() {
		return nil
	}
	wctx, cancel := context.WithTimeout(ctx, followerPatience)
	defer cancel()
	err := m.rep.WaitSafe(wctx, ts)
	if err != nil && ctx.Err() == nil && (wctx.Err() != nil || !known(err)) {
		// It took too long, or its leader could not be asked: a broken connection is no fault of the read's.
		return m.notLeader()
	}
	return err
}

// smallRead reports whether a read is a whole transaction and is going to be answered with little. The gateway
// routes it by the same rule.
func smallRead(req *txnpb.BatchRequest) bool {
	return req.Strong && (len(req.SpanStarts) == 0 || req.MaxRows > 0 && req.MaxRows <= 100)
}

// strongTimestamp chooses the timestamp of a strong read on the leader. LastTS will do when nothing that
// may commit holds the keys: whatever was answered before this request came is at or below it. Otherwise
// it is now, and the read waits for what may still commit below that.
func (m *Machine) strongTimestamp(ctx context.Context, l *leadership, req *txnpb.BatchRequest) (truetime.Timestamp, error) {
	if last, ok := l.lastFinished(func() bool { return !m.conflicts(l, req, truetime.MaxTimestamp) }); ok {
		// An idle range may have collected garbage past its last commit. Nothing has been committed in between, and
		// nothing will be: the threshold lies in the past.
		return max(last, truetime.Timestamp(m.threshold.Load())), nil
	}
	last := truetime.Timestamp(l.lastTS.Load())
	ts := m.now()
	if err := m.settle(ctx, l, req, nil, ts); err != nil {
		return 0, err
	}
	if last < 0 && ts > -last {
		// Nothing will be committed at or below ts, and what may be in flight there holds its locks.
		l.lastTS.CompareAndSwap(int64(last), int64(ts))
	}
	return ts, nil
}

// lastFinished returns LastTS if free reports that nothing which may commit holds what is to be read. Nothing may finish in
// between: a participant's part of a commit does after its coordinator has answered, when its client may have sent this
// read already, and it would be neither below LastTS nor held.
func (l *leadership) lastFinished(free func() bool) (last truetime.Timestamp, ok bool) {
	for range lastTries {
		last = truetime.Timestamp(l.lastTS.Load())
		if last <= 0 || !free() {
			return 0, false
		}
		if truetime.Timestamp(l.lastTS.Load()) == last {
			return last, true
		}
	}
	return 0, false
}

// lastTries is how often a read looks for LastTS to stand still, before it reads at now.
const lastTries = 3

func (m *Machine) conflicts(l *leadership, req *txnpb.BatchRequest, ts truetime.Timestamp) bool {
	if !l.table.Unsettled() {
		return false
	}
	self := m.self(l, req)
	for _, k := range req.Keys {
		if y, _ := l.table.Conflict(k, nil, ts, self); y != nil {
			return true
		}
	}
	for i, k := range req.SpanStarts {
		if y, _ := l.table.Conflict(k, req.SpanEnds[i], ts, self); y != nil {
			return true
		}
	}
	return false
}

func (m *Machine) self(l *leadership, req *txnpb.BatchRequest) *locktable.Txn {
	if len(req.TxnId) == 0 {
		return nil
	}
	return l.table.Lookup(TxnID(req.TxnId))
}

// settle makes ts readable on the leader: no later commit gets a timestamp at or below ts (I5), and
// those in flight or prepared that may, and that write what is read, have ended (I7: they keep their
// locks through commit wait).
func (m *Machine) settle(ctx context.Context, l *leadership, req *txnpb.BatchRequest, resp *txnpb.BatchResponse, ts truetime.Timestamp) error {
	if err := m.rep.BumpFloor(ts); err != nil {
		return err
	}
	if !l.table.Unsettled() {
		return nil
	}
	self := m.self(l, req)
	wait := func(start, end []byte) error {
		for {
			y, changed := l.table.Conflict(start, end, ts, self)
			if y == nil {
				return nil
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return ctx.Err()
			case <-l.ctx.Done():
				return m.notLeader()
			}
		}
	}
	for _, k := range req.Keys {
		if err := wait(k, nil); err != nil {
			return err
		}
	}
	for i, k := range req.SpanStarts {
		if bytes.Compare(k, req.SpanEnds[i]) < 0 {
			if err := wait(k, req.SpanEnds[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// readSafe answers a read at or below safe time, which looks at no locks. Safe time may run ahead of the clock,
// and what was committed at a timestamp that has not passed yet must not be seen yet (I7): who sees it
// and tells another has that one read below it. For stale reads there is never anything to wait for.
func (m *Machine) readSafe(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse, ts truetime.Timestamp) error {
	if err := m.readAt(ctx, req, resp, ts); err != nil {
		return err
	}
	seen := min(ts, truetime.Timestamp(m.newest.Load()))
	if clock := m.srv.cfg.Clock; seen > 0 && !m.srv.cfg.TestNoCommitWait && !m.srv.cfg.TestReadEarly && !clock.Now().After(seen) {
		return clock.WaitAfter(ctx, seen)
	}
	return nil
}

// readAt answers a snapshot read at ts, which has been made safe.
func (m *Machine) readAt(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse, ts truetime.Timestamp) error {
	resp.ReadTs = int64(ts)
	if resp.Follower {
		m.srv.metrics.readsFollower.Inc()
	} else {
		m.srv.metrics.readsLeader.Inc()
	}
	view := m.view(req)
	if err := m.readPoints(req, resp, ts, view); err != nil {
		return err
	}
	if req.Changes {
		return m.readChanges(ctx, req, resp, ts, view)
	}
	if len(req.SpanStarts) > 0 {
		left := newPageLimit(req)
		left.keep = len(req.SpanStarts) > 1
		for i, start := range req.SpanStarts {
			rows, resume, err := m.scanRows(ctx, req, resp, left, mvcc.Span{Start: start, End: req.SpanEnds[i]}, ts, req.NoValues, view)
			if err != nil {
				_ = left.close()
				return err
			}
			resp.SpanRows = append(resp.SpanRows, rows)
			resp.ResumeKeys = append(resp.ResumeKeys, resume)
		}
		if err := m.cut(req, resp, left.read); err != nil {
			_ = left.close()
			return err
		}
		if err := left.close(); err != nil {
			return err
		}
	}
	// Checked last: what was read before the threshold rose is complete.
	return mvcc.CheckGC(ts, truetime.Timestamp(m.threshold.Load()))
}

func (m *Machine) readPoints(req *txnpb.BatchRequest, resp *txnpb.BatchResponse, ts truetime.Timestamp, view mvcc.View) error {
	n := len(req.Keys)
	if n == 0 {
		return nil
	}
	resp.Values = make([][]byte, n)
	if n == 1 {
		v, _, found, err := mvcc.GetView(m.rep.Engine(), req.Keys[0], ts, view)
		if err != nil {
			return err
		}
		setPoint(req, resp, 0, v, found)
		return nil
	}
	points := mvcc.NewPointReader(m.rep.Engine(), view)
	defer points.Close()
	resp.Presence = make([]byte, n)
	for i, k := range req.Keys {
		v, _, found, err := points.Get(k, ts)
		if err != nil {
			return err
		}
		setPoint(req, resp, i, v, found)
	}
	return nil
}

func setPoint(req *txnpb.BatchRequest, resp *txnpb.BatchResponse, i int, v []byte, found bool) {
	state := byte(absent)
	if found {
		state = present
		if !req.NoValues {
			resp.Values[i] = v
		}
	}
	if len(req.Keys) == 1 {
		resp.Presence = onePresence[state]
	} else {
		resp.Presence[i] = state
	}
}

// pageLimit is what is left of a request's limits over its spans.
type pageLimit struct {
	rows, bytes int64
	read        int64 // bytes of pairs that were read, answered or not
	// arena takes the pairs of all spans. With keep one scanner, sc, reads them one after the other; close releases
	// it.
	arena []byte
	keep  bool
	sc    *mvcc.Scanner
}

// close releases the scanner.
func (p *pageLimit) close() error {
	if p.sc == nil {
		return nil
	}
	return p.sc.Close()
}

func newPageLimit(req *txnpb.BatchRequest) *pageLimit {
	p := &pageLimit{rows: req.MaxRows, bytes: req.MaxBytes}
	if p.rows <= 0 {
		p.rows = 1 << 40
	}
	if p.bytes <= 0 {
		p.bytes = defaultPageBytes
	}
	return p
}

func (p *pageLimit) exhausted() bool { return p.rows <= 0 || p.bytes <= 0 }

// take counts one pair, and reports whether there is room for another.
func (p *pageLimit) take(k, v []byte) {
	p.rows--
	p.bytes -= int64(len(k) + len(v))
	p.read += int64(len(k) + len(v))
}

// maxCuts bounds the cuts of an answer, whatever the request says.
const maxCuts = 1 << 10

// cut adds to the answer where the rest of the request's span may be divided, which has read that many bytes of it. What
// the page takes in files tells what the rest holds.
func (m *Machine) cut(req *txnpb.BatchRequest, resp *txnpb.BatchResponse, read int64) error {
	if req.MaxCuts <= 0 || req.Reverse || len(req.SpanStarts) != 1 || len(resp.ResumeKeys[0]) == 0 || read == 0 {
		return nil
	}
	e := m.rep.Engine()
	stored, err := e.EstimateSize(mvcc.Span{Start: req.SpanStarts[0], End: resp.ResumeKeys[0]})
	if err != nil {
		return err
	}
	every := uint64(float64(stored) / float64(read) * scanBudget)
	resp.Cuts, err = e.Cuts(mvcc.Span{Start: resp.ResumeKeys[0], End: req.SpanEnds[0]}, every, int(min(req.MaxCuts, maxCuts)))
	return err
}

// scanRows appends the pairs of span to resp up to the limits. resume is where to go on, nil when done.
func (m *Machine) scanRows(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse, left *pageLimit, span mvcc.Span, ts truetime.Timestamp, keysOnly bool, view mvcc.View) (rows int64, resume []byte, err error) {
	if span.Empty() {
		return 0, nil, nil
	}
	if left.exhausted() {
		if req.Reverse {
			return 0, span.End, nil
		}
		return 0, span.Start, nil
	}
	if len(req.Program) > 0 && !keysOnly && len(req.SpanStarts) == 1 {
		rows, resume, ok, err := m.scanProgram(ctx, req, resp, left, span, ts, view)
		if ok || err != nil {
			return rows, resume, err
		}
	}
	s := left.sc
	if s != nil {
		s.Reset(span)
	} else {
		s = mvcc.NewScanner(m.rep.Engine(), mvcc.ScanOptions{Span: span, TS: ts, View: view, Reverse: req.Reverse})
		if left.keep {
			left.sc = s
		}
	}
	arena := left.arena
	for s.Next() {
		key := s.Key()
		if left.exhausted() {
			if resume = bytes.Clone(key); req.Reverse {
				resume = append(resume, 0) // exclusive end that still holds key
			}
			break
		}
		var value []byte
		if !keysOnly {
			value = s.Value()
		}
		left.take(key, value)
		if cap(arena)-len(arena) < len(key)+len(value) {
			arena = make([]byte, 0, max(4<<10, min(64<<10, 2*cap(arena)), len(key)+len(value)))
		}
		n := len(arena)
		arena = append(append(arena, key...), value...)
		resp.RowKeys = append(resp.RowKeys, arena[n:n+len(key):n+len(key)])
		resp.RowValues = append(resp.RowValues, arena[n+len(key):len(arena):len(arena)])
		if rows++; rows%256 == 0 && ctx.Err() != nil {
			err = ctx.Err()
			break
		}
	}
	left.arena = arena
	if err == nil {
		err = s.Err()
	}
	if left.sc == nil {
		if cerr := s.Close(); err == nil {
			err = cerr
		}
	}
	return rows, resume, err
}

// readLocking takes locks and reads the newest data under them.
func (m *Machine) readLocking(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	l, err := m.leader()
	if err != nil {
		return err
	}
	x, err := l.begin(req, resp)
	if err != nil {
		return err
	}
	m.srv.metrics.readsLocking.Inc()
	mode := locktable.Shared
	if req.Lock == txnpb.LockMode_LOCK_EXCLUSIVE {
		mode = locktable.Exclusive
	}
	lk := m.locking(l, x, req, resp)
	if n := len(req.Keys); n > 0 {
		resp.Values = make([][]byte, n)
		resp.Presence = onePresence[absent]
		if n > 1 {
			resp.Presence = make([]byte, n)
		}
		covered := mode == locktable.Exclusive && lk.escalate(writeSet{keys: req.Keys})
		for i, key := range req.Keys {
			if covered {
				break
			}
			skip, err := lk.acquire(ctx, key, nil, mode)
			if err != nil {
				return err
			}
			if skip && n == 1 {
				resp.Presence = onePresence[skipped]
			} else if skip {
				resp.Presence[i] = skipped
			}
		}
		// Read when all are locked, so that one look at the engine does for all.
		points := mvcc.NewPointReader(m.rep.Engine(), m.view(req))
		defer points.Close()
		for i, key := range req.Keys {
			if resp.Presence[i] == skipped {
				continue
			}
			v, vts, found, err := points.Get(key, truetime.MaxTimestamp)
			if err != nil {
				return err
			}
			if req.ConflictTs != 0 && vts > truetime.Timestamp(req.ConflictTs) {
				return writeConflict(key)
			}
			setPoint(req, resp, i, v, found)
		}
	}
	var left *pageLimit
	for i, start := range req.SpanStarts {
		if left == nil {
			left = newPageLimit(req)
		}
		span := mvcc.Span{Start: start, End: req.SpanEnds[i]}
		var rows int64
		var resume []byte
		var err error
		if req.LockScope == txnpb.LockScope_LOCK_ONLY {
			_, err = lk.acquire(ctx, span.Start, span.End, mode)
		} else if req.LockScope == txnpb.LockScope_LOCK_ROWS || req.Wait == txnpb.WaitPolicy_WAIT_SKIP {
			rows, resume, err = m.lockRows(ctx, &lk, left, span, mode)
		} else {
			rows, resume, err = m.lockSpan(ctx, &lk, left, span, mode)
		}
		if err != nil {
			return err
		}
		resp.SpanRows = append(resp.SpanRows, rows)
		resp.ResumeKeys = append(resp.ResumeKeys, resume)
	}
	if m.srv.cfg.TestReleaseEarly && mode == locktable.Shared {
		l.table.DropShared(x)
	}
	// Wounded while it was reading: what was read may be torn.
	if x.State() == locktable.Aborted {
		return locktable.ErrWounded
	}
	return nil
}

// lockSpan locks as much of span as one page answers, and reads it. The page's end is found by a look at the
// data without a lock; under the lock only that part is read, whatever has changed in it meanwhile.
func (m *Machine) lockSpan(ctx context.Context, lk *locking, left *pageLimit, span mvcc.Span, mode locktable.Mode) (int64, []byte, error) {
	req := lk.req
	if span.Empty() {
		return 0, nil, nil
	}
	if left.exhausted() {
		if req.Reverse {
			return 0, span.End, nil
		}
		return 0, span.Start, nil
	}
	if plant.On(plant.Phantom) {
		return m.lockRows(ctx, lk, left, span, mode)
	}
	locked := span
	// Without a limit on rows the gateway is going to read all of it, page by page: it is locked whole.
	if req.MaxRows > 0 {
		var scratch txnpb.BatchResponse
		look := *left
		_, resume, err := m.scanRows(ctx, req, &scratch, &look, span, truetime.MaxTimestamp, len(req.Program) == 0, m.view(req))
		if err != nil {
			return 0, nil, err
		}
		switch {
		case resume == nil && look.rows > 0:
		case resume == nil:
			// Exactly the limit was there: lock up to the last pair and leave the rest for the next page.
			last := scratch.RowKeys[len(scratch.RowKeys)-1]
			if req.Reverse {
				locked.Start = last
			} else {
				locked.End = append(bytes.Clone(last), 0)
			}
		case req.Reverse:
			locked.Start = resume
		default:
			locked.End = resume
		}
	}
	if _, err := lk.acquire(ctx, locked.Start, locked.End, mode); err != nil {
		return 0, nil, err
	}
	view := m.view(req)
	if ts := truetime.Timestamp(req.ConflictTs); ts != 0 {
		latest, err := mvcc.LatestInSpan(m.rep.Engine(), locked, ts, view)
		if err != nil {
			return 0, nil, err
		}
		if latest > ts {
			return 0, nil, writeConflict(locked.Start)
		}
	}
	rows, resume, err := m.scanRows(ctx, req, lk.resp, left, locked, truetime.MaxTimestamp, req.NoValues, view)
	if resume == nil {
		switch {
		case req.Reverse && !bytes.Equal(locked.Start, span.Start):
			resume = locked.Start
		case !req.Reverse && !bytes.Equal(locked.End, span.End):
			resume = locked.End
		}
	}
	return rows, resume, err
}

// lockRows locks the existing keys of span one by one. With conflict_ts the rows are those of the snapshot.
func (m *Machine) lockRows(ctx context.Context, lk *locking, left *pageLimit, span mvcc.Span, mode locktable.Mode) (rows int64, resume []byte, err error) {
	req, resp := lk.req, lk.resp
	ts := truetime.MaxTimestamp
	conflict := truetime.Timestamp(req.ConflictTs)
	if conflict != 0 {
		if ts = conflict; ts > m.rep.SafeTime() {
			look := &txnpb.BatchRequest{TxnId: req.TxnId, SpanStarts: [][]byte{span.Start}, SpanEnds: [][]byte{span.End}}
			if err := m.settle(ctx, lk.l, look, resp, ts); err != nil {
				return 0, nil, err
			}
		}
	}
	for {
		if span.Empty() {
			return rows, nil, nil
		}
		if left.exhausted() {
			if req.Reverse {
				return rows, span.End, nil
			}
			return rows, span.Start, nil
		}
		var found txnpb.BatchResponse
		page := pageLimit{rows: min(left.rows, 256), bytes: left.bytes}
		_, next, err := m.scanRows(ctx, req, &found, &page, span, ts, true, m.view(req))
		if err != nil {
			return rows, nil, err
		}
		locked := found.RowKeys[:0]
		for _, key := range found.RowKeys {
			skip, err := lk.acquire(ctx, key, nil, mode)
			if err != nil {
				return rows, nil, err
			}
			if !skip {
				locked = append(locked, key)
			}
		}
		n, resume, err := m.readLocked(lk, left, locked, conflict)
		rows += n
		if err != nil || resume != nil {
			return rows, resume, err
		}
		if next == nil {
			return rows, nil, nil
		}
		if req.Reverse {
			span.End = next
		} else {
			span.Start = next
		}
	}
}

// readLocked appends the newest values of keys, which are locked, to the response. resume is where to go on when the
// limits are reached before the last.
func (m *Machine) readLocked(lk *locking, left *pageLimit, keys [][]byte, conflict truetime.Timestamp) (rows int64, resume []byte, err error) {
	req, resp := lk.req, lk.resp
	points := mvcc.NewPointReader(m.rep.Engine(), m.view(req))
	defer points.Close()
	for _, key := range keys {
		if left.exhausted() {
			if req.Reverse {
				return rows, append(bytes.Clone(key), 0), nil
			}
			return rows, key, nil
		}
		v, vts, ok, err := points.Get(key, truetime.MaxTimestamp)
		if err != nil {
			return rows, nil, err
		}
		if conflict != 0 && vts > conflict {
			return rows, nil, writeConflict(key)
		}
		if !ok {
			continue // deleted before we had its lock
		}
		if req.NoValues {
			v = nil
		}
		left.take(key, v)
		resp.RowKeys = append(resp.RowKeys, key)
		resp.RowValues = append(resp.RowValues, v)
		rows++
	}
	return rows, nil, nil
}

// SafeTime, for tests and views, is the replica's safe time.
func (m *Machine) SafeTime() truetime.Timestamp { return m.rep.SafeTime() }

// ID returns the range's id.
func (m *Machine) ID() ranges.RangeID { return m.id }

package txn

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// Scanner merges the pages that ranges answer with the transaction's own buffered writes. It sees what the
// transaction had written when it was opened, whatever is written or flushed while it is open.
type Scanner struct {
	t     *Txn
	span  kv.Span
	opts  kv.ScanOptions
	lock  kv.LockMode
	level uint64
	ts    truetime.Timestamp // of a snapshot read, fixed when the scanner is opened

	// The page covers keys from pos to reach: upwards [pos, reach), downwards [reach, pos).
	rows         []*txnpb.BatchResponse // at most one; the page's answer
	next         int                    // row of the page
	pos          []byte
	after        bool // upwards: pos itself has been returned
	reach        []byte
	kept         buffer // own writes in the page that were flushed after it was fetched
	raw          bool   // the last page should have been computed, and was not
	wire         int64  // bytes of the page's answer, if it came from another node
	returned     int64
	pair         kv.KeyValue
	done, closed bool
	err          error
}

// rawRows is the least number of rows to ask for at a time when the program that the limit counts on does not run.
const rawRows = 256

var _ kv.PageScanner = (*Scanner)(nil)

// Scan implements kv.Txn.
func (t *Txn) Scan(ctx context.Context, span kv.Span, opts kv.ScanOptions) (kv.Scanner, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	s := &Scanner{t: t, span: kv.Span{Start: bytes.Clone(span.Start), End: bytes.Clone(span.End)}, opts: opts, lock: t.lockFor(opts.Lock)}
	if opts.Reverse {
		s.pos, s.reach = s.span.End, s.span.End
	} else {
		s.pos, s.reach = s.span.Start, s.span.Start
	}
	s.done = bytes.Compare(span.Start, span.End) >= 0
	if s.lock == kv.LockNone && !t.opts.OneShot {
		// A cursor keeps its timestamp when the next statement begins under a fresh one.
		var err error
		if s.ts, _, err = t.snapshotTS(ctx, s.span.Start, false); err != nil {
			return nil, err
		}
	}
	if t.opts.ReadOnly {
		return s, nil
	}
	t.mu.Lock()
	s.level = t.level
	t.level++
	t.mu.scanner = append(t.mu.scanner, s)
	t.mu.Unlock()
	return s, nil
}

// Next implements kv.Scanner.
func (s *Scanner) Next(ctx context.Context) bool {
	for s.err == nil && !s.done && !s.closed {
		key, v, own := s.ownNext()
		rkey, rvalue := s.row()
		switch {
		case rkey == nil && !own:
			if s.exhausted() {
				s.done = true
				break
			}
			if s.err = s.fetch(ctx); s.err != nil {
				s.err = s.t.fail(s.err)
			}
			continue
		case own && (rkey == nil || s.less(key, rkey) || bytes.Equal(key, rkey)):
			if rkey != nil && bytes.Equal(key, rkey) {
				s.next++
			}
			s.pos, s.after = key, true
			if v.op == txnpb.WriteOp_WRITE_DELETE {
				continue
			}
			s.pair = kv.KeyValue{Key: key, Value: v.value}
		default:
			s.next++
			s.pos, s.after = rkey, true
			s.pair = kv.KeyValue{Key: rkey, Value: rvalue}
		}
		if s.done {
			break
		}
		s.returned++
		return true
	}
	s.pair = kv.KeyValue{}
	return false
}

// NextPage implements kv.PageScanner.
func (s *Scanner) NextPage(ctx context.Context) (page kv.Page) {
	for s.err == nil && !s.done && !s.closed {
		if s.exhausted() {
			s.done = true
			break
		}
		if s.err = s.fetch(ctx); s.err != nil {
			s.err = s.t.fail(s.err)
			break
		}
		resp := s.rows[0]
		page.Scanned += max(resp.RowsScanned, int64(len(resp.RowKeys)))
		page.Wire += s.wire
		page.Rest = s.rest()
		lo, hi := s.pos, s.reach
		if s.opts.Reverse {
			lo, hi = hi, lo
		}
		if resp.Computed || s.t.opts.ReadOnly || !s.owns(lo, hi) {
			page.Keys, page.Values, page.Computed = resp.RowKeys, resp.RowValues, resp.Computed
		} else {
			s.merge(&page)
		}
		// What the page covers has been returned, should the buffer be flushed.
		s.pos, s.after, s.next = s.reach, false, len(resp.RowKeys)
		if len(page.Keys) > 0 {
			if s.raw = s.opts.Program != nil && !page.Computed; !s.raw {
				s.returned += int64(len(page.Keys))
			}
		}
		if len(page.Keys) > 0 || len(page.Rest) > 0 {
			break
		}
	}
	return page
}

// rest returns the parts of what is left of the span after the page that was fetched, as its range has cut them; none if
// that has not, or nowhere within.
func (s *Scanner) rest() []kv.Span {
	var parts []kv.Span
	from := s.reach
	for _, cut := range s.rows[0].Cuts {
		if bytes.Compare(cut, from) > 0 && bytes.Compare(cut, s.span.End) < 0 {
			parts = append(parts, kv.Span{Start: from, End: cut})
			from = cut
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return append(parts, kv.Span{Start: from, End: s.span.End})
}

// merge appends the rows of the page that was fetched with the transaction's own writes in it.
func (s *Scanner) merge(page *kv.Page) {
	for {
		key, v, own := s.ownNext()
		rkey, rvalue := s.row()
		if rkey == nil && !own {
			return
		}
		if !own || rkey != nil && s.less(rkey, key) {
			s.next++
			s.pos, s.after = rkey, true
			page.Keys, page.Values = append(page.Keys, rkey), append(page.Values, rvalue)
			continue
		}
		if bytes.Equal(key, rkey) {
			s.next++
		}
		if s.pos, s.after = key, true; v.op != txnpb.WriteOp_WRITE_DELETE {
			page.Keys, page.Values = append(page.Keys, key), append(page.Values, v.value)
		}
	}
}

// owns reports whether the transaction has unstaged writes from lo on and below hi.
func (s *Scanner) owns(lo, hi []byte) bool {
	in := func(w *buffer) bool {
		if len(w.entries) == 0 {
			return false
		}
		i, _ := w.search(lo)
		return i < len(w.entries) && bytes.Compare(w.entries[i].key, hi) < 0
	}
	if in(&s.t.buf) || in(&s.kept) {
		return true
	}
	for _, f := range s.t.flights() {
		if in(&f.buf) {
			return true
		}
	}
	return false
}

// less orders keys in the direction of the scan.
func (s *Scanner) less(a, b []byte) bool {
	if s.opts.Reverse {
		return bytes.Compare(a, b) > 0
	}
	return bytes.Compare(a, b) < 0
}

// row returns the page's next row, nil when it is used up.
func (s *Scanner) row() (key, value []byte) {
	if len(s.rows) == 0 || s.next >= len(s.rows[0].RowKeys) {
		return nil, nil
	}
	return s.rows[0].RowKeys[s.next], s.rows[0].RowValues[s.next]
}

// ownNext returns the transaction's next own write within the page.
func (s *Scanner) ownNext() (key []byte, v *version, ok bool) {
	flights := s.t.flights()
	if len(s.t.buf.entries) == 0 && len(s.kept.entries) == 0 && len(flights) == 0 {
		return nil, nil, false
	}
	// The newest first: it wins where several hold a key.
	for i := len(flights) + 1; i >= 0; i-- {
		w := &s.kept
		switch {
		case i == len(flights)+1:
			w = &s.t.buf
		case i > 0:
			w = &flights[i-1].buf
		}
		var e *entry
		var ev *version
		if s.opts.Reverse {
			e, ev = w.prev(s.pos, s.reach, s.level)
		} else {
			e, ev = w.next(s.pos, s.after, s.reach, s.level)
		}
		if e != nil && (!ok || s.less(e.key, key)) {
			key, v, ok = e.key, ev, true
		}
	}
	return key, v, ok
}

// exhausted reports whether the page reaches the end of the span.
func (s *Scanner) exhausted() bool {
	if s.opts.Reverse {
		return bytes.Compare(s.reach, s.span.Start) <= 0
	}
	return bytes.Compare(s.reach, s.span.End) >= 0
}

// retain copies the own writes that the page does not hold, before the buffer is flushed. Later pages will
// hold them as staged writes.
func (s *Scanner) retain(w *buffer) {
	lo, hi := s.pos, s.reach
	if s.opts.Reverse {
		lo, hi = s.reach, s.pos
	}
	i, _ := w.search(lo)
	j, _ := w.search(hi)
	for _, e := range w.entries[i:max(i, j)] {
		if v := e.at(s.level); v != nil {
			n, found := s.kept.search(e.key)
			if found {
				continue // An earlier flush held what the scanner sees.
			}
			kept := *v
			kept.prev = nil
			s.kept.entries = slices.Insert(s.kept.entries, n, &entry{key: e.key, version: kept})
		}
	}
}

// fetch gets the next page.
func (s *Scanner) fetch(ctx context.Context) error {
	t := s.t
	retry := t.db.newRetry()
	for {
		// What is in flight has to arrive before the page is read: it could be missing in the page, and gone
		// from here, when the scan gets to it.
		if err := t.land(ctx, s.span.Start, s.span.End); err != nil {
			return err
		}
		rt, err := t.db.routeFor(ctx, s.reach, s.opts.Reverse)
		if err != nil {
			return err
		}
		lo, hi := s.reach, s.span.End
		if s.opts.Reverse {
			lo, hi = s.span.Start, s.reach
		}
		whole := rt.desc.ContainsSpan(s.span.Start, s.span.End)
		if bytes.Compare(lo, rt.desc.Start) < 0 {
			lo = rt.desc.Start
		}
		if bytes.Compare(hi, rt.desc.End) > 0 {
			hi = rt.desc.End
		}
		req := &txnpb.BatchRequest{SpanStarts: [][]byte{lo}, SpanEnds: [][]byte{hi}, Reverse: s.opts.Reverse}
		if err := t.prepareRead(ctx, req, lo, s.lock, s.opts.Wait, whole, s.level); err != nil {
			return err
		}
		if s.opts.Gaps && s.lock != kv.LockNone {
			req.LockScope = txnpb.LockScope_LOCK_SPAN
		}
		if s.ts != 0 {
			req.ReadTs, req.Strong = int64(s.ts), false
		}
		if s.opts.Program != nil && (t.opts.ReadOnly || !s.owns(lo, hi)) {
			req.Program = s.opts.Program
		}
		if s.opts.Parts > 1 && whole && len(s.rows) == 0 && s.lock == kv.LockNone && !s.opts.Reverse {
			req.MaxCuts = int32(min(s.opts.Parts-1, math.MaxInt32))
		}
		if s.opts.Limit > 0 {
			req.MaxRows = max(1, s.opts.Limit-s.returned, s.returned) // past the hint pages double
			if s.raw || s.opts.Program != nil && req.Program == nil {
				// How many of them the caller wants is not known here.
				req.MaxRows = max(req.MaxRows, rawRows)
			}
		}
		if s.lock != kv.LockNone {
			req.LockEpoch = t.ask(rt)
		}
		resp, sn, err := t.sendRead(ctx, rt, req)
		t.account(sn, req, resp)
		if errors.Is(err, errReroute) {
			retry.cause = "routing"
			if err := retry.wait(ctx); err != nil {
				return err
			}
			continue
		}
		if err == nil && resp.Error == txnpb.ErrorCode_OK {
			if len(resp.RowKeys) != len(resp.RowValues) || len(resp.ResumeKeys) > 1 {
				return malformed(req, resp)
			}
			if len(resp.ResumeKeys) == 1 && len(resp.ResumeKeys[0]) > 0 {
				// The page ends where the range says, not at the end of the span.
				if s.opts.Reverse {
					lo = resp.ResumeKeys[0]
				} else {
					hi = resp.ResumeKeys[0]
				}
			}
		}
		if s.lock != kv.LockNone {
			var epoch int64
			if resp != nil {
				epoch = resp.LockEpoch
			}
			first, last, open := lo, hi, true
			if req.LockScope == txnpb.LockScope_LOCK_ROWS && err == nil {
				// Only rows are locked, and where there was none, nothing.
				if first, last, open = nil, nil, false; len(resp.RowKeys) > 0 {
					first, last = resp.RowKeys[0], resp.RowKeys[len(resp.RowKeys)-1]
					if s.opts.Reverse {
						first, last = last, first
					}
				}
			}
			if terr := t.touched(rt, epoch, first, last, open, false); err == nil {
				err = terr
			}
		}
		if err == nil {
			err = responseError(req, resp)
		}
		if err != nil {
			return err
		}
		t.learnTS(resp)
		if s.wire = 0; sn.node != t.db.cfg.NodeID {
			s.wire = int64(resp.SizeVT())
		}
		s.rows, s.next = append(s.rows[:0], resp), 0
		s.kept.reset()
		// Own writes between the last row returned and the old reach have been returned too.
		if s.opts.Reverse {
			s.pos, s.after, s.reach = s.reach, false, lo
		} else {
			s.pos, s.after, s.reach = s.reach, false, hi
		}
		return nil
	}
}

// Pair implements kv.Scanner.
func (s *Scanner) Pair() kv.KeyValue { return s.pair }

// Err implements kv.Scanner.
func (s *Scanner) Err() error { return s.err }

// Close implements kv.Scanner.
func (s *Scanner) Close() {
	if s.closed {
		return
	}
	s.closed = true
	s.rows, s.pair = nil, kv.KeyValue{}
	s.kept.reset()
	if s.t.opts.ReadOnly {
		return
	}
	s.t.mu.Lock()
	if i := slices.Index(s.t.mu.scanner, s); i >= 0 {
		s.t.mu.scanner = slices.Delete(s.t.mu.scanner, i, i+1)
	}
	s.t.mu.Unlock()
}

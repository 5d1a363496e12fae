package kvtest

import (
	"bytes"
	"context"

	"github.com/meridian-db/meridian/txn/kv"
)

// pageRows is how many pairs a page has: few, so that small tests read several, and enough for a reader that
// fetches ahead from some size on.
const pageRows = 300

var (
	_ kv.PageScanner = (*scanner)(nil)
	_ kv.SpanReader  = (*Txn)(nil)

	_ kv.SpanSplitter = (*Txn)(nil)
)

// NextPage implements kv.PageScanner.
func (s *scanner) NextPage(ctx context.Context) (page kv.Page) {
	if s.opts.Program != nil && s.t.db.Programs != nil && !s.owns() {
		start := *s
		if ev, err := s.t.db.Programs.Start(ctx, s.opts.Program); err == nil {
			if page, ok := s.compute(ctx, ev); ok {
				return page
			}
		}
		*s = start
	}
	for len(page.Keys) < pageRows && s.Next(ctx) {
		page.Keys, page.Values = append(page.Keys, bytes.Clone(s.kv.Key)), append(page.Values, bytes.Clone(s.kv.Value))
	}
	page.Scanned = int64(len(page.Keys))
	return page
}

// compute runs a program over the pairs up to the end of a page on which something comes of it.
func (s *scanner) compute(ctx context.Context, ev kv.Evaluator) (page kv.Page, ok bool) {
	page.Computed = true
	emit := func(k, v []byte) {
		page.Keys, page.Values = append(page.Keys, bytes.Clone(k)), append(page.Values, bytes.Clone(v))
	}
	for len(page.Keys) < pageRows && page.Scanned < 3*pageRows && s.Next(ctx) {
		page.Scanned++
		k, v, keep, err := ev.Pair(s.kv.Key, s.kv.Value)
		if err != nil {
			return page, false
		}
		if keep {
			emit(k, v)
		}
	}
	if s.err != nil || ev.Finish(emit) != nil {
		return page, false
	}
	if len(page.Keys) == 0 && page.Scanned > 0 {
		next := s.NextPage(ctx)
		next.Scanned += page.Scanned
		return next, true
	}
	return page, true
}

// owns reports whether the transaction has written in the span.
func (s *scanner) owns() bool {
	n := s.t.writes.seek(s.span.Start, nil)
	return n != nil && bytes.Compare(n.key, s.span.End) < 0
}

// ScanSpans implements kv.SpanReader for read-only transactions.
func (t *Txn) ScanSpans(ctx context.Context, spans []kv.Span) ([]kv.Pairs, bool, error) {
	if !t.opts.ReadOnly {
		return nil, false, nil
	}
	out := make([]kv.Pairs, len(spans))
	for i, sp := range spans {
		if bytes.Compare(sp.Start, sp.End) >= 0 {
			continue
		}
		sc, err := t.Scan(ctx, sp, kv.ScanOptions{})
		if err != nil {
			return nil, true, err
		}
		for sc.Next(ctx) {
			p := sc.Pair()
			out[i].Keys, out[i].Values = append(out[i].Keys, bytes.Clone(p.Key)), append(out[i].Values, bytes.Clone(p.Value))
		}
		if err := sc.Err(); err != nil {
			return nil, true, err
		}
		sc.Close()
	}
	return out, true, nil
}

// SplitSpan implements kv.SpanSplitter: a part ends after every partRows keys.
func (t *Txn) SplitSpan(_ context.Context, span kv.Span, most int) ([]kv.Span, error) {
	const partRows = 16
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	var parts []kv.Span
	start, n := span.Start, 0
	for k := t.db.data.seek(span.Start, nil); k != nil && bytes.Compare(k.key, span.End) < 0; k = k.next[0] {
		if n++; n%partRows == 0 && len(parts) < most-1 {
			parts = append(parts, kv.Span{Start: start, End: bytes.Clone(k.key)})
			start = bytes.Clone(k.key)
		}
	}
	return append(parts, kv.Span{Start: start, End: span.End}), nil
}

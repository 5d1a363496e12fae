package txn

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// maxBatchSpans bounds the spans of one request.
const maxBatchSpans = 512

// ScanSpans implements kv.SpanReader.
func (t *Txn) ScanSpans(ctx context.Context, spans []kv.Span) ([]kv.Pairs, bool, error) {
	if !t.opts.ReadOnly {
		return nil, false, nil // own writes would have to be merged in
	}
	if err := t.check(); err != nil {
		return nil, true, err
	}
	if len(spans) == 0 {
		return nil, true, nil
	}
	if _, _, err := t.snapshotTS(ctx, spans[0].Start, false); err != nil {
		return nil, true, err
	}
	out := make([]kv.Pairs, len(spans))
	var groups []keyGroup
	byRoute := map[*route]int{}
	var long []int // spans of several ranges
	for i, sp := range spans {
		if bytes.Compare(sp.Start, sp.End) >= 0 {
			continue
		}
		g := len(groups) - 1
		if g < 0 || !groups[g].rt.desc.ContainsSpan(sp.Start, sp.End) || len(groups[g].index) >= maxBatchSpans {
			rt, err := t.db.routeFor(ctx, sp.Start, false)
			if err != nil {
				return nil, true, err
			}
			if !rt.desc.ContainsSpan(sp.Start, sp.End) {
				long = append(long, i)
				continue
			}
			known := false
			if g, known = byRoute[rt]; !known || len(groups[g].index) >= maxBatchSpans {
				g = len(groups)
				groups = append(groups, keyGroup{rt: rt})
				byRoute[rt] = g
			}
		}
		groups[g].index = append(groups[g].index, i)
	}
	var mu sync.Mutex
	err := parallel(len(groups), func(i int) error {
		again, err := t.spanGroup(ctx, groups[i], spans, out)
		if errors.Is(err, errReroute) {
			// The range has split or moved: these go the long way.
			again, err = groups[i].index, nil
		}
		mu.Lock()
		long = append(long, again...)
		mu.Unlock()
		return err
	})
	if err != nil {
		return nil, true, t.fail(err)
	}
	for _, i := range long {
		if out[i], err = t.spanAlone(ctx, spans[i]); err != nil {
			return nil, true, err
		}
	}
	return out, true, nil
}

// spanGroup reads spans of one range in one request. It returns those that did not fit into the answer.
func (t *Txn) spanGroup(ctx context.Context, g keyGroup, spans []kv.Span, out []kv.Pairs) (again []int, err error) {
	req := &txnpb.BatchRequest{SpanStarts: make([][]byte, len(g.index)), SpanEnds: make([][]byte, len(g.index))}
	for j, i := range g.index {
		req.SpanStarts[j], req.SpanEnds[j] = spans[i].Start, spans[i].End
	}
	if err := t.prepareRead(ctx, req, req.SpanStarts[0], kv.LockNone, kv.WaitBlock, false, latestLevel); err != nil {
		return nil, err
	}
	resp, s, err := t.sendRead(ctx, g.rt, req)
	t.account(s, req, resp)
	if err == nil {
		err = responseError(req, resp)
	}
	if err != nil {
		return nil, err
	}
	if len(resp.SpanRows) != len(g.index) || len(resp.ResumeKeys) != len(g.index) || len(resp.RowKeys) != len(resp.RowValues) {
		return nil, malformed(req, resp)
	}
	t.learnTS(resp)
	at := 0
	for j, i := range g.index {
		n := int(resp.SpanRows[j])
		if n < 0 || at+n > len(resp.RowKeys) {
			return nil, malformed(req, resp)
		}
		if len(resp.ResumeKeys[j]) > 0 {
			again = append(again, i)
		} else {
			out[i] = kv.Pairs{Keys: resp.RowKeys[at : at+n : at+n], Values: resp.RowValues[at : at+n : at+n]}
		}
		at += n
	}
	return again, nil
}

// spanAlone reads a span by pages.
func (t *Txn) spanAlone(ctx context.Context, span kv.Span) (kv.Pairs, error) {
	var p kv.Pairs
	sc, err := t.Scan(ctx, span, kv.ScanOptions{})
	if err != nil {
		return p, err
	}
	defer sc.Close()
	for {
		page := sc.(kv.PageScanner).NextPage(ctx)
		if len(page.Keys) == 0 {
			return p, sc.Err()
		}
		p.Keys, p.Values = append(p.Keys, page.Keys...), append(p.Values, page.Values...)
	}
}

// SplitSpan implements kv.SpanSplitter.
func (t *Txn) SplitSpan(ctx context.Context, span kv.Span, most int) ([]kv.Span, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	var parts []kv.Span
	for cur := span.Start; bytes.Compare(cur, span.End) < 0; {
		rt, err := t.db.routeFor(ctx, cur, false)
		if err != nil {
			return nil, err
		}
		end := span.End
		if bytes.Compare(rt.desc.End, end) < 0 {
			end = rt.desc.End
		}
		parts = append(parts, kv.Span{Start: cur, End: end})
		cur = end
	}
	if len(parts) < 2 {
		return parts, nil
	}
	if t.opts.ReadOnly {
		// The promise of a single read no longer holds, by which its one range would choose the timestamp.
		if _, _, err := t.snapshotTS(ctx, span.Start, false); err != nil {
			return nil, err
		}
	}
	if n := len(parts); n > most {
		// Neighbours go together.
		joined := make([]kv.Span, most)
		for i := range joined {
			joined[i] = kv.Span{Start: parts[i*n/most].Start, End: parts[(i+1)*n/most-1].End}
		}
		parts = joined
	}
	return parts, nil
}

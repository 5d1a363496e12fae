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
)

// NextPage implements kv.PageScanner for read-only transactions.
func (s *scanner) NextPage(ctx context.Context) (keys, values [][]byte, ok bool) {
	if !s.t.opts.ReadOnly {
		return nil, nil, false
	}
	for len(keys) < pageRows && s.Next(ctx) {
		keys, values = append(keys, bytes.Clone(s.kv.Key)), append(values, bytes.Clone(s.kv.Value))
	}
	return keys, values, true
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

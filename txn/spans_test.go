package txn

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// TestScanSpans: spans read in batches, within ranges, across them, empty and inverted, hold what scans of each
// hold, and pages hold what pair by pair reading gives.
func TestScanSpans(t *testing.T) {
	inCluster(t, 2, nil, []string{"g", "p"}, func(ctx context.Context, c *testCluster) {
		for k := 'a'; k <= 'z'; k++ {
			c.put(1, string(k), "1", string(k)+"5", "5")
		}
		tx := c.begin(1, kv.TxnOptions{ReadOnly: true})
		defer tx.Rollback(ctx)
		var spans []kv.Span
		for _, s := range []string{"a b", "b d", "f h", "c c", "d c", "a zz", "x y", "k k5", "zz zzz", "o q"} {
			lo, hi, _ := strings.Cut(s, " ")
			spans = append(spans, kv.Span{Start: []byte(lo), End: []byte(hi)})
		}
		got, ok, err := any(tx).(kv.SpanReader).ScanSpans(ctx, spans)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		for i, sp := range spans {
			var want, have, paged []string
			sc, err := tx.Scan(ctx, sp, kv.ScanOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for sc.Next(ctx) {
				want = append(want, fmt.Sprintf("%s=%s", sc.Pair().Key, sc.Pair().Value))
			}
			sc.Close()
			for k, key := range got[i].Keys {
				have = append(have, fmt.Sprintf("%s=%s", key, got[i].Values[k]))
			}
			sc, err = tx.Scan(ctx, sp, kv.ScanOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for {
				page := sc.(kv.PageScanner).NextPage(ctx)
				if len(page.Keys) == 0 {
					break
				}
				for k, key := range page.Keys {
					paged = append(paged, fmt.Sprintf("%s=%s", key, page.Values[k]))
				}
			}
			sc.Close()
			if fmt.Sprint(have) != fmt.Sprint(want) || fmt.Sprint(paged) != fmt.Sprint(want) {
				t.Errorf("%s-%s: batch %v, pages %v, scan %v", sp.Start, sp.End, have, paged, want)
			}
		}
		// With writes of its own a transaction must merge them in.
		rw := c.begin(1, kv.TxnOptions{})
		defer rw.Rollback(ctx)
		if _, ok, _ := any(rw).(kv.SpanReader).ScanSpans(ctx, spans); ok {
			t.Error("a read-write transaction reads spans in batches")
		}
	})
}

// TestSplitSpan: a span is divided at the bounds of ranges, neighbours together when they are too many, and a lone read
// of its parts has one timestamp.
func TestSplitSpan(t *testing.T) {
	inCluster(t, 2, nil, []string{"d", "g", "p"}, func(ctx context.Context, c *testCluster) {
		tx := c.begin(1, kv.TxnOptions{ReadOnly: true, OneShot: true})
		defer tx.Rollback(ctx)
		for _, tc := range []struct {
			lo, hi string
			most   int
			want   string
		}{
			{"h", "k", 8, "h-k"},
			{"a", "zz", 8, "a-d d-g g-p p-zz"},
			{"a", "zz", 3, "a-d d-g g-zz"},
			{"e", "p", 1, "e-p"},
			{"b", "b", 8, ""},
		} {
			parts, err := tx.SplitSpan(ctx, kv.Span{Start: []byte(tc.lo), End: []byte(tc.hi)}, tc.most)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range parts {
				got = append(got, fmt.Sprintf("%s-%s", p.Start, p.End))
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("%s-%s by %d: %v, want %s", tc.lo, tc.hi, tc.most, got, tc.want)
			}
			if chosen := tx.ReadTimestamp() != 0; tc.lo == "h" && chosen || tc.lo == "a" && !chosen {
				t.Errorf("%s-%s: timestamp chosen: %v", tc.lo, tc.hi, chosen)
			}
		}
	})
}

// TestRestInParts: the first page of a long scan says how to divide what is left, and the parts are that and no more. Only
// scans are told that may be divided, and only where it is worth it.
func TestRestInParts(t *testing.T) {
	inCluster(t, 2, nil, []string{"m", "n"}, func(ctx context.Context, c *testCluster) {
		rnd := rand.New(rand.NewPCG(3, 4))
		const rows = 3000
		for i := 0; i < rows; {
			tx := c.begin(1, kv.TxnOptions{})
			for range 100 {
				v := make([]byte, 10<<10)
				for j := range v {
					v[j] = byte(rnd.Uint32())
				}
				if err := tx.Put(fmt.Appendf(nil, "m%06d", i), v); err != nil {
					t.Fatal(err)
				}
				i++
			}
			if _, err := tx.Commit(ctx); err != nil {
				t.Fatal(err)
			}
		}
		c.put(1, "a", "1")
		if err := c.engine.Flush(); err != nil {
			t.Fatal(err)
		}
		span := kv.Span{Start: []byte("m"), End: []byte("n")}
		tx := c.begin(2, kv.TxnOptions{ReadOnly: true, OneShot: true})
		defer tx.Rollback(ctx)
		read := func(span kv.Span, opts kv.ScanOptions) (pages []kv.Page) {
			sc, err := tx.Scan(ctx, span, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer sc.Close()
			for {
				p := sc.(kv.PageScanner).NextPage(ctx)
				if err := sc.Err(); err != nil {
					t.Fatal(err)
				}
				if len(p.Keys) == 0 {
					return pages
				}
				if pages = append(pages, p); len(p.Rest) > 0 {
					return pages
				}
			}
		}
		pages := read(span, kv.ScanOptions{Parts: 16})
		parts := pages[0].Rest
		if len(pages) != 1 || len(parts) < 3 || len(parts) > 5 { // 30 MB, of which a request reads 8 at the most
			t.Fatalf("%d pages, rest %q", len(pages), parts)
		}
		n := len(pages[0].Keys)
		for i, part := range parts {
			in := 0
			for _, p := range read(part, kv.ScanOptions{}) {
				for _, k := range p.Keys {
					if string(k) != fmt.Sprintf("m%06d", n) {
						t.Fatalf("part %d: %q comes as number %d", i, k, n)
					}
					n, in = n+1, in+1
				}
			}
			if in < rows/10 {
				t.Errorf("part %d has %d rows", i, in)
			}
		}
		if n != rows {
			t.Errorf("%d of %d rows", n, rows)
		}
		for name, opts := range map[string]kv.ScanOptions{"not asked": {}, "downwards": {Parts: 16, Reverse: true}, "two parts": {Parts: 2}} {
			if rest := read(span, opts)[0].Rest; len(rest) > opts.Parts || opts.Parts > 2 && len(rest) > 0 {
				t.Errorf("%s: %q", name, rest)
			}
		}
		for _, short := range []kv.Span{{Start: []byte("a"), End: []byte("b")}, {Start: []byte("m0029"), End: []byte("n")}} {
			if pages := read(short, kv.ScanOptions{Parts: 16}); len(pages[0].Rest) > 0 {
				t.Errorf("%q is divided: %q", short, pages[0].Rest)
			}
		}
	})
}

// TestCutsElsewhere: whatever keys an answer names, the parts are all that is left of the span, and each of it once.
func TestCutsElsewhere(t *testing.T) {
	for _, tc := range []struct{ cuts, want string }{
		{"", ""},
		{"a m z zz", ""}, // before the rest, at its ends and behind it
		{"p t", "m-p p-t t-z"},
		{"t p t", "m-t t-z"},
	} {
		s := Scanner{span: kv.Span{Start: []byte("b"), End: []byte("z")}, reach: []byte("m"), rows: []*txnpb.BatchResponse{{}}}
		for _, cut := range strings.Fields(tc.cuts) {
			s.rows[0].Cuts = append(s.rows[0].Cuts, []byte(cut))
		}
		var got []string
		for _, p := range s.rest() {
			got = append(got, fmt.Sprintf("%s-%s", p.Start, p.End))
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("cuts %q: %q, want %q", tc.cuts, got, tc.want)
		}
	}
}

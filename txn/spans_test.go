package txn

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/txn/kv"
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

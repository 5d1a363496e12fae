package txn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// changes prints what was written in (after, upTo], by pages as small as the ranges allow.
func (c *testCluster) changes(start, end string, after, upTo truetime.Timestamp, all bool) (string, error) {
	t := c.begin(1, kv.TxnOptions{ReadOnly: true, Staleness: kv.Staleness{Kind: kv.ReadTimestamp, At: upTo}})
	defer t.Rollback(context.Background())
	s, err := t.Changes(context.Background(), kv.Span{Start: []byte(start), End: []byte(end)}, after, all)
	if err != nil {
		return "", err
	}
	var out []string
	for {
		page := s.NextPage(context.Background())
		if len(page.Keys) == 0 {
			return strings.Join(out, " "), s.Err()
		}
		for i, k := range page.Keys {
			v := string(page.Values[i])
			if len(v) > 10 {
				v = fmt.Sprintf("%d bytes", len(v))
			}
			if page.Deleted[i] {
				v = "-"
			}
			out = append(out, string(k)+"="+v)
		}
	}
}

// What has changed is answered across ranges, with deletions of keys and of spans, of transactions that staged and of
// those that did not, and in the middle of a key's history when a page is full.
func TestChanges(t *testing.T) {
	inCluster(t, 2, func(cfg *Config) { cfg.StageBytes = 64 }, []string{"m"}, func(ctx context.Context, c *testCluster) {
		s0 := c.put(1, "a", "1", "b", "1", "n", "1", "p", "1", "q", "1")
		s1 := c.put(1, "a", "2")
		big := strings.Repeat("x", 700<<10)
		c.put(1, "c", big+"1")
		c.put(1, "c", big+"12")
		s2 := c.put(1, "c", big+"123")
		x := c.begin(1, kv.TxnOptions{})
		if err := x.DeleteSpan(ctx, kv.Span{Start: []byte("n"), End: []byte("q")}); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if err := x.Put(fmt.Appendf(nil, "o%02d", i%2), fmt.Appendf(nil, "%d", i)); err != nil {
				t.Fatal(err)
			}
			if err := x.Flush(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Delete([]byte("b")); err != nil {
			t.Fatal(err)
		}
		s3, err := x.Commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s4 := c.put(1, "b", "4")
		for _, tc := range []struct {
			after, upTo truetime.Timestamp
			all         bool
			want        string
		}{
			{0, s0, false, "a=1 b=1 n=1 p=1 q=1"},
			{s0, s1, false, "a=2"},
			{s1, s2, false, "c=716803 bytes"},
			{s1, s2, true, "c=716803 bytes c=716802 bytes c=716801 bytes"},
			{s2, s3, false, "b=- n=- o00=18 o01=19 p=-"},
			{s2, s3, true, "b=- n=- o00=18 o01=19 p=-"},
			{s2, s4, true, "b=4 b=- n=- o00=18 o01=19 p=-"},
			{s0, s4, false, "a=2 b=4 c=716803 bytes n=- o00=18 o01=19 p=-"},
			{s4, s4, true, ""},
		} {
			got, err := c.changes("a", "z", tc.after, tc.upTo, tc.all)
			if err != nil || got != tc.want {
				t.Errorf("changes (%s, %s] all=%v: %s, %v, want %s", tc.after, tc.upTo, tc.all, got, err, tc.want)
			}
		}
	})
}

// Where deletions may have been collected, nothing is answered.
func TestChangesBelowGC(t *testing.T) {
	inCluster(t, 1, nil, nil, func(ctx context.Context, c *testCluster) {
		s0 := c.put(1, "a", "1")
		s1 := c.put(1, "a", "2")
		s2 := c.put(1, "b", "3")
		r := c.rangeOf("a")
		if err := r.replicas[ranges.NodeID(r.leader.Load())].m.RaiseGCThreshold(ctx, s1); err != nil {
			t.Fatal(err)
		}
		if got, err := c.changes("a", "c", s0, s2, false); !errors.Is(err, kv.ErrReadTooOld) {
			t.Errorf("changes since a timestamp below the threshold: %s, %v", got, err)
		}
		if got, err := c.changes("a", "c", s1, s2, false); err != nil || got != "b=3" {
			t.Errorf("changes since the threshold: %s, %v", got, err)
		}
	})
}

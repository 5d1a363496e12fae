package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// fakeDB answers from a list, as two ranges.
type fakeDB struct {
	diffs []kv.Diff // by key, then timestamp
	fail  error
}

func (f *fakeDB) Partition(context.Context, kv.Span) ([]kv.Span, error) {
	return []kv.Span{{Start: []byte("a"), End: []byte("m")}, {Start: []byte("m"), End: []byte("z")}}, nil
}

func (f *fakeDB) Diffs(ctx context.Context, req kv.DiffRequest, fn func(*kv.Diff) error) error {
	if f.fail != nil {
		return f.fail
	}
	for i := range f.diffs {
		d := f.diffs[i]
		if bytes.Compare(d.Key, req.Span.Start) < 0 || bytes.Compare(d.Key, req.Span.End) >= 0 || d.TS <= req.After || d.TS > req.TS {
			continue
		}
		if err := fn(&d); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// text prints what it is given.
type text struct{ strings.Builder }

func (w *text) Begin(_ context.Context, ts truetime.Timestamp) error {
	fmt.Fprintf(w, "%d:", int64(ts))
	return nil
}

func (w *text) Change(_ context.Context, _ int, c *kv.Diff) error {
	fmt.Fprintf(w, " %s=%s", c.Key, c.Value)
	return nil
}

func (w *text) Commit(context.Context, truetime.Timestamp) error {
	w.WriteString("\n")
	return nil
}

// TestBudget: what is read is the same whatever fits into memory: everything, a few transactions, or not even one.
func TestBudget(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 2))
	f := &fakeDB{}
	for k := byte('a'); k < 'z'; k++ {
		exists := false
		for ts := truetime.Timestamp(1); ts < 40; ts++ {
			// One transaction writes everything, the others little.
			if ts != 17 && r.IntN(12) > 0 {
				continue
			}
			d := kv.Diff{Key: []byte{k}, TS: ts, Existed: exists}
			if !exists || r.IntN(3) > 0 {
				d.Value = fmt.Appendf(nil, "%c%d", k, ts)
			}
			exists = d.Value != nil
			f.diffs = append(f.diffs, d)
		}
	}
	read := func(budget int64) string {
		rd, err := New(Config{DB: f, BudgetBytes: budget, Parallel: 2})
		if err != nil {
			t.Fatal(err)
		}
		var w text
		for after := truetime.Timestamp(3); after < 39; {
			reached, err := rd.Read(ctx, []kv.Span{{Start: []byte("a"), End: []byte("z")}}, false, after, 39, &w)
			if err != nil || reached <= after {
				t.Fatalf("budget %d: reached %d from %d: %v", budget, reached, after, err)
			}
			after = reached
		}
		return w.String()
	}
	want := read(1 << 20)
	if !strings.Contains(want, "17:") || strings.Count(want, "\n") < 20 {
		t.Fatalf("unlikely feed:\n%s", want)
	}
	for _, line := range strings.Split(strings.TrimSpace(want), "\n") {
		// Deletions, updates, insertions.
		if i := strings.LastIndex(line, "= "); i >= 0 && strings.Contains(strings.ReplaceAll(line[:i], "= ", ""), "=") {
			t.Errorf("a deletion behind something else: %s", line)
		}
	}
	for _, budget := range []int64{1, 300, 1000, 5000} {
		if got := read(budget); got != want {
			t.Errorf("budget %d:\n%s\nwant\n%s", budget, got, want)
		}
	}
	f.fail = kv.ErrReadTooOld
	rd, _ := New(Config{DB: f})
	if _, err := rd.Read(ctx, []kv.Span{{Start: []byte("a"), End: []byte("z")}}, false, 3, 39, &text{}); !errors.Is(err, kv.ErrReadTooOld) {
		t.Errorf("below the threshold: %v", err)
	}
}

package stmtstats

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestTotals(t *testing.T) {
	r := New(10, time.Unix(0, 0))
	s := r.Get(Key{Text: "select $1"}, time.Unix(0, 0))
	for i := 1; i <= 100; i++ {
		s.Record(&Cost{Elapsed: time.Duration(i) * time.Millisecond, Rows: 2, Retries: int64(i % 2), Failed: i > 90, CommitWait: time.Millisecond})
	}
	all, _ := r.Snapshot()
	if len(all) != 1 {
		t.Fatalf("%d statements", len(all))
	}
	a := all[0]
	if a.Calls != 100 || a.Failures != 10 || a.Rows != 200 || a.Retries != 50 || a.Min != time.Millisecond || a.Max != 100*time.Millisecond ||
		a.CommitWait != 100*time.Millisecond || a.Mean() != 50500*time.Microsecond {
		t.Errorf("sums %+v", a)
	}
	if d := a.StdDev() - 28866*time.Microsecond; d.Abs() > 10*time.Microsecond {
		t.Errorf("standard deviation %s", a.StdDev())
	}
	// Within a factor of two above the exact value.
	for q, exact := range map[float64]time.Duration{0.01: time.Millisecond, 0.5: 50 * time.Millisecond, 0.99: 99 * time.Millisecond, 1: 100 * time.Millisecond} {
		if got := a.Quantile(q); got < exact || got > 2*exact {
			t.Errorf("quantile %v is %s, want %s or up to twice that", q, got, exact)
		}
	}
	b := Totals{Calls: 1, Min: time.Microsecond, Max: time.Hour, Elapsed: time.Hour}
	b.Histogram[bucketOf(time.Hour)]++
	a.Add(&b)
	if a.Calls != 101 || a.Min != time.Microsecond || a.Max != time.Hour || a.Quantile(1) != time.Hour {
		t.Errorf("sum of two nodes %+v", a)
	}
}

func TestForget(t *testing.T) {
	r := New(20, time.Time{})
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	for i := range 20 {
		r.Get(Key{Text: fmt.Sprint(i)}, at(i)).Record(&Cost{Elapsed: 1, End: at(i)})
	}
	r.Get(Key{Text: "0"}, at(30))
	old := r.Get(Key{Text: "1"}, at(1))
	old.Record(&Cost{Elapsed: 1, End: at(31)})
	r.Get(Key{Text: "new"}, at(32)).Record(&Cost{Elapsed: 1, End: at(32)})
	all, _ := r.Snapshot()
	left := map[string]bool{}
	for _, s := range all {
		left[s.Key.Text] = true
	}
	if len(all) != 19 || !left["0"] || !left["1"] || !left["new"] || left["2"] || left["3"] {
		t.Errorf("left are %v", left)
	}
	old.Record(&Cost{Elapsed: 1})
	r.Reset(time.Unix(5, 0))
	if all, since := r.Snapshot(); len(all) != 0 || since != time.Unix(5, 0) {
		t.Errorf("after a reset: %v since %v", all, since)
	}
}

func TestConcurrent(t *testing.T) {
	r := New(8, time.Time{})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 1000 {
				r.Get(Key{Text: fmt.Sprint((g + i) % 4)}, time.Unix(int64(i), 0)).Record(&Cost{Elapsed: time.Duration(i)})
				if i%100 == 0 {
					r.Snapshot()
				}
			}
		})
	}
	wg.Wait()
	var n int64
	all, _ := r.Snapshot()
	for _, s := range all {
		n += s.Calls
	}
	if n != 4000 {
		t.Errorf("%d of 4000 executions counted", n)
	}
}

func TestBuckets(t *testing.T) {
	for i := range Buckets - 1 {
		if e := BucketEdge(i); bucketOf(e-1) != i || bucketOf(e) != i+1 {
			t.Errorf("bucket %d ends at %s: %d and %d", i, e, bucketOf(e-1), bucketOf(e))
		}
	}
	if bucketOf(-1) != 0 || bucketOf(1<<62) != Buckets-1 {
		t.Error("out of range")
	}
}

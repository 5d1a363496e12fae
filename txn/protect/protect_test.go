package protect

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

type manualClock struct{ now truetime.Timestamp }

func (c *manualClock) Now() truetime.Interval {
	return truetime.Interval{Earliest: c.now - 1, Latest: c.now}
}

func span(start, end string) Span { return Span{Start: []byte(start), End: []byte(end)} }

func TestGuard(t *testing.T) {
	clock := &manualClock{now: truetime.Timestamp(1000 * time.Second)}
	at := func(s int) truetime.Timestamp { return truetime.Timestamp(time.Duration(s) * time.Second) }
	var records []Record
	var fail error
	reads := 0
	g := NewGuard(clock, slog.New(slog.DiscardHandler), func(context.Context) ([]Record, error) { reads++; return records, fail })
	limit := func(start, end string, ts int) int {
		t.Helper()
		return int(time.Duration(g.Limit(context.Background(), []byte(start), []byte(end), at(ts))) / time.Second)
	}
	expect := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	fail = errors.New("no leader")
	expect("records that cannot be read", limit("a", "z", 500), 0)
	expect("and again at once", limit("a", "z", 500), 0)
	expect("reads", reads, 1)
	clock.now += at(10)
	fail = nil
	records = []Record{
		{ID: 1, Timestamp: at(400), Expires: at(1100), Spans: []Span{span("c", "e"), span("x", "y")}},
		{ID: 2, Timestamp: at(300), Expires: at(1015), Spans: []Span{span("d", "f")}},
	}
	expect("a range beside the protected spans", limit("e5", "x", 500), 300)
	expect("a range that touches none", limit("f", "x", 500), 500)
	expect("a range that holds one", limit("a", "d", 500), 400)
	expect("a range within one", limit("xa", "xb", 500), 400)
	expect("a threshold below it", limit("c", "d", 350), 350)
	expect("the least of two", limit("c", "e", 500), 300)
	clock.now = at(1015)
	expect("the first, the other having expired", limit("c", "e", 500), 400)
	expect("reads", reads, 2)
	// A record written now is seen after MaxAge.
	records = append(records, Record{ID: 3, Timestamp: at(450), Expires: at(5000), Spans: []Span{span("m", "n")}})
	clock.now = at(1021)
	expect("a new record", limit("m", "n", 500), 450)
	expect("reads", reads, 3)
}

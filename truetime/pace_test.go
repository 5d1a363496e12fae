package truetime

import (
	"context"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	const us = time.Microsecond
	for _, c := range []struct {
		interval, bound time.Duration
		ppm             int64
		waited          time.Duration // ago; negative: never
		want            time.Duration
	}{
		{500 * time.Millisecond, 60 * us, 200, 0, 75 * time.Millisecond},
		{500 * time.Millisecond, 10 * us, 200, 0, minPoll},
		{500 * time.Millisecond, 60 * us, 50, 0, 300 * time.Millisecond},
		{500 * time.Millisecond, 5 * time.Millisecond, 200, 0, 500 * time.Millisecond}, // a distant server: nothing to be had
		{500 * time.Millisecond, 0, 200, 0, 500 * time.Millisecond},                    // no answer
		{500 * time.Millisecond, 60 * us, 200, 499 * time.Millisecond, 75 * time.Millisecond},
		{500 * time.Millisecond, 60 * us, 200, 500 * time.Millisecond, 500 * time.Millisecond}, // idle again
		{500 * time.Millisecond, 60 * us, 200, -1, 500 * time.Millisecond},
		{64 * time.Second, 60 * us, 200, 0, 64 * time.Second}, // somebody else's
		{10 * time.Millisecond, 60 * us, 200, 0, 10 * time.Millisecond},
	} {
		p := pace{interval: c.interval, ppm: c.ppm}
		raw := int64(time.Hour)
		if c.waited >= 0 {
			p.waited.Store(raw - int64(c.waited))
		}
		if got := p.wait(raw, c.bound); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// countedSource answers at once and tells of every poll.
type countedSource struct {
	polls chan struct{}
}

func (s countedSource) Name() string { return "counted" }
func (s countedSource) Sample(ctx context.Context, local LocalClock) (Sample, error) {
	select {
	case s.polls <- struct{}{}:
	case <-ctx.Done():
		return Sample{}, ctx.Err()
	}
	raw := local.Raw()
	return Sample{Raw: raw, Offset: time.Now().UnixNano() - raw, Bound: 50 * time.Microsecond}, nil
}

// TestPaceOfWaits: a clock whose waits are used asks its sources at once and then often. At the configured interval these
// polls would take a minute.
func TestPaceOfWaits(t *testing.T) {
	src := countedSource{make(chan struct{})}
	c, err := New(Config{Sources: []Source{src}, PollInterval: paceLimit, PollTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 4 { // those of the start
		<-src.polls
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	if err := c.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
	polls := 0
	for polls < 30 && ctx.Err() == nil {
		if err := c.WaitAfter(ctx, c.Now().Latest); err != nil {
			t.Fatal(err)
		}
		select {
		case <-src.polls:
			polls++
		default:
		}
	}
	if polls < 30 {
		t.Errorf("%d polls", polls)
	}
}

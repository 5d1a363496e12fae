package truetime

import (
	"cmp"
	"context"
	"math"
	"sync"
	"time"

	"github.com/meridian-db/meridian/truetime/plant"
)

// SimConfig configures a SimClock. A zero field takes the default named in its comment.
type SimConfig struct {
	Bound  time.Duration // Half the width of the interval. Default 1ms.
	Offset time.Duration // The node's error at the start: the interval is centred on time.Now()+error.
	// DriftPPM moves the error by this many parts per million of elapsed time. The error sweeps back and
	// forth between -Bound and +Bound, so that the interval always contains time.Now() (I1).
	DriftPPM int64
}

// SimClock is a Clock whose truth is time.Now: inside a testing/synctest bubble, virtual time. Each node of a
// simulated cluster gets one with its own error inside its own bound. It holds I1 unless Lie is called.
type SimClock struct {
	mu struct {
		sync.Mutex
		start  time.Time // when the error was cfg.Offset
		cfg    SimConfig
		lie    time.Duration
		health error
		floor  Timestamp // largest Earliest given out
	}
}

// NewSimClock returns a clock that starts now.
func NewSimClock(cfg SimConfig) *SimClock {
	cfg.Bound = cmp.Or(cfg.Bound, time.Millisecond)
	cfg.Offset = min(max(cfg.Offset, -cfg.Bound), cfg.Bound)
	c := &SimClock{}
	c.mu.start, c.mu.cfg = time.Now(), cfg
	return c
}

// Lie shifts the clock by d regardless of its bound, which breaks I1: for tests that expect the violation
// to be found.
func (c *SimClock) Lie(d time.Duration) {
	c.mu.Lock()
	c.mu.lie, c.mu.floor = d, 0
	c.mu.Unlock()
}

// Jump moves the clock's error to d, at most its bound, as when a daemon steps the clock: the interval still contains the
// truth. The clock drifts on from there.
func (c *SimClock) Jump(d time.Duration) {
	c.mu.Lock()
	c.mu.start, c.mu.cfg.Offset = time.Now(), min(max(d, -c.mu.cfg.Bound), c.mu.cfg.Bound)
	c.mu.Unlock()
}

// SetBound widens or narrows the interval from now on.
func (c *SimClock) SetBound(d time.Duration) {
	c.mu.Lock()
	c.mu.cfg.Bound = d
	c.mu.Unlock()
}

// SetHealth makes Health return err.
func (c *SimClock) SetHealth(err error) {
	c.mu.Lock()
	c.mu.health = err
	c.mu.Unlock()
}

// Now implements Clock.
func (c *SimClock) Now() Interval {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	mid := FromTime(now) + Timestamp(c.errorLocked(now.Sub(c.mu.start))) + Timestamp(c.mu.lie)
	b := Timestamp(c.mu.cfg.Bound)
	if plant.On(plant.NarrowClock) {
		b /= 5
	}
	iv := Interval{Earliest: max(mid-b, c.mu.floor), Latest: mid + b}
	c.mu.floor = iv.Earliest
	return iv
}

// errorLocked is a triangle wave of amplitude Bound that passes through Offset at elapsed zero.
func (c *SimClock) errorLocked(elapsed time.Duration) time.Duration {
	b := float64(c.mu.cfg.Bound)
	if c.mu.cfg.DriftPPM == 0 {
		return min(max(c.mu.cfg.Offset, -c.mu.cfg.Bound), c.mu.cfg.Bound)
	}
	x := float64(c.mu.cfg.Offset) + float64(elapsed)*float64(c.mu.cfg.DriftPPM)/1e6 + b // in [0, 4b) after the fold
	x = math.Mod(x, 4*b)
	if x < 0 {
		x += 4 * b
	}
	if x > 2*b {
		x = 4*b - x
	}
	return time.Duration(x - b)
}

// WaitAfter implements Clock.
func (c *SimClock) WaitAfter(ctx context.Context, ts Timestamp) error {
	for {
		iv := c.Now()
		if iv.After(ts) {
			return nil
		}
		t := time.NewTimer(min(ts.Sub(iv.Earliest)+1, time.Minute))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// Health implements Clock.
func (c *SimClock) Health() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.health
}

// ManualClock is a Clock that moves only when told, for unit tests.
type ManualClock struct {
	mu struct {
		sync.Mutex
		now     Timestamp
		bound   time.Duration
		health  error
		changed chan struct{}
	}
}

// NewManualClock returns a clock that stands at [now-bound, now+bound].
func NewManualClock(now Timestamp, bound time.Duration) *ManualClock {
	c := &ManualClock{}
	c.mu.now, c.mu.bound, c.mu.changed = now, bound, make(chan struct{})
	return c
}

// Set moves true time to now.
func (c *ManualClock) Set(now Timestamp) { c.update(func() { c.mu.now = now }) }

// Advance moves true time by d.
func (c *ManualClock) Advance(d time.Duration) { c.update(func() { c.mu.now = c.mu.now.Add(d) }) }

// SetHealth makes Health return err.
func (c *ManualClock) SetHealth(err error) { c.update(func() { c.mu.health = err }) }

func (c *ManualClock) update(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.mu.changed)
	c.mu.changed = make(chan struct{})
}

// Now implements Clock.
func (c *ManualClock) Now() Interval {
	iv, _ := c.read()
	return iv
}

func (c *ManualClock) read() (Interval, chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Interval{Earliest: c.mu.now - Timestamp(c.mu.bound), Latest: c.mu.now + Timestamp(c.mu.bound)}, c.mu.changed
}

// WaitAfter implements Clock.
func (c *ManualClock) WaitAfter(ctx context.Context, ts Timestamp) error {
	for {
		iv, changed := c.read()
		if iv.After(ts) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Health implements Clock.
func (c *ManualClock) Health() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.health
}

var (
	_ Clock = (*SyncClock)(nil)
	_ Clock = (*SimClock)(nil)
	_ Clock = (*ManualClock)(nil)
)

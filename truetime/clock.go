package truetime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Config configures a SyncClock. A zero field takes the default named in its comment.
type Config struct {
	Sources        []Source      // Required. A majority of them must be honest.
	PollInterval   time.Duration // Between polls of one source while nobody waits (pace.go). Default 1s, for servers of one's own.
	PollTimeout    time.Duration // Of one poll. Default 1s.
	DriftPPM       int64         // How wrong the local oscillator may run, parts per million. Default 200.
	MaxUncertainty time.Duration // Fence above this bound (half the interval). Default 50ms.
	ReturnSamples  int           // Consistent samples per source before serving after a contradiction. Default 3.
	PeerTTL        time.Duration // How long a comparison with a peer counts. Default 10s.
	Local          LocalClock    // Default SystemClock().
	Logger         *slog.Logger  // Default: discards.
}

// SyncClock is the Clock of a real node: it polls its sources and keeps an interval that contains true time
// (I1). Create it with New, end it with Close.
type SyncClock struct {
	cfg   Config
	local LocalClock
	cur   atomic.Pointer[estimate]

	// bootDelta is Boot-Raw and bootRaw the raw time at which it was measured, under mu for writing;
	// bootChecked the raw time of the last comparison.
	bootDelta, bootRaw, bootChecked atomic.Int64
	pauses                          atomic.Uint64

	alarm alarm
	pace  pace

	mu struct {
		sync.Mutex
		core   *core
		fenced string
	}
	kick   []chan struct{} // one per source: poll now
	stop   context.CancelFunc
	stopc  <-chan struct{}
	pollWG sync.WaitGroup
}

// estimate is what Now reads; immutable.
type estimate struct {
	raw     int64
	iv      Interval
	ppm     int64
	valid   bool          // false: nothing can be said about the time
	fence   error         // non-nil: why the node must not serve
	changed chan struct{} // closed when a newer estimate is published
}

// FencedError is what Health returns: the node must not serve, and why.
type FencedError struct{ Reason string }

func (e *FencedError) Error() string { return "clock not trustworthy: " + e.Reason }

// How far CLOCK_BOOTTIME may run ahead of CLOCK_MONOTONIC_RAW before it counts as a pause. BOOTTIME is
// slewed by time daemons, normally by at most 500 ppm; a stronger slew costs a re-poll, nothing else.
const (
	pauseSlack    = int64(2 * time.Millisecond)
	pauseSlewPPM  = 1000
	pauseCheckGap = int64(200 * time.Microsecond)
)

// New starts a clock. It is unsynchronised until a majority of the sources has answered; WaitSynced waits
// for that.
func New(cfg Config) (*SyncClock, error) {
	if len(cfg.Sources) == 0 {
		return nil, errors.New("truetime: Config.Sources is required")
	}
	cfg.PollInterval = cmp.Or(cfg.PollInterval, time.Second)
	cfg.PollTimeout = cmp.Or(cfg.PollTimeout, time.Second)
	cfg.DriftPPM = cmp.Or(cfg.DriftPPM, 200)
	cfg.MaxUncertainty = cmp.Or(cfg.MaxUncertainty, 50*time.Millisecond)
	cfg.ReturnSamples = cmp.Or(cfg.ReturnSamples, 3)
	cfg.PeerTTL = cmp.Or(cfg.PeerTTL, 10*time.Second)
	if cfg.Local == nil {
		cfg.Local = SystemClock()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.DriftPPM < 0 || cfg.DriftPPM > 100_000 {
		return nil, fmt.Errorf("truetime: Config.DriftPPM is %d, want 1 to 100000", cfg.DriftPPM)
	}
	if cfg.PollInterval < time.Millisecond || cfg.MaxUncertainty < 0 || cfg.PollTimeout < 0 {
		return nil, errors.New("truetime: Config has a negative or too short duration")
	}
	var names []string
	seen := map[string]bool{}
	for _, s := range cfg.Sources {
		if seen[s.Name()] {
			// One server counted twice would be a majority by itself.
			return nil, fmt.Errorf("truetime: time source %s is given twice", s.Name())
		}
		seen[s.Name()] = true
		names = append(names, s.Name())
	}
	c := &SyncClock{cfg: cfg, local: cfg.Local}
	c.mu.core = newCore(names, cfg.DriftPPM, cfg.MaxUncertainty, cfg.ReturnSamples, cfg.PeerTTL)
	if err := c.alarm.open(); err != nil {
		return nil, fmt.Errorf("truetime: %w", err)
	}
	delta, at := c.measureBoot()
	c.bootDelta.Store(delta)
	c.bootRaw.Store(at)
	c.mu.Lock()
	c.publishLocked()
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	c.stop, c.stopc = cancel, ctx.Done()
	c.pace.interval, c.pace.ppm = cfg.PollInterval, cfg.DriftPPM
	for range cfg.Sources {
		c.kick = append(c.kick, make(chan struct{}, 1))
		c.pace.hurry = append(c.pace.hurry, make(chan struct{}, 1))
	}
	for i := range cfg.Sources {
		c.pollWG.Add(1)
		go c.poll(ctx, i)
	}
	return c, nil
}

// Close stops polling. Waiters in WaitAfter are not woken; their contexts end them.
func (c *SyncClock) Close() {
	c.stop()
	c.pollWG.Wait()
	for _, src := range c.cfg.Sources {
		if x, ok := src.(io.Closer); ok {
			_ = x.Close()
		}
	}
	c.alarm.close()
}

// Now implements Clock.
func (c *SyncClock) Now() Interval {
	iv, _ := c.read()
	return iv
}

func (c *SyncClock) read() (Interval, *estimate) {
	raw := c.local.Raw()
	if d := raw - c.bootChecked.Load(); d > pauseCheckGap || d < 0 {
		c.checkPause(raw)
	}
	e := c.cur.Load()
	if !e.valid {
		return Interval{Latest: MaxTimestamp}, e
	}
	return grow(e.iv, raw-e.raw, e.ppm), e
}

// Health implements Clock.
func (c *SyncClock) Health() error {
	iv, e := c.read()
	return c.health(iv, e)
}

func (c *SyncClock) health(iv Interval, e *estimate) error {
	if e.fence != nil {
		return e.fence
	}
	if b := iv.Bound(); b > c.cfg.MaxUncertainty {
		return &FencedError{Reason: fmt.Sprintf("uncertainty %s is over the limit of %s: the time sources do not answer, or are too far away", b, c.cfg.MaxUncertainty)}
	}
	return nil
}

// Peer returns what a peer may compare with its own interval, even while this node is fenced; false when
// nothing is known about the time.
func (c *SyncClock) Peer() (Interval, bool) {
	raw := c.local.Raw()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.core.now(raw)
}

// ObservePeer compares the interval that a peer read with this node's own. sent is what Peer returned
// before the question left; the answer has just arrived, so true time at the peer's reading lies between
// sent.Earliest and Peer().Latest now.
func (c *SyncClock) ObservePeer(id uint64, theirs, sent Interval) {
	raw := c.local.Raw()
	c.mu.Lock()
	defer c.mu.Unlock()
	now, ok := c.mu.core.now(raw)
	if !ok {
		return
	}
	before := c.mu.core.peerFence
	c.mu.core.peer(raw, id, theirs, Interval{Earliest: sent.Earliest, Latest: now.Latest})
	if c.mu.core.peerFence != before {
		c.publishLocked()
	}
}

// ForgetPeer drops what was observed about a peer that has left.
func (c *SyncClock) ForgetPeer(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.core.peers, id)
}

// WaitSynced returns nil once the clock is healthy, or an error that says what is missing when ctx ends.
func (c *SyncClock) WaitSynced(ctx context.Context) error {
	for {
		iv, e := c.read()
		err := c.health(iv, e)
		if err == nil {
			return nil
		}
		select {
		case <-e.changed:
		case <-ctx.Done():
			return err
		}
	}
}

// spinBelow is the wait for which giving up the processor costs more than the wait.
const spinBelow = 3 * time.Microsecond

// WaitAfter implements Clock.
func (c *SyncClock) WaitAfter(ctx context.Context, ts Timestamp) error {
	for {
		iv, e := c.read()
		if iv.After(ts) {
			return nil
		}
		c.pace.note(c.local.Raw())
		if !e.valid {
			select {
			case <-e.changed:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		// Earliest runs slower than the local clock by the drift rate.
		d := min(ts.Sub(iv.Earliest)+1, time.Minute)
		d += time.Duration(driftOver(int64(d), e.ppm))
		switch {
		case d < spinBelow:
			if err := ctx.Err(); err != nil {
				return err
			}
			runtime.Gosched()
		case d < 20*time.Millisecond:
			if err := c.alarm.wait(ctx, d); err != nil {
				return err
			}
		default:
			// Long enough that the next estimate may be narrower, and that a millisecond does not matter.
			t := time.NewTimer(d)
			select {
			case <-t.C:
			case <-e.changed:
			case <-ctx.Done():
				t.Stop()
				return ctx.Err()
			}
			t.Stop()
		}
	}
}

// poll reads source i until ctx ends: a few times quickly to become ready, then at the poll interval, or faster while
// commits wait (pace).
func (c *SyncClock) poll(ctx context.Context, i int) {
	defer c.pollWG.Done()
	src := c.cfg.Sources[i]
	t := time.NewTimer(0)
	defer t.Stop()
	hurry := c.pace.hurry[i]
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-c.kick[i]:
			n = 0
		case <-hurry:
		}
		hurry = c.pace.hurry[i]
		pauses := c.pauses.Load()
		pctx, cancel := context.WithTimeout(ctx, c.cfg.PollTimeout)
		s, err := src.Sample(pctx, c.local)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.Bound = 0
		}
		wait := c.pace.wait(c.local.Raw(), s.Bound)
		if n < 4 {
			wait = min(wait, 20*time.Millisecond)
		}
		wait += time.Duration(rand.Int64N(int64(wait)/8 + 1)) // Nodes must not poll in step.
		var back *BackOffError
		if errors.As(err, &back) {
			wait, hurry = max(wait, back.After), nil
		}
		c.polled(i, s, err, pauses)
		t.Reset(wait)
	}
}

// polled hands one poll's result to the core and publishes. pauses is the number of pauses known when the
// poll began: during a pause the round trip looks shorter than it was, so such a sample is worthless.
func (c *SyncClock) polled(i int, s Sample, err error, pauses uint64) {
	c.checkPause(c.local.Raw())
	c.mu.Lock()
	defer c.mu.Unlock()
	raw := c.local.Raw()
	core := c.mu.core
	was, wasErr := core.src[i].verdict, core.src[i].lastErr
	switch {
	case err != nil:
		core.fail(raw, i, err)
	case c.pauses.Load() == pauses:
		core.sample(raw, i, s)
	}
	src := &core.src[i]
	if src.verdict != was && (src.verdict == VerdictLiar || src.verdict == VerdictInconsistent || was == VerdictLiar) {
		now, _ := core.now(raw)
		c.cfg.Logger.Warn("time source changed verdict", "source", src.name, "was", was, "is", src.verdict,
			"earliest", src.iv.Earliest, "latest", src.iv.Latest, "clock_earliest", now.Earliest, "clock_latest", now.Latest)
	}
	if src.lastErr != "" && wasErr == "" {
		c.cfg.Logger.Warn("time source does not answer", "source", src.name, "err", src.lastErr)
	}
	c.publishLocked()
	if boot, raw := c.measureBoot(); boot-c.bootDelta.Load() <= pauseSlack+driftOver(raw-c.bootRaw.Load(), pauseSlewPPM) {
		c.bootDelta.Store(boot)
		c.bootRaw.Store(raw)
	} // Else the next checkPause finds the jump.
}

// publishLocked makes the core's state visible to Now.
func (c *SyncClock) publishLocked() {
	core := c.mu.core
	e := &estimate{raw: core.at, iv: core.est, ppm: core.driftPPM, changed: make(chan struct{})}
	why := core.fence()
	if why != "" {
		e.fence = &FencedError{Reason: why}
	}
	// A contradicted interval may be wrong, so it is not given out.
	e.valid = core.synced && why == ""
	if (why == "") != (c.mu.fenced == "") {
		if why == "" {
			c.cfg.Logger.Info("clock is good", "bound", e.iv.Bound())
		} else if c.cur.Load() != nil {
			c.cfg.Logger.Warn("clock fenced", "reason", why)
		}
	}
	c.mu.fenced = why
	if old := c.cur.Swap(e); old != nil {
		close(old.changed)
	}
}

// checkPause compares Boot with Raw and makes the clock unsynchronised when Boot has jumped ahead.
func (c *SyncClock) checkPause(raw int64) {
	defer c.bootChecked.Store(raw) // in the end: others take a jump for noticed from then on
	boot := c.local.Boot()
	now := c.local.Raw() // After Boot: being descheduled in between can only hide a jump, not make one.
	base := c.bootDelta.Load()
	if boot-now-base <= pauseSlack+driftOver(now-c.bootRaw.Load(), pauseSlewPPM) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bootDelta.Load() != base {
		return // Another caller has dealt with it.
	}
	c.cfg.Logger.Warn("the machine was paused", "for", time.Duration(boot-now-base))
	delta, at := c.measureBoot()
	c.bootDelta.Store(delta)
	c.bootRaw.Store(at)
	c.pauses.Add(1)
	c.mu.core.pause(c.local.Raw())
	c.publishLocked()
	for _, k := range c.kick {
		select {
		case k <- struct{}{}:
		default:
		}
	}
}

// measureBoot returns Boot-Raw and when it was measured, from the tightest of a few readings.
func (c *SyncClock) measureBoot() (delta, at int64) {
	best := int64(1 << 62)
	for range 8 {
		before := c.local.Raw()
		boot := c.local.Boot()
		after := c.local.Raw()
		if w := after - before; w < best {
			best, delta, at = w, boot-after, after
		}
		if best < int64(20*time.Microsecond) {
			break
		}
	}
	return delta, at
}

package ranges

import (
	"bytes"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Load counts what is asked of a replica, and remembers some of the keys. Counting costs an atomic addition or two; one
// request in sampleEvery also looks at its key. A replica that nobody has asked for anything has no counters.
type Load struct {
	state atomic.Pointer[loadState]
	// quiet is since when a replica without counters is known to be so, in nanoseconds of time.Now; zero: not looked yet.
	quiet atomic.Int64
}

type loadState struct {
	counters [loadShards]struct {
		requests, writes, bytes atomic.Int64
		_                       [64 - 24]byte // a cache line
	}

	mu   sync.Mutex // guards what follows; a request that cannot have it at once leaves it
	rate rates
	last loadCounts
	at   time.Time    // when last was taken; zero: never
	hot  int          // passes in a row with more than Config.SplitLoad
	cold time.Time    // since when it has been cold; zero: it is not
	keys []loadSample // a reservoir: every sample since it was emptied is a member alike
	seen int          // samples since it was emptied
	dice uint64       // which of them stay
}

const (
	sampleEvery = 16
	maxSamples  = 128
	loadShards  = 4
	// loadDecay is the time constant of the rates.
	loadDecay = time.Minute
	// hotPasses is how many looks of the queue in a row must find a range hot before it is split for its load.
	hotPasses = 10
	// minSamples is how many keys must be known to say where the load lies.
	minSamples = 48
	// leastShare is the least share of the load that a split must take from a range, to be worth what it costs:
	// transactions that touch both halves commit in two phases from then on.
	leastShare = 0.2
	// coldShare of Config.SplitLoad is the most that a cold range may have.
	coldShare = 0.05
)

type loadCounts struct{ requests, writes, bytes int64 }

// rates are per second, averaged over about loadDecay.
type rates struct{ requests, writes, bytes float64 }

// loadSample is the keys of one request: start, or [start, end).
type loadSample struct{ start, end []byte }

// Note counts requests for keys in [start, end), or for start alone when end is nil, so many of them writes, with size
// bytes in or out. The keys are copied if they are kept.
func (l *Load) Note(start, end []byte, requests, writes, size int) {
	c := l.state.Load()
	if c == nil {
		if c = (&loadState{}); !l.state.CompareAndSwap(nil, c) {
			c = l.state.Load()
		}
	}
	shard := 0
	if n := len(start); n > 0 {
		shard = int(start[n-1]) % loadShards
	}
	x := &c.counters[shard]
	n := uint64(x.requests.Add(int64(requests)))
	if writes > 0 {
		x.writes.Add(int64(writes))
	}
	if size > 0 {
		x.bytes.Add(int64(size))
	}
	// Every so many on the average: keys that come in turn must not be missed for ever.
	if n*0x9e3779b97f4a7c15>>32%sampleEvery == 0 && len(start) > 0 && c.mu.TryLock() {
		c.sample(start, end)
		c.mu.Unlock()
	}
}

func (c *loadState) sample(start, end []byte) {
	c.seen++
	if len(c.keys) < maxSamples {
		c.keys = append(c.keys, loadSample{bytes.Clone(start), bytes.Clone(end)})
		return
	}
	c.dice = c.dice*6364136223846793005 + 1442695040888963407
	if i := c.dice >> 33 % uint64(c.seen); i < maxSamples {
		c.keys[i] = loadSample{bytes.Clone(start), bytes.Clone(end)}
	}
}

// forget empties the reservoir and begins to wait anew, for heat as for cold: the range is not what it was, or is led from
// here only now.
func (l *Load) forget() {
	l.quiet.Store(0)
	if c := l.state.Load(); c != nil {
		c.mu.Lock()
		c.hot, c.cold, c.seen, c.keys = 0, time.Time{}, 0, nil
		c.mu.Unlock()
	}
}

// divide has right begin with half of the load that l has had: it is what they are likely to have from now on.
func (l *Load) divide(right *Load) {
	c := l.state.Load()
	if c == nil {
		return
	}
	half := &loadState{}
	c.mu.Lock()
	c.rate.requests, c.rate.writes, c.rate.bytes = c.rate.requests/2, c.rate.writes/2, c.rate.bytes/2
	half.rate = c.rate
	c.mu.Unlock()
	right.state.CompareAndSwap(nil, half)
}

func (c *loadState) counts() (n loadCounts) {
	for i := range c.counters {
		x := &c.counters[i]
		n.requests += x.requests.Load()
		n.writes += x.writes.Load()
		n.bytes += x.bytes.Load()
	}
	return n
}

// tick is called at each pass of the queue, with the load above which a range is hot, zero for none.
func (l *Load) tick(now time.Time, hotAbove float64) {
	c := l.state.Load()
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts()
	dt := now.Sub(c.at)
	if c.at.IsZero() || dt <= 0 {
		c.at, c.last = now, n
		return
	}
	secs := dt.Seconds()
	w := 1 - math.Exp(-secs/loadDecay.Seconds())
	step := func(rate *float64, d int64) float64 {
		r := float64(d) / secs
		*rate += (r - *rate) * w
		return r
	}
	requests := step(&c.rate.requests, n.requests-c.last.requests)
	step(&c.rate.writes, n.writes-c.last.writes)
	step(&c.rate.bytes, n.bytes-c.last.bytes)
	c.at, c.last = now, n
	if hotAbove > 0 && requests > hotAbove {
		c.hot++
	} else {
		c.hot, c.seen, c.keys = 0, 0, nil // where the load lies is asked of the hot only
	}
	if hotAbove > 0 && c.rate.requests > coldShare*hotAbove {
		c.cold = time.Time{}
	} else if c.cold.IsZero() {
		c.cold = now
	}
}

// coldFor returns for how long the range has been cold, as far as is known here.
func (l *Load) coldFor(now time.Time) time.Duration {
	c := l.state.Load()
	if c == nil {
		if l.quiet.CompareAndSwap(0, now.UnixNano()) {
			return 0
		}
		return time.Duration(now.UnixNano() - l.quiet.Load())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cold.IsZero() {
		return 0
	}
	return now.Sub(c.cold)
}

// splitKey returns where to split a range that has been hot for long, nil when it has not or no key would divide the load.
// What was sampled so far has been used then.
func (l *Load) splitKey(d *Descriptor) []byte {
	c := l.state.Load()
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hot < hotPasses || len(c.keys) < minSamples {
		return nil
	}
	key := balance(c.keys, d)
	c.hot, c.seen, c.keys = 0, 0, nil
	return key
}

// balance returns the key that divides the samples best: about as many to either side, few across. It is nil when no key
// leaves leastShare of them to both sides alone.
func balance(samples []loadSample, d *Descriptor) []byte {
	var keys [][]byte
	for _, s := range samples {
		for _, k := range [][]byte{s.start, s.end} {
			if len(k) > 0 && d.Contains(k) && !bytes.Equal(k, d.Start) {
				keys = append(keys, k)
			}
		}
	}
	slices.SortFunc(keys, bytes.Compare)
	keys = slices.CompactFunc(keys, bytes.Equal)
	least := int(math.Ceil(leastShare * float64(len(samples))))
	var best []byte
	cost := math.MaxInt
	for _, k := range keys {
		left, right, across := 0, 0, 0
		for _, s := range samples {
			switch {
			case bytes.Compare(s.start, k) >= 0:
				right++
			case len(s.end) == 0 || bytes.Compare(s.end, k) <= 0:
				left++
			default:
				across++
			}
		}
		if left < least || right < least {
			continue
		}
		if c := max(left, right) - min(left, right) + 2*across; c < cost {
			best, cost = k, c
		}
	}
	return bytes.Clone(best)
}

// LoadStats returns the replica's counters, for the layer above to feed.
func (r *Replica) LoadStats() *Load { return &r.load }

// Load returns how many requests a second the replica serves, averaged over about a minute.
func (r *Replica) Load() float64 { return r.load.rates().requests }

func (l *Load) rates() rates {
	c := l.state.Load()
	if c == nil {
		return rates{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rate
}

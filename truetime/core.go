package truetime

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// samplesKept is how many samples of one source are intersected. Each is valid by itself, so their
// intersection is, and the best round trip of the last few decides the width.
const samplesKept = 8

// core decides everything about the clock, synchronously and without a clock of its own: raw is the local
// clock's reading at the event. SyncClock feeds it and publishes what it says.
//
//	          majority of sources
//	unsynced ────────────────────▶ synced ──── samples of a majority miss our interval ──▶ contradicted
//	   ▲  ▲                          │  ▲                                                      │
//	   │  └──────── pause ───────────┘  └── returnSamples consistent samples from a majority, ─┘
//	   └─────────── pause (any state)       and time has passed everything ever promised
//
// Two more reasons fence without leaving the state: a bound over maxUncertainty, and a majority of peers
// whose intervals miss ours.
type core struct {
	driftPPM       int64
	maxUncertainty time.Duration
	returnSamples  int   // consistent samples per source before a contradicted clock serves again
	peerTTL        int64 // how long an observation of a peer counts, nanoseconds

	src   []sourceState
	peers map[uint64]peerState

	synced bool
	at     int64    // raw time of est
	est    Interval // true time at raw time at; grows from there (I1)

	contradicted bool
	why          string    // the contradiction, for Health
	floor        Timestamp // while contradicted: the largest Latest given out before it
	peerFence    string    // non-empty: why the peers' majority fences us
	paused       bool      // the current unsynced state came from a pause

	contradictions, pauses uint64
}

type sourceState struct {
	name    string
	ring    [samplesKept]Sample
	n       int // valid entries in ring, newest last
	verdict Verdict
	iv      Interval // at the last step
	lastErr string
	good    int // samples since the last contradiction
	samples uint64
	failed  uint64
}

type peerState struct {
	raw      int64
	overlaps bool
	gap      time.Duration
}

// Verdict is what the clock thinks of a source.
type Verdict string

const (
	VerdictWaiting      Verdict = "waiting"      // Not yet heard from.
	VerdictGood         Verdict = "good"         // Its interval meets the majority's.
	VerdictLiar         Verdict = "liar"         // Its interval misses the majority's: ignored.
	VerdictInconsistent Verdict = "inconsistent" // Its own samples contradict each other: history dropped.
	VerdictUnreachable  Verdict = "unreachable"  // The last poll failed; older samples still count, aged.
	VerdictNoMajority   Verdict = "no majority"  // Heard from, but too few sources agree to judge it.
)

func newCore(names []string, driftPPM int64, maxUncertainty time.Duration, returnSamples int, peerTTL time.Duration) *core {
	c := &core{driftPPM: driftPPM, maxUncertainty: maxUncertainty, returnSamples: returnSamples,
		peerTTL: int64(peerTTL), peers: map[uint64]peerState{}}
	for _, n := range names {
		c.src = append(c.src, sourceState{name: n, verdict: VerdictWaiting})
	}
	return c
}

func (c *core) need() int { return len(c.src)/2 + 1 }

// now returns the interval the core believes in at raw, whether or not it is fenced.
func (c *core) now(raw int64) (Interval, bool) {
	if !c.synced {
		return Interval{Latest: MaxTimestamp}, false
	}
	return grow(c.est, raw-c.at, c.driftPPM), true
}

func grow(iv Interval, dt, ppm int64) Interval {
	g := driftOver(max(dt, -dt), ppm)
	return Interval{Earliest: iv.Earliest + Timestamp(dt-g), Latest: iv.Latest + Timestamp(dt+g)}
}

// sample adds a reading of source i that arrived at raw.
func (c *core) sample(raw int64, i int, s Sample) {
	src := &c.src[i]
	if src.n == samplesKept {
		copy(src.ring[:], src.ring[1:])
		src.n--
	}
	src.ring[src.n] = s
	src.n++
	src.samples++
	src.good++
	src.lastErr = ""
	c.step(raw)
}

// fail records that polling source i failed.
func (c *core) fail(raw int64, i int, err error) {
	c.src[i].failed++
	c.src[i].lastErr = err.Error()
	c.step(raw)
}

// pause forgets everything measured before: the local clock stood still for an unknown time.
func (c *core) pause(raw int64) {
	c.pauses++
	c.synced, c.paused = false, true
	for i := range c.src {
		c.src[i].n, c.src[i].verdict, c.src[i].lastErr = 0, VerdictWaiting, ""
	}
	clear(c.peers)
	c.peerFence = ""
}

// peer compares a peer's interval with ours, where ours covers every moment at which theirs may have been
// read. Two intervals of true time that share no point cannot both be right.
func (c *core) peer(raw int64, id uint64, theirs, ours Interval) {
	p := peerState{raw: raw, overlaps: theirs.Overlaps(ours)}
	if !p.overlaps {
		p.gap = max(theirs.Earliest.Sub(ours.Latest), ours.Earliest.Sub(theirs.Latest))
	}
	c.peers[id] = p
	c.judgePeers(raw)
}

func (c *core) judgePeers(raw int64) {
	bad, total := 0, 0
	var worst time.Duration
	for id, p := range c.peers {
		if raw-p.raw > c.peerTTL {
			delete(c.peers, id)
			continue
		}
		total++
		if !p.overlaps {
			bad++
			worst = max(worst, p.gap)
		}
	}
	c.peerFence = ""
	if 2*bad > total {
		c.peerFence = fmt.Sprintf("the clocks of %d of %d peers contradict this node's, by up to %s", bad, total, worst)
	}
}

// step recomputes the estimate after an event.
func (c *core) step(raw int64) {
	c.judgePeers(raw)
	ivs := make([]Interval, 0, len(c.src))
	waiting := 0
	for i := range c.src {
		src := &c.src[i]
		if src.n == 0 {
			if src.lastErr != "" {
				src.verdict = VerdictUnreachable
			} else {
				waiting++
			}
			continue
		}
		iv, ok := src.interval(raw, c.driftPPM)
		src.verdict = VerdictNoMajority
		if !ok {
			// The server or our oscillator broke its bound. Only the newest sample may still be right.
			src.ring[0], src.n = src.ring[src.n-1], 1
			src.good = 1
			iv = src.ring[0].at(raw, c.driftPPM)
			src.verdict = VerdictInconsistent
		}
		src.iv = iv
		ivs = append(ivs, iv)
	}
	hull, ok := majorityInterval(ivs, c.need())
	if !ok {
		return // An estimate we have goes on growing until it passes the ceiling.
	}
	if !c.synced && waiting > 0 {
		// A source not yet heard counts like a liar: hear every one before the first estimate, so that
		// sources that are up and honest are not outvoted by being a few milliseconds slower.
		return
	}
	agree := 0
	for i := range c.src {
		src := &c.src[i]
		if src.n == 0 {
			continue
		}
		switch {
		case !src.iv.Overlaps(hull):
			src.verdict = VerdictLiar
			src.good = 0
		case src.verdict == VerdictInconsistent:
		case src.lastErr != "":
			src.verdict = VerdictUnreachable
		default:
			src.verdict = VerdictGood
		}
		if src.verdict != VerdictLiar && src.good >= c.returnSamples {
			agree++
		}
	}
	if old, had := c.now(raw); had {
		merged, ok := intersect(old, hull)
		if !ok {
			c.contradict(raw, old, hull)
			return
		}
		// Both contain true time, so their intersection does. It also keeps Earliest from ever going back.
		hull = merged
	}
	c.synced, c.paused, c.at, c.est = true, false, raw, hull
	if c.contradicted && agree >= c.need() && hull.Earliest > c.floor {
		c.contradicted, c.why = false, ""
	}
}

// contradict starts over from the new samples, fenced. Whether the old or the new ones were wrong cannot be
// known; until time is certainly past everything the old interval allowed, nothing may be promised.
func (c *core) contradict(raw int64, old, hull Interval) {
	c.contradictions++
	gap := hull.Earliest.Sub(old.Latest)
	dir := "ahead of"
	if gap < 0 {
		gap, dir = old.Earliest.Sub(hull.Latest), "behind"
	}
	if !c.contradicted {
		c.floor = old.Latest
	}
	c.contradicted = true
	c.floor = max(c.floor, old.Latest)
	c.why = fmt.Sprintf("a majority of the time sources is at least %s %s this node's interval", gap, dir)
	for i := range c.src {
		src := &c.src[i]
		src.good = 0
		if src.n > 0 {
			src.ring[0], src.n = src.ring[src.n-1], 1
		}
	}
	c.synced, c.at, c.est = true, raw, hull
}

// interval intersects the source's samples, aged to raw.
func (s *sourceState) interval(raw, ppm int64) (Interval, bool) {
	iv := s.ring[0].at(raw, ppm)
	ok := true
	for _, sm := range s.ring[1:s.n] {
		if iv, ok = intersect(iv, sm.at(raw, ppm)); !ok {
			return iv, false
		}
	}
	return iv, true
}

// fence says why the node must not serve, apart from the bound, which grows by itself. Empty: it may.
func (c *core) fence() string {
	switch {
	case c.contradicted:
		return c.why
	case !c.synced:
		var heard []string
		for i := range c.src {
			s := &c.src[i]
			switch {
			case s.lastErr != "":
				heard = append(heard, s.name+": "+s.lastErr)
			case s.n == 0:
				heard = append(heard, s.name+": no answer yet")
			default:
				heard = append(heard, s.name+": "+string(s.verdict))
			}
		}
		sort.Strings(heard)
		why := fmt.Sprintf("no majority (%d of %d) of the time sources agrees on an interval; %s", c.need(), len(c.src), strings.Join(heard, "; "))
		if c.paused {
			why = "the machine was suspended or paused and no majority of the time sources has been heard since; " + why
		}
		return why
	case c.peerFence != "":
		return c.peerFence
	}
	return ""
}

package ranges

import (
	"sync"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// awake holds the replicas that ticks and closed timestamps are for. In a store of thousands of ranges nearly all are
// asleep, and looking at each of them ten times a second was most of what they cost.
//
// Whoever makes a replica need ticks adds it; a pass does so at its end (process). Only the ticker takes replicas out. It
// looks at all of them once a second besides, for what time alone brings about.
type awake struct {
	mu   sync.Mutex
	news []*Replica
	list []*Replica // the ticker's own
}

// add makes the ticker look at r. It may be called with any lock held.
func (a *awake) add(r *Replica) {
	if r.awake.Swap(true) {
		return
	}
	a.mu.Lock()
	a.news = append(a.news, r)
	a.mu.Unlock()
}

// take returns the replicas to look at. The ticker may shorten the list with keep.
func (a *awake) take() []*Replica {
	a.mu.Lock()
	a.list = append(a.list, a.news...)
	clear(a.news)
	a.news = a.news[:0]
	a.mu.Unlock()
	return a.list
}

// keep leaves on the list what still is awake.
func (a *awake) keep(still func(r *Replica) bool) {
	kept := a.list[:0]
	for _, r := range a.list {
		if still(r) {
			kept = append(kept, r)
			continue
		}
		r.awake.Store(false)
		if still(r) { // who has changed that meanwhile took it for awake
			a.add(r)
		}
	}
	clear(a.list[len(kept):])
	a.list = kept
}

// staysAwake reports whether the ticker has to look at r more often than at those asleep.
func (r *Replica) staysAwake() bool {
	if r.removed.Load() {
		return false
	}
	if r.leading.Load() {
		return !r.quiesced.Load() || r.quietRounds.Load() <= quietAfter && !r.global.Load()
	}
	return !r.idle.Load()
}

// stir has a follower ticked that was asleep.
func (r *Replica) stir() {
	r.idle.Store(false)
	r.store.awake.add(r)
}

// thoroughTicks is the number of ticks after which all replicas are looked at.
const thoroughTicks = 10

// tickLoop ticks the replicas that are awake.
func (s *Store) tickLoop() {
	tick := time.NewTicker(s.cfg.TickInterval)
	defer tick.Stop()
	closing := time.NewTicker(s.cfg.CloseInterval)
	defer closing.Stop()
	ahead := time.NewTicker(s.cfg.AheadInterval)
	defer ahead.Stop()
	ahead.Stop()
	closesAhead := false
	for n, closings := 0, 0; ; {
		select {
		case <-s.stop:
			return
		case <-closing.C:
			closings++
			s.publishClosed(closings%quietEvery == 0)
			// Most stores have nothing to do more often.
			if some := len(*s.ahead.Load()) > 0 || len(s.fresh) > 0; some != closesAhead {
				if closesAhead = some; some {
					ahead.Reset(s.cfg.AheadInterval)
				} else {
					ahead.Stop()
				}
			}
		case <-ahead.C:
			s.publishAhead()
		case <-tick.C:
			s.tickAll(n)
			n++
		}
	}
}

// tickAll is the n-th tick.
func (s *Store) tickAll(n int) {
	sick := s.watchClock(n)
	now := s.cfg.Clock.Now()
	lapsed := s.votes.lapsedPeers(now)
	thorough := sick || n%thoroughTicks == 0
	list := s.awake.take()
	if thorough || len(lapsed) > 0 {
		list = s.replicaList()
	}
	for _, r := range list {
		if r.needsTick(lapsed, now, thorough) {
			r.poke(flagTick)
		}
	}
	s.awake.keep((*Replica).staysAwake)
}

// needsTick reports whether a tick could do anything for the replica.
func (r *Replica) needsTick(lapsed map[NodeID]bool, now truetime.Interval, thorough bool) bool {
	if r.leading.Load() {
		// A silent leader wakes when its lease has run out, to step down in the end.
		return !r.quiesced.Load() || thorough && r.Lease().Until <= now.Latest
	}
	return !r.idle.Load() || len(lapsed) > 0 && lapsed[r.LeaderHint()]
}

package truetime

import (
	"sync/atomic"
	"time"
)

// pace says how often the sources are asked. The bound that commits wait out is what a sample did not know plus the drift
// since: at 200 ppm and a poll each second up to 200 µs, which with servers in the same building is more than all the
// rest. So while somebody waits, sources are asked often enough that the drift is a small part of the bound, and once
// nobody does, no more often than configured.
type pace struct {
	interval time.Duration // Config.PollInterval
	ppm      int64
	waited   atomic.Int64 // raw time of the last wait, zero for none
	hurry    []chan struct{}
}

const (
	// paceShare is what part of the bound the drift between two polls may be.
	paceShare = 4
	// minPoll is the least time between two polls of a source.
	minPoll = 25 * time.Millisecond
	// paceLimit: sources that are configured to be asked less often than this are not one's own, and are not asked
	// more often for any reason.
	paceLimit = 2 * time.Second
)

// wait returns when a source whose last sample had the given bound is asked again, from now on.
func (p *pace) wait(raw int64, bound time.Duration) time.Duration {
	if p.interval > paceLimit || !p.busy(raw) || p.ppm == 0 || bound <= 0 {
		return p.interval
	}
	enough := bound / paceShare * 1_000_000 / time.Duration(p.ppm)
	return min(p.interval, max(minPoll, enough))
}

// busy reports whether somebody has waited during the last interval.
func (p *pace) busy(raw int64) bool {
	last := p.waited.Load()
	return last != 0 && raw-last < int64(p.interval)
}

// note notes a wait. The first one after a pause has the sources asked at once: the next wait is shorter for it.
func (p *pace) note(raw int64) {
	was := p.waited.Load()
	if raw-was < int64(minPoll) && was != 0 {
		return // most waits touch nothing that other processors write
	}
	first := !p.busy(raw)
	p.waited.Store(raw)
	if !first || p.interval > paceLimit {
		return
	}
	for _, c := range p.hurry {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

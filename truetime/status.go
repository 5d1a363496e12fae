package truetime

import (
	"sort"
	"time"
)

// Status is a snapshot of a SyncClock, for the meridian.clock view, /metrics and /healthz.
type Status struct {
	Interval       Interval      // What Now answers; [0, MaxTimestamp] when nothing can be said.
	Bound          time.Duration // Half the believed interval, also while fenced.
	MaxUncertainty time.Duration
	DriftPPM       int64
	Synced         bool          // An interval is known.
	Fenced         string        // Why the node must not serve, empty when it may.
	Offset         time.Duration // The middle of the interval minus the host's wall clock.
	Contradictions uint64
	Pauses         uint64
	Sources        []SourceStatus
	Peers          []PeerStatus
}

// SourceStatus is one row of the clock view.
type SourceStatus struct {
	Name    string
	Verdict Verdict
	Offset  time.Duration // The source's time minus the host's wall clock, by its newest sample.
	Bound   time.Duration // Of the newest sample, aged to now.
	Age     time.Duration // Of the newest sample, -1 when there is none.
	Err     string        // Of the last poll, empty when it succeeded.
	Samples uint64
	Failed  uint64
}

// PeerStatus is the last comparison with one peer.
type PeerStatus struct {
	ID       uint64
	Overlaps bool
	Gap      time.Duration // Between the two intervals when they do not overlap.
	Age      time.Duration
}

// Status describes the clock at this moment.
func (c *SyncClock) Status() Status {
	iv, e := c.read()
	health := c.health(iv, e)
	c.mu.Lock()
	defer c.mu.Unlock()
	raw := c.local.Raw()
	wall := time.Now().UnixNano() - raw // What Offset of a sample of the wall clock would be.
	core := c.mu.core
	st := Status{Interval: iv, MaxUncertainty: c.cfg.MaxUncertainty, DriftPPM: core.driftPPM,
		Contradictions: core.contradictions, Pauses: core.pauses}
	if health != nil {
		st.Fenced = health.Error()
	}
	if believed, ok := core.now(raw); ok {
		st.Synced = true
		st.Bound = believed.Bound()
		st.Offset = time.Duration(int64(believed.Earliest) + int64(st.Bound) - raw - wall)
	}
	for i := range core.src {
		s := &core.src[i]
		row := SourceStatus{Name: s.name, Verdict: s.verdict, Age: -1, Err: s.lastErr, Samples: s.samples, Failed: s.failed}
		if s.n > 0 {
			sm := s.ring[s.n-1]
			row.Age = time.Duration(raw - sm.Raw)
			row.Bound = sm.at(raw, core.driftPPM).Bound()
			row.Offset = time.Duration(sm.Offset - wall)
		}
		st.Sources = append(st.Sources, row)
	}
	for id, p := range core.peers {
		st.Peers = append(st.Peers, PeerStatus{ID: id, Overlaps: p.overlaps, Gap: p.gap, Age: time.Duration(raw - p.raw)})
	}
	sort.Slice(st.Peers, func(i, j int) bool { return st.Peers[i].ID < st.Peers[j].ID })
	return st
}

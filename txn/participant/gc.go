package participant

import (
	"context"
	"time"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/truetime/plant"
)

// gcLoop trims outcomes and raises GC thresholds on the ranges led here, and removes dead versions of all replicas
// of the store, one after the other.
func (s *Server) gcLoop() {
	t := time.NewTicker(s.cfg.GCInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-s.ctx.Done():
			return
		}
		for _, m := range s.all() {
			if l := m.lead.Load(); l != nil {
				m.maintain(l.ctx)
			}
			if err := m.collect(s.ctx); err != nil && s.ctx.Err() == nil {
				s.cfg.Logger.Warn("garbage collection", "range", m.id, "err", err)
			}
		}
	}
}

// maintain trims outcomes that are past their retention and raises the GC threshold now and then. An idle range
// stays idle: it has nothing to trim, nothing to collect, and nothing to log.
func (m *Machine) maintain(ctx context.Context) {
	now := m.srv.cfg.Clock.Now().Earliest
	horizon := now.Add(-m.srv.cfg.OutcomeRetention)
	m.mu.RLock()
	old := m.state.horizon
	m.mu.RUnlock()
	if m.hasOutcomes(old, horizon) {
		c := command{kind: cmdTrim, ts: horizon}
		_, _ = m.logged(ctx, &c) // the next round tries again
	}
	ttl := m.srv.cfg.GCTTL
	threshold := now.Add(-ttl)
	due := truetime.Timestamp(m.threshold.Load()).Add(ttl / 4)
	if ttl <= 0 || !m.dirty.Load() || threshold <= due {
		return
	}
	desc := m.rep.Desc()
	if protected := m.srv.cfg.Protected; protected != nil && desc != nil {
		// What is protected is kept (I3), however long its readers take.
		if threshold = min(threshold, protected(ctx, desc.Start, desc.End, threshold)); threshold <= due {
			return
		}
	}
	_ = m.RaiseGCThreshold(ctx, threshold)
}

// RaiseGCThreshold has the range refuse reads below ts from now on (I3).
func (m *Machine) RaiseGCThreshold(ctx context.Context, ts truetime.Timestamp) error {
	c := command{kind: cmdGC, ts: ts}
	_, err := m.logged(ctx, &c)
	return err
}

// collectible is up to where garbage may be removed: the threshold, but below every layer. A range with a layer raises
// its threshold no further than that (applyGC); one that was absorbed since may have brought an older layer.
func (m *Machine) collectible() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	threshold := m.threshold.Load()
	for _, l := range m.state.layers {
		threshold = min(threshold, int64(l.TS.Prev()))
	}
	return threshold
}

// collect removes from this replica the versions that no permitted read can see, if the threshold has been raised
// since it last did and something was written. Replicas need not collect in step: nobody can tell.
func (m *Machine) collect(ctx context.Context) error {
	threshold := m.collectible()
	if plant.On(plant.GCThreshold) {
		threshold = int64(m.now())
	}
	if threshold <= m.collected.Load() || !m.dirty.Swap(false) {
		return nil
	}
	desc := m.rep.Desc()
	if desc == nil || m.closed.Load() {
		return nil
	}
	_, err := m.rep.Engine().GC(ctx, mvcc.Span{Start: desc.Start, End: desc.End}, truetime.Timestamp(threshold))
	if err != nil {
		m.dirty.Store(true)
		return err
	}
	m.collected.Store(threshold)
	return nil
}

// Collect removes the garbage of a range's replica here up to its threshold at once, whatever was removed before, for
// checks that compare replicas.
func (s *Server) Collect(ctx context.Context, id ranges.RangeID) error {
	m := s.Machine(id)
	if m == nil {
		return nil
	}
	m.collected.Store(0)
	m.dirty.Store(true)
	return m.collect(ctx)
}

package participant

import (
	"context"
	"errors"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
)

// gcLoop collects garbage on the ranges led here, one after the other.
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
		}
	}
}

// maintain trims outcomes that are past their retention and, when there is enough of it, collects garbage.
func (m *Machine) maintain(ctx context.Context) {
	now := m.srv.cfg.Clock.Now().Earliest
	horizon := now.Add(-m.srv.cfg.OutcomeRetention)
	m.mu.RLock()
	old := m.state.horizon
	m.mu.RUnlock()
	// An idle range stays idle: it has nothing to trim, and nothing to log.
	if m.hasOutcomes(old, horizon) {
		c := command{kind: cmdTrim, ts: horizon}
		_, _ = m.logged(ctx, &c)
	}
	if m.srv.cfg.GCTTL > 0 && m.dirty.Swap(false) {
		if err := m.CollectGarbage(ctx, now.Add(-m.srv.cfg.GCTTL)); err != nil && ctx.Err() == nil &&
			!errors.Is(err, ranges.ErrNotLeader) {
			m.dirty.Store(true)
		}
	}
}

// CollectGarbage raises the range's GC threshold to ts and removes the versions that no permitted read can see
// any more (I3), in bounded pieces.
func (m *Machine) CollectGarbage(ctx context.Context, ts truetime.Timestamp) error {
	c := command{kind: cmdGC, ts: ts}
	for {
		res, err := m.logged(ctx, &c)
		if err != nil {
			return err
		}
		a, _ := res.(applied)
		if !a.more {
			return nil
		}
		c.start = a.next
	}
}

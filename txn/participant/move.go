package participant

import (
	"context"
	"slices"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// The staged writes of a large transaction can be read where they are once it has committed, so nobody waits for
// them to be moved. They are moved all the same, bit by bit, because until then the range remembers the transaction,
// and collects no garbage above it.

// movePause is the least pause between two pieces; moveShare bounds the share of time spent on them.
const (
	movePause = 10 * time.Millisecond
	moveShare = 10 // one part in so many
	// maxLayers is how many layers a range may have before their age does not matter any more.
	maxLayers = 64
)

// moveLoop moves the layers of the ranges led here, one piece at a time.
func (s *Server) moveLoop() {
	interval := max(s.cfg.MoveAfter/4, movePause)
	pause := interval
	for {
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return
		}
		pause = interval
		for _, m := range s.all() {
			l := m.lead.Load()
			if l == nil || m.layers.Load() == nil {
				continue
			}
			id, dead, due := m.nextLayer()
			if !due {
				continue
			}
			began := time.Now()
			_ = m.movePiece(l.ctx, id, dead) // what fails is tried again
			wait := max(movePause, moveShare*time.Since(began))
			select {
			case <-time.After(wait):
			case <-s.ctx.Done():
				return
			}
			pause = 0
		}
	}
}

// nextLayer returns the oldest layer of the range that is due, and the timestamp below which nobody reads any more.
//
// A deletion of a span costs a tombstone for each key if it is moved while the keys may still be read, and nothing to
// speak of once they may not. So it waits until garbage is collected up to it.
func (m *Machine) nextLayer() (id TxnID, dead truetime.Timestamp, due bool) {
	now := m.srv.cfg.Clock.Now().Earliest
	cfg := &m.srv.cfg
	if cfg.GCTTL > 0 {
		dead = now.Add(-cfg.GCTTL)
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	crowded := len(m.state.layers) > maxLayers
	var oldest *layer
	for x, l := range m.state.layers {
		age := now.Add(-cfg.MoveAfter)
		if len(l.Deleted) > 0 && cfg.GCTTL > 0 {
			age = dead
		}
		if !crowded && l.TS > age {
			continue
		}
		if oldest == nil || l.TS < oldest.TS || l.TS == oldest.TS && slices.Compare(x[:], id[:]) < 0 {
			id, oldest = x, l
		}
	}
	return id, dead, oldest != nil
}

// movePiece moves a piece of a layer.
func (m *Machine) movePiece(ctx context.Context, id TxnID, dead truetime.Timestamp) error {
	c := command{kind: cmdMove, txn: id, ts: dead}
	_, err := m.logged(ctx, &c)
	if err == nil {
		m.srv.metrics.pieces.Inc()
	}
	return err
}

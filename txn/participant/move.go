package participant

import (
	"cmp"
	"context"
	"math"
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
			id, ok := m.nextLayer()
			if !ok {
				continue
			}
			began := time.Now()
			_ = m.movePiece(l.ctx, id) // what fails is tried again
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

// nextLayer returns the oldest layer of the range if it is due.
func (m *Machine) nextLayer() (id TxnID, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	oldest := truetime.Timestamp(math.MaxInt64)
	for x, l := range m.state.layers {
		if c := cmp.Compare(l.TS, oldest); c < 0 || c == 0 && slices.Compare(x[:], id[:]) < 0 {
			id, oldest = x, l.TS
		}
	}
	due := len(m.state.layers) > maxLayers || m.srv.cfg.Clock.Now().Earliest > oldest.Add(m.srv.cfg.MoveAfter)
	return id, len(m.state.layers) > 0 && due
}

// movePiece moves a piece of a layer.
func (m *Machine) movePiece(ctx context.Context, id TxnID) error {
	c := command{kind: cmdMove, txn: id}
	_, err := m.logged(ctx, &c)
	if err == nil {
		m.srv.metrics.pieces.Inc()
	}
	return err
}

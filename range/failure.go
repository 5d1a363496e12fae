package ranges

import (
	"errors"
	"fmt"
)

// Fail stops the store for good, because its disk no longer takes what is written or has lost what was: one
// that went on in part would promise what it cannot keep. From here on it is to the others as a store that has
// crashed: it sends nothing, answers nothing, has no lease and asks for none, and tells no proposer that a
// command is durable or applied. What was acknowledged before is on a quorum of disks (I11).
//
// Fail does not wait and may be called with locks held, from inside the engines too. The first call counts: it
// writes one line to the log and has Config.Failed called.
func (s *Store) Fail(err error) {
	err = fmt.Errorf("the store in %s has failed: %w", s.cfg.Dir, err)
	if !s.failure.CompareAndSwap(nil, &err) || s.closing.Load() {
		return
	}
	s.cfg.Logger.Error("the node stops: its store cannot be trusted any more", "err", err)
	go func() {
		for _, r := range s.replicaList() {
			r.lease.mu.Lock()
			r.lease.changed()
			r.lease.mu.Unlock()
			r.pend.failAll(func(p *Pending) error { return ErrAmbiguous })
		}
		s.cfg.Failed(err)
	}()
}

// failed reports whether the store has stopped because of its disk.
func (s *Store) failed() bool { return s.failure.Load() != nil }

// ErrForgotten is why a store has failed that has acknowledged more than it holds: it is an old copy, or damaged.
var ErrForgotten = errors.New("the raft log lacks entries that this node has acknowledged")

// fatal is Fail for errors of the raft log.
func (s *Store) fatal(format string, args ...any) { s.Fail(fmt.Errorf(format, args...)) }

// checkDisk notices when the store's files were taken away: what is open can be written on, and is lost when
// the process ends.
func (s *Store) checkDisk() {
	if s.failed() {
		return
	}
	if _, err := s.cfg.FS.Stat(s.cfg.FS.PathJoin(s.cfg.Dir, logDir)); err != nil {
		s.Fail(err)
	}
}

package mvcc

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// CompactionScheduler returns a scheduler for one Pebble engine, which lets as many compactions run at a time as the engine
// itself allows. Pebble's own looks ten times a second, for as long as the engine is open, whether that number has grown. This
// one looks as often only while a compaction runs: before the first one the engine asks.
func CompactionScheduler() pebble.CompactionScheduler {
	s := &compactions{}
	s.granted.L = &s.mu
	return s
}

// grantInterval is how often a running compaction has the scheduler look for others that may join it.
const grantInterval = 100 * time.Millisecond

// compactions implements pebble.CompactionScheduler, and the handle that a compaction returns when it is done.
type compactions struct {
	db      pebble.DBForCompaction
	mu      sync.Mutex // after the engine's own
	granted sync.Cond  // granting has become false
	running int
	refused bool // the engine has been refused one, which it keeps waiting
	// granting is set while a goroutine asks the engine for compactions, without mu: one at a time does.
	granting bool
	closed   bool
	timer    *time.Timer // nil before the first compaction
	ticking  bool        // the timer is set, or its function has not looked at running yet
}

func (s *compactions) Register(_ int, db pebble.DBForCompaction) { s.db = db }

// Unregister returns when the engine will not be asked any more.
func (s *compactions) Unregister() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	for s.granting {
		s.granted.Wait()
	}
}

func (s *compactions) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, nil
	}
	s.watch()
	if s.refused = s.db.GetAllowedWithoutPermission() <= s.running; s.refused {
		return false, nil
	}
	s.running++
	return true, s
}

// watch sets the timer. The caller holds mu.
func (s *compactions) watch() {
	if s.ticking {
		return
	}
	s.ticking = true
	if s.timer == nil {
		s.timer = time.AfterFunc(grantInterval, s.tick)
	} else {
		s.timer.Reset(grantInterval)
	}
}

func (s *compactions) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grant()
	if s.ticking = (s.running > 0 || s.refused) && !s.closed; s.ticking {
		s.timer.Reset(grantInterval)
	}
}

// UpdateGetAllowedWithoutPermission is called with locks of the engine held: whether there is something to grant is found
// out by the timer's goroutine.
func (s *compactions) UpdateGetAllowedWithoutPermission() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ticking && !s.closed {
		s.timer.Reset(0)
	}
}

// grant starts what the engine has waiting, as far as it allows. The caller holds mu, which is released meanwhile.
func (s *compactions) grant() {
	for s.granting && !s.closed {
		s.granted.Wait()
	}
	if s.closed {
		return
	}
	s.granting = true
	for !s.closed && s.db.GetAllowedWithoutPermission() > s.running {
		s.running++ // before it is granted: it may be done before Schedule returns
		s.refused = false
		s.mu.Unlock()
		waiting, _ := s.db.GetWaitingCompaction()
		accepted := waiting && s.db.Schedule(s)
		s.mu.Lock()
		if !accepted {
			s.running-- // should the engine have been refused one for it meanwhile, the timer finds that
			break
		}
	}
	s.granting = false
	s.granted.Broadcast()
}

// Started implements pebble.CompactionGrantHandle, as do the other methods below.
func (s *compactions) Started() {}

// MeasureCPU does nothing: compactions are not rationed by it.
func (s *compactions) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats does nothing either.
func (s *compactions) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done ends one compaction and lets another take its place.
func (s *compactions) Done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	s.grant()
}

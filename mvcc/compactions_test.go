package mvcc

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// fakeBacklog is an engine with compactions to run. The timer of the scheduler asks it from a goroutine of its own.
type fakeBacklog struct {
	mu               sync.Mutex
	allowed, waiting int
	started          []pebble.CompactionGrantHandle
}

func (f *fakeBacklog) set(allowed, waiting int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.allowed, f.waiting = allowed, waiting
}

func (f *fakeBacklog) all() []pebble.CompactionGrantHandle {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.started)
}

func (f *fakeBacklog) GetAllowedWithoutPermission() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.allowed
}

func (f *fakeBacklog) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waiting > 0, pebble.WaitingCompaction{}
}

func (f *fakeBacklog) Schedule(h pebble.CompactionGrantHandle) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting == 0 {
		return false
	}
	f.waiting--
	f.started = append(f.started, h)
	return true
}

// TestCompactionScheduler: as many compactions run as are allowed; another one starts when one is done, and when more have
// become allowed while one runs; and while none runs there is no timer.
func TestCompactionScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := CompactionScheduler().(*compactions)
		f := &fakeBacklog{allowed: 1}
		s.Register(2, f)
		ok, first := s.TrySchedule()
		if !ok {
			t.Fatal("the first compaction was refused")
		}
		if ok, _ := s.TrySchedule(); ok {
			t.Fatal("two compactions run where one is allowed")
		}
		f.set(1, 2)
		first.Done()
		if n := len(f.all()); n != 1 {
			t.Fatalf("%d compactions started when one was done, want 1", n)
		}
		f.set(2, 1)
		time.Sleep(grantInterval)
		synctest.Wait()
		if n := len(f.all()); n != 2 {
			t.Fatalf("%d compactions started after one more was allowed, want 2", n)
		}
		for _, h := range f.all() {
			h.Done()
		}
		time.Sleep(grantInterval)
		synctest.Wait()
		s.mu.Lock()
		if s.running != 0 || s.ticking {
			t.Errorf("%d compactions running, timer set: %v; want none", s.running, s.ticking)
		}
		s.mu.Unlock()
		// What is refused with nothing running is found by the timer.
		f.set(0, 0)
		if ok, _ := s.TrySchedule(); ok {
			t.Fatal("a compaction was let through where none is allowed")
		}
		f.set(1, 1)
		time.Sleep(grantInterval)
		synctest.Wait()
		if len(f.all()) != 3 {
			t.Errorf("what was refused never started")
		}
		s.Unregister()
		f.set(1, 1)
		f.all()[2].Done()
		if len(f.all()) != 3 {
			t.Error("a compaction started after Unregister")
		}
	})
}

// TestCompactionSchedulerOnPebble has an engine compact with it.
func TestCompactionSchedulerOnPebble(t *testing.T) {
	opts := &pebble.Options{FS: vfs.NewMem(), MemTableSize: 64 << 10, L0CompactionThreshold: 2, Logger: quietLogger{},
		CompactionConcurrencyRange: func() (int, int) { return 1, 3 }}
	opts.Experimental.CompactionScheduler = CompactionScheduler()
	db, err := pebble.Open("db", opts)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		for k := range 100 {
			if err := db.Set(fmt.Appendf(nil, "%04d", k*7+i), make([]byte, 300), pebble.NoSync); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Compact(t.Context(), []byte("0"), []byte("9"), true); err != nil {
		t.Fatal(err)
	}
	if m := db.Metrics(); m.Compact.Count == 0 || m.Levels[0].TablesCount != 0 {
		t.Errorf("%d compactions, %d tables in L0", m.Compact.Count, m.Levels[0].TablesCount)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

type quietLogger struct{}

func (quietLogger) Infof(string, ...any)      {}
func (quietLogger) Errorf(string, ...any)     {}
func (quietLogger) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

package mvcc

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Background holds flushes and compactions of one Pebble engine back, and garbage collection there, so that they do not
// take the processors from those who wait for answers: left to itself, each uses a whole one for as long as it lasts, on
// all replicas at about the same time, as all have written the same. After backgroundQuantum of work there is
// backgroundRest times as much rest, for all of them together, except while somebody waits for them; and less of it while
// the engine falls behind (rests). Flushes and compactions are known by the files they write.
type Background struct {
	hasten atomic.Int32 // who wait for a flush or compaction

	mu     sync.Mutex
	look   func() backlog // nil before Watch
	looked time.Time
	behind backlog   // as of then
	free   time.Time // when the work done so far has been made up for by rest
}

// backlog is what an engine has not come to yet.
type backlog struct {
	memtables int64 // the one that is written and the one that is flushed included
	sublevels int32 // of level 0
}

const (
	backgroundQuantum = 2 * time.Millisecond
	backgroundRest    = 3
	// backgroundMost bounds the rest for one piece of work: what was held up by something else says nothing.
	backgroundMost = 30 * time.Millisecond
	// backgroundLook is how often an engine is asked what it has not come to.
	backgroundLook = 50 * time.Millisecond

	// A third memtable means that flushes do not keep up with writes. With the sublevels reads become slow, long before
	// Pebble would have writes wait.
	mostMemtables = 2
	mostSublevels = 8
)

// rests returns how many times as long as it works something rests. Whoever loads rows must not wait for flushes, and soon
// would with another memtable; compactions that lag by some sublevels get half of the time first.
func (l backlog) rests(category vfs.DiskWriteCategory) time.Duration {
	switch {
	case l.memtables > mostMemtables, category != flushCategory && l.sublevels >= 2*mostSublevels:
		return 0
	case category != flushCategory && l.sublevels >= mostSublevels:
		return 1
	}
	return backgroundRest
}

// Pebble's names of what writes a file.
const (
	flushCategory      = "pebble-memtable-flush"
	compactionCategory = "pebble-compaction"
	gcCategory         = "mvcc-gc" // writes none
)

// FS returns the file system that the engine is to be opened with.
func (b *Background) FS(fs vfs.FS) vfs.FS { return backgroundFS{fs, b} }

// Watch tells which engine it is; nothing is held back before.
func (b *Background) Watch(db *pebble.DB) {
	b.watch(func() backlog {
		m := db.Metrics()
		return backlog{m.MemTable.Count, m.Levels[0].Sublevels}
	})
}

func (b *Background) watch(look func() backlog) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.look = look
}

// Hasten ends all rests until the function that it returns is called.
func (b *Background) Hasten() (done func()) {
	b.hasten.Add(1)
	return func() { b.hasten.Add(-1) }
}

// rest returns how long to rest after so much work, 0 when it is not worth it yet.
func (b *Background) rest(category vfs.DiskWriteCategory, work time.Duration) time.Duration {
	if work < backgroundQuantum || b.hasten.Load() > 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.look == nil {
		return 0
	}
	now := time.Now()
	if now.Sub(b.looked) >= backgroundLook {
		b.looked, b.behind = now, b.look()
	}
	n := b.behind.rests(category)
	if n == 0 {
		return 0
	}
	if b.free.Before(now) {
		b.free = now
	}
	b.free = b.free.Add(min(n*work, backgroundMost))
	return b.free.Sub(now)
}

type backgroundFS struct {
	vfs.FS
	b *Background
}

func (fs backgroundFS) Unwrap() vfs.FS { return fs.FS }

func (fs backgroundFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	if err != nil || category != flushCategory && category != compactionCategory {
		return f, err
	}
	return &backgroundFile{File: f, b: fs.b, category: category, since: time.Now()}, nil
}

// backgroundFile is a file that a flush or a compaction writes, block by block: what makes the blocks waits for Write. It
// belongs to one goroutine at a time.
type backgroundFile struct {
	vfs.File
	b        *Background
	category vfs.DiskWriteCategory
	since    time.Time // the end of the last rest
}

func (f *backgroundFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	work := time.Since(f.since)
	if work < backgroundQuantum {
		return n, err
	}
	time.Sleep(f.b.rest(f.category, work))
	f.since = time.Now()
	return n, err
}

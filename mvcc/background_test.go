package mvcc

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// slowFS makes files whose blocks take a millisecond each to be made, and remembers what they are for.
type slowFS struct {
	vfs.FS
	mu         sync.Mutex
	categories map[vfs.DiskWriteCategory]int
}

type slowFile struct{ vfs.File }

func (fs *slowFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	fs.mu.Lock()
	fs.categories[category]++
	fs.mu.Unlock()
	f, err := fs.FS.Create(name, category)
	return slowFile{f}, err
}

func (f slowFile) Write(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return f.File.Write(p)
}

// Flushes and compactions leave most of the time to others, unless someone waits for them or the engine falls behind.
func TestBackground(t *testing.T) {
	const blocks = 20
	work, less, rested := blocks*time.Millisecond, blocks*(1+1)*time.Millisecond, blocks*(1+backgroundRest)*time.Millisecond
	for _, tc := range []struct {
		what     string
		category vfs.DiskWriteCategory
		behind   backlog
		unopened bool
		hasten   bool
		want     time.Duration
	}{
		{what: "a flush", category: flushCategory, behind: backlog{2, 1}, want: rested},
		{what: "a compaction", category: compactionCategory, behind: backlog{2, 7}, want: rested},
		{what: "a write-ahead log", category: "pebble-wal", behind: backlog{2, 1}, want: work},
		{what: "while the engine opens", category: flushCategory, unopened: true, want: work},
		{what: "a flush somebody waits for", category: flushCategory, behind: backlog{2, 1}, hasten: true, want: work},
		{what: "a flush that writes overtake", category: flushCategory, behind: backlog{3, 1}, want: work},
		{what: "a compaction that delays flushes", category: compactionCategory, behind: backlog{3, 1}, want: work},
		{what: "a compaction that writes overtake", category: compactionCategory, behind: backlog{2, 8}, want: less},
		{what: "a compaction that writes have overtaken", category: compactionCategory, behind: backlog{2, 16}, want: work},
		{what: "a flush while compactions lag", category: flushCategory, behind: backlog{2, 8}, want: rested},
	} {
		t.Run(tc.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b Background
				if !tc.unopened {
					b.watch(func() backlog { return tc.behind })
				}
				if tc.hasten {
					done := b.Hasten()
					defer done()
				}
				f, err := b.FS(&slowFS{FS: vfs.NewMem(), categories: map[vfs.DiskWriteCategory]int{}}).Create("f", tc.category)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				for range blocks {
					if _, err := f.Write([]byte("block")); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(began); took != tc.want {
					t.Errorf("took %s, want %s", took, tc.want)
				}
			})
		})
	}
}

// All that an engine does in the background takes together no more than one piece of work would.
func TestBackgroundTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Background
		b.watch(func() backlog { return backlog{2, 1} })
		began := time.Now()
		var wg sync.WaitGroup
		for _, category := range []vfs.DiskWriteCategory{flushCategory, compactionCategory, gcCategory} {
			wg.Go(func() {
				for range 20 {
					time.Sleep(2 * time.Millisecond)
					time.Sleep(b.rest(category, 2*time.Millisecond))
				}
			})
		}
		wg.Wait()
		if took, least := time.Since(began), 3*20*2*backgroundRest*time.Millisecond; took < least {
			t.Errorf("took %s, want %s at least", took, least)
		}
		if r := b.rest(flushCategory, time.Minute); r > 2*backgroundMost {
			t.Errorf("%s of rest after a minute", r)
		}
	})
}

// The engine's flushes and compactions have the names that they are known by.
func TestBackgroundCategories(t *testing.T) {
	fs := &slowFS{FS: vfs.NewMem(), categories: map[vfs.DiskWriteCategory]int{}}
	e, err := Open(Config{FS: fs, Dir: "e", MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		write(t, e, func(b *Batch) {
			for k := range 10 {
				b.Put(fmt.Appendf(nil, "k%d", k), Timestamp(i+1), []byte("v"))
			}
		})
		if err := e.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Compact(t.Context(), Span{[]byte{1}, []byte{0xff}}); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []vfs.DiskWriteCategory{flushCategory, compactionCategory} {
		if fs.categories[c] == 0 {
			t.Errorf("no file of %q: %v", c, fs.categories)
		}
	}
}

// Garbage is found however many versions there are, in one batch or several; and where all is newer than the threshold
// nothing is read.
func TestGCOfManyVersions(t *testing.T) {
	e := newTestEngine(t)
	const keys = 3000
	put := func(prefix string, ts Timestamp) {
		write(t, e, func(b *Batch) {
			for k := range keys {
				b.Put(fmt.Appendf(nil, "%s%05d", prefix, k), ts, []byte("v"))
			}
		})
	}
	for _, ts := range []Timestamp{10, 20, 30} {
		put("k", ts)
		put("new", 100+ts)
	}
	if err := e.Flush(); err != nil {
		t.Fatal(err)
	}
	stats, err := e.GC(t.Context(), Span{[]byte("k"), []byte("l")}, 25)
	if err != nil || stats.Scanned > 3*keys || stats.Removed != keys {
		t.Fatalf("%+v, %v", stats, err)
	}
	for k := range keys {
		if key := fmt.Sprintf("k%05d", k); mustGet(t, e, key, 25) != "v" || mustGet(t, e, key, 15) != "<none>" {
			t.Fatalf("%s has other versions", key)
		}
	}
	if stats, err := e.GC(t.Context(), Span{[]byte("n"), []byte("o")}, 25); err != nil || stats.Removed > 0 || stats.Scanned > keys {
		t.Errorf("%d new keys: %+v, %v", keys, stats, err)
	}
}

package raftlog

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	pb "go.etcd.io/raft/v3/raftpb"
)

// refuser is a disk that refuses all changes while on.
type refuser struct{ on atomic.Bool }

func (r *refuser) wrap(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if r.on.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return errorfs.ErrInjected
		}
		return nil
	}))
}

// flip changes one bit of a file.
func flip(t *testing.T, fs vfs.FS, path string, at int64, bit int) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// written is a log with 200 entries whose data says which they are, in a table or in the write-ahead log only.
func written(t *testing.T, table bool) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	l := open(t, fs)
	for i := range uint64(200) {
		b := l.NewBatch()
		b.Append(1, []*pb.Entry{{Type: pb.EntryNormal.Enum(), Term: new(uint64(1)), Index: new(i + 1), Data: entryData(i + 1)}}, i)
		b.SetHardState(1, HardState{Term: 1, Commit: i + 1})
		if err := b.Commit(true); err != nil {
			t.Fatal(err)
		}
		// Pebble loses count of what has been synced when there are writes that are not.
		b = l.NewBatch()
		b.SetHardState(2, HardState{Term: 1, Commit: i})
		if err := b.Commit(false); err != nil {
			t.Fatal(err)
		}
	}
	if table {
		if err := l.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	clone := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return clone
}

func entryData(i uint64) []byte { return []byte(strings.Repeat(fmt.Sprintf("entry %d ", i), 100)) }

// readAll opens and reads the log, and returns how many entries are there. Wrong data fails the test.
func readAll(t *testing.T, fs vfs.FS) (n int, err error) {
	var mu sync.Mutex
	var failed error // Pebble reports what it finds from goroutines of its own, too
	l, err := Open(fs, "log", slog.New(slog.DiscardHandler), func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		failed = errors.Join(failed, fmt.Errorf(format, args...))
	})
	if err != nil {
		return 0, err
	}
	defer l.Close()
	st, lerr := l.Load(1)
	if lerr != nil {
		return 0, lerr
	}
	serr := l.Scan(1, 0, 1<<62, func(e *pb.Entry) (bool, error) {
		n++
		if want := entryData(uint64(n)); e.GetIndex() != uint64(n) || e.GetTerm() != 1 || string(e.Data) != string(want) {
			t.Errorf("entry %d reads as %d/%d %q", n, e.GetTerm(), e.GetIndex(), e.Data)
		}
		return true, nil
	})
	if serr == nil && (st.Hard.Term != 1 || st.Hard.Commit != uint64(n)) {
		t.Errorf("%d entries and hard state %+v", n, st.Hard)
	}
	mu.Lock()
	defer mu.Unlock()
	return n, errors.Join(failed, serr)
}

// A flipped bit in what is stored is an error, never other data and never a shorter log. Only in the last two synced
// writes, which no later mark vouches for, it cannot be told from a power failure.
func TestFlippedBits(t *testing.T) {
	for _, table := range []bool{true, false} {
		base := written(t, table)
		files, err := base.List("log")
		if err != nil {
			t.Fatal(err)
		}
		detected, harmless, torn := 0, 0, 0
		for _, name := range files {
			if !strings.HasSuffix(name, ".sst") && !strings.HasSuffix(name, ".log") {
				continue
			}
			path := base.PathJoin("log", name)
			info, err := base.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			rnd := rand.New(rand.NewPCG(1, uint64(info.Size())))
			for range 60 {
				if info.Size() == 0 {
					break
				}
				fs := base.CrashClone(vfs.CrashCloneCfg{})
				at := rnd.Int64N(info.Size())
				flip(t, fs, path, at, rnd.IntN(8))
				n, err := readAll(t, fs)
				switch {
				case err != nil:
					detected++
				case n == 200:
					harmless++ // padding, statistics, a filter
				case !table && n >= 198:
					torn++
				default:
					t.Errorf("%s: bit at %d of %d flipped: %d entries and no error", name, at, info.Size(), n)
				}
				if t.Failed() {
					return
				}
			}
		}
		t.Logf("table %t: %d detected, %d harmless, %d look torn", table, detected, harmless, torn)
		if detected < 20 {
			t.Error("nothing was detected")
		}
	}
}

// A log that was found damaged stays damaged: opening it once has replaced the file that said how much it held.
func TestDamageIsRemembered(t *testing.T) {
	base := written(t, false)
	files, err := base.List("log")
	if err != nil {
		t.Fatal(err)
	}
	var fs *vfs.MemFS // on which Pebble takes the damage for the end of the log
	for _, name := range files {
		path := base.PathJoin("log", name)
		info, err := base.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := int64(1); fs == nil && strings.HasSuffix(name, ".log") && at < info.Size(); at += 997 {
			x := base.CrashClone(vfs.CrashCloneCfg{})
			flip(t, x, path, at, 3)
			if _, err := readAll(t, x); errors.Is(err, ErrCorrupt) {
				fs = x
			}
		}
	}
	if fs == nil {
		t.Fatal("Pebble has noticed all damage: this shows nothing")
	}
	for i := range 3 {
		if n, err := readAll(t, fs); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("opened again, %d. time, the damaged log has %d entries, error %v", i+1, n, err)
		}
	}
	path := fs.PathJoin("log", claimFile)
	flip(t, fs, path, 9, 0)
	if _, err := readAll(t, fs); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), claimFile) {
		t.Errorf("with a damaged claim: %v", err)
	}
}

// A gap between entries is an error.
func TestGap(t *testing.T) {
	l := open(t, vfs.NewMem())
	defer l.Close()
	b := l.NewBatch()
	b.Reset(1, Position{Index: 10, Term: 5}, HardState{Term: 5, Commit: 10})
	for _, i := range []uint64{11, 12, 14} {
		b.Append(1, []*pb.Entry{{Type: pb.EntryNormal.Enum(), Term: new(uint64(5)), Index: new(i)}}, i-1)
	}
	if err := b.Commit(true); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Load(1); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "range 1 lacks entry 13") {
		t.Errorf("Load over a gap: %v", err)
	}
}

// Records that do not decode are errors that name them.
func TestUndecodable(t *testing.T) {
	for what, key := range map[string][]byte{
		"hard state of range 1": rangeKey(1, kindHard), "truncated state of range 1": rangeKey(1, kindTruncated),
		"range 1": entryKey(1, 1),
	} {
		for _, value := range []string{"", "\xff", "\x00\xff", "\x09\xff\xff"} {
			l := open(t, vfs.NewMem())
			if err := l.db.Set(key, []byte(value), nil); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Load(1); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), what) {
				t.Errorf("%s as %q: %v", what, value, err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte{0, 1, 'x'})
	f.Add([]byte{2, 0x80, 0x01})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, v []byte) {
		e, err := decodeEntry(7, v)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		if e.GetIndex() != 7 || len(e.Data) > len(v)-2 {
			t.Errorf("%q decodes to %v", v, e)
		}
	})
}

package raftlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	pb "go.etcd.io/raft/v3/raftpb"
)

// TestPrewriteKeepsLength shows that a file's length, which a sync would have to write, changes once in many writes.
func TestPrewriteKeepsLength(t *testing.T) {
	mem := vfs.NewMem()
	f, err := PrewriteFS(mem, PrewriteBytes).Create("1.log", "")
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	lengths := map[int64]bool{}
	for i := range 2000 {
		p := []byte(fmt.Sprintf("%0*d", 100+i, i))
		want.Write(p)
		if n, err := f.Write(p); err != nil || n != len(p) {
			t.Fatal(n, err)
		}
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		lengths[st.Size()] = true
	}
	if most := want.Len()/PrewriteBytes + 1; len(lengths) > most {
		t.Errorf("%d writes of %d bytes gave the file %d lengths, more than %d", 2000, want.Len(), len(lengths), most)
	}
	got := content(t, mem, "1.log")
	if !bytes.HasPrefix(got, want.Bytes()) || len(bytes.Trim(got[want.Len():], "\x00")) > 0 {
		t.Error("the file does not hold what was written, and zeros")
	}

	// A file used again keeps its blocks, and grows by steps once they are used up.
	f, err = PrewriteFS(mem, PrewriteBytes).ReuseForWrite("1.log", "2.log", "")
	if err != nil {
		t.Fatal(err)
	}
	clear(lengths)
	for range 40 {
		if _, err := f.Write(make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		st, _ := f.Stat()
		lengths[st.Size()] = true
	}
	if most := (4_000_000-len(got))/PrewriteBytes + 2; len(lengths) > most {
		t.Errorf("a file used again had %d lengths, more than %d", len(lengths), most)
	}
}

// TestPrewriteLeavesOthers shows that a file which is no write-ahead log has the length of what was written.
func TestPrewriteLeavesOthers(t *testing.T) {
	mem := vfs.NewMem()
	for _, name := range []string{"placement.log", ".log", "000012.sst"} {
		f, err := PrewriteFS(mem, PrewriteBytes).Create(name, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("entry")); err != nil {
			t.Fatal(err)
		}
		if got := content(t, mem, name); string(got) != "entry" {
			t.Errorf("%s holds %d bytes", name, len(got))
		}
	}
}

// TestPrewriteWithoutRoom shows that a disk without room for zeros ahead takes what still fits.
func TestPrewriteWithoutRoom(t *testing.T) {
	mem := vfs.NewMem()
	full := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWriteAt {
			return errors.New("no space left on device")
		}
		return nil
	}))
	f, err := PrewriteFS(full, PrewriteBytes).Create("1.log", "")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := f.Write([]byte("entry")); err != nil {
			t.Fatal(err)
		}
	}
	if got := content(t, mem, "1.log"); string(got) != "entryentryentry" {
		t.Errorf("the file holds %q", got)
	}
}

// TestPrewrittenLogSurvives shows that a log finds its end before the zeros, after a crash and after it was closed.
func TestPrewrittenLogSurvives(t *testing.T) {
	mem := vfs.NewCrashableMem()
	open := func(fs vfs.FS) *Log {
		t.Helper()
		l, err := Open(PrewriteFS(fs, PrewriteBytes), "log", slog.New(slog.DiscardHandler), t.Fatalf)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open(mem)
	for i := range 20 {
		if err := l.SetStore(fmt.Sprint(i), bytes.Repeat([]byte{byte(i)}, 5000*i)); err != nil {
			t.Fatal(err)
		}
		after := open(mem.CrashClone(vfs.CrashCloneCfg{}))
		for have := range i + 1 {
			if v, err := after.GetStore(fmt.Sprint(have)); err != nil || !bytes.Equal(v, bytes.Repeat([]byte{byte(have)}, 5000*have)) {
				t.Fatalf("after %d writes and a crash, record %d has %d bytes, %v", i+1, have, len(v), err)
			}
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
		if i%7 == 6 {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(mem)
		}
	}
	l.Close()
}

func content(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Writes go on in a simulation while the disk is slow, also those that come while Pebble begins a new file: without that
// this test never ends.
func TestSlowDiskInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		l := open(t, errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			switch op.Kind {
			case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
				if slow.Load() {
					time.Sleep(100 * time.Millisecond)
				}
			}
			return nil
		})))
		slow.Store(true)
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for n := range uint64(100) {
					b := l.NewBatch()
					b.SetHardState(uint64(i)*100+n, HardState{Term: 1})
					b.Append(uint64(i)*100+n, []*pb.Entry{{Index: new(uint64(1)), Term: new(uint64(1)), Data: make([]byte, 4<<10)}}, 0)
					if err := b.Commit(i%2 == 0); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		wg.Wait()
		slow.Store(false)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if time.Since(began) < 100*100*time.Millisecond {
			t.Error("the disk was not slow: this shows nothing")
		}
	})
}

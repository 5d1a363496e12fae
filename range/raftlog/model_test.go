package raftlog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/raft/v3/raftpb"
)

// model is what a Log must hold: the specification in a few maps.
type model struct {
	logs  map[uint64]modelLog
	tombs map[uint64]uint64
	store map[string]string
}

type modelLog struct {
	hard      HardState
	truncated Position
	entries   []modelEntry // from truncated.Index+1 on
}

type modelEntry struct {
	term uint64
	data string
}

func newModel() *model {
	return &model{logs: map[uint64]modelLog{}, tombs: map[uint64]uint64{}, store: map[string]string{}}
}

func (m *model) clone() *model {
	c := &model{logs: maps.Clone(m.logs), tombs: maps.Clone(m.tombs), store: maps.Clone(m.store)}
	for id, l := range c.logs {
		l.entries = slices.Clone(l.entries)
		c.logs[id] = l
	}
	return c
}

func (m *model) String() string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(m.logs)) {
		l := m.logs[id]
		fmt.Fprintf(&b, "range %d: %+v after %+v:", id, l.hard, l.truncated)
		for _, e := range l.entries {
			fmt.Fprintf(&b, " %d/%x", e.term, e.data[:min(4, len(e.data))])
		}
		fmt.Fprintln(&b)
	}
	fmt.Fprintln(&b, m.tombs, m.store)
	return b.String()
}

const (
	modelRanges  = 3
	modelRecords = 4
)

// read makes a model of what a Log holds, by its methods.
func read(l *Log) (*model, error) {
	m := newModel()
	if err := compareLoadAll(l); err != nil {
		return nil, err
	}
	for id := uint64(1); id <= modelRanges; id++ {
		st, err := l.Load(id)
		if err != nil {
			return nil, err
		}
		if st.Exists {
			ml := modelLog{hard: st.Hard, truncated: st.Truncated}
			size := int64(0)
			err := l.Scan(id, 0, 1<<62, func(e *pb.Entry) (bool, error) {
				if want := st.Truncated.Index + 1 + uint64(len(ml.entries)); e.GetIndex() != want {
					return false, fmt.Errorf("range %d: entry %d where %d should be", id, e.GetIndex(), want)
				}
				ml.entries = append(ml.entries, modelEntry{e.GetTerm(), string(e.Data)})
				size += int64(len(e.Data))
				return true, nil
			})
			if err != nil {
				return nil, err
			}
			if last := ml.last(); st.Last != last || st.Bytes != size {
				return nil, fmt.Errorf("range %d: Load says last %+v and %d bytes, Scan %+v and %d", id, st.Last, st.Bytes, last, size)
			}
			m.logs[id] = ml
		}
		t, err := l.Tombstone(id)
		if err != nil {
			return nil, err
		}
		if t != 0 {
			m.tombs[id] = t
		}
	}
	err := l.ScanStore("rec/", func(name string, value []byte) error {
		m.store[name] = string(value)
		one, err := l.GetStore(name)
		if err == nil && !bytes.Equal(one, value) {
			err = fmt.Errorf("record %s: %q and %q", name, one, value)
		}
		return err
	})
	return m, err
}

// compareLoadAll checks that one pass over all logs says what is said of each.
func compareLoadAll(l *Log) error {
	seen := map[uint64]Loaded{}
	at := func(id uint64) uint64 {
		st, err := l.Load(id)
		if err != nil {
			return 0
		}
		return st.Truncated.Index + (st.Last.Index-st.Truncated.Index)/2
	}
	if err := l.LoadAll(at, func(id uint64, x Loaded) error { seen[id] = x; return nil }); err != nil {
		return err
	}
	for id := uint64(1); id <= modelRanges; id++ {
		st, err := l.Load(id)
		if err != nil {
			return err
		}
		tomb, err := l.Tombstone(id)
		if err != nil {
			return err
		}
		want := Loaded{State: st, Tombstone: tomb, TermAt: st.Truncated.Term}
		if i := at(id); i > st.Truncated.Index {
			if err := l.Scan(id, i, i+1, func(e *pb.Entry) (bool, error) { want.TermAt = e.GetTerm(); return false, nil }); err != nil {
				return err
			}
		}
		if got := seen[id]; got != want {
			return fmt.Errorf("range %d: LoadAll says %+v, Load %+v", id, got, want)
		}
	}
	return nil
}

func (l modelLog) last() Position {
	if n := len(l.entries); n > 0 {
		return Position{l.truncated.Index + uint64(n), l.entries[n-1].term}
	}
	return l.truncated
}

// step makes a random change of one range in b and in m, as the store makes them.
func (m *model) step(rnd *rand.Rand, b *Batch) {
	id := uint64(1 + rnd.IntN(modelRanges))
	l, ok := m.logs[id]
	if !ok {
		at := Position{Index: uint64(10 + rnd.IntN(5)), Term: 5}
		l = modelLog{truncated: at, hard: HardState{Term: 5, Commit: at.Index}}
		b.Reset(id, at, l.hard)
		m.logs[id] = l
		return
	}
	switch op := rnd.IntN(20); {
	case op < 11: // append, sometimes over what a leader that is gone had written
		at := l.last().Index + 1
		if n := len(l.entries); n > 0 && rnd.IntN(4) == 0 {
			at -= uint64(rnd.IntN(n) + 1)
			l.hard.Term++
		}
		old := l.last().Index
		l.entries = slices.Clone(l.entries[:at-l.truncated.Index-1])
		var ents []*pb.Entry
		for i := range uint64(1 + rnd.IntN(5)) {
			data := make([]byte, rnd.IntN(200))
			for k := range data {
				data[k] = byte(rnd.Uint32())
			}
			l.entries = append(l.entries, modelEntry{l.hard.Term, string(data)})
			ents = append(ents, &pb.Entry{Type: pb.EntryNormal.Enum(), Term: new(l.hard.Term), Index: new(at + i), Data: data})
		}
		b.Append(id, ents, old)
		b.SetHardState(id, l.hard)
	case op < 14:
		l.hard.Term += uint64(rnd.IntN(2))
		l.hard.Vote = uint64(rnd.IntN(4))
		l.hard.Commit = max(l.hard.Commit, l.last().Index)
		b.SetHardState(id, l.hard)
	case op < 17:
		if n := len(l.entries); n > 0 {
			k := rnd.IntN(n) + 1
			l.truncated = Position{l.truncated.Index + uint64(k), l.entries[k-1].term}
			l.entries = slices.Clone(l.entries[k:])
			b.Truncate(id, l.truncated)
		}
	case op < 19: // a snapshot
		at := Position{l.last().Index + uint64(rnd.IntN(10)), l.hard.Term}
		l = modelLog{truncated: at, hard: HardState{Term: l.hard.Term, Vote: l.hard.Vote, Commit: at.Index}}
		b.Reset(id, at, l.hard)
	default:
		delete(m.logs, id)
		m.tombs[id]++
		b.Remove(id, m.tombs[id])
		return
	}
	m.logs[id] = l
}

func open(t *testing.T, fs vfs.FS) *Log {
	t.Helper()
	l, err := Open(fs, "log", slog.New(slog.DiscardHandler), func(format string, args ...any) { t.Errorf(format, args...) })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func check(t *testing.T, l *Log, want *model) {
	t.Helper()
	got, err := read(l)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Fatalf("the log holds\n%sand should hold\n%s", got, want)
	}
}

// Whatever is written, also over what was there, truncated, reset and removed, is what is read, before and after the
// log is opened again.
func TestModel(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		fs := vfs.NewMem()
		l, m := open(t, fs), newModel()
		for n := range 150 {
			b := l.NewBatch()
			for range 1 + rnd.IntN(4) {
				m.step(rnd, b)
			}
			if b.Empty() != (b.b.Count() == 0) {
				t.Fatal("Empty is wrong")
			}
			if err := b.Commit(rnd.IntN(2) == 0); err != nil {
				t.Fatal(err)
			}
			if rnd.IntN(10) == 0 {
				name := fmt.Sprintf("rec/%d", rnd.IntN(modelRecords))
				m.store[name] = fmt.Sprint(n)
				if err := l.SetStore(name, []byte(m.store[name])); err != nil {
					t.Fatal(err)
				}
			}
			switch rnd.IntN(15) {
			case 0:
				if err := l.db.Flush(); err != nil {
					t.Fatal(err)
				}
			case 1:
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				l = open(t, fs)
			}
			if n%10 == 0 {
				check(t, l, m)
			}
		}
		check(t, l, m)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// After a power failure the log holds what some prefix of the writes had made, with every write in it that was
// reported durable.
func TestCrash(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		fs := vfs.NewCrashableMem()
		l := open(t, fs)
		history, durable := []*model{newModel()}, 0
		for life := range 4 {
			m := history[len(history)-1].clone()
			var waiting []*Batch // given to CommitNoWait
			for range 5 + rnd.IntN(40) {
				b := l.NewBatch()
				for range 1 + rnd.IntN(3) {
					m.step(rnd, b)
				}
				history = append(history, m.clone())
				if len(waiting) > 0 && rnd.IntN(2) == 0 {
					// The synced batches become durable in order, and everything before each.
					if err := waiting[0].SyncWait(); err != nil {
						t.Fatal(err)
					}
					waiting = waiting[1:]
				}
				var err error
				switch kind := rnd.IntN(5); {
				case b.Empty():
					err = b.Commit(false)
				case kind == 0:
					err = b.Commit(true)
					durable = len(history) - 1
				case kind == 1 && len(waiting) < 3:
					waiting = append(waiting, b)
					err = b.CommitNoWait()
				default:
					err = b.Commit(false)
				}
				if err != nil {
					t.Fatal(err)
				}
				if rnd.IntN(20) == 0 {
					if err := l.db.Flush(); err != nil {
						t.Fatal(err)
					}
				}
			}
			clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: rnd})
			for _, b := range waiting {
				if err := b.SyncWait(); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			fs = clone
			l = open(t, fs)
			got, err := read(l)
			if err != nil {
				t.Fatalf("seed %d, life %d: %v", seed, life, err)
			}
			found := -1
			for i := len(history) - 1; i >= durable && found < 0; i-- {
				if history[i].String() == got.String() {
					found = i
				}
			}
			if found < 0 {
				t.Fatalf("seed %d, life %d: after the crash the log holds\n%swhich is none of the %d states since\n%s", seed, life, got, len(history)-durable, history[durable])
			}
			history, durable = []*model{got}, 0
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// An answer that a write is durable never comes from a disk that has refused one.
func TestRefusedWrites(t *testing.T) {
	disk := &refuser{}
	told := 0
	l, err := Open(disk.wrap(vfs.NewCrashableMem()), "log", slog.New(slog.DiscardHandler), func(string, ...any) { told++ })
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetStore("rec/1", []byte("good")); err != nil {
		t.Fatal(err)
	}
	disk.on.Store(true)
	if err := l.SetStore("rec/1", []byte("bad")); err == nil {
		t.Error("SetStore says that it is durable")
	}
	for _, sync := range []bool{true, false} {
		b := l.NewBatch()
		b.SetHardState(1, HardState{Term: 1})
		if err := b.Commit(sync); err == nil {
			t.Errorf("Commit(%t) succeeds", sync)
		}
	}
	disk.on.Store(false)
	b := l.NewBatch()
	b.SetHardState(1, HardState{Term: 2})
	if err := b.Commit(true); !errors.Is(err, ErrFailed) {
		t.Errorf("the disk is back: %v; what was lost is not", err)
	}
	if told == 0 {
		t.Error("nobody was told")
	}
	_ = l.Close()
}

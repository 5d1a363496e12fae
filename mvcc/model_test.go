package mvcc

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func discardLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

func openTest(t testing.TB, fs vfs.FS) *Engine {
	t.Helper()
	e, err := Open(Config{FS: fs, Dir: "state", CacheBytes: 8 << 20, MemTableBytes: 256 << 10, SSTBytes: 8 << 10, Logger: discardLogger()})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newTestEngine(t testing.TB) *Engine {
	e := openTest(t, vfs.NewMem())
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// model is the naive store the engine is compared with.
type model struct {
	versions map[string][]modelVersion // newest first
	staged   map[TxnID]map[string][]modelStaged
	gc       Timestamp
}

type modelVersion struct {
	ts    Timestamp
	value []byte // nil: tombstone
}

type modelStaged struct {
	seq   uint64
	value []byte
}

func newModel() *model {
	return &model{versions: map[string][]modelVersion{}, staged: map[TxnID]map[string][]modelStaged{}}
}

func (m *model) put(key string, ts Timestamp, value []byte) {
	vs := append(m.versions[key], modelVersion{ts, value})
	sort.Slice(vs, func(i, j int) bool { return vs[i].ts > vs[j].ts })
	m.versions[key] = vs
}

func (m *model) get(key string, ts Timestamp) ([]byte, Timestamp, bool) {
	for _, v := range m.versions[key] {
		if v.ts <= ts {
			return v.value, v.ts, v.value != nil
		}
	}
	return nil, 0, false
}

type pair struct {
	key   string
	value string
	ts    Timestamp
}

func (m *model) scan(start, end string, ts Timestamp, st *Staged) []pair {
	out := map[string]pair{}
	for k := range m.versions {
		if k >= start && k < end {
			if v, vts, ok := m.get(k, ts); ok {
				out[k] = pair{k, string(v), vts}
			}
		}
	}
	if st != nil {
		for k, ws := range m.staged[st.Txn] {
			if k < start || k >= end {
				continue
			}
			best := -1
			for i, w := range ws {
				if !st.ignored(w.seq) && (best < 0 || w.seq > ws[best].seq) {
					best = i
				}
			}
			if best < 0 {
				continue
			}
			if ws[best].value == nil {
				delete(out, k)
			} else {
				out[k] = pair{k, string(ws[best].value), 0}
			}
		}
	}
	pairs := make([]pair, 0, len(out))
	for _, p := range out {
		pairs = append(pairs, p)
	}
	sort.Slice(pairs, func(i, j int) bool { return pairs[i].key < pairs[j].key })
	return pairs
}

// scanner is what Scanner and OverlayScanner share.
type scanner interface {
	Next() bool
	Key() []byte
	Value() []byte
	Timestamp() Timestamp
	Err() error
	Close() error
}

func drain(t testing.TB, s scanner) []pair {
	t.Helper()
	pairs := []pair{}
	for s.Next() {
		pairs = append(pairs, pair{string(s.Key()), string(s.Value()), s.Timestamp()})
	}
	if s.Next() {
		t.Fatal("Next after the end")
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return pairs
}

func reversed(p []pair) []pair {
	r := make([]pair, len(p))
	for i := range p {
		r[len(p)-1-i] = p[i]
	}
	return r
}

// testKey draws from a small set of keys with the bytes that matter to encodings.
func testKey(r *rand.Rand) string {
	alphabet := []byte{0x00, 0x01, 0x09, 'a', 'b', 0xff}
	k := []byte{byte(1 + r.IntN(3))}
	for n := r.IntN(4); n > 0; n-- {
		k = append(k, alphabet[r.IntN(len(alphabet))])
	}
	return string(k)
}

// TestModel compares the engine with the model under random operations, at several timestamps, through the
// engine, snapshots and batches, across flushes, compactions, GC and re-opening.
func TestModel(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 3
	}
	for seed := 0; seed < seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runModel(t, uint64(seed)) })
	}
}

func runModel(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	fs := vfs.NewMem()
	e := openTest(t, fs)
	defer func() { e.Close() }()
	m := newModel()
	txns := []TxnID{{1}, {2}, {0xff, 1}}
	ts, seq := Timestamp(10), uint64(1)
	for step := 0; step < 300; step++ {
		b := e.NewBatch()
		for n := 1 + r.IntN(12); n > 0; n-- {
			ts += Timestamp(1 + r.IntN(3))
			key := testKey(r)
			value := []byte(fmt.Sprintf("v%d-%s", ts, key))
			if r.IntN(40) == 0 {
				value = bytes.Repeat(value, 200)
			}
			if r.IntN(8) == 0 {
				value = []byte{}
			}
			del := r.IntN(5) == 0
			if del {
				value = nil
			}
			if r.IntN(4) == 0 {
				txn := txns[r.IntN(len(txns))]
				seq++
				if del {
					b.StageDelete(txn, seq, []byte(key))
				} else {
					b.StagePut(txn, seq, []byte(key), value)
				}
				if m.staged[txn] == nil {
					m.staged[txn] = map[string][]modelStaged{}
				}
				m.staged[txn][key] = append(m.staged[txn][key], modelStaged{seq, value})
				continue
			}
			if del {
				b.Delete([]byte(key), ts)
			} else {
				b.Put([]byte(key), ts, value)
			}
			m.put(key, ts, value)
		}
		if r.IntN(3) == 0 {
			checkModel(t, r, b, m, ts, seq, txns) // The batch shows its own writes.
		}
		if err := b.Commit(r.IntN(10) == 0); err != nil {
			t.Fatal(err)
		}
		b.Close()
		switch r.IntN(30) {
		case 0:
			if err := e.Flush(); err != nil {
				t.Fatal(err)
			}
			if err := e.Compact(context.Background(), Span{[]byte{1}, []byte{0xff}}); err != nil {
				t.Fatal(err)
			}
		case 1:
			if err := e.Flush(); err != nil {
				t.Fatal(err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			e = openTest(t, fs)
		case 2:
			m.gc = max(m.gc, Timestamp(r.Int64N(int64(ts))))
			if _, err := e.GC(context.Background(), Span{[]byte{1}, []byte{0xff}}, m.gc); err != nil {
				t.Fatal(err)
			}
		case 3:
			resolveModel(t, r, e, m, &ts, txns[r.IntN(len(txns))], seq)
		}
		snap := e.NewSnapshot()
		checkModel(t, r, snap, m, ts, seq, txns)
		if err := snap.Close(); err != nil {
			t.Fatal(err)
		}
		checkModel(t, r, e, m, ts, seq, txns)
	}
}

// resolveModel commits what a transaction has staged, in small pieces.
func resolveModel(t *testing.T, r *rand.Rand, e *Engine, m *model, ts *Timestamp, txn TxnID, seq uint64) {
	st := Staged{Txn: txn}
	if r.IntN(2) == 0 {
		from := r.Uint64N(seq + 1)
		st.Ignore = []SeqSpan{{from, from + r.Uint64N(10)}}
	}
	*ts++
	for start := []byte{1}; start != nil; {
		b := e.NewBatch()
		resume, _, err := b.ResolveStaged(st, Span{start, []byte{0xff}}, *ts, 64)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(false); err != nil {
			t.Fatal(err)
		}
		b.Close()
		start = resume
	}
	for key, ws := range m.staged[txn] {
		best := -1
		for i, w := range ws {
			if !st.ignored(w.seq) && (best < 0 || w.seq > ws[best].seq) {
				best = i
			}
		}
		if best >= 0 {
			m.put(key, *ts, ws[best].value)
		}
	}
	delete(m.staged, txn)
}

func checkModel(t *testing.T, r *rand.Rand, rd Reader, m *model, ts Timestamp, seq uint64, txns []TxnID) {
	t.Helper()
	at := m.gc + Timestamp(r.Int64N(int64(ts-m.gc)+2))
	for i := 0; i < 6; i++ {
		key := testKey(r)
		want, wts, wok := m.get(key, at)
		got, gts, gok, err := Get(rd, []byte(key), at)
		if err != nil {
			t.Fatal(err)
		}
		if gok != wok || (wok && (gts != wts || !bytes.Equal(got, want) || got == nil)) {
			t.Fatalf("Get(%x, %d) = %q %d %v, want %q %d %v", key, at, got, gts, gok, want, wts, wok)
		}
		latest, err := LatestTimestamp(rd, []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		if vs := m.versions[key]; len(vs) > 0 && vs[0].ts > m.gc && latest != vs[0].ts {
			t.Fatalf("LatestTimestamp(%x) = %d, want %d", key, latest, vs[0].ts)
		}
		st := Staged{Txn: txns[r.IntN(len(txns))], Ignore: []SeqSpan{{seq - min(seq, 5), seq - min(seq, 2)}}}
		wantPair := m.scan(key, key+"\x00", at, &st)
		staged := NewStagedReader(rd, st)
		got, gts, gok, err = GetOverlay(rd, []byte(key), at, staged)
		if cerr := staged.Close(); cerr != nil {
			t.Fatal(cerr)
		}
		if err != nil {
			t.Fatal(err)
		}
		if gok != (len(wantPair) == 1) || (gok && (string(got) != wantPair[0].value || gts != wantPair[0].ts)) {
			t.Fatalf("GetOverlay(%x, %d) = %q %d %v, want %v", key, at, got, gts, gok, wantPair)
		}
	}
	lo, hi := testKey(r), testKey(r)
	if r.IntN(2) == 0 {
		lo, hi = "\x01", "\xff"
	}
	span := Span{[]byte(lo), []byte(hi)}
	want := m.scan(lo, hi, at, nil)
	if got := drain(t, NewScanner(rd, ScanOptions{Span: span, TS: at})); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("scan [%x, %x) at %d:\n got %v\nwant %v", lo, hi, at, got, want)
	}
	if got := drain(t, NewScanner(rd, ScanOptions{Span: span, TS: at, Reverse: true})); fmt.Sprint(got) != fmt.Sprint(reversed(want)) {
		t.Fatalf("reverse scan [%x, %x) at %d:\n got %v\nwant %v", lo, hi, at, got, reversed(want))
	}
	after := m.gc + Timestamp(r.Int64N(int64(at-m.gc)+1))
	var newer []pair
	for _, p := range want {
		if p.ts > after {
			newer = append(newer, p)
		}
	}
	for _, rev := range []bool{false, true} {
		want := newer
		if rev {
			want = reversed(newer)
		}
		if got := drain(t, NewScanner(rd, ScanOptions{Span: span, TS: at, After: after, Reverse: rev})); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("scan [%x, %x) in (%d, %d]:\n got %v\nwant %v", lo, hi, after, at, got, want)
		}
	}
	var latest Timestamp
	for k, vs := range m.versions {
		if k >= lo && k < hi && vs[0].ts > after {
			latest = max(latest, vs[0].ts)
		}
	}
	if got, err := LatestInSpan(rd, span, after); err != nil || got != latest {
		t.Fatalf("LatestInSpan [%x, %x) after %d = %d, %v, want %d", lo, hi, after, got, err, latest)
	}
	st := Staged{Txn: txns[r.IntN(len(txns))]}
	if r.IntN(2) == 0 {
		from := r.Uint64N(seq + 1)
		st.Ignore = []SeqSpan{{from, from + 20}, {0, 3}}
	}
	want = m.scan(lo, hi, at, &st)
	if got := drain(t, NewOverlayScanner(rd, ScanOptions{Span: span, TS: at}, st)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("overlay [%x, %x) at %d ignoring %v:\n got %v\nwant %v", lo, hi, at, st.Ignore, got, want)
	}
	if got := drain(t, NewOverlayScanner(rd, ScanOptions{Span: span, TS: at, Reverse: true}, st)); fmt.Sprint(got) != fmt.Sprint(reversed(want)) {
		t.Fatalf("reverse overlay [%x, %x) at %d ignoring %v:\n got %v\nwant %v", lo, hi, at, st.Ignore, got, reversed(want))
	}
}

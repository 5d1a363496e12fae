package mvcc

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
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

// model is the naive store the engine is compared with. Transactions write provisionally to it under locks, as the
// engine expects.
type model struct {
	versions map[string][]modelVersion // newest first
	open     []*modelTxn               // undecided
	unmoved  []*Layer                  // committed, still in layers
	gc       Timestamp
	txns     byte
}

type modelVersion struct {
	ts    Timestamp
	value []byte // nil: tombstone
}

// modelTxn is a transaction that has written provisionally. Its layer tells what it has deleted and taken back.
type modelTxn struct {
	layer  Layer
	writes map[string][]modelWrite
	times  map[string]int // how often each key was written, repetitions included
}

type modelWrite struct {
	seq   uint64
	value []byte
}

func newModel() *model { return &model{versions: map[string][]modelVersion{}} }

// locked returns the transaction that has locked key, nil for none.
func (m *model) locked(key string) *modelTxn {
	for _, x := range m.open {
		if len(x.writes[key]) > 0 || x.layer.deletesOthers([]byte(key)) {
			return x
		}
	}
	return nil
}

func (m *model) begin(ts Timestamp) *modelTxn {
	m.txns++
	x := &modelTxn{layer: Layer{Txn: TxnID{m.txns, 7}, First: ts}, writes: map[string][]modelWrite{}, times: map[string]int{}}
	m.open = append(m.open, x)
	return x
}

func (m *model) layers() *Layers { return NewLayers(m.unmoved) }

// effect returns what x has done to key. any is false when that is nothing, written when it is no more
// than the deletion of a span.
func (x *modelTxn) effect(key string) (value []byte, written, any bool) {
	best := -1
	ws := x.writes[key]
	for i, w := range ws {
		if !x.layer.ignored(w.seq) && (best < 0 || w.seq > ws[best].seq) {
			best = i
		}
	}
	for _, d := range x.layer.Deleted {
		if d.contains([]byte(key)) && (best < 0 || ws[best].seq < d.Seq) {
			return nil, false, true
		}
	}
	if best < 0 {
		return nil, false, false
	}
	return ws[best].value, true, true
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

func (m *model) scan(start, end string, ts Timestamp, own *modelTxn) []pair {
	out := map[string]pair{}
	for k := range m.versions {
		if k >= start && k < end {
			if v, vts, ok := m.get(k, ts); ok {
				out[k] = pair{k, string(v), vts}
			}
		}
	}
	if own != nil {
		keys := maps.Clone(m.versions)
		for k := range own.writes {
			keys[k] = nil
		}
		for k := range keys {
			if value, _, any := own.effect(k); any && k >= start && k < end {
				if delete(out, k); value != nil {
					out[k] = pair{k, string(value), 0}
				}
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

func drain(t testing.TB, s *Scanner) []pair {
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
// engine, snapshots and batches, across flushes, compactions, GC and re-opening, and with large transactions at every
// stage: undecided, committed, moved in part, dropped.
func TestModel(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 3
	}
	for seed := 0; seed < seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runModel(t, uint64(seed)) })
	}
}

var modelSpan = Span{[]byte{1}, []byte{0xff}}

func runModel(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	fs := vfs.NewMem()
	e := openTest(t, fs)
	defer func() { e.Close() }()
	m := newModel()
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
			x := m.locked(key)
			if x == nil && r.IntN(3) == 0 {
				if len(m.open) == 0 || len(m.open) < 3 && r.IntN(4) == 0 {
					m.begin(ts)
				}
				x = m.open[r.IntN(len(m.open))]
			}
			if x != nil {
				seq++
				x.times[key]++
				at := seq
				if ws := x.writes[key]; len(ws) > 0 && r.IntN(4) == 0 {
					// A piece sent again, and executed late: an old number and value under a new timestamp.
					w := ws[r.IntN(len(ws))]
					at, value = w.seq, w.value
				} else {
					x.writes[key] = append(ws, modelWrite{at, value})
				}
				if value == nil {
					b.DeleteProvisional([]byte(key), ts, x.layer.Txn, at)
				} else {
					b.PutProvisional([]byte(key), ts, x.layer.Txn, at, value)
				}
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
			checkModel(t, r, b, m, ts, seq) // The batch shows its own writes.
		}
		if err := b.Commit(r.IntN(10) == 0); err != nil {
			t.Fatal(err)
		}
		b.Close()
		switch r.IntN(24) {
		case 0:
			if err := e.Flush(); err != nil {
				t.Fatal(err)
			}
			if err := e.Compact(context.Background(), modelSpan); err != nil {
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
			gc := max(m.gc, Timestamp(r.Int64N(int64(ts))))
			for _, l := range m.unmoved {
				gc = min(gc, l.TS-1)
			}
			if m.gc = max(m.gc, gc); m.gc == gc {
				if _, err := e.GC(context.Background(), modelSpan, m.gc); err != nil {
					t.Fatal(err)
				}
			}
		case 3, 4, 5:
			if n := len(m.open); n > 0 {
				i := r.IntN(n)
				x := m.open[i]
				m.open = append(m.open[:i:i], m.open[i+1:]...)
				if r.IntN(3) == 0 {
					dropModel(t, e, x)
					break
				}
				ts++
				m.commit(x, ts)
			}
		case 6, 7:
			if n := len(m.unmoved); n > 0 {
				moveModel(t, r, e, m, r.IntN(n))
			}
		case 8, 9:
			// An undecided transaction deletes a span, or rolls back to a savepoint.
			if len(m.open) == 0 {
				break
			}
			x := m.open[r.IntN(len(m.open))]
			if r.IntN(2) == 0 {
				from := r.Uint64N(seq + 1)
				x.layer.Ignore = append(slices.Clone(x.layer.Ignore), SeqSpan{from, from + r.Uint64N(10)})
				break
			}
			lo, hi := testKey(r), testKey(r)
			span := Span{[]byte(lo), []byte(hi)}
			if span.Empty() || m.lockedWithin(x, span) {
				break
			}
			seq++
			x.layer.Deleted = append(slices.Clone(x.layer.Deleted), DeletedSpan{span.Start, span.End, seq})
		}
		snap := e.NewSnapshot()
		checkModel(t, r, snap, m, ts, seq)
		if err := snap.Close(); err != nil {
			t.Fatal(err)
		}
		checkModel(t, r, e, m, ts, seq)
	}
}

// lockedWithin reports whether another transaction than x has locked something in span.
func (m *model) lockedWithin(x *modelTxn, span Span) bool {
	for _, y := range m.open {
		if y == x {
			continue
		}
		for k := range y.writes {
			if span.Contains([]byte(k)) {
				return true
			}
		}
		for _, d := range y.layer.Deleted {
			if bytes.Compare(d.Start, span.End) < 0 && bytes.Compare(span.Start, d.End) < 0 {
				return true
			}
		}
	}
	return false
}

// commit makes what x has done visible at ts. The engine is told nothing but the layer.
func (m *model) commit(x *modelTxn, ts Timestamp) {
	keys := map[string]bool{}
	for k := range m.versions {
		keys[k] = true
	}
	for k := range x.writes {
		keys[k] = true
	}
	for k := range keys {
		// Deleting a key is a version of it even where there was nothing; deleting a span is none where there was nothing, or
		// nothing but what the same transaction had written.
		value, written, any := x.effect(k)
		if _, _, exists := m.get(k, ts); any && (written || exists) {
			m.put(k, ts, value)
		}
	}
	l := x.layer
	l.TS, l.Once = ts, true
	for k := range x.writes {
		l.Once = l.Once && x.times[k] == 1
	}
	m.unmoved = append(m.unmoved, &l)
}

// moveModel moves a committed layer in small pieces, of which the last may be left for another time.
func moveModel(t *testing.T, r *rand.Rand, e *Engine, m *model, i int) {
	l := m.unmoved[i]
	var rest []*Layer
	for _, o := range m.unmoved {
		if o != l {
			rest = append(rest, o)
		}
	}
	piece := func(start []byte, fn func(b *Batch, span Span) ([]byte, int, error), end []byte) []byte {
		b := e.NewBatch()
		defer b.Close()
		resume, _, err := fn(b, Span{start, end})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(false); err != nil {
			t.Fatal(err)
		}
		return resume
	}
	for start := modelSpan.Start; start != nil; {
		if r.IntN(40) == 0 {
			return
		}
		start = piece(start, func(b *Batch, span Span) ([]byte, int, error) { return b.MoveLayer(l, span, 64) }, modelSpan.End)
	}
	for _, d := range l.Deleted {
		for start := d.Start; start != nil; {
			if r.IntN(40) == 0 {
				return
			}
			start = piece(start, func(b *Batch, span Span) ([]byte, int, error) {
				return b.MoveDeletion(l, span, NewLayers(rest), 64)
			}, d.End)
		}
	}
	m.unmoved = rest
}

// dropModel removes what an aborted transaction has written.
func dropModel(t *testing.T, e *Engine, x *modelTxn) {
	for start := modelSpan.Start; start != nil; {
		b := e.NewBatch()
		resume, _, err := b.DropLayer(&x.layer, Span{start, modelSpan.End}, 64)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(false); err != nil {
			t.Fatal(err)
		}
		b.Close()
		start = resume
	}
	if err := LayerKeys(e, &x.layer, modelSpan, func(k []byte) bool {
		t.Errorf("%x is left of a dropped layer", k)
		return true
	}); err != nil {
		t.Fatal(err)
	}
}

func checkModel(t *testing.T, r *rand.Rand, rd Reader, m *model, ts Timestamp, seq uint64) {
	t.Helper()
	at := max(1, m.gc+Timestamp(r.Int64N(int64(ts-m.gc)+2)))
	view := View{Layers: m.layers()}
	var own *modelTxn
	if len(m.open) > 0 {
		own = m.open[r.IntN(len(m.open))]
		keys := map[string]bool{}
		if err := LayerKeys(rd, &own.layer, modelSpan, func(k []byte) bool { keys[string(k)] = true; return true }); err != nil {
			t.Fatal(err)
		}
		if len(keys) != len(own.writes) {
			t.Fatalf("LayerKeys has %d keys, want %d", len(keys), len(own.writes))
		}
	}
	ownView := View{Layers: view.Layers}
	if own != nil {
		ownView.Own = &own.layer
	}
	newest := func(key string) (ts Timestamp) {
		if vs := m.versions[key]; len(vs) > 0 {
			ts = vs[0].ts
		}
		for _, l := range m.unmoved {
			if l.deletesOthers([]byte(key)) {
				ts = max(ts, l.TS)
			}
		}
		return ts
	}
	points := NewPointReader(rd, ownView)
	for i := 0; i < 6; i++ {
		key := testKey(r)
		want, wts, wok := m.get(key, at)
		got, gts, gok, err := GetView(rd, []byte(key), at, view)
		if err != nil {
			t.Fatal(err)
		}
		if gok != wok || (wok && (gts != wts || !bytes.Equal(got, want) || got == nil)) {
			t.Fatalf("Get(%x, %d) = %q %d %v, want %q %d %v", key, at, got, gts, gok, want, wts, wok)
		}
		for _, v := range []View{view, ownView} {
			latest, err := LatestTimestamp(rd, []byte(key), v)
			if err != nil {
				t.Fatal(err)
			}
			if want := newest(key); want > m.gc && latest != want {
				t.Fatalf("LatestTimestamp(%x) = %d, want %d", key, latest, want)
			}
		}
		wantPair := m.scan(key, key+"\x00", at, own)
		got, gts, gok, err = points.Get([]byte(key), at)
		if err != nil {
			t.Fatal(err)
		}
		if gok != (len(wantPair) == 1) || (gok && (string(got) != wantPair[0].value || gts != wantPair[0].ts)) {
			t.Fatalf("PointReader.Get(%x, %d) = %q %d %v, want %v", key, at, got, gts, gok, wantPair)
		}
	}
	if err := points.Close(); err != nil {
		t.Fatal(err)
	}
	lo, hi := testKey(r), testKey(r)
	if r.IntN(2) == 0 {
		lo, hi = "\x01", "\xff"
	}
	span := Span{[]byte(lo), []byte(hi)}
	want := m.scan(lo, hi, at, nil)
	scan := func(what string, opts ScanOptions, want []pair) {
		t.Helper()
		opts.Span, opts.TS = span, at
		if got := drain(t, NewScanner(rd, opts)); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%s [%x, %x) at %d:\n got %v\nwant %v", what, lo, hi, at, got, want)
		}
		opts.Reverse = true
		if got := drain(t, NewScanner(rd, opts)); fmt.Sprint(got) != fmt.Sprint(reversed(want)) {
			t.Fatalf("reverse %s [%x, %x) at %d:\n got %v\nwant %v", what, lo, hi, at, got, reversed(want))
		}
	}
	scan("scan", ScanOptions{View: view}, want)
	after := m.gc + Timestamp(r.Int64N(int64(at-m.gc)+1)) // gc <= at
	var newer []pair
	for _, p := range want {
		if p.ts > after {
			newer = append(newer, p)
		}
	}
	scan(fmt.Sprintf("scan after %d", after), ScanOptions{View: view, After: after}, newer)
	var latest Timestamp
	for k := range m.versions {
		if ts := newest(k); k >= lo && k < hi && ts > after {
			latest = max(latest, ts)
		}
	}
	for _, l := range m.unmoved {
		for _, d := range l.Deleted {
			if l.TS > after && string(d.Start) < hi && lo < string(d.End) && lo < hi {
				latest = max(latest, l.TS)
			}
		}
	}
	if got, err := LatestInSpan(rd, span, after, ownView); err != nil || got != latest {
		t.Fatalf("LatestInSpan [%x, %x) after %d = %d, %v, want %d", lo, hi, after, got, err, latest)
	}
	scan("own scan", ScanOptions{View: ownView}, m.scan(lo, hi, at, own))
	checkChanges(t, r, rd, m, span, after, at)
	if own := rand.New(rand.NewPCG(uint64(ts), seq)); own.IntN(3) == 0 {
		checkDiffs(t, own, rd, m, span, view, ts)
	}
}

// checkChanges folds what has changed in (after, upTo] onto the state at after and expects the state at upTo, and, with
// all versions, at any timestamp between.
func checkChanges(t *testing.T, r *rand.Rand, rd Reader, m *model, span Span, after, upTo Timestamp) {
	t.Helper()
	lo, hi := string(span.Start), string(span.End)
	for _, all := range []bool{false, true} {
		at := upTo
		if all && upTo > after {
			at = after + Timestamp(r.Int64N(int64(upTo-after)+1))
		}
		state := map[string]pair{}
		for _, p := range m.scan(lo, hi, after, nil) {
			state[p.key] = p
		}
		done := map[string]bool{}
		opts := ChangesOptions{Span: span, After: after, UpTo: upTo, View: View{Layers: m.layers()}, All: all}
		for pages := true; pages; {
			pages = false
			s := NewChangeScanner(rd, opts)
			last := maxTS
			for n := 0; s.Next(); n++ {
				key, ts := string(s.Key()), s.Timestamp()
				if n > 0 && r.IntN(10) == 0 {
					opts.Span.Start, opts.ResumeBelow, pages = []byte(key), ts+1, true
					break
				}
				if ts <= after || ts > upTo || !span.Contains(s.Key()) {
					t.Fatalf("change of %x at %d, outside of (%d, %d]", key, ts, after, upTo)
				}
				if done[key] && (!all || ts >= last) {
					t.Fatalf("change of %x at %d again, or out of order", key, ts)
				}
				if last = ts; ts > at {
					continue
				}
				if done[key] {
					continue
				}
				done[key] = true
				if delete(state, key); !s.Deleted() {
					state[key] = pair{key, string(s.Value()), ts}
				}
			}
			if err := s.Err(); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		want := m.scan(lo, hi, at, nil)
		if len(want) != len(state) {
			t.Fatalf("changes (%d, %d] up to %d lead to %v, want %v", after, upTo, at, state, want)
		}
		for _, p := range want {
			if state[p.key] != p {
				t.Fatalf("changes (%d, %d] up to %d lead to %v, want %v", after, upTo, at, state[p.key], p)
			}
		}
	}
}

// checkDiffs compares Diffs with the model's versions, between two timestamps that may still be read at.
func checkDiffs(t *testing.T, r *rand.Rand, rd Reader, m *model, span Span, view View, now Timestamp) {
	t.Helper()
	after := max(1, m.gc+Timestamp(r.Int64N(int64(now-m.gc)+1)))
	to := after + Timestamp(r.Int64N(int64(now-after)+1))
	var want []string
	var writes []Write
	keys := slices.Sorted(maps.Keys(m.versions))
	for _, k := range keys {
		if !span.Contains([]byte(k)) {
			continue
		}
		vs := m.versions[k]
		for i := len(vs) - 1; i >= 0; i-- {
			if vs[i].ts <= after || vs[i].ts > to {
				continue
			}
			writes = append(writes, Write{[]byte(k), vs[i].ts})
			prev, _, existed := m.get(k, vs[i].ts-1)
			if vs[i].value == nil && !existed {
				continue
			}
			want = append(want, fmt.Sprintf("%x@%d %q del=%v was=%v %q", k, vs[i].ts, vs[i].value, vs[i].value == nil, existed, prev))
		}
	}
	for _, known := range [][]Write{nil, append(writes, writes...)} {
		slices.SortFunc(known, Write.Compare)
		var got []string
		o := DiffOptions{Span: span, After: after, TS: to, View: view, Previous: true, Writes: known}
		if err := Diffs(rd, o, func(c *Diff) bool {
			got = append(got, fmt.Sprintf("%x@%d %q del=%v was=%v %q", c.Key, c.TS, c.Value, c.Deleted, c.Existed, c.Previous))
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("Diffs in (%d, %d], writes known %v:\n got %v\nwant %v", after, to, known != nil, got, want)
		}
	}
}

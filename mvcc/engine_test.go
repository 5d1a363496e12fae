package mvcc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func write(t testing.TB, e *Engine, fn func(b *Batch)) {
	t.Helper()
	b := e.NewBatch()
	fn(b)
	if err := b.Commit(false); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func mustGet(t testing.TB, r Reader, key string, ts Timestamp) string {
	t.Helper()
	v, _, found, err := Get(r, []byte(key), ts)
	if err != nil {
		t.Fatal(err)
	}
	if !found {
		return "<none>"
	}
	return string(v)
}

// TestChecksum damages a stored value behind the engine's back. Every way of reading it must say so.
func TestChecksum(t *testing.T) {
	e := newTestEngine(t)
	write(t, e, func(b *Batch) {
		b.Put([]byte("k"), 5, []byte("good"))
		b.Put([]byte("moved"), 5, []byte("good"))
		b.PutLocal(LocalKey(1, []byte("x")), []byte("local"))
		b.PutProvisional([]byte("large"), 5, TxnID{1}, 1, []byte("provisional"))
	})
	// Flip one bit of each value, and put an intact value under another timestamp.
	it, err := e.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	wb := e.db.NewBatch()
	for ok := it.First(); ok; ok = it.Next() {
		v := bytes.Clone(it.Value())
		if key, _, _ := decodeVersionKey(it.Key()); string(key) == "moved" {
			must(wb.Set(appendVersionKey(nil, key, 7), v, nil))
			continue
		}
		v[len(v)-1] ^= 0x10
		must(wb.Set(it.Key(), v, nil))
	}
	it.Close()
	if err := wb.Commit(pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	all := Span{[]byte{1}, []byte{0xff}}
	check := func(name string, err error) {
		t.Helper()
		var ce *CorruptError
		if !errors.Is(err, ErrCorrupt) || !errors.As(err, &ce) || ce.Key == nil {
			t.Errorf("%s: %v, want a CorruptError with the key", name, err)
		}
	}
	layer := &Layer{Txn: TxnID{1}, First: 5, TS: 7}
	_, _, _, err = Get(e, []byte("k"), 9)
	check("Get", err)
	_, _, _, err = GetView(e, []byte("large"), 9, View{Layers: NewLayers([]*Layer{layer})})
	check("Get of a provisional version", err)
	_, err = LatestTimestamp(e, []byte("large"), View{})
	check("LatestTimestamp", err)
	_, _, _, err = Get(e, []byte("moved"), 9)
	check("Get of a moved value", err)
	for _, rev := range []bool{false, true} {
		s := NewScanner(e, ScanOptions{Span: all, TS: 9, Reverse: rev})
		for s.Next() {
		}
		check("Scanner", s.Err())
		s.Close()
		s = NewScanner(e, ScanOptions{Span: Span{[]byte("l"), []byte("m")}, TS: 9, View: View{Own: layer}, Reverse: rev})
		for s.Next() {
		}
		check("Scanner of provisional versions", s.Err())
		s.Close()
	}
	_, _, err = GetLocal(e, LocalKey(1, []byte("x")))
	check("GetLocal", err)
	x := NewExporter(e, RangeData{1, all})
	_, err = x.Next(nil, 1<<20)
	check("Exporter", err)
	x.Close()
	b := e.NewBatch()
	defer b.Close()
	_, _, err = b.MoveLayer(layer, all, 0)
	check("MoveLayer", err)
}

// TestGCThreshold: what a permitted read can see survives GC at every threshold, what none can see goes,
// and a read below the threshold is told so (I3).
func TestGCThreshold(t *testing.T) {
	for threshold := Timestamp(0); threshold <= 12; threshold++ {
		e := newTestEngine(t)
		write(t, e, func(b *Batch) {
			b.Put([]byte("a"), 2, []byte("a2"))
			b.Put([]byte("a"), 5, []byte("a5"))
			b.Delete([]byte("a"), 8)
			b.Put([]byte("b"), 3, []byte("b3"))
			b.Delete([]byte("c"), 1)
			b.Put([]byte("d"), 4, []byte("d4"))
			b.Put([]byte("d"), 11, []byte("d11"))
		})
		span := Span{[]byte{1}, []byte{0xff}}
		want := map[Timestamp][]pair{}
		for ts := threshold; ts <= 12; ts++ {
			want[ts] = drain(t, NewScanner(e, ScanOptions{Span: span, TS: ts}))
		}
		var removed int
		write(t, e, func(b *Batch) {
			if err := b.SetGCThreshold(7, threshold); err != nil {
				t.Fatal(err)
			}
			for start := span.Start; start != nil; {
				resume, st, err := b.GC(Span{start, span.End}, threshold, 1)
				if err != nil {
					t.Fatal(err)
				}
				removed += st.Removed
				start = resume
			}
		})
		for ts := threshold; ts <= 12; ts++ {
			if got := drain(t, NewScanner(e, ScanOptions{Span: span, TS: ts})); fmt.Sprint(got) != fmt.Sprint(want[ts]) {
				t.Fatalf("threshold %d: scan at %d: %v, want %v", threshold, ts, got, want[ts])
			}
		}
		size, err := Size(e, span)
		if err != nil {
			t.Fatal(err)
		}
		if want := 7 - removed; int(size.Versions) != want {
			t.Fatalf("threshold %d: %d versions left, want %d", threshold, size.Versions, want)
		}
		if wantRemoved := []int{0, 1, 1, 1, 1, 2, 2, 2, 4, 4, 4, 5, 5}[threshold]; removed != wantRemoved {
			t.Errorf("threshold %d: removed %d versions, want %d", threshold, removed, wantRemoved)
		}
		stored, err := GCThreshold(e, 7)
		if err != nil || stored != threshold {
			t.Fatalf("GCThreshold = %d, %v, want %d", stored, err, threshold)
		}
		if err := CheckGC(threshold-1, stored); !errors.Is(err, ErrBelowGC) {
			t.Errorf("read below the threshold: %v", err)
		}
		if err := CheckGC(threshold, stored); err != nil {
			t.Errorf("read at the threshold: %v", err)
		}
	}
}

func TestGCThresholdNeverFalls(t *testing.T) {
	e := newTestEngine(t)
	for _, ts := range []Timestamp{5, 9, 7} {
		write(t, e, func(b *Batch) {
			if err := b.SetGCThreshold(1, ts); err != nil {
				t.Fatal(err)
			}
		})
	}
	if ts, err := GCThreshold(e, 1); err != nil || ts != 9 {
		t.Fatalf("threshold %d, %v, want 9", ts, err)
	}
}

// TestDurableReader: only what was flushed may be trusted for log truncation.
func TestDurableReader(t *testing.T) {
	e := newTestEngine(t)
	key := LocalKey(3, []byte("applied"))
	write(t, e, func(b *Batch) { b.PutLocal(key, []byte("10")) })
	if err := e.Flush(); err != nil {
		t.Fatal(err)
	}
	write(t, e, func(b *Batch) { b.PutLocal(key, []byte("20")) })
	for _, c := range []struct {
		r    Reader
		want string
	}{{e, "20"}, {e.Durable(), "10"}} {
		if v, found, err := GetLocal(c.r, key); err != nil || !found || string(v) != c.want {
			t.Errorf("%T: %q %v %v, want %q", c.r, v, found, err, c.want)
		}
	}
	b := e.NewBatch()
	b.PutLocal(key, []byte("30"))
	if err := b.Commit(true); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if v, _, _ := GetLocal(e.Durable(), key); string(v) != "30" {
		t.Errorf("after Commit(sync): %q", v)
	}
}

// TestCrashKeepsPrefix crashes at random moments: the engine must come back with the effects of a prefix of
// its batches, at least as long as what Durable showed before.
func TestCrashKeepsPrefix(t *testing.T) {
	for seed := uint64(0); seed < 8; seed++ {
		r := rand.New(rand.NewPCG(seed, 7))
		fs := vfs.NewCrashableMem()
		e := openTest(t, fs)
		applied := LocalKey(1, []byte("applied"))
		total := 200 + r.IntN(800)
		durable := 0
		for i := 1; i <= total; i++ {
			write(t, e, func(b *Batch) {
				b.Put([]byte(fmt.Sprintf("k%04d", i%50)), Timestamp(i), bytes.Repeat([]byte{byte(i)}, 500))
				b.PutLocal(applied, []byte(fmt.Sprint(i)))
			})
			if r.IntN(200) == 0 {
				if err := e.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			if v, found, _ := GetLocal(e.Durable(), applied); found {
				fmt.Sscan(string(v), &durable)
			}
		}
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
		e.Close()
		e = openTest(t, crashed)
		got := 0
		if v, found, err := GetLocal(e, applied); err != nil {
			t.Fatal(err)
		} else if found {
			fmt.Sscan(string(v), &got)
		}
		if got < durable || got > total {
			t.Fatalf("seed %d: %d batches after the crash, %d were durable, %d written", seed, got, durable, total)
		}
		for i := 1; i <= total; i++ {
			key := []byte(fmt.Sprintf("k%04d", i%50))
			v, vts, found, err := Get(e, key, Timestamp(i))
			if err != nil {
				t.Fatal(err)
			}
			if want := i <= got; (found && vts == Timestamp(i)) != want {
				t.Fatalf("seed %d: version %d present=%v, prefix is %d", seed, i, !want, got)
			}
			if i <= got && !bytes.Equal(v, bytes.Repeat([]byte{byte(i)}, 500)) {
				t.Fatalf("seed %d: version %d damaged", seed, i)
			}
		}
		e.Close()
	}
}

// fillRange writes random content of a range, with markers outside of it that must stay.
func fillRange(t *testing.T, e *Engine, r *rand.Rand, id uint64, n int) {
	for n > 0 {
		write(t, e, func(b *Batch) {
			for i := 0; i < 40 && n > 0; i, n = i+1, n-1 {
				key := []byte("m" + testKey(r))
				switch r.IntN(6) {
				case 0:
					b.PutProvisional(key, Timestamp(1+r.IntN(1000)), TxnID{byte(r.IntN(3))}, r.Uint64N(100), []byte("provisional"))
				case 1:
					b.PutLocal(LocalKey(id, key), []byte("local"))
				case 2:
					b.Delete(key, Timestamp(1+r.IntN(1000)))
				default:
					b.Put(key, Timestamp(1+r.IntN(1000)), bytes.Repeat([]byte("x"), r.IntN(300)))
				}
			}
		})
	}
}

func export(t *testing.T, r Reader, data RangeData, chunkBytes int) [][]byte {
	x := NewExporter(r, data)
	defer x.Close()
	var chunks [][]byte
	for {
		c, err := x.Next(nil, chunkBytes)
		if err != nil {
			t.Fatal(err)
		}
		if c == nil {
			return chunks
		}
		if len(c) > chunkBytes+2000 {
			t.Fatalf("chunk of %d bytes, %d asked for", len(c), chunkBytes)
		}
		chunks = append(chunks, c)
	}
}

// TestSnapshotTransfer moves a range between engines: the target holds exactly the source's data afterwards,
// what it held of the range before is gone, its other data stays, and it survives a crash right after.
func TestSnapshotTransfer(t *testing.T) {
	for seed := uint64(0); seed < 6; seed++ {
		r := rand.New(rand.NewPCG(seed, 3))
		data := RangeData{RangeID: 9, Span: Span{[]byte("m"), []byte("n")}}
		src := newTestEngine(t)
		fillRange(t, src, r, 9, int(seed)*400) // seed 0: an empty range
		fs := vfs.NewCrashableMem()
		dst := openTest(t, fs)
		fillRange(t, dst, r, 9, 500)
		outside := func(b *Batch) {
			b.Put([]byte("l"), 5, []byte("left"))
			b.Put([]byte("n"), 5, []byte("right"))
			b.PutProvisional([]byte("l\xff"), 6, TxnID{1}, 1, []byte("left"))
			b.PutProvisional([]byte("n"), 6, TxnID{1}, 1, []byte("right"))
			b.PutLocal(LocalKey(8, []byte("\xff")), []byte("left"))
			b.PutLocal(LocalKey(10, nil), []byte("right"))
		}
		write(t, dst, outside)
		if err := dst.Flush(); err != nil {
			t.Fatal(err)
		}
		fillRange(t, dst, r, 9, 300) // Some of it in the memtable only.
		other := newTestEngine(t)
		write(t, other, outside)

		snap := src.NewSnapshot()
		chunks := export(t, snap, data, 1+r.IntN(5000))
		g, err := dst.NewIngester("state/incoming", data)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range chunks {
			if err := g.Add(c); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.Finish(context.Background()); err != nil {
			t.Fatal(err)
		}
		crashed := fs.CrashClone(vfs.CrashCloneCfg{})
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		check := func(name string, e *Engine) {
			t.Helper()
			for _, c := range []struct {
				want Reader
				data RangeData
			}{
				{snap, data},
				{other, RangeData{8, Span{[]byte{1}, []byte("m")}}},
				{other, RangeData{10, Span{[]byte("n"), []byte{0xff}}}},
			} {
				if equal, where, err := EqualData(c.want, e, c.data); err != nil || !equal {
					t.Fatalf("seed %d, %s: range %d differs at %x: %v", seed, name, c.data.RangeID, where, err)
				}
			}
		}
		check("after ingestion", dst)
		dst.Close()
		e := openTest(t, crashed)
		check("after a crash", e)
		e.Close()
		snap.Close()
	}
}

// TestBackgroundErrors: an ingestion cancels a flush under way that crosses its span, which Pebble reports as it reports
// a disk that fails.
func TestBackgroundErrors(t *testing.T) {
	var told error
	f := &failure{happened: make(chan struct{}), tell: func(err error) { told = err }}
	report := backgroundError(f)
	report(fmt.Errorf("flush: %w", pebble.ErrCancelledCompaction))
	if told != nil {
		t.Fatalf("a cancelled flush: %v", told)
	}
	broken := errors.New("input/output error")
	report(broken)
	if !errors.Is(told, broken) || !errors.Is(f.check(nil), broken) {
		t.Errorf("a failed flush: %v", told)
	}
}

// TestIngestAborted: an ingestion that is not finished changes nothing and leaves no file.
func TestIngestAborted(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	src, fs := newTestEngine(t), vfs.NewMem()
	dst := openTest(t, fs)
	defer dst.Close()
	data := RangeData{RangeID: 9, Span: Span{[]byte("m"), []byte("n")}}
	fillRange(t, src, r, 9, 500)
	fillRange(t, dst, r, 9, 500)
	before := export(t, dst, data, 1000)
	g, err := dst.NewIngester("state/incoming", data)
	if err != nil {
		t.Fatal(err)
	}
	chunks := export(t, src, data, 1000)
	for _, c := range chunks[:len(chunks)/2] {
		if err := g.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Add(chunks[0]); !errors.Is(err, ErrBadChunk) {
		t.Errorf("chunk out of order: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if names, err := fs.List("state/incoming"); err == nil && len(names) > 0 {
		t.Errorf("files left: %v", names)
	}
	if after := export(t, dst, data, 1000); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("an aborted ingestion changed the engine")
	}
	outside, err := dst.NewIngester("state/incoming", RangeData{RangeID: 9, Span: Span{[]byte("x"), []byte("y")}})
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	for _, c := range chunks {
		if err = outside.Add(c); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrBadChunk) {
		t.Errorf("chunk of another range: %v", err)
	}
}

func TestSplitKey(t *testing.T) {
	e := newTestEngine(t)
	span := Span{[]byte("a"), []byte("z")}
	if k, err := SplitKey(e, span); k != nil || err != nil {
		t.Fatalf("empty span: %q %v", k, err)
	}
	write(t, e, func(b *Batch) { b.Put([]byte("a"), 1, bytes.Repeat([]byte("x"), 1000)) })
	if k, err := SplitKey(e, span); k != nil || err != nil {
		t.Fatalf("one key: %q %v", k, err)
	}
	write(t, e, func(b *Batch) {
		for i := 0; i < 3000; i++ {
			for v := 1; v <= 1+i%3; v++ {
				b.Put([]byte(fmt.Sprintf("k%05d", i)), Timestamp(v), bytes.Repeat([]byte("x"), 20))
			}
		}
	})
	k, err := SplitKey(e, span)
	if err != nil || k == nil {
		t.Fatalf("%q %v", k, err)
	}
	left, err := Size(e, Span{span.Start, k})
	if err != nil {
		t.Fatal(err)
	}
	all, err := Size(e, span)
	if err != nil {
		t.Fatal(err)
	}
	if d := float64(left.Bytes) / float64(all.Bytes); d < 0.48 || d > 0.52 {
		t.Errorf("split at %q leaves %.2f on the left", k, d)
	}
	if all.Keys != 3001 {
		t.Errorf("%d keys", all.Keys)
	}
}

func TestClearSpan(t *testing.T) {
	e := newTestEngine(t)
	write(t, e, func(b *Batch) {
		for _, k := range []string{"a", "m", "m\x00", "z"} {
			b.Put([]byte(k), 5, []byte(k))
			b.PutProvisional([]byte(k), 6, TxnID{1}, 1, []byte(k))
		}
	})
	write(t, e, func(b *Batch) { b.ClearSpan(Span{[]byte("m"), []byte("z")}) })
	own := View{Own: &Layer{Txn: TxnID{1}}}
	got := drain(t, NewScanner(e, ScanOptions{Span: Span{[]byte{1}, []byte{0xff}}, TS: 9, View: own}))
	if want := "[{a a 0} {z z 0}]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// TestReservedKeys: user keys cannot reach the store's own key space.
func TestReservedKeys(t *testing.T) {
	e := newTestEngine(t)
	for _, key := range [][]byte{nil, {}, {0}, {0, 'r', 1}} {
		if err := ValidateKey(key); !errors.Is(err, ErrInvalidKey) {
			t.Errorf("ValidateKey(%x) = %v", key, err)
		}
		func() {
			b := e.NewBatch()
			defer b.Close()
			defer func() {
				if recover() == nil {
					t.Errorf("Put(%x) was accepted", key)
				}
			}()
			b.Put(key, 1, nil)
		}()
	}
	if err := ValidateKey([]byte{1}); err != nil {
		t.Error(err)
	}
}

func TestCheckpoint(t *testing.T) {
	fs := vfs.NewMem()
	e := openTest(t, fs)
	defer e.Close()
	write(t, e, func(b *Batch) { b.Put([]byte("k"), 1, []byte("v")) })
	if err := e.Checkpoint("copy"); err != nil {
		t.Fatal(err)
	}
	write(t, e, func(b *Batch) { b.Put([]byte("k"), 2, []byte("later")) })
	c, err := Open(Config{FS: fs, Dir: "copy", CacheBytes: 1 << 20, Logger: discardLogger()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := mustGet(t, c, "k", 9); got != "v" {
		t.Errorf("%q", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, cfg := range []Config{{Dir: "x"}, {FS: vfs.NewMem()}} {
		if _, err := Open(cfg); err == nil {
			t.Errorf("Open(%+v) succeeded", cfg)
		}
	}
	fs := vfs.NewMem()
	e := openTest(t, fs)
	defer e.Close()
	if _, err := Open(Config{FS: fs, Dir: "state", Logger: discardLogger()}); err == nil {
		t.Error("opened twice")
	}
}

func TestPrefixSizes(t *testing.T) {
	e := newTestEngine(t)
	write(t, e, func(b *Batch) {
		for _, k := range []string{"aa1", "aa2", "ab", "b", "ba7", "c1"} {
			b.Put([]byte(k), 3, []byte("value"))
		}
		b.Put([]byte("aa2"), 4, []byte("newer"))
	})
	span := Span{[]byte("aa2"), []byte("c")}
	var want, total int64
	for _, exact := range []bool{true, false} {
		parts, err := e.PrefixSizes(span, 2, exact)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range parts {
			got = append(got, string(p.Prefix))
			total += p.Bytes
		}
		if fmt.Sprint(got) != "[aa ab b ba]" {
			t.Errorf("exact %t: prefixes %v", exact, got)
		}
		if exact {
			size, err := Size(e, span)
			if want = size.Bytes; err != nil || total != want || parts[0].Bytes <= parts[1].Bytes {
				t.Errorf("parts of %v add up to %d, the span has %d bytes, %v", parts, total, want, err)
			}
		}
	}
}

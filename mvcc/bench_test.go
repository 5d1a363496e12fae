package mvcc

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const benchKeys = 100_000

func benchKey(dst []byte, i int) []byte {
	dst = append(dst[:0], 3, 0, 0, 0, 100, 0, 1)
	return binary.BigEndian.AppendUint64(dst, uint64(i))
}

func benchEngine(b *testing.B, flush bool) *Engine {
	e, err := Open(Config{FS: vfs.NewMem(), Dir: "state", Logger: discardLogger()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	value := make([]byte, 100)
	var key []byte
	for v := 1; v <= 3; v++ {
		batch := e.NewBatch()
		for i := 0; i < benchKeys; i++ {
			key = benchKey(key, i)
			batch.Put(key, Timestamp(v*1000), value)
			if batch.Len() > 1<<20 {
				if err := batch.Commit(false); err != nil {
					b.Fatal(err)
				}
				batch.Reset()
			}
		}
		if err := batch.Commit(false); err != nil {
			b.Fatal(err)
		}
		batch.Close()
	}
	if flush {
		if err := e.Flush(); err != nil {
			b.Fatal(err)
		}
		if err := e.Compact(context.Background(), Span{[]byte{1}, []byte{0xff}}); err != nil {
			b.Fatal(err)
		}
	}
	return e
}

func BenchmarkGet(b *testing.B) {
	for _, flush := range []bool{false, true} {
		name := map[bool]string{false: "memtable", true: "sst"}[flush]
		e := benchEngine(b, flush)
		for _, c := range []struct {
			name string
			ts   Timestamp
		}{{"latest", 5000}, {"older", 1500}} {
			b.Run(name+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				var key, val []byte
				for i := 0; i < b.N; i++ {
					key = benchKey(key, rand.IntN(benchKeys))
					var err error
					if val, _, _, err = AppendGet(val[:0], e, key, c.ts, View{}); err != nil || len(val) != 100 {
						b.Fatal(len(val), err)
					}
				}
			})
		}
		b.Run(name+"/missing", func(b *testing.B) {
			b.ReportAllocs()
			var key []byte
			for i := 0; i < b.N; i++ {
				key = benchKey(key, benchKeys+rand.IntN(benchKeys))
				if _, _, found, err := AppendGet(nil, e, key, 5000, View{}); err != nil || found {
					b.Fatal(found, err)
				}
			}
		})
		b.Run(name+"/conflict", func(b *testing.B) {
			b.ReportAllocs()
			var key []byte
			for i := 0; i < b.N; i++ {
				key = benchKey(key, rand.IntN(benchKeys))
				if ts, err := LatestTimestamp(e, key, View{}); err != nil || ts != 3000 {
					b.Fatal(ts, err)
				}
			}
		})
	}
}

func BenchmarkScan100(b *testing.B) {
	e := benchEngine(b, true)
	for _, reverse := range []bool{false, true} {
		b.Run(map[bool]string{false: "forward", true: "reverse"}[reverse], func(b *testing.B) {
			b.ReportAllocs()
			var start, end []byte
			for i := 0; i < b.N; i++ {
				k := rand.IntN(benchKeys - 100)
				start, end = benchKey(start, k), benchKey(end, k+100)
				s := NewScanner(e, ScanOptions{Span: Span{start, end}, TS: 5000, Reverse: reverse})
				n := 0
				for s.Next() {
					n++
				}
				if s.Err() != nil || n != 100 {
					b.Fatal(n, s.Err())
				}
				s.Close()
			}
		})
	}
}

func BenchmarkPut10(b *testing.B) {
	for _, indexed := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "indexed"}[indexed], func(b *testing.B) {
			e := benchEngine(b, false)
			value := make([]byte, 100)
			var key []byte
			b.ReportAllocs()
			for i := 0; i < b.N; i++ {
				batch := e.NewBatch()
				if indexed {
					batch = e.NewIndexedBatch()
				}
				for j := 0; j < 10; j++ {
					key = benchKey(key, rand.IntN(benchKeys))
					batch.Put(key, Timestamp(10000+i), value)
				}
				if err := batch.Commit(false); err != nil {
					b.Fatal(err)
				}
				batch.Close()
			}
		})
	}
}

// BenchmarkScanLayer scans 10,000 rows, as plain versions and as the provisional ones of a committed transaction.
func BenchmarkScanLayer(b *testing.B) {
	const rows = 10_000
	for _, provisional := range []bool{false, true} {
		e, err := Open(Config{FS: vfs.NewMem(), Dir: "state", Logger: discardLogger()})
		if err != nil {
			b.Fatal(err)
		}
		batch := e.NewBatch()
		value := make([]byte, 100)
		for i := range rows {
			if key := benchKey(nil, i); provisional {
				batch.PutProvisional(key, 1000, TxnID{1}, uint64(i), value)
			} else {
				batch.Put(key, 1000, value)
			}
		}
		if err := batch.Commit(true); err != nil {
			b.Fatal(err)
		}
		view := View{Layers: NewLayers([]*Layer{{Txn: TxnID{1}, TS: 2000, First: 1000, Once: true}})}
		for _, reverse := range []bool{false, true} {
			b.Run(map[bool]string{false: "plain", true: "layer"}[provisional]+map[bool]string{false: "/forward", true: "/reverse"}[reverse], func(b *testing.B) {
				for range b.N {
					s := NewScanner(e, ScanOptions{Span: Span{[]byte{1}, []byte{0xff}}, TS: 5000, View: view, Reverse: reverse})
					n := 0
					for s.Next() {
						n++
					}
					if s.Err() != nil || n != rows {
						b.Fatal(n, s.Err())
					}
					s.Close()
				}
			})
		}
		e.Close()
	}
}

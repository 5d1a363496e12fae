package mvcc

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/cockroachkvs"
)

func FuzzVersionKey(f *testing.F) {
	f.Add([]byte("key"), int64(5))
	f.Add([]byte{1, 0, 9}, int64(0))
	f.Fuzz(func(t *testing.T, key []byte, ts int64) {
		// Any bytes: decoding never panics.
		if k, dts, err := decodeVersionKey(key); err == nil && len(key) > 0 {
			if got := appendVersionKey(nil, k, dts); !bytes.Equal(got, key) {
				t.Fatalf("%x decodes to %x@%d, which encodes to %x", key, k, dts, got)
			}
		}
		if ts < 0 {
			return
		}
		enc := appendVersionKey(nil, key, Timestamp(ts))
		k, dts, err := decodeVersionKey(enc)
		if err != nil || !bytes.Equal(k, key) || dts != Timestamp(ts) {
			t.Fatalf("%x@%d: %x@%d %v", key, ts, k, dts, err)
		}
		if want := cockroachkvs.EncodeMVCCKey(nil, key, uint64(ts), 0); !bytes.Equal(enc, want) {
			t.Fatalf("%x, cockroachkvs has %x", enc, want)
		}
	})
}

func FuzzStagedKey(f *testing.F) {
	f.Add([]byte("k\x00\x01"), []byte("k"), uint64(1))
	f.Fuzz(func(t *testing.T, a, b []byte, seq uint64) {
		txn := TxnID{1, 2, 3}
		ka, kb := appendStagedKey(nil, a, txn, seq), appendStagedKey(nil, b, txn, seq)
		if bytes.Compare(a, b) != bytes.Compare(ka, kb) {
			t.Fatalf("%x, %x do not sort as %x, %x", ka, kb, a, b)
		}
		got, gtxn, gseq, err := decodeStagedKey(nil, ka)
		if err != nil || !bytes.Equal(got, a) || gtxn != txn || gseq != seq {
			t.Fatalf("%x: %x %v %d %v", a, got, gtxn, gseq, err)
		}
		if bytes.Compare(a, b) < 0 {
			s := stagedBounds(Span{a, b})
			if !within(append(bytes.Clone(ka), 0), s) || within(append(bytes.Clone(kb), 0), s) {
				t.Fatalf("bounds of [%x, %x) are wrong", a, b)
			}
		}
		decodeStagedKey(nil, a)
	})
}

func FuzzChunk(f *testing.F) {
	e := newTestEngine(f)
	write(f, e, func(b *Batch) {
		b.Put([]byte("m1"), 3, []byte("value"))
		b.Put([]byte("m1"), 2, []byte("value"))
		b.StagePut(TxnID{1}, 4, []byte("m2"), nil)
		b.PutLocal(LocalKey(9, []byte("x")), []byte("y"))
	})
	data := RangeData{9, Span{[]byte("m"), []byte("n")}}
	x := NewExporter(e, data)
	chunk, err := x.Next(nil, 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	x.Close()
	f.Add(chunk)
	f.Add([]byte{chunkFormat, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, chunk []byte) {
		n := 0
		if err := decodeChunk(chunk, func(k, v []byte) error {
			n++
			if !validEngineKey(k) {
				t.Fatalf("key %x", k)
			}
			return nil
		}); err == nil && n == 0 && len(chunk) > 1+chunkTrailer {
			t.Fatal("accepted without content")
		}
	})
}

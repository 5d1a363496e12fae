package mvcc

import (
	"bytes"
	"encoding/binary"
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

func FuzzProvisional(f *testing.F) {
	f.Add([]byte("0123456789abcdef\x05value"))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		p, err := decodeProvisional(payload)
		if err != nil {
			return
		}
		head := binary.AppendUvarint(p.txn[:], p.seq)
		key := appendVersionKey(nil, []byte("k"), 7)
		raw := make([]byte, valueHeader+len(head)+len(p.value))
		fillValue(raw, key, kindProvisional, head, p.value)
		got, kind, err := openValue(key, raw)
		if err != nil || kind != kindProvisional || !isProvisional(raw) {
			t.Fatalf("%x: kind %d, %v", raw, kind, err)
		}
		q, err := decodeProvisional(got)
		if err != nil || q.txn != p.txn || q.seq != p.seq || !bytes.Equal(q.value, p.value) {
			t.Fatalf("%+v becomes %+v, %v", p, q, err)
		}
	})
}

func FuzzChunk(f *testing.F) {
	e := newTestEngine(f)
	write(f, e, func(b *Batch) {
		b.Put([]byte("m1"), 3, []byte("value"))
		b.Put([]byte("m1"), 2, []byte("value"))
		b.PutProvisional([]byte("m2"), 4, TxnID{1}, 1, nil)
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

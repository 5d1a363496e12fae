package fields

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestReader(t *testing.T) {
	b := AppendBytes(nil, []byte("key"))
	b = binary.AppendUvarint(b, 300)
	b = binary.AppendVarint(b, -5)
	b = append(b, 7, 'x', 'y')
	b = binary.AppendUvarint(b, 1<<40) // a count that nothing stands behind
	d := Reader{B: b}
	if k, u, v, c := d.Bytes(), d.Uvarint(), d.Varint(), d.Byte(); string(k) != "key" || u != 300 || v != -5 || c != 7 {
		t.Fatal(k, u, v, c)
	}
	if got := d.Take(2); string(got) != "xy" || cap(got) != 2 || d.Done() {
		t.Fatal(got, d)
	}
	if n := d.Count(1); n != 0 || d.Err != ErrMalformed {
		t.Fatal(n, d.Err)
	}
	if d.Byte() != 0 || d.Uvarint() != 0 || d.Varint() != 0 || d.Bytes() != nil || d.Take(-1) != nil || d.Done() {
		t.Fatal("reads on after a failure")
	}
}

// FuzzReader reads anything as alternating fields: what it accepts it returns, in order, and it ends.
func FuzzReader(f *testing.F) {
	f.Add([]byte{3, 'a', 'b', 'c', 0x80, 0x01, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := Reader{B: b}
		for len(d.B) > 0 {
			left := len(d.B)
			if v := d.Bytes(); d.Err == nil && !bytes.Contains(b, v) {
				t.Fatalf("%x is not in %x", v, b)
			}
			if n := d.Count(2); n > len(b)/2 {
				t.Fatalf("%d elements in %d bytes", n, len(b))
			}
			d.Varint()
			if d.Err == nil && len(d.B) >= left {
				t.Fatal("does not advance")
			}
		}
	})
}

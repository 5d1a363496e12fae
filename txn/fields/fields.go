// Package fields encodes and decodes the fields of the transaction layer's binary records: varints, and byte strings
// and lists that carry their length. It keeps no state and starts no goroutines. What it decodes may come from a hostile
// peer or a damaged disk (I12): nothing panics, and no length is believed that the input cannot hold.
package fields

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed reports input that ends early, or whose lengths do not fit. Its users have errors of their own, which say
// what is malformed.
var ErrMalformed = errors.New("fields: malformed encoding")

// AppendBytes appends v with its length.
func AppendBytes(b, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// Reader decodes from the front of B; after the first failure everything reads as zero. What it returns aliases B.
type Reader struct {
	B   []byte // what is left
	Err error
}

func (d *Reader) fail() { d.B, d.Err = nil, ErrMalformed }

// Done reports whether everything has been read, without a failure.
func (d *Reader) Done() bool { return d.Err == nil && len(d.B) == 0 }

// Take reads n bytes.
func (d *Reader) Take(n int) []byte {
	if n < 0 || n > len(d.B) {
		d.fail()
		return nil
	}
	v := d.B[:n:n]
	d.B = d.B[n:]
	return v
}

// Byte reads one byte.
func (d *Reader) Byte() byte {
	if len(d.B) == 0 {
		d.fail()
		return 0
	}
	v := d.B[0]
	d.B = d.B[1:]
	return v
}

// Uvarint reads an unsigned number.
func (d *Reader) Uvarint() uint64 {
	v, n := binary.Uvarint(d.B)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.B = d.B[n:]
	return v
}

// Varint reads a signed number.
func (d *Reader) Varint() int64 {
	v, n := binary.Varint(d.B)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.B = d.B[n:]
	return v
}

// Bytes reads what AppendBytes wrote.
func (d *Reader) Bytes() []byte {
	n := d.Uvarint()
	if n > uint64(len(d.B)) {
		d.fail()
		return nil
	}
	return d.Take(int(n))
}

// Count reads a number of elements of at least size bytes each: input that cannot hold them is refused before anybody
// allocates for them.
func (d *Reader) Count(size int) int {
	n := d.Uvarint()
	if n > uint64(len(d.B)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

package types

import (
	"math"
	"strings"
	"unsafe"

	"github.com/cockroachdb/apd/v3"
)

// Kind is the representation of a Datum. Several SQL types share a kind (int2, int4 and int8 are KindInt;
// text, varchar, bpchar, name are KindString): a Datum does not know its SQL type, expressions do.
type Kind uint8

const (
	KindNull Kind = iota
	KindBool
	KindInt         // int2, int4, int8, oid and its relatives
	KindFloat       // float4, float8
	KindNumeric     // a coefficient and a scale, or *apd.Decimal
	KindString      // text family, json text, xml, enum labels
	KindBytes       // bytea
	KindDate        // days since 2000-01-01; ±infinity are MinInt64/MaxInt64
	KindTime        // microseconds since midnight
	KindTimeTZ      // *TimeTZ
	KindTimestamp   // microseconds since 2000-01-01 00:00:00; ±infinity are MinInt64/MaxInt64
	KindTimestampTZ // the same, UTC
	KindInterval    // *Interval
	KindUUID        // *[16]byte
	KindJSON        // *JSON (jsonb)
	KindArray       // *Array
	KindTuple       // *Tuple (row values)
	KindRange       // *Range
	KindMultirange  // *Multirange
	KindOther       // *Other, for types added later without a kind of their own
)

// Datum is one SQL value in 24 bytes. The zero Datum is NULL. A Datum is immutable; what it points to is
// never changed after construction. String and Bytes datums may alias the row buffer they were decoded
// from, whose owner must keep it unmodified while the datum lives.
type Datum struct {
	p    unsafe.Pointer // string or bytes data, or the object of the pointer kinds
	n    int64          // the value of scalar kinds, the length of string and bytes
	kind Kind
	// scale of a numeric that is held by n alone: p is nil then (numeric_small.go).
	scale uint16
}

// Null is the SQL NULL.
var Null = Datum{}

// Constructors, one for each kind.

func NewBool(b bool) Datum {
	if b {
		return Datum{kind: KindBool, n: 1}
	}
	return Datum{kind: KindBool}
}
func NewInt(i int64) Datum     { return Datum{kind: KindInt, n: i} }
func NewFloat(f float64) Datum { return Datum{kind: KindFloat, n: int64(math.Float64bits(f))} }
func NewNumeric(d *apd.Decimal) Datum {
	if s, ok := smallOf(d); ok {
		return s
	}
	return Datum{kind: KindNumeric, p: unsafe.Pointer(d)}
}
func NewString(s string) Datum {
	return Datum{kind: KindString, p: unsafe.Pointer(unsafe.StringData(s)), n: int64(len(s))}
}

// NewStringFromBytes aliases b, which must not be modified while the datum lives.
func NewStringFromBytes(b []byte) Datum {
	return Datum{kind: KindString, p: unsafe.Pointer(unsafe.SliceData(b)), n: int64(len(b))}
}

// NewBytes aliases b, which must not be modified while the datum lives.
func NewBytes(b []byte) Datum {
	return Datum{kind: KindBytes, p: unsafe.Pointer(unsafe.SliceData(b)), n: int64(len(b))}
}
func NewDate(days int64) Datum      { return Datum{kind: KindDate, n: days} }
func NewTime(us int64) Datum        { return Datum{kind: KindTime, n: us} }
func NewTimestamp(us int64) Datum   { return Datum{kind: KindTimestamp, n: us} }
func NewTimestampTZ(us int64) Datum { return Datum{kind: KindTimestampTZ, n: us} }
func NewTimeTZ(t *TimeTZ) Datum     { return Datum{kind: KindTimeTZ, p: unsafe.Pointer(t)} }
func NewInterval(i *Interval) Datum { return Datum{kind: KindInterval, p: unsafe.Pointer(i)} }
func NewUUID(u *[16]byte) Datum     { return Datum{kind: KindUUID, p: unsafe.Pointer(u)} }
func NewJSON(j *JSON) Datum         { return Datum{kind: KindJSON, p: unsafe.Pointer(j)} }
func NewArray(a *Array) Datum       { return Datum{kind: KindArray, p: unsafe.Pointer(a)} }
func NewTuple(t *Tuple) Datum       { return Datum{kind: KindTuple, p: unsafe.Pointer(t)} }
func NewRange(r *Range) Datum       { return Datum{kind: KindRange, p: unsafe.Pointer(r)} }
func NewMultirange(m *Multirange) Datum {
	return Datum{kind: KindMultirange, p: unsafe.Pointer(m)}
}

// Kind returns the representation, KindNull for NULL.
func (d Datum) Kind() Kind { return d.kind }

// IsNull reports whether d is NULL.
func (d Datum) IsNull() bool { return d.kind == KindNull }

// Accessors. Each must only be called on a datum of its kind; Int also serves the date and time kinds.

func (d Datum) Bool() bool     { return d.n != 0 }
func (d Datum) Int() int64     { return d.n }
func (d Datum) Float() float64 { return math.Float64frombits(uint64(d.n)) }

// Numeric returns a numeric, which must not be changed. It allocates for one that SmallNumeric gives.
func (d Datum) Numeric() *apd.Decimal {
	d.must(KindNumeric)
	if d.p == nil {
		return largeOf(d.n, int(d.scale))
	}
	return (*apd.Decimal)(d.p)
}
func (d Datum) Str() string         { d.mustText(); return unsafe.String((*byte)(d.p), int(d.n)) }
func (d Datum) Bytes() []byte       { d.mustText(); return unsafe.Slice((*byte)(d.p), int(d.n)) }
func (d Datum) TimeTZ() *TimeTZ     { d.must(KindTimeTZ); return (*TimeTZ)(d.p) }
func (d Datum) Interval() *Interval { d.must(KindInterval); return (*Interval)(d.p) }
func (d Datum) UUID() *[16]byte     { d.must(KindUUID); return (*[16]byte)(d.p) }
func (d Datum) JSON() *JSON         { d.must(KindJSON); return (*JSON)(d.p) }
func (d Datum) Array() *Array       { d.must(KindArray); return (*Array)(d.p) }
func (d Datum) Tuple() *Tuple       { d.must(KindTuple); return (*Tuple)(d.p) }
func (d Datum) Range() *Range       { d.must(KindRange); return (*Range)(d.p) }
func (d Datum) Multirange() *Multirange {
	d.must(KindMultirange)
	return (*Multirange)(d.p)
}

// must and mustText stop a wrong access before it reads memory as what it is not: a panic is one failed
// statement, stray memory is a dead node or another user's data. NULL is let through, as nil.

func (d Datum) must(k Kind) {
	if d.kind != k && d.kind != KindNull {
		wrongKind()
	}
}

// mustText uses that KindBytes follows KindString.
func (d Datum) mustText() {
	if d.kind-KindString > 1 && d.kind != KindNull {
		wrongKind()
	}
}

//go:noinline
func wrongKind() { panic("types: a datum read as one of another kind") }

// TimeTZ is a time of day with an offset.
type TimeTZ struct {
	Micros     int64 // since midnight, local
	OffsetSecs int32 // west of Greenwich positive, as PostgreSQL stores it
}

// Interval is PostgreSQL's interval: the three fields do not convert into each other.
type Interval struct {
	Months, Days int32
	Micros       int64
}

// Array is an array value. Elems are in row-major order; len(Dims) is the number of dimensions, 0 for the
// empty array.
type Array struct {
	Elem  *T
	Dims  []ArrayDim
	Elems []Datum
}

// ArrayDim is one dimension's length and lower bound.
type ArrayDim struct{ Len, Lower int32 }

// Tuple is a row value. Names is nil for anonymous records.
type Tuple struct {
	Types []*T
	Names []string
	Elems []Datum
}

// Detach returns d with memory of its own, for keeping it longer than the row buffer it may alias.
func Detach(d Datum) Datum {
	switch d.kind {
	case KindString:
		return NewString(strings.Clone(d.Str()))
	case KindBytes:
		return NewBytes(append([]byte{}, d.Bytes()...))
	case KindUUID:
		u := *d.UUID()
		return NewUUID(&u)
	}
	return d
}

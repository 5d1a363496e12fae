package rowenc

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// ErrCorrupt reports bytes that no encoder wrote.
var ErrCorrupt = errors.New("rowenc: corrupt encoding")

// First bytes. The bytes of a descending column are inverted, its NULLs are not.
const (
	nullFirst byte = 0x01
	present   byte = 0x02
	nullLast  byte = 0xfe
	intZero   byte = 0x80 // intZero+n: n bytes of a non-negative number; intZero-1-n: of a negative one

	escape    byte = 0x00 // in strings: 0x00 0xff is a zero byte, 0x00 0x01 the end
	escaped00 byte = 0xff
	escapeEnd byte = 0x01
)

// KeyEncodable returns an error for a type that has no order and cannot be in a key.
func KeyEncodable(t *types.T) error {
	b := t.BaseType()
	switch b.OID {
	case types.OIDJSON, types.OIDXML, types.OIDPoint, types.OIDBox, types.OIDPolygon, types.OIDLine, types.OIDCircle, types.OIDPath, types.OIDLseg:
	default:
		if b.Kind == types.KindArray && b.Elem != nil {
			return KeyEncodable(b.Elem)
		}
		if b.Sub != nil {
			return KeyEncodable(b.Sub)
		}
		return nil
	}
	return pgerr.New(pgerr.UndefinedObject, "data type %s has no default operator class for access method \"btree\"", types.TypeName(t)).
		WithHint("You must specify an operator class for the index or define a default operator class for the data type.")
}

// KeyLossy reports whether equal values of t may differ in their text, so that decoding a key does not
// always give back what was encoded.
func KeyLossy(t *types.T) bool {
	t = t.BaseType()
	switch t.Kind {
	case types.KindFloat, types.KindInterval, types.KindJSON, types.KindTuple:
		return true
	case types.KindNumeric:
		return t.Typmod < 0
	case types.KindString:
		return t.OID == types.OIDBPChar && t.Typmod < 0 || t.Fold
	case types.KindArray:
		return t.Elem == nil || KeyLossy(t.Elem)
	case types.KindRange, types.KindMultirange:
		return t.Sub == nil || KeyLossy(t.Sub)
	}
	return false
}

// AppendKey appends d, of type t, in key order. nullsFirst places NULL before all values in key space,
// whatever desc says; PostgreSQL's default is NULLs last ascending and first descending.
func AppendKey(buf []byte, d types.Datum, t *types.T, desc, nullsFirst bool) []byte {
	if d.IsNull() {
		if nullsFirst {
			return append(buf, nullFirst)
		}
		return append(buf, nullLast)
	}
	start := len(buf)
	buf = appendKey(buf, d, t)
	if desc {
		invert(buf[start:])
	}
	return buf
}

func invert(b []byte) {
	for i := range b {
		b[i] = ^b[i]
	}
}

func appendKey(buf []byte, d types.Datum, t *types.T) []byte {
	switch d.Kind() {
	case types.KindBool, types.KindInt, types.KindDate, types.KindTime, types.KindTimestamp, types.KindTimestampTZ:
		v := d.Int()
		if t.OID == types.OIDXid8 || t.OID == types.OIDPgLSN {
			v ^= math.MinInt64
		}
		return AppendKeyInt(buf, v)
	case types.KindFloat:
		return appendFloat(append(buf, present), d.Float())
	case types.KindString:
		s := d.Str()
		switch t = t.BaseType(); {
		case t.Fold:
			s = strings.ToLower(s)
		case t.OID == types.OIDBPChar:
			s = strings.TrimRight(s, " ")
		case t.IsEnum():
			o, _ := types.EnumOrder(t, s)
			return appendFloat(append(buf, present), float64(o))
		case t.OID == types.OIDInet || t.OID == types.OIDCidr:
			network, addr, bits := types.InetKey(s)
			buf = append(buf, present, byte(len(addr)))
			buf = append(append(buf, network...), byte(bits))
			return append(buf, addr...)
		}
		return appendEscaped(append(buf, present), s)
	case types.KindBytes:
		return appendEscaped(append(buf, present), d.Bytes())
	case types.KindNumeric:
		return appendKeyNumeric(append(buf, present), d.Numeric())
	case types.KindTimeTZ:
		z := d.TimeTZ()
		buf = AppendKeyInt(append(buf, present), z.Micros+int64(z.OffsetSecs)*1e6)
		return AppendKeyInt(buf, int64(z.OffsetSecs))
	case types.KindInterval:
		days, us := types.IntervalKey(d.Interval())
		return AppendKeyInt(AppendKeyInt(append(buf, present), days), us)
	case types.KindUUID:
		return append(append(buf, present), d.UUID()[:]...)
	case types.KindJSON:
		return appendKeyJSON(append(buf, present), d.JSON(), true)
	case types.KindArray:
		a := d.Array()
		buf = append(buf, present)
		for _, e := range a.Elems {
			buf = AppendKey(append(buf, present), e, a.Elem, false, false)
		}
		buf = AppendKeyInt(append(buf, nullFirst), int64(len(a.Dims)))
		for _, dim := range a.Dims {
			buf = AppendKeyInt(buf, int64(dim.Len))
		}
		for _, dim := range a.Dims {
			buf = AppendKeyInt(buf, int64(dim.Lower))
		}
		return buf
	case types.KindTuple:
		tu := d.Tuple()
		buf = append(buf, present)
		for i, e := range tu.Elems {
			buf = AppendKey(append(buf, present), e, tu.Types[i], false, false)
		}
		return append(buf, nullFirst)
	case types.KindRange:
		return appendKeyRange(append(buf, present), d.Range())
	case types.KindMultirange:
		return appendKeyMultirange(append(buf, present), d.Multirange())
	}
	return append(buf, present)
}

// AppendKeyInt appends an integer in as few bytes as it needs, in order.
func AppendKeyInt(buf []byte, v int64) []byte {
	u, neg := uint64(v), v < 0
	if neg {
		u = ^u
	}
	n := (bitLen(u) + 7) / 8
	if neg {
		buf = append(buf, intZero-1-byte(n))
		u = ^u
	} else {
		buf = append(buf, intZero+byte(n))
	}
	for i := n - 1; i >= 0; i-- {
		buf = append(buf, byte(u>>(8*i)))
	}
	return buf
}

func bitLen(u uint64) int {
	n := 0
	for ; u >= 1<<8; u >>= 8 {
		n += 8
	}
	for ; u > 0; u >>= 1 {
		n++
	}
	return n
}

func appendFloat(buf []byte, f float64) []byte {
	if f == 0 {
		f = 0 // -0.0 equals 0.0
	}
	if math.IsNaN(f) {
		f = math.NaN()
	}
	u := math.Float64bits(f)
	if u>>63 != 0 {
		u = ^u
	} else {
		u |= 1 << 63
	}
	return binary.BigEndian.AppendUint64(buf, u)
}

func appendEscaped[S string | []byte](buf []byte, s S) []byte {
	last := 0
	for i := 0; i < len(s); i++ {
		if s[i] == 0 {
			buf = append(append(buf, s[last:i]...), escape, escaped00)
			last = i + 1
		}
	}
	return append(append(buf, s[last:]...), escape, escapeEnd)
}

// keyReader reads a key, inverting the bytes of descending columns.
type keyReader struct {
	b    []byte
	mask byte // 0xff for a descending column
}

func (r *keyReader) byte() (byte, bool) {
	if len(r.b) == 0 {
		return 0, false
	}
	c := r.b[0] ^ r.mask
	r.b = r.b[1:]
	return c, true
}

func (r *keyReader) fixed(n int) ([]byte, bool) {
	if len(r.b) < n {
		return nil, false
	}
	out := r.b[:n]
	r.b = r.b[n:]
	if r.mask != 0 {
		out = append([]byte(nil), out...)
		invert(out)
	}
	return out, true
}

func (r *keyReader) int() (int64, bool) {
	c, ok := r.byte()
	if !ok || c < intZero-9 || c > intZero+8 {
		return 0, false
	}
	neg := c < intZero
	n := int(c) - int(intZero)
	if neg {
		n = -n - 1
	}
	if len(r.b) < n {
		return 0, false
	}
	var u uint64
	if neg {
		u = math.MaxUint64
	}
	for i := range n {
		u = u<<8 | uint64(r.b[i]^r.mask)
	}
	r.b = r.b[n:]
	if (u>>63 != 0) != neg {
		return 0, false
	}
	return int64(u), true
}

// text reads an escaped string, without copying where nothing is escaped or inverted.
func (r *keyReader) text() ([]byte, bool) {
	zero := escape ^ r.mask
	for i := 0; i+1 < len(r.b); i++ {
		if r.b[i] != zero {
			continue
		}
		switch r.b[i+1] ^ r.mask {
		case escapeEnd:
			out := r.b[:i:i]
			r.b = r.b[i+2:]
			if r.mask != 0 {
				out = append([]byte(nil), out...)
				invert(out)
			}
			return out, true
		case escaped00:
			return r.textEscaped(i)
		default:
			return nil, false
		}
	}
	return nil, false
}

func (r *keyReader) textEscaped(from int) ([]byte, bool) {
	out := append([]byte(nil), r.b[:from]...)
	for i := from; i+1 < len(r.b); i++ {
		if r.b[i]^r.mask != escape {
			out = append(out, r.b[i])
			continue
		}
		i++
		switch r.b[i] ^ r.mask {
		case escapeEnd:
			r.b = r.b[i+1:]
			invertIf(out, r.mask)
			return out, true
		case escaped00:
			out = append(out, r.mask)
		default:
			return nil, false
		}
	}
	return nil, false
}

func invertIf(b []byte, mask byte) {
	if mask != 0 {
		invert(b)
	}
}

// DecodeKey reads one column of a key and returns the bytes after it. Strings and bytes may alias key.
func DecodeKey(key []byte, t *types.T, desc bool) (d types.Datum, rest []byte, err error) {
	if len(key) == 0 {
		return types.Null, nil, ErrCorrupt
	}
	if key[0] == nullFirst || key[0] == nullLast {
		return types.Null, key[1:], nil
	}
	r := keyReader{b: key}
	if desc {
		r.mask = 0xff
	}
	d, ok := r.value(t.BaseType(), 0)
	if !ok {
		return types.Null, nil, ErrCorrupt
	}
	return d, r.b, nil
}

// SkipKey returns the bytes after one column of a key.
func SkipKey(key []byte, t *types.T, desc bool) (rest []byte, err error) {
	_, rest, err = DecodeKey(key, t, desc)
	return rest, err
}

const maxDepth = 6400

func (r *keyReader) value(t *types.T, depth int) (types.Datum, bool) {
	if depth > maxDepth {
		return types.Null, false
	}
	switch t.Kind {
	case types.KindBool, types.KindInt, types.KindDate, types.KindTime, types.KindTimestamp, types.KindTimestampTZ:
		v, ok := r.int()
		if !ok {
			return types.Null, false
		}
		if t.OID == types.OIDXid8 || t.OID == types.OIDPgLSN {
			v ^= math.MinInt64
		}
		return scalar(t.Kind, v), true
	}
	if c, ok := r.byte(); !ok || c != present {
		return types.Null, false
	}
	switch t.Kind {
	case types.KindFloat:
		f, ok := r.float()
		return types.NewFloat(f), ok
	case types.KindString:
		return r.stringKind(t)
	case types.KindBytes:
		b, ok := r.text()
		return types.NewBytes(b), ok
	case types.KindNumeric:
		n, ok := r.numeric()
		if !ok {
			return types.Null, false
		}
		if t.Typmod >= 0 {
			_, scale := types.NumericTypmod(t.Typmod)
			n = types.NumericRound(n, max(scale, 0))
		}
		return types.NewNumeric(n), true
	case types.KindTimeTZ:
		us, ok1 := r.int()
		off, ok2 := r.int()
		return types.NewTimeTZ(&types.TimeTZ{Micros: us - off*1e6, OffsetSecs: int32(off)}), ok1 && ok2
	case types.KindInterval:
		days, ok1 := r.int()
		us, ok2 := r.int()
		if !ok1 || !ok2 {
			return types.Null, false
		}
		months := days / 30
		if months != int64(int32(months)) {
			months = 0
		}
		iv, err := types.CheckedInterval(months, days-months*30, us)
		return types.NewInterval(iv), err == nil
	case types.KindUUID:
		b, ok := r.fixed(16)
		if !ok {
			return types.Null, false
		}
		u := [16]byte(b)
		return types.NewUUID(&u), true
	case types.KindJSON:
		j, ok := r.json(true, depth)
		return types.NewJSON(j), ok
	case types.KindArray:
		return r.array(t, depth)
	case types.KindTuple:
		return r.tuple(t, depth)
	case types.KindRange:
		x, ok := r.rangeValue(t, depth)
		return types.NewRange(x), ok
	case types.KindMultirange:
		return r.multirange(t, depth)
	}
	return types.Null, false
}

func scalar(k types.Kind, v int64) types.Datum {
	switch k {
	case types.KindBool:
		return types.NewBool(v != 0)
	case types.KindDate:
		return types.NewDate(v)
	case types.KindTime:
		return types.NewTime(v)
	case types.KindTimestamp:
		return types.NewTimestamp(v)
	case types.KindTimestampTZ:
		return types.NewTimestampTZ(v)
	}
	return types.NewInt(v)
}

func (r *keyReader) float() (float64, bool) {
	if len(r.b) < 8 {
		return 0, false
	}
	u := binary.BigEndian.Uint64(r.b)
	if r.mask != 0 {
		u = ^u
	}
	r.b = r.b[8:]
	if u>>63 != 0 {
		u &^= 1 << 63
	} else {
		u = ^u
	}
	return math.Float64frombits(u), true
}

func (r *keyReader) stringKind(t *types.T) (types.Datum, bool) {
	switch {
	case t.IsEnum():
		f, ok := r.float()
		if !ok {
			return types.Null, false
		}
		label, ok := types.EnumLabel(t, float32(f))
		return types.NewString(label), ok
	case t.OID == types.OIDInet || t.OID == types.OIDCidr:
		n, ok := r.byte()
		if !ok || n != 4 && n != 16 {
			return types.Null, false
		}
		_, ok1 := r.fixed(int(n))
		bits, ok2 := r.byte()
		addr, ok3 := r.fixed(int(n))
		if !ok1 || !ok2 || !ok3 {
			return types.Null, false
		}
		d, err := types.InetFromKey(addr, int(bits), t)
		return d, err == nil
	}
	b, ok := r.text()
	if !ok {
		return types.Null, false
	}
	d := types.NewStringFromBytes(b)
	if t.OID == types.OIDBPChar && t.Typmod >= 0 {
		padded, err := types.CoerceTypmod(d, t, true)
		return padded, err == nil
	}
	return d, true
}

func (r *keyReader) array(t *types.T, depth int) (types.Datum, bool) {
	if t.Elem == nil {
		return types.Null, false
	}
	a := &types.Array{Elem: t.Elem.WithTypmod(-1)}
	for {
		c, ok := r.byte()
		if !ok || c != present && c != nullFirst {
			return types.Null, false
		}
		if c == nullFirst {
			break
		}
		e, ok := r.element(t.Elem, depth)
		if !ok {
			return types.Null, false
		}
		a.Elems = append(a.Elems, e)
	}
	n, ok := r.int()
	if !ok || n < 0 || n > 6 {
		return types.Null, false
	}
	a.Dims = make([]types.ArrayDim, n)
	total := int64(1)
	for i := range a.Dims {
		v, ok := r.int()
		if !ok || v < 0 || v > math.MaxInt32 {
			return types.Null, false
		}
		a.Dims[i].Len = int32(v)
		if total *= v; total > int64(len(a.Elems)) {
			return types.Null, false
		}
	}
	for i := range a.Dims {
		v, ok := r.int()
		if !ok || v != int64(int32(v)) {
			return types.Null, false
		}
		a.Dims[i].Lower = int32(v)
	}
	if n > 0 && total != int64(len(a.Elems)) || n == 0 && len(a.Elems) > 0 {
		return types.Null, false
	}
	if n == 0 {
		a.Dims = nil
	}
	return types.NewArray(a), true
}

// element reads a value that may be NULL, in ascending order with NULLs last.
func (r *keyReader) element(t *types.T, depth int) (types.Datum, bool) {
	if len(r.b) == 0 {
		return types.Null, false
	}
	if r.b[0]^r.mask == nullLast {
		r.b = r.b[1:]
		return types.Null, true
	}
	return r.value(t.BaseType(), depth+1)
}

func (r *keyReader) tuple(t *types.T, depth int) (types.Datum, bool) {
	if t.Def == nil {
		return types.Null, false
	}
	tu := &types.Tuple{}
	for _, f := range t.Def.Fields {
		if c, ok := r.byte(); !ok || c != present {
			return types.Null, false
		}
		e, ok := r.element(f.Type, depth)
		if !ok {
			return types.Null, false
		}
		tu.Elems, tu.Types, tu.Names = append(tu.Elems, e), append(tu.Types, f.Type), append(tu.Names, f.Name)
	}
	c, ok := r.byte()
	return types.NewTuple(tu), ok && c == nullFirst
}

// AppendBytesPrefix appends what the keys of all strings of bytes begin with that begin with b.
func AppendBytesPrefix(buf, b []byte) []byte {
	buf = appendEscaped(append(buf, present), b)
	return buf[:len(buf)-2]
}

// PrefixEnd returns the smallest key above all keys that start with prefix, nil if there is none.
func PrefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}

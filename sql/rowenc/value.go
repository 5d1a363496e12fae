package rowenc

import (
	"encoding/binary"
	"math"
	"math/big"
	"slices"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/types"
)

// Tags tell how to skip a value without knowing its type. A column starts with one varint: the distance
// from the column id before, times 16, plus the tag.
const (
	tagNull    = iota
	tagFalse   // no data
	tagTrue    // no data
	tagInt     // zigzag varint
	tagFloat   // 8 bytes
	tagBytes   // length, data
	tagUUID    // 16 bytes
	tagNumeric // length, data
	tagOther   // length, data: whatever the type says
)

// AppendColumn appends a column to a row's value. Columns are appended in ascending order of id; prev is
// the id before, 0 at the start, ids start at 1. A NULL is written too: only a column that did not exist
// when the row was written is absent.
func AppendColumn(buf []byte, prev, id uint32, d types.Datum, t *types.T) []byte {
	return appendTagged(buf, uint64(id-prev), d, t)
}

func appendTagged(buf []byte, delta uint64, d types.Datum, t *types.T) []byte {
	head := func(tag uint64) { buf = binary.AppendUvarint(buf, delta<<4|tag) }
	switch d.Kind() {
	case types.KindNull:
		head(tagNull)
	case types.KindBool:
		if d.Bool() {
			head(tagTrue)
		} else {
			head(tagFalse)
		}
	case types.KindInt, types.KindDate, types.KindTime, types.KindTimestamp, types.KindTimestampTZ:
		head(tagInt)
		buf = binary.AppendVarint(buf, d.Int())
	case types.KindFloat:
		head(tagFloat)
		buf = binary.BigEndian.AppendUint64(buf, math.Float64bits(d.Float()))
	case types.KindString:
		head(tagBytes)
		s := d.Str()
		buf = append(binary.AppendUvarint(buf, uint64(len(s))), s...)
	case types.KindBytes:
		head(tagBytes)
		b := d.Bytes()
		buf = append(binary.AppendUvarint(buf, uint64(len(b))), b...)
	case types.KindUUID:
		head(tagUUID)
		buf = append(buf, d.UUID()[:]...)
	case types.KindNumeric:
		head(tagNumeric)
		var tmp [64]byte
		var b []byte
		if c, scale, ok := d.SmallNumeric(); ok {
			b = appendSmallNumeric(tmp[:0], c, scale)
		} else {
			b = appendNumeric(tmp[:0], d.Numeric())
		}
		buf = append(binary.AppendUvarint(buf, uint64(len(b))), b...)
	default:
		head(tagOther)
		b := appendOther(nil, d, t)
		buf = append(binary.AppendUvarint(buf, uint64(len(b))), b...)
	}
	return buf
}

// Numeric data: one byte of flags, then for finite numbers the scale and the coefficient, as a varint when
// it fits in 64 bits and as big-endian bytes otherwise.
const (
	numFlagNegative = 1 << iota
	numFlagBig
	numFlagNaN
	numFlagInf
)

func appendNumeric(buf []byte, d *apd.Decimal) []byte {
	var flags byte
	if d.Negative {
		flags = numFlagNegative
	}
	switch {
	case d.Form == apd.NaN || d.Form == apd.NaNSignaling:
		return append(buf, numFlagNaN)
	case d.Form == apd.Infinite:
		return append(buf, flags|numFlagInf)
	}
	if d.Coeff.IsUint64() {
		buf = binary.AppendUvarint(append(buf, flags), uint64(types.NumericScale(d)))
		return binary.AppendUvarint(buf, d.Coeff.Uint64())
	}
	buf = binary.AppendUvarint(append(buf, flags|numFlagBig), uint64(types.NumericScale(d)))
	return append(buf, d.Coeff.MathBigInt().Bytes()...)
}

// appendSmallNumeric is appendNumeric of a numeric that a datum holds by itself.
func appendSmallNumeric(buf []byte, c int64, scale int) []byte {
	var flags byte
	if c < 0 {
		flags, c = numFlagNegative, -c
	}
	return binary.AppendUvarint(binary.AppendUvarint(append(buf, flags), uint64(scale)), uint64(c))
}

// numericDatum reads numeric data.
func numericDatum(b []byte) (types.Datum, bool) {
	if len(b) >= 3 && b[0]&^numFlagNegative == 0 && b[1] < 0x80 {
		if c, n := binary.Uvarint(b[2:]); n == len(b)-2 && c <= math.MaxInt64 {
			v := int64(c)
			if b[0] != 0 {
				v = -v
			}
			return types.SmallNumeric(v, int(b[1])), true
		}
	}
	d, ok := decodeNumeric(b)
	if !ok {
		return types.Null, false
	}
	return types.NewNumeric(d), true
}

func decodeNumeric(b []byte) (*apd.Decimal, bool) {
	if len(b) == 0 {
		return nil, false
	}
	flags := b[0]
	switch {
	case flags&numFlagNaN != 0:
		return types.NumericNaN, true
	case flags&numFlagInf != 0 && flags&numFlagNegative != 0:
		return types.NumericNegInf, true
	case flags&numFlagInf != 0:
		return types.NumericInf, true
	}
	scale, n := binary.Uvarint(b[1:])
	if n <= 0 || scale > 1<<16 {
		return nil, false
	}
	b = b[1+n:]
	d := &apd.Decimal{Exponent: -int32(scale)}
	if flags&numFlagBig != 0 {
		d.Coeff.SetMathBigInt(new(big.Int).SetBytes(b))
	} else {
		c, n := binary.Uvarint(b)
		if n <= 0 || n != len(b) {
			return nil, false
		}
		d.Coeff.SetUint64(c)
	}
	d.Negative = flags&numFlagNegative != 0 && d.Coeff.Sign() != 0
	return d, true
}

func appendOther(buf []byte, d types.Datum, t *types.T) []byte {
	switch d.Kind() {
	case types.KindTimeTZ:
		z := d.TimeTZ()
		return binary.AppendVarint(binary.AppendVarint(buf, z.Micros), int64(z.OffsetSecs))
	case types.KindInterval:
		iv := d.Interval()
		buf = binary.AppendVarint(buf, int64(iv.Months))
		return binary.AppendVarint(binary.AppendVarint(buf, int64(iv.Days)), iv.Micros)
	case types.KindJSON:
		return appendJSON(buf, d.JSON())
	case types.KindArray:
		a := d.Array()
		buf = binary.AppendUvarint(buf, uint64(len(a.Dims)))
		for _, dim := range a.Dims {
			buf = binary.AppendVarint(binary.AppendUvarint(buf, uint64(dim.Len)), int64(dim.Lower))
		}
		for _, e := range a.Elems {
			buf = appendTagged(buf, 0, e, a.Elem)
		}
	case types.KindTuple:
		tu := d.Tuple()
		buf = binary.AppendUvarint(buf, uint64(len(tu.Elems)))
		for i, e := range tu.Elems {
			buf = binary.AppendUvarint(buf, uint64(tu.Types[i].OID))
			buf = appendTagged(buf, 0, e, tu.Types[i])
		}
	case types.KindRange:
		return appendRange(buf, d.Range())
	case types.KindMultirange:
		return appendMultirange(buf, d.Multirange())
	}
	return buf
}

func appendJSON(buf []byte, j *types.JSON) []byte {
	str := func(s string) { buf = append(binary.AppendUvarint(buf, uint64(len(s))), s...) }
	switch j.Kind {
	case types.JSONBool:
		if j.Bool {
			return append(buf, jsonTrue)
		}
		return append(buf, jsonFalse)
	case types.JSONNumber:
		var tmp [64]byte
		b := appendNumeric(tmp[:0], j.Num)
		return append(binary.AppendUvarint(append(buf, jsonNumber), uint64(len(b))), b...)
	case types.JSONString:
		buf = append(buf, jsonString)
		str(j.Str)
		return buf
	case types.JSONArray:
		buf = binary.AppendUvarint(append(buf, jsonArray), uint64(len(j.Vals)))
		for _, v := range j.Vals {
			buf = appendJSON(buf, v)
		}
		return buf
	case types.JSONObject:
		buf = binary.AppendUvarint(append(buf, jsonObject), uint64(len(j.Vals)))
		for i, v := range j.Vals {
			str(j.Keys[i])
			buf = appendJSON(buf, v)
		}
		return buf
	}
	return append(buf, jsonNull)
}

// reader reads a row's value.
type reader struct{ b []byte }

func (r *reader) uvarint() (uint64, bool) {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v), true
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		return 0, false
	}
	r.b = r.b[n:]
	return v, true
}

func (r *reader) varint() (int64, bool) {
	u, ok := r.uvarint()
	return int64(u>>1) ^ -int64(u&1), ok
}

func (r *reader) fixed(n int) ([]byte, bool) {
	if len(r.b) < n {
		return nil, false
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out, true
}

func (r *reader) sized() ([]byte, bool) {
	n, ok := r.uvarint()
	if !ok || n > uint64(len(r.b)) {
		return nil, false
	}
	return r.fixed(int(n))
}

// datum reads the data of a tag as a value of type t.
func (r *reader) datum(tag uint64, t *types.T, depth int) (types.Datum, bool) {
	switch tag {
	case tagNull:
		return types.Null, true
	case tagFalse:
		return types.NewBool(false), t.Kind == types.KindBool
	case tagTrue:
		return types.NewBool(true), t.Kind == types.KindBool
	case tagInt:
		v, ok := r.varint()
		switch t.Kind {
		case types.KindInt, types.KindDate, types.KindTime, types.KindTimestamp, types.KindTimestampTZ:
			return scalar(t.Kind, v), ok
		}
	case tagFloat:
		b, ok := r.fixed(8)
		if ok && t.Kind == types.KindFloat {
			return types.NewFloat(math.Float64frombits(binary.BigEndian.Uint64(b))), true
		}
	case tagBytes:
		b, ok := r.sized()
		switch {
		case !ok:
		case t.Kind == types.KindString:
			return types.NewStringFromBytes(b), true
		case t.Kind == types.KindBytes:
			return types.NewBytes(b), true
		}
	case tagUUID:
		b, ok := r.fixed(16)
		if ok && t.Kind == types.KindUUID {
			// A stored value is never changed, so the datum may point into it.
			return types.NewUUID((*[16]byte)(b)), true
		}
	case tagNumeric:
		b, ok := r.sized()
		if ok && t.Kind == types.KindNumeric {
			return numericDatum(b)
		}
	case tagOther:
		b, ok := r.sized()
		if ok {
			if depth == 0 {
				// What is inside outlives the row buffer more often than not: copy it in one piece.
				b = append([]byte(nil), b...)
			}
			return decodeOther(b, t, depth+1)
		}
	}
	return types.Null, false
}

func decodeOther(b []byte, t *types.T, depth int) (types.Datum, bool) {
	if depth > maxDepth {
		return types.Null, false
	}
	r := reader{b}
	switch t.Kind {
	case types.KindTimeTZ:
		us, ok1 := r.varint()
		off, ok2 := r.varint()
		return types.NewTimeTZ(&types.TimeTZ{Micros: us, OffsetSecs: int32(off)}), ok1 && ok2
	case types.KindInterval:
		m, ok1 := r.varint()
		d, ok2 := r.varint()
		us, ok3 := r.varint()
		return types.NewInterval(&types.Interval{Months: int32(m), Days: int32(d), Micros: us}), ok1 && ok2 && ok3
	case types.KindJSON:
		j, ok := r.json(0)
		return types.NewJSON(j), ok && len(r.b) == 0
	case types.KindArray:
		return r.array(t, depth)
	case types.KindTuple:
		return r.tuple(t, depth)
	case types.KindRange:
		x, ok := r.rangeValue(t, depth)
		return types.NewRange(x), ok && len(r.b) == 0
	case types.KindMultirange:
		return r.multirange(t, depth)
	}
	return types.Null, false
}

func (r *reader) array(t *types.T, depth int) (types.Datum, bool) {
	ndim, ok := r.uvarint()
	if !ok || ndim > 6 || t.Elem == nil {
		return types.Null, false
	}
	elem := t.Elem.WithTypmod(-1)
	a := &types.Array{Elem: elem}
	total := uint64(1)
	for range ndim {
		n, ok1 := r.uvarint()
		lo, ok2 := r.varint()
		if !ok1 || !ok2 || n > math.MaxInt32 || lo != int64(int32(lo)) {
			return types.Null, false
		}
		if total *= n; total > uint64(len(r.b)) {
			return types.Null, false
		}
		a.Dims = append(a.Dims, types.ArrayDim{Len: int32(n), Lower: int32(lo)})
	}
	if ndim == 0 {
		total = 0
	}
	a.Elems = make([]types.Datum, total)
	base := elem.BaseType()
	for i := range a.Elems {
		if a.Elems[i], ok = r.tagged(base, depth); !ok {
			return types.Null, false
		}
	}
	return types.NewArray(a), len(r.b) == 0
}

func (r *reader) tagged(t *types.T, depth int) (types.Datum, bool) {
	tag, ok := r.uvarint()
	if !ok || tag > tagOther {
		return types.Null, false
	}
	return r.datum(tag, t, depth)
}

func (r *reader) tuple(t *types.T, depth int) (types.Datum, bool) {
	n, ok := r.uvarint()
	if !ok || n > uint64(len(r.b)) || t.Def != nil && n > uint64(len(t.Def.Fields)) {
		return types.Null, false
	}
	tu := &types.Tuple{}
	for i := range n {
		oid, ok := r.uvarint()
		if !ok {
			return types.Null, false
		}
		ft := types.ByOID(types.OID(oid))
		if t.Def != nil {
			ft = t.Def.Fields[i].Type
			tu.Names = append(tu.Names, t.Def.Fields[i].Name)
		}
		if ft == nil {
			return types.Null, false
		}
		e, ok := r.tagged(ft.BaseType(), depth)
		if !ok {
			return types.Null, false
		}
		tu.Elems, tu.Types = append(tu.Elems, e), append(tu.Types, ft)
	}
	if t.Def != nil {
		for _, f := range t.Def.Fields[n:] { // attributes added since
			tu.Elems, tu.Types, tu.Names = append(tu.Elems, types.Null), append(tu.Types, f.Type), append(tu.Names, f.Name)
		}
	}
	return types.NewTuple(tu), len(r.b) == 0
}

func (r *reader) json(depth int) (*types.JSON, bool) {
	if depth > maxDepth || len(r.b) == 0 {
		return nil, false
	}
	kind := r.b[0]
	r.b = r.b[1:]
	switch kind {
	case jsonNull:
		return types.JSONNullValue, true
	case jsonFalse:
		return types.JSONFalseValue, true
	case jsonTrue:
		return types.JSONTrueValue, true
	case jsonNumber:
		b, ok := r.sized()
		if !ok {
			return nil, false
		}
		n, ok := decodeNumeric(b)
		return types.NewJSONNumber(n), ok
	case jsonString:
		b, ok := r.sized()
		return types.NewJSONString(types.NewStringFromBytes(b).Str()), ok
	case jsonArray, jsonObject:
		n, ok := r.uvarint()
		if !ok || n > uint64(len(r.b)) {
			return nil, false
		}
		j := &types.JSON{Kind: types.JSONArray, Vals: make([]*types.JSON, n)}
		if kind == jsonObject {
			j.Kind, j.Keys = types.JSONObject, make([]string, n)
		}
		for i := range j.Vals {
			if kind == jsonObject {
				k, ok := r.sized()
				if !ok {
					return nil, false
				}
				j.Keys[i] = types.NewStringFromBytes(k).Str()
			}
			if j.Vals[i], ok = r.json(depth + 1); !ok {
				return nil, false
			}
		}
		return j, true
	}
	return nil, false
}

// OneValue reads what AppendColumn(nil, 0, 1, d, t) has written: a value outside of a row. It aliases b.
func OneValue(b []byte, t *types.T) (types.Datum, error) {
	var out [1]types.Datum
	err := NewDecoder([]Column{{ID: 1, Type: t}}).Decode(b, out[:])
	return out[0], err
}

// Column is a column that a Decoder fills in.
type Column struct {
	ID      uint32
	Type    *types.T
	Default types.Datum // for rows written before the column existed
}

// Decoder decodes the wanted columns of rows. It is immutable and safe for concurrent use.
type Decoder struct {
	cols  []decodeColumn // by ascending id
	early int            // columns up to the last early one
}

type decodeColumn struct {
	id   uint32
	pos  int
	late bool // not read by DecodeEarly
	// integer: the type's values are what tagInt holds.
	integer bool
	text    bool // strings
	base    *types.T
	def     types.Datum
}

// NewDecoder returns a decoder that stores cols[i] in out[i]. A column of ID 0 is left alone (its value
// comes from the key).
func NewDecoder(cols []Column) *Decoder {
	d := &Decoder{}
	for i, c := range cols {
		if c.ID != 0 {
			d.cols = append(d.cols, decodeColumn{id: c.ID, pos: i, base: c.Type.BaseType(), def: c.Default, integer: isInteger(c.Type.BaseType()), text: c.Type.BaseType().Kind == types.KindString})
		}
	}
	slices.SortFunc(d.cols, func(a, b decodeColumn) int { return int(a.id) - int(b.id) })
	return d
}

// Decode reads value into out. Strings, bytes and uuids alias value (types.Detach
// copies them).
func (d *Decoder) Decode(value []byte, out []types.Datum) error {
	var l Late
	l.value = value
	return d.read(out, len(d.cols), false, &l)
}

func isInteger(t *types.T) bool {
	switch t.Kind {
	case types.KindInt, types.KindDate, types.KindTime, types.KindTimestamp, types.KindTimestampTZ:
		return true
	}
	return false
}

// Late is what DecodeEarly leaves for DecodeLate. It belongs to one goroutine, which uses it for one row after
// the other.
type Late struct {
	value  []byte
	at     int // in value: where the columns after the early ones begin
	id     uint64
	next   int
	passed []passedColumn
}

// passedColumn is a wanted column that was passed over, by the place of its data.
type passedColumn struct {
	col int32
	tag uint8
	at  int32
}

// SetEarly chooses the columns, by position in out, that DecodeEarly reads; it reports whether any are left for
// DecodeLate. It must be called before the decoder is shared.
func (d *Decoder) SetEarly(early func(pos int) bool) bool {
	some := false
	for i := range d.cols {
		d.cols[i].late = !early(d.cols[i].pos)
		if !d.cols[i].late {
			d.early = i + 1
		}
		some = some || d.cols[i].late
	}
	return some
}

// DecodeEarly reads the early columns of a row only. DecodeLate reads the others of the same row if they are
// wanted; what it needs of the way to the early ones is remembered, so that nothing is read twice.
func (d *Decoder) DecodeEarly(value []byte, out []types.Datum, l *Late) error {
	l.value, l.at, l.id, l.next, l.passed = value, 0, 0, 0, l.passed[:0]
	return d.read(out, d.early, true, l)
}

// DecodeLate finishes the row that DecodeEarly has begun.
func (d *Decoder) DecodeLate(out []types.Datum, l *Late) error {
	for i := range l.passed {
		p := &l.passed[i]
		c := &d.cols[p.col]
		r := reader{l.value[p.at:]}
		var ok bool
		if out[c.pos], ok = r.datum(uint64(p.tag), c.base, 0); !ok {
			return ErrCorrupt
		}
	}
	return d.read(out, len(d.cols), false, l)
}

// read goes on from l to the column with index end. With early it passes over late columns. It is where scans spend
// their time, so it reads the common encodings itself, without a reader.
func (d *Decoder) read(out []types.Datum, end int, early bool, l *Late) error {
	b, i, id, next := l.value, l.at, l.id, l.next
	for next < end && i < len(b) {
		start := i
		head, n := uint64(b[i]), 1
		if head >= 0x80 {
			if head, n = binary.Uvarint(b[i:]); n <= 0 {
				return ErrCorrupt
			}
		}
		i += n
		if head>>4 == 0 {
			return ErrCorrupt
		}
		here := id + head>>4
		if here > math.MaxUint32 {
			return ErrCorrupt
		}
		for next < end && uint64(d.cols[next].id) < here {
			out[d.cols[next].pos] = d.cols[next].def
			next++
		}
		if next == end {
			i = start // the column is read again when the others are
			break
		}
		id = here
		c := &d.cols[next]
		tag := head & 15
		if uint64(c.id) == id {
			next++
			if !early || !c.late {
				if tag == tagInt && c.integer && i < len(b) {
					u, n := uint64(b[i]), 1
					if u >= 0x80 {
						if u, n = binary.Uvarint(b[i:]); n <= 0 {
							return ErrCorrupt
						}
					}
					i += n
					out[c.pos] = scalar(c.base.Kind, int64(u>>1)^-int64(u&1))
					continue
				}
				if tag == tagBytes && c.text && i < len(b) && b[i] < 0x80 && int(b[i]) < len(b)-i {
					size := int(b[i])
					i++
					out[c.pos] = types.NewStringFromBytes(b[i : i+size : i+size])
					i += size
					continue
				}
				r := reader{b[i:]}
				var ok bool
				if out[c.pos], ok = r.datum(tag, c.base, 0); !ok {
					return ErrCorrupt
				}
				i = len(b) - len(r.b)
				continue
			}
			l.passed = append(l.passed, passedColumn{int32(next - 1), uint8(tag), int32(i)})
		}
		// Pass over the data.
		switch tag {
		case tagNull, tagFalse, tagTrue:
		case tagInt:
			first := i
			for i < len(b) && b[i] >= 0x80 {
				i++
			}
			i++
			if n := i - first; n >= binary.MaxVarintLen64 && i <= len(b) && (n > binary.MaxVarintLen64 || b[i-1] > 1) {
				return ErrCorrupt // more than 64 bits
			}
		case tagFloat:
			i += 8
		case tagUUID:
			i += 16
		case tagBytes, tagNumeric, tagOther:
			if i >= len(b) {
				return ErrCorrupt
			}
			size, n := uint64(b[i]), 1
			if size >= 0x80 {
				if size, n = binary.Uvarint(b[i:]); n <= 0 {
					return ErrCorrupt
				}
			}
			if size > uint64(len(b)) {
				return ErrCorrupt
			}
			i += n + int(size)
		default:
			return ErrCorrupt
		}
		if i > len(b) {
			return ErrCorrupt
		}
	}
	for ; next < end; next++ {
		out[d.cols[next].pos] = d.cols[next].def
	}
	l.at, l.id, l.next = i, id, next
	return nil
}

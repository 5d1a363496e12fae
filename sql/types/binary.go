package types

import (
	"encoding/binary"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
)

var be = binary.BigEndian

func appendBinary(buf []byte, d Datum, t *T, s *Settings) ([]byte, error) {
	switch d.kind {
	case KindBool:
		return append(buf, byte(d.n)), nil
	case KindInt:
		switch t.Size {
		case 2:
			return be.AppendUint16(buf, uint16(d.n)), nil
		case 4:
			return be.AppendUint32(buf, uint32(d.n)), nil
		}
		return be.AppendUint64(buf, uint64(d.n)), nil
	case KindFloat:
		if t.OID == OIDFloat4 {
			return be.AppendUint32(buf, math.Float32bits(float32(d.Float()))), nil
		}
		return be.AppendUint64(buf, math.Float64bits(d.Float())), nil
	case KindNumeric:
		return appendNumericBinary(buf, d.Numeric()), nil
	case KindString:
		if t.Hstore {
			return appendHstoreBinary(buf, d)
		}
		switch t.OID {
		case OIDXML:
			return append(buf, withoutPlainDeclaration(d.Str())...), nil
		case OIDBit, OIDVarBit:
			return appendBitsBinary(buf, d.Str()), nil
		case OIDInet, OIDCidr:
			return appendInetBinary(buf, d.Str(), t.OID == OIDCidr), nil
		case OIDMacaddr, OIDMacaddr8:
			return appendMacBinary(buf, d.Str()), nil
		case OIDJSONPath:
			buf = append(buf, 1)
		case OIDTSVector:
			return appendTSVectorBinary(buf, TSVectorOf(d)), nil
		case OIDTSQuery:
			return appendTSQueryBinary(buf, TSQueryOf(d)), nil
		case OIDTid:
			return appendTIDBinary(buf, d.Str())
		case OIDChar:
			return append(append(buf, d.Str()...), 0)[:len(buf)+1], nil // the empty one is a zero byte
		}
		if isShape(t.BaseType().OID) {
			return appendShapeBinary(buf, ShapeOf(d, t.BaseType().OID)), nil
		}
		return append(buf, d.Str()...), nil
	case KindBytes:
		return append(buf, d.Bytes()...), nil
	case KindDate:
		switch d.n {
		case DateInf:
			return be.AppendUint32(buf, math.MaxInt32), nil
		case DateNegInf:
			return be.AppendUint32(buf, 1<<31), nil
		}
		return be.AppendUint32(buf, uint32(d.n)), nil
	case KindTime, KindTimestamp, KindTimestampTZ:
		return be.AppendUint64(buf, uint64(d.n)), nil
	case KindTimeTZ:
		z := d.TimeTZ()
		return be.AppendUint32(be.AppendUint64(buf, uint64(z.Micros)), uint32(z.OffsetSecs)), nil
	case KindInterval:
		iv := d.Interval()
		buf = be.AppendUint64(buf, uint64(iv.Micros))
		buf = be.AppendUint32(buf, uint32(iv.Days))
		return be.AppendUint32(buf, uint32(iv.Months)), nil
	case KindUUID:
		return append(buf, d.UUID()[:]...), nil
	case KindJSON:
		return AppendJSON(append(buf, 1), d.JSON()), nil
	case KindArray:
		return appendArrayBinary(buf, d.Array(), t, s)
	case KindTuple:
		tu := d.Tuple()
		buf = be.AppendUint32(buf, uint32(len(tu.Elems)))
		for i, e := range tu.Elems {
			buf = be.AppendUint32(buf, uint32(tu.Types[i].OID))
			var err error
			if buf, err = appendSized(buf, e, tu.Types[i], s); err != nil {
				return nil, err
			}
		}
		return buf, nil
	case KindRange:
		return appendRangeBinary(buf, d.Range(), s)
	case KindMultirange:
		return appendMultirangeBinary(buf, d.Multirange(), s)
	}
	return nil, pgerr.New(pgerr.UndefinedFunction, "no binary output function available for type %s", TypeName(t))
}

// appendSized appends a length-prefixed value, -1 for NULL.
func appendSized(buf []byte, d Datum, t *T, s *Settings) ([]byte, error) {
	if d.IsNull() {
		return be.AppendUint32(buf, math.MaxUint32), nil
	}
	at := len(buf)
	buf, err := appendBinary(append(buf, 0, 0, 0, 0), d, t, s)
	if err != nil {
		return nil, err
	}
	be.PutUint32(buf[at:], uint32(len(buf)-at-4))
	return buf, nil
}

func appendArrayBinary(buf []byte, a *Array, t *T, s *Settings) ([]byte, error) {
	elem := a.Elem
	if elem == nil {
		elem = t.Elem
	}
	hasNull := uint32(0)
	for _, e := range a.Elems {
		if e.IsNull() {
			hasNull = 1
		}
	}
	dims := a.Dims
	if len(a.Elems) == 0 && t.OID != OIDInt2Vector && t.OID != OIDOidVector {
		dims = nil
	}
	buf = be.AppendUint32(buf, uint32(len(dims)))
	buf = be.AppendUint32(buf, hasNull)
	buf = be.AppendUint32(buf, uint32(elem.OID))
	for _, d := range dims {
		buf = be.AppendUint32(buf, uint32(d.Len))
		buf = be.AppendUint32(buf, uint32(d.Lower))
	}
	for _, e := range a.Elems {
		var err error
		if buf, err = appendSized(buf, e, elem, s); err != nil {
			return nil, err
		}
	}
	return buf, nil
}

// appendNumericBinary writes base-10000 digits: count, weight, sign, display scale, digits.
func appendNumericBinary(buf []byte, d *apd.Decimal) []byte {
	head := func(n, weight, sign, scale int) {
		buf = be.AppendUint16(buf, uint16(n))
		buf = be.AppendUint16(buf, uint16(weight))
		buf = be.AppendUint16(buf, uint16(sign))
		buf = be.AppendUint16(buf, uint16(scale))
	}
	switch {
	case isNaN(d):
		head(0, 0, 0xC000, 0)
		return buf
	case isInf(d) && d.Negative:
		head(0, 0, 0xF000, 0)
		return buf
	case isInf(d):
		head(0, 0, 0xD000, 0)
		return buf
	}
	scale := NumericScale(d)
	sign := 0
	if d.Negative {
		sign = 0x4000
	}
	if d.Coeff.Sign() == 0 {
		head(0, 0, 0, scale)
		return buf
	}
	var tmp [80]byte
	digits := d.Coeff.Append(tmp[:0], 10)
	before := len(digits) - scale // decimal digits before the point, may be negative
	weight := floorDiv(before-1, 4)
	lead := (weight+1)*4 - before // zeros in front of the first digit
	n := (lead + len(digits) + 3) / 4
	at := func(i int) int {
		if i < lead || i >= lead+len(digits) {
			return 0
		}
		return int(digits[i-lead] - '0')
	}
	group := func(g int) int {
		return ((at(g*4)*10+at(g*4+1))*10+at(g*4+2))*10 + at(g*4+3)
	}
	for n > 0 && group(n-1) == 0 {
		n--
	}
	head(n, weight, sign, scale)
	for g := range n {
		buf = be.AppendUint16(buf, uint16(group(g)))
	}
	return buf
}

func parseNumericBinary(b []byte) (*apd.Decimal, error) {
	bad := func(what string) error {
		return pgerr.New(pgerr.InvalidBinaryRepresentation, "invalid %s in external \"numeric\" value", what)
	}
	if len(b) < 8 {
		return nil, errShort()
	}
	n, weight := int(be.Uint16(b)), int(int16(be.Uint16(b[2:])))
	sign, scale := be.Uint16(b[4:]), int(be.Uint16(b[6:]))
	switch sign {
	case 0xC000:
		return NumericNaN, nil
	case 0xD000:
		return NumericInf, nil
	case 0xF000:
		return NumericNegInf, nil
	case 0, 0x4000:
	default:
		return nil, bad("sign")
	}
	if scale > 0x3fff {
		return nil, bad("scale")
	}
	if len(b) != 8+2*n {
		return nil, errShort()
	}
	digits := make([]byte, 0, n*4+8)
	for i := range n {
		g := be.Uint16(b[8+2*i:])
		if g > 9999 {
			return nil, bad("digit")
		}
		digits = append(digits, byte('0'+g/1000), byte('0'+g/100%10), byte('0'+g/10%10), byte('0'+g%10))
	}
	d := &apd.Decimal{Negative: sign == 0x4000}
	if n > 0 {
		c, ok := new(big.Int).SetString(string(digits), 10)
		if !ok {
			return nil, bad("digit")
		}
		d.Coeff.SetMathBigInt(c)
	}
	have := (n - 1 - weight) * 4 // scale of the digits as given
	if n == 0 {
		have = 0
	}
	if have < 0 {
		d.Coeff.SetMathBigInt(new(big.Int).Mul(d.Coeff.MathBigInt(), pow10(-have)))
		have = 0
	}
	d.Exponent = int32(-have)
	return checkNumeric(rescale(d, scale, false))
}

func errShort() error {
	return pgerr.New(pgerr.ProtocolViolation, "insufficient data left in message")
}

func errLength() error {
	return pgerr.New(pgerr.InvalidBinaryRepresentation, "incorrect binary data format")
}

func parseBinary(data []byte, t *T, s *Settings) (Datum, error) {
	fixed := func(n int) error {
		switch {
		case len(data) < n:
			return errShort()
		case len(data) > n:
			return errLength()
		}
		return nil
	}
	switch t.Kind {
	case KindBool:
		if err := fixed(1); err != nil {
			return Null, err
		}
		return NewBool(data[0] != 0), nil
	case KindInt:
		if err := fixed(int(t.Size)); err != nil {
			return Null, err
		}
		switch t.Size {
		case 2:
			return NewInt(int64(int16(be.Uint16(data)))), nil
		case 4:
			v := be.Uint32(data)
			if t.OID == OIDInt4 {
				return NewInt(int64(int32(v))), nil
			}
			return NewInt(int64(v)), nil
		}
		return NewInt(int64(be.Uint64(data))), nil
	case KindFloat:
		if err := fixed(int(t.Size)); err != nil {
			return Null, err
		}
		if t.Size == 4 {
			return NewFloat(float64(math.Float32frombits(be.Uint32(data)))), nil
		}
		return NewFloat(math.Float64frombits(be.Uint64(data))), nil
	case KindNumeric:
		n, err := parseNumericBinary(data)
		if err != nil {
			return Null, err
		}
		return NewNumeric(n), nil
	case KindString:
		if t.Hstore {
			return parseHstoreBinary(data, t)
		}
		switch t.OID {
		case OIDBit, OIDVarBit:
			return parseBitsBinary(data)
		case OIDInet, OIDCidr:
			return parseInetBinary(data, t)
		case OIDMacaddr, OIDMacaddr8:
			return parseMacBinary(data, t)
		case OIDTSVector:
			return parseTSVectorBinary(data, t)
		case OIDTSQuery:
			return parseTSQueryBinary(data, t)
		case OIDTid:
			if err := fixed(6); err != nil {
				return Null, err
			}
			return parseTIDBinary(data), nil
		case OIDChar:
			if err := fixed(1); err != nil {
				return Null, err
			}
			return NewString(strings.TrimSuffix(string(data), "\x00")), nil
		case OIDJSONPath:
			if len(data) == 0 || data[0] != 1 {
				return Null, pgerr.New(pgerr.InternalError, "unsupported jsonpath version number: %d", versionByte(data))
			}
			data = data[1:]
		}
		if isShape(t.BaseType().OID) {
			return parseShapeBinary(data, t.BaseType())
		}
		if err := checkText(data); err != nil {
			return Null, err
		}
		return parseStringKind(string(data), t, s)
	case KindBytes:
		return NewBytes(append([]byte(nil), data...)), nil
	case KindDate:
		if err := fixed(4); err != nil {
			return Null, err
		}
		v := int64(int32(be.Uint32(data)))
		switch {
		case v == math.MaxInt32:
			v = DateInf
		case v == math.MinInt32:
			v = DateNegInf
		case !ValidDate(v):
			return Null, ErrDateRange()
		}
		return NewDate(v), nil
	case KindTime:
		if err := fixed(8); err != nil {
			return Null, err
		}
		v := int64(be.Uint64(data))
		if v < 0 || v > microsPerDay {
			return Null, pgerr.New(pgerr.DatetimeFieldOverflow, "time out of range")
		}
		return NewTime(v), nil
	case KindTimeTZ:
		if err := fixed(12); err != nil {
			return Null, err
		}
		v, off := int64(be.Uint64(data)), int32(be.Uint32(data[8:]))
		if v < 0 || v > microsPerDay {
			return Null, pgerr.New(pgerr.DatetimeFieldOverflow, "time out of range")
		}
		if off <= -16*3600 || off >= 16*3600 {
			return Null, pgerr.New(pgerr.InvalidTimeZoneDisplacementValue, "time zone displacement out of range")
		}
		return NewTimeTZ(&TimeTZ{Micros: v, OffsetSecs: off}), nil
	case KindTimestamp, KindTimestampTZ:
		if err := fixed(8); err != nil {
			return Null, err
		}
		v := int64(be.Uint64(data))
		if !IsInfinite(v) && !ValidTimestamp(v) {
			return Null, ErrTimestampRange()
		}
		return Datum{kind: t.Kind, n: v}, nil
	case KindInterval:
		if err := fixed(16); err != nil {
			return Null, err
		}
		return NewInterval(&Interval{Micros: int64(be.Uint64(data)), Days: int32(be.Uint32(data[8:])), Months: int32(be.Uint32(data[12:]))}), nil
	case KindUUID:
		if err := fixed(16); err != nil {
			return Null, err
		}
		return NewUUID((*[16]byte)(append([]byte(nil), data...))), nil
	case KindJSON:
		if len(data) == 0 || data[0] != 1 {
			return Null, pgerr.New(pgerr.InternalError, "unsupported jsonb version number %d", versionByte(data))
		}
		if err := checkText(data[1:]); err != nil {
			return Null, err
		}
		j, err := ParseJSON(string(data[1:]))
		if err != nil {
			return Null, err
		}
		return NewJSON(j), nil
	case KindArray:
		return parseArrayBinary(data, t, s)
	case KindTuple:
		return parseTupleBinary(data, t, s)
	case KindRange:
		r, err := parseRangeBinary(data, t.BaseType(), s)
		return rangeDatum(r, err)
	case KindMultirange:
		m, err := parseMultirangeBinary(data, t.BaseType(), s)
		return multirangeDatum(m, err)
	}
	return Null, pgerr.New(pgerr.UndefinedFunction, "no binary input function available for type %s", TypeName(t))
}

func versionByte(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return int(b[0])
}

func checkText(b []byte) error {
	for i := 0; i < len(b); {
		if b[i] == 0 {
			return pgerr.New(pgerr.CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\": 0x00")
		}
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return pgerr.New(pgerr.CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\": 0x%02x", b[i])
		}
		i += n
	}
	return nil
}

func (s *Settings) typeByOID(oid OID) *T {
	if t := ByOID(oid); t != nil {
		return t
	}
	if s.Resolve != nil {
		return s.Resolve(oid)
	}
	return nil
}

func parseArrayBinary(data []byte, t *T, s *Settings) (Datum, error) {
	if len(data) < 12 {
		return Null, errShort()
	}
	ndim, flags, elemOID := int(int32(be.Uint32(data))), be.Uint32(data[4:]), OID(be.Uint32(data[8:]))
	data = data[12:]
	if ndim < 0 || flags > 1 {
		return Null, pgerr.New(pgerr.InvalidBinaryRepresentation, "invalid array flags or dimensions")
	}
	if ndim > maxDims {
		return Null, pgerr.New(pgerr.ProgramLimitExceeded, "number of array dimensions (%d) exceeds the maximum allowed (%d)", ndim, maxDims)
	}
	elem := t.Elem
	if elem == nil || elem.OID != elemOID {
		if elem != nil {
			return Null, pgerr.New(pgerr.DatatypeMismatch, "binary data has array element type %d (%s) instead of expected %d (%s)",
				elemOID, TypeNameOID(elemOID), elem.OID, TypeName(elem))
		}
		if elem = s.typeByOID(elemOID); elem == nil {
			return Null, pgerr.New(pgerr.DatatypeMismatch, "wrong element type")
		}
	}
	a := &Array{Elem: elem.WithTypmod(-1)}
	count := int64(1)
	for range ndim {
		if len(data) < 8 {
			return Null, errShort()
		}
		n, lo := int32(be.Uint32(data)), int32(be.Uint32(data[4:]))
		data = data[8:]
		if n < 0 || int64(n)+int64(lo) > math.MaxInt32 {
			return Null, pgerr.New(pgerr.ProgramLimitExceeded, "array size exceeds the maximum allowed (%d)", maxArraySize)
		}
		count *= int64(n)
		if count > maxArraySize {
			return Null, pgerr.New(pgerr.ProgramLimitExceeded, "array size exceeds the maximum allowed (%d)", maxArraySize)
		}
		a.Dims = append(a.Dims, ArrayDim{Len: n, Lower: lo})
	}
	if ndim == 0 {
		count = 0
	}
	if count == 0 {
		if t.OID != OIDInt2Vector && t.OID != OIDOidVector {
			a.Dims = nil
		}
	}
	for range count {
		d, rest, err := parseSized(data, elem, s)
		if err != nil {
			return Null, err
		}
		a.Elems, data = append(a.Elems, d), rest
	}
	if len(data) != 0 {
		return Null, errLength()
	}
	return NewArray(a), nil
}

func parseSized(data []byte, t *T, s *Settings) (Datum, []byte, error) {
	if len(data) < 4 {
		return Null, nil, errShort()
	}
	n := int32(be.Uint32(data))
	data = data[4:]
	if n == -1 {
		return Null, data, nil
	}
	if n < 0 || int(n) > len(data) {
		return Null, nil, errShort()
	}
	d, err := ParseBinary(data[:n], t, s)
	return d, data[n:], err
}

func parseTupleBinary(data []byte, t *T, s *Settings) (Datum, error) {
	if len(data) < 4 {
		return Null, errShort()
	}
	n := int(be.Uint32(data))
	data = data[4:]
	if n > 1664 || t.Def != nil && n != len(t.Def.Fields) {
		return Null, pgerr.New(pgerr.DatatypeMismatch, "wrong number of columns: %d", n)
	}
	tu := &Tuple{}
	for i := range n {
		if len(data) < 4 {
			return Null, errShort()
		}
		oid := OID(be.Uint32(data))
		ft := s.typeByOID(oid)
		if t.Def != nil {
			ft = t.Def.Fields[i].Type
			tu.Names = append(tu.Names, t.Def.Fields[i].Name)
		}
		if ft == nil || ft.OID != oid {
			return Null, pgerr.New(pgerr.DatatypeMismatch, "binary data has type %d for record column %d", oid, i+1)
		}
		d, rest, err := parseSized(data[4:], ft, s)
		if err != nil {
			return Null, err
		}
		data = rest
		tu.Elems, tu.Types = append(tu.Elems, d), append(tu.Types, ft)
	}
	if len(data) != 0 {
		return Null, errLength()
	}
	return NewTuple(tu), nil
}

package types

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/pgerr"
)

func appendText(buf []byte, d Datum, t *T, s *Settings) []byte {
	switch d.kind {
	case KindNull:
		return buf
	case KindBool:
		if d.n != 0 {
			return append(buf, 't')
		}
		return append(buf, 'f')
	case KindInt:
		switch {
		case t.OID == OIDXid8:
			return strconv.AppendUint(buf, uint64(d.n), 10)
		case t.OID == OIDPgLSN:
			return appendLSN(buf, uint64(d.n))
		case t.OID == OIDMoney:
			return appendMoney(buf, d.n)
		case isReg(t.OID):
			return appendReg(buf, uint32(d.n), t.OID, s)
		}
		return strconv.AppendInt(buf, d.n, 10)
	case KindFloat:
		return AppendFloat(buf, d.Float(), t.OID == OIDFloat4, s.ExtraFloatDigits)
	case KindNumeric:
		if d.p == nil {
			return appendSmall(buf, d.n, int(d.scale))
		}
		return AppendNumeric(buf, d.Numeric())
	case KindString:
		s := d.Str()
		if t.OID == OIDChar && s != "" && s[0] >= 0x80 {
			return append(buf, '\\', '0'+s[0]>>6, '0'+s[0]>>3&7, '0'+s[0]&7)
		}
		if t.OID == OIDTid {
			s = tidText(s)
		}
		if t.OID == OIDXML {
			s = withoutPlainDeclaration(s)
		}
		return append(buf, s...)
	case KindBytes:
		return appendBytea(buf, d.Bytes(), s.ByteaOutput)
	case KindDate:
		return appendDate(buf, d.n, s)
	case KindTime:
		return appendTime(buf, d.n)
	case KindTimeTZ:
		return appendTimeTZ(buf, d.TimeTZ())
	case KindTimestamp:
		return appendTimestamp(buf, d.n, s)
	case KindTimestampTZ:
		return appendTimestampTZ(buf, d.n, s)
	case KindInterval:
		return AppendInterval(buf, d.Interval(), s.IntervalStyle)
	case KindUUID:
		return appendUUID(buf, d.UUID())
	case KindJSON:
		return AppendJSON(buf, d.JSON())
	case KindArray:
		return appendArray(buf, d.Array(), t, s)
	case KindTuple:
		return appendTuple(buf, d.Tuple(), s)
	case KindRange:
		return appendRange(buf, d.Range(), s)
	case KindMultirange:
		return appendMultirange(buf, d.Multirange(), s)
	}
	return buf
}

func parseText(text string, t *T, s *Settings) (Datum, error) {
	switch t.Kind {
	case KindBool:
		b, ok := ParseBool(text)
		if !ok {
			return Null, badInput(t, text)
		}
		return NewBool(b), nil
	case KindInt:
		return parseIntKind(text, t, s)
	case KindFloat:
		return parseFloat(text, t)
	case KindNumeric:
		n, err := ParseNumeric(text)
		if err != nil {
			return Null, err
		}
		return NewNumeric(n), nil
	case KindString:
		return parseStringKind(text, t, s)
	case KindBytes:
		b, err := ParseBytea(text)
		if err != nil {
			return Null, err
		}
		return NewBytes(b), nil
	case KindDate:
		return parseDate(text, s)
	case KindTime:
		return parseTime(text, s)
	case KindTimeTZ:
		return parseTimeTZ(text, s)
	case KindTimestamp:
		return parseTimestamp(text, s)
	case KindTimestampTZ:
		return parseTimestampTZ(text, s)
	case KindInterval:
		iv, err := ParseInterval(text, t.Typmod, s)
		if err != nil {
			return Null, err
		}
		return NewInterval(iv), nil
	case KindUUID:
		return parseUUID(text, t)
	case KindJSON:
		j, err := ParseJSON(text)
		if err != nil {
			return Null, err
		}
		return NewJSON(j), nil
	case KindArray:
		return parseArray(text, t, s)
	case KindTuple:
		return parseTuple(text, t, s)
	case KindRange:
		r, err := parseRange(text, t.BaseType(), s)
		return rangeDatum(r, err)
	case KindMultirange:
		m, err := parseMultirange(text, t.BaseType(), s)
		return multirangeDatum(m, err)
	}
	return Null, pgerr.New(pgerr.FeatureNotSupported, "cannot accept a value of type %s", TypeName(t))
}

func badInput(t *T, text string) error {
	return pgerr.New(pgerr.InvalidTextRepresentation, "invalid input syntax for type %s: \"%s\"", TypeName(t), text)
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func trimSpace(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// ParseBool reads a boolean: unique prefixes of true, false, yes, no, and on, off, 1, 0.
func ParseBool(text string) (b, ok bool) {
	s := strings.ToLower(trimSpace(text))
	switch {
	case s == "":
		return false, false
	case strings.HasPrefix("true", s), strings.HasPrefix("yes", s), s == "on", s == "1":
		return true, true
	case strings.HasPrefix("false", s), strings.HasPrefix("no", s), s == "of", s == "off", s == "0":
		return false, true
	}
	return false, false
}

// strtoul reads a transaction id as the function of C does: decimal, 0x or octal with a sign, whatever follows it;
// nothing is zero.
func strtoul(text string) uint64 {
	s := trimSpace(text)
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	base := 10
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		base, s = 16, s[2:]
	} else if strings.HasPrefix(s, "0") {
		base = 8
	}
	n := 0
	for n < len(s) && strings.IndexByte("0123456789abcdef"[:base], s[n]|0x20) >= 0 {
		n++
	}
	v, err := strconv.ParseUint(s[:n], base, 64)
	if err == nil && neg {
		v = -v
	}
	return v
}

func parseIntKind(text string, t *T, s *Settings) (Datum, error) {
	switch t.OID {
	case OIDInt2:
		return parseInt(text, t, math.MinInt16, math.MaxInt16)
	case OIDInt4:
		return parseInt(text, t, math.MinInt32, math.MaxInt32)
	case OIDInt8:
		return parseInt(text, t, math.MinInt64, math.MaxInt64)
	case OIDXid, OIDCid:
		return NewInt(int64(uint32(strtoul(text)))), nil
	case OIDOid:
		return parseOID(text, t)
	case OIDXid8:
		return NewInt(int64(strtoul(text))), nil
	case OIDPgLSN:
		return parseLSN(text, t)
	case OIDMoney:
		return parseMoney(text, t)
	}
	if isReg(t.OID) {
		return parseReg(text, t, s)
	}
	return parseInt(text, t, math.MinInt64, math.MaxInt64)
}

func parseInt(text string, t *T, lo, hi int64) (Datum, error) {
	s := text
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	neg := false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		s = s[1:]
	}
	i := 0
	var n uint64
	overflow := false
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		if n > (math.MaxUint64-9)/10 {
			overflow = true
		} else {
			n = n*10 + uint64(s[i]-'0')
		}
	}
	if i == 0 || trimSpace(s[i:]) != "" {
		return Null, badInput(t, text)
	}
	limit := uint64(hi)
	if neg {
		limit = uint64(-(lo + 1)) + 1
	}
	if overflow || n > limit {
		return Null, pgerr.New(pgerr.NumericValueOutOfRange, "value \"%s\" is out of range for type %s", text, TypeName(t))
	}
	if neg {
		return NewInt(int64(-n)), nil
	}
	return NewInt(int64(n)), nil
}

// parseOID reads an unsigned 32-bit number; like oidin it takes negative numbers that fit in int4.
func parseOID(text string, t *T) (Datum, error) {
	s := trimSpace(text)
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		if e, ok := err.(*strconv.NumError); !ok || e.Err != strconv.ErrRange {
			return Null, badInput(t, text)
		}
		n = math.MaxInt64
	}
	if n > math.MaxUint32 || n < math.MinInt32 {
		return Null, pgerr.New(pgerr.NumericValueOutOfRange, "value \"%s\" is out of range for type %s", text, TypeName(t))
	}
	return NewInt(int64(uint32(n))), nil
}

// parseFloat follows strtod: hexadecimal aside, underflow to zero and overflow are errors.
func parseFloat(text string, t *T) (Datum, error) {
	s := trimSpace(text)
	bits := 64
	if t.OID == OIDFloat4 {
		bits = 32
	}
	switch strings.ToLower(s) {
	case "nan":
		return NewFloat(math.NaN()), nil
	case "infinity", "inf", "+infinity", "+inf":
		return NewFloat(math.Inf(1)), nil
	case "-infinity", "-inf":
		return NewFloat(math.Inf(-1)), nil
	}
	if s == "" || strings.ContainsAny(s, "_nNiI") {
		return Null, badInput(t, text)
	}
	f, err := strconv.ParseFloat(s, bits)
	if err != nil {
		if e, ok := err.(*strconv.NumError); !ok || e.Err != strconv.ErrRange {
			return Null, badInput(t, text)
		}
	}
	if math.IsInf(f, 0) || f == 0 && hasNonzeroMantissa(s) {
		return Null, pgerr.New(pgerr.NumericValueOutOfRange, "\"%s\" is out of range for type %s", s, TypeName(t))
	}
	return NewFloat(f), nil
}

func hasNonzeroMantissa(s string) bool {
	for i := 0; i < len(s) && s[i] != 'e' && s[i] != 'E'; i++ {
		if s[i] >= '1' && s[i] <= '9' {
			return true
		}
	}
	return false
}

// AppendFloat prints a float as float8out and float4out do under extra_float_digits.
func AppendFloat(buf []byte, f float64, single bool, extraDigits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(buf, "NaN"...)
	case math.IsInf(f, 1):
		return append(buf, "Infinity"...)
	case math.IsInf(f, -1):
		return append(buf, "-Infinity"...)
	}
	bits, digits, maxExp := 64, 15, 15
	if single {
		bits, digits, maxExp = 32, 6, 6
	}
	prec := -1
	if extraDigits <= 0 {
		prec = max(digits+extraDigits, 1)
		maxExp = prec
	}
	// Find the decimal exponent from the scientific form, then choose as %g does.
	var tmp [40]byte
	sci := strconv.AppendFloat(tmp[:0], f, 'e', max(prec-1, -1), bits)
	if prec > 0 {
		sci = strconv.AppendFloat(tmp[:0], f, 'e', prec-1, bits)
	}
	e := len(sci) - 1
	for sci[e] != 'e' {
		e--
	}
	exp, _ := strconv.Atoi(string(sci[e+1:]))
	mant := sci[:e]
	if prec > 0 {
		// %g removes trailing zeros.
		if i := indexByte(mant, '.'); i >= 0 {
			for mant[len(mant)-1] == '0' {
				mant = mant[:len(mant)-1]
			}
			if mant[len(mant)-1] == '.' {
				mant = mant[:len(mant)-1]
			}
		}
	}
	if exp < -4 || exp >= maxExp {
		buf = append(buf, mant...)
		buf = append(buf, 'e')
		if exp < 0 {
			buf = append(buf, '-')
			exp = -exp
		} else {
			buf = append(buf, '+')
		}
		if exp < 10 {
			buf = append(buf, '0')
		}
		return strconv.AppendInt(buf, int64(exp), 10)
	}
	neg := mant[0] == '-'
	if neg {
		buf = append(buf, '-')
		mant = mant[1:]
	}
	digitsOnly := append([]byte{mant[0]}, mant[min(2, len(mant)):]...)
	if exp < 0 {
		buf = append(buf, "0."...)
		for range -exp - 1 {
			buf = append(buf, '0')
		}
		return append(buf, digitsOnly...)
	}
	for i := range max(exp+1, len(digitsOnly)) {
		if i == exp+1 {
			buf = append(buf, '.')
		}
		if i < len(digitsOnly) {
			buf = append(buf, digitsOnly[i])
		} else {
			buf = append(buf, '0')
		}
	}
	return buf
}

func indexByte(b []byte, c byte) int {
	for i := range b {
		if b[i] == c {
			return i
		}
	}
	return -1
}

func parseStringKind(text string, t *T, s *Settings) (Datum, error) {
	if t.OID == oidPgSnapshot || t.OID == OIDTxidSnapshot {
		v, err := ParseTxnSnapshot(text)
		if err != nil {
			return Null, err
		}
		return NewString(v.String()), nil
	}
	if t.Hstore {
		h, err := ParseHstore(text)
		if err != nil {
			return Null, err
		}
		return h.Datum(), nil
	}
	switch t.OID {
	case OIDName:
		if len(text) > 63 {
			text = truncateUTF8(text, 63)
		}
	case OIDChar:
		if len(text) == 4 && text[0] == '\\' && isOctal(text[1]) && isOctal(text[2]) && isOctal(text[3]) {
			return NewString(string([]byte{(text[1]-'0')<<6 | (text[2]-'0')<<3 | (text[3] - '0')})), nil
		}
		if len(text) > 1 {
			text = text[:1]
		}
	case OIDJSON:
		if err := ValidateJSON(text); err != nil {
			return Null, err
		}
	case OIDJSONPath:
		p, err := ParsePath(text)
		if err != nil {
			return Null, err
		}
		return NewString(p.String()), nil
	case OIDTSVector:
		v, err := parseTSVector(text)
		if err != nil {
			return Null, err
		}
		return NewTSVectorDatum(v), nil
	case OIDTSQuery:
		q, err := ParseTSQuery(text, nil)
		if err != nil {
			return Null, err
		}
		return NewTSQueryDatum(q), nil
	case OIDBit, OIDVarBit:
		return parseBits(text)
	case OIDInet, OIDCidr:
		return parseInet(text, t)
	case OIDMacaddr, OIDMacaddr8:
		return parseMacaddr(text, t)
	case OIDTid:
		return parseTID(text, t)
	case OIDPoint, OIDLseg, OIDPath, OIDBox, OIDPolygon, OIDLine, OIDCircle:
		s, err := ParseShape(text, t)
		if err != nil {
			return Null, err
		}
		return NewShape(s), nil
	}
	if t.Class == 'e' && t.Def != nil {
		if enumIndex(t, text) < 0 {
			return Null, pgerr.New(pgerr.InvalidTextRepresentation, "invalid input value for enum %s: \"%s\"", t.Name, text)
		}
	}
	if t.Class == 'p' && t.OID != OIDUnknown && t.OID != OIDCstring && t.OID != OIDVoid {
		return Null, pgerr.New(pgerr.FeatureNotSupported, "cannot accept a value of type %s", TypeName(t))
	}
	return NewString(text), nil
}

func enumIndex(t *T, label string) int {
	for i, l := range t.Def.Labels {
		if l == label {
			return i
		}
	}
	return -1
}

// truncateUTF8 cuts s to at most n bytes without splitting a character.
func truncateUTF8(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func appendBytea(buf, b []byte, f ByteaFormat) []byte {
	if f == ByteaHex {
		buf = append(buf, '\\', 'x')
		return hex.AppendEncode(buf, b)
	}
	for _, c := range b {
		switch {
		case c == '\\':
			buf = append(buf, '\\', '\\')
		case c < 0x20 || c > 0x7e:
			buf = append(buf, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
		default:
			buf = append(buf, c)
		}
	}
	return buf
}

// ParseBytea reads either of bytea's two text formats.
func ParseBytea(text string) ([]byte, error) {
	if strings.HasPrefix(text, `\x`) {
		return ParseHex(text[2:])
	}
	bad := func() error { return pgerr.New(pgerr.InvalidTextRepresentation, "invalid input syntax for type bytea") }
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '\\':
			out = append(out, text[i])
		case i+1 < len(text) && text[i+1] == '\\':
			out = append(out, '\\')
			i++
		case i+3 < len(text) && text[i+1] >= '0' && text[i+1] <= '3' && isOctal(text[i+2]) && isOctal(text[i+3]):
			out = append(out, (text[i+1]-'0')<<6|(text[i+2]-'0')<<3|(text[i+3]-'0'))
			i += 3
		default:
			return nil, bad()
		}
	}
	return out, nil
}

func isOctal(c byte) bool { return c >= '0' && c <= '7' }

// ParseHex reads hexadecimal digits, white space between pairs allowed.
func ParseHex(text string) ([]byte, error) {
	out := make([]byte, 0, len(text)/2)
	for i := 0; i < len(text); {
		c := text[i]
		if c == ' ' || c == '\n' || c == '\t' || c == '\r' {
			i++
			continue
		}
		hi, ok := hexDigit(c)
		if !ok {
			return nil, badHex(text[i:])
		}
		if i+1 >= len(text) {
			return nil, pgerr.New(pgerr.InvalidParameterValue, "invalid hexadecimal data: odd number of digits")
		}
		lo, ok := hexDigit(text[i+1])
		if !ok {
			return nil, badHex(text[i+1:])
		}
		out = append(out, hi<<4|lo)
		i += 2
	}
	return out, nil
}

func badHex(rest string) error {
	_, n := utf8.DecodeRuneInString(rest)
	return pgerr.New(pgerr.InvalidParameterValue, "invalid hexadecimal digit: \"%s\"", rest[:n])
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func appendUUID(buf []byte, u *[16]byte) []byte {
	for i, n := range []int{4, 6, 8, 10, 16} {
		if i > 0 {
			buf = append(buf, '-')
		}
		from := []int{0, 4, 6, 8, 10}[i]
		buf = hex.AppendEncode(buf, u[from:n])
	}
	return buf
}

// parseUUID takes hyphens after any group of four digits and braces around the whole, as uuid_in does.
func parseUUID(text string, t *T) (Datum, error) {
	s := text
	if strings.HasPrefix(s, "{") {
		if !strings.HasSuffix(s, "}") {
			return Null, badInput(t, text)
		}
		s = s[1 : len(s)-1]
	}
	u := new([16]byte)
	for i := range 16 {
		if len(s) < 2 {
			return Null, badInput(t, text)
		}
		hi, ok1 := hexDigit(s[0])
		lo, ok2 := hexDigit(s[1])
		if !ok1 || !ok2 {
			return Null, badInput(t, text)
		}
		u[i] = hi<<4 | lo
		s = s[2:]
		if i%2 == 1 && i < 15 && s != "" && s[0] == '-' {
			s = s[1:]
		}
	}
	if s != "" {
		return Null, badInput(t, text)
	}
	return NewUUID(u), nil
}

func appendReg(buf []byte, oid uint32, typ OID, s *Settings) []byte {
	if oid == 0 {
		if typ == OIDRegoper || typ == OIDRegoperator {
			return append(buf, '0') // a minus is an operator
		}
		return append(buf, '-')
	}
	if s.Reg != nil {
		if name, ok := s.Reg.RegName(typ, oid); ok {
			return append(buf, name...)
		}
	}
	if typ == OIDRegtype {
		if t := ByOID(OID(oid)); t != nil {
			return append(buf, TypeName(t)...)
		}
	}
	return strconv.AppendUint(buf, uint64(oid), 10)
}

// IsOIDLike reports whether values of t are unsigned 32-bit object ids.
func IsOIDLike(t *T) bool {
	return t.OID == OIDOid || t.OID == OIDXid || t.OID == OIDCid || isReg(t.OID)
}

func parseReg(text string, t *T, s *Settings) (Datum, error) {
	if text == "-" {
		return NewInt(0), nil
	}
	if text != "" && strings.Trim(text, "0123456789") == "" {
		return parseOID(text, Oid)
	}
	if s.Reg != nil {
		oid, err := s.Reg.RegLookup(t.OID, text)
		if err != nil {
			return Null, err
		}
		return NewInt(int64(oid)), nil
	}
	if trimSpace(text) == "" {
		if t.OID == OIDRegtype {
			return Null, pgerr.New(pgerr.SyntaxError, "invalid type name \"%s\"", text)
		}
		return Null, pgerr.New(pgerr.InvalidName, "invalid name syntax")
	}
	if t.OID == OIDRegtype {
		typ, err := ParseTypeName(text)
		if err != nil {
			return Null, err
		}
		return NewInt(int64(typ.OID)), nil
	}
	return Null, pgerr.New(pgerr.UndefinedObject, "%s \"%s\" does not exist", strings.TrimPrefix(t.Name, "reg"), text)
}

// EnumOrder returns the sort order of an enum's label, EnumLabel the label with a sort order.

func EnumOrder(t *T, label string) (float32, bool) {
	i := enumIndex(t, label)
	switch {
	case i < 0:
		return 0, false
	case t.Def.Order != nil:
		return t.Def.Order[i], true
	}
	return float32(i + 1), true
}

func EnumLabel(t *T, order float32) (string, bool) {
	if t.Def.Order == nil {
		if i := int(order) - 1; i >= 0 && i < len(t.Def.Labels) && float32(i+1) == order {
			return t.Def.Labels[i], true
		}
		return "", false
	}
	for i, o := range t.Def.Order {
		if o == order {
			return t.Def.Labels[i], true
		}
	}
	return "", false
}

// InetKey splits an address for key encoding: the whole address, masked network and prefix length.
func InetKey(s string) (network, addr []byte, bits int) {
	p := inetPrefix(s)
	return p.Masked().Addr().AsSlice(), p.Addr().AsSlice(), p.Bits()
}

// InetFromKey is the inverse of InetKey.
func InetFromKey(addr []byte, bits int, t *T) (Datum, error) {
	head := []byte{2, byte(bits), 0, byte(len(addr))}
	return parseInetBinary(append(head, addr...), t)
}

// IsEnum reports whether t is an enum.
func (t *T) IsEnum() bool { return t.Class == 'e' && t.Def != nil }

// IntervalKey is the value by which intervals compare, as whole days and microseconds of a day.
func IntervalKey(iv *Interval) (days, micros int64) { return intervalCmpValue(iv) }

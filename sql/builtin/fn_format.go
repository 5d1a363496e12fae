package builtin

import (
	"math"
	"strconv"
	"strings"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// numFormat is a parsed number template (to_char, to_number).
type numFormat struct {
	nodes                             []formatNode
	pre, post, multi                  int
	zeroStart, zeroEnd, preLsign      int
	lsign                             lsignKind
	decimal, zero, blank, fill, minus bool
	plus, bracket, roman, eeee        bool
	hasLsign                          bool
}

type lsignKind uint8

const (
	lsignNone lsignKind = iota
	lsignPre
	lsignPost
)

// formatNode is a keyword, or literal text when key is "".
type formatNode struct {
	key, text string
	suffix    string // th or TH of a date keyword
	fm        bool
	quoted    bool // text that stood between double quotes
}

var numKeywords = []string{",", ".", "0", "9", "B", "C", "D", "EEEE", "FM", "G", "L", "MI", "PL", "PR", "RN", "SG", "SP", "S", "TH", "V"}

// splitFormat cuts a template into keywords and literals; match returns the length of the keyword at the
// start of its argument, 0 for none.
func splitFormat(f string, match func(s string) int) []formatNode {
	var out []formatNode
	literal := func(s string, quoted bool) { out = append(out, formatNode{text: s, quoted: quoted}) }
	for i := 0; i < len(f); {
		if n := match(f[i:]); n > 0 {
			out = append(out, formatNode{key: f[i : i+n]})
			i += n
			continue
		}
		switch {
		case f[i] == '"':
			i++
			for i < len(f) && f[i] != '"' {
				if f[i] == '\\' && i+1 < len(f) {
					i++
				}
				n := runeLen(f[i:])
				literal(f[i:i+n], true)
				i += n
			}
			i++
		default:
			if f[i] == '\\' && i+1 < len(f) && f[i+1] == '"' {
				i++
			}
			n := runeLen(f[i:])
			literal(f[i:i+n], false)
			i += n
		}
	}
	return out
}

func runeLen(s string) int {
	for i := range s {
		if i > 0 {
			return i
		}
	}
	return len(s)
}

func parseNumFormat(f string) (*numFormat, error) {
	n := &numFormat{}
	n.nodes = splitFormat(f, func(s string) int {
		for _, k := range numKeywords {
			if len(s) >= len(k) && (s[:len(k)] == k || s[:len(k)] == strings.ToLower(k)) {
				return len(k)
			}
		}
		return 0
	})
	bad := func(msg string) error { return pgerr.New(pgerr.SyntaxError, "%s", msg) }
	for _, node := range n.nodes {
		if node.key == "" {
			continue
		}
		k := strings.ToUpper(node.key)
		if n.eeee && k != "EEEE" {
			return nil, bad("\"EEEE\" must be the last pattern used")
		}
		switch k {
		case "9":
			if n.bracket {
				return nil, bad("\"9\" must be ahead of \"PR\"")
			}
			switch {
			case n.multi > 0 || n.hasMulti():
				n.multi++
			case n.decimal:
				n.post++
			default:
				n.pre++
			}
		case "0":
			if n.bracket {
				return nil, bad("\"0\" must be ahead of \"PR\"")
			}
			if !n.zero && !n.decimal {
				n.zero = true
				n.zeroStart = n.pre + 1
			}
			if n.decimal {
				n.post++
			} else {
				n.pre++
			}
			n.zeroEnd = n.pre + n.post
		case "B":
			if n.pre == 0 && n.post == 0 && !n.zero {
				n.blank = true
			}
		case "D", ".":
			if n.decimal {
				return nil, bad("multiple decimal points")
			}
			if n.hasMulti() {
				return nil, bad("cannot use \"V\" and decimal point together")
			}
			n.decimal = true
		case "FM":
			n.fill = true
		case "S":
			if n.hasLsign {
				return nil, bad("cannot use \"S\" twice")
			}
			if n.plus || n.minus || n.bracket {
				return nil, bad("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together")
			}
			if !n.decimal {
				n.lsign, n.preLsign, n.hasLsign = lsignPre, n.pre, true
			} else {
				n.lsign, n.hasLsign = lsignPost, true
			}
		case "MI", "PL", "SG":
			if n.hasLsign {
				return nil, bad("cannot use \"S\" and \"" + k + "\" together")
			}
			n.minus = n.minus || k != "PL"
			n.plus = n.plus || k != "MI"
		case "PR":
			if n.hasLsign || n.plus || n.minus {
				return nil, bad("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together")
			}
			n.bracket = true
		case "RN":
			n.roman = true
		case "V":
			if n.decimal {
				return nil, bad("cannot use \"V\" and decimal point together")
			}
			n.multi |= multiSeen
		case "EEEE":
			if n.eeee {
				return nil, bad("cannot use \"EEEE\" twice")
			}
			if n.blank || n.fill || n.hasLsign || n.bracket || n.minus || n.plus || n.roman || n.hasMulti() {
				return nil, pgerr.New(pgerr.SyntaxError, "\"EEEE\" is incompatible with other formats").
					WithDetail("\"EEEE\" may only be used together with digit and decimal point patterns.")
			}
			n.eeee = true
		}
	}
	return n, nil
}

// multiSeen marks in numFormat.multi that V occurred; the low bits count the digits after it.
const multiSeen = 1 << 20

func (n *numFormat) hasMulti() bool { return n.multi&multiSeen != 0 }
func (n *numFormat) shift() int     { return n.multi &^ multiSeen }

// numWriter fills a template with a number.
type numWriter struct {
	*numFormat
	out                   []byte
	number                string
	pos                   int // in number
	sign                  byte
	signWritten           bool
	count, preSpaces, cur int
	numIn                 bool
	last                  int // last relevant digit, -1 for none
}

// format writes a number given as digits with a point, and its sign.
func (n *numFormat) format(number string, sign byte, preSpaces int) string {
	f := *n
	w := &numWriter{numFormat: &f, number: number, sign: sign, preSpaces: preSpaces, last: -1}
	if w.zeroStart > 0 {
		w.zeroStart--
	}
	if w.plus || w.minus {
		w.signWritten = !(w.plus && !w.minus)
	} else {
		if sign != '-' && w.fill {
			w.bracket = false
		}
		w.signWritten = sign == '+' && w.fill && !w.hasLsign
		if w.lsign == lsignPre && w.pre == w.preLsign {
			w.lsign = lsignPost
		}
	}
	if w.roman {
		w.pre, w.post, w.decimal, w.hasLsign, w.bracket = 0, 0, false, false, false
	}
	w.count = w.post + w.pre - 1
	if w.fill && w.decimal {
		if p := strings.IndexByte(number, '.'); p >= 0 {
			w.last = p
			for i := p + 1; i < len(number); i++ {
				if number[i] != '0' {
					w.last = i
				}
			}
			if w.zeroEnd > w.preSpaces {
				w.last = max(w.last, min(len(number)-1, w.zeroEnd-w.preSpaces))
			}
		}
	}
	if !w.signWritten && w.preSpaces == 0 {
		w.count++
	}
	for _, node := range w.nodes {
		w.node(node)
	}
	return string(w.out)
}

func (w *numWriter) node(node formatNode) {
	put := func(s string) { w.out = append(w.out, s...) }
	blank := func(s string) {
		if !w.fill {
			put(s)
		}
	}
	switch strings.ToUpper(node.key) {
	case "":
		put(node.text)
	case "9", "0", ".", "D":
		w.digit(node.key)
	case ",", "G":
		if w.numIn {
			put(",")
		} else {
			blank(" ")
		}
	case "L":
		put(" ")
	case "RN":
		s := w.number
		if !w.fill {
			s = strings.Repeat(" ", max(0, 15-len(s))) + s
		}
		if node.key == "rn" {
			s = strings.ToLower(s)
		}
		put(s)
	case "TH":
		if w.roman || strings.HasPrefix(w.number, "#") || w.sign == '-' || w.decimal {
			return
		}
		put(ordinal(w.number, node.key == "TH"))
	case "MI":
		if w.sign == '-' {
			put("-")
		} else {
			blank(" ")
		}
	case "PL":
		if w.sign == '+' {
			put("+")
		} else {
			blank(" ")
		}
	case "SG":
		put(string(w.sign))
	}
}

func (w *numWriter) at(i int) byte {
	if i < len(w.number) {
		return w.number[i]
	}
	return 0
}

// predecSpace: the zero before the point of 0.x is not printed.
func (w *numWriter) predecSpace() bool {
	return !w.zero && w.pos == 0 && w.at(0) == '0' && w.post != 0
}

func (w *numWriter) digit(key string) {
	if w.roman {
		return
	}
	w.numIn = false
	signText := func() string {
		if w.sign == '-' {
			return "-"
		}
		return "+"
	}
	lastIsPoint := w.last >= 0 && w.at(w.last) == '.'
	if !w.signWritten && (w.cur >= w.preSpaces || w.zero && w.zeroStart == w.cur) && (!w.predecSpace() || lastIsPoint) {
		switch {
		case w.hasLsign:
			if w.lsign == lsignPre {
				w.out = append(w.out, signText()...)
				w.signWritten = true
			}
		case w.bracket:
			if w.sign == '+' {
				w.out = append(w.out, ' ')
			} else {
				w.out = append(w.out, '<')
			}
			w.signWritten = true
		case w.sign == '+':
			if !w.fill {
				w.out = append(w.out, ' ')
			}
			w.signWritten = true
		default:
			w.out = append(w.out, '-')
			w.signWritten = true
		}
	}
	switch {
	case w.cur < w.preSpaces && (w.zeroStart > w.cur || !w.zero):
		if !w.fill {
			w.out = append(w.out, ' ')
		}
	case w.zero && w.cur < w.preSpaces && w.zeroStart <= w.cur:
		w.out = append(w.out, '0')
		w.numIn = true
	default:
		switch c := w.at(w.pos); {
		case c == '.':
			w.out = append(w.out, '.')
		case w.last >= 0 && w.pos > w.last && key != "0":
		case w.predecSpace():
			if !w.fill {
				w.out = append(w.out, ' ')
			} else if lastIsPoint {
				w.out = append(w.out, '0')
			}
		case c != 0:
			w.out = append(w.out, c)
			w.numIn = true
		}
		if w.pos < len(w.number) {
			w.pos++
		}
	}
	end := w.count
	if w.preSpaces > 0 {
		end++
	}
	if w.decimal {
		end++
	}
	if w.last >= 0 && w.last == w.pos {
		end = w.cur
	}
	if w.cur+1 == end {
		if w.signWritten && w.bracket {
			if w.sign == '+' {
				w.out = append(w.out, ' ')
			} else {
				w.out = append(w.out, '>')
			}
		} else if w.hasLsign && w.lsign == lsignPost {
			w.out = append(w.out, signText()...)
		}
	}
	w.cur++
}

func ordinal(digits string, upper bool) string {
	s := "th"
	if n := len(digits); n > 0 && !(n > 1 && digits[n-2] == '1') {
		switch digits[n-1] {
		case '1':
			s = "st"
		case '2':
			s = "nd"
		case '3':
			s = "rd"
		}
	}
	if upper {
		return strings.ToUpper(s)
	}
	return s
}

func romanNumeral(v int64) string {
	if v > 3999 || v < 1 {
		return strings.Repeat("#", 15)
	}
	var b strings.Builder
	for _, d := range []struct {
		v int64
		s string
	}{{1000, "M"}, {900, "CM"}, {500, "D"}, {400, "CD"}, {100, "C"}, {90, "XC"}, {50, "L"}, {40, "XL"}, {10, "X"}, {9, "IX"}, {5, "V"}, {4, "IV"}, {1, "I"}} {
		for v >= d.v {
			b.WriteString(d.s)
			v -= d.v
		}
	}
	return b.String()
}

// fit prepares the digits for a template: the number of blanks before them, or # signs if they do not fit.
func (n *numFormat) fit(digits string) (string, int) {
	pre := strings.IndexByte(digits, '.')
	if pre < 0 {
		pre = len(digits)
	}
	switch {
	case pre < n.pre:
		return digits, n.pre - pre
	case pre > n.pre:
		return strings.Repeat("#", n.pre) + "." + strings.Repeat("#", n.post), 0
	}
	return digits, 0
}

func (n *numFormat) numeric(d *apd.Decimal) (string, error) {
	switch {
	case n.roman:
		if !finite(d) {
			what := "infinity"
			if d.Form == apd.NaN {
				what = "NaN"
			}
			return "", pgerr.Unsupported("cannot convert %s to integer", what)
		}
		v, ok := types.NumericToInt64(d)
		if !ok {
			v = -1
		}
		return n.format(romanNumeral(v), '+', 0), nil
	case n.eeee:
		if !finite(d) {
			return " " + strings.Repeat("#", n.pre) + "." + strings.Repeat("#", n.post+4), nil
		}
		return n.scientific(d), nil
	}
	if n.hasMulti() {
		f := apd.New(1, 0)
		for range n.shift() {
			f, _ = types.NumericMul(f, apd.New(10, 0))
		}
		var err error
		if d, err = types.NumericMul(d, f); err != nil {
			return "", err
		}
		n.pre += n.shift()
	}
	s := types.NumericString(types.NumericRound(d, n.post))
	sign := byte('+')
	if strings.HasPrefix(s, "-") {
		sign, s = '-', s[1:]
	}
	digits, spaces := n.fit(s)
	return n.format(digits, sign, spaces), nil
}

// scientific is the EEEE format.
func (n *numFormat) scientific(d *apd.Decimal) string {
	sign := " "
	if d.Negative {
		sign = "-"
	}
	exp := 0
	a := types.NumericAbs(d)
	if a.Sign() != 0 {
		exp = int(a.NumDigits()) + int(a.Exponent) - 1
	}
	mant := new(apd.Decimal)
	mant.Set(a)
	mant.Exponent = a.Exponent - int32(exp)
	if mant.Exponent > 0 {
		mant = types.NumericRound(mant, 0)
	}
	m := types.NumericString(types.NumericRound(mant, n.post))
	e := "e+"
	if exp < 0 {
		e, exp = "e-", -exp
	}
	if exp < 10 {
		e += "0"
	}
	return sign + m + e + strconv.Itoa(exp)
}

func (n *numFormat) integer(v int64, wide bool) (string, error) {
	switch {
	case n.roman:
		return n.format(romanNumeral(v), '+', 0), nil
	case n.eeee && wide:
		return n.scientific(apd.New(v, 0)), nil
	case n.eeee:
		return n.float(float64(v), 15)
	case n.hasMulti():
		return n.numeric(apd.New(v, 0))
	}
	s := strconv.FormatInt(v, 10)
	sign := byte('+')
	if v < 0 {
		sign, s = '-', s[1:]
	}
	if n.post > 0 {
		s += "." + strings.Repeat("0", n.post)
	}
	digits, spaces := n.fit(s)
	return n.format(digits, sign, spaces), nil
}

func (n *numFormat) float(v float64, digits int) (string, error) {
	special := math.IsNaN(v) || math.IsInf(v, 0)
	switch {
	case n.roman:
		r := int64(-1)
		if !special && math.Abs(v) < 1e9 {
			r = int64(math.RoundToEven(v))
		}
		return n.format(romanNumeral(r), '+', 0), nil
	case n.eeee && special:
		return " " + strings.Repeat("#", n.pre) + "." + strings.Repeat("#", n.post+4), nil
	case n.eeee:
		s := strconv.FormatFloat(v, 'e', n.post, 64)
		if v >= 0 {
			s = " " + s
		}
		return s, nil
	}
	if n.hasMulti() {
		v *= math.Pow10(n.shift())
		n.pre += n.shift()
	}
	pre := len(strconv.FormatFloat(math.Abs(v), 'f', 0, 64))
	post := n.post
	if pre >= digits {
		post = 0
	} else if pre+post > digits {
		post = digits - pre
	}
	n.post = post
	s := strconv.FormatFloat(v, 'f', post, 64)
	switch {
	case math.IsNaN(v):
		s = "NaN"
	case math.IsInf(v, 0):
		s = strings.TrimSuffix(strconv.FormatFloat(v, 'f', -1, 64), "")
		s = strings.Replace(strings.TrimPrefix(s, "+"), "Inf", "Infinity", 1)
	}
	sign := byte('+')
	if strings.HasPrefix(s, "-") {
		sign, s = '-', s[1:]
	}
	d, spaces := n.fit(s)
	return n.format(d, sign, spaces), nil
}

func registerFormat(l library) {
	num := func(f func(n *numFormat, d types.Datum) (string, error)) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			if a[1].Str() == "" {
				return types.NewString(""), nil
			}
			n, err := parseNumFormat(a[1].Str())
			if err != nil {
				return types.Null, err
			}
			return str(f(n, a[0]))
		}
	}
	l.fn("numeric_to_char", num(func(n *numFormat, d types.Datum) (string, error) { return n.numeric(d.Numeric()) }))
	l.fn("int4_to_char", num(func(n *numFormat, d types.Datum) (string, error) { return n.integer(d.Int(), false) }))
	l.fn("int8_to_char", num(func(n *numFormat, d types.Datum) (string, error) { return n.integer(d.Int(), true) }))
	l.fn("float8_to_char", num(func(n *numFormat, d types.Datum) (string, error) { return n.float(d.Float(), 15) }))
	l.fn("float4_to_char", num(func(n *numFormat, d types.Datum) (string, error) { return n.float(d.Float(), 6) }))
	l.fn("numeric_to_number", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[1].Str() == "" {
			return types.Null, nil
		}
		n, err := parseNumFormat(a[1].Str())
		if err != nil {
			return types.Null, err
		}
		return numericResult(n.parse(a[0].Str()))
	})
	registerDateFormat(l)
}

// parse is to_number.
func (n *numFormat) parse(s string) (*apd.Decimal, error) {
	if n.eeee {
		return nil, pgerr.Unsupported("\"EEEE\" not supported for input")
	}
	if n.roman {
		return nil, pgerr.Unsupported("\"RN\" not supported for input")
	}
	var digits []byte
	neg, point := false, false
	i := 0
	skipSign := func() {
		for i < len(s) && s[i] == ' ' {
			i++
		}
		if i < len(s) && (s[i] == '-' || s[i] == '+' || n.bracket && s[i] == '<') {
			neg = neg || s[i] != '+'
			i++
		}
	}
	for _, node := range n.nodes {
		if i >= len(s) {
			break
		}
		switch k := strings.ToUpper(node.key); k {
		case "9", "0", "D", ".":
			if len(digits) == 0 {
				skipSign()
			}
			if i >= len(s) {
				break
			}
			switch c := s[i]; {
			case c >= '0' && c <= '9' && k != "D" && k != ".":
				digits = append(digits, c)
				i++
			case c == '.' && !point && n.decimal:
				digits = append(digits, '.')
				point = true
				i++
				if k != "D" && k != "." && i < len(s) && s[i] >= '0' && s[i] <= '9' {
					digits = append(digits, s[i])
					i++
				}
			}
		case ",", "G":
			if i < len(s) && s[i] == ',' {
				i++
			}
		case "S", "MI", "PL", "SG", "PR":
			skipSign()
		case "L", "":
			if k == "" || s[i] == '$' {
				i += runeLen(s[i:])
			}
		case "TH":
			i = min(i+2, len(s))
		}
	}
	if i < len(s) && (s[i] == '-' && (n.hasLsign || n.minus)) {
		neg = true
	}
	text := string(digits)
	if text == "" || text == "." {
		return nil, pgerr.New(pgerr.InvalidTextRepresentation, "invalid input syntax for type numeric: \"%s\"", " "+text)
	}
	if neg {
		text = "-" + text
	}
	d, err := types.ParseNumeric(text)
	if err != nil {
		return nil, err
	}
	if n.hasMulti() {
		return types.NumericDiv(d, types.NumericFromBig(bigPow10(n.shift()), 0))
	}
	return d, nil
}

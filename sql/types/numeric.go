package types

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// A numeric is an apd.Decimal whose Exponent is never positive: minus the exponent is PostgreSQL's display
// scale. Zero is never negative. The functions here never change their operands.

const (
	numMinSigDigits    = 16
	numMaxDisplayScale = 1000
	numMaxResultScale  = 2000
	numMaxDigits       = 131072 // before the decimal point
	numMaxScale        = 16383
)

var (
	NumericNaN    = &apd.Decimal{Form: apd.NaN}
	NumericInf    = &apd.Decimal{Form: apd.Infinite}
	NumericNegInf = &apd.Decimal{Form: apd.Infinite, Negative: true}
	NumericZero   = apd.New(0, 0)
	NumericOne    = apd.New(1, 0)
)

func errNumericOverflow() error {
	return pgerr.New(pgerr.NumericValueOutOfRange, "value overflows numeric format")
}

// ErrDivisionByZero is division_by_zero.
func ErrDivisionByZero() error { return pgerr.New(pgerr.DivisionByZero, "division by zero") }

// NumericScale is the display scale of a finite numeric.
func NumericScale(d *apd.Decimal) int { return int(-d.Exponent) }

// NumericFromInt returns i with scale 0.
func NumericFromInt(i int64) *apd.Decimal { return apd.New(i, 0) }

// NumericFromBig returns i times 10^-scale, taking over i.
func NumericFromBig(i *big.Int, scale int) *apd.Decimal {
	d := &apd.Decimal{Exponent: int32(-scale), Negative: i.Sign() < 0}
	d.Coeff.SetMathBigInt(i.Abs(i))
	return d
}

// bigCoeff returns the signed coefficient as a new big.Int.
func bigCoeff(d *apd.Decimal) *big.Int {
	b := new(big.Int).Set(d.Coeff.MathBigInt())
	if d.Negative {
		b.Neg(b)
	}
	return b
}

var pow10Cache = func() (p [40]*big.Int) {
	for i := range p {
		p[i] = new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(i)), nil)
	}
	return p
}()

// pow10 returns 10^n, which must not be changed.
func pow10(n int) *big.Int {
	if n < len(pow10Cache) {
		return pow10Cache[n]
	}
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// checkNumeric enforces the format's limits and removes the sign of zero.
func checkNumeric(d *apd.Decimal) (*apd.Decimal, error) {
	if d.Form != apd.Finite {
		return d, nil
	}
	if d.Coeff.Sign() == 0 {
		d.Negative = false
		return d, nil
	}
	if d.Coeff.IsUint64() {
		return d, nil
	}
	if int(d.NumDigits())+int(d.Exponent) > numMaxDigits {
		return nil, errNumericOverflow()
	}
	return d, nil
}

// ParseNumeric reads a numeric as numeric_in does.
func ParseNumeric(text string) (*apd.Decimal, error) {
	bad := func() error {
		return pgerr.New(pgerr.InvalidTextRepresentation, "invalid input syntax for type numeric: \"%s\"", text)
	}
	s := trimSpace(text)
	if s == "" {
		return nil, bad()
	}
	switch strings.ToLower(s) {
	case "nan":
		return NumericNaN, nil
	case "inf", "+inf", "infinity", "+infinity":
		return NumericInf, nil
	case "-inf", "-infinity":
		return NumericNegInf, nil
	}
	neg := false
	i := 0
	if s[0] == '+' || s[0] == '-' {
		neg = s[0] == '-'
		i = 1
	}
	start, dot, digits := i, -1, 0
	var small uint64
	for ; i < len(s); i++ {
		if c := s[i]; c >= '0' && c <= '9' {
			digits++
			small = small*10 + uint64(c-'0')
		} else if c == '.' && dot < 0 {
			dot = i
		} else {
			break
		}
	}
	end := i
	if digits == 0 {
		return nil, bad()
	}
	scale := 0
	if dot >= 0 {
		scale = end - dot - 1
	}
	if i < len(s) {
		if s[i] != 'e' && s[i] != 'E' {
			return nil, bad()
		}
		e := s[i+1:]
		if e == "" || (e[0] < '0' || e[0] > '9') && (len(e) == 1 || e[0] != '+' && e[0] != '-' || e[1] < '0' || e[1] > '9') {
			return nil, bad()
		}
		n, err := strconv.Atoi(e)
		if err != nil {
			if strings.Trim(e[1:], "0123456789") != "" {
				return nil, bad()
			}
			return nil, errNumericOverflow()
		}
		if n > math.MaxInt32/2 || n < -math.MaxInt32/2 {
			return nil, errNumericOverflow()
		}
		scale -= n
	}
	d := &apd.Decimal{Negative: neg}
	if digits <= 19 {
		d.Coeff.SetUint64(small)
	} else {
		text := s[start:end]
		if dot >= 0 {
			text = s[start:dot] + s[dot+1:end]
		}
		d.Coeff.SetString(text, 10)
	}
	if scale > numMaxScale {
		return nil, errNumericOverflow()
	}
	if scale < 0 {
		if d.Coeff.Sign() != 0 {
			if digits-scale > numMaxDigits+digits {
				return nil, errNumericOverflow()
			}
			d.Coeff.SetMathBigInt(new(big.Int).Mul(d.Coeff.MathBigInt(), pow10(-scale)))
		}
		scale = 0
	}
	d.Exponent = int32(-scale)
	return checkNumeric(d)
}

// AppendNumeric appends a numeric's text with all digits of its scale.
func AppendNumeric(buf []byte, d *apd.Decimal) []byte {
	switch d.Form {
	case apd.NaN, apd.NaNSignaling:
		return append(buf, "NaN"...)
	case apd.Infinite:
		if d.Negative {
			return append(buf, "-Infinity"...)
		}
		return append(buf, "Infinity"...)
	}
	if d.Negative {
		buf = append(buf, '-')
	}
	start := len(buf)
	buf = d.Coeff.Append(buf, 10)
	scale := int(-d.Exponent)
	if scale <= 0 {
		return buf
	}
	n := len(buf) - start
	if n <= scale {
		pad := scale - n + 1
		for range pad {
			buf = append(buf, '0')
		}
		copy(buf[start+pad:], buf[start:start+n])
		for i := range pad {
			buf[start+i] = '0'
		}
		n += pad
	}
	buf = append(buf, 0)
	copy(buf[start+n-scale+1:], buf[start+n-scale:start+n])
	buf[start+n-scale] = '.'
	return buf
}

// NumericString is AppendNumeric as a string.
func NumericString(d *apd.Decimal) string { return string(AppendNumeric(nil, d)) }

// CompareNumeric orders numerics as PostgreSQL does: NaN equals itself and is above infinity.
func CompareNumeric(a, b *apd.Decimal) int {
	ra, rb := numRank(a), numRank(b)
	if ra != rb {
		return ra - rb
	}
	if ra != 0 {
		return 0
	}
	if a.Exponent == b.Exponent {
		c := a.Coeff.Cmp(&b.Coeff)
		switch {
		case a.Negative != b.Negative:
			return a.Sign() - b.Sign()
		case a.Negative:
			return -c
		}
		return c
	}
	return a.Cmp(b)
}

func numRank(d *apd.Decimal) int {
	switch d.Form {
	case apd.NaN, apd.NaNSignaling:
		return 2
	case apd.Infinite:
		if d.Negative {
			return -1
		}
		return 1
	}
	return 0
}

func isNaN(d *apd.Decimal) bool { return d.Form == apd.NaN || d.Form == apd.NaNSignaling }
func isInf(d *apd.Decimal) bool { return d.Form == apd.Infinite }

func infinity(neg bool) *apd.Decimal {
	if neg {
		return NumericNegInf
	}
	return NumericInf
}

// NumericAdd returns a+b at the larger of the scales.
func NumericAdd(a, b *apd.Decimal) (*apd.Decimal, error) {
	switch {
	case isNaN(a) || isNaN(b):
		return NumericNaN, nil
	case isInf(a):
		if isInf(b) && a.Negative != b.Negative {
			return NumericNaN, nil
		}
		return a, nil
	case isInf(b):
		return b, nil
	}
	r := new(apd.Decimal)
	if _, err := apd.BaseContext.Add(r, a, b); err != nil {
		return nil, errNumericOverflow()
	}
	return checkNumeric(r)
}

// NumericSub returns a-b at the larger of the scales.
func NumericSub(a, b *apd.Decimal) (*apd.Decimal, error) {
	switch {
	case isNaN(a) || isNaN(b):
		return NumericNaN, nil
	case isInf(a):
		if isInf(b) && a.Negative == b.Negative {
			return NumericNaN, nil
		}
		return a, nil
	case isInf(b):
		return infinity(!b.Negative), nil
	}
	r := new(apd.Decimal)
	if _, err := apd.BaseContext.Sub(r, a, b); err != nil {
		return nil, errNumericOverflow()
	}
	return checkNumeric(r)
}

// NumericMul returns a*b at the sum of the scales.
func NumericMul(a, b *apd.Decimal) (*apd.Decimal, error) {
	switch {
	case isNaN(a) || isNaN(b):
		return NumericNaN, nil
	case isInf(a) || isInf(b):
		if a.Sign() == 0 && !isInf(a) || b.Sign() == 0 && !isInf(b) {
			return NumericNaN, nil
		}
		return infinity(a.Negative != b.Negative), nil
	}
	r := new(apd.Decimal)
	r.Coeff.Mul(&a.Coeff, &b.Coeff)
	r.Exponent, r.Negative = a.Exponent+b.Exponent, a.Negative != b.Negative
	if -r.Exponent > numMaxScale {
		r = NumericRound(r, numMaxScale)
	}
	return checkNumeric(r)
}

// nbaseWeight returns the weight of the first nonzero base-10000 digit and that digit.
func nbaseWeight(d *apd.Decimal) (weight, first int) {
	if d.Coeff.Sign() == 0 {
		return 0, 0
	}
	n := int(d.NumDigits())
	adj := n + int(d.Exponent) - 1
	weight = floorDiv(adj, 4)
	k := adj - 4*weight + 1
	if n >= k {
		if d.Coeff.IsUint64() {
			v := d.Coeff.Uint64()
			for range n - k {
				v /= 10
			}
			return weight, int(v)
		}
		return weight, int(new(big.Int).Quo(d.Coeff.MathBigInt(), pow10(n-k)).Int64())
	}
	v := d.Coeff.Uint64()
	for range k - n {
		v *= 10
	}
	return weight, int(v)
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

// divScale is select_div_scale: at least 16 significant digits, and no less than either operand's scale.
func divScale(a, b *apd.Decimal) int {
	w1, f1 := nbaseWeight(a)
	w2, f2 := nbaseWeight(b)
	qw := w1 - w2
	if f1 <= f2 {
		qw--
	}
	scale := numMinSigDigits - qw*4
	return clampScale(max(scale, NumericScale(a), NumericScale(b)))
}

func clampScale(s int) int { return min(max(s, 0), numMaxDisplayScale) }

// NumericDiv returns a/b at the scale PostgreSQL chooses.
func NumericDiv(a, b *apd.Decimal) (*apd.Decimal, error) {
	if d, done, err := divSpecial(a, b); done {
		return d, err
	}
	return divFinite(a, b, divScale(a, b), true)
}

// divSpecial handles NaN, infinity and zero divisors.
func divSpecial(a, b *apd.Decimal) (*apd.Decimal, bool, error) {
	switch {
	case isNaN(a) || isNaN(b):
		return NumericNaN, true, nil
	case isInf(a):
		if isInf(b) {
			return NumericNaN, true, nil
		}
		if b.Sign() == 0 {
			return nil, true, ErrDivisionByZero()
		}
		return infinity(a.Negative != b.Negative), true, nil
	case isInf(b):
		return NumericZero, true, nil
	case b.Coeff.Sign() == 0:
		return nil, true, ErrDivisionByZero()
	}
	return nil, false, nil
}

// divFinite divides at a given scale, rounding half away from zero or truncating.
func divFinite(a, b *apd.Decimal, scale int, round bool) (*apd.Decimal, error) {
	// a = ca*10^-sa, b = cb*10^-sb; the quotient's coefficient is ca*10^(scale-sa+sb)/cb.
	shift := scale - NumericScale(a) + NumericScale(b)
	num, den := a.Coeff.MathBigInt(), b.Coeff.MathBigInt()
	if shift >= 0 {
		num = new(big.Int).Mul(num, pow10(shift))
	} else {
		den = new(big.Int).Mul(den, pow10(-shift))
	}
	q, r := new(big.Int).QuoRem(num, den, new(big.Int))
	if round && r.Lsh(r, 1).Cmp(den) >= 0 {
		q.Add(q, big.NewInt(1))
	}
	d := NumericFromBig(q, scale)
	d.Negative = a.Negative != b.Negative
	return checkNumeric(d)
}

// NumericDivTrunc is div(a, b): the integer quotient.
func NumericDivTrunc(a, b *apd.Decimal) (*apd.Decimal, error) {
	if d, done, err := divSpecial(a, b); done {
		return d, err
	}
	return divFinite(a, b, 0, false)
}

// NumericMod is a - b*div(a,b).
func NumericMod(a, b *apd.Decimal) (*apd.Decimal, error) {
	switch {
	case isNaN(a) || isNaN(b):
		return NumericNaN, nil
	case isInf(a):
		if b.Form == apd.Finite && b.Coeff.Sign() == 0 {
			return nil, ErrDivisionByZero()
		}
		return NumericNaN, nil
	case isInf(b):
		return a, nil
	case b.Coeff.Sign() == 0:
		return nil, ErrDivisionByZero()
	}
	scale := max(NumericScale(a), NumericScale(b))
	ca, cb := a.Coeff.MathBigInt(), b.Coeff.MathBigInt()
	if s := scale - NumericScale(a); s > 0 {
		ca = new(big.Int).Mul(ca, pow10(s))
	}
	if s := scale - NumericScale(b); s > 0 {
		cb = new(big.Int).Mul(cb, pow10(s))
	}
	d := NumericFromBig(new(big.Int).Rem(ca, cb), scale)
	d.Negative = a.Negative
	return checkNumeric(d)
}

// NumericNeg returns -d.
func NumericNeg(d *apd.Decimal) *apd.Decimal {
	if isNaN(d) {
		return d
	}
	if isInf(d) {
		return infinity(!d.Negative)
	}
	if d.Coeff.Sign() == 0 {
		return d
	}
	r := new(apd.Decimal)
	r.Set(d)
	r.Negative = !d.Negative
	return r
}

// NumericAbs returns |d|.
func NumericAbs(d *apd.Decimal) *apd.Decimal {
	if d.Negative {
		return NumericNeg(d)
	}
	return d
}

// NumericRound rounds half away from zero to a scale, which may be negative; the result's display scale is
// max(scale, 0).
func NumericRound(d *apd.Decimal, scale int) *apd.Decimal { return rescale(d, scale, true) }

// NumericTrunc truncates towards zero to a scale.
func NumericTrunc(d *apd.Decimal, scale int) *apd.Decimal { return rescale(d, scale, false) }

func rescale(d *apd.Decimal, scale int, round bool) *apd.Decimal {
	if d.Form != apd.Finite || NumericScale(d) == scale {
		return d
	}
	cur := NumericScale(d)
	if scale > cur {
		r := &apd.Decimal{Negative: d.Negative, Exponent: int32(-scale)}
		r.Coeff.SetMathBigInt(new(big.Int).Mul(d.Coeff.MathBigInt(), pow10(scale-cur)))
		return r
	}
	drop := cur - scale
	if int64(drop) > d.NumDigits()+1 {
		return apd.New(0, int32(min(0, -scale)))
	}
	div := pow10(drop)
	q, rem := new(big.Int).QuoRem(d.Coeff.MathBigInt(), div, new(big.Int))
	if round && rem.Lsh(rem, 1).Cmp(div) >= 0 {
		q.Add(q, big.NewInt(1))
	}
	if scale < 0 {
		q.Mul(q, pow10(-scale))
		scale = 0
	}
	r := NumericFromBig(q, scale)
	r.Negative = d.Negative && r.Coeff.Sign() != 0
	return r
}

// NumericCeil and NumericFloor return integers of scale 0.
func NumericCeil(d *apd.Decimal) *apd.Decimal  { return roundTowards(d, false) }
func NumericFloor(d *apd.Decimal) *apd.Decimal { return roundTowards(d, true) }

func roundTowards(d *apd.Decimal, down bool) *apd.Decimal {
	if d.Form != apd.Finite {
		return d
	}
	t := NumericTrunc(d, 0)
	if CompareNumeric(t, d) != 0 && d.Negative == down {
		one := NumericOne
		if down {
			one = apd.New(-1, 0)
		}
		t, _ = NumericAdd(t, one)
	}
	return t
}

// NumericToInt64 rounds d to an integer, false if it does not fit (NaN and infinity do not).
func NumericToInt64(d *apd.Decimal) (int64, bool) {
	if d.Form != apd.Finite {
		return 0, false
	}
	r := NumericRound(d, 0)
	b := bigCoeff(r)
	if !b.IsInt64() {
		return 0, false
	}
	return b.Int64(), true
}

// NumericToFloat returns the nearest float64, infinite when out of range.
func NumericToFloat(d *apd.Decimal) float64 {
	switch {
	case isNaN(d):
		return math.NaN()
	case isInf(d):
		if d.Negative {
			return math.Inf(-1)
		}
		return math.Inf(1)
	}
	var a [64]byte
	f, _ := strconv.ParseFloat(string(AppendNumeric(a[:0], d)), 64)
	return f
}

// NumericFromFloat converts with the digits a float type guarantees: 15 for float8, 6 for float4.
func NumericFromFloat(f float64, digits int) (*apd.Decimal, error) {
	switch {
	case math.IsNaN(f):
		return NumericNaN, nil
	case math.IsInf(f, 0):
		return infinity(f < 0), nil
	}
	d, err := ParseNumeric(strconv.FormatFloat(f, 'g', digits, 64))
	if err != nil {
		return nil, err
	}
	// %.15g drops trailing zeros; ParseNumeric kept what FormatFloat printed.
	return trimScale(d), nil
}

func trimScale(d *apd.Decimal) *apd.Decimal {
	if d.Form != apd.Finite || d.Exponent >= 0 {
		return d
	}
	if d.Coeff.Sign() == 0 {
		return NumericZero
	}
	if z := min(trailingZeros(d), int(-d.Exponent)); z > 0 {
		return rescale(d, int(-d.Exponent)-z, false)
	}
	return d
}

// trailingZeros counts the zeros at the end of the coefficient. It prints the number once: dividing by ten
// until a remainder shows would take quadratic time in the thousands of digits a numeric may have.
func trailingZeros(d *apd.Decimal) int {
	var tmp [64]byte
	b := d.Coeff.Append(tmp[:0], 10)
	n := 0
	for n < len(b)-1 && b[len(b)-1-n] == '0' {
		n++
	}
	return n
}

// NumericTrimScale removes trailing zeros after the point.
func NumericTrimScale(d *apd.Decimal) *apd.Decimal { return trimScale(d) }

// ApplyNumericTypmod rounds to the modifier's scale and checks its precision.
func ApplyNumericTypmod(d *apd.Decimal, typmod int32) (*apd.Decimal, error) {
	if typmod < 0 || isNaN(d) {
		return d, nil
	}
	p, s := NumericTypmod(typmod)
	if isInf(d) {
		return nil, pgerr.New(pgerr.NumericValueOutOfRange, "numeric field overflow").
			WithDetail("A field with precision %d, scale %d cannot hold an infinite value.", p, s)
	}
	r := NumericRound(d, s)
	if r.Coeff.Sign() != 0 {
		before := int(r.NumDigits()) + int(r.Exponent)
		if before > p-s {
			exp := "1"
			if p-s > 0 {
				exp = "10^" + strconv.Itoa(p-s)
			} else if p-s < 0 {
				exp = "10^" + strconv.Itoa(p-s)
			}
			return nil, pgerr.New(pgerr.NumericValueOutOfRange, "numeric field overflow").
				WithDetail("A field with precision %d, scale %d must round to an absolute value less than %s.", p, s, exp)
		}
	}
	return r, nil
}

package types

import (
	"math"
	"math/bits"
	"strconv"

	"github.com/cockroachdb/apd/v3"
)

// Most numerics fit in 64 bits. A Datum holds such a one by itself, as a coefficient and a scale, so that reading
// and adding up columns of them allocates nothing. The operations here say ok only when the result fits as well;
// then it is what the general ones give. The coefficient math.MinInt64 is never used, so that all may be negated.

// maxSmallScale is the largest scale of a numeric that a Datum holds by itself.
const maxSmallScale = 1000

// SmallNumeric makes coeff * 10^-scale; scale is between 0 and 1000, coeff not math.MinInt64.
func SmallNumeric(coeff int64, scale int) Datum {
	return Datum{kind: KindNumeric, n: coeff, scale: uint16(scale)}
}

// SmallNumeric returns the coefficient and scale of a numeric that the datum holds by itself.
func (d Datum) SmallNumeric() (coeff int64, scale int, ok bool) {
	return d.n, int(d.scale), d.kind == KindNumeric && d.p == nil
}

// smallOf returns d as a datum by itself if it can be one.
func smallOf(d *apd.Decimal) (Datum, bool) {
	if d.Form != apd.Finite || d.Exponent > 0 || d.Exponent < -maxSmallScale || !d.Coeff.IsInt64() {
		return Datum{}, false
	}
	c := d.Coeff.Int64()
	if d.Negative {
		c = -c
	}
	return SmallNumeric(c, int(-d.Exponent)), c != math.MinInt64
}

// largeOf is the general form of a numeric held by a datum itself.
func largeOf(coeff int64, scale int) *apd.Decimal { return apd.New(coeff, int32(-scale)) }

var smallPow10 = func() (p [19]int64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// scaleUp multiplies by 10^n.
func scaleUp(c int64, n int) (int64, bool) {
	if n == 0 {
		return c, true
	}
	if n >= len(smallPow10) {
		return 0, c == 0
	}
	return mulSmall(c, smallPow10[n])
}

func mulSmall(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	hi, lo := bits.Mul64(absU(a), absU(b))
	if hi != 0 || lo > math.MaxInt64 {
		return 0, false
	}
	if (a < 0) != (b < 0) {
		return -int64(lo), true
	}
	return int64(lo), true
}

func absU(a int64) uint64 {
	if a < 0 {
		return uint64(-a)
	}
	return uint64(a)
}

func addSmall(a, b int64) (int64, bool) {
	s := a + b
	if (s > a) != (b > 0) || s == math.MinInt64 {
		return s, b == 0
	}
	return s, true
}

// align brings two small numerics to one scale.
func align(a, b Datum) (x, y int64, scale int, ok bool) {
	x, y, scale = a.n, b.n, int(a.scale)
	switch {
	case a.scale == b.scale:
		return x, y, scale, true
	case a.scale < b.scale:
		scale = int(b.scale)
		x, ok = scaleUp(x, scale-int(a.scale))
	default:
		y, ok = scaleUp(y, scale-int(b.scale))
	}
	return x, y, scale, ok
}

func bothSmall(a, b Datum) bool {
	return a.kind == KindNumeric && b.kind == KindNumeric && a.p == nil && b.p == nil
}

// AddSmallNumerics returns a+b if both and the sum are held by datums themselves.
func AddSmallNumerics(a, b Datum) (Datum, bool) {
	if !bothSmall(a, b) {
		return Datum{}, false
	}
	x, y, scale, ok := align(a, b)
	if !ok {
		return Datum{}, false
	}
	s, ok := addSmall(x, y)
	return SmallNumeric(s, scale), ok
}

// SubSmallNumerics is AddSmallNumerics for a-b.
func SubSmallNumerics(a, b Datum) (Datum, bool) {
	if b.kind != KindNumeric || b.p != nil {
		return Datum{}, false
	}
	b.n = -b.n
	return AddSmallNumerics(a, b)
}

// MulSmallNumerics is AddSmallNumerics for a*b.
func MulSmallNumerics(a, b Datum) (Datum, bool) {
	if !bothSmall(a, b) || int(a.scale)+int(b.scale) > maxSmallScale {
		return Datum{}, false
	}
	p, ok := mulSmall(a.n, b.n)
	return SmallNumeric(p, int(a.scale)+int(b.scale)), ok
}

// compareNumerics orders two numeric datums.
func compareNumerics(a, b Datum) int {
	if a.p == nil && b.p == nil {
		if x, y, _, ok := align(a, b); ok {
			return cmp64(x, y)
		}
	}
	return CompareNumeric(a.Numeric(), b.Numeric())
}

// hashSmall is hashNumeric of a numeric that the datum holds by itself.
func hashSmall(seed uint64, d Datum) uint64 {
	c, e := absU(d.n), -int32(d.scale)
	for c != 0 && c%10 == 0 {
		c /= 10
		e++
	}
	if c == 0 {
		e = 0
	}
	if d.n < 0 {
		e ^= 1 << 20
	}
	return mix(mix(seed, c), uint64(e))
}

// appendSmall is AppendNumeric of one.
func appendSmall(buf []byte, coeff int64, scale int) []byte {
	if scale == 0 {
		return strconv.AppendInt(buf, coeff, 10)
	}
	if scale >= len(smallPow10) {
		return AppendNumeric(buf, largeOf(coeff, scale))
	}
	if coeff < 0 {
		buf = append(buf, '-')
	}
	u, p := absU(coeff), uint64(smallPow10[scale])
	buf = strconv.AppendUint(buf, u/p, 10)
	buf = append(buf, '.')
	frac := u % p
	for i := scale - 1; i > 0 && frac < uint64(smallPow10[i]); i-- {
		buf = append(buf, '0')
	}
	return strconv.AppendUint(buf, frac, 10)
}

// fitsTypmod reports whether a small numeric is unchanged by a modifier: it has its scale and fits its precision.
func fitsTypmod(d Datum, typmod int32) bool {
	p, s := NumericTypmod(typmod)
	if s != int(d.scale) {
		return false
	}
	return p >= len(smallPow10) || absU(d.n) < uint64(smallPow10[p])
}

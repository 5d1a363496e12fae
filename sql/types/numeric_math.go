package types

import (
	"math"
	"math/big"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// The functions of this file return results rounded at the scale PostgreSQL chooses, computed with some
// spare digits by apd.

const ln10 = 2.302585092994046

func apdContext(digits int) *apd.Context {
	c := apd.BaseContext.WithPrecision(uint32(max(digits, 20)))
	c.Rounding = apd.RoundHalfUp
	c.MaxExponent, c.MinExponent = apd.MaxExponent, apd.MinExponent
	return c
}

// fromAPD rounds an apd result to a scale.
func fromAPD(r *apd.Decimal, scale int) (*apd.Decimal, error) {
	if r.Form != apd.Finite {
		return nil, errNumericOverflow()
	}
	if r.Exponent > 0 {
		if int(r.NumDigits())+int(r.Exponent) > numMaxDigits {
			return nil, errNumericOverflow()
		}
		x := NumericFromBig(new(big.Int).Mul(r.Coeff.MathBigInt(), pow10(int(r.Exponent))), 0)
		x.Negative = r.Negative
		r = x
	}
	return checkNumeric(NumericRound(r, scale))
}

// NumericSqrt is sqrt(d).
func NumericSqrt(d *apd.Decimal) (*apd.Decimal, error) {
	if isNaN(d) {
		return d, nil
	}
	if d.Negative {
		return nil, pgerr.New(pgerr.InvalidArgumentForPowerFunction, "cannot take square root of a negative number")
	}
	if isInf(d) {
		return d, nil
	}
	w, _ := nbaseWeight(d)
	sweight := (w+1)*4/2 - 1
	if w < 0 {
		sweight = -((-(w+1)*4 + 1) / 2) - 1
	}
	scale := clampScale(max(numMinSigDigits-sweight, NumericScale(d)))
	// One digit more than asked, so that rounding sees it.
	shift := 2*(scale+1) - NumericScale(d)
	c := new(big.Int)
	if shift >= 0 {
		c.Mul(d.Coeff.MathBigInt(), pow10(shift))
	} else {
		c.Quo(d.Coeff.MathBigInt(), pow10(-shift))
	}
	return checkNumeric(NumericRound(NumericFromBig(c.Sqrt(c), scale+1), scale))
}

// lnWeight is estimate_ln_dweight: the decimal weight of ln(d).
func lnWeight(d *apd.Decimal) int {
	if d.Coeff.Sign() <= 0 || d.Negative {
		return 0
	}
	if CompareNumeric(d, apd.New(9, -1)) >= 0 && CompareNumeric(d, apd.New(11, -1)) <= 0 {
		x, _ := NumericSub(d, NumericOne)
		if x.Coeff.Sign() == 0 {
			return 0
		}
		w, first := nbaseWeight(x)
		return w*4 + int(math.Log10(float64(first)))
	}
	n := int(d.NumDigits())
	lead := new(big.Int).Set(d.Coeff.MathBigInt())
	drop := max(0, n-15)
	lead.Quo(lead, pow10(drop))
	f, _ := new(big.Float).SetInt(lead).Float64()
	ln := math.Log(f) + float64(int(d.Exponent)+drop)*ln10
	return int(math.Log10(math.Abs(ln)))
}

// NumericLn is ln(d).
func NumericLn(d *apd.Decimal) (*apd.Decimal, error) {
	if err := logDomain(d); err != nil {
		return nil, err
	}
	if d.Form != apd.Finite {
		return d, nil
	}
	scale := clampScale(max(numMinSigDigits-lnWeight(d), NumericScale(d)))
	r := new(apd.Decimal)
	if _, err := apdContext(scale+lnWeight(d)+15).Ln(r, d); err != nil {
		return nil, errNumericOverflow()
	}
	return fromAPD(r, scale)
}

func logDomain(d *apd.Decimal) error {
	if isNaN(d) {
		return nil
	}
	if d.Negative {
		return pgerr.New(pgerr.InvalidArgumentForLog, "cannot take logarithm of a negative number")
	}
	if d.Form == apd.Finite && d.Coeff.Sign() == 0 {
		return pgerr.New(pgerr.InvalidArgumentForLog, "cannot take logarithm of zero")
	}
	return nil
}

// NumericLog is log(base, num).
func NumericLog(base, num *apd.Decimal) (*apd.Decimal, error) {
	if isNaN(base) || isNaN(num) {
		return NumericNaN, nil
	}
	if err := logDomain(base); err != nil {
		return nil, err
	}
	if err := logDomain(num); err != nil {
		return nil, err
	}
	switch {
	case isInf(base):
		if isInf(num) {
			return NumericNaN, nil
		}
		return NumericZero, nil
	case isInf(num):
		return NumericInf, nil
	}
	bw, nw := lnWeight(base), lnWeight(num)
	scale := clampScale(max(numMinSigDigits-(nw-bw), NumericScale(base), NumericScale(num)))
	prec := scale + max(nw, 0) + max(bw, 0) + max(-bw, 0) + 20
	c := apdContext(prec)
	lb, ln := new(apd.Decimal), new(apd.Decimal)
	if _, err := c.Ln(lb, base); err != nil {
		return nil, errNumericOverflow()
	}
	if _, err := c.Ln(ln, num); err != nil {
		return nil, errNumericOverflow()
	}
	if lb.Sign() == 0 {
		return nil, ErrDivisionByZero()
	}
	r := new(apd.Decimal)
	if _, err := c.Quo(r, ln, lb); err != nil {
		return nil, errNumericOverflow()
	}
	return fromAPD(r, scale)
}

// NumericExp is exp(d).
func NumericExp(d *apd.Decimal) (*apd.Decimal, error) {
	if isNaN(d) {
		return d, nil
	}
	if isInf(d) {
		if d.Negative {
			return NumericZero, nil
		}
		return d, nil
	}
	val := NumericToFloat(d) / ln10
	if val > numMaxDigits {
		return nil, errNumericOverflow()
	}
	if math.Abs(val)*ln10 >= numMaxResultScale*3 {
		if val > 0 {
			return nil, errNumericOverflow()
		}
		return apd.New(0, -numMaxDisplayScale), nil
	}
	val = min(max(val, -numMaxResultScale), numMaxResultScale)
	scale := clampScale(max(numMinSigDigits-int(val), NumericScale(d)))
	r, err := expDigits(d, scale+int(max(val, 0))+15)
	if err != nil {
		return nil, err
	}
	return fromAPD(r, scale)
}

func expDigits(d *apd.Decimal, digits int) (*apd.Decimal, error) {
	r := new(apd.Decimal)
	if _, err := apdContext(digits).Exp(r, d); err != nil {
		return nil, errNumericOverflow()
	}
	return r, nil
}

// NumericPower is base^exp.
func NumericPower(base, exp *apd.Decimal) (*apd.Decimal, error) {
	if base.Form != apd.Finite || exp.Form != apd.Finite {
		return powerSpecial(base, exp)
	}
	expInt := CompareNumeric(NumericTrunc(exp, 0), exp) == 0
	if base.Coeff.Sign() == 0 && exp.Negative {
		return nil, pgerr.New(pgerr.InvalidArgumentForPowerFunction, "zero raised to a negative power is undefined")
	}
	if base.Negative && !expInt {
		return nil, pgerr.New(pgerr.InvalidArgumentForPowerFunction, "a negative number raised to a non-integer power yields a complex result")
	}
	if expInt {
		if e, ok := NumericToInt64(exp); ok && e >= math.MinInt32 && e <= math.MaxInt32 {
			scale := clampScale(max(numMinSigDigits, NumericScale(base), NumericScale(exp)))
			return powerInt(base, e, scale)
		}
	}
	if base.Coeff.Sign() == 0 {
		return apd.New(0, -numMinSigDigits), nil
	}
	abs := NumericAbs(base)
	lw := lnWeight(abs)
	low := clampScale(8 - lw)
	ln := new(apd.Decimal)
	if _, err := apdContext(low+max(lw, 0)+10).Ln(ln, abs); err != nil {
		return nil, errNumericOverflow()
	}
	val := NumericToFloat(exp)
	lf, _ := ln.Float64()
	val *= lf
	if math.Abs(val) > numMaxResultScale*3.01 {
		if val > 0 {
			return nil, errNumericOverflow()
		}
		return apd.New(0, -numMaxDisplayScale), nil
	}
	val *= 0.434294481903252
	scale := clampScale(max(numMinSigDigits-int(val), NumericScale(base), NumericScale(exp)))
	digits := scale + int(math.Abs(val)) + 25
	c := apdContext(digits)
	if _, err := c.Ln(ln, abs); err != nil {
		return nil, errNumericOverflow()
	}
	prod := new(apd.Decimal)
	if _, err := c.Mul(prod, ln, exp); err != nil {
		return nil, errNumericOverflow()
	}
	r, err := expDigits(prod, digits)
	if err != nil {
		return nil, err
	}
	if base.Negative && expInt {
		if half := new(big.Int).Mod(NumericTrunc(exp, 0).Coeff.MathBigInt(), big.NewInt(2)); half.Sign() != 0 {
			r.Negative = true
		}
	}
	return fromAPD(r, scale)
}

func powerInt(base *apd.Decimal, e int64, scale int) (*apd.Decimal, error) {
	switch e {
	case 0:
		return NumericRound(NumericOne, scale), nil
	case 1:
		return checkNumeric(NumericRound(base, scale))
	case -1:
		return divFinite(NumericOne, base, scale, true)
	}
	if base.Coeff.Sign() == 0 {
		return apd.New(0, int32(-scale)), nil
	}
	// The decimal weight of the result decides overflow, underflow and the digits needed.
	lead := new(apd.Decimal)
	if _, err := apdContext(20).Ln(lead, NumericAbs(base)); err != nil {
		return nil, errNumericOverflow()
	}
	lf, _ := lead.Float64()
	w := lf * float64(e) / ln10
	if w > numMaxDigits {
		return nil, errNumericOverflow()
	}
	if w < float64(-scale-1) {
		return apd.New(0, int32(-scale)), nil
	}
	c := apdContext(scale + int(math.Abs(w)) + 20 + int(math.Log10(math.Abs(float64(e)))+1))
	n := e
	if n < 0 {
		n = -n
	}
	result, sq := apd.New(1, 0), new(apd.Decimal)
	sq.Set(base)
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			if _, err := c.Mul(result, result, sq); err != nil {
				return nil, errNumericOverflow()
			}
		}
		if n > 1 {
			if _, err := c.Mul(sq, sq, sq); err != nil {
				return nil, errNumericOverflow()
			}
		}
	}
	if e < 0 {
		if _, err := c.Quo(result, NumericOne, result); err != nil {
			return nil, errNumericOverflow()
		}
	}
	return fromAPD(result, scale)
}

func powerSpecial(base, exp *apd.Decimal) (*apd.Decimal, error) {
	one, zero := NumericOne, NumericZero
	finite := func(d *apd.Decimal) bool { return d.Form == apd.Finite }
	switch {
	case isNaN(base):
		if finite(exp) && exp.Sign() == 0 {
			return one, nil
		}
		return NumericNaN, nil
	case isNaN(exp):
		if finite(base) && CompareNumeric(base, one) == 0 {
			return one, nil
		}
		return NumericNaN, nil
	}
	if finite(base) && base.Sign() == 0 && exp.Negative {
		return nil, pgerr.New(pgerr.InvalidArgumentForPowerFunction, "zero raised to a negative power is undefined")
	}
	if isInf(exp) {
		c := 0
		if isInf(base) {
			c = 1
		} else {
			c = CompareNumeric(NumericAbs(base), one)
		}
		switch {
		case c == 0:
			return one, nil
		case (c > 0) == !exp.Negative:
			return NumericInf, nil
		}
		return zero, nil
	}
	// base is infinite
	expInt := CompareNumeric(NumericTrunc(exp, 0), exp) == 0
	switch {
	case exp.Sign() == 0:
		return one, nil
	case exp.Negative:
		if base.Negative && !expInt {
			return nil, pgerr.New(pgerr.InvalidArgumentForPowerFunction, "a negative number raised to a non-integer power yields a complex result")
		}
		return zero, nil
	case !base.Negative:
		return NumericInf, nil
	case !expInt:
		return nil, pgerr.New(pgerr.InvalidArgumentForPowerFunction, "a negative number raised to a non-integer power yields a complex result")
	}
	odd := new(big.Int).Mod(NumericTrunc(exp, 0).Coeff.MathBigInt(), big.NewInt(2)).Sign() != 0
	return infinity(odd), nil
}

// NumericSqrtScale is the square root of a non-negative finite d at a given scale.
func NumericSqrtScale(d *apd.Decimal, scale int) (*apd.Decimal, error) {
	shift := 2*(scale+1) - NumericScale(d)
	c := new(big.Int)
	if shift >= 0 {
		c.Mul(d.Coeff.MathBigInt(), pow10(shift))
	} else {
		c.Quo(d.Coeff.MathBigInt(), pow10(-shift))
	}
	return checkNumeric(NumericRound(NumericFromBig(c.Sqrt(c), scale+1), scale))
}

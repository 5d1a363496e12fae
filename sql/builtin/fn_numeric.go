package builtin

import (
	"math"
	"math/big"
	"strconv"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func formatUint(u uint64, base int) string { return strconv.FormatUint(u, base) }

func numericResult(d *apd.Decimal, err error) (types.Datum, error) {
	if err != nil {
		return types.Null, err
	}
	return types.NewNumeric(d), nil
}

func numeric2(f func(a, b *apd.Decimal) (*apd.Decimal, error)) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return numericResult(f(a[0].Numeric(), a[1].Numeric()))
	}
}

// small2 is numeric2 with a short way for operands and results of 64 bits.
func small2(small func(a, b types.Datum) (types.Datum, bool), f func(a, b *apd.Decimal) (*apd.Decimal, error)) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if d, ok := small(a[0], a[1]); ok {
			return d, nil
		}
		return numericResult(f(a[0].Numeric(), a[1].Numeric()))
	}
}

func numeric1(f func(a *apd.Decimal) (*apd.Decimal, error)) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return numericResult(f(a[0].Numeric())) }
}

func pure(f func(a *apd.Decimal) *apd.Decimal) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewNumeric(f(a[0].Numeric())), nil }
}

func finite(d *apd.Decimal) bool { return d.Form == apd.Finite }

func registerNumeric(l library) {
	l.fn("numeric_add", small2(types.AddSmallNumerics, types.NumericAdd))
	l.fn("numeric_sub", small2(types.SubSmallNumerics, types.NumericSub))
	l.fn("numeric_mul", small2(types.MulSmallNumerics, types.NumericMul))
	l.fn("numeric_div", numeric2(types.NumericDiv))
	l.fn("numeric_mod", numeric2(types.NumericMod))
	l.fn("numeric_div_trunc", numeric2(types.NumericDivTrunc))
	l.fn("numeric_power", numeric2(types.NumericPower))
	l.fn("numeric_log", numeric2(types.NumericLog))
	l.fn("numeric_larger", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if types.CompareNumeric(a[0].Numeric(), a[1].Numeric()) > 0 {
			return a[0], nil
		}
		return a[1], nil
	})
	l.fn("numeric_smaller", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if types.CompareNumeric(a[0].Numeric(), a[1].Numeric()) < 0 {
			return a[0], nil
		}
		return a[1], nil
	})
	l.fn("numeric_gcd", numeric2(numericGCD))
	l.fn("numeric_lcm", numeric2(numericLCM))
	l.fn("numeric_uminus", pure(types.NumericNeg))
	l.fn("numeric_uplus", pure(func(d *apd.Decimal) *apd.Decimal { return d }))
	l.fn("numeric_abs", pure(types.NumericAbs))
	l.fn("numeric_sign", pure(func(d *apd.Decimal) *apd.Decimal {
		switch {
		case d.Form == apd.NaN:
			return d
		case d.Form == apd.Infinite && d.Negative:
			return apd.New(-1, 0)
		case d.Form == apd.Infinite:
			return types.NumericOne
		}
		return apd.New(int64(d.Sign()), 0)
	}))
	l.fn("numeric_ceil", pure(types.NumericCeil))
	l.fn("numeric_floor", pure(types.NumericFloor))
	l.fn("numeric_sqrt", numeric1(types.NumericSqrt))
	l.fn("numeric_exp", numeric1(types.NumericExp))
	l.fn("numeric_ln", numeric1(types.NumericLn))
	l.fn("log(numeric)", numeric1(func(d *apd.Decimal) (*apd.Decimal, error) { return types.NumericLog(apd.New(10, 0), d) }))
	l.fn("log10(numeric)", numeric1(func(d *apd.Decimal) (*apd.Decimal, error) { return types.NumericLog(apd.New(10, 0), d) }))
	l.fn("numeric_inc", numeric1(func(d *apd.Decimal) (*apd.Decimal, error) { return types.NumericAdd(d, types.NumericOne) }))
	l.fn("numeric_fac", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		n := a[0].Int()
		switch {
		case n < 0:
			return types.Null, pgerr.New(pgerr.NumericValueOutOfRange, "factorial of a negative number is undefined")
		case n > 32177:
			return types.Null, pgerr.New(pgerr.NumericValueOutOfRange, "value overflows numeric format")
		}
		return types.NewNumeric(types.NumericFromBig(new(big.Int).MulRange(1, n), 0)), nil
	})
	round := func(f func(*apd.Decimal, int) *apd.Decimal) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			s := int64(0)
			if len(a) > 1 {
				s = min(max(a[1].Int(), -131072), 16383)
			}
			return types.NewNumeric(f(a[0].Numeric(), int(s))), nil
		}
	}
	l.fn("numeric_round", round(types.NumericRound))
	l.fn("numeric_trunc", round(types.NumericTrunc))
	l.fn("round(numeric)", round(types.NumericRound))
	l.fn("trunc(numeric)", round(types.NumericTrunc))
	l.fn("numeric_scale", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if d := a[0].Numeric(); finite(d) {
			return types.NewInt(int64(types.NumericScale(d))), nil
		}
		return types.Null, nil
	})
	l.fn("numeric_min_scale", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if d := a[0].Numeric(); finite(d) {
			return types.NewInt(int64(types.NumericScale(types.NumericTrimScale(d)))), nil
		}
		return types.Null, nil
	})
	l.fn("numeric_trim_scale", pure(types.NumericTrimScale))
	l.fn("width_bucket_numeric", widthBucketNumeric)
	for _, n := range []string{"int2_numeric", "int4_numeric", "int8_numeric"} {
		l.fn(n, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			if v := a[0].Int(); v != math.MinInt64 {
				return types.SmallNumeric(v, 0), nil
			}
			return types.NewNumeric(apd.New(a[0].Int(), 0)), nil
		})
	}
	for _, n := range []string{"numeric_int2", "numeric_int4", "numeric_int8"} {
		l.bound(n, func(c *Call) (EvalFunc, error) {
			t := c.Ret
			return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				d := a[0].Numeric()
				switch d.Form {
				case apd.NaN, apd.NaNSignaling:
					return types.Null, pgerr.New(pgerr.FeatureNotSupported, "cannot convert NaN to %s", types.TypeName(t))
				case apd.Infinite:
					return types.Null, pgerr.New(pgerr.FeatureNotSupported, "cannot convert infinity to %s", types.TypeName(t))
				}
				v, ok := types.NumericToInt64(d)
				if !ok {
					return types.Null, errOutOfRange(t)
				}
				return narrow(v, t)
			}, nil
		})
	}
	l.fn("float8_numeric", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return numericResult(types.NumericFromFloat(a[0].Float(), 15))
	})
	l.fn("float4_numeric", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return numericResult(types.NumericFromFloat(a[0].Float(), 6))
	})
	l.bound("numeric_float8", numericToFloat)
	l.bound("numeric_float4", numericToFloat)
	l.bound("numeric_cash", func(*Call) (EvalFunc, error) {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			if a[0].Numeric().Form == apd.NaN {
				return types.Null, pgerr.New(pgerr.FeatureNotSupported, "cannot convert NaN to bigint")
			}
			if !finite(a[0].Numeric()) {
				return types.Null, pgerr.New(pgerr.FeatureNotSupported, "cannot convert infinity to bigint")
			}
			d, err := types.NumericMul(types.NumericRound(a[0].Numeric(), 2), apd.New(100, 0))
			if err != nil {
				return types.Null, err
			}
			v, ok := types.NumericToInt64(d)
			if !ok {
				return types.Null, errOutOfRange(types.Int8)
			}
			return types.NewInt(v), nil
		}, nil
	})
	l.fn("cash_numeric", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewNumeric(apd.New(a[0].Int(), -2)), nil
	})
	for _, n := range []string{"int4_cash", "int8_cash"} {
		l.fn(n, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			v, ok := mulInt(a[0].Int(), 100)
			if !ok {
				return types.Null, errOutOfRange(types.Int8)
			}
			return types.NewInt(v), nil
		})
	}
}

func numericToFloat(c *Call) (EvalFunc, error) {
	t := c.Ret
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if d := a[0].Numeric(); finite(d) {
			return types.ParseText(types.NumericString(d), t, nil)
		}
		return types.NewFloat(types.NumericToFloat(a[0].Numeric())), nil
	}, nil
}

func numericGCD(a, b *apd.Decimal) (*apd.Decimal, error) {
	if !finite(a) || !finite(b) {
		return types.NumericNaN, nil
	}
	scale := max(types.NumericScale(a), types.NumericScale(b))
	x, y := types.NumericRound(a, scale), types.NumericRound(b, scale)
	g := new(big.Int).GCD(nil, nil, x.Coeff.MathBigInt(), y.Coeff.MathBigInt())
	return types.NumericFromBig(g, scale), nil
}

func numericLCM(a, b *apd.Decimal) (*apd.Decimal, error) {
	if !finite(a) || !finite(b) {
		return types.NumericNaN, nil
	}
	scale := max(types.NumericScale(a), types.NumericScale(b))
	if a.Sign() == 0 || b.Sign() == 0 {
		return apd.New(0, int32(-scale)), nil
	}
	x, y := types.NumericRound(a, scale).Coeff.MathBigInt(), types.NumericRound(b, scale).Coeff.MathBigInt()
	g := new(big.Int).GCD(nil, nil, x, y)
	r := new(big.Int).Mul(new(big.Int).Quo(x, g), y)
	return types.NumericFromBig(r.Abs(r), scale), nil
}

func widthBucketNumeric(_ *Ctx, a []types.Datum) (types.Datum, error) {
	x, lo, hi, n := a[0].Numeric(), a[1].Numeric(), a[2].Numeric(), a[3].Int()
	bad := func(s string) (types.Datum, error) {
		return types.Null, pgerr.New(pgerr.InvalidArgumentForWidthBucketFunction, "%s", s)
	}
	switch {
	case n <= 0:
		return bad("count must be greater than zero")
	case x.Form == apd.NaN || lo.Form == apd.NaN || hi.Form == apd.NaN:
		return bad("operand, lower bound, and upper bound cannot be NaN")
	case !finite(lo) || !finite(hi):
		return bad("lower and upper bounds must be finite")
	}
	c := types.CompareNumeric(lo, hi)
	if c == 0 {
		return bad("lower bound cannot equal upper bound")
	}
	if types.CompareNumeric(x, lo)*-c < 0 {
		return types.NewInt(0), nil
	}
	if types.CompareNumeric(x, hi)*-c >= 0 {
		return narrow(n+1, types.Int4)
	}
	d, _ := types.NumericSub(x, lo)
	span, _ := types.NumericSub(hi, lo)
	d, _ = types.NumericMul(d, apd.New(n, 0))
	q, err := types.NumericDivTrunc(d, span)
	if err != nil {
		return types.Null, err
	}
	v, _ := types.NumericToInt64(q)
	return narrow(v+1, types.Int4)
}

func bigPow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

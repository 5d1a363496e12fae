package builtin

import (
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func errOutOfRange(t *types.T) error {
	return pgerr.New(pgerr.NumericValueOutOfRange, "%s out of range", types.TypeName(t))
}

// intLimits returns the range of an integer type.
func intLimits(t *types.T) (lo, hi int64) {
	switch t.Size {
	case 2:
		return math.MinInt16, math.MaxInt16
	case 4:
		return math.MinInt32, math.MaxInt32
	}
	return math.MinInt64, math.MaxInt64
}

// narrow returns v as a datum of t, or out of range.
func narrow(v int64, t *types.T) (types.Datum, error) {
	if lo, hi := intLimits(t); v < lo || v > hi {
		return types.Null, errOutOfRange(t)
	}
	return types.NewInt(v), nil
}

func addInt(a, b int64) (int64, bool) {
	s := a + b
	return s, (s > a) == (b > 0) || b == 0
}

func subInt(a, b int64) (int64, bool) {
	s := a - b
	return s, (s < a) == (b > 0) || b == 0
}

func mulInt(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	p := a * b
	if p/b != a || a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64 {
		return 0, false
	}
	return p, true
}

// intArith makes an arithmetic operator that checks the range of its result type.
func intArith(f func(a, b int64) (int64, bool)) func(c *Call) (EvalFunc, error) {
	return func(c *Call) (EvalFunc, error) {
		t := c.Ret
		lo, hi := intLimits(t)
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			v, ok := f(a[0].Int(), a[1].Int())
			if !ok || v < lo || v > hi {
				return types.Null, errOutOfRange(t)
			}
			return types.NewInt(v), nil
		}, nil
	}
}

func divInt(c *Call) (EvalFunc, error) {
	t := c.Ret
	lo, _ := intLimits(t)
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		x, y := a[0].Int(), a[1].Int()
		if y == 0 {
			return types.Null, types.ErrDivisionByZero()
		}
		if y == -1 && x == lo {
			return types.Null, errOutOfRange(t)
		}
		return types.NewInt(x / y), nil
	}, nil
}

func modInt(_ *Ctx, a []types.Datum) (types.Datum, error) {
	x, y := a[0].Int(), a[1].Int()
	switch y {
	case 0:
		return types.Null, types.ErrDivisionByZero()
	case -1:
		return types.NewInt(0), nil
	}
	return types.NewInt(x % y), nil
}

func int1(f func(a int64) int64) func(c *Call) (EvalFunc, error) {
	return func(c *Call) (EvalFunc, error) {
		t := c.Ret
		lo, _ := intLimits(t)
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			if v := a[0].Int(); v != lo {
				return narrow(f(v), t)
			}
			return types.Null, errOutOfRange(t)
		}, nil
	}
}

func intBits(f func(a, b int64) int64) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewInt(f(a[0].Int(), a[1].Int())), nil
	}
}

func gcdInt(a, b int64) uint64 {
	x, y := absU(a), absU(b)
	for y != 0 {
		x, y = y, x%y
	}
	return x
}

func absU(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

func registerInt(l library) {
	for _, p := range []string{"int2", "int4", "int8", "int24", "int42", "int28", "int82", "int48", "int84"} {
		l.bound(p+"pl", intArith(addInt))
		l.bound(p+"mi", intArith(subInt))
		l.bound(p+"mul", intArith(mulInt))
		l.bound(p+"div", divInt)
	}
	for _, p := range []string{"int2", "int4", "int8"} {
		l.fn(p+"mod", modInt)
		l.bound(p+"um", int1(func(a int64) int64 { return -a }))
		l.bound(p+"abs", int1(func(a int64) int64 { return max(a, -a) }))
		l.fn(p+"up", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return a[0], nil })
		l.fn(p+"and", intBits(func(a, b int64) int64 { return a & b }))
		l.fn(p+"or", intBits(func(a, b int64) int64 { return a | b }))
		l.fn(p+"xor", intBits(func(a, b int64) int64 { return a ^ b }))
		l.fn(p+"not", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewInt(^a[0].Int()), nil })
		l.bound(p+"shl", shift(true))
		l.bound(p+"shr", shift(false))
		l.fn(p+"larger", intBits(func(a, b int64) int64 { return max(a, b) }))
		l.fn(p+"smaller", intBits(func(a, b int64) int64 { return min(a, b) }))
		l.bound(p+"inc", func(c *Call) (EvalFunc, error) {
			t := c.Ret
			return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				v, ok := addInt(a[0].Int(), 1)
				if !ok {
					return types.Null, errOutOfRange(t)
				}
				return narrow(v, t)
			}, nil
		})
	}
	for _, p := range []string{"int4", "int8"} {
		l.bound(p+"gcd", func(c *Call) (EvalFunc, error) {
			t := c.Ret
			return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				g := gcdInt(a[0].Int(), a[1].Int())
				if g > math.MaxInt64 {
					return types.Null, errOutOfRange(t)
				}
				return narrow(int64(g), t)
			}, nil
		})
		l.bound(p+"lcm", func(c *Call) (EvalFunc, error) {
			t := c.Ret
			return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				x, y := a[0].Int(), a[1].Int()
				if x == 0 || y == 0 {
					return types.NewInt(0), nil
				}
				hi, lo := bits.Mul64(absU(x)/gcdInt(x, y), absU(y))
				if hi != 0 || lo > math.MaxInt64 {
					return types.Null, errOutOfRange(t)
				}
				return narrow(int64(lo), t)
			}, nil
		})
	}
	// Conversions between integer types, oid included, only check the range.
	for _, name := range []string{"i2toi4", "i4toi2", "int48", "int84", "int28", "int82"} {
		l.bound(name, intCast)
	}
	l.fn("oidtoi8", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return a[0], nil })
	l.fn("i8tooid", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if v := a[0].Int(); v < 0 || v > math.MaxUint32 {
			return types.Null, pgerr.New(pgerr.NumericValueOutOfRange, "OID out of range")
		}
		return a[0], nil
	})
	l.fn("int4_bool", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewBool(a[0].Int() != 0), nil })
	l.fn("bool_int4", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewInt(a[0].Int()), nil })
	l.fn("chartoi4", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if s := a[0].Str(); s != "" {
			return types.NewInt(int64(int8(s[0]))), nil
		}
		return types.NewInt(0), nil
	})
	l.fn("i4tochar", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		v := a[0].Int()
		if v < math.MinInt8 || v > math.MaxInt8 {
			return types.Null, pgerr.New(pgerr.NumericValueOutOfRange, "\"char\" out of range")
		}
		if v == 0 {
			return types.NewString(""), nil
		}
		return types.NewString(string([]byte{byte(v)})), nil
	})
	l.fn("to_hex32", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewString(formatUint(uint64(uint32(a[0].Int())), 16)), nil
	})
	l.fn("to_hex64", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewString(formatUint(uint64(a[0].Int()), 16)), nil
	})
}

func intCast(c *Call) (EvalFunc, error) {
	t := c.Ret
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return narrow(a[0].Int(), t) }, nil
}

// shift follows the machine: the distance is taken modulo the width.
func shift(left bool) func(c *Call) (EvalFunc, error) {
	return func(c *Call) (EvalFunc, error) {
		size := c.Ret.Size
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			v, n := a[0].Int(), uint64(a[1].Int())
			mask := uint64(31)
			if size == 8 {
				mask = 63
			}
			if left {
				v <<= n & mask
			} else {
				v >>= n & mask
			}
			switch size {
			case 2:
				v = int64(int16(v))
			case 4:
				v = int64(int32(v))
			}
			return types.NewInt(v), nil
		}, nil
	}
}

func errFloatOverflow() error {
	return pgerr.New(pgerr.NumericValueOutOfRange, "value out of range: overflow")
}

func errFloatUnderflow() error {
	return pgerr.New(pgerr.NumericValueOutOfRange, "value out of range: underflow")
}

// float2 makes a float operator: infinite from finite operands is an overflow, zero where it must not be
// an underflow.
func float2(f func(a, b float64) float64, zeroOK func(a, b float64) bool) func(c *Call) (EvalFunc, error) {
	return func(c *Call) (EvalFunc, error) {
		single := c.Ret.OID == types.OIDFloat4
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			x, y := a[0].Float(), a[1].Float()
			r := f(x, y)
			if single {
				r = float64(float32(r))
			}
			if math.IsInf(r, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
				return types.Null, errFloatOverflow()
			}
			if r == 0 && zeroOK != nil && !zeroOK(x, y) {
				return types.Null, errFloatUnderflow()
			}
			return types.NewFloat(r), nil
		}, nil
	}
}

func floatDiv(c *Call) (EvalFunc, error) {
	div, err := float2(func(a, b float64) float64 { return a / b }, func(a, b float64) bool { return a == 0 || math.IsInf(b, 0) })(c)
	return func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
		if a[1].Float() == 0 && !math.IsNaN(a[0].Float()) {
			return types.Null, types.ErrDivisionByZero()
		}
		return div(ctx, a)
	}, err
}

func float1(f func(float64) float64) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewFloat(f(a[0].Float())), nil }
}

// floatRange is float1 with overflow and underflow checks.
func floatRange(f func(float64) float64) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		x := a[0].Float()
		r := f(x)
		if math.IsInf(r, 0) && !math.IsInf(x, 0) {
			return types.Null, errFloatOverflow()
		}
		if r == 0 && x != 0 && !math.IsInf(x, 0) {
			return types.Null, errFloatUnderflow()
		}
		return types.NewFloat(r), nil
	}
}

func errInputOutOfRange() error {
	return pgerr.New(pgerr.NumericValueOutOfRange, "input is out of range")
}

// floatDomain is float1 for functions defined on a range only.
func floatDomain(f func(float64) float64, ok func(float64) bool) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		x := a[0].Float()
		if !math.IsNaN(x) && !ok(x) {
			return types.Null, errInputOutOfRange()
		}
		return types.NewFloat(f(x)), nil
	}
}

func registerFloat(l library) {
	for _, p := range []string{"float4", "float8", "float48", "float84"} {
		l.bound(p+"pl", float2(func(a, b float64) float64 { return a + b }, nil))
		l.bound(p+"mi", float2(func(a, b float64) float64 { return a - b }, nil))
		l.bound(p+"mul", float2(func(a, b float64) float64 { return a * b }, func(a, b float64) bool { return a == 0 || b == 0 }))
		l.bound(p+"div", floatDiv)
	}
	for _, p := range []string{"float4", "float8"} {
		l.fn(p+"um", float1(func(a float64) float64 { return -a }))
		l.fn(p+"abs", float1(math.Abs))
		l.fn(p+"up", float1(func(a float64) float64 { return a }))
		l.fn(p+"larger", floatPick(1))
		l.fn(p+"smaller", floatPick(-1))
	}
	l.fn("dround", float1(math.RoundToEven))
	l.fn("dceil", float1(math.Ceil))
	l.fn("dfloor", float1(math.Floor))
	l.fn("dtrunc", float1(math.Trunc))
	l.fn("dsign", float1(func(a float64) float64 {
		switch {
		case a > 0:
			return 1
		case a < 0:
			return -1
		}
		return 0 // NaN too
	}))
	l.fn("dsqrt", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[0].Float() < 0 {
			return types.Null, pgerr.New(pgerr.InvalidArgumentForPowerFunction, "cannot take square root of a negative number")
		}
		return types.NewFloat(math.Sqrt(a[0].Float())), nil
	})
	l.fn("dcbrt", float1(math.Cbrt))
	l.fn("dpow", dpow)
	l.fn("dexp", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		x := a[0].Float()
		r := math.Exp(x)
		if math.IsInf(r, 1) && !math.IsInf(x, 0) {
			return types.Null, errFloatOverflow()
		}
		if r == 0 && !math.IsInf(x, 0) {
			return types.Null, errFloatUnderflow()
		}
		return types.NewFloat(r), nil
	})
	l.fn("dlog1", floatLog(math.Log))
	l.fn("dlog10", floatLog(math.Log10))
	finite := func(x float64) bool { return !math.IsInf(x, 0) }
	unit := func(x float64) bool { return x >= -1 && x <= 1 }
	l.fn("dsin", floatDomain(math.Sin, finite))
	l.fn("dcos", floatDomain(math.Cos, finite))
	l.fn("dtan", floatDomain(math.Tan, finite))
	l.fn("dcot", floatDomain(func(x float64) float64 { return 1 / math.Tan(x) }, finite))
	l.fn("dasin", floatDomain(math.Asin, unit))
	l.fn("dacos", floatDomain(math.Acos, unit))
	l.fn("datan", float1(math.Atan))
	l.fn("datan2", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewFloat(math.Atan2(a[0].Float(), a[1].Float())), nil
	})
	l.fn("dsinh", float1(func(x float64) float64 {
		t := math.Expm1(math.Abs(x))
		if math.IsInf(t, 0) {
			return math.Copysign(t, x)
		}
		return math.Copysign((t+t/(t+1))/2, x)
	}))
	l.fn("dcosh", float1(func(x float64) float64 {
		e := math.Exp(math.Abs(x))
		return (e + 1/e) / 2
	}))
	l.fn("dtanh", float1(math.Tanh))
	l.fn("dasinh", float1(math.Asinh))
	l.fn("dacosh", floatDomain(math.Acosh, func(x float64) bool { return x >= 1 }))
	l.fn("datanh", floatDomain(math.Atanh, unit))
	l.fn("dsind", floatDomain(sind, finite))
	l.fn("dcosd", floatDomain(cosd, finite))
	tan45, cot45 := sindQ1(45)/cosd(45), cosd(45)/sindQ1(45)
	l.fn("dtand", floatDomain(func(x float64) float64 { return noNegZero(sind(x) / cosd(x) / tan45) }, finite))
	l.fn("dcotd", floatDomain(func(x float64) float64 { return noNegZero(cosd(x) / sind(x) / cot45) }, finite))
	l.fn("dasind", floatDomain(func(x float64) float64 {
		if x < 0 {
			return -asindQ1(-x)
		}
		return asindQ1(x)
	}, unit))
	l.fn("dacosd", floatDomain(func(x float64) float64 {
		if x < 0 {
			return 90 + asindQ1(-x)
		}
		return acosdQ1(x)
	}, unit))
	l.fn("datand", float1(func(x float64) float64 { return math.Atan(x) / math.Atan(1) * 45 }))
	l.fn("datan2d", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewFloat(math.Atan2(a[0].Float(), a[1].Float()) / math.Atan(1) * 45), nil
	})
	l.fn("degrees", floatRange(func(x float64) float64 { return x / (math.Pi / 180) }))
	l.fn("radians", floatRange(func(x float64) float64 { return x * (math.Pi / 180) }))
	l.fn("dpi", func(*Ctx, []types.Datum) (types.Datum, error) { return types.NewFloat(math.Pi), nil })
	l.fn("drandom", func(ctx *Ctx, _ []types.Datum) (types.Datum, error) { return types.NewFloat(ctx.rand().Float64()), nil })
	l.fn("setseed", func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
		s := a[0].Float()
		if !(s >= -1 && s <= 1) {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "setseed parameter %v is out of allowed range [-1,1]", s)
		}
		ctx.Rand = rand.New(rand.NewPCG(math.Float64bits(s), 0))
		return types.NewString(""), nil
	})
	l.fn("ftod", float1(func(a float64) float64 { return a }))
	l.fn("dtof", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		x := a[0].Float()
		r := float64(float32(x))
		if math.IsInf(r, 0) && !math.IsInf(x, 0) {
			return types.Null, errFloatOverflow()
		}
		if r == 0 && x != 0 {
			return types.Null, errFloatUnderflow()
		}
		return types.NewFloat(r), nil
	})
	for _, name := range []string{"dtoi2", "dtoi4", "dtoi8", "ftoi2", "ftoi4", "ftoi8"} {
		l.bound(name, func(c *Call) (EvalFunc, error) {
			t := c.Ret
			return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				r := math.RoundToEven(a[0].Float())
				if math.IsNaN(r) || r < math.MinInt64 || r >= -math.MinInt64 {
					return types.Null, errOutOfRange(t)
				}
				return narrow(int64(r), t)
			}, nil
		})
	}
	for _, name := range []string{"i2tod", "i4tod", "i8tod"} {
		l.fn(name, func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewFloat(float64(a[0].Int())), nil })
	}
	for _, name := range []string{"i2tof", "i4tof", "i8tof"} {
		l.fn(name, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			return types.NewFloat(float64(float32(a[0].Int()))), nil
		})
	}
	l.fn("width_bucket_float8", widthBucketFloat)
}

func noNegZero(x float64) float64 {
	if x == 0 {
		return 0
	}
	return x
}

func floatPick(sign int) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if types.CompareFloat(a[0].Float(), a[1].Float())*sign > 0 {
			return a[0], nil
		}
		return a[1], nil
	}
}

func floatLog(f func(float64) float64) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		x := a[0].Float()
		if x == 0 {
			return types.Null, pgerr.New(pgerr.InvalidArgumentForLog, "cannot take logarithm of zero")
		}
		if x < 0 {
			return types.Null, pgerr.New(pgerr.InvalidArgumentForLog, "cannot take logarithm of a negative number")
		}
		return types.NewFloat(f(x)), nil
	}
}

func dpow(_ *Ctx, a []types.Datum) (types.Datum, error) {
	x, y := a[0].Float(), a[1].Float()
	switch {
	case math.IsNaN(x):
		if y == 0 {
			return types.NewFloat(1), nil
		}
		return types.NewFloat(math.NaN()), nil
	case math.IsNaN(y):
		if x == 1 {
			return types.NewFloat(1), nil
		}
		return types.NewFloat(math.NaN()), nil
	case x == 0 && y < 0:
		return types.Null, pgerr.New(pgerr.InvalidArgumentForPowerFunction, "zero raised to a negative power is undefined")
	case x < 0 && math.Floor(y) != y:
		return types.Null, pgerr.New(pgerr.InvalidArgumentForPowerFunction, "a negative number raised to a non-integer power yields a complex result")
	}
	r := powExact(x, y)
	if !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		if math.IsInf(r, 0) {
			return types.Null, errFloatOverflow()
		}
		if r == 0 && x != 0 {
			return types.Null, errFloatUnderflow()
		}
	}
	return types.NewFloat(r), nil
}

// sind and cosd are exact at the multiples of 30 and 60 degrees.
func sind(x float64) float64 {
	x = math.Mod(x, 360)
	sign := 1.0
	if x < 0 {
		x, sign = -x, -sign
	}
	if x > 180 {
		x, sign = 360-x, -sign
	}
	if x > 90 {
		x = 180 - x
	}
	return sign * sindQ1(x)
}

func cosd(x float64) float64 {
	x = math.Abs(math.Mod(x, 360))
	sign := 1.0
	if x > 180 {
		x = 360 - x
	}
	if x > 90 {
		x, sign = 180-x, -sign
	}
	return sign * sindQ1(90-x)
}

// The divisors are computed as the arguments are, at run time: constant arithmetic would be too exact for
// the quotients to come out as 0.5.
var (
	radiansPerDegree = math.Atan(1) / 45
	sin30            = math.Sin(30 * radiansPerDegree)
	oneMinusCos60    = 1 - math.Cos(60*radiansPerDegree)
)

func sindQ1(x float64) float64 {
	if x <= 30 {
		return math.Sin(x*radiansPerDegree) / sin30 / 2
	}
	return 1 - (1-math.Cos((90-x)*radiansPerDegree))/oneMinusCos60/2
}

func asindQ1(x float64) float64 {
	if x <= 0.5 {
		return math.Asin(x) / math.Asin(0.5) * 30
	}
	return 90 - math.Acos(x)/math.Acos(0.5)*60
}

func acosdQ1(x float64) float64 {
	if x <= 0.5 {
		return 90 - math.Asin(x)/math.Asin(0.5)*30
	}
	return math.Acos(x) / math.Acos(0.5) * 60
}

// powExact is math.Pow with an error below half a unit in the last place where it is cheap to have: whole
// exponents of moderate size.
func powExact(x, y float64) float64 {
	if y != math.Trunc(y) || math.Abs(y) > 400 || math.IsInf(x, 0) || x == 0 {
		return math.Pow(x, y)
	}
	r, sq := big.NewFloat(1).SetPrec(160), new(big.Float).SetPrec(160).SetFloat64(x)
	for n := int(math.Abs(y)); n > 0; n >>= 1 {
		if n&1 != 0 {
			r.Mul(r, sq)
		}
		sq.Mul(sq, sq)
	}
	if y < 0 {
		r.Quo(big.NewFloat(1).SetPrec(160), r)
	}
	f, _ := r.Float64()
	return f
}

func widthBucketFloat(_ *Ctx, a []types.Datum) (types.Datum, error) {
	x, lo, hi, n := a[0].Float(), a[1].Float(), a[2].Float(), a[3].Int()
	bad := func(format string) (types.Datum, error) {
		return types.Null, pgerr.New(pgerr.InvalidArgumentForWidthBucketFunction, "%s", format)
	}
	switch {
	case n <= 0:
		return bad("count must be greater than zero")
	case math.IsNaN(x) || math.IsNaN(lo) || math.IsNaN(hi):
		return bad("operand, lower bound, and upper bound cannot be NaN")
	case math.IsInf(lo, 0) || math.IsInf(hi, 0):
		return bad("lower and upper bounds must be finite")
	case lo == hi:
		return bad("lower bound cannot equal upper bound")
	}
	sign := 1.0
	if lo > hi {
		sign = -1
	}
	var r int64
	switch {
	case (x-lo)*sign < 0:
		r = 0
	case (x-hi)*sign >= 0:
		r = n + 1
	default:
		r = int64(float64(n)*((x-lo)/(hi-lo))) + 1
		if math.IsInf(hi-lo, 0) {
			r = int64(float64(n)*((x/2-lo/2)/(hi/2-lo/2))) + 1
		}
		r = min(r, n)
	}
	return narrow(r, types.Int4)
}

// rand returns the session's generator.
// Random returns a number in [0,1), as random() does.
func (c *Ctx) Random() float64 { return c.rand().Float64() }

func (c *Ctx) rand() *rand.Rand {
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), rand.Uint64()))
	}
	return c.Rand
}

package builtin

import (
	"math"
	"math/big"
	"strings"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func agg[T any, P interface {
	*T
	Accumulator
}](l library, name string) {
	l.add(name+"(*)", &impl{acc: func(*Call) (func() Accumulator, error) {
		return func() Accumulator { return P(new(T)) }, nil
	}})
}

func aggFor(l library, names string, f func(c *Call) func() Accumulator) {
	for name := range strings.FieldsSeq(names) {
		l.add(name+"(*)", &impl{acc: func(c *Call) (func() Accumulator, error) { return f(c), nil }})
	}
}

// countAcc is count(*) and count(x).
type countAcc struct{ n int64 }

func (c *countAcc) Add(_ *Ctx, a []types.Datum) error {
	if len(a) == 0 || !a[0].IsNull() {
		c.n++
	}
	return nil
}
func (c *countAcc) Remove(_ *Ctx, a []types.Datum) error {
	if len(a) == 0 || !a[0].IsNull() {
		c.n--
	}
	return nil
}
func (c *countAcc) Result(*Ctx) (types.Datum, error) { return types.NewInt(c.n), nil }
func (c *countAcc) Merge(_ *Ctx, o Accumulator) error {
	c.n += o.(*countAcc).n
	return nil
}

// intSum adds integers in 128 bits. It gives sum as bigint or numeric, or avg.
type intSum struct {
	hi   int64 // high word of the two's complement sum
	lo   uint64
	n    int64
	kind sumKind
}

type sumKind uint8

const (
	sumBigint sumKind = iota
	sumNumeric
	sumAvg
	sumMoney
)

func (s *intSum) add(v int64, sign int64) {
	if sign < 0 {
		// Subtract: add the complement and one.
		old := s.lo
		s.lo -= uint64(v)
		s.hi -= v >> 63
		if s.lo > old {
			s.hi--
		}
		return
	}
	old := s.lo
	s.lo += uint64(v)
	s.hi += v >> 63
	if s.lo < old {
		s.hi++
	}
}

func (s *intSum) Add(_ *Ctx, a []types.Datum) error {
	if !a[0].IsNull() {
		s.add(a[0].Int(), 1)
		s.n++
	}
	return nil
}

func (s *intSum) Remove(_ *Ctx, a []types.Datum) error {
	if !a[0].IsNull() {
		s.add(a[0].Int(), -1)
		s.n--
	}
	return nil
}

func (s *intSum) Merge(_ *Ctx, o Accumulator) error {
	t := o.(*intSum)
	old := s.lo
	s.lo += t.lo
	s.hi += t.hi
	if s.lo < old {
		s.hi++
	}
	s.n += t.n
	return nil
}

func (s *intSum) numeric() *apd.Decimal {
	if s.hi == int64(s.lo)>>63 {
		return apd.New(int64(s.lo), 0)
	}
	b := new(big.Int).Lsh(big.NewInt(s.hi), 64)
	return types.NumericFromBig(b.Add(b, new(big.Int).SetUint64(s.lo)), 0)
}

func (s *intSum) Result(*Ctx) (types.Datum, error) {
	if s.n == 0 {
		return types.Null, nil
	}
	switch s.kind {
	case sumNumeric:
		return types.NewNumeric(s.numeric()), nil
	case sumAvg:
		return numericResult(types.NumericDiv(s.numeric(), apd.New(s.n, 0)))
	}
	if s.hi != int64(s.lo)>>63 {
		if s.kind == sumMoney {
			return types.Null, pgerr.New(pgerr.NumericValueOutOfRange, "money out of range")
		}
		return types.Null, errOutOfRange(types.Int8)
	}
	return types.NewInt(int64(s.lo)), nil
}

// numSum adds numerics: in 64 bits those of the first one's scale, from which what no longer fits is carried over
// into an apd number, as is everything of another scale.
type numSum struct {
	small  int64
	scale  int32        // exponent of small
	big    *apd.Decimal // nil until needed; the sum is big + small
	nan    int64
	posInf int64
	negInf int64
	n      int64
	avg    bool
}

func (s *numSum) Add(_ *Ctx, a []types.Datum) error {
	if a[0].IsNull() {
		return nil
	}
	if c, scale, ok := a[0].SmallNumeric(); ok && s.n > 0 && s.scale == int32(-scale) {
		if sum, ok := addInt(s.small, c); ok {
			s.small = sum
			s.n++
			return nil
		}
	}
	return s.apply(a[0].Numeric(), 1)
}

func (s *numSum) Remove(_ *Ctx, a []types.Datum) error {
	if a[0].IsNull() {
		return nil
	}
	return s.apply(a[0].Numeric(), -1)
}

func (s *numSum) apply(d *apd.Decimal, sign int64) error {
	s.n += sign
	switch {
	case d.Form == apd.NaN || d.Form == apd.NaNSignaling:
		s.nan += sign
		return nil
	case d.Form == apd.Infinite && d.Negative:
		s.negInf += sign
		return nil
	case d.Form == apd.Infinite:
		s.posInf += sign
		return nil
	}
	if d.Coeff.IsInt64() {
		if s.small == 0 && s.big == nil && s.n == sign {
			s.scale = d.Exponent
		}
		if s.scale == d.Exponent {
			v := d.Coeff.Int64() * sign
			if d.Negative {
				v = -v
			}
			if sum, ok := addInt(s.small, v); ok {
				s.small = sum
				return nil
			}
		}
	}
	if sign < 0 {
		d = types.NumericNeg(d)
	}
	r, err := types.NumericAdd(s.sum(), d)
	s.big, s.small = r, 0
	return err
}

func (s *numSum) Merge(_ *Ctx, o Accumulator) error {
	t := o.(*numSum)
	s.nan, s.posInf, s.negInf = s.nan+t.nan, s.posInf+t.posInf, s.negInf+t.negInf
	if t.n == 0 {
		return nil
	}
	if s.n == 0 {
		s.small, s.scale, s.big = t.small, t.scale, t.big
	} else {
		r, err := types.NumericAdd(s.sum(), t.sum())
		if err != nil {
			return err
		}
		s.big, s.small = r, 0
	}
	s.n += t.n
	return nil
}

func (s *numSum) sum() *apd.Decimal {
	small := apd.New(s.small, s.scale)
	if s.big == nil {
		return small
	}
	if s.small == 0 {
		return s.big
	}
	sum, err := types.NumericAdd(s.big, small)
	if err != nil {
		return s.big // adding 64 bits does not pass the format's limit, but the sum before it did not either
	}
	return sum
}

func (s *numSum) Result(*Ctx) (types.Datum, error) {
	switch {
	case s.n == 0:
		return types.Null, nil
	case s.nan > 0 || s.posInf > 0 && s.negInf > 0:
		return types.NewNumeric(types.NumericNaN), nil
	case s.posInf > 0:
		return types.NewNumeric(types.NumericInf), nil
	case s.negInf > 0:
		return types.NewNumeric(types.NumericNegInf), nil
	case s.avg:
		return numericResult(types.NumericDiv(s.sum(), apd.New(s.n, 0)))
	}
	return types.NewNumeric(s.sum()), nil
}

// floatSum is sum over floats; a float4 sum stays single.
type floatSum struct {
	sum    float64
	n      int64
	single bool
}

func (s *floatSum) Add(_ *Ctx, a []types.Datum) error {
	if a[0].IsNull() {
		return nil
	}
	v := a[0].Float()
	r := s.sum + v
	if s.single {
		r = float64(float32(r))
	}
	if math.IsInf(r, 0) && !math.IsInf(v, 0) && !math.IsInf(s.sum, 0) {
		return errFloatOverflow()
	}
	s.sum = r
	s.n++
	return nil
}
func (s *floatSum) Merge(ctx *Ctx, o Accumulator) error {
	t := o.(*floatSum)
	if t.n == 0 {
		return nil
	}
	s.n += t.n - 1
	return s.Add(ctx, []types.Datum{types.NewFloat(t.sum)})
}
func (s *floatSum) Result(*Ctx) (types.Datum, error) {
	if s.n == 0 {
		return types.Null, nil
	}
	return types.NewFloat(s.sum), nil
}

// intervalSum is sum and avg over intervals.
type intervalSum struct {
	months, days, micros int64
	n                    int64
	avg                  bool
}

func (s *intervalSum) apply(iv *types.Interval, sign int64) error {
	var ok bool
	s.months += sign * int64(iv.Months)
	s.days += sign * int64(iv.Days)
	if s.micros, ok = addInt(s.micros, sign*iv.Micros); !ok {
		return types.ErrIntervalRange()
	}
	s.n += sign
	return nil
}
func (s *intervalSum) Add(_ *Ctx, a []types.Datum) error {
	if a[0].IsNull() {
		return nil
	}
	return s.apply(a[0].Interval(), 1)
}
func (s *intervalSum) Remove(_ *Ctx, a []types.Datum) error {
	if a[0].IsNull() {
		return nil
	}
	return s.apply(a[0].Interval(), -1)
}
func (s *intervalSum) Result(*Ctx) (types.Datum, error) {
	if s.n == 0 {
		return types.Null, nil
	}
	iv, err := types.CheckedInterval(s.months, s.days, s.micros)
	if err == nil && s.avg {
		iv, err = intervalDiv(iv, float64(s.n))
	}
	if err != nil {
		return types.Null, err
	}
	return types.NewInterval(iv), nil
}

// extremeAcc is min and max.
type extremeAcc struct {
	t    *types.T
	v    types.Datum
	sign int
}

func (m *extremeAcc) Add(_ *Ctx, a []types.Datum) error {
	if d := a[0]; !d.IsNull() && (m.v.IsNull() || types.Compare(m.t, d, m.v)*m.sign > 0) {
		m.v = d
	}
	return nil
}
func (m *extremeAcc) Merge(ctx *Ctx, o Accumulator) error {
	return m.Add(ctx, []types.Datum{o.(*extremeAcc).v})
}
func (m *extremeAcc) Result(*Ctx) (types.Datum, error) { return m.v, nil }

// foldAcc folds with a function from the first value on.
type foldAcc struct {
	t *types.T
	v types.Datum
	f func(acc, d types.Datum) types.Datum
}

func (f *foldAcc) Add(_ *Ctx, a []types.Datum) error {
	switch {
	case a[0].IsNull():
	case f.v.IsNull():
		f.v = a[0]
	default:
		f.v = f.f(f.v, a[0])
	}
	return nil
}
func (f *foldAcc) Merge(ctx *Ctx, o Accumulator) error {
	return f.Add(ctx, []types.Datum{o.(*foldAcc).v})
}
func (f *foldAcc) Result(*Ctx) (types.Datum, error) { return f.v, nil }

func fold(f func(acc, d types.Datum) types.Datum) func(c *Call) func() Accumulator {
	return func(c *Call) func() Accumulator {
		t := c.Args[0].BaseType()
		return func() Accumulator { return &foldAcc{t: t, f: f} }
	}
}

// stringAgg is string_agg over text or bytea.
type stringAgg struct {
	b     []byte
	any   bool
	bytea bool
}

func (s *stringAgg) Add(_ *Ctx, a []types.Datum) error {
	if a[0].IsNull() {
		return nil
	}
	raw := func(d types.Datum) []byte {
		if d.IsNull() {
			return nil
		}
		return d.Bytes() // strings and bytes share their layout
	}
	if s.any {
		s.b = append(s.b, raw(a[1])...)
	}
	s.any = true
	s.b = append(s.b, raw(a[0])...)
	if len(s.b) > maxString {
		return pgerr.New(pgerr.ProgramLimitExceeded, "out of memory")
	}
	return nil
}
func (s *stringAgg) Result(*Ctx) (types.Datum, error) {
	if !s.any {
		return types.Null, nil
	}
	out := append([]byte(nil), s.b...)
	if s.bytea {
		return types.NewBytes(out), nil
	}
	return types.NewStringFromBytes(out), nil
}

// arrayAgg is array_agg of values, or of arrays, which become one array of one more dimension.
type arrayAgg struct {
	elem    *types.T
	nested  bool
	elems   []types.Datum
	inner   []types.ArrayDim
	n       int32
	started bool
}

func (g *arrayAgg) Add(_ *Ctx, a []types.Datum) error {
	if !g.nested {
		g.elems = append(g.elems, a[0])
		g.n++
		g.started = true
		return nil
	}
	if a[0].IsNull() {
		return pgerr.New(pgerr.NullValueNotAllowed, "cannot accumulate null arrays")
	}
	arr := a[0].Array()
	switch {
	case len(arr.Elems) == 0:
		return pgerr.New(pgerr.ArraySubscriptError, "cannot accumulate empty arrays")
	case !g.started:
		g.inner, g.started = arr.Dims, true
	case len(arr.Dims) != len(g.inner):
		return pgerr.New(pgerr.ArraySubscriptError, "cannot accumulate arrays of different dimensionality")
	default:
		for i, d := range arr.Dims {
			if d != g.inner[i] {
				return pgerr.New(pgerr.ArraySubscriptError, "cannot accumulate arrays of different dimensionality")
			}
		}
	}
	g.elems = append(g.elems, arr.Elems...)
	g.n++
	return nil
}
func (g *arrayAgg) Result(*Ctx) (types.Datum, error) {
	if !g.started {
		return types.Null, nil
	}
	elems := append([]types.Datum(nil), g.elems...)
	dims := append([]types.ArrayDim{{Len: g.n, Lower: 1}}, g.inner...)
	return types.NewArray(&types.Array{Elem: g.elem, Dims: dims, Elems: elems}), nil
}

func registerAggregates(l library) {
	agg[countAcc](l, "count")
	aggFor(l, "sum avg", func(c *Call) func() Accumulator {
		avg := c.Func.Name == "avg"
		switch t := c.Args[0]; t.Kind {
		case types.KindInt:
			kind := sumBigint
			switch {
			case avg:
				kind = sumAvg
			case t.OID == types.OIDMoney:
				kind = sumMoney
			case t.OID == types.OIDInt8:
				kind = sumNumeric
			}
			return func() Accumulator { return &intSum{kind: kind} }
		case types.KindNumeric:
			return func() Accumulator { return &numSum{avg: avg} }
		case types.KindInterval:
			return func() Accumulator { return &intervalSum{avg: avg} }
		default:
			if avg {
				return func() Accumulator { return &floatStats{f: statAvg} }
			}
			single := t.OID == types.OIDFloat4
			return func() Accumulator { return &floatSum{single: single} }
		}
	})
	aggFor(l, "min max", func(c *Call) func() Accumulator {
		t, sign := c.Args[0], 1
		if c.Func.Name == "min" {
			sign = -1
		}
		return func() Accumulator { return &extremeAcc{t: t, sign: sign} }
	})
	aggFor(l, "bool_and every", fold(func(x, y types.Datum) types.Datum { return types.NewBool(x.Bool() && y.Bool()) }))
	aggFor(l, "bool_or", fold(func(x, y types.Datum) types.Datum { return types.NewBool(x.Bool() || y.Bool()) }))
	bitAgg := func(name string, f func(x, y int64) int64) {
		aggFor(l, name, func(c *Call) func() Accumulator {
			t := c.Args[0].BaseType()
			if t.Kind == types.KindString {
				g := bitString2(f)
				return func() Accumulator { return &foldAcc{t: t, f: g} }
			}
			return func() Accumulator {
				return &foldAcc{t: t, f: func(x, y types.Datum) types.Datum { return types.NewInt(f(x.Int(), y.Int())) }}
			}
		})
	}
	bitAgg("bit_and", func(x, y int64) int64 { return x & y })
	bitAgg("bit_or", func(x, y int64) int64 { return x | y })
	bitAgg("bit_xor", func(x, y int64) int64 { return x ^ y })
	aggFor(l, "string_agg", func(c *Call) func() Accumulator {
		bytea := c.Args[0].Kind == types.KindBytes
		return func() Accumulator { return &stringAgg{bytea: bytea} }
	})
	aggFor(l, "array_agg", func(c *Call) func() Accumulator {
		elem, nested := c.Ret.Elem, c.Func.Args[0] == types.OIDAnyArray
		return func() Accumulator { return &arrayAgg{elem: elem, nested: nested} }
	})
	registerStats(l)
}

// bitString2 applies a bitwise operation to bit strings of equal length.
func bitString2(f func(x, y int64) int64) func(a, b types.Datum) types.Datum {
	return func(a, b types.Datum) types.Datum {
		x, y := a.Str(), b.Str()
		out := make([]byte, min(len(x), len(y)))
		for i := range out {
			out[i] = '0' + byte(f(int64(x[i]&1), int64(y[i]&1)))
		}
		return types.NewString(string(out))
	}
}

package builtin

import (
	"math"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// registerInRange adds in_range(value, base, offset, sub, less): whether value <= base ± offset, or >= without less.
// A sum beyond the type's range lies beyond every value.
func registerInRange(l library) {
	negative := func() error {
		return pgerr.New(pgerr.InvalidPrecedingOrFollowingSize, "invalid preceding or following size in window function")
	}
	answer := func(cmp int, less bool) (types.Datum, error) {
		if less {
			return types.NewBool(cmp <= 0), nil
		}
		return types.NewBool(cmp >= 0), nil
	}
	ints := func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		val, base, off, sub, less := a[0].Int(), a[1].Int(), a[2].Int(), a[3].Bool(), a[4].Bool()
		if off < 0 {
			return types.Null, negative()
		}
		if sub {
			off = -off
		}
		sum, ok := addInt(base, off)
		if !ok {
			return types.NewBool(sub != less), nil
		}
		switch {
		case val < sum:
			return answer(-1, less)
		case val > sum:
			return answer(1, less)
		}
		return answer(0, less)
	}
	for _, n := range []string{"int8_int8", "int4_int8", "int4_int4", "int4_int2", "int2_int8", "int2_int4", "int2_int2"} {
		l.fn("in_range_"+n, ints)
	}
	floats := func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		val, base, off, sub, less := a[0].Float(), a[1].Float(), a[2].Float(), a[3].Bool(), a[4].Bool()
		switch {
		case math.IsNaN(off) || off < 0:
			return types.Null, negative()
		case math.IsNaN(val):
			return types.NewBool(math.IsNaN(base) || !less), nil
		case math.IsNaN(base):
			return types.NewBool(less), nil
		case math.IsInf(off, 1) && math.IsInf(base, 0) && (base > 0) == sub:
			return types.NewBool(true), nil // infinity less infinity: all values are in range
		}
		if sub {
			off = -off
		}
		switch sum := base + off; {
		case val < sum:
			return answer(-1, less)
		case val > sum:
			return answer(1, less)
		}
		return answer(0, less)
	}
	l.fn("in_range_float8_float8", floats)
	l.fn("in_range_float4_float8", floats)
	l.fn("in_range_numeric_numeric", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		val, base, off, sub, less := a[0].Numeric(), a[1].Numeric(), a[2].Numeric(), a[3].Bool(), a[4].Bool()
		switch {
		case off.Form == apd.NaN || off.Negative && !off.IsZero():
			return types.Null, negative()
		case val.Form == apd.NaN:
			return types.NewBool(base.Form == apd.NaN || !less), nil
		case base.Form == apd.NaN:
			return types.NewBool(less), nil
		case off.Form == apd.Infinite && base.Form == apd.Infinite && base.Negative != sub:
			return types.NewBool(true), nil
		}
		add := types.NumericAdd
		if sub {
			add = types.NumericSub
		}
		sum, err := add(base, off)
		if err != nil {
			return types.Null, err
		}
		return answer(types.CompareNumeric(val, sum), less)
	})
	l.fn("in_range_interval_interval", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		off := a[2].Interval()
		if types.CompareInterval(off, &types.Interval{}) < 0 {
			return types.Null, negative()
		}
		move := l["interval_pl"]
		if a[3].Bool() {
			move = l["interval_mi"]
		}
		sum, err := move.eval(nil, []types.Datum{a[1], a[2]})
		if err != nil {
			return types.Null, err
		}
		return answer(types.CompareInterval(a[0].Interval(), sum.Interval()), a[4].Bool())
	})
	// Times of day do not wrap around: past midnight is later than all of the day.
	times := func(micros func(types.Datum) int64) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			off := a[2].Interval()
			if types.CompareInterval(off, &types.Interval{}) < 0 {
				return types.Null, negative()
			}
			by := off.Micros
			if a[3].Bool() {
				by = -by
			}
			sum, ok := addInt(micros(a[1]), by)
			if !ok {
				return types.NewBool(a[3].Bool() != a[4].Bool()), nil
			}
			switch val := micros(a[0]); {
			case val < sum:
				return answer(-1, a[4].Bool())
			case val > sum:
				return answer(1, a[4].Bool())
			}
			return answer(0, a[4].Bool())
		}
	}
	l.fn("in_range_time_interval", times(types.Datum.Int))
	l.fn("in_range_timetz_interval", times(func(d types.Datum) int64 {
		t := d.TimeTZ()
		return t.Micros + int64(t.OffsetSecs)*1e6
	}))
	stamps := func(suffix string, wrap func(*Ctx, types.Datum) (types.Datum, error)) EvalFunc {
		return func(c *Ctx, a []types.Datum) (types.Datum, error) {
			if types.CompareInterval(a[2].Interval(), &types.Interval{}) < 0 {
				return types.Null, negative()
			}
			move := l[suffix+"_pl_interval"]
			if a[3].Bool() {
				move = l[suffix+"_mi_interval"]
			}
			val, err := wrap(c, a[0])
			if err != nil {
				return types.Null, err
			}
			base, err := wrap(c, a[1])
			if err != nil {
				return types.Null, err
			}
			sum, err := move.eval(c, []types.Datum{base, a[2]})
			if err != nil {
				return types.Null, err
			}
			switch {
			case val.Int() < sum.Int():
				return answer(-1, a[4].Bool())
			case val.Int() > sum.Int():
				return answer(1, a[4].Bool())
			}
			return answer(0, a[4].Bool())
		}
	}
	same := func(_ *Ctx, d types.Datum) (types.Datum, error) { return d, nil }
	l.fn("in_range_timestamp_interval", stamps("timestamp", same))
	l.fn("in_range_timestamptz_interval", stamps("timestamptz", same))
	l.fn("in_range_date_interval", stamps("timestamp", func(c *Ctx, d types.Datum) (types.Datum, error) {
		return l["date_timestamp"].eval(c, []types.Datum{d})
	}))
}

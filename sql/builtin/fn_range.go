package builtin

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func newRange(r *types.Range, err error) (types.Datum, error) {
	if err != nil {
		return types.Null, err
	}
	return types.NewRange(r), nil
}

// rangeFlags reads the third argument of a range's constructor.
func rangeFlags(d types.Datum) (lower, upper bool, err error) {
	if d.IsNull() {
		return false, false, pgerr.New(pgerr.DataException, "range constructor flags argument must not be null")
	}
	switch d.Str() {
	case "[]":
		return true, true, nil
	case "[)":
		return true, false, nil
	case "(]":
		return false, true, nil
	case "()":
		return false, false, nil
	}
	return false, false, pgerr.New(pgerr.SyntaxError, "invalid range bound flags").
		WithHint("Valid values are \"[]\", \"[)\", \"(]\", and \"()\".")
}

func rangeConstructor(c *Call) (EvalFunc, error) {
	t := c.Ret
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		lowerInc, upperInc := true, false
		if len(a) > 2 {
			var err error
			if lowerInc, upperInc, err = rangeFlags(a[2]); err != nil {
				return types.Null, err
			}
		}
		return newRange(types.MakeRange(t, types.Bound{Value: a[0], Inc: lowerInc, Lower: true}, types.Bound{Value: a[1], Inc: upperInc}))
	}, nil
}

func registerRange(l library) {
	l.bound("range_constructor2", rangeConstructor)
	l.bound("range_constructor3", rangeConstructor)
	value := func(name string, f func(r *types.Range) types.Datum) {
		l.fn(name, func(_ *Ctx, a []types.Datum) (types.Datum, error) { return f(a[0].Range()), nil })
	}
	value("range_lower", func(r *types.Range) types.Datum { return r.Lower })
	value("range_upper", func(r *types.Range) types.Datum { return r.Upper })
	value("range_empty", func(r *types.Range) types.Datum { return types.NewBool(r.Empty) })
	value("range_lower_inc", func(r *types.Range) types.Datum { return types.NewBool(r.LowerInc) })
	value("range_upper_inc", func(r *types.Range) types.Datum { return types.NewBool(r.UpperInc) })
	value("range_lower_inf", func(r *types.Range) types.Datum { return types.NewBool(!r.Empty && r.Lower.IsNull()) })
	value("range_upper_inf", func(r *types.Range) types.Datum { return types.NewBool(!r.Empty && r.Upper.IsNull()) })
	for _, name := range []string{"int4range_canonical", "int8range_canonical", "daterange_canonical"} {
		value(name, types.NewRange)
	}

	test := func(name string, f func(a, b *types.Range) bool) {
		l.fn(name, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			return types.NewBool(f(a[0].Range(), a[1].Range())), nil
		})
	}
	test("range_contains", (*types.Range).Contains)
	test("range_contained_by", func(a, b *types.Range) bool { return b.Contains(a) })
	test("range_overlaps", (*types.Range).Overlaps)
	test("range_adjacent", (*types.Range).Adjacent)
	test("range_before", (*types.Range).Before)
	test("range_after", func(a, b *types.Range) bool { return b.Before(a) })
	test("range_overleft", (*types.Range).OverLeft)
	test("range_overright", (*types.Range).OverRight)
	l.fn("range_contains_elem", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewBool(a[0].Range().ContainsValue(a[1])), nil
	})
	l.fn("elem_contained_by_range", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewBool(a[1].Range().ContainsValue(a[0])), nil
	})

	op := func(name string, f func(a, b *types.Range) (*types.Range, error)) {
		l.fn(name, func(_ *Ctx, a []types.Datum) (types.Datum, error) { return newRange(f(a[0].Range(), a[1].Range())) })
	}
	op("range_union", func(a, b *types.Range) (*types.Range, error) { return a.Union(b, false) })
	op("range_merge", func(a, b *types.Range) (*types.Range, error) { return a.Union(b, true) })
	op("range_intersect", (*types.Range).Intersect)
	op("range_intersect_agg_transfn", (*types.Range).Intersect)
	op("range_minus", func(a, b *types.Range) (*types.Range, error) {
		pieces, err := a.Minus(b)
		switch {
		case err != nil:
			return nil, err
		case len(pieces) == 0:
			return types.EmptyRange(a.Type), nil
		case len(pieces) == 2:
			return nil, pgerr.New(pgerr.DataException, "result of range difference would not be contiguous")
		}
		return pieces[0], nil
	})
	distance := func(name string, f func(a, b types.Datum) float64) {
		l.fn(name, func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewFloat(f(a[0], a[1])), nil })
	}
	distance("int4range_subdiff", func(a, b types.Datum) float64 { return float64(a.Int()) - float64(b.Int()) })
	distance("int8range_subdiff", func(a, b types.Datum) float64 { return float64(a.Int()) - float64(b.Int()) })
	distance("daterange_subdiff", func(a, b types.Datum) float64 { return float64(a.Int()) - float64(b.Int()) })
	distance("tsrange_subdiff", func(a, b types.Datum) float64 { return (float64(a.Int()) - float64(b.Int())) / 1e6 })
	distance("tstzrange_subdiff", func(a, b types.Datum) float64 { return (float64(a.Int()) - float64(b.Int())) / 1e6 })
	l.fn("numrange_subdiff", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		d, err := types.NumericSub(a[0].Numeric(), a[1].Numeric())
		if err != nil {
			return types.Null, err
		}
		return types.NewFloat(types.NumericToFloat(d)), nil
	})
}

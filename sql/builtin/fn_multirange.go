package builtin

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func newMultirange(m *types.Multirange, err error) (types.Datum, error) {
	if err != nil {
		return types.Null, err
	}
	return types.NewMultirange(m), nil
}

// setOf sees a range as a multirange.
func setOf(d types.Datum) *types.Multirange {
	if d.Kind() == types.KindMultirange {
		return d.Multirange()
	}
	r := d.Range()
	m := &types.Multirange{Type: r.Type.Multi}
	if !r.Empty {
		m.Ranges = []*types.Range{r}
	}
	return m
}

func registerMultirange(l library) {
	errNullMember := pgerr.New(pgerr.NullValueNotAllowed, "multirange values cannot contain null members")
	l.bound("multirange_constructor0", func(c *Call) (EvalFunc, error) {
		empty := types.NewMultirange(&types.Multirange{Type: c.Ret})
		return func(*Ctx, []types.Datum) (types.Datum, error) { return empty, nil }, nil
	})
	l.bound("multirange_constructor1", func(*Call) (EvalFunc, error) {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewMultirange(setOf(a[0])), nil }, nil
	})
	l.bound("multirange_constructor2", func(c *Call) (EvalFunc, error) {
		t := c.Ret
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			arr := a[0].Array()
			if len(arr.Dims) > 1 {
				return types.Null, pgerr.New(pgerr.CardinalityViolation, "multiranges cannot be constructed from multidimensional arrays")
			}
			var ranges []*types.Range
			for _, e := range arr.Elems {
				if e.IsNull() {
					return types.Null, errNullMember
				}
				ranges = append(ranges, e.Range())
			}
			return newMultirange(types.MakeMultirange(t, ranges))
		}, nil
	})

	value := func(name string, f func(m *types.Multirange) types.Datum) {
		l.fn(name, func(_ *Ctx, a []types.Datum) (types.Datum, error) { return f(a[0].Multirange()), nil })
	}
	value("multirange_lower", func(m *types.Multirange) types.Datum { return m.Span().Lower })
	value("multirange_upper", func(m *types.Multirange) types.Datum { return m.Span().Upper })
	value("multirange_lower_inc", func(m *types.Multirange) types.Datum { return types.NewBool(m.Span().LowerInc) })
	value("multirange_upper_inc", func(m *types.Multirange) types.Datum { return types.NewBool(m.Span().UpperInc) })
	value("multirange_lower_inf", func(m *types.Multirange) types.Datum {
		return types.NewBool(len(m.Ranges) > 0 && m.Span().Lower.IsNull())
	})
	value("multirange_upper_inf", func(m *types.Multirange) types.Datum {
		return types.NewBool(len(m.Ranges) > 0 && m.Span().Upper.IsNull())
	})
	value("multirange_empty", func(m *types.Multirange) types.Datum { return types.NewBool(len(m.Ranges) == 0) })
	value("range_merge_from_multirange", func(m *types.Multirange) types.Datum { return types.NewRange(m.Span()) })
	l.rows("multirange_unnest", func(_ *Ctx, a []types.Datum) (RowIter, error) {
		var out []types.Datum
		for _, r := range a[0].Multirange().Ranges {
			out = append(out, types.NewRange(r))
		}
		return columnList(out), nil
	})

	// Each test exists for multirange and multirange, and for the two mixed forms. f sees ranges as multiranges, of
	// which it gets none that is empty unless the test says so.
	test := func(names [3]string, f func(a, b *types.Multirange) bool) {
		for _, name := range names {
			l.fn(name, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				return types.NewBool(f(setOf(a[0]), setOf(a[1]))), nil
			})
		}
	}
	spans := func(f func(a, b *types.Range) bool) func(a, b *types.Multirange) bool {
		return func(a, b *types.Multirange) bool { return f(a.Span(), b.Span()) }
	}
	names := func(verb string) [3]string {
		return [3]string{"multirange_" + verb + "_multirange", "multirange_" + verb + "_range", "range_" + verb + "_multirange"}
	}
	contains := func(a, b *types.Multirange) bool {
		for _, r := range b.Ranges {
			if !a.Contains(r) {
				return false
			}
		}
		return true
	}
	test(names("contains"), contains)
	test(names("contained_by"), func(a, b *types.Multirange) bool { return contains(b, a) })
	test(names("overlaps"), func(a, b *types.Multirange) bool {
		for _, r := range b.Ranges {
			if a.Overlaps(r) {
				return true
			}
		}
		return false
	})
	// Only the outer ends of the two can touch when there is nothing in common.
	test(names("adjacent"), spans((*types.Range).Adjacent))
	test(names("before"), spans((*types.Range).Before))
	test(names("after"), spans(func(a, b *types.Range) bool { return b.Before(a) }))
	test(names("overleft"), spans((*types.Range).OverLeft))
	test(names("overright"), spans((*types.Range).OverRight))
	l.fn("multirange_contains_elem", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewBool(a[0].Multirange().ContainsValue(a[1])), nil
	})
	l.fn("elem_contained_by_multirange", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewBool(a[1].Multirange().ContainsValue(a[0])), nil
	})

	op := func(name string, f func(a, b *types.Multirange) (*types.Multirange, error)) {
		l.fn(name, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			return newMultirange(f(a[0].Multirange(), a[1].Multirange()))
		})
	}
	op("multirange_union", func(a, b *types.Multirange) (*types.Multirange, error) {
		return types.MakeMultirange(a.Type, append(append([]*types.Range(nil), a.Ranges...), b.Ranges...))
	})
	op("multirange_minus", (*types.Multirange).Minus)
	op("multirange_intersect", (*types.Multirange).Intersect)
	op("multirange_intersect_agg_transfn", (*types.Multirange).Intersect)

	l.add("range_agg(*)", &impl{acc: func(c *Call) (func() Accumulator, error) {
		return func() Accumulator { return &rangeAgg{t: c.Ret} }, nil
	}})
	agg[rangeIntersectAgg](l, "range_intersect_agg")
}

// rangeAgg is range_agg: the union of ranges and multiranges.
type rangeAgg struct {
	t      *types.T
	ranges []*types.Range
	any    bool
}

func (g *rangeAgg) Add(_ *Ctx, a []types.Datum) error {
	if a[0].IsNull() {
		return nil
	}
	g.any = true
	g.ranges = append(g.ranges, setOf(a[0]).Ranges...)
	return nil
}

func (g *rangeAgg) Result(*Ctx) (types.Datum, error) {
	if !g.any {
		return types.Null, nil
	}
	return newMultirange(types.MakeMultirange(g.t, g.ranges))
}

// rangeIntersectAgg is range_intersect_agg of ranges or multiranges.
type rangeIntersectAgg struct{ v types.Datum }

func (g *rangeIntersectAgg) Add(_ *Ctx, a []types.Datum) (err error) {
	switch {
	case a[0].IsNull():
	case g.v.IsNull():
		g.v = a[0]
	case g.v.Kind() == types.KindRange:
		g.v, err = newRange(g.v.Range().Intersect(a[0].Range()))
	default:
		g.v, err = newMultirange(g.v.Multirange().Intersect(a[0].Multirange()))
	}
	return err
}

func (g *rangeIntersectAgg) Result(*Ctx) (types.Datum, error) { return g.v, nil }

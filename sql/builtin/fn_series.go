package builtin

import (
	"strings"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// oneColumn yields single values until next reports the end.
type oneColumn struct {
	row  [1]types.Datum
	next func() (types.Datum, bool, error)
}

func (o *oneColumn) Next() ([]types.Datum, bool, error) {
	d, ok, err := o.next()
	if !ok || err != nil {
		return nil, false, err
	}
	o.row[0] = d
	return o.row[:], true, nil
}

func columnOf(next func() (types.Datum, bool, error)) RowIter { return &oneColumn{next: next} }

// listIter yields rows that are all known.
type listIter struct{ rows [][]types.Datum }

// ListRows returns rows that are there already.
func ListRows(rows [][]types.Datum) RowIter { return &listIter{rows} }

func (l *listIter) Next() ([]types.Datum, bool, error) {
	if len(l.rows) == 0 {
		return nil, false, nil
	}
	r := l.rows[0]
	l.rows = l.rows[1:]
	return r, true, nil
}

func columnList(vals []types.Datum) RowIter {
	return columnOf(func() (types.Datum, bool, error) {
		if len(vals) == 0 {
			return types.Null, false, nil
		}
		v := vals[0]
		vals = vals[1:]
		return v, true, nil
	})
}

func (l library) rows(name string, f func(ctx *Ctx, a []types.Datum) (RowIter, error)) {
	l.add(name, &impl{rows: f})
}

func errZeroStep() error {
	return pgerr.New(pgerr.InvalidParameterValue, "step size cannot equal zero")
}

func registerSeries(l library) {
	ints := func(_ *Ctx, a []types.Datum) (RowIter, error) {
		cur, end, step := a[0].Int(), a[1].Int(), int64(1)
		if len(a) > 2 {
			step = a[2].Int()
		}
		if step == 0 {
			return nil, errZeroStep()
		}
		done := false
		return columnOf(func() (types.Datum, bool, error) {
			if done || step > 0 && cur > end || step < 0 && cur < end {
				return types.Null, false, nil
			}
			d := types.NewInt(cur)
			var ok bool
			if cur, ok = addInt(cur, step); !ok {
				done = true
			}
			return d, true, nil
		}), nil
	}
	for _, n := range []string{"generate_series_int4", "generate_series_step_int4", "generate_series_int8", "generate_series_step_int8"} {
		l.rows(n, ints)
	}
	numerics := func(_ *Ctx, a []types.Datum) (RowIter, error) {
		cur, end, step := a[0].Numeric(), a[1].Numeric(), types.NumericOne
		if len(a) > 2 {
			step = a[2].Numeric()
		}
		for i, what := range []string{"start value", "stop value", "step size"} {
			if i < len(a) {
				if d := a[i].Numeric(); d.Form == apd.NaN {
					return nil, pgerr.New(pgerr.InvalidParameterValue, "%s cannot be NaN", what)
				} else if !finite(d) {
					return nil, pgerr.New(pgerr.InvalidParameterValue, "%s cannot be infinity", what)
				}
			}
		}
		if step.Sign() == 0 {
			return nil, errZeroStep()
		}
		done := false
		return columnOf(func() (types.Datum, bool, error) {
			c := types.CompareNumeric(cur, end)
			if done || step.Negative && c < 0 || !step.Negative && c > 0 {
				return types.Null, false, nil
			}
			d := types.NewNumeric(cur)
			if next, err := types.NumericAdd(cur, step); err == nil {
				cur = next
			} else {
				done = true // past the largest number, and so past the end
			}
			return d, true, nil
		}), nil
	}
	l.rows("generate_series_numeric", numerics)
	l.rows("generate_series_step_numeric", numerics)
	stamps := func(zoned bool) func(c *Ctx, a []types.Datum) (RowIter, error) {
		return func(c *Ctx, a []types.Datum) (RowIter, error) {
			cur, end, step := a[0].Int(), a[1].Int(), a[2].Interval()
			mk, loc := types.NewTimestamp, time.UTC
			if zoned {
				mk, loc = types.NewTimestampTZ, c.location()
			}
			sign := types.CompareInterval(step, &types.Interval{})
			if sign == 0 {
				return nil, errZeroStep()
			}
			return columnOf(func() (types.Datum, bool, error) {
				if sign > 0 && cur > end || sign < 0 && cur < end {
					return types.Null, false, nil
				}
				d := mk(cur)
				var err error
				cur, err = AddInterval(cur, step, loc)
				return d, true, err
			}), nil
		}
	}
	l.rows("generate_series_timestamp", stamps(false))
	l.rows("generate_series_timestamptz", stamps(true))
	// The function of information_schema that numbers the elements of an array.
	l.rows("_pg_expandarray", func(_ *Ctx, a []types.Datum) (RowIter, error) {
		var out [][]types.Datum
		for i, e := range a[0].Array().Elems {
			out = append(out, []types.Datum{e, types.NewInt(int64(i + 1))})
		}
		return &listIter{out}, nil
	})
	l.rows("array_unnest", func(_ *Ctx, a []types.Datum) (RowIter, error) { return columnList(a[0].Array().Elems), nil })
	subscripts := func(_ *Ctx, a []types.Datum) (RowIter, error) {
		arr, dim := a[0].Array(), int(a[1].Int())
		if dim < 1 || dim > len(arr.Dims) || len(arr.Elems) == 0 {
			return columnList(nil), nil
		}
		d := arr.Dims[dim-1]
		i, reverse := int32(0), len(a) > 2 && a[2].Bool()
		return columnOf(func() (types.Datum, bool, error) {
			if i >= d.Len {
				return types.Null, false, nil
			}
			v := d.Lower + i
			if reverse {
				v = d.Lower + d.Len - 1 - i
			}
			i++
			return types.NewInt(int64(v)), true, nil
		}), nil
	}
	// The catalog's implementation returns an array of records.
	for _, name := range []string{"pg_partition_tree", "pg_partition_ancestors", "pg_get_publication_tables", "pg_event_trigger_ddl_commands", "pg_event_trigger_dropped_objects",
		"pg_logical_slot_get_changes", "pg_logical_slot_peek_changes", "pg_logical_slot_get_binary_changes", "pg_logical_slot_peek_binary_changes"} {
		l.rows(name, func(c *Ctx, a []types.Datum) (RowIter, error) {
			var eval EvalFunc
			if c != nil && c.Hook != nil {
				eval = c.Hook(FuncsNamed(name)[0])
			}
			if eval == nil {
				return &listIter{}, nil
			}
			d, err := eval(c, a)
			if err != nil {
				return nil, err
			}
			var rows [][]types.Datum
			for _, e := range d.Array().Elems {
				rows = append(rows, e.Tuple().Elems)
			}
			return &listIter{rows}, nil
		})
	}
	l.rows("pg_options_to_table", func(_ *Ctx, a []types.Datum) (RowIter, error) {
		var out [][]types.Datum
		for _, e := range a[0].Array().Elems {
			if e.IsNull() {
				continue
			}
			name, value, ok := strings.Cut(e.Str(), "=")
			row := []types.Datum{types.NewString(name), types.Null}
			if ok {
				row[1] = types.NewString(value)
			}
			out = append(out, row)
		}
		return &listIter{out}, nil
	})
	l.rows("generate_subscripts", subscripts)
	l.rows("generate_subscripts_nodir", subscripts)
}

package plpgsql

import (
	"context"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// iterate runs a loop's body once. more is false when the loop ends, with c for what is around it.
func (m *Machine) iterate(ctx context.Context, body []step, label string) (c control, more bool, err error) {
	if err := ctx.Err(); err != nil {
		return c, false, context.Cause(ctx)
	}
	c, err = m.run(ctx, body)
	if err != nil {
		return c, false, err
	}
	switch c.kind {
	case goOn:
		return c, true, nil
	case again:
		if c.label == "" || c.label == label {
			return control{}, true, nil
		}
	case leave:
		if c.label == "" || c.label == label {
			return control{}, false, nil
		}
	}
	return c, false, nil
}

func (m *Machine) forInt(ctx context.Context, s *forInt) (control, error) {
	none := control{}
	from, err := m.integer(ctx, s.from, "lower bound")
	if err != nil {
		return none, err
	}
	to, err := m.integer(ctx, s.to, "upper bound")
	if err != nil {
		return none, err
	}
	step := int64(1)
	if s.by != nil {
		if step, err = m.integer(ctx, s.by, "BY value"); err != nil {
			return none, err
		}
		if step <= 0 {
			return none, pgerr.New(pgerr.InvalidParameterValue, "BY value of FOR loop must be greater than zero")
		}
	}
	any := false
	for i := from; !s.reverse && i <= to || s.reverse && i >= to; {
		any = true
		m.vars[s.v].D = types.NewInt(i)
		c, more, err := m.iterate(ctx, s.body, s.label)
		if err != nil {
			return c, err
		}
		if !more {
			m.found(any)
			return c, nil
		}
		if s.reverse {
			i -= step
		} else {
			i += step
		}
	}
	m.found(any)
	return none, nil
}

func (m *Machine) forQuery(ctx context.Context, s *forQuery) (control, error) {
	cols, rows, err := m.collect(ctx, s.query, s.dyn, s.using)
	if err != nil {
		return control{}, err
	}
	if len(rows) == 0 {
		if err := m.into(ctx, s.into, cols, nil); err != nil {
			return control{}, err
		}
	}
	for _, row := range rows {
		if err := m.into(ctx, s.into, cols, row); err != nil {
			return control{}, err
		}
		c, more, err := m.iterate(ctx, s.body, s.label)
		if err != nil {
			return c, err
		}
		if !more {
			m.found(true)
			return c, nil
		}
	}
	m.found(len(rows) > 0)
	return control{}, nil
}

func (m *Machine) foreach(ctx context.Context, s *foreach) (control, error) {
	v, err := m.Host.Eval(ctx, s.in, m.vars)
	if err != nil {
		return control{}, err
	}
	if v.D.IsNull() {
		return control{}, pgerr.New(pgerr.NullValueNotAllowed, "FOREACH expression must not be null")
	}
	if v.T.BaseType().Elem == nil {
		return control{}, pgerr.New(pgerr.DatatypeMismatch, "FOREACH expression must yield an array, not type %s", types.TypeName(v.T))
	}
	a := v.D.Array()
	if s.slice > len(a.Dims) {
		return control{}, pgerr.New("2202E", "slice dimension (%d) is out of the valid range 0..%d", s.slice, len(a.Dims))
	}
	n := 1
	for _, d := range a.Dims[len(a.Dims)-s.slice:] {
		n *= int(d.Len)
	}
	for i := 0; i+n <= len(a.Elems) && n > 0; i += n {
		x := Value{a.Elems[i], v.T.BaseType().Elem}
		if s.slice > 0 {
			x = Value{types.NewArray(&types.Array{Elem: a.Elem, Dims: a.Dims[len(a.Dims)-s.slice:], Elems: a.Elems[i : i+n]}), v.T}
		}
		if err := m.assignTo(ctx, s.to, x); err != nil {
			return control{}, err
		}
		c, more, err := m.iterate(ctx, s.body, s.label)
		if err != nil {
			return c, err
		}
		if !more {
			m.found(true)
			return c, nil
		}
	}
	m.found(len(a.Elems) > 0)
	return control{}, nil
}

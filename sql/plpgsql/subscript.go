package plpgsql

import (
	"context"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// subscript is [at], or [lower:at] with slice set; either bound of a slice may be absent.
type subscript struct {
	lower, at *Query
	slice     bool
}

// subscript reads what stands between brackets, and the closing one.
func (r *reader) subscript() (s subscript, err error) {
	bound := func() (*Query, error) {
		if r.peek().sym(":") || r.peek().sym("]") {
			return nil, nil
		}
		return r.expr(":", "]")
	}
	if s.at, err = bound(); err != nil {
		return s, err
	}
	if r.takeSym(":") {
		s.lower, s.slice = s.at, true
		if s.at, err = bound(); err != nil {
			return s, err
		}
	}
	if s.at == nil && !s.slice {
		return s, r.unexpected()
	}
	return s, r.wantSym("]")
}

// setJSON replaces what stands at a path in a jsonb value.
func (m *Machine) setJSON(ctx context.Context, cur Value, index []subscript, x Value) (types.Datum, error) {
	set := &plan.JSONSet{Base: &plan.Const{D: cur.D, T: types.JSONB}}
	for _, s := range index {
		if s.slice {
			return types.Null, pgerr.New(pgerr.DatatypeMismatch, "jsonb subscript does not support slices")
		}
		v, err := m.Host.Eval(ctx, s.at, m.vars)
		if err != nil {
			return types.Null, err
		}
		to := types.Int4
		if v.T == nil || v.T.OID == types.OIDUnknown || v.T.Category == 'S' {
			to = types.Text
		}
		d, err := m.Host.Coerce(ctx, v, to)
		if err != nil {
			return types.Null, err
		}
		set.Path = append(set.Path, &plan.Const{D: d, T: to})
	}
	d, err := m.Host.Coerce(ctx, x, types.JSONB)
	if err != nil {
		return types.Null, err
	}
	set.Value = &plan.Const{D: types.Detach(d), T: types.JSONB}
	return set.Eval(&plan.EvalCtx{})
}

// setElement replaces an element or a slice of an array. A one-dimensional array grows as far as needed.
func (m *Machine) setElement(ctx context.Context, cur Value, index []subscript, x Value) (types.Datum, error) {
	t := cur.T
	if t != nil && t.BaseType().OID == types.OIDJSONB {
		return m.setJSON(ctx, cur, index, x)
	}
	if t == nil || t.BaseType().Elem == nil {
		return types.Null, pgerr.New(pgerr.DatatypeMismatch, "cannot subscript type %s because it does not support subscripting", types.TypeName(t))
	}
	bound := func(q *Query) (plan.Expr, error) {
		if q == nil {
			return nil, nil
		}
		v, err := m.Host.Eval(ctx, q, m.vars)
		if err != nil {
			return nil, err
		}
		d, err := m.Host.Coerce(ctx, v, types.Int4)
		return &plan.Const{D: d, T: types.Int4}, err
	}
	set := &plan.ArraySet{Arr: &plan.Const{D: cur.D, T: t}, Lower: make([]plan.Expr, len(index)), Upper: make([]plan.Expr, len(index)), T: t.BaseType()}
	for i, s := range index {
		var err error
		if set.Lower[i], err = bound(s.lower); err != nil {
			return types.Null, err
		}
		if set.Upper[i], err = bound(s.at); err != nil {
			return types.Null, err
		}
		set.Slice = set.Slice || s.slice
	}
	value := t.BaseType().Elem
	if set.Slice {
		value = t.BaseType()
		// Among slices a single number n means 1:n.
		for i, s := range index {
			if !s.slice {
				set.Lower[i] = &plan.Const{D: types.NewInt(1), T: types.Int4}
			}
		}
	}
	d, err := m.Host.Coerce(ctx, x, value)
	if err != nil {
		return types.Null, err
	}
	set.Value = &plan.Const{D: types.Detach(d), T: value}
	return set.Eval(&plan.EvalCtx{})
}

package plan

import "github.com/meridian-db/meridian/sql/types"

// DistinctFrom is left IS [NOT] DISTINCT FROM right; Eq is the equality of the two, over slots of its own.
type DistinctFrom struct {
	Left, Right Expr
	Eq          *Func // over two Holes
	Not         bool
}

func (e *DistinctFrom) Type() *types.T { return types.Bool }
func (e *DistinctFrom) Eval(c *EvalCtx) (types.Datum, error) {
	l, err := e.Left.Eval(c)
	if err != nil {
		return types.Null, err
	}
	r, err := e.Right.Eval(c)
	if err != nil {
		return types.Null, err
	}
	var distinct bool
	if l.IsNull() || r.IsNull() {
		distinct = l.IsNull() != r.IsNull()
	} else {
		eq, err := e.Eq.callWith(c, l, r)
		if err != nil {
			return types.Null, err
		}
		distinct = eq.IsNull() || !eq.Bool()
	}
	return types.NewBool(distinct != e.Not), nil
}
func (e *DistinctFrom) kids(f func(*Expr)) { f(&e.Left); f(&e.Right) }
func (e *DistinctFrom) copy() Expr         { c := *e; return &c }

// call2 calls a binary operator on values of its argument types.
func (e *Func) call2(c *EvalCtx, l, r types.Datum) (types.Datum, error) {
	if e.Call.Strict && (l.IsNull() || r.IsNull()) {
		return types.Null, nil
	}
	base := len(c.args)
	c.args = append(c.args, l, r)
	d, err := e.Call.Eval(c.B, c.args[base:base+2:base+2])
	c.args = c.args[:base]
	return d, err
}

// callWith applies an operator whose arguments may be casts over Hole, to raw values.
// CallWith applies an operator whose arguments are casts over Holes to raw values.
func (e *Func) CallWith(c *EvalCtx, l, r types.Datum) (types.Datum, error) {
	return e.callWith(c, l, r)
}

func (e *Func) callWith(c *EvalCtx, l, r types.Datum) (types.Datum, error) {
	lv, err := fillHole(c, e.Args[0], l)
	if err != nil {
		return types.Null, err
	}
	rv, err := fillHole(c, e.Args[1], r)
	if err != nil {
		return types.Null, err
	}
	return e.call2(c, lv, rv)
}

// fillHole evaluates e, a chain of casts over a Hole, with d in the hole's place.
func fillHole(c *EvalCtx, e Expr, d types.Datum) (types.Datum, error) {
	switch x := e.(type) {
	case *Hole:
		return d, nil
	case *Cast:
		v, err := fillHole(c, x.Arg, d)
		if err != nil || v.IsNull() || x.C.NoOp {
			return v, err
		}
		return x.C.Eval(c.B, v)
	}
	return e.Eval(c)
}

// FillHole evaluates a chain of casts over a Hole with d in its place.
func FillHole(c *EvalCtx, e Expr, d types.Datum) (types.Datum, error) { return fillHole(c, e, d) }

// Hole stands for a value given at run time in the operator of a Quantified, Subquery or NullIf.
type Hole struct{ T *types.T }

func (e *Hole) Type() *types.T                     { return e.T }
func (e *Hole) Eval(*EvalCtx) (types.Datum, error) { return types.Null, nil }
func (e *Hole) kids(func(*Expr))                   {}
func (e *Hole) copy() Expr                         { c := *e; return &c }

// InList is left IN (constants and simple values), all of one type compared by types.Compare.
type InList struct {
	Left Expr
	List []Expr
	Not  bool
	Eq   *Func // over two Holes

	quick bool // Eq compares values as they are
}

func (e *InList) Type() *types.T { return types.Bool }
func (e *InList) Eval(c *EvalCtx) (types.Datum, error) {
	l, err := e.Left.Eval(c)
	if err != nil {
		return types.Null, err
	}
	null := l.IsNull()
	if null && len(e.List) > 0 {
		return types.Null, nil
	}
	for _, x := range e.List {
		d, err := x.Eval(c)
		if err != nil {
			return types.Null, err
		}
		if d.IsNull() {
			null = true
			continue
		}
		if e.quick {
			if types.Compare(e.Eq.Call.Args[0], l, d) == 0 {
				return types.NewBool(!e.Not), nil
			}
			continue
		}
		r, err := e.Eq.callWith(c, l, d)
		if err != nil {
			return types.Null, err
		}
		if r.IsNull() {
			null = true
		} else if r.Bool() {
			return types.NewBool(!e.Not), nil
		}
	}
	if null {
		return types.Null, nil
	}
	return types.NewBool(e.Not), nil
}
func (e *InList) kids(f func(*Expr)) { f(&e.Left); kidSlice(e.List, f) }
func (e *InList) copy() Expr {
	c := *e
	c.List = append([]Expr(nil), e.List...)
	return &c
}

// AnyAll is left op ANY|ALL (array).
type AnyAll struct {
	Left, Right Expr
	All         bool
	Op          *Func // over two Holes
}

func (e *AnyAll) Type() *types.T { return types.Bool }
func (e *AnyAll) Eval(c *EvalCtx) (types.Datum, error) {
	l, err := e.Left.Eval(c)
	if err != nil {
		return types.Null, err
	}
	r, err := e.Right.Eval(c)
	if err != nil || r.IsNull() {
		return types.Null, err
	}
	null := false
	for _, d := range r.Array().Elems {
		v, err := e.Op.callWith(c, l, d)
		if err != nil {
			return types.Null, err
		}
		if v.IsNull() {
			null = true
		} else if v.Bool() != e.All {
			return types.NewBool(!e.All), nil
		}
	}
	if null {
		return types.Null, nil
	}
	return types.NewBool(e.All), nil
}
func (e *AnyAll) kids(f func(*Expr)) { f(&e.Left); f(&e.Right) }
func (e *AnyAll) copy() Expr         { c := *e; return &c }

// RowCompare compares two rows of the same width.
type RowCompare struct {
	Left, Right []Expr
	Op          string // = <> < <= > >=
	Eqs         []*Func
	Lts         []*Func // only for the ordering operators
}

func (e *RowCompare) Type() *types.T { return types.Bool }
func (e *RowCompare) Eval(c *EvalCtx) (types.Datum, error) {
	null := false
	for i := range e.Left {
		l, err := e.Left[i].Eval(c)
		if err != nil {
			return types.Null, err
		}
		r, err := e.Right[i].Eval(c)
		if err != nil {
			return types.Null, err
		}
		eq, err := e.Eqs[i].callWith(c, l, r)
		if err != nil {
			return types.Null, err
		}
		switch {
		case eq.IsNull():
			if e.Op != "=" && e.Op != "<>" {
				return types.Null, nil
			}
			null = true
		case !eq.Bool():
			switch e.Op {
			case "=":
				return types.NewBool(false), nil
			case "<>":
				return types.NewBool(true), nil
			}
			return e.Lts[i].callWith(c, l, r)
		}
	}
	if null {
		return types.Null, nil
	}
	return types.NewBool(e.Op == "=" || e.Op == "<=" || e.Op == ">="), nil
}
func (e *RowCompare) kids(f func(*Expr)) { kidSlice(e.Left, f); kidSlice(e.Right, f) }
func (e *RowCompare) copy() Expr {
	c := *e
	c.Left = append([]Expr(nil), e.Left...)
	c.Right = append([]Expr(nil), e.Right...)
	return &c
}

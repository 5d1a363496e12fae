package plan

import "github.com/meridian-db/meridian/sql/types"

// NullIf is NULLIF(left, right).
type NullIf struct {
	Left, Right Expr
	Eq          *Func
}

func (e *NullIf) Type() *types.T { return e.Left.Type() }
func (e *NullIf) Eval(c *EvalCtx) (types.Datum, error) {
	l, err := e.Left.Eval(c)
	if err != nil || l.IsNull() {
		return types.Null, err
	}
	r, err := e.Right.Eval(c)
	if err != nil {
		return types.Null, err
	}
	eq, err := e.Eq.callWith(c, l, r)
	if err != nil {
		return types.Null, err
	}
	if !eq.IsNull() && eq.Bool() {
		return types.Null, nil
	}
	return l, nil
}
func (e *NullIf) kids(f func(*Expr)) { f(&e.Left); f(&e.Right) }
func (e *NullIf) copy() Expr         { c := *e; return &c }

// Coalesce is COALESCE(args).
type Coalesce struct {
	Args []Expr
	T    *types.T
}

func (e *Coalesce) Type() *types.T { return e.T }
func (e *Coalesce) Eval(c *EvalCtx) (types.Datum, error) {
	for _, a := range e.Args {
		d, err := a.Eval(c)
		if err != nil || !d.IsNull() {
			return d, err
		}
	}
	return types.Null, nil
}
func (e *Coalesce) kids(f func(*Expr)) { kidSlice(e.Args, f) }
func (e *Coalesce) copy() Expr {
	return &Coalesce{append([]Expr(nil), e.Args...), e.T}
}

// MinMax is GREATEST or LEAST.
type MinMax struct {
	Least bool
	Args  []Expr
	T     *types.T
}

func (e *MinMax) Type() *types.T { return e.T }
func (e *MinMax) Eval(c *EvalCtx) (types.Datum, error) {
	best := types.Null
	for _, a := range e.Args {
		d, err := a.Eval(c)
		if err != nil {
			return types.Null, err
		}
		if d.IsNull() {
			continue
		}
		if best.IsNull() {
			best = d
		} else if cmp := types.Compare(e.T, d, best); (cmp < 0) == e.Least && cmp != 0 {
			best = d
		}
	}
	return best, nil
}
func (e *MinMax) kids(f func(*Expr)) { kidSlice(e.Args, f) }
func (e *MinMax) copy() Expr {
	c := *e
	c.Args = append([]Expr(nil), e.Args...)
	return &c
}

// Case is CASE; Arg, if any, is compared by the conditions through ArgSlot.
type Case struct {
	Conds, Results []Expr
	Else           Expr // nil: NULL
	T              *types.T
	Arg            Expr // nil for the searched form
	ArgSlot        Slot
}

func (e *Case) Type() *types.T { return e.T }
func (e *Case) Eval(c *EvalCtx) (types.Datum, error) {
	if e.Arg != nil {
		d, err := e.Arg.Eval(c)
		if err != nil {
			return types.Null, err
		}
		c.Frame[e.ArgSlot] = d
	}
	for i, w := range e.Conds {
		ok, err := EvalBool(c, w)
		if err != nil {
			return types.Null, err
		}
		if ok {
			return e.Results[i].Eval(c)
		}
	}
	if e.Else == nil {
		return types.Null, nil
	}
	return e.Else.Eval(c)
}
func (e *Case) kids(f func(*Expr)) {
	if e.Arg != nil {
		f(&e.Arg)
	}
	kidSlice(e.Conds, f)
	kidSlice(e.Results, f)
	if e.Else != nil {
		f(&e.Else)
	}
}
func (e *Case) copy() Expr {
	c := *e
	c.Conds = append([]Expr(nil), e.Conds...)
	c.Results = append([]Expr(nil), e.Results...)
	return &c
}

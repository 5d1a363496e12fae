package plan

import "github.com/meridian-db/meridian/sql/types"

// And is a conjunction in three-valued logic.
type And struct{ Args []Expr }

func (e *And) Type() *types.T { return types.Bool }
func (e *And) Eval(c *EvalCtx) (types.Datum, error) {
	null := false
	for _, a := range e.Args {
		d, err := a.Eval(c)
		if err != nil {
			return types.Null, err
		}
		if d.IsNull() {
			null = true
		} else if !d.Bool() {
			return d, nil
		}
	}
	if null {
		return types.Null, nil
	}
	return types.NewBool(true), nil
}
func (e *And) kids(f func(*Expr)) { kidSlice(e.Args, f) }
func (e *And) copy() Expr         { return &And{append([]Expr(nil), e.Args...)} }

// Or is a disjunction in three-valued logic.
type Or struct{ Args []Expr }

func (e *Or) Type() *types.T { return types.Bool }
func (e *Or) Eval(c *EvalCtx) (types.Datum, error) {
	null := false
	for _, a := range e.Args {
		d, err := a.Eval(c)
		if err != nil {
			return types.Null, err
		}
		if d.IsNull() {
			null = true
		} else if d.Bool() {
			return d, nil
		}
	}
	if null {
		return types.Null, nil
	}
	return types.NewBool(false), nil
}
func (e *Or) kids(f func(*Expr)) { kidSlice(e.Args, f) }
func (e *Or) copy() Expr         { return &Or{append([]Expr(nil), e.Args...)} }

// Not negates.
type Not struct{ Arg Expr }

func (e *Not) Type() *types.T { return types.Bool }
func (e *Not) Eval(c *EvalCtx) (types.Datum, error) {
	d, err := e.Arg.Eval(c)
	if err != nil || d.IsNull() {
		return types.Null, err
	}
	return types.NewBool(!d.Bool()), nil
}
func (e *Not) kids(f func(*Expr)) { f(&e.Arg) }
func (e *Not) copy() Expr         { c := *e; return &c }

// IsNull is arg IS [NOT] NULL. A row is null when all its fields are, and not null when none is.
type IsNull struct {
	Arg Expr
	Not bool
}

func (e *IsNull) Type() *types.T { return types.Bool }
func (e *IsNull) Eval(c *EvalCtx) (types.Datum, error) {
	d, err := e.Arg.Eval(c)
	if err != nil {
		return types.Null, err
	}
	if d.Kind() == types.KindTuple {
		for _, x := range d.Tuple().Elems {
			if x.IsNull() == e.Not {
				return types.NewBool(false), nil
			}
		}
		return types.NewBool(true), nil
	}
	return types.NewBool(d.IsNull() != e.Not), nil
}
func (e *IsNull) kids(f func(*Expr)) { f(&e.Arg) }
func (e *IsNull) copy() Expr         { c := *e; return &c }

// BoolTest is arg IS [NOT] TRUE, FALSE or UNKNOWN.
type BoolTest struct {
	Arg     Expr
	Unknown bool // test for NULL, otherwise for Want
	Want    bool
	Not     bool
}

func (e *BoolTest) Type() *types.T { return types.Bool }
func (e *BoolTest) Eval(c *EvalCtx) (types.Datum, error) {
	d, err := e.Arg.Eval(c)
	if err != nil {
		return types.Null, err
	}
	var r bool
	if e.Unknown {
		r = d.IsNull()
	} else {
		r = !d.IsNull() && d.Bool() == e.Want
	}
	return types.NewBool(r != e.Not), nil
}
func (e *BoolTest) kids(f func(*Expr)) { f(&e.Arg) }
func (e *BoolTest) copy() Expr         { c := *e; return &c }

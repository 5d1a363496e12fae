package plan

import (
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// Expr is a typed, resolved expression. Expressions are immutable once Prepare has returned and are
// evaluated by any number of goroutines at once, each with an EvalCtx of its own.
type Expr interface {
	Type() *types.T
	Eval(c *EvalCtx) (types.Datum, error)
	// kids calls f with the place of each direct subexpression.
	kids(f func(*Expr))
	// copy returns a copy whose direct children may be replaced without touching the original.
	copy() Expr
}

// Slot is the index of a column in an execution's frame. Every column that any part of a plan produces has
// a slot of its own, so that an expression reads it by index wherever in the plan it stands, in a
// correlated subquery as well.
type Slot = int

// EvalCtx is what evaluation needs besides the expression. It belongs to one execution.
type EvalCtx struct {
	Frame  []types.Datum
	Params []types.Datum
	B      *builtin.Ctx
	Sub    SubqueryRunner
	// RowID makes unique keys for tables without a primary key.
	RowID func() int64
	args  []types.Datum // stack of arguments of calls being evaluated
	// invariants are the values of the plan's Invariants so far.
	invariants []invariantValue
}

// EvalBool evaluates a condition; NULL counts as false.
func EvalBool(c *EvalCtx, e Expr) (bool, error) {
	d, err := e.Eval(c)
	if err != nil || d.IsNull() {
		return false, err
	}
	return d.Bool(), nil
}

// Const is a literal or a folded expression.
type Const struct {
	D types.Datum
	T *types.T
}

func (e *Const) Type() *types.T                     { return e.T }
func (e *Const) Eval(*EvalCtx) (types.Datum, error) { return e.D, nil }
func (e *Const) kids(func(*Expr))                   {}
func (e *Const) copy() Expr                         { c := *e; return &c }

// Param is parameter N, counted from 0.
type Param struct {
	N int
	T *types.T
}

func (e *Param) Type() *types.T { return e.T }
func (e *Param) Eval(c *EvalCtx) (types.Datum, error) {
	if e.N >= len(c.Params) {
		return types.Null, pgerr.New(pgerr.UndefinedParameter, "there is no parameter $%d", e.N+1)
	}
	return c.Params[e.N], nil
}
func (e *Param) kids(func(*Expr)) {}
func (e *Param) copy() Expr       { c := *e; return &c }

// Col reads a slot.
type Col struct {
	Slot Slot
	T    *types.T
	Name string // for EXPLAIN: the column's name
	Rel  string // for EXPLAIN: the alias of its relation
	Pos  int32  // where the reference stands, for errors about grouping
}

func (e *Col) Type() *types.T                       { return e.T }
func (e *Col) Eval(c *EvalCtx) (types.Datum, error) { return c.Frame[e.Slot], nil }
func (e *Col) kids(func(*Expr))                     {}
func (e *Col) copy() Expr                           { c := *e; return &c }

// Func calls a builtin function or operator.
type Func struct {
	Name string // the function's name or the operator's symbol
	Call *builtin.Call
	Args []Expr
	T    *types.T
	Form FuncForm

	quick func(*EvalCtx) (types.Datum, error) // see quick.go
}

// FuncForm says how EXPLAIN shows a Func or Cast.
type FuncForm uint8

const (
	FormFunc     FuncForm = iota
	FormOperator          // Name is the operator's symbol
	FormExplicit          // a cast that was written
	FormImplicit          // a cast put in by the binder
)

func (e *Func) Type() *types.T { return e.T }
func (e *Func) Eval(c *EvalCtx) (types.Datum, error) {
	if e.quick != nil {
		return e.quick(c)
	}
	base := len(c.args)
	strict := e.Call.Strict
	for _, a := range e.Args {
		d, err := a.Eval(c)
		if err != nil || (strict && d.IsNull()) {
			c.args = c.args[:base]
			return types.Null, err
		}
		c.args = append(c.args, d)
	}
	end := len(c.args)
	d, err := e.Call.Eval(c.B, c.args[base:end:end])
	c.args = c.args[:base]
	return d, err
}
func (e *Func) kids(f func(*Expr)) { kidSlice(e.Args, f) }
func (e *Func) copy() Expr {
	return &Func{Name: e.Name, Call: e.Call, Args: append([]Expr(nil), e.Args...), T: e.T, Form: e.Form}
}

// Cmp returns the comparison that the operator is in its type's default order.
func (e *Func) Cmp() builtin.CmpOp { return e.Call.Cmp }

// Cast converts its argument.
type Cast struct {
	Arg  Expr
	C    *builtin.Cast
	T    *types.T
	Form FuncForm // FormExplicit or FormImplicit
}

func (e *Cast) Type() *types.T { return e.T }
func (e *Cast) Eval(c *EvalCtx) (types.Datum, error) {
	d, err := e.Arg.Eval(c)
	if err != nil || d.IsNull() || e.C.NoOp {
		return d, err
	}
	return e.C.Eval(c.B, d)
}
func (e *Cast) kids(f func(*Expr)) { f(&e.Arg) }
func (e *Cast) copy() Expr         { c := *e; return &c }

func kidSlice(s []Expr, f func(*Expr)) {
	for i := range s {
		if s[i] != nil {
			f(&s[i])
		}
	}
}

// walkExpr calls f for e and everything below it, without entering subqueries, while f returns true.
func walkExpr(e Expr, f func(Expr) bool) {
	if e == nil || !f(e) {
		return
	}
	e.kids(func(k *Expr) { walkExpr(*k, f) })
}

// rewriteExpr returns e with f applied bottom up; nodes that change are copied.
func rewriteExpr(e Expr, f func(Expr) Expr) Expr {
	if e == nil {
		return nil
	}
	var copied Expr
	i := 0
	e.kids(func(k *Expr) {
		n := rewriteExpr(*k, f)
		if n != *k {
			if copied == nil {
				copied = e.copy()
			}
			j, want := 0, i
			copied.kids(func(ck *Expr) {
				if j == want {
					*ck = n
				}
				j++
			})
		}
		i++
	})
	if copied != nil {
		e = copied
	}
	return f(e)
}

package plan

import (
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/types"
)

// This file prepares a finished plan's expressions for being evaluated row by row: what is the same for all rows is
// evaluated once, and comparisons and arithmetic of the common types skip the general call.

// Invariant is an expression over constants and parameters only. An execution evaluates it once, when it is first
// needed: what no row asks for raises no error.
type Invariant struct {
	Arg Expr
	N   int // place in the execution's list
}

type invariantValue struct {
	done bool
	d    types.Datum
}

func (e *Invariant) Type() *types.T     { return e.Arg.Type() }
func (e *Invariant) kids(f func(*Expr)) { f(&e.Arg) }
func (e *Invariant) copy() Expr         { c := *e; return &c }
func (e *Invariant) Eval(c *EvalCtx) (types.Datum, error) {
	if e.N < len(c.invariants) && c.invariants[e.N].done {
		return c.invariants[e.N].d, nil
	}
	d, err := e.Arg.Eval(c)
	if err != nil {
		return types.Null, err
	}
	for e.N >= len(c.invariants) {
		c.invariants = append(c.invariants, invariantValue{})
	}
	c.invariants[e.N] = invariantValue{true, d}
	return d, nil
}

// hasten prepares the expressions of a tree and of its subqueries.
func (o *optimizer) hasten(n Node) {
	h := &hastener{seen: map[Node]bool{}, funcs: map[*Func]bool{}}
	h.node(n)
	for _, s := range o.subqs {
		if s != nil && s.Root != nil {
			h.node(s.Root)
			for i := range s.Out {
				h.expr(&s.Out[i])
			}
		}
	}
}

type hastener struct {
	seen       map[Node]bool
	funcs      map[*Func]bool
	invariants int
}

func (h *hastener) node(n Node) {
	if h.seen[n] {
		return
	}
	h.seen[n] = true
	switch x := n.(type) {
	case *Scan:
		h.list(x.Filter)
	case *Filter:
		h.list(x.Conds)
	case *Project:
		h.list(x.Exprs)
	case *Join:
		h.list(x.On)
		h.list(x.LeftKeys)
		h.list(x.RightKeys)
	case *Agg:
		h.list(x.Group)
		for _, a := range x.Aggs {
			h.list(a.Args)
			if a.Filter != nil {
				h.expr(&a.Filter)
			}
		}
	case *Sort:
		for i := range x.Keys {
			h.expr(&x.Keys[i].E)
		}
	case *With:
		for _, c := range x.CTEs {
			h.node(c.Query)
			if c.Step != nil {
				h.node(c.Step)
			}
		}
	}
	n.inputs(func(c *Node) { h.node(*c) })
}

func (h *hastener) list(es []Expr) {
	for i := range es {
		h.expr(&es[i])
	}
}

// expr rewrites one expression. Expressions may be shared between nodes, so nothing is changed in place but the
// way a Func evaluates itself.
func (h *hastener) expr(e *Expr) {
	*e = rewriteTop(*e, func(x Expr) (Expr, bool) {
		if steady, works := invariant(x); steady {
			if !works {
				return x, true
			}
			h.invariants++
			return &Invariant{Arg: x, N: h.invariants - 1}, true
		}
		return x, false
	})
	walkExpr(*e, func(x Expr) bool {
		switch x := x.(type) {
		case *Func:
			if !h.funcs[x] {
				h.funcs[x] = true
				x.quick = quickFunc(x)
			}
		case *InList:
			x.quick = plainEq(x.Eq)
		}
		return true
	})
}

// rewriteTop is rewriteExpr from the top: f says whether to leave what is below alone.
func rewriteTop(e Expr, f func(Expr) (Expr, bool)) Expr {
	x, stop := f(e)
	if stop {
		return x
	}
	var copied Expr
	i := 0
	e.kids(func(k *Expr) {
		if n := rewriteTop(*k, f); n != *k {
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
		return copied
	}
	return e
}

// invariant reports whether an expression is the same for all rows of an execution, and whether evaluating it is
// work.
func invariant(e Expr) (steady, works bool) {
	steady = true
	walkExpr(e, func(x Expr) bool {
		switch x := x.(type) {
		case *Const, *Param:
		case *Cast:
			works = works || !x.C.NoOp
		case *Func:
			works = true
			steady = steady && x.Call.Volatility != 'v' && x.Call.Eval != nil && !x.Call.RetSet
		case *And, *Or, *Not, *IsNull, *Coalesce, *NullIf:
			works = true
		default:
			steady = false
		}
		return steady
	})
	return steady, works
}

// plainEq reports whether an operator over two Holes is equality of values as they are.
func plainEq(f *Func) bool {
	if f == nil || f.Cmp() != builtin.CmpEQ || len(f.Args) != 2 {
		return false
	}
	for _, a := range f.Args {
		if _, ok := a.(*Hole); !ok {
			return false
		}
	}
	return comparable(f)
}

// comparable reports whether types.Compare, with the first argument's type, is what a comparison does.
func comparable(f *Func) bool {
	l, r := f.Call.Args[0].BaseType(), f.Call.Args[1].BaseType()
	switch l.Kind {
	case types.KindInt:
		return r.Kind == types.KindInt
	case types.KindDate, types.KindTimestamp, types.KindTimestampTZ, types.KindNumeric, types.KindFloat, types.KindBool:
		return l.OID == r.OID
	case types.KindString:
		return l.OID == r.OID && (l.OID == types.OIDText || l.OID == types.OIDBPChar || l.OID == types.OIDVarchar)
	}
	return false
}

// quickFunc returns a faster evaluation of a call, nil when there is none. A strict function of two arguments is
// given its arguments without the argument stack.
func quickFunc(f *Func) func(*EvalCtx) (types.Datum, error) {
	if len(f.Args) != 2 || !f.Call.Strict {
		return nil
	}
	var op func(l, r types.Datum) (types.Datum, bool)
	switch f.Call.Func.Name {
	case "numeric_add":
		op = types.AddSmallNumerics
	case "numeric_sub":
		op = types.SubSmallNumerics
	case "numeric_mul":
		op = types.MulSmallNumerics
	}
	switch {
	case op != nil:
	case f.Cmp() != builtin.CmpNone && len(f.Call.Args) == 2 && comparable(f):
		op = quickCompare(f)
	default:
		return nil
	}
	l, r := f.Args[0], f.Args[1]
	lc, leftCol := l.(*Col)
	var slot Slot
	if leftCol {
		slot = lc.Slot
	}
	return func(c *EvalCtx) (types.Datum, error) {
		var x types.Datum
		var err error
		if leftCol {
			x = c.Frame[slot]
		} else if x, err = l.Eval(c); err != nil {
			return types.Null, err
		}
		if x.IsNull() {
			return types.Null, nil
		}
		y, err := r.Eval(c)
		if err != nil || y.IsNull() {
			return types.Null, err
		}
		if d, ok := op(x, y); ok {
			return d, nil
		}
		base := len(c.args)
		c.args = append(c.args, x, y)
		d, err := f.Call.Eval(c.B, c.args[base:base+2:base+2])
		c.args = c.args[:base]
		return d, err
	}
}

func quickCompare(f *Func) func(l, r types.Datum) (types.Datum, bool) {
	t := f.Call.Args[0]
	b := t.BaseType()
	whole := b.OID != types.OIDXid8 && b.OID != types.OIDPgLSN
	switch b.Kind {
	case types.KindInt, types.KindDate, types.KindTimestamp, types.KindTimestampTZ, types.KindBool:
		if !whole {
			break
		}
		switch f.Cmp() {
		case builtin.CmpEQ:
			return func(l, r types.Datum) (types.Datum, bool) { return types.NewBool(l.Int() == r.Int()), true }
		case builtin.CmpNE:
			return func(l, r types.Datum) (types.Datum, bool) { return types.NewBool(l.Int() != r.Int()), true }
		case builtin.CmpLT:
			return func(l, r types.Datum) (types.Datum, bool) { return types.NewBool(l.Int() < r.Int()), true }
		case builtin.CmpLE:
			return func(l, r types.Datum) (types.Datum, bool) { return types.NewBool(l.Int() <= r.Int()), true }
		case builtin.CmpGT:
			return func(l, r types.Datum) (types.Datum, bool) { return types.NewBool(l.Int() > r.Int()), true }
		default:
			return func(l, r types.Datum) (types.Datum, bool) { return types.NewBool(l.Int() >= r.Int()), true }
		}
	case types.KindString:
		if b.OID != types.OIDBPChar && !b.Fold {
			switch f.Cmp() {
			case builtin.CmpEQ:
				return func(l, r types.Datum) (types.Datum, bool) { return types.NewBool(l.Str() == r.Str()), true }
			case builtin.CmpNE:
				return func(l, r types.Datum) (types.Datum, bool) { return types.NewBool(l.Str() != r.Str()), true }
			}
		}
	}
	var test func(c int) bool
	switch f.Cmp() {
	case builtin.CmpEQ:
		test = func(c int) bool { return c == 0 }
	case builtin.CmpNE:
		test = func(c int) bool { return c != 0 }
	case builtin.CmpLT:
		test = func(c int) bool { return c < 0 }
	case builtin.CmpLE:
		test = func(c int) bool { return c <= 0 }
	case builtin.CmpGT:
		test = func(c int) bool { return c > 0 }
	default:
		test = func(c int) bool { return c >= 0 }
	}
	return func(l, r types.Datum) (types.Datum, bool) { return types.NewBool(test(types.Compare(b, l, r))), true }
}

package plan

import (
	"strconv"

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

// SubqueryRunner executes the subplans of expressions.
type SubqueryRunner interface {
	RunSubquery(c *EvalCtx, s *Subquery) (types.Datum, error)
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

// ArrayCtor is ARRAY[...]; with Multi the elements are arrays that become one dimension more.
type ArrayCtor struct {
	Elems []Expr
	T     *types.T
	Multi bool
}

func (e *ArrayCtor) Type() *types.T { return e.T }
func (e *ArrayCtor) Eval(c *EvalCtx) (types.Datum, error) {
	a := &types.Array{Elem: e.T.Elem}
	if !e.Multi {
		if len(e.Elems) == 0 {
			return types.NewArray(a), nil
		}
		a.Elems = make([]types.Datum, len(e.Elems))
		for i, x := range e.Elems {
			d, err := x.Eval(c)
			if err != nil {
				return types.Null, err
			}
			a.Elems[i] = d
		}
		a.Dims = []types.ArrayDim{{Len: int32(len(e.Elems)), Lower: 1}}
		return types.NewArray(a), nil
	}
	for i, x := range e.Elems {
		d, err := x.Eval(c)
		if err != nil {
			return types.Null, err
		}
		var sub types.Array
		if !d.IsNull() {
			sub = *d.Array()
		}
		if i == 0 {
			if len(sub.Dims) > 0 {
				a.Dims = append([]types.ArrayDim{{Len: int32(len(e.Elems)), Lower: 1}}, sub.Dims...)
			}
		} else if !sameDims(a.Dims, sub.Dims) {
			return types.Null, pgerr.New(pgerr.ArraySubscriptError,
				"multidimensional arrays must have array expressions with matching dimensions")
		}
		a.Elems = append(a.Elems, sub.Elems...)
	}
	if len(a.Elems) == 0 {
		a.Dims = nil
	}
	return types.NewArray(a), nil
}
func sameDims(outer, sub []types.ArrayDim) bool {
	if len(outer) == 0 {
		return len(sub) == 0
	}
	if len(outer)-1 != len(sub) {
		return false
	}
	for i := range sub {
		if outer[i+1] != sub[i] {
			return false
		}
	}
	return true
}
func (e *ArrayCtor) kids(f func(*Expr)) { kidSlice(e.Elems, f) }
func (e *ArrayCtor) copy() Expr {
	c := *e
	c.Elems = append([]Expr(nil), e.Elems...)
	return &c
}

// Row is ROW(...), or the whole row of a relation.
type Row struct {
	Elems []Expr
	T     *types.T
	Names []string
	// Whole: a relation's row, which is NULL on the empty side of an outer join. That side has NULL in all
	// columns, as few other rows do.
	Whole bool
}

func (e *Row) Type() *types.T { return e.T }
func (e *Row) Eval(c *EvalCtx) (types.Datum, error) {
	t := &types.Tuple{Names: e.Names, Elems: make([]types.Datum, len(e.Elems)), Types: make([]*types.T, len(e.Elems))}
	null := true
	for i, x := range e.Elems {
		d, err := x.Eval(c)
		if err != nil {
			return types.Null, err
		}
		t.Elems[i], t.Types[i] = d, x.Type()
		null = null && d.IsNull()
	}
	if null && e.Whole && len(e.Elems) > 0 {
		return types.Null, nil
	}
	return types.NewTuple(t), nil
}
func (e *Row) kids(f func(*Expr)) { kidSlice(e.Elems, f) }
func (e *Row) copy() Expr {
	c := *e
	c.Elems = append([]Expr(nil), e.Elems...)
	return &c
}

// Field selects field N of a row value.
type Field struct {
	Arg  Expr
	N    int
	T    *types.T
	Name string
}

func (e *Field) Type() *types.T { return e.T }
func (e *Field) Eval(c *EvalCtx) (types.Datum, error) {
	d, err := e.Arg.Eval(c)
	if err != nil || d.IsNull() || d.Kind() != types.KindTuple {
		return types.Null, err
	}
	if t := d.Tuple(); e.N < len(t.Elems) {
		return t.Elems[e.N], nil
	}
	return types.Null, nil
}
func (e *Field) kids(f func(*Expr)) { f(&e.Arg) }
func (e *Field) copy() Expr         { c := *e; return &c }

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

// Subscript is arg[i][j] or a slice.
type Subscript struct {
	Arg    Expr
	Lower  []Expr // of slices; a nil element is an omitted bound
	Upper  []Expr
	Slice  bool
	T      *types.T
	isJSON bool
}

func (e *Subscript) Type() *types.T { return e.T }
func (e *Subscript) Eval(c *EvalCtx) (types.Datum, error) {
	d, err := e.Arg.Eval(c)
	if err != nil || d.IsNull() {
		return types.Null, err
	}
	var idx [6]int64
	if e.isJSON {
		return e.evalJSON(c, d)
	}
	a := d.Array()
	if e.Slice {
		return e.evalSlice(c, a)
	}
	for i, x := range e.Upper {
		v, err := x.Eval(c)
		if err != nil || v.IsNull() {
			return types.Null, err
		}
		idx[i] = v.Int()
	}
	if len(e.Upper) != len(a.Dims) {
		return types.Null, nil
	}
	pos := 0
	for i, dim := range a.Dims {
		k := idx[i] - int64(dim.Lower)
		if k < 0 || k >= int64(dim.Len) {
			return types.Null, nil
		}
		pos = pos*int(dim.Len) + int(k)
	}
	return a.Elems[pos], nil
}

func (e *Subscript) evalJSON(c *EvalCtx, d types.Datum) (types.Datum, error) {
	j := d.JSON()
	if j == nil {
		return types.Null, nil
	}
	for _, x := range e.Upper {
		v, err := x.Eval(c)
		if err != nil || v.IsNull() {
			return types.Null, err
		}
		var next *types.JSON
		switch {
		case j.Kind == types.JSONObject:
			name := ""
			if v.Kind() == types.KindInt {
				name = strconv.FormatInt(v.Int(), 10)
			} else {
				name = v.Str()
			}
			for i, k := range j.Keys {
				if k == name {
					next = j.Vals[i]
				}
			}
		case j.Kind == types.JSONArray:
			n := int64(-1 << 40)
			if v.Kind() == types.KindInt {
				n = v.Int()
			} else if k, err := strconv.ParseInt(v.Str(), 10, 32); err == nil {
				n = k
			}
			if n < 0 {
				n += int64(len(j.Vals))
			}
			if n >= 0 && n < int64(len(j.Vals)) {
				next = j.Vals[n]
			}
		}
		if next == nil {
			return types.Null, nil
		}
		j = next
	}
	return types.NewJSON(j), nil
}

func (e *Subscript) evalSlice(c *EvalCtx, a *types.Array) (types.Datum, error) {
	empty := types.NewArray(&types.Array{Elem: a.Elem})
	n := len(e.Upper)
	if len(a.Dims) < n || len(a.Dims) == 0 {
		return empty, nil
	}
	lo, hi := make([]int, len(a.Dims)), make([]int, len(a.Dims))
	for i, dim := range a.Dims {
		lo[i], hi[i] = 0, int(dim.Len)-1
		if i >= n {
			continue
		}
		for k, x := range []Expr{e.Lower[i], e.Upper[i]} {
			if x == nil {
				continue
			}
			v, err := x.Eval(c)
			if err != nil || v.IsNull() {
				return types.Null, err
			}
			p := int(v.Int() - int64(dim.Lower))
			if k == 0 {
				lo[i] = max(lo[i], p)
			} else {
				hi[i] = min(hi[i], p)
			}
		}
		if lo[i] > hi[i] {
			return empty, nil
		}
	}
	out := &types.Array{Elem: a.Elem}
	for i := range a.Dims {
		out.Dims = append(out.Dims, types.ArrayDim{Len: int32(hi[i] - lo[i] + 1), Lower: 1})
	}
	var rec func(dim, base int)
	rec = func(dim, base int) {
		if dim == len(a.Dims) {
			out.Elems = append(out.Elems, a.Elems[base])
			return
		}
		for k := lo[dim]; k <= hi[dim]; k++ {
			rec(dim+1, base*int(a.Dims[dim].Len)+k)
		}
	}
	rec(0, 0)
	return types.NewArray(out), nil
}
func (e *Subscript) kids(f func(*Expr)) {
	f(&e.Arg)
	kidSlice(e.Lower, f)
	kidSlice(e.Upper, f)
}
func (e *Subscript) copy() Expr {
	c := *e
	c.Lower = append([]Expr(nil), e.Lower...)
	c.Upper = append([]Expr(nil), e.Upper...)
	return &c
}

// SubqueryKind is the use of a subquery in an expression.
type SubqueryKind uint8

const (
	SubScalar SubqueryKind = iota
	SubExists
	SubAny
	SubAll
	SubArray
	SubRow // a row of several columns, for UPDATE SET (a, b) = (SELECT ...)
)

// Subquery is a subquery used as a value.
type Subquery struct {
	ID   int // index in the plan's list of subqueries
	Kind SubqueryKind
	Root Node
	// Out are the subquery's columns.
	Out []Expr
	T   *types.T
	// Test op ANY|ALL: Ops[i] compares Test[i] with column i, each over two Holes.
	Test []Expr
	Ops  []*Func
	OpEq bool // the operator is equality: a hashed subplan is possible
	OpNe bool // row comparison by <>: true when any column differs
	Not  bool // NOT IN, NOT EXISTS folded in
	// Free is whether the subquery refers to columns outside itself; without, it runs once.
	Correlated bool
	// FreeSlots of the subquery: the outer columns it depends on.
	Free      []Slot
	Keep      []Slot
	optimized bool
}

func (e *Subquery) Type() *types.T                       { return e.T }
func (e *Subquery) Eval(c *EvalCtx) (types.Datum, error) { return c.Sub.RunSubquery(c, e) }
func (e *Subquery) kids(f func(*Expr))                   { kidSlice(e.Test, f) }
func (e *Subquery) copy() Expr {
	c := *e
	c.Test = append([]Expr(nil), e.Test...)
	return &c
}

// Combine applies the quantified operator to the test values and one row of the subquery.
func (e *Subquery) Combine(c *EvalCtx, test, row []types.Datum) (types.Datum, error) {
	null := false
	for i, op := range e.Ops {
		v, err := op.callWith(c, test[i], row[i])
		if err != nil {
			return types.Null, err
		}
		switch {
		case v.IsNull():
			null = true
		case e.OpNe && v.Bool():
			return types.NewBool(true), nil
		case !e.OpNe && !v.Bool():
			return types.NewBool(false), nil
		}
	}
	if null {
		return types.Null, nil
	}
	return types.NewBool(!e.OpNe || len(e.Ops) == 0), nil
}

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

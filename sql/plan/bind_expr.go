package plan

import (
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// expr binds an expression.
func (s *scope) expr(e ast.Expr) (Expr, error) {
	s.b.depth++
	defer func() { s.b.depth-- }()
	if s.b.depth > s.b.maxDepth {
		return nil, pgerr.New(pgerr.StatementTooComplex, "stack depth limit exceeded")
	}
	switch e := e.(type) {
	case *ast.Const:
		return s.constant(e)
	case *ast.Param:
		return s.b.param(e)
	case *ast.ColumnRef:
		if e.Star {
			if len(e.Fields) > 0 {
				return s.argument(e) // rel.* as a value is the whole row
			}
			return nil, errAt(e.Off, pgerr.SyntaxError, "row expansion via \"*\" is not supported here")
		}
		return s.column(e)
	case *ast.OpExpr:
		return s.operator(e)
	case *ast.BoolExpr:
		return s.boolExpr(e)
	case *ast.FuncCall:
		return s.funcCall(e)
	case *ast.TypeCast:
		return s.typeCast(e)
	case *ast.NullTest:
		a, err := s.expr(e.Arg)
		if err != nil {
			return nil, err
		}
		return &IsNull{Arg: s.b.settle(a), Not: e.Not}, nil
	case *ast.BooleanTest:
		return s.boolTest(e)
	case *ast.InExpr:
		return s.in_(e)
	case *ast.AnyAllExpr:
		return s.anyAll(e)
	case *ast.BetweenExpr:
		return s.between(e)
	case *ast.LikeExpr:
		return s.like(e)
	case *ast.CaseExpr:
		return s.caseExpr(e)
	case *ast.CoalesceExpr:
		args, t, err := s.commonArgs(e.Args, "COALESCE")
		if err != nil {
			return nil, err
		}
		if len(args) == 1 {
			return args[0], nil
		}
		return &Coalesce{Args: args, T: t}, nil
	case *ast.MinMaxExpr:
		what := "GREATEST"
		if e.Least {
			what = "LEAST"
		}
		args, t, err := s.commonArgs(e.Args, what)
		if err != nil {
			return nil, err
		}
		return &MinMax{Least: e.Least, Args: args, T: t}, nil
	case *ast.NullIfExpr:
		return s.nullIf(e)
	case *ast.DistinctExpr:
		return s.distinctFrom(e)
	case *ast.SubLink:
		return s.subLink(e)
	case *ast.RowExpr:
		args, err := s.rowArgs(e.Args)
		if err != nil {
			return nil, err
		}
		for i := range args {
			args[i] = s.b.settle(args[i])
		}
		names := make([]string, len(args))
		for i := range names {
			names[i] = "f" + itoa(i+1)
		}
		return &Row{Elems: args, T: rowType(args, names), Names: names}, nil
	case *ast.ArrayExpr:
		return s.array(e, nil)
	case *ast.Indirection:
		return s.indirection(e)
	case *ast.CollateExpr:
		return s.collate(e)
	case *ast.SQLValueFunc:
		return s.sqlValue(e)
	case *ast.GroupingFunc:
		return s.groupingFunc(e)
	case *ast.DefaultExpr:
		return nil, errAt(e.Off, pgerr.SyntaxError, "DEFAULT is not allowed in this context")
	case *ast.NamedArg:
		return nil, errAt(e.Off, pgerr.SyntaxError, "named arguments are not allowed here")
	case *ast.CurrentOf:
		return s.currentOf(e)
	case *ast.Unsupported:
		return nil, errAt(e.Off, pgerr.FeatureNotSupported, "%s is not supported", e.What)
	}
	return nil, pgerr.Unsupported("expression %T", e)
}

// rowArgs binds the fields of ROW(...), where rel.* stands for its columns.
func (s *scope) rowArgs(es []ast.Expr) ([]Expr, error) {
	var out []Expr
	for _, e := range es {
		if r, ok := e.(*ast.ColumnRef); ok && r.Star {
			cols, err := s.star(r)
			if err != nil {
				return nil, err
			}
			for _, c := range cols {
				out = append(out, c.expr)
			}
			continue
		}
		x, err := s.expr(e)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

func (s *scope) exprs(es []ast.Expr) ([]Expr, error) {
	out := make([]Expr, 0, len(es))
	for _, e := range es {
		x, err := s.expr(e)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// condition binds a boolean expression.
func (s *scope) condition(e ast.Expr, what string) (Expr, error) {
	x, err := s.expr(e)
	if err != nil {
		return nil, err
	}
	return s.b.coerceBool(x, what, e.Position())
}

func (s *scope) constant(e *ast.Const) (Expr, error) {
	switch e.Kind {
	case ast.ConstNull:
		return &Const{T: types.Unknown}, nil
	case ast.ConstInt:
		return &Const{D: types.NewInt(e.Int), T: types.Int4}, nil
	case ast.ConstBigInt:
		return &Const{D: types.NewInt(e.Int), T: types.Int8}, nil
	case ast.ConstBool:
		return &Const{D: types.NewBool(e.Bool), T: types.Bool}, nil
	case ast.ConstNumeric:
		d, err := types.ParseText(e.Str, types.Numeric, nil)
		if err != nil {
			return nil, at(err, e.Off)
		}
		return &Const{D: d, T: types.Numeric}, nil
	case ast.ConstBitString:
		d, err := types.ParseText(e.Str, types.Bit, nil)
		if err != nil {
			return nil, at(err, e.Off)
		}
		return &Const{D: d, T: types.Bit}, nil
	}
	return &Const{D: types.NewString(e.Str), T: types.Unknown}, nil
}

// param returns the one Param of a number, so that deciding its type decides it everywhere.
func (b *binder) param(e *ast.Param) (Expr, error) {
	n := e.Number - 1
	if n < 0 || n >= 1<<17 {
		return nil, errAt(e.Off, pgerr.UndefinedParameter, "there is no parameter $%d", e.Number)
	}
	for len(b.params) <= n {
		t := types.Unknown
		if k := len(b.params); k < len(b.env.ParamTypes) && b.env.ParamTypes[k] != nil {
			t = b.env.ParamTypes[k]
		}
		b.params = append(b.params, &Param{N: len(b.params), T: t})
	}
	p := b.params[n]
	if p.T.OID == types.OIDUnknown {
		switch e.Literal {
		case ast.ConstInt:
			p.T = types.Int4
		case ast.ConstBigInt:
			p.T = types.Int8
		case ast.ConstNumeric:
			p.T = types.Numeric
		case ast.ConstBool:
			p.T = types.Bool
		}
	}
	return p, nil
}

func (s *scope) operator(e *ast.OpExpr) (Expr, error) {
	if e.Schema != "" && e.Schema != "pg_catalog" {
		return nil, errAt(e.Off, pgerr.UndefinedFunction, "operator does not exist: %s.%s", e.Schema, e.Op)
	}
	// Rows are compared field by field.
	if lr, ok := e.Left.(*ast.RowExpr); ok {
		if rr, ok := e.Right.(*ast.RowExpr); ok {
			return s.rowCompare(e.Op, lr.Args, rr.Args, e.Off)
		}
	}
	var l Expr
	var err error
	if e.Left != nil {
		if l, err = s.expr(e.Left); err != nil {
			return nil, err
		}
	}
	// "x = NULL" and the like keep three-valued logic: no rewriting here.
	r, err := s.expr(e.Right)
	if err != nil {
		return nil, err
	}
	return s.b.op(e.Op, l, r, e.Off)
}

// op applies an operator to bound operands; l is nil for a prefix operator.
func (b *binder) op(name string, l, r Expr, pos int32) (Expr, error) {
	var lt *types.T
	if l != nil {
		lt = l.Type()
	}
	call, err := builtin.ResolveOperator(name, lt, r.Type())
	if err != nil {
		return nil, at(err, pos)
	}
	var args []Expr
	if l != nil {
		if l, err = b.coerce(l, call.Args[0], builtin.CastImplicit, pos); err != nil {
			return nil, err
		}
		args = append(args, l)
	}
	if r, err = b.coerce(r, call.Args[len(call.Args)-1], builtin.CastImplicit, pos); err != nil {
		return nil, err
	}
	args = append(args, r)
	f := &Func{Name: name, Call: call, Args: args, T: call.Ret, Form: FormOperator}
	return b.foldFunc(f), nil
}

// call applies a function by name to bound arguments.
func (b *binder) call(name string, pos int32, args ...Expr) (Expr, error) {
	ts := make([]*types.T, len(args))
	for i, a := range args {
		ts[i] = a.Type()
	}
	call, err := builtin.ResolveFunction(name, ts)
	if err != nil {
		return nil, at(err, pos)
	}
	for i := range args {
		if args[i], err = b.coerce(args[i], call.Args[i], builtin.CastImplicit, pos); err != nil {
			return nil, err
		}
	}
	return b.foldFunc(&Func{Name: name, Call: call, Args: args, T: call.Ret}), nil
}

func (s *scope) rowCompare(op string, l, r []ast.Expr, pos int32) (Expr, error) {
	if len(l) != len(r) {
		return nil, errAt(pos, pgerr.SyntaxError, "unequal number of entries in row expressions")
	}
	if len(l) == 0 {
		return nil, errAt(pos, pgerr.FeatureNotSupported, "cannot compare rows of zero length")
	}
	le, err := s.rowArgs(l)
	if err != nil {
		return nil, err
	}
	re, err := s.rowArgs(r)
	if err != nil {
		return nil, err
	}
	return s.b.rowOp(op, le, re, pos)
}

func (b *binder) rowOp(op string, le, re []Expr, pos int32) (Expr, error) {
	if op == "!=" {
		op = "<>"
	}
	if len(le) == 1 {
		return b.op(op, le[0], re[0], pos)
	}
	if op == "=" {
		and := &And{}
		for i := range le {
			x, err := b.op("=", le[i], re[i], pos)
			if err != nil {
				return nil, err
			}
			and.Args = append(and.Args, x)
		}
		return and, nil
	}
	rc := &RowCompare{Op: op, Left: le, Right: re}
	if !slices.Contains([]string{"<>", "<", "<=", ">", ">="}, op) {
		return nil, errAt(pos, pgerr.FeatureNotSupported, "could not determine interpretation of row comparison operator %s", op)
	}
	for i := range le {
		// An untyped literal takes the type of the other side.
		var err error
		if isUnknown(le[i]) && !isUnknown(re[i]) {
			le[i], err = b.coerce(le[i], bareType(re[i].Type()), builtin.CastImplicit, pos)
		} else if isUnknown(re[i]) && !isUnknown(le[i]) {
			re[i], err = b.coerce(re[i], bareType(le[i].Type()), builtin.CastImplicit, pos)
		}
		if err != nil {
			return nil, err
		}
		le[i], re[i] = b.settle(le[i]), b.settle(re[i])
		eq, err := b.holeOp("=", le[i].Type(), re[i].Type(), pos)
		if err != nil {
			return nil, err
		}
		rc.Eqs = append(rc.Eqs, eq)
		if op != "<>" {
			strict := op[:1]
			lt, err := b.holeOp(strict, le[i].Type(), re[i].Type(), pos)
			if err != nil {
				return nil, err
			}
			rc.Lts = append(rc.Lts, lt)
		}
	}
	return rc, nil
}

func (s *scope) boolExpr(e *ast.BoolExpr) (Expr, error) {
	what := [...]string{"AND", "OR", "NOT"}[e.Op]
	args := make([]Expr, 0, len(e.Args))
	for _, a := range e.Args {
		x, err := s.condition(a, what)
		if err != nil {
			return nil, err
		}
		args = append(args, x)
	}
	switch e.Op {
	case ast.Not:
		return negate(args[0]), nil
	case ast.And:
		return conjoin(args), nil
	}
	return &Or{Args: args}, nil
}

// negate builds NOT e, pushing it into subqueries and tests that can carry it.
func negate(e Expr) Expr {
	switch x := e.(type) {
	case *Subquery:
		if x.Kind == SubExists || x.Kind == SubAny {
			c := *x
			c.Not = !c.Not
			return &c
		}
	case *IsNull:
		if x.Arg.Type().Kind != types.KindTuple {
			return &IsNull{Arg: x.Arg, Not: !x.Not}
		}
	case *Not:
		return x.Arg
	case *InList:
		c := *x
		c.Not = !c.Not
		return &c
	case *Const:
		if !x.D.IsNull() {
			return &Const{D: types.NewBool(!x.D.Bool()), T: types.Bool}
		}
	}
	return &Not{Arg: e}
}

// conjoin flattens nested conjunctions.
func conjoin(args []Expr) Expr {
	var out []Expr
	for _, a := range args {
		if x, ok := a.(*And); ok {
			out = append(out, x.Args...)
		} else {
			out = append(out, a)
		}
	}
	if len(out) == 1 {
		return out[0]
	}
	return &And{Args: out}
}

// conjuncts splits a condition.
func conjuncts(e Expr) []Expr {
	if e == nil {
		return nil
	}
	if x, ok := e.(*And); ok {
		var out []Expr
		for _, a := range x.Args {
			out = append(out, conjuncts(a)...)
		}
		return out
	}
	return []Expr{e}
}

func (s *scope) boolTest(e *ast.BooleanTest) (Expr, error) {
	names := [...]string{"IS TRUE", "IS NOT TRUE", "IS FALSE", "IS NOT FALSE", "IS UNKNOWN", "IS NOT UNKNOWN"}
	a, err := s.condition(e.Arg, names[e.Kind])
	if err != nil {
		return nil, err
	}
	t := &BoolTest{Arg: a}
	switch e.Kind {
	case ast.IsTrue, ast.IsNotTrue:
		t.Want = true
	case ast.IsUnknown, ast.IsNotUnknown:
		t.Unknown = true
	}
	t.Not = e.Kind == ast.IsNotTrue || e.Kind == ast.IsNotFalse || e.Kind == ast.IsNotUnknown
	return t, nil
}

func (s *scope) in_(e *ast.InExpr) (Expr, error) {
	if lr, ok := e.Left.(*ast.RowExpr); ok {
		var ors []Expr
		for _, it := range e.List {
			rr, ok := it.(*ast.RowExpr)
			if !ok {
				return nil, errAt(it.Position(), pgerr.SyntaxError, "row expected in IN list")
			}
			x, err := s.rowCompare("=", lr.Args, rr.Args, e.Off)
			if err != nil {
				return nil, err
			}
			ors = append(ors, x)
		}
		x := ors[0]
		if len(ors) > 1 {
			x = &Or{Args: ors}
		}
		if e.Not {
			return negate(x), nil
		}
		return x, nil
	}
	l, err := s.expr(e.Left)
	if err != nil {
		return nil, err
	}
	list, err := s.exprs(e.List)
	if err != nil {
		return nil, err
	}
	all := append([]Expr{l}, list...)
	pos := []int32{e.Left.Position()}
	for _, it := range e.List {
		pos = append(pos, it.Position())
	}
	ts := make([]*types.T, len(all))
	for i, x := range all {
		ts[i] = bareType(x.Type())
	}
	if t, cerr := builtin.CommonType(ts, "IN"); cerr == nil && l.Type().Kind != types.KindTuple && len(list) > 1 {
		t = bareType(t)
		if _, err := builtin.ResolveOperator("=", t, t); err != nil {
			// e.g. json: the pairwise error names the operator
			return s.inPairwise(l, list, e)
		}
		for i, x := range all {
			if all[i], err = s.b.coerce(x, t, builtin.CastImplicit, pos[i]); err != nil {
				return nil, err
			}
		}
		eq, err := s.b.holeOp("=", t, t, e.Off)
		if err != nil {
			return nil, err
		}
		return &InList{Left: all[0], List: all[1:], Not: e.Not, Eq: eq}, nil
	}
	return s.inPairwise(l, list, e)
}

func (s *scope) inPairwise(l Expr, list []Expr, e *ast.InExpr) (Expr, error) {
	var ors []Expr
	for _, it := range list {
		op := "="
		if e.Not {
			op = "<>"
		}
		x, err := s.b.op(op, l, it, e.Off)
		if err != nil {
			return nil, err
		}
		ors = append(ors, x)
	}
	if len(ors) == 1 {
		return ors[0], nil
	}
	if e.Not {
		return conjoin(ors), nil
	}
	return &Or{Args: ors}, nil
}

func (s *scope) anyAll(e *ast.AnyAllExpr) (Expr, error) {
	l, err := s.expr(e.Left)
	if err != nil {
		return nil, err
	}
	var r Expr
	if ae, ok := e.Right.(*ast.ArrayExpr); ok && !isUnknown(l) {
		// ARRAY['a','b'] beside a typed value: the elements settle by themselves, as PostgreSQL has it.
		r, err = s.array(ae, nil)
	} else {
		r, err = s.expr(e.Right)
	}
	if err != nil {
		return nil, err
	}
	call, at_, err := builtin.ResolveScalarArray(e.Op, l.Type(), r.Type())
	if err != nil {
		return nil, at(err, e.Off)
	}
	if isUnknown(l) {
		if l, err = s.b.coerce(l, call.Args[0], builtin.CastImplicit, e.Off); err != nil {
			return nil, err
		}
	}
	if r, err = s.b.coerce(r, at_, builtin.CastImplicit, e.Off); err != nil {
		return nil, err
	}
	if l, err = s.b.coerce(l, call.Args[0], builtin.CastImplicit, e.Off); err != nil {
		return nil, err
	}
	op := &Func{Name: e.Op, Call: call, Args: []Expr{&Hole{T: call.Args[0]}, &Hole{T: call.Args[1]}}, T: call.Ret, Form: FormOperator}
	return &AnyAll{Left: l, Right: r, All: e.All, Op: op}, nil
}

func (s *scope) between(e *ast.BetweenExpr) (Expr, error) {
	cmp := func(op string, l, r ast.Expr) (Expr, error) {
		return s.operator(&ast.OpExpr{Op: op, Left: l, Right: r, Pos: e.Pos})
	}
	side := func(lo, hi ast.Expr) (Expr, error) {
		ge, le := ">=", "<="
		if e.Not {
			ge, le = "<", ">"
		}
		a, err := cmp(ge, e.Arg, lo)
		if err != nil {
			return nil, err
		}
		b, err := cmp(le, e.Arg, hi)
		if err != nil {
			return nil, err
		}
		if e.Not {
			return &Or{Args: []Expr{a, b}}, nil
		}
		return conjoin([]Expr{a, b}), nil
	}
	x, err := side(e.Low, e.High)
	if err != nil || !e.Symmetric {
		return x, err
	}
	y, err := side(e.High, e.Low)
	if err != nil {
		return nil, err
	}
	if e.Not {
		return conjoin([]Expr{x, y}), nil
	}
	return &Or{Args: []Expr{x, y}}, nil
}

func (s *scope) like(e *ast.LikeExpr) (Expr, error) {
	l, err := s.expr(e.Left)
	if err != nil {
		return nil, err
	}
	p, err := s.expr(e.Pattern)
	if err != nil {
		return nil, err
	}
	var esc Expr
	if e.Escape != nil {
		if esc, err = s.expr(e.Escape); err != nil {
			return nil, err
		}
	}
	op := [...]string{"~~", "~~*", "~"}[e.Kind]
	if e.Kind == ast.SimilarTo {
		args := []Expr{p}
		if esc != nil {
			args = append(args, esc)
		}
		if p, err = s.b.call("similar_to_escape", e.Off, args...); err != nil {
			return nil, err
		}
	} else if esc != nil {
		if p, err = s.b.call("like_escape", e.Off, p, esc); err != nil {
			return nil, err
		}
	}
	if e.Not {
		op = "!" + op
	}
	return s.b.op(op, l, p, e.Off)
}

func (s *scope) caseExpr(e *ast.CaseExpr) (Expr, error) {
	c := &Case{}
	var test *Col
	if e.Arg != nil {
		a, err := s.expr(e.Arg)
		if err != nil {
			return nil, err
		}
		c.Arg = s.b.settle(a)
		c.ArgSlot = s.b.newSlot()
		test = &Col{Slot: c.ArgSlot, T: c.Arg.Type(), Name: "case", Pos: -1}
		s.b.caseSlots = append(s.b.caseSlots, c.ArgSlot)
	}
	var pos []int32
	for _, w := range e.Whens {
		var cond Expr
		var err error
		if test != nil {
			v, err := s.expr(w.Cond)
			if err != nil {
				return nil, err
			}
			if cond, err = s.b.op("=", test, v, w.Off); err != nil {
				return nil, err
			}
		} else if cond, err = s.condition(w.Cond, "CASE/WHEN"); err != nil {
			return nil, err
		}
		r, err := s.expr(w.Result)
		if err != nil {
			return nil, err
		}
		c.Conds = append(c.Conds, cond)
		c.Results = append(c.Results, r)
		pos = append(pos, w.Result.Position())
	}
	all := c.Results
	// PostgreSQL considers the ELSE result first.
	if e.Else != nil {
		x, err := s.expr(e.Else)
		if err != nil {
			return nil, err
		}
		all = append([]Expr{x}, all...)
		pos = append([]int32{e.Else.Position()}, pos...)
	} else {
		all = slices.Clone(all)
	}
	t, err := s.b.common(all, "CASE", pos)
	if err != nil {
		return nil, err
	}
	if e.Else != nil {
		c.Else, all = all[0], all[1:]
	}
	c.Results, c.T = all, t
	return c, nil
}

func (s *scope) commonArgs(es []ast.Expr, what string) ([]Expr, *types.T, error) {
	args, err := s.exprs(es)
	if err != nil {
		return nil, nil, err
	}
	pos := make([]int32, len(es))
	for i, e := range es {
		pos[i] = e.Position()
	}
	t, err := s.b.common(args, what, pos)
	return args, t, err
}

func (s *scope) eqPair(l, r ast.Expr, pos int32) (le, re Expr, eq *Func, err error) {
	if le, err = s.expr(l); err != nil {
		return
	}
	if re, err = s.expr(r); err != nil {
		return
	}
	switch {
	case isUnknown(le) && !isUnknown(re):
		le, err = s.b.coerce(le, bareType(re.Type()), builtin.CastImplicit, l.Position())
	case isUnknown(re) && !isUnknown(le):
		re, err = s.b.coerce(re, bareType(le.Type()), builtin.CastImplicit, r.Position())
	}
	if err != nil {
		return
	}
	le, re = s.b.settle(le), s.b.settle(re)
	eq, err = s.b.holeOp("=", le.Type(), re.Type(), pos)
	return
}

func (s *scope) nullIf(e *ast.NullIfExpr) (Expr, error) {
	l, r, eq, err := s.eqPair(e.Left, e.Right, e.Off)
	if err != nil {
		return nil, err
	}
	return &NullIf{Left: l, Right: r, Eq: eq}, nil
}

func (s *scope) distinctFrom(e *ast.DistinctExpr) (Expr, error) {
	if lr, ok := e.Left.(*ast.RowExpr); ok {
		if rr, ok := e.Right.(*ast.RowExpr); ok {
			if len(lr.Args) != len(rr.Args) {
				return nil, errAt(e.Off, pgerr.SyntaxError, "unequal number of entries in row expressions")
			}
			var ors []Expr
			for i := range lr.Args {
				x, err := s.distinctFrom(&ast.DistinctExpr{Left: lr.Args[i], Right: rr.Args[i], Pos: e.Pos})
				if err != nil {
					return nil, err
				}
				ors = append(ors, x)
			}
			var x Expr = &Or{Args: ors}
			if e.Not {
				x = &Not{Arg: x}
			}
			return x, nil
		}
	}
	l, r, eq, err := s.eqPair(e.Left, e.Right, e.Off)
	if err != nil {
		return nil, err
	}
	return &DistinctFrom{Left: l, Right: r, Eq: eq, Not: e.Not}, nil
}

func (s *scope) typeCast(e *ast.TypeCast) (Expr, error) {
	t, err := s.b.typeName(e.Type)
	if err != nil {
		return nil, err
	}
	var a Expr
	if ae, ok := e.Arg.(*ast.ArrayExpr); ok && t.IsArray() {
		a, err = s.array(ae, t)
	} else {
		a, err = s.expr(e.Arg)
	}
	if err != nil {
		return nil, err
	}
	off := e.Off
	if p, ok := e.Arg.(interface{ Position() int32 }); ok && isUnknown(a) {
		off = p.Position() // a literal that cannot be read is at fault itself
	}
	return s.b.explicitCast(a, t, off)
}

func (b *binder) explicitCast(a Expr, t *types.T, pos int32) (Expr, error) {
	if isUnknown(a) {
		x, err := b.coerce(a, t, builtin.CastExplicit, pos)
		if err != nil {
			return nil, err
		}
		return x, nil
	}
	from := a.Type()
	if from.OID == t.OID && from.Typmod == t.Typmod {
		return a, nil
	}
	if _, ok := a.(*Row); ok && t.Class == 'c' {
		return b.coerce(a, t, builtin.CastExplicit, pos)
	}
	return b.cast(a, t, builtin.CastExplicit, pos)
}

// typeName resolves a type.
func (b *binder) typeName(n *ast.TypeName) (*types.T, error) {
	t, err := b.env.Catalog.Type(b.path, n)
	if err != nil {
		return nil, at(err, n.Off)
	}
	return t, nil
}

// array binds ARRAY[...]; want is the type it is cast to, if any, which decides the elements' type.
func (s *scope) array(e *ast.ArrayExpr, want *types.T) (Expr, error) {
	elems := make([]Expr, 0, len(e.Elems))
	pos := make([]int32, 0, len(e.Elems))
	multi := false
	for _, x := range e.Elems {
		var el Expr
		var err error
		if sub, ok := x.(*ast.ArrayExpr); ok {
			el, err = s.array(sub, want)
			multi = true
		} else {
			el, err = s.expr(x)
		}
		if err != nil {
			return nil, err
		}
		if el.Type().IsArray() {
			multi = true
		}
		elems = append(elems, el)
		pos = append(pos, x.Position())
	}
	if want != nil {
		target := want.Elem
		if multi {
			target = want
		}
		for i := range elems {
			var err error
			if isUnknown(elems[i]) {
				elems[i], err = s.b.coerce(elems[i], target, builtin.CastExplicit, pos[i])
			} else {
				elems[i], err = s.b.explicitCast(elems[i], target, pos[i])
			}
			if err != nil {
				return nil, err
			}
		}
		return &ArrayCtor{Elems: elems, T: want, Multi: multi}, nil
	}
	if len(elems) == 0 {
		return nil, errAt(e.Off, pgerr.IndeterminateDatatype, "cannot determine type of empty array").
			WithHint("Explicitly cast to the desired type, for example ARRAY[]::integer[].")
	}
	t, err := s.b.common(elems, "ARRAY", pos)
	if err != nil {
		return nil, err
	}
	if multi {
		return &ArrayCtor{Elems: elems, T: t, Multi: true}, nil
	}
	at_ := types.ArrayOf(t)
	if at_ == nil {
		return nil, errAt(e.Off, pgerr.UndefinedObject, "could not find array type for data type %s", types.TypeName(t))
	}
	return &ArrayCtor{Elems: elems, T: at_}, nil
}

func (s *scope) indirection(e *ast.Indirection) (Expr, error) {
	x, err := s.expr(e.Arg)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(e.Steps); i++ {
		st := e.Steps[i]
		switch st.Kind {
		case ast.FieldStep:
			if x, err = s.field(x, st.Name, e.Off); err != nil {
				return nil, err
			}
		case ast.StarStep:
			return nil, errAt(e.Off, pgerr.SyntaxError, "row expansion via \"*\" is not supported here")
		default:
			j := i
			for j < len(e.Steps) && (e.Steps[j].Kind == ast.IndexStep || e.Steps[j].Kind == ast.SliceStep) {
				j++
			}
			if x, err = s.subscript(x, e.Steps[i:j], e.Off); err != nil {
				return nil, err
			}
			i = j - 1
		}
	}
	return x, nil
}

func (s *scope) subscript(x Expr, steps []ast.IndirectionStep, pos int32) (Expr, error) {
	t := x.Type().BaseType()
	sub := &Subscript{Arg: x}
	isJSON := t.OID == types.OIDJSONB
	if t.OID == types.OIDName && len(steps) == 1 && steps[0].Kind == ast.IndexStep {
		return s.nameByte(x, steps[0].Upper, pos)
	}
	if !isJSON && (t.Kind != types.KindArray || t.Elem == nil) {
		return nil, errAt(pos, pgerr.DatatypeMismatch, "cannot subscript type %s because it does not support subscripting", types.TypeName(t))
	}
	for _, st := range steps {
		sub.Slice = sub.Slice || st.Kind == ast.SliceStep
	}
	if isJSON && sub.Slice {
		return nil, errAt(pos, pgerr.DatatypeMismatch, "jsonb subscript does not support slices")
	}
	if len(steps) > 6 {
		return nil, errAt(pos, pgerr.ProgramLimitExceeded, "number of array dimensions (%d) exceeds the maximum allowed (6)", len(steps))
	}
	bound := func(e ast.Expr) (Expr, error) {
		if e == nil {
			return nil, nil
		}
		v, err := s.expr(e)
		if err != nil {
			return nil, err
		}
		if isJSON {
			if isUnknown(v) || v.Type().Category == 'S' {
				return s.b.coerce(v, types.Text, builtin.CastImplicit, e.Position())
			}
		}
		if isJSON && !builtin.CanCoerce(v.Type(), types.Int4, builtin.CastImplicit) || !isUnknown(v) && !builtin.CanCoerce(v.Type(), types.Int4, builtin.CastAssignment) {
			if isJSON {
				return nil, errAt(e.Position(), pgerr.DatatypeMismatch, "subscript type %s is not supported", types.TypeName(v.Type())).
					WithHint("jsonb subscript must be coercible to either integer or text.")
			}
			return nil, errAt(e.Position(), pgerr.DatatypeMismatch, "array subscript must have type integer")
		}
		return s.b.coerce(v, types.Int4, builtin.CastAssignment, e.Position())
	}
	for _, st := range steps {
		lo, err := bound(st.Lower)
		if err != nil {
			return nil, err
		}
		up, err := bound(st.Upper)
		if err != nil {
			return nil, err
		}
		if sub.Slice && st.Kind == ast.IndexStep {
			lo = &Const{D: types.NewInt(1), T: types.Int4}
		}
		sub.Lower = append(sub.Lower, lo)
		sub.Upper = append(sub.Upper, up)
	}
	switch {
	case isJSON:
		sub.isJSON, sub.T = true, t
	case sub.Slice:
		sub.T = t
	default:
		sub.Lower, sub.T = nil, t.Elem
	}
	return sub, nil
}

// nameByte is name[i]: PostgreSQL's catalogs treat a name as a fixed array of "char" that begins at 0.
func (s *scope) nameByte(x Expr, index ast.Expr, pos int32) (Expr, error) {
	i, err := s.expr(index)
	if err != nil {
		return nil, err
	}
	if i, err = s.b.coerce(i, types.Int4, builtin.CastAssignment, index.Position()); err != nil {
		return nil, err
	}
	one := &Const{D: types.NewInt(1), T: types.Int4}
	if i, err = s.b.op("+", i, one, pos); err != nil {
		return nil, err
	}
	if x, err = s.b.coerce(x, types.Text, builtin.CastImplicit, pos); err != nil {
		return nil, err
	}
	if x, err = s.b.call("substr", pos, x, i, one); err != nil {
		return nil, err
	}
	return s.b.explicitCast(x, types.ByOID(types.OIDChar), pos)
}

func (s *scope) collate(e *ast.CollateExpr) (Expr, error) {
	a, err := s.expr(e.Arg)
	if err != nil {
		return nil, err
	}
	a = s.b.settle(a)
	if c := a.Type().BaseType().Category; c != 'S' && c != 'E' && a.Type().Elem == nil {
		return nil, errAt(e.Off, pgerr.DatatypeMismatch, "collations are not supported by type %s", types.TypeName(a.Type()))
	}
	switch name := e.Name[len(e.Name)-1]; name {
	case "C", "POSIX", "default", "ucs_basic", "C.UTF-8", "C.utf8", "en_US", "en_US.utf8", "en_US.UTF-8":
		return a, nil
	default:
		return nil, errAt(e.Off, pgerr.UndefinedObject, "collation %q for encoding \"UTF8\" does not exist", name)
	}
}

// sqlValue binds CURRENT_DATE and its kin as the functions that compute them.
func (s *scope) sqlValue(e *ast.SQLValueFunc) (Expr, error) {
	b := s.b
	now := func(t *types.T) (Expr, error) {
		x, err := b.call("now", e.Off)
		if err != nil {
			return nil, err
		}
		if e.Precision >= 0 {
			t = t.WithTypmod(e.Precision)
		}
		if t.OID == types.OIDTimestampTZ && t.Typmod < 0 {
			return x, nil
		}
		return b.cast(x, t, builtin.CastExplicit, e.Off)
	}
	switch e.Op {
	case ast.CurrentDate:
		return now(types.Date)
	case ast.CurrentTime:
		return now(types.TimeTZT)
	case ast.CurrentTimestamp:
		return now(types.TimestampTZ)
	case ast.LocalTime:
		return now(types.Time)
	case ast.LocalTimestamp:
		return now(types.Timestamp)
	case ast.CurrentRole, ast.CurrentUser, ast.User:
		return b.call("current_user", e.Off)
	case ast.SessionUser:
		return b.call("session_user", e.Off)
	case ast.CurrentCatalog:
		return b.call("current_database", e.Off)
	}
	return b.call("current_schema", e.Off)
}

// subLink binds a subquery in an expression.
func (s *scope) subLink(e *ast.SubLink) (Expr, error) {
	child := s.child()
	q, err := child.selectStmt(e.Select)
	if err != nil {
		return nil, err
	}
	b := s.b
	sub := &Subquery{ID: len(b.subqs), Root: q.node}
	for i := range q.cols {
		q.cols[i].expr = b.settle(q.cols[i].expr)
	}
	for _, c := range q.cols {
		sub.Out = append(sub.Out, c.expr)
	}
	switch e.Kind {
	case ast.SubExists:
		sub.Kind, sub.T = SubExists, types.Bool
	case ast.SubScalar:
		if len(sub.Out) != 1 {
			return nil, errAt(e.Off, pgerr.SyntaxError, "subquery must return only one column")
		}
		sub.Kind, sub.T = SubScalar, sub.Out[0].Type()
	case ast.SubArray:
		if len(sub.Out) != 1 {
			return nil, errAt(e.Off, pgerr.SyntaxError, "subquery must return only one column")
		}
		sub.Kind = SubArray
		if sub.T = types.ArrayOf(sub.Out[0].Type()); sub.T == nil {
			if !sub.Out[0].Type().IsArray() {
				return nil, errAt(e.Off, pgerr.UndefinedObject, "could not find array type for data type %s", types.TypeName(sub.Out[0].Type()))
			}
			sub.T = sub.Out[0].Type()
		}
	default:
		if err := s.quantified(sub, e); err != nil {
			return nil, err
		}
	}
	b.subqs = append(b.subqs, sub)
	sub.ID = len(b.subqs) - 1
	return sub, nil
}

// quantified binds test op ANY|ALL (subquery).
func (s *scope) quantified(sub *Subquery, e *ast.SubLink) error {
	b := s.b
	sub.T, sub.Kind = types.Bool, SubAny
	if e.Kind == ast.SubAll {
		sub.Kind = SubAll
	}
	op := e.Op
	if op == "" {
		op = "="
	}
	if op == "!=" {
		op = "<>"
	}
	var test []Expr
	var err error
	if r, ok := e.Test.(*ast.RowExpr); ok {
		test, err = s.exprs(r.Args)
	} else {
		var x Expr
		if x, err = s.expr(e.Test); err == nil {
			test = []Expr{x}
			// A single row-valued test against several columns.
			if r, ok := x.(*Row); ok && len(sub.Out) > 1 {
				test = r.Elems
			}
		}
	}
	if err != nil {
		return err
	}
	switch {
	case len(test) < len(sub.Out):
		return errAt(e.Off, pgerr.SyntaxError, "subquery has too many columns")
	case len(test) > len(sub.Out):
		return errAt(e.Off, pgerr.SyntaxError, "subquery has too few columns")
	}
	sub.OpEq, sub.OpNe = op == "=", op == "<>" && len(test) > 1
	if len(test) > 1 && op != "=" && op != "<>" {
		return errAt(e.Off, pgerr.FeatureNotSupported, "row comparison with ANY/ALL by %s is not supported", op)
	}
	for i := range test {
		if isUnknown(test[i]) {
			if test[i], err = b.coerce(test[i], bareType(sub.Out[i].Type()), builtin.CastImplicit, e.Off); err != nil {
				return err
			}
		}
		f, err := b.holeOp(op, test[i].Type(), sub.Out[i].Type(), e.Off)
		if err != nil {
			return err
		}
		if f.T.OID != types.OIDBool {
			return errAt(e.Off, pgerr.DatatypeMismatch, "op ANY/ALL must yield boolean")
		}
		sub.OpEq = sub.OpEq && f.Cmp() == builtin.CmpEQ
		sub.Ops = append(sub.Ops, f)
	}
	sub.Test = test
	return nil
}

// groupingFunc binds GROUPING(...); its masks are computed when the grouping sets are known.
func (s *scope) groupingFunc(e *ast.GroupingFunc) (Expr, error) {
	if s.noAgg {
		return nil, errAt(e.Off, pgerr.GroupingError, "grouping operations are not allowed in %s", s.clause)
	}
	args, err := s.exprs(e.Args)
	if err != nil {
		return nil, err
	}
	g := &Grouping{args: args, pos: e.Off, st: &groupingState{}}
	s.q.grouping = append(s.q.grouping, g)
	s.q.hasAgg = true
	return g, nil
}

// Grouping is GROUPING(...): a mask for each grouping set, chosen by the set in Slot.
type Grouping struct {
	args []Expr
	pos  int32
	st   *groupingState
}

type groupingState struct {
	slot  Slot
	masks []int64
}

func (e *Grouping) Type() *types.T { return types.Int4 }
func (e *Grouping) Eval(c *EvalCtx) (types.Datum, error) {
	if len(e.st.masks) == 1 {
		return types.NewInt(e.st.masks[0]), nil
	}
	return types.NewInt(e.st.masks[c.Frame[e.st.slot].Int()]), nil
}
func (e *Grouping) kids(func(*Expr)) {}
func (e *Grouping) copy() Expr       { c := *e; return &c }

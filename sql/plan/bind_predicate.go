package plan

import (
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// condition binds a boolean expression.
func (s *scope) condition(e ast.Expr, what string) (Expr, error) {
	x, err := s.expr(e)
	if err != nil {
		return nil, err
	}
	return s.b.coerceBool(x, what, e.Position())
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
	req, err := s.b.operatorRequest(e.Schema, e.Op, l.Type(), r.Type())
	if err != nil {
		return nil, at(err, e.Off)
	}
	call, at_, err := builtin.ResolveScalarArrayIn(req)
	if err != nil {
		return nil, at(err, e.Off)
	}
	s.b.usesOperator(call)
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

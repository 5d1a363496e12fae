package plan

import (
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
		args, t, err := s.choosing("COALESCE").commonArgs(e.Args, "COALESCE")
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
				v, err2 := s.argument(r) // a variable's
				if err2 != nil || v.Type().BaseType().Def == nil {
					return nil, err
				}
				for i, f := range v.Type().BaseType().Def.Fields {
					out = append(out, &Field{Arg: v, N: i, T: f.Type, Name: f.Name})
				}
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
	if b.env.Variables != nil && n >= b.env.NumParams {
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
	// Rows are compared field by field.
	if lr, ok := e.Left.(*ast.RowExpr); ok {
		if rr, ok := e.Right.(*ast.RowExpr); ok {
			return s.rowCompare(e.Op, lr.Args, rr.Args, e.Off)
		}
	}
	if lr, ok := e.Left.(*ast.RowExpr); ok {
		if sl, ok := e.Right.(*ast.SubLink); ok && sl.Kind == ast.SubScalar && len(lr.Args) > 1 {
			return s.rowSubquery(e, lr, sl)
		}
	}
	var l Expr
	var err error
	lpos, rpos := e.Off, e.Off
	if e.Left != nil {
		if l, err = s.expr(e.Left); err != nil {
			return nil, err
		}
		if isUnknown(l) {
			lpos = e.Left.Position() // a literal that cannot be read is at fault itself
		}
	}
	// "x = NULL" and the like keep three-valued logic: no rewriting here.
	r, err := s.expr(e.Right)
	if err != nil {
		return nil, err
	}
	if isUnknown(r) {
		rpos = e.Right.Position()
	}
	return s.b.opIn(e.Schema, e.Op, l, r, e.Off, lpos, rpos)
}

// op applies an operator to bound operands; l is nil for a prefix operator.
func (b *binder) op(name string, l, r Expr, pos int32) (Expr, error) {
	return b.opIn("", name, l, r, pos, pos, pos)
}

// opIn is op for an operator of a schema, unless that is empty. lpos and rpos are the operands' positions for errors.
func (b *binder) opIn(schema, name string, l, r Expr, pos, lpos, rpos int32) (Expr, error) {
	var lt *types.T
	if l != nil {
		lt = l.Type()
	}
	call, err := b.resolveOperator(schema, name, lt, r.Type())
	if err != nil {
		return nil, at(err, pos)
	}
	var args []Expr
	if l != nil {
		if l, err = b.coerce(l, call.Args[0], builtin.CastImplicit, lpos); err != nil {
			return nil, err
		}
		args = append(args, l)
	}
	if r, err = b.coerce(r, call.Args[len(call.Args)-1], builtin.CastImplicit, rpos); err != nil {
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

package parser

import (
	"math"
	"strconv"

	pg "github.com/sqlc-dev/oliphant/ast"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func (l *lowerer) exprs(ns []*pg.Node) []ast.Expr {
	if len(ns) == 0 {
		return nil
	}
	out := make([]ast.Expr, len(ns))
	for i, n := range ns {
		out[i] = l.expr(n)
	}
	return out
}

// optExpr lowers n, nil for nil.
func (l *lowerer) optExpr(n *pg.Node) ast.Expr {
	if n == nil || n.Node == nil {
		return nil
	}
	return l.expr(n)
}

func (l *lowerer) expr(n *pg.Node) ast.Expr {
	l.enter(-1)
	e := l.expr1(n)
	l.leave()
	return e
}

// maxParams bounds the numbers of parameters. A client can bind 65535; PREPARE and Parse take more, as in
// PostgreSQL, but each costs memory.
const maxParams = 1 << 17

func (l *lowerer) expr1(n *pg.Node) ast.Expr {
	switch x := n.GetNode().(type) {
	case *pg.Node_AConst:
		return l.constant(x.AConst)
	case *pg.Node_ColumnRef:
		return l.columnRef(x.ColumnRef)
	case *pg.Node_ParamRef:
		p := x.ParamRef
		if p.Number < 1 || p.Number > maxParams {
			l.fail(pgerr.UndefinedParameter, p.Location, "there is no parameter $%d", p.Number)
		}
		l.numParams = max(l.numParams, int(p.Number))
		return &ast.Param{Number: int(p.Number), Pos: pos(p.Location)}
	case *pg.Node_AExpr:
		return l.aExpr(x.AExpr)
	case *pg.Node_BoolExpr:
		return l.boolExpr(x.BoolExpr)
	case *pg.Node_FuncCall:
		return l.funcCall(x.FuncCall)
	case *pg.Node_TypeCast:
		c := x.TypeCast
		off := c.Location
		if off < 0 {
			off = c.TypeName.GetLocation()
		}
		return &ast.TypeCast{Arg: l.expr(c.Arg), Type: l.typeName(c.TypeName), Pos: pos(off)}
	case *pg.Node_SubLink:
		return l.subLink(x.SubLink)
	case *pg.Node_CaseExpr:
		return l.caseExpr(x.CaseExpr)
	case *pg.Node_NullTest:
		t := x.NullTest
		return &ast.NullTest{Arg: l.expr(t.Arg), Not: t.Nulltesttype == pg.NullTestType_IS_NOT_NULL, Pos: pos(t.Location)}
	case *pg.Node_BooleanTest:
		t := x.BooleanTest
		return &ast.BooleanTest{Kind: ast.BoolTestKind(t.Booltesttype - pg.BoolTestType_IS_TRUE), Arg: l.expr(t.Arg), Pos: pos(t.Location)}
	case *pg.Node_CoalesceExpr:
		return &ast.CoalesceExpr{Args: l.exprs(x.CoalesceExpr.Args), Pos: pos(x.CoalesceExpr.Location)}
	case *pg.Node_MinMaxExpr:
		m := x.MinMaxExpr
		return &ast.MinMaxExpr{Least: m.Op == pg.MinMaxOp_IS_LEAST, Args: l.exprs(m.Args), Pos: pos(m.Location)}
	case *pg.Node_RowExpr:
		r := x.RowExpr
		return &ast.RowExpr{Explicit: r.RowFormat == pg.CoercionForm_COERCE_EXPLICIT_CALL, Args: l.exprs(r.Args), Pos: pos(r.Location)}
	case *pg.Node_AArrayExpr:
		return &ast.ArrayExpr{Elems: l.exprs(x.AArrayExpr.Elements), Pos: pos(x.AArrayExpr.Location)}
	case *pg.Node_AIndirection:
		arg := l.expr(x.AIndirection.Arg)
		return &ast.Indirection{Arg: arg, Steps: l.steps(x.AIndirection.Indirection), Pos: pos(arg.Position())}
	case *pg.Node_CollateClause:
		c := x.CollateClause
		return &ast.CollateExpr{Arg: l.expr(c.Arg), Name: strs(c.Collname), Pos: pos(c.Location)}
	case *pg.Node_SqlvalueFunction:
		return sqlValue(x.SqlvalueFunction)
	case *pg.Node_GroupingFunc:
		return &ast.GroupingFunc{Args: l.exprs(x.GroupingFunc.Args), Pos: pos(x.GroupingFunc.Location)}
	case *pg.Node_NamedArgExpr:
		a := x.NamedArgExpr
		return &ast.NamedArg{Name: a.Name, Arg: l.expr(a.Arg), Pos: pos(a.Location)}
	case *pg.Node_SetToDefault:
		return &ast.DefaultExpr{Pos: pos(x.SetToDefault.Location)}
	case *pg.Node_MultiAssignRef:
		return l.multiAssign(x.MultiAssignRef)
	case *pg.Node_CurrentOfExpr:
		c := x.CurrentOfExpr
		return &ast.CurrentOf{Cursor: c.CursorName, Param: int(c.CursorParam), Pos: pos(-1)}
	case *pg.Node_MergeSupportFunc:
		return &ast.MergeActionFunc{Pos: pos(x.MergeSupportFunc.Location)}
	case *pg.Node_XmlExpr:
		return &ast.Unsupported{What: "XML functions", Pos: pos(x.XmlExpr.Location)}
	case *pg.Node_XmlSerialize:
		return &ast.Unsupported{What: "XML functions", Pos: pos(x.XmlSerialize.Location)}
	case *pg.Node_JsonIsPredicate:
		return &ast.Unsupported{What: "IS JSON", Pos: pos(x.JsonIsPredicate.Location)}
	case *pg.Node_List:
		// Only PG accepts (a, b) lists where the grammar makes them RowExprs; a bare list is a bug upstream.
		return &ast.RowExpr{Args: l.exprs(x.List.Items), Pos: pos(-1)}
	case nil:
		l.fail(pgerr.SyntaxError, -1, "syntax error: empty expression")
	}
	return &ast.Unsupported{What: "SQL/JSON constructors and queries", Pos: pos(-1)}
}

func (l *lowerer) constant(c *pg.A_Const) *ast.Const {
	out := &ast.Const{Pos: pos(c.Location)}
	if c.Isnull {
		return out
	}
	switch v := c.Val.(type) {
	case *pg.A_Const_Ival:
		out.Kind, out.Int = ast.ConstInt, int64(v.Ival.GetIval())
	case *pg.A_Const_Fval:
		setNumber(out, v.Fval.Fval)
	case *pg.A_Const_Boolval:
		out.Kind, out.Bool = ast.ConstBool, v.Boolval.GetBoolval()
	case *pg.A_Const_Sval:
		out.Kind, out.Str = ast.ConstString, v.Sval.GetSval()
	case *pg.A_Const_Bsval:
		out.Kind, out.Str = ast.ConstBitString, v.Bsval.GetBsval()
	case nil:
		// The zero integer is an Ival without a value in some builders.
		out.Kind = ast.ConstInt
	}
	return out
}

// setNumber classifies a number that the grammar calls a float: integers past int4 are int8 if they fit,
// and everything else is numeric.
func setNumber(c *ast.Const, s string) {
	if n, err := strconv.ParseInt(s, 0, 64); err == nil && plainInteger(s) {
		c.Int = n
		c.Kind = ast.ConstBigInt
		if n >= math.MinInt32 && n <= math.MaxInt32 {
			c.Kind = ast.ConstInt
		}
		return
	}
	c.Kind, c.Str = ast.ConstNumeric, s
}

// plainInteger keeps ParseInt's base prefix rule from reading 0123 as octal.
func plainInteger(s string) bool {
	if s != "" && s[0] == '-' {
		s = s[1:]
	}
	return len(s) < 2 || s[0] != '0' || s[1] < '0' || s[1] > '9'
}

func (l *lowerer) columnRef(c *pg.ColumnRef) *ast.ColumnRef {
	out := &ast.ColumnRef{Pos: pos(c.Location)}
	if len(c.Fields) == 1 {
		if s := c.Fields[0].GetString_(); s != nil {
			out.Fields = []string{s.Sval}
			return out
		}
	}
	for _, f := range c.Fields {
		if f.GetAStar() != nil {
			out.Star = true
			continue
		}
		out.Fields = append(out.Fields, str(f))
	}
	return out
}

// opName splits a possibly qualified operator.
func opName(ns []*pg.Node) (schema, op string) {
	switch len(ns) {
	case 0:
		return "", ""
	case 1:
		return "", str(ns[0])
	}
	return str(ns[len(ns)-2]), str(ns[len(ns)-1])
}

func (l *lowerer) aExpr(a *pg.A_Expr) ast.Expr {
	schema, op := opName(a.Name)
	p := pos(a.Location)
	switch a.Kind {
	case pg.A_Expr_Kind_AEXPR_OP_ANY, pg.A_Expr_Kind_AEXPR_OP_ALL:
		return &ast.AnyAllExpr{Schema: schema, Op: op, All: a.Kind == pg.A_Expr_Kind_AEXPR_OP_ALL,
			Left: l.expr(a.Lexpr), Right: l.expr(a.Rexpr), Pos: p}
	case pg.A_Expr_Kind_AEXPR_DISTINCT, pg.A_Expr_Kind_AEXPR_NOT_DISTINCT:
		return &ast.DistinctExpr{Not: a.Kind == pg.A_Expr_Kind_AEXPR_NOT_DISTINCT,
			Left: l.expr(a.Lexpr), Right: l.expr(a.Rexpr), Pos: p}
	case pg.A_Expr_Kind_AEXPR_NULLIF:
		return &ast.NullIfExpr{Left: l.expr(a.Lexpr), Right: l.expr(a.Rexpr), Pos: p}
	case pg.A_Expr_Kind_AEXPR_IN:
		return &ast.InExpr{Not: op == "<>", Left: l.expr(a.Lexpr), List: l.exprs(a.Rexpr.GetList().GetItems()), Pos: p}
	case pg.A_Expr_Kind_AEXPR_LIKE:
		return l.like(a, ast.Like, op == "!~~")
	case pg.A_Expr_Kind_AEXPR_ILIKE:
		return l.like(a, ast.ILike, op == "!~~*")
	case pg.A_Expr_Kind_AEXPR_SIMILAR:
		return l.like(a, ast.SimilarTo, op == "!~")
	case pg.A_Expr_Kind_AEXPR_BETWEEN, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN,
		pg.A_Expr_Kind_AEXPR_BETWEEN_SYM, pg.A_Expr_Kind_AEXPR_NOT_BETWEEN_SYM:
		bounds := a.Rexpr.GetList().GetItems()
		if len(bounds) != 2 {
			l.fail(pgerr.SyntaxError, a.Location, "BETWEEN needs two bounds")
		}
		return &ast.BetweenExpr{
			Not:       a.Kind == pg.A_Expr_Kind_AEXPR_NOT_BETWEEN || a.Kind == pg.A_Expr_Kind_AEXPR_NOT_BETWEEN_SYM,
			Symmetric: a.Kind == pg.A_Expr_Kind_AEXPR_BETWEEN_SYM || a.Kind == pg.A_Expr_Kind_AEXPR_NOT_BETWEEN_SYM,
			Arg:       l.expr(a.Lexpr), Low: l.expr(bounds[0]), High: l.expr(bounds[1]), Pos: p,
		}
	}
	return &ast.OpExpr{Schema: schema, Op: op, Left: l.optExpr(a.Lexpr), Right: l.expr(a.Rexpr), Pos: p}
}

// like unwraps the pg_catalog function that the grammar puts around a pattern with ESCAPE.
func (l *lowerer) like(a *pg.A_Expr, kind ast.LikeKind, not bool) ast.Expr {
	out := &ast.LikeExpr{Kind: kind, Not: not, Left: l.expr(a.Lexpr), Pos: pos(a.Location)}
	pattern := a.Rexpr
	if f := pattern.GetFuncCall(); f != nil && len(f.Funcname) == 2 && f.Location == a.Location {
		if name := str(f.Funcname[1]); name == "like_escape" || name == "similar_to_escape" {
			pattern = f.Args[0]
			if len(f.Args) > 1 {
				out.Escape = l.expr(f.Args[1])
			}
		}
	}
	out.Pattern = l.expr(pattern)
	return out
}

func (l *lowerer) boolExpr(b *pg.BoolExpr) ast.Expr {
	out := &ast.BoolExpr{Pos: pos(b.Location)}
	switch b.Boolop {
	case pg.BoolExprType_NOT_EXPR:
		out.Op = ast.Not
	case pg.BoolExprType_OR_EXPR:
		out.Op = ast.Or
	}
	out.Args = l.exprs(b.Args)
	return out
}

func (l *lowerer) funcCall(f *pg.FuncCall) *ast.FuncCall {
	out := &ast.FuncCall{
		Name: strs(f.Funcname), Args: l.exprs(f.Args), Star: f.AggStar, Distinct: f.AggDistinct,
		Variadic: f.FuncVariadic, WithinGroup: f.AggWithinGroup, OrderBy: l.sortBys(f.AggOrder),
		Filter: l.optExpr(f.AggFilter), SQLSyntax: f.Funcformat == pg.CoercionForm_COERCE_SQL_SYNTAX,
		Pos: pos(f.Location),
	}
	if f.Over != nil {
		out.Over = l.windowDef(f.Over)
	}
	return out
}

func (l *lowerer) sortBys(ns []*pg.Node) []*ast.SortBy {
	var out []*ast.SortBy
	for _, n := range ns {
		s := n.GetSortBy()
		out = append(out, &ast.SortBy{
			Expr: l.expr(s.Node), Dir: sortDir(s.SortbyDir), Nulls: nullsOrder(s.SortbyNulls),
			Using: strs(s.UseOp), Pos: pos(s.Location),
		})
	}
	return out
}

func sortDir(d pg.SortByDir) ast.SortDir {
	switch d {
	case pg.SortByDir_SORTBY_ASC:
		return ast.SortAsc
	case pg.SortByDir_SORTBY_DESC:
		return ast.SortDesc
	case pg.SortByDir_SORTBY_USING:
		return ast.SortUsing
	}
	return ast.SortDefault
}

func nullsOrder(n pg.SortByNulls) ast.NullsOrder {
	switch n {
	case pg.SortByNulls_SORTBY_NULLS_FIRST:
		return ast.NullsFirst
	case pg.SortByNulls_SORTBY_NULLS_LAST:
		return ast.NullsLast
	}
	return ast.NullsDefault
}

func (l *lowerer) subLink(s *pg.SubLink) ast.Expr {
	schema, op := opName(s.OperName)
	out := &ast.SubLink{Schema: schema, Op: op, Test: l.optExpr(s.Testexpr), Pos: pos(s.Location)}
	switch s.SubLinkType {
	case pg.SubLinkType_ANY_SUBLINK:
		out.Kind = ast.SubAny
	case pg.SubLinkType_ALL_SUBLINK:
		out.Kind = ast.SubAll
	case pg.SubLinkType_EXPR_SUBLINK:
		out.Kind = ast.SubScalar
	case pg.SubLinkType_ARRAY_SUBLINK:
		out.Kind = ast.SubArray
	}
	out.Select = l.selectNode(s.Subselect)
	return out
}

func (l *lowerer) caseExpr(c *pg.CaseExpr) ast.Expr {
	out := &ast.CaseExpr{Arg: l.optExpr(c.Arg), Else: l.optExpr(c.Defresult), Pos: pos(c.Location)}
	for _, n := range c.Args {
		w := n.GetCaseWhen()
		out.Whens = append(out.Whens, &ast.CaseWhen{Cond: l.expr(w.Expr), Result: l.expr(w.Result), Pos: pos(w.Location)})
	}
	return out
}

func (l *lowerer) steps(ns []*pg.Node) []ast.IndirectionStep {
	var out []ast.IndirectionStep
	for _, n := range ns {
		switch x := n.Node.(type) {
		case *pg.Node_String_:
			out = append(out, ast.IndirectionStep{Kind: ast.FieldStep, Name: x.String_.Sval})
		case *pg.Node_AStar:
			out = append(out, ast.IndirectionStep{Kind: ast.StarStep})
		case *pg.Node_AIndices:
			st := ast.IndirectionStep{Kind: ast.IndexStep, Lower: l.optExpr(x.AIndices.Lidx), Upper: l.optExpr(x.AIndices.Uidx)}
			if x.AIndices.IsSlice {
				st.Kind = ast.SliceStep
			}
			out = append(out, st)
		}
	}
	return out
}

func sqlValue(f *pg.SQLValueFunction) ast.Expr {
	out := &ast.SQLValueFunc{Precision: f.Typmod, Pos: pos(f.Location)}
	switch f.Op {
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_DATE:
		out.Op = ast.CurrentDate
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_TIME, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIME_N:
		out.Op = ast.CurrentTime
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP_N:
		out.Op = ast.CurrentTimestamp
	case pg.SQLValueFunctionOp_SVFOP_LOCALTIME, pg.SQLValueFunctionOp_SVFOP_LOCALTIME_N:
		out.Op = ast.LocalTime
	case pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP, pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP_N:
		out.Op = ast.LocalTimestamp
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_ROLE:
		out.Op = ast.CurrentRole
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_USER:
		out.Op = ast.CurrentUser
	case pg.SQLValueFunctionOp_SVFOP_USER:
		out.Op = ast.User
	case pg.SQLValueFunctionOp_SVFOP_SESSION_USER:
		out.Op = ast.SessionUser
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_CATALOG:
		out.Op = ast.CurrentCatalog
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_SCHEMA:
		out.Op = ast.CurrentSchema
	}
	return out
}

func (l *lowerer) multiAssign(m *pg.MultiAssignRef) ast.Expr {
	src, ok := l.sources[m.Source]
	if !ok {
		src = l.expr(m.Source)
		if l.sources == nil {
			l.sources = make(map[*pg.Node]ast.Expr)
		}
		l.sources[m.Source] = src
	}
	return &ast.MultiAssign{Column: int(m.Colno), NumColumns: int(m.Ncolumns), Source: src, Pos: pos(src.Position())}
}

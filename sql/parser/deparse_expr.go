package parser

import (
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
)

// expr writes an expression. Everything that is not atomic is put in parentheses.
func (d *deparser) expr(e ast.Expr) {
	switch e := e.(type) {
	case *ast.Const:
		d.constant(e)
	case *ast.Param:
		d.s("$", strconv.Itoa(e.Number))
	case *ast.ColumnRef:
		d.qualified(e.Fields)
		if e.Star {
			if len(e.Fields) > 0 {
				d.s(".")
			}
			d.s("*")
		}
	case *ast.OpExpr:
		d.s("(")
		if e.Left != nil {
			d.expr(e.Left)
			d.s(" ")
		}
		d.op(e.Schema, e.Op)
		d.s(" ")
		d.operand(e.Right, e.Left == nil)
		d.s(")")
	case *ast.AnyAllExpr:
		d.s("(")
		d.expr(e.Left)
		d.s(" ")
		d.op(e.Schema, e.Op)
		if e.All {
			d.s(" ALL (")
		} else {
			d.s(" ANY (")
		}
		d.scalar(e.Right)
		d.s("))")
	case *ast.DistinctExpr:
		d.s("(")
		d.expr(e.Left)
		if e.Not {
			d.s(" IS NOT DISTINCT FROM ")
		} else {
			d.s(" IS DISTINCT FROM ")
		}
		d.expr(e.Right)
		d.s(")")
	case *ast.NullIfExpr:
		d.s("NULLIF(")
		d.expr(e.Left)
		d.s(", ")
		d.expr(e.Right)
		d.s(")")
	case *ast.InExpr:
		d.s("(")
		d.expr(e.Left)
		if e.Not {
			d.s(" NOT")
		}
		d.s(" IN (")
		// A single subquery in the list would read as the subquery form.
		if len(e.List) == 1 {
			d.scalar(e.List[0])
		} else {
			d.exprs(e.List)
		}
		d.s("))")
	case *ast.LikeExpr:
		d.s("(")
		d.expr(e.Left)
		if e.Not {
			d.s(" NOT")
		}
		d.s([...]string{" LIKE ", " ILIKE ", " SIMILAR TO "}[e.Kind])
		d.expr(e.Pattern)
		if e.Escape != nil {
			d.s(" ESCAPE ")
			d.expr(e.Escape)
		}
		d.s(")")
	case *ast.BetweenExpr:
		d.s("(")
		d.expr(e.Arg)
		if e.Not {
			d.s(" NOT")
		}
		d.s(" BETWEEN ")
		if e.Symmetric {
			d.s("SYMMETRIC ")
		}
		d.expr(e.Low)
		d.s(" AND ")
		d.expr(e.High)
		d.s(")")
	case *ast.BoolExpr:
		d.boolExpr(e)
	case *ast.FuncCall:
		d.funcCall(e)
	case *ast.NamedArg:
		d.ident(e.Name)
		d.s(" => ")
		d.expr(e.Arg)
	case *ast.SQLValueFunc:
		d.s([...]string{"CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP", "CURRENT_ROLE",
			"CURRENT_USER", "USER", "SESSION_USER", "CURRENT_CATALOG", "CURRENT_SCHEMA"}[e.Op])
		if e.Precision >= 0 {
			d.s("(", strconv.Itoa(int(e.Precision)), ")")
		}
	case *ast.CoalesceExpr:
		d.call("COALESCE", e.Args)
	case *ast.MinMaxExpr:
		if e.Least {
			d.call("LEAST", e.Args)
		} else {
			d.call("GREATEST", e.Args)
		}
	case *ast.CaseExpr:
		d.s("CASE")
		if e.Arg != nil {
			d.s(" ")
			d.expr(e.Arg)
		}
		for _, w := range e.Whens {
			d.s(" WHEN ")
			d.expr(w.Cond)
			d.s(" THEN ")
			d.expr(w.Result)
		}
		if e.Else != nil {
			d.s(" ELSE ")
			d.expr(e.Else)
		}
		d.s(" END")
	case *ast.SubLink:
		d.subLink(e)
	case *ast.RowExpr:
		if e.Explicit {
			d.s("ROW")
		}
		d.s("(")
		d.exprs(e.Args)
		d.s(")")
	case *ast.ArrayExpr:
		d.s("ARRAY[")
		d.exprs(e.Elems)
		d.s("]")
	case *ast.Indirection:
		d.s("(")
		d.expr(e.Arg)
		d.s(")")
		d.steps(e.Steps)
	case *ast.TypeCast:
		d.s("CAST(")
		d.expr(e.Arg)
		d.s(" AS ")
		d.typeName(e.Type)
		d.s(")")
	case *ast.CollateExpr:
		d.s("(")
		d.expr(e.Arg)
		d.s(" COLLATE ")
		d.qualified(e.Name)
		d.s(")")
	case *ast.NullTest:
		d.s("(")
		d.expr(e.Arg)
		if e.Not {
			d.s(" IS NOT NULL)")
		} else {
			d.s(" IS NULL)")
		}
	case *ast.BooleanTest:
		d.s("(")
		d.expr(e.Arg)
		d.s(" IS ", [...]string{"TRUE", "NOT TRUE", "FALSE", "NOT FALSE", "UNKNOWN", "NOT UNKNOWN"}[e.Kind], ")")
	case *ast.GroupingFunc:
		d.call("GROUPING", e.Args)
	case *ast.DefaultExpr:
		d.s("DEFAULT")
	case *ast.MultiAssign:
		d.expr(e.Source)
	case *ast.CurrentOf:
		d.s("CURRENT OF ")
		if e.Param > 0 {
			d.s("$", strconv.Itoa(e.Param))
		} else {
			d.ident(e.Cursor)
		}
	case *ast.MergeActionFunc:
		d.s("merge_action()")
	case *ast.Unsupported:
		d.s("/* ", strings.ReplaceAll(e.What, "*/", ""), " */")
	}
}

// scalar writes an expression where a bare subquery in parentheses would mean something else.
func (d *deparser) scalar(e ast.Expr) {
	if s, ok := e.(*ast.SubLink); ok && s.Kind == ast.SubScalar {
		d.s("(")
		d.expr(e)
		d.s(")")
		return
	}
	d.expr(e)
}

// operand writes the operand of an operator. A number after a prefix minus would be folded into it.
func (d *deparser) operand(e ast.Expr, prefix bool) {
	if c, ok := e.(*ast.Const); ok && prefix && (c.Kind == ast.ConstInt || c.Kind == ast.ConstBigInt || c.Kind == ast.ConstNumeric) {
		d.s("(")
		d.expr(e)
		d.s(")")
		return
	}
	d.expr(e)
}

func (d *deparser) constant(c *ast.Const) {
	switch c.Kind {
	case ast.ConstNull:
		d.s("NULL")
	case ast.ConstInt, ast.ConstBigInt:
		if c.Int < 0 {
			// -1::int8 would be -(1::int8), and a - -1 a comment.
			d.s("(-", strconv.FormatUint(uint64(-c.Int), 10), ")")
			return
		}
		d.s(strconv.FormatInt(c.Int, 10))
	case ast.ConstNumeric:
		if strings.HasPrefix(c.Str, "-") {
			d.s("(", c.Str, ")")
			return
		}
		d.s(c.Str)
	case ast.ConstString:
		d.s(QuoteLiteral(c.Str))
	case ast.ConstBitString:
		if len(c.Str) > 0 {
			d.s(strings.ToUpper(c.Str[:1]), QuoteLiteral(c.Str[1:]))
		}
	case ast.ConstBool:
		if c.Bool {
			d.s("true")
		} else {
			d.s("false")
		}
	}
}

func (d *deparser) op(schema, op string) {
	if schema == "" {
		d.s(op)
		return
	}
	d.s("OPERATOR(")
	d.ident(schema)
	d.s(".", op, ")")
}

func (d *deparser) boolExpr(e *ast.BoolExpr) {
	d.s("(")
	if e.Op == ast.Not {
		d.s("NOT ")
		d.expr(e.Args[0])
	} else {
		for i, a := range e.Args {
			if i > 0 {
				if e.Op == ast.And {
					d.s(" AND ")
				} else {
					d.s(" OR ")
				}
			}
			d.expr(a)
		}
	}
	d.s(")")
}

func (d *deparser) call(name string, args []ast.Expr) {
	d.s(name, "(")
	d.exprs(args)
	d.s(")")
}

func (d *deparser) funcCall(f *ast.FuncCall) {
	if f.SQLSyntax && d.sqlSyntax(f) {
		return
	}
	d.qualified(f.Name)
	d.s("(")
	if f.Distinct {
		d.s("DISTINCT ")
	}
	if f.Star {
		d.s("*")
	}
	d.list(len(f.Args), func(i int) {
		if f.Variadic && i == len(f.Args)-1 {
			d.s("VARIADIC ")
		}
		d.expr(f.Args[i])
	})
	if len(f.OrderBy) > 0 && !f.WithinGroup {
		d.s(" ORDER BY ")
		d.sortBys(f.OrderBy)
	}
	d.s(")")
	if f.WithinGroup {
		d.s(" WITHIN GROUP (ORDER BY ")
		d.sortBys(f.OrderBy)
		d.s(")")
	}
	if f.Filter != nil {
		d.s(" FILTER (WHERE ")
		d.expr(f.Filter)
		d.s(")")
	}
	if f.Over != nil {
		d.s(" OVER ")
		if f.Over.Name != "" {
			d.ident(f.Over.Name)
		} else {
			d.window(f.Over)
		}
	}
}

// sqlSyntax writes the calls that have a syntax of their own, so that parsing gives SQLSyntax again. It
// reports whether it did.
func (d *deparser) sqlSyntax(f *ast.FuncCall) bool {
	if len(f.Name) != 2 {
		return false
	}
	a := f.Args
	two := func(open, mid string) bool {
		d.s(open)
		d.expr(a[0])
		d.s(mid)
		d.expr(a[1])
		d.s(")")
		return true
	}
	switch name := f.Name[1]; {
	case name == "timezone" && len(a) == 2:
		d.s("(")
		d.expr(a[1])
		d.s(" AT TIME ZONE ")
		d.expr(a[0])
		d.s(")")
		return true
	case name == "extract" && len(a) == 2:
		if c, ok := a[0].(*ast.Const); ok && c.Kind == ast.ConstString {
			d.s("EXTRACT(", QuoteLiteral(c.Str), " FROM ")
			d.expr(a[1])
			d.s(")")
			return true
		}
	case name == "overlaps" && len(a) == 4:
		d.s("((")
		d.exprs(a[:2])
		d.s(") OVERLAPS (")
		d.exprs(a[2:])
		d.s("))")
		return true
	case name == "position" && len(a) == 2:
		// The grammar swaps the operands.
		d.s("POSITION((")
		d.expr(a[1])
		d.s(") IN (")
		d.expr(a[0])
		d.s("))")
		return true
	case name == "substring" && (len(a) == 2 || len(a) == 3):
		d.s("SUBSTRING(")
		d.expr(a[0])
		d.s(" FROM ")
		d.expr(a[1])
		if len(a) == 3 {
			d.s(" FOR ")
			d.expr(a[2])
		}
		d.s(")")
		return true
	case name == "overlay" && (len(a) == 3 || len(a) == 4):
		d.s("OVERLAY(")
		d.expr(a[0])
		d.s(" PLACING ")
		d.expr(a[1])
		d.s(" FROM ")
		d.expr(a[2])
		if len(a) == 4 {
			d.s(" FOR ")
			d.expr(a[3])
		}
		d.s(")")
		return true
	case (name == "btrim" || name == "ltrim" || name == "rtrim") && (len(a) == 1 || len(a) == 2):
		d.s("TRIM(", map[string]string{"btrim": "BOTH", "ltrim": "LEADING", "rtrim": "TRAILING"}[name])
		if len(a) == 2 {
			d.s(" ")
			d.expr(a[1])
		}
		d.s(" FROM ")
		d.expr(a[0])
		d.s(")")
		return true
	case name == "pg_collation_for" && len(a) == 1:
		d.s("COLLATION FOR (")
		d.expr(a[0])
		d.s(")")
		return true
	case name == "normalize" && len(a) == 1:
		d.s("NORMALIZE(")
		d.expr(a[0])
		d.s(")")
		return true
	case name == "normalize" && len(a) == 2:
		if c, ok := a[1].(*ast.Const); ok {
			d.s("NORMALIZE(")
			d.expr(a[0])
			d.s(", ", c.Str, ")")
			return true
		}
	case name == "is_normalized" && len(a) >= 1:
		d.s("(")
		d.expr(a[0])
		d.s(" IS ")
		if len(a) == 2 {
			if c, ok := a[1].(*ast.Const); ok {
				d.s(c.Str, " ")
			}
		}
		d.s("NORMALIZED)")
		return true
	case name == "system_user" && len(a) == 0:
		d.s("SYSTEM_USER")
		return true
	case name == "xmlexists" && len(a) == 2:
		return two("XMLEXISTS(", " PASSING ")
	}
	return false
}

func (d *deparser) subLink(e *ast.SubLink) {
	switch e.Kind {
	case ast.SubExists:
		d.s("EXISTS (")
	case ast.SubArray:
		d.s("ARRAY(")
	case ast.SubScalar:
		d.s("(")
	default:
		d.s("(")
		d.expr(e.Test)
		switch {
		case e.Kind == ast.SubAny && e.Op == "":
			d.s(" IN (")
		case e.Kind == ast.SubAny:
			d.s(" ")
			d.op(e.Schema, e.Op)
			d.s(" ANY (")
		default:
			d.s(" ")
			d.op(e.Schema, e.Op)
			d.s(" ALL (")
		}
		d.selectStmt(e.Select)
		d.s("))")
		return
	}
	d.selectStmt(e.Select)
	d.s(")")
}

func (d *deparser) steps(steps []ast.IndirectionStep) {
	for _, st := range steps {
		switch st.Kind {
		case ast.FieldStep:
			d.s(".")
			d.ident(st.Name)
		case ast.StarStep:
			d.s(".*")
		case ast.IndexStep:
			d.s("[")
			d.expr(st.Upper)
			d.s("]")
		case ast.SliceStep:
			d.s("[")
			if st.Lower != nil {
				d.expr(st.Lower)
			}
			d.s(":")
			if st.Upper != nil {
				d.expr(st.Upper)
			}
			d.s("]")
		}
	}
}

func (d *deparser) sortBys(keys []*ast.SortBy) {
	d.list(len(keys), func(i int) {
		k := keys[i]
		d.expr(k.Expr)
		switch k.Dir {
		case ast.SortAsc:
			d.s(" ASC")
		case ast.SortDesc:
			d.s(" DESC")
		case ast.SortUsing:
			schema := ""
			if len(k.Using) > 1 {
				schema = k.Using[len(k.Using)-2]
			}
			d.s(" USING ")
			d.op(schema, k.Using[len(k.Using)-1])
		}
		d.nulls(k.Nulls)
	})
}

func (d *deparser) nulls(n ast.NullsOrder) {
	switch n {
	case ast.NullsFirst:
		d.s(" NULLS FIRST")
	case ast.NullsLast:
		d.s(" NULLS LAST")
	}
}

func (d *deparser) window(w *ast.WindowDef) {
	d.s("(")
	sep := ""
	if w.Ref != "" {
		d.ident(w.Ref)
		sep = " "
	}
	if len(w.PartitionBy) > 0 {
		d.s(sep, "PARTITION BY ")
		d.exprs(w.PartitionBy)
		sep = " "
	}
	if len(w.OrderBy) > 0 {
		d.s(sep, "ORDER BY ")
		d.sortBys(w.OrderBy)
		sep = " "
	}
	if f := w.Frame; f != nil {
		d.s(sep, [...]string{"RANGE", "ROWS", "GROUPS"}[f.Mode], " BETWEEN ")
		d.bound(f.Start, f.StartOffset)
		d.s(" AND ")
		d.bound(f.End, f.EndOffset)
		d.s([...]string{"", " EXCLUDE CURRENT ROW", " EXCLUDE GROUP", " EXCLUDE TIES"}[f.Exclude])
	}
	d.s(")")
}

func (d *deparser) bound(k ast.BoundKind, off ast.Expr) {
	if off != nil {
		d.expr(off)
		d.s(" ")
	}
	d.s([...]string{"UNBOUNDED PRECEDING", "PRECEDING", "CURRENT ROW", "FOLLOWING", "UNBOUNDED FOLLOWING"}[k])
}

package plan

import (
	"strings"

	"github.com/meridian-db/meridian/sql/types"
)

// expr renders an expression as EXPLAIN shows it.
func (d *describer) expr(e Expr) string {
	switch x := e.(type) {
	case *Invariant:
		return d.expr(x.Arg)
	case *Const:
		return constText(x)
	case *Param:
		return "$" + itoa(x.N+1)
	case *Col:
		name := types.QuoteIdent(x.Name)
		if x.Rel != "" && d.manyRels() {
			return types.QuoteIdent(x.Rel) + "." + name
		}
		return name
	case *Func:
		if x.Form == FormOperator {
			if len(x.Args) == 1 {
				return "(" + x.Name + " " + d.expr(x.Args[0]) + ")"
			}
			return "(" + d.expr(x.Args[0]) + " " + x.Name + " " + d.expr(x.Args[1]) + ")"
		}
		return x.Name + "(" + d.list(x.Args) + ")"
	case *Cast:
		if x.Form == FormImplicit && !x.C.NoOp && x.T.Category == 'S' {
			return d.expr(x.Arg)
		}
		a := d.expr(x.Arg)
		if _, ok := x.Arg.(*Col); ok {
			a = "(" + a + ")"
		}
		return a + "::" + types.FormatType(x.T)
	case *And:
		return d.join(x.Args, " AND ")
	case *Or:
		return d.join(x.Args, " OR ")
	case *Not:
		return "(NOT " + d.expr(x.Arg) + ")"
	case *IsNull:
		if x.Not {
			return "(" + d.expr(x.Arg) + " IS NOT NULL)"
		}
		return "(" + d.expr(x.Arg) + " IS NULL)"
	case *BoolTest:
		s := " IS "
		if x.Not {
			s += "NOT "
		}
		switch {
		case x.Unknown:
			s += "UNKNOWN"
		case x.Want:
			s += "TRUE"
		default:
			s += "FALSE"
		}
		return "(" + d.expr(x.Arg) + s + ")"
	case *DistinctFrom:
		if x.Not {
			return "(NOT (" + d.expr(x.Left) + " IS DISTINCT FROM " + d.expr(x.Right) + "))"
		}
		return "(" + d.expr(x.Left) + " IS DISTINCT FROM " + d.expr(x.Right) + ")"
	case *NullIf:
		return "NULLIF(" + d.expr(x.Left) + ", " + d.expr(x.Right) + ")"
	case *Coalesce:
		return "COALESCE(" + d.list(x.Args) + ")"
	case *MinMax:
		if x.Least {
			return "LEAST(" + d.list(x.Args) + ")"
		}
		return "GREATEST(" + d.list(x.Args) + ")"
	case *Case:
		var b strings.Builder
		b.WriteString("CASE")
		if x.Arg != nil {
			b.WriteString(" " + d.expr(x.Arg))
		}
		for i := range x.Conds {
			c := x.Conds[i]
			if f, ok := c.(*Func); ok && x.Arg != nil && len(f.Args) == 2 {
				c = f.Args[1]
			}
			b.WriteString(" WHEN " + d.expr(c) + " THEN " + d.expr(x.Results[i]))
		}
		if x.Else != nil {
			b.WriteString(" ELSE " + d.expr(x.Else))
		}
		return b.String() + " END"
	case *InList:
		op := " = ANY ("
		if x.Not {
			op = " <> ALL ("
		}
		consts := true
		var vals []string
		for _, v := range x.List {
			c, ok := v.(*Const)
			consts = consts && ok
			if ok {
				t := "NULL"
				if !c.D.IsNull() {
					t = string(types.AppendText(nil, c.D, c.T, nil))
				}
				vals = append(vals, t)
			}
		}
		if consts && len(x.List) > 0 {
			return "(" + d.expr(x.Left) + op + "'{" + strings.Join(vals, ",") + "}'::" + types.TypeName(x.List[0].Type()) + "[]))"
		}
		return "(" + d.expr(x.Left) + op + "ARRAY[" + d.list(x.List) + "]))"
	case *AnyAll:
		q := "ANY"
		if x.All {
			q = "ALL"
		}
		return "(" + d.expr(x.Left) + " " + x.Op.Name + " " + q + " (" + d.expr(x.Right) + "))"
	case *RowCompare:
		return "(ROW(" + d.list(x.Left) + ") " + x.Op + " ROW(" + d.list(x.Right) + "))"
	case *Row:
		return "ROW(" + d.list(x.Elems) + ")"
	case *ArrayCtor:
		return "ARRAY[" + d.list(x.Elems) + "]"
	case *CTID:
		if c, ok := x.Keys[0].(*Col); ok {
			k := *c
			k.Name = "ctid"
			return d.expr(&k)
		}
		return "ctid"
	case *KeyOfTID:
		return d.expr(x.Arg)
	case *Field:
		return "(" + d.expr(x.Arg) + ")." + x.Name
	case *Subscript:
		return d.expr(x.Arg) + "[" + d.list(x.Upper) + "]"
	case *Subquery:
		name := "SubPlan " + itoa(x.ID+1)
		if x.Kind == SubAny && x.OpEq {
			name = "hashed " + name
		}
		if x.Kind == SubScalar && !x.Correlated {
			return "$" + itoa(x.ID)
		}
		if x.Not {
			return "(NOT (" + name + "))"
		}
		return "(" + name + ")"
	case *DomainCheck:
		return d.expr(x.Arg)
	case *Grouping:
		return "GROUPING(" + d.list(x.args) + ")"
	}
	return "?"
}

func (d *describer) join(es []Expr, sep string) string {
	var out []string
	for _, e := range es {
		out = append(out, d.expr(e))
	}
	return "(" + strings.Join(out, sep) + ")"
}

// manyRels reports whether column names need their relation's.
func (d *describer) manyRels() bool { return d.rels > 1 }

func constText(c *Const) string {
	if c.D.IsNull() {
		return "NULL::" + types.TypeName(c.T)
	}
	s := string(types.AppendText(nil, c.D, c.T, nil))
	switch c.T.Kind {
	case types.KindInt:
		if c.T.OID == types.OIDInt4 {
			return s
		}
		return "'" + s + "'::" + types.TypeName(c.T)
	case types.KindBool:
		if c.D.Bool() {
			return "true"
		}
		return "false"
	case types.KindNumeric:
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'::" + types.TypeName(c.T)
}

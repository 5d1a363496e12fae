package pgcatalog

import (
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/types"
)

func (r *rulePrinter) sameType(name string, args []ast.Expr) (printed, error) {
	ps, err := r.all(args)
	if err != nil {
		return printed{}, err
	}
	t, err := r.common(ps)
	return printed{text: name + "(" + texts(ps) + ")", t: t, function: true}, err
}

// caseExpr prints CASE over several lines, as PostgreSQL does even without pretty printing.
func (r *rulePrinter) caseExpr(e *ast.CaseExpr) (printed, error) {
	var conds, results []printed
	var arg printed
	var err error
	if e.Arg != nil {
		if arg, err = r.expr(e.Arg); err != nil {
			return printed{}, err
		}
	}
	for _, w := range e.Whens {
		c, err := r.expr(w.Cond)
		if err != nil {
			return printed{}, err
		}
		want := types.Bool
		if e.Arg != nil {
			call, err := builtin.ResolveOperator("=", arg.typeOf(), c.typeOf())
			if err != nil {
				return printed{}, err
			}
			want = call.Args[1]
		}
		if c, err = r.typed(c, want); err != nil {
			return printed{}, err
		}
		res, err := r.expr(w.Result)
		if err != nil {
			return printed{}, err
		}
		conds, results = append(conds, c), append(results, res)
	}
	last := printed{lit: &ast.Const{Kind: ast.ConstNull}, t: types.Unknown}
	if e.Else != nil {
		if last, err = r.expr(e.Else); err != nil {
			return printed{}, err
		}
	}
	results = append(results, last)
	t, err := r.common(results)
	if err != nil {
		return printed{}, err
	}
	line := "\n" + strings.Repeat(" ", r.indent)
	var b strings.Builder
	b.WriteString(line + "CASE")
	if e.Arg != nil {
		b.WriteString(" " + arg.text)
	}
	for i, c := range conds {
		b.WriteString(line + "    WHEN " + c.text + " THEN " + results[i].text)
	}
	b.WriteString(line + "    ELSE " + results[len(results)-1].text + line + "END")
	return printed{text: b.String(), t: t}, nil
}

func (r *rulePrinter) array(e *ast.ArrayExpr, elem *types.T) (printed, error) {
	if len(e.Elems) == 0 {
		if elem == nil {
			return printed{}, errNotPrinted
		}
		t := types.ArrayOf(elem)
		return printed{text: "ARRAY[]::" + r.typeName(t), t: t}, nil
	}
	for _, x := range e.Elems {
		if _, nested := x.(*ast.ArrayExpr); nested {
			ps := make([]printed, len(e.Elems))
			for i, x := range e.Elems {
				sub, ok := x.(*ast.ArrayExpr)
				if !ok {
					return printed{}, errNotPrinted
				}
				var err error
				if ps[i], err = r.array(sub, elem); err != nil {
					return printed{}, err
				}
			}
			return printed{text: "ARRAY[" + texts(ps) + "]", t: ps[0].t}, nil
		}
	}
	ps, err := r.all(e.Elems)
	if err != nil {
		return printed{}, err
	}
	if elem != nil {
		for i := range ps {
			if ps[i], err = r.typed(ps[i], elem); err != nil {
				return printed{}, err
			}
		}
	} else if elem, err = r.common(ps); err != nil {
		return printed{}, err
	}
	t := types.ArrayOf(bareOf(elem))
	if t == nil {
		return printed{}, errNotPrinted
	}
	return printed{text: "ARRAY[" + texts(ps) + "]", t: t}, nil
}

func (r *rulePrinter) indirection(e *ast.Indirection) (printed, error) {
	p, err := r.expr(e.Arg)
	if err != nil {
		return printed{}, err
	}
	if p.t == nil || p.lit != nil {
		return printed{}, errNotPrinted
	}
	text := p.text
	if _, col := e.Arg.(*ast.ColumnRef); !col || e.Steps[0].Kind == ast.FieldStep {
		text = "(" + text + ")"
	}
	t := p.t.BaseType()
	for i := 0; i < len(e.Steps); i++ {
		st := e.Steps[i]
		switch st.Kind {
		case ast.FieldStep:
			if t.Def == nil {
				return printed{}, errNotPrinted
			}
			k := slices.IndexFunc(t.Def.Fields, func(f types.Field) bool { return f.Name == st.Name })
			if k < 0 {
				return printed{}, errNotPrinted
			}
			text, t = text+"."+quoteIdent(st.Name), t.Def.Fields[k].Type.BaseType()
		case ast.IndexStep, ast.SliceStep:
			slice := false
			for i < len(e.Steps) && (e.Steps[i].Kind == ast.IndexStep || e.Steps[i].Kind == ast.SliceStep) {
				st := e.Steps[i]
				text += "["
				slice = slice || st.Kind == ast.SliceStep
				for n, b := range []ast.Expr{st.Lower, st.Upper} {
					if n == 1 && st.Kind == ast.SliceStep {
						text += ":"
					}
					if b == nil {
						continue
					}
					x, err := r.expr(b)
					if err != nil {
						return printed{}, err
					}
					want := types.Int4
					if t.OID == types.OIDJSONB && x.typeOf().OID != types.OIDInt4 {
						want = types.Text
					}
					if x, err = r.typed(x, want); err != nil {
						return printed{}, err
					}
					text += x.text
				}
				text += "]"
				i++
			}
			i--
			if !slice && t.OID != types.OIDJSONB {
				if t.Elem == nil {
					return printed{}, errNotPrinted
				}
				t = t.Elem
			}
		default:
			return printed{}, errNotPrinted
		}
	}
	return printed{text: text, t: t}, nil
}

func (r *rulePrinter) typeCast(e *ast.TypeCast) (printed, error) {
	t, err := r.env.Snapshot.ResolveType(r.env.SearchPath, e.Type)
	if err != nil {
		return printed{}, err
	}
	if a, ok := e.Arg.(*ast.ArrayExpr); ok && t.IsArray() {
		p, err := r.array(a, t.Elem)
		if err != nil || t.Typmod < 0 {
			return p, err
		}
		return r.cast(p, t), nil
	}
	p, err := r.expr(e.Arg)
	if err != nil {
		return printed{}, err
	}
	if p.lit == nil {
		if p.t.OID == t.OID && (t.Typmod < 0 || p.t.Typmod == t.Typmod) {
			return p, nil
		}
		return r.cast(p, t), nil
	}
	if p, err = r.typed(p, t); err != nil || t.Typmod < 0 || p.plainConst == "NULL" {
		return p, err
	}
	return printed{text: p.plainConst + "::" + r.typeName(t), t: t, shape: shapeCast}, nil
}

// function prints an ordinary call with its arguments brought to the parameters' types.
func (r *rulePrinter) function(name string, args []printed) (printed, error) {
	ts := make([]*types.T, len(args))
	for i, a := range args {
		ts[i] = a.typeOf()
	}
	call, err := builtin.Resolve(builtin.FuncRequest{Name: name, Args: ts})
	if err != nil {
		return printed{}, err
	}
	for i := range args {
		if args[i], err = r.typed(args[i], call.Args[i]); err != nil {
			return printed{}, err
		}
	}
	return printed{text: quoteIdent(name) + "(" + texts(args) + ")", t: call.Ret, function: true}, nil
}

func (r *rulePrinter) call(e *ast.FuncCall) (printed, error) {
	if e.Over != nil || e.Star || e.Distinct || e.Filter != nil || e.OrderBy != nil || e.Variadic ||
		len(e.Name) > 1 && e.Name[0] != "pg_catalog" {
		return printed{}, errNotPrinted
	}
	name := e.Name[len(e.Name)-1]
	args, err := r.all(e.Args)
	if err != nil {
		return printed{}, err
	}
	p, err := r.function(name, args)
	if err != nil || !e.SQLSyntax {
		return p, err
	}
	// The forms of SQL: the arguments now have their types.
	arg := func(i int) string { return args[i].text }
	n := len(args)
	switch {
	case name == "timezone" && n == 2:
		p.text, p.function = "("+r.wrap(args[1])+" AT TIME ZONE "+r.wrap(args[0])+")", false
	case name == "extract" && n == 2:
		c, ok := e.Args[0].(*ast.Const)
		if !ok {
			return printed{}, errNotPrinted
		}
		p.text = "EXTRACT(" + c.Str + " FROM " + arg(1) + ")"
	case name == "position" && n == 2:
		p.text = "POSITION((" + arg(1) + ") IN (" + arg(0) + "))"
	case name == "overlay" && n == 3:
		p.text = "OVERLAY(" + arg(0) + " PLACING " + arg(1) + " FROM " + arg(2) + ")"
	case name == "overlay" && n == 4:
		p.text = "OVERLAY(" + arg(0) + " PLACING " + arg(1) + " FROM " + arg(2) + " FOR " + arg(3) + ")"
	case name == "substring" && n == 2:
		p.text = "SUBSTRING(" + arg(0) + " FROM " + arg(1) + ")"
	case name == "substring" && n == 3:
		p.text = "SUBSTRING(" + arg(0) + " FROM " + arg(1) + " FOR " + arg(2) + ")"
	case name == "btrim" || name == "ltrim" || name == "rtrim":
		side := map[string]string{"btrim": "BOTH", "ltrim": "LEADING", "rtrim": "TRAILING"}[name]
		p.text = "TRIM(" + side + " FROM " + arg(0) + ")"
		if n == 2 {
			p.text = "TRIM(" + side + " " + arg(1) + " FROM " + arg(0) + ")"
		}
	case name == "overlaps" && n == 4:
		p.text = "((" + arg(0) + ", " + arg(1) + ") OVERLAPS (" + arg(2) + ", " + arg(3) + "))"
	case name == "is_normalized":
		p.text = "(" + arg(0) + " IS NORMALIZED)"
	}
	return p, nil
}

func (r *rulePrinter) sqlValue(e *ast.SQLValueFunc) (printed, error) {
	name := [...]string{"CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP", "CURRENT_ROLE", "CURRENT_USER",
		"USER", "SESSION_USER", "CURRENT_CATALOG", "CURRENT_SCHEMA"}[e.Op]
	t := types.Name
	switch e.Op {
	case ast.CurrentDate:
		t = types.Date
	case ast.CurrentTime:
		t = types.TimeTZT
	case ast.CurrentTimestamp:
		t = types.TimestampTZ
	case ast.LocalTime:
		t = types.Time
	case ast.LocalTimestamp:
		t = types.Timestamp
	}
	if e.Precision >= 0 {
		name += "(" + strconv.Itoa(int(e.Precision)) + ")"
	}
	return printed{text: name, t: t}, nil
}

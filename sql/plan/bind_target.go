package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// target is a select list entry while its query is bound.
type target struct {
	outCol
	ast    ast.Expr
	label  string // AS label, or what the column is called by default
	pos    int32
	hasSRF bool
}

// targets binds a select or RETURNING list.
func (s *scope) targets(list []*ast.Target) ([]target, error) {
	var out []target
	for _, t := range list {
		if r, ok := t.Expr.(*ast.ColumnRef); ok && r.Star {
			cols, err := s.star(r)
			if err != nil {
				return nil, err
			}
			for _, c := range cols {
				out = append(out, target{outCol: outCol{name: c.name, expr: s.captured(c.expr, r.Off), table: c.table, attnum: c.attnum},
					label: c.name, pos: r.Off})
			}
			continue
		}
		if in, ok := t.Expr.(*ast.Indirection); ok && in.Steps[len(in.Steps)-1].Kind == ast.StarStep {
			more, err := s.rowStar(in)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
			continue
		}
		before := 0
		if s.q != nil {
			before = len(s.q.srfs)
		}
		x, err := s.expr(t.Expr)
		if err != nil {
			return nil, err
		}
		tg := target{ast: t.Expr, label: t.Name, pos: t.Expr.Position()}
		tg.expr = x
		tg.hasSRF = s.q != nil && len(s.q.srfs) > before
		if tg.label == "" {
			tg.label = figureName(t.Expr)
		}
		if r, ok := t.Expr.(*ast.ColumnRef); ok {
			tg.table, tg.attnum = s.origin(r)
		}
		out = append(out, tg)
	}
	if len(out) > 1664 {
		return nil, pgerr.New(pgerr.TooManyColumns, "target lists can have at most 1664 entries")
	}
	return out, nil
}

// rowStar expands (row).*.
func (s *scope) rowStar(in *ast.Indirection) ([]target, error) {
	arg := in.Arg
	if len(in.Steps) > 1 {
		arg = &ast.Indirection{Arg: in.Arg, Steps: in.Steps[:len(in.Steps)-1], Pos: in.Pos}
	}
	x, err := s.argument(arg)
	if err != nil {
		return nil, err
	}
	t := x.Type().BaseType()
	if t.Def == nil || len(t.Def.Fields) == 0 {
		if t.Kind == types.KindTuple {
			return nil, errAt(in.Off, pgerr.SyntaxError, "record type has not been registered")
		}
		return nil, errAt(in.Off, pgerr.WrongObjectType, "type %s is not composite", types.TypeName(t))
	}
	var out []target
	for i, f := range t.Def.Fields {
		var e Expr = &Field{Arg: x, N: i, T: f.Type, Name: f.Name}
		if r, ok := x.(*Row); ok {
			e = r.Elems[i]
		}
		out = append(out, target{outCol: outCol{name: f.Name, expr: e}, label: f.Name, pos: in.Off})
	}
	return out, nil
}

// origin returns the table column a reference leads to.
func (s *scope) origin(r *ast.ColumnRef) (uint32, int16) {
	if len(r.Fields) == 1 {
		if _, c, err := s.bare(r.Fields[0], -1); err == nil && c != nil {
			return c.table, c.attnum
		}
		return 0, 0
	}
	rl, err := s.findRel("", r.Fields[len(r.Fields)-2], -1)
	if err != nil || rl == nil {
		return 0, 0
	}
	for _, c := range rl.cols {
		if c.name == r.Fields[len(r.Fields)-1] {
			return c.table, c.attnum
		}
	}
	return 0, 0
}

// figureName is the name of a target without AS (FigureColname).
func figureName(e ast.Expr) string {
	n, _ := figure(e)
	if n == "" {
		return "?column?"
	}
	return n
}

// figure returns a name and how sure it is: 2 for columns and functions, 1 for types and CASE.
func figure(e ast.Expr) (string, int) {
	switch e := e.(type) {
	case *ast.ColumnRef:
		if len(e.Fields) == 0 {
			return "", 0
		}
		return e.Fields[len(e.Fields)-1], 2
	case *ast.Indirection:
		for i := len(e.Steps) - 1; i >= 0; i-- {
			if e.Steps[i].Kind == ast.FieldStep {
				return e.Steps[i].Name, 2
			}
		}
		return figure(e.Arg)
	case *ast.FuncCall:
		return e.Name[len(e.Name)-1], 2
	case *ast.TypeCast:
		if n, k := figure(e.Arg); k > 1 {
			return n, k
		}
		return e.Type.Name(), 1
	case *ast.CollateExpr:
		return figure(e.Arg)
	case *ast.CaseExpr:
		if e.Else != nil {
			if n, k := figure(e.Else); k > 1 {
				return n, k
			}
		}
		return "case", 1
	case *ast.CoalesceExpr:
		return "coalesce", 2
	case *ast.NullIfExpr:
		return "nullif", 2
	case *ast.MinMaxExpr:
		if e.Least {
			return "least", 2
		}
		return "greatest", 2
	case *ast.ArrayExpr:
		return "array", 2
	case *ast.RowExpr:
		return "row", 2
	case *ast.GroupingFunc:
		return "grouping", 2
	case *ast.SubLink:
		switch e.Kind {
		case ast.SubExists:
			return "exists", 2
		case ast.SubArray:
			return "array", 2
		case ast.SubScalar:
			st := e.Select
			for st.Left != nil {
				st = st.Left
			}
			if len(st.Targets) > 0 {
				if st.Targets[0].Name != "" {
					return st.Targets[0].Name, 2
				}
				return figure(st.Targets[0].Expr)
			}
			return "column1", 2
		}
	case *ast.SQLValueFunc:
		return [...]string{"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp",
			"current_role", "current_user", "user", "session_user", "current_catalog", "current_schema"}[e.Op], 2
	}
	return "", 0
}

// NameOf is the name that an expression gets as a column without AS, or other if it has none.
func NameOf(e ast.Expr, other string) string {
	if n, _ := figure(e); n != "" {
		return n
	}
	return other
}

package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// setList binds the assignments of UPDATE or DO UPDATE. old are the slots of the row before.
func (s *scope) setList(v *viewTarget, list []*ast.Target, old []Slot) ([]OrdExpr, error) {
	b, t := s.b, v.base
	byName, _, err := v.ordinals(old)
	if err != nil {
		return nil, err
	}
	var out []OrdExpr
	rows := map[ast.Expr]*Subquery{}
	for _, tg := range list {
		o, err := v.column(byName, tg.Name, "update", tg.Off)
		if err != nil {
			return nil, err
		}
		col := t.Columns[o]
		if len(tg.Steps) == 0 {
			for _, x := range out {
				if x.Ord == o {
					return nil, pgerr.New(pgerr.SyntaxError, "multiple assignments to same column %q", col.Name)
				}
			}
		}
		if _, ok := tg.Expr.(*ast.DefaultExpr); ok {
			if len(tg.Steps) > 0 {
				return nil, errPartDefault(tg)
			}
			x, err := b.defaultExpr(t, o)
			if err != nil {
				return nil, err
			}
			if col.Generated != nil {
				continue
			}
			out = append(out, OrdExpr{o, x})
			continue
		}
		if col.Generated != nil || col.Identity == 'a' {
			e := pgerr.New(pgerr.GeneratedAlways, "column %q can only be updated to DEFAULT", col.Name)
			if col.Generated != nil {
				return nil, e.WithDetail("Column \"%s\" is a generated column.", col.Name)
			}
			return nil, e.WithDetail("Column \"%s\" is an identity column defined as GENERATED ALWAYS.", col.Name)
		}
		var x Expr
		if m, ok := tg.Expr.(*ast.MultiAssign); ok {
			if x, err = s.multiAssign(m, rows); err == nil && x == nil {
				x, err = b.defaultExpr(t, o)
			}
		} else {
			x, err = s.expr(tg.Expr)
		}
		if err != nil {
			return nil, err
		}
		if len(tg.Steps) > 0 {
			base := Expr(&Col{Slot: old[o], T: col.T, Name: col.Name})
			for i := range out {
				if out[i].Ord == o {
					base = out[i].E
				}
			}
			if x, err = s.assignPart(base, tg, x, tg.Expr.Position()); err != nil {
				return nil, err
			}
			replaced := false
			for i := range out {
				if out[i].Ord == o {
					out[i].E, replaced = x, true
				}
			}
			if !replaced {
				out = append(out, OrdExpr{o, x})
			}
			continue
		}
		if x, err = b.assign(x, col, tg.Expr.Position()); err != nil {
			return nil, err
		}
		out = append(out, OrdExpr{o, x})
	}
	return out, nil
}

// multiAssign binds one column of SET (a, b) = source; nil stands for DEFAULT.
func (s *scope) multiAssign(m *ast.MultiAssign, rows map[ast.Expr]*Subquery) (Expr, error) {
	if r, ok := m.Source.(*ast.RowExpr); ok {
		if len(r.Args) == m.NumColumns {
			if _, ok := r.Args[m.Column-1].(*ast.DefaultExpr); ok {
				return nil, nil // the caller knows the column
			}
			if c, ok := r.Args[m.Column-1].(*ast.ColumnRef); !ok || !c.Star {
				return s.expr(r.Args[m.Column-1])
			}
		}
		args, err := s.rowArgs(r.Args)
		if err != nil {
			return nil, err
		}
		if len(args) != m.NumColumns {
			return nil, errAt(m.Off, pgerr.SyntaxError, "number of columns does not match number of values")
		}
		return args[m.Column-1], nil
	}
	sl, ok := m.Source.(*ast.SubLink)
	if !ok {
		return nil, errAt(m.Off, pgerr.FeatureNotSupported, "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression")
	}
	sub := rows[m.Source]
	if sub == nil {
		q, err := s.child().selectStmt(sl.Select)
		if err != nil {
			return nil, err
		}
		if len(q.cols) != m.NumColumns {
			return nil, errAt(m.Off, pgerr.SyntaxError, "number of columns does not match number of values")
		}
		sub = &Subquery{ID: len(s.b.subqs), Kind: SubRow, Root: q.node}
		for _, c := range q.cols {
			sub.Out = append(sub.Out, s.b.settle(c.expr))
		}
		sub.T = rowType(sub.Out, nil)
		s.b.subqs = append(s.b.subqs, sub)
		rows[m.Source] = sub
	}
	return &Field{Arg: sub, N: m.Column - 1, T: sub.Out[m.Column-1].Type()}, nil
}

func (s *scope) assignJSON(base Expr, tg *ast.Target, x Expr) (Expr, error) {
	j := &JSONSet{Base: base}
	for _, st := range tg.Steps {
		if st.Kind == ast.SliceStep {
			return nil, errAt(tg.Off, pgerr.DatatypeMismatch, "jsonb subscript does not support slices")
		}
		if st.Kind != ast.IndexStep {
			return nil, errAt(tg.Off, pgerr.DatatypeMismatch, "cannot assign to field %q of column %q because its type jsonb is not a composite type", st.Name, tg.Name)
		}
		p, err := s.expr(st.Upper)
		if err != nil {
			return nil, err
		}
		to := types.Int4
		if isUnknown(p) || p.Type().Category == 'S' {
			to = types.Text
		} else if !builtin.CanCoerce(p.Type(), types.Int4, builtin.CastAssignment) {
			return nil, errAt(st.Upper.Position(), pgerr.DatatypeMismatch, "subscript type %s is not supported", types.TypeName(p.Type())).
				WithHint("jsonb subscript must be coercible to either integer or text.")
		}
		if p, err = s.b.coerce(p, to, builtin.CastAssignment, tg.Off); err != nil {
			return nil, err
		}
		j.Path = append(j.Path, p)
	}
	if !isUnknown(x) && !builtin.CanCoerce(x.Type(), types.JSONB, builtin.CastAssignment) {
		return nil, errAt(tg.Off, pgerr.DatatypeMismatch, "subscripted assignment to %q requires type jsonb but expression is of type %s", tg.Name, types.TypeName(x.Type())).
			WithHint("You will need to rewrite or cast the expression.")
	}
	var err error
	j.Value, err = s.b.coerce(x, types.JSONB, builtin.CastAssignment, tg.Off)
	return j, err
}

func ordsOf(set []OrdExpr) []int {
	var out []int
	for _, x := range set {
		out = append(out, x.Ord)
	}
	return out
}

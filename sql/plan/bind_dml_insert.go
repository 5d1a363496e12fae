package plan

import (
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// insertColumns resolves the column list of INSERT.
func (v *viewTarget) insertColumns(list []*ast.Target, slots []Slot) ([]int, error) {
	byName, order, err := v.ordinals(slots)
	if err != nil {
		return nil, err
	}
	if list == nil {
		return order, nil
	}
	var ords []int
	for _, tg := range list {
		o, err := v.column(byName, tg.Name, "insert into", tg.Off)
		if err != nil {
			return nil, err
		}
		// Parts of one column may be given apart.
		if k := slices.Index(ords, o); k >= 0 && (len(tg.Steps) == 0 || len(list[k].Steps) == 0) {
			if list[k].Name != tg.Name {
				return nil, pgerr.New(pgerr.SyntaxError, "multiple assignments to same column %q", v.base.Columns[o].Name)
			}
			return nil, errAt(tg.Off, pgerr.DuplicateColumn, "column %q specified more than once", tg.Name)
		}
		ords = append(ords, o)
	}
	return ords, nil
}

// defaultExpr is what a column of the base table gets when nothing is given for it: what the view says, if it does.
func (v *viewTarget) defaultExpr(ord int, slots []Slot) (Expr, error) {
	if v.view != nil {
		_, order, err := v.ordinals(slots)
		if err != nil {
			return nil, err
		}
		for i, o := range order {
			if c := v.view.Columns[i]; o == ord && c.Default != nil {
				return v.b.storedDefault(c.Default, v.view.Schema, v.base.Columns[ord])
			}
		}
	}
	return v.b.defaultExpr(v.base, ord)
}

// columnName is the name of the i-th visible column.
func (v *viewTarget) columnName(i int) string {
	t := v.base
	if v.view != nil {
		t = v.view
	}
	for _, c := range t.Columns {
		if c.Hidden {
			continue
		}
		if i == 0 {
			return c.Name
		}
		i--
	}
	return ""
}

func (s *scope) insert(st *ast.InsertStmt, v *viewTarget) (*bound, error) {
	b := s.b
	t := v.base
	n := &Insert{}
	newRow := b.newSlots(len(t.Columns))
	ords, err := v.insertColumns(st.Columns, newRow)
	if err != nil {
		return nil, err
	}
	if st.Columns == nil && st.Select != nil {
		// Columns that are given no value need not be of the base table.
		width := len(ords)
		if st.Select.Values != nil {
			width = len(st.Select.Values[0])
		} else if n := len(st.Select.Targets); n > 0 && !hasStar(st.Select) {
			width = n
		}
		ords = ords[:min(width, len(ords))]
	}
	if st.Select == nil {
		ords = nil
	}
	for i, o := range ords {
		if o < 0 {
			return nil, pgerr.New(pgerr.FeatureNotSupported, "cannot insert into column %q of view %q", v.columnName(i), v.view.Name).
				WithDetail("View columns that are not columns of their base relation are not updatable.")
		}
		if st.Columns == nil && slices.Contains(ords[:i], o) {
			return nil, pgerr.New(pgerr.SyntaxError, "multiple assignments to same column %q", t.Columns[o].Name)
		}
	}
	v.needs('a', ords)
	if n.Target, err = b.writeTarget(t, nil, newRow); err == nil {
		err = v.check(n.Target)
	}
	if err != nil {
		return nil, err
	}
	given := map[int]bool{}
	// identityGiven refuses explicit values for columns that are always generated.
	always := func(ord int, e ast.Expr) error {
		c := t.Columns[ord]
		if _, ok := e.(*ast.DefaultExpr); ok {
			return nil
		}
		if c.Generated != nil {
			return pgerr.New(pgerr.GeneratedAlways, "cannot insert a non-DEFAULT value into column %q", c.Name).
				WithDetail("Column \"%s\" is a generated column.", c.Name)
		}
		if c.Identity == 'a' && st.Overriding == ast.OverridingNone {
			return pgerr.New(pgerr.GeneratedAlways, "cannot insert a non-DEFAULT value into column %q", c.Name).
				WithDetail("Column \"%s\" is an identity column defined as GENERATED ALWAYS.", c.Name).
				WithHint("Use OVERRIDING SYSTEM VALUE to override.")
		}
		return nil
	}
	// skip: OVERRIDING USER VALUE ignores what is given for identity columns.
	skip := func(ord int) bool {
		return st.Overriding == ast.OverridingUser && t.Columns[ord].Identity != 0
	}
	switch {
	case st.Select == nil:
		n.Input = &OneRow{}
	case st.Select.Values != nil && len(st.Select.OrderBy) == 0 && st.Select.Limit == nil && st.Select.Offset == nil && st.Select.With == nil:
		vals := &Values{}
		vs := s.in("VALUES", true, true, true)
		vs.items = nil
		width := len(st.Select.Values[0])
		if err := insertWidth(st, ords, width, t); err != nil {
			return nil, err
		}
		if st.Columns == nil {
			ords = ords[:width]
		}
		for _, o := range ords {
			if !given[o] {
				given[o] = true
				vals.Slots = append(vals.Slots, newRow[o])
			}
		}
		for _, list := range st.Select.Values {
			if len(list) != width {
				return nil, errAt(list[0].Position(), pgerr.SyntaxError, "VALUES lists must all be the same length")
			}
			row := make([]Expr, 0, width)
			for i, e := range list {
				if err := always(ords[i], e); err != nil {
					return nil, err
				}
				part := st.Columns != nil && len(st.Columns[i].Steps) > 0
				if _, ok := e.(*ast.DefaultExpr); ok || skip(ords[i]) {
					if part {
						return nil, errPartDefault(st.Columns[i])
					}
					x, err := v.defaultExpr(ords[i], newRow)
					if err != nil {
						return nil, err
					}
					row = append(row, x)
					continue
				}
				x, err := vs.expr(e)
				if err != nil {
					return nil, err
				}
				if part {
					k := slices.Index(vals.Slots, newRow[ords[i]])
					base := Expr(&Const{T: t.Columns[ords[i]].T})
					if k < len(row) {
						base = row[k]
					}
					if x, err = vs.assignPart(base, st.Columns[i], x, e.Position()); err != nil {
						return nil, err
					}
					if k < len(row) {
						row[k] = x
						continue
					}
				} else if x, err = b.assign(x, t.Columns[ords[i]], e.Position()); err != nil {
					return nil, err
				}
				row = append(row, x)
			}
			vals.Rowsets = append(vals.Rowsets, row)
		}
		n.Input = vals
	default:
		c := &scope{b: b, ctes: s.ctes, q: &query{}}
		for i, o := range ords {
			hint := t.Columns[o].T
			if st.Columns != nil && len(st.Columns[i].Steps) > 0 {
				hint = nil
			}
			c.hint = append(c.hint, hint)
		}
		q, err := c.selectStmt(st.Select)
		if err != nil {
			return nil, err
		}
		if err := insertWidth(st, ords, len(q.cols), t); err != nil {
			return nil, err
		}
		ords = ords[:len(q.cols)]
		for i, o := range ords {
			if err := always(o, nil); err != nil {
				return nil, err
			}
			if skip(o) {
				continue
			}
			given[o] = true
			if st.Columns != nil && len(st.Columns[i].Steps) > 0 {
				base := Expr(&Const{T: t.Columns[o].T})
				k := slices.IndexFunc(n.Source, func(s OrdExpr) bool { return s.Ord == o })
				if k >= 0 {
					base = n.Source[k].E
				}
				x, err := s.assignPart(base, st.Columns[i], q.cols[i].expr, targetPos(st.Select, i))
				if err != nil {
					return nil, err
				}
				if k >= 0 {
					n.Source[k].E = x
				} else {
					n.Source = append(n.Source, OrdExpr{o, x})
				}
				continue
			}
			x, err := b.assign(q.cols[i].expr, t.Columns[o], targetPos(st.Select, i))
			if err != nil {
				return nil, err
			}
			n.Source = append(n.Source, OrdExpr{o, x})
		}
		n.Input = q.node
	}
	for i, c := range t.Columns {
		if given[i] || c.Generated != nil {
			continue
		}
		x, err := v.defaultExpr(i, newRow)
		if err != nil {
			return nil, err
		}
		if c.Hidden && !c.System {
			x = &RowID{}
		}
		n.Defaults = append(n.Defaults, OrdExpr{i, x})
	}
	rl, _, err := v.rel(newRow)
	if err != nil {
		return nil, err
	}
	if st.OnConflict != nil {
		if err := s.onConflict(n, st.OnConflict, v); err != nil {
			return nil, err
		}
		if n.Target.Parts != nil {
			if err := s.leafConflicts(n, st.OnConflict, v); err != nil {
				return nil, err
			}
		}
	}
	n.Target.setOID(rl)
	if n.Conflict != nil && n.Conflict.Update {
		rl.xmax = &Col{Slot: n.Conflict.XMax, T: types.Xid, Name: "xmax", Pos: -1}
	}
	q, err := s.returning(n, st.Returning, visibleItem(rl), &n.Returning)
	if err != nil {
		return nil, err
	}
	if err := v.secureTarget(catalog.PolicyInsert, n.Target); err != nil {
		return nil, err
	}
	return q, v.secureConflict(n)
}

func hasStar(st *ast.SelectStmt) bool {
	return slices.ContainsFunc(st.Targets, func(t *ast.Target) bool {
		switch e := t.Expr.(type) {
		case *ast.ColumnRef:
			return e.Star
		case *ast.Indirection:
			return e.Steps[len(e.Steps)-1].Kind == ast.StarStep
		}
		return false
	})
}

func errPartDefault(tg *ast.Target) error {
	what := "an array element"
	if tg.Steps[0].Kind == ast.FieldStep {
		what = "a subfield"
	}
	return errAt(tg.Off, pgerr.FeatureNotSupported, "cannot set %s to DEFAULT", what)
}

func insertWidth(st *ast.InsertStmt, ords []int, width int, t *Table) error {
	if width > len(ords) {
		return errAt(targetPos(st.Select, len(ords)), pgerr.SyntaxError, "INSERT has more expressions than target columns")
	}
	if width < len(ords) && st.Columns != nil {
		return errAt(st.Columns[width].Off, pgerr.SyntaxError, "INSERT has more target columns than expressions")
	}
	return nil
}

// RowID makes the hidden key of a row in a table without primary key; the executor supplies it.
type RowID struct{}

func (e *RowID) Type() *types.T { return types.Int8 }

func (e *RowID) Eval(c *EvalCtx) (types.Datum, error) {
	return types.NewInt(c.RowID()), nil
}

func (e *RowID) kids(func(*Expr)) {}

func (e *RowID) copy() Expr { return e }

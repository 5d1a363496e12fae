package plan

import (
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// mergeWhen is the clause of conditions of MERGE's actions.
const mergeWhen = "MERGE WHEN"

func (s *scope) merge(st *ast.MergeStmt) (*bound, error) {
	b := s.b
	v, err := s.writable(st.Table, "merge into")
	if err != nil {
		return nil, err
	}
	t := v.base
	if st.Returning != nil {
		return nil, pgerr.New(pgerr.SyntaxError, "syntax error at or near \"returning\"") // grammar of later versions
	}
	if st.With != nil && st.With.Recursive {
		return nil, errAt(st.With.Off, pgerr.SyntaxError, "WITH RECURSIVE is not supported for MERGE statement")
	}
	sc, rl, old, err := s.targetScan(v)
	if err != nil {
		return nil, err
	}
	src, items, err := s.tableRef(st.Source, nil)
	if err != nil {
		return nil, err
	}
	targetItems := visibleItem(rl)
	for _, it := range items {
		if it.rel != nil && it.rel.alias == rl.alias {
			return nil, pgerr.New(pgerr.DuplicateAlias, "name %q specified more than once", rl.alias).
				WithDetail("The name is used both as MERGE target table and data source.")
		}
	}
	if err := checkNames(targetItems, items); err != nil {
		return nil, err
	}
	both := append(slices.Clone(targetItems), items...)
	cs := s.in("JOIN/ON", true, true, true)
	cs.items = both
	on, err := cs.condition(st.On, "JOIN/ON")
	if err != nil {
		return nil, err
	}
	n := &Merge{}
	present := b.newSlot()
	right := &Project{Input: sc, Exprs: []Expr{&Const{D: types.NewBool(true), T: types.Bool}}, Slots: []Slot{present}}
	n.Present = &Col{Slot: present, T: types.Bool, Name: "present", Pos: -1}
	kind := InnerJoin
	for _, w := range st.Whens {
		if w.Match == ast.WhenNotMatched && w.Cmd != ast.MergeDoNothing {
			kind = LeftJoin
		}
	}
	n.Alias = rl.alias
	n.Input = b.join(kind, src, right, conjuncts(on))
	newRow := b.newSlots(len(t.Columns))
	if n.Target, err = b.writeTarget(t, old, newRow); err != nil {
		return nil, err
	}
	n.Target.foundBy(rl.app)
	// Behind a clause without condition another of its kind can never run.
	final := map[ast.MergeMatch]bool{}
	for _, w := range st.Whens {
		if final[w.Match] {
			return nil, pgerr.New(pgerr.SyntaxError, "unreachable WHEN clause specified after unconditional WHEN clause")
		}
		final[w.Match] = w.Cond == nil
	}
	for _, w := range st.Whens {
		m := &MergeWhen{Matched: w.Match == ast.WhenMatched}
		if w.Match == ast.WhenNotMatchedBySource {
			return nil, pgerr.New(pgerr.SyntaxError, "syntax error at or near \"by\"")
		}
		ws := s.in(mergeWhen, true, true, true)
		ws.items = both
		if !m.Matched {
			ws.items, ws.unseen = items, rl
		}
		if w.Cond != nil {
			c, err := ws.condition(w.Cond, "WHEN")
			if err != nil {
				return nil, err
			}
			m.Conds = conjuncts(c)
		}
		switch w.Cmd {
		case ast.MergeDelete:
			m.Action = MergeDelete
			v.needs('d', nil)
		case ast.MergeUpdate:
			m.Action = MergeUpdate
			if m.Set, err = ws.setList(v, w.Targets, old); err != nil {
				return nil, err
			}
			v.needs('w', ordsOf(m.Set))
		case ast.MergeInsert:
			m.Action = MergeInsert
			ords, err := v.insertColumns(w.Targets, newRow)
			if err != nil {
				return nil, err
			}
			v.needs('a', ords)
			given := map[int]bool{}
			if len(w.Values) > len(ords) {
				return nil, errAt(w.Values[len(ords)].Position(), pgerr.SyntaxError, "INSERT has more expressions than target columns")
			}
			if w.Targets != nil && len(w.Values) < len(ords) {
				return nil, errAt(w.Targets[len(w.Values)].Off, pgerr.SyntaxError, "INSERT has more target columns than expressions")
			}
			for i, e := range w.Values {
				if _, ok := e.(*ast.DefaultExpr); ok {
					continue
				}
				col := t.Columns[ords[i]]
				if col.Generated != nil || col.Identity == 'a' && w.Overriding == ast.OverridingNone {
					return nil, pgerr.New(pgerr.GeneratedAlways, "cannot insert a non-DEFAULT value into column %q", col.Name)
				}
				x, err := ws.expr(e)
				if err != nil {
					return nil, err
				}
				if w.Targets != nil && len(w.Targets[i].Steps) > 0 {
					base := Expr(&Const{T: col.T})
					k := slices.IndexFunc(m.Set, func(s OrdExpr) bool { return s.Ord == ords[i] })
					if k >= 0 {
						base = m.Set[k].E
						m.Set = slices.Delete(m.Set, k, k+1)
					}
					if x, err = ws.assignPart(base, w.Targets[i], x, e.Position()); err != nil {
						return nil, err
					}
				} else if x, err = b.assign(x, col, e.Position()); err != nil {
					return nil, err
				}
				given[ords[i]] = true
				m.Set = append(m.Set, OrdExpr{ords[i], x})
			}
			for i, c := range t.Columns {
				if given[i] || c.Generated != nil {
					continue
				}
				x, err := b.defaultExpr(t, i)
				if err != nil {
					return nil, err
				}
				if c.Hidden && !c.System {
					x = &RowID{}
				}
				m.Set = append(m.Set, OrdExpr{i, x})
			}
		}
		n.Whens = append(n.Whens, m)
	}
	if err := v.secureFind(0, old); err != nil {
		return nil, err
	}
	for _, m := range n.Whens {
		if err := v.secureMerge(m, old, newRow); err != nil {
			return nil, err
		}
	}
	return &bound{node: n}, nil
}

package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func errDeferredArbiter() error {
	return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "ON CONFLICT does not support deferrable unique constraints/exclusion constraints as arbiters")
}

func (s *scope) onConflict(n *Insert, oc *ast.OnConflict, v *viewTarget) error {
	b := s.b
	t := n.Target.Table
	c := &Conflict{Update: oc.DoUpdate}
	if oc.DoUpdate {
		if err := t.mayBePublished("update"); err != nil {
			return err
		}
	}
	all := t.AllIndexes()
	switch {
	case oc.Constraint != "":
		for i, ix := range all {
			if ix.Constraint == oc.Constraint {
				if ix.Exclude != nil {
					if oc.DoUpdate {
						return pgerr.New(pgerr.WrongObjectType, "ON CONFLICT DO UPDATE not supported with exclusion constraints")
					}
					c.Excluded = true
				}
				c.Arbiters = append(c.Arbiters, i)
			}
		}
		if len(c.Arbiters) == 0 {
			return errAt(oc.Off, pgerr.UndefinedObject, "constraint %q for table %q does not exist", oc.Constraint, t.Name)
		}
	case len(oc.Elems) > 0:
		if err := s.inferArbiters(n, c, oc, v); err != nil {
			return err
		}
	default:
		if oc.DoUpdate {
			return errAt(oc.Off, pgerr.SyntaxError, "ON CONFLICT DO UPDATE requires inference specification or constraint name").
				WithHint("For example, ON CONFLICT (column_name).")
		}
		for i, ix := range all {
			if ix.Unique {
				c.Arbiters = append(c.Arbiters, i)
			}
			if ix.Deferred {
				return errDeferredArbiter()
			}
			c.Excluded = c.Excluded || ix.Exclude != nil
		}
	}
	for i, a := range c.Arbiters {
		if i == 0 {
			c.Name = all[a].Name
		}
		if all[a].Deferred {
			return errDeferredArbiter()
		}
	}
	n.Conflict = c
	if oc.Constraint != "" {
		// As if the constraint's columns had been named.
		for _, a := range c.Arbiters {
			for _, k := range all[a].Keys {
				if k.Col >= 0 {
					v.reads(k.Col)
				}
			}
		}
	}
	if !oc.DoUpdate {
		return nil
	}
	c.Old, c.XMax = b.newSlots(len(t.Columns)), b.newSlot()
	var err error
	if t.Kind != Partitioned {
		if c.OldTarget, err = b.writeTarget(t, c.Old, n.Target.New); err == nil {
			err = v.check(c.OldTarget)
		}
		if err != nil {
			return err
		}
	}
	sc := s.in("ON CONFLICT", true, true, true)
	ex, _, err := v.rel(n.Target.New)
	if err != nil {
		return err
	}
	ex.alias, ex.aliased = "excluded", true
	old, _, err := v.rel(c.Old)
	if err != nil {
		return err
	}
	sc.items = []nsItem{{rel: old, relVisible: true, colVisible: true}, {rel: ex, relVisible: true}}
	if c.Set, err = sc.setList(v, oc.Set, c.Old); err != nil {
		return err
	}
	v.needs('w', ordsOf(c.Set))
	if oc.Where != nil {
		x, err := sc.condition(oc.Where, "WHERE")
		if err != nil {
			return err
		}
		c.Where = conjuncts(x)
	}
	return nil
}

// inferArbiters finds the unique indexes that ON CONFLICT (columns) means.
func (s *scope) inferArbiters(n *Insert, c *Conflict, oc *ast.OnConflict, v *viewTarget) error {
	t := n.Target.Table
	sc := s.in("ON CONFLICT", true, true, true)
	rl, _, err := v.rel(n.Target.New)
	if err != nil {
		return err
	}
	sc.items = visibleItem(rl)
	var want []Expr
	for _, e := range oc.Elems {
		var x Expr
		var err error
		if e.Expr != nil {
			x, err = sc.expr(e.Expr)
		} else if x, err = rl.column(e.Name, e.Off); err == nil && x == nil {
			err = pgerr.New(pgerr.UndefinedColumn, "column %q does not exist", e.Name)
		}
		if err != nil {
			return err
		}
		want = append(want, x)
	}
	var where Expr
	if oc.IndexWhere != nil {
		x, err := sc.condition(oc.IndexWhere, "WHERE")
		if err != nil {
			return err
		}
		where = x
	}
	for i, ix := range t.AllIndexes() {
		if !ix.Unique && !ix.Deferred || ix.WriteOnly {
			continue
		}
		ie := n.Target.Indexes[i]
		if ie.WhereNew != nil && (where == nil || !implies(where, ie.WhereNew)) {
			continue
		}
		var keys []Expr
		for k, part := range ix.Keys {
			if part.Col >= 0 {
				keys = append(keys, &Col{Slot: n.Target.New[part.Col]})
			} else {
				keys = append(keys, ie.KeyNew[k])
			}
		}
		match := true
		for _, k := range keys {
			match = match && containsExpr(want, k)
		}
		for _, w := range want {
			match = match && containsExpr(keys, w)
		}
		if match {
			c.Arbiters = append(c.Arbiters, i)
		}
	}
	if len(c.Arbiters) == 0 {
		return pgerr.New(pgerr.InvalidColumnReference, "there is no unique or exclusion constraint matching the ON CONFLICT specification")
	}
	return nil
}

// implies reports, conservatively, whether p makes q true.
func implies(p, q Expr) bool {
	have := conjuncts(p)
	for _, x := range conjuncts(q) {
		if !containsExpr(have, x) && !impliedByOne(have, x) {
			return false
		}
	}
	return true
}

// impliedByOne knows that a strict comparison of x makes x IS NOT NULL true, and that x > 5 makes x > 3 true.
func impliedByOne(have []Expr, x Expr) bool {
	if f, ok := x.(*Func); ok && len(f.Args) == 2 {
		c, isConst := f.Args[1].(*Const)
		if !isConst || c.D.IsNull() {
			return false
		}
		for _, h := range have {
			g, ok := h.(*Func)
			if !ok || len(g.Args) != 2 || !sameExpr(g.Args[0], f.Args[0]) {
				continue
			}
			k, ok := g.Args[1].(*Const)
			if ok && !k.D.IsNull() && k.T.OID == c.T.OID && cmpImplies(g.Cmp(), f.Cmp(), types.Compare(c.T, k.D, c.D)) {
				return true
			}
		}
		return false
	}
	n, ok := x.(*IsNull)
	if !ok || !n.Not {
		return false
	}
	for _, h := range have {
		if f, ok := h.(*Func); ok && f.Call.Strict && f.Cmp() != builtin.CmpNone {
			for _, a := range f.Args {
				if sameExpr(stripCast(a), n.Arg) {
					return true
				}
			}
		}
		if l, ok := h.(*InList); ok && !l.Not && sameExpr(stripCast(l.Left), n.Arg) {
			return true
		}
	}
	return false
}

// cmpImplies reports whether x p k makes x q c true, where order compares k with c.
func cmpImplies(p, q builtin.CmpOp, order int) bool {
	const (
		EQ = builtin.CmpEQ
		LT = builtin.CmpLT
		LE = builtin.CmpLE
		GT = builtin.CmpGT
		GE = builtin.CmpGE
	)
	switch q {
	case EQ:
		return p == EQ && order == 0
	case LT:
		return p == LT && order <= 0 || (p == EQ || p == LE) && order < 0
	case LE:
		return (p == LT || p == LE || p == EQ) && order <= 0
	case GT:
		return p == GT && order >= 0 || (p == EQ || p == GE) && order > 0
	case GE:
		return (p == GT || p == GE || p == EQ) && order >= 0
	case builtin.CmpNE:
		return p == EQ && order != 0 || p == LT && order <= 0 || p == GT && order >= 0 || p == LE && order < 0 || p == GE && order > 0
	}
	return false
}

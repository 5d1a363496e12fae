package plan

import (
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// dml binds INSERT, UPDATE, DELETE or MERGE; the columns are those of RETURNING.
func (s *scope) dml(st ast.Stmt) (*bound, error) {
	s.b.writes = true
	var wc *ast.WithClause
	switch st := st.(type) {
	case *ast.InsertStmt:
		wc = st.With
	case *ast.UpdateStmt:
		wc = st.With
	case *ast.DeleteStmt:
		wc = st.With
	case *ast.MergeStmt:
		wc = st.With
	case *ast.SelectStmt:
		return s.selectStmt(st)
	}
	var with *With
	if wc != nil {
		var err error
		if with, err = s.with(wc); err != nil {
			return nil, err
		}
	}
	var q *bound
	rewritten, err := s.rewrite(st, with != nil)
	if err != nil {
		return nil, err
	}
	switch st := st.(type) {
	case *ast.InsertStmt, *ast.UpdateStmt, *ast.DeleteStmt:
		if rewritten != nil {
			q = rewritten
			break
		}
		q, err = s.unruled(st, nil)
	case *ast.MergeStmt:
		q, err = s.merge(st)
	default:
		return nil, pgerr.Unsupported("%s", st.Tag())
	}
	if err != nil {
		return nil, err
	}
	if with != nil {
		with.Input = q.node
		q.node = with
	}
	return q, nil
}

// verbEvents are the triggers that do, on a view, what a statement says.
var verbEvents = map[string]uint8{"insert into": catalog.TriggerInsert, "copy to": catalog.TriggerInsert, "update": catalog.TriggerUpdate,
	"delete from": catalog.TriggerDelete}

// writable resolves the target of a write.
func (s *scope) writable(r *ast.RangeVar, verb string) (*viewTarget, error) {
	v := &viewTarget{b: s.b, alias: r.Name}
	if r.Alias != nil {
		v.alias = r.Alias.Name
	}
	if r.Schema == "" {
		for c := s.ctes; c != nil; c = c.parent {
			if c.name == r.Name {
				if t, err := s.b.env.Catalog.Table(s.b.path, "", r.Name); err != nil || t == nil {
					return nil, errAt(r.Off, pgerr.UndefinedTable, "relation %q cannot be the target of a modifying statement", r.Name)
				}
			}
		}
	}
	t, err := s.b.table(r)
	if err != nil {
		return nil, err
	}
	s.b.target(t.ID)
	if verb == "merge into" && len(t.Rules) > 0 && t.Kind != View {
		return nil, pgerr.New(pgerr.FeatureNotSupported, "cannot execute MERGE on relation %q", t.Name).WithDetail("MERGE is not supported for relations with rules.")
	}
	if verb == "merge into" && (t.Kind != BaseTable && t.Kind != Partitioned || t.NotUpdatable != "") {
		return nil, errMergeInto(t)
	}
	switch t.Kind {
	case BaseTable, Partitioned:
		if t.NotUpdatable != "" && !s.b.env.Internal {
			return nil, pgerr.New(pgerr.WrongObjectType, "%s", t.NotUpdatable)
		}
		if err := t.mayBePublished(verb); err != nil && !s.b.env.Internal {
			return nil, err
		}
		v.base = t
		if !r.Only && writesTree(verb) {
			v.base = t.whole()
		}
		return v, nil
	case View:
		if t.HasTrigger(Instead, true, verbEvents[verb]) {
			v.base = t
			return v, nil
		}
		base, err := s.b.baseOf(t, verb)
		if err != nil {
			return nil, err
		}
		if err := base.mayBePublished(verb); err != nil && !s.b.env.Internal {
			return nil, err
		}
		v.view, v.base = t, base
		return v, nil
	case VirtualTable:
		return nil, pgerr.New(pgerr.InsufficientPrivilege, "permission denied: %q is a system catalog", t.Name)
	case Sequence:
		return nil, pgerr.New(pgerr.WrongObjectType, "cannot change sequence %q", t.Name)
	}
	return nil, pgerr.New(pgerr.WrongObjectType, "cannot change relation %q", t.Name)
}

// writesTree reports whether a statement changes rows of the tables that inherit from its target, too.
func writesTree(verb string) bool {
	return verb == "update" || verb == "delete from" || verb == "merge into"
}

// returning binds RETURNING over the target and what else is in scope.
func (s *scope) returning(n Node, r *ast.Returning, items []nsItem, flag *bool) (*bound, error) {
	out := &bound{node: n}
	if r == nil {
		return out, nil
	}
	if r.OldAlias != "" || r.NewAlias != "" {
		return nil, pgerr.Unsupported("RETURNING WITH is not supported")
	}
	c := s.in("RETURNING", true, true, true)
	c.items = items
	ts, err := c.targets(r.Targets)
	if err != nil {
		return nil, err
	}
	*flag = true
	for _, t := range ts {
		o := t.outCol
		o.name = t.label
		o.expr = s.b.settle(o.expr)
		out.cols = append(out.cols, o)
	}
	return out, nil
}

// targetScan makes the scan of an UPDATE's or DELETE's target.
func (s *scope) targetScan(v *viewTarget) (node Node, rl *rel, old []Slot, err error) {
	switch v.base.Kind {
	case Partitioned:
		return s.targetAppend(v)
	case View:
		return s.targetView(v)
	}
	sc, _ := s.b.scan(v.base)
	sc.Lock, sc.Target = LockForUpdate, true
	sc.Alias = v.base.Name
	if v.view == nil {
		sc.Alias = v.alias
	}
	old = make([]Slot, len(v.base.Columns))
	for _, c := range sc.Cols {
		old[c.Ord] = c.Slot
	}
	rl, conds, err := v.rel(old)
	if err != nil {
		return nil, nil, nil, err
	}
	if v.view == nil {
		rl.scan = sc
	}
	if node, err = v.barrier(sc); err != nil {
		return nil, nil, nil, err
	}
	return filterOver(node, conds), rl, old, nil
}

// targetView is targetScan for a view with INSTEAD OF triggers: its rows, in slots that follow each other.
func (s *scope) targetView(v *viewTarget) (Node, *rel, []Slot, error) {
	node, items, err := s.view(v.base, &ast.RangeVar{Schema: v.base.Schema, Name: v.base.Name, Pos: ast.Pos{Off: -1}})
	if err != nil {
		return nil, nil, nil, err
	}
	p := &Project{Input: node, Slots: s.b.newSlots(len(v.base.Columns))}
	for i, c := range items[0].rel.cols {
		if i < len(p.Slots) {
			p.Exprs = append(p.Exprs, c.expr)
		}
	}
	return p, rowRel(v.base, v.alias, p.Slots), p.Slots, nil
}

func (s *scope) update(st *ast.UpdateStmt, v *viewTarget) (*bound, error) {
	b := s.b
	t := v.base
	node, rl, old, err := s.targetScan(v)
	if err != nil {
		return nil, err
	}
	s.items = visibleItem(rl)
	n := &Update{}
	if len(st.From) > 0 {
		fs := &scope{b: b, parent: s.parent, ctes: s.ctes, q: s.q, target: rl}
		from, err := fs.from(st.From)
		if err != nil {
			return nil, err
		}
		if err := checkNames(s.items, fs.items); err != nil {
			return nil, err
		}
		s.items = append(s.items, fs.items...)
		node = b.join(InnerJoin, node, from, nil)
		n.Joined = true
	}
	set, err := s.in("UPDATE", true, true, true).setList(v, st.Set, old)
	if err != nil {
		return nil, err
	}
	n.Set = set
	v.needs('w', ordsOf(set))
	if st.Where != nil {
		c, err := s.in("WHERE", true, true, true).condition(st.Where, "WHERE")
		if err != nil {
			return nil, err
		}
		node = &Filter{Input: node, Conds: conjuncts(c)}
	}
	n.Input = node
	newRow := b.newSlots(len(t.Columns))
	if n.Target, err = b.writeTarget(t, old, newRow); err == nil {
		err = v.check(n.Target)
	}
	if err != nil {
		return nil, err
	}
	n.Target.foundBy(rl.app)
	items := slices.Clone(s.items)
	if items[0].rel, _, err = v.rel(newRow); err != nil {
		return nil, err
	}
	n.Target.setOID(items[0].rel)
	q, err := s.returning(n, st.Returning, items, &n.Returning)
	if err != nil {
		return nil, err
	}
	if err := v.secureFind(catalog.PolicyUpdate, old); err != nil {
		return nil, err
	}
	return q, v.secureTarget(catalog.PolicyUpdate, n.Target)
}

func (s *scope) delete(st *ast.DeleteStmt, v *viewTarget) (*bound, error) {
	b := s.b
	t := v.base
	node, rl, old, err := s.targetScan(v)
	if err != nil {
		return nil, err
	}
	v.needs('d', nil)
	s.items = visibleItem(rl)
	n := &Delete{}
	if len(st.Using) > 0 {
		fs := &scope{b: b, parent: s.parent, ctes: s.ctes, q: s.q, target: rl}
		from, err := fs.from(st.Using)
		if err != nil {
			return nil, err
		}
		if err := checkNames(s.items, fs.items); err != nil {
			return nil, err
		}
		s.items = append(s.items, fs.items...)
		node = b.join(InnerJoin, node, from, nil)
		n.Joined = true
	}
	if st.Where != nil {
		c, err := s.in("WHERE", true, true, true).condition(st.Where, "WHERE")
		if err != nil {
			return nil, err
		}
		node = &Filter{Input: node, Conds: conjuncts(c)}
	}
	n.Input = node
	if n.Target, err = b.writeTarget(t, old, nil); err != nil {
		return nil, err
	}
	n.Target.foundBy(rl.app)
	q, err := s.returning(n, st.Returning, s.items, &n.Returning)
	if err != nil {
		return nil, err
	}
	return q, v.secureFind(catalog.PolicyDelete, old)
}

// mayBePublished refuses updates and deletions that a publication gives although subscribers could not tell the rows.
func (t *Table) mayBePublished(verb string) error {
	what := ""
	switch {
	case t.NoUpdate && (verb == "update" || verb == "merge into"):
		verb, what = "update", "updates"
	case t.NoDelete && (verb == "delete from" || verb == "merge into"):
		verb, what = "delete from", "deletes"
	default:
		return nil
	}
	word := "updating"
	if what == "deletes" {
		word = "deleting from"
	}
	return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "cannot %s table %q because it does not have a replica identity and publishes %s", verb, t.Name, what).
		WithHint("To enable %s the table, set REPLICA IDENTITY using ALTER TABLE.", word)
}

// errMergeInto is the answer to a MERGE into what is no table.
func errMergeInto(t *Table) error {
	e := pgerr.New(pgerr.FeatureNotSupported, "cannot execute MERGE on relation %q", t.Name)
	switch {
	case t.Kind == View:
		return e.WithDetail("This operation is not supported for views.")
	case t.Kind == Sequence:
		return e.WithDetail("This operation is not supported for sequences.")
	case t.Kind == VirtualTable:
		return e.WithDetail("This operation is not supported for system catalogs.")
	}
	return e.WithDetail("This operation is not supported for materialized views.")
}

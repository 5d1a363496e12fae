package plan

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
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
	var err error
	switch st := st.(type) {
	case *ast.InsertStmt:
		q, err = s.insert(st)
	case *ast.UpdateStmt:
		q, err = s.update(st)
	case *ast.DeleteStmt:
		q, err = s.delete(st)
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
	switch t.Kind {
	case BaseTable, Partitioned:
		if t.NotUpdatable != "" && !s.b.env.Internal {
			return nil, pgerr.New(pgerr.WrongObjectType, "%s", t.NotUpdatable)
		}
		if err := t.mayBePublished(verb); err != nil && !s.b.env.Internal {
			return nil, err
		}
		v.base = t
		return v, nil
	case View:
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

// rowRel makes a rel whose columns are given slots.
func rowRel(t *Table, alias string, slots []Slot) *rel {
	rl := &rel{schema: t.Schema, alias: alias, table: t, aliased: alias != t.Name}
	for i, c := range t.Columns {
		rl.cols = append(rl.cols, relCol{name: c.Name, table: t.ID, attnum: c.AttNum, hidden: c.Hidden,
			expr: &Col{Slot: slots[i], T: c.T, Name: c.Name, Rel: alias, Pos: -1}})
	}
	return rl
}

func (b *binder) newSlots(n int) []Slot {
	out := make([]Slot, n)
	for i := range out {
		out[i] = b.newSlot()
	}
	return out
}

// target binds a table's constraints and index expressions to the slots of old and new rows.
func (b *binder) writeTarget(t *Table, old, new []Slot) (*WriteTarget, error) {
	w := &WriteTarget{Table: t, Old: old, New: new}
	for _, tr := range t.Triggers {
		b.tables[tr.Desc.Function] = struct{}{}
	}
	parted := t.Kind == Partitioned
	if parted {
		if err := b.partTarget(w); err != nil {
			return nil, err
		}
	} else if new != nil && t.Within != nil {
		b.useTree(t)
		var err error
		if w.Within, err = b.boundChecks(t, new); err != nil {
			return nil, err
		}
	}
	bind := func(e ast.Expr, slots []Slot, what string) (Expr, error) {
		sc := &scope{b: b, q: &query{}, clause: what, noAgg: true, noWindow: true, noSRF: true, items: visibleItem(rowRel(t, t.Name, slots))}
		path := b.path
		b.path = append([]string{t.Schema}, "pg_catalog")
		b.stored++
		defer func() { b.path = path; b.stored-- }()
		return sc.expr(e)
	}
	if new != nil && !parted {
		for i, c := range t.Columns {
			if c.Generated != nil {
				x, err := bind(c.Generated, new, "column generation expressions")
				if err != nil {
					return nil, err
				}
				if x, err = b.assign(x, c, -1); err != nil {
					return nil, err
				}
				w.Generated = append(w.Generated, OrdExpr{i, x})
			}
		}
		for _, k := range t.Checks {
			x, err := bind(k.Expr, new, "check constraints")
			if err != nil {
				return nil, err
			}
			if x, err = b.coerceBool(x, "CHECK", -1); err != nil {
				return nil, err
			}
			w.Checks = append(w.Checks, NamedExpr{k.Name, x})
		}
	}
	for _, ix := range t.AllIndexes() {
		var ie IndexExprs
		for side, slots := range [][]Slot{old, new} {
			if slots == nil {
				continue
			}
			keys := make([]Expr, len(ix.Keys))
			any := false
			for i, k := range ix.Keys {
				if k.Expr != nil {
					x, err := bind(k.Expr, slots, "index expressions")
					if err != nil {
						return nil, err
					}
					keys[i], any = b.settle(x), true
				}
			}
			if !any {
				keys = nil
			}
			var where Expr
			if ix.Where != nil {
				x, err := bind(ix.Where, slots, "index predicates")
				if err != nil {
					return nil, err
				}
				where = x
			}
			if side == 0 {
				ie.KeyOld, ie.WhereOld = keys, where
			} else {
				ie.KeyNew, ie.WhereNew = keys, where
			}
		}
		w.Indexes = append(w.Indexes, ie)
	}
	return w, nil
}

// defaultExpr is what a column gets when nothing is given for it.
func (b *binder) defaultExpr(t *Table, ord int) (Expr, error) {
	c := t.Columns[ord]
	switch {
	case c.Generated != nil:
		return &Const{T: c.T}, nil // computed later
	case c.Sequence != 0:
		x, err := b.call("nextval", -1, &Const{D: types.NewInt(int64(c.Sequence)), T: types.ByOID(types.OIDRegclass)})
		if err != nil {
			return nil, err
		}
		return b.assign(x, c, -1)
	case c.Default != nil:
		return b.storedDefault(c.Default, t.Schema, c)
	}
	for d := c.T; d.Class == 'd' && d.Def != nil; d = d.Def.Base {
		if d.Def.Default != "" {
			e, err := parser.ParseExpr(d.Def.Default)
			if err != nil {
				return nil, pgerr.New(pgerr.InternalError, "stored default of domain %q: %w", d.Name, err)
			}
			return b.storedDefault(e, d.Schema, c)
		}
	}
	return b.domain(&Const{T: c.T}, c.T)
}

// storedDefault binds a default as it was written in a schema.
func (b *binder) storedDefault(e ast.Expr, schema string, c *TableColumn) (Expr, error) {
	sc := &scope{b: b, q: &query{}, clause: "DEFAULT expressions", noAgg: true, noWindow: true, noSRF: true,
		noColumns: "cannot use column reference in DEFAULT expression", colErr: pgerr.FeatureNotSupported}
	path := b.path
	b.path = []string{schema, "pg_catalog"}
	b.stored++
	x, err := sc.expr(e)
	b.stored--
	b.path = path
	if err != nil {
		return nil, err
	}
	return b.assign(x, c, -1)
}

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
			return nil, errAt(tg.Off, pgerr.DuplicateColumn, "column %q specified more than once", tg.Name)
		}
		ords = append(ords, o)
	}
	return ords, nil
}

func (s *scope) insert(st *ast.InsertStmt) (*bound, error) {
	b := s.b
	v, err := s.writable(st.Table, "insert into")
	if err != nil {
		return nil, err
	}
	t := v.base
	n := &Insert{}
	newRow := b.newSlots(len(t.Columns))
	ords, err := v.insertColumns(st.Columns, newRow)
	if err != nil {
		return nil, err
	}
	for _, o := range ords {
		if o < 0 {
			return nil, pgerr.New(pgerr.FeatureNotSupported, "cannot insert into a computed column of view %q", v.view.Name).
				WithDetail("View columns that are not columns of their base relation are not updatable.")
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
					x, err := b.defaultExpr(t, ords[i])
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
		x, err := b.defaultExpr(t, i)
		if err != nil {
			return nil, err
		}
		if c.Hidden {
			x = &RowID{}
		}
		n.Defaults = append(n.Defaults, OrdExpr{i, x})
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
	rl, _, err := v.rel(newRow)
	if err != nil {
		return nil, err
	}
	n.Target.setOID(rl)
	return s.returning(n, st.Returning, visibleItem(rl), &n.Returning)
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
func (e *RowID) copy() Expr       { return e }

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
		}
	}
	for i, a := range c.Arbiters {
		if i == 0 {
			c.Name = all[a].Name
		}
		if all[a].Deferred {
			return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "ON CONFLICT does not support deferrable unique constraints/exclusion constraints as arbiters")
		}
	}
	n.Conflict = c
	if !oc.DoUpdate {
		return nil
	}
	c.Old = b.newSlots(len(t.Columns))
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
					return nil, errAt(tg.Off, pgerr.SyntaxError, "multiple assignments to same column %q", tg.Name)
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

// targetScan makes the scan of an UPDATE's or DELETE's target.
func (s *scope) targetScan(v *viewTarget) (node Node, rl *rel, old []Slot, err error) {
	if v.base.Kind == Partitioned {
		return s.targetAppend(v)
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
	return filterOver(sc, conds), rl, old, nil
}

func (s *scope) update(st *ast.UpdateStmt) (*bound, error) {
	b := s.b
	v, err := s.writable(st.Table, "update")
	if err != nil {
		return nil, err
	}
	t := v.base
	node, rl, old, err := s.targetScan(v)
	if err != nil {
		return nil, err
	}
	s.items = visibleItem(rl)
	n := &Update{}
	if len(st.From) > 0 {
		fs := &scope{b: b, parent: s.parent, ctes: s.ctes, q: s.q}
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
	return s.returning(n, st.Returning, items, &n.Returning)
}

func (s *scope) delete(st *ast.DeleteStmt) (*bound, error) {
	b := s.b
	v, err := s.writable(st.Table, "delete from")
	if err != nil {
		return nil, err
	}
	t := v.base
	node, rl, old, err := s.targetScan(v)
	if err != nil {
		return nil, err
	}
	v.needs('d', nil)
	s.items = visibleItem(rl)
	n := &Delete{}
	if len(st.Using) > 0 {
		fs := &scope{b: b, parent: s.parent, ctes: s.ctes, q: s.q}
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
	return s.returning(n, st.Returning, s.items, &n.Returning)
}

func (s *scope) merge(st *ast.MergeStmt) (*bound, error) {
	b := s.b
	v, err := s.writable(st.Table, "merge into")
	if err != nil {
		return nil, err
	}
	if v.view != nil {
		return nil, pgerr.Unsupported("MERGE into a view is not supported")
	}
	t := v.base
	if t.Kind == Partitioned {
		return nil, pgerr.Unsupported("MERGE into a partitioned table is not supported")
	}
	if st.Returning != nil {
		return nil, pgerr.Unsupported("MERGE ... RETURNING is not supported")
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
	n.Input = b.join(LeftJoin, src, right, conjuncts(on))
	newRow := b.newSlots(len(t.Columns))
	if n.Target, err = b.writeTarget(t, old, newRow); err != nil {
		return nil, err
	}
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
			return nil, pgerr.Unsupported("MERGE ... WHEN NOT MATCHED BY SOURCE is not supported")
		}
		ws := s.in("MERGE WHEN", true, true, true)
		ws.items = both
		if !m.Matched {
			ws.items = items
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
				if c.Hidden {
					x = &RowID{}
				}
				m.Set = append(m.Set, OrdExpr{i, x})
			}
		}
		n.Whens = append(n.Whens, m)
	}
	return &bound{node: n}, nil
}

// prepareInsert plans COPY FROM.
func prepareInsert(ctx context.Context, table *ast.RangeVar, columns []string, where ast.Expr, env Env) (*Plan, error) {
	b := newBinder(ctx, &env)
	b.writes = true
	s := &scope{b: b, q: &query{}}
	v, err := s.writable(table, "copy to")
	if err != nil {
		return nil, err
	}
	if v.view != nil {
		return nil, pgerr.New(pgerr.WrongObjectType, "cannot copy to view %q", v.view.Name).
			WithHint("To enable copying to a view, provide an INSTEAD OF INSERT trigger.")
	}
	t := v.base
	var list []*ast.Target
	for _, c := range columns {
		list = append(list, &ast.Target{Name: c, Pos: ast.Pos{Off: -1}})
	}
	newRow := b.newSlots(len(t.Columns))
	ords, err := v.insertColumns(list, newRow)
	if err != nil {
		return nil, err
	}
	if columns == nil {
		ords = slices.DeleteFunc(ords, func(o int) bool { return t.Columns[o].Generated != nil })
	}
	v.needs('a', ords)
	n := &Insert{}
	if n.Target, err = b.writeTarget(t, nil, newRow); err != nil {
		return nil, err
	}
	p := &Plan{Verb: "COPY"}
	vals := &Values{}
	given := map[int]bool{}
	for _, o := range ords {
		if t.Columns[o].Generated != nil {
			return nil, pgerr.New(pgerr.InvalidColumnReference, "column %q is a generated column", t.Columns[o].Name).
				WithDetail("Generated columns cannot be used in COPY.")
		}
		given[o] = true
		vals.Slots = append(vals.Slots, newRow[o])
		p.ParamTypes = append(p.ParamTypes, t.Columns[o].T)
		p.Columns = append(p.Columns, Column{Name: t.Columns[o].Name, Type: t.Columns[o].T, TableOID: t.ID, AttNum: t.Columns[o].AttNum})
	}
	n.Input = vals
	for i, c := range t.Columns {
		if given[i] || c.Generated != nil {
			continue
		}
		x, err := b.defaultExpr(t, i)
		if err != nil {
			return nil, err
		}
		if c.Hidden {
			x = &RowID{}
		}
		n.Defaults = append(n.Defaults, OrdExpr{i, x})
	}
	if where != nil {
		ws := s.in("COPY FROM WHERE conditions", true, true, true)
		ws.items = visibleItem(rowRel(t, v.alias, newRow))
		c, err := ws.condition(where, "WHERE")
		if err != nil {
			return nil, err
		}
		if hasSubquery(c) {
			return nil, errAt(where.Position(), pgerr.FeatureNotSupported, "cannot use subquery in COPY FROM WHERE condition")
		}
		n.Where = conjuncts(c)
	}
	o := &optimizer{b: b}
	root, _, err := o.optimize(n, nil)
	if err != nil {
		return nil, err
	}
	p.Root, p.NumSlots, p.Subqueries = root, b.slots, o.subqs
	p.Needs = b.listNeeds()
	for id := range b.tables {
		p.Tables = append(p.Tables, id)
	}
	slices.Sort(p.Tables)
	return p, nil
}

// PrepareBackfill binds what writing a table's index entries needs, without a statement. The plan has only
// the slots of one row, the target's New.
func PrepareBackfill(ctx context.Context, t *Table, env Env) (*Plan, *WriteTarget, error) {
	b := newBinder(ctx, &env)
	w, err := b.writeTarget(t, nil, b.newSlots(len(t.Columns)))
	if err != nil {
		return nil, nil, err
	}
	return &Plan{Verb: "CREATE INDEX", NumSlots: b.slots, Subqueries: b.subqs}, w, nil
}

func ordsOf(set []OrdExpr) []int {
	var out []int
	for _, x := range set {
		out = append(out, x.Ord)
	}
	return out
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

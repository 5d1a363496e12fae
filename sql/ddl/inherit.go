package ddl

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// parentsOf resolves INHERITS (...).
func (x *executor) parentsOf(t *catalog.Table, list []*ast.RangeVar) ([]*catalog.Table, error) {
	if x.OlderNodes || x.OlderExclusions {
		return nil, errOlderNodes("tables that inherit")
	}
	var out []*catalog.Table
	for _, r := range list {
		at := *r
		at.Off = -1 // PostgreSQL does not say where
		p, err := x.any(&at)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, p) {
			return nil, pgerr.New(pgerr.DuplicateTable, "relation %q would be inherited from more than once", p.Name)
		}
		if err := x.mayInherit(t, p); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// mayInherit refuses parents of the wrong kind.
func (x *executor) mayInherit(t, p *catalog.Table) error {
	switch {
	case p.IsPartitioned():
		return pgerr.New(pgerr.WrongObjectType, "cannot inherit from partitioned table %q", p.Name)
	case p.PartOf != 0:
		return pgerr.New(pgerr.WrongObjectType, "cannot inherit from partition %q", p.Name)
	case p.Kind != catalog.RelTable || p.Virtual != nil:
		return pgerr.New(pgerr.WrongObjectType, "inherited relation %q is not a table or foreign table", p.Name)
	case t.Persistence != 't' && p.Persistence == 't':
		return pgerr.New(pgerr.WrongObjectType, "cannot inherit from temporary relation %q", p.Name)
	}
	return x.ownTable(p)
}

// inheritFrom gives a new table the columns and checks of those that it inherits from.
func (b *tableBuilder) inheritFrom(ctx context.Context, parents []*catalog.Table) error {
	t := b.t
	b.conflicts = map[string]string{}
	for _, p := range parents {
		t.Inherits = append(t.Inherits, p.ID)
		for _, c := range p.Columns {
			if c.Dropped || c.Hidden {
				continue
			}
			have := t.Column(c.Name)
			if have == nil {
				t.Columns = append(t.Columns, &catalog.Column{Num: int16(len(t.Columns) + 1), Name: c.Name, Type: c.Type, T: c.T, Collation: c.Collation,
					NotNull: c.NotNull, Default: c.Default, Generated: c.Generated, Storage: c.Storage, Inherited: true, Parents: 1})
				continue
			}
			b.x.notice("00000", "merging multiple inherited definitions of column %q", c.Name)
			if err := sameType("inherited column", have, c); err != nil {
				return err
			}
			if have.Generated != c.Generated {
				return pgerr.New(pgerr.DatatypeMismatch, "inherited column %q has a generation conflict", c.Name)
			}
			have.NotNull = have.NotNull || c.NotNull
			have.Parents++
			switch {
			case have.Default == "":
				have.Default = c.Default
			case c.Default != "" && c.Default != have.Default:
				b.conflicts[c.Name] = "default values"
			}
		}
	}
	for _, p := range parents {
		for _, k := range p.Checks {
			if k.NoInherit || k.NotNull != 0 {
				continue
			}
			if err := b.x.addInherited(ctx, p, t, k); err != nil {
				return err
			}
		}
	}
	return nil
}

// addInherited gives a table a check of a table that it inherits from.
func (x *executor) addInherited(ctx context.Context, p, t *catalog.Table, k *catalog.Check) error {
	for _, have := range t.Checks {
		if have.Name == k.Name {
			if have.Expr != k.Expr {
				return pgerr.New(pgerr.DuplicateObject, "check constraint name %q appears multiple times but with different expressions", k.Name)
			}
			have.Inherit()
			return nil
		}
	}
	oid, err := x.View.NewID(ctx)
	if err != nil {
		return err
	}
	c := *k
	c.OID, c.Comment, c.Inherited, c.Parents, c.Local, c.Columns = oid, "", true, 1, false, numsIn(p, t, k.Columns)
	t.Checks = append(t.Checks, &c)
	return nil
}

// sameType holds two definitions of a column against each other.
func sameType(what string, a, b *catalog.Column) error {
	if a.Type != b.Type {
		return pgerr.New(pgerr.DatatypeMismatch, "%s %q has a type conflict", what, b.Name).
			WithDetail("%s versus %s", types.TypeName(a.T), types.TypeName(b.T))
	}
	if collationOf(a) != collationOf(b) {
		return pgerr.New("42P21", "%s %q has a collation conflict", what, b.Name).WithDetail("\"%s\" versus \"%s\"", collationOf(a), collationOf(b))
	}
	return nil
}

func collationOf(c *catalog.Column) string {
	if c.Collation == "" {
		return "default"
	}
	return c.Collation
}

// mergeColumn adds a column of a table's own definition that it inherits, too. at is its place among the table's own.
func (b *tableBuilder) mergeColumn(ctx context.Context, def *ast.ColumnDef, at int) error {
	have := b.t.Column(def.Name)
	if have.Num == int16(at) {
		b.x.notice("00000", "merging column %q with inherited definition", def.Name)
	} else if b.x.Notice != nil {
		b.x.Notice(pgerr.New("00000", "moving and merging column %q with inherited definition", def.Name).WithSeverity(pgerr.SeverityNotice).
			WithDetail("User-specified column moved to the position of the inherited column."))
	}
	have.Name = "" // for addColumn, which wants the name to be new
	sequences := len(b.sequences)
	err := b.addColumn(ctx, def)
	have.Name = def.Name
	if err != nil {
		return err
	}
	own := b.t.Columns[len(b.t.Columns)-1]
	b.t.Columns = b.t.Columns[:len(b.t.Columns)-1]
	for _, q := range b.sequences[sequences:] {
		q.Sequence.OwnerColumn = have.Num
	}
	if err := sameType("column", have, own); err != nil {
		return err
	}
	gives := func(k ast.ConstraintKind) bool {
		return slices.ContainsFunc(b.generated, func(g *ast.Constraint) bool { return g.Kind == k && g.Columns[0] == def.Name })
	}
	deflt := gives(ast.ConstrDefault) || own.Default != ""
	switch {
	case have.Generated != "" && deflt:
		return pgerr.New("42611", "column %q inherits from generated column but specifies default", def.Name)
	case have.Generated != "" && own.Identity != 0:
		return pgerr.New("42611", "column %q inherits from generated column but specifies identity", def.Name)
	case have.Generated == "" && gives(ast.ConstrGenerated):
		return pgerr.New("42611", "child column %q specifies generation expression", def.Name).
			WithHint("Omit the generation expression in the definition of the child table column to inherit the generation expression from the parent table.")
	case have.Generated != "" && gives(ast.ConstrGenerated):
		return pgerr.New("42611", "child column %q specifies generation expression", def.Name).
			WithHint("Omit the generation expression in the definition of the child table column to inherit the generation expression from the parent table.")
	}
	if deflt || own.Identity != 0 {
		have.Default, have.Sequence, have.Identity = own.Default, own.Sequence, own.Identity
		delete(b.conflicts, def.Name)
	}
	have.NotNull = have.NotNull || own.NotNull
	have.Local = true
	return nil
}

// settleInherited refuses defaults of several parents that differ.
func (b *tableBuilder) settleInherited() error {
	for _, c := range b.t.Columns {
		if what := b.conflicts[c.Name]; what != "" {
			return pgerr.New("42611", "column %q inherits conflicting %s", c.Name, what).
				WithHint("To resolve the conflict, specify a default explicitly.")
		}
	}
	return nil
}

// mergeCheck adds a check to a table that may inherit one of its name.
func (x *executor) mergeCheck(ctx context.Context, t *catalog.Table, k *ast.Constraint) error {
	i := slices.IndexFunc(t.Checks, func(h *catalog.Check) bool { return h.Name == k.Name && h.Inherited && !h.Local })
	if k.Name == "" || i < 0 {
		return x.addCheck(ctx, t, k)
	}
	have := t.Checks[i]
	t.Checks = slices.Delete(t.Checks, i, i+1)
	if err := x.addCheck(ctx, t, k); err != nil {
		return err
	}
	own := t.Checks[len(t.Checks)-1]
	t.Checks = slices.Insert(t.Checks[:len(t.Checks)-1], i, have)
	switch {
	case own.Expr != have.Expr:
		return pgerr.New(pgerr.DuplicateObject, "constraint %q for relation %q already exists", k.Name, t.Name)
	case own.NoInherit:
		return pgerr.New(pgerr.InvalidObjectDefinition, "constraint %q conflicts with inherited constraint on relation %q", k.Name, t.Name)
	}
	x.notice("00000", "merging constraint %q with inherited definition", k.Name)
	have.Local = true
	return nil
}

// setHeir notes at a table that another inherits from it, or does not any more.
func (x *executor) setHeir(ctx context.Context, parent, heir uint32, on bool) error {
	np := x.snap().TableByID(parent).Clone()
	np.Heirs = slices.DeleteFunc(np.Heirs, func(id uint32) bool { return id == heir })
	if on {
		np.Heirs = append(np.Heirs, heir)
	}
	return x.View.Put(ctx, np)
}

// addInherit is ALTER TABLE ... INHERIT.
func (x *executor) addInherit(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	switch {
	case t.PartOf != 0:
		return pgerr.New(pgerr.WrongObjectType, "cannot change inheritance of a partition")
	case t.IsPartitioned():
		return pgerr.New(pgerr.WrongObjectType, "cannot change inheritance of partitioned table")
	}
	list, err := x.parentsOf(t, []*ast.RangeVar{c.Parent})
	if err != nil {
		return err
	}
	p := list[0]
	if slices.Contains(t.Inherits, p.ID) {
		return pgerr.New(pgerr.DuplicateTable, "relation %q would be inherited from more than once", p.Name)
	}
	if p == t || slices.Contains(x.snap().AllHeirs(t), p) {
		return pgerr.New(pgerr.DuplicateTable, "circular inheritance not allowed").WithDetail("%q is already a child of %q.", p.Name, t.Name)
	}
	nt := t.Clone()
	for _, pc := range p.Columns {
		if pc.Dropped || pc.Hidden {
			continue
		}
		cc := nt.Column(pc.Name)
		switch {
		case cc == nil || cc.Hidden:
			return pgerr.New(pgerr.DatatypeMismatch, "child table is missing column %q", pc.Name)
		case cc.Type != pc.Type:
			return pgerr.New(pgerr.DatatypeMismatch, "child table %q has different type for column %q", t.Name, pc.Name)
		case collationOf(cc) != collationOf(pc):
			return pgerr.New("42P21", "child table %q has different collation for column %q", t.Name, pc.Name)
		case pc.NotNull && !cc.NotNull:
			return pgerr.New(pgerr.DatatypeMismatch, "column %q in child table must be marked NOT NULL", pc.Name)
		case pc.Generated != "" && cc.Generated == "":
			return pgerr.New(pgerr.DatatypeMismatch, "column %q in child table must be a generated column", pc.Name)
		}
		cc.Inherit()
	}
	for _, k := range p.Checks {
		if k.NoInherit || k.NotNull != 0 {
			continue
		}
		i := slices.IndexFunc(nt.Checks, func(h *catalog.Check) bool { return h.Name == k.Name })
		switch {
		case i < 0:
			return pgerr.New(pgerr.DatatypeMismatch, "child table is missing constraint %q", k.Name)
		case nt.Checks[i].Expr != k.Expr:
			return pgerr.New(pgerr.DatatypeMismatch, "child table %q has different definition for check constraint %q", t.Name, k.Name)
		case nt.Checks[i].NoInherit:
			return pgerr.New(pgerr.InvalidObjectDefinition, "constraint %q conflicts with non-inherited constraint on child table %q", k.Name, t.Name)
		case nt.Checks[i].NotValid:
			return pgerr.New(pgerr.InvalidObjectDefinition, "constraint %q conflicts with NOT VALID constraint on child table %q", k.Name, t.Name)
		}
		nt.Checks[i].Inherit()
	}
	nt.Inherits = append(nt.Inherits, p.ID)
	if err := x.View.Put(ctx, nt); err != nil {
		return err
	}
	return x.setHeir(ctx, p.ID, t.ID, true)
}

// dropInherit is ALTER TABLE ... NO INHERIT.
func (x *executor) dropInherit(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	if t.PartOf != 0 {
		return pgerr.New(pgerr.WrongObjectType, "cannot change inheritance of a partition")
	}
	p, err := x.any(c.Parent)
	if err != nil {
		return err
	}
	if !slices.Contains(t.Inherits, p.ID) {
		return pgerr.New(pgerr.UndefinedTable, "relation %q is not a parent of relation %q", p.Name, t.Name)
	}
	nt := t.Clone()
	nt.Inherits = slices.DeleteFunc(nt.Inherits, func(id uint32) bool { return id == p.ID })
	for _, col := range nt.Columns {
		if pc := p.Column(col.Name); col.Inherited && !col.Dropped && pc != nil && !pc.Hidden {
			col.Disinherit()
		}
	}
	for _, k := range nt.Checks {
		if k.Inherited && slices.ContainsFunc(p.Checks, func(pk *catalog.Check) bool { return pk.Name == k.Name }) {
			k.Disinherit()
		}
	}
	if err := x.View.Put(ctx, nt); err != nil {
		return err
	}
	return x.setHeir(ctx, p.ID, t.ID, false)
}

// checkHeirs refuses what would make a table and those that inherit from it differ.
func (x *executor) checkHeirs(t *catalog.Table, c *ast.AlterTableCmd) error {
	bad := func(format string, args ...any) error {
		return pgerr.New(pgerr.InvalidTableDefinition, format, args...)
	}
	if len(t.Heirs) == 0 {
		return nil
	}
	col := t.Column(c.Name)
	switch c.Kind {
	case ast.AddColumn:
		if x.only {
			return bad("column must be added to child tables too")
		}
	case ast.AlterColumnType:
		if x.only {
			return bad("type of inherited column %q must be changed in child tables too", c.Name)
		}
		if col == nil || col.Inherited {
			return nil
		}
		for _, h := range x.snap().AllHeirs(t) {
			if hc := h.Column(c.Name); hc != nil && hc.InhCount() > x.parentsWithin(t, h) {
				return bad("cannot alter inherited column %q of relation %q", c.Name, h.Name)
			}
		}
	case ast.AddConstraint:
		if x.only && c.Constraint.Kind == ast.ConstrCheck && !c.Constraint.NoInherit {
			return bad("constraint must be added to child tables too")
		}
	}
	return nil
}

// parentsWithin counts the parents of an heir that are t or inherit from it.
func (x *executor) parentsWithin(t, heir *catalog.Table) int {
	n := 0
	below := x.snap().AllHeirs(t)
	for _, id := range heir.Inherits {
		if id == t.ID || slices.ContainsFunc(below, func(b *catalog.Table) bool { return b.ID == id }) {
			n++
		}
	}
	return n
}

// checkRename refuses to rename a column or, of checks, a constraint in one parent of several.
func (x *executor) checkRename(t *catalog.Table, name string) error {
	if len(t.Heirs) == 0 || x.below {
		return nil
	}
	if x.only {
		return pgerr.New(pgerr.InvalidTableDefinition, "inherited column %q must be renamed in child tables too", name)
	}
	for _, h := range x.snap().AllHeirs(t) {
		if c := h.Column(name); c != nil && c.InhCount() > x.parentsWithin(t, h) {
			return pgerr.New(pgerr.InvalidTableDefinition, "cannot rename inherited column %q", name)
		}
	}
	return nil
}

// dropBelow drops a column in the tables below one from which it has been dropped. Tables that have it of their own or
// from another parent keep it.
func (x *executor) dropBelow(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	if t.IsPartitioned() {
		return x.eachPartition(t, func(p *catalog.Table) error {
			return x.dropColumn(ctx, p, &ast.AlterTableCmd{Name: c.Name, Behavior: c.Behavior})
		})
	}
	for _, h := range x.snap().Below(t) {
		h = x.snap().TableByID(h.ID) // another's columns may have been dropped there meanwhile
		col := h.Column(c.Name)
		if col == nil || col.Hidden || !col.Inherited {
			continue
		}
		if !x.only && col.InhCount() == 1 && !col.IsLocal() {
			if err := x.dropColumn(ctx, h, &ast.AlterTableCmd{Name: c.Name, Behavior: c.Behavior}); err != nil {
				return err
			}
			continue
		}
		nt := h.Clone()
		nc := nt.Column(c.Name)
		nc.Local = nc.Local || x.only
		nc.Disinherit()
		if err := x.View.Put(ctx, nt); err != nil {
			return err
		}
	}
	return nil
}

// dropCheckBelow is dropBelow for a check.
func (x *executor) dropCheckBelow(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	if t.IsPartitioned() {
		return x.eachPartition(t, func(p *catalog.Table) error { return x.dropConstraint(ctx, p, c) })
	}
	below := x.below
	defer func() { x.below = below }()
	x.below = true
	for _, h := range x.snap().Below(t) {
		h = x.snap().TableByID(h.ID)
		i := slices.IndexFunc(h.Checks, func(k *catalog.Check) bool { return k.Name == c.Name && k.Inherited })
		if i < 0 {
			continue
		}
		if k := h.Checks[i]; !x.only && k.InhCount() == 1 && !k.IsLocal() {
			if err := x.dropConstraint(ctx, h, c); err != nil {
				return err
			}
			continue
		}
		nt := h.Clone()
		nt.Checks[i].Local = nt.Checks[i].Local || x.only
		nt.Checks[i].Disinherit()
		if err := x.View.Put(ctx, nt); err != nil {
			return err
		}
	}
	return nil
}

// spreadToHeirs adds to the tables that inherit from t the columns that were added to it.
func (x *executor) spreadToHeirs(ctx context.Context, t *catalog.Table, cmds []*ast.AlterTableCmd) error {
	now := x.snap().TableByID(t.ID)
	for _, c := range cmds {
		col := now.Column(c.Column.Name)
		if t.Column(c.Column.Name) != nil {
			continue // IF NOT EXISTS
		}
		for _, h := range x.snap().Below(now) {
			h = x.snap().TableByID(h.ID)
			if have := h.Column(col.Name); have != nil && !have.Hidden {
				switch {
				case have.Type != col.Type:
					return pgerr.New(pgerr.DatatypeMismatch, "child table %q has different type for column %q", h.Name, col.Name)
				case collationOf(have) != collationOf(col):
					return pgerr.New("42P21", "child table %q has different collation for column %q", h.Name, col.Name)
				}
				nt := h.Clone()
				nt.Column(col.Name).Inherit()
				if err := x.View.Put(ctx, nt); err != nil {
					return err
				}
				x.notice("00000", "merging definition of column %q for child %q", col.Name, h.Name)
				continue
			}
			def, err := x.likeColumn(col, ast.LikeDefaults|ast.LikeGenerated)
			if err != nil {
				return err
			}
			// The check of a column is spread as a check.
			if err := x.addColumns(ctx, h, []*ast.AlterTableCmd{{Kind: ast.AddColumn, Column: def}}); err != nil {
				return err
			}
			nt := x.snap().TableByID(h.ID).Clone()
			nc := nt.Column(col.Name)
			nc.Inherited, nc.Parents = true, 1
			if err := x.View.Put(ctx, nt); err != nil {
				return err
			}
		}
	}
	return nil
}

// spreadCheckToHeirs adds to the tables that inherit from t a check that was added to it, and looks at their rows.
func (x *executor) spreadCheckToHeirs(ctx context.Context, t *catalog.Table, k *catalog.Check) error {
	if k.NoInherit {
		return nil
	}
	for _, h := range x.snap().Below(t) {
		h = x.snap().TableByID(h.ID)
		nt := h.Clone()
		i := slices.IndexFunc(nt.Checks, func(o *catalog.Check) bool { return o.Name == k.Name })
		if i >= 0 {
			switch have := nt.Checks[i]; {
			case have.Expr != k.Expr:
				return pgerr.New(pgerr.DuplicateObject, "constraint %q for relation %q already exists", k.Name, h.Name)
			case have.NoInherit:
				return pgerr.New(pgerr.InvalidObjectDefinition, "constraint %q conflicts with non-inherited constraint on relation %q", k.Name, h.Name)
			}
			x.notice("00000", "merging constraint %q with inherited definition", k.Name)
			nt.Checks[i].Inherit()
			if err := x.View.Put(ctx, nt); err != nil {
				return err
			}
			continue
		}
		if constraintNames(nt)[k.Name] {
			return pgerr.New(pgerr.DuplicateObject, "constraint %q for relation %q already exists", k.Name, h.Name)
		}
		if err := x.addInherited(ctx, t, nt, k); err != nil {
			return err
		}
		own := nt.Checks[len(nt.Checks)-1]
		if !k.NotValid {
			if err := x.validateCheck(ctx, h, own, nil); err != nil {
				return err
			}
		}
		if err := x.View.Put(ctx, nt); err != nil {
			return err
		}
		if err := x.spreadCheckToHeirs(ctx, nt, own); err != nil {
			return err
		}
	}
	return nil
}

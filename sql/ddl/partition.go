package ddl

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// createPartition is CREATE TABLE ... PARTITION OF.
func (x *executor) createPartition(ctx context.Context, s *ast.CreateTableStmt) error {
	parent, err := x.table(s.PartitionOf)
	if err != nil {
		return err
	}
	if !parent.IsPartitioned() {
		return pgerr.New(pgerr.InvalidObjectDefinition, "%q is not partitioned", parent.Name)
	}
	if s.Table.Persistence != ast.Temporary && parent.Persistence == 't' {
		return pgerr.New(pgerr.WrongObjectType, "cannot create a permanent relation as partition of temporary relation %q", parent.Name)
	}
	if s.Table.Persistence == ast.Temporary && parent.Persistence != 't' {
		return pgerr.New(pgerr.WrongObjectType, "cannot create a temporary relation as partition of permanent relation %q", parent.Name)
	}
	t, schema, err := x.newTable(ctx, s.Table, s.IfNotExists)
	if err != nil || t == nil {
		return err
	}
	t.Options = relOptions(s.Options)
	if t.Tablespace = parent.Tablespace; s.Tablespace != "" || parent.Tablespace == 0 {
		if t.Tablespace, err = x.tablespaceFor(s.Tablespace, t.Persistence == 't', s.PartitionBy != nil); err != nil {
			return err
		}
	}
	b := &tableBuilder{x: x, t: t, schema: schema}
	if err := b.inheritColumns(ctx, parent); err != nil {
		return err
	}
	for _, def := range s.Columns {
		if err := b.columnOptions(def); err != nil {
			return err
		}
	}
	b.constraints = append(b.constraints, s.Constraints...)
	if s.PartitionBy != nil {
		t.Kind = catalog.RelPartitioned
		if t.Partitioning, err = x.partitionSpec(ctx, t, s.PartitionBy); err != nil {
			return err
		}
	}
	if t.Bound, err = x.bound(ctx, parent, s.Bound); err != nil {
		return err
	}
	set, err := x.checkOverlap(parent, t.Name, t.Bound)
	if err != nil {
		return err
	}
	t.PartOf = parent.ID
	if pk := parent.PrimaryKey(); pk != nil && slices.ContainsFunc(b.constraints, func(k *ast.Constraint) bool { return k.Kind == ast.ConstrPrimary }) {
		return pgerr.New(pgerr.InvalidTableDefinition, "multiple primary keys for table %q are not allowed", t.Name)
	}
	for _, ix := range parent.AllIndexes() {
		if err := b.inheritIndex(ctx, parent, ix); err != nil {
			return err
		}
	}
	if err := b.finish(ctx); err != nil {
		return err
	}
	for _, fk := range parent.FKs {
		if err := x.inheritFK(ctx, parent, x.snap().TableByID(t.ID), fk); err != nil {
			return err
		}
	}
	if err := x.inheritTriggers(ctx, parent, t.ID); err != nil {
		return err
	}
	np := x.snap().TableByID(parent.ID).Clone()
	np.Partitioning.Children = append(np.Partitioning.Children, t.ID)
	if err := x.View.Put(ctx, np); err != nil {
		return err
	}
	return x.checkDefault(ctx, np, set)
}

// inheritColumns gives a new partition its parent's columns and checks.
func (b *tableBuilder) inheritColumns(ctx context.Context, parent *catalog.Table) error {
	for _, c := range parent.Columns {
		if c.Dropped || c.Hidden {
			continue
		}
		b.t.Columns = append(b.t.Columns, &catalog.Column{Num: int16(len(b.t.Columns) + 1), Name: c.Name, Type: c.Type, T: c.T, Collation: c.Collation,
			NotNull: c.NotNull, Default: c.Default, Generated: c.Generated, Storage: c.Storage, Inherited: true})
	}
	for _, k := range parent.Checks {
		if err := b.x.inheritCheck(ctx, parent, b.t, k, true); err != nil {
			return err
		}
	}
	return nil
}

// inheritCheck gives a partition a check of its parent. A check of the same name must say the same.
func (x *executor) inheritCheck(ctx context.Context, parent, t *catalog.Table, k *catalog.Check, fresh bool) error {
	for _, have := range t.Checks {
		if have.Name == k.Name {
			if have.Expr != k.Expr {
				return pgerr.New(pgerr.DatatypeMismatch, "child table %q has different definition for check constraint %q", t.Name, k.Name)
			}
			have.Inherited = true
			return nil
		}
	}
	oid, err := x.View.NewID(ctx)
	if err != nil {
		return err
	}
	c := *k
	c.OID, c.Comment, c.Inherited = oid, "", true
	c.Columns = numsIn(parent, t, k.Columns)
	t.Checks = append(t.Checks, &c)
	if fresh || k.NotValid {
		return nil
	}
	return x.validateCheck(ctx, x.snap().TableByID(t.ID), &c, nil)
}

// numsIn translates attribute numbers of one table into another's that has columns of the same names.
func numsIn(from, to *catalog.Table, nums []int16) []int16 {
	var out []int16
	for _, n := range nums {
		if c := to.Column(from.ColumnByNum(n).Name); c != nil {
			out = append(out, c.Num)
		}
	}
	return out
}

// columnOptions applies "column WITH OPTIONS ..." of CREATE TABLE ... PARTITION OF.
func (b *tableBuilder) columnOptions(def *ast.ColumnDef) error {
	c := b.t.Column(def.Name)
	if c == nil {
		return pgerr.New(pgerr.UndefinedColumn, "column %q does not exist", def.Name)
	}
	for _, k := range def.Constraints {
		switch k.Kind {
		case ast.ConstrNotNull:
			c.NotNull = true
		case ast.ConstrDefault:
			c.Default = ""
			b.generated = append(b.generated, &ast.Constraint{Kind: k.Kind, Columns: []string{c.Name}, Expr: k.Expr, Pos: k.Pos})
		case ast.ConstrCheck:
			b.constraints = append(b.constraints, k)
		case ast.ConstrPrimary, ast.ConstrUnique, ast.ConstrForeign:
			k := *k
			if k.Kind == ast.ConstrForeign {
				k.FKColumns = []string{c.Name}
			} else {
				k.Columns = []string{c.Name}
			}
			b.constraints = append(b.constraints, &k)
		case ast.ConstrNull:
		default:
			return pgerr.Unsupported("this kind of column constraint is not supported for a partition")
		}
	}
	return nil
}

// indexFor makes the part of a partitioned table's index that a partition has.
func (b *tableBuilder) indexFor(ctx context.Context, parent *catalog.Table, ix *catalog.Index) (*catalog.Index, error) {
	out := *ix
	out.ID, out.Comment, out.ConstraintComment, out.Only, out.State = b.nextIndex(), "", "", false, catalog.IndexPublic
	out.PartOf = ix.OID
	out.Keys = slices.Clone(ix.Keys)
	var words []string
	for i, k := range out.Keys {
		if k.Column == 0 {
			word := "expr"
			if e, err := parser.ParseExpr(k.Expr); err == nil {
				if f, ok := e.(*ast.FuncCall); ok {
					word = f.Name[len(f.Name)-1]
				}
			}
			words = append(words, word)
			continue
		}
		c := b.t.Column(parent.ColumnByNum(k.Column).Name)
		out.Keys[i].Column, out.Keys[i].T = c.Num, c.T
		words = append(words, c.Name)
		if ix.Primary {
			c.NotNull = true
		}
	}
	out.Include = numsIn(parent, b.t, ix.Include)
	for _, n := range out.Include {
		words = append(words, b.t.ColumnByNum(n).Name)
	}
	label, name2 := "idx", join2(words)
	switch {
	case ix.Primary:
		label, name2 = "pkey", ""
	case ix.Constraint != 0:
		label = "key"
	}
	if ix.Unique {
		what := "UNIQUE"
		if ix.Primary {
			what = "PRIMARY KEY"
		}
		if err := checkPartitionKey(b.t, what, out.Keys); err != nil {
			return nil, err
		}
	}
	out.Name = chooseName(b.t.Name, name2, label, b.takenConstraint(true))
	var err error
	if out.OID, err = b.x.View.NewID(ctx); err != nil {
		return nil, err
	}
	if ix.Constraint != 0 {
		out.Constraint, err = b.x.View.NewID(ctx)
	}
	return &out, err
}

func join2(words []string) string {
	out := ""
	for i, w := range words {
		if i > 0 {
			out += "_"
		}
		out += w
	}
	return out
}

// inheritIndex gives a new, empty partition an index of its parent.
func (b *tableBuilder) inheritIndex(ctx context.Context, parent *catalog.Table, ix *catalog.Index) error {
	if ix.Hidden || ix.Only {
		return nil
	}
	out, err := b.indexFor(ctx, parent, ix)
	if err != nil {
		return err
	}
	if ix.Primary {
		b.t.Primary = out
	} else {
		b.t.Indexes = append(b.t.Indexes, out)
	}
	return nil
}

// inheritFK gives a partition, and its own partitions, a foreign key of its parent.
func (x *executor) inheritFK(ctx context.Context, parent, t *catalog.Table, fk *catalog.ForeignKey) error {
	nt := t.Clone()
	c := *fk
	var err error
	if c.OID, err = x.View.NewID(ctx); err != nil {
		return err
	}
	c.PartOf, c.Comment = fk.OID, ""
	c.Columns, c.SetColumns = numsIn(parent, t, fk.Columns), numsIn(parent, t, fk.SetColumns)
	names := constraintNames(nt)
	if names[c.Name] {
		c.Name = chooseName(nt.Name, columnNames(nt, c.Columns), "fkey", func(s string) bool { return names[s] })
	}
	nt.FKs = append(nt.FKs, &c)
	if err := x.View.Put(ctx, nt); err != nil {
		return err
	}
	for _, p := range x.snap().Partitions(nt) {
		if err := x.inheritFK(ctx, nt, p, &c); err != nil {
			return err
		}
	}
	return nil
}

// attachPartition is ALTER TABLE ... ATTACH PARTITION.
func (x *executor) attachPartition(ctx context.Context, parent *catalog.Table, c *ast.AlterTableCmd) error {
	t, err := x.table(c.Parent)
	if err != nil {
		return err
	}
	switch {
	case !parent.IsPartitioned():
		return pgerr.New(pgerr.InvalidObjectDefinition, "table %q is not partitioned", parent.Name)
	case t.PartOf != 0:
		return pgerr.New(pgerr.WrongObjectType, "%q is already a partition", t.Name)
	case t.ID == parent.ID || slices.ContainsFunc(x.snap().Ancestors(parent), func(a *catalog.Table) bool { return a.ID == t.ID }):
		return pgerr.New(pgerr.DuplicateTable, "circular inheritance not allowed").
			WithDetail("%q is already a child of %q.", parent.Name, t.Name)
	case t.Kind != catalog.RelTable && t.Kind != catalog.RelPartitioned:
		return pgerr.New(pgerr.WrongObjectType, "%q is not a table", t.Name)
	}
	for _, col := range t.Columns {
		if !col.Dropped && !col.Hidden && parent.Column(col.Name) == nil {
			return pgerr.New(pgerr.DatatypeMismatch, "table %q contains column %q not found in parent %q", t.Name, col.Name, parent.Name).
				WithDetail("The new partition may contain only the columns present in parent.")
		}
	}
	nt := t.Clone()
	for _, pc := range parent.Columns {
		if pc.Dropped {
			continue
		}
		cc := nt.Column(pc.Name)
		switch {
		case cc == nil || cc.Hidden:
			return pgerr.New(pgerr.DatatypeMismatch, "child table is missing column %q", pc.Name)
		case cc.Type != pc.Type:
			return pgerr.New(pgerr.DatatypeMismatch, "child table %q has different type for column %q", t.Name, pc.Name)
		case pc.NotNull && !cc.NotNull:
			return pgerr.New(pgerr.DatatypeMismatch, "column %q in child table must be marked NOT NULL", pc.Name)
		case pc.Generated != "" && cc.Generated == "":
			return pgerr.New(pgerr.DatatypeMismatch, "column %q in child table must be a generated column", pc.Name)
		}
		cc.Inherited = true
	}
	for _, k := range parent.Checks {
		i := slices.IndexFunc(nt.Checks, func(h *catalog.Check) bool { return h.Name == k.Name })
		if i < 0 {
			return pgerr.New(pgerr.DatatypeMismatch, "child table is missing constraint %q", k.Name)
		}
		if nt.Checks[i].Expr != k.Expr {
			return pgerr.New(pgerr.DatatypeMismatch, "child table %q has different definition for check constraint %q", t.Name, k.Name)
		}
		nt.Checks[i].Inherited = true
	}
	if nt.Bound, err = x.bound(ctx, parent, c.Bound); err != nil {
		return err
	}
	set, err := x.checkOverlap(parent, t.Name, nt.Bound)
	if err != nil {
		return err
	}
	bad, err := x.rowOutside(ctx, parent, t, set, len(set.Bounds)-1)
	if err != nil {
		return err
	}
	for up := parent; !bad && up.PartOf != 0; {
		above := x.snap().TableByID(up.PartOf)
		us, err := x.snap().PartitionSet(above)
		if err != nil {
			return err
		}
		if bad, err = x.rowOutside(ctx, above, t, us, slices.Index(above.Partitioning.Children, up.ID)); err != nil {
			return err
		}
		up = above
	}
	if bad {
		return pgerr.New(pgerr.CheckViolation, "partition constraint of relation %q is violated by some row", t.Name).
			WithTable(x.snap().SchemaName(t.Schema), t.Name)
	}
	if err := x.checkDefault(ctx, parent, set); err != nil {
		return err
	}
	for _, ix := range parent.AllIndexes() {
		if ix.Only {
			continue
		}
		if err := x.View.Put(ctx, nt); err != nil {
			return err
		}
		if err := x.attachIndex(ctx, parent, nt, ix); err != nil {
			return err
		}
		nt = x.snap().TableByID(t.ID).Clone()
	}
	nt.PartOf = parent.ID
	if err := x.View.Put(ctx, nt); err != nil {
		return err
	}
	for _, fk := range parent.FKs {
		if err := x.attachFK(ctx, parent, x.snap().TableByID(t.ID), fk); err != nil {
			return err
		}
	}
	if err := x.inheritTriggers(ctx, parent, t.ID); err != nil {
		return err
	}
	np := x.snap().TableByID(parent.ID).Clone()
	np.Partitioning.Children = append(np.Partitioning.Children, t.ID)
	return x.View.Put(ctx, np)
}

// attachIndex makes an index of a table part of an index of the partitioned table that it joins: one that is there
// already, or a new one.
func (x *executor) attachIndex(ctx context.Context, parent, t *catalog.Table, ix *catalog.Index) error {
	nt := t.Clone()
	for _, have := range nt.AllIndexes() {
		if have.PartOf == 0 && !have.Hidden && sameIndex(parent, ix, nt, have) && (ix.Constraint == 0 || have.Constraint != 0) {
			have.PartOf = ix.OID
			return x.View.Put(ctx, nt)
		}
	}
	b := &tableBuilder{x: x, t: nt, schema: x.snap().SchemaByID(t.Schema)}
	if ix.Primary && nt.PrimaryKey() != nil {
		return pgerr.New(pgerr.InvalidTableDefinition, "multiple primary keys for table %q are not allowed", nt.Name)
	}
	out, err := b.indexFor(ctx, parent, ix)
	if err != nil {
		return err
	}
	if ix.Primary && nt.IsPartitioned() {
		nt.Primary = out
		if err := x.View.Put(ctx, nt); err != nil {
			return err
		}
	} else {
		for _, k := range out.Keys {
			if c := t.ColumnByNum(k.Column); ix.Primary && c != nil && !c.NotNull {
				if err := x.validateNotNull(ctx, t, c, nil); err != nil {
					return err
				}
			}
		}
		if err := x.addIndex(ctx, nt, out); err != nil {
			return err
		}
	}
	if !nt.IsPartitioned() {
		return nil
	}
	for _, p := range x.snap().Partitions(x.snap().TableByID(t.ID)) {
		if err := x.attachIndex(ctx, x.snap().TableByID(t.ID), p, out); err != nil {
			return err
		}
	}
	return nil
}

// sameIndex reports whether two tables' indexes have the same definition.
func sameIndex(at *catalog.Table, a *catalog.Index, bt *catalog.Table, b *catalog.Index) bool {
	if a.Unique != b.Unique || a.Primary != b.Primary || a.Where != b.Where || a.NullsNotDistinct != b.NullsNotDistinct || len(a.Keys) != len(b.Keys) ||
		len(a.Include) != len(b.Include) || a.Method != b.Method || b.State != catalog.IndexPublic {
		return false
	}
	name := func(t *catalog.Table, n int16) string {
		if c := t.ColumnByNum(n); c != nil {
			return c.Name
		}
		return ""
	}
	for i, k := range a.Keys {
		o := b.Keys[i]
		if name(at, k.Column) != name(bt, o.Column) || k.Expr != o.Expr || k.Desc != o.Desc || k.NullsFirst != o.NullsFirst || k.OpClass != o.OpClass || k.Collation != o.Collation {
			return false
		}
	}
	for i, n := range a.Include {
		if name(at, n) != name(bt, b.Include[i]) {
			return false
		}
	}
	return true
}

// attachFK makes a foreign key of a table part of the partitioned table's, or gives it one and checks its rows.
func (x *executor) attachFK(ctx context.Context, parent, t *catalog.Table, fk *catalog.ForeignKey) error {
	for _, have := range t.FKs {
		if have.PartOf == 0 && have.RefTable == fk.RefTable && slices.Equal(have.RefColumns, fk.RefColumns) && slices.Equal(have.Columns, numsIn(parent, t, fk.Columns)) &&
			have.OnDelete == fk.OnDelete && have.OnUpdate == fk.OnUpdate && have.MatchFull == fk.MatchFull && have.Deferrable == fk.Deferrable && have.InitDeferred == fk.InitDeferred && !have.NotValid {
			if err := x.setInbound(ctx, t, have, false); err != nil {
				return err
			}
			nt := x.snap().TableByID(t.ID).Clone()
			for _, f := range nt.FKs {
				if f.OID == have.OID {
					f.PartOf = fk.OID
				}
			}
			return x.View.Put(ctx, nt)
		}
	}
	if err := x.inheritFK(ctx, parent, t, fk); err != nil || fk.NotValid {
		return err
	}
	nt := x.snap().TableByID(t.ID)
	return x.validateFK(ctx, nt, nt.FKs[len(nt.FKs)-1], nil)
}

// setInbound adds or removes the mark of a foreign key at the table that it points at.
func (x *executor) setInbound(ctx context.Context, t *catalog.Table, fk *catalog.ForeignKey, on bool) error {
	ref := x.snap().TableByID(fk.RefTable).Clone()
	in := catalog.InboundFK{Table: t.ID, Constraint: fk.OID}
	ref.Inbound = slices.DeleteFunc(ref.Inbound, func(i catalog.InboundFK) bool { return i == in })
	if on {
		ref.Inbound = append(ref.Inbound, in)
	}
	return x.View.Put(ctx, ref)
}

// detachPartition is ALTER TABLE ... DETACH PARTITION.
func (x *executor) detachPartition(ctx context.Context, parent *catalog.Table, c *ast.AlterTableCmd) error {
	t, err := x.table(c.Parent)
	if err != nil {
		return err
	}
	if !parent.IsPartitioned() {
		return pgerr.New(pgerr.WrongObjectType, "ALTER action DETACH PARTITION cannot be performed on relation %q", parent.Name).
			WithDetail("This operation is not supported for tables.")
	}
	if t.PartOf != parent.ID {
		return pgerr.New(pgerr.UndefinedTable, "relation %q is not a partition of relation %q", t.Name, parent.Name)
	}
	if c.Concurrently {
		if set, err := x.snap().PartitionSet(parent); err != nil || set.Default >= 0 {
			return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "cannot detach partitions concurrently when a default partition exists")
		}
	}
	for _, up := range append([]*catalog.Table{parent}, x.snap().Ancestors(parent)...) {
		for _, in := range up.Inbound {
			child := x.snap().TableByID(in.Table)
			for _, fk := range child.FKs {
				if fk.OID != in.Constraint {
					continue
				}
				key, err := x.referencesInto(ctx, child, fk, up, t)
				if err != nil {
					return err
				}
				if key != nil {
					return pgerr.New(pgerr.ForeignKeyViolation, "removing partition %q violates foreign key constraint %q", t.Name, fk.Name).
						WithDetail("Key (%s)=(%s) is still referenced from table %q.", columnList(up, fk.RefColumns), join(key), child.Name).
						WithTable(x.snap().SchemaName(child.Schema), child.Name).WithConstraint(fk.Name)
				}
			}
		}
	}
	if err := x.forgetPartition(ctx, parent.ID, t.ID); err != nil {
		return err
	}
	nt := x.snap().TableByID(t.ID).Clone()
	nt.PartOf, nt.Bound = 0, nil
	for _, col := range nt.Columns {
		col.Inherited = false
	}
	for _, k := range nt.Checks {
		k.Inherited = false
	}
	for _, ix := range nt.AllIndexes() {
		ix.PartOf = 0
	}
	nt.Triggers = slices.DeleteFunc(nt.Triggers, func(tr *catalog.Trigger) bool { return tr.PartOf != 0 })
	var own []*catalog.ForeignKey
	for _, fk := range nt.FKs {
		if fk.PartOf != 0 {
			fk.PartOf = 0
			own = append(own, fk)
		}
	}
	if err := x.View.Put(ctx, nt); err != nil {
		return err
	}
	for _, fk := range own {
		if err := x.setInbound(ctx, nt, fk, true); err != nil {
			return err
		}
	}
	return nil
}

// forgetPartition takes a partition off its parent's list.
func (x *executor) forgetPartition(ctx context.Context, parent, part uint32) error {
	p := x.snap().TableByID(parent)
	if p == nil || p.Partitioning == nil {
		return nil
	}
	np := p.Clone()
	np.Partitioning.Children = slices.DeleteFunc(np.Partitioning.Children, func(id uint32) bool { return id == part })
	return x.View.Put(ctx, np)
}

// referencesInto returns the key of a row of a partition that a row of child refers to, nil if there is none:
//
//	SELECT p.x::text, .. FROM part p JOIN child c ON p.x = c.a AND ..
func (x *executor) referencesInto(ctx context.Context, child *catalog.Table, fk *catalog.ForeignKey, ref, part *catalog.Table) ([]string, error) {
	cr, pr := x.rangeVarOf(child), x.rangeVarOf(part)
	cr.Alias, pr.Alias = &ast.Alias{Name: "c"}, &ast.Alias{Name: "p"}
	q := &ast.SelectStmt{From: []ast.TableRef{cr, pr}, Limit: number(1), Pos: ast.Pos{Off: -1}}
	var conds []ast.Expr
	for i, n := range fk.Columns {
		p := column("p", ref.ColumnByNum(fk.RefColumns[i]).Name)
		conds = append(conds, op(p, "=", column("c", child.ColumnByNum(n).Name)))
		text := &ast.TypeName{Names: []string{catalog.PgCatalog, "text"}, Pos: ast.Pos{Off: -1}}
		q.Targets = append(q.Targets, &ast.Target{Expr: &ast.TypeCast{Arg: p, Type: text, Pos: ast.Pos{Off: -1}}})
	}
	q.Where = and(conds...)
	var key []string
	err := x.Query(ctx, q, func(row []types.Datum) error {
		for _, d := range row {
			key = append(key, d.Str())
		}
		return nil
	})
	return key, err
}

func columnList(t *catalog.Table, nums []int16) string {
	var names []string
	for _, n := range nums {
		names = append(names, t.ColumnByNum(n).Name)
	}
	return join(names)
}

// checkPartitionKey refuses a unique index of a partitioned table whose key does not include the partition key.
func checkPartitionKey(t *catalog.Table, what string, keys []catalog.IndexKey) error {
	if !t.IsPartitioned() {
		return nil
	}
	for _, k := range t.Partitioning.Keys {
		if k.Column == 0 {
			return pgerr.New(pgerr.FeatureNotSupported, "unsupported %s constraint with partition key definition", what).
				WithDetail("%s constraints cannot be used when partition keys include expressions.", what)
		}
		if !slices.ContainsFunc(keys, func(ik catalog.IndexKey) bool { return ik.Column == k.Column }) {
			return pgerr.New(pgerr.FeatureNotSupported, "unique constraint on partitioned table must include all partitioning columns").
				WithDetail("%s constraint on table %q lacks column %q which is part of the partition key.", what, t.Name, t.ColumnByNum(k.Column).Name)
		}
	}
	return nil
}

// inPartitionKey reports whether a column is part of a partitioned table's key.
func inPartitionKey(t *catalog.Table, num int16) bool {
	return t.IsPartitioned() && slices.ContainsFunc(t.Partitioning.Keys, func(k catalog.PartitionKey) bool {
		return k.Column == num || k.Expr != "" && mentions(t, k.Expr, num)
	})
}

// attachIndexPart is ALTER INDEX ... ATTACH PARTITION.
func (x *executor) attachIndexPart(ctx context.Context, rel catalog.Relation, c *ast.AlterTableCmd) error {
	part := x.relation(c.Parent)
	if part.Index == nil {
		return noRelation(c.Parent)
	}
	if part.Index.PartOf == rel.Index.OID {
		return nil
	}
	fail := func(detail string, args ...any) error {
		return pgerr.New(pgerr.InvalidObjectDefinition, "cannot attach index %q as a partition of index %q", part.Index.Name, rel.Index.Name).WithDetail(detail, args...)
	}
	switch {
	case !rel.Table.IsPartitioned():
		return pgerr.New(pgerr.WrongObjectType, "%q is not a partitioned index", rel.Index.Name)
	case part.Index.PartOf != 0:
		return fail("Index %q is already attached to another index.", part.Index.Name)
	case part.Table.PartOf != rel.Table.ID:
		return fail("Index %q is not an index on any partition of table %q.", part.Index.Name, rel.Table.Name)
	case !sameIndex(rel.Table, rel.Index, part.Table, part.Index):
		return fail("The index definitions do not match.")
	case rel.Index.Constraint != 0 && part.Index.Constraint == 0:
		return fail("The index %q belongs to a constraint in table %q but no constraint exists for index %q.", rel.Index.Name, rel.Table.Name, part.Index.Name)
	}
	nt := part.Table.Clone()
	for _, ix := range nt.AllIndexes() {
		if ix.OID == part.Index.OID {
			ix.PartOf = rel.Index.OID
		}
	}
	if err := x.View.Put(ctx, nt); err != nil {
		return err
	}
	// With a part in every partition the index is valid.
	for _, p := range x.snap().Partitions(rel.Table) {
		if !slices.ContainsFunc(p.AllIndexes(), func(ix *catalog.Index) bool { return ix.PartOf == rel.Index.OID && !ix.Only }) {
			return nil
		}
	}
	np := x.snap().TableByID(rel.Table.ID).Clone()
	for _, ix := range np.AllIndexes() {
		if ix.OID == rel.Index.OID {
			ix.Only = false
		}
	}
	return x.View.Put(ctx, np)
}

// partitionsColumn makes the definition of a column that a partition gets from its parent.
func (x *executor) partitionsColumn(c *catalog.Column) (*ast.ColumnDef, error) {
	return x.likeColumn(c, ast.LikeDefaults|ast.LikeGenerated)
}

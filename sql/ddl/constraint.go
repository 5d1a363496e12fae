package ddl

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// maxKeyColumns is PostgreSQL's limit on the columns of an index.
const maxKeyColumns = 32

// keyColumns finds the columns of a constraint.
func keyColumns(t *catalog.Table, names []string) ([]*catalog.Column, error) {
	var out []*catalog.Column
	for _, n := range names {
		c := t.Column(n)
		if c == nil {
			if systemColumns[n] {
				return nil, pgerr.Unsupported("indexes on system columns are not supported")
			}
			return nil, pgerr.New(pgerr.UndefinedColumn, "column %q named in key does not exist", n)
		}
		out = append(out, c)
	}
	if len(out) > maxKeyColumns {
		return nil, pgerr.New(pgerr.TooManyColumns, "cannot use more than %d columns in an index", maxKeyColumns)
	}
	return out, nil
}

// checkIndexable checks that values of a type can be index keys.
func checkIndexable(t *types.T) error {
	b := t.BaseType()
	switch {
	case b.OID == types.OIDJSON, b.OID == types.OIDXML, b.OID == types.OIDPoint, b.OID == types.OIDBox, b.OID == types.OIDPath,
		b.OID == types.OIDPolygon, b.OID == types.OIDLine, b.OID == types.OIDLseg, b.OID == types.OIDCircle:
		return pgerr.New(pgerr.UndefinedObject, "data type %s has no default operator class for access method \"btree\"", types.TypeName(t)).
			WithHint("You must specify an operator class for the index or define a default operator class for the data type.")
	case b.IsArray():
		return checkIndexable(b.Elem)
	case b.Kind == types.KindOther:
		return pgerr.Unsupported("indexes on type %s are not supported", types.TypeName(t))
	}
	return nil
}

// takenConstraint says whether a constraint's name is taken; names of index constraints are relations too.
func (b *tableBuilder) takenConstraint(index bool) func(string) bool {
	names := constraintNames(b.t)
	for _, k := range b.constraints {
		names[k.Name] = true
	}
	return func(s string) bool {
		return names[s] || index && (s == b.t.Name || b.x.relationTaken(b.schema, s) || slices.ContainsFunc(b.t.AllIndexes(), func(ix *catalog.Index) bool { return ix.Name == s }))
	}
}

// nameIndex checks a given name of an index constraint or makes one.
func (b *tableBuilder) nameIndex(k *ast.Constraint, name2, label string) (string, error) {
	if k.Name == "" {
		return chooseName(b.t.Name, name2, label, b.takenConstraint(true)), nil
	}
	if constraintNames(b.t)[k.Name] || b.x.relationTaken(b.schema, k.Name) || k.Name == b.t.Name {
		return "", pgerr.New(pgerr.DuplicateTable, "relation %q already exists", k.Name)
	}
	return k.Name, nil
}

// primaryKey makes the primary key the index that holds the rows.
func (b *tableBuilder) primaryKey(ctx context.Context, k *ast.Constraint) error {
	if b.t.PrimaryKey() != nil {
		return pgerr.New(pgerr.InvalidTableDefinition, "multiple primary keys for table %q are not allowed", b.t.Name)
	}
	cols, err := keyColumns(b.t, k.Columns)
	if err != nil {
		return err
	}
	name, err := b.nameIndex(k, "", "pkey")
	if err != nil {
		return err
	}
	ix, err := b.keyIndex(ctx, k, name, cols)
	if err != nil {
		return err
	}
	ix.Primary = true
	if err := checkPartitionKey(b.t, "PRIMARY KEY", ix.Keys); err != nil {
		return err
	}
	for _, c := range cols {
		c.NotNull = true
	}
	b.t.Primary = ix
	return nil
}

// unique adds a unique constraint.
func (b *tableBuilder) unique(ctx context.Context, k *ast.Constraint) error {
	cols, err := keyColumns(b.t, k.Columns)
	if err != nil {
		return err
	}
	var nums []int16
	for _, c := range cols {
		nums = append(nums, c.Num)
	}
	name, err := b.nameIndex(k, columnNames(b.t, nums), "key")
	if err != nil {
		return err
	}
	ix, err := b.keyIndex(ctx, k, name, cols)
	if err != nil {
		return err
	}
	ix.NullsNotDistinct = k.NullsNotDistinct
	if err := checkPartitionKey(b.t, "UNIQUE", ix.Keys); err != nil {
		return err
	}
	b.t.Indexes = append(b.t.Indexes, ix)
	return nil
}

// keyIndex makes the index of a primary key or unique constraint.
func (b *tableBuilder) keyIndex(ctx context.Context, k *ast.Constraint, name string, cols []*catalog.Column) (*catalog.Index, error) {
	if k.WithoutOverlaps {
		return nil, pgerr.Unsupported("WITHOUT OVERLAPS is not supported")
	}
	ix := &catalog.Index{ID: b.nextIndex(), Name: name, Unique: true, Deferrable: k.Deferrable, InitDeferred: k.InitiallyDeferred, Options: relOptions(k.Options)}
	var err error
	if ix.Tablespace, err = b.x.tablespaceFor(k.Tablespace, b.t.Persistence == 't', b.t.IsPartitioned()); err != nil {
		return nil, err
	}
	if ix.OID, err = b.x.View.NewID(ctx); err != nil {
		return nil, err
	}
	if ix.Constraint, err = b.x.View.NewID(ctx); err != nil {
		return nil, err
	}
	for i, c := range cols {
		if slices.Contains(k.Columns[:i], c.Name) {
			return nil, pgerr.New(pgerr.DuplicateColumn, "column %q appears twice in %s constraint", c.Name, map[bool]string{true: "primary key", false: "unique"}[k.Kind == ast.ConstrPrimary])
		}
		if err := checkIndexable(c.T); err != nil {
			return nil, err
		}
		ix.Keys = append(ix.Keys, catalog.IndexKey{Column: c.Num})
	}
	for _, n := range k.Include {
		c := b.t.Column(n)
		if c == nil {
			return nil, pgerr.New(pgerr.UndefinedColumn, "column %q named in key does not exist", n)
		}
		ix.Include = append(ix.Include, c.Num)
	}
	return ix, nil
}

// addCheck adds a CHECK constraint to t, which is a copy of a stored table with the same columns.
func (x *executor) addCheck(ctx context.Context, t *catalog.Table, k *ast.Constraint) error {
	if k.NotEnforced {
		return pgerr.Unsupported("NOT ENFORCED constraints are not supported")
	}
	if k.NoInherit && t.IsPartitioned() {
		return pgerr.New(pgerr.InvalidTableDefinition, "cannot add NO INHERIT constraint to partitioned table %q", t.Name)
	}
	if err := checkExprShape(k.Expr, "check constraint", true); err != nil {
		return err
	}
	if err := x.wantBool(ctx, t, k.Expr, "CHECK"); err != nil {
		return err
	}
	e := normalize(k.Expr)
	cols := columnsIn(t, e)
	names := constraintNames(t)
	name := k.Name
	if name == "" {
		name2 := ""
		if len(cols) == 1 {
			name2 = t.ColumnByNum(cols[0]).Name
		}
		name = chooseName(t.Name, name2, "check", func(s string) bool { return names[s] })
	} else if names[name] {
		return pgerr.New(pgerr.DuplicateObject, "constraint %q for relation %q already exists", name, t.Name)
	}
	oid, err := x.View.NewID(ctx)
	if err != nil {
		return err
	}
	t.Checks = append(t.Checks, &catalog.Check{OID: oid, Name: name, Expr: parser.DeparseExpr(e), Columns: cols, NoInherit: k.NoInherit, NotValid: k.NotValid})
	return nil
}

// addForeignKey adds a foreign key to a stored table, and its mark to the table it points at. It returns the
// table as stored then.
func (x *executor) addForeignKey(ctx context.Context, stored *catalog.Table, k *ast.Constraint) (*catalog.Table, error) {
	if k.NotEnforced {
		return nil, pgerr.Unsupported("NOT ENFORCED constraints are not supported")
	}
	if k.Match == ast.FKMatchPartial {
		return nil, pgerr.Unsupported("MATCH PARTIAL not yet implemented")
	}
	t := stored.Clone()
	ref, err := x.any(k.RefTable)
	if err != nil {
		return nil, err
	}
	if !ref.IsTable() {
		return nil, pgerr.New(pgerr.WrongObjectType, "referenced relation %q is not a table", ref.Name)
	}
	if !x.snap().MayTable(x.User, ref, 'x', nil) {
		return nil, pgerr.New(pgerr.InsufficientPrivilege, "permission denied for table %s", ref.Name)
	}
	if stored.Persistence != 't' && ref.Persistence == 't' {
		return nil, pgerr.New(pgerr.InvalidTableDefinition, "constraints on permanent tables may reference only permanent tables")
	}
	if stored.Persistence == 't' && ref.Persistence != 't' {
		return nil, pgerr.New(pgerr.InvalidTableDefinition, "constraints on temporary tables may reference only temporary tables")
	}
	fk := &catalog.ForeignKey{
		RefTable: ref.ID, MatchFull: k.Match == ast.FKMatchFull, Deferrable: k.Deferrable, InitDeferred: k.InitiallyDeferred,
		NotValid: k.NotValid, OnDelete: fkAction(k.OnDelete), OnUpdate: fkAction(k.OnUpdate),
	}
	for _, n := range k.FKColumns {
		c := t.Column(n)
		if c == nil {
			return nil, pgerr.New(pgerr.UndefinedColumn, "column %q referenced in foreign key constraint does not exist", n)
		}
		fk.Columns = append(fk.Columns, c.Num)
	}
	for _, n := range k.SetColumns {
		c := t.Column(n)
		if c == nil || !slices.Contains(fk.Columns, c.Num) {
			return nil, pgerr.New(pgerr.InvalidColumnReference, "column %q referenced in ON DELETE SET action must be part of foreign key", n)
		}
		fk.SetColumns = append(fk.SetColumns, c.Num)
	}
	if err := x.referencedKey(ref, k, fk); err != nil {
		return nil, err
	}
	names := constraintNames(t)
	fk.Name = k.Name
	if fk.Name == "" {
		fk.Name = chooseName(t.Name, columnNames(t, fk.Columns), "fkey", func(s string) bool { return names[s] })
	} else if names[fk.Name] {
		return nil, pgerr.New(pgerr.DuplicateObject, "constraint %q for relation %q already exists", fk.Name, t.Name)
	}
	for i, n := range fk.Columns {
		a, b := t.ColumnByNum(n), ref.ColumnByNum(fk.RefColumns[i])
		if _, err := builtin.ResolveOperator("=", b.T, a.T); err != nil {
			return nil, pgerr.New(pgerr.DatatypeMismatch, "foreign key constraint %q cannot be implemented", fk.Name).
				WithDetail("Key columns %q and %q are of incompatible types: %s and %s.", a.Name, b.Name, types.TypeName(a.T), types.TypeName(b.T))
		}
	}
	if fk.OID, err = x.View.NewID(ctx); err != nil {
		return nil, err
	}
	t.FKs = append(t.FKs, fk)
	in := catalog.InboundFK{Table: t.ID, Constraint: fk.OID}
	if ref.ID == t.ID {
		t.Inbound = append(t.Inbound, in)
		return t, x.View.Put(ctx, t)
	}
	if err := x.View.Put(ctx, t); err != nil {
		return nil, err
	}
	r := ref.Clone()
	r.Inbound = append(r.Inbound, in)
	return t, x.View.Put(ctx, r)
}

func fkAction(a ast.FKAction) byte {
	return [...]byte{catalog.FKNoAction, catalog.FKRestrict, catalog.FKCascade, catalog.FKSetNull, catalog.FKSetDefault}[a]
}

// referencedKey finds the unique index that a foreign key relies upon.
func (x *executor) referencedKey(ref *catalog.Table, k *ast.Constraint, fk *catalog.ForeignKey) error {
	if len(k.RefColumns) == 0 {
		pk := ref.PrimaryKey()
		if pk == nil {
			return pgerr.New(pgerr.UndefinedObject, "there is no primary key for referenced table %q", ref.Name)
		}
		for _, key := range pk.Keys {
			fk.RefColumns = append(fk.RefColumns, key.Column)
		}
		fk.RefIndex = pk.OID
	} else {
		for _, n := range k.RefColumns {
			c := ref.Column(n)
			if c == nil {
				return pgerr.New(pgerr.UndefinedColumn, "column %q referenced in foreign key constraint does not exist", n)
			}
			fk.RefColumns = append(fk.RefColumns, c.Num)
		}
	}
	if len(fk.RefColumns) != len(fk.Columns) {
		return pgerr.New(pgerr.InvalidForeignKey, "number of referencing and referenced columns for foreign key disagree")
	}
	if fk.RefIndex != 0 {
		return nil
	}
	want := slices.Sorted(slices.Values(fk.RefColumns))
	for _, ix := range ref.AllIndexes() {
		if !ix.Unique || ix.Where != "" || ix.Hidden || ix.State != catalog.IndexPublic {
			continue
		}
		var have []int16
		for _, key := range ix.Keys {
			have = append(have, key.Column)
		}
		if slices.Equal(slices.Sorted(slices.Values(have)), want) {
			if ix.Deferrable {
				return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "cannot use a deferrable unique constraint for referenced table %q", ref.Name)
			}
			fk.RefIndex = ix.OID
			return nil
		}
	}
	return pgerr.New(pgerr.InvalidForeignKey, "there is no unique constraint matching given keys for referenced table %q", ref.Name)
}

// Validation of existing rows against a constraint.

func (x *executor) validateNotNull(ctx context.Context, t *catalog.Table, c *catalog.Column, in *stretch) error {
	q := x.selectOf(t, number(1))
	q.Where = and(append(in.conditions(), isNull(column(c.Name)))...)
	if bad, err := x.anyRow(ctx, q); err != nil || !bad {
		return err
	}
	return pgerr.New(pgerr.NotNullViolation, "column %q of relation %q contains null values", c.Name, t.Name).
		WithTable(x.snap().SchemaName(t.Schema), t.Name).WithColumn(c.Name)
}

func (x *executor) validateCheck(ctx context.Context, t *catalog.Table, k *catalog.Check, in *stretch) error {
	e, err := parser.ParseExpr(k.Expr)
	if err != nil {
		return err
	}
	q := x.selectOf(t, number(1))
	q.Where = and(append(in.conditions(), not(e))...)
	if bad, err := x.anyRow(ctx, q); err != nil || !bad {
		return err
	}
	err2 := pgerr.New(pgerr.CheckViolation, "check constraint %q of relation %q is violated by some row", k.Name, t.Name).
		WithTable(x.snap().SchemaName(t.Schema), t.Name)
	err2.Constraint = k.Name
	return err2
}

// validateFK looks for a row without its referenced row:
//
//	SELECT c.a, .. FROM child c WHERE c.a IS NOT NULL AND .. AND NOT EXISTS (SELECT 1 FROM parent p WHERE p.x = c.a AND ..)
func (x *executor) validateFK(ctx context.Context, t *catalog.Table, fk *catalog.ForeignKey, in *stretch) error {
	ref := x.snap().TableByID(fk.RefTable)
	child, parent := x.rangeVarOf(t), x.rangeVarOf(ref)
	child.Alias, parent.Alias = &ast.Alias{Name: "c"}, &ast.Alias{Name: "p"}
	q := &ast.SelectStmt{From: []ast.TableRef{child}, Pos: ast.Pos{Off: -1}}
	sub := &ast.SelectStmt{From: []ast.TableRef{parent}, Targets: []*ast.Target{{Expr: number(1)}}, Pos: ast.Pos{Off: -1}}
	var conds, match []ast.Expr
	var key []string
	for i, n := range fk.Columns {
		a, b := t.ColumnByNum(n).Name, ref.ColumnByNum(fk.RefColumns[i]).Name
		q.Targets = append(q.Targets, &ast.Target{Expr: &ast.TypeCast{Arg: column("c", a), Type: &ast.TypeName{Names: []string{catalog.PgCatalog, "text"}, Pos: ast.Pos{Off: -1}}, Pos: ast.Pos{Off: -1}}})
		conds = append(conds, isNotNull(column("c", a)))
		match = append(match, op(column("p", b), "=", column("c", a)))
		key = append(key, a)
	}
	sub.Where = and(match...)
	exists := &ast.SubLink{Kind: ast.SubExists, Select: sub, Pos: ast.Pos{Off: -1}}
	q.Where = and(append(in.conditions("c"), append(conds, not(exists))...)...)
	q.Limit = number(1)
	var values []string
	err := x.Query(ctx, q, func(row []types.Datum) error {
		for _, d := range row {
			values = append(values, d.Str())
		}
		return nil
	})
	if err != nil || values == nil {
		return err
	}
	err2 := pgerr.New(pgerr.ForeignKeyViolation, "insert or update on table %q violates foreign key constraint %q", t.Name, fk.Name).
		WithDetail("Key (%s)=(%s) is not present in table %q.", join(key), join(values), ref.Name).
		WithTable(x.snap().SchemaName(t.Schema), t.Name)
	err2.Constraint = fk.Name
	return err2
}

func join(ss []string) string {
	out := ""
	for i, s := range ss {
		if i > 0 {
			out += ", "
		}
		out += s
	}
	return out
}

// validateUnique looks for two rows with one key:
//
//	SELECT a::text, .. FROM t WHERE a IS NOT NULL AND .. GROUP BY a, .. HAVING count(*) > 1
func (x *executor) validateUnique(ctx context.Context, t *catalog.Table, ix *catalog.Index) error {
	q := x.selectOf(t)
	var conds []ast.Expr
	var names []string
	for _, k := range ix.Keys {
		n := t.ColumnByNum(k.Column).Name
		text := &ast.TypeName{Names: []string{catalog.PgCatalog, "text"}, Pos: ast.Pos{Off: -1}}
		q.Targets = append(q.Targets, &ast.Target{Expr: &ast.TypeCast{Arg: column(n), Type: text, Pos: ast.Pos{Off: -1}}, Pos: ast.Pos{Off: -1}})
		q.GroupBy = append(q.GroupBy, ast.GroupItem{Expr: column(n), Pos: ast.Pos{Off: -1}})
		names = append(names, n)
		if !ix.NullsNotDistinct {
			conds = append(conds, isNotNull(column(n)))
		}
	}
	if conds != nil {
		q.Where = and(conds...)
	}
	q.Having = op(&ast.FuncCall{Name: []string{catalog.PgCatalog, "count"}, Star: true, Pos: ast.Pos{Off: -1}}, ">", number(1))
	q.Limit = number(1)
	var values []string
	err := x.Query(ctx, q, func(row []types.Datum) error {
		for _, d := range row {
			if d.IsNull() {
				values = append(values, "null")
			} else {
				values = append(values, d.Str())
			}
		}
		return nil
	})
	if err != nil || values == nil {
		return err
	}
	return pgerr.New(pgerr.UniqueViolation, "could not create unique index %q", ix.Name).
		WithDetail("Key (%s)=(%s) is duplicated.", join(names), join(values)).
		WithTable(x.snap().SchemaName(t.Schema), t.Name).WithConstraint(ix.Name)
}

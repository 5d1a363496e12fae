package ddl

import (
	"context"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
)

func (x *executor) rename(ctx context.Context, s *ast.RenameStmt) error {
	switch s.Object {
	case ast.ObjTable, ast.ObjView, ast.ObjMatView, ast.ObjSequence, ast.ObjIndex:
		return x.renameRelation(ctx, s)
	case ast.ObjColumn:
		return x.renameColumn(ctx, s)
	case ast.ObjTableConstraint:
		return x.renameConstraint(ctx, s)
	case ast.ObjAttribute:
		return x.renameAttribute(ctx, s)
	case ast.ObjSchema:
		sc := x.snap().SchemaByName(s.Sub)
		if sc == nil {
			return pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", s.Sub)
		}
		if sc.DB == 0 {
			return pgerr.New(pgerr.InsufficientPrivilege, "permission denied: schema %q is built in", sc.Name)
		}
		if err := x.own(&sc.Header, "schema"); err != nil {
			return err
		}
		if err := checkSchemaName(s.New); err != nil {
			return err
		}
		if x.snap().SchemaByName(s.New) != nil {
			return pgerr.New(pgerr.DuplicateSchema, "schema %q already exists", s.New)
		}
		n := *sc
		n.Name = s.New
		return x.View.Put(ctx, &n)
	case ast.ObjDatabase:
		d := x.snap().DatabaseByName(s.Sub)
		if d == nil {
			return pgerr.New(pgerr.UndefinedDatabase, "database %q does not exist", s.Sub)
		}
		if err := x.own(&d.Header, "database"); err != nil {
			return err
		}
		if d == x.snap().Database() {
			return pgerr.New(pgerr.FeatureNotSupported, "current database cannot be renamed")
		}
		if x.snap().DatabaseByName(s.New) != nil {
			return pgerr.New(pgerr.DuplicateDatabase, "database %q already exists", s.New)
		}
		n := *d
		n.Name = s.New
		return x.View.Put(ctx, &n)
	case ast.ObjEventTrigger:
		return x.renameEventTrigger(ctx, s)
	case ast.ObjPublication:
		return x.renamePublication(ctx, s)
	case ast.ObjTablespace:
		return x.renameTablespace(ctx, s)
	case ast.ObjRole:
		r := x.snap().RoleByName(s.Sub)
		if r == nil {
			return pgerr.New(pgerr.UndefinedObject, "role %q does not exist", s.Sub)
		}
		if err := x.needCreateRole(); err != nil {
			return err
		}
		if x.snap().RoleByName(s.New) != nil {
			return pgerr.New(pgerr.DuplicateObject, "role %q already exists", s.New)
		}
		n := *r
		n.Name = s.New
		return x.View.Put(ctx, &n)
	case ast.ObjType, ast.ObjDomain:
		t, err := x.userType(s.Name.Names)
		if err != nil {
			return err
		}
		n := *t
		n.Name = s.New
		if x.typeTaken(n.Schema, s.New) {
			return pgerr.New(pgerr.DuplicateObject, "type %q already exists", s.New)
		}
		return x.View.Put(ctx, &n)
	case ast.ObjFunction, ast.ObjProcedure, ast.ObjRoutine, ast.ObjAggregate:
		f, err := x.routine(s.Name.Func, s.Object)
		if err != nil {
			return err
		}
		if err := x.own(&f.Header, strings.ToLower(string(s.Object))); err != nil {
			return err
		}
		if err := x.functionTaken(f, x.snap().SchemaName(f.Schema), s.New); err != nil {
			return err
		}
		n := f.Clone()
		n.Name = s.New
		return x.View.Put(ctx, n)
	case ast.ObjTrigger:
		t, err := x.table(s.Table)
		if err != nil {
			return err
		}
		nt := t.Clone()
		var found *catalog.Trigger
		for _, o := range nt.Triggers {
			if o.Name == s.New {
				return pgerr.New(pgerr.DuplicateObject, "trigger %q for relation %q already exists", s.New, t.Name)
			}
			if o.Name == s.Sub {
				found = o
			}
		}
		if found == nil {
			return pgerr.New(pgerr.UndefinedObject, "trigger %q for table %q does not exist", s.Sub, t.Name)
		}
		found.Name = s.New
		return x.View.Put(ctx, nt)
	case ast.ObjRule:
		return x.renameRule(ctx, s)
	case ast.ObjPolicy:
		return x.renamePolicy(ctx, s)
	case ast.ObjDomainConstraint:
		t, err := x.userType(s.Name.Names)
		if err != nil {
			return err
		}
		n := *t
		n.Checks = nil
		found := false
		for _, k := range t.Checks {
			c := *k
			if c.Name == s.Sub {
				c.Name, found = s.New, true
			}
			n.Checks = append(n.Checks, &c)
		}
		if !found {
			return pgerr.New(pgerr.UndefinedObject, "constraint %q for domain %q does not exist", s.Sub, t.Name)
		}
		return x.View.Put(ctx, &n)
	}
	return pgerr.Unsupported("ALTER %s RENAME is not supported", s.Object)
}

// missing answers IF EXISTS.
func (x *executor) missing(err error, ifExists bool, name string) error {
	code := pgerr.Code(err)
	if ifExists && (code == pgerr.UndefinedTable || code == pgerr.InvalidSchemaName) {
		x.notice(code, "relation %q does not exist, skipping", name)
		return nil
	}
	return err
}

func (x *executor) renameRelation(ctx context.Context, s *ast.RenameStmt) error {
	if err := x.checkCatalog(s.Table); err != nil {
		return err
	}
	rel := x.relation(s.Table)
	if rel.Table == nil {
		return x.missing(noRelation(s.Table), s.IfExists, s.Table.Name)
	}
	t := rel.Table
	if t.Virtual != nil {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied: %q is a system catalog", t.Name)
	}
	if err := x.ownTable(t); err != nil {
		return err
	}
	schema := x.snap().SchemaByID(t.Schema)
	if x.relationTaken(schema, s.New) {
		return pgerr.New(pgerr.DuplicateTable, "relation %q already exists", s.New)
	}
	nt := t.Clone()
	if rel.Index != nil {
		for _, ix := range nt.AllIndexes() {
			if ix.OID == rel.Index.OID {
				ix.Name = s.New
			}
		}
		return x.View.Put(ctx, nt)
	}
	switch {
	case s.Object == ast.ObjIndex:
		return wrongKind(rel, ast.ObjIndex)
	case s.Object == ast.ObjView && t.Kind != catalog.RelView:
		return wrongKind(rel, ast.ObjView)
	case s.Object == ast.ObjSequence && t.Kind != catalog.RelSequence:
		return wrongKind(rel, ast.ObjSequence)
	case s.Object == ast.ObjMatView && t.Kind != catalog.RelMatView:
		return wrongKind(rel, ast.ObjMatView)
	}
	nt.Name = s.New
	if err := x.renameInViews(ctx, t, x.snap().SchemaName(t.Schema), s.New); err != nil {
		return err
	}
	return x.View.Put(ctx, nt)
}

// renameInViews rewrites the queries of the views over a relation that gets another name or schema. The old
// name stays as the alias, so that the columns are still found.
func (x *executor) renameInViews(ctx context.Context, t *catalog.Table, schema, name string) error {
	if err := x.renameTableInPolicies(ctx, t, schema, name); err != nil {
		return err
	}
	for _, v := range x.dependents(t.ID) {
		if v.Query == "" {
			continue
		}
		st, err := parser.ParseOne(v.Query)
		if err != nil {
			return err
		}
		ast.WalkTables(st.Stmt, func(r *ast.RangeVar) {
			if x.snap().ResolveTable(v.Path, r.Schema, r.Name) != t {
				return
			}
			if r.Alias == nil && r.Name != name {
				r.Alias = &ast.Alias{Name: r.Name}
			}
			r.Catalog, r.Schema, r.Name = "", schema, name
		})
		nv := v.Clone()
		nv.Query = parser.Deparse(st.Stmt)
		if err := x.View.Put(ctx, nv); err != nil {
			return err
		}
	}
	return nil
}

func (x *executor) renameColumn(ctx context.Context, s *ast.RenameStmt) error {
	t, err := x.any(s.Table)
	if err != nil {
		return x.missing(err, s.IfExists, s.Table.Name)
	}
	if t.Virtual != nil || t.Kind == catalog.RelSequence {
		return pgerr.New(pgerr.WrongObjectType, "cannot rename columns of relation %q", t.Name)
	}
	if err := x.ownTable(t); err != nil {
		return err
	}
	if t.OfType != 0 && !x.below {
		return pgerr.New(pgerr.WrongObjectType, "cannot rename column of typed table")
	}
	if c := t.Column(s.Sub); c != nil && c.Inherited && !x.below {
		return pgerr.New(pgerr.InvalidTableDefinition, "cannot rename inherited column %q", s.Sub)
	}
	if _, err := liveColumn(t, s.Sub); err != nil {
		if systemColumns[s.Sub] {
			return err
		}
		return pgerr.New(pgerr.UndefinedColumn, "column %q does not exist", s.Sub)
	}
	x.only = x.only || s.Table.Only
	if err := x.checkRename(t, s.Sub); err != nil {
		return err
	}
	if systemColumns[s.New] {
		return pgerr.New(pgerr.DuplicateColumn, "column name %q conflicts with a system column name", s.New)
	}
	if c := t.Column(s.New); c != nil {
		return pgerr.New(pgerr.DuplicateColumn, "column %q of relation %q already exists", s.New, t.Name)
	}
	var views []*catalog.Table
	for _, v := range x.dependents(t.ID) {
		if v.Query == "" || !viewMentions(v, s.Sub) {
			continue
		}
		query, ok := x.renamedQuery(v, t, s.Sub, s.New)
		if !ok {
			return pgerr.Unsupported("renaming a column used by such a view is not supported").
				WithDetail("view %s uses column %q", v.Name, s.Sub)
		}
		nv := v.Clone()
		nv.Query = query
		views = append(views, nv)
	}
	for _, u := range x.policiesUsing(t.ID) {
		if exprMentions(u.policy.Using, s.Sub) || exprMentions(u.policy.Check, s.Sub) {
			return pgerr.Unsupported("renaming a column used by a policy of another table is not supported").
				WithDetail("%s uses column %q", u.describe(x), s.Sub)
		}
	}
	nt := t.Clone()
	if err := x.renameInPolicies(nt, s.Sub, s.New); err != nil {
		return err
	}
	nt.Column(s.Sub).Name = s.New
	edit := func(text *string) {
		if *text == "" || err != nil {
			return
		}
		var e ast.Expr
		if e, err = parser.ParseExpr(*text); err != nil {
			return
		}
		ast.WalkAll(e, func(e ast.Expr) bool {
			if c, ok := e.(*ast.ColumnRef); ok && len(c.Fields) == 1 && c.Fields[0] == s.Sub {
				c.Fields[0] = s.New
			}
			return true
		}, nil)
		*text = parser.DeparseExpr(e)
	}
	for _, c := range nt.Columns {
		edit(&c.Generated)
	}
	for _, k := range nt.Checks {
		edit(&k.Expr)
	}
	for _, ix := range nt.AllIndexes() {
		edit(&ix.Where)
		for i := range ix.Keys {
			edit(&ix.Keys[i].Expr)
		}
	}
	if err != nil {
		return err
	}
	if nt.Partitioning != nil {
		for i := range nt.Partitioning.Keys {
			edit(&nt.Partitioning.Keys[i].Expr)
		}
	}
	if err := x.View.Put(ctx, nt); err != nil {
		return err
	}
	for _, v := range views {
		if err := x.View.Put(ctx, v); err != nil {
			return err
		}
	}
	return x.eachPartition(t, func(p *catalog.Table) error {
		return x.renameColumn(ctx, &ast.RenameStmt{Object: s.Object, Table: x.rangeVarOf(p), Sub: s.Sub, New: s.New})
	})
}

func (x *executor) renameConstraint(ctx context.Context, s *ast.RenameStmt) error {
	t, err := x.table(s.Table)
	if err != nil {
		return x.missing(err, s.IfExists, s.Table.Name)
	}
	nt := t.Clone()
	if constraintNames(t)[s.New] {
		return pgerr.New(pgerr.DuplicateObject, "constraint %q for relation %q already exists", s.New, t.Name)
	}
	for _, k := range nt.Checks {
		if k.Name == s.Sub {
			if k.Inherited && !x.below {
				return pgerr.New(pgerr.InvalidTableDefinition, "cannot rename inherited constraint %q", s.Sub)
			}
			k.Name = s.New
			if err := x.View.Put(ctx, nt); err != nil {
				return err
			}
			return x.eachPartition(t, func(p *catalog.Table) error {
				return x.renameConstraint(ctx, &ast.RenameStmt{Object: s.Object, Table: x.rangeVarOf(p), Sub: s.Sub, New: s.New})
			})
		}
	}
	for _, fk := range nt.FKs {
		if fk.Name == s.Sub {
			fk.Name = s.New
			return x.View.Put(ctx, nt)
		}
	}
	for _, ix := range nt.AllIndexes() {
		if ix.Constraint != 0 && ix.Name == s.Sub {
			if x.relationTaken(x.snap().SchemaByID(t.Schema), s.New) {
				return pgerr.New(pgerr.DuplicateTable, "relation %q already exists", s.New)
			}
			ix.Name = s.New
			return x.View.Put(ctx, nt)
		}
	}
	return pgerr.New(pgerr.UndefinedObject, "constraint %q for table %q does not exist", s.Sub, t.Name)
}

func (x *executor) setSchema(ctx context.Context, s *ast.AlterSchemaStmt) error {
	sc := x.snap().SchemaByName(s.Schema)
	if sc == nil {
		return pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", s.Schema)
	}
	if sc.DB == 0 {
		return pgerr.New(pgerr.FeatureNotSupported, "cannot move objects into or out of system schemas")
	}
	switch s.Object {
	case ast.ObjExtension:
		return x.moveExtension(ctx, s.Name.Names[0], sc)
	case ast.ObjTable, ast.ObjView, ast.ObjMatView, ast.ObjSequence:
		t, err := x.any(s.Table)
		if err != nil {
			return x.missing(err, s.IfExists, s.Table.Name)
		}
		if err := x.ownTable(t); err != nil {
			return err
		}
		if t.Schema == sc.ID {
			return nil
		}
		if t.Sequence != nil && t.Sequence.OwnerTable != 0 {
			return pgerr.New(pgerr.FeatureNotSupported, "cannot move an owned sequence into another schema")
		}
		for _, name := range relationNames(t) {
			if x.relationTaken(sc, name) {
				return pgerr.New(pgerr.DuplicateTable, "relation %q already exists in schema %q", name, sc.Name)
			}
		}
		if err := x.renameInViews(ctx, t, sc.Name, t.Name); err != nil {
			return err
		}
		nt := t.Clone()
		nt.Schema = sc.ID
		if err := x.View.Put(ctx, nt); err != nil {
			return err
		}
		for _, q := range x.snap().Tables() {
			if q.Sequence != nil && q.Sequence.OwnerTable == t.ID {
				nq := q.Clone()
				nq.Schema = sc.ID
				if err := x.View.Put(ctx, nq); err != nil {
					return err
				}
			}
		}
		return nil
	case ast.ObjType, ast.ObjDomain:
		t, err := x.userType(s.Name.Names)
		if err != nil {
			return err
		}
		n := *t
		n.Schema = sc.ID
		if x.typeTaken(sc.ID, n.Name) {
			return pgerr.New(pgerr.DuplicateObject, "type %q already exists in schema %q", n.Name, sc.Name)
		}
		return x.View.Put(ctx, &n)
	case ast.ObjFunction, ast.ObjProcedure, ast.ObjRoutine, ast.ObjAggregate:
		return x.moveFunction(ctx, s, sc)
	case ast.ObjOperator:
		return x.moveOperator(ctx, s.Name.Func, sc)
	}
	return pgerr.Unsupported("ALTER %s SET SCHEMA is not supported", s.Object)
}

func relationNames(t *catalog.Table) []string {
	out := []string{t.Name}
	for _, ix := range t.AllIndexes() {
		if !ix.Hidden {
			out = append(out, ix.Name)
		}
	}
	return out
}

// newOwner finds the role that gets an object.
func (x *executor) newOwner(r *ast.RoleSpec) (uint32, error) {
	role, err := x.role(r)
	if err != nil {
		return 0, err
	}
	if !x.snap().IsMember(x.User, role.ID) {
		return 0, pgerr.New(pgerr.InsufficientPrivilege, "must be member of role %q", role.Name)
	}
	return role.ID, nil
}

func (x *executor) ownRelation(ctx context.Context, t *catalog.Table, r *ast.RoleSpec) error {
	id, err := x.newOwner(r)
	if err != nil {
		return err
	}
	nt := t.Clone()
	setTableOwner(nt, id)
	if err := x.View.Put(ctx, nt); err != nil {
		return err
	}
	for _, q := range x.snap().Tables() {
		if q.Sequence != nil && q.Sequence.OwnerTable == t.ID {
			nq := q.Clone()
			setTableOwner(nq, id)
			if err := x.View.Put(ctx, nq); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *executor) alterOwner(ctx context.Context, s *ast.AlterOwnerStmt) error {
	switch s.Object {
	case ast.ObjEventTrigger:
		return x.eventTriggerOwner(ctx, s)
	case ast.ObjPublication:
		return x.publicationOwner(ctx, s)
	case ast.ObjLargeObject:
		id, err := strconv.ParseUint(s.Name.Names[0], 10, 32)
		if err != nil {
			return pgerr.New(pgerr.NumericValueOutOfRange, "value %q is out of range for type oid", s.Name.Names[0])
		}
		owner, err := x.newOwner(s.Owner)
		if err != nil {
			return err
		}
		return x.LargeObjectOwner(ctx, uint32(id), owner)
	case ast.ObjSchema:
		sc := x.snap().SchemaByName(s.Name.Names[0])
		if sc == nil {
			return pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", s.Name.Names[0])
		}
		if err := x.own(&sc.Header, "schema"); err != nil {
			return err
		}
		id, err := x.newOwner(s.Owner)
		if err != nil {
			return err
		}
		n := *sc
		setOwner(&n.Header, id)
		if sc.DB == 0 {
			return pgerr.New(pgerr.InsufficientPrivilege, "permission denied: schema %q is built in", sc.Name)
		}
		return x.View.Put(ctx, &n)
	case ast.ObjDatabase:
		d := x.snap().DatabaseByName(s.Name.Names[0])
		if d == nil {
			return pgerr.New(pgerr.UndefinedDatabase, "database %q does not exist", s.Name.Names[0])
		}
		if err := x.own(&d.Header, "database"); err != nil {
			return err
		}
		id, err := x.newOwner(s.Owner)
		if err != nil {
			return err
		}
		n := *d
		setOwner(&n.Header, id)
		return x.View.Put(ctx, &n)
	case ast.ObjTablespace:
		t, err := x.ownTablespace(s.Name.Names[0])
		if err != nil {
			return err
		}
		n := *t
		id, err := x.newOwner(s.Owner)
		if err != nil {
			return err
		}
		setOwner(&n.Header, id)
		return x.View.Put(ctx, &n)
	case ast.ObjType, ast.ObjDomain:
		t, err := x.userType(s.Name.Names)
		if err != nil {
			return err
		}
		id, err := x.newOwner(s.Owner)
		if err != nil {
			return err
		}
		n := *t
		setOwner(&n.Header, id)
		return x.View.Put(ctx, &n)
	case ast.ObjFunction, ast.ObjProcedure, ast.ObjRoutine, ast.ObjAggregate:
		f, err := x.routine(s.Name.Func, s.Object)
		if err != nil {
			return err
		}
		if err := x.own(&f.Header, strings.ToLower(string(s.Object))); err != nil {
			return err
		}
		id, err := x.newOwner(s.Owner)
		if err != nil {
			return err
		}
		n := f.Clone()
		setOwner(&n.Header, id)
		return x.View.Put(ctx, n)
	case ast.ObjOperator:
		return x.changeOperator(ctx, s.Name.Func, func(o *catalog.Operator) error {
			id, err := x.newOwner(s.Owner)
			if err == nil {
				setOwner(&o.Header, id)
			}
			return err
		})
	}
	return pgerr.Unsupported("ALTER %s OWNER is not supported", s.Object)
}

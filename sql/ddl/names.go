package ddl

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// maxName is the longest identifier in bytes.
const maxName = 63

func relName(r *ast.RangeVar) string {
	if r.Schema != "" {
		return r.Schema + "." + r.Name
	}
	return r.Name
}

func noRelation(r *ast.RangeVar) error {
	return pgerr.New(pgerr.UndefinedTable, "relation %q does not exist", relName(r)).WithPosition(int(ast.PgPos(r.Position())))
}

// checkCatalog refuses names of other databases.
func (x *executor) checkCatalog(r *ast.RangeVar) error {
	if r.Catalog != "" && (x.snap().Database() == nil || r.Catalog != x.snap().Database().Name) {
		return pgerr.New(pgerr.FeatureNotSupported, "cross-database references are not implemented: \"%s.%s.%s\"", r.Catalog, r.Schema, r.Name)
	}
	return nil
}

// relation finds what a name stands for; the zero Relation if it is nothing.
func (x *executor) relation(r *ast.RangeVar) catalog.Relation {
	return x.snap().ResolveRelation(x.path(), x.realSchema(r.Schema), r.Name)
}

// realSchema is the schema that a written name stands for: pg_temp is the session's own.
func (x *executor) realSchema(name string) string {
	if name == "pg_temp" && x.TempSchema != "" {
		return x.TempSchema
	}
	return name
}

// any finds a relation that is not an index, with PostgreSQL's errors.
func (x *executor) any(r *ast.RangeVar) (*catalog.Table, error) {
	if err := x.checkCatalog(r); err != nil {
		return nil, err
	}
	if r.Schema != "" && x.snap().SchemaByName(x.realSchema(r.Schema)) == nil {
		return nil, pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", r.Schema).WithPosition(int(ast.PgPos(r.Position())))
	}
	rel := x.relation(r)
	if rel.Table == nil {
		return nil, noRelation(r)
	}
	if rel.Index != nil {
		return nil, pgerr.New(pgerr.WrongObjectType, "%q is an index", r.Name)
	}
	return rel.Table, nil
}

// table finds a table that statements may change.
func (x *executor) table(r *ast.RangeVar) (*catalog.Table, error) {
	t, err := x.any(r)
	if err != nil {
		return nil, err
	}
	if t.Virtual != nil {
		return nil, pgerr.New(pgerr.InsufficientPrivilege, "permission denied: %q is a system catalog", t.Name)
	}
	if !t.IsTable() {
		return nil, pgerr.New(pgerr.WrongObjectType, "%q is not a table", t.Name)
	}
	return t, x.ownTable(t)
}

// kindWord is a relation's kind as messages name it.
func kindWord(t *catalog.Table) string {
	switch t.Kind {
	case catalog.RelSequence:
		return "sequence"
	case catalog.RelView:
		return "view"
	case catalog.RelMatView:
		return "materialized view"
	case catalog.RelComposite:
		return "composite type"
	}
	return "table"
}

func (x *executor) superuser() bool {
	r := x.snap().RoleByID(x.User)
	return r != nil && r.Super
}

// own checks that the user owns an object.
func (x *executor) own(h *catalog.Header, what string) error {
	if x.snap().IsMember(x.User, h.Owner) {
		return nil
	}
	return pgerr.New(pgerr.InsufficientPrivilege, "must be owner of %s %s", what, h.Name)
}

func (x *executor) ownTable(t *catalog.Table) error { return x.own(&t.Header, kindWord(t)) }

// targetSchema is the schema in which a new object is created, locked against being dropped.
func (x *executor) targetSchema(ctx context.Context, r *ast.RangeVar) (*catalog.Schema, error) {
	if err := x.checkCatalog(r); err != nil {
		return nil, err
	}
	if r.Persistence == ast.Temporary || r.Schema == "pg_temp" || r.Schema != "" && r.Schema == x.TempSchema {
		if r.Persistence == ast.Unlogged {
			return nil, pgerr.New(pgerr.InvalidTableDefinition, "only temporary relations may be created in temporary schemas")
		}
		r.Persistence = ast.Temporary
		return x.tempSchema(ctx, r)
	}
	sc, err := x.schemaNamed(r.Schema)
	if err != nil {
		return nil, err
	}
	if sc.DB == 0 {
		return nil, pgerr.New(pgerr.InsufficientPrivilege, "permission denied to create %q", sc.Name+"."+r.Name).
			WithDetail("System catalog modifications are currently disallowed.")
	}
	if !x.mayCreateIn(sc) {
		return nil, pgerr.New(pgerr.InsufficientPrivilege, "permission denied for schema %s", sc.Name)
	}
	return sc, x.View.Depend(ctx, sc.ID)
}

func (x *executor) schemaNamed(name string) (*catalog.Schema, error) {
	if name != "" {
		sc := x.snap().SchemaByName(name)
		if sc == nil {
			return nil, pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", name)
		}
		return sc, nil
	}
	for _, p := range x.SearchPath {
		if p == catalog.PgCatalog || p == x.TempSchema {
			continue
		}
		if sc := x.snap().SchemaByName(p); sc != nil {
			return sc, nil
		}
	}
	return nil, pgerr.New(pgerr.InvalidSchemaName, "no schema has been selected to create in")
}

func (x *executor) mayCreateIn(sc *catalog.Schema) bool {
	if x.snap().IsMember(x.User, sc.Owner) {
		return true
	}
	for _, a := range sc.ACL {
		if strings.Contains(a.Privs, "C") && (a.Role == 0 || x.snap().IsMember(x.User, a.Role)) {
			return true
		}
	}
	return false
}

// tempSchema is the session's schema for temporary tables, created on first use.
func (x *executor) tempSchema(ctx context.Context, r *ast.RangeVar) (*catalog.Schema, error) {
	if x.TempSchema == "" {
		return nil, pgerr.Unsupported("temporary tables are not supported")
	}
	if r.Schema != "" && r.Schema != "pg_temp" && r.Schema != x.TempSchema {
		return nil, pgerr.New(pgerr.InvalidTableDefinition, "cannot create temporary relation in non-temporary schema")
	}
	if sc := x.snap().SchemaByName(x.TempSchema); sc != nil {
		return sc, nil
	}
	id, err := x.View.NewID(ctx)
	if err != nil {
		return nil, err
	}
	sc := &catalog.Schema{Header: catalog.Header{ID: id, Name: x.TempSchema, Owner: x.User}, DB: x.snap().Database().ID}
	return sc, x.View.Put(ctx, sc)
}

// resolveType resolves a column's type, and refuses pseudo-types.
func (x *executor) resolveType(n *ast.TypeName, column string) (*types.T, error) {
	t, err := x.snap().ResolveType(x.path(), n)
	if err != nil {
		return nil, err
	}
	if t.Class == 'p' {
		return nil, pgerr.New(pgerr.InvalidTableDefinition, "column %q has pseudo-type %s", column, types.TypeName(t))
	}
	if n.Setof {
		return nil, pgerr.New(pgerr.InvalidTableDefinition, "column %q cannot be declared SETOF", column)
	}
	return t, nil
}

func typeRef(t *types.T) catalog.TypeRef { return catalog.TypeRef{OID: t.OID, Typmod: t.Typmod} }

// clip shortens s to n bytes at a character boundary.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// makeObjectName joins names with underscores within the length of an identifier, shortening the longer of
// the first two, as PostgreSQL's makeObjectName does.
func makeObjectName(name1, name2, label string) string {
	overhead := 0
	if name2 != "" {
		overhead++
	}
	if label != "" {
		overhead += len(label) + 1
	}
	n1, n2 := len(name1), len(name2)
	for n1+n2 > maxName-overhead {
		if n1 > n2 {
			n1--
		} else {
			n2--
		}
	}
	s := clip(name1, n1)
	if name2 != "" {
		s += "_" + clip(name2, n2)
	}
	if label != "" {
		s += "_" + label
	}
	return s
}

// chooseName makes a name that taken does not know.
func chooseName(name1, name2, label string, taken func(string) bool) string {
	for pass := 0; ; pass++ {
		l := label
		if pass > 0 {
			l = fmt.Sprintf("%s%d", label, pass)
		}
		if s := makeObjectName(name1, name2, l); !taken(s) {
			return s
		}
	}
}

// relationTaken says whether a relation's name is taken in a schema.
func (x *executor) relationTaken(schema *catalog.Schema, name string) bool {
	return x.snap().ResolveRelation(nil, schema.Name, name).Table != nil
}

// constraintNames collects the names of a table's constraints.
func constraintNames(t *catalog.Table) map[string]bool {
	m := map[string]bool{}
	for _, ix := range t.AllIndexes() {
		if ix.Constraint != 0 {
			m[ix.Name] = true
		}
	}
	for _, c := range t.Checks {
		m[c.Name] = true
	}
	for _, f := range t.FKs {
		m[f.Name] = true
	}
	return m
}

func columnNames(t *catalog.Table, nums []int16) string {
	var names []string
	for _, n := range nums {
		if c := t.ColumnByNum(n); c != nil {
			names = append(names, c.Name)
		}
	}
	return strings.Join(names, "_")
}

func qualifiedVar(schema, name string) *ast.RangeVar {
	return &ast.RangeVar{Schema: schema, Name: name, Pos: ast.Pos{Off: -1}}
}

// rangeVarOf names a relation so that it is found whatever the search path.
func (x *executor) rangeVarOf(t *catalog.Table) *ast.RangeVar {
	r := qualifiedVar(x.snap().SchemaName(t.Schema), t.Name)
	r.Only = len(t.Heirs) > 0
	return r
}

func column(fields ...string) *ast.ColumnRef {
	return &ast.ColumnRef{Fields: fields, Pos: ast.Pos{Off: -1}}
}

func rangeVarOfNames(names []string) *ast.RangeVar {
	r := &ast.RangeVar{Name: names[len(names)-1], Pos: ast.Pos{Off: -1}}
	if len(names) > 1 {
		r.Schema = names[len(names)-2]
	}
	if len(names) > 2 {
		r.Catalog = names[len(names)-3]
	}
	return r
}

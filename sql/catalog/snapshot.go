package catalog

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// Fixed ids, PostgreSQL's where it has them.
const (
	TemplateDatabaseID  = 1
	Template0DatabaseID = 4
	PostgresDatabaseID  = 5
	BootstrapRoleID     = 10
	DatabaseOwnerRoleID = 6171 // pg_database_owner: shown as the owner of schema public
	PgCatalogID         = 11
	PgToastID           = 99
	PublicSchemaID      = 2200 // of database postgres; other databases' public schemas have ids of their own
	InfoSchemaID        = 13183
	MeridianSchemaID    = 13190
	DefaultTablespaceID = 1663
	GlobalTablespaceID  = 1664
	FirstUserID         = 16384
)

// Names of the built-in schemas.
const (
	PgCatalog  = "pg_catalog"
	InfoSchema = "information_schema"
	Meridian   = "meridian"
)

// Snapshot is the catalog at one version, seen from one database. It is immutable and safe for concurrent
// use; asking twice for an object returns the same pointer, and so does the next version's snapshot if the
// object did not change.
type Snapshot struct {
	*state
	db *Database

	unidentified struct { // see Unidentified
		sync.Once
		tables map[uint32]publishedRows
	}
}

// state is the catalog of the whole cluster at one version.
type state struct {
	version uint64
	byID    map[uint32]Descriptor
	names   map[nameKey]uint32
	indexes map[uint32]uint32 // index oid -> table id
	// functions of each name; rowTypes has the table of each row type.
	functions map[functionName][]uint32
	rowTypes  map[uint32]uint32
	// operators of each name; how many casts and event triggers there are.
	operators            map[functionName][]uint32
	casts, eventTriggers int
	views                *viewCache
	virtual              *VirtualSet
	stats                *statsHolder // shared by all versions
}

// viewCache keeps one Snapshot per database, so that asking again returns the same pointer.
type viewCache struct {
	m syncMap[uint32, *Snapshot]
}

func newState(virtual *VirtualSet) *state {
	return &state{byID: map[uint32]Descriptor{}, names: map[nameKey]uint32{}, indexes: map[uint32]uint32{}, functions: map[functionName][]uint32{}, rowTypes: map[uint32]uint32{},
		operators: map[functionName][]uint32{},
		views:     &viewCache{}, virtual: virtual}
}

func (s *state) clone() *state {
	return &state{version: s.version, byID: maps.Clone(s.byID), names: maps.Clone(s.names), indexes: maps.Clone(s.indexes),
		functions: maps.Clone(s.functions), rowTypes: maps.Clone(s.rowTypes),
		operators: maps.Clone(s.operators), casts: s.casts, eventTriggers: s.eventTriggers, views: &viewCache{}, virtual: s.virtual, stats: s.stats}
}

// inDatabase returns the state seen from a database.
func (s *state) inDatabase(id uint32) *Snapshot {
	return s.views.m.getOrMake(id, func() *Snapshot {
		db, _ := s.byID[id].(*Database)
		return &Snapshot{state: s, db: db}
	})
}

// namesOf lists the names that a descriptor takes.
func namesOf(d Descriptor) []nameKey {
	switch d := d.(type) {
	case *Database:
		return []nameKey{{spaceDatabase, 0, d.Name}}
	case *Role:
		return []nameKey{{spaceRole, 0, d.Name}}
	case *Tablespace:
		return []nameKey{{spaceTablespace, 0, d.Name}}
	case *Schema:
		return []nameKey{{spaceSchema, d.DB, d.Name}}
	case *Type:
		return []nameKey{{spaceType, d.Schema, d.Name}}
	case *Publication:
		return []nameKey{{spacePublication, d.DB, d.Name}}
	case *Operator:
		return []nameKey{{spaceOperator, d.Schema, d.key()}}
	case *Cast:
		return []nameKey{{spaceCast, d.DB, castName(d.Source, d.Target)}}
	case *EventTrigger:
		return []nameKey{{spaceEventTrigger, d.DB, d.Name}}
	case *Function:
		return []nameKey{{spaceFunction, d.Schema, d.functionKey()}}
	case *Table:
		out := []nameKey{{spaceRelation, d.Schema, d.Name}}
		for _, ix := range d.AllIndexes() {
			if !ix.Hidden {
				out = append(out, nameKey{spaceRelation, d.Schema, ix.Name})
			}
		}
		if d.Rewriting != nil {
			// A name twice is one entry of the same object.
			for _, ix := range d.Rewriting.Table.AllIndexes() {
				if !ix.Hidden {
					out = append(out, nameKey{spaceRelation, d.Schema, ix.Name})
				}
			}
		}
		return out
	}
	return nil
}

// put adds or replaces a descriptor in a state that is not shared yet. The descriptor's types must have
// been resolved.
func (s *state) put(d Descriptor) {
	if old, ok := s.byID[d.DescID()]; ok {
		s.forget(old)
	}
	s.byID[d.DescID()] = d
	for _, k := range namesOf(d) {
		s.names[k] = d.DescID()
	}
	switch d := d.(type) {
	case *Table:
		for _, ix := range d.AllIndexes() {
			s.indexes[ix.OID] = d.ID
		}
		if d.RowType != 0 {
			s.rowTypes[d.RowType] = d.ID
		}
	case *Function:
		s.addFunction(d)
	case *Operator:
		s.addOperator(d)
	case *Cast:
		s.casts++
	case *EventTrigger:
		s.eventTriggers++
	}
}

func (s *state) remove(id uint32) {
	if old, ok := s.byID[id]; ok {
		s.forget(old)
		delete(s.byID, id)
	}
}

func (s *state) forget(d Descriptor) {
	for _, k := range namesOf(d) {
		if s.names[k] == d.DescID() {
			delete(s.names, k)
		}
	}
	switch d := d.(type) {
	case *Table:
		for _, ix := range d.AllIndexes() {
			delete(s.indexes, ix.OID)
		}
		delete(s.rowTypes, d.RowType)
	case *Function:
		s.forgetFunction(d)
	case *Operator:
		s.forgetOperator(d)
	case *Cast:
		s.casts--
	case *EventTrigger:
		s.eventTriggers--
	}
}

// resolveTypes fills in the types that a descriptor refers to by id.
func (s *state) resolveTypes(d Descriptor) {
	switch d := d.(type) {
	case *Type:
		s.makeType(d)
	case *Table:
		for _, c := range d.Columns {
			c.T = s.typeRef(c.Type)
		}
		for _, ix := range d.AllIndexes() {
			for i := range ix.Keys {
				k := &ix.Keys[i]
				if c := d.ColumnByNum(k.Column); c != nil {
					k.T = c.T
				} else {
					k.T = s.typeRef(k.Type)
				}
			}
		}
		if d.Rewriting != nil {
			s.resolveTypes(d.Rewriting.Table)
		}
	}
}

func (s *state) typeRef(r TypeRef) *types.T {
	t := s.TypeByOID(r.OID)
	if t == nil {
		return types.ByOID(types.OIDText)
	}
	if r.Typmod >= 0 {
		return t.WithTypmod(r.Typmod)
	}
	return t
}

// makeType makes the types.T of a user-defined type and of the array over it.
func (s *state) makeType(d *Type) {
	t := &types.T{OID: types.OID(d.ID), Typmod: -1, Name: d.Name, Size: -1, Array: types.OID(d.Array), Class: d.Class, Delim: ',', Schema: s.SchemaName(d.Schema)}
	switch d.Class {
	case 'b':
		if t.Kind, t.Category, t.Hstore = types.KindString, 'U', d.Like == LikeHstore; !t.Hstore {
			t.Category, t.Fold = 'S', true
		}
	case 'e':
		t.Kind, t.Size, t.Category = types.KindString, 4, 'E'
		def := &types.Def{Order: d.LabelOrder()}
		for _, l := range d.Labels {
			def.Labels = append(def.Labels, l.Label)
		}
		t.Def = def
	case 'd':
		base := s.typeRef(d.Base)
		t.Kind, t.Size, t.Category, t.Elem = base.Kind, base.Size, base.Category, nil
		t.Sub, t.Multi, t.Fold, t.Hstore = base.Sub, base.Multi, base.Fold, base.Hstore
		t.Def = &types.Def{Base: base, NotNull: d.NotNull, Default: d.Default}
		if base.IsArray() {
			t.Elem = base.Elem
		}
	case 'c':
		t.Kind, t.Category = types.KindTuple, 'C'
		def := &types.Def{}
		for _, f := range d.Fields {
			def.Fields = append(def.Fields, types.Field{Name: f.Name, Type: s.typeRef(f.Type)})
		}
		t.Def = def
	case 'r':
		t = s.rangeType(d, t)
	case 'm':
		if r, ok := s.byID[uint32(d.Base.OID)].(*Type); ok {
			t = s.rangeType(r, &types.T{OID: d.Base.OID, Typmod: -1, Name: r.Name, Size: -1, Array: types.OID(r.Array), Class: 'r', Delim: ',', Schema: s.SchemaName(r.Schema)}).Multi
		}
	}
	d.t = t
	d.arr = &types.T{OID: types.OID(d.Array), Typmod: -1, Name: "_" + d.Name, Kind: types.KindArray, Size: -1, Elem: t, Category: 'A', Class: 'b', Delim: ',', Schema: t.Schema}
}

// rangeType completes a range type, together with its multirange type.
func (s *state) rangeType(d *Type, t *types.T) *types.T {
	t.Kind, t.Category, t.Sub = types.KindRange, 'R', s.typeRef(d.Base)
	t.Multi = &types.T{OID: types.OID(d.Multirange), Typmod: -1, Kind: types.KindMultirange, Size: -1, Class: 'm', Category: 'R', Delim: ',', Sub: t}
	if m, ok := s.byID[d.Multirange].(*Type); ok {
		t.Multi.Name, t.Multi.Array, t.Multi.Schema = m.Name, types.OID(m.Array), s.SchemaName(m.Schema)
	}
	return t
}

// Virtual is the set of relations of the built-in schemas.
func (s *state) Virtual() *VirtualSet { return s.virtual }

// Version is the version of the catalog.
func (s *state) Version() uint64 { return s.version }

// Database is the database from which the snapshot is seen. It is nil in a snapshot of no database.
func (s *Snapshot) Database() *Database { return s.db }

// InDatabase returns the same version seen from another database.
func (s *Snapshot) InDatabase(id uint32) *Snapshot { return s.inDatabase(id) }

// ByID returns any descriptor, nil if there is none.
func (s *state) ByID(id uint32) Descriptor {
	if d, ok := s.byID[id]; ok {
		return d
	}
	if t := s.virtual.byID[id]; t != nil {
		return t
	}
	if sc := builtinSchema(id); sc != nil {
		return sc
	}
	return nil
}

// TableByID returns a relation other than an index, virtual ones included; nil if there is none.
func (s *state) TableByID(id uint32) *Table {
	if t, ok := s.byID[id].(*Table); ok {
		return t
	}
	return s.virtual.byID[id]
}

// IndexByOID returns an index and its table, nil if there is none.
func (s *state) IndexByOID(oid uint32) (*Table, *Index) {
	t, ok := s.byID[s.indexes[oid]].(*Table)
	if !ok {
		return nil, nil
	}
	for _, ix := range t.AllIndexes() {
		if ix.OID == oid {
			return t, ix
		}
	}
	return nil, nil
}

// RoleByName, RoleByID, DatabaseByName, DatabaseByID, SchemaByID, TablespaceByName, UserType return nil when
// there is no such object.

func (s *state) RoleByName(name string) *Role {
	if r, ok := s.byID[s.names[nameKey{spaceRole, 0, name}]].(*Role); ok || !strings.HasPrefix(name, "pg_") {
		return r
	}
	return predefinedRole(func(r *Role) bool { return r.Name == name })
}

func (s *state) RoleByID(id uint32) *Role {
	if r, ok := s.byID[id].(*Role); ok || id >= FirstUserID {
		return r
	}
	return predefinedRole(func(r *Role) bool { return r.ID == id })
}

func (s *state) DatabaseByName(name string) *Database {
	d, _ := s.byID[s.names[nameKey{spaceDatabase, 0, name}]].(*Database)
	return d
}

func (s *state) DatabaseByID(id uint32) *Database {
	d, _ := s.byID[id].(*Database)
	return d
}

func (s *state) SchemaByID(id uint32) *Schema {
	if sc, ok := s.byID[id].(*Schema); ok {
		return sc
	}
	return builtinSchema(id)
}

func (s *state) TablespaceByName(name string) *Tablespace {
	t, _ := s.byID[s.names[nameKey{spaceTablespace, 0, name}]].(*Tablespace)
	return t
}

func (s *state) UserType(id uint32) *Type {
	t, _ := s.byID[id].(*Type)
	return t
}

// RoleName returns a role's name, "unknown (OID=n)" as PostgreSQL prints it if there is none.
func (s *state) RoleName(id uint32) string {
	if r := s.RoleByID(id); r != nil {
		return r.Name
	}
	return "unknown (OID=" + utoa(id) + ")"
}

// SchemaName returns a schema's name, "" if there is none.
func (s *state) SchemaName(id uint32) string {
	if sc := s.SchemaByID(id); sc != nil {
		return sc.Name
	}
	return ""
}

// SchemaByName returns a schema of the snapshot's database, nil if there is none.
func (s *Snapshot) SchemaByName(name string) *Schema {
	if sc := builtinSchemaByName(name); sc != nil {
		return sc
	}
	if s.db == nil {
		return nil
	}
	sc, _ := s.byID[s.names[nameKey{spaceSchema, s.db.ID, name}]].(*Schema)
	return sc
}

// Relation is what a relation's name stands for: a table, view or sequence, or an index of a table.
type Relation struct {
	Table *Table
	Index *Index // nil unless the name is an index's
}

// ResolveTable finds a table, view or sequence. An empty schema means the search path, which names
// pg_catalog where it is to be searched; without it pg_catalog is searched first. It returns nil if there
// is none, and for indexes.
func (s *Snapshot) ResolveTable(path []string, schema, name string) *Table {
	r := s.ResolveRelation(path, schema, name)
	if r.Index != nil {
		return nil
	}
	return r.Table
}

// ResolveRelation is ResolveTable for indexes too.
func (s *Snapshot) ResolveRelation(path []string, schema, name string) Relation {
	if schema != "" {
		return s.relationIn(OwnSchema(path, schema), name)
	}
	if !slices.Contains(path, PgCatalog) {
		if r := s.relationIn(PgCatalog, name); r.Table != nil {
			return r
		}
	}
	for _, p := range path {
		if r := s.relationIn(p, name); r.Table != nil {
			return r
		}
	}
	return Relation{}
}

func (s *Snapshot) relationIn(schema, name string) Relation {
	sc := s.SchemaByName(schema)
	if sc == nil {
		return Relation{}
	}
	if t := s.virtual.byName[nameKey{spaceRelation, sc.ID, name}]; t != nil {
		return Relation{Table: t}
	}
	t, ok := s.byID[s.names[nameKey{spaceRelation, sc.ID, name}]].(*Table)
	if !ok {
		return Relation{}
	}
	if t.Name == name {
		return Relation{Table: t}
	}
	for _, ix := range t.AllIndexes() {
		if ix.Name == name {
			return Relation{Table: t, Index: ix}
		}
	}
	return Relation{}
}

// TypeByOID returns a type, user-defined and row types included, nil if there is none.
func (s *state) TypeByOID(oid types.OID) *types.T {
	if t := types.ByOID(oid); t != nil {
		return t
	}
	if d, ok := s.byID[uint32(oid)].(*Type); ok {
		return d.t
	}
	if t, ok := s.byID[s.rowTypes[uint32(oid)]].(*Table); ok {
		return s.RowTypeOf(t)
	}
	// An array type's id is the one after its element type's.
	if d, ok := s.byID[uint32(oid)-1].(*Type); ok && d.Array == uint32(oid) {
		return d.arr
	}
	return nil
}

// typeNamed finds a type by name in a schema.
func (s *Snapshot) typeNamed(schema, name string) *types.T {
	if schema == PgCatalog {
		return types.ByInternalName(name)
	}
	sc := s.SchemaByName(schema)
	if sc == nil {
		return nil
	}
	if d, ok := s.byID[s.names[nameKey{spaceType, sc.ID, name}]].(*Type); ok {
		return d.t
	}
	if strings.HasPrefix(name, "_") {
		if d, ok := s.byID[s.names[nameKey{spaceType, sc.ID, name[1:]}]].(*Type); ok {
			return d.arr
		}
	}
	// A table's row type.
	if t, ok := s.byID[s.names[nameKey{spaceRelation, sc.ID, name}]].(*Table); ok && t.Name == name {
		return s.RowTypeOf(t)
	}
	return nil
}

// RowTypeOf makes the composite type of a table's rows.
func (s *state) RowTypeOf(t *Table) *types.T {
	def := &types.Def{}
	for _, c := range t.Columns {
		if !c.Dropped && !c.Hidden {
			def.Fields = append(def.Fields, types.Field{Name: c.Name, Type: c.T})
		}
	}
	return &types.T{OID: types.OID(t.RowType), Typmod: -1, Name: t.Name, Kind: types.KindTuple, Size: -1,
		Array: types.OID(t.RowArray), Category: 'C', Class: 'c', Delim: ',', Schema: s.SchemaName(t.Schema), Def: def}
}

// OwnSchema is the schema that a written name stands for: pg_temp is the session's own for what is temporary, which is
// on its path once it exists.
func OwnSchema(path []string, schema string) string {
	if schema == "pg_temp" {
		if i := slices.IndexFunc(path, isTempSchema); i >= 0 {
			return path[i]
		}
	}
	return schema
}

// FunctionSchemas lists the schemas in which a function is looked for. What is temporary has to be named with its schema,
// so that nobody can put a function in the way of another.
func FunctionSchemas(path []string, schema string) []string {
	if schema != "" {
		return []string{OwnSchema(path, schema)}
	}
	if !slices.ContainsFunc(path, isTempSchema) {
		return path
	}
	return slices.DeleteFunc(slices.Clone(path), isTempSchema)
}

func isTempSchema(name string) bool { return strings.HasPrefix(name, "pg_temp_") }

// ResolveType finds the type that a type name stands for, with its modifier and array dimensions. Its
// errors are *pgerr.Error.
func (s *Snapshot) ResolveType(path []string, n *ast.TypeName) (*types.T, error) {
	at := int(ast.PgPos(n.Position()))
	if n.PctType {
		return s.columnType(path, n)
	}
	var t *types.T
	name := n.Name()
	switch len(n.Names) {
	case 1:
		if !slices.Contains(path, PgCatalog) {
			t = s.typeNamed(PgCatalog, name)
		}
		for i := 0; t == nil && i < len(path); i++ {
			t = s.typeNamed(path[i], name)
		}
	case 2, 3:
		schema := n.Names[len(n.Names)-2]
		if len(n.Names) == 3 && s.db != nil && n.Names[0] != s.db.Name {
			return nil, pgerr.New(pgerr.FeatureNotSupported, "cross-database references are not implemented: %s", strings.Join(n.Names, ".")).WithPosition(at)
		}
		schema = OwnSchema(path, schema)
		if s.SchemaByName(schema) == nil {
			return nil, pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", schema).WithPosition(at)
		}
		t = s.typeNamed(schema, name)
	default:
		return nil, pgerr.New(pgerr.SyntaxError, "improper qualified name (too many dotted names): %s", strings.Join(n.Names, ".")).WithPosition(at)
	}
	if t == nil {
		display := strings.Join(n.Names, ".")
		if n.IsArray() {
			display += "[]"
		}
		return nil, pgerr.New(pgerr.UndefinedObject, "type %q does not exist", display).WithPosition(at)
	}
	if len(n.Typmods) > 0 {
		args := make([]int32, len(n.Typmods))
		for i, e := range n.Typmods {
			c, ok := e.(*ast.Const)
			if !ok || c.Kind != ast.ConstInt {
				return nil, pgerr.New(pgerr.SyntaxError, "type modifiers must be simple constants or identifiers").WithPosition(at)
			}
			args[i] = int32(c.Int)
		}
		mod, err := types.TypmodIn(t, args)
		if err != nil {
			if e, ok := err.(*pgerr.Error); ok {
				return nil, e.WithPosition(at)
			}
			return nil, err
		}
		t = t.WithTypmod(mod)
	}
	if n.IsArray() && !t.IsArray() {
		a := s.ArrayOf(t)
		if a == nil {
			return nil, pgerr.New(pgerr.UndefinedObject, "could not find array type for data type %s", types.TypeName(t)).WithPosition(at)
		}
		t = a
	}
	return t, nil
}

// ArrayOf returns the array type over t, keeping t's modifier; nil if there is none.
func (s *state) ArrayOf(t *types.T) *types.T {
	if types.ByOID(t.Array) != nil {
		return types.ArrayOf(t)
	}
	a := s.TypeByOID(t.Array)
	if a == nil && t.Array != 0 && t.Class == 'c' {
		a = &types.T{OID: t.Array, Typmod: -1, Name: "_" + t.Name, Kind: types.KindArray, Size: -1, Elem: t, Category: 'A', Class: 'b', Delim: ',', Schema: t.Schema}
	}
	return a
}

// columnType resolves table.column%TYPE.
func (s *Snapshot) columnType(path []string, n *ast.TypeName) (*types.T, error) {
	at := int(ast.PgPos(n.Position()))
	if len(n.Names) < 2 {
		return nil, pgerr.New(pgerr.SyntaxError, "improper %%TYPE reference (too few dotted names): %s", strings.Join(n.Names, ".")).WithPosition(at)
	}
	schema := ""
	if len(n.Names) > 2 {
		schema = n.Names[len(n.Names)-3]
	}
	table := n.Names[len(n.Names)-2]
	t := s.ResolveTable(path, schema, table)
	if t == nil {
		return nil, pgerr.New(pgerr.UndefinedTable, "relation %q does not exist", table).WithPosition(at)
	}
	c := t.Column(n.Name())
	if c == nil {
		return nil, pgerr.New(pgerr.UndefinedColumn, "column %q of relation %q does not exist", n.Name(), table).WithPosition(at)
	}
	return c.T, nil
}

// Tables, Schemas, Roles, Databases, Types and Tablespaces list objects in the order of their ids. Schemas,
// Tables and Types are those of the snapshot's database, without the built-in ones.

func (s *Snapshot) Tables() []*Table {
	return sortedByID(s.byID, func(t *Table) bool { return s.db != nil && t.DB == s.db.ID })
}
func (s *Snapshot) Schemas() []*Schema {
	return sortedByID(s.byID, func(t *Schema) bool { return s.db != nil && t.DB == s.db.ID })
}

// TypeByRef returns the type that a reference means, nil if it is gone.
func (s *Snapshot) TypeByRef(r TypeRef) *types.T { return s.typeRef(r) }

func (s *Snapshot) Types() []*Type {
	return sortedByID(s.byID, func(t *Type) bool { return s.db != nil && t.DB == s.db.ID })
}
func (s *state) Roles() []*Role {
	return append(slices.Clone(predefinedRoles), sortedByID(s.byID, func(*Role) bool { return true })...)
}
func (s *state) Databases() []*Database {
	return sortedByID(s.byID, func(*Database) bool { return true })
}
func (s *state) Tablespaces() []*Tablespace {
	return sortedByID(s.byID, func(*Tablespace) bool { return true })
}

func sortedByID[D Descriptor](m map[uint32]Descriptor, keep func(D) bool) []D {
	var out []D
	for _, d := range m {
		if x, ok := d.(D); ok && keep(x) {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b D) int { return int(int64(a.DescID()) - int64(b.DescID())) })
	return out
}

// IsMember reports whether role is target or a member of it, directly or not. Superusers are members of all.
func (s *state) IsMember(role, target uint32) bool {
	r := s.RoleByID(role)
	if r == nil {
		return false
	}
	if role == target || r.Super {
		return true
	}
	seen := map[uint32]bool{role: true}
	queue := []uint32{role}
	for len(queue) > 0 {
		r := s.RoleByID(queue[0])
		queue = queue[1:]
		if r == nil {
			continue
		}
		for _, m := range r.MemberOf {
			if m.Role == target {
				return true
			}
			if !seen[m.Role] {
				seen[m.Role] = true
				queue = append(queue, m.Role)
			}
		}
	}
	return false
}

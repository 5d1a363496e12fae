package catalog

import (
	"strconv"
	"sync"
)

func utoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// syncMap is a small map guarded by a mutex; values are made once.
type syncMap[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]V
}

func (s *syncMap[K, V]) getOrMake(k K, mk func() V) V {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.m[k]; ok {
		return v
	}
	if s.m == nil {
		s.m = make(map[K]V)
	}
	v := mk()
	s.m[k] = v
	return v
}

// builtinSchemas are in every database and belong to the bootstrap role.
var builtinSchemas = []*Schema{
	{Header: Header{ID: PgCatalogID, Name: PgCatalog, Owner: BootstrapRoleID, Comment: "system catalog schema"}},
	{Header: Header{ID: PgToastID, Name: "pg_toast", Owner: BootstrapRoleID, Comment: "reserved schema for TOAST tables"}},
	{Header: Header{ID: InfoSchemaID, Name: InfoSchema, Owner: BootstrapRoleID}},
	{Header: Header{ID: MeridianSchemaID, Name: Meridian, Owner: BootstrapRoleID, Comment: "what this cluster is doing"}},
}

func builtinSchema(id uint32) *Schema {
	for _, s := range builtinSchemas {
		if s.ID == id {
			return s
		}
	}
	return nil
}

func builtinSchemaByName(name string) *Schema {
	for _, s := range builtinSchemas {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// BuiltinSchemas lists the schemas that every database has.
func BuiltinSchemas() []*Schema { return builtinSchemas }

// VirtualSet holds the relations of the built-in schemas, which every database has. It is read only once
// made.
type VirtualSet struct {
	list   []*Table
	byID   map[uint32]*Table
	byName map[nameKey]*Table
}

// NewVirtualSet makes a set. It panics when an id or a name occurs twice.
func NewVirtualSet(tables []*Table) *VirtualSet {
	v := &VirtualSet{list: tables, byID: map[uint32]*Table{}, byName: map[nameKey]*Table{}}
	for _, t := range tables {
		k := nameKey{spaceRelation, t.Schema, t.Name}
		if v.byID[t.ID] != nil || v.byName[k] != nil {
			panic("catalog: virtual table " + t.Name + " (" + utoa(t.ID) + ") given twice")
		}
		v.byID[t.ID], v.byName[k] = t, t
	}
	return v
}

// Tables lists the set.
func (v *VirtualSet) Tables() []*Table { return v.list }

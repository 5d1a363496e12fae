package backup

import (
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// selection is what a scope means in one version of the catalog.
type selection struct {
	scope   Scope
	all     map[uint32]catalog.Descriptor
	db      *catalog.Database // of a scope smaller than the cluster
	chosen  []catalog.Descriptor
	tables  []*catalog.Table // those of them that have rows
	members map[uint32]bool  // ids of chosen
}

// stored reports whether a relation has rows that outlive a session.
func stored(t *catalog.Table) bool { return t.IsTable() && t.Persistence != 't' }

func newSelection(all []catalog.Descriptor, scope Scope) (*selection, error) {
	s := &selection{scope: scope, all: map[uint32]catalog.Descriptor{}, members: map[uint32]bool{}}
	for _, d := range all {
		s.all[d.DescID()] = d
		if db, ok := d.(*catalog.Database); ok && db.Name == scope.Database && scope.Database != "" {
			s.db = db
		}
	}
	if scope.Database == "" {
		for _, d := range all {
			s.add(d)
		}
		return s, nil
	}
	if s.db == nil {
		return nil, pgerr.New(pgerr.UndefinedDatabase, "database %q does not exist", scope.Database)
	}
	if scope.Table == "" {
		s.add(s.db)
		for _, d := range all {
			if databaseOf(d) == s.db.ID {
				s.add(d)
			}
		}
		return s, nil
	}
	schema, name, ok := strings.Cut(scope.Table, ".")
	if !ok {
		schema, name = "public", scope.Table
	}
	for _, d := range all {
		t, ok := d.(*catalog.Table)
		if !ok || t.DB != s.db.ID || t.Name != name || s.schemaName(t.Schema) != schema {
			continue
		}
		if !stored(t) {
			return nil, pgerr.New(pgerr.WrongObjectType, "%q is not a table", scope.Table)
		}
		s.addTable(t)
		return s, nil
	}
	return nil, pgerr.New(pgerr.UndefinedTable, "relation %q does not exist", scope.Table)
}

// databaseOf is the database that an object is part of, 0 for one of the cluster.
func databaseOf(d catalog.Descriptor) uint32 {
	switch d := d.(type) {
	case *catalog.Schema:
		return d.DB
	case *catalog.Table:
		return d.DB
	case *catalog.Type:
		return d.DB
	case *catalog.Function:
		return d.DB
	case *catalog.Publication:
		return d.DB
	}
	return 0
}

func (s *selection) add(d catalog.Descriptor) {
	if t, ok := d.(*catalog.Table); ok {
		if t.Persistence == 't' {
			return // a session's, and gone with it
		}
		if stored(t) {
			s.tables = append(s.tables, t)
		}
	}
	if !s.members[d.DescID()] {
		s.members[d.DescID()] = true
		s.chosen = append(s.chosen, d)
	}
}

// addTable adds a table with its partitions and the sequences that it owns.
func (s *selection) addTable(t *catalog.Table) {
	s.add(t)
	if t.IsPartitioned() {
		for _, id := range t.Partitioning.Children {
			if c, ok := s.all[id].(*catalog.Table); ok {
				s.addTable(c)
			}
		}
	}
	ids := make([]uint32, 0, len(s.all))
	for id := range s.all {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if q, ok := s.all[id].(*catalog.Table); ok && q.Sequence != nil && q.Sequence.OwnerTable == t.ID {
			s.add(q)
		}
	}
}

// within reports whether a version of a table belongs to the selection.
func (s *selection) within(t *catalog.Table) bool {
	return t.DB == s.db.ID && (s.scope.Table == "" || s.members[t.ID])
}

func (s *selection) schemaName(id uint32) string {
	if sc, ok := s.all[id].(*catalog.Schema); ok {
		return sc.Name
	}
	return ""
}

// name is database.schema.table.
func (s *selection) name(t *catalog.Table) string {
	db := ""
	if d, ok := s.all[t.DB].(*catalog.Database); ok {
		db = d.Name
	}
	return db + "." + s.schemaName(t.Schema) + "." + t.Name
}

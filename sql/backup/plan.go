package backup

import (
	"fmt"
	"slices"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// target is where a selection is restored to: the catalog of the cluster as it is, and how to get ids.
type target struct {
	snap     *catalog.Snapshot
	database string // that takes the place of the selection's own; empty: it has the same name
	user     uint32 // owns what belongs to a role that is not there
	newID    func() (uint32, error)
	storages map[uint32]uint32 // new storage ids by old ones
}

// outcome is what a restore adds to the catalog.
type outcome struct {
	descriptors []catalog.Descriptor
	ids         map[uint32]uint32 // new ids by old ones
	existing    []uint32          // objects that were there and are relied upon
	notes       []string          // what was left out, for people
}

// place decides how a selection fits into the target: what is there already and is used, what is made, and what has to
// be left out because it refers to something that is neither.
func (s *selection) place(t *target) (*outcome, error) {
	o := &outcome{ids: map[uint32]uint32{}}
	cluster := s.scope.Database == ""
	snap := t.snap
	use := func(old, there uint32) {
		o.ids[old] = there
		o.existing = append(o.existing, there)
	}
	var add []catalog.Descriptor
	// What belongs to the cluster, by name.
	gone := map[uint32]bool{} // roles and tablespaces that are neither there nor made
	for _, d := range sortedDescriptors(s.all) {
		switch d := d.(type) {
		case *catalog.Role:
			if r := snap.RoleByName(d.Name); r != nil {
				o.ids[d.ID] = r.ID
			} else if cluster {
				add = append(add, d)
			} else {
				gone[d.ID] = true
			}
		case *catalog.Tablespace:
			if ts := snap.TablespaceByName(d.Name); ts != nil {
				o.ids[d.ID] = ts.ID
			} else if cluster {
				add = append(add, d)
			} else {
				gone[d.ID] = true
			}
		}
	}
	databases := []*catalog.Database{}
	for _, d := range sortedDescriptors(s.all) {
		if db, ok := d.(*catalog.Database); ok && (cluster || db == s.db) {
			databases = append(databases, db)
		}
	}
	for _, db := range databases {
		name := db.Name
		if t.database != "" {
			name = t.database
		}
		there := snap.DatabaseByName(name)
		switch {
		case there == nil && s.scope.Table != "":
			return nil, pgerr.New(pgerr.UndefinedDatabase, "database %q does not exist", name).
				WithHint("A table is restored into a database that is there; name it with the option \"into\".")
		case there == nil:
			c := *db
			c.Name = name
			add = append(add, &c)
		default:
			if s.scope.Table == "" && !empty(snap, there.ID) {
				return nil, pgerr.New(pgerr.DuplicateDatabase, "database %q exists and is not empty", name).
					WithHint("Drop it, or restore into another database with the option \"into\".")
			}
			use(db.ID, there.ID)
		}
	}
	for _, d := range sortedDescriptors(s.all) {
		sc, ok := d.(*catalog.Schema)
		if !ok {
			continue
		}
		db, chosen := s.all[sc.DB].(*catalog.Database)
		if !chosen || !cluster && db != s.db {
			continue
		}
		if there := schemaIn(snap, o.ids[db.ID], sc.Name); there != nil {
			use(sc.ID, there.ID)
		} else if s.scope.Table == "" || slices.ContainsFunc(s.tables, func(t *catalog.Table) bool { return t.Schema == sc.ID }) {
			add = append(add, sc)
		}
	}
	for _, d := range s.chosen {
		switch d := d.(type) {
		case *catalog.Role, *catalog.Tablespace, *catalog.Database, *catalog.Schema:
		case *catalog.Table:
			c := d.Clone()
			if s.scope.Table != "" {
				if err := s.detach(c, t, o); err != nil {
					return nil, err
				}
			}
			if stored(c) {
				c.Storage = c.StorageID()
			}
			add = append(add, c)
		default:
			add = append(add, d)
		}
	}
	for old, id := range t.storages {
		if _, same := o.ids[old]; !same {
			o.ids[old] = id
		}
	}
	var failed error
	get := func(old uint32) uint32 {
		if id, ok := o.ids[old]; ok {
			return id
		}
		if old < catalog.FirstUserID {
			// Built in, and the same everywhere, unless it belongs to a database that has got another id.
			if _, mine := s.all[old]; !mine {
				return old
			}
		}
		id, err := t.newID()
		if err != nil {
			failed = err
		}
		o.ids[old] = id
		return id
	}
	for _, d := range add {
		// Storage ids are a matter of their own: the old one may be the table's id.
		storage := uint32(0)
		if tab, ok := d.(*catalog.Table); ok && stored(tab) {
			storage = tab.Storage
			c := tab.Clone()
			c.Storage = 0
			c.EndRewriting() // its job is not restored
			if gone[c.Tablespace] {
				c.Tablespace = 0
			}
			for _, ix := range c.AllIndexes() {
				if gone[ix.Tablespace] {
					ix.Tablespace = 0
				}
			}
			for _, col := range c.Columns {
				col.ACL = without(col.ACL, gone, t.user)
			}
			for _, p := range c.Policies {
				p.Roles = slices.DeleteFunc(slices.Clone(p.Roles), func(r uint32) bool { return gone[r] })
			}
			d = c
		}
		header(d).forget(gone, t.user)
		n, err := catalog.Rewrite(d, get)
		if err == nil {
			err = failed
		}
		if err != nil {
			return nil, err
		}
		if tab, ok := n.(*catalog.Table); ok && storage != 0 {
			tab.Storage = t.storages[storage]
			if tab.Storage == 0 {
				return nil, fmt.Errorf("backup: table %q has storage %d, which was not restored", tab.Name, storage)
			}
		}
		// The end is the wrong time to learn that a name is taken.
		if err := snap.Taken(n); err != nil {
			return nil, err
		}
		o.descriptors = append(o.descriptors, n)
	}
	return o, nil
}

// detach takes off a table what refers to objects that are not restored with it.
func (s *selection) detach(t *catalog.Table, to *target, o *outcome) error {
	note := func(format string, args ...any) { o.notes = append(o.notes, fmt.Sprintf(format, args...)) }
	t.FKs = slices.DeleteFunc(t.FKs, func(fk *catalog.ForeignKey) bool {
		if s.members[fk.RefTable] {
			return false
		}
		note("foreign key %q of table %q is left out: the table it refers to is not restored with it", fk.Name, t.Name)
		return true
	})
	t.Inbound = slices.DeleteFunc(t.Inbound, func(in catalog.InboundFK) bool { return !s.members[in.Table] })
	t.DependsOn = slices.DeleteFunc(t.DependsOn, func(id uint32) bool { return !s.members[id] })
	for _, tr := range t.Triggers {
		note("trigger %q of table %q is left out: functions are restored with their database", tr.Name, t.Name)
	}
	t.Triggers = nil
	for _, p := range t.Policies {
		// A policy whose tables are missing stays: what it protected is out of reach until it has been made anew.
		p.Uses = slices.DeleteFunc(slices.Clone(p.Uses), func(id uint32) bool { return !s.members[id] })
	}
	gone := func(id uint32) bool { return !s.members[id] }
	t.Heirs = slices.DeleteFunc(t.Heirs, gone)
	if t.OfType != 0 && gone(t.OfType) {
		t.OfType = 0
	}
	if slices.ContainsFunc(t.Inherits, gone) {
		t.Inherits = slices.DeleteFunc(t.Inherits, gone)
		for _, c := range t.Columns {
			c.Inherited, c.Parents, c.Local = len(t.Inherits) > 0 && c.Inherited, 0, true
		}
		for _, c := range t.Checks {
			c.Inherited, c.Parents, c.Local = len(t.Inherits) > 0 && c.Inherited, 0, true
		}
	}
	if t.PartOf != 0 && !s.members[t.PartOf] {
		t.PartOf, t.Bound = 0, nil
		for _, c := range t.Columns {
			c.Inherited = false
		}
		for _, c := range t.Checks {
			c.Inherited = false
		}
		for _, ix := range t.AllIndexes() {
			ix.PartOf = 0
		}
		for _, fk := range t.FKs {
			fk.PartOf = 0
		}
	}
	if q := t.Sequence; q != nil && q.OwnerTable != 0 && !s.members[q.OwnerTable] {
		q.OwnerTable, q.OwnerColumn = 0, 0
	}
	for _, c := range t.Columns {
		if c.Sequence != 0 && !s.members[c.Sequence] {
			c.Sequence = 0
		}
		if c.Dropped {
			continue
		}
		for _, id := range catalog.RelationsIn(c.Default) {
			if !s.members[id] {
				note("the default of column %q of table %q is left out: the sequence it draws from is not restored with it", c.Name, t.Name)
				c.Default = ""
				break
			}
		}
		if err := s.findType(c.Type, t, to, o); err != nil {
			return err
		}
	}
	return nil
}

// findType maps a user-defined type of a column to the one of that name in the target database.
func (s *selection) findType(ref catalog.TypeRef, t *catalog.Table, to *target, o *outcome) error {
	if ref.OID < types.OID(catalog.FirstUserID) {
		return nil
	}
	name := s.scope.Database
	if to.database != "" {
		name = to.database
	}
	db := to.snap.DatabaseByName(name)
	for _, d := range s.all {
		ty, ok := d.(*catalog.Type)
		if !ok || ty.ID != uint32(ref.OID) && ty.Array != uint32(ref.OID) {
			continue
		}
		if db != nil {
			for _, there := range to.snap.AllTypes() {
				if there.DB == db.ID && there.Name == ty.Name && to.snap.SchemaName(there.Schema) == s.schemaName(ty.Schema) {
					o.ids[ty.ID], o.ids[ty.Array] = there.ID, there.Array
					o.existing = append(o.existing, there.ID)
					return nil
				}
			}
		}
		return pgerr.New(pgerr.UndefinedObject, "type %q of table %q does not exist in database %q", ty.Name, t.Name, name).
			WithHint("Create the type first, or restore the whole database.")
	}
	return pgerr.Unsupported("table %q has a column of the row type of another table, which is not restored with it", t.Name)
}

// headed is the common part of a descriptor.
type headed struct{ h *catalog.Header }

func header(d catalog.Descriptor) headed {
	switch d := d.(type) {
	case *catalog.Database:
		return headed{&d.Header}
	case *catalog.Schema:
		return headed{&d.Header}
	case *catalog.Role:
		return headed{&d.Header}
	case *catalog.Tablespace:
		return headed{&d.Header}
	case *catalog.Type:
		return headed{&d.Header}
	case *catalog.Table:
		return headed{&d.Header}
	case *catalog.Function:
		return headed{&d.Header}
	case *catalog.Publication:
		return headed{&d.Header}
	}
	return headed{&catalog.Header{}}
}

// forget takes roles that are gone out: what they own goes to user, what was granted to them to nobody.
func (x headed) forget(gone map[uint32]bool, user uint32) {
	if gone[x.h.Owner] {
		x.h.Owner = user
	}
	x.h.ACL = without(x.h.ACL, gone, user)
}

func without(acl []catalog.ACL, gone map[uint32]bool, user uint32) []catalog.ACL {
	if len(acl) == 0 {
		return acl
	}
	acl = slices.DeleteFunc(slices.Clone(acl), func(a catalog.ACL) bool { return gone[a.Role] })
	for i := range acl {
		if gone[acl[i].Grantor] {
			acl[i].Grantor = user
		}
	}
	return acl
}

// empty reports whether a database holds nothing that a user has made.
func empty(snap *catalog.Snapshot, db uint32) bool {
	for _, d := range snap.Descriptors() {
		if sc, ok := d.(*catalog.Schema); ok && sc.Name == "public" {
			continue
		}
		if databaseOf(d) == db {
			return false
		}
	}
	return true
}

func schemaIn(snap *catalog.Snapshot, db uint32, name string) *catalog.Schema {
	if db == 0 {
		return nil
	}
	for _, d := range snap.Descriptors() {
		if sc, ok := d.(*catalog.Schema); ok && sc.DB == db && sc.Name == name {
			return sc
		}
	}
	return nil
}

func sortedDescriptors(all map[uint32]catalog.Descriptor) []catalog.Descriptor {
	out := make([]catalog.Descriptor, 0, len(all))
	for _, d := range all {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b catalog.Descriptor) int { return int(a.DescID()) - int(b.DescID()) })
	return out
}

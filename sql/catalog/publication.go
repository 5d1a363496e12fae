package catalog

import "slices"

// Publication is what a set of tables gives to replication. A table, schema or column that has been dropped since is
// still listed, and counts for nothing: ids are not used again.
type Publication struct {
	Header
	DB        uint32           `json:"db"`
	AllTables bool             `json:"all,omitempty"`
	Tables    []PublishedTable `json:"t,omitempty"`
	Schemas   []PublishedIn    `json:"s,omitempty"`
	// What is published.
	Insert   bool `json:"ins,omitempty"`
	Update   bool `json:"upd,omitempty"`
	Delete   bool `json:"del,omitempty"`
	Truncate bool `json:"tru,omitempty"`
}

// PublishedTable is one table of a publication.
type PublishedTable struct {
	OID     uint32  `json:"o"` // of its row in pg_publication_rel
	Table   uint32  `json:"t"`
	Columns []int16 `json:"c,omitempty"` // nil: all
}

// PublishedIn is a schema of which a publication has all tables.
type PublishedIn struct {
	OID    uint32 `json:"o"` // of its row in pg_publication_namespace
	Schema uint32 `json:"s"`
}

func (*Publication) kind() descKind { return kindPublication }

// Clone returns a copy that may be changed and given to Txn.Put.
func (p *Publication) Clone() *Publication {
	c := *p
	c.Tables, c.Schemas, c.ACL = slices.Clone(p.Tables), slices.Clone(p.Schemas), slices.Clone(p.ACL)
	return &c
}

// PublicationByName returns a publication of the snapshot's database, nil if there is none.
func (s *Snapshot) PublicationByName(name string) *Publication {
	if s.db == nil {
		return nil
	}
	p, _ := s.byID[s.names[nameKey{spacePublication, s.db.ID, name}]].(*Publication)
	return p
}

// Publications lists the publications of the snapshot's database in the order of their ids.
func (s *Snapshot) Publications() []*Publication {
	return sortedByID(s.byID, func(p *Publication) bool { return s.db != nil && p.DB == s.db.ID })
}

// Publishable reports whether a relation can be part of a publication.
func Publishable(t *Table) bool {
	return t.Virtual == nil && (t.Kind == RelTable || t.Kind == RelPartitioned) && t.Persistence != 't' && t.Persistence != 'u'
}

// Published is a table with rows of its own that a publication gives, and the columns of it.
type Published struct {
	Table   *Table
	Columns []int16 // nil: all
}

// PublishedTables lists what a publication gives, in the order of ids: of a partitioned table its partitions.
func (s *Snapshot) PublishedTables(p *Publication) []Published {
	found := map[uint32]Published{}
	var add func(t *Table, columns []int16)
	add = func(t *Table, columns []int16) {
		if t == nil || !Publishable(t) || t.DB != p.DB {
			return
		}
		if t.Partitioning == nil {
			if _, twice := found[t.ID]; !twice || columns == nil {
				found[t.ID] = Published{t, columns}
			}
			return
		}
		for _, id := range t.Partitioning.Children {
			child := s.TableByID(id)
			if child == nil {
				continue
			}
			// Columns go by name: partitions number them as they like.
			var own []int16
			for _, n := range columns {
				if c := t.ColumnByNum(n); c != nil && !c.Dropped {
					if cc := child.Column(c.Name); cc != nil {
						own = append(own, cc.Num)
					}
				}
			}
			add(child, own)
		}
	}
	for _, pt := range p.Tables {
		add(s.TableByID(pt.Table), pt.Columns)
	}
	if p.AllTables || len(p.Schemas) > 0 {
		for _, t := range s.Tables() {
			if p.AllTables || slices.ContainsFunc(p.Schemas, func(in PublishedIn) bool { return in.Schema == t.Schema }) {
				add(t, nil)
			}
		}
	}
	out := make([]Published, 0, len(found))
	for _, f := range found {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Published) int { return int(int64(a.Table.ID) - int64(b.Table.ID)) })
	return out
}

// ReplicaIdentity returns the columns by which replication tells the old version of a row, nil for none. full says that it
// is all of them.
func (t *Table) ReplicaIdentity() (columns []int16, full bool) {
	switch t.ReplIdent {
	case 'f':
		return nil, true
	case 'n':
		return nil, false
	}
	if ix := t.ReplicaIdentityIndex(); ix != nil {
		for _, k := range ix.Keys {
			columns = append(columns, k.Column)
		}
	}
	return columns, false
}

// ReplicaIdentityIndex returns the index of the replica identity, nil if it has none.
func (t *Table) ReplicaIdentityIndex() *Index {
	if t.ReplIdent == 'i' {
		for _, ix := range t.AllIndexes() {
			if ix.ReplIdent {
				return ix
			}
		}
		return nil // dropped: as NOTHING
	}
	if t.ReplIdent == 0 || t.ReplIdent == 'd' {
		return t.PrimaryKey()
	}
	return nil
}

// PublishedColumns are the live columns of a table that a publication with that column list gives, nil meaning all. The
// subscriber computes generated columns itself.
func (t *Table) PublishedColumns(list []int16) []*Column {
	var out []*Column
	for _, c := range t.Columns {
		if !c.Dropped && !c.Hidden && c.Generated == "" && (list == nil || slices.Contains(list, c.Num)) {
			out = append(out, c)
		}
	}
	return out
}

// publishedRows says what a publication gives of a table's rows that are changed.
type publishedRows struct{ update, delete bool }

// Unidentified reports whether a publication gives the updates and deletions of a table, or of a partition of it, whose old
// rows replication has nothing to tell by: those must not happen.
func (s *Snapshot) Unidentified(t *Table) (update, delete bool) {
	s.unidentified.Do(func() {
		for _, p := range s.Publications() {
			if !p.Update && !p.Delete {
				continue
			}
			for _, pt := range s.PublishedTables(p) {
				if key, full := pt.Table.ReplicaIdentity(); full || len(key) > 0 {
					continue
				}
				if s.unidentified.tables == nil {
					s.unidentified.tables = map[uint32]publishedRows{}
				}
				u := s.unidentified.tables[pt.Table.ID]
				s.unidentified.tables[pt.Table.ID] = publishedRows{u.update || p.Update, u.delete || p.Delete}
			}
		}
	})
	if s.unidentified.tables == nil {
		return false, false
	}
	for _, part := range s.Tree(t) {
		u := s.unidentified.tables[part.ID]
		update, delete = update || u.update, delete || u.delete
	}
	return update, delete
}

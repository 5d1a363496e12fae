package replication

import (
	"slices"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// source is what is published under one version of the catalog.
type source struct {
	snap      *catalog.Snapshot
	relations []*relation // by number of span
	spans     []kv.Span
	previous  bool // some relation needs the rows before
}

// relation is a published table.
type relation struct {
	table    *catalog.Table
	schema   string
	columns  []relColumn
	identity byte // 'd', 'f', 'n', 'i'
	keyed    bool // rows have an identity
	rowKey   bool // which the key of the stored row holds
	decoder  *exec.RowDecoder
	width    int // of decoded rows
	writer   int // ordinal of xmin in decoded rows
	rowID    int // ordinal of the row id that rows are given (catalog.Rewriting.RowIDs), -1 for none

	insert, update, delete, truncate bool
	// rewritten: at that timestamp the table got new storage with the same rows.
	rewritten truetime.Timestamp
}

// relColumn is a published column.
type relColumn struct {
	name string
	t    *types.T
	ord  int  // in decoded rows
	key  bool // part of the identity
}

// newSource finds what the publications give; everything in the database when publications is nil.
func newSource(snap *catalog.Snapshot, publications []string) (*source, error) {
	if snap.Database() == nil {
		return nil, pgerr.New(pgerr.UndefinedDatabase, "the database of the replication slot does not exist any more")
	}
	s := &source{snap: snap}
	pubs := []*catalog.Publication{{DB: snap.Database().ID, AllTables: true, Insert: true, Update: true, Delete: true, Truncate: true}}
	if publications != nil {
		pubs = nil
		for _, name := range publications {
			p := snap.PublicationByName(name)
			if p == nil {
				return nil, pgerr.New(pgerr.UndefinedObject, "publication %q does not exist", name)
			}
			pubs = append(pubs, p)
		}
	}
	found := map[uint32]*relation{}
	lists := map[uint32][]int16{}
	for _, p := range pubs {
		for _, pt := range snap.PublishedTables(p) {
			r := found[pt.Table.ID]
			if r == nil {
				r = &relation{table: pt.Table, schema: snap.SchemaName(pt.Table.Schema)}
				found[pt.Table.ID], lists[pt.Table.ID] = r, pt.Columns
				s.relations = append(s.relations, r)
			} else if !slices.Equal(lists[pt.Table.ID], pt.Columns) {
				return nil, pgerr.Unsupported("cannot use different column lists for table %q in different publications", r.schema+"."+r.table.Name)
			}
			r.insert, r.update, r.delete, r.truncate = r.insert || p.Insert, r.update || p.Update, r.delete || p.Delete, r.truncate || p.Truncate
		}
	}
	for _, r := range s.relations {
		if err := r.bind(snap, lists[r.table.ID]); err != nil {
			return nil, err
		}
		s.previous = s.previous || r.keyed && !r.rowKey || r.rowID >= 0
		s.spans = append(s.spans, catalog.IndexSpan(r.table.StorageID(), r.table.Primary.ID))
	}
	return s, nil
}

func (r *relation) bind(snap *catalog.Snapshot, list []int16) error {
	t, err := plan.FromDescriptor(snap, r.table)
	if err != nil {
		return err
	}
	t = t.Finish()
	r.decoder, r.width = exec.NewRowDecoder(t), len(t.Columns)
	r.writer, r.rowID = slices.IndexFunc(t.Columns, func(c *plan.TableColumn) bool { return c.System }), -1
	if w := r.table.Rewriting; w != nil {
		if c := w.RowIDs(r.table); c != nil {
			r.rowID = t.ColumnByID(uint32(c.Num))
		}
	}
	if r.identity = r.table.ReplIdent; r.identity == 0 {
		r.identity = 'd'
	}
	key, full := r.table.ReplicaIdentity()
	r.keyed = full || len(key) > 0
	r.rowKey = !full && len(key) > 0
	for _, c := range r.table.PublishedColumns(list) {
		ord := slices.IndexFunc(t.Columns, func(tc *plan.TableColumn) bool { return tc.AttNum == c.Num })
		if ord < 0 {
			continue
		}
		rc := relColumn{name: c.Name, t: c.T, ord: ord, key: full || slices.Contains(key, c.Num)}
		inKey := slices.ContainsFunc(t.Primary.Keys, func(k plan.IndexKey) bool { return k.Col == ord })
		if rc.key && !inKey {
			r.rowKey = false
		}
		r.columns = append(r.columns, rc)
	}
	return nil
}

// follow notes what became of the tables of before, the source up to ts, at ts: which of them were truncated, in the order
// of ids, and which only have been rewritten.
func (s *source) follow(before *source, ts truetime.Timestamp) (truncated []*relation) {
	for _, r := range s.relations {
		old := before.snap.TableByID(r.table.ID)
		switch {
		case old == nil || old.StorageID() == r.table.StorageID():
		case old.Truncations != r.table.Truncations:
			if r.truncate {
				truncated = append(truncated, r)
			}
		default:
			r.rewritten = ts
		}
	}
	return truncated
}

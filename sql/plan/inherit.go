package plan

import (
	"slices"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/partition"
)

// A table that others inherit from is read and changed like a partitioned one: Tree has the table itself and all that
// inherit from it as its partitions, with nothing that says which row belongs where. INSERT and ONLY use the table alone.

// heirs makes a table's Tree. It shares the table's columns, so that ordinals are the same.
func (c *SnapshotCatalog) heirs(t *Table, d *catalog.Table) error {
	if len(d.Heirs) == 0 {
		return nil
	}
	leaves := []*Table{t}
	for _, h := range c.Snap.AllHeirs(d) {
		k, err := c.convertLocked(h)
		if err != nil {
			return err
		}
		leaves = append(leaves, k)
	}
	set := partition.NewSet(partition.Heirs, nil, make([]partition.Bound, len(leaves)))
	t.Tree = (&Table{ID: t.ID, StorageID: t.StorageID, Schema: t.Schema, Name: t.Name, Owner: t.Owner, Kind: Partitioned, Columns: t.Columns, RowCount: -1,
		Descriptor: t.Descriptor, Triggers: t.Triggers, Rules: t.Rules, RowSecurity: t.RowSecurity, NoUpdate: t.NoUpdate, NoDelete: t.NoDelete,
		Parts: &Parts{Set: set, Children: leaves}}).Finish()
	return nil
}

// whole is the table with all that inherit from it.
func (t *Table) whole() *Table {
	if t.Tree != nil {
		return t.Tree
	}
	return t
}

// Inherited reports whether a table stands for others that inherit from it.
func (t *Table) Inherited() bool { return t.Parts != nil && t.Parts.Set.Strategy == partition.Heirs }

// visible finds a column that is not hidden, or that every table has.
func (t *Table) visible(name string) int {
	if i := t.Column(name); i >= 0 && (!t.Columns[i].Hidden || t.Columns[i].System) {
		return i
	}
	return -1
}

// extras is how many columns at most a table that inherits from t has that t does not.
func (t *Table) extras() int {
	most := 0
	if t.Inherited() {
		for _, l := range t.leaves() {
			n := 0
			for _, c := range l.Columns {
				if !c.Hidden && t.visible(c.Name) < 0 {
					n++
				}
			}
			most = max(most, n)
		}
	}
	return most
}

// shares reports whether two tables may have rows in common.
func (t *Table) shares(o *Table) bool {
	if t.Root() == o.Root() {
		return true
	}
	mine := t.leaves()
	return (t.Inherited() || o.Inherited()) && slices.ContainsFunc(o.leaves(), func(l *Table) bool {
		return slices.ContainsFunc(mine, func(m *Table) bool { return m.ID == l.ID })
	})
}

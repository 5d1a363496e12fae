package catalog

import (
	"bytes"
	"encoding/json"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// Rewriting is what a table is becoming while its rows are written anew and it is in use: whoever writes a row of the
// table writes it here too, nobody reads it, and a job fills in what was there before. At the end the table takes over
// shape and storage, in one change. Until then its own shape stays as it is (checkRewriting).
type Rewriting struct {
	Job uint64 `json:"job"`
	// Table is the table as it will be, in storage of its own. It has the table's id, and neither foreign keys nor
	// triggers nor policies: those are the table's.
	Table *Table `json:"t"`
	// Values are the columns that do not simply keep their values. A column that the table does not have yet gets its
	// default. Path is the search path under which their names resolve.
	Values []RewriteValue `json:"val,omitempty"`
	Path   []string       `json:"path,omitempty"`
}

// RewriteValue computes a column of the new shape from the columns of the old one. Equal rows give equal values, whoever
// computes them.
type RewriteValue struct {
	Column int16  `json:"a"`
	Expr   string `json:"e"`
}

// Moved reports whether the rows have another primary key than in t.
func (r *Rewriting) Moved(t *Table) bool { return r.Table.Primary.OID != t.Primary.OID }

// RowIDs returns the column that takes the place of a primary key which t is losing, nil if it keeps its own. It is the
// hidden key of the new shape, and rows have it in the old one too, NULL in those that nobody has written since: no image
// of such a row is there. Whoever writes one gives it a row id, together with its image, and the job does so for
// the rest; from then on the row keeps it. So a row tells where its image is, whatever becomes of the key it had.
func (r *Rewriting) RowIDs(t *Table) *Column {
	if !r.Table.Primary.Hidden || t.Primary.Hidden {
		return nil
	}
	return t.ColumnByNum(r.Table.Primary.Keys[0].Column)
}

// EndRewriting leaves a table the shape that it has. Row ids of the other one stay in the rows, and nobody reads them.
func (t *Table) EndRewriting() {
	r := t.Rewriting
	if t.Rewriting = nil; r == nil {
		return
	}
	if c := r.RowIDs(t); c != nil {
		c.Drop()
	}
}

func (r *Rewriting) clone() *Rewriting {
	if r == nil {
		return nil
	}
	c := *r
	c.Table = r.Table.Clone()
	return &c
}

// shape is what must not change while the rows are being rewritten into another one.
type shape struct {
	Columns      []*Column
	Primary      *Index
	Indexes      []*Index
	Checks       []*Check
	FKs          []*ForeignKey
	Storage      uint32
	Tablespace   uint32
	PartOf       uint32
	Partitioning *Partitioning
}

func (t *Table) shape() ([]byte, error) {
	return json.Marshal(shape{t.Columns, t.Primary, t.Indexes, t.Checks, t.FKs, t.StorageID(), t.Tablespace, t.PartOf, t.Partitioning})
}

// checkRewriting refuses a change of a table's shape by others than the job that rewrites it.
func checkRewriting(old, d Descriptor) error {
	was, ok := old.(*Table)
	now, also := d.(*Table)
	if !ok || !also || was.Rewriting == nil || now.Rewriting == nil {
		return nil
	}
	a, err := was.shape()
	if err != nil {
		return err
	}
	b, err := now.shape()
	if err != nil {
		return err
	}
	// Keys that point here may go, and not come: they would be held against the old values.
	if bytes.Equal(a, b) && len(now.Inbound) <= len(was.Inbound) {
		return nil
	}
	return pgerr.New(pgerr.ObjectInUse, "cannot alter table %q because its rows are being rewritten", was.Name).
		WithHint("Wait for job %d to end, or cancel it: SELECT meridian.cancel_job(%[1]d).", was.Rewriting.Job)
}

package pgcatalog

import (
	"slices"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// StorageSize is what a part of the ranges holds of one index of a storage (catalog.Table.StorageID). The rows are in
// the primary one.
type StorageSize struct {
	Storage uint32
	Index   uint16
	Bytes   int64
}

// storageSizes sums up the sizes of indexes by their storage.
type storageSizes map[uint32]map[uint16]int64

func (c *call) sizes() (storageSizes, error) {
	p := (&gen{ctx: c.ctx.Context, env: c.env, snap: c.snap}).providers()
	if p.Sizes == nil {
		return nil, nil
	}
	parts, err := p.Sizes(c.ctx.Context)
	if err != nil {
		return nil, err
	}
	out := storageSizes{}
	for _, s := range parts {
		if out[s.Storage] == nil {
			out[s.Storage] = map[uint16]int64{}
		}
		out[s.Storage][s.Index] += s.Bytes
	}
	return out, nil
}

// rows are the bytes of a table's rows, all those of its rows and indexes.
func (s storageSizes) rows(t *catalog.Table) int64 {
	if !t.IsTable() || t.IsPartitioned() {
		return 0
	}
	for _, ix := range t.AllIndexes() {
		if ix.Primary || ix.Hidden {
			return s[t.StorageID()][ix.ID]
		}
	}
	return 0
}

func (s storageSizes) all(t *catalog.Table) (n int64) {
	if t.IsTable() {
		for _, b := range s[t.StorageID()] {
			n += b
		}
	}
	return n
}

// index is what an index takes besides the rows: nothing for a primary key, whose order the rows are in.
func (s storageSizes) index(t *catalog.Table, ix *catalog.Index) int64 {
	if ix.Primary || ix.Hidden {
		return 0
	}
	return s[t.StorageID()][ix.ID]
}

var sizeFunctions = map[string]func(c *call) (types.Datum, error){
	"pg_relation_size":       relationSize,
	"pg_table_size":          relationSize,
	"pg_total_relation_size": relationSize,
	"pg_indexes_size":        relationSize,
	"pg_database_size":       databaseSize,
	"pg_tablespace_size":     tablespaceSize,
}

func relationSize(c *call) (types.Datum, error) {
	if len(c.args) > 1 {
		switch fork := c.text(1); fork {
		case "main":
		case "fsm", "vm", "init":
			return types.NewInt(0), nil
		default:
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "invalid fork name").
				WithHint("Valid fork names are \"main\", \"fsm\", \"vm\", and \"init\".")
		}
	}
	t := c.snap.TableByID(c.oid(0))
	var ix *catalog.Index
	if t == nil {
		if t, ix = c.snap.IndexByOID(c.oid(0)); ix == nil {
			return types.Null, nil
		}
	}
	sizes, err := c.sizes()
	if err != nil {
		return types.Null, err
	}
	var n int64
	switch {
	case ix != nil:
		if c.fn.Name != "pg_indexes_size" {
			n = sizes.index(t, ix)
		}
	case c.fn.Name == "pg_total_relation_size":
		n = sizes.all(t)
	case c.fn.Name == "pg_indexes_size":
		n = sizes.all(t) - sizes.rows(t)
	default:
		n = sizes.rows(t)
	}
	return types.NewInt(n), nil
}

func databaseSize(c *call) (types.Datum, error) {
	var d *catalog.Database
	if c.args[0].Kind() == types.KindString {
		if d = c.snap.DatabaseByName(c.text(0)); d == nil {
			return types.Null, pgerr.New(pgerr.InvalidCatalogName, "database \"%s\" does not exist", c.text(0))
		}
	} else if d = c.snap.DatabaseByID(c.oid(0)); d == nil {
		return types.Null, nil
	}
	sizes, err := c.sizes()
	if err != nil {
		return types.Null, err
	}
	var n int64
	for _, t := range c.snap.InDatabase(d.ID).Tables() {
		n += sizes.all(t)
	}
	return types.NewInt(n), nil
}

func tablespaceSize(c *call) (types.Datum, error) {
	var ts *catalog.Tablespace
	if c.args[0].Kind() == types.KindString {
		if ts = c.snap.TablespaceByName(c.text(0)); ts == nil {
			return types.Null, pgerr.New(pgerr.UndefinedObject, "tablespace \"%s\" does not exist", c.text(0))
		}
	} else if ts = c.snap.TablespaceByID(c.oid(0)); ts == nil {
		return types.Null, nil
	}
	sizes, err := c.sizes()
	if err != nil {
		return types.Null, err
	}
	var n int64
	for _, d := range c.snap.Databases() {
		for _, t := range c.snap.InDatabase(d.ID).Tables() {
			if !t.IsTable() {
				continue
			}
			own := t.Tablespace
			if own == 0 {
				own = d.TablespaceID()
			}
			for id, bytes := range sizes[t.StorageID()] {
				at := own
				if i := slices.IndexFunc(t.AllIndexes(), func(ix *catalog.Index) bool { return ix.ID == id }); i >= 0 && t.AllIndexes()[i].Tablespace != 0 {
					at = t.AllIndexes()[i].Tablespace
				}
				if at == ts.ID {
					n += bytes
				}
			}
		}
	}
	return types.NewInt(n), nil
}

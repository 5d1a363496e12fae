package exec

import (
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// RowDecoder decodes the stored rows of one table, for readers of change feeds. It belongs to one goroutine.
type RowDecoder struct{ key, row *rowReader }

// NewRowDecoder returns a decoder for t.
func NewRowDecoder(t *plan.Table) *RowDecoder {
	codec := codecOf(t)
	all := make([]int, len(t.Columns))
	var inKey []int
	for i := range all {
		all[i] = i
	}
	for _, k := range t.Primary.Keys {
		inKey = append(inKey, k.Col)
	}
	d := &RowDecoder{row: newRowReader(codec, codec.primary, all)}
	d.key = &rowReader{codec: codec, index: codec.primary, first: len(codec.primary.prefix)}
	for i, k := range t.Primary.Keys {
		d.key.keys = append(d.key.keys, keyPart{ord: inKey[i], t: k.T, desc: k.Desc})
	}
	return d
}

// Decode decodes a row into out, which has a place for each of the table's Columns. Datums alias key and value.
func (d *RowDecoder) Decode(key, value []byte, out []types.Datum) error {
	clear(out)
	return d.row.read(key, value, out)
}

// DecodeKey decodes the columns of the primary index alone; the others are NULL.
func (d *RowDecoder) DecodeKey(key []byte, out []types.Datum) error {
	for i := range out {
		out[i] = types.Null
	}
	return d.key.readKey(key, out)
}

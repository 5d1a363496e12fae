package exec

import (
	"encoding/binary"
	"slices"

	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
)

// Keys and values of tables:
//
//	row          0x03 storage(4) primary(2) primary-key columns        -> the other columns
//	unique       0x03 storage(4) index(2) key columns                  -> primary key and INCLUDE columns
//	unique, NULL 0x03 storage(4) index(2) key columns, primary key     -> the same
//	other        0x03 storage(4) index(2) key columns, primary key     -> INCLUDE columns
//
// A key column whose key does not give back the exact value (rowenc.KeyLossy) is in the row's value too.

// tableCodec is what is derived from a table's definition. It is immutable.
type tableCodec struct {
	t       *plan.Table
	primary *indexCodec
	// indexes has the secondary ones, in the order of Table.Indexes.
	indexes []*indexCodec
	// inValue are the ordinals stored in the row's value, by ascending column id.
	inValue []int
	writer  int // the ordinal of xmin, -1 if there is none
}

// indexCodec encodes the entries of one index.
type indexCodec struct {
	ix     *plan.Index
	prefix []byte
	// value are the ordinals in the entry's value, by ascending column id; of a secondary index.
	value []int
}

func codecOf(t *plan.Table) *tableCodec {
	return t.Codec(func() any { return newCodec(t) }).(*tableCodec)
}

func newCodec(t *plan.Table) *tableCodec {
	c := &tableCodec{t: t, writer: -1}
	mk := func(ix *plan.Index) *indexCodec {
		p := make([]byte, 7)
		p[0] = 0x03
		binary.BigEndian.PutUint32(p[1:], t.StorageID)
		binary.BigEndian.PutUint16(p[5:], ix.ID)
		return &indexCodec{ix: ix, prefix: p}
	}
	c.primary = mk(t.Primary)
	pk := map[int]bool{}
	for _, k := range t.Primary.Keys {
		pk[k.Col] = true
	}
	for i, col := range t.Columns {
		if !pk[i] || rowenc.KeyLossy(col.T) {
			c.inValue = append(c.inValue, i)
		}
		if col.System {
			c.writer = i
		}
	}
	byID := func(s []int) []int {
		slices.SortFunc(s, func(a, b int) int { return int(t.Columns[a].ID) - int(t.Columns[b].ID) })
		return slices.Compact(s)
	}
	c.inValue = byID(c.inValue)
	for _, ix := range t.Indexes {
		x := mk(ix)
		x.value = slices.Clone(ix.Include)
		if ix.Unique {
			for _, k := range t.Primary.Keys {
				x.value = append(x.value, k.Col)
			}
		}
		x.value = byID(x.value)
		c.indexes = append(c.indexes, x)
	}
	return c
}

// index returns the codec of an index of the table.
func (c *tableCodec) index(ix *plan.Index) *indexCodec {
	if ix == nil || ix == c.t.Primary {
		return c.primary
	}
	for i, x := range c.t.Indexes {
		if x == ix {
			return c.indexes[i]
		}
	}
	return nil
}

// appendRowKey appends the primary key of a row given by ordinal.
func (c *tableCodec) appendRowKey(buf []byte, row []types.Datum) []byte {
	buf = append(buf, c.primary.prefix...)
	return c.appendPK(buf, row)
}

func (c *tableCodec) appendPK(buf []byte, row []types.Datum) []byte {
	for _, k := range c.t.Primary.Keys {
		buf = rowenc.AppendKey(buf, row[k.Col], k.T, k.Desc, k.NullsFirst)
	}
	return buf
}

// appendRowValue appends the value of a row.
func (c *tableCodec) appendRowValue(buf []byte, row []types.Datum) []byte {
	prev := uint32(0)
	for _, o := range c.inValue {
		col := c.t.Columns[o]
		if o == c.writer && (row[o].IsNull() || row[o].Int() == plan.FrozenXid) {
			continue // so that a row from before there were writers is encoded as it was read
		}
		buf = rowenc.AppendColumn(buf, prev, col.ID, row[o], col.T)
		prev = col.ID
	}
	return buf
}

// appendEntryKey appends the key of a row's entry in a secondary index. exprs are the values of key parts
// that are expressions, by position. distinct says that the key alone identifies the row: the index is
// unique and no part is NULL (or NULLs are not distinct).
func (x *indexCodec) appendEntryKey(buf []byte, c *tableCodec, row, exprs []types.Datum) (key []byte, distinct bool) {
	buf = append(buf, x.prefix...)
	distinct = x.ix.Unique
	for i, k := range x.ix.Keys {
		var d types.Datum
		if k.Col >= 0 {
			d = row[k.Col]
		} else {
			d = exprs[i]
		}
		if d.IsNull() && !x.ix.NullsNotDistinct {
			distinct = false
		}
		buf = rowenc.AppendKey(buf, d, k.T, k.Desc, k.NullsFirst)
	}
	if !distinct {
		buf = c.appendPK(buf, row)
	}
	return buf, distinct
}

// appendEntryValue appends the value of an entry.
func (x *indexCodec) appendEntryValue(buf []byte, c *tableCodec, row []types.Datum) []byte {
	prev := uint32(0)
	for _, o := range x.value {
		col := c.t.Columns[o]
		buf = rowenc.AppendColumn(buf, prev, col.ID, row[o], col.T)
		prev = col.ID
	}
	return buf
}

// rowReader decodes rows or index entries into a frame. It is immutable: one for each set of columns.
type rowReader struct {
	codec *tableCodec
	index *indexCodec
	dec   *rowenc.Decoder
	// keys says for each key part where its value goes: an ordinal, or -1 to skip it. It ends with the last
	// part that is wanted.
	keys  []keyPart
	first int // length of the prefix
}

type keyPart struct {
	ord  int
	t    *types.T
	desc bool
}

// newRowReader makes a reader of the wanted ordinals. For a secondary index that does not hold them all,
// ask for the primary key's.
func newRowReader(c *tableCodec, x *indexCodec, wanted []int) *rowReader {
	r := &rowReader{codec: c, index: x, first: len(x.prefix)}
	want := map[int]bool{}
	for _, o := range wanted {
		want[o] = true
	}
	stored := c.inValue
	keys := slices.Clone(c.t.Primary.Keys)
	if x != c.primary {
		stored = x.value
		keys = slices.Clone(x.ix.Keys)
		if !x.ix.Unique {
			keys = append(keys, c.t.Primary.Keys...)
		}
	}
	cols := make([]rowenc.Column, len(c.t.Columns))
	any := false
	for _, o := range stored {
		if want[o] {
			cols[o] = rowenc.Column{ID: c.t.Columns[o].ID, Type: c.t.Columns[o].T, Default: c.t.Columns[o].Missing}
			want[o] = false
			any = true
		}
	}
	if any {
		r.dec = rowenc.NewDecoder(cols)
	}
	last := -1
	for i, k := range keys {
		p := keyPart{ord: -1, t: k.T, desc: k.Desc}
		if k.Col >= 0 && want[k.Col] {
			p.ord, last = k.Col, i
			want[k.Col] = false
		}
		r.keys = append(r.keys, p)
	}
	r.keys = r.keys[:last+1]
	return r
}

// splitBy makes the reader's decoder read these ordinals first; false when all of the value's columns are among
// them, or it reads none.
func (r *rowReader) splitBy(early []int) bool {
	if r.dec == nil {
		return false
	}
	first := map[int]bool{}
	for _, o := range early {
		first[o] = true
	}
	return r.dec.SetEarly(func(pos int) bool { return first[pos] })
}

// read decodes an entry into out, by ordinal. Datums alias key and value.
func (r *rowReader) read(key, value []byte, out []types.Datum) error {
	if err := r.readKey(key, out); err != nil || r.dec == nil {
		return err
	}
	return r.dec.Decode(value, out)
}

// readKey decodes what the key of an entry holds.
func (r *rowReader) readKey(key []byte, out []types.Datum) error {
	if len(r.keys) > 0 {
		if len(key) < r.first {
			return rowenc.ErrCorrupt
		}
		k := key[r.first:]
		for _, p := range r.keys {
			var err error
			if p.ord < 0 {
				k, err = rowenc.SkipKey(k, p.t, p.desc)
			} else {
				out[p.ord], k, err = rowenc.DecodeKey(k, p.t, p.desc)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

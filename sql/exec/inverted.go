package exec

import (
	"bytes"

	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
)

// An entry of an inverted index has no value:
//
//	inverted     0x03 storage(4) index(2) key(1) term, primary key     ->
//
// where key is the number of the index key that the term is of. Terms are encoded as strings of bytes.

// invertedPrefix is what the keys of entries with a term of a key begin with.
func (x *indexCodec) invertedPrefix(buf []byte, key int, term []byte) []byte {
	buf = append(append(buf, x.prefix...), byte(key))
	return rowenc.AppendKey(buf, types.NewBytes(term), types.Bytea, false, false)
}

// primaryOf is the part of an entry's key that is the row's primary key.
func (x *indexCodec) primaryOf(key []byte) ([]byte, error) {
	if len(key) < len(x.prefix)+1 {
		return nil, rowenc.ErrCorrupt
	}
	return rowenc.SkipKey(key[len(x.prefix)+1:], types.Bytea, false)
}

// invertedKeys are the keys of a row's entries, ascending.
func (w *writer) invertedKeys(x *indexCodec, row, exprs []types.Datum) [][]byte {
	var out [][]byte
	for i, k := range x.ix.Keys {
		var d types.Datum
		if k.Col >= 0 {
			d = row[k.Col]
		} else {
			d = exprs[i]
		}
		for _, term := range k.Class.Terms(d, k.T) {
			out = append(out, w.carve(func(b []byte) []byte {
				return w.codec.appendPK(x.invertedPrefix(b, i, term), row)
			}))
		}
	}
	return out
}

func (w *writer) putTerms(keys [][]byte) error {
	for _, k := range keys {
		if err := w.s.env.Txn.Put(k, nil); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) delTerms(keys [][]byte) error {
	for _, k := range keys {
		if err := w.s.env.Txn.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// termChanges compares two ascending lists of keys.
func termChanges(before, after [][]byte) (gone, came [][]byte) {
	for len(before) > 0 && len(after) > 0 {
		switch c := bytes.Compare(before[0], after[0]); {
		case c < 0:
			gone, before = append(gone, before[0]), before[1:]
		case c > 0:
			came, after = append(came, after[0]), after[1:]
		default:
			before, after = before[1:], after[1:]
		}
	}
	return append(gone, before...), append(came, after...)
}

package builtin

import (
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/textsearch"
	"github.com/meridian-db/meridian/sql/types"
)

// registerLexize registers what shows the work of text search: dictionaries, and the way from text to lexemes.
func registerLexize(l library) {
	l.fn("ts_lexize", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		d := textsearch.DictionaryByOID(uint32(a[0].Int()))
		if d == nil {
			return types.Null, pgerr.New(pgerr.UndefinedObject, "text search dictionary with OID %d does not exist", uint32(a[0].Int()))
		}
		return textArray(d.Lexize(a[1].Str())), nil
	})
	debug := func(c *textsearch.Config, text string) (RowIter, error) {
		o := &tokenDebug{}
		for t := range textsearch.Tokens(text) {
			row := []types.Datum{types.NewString(""), types.NewString(""), types.NewString(t.Text), types.Null, types.Null, types.Null}
			for _, k := range textsearch.Kinds {
				if k.Kind == t.Kind {
					row[0], row[1] = types.NewString(k.Alias), types.NewString(k.Description)
				}
			}
			var oids []types.Datum
			if d := c.Dictionary(t.Kind); d != nil {
				oids = append(oids, types.NewInt(int64(d.OID)))
				row[4], row[5] = types.NewInt(int64(d.OID)), textArray(d.Lexize(t.Text))
			}
			row[3] = types.NewArrayOf(types.Regdictionary, oids)
			o.rest = append(o.rest, row)
		}
		return o, nil
	}
	l.rows("ts_debug(regconfig text)", func(_ *Ctx, a []types.Datum) (RowIter, error) {
		c, err := textConfig(a[0])
		if err != nil {
			return nil, err
		}
		return debug(c, a[1].Str())
	})
	l.rows("ts_debug(text)", func(ctx *Ctx, a []types.Datum) (RowIter, error) {
		c, err := currentTextConfig(ctx)
		if err != nil {
			return nil, err
		}
		return debug(c, a[0].Str())
	})
}

// tokenDebug are the rows of ts_debug.
type tokenDebug struct{ rest [][]types.Datum }

// Next implements RowIter.
func (o *tokenDebug) Next() ([]types.Datum, bool, error) {
	if len(o.rest) == 0 {
		return nil, false, nil
	}
	row := o.rest[0]
	o.rest = o.rest[1:]
	return row, true, nil
}

func textArray(list []string) types.Datum {
	out := []types.Datum{}
	for _, s := range list {
		out = append(out, types.NewString(strings.Clone(s)))
	}
	return types.NewArrayOf(types.Text, out)
}

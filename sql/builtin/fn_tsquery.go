package builtin

import (
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/textsearch"
	"github.com/meridian-db/meridian/sql/types"
)

// registerTextStatements registers the functions of text search that run a statement given as text.
func registerTextStatements(l library) {
	run := func(c *Ctx, name, text string, emit func(ts []*types.T, row []types.Datum) error) error {
		if c == nil || c.Query == nil {
			return pgerr.Unsupported("function %s is not supported here", name)
		}
		return c.Query(text, emit)
	}
	l.fn("tsquery_rewrite_query", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		q := types.TSQueryOf(a[0])
		err := run(c, "ts_rewrite", a[1].Str(), func(ts []*types.T, row []types.Datum) error {
			if len(ts) != 2 || ts[0] != types.ByInternalName("tsquery") || ts[1] != ts[0] {
				return pgerr.New(pgerr.InvalidParameterValue, "ts_rewrite query must return two tsquery columns")
			}
			if q != nil && !row[0].IsNull() && !row[1].IsNull() {
				q = textsearch.Rewrite(q, types.TSQueryOf(row[0]), types.TSQueryOf(row[1]))
			}
			return nil
		})
		return types.NewTSQueryDatum(q), err
	})
	stat := func(c *Ctx, a []types.Datum) (RowIter, error) {
		weights := uint8(0)
		if len(a) > 1 {
			for _, r := range []byte(a[1].Str()) {
				// PostgreSQL skips what is no weight.
				if w := strings.IndexByte("dcba", r|0x20); w >= 0 {
					weights |= 1 << w
				}
			}
		}
		type count struct{ docs, entries int64 }
		counts := map[string]*count{}
		err := run(c, "ts_stat", a[0].Str(), func(ts []*types.T, row []types.Datum) error {
			if len(ts) != 1 || ts[0] != types.ByInternalName("tsvector") {
				return pgerr.New(pgerr.InvalidParameterValue, "ts_stat query must return one tsvector column")
			}
			if row[0].IsNull() {
				return nil
			}
			for _, w := range types.TSVectorOf(row[0]) {
				n := int64(len(w.Pos))
				if len(a) > 1 && weights != 0 {
					n = 0
					for _, p := range w.Pos {
						if weights&(1<<p.Weight()) != 0 {
							n++
						}
					}
					if n == 0 {
						continue
					}
				}
				k := counts[w.Word]
				if k == nil {
					k = &count{}
					counts[strings.Clone(w.Word)] = k
				}
				k.docs, k.entries = k.docs+1, k.entries+max(n, 1)
			}
			return nil
		})
		words := []string{}
		for w := range counts {
			words = append(words, w)
		}
		slices.Sort(words)
		o := &tokenDebug{}
		for _, w := range words {
			o.rest = append(o.rest, []types.Datum{types.NewString(w), types.NewInt(counts[w].docs), types.NewInt(counts[w].entries)})
		}
		return o, err
	}
	l.rows("ts_stat1", stat)
	l.rows("ts_stat2", stat)
}

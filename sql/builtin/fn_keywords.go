package builtin

import (
	"maps"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/types"
)

// labelsNeedAs are the keywords that name a column of a SELECT only behind AS.
var labelsNeedAs = " " + strings.Join(strings.Fields(`
array as char character create day except fetch filter for from grant group having hour intersect into isnull limit minute
month notnull offset on order over overlaps precision returning second to union varying where window with within without
year`), " ") + " "

var keywordKinds = map[parser.Keyword]string{
	parser.KeywordUnreserved: "unreserved",
	parser.KeywordColName:    "unreserved (cannot be function or type name)",
	parser.KeywordTypeFunc:   "reserved (can be function or type name)",
	parser.KeywordReserved:   "reserved",
}

func registerKeywords(l library) {
	l.rows("pg_get_keywords", func(_ *Ctx, _ []types.Datum) (RowIter, error) {
		all := parser.Keywords()
		var out [][]types.Datum
		for _, w := range slices.Sorted(maps.Keys(all)) {
			bare, label := true, "can be bare label"
			if strings.Contains(labelsNeedAs, " "+w+" ") {
				bare, label = false, "requires AS"
			}
			out = append(out, []types.Datum{types.NewString(w), types.NewString(string(rune(all[w]))), types.NewBool(bare),
				types.NewString(keywordKinds[all[w]]), types.NewString(label)})
		}
		return &listIter{out}, nil
	})
}

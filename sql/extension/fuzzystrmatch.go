package extension

import (
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// maxLevenshtein is how long the strings may be, in characters.
const maxLevenshtein = 255

// The functions of fuzzystrmatch, but for the two kinds of metaphone.
func init() {
	eval("soundex", func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewString(soundex(a[0].Str())), nil
	})
	eval("difference", func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
		x, y := soundex(a[0].Str()), soundex(a[1].Str())
		same := int64(0)
		for i := range min(len(x), len(y)) {
			if x[i] == y[i] {
				same++
			}
		}
		if x == "" && y == "" {
			same = 4
		}
		return types.NewInt(same), nil
	})
	distance := func(costs, bounded bool) builtin.EvalFunc {
		return func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
			ins, del, sub := int64(1), int64(1), int64(1)
			if costs {
				ins, del, sub = a[2].Int(), a[3].Int(), a[4].Int()
			}
			d, err := levenshtein([]rune(a[0].Str()), []rune(a[1].Str()), ins, del, sub)
			if most := a[len(a)-1].Int(); err == nil && bounded && most >= 0 && d > most {
				d = most + 1
			}
			return types.NewInt(d), err
		}
	}
	eval("levenshtein", distance(false, false))
	eval("levenshtein_with_costs", distance(true, false))
	eval("levenshtein_less_equal", distance(false, true))
	eval("levenshtein_less_equal_with_costs", distance(true, true))
}

// levenshtein returns the least cost of turning one string into another.
func levenshtein(from, to []rune, insert, remove, replace int64) (int64, error) {
	if len(from) > maxLevenshtein || len(to) > maxLevenshtein {
		return 0, pgerr.New(pgerr.InvalidParameterValue, "levenshtein argument exceeds maximum length of %d characters", maxLevenshtein)
	}
	// row[j] is the cost of turning what has been read of from into to[:j].
	row := make([]int64, len(to)+1)
	for j := range row {
		row[j] = int64(j) * insert
	}
	for _, r := range from {
		diagonal := row[0]
		row[0] += remove
		for j, s := range to {
			best := diagonal
			if r != s {
				best += replace
			}
			diagonal = row[j+1]
			row[j+1] = min(best, row[j+1]+remove, row[j]+insert)
		}
	}
	return row[len(to)], nil
}

// soundex returns the code of a name: its first letter and three digits for the consonants after it.
func soundex(name string) string {
	const codes = "01230120022455012623010202" // of A to Z
	upper := func(c byte) byte {
		if 'a' <= c && c <= 'z' {
			return c - 'a' + 'A'
		}
		return c
	}
	letter := func(c byte) bool { return 'A' <= c && c <= 'Z' }
	code := func(c byte) byte {
		if letter(c) {
			return codes[c-'A']
		}
		return c
	}
	i := 0
	for i < len(name) && !letter(upper(name[i])) {
		i++
	}
	if i == len(name) {
		return ""
	}
	out := append(make([]byte, 0, 4), upper(name[i]))
	for i++; i < len(name) && len(out) < 4; i++ {
		c, before := upper(name[i]), upper(name[i-1])
		if letter(c) && code(c) != code(before) && code(c) != '0' {
			out = append(out, code(c))
		}
	}
	for len(out) < 4 {
		out = append(out, '0')
	}
	return string(out)
}

package extension

import (
	"slices"
	"strconv"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/inverted"
	"github.com/meridian-db/meridian/sql/types"
)

type trigram = inverted.Trigram

// trigrams are the different trigrams of a text, sorted.
func trigrams(s string) []trigram {
	list, _ := inverted.WordTrigrams(s)
	slices.SortFunc(list, func(a, b trigram) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(list)
}

// share is how many of the elements of two sets are in both.
func share(common, a, b int) float32 {
	if common == 0 {
		return 0
	}
	return float32(common) / float32(a+b-common)
}

// similarity is the share of the trigrams of two texts that both have.
func similarity(a, b string) float32 {
	x, y := trigrams(a), trigrams(b)
	common := 0
	for i, j := 0, 0; i < len(x) && j < len(y); {
		switch c := slices.Compare(x[i][:], y[j][:]); {
		case c < 0:
			i++
		case c > 0:
			j++
		default:
			common, i, j = common+1, i+1, j+1
		}
	}
	return share(common, len(x), len(y))
}

// wordSimilarity is the greatest similarity of a text to a part of another: to any stretch of its trigrams, or, when it
// is strict, to any number of whole words.
func wordSimilarity(ctx *builtin.Ctx, part, text string, strict bool) (float32, error) {
	want := map[trigram]bool{}
	for _, t := range trigrams(part) {
		want[t] = true
	}
	list, ends := inverted.WordTrigrams(text)
	// A stretch that begins or ends with a trigram that is not wanted is worse than the one without it.
	var from, to []int
	if strict {
		from, to = append([]int{0}, ends...), ends
	} else {
		for i, t := range list {
			if want[t] {
				from, to = append(from, i), append(to, i+1)
			}
		}
	}
	best := float32(0)
	seen := map[trigram]bool{}
	for _, i := range from {
		if ctx != nil && ctx.Context != nil && ctx.Context.Err() != nil {
			return 0, ctx.Context.Err()
		}
		clear(seen)
		common, at := 0, i
		for _, j := range to {
			for ; at < j; at++ {
				if t := list[at]; !seen[t] {
					seen[t] = true
					if want[t] {
						common++
					}
				}
			}
			if at > i {
				best = max(best, share(common, len(want), len(seen)))
			}
			if len(seen) > len(want) && float32(len(want)) <= best*float32(len(seen)) {
				break // even if all were found, so long a stretch could not be better
			}
		}
	}
	return best, nil
}

// threshold is the setting that says how similar two texts are for an operator.
func threshold(ctx *builtin.Ctx, name string, standard float32) float32 {
	if ctx != nil && ctx.Session != nil {
		if s, ok := ctx.Session.Setting("pg_trgm." + name); ok {
			if v, err := strconv.ParseFloat(s, 32); err == nil {
				return float32(v)
			}
		}
	}
	return standard
}

// measure is one of the three measures of similarity.
type measure struct {
	symbol   string
	setting  string
	standard float32
	of       func(ctx *builtin.Ctx, a, b string) (float32, error)
}

func floatDatum(f float32) types.Datum { return types.NewFloat(float64(f)) }

// The functions of pg_trgm.
func init() {
	for _, m := range []measure{
		{"similarity", "similarity_threshold", 0.3, func(_ *builtin.Ctx, a, b string) (float32, error) { return similarity(a, b), nil }},
		{"word_similarity", "word_similarity_threshold", 0.6, func(ctx *builtin.Ctx, a, b string) (float32, error) {
			return wordSimilarity(ctx, a, b, false)
		}},
		{"strict_word_similarity", "strict_word_similarity_threshold", 0.5, func(ctx *builtin.Ctx, a, b string) (float32, error) {
			return wordSimilarity(ctx, a, b, true)
		}},
	} {
		register := func(symbol string, swap bool, result func(ctx *builtin.Ctx, s float32) types.Datum) {
			eval(symbol, func(ctx *builtin.Ctx, a []types.Datum) (types.Datum, error) {
				x, y := a[0].Str(), a[1].Str()
				if swap {
					x, y = y, x
				}
				s, err := m.of(ctx, x, y)
				if err != nil {
					return types.Null, err
				}
				return result(ctx, s), nil
			})
		}
		alike := func(ctx *builtin.Ctx, s float32) types.Datum {
			return types.NewBool(s >= threshold(ctx, m.setting, m.standard))
		}
		distance := func(_ *builtin.Ctx, s float32) types.Datum { return floatDatum(1 - s) }
		register(m.symbol, false, func(_ *builtin.Ctx, s float32) types.Datum { return floatDatum(s) })
		register(m.symbol+"_op", false, alike)
		register(m.symbol+"_commutator_op", true, alike)
		register(m.symbol+"_dist_op", false, distance)
		register(m.symbol+"_dist_commutator_op", true, distance)
	}
	natives["similarity_dist"] = natives["similarity_dist_op"]
	eval("show_limit", func(ctx *builtin.Ctx, _ []types.Datum) (types.Datum, error) {
		return floatDatum(threshold(ctx, "similarity_threshold", 0.3)), nil
	})
	eval("set_limit", func(ctx *builtin.Ctx, a []types.Datum) (types.Datum, error) {
		_, err := ctx.Session.SetSetting("pg_trgm.similarity_threshold", strconv.FormatFloat(a[0].Float(), 'g', -1, 32), false)
		return a[0], err
	})
	eval("show_trgm", func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
		var out []types.Datum
		for _, t := range trigrams(a[0].Str()) {
			out = append(out, types.NewString(string(t[:])))
		}
		return types.NewArrayOf(types.Text, out), nil
	})
}

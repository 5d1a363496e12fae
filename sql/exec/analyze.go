package exec

import (
	"math"
	"slices"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

const (
	// analyzeSample is how many rows statistics are made of: PostgreSQL's 300 for each entry of the target.
	analyzeSample = 30_000
	analyzeTarget = 100 // common values and histogram parts, default_statistics_target
	// wideValue is how long a value may be to be kept in statistics, as PostgreSQL's WIDTH_THRESHOLD.
	wideValue = 1024
)

// columnStats judges one column by a sample in table order of a table of total rows.
func columnStats(col *plan.TableColumn, sample []types.Datum, total float64, target int) catalog.ColumnStats {
	if target < 0 {
		target = analyzeTarget
	}
	t := col.T.BaseType()
	st := catalog.ColumnStats{Num: col.AttNum}
	type value struct {
		d   types.Datum
		pos int
	}
	var vals []value
	nulls, width, wide := 0, 0.0, 0
	for i, d := range sample {
		if d.IsNull() {
			nulls++
			continue
		}
		b := float64(datumBytes(d))
		switch {
		case t.Size > 0:
			b = float64(t.Size)
		case t.Kind == types.KindNumeric:
			b = 6
		case t.Kind == types.KindString || t.Kind == types.KindBytes:
			b++ // a length byte
		}
		width += b
		if b > wideValue {
			wide++
			continue
		}
		vals = append(vals, value{d, i})
	}
	n := float64(len(sample))
	st.NullFrac = float64(nulls) / n
	notNull := len(sample) - nulls
	if notNull == 0 {
		st.NDistinct = 0
		return st
	}
	st.AvgWidth = width / float64(notNull)
	if !sortable(t) || len(vals) == 0 {
		st.NDistinct = -1 * (1 - st.NullFrac)
		return st
	}
	slices.SortStableFunc(vals, func(a, b value) int { return types.Compare(t, a.d, b.d) })
	// Runs of equal values.
	type run struct {
		at, n int
	}
	var runs []run
	once := 0
	for i := 0; i < len(vals); {
		j := i + 1
		for j < len(vals) && types.Compare(t, vals[i].d, vals[j].d) == 0 {
			j++
		}
		runs = append(runs, run{i, j - i})
		if j-i == 1 {
			once++
		}
		i = j
	}
	d, f1 := float64(len(runs))+float64(wide), float64(once)+float64(wide)
	switch {
	case f1 == float64(notNull):
		// No value came twice: take the column for unique.
		st.NDistinct = -1 * (1 - st.NullFrac)
	case f1 == 0 && float64(len(sample)) <= total:
		st.NDistinct = d // each value came more than once: there are hardly more
	default:
		// Haas and Stokes' Duj1 estimator, which PostgreSQL uses as well.
		in := total * (1 - st.NullFrac)
		m := float64(notNull)
		est := m * d / (m - f1 + f1*m/math.Max(m, in))
		st.NDistinct = math.Min(math.Max(est, d), in)
	}
	if st.NDistinct > 0.1*total {
		st.NDistinct = -st.NDistinct / total
	}
	// The most common values: all, when they are few; otherwise those clearly above the average.
	order := make([]int, len(runs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return runs[b].n - runs[a].n })
	keep := min(target, len(order))
	if len(runs) > target || f1 > 0 || wide > 0 {
		avg := float64(notNull) / math.Max(1, distinctCount(st.NDistinct, total))
		least := math.Max(2, avg*1.25)
		for k := range keep {
			if float64(runs[order[k]].n) < least {
				keep = k
				break
			}
		}
	}
	common := map[int]bool{}
	for _, r := range order[:keep] {
		common[r] = true
		st.Common = append(st.Common, statText(vals[runs[r].at].d, t))
		st.CommonFreqs = append(st.CommonFreqs, float64(runs[r].n)/n)
	}
	// A histogram of the rest.
	if rest := len(runs) - keep; rest >= 2 {
		var left []types.Datum
		for i, r := range runs {
			if !common[i] {
				for k := range r.n {
					left = append(left, vals[r.at+k].d)
				}
			}
		}
		bounds := min(target+1, rest)
		for i := range bounds {
			st.Histogram = append(st.Histogram, statText(left[i*(len(left)-1)/(bounds-1)], t))
		}
	}
	// How far the table's order follows the column's: Pearson's correlation of the positions.
	if m := float64(len(vals)); m > 1 {
		var sxy float64
		pos := make([]int, len(vals)) // rank by position
		for i := range pos {
			pos[i] = i
		}
		slices.SortFunc(pos, func(a, b int) int { return vals[a].pos - vals[b].pos })
		for rank, i := range pos {
			sxy += float64(i) * float64(rank)
		}
		sx := m * (m - 1) / 2
		sxx := m * (m - 1) * (2*m - 1) / 6
		st.Correlation = (m*sxy - sx*sx) / (m*sxx - sx*sx)
	}
	return st
}

func distinctCount(nd, total float64) float64 {
	if nd < 0 {
		return -nd * total
	}
	return nd
}

// sortable reports whether values of a type have a default order.
func sortable(t *types.T) bool {
	switch t.Kind {
	case types.KindTuple, types.KindOther:
		return false
	}
	return t.OID != types.OIDJSON && t.OID != types.OIDXML
}

func statText(d types.Datum, t *types.T) string {
	return string(types.AppendText(nil, d, t, nil))
}

package partition

import (
	"slices"

	"github.com/meridian-db/meridian/sql/types"
)

// Cond is what is known of one column of the key. Conditions hold together; the zero Cond says nothing.
type Cond struct {
	// In, when set, lists the values the column may have; NULL only by IS NULL.
	In   []types.Datum
	IsIn bool
	// Lower and Upper bound the column, which is then not NULL.
	Lower, Upper         *types.Datum
	LowerOpen, UpperOpen bool
}

// bounded reports whether the condition excludes anything.
func (c *Cond) bounded() bool { return c.IsIn || c.Lower != nil || c.Upper != nil }

// maxPoints bounds the keys that Prune looks up one by one.
const maxPoints = 256

// Prune marks the partitions that may hold rows which satisfy the conditions, one for each column of the key.
func (s *Set) Prune(conds []Cond) []bool {
	live := make([]bool, len(s.Bounds))
	if len(live) == 0 {
		return live
	}
	if s.Strategy == Heirs {
		for i := range live {
			live[i] = true
		}
		return live
	}
	all := func() []bool {
		for i := range live {
			live[i] = true
		}
		return live
	}
	mark := func(i int) {
		if i >= 0 {
			live[i] = true
		}
	}
	if keys, ok := s.points(conds); ok {
		for _, k := range keys {
			mark(s.Find(k))
		}
		return live
	}
	switch s.Strategy {
	case Hash:
		return all()
	case List:
		c := &conds[0]
		if !c.bounded() {
			return all()
		}
		for _, v := range s.values {
			if s.inside(c, v.d) {
				live[v.at] = true
			}
		}
		mark(s.Default)
		return live
	}
	if !conds[0].bounded() {
		return all()
	}
	lo, up, null := s.span(conds)
	if null {
		mark(s.Default)
		return live
	}
	last := []Value(nil)
	gap := false
	for _, i := range s.order {
		b := &s.Bounds[i]
		if s.before(b.Upper, lo) || s.after(b.Lower, up) {
			continue
		}
		live[i] = true
		// The default partition holds what lies between the others.
		if last == nil {
			gap = gap || !s.covers(b.Lower, lo)
		} else {
			gap = gap || s.compare(last, b.Lower) != 0
		}
		last = b.Upper
	}
	// It also holds the keys with a NULL.
	nullable := slices.ContainsFunc(conds, func(c Cond) bool {
		return !c.bounded() || slices.ContainsFunc(c.In, types.Datum.IsNull)
	})
	if last == nil || gap || nullable || !s.reaches(last, up) {
		mark(s.Default)
	}
	return live
}

// points lists the keys when every column has a list of values, and there are few.
func (s *Set) points(conds []Cond) ([][]types.Datum, bool) {
	n := 1
	for i := range conds {
		if !conds[i].IsIn {
			return nil, false
		}
		if n *= len(conds[i].In); n > maxPoints {
			return nil, false
		}
	}
	keys := [][]types.Datum{nil}
	for i := range conds {
		var next [][]types.Datum
		for _, k := range keys {
			for _, d := range conds[i].In {
				if !d.IsNull() && !s.insideBounds(&conds[i], i, d) {
					continue
				}
				next = append(next, append(slices.Clip(k), d))
			}
		}
		keys = next
	}
	return keys, true
}

func (s *Set) inside(c *Cond, d types.Datum) bool {
	if c.IsIn && !slices.ContainsFunc(c.In, func(x types.Datum) bool { return !x.IsNull() && types.Compare(s.Types[0], x, d) == 0 }) {
		return false
	}
	return s.insideBounds(c, 0, d)
}

func (s *Set) insideBounds(c *Cond, col int, d types.Datum) bool {
	if c.Lower != nil {
		if k := types.Compare(s.Types[col], d, *c.Lower); k < 0 || k == 0 && c.LowerOpen {
			return false
		}
	}
	if c.Upper != nil {
		if k := types.Compare(s.Types[col], d, *c.Upper); k > 0 || k == 0 && c.UpperOpen {
			return false
		}
	}
	return true
}

// edge is one side of the interval of keys that conditions allow: the values of the leading columns, and
// whether keys that begin with them are outside.
type edge struct {
	vals []types.Datum
	open bool
}

// span is the interval of keys in row order; null says that only keys with a NULL can satisfy the conditions.
func (s *Set) span(conds []Cond) (lo, up edge, null bool) {
	for i := range conds {
		c := &conds[i]
		if c.IsIn {
			var vals []types.Datum
			for _, d := range c.In {
				if !d.IsNull() {
					vals = append(vals, d)
				}
			}
			if len(vals) == 0 {
				return lo, up, true
			}
			least := slices.MinFunc(vals, func(a, b types.Datum) int { return types.Compare(s.Types[i], a, b) })
			most := slices.MaxFunc(vals, func(a, b types.Datum) int { return types.Compare(s.Types[i], a, b) })
			lo.vals, up.vals = append(lo.vals, least), append(up.vals, most)
			if len(vals) > 1 && types.Compare(s.Types[i], least, most) != 0 {
				return lo, up, false
			}
			continue
		}
		if c.Lower != nil {
			lo.vals, lo.open = append(lo.vals, *c.Lower), c.LowerOpen
		}
		if c.Upper != nil {
			up.vals, up.open = append(up.vals, *c.Upper), c.UpperOpen
		}
		break
	}
	return lo, up, false
}

// cmpEdge orders a bound and the leading values of an edge; zero when the bound's own leading values equal them,
// whatever follows.
func (s *Set) cmpEdge(b []Value, e *edge) (c int, full bool) {
	for i, d := range e.vals {
		if b[i].Kind != Literal {
			return int(b[i].Kind), true
		}
		if c := types.Compare(s.Types[i], b[i].D, d); c != 0 {
			return c, true
		}
	}
	return 0, len(e.vals) == len(b)
}

// before reports whether all keys below an upper bound lie outside the lower edge.
func (s *Set) before(upper []Value, lo edge) bool {
	c, full := s.cmpEdge(upper, &lo)
	if c != 0 {
		return c < 0
	}
	// Keys that begin with the edge's values may lie below the bound if it goes on.
	return len(lo.vals) > 0 && (full || lo.open || s.minFrom(upper, len(lo.vals)))
}

// minFrom reports whether a bound goes on with MINVALUE, so that no key of its leading values is below it.
func (s *Set) minFrom(b []Value, n int) bool { return n < len(b) && b[n].Kind == MinValue }

// after reports whether all keys at or above a lower bound lie outside the upper edge.
func (s *Set) after(lower []Value, up edge) bool {
	if len(up.vals) == 0 {
		return false
	}
	c, _ := s.cmpEdge(lower, &up)
	if c != 0 {
		return c > 0
	}
	return up.open
}

// covers reports whether a lower bound lies at or below every key of the interval.
func (s *Set) covers(lower []Value, lo edge) bool {
	if len(lo.vals) == 0 {
		return lower[0].Kind == MinValue
	}
	c, full := s.cmpEdge(lower, &lo)
	return c < 0 || c == 0 && (full || lo.open || s.minFrom(lower, len(lo.vals)))
}

// reaches reports whether an upper bound lies above every key of the interval.
func (s *Set) reaches(upper []Value, up edge) bool {
	if len(up.vals) == 0 {
		return upper[0].Kind == MaxValue
	}
	c, _ := s.cmpEdge(upper, &up)
	return c > 0 || c == 0 && up.open
}

package types

import "slices"

// Multirange is a set of values as ranges in order, none of them empty, and no two of them adjacent or overlapping.
type Multirange struct {
	Type   *T // the multirange type
	Ranges []*Range
}

// MakeMultirange makes a multirange of any ranges of its type.
func MakeMultirange(t *T, ranges []*Range) (*Multirange, error) {
	in := slices.DeleteFunc(slices.Clone(ranges), func(r *Range) bool { return r.Empty })
	slices.SortStableFunc(in, (*Range).Compare)
	m := &Multirange{Type: t}
	for _, r := range in {
		n := len(m.Ranges)
		if n == 0 || m.Ranges[n-1].Before(r) && !m.Ranges[n-1].Adjacent(r) {
			m.Ranges = append(m.Ranges, r)
			continue
		}
		merged, err := m.Ranges[n-1].Union(r, false)
		if err != nil {
			return nil, err
		}
		m.Ranges[n-1] = merged
	}
	return m, nil
}

func multirangeDatum(m *Multirange, err error) (Datum, error) {
	if err != nil {
		return Null, err
	}
	return NewMultirange(m), nil
}

// Compare orders multiranges range by range, a prefix first.
func (m *Multirange) Compare(o *Multirange) int {
	return slices.CompareFunc(m.Ranges, o.Ranges, (*Range).Compare)
}

// Span returns the range from the first lower to the last upper bound.
func (m *Multirange) Span() *Range {
	if len(m.Ranges) == 0 {
		return EmptyRange(m.Type.Sub)
	}
	first, last := m.Ranges[0], m.Ranges[len(m.Ranges)-1]
	return &Range{Type: m.Type.Sub, Lower: first.Lower, LowerInc: first.LowerInc, Upper: last.Upper, UpperInc: last.UpperInc}
}

// from returns the ranges that do not end before r begins.
func (m *Multirange) from(r *Range) []*Range {
	i, _ := slices.BinarySearchFunc(m.Ranges, r, func(x, r *Range) int {
		if x.Before(r) {
			return -1
		}
		return 1
	})
	return m.Ranges[i:]
}

// Overlaps reports whether the multirange has a point in common with a range.
func (m *Multirange) Overlaps(r *Range) bool {
	if r.Empty {
		return false
	}
	rest := m.from(r)
	return len(rest) > 0 && rest[0].Overlaps(r)
}

// Contains reports whether every point of a range is in the multirange.
func (m *Multirange) Contains(r *Range) bool {
	if r.Empty {
		return true
	}
	rest := m.from(r)
	return len(rest) > 0 && rest[0].Contains(r)
}

// ContainsValue reports whether a value of the subtype is in the multirange.
func (m *Multirange) ContainsValue(d Datum) bool {
	return m.Contains(&Range{Type: m.Type.Sub, Lower: d, Upper: d, LowerInc: true, UpperInc: true})
}

// Minus returns what of m is not in o.
func (m *Multirange) Minus(o *Multirange) (*Multirange, error) {
	out := &Multirange{Type: m.Type}
	for _, r := range m.Ranges {
		left := []*Range{r}
		for _, x := range o.from(r) {
			last := left[len(left)-1]
			if last.Before(x) {
				break
			}
			pieces, err := last.Minus(x)
			if err != nil {
				return nil, err
			}
			if left = append(left[:len(left)-1], pieces...); len(left) == 0 {
				break
			}
		}
		out.Ranges = append(out.Ranges, left...)
	}
	return out, nil
}

// Intersect returns what m and o have in common.
func (m *Multirange) Intersect(o *Multirange) (*Multirange, error) {
	var out []*Range
	for _, r := range m.Ranges {
		for _, x := range o.from(r) {
			if r.Before(x) {
				break
			}
			c, err := r.Intersect(x)
			if err != nil {
				return nil, err
			}
			out = append(out, c)
		}
	}
	return MakeMultirange(m.Type, out)
}

package partition

import (
	"slices"
	"sort"

	"github.com/meridian-db/meridian/sql/types"
)

// Strategy is LIST, RANGE or HASH, as pg_partitioned_table.partstrat has it.
type Strategy byte

const (
	List  Strategy = 'l'
	Range Strategy = 'r'
	Hash  Strategy = 'h'
	Heirs Strategy = 'i' // a table and those that inherit from it: nothing says where a row belongs
)

// Kind tells values of a range bound from its infinities.
type Kind int8

const (
	MinValue Kind = -1
	Literal  Kind = 0
	MaxValue Kind = 1
)

// Value is one value of a range bound.
type Value struct {
	Kind Kind
	D    types.Datum // of a Literal
}

// Bound is what one partition holds.
type Bound struct {
	Default            bool
	List               []types.Datum // LIST; NULL among them
	Lower, Upper       []Value       // RANGE: Lower <= row < Upper
	Modulus, Remainder int           // HASH
}

// Set is one level of partitioning. Partitions are known by their position in the list given to NewSet.
type Set struct {
	Strategy Strategy
	Types    []*types.T // of the key
	Bounds   []Bound
	// Default is the position of the default partition, -1 if there is none.
	Default int
	// order has the positions of the other partitions: by lower bound, by smallest value, by modulus and
	// remainder.
	order []int
	// values has LIST's values, sorted, with the position of each; nulls is the position of NULL's.
	values []listValue
	nulls  int
	// slots has, for HASH, the position for each remainder of the greatest modulus.
	slots []int
}

type listValue struct {
	d  types.Datum
	at int
}

// NewSet makes a set. The bounds must not overlap (Overlap tells).
func NewSet(st Strategy, key []*types.T, bounds []Bound) *Set {
	s := &Set{Strategy: st, Types: key, Bounds: bounds, Default: -1, nulls: -1}
	for i := range bounds {
		b := &bounds[i]
		if b.Default {
			s.Default = i
			continue
		}
		s.order = append(s.order, i)
		for _, d := range b.List {
			if d.IsNull() {
				s.nulls = i
			} else {
				s.values = append(s.values, listValue{d, i})
			}
		}
	}
	switch st {
	case List:
		slices.SortFunc(s.values, func(a, b listValue) int { return types.Compare(key[0], a.d, b.d) })
		first := map[int]int{}
		for i := len(s.values) - 1; i >= 0; i-- {
			first[s.values[i].at] = i
		}
		rank := func(at int) int {
			if r, ok := first[at]; ok {
				return r
			}
			return len(s.values) // only NULL
		}
		slices.SortStableFunc(s.order, func(a, b int) int { return rank(a) - rank(b) })
	case Range:
		slices.SortStableFunc(s.order, func(a, b int) int { return s.compare(bounds[a].Lower, bounds[b].Lower) })
	case Hash:
		slices.SortStableFunc(s.order, func(a, b int) int {
			if d := bounds[a].Modulus - bounds[b].Modulus; d != 0 {
				return d
			}
			return bounds[a].Remainder - bounds[b].Remainder
		})
		most := 1
		for _, i := range s.order {
			most = max(most, bounds[i].Modulus)
		}
		s.slots = make([]int, most)
		for i := range s.slots {
			s.slots[i] = -1
		}
		for _, i := range s.order {
			for r := bounds[i].Remainder; r < most; r += bounds[i].Modulus {
				s.slots[r] = i
			}
		}
	}
	return s
}

// Order lists the partitions' positions in the order of their bounds, the default one last.
func (s *Set) Order() []int {
	out := slices.Clone(s.order)
	if s.Default >= 0 {
		out = append(out, s.Default)
	}
	return out
}

// compare orders two range bounds.
func (s *Set) compare(a, b []Value) int {
	for i := range a {
		if a[i].Kind != b[i].Kind {
			return int(a[i].Kind) - int(b[i].Kind)
		}
		if a[i].Kind != Literal {
			return 0 // what follows an infinity does not matter
		}
		if c := types.Compare(s.Types[i], a[i].D, b[i].D); c != 0 {
			return c
		}
	}
	return 0
}

// compareKey orders a bound and a key: negative when the bound is at or below it.
func (s *Set) compareKey(b []Value, key []types.Datum) int {
	for i := range b {
		if b[i].Kind != Literal {
			return int(b[i].Kind)
		}
		if c := types.Compare(s.Types[i], b[i].D, key[i]); c != 0 {
			return c
		}
	}
	return 0
}

// Find returns the position of the partition for a key, -1 if there is none.
func (s *Set) Find(key []types.Datum) int {
	at := -1
	switch s.Strategy {
	case List:
		if key[0].IsNull() {
			at = s.nulls
		} else if i, ok := s.search(key[0]); ok {
			at = s.values[i].at
		}
	case Range:
		for _, d := range key {
			if d.IsNull() {
				return s.Default
			}
		}
		// The last partition whose lower bound is at or below the key.
		n := sort.Search(len(s.order), func(i int) bool { return s.compareKey(s.Bounds[s.order[i]].Lower, key) > 0 })
		if n > 0 && s.compareKey(s.Bounds[s.order[n-1]].Upper, key) > 0 {
			at = s.order[n-1]
		}
	case Hash:
		return s.slots[HashKey(s.Types, key)%uint64(len(s.slots))]
	}
	if at < 0 {
		return s.Default
	}
	return at
}

func (s *Set) search(d types.Datum) (int, bool) {
	return slices.BinarySearchFunc(s.values, d, func(v listValue, d types.Datum) int { return types.Compare(s.Types[0], v.d, d) })
}

// Empty reports whether a range bound can hold nothing: its lower bound is not below its upper one.
func (s *Set) Empty(b *Bound) bool {
	return s.Strategy == Range && !b.Default && s.compare(b.Lower, b.Upper) >= 0
}

// Overlap returns the position of a partition that shares keys with a bound, -1 if there is none.
func (s *Set) Overlap(b *Bound) int {
	if b.Default {
		return s.Default
	}
	switch s.Strategy {
	case List:
		for _, d := range b.List {
			if d.IsNull() {
				if s.nulls >= 0 {
					return s.nulls
				}
			} else if i, ok := s.search(d); ok {
				return s.values[i].at
			}
		}
	case Range:
		for _, i := range s.order {
			if s.compare(b.Lower, s.Bounds[i].Upper) < 0 && s.compare(s.Bounds[i].Lower, b.Upper) < 0 {
				return i
			}
		}
	case Hash:
		for _, i := range s.order {
			// Two classes meet exactly when their remainders agree modulo the greatest common divisor.
			if g := gcd(s.Bounds[i].Modulus, b.Modulus); s.Bounds[i].Remainder%g == b.Remainder%g {
				return i
			}
		}
	}
	return -1
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Neighbours returns the positions of the partitions whose modulus is next below and above m, -1 where there is
// none: every modulus must divide the next larger one.
func (s *Set) Neighbours(m int) (below, above int) {
	below, above = -1, -1
	for _, i := range s.order {
		if s.Bounds[i].Modulus <= m {
			below = i
		} else if above < 0 {
			above = i
		}
	}
	return below, above
}

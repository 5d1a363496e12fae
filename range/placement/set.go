package placement

import (
	"bytes"
	"hash/fnv"
	"slices"
	"sort"
)

// Set is all policies of a cluster, as a function of the key. It is immutable; a nil Set has none.
type Set struct {
	spans    []SpanPolicy
	segments []segment // ascending; what lies before the first has the zero Policy
	hash     uint64
}

// segment is the keys from start to the next segment's start.
type segment struct {
	start  []byte
	policy Policy
}

// NewSet makes a Set of the records, in any order.
func NewSet(spans []SpanPolicy) *Set {
	s := &Set{spans: slices.Clone(spans)}
	slices.SortFunc(s.spans, func(a, b SpanPolicy) int { return bytes.Compare(a.Start, b.Start) })
	var bounds [][]byte
	h := fnv.New64a()
	for _, p := range s.spans {
		bounds = append(bounds, p.Start, p.End)
		if b, err := p.Encode(); err == nil {
			h.Write(b)
		}
	}
	slices.SortFunc(bounds, bytes.Compare)
	for _, b := range slices.CompactFunc(bounds, bytes.Equal) {
		s.segments = append(s.segments, segment{b, s.innermost(b)})
	}
	s.hash = h.Sum64()
	return s
}

// innermost returns the policy of the span that holds key and begins last.
func (s *Set) innermost(key []byte) Policy {
	for i := len(s.spans) - 1; i >= 0; i-- {
		if p := s.spans[i]; bytes.Compare(p.Start, key) <= 0 && bytes.Compare(key, p.End) < 0 {
			return p.Policy
		}
	}
	return Policy{}
}

// Hash is equal for sets with the same records.
func (s *Set) Hash() uint64 {
	if s == nil {
		return 0
	}
	return s.hash
}

// Spans returns the records by start. They must not be changed.
func (s *Set) Spans() []SpanPolicy {
	if s == nil {
		return nil
	}
	return s.spans
}

// At returns the policy of a key.
func (s *Set) At(key []byte) Policy { return *s.at(key) }

func (s *Set) at(key []byte) *Policy {
	if s == nil {
		return &unspoken
	}
	i := sort.Search(len(s.segments), func(i int) bool { return bytes.Compare(s.segments[i].start, key) > 0 })
	if i == 0 {
		return &unspoken
	}
	return &s.segments[i-1].policy
}

// unspoken is the policy of what has none.
var unspoken Policy

// Boundary returns the first key strictly inside (start, end) at which a policy begins or ends, nil when there is
// none. A range with one inside is to be split there; two ranges that meet at one stay apart. The meta records, below
// 0x02, are never divided.
func (s *Set) Boundary(start, end []byte) []byte {
	if s == nil {
		return nil
	}
	if bytes.Compare(start, firstDivisible) < 0 {
		start = firstDivisible
	}
	i := sort.Search(len(s.segments), func(i int) bool { return bytes.Compare(s.segments[i].start, start) > 0 })
	if i == len(s.segments) || bytes.Compare(s.segments[i].start, end) >= 0 {
		return nil
	}
	return s.segments[i].start
}

var firstDivisible = []byte{0x02}

package truetime

import "slices"

// majorityInterval returns the hull of all points that at least need of the intervals cover, and whether
// there is any. With n sources and need = n/2+1 it contains true time whenever at most n-need of them lie
// (Marzullo 1984): the honest ones all cover it, and there are at least need of them. A source that has no
// sample counts as one that covers nothing.
func majorityInterval(ivs []Interval, need int) (Interval, bool) {
	if need <= 0 || len(ivs) < need {
		return Interval{}, false
	}
	type edge struct {
		at   Timestamp
		open bool
	}
	edges := make([]edge, 0, 2*len(ivs))
	for _, iv := range ivs {
		edges = append(edges, edge{iv.Earliest, true}, edge{iv.Latest, false})
	}
	// Intervals are closed: at one point openings come first.
	slices.SortFunc(edges, func(a, b edge) int {
		switch {
		case a.at != b.at && a.at < b.at:
			return -1
		case a.at != b.at:
			return 1
		case a.open == b.open:
			return 0
		case a.open:
			return -1
		}
		return 1
	})
	var hull Interval
	depth, found := 0, false
	for _, e := range edges {
		if e.open {
			depth++
			if depth == need && !found {
				hull.Earliest, found = e.at, true
			}
			continue
		}
		if depth == need {
			hull.Latest = e.at
		}
		depth--
	}
	return hull, found
}

// intersect returns the common part of two intervals, and whether there is one.
func intersect(a, b Interval) (Interval, bool) {
	iv := Interval{Earliest: max(a.Earliest, b.Earliest), Latest: min(a.Latest, b.Latest)}
	return iv, iv.Earliest <= iv.Latest
}

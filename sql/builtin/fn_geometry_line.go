package builtin

import (
	"math"

	"github.com/meridian-db/meridian/sql/types"
)

// Lines and line segments. A point nearest to another object is found as PostgreSQL finds it, by the perpendicular
// through the point: a shorter formula would differ in the last digit, which users see.

// line is the set of points with a*x + b*y + c = 0.
type line struct{ a, b, c float64 }

// segment is the part of a line between two points.
type segment [2]point

var noPoint = point{math.NaN(), math.NaN()}

func (p point) isNaN() bool { return math.IsNaN(p.x) || math.IsNaN(p.y) }

// slope is the slope of a line through two points, math.MaxFloat64 for a vertical one.
func slope(p, q point) float64 {
	switch {
	case fpEq(p.x, q.x):
		return math.MaxFloat64
	case fpEq(p.y, q.y):
		return 0
	}
	return (p.y - q.y) / (p.x - q.x)
}

// perpendicular is the slope of the lines that are perpendicular to that through p and q.
func perpendicular(p, q point) float64 {
	switch {
	case fpEq(p.x, q.x):
		return 0
	case fpEq(p.y, q.y):
		return math.MaxFloat64
	}
	return (p.x - q.x) / (q.y - p.y)
}

func (l line) slope() float64 {
	switch {
	case nearly(l.a):
		return 0
	case nearly(l.b):
		return math.MaxFloat64
	}
	return l.a / -l.b
}

func (l line) perpendicular() float64 {
	switch {
	case nearly(l.a):
		return math.MaxFloat64
	case nearly(l.b):
		return 0
	}
	return l.b / l.a
}

// lineThrough is the line through p with slope m.
func lineThrough(p point, m float64) line {
	switch m {
	case math.MaxFloat64:
		return line{-1, 0, p.x}
	case 0:
		return line{0, -1, p.y}
	}
	return line{m, -1, p.y - m*p.x + 0} // + 0: not -0
}

// meet is the point where two lines cross; false if they are parallel.
func (l line) meet(o line) (point, bool) {
	var p point
	switch {
	case !nearly(l.b):
		if fpEq(o.a, l.a*(o.b/l.b)) {
			return p, false
		}
		p.x = (l.b*o.c - o.b*l.c) / (l.a*o.b - o.a*l.b)
		p.y = -(l.a*p.x + l.c) / l.b
	case !nearly(o.b):
		if fpEq(l.a, o.a*(l.b/o.b)) {
			return p, false
		}
		p.x = (o.b*l.c - l.b*o.c) / (o.a*l.b - l.a*o.b)
		p.y = -(o.a*p.x + o.c) / o.b
	default:
		return p, false
	}
	return point{p.x + 0, p.y + 0}, true // not -0
}

// ratio is that of the coefficients of two parallel lines.
func (l line) ratio(o line) float64 {
	usable := func(x, y float64) bool { return !nearly(x) && !math.IsNaN(x) && !nearly(y) && !math.IsNaN(y) }
	switch {
	case usable(l.a, o.a):
		return l.a / o.a
	case usable(l.b, o.b):
		return l.b / o.b
	}
	return 1
}

func (l line) same(o line) bool {
	if v := l.a + l.b + l.c + o.a + o.b + o.c; math.IsNaN(v) {
		return sameFloat(l.a, o.a) && sameFloat(l.b, o.b) && sameFloat(l.c, o.c)
	}
	r := 1.0
	switch {
	case !nearly(o.a):
		r = l.a / o.a
	case !nearly(o.b):
		r = l.b / o.b
	case !nearly(o.c):
		r = l.c / o.c
	}
	return fpEq(l.a, r*o.a) && fpEq(l.b, r*o.b) && fpEq(l.c, r*o.c)
}

func (l line) perpendicularTo(o line) bool {
	switch {
	case nearly(l.a):
		return nearly(o.b)
	case nearly(o.a):
		return nearly(l.b)
	case nearly(l.b):
		return nearly(o.a)
	case nearly(o.b):
		return nearly(l.a)
	}
	return fpEq(l.a*o.a/(l.b*o.b), -1)
}

func (l line) distance(o line) float64 {
	if _, ok := l.meet(o); ok {
		return 0
	}
	r := l.ratio(o)
	return math.Abs(l.c-r*o.c) / math.Hypot(l.a, l.b)
}

func (l line) holds(p point) bool { return nearly(l.a*p.x + l.b*p.y + l.c) }

// nearest is the point of the line that is nearest to p, and its distance.
func (l line) nearest(p point) (point, float64) {
	q, ok := lineThrough(p, l.perpendicular()).meet(l)
	if !ok {
		return noPoint, math.NaN()
	}
	return q, q.dist(p)
}

func (s segment) line() line { return lineThrough(s[0], slope(s[0], s[1])) }

func (s segment) holds(p point) bool { return fpEq(p.dist(s[0])+p.dist(s[1]), s[0].dist(s[1])) }

// meetLine is the point where the segment crosses a line.
func (s segment) meetLine(l line) (point, bool) {
	p, ok := s.line().meet(l)
	switch {
	case !ok || !s.holds(p):
		return p, false
	case s[0].eq(p):
		return s[0], true
	case s[1].eq(p):
		return s[1], true
	}
	return p, true
}

func (s segment) meet(o segment) (point, bool) {
	p, ok := s.meetLine(o.line())
	return p, ok && o.holds(p)
}

// nearestToLine is the point of the segment that is nearest to a line, and its distance.
func (s segment) nearestToLine(l line) (point, float64) {
	if p, ok := s.meetLine(l); ok {
		return p, 0
	}
	_, d0 := l.nearest(s[0])
	_, d1 := l.nearest(s[1])
	if d0 < d1 {
		return s[0], d0
	}
	return s[1], d1
}

func (s segment) nearest(p point) (point, float64) {
	q, _ := s.nearestToLine(lineThrough(p, perpendicular(s[0], s[1])))
	return q, q.dist(p)
}

// nearestTo is the point of s that is nearest to o, and its distance.
func (s segment) nearestTo(o segment) (point, float64) {
	if p, ok := s.meet(o); ok {
		return p, 0
	}
	best, d := s.nearest(o[0])
	if p, d1 := s.nearest(o[1]); d1 < d {
		best, d = p, d1
	}
	for _, p := range s {
		if _, d1 := o.nearest(p); d1 < d {
			best, d = p, d1
		}
	}
	return best, d
}

// boxEdges are the sides of a box that is given by its high and low corner, in the order in which PostgreSQL tries them.
func boxEdges(b []point) [4]segment {
	high, low := b[0], b[1]
	left, right := point{low.x, high.y}, point{high.x, low.y}
	return [4]segment{{low, left}, {high, left}, {low, right}, {high, right}}
}

func boxHolds(b []point, p point) bool {
	return b[0].x >= p.x && b[1].x <= p.x && b[0].y >= p.y && b[1].y <= p.y
}

func boxMeets(b []point, s segment) bool {
	if !fpLE(math.Min(s[0].x, s[1].x), b[0].x) || !fpLE(b[1].x, math.Max(s[0].x, s[1].x)) ||
		!fpLE(math.Min(s[0].y, s[1].y), b[0].y) || !fpLE(b[1].y, math.Max(s[0].y, s[1].y)) {
		return false
	}
	if boxHolds(b, s[0]) || boxHolds(b, s[1]) {
		return true
	}
	for _, e := range boxEdges(b) {
		if _, ok := e.meet(s); ok {
			return true
		}
	}
	return false
}

// boxNearest is the point of a box that is nearest to a segment, and its distance.
func boxNearest(b []point, s segment) (point, float64) {
	if boxMeets(b, s) {
		p, _ := s.nearest(point{(b[0].x + b[1].x) / 2, (b[0].y + b[1].y) / 2})
		return p, 0
	}
	var best point
	d := math.Inf(1)
	for i, e := range boxEdges(b) {
		if p, d1 := e.nearestTo(s); i == 0 || d1 < d {
			best, d = p, d1
		}
	}
	return best, d
}

func boxNearestPoint(b []point, p point) (point, float64) {
	if boxHolds(b, p) {
		return p, 0
	}
	var best point
	d := math.Inf(1)
	for i, e := range boxEdges(b) {
		if q, d1 := e.nearest(p); i == 0 || d1 < d {
			best, d = q, d1
		}
	}
	return best, d
}

func lineOf(s *types.Shape) line { return line{s.F[0], s.F[1], s.F[2]} }

func segmentOf(s *types.Shape) segment { return segment{{s.F[0], s.F[1]}, {s.F[2], s.F[3]}} }

// nearestPoint answers with NULL where there is no nearest point.
func nearestPoint(p point, d float64) (types.Datum, error) {
	if math.IsNaN(d) || p.isNaN() {
		return types.Null, nil
	}
	return p.datum(), nil
}

func crossingPoint(p point, ok bool) (types.Datum, error) {
	if !ok {
		return types.Null, nil
	}
	return p.datum(), nil
}

func registerLines(l library) {
	const L, S, B, P = types.OIDLine, types.OIDLseg, types.OIDBox, types.OIDPoint
	is := func(name string, f func(a []*types.Shape) bool, oids ...types.OID) {
		shapes(l, name, func(a []*types.Shape) (types.Datum, error) { return types.NewBool(f(a)), nil }, oids...)
	}
	parallel := func(a []*types.Shape) bool { _, ok := lineOf(a[0]).meet(lineOf(a[1])); return !ok }
	is("line_parallel", parallel, L, L)
	is("line_intersect", func(a []*types.Shape) bool { return !parallel(a) }, L, L)
	is("line_perp", func(a []*types.Shape) bool { return lineOf(a[0]).perpendicularTo(lineOf(a[1])) }, L, L)
	is("line_eq", func(a []*types.Shape) bool { return lineOf(a[0]).same(lineOf(a[1])) }, L, L)
	is("line_vertical", func(a []*types.Shape) bool { return nearly(a[0].F[1]) }, L)
	is("line_horizontal", func(a []*types.Shape) bool { return nearly(a[0].F[0]) }, L)
	is("lseg_intersect", func(a []*types.Shape) bool { _, ok := segmentOf(a[0]).meet(segmentOf(a[1])); return ok }, S, S)
	is("lseg_parallel", func(a []*types.Shape) bool {
		p, q := segmentOf(a[0]), segmentOf(a[1])
		return fpEq(slope(p[0], p[1]), slope(q[0], q[1]))
	}, S, S)
	is("lseg_perp", func(a []*types.Shape) bool {
		p, q := segmentOf(a[0]), segmentOf(a[1])
		return fpEq(slope(p[0], p[1]), perpendicular(q[0], q[1]))
	}, S, S)
	is("inter_sl", func(a []*types.Shape) bool { _, ok := segmentOf(a[0]).meetLine(lineOf(a[1])); return ok }, S, L)
	is("inter_sb", func(a []*types.Shape) bool { return boxMeets(pointsOf(a[1]), segmentOf(a[0])) }, S, B)
	is("inter_lb", func(a []*types.Shape) bool {
		for _, e := range boxEdges(pointsOf(a[1])) {
			if _, ok := e.meetLine(lineOf(a[0])); ok {
				return true
			}
		}
		return false
	}, L, B)
	is("on_sl", func(a []*types.Shape) bool {
		s, l := segmentOf(a[0]), lineOf(a[1])
		return l.holds(s[0]) && l.holds(s[1])
	}, S, L)
	is("on_pl", func(a []*types.Shape) bool { return lineOf(a[1]).holds(at(a[0])) }, P, L)
	is("on_ps", func(a []*types.Shape) bool { return segmentOf(a[1]).holds(at(a[0])) }, P, S)
	is("on_sb", func(a []*types.Shape) bool {
		s, b := segmentOf(a[0]), pointsOf(a[1])
		return boxHolds(b, s[0]) && boxHolds(b, s[1])
	}, S, B)
	shapes(l, "line_interpt", func(a []*types.Shape) (types.Datum, error) { return crossingPoint(lineOf(a[0]).meet(lineOf(a[1]))) }, L, L)
	shapes(l, "lseg_interpt", func(a []*types.Shape) (types.Datum, error) {
		return crossingPoint(segmentOf(a[0]).meet(segmentOf(a[1])))
	}, S, S)
	shapes(l, "close_pl", func(a []*types.Shape) (types.Datum, error) { return nearestPoint(lineOf(a[1]).nearest(at(a[0]))) }, P, L)
	shapes(l, "close_ps", func(a []*types.Shape) (types.Datum, error) { return nearestPoint(segmentOf(a[1]).nearest(at(a[0]))) }, P, S)
	shapes(l, "close_pb", func(a []*types.Shape) (types.Datum, error) {
		return nearestPoint(boxNearestPoint(pointsOf(a[1]), at(a[0])))
	}, P, B)
	shapes(l, "close_sb", func(a []*types.Shape) (types.Datum, error) {
		return nearestPoint(boxNearest(pointsOf(a[1]), segmentOf(a[0])))
	}, S, B)
	shapes(l, "close_ls", func(a []*types.Shape) (types.Datum, error) {
		l, s := lineOf(a[0]), segmentOf(a[1])
		if slope(s[0], s[1]) == l.slope() {
			return types.Null, nil
		}
		return nearestPoint(s.nearestToLine(l))
	}, L, S)
	shapes(l, "close_lseg", func(a []*types.Shape) (types.Datum, error) {
		p, q := segmentOf(a[0]), segmentOf(a[1])
		if slope(p[0], p[1]) == slope(q[0], q[1]) {
			return types.Null, nil
		}
		return nearestPoint(q.nearestTo(p))
	}, S, S)
	// A distance is the same from either side.
	distance := func(name, converse string, f func(a, b *types.Shape) float64, x, y types.OID) {
		shapes(l, name, func(a []*types.Shape) (types.Datum, error) { return types.NewFloat(f(a[0], a[1])), nil }, x, y)
		if converse != "" {
			shapes(l, converse, func(a []*types.Shape) (types.Datum, error) { return types.NewFloat(f(a[1], a[0])), nil }, y, x)
		}
	}
	distance("line_distance", "", func(a, b *types.Shape) float64 { return lineOf(a).distance(lineOf(b)) }, L, L)
	distance("lseg_distance", "", func(a, b *types.Shape) float64 { _, d := segmentOf(a).nearestTo(segmentOf(b)); return d }, S, S)
	distance("dist_pl", "dist_lp", func(p, l *types.Shape) float64 { _, d := lineOf(l).nearest(at(p)); return d }, P, L)
	distance("dist_ps", "dist_sp", func(p, s *types.Shape) float64 { _, d := segmentOf(s).nearest(at(p)); return d }, P, S)
	distance("dist_sl", "dist_ls", func(s, l *types.Shape) float64 { _, d := segmentOf(s).nearestToLine(lineOf(l)); return d }, S, L)
	distance("dist_bs", "dist_sb", func(b, s *types.Shape) float64 { _, d := boxNearest(pointsOf(b), segmentOf(s)); return d }, B, S)
}

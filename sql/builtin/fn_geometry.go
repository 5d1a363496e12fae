package builtin

import (
	"math"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// Comparisons of coordinates forgive a difference of types.GeometryEpsilon.

func fpEq(a, b float64) bool { return a == b || math.Abs(a-b) <= types.GeometryEpsilon }
func fpLT(a, b float64) bool { return b-a > types.GeometryEpsilon }
func fpLE(a, b float64) bool { return a-b <= types.GeometryEpsilon }

// point is a point, or a vector.
type point struct{ x, y float64 }

func (p point) plus(q point) point    { return point{p.x + q.x, p.y + q.y} }
func (p point) minus(q point) point   { return point{p.x - q.x, p.y - q.y} }
func (p point) times(q point) point   { return point{p.x*q.x - p.y*q.y, p.x*q.y + p.y*q.x} }
func (p point) dist(q point) float64  { return math.Hypot(p.x-q.x, p.y-q.y) }
func (p point) cross(q point) float64 { return p.x*q.y - p.y*q.x }

func (p point) eq(q point) bool {
	if p.isNaN() || q.isNaN() {
		return sameFloat(p.x, q.x) && sameFloat(p.y, q.y)
	}
	return fpEq(p.x, q.x) && fpEq(p.y, q.y)
}

// sameFloat takes NaN as equal to itself.
func sameFloat(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// inRange refuses a result that left the range of float8, made of operands that were in it.
func (p point) inRange(operands ...point) (point, error) {
	for _, q := range operands {
		if math.IsInf(q.x, 0) || math.IsInf(q.y, 0) || q.isNaN() {
			return p, nil
		}
	}
	if math.IsInf(p.x, 0) || math.IsInf(p.y, 0) || p.isNaN() {
		return p, pgerr.New(pgerr.NumericValueOutOfRange, "value out of range: overflow")
	}
	return p, nil
}

func (p point) over(q point) (point, error) {
	d := q.x*q.x + q.y*q.y
	if d == 0 {
		return p, pgerr.New(pgerr.DivisionByZero, "division by zero")
	}
	if math.IsInf(d, 0) && !math.IsInf(q.x, 0) && !math.IsInf(q.y, 0) {
		return p, pgerr.New(pgerr.NumericValueOutOfRange, "value out of range: overflow")
	}
	return point{(p.x*q.x + p.y*q.y) / d, (p.y*q.x - p.x*q.y) / d}.inRange(p, q)
}

func pointsOf(s *types.Shape) []point {
	out := make([]point, len(s.F)/2)
	for i := range out {
		out[i] = point{s.F[2*i], s.F[2*i+1]}
	}
	return out
}

func shape(oid types.OID, open bool, ps ...point) types.Datum {
	s := &types.Shape{OID: oid, Open: open}
	for _, p := range ps {
		s.F = append(s.F, p.x, p.y)
	}
	return types.NewShape(s)
}

func segmentsMeet(a, b, c, d point) bool { _, ok := segment{a, b}.meet(segment{c, d}); return ok }

func segmentDistance(a, b, c, d point) float64 {
	_, dist := segment{a, b}.nearestTo(segment{c, d})
	return dist
}

// edges are the segments of a path or polygon; a closed one returns to its first point.
func edges(ps []point, open bool) [][2]point {
	var out [][2]point
	for i := range ps {
		if i > 0 {
			out = append(out, [2]point{ps[i-1], ps[i]})
		} else if !open {
			out = append(out, [2]point{ps[len(ps)-1], ps[0]})
		}
	}
	return out
}

func onEdges(p point, es [][2]point) bool {
	for _, e := range es {
		if (segment{e[0], e[1]}).holds(p) {
			return true
		}
	}
	return false
}

// apart is the distance between two sets of edges, infinite if one is empty.
func apart(a, b [][2]point) float64 {
	d := math.Inf(1)
	for _, e := range a {
		for _, f := range b {
			d = min(d, segmentDistance(e[0], e[1], f[0], f[1]))
		}
	}
	return d
}

func edgesDistance(p point, es [][2]point) float64 {
	d := 0.0 // of a path that has no edge
	for i, e := range es {
		if _, d1 := (segment{e[0], e[1]}).nearest(p); i == 0 || d1 < d {
			d = d1
		}
	}
	return d
}

// within reports whether a point is in a polygon or on its border.
func within(p point, ps []point) bool {
	es := edges(ps, false)
	if onEdges(p, es) {
		return true
	}
	in := false
	for _, e := range es {
		a, b := e[0], e[1]
		if (a.y > p.y) != (b.y > p.y) && p.x < (b.x-a.x)*(p.y-a.y)/(b.y-a.y)+a.x {
			in = !in
		}
	}
	return in
}

// crossing reports whether an edge of one meets an edge of the other.
func crossing(a, b [][2]point) bool {
	for _, e := range a {
		for _, f := range b {
			if segmentsMeet(e[0], e[1], f[0], f[1]) {
				return true
			}
		}
	}
	return false
}

func polygonsOverlap(a, b []point) bool {
	return crossing(edges(a, false), edges(b, false)) || within(a[0], b) || within(b[0], a)
}

// polygonContains reports whether all of b lies in a: its corners do, and between the crossings with a's border so do the
// middles of its edges.
func polygonContains(a, b []point) bool {
	border := edges(a, false)
	for _, e := range edges(b, false) {
		cuts := []float64{0, 1}
		d := e[1].minus(e[0])
		for _, f := range border {
			g := f[1].minus(f[0])
			if den := d.cross(g); den != 0 {
				if t := f[0].minus(e[0]).cross(g) / den; t > 0 && t < 1 {
					cuts = append(cuts, t)
				}
			}
		}
		for _, t := range cuts {
			for _, u := range cuts {
				m := (t + u) / 2
				if !within(point{e[0].x + m*d.x, e[0].y + m*d.y}, a) {
					return false
				}
			}
		}
	}
	return true
}

// extent is the box around points, upper right corner first.
func extent(ps []point) [2]point {
	hi, lo := ps[0], ps[0]
	for _, p := range ps {
		hi, lo = point{max(hi.x, p.x), max(hi.y, p.y)}, point{min(lo.x, p.x), min(lo.y, p.y)}
	}
	return [2]point{hi, lo}
}

func polygonCentre(ps []point) point {
	var c point
	for _, p := range ps {
		c = c.plus(p)
	}
	n := float64(len(ps))
	return point{c.x / n, c.y / n}
}

func pathLength(es [][2]point) float64 {
	n := 0.0
	for _, e := range es {
		n += e[0].dist(e[1])
	}
	return n
}

// registerGeometry implements what applications use of the geometric types: constructors and conversions, measures, and
// the operators of containment, position, translation and distance.
func registerGeometry(l library) {
	registerPoints(l)
	registerLines(l)
	registerBoxes(l)
	registerCircles(l)
	registerPaths(l)
}

// shapes decodes the arguments of a call.
func shapes(l library, name string, f func(a []*types.Shape) (types.Datum, error), oids ...types.OID) {
	l.fn(name, func(_ *Ctx, args []types.Datum) (types.Datum, error) {
		in := make([]*types.Shape, len(oids))
		for i, o := range oids {
			in[i] = types.ShapeOf(args[i], o)
		}
		return f(in)
	})
}

func (p point) datum() types.Datum { return shape(types.OIDPoint, false, p) }

func at(s *types.Shape) point { return point{s.F[0], s.F[1]} }

func registerPoints(l library) {
	const P, S = types.OIDPoint, types.OIDLseg
	for _, c := range []struct {
		name string
		make func(a []types.Datum) types.Datum
	}{
		{"construct_point", func(a []types.Datum) types.Datum { return point{a[0].Float(), a[1].Float()}.datum() }},
		{"cr_circle", func(a []types.Datum) types.Datum {
			return types.NewShape(&types.Shape{OID: types.OIDCircle, F: []float64{at(types.ShapeOf(a[0], P)).x, at(types.ShapeOf(a[0], P)).y, a[1].Float()}})
		}},
	} {
		l.fn(c.name, func(_ *Ctx, a []types.Datum) (types.Datum, error) { return c.make(a), nil })
	}
	test := func(name string, f func(a, b point) bool) {
		shapes(l, name, func(a []*types.Shape) (types.Datum, error) { return types.NewBool(f(at(a[0]), at(a[1]))), nil }, P, P)
	}
	test("point_eq", point.eq)
	test("point_ne", func(a, b point) bool { return !a.eq(b) })
	test("point_left", func(a, b point) bool { return fpLT(a.x, b.x) })
	test("point_right", func(a, b point) bool { return fpLT(b.x, a.x) })
	test("point_above", func(a, b point) bool { return fpLT(b.y, a.y) })
	test("point_below", func(a, b point) bool { return fpLT(a.y, b.y) })
	test("point_horiz", func(a, b point) bool { return fpEq(a.y, b.y) })
	test("point_vert", func(a, b point) bool { return fpEq(a.x, b.x) })
	op := func(name string, f func(a, b point) (point, error)) {
		// The same operation moves, turns or scales a box, a path or a circle by a point.
		shapes(l, "point_"+name, func(a []*types.Shape) (types.Datum, error) {
			p, err := f(at(a[0]), at(a[1]))
			return p.datum(), err
		}, P, P)
		shapes(l, "box_"+name, func(a []*types.Shape) (types.Datum, error) {
			ps := pointsOf(a[0])
			p, err1 := f(ps[0], at(a[1]))
			q, err2 := f(ps[1], at(a[1]))
			if err1 != nil || err2 != nil {
				return types.Null, err1
			}
			return types.NewShape(types.MakeBox(p.x, p.y, q.x, q.y)), nil
		}, types.OIDBox, P)
		shapes(l, "path_"+name+"_pt", func(a []*types.Shape) (types.Datum, error) {
			ps := pointsOf(a[0])
			for i := range ps {
				var err error
				if ps[i], err = f(ps[i], at(a[1])); err != nil {
					return types.Null, err
				}
			}
			return shape(types.OIDPath, a[0].Open, ps...), nil
		}, types.OIDPath, P)
		shapes(l, "circle_"+name+"_pt", func(a []*types.Shape) (types.Datum, error) {
			c, err := f(at(a[0]), at(a[1]))
			if err != nil {
				return types.Null, err
			}
			r, by := a[0].F[2], math.Hypot(a[1].F[0], a[1].F[1])
			switch name {
			case "mul":
				r *= by
			case "div":
				r /= by
			}
			return types.NewShape(&types.Shape{OID: types.OIDCircle, F: []float64{c.x, c.y, r}}), nil
		}, types.OIDCircle, P)
	}
	op("add", func(a, b point) (point, error) { return a.plus(b).inRange(a, b) })
	op("sub", func(a, b point) (point, error) { return a.minus(b).inRange(a, b) })
	op("mul", func(a, b point) (point, error) { return a.times(b).inRange(a, b) })
	op("div", point.over)
	number := func(name string, f func(a []*types.Shape) float64, oids ...types.OID) {
		shapes(l, name, func(a []*types.Shape) (types.Datum, error) { return types.NewFloat(f(a)), nil }, oids...)
	}
	number("point_distance", func(a []*types.Shape) float64 { return at(a[0]).dist(at(a[1])) }, P, P)
	number("point_slope", func(a []*types.Shape) float64 {
		p, q := at(a[0]), at(a[1])
		switch {
		case fpEq(p.x, q.x):
			return math.Inf(1)
		case fpEq(p.y, q.y):
			return 0
		}
		return (p.y - q.y) / (p.x - q.x)
	}, P, P)
	shapes(l, "lseg_construct", func(a []*types.Shape) (types.Datum, error) { return shape(S, false, at(a[0]), at(a[1])), nil }, P, P)
	shapes(l, "line_construct_pp", func(a []*types.Shape) (types.Datum, error) {
		line := types.LineThrough(append(append([]float64{}, a[0].F...), a[1].F...))
		if line == nil {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "invalid line specification: must be two distinct points")
		}
		return types.NewShape(line), nil
	}, P, P)
	number("lseg_length", func(a []*types.Shape) float64 { p := pointsOf(a[0]); return p[0].dist(p[1]) }, S)
	shapes(l, "lseg_center", func(a []*types.Shape) (types.Datum, error) { return polygonCentre(pointsOf(a[0])).datum(), nil }, S)
	segments := func(name string, f func(a, b []point) bool) {
		shapes(l, name, func(a []*types.Shape) (types.Datum, error) {
			return types.NewBool(f(pointsOf(a[0]), pointsOf(a[1]))), nil
		}, S, S)
	}
	segments("lseg_eq", func(a, b []point) bool { return a[0].eq(b[0]) && a[1].eq(b[1]) })
	segments("lseg_ne", func(a, b []point) bool { return !a[0].eq(b[0]) || !a[1].eq(b[1]) })
	segments("lseg_lt", func(a, b []point) bool { return fpLT(a[0].dist(a[1]), b[0].dist(b[1])) })
	segments("lseg_le", func(a, b []point) bool { return fpLE(a[0].dist(a[1]), b[0].dist(b[1])) })
	segments("lseg_gt", func(a, b []point) bool { return fpLT(b[0].dist(b[1]), a[0].dist(a[1])) })
	segments("lseg_ge", func(a, b []point) bool { return fpLE(b[0].dist(b[1]), a[0].dist(a[1])) })
	level := func(name string, f func(a, b point) bool) {
		shapes(l, name, func(a []*types.Shape) (types.Datum, error) {
			p := pointsOf(a[0])
			return types.NewBool(f(p[0], p[1])), nil
		}, S)
	}
	level("lseg_horizontal", func(a, b point) bool { return fpEq(a.y, b.y) })
	level("lseg_vertical", func(a, b point) bool { return fpEq(a.x, b.x) })
}

func nearly(f float64) bool { return fpEq(f, 0) }

func registerBoxes(l library) {
	const B, P = types.OIDBox, types.OIDPoint
	width := func(b []point) float64 { return b[0].x - b[1].x }
	height := func(b []point) float64 { return b[0].y - b[1].y }
	area := func(b []point) float64 { return width(b) * height(b) }
	overlap := func(a, b []point) bool {
		return fpLE(a[1].x, b[0].x) && fpLE(b[1].x, a[0].x) && fpLE(a[1].y, b[0].y) && fpLE(b[1].y, a[0].y)
	}
	contains := func(a, b []point) bool {
		return fpLE(b[0].x, a[0].x) && fpLE(a[1].x, b[1].x) && fpLE(b[0].y, a[0].y) && fpLE(a[1].y, b[1].y)
	}
	for name, f := range map[string]func(a, b []point) bool{
		"box_eq": func(a, b []point) bool { return fpEq(area(a), area(b)) }, "box_lt": func(a, b []point) bool { return fpLT(area(a), area(b)) },
		"box_gt": func(a, b []point) bool { return fpLT(area(b), area(a)) }, "box_le": func(a, b []point) bool { return fpLE(area(a), area(b)) },
		"box_ge": func(a, b []point) bool { return fpLE(area(b), area(a)) }, "box_same": func(a, b []point) bool { return a[0].eq(b[0]) && a[1].eq(b[1]) },
		"box_overlap": overlap, "box_contain": contains, "box_contained": func(a, b []point) bool { return contains(b, a) },
		"box_left": func(a, b []point) bool { return fpLT(a[0].x, b[1].x) }, "box_right": func(a, b []point) bool { return fpLT(b[0].x, a[1].x) },
		"box_below": func(a, b []point) bool { return fpLT(a[0].y, b[1].y) }, "box_above": func(a, b []point) bool { return fpLT(b[0].y, a[1].y) },
		"box_below_eq": func(a, b []point) bool { return fpLE(a[0].y, b[1].y) }, "box_above_eq": func(a, b []point) bool { return fpLE(b[0].y, a[1].y) },
		"box_overleft": func(a, b []point) bool { return fpLE(a[0].x, b[0].x) }, "box_overright": func(a, b []point) bool { return fpLE(b[1].x, a[1].x) },
		"box_overbelow": func(a, b []point) bool { return fpLE(a[0].y, b[0].y) }, "box_overabove": func(a, b []point) bool { return fpLE(b[1].y, a[1].y) },
	} {
		shapes(l, name, func(a []*types.Shape) (types.Datum, error) {
			return types.NewBool(f(pointsOf(a[0]), pointsOf(a[1]))), nil
		}, B, B)
	}
	for name, f := range map[string]func(b []point) float64{"box_area": area, "box_width": width, "box_height": height} {
		shapes(l, name, func(a []*types.Shape) (types.Datum, error) { return types.NewFloat(f(pointsOf(a[0]))), nil }, B)
	}
	shapes(l, "box_center", func(a []*types.Shape) (types.Datum, error) { return polygonCentre(pointsOf(a[0])).datum(), nil }, B)
	shapes(l, "box_diagonal", func(a []*types.Shape) (types.Datum, error) {
		return shape(types.OIDLseg, false, pointsOf(a[0])...), nil
	}, B)
	shapes(l, "box_distance", func(a []*types.Shape) (types.Datum, error) {
		return types.NewFloat(polygonCentre(pointsOf(a[0])).dist(polygonCentre(pointsOf(a[1])))), nil
	}, B, B)
	shapes(l, "box_intersect", func(a []*types.Shape) (types.Datum, error) {
		p, q := pointsOf(a[0]), pointsOf(a[1])
		if !overlap(p, q) {
			return types.Null, nil
		}
		return types.NewShape(types.MakeBox(min(p[0].x, q[0].x), min(p[0].y, q[0].y), max(p[1].x, q[1].x), max(p[1].y, q[1].y))), nil
	}, B, B)
	shapes(l, "boxes_bound_box", func(a []*types.Shape) (types.Datum, error) {
		e := extent(append(pointsOf(a[0]), pointsOf(a[1])...))
		return shape(B, false, e[0], e[1]), nil
	}, B, B)
	shapes(l, "points_box", func(a []*types.Shape) (types.Datum, error) {
		return types.NewShape(types.MakeBox(a[0].F[0], a[0].F[1], a[1].F[0], a[1].F[1])), nil
	}, P, P)
	shapes(l, "point_box", func(a []*types.Shape) (types.Datum, error) { return shape(B, false, at(a[0]), at(a[0])), nil }, P)
	holds := func(b, p *types.Shape) bool {
		q := at(p)
		return contains(pointsOf(b), []point{q, q})
	}
	shapes(l, "box_contain_pt", func(a []*types.Shape) (types.Datum, error) { return types.NewBool(holds(a[0], a[1])), nil }, B, P)
	shapes(l, "on_pb", func(a []*types.Shape) (types.Datum, error) { return types.NewBool(holds(a[1], a[0])), nil }, P, B)
	distance := func(b, p *types.Shape) float64 {
		c, q := pointsOf(b), at(p)
		return q.dist(point{max(c[1].x, min(c[0].x, q.x)), max(c[1].y, min(c[0].y, q.y))})
	}
	shapes(l, "dist_pb", func(a []*types.Shape) (types.Datum, error) { return types.NewFloat(distance(a[1], a[0])), nil }, P, B)
	shapes(l, "dist_bp", func(a []*types.Shape) (types.Datum, error) { return types.NewFloat(distance(a[0], a[1])), nil }, B, P)
	shapes(l, "box_poly", func(a []*types.Shape) (types.Datum, error) {
		b := pointsOf(a[0])
		return shape(types.OIDPolygon, false, b[1], point{b[1].x, b[0].y}, b[0], point{b[0].x, b[1].y}), nil
	}, B)
	shapes(l, "box_circle", func(a []*types.Shape) (types.Datum, error) {
		b := pointsOf(a[0])
		c := polygonCentre(b)
		return types.NewShape(&types.Shape{OID: types.OIDCircle, F: []float64{c.x, c.y, c.dist(b[0])}}), nil
	}, B)
}

func registerCircles(l library) {
	const C, P = types.OIDCircle, types.OIDPoint
	type circle struct {
		point
		r float64
	}
	of := func(s *types.Shape) circle { return circle{at(s), s.F[2]} }
	area := func(c circle) float64 { return math.Pi * c.r * c.r }
	contains := func(a, b circle) bool { return fpLE(a.dist(b.point), a.r-b.r) }
	for name, f := range map[string]func(a, b circle) bool{
		"circle_eq": func(a, b circle) bool { return fpEq(area(a), area(b)) }, "circle_ne": func(a, b circle) bool { return !fpEq(area(a), area(b)) },
		"circle_lt": func(a, b circle) bool { return fpLT(area(a), area(b)) }, "circle_gt": func(a, b circle) bool { return fpLT(area(b), area(a)) },
		"circle_le": func(a, b circle) bool { return fpLE(area(a), area(b)) }, "circle_ge": func(a, b circle) bool { return fpLE(area(b), area(a)) },
		"circle_same":    func(a, b circle) bool { return a.eq(b.point) && fpEq(a.r, b.r) },
		"circle_overlap": func(a, b circle) bool { return fpLE(a.dist(b.point), a.r+b.r) },
		"circle_contain": contains, "circle_contained": func(a, b circle) bool { return contains(b, a) },
		"circle_left": func(a, b circle) bool { return fpLT(a.x+a.r, b.x-b.r) }, "circle_right": func(a, b circle) bool { return fpLT(b.x+b.r, a.x-a.r) },
		"circle_below": func(a, b circle) bool { return fpLT(a.y+a.r, b.y-b.r) }, "circle_above": func(a, b circle) bool { return fpLT(b.y+b.r, a.y-a.r) },
		"circle_overleft": func(a, b circle) bool { return fpLE(a.x+a.r, b.x+b.r) }, "circle_overright": func(a, b circle) bool { return fpLE(b.x-b.r, a.x-a.r) },
		"circle_overbelow": func(a, b circle) bool { return fpLE(a.y+a.r, b.y+b.r) }, "circle_overabove": func(a, b circle) bool { return fpLE(b.y-b.r, a.y-a.r) },
	} {
		shapes(l, name, func(a []*types.Shape) (types.Datum, error) { return types.NewBool(f(of(a[0]), of(a[1]))), nil }, C, C)
	}
	for name, f := range map[string]func(c circle) float64{"circle_area": area, "circle_radius": func(c circle) float64 { return c.r },
		"circle_diameter": func(c circle) float64 { return 2 * c.r }} {
		shapes(l, name, func(a []*types.Shape) (types.Datum, error) { return types.NewFloat(f(of(a[0]))), nil }, C)
	}
	shapes(l, "circle_center", func(a []*types.Shape) (types.Datum, error) { return at(a[0]).datum(), nil }, C)
	shapes(l, "circle_distance", func(a []*types.Shape) (types.Datum, error) {
		return types.NewFloat(max(0, at(a[0]).dist(at(a[1]))-a[0].F[2]-a[1].F[2])), nil
	}, C, C)
	distance := func(c, p *types.Shape) types.Datum { return types.NewFloat(max(0, at(c).dist(at(p))-c.F[2])) }
	shapes(l, "dist_pc", func(a []*types.Shape) (types.Datum, error) { return distance(a[1], a[0]), nil }, P, C)
	shapes(l, "dist_cpoint", func(a []*types.Shape) (types.Datum, error) { return distance(a[0], a[1]), nil }, C, P)
	shapes(l, "circle_contain_pt", func(a []*types.Shape) (types.Datum, error) {
		return types.NewBool(at(a[0]).dist(at(a[1])) <= a[0].F[2]), nil
	}, C, P)
	shapes(l, "pt_contained_circle", func(a []*types.Shape) (types.Datum, error) {
		return types.NewBool(at(a[0]).dist(at(a[1])) <= a[1].F[2]), nil
	}, P, C)
	shapes(l, "circle_box", func(a []*types.Shape) (types.Datum, error) {
		d := a[0].F[2] / math.Sqrt2
		return types.NewShape(types.MakeBox(a[0].F[0]+d, a[0].F[1]+d, a[0].F[0]-d, a[0].F[1]-d)), nil
	}, C)
	polygonOf := func(n int64, c circle) (types.Datum, error) {
		switch {
		case c.r == 0:
			return types.Null, pgerr.New(pgerr.FeatureNotSupported, "cannot convert circle with radius zero to polygon")
		case n < 2:
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "must request at least 2 points")
		case n > 1<<20:
			return types.Null, pgerr.New(pgerr.ProgramLimitExceeded, "too many points requested")
		}
		ps := make([]point, n)
		for i := range ps {
			angle := float64(i) * (2 * math.Pi / float64(n))
			ps[i] = point{c.x - c.r*math.Cos(angle), c.y + c.r*math.Sin(angle)}
		}
		return shape(types.OIDPolygon, false, ps...), nil
	}
	l.fn("circle_poly", func(_ *Ctx, args []types.Datum) (types.Datum, error) {
		return polygonOf(args[0].Int(), of(types.ShapeOf(args[1], C)))
	})
	shapes(l, "polygon(circle)", func(a []*types.Shape) (types.Datum, error) { return polygonOf(12, of(a[0])) }, C)
}

func registerPaths(l library) {
	const H, G, P = types.OIDPath, types.OIDPolygon, types.OIDPoint
	path := func(name string, f func(ps []point, open bool) types.Datum) {
		shapes(l, name, func(a []*types.Shape) (types.Datum, error) { return f(pointsOf(a[0]), a[0].Open), nil }, H)
	}
	path("path_isopen", func(_ []point, open bool) types.Datum { return types.NewBool(open) })
	path("path_isclosed", func(_ []point, open bool) types.Datum { return types.NewBool(!open) })
	path("path_open", func(ps []point, _ bool) types.Datum { return shape(H, true, ps...) })
	path("path_close", func(ps []point, _ bool) types.Datum { return shape(H, false, ps...) })
	path("path_npoints", func(ps []point, _ bool) types.Datum { return types.NewInt(int64(len(ps))) })
	path("path_length", func(ps []point, open bool) types.Datum { return types.NewFloat(pathLength(edges(ps, open))) })
	path("path_area", func(ps []point, open bool) types.Datum {
		if open {
			return types.Null
		}
		sum := 0.0
		for i, p := range ps {
			sum += p.cross(ps[(i+1)%len(ps)])
		}
		return types.NewFloat(math.Abs(sum) / 2)
	})
	shapes(l, "path_poly", func(a []*types.Shape) (types.Datum, error) {
		if a[0].Open {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "open path cannot be converted to polygon")
		}
		return shape(G, false, pointsOf(a[0])...), nil
	}, H)
	shapes(l, "path_add", func(a []*types.Shape) (types.Datum, error) {
		if !a[0].Open || !a[1].Open {
			return types.Null, nil
		}
		return shape(H, true, append(pointsOf(a[0]), pointsOf(a[1])...)...), nil
	}, H, H)
	for name, f := range map[string]func(n int) bool{"path_n_eq": func(n int) bool { return n == 0 }, "path_n_lt": func(n int) bool { return n < 0 },
		"path_n_gt": func(n int) bool { return n > 0 }, "path_n_le": func(n int) bool { return n <= 0 }, "path_n_ge": func(n int) bool { return n >= 0 }} {
		shapes(l, name, func(a []*types.Shape) (types.Datum, error) { return types.NewBool(f(len(a[0].F) - len(a[1].F))), nil }, H, H)
	}
	shapes(l, "path_inter", func(a []*types.Shape) (types.Datum, error) {
		return types.NewBool(crossing(edges(pointsOf(a[0]), a[0].Open), edges(pointsOf(a[1]), a[1].Open))), nil
	}, H, H)
	shapes(l, "path_distance", func(a []*types.Shape) (types.Datum, error) {
		d := apart(edges(pointsOf(a[0]), a[0].Open), edges(pointsOf(a[1]), a[1].Open))
		if math.IsInf(d, 1) {
			return types.Null, nil
		}
		return types.NewFloat(d), nil
	}, H, H)
	shapes(l, "poly_distance", func(a []*types.Shape) (types.Datum, error) {
		p, q := pointsOf(a[0]), pointsOf(a[1])
		if polygonsOverlap(p, q) {
			return types.NewFloat(0), nil
		}
		return types.NewFloat(apart(edges(p, false), edges(q, false))), nil
	}, G, G)
	toPath := func(p, h *types.Shape) types.Datum {
		return types.NewFloat(edgesDistance(at(p), edges(pointsOf(h), h.Open)))
	}
	shapes(l, "dist_ppath", func(a []*types.Shape) (types.Datum, error) { return toPath(a[0], a[1]), nil }, P, H)
	shapes(l, "dist_pathp", func(a []*types.Shape) (types.Datum, error) { return toPath(a[1], a[0]), nil }, H, P)
	onPath := func(p point, h *types.Shape) (types.Datum, error) {
		if !h.Open {
			return types.NewBool(within(p, pointsOf(h))), nil
		}
		return types.NewBool(onEdges(p, edges(pointsOf(h), true))), nil
	}
	shapes(l, "on_ppath", func(a []*types.Shape) (types.Datum, error) { return onPath(at(a[0]), a[1]) }, P, H)
	shapes(l, "path_contain_pt(path point)", func(a []*types.Shape) (types.Datum, error) { return onPath(at(a[1]), a[0]) }, H, P)

	shapes(l, "poly_npoints", func(a []*types.Shape) (types.Datum, error) { return types.NewInt(int64(len(a[0].F) / 2)), nil }, G)
	shapes(l, "poly_center", func(a []*types.Shape) (types.Datum, error) { return polygonCentre(pointsOf(a[0])).datum(), nil }, G)
	shapes(l, "poly_path", func(a []*types.Shape) (types.Datum, error) { return shape(H, false, pointsOf(a[0])...), nil }, G)
	shapes(l, "poly_box", func(a []*types.Shape) (types.Datum, error) {
		e := extent(pointsOf(a[0]))
		return shape(types.OIDBox, false, e[0], e[1]), nil
	}, G)
	shapes(l, "poly_circle", func(a []*types.Shape) (types.Datum, error) {
		ps := pointsOf(a[0])
		c, r := polygonCentre(ps), 0.0
		for _, p := range ps {
			r += p.dist(c)
		}
		return types.NewShape(&types.Shape{OID: types.OIDCircle, F: []float64{c.x, c.y, r / float64(len(ps))}}), nil
	}, G)
	polygons := func(name string, f func(a, b []point) bool) {
		shapes(l, name, func(a []*types.Shape) (types.Datum, error) {
			return types.NewBool(f(pointsOf(a[0]), pointsOf(a[1]))), nil
		}, G, G)
	}
	polygons("poly_contain", polygonContains)
	polygons("poly_contained", func(a, b []point) bool { return polygonContains(b, a) })
	polygons("poly_overlap", polygonsOverlap)
	polygons("poly_same", samePolygon)
	sides := func(name string, f func(a, b [2]point) bool) {
		polygons(name, func(a, b []point) bool { return f(extent(a), extent(b)) })
	}
	sides("poly_left", func(a, b [2]point) bool { return a[0].x < b[1].x })
	sides("poly_right", func(a, b [2]point) bool { return a[1].x > b[0].x })
	sides("poly_below", func(a, b [2]point) bool { return a[0].y < b[1].y })
	sides("poly_above", func(a, b [2]point) bool { return a[1].y > b[0].y })
	sides("poly_overleft", func(a, b [2]point) bool { return a[0].x <= b[0].x })
	sides("poly_overright", func(a, b [2]point) bool { return a[1].x >= b[1].x })
	sides("poly_overbelow", func(a, b [2]point) bool { return a[0].y <= b[0].y })
	sides("poly_overabove", func(a, b [2]point) bool { return a[1].y >= b[1].y })
	shapes(l, "poly_contain_pt", func(a []*types.Shape) (types.Datum, error) {
		return types.NewBool(within(at(a[1]), pointsOf(a[0]))), nil
	}, G, P)
	shapes(l, "pt_contained_poly", func(a []*types.Shape) (types.Datum, error) {
		return types.NewBool(within(at(a[0]), pointsOf(a[1]))), nil
	}, P, G)
	toPolygon := func(p point, ps []point) float64 {
		if within(p, ps) {
			return 0
		}
		return edgesDistance(p, edges(ps, false))
	}
	shapes(l, "dist_ppoly", func(a []*types.Shape) (types.Datum, error) {
		return types.NewFloat(toPolygon(at(a[0]), pointsOf(a[1]))), nil
	}, P, G)
	shapes(l, "dist_polyp", func(a []*types.Shape) (types.Datum, error) {
		return types.NewFloat(toPolygon(at(a[1]), pointsOf(a[0]))), nil
	}, G, P)
	circleToPolygon := func(c, g *types.Shape) types.Datum {
		return types.NewFloat(max(0, toPolygon(at(c), pointsOf(g))-c.F[2]))
	}
	shapes(l, "dist_cpoly", func(a []*types.Shape) (types.Datum, error) { return circleToPolygon(a[0], a[1]), nil }, types.OIDCircle, G)
	shapes(l, "dist_polyc", func(a []*types.Shape) (types.Datum, error) { return circleToPolygon(a[1], a[0]), nil }, G, types.OIDCircle)
}

// samePolygon reports whether polygons have the same corners in the same order, in either direction.
func samePolygon(a, b []point) bool {
	n := len(a)
	if len(b) != n {
		return false
	}
	for start := range b {
		forward, backward := true, true
		for i := range a {
			forward = forward && a[i].eq(b[(start+i)%n])
			backward = backward && a[i].eq(b[(start-i+n)%n])
		}
		if forward || backward {
			return true
		}
	}
	return false
}

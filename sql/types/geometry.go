package types

import (
	"math"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// The geometric types live as their canonical text, which AppendShape writes and ParseShape reads.

// Shape is a geometric value. F are its numbers: the points of a point (1), lseg (2), box (upper right, lower left), path
// or polygon (any) as x, y, x, y, ...; A, B and C of a line Ax+By+C=0; centre and radius of a circle.
type Shape struct {
	OID  OID
	F    []float64
	Open bool // of a path
}

// GeometryEpsilon is how far numbers may differ for geometric operators to take them for equal.
const GeometryEpsilon = 1e-6

func isShape(oid OID) bool {
	switch oid {
	case OIDPoint, OIDLseg, OIDPath, OIDBox, OIDPolygon, OIDLine, OIDCircle:
		return true
	}
	return false
}

// AppendShape appends the canonical text of a shape.
func AppendShape(buf []byte, s *Shape) []byte {
	num := func(f float64) { buf = AppendFloat(buf, f, false, 1) }
	point := func(i int) {
		buf = append(buf, '(')
		num(s.F[i])
		buf = append(buf, ',')
		num(s.F[i+1])
		buf = append(buf, ')')
	}
	points := func() {
		for i := 0; i < len(s.F); i += 2 {
			if i > 0 {
				buf = append(buf, ',')
			}
			point(i)
		}
	}
	open, end := "(", ")"
	switch s.OID {
	case OIDPoint, OIDBox:
		open, end = "", ""
	case OIDLseg:
		open, end = "[", "]"
	case OIDPath:
		if s.Open {
			open, end = "[", "]"
		}
	case OIDLine:
		buf = append(buf, '{')
		for i, f := range s.F {
			if i > 0 {
				buf = append(buf, ',')
			}
			num(f)
		}
		return append(buf, '}')
	case OIDCircle:
		buf = append(buf, '<')
		point(0)
		buf = append(buf, ',')
		num(s.F[2])
		return append(buf, '>')
	}
	buf = append(buf, open...)
	points()
	return append(buf, end...)
}

// NewShape makes a datum of a shape.
func NewShape(s *Shape) Datum { return NewString(string(AppendShape(nil, s))) }

// ShapeOf reads a datum of a geometric type.
func ShapeOf(d Datum, oid OID) *Shape {
	s, err := readShape(d.Str(), ByOID(oid))
	if err != nil {
		panic("types: a geometric value that is not canonical")
	}
	return s
}

// shapeReader reads the text of a shape. ok turns false at the first thing that does not belong; err says more where a
// number is out of range.
type shapeReader struct {
	s   string
	ok  bool
	err error
}

func (r *shapeReader) space() { r.s = skipSpace(r.s) }

func (r *shapeReader) take(c byte) bool {
	r.space()
	if r.s == "" || r.s[0] != c {
		return false
	}
	r.s = r.s[1:]
	r.space()
	return true
}

func (r *shapeReader) want(c byte) {
	if !r.take(c) {
		r.ok = false
	}
}

func (r *shapeReader) number() float64 {
	r.space()
	n := strings.IndexAny(r.s, ",()[]{}<> \t\n\r\v\f")
	if n < 0 {
		n = len(r.s)
	}
	d, err := parseFloat(r.s[:n], Float8)
	r.s = r.s[n:]
	r.space()
	if err != nil {
		if r.ok && pgerr.Code(err) == pgerr.NumericValueOutOfRange {
			r.err = err
		}
		r.ok = false
		return 0
	}
	return d.Float()
}

// pair reads x,y or (x,y).
func (r *shapeReader) pair() []float64 {
	closed := r.take('(')
	x := r.number()
	r.want(',')
	y := r.number()
	if closed {
		r.want(')')
	}
	return []float64{x, y}
}

// outer reports whether the parenthesis at the front is one around all points.
func (r *shapeReader) outer() bool {
	if r.s == "" || r.s[0] != '(' {
		return false
	}
	rest := skipSpace(r.s[1:])
	return strings.HasPrefix(rest, "(") || strings.LastIndexByte(r.s, '(') == 0
}

// points reads n points in parentheses or, where that is allowed, brackets, which make the shape open.
func (r *shapeReader) points(n int, brackets bool) (f []float64, open bool) {
	r.space()
	end := byte(0)
	switch {
	case strings.HasPrefix(r.s, "["):
		if !brackets {
			r.ok = false
			return nil, false
		}
		r.take('[')
		open, end = true, ']'
	case r.outer():
		r.take('(')
		end = ')'
	}
	for i := range n {
		if i > 0 {
			r.want(',')
		}
		f = append(f, r.pair()...)
		if !r.ok {
			return nil, open
		}
	}
	if end != 0 {
		r.want(end)
	}
	return f, open
}

// ParseShape reads a value of a geometric type.
func ParseShape(text string, t *T) (*Shape, error) {
	s, err := readShape(text, t)
	switch {
	case err != nil:
		return nil, err
	case t.OID == OIDCircle && s.F[2] < 0:
		return nil, badInput(t, text)
	case t.OID == OIDLine && nearZero(s.F[0]) && nearZero(s.F[1]):
		return nil, pgerr.New(pgerr.InvalidTextRepresentation, "invalid line specification: A and B cannot both be zero")
	}
	return s, nil
}

// readShape reads what operators may make, too: a circle with a negative radius.
func readShape(text string, t *T) (*Shape, error) {
	r := &shapeReader{s: text, ok: true}
	s := &Shape{OID: t.OID}
	r.space()
	switch t.OID {
	case OIDPoint:
		s.F = r.pair()
	case OIDLseg:
		s.F, _ = r.points(2, true)
	case OIDBox:
		s.F, _ = r.points(2, false)
	case OIDPath, OIDPolygon:
		commas := strings.Count(text, ",")
		if commas%2 == 0 {
			return nil, badInput(t, text)
		}
		s.F, s.Open = r.points((commas+1)/2, t.OID == OIDPath)
	case OIDLine:
		if r.take('{') {
			s.F = []float64{r.number()}
			r.want(',')
			s.F = append(s.F, r.number())
			r.want(',')
			s.F = append(s.F, r.number())
			r.want('}')
			break
		}
		p, _ := r.points(2, true)
		if r.ok && r.s == "" {
			line := LineThrough(p)
			if line == nil {
				return nil, pgerr.New(pgerr.InvalidTextRepresentation, "invalid line specification: must be two distinct points")
			}
			return line, nil
		}
	case OIDCircle:
		enclosed := r.take('<') || r.outer() && strings.HasPrefix(skipSpace(r.s[1:]), "(") && r.take('(')
		s.F = r.pair()
		r.want(',')
		s.F = append(s.F, r.number())
		if enclosed && !r.take('>') {
			r.want(')')
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if !r.ok || r.s != "" {
		return nil, badInput(t, text)
	}
	if t.OID == OIDBox {
		return MakeBox(s.F[0], s.F[1], s.F[2], s.F[3]), nil
	}
	return s, nil
}

func nearZero(f float64) bool { return math.Abs(f) <= GeometryEpsilon }

// MakeBox makes the box with these opposite corners.
func MakeBox(x1, y1, x2, y2 float64) *Shape {
	return &Shape{OID: OIDBox, F: []float64{math.Max(x1, x2), math.Max(y1, y2), math.Min(x1, x2), math.Min(y1, y2)}}
}

// LineThrough makes the line through two points, nil if they are the same.
func LineThrough(p []float64) *Shape {
	dx, dy := p[2]-p[0], p[3]-p[1]
	switch {
	case nearZero(dx) && nearZero(dy):
		return nil
	case nearZero(dx):
		return &Shape{OID: OIDLine, F: []float64{-1, 0, p[0]}}
	case nearZero(dy):
		return &Shape{OID: OIDLine, F: []float64{0, -1, p[1]}}
	}
	m := dy / dx
	c := p[1] - m*p[0]
	if c == 0 {
		c = 0 // not -0
	}
	return &Shape{OID: OIDLine, F: []float64{m, -1, c}}
}

func appendShapeBinary(buf []byte, s *Shape) []byte {
	switch s.OID {
	case OIDPath:
		closed := byte(1)
		if s.Open {
			closed = 0
		}
		buf = append(buf, closed)
		fallthrough
	case OIDPolygon:
		buf = be.AppendUint32(buf, uint32(len(s.F)/2))
	}
	for _, f := range s.F {
		buf = be.AppendUint64(buf, math.Float64bits(f))
	}
	return buf
}

func parseShapeBinary(data []byte, t *T) (Datum, error) {
	s := &Shape{OID: t.OID}
	n := map[OID]int{OIDPoint: 2, OIDLseg: 4, OIDBox: 4, OIDLine: 3, OIDCircle: 3}[t.OID]
	if t.OID == OIDPath {
		if len(data) == 0 {
			return Null, errShort()
		}
		s.Open, data = data[0] == 0, data[1:]
	}
	if n == 0 {
		if len(data) < 4 {
			return Null, errShort()
		}
		count := int(int32(be.Uint32(data)))
		if data = data[4:]; count <= 0 || count > len(data)/16 {
			return Null, pgerr.New(pgerr.InvalidBinaryRepresentation, "invalid number of points in external \"%s\" value", t.Name)
		}
		n = 2 * count
	}
	switch {
	case len(data) < 8*n:
		return Null, errShort()
	case len(data) > 8*n:
		return Null, errLength()
	}
	for i := range n {
		s.F = append(s.F, math.Float64frombits(be.Uint64(data[8*i:])))
	}
	switch {
	case t.OID == OIDBox:
		s = MakeBox(s.F[0], s.F[1], s.F[2], s.F[3])
	case t.OID == OIDCircle && s.F[2] < 0:
		return Null, pgerr.New(pgerr.InvalidBinaryRepresentation, "invalid radius in external \"circle\" value")
	case t.OID == OIDLine && nearZero(s.F[0]) && nearZero(s.F[1]):
		return Null, pgerr.New(pgerr.InvalidBinaryRepresentation, "invalid line specification: A and B cannot both be zero")
	}
	return NewShape(s), nil
}

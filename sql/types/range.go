package types

import (
	"math"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// rangeTypes is PostgreSQL's pg_range.
var rangeTypes = []struct{ Range, Subtype, Multirange OID }{
	{OIDInt4Range, OIDInt4, OIDInt4Multirange},
	{OIDNumRange, OIDNumeric, OIDNumMultirange},
	{OIDTsRange, OIDTimestamp, OIDTsMultirange},
	{OIDTstzRange, OIDTimestampTZ, OIDTstzMultirange},
	{OIDDateRange, OIDDate, OIDDateMultirange},
	{OIDInt8Range, OIDInt8, OIDInt8Multirange},
}

// Range is a range value. A bound that is NULL is infinite, and then not inclusive. All ranges come from MakeRange, so
// one that holds nothing is Empty, has no bounds, and ranges of a discrete subtype are in their canonical form [a,b):
// equal ranges have equal fields.
type Range struct {
	Type         *T // the range type
	Lower, Upper Datum
	LowerInc     bool
	UpperInc     bool
	Empty        bool
}

// Bound is one end of a range.
type Bound struct {
	Value Datum // NULL: infinite
	Inc   bool
	Lower bool
}

// LowerBound returns the lower end of a range that is not empty.
func (r *Range) LowerBound() Bound { return Bound{r.Lower, r.LowerInc, true} }

// UpperBound returns the upper end of a range that is not empty.
func (r *Range) UpperBound() Bound { return Bound{r.Upper, r.UpperInc, false} }

// EmptyRange returns the empty range of a range type.
func EmptyRange(t *T) *Range { return &Range{Type: t, Empty: true} }

// MakeRange makes a range in canonical form. It fails with 22000 when lower is above upper.
func MakeRange(t *T, lower, upper Bound) (*Range, error) {
	r, err := orderedRange(t, lower, upper)
	if err != nil || r.Empty || !discrete(t) {
		return r, err
	}
	// An exclusive lower and an inclusive upper bound move to the next value. Infinite dates stay as they are.
	if lower = r.LowerBound(); !lower.Inc && movable(t.Sub, lower.Value) {
		if lower.Value, err = successor(t.Sub, lower.Value); err != nil {
			return nil, err
		}
		lower.Inc = true
	}
	if upper = r.UpperBound(); upper.Inc && movable(t.Sub, upper.Value) {
		if upper.Value, err = successor(t.Sub, upper.Value); err != nil {
			return nil, err
		}
		upper.Inc = false
	}
	return orderedRange(t, lower, upper)
}

func movable(t *T, d Datum) bool { return !d.IsNull() && !(t.OID == OIDDate && IsInfinite(d.Int())) }

func orderedRange(t *T, lower, upper Bound) (*Range, error) {
	if !lower.Value.IsNull() && !upper.Value.IsNull() {
		switch c := Compare(t.Sub, lower.Value, upper.Value); {
		case c > 0:
			return nil, pgerr.New(pgerr.DataException, "range lower bound must be less than or equal to range upper bound")
		case c == 0 && !(lower.Inc && upper.Inc):
			return EmptyRange(t), nil
		}
	}
	return &Range{Type: t, Lower: lower.Value, Upper: upper.Value, LowerInc: lower.Inc && !lower.Value.IsNull(), UpperInc: upper.Inc && !upper.Value.IsNull()}, nil
}

// discrete reports whether ranges of type t have a canonical form. Those of user-defined types have none.
func discrete(t *T) bool {
	return t.OID == OIDInt4Range || t.OID == OIDInt8Range || t.OID == OIDDateRange
}

// successor is the next value of a discrete type.
func successor(t *T, d Datum) (Datum, error) {
	switch {
	case t.OID == OIDDate:
		if !ValidDate(d.Int() + 1) {
			return Null, ErrDateRange()
		}
		return NewDate(d.Int() + 1), nil
	case t.OID == OIDInt4 && d.Int() == math.MaxInt32:
		return Null, pgerr.New(pgerr.NumericValueOutOfRange, "integer out of range")
	case d.Int() == math.MaxInt64:
		return Null, pgerr.New(pgerr.NumericValueOutOfRange, "bigint out of range")
	}
	return NewInt(d.Int() + 1), nil
}

// CompareBoundValues compares the positions of two bounds of ranges over sub, without regard to whether the values
// themselves belong to the ranges.
func CompareBoundValues(sub *T, a, b Bound) int {
	switch an, bn := a.Value.IsNull(), b.Value.IsNull(); {
	case an && bn:
		return boolCompare(b.Lower, a.Lower)
	case an:
		return infiniteSide(a)
	case bn:
		return -infiniteSide(b)
	}
	return Compare(sub, a.Value, b.Value)
}

// CompareBounds orders bounds: an exclusive lower bound lies just above its value, an exclusive upper one just below.
func CompareBounds(sub *T, a, b Bound) int {
	if c := CompareBoundValues(sub, a, b); c != 0 || a.Value.IsNull() {
		return c
	}
	return boundOffset(a) - boundOffset(b)
}

func boundOffset(b Bound) int {
	switch {
	case b.Inc:
		return 0
	case b.Lower:
		return 1
	}
	return -1
}

func infiniteSide(b Bound) int {
	if b.Lower {
		return -1
	}
	return 1
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Compare orders ranges of one type: empty ones first, then by lower bound, then by upper bound.
func (r *Range) Compare(o *Range) int {
	if r.Empty || o.Empty {
		return boolCompare(!r.Empty, !o.Empty)
	}
	if c := CompareBounds(r.Type.Sub, r.LowerBound(), o.LowerBound()); c != 0 {
		return sign(c)
	}
	return sign(CompareBounds(r.Type.Sub, r.UpperBound(), o.UpperBound()))
}

func (r *Range) hash(seed uint64) uint64 {
	flags := uint64(rangeFlags(r))
	return Hash(r.Type.Sub, Hash(r.Type.Sub, mix(seed, flags), r.Lower), r.Upper)
}

// Before reports whether all of r lies left of all of o.
func (r *Range) Before(o *Range) bool {
	return !r.Empty && !o.Empty && CompareBounds(r.Type.Sub, r.UpperBound(), o.LowerBound()) < 0
}

// Overlaps reports whether the ranges have a point in common.
func (r *Range) Overlaps(o *Range) bool {
	return !r.Empty && !o.Empty && !r.Before(o) && !o.Before(r)
}

// OverLeft reports whether r does not extend to the right of o.
func (r *Range) OverLeft(o *Range) bool {
	return !r.Empty && !o.Empty && CompareBounds(r.Type.Sub, r.UpperBound(), o.UpperBound()) <= 0
}

// OverRight reports whether r does not extend to the left of o.
func (r *Range) OverRight(o *Range) bool {
	return !r.Empty && !o.Empty && CompareBounds(r.Type.Sub, r.LowerBound(), o.LowerBound()) >= 0
}

// Contains reports whether every point of o is in r.
func (r *Range) Contains(o *Range) bool {
	switch {
	case o.Empty:
		return true
	case r.Empty:
		return false
	}
	sub := r.Type.Sub
	return CompareBounds(sub, r.LowerBound(), o.LowerBound()) <= 0 && CompareBounds(sub, r.UpperBound(), o.UpperBound()) >= 0
}

// ContainsValue reports whether r contains a value of the subtype.
func (r *Range) ContainsValue(d Datum) bool {
	if r.Empty {
		return false
	}
	return CompareBounds(r.Type.Sub, r.LowerBound(), Bound{d, true, true}) <= 0 && CompareBounds(r.Type.Sub, r.UpperBound(), Bound{d, true, false}) >= 0
}

// Adjacent reports whether the ranges do not overlap and no point lies between them.
func (r *Range) Adjacent(o *Range) bool {
	if r.Empty || o.Empty {
		return false
	}
	return boundsAdjacent(r.Type, r.UpperBound(), o.LowerBound()) || boundsAdjacent(r.Type, o.UpperBound(), r.LowerBound())
}

// boundsAdjacent reports whether an upper and a lower bound meet without overlap.
func boundsAdjacent(t *T, upper, lower Bound) bool {
	if upper.Value.IsNull() || lower.Value.IsNull() {
		return false
	}
	switch c := Compare(t.Sub, upper.Value, lower.Value); {
	case c > 0:
		return false
	case c == 0:
		return upper.Inc != lower.Inc
	case !discrete(t):
		return false
	}
	// What lies between must be empty.
	upper.Inc, upper.Lower, lower.Inc, lower.Lower = !upper.Inc, true, !lower.Inc, false
	between, err := MakeRange(t, upper, lower)
	return err == nil && between.Empty
}

// Union returns the range over both. With gaps set it fills what lies between them, otherwise ranges that do not touch
// fail with 22000.
func (r *Range) Union(o *Range, gaps bool) (*Range, error) {
	switch {
	case r.Empty:
		return o, nil
	case o.Empty:
		return r, nil
	case !gaps && !r.Overlaps(o) && !r.Adjacent(o):
		return nil, pgerr.New(pgerr.DataException, "result of range union would not be contiguous")
	}
	lower, upper := r.LowerBound(), r.UpperBound()
	if CompareBounds(r.Type.Sub, o.LowerBound(), lower) < 0 {
		lower = o.LowerBound()
	}
	if CompareBounds(r.Type.Sub, o.UpperBound(), upper) > 0 {
		upper = o.UpperBound()
	}
	return MakeRange(r.Type, lower, upper)
}

// Intersect returns what both have in common.
func (r *Range) Intersect(o *Range) (*Range, error) {
	if !r.Overlaps(o) {
		return EmptyRange(r.Type), nil
	}
	lower, upper := r.LowerBound(), r.UpperBound()
	if CompareBounds(r.Type.Sub, o.LowerBound(), lower) > 0 {
		lower = o.LowerBound()
	}
	if CompareBounds(r.Type.Sub, o.UpperBound(), upper) < 0 {
		upper = o.UpperBound()
	}
	return MakeRange(r.Type, lower, upper)
}

// Minus returns what of r is not in o: up to two ranges, in order.
func (r *Range) Minus(o *Range) ([]*Range, error) {
	if r.Empty {
		return nil, nil
	}
	if !r.Overlaps(o) {
		return []*Range{r}, nil
	}
	var out []*Range
	if CompareBounds(r.Type.Sub, r.LowerBound(), o.LowerBound()) < 0 {
		left, err := MakeRange(r.Type, r.LowerBound(), Bound{o.Lower, !o.LowerInc, false})
		if err != nil {
			return nil, err
		}
		out = append(out, left)
	}
	if CompareBounds(r.Type.Sub, r.UpperBound(), o.UpperBound()) > 0 {
		right, err := MakeRange(r.Type, Bound{o.Upper, !o.UpperInc, true}, r.UpperBound())
		if err != nil {
			return nil, err
		}
		out = append(out, right)
	}
	return out, nil
}

func rangeDatum(r *Range, err error) (Datum, error) {
	if err != nil {
		return Null, err
	}
	return NewRange(r), nil
}

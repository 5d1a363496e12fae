package rowenc

import (
	"encoding/binary"

	"github.com/meridian-db/meridian/sql/types"
)

// Key bytes of ranges. An empty range is below all others, and the end of a multirange below any further range. A bound is
// its side's infinity, or a value followed by which side of the value it lies on.
const (
	keyRangeEnd   byte = 0x01
	keyRangeEmpty byte = 0x02
	keyRange      byte = 0x03

	boundBelow byte = 0x01 // lower infinity; an exclusive upper bound
	boundAt    byte = 0x02 // a value follows; an inclusive bound
	boundAbove byte = 0x03 // upper infinity; an exclusive lower bound
)

func appendKeyRange(buf []byte, r *types.Range) []byte {
	if r.Empty {
		return append(buf, keyRangeEmpty)
	}
	buf = appendKeyBound(append(buf, keyRange), r.LowerBound(), r.Type.Sub)
	return appendKeyBound(buf, r.UpperBound(), r.Type.Sub)
}

func appendKeyBound(buf []byte, b types.Bound, t *types.T) []byte {
	outside := boundAbove
	if b.Lower {
		outside = boundBelow
	}
	if b.Value.IsNull() {
		return append(buf, outside)
	}
	buf = appendKey(append(buf, boundAt), b.Value, t)
	switch {
	case b.Inc:
		return append(buf, boundAt)
	case b.Lower:
		return append(buf, boundAbove)
	}
	return append(buf, boundBelow)
}

func appendKeyMultirange(buf []byte, m *types.Multirange) []byte {
	for _, r := range m.Ranges {
		buf = appendKeyRange(buf, r)
	}
	return append(buf, keyRangeEnd)
}

func (r *keyReader) rangeValue(t *types.T, depth int) (*types.Range, bool) {
	c, ok := r.byte()
	return r.rangeAfter(c, ok, t, depth)
}

// rangeAfter reads a range whose first byte is c.
func (r *keyReader) rangeAfter(c byte, ok bool, t *types.T, depth int) (*types.Range, bool) {
	switch {
	case !ok || t.Sub == nil:
		return nil, false
	case c == keyRangeEmpty:
		return types.EmptyRange(t), true
	case c != keyRange:
		return nil, false
	}
	out := &types.Range{Type: t}
	bound := func(v *types.Datum, inc *bool) bool {
		c, ok := r.byte()
		if !ok || c != boundAt {
			return ok
		}
		if *v, ok = r.value(t.Sub.BaseType(), depth+1); !ok {
			return false
		}
		side, ok := r.byte()
		*inc = side == boundAt
		return ok
	}
	return out, bound(&out.Lower, &out.LowerInc) && bound(&out.Upper, &out.UpperInc)
}

func (r *keyReader) multirange(t *types.T, depth int) (types.Datum, bool) {
	m := &types.Multirange{Type: t}
	for {
		c, ok := r.byte()
		if ok && c == keyRangeEnd {
			return types.NewMultirange(m), true
		}
		x, ok := r.rangeAfter(c, ok, t.Sub, depth)
		if !ok {
			return types.Null, false
		}
		m.Ranges = append(m.Ranges, x)
	}
}

// In a row's value a range is a byte of flags and its two bounds, a multirange its ranges one after the other.
const (
	rangeEmpty = 1 << iota
	rangeLowerInc
	rangeUpperInc
)

func appendRange(buf []byte, r *types.Range) []byte {
	flags := byte(0)
	if r.Empty {
		flags |= rangeEmpty
	}
	if r.LowerInc {
		flags |= rangeLowerInc
	}
	if r.UpperInc {
		flags |= rangeUpperInc
	}
	buf = append(buf, flags)
	if r.Empty {
		return buf
	}
	return appendTagged(appendTagged(buf, 0, r.Lower, r.Type.Sub), 0, r.Upper, r.Type.Sub)
}

func (r *reader) rangeValue(t *types.T, depth int) (*types.Range, bool) {
	b, ok := r.fixed(1)
	if !ok || t.Sub == nil {
		return nil, false
	}
	if b[0]&rangeEmpty != 0 {
		return types.EmptyRange(t), true
	}
	out := &types.Range{Type: t, LowerInc: b[0]&rangeLowerInc != 0, UpperInc: b[0]&rangeUpperInc != 0}
	sub := t.Sub.BaseType()
	if out.Lower, ok = r.tagged(sub, depth); !ok {
		return nil, false
	}
	out.Upper, ok = r.tagged(sub, depth)
	return out, ok
}

func appendMultirange(buf []byte, m *types.Multirange) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(m.Ranges)))
	for _, r := range m.Ranges {
		buf = appendRange(buf, r)
	}
	return buf
}

func (r *reader) multirange(t *types.T, depth int) (types.Datum, bool) {
	n, ok := r.uvarint()
	if !ok || n > uint64(len(r.b)) || t.Sub == nil {
		return types.Null, false
	}
	m := &types.Multirange{Type: t}
	for range n {
		x, ok := r.rangeValue(t.Sub, depth)
		if !ok {
			return types.Null, false
		}
		m.Ranges = append(m.Ranges, x)
	}
	return types.NewMultirange(m), len(r.b) == 0
}

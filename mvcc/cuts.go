package mvcc

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// cutSteps bounds the estimates that are made for one cut.
const cutSteps = 16

// Cuts returns at most most keys of span, in order, that divide it into parts of about every bytes of files each
// (EstimateSize). Beside index blocks it reads few others; what has not been flushed does not count.
func (e *Engine) Cuts(span Span, every uint64, most int) (cuts [][]byte, err error) {
	if span.Empty() || every == 0 || most < 1 {
		return nil, nil
	}
	it, err := e.newIter(&pebble.IterOptions{LowerBound: appendVersionKey(nil, span.Start, 0), UpperBound: appendVersionKey(nil, span.End, 0)})
	if err != nil {
		return nil, err
	}
	c := cutter{e: e, it: it, every: every}
	defer func() { err = errors.Join(err, it.Close()) }()
	first := c.key(it.First())
	last := c.key(it.Last())
	if first == nil || last == nil {
		return nil, c.failed()
	}
	size, err := e.EstimateSize(Span{Start: first, End: last})
	if err != nil {
		return nil, err
	}
	if err := c.divide(first, last, size, int(min(size/every, uint64(most)+1))); err != nil {
		return nil, err
	}
	return c.cuts, c.failed()
}

// cutter collects cuts in the order of keys.
type cutter struct {
	e     *Engine
	it    *pebble.Iterator
	err   error
	every uint64
	cuts  [][]byte
}

// key returns the key that the iterator stands at, if it does.
func (c *cutter) key(ok bool) []byte {
	if !ok {
		return nil
	}
	k, _, err := decodeVersionKey(c.it.Key())
	if err != nil {
		c.err = corrupt(c.it.Key(), err)
		return nil
	}
	return bytes.Clone(k)
}

func (c *cutter) failed() error { return errors.Join(c.err, c.it.Error()) }

// divide cuts what lies between two keys, size bytes, into n parts. It makes fewer where keys lie too close to find one
// in between.
func (c *cutter) divide(lo, hi []byte, size uint64, n int) error {
	if n < 2 {
		return nil
	}
	want := size / uint64(n) * uint64(n/2)
	var cut []byte
	var left uint64
	// The key looked for is above a and below b, both of which are stored: so what lies close together is found soon, however
	// far the rest is away.
	for a, b, step := lo, hi, 0; step < cutSteps; step++ {
		mid := between(a, b)
		if mid == nil {
			break
		}
		at := appendVersionKey(nil, mid, 0)
		if next := c.key(c.it.SeekGE(at)); next != nil && bytes.Compare(next, b) < 0 {
			below, err := c.e.EstimateSize(Span{Start: lo, End: next})
			if err != nil {
				return err
			}
			cut, left = next, min(below, size)
			if max(left, want)-min(left, want) <= c.every/4 {
				break
			}
			if left < want {
				a = next
				continue
			}
		}
		if b = c.key(c.it.SeekLT(at)); b == nil || bytes.Compare(b, a) <= 0 {
			break
		}
	}
	if cut == nil {
		return nil
	}
	if err := c.divide(lo, cut, left, n/2); err != nil {
		return err
	}
	c.cuts = append(c.cuts, cut)
	return c.divide(cut, hi, size-left, n-n/2)
}

// between returns a key about halfway from a to b as if keys were fractions, nil when it finds none that is neither.
func between(a, b []byte) []byte {
	same := 0
	for same < len(a) && same < len(b) && a[same] == b[same] {
		same++
	}
	var x, y [8]byte
	copy(x[:], a[same:])
	copy(y[:], b[same:])
	low, high := binary.BigEndian.Uint64(x[:]), binary.BigEndian.Uint64(y[:])
	if high <= low || high-low < 2 {
		return nil
	}
	return binary.BigEndian.AppendUint64(bytes.Clone(a[:same]), low+(high-low)/2)
}

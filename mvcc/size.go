package mvcc

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"
)

// EstimateSize returns about how many bytes of files hold the versions of span: compressed, and without
// what has not been flushed yet. It reads no data blocks. Batch.Grown tells the changes since.
func (e *Engine) EstimateSize(span Span) (uint64, error) {
	if span.Empty() {
		return 0, nil
	}
	return e.db.EstimateDiskUsage(appendVersionKey(nil, span.Start, 0), appendVersionKey(nil, span.End, 0))
}

// SpanSize is the exact content of a span.
type SpanSize struct {
	Keys, Versions int64
	Bytes          int64 // of versions, keys included, uncompressed
}

// Size reads all of span and counts.
func Size(r Reader, span Span) (SpanSize, error) {
	var size SpanSize
	err := walkSizes(r, span, func(key []byte, first bool, bytes int64) {
		if first {
			size.Keys++
		}
		size.Versions++
		size.Bytes += bytes
	})
	return size, err
}

// SplitKey returns the user key at which span divides into two halves of about equal size, never its
// start, nil when span holds fewer than two keys. It reads the keys and value lengths of all of span, in
// bounded memory.
func SplitKey(r Reader, span Span) ([]byte, error) {
	// Marks at growing distances: when there are too many, every other one goes and the distance doubles.
	type mark struct {
		key  []byte
		left int64 // bytes below key
	}
	const maxMarks = 512
	var (
		marks []mark
		every int64 = 1
		total int64
		keys  int64
	)
	err := walkSizes(r, span, func(key []byte, first bool, n int64) {
		if first {
			if keys > 0 && (len(marks) == 0 || total-marks[len(marks)-1].left >= every) {
				marks = append(marks, mark{bytes.Clone(key), total})
				if len(marks) == maxMarks {
					for i := 0; i < maxMarks/2; i++ {
						marks[i] = marks[2*i+1]
					}
					marks = marks[:maxMarks/2]
					every = max(2*every, total/maxMarks)
				}
			}
			keys++
		}
		total += n
	})
	if err != nil || len(marks) == 0 {
		return nil, err
	}
	best := marks[0]
	for _, m := range marks[1:] {
		if abs(2*m.left-total) < abs(2*best.left-total) {
			best = m
		}
	}
	return best.key, nil
}

func abs(n int64) int64 { return max(n, -n) }

func walkSizes(r Reader, span Span, fn func(key []byte, first bool, bytes int64)) error {
	if span.Empty() {
		return nil
	}
	it, err := r.newIter(&pebble.IterOptions{
		LowerBound: appendVersionKey(nil, span.Start, 0),
		UpperBound: appendVersionKey(nil, span.End, 0),
	})
	if err != nil {
		return err
	}
	var last []byte
	for ok := it.First(); ok; ok = it.Next() {
		key, _, derr := decodeVersionKey(it.Key())
		if derr != nil {
			err = corrupt(it.Key(), derr)
			break
		}
		first := last == nil || !bytes.Equal(key, last)
		if first {
			last = append(last[:0], key...)
		}
		lv := it.LazyValue()
		fn(key, first, int64(len(it.Key())+lv.Len()))
	}
	if err == nil {
		err = it.Error()
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return err
}

// PrefixSize is what EstimateSize or Size finds below one prefix of keys.
type PrefixSize struct {
	Prefix []byte
	Bytes  int64
}

// PrefixSizes divides span by the first n bytes of its keys and returns the size of each part, in the order of keys.
// exact reads all of span, as Size does; otherwise it looks for the parts and estimates each (EstimateSize).
func (e *Engine) PrefixSizes(span Span, n int, exact bool) ([]PrefixSize, error) {
	var out []PrefixSize
	if exact {
		err := walkSizes(e, span, func(key []byte, _ bool, bytes_ int64) {
			p := key[:min(n, len(key))]
			if len(out) == 0 || !bytes.Equal(out[len(out)-1].Prefix, p) {
				out = append(out, PrefixSize{Prefix: bytes.Clone(p)})
			}
			out[len(out)-1].Bytes += bytes_
		})
		return out, err
	}
	for !span.Empty() {
		key, err := firstKey(e, span)
		if err != nil || key == nil {
			return out, err
		}
		part := Span{Start: key, End: prefixEnd(key[:min(n, len(key))])}
		if len(key) < n {
			part.End = append(bytes.Clone(key), 0) // a part of its own: longer keys begin with more
		}
		if part.End == nil || bytes.Compare(part.End, span.End) > 0 {
			part.End = span.End
		}
		size, err := e.EstimateSize(part)
		if err != nil {
			return out, err
		}
		out = append(out, PrefixSize{bytes.Clone(key[:min(n, len(key))]), int64(size)})
		span.Start = part.End
	}
	return out, nil
}

// prefixEnd is the first key after all that begin with p, nil if there is none.
func prefixEnd(p []byte) []byte {
	end := bytes.Clone(p)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

func firstKey(r Reader, span Span) ([]byte, error) {
	it, err := r.newIter(&pebble.IterOptions{LowerBound: appendVersionKey(nil, span.Start, 0), UpperBound: appendVersionKey(nil, span.End, 0)})
	if err != nil {
		return nil, err
	}
	var key []byte
	if it.First() {
		k, _, derr := decodeVersionKey(it.Key())
		if derr != nil {
			err = corrupt(it.Key(), derr)
		}
		key = bytes.Clone(k)
	} else {
		err = it.Error()
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return key, err
}

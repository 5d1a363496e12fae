package mvcc

import "bytes"

// Diff is what one commit did to one key: the difference between a read right below its timestamp and a read at
// it. The slices are valid during the call that they are handed to.
type Diff struct {
	Key   []byte
	TS    Timestamp
	Value []byte // what a read at TS finds; meaningless when Deleted
	// Deleted: a read at TS finds nothing. Existed is set then, as a deletion of nothing is no change.
	Deleted bool
	// Existed: a read right below TS finds something, Previous if the reader asked for it.
	Existed  bool
	Previous []byte
}

// DiffOptions say which changes are read.
type DiffOptions struct {
	Span     Span
	After    Timestamp // exclusive
	TS       Timestamp // inclusive
	View     View      // Layers only
	Previous bool      // fill in Diff.Previous
	// Writes, when not nil, are all writes in (After, TS] that touch Span, and perhaps others: nothing is looked for
	// then. They are sorted by key, then by timestamp.
	Writes []Write
}

// Write is that a key was written at a timestamp.
type Write struct {
	Key []byte
	TS  Timestamp
}

// Compare orders writes by key, then by timestamp.
func (w Write) Compare(o Write) int {
	if c := bytes.Compare(w.Key, o.Key); c != 0 {
		return c
	}
	return int(min(1, max(-1, w.TS-o.TS)))
}

// Diffs calls fn for each change in the order of keys, for one key in that of timestamps, until fn returns false.
// Every timestamp in (After, TS] must be safe to read at, and After at or above the GC threshold, which the caller
// checks afterwards (CheckGC).
//
// A ChangeScanner finds the writes unless they are given. Each is then read twice, at its timestamp and right below it: so
// layers and their deletions of spans count as they do for any reader.
func Diffs(r Reader, o DiffOptions, fn func(*Diff) bool) error {
	if o.Span.Empty() || o.TS <= o.After {
		return nil
	}
	w := diffWalk{o: &o, fn: fn, points: NewPointReader(r, o.View)}
	defer w.points.Close()
	if o.Writes != nil {
		for i := range o.Writes {
			k := &o.Writes[i]
			if k.TS <= o.After || k.TS > o.TS || !o.Span.Contains(k.Key) || i > 0 && k.Compare(o.Writes[i-1]) == 0 {
				continue
			}
			if more, err := w.visit(k.Key, k.TS); !more || err != nil {
				return err
			}
		}
		return nil
	}
	return w.scan(r)
}

type diffWalk struct {
	o      *DiffOptions
	fn     func(*Diff) bool
	points *PointReader
	diff   Diff
}

// visit reports what was done to key at ts.
func (w *diffWalk) visit(key []byte, ts Timestamp) (more bool, err error) {
	value, _, exists, err := w.points.Get(key, ts)
	if err != nil {
		return false, err
	}
	prev, _, existed, err := w.points.Get(key, ts.Prev())
	if err != nil || !exists && !existed {
		return err == nil, err
	}
	if !w.o.Previous {
		prev = nil
	}
	w.diff = Diff{Key: key, TS: ts, Value: value, Deleted: !exists, Existed: existed, Previous: prev}
	return w.fn(&w.diff), nil
}

// scan finds the writes and visits them.
func (w *diffWalk) scan(r Reader) (err error) {
	o := w.o
	s := NewChangeScanner(r, ChangesOptions{Span: o.Span, After: o.After, UpTo: o.TS, View: o.View, All: true})
	defer func() {
		if cerr := s.Close(); err == nil {
			err = cerr
		}
	}()
	var key []byte
	var at []Timestamp // of key, the newest first
	flush := func() (more bool, err error) {
		for i := len(at) - 1; i >= 0; i-- {
			if more, err := w.visit(key, at[i]); !more || err != nil {
				return false, err
			}
		}
		at = at[:0]
		return true, nil
	}
	for s.Next() {
		if !bytes.Equal(s.Key(), key) {
			if more, err := flush(); !more || err != nil {
				return err
			}
			key = append(key[:0], s.Key()...)
		}
		at = append(at, s.Timestamp())
	}
	if err := s.Err(); err != nil {
		return err
	}
	_, err = flush()
	return err
}

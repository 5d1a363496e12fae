package mvcc

import (
	"bytes"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/cockroachkvs"
)

// ScanOptions say what a Scanner reads.
type ScanOptions struct {
	Span    Span
	TS      Timestamp // newest version at or below TS of each key
	Reverse bool
	// After, when set, restricts the scan to keys whose visible version is newer than After, and skips
	// blocks that hold no such version by their time bounds. Keys deleted since are not reported.
	After Timestamp
}

// seekAfter is how many versions a scan steps over one by one before it seeks. A step within a block costs
// about a tenth of a seek.
const seekAfter = 6

// Scanner iterates over the pairs of a span that are visible at a timestamp. It belongs to one goroutine.
type Scanner struct {
	it   *pebble.Iterator
	opts ScanOptions
	err  error

	started bool
	done    bool
	key     []byte    // forward: aliases the iterator; reverse: keyBuf
	value   []byte    // forward: aliases the iterator; reverse: valBuf
	vts     Timestamp // version of value

	keyBuf, valBuf, seekBuf []byte
	lower, upper            []byte
	iterOpts                pebble.IterOptions
	filters                 [1]pebble.BlockPropertyFilter
}

var scanners = sync.Pool{New: func() any { return new(Scanner) }}

// NewScanner returns a scanner positioned before the first pair. The caller closes it.
func NewScanner(r Reader, opts ScanOptions) *Scanner {
	s := scanners.Get().(*Scanner)
	s.opts, s.err, s.started, s.done = opts, nil, false, false
	s.it, s.key, s.value, s.vts = nil, nil, nil, 0
	if opts.Span.Empty() || opts.TS <= 0 {
		s.done = true
		return s
	}
	s.lower = appendVersionKey(s.lower[:0], opts.Span.Start, 0)
	s.upper = appendVersionKey(s.upper[:0], opts.Span.End, 0)
	s.iterOpts = pebble.IterOptions{LowerBound: s.lower, UpperBound: s.upper}
	if opts.After > 0 {
		// The filter's upper end is open: a version newer than TS in the same block hides nothing, and an
		// older one that must be hidden by it (I2: there is none) cannot exist.
		s.filters[0] = cockroachkvs.NewMVCCTimeIntervalFilter(uint64(opts.After)+1, uint64(maxTS))
		s.iterOpts.PointKeyFilters = s.filters[:]
	}
	s.it, s.err = r.newIter(&s.iterOpts)
	return s
}

// Next advances to the next pair and reports whether there is one; false at the end or on an error.
func (s *Scanner) Next() bool {
	if s.done || s.err != nil {
		return false
	}
	var ok bool
	if s.opts.Reverse {
		ok = s.prev()
	} else {
		ok = s.next()
	}
	if !ok {
		s.done = true
		s.key, s.value = nil, nil
		if s.err == nil {
			s.err = s.it.Error()
		}
	}
	return ok
}

func (s *Scanner) next() bool {
	var ok bool
	if !s.started {
		s.started = true
		ok = s.it.First()
	} else {
		ok = s.it.NextPrefix()
	}
	newer := 0
	for ok {
		k := s.it.Key()
		key, ts, err := decodeVersionKey(k)
		if err != nil {
			s.err = corrupt(k, err)
			return false
		}
		if ts > s.opts.TS {
			if newer++; newer < seekAfter {
				ok = s.it.Next()
			} else {
				newer = 0
				s.seekBuf = appendVersionKey(s.seekBuf[:0], key, s.opts.TS)
				ok = s.it.SeekGE(s.seekBuf)
			}
			continue
		}
		newer = 0
		if ts <= s.opts.After {
			ok = s.it.NextPrefix()
			continue
		}
		raw, err := s.it.ValueAndErr()
		if err != nil {
			s.err = err
			return false
		}
		payload, tombstone, err := openValue(k, raw)
		if err != nil {
			s.err = err
			return false
		}
		if tombstone {
			ok = s.it.NextPrefix()
			continue
		}
		s.key, s.value, s.vts = key, payload, ts
		return true
	}
	return false
}

// prev finds the next pair downwards. Going back, the versions of a key come oldest first, so the
// visible one is the last at or below TS before a newer one or another key appears.
func (s *Scanner) prev() bool {
	var ok bool
	if !s.started {
		s.started = true
		ok = s.it.Last()
	} else {
		ok = s.it.Valid()
	}
	for ok {
		k := s.it.Key()
		key, _, err := decodeVersionKey(k)
		if err != nil {
			s.err = corrupt(k, err)
			return false
		}
		s.keyBuf = append(s.keyBuf[:0], key...)
		found, tombstone, steps := false, false, 0
		for ok {
			k := s.it.Key()
			key, ts, err := decodeVersionKey(k)
			if err != nil {
				s.err = corrupt(k, err)
				return false
			}
			if !bytes.Equal(key, s.keyBuf) {
				break
			}
			if steps++; ts > s.opts.TS || steps > seekAfter {
				if ts <= s.opts.TS {
					// A long history: go to the visible version at once.
					s.seekBuf = appendVersionKey(s.seekBuf[:0], s.keyBuf, s.opts.TS)
					if !s.it.SeekGE(s.seekBuf) {
						return false // Only on an error: the version we came from is still there.
					}
					if found, tombstone = true, s.saveVersion(); s.err != nil {
						return false
					}
				}
				s.seekBuf = appendVersionKey(s.seekBuf[:0], s.keyBuf, 0)
				ok = s.it.SeekLT(s.seekBuf)
				break
			}
			if found, tombstone = true, s.saveVersion(); s.err != nil {
				return false
			}
			ok = s.it.Prev()
		}
		if found && !tombstone && s.vts > s.opts.After {
			s.key, s.value = s.keyBuf, s.valBuf
			return true
		}
	}
	return false
}

// saveVersion copies the version at the iterator.
func (s *Scanner) saveVersion() (tombstone bool) {
	k := s.it.Key()
	_, ts, err := decodeVersionKey(k)
	if err != nil {
		s.err = corrupt(k, err)
		return false
	}
	raw, err := s.it.ValueAndErr()
	if err != nil {
		s.err = err
		return false
	}
	payload, tombstone, err := openValue(k, raw)
	if err != nil {
		s.err = err
		return false
	}
	s.valBuf, s.vts = append(s.valBuf[:0], payload...), ts
	return tombstone
}

// Key returns the current key, valid until the next call of Next or Close.
func (s *Scanner) Key() []byte { return s.key }

// Value returns the current value, valid until the next call of Next or Close.
func (s *Scanner) Value() []byte { return s.value }

// Timestamp returns the timestamp at which the current value was written.
func (s *Scanner) Timestamp() Timestamp { return s.vts }

// Err returns the error that ended the scan, nil at its regular end.
func (s *Scanner) Err() error { return s.err }

// Close releases the scanner, which must not be used afterwards.
func (s *Scanner) Close() error {
	var err error
	if s.it != nil {
		err = s.it.Close()
		s.it = nil
	}
	s.opts, s.key, s.value = ScanOptions{}, nil, nil
	s.iterOpts = pebble.IterOptions{}
	s.filters[0] = nil
	if cap(s.valBuf) > 1<<20 {
		s.valBuf = nil
	}
	scanners.Put(s)
	return err
}

// LatestInSpan returns the newest timestamp above after of any version in span, tombstones included,
// zero when there is none. Blocks without newer versions are skipped by their time bounds.
func LatestInSpan(r Reader, span Span, after Timestamp) (Timestamp, error) {
	if span.Empty() {
		return 0, nil
	}
	it, err := r.newIter(&pebble.IterOptions{
		LowerBound: appendVersionKey(nil, span.Start, 0),
		UpperBound: appendVersionKey(nil, span.End, 0),
		PointKeyFilters: []pebble.BlockPropertyFilter{
			cockroachkvs.NewMVCCTimeIntervalFilter(uint64(after)+1, uint64(maxTS)),
		},
	})
	if err != nil {
		return 0, err
	}
	var latest Timestamp
	for ok := it.First(); ok; ok = it.NextPrefix() {
		_, ts, derr := decodeVersionKey(it.Key())
		if derr != nil {
			err = corrupt(it.Key(), derr)
			break
		}
		if ts > after && ts > latest {
			latest = ts
		}
	}
	if err == nil {
		err = it.Error()
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return latest, err
}

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
	View    View      // what provisional versions count for
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
	ahead   bool      // forward: the iterator has left the version returned
	left    bool      // ahead: and its key
	key     []byte    // aliases the iterator, or keyBuf
	value   []byte    // aliases the iterator, or valBuf
	vts     Timestamp // version of value, zero for the reader's own
	cur     found     // what value is
	live    bool      // cur has a value
	memo    *Layer    // the layer met last, not the reader's own: rows of one transaction lie together

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
	s.it, s.key, s.value, s.vts, s.ahead, s.memo = nil, nil, nil, 0, false, nil
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
		s.filters[0] = cockroachkvs.NewMVCCTimeIntervalFilter(uint64(opts.View.since(opts.After)), uint64(maxTS))
		s.iterOpts.PointKeyFilters = s.filters[:]
	}
	s.it, s.err = r.newIter(&s.iterOpts)
	return s
}

// Reset makes a scanner read another span at the same timestamp, which costs less than a new one. It must have
// been made for a span that is not empty.
func (s *Scanner) Reset(span Span) {
	s.opts.Span, s.started, s.done = span, false, span.Empty()
	s.key, s.value, s.vts, s.ahead, s.live, s.cur = nil, nil, 0, false, false, found{}
	if s.it == nil || s.done || s.err != nil {
		return
	}
	s.lower = appendVersionKey(s.lower[:0], span.Start, 0)
	s.upper = appendVersionKey(s.upper[:0], span.End, 0)
	s.it.SetBounds(s.lower, s.upper) // copies them
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
	switch {
	case !s.started:
		s.started = true
		ok = s.it.First()
	case s.ahead:
		ok = s.leave()
	default:
		ok = s.it.NextPrefix()
	}
	view := &s.opts.View
	newer := 0
	for ok {
		k := s.it.Key()
		key, ts, err := decodeVersionKey(k)
		if err != nil {
			s.err = corrupt(k, err)
			return false
		}
		if ts > s.opts.TS && view.Own == nil {
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
		raw, err := s.it.ValueAndErr()
		if err != nil {
			s.err = err
			return false
		}
		if isProvisional(raw) {
			w, l, own, tombstone := s.open(raw)
			if s.err != nil {
				return false
			}
			if l == nil {
				ok = s.it.Next()
				continue
			}
			if l.Once && !own {
				if s.cur = (found{ts: l.TS, layer: l, seq: w.seq}); tombstone || l.TS <= s.opts.After || s.hidden(key) {
					ok = s.it.NextPrefix()
					continue
				}
				s.key, s.value, s.vts = key, w.value, l.TS
				return true
			}
			s.keyBuf = append(s.keyBuf[:0], key...)
			s.take(&w, l, own, tombstone)
			if !s.latest(l) {
				return false
			}
			if s.live && (s.cur.own || s.cur.ts > s.opts.After) && !s.hidden(s.keyBuf) {
				s.key, s.value, s.vts = s.keyBuf, s.valBuf, s.cur.ts
				return true
			}
			ok = s.leave()
			continue
		}
		if ts > s.opts.TS {
			ok = s.it.Next()
			continue
		}
		if ts <= s.opts.After {
			ok = s.it.NextPrefix()
			continue
		}
		payload, kind, err := openValue(k, raw)
		if err != nil {
			s.err = err
			return false
		}
		if kind == kindTombstone {
			ok = s.it.NextPrefix()
			continue
		}
		if s.cur = (found{ts: ts}); s.hidden(key) {
			ok = s.it.NextPrefix()
			continue
		}
		s.key, s.value, s.vts = key, payload, ts
		return true
	}
	return false
}

// leave moves to the next key after the iterator has been moved on from a version of keyBuf.
func (s *Scanner) leave() bool {
	s.ahead = false
	if s.left {
		return s.it.Valid()
	}
	return s.it.NextPrefix()
}

// hidden reports whether a layer's deletion of a span hides cur, which is at key.
func (s *Scanner) hidden(key []byte) bool {
	if s.opts.View.Own == nil && s.opts.View.Layers == nil {
		return false
	}
	_, yes := s.opts.View.deleted(key, &s.cur, s.opts.TS)
	return yes
}

// latest takes the latest of the writes of keyBuf by the transaction of l, of which the iterator stands at the first, and
// moves behind them. It answers false on an error.
func (s *Scanner) latest(l *Layer) bool {
	s.left = true
	for s.it.Next() {
		k := s.it.Key()
		key, _, err := decodeVersionKey(k)
		if err != nil {
			s.err = corrupt(k, err)
			return false
		}
		if !bytes.Equal(key, s.keyBuf) {
			break
		}
		s.left = false
		raw, err := s.it.ValueAndErr()
		if err != nil {
			s.err = err
			return false
		}
		if !isProvisional(raw) {
			break
		}
		w, other, own, tombstone := s.open(raw)
		if s.err != nil {
			return false
		}
		if w.txn != l.Txn {
			break
		}
		if other != nil && w.seq > s.cur.seq {
			s.take(&w, l, own, tombstone)
		}
		s.left = true // unless the next one is of the key, too
	}
	if s.err = s.it.Error(); s.err != nil {
		return false
	}
	s.ahead = true
	return true
}

// open decodes the provisional version at the iterator. l is nil when it does not count.
func (s *Scanner) open(raw []byte) (w provisional, l *Layer, own, tombstone bool) {
	k := s.it.Key()
	payload, kind, err := openValue(k, raw)
	if err != nil {
		s.err = err
		return w, nil, false, false
	}
	if w, err = decodeProvisional(payload); err != nil {
		s.err = corrupt(k, err)
		return w, nil, false, false
	}
	if l = s.memo; l != nil && l.Txn == w.txn {
		if l.ignored(w.seq) {
			l = nil
		}
	} else if l, own = s.opts.View.layer(&w, s.opts.TS); l != nil && !own {
		s.memo = l
	}
	return w, l, own, kind == kindProvisionalTombstone
}

// take makes a provisional version the current one.
func (s *Scanner) take(w *provisional, l *Layer, own, tombstone bool) {
	s.cur = found{layer: l, seq: w.seq, own: own}
	if !own {
		s.cur.ts = l.TS
	}
	s.live = !tombstone
	s.valBuf = append(s.valBuf[:0], w.value...)
}

// prev finds the next pair downwards. Going back, the versions of a key come oldest first, so the
// visible one is the last that counts before one above TS or another key appears.
func (s *Scanner) prev() bool {
	var ok bool
	if !s.started {
		s.started = true
		ok = s.it.Last()
	} else {
		ok = s.it.Valid()
	}
	view := &s.opts.View
	for ok {
		k := s.it.Key()
		key, _, err := decodeVersionKey(k)
		if err != nil {
			s.err = corrupt(k, err)
			return false
		}
		s.keyBuf = append(s.keyBuf[:0], key...)
		s.cur, s.live = found{}, false
		any, steps := false, 0
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
			if steps++; ts > s.opts.TS && view.Own == nil || steps > seekAfter {
				if ts <= s.opts.TS || view.Own != nil {
					// A long history: go to the visible version at once.
					s.seekBuf = appendVersionKey(s.seekBuf[:0], s.keyBuf, view.seekTS(s.opts.TS))
					any = s.down(s.it.SeekGE(s.seekBuf))
					if s.err != nil {
						return false
					}
				}
				s.seekBuf = appendVersionKey(s.seekBuf[:0], s.keyBuf, 0)
				ok = s.it.SeekLT(s.seekBuf)
				break
			}
			if s.consider(ts, any) {
				any = true
			}
			if s.err != nil {
				return false
			}
			ok = s.it.Prev()
		}
		if any && s.live && (s.cur.own || s.cur.ts > s.opts.After) && !s.hidden(s.keyBuf) {
			s.key, s.value, s.vts = s.keyBuf, s.valBuf, s.cur.ts
			return true
		}
	}
	return false
}

// consider takes the version at the iterator, of timestamp ts, if it counts. any tells that an older one has been
// taken, which then is a transaction's later write of the key only if its number says so.
func (s *Scanner) consider(ts Timestamp, any bool) bool {
	raw, err := s.it.ValueAndErr()
	if err != nil {
		s.err = err
		return false
	}
	if isProvisional(raw) {
		w, l, own, tombstone := s.open(raw)
		if l == nil || s.err != nil || any && s.cur.layer == l && s.cur.seq > w.seq {
			return false
		}
		s.take(&w, l, own, tombstone)
		return true
	}
	if ts > s.opts.TS {
		return false
	}
	payload, kind, err := openValue(s.it.Key(), raw)
	if err != nil {
		s.err = err
		return false
	}
	s.cur, s.live = found{ts: ts}, kind == kindValue
	s.valBuf = append(s.valBuf[:0], payload...)
	return true
}

// down takes the newest version of keyBuf that counts, from the iterator's position on.
func (s *Scanner) down(ok bool) bool {
	for ; ok; ok = s.it.Next() {
		k := s.it.Key()
		key, ts, err := decodeVersionKey(k)
		if err != nil {
			s.err = corrupt(k, err)
			return false
		}
		if !bytes.Equal(key, s.keyBuf) {
			return false
		}
		took := s.consider(ts, false)
		if s.err != nil {
			return false
		}
		if l := s.cur.layer; took && l != nil {
			took = s.latest(l)
			s.ahead = false
		}
		if took {
			return true
		}
	}
	s.err = s.it.Error()
	return false
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
	s.opts, s.key, s.value, s.cur = ScanOptions{}, nil, nil, found{}
	s.memo = nil
	s.iterOpts = pebble.IterOptions{}
	s.filters[0] = nil
	if cap(s.valBuf) > 1<<20 {
		s.valBuf = nil
	}
	scanners.Put(s)
	return err
}

// since returns the least timestamp that a version committed after the given one may be stored under.
func (v *View) since(after Timestamp) Timestamp {
	ts := after.Next()
	if v.Layers != nil {
		for _, l := range v.Layers.byTxn {
			if l.TS > after {
				ts = min(ts, l.First)
			}
		}
	}
	return max(ts, 1)
}

// LatestInSpan returns the newest timestamp above after at which something in span was written that counts for v and
// is not the reader's own, tombstones and deletions of spans included, zero when there is none. Blocks without newer
// versions are skipped by their time bounds.
func LatestInSpan(r Reader, span Span, after Timestamp, v View) (Timestamp, error) {
	if span.Empty() {
		return 0, nil
	}
	it, err := r.newIter(&pebble.IterOptions{
		LowerBound: appendVersionKey(nil, span.Start, 0),
		UpperBound: appendVersionKey(nil, span.End, 0),
		PointKeyFilters: []pebble.BlockPropertyFilter{
			cockroachkvs.NewMVCCTimeIntervalFilter(uint64(v.since(after)), uint64(maxTS)),
		},
	})
	if err != nil {
		return 0, err
	}
	var latest Timestamp
	for ok := it.First(); ok; {
		ts, counts, verr := v.committedAt(it)
		if verr != nil {
			err = verr
			break
		}
		if !counts {
			ok = it.Next()
			continue
		}
		if ts > after && ts > latest {
			latest = ts
		}
		ok = it.NextPrefix()
	}
	if err == nil {
		err = it.Error()
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	if v.Layers != nil {
		for _, l := range v.Layers.spans {
			for i := range l.Deleted {
				d := &l.Deleted[i]
				if l.TS > max(after, latest) && bytes.Compare(d.Start, span.End) < 0 && bytes.Compare(span.Start, d.End) < 0 {
					latest = l.TS
				}
			}
		}
	}
	return latest, err
}

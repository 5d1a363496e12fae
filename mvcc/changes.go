package mvcc

import (
	"bytes"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/cockroachkvs"
)

// ChangesOptions say which versions a ChangeScanner answers.
type ChangesOptions struct {
	Span Span
	// After < ts <= UpTo holds for every version answered. After must not lie below the GC threshold: a deletion
	// that was collected is not answered.
	After, UpTo Timestamp
	View        View // committed layers; Own is not looked at
	// All answers every version of a key, the newest first; without it only the newest.
	All bool
	// ResumeBelow, when set, leaves out versions of the span's first key at or above it: a page may end in the middle
	// of a key's history.
	ResumeBelow Timestamp
}

// ChangeScanner iterates over what was written in an interval of time, deletions included, in the order of keys. A
// deletion of a span shows as one of each key in it of which an older version is still stored, whether or not that
// was a deletion already. Blocks that hold nothing so new are skipped by their time bounds. It belongs to one
// goroutine.
type ChangeScanner struct {
	it   *pebble.Iterator
	opts ChangesOptions
	err  error

	started, done bool
	key           []byte    // the current key
	inKey         bool      // the iterator stands at the next version of key to look at
	spans         []*Layer  // those that have deleted a part of the span within the interval
	dels          []*Layer  // those of them that cover key, the newest first, not dealt with yet
	have          bool      // next is a version of key that was read but not answered
	next          change    // its value is in valBuf
	out           change    // the answer
	skip          Timestamp // versions of key at or above it are left out
	valBuf        []byte
}

type change struct {
	ts        Timestamp
	tombstone bool
	value     []byte
	layer     *Layer // that a provisional version counts by
}

// NewChangeScanner returns a scanner positioned before the first version. The caller closes it.
func NewChangeScanner(r Reader, opts ChangesOptions) *ChangeScanner {
	s := &ChangeScanner{opts: opts}
	if opts.Span.Empty() || opts.UpTo <= opts.After {
		s.done = true
		return s
	}
	if ls := opts.View.Layers; ls != nil {
		for _, l := range ls.spans {
			if l.TS <= opts.After || l.TS > opts.UpTo {
				continue
			}
			for _, d := range l.Deleted {
				if bytes.Compare(d.Start, opts.Span.End) < 0 && bytes.Compare(opts.Span.Start, d.End) < 0 {
					s.spans = append(s.spans, l)
					break
				}
			}
		}
		slices.SortFunc(s.spans, func(a, b *Layer) int { return int(min(1, max(-1, b.TS-a.TS))) })
	}
	o := pebble.IterOptions{
		LowerBound: appendVersionKey(nil, opts.Span.Start, 0), UpperBound: appendVersionKey(nil, opts.Span.End, 0),
	}
	if len(s.spans) == 0 {
		// With deleted spans old versions matter: they tell which keys there were to delete.
		view := View{Layers: opts.View.Layers}
		o.PointKeyFilters = []pebble.BlockPropertyFilter{cockroachkvs.NewMVCCTimeIntervalFilter(uint64(view.since(opts.After)), uint64(maxTS))}
	}
	s.it, s.err = r.newIter(&o)
	return s
}

// Next advances to the next version and reports whether there is one; false at the end or on an error.
func (s *ChangeScanner) Next() bool {
	for s.err == nil && !s.done {
		if !s.inKey && !s.have && !s.enter() {
			break
		}
		if s.step() {
			return true
		}
	}
	s.done = true
	return false
}

// enter moves to the next key.
func (s *ChangeScanner) enter() bool {
	first := !s.started
	ok := s.it.Valid()
	if first {
		s.started = true
		ok = s.it.First()
	}
	if !ok {
		s.err = s.it.Error()
		return false
	}
	key, _, err := decodeVersionKey(s.it.Key())
	if err != nil {
		s.err = corrupt(s.it.Key(), err)
		return false
	}
	s.key = append(s.key[:0], key...)
	s.inKey, s.have = true, false
	s.skip = maxTS
	if first && s.opts.ResumeBelow != 0 && bytes.Equal(key, s.opts.Span.Start) {
		s.skip = s.opts.ResumeBelow
	}
	s.dels = s.dels[:0]
	for _, l := range s.spans {
		if l.deletesOthers(s.key) {
			s.dels = append(s.dels, l)
		}
	}
	return true
}

// step answers one version of the current key, or finds that there is none left.
func (s *ChangeScanner) step() bool {
	if !s.have && !s.read() {
		// Nothing is left below: what deletions of spans remain had nothing to delete.
		s.dels = s.dels[:0]
		return false
	}
	for len(s.dels) > 0 && s.dels[0].TS > s.next.ts {
		ts := s.dels[0].TS
		s.dels = s.dels[1:]
		if s.answer(change{ts: ts, tombstone: true}) {
			return true
		}
	}
	for len(s.dels) > 0 && s.dels[0].TS == s.next.ts {
		s.dels = s.dels[1:] // what the deleting transaction has written itself is what it left
	}
	if s.have = false; s.next.ts <= s.opts.After {
		s.leave()
		return false
	}
	return s.answer(s.next)
}

// answer makes c the current version unless the options leave it out.
func (s *ChangeScanner) answer(c change) bool {
	if c.ts > s.opts.UpTo || c.ts >= s.skip {
		return false
	}
	s.out = c
	if !s.opts.All {
		s.leave()
	}
	return true
}

// leave moves the iterator to the next key.
func (s *ChangeScanner) leave() {
	if s.inKey {
		s.it.NextPrefix()
	}
	s.inKey, s.have = false, false
	s.dels = s.dels[:0]
}

// read reads the next version of the current key that counts into next, all writes of it by one transaction as one,
// and moves behind it. It answers false when there is none.
func (s *ChangeScanner) read() bool {
	for s.inKey && s.err == nil {
		ts, raw := s.peek()
		if raw == nil {
			return false
		}
		if !isProvisional(raw) {
			payload, kind, err := openValue(s.it.Key(), raw)
			if err != nil {
				s.err = err
				return false
			}
			s.set(change{ts: ts, tombstone: kind == kindTombstone}, payload)
			s.step1()
			return true
		}
		p, tombstone, ok := s.provisional(raw)
		if !ok {
			return false
		}
		l, _ := (&View{Layers: s.opts.View.Layers}).layer(&p, maxTS)
		if l == nil {
			s.step1()
			continue
		}
		seq := p.seq
		s.set(change{ts: l.TS, tombstone: tombstone, layer: l}, p.value)
		for s.step1(); s.inKey; s.step1() {
			_, raw := s.peek()
			if raw == nil || !isProvisional(raw) {
				break
			}
			p, tombstone, ok := s.provisional(raw)
			if !ok || p.txn != l.Txn {
				break
			}
			if p.seq > seq && !l.ignored(p.seq) {
				seq = p.seq
				s.set(change{ts: l.TS, tombstone: tombstone, layer: l}, p.value)
			}
		}
		if l.deletes(s.key, seq) {
			s.next.tombstone, s.next.value = true, nil
		}
		return s.err == nil
	}
	return false
}

// set makes c the next version. The iterator moves on before it is answered, so the value is copied.
func (s *ChangeScanner) set(c change, value []byte) {
	s.valBuf = append(s.valBuf[:0], value...)
	if c.value = s.valBuf; c.tombstone {
		c.value = nil
	}
	s.next, s.have = c, true
}

// peek returns the version at the iterator; nil, and leaves the key, when that is another key's.
func (s *ChangeScanner) peek() (Timestamp, []byte) {
	k := s.it.Key()
	key, ts, err := decodeVersionKey(k)
	if err != nil {
		s.err = corrupt(k, err)
		return 0, nil
	}
	if !bytes.Equal(key, s.key) {
		s.inKey = false
		return 0, nil
	}
	raw, err := s.it.ValueAndErr()
	if err != nil {
		s.err = err
		return 0, nil
	}
	return ts, raw
}

func (s *ChangeScanner) provisional(raw []byte) (p provisional, tombstone, ok bool) {
	payload, kind, err := openValue(s.it.Key(), raw)
	if err == nil {
		if p, err = decodeProvisional(payload); err != nil {
			err = corrupt(s.it.Key(), err)
		}
	}
	s.err = err
	return p, kind == kindProvisionalTombstone, err == nil
}

// step1 moves to the next version, whoever's.
func (s *ChangeScanner) step1() {
	if !s.it.Next() {
		s.err, s.inKey = s.it.Error(), false
		return
	}
	key, _, err := decodeVersionKey(s.it.Key())
	if err != nil {
		s.err = corrupt(s.it.Key(), err)
		return
	}
	s.inKey = bytes.Equal(key, s.key)
}

// Key returns the current version's key, valid until the next call of Next or Close.
func (s *ChangeScanner) Key() []byte { return s.key }

// Value returns the current version's value, nil for a deletion; valid until the next call of Next or Close.
func (s *ChangeScanner) Value() []byte { return s.out.value }

// Timestamp returns the current version's timestamp.
func (s *ChangeScanner) Timestamp() Timestamp { return s.out.ts }

// Deleted reports whether the current version is a deletion.
func (s *ChangeScanner) Deleted() bool { return s.out.tombstone }

// Err returns the error that ended the scan, nil at its regular end.
func (s *ChangeScanner) Err() error { return s.err }

// Close releases the scanner.
func (s *ChangeScanner) Close() error {
	if s.it == nil {
		return nil
	}
	err := s.it.Close()
	s.it = nil
	return err
}

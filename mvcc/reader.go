package mvcc

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Reader is a state to read from: an Engine (its latest state, for each call anew), a Snapshot, a Batch
// (its own writes over the engine's latest state) or what Engine.Durable returns.
type Reader interface {
	newIter(o *pebble.IterOptions) (*pebble.Iterator, error)
}

func (e *Engine) newIter(o *pebble.IterOptions) (*pebble.Iterator, error) { return e.db.NewIter(o) }

// Snapshot is the engine's state at one moment. It holds back compaction of what it sees, so it is for
// short use; an Exporter of a large range holds one only because it must.
type Snapshot struct{ s *pebble.Snapshot }

// NewSnapshot returns the current state. The caller closes it.
func (e *Engine) NewSnapshot() *Snapshot { return &Snapshot{e.db.NewSnapshot()} }

// Close releases the snapshot.
func (s *Snapshot) Close() error { return s.s.Close() }

func (s *Snapshot) newIter(o *pebble.IterOptions) (*pebble.Iterator, error) { return s.s.NewIter(o) }

type durableReader struct{ db *pebble.DB }

// Durable returns a reader that sees only what has reached disk and would survive a crash now. Its main
// use is GetLocal of a range's applied index, below which the raft log may be truncated.
func (e *Engine) Durable() Reader { return durableReader{e.db} }

func (d durableReader) newIter(o *pebble.IterOptions) (*pebble.Iterator, error) {
	var opts pebble.IterOptions
	if o != nil {
		opts = *o
	}
	opts.OnlyReadGuaranteedDurable = true
	return d.db.NewIter(&opts)
}

// probe is the reusable scratch of one point read.
type probe struct {
	key  []byte
	opts pebble.IterOptions
}

var probes = sync.Pool{New: func() any { return &probe{key: make([]byte, 0, 256)} }}

func (p *probe) release() {
	if cap(p.key) <= 64<<10 {
		probes.Put(p)
	}
}

// Get returns the newest version of key at or below ts. found is false when there is none, or when it is
// a tombstone, whose timestamp vts then is. The value is the caller's. Provisional versions do not exist for Get.
func Get(r Reader, key []byte, ts Timestamp) (value []byte, vts Timestamp, found bool, err error) {
	return GetView(r, key, ts, View{})
}

// GetView is Get for a reader that sees what v says. vts is zero when the version is the reader's own.
func GetView(r Reader, key []byte, ts Timestamp, v View) (value []byte, vts Timestamp, found bool, err error) {
	value, vts, found, err = AppendGet(nil, r, key, ts, v)
	if found && value == nil {
		value = []byte{}
	}
	return value, vts, found, err
}

// AppendGet is GetView that appends the value to dst.
func AppendGet(dst []byte, r Reader, key []byte, ts Timestamp, v View) (value []byte, vts Timestamp, found bool, err error) {
	if ts <= 0 {
		return dst, 0, false, nil
	}
	p := probes.Get().(*probe)
	defer p.release()
	it, err := r.newIter(&p.opts)
	if err != nil {
		return dst, 0, false, err
	}
	n := len(dst)
	dst, vts, found, err = p.get(it, dst, key, ts, &v)
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return dst[:n], 0, false, err
	}
	return dst, vts, found, nil
}

// get finds the version of key that a reader at ts sees, and appends its value to dst.
func (p *probe) get(it *pebble.Iterator, dst, key []byte, ts Timestamp, v *View) ([]byte, Timestamp, bool, error) {
	// Versions sort newest first, so the first one at or after (key, ts) that counts is the answer. The prefix seek
	// lets the bloom filters answer for most tables.
	p.key = appendVersionKey(p.key[:0], key, v.seekTS(ts))
	n := len(dst)
	var f found
	live := false // f has a value
	ok := it.SeekPrefixGE(p.key)
	for ; ok; ok = it.Next() {
		k := it.Key()
		_, vts, err := decodeVersionKey(k)
		if err != nil {
			return dst, 0, false, corrupt(k, err)
		}
		raw, err := it.ValueAndErr()
		if err != nil {
			return dst, 0, false, err
		}
		if vts > ts && !isProvisional(raw) {
			continue
		}
		payload, kind, err := openValue(k, raw)
		if err != nil {
			return dst, 0, false, err
		}
		if kind < kindProvisional {
			if f.layer != nil {
				break
			}
			f.ts, live = vts, kind == kindValue
			dst = append(dst, payload...)
			if _, hidden := v.deleted(key, &f, ts); hidden {
				break
			}
			return dst, vts, live, nil
		}
		w, err := decodeProvisional(payload)
		if err != nil {
			return dst, 0, false, corrupt(k, err)
		}
		if f.layer != nil && w.txn != f.layer.Txn {
			break
		}
		l, own := v.layer(&w, ts)
		if l == nil || vts > ts && !own {
			continue
		}
		// A transaction's writes of a key lie next to each other. Numbers tell which is the latest.
		if f.layer == nil || w.seq > f.seq {
			f = found{layer: l, seq: w.seq, own: own}
			if !own {
				f.ts = l.TS
			}
			dst = append(dst[:n], w.value...)
			live = kind == kindProvisional
		}
		if l.Once && !own {
			break
		}
	}
	if !ok {
		if err := it.Error(); err != nil {
			return dst, 0, false, err
		}
	}
	if f.layer == nil && f.ts == 0 {
		return dst, 0, false, nil
	}
	if at, hidden := v.deleted(key, &f, ts); hidden {
		return dst[:n], at, false, nil
	}
	return dst, f.ts, live, nil
}

// PointReader reads keys one by one, as of its first Get: it holds one iterator, because opening one for each key
// costs more than the read. Ascending keys are read fastest. It belongs to one goroutine.
type PointReader struct {
	r    Reader
	view View
	it   *pebble.Iterator
	p    *probe
}

// NewPointReader returns a reader that sees what v says. Nothing is opened before the first Get. The caller closes
// it.
func NewPointReader(r Reader, v View) *PointReader { return &PointReader{r: r, view: v} }

// Get is GetView.
func (p *PointReader) Get(key []byte, ts Timestamp) (value []byte, vts Timestamp, exists bool, err error) {
	if ts <= 0 {
		return nil, 0, false, nil
	}
	if err := p.open(); err != nil {
		return nil, 0, false, err
	}
	value, vts, exists, err = p.p.get(p.it, nil, key, ts, &p.view)
	switch {
	case err != nil:
		return nil, 0, false, err
	case !exists:
		return nil, vts, false, nil
	case value == nil:
		value = []byte{}
	}
	return value, vts, true, nil
}

// Latest is LatestTimestamp.
func (p *PointReader) Latest(key []byte) (Timestamp, error) {
	if err := p.open(); err != nil {
		return 0, err
	}
	return p.p.latest(p.it, key, &p.view)
}

func (p *PointReader) open() (err error) {
	if p.it != nil {
		return nil
	}
	p.p = probes.Get().(*probe)
	p.it, err = p.r.newIter(&p.p.opts)
	return err
}

// Close closes the reader.
func (p *PointReader) Close() error {
	if p.it == nil {
		return nil
	}
	err := p.it.Close()
	p.it = nil
	p.p.release()
	return err
}

// LatestTimestamp returns the timestamp of the newest version of key that counts for v and is not the reader's own,
// tombstones and deletions of spans included, zero when there is none: what a snapshot transaction's write is
// checked against.
func LatestTimestamp(r Reader, key []byte, v View) (Timestamp, error) {
	p := probes.Get().(*probe)
	defer p.release()
	it, err := r.newIter(&p.opts)
	if err != nil {
		return 0, err
	}
	latest, err := p.latest(it, key, &v)
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return latest, err
}

func (p *probe) latest(it *pebble.Iterator, key []byte, v *View) (latest Timestamp, err error) {
	p.key = appendVersionKey(p.key[:0], key, 0)
	ok := it.SeekPrefixGE(p.key)
	for ; ok; ok = it.Next() {
		ts, counts, err := v.committedAt(it)
		if err != nil {
			return 0, err
		}
		if counts {
			latest = ts
			break
		}
	}
	if !ok {
		if err := it.Error(); err != nil {
			return 0, err
		}
	}
	if v.Layers != nil {
		for _, l := range v.Layers.spans {
			if l.TS > latest && l.deletesOthers(key) {
				latest = l.TS
			}
		}
	}
	return latest, nil
}

// committedAt returns when the version at the iterator was committed, and whether it was, by another transaction than
// the reader's.
func (v *View) committedAt(it *pebble.Iterator) (ts Timestamp, counts bool, err error) {
	k := it.Key()
	_, ts, err = decodeVersionKey(k)
	if err != nil {
		return 0, false, corrupt(k, err)
	}
	raw, err := it.ValueAndErr()
	if err != nil {
		return 0, false, err
	}
	if !isProvisional(raw) {
		return ts, true, nil
	}
	payload, _, err := openValue(k, raw)
	if err != nil {
		return 0, false, err
	}
	p, err := decodeProvisional(payload)
	if err != nil {
		return 0, false, corrupt(k, err)
	}
	l, own := v.layer(&p, maxTS)
	if l == nil || own {
		return 0, false, nil
	}
	return l.TS, true, nil
}

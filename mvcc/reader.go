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
// a tombstone, whose timestamp vts then is. The value is the caller's.
func Get(r Reader, key []byte, ts Timestamp) (value []byte, vts Timestamp, found bool, err error) {
	value, vts, found, err = AppendGet(nil, r, key, ts)
	if found && value == nil {
		value = []byte{}
	}
	return value, vts, found, err
}

// AppendGet is Get that appends the value to dst.
func AppendGet(dst []byte, r Reader, key []byte, ts Timestamp) (value []byte, vts Timestamp, found bool, err error) {
	if ts <= 0 {
		return dst, 0, false, nil
	}
	p := probes.Get().(*probe)
	defer p.release()
	p.key = appendVersionKey(p.key[:0], key, ts)
	it, err := r.newIter(&p.opts)
	if err != nil {
		return dst, 0, false, err
	}
	// Versions sort newest first, so the first one at or after (key, ts) is the answer. The prefix seek
	// lets the bloom filters answer for most tables.
	if it.SeekPrefixGE(p.key) {
		dst, vts, found, err = appendVersion(dst, it)
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return dst, 0, false, err
	}
	return dst, vts, found, nil
}

func appendVersion(dst []byte, it *pebble.Iterator) ([]byte, Timestamp, bool, error) {
	k := it.Key()
	_, vts, err := decodeVersionKey(k)
	if err != nil {
		return dst, 0, false, corrupt(k, err)
	}
	raw, err := it.ValueAndErr()
	if err != nil {
		return dst, 0, false, err
	}
	payload, tombstone, err := openValue(k, raw)
	if err != nil {
		return dst, 0, false, err
	}
	return append(dst, payload...), vts, !tombstone, nil
}

// LatestTimestamp returns the timestamp of the newest version of key, tombstones included, zero when
// there is none: what a snapshot transaction's write is checked against.
func LatestTimestamp(r Reader, key []byte) (Timestamp, error) {
	p := probes.Get().(*probe)
	defer p.release()
	p.key = appendVersionKey(p.key[:0], key, 0)
	it, err := r.newIter(&p.opts)
	if err != nil {
		return 0, err
	}
	var ts Timestamp
	if it.SeekPrefixGE(p.key) {
		if _, ts, err = decodeVersionKey(it.Key()); err != nil {
			err = corrupt(it.Key(), err)
		}
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return ts, err
}

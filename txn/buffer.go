package txn

import (
	"bytes"
	"slices"
	"sort"

	"github.com/meridian-db/meridian/txn/txnpb"
)

// A write buffer keeps a transaction's writes sorted by key. Each write carries the level it was made at;
// savepoints and open scanners raise the level, so that what came before them can still be told from what
// came after. Within a level a key has one version.
type buffer struct {
	entries []*entry // sorted by key
	bytes   int      // of keys and values, plus a fixed cost each
	arena   []byte   // tail of the chunk that keys and values are copied into
	spare   []entry  // the same for entries
}

type entry struct {
	key []byte
	version
}

type version struct {
	op    txnpb.WriteOp // PUT, DELETE or INSERT
	level uint64
	value []byte
	prev  *version // of a lower level
}

const entryCost = 96

// at returns the version visible at a level: the newest not above it.
func (e *entry) at(level uint64) *version {
	for v := &e.version; v != nil; v = v.prev {
		if v.level <= level {
			return v
		}
	}
	return nil
}

// copyBytes copies b into the arena: many small writes make few allocations.
func (w *buffer) copyBytes(b []byte) []byte {
	if len(b) == 0 {
		return []byte{}
	}
	if cap(w.arena)-len(w.arena) < len(b) {
		if len(b) > 16<<10 {
			return bytes.Clone(b)
		}
		// Small transactions pay for a small chunk.
		size := 1 << 10
		if w.bytes > 4<<10 {
			size = 64 << 10
		}
		w.arena = make([]byte, 0, max(size, len(b)))
	}
	n := len(w.arena)
	w.arena = append(w.arena, b...)
	return w.arena[n:len(w.arena):len(w.arena)]
}

// search returns the position of the first entry at or above key.
func (w *buffer) search(key []byte) (int, bool) {
	// Loads come in key order: look at the end first.
	if n := len(w.entries); n == 0 || bytes.Compare(w.entries[n-1].key, key) < 0 {
		return n, false
	}
	i := sort.Search(len(w.entries), func(i int) bool { return bytes.Compare(w.entries[i].key, key) >= 0 })
	return i, i < len(w.entries) && bytes.Equal(w.entries[i].key, key)
}

func (w *buffer) get(key []byte) *entry {
	if len(w.entries) == 0 {
		return nil
	}
	if i, ok := w.search(key); ok {
		return w.entries[i]
	}
	return nil
}

// newEntry returns an entry from a chunk: chunks are as large as all before them, up to a limit.
func (w *buffer) newEntry() *entry {
	n := len(w.entries)
	if n == 0 {
		w.entries = make([]*entry, 0, 4)
	}
	if len(w.spare) == 0 {
		w.spare = make([]entry, min(max(n, 1), 64))
	}
	e := &w.spare[0]
	w.spare = w.spare[1:]
	return e
}

// set records a write at level, which is at least that of every write so far.
func (w *buffer) set(op txnpb.WriteOp, key, value []byte, level uint64) {
	i, found := w.search(key)
	if !found {
		e := w.newEntry()
		*e = entry{key: w.copyBytes(key), version: version{op: op, level: level, value: w.copyBytes(value)}}
		w.entries = slices.Insert(w.entries, i, e)
		w.bytes += len(key) + len(value) + entryCost
		return
	}
	e := w.entries[i]
	// An insert that is overwritten still requires the key to be absent; one that is deleted leaves
	// nothing to require, but the delete is harmless and simple.
	switch {
	case e.op == txnpb.WriteOp_WRITE_INSERT && op == txnpb.WriteOp_WRITE_PUT:
		op = e.op
	case op == txnpb.WriteOp_WRITE_INSERT && e.op != txnpb.WriteOp_WRITE_INSERT:
		// The key is absent because this transaction deletes it: the range still holds it.
		op = txnpb.WriteOp_WRITE_PUT
	}
	if e.level == level {
		w.bytes += len(value) - len(e.value)
		e.op, e.value = op, w.copyBytes(value)
		return
	}
	prev := e.version
	e.version = version{op: op, level: level, value: w.copyBytes(value), prev: &prev}
	w.bytes += len(value) + entryCost
}

// rollback drops the writes made at level and above.
func (w *buffer) rollback(level uint64) {
	kept := w.entries[:0]
	for _, e := range w.entries {
		v := &e.version
		for v != nil && v.level >= level {
			w.bytes -= len(v.value) + entryCost
			v = v.prev
		}
		if v == nil {
			w.bytes -= len(e.key)
			continue
		}
		e.version = *v
		kept = append(kept, e)
	}
	clear(w.entries[len(kept):])
	w.entries = kept
}

// removeSpan drops all writes in [start, end).
func (w *buffer) removeSpan(start, end []byte) {
	i, _ := w.search(start)
	j, _ := w.search(end)
	for _, e := range w.entries[i:j] {
		w.bytes -= len(e.key)
		for v := &e.version; v != nil; v = v.prev {
			w.bytes -= len(v.value) + entryCost
		}
	}
	w.entries = slices.Delete(w.entries, i, j)
}

// reset empties the buffer; slices handed out stay valid.
func (w *buffer) reset() { *w = buffer{} }

// next returns the first entry at or above key (above it, when after), below end, that has a version at
// level.
func (w *buffer) next(key []byte, after bool, end []byte, level uint64) (*entry, *version) {
	i, found := w.search(key)
	if found && after {
		i++
	}
	for ; i < len(w.entries); i++ {
		e := w.entries[i]
		if bytes.Compare(e.key, end) >= 0 {
			return nil, nil
		}
		if v := e.at(level); v != nil {
			return e, v
		}
	}
	return nil, nil
}

// prev returns the last entry below key and at or above start that has a version at level.
func (w *buffer) prev(key, start []byte, level uint64) (*entry, *version) {
	i, _ := w.search(key)
	for i--; i >= 0; i-- {
		e := w.entries[i]
		if bytes.Compare(e.key, start) < 0 {
			return nil, nil
		}
		if v := e.at(level); v != nil {
			return e, v
		}
	}
	return nil, nil
}

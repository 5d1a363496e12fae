package mvcc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/cockroachdb/pebble/v2"
)

// LocalReader reads unversioned keys: an engine or a batch, by way of LocalOf, or LocalRecords.
type LocalReader interface {
	GetLocal(key []byte) (value []byte, found bool, err error)
	ScanLocal(start, end []byte, fn func(key, value []byte) error) error
}

// LocalOf reads the unversioned keys of r.
func LocalOf(r Reader) LocalReader { return localOf{r} }

type localOf struct{ r Reader }

func (l localOf) GetLocal(key []byte) ([]byte, bool, error) { return GetLocal(l.r, key) }
func (l localOf) ScanLocal(start, end []byte, fn func(key, value []byte) error) error {
	return ScanLocal(l.r, start, end, fn)
}

// LocalRecords is all unversioned keys of one range, in memory.
type LocalRecords struct{ keys, values [][]byte }

// maxLocalRecords is how many keys of a range ScanLocalRanges gathers. A range with more is busy, and read by itself.
const maxLocalRecords = 64

func (l *LocalRecords) find(key []byte) int {
	return sort.Search(len(l.keys), func(i int) bool { return bytes.Compare(l.keys[i], key) >= 0 })
}

// GetLocal implements LocalReader.
func (l *LocalRecords) GetLocal(key []byte) ([]byte, bool, error) {
	if i := l.find(key); i < len(l.keys) && bytes.Equal(l.keys[i], key) {
		return bytes.Clone(l.values[i]), true, nil
	}
	return nil, false, nil
}

// ScanLocal implements LocalReader.
func (l *LocalRecords) ScanLocal(start, end []byte, fn func(key, value []byte) error) error {
	for i := l.find(start); i < len(l.keys) && bytes.Compare(l.keys[i], end) < 0; i++ {
		if err := fn(l.keys[i], l.values[i]); err != nil {
			return err
		}
	}
	return nil
}

// ScanLocalRanges calls fn with the unversioned keys of each range that has some, in the order of their ids, in one pass
// over all. A range with very many keys comes with the reader itself in place of its records.
func ScanLocalRanges(r Reader, fn func(id uint64, l LocalReader) error) error {
	it, err := r.newIter(&pebble.IterOptions{
		LowerBound: appendVersionKey(nil, LocalKey(0, nil), 0),
		UpperBound: appendVersionKey(nil, LocalSpan(1<<64-1).End, 0),
	})
	if err != nil {
		return err
	}
	var id uint64
	var recs *LocalRecords
	emit := func() error {
		if recs == nil {
			return nil
		}
		l := LocalReader(recs)
		if len(recs.keys) > maxLocalRecords {
			l = LocalOf(r)
		}
		recs = nil
		return fn(id, l)
	}
	for ok := it.First(); ok && err == nil; {
		key, ts, derr := decodeVersionKey(it.Key())
		if derr == nil && (ts != 0 || len(key) < 10) {
			derr = fmt.Errorf("local key %x with version %s", key, ts)
		}
		if derr != nil {
			err = corrupt(it.Key(), derr)
			break
		}
		if next := binary.BigEndian.Uint64(key[2:]); recs == nil || next != id {
			if err = emit(); err != nil {
				break
			}
			id, recs = next, &LocalRecords{}
		}
		var value []byte
		if value, err = localValue(it); err != nil {
			break
		}
		recs.keys, recs.values = append(recs.keys, bytes.Clone(key)), append(recs.values, bytes.Clone(value))
		if len(recs.keys) > maxLocalRecords {
			ok = it.SeekGE(appendVersionKey(nil, LocalSpan(id).End, 0))
		} else {
			ok = it.Next()
		}
	}
	if err == nil {
		err = it.Error()
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = emit()
	}
	return err
}

package mvcc

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// PutLocal sets an unversioned key, which must start with 0x00.
func (b *Batch) PutLocal(key, value []byte) {
	mustLocalKey(key)
	op := b.b.SetDeferred(len(key)+1, valueHeader+len(value))
	n := copy(op.Key, key)
	op.Key[n] = 0 // The "no version" byte that every unversioned engine key ends in.
	fillValue(op.Value, op.Key, kindValue, nil, value)
	b.finish(op)
}

// DeleteLocal removes an unversioned key.
func (b *Batch) DeleteLocal(key []byte) {
	mustLocalKey(key)
	op := b.b.DeleteDeferred(len(key) + 1)
	n := copy(op.Key, key)
	op.Key[n] = 0
	b.finish(op)
}

// DeleteLocalRange removes the unversioned keys k with start <= k < end.
func (b *Batch) DeleteLocalRange(start, end []byte) {
	mustLocalKey(start)
	must(b.b.DeleteRange(appendVersionKey(nil, start, 0), appendVersionKey(nil, end, 0), nil))
}

// GetLocal reads key through the batch.
func (b *Batch) GetLocal(key []byte) (value []byte, found bool, err error) { return GetLocal(b, key) }

// ScanLocal reads through the batch.
func (b *Batch) ScanLocal(start, end []byte, fn func(key, value []byte) error) error {
	return ScanLocal(b, start, end, fn)
}

// GetLocal reads an unversioned key. The value is the caller's.
func GetLocal(r Reader, key []byte) (value []byte, found bool, err error) {
	mustLocalKey(key)
	p := probes.Get().(*probe)
	defer p.release()
	p.key = appendVersionKey(p.key[:0], key, 0)
	it, err := r.newIter(&p.opts)
	if err != nil {
		return nil, false, err
	}
	if it.SeekPrefixGE(p.key) {
		value, err = localValue(it)
		if found = err == nil; found {
			value = append([]byte{}, value...)
		}
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, false, err
	}
	return value, found, nil
}

func localValue(it *pebble.Iterator) ([]byte, error) {
	raw, err := it.ValueAndErr()
	if err != nil {
		return nil, err
	}
	value, kind, err := openValue(it.Key(), raw)
	if err == nil && kind != kindValue {
		err = corrupt(it.Key(), errValueKind)
	}
	return value, err
}

// ScanLocal calls fn for each unversioned key k with start <= k < end, in order; its slices are valid during
// the call only. An error from fn ends the scan and is returned.
func ScanLocal(r Reader, start, end []byte, fn func(key, value []byte) error) error {
	mustLocalKey(start)
	it, err := r.newIter(&pebble.IterOptions{
		LowerBound: appendVersionKey(nil, start, 0),
		UpperBound: appendVersionKey(nil, end, 0),
	})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		key, ts, derr := decodeVersionKey(it.Key())
		if derr == nil && ts != 0 {
			derr = fmt.Errorf("local key with version %s", ts)
		}
		if derr != nil {
			err = corrupt(it.Key(), derr)
			break
		}
		var value []byte
		if value, err = localValue(it); err == nil {
			err = fn(key, value)
		}
	}
	if err == nil {
		err = it.Error()
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return err
}

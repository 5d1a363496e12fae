package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Loaded is what LoadAll finds of a range.
type Loaded struct {
	State
	TermAt    uint64 // the term of the entry asked for; zero when the log does not hold it
	Tombstone uint64 // as Log.Tombstone
}

// LoadAll reads the state of all logs in one pass. at says for which entry of a range's log TermAt is wanted; zero: none.
func (l *Log) LoadAll(at func(id uint64) uint64, fn func(id uint64, x Loaded) error) error {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixRange}, UpperBound: []byte{prefixRange + 1}})
	if err != nil {
		return err
	}
	var (
		id, index   uint64
		x           Loaded
		first, term uint64 // of the entries: the first index, the last term
		last        uint64
		open        bool
	)
	emit := func() error {
		if !open {
			return nil
		}
		open = false
		x.Last = x.Truncated
		if last != 0 {
			if first != x.Truncated.Index+1 {
				return fmt.Errorf("%w: range %d lacks entry %d", ErrCorrupt, id, x.Truncated.Index+1)
			}
			x.Last = Position{last, term}
		}
		if index == x.Truncated.Index {
			x.TermAt = x.Truncated.Term
		}
		return fn(id, x)
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		k := it.Key()
		if len(k) < 10 {
			err = fmt.Errorf("%w: key %x", ErrCorrupt, k)
			break
		}
		if next := binary.BigEndian.Uint64(k[1:]); !open || next != id {
			if err = emit(); err != nil {
				break
			}
			id, x, open, first, last, term = next, Loaded{}, true, 0, 0, 0
			index = at(id)
		}
		var v []byte
		if v, err = it.ValueAndErr(); err != nil {
			break
		}
		switch k[9] {
		case kindEntry:
			if len(k) != 18 || len(v) < 2 {
				err = fmt.Errorf("%w: an entry of range %d", ErrCorrupt, id)
				break
			}
			i := binary.BigEndian.Uint64(k[10:])
			t, n := binary.Uvarint(v[1:])
			switch {
			case n <= 0:
				err = fmt.Errorf("range %d: %w: entry %d", id, ErrCorrupt, i)
			case last != 0 && i != last+1:
				err = fmt.Errorf("%w: range %d lacks entry %d", ErrCorrupt, id, last+1)
			}
			if first == 0 {
				first = i
			}
			last, term = i, t
			if i == index {
				x.TermAt = t
			}
			x.Bytes += int64(len(v) - 1 - n)
		case kindHard:
			x.Exists = true
			x.Hard.Term, x.Hard.Vote, x.Hard.Commit, err = decode3(v)
		case kindTruncated:
			x.Exists = true
			x.Truncated.Index, x.Truncated.Term, _, err = decode3(v)
		case kindTombstone:
			x.Tombstone, _, _, err = decode3(v)
		}
		if err != nil {
			err = fmt.Errorf("range %d: %w", id, err)
		}
	}
	if err == nil {
		err = emit()
	}
	return errors.Join(err, it.Error(), it.Close())
}

package sim

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/meridian-db/meridian/txn/kv"
)

// The mark load: transactions scan a group of marks, all of it or a few from one end, and put new marks into groups, at keys
// that lie anywhere between the others. What a scan did not find must not have been there (phantoms), and a mark that was
// put and rolled back to a savepoint must never be found.

// markGroups is how many groups of an age there are. Half of them lie on each side of the first split, behind the registers.
const markGroups = 4

func markGroup(i, age int) kv.Span {
	start := []byte{0x03, 0, 0, byte(1 + i%2), 0, 0, 0, 2, byte(i), byte(age >> 8), byte(age)}
	return kv.Span{Start: start, End: append(bytes.Clone(start), 0xff)}
}

// markKey is the key of the mark with a value, at a place in its group that does not follow from when it was put.
func markKey(group kv.Span, v int) []byte {
	key := append(bytes.Clone(group.Start), byte(v*151%251))
	return binary.BigEndian.AppendUint32(key, uint32(v))
}

func isMark(key []byte) bool { return len(key) == 16 && key[7] == 2 }

// Scan is what a transaction found between two keys.
type Scan struct {
	From, To string
	Found    map[string]int
}

func (s *Scan) holds(key string) bool { return s.From <= key && key < s.To }

// useMarks scans a group, mostly, and puts one or two marks into others or the same.
func useMarks(ctx context.Context, tx kv.Txn, o *Op, rng *rand.Rand, h *recorder, age int, flush bool) error {
	if o.ReadOnly || rng.IntN(4) > 0 {
		lock := kv.LockNone
		switch {
		case o.ReadOnly:
		case rng.IntN(4) == 0:
			lock = kv.LockExclusive
		default:
			lock = kv.LockShared
		}
		opt := kv.ScanOptions{Lock: lock, Reverse: rng.IntN(3) == 0}
		if rng.IntN(3) == 0 {
			opt.Limit = int64(1 + rng.IntN(4))
		}
		s, err := scanMarks(ctx, tx, markGroup(rng.IntN(markGroups), age), opt)
		if err != nil {
			return err
		}
		o.Scans = append(o.Scans, s)
	}
	if o.ReadOnly {
		return nil
	}
	for range 1 + rng.IntN(2) { // without a write there would be no timestamp to check it by
		group := markGroup(rng.IntN(markGroups), age)
		if rng.IntN(4) == 0 {
			// Put, and taken back.
			sp, v := tx.Savepoint(), h.value()
			if err := tx.Put(markKey(group, v), strconv.AppendInt(nil, int64(v), 10)); err != nil {
				return err
			}
			if flush {
				if err := tx.Flush(ctx); err != nil {
					return err
				}
			}
			if err := tx.RollbackTo(ctx, sp); err != nil {
				return err
			}
		}
		v := h.value()
		key, value := markKey(group, v), strconv.AppendInt(nil, int64(v), 10)
		put := tx.Put
		if rng.IntN(2) == 0 {
			put = tx.Insert
		}
		o.Writes[string(key)] = v
		if err := put(key, value); err != nil {
			return err
		}
		if flush && rng.IntN(2) == 0 {
			if err := tx.Flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// scanMarks reads a group from one end. With a limit it stops there, and has seen nothing of what comes after.
func scanMarks(ctx context.Context, tx kv.Txn, group kv.Span, opt kv.ScanOptions) (Scan, error) {
	s := Scan{From: string(group.Start), To: string(group.End), Found: map[string]int{}}
	sc, err := tx.Scan(ctx, group, opt)
	if err != nil {
		return s, err
	}
	defer sc.Close()
	for n := int64(0); opt.Limit == 0 || n < opt.Limit; n++ {
		if !sc.Next(ctx) {
			return s, sc.Err()
		}
		key := string(sc.Pair().Key)
		if s.Found[key], err = decodeRegister(sc.Pair().Value); err != nil {
			return s, err
		}
		if n+1 == opt.Limit {
			if opt.Reverse {
				s.From = key
			} else {
				s.To = key + "\x00"
			}
		}
	}
	return s, nil
}

// registersOf makes registers of marks, each written once: a scan has read every one that it passed over, found or not.
func registersOf(ops []Op) []Op {
	known := map[string]bool{}
	for _, o := range ops {
		for key := range o.Writes {
			if isMark([]byte(key)) {
				known[key] = true
			}
		}
		for _, s := range o.Scans {
			for key := range s.Found {
				known[key] = true
			}
		}
	}
	keys := make([]string, 0, len(known))
	for key := range known {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	out := slices.Clone(ops)
	for i := range out {
		o := &out[i]
		if len(o.Scans) == 0 {
			continue
		}
		seen := make(map[string]int, len(o.Seen))
		for key, v := range o.Seen {
			seen[key] = v
		}
		for _, s := range o.Scans {
			at, _ := slices.BinarySearch(keys, s.From)
			for ; at < len(keys) && s.holds(keys[at]); at++ {
				seen[keys[at]] = s.Found[keys[at]] // 0: not there
			}
		}
		o.Seen = seen
	}
	return out
}

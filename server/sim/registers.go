package sim

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// The register load: whoever writes a register does not read it. That takes no lock before the commit, so that writes
// meet each other, and leaders that were replaced, where those of lists would have failed at their read.

// registers is how many there are.
const registers = 6

// registerKey is the key of a register. Half of them lie on each side of the first split, behind the lists.
func registerKey(i int) []byte { return []byte{0x03, 0, 0, byte(1 + i%2), 0, 0, 0, 1, byte(i)} }

func isRegister(key []byte) bool { return len(key) == 9 && key[7] == 1 }

// useRegisters reads and writes one or two registers; a transaction that may write writes the first.
func useRegisters(ctx context.Context, tx kv.Txn, o *Op, rng *rand.Rand, h *recorder) error {
	for i, k := range rng.Perm(registers)[:1+rng.IntN(2)] {
		key := registerKey(k)
		if !o.ReadOnly && (i == 0 || rng.IntN(2) == 0) {
			v := h.value()
			o.Writes[string(key)] = v
			if err := tx.Put(key, strconv.AppendInt(nil, int64(v), 10)); err != nil {
				return err
			}
			continue
		}
		lock := kv.LockNone
		if !o.ReadOnly {
			lock = kv.LockShared
		}
		b, err := tx.Get(ctx, key, lock, kv.WaitBlock)
		if err != nil {
			return err
		}
		if o.Seen[string(key)], err = decodeRegister(b); err != nil {
			return err
		}
	}
	return nil
}

func decodeRegister(b []byte) (int, error) {
	if b == nil {
		return 0, nil
	}
	return strconv.Atoi(string(b))
}

// observation is what one transaction did to one register.
type observation struct {
	op    *Op
	write bool
	value int
}

// rank orders what happened at one timestamp: who may write reads what was there before, a read-only transaction what
// is there then.
func (x observation) rank() int {
	switch {
	case x.write:
		return 1
	case x.op.ReadOnly:
		return 2
	}
	return 0
}

// checkRegisters holds the registers' history against the order of timestamps: each read finds the value that was last
// written before. A write of unknown outcome takes place before the first read that finds it, after what was read before
// that, or nowhere. At most limit violations are returned.
func checkRegisters(ops []Op, limit int) (errs []error) {
	fail := func(format string, args ...any) {
		if len(errs) < limit {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	by := map[string][]observation{}
	open := map[int]*Op{} // writes of unknown outcome that nobody has seen yet, by value
	for i := range ops {
		o := &ops[i]
		for key, v := range o.Writes {
			if o.Unknown {
				open[v] = o
			} else {
				by[key] = append(by[key], observation{o, true, v})
			}
		}
		for key, v := range o.Seen {
			if !o.Unknown {
				by[key] = append(by[key], observation{o, false, v})
			}
		}
	}
	for key, list := range by {
		slices.SortStableFunc(list, func(a, b observation) int { return cmp.Or(cmp.Compare(a.op.TS, b.op.TS), a.rank()-b.rank()) })
		value, last := 0, truetime.Timestamp(0)
		for _, x := range list {
			switch {
			case x.write:
				if x.op.TS == last {
					fail("%s and another commit wrote register %x at the same timestamp", x.op, key)
				}
				value, last = x.value, x.op.TS
			case x.value == value:
			case open[x.value] != nil && open[x.value].Writes[key] == x.value:
				if asked := open[x.value].Commit; x.op.TS < truetime.FromTime(asked) {
					fail("%s read %d in register %x, whose commit was requested at %s", x.op, x.value, key, truetime.FromTime(asked))
				}
				delete(open, x.value)
				value = x.value
			default:
				fail("%s read %d in register %x, which held %d since %s", x.op, x.value, key, value, last)
			}
		}
	}
	return errs
}

package locktable

import (
	"bytes"
	"fmt"
	"math/rand"
	"testing"

	"github.com/meridian-db/meridian/truetime"
)

func conflict(a, b LockInfo) bool {
	if a.Txn == b.Txn || a.Mode == Shared && b.Mode == Shared {
		return false
	}
	before := func(k []byte, l LockInfo) bool {
		if l.End == nil {
			return bytes.Compare(k, l.Start) <= 0
		}
		return bytes.Compare(k, l.End) < 0
	}
	return before(a.Start, b) && before(b.Start, a)
}

func older(a, b LockInfo) bool {
	return a.Age < b.Age || a.Age == b.Age && bytes.Compare(a.Txn[:], b.Txn[:]) < 0
}

// checkTable checks what the package promises, by brute force over everything held and awaited: no two
// conflicting locks are held; whoever waits has something to wait for; and once it presses, that is older or
// cannot be wounded, so no cycle of waits lasts.
func checkTable(t *Table) error {
	locks := t.Locks(0)
	for i, a := range locks {
		if a.State == Aborted || a.State == Done {
			return fmt.Errorf("%x is %s and listed", a.Txn[:1], a.State)
		}
		if !a.Waiting {
			for _, b := range locks[i+1:] {
				if !b.Waiting && conflict(a, b) {
					return fmt.Errorf("%x and %x both hold %q %q", a.Txn[:1], b.Txn[:1], a.Start, b.Start)
				}
			}
			continue
		}
		blocked := false
		for _, b := range locks {
			if !conflict(a, b) {
				continue
			}
			switch {
			case b.Waiting:
				blocked = blocked || older(b, a)
			case b.State == Active && older(a, b) && a.Pressed:
				return fmt.Errorf("%x waits for younger %x at %q", a.Txn[:1], b.Txn[:1], a.Start)
			default:
				blocked = true
			}
		}
		if !blocked {
			return fmt.Errorf("%x waits at %q for nobody", a.Txn[:1], a.Start)
		}
	}
	if len(locks) == 0 && (t.points.Len() != 0 || len(t.spans) != 0 || len(t.spanWaiters) != 0) {
		return fmt.Errorf("empty table keeps %d points, %d spans", t.points.Len(), len(t.spans))
	}
	return nil
}

func TestModel(t *testing.T) {
	for seed := int64(1); seed <= 60; seed++ {
		runModel(t, rand.New(rand.NewSource(seed)), seed)
	}
}

func runModel(t *testing.T, rng *rand.Rand, seed int64) {
	tab := New(1, nil)
	tables := []*Table{tab}
	txns := map[int]*Txn{}
	reqs := map[int]*Request{}
	next := 0
	key := func() []byte { return []byte{'a' + byte(rng.Intn(8))} }
	mode := func() Mode { return Mode(1 + rng.Intn(2)) }
	var log []string
	check := func(op string) {
		log = append(log, op)
		if err := checkTable(tab); err != nil {
			t.Fatalf("seed %d after %v: %v", seed, log[max(0, len(log)-12):], err)
		}
		for i, r := range reqs {
			if r.finished {
				delete(reqs, i)
			}
		}
	}
	for step := 0; step < 400; step++ {
		n := rng.Intn(100)
		var pick int
		if len(txns) > 0 {
			k := rng.Intn(len(txns))
			for i := range txns {
				if k == 0 {
					pick = i
				}
				k--
			}
		}
		x := txns[pick]
		switch {
		case n < 15 && len(txns) < 8 || x == nil:
			next++
			x, err := tab.Begin(TxnID{byte(next), byte(next >> 8)}, int64(rng.Intn(10)), 1, 0)
			if err != nil {
				t.Fatal(err)
			}
			txns[next] = x
			check(fmt.Sprint("begin ", next, " age ", x.Age))
		case n < 70:
			if reqs[pick] != nil {
				continue
			}
			start, m := key(), mode()
			var end []byte
			if rng.Intn(3) == 0 {
				end = []byte{start[0] + byte(1+rng.Intn(4))}
			}
			policy := Block
			if rng.Intn(6) == 0 {
				policy = Try
			}
			r, err := tab.Acquire(x, start, end, m, policy)
			if r != nil {
				reqs[pick] = r
				if rng.Intn(2) == 0 {
					tab.Press(r)
				}
			}
			check(fmt.Sprintf("acquire %d %s-%s %s %v", pick, start, end, m, err))
		case n < 76 && reqs[pick] == nil:
			_ = tab.BeginCommit(x, []State{Committing, Prepared}[rng.Intn(2)], truetime.Timestamp(step))
			check(fmt.Sprint("commit ", pick))
		case n < 79:
			tab.Reopen(x)
			check(fmt.Sprint("reopen ", pick))
		case n < 82:
			if r := reqs[pick]; r != nil {
				_ = tab.Cancel(r)
				check(fmt.Sprint("cancel ", pick))
			}
		case n < 84:
			tab.Abort(x, ErrWounded)
			check(fmt.Sprint("abort ", pick))
		case n < 85 && step > 200:
			// Hand the table over: everything held survives, nothing waits.
			tab.Close()
			enc := tab.Encode(nil)
			next := New(1, nil)
			if err := next.Decode(enc, nil); err != nil {
				t.Fatal(err)
			}
			if got := next.Encode(nil); !bytes.Equal(got, enc) {
				t.Fatalf("seed %d: handoff does not round-trip", seed)
			}
			tab = next
			for i, x := range txns {
				delete(txns, i)
				if y := tab.Lookup(x.ID); y != nil {
					txns[i] = y
				} else if s := x.State(); s != Aborted && s != Done {
					t.Fatalf("seed %d: %d lost", seed, i)
				}
			}
			clear(reqs)
			check("handoff")
		case n < 86:
			right := New(1, nil)
			tab.SplitOff([]byte("e"), right)
			tables = append(tables, right)
			check("split")
			for _, l := range append(tab.Locks(0), tab.Locks(0)...) {
				if bytes.Compare(l.Start, []byte("e")) >= 0 || bytes.Compare(l.End, []byte("e")) > 0 {
					t.Fatalf("seed %d: %q-%q stayed left", seed, l.Start, l.End)
				}
			}
			tab2 := tab
			tab = right
			check("split, right")
			tab = tab2
		default:
			tab.Release(x)
			delete(txns, pick)
			check(fmt.Sprint("release ", pick))
		}
	}
	for i, x := range txns {
		tab.Release(x)
		delete(txns, i)
	}
	clear(reqs)
	check("release all")
	if tab.unsettled.Load() != 0 {
		t.Fatalf("seed %d: %d unsettled in an empty table", seed, tab.unsettled.Load())
	}
}

func FuzzDecode(f *testing.F) {
	tab := New(7, nil)
	x, _ := tab.Begin(TxnID{1}, 3, 2, 0)
	_, _ = tab.Acquire(x, []byte("a"), nil, Exclusive, Block)
	_, _ = tab.Acquire(x, []byte("b"), []byte("c"), Shared, Block)
	f.Add(tab.Encode(func(*Txn) []byte { return []byte("payload") }))
	f.Fuzz(func(t *testing.T, b []byte) {
		tab := New(1, nil)
		if tab.Decode(b, nil) == nil {
			_ = tab.Encode(nil)
		}
	})
}

func BenchmarkUncontended(b *testing.B) {
	tab := New(1, nil)
	keys := make([][]byte, 1024)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "table/17/row/%08d", i*7919%1024)
	}
	b.ReportAllocs()
	for i := range b.N {
		x, _ := tab.Begin(TxnID{byte(i), byte(i >> 8), byte(i >> 16)}, int64(i), 1, 0)
		_, _ = tab.Acquire(x, keys[i%1024], nil, Exclusive, Block)
		tab.Release(x)
	}
}

// BenchmarkLoaded is the same beside ten thousand held locks.
func BenchmarkLoaded(b *testing.B) {
	tab := New(1, nil)
	hold, _ := tab.Begin(TxnID{0xff}, 0, 1, 0)
	for i := range 10000 {
		_, _ = tab.Acquire(hold, fmt.Appendf(nil, "table/17/row/%08d/held", i), nil, Exclusive, Block)
	}
	key := []byte("table/17/row/00004242")
	b.ReportAllocs()
	for i := range b.N {
		x, _ := tab.Begin(TxnID{byte(i), byte(i >> 8), byte(i >> 16)}, int64(i), 1, 0)
		_, _ = tab.Acquire(x, key, nil, Exclusive, Block)
		tab.Release(x)
	}
}

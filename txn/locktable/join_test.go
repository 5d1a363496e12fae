package locktable

import (
	"errors"
	"slices"
	"testing"
)

// joined makes two tables with a transaction in each of them alone, one in both, and one in both of which right has
// aborted the entry.
func joined(t *testing.T) (left, right *Table) {
	t.Helper()
	left, right = New(100, nil), New(200, nil)
	lock := func(tab *Table, id byte, key string, mode Mode) *Txn {
		x, err := tab.Begin(TxnID{id}, int64(id), 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := tab.Acquire(x, []byte(key), nil, mode, Try); r != nil || err != nil {
			t.Fatal(r, err)
		}
		return x
	}
	lock(left, 1, "a", Exclusive)
	lock(right, 2, "m", Shared)
	lock(left, 3, "c", Exclusive)
	x := lock(right, 3, "n", Exclusive)
	if r, err := right.Acquire(x, []byte("p"), []byte("q"), Shared, Try); r != nil || err != nil {
		t.Fatal(r, err)
	}
	lock(left, 4, "d", Exclusive)
	right.Abort(lock(right, 4, "o", Exclusive), ErrWounded)
	return left, right
}

// Locks of both tables hold in the joined one, and entries answer to their tokens only.
func TestJoin(t *testing.T) {
	left, right := joined(t)
	l3, r2, r3 := left.Lookup(TxnID{3}).Token, right.Lookup(TxnID{2}).Token, right.Lookup(TxnID{3}).Token
	waiter, err := right.Begin(TxnID{9}, 9, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	wait, err := right.Acquire(waiter, []byte("n"), nil, Shared, Block)
	if wait == nil || err != nil {
		t.Fatal(wait, err)
	}
	left.Join(right)
	<-wait.Done()
	if !errors.Is(wait.Err(), ErrMoved) {
		t.Errorf("a request that waited in the right table: %v", wait.Err())
	}
	if _, err := right.Begin(TxnID{5}, 5, 1, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("the right table answers %v", err)
	}
	held := func(key string) bool {
		x, err := left.Begin(TxnID{8}, 8, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer left.Release(x)
		_, err = left.Acquire(x, []byte(key), nil, Exclusive, Try)
		return errors.Is(err, ErrWouldBlock)
	}
	for key, want := range map[string]bool{"a": true, "m": true, "c": true, "n": true, "pp": true, "q": false, "d": false, "o": false} {
		if got := held(key); got != want {
			t.Errorf("%s is held: %v", key, got)
		}
	}
	for _, c := range []struct {
		what     string
		id       byte
		token    int64
		absorbed []int64
		want     error
	}{
		{"one that was on the right alone", 2, r2, nil, nil},
		{"one that was in both, by both tokens", 3, l3, []int64{r3}, nil},
		{"by the other one", 3, r3, []int64{l3}, nil},
		{"one whose locks on the right were lost before", 1, left.Lookup(TxnID{1}).Token, []int64{r3}, ErrLockLost},
		{"one whose locks on the left were lost before", 2, l3, []int64{r2}, ErrLockLost},
		{"a token that nobody gave", 3, l3, []int64{-1}, ErrLockLost},
		{"one that the right had aborted", 4, 0, nil, ErrWounded},
		{"a stranger that says it held locks", 7, 0, []int64{r3}, ErrLockLost},
	} {
		if _, err := left.Begin(TxnID{c.id}, int64(c.id), 1, c.token, c.absorbed...); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
	// The tokens survive a handover and a split.
	next := New(0, nil)
	if err := next.Decode(left.Encode(nil), nil); err != nil {
		t.Fatal(err)
	}
	half := New(0, nil)
	next.SplitOff([]byte("k"), half)
	for _, tab := range []*Table{next, half} {
		x := tab.Lookup(TxnID{3})
		if x == nil || !slices.Equal(x.others, []int64{r3}) || x.Token != l3 {
			t.Errorf("after a handover and a split: %+v", x)
		}
	}
}

package catalog

import (
	"math"
	"testing"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

func testSequence(def Sequence) *Table {
	def.State = 77
	if def.Increment == 0 {
		def.Increment = 1
	}
	if def.Max == 0 {
		def.Max = math.MaxInt64
	}
	def.Cache = 1
	return &Table{Header: Header{ID: 77, Name: "s"}, Kind: RelSequence, Sequence: &def}
}

func TestNextValHasNoGapsOnOneNode(t *testing.T) {
	now := time.Unix(0, 0)
	q := NewSequences(kvtest.New(), func() time.Time { return now })
	s := testSequence(Sequence{Min: 1, Restart: 10})
	for want := int64(10); want < 500; want++ {
		v, err := q.NextVal(t.Context(), s)
		if err != nil || v != want {
			t.Fatalf("got %d, %v, want %d", v, err, want)
		}
		if want%37 == 0 {
			now = now.Add(time.Second)
		}
		if last, called, err := q.Last(t.Context(), s); err != nil || !called || last != want {
			t.Fatalf("last value %d %v %v, want %d", last, called, err, want)
		}
	}
}

func TestNextValOnTwoNodesNeverRepeats(t *testing.T) {
	now := time.Unix(0, 0)
	db := kvtest.New()
	clock := func() time.Time { return now }
	a, b := NewSequences(db, clock), NewSequences(db, clock)
	s := testSequence(Sequence{Min: 1, Restart: 1})
	seen := map[int64]bool{}
	for i := range 1000 {
		q := a
		if i%3 == 0 {
			q = b
		}
		v, err := q.NextVal(t.Context(), s)
		if err != nil || seen[v] {
			t.Fatalf("%d repeated, %v", v, err)
		}
		seen[v] = true
		now = now.Add(time.Duration(i%7) * 20 * time.Millisecond)
	}
}

func TestSequenceLimits(t *testing.T) {
	q := NewSequences(kvtest.New(), func() time.Time { return time.Unix(0, 0) })
	s := testSequence(Sequence{Min: 1, Max: 5, Restart: 1, Increment: 2})
	for _, want := range []int64{1, 3, 5} {
		if v, err := q.NextVal(t.Context(), s); err != nil || v != want {
			t.Fatalf("got %d, %v, want %d", v, err, want)
		}
	}
	if _, err := q.NextVal(t.Context(), s); pgerr.Code(err) != pgerr.SequenceGeneratorLimitExceeded {
		t.Fatalf("past the end: %v", err)
	}
	s.Sequence.Cycle = true
	if v, err := q.NextVal(t.Context(), s); err != nil || v != 1 {
		t.Fatalf("cycled to %d, %v", v, err)
	}
	if err := q.SetVal(t.Context(), s, 9, true); pgerr.Code(err) != pgerr.NumericValueOutOfRange {
		t.Fatalf("setval out of bounds: %v", err)
	}
	must(t, q.SetVal(t.Context(), s, 3, false))
	if v, err := q.NextVal(t.Context(), s); err != nil || v != 3 {
		t.Fatalf("after setval: %d, %v", v, err)
	}
	down := testSequence(Sequence{Min: math.MinInt64, Max: -1, Restart: -1, Increment: -1})
	down.Sequence.State = 78
	for _, want := range []int64{-1, -2, -3} {
		if v, err := q.NextVal(t.Context(), down); err != nil || v != want {
			t.Fatalf("got %d, %v, want %d", v, err, want)
		}
	}
	edge := testSequence(Sequence{Min: 1, Max: math.MaxInt64, Restart: math.MaxInt64 - 1})
	edge.Sequence.State = 79
	for _, want := range []int64{math.MaxInt64 - 1, math.MaxInt64} {
		if v, err := q.NextVal(t.Context(), edge); err != nil || v != want {
			t.Fatalf("got %d, %v, want %d", v, err, want)
		}
	}
	if _, err := q.NextVal(t.Context(), edge); pgerr.Code(err) != pgerr.SequenceGeneratorLimitExceeded {
		t.Fatalf("past the greatest number: %v", err)
	}
}

package mvcc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestCuts: cuts ascend within the span, and divide what is on disk about evenly, whatever keys look like.
func TestCuts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	noise := func() []byte {
		b := make([]byte, 200)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	for _, shape := range []struct {
		name string
		key  func(i int) []byte
	}{
		{"numbers", func(i int) []byte { return binary.BigEndian.AppendUint64([]byte("t/1/"), uint64(i)) }},
		{"sparse numbers", func(i int) []byte { return binary.BigEndian.AppendUint64([]byte("t/1/"), uint64(i)*uint64(i)*977) }},
		{"words", func(i int) []byte { return fmt.Appendf(nil, "t/customer#%09d/suffix", i) }},
		{"mostly in one corner", func(i int) []byte {
			if i%100 == 0 {
				return fmt.Appendf(nil, "t/%06d", i)
			}
			return fmt.Appendf(nil, "t/zzzzzzzzzzzz%06d", i)
		}},
	} {
		e := newTestEngine(t)
		b := e.NewBatch()
		const n = 20_000
		for i := range n {
			b.Put(shape.key(i), 10, noise())
		}
		if err := b.Commit(false); err != nil {
			t.Fatal(err)
		}
		span := Span{Start: []byte("t"), End: []byte("u")}
		if cuts, err := e.Cuts(span, 1<<16, 8); err != nil || len(cuts) != 0 {
			t.Errorf("%s: %d cuts of what is in memory, %v", shape.name, len(cuts), err)
		}
		if err := e.Flush(); err != nil {
			t.Fatal(err)
		}
		total, err := e.EstimateSize(span)
		if err != nil {
			t.Fatal(err)
		}
		for _, most := range []int{1, 3, 7, 100} {
			cuts, err := e.Cuts(span, total/8, most)
			if err != nil {
				t.Fatal(err)
			}
			if want := min(most, 7); len(cuts) != want && len(cuts) != want+1 && len(cuts) != want-1 {
				t.Errorf("%s: %d cuts of at most %d", shape.name, len(cuts), most)
			}
			even := float64(n) / float64(len(cuts)+1)
			from := span.Start
			for _, to := range append(cuts, span.End) {
				if bytes.Compare(from, to) >= 0 {
					t.Fatalf("%s: %q after %q", shape.name, to, from)
				}
				size, err := Size(e, Span{Start: from, End: to})
				if err != nil {
					t.Fatal(err)
				}
				if part := float64(size.Keys) / even; part < 0.4 || part > 2 {
					t.Errorf("%s: a part of %d has %d keys of %d", shape.name, len(cuts)+1, size.Keys, n)
				}
				from = to
			}
		}
		for _, empty := range []Span{{Start: []byte("a"), End: []byte("b")}, {Start: []byte("u"), End: []byte("t")}} {
			if cuts, err := e.Cuts(empty, 1, 8); err != nil || len(cuts) != 0 {
				t.Errorf("%s: %q cut at %q, %v", shape.name, empty, cuts, err)
			}
		}
	}
}

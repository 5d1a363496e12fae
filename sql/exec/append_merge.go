package exec

import (
	"container/heap"
	"context"

	"github.com/meridian-db/meridian/sql/types"
)

// appendMerge merges the partitions of an appendOp, each of which comes in order. The next row of each waits in the
// slots of its own scan.
type appendMerge struct {
	o    *appendOp
	keys [][]types.Datum // by kid, of its next row
	heap []int           // kids that have one
}

func (m *appendMerge) Len() int      { return len(m.heap) }
func (m *appendMerge) Swap(i, j int) { m.heap[i], m.heap[j] = m.heap[j], m.heap[i] }
func (m *appendMerge) Push(x any)    { m.heap = append(m.heap, x.(int)) }
func (m *appendMerge) Pop() any {
	last := m.heap[len(m.heap)-1]
	m.heap = m.heap[:len(m.heap)-1]
	return last
}

func (m *appendMerge) Less(i, j int) bool {
	a, b := m.heap[i], m.heap[j]
	if c := keyCompare(m.o.n.Order, m.keys[a], m.keys[b]); c != 0 {
		return c < 0
	}
	return a < b
}

// advance fetches a kid's next row; false when there is none.
func (m *appendMerge) advance(ctx context.Context, kid int) (bool, error) {
	ok, err := m.o.kids[kid].next(ctx)
	if err != nil || !ok {
		return false, err
	}
	for i, e := range m.o.n.Kids[kid].Keys {
		if m.keys[kid][i], err = e.Eval(&m.o.s.c); err != nil {
			return false, err
		}
	}
	return true, nil
}

// nextMerged is next for partitions that are merged.
func (o *appendOp) nextMerged(ctx context.Context) (bool, error) {
	if o.merge == nil {
		m := &appendMerge{o: o, keys: make([][]types.Datum, len(o.kids))}
		o.merge = m
		for i := range o.kids {
			if o.live != nil && !o.live[i] {
				continue
			}
			o.pos = i
			if err := o.start(ctx); err != nil {
				return false, err
			}
			m.keys[i] = make([]types.Datum, len(o.n.Order))
			ok, err := m.advance(ctx, i)
			if err != nil {
				return false, err
			}
			if ok {
				m.heap = append(m.heap, i)
			}
		}
		heap.Init(m)
	} else if m := o.merge; len(m.heap) > 0 {
		// The row that was returned last is at the top still.
		ok, err := m.advance(ctx, m.heap[0])
		if err != nil {
			return false, err
		}
		if ok {
			heap.Fix(m, 0)
		} else {
			heap.Pop(m)
		}
	}
	if len(o.merge.heap) == 0 {
		return false, nil
	}
	return true, o.fill(o.n.Kids[o.merge.heap[0]])
}

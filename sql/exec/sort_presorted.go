package exec

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// presortedOp sorts an input that comes in the order of the first keys already: one group of rows that are equal in them
// after the other, so that the first rows are known before the input has been read.
type presortedOp struct {
	s     *state
	in    op
	sort  *sortOp // of the group, which is its input
	keys  []plan.SortKey
	group []types.Datum // of the keys, in the group being read
	ahead *rows         // the first row of the next group, once it is read
	busy  bool          // sort is open
	begun bool          // group is that of the rows being read
	done  bool          // the input is used up
}

func newPresorted(s *state, n *plan.Sort, in op) op {
	o := &presortedOp{s: s, in: in, keys: n.Keys[:n.Prefix], group: make([]types.Datum, n.Prefix)}
	o.sort = newSort(s, n, (*groupOp)(o))
	slots := slices.Clone(n.Keep)
	for _, k := range n.Keys {
		plan.Columns(k.E, func(sl plan.Slot) { slots = append(slots, sl) })
	}
	slices.Sort(slots)
	o.ahead = &rows{s: s, slots: slices.Compact(slots)}
	return o
}

func (o *presortedOp) open(ctx context.Context) error {
	o.sort.close()
	o.ahead.reset()
	o.busy, o.done = false, false
	return o.in.open(ctx)
}

func (o *presortedOp) next(ctx context.Context) (bool, error) {
	for {
		if o.busy {
			ok, err := o.sort.next(ctx)
			if ok || err != nil {
				return ok, err
			}
			o.busy = false
		}
		if o.done && len(o.ahead.data) == 0 {
			return false, nil
		}
		o.begun = false
		if err := o.sort.open(ctx); err != nil {
			return false, err
		}
		o.busy = true
	}
}

func (o *presortedOp) close() {
	o.in.close()
	o.sort.close()
	o.ahead.reset()
}

// groupOp is the rows of one group of a presortedOp.
type groupOp presortedOp

func (g *groupOp) open(context.Context) error { return nil }
func (g *groupOp) close()                     {}

func (g *groupOp) next(ctx context.Context) (bool, error) {
	if len(g.ahead.data) > 0 {
		g.ahead.load(g.ahead.data[0])
		g.ahead.reset()
		return true, g.begin()
	}
	if g.done {
		return false, nil
	}
	ok, err := g.in.next(ctx)
	if err != nil || !ok {
		g.done = true
		return false, err
	}
	if !g.begun {
		return true, g.begin()
	}
	for i, k := range g.keys {
		d, err := k.E.Eval(&g.s.c)
		if err != nil {
			return false, err
		}
		if compareKey(&k, g.group[i], d) != 0 {
			_, err := g.ahead.save()
			return false, err
		}
	}
	return true, nil
}

// begin notes the group that the frame's row begins.
func (g *groupOp) begin() error {
	g.begun = true
	for i, k := range g.keys {
		d, err := k.E.Eval(&g.s.c)
		if err != nil {
			return err
		}
		g.group[i] = cloneDatum(d)
	}
	return nil
}

package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// insteadOp is INSERT, UPDATE or DELETE of a view with INSTEAD OF triggers: it makes the rows, and the triggers do
// what is to be done with them. A row for which one returns NULL does not count.
type insteadOp struct {
	modifyOp
	t     *plan.WriteTarget
	event uint8
	fills *insertOp      // INSERT
	sets  []plan.OrdExpr // UPDATE
	vals  []types.Datum
}

// newInstead makes the operator when the target is a view, nil otherwise.
func newInstead(s *state, n plan.Node, in op) op {
	o := &insteadOp{}
	o.modifyOp = modifyOp{s: s, in: in, store: &rows{s: s}}
	switch n := n.(type) {
	case *plan.Insert:
		o.t, o.event, o.returning, o.keep = n.Target, catalog.TriggerInsert, n.Returning, n.Keep
		o.fills = &insertOp{n_: n}
		o.fills.s = s
	case *plan.Update:
		o.t, o.event, o.returning, o.keep = n.Target, catalog.TriggerUpdate, n.Returning, n.Keep
		o.sets, o.vals = n.Set, make([]types.Datum, len(n.Set))
		o.set = map[int]bool{}
		for _, x := range n.Set {
			o.set[x.Ord] = true
		}
	case *plan.Delete:
		o.t, o.event, o.returning, o.keep = n.Target, catalog.TriggerDelete, n.Returning, n.Keep
	}
	if o.t == nil || o.t.Table.Kind != plan.View {
		return nil
	}
	o.table, o.events = o.t.Table, o.event
	o.take, o.flush, o.emit = o.takeRow, o.flushRows, o.emitRow
	return o
}

func (o *insteadOp) takeRow(context.Context) error {
	var c change
	var err error
	f := o.s.c.Frame
	if o.fills != nil {
		err = o.fills.fill()
	} else if c.old, err = o.saveRow(frameRow(o.s, o.t.Old)); err == nil && o.event == catalog.TriggerUpdate {
		for i, x := range o.sets {
			if o.vals[i], err = x.E.Eval(&o.s.c); err != nil {
				return err
			}
		}
		copy(frameRow(o.s, o.t.New), c.old)
		for i, x := range o.sets {
			f[o.t.New[x.Ord]] = o.vals[i]
		}
	}
	if err == nil && o.event != catalog.TriggerDelete {
		c.new, err = o.saveRow(frameRow(o.s, o.t.New))
	}
	if err != nil {
		return err
	}
	if c.kept, err = o.saveKept(); err != nil {
		return err
	}
	o.pending = append(o.pending, c)
	return nil
}

func (o *insteadOp) flushRows(ctx context.Context) error {
	for _, c := range o.pending {
		row, err := o.s.rowTriggers(ctx, o.t.Table, plan.Instead, o.event, o.set, c.old, c.new)
		if err != nil {
			return err
		}
		if row == nil {
			continue
		}
		if c.new != nil {
			if c.new, err = o.saveRow(row); err != nil {
				return err
			}
		}
		o.n++
		if o.returning {
			o.out = append(o.out, c)
		}
	}
	return nil
}

func (o *insteadOp) emitRow(c *change) {
	o.loadKept(c)
	if c.old != nil {
		copy(frameRow(o.s, o.t.Old), c.old)
	}
	if c.new != nil {
		copy(frameRow(o.s, o.t.New), c.new)
	}
}

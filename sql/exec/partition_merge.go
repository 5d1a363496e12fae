package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// partMergeOp is MERGE into a partitioned table, or one that others inherit from. Each clause that updates has a
// partUpdateOp of its own, which knows what columns it changes; all of them share the writers of the partitions, so
// that one clause sees what another has written.
type partMergeOp struct {
	modifyOp
	n_      *plan.Merge
	p       *parted
	updates []*partUpdateOp // by WHEN clause
	seen    map[string]struct{}
}

func newPartMerge(s *state, n *plan.Merge, in op) op {
	o := &partMergeOp{n_: n, p: newParted(s, n.Target), updates: make([]*partUpdateOp, len(n.Whens))}
	o.modifyOp = modifyOp{s: s, in: in, store: &rows{s: s}}
	o.table, o.events, o.p.merging = n.Target.Table, mergeEvents(n), true
	for i, w := range n.Whens {
		if w.Action == plan.MergeUpdate {
			u := newPartUpdate(s, &plan.Update{Target: n.Target, Set: w.Set}, nil).(*partUpdateOp)
			u.p, u.store = o.p, o.store
			o.updates[i] = u
		}
	}
	o.take, o.flush, o.emit = o.takeRow, o.flushRows, func(*change) {}
	return o
}

func (o *partMergeOp) takeRow(context.Context) error {
	s, c := o.s, &o.s.c
	i, matched, err := chooseWhen(c, o.n_)
	if err != nil || i < 0 {
		return err
	}
	m := o.n_.Whens[i]
	if err := s.checkPolicies(m.FoundPolicies); err != nil {
		return err
	}
	ch := change{when: int32(i)}
	if matched {
		ch.leaf = o.p.oldLeaf()
		ch.to = ch.leaf
		o.p.oldIn(ch.leaf)
		old := frameRow(s, o.p.leaf(ch.leaf).Target.Old)
		if o.dup(&o.seen, o.p.writer(ch.leaf), old) || !s.claim(o.p.leaf(ch.leaf).Target, o) {
			return errMergeTwice()
		}
		if ch.old, err = o.saveRow(old); err != nil {
			return err
		}
	}
	rowID := types.Null
	switch m.Action {
	case plan.MergeUpdate:
		u := o.updates[i]
		if ch.to, rowID, err = u.compute(ch.leaf); err != nil {
			return err
		}
	case plan.MergeInsert:
		for _, x := range m.Set {
			v, err := x.E.Eval(c)
			if err != nil {
				return err
			}
			c.Frame[o.n_.Target.New[x.Ord]] = v
		}
		if ch.to, err = o.p.route(); err != nil {
			return err
		}
	}
	if m.Action != plan.MergeDelete {
		if err := s.checkPolicies(m.Policies); err != nil {
			return err
		}
		if err := o.p.newIn(ch.to, rowID); err != nil {
			return err
		}
		if ch.new, err = o.saveRow(frameRow(s, o.p.leaf(ch.to).Target.New)); err != nil {
			return err
		}
	}
	o.pending = append(o.pending, ch)
	return nil
}

func (o *partMergeOp) flushRows(ctx context.Context) error {
	for i := range o.pending {
		done, err := o.writeOne(ctx, &o.pending[i])
		if err != nil {
			return err
		}
		if done {
			o.n++
		}
	}
	return nil
}

// writeOne writes a change, unless a trigger says no.
func (o *partMergeOp) writeOne(ctx context.Context, c *change) (bool, error) {
	s := o.s
	switch {
	case c.old != nil && c.new != nil:
		u := o.updates[c.when]
		if ok, err := u.fireBefore(ctx, c); err != nil || !ok {
			return false, err
		}
		if c.leaf != c.to {
			return true, u.move(ctx, c)
		}
		return true, s.updateRows(ctx, u.stayer(c.leaf), []change{*c}, needFrame(o.p.leaf(c.leaf).Target))
	case c.old != nil:
		t := o.p.leaf(c.leaf).Target
		if err := o.p.writer(c.leaf).untriggered(ctx, catalog.TriggerDelete, []change{*c}); err != nil {
			return false, err
		}
		if row, err := s.beforeRow(ctx, t.Table, catalog.TriggerDelete, nil, c.old, nil); err != nil || row == nil {
			return false, err
		}
		return true, s.deleteRows(ctx, o.p.writer(c.leaf), []change{*c}, needFrame(t))
	}
	t := o.p.leaf(c.to).Target
	if t.Table.HasTrigger(plan.Before, true, catalog.TriggerInsert) {
		row, err := s.beforeRow(ctx, t.Table, catalog.TriggerInsert, nil, nil, c.new)
		if err != nil || row == nil {
			return false, err
		}
		w := o.p.writer(c.to)
		copy(w.newRow(), row)
		if err := w.complete(); err != nil {
			return false, err
		}
		if err := o.p.stays(c.to); err != nil {
			return false, err
		}
		if c.new, err = o.saveRow(w.newRow()); err != nil {
			return false, err
		}
	} else if t.Table.HasTrigger(plan.Before, true, catalog.TriggerUpdate) {
		w := o.p.writer(c.to) // newIn left it to the triggers, none of which is for insertions
		copy(w.newRow(), c.new)
		if err := w.complete(); err != nil {
			return false, err
		}
		var err error
		if c.new, err = o.saveRow(w.newRow()); err != nil {
			return false, err
		}
	}
	return true, s.insertRow(ctx, o.p.writer(c.to), c.new, needFrame(t))
}

func mergeEvents(n *plan.Merge) uint8 {
	var events uint8
	for _, w := range n.Whens {
		events |= map[plan.MergeAction]uint8{plan.MergeInsert: catalog.TriggerInsert, plan.MergeUpdate: catalog.TriggerUpdate, plan.MergeDelete: catalog.TriggerDelete}[w.Action]
	}
	return events
}

func errMergeTwice() error {
	return pgerr.New(pgerr.CardinalityViolation, "MERGE command cannot affect row a second time").
		WithHint("Ensure that not more than one source row matches any one target row.")
}

package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// mergeOp is MERGE.
type mergeOp struct {
	modifyOp
	n_    *plan.Merge
	exprs bool
	seen  map[string]struct{}
}

func newMerge(s *state, n *plan.Merge, in op) op {
	o := &mergeOp{n_: n, seen: map[string]struct{}{}}
	o.modifyOp = modifyOp{s: s, in: in, w: newWriter(s, n.Target), store: &rows{s: s}}
	o.w.merging = true
	o.exprs = needFrame(n.Target)
	o.table = n.Target.Table
	o.events = mergeEvents(n)
	o.fireBefore(o.w, o.events, nil)
	if before := o.before; before != nil {
		o.before = func(ctx context.Context, c *change) (bool, error) {
			o.w.policies = n.Whens[c.when].Policies
			return before(ctx, c)
		}
	}
	o.take, o.flush, o.emit = o.takeRow, o.flushRows, func(*change) {}
	return o
}

// chooseWhen finds the clause that the row in the frame is for: -1 if there is none, or it does nothing.
func chooseWhen(c *plan.EvalCtx, n *plan.Merge) (at int, matched bool, err error) {
	d, err := n.Present.Eval(c)
	if err != nil {
		return -1, false, err
	}
	matched = !d.IsNull()
	for i, m := range n.Whens {
		if m.Matched != matched {
			continue
		}
		ok, err := evalAll(c, m.Conds)
		switch {
		case err != nil:
			return -1, matched, err
		case ok && m.Action == plan.MergeNothing:
			return -1, matched, nil
		case ok:
			return i, matched, nil
		}
	}
	return -1, matched, nil
}

func (o *mergeOp) takeRow(context.Context) error {
	c, w := &o.s.c, o.w
	i, matched, err := chooseWhen(c, o.n_)
	if err != nil || i < 0 {
		return err
	}
	m := o.n_.Whens[i]
	ch := change{when: int32(i)}
	if err := o.s.checkPolicies(m.FoundPolicies); err != nil {
		return err
	}
	w.policies = m.Policies
	if matched {
		key := string(w.codec.appendRowKey(nil, w.oldRow()))
		if _, dup := o.seen[key]; dup || !o.s.claim(w.t, o) {
			return errMergeTwice()
		}
		o.seen[key] = struct{}{}
		if ch.old, err = o.saveRow(w.oldRow()); err != nil {
			return err
		}
	}
	switch m.Action {
	case plan.MergeUpdate:
		if err = setNew(o.s, w, m.Set, make([]types.Datum, len(m.Set))); err == nil && o.before == nil {
			err = w.complete()
		}
	case plan.MergeInsert:
		for _, x := range m.Set {
			v, err := x.E.Eval(c)
			if err != nil {
				return err
			}
			c.Frame[w.t.New[x.Ord]] = v
		}
		if o.before == nil {
			err = w.complete()
		}
	}
	if err != nil {
		return err
	}
	if m.Action != plan.MergeDelete {
		if ch.new, err = o.saveRow(w.newRow()); err != nil {
			return err
		}
	}
	o.pending = append(o.pending, ch)
	return nil
}

func (o *mergeOp) flushRows(ctx context.Context) error {
	w := o.w
	if o.s.env.Isolation == kv.ReadCommitted && !w.disturbed() {
		// Nothing has locked the rows since the statement's snapshot. Which clause one is for may be another now, so the whole
		// is done again.
		if same, err := w.allSame(ctx, o.pending); err != nil {
			return err
		} else if !same {
			return kv.ErrWriteConflict
		}
	}
	for i := range o.pending {
		c := &o.pending[i]
		one := o.pending[i : i+1]
		var err error
		switch {
		case c.old != nil && c.new != nil:
			err = o.s.updateRows(ctx, w, one, o.exprs)
		case c.old != nil:
			err = o.s.deleteRows(ctx, w, one, o.exprs)
		default:
			err = o.s.insertRow(ctx, w, c.new, o.exprs)
		}
		if err != nil {
			return err
		}
		o.n++
	}
	return nil
}

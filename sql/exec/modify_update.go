package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// updateOp is UPDATE.
type updateOp struct {
	modifyOp
	n_    *plan.Update
	exprs bool
	seen  map[string]struct{}
	vals  []types.Datum
}

func newUpdate(s *state, n *plan.Update, in op) op {
	o := &updateOp{n_: n}
	in = s.lockTarget(in, &n.Access)
	o.modifyOp = modifyOp{s: s, in: in, w: newWriter(s, n.Target), returning: n.Returning, stream: n.Stream, store: &rows{s: s}, keep: n.Keep}
	ords := map[int]bool{}
	for _, x := range n.Set {
		ords[x.Ord] = true
	}
	for _, g := range n.Target.Generated {
		ords[g.Ord] = true
	}
	o.w.limitTo(ords)
	o.w.set = map[int]bool{}
	for _, x := range n.Set {
		o.w.set[x.Ord] = true
	}
	o.exprs = needFrame(n.Target)
	o.table, o.events, o.set = n.Target.Table, catalog.TriggerUpdate, o.w.set
	o.fireBefore(o.w, catalog.TriggerUpdate, o.set)
	o.vals = make([]types.Datum, len(n.Set))
	o.take, o.flush, o.emit = o.takeRow, o.flushRows, o.emitRow
	return o
}

// setNew computes the new row from the old one in the frame.
func setNew(s *state, w *writer, set []plan.OrdExpr, vals []types.Datum) error {
	for i, x := range set {
		d, err := x.E.Eval(&s.c)
		if err != nil {
			return err
		}
		vals[i] = d
	}
	row := w.newRow()
	copy(row, w.oldRow())
	for i, x := range set {
		row[x.Ord] = vals[i]
	}
	return nil
}

func (o *updateOp) takeRow(context.Context) error {
	w := o.w
	if !o.s.claim(w.t, o) {
		return nil
	}
	if o.n_.Joined {
		if o.seen == nil {
			o.seen = map[string]struct{}{}
		}
		key := w.codec.appendRowKey(nil, w.oldRow())
		if _, dup := o.seen[string(key)]; dup {
			return nil // a second match of the same row
		}
		o.seen[string(key)] = struct{}{}
	}
	if err := setNew(o.s, w, o.n_.Set, o.vals); err != nil {
		return err
	}
	if o.before == nil {
		if err := w.complete(); err != nil {
			return err
		}
	}
	old, err := o.saveRow(w.oldRow())
	if err != nil {
		return err
	}
	row, err := o.saveRow(w.newRow())
	if err != nil {
		return err
	}
	kept, err := o.saveKept()
	if err != nil {
		return err
	}
	o.pending = append(o.pending, change{old: old, new: row, kept: kept})
	return nil
}

func (o *updateOp) flushRows(ctx context.Context) error {
	if err := o.s.updateRows(ctx, o.w, o.pending, o.exprs); err != nil {
		return err
	}
	o.n += int64(len(o.pending))
	if o.returning {
		o.out = append(o.out, o.pending...)
	}
	return nil
}

// updateRows writes a batch of updates.
func (s *state) updateRows(ctx context.Context, w *writer, list []change, exprs bool) error {
	type keys struct {
		old, new         []byte
		oldEnts, newEnts []entry
	}
	ks := make([]keys, len(list))
	for i := range list {
		c, k := &list[i], &ks[i]
		if exprs {
			copy(w.oldRow(), c.old)
			copy(w.newRow(), c.new)
		}
		k.old = w.rowKey(c.old)
		k.new = k.old
		if w.pkMoves {
			if k.new = w.rowKey(c.new); string(k.new) != string(k.old) {
				w.probe(0, k.new)
			}
		}
		var err error
		if k.oldEnts, err = w.entries(c.old, true); err != nil {
			return err
		}
		if k.newEnts, err = w.entries(c.new, false); err != nil {
			return err
		}
		w.ask(k.oldEnts)
		for j, e := range k.newEnts {
			if e.present && e.distinct && string(e.key) != string(k.oldEnts[j].key) {
				w.probe(j+1, e.key)
			}
		}
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	if w.disturbed() {
		if err := w.unchanged(ctx, list, w.verb("updated")); err != nil {
			return err
		}
	}
	for i := range list {
		c, k := &list[i], &ks[i]
		if exprs {
			copy(w.newRow(), c.new)
		}
		if err := w.checkViews(c.new); err != nil {
			return err
		}
		if w.stirred() {
			if _, err := w.refresh(ctx); err != nil {
				return err
			}
			if err := w.unchanged(ctx, list[i:], w.verb("updated")); err != nil {
				return err
			}
		}
		if err := w.update(k.old, k.new, k.oldEnts, k.newEnts, c.new); err != nil {
			return err
		}
		if err := s.queueChild(w.t.Table, c.old, c.new); err != nil {
			return err
		}
		if err := s.queueParent(w.t.Table, c.old, c.new); err != nil {
			return err
		}
		if err := s.afterRow(w.t.Table, catalog.TriggerUpdate, w.set, c.old, c.new); err != nil {
			return err
		}
	}
	return nil
}

func (o *updateOp) emitRow(c *change) {
	o.loadKept(c)
	copy(o.w.oldRow(), c.old)
	copy(o.w.newRow(), c.new)
}

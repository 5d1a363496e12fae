package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// deleteOp is DELETE.
type deleteOp struct {
	modifyOp
	n_    *plan.Delete
	exprs bool
	seen  map[string]struct{}
}

func newDelete(s *state, n *plan.Delete, in op) op {
	o := &deleteOp{n_: n}
	in = s.lockTarget(in, &n.Access)
	o.modifyOp = modifyOp{s: s, in: in, w: newWriter(s, n.Target), returning: n.Returning, stream: n.Stream, store: &rows{s: s}, keep: n.Keep}
	o.exprs = needFrame(n.Target)
	o.take, o.flush, o.emit = o.takeRow, o.flushRows, o.emitRow
	o.table, o.events = n.Target.Table, catalog.TriggerDelete
	o.fireBefore(o.w, catalog.TriggerDelete, nil)
	return o
}

func (o *deleteOp) takeRow(context.Context) error {
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
			return nil
		}
		o.seen[string(key)] = struct{}{}
	}
	old, err := o.saveRow(w.oldRow())
	if err != nil {
		return err
	}
	kept, err := o.saveKept()
	if err != nil {
		return err
	}
	o.pending = append(o.pending, change{old: old, kept: kept})
	return nil
}

func (o *deleteOp) flushRows(ctx context.Context) error {
	if err := o.s.deleteRows(ctx, o.w, o.pending, o.exprs); err != nil {
		return err
	}
	o.n += int64(len(o.pending))
	if o.returning {
		o.out = append(o.out, o.pending...)
	}
	return nil
}

// deleteRows deletes a batch.
func (s *state) deleteRows(ctx context.Context, w *writer, list []change, exprs bool) error {
	ents := make([][]entry, len(list))
	for i := range list {
		var err error
		if ents[i], err = s.oldEntries(w, list[i].old, exprs); err != nil {
			return err
		}
	}
	if w.unsure {
		if err := w.begin(ctx); err != nil {
			return err
		}
	}
	if w.disturbed() {
		if err := w.unchanged(ctx, list, w.verb("deleted")); err != nil {
			return err
		}
	}
	for i := range list {
		c := &list[i]
		if err := w.remove(w.rowKey(c.old), ents[i]); err != nil {
			return err
		}
		if err := s.queueParent(w.t.Table, c.old, nil); err != nil {
			return err
		}
		if err := s.afterRow(w.t.Table, catalog.TriggerDelete, nil, c.old, nil); err != nil {
			return err
		}
	}
	return nil
}

// oldEntries computes the entries of a row that is to be removed, and asks for those that may be another's.
func (s *state) oldEntries(w *writer, old []types.Datum, exprs bool) ([]entry, error) {
	if exprs {
		copy(w.oldRow(), old)
	}
	ents, err := w.entries(old, true)
	w.ask(ents)
	return ents, err
}

// removeRow takes a row and its entries out of a table.
func (s *state) removeRow(ctx context.Context, w *writer, old []types.Datum, exprs bool) error {
	ents, err := s.oldEntries(w, old, exprs)
	if err == nil && w.unsure {
		err = w.begin(ctx)
	}
	if err == nil && w.disturbed() {
		err = w.unchanged(ctx, []change{{old: old}}, "deleted")
	}
	if err != nil {
		return err
	}
	return w.remove(w.rowKey(old), ents)
}

func (o *deleteOp) emitRow(c *change) {
	o.loadKept(c)
	copy(o.w.oldRow(), c.old)
}

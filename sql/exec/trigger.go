package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// TriggerRunner runs the functions of triggers. Rows are by ordinal of the table.
type TriggerRunner interface {
	// Fire runs a trigger for an event (a catalog.Trigger bit); old and new are nil where there is none. Its result is
	// the row that the function returned, nil for NULL. rows are those of the whole statement, for transition tables.
	Fire(ctx context.Context, t *plan.Table, tr *plan.Trigger, event uint8, old, new []types.Datum, rows *Transition) ([]types.Datum, error)
}

// triggerEvent is an AFTER trigger that waits for the end of the statement or transaction.
type triggerEvent struct {
	t        *plan.Table
	tr       *plan.Trigger
	event    uint8
	old, new []types.Datum
}

func (s *state) fire(ctx context.Context, t *plan.Table, tr *plan.Trigger, event uint8, old, new []types.Datum) ([]types.Datum, bool, error) {
	ok, err := tr.Matches(ctx, t, old, new, plan.Env{Catalog: s.env.Catalog, Builtin: s.env.Builtin})
	if err != nil || !ok {
		return nil, false, err
	}
	if s.env.Triggers == nil {
		return nil, false, pgerr.Unsupported("trigger %q cannot fire here", tr.Desc.Name)
	}
	var rows *Transition
	if tr.Desc.OldTable != "" || tr.Desc.NewTable != "" {
		rows = s.transition(t, event)
	}
	row, err := s.env.Triggers.Fire(ctx, t, tr, event, old, new, rows)
	return row, true, err
}

// beforeRow fires BEFORE ROW triggers in the order of their names. It returns the row to be written, the old row for
// DELETE; nil: leave the row alone.
func (s *state) beforeRow(ctx context.Context, t *plan.Table, event uint8, set map[int]bool, old, new []types.Datum) ([]types.Datum, error) {
	return s.rowTriggers(ctx, t, plan.Before, event, set, old, new)
}

// rowTriggers fires BEFORE or INSTEAD OF row triggers, each with what the one before it returned.
func (s *state) rowTriggers(ctx context.Context, t *plan.Table, timing byte, event uint8, set map[int]bool, old, new []types.Datum) ([]types.Datum, error) {
	row := new
	if event == catalog.TriggerDelete {
		row = old
	}
	for _, tr := range t.Triggers {
		if !tr.Fires(timing, true, event, set) {
			continue
		}
		out, fired, err := s.fire(ctx, t, tr, event, old, new)
		if err != nil {
			return nil, err
		}
		if !fired {
			continue
		}
		if out == nil {
			return nil, nil
		}
		if event != catalog.TriggerDelete {
			row, new = out, out
		}
	}
	return row, nil
}

// afterRow notes what AFTER ROW triggers there are for a row that was written.
func (s *state) afterRow(t *plan.Table, event uint8, set map[int]bool, old, new []types.Datum) error {
	if len(s.trans) > 0 {
		if err := s.keepTransition(t, event, old, new); err != nil {
			return err
		}
	}
	var o, n []types.Datum
	for _, tr := range t.Triggers {
		if !tr.Fires(plan.After, true, event, set) {
			continue
		}
		if o == nil && n == nil {
			o, n = s.keepRow(old), s.keepRow(new)
			if err := s.grow(int64(len(o)+len(n))*datumSize + 100); err != nil {
				return err
			}
		}
		q := s.queue()
		q.events = append(q.events, triggerEvent{t, tr, event, o, n})
	}
	return nil
}

// keepRow copies a row for longer than the batch it is in.
func (s *state) keepRow(row []types.Datum) []types.Datum {
	if row == nil {
		return nil
	}
	out := make([]types.Datum, len(row))
	for i, d := range row {
		out[i] = cloneDatum(d)
	}
	return out
}

// statement fires the BEFORE STATEMENT triggers of a write, and returns the AFTER ones that it is owed when it ends.
func (s *state) statement(ctx context.Context, t *plan.Table, events uint8, set map[int]bool) (owed []triggerEvent, err error) {
	for _, ev := range []uint8{catalog.TriggerInsert, catalog.TriggerUpdate, catalog.TriggerDelete} {
		if events&ev == 0 {
			continue
		}
		for _, tr := range t.Triggers {
			if tr.Fires(plan.Before, false, ev, set) {
				if _, _, err := s.fire(ctx, t, tr, ev, nil, nil); err != nil {
					return nil, err
				}
			}
		}
	}
	s.wantTransitions(t, events)
	// An INSERT with ON CONFLICT DO UPDATE ends its update first.
	for _, ev := range []uint8{catalog.TriggerDelete, catalog.TriggerUpdate, catalog.TriggerInsert} {
		for _, tr := range t.Triggers {
			if events&ev != 0 && tr.Fires(plan.After, false, ev, set) {
				owed = append(owed, triggerEvent{t: t, tr: tr, event: ev})
			}
		}
	}
	return owed, nil
}

// fireBefore makes a write fire its table's BEFORE ROW triggers: then rows are written one by one, so that each trigger
// sees the rows before its own. event is what the write does to a change.
func (o *modifyOp) fireBefore(w *writer, events uint8, set map[int]bool) {
	t := w.t.Table
	if !t.HasTrigger(plan.Before, true, events) {
		return
	}
	w.affected, w.pkMoves = nil, true // a trigger may change any column
	o.before = func(ctx context.Context, c *change) (bool, error) {
		row, err := o.s.beforeRow(ctx, t, eventOf(c), set, c.old, c.new)
		if err != nil || row == nil || c.new == nil {
			return row != nil, err
		}
		copy(w.newRow(), row)
		if c.old != nil {
			copy(w.oldRow(), c.old)
		}
		if err := w.complete(); err != nil {
			return false, err
		}
		c.new, err = o.saveRow(w.newRow())
		return true, err
	}
}

// eventOf is what triggers call a change.
func eventOf(c *change) uint8 {
	switch {
	case c.old == nil:
		return catalog.TriggerInsert
	case c.new == nil:
		return catalog.TriggerDelete
	}
	return catalog.TriggerUpdate
}

// fireAll fires queued AFTER triggers in order; those put off to the end of the transaction go to later.
func (q *fkQueue) fireAll(ctx context.Context) error {
	events := q.events
	q.events = nil
	for _, e := range events {
		d := e.tr.Desc
		if later := q.s.env.Deferred; d.Deferrable && later.deferred(d.Name, d.Deferred) {
			later.events = append(later.events, e)
			continue
		}
		if _, _, err := q.s.fire(ctx, e.t, e.tr, e.event, e.old, e.new); err != nil {
			return err
		}
	}
	return nil
}

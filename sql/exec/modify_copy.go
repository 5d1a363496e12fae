package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// Inserter inserts rows that come from outside, in batches.
type Inserter struct {
	s   *state
	ins *modifyOp
	v   *plan.Values
}

func newInserter(ctx context.Context, p *plan.Plan, env *Env) (*Inserter, error) {
	n, ok := p.Root.(*plan.Insert)
	if !ok {
		return nil, pgerr.New(pgerr.InternalError, "not a plan for COPY")
	}
	s := newState(p, env)
	w := &Inserter{s: s, v: n.Input.(*plan.Values)}
	made := newInstead(s, n, &oneRowOp{})
	if made == nil {
		made = insertOf(s, n, &oneRowOp{})
	}
	switch o := made.(type) {
	case *insteadOp:
		w.ins = &o.modifyOp
	case *insertOp:
		w.ins = &o.modifyOp
	case *partInsertOp:
		w.ins = &o.modifyOp
	}
	w.ins.size = writeBatch
	if t := n.Target.Table; t.Triggers != nil {
		owed, err := s.statement(ctx, t, catalog.TriggerInsert, nil)
		if err != nil {
			return nil, err
		}
		s.owed = owed
	}
	return w, nil
}

// Add inserts one row of values in the types of the plan's ParamTypes. The row may be reused after Add.
func (w *Inserter) Add(ctx context.Context, row []types.Datum) error {
	for i, sl := range w.v.Slots {
		w.s.c.Frame[sl] = row[i]
	}
	if err := w.ins.take(ctx); err != nil {
		return err
	}
	if len(w.ins.pending) < writeBatch {
		return nil
	}
	if err := w.write(ctx); err != nil {
		return err
	}
	return w.s.env.Txn.Flush(ctx)
}

func (w *Inserter) write(ctx context.Context) error {
	if len(w.ins.pending) == 0 {
		return nil
	}
	if err := w.ins.write(ctx); err != nil {
		return err
	}
	w.ins.store.reset()
	return nil
}

// Close writes what is left, checks foreign keys and returns the number of rows.
func (w *Inserter) Close(ctx context.Context) (Result, error) {
	defer w.s.tell()
	if err := w.write(ctx); err != nil {
		return Result{}, err
	}
	if err := w.s.finish(ctx); err != nil {
		return Result{}, err
	}
	return Result{Verb: "COPY", Rows: w.ins.n}, nil
}

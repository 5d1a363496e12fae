package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// runFast executes a statement on the short path: one key, no operators. What it does not know it leaves to
// the operators.
func runFast(ctx context.Context, p *plan.Plan, env *Env, sink func(row []types.Datum) error) (Result, error) {
	s := newState(p, env)
	defer s.tell()
	f := p.Fast
	res := Result{Verb: p.Verb}
	if f.Insert != nil {
		return s.fastInsert(ctx, f.Insert, sink)
	}
	sc := f.Scan
	if f.Update != nil || f.Delete != nil {
		s.to(sc.Table)
	}
	c := scanCodecOf(sc)
	key := make([]byte, 0, 64)
	key = append(key, c.index.prefix...)
	keys := c.index.ix.Keys
	for i, e := range sc.Eq {
		d, err := e.Eval(&s.c)
		if err != nil {
			return res, err
		}
		if d.IsNull() {
			return res, s.finish(ctx)
		}
		key = appendKey(key, d, &keys[i])
	}
	lock := s.lock(sc.Lock, true)
	val, err := env.Txn.Get(ctx, key, lock, sc.Wait)
	if env.Tally != nil {
		found := int64(0)
		if val != nil {
			found = 1
		}
		env.Tally.Searched(sc.Table, c.index.ix, 1, found, found)
	}
	if err != nil || val == nil {
		return res, err
	}
	out := s.c.Frame[c.base : c.base+c.width]
	if err := c.entry.read(key, val, out); err != nil {
		return res, err
	}
	for _, conds := range [2][]plan.Expr{sc.Filter, f.Filter} {
		ok, err := evalAll(&s.c, conds)
		if err != nil || !ok {
			return res, err
		}
	}
	switch {
	case f.Update != nil:
		err = s.fastUpdate(ctx, f.Update, key)
	case f.Delete != nil:
		err = s.fastDelete(ctx, f.Delete)
	}
	if err != nil {
		return res, err
	}
	res.Rows = 1
	if err := s.output(p, sink); err != nil {
		return res, err
	}
	if s.fks != nil {
		return res, s.fks.run(ctx)
	}
	return res, nil
}

// output evaluates and delivers the result row of the frame.
func (s *state) output(p *plan.Plan, sink func(row []types.Datum) error) error {
	if len(p.Output) == 0 || sink == nil {
		return nil
	}
	var buf [16]types.Datum
	row := buf[:0]
	for _, e := range p.Output {
		d, err := e.Eval(&s.c)
		if err != nil {
			return err
		}
		row = append(row, d)
	}
	return sink(row)
}

func (s *state) fastUpdate(ctx context.Context, n *plan.Update, key []byte) error {
	w := newWriter(s, n.Target)
	ords := map[int]bool{}
	for _, x := range n.Set {
		ords[x.Ord] = true
	}
	for _, g := range n.Target.Generated {
		ords[g.Ord] = true
	}
	w.limitTo(ords)
	vals := make([]types.Datum, len(n.Set))
	if err := setNew(s, w, n.Set, vals); err != nil {
		return err
	}
	if err := w.complete(); err != nil {
		return err
	}
	any := w.pkMoves || w.mirror != nil
	for _, a := range w.affected {
		any = any || a
	}
	old, row := w.oldRow(), w.newRow()
	if !any {
		if err := w.checkViews(row); err != nil {
			return err
		}
		if w.disturbed() {
			if err := w.unchanged(ctx, []change{{old: old}}, "updated"); err != nil {
				return err
			}
		}
		w.updated++
		w.note()
		val := w.codec.appendRowValue(make([]byte, 0, 192), row)
		if err := s.env.Txn.Put(key, val); err != nil {
			return err
		}
		if err := s.queueChild(n.Target.Table, old, row); err != nil {
			return err
		}
		return s.queueParent(n.Target.Table, old, row)
	}
	return s.updateRows(ctx, w, []change{{old: old, new: row}}, false)
}

func (s *state) fastDelete(ctx context.Context, n *plan.Delete) error {
	w := newWriter(s, n.Target)
	return s.deleteRows(ctx, w, []change{{old: w.oldRow()}}, false)
}

func (s *state) fastInsert(ctx context.Context, n *plan.Insert, sink func(row []types.Datum) error) (Result, error) {
	res := Result{Verb: s.p.Verb}
	v := n.Input.(*plan.Values)
	for i, e := range v.Rowsets[0] {
		d, err := e.Eval(&s.c)
		if err != nil {
			return res, err
		}
		s.c.Frame[v.Slots[i]] = d
	}
	o := newInsert(s, n, &oneRowOp{}).(*insertOp)
	if err := o.fill(); err != nil {
		return res, err
	}
	if err := o.w.complete(); err != nil {
		return res, err
	}
	// A lone row needs no copy of itself, unless ON CONFLICT overwrites it.
	row := o.w.newRow()
	if n.Conflict != nil {
		row = append([]types.Datum(nil), row...)
	}
	o.pending = append(o.pending, change{new: row})
	if o.w.hidden && len(o.w.codec.indexes) == 0 && n.Conflict == nil && o.w.mirror == nil {
		if err := o.w.checkViews(row); err != nil {
			return res, err
		}
		if err := o.w.writeNew(row, o.w.rowKey(row), nil); err != nil {
			return res, err
		}
		if err := s.queueChild(n.Target.Table, nil, row); err != nil {
			return res, err
		}
		o.n = 1
		if o.returning {
			o.out = o.pending
		}
	} else if err := o.flushRows(ctx); err != nil {
		return res, err
	}
	res.Rows = o.n
	for i := range o.out {
		o.emit(&o.out[i])
		if err := s.output(s.p, sink); err != nil {
			return res, err
		}
	}
	return res, s.finish(ctx)
}

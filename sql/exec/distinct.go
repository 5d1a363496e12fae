package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// distinctOp lets the first row of each group of equal keys pass. Rows whose keys have no room in its table are
// written out, and come later.
type distinctOp struct {
	s    *state
	n    *plan.Distinct
	in   op
	ts   []*types.T
	set  *rowSet
	key  []types.Datum
	last []types.Datum
	some bool

	parts *spillParts   // of rows that had no room: keys, then kept slots
	over  *scratchRun   // of those of the file being read that had none either
	queue []*scratchRun // files to be read, the first is being read
	ended bool          // the input has
	row   []types.Datum
}

func newDistinct(s *state, n *plan.Distinct, in op) *distinctOp {
	ts := exprTypes(n.Keys)
	return &distinctOp{s: s, n: n, in: in, ts: ts, set: newRowSet(s, ts), key: make([]types.Datum, len(ts)), last: make([]types.Datum, len(ts)),
		row: make([]types.Datum, len(ts)+len(n.Keep))}
}

func (o *distinctOp) open(ctx context.Context) error {
	o.drop()
	o.some, o.ended = false, false
	return o.in.open(ctx)
}

func (o *distinctOp) next(ctx context.Context) (bool, error) {
	for !o.ended {
		ok, err := o.in.next(ctx)
		if err != nil {
			return false, err
		}
		if !ok {
			o.ended = true
			if o.parts != nil {
				if st := o.s.statsOf(o.n); st != nil {
					st.disk += o.parts.diskUse()
				}
				o.queue, o.parts = o.parts.take(), nil
				return o.nextSpilled(ctx, true)
			}
			return false, nil
		}
		for i, e := range o.n.Keys {
			if o.key[i], err = e.Eval(&o.s.c); err != nil {
				return false, err
			}
		}
		if o.n.Sorted {
			if o.some && equalRows(o.ts, o.key, o.last) {
				continue
			}
			for i, d := range o.key {
				o.last[i] = cloneDatum(d)
			}
			o.some = true
			return true, nil
		}
		i, h := o.set.find(o.key)
		if i >= 0 {
			continue
		}
		if o.parts != nil || o.s.crowded(o.set.store.size, len(o.set.keys)) {
			if o.parts == nil {
				o.parts = &spillParts{s: o.s, width: len(o.row)}
			}
			copy(o.row, o.key)
			for i, sl := range o.n.Keep {
				o.row[len(o.key)+i] = o.s.c.Frame[sl]
			}
			if err := o.parts.add(h, o.row); err != nil {
				return false, err
			}
			continue
		}
		if _, _, err := o.set.add(o.key); err != nil {
			return false, err
		}
		return true, nil
	}
	return o.nextSpilled(ctx, false)
}

// nextSpilled goes on with the rows that were written out; first begins with them.
func (o *distinctOp) nextSpilled(ctx context.Context, first bool) (bool, error) {
	for len(o.queue) > 0 {
		if err := o.s.tick(ctx); err != nil {
			return false, err
		}
		r := o.queue[0]
		if first {
			first = false
			o.set.reset()
			if err := r.rewind(); err != nil {
				return false, err
			}
		}
		row, err := r.read()
		if err != nil {
			return false, err
		}
		if row == nil {
			r.close()
			o.queue, first = o.queue[1:], true
			if o.over != nil {
				o.queue, o.over = append(o.queue, o.over), nil
			}
			continue
		}
		key := row[:len(o.key)]
		if i, _ := o.set.find(key); i >= 0 {
			continue
		}
		if o.over != nil || o.s.crowded(o.set.store.size, len(o.set.keys)) {
			if o.over == nil {
				if o.over, err = newRun(o.s.env.Scratch, len(o.row)); err != nil {
					return false, err
				}
			}
			if err := o.over.write(row); err != nil {
				return false, err
			}
			continue
		}
		if _, _, err := o.set.add(key); err != nil {
			return false, err
		}
		for i, sl := range o.n.Keep {
			o.s.c.Frame[sl] = row[len(o.key)+i]
		}
		return true, nil
	}
	return false, nil
}

// drop forgets all rows.
func (o *distinctOp) drop() {
	o.set.reset()
	o.parts.close()
	closeRuns(append(o.queue, o.over))
	o.parts, o.queue, o.over = nil, nil, nil
}

func (o *distinctOp) close() {
	o.in.close()
	o.drop()
}

package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// subBatch is the table of all answers of a correlated subquery (plan.SubBatch), while it has one.
type subBatch struct {
	b      *plan.SubBatch
	keys   *rowSet
	vals   []types.Datum // by key, of a scalar subquery
	many   []bool        // by key: there is more than one row
	nulls  []bool        // by key, of IN: one of the values is NULL
	pairs  *rowSet       // of IN: keys with each of their values
	key    []types.Datum
	size   int64
	failed bool
	// none is the aggregate of no rows, once it is known.
	none      types.Datum
	knowsNone bool
}

// batched answers a correlated subquery for the outer row in the frame from the table of all answers; false when there
// is none, or it does not say.
func (s *state) batched(ctx context.Context, c *plan.EvalCtx, q *plan.Subquery, st *subState) (types.Datum, bool, error) {
	t := st.batch
	if t == nil {
		if q.Batch == nil || float64(st.runs) < q.Batch.After {
			return types.Null, false, nil
		}
		t = &subBatch{b: q.Batch, key: make([]types.Datum, len(q.Batch.Outer), len(q.Batch.Outer)+1)}
		st.batch = t
		if err := s.readBatch(ctx, c, q, t); err != nil {
			t.drop(s)
			t.failed = true
			if !forgivable(err) {
				return types.Null, false, err
			}
		}
	}
	if t.failed {
		return types.Null, false, nil
	}
	t.key = t.key[:len(t.b.Outer)]
	matches := true
	for i, e := range t.b.Outer {
		d, err := e.Eval(c)
		if err != nil {
			return types.Null, false, nil // an error of this row, if the subquery has rows to compare it with
		}
		t.key[i] = d
		matches = matches && !d.IsNull()
	}
	at := -1
	if matches {
		at, _ = t.keys.find(t.key)
	}
	switch {
	case q.Kind == plan.SubExists:
		return types.NewBool(at >= 0), true, nil
	case q.Kind == plan.SubAny:
		return t.in(c, q, at)
	case at >= 0:
		return t.vals[at], !t.many[at], nil
	case !t.b.Grouped:
		return types.Null, true, nil
	case t.knowsNone:
		return t.none, true, nil
	}
	v, err := s.subValue(ctx, c, q, st)
	if err != nil {
		return types.Null, false, err
	}
	t.none, t.knowsNone = cloneDatum(v), true
	return v, true, nil
}

// forgivable reports whether an error may be one of rows that nobody asked for, or of memory that the subquery can do
// without.
func forgivable(err error) bool {
	code := pgerr.Code(err)
	return len(code) == 5 && code[:2] == "22" || code == pgerr.OutOfMemory
}

// readBatch runs the second query.
func (s *state) readBatch(ctx context.Context, c *plan.EvalCtx, q *plan.Subquery, t *subBatch) error {
	all := t.b.All
	root, err := s.build(all.Root)
	if err != nil {
		return err
	}
	n := len(t.b.Outer)
	ts := exprTypes(all.Out)
	t.keys = newRowSet(s, ts[:n])
	if q.Kind == plan.SubAny {
		ts[n] = q.Ops[0].Call.Args[0]
		t.pairs = newRowSet(s, ts)
	}
	if err := root.open(ctx); err != nil {
		return err
	}
	defer root.close()
	row := make([]types.Datum, len(all.Out))
	for {
		ok, err := root.next(ctx)
		if err != nil || !ok {
			return err
		}
		if err := s.tick(ctx); err != nil {
			return err
		}
		null := false
		for i, e := range all.Out {
			if row[i], err = e.Eval(c); err != nil {
				return err
			}
			null = null || i < n && row[i].IsNull()
		}
		if null {
			continue // equal to nothing
		}
		at, fresh, err := t.keys.add(row[:n])
		if err != nil {
			return err
		}
		switch {
		case q.Kind == plan.SubExists:
		case q.Kind == plan.SubAny:
			if fresh {
				t.nulls = append(t.nulls, false)
			}
			if row[n].IsNull() {
				t.nulls[at] = true
				continue
			}
			if row[n], err = plan.FillHole(c, q.Ops[0].Args[1], row[n]); err != nil {
				return err
			}
			if _, _, err := t.pairs.add(row); err != nil {
				return err
			}
		case fresh:
			size := datumSize + 1 + datumBytes(row[n])
			t.size += size
			if err := s.grow(size); err != nil {
				return err
			}
			t.vals, t.many = append(t.vals, cloneDatum(row[n])), append(t.many, false)
		default:
			t.many[at] = true
		}
	}
}

// in answers test = ANY over the values of the key at that place, -1 for none.
func (t *subBatch) in(c *plan.EvalCtx, q *plan.Subquery, at int) (types.Datum, bool, error) {
	if at < 0 {
		return types.NewBool(false), true, nil
	}
	d, err := q.Test[0].Eval(c)
	if err != nil {
		return types.Null, false, err
	}
	if !d.IsNull() {
		if d, err = plan.FillHole(c, q.Ops[0].Args[0], d); err != nil {
			return types.Null, false, err
		}
	}
	if d.IsNull() {
		return types.Null, true, nil
	}
	if i, _ := t.pairs.find(append(t.key, d)); i >= 0 {
		return types.NewBool(true), true, nil
	}
	if t.nulls[at] {
		return types.Null, true, nil
	}
	return types.NewBool(false), true, nil
}

// drop gives the table's memory back.
func (t *subBatch) drop(s *state) {
	for _, r := range []*rowSet{t.keys, t.pairs} {
		if r != nil {
			r.reset()
		}
	}
	s.shrink(t.size)
	t.vals, t.many, t.nulls, t.size = nil, nil, nil, 0
}

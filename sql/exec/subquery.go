package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// subState is a subquery of an expression during an execution.
type subState struct {
	root op
	// An uncorrelated subquery runs once.
	done bool
	val  types.Datum
	rows [][]types.Datum
	// hashed has the rows of "= ANY"; hasNull says that one of them has a NULL.
	hashed  *rowSet
	hasNull bool
	// memo has the results of a correlated subquery by the outer values it depends on.
	memo *rowSet
	res  []types.Datum
	miss int
	// runs is how often a correlated subquery was run, batch the table of all its answers.
	runs  int
	batch *subBatch
}

const memoRows = 4096

// RunSubquery implements plan.SubqueryRunner.
func (s *state) RunSubquery(c *plan.EvalCtx, q *plan.Subquery) (types.Datum, error) {
	if s.subs == nil {
		s.subs = make([]*subState, len(s.p.Subqueries))
	}
	for q.ID >= len(s.subs) {
		s.subs = append(s.subs, nil)
	}
	st := s.subs[q.ID]
	if st == nil {
		root, err := s.build(q.Root)
		if err != nil {
			return types.Null, err
		}
		st = &subState{root: root}
		s.subs[q.ID] = st
	}
	ctx := context.Background()
	if c.B != nil && c.B.Context != nil {
		ctx = c.B.Context
	}
	if q.Correlated {
		if v, ok, err := s.batched(ctx, c, q, st); ok || err != nil {
			return s.negated(q, v), err
		}
	}
	switch q.Kind {
	case plan.SubAny, plan.SubAll:
		return s.quantified(ctx, c, q, st)
	}
	if !q.Correlated {
		if !st.done {
			v, err := s.subValue(ctx, c, q, st)
			if err != nil {
				return types.Null, err
			}
			st.val, st.done = cloneDatum(v), true
		}
		return s.negated(q, st.val), nil
	}
	// Outer values repeat often: remember results.
	if len(q.Free) > 0 && len(q.Free) <= 4 && st.miss < 3*memoRows {
		key := make([]types.Datum, len(q.Free))
		for i, sl := range q.Free {
			key[i] = c.Frame[sl]
		}
		if st.memo == nil {
			ts := make([]*types.T, len(key))
			ok := true
			for i, d := range key {
				ts[i] = kindType(d.Kind())
				ok = ok && (ts[i] != nil || d.IsNull())
				if ts[i] == nil {
					ok = false
				}
			}
			if ok {
				st.memo = newRowSet(s, ts)
			} else {
				st.miss = 3 * memoRows
			}
		}
		if st.memo != nil && sameKinds(st.memo.ts, key) {
			if i, _ := st.memo.find(key); i >= 0 {
				return s.negated(q, st.res[i]), nil
			}
			st.miss++
			if len(st.memo.keys) >= memoRows {
				st.memo.reset()
				st.res = nil
			}
			saved := make([]types.Datum, len(key))
			for i := range key {
				saved[i] = cloneDatum(key[i])
			}
			v, err := s.subValue(ctx, c, q, st)
			if err != nil {
				return types.Null, err
			}
			v = cloneDatum(v)
			if _, _, err := st.memo.add(saved); err != nil {
				return types.Null, err
			}
			st.res = append(st.res, v)
			return s.negated(q, v), nil
		}
	}
	v, err := s.subValue(ctx, c, q, st)
	return s.negated(q, v), err
}

// kindType is a type under which values of a kind may be hashed and compared exactly; nil for kinds whose
// equal values can differ.
func kindType(k types.Kind) *types.T {
	switch k {
	case types.KindBool:
		return types.Bool
	case types.KindInt:
		return types.Int8
	case types.KindString:
		return types.Text
	case types.KindDate:
		return types.Date
	case types.KindTimestamp:
		return types.Timestamp
	case types.KindTimestampTZ:
		return types.TimestampTZ
	case types.KindUUID:
		return types.ByOID(types.OIDUUID)
	}
	return nil
}

func sameKinds(ts []*types.T, row []types.Datum) bool {
	for i, d := range row {
		if !d.IsNull() && d.Kind() != ts[i].Kind {
			return false
		}
	}
	return true
}

func (s *state) negated(q *plan.Subquery, v types.Datum) types.Datum {
	if q.Not && !v.IsNull() {
		return types.NewBool(!v.Bool())
	}
	return v
}

// subValue runs a subquery that yields one value.
func (s *state) subValue(ctx context.Context, c *plan.EvalCtx, q *plan.Subquery, st *subState) (types.Datum, error) {
	st.runs++
	if err := st.root.open(ctx); err != nil {
		return types.Null, err
	}
	defer st.root.close()
	switch q.Kind {
	case plan.SubExists:
		ok, err := st.root.next(ctx)
		return types.NewBool(ok), err
	case plan.SubArray:
		return s.subArray(ctx, c, q, st)
	}
	ok, err := st.root.next(ctx)
	if err != nil || !ok {
		return types.Null, err
	}
	var v types.Datum
	if q.Kind == plan.SubRow {
		t := &types.Tuple{}
		for _, e := range q.Out {
			d, err := e.Eval(c)
			if err != nil {
				return types.Null, err
			}
			t.Elems, t.Types = append(t.Elems, cloneDatum(d)), append(t.Types, e.Type())
		}
		v = types.NewTuple(t)
	} else {
		if v, err = q.Out[0].Eval(c); err != nil {
			return types.Null, err
		}
		v = cloneDatum(v)
	}
	ok, err = st.root.next(ctx)
	if err != nil {
		return types.Null, err
	}
	if ok {
		return types.Null, pgerr.New(pgerr.CardinalityViolation, "more than one row returned by a subquery used as an expression")
	}
	return v, nil
}

func (s *state) subArray(ctx context.Context, c *plan.EvalCtx, q *plan.Subquery, st *subState) (types.Datum, error) {
	a := &types.Array{Elem: q.T.Elem}
	nested := q.Out[0].Type().IsArray()
	n := int32(0)
	for {
		ok, err := st.root.next(ctx)
		if err != nil {
			return types.Null, err
		}
		if !ok {
			break
		}
		d, err := q.Out[0].Eval(c)
		if err != nil {
			return types.Null, err
		}
		n++
		if nested {
			if !d.IsNull() {
				if len(a.Dims) == 0 {
					a.Dims = append([]types.ArrayDim{{Lower: 1}}, d.Array().Dims...)
				}
				a.Elems = append(a.Elems, d.Array().Elems...)
			}
			continue
		}
		if err := s.grow(datumSize + datumBytes(d)); err != nil {
			return types.Null, err
		}
		a.Elems = append(a.Elems, cloneDatum(d))
	}
	if nested {
		if len(a.Dims) > 0 {
			a.Dims[0].Len = n
		}
	} else if n > 0 {
		a.Dims = []types.ArrayDim{{Len: n, Lower: 1}}
	}
	return types.NewArray(a), nil
}

// quantified evaluates test op ANY|ALL (subquery).
func (s *state) quantified(ctx context.Context, c *plan.EvalCtx, q *plan.Subquery, st *subState) (types.Datum, error) {
	test := make([]types.Datum, len(q.Test))
	testNull := false
	for i, e := range q.Test {
		d, err := e.Eval(c)
		if err != nil {
			return types.Null, err
		}
		test[i] = cloneDatum(d)
		testNull = testNull || d.IsNull()
	}
	res := func(v types.Datum, err error) (types.Datum, error) {
		if err == nil && q.Not && !v.IsNull() {
			v = types.NewBool(!v.Bool())
		}
		return v, err
	}
	if !q.Correlated {
		if !st.done {
			if err := s.subRows(ctx, c, q, st); err != nil {
				return types.Null, err
			}
		}
		if q.Kind == plan.SubAny && q.OpEq && st.hashed != nil && !testNull {
			vals := make([]types.Datum, len(test))
			for i, op := range q.Ops {
				v, err := plan.FillHole(c, op.Args[0], test[i])
				if err != nil {
					return types.Null, err
				}
				vals[i] = v
			}
			if i, _ := st.hashed.find(vals); i >= 0 {
				return res(types.NewBool(true), nil)
			}
			if !st.hasNull {
				return res(types.NewBool(false), nil)
			}
		}
		return res(s.combine(c, q, test, st.rows))
	}
	st.runs++
	if err := st.root.open(ctx); err != nil {
		return types.Null, err
	}
	defer st.root.close()
	null := false
	row := make([]types.Datum, len(q.Out))
	for {
		ok, err := st.root.next(ctx)
		if err != nil {
			return types.Null, err
		}
		if !ok {
			break
		}
		for i, e := range q.Out {
			if row[i], err = e.Eval(c); err != nil {
				return types.Null, err
			}
		}
		v, err := q.Combine(c, test, row)
		if err != nil {
			return types.Null, err
		}
		if v.IsNull() {
			null = true
		} else if v.Bool() == (q.Kind == plan.SubAny) {
			return res(v, nil)
		}
	}
	if null {
		return types.Null, nil
	}
	return res(types.NewBool(q.Kind == plan.SubAll), nil)
}

func (s *state) combine(c *plan.EvalCtx, q *plan.Subquery, test []types.Datum, rows [][]types.Datum) (types.Datum, error) {
	null := false
	for _, r := range rows {
		v, err := q.Combine(c, test, r)
		if err != nil {
			return types.Null, err
		}
		if v.IsNull() {
			null = true
		} else if v.Bool() == (q.Kind == plan.SubAny) {
			return v, nil
		}
	}
	if null {
		return types.Null, nil
	}
	return types.NewBool(q.Kind == plan.SubAll), nil
}

// subRows reads an uncorrelated subquery once, into a hash table when the operator is equality.
func (s *state) subRows(ctx context.Context, c *plan.EvalCtx, q *plan.Subquery, st *subState) error {
	if err := st.root.open(ctx); err != nil {
		return err
	}
	defer st.root.close()
	if q.Kind == plan.SubAny && q.OpEq {
		ts := make([]*types.T, len(q.Ops))
		for i, op := range q.Ops {
			ts[i] = op.Call.Args[0]
		}
		st.hashed = newRowSet(s, ts)
	}
	for {
		ok, err := st.root.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			st.done = true
			return nil
		}
		row := make([]types.Datum, len(q.Out))
		n := int64(len(row)) * datumSize
		null := false
		for i, e := range q.Out {
			d, err := e.Eval(c)
			if err != nil {
				return err
			}
			row[i] = cloneDatum(d)
			n += datumBytes(d)
			null = null || d.IsNull()
		}
		if st.hashed != nil && !null {
			vals := make([]types.Datum, len(row))
			for i, op := range q.Ops {
				if vals[i], err = plan.FillHole(c, op.Args[1], row[i]); err != nil {
					return err
				}
			}
			_, fresh, err := st.hashed.add(vals)
			if err != nil {
				return err
			}
			if !fresh {
				continue
			}
		}
		st.hasNull = st.hasNull || null
		st.rows = append(st.rows, row)
		if err := s.grow(n); err != nil {
			return err
		}
	}
}

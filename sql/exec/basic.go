package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

type oneRowOp struct{ done bool }

func (o *oneRowOp) open(context.Context) error { o.done = false; return nil }
func (o *oneRowOp) next(context.Context) (bool, error) {
	if o.done {
		return false, nil
	}
	o.done = true
	return true, nil
}
func (o *oneRowOp) close() {}

type valuesOp struct {
	s   *state
	n   *plan.Values
	pos int
}

func (o *valuesOp) open(context.Context) error { o.pos = 0; return nil }
func (o *valuesOp) next(context.Context) (bool, error) {
	if o.pos >= len(o.n.Rowsets) {
		return false, nil
	}
	for i, e := range o.n.Rowsets[o.pos] {
		d, err := e.Eval(&o.s.c)
		if err != nil {
			return false, err
		}
		o.s.c.Frame[o.n.Slots[i]] = d
	}
	o.pos++
	return true, nil
}
func (o *valuesOp) close() {}

type projectOp struct {
	s  *state
	n  *plan.Project
	in op
}

func (o *projectOp) open(ctx context.Context) error { return o.in.open(ctx) }
func (o *projectOp) next(ctx context.Context) (bool, error) {
	ok, err := o.in.next(ctx)
	if err != nil || !ok {
		return false, err
	}
	for i, e := range o.n.Exprs {
		d, err := e.Eval(&o.s.c)
		if err != nil {
			return false, err
		}
		o.s.c.Frame[o.n.Slots[i]] = d
	}
	return true, nil
}
func (o *projectOp) close() { o.in.close() }

type filterOp struct {
	s  *state
	n  *plan.Filter
	in op
}

func (o *filterOp) open(ctx context.Context) error { return o.in.open(ctx) }
func (o *filterOp) next(ctx context.Context) (bool, error) {
	for {
		ok, err := o.in.next(ctx)
		if err != nil || !ok {
			return false, err
		}
		ok, err = evalAll(&o.s.c, o.n.Conds)
		if err != nil || ok {
			return ok, err
		}
		if st := o.s.statsOf(o.n); st != nil {
			st.removed++
		}
	}
}
func (o *filterOp) close() { o.in.close() }

type limitOp struct {
	s          *state
	n          *plan.Limit
	in         op
	skip, left int64
	all, tied  bool
	last       []types.Datum
	end        bool
}

// limitValue evaluates LIMIT or OFFSET; null reports that there is none.
func limitValue(c *plan.EvalCtx, e plan.Expr, what, code string) (n int64, null bool, err error) {
	if e == nil {
		return 0, true, nil
	}
	d, err := e.Eval(c)
	if err != nil || d.IsNull() {
		return 0, true, err
	}
	if d.Int() < 0 {
		return 0, false, pgerr.New(code, "%s must not be negative", what)
	}
	return d.Int(), false, nil
}

func (o *limitOp) open(ctx context.Context) error {
	var err error
	if o.skip, _, err = limitValue(&o.s.c, o.n.Offset, "OFFSET", pgerr.InvalidRowCountInResultOffsetClause); err != nil {
		return err
	}
	if o.left, o.all, err = limitValue(&o.s.c, o.n.Count, "LIMIT", pgerr.InvalidRowCountInLimitClause); err != nil {
		return err
	}
	o.tied, o.end = false, false
	if !o.all && o.left == 0 {
		o.end = true
		return nil
	}
	return o.in.open(ctx)
}

func (o *limitOp) next(ctx context.Context) (bool, error) {
	if o.end {
		return false, nil
	}
	for ; o.skip > 0; o.skip-- {
		ok, err := o.in.next(ctx)
		if err != nil || !ok {
			o.end = true
			return false, err
		}
	}
	if !o.all && o.left == 0 {
		if !o.n.WithTies {
			o.end = true
			return false, nil
		}
		o.tied = true
	}
	ok, err := o.in.next(ctx)
	if err != nil || !ok {
		o.end = true
		return false, err
	}
	if o.n.WithTies && !o.all {
		cur := make([]types.Datum, len(o.n.Keys))
		for i, k := range o.n.Keys {
			if cur[i], err = k.E.Eval(&o.s.c); err != nil {
				return false, err
			}
			cur[i] = cloneDatum(cur[i])
		}
		if o.tied {
			for i, k := range o.n.Keys {
				if types.Compare(k.E.Type(), cur[i], o.last[i]) != 0 {
					o.end = true
					return false, nil
				}
			}
			return true, nil
		}
		o.last = cur
	}
	o.left--
	if !o.all && o.left == 0 && !o.n.WithTies {
		o.end = true
	}
	return true, nil
}
func (o *limitOp) close() { o.in.close() }

func cloneDatum(d types.Datum) types.Datum {
	switch d.Kind() {
	case types.KindString:
		return types.NewString(string([]byte(d.Str())))
	case types.KindBytes:
		return types.NewBytes(append([]byte(nil), d.Bytes()...))
	case types.KindUUID:
		u := *d.UUID()
		return types.NewUUID(&u)
	}
	return d
}

// funcScanOp runs functions in FROM side by side; the shorter ones are filled with NULL.
type funcScanOp struct {
	s     *state
	n     *plan.FuncScan
	iters []builtin.RowIter
	once  []bool // scalar functions that have given their row
	ord   int64
}

func (o *funcScanOp) open(context.Context) error {
	o.iters = make([]builtin.RowIter, len(o.n.Funcs))
	o.once = make([]bool, len(o.n.Funcs))
	o.ord = 0
	for i, f := range o.n.Funcs {
		if f.Call == nil {
			continue
		}
		it, err := startRows(&o.s.c, f.Call, f.Args)
		if err != nil {
			return err
		}
		o.iters[i] = it
		o.once[i] = it == nil
	}
	return nil
}

// startRows calls a set-returning function; a strict one with a NULL argument has no rows.
func startRows(c *plan.EvalCtx, call *builtin.Call, args []plan.Expr) (builtin.RowIter, error) {
	vals := make([]types.Datum, len(args))
	for i, a := range args {
		d, err := a.Eval(c)
		if err != nil {
			return nil, err
		}
		if d.IsNull() && call.Strict {
			return nil, nil
		}
		vals[i] = cloneDatum(d)
	}
	if call.Rows == nil {
		return nil, pgerr.Unsupported("set-returning function %s is not supported", call.Func.Name)
	}
	return call.Rows(c.B, vals)
}

func (o *funcScanOp) next(ctx context.Context) (bool, error) {
	if err := o.s.tick(ctx); err != nil {
		return false, err
	}
	any := false
	for i, f := range o.n.Funcs {
		var row []types.Datum
		switch {
		case o.once[i]:
		case f.Call == nil:
			o.once[i] = true
			d, err := f.Expr.Eval(&o.s.c)
			if err != nil {
				return false, err
			}
			any = true
			row = []types.Datum{d}
			if f.Unpack {
				row = nil
				if !d.IsNull() {
					row = d.Tuple().Elems
				}
			}
		default:
			r, ok, err := o.iters[i].Next()
			if err != nil {
				return false, err
			}
			if !ok {
				o.once[i] = true
				break
			}
			any, row = true, r
			if len(r) == 1 && len(f.Slots) > 1 {
				row = nil
				if !r[0].IsNull() && r[0].Kind() == types.KindTuple {
					row = r[0].Tuple().Elems
				}
			}
		}
		for k, sl := range f.Slots {
			if k < len(row) {
				o.s.c.Frame[sl] = row[k]
			} else {
				o.s.c.Frame[sl] = types.Null
			}
		}
	}
	if !any {
		return false, nil
	}
	o.ord++
	if o.n.Ordinality >= 0 {
		o.s.c.Frame[o.n.Ordinality] = types.NewInt(o.ord)
	}
	return true, nil
}
func (o *funcScanOp) close() {}

// projectSetOp expands set-returning functions of a select list in step.
type projectSetOp struct {
	s      *state
	n      *plan.ProjectSet
	in     op
	iters  []builtin.RowIter
	active bool
}

func (o *projectSetOp) open(ctx context.Context) error {
	o.active = false
	return o.in.open(ctx)
}

func (o *projectSetOp) next(ctx context.Context) (bool, error) {
	for {
		if err := o.s.tick(ctx); err != nil {
			return false, err
		}
		if !o.active {
			ok, err := o.in.next(ctx)
			if err != nil || !ok {
				return false, err
			}
			o.iters = o.iters[:0]
			for _, c := range o.n.Sets {
				it, err := startRows(&o.s.c, c.Call, c.Args)
				if err != nil {
					return false, err
				}
				o.iters = append(o.iters, it)
			}
			o.active = true
		}
		any := false
		for i, c := range o.n.Sets {
			o.s.c.Frame[c.Slot] = types.Null
			if o.iters[i] == nil {
				continue
			}
			row, ok, err := o.iters[i].Next()
			if err != nil {
				return false, err
			}
			if !ok {
				o.iters[i] = nil
				continue
			}
			any = true
			if len(row) == 1 {
				o.s.c.Frame[c.Slot] = row[0]
			} else {
				t := &types.Tuple{Elems: append([]types.Datum(nil), row...)}
				for _, f := range c.Call.Columns {
					t.Types, t.Names = append(t.Types, f.Type), append(t.Names, f.Name)
				}
				o.s.c.Frame[c.Slot] = types.NewTuple(t)
			}
		}
		if any {
			return true, nil
		}
		o.active = false
	}
}
func (o *projectSetOp) close() { o.in.close() }

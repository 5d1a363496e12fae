package exec

import (
	"context"
	"sort"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// windowOp computes window functions a partition at a time. Its input is sorted by partition and order.
type windowOp struct {
	s     *state
	n     *plan.Window
	in    op
	store *rows
	pts   []*types.T
	nk    int // values stored before the kept slots: partition keys and order keys
	part  [][]types.Datum
	res   [][]types.Datum // by function, by row
	pos   int
	ahead []types.Datum // the first row of the next partition
	last  int64         // what the row read last takes
	eof   bool
	peer  []int // group number of each row
	group []int // first row of each group, and the end
}

func newWindow(s *state, n *plan.Window, in op) op {
	return &windowOp{s: s, n: n, in: in, store: &rows{s: s}, pts: exprTypes(n.Partition), nk: len(n.Partition) + len(n.Order)}
}

func (o *windowOp) open(ctx context.Context) error {
	o.store.reset()
	o.part, o.res, o.pos, o.ahead, o.eof = nil, nil, 0, nil, false
	return o.in.open(ctx)
}

// read stores the frame's row with its keys.
func (o *windowOp) read(ctx context.Context) ([]types.Datum, error) {
	ok, err := o.in.next(ctx)
	if err != nil || !ok {
		return nil, err
	}
	row := o.store.alloc(o.nk + len(o.n.Keep))
	n := int64(len(row))*datumSize + 24
	for i, e := range o.n.Partition {
		d, err := e.Eval(&o.s.c)
		if err != nil {
			return nil, err
		}
		row[i] = o.store.clone(d)
	}
	for i, k := range o.n.Order {
		d, err := k.E.Eval(&o.s.c)
		if err != nil {
			return nil, err
		}
		row[len(o.n.Partition)+i] = o.store.clone(d)
	}
	for i, sl := range o.n.Keep {
		d := o.s.c.Frame[sl]
		n += datumBytes(d)
		row[o.nk+i] = o.store.clone(d)
	}
	o.store.size += n
	o.last = n
	return row, o.s.grow(n)
}

func (o *windowOp) load(row []types.Datum) {
	for i, sl := range o.n.Keep {
		o.s.c.Frame[sl] = row[o.nk+i]
	}
}

func (o *windowOp) next(ctx context.Context) (bool, error) {
	for o.pos >= len(o.part) {
		if o.eof && o.ahead == nil {
			return false, nil
		}
		if err := o.partition(ctx); err != nil {
			return false, err
		}
		if len(o.part) == 0 {
			return false, nil
		}
	}
	o.load(o.part[o.pos])
	for i, f := range o.n.Funcs {
		o.s.c.Frame[f.Slot] = o.res[i][o.pos]
	}
	o.pos++
	return true, nil
}

// partition reads the next partition and computes all functions over it.
func (o *windowOp) partition(ctx context.Context) error {
	first := o.ahead
	o.ahead = nil
	o.part, o.pos = nil, 0
	// Only the row that was read ahead is still needed of what is stored.
	o.store.reset()
	if first != nil {
		o.store.size = o.last
		if err := o.s.grow(o.last); err != nil {
			return err
		}
	}
	if first == nil {
		row, err := o.read(ctx)
		if err != nil {
			return err
		}
		if row == nil {
			o.eof = true
			return nil
		}
		first = row
	}
	o.part = append(o.part, first)
	np := len(o.n.Partition)
	for {
		row, err := o.read(ctx)
		if err != nil {
			return err
		}
		if row == nil {
			o.eof = true
			break
		}
		if !equalRows(o.pts, row[:np], first[:np]) {
			o.ahead = row
			break
		}
		o.part = append(o.part, row)
	}
	o.peers()
	o.res = make([][]types.Datum, len(o.n.Funcs))
	for i, f := range o.n.Funcs {
		var err error
		if o.res[i], err = o.compute(f); err != nil {
			return err
		}
	}
	return nil
}

// peers numbers the groups of rows that are equal in the ordering.
func (o *windowOp) peers() {
	np := len(o.n.Partition)
	o.peer, o.group = make([]int, len(o.part)), nil
	for i, r := range o.part {
		if i == 0 || keyCompare(o.n.Order, r[np:o.nk], o.part[i-1][np:o.nk]) != 0 {
			o.group = append(o.group, i)
		}
		o.peer[i] = len(o.group) - 1
	}
	o.group = append(o.group, len(o.part))
}

// funcWindow is one function's view of the partition.
type funcWindow struct {
	o          *windowOp
	f          *plan.WindowFunc
	row        int
	start, end int
	offStart   int64
	offEnd     int64
	state      any
	valStart   types.Datum
	valEnd     types.Datum
}

func (w *funcWindow) Len() int { return len(w.o.part) }
func (w *funcWindow) Row() int { return w.row }
func (w *funcWindow) Arg(row, i int) (types.Datum, error) {
	w.o.load(w.o.part[row])
	return w.f.Args[i].Eval(&w.o.s.c)
}
func (w *funcWindow) Peers(row int) (int, int) {
	g := w.o.peer[row]
	return w.o.group[g], w.o.group[g+1]
}
func (w *funcWindow) Frame() (int, int) { return w.start, w.end }
func (w *funcWindow) Excluded(row int) bool {
	switch w.f.Frame.Exclude {
	case ast.ExcludeCurrentRow:
		return row == w.row
	case ast.ExcludeGroup:
		return w.o.peer[row] == w.o.peer[w.row]
	case ast.ExcludeTies:
		return row != w.row && w.o.peer[row] == w.o.peer[w.row]
	}
	return false
}
func (w *funcWindow) State() *any { return &w.state }

// compute evaluates one function for every row of the partition.
func (o *windowOp) compute(f *plan.WindowFunc) ([]types.Datum, error) {
	out := make([]types.Datum, len(o.part))
	w := &funcWindow{o: o, f: f}
	if err := w.offsets(); err != nil {
		return nil, err
	}
	if f.IsAgg {
		return out, o.aggregate(f, w, out)
	}
	if f.Call.Window == nil {
		return nil, pgerr.Unsupported("window function %s is not supported", f.Name)
	}
	for i := range o.part {
		w.row = i
		if err := w.setFrame(); err != nil {
			return nil, err
		}
		d, err := f.Call.Window(o.s.c.B, w)
		if err != nil {
			return nil, err
		}
		out[i] = cloneDatum(d)
	}
	return out, nil
}

// offsets evaluates the frame's offsets, once per partition.
func (w *funcWindow) offsets() error {
	f := w.f.Frame
	for i, e := range []plan.Expr{f.StartOffset, f.EndOffset} {
		if e == nil {
			continue
		}
		d, err := e.Eval(&w.o.s.c)
		if err != nil {
			return err
		}
		name := "starting"
		if i == 1 {
			name = "ending"
		}
		if d.IsNull() {
			return pgerr.New(pgerr.NullValueNotAllowed, "frame %s offset must not be null", name)
		}
		if f.Mode == ast.FrameRange {
			if neg, err := isNegative(d, e.Type()); err != nil {
				return err
			} else if neg {
				return pgerr.New(pgerr.InvalidPrecedingOrFollowingSize, "invalid preceding or following size in window function")
			}
			if i == 0 {
				w.valStart = d
			} else {
				w.valEnd = d
			}
			continue
		}
		if d.Int() < 0 {
			return pgerr.New(pgerr.InvalidPrecedingOrFollowingSize, "frame %s offset must not be negative", name)
		}
		if i == 0 {
			w.offStart = d.Int()
		} else {
			w.offEnd = d.Int()
		}
	}
	return nil
}

func isNegative(d types.Datum, t *types.T) (bool, error) {
	switch d.Kind() {
	case types.KindInt:
		return d.Int() < 0, nil
	case types.KindFloat:
		return d.Float() < 0, nil
	case types.KindNumeric:
		return d.Numeric().Negative && !d.Numeric().IsZero(), nil
	case types.KindInterval:
		return types.Compare(t, d, types.NewInterval(&types.Interval{})) < 0, nil
	}
	return false, nil
}

// setFrame computes the current row's frame.
func (w *funcWindow) setFrame() error {
	f, n := w.f.Frame, len(w.o.part)
	ps, pe := w.Peers(w.row)
	clamp := func(i int64) int { return int(min(max(i, 0), int64(n))) }
	groupAt := func(g int64) int {
		last := int64(len(w.o.group) - 1)
		return w.o.group[min(max(g, 0), last)]
	}
	var err error
	switch f.Start {
	case ast.UnboundedPreceding:
		w.start = 0
	case ast.UnboundedFollowing:
		w.start = n
	case ast.CurrentRow:
		w.start = w.row
		if f.Mode != ast.FrameRows {
			w.start = ps
		}
	default:
		sign := int64(1)
		if f.Start == ast.OffsetPreceding {
			sign = -1
		}
		switch f.Mode {
		case ast.FrameRows:
			w.start = clamp(int64(w.row) + sign*w.offStart)
		case ast.FrameGroups:
			w.start = groupAt(int64(w.o.peer[w.row]) + sign*w.offStart)
		default:
			w.start, err = w.rangeBound(w.valStart, f.Start == ast.OffsetPreceding, true)
		}
	}
	if err != nil {
		return err
	}
	switch f.End {
	case ast.UnboundedFollowing:
		w.end = n
	case ast.UnboundedPreceding:
		w.end = 0
	case ast.CurrentRow:
		w.end = w.row + 1
		if f.Mode != ast.FrameRows {
			w.end = pe
		}
	default:
		sign := int64(1)
		if f.End == ast.OffsetPreceding {
			sign = -1
		}
		switch f.Mode {
		case ast.FrameRows:
			w.end = clamp(int64(w.row) + sign*w.offEnd + 1)
		case ast.FrameGroups:
			w.end = groupAt(int64(w.o.peer[w.row]) + sign*w.offEnd + 1)
		default:
			w.end, err = w.rangeBound(w.valEnd, f.End == ast.OffsetPreceding, false)
		}
	}
	if w.end < w.start {
		w.end = w.start
	}
	return err
}

// rangeBound finds the row where a RANGE frame with an offset begins or ends.
func (w *funcWindow) rangeBound(off types.Datum, preceding, start bool) (int, error) {
	o := w.o
	k := o.n.Order[0]
	np := len(o.n.Partition)
	val := func(i int) types.Datum { return o.part[i][np] }
	cur := val(w.row)
	if cur.IsNull() {
		s, e := w.Peers(w.row)
		if start {
			return s, nil
		}
		return e, nil
	}
	op := w.f.Frame.RangeAdd
	if preceding != k.Desc {
		op = w.f.Frame.RangeSub
	}
	bound, err := op.CallWith(&o.s.c, cur, off)
	if err != nil {
		if pgerr.Code(err) != pgerr.NumericValueOutOfRange && pgerr.Code(err) != pgerr.DatetimeValueOutOfRange {
			return 0, err
		}
		// Past the type's end: everything on that side is within.
		lo, hi := o.nonNull(np)
		if preceding {
			return lo, nil
		}
		return hi, nil
	}
	lo, hi := o.nonNull(np)
	t := k.E.Type()
	if bt := op.Call.Ret; bt.BaseType().Kind != t.BaseType().Kind {
		// date ± interval is a timestamp.
		return lo + sort.Search(hi-lo, func(i int) bool {
			return o.rangeCmp(val(lo+i), t, bound, bt, k.Desc, start)
		}), nil
	}
	return lo + sort.Search(hi-lo, func(i int) bool {
		c := types.Compare(t, val(lo+i), bound)
		if k.Desc {
			c = -c
		}
		if start {
			return c >= 0
		}
		return c > 0
	}), nil
}

func (o *windowOp) rangeCmp(v types.Datum, t *types.T, bound types.Datum, bt *types.T, desc, start bool) bool {
	c, err := builtin.ResolveCast(t, bt, builtin.CastExplicit)
	if err == nil {
		if d, err := c.Eval(o.s.c.B, v); err == nil {
			v = d
		}
	}
	x := types.Compare(bt, v, bound)
	if desc {
		x = -x
	}
	if start {
		return x >= 0
	}
	return x > 0
}

// nonNull is the range of rows whose sort key is not NULL.
func (o *windowOp) nonNull(np int) (int, int) {
	lo, hi := 0, len(o.part)
	for lo < hi && o.part[lo][np].IsNull() {
		lo++
	}
	for hi > lo && o.part[hi-1][np].IsNull() {
		hi--
	}
	return lo, hi
}

// aggregate computes an aggregate over each row's frame, extending the state while frames only grow.
func (o *windowOp) aggregate(f *plan.WindowFunc, w *funcWindow, out []types.Datum) error {
	var acc builtin.Accumulator
	from, to := -1, -1
	args := make([]types.Datum, len(f.Args))
	add := func(i int, remove bool) error {
		o.load(o.part[i])
		if f.Filter != nil {
			ok, err := plan.EvalBool(&o.s.c, f.Filter)
			if err != nil || !ok {
				return err
			}
		}
		for k, e := range f.Args {
			d, err := e.Eval(&o.s.c)
			if err != nil {
				return err
			}
			args[k] = d
		}
		if remove {
			return acc.(builtin.Inverter).Remove(o.s.c.B, args)
		}
		return acc.Add(o.s.c.B, args)
	}
	for i := range o.part {
		w.row = i
		if err := w.setFrame(); err != nil {
			return err
		}
		s, e := w.start, w.end
		excl := f.Frame.Exclude != ast.ExcludeNoOthers
		_, inv := acc.(builtin.Inverter)
		switch {
		case acc != nil && !excl && s == from && e >= to:
			for k := to; k < e; k++ {
				if err := add(k, false); err != nil {
					return err
				}
			}
		case acc != nil && !excl && inv && s >= from && e >= to && s < to:
			for k := from; k < s; k++ {
				if err := add(k, true); err != nil {
					return err
				}
			}
			for k := to; k < e; k++ {
				if err := add(k, false); err != nil {
					return err
				}
			}
		default:
			acc = f.Call.NewAcc()
			for k := s; k < e; k++ {
				if excl && w.Excluded(k) {
					continue
				}
				if err := add(k, false); err != nil {
					return err
				}
			}
		}
		from, to = s, e
		d, err := acc.Result(o.s.c.B)
		if err != nil {
			return err
		}
		out[i] = cloneDatum(d)
	}
	return nil
}

func (o *windowOp) close() {
	o.in.close()
	o.store.reset()
	o.part, o.res = nil, nil
}

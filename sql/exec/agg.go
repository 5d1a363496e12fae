package exec

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// aggOp groups its input and computes aggregates, in one of three ways: one group, adjacent groups, or a
// hash table for each grouping set.
type aggOp struct {
	s    *state
	n    *plan.Agg
	in   op
	ts   []*types.T
	key  []types.Datum
	sub  []types.Datum   // the part of key that a set groups by
	args [][]types.Datum // argument buffers, by aggregate
	// remote, if set, reads what was aggregated beside the data in place of in's rows.
	remote *remoteAggOp
	// spilled is a row to be written out: its key, what it is, and what the aggregates read of it. order is room for
	// sort keys; held is the memory of all aggState.size.
	spilled, order []types.Datum
	held           int64
	grows          bool // groups take more memory with every row: fewer are begun

	// Hash and plain.
	sets []*aggSet
	set  int
	pos  int
	read bool

	// Sorted.
	cur     []*aggState
	curKey  []types.Datum
	have    bool
	pending bool // the frame's row opens the next group
	end     bool
}

// aggSet is the hash table of one grouping set.
type aggSet struct {
	keys   []int // indexes into Group
	groups *rowSet
	states [][]*aggState
	// Rows without room (agg_spill.go): parts while the input is read; then the files still to be read, the first being
	// the one that is, and over for what of it has no room either.
	parts   *spillParts
	queue   []*scratchRun
	over    *scratchRun
	reading bool
}

// aggState is one aggregate over one group.
type aggState struct {
	a        *plan.AggFunc
	acc      builtin.Accumulator
	distinct *rowSet
	ordered  [][]types.Datum // buffered input of an ordered aggregate: arguments, then sort keys
	size     int64           // of ordered, and of arguments that acc keeps
}

func (s *state) newAgg(n *plan.Agg, in op) op {
	o := &aggOp{s: s, n: n, in: in, ts: exprTypes(n.Group), key: make([]types.Datum, len(n.Group)), sub: make([]types.Datum, len(n.Group))}
	for _, a := range n.Aggs {
		o.args = append(o.args, make([]types.Datum, len(a.Args)))
		o.grows = o.grows || a.Distinct || len(a.Order) > 0 || keepsArgs(a.Name) && a.Name != "min" && a.Name != "max"
	}
	o.spilled = make([]types.Datum, len(n.Group)+max(2, o.inputWidth()))
	return o
}

func (o *aggOp) newStates() []*aggState {
	out := make([]*aggState, len(o.n.Aggs))
	flat := make([]aggState, len(o.n.Aggs))
	for i, a := range o.n.Aggs {
		flat[i].a = a
		flat[i].acc = a.Call.NewAcc()
		if o, ok := flat[i].acc.(builtin.Orderer); ok {
			keys := make([]builtin.Ordering, len(a.Order))
			for k, s := range a.Order {
				keys[k] = builtin.Ordering{Type: s.E.Type(), Desc: s.Desc, NullsFirst: s.NullsFirst}
			}
			o.SetOrder(keys)
		}
		if a.Distinct {
			flat[i].distinct = newRowSet(o.s, exprTypes(a.Args))
		}
		out[i] = &flat[i]
	}
	return out
}

func (o *aggOp) open(ctx context.Context) error {
	o.close()
	o.set, o.pos, o.read = 0, 0, false
	o.cur, o.have, o.pending, o.end = nil, false, false, false
	return o.in.open(ctx)
}

// add feeds the frame's row to the states of a group.
func (o *aggOp) add(states []*aggState) error {
	c := &o.s.c
	for i, st := range states {
		a := st.a
		if a.Filter != nil {
			ok, err := plan.EvalBool(c, a.Filter)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
		}
		args := o.args[i]
		for k, e := range a.Args {
			d, err := e.Eval(c)
			if err != nil {
				return err
			}
			args[k] = d
		}
		order := o.order[:0]
		for _, k := range a.Order {
			d, err := k.E.Eval(c)
			if err != nil {
				return err
			}
			order = append(order, d)
		}
		o.order = order
		if err := o.addArgs(st, args, order); err != nil {
			return err
		}
	}
	return nil
}

// addArgs feeds a row's arguments and sort keys to an aggregate. It may change args.
func (o *aggOp) addArgs(st *aggState, args, order []types.Datum) error {
	a := st.a
	if len(a.Order) > 0 {
		row := make([]types.Datum, 0, len(args)+len(order))
		n := int64(cap(row))*datumSize + 24
		for _, list := range [2][]types.Datum{args, order} {
			for _, d := range list {
				n += datumBytes(d)
				row = append(row, cloneDatum(d))
			}
		}
		st.ordered = append(st.ordered, row)
		return o.hold(st, n)
	}
	if st.distinct != nil {
		_, fresh, err := st.distinct.add(args)
		if err != nil || !fresh {
			return err
		}
	}
	if k, ok := st.acc.(builtin.Keeper); ok {
		err := k.AddKept(o.s.c.B, args)
		if h, ok := k.(builtin.Holder); ok && err == nil {
			if n := datumBytes(h.Held()); n != st.size {
				return o.hold(st, n-st.size)
			}
		}
		return err
	}
	if keepsArgs(a.Name) {
		n := int64(0)
		for i := range args {
			n += datumSize + datumBytes(args[i])
			args[i] = cloneDatum(args[i])
		}
		if err := o.hold(st, n); err != nil {
			return err
		}
	}
	return st.acc.Add(o.s.c.B, args)
}

// hold accounts for memory that an aggregate keeps.
func (o *aggOp) hold(st *aggState, n int64) error {
	st.size += n
	o.held += n
	return o.s.grow(n)
}

// keepsArgs reports whether an aggregate's state may hold on to its arguments.
func keepsArgs(name string) bool {
	switch name {
	case "count", "sum", "avg", "bool_and", "bool_or", "every", "bit_and", "bit_or", "stddev", "variance",
		"stddev_pop", "stddev_samp", "var_pop", "var_samp":
		return false
	}
	return true
}

// result finishes an aggregate.
func (o *aggOp) result(st *aggState) (types.Datum, error) {
	a := st.a
	if st.ordered != nil {
		nargs := len(a.Args)
		slices.SortStableFunc(st.ordered, func(x, y []types.Datum) int {
			return keyCompare(a.Order, x[nargs:], y[nargs:])
		})
		for _, r := range st.ordered {
			args := r[:nargs:nargs]
			if st.distinct != nil {
				_, fresh, err := st.distinct.add(args)
				if err != nil {
					return types.Null, err
				}
				if !fresh {
					continue
				}
			}
			if err := st.acc.Add(o.s.c.B, args); err != nil {
				return types.Null, err
			}
		}
		st.ordered = nil
	}
	return st.acc.Result(o.s.c.B)
}

func (o *aggOp) emit(states []*aggState) error {
	for _, st := range states {
		d, err := o.result(st)
		if err != nil {
			return err
		}
		o.s.c.Frame[st.a.Slot] = d
	}
	return nil
}

// emitLast is emit for a group that is not needed any more.
func (o *aggOp) emitLast(states []*aggState) error {
	err := o.emit(states)
	o.dropStates(states)
	return err
}

func (o *aggOp) evalKey() error {
	for i, e := range o.n.Group {
		d, err := e.Eval(&o.s.c)
		if err != nil {
			return err
		}
		o.key[i] = d
	}
	return nil
}

func (o *aggOp) next(ctx context.Context) (bool, error) {
	switch o.n.Strategy {
	case plan.AggPlain:
		return o.nextPlain(ctx)
	case plan.AggSorted:
		return o.nextSorted(ctx)
	}
	return o.nextHash(ctx)
}

func (o *aggOp) nextPlain(ctx context.Context) (bool, error) {
	if o.end {
		return false, nil
	}
	states := o.newStates()
	if o.remote != nil {
		err := o.remote.each(ctx, 0, func() error { return o.add(states) }, func(_ []types.Datum, accs []builtin.Accumulator) error {
			return o.mergeStates(states, accs)
		})
		if err != nil {
			return false, err
		}
		o.end = true
		return true, o.emitLast(states)
	}
	for {
		ok, err := o.in.next(ctx)
		if err != nil {
			return false, err
		}
		if !ok {
			break
		}
		if err := o.add(states); err != nil {
			return false, err
		}
	}
	o.end = true
	return true, o.emitLast(states)
}

func (o *aggOp) nextSorted(ctx context.Context) (bool, error) {
	if o.end {
		return false, nil
	}
	if o.pending {
		o.pending = false
		if err := o.evalKey(); err != nil {
			return false, err
		}
		o.start()
		if err := o.add(o.cur); err != nil {
			return false, err
		}
	}
	if o.have {
		// A column may be its own group slot. The row that opened this group is still in the frame, where the
		// operators below may rely on it (a join's left row): undo what emitting the last group wrote over it.
		for i, sl := range o.n.GroupSlots {
			o.s.c.Frame[sl] = o.curKey[i]
		}
	}
	for {
		ok, err := o.in.next(ctx)
		if err != nil {
			return false, err
		}
		if !ok {
			o.end = true
			if !o.have {
				return false, nil
			}
			return true, o.finishGroup(false)
		}
		if err := o.evalKey(); err != nil {
			return false, err
		}
		if o.have && !equalRows(o.ts, o.key, o.curKey) {
			return true, o.finishGroup(true)
		}
		if !o.have {
			o.start()
		}
		if err := o.add(o.cur); err != nil {
			return false, err
		}
	}
}

func (o *aggOp) start() {
	o.cur, o.have = o.newStates(), true
	o.curKey = make([]types.Datum, len(o.key))
	for i, d := range o.key {
		o.curKey[i] = cloneDatum(d)
	}
}

// finishGroup emits the current group. The input's row that opened the next one is fed at once, because
// emitting overwrites grouped columns in the frame.
func (o *aggOp) finishGroup(more bool) error {
	states, key := o.cur, o.curKey
	o.have = false
	if more {
		o.start()
		if err := o.add(o.cur); err != nil {
			return err
		}
	}
	for i, sl := range o.n.GroupSlots {
		o.s.c.Frame[sl] = key[i]
	}
	return o.emitLast(states)
}

func (o *aggOp) nextHash(ctx context.Context) (bool, error) {
	if !o.read {
		if err := o.readAll(ctx); err != nil {
			return false, err
		}
	}
	for o.set < len(o.sets) {
		st := o.sets[o.set]
		if o.pos >= len(st.states) {
			more, err := o.nextFile(ctx, st)
			if err != nil {
				return false, err
			}
			if !more {
				o.set++
			}
			o.pos = 0
			continue
		}
		key := st.groups.keys[o.pos]
		for _, sl := range o.n.GroupSlots {
			o.s.c.Frame[sl] = types.Null
		}
		for i, k := range st.keys {
			o.s.c.Frame[o.n.GroupSlots[k]] = key[i]
		}
		if o.n.GroupingSlot >= 0 {
			o.s.c.Frame[o.n.GroupingSlot] = types.NewInt(int64(o.set))
		}
		o.pos++
		return true, o.emit(st.states[o.pos-1])
	}
	return false, nil
}

func (o *aggOp) readAll(ctx context.Context) error {
	o.read = true
	sets := o.n.Sets
	if sets == nil {
		all := make([]int, len(o.n.Group))
		for i := range all {
			all[i] = i
		}
		sets = [][]int{all}
	}
	for _, keys := range sets {
		// A column named twice in a set counts once.
		keys = slices.Compact(slices.Sorted(slices.Values(keys)))
		ts := make([]*types.T, len(keys))
		for i, k := range keys {
			ts[i] = o.ts[k]
		}
		st := &aggSet{keys: keys, groups: newRowSet(o.s, ts)}
		o.sets = append(o.sets, st)
		if len(keys) == 0 {
			// The empty set has its row even without input.
			if _, err := o.groupOf(st, nil); err != nil {
				return err
			}
		}
	}
	if o.remote != nil {
		return o.remote.each(ctx, len(o.key), func() error {
			if err := o.evalKey(); err != nil {
				return err
			}
			return o.addRow()
		}, func(key []types.Datum, accs []builtin.Accumulator) error {
			st := o.sets[0]
			i, h, err := o.place(st, key)
			switch {
			case err != nil:
				return err
			case i >= 0:
				return o.mergeStates(st.states[i], accs)
			}
			o.spilled[len(o.key)], o.spilled[len(o.key)+1] = types.NewInt(spillPartial), types.NewBytes(o.remote.scan.entryValue)
			return o.spill(st, h, key)
		})
	}
	for {
		ok, err := o.in.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
		if err := o.evalKey(); err != nil {
			return err
		}
		if err := o.addRow(); err != nil {
			return err
		}
	}
}

// addRow feeds the frame's row, whose key has been evaluated, to its group in each set.
func (o *aggOp) addRow() error {
	for _, st := range o.sets {
		key := o.sub[:len(st.keys)]
		for i, k := range st.keys {
			key[i] = o.key[k]
		}
		i, h, err := o.place(st, key)
		switch {
		case err != nil:
		case i >= 0:
			err = o.add(st.states[i])
		default:
			o.spilled[len(o.key)] = types.NewInt(spillInput)
			if err = o.inputs(o.spilled[len(o.key)+1:]); err == nil {
				err = o.spill(st, h, key)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// groupOf finds or makes the group of a key.
func (o *aggOp) groupOf(st *aggSet, key []types.Datum) (int, error) {
	i, fresh, err := st.groups.add(key)
	if err != nil || !fresh {
		return i, err
	}
	st.states = append(st.states, o.newStates())
	return i, o.s.grow(o.groupCost())
}

func (o *aggOp) close() {
	o.in.close()
	for _, st := range o.sets {
		o.release(st)
		st.parts.close()
		closeRuns(append(st.queue, st.over))
	}
	o.sets = nil
}

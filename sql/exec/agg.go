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
	args [][]types.Datum // argument buffers, by aggregate

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
}

// aggState is one aggregate over one group.
type aggState struct {
	a        *plan.AggFunc
	acc      builtin.Accumulator
	distinct *rowSet
	ordered  [][]types.Datum // buffered input of an ordered aggregate: arguments, then sort keys
}

func (s *state) newAgg(n *plan.Agg, in op) op {
	o := &aggOp{s: s, n: n, in: in, ts: exprTypes(n.Group), key: make([]types.Datum, len(n.Group))}
	for _, a := range n.Aggs {
		o.args = append(o.args, make([]types.Datum, len(a.Args)))
	}
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
	o.sets, o.set, o.pos, o.read = nil, 0, 0, false
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
		if err := o.addArgs(st, args); err != nil {
			return err
		}
	}
	return nil
}

func (o *aggOp) addArgs(st *aggState, args []types.Datum) error {
	a := st.a
	if len(a.Order) > 0 {
		row := make([]types.Datum, len(args)+len(a.Order))
		n := int64(len(row))*datumSize + 24
		for i, d := range args {
			n += datumBytes(d)
			row[i] = cloneDatum(d)
		}
		for i, k := range a.Order {
			d, err := k.E.Eval(&o.s.c)
			if err != nil {
				return err
			}
			row[len(args)+i] = cloneDatum(d)
		}
		st.ordered = append(st.ordered, row)
		return o.s.grow(n)
	}
	if st.distinct != nil {
		_, fresh, err := st.distinct.add(args)
		if err != nil || !fresh {
			return err
		}
	}
	if keepsArgs(a.Name) {
		for i := range args {
			args[i] = cloneDatum(args[i])
		}
	}
	return st.acc.Add(o.s.c.B, args)
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
	return true, o.emit(states)
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
	return o.emit(states)
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
			o.set++
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
			if _, _, err := st.groups.add(nil); err != nil {
				return err
			}
			st.states = append(st.states, o.newStates())
		}
	}
	sub := make([]types.Datum, len(o.key))
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
		for _, st := range o.sets {
			key := sub[:len(st.keys)]
			for i, k := range st.keys {
				key[i] = o.key[k]
			}
			i, fresh, err := st.groups.add(key)
			if err != nil {
				return err
			}
			if fresh {
				st.states = append(st.states, o.newStates())
				if err := o.s.grow(int64(len(o.n.Aggs)) * 96); err != nil {
					return err
				}
			}
			if err := o.add(st.states[i]); err != nil {
				return err
			}
		}
	}
}

func (o *aggOp) close() {
	o.in.close()
	for _, st := range o.sets {
		st.groups.reset()
	}
	o.sets = nil
}

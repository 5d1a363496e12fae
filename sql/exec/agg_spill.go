package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// A hash aggregate that has no room for more groups goes on with those it has. Rows of other groups are written out,
// as their key and what the aggregates read of them, and are aggregated file by file when the first groups have been
// handed on. A group is in memory as a whole: one that is too large for the budget fails.

// What a written row is, after its key.
const (
	spillInput   = 0 // what each aggregate reads of a row
	spillPartial = 1 // what a range has made of some rows
)

// inputWidth is the number of values that the aggregates read of a row: for each whether it takes the row, its
// arguments and its sort keys.
func (o *aggOp) inputWidth() int {
	n := 1
	for _, a := range o.n.Aggs {
		n += 1 + len(a.Args) + len(a.Order)
	}
	return n
}

// inputs evaluates what the aggregates read of the frame's row into buf.
func (o *aggOp) inputs(buf []types.Datum) error {
	c := &o.s.c
	at := 0
	for _, a := range o.n.Aggs {
		takes := true
		if a.Filter != nil {
			var err error
			if takes, err = plan.EvalBool(c, a.Filter); err != nil {
				return err
			}
		}
		buf[at] = types.NewBool(takes)
		at++
		for _, e := range a.Args {
			buf[at] = types.Null
			if takes {
				var err error
				if buf[at], err = e.Eval(c); err != nil {
					return err
				}
			}
			at++
		}
		for _, k := range a.Order {
			buf[at] = types.Null
			if takes {
				var err error
				if buf[at], err = k.E.Eval(c); err != nil {
					return err
				}
			}
			at++
		}
	}
	return nil
}

// addInputs feeds what inputs has evaluated to a group.
func (o *aggOp) addInputs(states []*aggState, in []types.Datum) error {
	at := 0
	for i, a := range o.n.Aggs {
		takes := in[at].Bool()
		args := in[at+1 : at+1+len(a.Args)]
		order := in[at+1+len(a.Args) : at+1+len(a.Args)+len(a.Order)]
		at += 1 + len(a.Args) + len(a.Order)
		if takes {
			copy(o.args[i], args)
			if err := o.addArgs(states[i], o.args[i], order); err != nil {
				return err
			}
		}
	}
	return nil
}

// place returns the group of a key, -1 when there is no room for it.
func (o *aggOp) place(st *aggSet, key []types.Datum) (i int, h uint64, err error) {
	i, h = st.groups.find(key)
	if i >= 0 || st.parts != nil || st.over != nil {
		return i, h, nil
	}
	size := o.size(st)
	if o.s.crowded(size, len(st.states)) || o.grows && o.s.env.Scratch != nil && len(st.states) >= minResident && size > o.s.max/16 {
		return i, h, nil
	}
	i, err = o.groupOf(st, key)
	return i, h, err
}

// size is what a set's groups take.
func (o *aggOp) size(st *aggSet) int64 {
	return st.groups.store.size + int64(len(st.states))*o.groupCost() + o.held
}

func (o *aggOp) groupCost() int64 { return int64(len(o.n.Aggs)) * 96 }

// spill writes a row whose group has no room, of which the values after the key are in o.spilled already.
func (o *aggOp) spill(st *aggSet, h uint64, key []types.Datum) error {
	row := o.spilled[len(o.key)-len(key):]
	copy(row, key)
	if st.over != nil || st.reading {
		if st.over == nil {
			var err error
			if st.over, err = newRun(o.s.env.Scratch, len(row)); err != nil {
				return err
			}
		}
		return o.s.spilled(st.over.write(row))
	}
	if st.parts == nil {
		st.parts = &spillParts{s: o.s, width: len(row)}
	}
	return st.parts.add(h, row)
}

// nextFile aggregates the next file of a set's rows, in place of the groups it has; false when there is none.
func (o *aggOp) nextFile(ctx context.Context, st *aggSet) (bool, error) {
	if st.parts != nil {
		if s := o.s.statsOf(o.n); s != nil {
			s.disk += st.parts.diskUse()
		}
		st.queue, st.parts, st.reading = st.parts.take(), nil, true
	}
	if len(st.queue) == 0 {
		return false, nil
	}
	o.release(st)
	r := st.queue[0]
	if err := r.rewind(); err != nil {
		return false, err
	}
	nk := len(st.keys)
	for {
		if err := o.s.tick(ctx); err != nil {
			return false, err
		}
		row, err := r.read()
		if err != nil {
			return false, err
		}
		if row == nil {
			break
		}
		key := row[:nk]
		i, h, err := o.place(st, key)
		if err != nil {
			return false, err
		}
		switch {
		case i < 0:
			copy(o.spilled[len(o.key):], row[nk:])
			err = o.spill(st, h, key)
		case row[nk].Int() == spillPartial:
			accs, gerr := o.remote.groups.States(row[nk+1].Bytes())
			if err = gerr; err == nil {
				err = o.mergeStates(st.states[i], accs)
			}
		default:
			err = o.addInputs(st.states[i], row[nk+1:])
		}
		if err != nil {
			return false, err
		}
	}
	r.close()
	if st.queue = st.queue[1:]; st.over != nil {
		st.queue, st.over = append(st.queue, st.over), nil
	}
	return true, nil
}

// release forgets a set's groups.
func (o *aggOp) release(st *aggSet) {
	o.s.shrink(int64(len(st.states)) * o.groupCost())
	for _, states := range st.states {
		o.dropStates(states)
	}
	st.groups.reset()
	st.states = nil
}

// dropStates gives back the memory of a group's aggregates.
func (o *aggOp) dropStates(states []*aggState) {
	for _, a := range states {
		if a.distinct != nil {
			a.distinct.reset()
		}
		o.s.shrink(a.size)
		o.held -= a.size
		a.size = 0
	}
}

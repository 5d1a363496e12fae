package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// appendOp reads the partitions of a table one after the other, leaving out those that cannot hold rows that satisfy
// the conditions, as far as parameters and outer rows decide that.
type appendOp struct {
	s      *state
	n      *plan.Append
	kids   []op // nil until first opened
	live   []bool
	pos    int
	opened bool // kids[pos] is open
	merge  *appendMerge
}

func (o *appendOp) open(context.Context) error {
	o.close()
	o.pos, o.opened, o.merge = 0, false, nil
	if o.kids == nil {
		o.kids = make([]op, len(o.n.Kids))
	}
	o.live = nil
	if o.n.Levels == nil {
		return nil
	}
	levels := make([][]bool, len(o.n.Levels))
	for i, l := range o.n.Levels {
		if l.Up >= 0 && !levels[l.Up][l.At] {
			levels[i] = make([]bool, len(l.Set.Bounds))
			continue
		}
		var err error
		if levels[i], _, err = l.Live(o.eval); err != nil {
			return err
		}
	}
	o.live = make([]bool, len(o.kids))
	for i, k := range o.n.Kids {
		o.live[i] = levels[k.Level][k.At]
	}
	return nil
}

func (o *appendOp) eval(e plan.Expr) (types.Datum, bool, error) {
	d, err := e.Eval(&o.s.c)
	return d, err == nil, err
}

func (o *appendOp) next(ctx context.Context) (bool, error) {
	if o.n.Order != nil && !o.n.OneByOne {
		return o.nextMerged(ctx)
	}
	for o.pos < len(o.kids) {
		if o.live != nil && !o.live[o.pos] {
			o.pos++
			continue
		}
		if !o.opened {
			if err := o.start(ctx); err != nil {
				return false, err
			}
		}
		ok, err := o.kids[o.pos].next(ctx)
		if err != nil {
			return false, err
		}
		if !ok {
			o.kids[o.pos].close()
			o.pos, o.opened = o.pos+1, false
			continue
		}
		return true, o.fill(o.n.Kids[o.pos])
	}
	return false, nil
}

// start opens the partition whose turn it is.
func (o *appendOp) start(ctx context.Context) error {
	k := o.n.Kids[o.pos]
	if o.kids[o.pos] == nil {
		in, err := o.s.build(k.Input)
		if err != nil {
			return err
		}
		if o.n.Lock != plan.LockDefault && !o.s.env.ReadOnly && o.s.lock(o.n.Lock, k.Scan.Point) == kv.LockNone {
			in = o.s.lockFound(in, k.Scan, o.n.Lock)
		}
		o.kids[o.pos] = in
	}
	o.opened = true
	return o.kids[o.pos].open(ctx)
}

// fill brings the partition's row into the slots of the table.
func (o *appendOp) fill(k *plan.AppendKid) error {
	f := o.s.c.Frame
	for i, e := range k.Exprs {
		if e == nil {
			continue
		}
		d, err := e.Eval(&o.s.c)
		if err != nil {
			return err
		}
		f[o.n.Slots[i]] = d
	}
	d, err := k.Oid.Eval(&o.s.c)
	if err != nil {
		return err
	}
	f[o.n.OID] = d
	if k.TID != nil {
		if f[o.n.TID], err = k.TID.Eval(&o.s.c); err != nil {
			return err
		}
	}
	if o.n.Target {
		if f[o.n.RowID], err = k.RowID.Eval(&o.s.c); err != nil {
			return err
		}
		for i, e := range k.Extra {
			if f[o.n.Extra[i]], err = e.Eval(&o.s.c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *appendOp) close() {
	for _, k := range o.kids {
		if k != nil {
			k.close()
		}
	}
}

// lockFound locks the rows of a scan after they were found.
func (s *state) lockFound(in op, sc *plan.Scan, want plan.LockWant) op {
	mode := kv.LockShared
	if want == plan.LockForUpdate {
		mode = kv.LockExclusive
	}
	var keep []plan.Slot
	for _, c := range sc.Cols {
		keep = append(keep, c.Slot)
	}
	o := &lockRowsOp{s: s, in: in, store: &rows{s: s, slots: keep}, size: 16}
	o.targets = []lockTarget{s.lockTargetOf(sc, mode, sc.Wait)}
	o.recheck = append(append(o.recheck, sc.Filter...), sc.IndexConds...)
	return o
}

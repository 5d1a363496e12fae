package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// mergeJoin joins two inputs that come in the order of one key each. It keeps the right rows of one key only.
//
// The right side is a scan, perhaps filtered and projected: such an input fills all its slots anew with each row, so
// it does not mind that rows kept earlier have been put into the frame meanwhile.
type mergeJoin struct {
	s           *state
	n           *plan.Join
	left, right op
	t           *types.T
	group       *rows // right rows with key groupKey
	groupKey    types.Datum
	haveGroup   bool
	ahead       []types.Datum // the right row after the group: key, then kept slots
	haveAhead   bool
	rightDone   bool
	haveLeft    bool
	matched     bool
	pos         int // in the group; past its end when the left row's key has none
	stats       *nodeStats
}

func newMergeJoin(s *state, n *plan.Join, l, r op) *mergeJoin {
	return &mergeJoin{s: s, n: n, left: l, right: r, t: n.LeftKeys[0].Type(), group: &rows{s: s, slots: n.KeepRight},
		ahead: make([]types.Datum, 1+len(n.KeepRight)), stats: s.statsOf(n)}
}

func (o *mergeJoin) open(ctx context.Context) error {
	o.group.reset()
	o.haveGroup, o.haveAhead, o.rightDone, o.haveLeft = false, false, false, false
	if err := o.left.open(ctx); err != nil {
		return err
	}
	return o.right.open(ctx)
}

// readRight brings the next right row with a key into ahead.
func (o *mergeJoin) readRight(ctx context.Context) error {
	o.haveAhead = false
	for !o.rightDone {
		if err := o.s.tick(ctx); err != nil {
			return err
		}
		ok, err := o.right.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			o.rightDone = true
			return nil
		}
		k, err := o.n.RightKeys[0].Eval(&o.s.c)
		if err != nil {
			return err
		}
		if k.IsNull() {
			continue // equal to nothing
		}
		o.ahead[0] = k
		for i, sl := range o.n.KeepRight {
			o.ahead[1+i] = o.s.c.Frame[sl]
		}
		o.haveAhead = true
		return nil
	}
	return nil
}

// seek makes the group that of a left key, an empty one if there is no right row with it.
func (o *mergeJoin) seek(ctx context.Context, key types.Datum) error {
	if o.haveGroup && types.Compare(o.t, o.groupKey, key) == 0 {
		return nil
	}
	o.group.reset()
	o.groupKey, o.haveGroup = cloneDatum(key), true
	if !o.haveAhead && !o.rightDone {
		if err := o.readRight(ctx); err != nil {
			return err
		}
	}
	for o.haveAhead {
		c := types.Compare(o.t, o.ahead[0], o.groupKey)
		if c > 0 {
			return nil
		}
		if c == 0 {
			row := o.group.alloc(len(o.n.KeepRight))
			n := int64(len(row))*datumSize + 24
			for i, d := range o.ahead[1:] {
				n += datumBytes(d)
				row[i] = o.group.clone(d)
			}
			o.group.data = append(o.group.data, row)
			o.group.size += n
			if err := o.s.grow(n); err != nil {
				return err
			}
		}
		if err := o.readRight(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (o *mergeJoin) next(ctx context.Context) (bool, error) {
	kind := o.n.Kind
	for {
		if !o.haveLeft {
			if o.rightDone && !o.haveAhead && (kind == plan.InnerJoin || kind == plan.SemiJoin) && (!o.haveGroup || len(o.group.data) == 0) {
				return false, nil // nothing is left that could match
			}
			ok, err := o.left.next(ctx)
			if err != nil || !ok {
				return false, err
			}
			key, err := o.n.LeftKeys[0].Eval(&o.s.c)
			if err != nil {
				return false, err
			}
			o.haveLeft, o.matched, o.pos = true, false, 0
			if key.IsNull() {
				o.pos = len(o.group.data)
			} else if err := o.seek(ctx, key); err != nil {
				return false, err
			}
		}
		if o.pos >= len(o.group.data) {
			o.haveLeft = false
			if !o.matched && (kind == plan.LeftJoin || kind == plan.AntiJoin) {
				o.s.setNull(o.n.NullRight)
				return true, nil
			}
			continue
		}
		o.group.load(o.group.data[o.pos])
		o.pos++
		ok, err := evalAll(&o.s.c, o.n.On)
		if err != nil {
			return false, err
		}
		if !ok {
			if o.stats != nil {
				o.stats.removed++
			}
			continue
		}
		o.matched = true
		switch kind {
		case plan.SemiJoin:
			o.haveLeft = false
		case plan.AntiJoin:
			o.haveLeft = false
			continue
		}
		return true, nil
	}
}

func (o *mergeJoin) close() {
	o.left.close()
	o.right.close()
	o.group.reset()
	o.haveGroup = false
}

package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// cteState is a materialised common table expression: rows are added as readers ask for them.
type cteState struct {
	s     *state
	c     *plan.CTE
	in    op
	step  op
	out   [][]types.Datum
	store *rows
	begun bool
	done  bool
	busy  bool
	// Recursion: rows [from,to) are the working table.
	from, to int
	seen     *rowSet
	stepping bool
}

// withOp resets its CTEs when it is opened and leaves the rest to its input.
type withOp struct {
	s    *state
	n    *plan.With
	in   op
	ctes []*cteState
}

func (s *state) buildWith(n *plan.With) (op, error) {
	o := &withOp{s: s, n: n}
	for _, c := range n.CTEs {
		st := &cteState{s: s, c: c, store: &rows{s: s}}
		s.ctes[c.ID] = st
		var err error
		if st.in, err = s.build(c.Query); err != nil {
			return nil, err
		}
		if c.Step != nil {
			if st.step, err = s.build(c.Step); err != nil {
				return nil, err
			}
			ts := exprTypes(c.Out)
			st.seen = newRowSet(s, ts)
		}
		if c.Writes {
			s.writers = append(s.writers, st)
			delay(st.in)
		}
		o.ctes = append(o.ctes, st)
	}
	var err error
	o.in, err = s.build(n.Input)
	return o, err
}

func (o *withOp) open(ctx context.Context) error {
	for _, c := range o.ctes {
		if !c.c.Writes {
			c.reset()
		}
	}
	return o.in.open(ctx)
}
func (o *withOp) next(ctx context.Context) (bool, error) { return o.in.next(ctx) }
func (o *withOp) close() {
	o.in.close()
	for _, c := range o.ctes {
		c.in.close()
		if c.step != nil {
			c.step.close()
		}
	}
}

func (c *cteState) reset() {
	c.store.reset()
	c.out, c.begun, c.done, c.from, c.to, c.stepping = nil, false, false, 0, 0, false
	if c.seen != nil {
		c.seen.reset()
	}
}

// row returns row i, computing it if need be; nil when there are fewer.
func (c *cteState) row(ctx context.Context, i int) ([]types.Datum, error) {
	for i >= len(c.out) {
		if c.done {
			return nil, nil
		}
		if err := c.more(ctx); err != nil {
			return nil, err
		}
	}
	return c.out[i], nil
}

// more adds at least one row or sets done.
func (c *cteState) more(ctx context.Context) error {
	if c.busy {
		return pgerr.New(pgerr.InternalError, "WITH query %q reads itself", c.c.Name)
	}
	c.busy = true
	defer func() { c.busy = false }()
	if !c.begun {
		c.begun = true
		if err := c.in.open(ctx); err != nil {
			return err
		}
	}
	if !c.stepping {
		for {
			ok, err := c.in.next(ctx)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			added, err := c.add(c.c.Out)
			if err != nil || added {
				return err
			}
		}
		c.in.close()
		if c.step == nil {
			c.done = true
			return nil
		}
		c.stepping = true
		c.from, c.to = 0, len(c.out)
	}
	// One round of the recursive term over the rows of the round before.
	for c.from < c.to {
		if err := c.step.open(ctx); err != nil {
			return err
		}
		for {
			ok, err := c.step.next(ctx)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if _, err := c.add(c.c.StepOut); err != nil {
				return err
			}
		}
		c.step.close()
		c.from, c.to = c.to, len(c.out)
		if c.from < c.to {
			return nil
		}
	}
	c.done = true
	return nil
}

// add stores the frame's row, unless UNION has removed it as a duplicate.
func (c *cteState) add(out []plan.Expr) (bool, error) {
	row := c.store.alloc(len(out))
	n := int64(len(out))*datumSize + 24
	for i, e := range out {
		d, err := e.Eval(&c.s.c)
		if err != nil {
			return false, err
		}
		n += datumBytes(d)
		row[i] = c.store.clone(d)
	}
	if c.seen != nil && !c.c.UnionAll {
		_, fresh, err := c.seen.add(row)
		if err != nil || !fresh {
			return false, err
		}
	}
	c.out = append(c.out, row)
	c.store.size += n
	return true, c.s.grow(n)
}

// drain runs a data-modifying query to its end.
func (c *cteState) drain(ctx context.Context) error {
	for !c.done {
		if len(c.c.Out) == 0 {
			if !c.begun {
				c.begun = true
				if err := c.in.open(ctx); err != nil {
					return err
				}
			}
			ok, err := c.in.next(ctx)
			if err != nil {
				return err
			}
			c.done = !ok
			continue
		}
		if err := c.more(ctx); err != nil {
			return err
		}
	}
	return nil
}

// cteScanOp reads a CTE's rows, or its working table.
type cteScanOp struct {
	s   *state
	n   *plan.CTEScan
	c   *cteState
	pos int
	end int
}

func (o *cteScanOp) open(context.Context) error {
	o.c = o.s.ctes[o.n.CTE.ID]
	if o.c == nil {
		return pgerr.New(pgerr.InternalError, "WITH query %q is not there", o.n.CTE.Name)
	}
	o.pos = 0
	if o.n.Working {
		o.pos, o.end = o.c.from, o.c.to
	}
	return nil
}

func (o *cteScanOp) next(ctx context.Context) (bool, error) {
	if err := o.s.tick(ctx); err != nil {
		return false, err
	}
	var row []types.Datum
	if o.n.Working {
		if o.pos >= o.end {
			return false, nil
		}
		row = o.c.out[o.pos]
	} else {
		var err error
		if o.c.c.Writes {
			if err = o.c.drain(ctx); err != nil {
				return false, err
			}
		}
		if row, err = o.c.row(ctx, o.pos); err != nil || row == nil {
			return false, err
		}
	}
	o.pos++
	for i, sl := range o.n.Slots {
		o.s.c.Frame[sl] = row[i]
	}
	return true, nil
}
func (o *cteScanOp) close() {}

// setOp computes UNION, INTERSECT and EXCEPT.
type setOp struct {
	s           *state
	n           *plan.SetOp
	left, right op
	row         []types.Datum
	set         *rowSet
	onRight     bool
	built       bool
}

func (s *state) buildSetOp(n *plan.SetOp) (op, error) {
	l, err := s.build(n.Left)
	if err != nil {
		return nil, err
	}
	r, err := s.build(n.Right)
	if err != nil {
		return nil, err
	}
	return &setOp{s: s, n: n, left: l, right: r, row: make([]types.Datum, len(n.Slots)), set: newRowSet(s, exprTypes(n.LeftExprs))}, nil
}

func (o *setOp) open(ctx context.Context) error {
	o.set.reset()
	o.onRight, o.built = false, false
	return o.left.open(ctx)
}

func (o *setOp) eval(es []plan.Expr) error {
	for i, e := range es {
		d, err := e.Eval(&o.s.c)
		if err != nil {
			return err
		}
		o.row[i] = d
	}
	return nil
}

func (o *setOp) emit() {
	for i, sl := range o.n.Slots {
		o.s.c.Frame[sl] = o.row[i]
	}
}

func (o *setOp) next(ctx context.Context) (bool, error) {
	if o.n.Op == plan.Union {
		return o.nextUnion(ctx)
	}
	if !o.built {
		o.built = true
		// The right side's rows are counted first.
		if err := o.right.open(ctx); err != nil {
			return false, err
		}
		for {
			ok, err := o.right.next(ctx)
			if err != nil {
				return false, err
			}
			if !ok {
				break
			}
			if err := o.eval(o.n.RightExprs); err != nil {
				return false, err
			}
			i, _, err := o.set.add(o.row)
			if err != nil {
				return false, err
			}
			o.set.count[i]++
		}
		o.right.close()
	}
	for {
		ok, err := o.left.next(ctx)
		if err != nil || !ok {
			return false, err
		}
		if err := o.eval(o.n.LeftExprs); err != nil {
			return false, err
		}
		i, _ := o.set.find(o.row)
		if o.n.Op == plan.Intersect {
			if i < 0 || o.set.count[i] <= 0 {
				continue
			}
			if o.n.All {
				o.set.count[i]--
			} else {
				o.set.count[i] = 0
			}
			o.emit()
			return true, nil
		}
		switch {
		case i < 0:
			if !o.n.All {
				// Seen now: not to be returned again.
				k, _, err := o.set.add(o.row)
				if err != nil {
					return false, err
				}
				o.set.count[k] = 1
			}
		case o.set.count[i] > 0:
			if o.n.All {
				o.set.count[i]--
			}
			continue
		}
		o.emit()
		return true, nil
	}
}

func (o *setOp) nextUnion(ctx context.Context) (bool, error) {
	for {
		in, es := o.left, o.n.LeftExprs
		if o.onRight {
			in, es = o.right, o.n.RightExprs
		}
		ok, err := in.next(ctx)
		if err != nil {
			return false, err
		}
		if !ok {
			if o.onRight {
				return false, nil
			}
			o.left.close()
			o.onRight = true
			if err := o.right.open(ctx); err != nil {
				return false, err
			}
			continue
		}
		if err := o.eval(es); err != nil {
			return false, err
		}
		if !o.n.All {
			_, fresh, err := o.set.add(o.row)
			if err != nil {
				return false, err
			}
			if !fresh {
				continue
			}
		}
		o.emit()
		return true, nil
	}
}

func (o *setOp) close() {
	o.left.close()
	o.right.close()
	o.set.reset()
}

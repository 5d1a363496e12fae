package exec

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/pushdown"
	"github.com/meridian-db/meridian/sql/types"
)

// remoteScan is what a scan sends to the ranges that it reads, made once for all executions of a plan. Values of
// parameters come in when a scan is opened.
type remoteScan struct {
	program pushdown.Program
	form    *pushdown.Form // nil when it cannot be sent
}

// newRemoteScan derives the program from a scan and, for partial aggregates, from what aggregates its rows.
func newRemoteScan(n *plan.Scan, c *scanCodec, agg *plan.Agg) *remoteScan {
	if c.row != nil || n.Remote == 0 && !n.Narrow && agg == nil {
		return nil
	}
	// Slots are the table's ordinals.
	base := c.base
	slotOf := func(s plan.Slot) (int, bool) { return s - base, s >= base && s < base+c.width }
	r := &remoteScan{}
	p := &r.program
	p.Prefix, p.Slots = c.entry.first, c.width
	p.Filter = n.Filter[:n.Remote]
	// Only the columns that conditions and aggregates read are decoded there.
	read := map[int]bool{}
	note := func(e plan.Expr) {
		plan.Columns(e, func(s plan.Slot) {
			if i, ok := slotOf(s); ok {
				read[i] = true
			}
		})
	}
	for _, f := range p.Filter {
		note(f)
	}
	if agg != nil {
		p.Grouped, p.Group, p.Aggs = true, agg.Group, agg.Aggs
		for _, g := range agg.Group {
			note(g)
		}
		for _, a := range agg.Aggs {
			for _, e := range a.Args {
				note(e)
			}
			if a.Filter != nil {
				note(a.Filter)
			}
		}
	}
	last := 0
	for i, k := range c.entry.keys {
		slot := -1
		if k.ord >= 0 && read[k.ord] {
			slot, last = k.ord, i+1
		}
		p.Keys = append(p.Keys, pushdown.Key{Slot: slot, T: k.t, Desc: k.desc})
	}
	p.Keys = p.Keys[:last]
	inKey := map[int]bool{}
	for _, k := range c.entry.keys {
		if k.ord >= 0 {
			inKey[k.ord] = true
		}
	}
	p.All = !n.Narrow
	for _, o := range c.storedIn() {
		col := c.table.t.Columns[o]
		if inKey[o] {
			continue
		}
		if read[o] {
			p.Columns = append(p.Columns, pushdown.Column{ID: col.ID, Slot: o, T: col.T, Missing: col.Missing})
		}
		if slices.ContainsFunc(n.Cols, func(sc plan.ScanCol) bool { return sc.Ord == o }) {
			p.Keep = append(p.Keep, col.ID)
		}
	}
	if f, ok := p.Encode(&pushdown.Numbering{Slot: slotOf}); ok {
		r.form = f
	}
	return r
}

// storedIn are the ordinals in the entries' values, by ascending column id.
func (c *scanCodec) storedIn() []int {
	if c.index == c.table.primary {
		return c.table.inValue
	}
	return c.index.value
}

// bind makes the program to send, nil when it cannot be sent with these values.
func (r *remoteScan) bind(c *plan.EvalCtx) []byte {
	if r == nil || r.form == nil {
		return nil
	}
	b, ok := r.form.Bind(nil, c)
	if !ok {
		return nil
	}
	return b
}

// remoteAggOp is the input of an aggregate whose groups are made beside the data as far as possible. Pages that were
// not computed there are worked on here, so that what comes out is the same.
type remoteAggOp struct {
	scan   *scanOp
	groups pushdown.Groups
	stats  *nodeStats
}

func (s *state) newRemoteAgg(n *plan.Agg, p *plan.Partial) *aggOp {
	scan := s.newScan(p.Input)
	scan.remote = p.Codec(func() any { return newRemoteScan(p.Input, scan.c, n) }).(*remoteScan)
	o := s.newAgg(n, scan).(*aggOp)
	o.remote = &remoteAggOp{scan: scan, groups: pushdown.Groups{Group: exprTypes(n.Group), Aggs: n.Aggs}, stats: s.statsOf(p)}
	return o
}

// each calls row with each row of the scan that the ranges have left to be aggregated, in the frame, and group with
// each partial group.
func (r *remoteAggOp) each(ctx context.Context, keys int, row func() error, group func(key []types.Datum, accs []builtin.Accumulator) error) error {
	o := r.scan
	key := make([]types.Datum, keys)
	if o.stats != nil {
		o.stats.loops++
		r.stats.loops++
	}
	for {
		if err := o.s.tick(ctx); err != nil {
			return err
		}
		ok, err := o.entry(ctx)
		if err != nil || !ok {
			return err
		}
		if !o.computed {
			if err := o.c.entry.read(o.entryKey, o.entryValue, o.out); err != nil {
				return err
			}
			if ok, err = evalAll(&o.s.c, o.n.Filter); err != nil {
				return err
			}
			if !ok {
				continue
			}
			if o.stats != nil {
				o.stats.rows++
			}
			if err := row(); err != nil {
				return err
			}
			continue
		}
		if r.stats != nil {
			r.stats.rows++
		}
		if err := r.groups.Key(o.entryKey, key); err != nil {
			return err
		}
		accs, err := r.groups.States(o.entryValue)
		if err != nil {
			return err
		}
		if err := group(key, accs); err != nil {
			return err
		}
	}
}

// mergeStates adds partial states to a group.
func (o *aggOp) mergeStates(states []*aggState, accs []builtin.Accumulator) error {
	for i, st := range states {
		if err := st.acc.(builtin.Merger).Merge(o.s.c.B, accs[i]); err != nil {
			return err
		}
	}
	return nil
}

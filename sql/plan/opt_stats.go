package plan

import (
	"math"
	"slices"
	"sort"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/types"
)

// What statistics do not say, as PostgreSQL assumes it.
const (
	defaultDistinct = 200
	defaultRange    = 1.0 / 3
	defaultBetween  = 0.005
	defaultMatch    = 0.05 // of LIKE and regular expressions
	defaultContains = 0.01 // of what inverted indexes are asked
	defaultCond     = 0.5
	leastShare      = 1e-6
)

// columnOf finds the statistics of the column that a slot holds, nil if there are none.
func (o *optimizer) columnOf(s Slot) (*TableColumn, *Table) {
	or, ok := o.origin[s]
	if !ok || or.scan.Table.Kind != BaseTable {
		return nil, nil
	}
	return or.scan.Table.Columns[or.ord], or.scan.Table
}

// known evaluates an expression without columns for an estimate; false when its value is not known while
// planning.
func (o *optimizer) known(e Expr) (types.Datum, bool) {
	if c, ok := e.(*Const); ok {
		return c.D, true
	}
	if !o.evaluable(e) {
		return types.Null, false
	}
	var used slotSet
	exprSlots(e, &used)
	if !used.empty() {
		return types.Null, false
	}
	d, err := e.Eval(o.evalCtx())
	return d, err == nil
}

// evaluable reports whether an estimate may evaluate an expression: it has no subquery, calls nothing volatile,
// and its parameters have values.
func (o *optimizer) evaluable(e Expr) bool {
	ok := true
	walkExpr(e, func(x Expr) bool {
		switch x := x.(type) {
		case *Subquery, *Hole, *Grouping:
			ok = false
		case *Param:
			ok = ok && x.N < len(o.b.hints)
		case *Func:
			ok = ok && x.Call.Volatility != 'v' && x.Call.Eval != nil && !x.Call.RetSet
		}
		return ok
	})
	return ok
}

func (o *optimizer) evalCtx() *EvalCtx {
	if o.eval == nil {
		o.eval = &EvalCtx{B: o.b.fold, Params: o.b.hints}
	}
	if n := o.b.slots; len(o.eval.Frame) < n {
		o.eval.Frame = make([]types.Datum, n+16)
	}
	return o.eval
}

// selectivity is the share of rows for which all conditions hold. Conditions on one column are judged together,
// by that column's statistics; different columns count as independent.
func (o *optimizer) selectivity(conds []Expr) float64 {
	s := 1.0
	var order []Slot
	groups := map[Slot][]Expr{}
	for _, c := range conds {
		var used slotSet
		exprSlots(c, &used)
		if l := used.list(); len(l) == 1 && o.evaluable(c) {
			if col, _ := o.columnOf(l[0]); col != nil && col.Stats != nil {
				if groups[l[0]] == nil {
					order = append(order, l[0])
				}
				groups[l[0]] = append(groups[l[0]], c)
				continue
			}
		}
		s *= o.condSelectivity(c)
	}
	for _, slot := range order {
		s *= o.columnSelectivity(slot, groups[slot])
	}
	return math.Min(1, math.Max(s, leastShare*leastShare))
}

// holds evaluates conditions with one value in a slot.
func (o *optimizer) holds(slot Slot, d types.Datum, conds []Expr) (bool, error) {
	c := o.evalCtx()
	c.Frame[slot] = d
	for _, x := range conds {
		ok, err := EvalBool(c, x)
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// columnSelectivity is the share of rows for which conditions on one column hold: they are evaluated on the
// common values and on the histogram, which stands for all others.
func (o *optimizer) columnSelectivity(slot Slot, conds []Expr) float64 {
	col, t := o.columnOf(slot)
	st := col.Stats
	fail := func() float64 {
		s := 1.0
		for _, c := range conds {
			s *= o.condSelectivity(c)
		}
		return s
	}
	common := 0.0
	for _, f := range st.CommonFreqs {
		common += f
	}
	nd := o.distinct(t, o.origin[slot].ord)
	rest := math.Max(0, 1-common-st.NullFrac)
	each := 1 / math.Max(1, nd) // the share of a value that is not common
	if n := nd - float64(len(st.Common)); n >= 1 {
		each = rest / n
	} else if len(st.Common) > 0 {
		each = 0.1 / math.Max(1, t.rowEstimate())
	}
	// Equality and lists name the values.
	for _, c := range conds {
		vals, ok := o.pointValues(c)
		if !ok {
			continue
		}
		s := 0.0
		for i, v := range vals {
			if v.IsNull() {
				continue
			}
			if ok, err := o.holds(slot, v, conds); err != nil {
				return fail()
			} else if !ok {
				continue
			}
			dup := false
			for _, u := range vals[:i] {
				dup = dup || !u.IsNull() && types.Compare(col.T.BaseType(), u, v) == 0
			}
			if dup {
				continue
			}
			share := each
			for k, m := range st.Common {
				if types.Compare(col.T.BaseType(), m, v) == 0 {
					share = st.CommonFreqs[k]
				}
			}
			s += share
		}
		return math.Min(1, math.Max(s, leastShare))
	}
	s := 0.0
	if ok, err := o.holds(slot, types.Null, conds); err != nil {
		return fail()
	} else if ok {
		s += st.NullFrac
	}
	for i, m := range st.Common {
		ok, err := o.holds(slot, m, conds)
		if err != nil {
			return fail()
		}
		if ok {
			s += st.CommonFreqs[i]
		}
	}
	if rest > 0 && len(st.Histogram) > 1 {
		share, ok := o.histogramShare(slot, col, conds)
		if !ok {
			return fail()
		}
		s += rest * share
	} else if len(st.Common) == 0 && len(st.Histogram) == 0 && st.NullFrac < 1 {
		return fail()
	}
	return math.Min(1, math.Max(s, 0.1/math.Max(1, t.rowEstimate())))
}

// pointValues are the values that a condition restricts its column to: col = value, col IN (values).
func (o *optimizer) pointValues(c Expr) ([]types.Datum, bool) {
	switch x := c.(type) {
	case *Func:
		if x.Cmp() != builtin.CmpEQ || len(x.Args) != 2 {
			return nil, false
		}
		for i := range 2 {
			if _, ok := stripCast(x.Args[i]).(*Col); ok {
				if d, ok := o.known(x.Args[1-i]); ok && sameKind(x.Args[i], x.Args[1-i]) {
					return []types.Datum{d}, true
				}
			}
		}
	case *InList:
		if _, ok := stripCast(x.Left).(*Col); !ok || x.Not || x.Eq.Cmp() != builtin.CmpEQ {
			return nil, false
		}
		var out []types.Datum
		for _, e := range x.List {
			d, ok := o.known(e)
			if !ok || !sameKind(x.Left, e) {
				return nil, false
			}
			out = append(out, d)
		}
		return out, true
	}
	return nil, false
}

func sameKind(a, b Expr) bool { return a.Type().BaseType().Kind == b.Type().BaseType().Kind }

// histogramShare is the share of a histogram for which conditions hold. Bounds on the column are interpolated
// within a bucket; other conditions are counted over the bucket bounds.
func (o *optimizer) histogramShare(slot Slot, col *TableColumn, conds []Expr) (float64, bool) {
	h := col.Stats.Histogram
	lo, hi := 0.0, 1.0
	var others []Expr
	for _, c := range conds {
		op, v, ok := o.rangeOf(c)
		if !ok {
			others = append(others, c)
			continue
		}
		p := histogramPosition(col.T.BaseType(), h, v)
		switch op {
		case builtin.CmpLT, builtin.CmpLE:
			hi = math.Min(hi, p)
		default:
			lo = math.Max(lo, p)
		}
	}
	// Never quite nothing and never quite all: the sample did not see everything.
	least := 0.1 / float64(len(h))
	share := 1.0
	if len(others) < len(conds) {
		share = math.Max(least/10, hi-lo)
	}
	if len(others) == 0 {
		return share, true
	}
	in, hits := 0, 0
	for i, v := range h {
		if p := float64(i) / float64(len(h)-1); p < lo || p > hi {
			continue
		}
		in++
		ok, err := o.holds(slot, v, others)
		if err != nil {
			return 0, false
		}
		if ok {
			hits++
		}
	}
	return share * math.Min(1, math.Max(least, float64(hits)/math.Max(1, float64(in)))), true
}

// rangeOf recognises col < value and its relatives.
func (o *optimizer) rangeOf(c Expr) (builtin.CmpOp, types.Datum, bool) {
	f, ok := c.(*Func)
	if !ok || len(f.Args) != 2 {
		return 0, types.Null, false
	}
	op := f.Cmp()
	l, r := f.Args[0], f.Args[1]
	if _, ok := stripCast(l).(*Col); !ok {
		if _, ok := stripCast(r).(*Col); !ok {
			return 0, types.Null, false
		}
		l, r = r, l
		op = [...]builtin.CmpOp{builtin.CmpNone, builtin.CmpEQ, builtin.CmpNE, builtin.CmpGT, builtin.CmpGE, builtin.CmpLT, builtin.CmpLE}[op]
	}
	switch op {
	case builtin.CmpLT, builtin.CmpLE, builtin.CmpGT, builtin.CmpGE:
	default:
		return 0, types.Null, false
	}
	v, ok := o.known(r)
	if !ok || v.IsNull() {
		return 0, types.Null, false
	}
	// A date compared with a timestamp and the like: histograms hold the column's type.
	if k := l.Type().BaseType().Kind; v.Kind() != k {
		switch {
		case k == types.KindDate && (v.Kind() == types.KindTimestamp || v.Kind() == types.KindTimestampTZ):
			v = types.NewDate(v.Int() / 86_400_000_000)
		default:
			return 0, types.Null, false
		}
	}
	return op, v, true
}

// histogramPosition is the share of a histogram below v.
func histogramPosition(t *types.T, h []types.Datum, v types.Datum) float64 {
	i := sort.Search(len(h), func(i int) bool { return types.Compare(t, h[i], v) >= 0 })
	switch i {
	case 0:
		return 0
	case len(h):
		return 1
	}
	a, b, x := scalarOf(h[i-1], h[i-1], h[i]), scalarOf(h[i], h[i-1], h[i]), scalarOf(v, h[i-1], h[i])
	within := 0.5
	if b > a {
		within = math.Min(1, math.Max(0, (x-a)/(b-a)))
	}
	return (float64(i-1) + within) / float64(len(h)-1)
}

// scalarOf places a value on a line on which lo and hi are the ends of its bucket.
func scalarOf(d, lo, hi types.Datum) float64 {
	switch d.Kind() {
	case types.KindInt, types.KindDate, types.KindTime, types.KindTimestamp, types.KindTimestampTZ:
		return float64(d.Int())
	case types.KindFloat:
		return d.Float()
	case types.KindNumeric:
		f, err := d.Numeric().Float64()
		if err != nil {
			return 0
		}
		return f
	case types.KindString, types.KindBytes:
		a, b, s := lo.Str(), hi.Str(), d.Str()
		p := 0
		for p < len(a) && p < len(b) && a[p] == b[p] {
			p++
		}
		x := 0.0
		scale := 1.0
		for i := p; i < p+6; i++ {
			scale /= 256
			if i < len(s) {
				x += float64(s[i]) * scale
			}
		}
		return x
	}
	return 0
}

// condSelectivity judges one condition that statistics say nothing about.
func (o *optimizer) condSelectivity(c Expr) float64 {
	switch x := c.(type) {
	case *Const:
		if x.D.IsNull() || !x.D.Bool() {
			return leastShare
		}
		return 1
	case *Func:
		switch x.Cmp() {
		case builtin.CmpEQ:
			d := 0.0
			for _, a := range x.Args {
				if n := o.exprDistinct(a); !isConstLike(a) {
					d = math.Max(d, n)
				}
			}
			if d == 0 {
				d = defaultDistinct
			}
			return 1 / math.Max(1, d)
		case builtin.CmpNE:
			d := 1.0
			for _, a := range x.Args {
				d = math.Max(d, o.exprDistinct(a))
			}
			return math.Max(0.5, 1-1/d)
		case builtin.CmpLT, builtin.CmpLE, builtin.CmpGT, builtin.CmpGE:
			return defaultRange
		}
		switch x.Name {
		case "~~", "~~*", "~", "~*":
			return defaultMatch
		case "!~~", "!~~*", "!~", "!~*":
			return 1 - defaultMatch
		case "@>", "<@", "&&", "?", "?|", "?&", "@?", "@@", "%", "<%", "%>", "<<%", "%>>":
			return defaultContains
		}
		return defaultRange
	case *And:
		return o.selectivity(x.Args)
	case *Or:
		s := 1.0
		for _, a := range x.Args {
			s *= 1 - o.selectivity([]Expr{a})
		}
		return 1 - s
	case *Not:
		return 1 - o.selectivity([]Expr{x.Arg})
	case *IsNull:
		share := 0.01
		if c, ok := x.Arg.(*Col); ok {
			if col, _ := o.columnOf(c.Slot); col != nil && col.NotNull {
				share = leastShare
			}
		}
		if x.Not {
			return 1 - share
		}
		return share
	case *InList:
		s := math.Min(1, float64(len(x.List))/o.exprDistinct(x.Left))
		if x.Not {
			return math.Max(0.01, 1-s)
		}
		return s
	case *AnyAll:
		return math.Min(0.5, 10/o.exprDistinct(x.Left))
	case *Subquery:
		return defaultCond
	}
	return defaultCond
}

func (o *optimizer) joinSelectivity(c Expr) float64 {
	if f, ok := c.(*Func); ok && f.Cmp() == builtin.CmpEQ && len(f.Args) == 2 {
		return o.keySelectivity(f.Args[0], f.Args[1])
	}
	return o.condSelectivity(c)
}

func (o *optimizer) keySelectivity(l, r Expr) float64 {
	return 1 / math.Max(1, math.Max(o.exprDistinct(l), o.exprDistinct(r)))
}

// exprDistinct estimates the number of different values of an expression.
func (o *optimizer) exprDistinct(e Expr) float64 {
	switch x := e.(type) {
	case *Col:
		if or, ok := o.origin[x.Slot]; ok {
			if or.scan.Table.Kind == BaseTable {
				return o.distinct(or.scan.Table, or.ord)
			}
			return 50
		}
		if d, ok := o.defs[x.Slot]; ok {
			delete(o.defs, x.Slot) // an expression never refers to its own slot, but a mistake must not loop
			n := o.exprDistinct(d)
			o.defs[x.Slot] = d
			return n
		}
		if n, ok := o.groups[x.Slot]; ok {
			return math.Max(1, o.rows(n))
		}
		if a := o.parts[x.Slot]; a != nil && len(a.Kids) > 0 {
			return o.partsDistinct(a, x.Slot)
		}
		return defaultDistinct
	case *Cast:
		return o.exprDistinct(x.Arg)
	case *Const, *Param:
		return 1
	}
	if n, ok := o.distinctSeen[e]; ok {
		return n
	}
	n := o.sampledDistinct(e)
	o.distinctSeen[e] = n
	return n
}

// partsDistinct estimates the number of values of a partitioned table's column: partitions have different values of their
// key, and the same ones of other columns.
func (o *optimizer) partsDistinct(a *Append, s Slot) float64 {
	i := slices.Index(a.Slots, s)
	key := slices.ContainsFunc(a.Table.Parts.Keys, func(k PartKey) bool { return k.Col == i })
	n := 0.0
	for _, k := range a.Kids {
		c, ok := k.Exprs[i].(*Col)
		if !ok {
			return defaultDistinct
		}
		if d := o.exprDistinct(c); key {
			n += d
		} else {
			n = math.Max(n, d)
		}
	}
	return math.Max(1, n)
}

// sampledDistinct counts an expression's values over what statistics keep of its only column.
func (o *optimizer) sampledDistinct(e Expr) float64 {
	var used slotSet
	exprSlots(e, &used)
	l := used.list()
	if len(l) == 0 {
		return 1
	}
	// A combination of columns has at most all combinations.
	most := 1.0
	for _, s := range l {
		most *= o.exprDistinct(&Col{Slot: s, T: types.Text})
	}
	if len(l) != 1 || !o.evaluable(e) {
		return math.Min(most, defaultDistinct)
	}
	col, t := o.columnOf(l[0])
	if col == nil || col.Stats == nil {
		return math.Min(most, defaultDistinct)
	}
	sample := append(append([]types.Datum(nil), col.Stats.Common...), col.Stats.Histogram...)
	c := o.evalCtx()
	seen := map[string]bool{}
	for _, d := range sample {
		c.Frame[l[0]] = d
		v, err := e.Eval(c)
		if err != nil {
			return math.Min(most, defaultDistinct)
		}
		if !v.IsNull() {
			seen[string(types.AppendText(nil, v, e.Type(), nil))] = true
		}
	}
	n := float64(len(seen))
	if n == 0 || n > 0.9*float64(len(sample)) {
		// About as many as there are samples: as many as the column has.
		return o.distinct(t, o.origin[l[0]].ord)
	}
	return math.Min(most, n)
}

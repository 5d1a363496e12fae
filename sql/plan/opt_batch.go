package plan

import "math"

// This file prepares correlated subqueries for being answered from a table of all their results. A subquery that
// depends on the outer row by equalities alone,
//
//	(SELECT max(v) FROM b WHERE b.k = a.k AND b.v > 0)
//
// has the same answers as a query without the outer row that groups by the inner sides of these equalities,
//
//	SELECT b.k, max(v) FROM b WHERE b.v > 0 GROUP BY b.k
//
// An execution begins by running the subquery for each outer row, as it is written: a few rows by way of an index cost
// less than all of them. When it has done so for long enough that the second query would have paid, it runs that once
// and looks answers up. A join to the second query, as others make of it, has to know beforehand how many rows will
// ask, is of no use below CASE and OR, and raises the errors of groups that nobody asks for. Here a second query
// that fails is forgotten.

// SubBatch is the second query of a correlated subquery.
type SubBatch struct {
	// All yields, as Out, the inner sides of the equalities and then, but for EXISTS, the subquery's column.
	All *Subquery
	// Outer are the outer sides, each of a type whose values hash and compare like those of the inner one.
	Outer []Expr
	// Grouped: the subquery is an aggregate without GROUP BY, which has an answer without rows too.
	Grouped bool
	// After is how many times the subquery runs before All does.
	After float64
}

// batchOf derives the second query from a subquery that has not been optimised; nil when there is none.
func (o *optimizer) batchOf(s *Subquery) *SubBatch {
	switch {
	case s.Kind == SubScalar, s.Kind == SubExists:
	case s.Kind == SubAny && s.OpEq && len(s.Out) == 1:
	default:
		return nil
	}
	all := made(s.Root)
	own := func(e Expr) bool {
		var used slotSet
		exprSlots(e, &used)
		return used.subsetOf(&all) && !hasSubquery(e) && !isVolatile(e)
	}
	for _, e := range s.Out {
		if !own(e) {
			return nil
		}
	}
	root, ok := cloneTree(s.Root)
	if !ok {
		return nil
	}
	at := &root
	down := func() bool {
		for {
			p, ok := (*at).(*Project)
			if !ok {
				return true
			}
			for _, e := range p.Exprs {
				if !own(e) {
					return false
				}
			}
			at = &p.Input
		}
	}
	if !down() {
		return nil
	}
	var agg *Agg
	if a, ok := (*at).(*Agg); ok && s.Kind == SubScalar && len(a.Group) == 0 && a.Sets == nil {
		agg, at = a, &a.Input
		fine := down()
		a.exprs(func(e *Expr) { fine = fine && own(*e) })
		if !fine {
			return nil
		}
	}
	f, ok := (*at).(*Filter)
	if !ok {
		return nil
	}
	in := made(f.Input)
	b := &SubBatch{Grouped: agg != nil}
	var inner, rest []Expr
	var conds []Expr
	for _, c := range f.Conds {
		conds = append(conds, conjuncts(c)...)
	}
	for _, c := range conds {
		var used slotSet
		exprSlots(c, &used)
		if used.subsetOf(&in) {
			rest = append(rest, c)
			continue
		}
		l, r, ok := equiSidesOf(c, &in)
		if !ok || !joinableTypes(l.Type(), r.Type()) || hasSubquery(l) {
			return nil
		}
		var outer slotSet
		exprSlots(l, &outer)
		if outer.intersects(&all) {
			return nil
		}
		b.Outer, inner = append(b.Outer, l), append(inner, r)
	}
	if len(inner) == 0 {
		return nil
	}
	if *at = f.Input; len(rest) > 0 {
		*at = &Filter{Input: f.Input, Conds: rest}
	}
	if agg != nil {
		agg.Group = inner
		inner = nil
		for _, e := range agg.Group {
			slot := o.b.newSlot()
			agg.GroupSlots = append(agg.GroupSlots, slot)
			inner = append(inner, &Col{Slot: slot, T: e.Type(), Pos: -1})
		}
	}
	out := inner
	if s.Kind != SubExists {
		out = append(out, s.Out...)
	}
	if free := freeSlots(root, out); !free.empty() {
		return nil
	}
	b.All = &Subquery{Kind: SubRow, Root: root, Out: out, optimized: true}
	return b
}

// addBatch optimises the second query, after the first: both fill the same slots.
func (o *optimizer) addBatch(s *Subquery, b *SubBatch) {
	b.All.ID = len(o.subqs)
	o.subqs = append(o.subqs, b.All)
	b.All.Root = o.query(b.All.Root, b.All.Out)
	s.Batch = b
}

// batchCost is the cost of a correlated subquery that is asked for so many times. It decides when an execution
// stops to run it for each row.
func (o *optimizer) batchCost(s *Subquery, times float64) float64 {
	each := math.Max(s.Root.Base().Cost, costCond)
	if s.Batch == nil {
		return each * times
	}
	all := s.Batch.All.Root.Base()
	if all.Cost == 0 {
		o.estimate(s.Batch.All.Root)
	}
	whole := all.Cost + all.Rows*costBuild
	s.Batch.After = math.Ceil(whole / each)
	found := whole + times*costProbe
	if each*times <= found {
		return each * times
	}
	if times > 2*s.Batch.After {
		s.Batch.After = 0 // so many that it need not be found out
	}
	return found
}

// cloneTree copies the nodes of a bound tree that has not been optimised; false if it has one of another kind, or
// expressions that must not be there twice. Slots stay: of two copies one is to be run at a time.
func cloneTree(n Node) (Node, bool) {
	once := false
	n.exprs(func(e *Expr) { once = once || hasSubquery(*e) || isVolatile(*e) })
	if once {
		return nil, false
	}
	list := func(es []Expr) []Expr { return append([]Expr(nil), es...) }
	switch x := n.(type) {
	case *Scan:
		if x.Table.Kind != BaseTable || x.Index != nil || x.Target || x.Lock != LockDefault {
			return nil, false
		}
		return &Scan{Table: x.Table, Alias: x.Alias, Cols: x.Cols, allCols: x.allCols, Filter: list(x.Filter), Wait: x.Wait}, true
	case *Append:
		if x.Lock != LockDefault || x.Target || x.Order != nil {
			return nil, false
		}
		c := &Append{Table: x.Table, Alias: x.Alias, Slots: x.Slots, OID: x.OID, RowID: x.RowID, TID: x.TID, Levels: x.Levels, Wait: x.Wait, expanded: x.expanded}
		for _, k := range x.Kids {
			in, ok := cloneTree(k.Input)
			s, isScan := in.(*Scan)
			if !ok || !isScan {
				return nil, false
			}
			c.Kids = append(c.Kids, &AppendKid{Input: s, Scan: s, Exprs: list(k.Exprs), Oid: k.Oid, RowID: k.RowID, TID: k.TID, Level: k.Level, At: k.At})
		}
		return c, true
	case *Project:
		in, ok := cloneTree(x.Input)
		return &Project{Input: in, Exprs: list(x.Exprs), Slots: x.Slots}, ok
	case *Filter:
		in, ok := cloneTree(x.Input)
		return &Filter{Input: in, Conds: list(x.Conds)}, ok
	case *Join:
		l, ok1 := cloneTree(x.Left)
		r, ok2 := cloneTree(x.Right)
		return &Join{Kind: x.Kind, Left: l, Right: r, On: list(x.On), Lateral: x.Lateral}, ok1 && ok2
	case *Agg:
		in, ok := cloneTree(x.Input)
		c := &Agg{Input: in, Group: list(x.Group), GroupSlots: append([]Slot(nil), x.GroupSlots...), Sets: x.Sets, GroupingSlot: x.GroupingSlot}
		for _, a := range x.Aggs {
			a := *a
			a.Args, a.Order = list(a.Args), append([]SortKey(nil), a.Order...)
			c.Aggs = append(c.Aggs, &a)
		}
		return c, ok
	}
	return nil, false
}

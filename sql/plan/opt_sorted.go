package plan

import (
	"math"

	"github.com/meridian-db/meridian/sql/partition"
	"github.com/meridian-db/meridian/sql/types"
)

// This file finds orders that indexes give without a sort of everything: of the first sort keys only, over the
// partitions of a table, and of the one row that min or max asks for.

// prefixOrdered has n come in the order of as many of the first keys as an index gives when the groups of equal rows
// are then sorted one by one, and returns how many; 0 when a sort of all rows costs less. limit is as for isOrdered.
func (o *optimizer) prefixOrdered(n Node, keys []SortKey, limit float64) int {
	s := scanBelow(n)
	if s == nil || s.Table.Kind != BaseTable || s.Index == nil {
		return 0
	}
	for p := len(keys) - 1; p > 0; p-- {
		if limit == 0 {
			// All rows are read: worth it if they come that way already.
			below := sortKeysBelow(n, keys[:p])
			if below == nil {
				continue
			}
			ok, rev := o.provides(s, &path{ix: s.Index, eq: s.Eq, in: s.In, point: s.Point}, below, multiplies(n))
			if ok && (!s.Ordered || rev == s.Reverse) {
				s.Ordered, s.Reverse = true, rev
				return p
			}
			continue
		}
		// The group in which the limit is reached is read to its end, and the first row of the next.
		if o.isOrdered(n, keys[:p], limit+o.groupRows(n, keys[:p])+1) {
			return p
		}
	}
	return 0
}

// groupRows is how many rows of n are equal in keys, on average.
func (o *optimizer) groupRows(n Node, keys []SortKey) float64 {
	rows := math.Max(1, o.rows(n))
	groups := 1.0
	for _, k := range keys {
		groups *= o.exprDistinct(k.E)
	}
	return rows / math.Min(rows, math.Max(1, groups))
}

// orderedAppend has an Append yield its rows in the order of keys, merging its partitions; false when no
// partition has them in that order, or n does not pass an Append's order on.
func (o *optimizer) orderedAppend(n Node, keys []SortKey, limit float64) bool {
	var a *Append
	for at := n; a == nil; {
		switch x := at.(type) {
		case *Append:
			a = x
		case *Project:
			at = x.Input
		case *Filter:
			at = x.Input
		default:
			return false
		}
	}
	if a.Order != nil || !a.expanded || len(a.Kids) == 0 || a.Lock != LockDefault || a.Target {
		return false
	}
	below := sortKeysBelow(n, keys)
	if below == nil {
		return false
	}
	kidKeys := make([][]SortKey, len(a.Kids))
	for i, k := range a.Kids {
		kidKeys[i] = append([]SortKey(nil), below...)
		for j := range below {
			e, ok := substitute(below[j].E, a.Slots, k.Exprs)
			if !ok || below[j].Using != nil || hasSubquery(e) {
				return false
			}
			var used, own slotSet
			exprSlots(e, &used)
			own = made(k.Input)
			if !used.subsetOf(&own) {
				return false
			}
			kidKeys[i][j].E = e
		}
	}
	sorted := make([]bool, len(a.Kids))
	some := false
	for i, k := range a.Kids {
		sorted[i] = o.isOrdered(k.Input, kidKeys[i], limit)
		some = some || sorted[i]
	}
	if !some {
		return false
	}
	a.Order = below
	backwards, oneByOne := a.boundsOrder(below)
	if oneByOne && backwards {
		for i, j := 0, len(a.Kids)-1; i < j; i, j = i+1, j-1 {
			a.Kids[i], a.Kids[j] = a.Kids[j], a.Kids[i]
			kidKeys[i], kidKeys[j] = kidKeys[j], kidKeys[i]
			sorted[i], sorted[j] = sorted[j], sorted[i]
		}
	}
	a.OneByOne = oneByOne
	for i, k := range a.Kids {
		if !sorted[i] {
			k.Input = &Sort{Input: k.Input, Keys: kidKeys[i]}
		}
		k.Keys = nil
		for _, key := range kidKeys[i] {
			k.Keys = append(k.Keys, key.E)
		}
	}
	return true
}

// boundsOrder reports whether the order of the partitions' bounds is that of keys: then one is read after the other.
func (n *Append) boundsOrder(keys []SortKey) (backwards, ok bool) {
	p := n.Table.Parts
	if len(p.Keys) != 1 || p.Keys[0].Col < 0 || p.Set.Strategy != partition.Range {
		return false, false
	}
	c, isCol := keys[0].E.(*Col)
	if !isCol || c.Slot != n.Slots[p.Keys[0].Col] {
		return false, false
	}
	for _, k := range n.Kids {
		t := k.Scan.Table
		if t.Within == nil || t.Within.Parent != n.Table || p.Set.Bounds[t.Within.At].Default {
			return false, false // of a level below, or the one for what has no place in the order
		}
	}
	return keys[0].Desc, true
}

// minMax answers min and max of columns from the ends of indexes: each becomes the first row of an ordered scan. nil
// when an index does not make that cheaper than reading all rows.
func (o *optimizer) minMax(a *Agg) Node {
	if len(a.Group) > 0 || a.Sets != nil || len(a.Aggs) == 0 || len(a.Aggs) > 8 {
		return nil
	}
	switch x := a.Input.(type) {
	case *Scan:
		if x.Table.Kind != BaseTable {
			return nil
		}
	case *Append:
	default:
		return nil
	}
	for _, g := range a.Aggs {
		if g.Name != "min" && g.Name != "max" || len(g.Args) != 1 || g.Filter != nil || len(g.Order) > 0 || g.Call.Func.User != nil {
			return nil
		}
		if _, ok := g.Args[0].(*Col); !ok || !sortsAsItIs(g.Args[0].Type()) {
			return nil
		}
	}
	if len(a.Aggs) > 1 {
		if free := freeSlots(a, nil); !free.empty() {
			return nil
		}
	}
	ends := make([]Node, len(a.Aggs))
	for i, g := range a.Aggs {
		if ends[i] = o.endOf(a.Input, g); ends[i] == nil {
			return nil
		}
	}
	if len(a.Aggs) == 1 {
		a.Input, a.Strategy = ends[0], AggPlain
		return a
	}
	p := &Project{Input: &OneRow{}}
	for i, g := range a.Aggs {
		one := *g
		one.Slot = o.b.newSlot()
		col := &Col{Slot: one.Slot, T: g.T, Pos: -1}
		s := &Subquery{ID: len(o.subqs), Kind: SubScalar, Root: &Agg{Input: ends[i], Aggs: []*AggFunc{&one}, Strategy: AggPlain, GroupingSlot: -1},
			Out: []Expr{col}, T: g.T, optimized: true}
		o.subqs = append(o.subqs, s)
		p.Exprs, p.Slots = append(p.Exprs, s), append(p.Slots, g.Slot)
	}
	return p
}

// sortsAsItIs reports whether min and max of a type go by its default order.
func sortsAsItIs(t *types.T) bool {
	switch t.BaseType().Kind {
	case types.KindInt, types.KindFloat, types.KindNumeric, types.KindString, types.KindDate, types.KindTime, types.KindTimestamp, types.KindTimestampTZ:
		return true
	}
	return false
}

// endOf makes a scan of the row that has the least or the largest value of an aggregate's argument; nil when there is
// no index for it.
func (o *optimizer) endOf(input Node, g *AggFunc) Node {
	in, ok := cloneTree(input)
	if !ok {
		return nil
	}
	c := g.Args[0].(*Col)
	o.findOrigins(in)
	defer o.findOrigins(input)
	if !o.notNull(c.Slot) {
		in = o.push(in, []Expr{&IsNull{Arg: c, Not: true}})
	}
	desc := g.Name == "max"
	one := &Const{D: types.NewInt(1), T: types.Int8}
	l := o.physicalLimit(&Limit{Input: &Sort{Input: in, Keys: []SortKey{{E: c, Desc: desc, NullsFirst: desc}}}, Count: one}).(*Limit)
	if _, ok := l.Input.(*Sort); ok {
		return nil
	}
	return l
}

// notNull reports whether a slot holds a column that is declared so.
func (o *optimizer) notNull(s Slot) bool {
	or, ok := o.origin[s]
	return ok && or.scan.Table.Columns[or.ord].NotNull
}

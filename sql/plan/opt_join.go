package plan

import (
	"math"
	"math/bits"

	"github.com/meridian-db/meridian/sql/builtin"
)

// joinItem is one member of a cluster: an input, or something that is applied to joined inputs once all it
// needs is among them.
type joinItem struct {
	// kind is how the item joins what is there: InnerJoin for an input of its own, SemiJoin, AntiJoin and
	// LeftJoin for right sides that only follow their left side. A nil node is a costly condition.
	kind JoinKind
	node Node
	set  slotSet
	// needs are the items that must be there before: those its conditions or its lateral references read.
	needs uint64
	// lateral are the items that the node itself reads.
	lateral uint64
	on      []Expr // of the item alone; the cluster's conditions are apart
	rows    float64
	raw     float64 // rows of a table before its conditions
	cost    float64
	each    float64 // cost of a condition for each row
}

// cluster is a set of joined inputs, whose order is free, with the conditions among them.
type cluster struct {
	items []*joinItem
	conds []Expr
	used  []uint64 // items that each condition reads
}

// joinCluster takes nested inner, left, semi and anti joins apart, pushes conditions to the inputs they concern
// and joins the inputs in the cheapest order. Left, semi and anti joins commute with joins of inputs that their
// conditions do not read, so they take part; a condition on the right side of a left join waits for it.
func (o *optimizer) joinCluster(n Node, conds []Expr) Node {
	c := &cluster{conds: conds}
	type outer struct {
		kind JoinKind
		node Node
		on   []Expr
		left slotSet // what the join's left side makes
	}
	var inner []Node
	var outers []outer
	var flatten func(Node)
	flatten = func(x Node) {
		switch j := x.(type) {
		case *Join:
			switch j.Kind {
			case InnerJoin:
				c.conds = append(c.conds, j.On...)
				flatten(j.Left)
				flatten(j.Right)
				return
			case LeftJoin:
				rm := made(j.Right)
				for _, cd := range c.conds {
					if nullRejecting(cd, &rm) {
						c.conds = append(c.conds, j.On...)
						flatten(j.Left)
						flatten(j.Right)
						return
					}
				}
				lm := made(j.Left)
				flatten(j.Left)
				outers = append(outers, outer{j.Kind, j.Right, j.On, lm})
				return
			case SemiJoin, AntiJoin:
				lm := made(j.Left)
				if j.Kind == SemiJoin && o.matchesOnce(j) {
					// As good as an inner join, which may begin with the right side.
					c.conds = append(c.conds, j.On...)
					flatten(j.Left)
					flatten(j.Right)
					return
				}
				flatten(j.Left)
				outers = append(outers, outer{j.Kind, j.Right, j.On, lm})
				return
			}
		case *Filter:
			if in, ok := j.Input.(*Join); ok && !j.Barrier && in.Kind != FullJoin {
				c.conds = append(c.conds, j.Conds...)
				flatten(in)
				return
			}
		}
		inner = append(inner, x)
	}
	flatten(n)
	if len(inner)+len(outers) > 60 {
		return o.fixedJoin(n, conds)
	}
	c.conds = o.equalities(o.factorAll(c.conds))
	all := slotSet{}
	for _, x := range inner {
		it := &joinItem{node: x, set: made(x)}
		all.union(&it.set)
		c.items = append(c.items, it)
	}
	for _, x := range outers {
		it := &joinItem{kind: x.kind, node: x.node, on: x.on, set: made(x.node)}
		if x.kind == LeftJoin {
			all.union(&it.set)
		}
		c.items = append(c.items, it)
	}
	// mask are the items whose columns an expression reads; semi and anti joins show none.
	mask := func(used *slotSet, but int) uint64 {
		var m uint64
		for i, it := range c.items {
			if i != but && (it.kind == InnerJoin || it.kind == LeftJoin) && used.intersects(&it.set) {
				m |= 1 << i
			}
		}
		return m
	}
	perItem := make([][]Expr, len(c.items))
	var rest, consts []Expr
	for _, cond := range c.conds {
		var used slotSet
		exprSlots(cond, &used)
		m := mask(&used, -1)
		switch {
		case m == 0:
			consts = append(consts, cond)
		case m&(m-1) == 0 && c.items[bits.TrailingZeros64(m)].kind == InnerJoin && !isVolatile(cond) && !hasCorrelated(cond):
			i := bits.TrailingZeros64(m)
			perItem[i] = append(perItem[i], cond)
		default:
			rest = append(rest, cond)
		}
	}
	for i, x := range outers {
		it := c.items[len(inner)+i]
		var on []Expr
		for _, cond := range x.on {
			var used slotSet
			exprSlots(cond, &used)
			switch {
			case used.intersects(&it.set) && !used.intersects(&x.left):
				perItem[len(inner)+i] = append(perItem[len(inner)+i], cond)
			case x.kind == SemiJoin && !used.intersects(&it.set) && !used.intersects(&x.left):
				perItem[len(inner)+i] = append(perItem[len(inner)+i], cond)
			default:
				on = append(on, cond)
			}
		}
		it.on = on
	}
	for i, it := range c.items {
		it.node = o.push(it.node, perItem[i])
		it.set = made(it.node)
	}
	for i, it := range c.items {
		free := freeSlots(it.node, nil)
		it.lateral = mask(&free, i)
		it.needs = it.lateral
		for _, cond := range it.on {
			var used slotSet
			exprSlots(cond, &used)
			it.needs |= mask(&used, i)
		}
		if it.kind != InnerJoin && it.needs == 0 {
			it.needs = mask(&outers[i-len(inner)].left, i)
			if it.needs == 0 {
				it.needs = 1
			}
		}
		it.rows = o.rows(it.node)
		it.cost = o.scanCost(it.node)
		it.raw = it.rows
		if s, ok := it.node.(*Scan); ok && s.Table.Kind == BaseTable {
			it.raw = s.Table.rowEstimate()
		}
	}
	for _, cond := range rest {
		var used slotSet
		exprSlots(cond, &used)
		m := mask(&used, -1)
		if each := o.subqueryCost(cond); each > 0 && len(c.items) < 60 {
			c.items = append(c.items, &joinItem{kind: SemiJoin, on: []Expr{cond}, needs: m, each: each})
			continue
		}
		c.conds = append(c.conds[:len(c.used)], cond)
		c.used = append(c.used, m)
	}
	c.conds = c.conds[:len(c.used)]
	return filterOver(o.order(c), consts)
}

// matchesOnce reports whether a left row finds one right row at most: the right side is unique in what is compared.
func (o *optimizer) matchesOnce(j *Join) bool {
	rm := made(j.Right)
	if free := freeSlots(j.Right, nil); !free.empty() {
		return false
	}
	var keys slotSet
	for _, c := range j.On {
		if _, r, ok := equiSidesOf(c, &rm); ok {
			if k, ok := stripCast(r).(*Col); ok {
				keys.add(k.Slot)
			}
		}
	}
	return uniqueOn(j.Right, &keys)
}

// uniqueOn reports whether no two rows of n agree in all these slots.
func uniqueOn(n Node, keys *slotSet) bool {
	switch x := n.(type) {
	case *Filter:
		return uniqueOn(x.Input, keys)
	case *Sort:
		return uniqueOn(x.Input, keys)
	case *Limit:
		return uniqueOn(x.Input, keys)
	case *Project:
		below := keys.clone()
		for i, s := range x.Slots {
			if c, ok := stripCast(x.Exprs[i]).(*Col); ok && keys.has(s) {
				below.add(c.Slot)
			}
		}
		return uniqueOn(x.Input, &below)
	case *Agg:
		if x.Sets != nil || len(x.Group) == 0 {
			return false
		}
		for _, s := range x.GroupSlots {
			if !keys.has(s) {
				return false
			}
		}
		return true
	case *Scan:
		if x.Table.Kind != BaseTable {
			return false
		}
		for _, ix := range x.Table.AllIndexes() {
			if !ix.Unique || ix.Where != nil || ix.WriteOnly || !uniqueNotNull(x.Table, ix) {
				continue
			}
			all := true
			for _, k := range ix.Keys {
				all = all && keys.has(x.SlotBase()+k.Col)
			}
			if all {
				return true
			}
		}
	}
	return false
}

// fixedJoin keeps the written order of a cluster too large to order: its conditions stay where they are.
func (o *optimizer) fixedJoin(n Node, conds []Expr) Node {
	if j, ok := n.(*Join); ok {
		j.Left, j.Right = o.push(j.Left, nil), o.push(j.Right, nil)
	}
	return filterOver(n, conds)
}

// hasCorrelated reports whether a condition has a subquery that depends on the row.
func hasCorrelated(e Expr) bool {
	found := false
	walkExpr(e, func(x Expr) bool {
		if s, ok := x.(*Subquery); ok {
			free := freeSlots(s.Root, s.Out)
			found = found || !free.empty()
		}
		return !found
	})
	return found
}

// subqueryCost is the cost of a condition's subqueries for each row, 0 when they run once.
func (o *optimizer) subqueryCost(e Expr) float64 {
	cost := 0.0
	walkExpr(e, func(x Expr) bool {
		if s, ok := x.(*Subquery); ok {
			o.subquery(s)
			if s.Correlated {
				o.estimate(s.Root)
				cost += math.Max(s.Root.Base().Cost, costScanStart)
			}
		}
		return true
	})
	return cost
}

// equalities adds what follows from a = b and a = constant: b = constant.
func (o *optimizer) equalities(conds []Expr) []Expr {
	type pair struct{ a, b *Col }
	var pairs []pair
	consts := map[Slot]*Func{}
	for _, c := range conds {
		f, ok := c.(*Func)
		if !ok || f.Cmp() != builtin.CmpEQ {
			continue
		}
		l, lok := f.Args[0].(*Col)
		r, rok := f.Args[1].(*Col)
		switch {
		case lok && rok && l.T.OID == r.T.OID:
			pairs = append(pairs, pair{l, r})
		case lok && isConstLike(f.Args[1]) && f.Args[1].Type().OID == l.T.OID:
			consts[l.Slot] = f
		}
	}
	for changed := true; changed && len(pairs) > 0 && len(consts) > 0; {
		changed = false
		for _, p := range pairs {
			for _, d := range [][2]*Col{{p.a, p.b}, {p.b, p.a}} {
				f := consts[d[0].Slot]
				if f == nil || consts[d[1].Slot] != nil {
					continue
				}
				n := &Func{Name: f.Name, Call: f.Call, Args: []Expr{d[1], f.Args[1]}, T: f.T, Form: f.Form}
				consts[d[1].Slot] = n
				conds = append(conds, n)
				changed = true
			}
		}
	}
	return conds
}

func isConstLike(e Expr) bool {
	switch x := e.(type) {
	case *Const, *Param:
		return true
	case *Cast:
		return isConstLike(x.Arg)
	}
	return false
}

// equiSides splits an equality whose sides read only the left and only the right input.
func equiSides(cond Expr, left, right *slotSet) (l, r Expr, ok bool) {
	f, isF := cond.(*Func)
	if !isF || f.Cmp() != builtin.CmpEQ || len(f.Args) != 2 || isVolatile(f) {
		return nil, nil, false
	}
	var a, b slotSet
	exprSlots(f.Args[0], &a)
	exprSlots(f.Args[1], &b)
	switch {
	case a.intersects(left) && !a.intersects(right) && b.intersects(right) && !b.intersects(left):
		return f.Args[0], f.Args[1], true
	case a.intersects(right) && !a.intersects(left) && b.intersects(left) && !b.intersects(right):
		return f.Args[1], f.Args[0], true
	}
	return nil, nil, false
}

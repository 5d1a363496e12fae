package plan

import (
	"math"
	"math/bits"

	"github.com/meridian-db/meridian/sql/builtin"
)

// Up to maxBushy inputs every shape of join tree is looked at, up to maxLeftDeep every order of a chain; beyond,
// a chain grows by what keeps it smallest.
const (
	maxBushy    = 8
	maxLeftDeep = 11
)

// partial is the cheapest way found to join a set of a cluster's items.
type partial struct {
	rows, cost  float64
	left, right uint64 // the sets it joins; right is 0 for a single item
}

// order builds the cheapest join tree of a cluster.
func (o *optimizer) order(c *cluster) Node {
	n := len(c.items)
	if n == 1 {
		return filterOver(c.items[0].node, c.conds)
	}
	e := &enumeration{o: o, c: c, lookups: map[[2]uint64]lookup{}}
	var best func(set uint64) *partial
	if n <= maxLeftDeep {
		e.best = make([]*partial, 1<<n)
		e.enumerate(n)
		if e.best[1<<n-1] == nil {
			return o.buildChain(c, e.greedy())
		}
		best = func(set uint64) *partial { return e.best[set] }
	} else {
		return o.buildChain(c, e.greedy())
	}
	applied := make([]bool, len(c.conds))
	var build func(set uint64) Node
	build = func(set uint64) Node {
		p := best(set)
		if p.right == 0 {
			return c.items[bits.TrailingZeros64(set)].node
		}
		l := build(p.left)
		if p.right&(p.right-1) == 0 {
			return o.joinItem(c, applied, l, bits.TrailingZeros64(p.right), set)
		}
		return o.joinInner(c, applied, l, build(p.right), set)
	}
	return filterOver(build(1<<n-1), o.leftOver(c, applied))
}

// buildChain joins items one after the other.
func (o *optimizer) buildChain(c *cluster, order []int) Node {
	applied := make([]bool, len(c.conds))
	node := c.items[order[0]].node
	set := uint64(1) << order[0]
	for _, i := range order[1:] {
		set |= 1 << i
		node = o.joinItem(c, applied, node, i, set)
	}
	return filterOver(node, o.leftOver(c, applied))
}

func (o *optimizer) leftOver(c *cluster, applied []bool) []Expr {
	var left []Expr
	for k, cond := range c.conds {
		if !applied[k] {
			left = append(left, cond)
		}
	}
	return left
}

// due takes the conditions that can be tested on a set of items.
func (c *cluster) due(applied []bool, set uint64) []Expr {
	var on []Expr
	for k, cond := range c.conds {
		if !applied[k] && c.used[k]&^set == 0 {
			applied[k] = true
			on = append(on, cond)
		}
	}
	return on
}

func (o *optimizer) joinInner(c *cluster, applied []bool, l, r Node, set uint64) Node {
	return &Join{Kind: InnerJoin, Left: l, Right: r, On: c.due(applied, set)}
}

// joinItem joins item i to l; set is what is there then.
func (o *optimizer) joinItem(c *cluster, applied []bool, l Node, i int, set uint64) Node {
	it := c.items[i]
	if it.node == nil {
		return filterOver(l, append(append([]Expr(nil), it.on...), c.due(applied, set)...))
	}
	j := &Join{Kind: it.kind, Left: l, Right: it.node, Lateral: it.lateral != 0}
	if it.kind == InnerJoin {
		j.On = c.due(applied, set)
		return j
	}
	j.On = it.on
	return filterOver(j, c.due(applied, set))
}

// lookup is an index that finds the rows of an item by columns of what is there already.
type lookup struct {
	ok   bool
	each float64 // cost for each row
}

// enumeration searches the join orders of a cluster.
type enumeration struct {
	o       *optimizer
	c       *cluster
	best    []*partial
	lookups map[[2]uint64]lookup // by item and the items around it that conditions connect
}

func (e *enumeration) enumerate(n int) {
	for i, it := range e.c.items {
		if it.kind == InnerJoin && it.needs == 0 && it.node != nil {
			e.best[1<<i] = &partial{rows: it.rows, cost: it.cost}
		}
	}
	bushy := n <= maxBushy
	for set := uint64(1); set < 1<<n; set++ {
		if set&(set-1) == 0 {
			continue
		}
		// First splits that a condition connects; a product only where there is none.
		for pass := range 2 {
			for i := set; i != 0; i &= i - 1 {
				e.try(set, set&^(i&-i), i&-i, pass == 1)
			}
			if bushy {
				for l := (set - 1) & set; l != 0; l = (l - 1) & set {
					r := set &^ l
					if r&(r-1) != 0 && l&(l-1) != 0 && l > r {
						e.try(set, l, r, pass == 1)
					}
				}
			}
			if e.best[set] != nil {
				break
			}
		}
	}
}

// try considers joining two sets, the right one an item or a set of inputs.
func (e *enumeration) try(set, l, r uint64, products bool) {
	lp := e.best[l]
	if lp == nil {
		return
	}
	if r&(r-1) != 0 {
		rp := e.best[r]
		if rp == nil {
			return
		}
		sel, equi, connected := e.between(l, r)
		if !connected && !products {
			return
		}
		rows := math.Max(1, lp.rows*rp.rows*sel)
		cost := lp.cost + rp.cost
		if equi {
			cost += hashCost(math.Max(lp.rows, rp.rows), math.Min(lp.rows, rp.rows), rows)
		} else {
			cost += loopCost(lp.rows, rp.rows, rows)
		}
		e.keep(set, partial{rows: rows, cost: cost, left: l, right: r})
		return
	}
	i := bits.TrailingZeros64(r)
	it := e.c.items[i]
	if it.needs&^l != 0 {
		return
	}
	rows, cost, connected := e.step(lp, l, i)
	if !connected && !products {
		return
	}
	e.keep(set, partial{rows: rows, cost: cost, left: l, right: r})
}

func (e *enumeration) keep(set uint64, p partial) {
	if b := e.best[set]; b == nil || p.cost < b.cost {
		e.best[set] = &p
	}
}

// step is the cost of joining item i to a partial result over set l.
func (e *enumeration) step(lp *partial, l uint64, i int) (rows, cost float64, connected bool) {
	it := e.c.items[i]
	if it.node == nil {
		return math.Max(1, lp.rows*defaultCond), lp.cost + lp.rows*it.each, true
	}
	r := uint64(1) << i
	sel, equi, connected := e.between(l, r)
	switch it.kind {
	case InnerJoin:
		rows = math.Max(1, lp.rows*it.rows*sel)
	default:
		connected = true
		rows = e.o.outerRows(it.kind, lp.rows, it.rows, it.on)
		for _, c := range it.on {
			if _, _, ok := equiSidesOf(c, &it.set); ok {
				equi = true
			}
		}
	}
	if it.lateral != 0 {
		return rows, lp.cost + lp.rows*math.Max(costScanStart, it.cost), true
	}
	cost = lp.cost + it.cost
	switch {
	case equi && it.kind == InnerJoin:
		cost += hashCost(math.Max(lp.rows, it.rows), math.Min(lp.rows, it.rows), rows)
	case equi:
		cost += hashCost(lp.rows, it.rows, rows)
	default:
		cost += loopCost(lp.rows, it.rows, rows)
	}
	if k := e.lookup(l, i); k.ok {
		cost = math.Min(cost, lp.cost+lp.rows*k.each+rows*costOut)
	}
	return rows, cost, connected
}

// between judges the conditions that can be tested only when both sets are there.
func (e *enumeration) between(l, r uint64) (sel float64, equi, connected bool) {
	sel = 1
	var eqs []Expr
	for k, cond := range e.c.conds {
		u := e.c.used[k]
		if u&^(l|r) != 0 || u&l == 0 || u&r == 0 {
			continue
		}
		connected = true
		if f, ok := cond.(*Func); ok && f.Cmp() == builtin.CmpEQ && len(f.Args) == 2 {
			var a, b slotSet
			exprSlots(f.Args[0], &a)
			exprSlots(f.Args[1], &b)
			ma, mb := e.maskOf(&a), e.maskOf(&b)
			if ma != 0 && mb != 0 && (ma&^l == 0 && mb&^r == 0 || ma&^r == 0 && mb&^l == 0) {
				equi = true
				eqs = append(eqs, cond)
				continue
			}
		}
		sel *= e.o.joinSelectivity(cond)
	}
	return sel * e.o.equiSelectivity(eqs), equi, connected
}

func (e *enumeration) maskOf(used *slotSet) uint64 {
	var m uint64
	for i, it := range e.c.items {
		if it.node != nil && (it.kind == InnerJoin || it.kind == LeftJoin) && used.intersects(&it.set) {
			m |= 1 << i
		}
	}
	return m
}

// equiSelectivity judges equalities between two inputs together. Where they cover a unique key of a table, each
// row of the other side finds one of its rows at most, however the columns correlate.
func (o *optimizer) equiSelectivity(eqs []Expr) float64 {
	sel := 1.0
	for _, c := range eqs {
		sel *= o.joinSelectivity(c)
	}
	if len(eqs) < 2 {
		return sel
	}
	cols := map[*Scan]map[int]bool{}
	for _, c := range eqs {
		for _, a := range c.(*Func).Args {
			if k, ok := stripCast(a).(*Col); ok {
				if or, ok := o.origin[k.Slot]; ok && or.scan.Table.Kind == BaseTable {
					if cols[or.scan] == nil {
						cols[or.scan] = map[int]bool{}
					}
					cols[or.scan][or.ord] = true
				}
			}
		}
	}
	for s, have := range cols {
		for _, ix := range s.Table.AllIndexes() {
			if !ix.Unique || ix.Where != nil || len(ix.Keys) < 2 {
				continue
			}
			all := true
			for _, k := range ix.Keys {
				all = all && k.Col >= 0 && have[k.Col]
			}
			if all {
				sel = math.Max(sel, 1/s.Table.rowEstimate())
			}
		}
	}
	return sel
}

// outerRows estimates the rows of a left, semi or anti join.
func (o *optimizer) outerRows(kind JoinKind, l, r float64, on []Expr) float64 {
	var eqs []Expr
	sel, match := 1.0, 1.0
	for _, c := range on {
		if f, ok := c.(*Func); ok && f.Cmp() == builtin.CmpEQ && len(f.Args) == 2 {
			eqs = append(eqs, c)
			// Of the left side's values the share that the right side has.
			a, b := o.exprDistinct(f.Args[0]), o.exprDistinct(f.Args[1])
			match = math.Min(match, math.Min(math.Min(a, b), r)/math.Max(1, math.Max(a, b)))
			continue
		}
		sel *= o.joinSelectivity(c)
	}
	switch kind {
	case SemiJoin:
		return math.Max(1, l*math.Min(1, match*math.Max(sel, 0.1)))
	case AntiJoin:
		return math.Max(1, l*math.Max(0.1, 1-match*math.Max(sel, 0.1)))
	}
	return math.Max(l, l*r*sel*o.equiSelectivity(eqs))
}

// lookup finds the best index of item i for conditions on the items of l.
func (e *enumeration) lookup(l uint64, i int) lookup {
	it := e.c.items[i]
	s, ok := it.node.(*Scan)
	if !ok || s.Table.Kind != BaseTable || s.Index != nil {
		return lookup{}
	}
	var dep []Expr
	var around uint64
	if it.kind == InnerJoin {
		for k, cond := range e.c.conds {
			if u := e.c.used[k]; u&(1<<i) != 0 && u&l != 0 && u&^(l|1<<i) == 0 && !hasSubquery(cond) {
				dep = append(dep, cond)
				around |= u
			}
		}
	} else {
		around = it.needs
		for _, cond := range it.on {
			var used slotSet
			exprSlots(cond, &used)
			if used.intersects(&it.set) && !hasSubquery(cond) {
				dep = append(dep, cond)
			}
		}
	}
	if len(dep) == 0 {
		return lookup{}
	}
	key := [2]uint64{uint64(i), around}
	k, ok := e.lookups[key]
	if !ok {
		if p, _, uses := e.o.lookupPath(s, dep); uses {
			k = lookup{ok: true, each: lookupCost(p, it.kind)}
		}
		e.lookups[key] = k
	}
	return k
}

// lookupPath is the best path of a scan when columns of other inputs are at hand; uses says that it relies on
// them.
func (o *optimizer) lookupPath(s *Scan, dep []Expr) (p *path, all []Expr, uses bool) {
	plain := o.equalities(s.Filter)
	all = append(append([]Expr(nil), plain...), dep...)
	p = o.bestPath(s, all)
	if p == nil {
		return nil, nil, false
	}
	for _, i := range p.conds {
		uses = uses || i >= len(plain)
	}
	return p, all, uses
}

// greedy chooses an order one item at a time, the one that keeps the result smallest first.
func (e *enumeration) greedy() []int {
	items := e.c.items
	start := -1
	for i, it := range items {
		if it.kind == InnerJoin && it.node != nil && it.needs == 0 && (start < 0 || it.rows < items[start].rows) {
			start = i
		}
	}
	if start < 0 {
		start = 0
	}
	order := []int{start}
	p := &partial{rows: items[start].rows, cost: items[start].cost}
	set := uint64(1) << start
	for len(order) < len(items) {
		pick, best, connected := -1, partial{}, false
		for i, it := range items {
			if set&(1<<i) != 0 || it.needs&^set != 0 {
				continue
			}
			rows, cost, conn := e.step(p, set, i)
			if pick < 0 || conn && !connected || conn == connected && (rows < best.rows || rows == best.rows && cost < best.cost) {
				pick, best, connected = i, partial{rows: rows, cost: cost}, conn
			}
		}
		if pick < 0 {
			for i := range items {
				if set&(1<<i) == 0 {
					pick = i
					break
				}
			}
		}
		order = append(order, pick)
		set |= 1 << pick
		p = &best
	}
	return order
}

// equiSidesOf is equiSides with everything but the right side's columns as left side.
func equiSidesOf(cond Expr, right *slotSet) (l, r Expr, ok bool) {
	f, isF := cond.(*Func)
	if !isF || f.Cmp() != builtin.CmpEQ || len(f.Args) != 2 || isVolatile(f) {
		return nil, nil, false
	}
	var a, b slotSet
	exprSlots(f.Args[0], &a)
	exprSlots(f.Args[1], &b)
	switch {
	case !a.empty() && !a.intersects(right) && !b.empty() && b.subsetOf(right):
		return f.Args[0], f.Args[1], true
	case !b.empty() && !b.intersects(right) && !a.empty() && a.subsetOf(right):
		return f.Args[1], f.Args[0], true
	}
	return nil, nil, false
}

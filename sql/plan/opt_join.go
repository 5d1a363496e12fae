package plan

import (
	"math"

	"github.com/meridian-db/meridian/sql/builtin"
)

// cluster is a set of inner-joined inputs with the conditions among them.
type cluster struct {
	rels  []Node
	sets  []slotSet // what each produces
	free  []slotSet // what each reads from the others (lateral)
	conds []Expr
	used  []slotSet // of each condition
}

// innerJoins flattens nested inner joins, pushes conditions to the inputs they concern and joins the
// inputs in the order that keeps intermediate results small.
func (o *optimizer) innerJoins(n *Join, conds []Expr) Node {
	c := &cluster{conds: conds}
	var flatten func(Node)
	flatten = func(x Node) {
		switch j := x.(type) {
		case *Join:
			if j.Kind == InnerJoin {
				c.conds = append(c.conds, j.On...)
				flatten(j.Left)
				flatten(j.Right)
				return
			}
		case *Filter:
			if in, ok := j.Input.(*Join); ok && in.Kind == InnerJoin {
				plain := true
				for _, cd := range j.Conds {
					plain = plain && !hasSubquery(cd)
				}
				if plain {
					c.conds = append(c.conds, j.Conds...)
					flatten(in)
					return
				}
			}
		}
		c.rels = append(c.rels, x)
	}
	flatten(n)
	// An outer join in the cluster may become inner by a condition of the cluster; one level is enough as
	// push treats the input again.
	c.conds = o.equalities(c.conds)
	all := slotSet{}
	for _, r := range c.rels {
		m := made(r)
		c.sets = append(c.sets, m)
		all.union(&m)
	}
	perRel := make([][]Expr, len(c.rels))
	var rest, consts []Expr
	for _, cond := range c.conds {
		var used slotSet
		exprSlots(cond, &used)
		where := -1
		count := 0
		for i := range c.sets {
			if used.intersects(&c.sets[i]) {
				where = i
				count++
			}
		}
		switch {
		case count == 1 && !isVolatile(cond):
			perRel[where] = append(perRel[where], cond)
		case count == 0:
			consts = append(consts, cond)
		default:
			rest = append(rest, cond)
		}
	}
	for i := range c.rels {
		c.rels[i] = o.push(c.rels[i], perRel[i])
		c.sets[i] = made(c.rels[i])
		f := freeSlots(c.rels[i], nil)
		others := all.clone()
		others.minus(&c.sets[i])
		var fr slotSet
		for _, s := range f.list() {
			if others.has(s) {
				fr.add(s)
			}
		}
		c.free = append(c.free, fr)
	}
	c.conds = rest
	for _, cond := range rest {
		var used slotSet
		exprSlots(cond, &used)
		var in slotSet
		for _, s := range used.list() {
			if all.has(s) {
				in.add(s)
			}
		}
		c.used = append(c.used, in)
	}
	return filterOver(o.order(c), consts)
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

// order builds the join tree: dynamic programming over left-deep orders for few inputs, greedy for many.
func (o *optimizer) order(c *cluster) Node {
	n := len(c.rels)
	if n == 1 {
		return filterOver(c.rels[0], c.conds)
	}
	rows := make([]float64, n)
	cost := make([]float64, n)
	for i, r := range c.rels {
		rows[i] = o.rows(r)
		cost[i] = o.scanCost(r)
	}
	var plan []int
	if n <= 9 {
		plan = o.orderDP(c, rows, cost)
	}
	if plan == nil {
		plan = o.orderGreedy(c, rows)
	}
	applied := make([]bool, len(c.conds))
	node := c.rels[plan[0]]
	set := c.sets[plan[0]].clone()
	for _, i := range plan[1:] {
		set.union(&c.sets[i])
		var on []Expr
		for k, cond := range c.conds {
			if !applied[k] && c.used[k].subsetOf(&set) {
				applied[k] = true
				on = append(on, cond)
			}
		}
		j := &Join{Kind: InnerJoin, Left: node, Right: c.rels[i], On: on}
		lm := made(node)
		j.Lateral = c.free[i].intersects(&lm)
		node = j
	}
	var left []Expr
	for k, cond := range c.conds {
		if !applied[k] {
			left = append(left, cond)
		}
	}
	return filterOver(node, left)
}

// step estimates adding input i to a partial order.
func (o *optimizer) step(c *cluster, set *slotSet, setRows float64, i int, rows, cost []float64) (outRows, stepCost float64, connected bool) {
	next := set.clone()
	next.union(&c.sets[i])
	sel := 1.0
	hash := false
	lookup := false
	for k, cond := range c.conds {
		if c.used[k].subsetOf(&next) && !c.used[k].subsetOf(set) && !c.used[k].subsetOf(&c.sets[i]) {
			sel *= o.joinSelectivity(cond)
			connected = true
			if l, r, ok := equiSides(cond, set, &c.sets[i]); ok {
				hash = true
				_ = l
				lookup = lookup || o.leadsIndex(c.rels[i], r)
			}
		}
	}
	outRows = math.Max(1, setRows*rows[i]*sel)
	if c.free[i].intersects(set) {
		return outRows, setRows * cost[i], true
	}
	switch {
	case hash:
		stepCost = cost[i] + rows[i]*1.5 + setRows*0.5 + outRows*0.2
		if lookup {
			perLookup := math.Max(1, outRows/math.Max(1, setRows))
			stepCost = math.Min(stepCost, setRows*(8+perLookup))
		}
	default:
		stepCost = cost[i] + setRows*rows[i]*0.3
	}
	return outRows, stepCost, connected
}

func (o *optimizer) orderDP(c *cluster, rows, cost []float64) []int {
	n := len(c.rels)
	type entry struct {
		rows, cost float64
		order      []int
		set        slotSet
	}
	best := make([]*entry, 1<<n)
	for i := range n {
		if c.free[i].empty() {
			best[1<<i] = &entry{rows: rows[i], cost: cost[i], order: []int{i}, set: c.sets[i].clone()}
		}
	}
	for m := 1; m < 1<<n; m++ {
		e := best[m]
		if e == nil {
			continue
		}
		// Prefer inputs that a condition connects; without any, a product with any of them.
		for pass := range 2 {
			any := false
			for i := range n {
				if m&(1<<i) != 0 || !c.free[i].subsetOf(&e.set) {
					continue
				}
				r, sc, conn := o.step(c, &e.set, e.rows, i, rows, cost)
				if pass == 0 && !conn {
					continue
				}
				any = true
				total := e.cost + sc
				t := best[m|1<<i]
				if t == nil || total < t.cost {
					set := e.set.clone()
					set.union(&c.sets[i])
					best[m|1<<i] = &entry{rows: r, cost: total, order: append(append([]int(nil), e.order...), i), set: set}
				}
			}
			if any {
				break
			}
		}
	}
	if e := best[1<<n-1]; e != nil {
		return e.order
	}
	return nil
}

func (o *optimizer) orderGreedy(c *cluster, rows []float64) []int {
	n := len(c.rels)
	used := make([]bool, n)
	start := -1
	for i := range n {
		if c.free[i].empty() && (start < 0 || rows[i] < rows[start]) {
			start = i
		}
	}
	if start < 0 {
		start = 0
	}
	plan := []int{start}
	used[start] = true
	set := c.sets[start].clone()
	cur := rows[start]
	for len(plan) < n {
		bi, br := -1, 0.0
		bc := false
		for i := range n {
			if used[i] || !c.free[i].subsetOf(&set) {
				continue
			}
			r, _, conn := o.step(c, &set, cur, i, rows, rows)
			if bi < 0 || conn && !bc || conn == bc && r < br {
				bi, br, bc = i, r, conn
			}
		}
		if bi < 0 {
			for i := range n {
				if !used[i] {
					bi = i
					break
				}
			}
		}
		plan = append(plan, bi)
		used[bi] = true
		set.union(&c.sets[bi])
		cur = br
	}
	return plan
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

// leadsIndex reports whether r is the first key of an index of the scan n.
func (o *optimizer) leadsIndex(n Node, r Expr) bool {
	s, ok := n.(*Scan)
	if !ok || s.Table.Kind != BaseTable {
		return false
	}
	c, ok := stripCast(r).(*Col)
	if !ok {
		return false
	}
	or := o.origin[c.Slot]
	for _, ix := range s.Table.AllIndexes() {
		if !ix.WriteOnly && ix.Where == nil && ix.Keys[0].Col == or.ord && or.scan == s {
			return true
		}
	}
	return false
}

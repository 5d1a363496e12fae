package plan

// optimizer rewrites a bound plan. It owns the tree: nodes are changed in place.
type optimizer struct {
	b     *binder
	subqs []*Subquery
	// origin maps a slot to the scan column it comes from.
	origin map[Slot]colOrigin
	// defs and groups say how projections and aggregations make slots.
	defs   map[Slot]Expr
	groups map[Slot]Node
	// parts are the Appends that fill slots.
	parts map[Slot]*Append
	done  map[*CTE]bool

	eval         *EvalCtx // for estimates
	distinctSeen map[Expr]float64
}

type colOrigin struct {
	scan *Scan
	ord  int
}

// optimize is the whole pipeline for the root of a statement.
func (o *optimizer) optimize(n Node, out []Expr) (Node, []Expr, error) {
	o.origin, o.defs, o.groups, o.distinctSeen = map[Slot]colOrigin{}, map[Slot]Expr{}, map[Slot]Node{}, map[Expr]float64{}
	o.parts = map[Slot]*Append{}
	o.done = map[*CTE]bool{}
	o.subqs = o.b.subqs
	n = o.query(n, out)
	o.eachSub(out)
	var need slotSet
	for _, e := range out {
		exprSlots(e, &need)
	}
	o.prune(n, &need)
	for _, s := range o.subqs {
		if s != nil && s.Root != nil {
			o.pruneSub(s)
		}
	}
	o.estimate(n)
	for _, e := range out {
		startup, total := o.subqueryCosts(e, n.Base().Rows)
		n.Base().Startup += startup
		n.Base().Cost += startup + total
	}
	n = o.ship(n, nil)
	for _, s := range o.subqs {
		if s != nil && s.Root != nil {
			s.Root = o.ship(s.Root, nil)
		}
	}
	o.number(n)
	for i := range out {
		o.numberSubs(out[i])
	}
	return n, out, nil
}

// query optimises one query: a statement's root or a subquery's.
func (o *optimizer) query(n Node, out []Expr) Node {
	n = o.inlineCTEs(n)
	o.findOrigins(n)
	n = o.push(n, nil)
	// Access paths depend on which columns are needed.
	var need slotSet
	for _, e := range out {
		exprSlots(e, &need)
	}
	o.prune(n, &need)
	n = o.physical(n)
	o.subqueries(n)
	return n
}

// subqueries optimises the subqueries in the expressions of a tree.
func (o *optimizer) subqueries(n Node) {
	n.exprs(func(e *Expr) { o.subqueriesIn(*e) })
	n.inputs(func(c *Node) { o.subqueries(*c) })
}

func (o *optimizer) eachSub(es []Expr) {
	for _, e := range es {
		o.subqueriesIn(e)
	}
}

func (o *optimizer) subqueriesIn(e Expr) {
	walkExpr(e, func(x Expr) bool {
		if s, ok := x.(*Subquery); ok {
			o.subquery(s)
		}
		return true
	})
}

func (o *optimizer) subquery(s *Subquery) {
	// Copies of a Subquery (NOT folded in) share the registered one's plan.
	reg := o.subqs[s.ID]
	if reg != s && reg != nil && reg.optimized {
		s.Root, s.Correlated, s.optimized, s.Keep, s.Free, s.Batch = reg.Root, reg.Correlated, true, reg.Keep, reg.Free, reg.Batch
		return
	}
	if s.optimized {
		return
	}
	s.optimized = true
	if s.Kind == SubExists {
		s.Root = stripForExists(s.Root)
		s.Out = nil
	}
	var batch *SubBatch
	if free := freeSlots(s.Root, s.Out); !free.empty() {
		batch = o.batchOf(s)
	}
	s.Root = o.query(s.Root, s.Out)
	o.eachSub(s.Out)
	free := freeSlots(s.Root, s.Out)
	s.Correlated = !free.empty()
	s.Free = free.list()
	o.subqs[s.ID] = s
	if batch != nil && s.Correlated {
		o.addBatch(s, batch)
	}
}

// stripForExists drops what cannot matter for the question whether there is a row.
func stripForExists(n Node) Node {
	switch x := n.(type) {
	case *Project:
		return stripForExists(x.Input)
	case *Sort:
		return stripForExists(x.Input)
	case *Distinct:
		return stripForExists(x.Input)
	}
	return n
}

// inlineCTEs replaces the scan of a CTE that is read once, and may be, by its query.
func (o *optimizer) inlineCTEs(n Node) Node {
	if w, ok := n.(*With); ok {
		kept := w.CTEs[:0]
		for _, c := range w.CTEs {
			if !o.done[c] {
				o.done[c] = true
				if c.noInline || c.Refs > 1 {
					c.Query = o.query(c.Query, c.Out)
					o.eachSub(c.Out)
					if c.Step != nil {
						c.Step = o.query(c.Step, c.StepOut)
						o.eachSub(c.StepOut)
					}
				}
			}
			if c.noInline && (c.Refs > 0 || c.Writes || c.Recursive && c.Refs > 0) || c.Refs > 1 {
				kept = append(kept, c)
			}
		}
		w.CTEs = kept
		w.Input = o.inlineCTEs(w.Input)
		if len(w.CTEs) == 0 {
			return w.Input
		}
		return w
	}
	if s, ok := n.(*CTEScan); ok && !s.Working && !s.CTE.noInline && s.CTE.Refs == 1 {
		q := o.inlineCTEs(s.CTE.Query)
		return &Project{Input: q, Exprs: s.CTE.Out, Slots: s.Slots}
	}
	n.inputs(func(c *Node) { *c = o.inlineCTEs(*c) })
	n.exprs(func(e *Expr) {
		walkExpr(*e, func(x Expr) bool {
			if s, ok := x.(*Subquery); ok && !s.optimized {
				s.Root = o.inlineCTEs(s.Root)
			}
			return true
		})
	})
	return n
}

func (o *optimizer) findOrigins(n Node) {
	if s, ok := n.(*Scan); ok {
		if s.allCols == nil {
			s.allCols = s.Cols
		}
		for _, c := range s.Cols {
			o.origin[c.Slot] = colOrigin{s, c.Ord}
		}
	}
	switch x := n.(type) {
	case *Append:
		for _, s := range x.Slots {
			o.parts[s] = x
		}
	case *Project:
		for i, s := range x.Slots {
			o.defs[s] = x.Exprs[i]
		}
	case *Agg:
		for i, s := range x.GroupSlots {
			o.defs[s] = x.Group[i]
		}
		for _, a := range x.Aggs {
			o.groups[a.Slot] = x
		}
	}
	n.inputs(func(c *Node) { o.findOrigins(*c) })
}

// filterOver wraps n with conditions.
func filterOver(n Node, conds []Expr) Node {
	if len(conds) == 0 {
		return n
	}
	if f, ok := n.(*Filter); ok && !f.Barrier {
		f.Conds = append(f.Conds, conds...)
		return f
	}
	return &Filter{Input: n, Conds: conds}
}

// readsOnly splits conditions into those that read no slot of avoid, and the rest.
func splitBy(conds []Expr, avoid *slotSet) (without, with []Expr) {
	for _, c := range conds {
		var used slotSet
		exprSlots(c, &used)
		if used.intersects(avoid) {
			with = append(with, c)
		} else {
			without = append(without, c)
		}
	}
	return
}

// substitute replaces slots by expressions; ok is false when an expression must not be duplicated.
func substitute(e Expr, slots []Slot, exprs []Expr) (Expr, bool) {
	ok := true
	out := rewriteExpr(e, func(x Expr) Expr {
		switch c := x.(type) {
		case *Col:
			for i, s := range slots {
				if s == c.Slot {
					if isVolatile(exprs[i]) {
						ok = false
					}
					return exprs[i]
				}
			}
		case *Subquery:
			var free slotSet
			exprSlots(c, &free)
			for _, s := range slots {
				if free.has(s) {
					ok = false
				}
			}
		}
		return x
	})
	return out, ok
}

// push moves conditions down the tree and simplifies on the way.
func (o *optimizer) push(n Node, conds []Expr) Node {
	switch n := n.(type) {
	case *Filter:
		var rest, held []Expr
		if n.Barrier {
			conds, held = splitLeakproof(conds)
		}
		in := n.Input
		for _, c := range n.Conds {
			if k, ok := c.(*Const); ok && !k.D.IsNull() && k.D.Bool() {
				continue
			}
			if j, ok := o.toJoin(&in, c); ok {
				in = j
				continue
			}
			rest = append(rest, c)
		}
		return filterOver(o.push(in, append(conds, rest...)), held)
	case *Scan:
		n.Filter = cheapFirst(append(n.Filter, o.factorAll(conds)...))
		return n
	case *Append:
		return o.expand(n, conds)
	case *Project:
		var below, above []Expr
		for _, c := range conds {
			if x, ok := substitute(c, n.Slots, n.Exprs); ok {
				below = append(below, x)
			} else {
				above = append(above, c)
			}
		}
		n.Input = o.push(n.Input, below)
		return filterOver(n, above)
	case *Join:
		return o.pushJoin(n, conds)
	case *Agg:
		var below, above []Expr
		if n.Sets == nil && len(n.Group) > 0 {
			var aggs slotSet
			for _, a := range n.Aggs {
				aggs.add(a.Slot)
			}
			ok, no := splitBy(conds, &aggs)
			above = no
			for _, c := range ok {
				if x, can := substitute(c, n.GroupSlots, n.Group); can {
					below = append(below, x)
				} else {
					above = append(above, c)
				}
			}
		} else {
			above = conds
		}
		n.Input = o.push(n.Input, below)
		return filterOver(n, above)
	case *Sort:
		n.Input = o.push(n.Input, conds)
		return n
	case *LockRows:
		n.Input = o.push(n.Input, conds)
		return n
	case *Distinct:
		var keys slotSet
		for _, k := range n.Keys {
			if c, ok := k.(*Col); ok {
				keys.add(c.Slot)
			}
		}
		in := made(n.Input)
		in.minus(&keys)
		ok, above := splitBy(conds, &in)
		n.Input = o.push(n.Input, ok)
		return filterOver(n, above)
	case *SetOp:
		var l, r, above []Expr
		for _, c := range conds {
			x, ok1 := substitute(c, n.Slots, n.LeftExprs)
			y, ok2 := substitute(c, n.Slots, n.RightExprs)
			if ok1 && ok2 {
				l, r = append(l, x), append(r, y)
			} else {
				above = append(above, c)
			}
		}
		n.Left, n.Right = o.push(n.Left, l), o.push(n.Right, r)
		return filterOver(n, above)
	case *Window:
		var keys slotSet
		for _, k := range n.Partition {
			if c, ok := k.(*Col); ok {
				keys.add(c.Slot)
			}
		}
		all := made(n)
		all.minus(&keys)
		ok, above := splitBy(conds, &all)
		n.Input = o.push(n.Input, ok)
		return filterOver(n, above)
	case *ProjectSet:
		var own slotSet
		n.produces(func(s Slot) { own.add(s) })
		ok, above := splitBy(conds, &own)
		n.Input = o.push(n.Input, ok)
		return filterOver(n, above)
	case *With:
		n.Input = o.push(n.Input, conds)
		return n
	}
	n.inputs(func(c *Node) { *c = o.push(*c, nil) })
	return filterOver(n, conds)
}

// cheapFirst puts conditions with subqueries behind the others.
func cheapFirst(conds []Expr) []Expr {
	var cheap, costly []Expr
	for _, c := range conds {
		if hasSubquery(c) {
			costly = append(costly, c)
		} else {
			cheap = append(cheap, c)
		}
	}
	return append(cheap, costly...)
}

// nullRejecting reports whether a condition is not true when all of these slots are NULL.
func nullRejecting(e Expr, slots *slotSet) bool {
	switch x := e.(type) {
	case *Func:
		if !x.Call.Strict {
			return false
		}
		for _, a := range x.Args {
			if strictIn(a, slots) {
				return true
			}
		}
	case *IsNull:
		return x.Not && strictIn(x.Arg, slots)
	case *InList:
		return strictIn(x.Left, slots)
	case *And:
		for _, a := range x.Args {
			if nullRejecting(a, slots) {
				return true
			}
		}
	case *Or:
		for _, a := range x.Args {
			if !nullRejecting(a, slots) {
				return false
			}
		}
		return len(x.Args) > 0
	case *Col:
		return slots.has(x.Slot)
	case *BoolTest:
		return !x.Unknown && !x.Not && strictIn(x.Arg, slots)
	case *Not:
		return strictIn(x.Arg, slots)
	}
	return false
}

// strictIn reports whether e is NULL whenever these slots are.
func strictIn(e Expr, slots *slotSet) bool {
	switch x := e.(type) {
	case *Col:
		return slots.has(x.Slot)
	case *Cast:
		return strictIn(x.Arg, slots)
	case *Func:
		if x.Call.Strict {
			for _, a := range x.Args {
				if strictIn(a, slots) {
					return true
				}
			}
		}
	}
	return false
}

func (o *optimizer) pushJoin(n *Join, conds []Expr) Node {
	if n.Kind != FullJoin {
		return o.joinCluster(n, conds)
	}
	lm, rm := made(n.Left), made(n.Right)
	rejL, rejR := false, false
	for _, c := range conds {
		rejL, rejR = rejL || nullRejecting(c, &lm), rejR || nullRejecting(c, &rm)
	}
	switch {
	case rejL && rejR:
		n.Kind = InnerJoin
		return o.joinCluster(n, conds)
	case rejL:
		n.Kind = LeftJoin
		return o.joinCluster(n, conds)
	case rejR:
		n.Kind = LeftJoin
		n.Left, n.Right = n.Right, n.Left
		return o.joinCluster(n, conds)
	}
	n.Left, n.Right = o.push(n.Left, nil), o.push(n.Right, nil)
	return filterOver(n, conds)
}

// toJoin turns a condition EXISTS or IN over a subquery into a semi or anti join with *in as left side.
func (o *optimizer) toJoin(in *Node, cond Expr) (Node, bool) {
	s, ok := cond.(*Subquery)
	if !ok || s.optimized || s.Kind != SubExists && s.Kind != SubAny {
		return nil, false
	}
	if s.Kind == SubAny && s.Not {
		return nil, false // NOT IN treats NULLs differently from an anti join
	}
	lm := made(*in)
	root := s.Root
	var on []Expr
	if s.Kind == SubExists {
		root = stripForExists(root)
	} else {
		for i, op := range s.Ops {
			l := fillExpr(op.Args[0], s.Test[i])
			r := fillExpr(op.Args[1], s.Out[i])
			on = append(on, &Func{Name: op.Name, Call: op.Call, Args: []Expr{l, r}, T: op.T, Form: FormOperator})
		}
		if p, ok := root.(*Project); ok && o.subProjectable(p, &lm) {
			// Columns of a projection are used as expressions, so that conditions below can be pulled up.
			for i := range on {
				if x, can := substitute(on[i], p.Slots, p.Exprs); can {
					on[i] = x
				} else {
					return nil, false
				}
			}
			root = p.Input
		}
		for _, t := range s.Test {
			if hasSubquery(t) {
				return nil, false
			}
		}
	}
	root = o.inlineCTEs(root)
	// Pull conditions that mention the left side out of the top of the subquery.
	if f, ok := root.(*Filter); ok && !f.Barrier {
		var keep []Expr
		for _, c := range f.Conds {
			var used slotSet
			exprSlots(c, &used)
			if used.intersects(&lm) && !hasSubquery(c) {
				on = append(on, c)
			} else {
				keep = append(keep, c)
			}
		}
		if len(keep) == 0 {
			root = f.Input
		} else {
			root = &Filter{Input: f.Input, Conds: keep}
		}
	}
	free := freeSlots(root, nil)
	if free.intersects(&lm) {
		return nil, false
	}
	if _, isOne := root.(*OneRow); isOne && len(on) == 0 {
		return nil, false
	}
	kind := SemiJoin
	if s.Not {
		kind = AntiJoin
	}
	if len(on) == 0 {
		// Uncorrelated EXISTS: one evaluation decides for all rows.
		return nil, false
	}
	o.findOrigins(root)
	s.optimized = true
	o.subqs[s.ID] = nil
	return &Join{Kind: kind, Left: *in, Right: root, On: on}, true
}

func (o *optimizer) subProjectable(p *Project, _ *slotSet) bool {
	for _, e := range p.Exprs {
		if isVolatile(e) || hasSubquery(e) {
			return false
		}
	}
	return true
}

func hasSubquery(e Expr) bool {
	found := false
	walkExpr(e, func(x Expr) bool {
		if _, ok := x.(*Subquery); ok {
			found = true
		}
		return !found
	})
	return found
}

// fillExpr puts v into the hole of a chain of casts.
func fillExpr(e Expr, v Expr) Expr {
	return rewriteExpr(e, func(x Expr) Expr {
		if _, ok := x.(*Hole); ok {
			return v
		}
		return x
	})
}

// stripCast removes casts that change nothing but the name of the type.
func stripCast(e Expr) Expr {
	for {
		c, ok := e.(*Cast)
		if !ok || !c.C.NoOp || c.T.Class == 'd' {
			return e
		}
		e = c.Arg
	}
}

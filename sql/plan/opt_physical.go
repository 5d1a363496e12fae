package plan

import (
	"math"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/types"
)

// physical chooses access paths, join methods, sorts and aggregation strategies, bottom up.
func (o *optimizer) physical(n Node) Node {
	switch x := n.(type) {
	case *Scan:
		o.access(x)
		return x
	case *Join:
		return o.physicalJoin(x)
	case *Sort:
		x.Input = o.physical(x.Input)
		if o.isOrdered(x.Input, x.Keys, 0) || o.orderedAppend(x.Input, x.Keys, 0) {
			return x.Input
		}
		x.Prefix = o.prefixOrdered(x.Input, x.Keys, 0)
		return x
	case *Limit:
		return o.physicalLimit(x)
	case *Agg:
		if m := o.minMax(x); m != nil {
			return m
		}
		x.Input = o.physical(x.Input)
		switch {
		case len(x.Group) == 0 && x.Sets == nil:
			x.Strategy = AggPlain
		case x.Sets == nil && o.groupOrdered(x):
			x.Strategy = AggSorted
		default:
			x.Strategy = AggHash
		}
		return x
	case *Distinct:
		if s, ok := x.Input.(*Sort); ok && x.Sorted {
			s.Input = o.physical(s.Input)
			if o.isOrdered(s.Input, s.Keys, 0) {
				x.Input = s.Input
			}
			return x
		}
		x.Input = o.physical(x.Input)
		return x
	}
	n.inputs(func(c *Node) { *c = o.physical(*c) })
	return n
}

// groupOrdered reports whether equal groups of the input are adjacent anyway.
func (o *optimizer) groupOrdered(a *Agg) bool {
	s := scanBelow(a.Input)
	if s == nil || s.Index == nil || s.Table.Kind != BaseTable {
		return false
	}
	// Try the groups in index order.
	ke := o.keyExprs(s, s.Index)
	var keys []SortKey
	left := append([]Expr(nil), a.Group...)
	for i := len(s.Eq); i < len(ke) && len(left) > 0; i++ {
		found := -1
		for j, g := range left {
			if sameExpr(stripCast(g), ke[i]) {
				found = j
			}
		}
		if found < 0 {
			break
		}
		keys = append(keys, SortKey{E: left[found], Desc: s.Index.Keys[i].Desc, NullsFirst: s.Index.Keys[i].NullsFirst})
		left = append(left[:found], left[found+1:]...)
	}
	if len(left) > 0 || len(keys) == 0 {
		return false
	}
	return o.isOrdered(a.Input, keys, 0)
}

func constInt(e Expr) (float64, bool) {
	if c, ok := e.(*Const); ok && !c.D.IsNull() && c.D.Kind() == types.KindInt {
		return float64(c.D.Int()), true
	}
	return 0, false
}

func (o *optimizer) physicalLimit(l *Limit) Node {
	want := 100.0
	if c, ok := constInt(l.Count); ok {
		want = c
	}
	if c, ok := constInt(l.Offset); ok {
		want += c
	}
	if l.Count == nil {
		want = 0
	}
	srt, ok := l.Input.(*Sort)
	if !ok {
		l.Input = o.physical(l.Input)
		o.hint(l, l.Input)
		return l
	}
	srt.Input = o.physical(srt.Input)
	if o.isOrdered(srt.Input, srt.Keys, want) || o.orderedAppend(srt.Input, srt.Keys, want) {
		l.Input = srt.Input
		o.hint(l, l.Input)
		return l
	}
	if srt.Prefix = o.prefixOrdered(srt.Input, srt.Keys, want); srt.Prefix > 0 && want > 0 {
		n := want + o.groupRows(srt.Input, srt.Keys[:srt.Prefix]) + 1
		o.hint(&Limit{Count: &Const{D: types.NewInt(int64(n)), T: types.Int8}}, srt.Input)
	}
	if l.Count != nil && !l.WithTies {
		srt.Limit, srt.Offset = l.Count, l.Offset
	}
	return l
}

// hint tells the scan below a LIMIT how many rows will be wanted.
func (o *optimizer) hint(l *Limit, n Node) {
	if l.Count == nil || l.WithTies {
		return
	}
	switch x := n.(type) {
	case *Project:
		o.hint(l, x.Input)
	case *LockRows:
		o.hint(l, x.Input)
	case *Append:
		for _, k := range x.Kids {
			o.hint(l, k.Input)
		}
	case *Scan:
		if len(x.Filter) > 0 {
			x.PerRow = math.Max(1, x.pathRows/math.Max(1, o.rows(x)))
		}
		o.limitHint(l, x)
	}
}

func (o *optimizer) limitHint(l *Limit, x *Scan) {
	if l.Count == nil || l.WithTies {
		return
	}
	x.LimitHint = l.Count
	if l.Offset != nil {
		if call, err := builtin.ResolveOperator("+", types.Int8, types.Int8); err == nil {
			x.LimitHint = &Func{Name: "+", Call: call, Args: []Expr{l.Count, l.Offset}, T: types.Int8, Form: FormOperator}
		}
	}
}

func (o *optimizer) physicalJoin(j *Join) Node {
	if a, ok := j.Left.(*Append); ok && a.expanded && j.Kind == InnerJoin && !j.Lateral && o.rows(j.Right) < o.rows(j.Left) {
		j.Left, j.Right = j.Right, j.Left // rows of partitions are looked up for others, not the other way round
	}
	j.Left = o.physical(j.Left)
	lm, rm := made(j.Left), made(j.Right)
	leftRows := o.rows(j.Left)
	if !j.Lateral {
		j.rightRows = o.rows(j.Right)
	}
	j.joinConds = append([]Expr{}, j.On...)

	// Lookups: the right side is a table of which an index starts with the joined columns.
	if s, ok := j.Right.(*Scan); ok && s.Table.Kind == BaseTable && j.Kind != FullJoin && s.Index == nil && !j.Lateral {
		var dep, on []Expr
		equi := false
		for _, c := range j.On {
			var used slotSet
			exprSlots(c, &used)
			if used.intersects(&lm) && used.intersects(&rm) && !hasSubquery(c) {
				dep = append(dep, c)
				_, _, ok := equiSides(c, &lm, &rm)
				equi = equi || ok
			} else {
				on = append(on, c)
			}
		}
		if p, all, uses := o.lookupPath(s, dep); uses {
			out := o.rows(j)
			other := o.scanCost(s)
			switch {
			case equi && j.Kind == InnerJoin:
				other += hashCost(math.Max(leftRows, j.rightRows), math.Min(leftRows, j.rightRows), out)
			case equi:
				other += hashCost(leftRows, j.rightRows, out)
			default:
				other += loopCost(leftRows, j.rightRows, out)
			}
			if leftRows*lookupCost(p, j.Kind)+out*costOut < other {
				s.apply(p, all)
				j.Method, j.Lateral = NestedLoop, true
				j.On = on
				if p.point && p.in == nil {
					j.Method = LookupJoin
				}
				// Conditions moved into the scan; what its span does not cover it filters itself.
				return j
			}
		}
	}
	if a, ok := j.Right.(*Append); ok && o.appendLookup(j, a, leftRows) {
		return j
	}
	j.Right = o.physical(j.Right)
	rm = made(j.Right)
	if !j.Lateral {
		var rest []Expr
		for _, c := range j.On {
			l, r, ok := equiSides(c, &lm, &rm)
			if ok && joinableTypes(l.Type(), r.Type()) {
				j.LeftKeys, j.RightKeys = append(j.LeftKeys, l), append(j.RightKeys, r)
			} else {
				rest = append(rest, c)
			}
		}
		if len(j.LeftKeys) > 0 && o.mergeJoin(j, rest) {
			return j
		}
		if len(j.LeftKeys) > 0 {
			j.Method, j.On = HashJoin, rest
			// The smaller side is the one to be kept in memory.
			if j.Kind == InnerJoin && leftRows < j.rightRows*0.8 && scanOrderFree(j.Left) {
				j.rightRows = leftRows
				j.Left, j.Right = j.Right, j.Left
				j.LeftKeys, j.RightKeys = j.RightKeys, j.LeftKeys
			}
			return j
		}
		j.Memo = true
		if j.Kind == InnerJoin && leftRows < j.rightRows*0.2 && scanOrderFree(j.Left) {
			j.rightRows = leftRows
			j.Left, j.Right = j.Right, j.Left
		}
	}
	j.Method = NestedLoop
	return j
}

// mergeJoin makes a join by equality a merge join if both sides come in the order of one of the keys anyway and that
// costs less than a hash table. Other equalities are tested on the rows that agree in that key, so on one side it
// must be unique.
func (o *optimizer) mergeJoin(j *Join, rest []Expr) bool {
	if j.Kind == FullJoin || !freshRows(j.Right) {
		return false
	}
	out := o.rows(j)
	l, r := o.rows(j.Left), j.rightRows
	hash := hashCost(l, r, out)
	if j.Kind == InnerJoin {
		hash = hashCost(math.Max(l, r), math.Min(l, r), out)
	}
	if (l+r)*costMerge+out*costOut >= hash {
		return false
	}
	for i := range j.LeftKeys {
		lk, rk := j.LeftKeys[i], j.RightKeys[i]
		lc, ok1 := stripCast(lk).(*Col)
		rc, ok2 := stripCast(rk).(*Col)
		if !ok1 || !ok2 || lk.Type().BaseType().OID != rk.Type().BaseType().OID && !numericKinds(lk.Type(), rk.Type()) {
			continue
		}
		var lu, ru slotSet
		lu.add(lc.Slot)
		ru.add(rc.Slot)
		if len(j.LeftKeys) > 1 && !uniqueOn(j.Left, &lu) && !uniqueOn(j.Right, &ru) {
			continue
		}
		ls, rs := scanBelow(j.Left), scanBelow(j.Right)
		if !o.comesIn(ls, j.Left, lk) || !o.comesIn(rs, j.Right, rk) {
			continue
		}
		ls.Ordered, rs.Ordered = true, true
		for k := range j.LeftKeys {
			if k == i {
				continue
			}
			for _, c := range j.joinConds {
				if f, ok := c.(*Func); ok && f.Cmp() == builtin.CmpEQ && len(f.Args) == 2 &&
					(f.Args[0] == j.LeftKeys[k] && f.Args[1] == j.RightKeys[k] || f.Args[1] == j.LeftKeys[k] && f.Args[0] == j.RightKeys[k]) {
					rest = append(rest, c)
				}
			}
		}
		j.Method, j.On = MergeJoin, rest
		j.LeftKeys, j.RightKeys = []Expr{lk}, []Expr{rk}
		return true
	}
	return false
}

// comesIn reports whether n's rows come in ascending order of key as the scan below reads them now.
func (o *optimizer) comesIn(s *Scan, n Node, key Expr) bool {
	if s == nil || s.Table.Kind != BaseTable || s.Index == nil || s.Reverse {
		return false
	}
	below := sortKeysBelow(n, []SortKey{{E: key}})
	if below == nil {
		return false
	}
	ok, rev := o.provides(s, &path{ix: s.Index, eq: s.Eq, in: s.In, point: s.Point}, below, multiplies(n))
	return ok && !rev
}

// freshRows reports whether a node fills all its slots anew with each row, whatever has been written to them since.
func freshRows(n Node) bool {
	switch x := n.(type) {
	case *Scan:
		return true
	case *Filter:
		return freshRows(x.Input)
	case *Project:
		return freshRows(x.Input)
	}
	return false
}

// scanOrderFree reports whether nothing above relies on the order of n's rows; joins are made before
// sorts look for order, so nothing does yet.
func scanOrderFree(Node) bool { return true }

// joinableTypes reports whether values of two types that are equal hash alike.
func joinableTypes(l, r *types.T) bool {
	return (l.BaseType().OID == r.BaseType().OID || keyFamily(l, r) || numericKinds(l, r)) && hashableType(l)
}

func numericKinds(a, b *types.T) bool {
	return a.BaseType().Kind == types.KindInt && b.BaseType().Kind == types.KindInt
}

func hashableType(t *types.T) bool {
	switch t.BaseType().OID {
	case types.OIDJSON, types.OIDXML:
		return false
	}
	return true
}

// prune removes columns nobody reads and tells nodes that store rows which slots to store. need are the
// slots read above n.
func (o *optimizer) prune(n Node, need *slotSet) {
	all := need.clone()
	n.exprs(func(e *Expr) { exprSlots(*e, &all) })
	switch x := n.(type) {
	case *Scan:
		if x.allCols == nil {
			x.allCols = x.Cols
		}
		var cols []ScanCol
		for _, c := range x.allCols {
			if all.has(c.Slot) || x.Target {
				cols = append(cols, c)
			}
		}
		x.Cols = cols
		if x.Index != nil {
			x.IndexOnly = x.Index != x.Table.Primary && x.covers(x.Index)
		}
		return
	case *Project:
		var es []Expr
		var sl []Slot
		for i := range x.Slots {
			if need.has(x.Slots[i]) || isVolatile(x.Exprs[i]) {
				es, sl = append(es, x.Exprs[i]), append(sl, x.Slots[i])
			}
		}
		x.Exprs, x.Slots = es, sl
		all = need.clone()
		n.exprs(func(e *Expr) { exprSlots(*e, &all) })
		o.prune(x.Input, &all)
		return
	case *Append:
		for _, k := range x.Kids {
			var own slotSet
			for i := range k.Exprs {
				if k.Exprs[i] == nil {
					continue
				}
				if !need.has(x.Slots[i]) {
					k.Exprs[i] = nil
					continue
				}
				exprSlots(k.Exprs[i], &own)
			}
			if need.has(x.RowID) {
				exprSlots(k.RowID, &own)
			}
			if !need.has(x.TID) {
				k.TID = nil
			} else {
				exprSlots(k.TID, &own)
			}
			for _, e := range k.Extra {
				exprSlots(e, &own)
			}
			for _, e := range k.Keys {
				exprSlots(e, &own)
			}
			// Conditions of the kid may read what stands above it.
			outer := need.clone()
			own.union(&outer)
			o.prune(k.Input, &own)
		}
		return
	case *Join:
		// A lateral right side reads slots of the left.
		free := freeSlots(x.Right, nil)
		all.union(&free)
		o.prune(x.Left, &all)
		o.prune(x.Right, &all)
		lm, rm := made(x.Left), made(x.Right)
		x.KeepLeft, x.KeepRight = intersect(&lm, &all), intersect(&rm, &all)
		x.NullRight, x.NullLeft = x.KeepRight, x.KeepLeft
		return
	case *Sort:
		o.prune(x.Input, &all)
		m := made(x.Input)
		x.Keep = intersect(&m, need)
		return
	case *Limit:
		o.prune(x.Input, &all)
		return
	case *Distinct:
		o.prune(x.Input, &all)
		m := made(x.Input)
		x.Keep = intersect(&m, need)
		return
	case *Window:
		o.prune(x.Input, &all)
		m := made(x.Input)
		x.Keep = intersect(&m, &all)
		return
	case *Agg:
		var inner slotSet
		n.exprs(func(e *Expr) { exprSlots(*e, &inner) })
		// What subqueries above read of groups is in need already.
		outer := need.clone()
		inner.union(&outer)
		o.prune(x.Input, &inner)
		return
	case *SetOp:
		o.prune(x.Left, &all)
		o.prune(x.Right, &all)
		return
	case *With:
		for _, c := range x.CTEs {
			var q slotSet
			for _, e := range c.Out {
				exprSlots(e, &q)
			}
			o.prune(c.Query, &q)
			if c.Step != nil {
				var st slotSet
				for _, e := range c.StepOut {
					exprSlots(e, &st)
				}
				o.prune(c.Step, &st)
			}
		}
		o.prune(x.Input, need)
		return
	case *LockRows:
		for _, t := range x.Targets {
			for _, s := range t.PK {
				all.add(s)
			}
			t.Scan.Target = true
			for _, c := range t.Scan.allCols {
				all.add(c.Slot)
			}
		}
		o.prune(x.Input, &all)
		m := made(x.Input)
		x.Keep = intersect(&m, &all)
		return
	case *Insert:
		o.prune(x.Input, &all)
		m := made(x.Input)
		x.Keep = intersect(&m, &all)
		x.Stream = !readsTable(x, x.Target.Table, nil) && !x.Target.Table.RowTriggers()
		return
	case *Update:
		x.Target.readsOld(&all)
		o.prune(x.Input, &all)
		m := made(x.Input)
		x.Keep = intersect(&m, &all)
		x.Scan = targetScan(x.Input, x.Target)
		x.Stream = !x.Joined && !readsTable(x, x.Target.Table, x.Scan) && !movesRow(x) && !x.Target.Table.RowTriggers()
		return
	case *Delete:
		x.Target.readsOld(&all)
		o.prune(x.Input, &all)
		m := made(x.Input)
		x.Keep = intersect(&m, &all)
		x.Scan = targetScan(x.Input, x.Target)
		x.Stream = !x.Joined && !readsTable(x, x.Target.Table, x.Scan) && !x.Target.Table.RowTriggers()
		return
	case *Merge:
		x.Target.readsOld(&all)
		o.prune(x.Input, &all)
		return
	}
	n.inputs(func(c *Node) { o.prune(*c, &all) })
}

func (o *optimizer) pruneSub(s *Subquery) {
	var need slotSet
	for _, e := range s.Out {
		exprSlots(e, &need)
	}
	o.prune(s.Root, &need)
}

func intersect(a, b *slotSet) []Slot {
	var out []Slot
	for _, s := range a.list() {
		if b.has(s) {
			out = append(out, s)
		}
	}
	return out
}

// number gives every node its place in the run-time statistics.
func (o *optimizer) number(n Node) {
	o.b.nodeIDs++
	n.Base().ID = o.b.nodeIDs
	if s, ok := n.(*Scan); ok && s.Bitmap != nil {
		s.Bitmap.number(func() int { o.b.nodeIDs++; return o.b.nodeIDs })
	}
	n.inputs(func(c *Node) { o.number(*c) })
	n.exprs(func(e *Expr) { o.numberSubs(*e) })
}

// numberSubs numbers the nodes of an expression's subqueries.
func (o *optimizer) numberSubs(e Expr) {
	walkExpr(e, func(x Expr) bool {
		if s, ok := x.(*Subquery); ok && s.Root.Base().ID == 0 {
			o.number(s.Root)
			if s.Batch != nil {
				o.number(s.Batch.All.Root)
			}
		}
		return true
	})
}

// targetScan finds the scan that fills the old row of a write.
func targetScan(n Node, t *WriteTarget) *Scan {
	if s, ok := n.(*Scan); ok {
		if s.Target && len(s.allCols) > 0 && s.allCols[0].Slot == t.Old[0] {
			return s
		}
		return nil
	}
	var found *Scan
	n.inputs(func(c *Node) {
		if s := targetScan(*c, t); s != nil {
			found = s
		}
	})
	return found
}

// readsTable reports whether anything below n, or in its expressions, reads a table other than through
// except. Tables with foreign keys or triggers of their own count as read.
func readsTable(n Node, t *Table, except *Scan) bool {
	found := false
	var node func(Node)
	expr := func(e *Expr) {
		walkExpr(*e, func(x Expr) bool {
			if s, ok := x.(*Subquery); ok {
				node(s.Root)
			}
			return !found
		})
	}
	node = func(n Node) {
		switch s := n.(type) {
		case *Scan:
			found = found || s != except && s.Table.shares(t)
		case *Append:
			found = found || s.Table.shares(t)
		case *CTEScan:
			found = true
		}
		n.exprs(expr)
		n.inputs(func(c *Node) { node(*c) })
	}
	node(n)
	return found
}

// movesRow reports whether an update may put a row, or an entry of the index it is found by, where the scan
// has yet to come.
func movesRow(u *Update) bool {
	if u.Scan == nil {
		return true
	}
	cols := map[int]bool{}
	for _, ix := range []*Index{u.Scan.Index, u.Target.Table.Primary} {
		if ix == nil {
			continue
		}
		if ix != u.Target.Table.Primary && (ix.Where != nil || len(ix.Include) > 0) {
			return true
		}
		for _, k := range ix.Keys {
			if k.Col < 0 {
				return true
			}
			cols[k.Col] = true
		}
	}
	for _, s := range u.Set {
		if cols[s.Ord] {
			return true
		}
	}
	for _, g := range u.Target.Generated {
		if cols[g.Ord] {
			return true
		}
	}
	return false
}

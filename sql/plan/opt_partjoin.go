package plan

import "math"

// appendLookup makes a join find the right rows of each left row by way of the indexes of a table's partitions, in
// those that can have any, if that costs less than reading all of them.
func (o *optimizer) appendLookup(j *Join, a *Append, leftRows float64) bool {
	if j.Lateral || j.Kind == FullJoin || !a.expanded || len(a.Kids) == 0 || a.Lock != LockDefault || a.Target || a.Order != nil {
		return false
	}
	lm, rm := made(j.Left), made(a)
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
	paths := make([]*path, len(a.Kids))
	conds := make([][]Expr, len(a.Kids))
	sum, most, other := 0.0, 0.0, 0.0
	for i, k := range a.Kids {
		s, ok := k.Input.(*Scan)
		if !ok || s.Index != nil {
			return false
		}
		sub := make([]Expr, len(dep))
		for n, c := range dep {
			if sub[n], ok = substitute(c, a.Slots, k.Exprs); !ok {
				return false
			}
		}
		p, all, uses := o.lookupPath(s, sub)
		if !uses {
			return false
		}
		paths[i], conds[i] = p, all
		// Each left row is looked up by itself, not in a batch of them.
		c := lookupCost(p, j.Kind) + costScanStart
		sum, most = sum+c, math.Max(most, c)
		other += o.scanCost(s)
	}
	levels := o.levels(a, dep)
	each := sum
	if o.onePartition(levels[0]) {
		each = most
	}
	out := o.rows(j)
	switch {
	case equi && j.Kind == InnerJoin:
		other += hashCost(math.Max(leftRows, j.rightRows), math.Min(leftRows, j.rightRows), out)
	case equi:
		other += hashCost(leftRows, j.rightRows, out)
	default:
		other += loopCost(leftRows, j.rightRows, out)
	}
	if leftRows*each+out*costOut >= other {
		return false
	}
	for i, k := range a.Kids {
		k.Input.(*Scan).apply(paths[i], conds[i])
	}
	// What left partitions out for parameters does so still.
	if a.Levels != nil {
		for i, l := range levels {
			for k := range l.Conds {
				l.Conds[k] = append(l.Conds[k], a.Levels[i].Conds[k]...)
			}
		}
	}
	a.Levels = levels
	j.Method, j.Lateral, j.On = NestedLoop, true, on
	return true
}

// onePartition reports whether the conditions on a level's keys leave one partition, about.
func (o *optimizer) onePartition(l *PartLevel) bool {
	for _, list := range l.Conds {
		eq := false
		for _, c := range list {
			eq = eq || len(c.In) == 1 && !c.InArray
		}
		if !eq {
			return false
		}
	}
	return true
}

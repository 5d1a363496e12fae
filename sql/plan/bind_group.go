package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// groupBy binds GROUP BY. sets is nil without grouping sets.
func (s *scope) groupBy(st *ast.SelectStmt, targets []target) (groups []Expr, sets [][]int, err error) {
	if len(st.GroupBy) == 0 {
		return nil, nil, nil
	}
	g := s.in("GROUP BY", true, true, true)
	add := func(e ast.Expr) (int, error) {
		x, err := g.groupTarget(e, targets)
		if err != nil {
			return 0, err
		}
		if err := s.b.sortable(x.Type(), e.Position(), "equality"); err != nil {
			return 0, err
		}
		for i, o := range groups {
			if sameExpr(o, x) {
				return i, nil
			}
		}
		groups = append(groups, x)
		return len(groups) - 1, nil
	}
	// elems binds the expressions of one item: (a, b) is two.
	elems := func(e ast.Expr) ([]int, error) {
		list := []ast.Expr{e}
		if r, ok := e.(*ast.RowExpr); ok && !r.Explicit {
			list = r.Args
		}
		var out []int
		for _, x := range list {
			i, err := add(x)
			if err != nil {
				return nil, err
			}
			out = append(out, i)
		}
		return out, nil
	}
	var expand func(it ast.GroupItem) ([][]int, error)
	expand = func(it ast.GroupItem) ([][]int, error) {
		switch it.Kind {
		case ast.GroupExpr:
			e, err := elems(it.Expr)
			return [][]int{e}, err
		case ast.GroupEmpty:
			return [][]int{nil}, nil
		case ast.GroupSets:
			var out [][]int
			for _, sub := range it.Sets {
				x, err := expand(sub)
				if err != nil {
					return nil, err
				}
				out = append(out, x...)
			}
			return out, nil
		}
		var parts [][]int
		for _, sub := range it.Sets {
			x, err := expand(sub)
			if err != nil {
				return nil, err
			}
			parts = append(parts, x[0])
		}
		var out [][]int
		if it.Kind == ast.GroupRollup {
			for n := len(parts); n >= 0; n-- {
				var set []int
				for _, p := range parts[:n] {
					set = append(set, p...)
				}
				out = append(out, set)
			}
			return out, nil
		}
		if len(parts) > 12 {
			return nil, errAt(it.Off, pgerr.TooManyColumns, "CUBE is limited to 12 elements")
		}
		for m := 1<<len(parts) - 1; m >= 0; m-- {
			var set []int
			for i, p := range parts {
				if m&(1<<(len(parts)-1-i)) != 0 {
					set = append(set, p...)
				}
			}
			out = append(out, set)
		}
		return out, nil
	}
	plain := true
	cross := [][]int{nil}
	for _, it := range st.GroupBy {
		x, err := expand(it)
		if err != nil {
			return nil, nil, err
		}
		plain = plain && it.Kind == ast.GroupExpr
		var next [][]int
		for _, a := range cross {
			for _, b := range x {
				next = append(next, append(append([]int(nil), a...), b...))
			}
		}
		if len(next) > 4096 {
			return nil, nil, errAt(it.Off, pgerr.StatementTooComplex, "too many grouping sets present (maximum 4096)")
		}
		cross = next
	}
	if plain {
		if len(groups) == 0 {
			s.q.hasAgg = true
		}
		return groups, nil, nil
	}
	if st.GroupDistinct {
		var uniq [][]int
		seen := map[string]bool{}
		for _, c := range cross {
			var m [64]byte
			for _, i := range c {
				m[i%64] = 1
			}
			if !seen[string(m[:])] {
				seen[string(m[:])] = true
				uniq = append(uniq, c)
			}
		}
		cross = uniq
	}
	return groups, cross, nil
}

// groupTarget binds one GROUP BY expression: a column of the input before a target's name.
func (s *scope) groupTarget(e ast.Expr, targets []target) (Expr, error) {
	var x Expr
	switch r := e.(type) {
	case *ast.Const:
		var err error
		if x, err = s.ordinal(r, targets, "GROUP BY"); err != nil {
			return nil, err
		}
	case *ast.ColumnRef:
		if len(r.Fields) == 1 && !r.Star {
			c, _, err := s.bare(r.Fields[0], r.Off)
			if err != nil {
				return nil, err
			}
			if c == nil {
				for i := range targets {
					if targets[i].label == r.Fields[0] {
						if x != nil && !sameExpr(x, targets[i].expr) {
							return nil, errAt(r.Off, pgerr.AmbiguousColumn, "GROUP BY %q is ambiguous", r.Fields[0])
						}
						targets[i].expr = s.b.settle(targets[i].expr)
						x = targets[i].expr
					}
				}
			}
		}
	}
	if x == nil {
		var err error
		if x, err = s.expr(e); err != nil {
			return nil, err
		}
		return s.b.settle(x), nil
	}
	// A target used as a group must not contain aggregates.
	for _, a := range s.q.aggs {
		var used slotSet
		if exprSlots(x, &used); used.has(a.Slot) {
			return nil, errAt(e.Position(), pgerr.GroupingError, "aggregate functions are not allowed in GROUP BY")
		}
	}
	for _, w := range s.q.windows {
		for _, f := range w.funcs {
			var used slotSet
			if exprSlots(x, &used); used.has(f.Slot) {
				return nil, errAt(e.Position(), pgerr.WindowingError, "window functions are not allowed in GROUP BY")
			}
		}
	}
	return x, nil
}

// aggregateNode finishes a grouping: expressions above it may only use groups and aggregates.
func (s *scope) aggregateNode(agg *Agg, targets []target, having *Expr, keys []SortKey, on []Expr) (Node, error) {
	b := s.b
	for _, g := range agg.Group {
		if c, ok := g.(*Col); ok {
			// The group's value takes the column's own slot, so that subqueries find it there.
			agg.GroupSlots = append(agg.GroupSlots, c.Slot)
			continue
		}
		agg.GroupSlots = append(agg.GroupSlots, b.newSlot())
	}
	if agg.Sets != nil {
		agg.GroupingSlot = b.newSlot()
	}
	input := made(agg.Input)
	var ok slotSet
	for _, sl := range agg.GroupSlots {
		ok.add(sl)
	}
	c := &groupCheck{s: s, agg: agg, input: input, ok: ok}
	if err := c.groupings(); err != nil {
		return nil, err
	}
	var err error
	for _, a := range s.q.aggs {
		// Direct arguments are evaluated once for the group.
		for _, x := range a.Args[:a.Direct] {
			if _, err = c.rewrite(x, -1); pgerr.Code(err) == pgerr.GroupingError {
				e, _ := err.(*pgerr.Error)
				return nil, e.WithDetail("Direct arguments of an ordered-set aggregate must use only grouped columns.")
			} else if err != nil {
				return nil, err
			}
		}
	}
	for i := range targets {
		if targets[i].expr, err = c.rewrite(targets[i].expr, targets[i].pos); err != nil {
			return nil, err
		}
	}
	if *having != nil {
		if *having, err = c.rewrite(*having, -1); err != nil {
			return nil, err
		}
	}
	for i := range keys {
		if keys[i].E, err = c.rewrite(keys[i].E, -1); err != nil {
			return nil, err
		}
	}
	for i := range on {
		if on[i], err = c.rewrite(on[i], -1); err != nil {
			return nil, err
		}
	}
	for _, w := range s.q.windows {
		for i := range w.partition {
			if w.partition[i], err = c.rewrite(w.partition[i], -1); err != nil {
				return nil, err
			}
		}
		for i := range w.order {
			if w.order[i].E, err = c.rewrite(w.order[i].E, -1); err != nil {
				return nil, err
			}
		}
		for _, f := range w.funcs {
			for i := range f.Args {
				if f.Args[i], err = c.rewrite(f.Args[i], -1); err != nil {
					return nil, err
				}
			}
			if f.Filter != nil {
				if f.Filter, err = c.rewrite(f.Filter, -1); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, f := range s.q.srfs {
		for i := range f.Args {
			if f.Args[i], err = c.rewrite(f.Args[i], -1); err != nil {
				return nil, err
			}
		}
	}
	// Slots of grouped columns that a grouping set leaves out are NULL there: Agg.produces says so.
	return agg, nil
}

// groupCheck rewrites expressions above a grouping.
type groupCheck struct {
	s     *scope
	agg   *Agg
	input slotSet // what the grouping's input produces
	ok    slotSet // of those, what survives it
}

// groupings computes the masks of GROUPING().
func (c *groupCheck) groupings() error {
	for _, g := range c.s.q.grouping {
		sets := c.agg.Sets
		if sets == nil {
			all := make([]int, len(c.agg.Group))
			for i := range all {
				all[i] = i
			}
			sets = [][]int{all}
		}
		g.st.slot = c.agg.GroupingSlot
		for _, set := range sets {
			mask := int64(0)
			for _, a := range g.args {
				i := -1
				for k, e := range c.agg.Group {
					if sameExpr(e, a) {
						i = k
					}
				}
				if i < 0 {
					return errAt(g.pos, pgerr.GroupingError, "arguments to GROUPING must be grouping expressions of the associated query level")
				}
				mask <<= 1
				in := false
				for _, k := range set {
					in = in || k == i
				}
				if !in {
					mask |= 1
				}
			}
			g.st.masks = append(g.st.masks, mask)
		}
	}
	return nil
}

// rewrite replaces grouping expressions by their slots and reports columns that are neither grouped nor
// aggregated.
func (c *groupCheck) rewrite(e Expr, pos int32) (Expr, error) {
	for i, g := range c.agg.Group {
		if sameExpr(g, e) {
			if col, ok := g.(*Col); ok {
				return col, nil
			}
			return &Col{Slot: c.agg.GroupSlots[i], T: g.Type(), Name: exprName(g), Pos: -1}, nil
		}
	}
	switch x := e.(type) {
	case *Col:
		if !c.input.has(x.Slot) || c.ok.has(x.Slot) {
			return e, nil
		}
		return e, c.ungrouped(x, x.Pos)
	case *CTID:
		for _, k := range x.Keys {
			col, ok := k.(*Col)
			if !ok || !c.input.has(col.Slot) || c.ok.has(col.Slot) {
				continue
			}
			if err := c.ungrouped(col, x.Pos); err != nil {
				_, rel := c.colName(col.Slot)
				return nil, errUngrouped(rel+".ctid", x.Pos)
			}
		}
		return e, nil
	case *Subquery:
		var used slotSet
		exprSlots(e, &used)
		for _, sl := range used.list() {
			if c.input.has(sl) && !c.ok.has(sl) {
				name, rel := c.colName(sl)
				col := &Col{Slot: sl, Name: name, Rel: rel}
				if err := c.ungrouped(col, -2); err != nil {
					return nil, err
				}
			}
		}
	}
	var err error
	out := e.copy()
	i := 0
	out.kids(func(k *Expr) {
		if err == nil {
			*k, err = c.rewrite(*k, pos)
		}
		i++
	})
	if err != nil {
		return nil, err
	}
	if i == 0 {
		return e, nil
	}
	return out, nil
}

// ungrouped decides about a column that is not grouped: it may depend on a grouped primary key, or is an
// error.
func (c *groupCheck) ungrouped(x *Col, pos int32) error {
	name, rel := c.colName(x.Slot)
	for _, it := range c.s.items {
		t := it.rel.table
		if t == nil || t.Primary == nil || it.rel.scan == nil || c.agg.Sets != nil {
			continue
		}
		mine := false
		for _, sc := range it.rel.scan.Cols {
			mine = mine || sc.Slot == x.Slot
		}
		if !mine {
			continue
		}
		all := true
		for _, k := range t.Primary.Keys {
			in := false
			for _, sc := range it.rel.scan.Cols {
				in = in || sc.Ord == k.Col && c.ok.has(sc.Slot)
			}
			all = all && in && !t.Columns[k.Col].Hidden
		}
		if all {
			c.agg.Group = append(c.agg.Group, &Col{Slot: x.Slot, T: x.T, Name: name, Rel: rel, Pos: -1})
			if x.T == nil {
				for _, sc := range it.rel.scan.Cols {
					if sc.Slot == x.Slot {
						c.agg.Group[len(c.agg.Group)-1].(*Col).T = t.Columns[sc.Ord].T
					}
				}
			}
			c.agg.GroupSlots = append(c.agg.GroupSlots, x.Slot)
			c.ok.add(x.Slot)
			return nil
		}
	}
	full := name
	if rel != "" {
		full = rel + "." + name
	}
	if pos == -2 {
		return errAt(-1, pgerr.GroupingError, "subquery uses ungrouped column %q from outer query", full)
	}
	return errUngrouped(full, pos)
}

func errUngrouped(column string, pos int32) error {
	return errAt(pos, pgerr.GroupingError, "column %q must appear in the GROUP BY clause or be used in an aggregate function", column)
}

func (c *groupCheck) colName(sl Slot) (name, rel string) {
	for _, it := range c.s.items {
		for _, rc := range it.rel.cols {
			if col, ok := rc.expr.(*Col); ok && col.Slot == sl {
				return rc.name, it.rel.alias
			}
		}
	}
	return "?column?", ""
}

// exprName is a short name for EXPLAIN.
func exprName(e Expr) string {
	switch x := e.(type) {
	case *Col:
		return x.Name
	case *Func:
		return x.Name
	}
	return "?column?"
}

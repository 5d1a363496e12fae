package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// outCol is a column of a bound query.
type outCol struct {
	name   string
	expr   Expr
	table  uint32
	attnum int16
}

// bound is a bound query: a plan and the expressions over its slots that are its columns.
type bound struct {
	node Node
	cols []outCol
}

// selectStmt binds a SELECT, VALUES or set operation in a scope made for it.
func (s *scope) selectStmt(st *ast.SelectStmt) (*bound, error) {
	b := s.b
	b.depth += 10
	defer func() { b.depth -= 10 }()
	if b.depth > b.maxDepth {
		return nil, pgerr.New(pgerr.StatementTooComplex, "stack depth limit exceeded")
	}
	var with *With
	if st.With != nil {
		var err error
		if with, err = s.with(st.With); err != nil {
			return nil, err
		}
	}
	var q *bound
	var err error
	switch {
	case st.Op != ast.SetNone:
		q, err = s.setOp(st)
	case st.Values != nil:
		q, err = s.values(st)
	default:
		q, err = s.plainSelect(st)
	}
	if err != nil {
		return nil, err
	}
	if with != nil {
		with.Input = q.node
		q.node = with
	}
	return q, nil
}

func (s *scope) plainSelect(st *ast.SelectStmt) (*bound, error) {
	b := s.b
	if st.Into != nil && s.parent != nil {
		return nil, errAt(st.Into.Table.Position(), pgerr.SyntaxError, "SELECT ... INTO is not allowed here")
	}
	node, err := s.from(st.From)
	if err != nil {
		return nil, err
	}
	q := s.q
	q.named = map[string]*ast.WindowDef{}
	for _, w := range st.Windows {
		if q.named[w.Name] != nil {
			return nil, errAt(w.Off, pgerr.WindowingError, "window %q is already defined", w.Name)
		}
		q.named[w.Name] = w
	}
	if st.Where != nil {
		c, err := s.in("WHERE", true, true, true).condition(st.Where, "WHERE")
		if err != nil {
			return nil, err
		}
		node = &Filter{Input: node, Conds: conjuncts(c)}
	}
	targets, err := s.in("SELECT", false, false, false).targets(st.Targets)
	if err != nil {
		return nil, err
	}
	// ORDER BY, GROUP BY and DISTINCT ON may name targets; what does not becomes an expression.
	groups, sets, err := s.groupBy(st, targets)
	if err != nil {
		return nil, err
	}
	var having Expr
	if st.Having != nil {
		q.hasAgg = true
		if having, err = s.in("HAVING", false, true, true).condition(st.Having, "HAVING"); err != nil {
			return nil, err
		}
	}
	var keys []SortKey
	for _, o := range st.OrderBy {
		x, err := s.sortTarget(o.Expr, targets, "ORDER BY")
		if err != nil {
			return nil, err
		}
		k, err := b.sortKey(o, x)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	var on []Expr
	for _, e := range st.DistinctOn {
		x, err := s.sortTarget(e, targets, "DISTINCT ON")
		if err != nil {
			return nil, err
		}
		if err := b.sortable(x.Type(), e.Position(), "equality"); err != nil {
			return nil, err
		}
		on = append(on, x)
	}
	for i := range targets {
		if i < len(s.hint) && s.hint[i] != nil && isUnknown(targets[i].expr) {
			if targets[i].expr, err = b.coerce(targets[i].expr, s.hint[i], builtin.CastAssignment, targets[i].pos); err != nil {
				return nil, err
			}
		}
		if !s.keepUnknown || st.Distinct {
			targets[i].expr = b.settle(targets[i].expr)
		}
	}

	// Aggregation.
	if q.hasAgg || len(groups) > 0 || sets != nil {
		agg := &Agg{Input: node, Aggs: q.aggs, Group: groups, Sets: sets, GroupingSlot: -1}
		if node, err = s.aggregateNode(agg, targets, &having, keys, on); err != nil {
			return nil, err
		}
	}
	if having != nil {
		node = &Filter{Input: node, Conds: conjuncts(having)}
	}
	for _, w := range q.windows {
		node = windowNode(node, w)
	}
	if len(q.srfs) > 0 {
		node = b.projectSets(node, q.srfs)
	}

	if len(st.Locking) > 0 {
		switch {
		case st.Distinct:
			return nil, pgerr.Unsupported("%s is not allowed with DISTINCT clause", lockName(st.Locking[0].Strength))
		case len(groups) > 0 || sets != nil:
			return nil, pgerr.Unsupported("%s is not allowed with GROUP BY clause", lockName(st.Locking[0].Strength))
		case having != nil:
			return nil, pgerr.Unsupported("%s is not allowed with HAVING clause", lockName(st.Locking[0].Strength))
		case q.hasAgg:
			return nil, pgerr.Unsupported("%s is not allowed with aggregate functions", lockName(st.Locking[0].Strength))
		case len(q.windows) > 0:
			return nil, pgerr.Unsupported("%s is not allowed with window functions", lockName(st.Locking[0].Strength))
		case len(q.srfs) > 0:
			return nil, pgerr.Unsupported("%s is not allowed with set-returning functions in the target list", lockName(st.Locking[0].Strength))
		}
	}

	// Targets that something below the output needs are computed once, into slots.
	if st.Distinct || len(keys) > 0 {
		node = s.materialize(node, targets, keys, on, st.Distinct)
	}
	switch {
	case st.Distinct && len(on) == 0:
		dk := make([]Expr, len(targets))
		for i, t := range targets {
			if err := b.sortable(t.expr.Type(), t.pos, "equality"); err != nil {
				return nil, err
			}
			dk[i] = t.expr
		}
		for i, k := range keys {
			found := false
			for _, d := range dk {
				found = found || sameExpr(d, k.E)
			}
			if !found {
				return nil, errAt(st.OrderBy[i].Expr.Position(), pgerr.InvalidColumnReference, "for SELECT DISTINCT, ORDER BY expressions must appear in select list")
			}
		}
		node = &Distinct{Input: node, Keys: dk}
		if len(keys) > 0 {
			node = &Sort{Input: node, Keys: keys}
		}
	case len(on) > 0:
		// The leading sort keys must be the DISTINCT ON expressions, in any order.
		all := append([]SortKey(nil), keys...)
		for i, k := range keys {
			if i >= len(on) {
				break
			}
			if !containsExpr(on, k.E) {
				// fewer keys than expressions is fine, other keys in between are not
				return nil, errAt(st.DistinctOn[0].Position(), pgerr.InvalidColumnReference, "SELECT DISTINCT ON expressions must match initial ORDER BY expressions")
			}
		}
		lead := min(len(on), len(keys))
		var pre []SortKey
		pre = append(pre, all[:lead]...)
		for _, x := range on {
			has := false
			for _, k := range pre {
				has = has || sameExpr(k.E, x)
			}
			if !has {
				pre = append(pre, SortKey{E: x})
			}
		}
		node = &Sort{Input: node, Keys: append(pre, all[lead:]...)}
		node = &Distinct{Input: node, Keys: on, Sorted: true}
	case len(keys) > 0:
		node = &Sort{Input: node, Keys: keys}
	}
	if len(st.Locking) > 0 {
		if node, err = s.locking(st, node); err != nil {
			return nil, err
		}
	}
	if node, err = s.limit(st, node, keys); err != nil {
		return nil, err
	}
	out := &bound{node: node}
	for _, t := range targets {
		c := t.outCol
		c.name = t.label
		out.cols = append(out.cols, c)
	}
	return out, nil
}

func containsExpr(es []Expr, e Expr) bool {
	for _, x := range es {
		if sameExpr(x, e) {
			return true
		}
	}
	return false
}

// materialize computes targets that a sort or DISTINCT looks at, so that they are computed once.
func (s *scope) materialize(node Node, targets []target, keys []SortKey, on []Expr, distinct bool) Node {
	p := &Project{Input: node}
	replace := func(e Expr) Expr {
		for i, x := range p.Exprs {
			if sameExpr(x, e) {
				return &Col{Slot: p.Slots[i], T: x.Type(), Name: "?column?", Pos: -1}
			}
		}
		return nil
	}
	add := func(e Expr) Expr {
		switch e.(type) {
		case *Col, *Const, *Param:
			return e
		}
		if r := replace(e); r != nil {
			return r
		}
		sl := s.b.newSlot()
		p.Exprs = append(p.Exprs, e)
		p.Slots = append(p.Slots, sl)
		return &Col{Slot: sl, T: e.Type(), Name: exprName(e), Pos: -1}
	}
	for i, k := range keys {
		keys[i].E = add(k.E)
	}
	for i, e := range on {
		on[i] = add(e)
	}
	for i := range targets {
		t := &targets[i]
		if distinct && len(on) == 0 {
			t.expr = add(t.expr)
		} else if _, ok := t.expr.(*Col); !ok {
			// What no key needs is computed after the sort, as PostgreSQL does with volatile functions.
			if r := replace(t.expr); r != nil {
				t.expr = r
			}
		}
	}
	if len(p.Exprs) == 0 {
		return node
	}
	return p
}

// isVolatile reports whether an expression must be evaluated exactly once per row.
func isVolatile(e Expr) bool {
	v := false
	walkExpr(e, func(x Expr) bool {
		if f, ok := x.(*Func); ok && f.Call.Volatility == 'v' {
			v = true
		}
		return !v
	})
	return v
}

// sortTarget binds an entry of ORDER BY or DISTINCT ON: a target's name or number, or any expression.
func (s *scope) sortTarget(e ast.Expr, targets []target, clause string) (Expr, error) {
	if r, ok := e.(*ast.ColumnRef); ok && len(r.Fields) == 1 && !r.Star {
		var found Expr
		for i := range targets {
			if targets[i].label == r.Fields[0] {
				x := s.b.settle(targets[i].expr)
				targets[i].expr = x
				if found != nil && !sameExpr(found, x) {
					return nil, errAt(r.Off, pgerr.AmbiguousColumn, "%s %q is ambiguous", clause, r.Fields[0])
				}
				found = x
			}
		}
		if found != nil {
			return found, nil
		}
	}
	if c, ok := e.(*ast.Const); ok {
		return s.ordinal(c, targets, clause)
	}
	x, err := s.in(clause, false, false, false).expr(e)
	if err != nil {
		return nil, err
	}
	for i := range targets {
		if sameExpr(targets[i].expr, x) {
			targets[i].expr = s.b.settle(targets[i].expr)
			return targets[i].expr, nil
		}
	}
	return s.b.settle(x), nil
}

func (s *scope) ordinal(c *ast.Const, targets []target, clause string) (Expr, error) {
	if c.Kind != ast.ConstInt {
		return nil, errAt(c.Off, pgerr.SyntaxError, "non-integer constant in %s", clause)
	}
	if c.Int < 1 || c.Int > int64(len(targets)) {
		return nil, errAt(c.Off, pgerr.InvalidColumnReference, "%s position %d is not in select list", clause, c.Int)
	}
	t := &targets[c.Int-1]
	t.expr = s.b.settle(t.expr)
	return t.expr, nil
}

// limit adds OFFSET and LIMIT.
func (s *scope) limit(st *ast.SelectStmt, node Node, keys []SortKey) (Node, error) {
	if st.Limit == nil && st.Offset == nil {
		return node, nil
	}
	l := &Limit{Input: node, WithTies: st.WithTies}
	one := func(e ast.Expr, clause string) (Expr, error) {
		if e == nil {
			return nil, nil
		}
		c := s.in(clause, true, true, true)
		c.items = nil
		c.noColumns, c.colErr = "argument of "+clause+" must not contain variables", pgerr.InvalidColumnReference
		if s.parent != nil {
			// outer columns are allowed
			c.noColumns = ""
		}
		x, err := c.expr(e)
		if err != nil {
			return nil, err
		}
		if !isUnknown(x) && !builtin.CanCoerce(x.Type(), types.Int8, builtin.CastAssignment) {
			return nil, errAt(e.Position(), pgerr.DatatypeMismatch, "argument of %s must be type bigint, not type %s", clause, types.TypeName(x.Type()))
		}
		return s.b.coerce(x, types.Int8, builtin.CastAssignment, e.Position())
	}
	var err error
	if l.Offset, err = one(st.Offset, "OFFSET"); err != nil {
		return nil, err
	}
	if l.Count, err = one(st.Limit, "LIMIT"); err != nil {
		return nil, err
	}
	if st.WithTies {
		if len(keys) == 0 {
			return nil, pgerr.New(pgerr.SyntaxError, "WITH TIES cannot be specified without ORDER BY clause")
		}
		l.Keys = keys
	}
	if c, ok := l.Count.(*Const); ok && c.D.IsNull() {
		if lit, ok := st.Limit.(*ast.Const); ok && lit.Kind == ast.ConstNull && st.WithTies {
			return nil, pgerr.New(pgerr.InvalidRowCountInLimitClause, "row count cannot be null in FETCH FIRST ... WITH TIES clause")
		}
		l.Count = nil
	}
	if l.Count == nil && l.Offset == nil {
		return node, nil
	}
	return l, nil
}

// orderLimit adds ORDER BY and LIMIT over output columns only, as for VALUES and set operations.
func (s *scope) orderLimit(st *ast.SelectStmt, q *bound, targets []target, setop bool) error {
	var keys []SortKey
	for _, o := range st.OrderBy {
		var x Expr
		var err error
		switch e := o.Expr.(type) {
		case *ast.Const:
			x, err = s.ordinal(e, targets, "ORDER BY")
		case *ast.ColumnRef:
			if len(e.Fields) == 1 {
				for _, t := range targets {
					if t.label == e.Fields[0] {
						x = t.expr
						break
					}
				}
			}
			if x == nil {
				err = s.noColumn("", e.Fields[len(e.Fields)-1], e.Off)
			}
		default:
			if !setop {
				c := s.in("ORDER BY", true, true, true)
				r := &rel{alias: "*VALUES*"}
				for _, t := range targets {
					r.cols = append(r.cols, relCol{name: t.label, expr: t.expr})
				}
				c.items = []nsItem{{rel: r, relVisible: true, colVisible: true}}
				x, err = c.expr(o.Expr)
				break
			}
			err = errAt(o.Expr.Position(), pgerr.FeatureNotSupported, "invalid UNION/INTERSECT/EXCEPT ORDER BY clause").
				WithDetail("Only result column names can be used, not expressions or functions.").
				WithHint("Add the expression/function to every SELECT, or move the UNION into a FROM clause.")
		}
		if err != nil {
			return err
		}
		k, err := s.b.sortKey(o, x)
		if err != nil {
			return err
		}
		keys = append(keys, k)
	}
	if len(st.Locking) > 0 {
		if setop {
			return pgerr.Unsupported("%s is not allowed with UNION/INTERSECT/EXCEPT", lockName(st.Locking[0].Strength))
		}
		return pgerr.Unsupported("%s cannot be applied to VALUES", lockName(st.Locking[0].Strength))
	}
	if len(keys) > 0 {
		q.node = &Sort{Input: q.node, Keys: keys}
	}
	var err error
	q.node, err = s.limit(st, q.node, keys)
	return err
}

func windowNode(input Node, w *windowSpec) Node {
	n := &Window{Partition: w.partition, Order: w.order, Funcs: w.funcs}
	var keys []SortKey
	for _, p := range w.partition {
		keys = append(keys, SortKey{E: p})
	}
	for _, o := range w.order {
		dup := false
		for _, k := range keys {
			dup = dup || sameExpr(k.E, o.E)
		}
		if !dup {
			keys = append(keys, o)
		}
	}
	if len(keys) > 0 {
		input = &Sort{Input: input, Keys: keys}
	}
	n.Input = input
	return n
}

// projectSets expands set-returning calls, inner ones first.
func (b *binder) projectSets(node Node, srfs []*SetCall) Node {
	done := map[Slot]bool{}
	all := map[Slot]bool{}
	for _, c := range srfs {
		all[c.Slot] = true
	}
	for len(srfs) > 0 {
		p := &ProjectSet{Input: node}
		var rest []*SetCall
		for _, c := range srfs {
			ready := true
			for _, a := range c.Args {
				var used slotSet
				exprSlots(a, &used)
				for _, x := range used.list() {
					if all[x] && !done[x] {
						ready = false
					}
				}
			}
			if ready {
				p.Sets = append(p.Sets, c)
			} else {
				rest = append(rest, c)
			}
		}
		for _, c := range p.Sets {
			done[c.Slot] = true
		}
		node, srfs = p, rest
	}
	return node
}

func lockName(l ast.LockStrength) string {
	return [...]string{"", "FOR KEY SHARE", "FOR SHARE", "FOR NO KEY UPDATE", "FOR UPDATE"}[l]
}

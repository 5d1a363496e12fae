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

// target is a select list entry while its query is bound.
type target struct {
	outCol
	ast    ast.Expr
	label  string // AS label, or what the column is called by default
	pos    int32
	hasSRF bool
}

func (s *scope) plainSelect(st *ast.SelectStmt) (*bound, error) {
	b := s.b
	if st.Into != nil && s.parent != nil {
		return nil, pgerr.New(pgerr.SyntaxError, "SELECT ... INTO is not allowed here")
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

// targets binds a select or RETURNING list.
func (s *scope) targets(list []*ast.Target) ([]target, error) {
	var out []target
	for _, t := range list {
		if r, ok := t.Expr.(*ast.ColumnRef); ok && r.Star {
			cols, err := s.star(r)
			if err != nil {
				return nil, err
			}
			for _, c := range cols {
				out = append(out, target{outCol: outCol{name: c.name, expr: s.captured(c.expr, r.Off), table: c.table, attnum: c.attnum},
					label: c.name, pos: r.Off})
			}
			continue
		}
		if in, ok := t.Expr.(*ast.Indirection); ok && in.Steps[len(in.Steps)-1].Kind == ast.StarStep {
			more, err := s.rowStar(in)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
			continue
		}
		before := 0
		if s.q != nil {
			before = len(s.q.srfs)
		}
		x, err := s.expr(t.Expr)
		if err != nil {
			return nil, err
		}
		tg := target{ast: t.Expr, label: t.Name, pos: t.Expr.Position()}
		tg.expr = x
		tg.hasSRF = s.q != nil && len(s.q.srfs) > before
		if tg.label == "" {
			tg.label = figureName(t.Expr)
		}
		if r, ok := t.Expr.(*ast.ColumnRef); ok {
			tg.table, tg.attnum = s.origin(r)
		}
		out = append(out, tg)
	}
	if len(out) > 1664 {
		return nil, pgerr.New(pgerr.TooManyColumns, "target lists can have at most 1664 entries")
	}
	return out, nil
}

// rowStar expands (row).*.
func (s *scope) rowStar(in *ast.Indirection) ([]target, error) {
	arg := in.Arg
	if len(in.Steps) > 1 {
		arg = &ast.Indirection{Arg: in.Arg, Steps: in.Steps[:len(in.Steps)-1], Pos: in.Pos}
	}
	x, err := s.argument(arg)
	if err != nil {
		return nil, err
	}
	t := x.Type().BaseType()
	if t.Def == nil || len(t.Def.Fields) == 0 {
		if t.Kind == types.KindTuple {
			return nil, errAt(in.Off, pgerr.SyntaxError, "record type has not been registered")
		}
		return nil, errAt(in.Off, pgerr.WrongObjectType, "type %s is not composite", types.TypeName(t))
	}
	var out []target
	for i, f := range t.Def.Fields {
		var e Expr = &Field{Arg: x, N: i, T: f.Type, Name: f.Name}
		if r, ok := x.(*Row); ok {
			e = r.Elems[i]
		}
		out = append(out, target{outCol: outCol{name: f.Name, expr: e}, label: f.Name, pos: in.Off})
	}
	return out, nil
}

// origin returns the table column a reference leads to.
func (s *scope) origin(r *ast.ColumnRef) (uint32, int16) {
	if len(r.Fields) == 1 {
		if _, c, err := s.bare(r.Fields[0], -1); err == nil && c != nil {
			return c.table, c.attnum
		}
		return 0, 0
	}
	rl, err := s.findRel("", r.Fields[len(r.Fields)-2], -1)
	if err != nil || rl == nil {
		return 0, 0
	}
	for _, c := range rl.cols {
		if c.name == r.Fields[len(r.Fields)-1] {
			return c.table, c.attnum
		}
	}
	return 0, 0
}

// figureName is the name of a target without AS (FigureColname).
func figureName(e ast.Expr) string {
	n, _ := figure(e)
	if n == "" {
		return "?column?"
	}
	return n
}

// figure returns a name and how sure it is: 2 for columns and functions, 1 for types and CASE.
func figure(e ast.Expr) (string, int) {
	switch e := e.(type) {
	case *ast.ColumnRef:
		if len(e.Fields) == 0 {
			return "", 0
		}
		return e.Fields[len(e.Fields)-1], 2
	case *ast.Indirection:
		for i := len(e.Steps) - 1; i >= 0; i-- {
			if e.Steps[i].Kind == ast.FieldStep {
				return e.Steps[i].Name, 2
			}
		}
		return figure(e.Arg)
	case *ast.FuncCall:
		return e.Name[len(e.Name)-1], 2
	case *ast.TypeCast:
		if n, k := figure(e.Arg); k > 1 {
			return n, k
		}
		return e.Type.Name(), 1
	case *ast.CollateExpr:
		return figure(e.Arg)
	case *ast.CaseExpr:
		if e.Else != nil {
			if n, k := figure(e.Else); k > 1 {
				return n, k
			}
		}
		return "case", 1
	case *ast.CoalesceExpr:
		return "coalesce", 2
	case *ast.NullIfExpr:
		return "nullif", 2
	case *ast.MinMaxExpr:
		if e.Least {
			return "least", 2
		}
		return "greatest", 2
	case *ast.ArrayExpr:
		return "array", 2
	case *ast.RowExpr:
		return "row", 2
	case *ast.GroupingFunc:
		return "grouping", 2
	case *ast.SubLink:
		switch e.Kind {
		case ast.SubExists:
			return "exists", 2
		case ast.SubArray:
			return "array", 2
		case ast.SubScalar:
			st := e.Select
			for st.Left != nil {
				st = st.Left
			}
			if len(st.Targets) > 0 {
				if st.Targets[0].Name != "" {
					return st.Targets[0].Name, 2
				}
				return figure(st.Targets[0].Expr)
			}
			return "column1", 2
		}
	case *ast.SQLValueFunc:
		return [...]string{"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp",
			"current_role", "current_user", "user", "session_user", "current_catalog", "current_schema"}[e.Op], 2
	}
	return "", 0
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

// values binds a VALUES list.
func (s *scope) values(st *ast.SelectStmt) (*bound, error) {
	rows, ts, err := s.valuesRows(st.Values, nil)
	if err != nil {
		return nil, err
	}
	v := &Values{Rowsets: rows}
	out := &bound{node: v}
	var targets []target
	for i, t := range ts {
		sl := s.b.newSlot()
		v.Slots = append(v.Slots, sl)
		name := "column" + itoa(i+1)
		c := outCol{name: name, expr: &Col{Slot: sl, T: t, Name: name, Rel: "*VALUES*", Pos: -1}}
		out.cols = append(out.cols, c)
		targets = append(targets, target{outCol: c, label: name})
	}
	return out, s.orderLimit(st, out, targets, false)
}

// valuesRows binds the rows of a VALUES list to common types. With hints, untyped entries stay as they are.
func (s *scope) valuesRows(lists [][]ast.Expr, hint func(col int) *types.T) ([][]Expr, []*types.T, error) {
	vs := s.in("VALUES", true, true, true)
	width := len(lists[0])
	rows := make([][]Expr, len(lists))
	for i, l := range lists {
		if len(l) != width {
			p := int32(-1)
			if len(l) > 0 {
				p = l[0].Position()
			}
			return nil, nil, errAt(p, pgerr.SyntaxError, "VALUES lists must all be the same length")
		}
		r, err := vs.exprs(l)
		if err != nil {
			return nil, nil, err
		}
		rows[i] = r
	}
	ts := make([]*types.T, width)
	col := make([]Expr, len(lists))
	pos := make([]int32, len(lists))
	for c := range width {
		for i := range lists {
			col[i], pos[i] = rows[i][c], lists[i][c].Position()
		}
		t, err := s.b.common(col, "VALUES", pos)
		if err != nil {
			return nil, nil, err
		}
		ts[c] = t
		for i := range lists {
			rows[i][c] = col[i]
		}
	}
	return rows, ts, nil
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

// setOp binds UNION, INTERSECT or EXCEPT.
func (s *scope) setOp(st *ast.SelectStmt) (*bound, error) {
	b := s.b
	branch := func(x *ast.SelectStmt) (*bound, error) {
		c := &scope{b: b, parent: s.parent, ctes: s.ctes, q: &query{parent: s.q}, keepUnknown: true}
		return c.selectStmt(x)
	}
	l, err := branch(st.Left)
	if err != nil {
		return nil, err
	}
	r, err := branch(st.Right)
	if err != nil {
		return nil, err
	}
	name := [...]string{"", "UNION", "INTERSECT", "EXCEPT"}[st.Op]
	if len(l.cols) != len(r.cols) {
		return nil, errAt(st.Right.Off, pgerr.SyntaxError, "each %s query must have the same number of columns", name)
	}
	n := &SetOp{All: st.All, Left: l.node, Right: r.node, Op: [...]SetOpKind{0, Union, Intersect, Except}[st.Op]}
	out := &bound{node: n}
	var targets []target
	for i := range l.cols {
		pair := []Expr{l.cols[i].expr, r.cols[i].expr}
		pos := []int32{targetPos(st.Left, i), targetPos(st.Right, i)}
		t, err := b.common(pair, name, pos)
		if err != nil {
			return nil, err
		}
		if !st.All {
			if err := b.sortable(t, pos[0], "equality"); err != nil {
				return nil, err
			}
		}
		sl := b.newSlot()
		n.LeftExprs = append(n.LeftExprs, pair[0])
		n.RightExprs = append(n.RightExprs, pair[1])
		n.Slots = append(n.Slots, sl)
		c := outCol{name: l.cols[i].name, expr: &Col{Slot: sl, T: t, Name: l.cols[i].name, Pos: -1}}
		out.cols = append(out.cols, c)
		targets = append(targets, target{outCol: c, label: c.name})
	}
	return out, s.orderLimit(st, out, targets, true)
}

func targetPos(st *ast.SelectStmt, i int) int32 {
	for st.Op != ast.SetNone {
		st = st.Left
	}
	if len(st.Values) > 0 && i < len(st.Values[0]) {
		return st.Values[0][i].Position()
	}
	if i < len(st.Targets) {
		return st.Targets[i].Expr.Position()
	}
	return -1
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

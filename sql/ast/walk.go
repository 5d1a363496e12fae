package ast

// Children calls f with the slot of each direct child expression of e, in the order of the text, and sub with
// each query directly inside e. A child may be replaced through its slot while the tree is not shared. Either
// function may be nil.
func Children(e Expr, f func(*Expr), sub func(*SelectStmt)) {
	if f == nil {
		f = func(*Expr) {}
	}
	one := func(p *Expr) {
		if *p != nil {
			f(p)
		}
	}
	all := func(es []Expr) {
		for i := range es {
			one(&es[i])
		}
	}
	switch e := e.(type) {
	case *OpExpr:
		one(&e.Left)
		one(&e.Right)
	case *AnyAllExpr:
		one(&e.Left)
		one(&e.Right)
	case *DistinctExpr:
		one(&e.Left)
		one(&e.Right)
	case *NullIfExpr:
		one(&e.Left)
		one(&e.Right)
	case *InExpr:
		one(&e.Left)
		all(e.List)
	case *LikeExpr:
		one(&e.Left)
		one(&e.Pattern)
		one(&e.Escape)
	case *BetweenExpr:
		one(&e.Arg)
		one(&e.Low)
		one(&e.High)
	case *BoolExpr:
		all(e.Args)
	case *FuncCall:
		all(e.Args)
		for _, s := range e.OrderBy {
			one(&s.Expr)
		}
		one(&e.Filter)
		if e.Over != nil {
			e.Over.children(one)
		}
	case *NamedArg:
		one(&e.Arg)
	case *CoalesceExpr:
		all(e.Args)
	case *MinMaxExpr:
		all(e.Args)
	case *CaseExpr:
		one(&e.Arg)
		for _, w := range e.Whens {
			one(&w.Cond)
			one(&w.Result)
		}
		one(&e.Else)
	case *SubLink:
		one(&e.Test)
		if sub != nil && e.Select != nil {
			sub(e.Select)
		}
	case *RowExpr:
		all(e.Args)
	case *ArrayExpr:
		all(e.Elems)
	case *Indirection:
		one(&e.Arg)
		for i := range e.Steps {
			one(&e.Steps[i].Lower)
			one(&e.Steps[i].Upper)
		}
	case *TypeCast:
		one(&e.Arg)
	case *CollateExpr:
		one(&e.Arg)
	case *NullTest:
		one(&e.Arg)
	case *BooleanTest:
		one(&e.Arg)
	case *GroupingFunc:
		all(e.Args)
	case *MultiAssign:
		one(&e.Source)
	}
}

func (w *WindowDef) children(f func(*Expr)) {
	for i := range w.PartitionBy {
		f(&w.PartitionBy[i])
	}
	for _, s := range w.OrderBy {
		f(&s.Expr)
	}
	if w.Frame != nil {
		f(&w.Frame.StartOffset)
		f(&w.Frame.EndOffset)
	}
}

// Walk calls f with e and every expression under it, queries excluded, parents first. f returns false to leave
// out what is under its argument.
func Walk(e Expr, f func(Expr) bool) {
	if e == nil || !f(e) {
		return
	}
	Children(e, func(p *Expr) { Walk(*p, f) }, nil)
}

// WalkAll is Walk through subqueries too: stmt is called with each query before its expressions.
func WalkAll(e Expr, f func(Expr) bool, query func(*SelectStmt)) {
	if e == nil || !f(e) {
		return
	}
	Children(e, func(p *Expr) { WalkAll(*p, f, query) }, func(s *SelectStmt) { WalkSelect(s, f, query) })
}

// WalkSelect calls query with s and every query under it, and f with every expression in them.
func WalkSelect(s *SelectStmt, f func(Expr) bool, query func(*SelectStmt)) {
	if s == nil {
		return
	}
	if query != nil {
		query(s)
	}
	expr := func(e Expr) { WalkAll(e, f, query) }
	if s.With != nil {
		for _, c := range s.With.CTEs {
			if q, ok := c.Query.(*SelectStmt); ok {
				WalkSelect(q, f, query)
			}
		}
	}
	WalkSelect(s.Left, f, query)
	WalkSelect(s.Right, f, query)
	for _, e := range s.DistinctOn {
		expr(e)
	}
	for _, t := range s.Targets {
		expr(t.Expr)
	}
	for _, row := range s.Values {
		for _, e := range row {
			expr(e)
		}
	}
	for _, r := range s.From {
		WalkTableRef(r, f, query, nil)
	}
	expr(s.Where)
	walkGroup(s.GroupBy, expr)
	expr(s.Having)
	for _, w := range s.Windows {
		w.children(func(p *Expr) { expr(*p) })
	}
	for _, o := range s.OrderBy {
		expr(o.Expr)
	}
	expr(s.Offset)
	expr(s.Limit)
}

func walkGroup(items []GroupItem, f func(Expr)) {
	for _, it := range items {
		if it.Expr != nil {
			f(it.Expr)
		}
		walkGroup(it.Sets, f)
	}
}

// WalkTableRef calls table with each named relation under r, and f and query as WalkSelect does.
func WalkTableRef(r TableRef, f func(Expr) bool, query func(*SelectStmt), table func(*RangeVar)) {
	switch r := r.(type) {
	case *RangeVar:
		if table != nil {
			table(r)
		}
	case *JoinRef:
		WalkTableRef(r.Left, f, query, table)
		WalkTableRef(r.Right, f, query, table)
		WalkAll(r.On, f, query)
	case *SubqueryRef:
		WalkSelect(r.Select, f, query)
	case *FunctionRef:
		for _, fn := range r.Funcs {
			WalkAll(fn.Func, f, query)
		}
	case *TableSample:
		WalkTableRef(r.Table, f, query, table)
	}
}

// WalkTables calls f with every relation that a query names in FROM, USING or as the target of a data-modifying
// statement, in subqueries and common table expressions too. Names of common table expressions are among them.
func WalkTables(st Stmt, f func(*RangeVar)) {
	query := func(s *SelectStmt) {
		if s.With != nil {
			for _, c := range s.With.CTEs {
				if _, ok := c.Query.(*SelectStmt); !ok {
					WalkTables(c.Query, f)
				}
			}
		}
		for _, r := range s.From {
			fromTables(r, f)
		}
	}
	expr := func(Expr) bool { return true }
	sub := func(e Expr) { WalkAll(e, expr, query) }
	refs := func(rs []TableRef) {
		for _, r := range rs {
			fromTables(r, f)
			WalkTableRef(r, expr, query, nil)
		}
	}
	with := func(w *WithClause) {
		if w != nil {
			for _, c := range w.CTEs {
				WalkTables(c.Query, f)
			}
		}
	}
	targets := func(ts []*Target) {
		for _, t := range ts {
			sub(t.Expr)
		}
	}
	returning := func(r *Returning) {
		if r != nil {
			targets(r.Targets)
		}
	}
	switch s := st.(type) {
	case *SelectStmt:
		WalkSelect(s, expr, query)
	case *InsertStmt:
		with(s.With)
		f(s.Table)
		WalkSelect(s.Select, expr, query)
		if s.OnConflict != nil {
			targets(s.OnConflict.Set)
			sub(s.OnConflict.Where)
		}
		returning(s.Returning)
	case *UpdateStmt:
		with(s.With)
		f(s.Table)
		targets(s.Set)
		refs(s.From)
		sub(s.Where)
		returning(s.Returning)
	case *DeleteStmt:
		with(s.With)
		f(s.Table)
		refs(s.Using)
		sub(s.Where)
		returning(s.Returning)
	case *MergeStmt:
		with(s.With)
		f(s.Table)
		refs([]TableRef{s.Source})
		sub(s.On)
		for _, w := range s.Whens {
			sub(w.Cond)
			targets(w.Targets)
			for _, e := range w.Values {
				sub(e)
			}
		}
		returning(s.Returning)
	}
}

// fromTables visits the relations of one FROM item, joins included, subqueries not.
func fromTables(r TableRef, f func(*RangeVar)) {
	switch r := r.(type) {
	case *RangeVar:
		f(r)
	case *JoinRef:
		fromTables(r.Left, f)
		fromTables(r.Right, f)
	case *TableSample:
		fromTables(r.Table, f)
	}
}

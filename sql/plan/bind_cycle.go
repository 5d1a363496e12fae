package plan

import (
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// SEARCH and CYCLE are rewritten, as PostgreSQL does: both terms of the recursive query are wrapped in a
// SELECT that adds the ordering column, and the mark and path columns.
//
//	non-recursive  SELECT c..., ARRAY[ROW(s...)], default, ARRAY[ROW(y...)] FROM (left) AS w(c...)
//	recursive      SELECT c..., seq || ROW(s...), CASE WHEN ROW(y...) = ANY (path) THEN mark ELSE default END,
//	                      path || ROW(y...)
//	               FROM (right, with seq, mark and path of the table it reads, where not mark) AS w(...)
func (s *scope) searchCycle(c *ast.CTE, q *ast.SelectStmt) (*ast.SelectStmt, error) {
	for _, side := range []*ast.SelectStmt{q.Left, q.Right} {
		if side.Op != ast.SetNone || side.Values != nil && side == q.Right {
			if side == q.Right {
				return nil, errAt(c.Off, pgerr.SyntaxError, "with a SEARCH or CYCLE clause, the right side of the UNION must be a SELECT")
			}
			return nil, errAt(c.Off, pgerr.FeatureNotSupported, "with a SEARCH or CYCLE clause, the left side of the UNION must be a SELECT")
		}
	}
	// The columns' names come from the left term, which is bound for them alone.
	lc := &scope{b: s.b, parent: s.parent, ctes: s.ctes, q: &query{}}
	l, err := lc.selectStmt(q.Left)
	if err != nil {
		return nil, err
	}
	var cols []string
	for i, col := range l.cols {
		n := col.name
		if i < len(c.Columns) {
			n = c.Columns[i]
		}
		cols = append(cols, n)
	}
	no := ast.Pos{Off: -1}
	ref := func(fields ...string) ast.Expr { return &ast.ColumnRef{Fields: fields, Pos: no} }
	row := func(names []string) *ast.RowExpr {
		r := &ast.RowExpr{Explicit: true, Pos: no}
		for _, n := range names {
			r.Args = append(r.Args, ref("w", n))
		}
		return r
	}
	array := func(e ast.Expr) ast.Expr { return &ast.ArrayExpr{Elems: []ast.Expr{e}, Pos: no} }
	check := func(names []string, what string) error {
		for i, n := range names {
			if !slices.Contains(cols, n) {
				return errAt(c.Off, pgerr.SyntaxError, "%s column %q not in WITH query column list", what, n)
			}
			if slices.Contains(names[:i], n) {
				return errAt(c.Off, pgerr.DuplicateColumn, "%s column %q specified more than once", what, n)
			}
		}
		return nil
	}
	alias := recursiveAlias(q.Right.From, c.Name)
	if alias == "" {
		return nil, errAt(c.Off, pgerr.FeatureNotSupported, "with a SEARCH or CYCLE clause, the recursive reference to WITH query %q must be at the top level of its right-hand SELECT", c.Name)
	}
	right := *q.Right
	right.Targets = slices.Clone(right.Targets)
	inner := slices.Clone(cols)
	wrap := func() *ast.SelectStmt {
		w := &ast.SelectStmt{Pos: no}
		for _, n := range cols {
			w.Targets = append(w.Targets, &ast.Target{Name: n, Expr: ref("w", n), Pos: no})
		}
		return w
	}
	lw, rw := wrap(), wrap()
	add := func(name string, le, re ast.Expr) {
		lw.Targets = append(lw.Targets, &ast.Target{Name: name, Expr: le, Pos: no})
		rw.Targets = append(rw.Targets, &ast.Target{Name: name, Expr: re, Pos: no})
	}
	carry := func(name string) error {
		if slices.Contains(inner, name) {
			return errAt(c.Off, pgerr.SyntaxError, "column name %q already used in WITH query column list", name)
		}
		inner = append(inner, name)
		right.Targets = append(right.Targets, &ast.Target{Name: name, Expr: ref(alias, name), Pos: no})
		return nil
	}
	if sc := c.Search; sc != nil {
		if err := check(sc.Columns, "search"); err != nil {
			return nil, err
		}
		if err := carry(sc.SeqColumn); err != nil {
			return nil, err
		}
		if sc.BreadthFirst {
			start, next := row(sc.Columns), row(sc.Columns)
			start.Args = append([]ast.Expr{&ast.TypeCast{Arg: &ast.Const{Kind: ast.ConstInt, Pos: no}, Type: &ast.TypeName{Names: []string{"int8"}, Pos: no}, Pos: no}}, start.Args...)
			level := &ast.Indirection{Arg: ref("w", sc.SeqColumn), Steps: []ast.IndirectionStep{{Kind: ast.FieldStep, Name: "f1"}}, Pos: no}
			next.Args = append([]ast.Expr{&ast.OpExpr{Op: "+", Left: level, Right: &ast.Const{Kind: ast.ConstInt, Int: 1, Pos: no}, Pos: no}}, next.Args...)
			add(sc.SeqColumn, start, next)
		} else {
			add(sc.SeqColumn, array(row(sc.Columns)), &ast.OpExpr{Op: "||", Left: ref("w", sc.SeqColumn), Right: row(sc.Columns), Pos: no})
		}
	}
	if cy := c.Cycle; cy != nil {
		if err := check(cy.Columns, "cycle"); err != nil {
			return nil, err
		}
		var mark, other ast.Expr = &ast.Const{Kind: ast.ConstBool, Bool: true, Pos: no}, &ast.Const{Kind: ast.ConstBool, Pos: no}
		if cy.MarkValue != nil {
			mark, other = cy.MarkValue, cy.MarkOther
		}
		if err := carry(cy.MarkColumn); err != nil {
			return nil, err
		}
		if err := carry(cy.PathColumn); err != nil {
			return nil, err
		}
		more := &ast.OpExpr{Op: "<>", Left: ref(alias, cy.MarkColumn), Right: mark, Pos: no}
		if right.Where != nil {
			right.Where = &ast.BoolExpr{Op: ast.And, Args: []ast.Expr{right.Where, more}, Pos: no}
		} else {
			right.Where = more
		}
		seen := &ast.AnyAllExpr{Op: "=", Left: row(cy.Columns), Right: ref("w", cy.PathColumn), Pos: no}
		add(cy.MarkColumn, &ast.CaseExpr{Whens: []*ast.CaseWhen{{Cond: &ast.Const{Kind: ast.ConstBool, Pos: no}, Result: mark, Pos: no}}, Else: other, Pos: no},
			&ast.CaseExpr{Whens: []*ast.CaseWhen{{Cond: seen, Result: mark, Pos: no}}, Else: other, Pos: no})
		add(cy.PathColumn, array(row(cy.Columns)), &ast.OpExpr{Op: "||", Left: ref("w", cy.PathColumn), Right: row(cy.Columns), Pos: no})
	}
	lw.From = []ast.TableRef{&ast.SubqueryRef{Select: q.Left, Alias: &ast.Alias{Name: "w", Columns: cols}, Pos: no}}
	rw.From = []ast.TableRef{&ast.SubqueryRef{Select: &right, Alias: &ast.Alias{Name: "w", Columns: inner}, Pos: no}}
	out := *q
	out.Left, out.Right = lw, rw
	return &out, nil
}

// recursiveAlias finds the name under which FROM reads a CTE.
func recursiveAlias(from []ast.TableRef, name string) string {
	for _, r := range from {
		switch r := r.(type) {
		case *ast.RangeVar:
			if r.Schema == "" && r.Name == name {
				if r.Alias != nil {
					return r.Alias.Name
				}
				return name
			}
		case *ast.JoinRef:
			if a := recursiveAlias([]ast.TableRef{r.Left, r.Right}, name); a != "" {
				return a
			}
		}
	}
	return ""
}

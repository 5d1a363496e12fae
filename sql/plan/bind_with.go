package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// cteDef is a WITH entry that has been bound.
type cteDef struct {
	cte  *CTE
	cols []outCol
	ast  *ast.CTE
	// working is set while the recursive term is bound: references read the working table.
	working bool
	selfRef int
	// noRows: a data-modifying query without RETURNING, which cannot be read.
	noRows bool
}

// with binds a WITH clause, making its entries visible in s.
func (s *scope) with(w *ast.WithClause) (*With, error) {
	out := &With{}
	seen := map[string]bool{}
	for _, c := range w.CTEs {
		if seen[c.Name] {
			return nil, errAt(c.Off, pgerr.DuplicateAlias, "WITH query name %q specified more than once", c.Name)
		}
		seen[c.Name] = true
		if _, ok := c.Query.(*ast.MergeStmt); ok {
			return nil, errAt(c.Off, pgerr.FeatureNotSupported, "MERGE not supported in WITH query")
		}
	}
	list := w.CTEs
	if w.Recursive {
		var err error
		if list, err = sortCTEs(w.CTEs); err != nil {
			return nil, err
		}
	}
	for _, c := range list {
		def, err := s.cte(c, w.Recursive)
		if err != nil {
			return nil, err
		}
		out.CTEs = append(out.CTEs, def.cte)
		s.ctes = &cteScope{parent: s.ctes, name: c.Name, def: def}
	}
	return out, nil
}

// sortCTEs orders WITH RECURSIVE entries so that each follows those it mentions; cycles among several are
// refused.
func sortCTEs(list []*ast.CTE) ([]*ast.CTE, error) {
	deps := make([]map[int]bool, len(list))
	for i, c := range list {
		deps[i] = map[int]bool{}
		for j, o := range list {
			if i != j && refersTo(c.Query, o.Name) {
				deps[i][j] = true
			}
		}
	}
	var out []*ast.CTE
	done := make([]bool, len(list))
	for len(out) < len(list) {
		progress := false
		for i, c := range list {
			if done[i] {
				continue
			}
			ready := true
			for j := range deps[i] {
				ready = ready && done[j]
			}
			if ready {
				out = append(out, c)
				done[i], progress = true, true
				break
			}
		}
		if !progress {
			for i, c := range list {
				if !done[i] {
					return nil, errAt(c.Off, pgerr.FeatureNotSupported, "mutual recursion between WITH items is not implemented")
				}
			}
		}
	}
	return out, nil
}

func (s *scope) cte(c *ast.CTE, recursive bool) (*cteDef, error) {
	b := s.b
	def := &cteDef{ast: c, cte: &CTE{ID: b.nextCTE(), Name: c.Name}}
	def.cte.Materialize = c.Materialize == ast.MaterializeAlways
	def.cte.noInline = c.Materialize == ast.MaterializeAlways
	switch q := c.Query.(type) {
	case *ast.SelectStmt:
		if recursive && refersTo(q, c.Name) {
			return def, s.recursiveCTE(def, q)
		}
		if c.Search != nil || c.Cycle != nil {
			return nil, errAt(c.Off, pgerr.SyntaxError, "WITH query is not recursive")
		}
		child := &scope{b: b, parent: s.parent, ctes: s.ctes, q: &query{parent: s.q}}
		if s.q != nil {
			child.q.parent = s.q.parent
		}
		r, err := child.selectStmt(q)
		if err != nil {
			return nil, err
		}
		def.cte.Query, def.cols = r.node, r.cols
		if c.Materialize == ast.MaterializeDefault && nodeVolatile(r.node, r.cols) {
			def.cte.Materialize, def.cte.noInline = true, true
		}
	default:
		if recursive && refersTo(c.Query, c.Name) {
			return nil, errAt(c.Off, pgerr.InvalidRecursion, "recursive query %q must not contain data-modifying statements", c.Name)
		}
		if s.parent != nil {
			return nil, errAt(c.Off, pgerr.FeatureNotSupported, "WITH clause containing a data-modifying statement must be at the top level")
		}
		child := &scope{b: b, ctes: s.ctes, q: &query{}}
		_, query := c.Query.(*ast.SelectStmt)
		child.inWith = !query
		r, err := child.dml(c.Query)
		if err != nil {
			return nil, err
		}
		def.cte.Query, def.cols = r.node, r.cols
		def.cte.Writes, def.cte.Materialize, def.cte.noInline = true, true, true
		def.noRows = len(r.cols) == 0
	}
	return def, def.finish(b)
}

// finish names the columns.
func (d *cteDef) finish(b *binder) error {
	if len(d.ast.Columns) > len(d.cols) {
		return errAt(d.ast.Off, pgerr.InvalidColumnReference, "WITH query %q has %d columns available but %d columns specified",
			d.ast.Name, len(d.cols), len(d.ast.Columns))
	}
	d.cte.Out = nil
	for i := range d.cols {
		d.cols[i].expr = b.settle(d.cols[i].expr)
		if i < len(d.ast.Columns) {
			d.cols[i].name = d.ast.Columns[i]
		}
		d.cte.Out = append(d.cte.Out, d.cols[i].expr)
	}
	return nil
}

// recursiveCTE binds "non-recursive UNION [ALL] recursive".
func (s *scope) recursiveCTE(def *cteDef, q *ast.SelectStmt) error {
	b := s.b
	c := def.cte
	if q.Op != ast.SetUnion {
		return errAt(def.ast.Off, pgerr.InvalidRecursion, "recursive query %q does not have the form non-recursive-term UNION [ALL] recursive-term", c.Name)
	}
	if r := reference(q.Left, c.Name); r != nil {
		return errAt(r.Off, pgerr.InvalidRecursion, "recursive reference to query %q must not appear within its non-recursive term", c.Name)
	}
	switch {
	case len(q.OrderBy) > 0:
		return errAt(def.ast.Off, pgerr.FeatureNotSupported, "ORDER BY in a recursive query is not implemented")
	case q.Limit != nil:
		return errAt(def.ast.Off, pgerr.FeatureNotSupported, "LIMIT in a recursive query is not implemented")
	case q.Offset != nil:
		return errAt(def.ast.Off, pgerr.FeatureNotSupported, "OFFSET in a recursive query is not implemented")
	case len(q.Locking) > 0:
		return errAt(def.ast.Off, pgerr.FeatureNotSupported, "FOR UPDATE/SHARE in a recursive query is not implemented")
	}
	outer := &scope{b: b, parent: s.parent, ctes: s.ctes, q: &query{}}
	if q.With != nil {
		for _, in := range q.With.CTEs {
			if r := reference(in.Query, c.Name); r != nil {
				return errAt(r.Off, pgerr.InvalidRecursion, "recursive reference to query %q must not appear within a subquery", c.Name)
			}
		}
		w, err := outer.with(q.With)
		if err != nil {
			return err
		}
		defer func() {
			if c.Query != nil {
				w.Input = c.Query
				c.Query = w
			}
		}()
	}
	if def.ast.Search != nil || def.ast.Cycle != nil {
		rewritten, err := outer.searchCycle(def.ast, q)
		if err != nil {
			return err
		}
		q = rewritten
	}
	lc := &scope{b: b, parent: s.parent, ctes: outer.ctes, q: &query{}}
	l, err := lc.selectStmt(q.Left)
	if err != nil {
		return err
	}
	c.Query, def.cols = l.node, l.cols
	c.Recursive, c.UnionAll, c.Materialize, c.noInline = true, q.All, true, true
	if err := def.finish(b); err != nil {
		return err
	}
	def.working = true
	rc := &scope{b: b, parent: s.parent, ctes: &cteScope{parent: outer.ctes, name: c.Name, def: def}, q: &query{}}
	r, err := rc.selectStmt(q.Right)
	def.working = false
	if err != nil {
		return err
	}
	if def.selfRef > 1 {
		return errAt(def.ast.Off, pgerr.InvalidRecursion, "recursive reference to query %q must not appear more than once", c.Name)
	}
	if rc.q.hasAgg && len(q.Right.From) > 0 {
		return errAt(q.Right.Off, pgerr.InvalidRecursion, "aggregate functions are not allowed in a recursive query's recursive term")
	}
	if len(r.cols) != len(l.cols) {
		return errAt(q.Right.Off, pgerr.SyntaxError, "each UNION query must have the same number of columns")
	}
	c.Step = r.node
	for i := range r.cols {
		x := r.cols[i].expr
		want := def.cols[i].expr.Type()
		if !isUnknown(x) && x.Type().OID != want.OID {
			pair := []Expr{def.cols[i].expr, x}
			t, err := b.common(pair, "UNION", nil)
			if err != nil {
				return err
			}
			if t.OID != want.OID {
				return errAt(targetPos(q.Left, i), pgerr.DatatypeMismatch, "recursive query %q column %d has type %s in non-recursive term but type %s overall",
					c.Name, i+1, types.TypeName(want), types.TypeName(t)).WithHint("Cast the output of the non-recursive term to the correct type.")
			}
			x = pair[1]
		}
		if t := x.Type(); t.OID == want.OID && t.Typmod != want.Typmod {
			return errAt(targetPos(q.Left, i), pgerr.DatatypeMismatch, "recursive query %q column %d has type %s in non-recursive term but type %s overall",
				c.Name, i+1, types.FormatType(want), types.TypeName(t)).WithHint("Cast the output of the non-recursive term to the correct type.")
		}
		if x, err = b.coerce(x, bareType(want), 0, -1); err != nil {
			return err
		}
		c.StepOut = append(c.StepOut, x)
	}
	return nil
}

// addedBySearch reports whether a column is one of those that SEARCH and CYCLE add. The recursive term's own * does
// not include them.
func addedBySearch(c *ast.CTE, name string) bool {
	return c.Search != nil && name == c.Search.SeqColumn || c.Cycle != nil && (name == c.Cycle.MarkColumn || name == c.Cycle.PathColumn)
}

// cteRef makes a scan of a CTE.
func (s *scope) cteRef(def *cteDef, r *ast.RangeVar) (Node, []nsItem, error) {
	b := s.b
	if def.noRows {
		return nil, nil, errAt(r.Off, pgerr.FeatureNotSupported, "WITH query %q does not have a RETURNING clause", r.Name)
	}
	n := &CTEScan{CTE: def.cte, Working: def.working}
	if def.working {
		def.selfRef++
	} else {
		def.cte.Refs++
	}
	rl := &rel{alias: r.Name, aliased: true}
	for _, c := range def.cols {
		sl := b.newSlot()
		n.Slots = append(n.Slots, sl)
		rl.cols = append(rl.cols, relCol{name: c.name, hidden: def.working && addedBySearch(def.ast, c.name), expr: &Col{Slot: sl, T: c.expr.Type(), Name: c.name, Rel: r.Name, Pos: -1}})
	}
	if err := rl.rename(r.Alias, r.Off); err != nil {
		return nil, nil, err
	}
	n.Alias = rl.alias
	return n, visibleItem(rl), nil
}

// nodeVolatile reports whether running a subtree twice, or not at all, could be noticed.
func nodeVolatile(n Node, cols []outCol) bool {
	v := false
	var rec func(Node)
	rec = func(n Node) {
		switch n := n.(type) {
		case *LockRows:
			v = true
		case *ProjectSet:
			for _, s := range n.Sets {
				v = v || s.Call.Volatility == 'v'
			}
		}
		n.exprs(func(e *Expr) { v = v || isVolatile(*e) })
		n.inputs(func(c *Node) { rec(*c) })
	}
	rec(n)
	for _, c := range cols {
		v = v || isVolatile(c.expr)
	}
	return v
}

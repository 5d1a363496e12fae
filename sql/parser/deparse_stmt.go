package parser

import "github.com/meridian-db/meridian/sql/ast"

func (d *deparser) stmt(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.SelectStmt:
		d.selectStmt(s)
	case *ast.InsertStmt:
		d.insert(s)
	case *ast.UpdateStmt:
		d.with(s.With)
		d.s("UPDATE ")
		d.rangeVar(s.Table)
		d.s(" SET ")
		d.setList(s.Set)
		d.from(" FROM ", s.From)
		d.where(s.Where)
		d.returning(s.Returning)
	case *ast.DeleteStmt:
		d.with(s.With)
		d.s("DELETE FROM ")
		d.rangeVar(s.Table)
		d.from(" USING ", s.Using)
		d.where(s.Where)
		d.returning(s.Returning)
	case *ast.MergeStmt:
		d.merge(s)
	case *ast.ExecuteStmt:
		d.s("EXECUTE ")
		d.ident(s.Name)
		if len(s.Args) > 0 {
			d.s("(")
			d.exprs(s.Args)
			d.s(")")
		}
	default:
		d.s(s.Tag())
	}
}

func (d *deparser) with(w *ast.WithClause) {
	if w == nil {
		return
	}
	d.s("WITH ")
	if w.Recursive {
		d.s("RECURSIVE ")
	}
	d.list(len(w.CTEs), func(i int) {
		c := w.CTEs[i]
		d.ident(c.Name)
		if len(c.Columns) > 0 {
			d.s("(")
			d.names(c.Columns)
			d.s(")")
		}
		d.s(" AS ", [...]string{"", "MATERIALIZED ", "NOT MATERIALIZED "}[c.Materialize], "(")
		d.stmt(c.Query)
		d.s(")")
		if s := c.Search; s != nil {
			order := "DEPTH"
			if s.BreadthFirst {
				order = "BREADTH"
			}
			d.s(" SEARCH ", order, " FIRST BY ")
			d.names(s.Columns)
			d.s(" SET ")
			d.ident(s.SeqColumn)
		}
		if c := c.Cycle; c != nil {
			d.s(" CYCLE ")
			d.names(c.Columns)
			d.s(" SET ")
			d.ident(c.MarkColumn)
			if c.MarkValue != nil {
				d.s(" TO ")
				d.expr(c.MarkValue)
				d.s(" DEFAULT ")
				d.expr(c.MarkOther)
			}
			d.s(" USING ")
			d.ident(c.PathColumn)
		}
	})
	d.s(" ")
}

func (d *deparser) selectStmt(s *ast.SelectStmt) {
	d.with(s.With)
	switch {
	case s.Op != ast.SetNone:
		d.s("(")
		d.selectStmt(s.Left)
		d.s(")", [...]string{"", " UNION ", " INTERSECT ", " EXCEPT "}[s.Op])
		if s.All {
			d.s("ALL ")
		}
		d.s("(")
		d.selectStmt(s.Right)
		d.s(")")
	case s.Values != nil:
		d.s("VALUES ")
		d.list(len(s.Values), func(i int) {
			d.s("(")
			d.exprs(s.Values[i])
			d.s(")")
		})
	default:
		d.selectCore(s)
	}
	if len(s.OrderBy) > 0 {
		d.s(" ORDER BY ")
		d.sortBys(s.OrderBy)
	}
	if s.Offset != nil {
		d.s(" OFFSET ")
		d.expr(s.Offset)
	}
	if s.Limit != nil {
		if s.WithTies {
			d.s(" FETCH FIRST (")
			d.expr(s.Limit)
			d.s(") ROWS WITH TIES")
		} else {
			d.s(" LIMIT ")
			d.expr(s.Limit)
		}
	}
	for _, l := range s.Locking {
		d.s([...]string{"", " FOR KEY SHARE", " FOR SHARE", " FOR NO KEY UPDATE", " FOR UPDATE"}[l.Strength])
		if len(l.Tables) > 0 {
			d.s(" OF ")
			d.list(len(l.Tables), func(i int) { d.relName(l.Tables[i]) })
		}
		d.s([...]string{"", " SKIP LOCKED", " NOWAIT"}[l.Wait])
	}
}

func (d *deparser) selectCore(s *ast.SelectStmt) {
	d.s("SELECT")
	if s.Distinct {
		d.s(" DISTINCT")
		if len(s.DistinctOn) > 0 {
			d.s(" ON (")
			d.exprs(s.DistinctOn)
			d.s(")")
		}
	}
	if len(s.Targets) > 0 {
		d.s(" ")
		d.targets(s.Targets)
	}
	if s.Into != nil {
		d.s(" INTO ", [...]string{"", "TEMPORARY ", "UNLOGGED "}[s.Into.Table.Persistence])
		d.relName(s.Into.Table)
	}
	d.from(" FROM ", s.From)
	d.where(s.Where)
	if len(s.GroupBy) > 0 {
		d.s(" GROUP BY ")
		if s.GroupDistinct {
			d.s("DISTINCT ")
		}
		d.groupItems(s.GroupBy)
	}
	if s.Having != nil {
		d.s(" HAVING ")
		d.expr(s.Having)
	}
	if len(s.Windows) > 0 {
		d.s(" WINDOW ")
		d.list(len(s.Windows), func(i int) {
			d.ident(s.Windows[i].Name)
			d.s(" AS ")
			d.window(s.Windows[i])
		})
	}
}

func (d *deparser) targets(ts []*ast.Target) {
	d.list(len(ts), func(i int) {
		d.expr(ts[i].Expr)
		if ts[i].Name != "" {
			d.s(" AS ")
			d.ident(ts[i].Name)
		}
	})
}

func (d *deparser) groupItems(items []ast.GroupItem) {
	d.list(len(items), func(i int) {
		switch it := items[i]; it.Kind {
		case ast.GroupExpr:
			d.expr(it.Expr)
		case ast.GroupEmpty:
			d.s("()")
		default:
			d.s(map[ast.GroupingKind]string{ast.GroupRollup: "ROLLUP (", ast.GroupCube: "CUBE (", ast.GroupSets: "GROUPING SETS ("}[it.Kind])
			d.groupItems(it.Sets)
			d.s(")")
		}
	})
}

func (d *deparser) where(e ast.Expr) {
	if e != nil {
		d.s(" WHERE ")
		d.expr(e)
	}
}

func (d *deparser) from(word string, refs []ast.TableRef) {
	if len(refs) == 0 {
		return
	}
	d.s(word)
	d.list(len(refs), func(i int) { d.tableRef(refs[i]) })
}

func (d *deparser) tableRef(r ast.TableRef) {
	switch r := r.(type) {
	case *ast.RangeVar:
		d.rangeVar(r)
	case *ast.SubqueryRef:
		if r.Lateral {
			d.s("LATERAL ")
		}
		d.s("(")
		d.selectStmt(r.Select)
		d.s(")")
		d.alias(r.Alias)
	case *ast.JoinRef:
		d.join(r)
	case *ast.FunctionRef:
		d.functionRef(r)
	case *ast.TableSample:
		d.tableRef(r.Table)
		d.s(" TABLESAMPLE ")
		d.qualified(r.Method)
		d.s("(")
		d.exprs(r.Args)
		d.s(")")
		if r.Repeatable != nil {
			d.s(" REPEATABLE (")
			d.expr(r.Repeatable)
			d.s(")")
		}
	case *ast.UnsupportedRef:
		d.s("/* ", r.What, " */")
	}
}

func (d *deparser) join(j *ast.JoinRef) {
	d.s("(")
	d.tableRef(j.Left)
	if j.Natural {
		d.s(" NATURAL")
	}
	cross := j.Kind == ast.JoinInner && !j.Natural && j.On == nil && len(j.Using) == 0
	if cross {
		d.s(" CROSS JOIN ")
	} else {
		d.s([...]string{" JOIN ", " LEFT JOIN ", " RIGHT JOIN ", " FULL JOIN "}[j.Kind])
	}
	d.tableRef(j.Right)
	if len(j.Using) > 0 {
		d.s(" USING (")
		d.names(j.Using)
		d.s(")")
		if j.UsingAlias != "" {
			d.s(" AS ")
			d.ident(j.UsingAlias)
		}
	}
	if j.On != nil {
		d.s(" ON ")
		d.expr(j.On)
	}
	d.s(")")
	d.alias(j.Alias)
}

func (d *deparser) functionRef(r *ast.FunctionRef) {
	if r.Lateral {
		d.s("LATERAL ")
	}
	if r.RowsFrom {
		d.s("ROWS FROM (")
	}
	d.list(len(r.Funcs), func(i int) {
		d.expr(r.Funcs[i].Func)
		if len(r.Funcs[i].ColDefs) > 0 {
			d.s(" AS (")
			d.colDefs(r.Funcs[i].ColDefs)
			d.s(")")
		}
	})
	if r.RowsFrom {
		d.s(")")
	}
	if r.Ordinality {
		d.s(" WITH ORDINALITY")
	}
	if len(r.ColDefs) > 0 {
		d.s(" AS ")
		if r.Alias != nil {
			d.ident(r.Alias.Name)
		}
		d.s("(")
		d.colDefs(r.ColDefs)
		d.s(")")
		return
	}
	d.alias(r.Alias)
}

func (d *deparser) colDefs(cs []*ast.ColumnDef) {
	d.list(len(cs), func(i int) {
		d.ident(cs[i].Name)
		d.s(" ")
		d.typeName(cs[i].Type)
		if len(cs[i].Collation) > 0 {
			d.s(" COLLATE ")
			d.qualified(cs[i].Collation)
		}
	})
}

func (d *deparser) columnTargets(ts []*ast.Target) {
	d.list(len(ts), func(i int) {
		d.ident(ts[i].Name)
		d.steps(ts[i].Steps)
	})
}

func (d *deparser) insert(s *ast.InsertStmt) {
	d.with(s.With)
	d.s("INSERT INTO ")
	d.rangeVar(s.Table)
	if len(s.Columns) > 0 {
		d.s(" (")
		d.columnTargets(s.Columns)
		d.s(")")
	}
	d.s([...]string{"", " OVERRIDING USER VALUE", " OVERRIDING SYSTEM VALUE"}[s.Overriding])
	if s.Select == nil {
		d.s(" DEFAULT VALUES")
	} else {
		d.s(" ")
		d.selectStmt(s.Select)
	}
	if c := s.OnConflict; c != nil {
		d.onConflict(c)
	}
	d.returning(s.Returning)
}

func (d *deparser) onConflict(c *ast.OnConflict) {
	d.s(" ON CONFLICT")
	if c.Constraint != "" {
		d.s(" ON CONSTRAINT ")
		d.ident(c.Constraint)
	}
	if len(c.Elems) > 0 {
		d.s(" (")
		d.indexElems(c.Elems)
		d.s(")")
		d.where(c.IndexWhere)
	}
	if !c.DoUpdate {
		d.s(" DO NOTHING")
		return
	}
	d.s(" DO UPDATE SET ")
	d.setList(c.Set)
	d.where(c.Where)
}

func (d *deparser) indexElems(es []*ast.IndexElem) {
	d.list(len(es), func(i int) {
		e := es[i]
		if e.Expr != nil {
			d.s("(")
			d.expr(e.Expr)
			d.s(")")
		} else {
			d.ident(e.Name)
		}
		if len(e.Collation) > 0 {
			d.s(" COLLATE ")
			d.qualified(e.Collation)
		}
		if len(e.OpClass) > 0 {
			d.s(" ")
			d.qualified(e.OpClass)
		}
		switch e.Dir {
		case ast.SortAsc:
			d.s(" ASC")
		case ast.SortDesc:
			d.s(" DESC")
		}
		d.nulls(e.Nulls)
	})
}

// setList writes the SET list of UPDATE; columns assigned together share one source.
func (d *deparser) setList(ts []*ast.Target) {
	for i := 0; i < len(ts); {
		if i > 0 {
			d.s(", ")
		}
		m, ok := ts[i].Expr.(*ast.MultiAssign)
		n := 1
		if ok {
			n = min(m.NumColumns, len(ts)-i)
			d.s("(")
			d.columnTargets(ts[i : i+n])
			d.s(")")
		} else {
			d.columnTargets(ts[i : i+1])
		}
		d.s(" = ")
		d.expr(ts[i].Expr)
		i += n
	}
}

func (d *deparser) returning(r *ast.Returning) {
	if r == nil {
		return
	}
	d.s(" RETURNING ")
	if r.OldAlias != "" || r.NewAlias != "" {
		d.s("WITH (")
		sep := ""
		if r.OldAlias != "" {
			d.s("OLD AS ")
			d.ident(r.OldAlias)
			sep = ", "
		}
		if r.NewAlias != "" {
			d.s(sep, "NEW AS ")
			d.ident(r.NewAlias)
		}
		d.s(") ")
	}
	d.targets(r.Targets)
}

func (d *deparser) merge(s *ast.MergeStmt) {
	d.with(s.With)
	d.s("MERGE INTO ")
	d.rangeVar(s.Table)
	d.s(" USING ")
	d.tableRef(s.Source)
	d.s(" ON ")
	d.expr(s.On)
	for _, w := range s.Whens {
		d.s([...]string{" WHEN MATCHED", " WHEN NOT MATCHED BY SOURCE", " WHEN NOT MATCHED"}[w.Match])
		if w.Cond != nil {
			d.s(" AND ")
			d.expr(w.Cond)
		}
		d.s(" THEN ")
		switch w.Cmd {
		case ast.MergeDoNothing:
			d.s("DO NOTHING")
		case ast.MergeDelete:
			d.s("DELETE")
		case ast.MergeUpdate:
			d.s("UPDATE SET ")
			d.setList(w.Targets)
		case ast.MergeInsert:
			d.s("INSERT")
			if len(w.Targets) > 0 {
				d.s(" (")
				d.columnTargets(w.Targets)
				d.s(")")
			}
			d.s([...]string{"", " OVERRIDING USER VALUE", " OVERRIDING SYSTEM VALUE"}[w.Overriding])
			if len(w.Values) == 0 {
				d.s(" DEFAULT VALUES")
			} else {
				d.s(" VALUES (")
				d.exprs(w.Values)
				d.s(")")
			}
		}
	}
	d.returning(s.Returning)
}

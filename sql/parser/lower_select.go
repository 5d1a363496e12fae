package parser

import (
	"slices"

	pg "github.com/sqlc-dev/oliphant/ast"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
)

func (l *lowerer) selectNode(n *pg.Node) *ast.SelectStmt {
	s := n.GetSelectStmt()
	if s == nil {
		l.fail(pgerr.SyntaxError, -1, "subquery must be a SELECT")
	}
	return l.selectStmt(s)
}

func (l *lowerer) selectStmt(s *pg.SelectStmt) *ast.SelectStmt {
	l.enter(-1)
	defer l.leave()
	out := &ast.SelectStmt{With: l.with(s.WithClause), Pos: pos(-1)}
	if s.Op != pg.SetOperation_SETOP_NONE && s.Op != pg.SetOperation_SET_OPERATION_UNDEFINED {
		out.Op = ast.SetOp(s.Op - pg.SetOperation_SETOP_NONE)
		out.All = s.All
		out.Left = l.selectStmt(s.Larg)
		out.Right = l.selectStmt(s.Rarg)
	} else {
		for _, row := range s.ValuesLists {
			out.Values = append(out.Values, l.exprs(row.GetList().GetItems()))
		}
		if len(s.DistinctClause) > 0 {
			out.Distinct = true
			// Plain DISTINCT is a list of one empty node.
			if s.DistinctClause[0].GetNode() != nil {
				out.DistinctOn = l.exprs(s.DistinctClause)
			}
		}
		out.Targets = l.targets(s.TargetList)
		if s.IntoClause != nil {
			out.Into = l.into(s.IntoClause)
		}
		out.From = l.tableRefs(s.FromClause)
		out.Where = l.optExpr(s.WhereClause)
		out.GroupBy = l.groupItems(s.GroupClause)
		out.GroupDistinct = s.GroupDistinct
		out.Having = l.optExpr(s.HavingClause)
		for _, w := range s.WindowClause {
			out.Windows = append(out.Windows, l.windowDef(w.GetWindowDef()))
		}
	}
	out.OrderBy = l.sortBys(s.SortClause)
	out.Offset = l.optExpr(s.LimitOffset)
	out.Limit = l.optExpr(s.LimitCount)
	out.WithTies = s.LimitOption == pg.LimitOption_LIMIT_OPTION_WITH_TIES
	for _, n := range s.LockingClause {
		c := n.GetLockingClause()
		out.Locking = append(out.Locking, &ast.LockingClause{
			Strength: ast.LockStrength(c.Strength - pg.LockClauseStrength_LCS_NONE),
			Tables:   l.rangeVars(c.LockedRels),
			Wait:     ast.LockWait(max(0, c.WaitPolicy-pg.LockWaitPolicy_LockWaitBlock)),
		})
	}
	return out
}

func (l *lowerer) targets(ns []*pg.Node) []*ast.Target {
	var out []*ast.Target
	for _, n := range ns {
		t := n.GetResTarget()
		out = append(out, &ast.Target{Name: t.Name, Steps: l.steps(t.Indirection), Expr: l.optExpr(t.Val), Pos: pos(t.Location)})
	}
	return out
}

func (l *lowerer) groupItems(ns []*pg.Node) []ast.GroupItem {
	var out []ast.GroupItem
	for _, n := range ns {
		g := n.GetGroupingSet()
		if g == nil {
			e := l.expr(n)
			out = append(out, ast.GroupItem{Expr: e, Pos: pos(e.Position())})
			continue
		}
		it := ast.GroupItem{Pos: pos(g.Location)}
		switch g.Kind {
		case pg.GroupingSetKind_GROUPING_SET_EMPTY:
			it.Kind = ast.GroupEmpty
		case pg.GroupingSetKind_GROUPING_SET_ROLLUP:
			it.Kind = ast.GroupRollup
		case pg.GroupingSetKind_GROUPING_SET_CUBE:
			it.Kind = ast.GroupCube
		default:
			it.Kind = ast.GroupSets
		}
		l.enter(g.Location)
		it.Sets = l.groupItems(g.Content)
		l.leave()
		out = append(out, it)
	}
	return out
}

func (l *lowerer) with(w *pg.WithClause) *ast.WithClause {
	if w == nil {
		return nil
	}
	out := &ast.WithClause{Recursive: w.Recursive, Pos: pos(w.Location)}
	for _, n := range w.Ctes {
		c := n.GetCommonTableExpr()
		cte := &ast.CTE{Name: c.Ctename, Columns: strs(c.Aliascolnames), Query: l.stmt(c.Ctequery), Pos: pos(c.Location)}
		switch c.Ctematerialized {
		case pg.CTEMaterialize_CTEMaterializeAlways:
			cte.Materialize = ast.MaterializeAlways
		case pg.CTEMaterialize_CTEMaterializeNever:
			cte.Materialize = ast.MaterializeNever
		}
		if s := c.SearchClause; s != nil {
			cte.Search = &ast.CTESearch{Columns: strs(s.SearchColList), BreadthFirst: s.SearchBreadthFirst, SeqColumn: s.SearchSeqColumn, Pos: pos(s.Location)}
		}
		if s := c.CycleClause; s != nil {
			cte.Cycle = &ast.CTECycle{Columns: strs(s.CycleColList), MarkColumn: s.CycleMarkColumn,
				MarkValue: l.optExpr(s.CycleMarkValue), MarkOther: l.optExpr(s.CycleMarkDefault),
				PathColumn: s.CyclePathColumn, Pos: pos(s.Location)}
		}
		out.CTEs = append(out.CTEs, cte)
	}
	return out
}

func (l *lowerer) into(c *pg.IntoClause) *ast.IntoClause {
	return &ast.IntoClause{
		Table: l.rangeVar(c.Rel), Columns: strs(c.ColNames), AccessMethod: c.AccessMethod,
		Options: l.defElems(c.Options), OnCommit: onCommit(c.OnCommit), Tablespace: c.TableSpaceName, NoData: c.SkipData,
	}
}

func onCommit(a pg.OnCommitAction) ast.OnCommit {
	switch a {
	case pg.OnCommitAction_ONCOMMIT_PRESERVE_ROWS:
		return ast.OnCommitPreserve
	case pg.OnCommitAction_ONCOMMIT_DELETE_ROWS:
		return ast.OnCommitDelete
	case pg.OnCommitAction_ONCOMMIT_DROP:
		return ast.OnCommitDrop
	}
	return ast.OnCommitDefault
}

// Window frame option bits, as in PostgreSQL's parsenodes.h.
const (
	frameNondefault = 0x00001
	frameRange      = 0x00002
	frameRows       = 0x00004
	frameGroups     = 0x00008

	frameStartUnboundedPreceding = 0x00020
	frameEndUnboundedPreceding   = 0x00040
	frameStartUnboundedFollowing = 0x00080
	frameEndUnboundedFollowing   = 0x00100
	frameStartCurrentRow         = 0x00200
	frameEndCurrentRow           = 0x00400
	frameStartOffsetPreceding    = 0x00800
	frameEndOffsetPreceding      = 0x01000
	frameStartOffsetFollowing    = 0x02000
	frameEndOffsetFollowing      = 0x04000
	frameExcludeCurrentRow       = 0x08000
	frameExcludeGroup            = 0x10000
	frameExcludeTies             = 0x20000
)

func (l *lowerer) windowDef(w *pg.WindowDef) *ast.WindowDef {
	out := &ast.WindowDef{
		Name: w.Name, Ref: w.Refname, PartitionBy: l.exprs(w.PartitionClause),
		OrderBy: l.sortBys(w.OrderClause), Pos: pos(w.Location),
	}
	o := w.FrameOptions
	if o&frameNondefault == 0 {
		return out
	}
	f := &ast.Frame{StartOffset: l.optExpr(w.StartOffset), EndOffset: l.optExpr(w.EndOffset)}
	switch {
	case o&frameRows != 0:
		f.Mode = ast.FrameRows
	case o&frameGroups != 0:
		f.Mode = ast.FrameGroups
	}
	switch {
	case o&frameStartUnboundedPreceding != 0:
		f.Start = ast.UnboundedPreceding
	case o&frameStartUnboundedFollowing != 0:
		f.Start = ast.UnboundedFollowing
	case o&frameStartCurrentRow != 0:
		f.Start = ast.CurrentRow
	case o&frameStartOffsetPreceding != 0:
		f.Start = ast.OffsetPreceding
	case o&frameStartOffsetFollowing != 0:
		f.Start = ast.OffsetFollowing
	}
	switch {
	case o&frameEndUnboundedPreceding != 0:
		f.End = ast.UnboundedPreceding
	case o&frameEndUnboundedFollowing != 0:
		f.End = ast.UnboundedFollowing
	case o&frameEndCurrentRow != 0:
		f.End = ast.CurrentRow
	case o&frameEndOffsetPreceding != 0:
		f.End = ast.OffsetPreceding
	case o&frameEndOffsetFollowing != 0:
		f.End = ast.OffsetFollowing
	}
	switch {
	case o&frameExcludeCurrentRow != 0:
		f.Exclude = ast.ExcludeCurrentRow
	case o&frameExcludeGroup != 0:
		f.Exclude = ast.ExcludeGroup
	case o&frameExcludeTies != 0:
		f.Exclude = ast.ExcludeTies
	}
	out.Frame = f
	return out
}

func (l *lowerer) tableRefs(ns []*pg.Node) []ast.TableRef {
	var out []ast.TableRef
	for _, n := range ns {
		out = append(out, l.tableRef(n))
	}
	return out
}

func (l *lowerer) tableRef(n *pg.Node) ast.TableRef {
	l.enter(-1)
	defer l.leave()
	switch x := n.GetNode().(type) {
	case *pg.Node_RangeVar:
		return l.rangeVar(x.RangeVar)
	case *pg.Node_JoinExpr:
		j := x.JoinExpr
		out := &ast.JoinRef{
			Natural: j.IsNatural, Left: l.tableRef(j.Larg), Right: l.tableRef(j.Rarg),
			Using: strs(j.UsingClause), On: l.optExpr(j.Quals), Alias: alias(j.Alias),
		}
		if j.JoinUsingAlias != nil {
			out.UsingAlias = j.JoinUsingAlias.Aliasname
		}
		switch j.Jointype {
		case pg.JoinType_JOIN_LEFT:
			out.Kind = ast.JoinLeft
		case pg.JoinType_JOIN_RIGHT:
			out.Kind = ast.JoinRight
		case pg.JoinType_JOIN_FULL:
			out.Kind = ast.JoinFull
		}
		return out
	case *pg.Node_RangeSubselect:
		s := x.RangeSubselect
		return &ast.SubqueryRef{Lateral: s.Lateral, Select: l.selectNode(s.Subquery), Alias: alias(s.Alias), Pos: pos(-1)}
	case *pg.Node_RangeFunction:
		f := x.RangeFunction
		out := &ast.FunctionRef{
			Lateral: f.Lateral, Ordinality: f.Ordinality, RowsFrom: f.IsRowsfrom,
			Alias: alias(f.Alias), ColDefs: l.columnDefs(f.Coldeflist), Pos: pos(-1),
		}
		for _, fn := range f.Functions {
			items := fn.GetList().GetItems()
			if len(items) == 0 {
				continue
			}
			if call := unnestOfSeveral(items[0]); call != nil && (len(items) == 1 || items[1].GetList() == nil) {
				// unnest(a, b) stands for ROWS FROM (unnest(a), unnest(b)).
				for _, arg := range call.Args {
					one := &pg.FuncCall{Funcname: call.Funcname, Args: []*pg.Node{arg}, Location: call.Location}
					out.Funcs = append(out.Funcs, ast.FunctionItem{Func: l.expr(&pg.Node{Node: &pg.Node_FuncCall{FuncCall: one}})})
				}
				out.Pos, out.RowsFrom = pos(call.Location), true
				continue
			}
			it := ast.FunctionItem{Func: l.expr(items[0])}
			if len(items) > 1 {
				it.ColDefs = l.columnDefs(items[1].GetList().GetItems())
			}
			out.Pos = pos(it.Func.Position())
			out.Funcs = append(out.Funcs, it)
		}
		return out
	case *pg.Node_RangeTableSample:
		s := x.RangeTableSample
		return &ast.TableSample{Table: l.tableRef(s.Relation), Method: strs(s.Method), Args: l.exprs(s.Args),
			Repeatable: l.optExpr(s.Repeatable), Pos: pos(s.Location)}
	case *pg.Node_RangeTableFunc:
		return &ast.UnsupportedRef{What: "XMLTABLE", Pos: pos(x.RangeTableFunc.Location)}
	case *pg.Node_JsonTable:
		return &ast.UnsupportedRef{What: "JSON_TABLE", Pos: pos(x.JsonTable.Location)}
	}
	return &ast.UnsupportedRef{What: "this FROM item", Pos: pos(-1)}
}

// unnestOfSeveral is a call of unnest with more than one array, nil for anything else.
func unnestOfSeveral(n *pg.Node) *pg.FuncCall {
	call := n.GetFuncCall()
	if call == nil || len(call.Args) < 2 || call.FuncVariadic || call.AggDistinct || call.AggStar || len(call.AggOrder) > 0 ||
		call.AggFilter != nil || call.Over != nil {
		return nil
	}
	name := strs(call.Funcname)
	if slices.Equal(name, []string{"unnest"}) || slices.Equal(name, []string{"pg_catalog", "unnest"}) {
		return call
	}
	return nil
}

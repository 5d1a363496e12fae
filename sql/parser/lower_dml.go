package parser

import (
	pg "github.com/sqlc-dev/oliphant/ast"

	"github.com/meridian-db/meridian/sql/ast"
)

func overriding(o pg.OverridingKind) ast.Overriding {
	switch o {
	case pg.OverridingKind_OVERRIDING_USER_VALUE:
		return ast.OverridingUser
	case pg.OverridingKind_OVERRIDING_SYSTEM_VALUE:
		return ast.OverridingSystem
	}
	return ast.OverridingNone
}

func (l *lowerer) insert(s *pg.InsertStmt) *ast.InsertStmt {
	out := &ast.InsertStmt{
		With: l.with(s.WithClause), Table: l.rangeVar(s.Relation), Columns: l.targets(s.Cols),
		Overriding: overriding(s.Override), Returning: l.returning(s.ReturningClause),
	}
	if s.SelectStmt != nil {
		out.Select = l.selectNode(s.SelectStmt)
	}
	if c := s.OnConflictClause; c != nil {
		oc := &ast.OnConflict{
			DoUpdate: c.Action == pg.OnConflictAction_ONCONFLICT_UPDATE,
			Set:      l.targets(c.TargetList), Where: l.optExpr(c.WhereClause), Pos: pos(c.Location),
		}
		if i := c.Infer; i != nil {
			oc.Constraint = i.Conname
			oc.Elems = l.indexElems(i.IndexElems)
			oc.IndexWhere = l.optExpr(i.WhereClause)
		}
		out.OnConflict = oc
	}
	return out
}

func (l *lowerer) returning(r *pg.ReturningClause) *ast.Returning {
	if r == nil {
		return nil
	}
	out := &ast.Returning{Targets: l.targets(r.Exprs)}
	for _, n := range r.Options {
		switch o := n.GetReturningOption(); o.GetOption() {
		case pg.ReturningOptionKind_RETURNING_OPTION_OLD:
			out.OldAlias = o.Value
		case pg.ReturningOptionKind_RETURNING_OPTION_NEW:
			out.NewAlias = o.Value
		}
	}
	return out
}

func (l *lowerer) update(s *pg.UpdateStmt) *ast.UpdateStmt {
	return &ast.UpdateStmt{
		With: l.with(s.WithClause), Table: l.rangeVar(s.Relation), Set: l.targets(s.TargetList),
		From: l.tableRefs(s.FromClause), Where: l.optExpr(s.WhereClause), Returning: l.returning(s.ReturningClause),
	}
}

func (l *lowerer) delete(s *pg.DeleteStmt) *ast.DeleteStmt {
	return &ast.DeleteStmt{
		With: l.with(s.WithClause), Table: l.rangeVar(s.Relation), Using: l.tableRefs(s.UsingClause),
		Where: l.optExpr(s.WhereClause), Returning: l.returning(s.ReturningClause),
	}
}

func (l *lowerer) merge(s *pg.MergeStmt) *ast.MergeStmt {
	out := &ast.MergeStmt{
		With: l.with(s.WithClause), Table: l.rangeVar(s.Relation), Source: l.tableRef(s.SourceRelation),
		On: l.optExpr(s.JoinCondition), Returning: l.returning(s.ReturningClause),
	}
	for _, n := range s.MergeWhenClauses {
		w := n.GetMergeWhenClause()
		m := &ast.MergeWhen{Cond: l.optExpr(w.Condition), Overriding: overriding(w.Override),
			Targets: l.targets(w.TargetList), Values: l.exprs(w.Values)}
		switch w.MatchKind {
		case pg.MergeMatchKind_MERGE_WHEN_NOT_MATCHED_BY_SOURCE:
			m.Match = ast.WhenNotMatchedBySource
		case pg.MergeMatchKind_MERGE_WHEN_NOT_MATCHED_BY_TARGET:
			m.Match = ast.WhenNotMatched
		}
		switch w.CommandType {
		case pg.CmdType_CMD_INSERT:
			m.Cmd = ast.MergeInsert
		case pg.CmdType_CMD_UPDATE:
			m.Cmd = ast.MergeUpdate
		case pg.CmdType_CMD_DELETE:
			m.Cmd = ast.MergeDelete
		}
		out.Whens = append(out.Whens, m)
	}
	return out
}

func (l *lowerer) copy(s *pg.CopyStmt) *ast.CopyStmt {
	out := &ast.CopyStmt{
		Table: l.rangeVar(s.Relation), Columns: strs(s.Attlist), From: s.IsFrom, Program: s.IsProgram,
		File: s.Filename, Options: l.defElems(s.Options), Where: l.optExpr(s.WhereClause),
	}
	if s.Query != nil {
		out.Query = l.stmt(s.Query)
	}
	return out
}

func (l *lowerer) indexElems(ns []*pg.Node) []*ast.IndexElem {
	var out []*ast.IndexElem
	for _, n := range ns {
		out = append(out, l.indexElem(n.GetIndexElem()))
	}
	return out
}

func (l *lowerer) indexElem(e *pg.IndexElem) *ast.IndexElem {
	return &ast.IndexElem{
		Name: e.GetName(), Expr: l.optExpr(e.GetExpr()), Collation: strs(e.GetCollation()), OpClass: strs(e.GetOpclass()),
		OpOptions: l.defElems(e.GetOpclassopts()), Dir: sortDir(e.GetOrdering()), Nulls: nullsOrder(e.GetNullsOrdering()), Pos: pos(-1),
	}
}

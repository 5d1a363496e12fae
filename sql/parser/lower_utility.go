package parser

import (
	"math"

	pg "github.com/sqlc-dev/oliphant/ast"

	"github.com/meridian-db/meridian/sql/ast"
)

// Cursor option bits, as in PostgreSQL's parsenodes.h.
const (
	cursorBinary      = 0x0001
	cursorScroll      = 0x0002
	cursorNoScroll    = 0x0004
	cursorInsensitive = 0x0008
	cursorAsensitive  = 0x0010
	cursorHold        = 0x0020
)

// utilityStmt lowers statements about sessions and transactions, nil for anything else.
func (l *lowerer) utilityStmt(n *pg.Node) ast.Stmt {
	switch x := n.GetNode().(type) {
	case *pg.Node_TransactionStmt:
		s := x.TransactionStmt
		kind := ast.TxnBegin
		if s.Kind > pg.TransactionStmtKind_TRANS_STMT_BEGIN {
			kind = ast.TxnKind(s.Kind - pg.TransactionStmtKind_TRANS_STMT_BEGIN)
		}
		return &ast.TransactionStmt{Kind: kind, Modes: txnModes(s.Options), Savepoint: s.SavepointName, GID: s.Gid, Chain: s.Chain, Pos: pos(s.Location)}
	case *pg.Node_VariableSetStmt:
		return l.setStmt(x.VariableSetStmt)
	case *pg.Node_VariableShowStmt:
		return &ast.ShowStmt{Name: x.VariableShowStmt.Name}
	case *pg.Node_DiscardStmt:
		return &ast.DiscardStmt{Kind: ast.DiscardKind(max(0, x.DiscardStmt.Target-pg.DiscardMode_DISCARD_ALL))}
	case *pg.Node_AlterSystemStmt:
		return &ast.AlterSystemStmt{Set: l.setStmt(x.AlterSystemStmt.Setstmt)}
	case *pg.Node_ConstraintsSetStmt:
		return &ast.ConstraintsSetStmt{Names: l.rangeVars(x.ConstraintsSetStmt.Constraints), Deferred: x.ConstraintsSetStmt.Deferred}
	case *pg.Node_PrepareStmt:
		out := &ast.PrepareStmt{Name: x.PrepareStmt.Name, Query: l.stmt(x.PrepareStmt.Query)}
		for _, t := range x.PrepareStmt.Argtypes {
			out.Types = append(out.Types, l.typeName(t.GetTypeName()))
		}
		return out
	case *pg.Node_ExecuteStmt:
		return &ast.ExecuteStmt{Name: x.ExecuteStmt.Name, Args: l.exprs(x.ExecuteStmt.Params)}
	case *pg.Node_DeallocateStmt:
		return &ast.DeallocateStmt{Name: x.DeallocateStmt.Name}
	case *pg.Node_DeclareCursorStmt:
		s := x.DeclareCursorStmt
		o := s.Options
		return &ast.DeclareCursorStmt{
			Name: s.Portalname, Binary: o&cursorBinary != 0, Scroll: o&cursorScroll != 0, NoScroll: o&cursorNoScroll != 0,
			Hold: o&cursorHold != 0, Insensitive: o&cursorInsensitive != 0, Asensitive: o&cursorAsensitive != 0, Query: l.stmt(s.Query),
		}
	case *pg.Node_FetchStmt:
		s := x.FetchStmt
		out := &ast.FetchStmt{Count: s.HowMany, Cursor: s.Portalname, Move: s.Ismove}
		if s.HowMany == math.MaxInt64 {
			out.Count = ast.FetchAll
		}
		if s.Direction > pg.FetchDirection_FETCH_FORWARD {
			out.Dir = ast.FetchDir(s.Direction - pg.FetchDirection_FETCH_FORWARD)
		}
		return out
	case *pg.Node_ClosePortalStmt:
		return &ast.CloseStmt{Cursor: x.ClosePortalStmt.Portalname}
	case *pg.Node_ExplainStmt:
		return &ast.ExplainStmt{Query: l.stmt(x.ExplainStmt.Query), Options: l.defElems(x.ExplainStmt.Options)}
	case *pg.Node_ListenStmt:
		return &ast.ListenStmt{Channel: x.ListenStmt.Conditionname}
	case *pg.Node_UnlistenStmt:
		return &ast.UnlistenStmt{Channel: x.UnlistenStmt.Conditionname}
	case *pg.Node_NotifyStmt:
		return &ast.NotifyStmt{Channel: x.NotifyStmt.Conditionname, Payload: x.NotifyStmt.Payload}
	case *pg.Node_LockStmt:
		return &ast.LockStmt{Tables: l.rangeVars(x.LockStmt.Relations), Mode: int(x.LockStmt.Mode), NoWait: x.LockStmt.Nowait}
	case *pg.Node_VacuumStmt:
		out := &ast.VacuumStmt{Analyze: !x.VacuumStmt.IsVacuumcmd, Options: l.defElems(x.VacuumStmt.Options)}
		for _, r := range x.VacuumStmt.Rels {
			v := r.GetVacuumRelation()
			out.Tables = append(out.Tables, ast.VacuumTable{Table: l.rangeVar(v.Relation), Columns: strs(v.VaCols)})
		}
		return out
	case *pg.Node_CallStmt:
		return &ast.CallStmt{Func: l.funcCall(x.CallStmt.Funccall)}
	case *pg.Node_DoStmt:
		return &ast.DoStmt{Options: l.defElems(x.DoStmt.Args)}
	case *pg.Node_ReindexStmt:
		s := x.ReindexStmt
		kind := [...]string{"", "INDEX", "TABLE", "SCHEMA", "SYSTEM", "DATABASE"}[s.Kind]
		return &ast.ReindexStmt{Kind: kind, Relation: l.rangeVar(s.Relation), Name: s.Name, Options: l.defElems(s.Params)}
	case *pg.Node_ClusterStmt:
		s := x.ClusterStmt
		return &ast.ClusterStmt{Table: l.rangeVar(s.Relation), Index: s.Indexname, Options: l.defElems(s.Params)}
	case *pg.Node_CheckPointStmt:
		return &ast.CheckpointStmt{}
	case *pg.Node_LoadStmt:
		return &ast.LoadStmt{File: x.LoadStmt.Filename}
	}
	return nil
}

func (l *lowerer) setStmt(s *pg.VariableSetStmt) *ast.SetStmt {
	out := &ast.SetStmt{Name: s.Name, Local: s.IsLocal, Pos: pos(s.Location)}
	switch s.Kind {
	case pg.VariableSetKind_VAR_SET_DEFAULT:
		out.Kind = ast.SetToDefault
	case pg.VariableSetKind_VAR_SET_CURRENT:
		out.Kind = ast.SetFromCurrent
	case pg.VariableSetKind_VAR_RESET:
		out.Kind = ast.ResetVar
	case pg.VariableSetKind_VAR_RESET_ALL:
		out.Kind = ast.ResetAll
	case pg.VariableSetKind_VAR_SET_MULTI:
		switch s.Name {
		case "TRANSACTION SNAPSHOT":
			out.Kind, out.Args = ast.SetSnapshot, l.exprs(s.Args)
		case "SESSION CHARACTERISTICS":
			out.Kind, out.Modes = ast.SetSessionCharacteristics, txnModes(s.Args)
		default:
			out.Kind, out.Modes = ast.SetTransaction, txnModes(s.Args)
		}
	default:
		out.Args = l.exprs(s.Args)
	}
	return out
}

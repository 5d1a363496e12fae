package parser

import (
	pg "github.com/sqlc-dev/oliphant/ast"

	"github.com/meridian-db/meridian/sql/ast"
)

// defineStmt lowers the statements about aggregates, operators, casts and event triggers, nil if it is none of them.
func (l *lowerer) defineStmt(n *pg.Node) ast.Stmt {
	switch x := n.GetNode().(type) {
	case *pg.Node_DefineStmt:
		return l.define(x.DefineStmt)
	case *pg.Node_AlterOperatorStmt:
		return &ast.AlterOperatorStmt{Operator: l.funcSig(x.AlterOperatorStmt.Opername), Options: l.defElems(x.AlterOperatorStmt.Options)}
	case *pg.Node_CreateCastStmt:
		s := x.CreateCastStmt
		out := &ast.CreateCastStmt{Source: l.typeName(s.Sourcetype), Target: l.typeName(s.Targettype), InOut: s.Inout, Context: 'e'}
		if s.Func != nil {
			out.Func = l.funcSig(s.Func)
		}
		switch s.Context {
		case pg.CoercionContext_COERCION_IMPLICIT:
			out.Context = 'i'
		case pg.CoercionContext_COERCION_ASSIGNMENT:
			out.Context = 'a'
		}
		return out
	case *pg.Node_CreateEventTrigStmt:
		s := x.CreateEventTrigStmt
		return &ast.CreateEventTriggerStmt{Name: s.Trigname, Event: s.Eventname, Filter: l.defElems(s.Whenclause), Func: strs(s.Funcname)}
	case *pg.Node_AlterEventTrigStmt:
		return &ast.AlterEventTriggerStmt{Name: x.AlterEventTrigStmt.Trigname, Enabled: x.AlterEventTrigStmt.Tgenabled[0]}
	}
	return nil
}

func (l *lowerer) define(s *pg.DefineStmt) *ast.DefineStmt {
	out := &ast.DefineStmt{Object: objectTypes[s.Kind], Name: strs(s.Defnames), Options: l.defElems(s.Definition), IfNotExists: s.IfNotExists,
		Replace: s.Replace, OldStyle: s.Oldstyle, Direct: -1}
	if out.Object == ast.ObjAggregate && !out.OldStyle && len(s.Args) == 2 {
		out.Params = l.funcParams(s.Args[0].GetList().GetItems())
		out.Direct = int(s.Args[1].GetInteger().GetIval())
	}
	return out
}

// funcParams lowers the parameters of a function or aggregate.
func (l *lowerer) funcParams(ns []*pg.Node) []*ast.FuncParam {
	var out []*ast.FuncParam
	for _, n := range ns {
		p := n.GetFunctionParameter()
		fp := &ast.FuncParam{Name: p.Name, Type: l.typeName(p.ArgType), Default: l.optExpr(p.Defexpr), Pos: pos(p.Location)}
		switch p.Mode {
		case pg.FunctionParameterMode_FUNC_PARAM_OUT:
			fp.Mode = ast.ParamOut
		case pg.FunctionParameterMode_FUNC_PARAM_INOUT:
			fp.Mode = ast.ParamInOut
		case pg.FunctionParameterMode_FUNC_PARAM_VARIADIC:
			fp.Mode = ast.ParamVariadic
		case pg.FunctionParameterMode_FUNC_PARAM_TABLE:
			fp.Mode = ast.ParamTable
		}
		out = append(out, fp)
	}
	return out
}

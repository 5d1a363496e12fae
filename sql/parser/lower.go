package parser

import (
	"strings"

	pg "github.com/sqlc-dev/oliphant/ast"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// maxExprDepth bounds the depth of every tree that leaves this package, so that the recursive walks of
// binder, planner and executor are bounded too. 1+1+1+... is a left-deep tree: a statement of 1 MiB could
// otherwise be half a million levels deep. PostgreSQL's max_stack_depth of 2 MB allows a similar number.
const maxExprDepth = 5000

// lowerer turns the grammar library's tree into ours. It leaves by panic(bailout{err}), which Parse
// recovers, because an error can only be found deep inside and is fatal to the statement.
type lowerer struct {
	depth     int
	numParams int
	// sources makes the columns of UPDATE SET (a, b) = x share one lowered x.
	sources map[*pg.Node]ast.Expr
}

type bailout struct{ err error }

func (l *lowerer) fail(code string, off int32, format string, args ...any) {
	panic(bailout{pgerr.New(code, format, args...).WithPosition(int(ast.PgPos(off)))})
}

// enter counts a level of nesting; the caller defers or calls leave.
func (l *lowerer) enter(off int32) {
	l.depth++
	if l.depth > maxExprDepth {
		panic(bailout{tooComplex(off)})
	}
}

func (l *lowerer) leave() { l.depth-- }

func tooComplex(off int32) *pgerr.Error {
	return pgerr.New(pgerr.StatementTooComplex, "stack depth limit exceeded").
		WithHint("The statement is nested too deeply; split it or use an IN list, VALUES or a temporary table.").
		WithPosition(int(ast.PgPos(off)))
}

func pos(off int32) ast.Pos { return ast.Pos{Off: off} }

// str returns the text of a String node.
func str(n *pg.Node) string { return n.GetString_().GetSval() }

// strs returns the texts of a list of String nodes, nil for an empty list.
func strs(ns []*pg.Node) []string {
	if len(ns) == 0 {
		return nil
	}
	out := make([]string, 0, len(ns))
	for _, n := range ns {
		switch {
		case n.GetAStar() != nil:
			out = append(out, "*")
		default:
			out = append(out, str(n))
		}
	}
	return out
}

func behavior(b pg.DropBehavior) ast.DropBehavior {
	if b == pg.DropBehavior_DROP_CASCADE {
		return ast.Cascade
	}
	return ast.Restrict
}

func (l *lowerer) rangeVar(r *pg.RangeVar) *ast.RangeVar {
	if r == nil {
		return nil
	}
	v := &ast.RangeVar{
		Catalog: r.Catalogname, Schema: r.Schemaname, Name: r.Relname,
		Only: !r.Inh, Alias: alias(r.Alias), Pos: pos(r.Location),
	}
	switch r.Relpersistence {
	case "t":
		v.Persistence = ast.Temporary
	case "u":
		v.Persistence = ast.Unlogged
	}
	return v
}

func (l *lowerer) rangeVars(ns []*pg.Node) []*ast.RangeVar {
	var out []*ast.RangeVar
	for _, n := range ns {
		out = append(out, l.rangeVar(n.GetRangeVar()))
	}
	return out
}

func alias(a *pg.Alias) *ast.Alias {
	if a == nil {
		return nil
	}
	return &ast.Alias{Name: a.Aliasname, Columns: strs(a.Colnames)}
}

func role(r *pg.RoleSpec) *ast.RoleSpec {
	if r == nil {
		return nil
	}
	out := &ast.RoleSpec{Name: r.Rolename, Pos: pos(r.Location)}
	switch r.Roletype {
	case pg.RoleSpecType_ROLESPEC_CURRENT_ROLE:
		out.Kind = ast.RoleCurrentRole
	case pg.RoleSpecType_ROLESPEC_CURRENT_USER:
		out.Kind = ast.RoleCurrentUser
	case pg.RoleSpecType_ROLESPEC_SESSION_USER:
		out.Kind = ast.RoleSessionUser
	case pg.RoleSpecType_ROLESPEC_PUBLIC:
		out.Kind = ast.RolePublic
	}
	return out
}

func roles(ns []*pg.Node) []*ast.RoleSpec {
	var out []*ast.RoleSpec
	for _, n := range ns {
		out = append(out, role(n.GetRoleSpec()))
	}
	return out
}

func (l *lowerer) typeName(t *pg.TypeName) *ast.TypeName {
	if t == nil {
		return nil
	}
	out := &ast.TypeName{
		Names: strs(t.Names), Setof: t.Setof, PctType: t.PctType,
		Typmods: l.exprs(t.Typmods), Pos: pos(t.Location),
	}
	for _, b := range t.ArrayBounds {
		out.Bounds = append(out.Bounds, b.GetInteger().GetIval())
	}
	return out
}

// defElems lowers an option list.
func (l *lowerer) defElems(ns []*pg.Node) []*ast.DefElem {
	var out []*ast.DefElem
	for _, n := range ns {
		if d := n.GetDefElem(); d != nil {
			out = append(out, l.defElem(d))
		}
	}
	return out
}

func (l *lowerer) defElem(d *pg.DefElem) *ast.DefElem {
	out := &ast.DefElem{Namespace: d.Defnamespace, Name: d.Defname, Pos: pos(d.Location)}
	switch d.Defaction {
	case pg.DefElemAction_DEFELEM_SET:
		out.Action = ast.DefSet
	case pg.DefElemAction_DEFELEM_ADD:
		out.Action = ast.DefAdd
	case pg.DefElemAction_DEFELEM_DROP:
		out.Action = ast.DefDrop
	}
	if d.Arg != nil {
		out.Arg = l.defArg(d.Arg)
	}
	return out
}

func (l *lowerer) defArg(n *pg.Node) *ast.DefArg {
	l.enter(-1)
	defer l.leave()
	switch x := n.Node.(type) {
	case *pg.Node_String_:
		return &ast.DefArg{Kind: ast.DefString, Str: x.String_.Sval}
	case *pg.Node_Integer:
		return &ast.DefArg{Kind: ast.DefInteger, Int: int64(x.Integer.Ival)}
	case *pg.Node_Float:
		return &ast.DefArg{Kind: ast.DefFloat, Str: x.Float.Fval}
	case *pg.Node_Boolean:
		return &ast.DefArg{Kind: ast.DefBool, Bool: x.Boolean.Boolval}
	case *pg.Node_TypeName:
		return &ast.DefArg{Kind: ast.DefType, Type: l.typeName(x.TypeName)}
	case *pg.Node_AStar:
		return &ast.DefArg{Kind: ast.DefStar}
	case *pg.Node_RoleSpec:
		return &ast.DefArg{Kind: ast.DefRole, Role: role(x.RoleSpec)}
	case *pg.Node_VariableSetStmt:
		return &ast.DefArg{Kind: ast.DefVarSet, Set: l.setStmt(x.VariableSetStmt)}
	case *pg.Node_AConst:
		// DO, COPY and SET TRANSACTION wrap plain values in constants.
		switch v := x.AConst.Val.(type) {
		case *pg.A_Const_Sval:
			return &ast.DefArg{Kind: ast.DefString, Str: v.Sval.Sval}
		case *pg.A_Const_Ival:
			return &ast.DefArg{Kind: ast.DefInteger, Int: int64(v.Ival.GetIval())}
		case *pg.A_Const_Boolval:
			return &ast.DefArg{Kind: ast.DefBool, Bool: v.Boolval.Boolval}
		}
		return &ast.DefArg{Kind: ast.DefExpr, Expr: l.expr(n)}
	case *pg.Node_List:
		plain := len(x.List.Items) > 0
		for _, it := range x.List.Items {
			if it.GetString_() == nil {
				plain = false
			}
		}
		out := &ast.DefArg{Kind: ast.DefList}
		if plain {
			out.Names = strs(x.List.Items)
		}
		for _, it := range x.List.Items {
			if it.GetNode() == nil {
				continue
			}
			out.List = append(out.List, l.defArg(it))
		}
		return out
	case *pg.Node_DefElem:
		return &ast.DefArg{Kind: ast.DefString, Str: x.DefElem.Defname}
	}
	return &ast.DefArg{Kind: ast.DefExpr, Expr: l.expr(n)}
}

// objectTypes maps the grammar's object types to ours.
var objectTypes = map[pg.ObjectType]ast.ObjectType{
	pg.ObjectType_OBJECT_AGGREGATE:       ast.ObjAggregate,
	pg.ObjectType_OBJECT_ATTRIBUTE:       ast.ObjAttribute,
	pg.ObjectType_OBJECT_CAST:            ast.ObjCast,
	pg.ObjectType_OBJECT_COLUMN:          ast.ObjColumn,
	pg.ObjectType_OBJECT_COLLATION:       ast.ObjCollation,
	pg.ObjectType_OBJECT_CONVERSION:      ast.ObjConversion,
	pg.ObjectType_OBJECT_DATABASE:        ast.ObjDatabase,
	pg.ObjectType_OBJECT_DEFAULT:         ast.ObjDefault,
	pg.ObjectType_OBJECT_DOMAIN:          ast.ObjDomain,
	pg.ObjectType_OBJECT_DOMCONSTRAINT:   ast.ObjDomainConstraint,
	pg.ObjectType_OBJECT_EVENT_TRIGGER:   ast.ObjEventTrigger,
	pg.ObjectType_OBJECT_EXTENSION:       ast.ObjExtension,
	pg.ObjectType_OBJECT_FDW:             ast.ObjFDW,
	pg.ObjectType_OBJECT_FOREIGN_SERVER:  ast.ObjServer,
	pg.ObjectType_OBJECT_FOREIGN_TABLE:   ast.ObjForeignTable,
	pg.ObjectType_OBJECT_FUNCTION:        ast.ObjFunction,
	pg.ObjectType_OBJECT_INDEX:           ast.ObjIndex,
	pg.ObjectType_OBJECT_LANGUAGE:        ast.ObjLanguage,
	pg.ObjectType_OBJECT_LARGEOBJECT:     ast.ObjLargeObject,
	pg.ObjectType_OBJECT_MATVIEW:         ast.ObjMatView,
	pg.ObjectType_OBJECT_OPCLASS:         ast.ObjOperatorClass,
	pg.ObjectType_OBJECT_OPERATOR:        ast.ObjOperator,
	pg.ObjectType_OBJECT_OPFAMILY:        ast.ObjOperatorFamily,
	pg.ObjectType_OBJECT_PARAMETER_ACL:   ast.ObjParameter,
	pg.ObjectType_OBJECT_POLICY:          ast.ObjPolicy,
	pg.ObjectType_OBJECT_PROCEDURE:       ast.ObjProcedure,
	pg.ObjectType_OBJECT_PUBLICATION:     ast.ObjPublication,
	pg.ObjectType_OBJECT_ROLE:            ast.ObjRole,
	pg.ObjectType_OBJECT_ROUTINE:         ast.ObjRoutine,
	pg.ObjectType_OBJECT_RULE:            ast.ObjRule,
	pg.ObjectType_OBJECT_SCHEMA:          ast.ObjSchema,
	pg.ObjectType_OBJECT_SEQUENCE:        ast.ObjSequence,
	pg.ObjectType_OBJECT_SUBSCRIPTION:    ast.ObjSubscription,
	pg.ObjectType_OBJECT_STATISTIC_EXT:   ast.ObjStatistics,
	pg.ObjectType_OBJECT_TABCONSTRAINT:   ast.ObjTableConstraint,
	pg.ObjectType_OBJECT_TABLE:           ast.ObjTable,
	pg.ObjectType_OBJECT_TABLESPACE:      ast.ObjTablespace,
	pg.ObjectType_OBJECT_TRANSFORM:       ast.ObjTransform,
	pg.ObjectType_OBJECT_TRIGGER:         ast.ObjTrigger,
	pg.ObjectType_OBJECT_TSCONFIGURATION: ast.ObjTSConfig,
	pg.ObjectType_OBJECT_TSDICTIONARY:    ast.ObjTSDict,
	pg.ObjectType_OBJECT_TSPARSER:        ast.ObjTSParser,
	pg.ObjectType_OBJECT_TSTEMPLATE:      ast.ObjTSTemplate,
	pg.ObjectType_OBJECT_TYPE:            ast.ObjType,
	pg.ObjectType_OBJECT_USER_MAPPING:    ast.ObjUserMapping,
	pg.ObjectType_OBJECT_VIEW:            ast.ObjView,
	pg.ObjectType_OBJECT_ACCESS_METHOD:   ast.ObjAccessMethod,
}

// object lowers the object of DROP, COMMENT, RENAME and their kin.
func (l *lowerer) object(n *pg.Node) *ast.ObjectName {
	if n == nil {
		return nil
	}
	switch x := n.Node.(type) {
	case *pg.Node_String_:
		return &ast.ObjectName{Names: []string{x.String_.Sval}, Pos: pos(-1)}
	case *pg.Node_RangeVar:
		r := x.RangeVar
		var names []string
		if r.Catalogname != "" {
			names = append(names, r.Catalogname)
		}
		if r.Schemaname != "" {
			names = append(names, r.Schemaname)
		}
		return &ast.ObjectName{Names: append(names, r.Relname), Pos: pos(r.Location)}
	case *pg.Node_TypeName:
		return &ast.ObjectName{Names: strs(x.TypeName.Names), Type: l.typeName(x.TypeName), Pos: pos(x.TypeName.Location)}
	case *pg.Node_ObjectWithArgs:
		return &ast.ObjectName{Names: strs(x.ObjectWithArgs.Objname), Func: l.funcSig(x.ObjectWithArgs), Pos: pos(-1)}
	case *pg.Node_List:
		out := &ast.ObjectName{Pos: pos(-1)}
		for _, it := range x.List.Items {
			switch y := it.Node.(type) {
			case *pg.Node_String_:
				out.Names = append(out.Names, y.String_.Sval)
			case *pg.Node_TypeName:
				t := l.typeName(y.TypeName)
				if out.Type == nil {
					out.Type = t
				} else {
					out.To = t
				}
			}
		}
		if out.Type != nil && out.To == nil {
			// A constraint or attribute of a domain: the type's name comes first.
			out.Names = append(append([]string(nil), out.Type.Names...), out.Names...)
		}
		return out
	case *pg.Node_RoleSpec:
		return &ast.ObjectName{Names: []string{x.RoleSpec.Rolename}, Pos: pos(x.RoleSpec.Location)}
	case *pg.Node_Integer:
		return &ast.ObjectName{Names: []string{itoa(int64(x.Integer.Ival))}, Pos: pos(-1)}
	case *pg.Node_Float:
		return &ast.ObjectName{Names: []string{x.Float.Fval}, Pos: pos(-1)}
	}
	return &ast.ObjectName{Pos: pos(-1)}
}

func (l *lowerer) funcSig(o *pg.ObjectWithArgs) *ast.FuncSig {
	s := &ast.FuncSig{Name: strs(o.Objname), ArgsUnspecified: o.ArgsUnspecified, Pos: pos(-1)}
	for _, a := range o.Objargs {
		// A missing operand of a unary operator is a nil type name.
		s.Args = append(s.Args, l.typeName(a.GetTypeName()))
	}
	return s
}

// txnModes lowers the mode list of BEGIN and SET TRANSACTION.
func txnModes(ns []*pg.Node) ast.TxnModes {
	var m ast.TxnModes
	for _, n := range ns {
		d := n.GetDefElem()
		if d == nil {
			continue
		}
		c := d.Arg.GetAConst()
		on := c.GetIval().GetIval() != 0
		switch d.Defname {
		case "transaction_isolation":
			m.Isolation = strings.ToLower(c.GetSval().GetSval())
		case "transaction_read_only":
			m.ReadOnly = &on
		case "transaction_deferrable":
			m.Deferrable = &on
		}
	}
	return m
}

package parser

import (
	"strings"
	"unicode"

	pg "github.com/sqlc-dev/oliphant/ast"

	"github.com/meridian-db/meridian/sql/ast"
)

// stmt lowers a statement.
func (l *lowerer) stmt(n *pg.Node) ast.Stmt {
	l.enter(-1)
	defer l.leave()
	switch x := n.GetNode().(type) {
	case *pg.Node_SelectStmt:
		return l.selectStmt(x.SelectStmt)
	case *pg.Node_InsertStmt:
		return l.insert(x.InsertStmt)
	case *pg.Node_UpdateStmt:
		return l.update(x.UpdateStmt)
	case *pg.Node_DeleteStmt:
		return l.delete(x.DeleteStmt)
	case *pg.Node_MergeStmt:
		return l.merge(x.MergeStmt)
	case *pg.Node_CopyStmt:
		return l.copy(x.CopyStmt)
	}
	if s := l.utilityStmt(n); s != nil {
		return s
	}
	if s := l.tableStmt(n); s != nil {
		return s
	}
	if s := l.publicationStmt(n); s != nil {
		return s
	}
	if s := l.defineStmt(n); s != nil {
		return s
	}
	if s := l.objectStmt(n); s != nil {
		return s
	}
	return &ast.UnsupportedStmt{Name: stmtName(n)}
}

// tableStmt lowers DDL on relations, nil for anything else.
func (l *lowerer) tableStmt(n *pg.Node) ast.Stmt {
	switch x := n.GetNode().(type) {
	case *pg.Node_CreateStmt:
		return l.createTable(x.CreateStmt)
	case *pg.Node_CreateForeignTableStmt:
		t := l.createTable(x.CreateForeignTableStmt.BaseStmt)
		t.Foreign = true
		return t
	case *pg.Node_IndexStmt:
		return l.createIndex(x.IndexStmt)
	case *pg.Node_AlterTableStmt:
		return l.alterTable(x.AlterTableStmt)
	case *pg.Node_CreateTableAsStmt:
		s := x.CreateTableAsStmt
		return &ast.CreateTableAsStmt{Object: objectTypes[s.Objtype], Into: l.into(s.Into), Query: l.stmt(s.Query), IfNotExists: s.IfNotExists}
	case *pg.Node_RefreshMatViewStmt:
		s := x.RefreshMatViewStmt
		return &ast.RefreshStmt{View: l.rangeVar(s.Relation), Concurrently: s.Concurrent, NoData: s.SkipData}
	case *pg.Node_ViewStmt:
		return l.createView(x.ViewStmt)
	case *pg.Node_TruncateStmt:
		s := x.TruncateStmt
		return &ast.TruncateStmt{Tables: l.rangeVars(s.Relations), RestartSeqs: s.RestartSeqs, Behavior: behavior(s.Behavior)}
	case *pg.Node_DropStmt:
		return l.drop(x.DropStmt)
	case *pg.Node_RenameStmt:
		return l.rename(x.RenameStmt)
	case *pg.Node_AlterObjectSchemaStmt:
		s := x.AlterObjectSchemaStmt
		return &ast.AlterSchemaStmt{Object: objectTypes[s.ObjectType], Table: l.rangeVar(s.Relation), Name: l.object(s.Object), Schema: s.Newschema, IfExists: s.MissingOk}
	case *pg.Node_AlterOwnerStmt:
		s := x.AlterOwnerStmt
		return &ast.AlterOwnerStmt{Object: objectTypes[s.ObjectType], Name: l.object(s.Object), Owner: role(s.Newowner)}
	case *pg.Node_CommentStmt:
		return l.comment(x.CommentStmt)
	case *pg.Node_SecLabelStmt:
		s := x.SecLabelStmt
		out := &ast.SecurityLabelStmt{Object: objectTypes[s.Objtype], Name: l.object(s.Object), Provider: s.Provider}
		if s.Label != "" {
			out.Label = &s.Label
		}
		return out
	case *pg.Node_CreateSeqStmt:
		s := x.CreateSeqStmt
		return &ast.CreateSequenceStmt{Sequence: l.rangeVar(s.Sequence), Options: l.defElems(s.Options), IfNotExists: s.IfNotExists}
	case *pg.Node_AlterSeqStmt:
		s := x.AlterSeqStmt
		return &ast.AlterSequenceStmt{Sequence: l.rangeVar(s.Sequence), Options: l.defElems(s.Options), IfExists: s.MissingOk}
	}
	return nil
}

// objectStmt lowers DDL on everything else, nil if it is not that.
func (l *lowerer) objectStmt(n *pg.Node) ast.Stmt {
	switch x := n.GetNode().(type) {
	case *pg.Node_CreatedbStmt:
		return &ast.CreateDatabaseStmt{Name: x.CreatedbStmt.Dbname, Options: l.defElems(x.CreatedbStmt.Options)}
	case *pg.Node_AlterDatabaseStmt:
		return &ast.AlterDatabaseStmt{Name: x.AlterDatabaseStmt.Dbname, Options: l.defElems(x.AlterDatabaseStmt.Options)}
	case *pg.Node_AlterDatabaseSetStmt:
		return &ast.AlterDatabaseStmt{Name: x.AlterDatabaseSetStmt.Dbname, Set: l.setStmt(x.AlterDatabaseSetStmt.Setstmt)}
	case *pg.Node_DropdbStmt:
		s := x.DropdbStmt
		out := &ast.DropDatabaseStmt{Name: s.Dbname, IfExists: s.MissingOk}
		for _, o := range s.Options {
			if o.GetDefElem().GetDefname() == "force" {
				out.Force = true
			}
		}
		return out
	case *pg.Node_CreateSchemaStmt:
		s := x.CreateSchemaStmt
		out := &ast.CreateSchemaStmt{Name: s.Schemaname, Owner: role(s.Authrole), IfNotExists: s.IfNotExists}
		for _, e := range s.SchemaElts {
			out.Elements = append(out.Elements, l.stmt(e))
		}
		return out
	case *pg.Node_CreateEnumStmt:
		return &ast.CreateEnumStmt{Name: strs(x.CreateEnumStmt.TypeName), Labels: strs(x.CreateEnumStmt.Vals)}
	case *pg.Node_AlterEnumStmt:
		s := x.AlterEnumStmt
		return &ast.AlterEnumStmt{Name: strs(s.TypeName), Old: s.OldVal, New: s.NewVal, Neighbor: s.NewValNeighbor,
			After: s.NewValIsAfter, IfNotExists: s.SkipIfNewValExists}
	case *pg.Node_CompositeTypeStmt:
		return &ast.CreateCompositeStmt{Type: l.rangeVar(x.CompositeTypeStmt.Typevar), Columns: l.columnDefs(x.CompositeTypeStmt.Coldeflist)}
	case *pg.Node_CreateRangeStmt:
		return &ast.CreateRangeStmt{Name: strs(x.CreateRangeStmt.TypeName), Options: l.defElems(x.CreateRangeStmt.Params)}
	case *pg.Node_CreateDomainStmt:
		s := x.CreateDomainStmt
		out := &ast.CreateDomainStmt{Name: strs(s.Domainname), Type: l.typeName(s.TypeName), Constraints: l.columnConstraints(s.Constraints)}
		if s.CollClause != nil {
			out.Collation = strs(s.CollClause.Collname)
		}
		return out
	case *pg.Node_AlterDomainStmt:
		return l.alterDomain(x.AlterDomainStmt)
	case *pg.Node_CreateRoleStmt:
		return l.createRole(x.CreateRoleStmt)
	case *pg.Node_AlterRoleStmt:
		return &ast.AlterRoleStmt{Role: role(x.AlterRoleStmt.Role), Options: l.defElems(x.AlterRoleStmt.Options), Drop: x.AlterRoleStmt.Action < 0}
	case *pg.Node_AlterRoleSetStmt:
		s := x.AlterRoleSetStmt
		return &ast.AlterRoleSetStmt{Role: role(s.Role), Database: s.Database, Set: l.setStmt(s.Setstmt)}
	case *pg.Node_DropRoleStmt:
		return &ast.DropRoleStmt{Roles: roles(x.DropRoleStmt.Roles), IfExists: x.DropRoleStmt.MissingOk}
	case *pg.Node_CreateTableSpaceStmt:
		s := x.CreateTableSpaceStmt
		return &ast.CreateTablespaceStmt{Name: s.Tablespacename, Owner: role(s.Owner), Location: s.Location, Options: l.defElems(s.Options)}
	case *pg.Node_AlterTableSpaceOptionsStmt:
		s := x.AlterTableSpaceOptionsStmt
		return &ast.AlterTablespaceStmt{Name: s.Tablespacename, Options: l.defElems(s.Options), Reset: s.IsReset}
	case *pg.Node_AlterTableMoveAllStmt:
		s := x.AlterTableMoveAllStmt
		return &ast.MoveAllStmt{Object: objectTypes[s.Objtype], From: s.OrigTablespacename, To: s.NewTablespacename, Owners: roles(s.Roles)}
	case *pg.Node_DropTableSpaceStmt:
		return &ast.DropTablespaceStmt{Name: x.DropTableSpaceStmt.Tablespacename, IfExists: x.DropTableSpaceStmt.MissingOk}
	case *pg.Node_CreateExtensionStmt:
		s := x.CreateExtensionStmt
		return &ast.CreateExtensionStmt{Name: s.Extname, IfNotExists: s.IfNotExists, Options: l.defElems(s.Options)}
	case *pg.Node_AlterExtensionStmt:
		return &ast.AlterExtensionStmt{Name: x.AlterExtensionStmt.Extname, Options: l.defElems(x.AlterExtensionStmt.Options)}
	case *pg.Node_CreateFunctionStmt:
		return l.createFunction(x.CreateFunctionStmt)
	case *pg.Node_AlterFunctionStmt:
		s := x.AlterFunctionStmt
		return &ast.AlterFunctionStmt{Object: objectTypes[s.Objtype], Func: l.funcSig(s.Func), Options: l.defElems(s.Actions)}
	case *pg.Node_CreateTrigStmt:
		return l.createTrigger(x.CreateTrigStmt)
	case *pg.Node_CreatePolicyStmt:
		s := x.CreatePolicyStmt
		return &ast.CreatePolicyStmt{Name: s.PolicyName, Table: l.rangeVar(s.Table), Restrictive: !s.Permissive, Cmd: s.CmdName,
			Roles: roles(s.Roles), Using: l.optExpr(s.Qual), Check: l.optExpr(s.WithCheck)}
	case *pg.Node_RuleStmt:
		s := x.RuleStmt
		out := &ast.CreateRuleStmt{Name: s.Rulename, Table: l.rangeVar(s.Relation), Where: l.optExpr(s.WhereClause), Instead: s.Instead, Replace: s.Replace}
		out.Event = map[pg.CmdType]string{pg.CmdType_CMD_SELECT: "SELECT", pg.CmdType_CMD_INSERT: "INSERT", pg.CmdType_CMD_UPDATE: "UPDATE", pg.CmdType_CMD_DELETE: "DELETE"}[s.Event]
		for _, a := range s.Actions {
			out.Actions = append(out.Actions, l.stmt(a))
		}
		return out
	case *pg.Node_AlterPolicyStmt:
		s := x.AlterPolicyStmt
		return &ast.AlterPolicyStmt{Name: s.PolicyName, Table: l.rangeVar(s.Table), Roles: roles(s.Roles), Using: l.optExpr(s.Qual), Check: l.optExpr(s.WithCheck)}
	case *pg.Node_GrantStmt:
		return l.grant(x.GrantStmt)
	case *pg.Node_GrantRoleStmt:
		return l.grantRole(x.GrantRoleStmt)
	case *pg.Node_AlterDefaultPrivilegesStmt:
		return l.alterDefaultPrivileges(x.AlterDefaultPrivilegesStmt)
	case *pg.Node_DropOwnedStmt:
		return &ast.DropOwnedStmt{Roles: roles(x.DropOwnedStmt.Roles), Behavior: behavior(x.DropOwnedStmt.Behavior)}
	case *pg.Node_ReassignOwnedStmt:
		return &ast.ReassignOwnedStmt{Roles: roles(x.ReassignOwnedStmt.Roles), To: role(x.ReassignOwnedStmt.Newrole)}
	}
	return nil
}

// stmtName makes a readable name of a statement without a lowering: "CreateConversionStmt" is CREATE CONVERSION.
func stmtName(n *pg.Node) string {
	m := n.ProtoReflect()
	od := m.Descriptor().Oneofs().ByName("node")
	fd := m.WhichOneof(od)
	if fd == nil {
		return "this statement"
	}
	name := strings.TrimSuffix(string(fd.Message().Name()), "Stmt")
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

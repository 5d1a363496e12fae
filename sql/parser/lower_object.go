package parser

import (
	pg "github.com/sqlc-dev/oliphant/ast"

	"github.com/meridian-db/meridian/sql/ast"
)

func (l *lowerer) createRole(s *pg.CreateRoleStmt) *ast.CreateRoleStmt {
	kind := "ROLE"
	switch s.StmtType {
	case pg.RoleStmtType_ROLESTMT_USER:
		kind = "USER"
	case pg.RoleStmtType_ROLESTMT_GROUP:
		kind = "GROUP"
	}
	return &ast.CreateRoleStmt{Kind: kind, Name: s.Role, Options: l.defElems(s.Options)}
}

func (l *lowerer) createFunction(s *pg.CreateFunctionStmt) *ast.CreateFunctionStmt {
	out := &ast.CreateFunctionStmt{
		Procedure: s.IsProcedure, Replace: s.Replace, Name: strs(s.Funcname),
		Returns: l.typeName(s.ReturnType), Options: l.defElems(s.Options),
	}
	out.Params = l.funcParams(s.Parameters)
	if b := s.SqlBody; b != nil {
		l.enter(-1)
		if r := b.GetReturnStmt(); r != nil {
			out.Body = []ast.Stmt{&ast.ReturnStmt{Expr: l.expr(r.Returnval)}}
		} else {
			out.Body = l.stmtLists(b)
		}
		l.leave()
	}
	return out
}

// stmtLists lowers the list of lists that BEGIN ATOMIC makes.
func (l *lowerer) stmtLists(n *pg.Node) []ast.Stmt {
	var out []ast.Stmt
	for _, it := range n.GetList().GetItems() {
		if it.GetList() != nil {
			l.enter(-1)
			out = append(out, l.stmtLists(it)...)
			l.leave()
			continue
		}
		if r := it.GetReturnStmt(); r != nil {
			out = append(out, &ast.ReturnStmt{Expr: l.expr(r.Returnval)})
			continue
		}
		if it.GetNode() != nil {
			out = append(out, l.stmt(it))
		}
	}
	return out
}

// Trigger type bits, as in PostgreSQL's pg_trigger.h.
const (
	trigBefore   = 1 << 1
	trigInsert   = 1 << 2
	trigDelete   = 1 << 3
	trigUpdate   = 1 << 4
	trigTruncate = 1 << 5
	trigInstead  = 1 << 6
)

func (l *lowerer) createTrigger(s *pg.CreateTrigStmt) *ast.CreateTriggerStmt {
	out := &ast.CreateTriggerStmt{
		Replace: s.Replace, Constraint: s.Isconstraint, Name: s.Trigname, Table: l.rangeVar(s.Relation),
		Func: strs(s.Funcname), Args: strs(s.Args), Row: s.Row, Columns: strs(s.Columns),
		When: l.optExpr(s.WhenClause), Deferrable: s.Deferrable, InitiallyDeferred: s.Initdeferred,
		RefTable: l.rangeVar(s.Constrrel),
	}
	switch {
	case s.Timing&trigBefore != 0:
		out.Timing = ast.TriggerBefore
	case s.Timing&trigInstead != 0:
		out.Timing = ast.TriggerInsteadOf
	}
	for bit, ev := range map[int32]uint8{trigInsert: ast.OnInsert, trigDelete: ast.OnDelete, trigUpdate: ast.OnUpdate, trigTruncate: ast.OnTruncate} {
		if s.Events&bit != 0 {
			out.Events |= ev
		}
	}
	for _, n := range s.TransitionRels {
		t := n.GetTriggerTransition()
		if t.IsNew {
			out.NewTable = t.Name
		} else {
			out.OldTable = t.Name
		}
	}
	return out
}

func (l *lowerer) drop(s *pg.DropStmt) *ast.DropStmt {
	out := &ast.DropStmt{Object: objectTypes[s.RemoveType], IfExists: s.MissingOk, Behavior: behavior(s.Behavior), Concurrently: s.Concurrent}
	for _, n := range s.Objects {
		out.Objects = append(out.Objects, l.object(n))
	}
	return out
}

func (l *lowerer) rename(s *pg.RenameStmt) *ast.RenameStmt {
	out := &ast.RenameStmt{
		Object: objectTypes[s.RenameType], Table: l.rangeVar(s.Relation), Name: l.object(s.Object),
		Sub: s.Subname, New: s.Newname, IfExists: s.MissingOk, Behavior: behavior(s.Behavior),
	}
	// The zero value of PostgreSQL's enum is ACCESS METHOD: not written.
	if s.RelationType != pg.ObjectType_OBJECT_ACCESS_METHOD {
		out.Relation = objectTypes[s.RelationType]
	}
	if out.Object == ast.ObjTableConstraint && out.Relation == "" {
		out.Relation = ast.ObjTable
	}
	return out
}

func (l *lowerer) grant(s *pg.GrantStmt) *ast.GrantStmt {
	out := &ast.GrantStmt{
		Revoke: !s.IsGrant, Object: objectTypes[s.Objtype], Grantees: roles(s.Grantees),
		GrantOption: s.GrantOption, GrantedBy: role(s.Grantor), Behavior: behavior(s.Behavior),
	}
	switch s.Targtype {
	case pg.GrantTargetType_ACL_TARGET_ALL_IN_SCHEMA:
		out.Target = ast.GrantAllInSchema
	case pg.GrantTargetType_ACL_TARGET_DEFAULTS:
		out.Target = ast.GrantDefaults
	}
	for _, n := range s.Objects {
		out.Objects = append(out.Objects, l.object(n))
	}
	for _, n := range s.Privileges {
		p := n.GetAccessPriv()
		out.Privileges = append(out.Privileges, ast.Privilege{Name: p.PrivName, Columns: strs(p.Cols)})
	}
	return out
}

func (l *lowerer) grantRole(s *pg.GrantRoleStmt) *ast.GrantRoleStmt {
	out := &ast.GrantRoleStmt{Revoke: !s.IsGrant, Grantees: roles(s.GranteeRoles), Options: l.defElems(s.Opt),
		GrantedBy: role(s.Grantor), Behavior: behavior(s.Behavior)}
	for _, n := range s.GrantedRoles {
		out.Roles = append(out.Roles, n.GetAccessPriv().GetPrivName())
	}
	return out
}

func (l *lowerer) alterDefaultPrivileges(s *pg.AlterDefaultPrivilegesStmt) *ast.AlterDefaultPrivilegesStmt {
	out := &ast.AlterDefaultPrivilegesStmt{Grant: l.grant(s.Action)}
	for _, n := range s.Options {
		d := n.GetDefElem()
		switch d.GetDefname() {
		case "roles":
			out.Roles = roles(d.Arg.GetList().GetItems())
		case "schemas":
			out.Schemas = strs(d.Arg.GetList().GetItems())
		}
	}
	return out
}

func (l *lowerer) alterDomain(s *pg.AlterDomainStmt) *ast.AlterDomainStmt {
	out := &ast.AlterDomainStmt{Name: strs(s.TypeName), ConstraintName: s.Name, IfExists: s.MissingOk, Behavior: behavior(s.Behavior)}
	switch s.Subtype {
	case "T":
		out.Cmd, out.Expr = ast.DomainSetDefault, l.optExpr(s.Def)
	case "O":
		out.Cmd = ast.DomainSetNotNull
	case "N":
		out.Cmd = ast.DomainDropNotNull
	case "C":
		out.Cmd, out.Constraint = ast.DomainAddConstraint, l.constraint(s.Def.GetConstraint())
	case "X":
		out.Cmd = ast.DomainDropConstraint
	case "V":
		out.Cmd = ast.DomainValidateConstraint
	}
	return out
}

func (l *lowerer) comment(s *pg.CommentStmt) *ast.CommentStmt {
	out := &ast.CommentStmt{Object: objectTypes[s.Objtype], Name: l.object(s.Object)}
	// The tree cannot tell IS NULL from IS ''; both remove the comment, as in PostgreSQL.
	if s.Comment != "" {
		c := s.Comment
		out.Comment = &c
	}
	return out
}

package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// role finds the role that a statement names.
func (x *executor) role(r *ast.RoleSpec) (*catalog.Role, error) {
	switch r.Kind {
	case ast.RoleNamed:
		if role := x.snap().RoleByName(r.Name); role != nil {
			return role, nil
		}
		return nil, pgerr.New(pgerr.UndefinedObject, "role %q does not exist", r.Name)
	case ast.RolePublic:
		return nil, pgerr.New(pgerr.UndefinedObject, "role \"public\" does not exist")
	}
	if role := x.snap().RoleByID(x.User); role != nil {
		return role, nil
	}
	return nil, pgerr.New(pgerr.UndefinedObject, "the current role does not exist")
}

func (x *executor) needCreateRole() error {
	r := x.snap().RoleByID(x.User)
	if r == nil || !r.Super && !r.CreateRole {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied to create role")
	}
	return nil
}

func checkRoleName(name string) error {
	if strings.HasPrefix(name, "pg_") {
		return pgerr.New(pgerr.ReservedName, "role name %q is reserved", name).
			WithDetail("Role names starting with \"pg_\" are reserved.")
	}
	return nil
}

// reservedRole refuses to change a role that every cluster has.
func reservedRole(r *catalog.Role, verb string) error {
	return pgerr.New(pgerr.ReservedName, "role name %q is reserved", r.Name).WithDetail("Cannot %s reserved roles.", verb)
}

func (x *executor) createRole(ctx context.Context, s *ast.CreateRoleStmt) error {
	if err := x.needCreateRole(); err != nil {
		return err
	}
	if err := checkRoleName(s.Name); err != nil {
		return err
	}
	if x.snap().RoleByName(s.Name) != nil {
		return pgerr.New(pgerr.DuplicateObject, "role %q already exists", s.Name)
	}
	id, err := x.View.NewID(ctx)
	if err != nil {
		return err
	}
	r := &catalog.Role{Header: catalog.Header{ID: id, Name: s.Name}, Inherit: true, Login: s.Kind == "USER", ConnLimit: -1}
	members, err := x.roleOptions(r, s.Options, true)
	if err != nil {
		return err
	}
	if err := x.View.Put(ctx, r); err != nil {
		return err
	}
	for _, m := range members {
		if err := x.addMember(ctx, m.role, r, m.admin); err != nil {
			return err
		}
	}
	return nil
}

type newMember struct {
	role  *catalog.Role
	admin bool
}

// roleOptions applies the options of CREATE and ALTER ROLE. It returns the roles that become members.
func (x *executor) roleOptions(r *catalog.Role, opts []*ast.DefElem, create bool) ([]newMember, error) {
	var members []newMember
	seen := map[string]bool{}
	for _, o := range opts {
		if seen[o.Name] {
			return nil, pgerr.New(pgerr.SyntaxError, "conflicting or redundant options").WithPosition(int(ast.PgPos(o.Position())))
		}
		seen[o.Name] = true
		on := o.Arg != nil && o.Arg.Bool
		switch o.Name {
		case "superuser", "isreplication", "bypassrls":
			if !x.superuser() {
				return nil, pgerr.New(pgerr.InsufficientPrivilege, "must be superuser to change %s attribute", o.Name)
			}
			switch o.Name {
			case "superuser":
				r.Super = on
			case "isreplication":
				r.Replication = on
			default:
				r.BypassRLS = on
			}
		case "createdb":
			r.CreateDB = on
		case "createrole":
			r.CreateRole = on
		case "inherit":
			r.Inherit = on
		case "canlogin":
			r.Login = on
		case "connectionlimit":
			n, err := optInt(o)
			if err != nil {
				return nil, err
			}
			if n < -1 {
				return nil, pgerr.New(pgerr.InvalidParameterValue, "invalid connection limit: %d", n)
			}
			r.ConnLimit = int32(n)
		case "validUntil":
			r.ValidUntil = argText(o.Arg)
		case "password":
			if err := x.setPassword(r, o); err != nil {
				return nil, err
			}
		case "addroleto":
			for _, a := range o.Arg.List {
				parent, err := x.role(a.Role)
				if err != nil {
					return nil, err
				}
				r.MemberOf = append(r.MemberOf, catalog.Membership{Role: parent.ID, Grantor: x.User})
			}
		case "rolemembers", "adminmembers":
			for _, a := range o.Arg.List {
				m, err := x.role(a.Role)
				if err != nil {
					return nil, err
				}
				members = append(members, newMember{m, o.Name == "adminmembers"})
			}
		case "sysid":
		default:
			return nil, pgerr.New(pgerr.SyntaxError, "unrecognized role option %q", o.Name)
		}
	}
	return members, nil
}

func (x *executor) setPassword(r *catalog.Role, o *ast.DefElem) error {
	if o.Arg == nil {
		r.Verifier = ""
		return nil
	}
	pw := argText(o.Arg)
	switch {
	case pw == "":
		x.notice("00000", "empty string is not a valid password, clearing password")
		r.Verifier = ""
	case strings.HasPrefix(pw, "SCRAM-SHA-256$"):
		r.Verifier = pw
	case strings.HasPrefix(pw, "md5") && len(pw) == 35:
		return pgerr.Unsupported("MD5 passwords are not supported").WithHint("Set the password in clear text; it is stored as a SCRAM verifier.")
	case x.HashPassword == nil:
		return pgerr.Unsupported("passwords cannot be set here")
	default:
		v, err := x.HashPassword(pw)
		if err != nil {
			return err
		}
		r.Verifier = v
	}
	return nil
}

func cloneRole(r *catalog.Role) *catalog.Role {
	n := *r
	n.MemberOf = slices.Clone(r.MemberOf)
	n.Settings = slices.Clone(r.Settings)
	return &n
}

// addMember makes a role a member of a group.
func (x *executor) addMember(ctx context.Context, member, group *catalog.Role, admin bool) error {
	if member.ID == catalog.DatabaseOwnerRoleID {
		return pgerr.New(pgerr.InternalError, "role %q cannot be a member of any role", member.Name)
	}
	if group.ID == catalog.DatabaseOwnerRoleID {
		return pgerr.New(pgerr.InternalError, "role %q cannot have explicit members", group.Name)
	}
	if member.Predefined() {
		return reservedRole(member, "alter")
	}
	if x.snap().IsMember(group.ID, member.ID) && !group.Super {
		return pgerr.New("0LP01", "role %q is a member of role %q", group.Name, member.Name)
	}
	n := cloneRole(x.snap().RoleByID(member.ID))
	for i, m := range n.MemberOf {
		if m.Role == group.ID {
			if m.Admin || !admin {
				x.notice("00000", "role %q has already been granted membership in role %q by role %q", member.Name, group.Name, x.snap().RoleName(m.Grantor))
				return nil
			}
			n.MemberOf[i].Admin = true
			return x.View.Put(ctx, n)
		}
	}
	n.MemberOf = append(n.MemberOf, catalog.Membership{Role: group.ID, Admin: admin, Grantor: x.User})
	return x.View.Put(ctx, n)
}

func (x *executor) alterRole(ctx context.Context, s *ast.AlterRoleStmt) error {
	r, err := x.role(s.Role)
	if err != nil {
		return err
	}
	if r.Predefined() {
		return reservedRole(r, "alter")
	}
	self := r.ID == x.User && len(s.Options) == 1 && s.Options[0].Name == "password"
	if !self {
		if err := x.needCreateRole(); err != nil {
			return err
		}
		if r.Super && !x.superuser() {
			return pgerr.New(pgerr.InsufficientPrivilege, "must be superuser to alter superuser roles or change superuser attribute")
		}
	}
	n := cloneRole(r)
	members, err := x.roleOptions(n, s.Options, false)
	if err != nil {
		return err
	}
	if err := x.View.Put(ctx, n); err != nil {
		return err
	}
	for _, m := range members {
		if s.Drop {
			err = x.dropMember(ctx, m.role, r, false)
		} else {
			err = x.addMember(ctx, m.role, r, m.admin)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *executor) dropMember(ctx context.Context, member, group *catalog.Role, adminOnly bool) error {
	n := cloneRole(x.snap().RoleByID(member.ID))
	for i, m := range n.MemberOf {
		if m.Role != group.ID {
			continue
		}
		if adminOnly {
			n.MemberOf[i].Admin = false
		} else {
			n.MemberOf = append(n.MemberOf[:i], n.MemberOf[i+1:]...)
		}
		return x.View.Put(ctx, n)
	}
	x.notice("01000", "role %q is not a member of role %q", member.Name, group.Name)
	return nil
}

func (x *executor) alterRoleSet(ctx context.Context, s *ast.AlterRoleSetStmt) error {
	db := uint32(0)
	if s.Database != "" {
		d := x.snap().DatabaseByName(s.Database)
		if d == nil {
			return pgerr.New(pgerr.UndefinedDatabase, "database %q does not exist", s.Database)
		}
		db = d.ID
	}
	if s.Role == nil {
		return pgerr.Unsupported("ALTER ROLE ALL SET is not supported").WithHint("Use ALTER DATABASE ... SET.")
	}
	r, err := x.role(s.Role)
	if err != nil {
		return err
	}
	if r.ID != x.User {
		if err := x.needCreateRole(); err != nil {
			return err
		}
	}
	n := cloneRole(r)
	n.Settings = applySetting(n.Settings, db, s.Set)
	return x.View.Put(ctx, n)
}

// settingText is the value of a SET argument.
func settingText(e ast.Expr) string {
	if c, ok := e.(*ast.Const); ok && c.Kind == ast.ConstString {
		return c.Str
	}
	return strings.Trim(parser.DeparseExpr(e), "()")
}

func (x *executor) dropRole(ctx context.Context, s *ast.DropRoleStmt) error {
	if r := x.snap().RoleByID(x.User); r == nil || !r.Super && !r.CreateRole {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied to drop role")
	}
	for _, spec := range s.Roles {
		r, err := x.role(spec)
		if err != nil {
			if s.IfExists {
				x.notice("00000", "role %q does not exist, skipping", spec.Name)
				continue
			}
			return err
		}
		if r.ID == x.User {
			return pgerr.New(pgerr.ObjectInUse, "current user cannot be dropped")
		}
		if r.ID == catalog.BootstrapRoleID || r.Predefined() {
			return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop role %s because it is required by the database system", r.Name)
		}
		if what := x.ownedObject(r.ID); what != "" {
			return pgerr.New(pgerr.DependentObjectsStillExist, "role %q cannot be dropped because some objects depend on it", r.Name).
				WithDetail("%s", what)
		}
		for _, m := range x.snap().Roles() {
			if slices.ContainsFunc(m.MemberOf, func(x catalog.Membership) bool { return x.Role == r.ID }) {
				if err := x.dropMember(ctx, m, r, false); err != nil {
					return err
				}
			}
		}
		if err := x.View.Delete(ctx, x.snap().RoleByID(r.ID)); err != nil {
			return err
		}
	}
	return nil
}

// ownedObject names an object that a role owns or has privileges on, "" if there is none.
func (x *executor) ownedObject(role uint32) string {
	granted := func(acl []catalog.ACL) bool {
		return slices.ContainsFunc(acl, func(a catalog.ACL) bool { return a.Role == role || a.Grantor == role })
	}
	for _, t := range x.snap().Tablespaces() {
		if t.Owner == role {
			return "owner of tablespace " + t.Name
		}
		if granted(t.ACL) {
			return "privileges for tablespace " + t.Name
		}
	}
	for _, d := range x.snap().Databases() {
		if d.Owner == role {
			return "owner of database " + d.Name
		}
		in := x.snap().InDatabase(d.ID)
		for _, sc := range in.Schemas() {
			if sc.Owner == role {
				return "owner of schema " + sc.Name
			}
			if granted(sc.ACL) {
				return "privileges for schema " + sc.Name
			}
		}
		for _, t := range in.Tables() {
			if t.Owner == role {
				return "owner of " + kindWord(t) + " " + t.Name
			}
			if granted(t.ACL) {
				return "privileges for " + kindWord(t) + " " + t.Name
			}
			for _, p := range t.Policies {
				if slices.Contains(p.Roles, role) {
					return "target of policy " + p.Name + " on table " + t.Name
				}
			}
		}
		for _, t := range in.Types() {
			if t.Owner == role {
				return "owner of type " + t.Name
			}
		}
	}
	return ""
}

func (x *executor) grantRole(ctx context.Context, s *ast.GrantRoleStmt) error {
	x.tag = "GRANT ROLE"
	if s.Revoke {
		x.tag = "REVOKE ROLE"
	}
	admin := false
	for _, o := range s.Options {
		if o.Name == "admin" {
			admin = o.Arg == nil || optBool(o)
		}
	}
	for _, name := range s.Roles {
		group := x.snap().RoleByName(name)
		if group == nil {
			return pgerr.New(pgerr.UndefinedObject, "role %q does not exist", name)
		}
		if !x.superuser() && !x.isAdmin(group.ID) {
			return pgerr.New(pgerr.InsufficientPrivilege, "must have admin option on role %q", group.Name)
		}
		for _, g := range s.Grantees {
			m, err := x.role(g)
			if err != nil {
				return err
			}
			if s.Revoke {
				err = x.dropMember(ctx, m, group, admin)
			} else {
				err = x.addMember(ctx, m, group, admin)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *executor) isAdmin(group uint32) bool {
	r := x.snap().RoleByID(x.User)
	return r != nil && (r.CreateRole || slices.ContainsFunc(r.MemberOf, func(m catalog.Membership) bool { return m.Role == group && m.Admin }))
}

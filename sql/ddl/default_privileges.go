package ddl

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// defaultKinds are the kinds of objects that have default privileges, by pg_default_acl.defaclobjtype.
var defaultKinds = map[ast.ObjectType]byte{
	ast.ObjTable: 'r', ast.ObjSequence: 'S', ast.ObjFunction: 'f', ast.ObjProcedure: 'f', ast.ObjRoutine: 'f', ast.ObjType: 'T', ast.ObjSchema: 'n',
}

// alterDefaultPrivileges is ALTER DEFAULT PRIVILEGES. What it says of all schemas starts from the built-in default, what
// it says of one schema from nothing: a new object gets both.
func (x *executor) alterDefaultPrivileges(ctx context.Context, s *ast.AlterDefaultPrivilegesStmt) error {
	g := s.Grant
	letter, ok := defaultKinds[g.Object]
	if !ok {
		return pgerr.Unsupported("default privileges for %s are not supported", g.Object)
	}
	kind := g.Object
	if letter == 'f' {
		kind = ast.ObjFunction
	}
	grantees, err := x.grantees(g)
	if err != nil {
		return err
	}
	privs, err := grantPrivs(g, kind)
	if err != nil {
		return err
	}
	roles := []*catalog.Role{x.snap().RoleByID(x.User)}
	if s.Roles != nil {
		roles = nil
		for _, spec := range s.Roles {
			r, err := x.role(spec)
			if err != nil {
				return err
			}
			if !x.snap().IsMember(x.User, r.ID) {
				return pgerr.New(pgerr.InsufficientPrivilege, "permission denied to change default privileges")
			}
			roles = append(roles, r)
		}
	}
	schemas := []uint32{0}
	if s.Schemas != nil {
		if letter == 'n' {
			return pgerr.New("0LP01", "cannot use IN SCHEMA clause when using GRANT/REVOKE ON SCHEMAS")
		}
		schemas = nil
		for _, n := range s.Schemas {
			sc := x.snap().SchemaByName(n)
			if sc == nil {
				return pgerr.New(pgerr.InvalidSchemaName, "schema %q does not exist", n)
			}
			schemas = append(schemas, sc.ID)
		}
	}
	for _, r := range roles {
		nr := cloneRole(x.snap().RoleByID(r.ID))
		nr.Defaults = slices.Clone(nr.Defaults)
		for _, schema := range schemas {
			db := x.snap().Database().ID
			i := slices.IndexFunc(nr.Defaults, func(d catalog.DefaultPrivileges) bool { return d.DB == db && d.Schema == schema && d.Kind == letter })
			base := []catalog.ACL{}
			if schema == 0 {
				base = defaultACL(kind, r.ID)
			}
			acl := base
			if i >= 0 {
				acl = nr.Defaults[i].ACL
			}
			for _, to := range grantees {
				if acl, err = editACL(acl, to, r.ID, privs, aclEdit{stmt: g, owner: r.ID, order: allPrivs[kind]}); err != nil {
					return err
				}
			}
			switch {
			case sameACL(acl, base):
				if i >= 0 {
					nr.Defaults = slices.Delete(nr.Defaults, i, i+1)
				}
			case i >= 0:
				nr.Defaults[i].ACL = acl
			default:
				nr.Defaults = append(nr.Defaults, catalog.DefaultPrivileges{DB: db, Schema: schema, Kind: letter, ACL: acl})
			}
		}
		if err := x.View.Put(ctx, nr); err != nil {
			return err
		}
	}
	return nil
}

func sameACL(a, b []catalog.ACL) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(e catalog.ACL) bool { return !slices.Contains(b, e) })
}

// newACL is the ACL of a new object of the current user; nil when it is the built-in default.
func (x *executor) newACL(kind ast.ObjectType, schema uint32) []catalog.ACL {
	r := x.snap().RoleByID(x.User)
	if r == nil || len(r.Defaults) == 0 || x.snap().Database() == nil {
		return nil
	}
	builtin := defaultACL(kind, r.ID)
	acl := builtin
	var more []catalog.ACL
	for _, d := range r.Defaults {
		switch {
		case d.DB != x.snap().Database().ID || d.Kind != defaultKinds[kind]:
		case d.Schema == 0:
			acl = d.ACL
		case d.Schema == schema:
			more = d.ACL
		}
	}
	for _, m := range more {
		acl = addACL(acl, m.Role, r.ID, m.Privs, false, allPrivs[kind])
		if m.Grantable != "" {
			acl = addACL(acl, m.Role, r.ID, m.Grantable, true, allPrivs[kind])
		}
	}
	if sameACL(acl, builtin) {
		return nil
	}
	return acl
}

package ddl

import (
	"cmp"
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// ownedRoles resolves the roles of DROP OWNED and REASSIGN OWNED, whose privileges the user must have.
func (x *executor) ownedRoles(specs []*ast.RoleSpec, verb string) (map[uint32]bool, error) {
	out := map[uint32]bool{}
	for _, spec := range specs {
		r, err := x.role(spec)
		if err != nil {
			return nil, err
		}
		if !x.snap().IsMember(x.User, r.ID) {
			return nil, pgerr.New(pgerr.InsufficientPrivilege, "permission denied to %s objects", verb)
		}
		if r.ID == catalog.BootstrapRoleID {
			return nil, pgerr.New(pgerr.DependentObjectsStillExist, "cannot %s objects owned by role %s because they are required by the database system", verb, r.Name)
		}
		out[r.ID] = true
	}
	return out, nil
}

// reassignOwned is REASSIGN OWNED: what the roles own in this database, and the databases they own, get another owner.
func (x *executor) reassignOwned(ctx context.Context, s *ast.ReassignOwnedStmt) error {
	to, err := x.role(s.To)
	if err != nil {
		return err
	}
	from, err := x.ownedRoles(s.Roles, "reassign")
	if err != nil {
		return err
	}
	if !x.snap().IsMember(x.User, to.ID) {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied to reassign objects")
	}
	for _, d := range x.ownable() {
		if !from[d.header.Owner] {
			continue
		}
		n, h := d.clone()
		if t, ok := n.(*catalog.Table); ok {
			setTableOwner(t, to.ID)
		} else {
			setOwner(h, to.ID)
		}
		if err := x.View.Put(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// dropOwned is DROP OWNED: it drops what the roles own in this database, what was made last first, since that may depend
// on the rest, and takes back what was granted to them.
func (x *executor) dropOwned(ctx context.Context, s *ast.DropOwnedStmt) error {
	roles, err := x.ownedRoles(s.Roles, "drop")
	if err != nil {
		return err
	}
	var doomed []ownable
	for _, d := range x.ownable() {
		if _, db := d.desc.(*catalog.Database); roles[d.header.Owner] && !db {
			doomed = append(doomed, d)
		}
	}
	// Sequences go after the tables whose columns own them, schemas after what is in them.
	rank := func(d ownable) int {
		switch o := d.desc.(type) {
		case *catalog.Schema:
			return 2
		case *catalog.Table:
			if o.Kind == catalog.RelSequence {
				return 1
			}
		}
		return 0
	}
	slices.SortFunc(doomed, func(a, b ownable) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.header.ID, a.header.ID))
	})
	for _, d := range doomed {
		current := x.snap().ByID(d.header.ID)
		if current == nil {
			continue // went with another
		}
		var err error
		switch c := current.(type) {
		case *catalog.Table:
			err = x.dropRelation(ctx, c, s.Behavior)
		case *catalog.Function:
			err = x.dropFunction(ctx, c, s.Behavior)
		case *catalog.Type:
			if c.Class != 'm' { // a multirange type goes with its range type
				err = x.removeType(ctx, c, s.Behavior)
			}
		case *catalog.Schema:
			err = x.dropSchema(ctx, c.Name, &ast.DropStmt{Object: ast.ObjSchema, Behavior: s.Behavior})
		case *catalog.Publication:
			err = x.View.Delete(ctx, c)
		}
		if err != nil {
			return err
		}
	}
	return x.revokeAll(ctx, roles)
}

// revokeAll takes back every privilege of roles in this database.
func (x *executor) revokeAll(ctx context.Context, roles map[uint32]bool) error {
	granted := func(a catalog.ACL) bool { return roles[a.Role] || roles[a.Grantor] }
	for _, d := range x.ownable() {
		t, isTable := d.desc.(*catalog.Table)
		policies := isTable && slices.ContainsFunc(t.Policies, func(p *catalog.Policy) bool {
			return slices.ContainsFunc(p.Roles, func(r uint32) bool { return roles[r] })
		})
		columns := isTable && slices.ContainsFunc(t.Columns, func(c *catalog.Column) bool { return slices.ContainsFunc(c.ACL, granted) })
		if !columns && !policies && (roles[d.header.Owner] || !slices.ContainsFunc(d.header.ACL, granted)) {
			continue
		}
		n, h := d.clone()
		if !roles[h.Owner] {
			h.ACL = slices.DeleteFunc(slices.Clone(h.ACL), granted)
		}
		if t, ok := n.(*catalog.Table); ok {
			for _, c := range t.Columns {
				c.ACL = slices.DeleteFunc(slices.Clone(c.ACL), granted)
			}
			t.Policies = slices.DeleteFunc(t.Policies, func(p *catalog.Policy) bool {
				named := len(p.Roles) > 0
				p.Roles = slices.DeleteFunc(slices.Clone(p.Roles), func(r uint32) bool { return roles[r] })
				return named && len(p.Roles) == 0
			})
		}
		if err := x.View.Put(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// ownable is an object with an owner.
type ownable struct {
	desc   catalog.Descriptor
	header *catalog.Header
	clone  func() (catalog.Descriptor, *catalog.Header)
}

// ownable lists the objects of this database, and the databases.
func (x *executor) ownable() []ownable {
	var out []ownable
	snap := x.snap()
	for _, t := range snap.Tables() {
		if t.Virtual == nil {
			out = append(out, ownable{t, &t.Header, func() (catalog.Descriptor, *catalog.Header) { c := t.Clone(); return c, &c.Header }})
		}
	}
	for _, f := range snap.Functions() {
		out = append(out, ownable{f, &f.Header, func() (catalog.Descriptor, *catalog.Header) { c := f.Clone(); return c, &c.Header }})
	}
	for _, o := range snap.Operators() {
		out = append(out, ownable{o, &o.Header, func() (catalog.Descriptor, *catalog.Header) { c := o.Clone(); return c, &c.Header }})
	}
	for _, t := range snap.Types() {
		out = append(out, ownable{t, &t.Header, func() (catalog.Descriptor, *catalog.Header) { c := *t; return &c, &c.Header }})
	}
	for _, sc := range snap.Schemas() {
		if sc.DB != 0 {
			out = append(out, ownable{sc, &sc.Header, func() (catalog.Descriptor, *catalog.Header) { c := *sc; return &c, &c.Header }})
		}
	}
	for _, p := range snap.Publications() {
		out = append(out, ownable{p, &p.Header, func() (catalog.Descriptor, *catalog.Header) { c := p.Clone(); return c, &c.Header }})
	}
	for _, d := range snap.Databases() {
		out = append(out, ownable{d, &d.Header, func() (catalog.Descriptor, *catalog.Header) { c := *d; return &c, &c.Header }})
	}
	return out
}

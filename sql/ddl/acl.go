package ddl

import (
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// An ACL has one entry for each pair of a role and who has granted it something. Who is not the owner can grant what has been
// granted to him with the option to do so; what he has granted goes when the option goes.

// pick returns the letters of order that keep accepts.
func pick(order string, keep func(b byte) bool) string {
	out := ""
	for _, b := range []byte(order) {
		if keep(b) {
			out += string(b)
		}
	}
	return out
}

func hasLetter(set string, b byte) bool { return strings.IndexByte(set, b) >= 0 }

// common are the letters of a that b has too.
func common(a, b string) string { return pick(a, func(l byte) bool { return hasLetter(b, l) }) }

// grantable is what a role by itself may grant of privs.
func grantable(acl []catalog.ACL, role, owner uint32, privs string) string {
	if role == owner {
		return privs
	}
	return pick(privs, func(b byte) bool {
		return slices.ContainsFunc(acl, func(a catalog.ACL) bool { return a.Role == role && hasLetter(a.Grantable, b) })
	})
}

// grantor chooses on whose behalf the user grants or revokes privs: the owner's if he has his privileges, else that of the
// role, himself or one that he is in, that may grant the most of them. may is what it may grant.
func (x *executor) grantor(acl []catalog.ACL, owner uint32, privs string) (role uint32, may string) {
	if x.snap().HasPrivsOf(x.User, owner) {
		return owner, privs
	}
	role, may = x.User, grantable(acl, x.User, owner, privs)
	for _, a := range acl {
		if a.Role == 0 || !x.snap().HasPrivsOf(x.User, a.Role) {
			continue
		}
		if g := grantable(acl, a.Role, owner, privs); len(g) > len(may) {
			role, may = a.Role, g
		}
	}
	return role, may
}

// aclEdit is a GRANT or REVOKE of privileges on an object, or a column of it.
type aclEdit struct {
	stmt     *ast.GrantStmt
	grantees []uint32
	owner    uint32
	privs    string
	order    string        // in which privileges are shown; the ones that there are
	what     string        // for messages: kind and name of the object
	name     string        // and its name alone, quoted
	above    []catalog.ACL // of a column: what the table grants
}

// editPrivileges returns the ACL after the user's GRANT or REVOKE.
func (x *executor) editPrivileges(acl []catalog.ACL, e aclEdit) ([]catalog.ACL, error) {
	if by := e.stmt.GrantedBy; by != nil {
		r, err := x.role(by)
		if err != nil {
			return nil, err
		}
		if r.ID != x.User {
			return nil, pgerr.Unsupported("grantor must be current user")
		}
	}
	all := append(slices.Clone(acl), e.above...)
	grantor, may := x.grantor(all, e.owner, e.privs)
	if may == "" && grantor != e.owner && !slices.ContainsFunc(all, func(a catalog.ACL) bool {
		return (a.Role == 0 || x.snap().HasPrivsOf(grantor, a.Role)) && common(a.Privs, e.order) != ""
	}) {
		return nil, pgerr.New(pgerr.InsufficientPrivilege, "permission denied for %s", e.what)
	}
	everything := slices.ContainsFunc(e.stmt.Privileges, func(p ast.Privilege) bool { return p.Name == "" }) || len(e.stmt.Privileges) == 0
	switch {
	case may == "" && e.stmt.Revoke:
		x.warning("01006", "no privileges could be revoked for %s", e.name)
	case may == "":
		x.warning("01007", "no privileges were granted for %s", e.name)
	case len(may) < len(e.privs) && !everything && e.stmt.Revoke:
		x.warning("01006", "not all privileges could be revoked for %s", e.name)
	case len(may) < len(e.privs) && !everything:
		x.warning("01007", "not all privileges were granted for %s", e.name)
	}
	for _, g := range e.grantees {
		if !e.stmt.Revoke && e.stmt.GrantOption {
			if g == 0 {
				return nil, pgerr.New("0LP01", "grant options can only be granted to roles")
			}
			if grantor != e.owner && grantsTo(acl, e.owner, g, grantor, may) {
				return nil, pgerr.New("0LP01", "grant options cannot be granted back to your own grantor")
			}
		}
		var err error
		if acl, err = editACL(acl, g, grantor, may, e); err != nil {
			return nil, err
		}
	}
	return acl, nil
}

// grantsTo reports whether the option to grant privs would not reach role without what from has granted.
func grantsTo(acl []catalog.ACL, owner, from, role uint32, privs string) bool {
	if from == owner {
		return true
	}
	rest := slices.Clone(acl)
	for again := true; again; {
		again = false
		for i, a := range rest {
			if a.Role == from || a.Grantor != owner && grantable(rest, a.Grantor, owner, a.Grantable) != a.Grantable {
				rest = slices.Delete(rest, i, i+1)
				again = true
				break
			}
		}
	}
	return grantable(rest, role, owner, privs) != privs
}

// editACL grants or revokes what a grantor has granted to one role.
func editACL(acl []catalog.ACL, role, grantor uint32, privs string, e aclEdit) ([]catalog.ACL, error) {
	acl = slices.Clone(acl)
	if acl == nil {
		acl = []catalog.ACL{}
	}
	i := slices.IndexFunc(acl, func(a catalog.ACL) bool { return a.Role == role && a.Grantor == grantor })
	if i < 0 {
		if e.stmt.Revoke {
			return acl, nil
		}
		acl = append(acl, catalog.ACL{Role: role, Grantor: grantor})
		i = len(acl) - 1
	}
	a := &acl[i]
	old := *a
	either := func(have string) string {
		return pick(e.order, func(b byte) bool { return hasLetter(have, b) || hasLetter(privs, b) })
	}
	without := func(have string) string { return pick(have, func(b byte) bool { return !hasLetter(privs, b) }) }
	switch {
	case e.stmt.Revoke:
		a.Grantable = without(old.Grantable)
		if !e.stmt.GrantOption {
			a.Privs = without(old.Privs)
		}
	default:
		a.Privs = either(old.Privs)
		if e.stmt.GrantOption {
			a.Grantable = either(old.Grantable)
		}
	}
	lost := pick(old.Grantable, func(b byte) bool { return !hasLetter(a.Grantable, b) })
	if a.Privs == "" {
		acl = slices.Delete(acl, i, i+1)
	}
	if lost == "" || role == e.owner {
		return acl, nil
	}
	return revokeDependent(acl, role, lost, e)
}

// revokeDependent takes back what a role has granted and may not grant any more.
func revokeDependent(acl []catalog.ACL, role uint32, lost string, e aclEdit) ([]catalog.ACL, error) {
	still := grantable(acl, role, e.owner, lost)
	lost = pick(lost, func(b byte) bool { return !hasLetter(still, b) })
	for {
		i := slices.IndexFunc(acl, func(a catalog.ACL) bool { return a.Grantor == role && common(a.Privs, lost) != "" })
		if i < 0 {
			return acl, nil
		}
		if e.stmt.Behavior != ast.Cascade {
			return nil, pgerr.New(pgerr.DependentObjectsStillExist, "dependent privileges exist").
				WithHint("Use CASCADE to revoke them too.")
		}
		all := *e.stmt
		all.Revoke, all.GrantOption = true, false
		below := e
		below.stmt = &all
		var err error
		if acl, err = editACL(acl, acl[i].Role, role, lost, below); err != nil {
			return nil, err
		}
	}
}

// changeOwner puts a new owner in the place of the old one in an ACL.
func changeOwner(acl []catalog.ACL, from, to uint32) []catalog.ACL {
	if acl == nil {
		return nil
	}
	out := []catalog.ACL{}
	for _, a := range acl {
		if a.Role == from {
			a.Role = to
		}
		if a.Grantor == from {
			a.Grantor = to
		}
		i := slices.IndexFunc(out, func(o catalog.ACL) bool { return o.Role == a.Role && o.Grantor == a.Grantor })
		if i < 0 {
			out = append(out, a)
			continue
		}
		const letters = "arwdDxtXUCTc"
		both := func(p, q string) string {
			return pick(letters, func(b byte) bool { return hasLetter(p, b) || hasLetter(q, b) })
		}
		out[i].Privs, out[i].Grantable = both(out[i].Privs, a.Privs), both(out[i].Grantable, a.Grantable)
	}
	return out
}

// addACL is what an owner's GRANT does to an ACL.
func addACL(acl []catalog.ACL, role, owner uint32, privs string, option bool, order string) []catalog.ACL {
	out, err := editACL(acl, role, owner, privs, aclEdit{stmt: &ast.GrantStmt{GrantOption: option}, owner: owner, order: order})
	if err != nil {
		return acl // only REVOKE fails
	}
	return out
}

// setOwner gives an object to another role.
func setOwner(h *catalog.Header, to uint32) {
	h.ACL, h.Owner = changeOwner(h.ACL, h.Owner, to), to
}

// setTableOwner gives a relation to another role.
func setTableOwner(t *catalog.Table, to uint32) {
	for _, c := range t.Columns {
		c.ACL = changeOwner(c.ACL, t.Owner, to)
	}
	setOwner(&t.Header, to)
}

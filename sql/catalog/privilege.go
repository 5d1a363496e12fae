package catalog

import "strings"

// HasPrivsOf reports whether a role has the privileges of another: it is that role, or a member of it along roles
// that inherit. Superusers have everyone's.
func (s *state) HasPrivsOf(role, target uint32) bool {
	r := s.RoleByID(role)
	if r == nil {
		return false
	}
	if role == target || r.Super {
		return true
	}
	seen := map[uint32]bool{role: true}
	for queue := []*Role{r}; len(queue) > 0; queue = queue[1:] {
		if !queue[0].Inherit {
			continue
		}
		for _, m := range queue[0].MemberOf {
			if m.Role == target {
				return true
			}
			if next := s.RoleByID(m.Role); next != nil && !seen[m.Role] {
				seen[m.Role] = true
				queue = append(queue, next)
			}
		}
	}
	return false
}

// Grants reports whether an ACL gives a role a privilege, by PostgreSQL's letter.
func (s *state) Grants(acl []ACL, role uint32, priv byte) bool {
	for _, a := range acl {
		if strings.IndexByte(a.Privs, priv) >= 0 && (a.Role == 0 || s.HasPrivsOf(role, a.Role)) {
			return true
		}
	}
	return false
}

// MayTable reports whether a role may do something with a relation, or with each of these columns of it. Without
// columns the privilege on any column will do for reading.
func (s *state) MayTable(role uint32, t *Table, priv byte, cols []int16) bool {
	if s.HasPrivsOf(role, t.Owner) || s.Grants(t.ACL, role, priv) || s.MayAnyData(role, priv) {
		return true
	}
	if priv != 'r' && priv != 'a' && priv != 'w' && priv != 'x' {
		return false
	}
	if len(cols) == 0 {
		for _, c := range t.Columns {
			if !c.Dropped && s.Grants(c.ACL, role, priv) {
				return true
			}
		}
		return false
	}
	for _, n := range cols {
		if c := t.ColumnByNum(n); c == nil || !s.Grants(c.ACL, role, priv) {
			return false
		}
	}
	return true
}

// MaySchema and MayExecute report whether a role may use a schema and call a function; everyone may call a function
// whose owner has said nothing.
func (s *state) MaySchema(role uint32, sc *Schema, priv byte) bool {
	return sc.DB == 0 && priv == 'U' || s.HasPrivsOf(role, sc.Owner) || s.Grants(sc.ACL, role, priv) ||
		priv == 'U' && (s.MayAnyData(role, 'r') || s.MayAnyData(role, 'w'))
}

func (s *state) MayExecute(role uint32, f *Function) bool {
	return f.ACL == nil || s.HasPrivsOf(role, f.Owner) || s.Grants(f.ACL, role, 'X')
}

package sql

import (
	"strings"
	"time"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// ConnectionLimits are the numbers of CONNECTION LIMIT, -1 for none. They count the sessions of one node.
type ConnectionLimits struct{ Role, Database int32 }

// checkLimits refuses a session beyond the limits of its role or database, which do not bind superusers. The session
// counts already.
func (srv *Server) checkLimits(s *Session, user, database string, l *ConnectionLimits) error {
	if l == nil || s.superuser || l.Role < 0 && l.Database < 0 {
		return nil
	}
	var ofRole, ofDatabase int32
	srv.mu.Lock()
	for _, other := range srv.mu.sessions {
		if other.roleID == s.roleID {
			ofRole++
		}
		if other.databaseID == s.databaseID {
			ofDatabase++
		}
	}
	srv.mu.Unlock()
	switch {
	case l.Role >= 0 && ofRole > l.Role:
		return pgerr.New(pgerr.TooManyConnections, "too many connections for role \"%s\"", user).WithSeverity(pgerr.SeverityFatal)
	case l.Database >= 0 && ofDatabase > l.Database:
		return pgerr.New(pgerr.TooManyConnections, "too many connections for database \"%s\"", database).WithSeverity(pgerr.SeverityFatal)
	}
	return nil
}

// Superuser reports whether the session's current role is a superuser.
func (s *Session) Superuser() bool { return s.superuser }

// LoginUser is the role that the client logged in as.
func (s *Session) LoginUser() string { return s.args.User }

// MemberOf reports whether a role is another one or was made a member of it, directly or not. Unlike in privileges,
// superusers are members of nothing by themselves: a rule of authentication for a group is not meant for them.
func (srv *Server) MemberOf(user, role string) bool {
	c, ok := srv.cfg.Catalog.(*nodeCatalog)
	if !ok {
		return user == role
	}
	snap := c.cfg.Manager.Snapshot(0)
	return memberOf(snap, snap.RoleByName(user), role)
}

func memberOf(snap *catalog.Snapshot, r *catalog.Role, role string) bool {
	if r == nil {
		return false
	}
	seen := map[uint32]bool{r.ID: true}
	for queue := []*catalog.Role{r}; len(queue) > 0; queue = queue[1:] {
		if queue[0].Name == role {
			return true
		}
		for _, m := range queue[0].MemberOf {
			if next := snap.RoleByID(m.Role); next != nil && !seen[m.Role] {
				seen[m.Role] = true
				queue = append(queue, next)
			}
		}
	}
	return false
}

// Watcher says what a role may see of the cluster outside of SQL: monitor, what its clients and nodes do; superuser,
// everything, memory dumps too. Both are false for a role that may not log in.
func (srv *Server) Watcher(user string) (monitor, superuser bool) {
	c, ok := srv.cfg.Catalog.(*nodeCatalog)
	if !ok {
		return false, false
	}
	snap := c.cfg.Manager.Snapshot(0)
	r := snap.RoleByName(user)
	if r == nil || !r.Login {
		return false, false
	}
	return r.Super || snap.Monitors(r), r.Super
}

// expired reports whether a role's password has ended by VALID UNTIL. A time that cannot be read has.
func expired(r *catalog.Role, now time.Time) bool {
	switch strings.ToLower(r.ValidUntil) {
	case "", "infinity":
		return false
	}
	d, err := types.ParseText(r.ValidUntil, types.TimestampTZ, types.DefaultSettings)
	return err != nil || d.Int() <= pgMicros(now)
}

// mayStore checks that the user may store a setting for a role or database, or take it away. What is stored is applied
// at the login without further questions, so that an operator can give roles settings that they may not change.
func (s *Session) mayStore(n *ast.SetStmt, stored func() []catalog.Setting) error {
	if n == nil || n.Kind == ast.SetTransaction {
		return nil
	}
	if n.Kind == ast.ResetAll {
		if s.superuser {
			return nil
		}
		for _, set := range stored() {
			if i, ok := s.vars.lookup(set.Name, false); ok && s.maySet(s.vars.def(i)) != nil {
				return pgerr.New(pgerr.InsufficientPrivilege, "permission denied to set parameter \"%s\"", set.Name).
					WithHint("Reset the other settings one by one.")
			}
		}
		return nil
	}
	i, ok := s.vars.lookup(n.Name, true)
	if !ok {
		return unknownSetting(n.Name)
	}
	g := s.vars.def(i)
	if err := s.maySet(g); err != nil {
		return err
	}
	if n.Kind != ast.SetValue || g.list || g.check != nil {
		return nil // what check says depends on the session
	}
	value, err := s.setValue(n)
	if err == nil {
		_, err = s.checkSetting(g, value)
	}
	return err
}

// mayStoreSettings is mayStore for the statements that store settings.
func (s *Session) mayStoreSettings(node ast.Stmt) error {
	switch n := node.(type) {
	case *ast.AlterRoleSetStmt:
		return s.mayStore(n.Set, func() (out []catalog.Setting) {
			_ = s.withCatalog(func(c CatalogTxn) {
				if v, ok := c.(*catalogView); ok && n.Role != nil {
					v.refresh()
					name := n.Role.Name
					if n.Role.Kind != ast.RoleNamed {
						name = s.user
					}
					if r := v.snap.RoleByName(name); r != nil {
						out = r.Settings
					}
				}
			})
			return out
		})
	case *ast.AlterDatabaseStmt:
		return s.mayStore(n.Set, func() (out []catalog.Setting) {
			_ = s.withCatalog(func(c CatalogTxn) {
				if v, ok := c.(*catalogView); ok {
					v.refresh()
					if d := v.snap.DatabaseByName(n.Name); d != nil {
						out = d.Settings
					}
				}
			})
			return out
		})
	}
	return nil
}

// applyStored applies the settings that are stored for the role and database. One that no longer holds (its name or value
// was good in another version) must not keep the role out: it is left out, and the log says so.
func (s *Session) applyStored(list []NameValue) {
	for _, set := range list {
		i, ok := s.vars.lookup(set.Name, true)
		if !ok {
			s.srv.cfg.Log.Warn("stored setting is not known", "role", s.args.User, "setting", set.Name)
			continue
		}
		g := s.vars.def(i)
		value, err := set.Value, error(nil)
		if g.context == ctxInternal || g.context == ctxSighup {
			err = s.maySet(g)
		}
		if err == nil {
			value, err = s.checkSetting(g, set.Value)
		}
		if err != nil {
			s.srv.cfg.Log.Warn("stored setting is not good", "role", s.args.User, "setting", set.Name, "err", err)
			continue
		}
		s.assignSetting(i, value, false)
	}
}

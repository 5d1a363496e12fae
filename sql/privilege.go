package sql

import (
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
)

// checkNeeds refuses a plan whose user, or a view's owner in it, lacks a privilege.
func (s *Session) checkNeeds(needs []plan.Need) error {
	own := s.superuser // then only views may lack something, by their owners
	for i := range needs {
		own = own && needs[i].Role == 0
	}
	if len(needs) == 0 || own {
		return nil
	}
	v, ok := s.txn.catalog.(*catalogView)
	if !ok {
		return nil
	}
	env := v.env()
	snap, user := env.Snapshot, env.User
	me := snap.RoleByID(user)
	for i := range needs {
		n := &needs[i]
		role := n.Role
		if role == 0 {
			if me != nil && me.Super {
				continue
			}
			role = user
		}
		if n.Schema != "" {
			if sc := snap.SchemaByName(n.Schema); sc != nil && !snap.MaySchema(role, sc, n.Priv) {
				return denied("schema", sc.Name)
			}
			continue
		}
		if n.Priv == 'X' {
			if f := snap.FunctionByID(n.ID); f != nil && !snap.MayExecute(role, f) {
				word := "function"
				if f.Procedure {
					word = "procedure"
				}
				return denied(word, f.Name)
			}
			continue
		}
		if t := snap.TableByID(n.ID); t != nil && t.Virtual == nil && !snap.MayTable(role, t, n.Priv, n.Cols) {
			return denied(relationWord(t), t.Name)
		}
	}
	return nil
}

func relationWord(t *catalog.Table) string {
	switch t.Kind {
	case catalog.RelView:
		return "view"
	case catalog.RelMatView:
		return "materialized view"
	case catalog.RelSequence:
		return "sequence"
	}
	return "table"
}

func denied(what, name string) error {
	return pgerr.New(pgerr.InsufficientPrivilege, "permission denied for %s %s", what, name)
}

// maySequence checks that the user has one of some privileges on a sequence.
func (s *Session) maySequence(t *catalog.Table, privs string) error {
	v, ok := s.txn.catalog.(*catalogView)
	if !ok {
		return nil
	}
	env := v.env()
	for i := range len(privs) {
		if env.Snapshot.MayTable(env.User, t, privs[i], nil) {
			return nil
		}
	}
	return denied("sequence", t.Name)
}

package pgcatalog

import (
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/catalog"
)

// roleRows are what belongs to the cluster: roles, databases, schemas, tablespaces, access methods.
var roleRows = map[string]generator{
	"pg_catalog.pg_roles":           func(g *gen) error { return pgRoles(g, "********") },
	"pg_catalog.pg_authid":          pgAuthid,
	"pg_catalog.pg_user":            pgUser,
	"pg_catalog.pg_group":           func(g *gen) error { return nil },
	"pg_catalog.pg_auth_members":    pgAuthMembers,
	"pg_catalog.pg_database":        pgDatabase,
	"pg_catalog.pg_namespace":       pgNamespace,
	"pg_catalog.pg_init_privs":      pgInitPrivs,
	"pg_catalog.pg_tablespace":      pgTablespace,
	"pg_catalog.pg_am":              pgAm,
	"pg_catalog.pg_db_role_setting": pgDBRoleSetting,
	"pg_catalog.pg_shdescription":   pgShdescription,
}

const utf8Encoding = 6

func config(settings []catalog.Setting, db uint32) any {
	var out []string
	for _, s := range settings {
		if s.DB == db {
			out = append(out, s.Name+"="+s.Value)
		}
	}
	if out == nil {
		return nil
	}
	return out
}

func pgRoles(g *gen, password string) error {
	for _, r := range g.snap.Roles() {
		if err := g.row("rolname", r.Name, "rolsuper", r.Super, "rolinherit", r.Inherit, "rolcreaterole", r.CreateRole,
			"rolcreatedb", r.CreateDB, "rolcanlogin", r.Login, "rolreplication", r.Replication, "rolconnlimit", r.ConnLimit,
			"rolpassword", password, "rolvaliduntil", g.timestamp(r.ValidUntil), "rolbypassrls", r.BypassRLS,
			"rolconfig", config(r.Settings, 0), "oid", r.ID); err != nil {
			return err
		}
	}
	return nil
}

// pgAuthid shows no verifier, even to a superuser: nothing that reads it needs one.
func pgAuthid(g *gen) error {
	for _, r := range g.snap.Roles() {
		if err := g.row("oid", r.ID, "rolname", r.Name, "rolsuper", r.Super, "rolinherit", r.Inherit, "rolcreaterole", r.CreateRole,
			"rolcreatedb", r.CreateDB, "rolcanlogin", r.Login, "rolreplication", r.Replication, "rolconnlimit", r.ConnLimit,
			"rolvaliduntil", g.timestamp(r.ValidUntil), "rolbypassrls", r.BypassRLS); err != nil {
			return err
		}
	}
	return nil
}

func pgUser(g *gen) error {
	for _, r := range g.snap.Roles() {
		if !r.Login {
			continue
		}
		if err := g.row("usename", r.Name, "usesysid", r.ID, "usecreatedb", r.CreateDB, "usesuper", r.Super, "userepl", r.Replication,
			"usebypassrls", r.BypassRLS, "passwd", "********", "valuntil", g.timestamp(r.ValidUntil), "useconfig", config(r.Settings, 0)); err != nil {
			return err
		}
	}
	return nil
}

func pgAuthMembers(g *gen) error {
	for _, r := range g.snap.Roles() {
		for _, m := range r.MemberOf {
			if err := g.row("roleid", m.Role, "member", r.ID, "grantor", m.Grantor, "admin_option", m.Admin); err != nil {
				return err
			}
		}
	}
	return nil
}

func pgDatabase(g *gen) error {
	for _, d := range g.snap.Databases() {
		if err := g.row("oid", d.ID, "datname", d.Name, "datdba", d.Owner, "encoding", utf8Encoding, "datlocprovider", "c",
			"datistemplate", d.IsTemplate, "datallowconn", d.AllowConn, "datconnlimit", d.ConnLimit, "datfrozenxid", 0, "datminmxid", 1,
			"dattablespace", d.TablespaceID(), "datcollate", "C.UTF-8", "datctype", "C.UTF-8", "datacl", g.aclText(d.ACL)); err != nil {
			return err
		}
	}
	return nil
}

func pgNamespace(g *gen) error {
	for _, s := range append(append([]*catalog.Schema{}, catalog.BuiltinSchemas()...), g.snap.Schemas()...) {
		owner, acl := publicOwner(s, s.Owner), slices.Clone(s.ACL)
		for i := range acl {
			acl[i].Role, acl[i].Grantor = publicOwner(s, acl[i].Role), publicOwner(s, acl[i].Grantor)
		}
		if err := g.row("oid", s.ID, "nspname", s.Name, "nspowner", owner, "nspacl", g.aclText(acl)); err != nil {
			return err
		}
	}
	return nil
}

// publicOwner shows a schema public that nobody has taken over as PostgreSQL 15 does: it belongs to
// pg_database_owner, whom pg_dump does not mention.
func publicOwner(s *catalog.Schema, role uint32) uint32 {
	if s.Name == "public" && s.Owner == catalog.BootstrapRoleID && role == s.Owner {
		return catalog.DatabaseOwnerRoleID
	}
	return role
}

// pgInitPrivs lists the privileges that objects are born with, so that pg_dump leaves them out.
func pgInitPrivs(g *gen) error {
	for _, t := range g.snap.Virtual().Tables() {
		kind := "i"
		if t.Schema == catalog.MeridianSchemaID {
			kind = "e"
		}
		if err := g.row("objoid", t.ID, "classoid", classClass, "privtype", kind, "initprivs", g.aclText(t.ACL)); err != nil {
			return err
		}
	}
	for _, s := range g.snap.Schemas() {
		if s.Name != "public" {
			continue
		}
		born := catalog.PublicSchema(s.ID, s.DB, catalog.DatabaseOwnerRoleID)
		if err := g.row("objoid", s.ID, "classoid", classNamespace, "privtype", "i", "initprivs", g.aclText(born.ACL)); err != nil {
			return err
		}
	}
	return nil
}

func pgTablespace(g *gen) error {
	for _, t := range g.snap.Tablespaces() {
		var options any
		if len(t.Options) > 0 {
			options = spcOptions(t.Options)
		}
		if err := g.row("oid", t.ID, "spcname", t.Name, "spcowner", t.Owner, "spcacl", g.aclText(t.ACL), "spcoptions", options); err != nil {
			return err
		}
	}
	return nil
}

// spcOptions shows a tablespace's options as they are written in SQL: pg_dumpall puts them into ALTER TABLESPACE as
// they are, and 'us-east,eu-west' would be no value there without its quotes.
func spcOptions(opts []string) []string {
	out := make([]string, len(opts))
	for i, o := range opts {
		name, v, _ := strings.Cut(o, "=")
		if strings.Trim(v, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || v == "" || v[0] >= '0' && v[0] <= '9' && strings.Trim(v, "0123456789") != "" {
			v = "'" + strings.ReplaceAll(v, "'", "''") + "'"
		}
		out[i] = name + "=" + v
	}
	return out
}

func pgAm(g *gen) error {
	for _, a := range []struct {
		oid        int
		name, kind string
	}{{heapAm, "heap", "t"}, {btreeAm, "btree", "i"}, {hashAm, "hash", "i"}, {gistAm, "gist", "i"}, {ginAm, "gin", "i"}, {brinAm, "brin", "i"}} {
		if err := g.row("oid", a.oid, "amname", a.name, "amtype", a.kind); err != nil {
			return err
		}
	}
	return nil
}

func pgDBRoleSetting(g *gen) error {
	for _, d := range g.snap.Databases() {
		if c := config(d.Settings, 0); c != nil {
			if err := g.row("setdatabase", d.ID, "setrole", 0, "setconfig", c); err != nil {
				return err
			}
		}
	}
	for _, r := range g.snap.Roles() {
		seen := map[uint32]bool{}
		for _, s := range r.Settings {
			if seen[s.DB] {
				continue
			}
			seen[s.DB] = true
			if err := g.row("setdatabase", s.DB, "setrole", r.ID, "setconfig", config(r.Settings, s.DB)); err != nil {
				return err
			}
		}
	}
	return nil
}

func pgShdescription(g *gen) error {
	for _, d := range g.snap.Databases() {
		if d.Comment != "" {
			if err := g.row("objoid", d.ID, "classoid", classDatabase, "description", d.Comment); err != nil {
				return err
			}
		}
	}
	for _, r := range g.snap.Roles() {
		if r.Comment != "" {
			if err := g.row("objoid", r.ID, "classoid", classRole, "description", r.Comment); err != nil {
				return err
			}
		}
	}
	for _, t := range g.snap.Tablespaces() {
		if t.Comment != "" {
			if err := g.row("objoid", t.ID, "classoid", classTablespace, "description", t.Comment); err != nil {
				return err
			}
		}
	}
	return nil
}

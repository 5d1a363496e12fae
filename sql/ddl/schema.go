package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

func checkSchemaName(name string) error {
	if strings.HasPrefix(name, "pg_") {
		return pgerr.New(pgerr.ReservedName, "unacceptable schema name %q", name).
			WithDetail("The prefix \"pg_\" is reserved for system schemas.")
	}
	return nil
}

func (x *executor) createSchema(ctx context.Context, s *ast.CreateSchemaStmt) error {
	owner := x.User
	name := s.Name
	if s.Owner != nil {
		r, err := x.role(s.Owner)
		if err != nil {
			return err
		}
		owner = r.ID
		if !x.snap().IsMember(x.User, r.ID) {
			return pgerr.New(pgerr.InsufficientPrivilege, "must be member of role %q", r.Name)
		}
		if name == "" {
			name = r.Name
		}
	}
	db := x.snap().Database()
	if !x.snap().IsMember(x.User, db.Owner) && !hasPriv(db.ACL, x, "C") {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied for database %s", db.Name)
	}
	if err := checkSchemaName(name); err != nil {
		return err
	}
	if x.snap().SchemaByName(name) != nil {
		if s.IfNotExists {
			x.notice(pgerr.DuplicateSchema, "schema %q already exists, skipping", name)
			return nil
		}
		return pgerr.New(pgerr.DuplicateSchema, "schema %q already exists", name)
	}
	id, err := x.View.NewID(ctx)
	if err != nil {
		return err
	}
	if err := x.View.Put(ctx, &catalog.Schema{Header: catalog.Header{ID: id, Name: name, Owner: owner, ACL: x.newACL(ast.ObjSchema, 0)}, DB: db.ID}); err != nil {
		return err
	}
	// Statements inside create in the new schema.
	path, lookup := x.SearchPath, x.lookup
	env := *x.Env
	env.SearchPath = append([]string{name}, path...)
	x.Env, x.lookup = &env, append([]string{name}, lookup...)
	elements := slices.Clone(s.Elements)
	slices.SortStableFunc(elements, func(a, b ast.Stmt) int { return elementOrder(a) - elementOrder(b) })
	for _, e := range elements {
		run := func() error { return x.run(ctx, e) }
		if x.InSchema != nil {
			if err := x.InSchema(name, run); err != nil {
				return err
			}
		} else if err := run(); err != nil {
			return err
		}
	}
	x.tag = ""
	return nil
}

// elementOrder is the order in which the parts of CREATE SCHEMA are made, whatever order they are written in.
func elementOrder(s ast.Stmt) int {
	switch s.(type) {
	case *ast.CreateSequenceStmt:
		return 0
	case *ast.CreateTableStmt:
		return 1
	case *ast.CreateViewStmt:
		return 2
	case *ast.CreateIndexStmt:
		return 3
	case *ast.CreateTriggerStmt:
		return 4
	}
	return 5
}

func hasPriv(acl []catalog.ACL, x *executor, priv string) bool {
	for _, a := range acl {
		if strings.Contains(a.Privs, priv) && (a.Role == 0 || x.snap().IsMember(x.User, a.Role)) {
			return true
		}
	}
	return false
}

func (x *executor) createDatabase(ctx context.Context, s *ast.CreateDatabaseStmt) error {
	r := x.snap().RoleByID(x.User)
	if r == nil || !r.Super && !r.CreateDB {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied to create database")
	}
	if x.snap().DatabaseByName(s.Name) != nil {
		return pgerr.New(pgerr.DuplicateDatabase, "database %q already exists", s.Name)
	}
	d := &catalog.Database{Header: catalog.Header{Name: s.Name, Owner: x.User}, AllowConn: true, ConnLimit: -1}
	if err := x.databaseOptions(d, s.Options); err != nil {
		return err
	}
	var err error
	if d.ID, err = x.View.NewID(ctx); err != nil {
		return err
	}
	public, err := x.View.NewID(ctx)
	if err != nil {
		return err
	}
	if err := x.View.Put(ctx, d); err != nil {
		return err
	}
	return x.View.Put(ctx, catalog.PublicSchema(public, d.ID, d.Owner))
}

func (x *executor) databaseOptions(d *catalog.Database, opts []*ast.DefElem) error {
	for _, o := range opts {
		text := argText(o.Arg)
		switch o.Name {
		case "owner":
			if o.Arg == nil {
				continue
			}
			r := x.snap().RoleByName(text)
			if r == nil {
				return pgerr.New(pgerr.UndefinedObject, "role %q does not exist", text)
			}
			d.Owner = r.ID
		case "template":
			// The templates are empty; any other database would have to be copied.
			if text != "" && text != "template0" && text != "template1" {
				if x.snap().DatabaseByName(text) == nil {
					return pgerr.New(pgerr.UndefinedDatabase, "template database %q does not exist", text)
				}
				return pgerr.Unsupported("databases can only be copied from template0 and template1")
			}
		case "encoding":
			if e := strings.ToUpper(strings.ReplaceAll(strings.ReplaceAll(text, "-", ""), "_", "")); e != "" && e != "UTF8" && e != "6" && e != "DEFAULT" && e != "UNICODE" {
				return pgerr.Unsupported("encoding %q is not supported, only UTF8 is", text)
			}
		case "lc_collate", "lc_ctype", "locale", "icu_locale", "locale_provider", "collation_version", "strategy", "oid", "builtin_locale", "icu_rules":
		case "tablespace":
			if o.Arg == nil {
				continue
			}
			ts := x.snap().TablespaceByName(text)
			switch {
			case ts == nil:
				return noTablespace(text)
			case ts.ID == catalog.GlobalTablespaceID:
				return pgerr.New(pgerr.InvalidParameterValue, "pg_global cannot be used as default tablespace")
			case ts.ID == catalog.DefaultTablespaceID:
				d.Tablespace = 0
			default:
				if err := x.mayUseTablespace(ts); err != nil {
					return err
				}
				d.Tablespace = ts.ID
			}
		case "allow_connections":
			d.AllowConn = o.Arg == nil || optBool(o)
		case "is_template":
			d.IsTemplate = o.Arg == nil || optBool(o)
		case "connection_limit":
			n, err := optInt(o)
			if err != nil {
				return err
			}
			if n < -1 {
				return pgerr.New(pgerr.InvalidParameterValue, "invalid connection limit: %d", n)
			}
			d.ConnLimit = int32(n)
		default:
			return pgerr.New(pgerr.SyntaxError, "option %q not recognized", o.Name).WithPosition(int(ast.PgPos(o.Position())))
		}
	}
	return nil
}

func optBool(o *ast.DefElem) bool {
	if o.Arg == nil {
		return true
	}
	switch o.Arg.Kind {
	case ast.DefBool:
		return o.Arg.Bool
	case ast.DefInteger:
		return o.Arg.Int != 0
	}
	t := strings.ToLower(argText(o.Arg))
	return t == "true" || t == "on" || t == "yes" || t == "1"
}

func (x *executor) alterDatabase(ctx context.Context, s *ast.AlterDatabaseStmt) error {
	d := x.snap().DatabaseByName(s.Name)
	if d == nil {
		return pgerr.New(pgerr.UndefinedDatabase, "database %q does not exist", s.Name)
	}
	if err := x.own(&d.Header, "database"); err != nil {
		return err
	}
	n := *d
	n.Settings = append([]catalog.Setting(nil), d.Settings...)
	if s.Set != nil {
		n.Settings = applySetting(n.Settings, 0, s.Set)
	} else if err := x.databaseOptions(&n, s.Options); err != nil {
		return err
	}
	return x.View.Put(ctx, &n)
}

// applySetting changes a list of settings as SET and RESET say.
func applySetting(list []catalog.Setting, db uint32, s *ast.SetStmt) []catalog.Setting {
	var out []catalog.Setting
	for _, e := range list {
		if e.DB == db && (s.Kind == ast.ResetAll || e.Name == s.Name) {
			continue
		}
		out = append(out, e)
	}
	if s.Kind == ast.SetValue {
		var parts []string
		for _, a := range s.Args {
			parts = append(parts, settingText(a))
		}
		out = append(out, catalog.Setting{DB: db, Name: s.Name, Value: strings.Join(parts, ", ")})
	}
	return out
}

func (x *executor) dropDatabase(ctx context.Context, s *ast.DropDatabaseStmt) error {
	d := x.snap().DatabaseByName(s.Name)
	if d == nil {
		if s.IfExists {
			x.notice("00000", "database %q does not exist, skipping", s.Name)
			return nil
		}
		return pgerr.New(pgerr.UndefinedDatabase, "database %q does not exist", s.Name)
	}
	if err := x.own(&d.Header, "database"); err != nil {
		return err
	}
	if d.IsTemplate {
		return pgerr.New(pgerr.WrongObjectType, "cannot drop a template database")
	}
	if x.snap().Database() != nil && d.ID == x.snap().Database().ID {
		return pgerr.New(pgerr.ObjectInUse, "cannot drop the currently open database")
	}
	in := x.snap().InDatabase(d.ID)
	for _, t := range in.Tables() {
		if err := x.View.Delete(ctx, t); err != nil {
			return err
		}
	}
	for _, t := range in.Types() {
		if err := x.View.Delete(ctx, t); err != nil {
			return err
		}
	}
	for _, sc := range in.Schemas() {
		if err := x.View.Delete(ctx, sc); err != nil {
			return err
		}
	}
	if err := x.View.Discard(d.ID); err != nil { // its large objects
		return err
	}
	return x.View.Delete(ctx, d)
}

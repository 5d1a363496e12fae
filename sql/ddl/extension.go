package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/extension"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// builtinExtension reports whether every database has the extension.
func builtinExtension(name string) bool { return name == "plpgsql" || name == catalog.Meridian }

func (x *executor) createExtension(ctx context.Context, s *ast.CreateExtensionStmt) error {
	if builtinExtension(s.Name) || x.snap().ExtensionByName(s.Name) != nil {
		if s.IfNotExists {
			x.notice(pgerr.DuplicateObject, "extension %q already exists, skipping", s.Name)
			return nil
		}
		return pgerr.New(pgerr.DuplicateObject, "extension %q already exists", s.Name)
	}
	e := extension.ByName(s.Name)
	if e == nil {
		return pgerr.New(pgerr.FeatureNotSupported, "extension %q is not available", s.Name).
			WithHint("SELECT name FROM pg_available_extensions lists those that are.")
	}
	if x.OlderNodes {
		return errOlderNodes("extensions")
	}
	db := x.snap().Database()
	if !x.superuser() {
		err := pgerr.New(pgerr.InsufficientPrivilege, "permission denied to create extension %q", s.Name)
		if !e.Trusted {
			return err.WithHint("Must be superuser to create this extension.")
		}
		if !x.snap().IsMember(x.User, db.Owner) && !hasPriv(db.ACL, x, "C") {
			return err.WithHint("Must have CREATE privilege on current database to create this extension.")
		}
	}
	schema, cascade := "", false
	for _, o := range s.Options {
		switch o.Name {
		case "schema":
			schema = optionString(o.Arg)
		case "new_version":
			if v := optionString(o.Arg); v != e.Version {
				return pgerr.New(pgerr.InvalidParameterValue, "extension %q has no installation script nor update path for version %q", s.Name, v)
			}
		case "cascade":
			cascade = true
		}
	}
	for _, name := range e.Requires {
		if x.snap().ExtensionByName(name) != nil {
			continue
		}
		if !cascade {
			return pgerr.New(pgerr.UndefinedObject, "required extension %q is not installed", name).
				WithHint("Use CREATE EXTENSION ... CASCADE to install required extensions too.")
		}
		x.notice("00000", "installing required extension %q", name)
		if err := x.createExtension(ctx, &ast.CreateExtensionStmt{Name: name, Options: s.Options}); err != nil {
			return err
		}
	}
	sc, err := x.schemaNamed(schema)
	if err != nil {
		return err
	}
	id, err := x.View.NewID(ctx)
	if err != nil {
		return err
	}
	nd := x.snap().Database().Clone()
	nd.Extensions = append(nd.Extensions, catalog.Extension{OID: id, Name: e.Name, Version: e.Version, Schema: sc.ID, Owner: x.User, Comment: e.Comment})
	if err := x.View.Put(ctx, nd); err != nil {
		return err
	}
	stmts, err := parser.Parse(e.Script)
	if err != nil {
		return err
	}
	in := *x
	in.extension = id
	in.lookup = append([]string{sc.Name}, x.lookup...)
	for _, st := range stmts {
		switch s := st.Stmt.(type) {
		case *ast.DefineStmt:
			s.Name = []string{sc.Name, s.Name[0]}
			err = in.createMemberType(ctx, s)
		case *ast.CreateFunctionStmt:
			s.Name = []string{sc.Name, s.Name[0]}
			err = in.createFunction(ctx, s)
		default:
			err = pgerr.Unsupported("%s in the script of an extension", s.Tag())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// createMemberType makes an extension's type: one that is LIKE text, but for case, or that of hstore.
func (x *executor) createMemberType(ctx context.Context, s *ast.DefineStmt) error {
	name := s.Name
	t, err := x.newType(ctx, name, 'b')
	if err != nil {
		return err
	}
	t.Extension = x.extension
	if name[len(name)-1] == catalog.LikeHstore {
		if x.OlderHstore {
			return errOlderNodes("the type hstore")
		}
		t.Like = catalog.LikeHstore
	}
	return x.View.Put(ctx, t)
}

// errOlderNodes refuses what not every node of the cluster knows yet.
func errOlderNodes(what string) error {
	return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "%s can be made once all nodes have been upgraded", what).
		WithHint("meridian.nodes shows which cluster versions each node works with.")
}

// ownExtension finds an extension that the user owns.
func (x *executor) ownExtension(name string) (*catalog.Extension, error) {
	e := x.snap().ExtensionByName(name)
	switch {
	case e != nil && x.snap().IsMember(x.User, e.Owner), builtinExtension(name) && x.superuser():
		return e, nil
	case e != nil || builtinExtension(name):
		return nil, pgerr.New(pgerr.InsufficientPrivilege, "must be owner of extension %s", name)
	}
	return nil, pgerr.New(pgerr.UndefinedObject, "extension %q does not exist", name)
}

// changeExtension stores an extension with a change.
func (x *executor) changeExtension(ctx context.Context, oid uint32, change func(e *catalog.Extension)) error {
	nd := x.snap().Database().Clone()
	for i := range nd.Extensions {
		if nd.Extensions[i].OID == oid {
			change(&nd.Extensions[i])
		}
	}
	return x.View.Put(ctx, nd)
}

// removeExtension takes an extension out of the database, but not what it brought.
func (x *executor) removeExtension(ctx context.Context, oid uint32) error {
	nd := x.snap().Database().Clone()
	nd.Extensions = slices.DeleteFunc(nd.Extensions, func(e catalog.Extension) bool { return e.OID == oid })
	return x.View.Put(ctx, nd)
}

func (x *executor) alterExtension(s *ast.AlterExtensionStmt) error {
	e, err := x.ownExtension(s.Name)
	if err != nil {
		return err
	}
	version := "1.0"
	if e != nil {
		version = e.Version
	}
	for _, o := range s.Options {
		if v := optionString(o.Arg); v != version {
			return pgerr.New(pgerr.InvalidParameterValue, "extension %q has no update path from version %q to version %q", s.Name, version, v)
		}
	}
	x.notice("00000", "version %q of extension %q is already installed", version, s.Name)
	return nil
}

// moveExtension is ALTER EXTENSION ... SET SCHEMA.
func (x *executor) moveExtension(ctx context.Context, name string, sc *catalog.Schema) error {
	e, err := x.ownExtension(name)
	if err != nil {
		return err
	}
	if e == nil {
		return pgerr.New(pgerr.FeatureNotSupported, "extension %q does not support SET SCHEMA", name)
	}
	oid := e.OID
	for _, t := range x.memberTypes(oid) {
		n := *t
		n.Schema = sc.ID
		if err := x.View.Put(ctx, &n); err != nil {
			return err
		}
	}
	for _, f := range x.members(oid) {
		for _, o := range x.snap().FunctionsNamed(sc.Name, f.Name) {
			if o.ID != f.ID && x.snap().Signature(o) == x.snap().Signature(f) {
				return pgerr.New("42723", "function %s already exists in schema %q", x.snap().Signature(f), sc.Name)
			}
		}
		n := f.Clone()
		n.Schema = sc.ID
		if err := x.View.Put(ctx, n); err != nil {
			return err
		}
	}
	return x.changeExtension(ctx, oid, func(e *catalog.Extension) { e.Schema = sc.ID })
}

// members are the functions of an extension.
func (x *executor) members(oid uint32) []*catalog.Function {
	return slices.DeleteFunc(x.snap().Functions(), func(f *catalog.Function) bool { return f.Extension != oid })
}

// memberTypes are the types of an extension.
func (x *executor) memberTypes(oid uint32) []*catalog.Type {
	return slices.DeleteFunc(x.snap().Types(), func(t *catalog.Type) bool { return t.Extension != oid })
}

// memberOf refuses to drop a part of an extension by itself.
func (x *executor) memberOf(oid uint32, what string) error {
	e := x.snap().ExtensionByID(oid)
	if e == nil {
		return nil
	}
	return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop %s because extension %s requires it", what, e.Name).
		WithHint("You can drop extension %s instead.", e.Name)
}

func (x *executor) dropExtension(ctx context.Context, name string, s *ast.DropStmt) error {
	if builtinExtension(name) {
		return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop extension %s because it is required by the database system", name)
	}
	if x.snap().ExtensionByName(name) == nil && s.IfExists {
		x.notice("00000", "extension %q does not exist, skipping", name)
		return nil
	}
	e, err := x.ownExtension(name)
	if err != nil {
		return err
	}
	oid := e.OID
	for _, o := range x.snap().Extensions() {
		if slices.Contains(extension.ByName(o.Name).Requires, name) {
			if s.Behavior != ast.Cascade {
				return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop extension %s because other objects depend on it", name).
					WithDetail("extension %s depends on extension %s", o.Name, name).
					WithHint("Use DROP ... CASCADE to drop the dependent objects too.")
			}
			x.notice("00000", "drop cascades to extension %s", o.Name)
			if err := x.dropExtension(ctx, o.Name, s); err != nil {
				return err
			}
		}
	}
	for _, f := range x.members(oid) {
		if err := x.dropFunction(ctx, f, s.Behavior); err != nil {
			return extensionError(err, name)
		}
	}
	for _, t := range x.memberTypes(oid) {
		if err := x.removeType(ctx, t, s.Behavior); err != nil {
			return extensionError(err, name)
		}
	}
	return x.removeExtension(ctx, oid)
}

// extensionError says that what cannot be dropped is the extension of which a function is a part.
func extensionError(err error, name string) error {
	e, ok := err.(*pgerr.Error)
	if !ok || e.Code != pgerr.DependentObjectsStillExist || !strings.HasSuffix(e.Message, "because other objects depend on it") {
		return err
	}
	return pgerr.New(e.Code, "cannot drop extension %s because other objects depend on it", name).WithDetail("%s", e.Detail).WithHint("%s", e.Hint)
}

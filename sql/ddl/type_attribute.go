package ddl

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// alterComposite is ALTER TYPE ... ADD, DROP and ALTER ATTRIBUTE. Stored values keep their attributes by position and read
// as NULL in those added since, so that only adding is possible while a table holds the type.
func (x *executor) alterComposite(ctx context.Context, s *ast.AlterTableStmt) error {
	names := []string{s.Table.Name}
	if s.Table.Schema != "" {
		names = []string{s.Table.Schema, s.Table.Name}
	}
	t, err := x.userType(names)
	if err != nil {
		return err
	}
	if t.Class != 'c' {
		return pgerr.New(pgerr.WrongObjectType, "%q is not a composite type", t.Name)
	}
	n := *t
	n.Fields = slices.Clone(t.Fields)
	find := func(name string) int {
		return slices.IndexFunc(n.Fields, func(f catalog.CompositeField) bool { return f.Name == name })
	}
	missing := func(name string) error {
		return pgerr.New(pgerr.UndefinedColumn, "column %q of relation %q does not exist", name, n.Name)
	}
	for _, c := range s.Cmds {
		switch c.Kind {
		case ast.AddColumn:
			if find(c.Column.Name) >= 0 {
				return pgerr.New(pgerr.DuplicateColumn, "column %q of relation %q already exists", c.Column.Name, n.Name)
			}
			typ, err := x.resolveType(c.Column.Type, c.Column.Name)
			if err != nil {
				return err
			}
			if uint32(typ.OID) == t.ID || uint32(typ.OID) == t.Array {
				return pgerr.New(pgerr.InvalidTableDefinition, "composite type %s cannot be made a member of itself", n.Name)
			}
			n.Fields = append(n.Fields, catalog.CompositeField{Name: c.Column.Name, Type: typeRef(typ)})
		case ast.DropColumn:
			i := find(c.Name)
			if i < 0 && c.IfExists {
				x.notice(pgerr.SuccessfulCompletion, "column %q of relation %q does not exist, skipping", c.Name, n.Name)
				continue
			}
			if i < 0 {
				return missing(c.Name)
			}
			for _, u := range x.tablesUsing(t) {
				return pgerr.Unsupported("dropping an attribute of a type that table %q holds is not supported", u.Name)
			}
			n.Fields = slices.Delete(n.Fields, i, i+1)
		case ast.AlterColumnType:
			i := find(c.Name)
			if i < 0 {
				return missing(c.Name)
			}
			for _, u := range x.tablesUsing(t) {
				for _, col := range u.Columns {
					if usesType(col, t) {
						return pgerr.New(pgerr.FeatureNotSupported, "cannot alter type \"%s\" because column \"%s.%s\" uses it", n.Name, u.Name, col.Name)
					}
				}
			}
			typ, err := x.resolveType(c.Column.Type, c.Name)
			if err != nil {
				return err
			}
			n.Fields[i].Type = typeRef(typ)
		default:
			return pgerr.Unsupported("this form of ALTER TYPE is not supported")
		}
	}
	return x.View.Put(ctx, &n)
}

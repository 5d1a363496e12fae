package ddl

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
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
		typed, err := x.typedToo(t, c.Behavior)
		if err != nil {
			return err
		}
		for _, u := range typed {
			down := *c
			down.Behavior = ast.Restrict
			if err := x.alterTyped(ctx, u, &down); err != nil {
				return err
			}
		}
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

// alterTyped changes a column of a typed table as its type's attribute is changed.
func (x *executor) alterTyped(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	switch c.Kind {
	case ast.AddColumn:
		return x.addColumns(ctx, t, []*ast.AlterTableCmd{c})
	case ast.DropColumn:
		return x.dropColumn(ctx, t, c)
	case ast.AlterColumnType:
		return x.alterColumnType(ctx, t, c)
	}
	return pgerr.Unsupported("this form of ALTER TYPE is not supported")
}

// renameAttribute is ALTER TYPE ... RENAME ATTRIBUTE. Values know their attributes by position; expressions in the catalog know them
// by name.
func (x *executor) renameAttribute(ctx context.Context, s *ast.RenameStmt) error {
	names := []string{s.Table.Name}
	if s.Table.Schema != "" {
		names = []string{s.Table.Schema, s.Table.Name}
	}
	t, err := x.userType(names)
	if err != nil {
		if s.IfExists && pgerr.Code(err) == pgerr.UndefinedObject {
			x.notice(pgerr.SuccessfulCompletion, "relation %q does not exist, skipping", s.Table.Name)
			return nil
		}
		return err
	}
	if t.Class != 'c' {
		return pgerr.New(pgerr.WrongObjectType, "%q is not a composite type", t.Name)
	}
	typed, err := x.typedToo(t, s.Behavior)
	if err != nil {
		return err
	}
	find := func(name string) int {
		return slices.IndexFunc(t.Fields, func(f catalog.CompositeField) bool { return f.Name == name })
	}
	at := find(s.Sub)
	if at < 0 {
		return pgerr.New(pgerr.UndefinedColumn, "column %q does not exist", s.Sub)
	}
	if find(s.New) >= 0 {
		return pgerr.New(pgerr.DuplicateColumn, "column %q of relation %q already exists", s.New, t.Name)
	}
	for _, u := range x.tablesUsing(t) {
		mentioned := slices.ContainsFunc(x.dependents(u.ID), func(v *catalog.Table) bool { return v.Query != "" && viewTakesField(v, s.Sub) })
		for _, text := range expressionsOf(u) {
			mentioned = mentioned || takesField(text, s.Sub)
		}
		if mentioned {
			return pgerr.Unsupported("renaming an attribute that an expression over table %q uses is not supported", u.Name)
		}
	}
	for _, u := range typed {
		down := *x
		down.below = true
		if err := down.renameColumn(ctx, &ast.RenameStmt{Object: ast.ObjColumn, Table: x.rangeVarOf(u), Sub: s.Sub, New: s.New}); err != nil {
			return err
		}
	}
	n := *t
	n.Fields = slices.Clone(t.Fields)
	n.Fields[at].Name = s.New
	return x.View.Put(ctx, &n)
}

// expressionsOf are the expressions over a table's own columns.
func expressionsOf(t *catalog.Table) []string {
	var out []string
	for _, c := range t.Columns {
		out = append(out, c.Generated)
	}
	for _, k := range t.Checks {
		out = append(out, k.Expr)
	}
	for _, ix := range t.AllIndexes() {
		out = append(out, ix.Where)
		for _, k := range ix.Keys {
			out = append(out, k.Expr)
		}
	}
	for _, p := range t.Policies {
		out = append(out, p.Using, p.Check)
	}
	return out
}

func takesField(text, name string) bool {
	e, err := parser.ParseExpr(text)
	if text == "" || err != nil {
		return false
	}
	found := false
	ast.WalkAll(e, func(e ast.Expr) bool {
		found = found || fieldNamed(e, name)
		return !found
	}, nil)
	return found
}

func viewTakesField(v *catalog.Table, name string) bool {
	st, err := parser.ParseOne(v.Query)
	if err != nil {
		return true
	}
	sel, ok := st.Stmt.(*ast.SelectStmt)
	found := !ok
	ast.WalkSelect(sel, func(e ast.Expr) bool {
		found = found || fieldNamed(e, name)
		return !found
	}, nil)
	return found
}

// fieldNamed says whether e takes a field of that name, as (c).name does, or a column of it.
func fieldNamed(e ast.Expr, name string) bool {
	switch e := e.(type) {
	case *ast.ColumnRef:
		return len(e.Fields) > 0 && e.Fields[len(e.Fields)-1] == name
	case *ast.Indirection:
		return slices.ContainsFunc(e.Steps, func(s ast.IndirectionStep) bool { return s.Kind == ast.FieldStep && s.Name == name })
	}
	return false
}

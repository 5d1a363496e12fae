package ddl

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// A typed table (CREATE TABLE ... OF type) has the attributes of a composite type as its columns. Its columns change only with the
// type, by ALTER TYPE ... CASCADE.

// compositeNamed finds a composite type that is not a table's row type.
func (x *executor) compositeNamed(n *ast.TypeName) (*catalog.Type, error) {
	t, err := x.snap().ResolveType(x.path(), n)
	if err != nil {
		return nil, err
	}
	u := x.snap().UserType(uint32(t.OID))
	if u == nil || u.Class != 'c' {
		return nil, pgerr.New(pgerr.WrongObjectType, "type %s is not a composite type", types.TypeName(t))
	}
	return u, nil
}

// columnsOfType returns the columns of a typed table, with the options that the statement gives them.
func (x *executor) columnsOfType(t *catalog.Table, s *ast.CreateTableStmt) ([]*ast.ColumnDef, error) {
	u, err := x.compositeNamed(s.OfType)
	if err != nil {
		return nil, err
	}
	t.OfType = u.ID
	var columns []*ast.ColumnDef
	for _, f := range u.Fields {
		name, err := typeNameOf(x.snap().TypeByRef(f.Type))
		if err != nil {
			return nil, err
		}
		columns = append(columns, &ast.ColumnDef{Name: f.Name, Type: name, Pos: ast.Pos{Off: -1}})
	}
	seen := map[string]bool{}
	for _, def := range s.Columns {
		at := slices.IndexFunc(columns, func(c *ast.ColumnDef) bool { return c.Name == def.Name })
		if at < 0 {
			return nil, pgerr.New(pgerr.UndefinedColumn, "column %q does not exist", def.Name)
		}
		if seen[def.Name] {
			return nil, pgerr.New(pgerr.DuplicateColumn, "column %q specified more than once", def.Name)
		}
		seen[def.Name] = true
		columns[at].Constraints = def.Constraints
	}
	return columns, nil
}

// checkTyped refuses what a typed table does not let change by itself.
func checkTyped(t *catalog.Table, k ast.AlterCmd) error {
	if t.OfType == 0 {
		return nil
	}
	switch k {
	case ast.AddColumn:
		return pgerr.New(pgerr.WrongObjectType, "cannot add column to typed table")
	case ast.DropColumn:
		return pgerr.New(pgerr.WrongObjectType, "cannot drop column from typed table")
	case ast.AlterColumnType:
		return pgerr.New(pgerr.WrongObjectType, "cannot alter column type of typed table")
	case ast.AddInherit, ast.DropInherit:
		return pgerr.New(pgerr.WrongObjectType, "cannot change inheritance of typed table")
	}
	return nil
}

// typedTables are the tables made from a type.
func (x *executor) typedTables(id uint32) []*catalog.Table {
	var out []*catalog.Table
	for _, t := range x.snap().Tables() {
		if t.OfType == id {
			out = append(out, t)
		}
	}
	return out
}

// typedToo are the tables that a change of a type's attributes reaches; without CASCADE there must be none.
func (x *executor) typedToo(t *catalog.Type, b ast.DropBehavior) ([]*catalog.Table, error) {
	tables := x.typedTables(t.ID)
	if len(tables) > 0 && b != ast.Cascade {
		return nil, pgerr.New(pgerr.DependentObjectsStillExist, "cannot alter type %q because it is the type of a typed table", t.Name).
			WithHint("Use ALTER ... CASCADE to alter the typed tables too.")
	}
	return tables, nil
}

// setOfType is ALTER TABLE ... OF and NOT OF.
func (x *executor) setOfType(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	nt := t.Clone()
	if c.Kind == ast.DropOf {
		if t.OfType == 0 {
			return pgerr.New(pgerr.WrongObjectType, "%q is not a typed table", t.Name)
		}
		nt.OfType = 0
		return x.View.Put(ctx, nt)
	}
	u, err := x.compositeNamed(c.Type)
	if err != nil {
		return err
	}
	if len(t.Inherits) > 0 {
		return pgerr.New(pgerr.WrongObjectType, "typed tables cannot inherit")
	}
	var live []*catalog.Column
	for _, col := range t.Columns {
		if !col.Dropped && !col.Hidden {
			live = append(live, col)
		}
	}
	for i, f := range u.Fields {
		switch {
		case i >= len(live):
			return pgerr.New(pgerr.DatatypeMismatch, "table is missing column %q", f.Name)
		case live[i].Name != f.Name:
			return pgerr.New(pgerr.DatatypeMismatch, "table has column %q where type requires %q", live[i].Name, f.Name)
		case live[i].Type != f.Type:
			return pgerr.New(pgerr.DatatypeMismatch, "table %q has different type for column %q", t.Name, f.Name)
		}
	}
	if len(live) > len(u.Fields) {
		return pgerr.New(pgerr.DatatypeMismatch, "table has extra column %q", live[len(u.Fields)].Name)
	}
	nt.OfType = u.ID
	return x.View.Put(ctx, nt)
}

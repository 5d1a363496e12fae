package ddl

import (
	"context"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// eachPartition repeats a command on the partitions of a table. There the command may touch what is inherited.
func (x *executor) eachPartition(t *catalog.Table, f func(p *catalog.Table) error) error {
	below := x.below
	defer func() { x.below = below }()
	x.below = true
	if len(t.Heirs) > 0 && !below && !x.only {
		// All at once, so that a table that inherits in several ways gets the command once.
		for _, h := range x.snap().AllHeirs(t) {
			if err := f(x.snap().TableByID(h.ID)); err != nil {
				return err
			}
		}
	}
	for _, p := range x.snap().Partitions(t) {
		if err := f(p); err != nil {
			return err
		}
	}
	return nil
}

// checkInherited refuses what would make partitions and their table differ.
func (x *executor) checkInherited(t *catalog.Table, c *ast.AlterTableCmd) error {
	bad := func(format string, args ...any) error {
		return pgerr.New(pgerr.InvalidTableDefinition, format, args...)
	}
	if err := x.checkHeirs(t, c); err != nil {
		return err
	}
	col := t.Column(c.Name)
	switch c.Kind {
	case ast.AddColumn:
		if t.PartOf != 0 {
			return pgerr.New(pgerr.WrongObjectType, "cannot add column to a partition")
		}
		if x.only && t.IsPartitioned() && len(t.Partitioning.Children) > 0 {
			return bad("column must be added to child tables too")
		}
	case ast.DropColumn:
		switch {
		case col == nil:
		case col.Inherited:
			return bad("cannot drop inherited column %q", c.Name)
		case inPartitionKey(t, col.Num):
			return bad("cannot drop column %q because it is part of the partition key of relation %q", c.Name, t.Name)
		case x.only && t.IsPartitioned() && len(t.Partitioning.Children) > 0:
			return bad("cannot drop column from only the partitioned table when partitions exist")
		}
	case ast.AlterColumnType:
		switch {
		case col == nil:
		case col.Inherited:
			return bad("cannot alter inherited column %q", c.Name)
		case inPartitionKey(t, col.Num):
			return bad("cannot alter column %q because it is part of the partition key of relation %q", c.Name, t.Name)
		}
	case ast.DropNotNull:
		if p := x.snap().TableByID(t.PartOf); p != nil && col != nil {
			if up := p.Column(c.Name); up != nil && up.NotNull {
				return bad("column %q is marked NOT NULL in parent table", c.Name)
			}
		}
	case ast.AddConstraint:
		if x.only && t.IsPartitioned() && len(t.Partitioning.Children) > 0 && c.Constraint.Kind == ast.ConstrCheck {
			return bad("constraint must be added to child tables too")
		}
	}
	return nil
}

// spreadColumns adds to the partitions the columns that were added to their table.
func (x *executor) spreadColumns(ctx context.Context, t *catalog.Table, cmds []*ast.AlterTableCmd) error {
	now := x.snap().TableByID(t.ID)
	for _, p := range x.snap().Partitions(now) {
		var own []*ast.AlterTableCmd
		for _, c := range cmds {
			col := now.Column(c.Column.Name)
			if t.Column(c.Column.Name) != nil {
				continue // IF NOT EXISTS
			}
			def, err := x.partitionsColumn(col)
			if err != nil {
				return err
			}
			if col.NotNull && col.Default == "" && col.Identity != 0 {
				// The table's sequence fills the rows that are there; the partition itself has no default.
				def.Constraints = append(def.Constraints, &ast.Constraint{Kind: ast.ConstrDefault, Expr: nextvalExpr(col.Sequence), Pos: ast.Pos{Off: -1}})
			}
			own = append(own, &ast.AlterTableCmd{Kind: ast.AddColumn, Column: def})
		}
		if len(own) == 0 {
			continue
		}
		if err := x.addColumns(ctx, p, own); err != nil {
			return err
		}
		np := x.snap().TableByID(p.ID).Clone()
		for _, c := range own {
			col := np.Column(c.Column.Name)
			col.Inherited = true
			if now.Column(col.Name).Identity != 0 {
				col.Default = ""
			}
		}
		if err := x.View.Put(ctx, np); err != nil {
			return err
		}
	}
	return nil
}

// spreadCheck adds to the partitions a check that was added to their table.
func (x *executor) spreadCheck(ctx context.Context, t *catalog.Table, k *catalog.Check) error {
	if len(t.Heirs) > 0 {
		return x.spreadCheckToHeirs(ctx, t, k)
	}
	for _, p := range x.snap().Partitions(t) {
		np := p.Clone()
		// The table's own check has looked at all rows.
		if err := x.inheritCheck(ctx, t, np, k, true); err != nil {
			return err
		}
		if err := x.View.Put(ctx, np); err != nil {
			return err
		}
		for _, c := range np.Checks {
			if c.Name == k.Name {
				if err := x.spreadCheck(ctx, np, c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// spreadIndex gives the partitions their part of an index that was added to their table, unless it was added to
// ONLY the table.
func (x *executor) spreadIndex(ctx context.Context, t *catalog.Table, ix *catalog.Index) error {
	if x.only {
		return nil
	}
	for _, p := range x.snap().Partitions(t) {
		if err := x.attachIndex(ctx, t, p, ix); err != nil {
			return err
		}
	}
	return nil
}

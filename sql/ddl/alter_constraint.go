package ddl

import (
	"context"
	"strconv"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

func utoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// addConstraint adds a constraint to a stored table and checks the rows that are there.
func (x *executor) addConstraint(ctx context.Context, t *catalog.Table, k *ast.Constraint) error {
	b := &tableBuilder{x: x, t: t.Clone(), schema: x.snap().SchemaByID(t.Schema)}
	switch k.Kind {
	case ast.ConstrCheck:
		merged := len(b.t.Checks)
		if err := x.mergeCheck(ctx, b.t, k); err != nil {
			return err
		}
		if len(b.t.Checks) == merged {
			return x.View.Put(ctx, b.t) // the table has inherited it
		}
		if !k.NotValid {
			later, err := x.putOff(ctx, t)
			if err != nil {
				return err
			}
			if later {
				c := b.t.Checks[len(b.t.Checks)-1]
				c.NotValid = true
				if err := x.View.Put(ctx, b.t); err != nil {
					return err
				}
				return x.DeferValidation(ctx, b.t, c.Name, Validation{Table: t.ID, Constraint: c.OID, Added: true})
			}
			if err := x.validateCheck(ctx, t, b.t.Checks[len(b.t.Checks)-1], nil); err != nil {
				return err
			}
		}
		if err := x.View.Put(ctx, b.t); err != nil {
			return err
		}
		return x.spreadCheck(ctx, b.t, b.t.Checks[len(b.t.Checks)-1])
	case ast.ConstrForeign:
		if t.IsPartitioned() && k.NotValid {
			return pgerr.New(pgerr.WrongObjectType, "cannot add NOT VALID foreign key on partitioned table %q referencing relation %q", t.Name, k.RefTable.Name).
				WithDetail("This feature is not yet supported on partitioned tables.")
		}
		later := false
		if !k.NotValid {
			var err error
			if later, err = x.putOff(ctx, t); err != nil {
				return err
			}
		}
		if later {
			c := *k
			c.NotValid = true
			nt, err := x.addForeignKey(ctx, t, &c)
			if err != nil {
				return err
			}
			fk := nt.FKs[len(nt.FKs)-1]
			return x.DeferValidation(ctx, nt, fk.Name, Validation{Table: t.ID, Constraint: fk.OID, Added: true})
		}
		nt, err := x.addForeignKey(ctx, t, k)
		if err != nil || k.NotValid {
			return err
		}
		fk := nt.FKs[len(nt.FKs)-1]
		for _, p := range x.snap().Partitions(nt) {
			if err := x.inheritFK(ctx, nt, p, fk); err != nil {
				return err
			}
		}
		return x.validateFK(ctx, nt, nt.FKs[len(nt.FKs)-1], nil)
	case ast.ConstrNotNull:
		for _, n := range k.Columns {
			if err := x.alterNotNull(ctx, t, &ast.AlterTableCmd{Kind: ast.SetNotNull, Name: n}); err != nil {
				return err
			}
		}
		return nil
	case ast.ConstrPrimary, ast.ConstrUnique:
		if k.UsingIndex != "" {
			if t.IsPartitioned() {
				return pgerr.Unsupported("ALTER TABLE / ADD CONSTRAINT USING INDEX is not supported on partitioned tables")
			}
			return x.constraintUsingIndex(ctx, t, k)
		}
		if k.Kind == ast.ConstrUnique {
			if err := b.unique(ctx, k); err != nil {
				return err
			}
			ix := b.t.Indexes[len(b.t.Indexes)-1]
			b.t.Indexes = b.t.Indexes[:len(b.t.Indexes)-1]
			ix.Only = x.only && t.IsPartitioned() && len(t.Partitioning.Children) > 0
			if ix.Deferrable {
				// Its entries may be equal for a while, so building the index finds nothing.
				if err := x.validateUnique(ctx, t, ix); err != nil {
					return err
				}
			}
			if err := x.addIndex(ctx, b.t, ix); err != nil {
				return err
			}
			return x.spreadIndex(ctx, b.t, ix)
		}
		if err := b.replacePrimary(ctx, k); err != nil {
			return err
		}
		b.t.Primary.Only = x.only && t.IsPartitioned() && len(t.Partitioning.Children) > 0
		if later, err := x.rewriteLater(ctx, t, b.t, nil); err != nil || later {
			return err
		}
		if err := x.rewrite(ctx, t, b.t, nil); err != nil {
			return err
		}
		return x.spreadIndex(ctx, b.t, b.t.Primary)
	}
	ix, err := b.exclusion(ctx, k)
	if err != nil {
		return err
	}
	return x.addIndex(ctx, b.t, ix)
}

// constraintUsingIndex makes a unique index a constraint.
func (x *executor) constraintUsingIndex(ctx context.Context, t *catalog.Table, k *ast.Constraint) error {
	nt := t.Clone()
	var ix *catalog.Index
	for _, i := range nt.Indexes {
		if i.Name == k.UsingIndex {
			ix = i
		}
	}
	switch {
	case ix == nil:
		return pgerr.New(pgerr.UndefinedObject, "index %q does not exist", k.UsingIndex)
	case ix.Constraint != 0:
		return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "index %q is already associated with a constraint", ix.Name)
	case !ix.Unique:
		return pgerr.New(pgerr.WrongObjectType, "%q is not a unique index", ix.Name)
	case ix.Where != "":
		return pgerr.New(pgerr.WrongObjectType, "%q is a partial index", ix.Name)
	}
	var err error
	if ix.Constraint, err = x.View.NewID(ctx); err != nil {
		return err
	}
	if k.Name != "" && k.Name != ix.Name {
		x.notice("00000", "ALTER TABLE / ADD CONSTRAINT USING INDEX will rename index %q to %q", ix.Name, k.Name)
		ix.Name = k.Name
	}
	ix.Deferrable, ix.InitDeferred = k.Deferrable, k.InitiallyDeferred
	if k.Kind == ast.ConstrPrimary {
		if t.PrimaryKey() != nil {
			return pgerr.New(pgerr.InvalidTableDefinition, "multiple primary keys for table %q are not allowed", t.Name)
		}
		// The rows stay where they are, under the row id; the key is a secondary index.
		ix.Primary = true
		for _, key := range ix.Keys {
			c := nt.ColumnByNum(key.Column)
			if c == nil {
				return pgerr.New(pgerr.WrongObjectType, "index %q contains expressions", ix.Name)
			}
			if !c.NotNull {
				if err := x.validateNotNull(ctx, t, c, nil); err != nil {
					return err
				}
				c.NotNull = true
			}
		}
	}
	return x.View.Put(ctx, nt)
}

func (x *executor) dropConstraint(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	inherited := func() error {
		return pgerr.New(pgerr.InvalidTableDefinition, "cannot drop inherited constraint %q of relation %q", c.Name, t.Name)
	}
	for i, k := range t.Checks {
		if k.Name == c.Name {
			if k.Inherited && !x.below {
				return inherited()
			}
			nt := t.Clone()
			nt.Checks = append(nt.Checks[:i], nt.Checks[i+1:]...)
			if err := x.View.Put(ctx, nt); err != nil {
				return err
			}
			if k.NoInherit {
				return nil
			}
			return x.dropCheckBelow(ctx, t, c)
		}
	}
	for _, fk := range t.FKs {
		if fk.Name == c.Name {
			if fk.PartOf != 0 {
				return inherited()
			}
			return x.removeFK(ctx, t, fk.OID)
		}
	}
	for _, ix := range t.AllIndexes() {
		if ix.Constraint == 0 || ix.Name != c.Name {
			continue
		}
		if ix.PartOf != 0 {
			return inherited()
		}
		if err := x.mayDropFKsOn(t, ix, c.Behavior); err != nil {
			return err
		}
		if later, err := x.removeKeyLater(ctx, t, ix); err != nil || later {
			return err
		}
		if err := x.removeFKsOn(ctx, t, ix); err != nil {
			return err
		}
		return x.removeKey(ctx, x.snap().TableByID(t.ID), ix)
	}
	if c.IfExists {
		x.notice(pgerr.UndefinedObject, "constraint %q of relation %q does not exist, skipping", c.Name, t.Name)
		return nil
	}
	return pgerr.New(pgerr.UndefinedObject, "constraint %q of relation %q does not exist", c.Name, t.Name)
}

// removeKey removes the index of a constraint, or another. Without its primary key a table needs row ids.
func (x *executor) removeKey(ctx context.Context, t *catalog.Table, ix *catalog.Index) error {
	if t.Primary == nil || t.Primary.OID != ix.OID || t.IsPartitioned() {
		return x.removeIndex(ctx, t, ix.OID)
	}
	next, err := x.withoutKey(ctx, t)
	if err != nil {
		return err
	}
	return x.rewrite(ctx, t, next, nil)
}

// withoutKey is the table with row ids in the place of its primary key.
func (x *executor) withoutKey(ctx context.Context, t *catalog.Table) (*catalog.Table, error) {
	b := &tableBuilder{x: x, t: t.Clone(), schema: x.snap().SchemaByID(t.Schema)}
	b.t.Primary = nil
	return b.t, b.rowID(ctx)
}

func (x *executor) validateConstraint(ctx context.Context, t *catalog.Table, name string) error {
	nt := t.Clone()
	later, err := x.putOff(ctx, t)
	if err != nil {
		return err
	}
	for _, k := range nt.Checks {
		if k.Name == name {
			if !k.NotValid {
				return nil
			}
			if later {
				return x.DeferValidation(ctx, t, name, Validation{Table: t.ID, Constraint: k.OID})
			}
			if err := x.validateCheck(ctx, t, k, nil); err != nil {
				return err
			}
			k.NotValid = false
			if err := x.View.Put(ctx, nt); err != nil {
				return err
			}
			return x.eachPartition(t, func(p *catalog.Table) error { return x.validateConstraint(ctx, p, name) })
		}
	}
	for _, fk := range nt.FKs {
		if fk.Name == name {
			if !fk.NotValid {
				return nil
			}
			if later {
				return x.DeferValidation(ctx, t, name, Validation{Table: t.ID, Constraint: fk.OID})
			}
			if err := x.validateFK(ctx, t, fk, nil); err != nil {
				return err
			}
			fk.NotValid = false
			return x.View.Put(ctx, nt)
		}
	}
	if constraintNames(t)[name] {
		return pgerr.New(pgerr.WrongObjectType, "constraint %q of relation %q is not a foreign key or check constraint", name, t.Name)
	}
	return pgerr.New(pgerr.UndefinedObject, "constraint %q of relation %q does not exist", name, t.Name)
}

func (x *executor) alterConstraint(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	nt := t.Clone()
	for _, fk := range nt.FKs {
		if fk.Name == c.Name {
			fk.Deferrable, fk.InitDeferred = c.Constraint.Deferrable, c.Constraint.InitiallyDeferred
			return x.View.Put(ctx, nt)
		}
	}
	if constraintNames(t)[c.Name] {
		return pgerr.New(pgerr.WrongObjectType, "constraint %q of relation %q is not a foreign key constraint", c.Name, t.Name)
	}
	return pgerr.New(pgerr.UndefinedObject, "constraint %q of relation %q does not exist", c.Name, t.Name)
}

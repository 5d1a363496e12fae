package ddl

import (
	"context"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// A constraint that is new holds for everything written from the moment that it is in the catalog (I10). What was there
// before can be looked at afterwards, in a snapshot, without locks: a row of the snapshot that satisfies it will go on
// doing so. That is done by a job when the statement stands alone and the table is large; until it has ended the
// constraint is NOT VALID.

// Validation says what is left to be looked at.
type Validation struct {
	Table      uint32 `json:"table"`
	Constraint uint32 `json:"constraint"` // oid of a CHECK or FOREIGN KEY constraint of the table
	// NotNull is the column that becomes NOT NULL when the constraint, which says the same and goes then, has been
	// validated. Zero: no column.
	NotNull int16 `json:"notNull,omitempty"`
	// Added: the constraint is new, and goes when some row violates it.
	Added bool `json:"added,omitempty"`
}

// MayDefer reports whether a statement may leave work to jobs when it stands alone. Only of statements of a single command
// the whole can be undone.
func MayDefer(s *ast.AlterTableStmt) bool {
	if s.Object != ast.ObjTable || len(s.Cmds) != 1 {
		return false
	}
	switch c := s.Cmds[0]; c.Kind {
	case ast.ValidateConstraint, ast.SetNotNull:
		return true
	case ast.AddConstraint:
		k := c.Constraint
		switch k.Kind {
		case ast.ConstrCheck, ast.ConstrForeign:
			return !k.NotValid
		case ast.ConstrUnique:
			return k.UsingIndex == "" && !k.Deferrable // one that is checked late is looked at as a whole
		}
	}
	return false
}

// putOff reports whether a table's rows are to be looked at by a job.
func (x *executor) putOff(ctx context.Context, t *catalog.Table) (bool, error) {
	if x.DeferValidation == nil || t.IsPartitioned() || t.Persistence == 't' {
		return false, nil
	}
	return x.ManyRows(ctx, t)
}

// notNullLater adds a constraint that stands in for NOT NULL until the rows have been looked at.
func (x *executor) notNullLater(ctx context.Context, t *catalog.Table, col *catalog.Column) error {
	oid, err := x.View.NewID(ctx)
	if err != nil {
		return err
	}
	nt, names := t.Clone(), constraintNames(t)
	k := &catalog.Check{OID: oid, Name: chooseName(t.Name, col.Name, "not_null", func(s string) bool { return names[s] }),
		Expr: parser.DeparseExpr(isNotNull(column(col.Name))), Columns: []int16{col.Num}, NotValid: true}
	nt.Checks = append(nt.Checks, k)
	if err := x.View.Put(ctx, nt); err != nil {
		return err
	}
	return x.DeferValidation(ctx, nt, k.Name, Validation{Table: t.ID, Constraint: oid, NotNull: col.Num, Added: true})
}

// find returns the table and the constraint of a validation, both constraints nil when it has been dropped.
func (x *executor) find(v Validation) (*catalog.Table, *catalog.Check, *catalog.ForeignKey) {
	t := x.snap().TableByID(v.Table)
	if t == nil {
		return nil, nil, nil
	}
	for _, k := range t.Checks {
		if k.OID == v.Constraint {
			return t, k, nil
		}
	}
	for _, fk := range t.FKs {
		if fk.OID == v.Constraint {
			return t, nil, fk
		}
	}
	return t, nil, nil
}

func gone() error {
	return pgerr.New(pgerr.UndefinedObject, "the constraint was dropped while it was being validated")
}

// Look looks for a row that violates the constraint, which is the error then. It only reads. versions are those of the
// tables it has read, for Conclude.
func Look(ctx context.Context, env *Env, v Validation) (versions map[uint32]uint64, err error) {
	x := &executor{Env: env}
	t, k, fk := x.find(v)
	switch {
	case k != nil && v.NotNull != 0:
		c := t.ColumnByNum(v.NotNull)
		if c == nil || c.Dropped {
			return nil, gone()
		}
		return map[uint32]uint64{t.ID: t.Version}, x.validateNotNull(ctx, t, c)
	case k != nil:
		return map[uint32]uint64{t.ID: t.Version}, x.validateCheck(ctx, t, k)
	case fk != nil:
		ref := x.snap().TableByID(fk.RefTable)
		return map[uint32]uint64{t.ID: t.Version, ref.ID: ref.Version}, x.validateFK(ctx, t, fk)
	}
	return nil, gone()
}

// Conclude declares a constraint valid. It reports false when a table is not any more what was looked at.
func Conclude(ctx context.Context, env *Env, v Validation, versions map[uint32]uint64) (bool, error) {
	x := &executor{Env: env}
	t, k, fk := x.find(v)
	if k == nil && fk == nil {
		return false, gone()
	}
	for id, version := range versions {
		if now := x.snap().TableByID(id); now == nil || now.Version != version {
			return false, nil
		}
	}
	nt := t.Clone()
	if v.NotNull != 0 {
		nt.ColumnByNum(v.NotNull).NotNull = true
		dropCheck(nt, v.Constraint)
	} else {
		for _, k := range nt.Checks {
			if k.OID == v.Constraint {
				k.NotValid = false
			}
		}
		for _, fk := range nt.FKs {
			if fk.OID == v.Constraint {
				fk.NotValid = false
			}
		}
	}
	return true, x.View.Put(ctx, nt)
}

// Undo takes a constraint that was added, and is not valid, off its table.
func Undo(ctx context.Context, env *Env, v Validation) error {
	x := &executor{Env: env}
	switch t, k, fk := x.find(v); {
	case !v.Added:
		return nil
	case k != nil && k.NotValid:
		nt := t.Clone()
		dropCheck(nt, k.OID)
		return x.View.Put(ctx, nt)
	case fk != nil && fk.NotValid:
		return x.removeFK(ctx, t, fk.OID)
	}
	return nil
}

func dropCheck(t *catalog.Table, oid uint32) {
	for i, k := range t.Checks {
		if k.OID == oid {
			t.Checks = append(t.Checks[:i], t.Checks[i+1:]...)
			return
		}
	}
}

package ddl

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// A constraint that is new holds for everything written from the moment that it is in the catalog (I10). What was there
// before can be looked at afterwards, in snapshots, without locks: a row that satisfies it will go on doing so. That is done by a job when the statement stands alone and the table is large; until it has ended the
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
	case ast.ValidateConstraint, ast.SetNotNull, ast.AlterColumnType, ast.AddColumn, ast.DropConstraint:
		return true
	case ast.AddConstraint:
		k := c.Constraint
		switch k.Kind {
		case ast.ConstrCheck, ast.ConstrForeign:
			return !k.NotValid
		case ast.ConstrUnique:
			return k.UsingIndex == "" && !k.Deferrable // one that is checked late is looked at as a whole
		case ast.ConstrPrimary:
			return k.UsingIndex == ""
		}
	}
	return false
}

// putOff reports whether a table's rows are to be looked at by a job.
func (x *executor) putOff(ctx context.Context, t *catalog.Table) (bool, error) {
	if x.DeferValidation == nil || t.IsPartitioned() || len(t.Heirs) > 0 || t.Persistence == 't' {
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
		Expr: parser.DeparseExpr(isNotNull(column(col.Name))), Columns: []int16{col.Num}, NotValid: true, NotNull: col.Num}
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

// stretchRows is how many rows are looked at in one snapshot.
const stretchRows = 4096

// stretch is a part of a table's rows, in the order of their keys. nil: all of them.
type stretch struct {
	keys        []*catalog.Column
	types       []*ast.TypeName
	after, last []string // values of the keys, as text; nil: from the first row on, to the last one
}

// conditions are what rows of the stretch satisfy; the columns are those of a table with this name, if it has one.
func (r *stretch) conditions(table ...string) []ast.Expr {
	if r == nil {
		return nil
	}
	var out []ast.Expr
	bound := func(sign string, values []string) {
		if values == nil {
			return
		}
		keys, at := &ast.RowExpr{Pos: ast.Pos{Off: -1}}, &ast.RowExpr{Pos: ast.Pos{Off: -1}}
		for i, c := range r.keys {
			keys.Args = append(keys.Args, column(append(slices.Clone(table), c.Name)...))
			at.Args = append(at.Args, &ast.TypeCast{Arg: &ast.Const{Kind: ast.ConstString, Str: values[i], Pos: ast.Pos{Off: -1}}, Type: r.types[i], Pos: ast.Pos{Off: -1}})
		}
		if len(r.keys) == 1 {
			out = append(out, op(keys.Args[0], sign, at.Args[0]))
		} else {
			out = append(out, op(keys, sign, at))
		}
	}
	bound(">", r.after)
	bound("<=", r.last)
	return out
}

// stretchAfter finds the stretch that begins after a key.
func (x *executor) stretchAfter(ctx context.Context, t *catalog.Table, after []string) (*stretch, error) {
	r := &stretch{after: after}
	q := x.selectOf(t)
	for _, k := range t.Primary.Keys {
		c := t.ColumnByNum(k.Column)
		n, err := typeNameOf(c.T)
		if err != nil {
			return nil, err
		}
		r.keys, r.types = append(r.keys, c), append(r.types, n)
		text := &ast.TypeCast{Arg: column(c.Name), Type: &ast.TypeName{Names: []string{catalog.PgCatalog, "text"}, Pos: ast.Pos{Off: -1}}, Pos: ast.Pos{Off: -1}}
		q.Targets = append(q.Targets, &ast.Target{Expr: text, Pos: ast.Pos{Off: -1}})
		// By its name with the table's, which is the column and not its text.
		q.OrderBy = append(q.OrderBy, &ast.SortBy{Expr: column(t.Name, c.Name), Pos: ast.Pos{Off: -1}})
	}
	if within := r.conditions(); within != nil {
		q.Where = and(within...)
	}
	q.Offset, q.Limit = number(stretchRows-1), number(1)
	return r, x.Query(ctx, q, func(row []types.Datum) error {
		for _, d := range row {
			r.last = append(r.last, strings.Clone(d.Str()))
		}
		return nil
	})
}

// Looked is how far the rows have been looked at.
type Looked struct {
	// Versions are those of the tables that were read. When one has changed all begins anew.
	Versions map[uint32]uint64 `json:"versions,omitempty"`
	After    []string          `json:"after,omitempty"` // the key of the last row, as text
	Rows     int64             `json:"rows"`
	Done     bool              `json:"done,omitempty"`
}

// Look looks at the next rows for one that violates the constraint, which is the error then, and reports how far it is. It
// only reads. Each call may be in a snapshot of its own: what is written meanwhile satisfies the constraint.
func Look(ctx context.Context, env *Env, v Validation, from Looked) (Looked, error) {
	x := &executor{Env: env}
	t, k, fk := x.find(v)
	if k == nil && fk == nil {
		return from, gone()
	}
	now := Looked{Versions: map[uint32]uint64{t.ID: t.Version}}
	if fk != nil {
		now.Versions[fk.RefTable] = x.snap().TableByID(fk.RefTable).Version
	}
	if maps.Equal(now.Versions, from.Versions) {
		now.After, now.Rows = from.After, from.Rows
	}
	in, err := x.stretchAfter(ctx, t, now.After)
	if err != nil {
		return from, err
	}
	switch {
	case fk != nil:
		err = x.validateFK(ctx, t, fk, in)
	case v.NotNull == 0:
		err = x.validateCheck(ctx, t, k, in)
	default:
		c := t.ColumnByNum(v.NotNull)
		if c == nil || c.Dropped {
			return from, gone()
		}
		err = x.validateNotNull(ctx, t, c, in)
	}
	if now.After, now.Done = in.last, in.last == nil; !now.Done {
		now.Rows += stretchRows
	}
	return now, err
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

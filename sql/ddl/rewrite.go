package ddl

import (
	"context"
	"errors"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// rewrite stores a changed table whose rows must be written anew: other types, another primary key, a value in
// a new column. The rows are copied by INSERT .. SELECT into a table of the new shape, in a schema that no
// search path names, whose storage the table then takes over. exprs are the values of columns that do not
// simply keep theirs.
func (x *executor) rewrite(ctx context.Context, old, next *catalog.Table, exprs map[int16]ast.Expr) error {
	if old.IsPartitioned() {
		return x.View.Put(ctx, next) // it has no rows of its own
	}
	for _, c := range next.Columns {
		c.Missing = nil
	}
	tmp := next.Clone()
	var err error
	if tmp.ID, err = x.View.NewID(ctx); err != nil {
		return err
	}
	tmp.Schema, tmp.FKs, tmp.Inbound, tmp.DependsOn, tmp.Storage = catalog.PgToastID, nil, nil, nil, 0
	tmp.PartOf, tmp.Bound, tmp.Triggers = 0, nil, nil
	tmp.Inherits, tmp.Heirs = nil, nil
	for _, ix := range tmp.AllIndexes() {
		// The same names appear in messages; the oids must not hide the real ones.
		if ix.OID, err = x.View.NewID(ctx); err != nil {
			return err
		}
		ix.State = catalog.IndexPublic
	}
	if err := x.View.Put(ctx, tmp); err != nil {
		return err
	}
	ins := &ast.InsertStmt{Table: qualifiedVar("pg_toast", tmp.Name), Overriding: ast.OverridingSystem, Select: x.selectOf(old)}
	for _, c := range next.Columns {
		if c.Dropped || c.Hidden || c.Generated != "" {
			continue
		}
		e := exprs[c.Num]
		if e == nil {
			if o := old.ColumnByNum(c.Num); o == nil || o.Dropped {
				continue // a new column without a value: NULL or the column's default
			}
			e = column(old.ColumnByNum(c.Num).Name)
		}
		ins.Columns = append(ins.Columns, &ast.Target{Name: c.Name, Pos: ast.Pos{Off: -1}})
		ins.Select.Targets = append(ins.Select.Targets, &ast.Target{Expr: e, Pos: ast.Pos{Off: -1}})
	}
	if len(ins.Columns) == 0 {
		// INSERT needs a column to count the rows by.
		for _, c := range next.Columns {
			if !c.Dropped && !c.Hidden && c.Generated == "" {
				ins.Columns = []*ast.Target{{Name: c.Name, Pos: ast.Pos{Off: -1}}}
				ins.Select.Targets = []*ast.Target{{Expr: &ast.Const{Pos: ast.Pos{Off: -1}}, Pos: ast.Pos{Off: -1}}}
				break
			}
		}
	}
	if len(ins.Columns) > 0 {
		if _, err := x.Exec(ctx, ins, 0); err != nil {
			return x.rewriteError(err, next)
		}
	}
	if err := x.View.Forget(ctx, tmp); err != nil {
		return err
	}
	if err := x.View.Discard(old.StorageID()); err != nil {
		return err
	}
	next.Storage = tmp.ID
	return x.View.Put(ctx, next)
}

// rewriteError puts a violation in the words of ALTER TABLE.
func (x *executor) rewriteError(err error, t *catalog.Table) error {
	var e *pgerr.Error
	if !errors.As(err, &e) {
		return err
	}
	schema := x.snap().SchemaName(t.Schema)
	switch e.Code {
	case pgerr.NotNullViolation:
		return pgerr.New(pgerr.NotNullViolation, "column %q of relation %q contains null values", e.Column, t.Name).
			WithTable(schema, t.Name).WithColumn(e.Column)
	case pgerr.UniqueViolation:
		n := pgerr.New(pgerr.UniqueViolation, "could not create unique index %q", e.Constraint).WithTable(schema, t.Name)
		n.Constraint = e.Constraint
		if e.Detail != "" {
			n.Detail = duplicated(e.Detail)
		}
		return n
	case pgerr.ExclusionViolation:
		n := pgerr.New(pgerr.ExclusionViolation, "could not create exclusion constraint %q", e.Constraint).WithTable(schema, t.Name)
		n.Constraint = e.Constraint
		n.Detail = strings.Replace(e.Detail, "conflicts with existing key", "conflicts with key", 1)
		return n
	case pgerr.CheckViolation:
		if e.Table == "" {
			return err // of a domain
		}
		n := pgerr.New(pgerr.CheckViolation, "check constraint %q of relation %q is violated by some row", e.Constraint, t.Name).WithTable(schema, t.Name)
		n.Constraint = e.Constraint
		return n
	}
	return err
}

// duplicated turns "Key (a)=(1) already exists." into CREATE INDEX's words.
func duplicated(detail string) string {
	const from, to = "already exists.", "is duplicated."
	if n := len(detail) - len(from); n > 0 && detail[n:] == from {
		return detail[:n] + to
	}
	return detail
}

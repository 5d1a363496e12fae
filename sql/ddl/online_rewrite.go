package ddl

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// The rows of a large table are rewritten while it is in use, in three changes (I10 holds for each): the table gets a
// second storage in the shape that it is to have (catalog.Rewriting), and who writes a row writes it there too; a job fills in
// the rows that were there before; then the table takes the shape and the storage over. A row is either locked by the job
// while its image is written, or was written under the first change and has an image.

// mayRewriteLater reports whether rows can be written in both shapes for a while: from the old row, or the new one, anybody
// can tell which keys it has in the other shape.
func (x *executor) mayRewriteLater(old, next *catalog.Table, exprs map[int16]ast.Expr) bool {
	if x.DeferRewrite == nil || old.Kind != catalog.RelTable || old.PartOf != 0 || len(old.Heirs)+len(old.Inherits) > 0 || old.Persistence == 't' || old.Rewriting != nil {
		return false
	}
	for _, ix := range old.Indexes {
		if ix.State != catalog.IndexPublic {
			return false // its job would begin anew, as after any rewrite
		}
	}
	for _, ix := range next.Indexes {
		if ix.Deferrable {
			return false
		}
	}
	moved := next.Primary.OID != old.Primary.OID
	if moved && (!old.Primary.Hidden || next.Primary.Deferrable) {
		return false
	}
	for _, c := range next.Columns {
		if c.Dropped {
			continue
		}
		if o := old.ColumnByNum(c.Num); o != nil && !o.Dropped {
			if exprs[c.Num] == nil {
				continue
			}
			if indexMentions(next, next.Primary, c.Num) || slices.ContainsFunc(old.FKs, func(fk *catalog.ForeignKey) bool { return slices.Contains(fk.Columns, c.Num) }) ||
				x.referenced(old, c.Num) {
				return false
			}
		} else if slices.ContainsFunc(next.AllIndexes(), func(ix *catalog.Index) bool { return indexMentions(next, ix, c.Num) }) {
			return false
		}
		if c.Type.OID >= catalog.FirstUserID {
			return false // the type could be dropped meanwhile
		}
	}
	return true
}

// referenced reports whether a foreign key points at the column.
func (x *executor) referenced(t *catalog.Table, num int16) bool {
	for _, in := range t.Inbound {
		child := x.snap().TableByID(in.Table)
		if child == nil || slices.ContainsFunc(child.FKs, func(fk *catalog.ForeignKey) bool {
			return fk.OID == in.Constraint && slices.Contains(fk.RefColumns, num)
		}) {
			return true
		}
	}
	return false
}

// rewriteLater leaves a rewrite to a job, if it may and the table is large.
func (x *executor) rewriteLater(ctx context.Context, old, next *catalog.Table, exprs map[int16]ast.Expr) (bool, error) {
	if !x.mayRewriteLater(old, next, exprs) {
		return false, nil
	}
	if many, err := x.ManyRows(ctx, old); err != nil || !many {
		return false, err
	}
	r := &catalog.Rewriting{Table: next.Clone(), Path: slices.Clone(x.path())}
	var err error
	if r.Table.Storage, err = x.View.NewID(ctx); err != nil {
		return false, err
	}
	r.Table.FKs, r.Table.Inbound, r.Table.DependsOn, r.Table.Triggers, r.Table.Policies = nil, nil, nil, nil, nil
	r.Table.RowSecurity, r.Table.ForceRowSecurity = false, false
	for _, c := range r.Table.Columns {
		c.Missing = nil
		if o := old.ColumnByNum(c.Num); o != nil && exprs[c.Num] != nil {
			r.Values = append(r.Values, catalog.RewriteValue{Column: c.Num, Expr: parser.DeparseExpr(normalize(exprs[c.Num]))})
		}
	}
	nt := old.Clone()
	nt.Rewriting = r
	if err := x.View.Put(ctx, nt); err != nil {
		return false, err
	}
	job, err := x.DeferRewrite(ctx, nt)
	if err != nil {
		return false, err
	}
	nt = nt.Clone()
	if nt.Rewriting.Job = job; job == 0 {
		nt.Rewriting = nil
	}
	return job != 0, x.View.Put(ctx, nt)
}

// rewriting finds the table of a job, nil when the job is not wanted any more.
func (x *executor) rewriting(table uint32, job uint64) *catalog.Table {
	t := x.snap().TableByID(table)
	if t == nil || t.Rewriting == nil || t.Rewriting.Job != job {
		return nil
	}
	return t
}

// FinishRewrite gives a table the shape and the storage that a job has filled. From then on the rows are read there.
func FinishRewrite(ctx context.Context, env *Env, table uint32, job uint64) error {
	x := &executor{Env: env}
	t := x.rewriting(table, job)
	if t == nil {
		return RewriteLost()
	}
	nt := t.Clone()
	next := nt.Rewriting.Table
	nt.Columns, nt.Primary, nt.Indexes, nt.NextIndexID, nt.Storage = next.Columns, next.Primary, next.Indexes, next.NextIndexID, next.Storage
	nt.Rewriting = nil
	if err := x.View.Discard(t.StorageID()); err != nil {
		return err
	}
	return x.View.Put(ctx, nt)
}

// UndoRewrite leaves a table as it was before a job began.
func UndoRewrite(ctx context.Context, env *Env, table uint32, job uint64) error {
	x := &executor{Env: env}
	t := x.rewriting(table, job)
	if t == nil {
		return nil
	}
	nt := t.Clone()
	nt.Rewriting = nil
	if err := x.View.Discard(t.Rewriting.Table.StorageID()); err != nil {
		return err
	}
	if err := x.View.Put(ctx, nt); err != nil {
		return err
	}
	for _, c := range t.Rewriting.Table.Columns[len(t.Columns):] {
		if err := x.dropOwnedSequences(ctx, t.ID, c.Num); err != nil {
			return err
		}
	}
	return nil
}

// RewriteLost is the error of a job whose table is not to be rewritten any more.
func RewriteLost() error {
	return pgerr.New(pgerr.UndefinedObject, "the table was dropped while its rows were being rewritten")
}

// RewriteError puts the violation of a constraint that a row was found to have in the words of ALTER TABLE.
func RewriteError(env *Env, err error, t *catalog.Table) error {
	return (&executor{Env: env}).rewriteError(err, t)
}

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
//
// A table that loses its primary key has row ids then, which its rows do not have: nobody who changes a row could tell
// where its image is. So the first change adds the row id to the old shape too, as a hidden column that is NULL in
// the rows that are there, and from then on
//
//	a row has a row id <=> it has an image, which is under that row id
//
// holds before and after every transaction. It does at first, as there are no images, and goes on to hold because whoever
// writes a row holds its lock, has read it as it is last, and changes row and image in one transaction. A writer gives the new row
// the id that the old one had, or a fresh one, and writes its image; it takes an image away only of an old row that has an id.
// The job gives ids to rows that have none and writes their images; a row that has an id is done, whether a writer came
// first or an attempt of the job's own whose checkpoint was lost. When it has been everywhere all rows have one, and the
// column is the hidden primary key. If it ends before, the column is dropped, and nobody reads what rows hold of it.

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
	if moved && (!old.Primary.Hidden && (&catalog.Rewriting{Table: next}).RowIDs(old) == nil || next.Primary.Deferrable) {
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

// removeKeyLater leaves it to a job to remove a primary key, if it may and the table is large. The foreign keys that rely on
// it go when it does, as it may stay.
func (x *executor) removeKeyLater(ctx context.Context, t *catalog.Table, ix *catalog.Index) (bool, error) {
	if x.DeferRewrite == nil || t.Primary == nil || t.Primary.OID != ix.OID || t.IsPartitioned() {
		return false, nil
	}
	next, err := x.withoutKey(ctx, t)
	if err != nil {
		return false, err
	}
	old, id := t.Clone(), *next.ColumnByNum(next.Primary.Keys[0].Column)
	id.NotNull = false
	old.Columns = append(old.Columns, &id)
	return x.rewriteLater(ctx, old, next, nil)
}

// rewriteLater leaves a rewrite to a job, if it may and the table is large. Until it has ended the table is old.
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
	was, nt := x.snap().TableByID(old.ID), old.Clone()
	nt.Rewriting = r
	if err := x.View.Put(ctx, nt); err != nil {
		return false, err
	}
	job, err := x.DeferRewrite(ctx, nt)
	if err != nil {
		return false, err
	}
	if job == 0 {
		return false, x.View.Put(ctx, was.Clone())
	}
	nt = nt.Clone()
	nt.Rewriting.Job = job
	return true, x.View.Put(ctx, nt)
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
	next, loses := nt.Rewriting.Table, nt.Rewriting.RowIDs(t) != nil
	nt.Columns, nt.Primary, nt.Indexes, nt.NextIndexID, nt.Storage = next.Columns, next.Primary, next.Indexes, next.NextIndexID, next.Storage
	nt.Rewriting = nil
	if err := x.View.Discard(t.StorageID()); err != nil {
		return err
	}
	if err := x.View.Put(ctx, nt); err != nil || !loses {
		return err
	}
	return x.removeFKsOn(ctx, nt, t.Primary)
}

// UndoRewrite leaves a table as it was before a job began.
func UndoRewrite(ctx context.Context, env *Env, table uint32, job uint64) error {
	x := &executor{Env: env}
	t := x.rewriting(table, job)
	if t == nil {
		return nil
	}
	nt := t.Clone()
	nt.EndRewriting()
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

package ddl

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
)

func (x *executor) dropColumn(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	col := t.Column(c.Name)
	if col == nil || col.Hidden {
		if c.IfExists {
			x.notice(pgerr.UndefinedColumn, "column %q of relation %q does not exist, skipping", c.Name, t.Name)
			return nil
		}
		_, err := liveColumn(t, c.Name)
		return err
	}
	cascade := c.Behavior == ast.Cascade
	var deps []string
	for _, v := range x.dependents(t.ID) {
		if v.Kind != catalog.RelView && v.Kind != catalog.RelMatView || !viewMentions(v, col.Name) {
			continue
		}
		deps = append(deps, kindWord(v)+" "+v.Name)
		if cascade {
			if err := x.dropRelation(ctx, v, ast.Cascade); err != nil {
				return err
			}
		}
	}
	uses := x.policiesUsing(t.ID)
	for _, p := range t.Policies {
		uses = append(uses, policyUse{t, p})
	}
	for _, u := range uses {
		if u.table == t && !x.policyMentions(t, u.policy, col.Name) ||
			u.table != t && !exprMentions(u.policy.Using, col.Name) && !exprMentions(u.policy.Check, col.Name) {
			continue
		}
		deps = append(deps, u.describe(x))
		if cascade {
			if err := x.removePolicy(ctx, u.table.ID, u.policy.Name); err != nil {
				return err
			}
		}
	}
	t = x.snap().TableByID(t.ID)
	for _, o := range t.Columns {
		if o != col && !o.Dropped && o.Generated != "" && mentions(t, o.Generated, col.Num) {
			deps = append(deps, "column "+o.Name+" of table "+t.Name)
			if cascade {
				if err := x.dropColumn(ctx, x.snap().TableByID(t.ID), &ast.AlterTableCmd{Name: o.Name, Behavior: ast.Cascade}); err != nil {
					return err
				}
			}
		}
	}
	t = x.snap().TableByID(t.ID)
	// Foreign keys that rely on a key with this column: the table's own go, those of others are dependents.
	for _, fk := range t.FKs {
		if fk.RefTable == t.ID && (slices.Contains(fk.RefColumns, col.Num) || slices.Contains(fk.Columns, col.Num)) {
			if err := x.removeFK(ctx, t, fk.OID); err != nil {
				return err
			}
		}
	}
	t = x.snap().TableByID(t.ID)
	for _, ix := range t.AllIndexes() {
		if indexMentions(t, ix, col.Num) {
			if err := x.dropFKsOn(ctx, x.snap().TableByID(t.ID), ix, c.Behavior); err != nil {
				return err
			}
		}
	}
	if len(deps) > 0 && !cascade {
		return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop column %s of table %s because other objects depend on it", col.Name, t.Name).
			WithDetail("%s depends on column %s of table %s", deps[0], col.Name, t.Name).
			WithHint("Use DROP ... CASCADE to drop the dependent objects too.")
	}
	for _, d := range deps {
		x.notice("00000", "drop cascades to %s", d)
	}
	for _, fk := range x.snap().TableByID(t.ID).FKs {
		if slices.Contains(fk.Columns, col.Num) {
			if err := x.removeFK(ctx, t, fk.OID); err != nil {
				return err
			}
		}
	}
	old := x.snap().TableByID(t.ID)
	if old.Primary != nil && old.Primary.Primary && indexMentions(old, old.Primary, col.Num) && !old.IsPartitioned() {
		// The rows must be stored under something else.
		b := &tableBuilder{x: x, t: old.Clone(), schema: x.snap().SchemaByID(t.Schema)}
		b.t.Primary = nil
		if err := b.rowID(ctx); err != nil {
			return err
		}
		next := b.t
		stripColumn(next, col.Num)
		if err := x.rewrite(ctx, old, next, nil); err != nil {
			return err
		}
	} else {
		nt := old.Clone()
		var gone []*catalog.Index
		for _, ix := range nt.Indexes {
			if indexMentions(old, ix, col.Num) {
				gone = append(gone, ix)
			}
		}
		stripColumn(nt, col.Num)
		for _, ix := range gone {
			if err := x.View.DiscardIndex(nt.StorageID(), ix.ID); err != nil {
				return err
			}
		}
		if err := x.View.Put(ctx, nt); err != nil {
			return err
		}
	}
	if err := x.dropBelow(ctx, t, c); err != nil {
		return err
	}
	return x.dropOwnedSequences(ctx, t.ID, col.Num)
}

// stripColumn marks a column dropped and removes what refers to it.
func stripColumn(t *catalog.Table, num int16) {
	if t.IsPartitioned() && t.Primary != nil && indexMentions(t, t.Primary, num) {
		t.Primary = nil
	}
	t.Indexes = slices.DeleteFunc(t.Indexes, func(ix *catalog.Index) bool { return indexMentions(t, ix, num) })
	t.Checks = slices.DeleteFunc(t.Checks, func(k *catalog.Check) bool { return slices.Contains(k.Columns, num) })
	t.ColumnByNum(num).Drop()
}

func indexMentions(t *catalog.Table, ix *catalog.Index, num int16) bool {
	for _, k := range ix.Keys {
		if k.Column == num || k.Expr != "" && mentions(t, k.Expr, num) {
			return true
		}
	}
	return slices.Contains(ix.Include, num) || ix.Where != "" && mentions(t, ix.Where, num)
}

// mentions reports whether a stored expression refers to a column of its table.
func mentions(t *catalog.Table, text string, num int16) bool {
	e, err := parser.ParseExpr(text)
	return err == nil && slices.Contains(columnsIn(t, e), num)
}

// viewMentions reports whether a view's query may refer to a column of that name.
func viewMentions(v *catalog.Table, name string) bool {
	st, err := parser.ParseOne(v.Query)
	if err != nil {
		return true
	}
	sel, ok := st.Stmt.(*ast.SelectStmt)
	found := !ok
	ast.WalkSelect(sel, func(e ast.Expr) bool {
		if c, ok := e.(*ast.ColumnRef); ok && len(c.Fields) > 0 && c.Fields[len(c.Fields)-1] == name {
			found = true
		}
		return !found
	}, nil)
	return found
}

// exprMentions is viewMentions for the text of an expression.
func exprMentions(text, name string) bool {
	e, err := parser.ParseExpr(text)
	if text == "" || err != nil {
		return false
	}
	found := false
	ast.WalkAll(e, func(e ast.Expr) bool {
		if c, ok := e.(*ast.ColumnRef); ok && len(c.Fields) > 0 && c.Fields[len(c.Fields)-1] == name {
			found = true
		}
		return !found
	}, nil)
	return found
}

// dropOwnedSequences drops the sequences that a column, or with num 0 a whole table, owns.
func (x *executor) dropOwnedSequences(ctx context.Context, table uint32, num int16) error {
	for _, q := range x.snap().Tables() {
		if q.Sequence != nil && q.Sequence.OwnerTable == table && (num == 0 || q.Sequence.OwnerColumn == num) {
			if err := x.View.Delete(ctx, q); err != nil {
				return err
			}
		}
	}
	return nil
}

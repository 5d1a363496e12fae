package plan

import (
	"context"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// rowRel makes a rel whose columns are given slots.
func rowRel(t *Table, alias string, slots []Slot) *rel {
	rl := &rel{schema: t.Schema, alias: alias, table: t, aliased: alias != t.Name}
	for i, c := range t.Columns {
		rl.cols = append(rl.cols, relCol{name: c.Name, table: t.ID, attnum: c.AttNum, hidden: c.Hidden,
			expr: &Col{Slot: slots[i], T: c.T, Name: c.Name, Rel: alias, Pos: -1}})
	}
	return rl
}

func (b *binder) newSlots(n int) []Slot {
	out := make([]Slot, n)
	for i := range out {
		out[i] = b.newSlot()
	}
	return out
}

// target binds a table's constraints and index expressions to the slots of old and new rows.
func (b *binder) writeTarget(t *Table, old, new []Slot) (*WriteTarget, error) {
	w := &WriteTarget{Table: t, Old: old, New: new}
	for _, tr := range t.Triggers {
		if tr.Desc.Function >= catalog.FirstUserID { // PostgreSQL's own do not change
			b.tables[tr.Desc.Function] = struct{}{}
		}
	}
	parted := t.Kind == Partitioned
	if parted {
		if err := b.partTarget(w); err != nil {
			return nil, err
		}
	} else if new != nil && t.Within != nil {
		b.useTree(t)
		var err error
		if w.Within, err = b.boundChecks(t, new); err != nil {
			return nil, err
		}
	}
	bind := func(e ast.Expr, slots []Slot, what string) (Expr, error) {
		sc := &scope{b: b, q: &query{}, clause: what, noAgg: true, noWindow: true, noSRF: true, items: visibleItem(rowRel(t, t.Name, slots))}
		path := b.path
		b.path = append([]string{t.Schema}, "pg_catalog")
		b.stored++
		defer func() { b.path = path; b.stored-- }()
		return sc.expr(e)
	}
	if new != nil && !parted {
		for i, c := range t.Columns {
			if c.Generated != nil {
				x, err := bind(c.Generated, new, "column generation expressions")
				if err != nil {
					return nil, err
				}
				if x, err = b.assign(x, c, -1); err != nil {
					return nil, err
				}
				w.Generated = append(w.Generated, OrdExpr{i, x})
			}
		}
		for _, k := range t.Checks {
			x, err := bind(k.Expr, new, "check constraints")
			if err != nil {
				return nil, err
			}
			if x, err = b.coerceBool(x, "CHECK", -1); err != nil {
				return nil, err
			}
			w.Checks = append(w.Checks, NamedExpr{k.Name, x})
		}
	}
	for _, ix := range t.AllIndexes() {
		var ie IndexExprs
		for side, slots := range [][]Slot{old, new} {
			if slots == nil {
				continue
			}
			keys := make([]Expr, len(ix.Keys))
			any := false
			for i, k := range ix.Keys {
				if k.Expr != nil {
					x, err := bind(k.Expr, slots, "index expressions")
					if err != nil {
						return nil, err
					}
					keys[i], any = b.settle(x), true
				}
			}
			if !any {
				keys = nil
			}
			var where Expr
			if ix.Where != nil {
				x, err := bind(ix.Where, slots, "index predicates")
				if err != nil {
					return nil, err
				}
				where = x
			}
			if side == 0 {
				ie.KeyOld, ie.WhereOld = keys, where
			} else {
				ie.KeyNew, ie.WhereNew = keys, where
			}
		}
		w.Indexes = append(w.Indexes, ie)
	}
	if t.Mirror != nil {
		var err error
		if w.Mirror, err = b.mirror(t, old, new); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// defaultExpr is what a column gets when nothing is given for it.
func (b *binder) defaultExpr(t *Table, ord int) (Expr, error) {
	c := t.Columns[ord]
	switch {
	case c.Generated != nil:
		return &Const{T: c.T}, nil // computed later
	case c.Sequence != 0:
		x, err := b.call("nextval", -1, &Const{D: types.NewInt(int64(c.Sequence)), T: types.ByOID(types.OIDRegclass)})
		if err != nil {
			return nil, err
		}
		return b.assign(x, c, -1)
	case c.Default != nil:
		return b.storedDefault(c.Default, t.Schema, c)
	}
	for d := c.T; d.Class == 'd' && d.Def != nil; d = d.Def.Base {
		if d.Def.Default != "" {
			e, err := parser.ParseExpr(d.Def.Default)
			if err != nil {
				return nil, pgerr.New(pgerr.InternalError, "stored default of domain %q: %w", d.Name, err)
			}
			return b.storedDefault(e, d.Schema, c)
		}
	}
	return b.domain(&Const{T: c.T}, c.T)
}

// storedDefault binds a default as it was written in a schema.
func (b *binder) storedDefault(e ast.Expr, schema string, c *TableColumn) (Expr, error) {
	sc := &scope{b: b, q: &query{}, clause: "DEFAULT expressions", noAgg: true, noWindow: true, noSRF: true,
		noColumns: "cannot use column reference in DEFAULT expression", colErr: pgerr.FeatureNotSupported}
	path := b.path
	b.path = []string{schema, "pg_catalog"}
	b.stored++
	x, err := sc.expr(e)
	b.stored--
	b.path = path
	if err != nil {
		return nil, err
	}
	return b.assign(x, c, -1)
}

// PrepareBackfill binds what writing a table's index entries needs, without a statement. The plan has only
// the slots of one row, the target's New.
func PrepareBackfill(ctx context.Context, t *Table, env Env) (*Plan, *WriteTarget, error) {
	b := newBinder(ctx, &env)
	w, err := b.writeTarget(t, nil, b.newSlots(len(t.Columns)))
	if err != nil {
		return nil, nil, err
	}
	return &Plan{Verb: "CREATE INDEX", NumSlots: b.slots, Subqueries: b.subqs}, w, nil
}

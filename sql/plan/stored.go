package plan

import "github.com/meridian-db/meridian/sql/ast"

// bindTableExpr binds an expression stored with a table, an index key or predicate, to slots by ordinal.
func (b *binder) bindTableExpr(t *Table, e ast.Expr, slots []Slot) (Expr, error) {
	sc := &scope{b: b, q: &query{}, clause: "index expressions", noAgg: true, noWindow: true, noSRF: true, items: visibleItem(rowRel(t, t.Name, slots))}
	path := b.path
	b.path = []string{t.Schema, "pg_catalog"}
	b.stored++
	defer func() { b.path = path; b.stored-- }()
	x, err := sc.expr(e)
	if err != nil {
		return nil, err
	}
	return b.settle(x), nil
}

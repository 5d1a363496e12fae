package plan

import (
	"cmp"
	"slices"

	"github.com/meridian-db/meridian/sql/types"
)

// bitmapScan describes a scan of the rows that a bitmap has found, as PostgreSQL does.
func (d *describer) bitmapScan(it *item, x *Scan, name string) {
	it.name, it.kind = "Bitmap Heap Scan on "+name, "Bitmap Heap Scan"
	it.head = append(it.head, prop{key: "Relation Name", val: x.Table.Name})
	if d.o.Verbose {
		it.head = append(it.head, prop{key: "Schema", val: x.Table.Schema})
	}
	it.head = append(it.head, prop{key: "Alias", val: cmp.Or(x.Alias, x.Table.Name)})
	rest := slices.DeleteFunc(slices.Clone(x.Filter), func(f Expr) bool { return slices.Contains(x.IndexConds, f) })
	it.props = append(it.props, prop{key: "Recheck Cond", val: d.conds(x.IndexConds)})
	removed := "Rows Removed by Index Recheck"
	if len(rest) > 0 {
		it.props = append(it.props, prop{key: "Filter", val: d.conds(rest)})
		removed = "Rows Removed by Filter"
	}
	d.removed(it, removed, x)
	it.kids = append(it.kids, d.bitmap(x.Bitmap))
	for _, e := range x.Filter {
		d.subplans(it, e)
	}
}

func (d *describer) bitmap(b *Bitmap) *item {
	if b.Kids != nil {
		it := &item{name: "BitmapOr", kind: "BitmapOr", node: b}
		for _, k := range b.Kids {
			kid := d.bitmap(k)
			kid.part = "Member"
			it.kids = append(it.kids, kid)
		}
		return it
	}
	it := &item{name: "Bitmap Index Scan on " + types.QuoteIdent(b.Index.Name), kind: "Bitmap Index Scan", node: b}
	it.head = append(it.head, prop{key: "Index Name", val: b.Index.Name})
	it.props = append(it.props, prop{key: "Index Cond", val: d.conds(b.Conds)})
	return it
}

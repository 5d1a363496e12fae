package plan

import (
	"math"

	"github.com/meridian-db/meridian/sql/inverted"
)

// Bitmap finds the primary keys of the rows that a Scan reads, in one index or several. It may find too many: the
// scan tests all of its conditions on the rows.
type Bitmap struct {
	NodeBase
	Kids []*Bitmap // those of a union; nil for one index
	// Scan reads the keys from the entries of an ordered index. For an inverted one it is nil, and Finds are the
	// conditions that a row must meet.
	Scan  *Scan
	Index *Index
	Finds []Find
	Conds []Expr // where it comes from, for EXPLAIN
}

// Find is a condition on a key of an inverted index.
type Find struct {
	Key int
	Op  string
	Arg Expr
}

func (b *Bitmap) inputs(func(*Node))  {}
func (b *Bitmap) produces(func(Slot)) {}

func (b *Bitmap) exprs(f func(*Expr)) {
	for _, k := range b.Kids {
		k.exprs(f)
	}
	if b.Scan != nil {
		b.Scan.exprs(f)
	}
	for i := range b.Finds {
		f(&b.Finds[i].Arg)
	}
}

// number numbers what EXPLAIN shows.
func (b *Bitmap) number(next func() int) {
	b.ID = next()
	for _, k := range b.Kids {
		k.number(next)
	}
	if b.Scan != nil {
		b.Scan.ID = next()
	}
}

// bitmapPath is the cheapest path by way of inverted indexes or of a union, nil if there is none.
func (o *optimizer) bitmapPath(s *Scan, conds []Expr) *path {
	var best *path
	offer := func(b *Bitmap, used []int) {
		var on []Expr
		for _, i := range used {
			on = append(on, conds[i])
		}
		p := &path{ix: s.Table.Primary, bitmap: b, conds: used, only: true}
		p.rows = math.Max(1, math.Min(b.Rows, s.Table.rowEstimate()*o.selectivity(on)))
		if p.cost = p.pathCost(s, p.rows); best == nil || p.cost < best.cost {
			best = p
		}
	}
	for _, ix := range s.Table.Indexes {
		if ix.Inverted && o.readable(s, ix, conds) {
			if b, used := o.invertedBitmap(s, ix, conds); b != nil {
				offer(b, used)
			}
		}
	}
	for i, c := range conds {
		if or, ok := c.(*Or); ok {
			if b := o.unionBitmap(s, or, conds, i); b != nil {
				offer(b, []int{i})
			}
		}
	}
	return best
}

// invertedBitmap is what an inverted index finds for conditions; used are those that it knows.
func (o *optimizer) invertedBitmap(s *Scan, ix *Index, conds []Expr) (*Bitmap, []int) {
	var own slotSet
	for _, c := range s.allCols {
		own.add(c.Slot)
	}
	b := &Bitmap{Index: ix}
	var used []int
	keys := o.keyExprs(s, ix)
	for i, c := range conds {
		f, ok := c.(*Func)
		if !ok || len(f.Args) != 2 || f.Form != FormOperator {
			continue
		}
		for k, key := range keys {
			op, arg := f.Name, f.Args[1]
			if !sameExpr(stripCast(f.Args[0]), key) {
				if !sameExpr(stripCast(f.Args[1]), key) {
					continue
				}
				if op, arg = commuted[op], f.Args[0]; op == "" {
					continue
				}
			}
			var free slotSet
			exprSlots(arg, &free)
			if !ix.Keys[k].Class.Finds(op, arg.Type()) || free.intersects(&own) || isVolatile(arg) {
				continue
			}
			if d, ok := o.known(arg); ok && ix.Keys[k].Class.Find(op, d, arg.Type()).Op == inverted.All {
				continue
			}
			b.Finds = append(b.Finds, Find{Key: k, Op: op, Arg: arg})
			b.Conds = append(b.Conds, c)
			used = append(used, i)
			break
		}
	}
	if len(used) == 0 {
		return nil, nil
	}
	b.Rows = math.Max(1, math.Round(s.Table.rowEstimate()*o.selectivity(b.Conds)))
	// Each condition has some terms, and a term is in more rows than the condition holds for.
	b.Cost = float64(len(used)) * 2 * (costScanStart + b.Rows*costRow)
	return b, used
}

// commuted are the operators with their arguments exchanged.
var commuted = map[string]string{"@>": "<@", "<@": "@>", "&&": "&&", "=": "=", "@@": "@@", "%": "%", "<%": "%>", "<<%": "%>>"}

// unionBitmap finds the rows of each arm of an OR, with the help of the other conditions; nil if an arm has no index.
func (o *optimizer) unionBitmap(s *Scan, or *Or, conds []Expr, at int) *Bitmap {
	u := &Bitmap{}
	for _, arm := range or.Args {
		list := []Expr{arm}
		if a, ok := arm.(*And); ok {
			list = append([]Expr(nil), a.Args...)
		}
		n := len(list)
		if hasSubquery(arm) {
			return nil
		}
		for i, c := range conds {
			if i != at {
				list = append(list, c)
			}
		}
		k := o.armBitmap(s, list, n)
		if k == nil {
			return nil
		}
		u.Kids = append(u.Kids, k)
		u.Rows += k.Rows
		u.Cost += k.Cost
	}
	u.Rows = math.Min(u.Rows, math.Round(s.Table.rowEstimate()))
	return u
}

// armBitmap is the cheapest way to find the rows that meet conditions by an index that uses one of the first n.
func (o *optimizer) armBitmap(s *Scan, conds []Expr, n int) *Bitmap {
	var best *Bitmap
	offer := func(b *Bitmap) {
		if best == nil || b.Cost+b.Rows*costFetch < best.Cost+best.Rows*costFetch {
			best = b
		}
	}
	helps := func(used []int) bool {
		for _, i := range used {
			if i < n {
				return true
			}
		}
		return false
	}
	for _, ix := range s.Table.AllIndexes() {
		if !o.readable(s, ix, conds) {
			continue
		}
		if ix.Inverted {
			if b, used := o.invertedBitmap(s, ix, conds); b != nil && helps(used) {
				offer(b)
			}
			continue
		}
		p := o.pathFor(s, ix, conds)
		if !helps(p.conds) {
			continue
		}
		p.only = true
		k := &Scan{Table: s.Table, Alias: s.Alias, allCols: s.allCols, IndexOnly: true}
		for _, key := range s.Table.Primary.Keys {
			for _, c := range s.allCols {
				if c.Ord == key.Col {
					k.Cols = append(k.Cols, c)
				}
			}
		}
		k.apply(p, conds)
		k.Filter = nil
		b := &Bitmap{Scan: k, Index: ix, Conds: k.IndexConds}
		b.Rows, b.Cost = math.Round(p.rows), p.pathCost(k, p.rows)
		k.Rows, k.Cost = b.Rows, b.Cost
		offer(b)
	}
	return best
}

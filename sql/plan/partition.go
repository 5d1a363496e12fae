package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/partition"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// Parts is how a partitioned table's rows are spread over its partitions.
type Parts struct {
	Set      *partition.Set
	Keys     []PartKey
	Children []*Table // by position in Set
}

// PartKey is one column or expression of a partition key.
type PartKey struct {
	Col  int // ordinal, -1 for an expression
	Expr ast.Expr
	T    *types.T
}

// Within is a partition's place: the table that it is a partition of, and its position in that table's Set.
type Within struct {
	Parent *Table
	At     int
}

// partitions completes a partitioned table with its partitions.
func (c *SnapshotCatalog) partitions(t *Table, d *catalog.Table) error {
	set, err := c.Snap.PartitionSet(d)
	if err != nil {
		return err
	}
	p := &Parts{Set: set}
	for i, k := range d.Partitioning.Keys {
		key := PartKey{Col: -1, T: set.Types[i]}
		if col := d.ColumnByNum(k.Column); col != nil {
			key.Col = t.Column(col.Name)
		} else if key.Expr, err = parser.ParseExpr(k.Expr); err != nil {
			return err
		}
		p.Keys = append(p.Keys, key)
	}
	t.Parts = p
	for i, id := range d.Partitioning.Children {
		child, err := c.convertTree(c.Snap.TableByID(id))
		if err != nil {
			return err
		}
		child.Within = &Within{Parent: t, At: i}
		p.Children = append(p.Children, child)
	}
	return nil
}

// leaves lists the partitions that store rows, in the order of their bounds.
func (t *Table) leaves() []*Table {
	if t.Parts == nil {
		return []*Table{t}
	}
	var out []*Table
	for _, i := range t.Parts.Set.Order() {
		out = append(out, t.Parts.Children[i].leaves()...)
	}
	return out
}

// Root is the table at the top of a tree of partitions.
func (t *Table) Root() *Table {
	for t.Within != nil {
		t = t.Within.Parent
	}
	return t
}

// useTree makes the plan depend on a table's whole tree: on the partitions it reads or writes, and on those above,
// whose bounds hold for it.
func (b *binder) useTree(t *Table) {
	b.tables[t.ID] = struct{}{}
	for up := t; up.Within != nil; up = up.Within.Parent {
		b.tables[up.Within.Parent.ID] = struct{}{}
	}
	var down func(*Table)
	down = func(t *Table) {
		b.tables[t.ID] = struct{}{}
		if t.Parts != nil {
			for _, c := range t.Parts.Children {
				down(c)
			}
		}
	}
	down(t)
}

// Append reads the partitions of a table one after the other. It is bound without Kids; they are made when the
// conditions are known, for the partitions that can satisfy them.
type Append struct {
	NodeBase
	Table *Table
	Alias string
	// Slots are those of the table's columns by ordinal. OID receives the partition's id and RowID the key of a
	// row that has a hidden one.
	Slots      []Slot
	OID, RowID Slot
	TID        Slot // receives ctid
	// Extra receives, of the rows of a table that inherits, the columns that Table does not have.
	Extra []Slot
	Kids  []*AppendKid
	// Levels are the partitioned tables in the tree, for pruning at run time; none when nothing is left to prune.
	Levels []*PartLevel
	Lock   LockWant
	Wait   kv.WaitPolicy
	Target bool // of a write or of FOR UPDATE: whole rows are needed
	// Order, if any, is that of the rows: each kid's come in it, and are merged. OneByOne: all of a kid's come before those
	// of the next.
	Order    []SortKey
	OneByOne bool

	expanded bool
}

// AppendKid is one partition of an Append.
type AppendKid struct {
	Input Node
	Scan  *Scan
	// Exprs fill the Append's slots; nil for a column nobody reads.
	Exprs []Expr
	Oid   Expr
	RowID Expr
	TID   Expr
	Extra []Expr
	Keys  []Expr // those of Append.Order over the kid's slots
	// Level and At lead to the partition in Append.Levels.
	Level, At int
}

// PartLevel is one partitioned table of a tree and what conditions say about its key.
type PartLevel struct {
	Set   *partition.Set
	Up    int // the level above, -1 at the top
	At    int // position there
	Conds [][]PartCond
}

// PartCond is one condition on a column of a partition key. One kind of field is set.
type PartCond struct {
	In           []Expr
	InArray      bool
	IsNull       bool
	Lower, Upper []RangeBound
}

func (n *Append) inputs(f func(*Node)) {
	for _, k := range n.Kids {
		f(&k.Input)
	}
}

func (n *Append) exprs(f func(*Expr)) {
	for _, k := range n.Kids {
		for i := range k.Exprs {
			if k.Exprs[i] != nil {
				f(&k.Exprs[i])
			}
		}
		if k.RowID != nil {
			f(&k.RowID)
		}
		if k.TID != nil {
			f(&k.TID)
		}
		kidSlice(k.Extra, f)
		kidSlice(k.Keys, f)
	}
	for _, l := range n.Levels {
		for _, key := range l.Conds {
			for i := range key {
				kidSlice(key[i].In, f)
				for j := range key[i].Lower {
					f(&key[i].Lower[j].E)
				}
				for j := range key[i].Upper {
					f(&key[i].Upper[j].E)
				}
			}
		}
	}
}

func (n *Append) produces(f func(Slot)) {
	eachSlot(n.Slots, f)
	f(n.OID)
	f(n.RowID)
	f(n.TID)
	eachSlot(n.Extra, f)
}

// appendOf makes the Append over a partitioned table's columns.
func (b *binder) appendOf(t *Table) (*Append, *rel) {
	b.useTree(t)
	n := &Append{Table: t, Alias: t.Name, Slots: b.newSlots(len(t.Columns)), OID: b.newSlot(), RowID: b.newSlot(), TID: b.newSlot()}
	n.Extra = b.newSlots(t.extras())
	rl := rowRel(t, t.Name, n.Slots)
	rl.app = n
	rl.showAppend(n)
	return n, rl
}

// showAppend makes the system columns of a rel those that an Append fills.
func (r *rel) showAppend(n *Append) {
	r.oid = &Col{Slot: n.OID, T: types.Oid, Name: "tableoid", Pos: -1}
	r.ctid = &Col{Slot: n.TID, T: types.Tid, Name: "ctid", Pos: -1}
}

// levels collects the partitioned tables of a tree with the conditions on their keys.
func (o *optimizer) levels(n *Append, conds []Expr) []*PartLevel {
	var own slotSet
	eachSlot(n.Slots, own.add)
	var out []*PartLevel
	var walk func(t *Table, up, at int)
	walk = func(t *Table, up, at int) {
		l := &PartLevel{Set: t.Parts.Set, Up: up, At: at}
		me := len(out)
		out = append(out, l)
		slots := rootSlots(n.Table, t, n.Slots)
		for _, k := range t.Parts.Keys {
			var key Expr
			if k.Col >= 0 {
				key = &Col{Slot: slots[k.Col], T: k.T, Pos: -1}
			} else if x, err := o.b.bindTableExpr(t, k.Expr, slots); err == nil {
				key = x
			}
			var list []PartCond
			for _, c := range conds {
				if key == nil {
					break
				}
				switch kind, vals, lo, up, _ := o.match(c, key, &own); kind {
				case '=':
					list = append(list, PartCond{In: vals})
				case 'i':
					list = append(list, PartCond{In: append([]Expr(nil), vals...)})
				case 'a':
					list = append(list, PartCond{In: vals, InArray: true})
				case 'n':
					list = append(list, PartCond{IsNull: true})
				case 'b':
					list = append(list, PartCond{Lower: lo, Upper: up})
				}
			}
			l.Conds = append(l.Conds, list)
		}
		for i, c := range t.Parts.Children {
			if c.Parts != nil {
				walk(c, me, i)
			}
		}
	}
	walk(n.Table, -1, 0)
	return out
}

// rootSlots gives the slots of a partition's columns in a row of a table above it. Columns that are not there (the
// hidden key) get -1.
func rootSlots(root, t *Table, slots []Slot) []Slot {
	out := make([]Slot, len(t.Columns))
	for i, c := range t.Columns {
		out[i] = -1
		if j := root.visible(c.Name); j >= 0 && (!c.Hidden || c.System) {
			out[i] = slots[j]
		}
	}
	return out
}

// Live says which partitions of a level can satisfy the conditions. eval returns an expression's value; not ok:
// unknown for now, and exact is then false.
func (l *PartLevel) Live(eval func(Expr) (d types.Datum, ok bool, err error)) (live []bool, exact bool, err error) {
	exact = true
	conds := make([]partition.Cond, len(l.Conds))
	for i, list := range l.Conds {
		c := &conds[i]
		for _, p := range list {
			known := true
			value := func(e Expr) types.Datum {
				d, ok, e2 := eval(e)
				if e2 != nil && err == nil {
					err = e2
				}
				if !ok {
					known, exact = false, false
				}
				return d
			}
			switch {
			case p.IsNull:
				c.IsIn, c.In = true, []types.Datum{types.Null}
			case p.In != nil:
				in := []types.Datum{}
				for _, e := range p.In {
					d := value(e)
					switch {
					case d.IsNull():
					case p.InArray:
						for _, x := range d.Array().Elems {
							if !x.IsNull() {
								in = append(in, x)
							}
						}
					default:
						in = append(in, d)
					}
				}
				if known && (!c.IsIn || len(in) < len(c.In)) {
					c.IsIn, c.In = true, in
				}
			default:
				bound := func(b RangeBound, lower bool) {
					d := value(b.E)
					if !known {
						known = true
						return
					}
					if d.IsNull() {
						c.IsIn, c.In = true, nil // nothing compares with NULL
						return
					}
					at, open, sign := &c.Lower, &c.LowerOpen, 1
					if !lower {
						at, open, sign = &c.Upper, &c.UpperOpen, -1
					}
					if *at == nil || sign*types.Compare(l.Set.Types[i], d, **at) > 0 {
						*at, *open = &d, b.Open
					} else if types.Compare(l.Set.Types[i], d, **at) == 0 {
						*open = *open || b.Open
					}
				}
				for _, b := range p.Lower {
					bound(b, true)
				}
				for _, b := range p.Upper {
					bound(b, false)
				}
			}
		}
	}
	if err != nil {
		return nil, false, err
	}
	return l.Set.Prune(conds), exact, nil
}

// constant evaluates what is known when the plan is made.
func constant(e Expr) (types.Datum, bool, error) {
	if c, ok := stripCast(e).(*Const); ok {
		return c.D, true, nil
	}
	return types.Null, false, nil
}

// alternatives prunes by a condition of the form a OR b: what neither side can satisfy.
func (o *optimizer) alternatives(n *Append, conds []Expr, live [][]bool) error {
	for _, c := range conds {
		or, ok := c.(*Or)
		if !ok {
			continue
		}
		any := make([][]bool, len(live))
		for i := range live {
			any[i] = make([]bool, len(live[i]))
		}
		for _, arm := range or.Args {
			for i, l := range o.levels(n, conjuncts(arm)) {
				got, _, err := l.Live(constant)
				if err != nil {
					return err
				}
				for j := range got {
					any[i][j] = any[i][j] || got[j]
				}
			}
		}
		for i := range live {
			for j := range live[i] {
				live[i][j] = live[i][j] && any[i][j]
			}
		}
	}
	return nil
}

// expand makes the scans of the partitions that may satisfy conds, and pushes conds into them. Conditions that
// cannot be pushed stay above.
func (o *optimizer) expand(n *Append, conds []Expr) Node {
	if n.expanded {
		return o.pushKids(n, conds)
	}
	n.expanded = true
	levels := o.levels(n, o.equalities(conds))
	live := make([][]bool, len(levels))
	exact := true
	for i, l := range levels {
		got, all, err := l.Live(constant)
		if err != nil {
			got, all, _ = (&PartLevel{Set: l.Set, Conds: make([][]PartCond, len(l.Conds))}).Live(constant)
		}
		live[i] = got
		exact = exact && all
	}
	if err := o.alternatives(n, conds, live); err != nil {
		exact = false
	}
	if !exact {
		n.Levels = levels
	}
	level := 0
	var walk func(t *Table)
	walk = func(t *Table) {
		me := level
		// Levels are numbered by the order of Children, kids come in the order of their bounds.
		sub := map[int]int{}
		next := me + 1
		for i, c := range t.Parts.Children {
			if c.Parts != nil {
				sub[i] = next
				next += c.countLevels()
			}
		}
		for _, i := range t.Parts.Set.Order() {
			c := t.Parts.Children[i]
			switch {
			case !live[me][i]:
			case c.Parts != nil:
				level = sub[i]
				walk(c)
			default:
				n.Kids = append(n.Kids, o.kid(n, c, me, i))
			}
		}
	}
	walk(n.Table)
	return o.pushKids(n, conds)
}

func (t *Table) countLevels() int {
	if t.Parts == nil {
		return 0
	}
	k := 1
	for _, c := range t.Parts.Children {
		k += c.countLevels()
	}
	return k
}

// kid makes the scan of one partition.
func (o *optimizer) kid(n *Append, t *Table, level, at int) *AppendKid {
	sc, rl := o.b.scan(t)
	sc.Lock, sc.Wait, sc.Target = n.Lock, n.Wait, n.Target
	if n.Alias != n.Table.Name {
		sc.Alias = n.Alias + "_" + itoa(len(n.Kids)+1)
	}
	o.findOrigins(sc)
	k := &AppendKid{Input: sc, Scan: sc, Level: level, At: at, Exprs: make([]Expr, len(n.Slots)),
		Oid: &Const{D: types.NewInt(int64(t.ID)), T: types.Oid}, RowID: &Const{T: types.Int8}}
	k.TID, _ = rl.tid(-1)
	for i, c := range rl.cols {
		col := c.expr.(*Col)
		col.Rel = sc.Alias
		if tc := t.Columns[i]; tc.Hidden && !tc.System {
			k.RowID = col
		} else if j := n.Table.visible(c.name); j >= 0 {
			k.Exprs[j] = col
		} else if n.Target {
			k.Extra = append(k.Extra, col)
		}
	}
	return k
}

// pushKids pushes conditions into an Append's partitions. A lone partition takes the Append's place.
func (o *optimizer) pushKids(n *Append, conds []Expr) Node {
	var above []Expr
	lists := make([][]Expr, len(n.Kids))
	for _, c := range conds {
		var used slotSet
		exprSlots(c, &used)
		ok := !used.has(n.OID) && !used.has(n.RowID) && !used.has(n.TID)
		each := make([]Expr, len(n.Kids))
		for i, k := range n.Kids {
			if !ok {
				break
			}
			each[i], ok = substitute(c, n.Slots, k.Exprs)
		}
		if !ok {
			above = append(above, c)
			continue
		}
		for i := range each {
			lists[i] = append(lists[i], each[i])
		}
	}
	for i, k := range n.Kids {
		k.Input = o.push(k.Input, lists[i])
	}
	if len(n.Kids) == 1 && n.Lock == LockDefault && !n.Target && n.Levels == nil {
		k := n.Kids[0]
		p := &Project{Input: k.Input, Exprs: append(append([]Expr(nil), k.Exprs...), k.Oid, k.TID), Slots: append(append([]Slot(nil), n.Slots...), n.OID, n.TID)}
		return filterOver(p, above)
	}
	return filterOver(n, above)
}

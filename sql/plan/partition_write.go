package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/partition"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// PartTarget is how rows of a partitioned table are written: each is converted to the columns of the partition that
// it belongs to. One row is written at a time, so the partitions share the slots of their rows.
type PartTarget struct {
	Leaves []*LeafTarget
	ByOID  map[uint32]int // position in Leaves
	Route  *Route         // nil for DELETE
	// KeyCols are the table's columns that decide where a row belongs.
	KeyCols map[int]bool
	// OldOID and OldRowID are filled by the Append that finds the rows of UPDATE and DELETE.
	OldOID, OldRowID Slot
	// OldExtra are those of the Append's Extra: what a table that inherits has besides.
	OldExtra []Slot
	// NewOID is the partition of the new row, for RETURNING.
	NewOID Slot
}

// LeafTarget is one partition.
type LeafTarget struct {
	Target *WriteTarget
	// From has for each of the partition's columns the ordinal in the partitioned table; -1 for its hidden key,
	// whose ordinal is Hidden; -2-k for the k-th column that only a table that inherits has.
	From     []int
	Hidden   int
	Conflict *Conflict // of INSERT, over the partition's columns
	// Bounds are those of the partition, for rows that a trigger has changed.
	Bounds []BoundCheck
}

// Route finds the partition of a new row.
type Route struct {
	Table *Table
	Set   *partition.Set
	Keys  []Expr
	Kids  []RouteKid // by position in Set
}

// RouteKid is a partition: a leaf, or partitioned again.
type RouteKid struct {
	Leaf int
	Sub  *Route
}

// BoundCheck says that a row belongs to one partition of a set.
type BoundCheck struct {
	Table *Table
	Set   *partition.Set
	At    int
	Keys  []Expr
}

func (t *WriteTarget) produces(f func(Slot)) {
	eachSlot(t.New, f)
	if t.Mirror != nil {
		eachSlot(t.Mirror.Target.Old, f)
		eachSlot(t.Mirror.Target.New, f)
	}
	if p := t.Parts; p != nil {
		for _, l := range p.Leaves {
			eachSlot(l.Target.Old, f)
			eachSlot(l.Target.New, f)
			if l.Conflict != nil {
				eachSlot(l.Conflict.Old, f)
			}
		}
		f(p.NewOID)
	}
}

// readsOld adds what a write reads of the rows that its input finds.
func (t *WriteTarget) readsOld(need *slotSet) {
	eachSlot(t.Old, need.add)
	if t.Parts != nil {
		need.add(t.Parts.OldOID)
		need.add(t.Parts.OldRowID)
		eachSlot(t.Parts.OldExtra, need.add)
	}
}

func (p *PartTarget) exprs(f func(*Expr)) {
	for _, l := range p.Leaves {
		l.Target.exprs(f)
		if c := l.Conflict; c != nil {
			ordExprs(c.Set, f)
			kidSlice(c.Where, f)
			if c.OldTarget != nil {
				c.OldTarget.exprs(f)
			}
		}
		for i := range l.Bounds {
			kidSlice(l.Bounds[i].Keys, f)
		}
	}
	p.Route.exprs(f)
}

func (r *Route) exprs(f func(*Expr)) {
	if r == nil {
		return
	}
	kidSlice(r.Keys, f)
	for i := range r.Kids {
		r.Kids[i].Sub.exprs(f)
	}
}

// foundBy tells a write how its rows are found.
func (t *WriteTarget) foundBy(n *Append) {
	if t.Parts != nil && n != nil {
		t.Parts.OldOID, t.Parts.OldRowID, t.Parts.OldExtra = n.OID, n.RowID, n.Extra
	}
}

// setOID makes tableoid in RETURNING that of the partition written to.
func (t *WriteTarget) setOID(r *rel) {
	if t.Parts != nil {
		r.oid = &Col{Slot: t.Parts.NewOID, T: types.Oid, Name: "tableoid", Pos: -1}
	}
}

// partKeys binds a partitioned table's key over the slots of a row of a table of its tree.
func (b *binder) partKeys(t, rowOf *Table, slots []Slot) ([]Expr, error) {
	own := rootSlots(rowOf, t, slots)
	var out []Expr
	for _, k := range t.Parts.Keys {
		if k.Col >= 0 {
			out = append(out, &Col{Slot: own[k.Col], T: k.T, Name: t.Columns[k.Col].Name, Pos: -1})
			continue
		}
		x, err := b.bindTableExpr(t, k.Expr, own)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// boundChecks are the bounds above a table that a row written to it directly must lie within.
func (b *binder) boundChecks(t *Table, slots []Slot) ([]BoundCheck, error) {
	var out []BoundCheck
	for up := t; up.Within != nil; up = up.Within.Parent {
		p := up.Within.Parent
		keys, err := b.partKeys(p, t, slots)
		if err != nil {
			return nil, err
		}
		out = append(out, BoundCheck{Table: p, Set: p.Parts.Set, At: up.Within.At, Keys: keys})
	}
	return out, nil
}

// partTarget binds the partitions of a target.
func (b *binder) partTarget(w *WriteTarget) error {
	t := w.Table
	b.useTree(t)
	p := &PartTarget{ByOID: map[uint32]int{}, KeyCols: map[int]bool{}, OldOID: -1, OldRowID: -1, NewOID: b.newSlot()}
	w.Parts = p
	leaves := t.leaves()
	width := len(t.Columns) + 1
	for _, l := range leaves {
		width = max(width, len(l.Columns))
	}
	var old, new []Slot
	if w.Old != nil {
		old = b.newSlots(width)
	}
	if w.New != nil {
		new = b.newSlots(width)
	}
	part := func(s []Slot, n int) []Slot {
		if s == nil {
			return nil
		}
		return s[:n]
	}
	for i, l := range leaves {
		n := len(l.Columns)
		lt := &LeafTarget{Hidden: -1, From: make([]int, n)}
		extra := 0
		for j, c := range l.Columns {
			lt.From[j] = t.visible(c.Name)
			switch {
			case c.Hidden && !c.System:
				lt.From[j], lt.Hidden = -1, j
			case lt.From[j] < 0:
				lt.From[j] = -2 - extra
				extra++
			}
		}
		var err error
		if lt.Target, err = b.writeTarget(l, part(old, n), part(new, n)); err != nil {
			return err
		}
		lt.Bounds, lt.Target.Within = lt.Target.Within, nil // the row was routed there
		p.Leaves = append(p.Leaves, lt)
		p.ByOID[l.ID] = i
	}
	if w.New == nil {
		return nil
	}
	at := map[*Table]int{}
	for i, l := range leaves {
		at[l] = i
	}
	var route func(x *Table) (*Route, error)
	route = func(x *Table) (*Route, error) {
		keys, err := b.partKeys(x, t, w.New)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			var used slotSet
			exprSlots(k, &used)
			for i, s := range w.New {
				if used.has(s) {
					p.KeyCols[i] = true
				}
			}
		}
		r := &Route{Table: x, Set: x.Parts.Set, Keys: keys}
		for _, c := range x.Parts.Children {
			k := RouteKid{Leaf: at[c]}
			if c.Parts != nil {
				if k.Sub, err = route(c); err != nil {
					return nil, err
				}
			}
			r.Kids = append(r.Kids, k)
		}
		return r, nil
	}
	var err error
	if p.Route, err = route(t); err != nil {
		return err
	}
	w.Within, err = b.boundChecks(t, w.New)
	return err
}

// targetAppend is targetScan for a partitioned table.
func (s *scope) targetAppend(v *viewTarget) (Node, *rel, []Slot, error) {
	n, _ := s.b.appendOf(v.base)
	n.Lock, n.Target, n.Alias = LockForUpdate, true, v.base.Name
	if v.view == nil {
		n.Alias = v.alias
	}
	rl, conds, err := v.rel(n.Slots)
	if err != nil {
		return nil, nil, nil, err
	}
	rl.app = n
	rl.showAppend(n)
	node, err := v.barrier(n)
	if err != nil {
		return nil, nil, nil, err
	}
	return filterOver(node, conds), rl, n.Slots, nil
}

// leafConflicts binds ON CONFLICT once for each partition, whose indexes find the conflicts.
func (s *scope) leafConflicts(n *Insert, oc *ast.OnConflict, v *viewTarget) error {
	t := n.Target.Table
	if v.view != nil {
		return pgerr.Unsupported("ON CONFLICT on a view of a partitioned table is not supported")
	}
	s.b.unchecked = true
	defer func() { s.b.unchecked = false }()
	for _, l := range n.Target.Parts.Leaves {
		leaf := l.Target.Table
		lv := &viewTarget{b: s.b, base: leaf, alias: v.alias}
		li := &Insert{Target: l.Target}
		c := *oc
		if c.Constraint != "" {
			c.Constraint = partOfIndex(t, leaf, c.Constraint)
		}
		if err := s.onConflict(li, &c, lv); err != nil {
			return err
		}
		l.Conflict = li.Conflict
	}
	return nil
}

// partOfIndex finds the constraint of a partition that is part of a constraint of a table above it.
func partOfIndex(root, leaf *Table, constraint string) string {
	var want uint32
	for _, ix := range root.AllIndexes() {
		if ix.Constraint == constraint {
			want = ix.OID
		}
	}
	up := map[uint32]uint32{}
	for t := leaf; t != nil; {
		for _, ix := range t.AllIndexes() {
			up[ix.OID] = ix.PartOf
		}
		if t == root || t.Within == nil {
			break
		}
		t = t.Within.Parent
	}
	for _, ix := range leaf.AllIndexes() {
		for oid := ix.OID; oid != 0; oid = up[oid] {
			if oid == want {
				return ix.Constraint
			}
		}
	}
	return constraint
}

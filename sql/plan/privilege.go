package plan

import "sort"

// Need is a privilege that whoever runs a plan must have.
type Need struct {
	// ID is the relation's or function's; Schema is set instead for USAGE of a schema.
	ID     uint32
	Schema string
	// Role is the owner of the view that the need arose in; 0 is the current user.
	Role uint32
	Priv byte // PostgreSQL's letter: r, a, w, d, X, U
	// Cols are the columns concerned, by attribute number: the privilege on each of them will do.
	Cols []int16
}

type needKey struct {
	id     uint32
	schema string
	role   uint32
	priv   byte
}

// need notes that the statement must be allowed something. Expressions stored with tables run as their tables say.
func (b *binder) need(id uint32, priv byte, cols ...int16) {
	if b.stored > b.viewDepth || id == 0 || b.unchecked {
		return
	}
	b.needKey(needKey{id: id, role: b.role, priv: priv}, cols)
}

func (b *binder) needKey(k needKey, cols []int16) {
	if b.needs == nil {
		b.needs = map[needKey]map[int16]bool{}
	}
	m := b.needs[k]
	if m == nil {
		m = map[int16]bool{}
		b.needs[k] = m
	}
	for _, c := range cols {
		m[c] = true
	}
}

// reads notes that a column is read.
func (b *binder) reads(c *relCol) {
	if c.table == 0 || c.attnum == 0 || b.stored > b.viewDepth || b.unchecked {
		return
	}
	if m := b.needs[needKey{id: c.table, role: b.role, priv: 'r'}]; m != nil {
		m[c.attnum] = true
	} else if b.targets[c.table] {
		b.need(c.table, 'r', c.attnum)
	}
}

// target notes that a relation is written to: reading its columns needs SELECT, writing it does not.
func (b *binder) target(id uint32) {
	if b.targets == nil {
		b.targets = map[uint32]bool{}
	}
	b.targets[id] = true
}

// needs notes what a write does to the columns with these ordinals of its base table; through a view, its owner
// needs the privilege on the table.
func (v *viewTarget) needs(priv byte, ords []int) {
	b := v.b
	var cols []int16
	for _, o := range ords {
		if c := v.base.Columns[o]; !c.Hidden {
			cols = append(cols, c.AttNum)
		}
	}
	if v.view == nil {
		b.need(v.base.ID, priv, cols...)
		return
	}
	b.need(v.view.ID, priv)
	v.as(func() error {
		b.need(v.base.ID, priv, cols...)
		return nil
	})
}

// listNeeds is Plan.Needs.
func (b *binder) listNeeds() []Need {
	var out []Need
	for k, cols := range b.needs {
		n := Need{ID: k.id, Schema: k.schema, Role: k.role, Priv: k.priv}
		for c := range cols {
			n.Cols = append(n.Cols, c)
		}
		sort.Slice(n.Cols, func(i, j int) bool { return n.Cols[i] < n.Cols[j] })
		out = append(out, n)
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.ID != b.ID {
			return a.ID < b.ID
		}
		if a.Priv != b.Priv {
			return a.Priv < b.Priv
		}
		if a.Role != b.Role {
			return a.Role < b.Role
		}
		return a.Schema < b.Schema
	})
	return out
}

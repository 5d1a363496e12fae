package plan

import "math/bits"

// slotSet is a set of slots. The zero value is empty.
type slotSet struct{ w []uint64 }

func (s *slotSet) add(i Slot) {
	for len(s.w) <= i>>6 {
		s.w = append(s.w, 0)
	}
	s.w[i>>6] |= 1 << (i & 63)
}

func (s *slotSet) remove(i Slot) {
	if i>>6 < len(s.w) {
		s.w[i>>6] &^= 1 << (i & 63)
	}
}

func (s *slotSet) has(i Slot) bool { return i>>6 < len(s.w) && s.w[i>>6]&(1<<(i&63)) != 0 }

func (s *slotSet) empty() bool {
	for _, w := range s.w {
		if w != 0 {
			return false
		}
	}
	return true
}

func (s *slotSet) union(o *slotSet) {
	for len(s.w) < len(o.w) {
		s.w = append(s.w, 0)
	}
	for i, w := range o.w {
		s.w[i] |= w
	}
}

func (s *slotSet) minus(o *slotSet) {
	for i := range s.w {
		if i < len(o.w) {
			s.w[i] &^= o.w[i]
		}
	}
}

func (s *slotSet) intersects(o *slotSet) bool {
	for i, w := range s.w {
		if i < len(o.w) && w&o.w[i] != 0 {
			return true
		}
	}
	return false
}

// subsetOf reports whether every slot of s is in o.
func (s *slotSet) subsetOf(o *slotSet) bool {
	for i, w := range s.w {
		var ow uint64
		if i < len(o.w) {
			ow = o.w[i]
		}
		if w&^ow != 0 {
			return false
		}
	}
	return true
}

func (s *slotSet) clone() slotSet { return slotSet{append([]uint64(nil), s.w...)} }

// list returns the slots in ascending order.
func (s *slotSet) list() []Slot {
	var out []Slot
	for i, w := range s.w {
		for w != 0 {
			out = append(out, i<<6+bits.TrailingZeros64(w))
			w &= w - 1
		}
	}
	return out
}

// exprSlots adds the slots e reads, subqueries' outer references included.
func exprSlots(e Expr, set *slotSet) {
	walkExpr(e, func(x Expr) bool {
		switch x := x.(type) {
		case *Col:
			set.add(x.Slot)
		case *Grouping:
			if len(x.st.masks) > 1 {
				set.add(x.st.slot)
			}
		case *Case:
			if x.Arg != nil {
				var inner slotSet
				x.kids(func(k *Expr) { exprSlots(*k, &inner) })
				inner.remove(x.ArgSlot)
				set.union(&inner)
				return false
			}
		case *Subquery:
			free := freeSlots(x.Root, x.Out)
			set.union(&free)
		}
		return true
	})
}

// freeSlots returns the slots that a subtree, and expressions over it, read without producing them.
func freeSlots(n Node, out []Expr) slotSet {
	var used, made slotSet
	nodeSlots(n, &used, &made)
	for _, e := range out {
		exprSlots(e, &used)
	}
	used.minus(&made)
	return used
}

// nodeSlots adds what a subtree reads and produces.
func nodeSlots(n Node, used, made *slotSet) {
	n.exprs(func(e *Expr) { exprSlots(*e, used) })
	n.produces(func(s Slot) { made.add(s) })
	n.inputs(func(c *Node) { nodeSlots(*c, used, made) })
}

// made returns the slots a subtree produces.
func made(n Node) slotSet {
	var s slotSet
	var rec func(Node)
	rec = func(n Node) {
		n.produces(func(x Slot) { s.add(x) })
		n.inputs(func(c *Node) { rec(*c) })
	}
	rec(n)
	return s
}

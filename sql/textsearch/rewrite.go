package textsearch

import (
	"cmp"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/types"
)

// A branch is a node of a query in which AND and OR have any number of operands, sorted, so that a part of them can be
// found whatever their order. The order is PostgreSQL's, by a checksum of the words: it shows in the results.
type branch struct {
	leaf     *types.TSTree // a word; nil for an operator
	op       types.TSOp
	distance int
	children []*branch
	replaced bool // came in by the rewriting: not looked into again
}

// newBranch copies a tree. The right operand comes first, as it does in PostgreSQL's array of a query.
func newBranch(q *types.TSTree) *branch {
	if q.Op == types.TSWord {
		return &branch{leaf: q}
	}
	b := &branch{op: q.Op, distance: q.Distance, children: []*branch{newBranch(q.Right)}}
	if q.Op != types.TSNot {
		b.children = append(b.children, newBranch(q.Left))
	}
	return b
}

// flatten makes chains of AND or OR one node.
func (b *branch) flatten() {
	var out []*branch
	for _, c := range b.children {
		c.flatten()
		if c.leaf == nil && c.op == b.op && (b.op == types.TSAnd || b.op == types.TSOr) {
			out = append(out, c.children...)
		} else {
			out = append(out, c)
		}
	}
	b.children = out
}

func (b *branch) sort() {
	for _, c := range b.children {
		c.sort()
	}
	if b.leaf == nil && b.op != types.TSPhrase {
		slices.SortStableFunc(b.children, (*branch).compare)
	}
}

// opRank orders operators as their codes in PostgreSQL do.
var opRank = map[types.TSOp]int{types.TSNot: 1, types.TSAnd: 2, types.TSOr: 3, types.TSPhrase: 4}

func (b *branch) compare(o *branch) int {
	switch {
	case b.leaf != nil && o.leaf != nil:
		return cmp.Or(cmp.Compare(wordChecksum(o.leaf.Word), wordChecksum(b.leaf.Word)), strings.Compare(b.leaf.Word, o.leaf.Word))
	case b.leaf != nil:
		return 1
	case o.leaf != nil:
		return -1
	}
	if c := cmp.Or(opRank[o.op]-opRank[b.op], len(o.children)-len(b.children)); c != 0 {
		return c
	}
	for i := range b.children {
		if c := b.children[i].compare(o.children[i]); c != 0 {
			return c
		}
	}
	return o.distance - b.distance
}

// wordChecksum is PostgreSQL's old CRC-32: the table of the reflected polynomial, applied from the other end.
func wordChecksum(word string) int32 {
	crc := ^uint32(0)
	for i := range len(word) {
		crc = crc32.IEEETable[byte(crc>>24)^word[i]] ^ crc<<8
	}
	return int32(^crc)
}

// tree is the reverse of newBranch, with two operands to a node.
func (b *branch) tree() *types.TSTree {
	if b.leaf != nil {
		return b.leaf
	}
	if b.op == types.TSNot {
		return &types.TSTree{Op: b.op, Right: b.children[0].tree()}
	}
	q := b.children[0].tree()
	join := func(c *branch) { q = &types.TSTree{Op: b.op, Distance: b.distance, Right: q, Left: c.tree()} }
	join(b.children[1])
	for i := len(b.children) - 1; i > 1; i-- {
		join(b.children[i])
	}
	return q
}

// Rewrite puts substitute in place of target wherever a query has it; a nil substitute removes it.
func Rewrite(q, target, substitute *types.TSTree) *types.TSTree {
	if q == nil || target == nil {
		return q
	}
	root, ex := newBranch(q), newBranch(target)
	for _, b := range []*branch{root, ex} {
		b.flatten()
		b.sort()
	}
	if root = root.replace(ex, substitute); root == nil {
		return nil
	}
	return root.tree()
}

func substituteFor(q *types.TSTree) *branch {
	if q == nil {
		return nil
	}
	b := newBranch(q)
	b.replaced = true
	return b
}

// replace rewrites b, which may become nil.
func (b *branch) replace(ex *branch, substitute *types.TSTree) *branch {
	if b.compare(ex) == 0 {
		return substituteFor(substitute)
	}
	if b.leaf != nil {
		return b
	}
	if b.op == ex.op && ex.leaf == nil && len(b.children) > len(ex.children) {
		b.replacePart(ex, substitute)
	}
	var kept []*branch
	for _, c := range b.children {
		if !c.replaced {
			c = c.replace(ex, substitute)
		}
		if c != nil {
			kept = append(kept, c)
		}
	}
	b.children = kept
	switch {
	case len(kept) == 0:
		return nil
	case len(kept) == 1 && b.op != types.TSNot:
		return kept[0]
	}
	return b
}

// replacePart puts the substitute in place of those operands that make up ex, if all of ex are there.
func (b *branch) replacePart(ex *branch, substitute *types.TSTree) {
	var rest []*branch
	want := ex.children
	for _, c := range b.children {
		switch {
		case len(want) == 0:
			rest = append(rest, c)
		case c.compare(want[0]) == 0:
			want = want[1:]
		case c.compare(want[0]) > 0:
			return // want[0] is not there
		default:
			rest = append(rest, c)
		}
	}
	if len(want) > 0 {
		return
	}
	if s := substituteFor(substitute); s != nil {
		rest = append(rest, s)
	}
	b.children = rest
	b.sort()
}

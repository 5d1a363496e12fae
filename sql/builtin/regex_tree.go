package builtin

import (
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// Go's engine decides quickly where an ordinary pattern matches, but PostgreSQL promises more: back
// references, look-around, and a choice among the ways to match that follows the greediness of the whole
// and of each parenthesis, longest (or shortest) first from left to right. This file holds the pattern as a
// tree that says so; regex_match.go matches by it.

type areOp uint8

const (
	areEmpty areOp = iota
	areSet
	areConcat
	areAlternate
	areRepeat
	areCapture
	areBackref
	areAnchor
	areLook
)

// arePref is the greediness of a node: none, longest first, shortest first.
type arePref uint8

const (
	preferNone arePref = iota
	preferLong
	preferShort
)

// areNode is one node of a pattern.
type areNode struct {
	op       areOp
	id       int // index of its memo
	kids     []*areNode
	set      []rune // pairs of bounds
	min, max int    // of a repetition; max -1 for none
	group    int    // of a capture or back reference
	anchor   byte
	behind   bool // look-behind
	negated  bool
	pref     arePref
	// What is inside: both greedinesses, captures, back references. A node without any of them needs no
	// dissection: any way to match is as good as another.
	mixed, captures, backrefs bool
}

func (n *areNode) messy() bool { return n.mixed || n.captures || n.backrefs }

// inherit gives n what its parts hold, the greediness of the first that has one.
func (n *areNode) inherit(parts ...*areNode) {
	for _, p := range parts {
		n.mixed = n.mixed || p.mixed || n.pref != preferNone && p.pref != preferNone && n.pref != p.pref
		n.captures = n.captures || p.captures
		n.backrefs = n.backrefs || p.backrefs
		if n.pref == preferNone {
			n.pref = p.pref
		}
	}
}

// areTree is a parsed pattern.
type areTree struct {
	root   *areNode
	nodes  int
	groups int
	icase  bool
	lines  bool // ^ and $ match at newlines
}

// areParser builds the tree. The translator has found the pattern to be well formed, and reads the brackets
// and escapes.
type areParser struct {
	t      *regexTranslator
	tree   *areTree
	groups []*areNode // by number, what their parentheses hold; nil while open
	look   int        // depth of look-around, in which parentheses do not capture
}

func parseARE(pattern string, flags regexFlags) (*areTree, error) {
	t := &regexTranslator{in: pattern, flags: flags}
	if err := t.prelude(); err != nil {
		return nil, err
	}
	p := &areParser{t: t, tree: &areTree{icase: t.flags.icase, lines: t.flags.newlineAnchors}, groups: []*areNode{nil}}
	if t.flags.literal {
		var items []areItem
		for _, r := range t.in {
			n := p.node(areSet)
			n.set = p.fold(r)
			items = append(items, areItem{node: n})
		}
		p.tree.root = p.sequence(items)
		return p.tree, nil
	}
	var err error
	p.tree.root, err = p.alternatives()
	p.tree.groups = len(p.groups) - 1
	return p.tree, err
}

func (p *areParser) node(op areOp) *areNode {
	n := &areNode{op: op, id: p.tree.nodes}
	p.tree.nodes++
	return n
}

// copy gives a node with what it holds new memos, without its captures.
func (p *areParser) copy(n *areNode) *areNode {
	if n.op == areCapture {
		return p.copy(n.kids[0])
	}
	c := *n
	c.id = p.tree.nodes
	p.tree.nodes++
	c.captures = false
	c.kids = nil
	for _, k := range n.kids {
		c.kids = append(c.kids, p.copy(k))
	}
	return &c
}

// fold is the set of the letters that a character stands for.
func (p *areParser) fold(r rune) []rune {
	set := []rune{r, r}
	if p.tree.icase {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			set = append(set, f, f)
		}
	}
	return set
}

func (p *areParser) alternatives() (*areNode, error) {
	var branches []*areNode
	for {
		b, err := p.branch()
		if err != nil {
			return nil, err
		}
		branches = append(branches, b)
		if p.t.i >= len(p.t.in) || p.t.in[p.t.i] != '|' {
			break
		}
		p.t.i++
	}
	if len(branches) == 1 {
		return branches[0], nil
	}
	n := p.node(areAlternate)
	n.kids, n.pref = branches, preferLong
	n.inherit(branches...)
	return n, nil
}

// areItem is one quantified atom; hard ones are dissected on their own.
type areItem struct {
	node *areNode
	hard bool
}

func (p *areParser) branch() (*areNode, error) {
	var items []areItem
	for p.t.skip() {
		item, err := p.item()
		if err != nil {
			return nil, err
		}
		if item.node != nil {
			items = append(items, item)
		}
	}
	return p.sequence(items), nil
}

// sequence joins items so that a run of plain ones is matched as a whole and each hard one divides the text
// into what is left of it, itself and the rest.
func (p *areParser) sequence(items []areItem) *areNode {
	group := p.node(areConcat)
	for i, it := range items {
		with := *group
		with.inherit(it.node)
		if !it.hard && !with.messy() {
			*group = with
			group.kids = append(group.kids, it.node)
			continue
		}
		rest := it.node
		if i+1 < len(items) {
			rest = p.pair(it.node, p.sequence(items[i+1:]))
		}
		if len(group.kids) == 0 {
			return rest
		}
		return p.pair(group, rest)
	}
	return group
}

func (p *areParser) pair(left, right *areNode) *areNode {
	n := p.node(areConcat)
	n.kids = []*areNode{left, right}
	n.inherit(left, right)
	return n
}

func (p *areParser) item() (areItem, error) {
	atom, hard, err := p.atom()
	if err != nil {
		return areItem{}, err
	}
	min, max, pref, ok := p.quantifier()
	if !ok {
		return areItem{atom, hard}, nil
	}
	if max == 0 {
		return areItem{p.node(areEmpty), false}, nil
	}
	if min == 1 && max == 1 && (pref == preferNone || pref == atom.pref || atom.pref == preferNone && !hard) {
		return areItem{atom, hard}, nil
	}
	if min == 1 && max == 1 {
		// x{1,1}? only says how to choose among the matches of x.
		n := p.node(areConcat)
		n.kids, n.pref = []*areNode{atom}, pref
		n.inherit(atom)
		return areItem{n, true}, nil
	}
	repeat := func(x *areNode, min, max int) *areNode {
		n := p.node(areRepeat)
		n.kids, n.min, n.max, n.pref = []*areNode{x}, min, max, pref
		n.inherit(x)
		return n
	}
	if !hard || min == 0 || atom.backrefs {
		return areItem{repeat(atom, min, max), hard}, nil
	}
	// Only the last round captures: x{m,n} is x{m-1,n-1}x, whose first part needs no dissection.
	if max > 0 {
		max--
	}
	first := repeat(p.copy(atom), min-1, max)
	if max == 0 {
		return areItem{atom, hard}, nil
	}
	first.captures, first.mixed = false, false
	return areItem{p.pair(first, atom), hard}, nil
}

func (p *areParser) quantifier() (min, max int, pref arePref, ok bool) {
	t := p.t
	if t.i >= len(t.in) {
		return
	}
	pref = preferLong
	switch c := t.in[t.i]; {
	case c == '*':
		min, max = 0, -1
		t.i++
	case c == '+':
		min, max = 1, -1
		t.i++
	case c == '?':
		min, max = 0, 1
		t.i++
	case c == '{' && t.i+1 < len(t.in) && isDigitByte(t.in[t.i+1]):
		end := strings.IndexByte(t.in[t.i:], '}')
		lo, hi, ranged := strings.Cut(t.in[t.i+1:t.i+end], ",")
		min = atoiBounded(lo)
		switch {
		case !ranged:
			max, pref = min, preferNone
		case hi == "":
			max = -1
		default:
			max = atoiBounded(hi)
		}
		t.i += end + 1
	default:
		return
	}
	if t.i < len(t.in) && t.in[t.i] == '?' {
		t.i++
		if pref != preferNone {
			pref = preferShort
		}
	}
	return min, max, pref, true
}

func isDigitByte(c byte) bool { return c >= '0' && c <= '9' }

func atoiBounded(s string) int {
	n := 0
	for i := 0; i < len(s) && isDigitByte(s[i]); i++ {
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// atom reads one atom. hard says that it captures or refers back.
func (p *areParser) atom() (n *areNode, hard bool, err error) {
	t := p.t
	c := t.in[t.i]
	switch c {
	case '(':
		return p.paren()
	case '^', '$':
		t.i++
		return p.anchor(c), false, nil
	case '[':
		if rest := t.in[t.i:]; strings.HasPrefix(rest, "[[:<:]]") || strings.HasPrefix(rest, "[[:>:]]") {
			t.i += 7
			return p.anchor(map[byte]byte{'<': 'm', '>': 'M'}[rest[3]]), false, nil
		}
		t.out.Reset()
		if err := t.bracket(); err != nil {
			return nil, false, err
		}
		n, err = p.class(t.out.String())
		return n, false, err
	case '.':
		t.i++
		n = p.node(areSet)
		n.set = []rune{0, unicode.MaxRune}
		if t.flags.newlineDot {
			n.set = []rune{0, '\n' - 1, '\n' + 1, unicode.MaxRune}
		}
		return n, false, nil
	case '\\':
		e := t.in[t.i+1]
		if strings.IndexByte("AZmMyY", e) >= 0 {
			t.i += 2
			return p.anchor(e), false, nil
		}
		if e >= '1' && e <= '9' {
			return p.backref()
		}
		text, err := t.charEscape()
		if err != nil {
			return nil, false, err
		}
		n, err = p.class(text)
		return n, false, err
	}
	r, size := utf8.DecodeRuneInString(t.in[t.i:])
	t.i += size
	n = p.node(areSet)
	n.set = p.fold(r)
	return n, false, nil
}

func (p *areParser) anchor(c byte) *areNode {
	n := p.node(areAnchor)
	n.anchor = c
	return n
}

// class turns a translated class or escape into its set.
func (p *areParser) class(text string) (*areNode, error) {
	flags := syntax.Perl
	if p.tree.icase {
		flags |= syntax.FoldCase
	}
	re, err := syntax.Parse(text, flags)
	if err != nil {
		return nil, regexError(regexReason(err))
	}
	n := p.node(areSet)
	switch re.Op {
	case syntax.OpCharClass:
		n.set = re.Rune
	case syntax.OpLiteral:
		if len(re.Rune) != 1 {
			return nil, pgerr.New(pgerr.InternalError, "unexpected class %s in a regular expression", text)
		}
		n.set = p.fold(re.Rune[0])
	case syntax.OpAnyChar:
		n.set = []rune{0, unicode.MaxRune}
	case syntax.OpAnyCharNotNL:
		n.set = []rune{0, '\n' - 1, '\n' + 1, unicode.MaxRune}
	case syntax.OpNoMatch:
	default:
		return nil, pgerr.New(pgerr.InternalError, "unexpected class %s in a regular expression", text)
	}
	return n, nil
}

func (p *areParser) paren() (*areNode, bool, error) {
	t := p.t
	t.i++
	rest := t.in[t.i:]
	closing := func() error {
		if t.i >= len(t.in) {
			return regexError(reParen)
		}
		t.i++
		return nil
	}
	for _, l := range []struct {
		mark            string
		behind, negated bool
	}{{"?=", false, false}, {"?!", false, true}, {"?<=", true, false}, {"?<!", true, true}} {
		if !strings.HasPrefix(rest, l.mark) {
			continue
		}
		t.i += len(l.mark)
		p.look++
		inner, err := p.alternatives()
		p.look--
		if err != nil {
			return nil, false, err
		}
		n := p.node(areLook)
		n.kids, n.behind, n.negated = []*areNode{inner}, l.behind, l.negated
		return n, false, closing()
	}
	if strings.HasPrefix(rest, "?:") || p.look > 0 {
		if strings.HasPrefix(rest, "?:") {
			t.i += 2
		}
		n, err := p.alternatives()
		if err != nil {
			return nil, false, err
		}
		return n, n.messy(), closing()
	}
	number := len(p.groups)
	p.groups = append(p.groups, nil)
	inner, err := p.alternatives()
	if err != nil {
		return nil, false, err
	}
	n := p.node(areCapture)
	n.kids, n.group = []*areNode{inner}, number
	n.inherit(inner)
	n.captures = true
	p.groups[number] = inner
	return n, true, closing()
}

func (p *areParser) backref() (*areNode, bool, error) {
	t := p.t
	number, i := 0, t.i+1
	for i < len(t.in) && isDigitByte(t.in[i]) {
		if next := number*10 + int(t.in[i]-'0'); number > 0 && next >= len(p.groups) {
			break
		} else {
			number = next
		}
		i++
	}
	t.i = i
	if number >= len(p.groups) || p.groups[number] == nil || p.look > 0 {
		return nil, false, regexError(reBack)
	}
	n := p.node(areBackref)
	n.group, n.backrefs = number, true
	n.kids = []*areNode{p.copy(p.groups[number])}
	n.pref = n.kids[0].pref
	return n, true, nil
}

// contains reports whether the set holds r.
func (n *areNode) contains(r rune) bool {
	if len(n.set) <= 8 {
		for i := 0; i < len(n.set); i += 2 {
			if n.set[i] <= r && r <= n.set[i+1] {
				return true
			}
		}
		return false
	}
	lo, hi := 0, len(n.set)/2
	for lo < hi {
		m := (lo + hi) / 2
		switch {
		case n.set[2*m] > r:
			hi = m
		case n.set[2*m+1] < r:
			lo = m + 1
		default:
			return true
		}
	}
	return false
}

package builtin

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// areBudget bounds the work of one search by the tree, in visited positions: about a second. A hostile
// pattern fails, it does not hang a node.
const areBudget = 20_000_000

// regexMatcher is a compiled pattern. fast finds where it matches; tree, when there is one, finds how, or
// does all the work for patterns that the fast engine cannot hold.
type regexMatcher struct {
	fast *regexp.Regexp // nil with back references and look-around
	tree *areTree       // nil when the fast engine's answer is PostgreSQL's too
	lazy bool           // some quantifier is non-greedy
	// nonEmpty says that every match holds a character at least.
	nonEmpty bool
	groups   int
	pattern  string
	flags    regexFlags
}

// errRegexBudget is what a search by the tree gives up with.
var errRegexBudget = regexError("regular expression is too complex")

// MatchString reports whether s holds a match.
func (m *regexMatcher) MatchString(s string) (bool, error) {
	if m.fast != nil {
		return m.fast.MatchString(s), nil
	}
	loc, err := m.find(s, 0)
	return loc != nil, err
}

// Find returns the first match that starts at byte offset from or behind, as pairs of offsets for the whole
// and each group, nil if there is none.
func (m *regexMatcher) Find(s string, from int) ([]int, error) { return m.find(s, from) }

func (m *regexMatcher) find(s string, from int) ([]int, error) {
	if m.fast == nil {
		return m.search(s, from, len(s))
	}
	var loc []int
	if from == 0 {
		loc = m.fast.FindStringSubmatchIndex(s)
	} else {
		loc = m.fastFrom(s, from)
	}
	if loc == nil || m.tree == nil {
		return loc, nil
	}
	own, err := m.search(s, loc[0], loc[0])
	if err != nil || own == nil {
		return loc, nil // beyond the budget the fast engine's way to match is as true
	}
	return own, nil
}

// fastFrom searches behind an offset. Go's engine takes no offset, and a cut string would change what ^ and
// \y see: such patterns run from the start.
func (m *regexMatcher) fastFrom(s string, from int) []int {
	if !m.context() {
		loc := m.fast.FindStringSubmatchIndex(s[from:])
		for i := range loc {
			if loc[i] >= 0 {
				loc[i] += from
			}
		}
		return loc
	}
	// A match that starts before the offset may hide one behind it: the tree searches from the offset on.
	if m.tree == nil {
		tree, err := parseARE(m.pattern, m.flags)
		if err != nil {
			return nil
		}
		m = &regexMatcher{tree: tree}
	}
	loc, _ := m.search(s, from, len(s))
	return loc
}

// context reports whether the pattern looks at what stands before a match.
func (m *regexMatcher) context() bool {
	p := m.fast.String()
	return strings.ContainsAny(p, "^") || strings.Contains(p, `\b`) || strings.Contains(p, `\B`) || strings.Contains(p, `\A`)
}

// All calls f with every match from an offset on, until f returns false. The search goes on at the end of a
// match, one character further behind an empty one.
func (m *regexMatcher) All(s string, from int, f func(loc []int) bool) error {
	if m.fast != nil && m.nonEmpty && !m.lazy && from == 0 {
		// The fast engine knows where, in one pass; only how may be left to find.
		for _, loc := range m.fast.FindAllStringSubmatchIndex(s, -1) {
			if m.tree != nil {
				if own, err := m.search(s, loc[0], loc[0]); err == nil && own != nil {
					loc = own
				}
			}
			if !f(loc) {
				return nil
			}
		}
		return nil
	}
	for from <= len(s) {
		loc, err := m.find(s, from)
		if loc == nil || err != nil {
			return err
		}
		if !f(loc) {
			return nil
		}
		from = loc[1]
		if loc[1] == loc[0] {
			if from >= len(s) {
				return nil
			}
			_, w := utf8.DecodeRuneInString(s[from:])
			from += w
		}
	}
	return nil
}

// matchesEmpty reports whether a pattern may match no text at all.
func matchesEmpty(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune) == 0
	case syntax.OpNoMatch, syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return false
	case syntax.OpCapture, syntax.OpPlus:
		return matchesEmpty(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min == 0 || matchesEmpty(re.Sub[0])
	case syntax.OpConcat:
		return !slices.ContainsFunc(re.Sub, func(r *syntax.Regexp) bool { return !matchesEmpty(r) })
	case syntax.OpAlternate:
		return slices.ContainsFunc(re.Sub, matchesEmpty)
	}
	return true
}

// areMatch is one search. ends memoises, for a node and a start, all offsets at which the node may end, back
// references taken for any text that their group may match.
type areMatch struct {
	tree *areTree
	s    string
	memo map[uint64][]int32
	caps []int
	work int
}

// search looks for a match that starts at one of the offsets from first to last.
func (m *regexMatcher) search(s string, first, last int) (loc []int, err error) {
	x := &areMatch{tree: m.tree, s: s, memo: map[uint64][]int32{}, caps: make([]int, 2*m.groups+2)}
	defer func() {
		if r := recover(); r != nil {
			if r != errRegexBudget {
				panic(r)
			}
			loc, err = nil, errRegexBudget
		}
	}()
	root := m.tree.root
	for at := first; at <= last; {
		ends := x.ends(root, at)
		if root.pref == preferShort {
			for _, e := range ends {
				if x.whole(at, int(e)) {
					return x.caps, nil
				}
			}
		} else {
			for i := len(ends) - 1; i >= 0; i-- {
				if x.whole(at, int(ends[i])) {
					return x.caps, nil
				}
			}
		}
		if at >= len(s) {
			break
		}
		_, w := utf8.DecodeRuneInString(s[at:])
		at += w
	}
	return nil, nil
}

func (x *areMatch) whole(from, to int) bool {
	for i := range x.caps {
		x.caps[i] = -1
	}
	x.caps[0], x.caps[1] = from, to
	return x.dissect(x.tree.root, from, to)
}

func (x *areMatch) spend(n int) {
	if x.work += n; x.work > areBudget {
		panic(errRegexBudget)
	}
}

// ends returns the offsets, in order, at which n may end when it starts at an offset.
func (x *areMatch) ends(n *areNode, at int) []int32 {
	x.spend(1)
	switch n.op {
	case areEmpty:
		return []int32{int32(at)}
	case areSet:
		if at < len(x.s) {
			if r, w := utf8.DecodeRuneInString(x.s[at:]); n.contains(r) {
				return []int32{int32(at + w)}
			}
		}
		return nil
	case areAnchor:
		if x.holds(n.anchor, at) {
			return []int32{int32(at)}
		}
		return nil
	case areCapture, areBackref:
		return x.ends(n.kids[0], at)
	}
	key := uint64(n.id)<<32 | uint64(at)
	if e, ok := x.memo[key]; ok {
		return e
	}
	var out []int32
	switch n.op {
	case areConcat:
		out = []int32{int32(at)}
		for _, k := range n.kids {
			out = x.after(k, out)
		}
	case areAlternate:
		for _, k := range n.kids {
			out = append(out, x.ends(k, at)...)
		}
		out = sortEnds(out)
	case areLook:
		found := false
		if n.behind {
			for from := at; from >= 0 && !found; from-- {
				if from < len(x.s) && from > 0 && !utf8.RuneStart(x.s[from]) {
					continue
				}
				_, found = slices.BinarySearch(x.ends(n.kids[0], from), int32(at))
			}
		} else {
			found = len(x.ends(n.kids[0], at)) > 0
		}
		if found != n.negated {
			out = []int32{int32(at)}
		}
	case areRepeat:
		out = x.repeated(n, at)
	}
	x.spend(len(out))
	x.memo[key] = out
	return out
}

// after returns where n may end when it starts at any of some offsets.
func (x *areMatch) after(n *areNode, starts []int32) []int32 {
	if len(starts) == 1 {
		return x.ends(n, int(starts[0]))
	}
	var out []int32
	for _, s := range starts {
		out = append(out, x.ends(n, int(s))...)
	}
	x.spend(len(out))
	return sortEnds(out)
}

func sortEnds(e []int32) []int32 {
	if !slices.IsSorted(e) {
		slices.Sort(e)
	}
	return slices.Compact(e)
}

func (x *areMatch) repeated(n *areNode, at int) []int32 {
	if k := n.kids[0]; k.op == areSet {
		// The common case, a run of characters.
		var out []int32
		for i := 0; ; i++ {
			if i >= n.min {
				out = append(out, int32(at))
			}
			if i == n.max || at >= len(x.s) {
				return out
			}
			r, w := utf8.DecodeRuneInString(x.s[at:])
			if !k.contains(r) {
				return out
			}
			at += w
			x.spend(1)
		}
	}
	cur := []int32{int32(at)}
	for range n.min {
		next := x.after(n.kids[0], cur)
		if slices.Equal(next, cur) {
			break
		}
		cur = next
	}
	all := cur
	for i := n.min; i != n.max && len(cur) > 0; i++ {
		next := x.after(n.kids[0], cur)
		cur = slices.DeleteFunc(slices.Clone(next), func(e int32) bool { _, ok := slices.BinarySearch(all, e); return ok })
		if len(cur) > 0 {
			all = sortEnds(append(slices.Clone(all), cur...))
		}
	}
	return all
}

func (x *areMatch) may(n *areNode, from, to int) bool {
	_, ok := slices.BinarySearch(x.ends(n, from), int32(to))
	return ok
}

func isWordRune(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// holds decides a constraint of no width.
func (x *areMatch) holds(anchor byte, at int) bool {
	var before, after bool
	if at > 0 {
		r, _ := utf8.DecodeLastRuneInString(x.s[:at])
		before = isWordRune(r)
	}
	if at < len(x.s) {
		r, _ := utf8.DecodeRuneInString(x.s[at:])
		after = isWordRune(r)
	}
	switch anchor {
	case '^':
		return at == 0 || x.tree.lines && x.s[at-1] == '\n'
	case '$':
		return at == len(x.s) || x.tree.lines && x.s[at] == '\n'
	case 'A':
		return at == 0
	case 'Z':
		return at == len(x.s)
	case 'm':
		return !before && after
	case 'M':
		return before && !after
	case 'y':
		return before != after
	}
	return before == after
}

// dissect finds how n matches exactly the text between two offsets, and notes what the groups hold.
func (x *areMatch) dissect(n *areNode, from, to int) bool {
	x.spend(1)
	if !n.messy() {
		return x.may(n, from, to)
	}
	switch n.op {
	case areCapture:
		if !x.dissect(n.kids[0], from, to) {
			return false
		}
		x.caps[2*n.group], x.caps[2*n.group+1] = from, to
		return true
	case areBackref:
		return x.same(n.group, from, to)
	case areAlternate:
		for _, k := range n.kids {
			if x.may(k, from, to) && x.try(func() bool { return x.dissect(k, from, to) }) {
				return true
			}
		}
		return false
	case areRepeat:
		return x.rounds(n, from, to)
	}
	return x.split(n.kids, from, to)
}

// try undoes what a failed attempt has captured.
func (x *areMatch) try(f func() bool) bool {
	saved := slices.Clone(x.caps)
	if f() {
		return true
	}
	copy(x.caps, saved)
	return false
}

// split divides a text among the parts of a sequence, giving the first as much, or as little, as it can take.
func (x *areMatch) split(kids []*areNode, from, to int) bool {
	if len(kids) == 1 {
		return x.dissect(kids[0], from, to)
	}
	left := kids[0]
	return x.choose(left, from, to, func(mid int) bool {
		if len(kids) == 2 && !x.may(kids[1], mid, to) {
			return false
		}
		return x.try(func() bool { return x.dissect(left, from, mid) && x.split(kids[1:], mid, to) })
	})
}

// choose offers the ends of n up to a limit in the order of its preference.
func (x *areMatch) choose(n *areNode, from, to int, take func(end int) bool) bool {
	ends := x.ends(n, from)
	k, found := slices.BinarySearch(ends, int32(to))
	if found {
		k++
	}
	ends = ends[:k]
	x.spend(len(ends))
	if n.pref == preferShort {
		for _, e := range ends {
			if take(int(e)) {
				return true
			}
		}
		return false
	}
	for i := len(ends) - 1; i >= 0; i-- {
		if take(int(ends[i])) {
			return true
		}
	}
	return false
}

// rounds divides a text among the rounds of a repetition. An empty round is taken only when it is needed to
// reach the least number.
func (x *areMatch) rounds(n *areNode, from, to int) bool {
	least := n.min
	if least == 0 {
		if from == to {
			return true
		}
		least = 1
	}
	kid := n.kids[0]
	type state struct{ k, at int }
	failed := map[state]bool{}
	var round func(k, at int) bool
	round = func(k, at int) bool {
		if n.max >= 0 && k > n.max {
			return false
		}
		key := state{min(k, least), at}
		if n.max < 0 && !n.backrefs && failed[key] {
			return false
		}
		inner := *kid
		if n.pref != preferNone {
			inner.pref = n.pref
		}
		ok := x.choose(&inner, at, to, func(end int) bool {
			if end == at && end != to && k >= least {
				return false
			}
			return x.try(func() bool {
				x.forget(kid)
				if !x.dissect(kid, at, end) {
					return false
				}
				if end == to && k >= least {
					return true
				}
				return round(k+1, end)
			})
		})
		if !ok {
			failed[key] = true
		}
		return ok
	}
	return round(1, from)
}

// forget clears the groups inside n before another round.
func (x *areMatch) forget(n *areNode) {
	if !n.captures {
		return
	}
	if n.op == areCapture {
		x.caps[2*n.group], x.caps[2*n.group+1] = -1, -1
	}
	for _, k := range n.kids {
		x.forget(k)
	}
}

// same compares a text with what a group holds.
func (x *areMatch) same(group, from, to int) bool {
	a, b := x.caps[2*group], x.caps[2*group+1]
	if a < 0 {
		return false
	}
	x.spend(to - from)
	want, got := x.s[a:b], x.s[from:to]
	if !x.tree.icase {
		return want == got
	}
	return strings.EqualFold(want, got)
}

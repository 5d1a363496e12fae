package textsearch

import (
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/types"
)

// truth is the value of a node: a phrase over words without positions is neither true nor false.
type truth uint8

const (
	no truth = iota
	maybe
	yes
)

// places are the positions at which the last word of a phrase matches, or with negate all positions but those. width is by
// how much its first word lies before the last.
type places struct {
	at     []int
	negate bool
	width  int
}

// source tells where a word is. A nil p asks only whether it is anywhere.
type source interface {
	find(q *types.TSTree, p *places) truth
}

// Match tells whether a document fits a query.
func Match(d types.TSDocument, q *types.TSTree) bool {
	if len(d) == 0 || q == nil {
		return false
	}
	return matches(document(d), q)
}

func matches(s source, q *types.TSTree) bool { return execute(s, q) != no }

func execute(s source, q *types.TSTree) truth {
	switch q.Op {
	case types.TSWord:
		return s.find(q, nil)
	case types.TSNot:
		return yes - execute(s, q.Right)
	case types.TSAnd:
		if l := execute(s, q.Left); l != no {
			return min(l, execute(s, q.Right))
		}
		return no
	case types.TSOr:
		if l := execute(s, q.Left); l != yes {
			return max(l, execute(s, q.Right))
		}
		return yes
	}
	if phrase(s, q, &places{}) == yes {
		return yes
	}
	return no
}

// phrase evaluates what lies inside a phrase operator: it has positions.
func phrase(s source, q *types.TSTree, out *places) truth {
	switch q.Op {
	case types.TSWord:
		t := s.find(q, out)
		if t == no || len(out.at) > 0 || out.negate {
			return t
		}
		return maybe
	case types.TSNot:
		switch phrase(s, q.Right, out) {
		case no:
			out.negate = true // nowhere becomes everywhere
			return yes
		case yes:
			if len(out.at) > 0 {
				out.negate = !out.negate
				return yes
			}
			out.negate = false
			return no
		}
		return maybe
	}
	var l, r places
	lt := phrase(s, q.Left, &l)
	if lt == no && q.Op != types.TSOr {
		return no
	}
	rt := phrase(s, q.Right, &r)
	switch {
	case rt == no && (q.Op != types.TSOr || lt == no):
		return no
	case lt == maybe || rt == maybe:
		return maybe
	}
	if lt == no {
		l.width = 0
	}
	if rt == no {
		r.width = 0
	}
	var lo, ro int
	if q.Op == types.TSPhrase {
		lo = q.Distance + r.width
		out.width = q.Distance + l.width + r.width
	} else {
		out.width = max(l.width, r.width)
		lo, ro = out.width-l.width, out.width-r.width
	}
	if q.Op == types.TSOr {
		switch {
		case l.negate && r.negate: // !(L & R)
			merge(out, l.at, r.at, lo, ro, both)
			out.negate = true
			return yes
		case l.negate: // !(L & !R)
			merge(out, l.at, r.at, lo, ro, leftOnly)
			out.negate = true
			return yes
		case r.negate:
			merge(out, l.at, r.at, lo, ro, rightOnly)
			out.negate = true
			return yes
		}
		return merge(out, l.at, r.at, lo, ro, both|leftOnly|rightOnly)
	}
	switch {
	case l.negate && r.negate: // !(L | R)
		merge(out, l.at, r.at, lo, ro, both|leftOnly|rightOnly)
		out.negate = true
		return yes
	case l.negate:
		return merge(out, l.at, r.at, lo, ro, rightOnly)
	case r.negate:
		return merge(out, l.at, r.at, lo, ro, leftOnly)
	}
	return merge(out, l.at, r.at, lo, ro, both)
}

// What merge keeps.
const (
	both = 1 << iota
	leftOnly
	rightOnly
)

// merge collects positions of two lists, moved by lo and ro.
func merge(out *places, l, r []int, lo, ro, keep int) truth {
	for i, j := 0, 0; i < len(l) || j < len(r); {
		var at, kind int
		switch {
		case j == len(r) || i < len(l) && l[i]+lo < r[j]+ro:
			at, kind = l[i]+lo, leftOnly
			i++
		case i == len(l) || l[i]+lo > r[j]+ro:
			at, kind = r[j]+ro, rightOnly
			j++
		default:
			at, kind = r[j]+ro, both
			i++
			j++
		}
		if keep&kind != 0 {
			out.at = append(out.at, at)
		}
	}
	if len(out.at) > 0 {
		return yes
	}
	return no
}

// document is a source: all of a document.
type document types.TSDocument

// entries returns the lexemes that a word of a query stands for.
func entries(d types.TSDocument, q *types.TSTree) types.TSDocument {
	i, found := slices.BinarySearchFunc(d, q.Word, func(l types.Lexeme, w string) int { return strings.Compare(l.Word, w) })
	n := i
	if !q.Prefix {
		if found {
			n++
		}
		return d[i:n]
	}
	for n < len(d) && strings.HasPrefix(d[n].Word, q.Word) {
		n++
	}
	return d[i:n]
}

func (d document) find(q *types.TSTree, p *places) truth {
	t := no
	for _, l := range entries(types.TSDocument(d), q) {
		switch {
		case p == nil && (q.Weights == 0 || len(l.Pos) == 0):
			return yes
		case len(l.Pos) == 0:
			t = max(t, maybe)
		default:
			for _, at := range l.Pos {
				if q.Weights == 0 || q.Weights&(1<<at.Weight()) != 0 {
					if t = yes; p == nil {
						return yes
					}
					p.at = append(p.at, at.At())
				}
			}
		}
	}
	if p != nil && q.Prefix {
		slices.Sort(p.at)
		p.at = slices.Compact(p.at)
	}
	return t
}

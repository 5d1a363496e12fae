package builtin

import (
	"strings"

	"github.com/meridian-db/meridian/sql/types"
)

// pathTruth is the value of a predicate.
type pathTruth uint8

const (
	pathFalse pathTruth = iota
	pathTrue
	pathUnknown
)

func (x *pathExec) truth(n *types.PathNode, v pathItem) (pathTruth, error) {
	switch n.Op {
	case types.PathAnd, types.PathOr:
		decided := pathFalse
		if n.Op == types.PathOr {
			decided = pathTrue
		}
		l, err := x.truth(n.Left, v)
		if err != nil || l == decided {
			return l, err
		}
		r, err := x.truth(n.Right, v)
		if err != nil || r == decided || l != pathUnknown {
			return r, err
		}
		return l, nil
	case types.PathNot:
		t, err := x.truth(n.Left, v)
		if t == pathUnknown || err != nil {
			return t, err
		}
		return pathTrue - t, nil
	case types.PathIsUnknown:
		t, err := x.truth(n.Left, v)
		if t == pathUnknown {
			return pathTrue, err
		}
		return pathFalse, err
	case types.PathExists:
		items, r, err := x.quietly(n.Left, v, false)
		switch {
		case err != nil || r == pathFailed:
			return pathUnknown, err
		case len(items) > 0:
			return pathTrue, nil
		}
		return pathFalse, nil
	case types.PathStartsWith:
		return x.predicate(n, v, false, func(a, b pathItem) (pathTruth, error) {
			if !a.is(types.JSONString) || !b.is(types.JSONString) {
				return pathUnknown, nil
			}
			return truthOf(strings.HasPrefix(a.json.Str, b.json.Str)), nil
		})
	case types.PathLikeRegex:
		re, err := compilePathRegex(n)
		if err != nil {
			return pathUnknown, err
		}
		return x.predicate(n, v, false, func(a, _ pathItem) (pathTruth, error) {
			if !a.is(types.JSONString) {
				return pathUnknown, nil
			}
			ok, err := re.MatchString(a.json.Str)
			return truthOf(ok), err
		})
	}
	return x.predicate(n, v, true, func(a, b pathItem) (pathTruth, error) { return x.compare(n.Op, a, b) })
}

func truthOf(b bool) pathTruth {
	if b {
		return pathTrue
	}
	return pathFalse
}

// predicate holds if it does for some pair of items of its operands. Lax mode stops at the first; strict
// mode looks at all pairs, and one that cannot be decided decides the whole.
func (x *pathExec) predicate(n *types.PathNode, v pathItem, unwrapRight bool, holds func(a, b pathItem) (pathTruth, error)) (pathTruth, error) {
	left, r, err := x.quietly(n.Left, v, true)
	if err != nil || r == pathFailed {
		return pathUnknown, err
	}
	right := []pathItem{{}}
	if n.Right != nil {
		if right, r, err = x.quietly(n.Right, v, unwrapRight); err != nil || r == pathFailed {
			return pathUnknown, err
		}
	}
	unknown, yes := false, false
	for _, a := range left {
		for _, b := range right {
			t, err := holds(a, b)
			if err != nil {
				return pathUnknown, err
			}
			switch t {
			case pathUnknown:
				if !x.lax {
					return pathUnknown, nil
				}
				unknown = true
			case pathTrue:
				if x.lax {
					return pathTrue, nil
				}
				yes = true
			}
		}
	}
	switch {
	case yes:
		return pathTrue, nil
	case unknown:
		return pathUnknown, nil
	}
	return pathFalse, nil
}

func (x *pathExec) compare(op types.PathOp, a, b pathItem) (pathTruth, error) {
	c := 0
	switch {
	case a.json == nil || b.json == nil:
		if a.json == nil && b.json == nil {
			r, ok, err := x.compareDates(a, b)
			if err != nil || !ok {
				return pathUnknown, err
			}
			c = r
			break
		}
		if a.is(types.JSONNull) || b.is(types.JSONNull) {
			return truthOf(op == types.PathNE), nil
		}
		return pathUnknown, nil
	case a.json.Kind != b.json.Kind:
		if a.json.Kind == types.JSONNull || b.json.Kind == types.JSONNull {
			return truthOf(op == types.PathNE), nil
		}
		return pathUnknown, nil
	case a.json.Kind >= types.JSONArray:
		return pathUnknown, nil
	default:
		c = types.CompareJSON(a.json, b.json)
	}
	switch op {
	case types.PathEQ:
		return truthOf(c == 0), nil
	case types.PathNE:
		return truthOf(c != 0), nil
	case types.PathLT:
		return truthOf(c < 0), nil
	case types.PathGT:
		return truthOf(c > 0), nil
	case types.PathLE:
		return truthOf(c <= 0), nil
	}
	return truthOf(c >= 0), nil
}

// compilePathRegex compiles the pattern of a like_regex predicate with XQuery's flags.
func compilePathRegex(n *types.PathNode) (*regexMatcher, error) {
	f := regexFlags{icase: n.Flags&types.PathRegexIgnoreCase != 0}
	if n.Flags&types.PathRegexQuote != 0 {
		f.literal = true
	} else {
		f.newlineDot = n.Flags&types.PathRegexDotAll == 0
		f.newlineAnchors = n.Flags&types.PathRegexMultiline != 0
	}
	return compileRegex(n.Str, f)
}

// checkPathRegexes compiles what like_regex predicates hold, as reading a jsonpath does.
func checkPathRegexes(p *types.PathExpr) error {
	return p.Walk(func(n *types.PathNode) error {
		if n.Op != types.PathLikeRegex {
			return nil
		}
		_, err := compilePathRegex(n)
		return err
	})
}

package inverted

import "github.com/meridian-db/meridian/sql/types"

// findPath is what an SQL/JSON path needs to find something (@?), or to be true (@@). It looks at keys that paths
// go through and at scalars that they are compared with; everything else it takes for granted.
func (c Class) findPath(op string, p *types.PathExpr) *Query {
	f := pathFinder{class: c}
	root := at{known: true, hash: pathSeed}
	if p.Root.Op.Predicate() {
		if op == "@?" {
			return all // a predicate always yields a value
		}
		return f.holds(p.Root, root)
	}
	q, _ := f.exists(p.Root, root)
	return q
}

type pathFinder struct{ class Class }

// at is where @ points to: inside tells whether it is a part of the document, known whether hash has the keys on the way.
type at struct {
	known   bool
	outside bool
	hash    pathHash
}

// exists is what a path needs to yield something, and where that is.
func (f pathFinder) exists(n *types.PathNode, here at) (*Query, at) {
	switch n.Op {
	case types.PathRoot:
		here = at{known: true, hash: pathSeed}
	case types.PathCurrent:
	default:
		return all, at{outside: true}
	}
	q := all
	for n = n.Next; n != nil; n = n.Next {
		switch n.Op {
		case types.PathKey:
			if f.class == JSONB {
				q = and(q, term(keyTerm(n.Str)))
			}
			here.hash = here.hash.key(n.Str)
		case types.PathAnyArray, types.PathIndex:
		case types.PathAnyKey, types.PathAny:
			here.known = false
		case types.PathFilter:
			if n.Left != nil {
				q = and(q, f.holds(n.Left, here))
			}
		default:
			return q, at{outside: true}
		}
		if here.outside {
			return q, here
		}
	}
	return q, here
}

// holds is what a predicate needs to be true.
func (f pathFinder) holds(n *types.PathNode, here at) *Query {
	if n.Next != nil {
		return all
	}
	switch n.Op {
	case types.PathAnd:
		return and(f.holds(n.Left, here), f.holds(n.Right, here))
	case types.PathOr:
		return or(f.holds(n.Left, here), f.holds(n.Right, here))
	case types.PathExists:
		q, _ := f.exists(n.Left, here)
		return q
	case types.PathEQ:
		l, r := n.Left, n.Right
		if scalarOf(l) != nil {
			l, r = r, l
		}
		q, end := f.exists(l, here)
		v := scalarOf(r)
		if v == nil || end.outside {
			return q
		}
		if f.class == JSONBPath {
			if !end.known {
				return q
			}
			return and(q, term(end.hash.scalar(v)))
		}
		if v.Kind == types.JSONString {
			return and(q, or(term(valueTerm(v)), term(keyTerm(v.Str))))
		}
		return and(q, term(valueTerm(v)))
	case types.PathNE, types.PathLT, types.PathGT, types.PathLE, types.PathGE:
		l, _ := f.exists(n.Left, here)
		r, _ := f.exists(n.Right, here)
		return and(l, r)
	case types.PathStartsWith, types.PathLikeRegex:
		q, _ := f.exists(n.Left, here)
		return q
	}
	return all
}

// scalarOf returns the value of a literal, nil for anything else.
func scalarOf(n *types.PathNode) *types.JSON {
	if n == nil || n.Next != nil {
		return nil
	}
	switch n.Op {
	case types.PathNull:
		return types.JSONNullValue
	case types.PathBool:
		return types.NewJSONBool(n.Bool)
	case types.PathNumber:
		return types.NewJSONNumber(n.Num)
	case types.PathString:
		return types.NewJSONString(n.Str)
	}
	return nil
}

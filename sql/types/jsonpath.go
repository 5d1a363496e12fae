package types

import (
	"strconv"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// PathOp is the kind of one node of an SQL/JSON path.
type PathOp uint8

const (
	PathNull PathOp = iota
	PathBool
	PathNumber
	PathString
	PathVariable
	PathRoot
	PathCurrent
	PathLast
	PathKey
	PathAnyKey
	PathAnyArray
	PathIndex
	PathAny
	PathFilter
	PathMethod
	PathDatetime
	PathAdd
	PathSub
	PathMul
	PathDiv
	PathMod
	PathPlus
	PathMinus
	PathOr
	PathAnd
	PathNot
	PathIsUnknown
	PathExists
	PathEQ
	PathNE
	PathLT
	PathGT
	PathLE
	PathGE
	PathStartsWith
	PathLikeRegex
)

var pathOpText = map[PathOp]string{PathAdd: "+", PathSub: "-", PathMul: "*", PathDiv: "/", PathMod: "%", PathPlus: "+", PathMinus: "-",
	PathOr: "||", PathAnd: "&&", PathEQ: "==", PathNE: "!=", PathLT: "<", PathGT: ">", PathLE: "<=", PathGE: ">=", PathStartsWith: "starts with"}

// String returns the operator as a path writes it, "" for other nodes.
func (o PathOp) String() string { return pathOpText[o] }

// Predicate reports whether the node yields true, false or unknown.
func (o PathOp) Predicate() bool { return o >= PathOr }

// PathRegexFlags are the flags of a like_regex predicate.
type PathRegexFlags uint8

const (
	PathRegexIgnoreCase PathRegexFlags = 1 << iota
	PathRegexDotAll
	PathRegexMultiline
	PathRegexExpanded
	PathRegexQuote
)

// PathNode is one step of a path, or an operator over others. Next is the step applied to its result.
type PathNode struct {
	Op          PathOp
	Bool        bool
	Num         *apd.Decimal
	Str         string // key, variable, method, string or pattern
	Left, Right *PathNode
	Next        *PathNode
	Subscripts  []PathSubscript
	First, Last uint32 // levels of **; PathLastLevel for "last"
	Flags       PathRegexFlags
}

// PathSubscript is "from" or "from to to".
type PathSubscript struct{ From, To *PathNode }

// PathLastLevel stands for the deepest level in **{n to last}.
const PathLastLevel = ^uint32(0)

// PathExpr is a parsed jsonpath. It is immutable.
type PathExpr struct {
	Strict bool
	Root   *PathNode
}

// String prints the path as jsonpath_out does.
func (p *PathExpr) String() string {
	var buf []byte
	if p.Strict {
		buf = append(buf, "strict "...)
	}
	return string(appendPathNode(buf, p.Root, false, true))
}

func pathPriority(o PathOp) int {
	switch o {
	case PathOr:
		return 0
	case PathAnd:
		return 1
	case PathEQ, PathNE, PathLT, PathGT, PathLE, PathGE, PathStartsWith:
		return 2
	case PathAdd, PathSub:
		return 3
	case PathMul, PathDiv, PathMod:
		return 4
	case PathPlus, PathMinus:
		return 5
	}
	return 6
}

func appendPathNode(buf []byte, n *PathNode, inKey, brackets bool) []byte {
	operand := func(c *PathNode) { buf = appendPathNode(buf, c, false, pathPriority(c.Op) <= pathPriority(n.Op)) }
	open := func() {
		if brackets {
			buf = append(buf, '(')
		}
	}
	shut := func() {
		if brackets {
			buf = append(buf, ')')
		}
	}
	switch n.Op {
	case PathNull:
		buf = append(buf, "null"...)
	case PathBool:
		buf = strconv.AppendBool(buf, n.Bool)
	case PathNumber:
		if n.Next != nil {
			buf = append(buf, '(')
		}
		buf = AppendNumeric(buf, n.Num)
		if n.Next != nil {
			buf = append(buf, ')')
		}
	case PathString:
		buf = AppendJSONString(buf, n.Str)
	case PathVariable:
		buf = AppendJSONString(append(buf, '$'), n.Str)
	case PathRoot:
		buf = append(buf, '$')
	case PathCurrent:
		buf = append(buf, '@')
	case PathLast:
		buf = append(buf, "last"...)
	case PathKey:
		if inKey {
			buf = append(buf, '.')
		}
		buf = AppendJSONString(buf, n.Str)
	case PathAnyKey:
		if inKey {
			buf = append(buf, '.')
		}
		buf = append(buf, '*')
	case PathAnyArray:
		buf = append(buf, "[*]"...)
	case PathIndex:
		buf = append(buf, '[')
		for i, s := range n.Subscripts {
			if i > 0 {
				buf = append(buf, ',')
			}
			buf = appendPathNode(buf, s.From, false, false)
			if s.To != nil {
				buf = appendPathNode(append(buf, " to "...), s.To, false, false)
			}
		}
		buf = append(buf, ']')
	case PathAny:
		if inKey {
			buf = append(buf, '.')
		}
		buf = append(buf, "**"...)
		level := func(l uint32) {
			if l == PathLastLevel {
				buf = append(buf, "last"...)
			} else {
				buf = strconv.AppendUint(buf, uint64(l), 10)
			}
		}
		if n.First != 0 || n.Last != PathLastLevel {
			buf = append(buf, '{')
			level(n.First)
			if n.First != n.Last {
				buf = append(buf, " to "...)
				level(n.Last)
			}
			buf = append(buf, '}')
		}
	case PathFilter:
		buf = append(appendPathNode(append(buf, "?("...), n.Left, false, false), ')')
	case PathMethod:
		buf = append(append(append(buf, '.'), n.Str...), "()"...)
	case PathDatetime:
		buf = append(buf, ".datetime("...)
		if n.Left != nil {
			buf = appendPathNode(buf, n.Left, false, false)
		}
		buf = append(buf, ')')
	case PathPlus, PathMinus:
		open()
		buf = append(buf, n.Op.String()...)
		operand(n.Left)
		shut()
	case PathNot:
		buf = append(appendPathNode(append(buf, "!("...), n.Left, false, false), ')')
	case PathIsUnknown:
		buf = append(appendPathNode(append(buf, '('), n.Left, false, false), ") is unknown"...)
	case PathExists:
		buf = append(appendPathNode(append(buf, "exists ("...), n.Left, false, false), ')')
	case PathLikeRegex:
		open()
		operand(n.Left)
		buf = AppendJSONString(append(buf, " like_regex "...), n.Str)
		if n.Flags != 0 {
			buf = append(buf, ` flag "`...)
			for i, c := range []byte("ismxq") {
				if n.Flags&(1<<i) != 0 {
					buf = append(buf, c)
				}
			}
			buf = append(buf, '"')
		}
		shut()
	default:
		open()
		operand(n.Left)
		buf = append(append(append(buf, ' '), n.Op.String()...), ' ')
		operand(n.Right)
		shut()
	}
	if n.Next != nil {
		buf = appendPathNode(buf, n.Next, true, true)
	}
	return buf
}

// check holds what the grammar does not say: where @ and last may stand.
func (n *PathNode) check(filters int, subscript bool) error {
	for ; n != nil; n = n.Next {
		switch n.Op {
		case PathCurrent:
			if filters == 0 {
				return pgerr.New(pgerr.SyntaxError, "@ is not allowed in root expressions")
			}
		case PathLast:
			if !subscript {
				return pgerr.New(pgerr.SyntaxError, "LAST is allowed only in array subscripts")
			}
		case PathIndex:
			for _, s := range n.Subscripts {
				if err := s.From.check(filters, true); err != nil {
					return err
				}
				if err := s.To.check(filters, true); err != nil {
					return err
				}
			}
		case PathFilter:
			if err := n.Left.check(filters+1, subscript); err != nil {
				return err
			}
			continue
		}
		if err := n.Left.check(filters, subscript); err != nil {
			return err
		}
		if err := n.Right.check(filters, subscript); err != nil {
			return err
		}
	}
	return nil
}

// Walk calls f for every node of the path.
func (p *PathExpr) Walk(f func(n *PathNode) error) error { return p.Root.walk(f) }

func (n *PathNode) walk(f func(n *PathNode) error) error {
	for ; n != nil; n = n.Next {
		if err := f(n); err != nil {
			return err
		}
		for _, s := range n.Subscripts {
			if err := s.From.walk(f); err != nil {
				return err
			}
			if err := s.To.walk(f); err != nil {
				return err
			}
		}
		if err := n.Left.walk(f); err != nil {
			return err
		}
		if err := n.Right.walk(f); err != nil {
			return err
		}
	}
	return nil
}

package types

import (
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// maxPathDepth bounds the nesting of a path, so that hostile input cannot exhaust the stack.
const maxPathDepth = 1000

type pathParser struct {
	scan  pathScanner
	tok   pathToken
	depth int
}

// ParsePath parses jsonpath input. Regular expressions in it are not looked at.
func ParsePath(text string) (*PathExpr, error) {
	p := &pathParser{scan: pathScanner{s: text}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind == pathEnd {
		return nil, badInput(ByOID(OIDJSONPath), text)
	}
	out := &PathExpr{}
	if p.keyword("strict") || p.keyword("lax") {
		out.Strict = p.keyword("strict")
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	var err error
	if out.Root, err = p.or(); err != nil {
		return nil, err
	}
	if p.tok.kind != pathEnd {
		return nil, p.unexpected()
	}
	return out, out.Root.check(0, false)
}

func (p *pathParser) advance() (err error) {
	p.tok, err = p.scan.next()
	return err
}

func (p *pathParser) unexpected() error { return pathSyntaxError("syntax error", p.tok.near) }

func (p *pathParser) symbol(s string) bool { return p.tok.kind == pathSymbol && p.tok.text == s }

// keyword matches without case, except for the three that JSON itself has.
func (p *pathParser) keyword(word string) bool {
	if p.tok.kind != pathIdent {
		return false
	}
	switch word {
	case "true", "false", "null":
		return p.tok.text == word
	}
	return strings.EqualFold(p.tok.text, word)
}

func (p *pathParser) expect(s string) error {
	if !p.symbol(s) {
		return p.unexpected()
	}
	return p.advance()
}

func (p *pathParser) enter() error {
	if p.depth++; p.depth > maxPathDepth {
		return pgerr.New(pgerr.StatementTooComplex, "stack depth limit exceeded")
	}
	return nil
}

// isPredicate tells "($.a == 1)" from "($.a == 1).type()", which is a value.
func (n *PathNode) isPredicate() bool { return n.Op.Predicate() && n.Next == nil }

// or reads a predicate or a value; binary operators check that their operands are what they need, so that
// the parentheses need no look-ahead.
func (p *pathParser) or() (*PathNode, error) { return p.logical("||", PathOr, p.and) }

func (p *pathParser) and() (*PathNode, error) { return p.logical("&&", PathAnd, p.comparison) }

func (p *pathParser) logical(symbol string, op PathOp, operand func() (*PathNode, error)) (*PathNode, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	left, err := operand()
	if err != nil {
		return nil, err
	}
	for p.symbol(symbol) && left.isPredicate() {
		if err := p.advance(); err != nil {
			return nil, err
		}
		right, err := operand()
		if err != nil {
			return nil, err
		}
		if !right.isPredicate() {
			return nil, p.unexpected()
		}
		left = &PathNode{Op: op, Left: left, Right: right}
	}
	return left, nil
}

var pathComparisons = map[string]PathOp{"==": PathEQ, "!=": PathNE, "<>": PathNE, "<": PathLT, ">": PathGT, "<=": PathLE, ">=": PathGE}

func (p *pathParser) comparison() (*PathNode, error) {
	if p.symbol("!") {
		if err := p.advance(); err != nil {
			return nil, err
		}
		if !p.symbol("(") && !p.keyword("exists") {
			return nil, p.unexpected()
		}
		arg, err := p.primary()
		if err != nil {
			return nil, err
		}
		if !arg.isPredicate() {
			return nil, p.unexpected()
		}
		return &PathNode{Op: PathNot, Left: arg}, nil
	}
	left, err := p.sum()
	if err != nil || left.isPredicate() {
		return left, err
	}
	switch op, ok := pathComparisons[p.tok.text]; {
	case p.tok.kind == pathSymbol && ok:
		if err := p.advance(); err != nil {
			return nil, err
		}
		right, err := p.sum()
		if err != nil {
			return nil, err
		}
		if right.isPredicate() {
			return nil, p.unexpected()
		}
		return &PathNode{Op: op, Left: left, Right: right}, nil
	case p.keyword("starts"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		if !p.keyword("with") {
			return nil, p.unexpected()
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		right := &PathNode{Op: PathString, Str: p.tok.text}
		switch p.tok.kind {
		case pathQuoted:
		case pathVar:
			right.Op = PathVariable
		default:
			return nil, p.unexpected()
		}
		return &PathNode{Op: PathStartsWith, Left: left, Right: right}, p.advance()
	case p.keyword("like_regex"):
		return p.likeRegex(left)
	}
	return left, nil
}

func (p *pathParser) likeRegex(left *PathNode) (*PathNode, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind != pathQuoted {
		return nil, p.unexpected()
	}
	n := &PathNode{Op: PathLikeRegex, Left: left, Str: p.tok.text}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if !p.keyword("flag") {
		return n, nil
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind != pathQuoted {
		return nil, p.unexpected()
	}
	for _, c := range p.tok.text {
		i := strings.IndexRune("ismxq", c)
		if i < 0 {
			return nil, pgerr.New(pgerr.SyntaxError, "invalid input syntax for type %s", "jsonpath").
				WithDetail("Unrecognized flag character \"%c\" in LIKE_REGEX predicate.", c)
		}
		n.Flags |= 1 << i
	}
	if n.Flags&PathRegexExpanded != 0 && n.Flags&PathRegexQuote == 0 {
		return nil, pgerr.Unsupported("XQuery \"x\" flag (expanded regular expressions) is not implemented")
	}
	return n, p.advance()
}

func (p *pathParser) sum() (*PathNode, error) {
	return p.arithmetic(map[string]PathOp{"+": PathAdd, "-": PathSub}, p.product)
}

func (p *pathParser) product() (*PathNode, error) {
	return p.arithmetic(map[string]PathOp{"*": PathMul, "/": PathDiv, "%": PathMod}, p.unary)
}

func (p *pathParser) arithmetic(ops map[string]PathOp, operand func() (*PathNode, error)) (*PathNode, error) {
	left, err := operand()
	if err != nil {
		return nil, err
	}
	for p.tok.kind == pathSymbol && !left.isPredicate() {
		op, ok := ops[p.tok.text]
		if !ok {
			break
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		right, err := operand()
		if err != nil {
			return nil, err
		}
		if right.isPredicate() {
			return nil, p.unexpected()
		}
		left = &PathNode{Op: op, Left: left, Right: right}
	}
	return left, nil
}

func (p *pathParser) unary() (*PathNode, error) {
	if !p.symbol("+") && !p.symbol("-") {
		return p.primary()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	op := PathPlus
	if p.symbol("-") {
		op = PathMinus
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	arg, err := p.unary()
	if err != nil {
		return nil, err
	}
	if arg.isPredicate() {
		return nil, p.unexpected()
	}
	if arg.Op == PathNumber && arg.Next == nil {
		if op == PathMinus {
			arg.Num = NumericNeg(arg.Num)
		}
		return arg, nil
	}
	return &PathNode{Op: op, Left: arg}, nil
}

// primary reads a value or a parenthesis with the accessors behind it.
func (p *pathParser) primary() (*PathNode, error) {
	n := &PathNode{Str: p.tok.text}
	switch p.tok.kind {
	case pathSymbol:
		switch p.tok.text {
		case "$":
			n.Op = PathRoot
		case "@":
			n.Op = PathCurrent
		case "(":
			if err := p.advance(); err != nil {
				return nil, err
			}
			inner, err := p.or()
			if err != nil {
				return nil, err
			}
			if err := p.expect(")"); err != nil {
				return nil, err
			}
			if inner.isPredicate() && p.keyword("is") {
				if err := p.advance(); err != nil {
					return nil, err
				}
				if !p.keyword("unknown") {
					return nil, p.unexpected()
				}
				return &PathNode{Op: PathIsUnknown, Left: inner}, p.advance()
			}
			return inner, p.accessors(inner)
		default:
			return nil, p.unexpected()
		}
	case pathQuoted:
		n.Op = PathString
	case pathVar:
		n.Op = PathVariable
	case pathInteger, pathDecimal:
		n.Op = PathNumber
		var err error
		if n.Num, err = ParseNumeric(p.tok.text); err != nil {
			return nil, err
		}
	case pathIdent:
		switch {
		case p.keyword("null"):
			n.Op = PathNull
		case p.keyword("true"), p.keyword("false"):
			n.Op, n.Bool = PathBool, p.keyword("true")
		case p.keyword("last"):
			n.Op = PathLast
		case p.keyword("exists"):
			if err := p.advance(); err != nil {
				return nil, err
			}
			if err := p.expect("("); err != nil {
				return nil, err
			}
			arg, err := p.sum()
			if err != nil {
				return nil, err
			}
			if arg.isPredicate() {
				return nil, p.unexpected()
			}
			return &PathNode{Op: PathExists, Left: arg}, p.expect(")")
		default:
			return nil, p.unexpected()
		}
	default:
		return nil, p.unexpected()
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	return n, p.accessors(n)
}

var pathMethods = map[string]bool{"abs": true, "size": true, "type": true, "floor": true, "double": true, "ceiling": true, "keyvalue": true}

// accessors appends the steps that follow n.
func (p *pathParser) accessors(n *PathNode) error {
	for n.Next != nil {
		n = n.Next
	}
	for p.tok.kind == pathSymbol {
		var step *PathNode
		var err error
		switch p.tok.text {
		case ".":
			step, err = p.member()
		case "[":
			step, err = p.subscripts()
		case "?":
			if err = p.advance(); err == nil {
				err = p.expect("(")
			}
			if err != nil {
				return err
			}
			var arg *PathNode
			if arg, err = p.or(); err != nil {
				return err
			}
			if !arg.isPredicate() {
				return p.unexpected()
			}
			step, err = &PathNode{Op: PathFilter, Left: arg}, p.expect(")")
		default:
			return nil
		}
		if err != nil {
			return err
		}
		n.Next = step
		n = step
	}
	return nil
}

func (p *pathParser) member() (*PathNode, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	switch {
	case p.symbol("*"):
		return &PathNode{Op: PathAnyKey}, p.advance()
	case p.symbol("**"):
		return p.anyLevel()
	case p.tok.kind == pathQuoted:
		n := &PathNode{Op: PathKey, Str: p.tok.text}
		return n, p.advance()
	case p.tok.kind != pathIdent:
		return nil, p.unexpected()
	}
	name := p.tok.text
	if err := p.advance(); err != nil {
		return nil, err
	}
	lower := strings.ToLower(name)
	if !p.symbol("(") || !pathMethods[lower] && lower != "datetime" {
		return &PathNode{Op: PathKey, Str: name}, nil
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	n := &PathNode{Op: PathMethod, Str: lower}
	if lower == "datetime" {
		n.Op = PathDatetime
		if p.tok.kind == pathQuoted {
			n.Left = &PathNode{Op: PathString, Str: p.tok.text}
			if err := p.advance(); err != nil {
				return nil, err
			}
		}
	}
	return n, p.expect(")")
}

func (p *pathParser) anyLevel() (*PathNode, error) {
	n := &PathNode{Op: PathAny, Last: PathLastLevel}
	if err := p.advance(); err != nil || !p.symbol("{") {
		return n, err
	}
	level := func() (uint32, error) {
		if err := p.advance(); err != nil {
			return 0, err
		}
		switch {
		case p.keyword("last"):
			return PathLastLevel, p.advance()
		case p.tok.kind == pathInteger:
			v, err := strconv.ParseInt(p.tok.text, 10, 32)
			if err != nil {
				return 0, pgerr.New(pgerr.NumericValueOutOfRange, "value \"%s\" is out of range for type %s", p.tok.text, "integer")
			}
			return uint32(v), p.advance()
		}
		return 0, p.unexpected()
	}
	var err error
	if n.First, err = level(); err != nil {
		return nil, err
	}
	n.Last = n.First
	if p.keyword("to") {
		if n.Last, err = level(); err != nil {
			return nil, err
		}
	}
	return n, p.expect("}")
}

func (p *pathParser) subscripts() (*PathNode, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.symbol("*") {
		if err := p.advance(); err != nil {
			return nil, err
		}
		return &PathNode{Op: PathAnyArray}, p.expect("]")
	}
	value := func() (*PathNode, error) {
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer func() { p.depth-- }()
		v, err := p.sum()
		if err == nil && v.isPredicate() {
			err = p.unexpected()
		}
		return v, err
	}
	n := &PathNode{Op: PathIndex}
	for {
		var s PathSubscript
		var err error
		if s.From, err = value(); err != nil {
			return nil, err
		}
		if p.keyword("to") {
			if err := p.advance(); err != nil {
				return nil, err
			}
			if s.To, err = value(); err != nil {
				return nil, err
			}
		}
		n.Subscripts = append(n.Subscripts, s)
		if !p.symbol(",") {
			return n, p.expect("]")
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
}

package parser

import (
	"errors"
	"strings"
	"unicode/utf8"

	pg "github.com/sqlc-dev/oliphant/ast"
	pgparser "github.com/sqlc-dev/oliphant/parser"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// DefaultMaxSize is the largest query string accepted unless configured otherwise, in bytes, and DefaultMaxTokens the
// most tokens in it. A token's part of the tree takes up to a kilobyte while it is made, a long literal some times its
// own length: so a statement may be long by what its literals hold, as INSERTs of documents and pictures are, and is
// not by that as costly as one that is long by its lists.
const (
	DefaultMaxSize   = 16 << 20
	DefaultMaxTokens = 1 << 20
)

// Limits bound what Parse accepts. A zero field takes the default named in its comment.
type Limits struct {
	MaxSizeBytes int // Size of the whole query string. Default DefaultMaxSize.
	MaxTokens    int // Words, literals, signs and runs of operators in it. Default DefaultMaxTokens.
	MaxNesting   int // Depth of parentheses, brackets and CASE. Default 200.
}

// Parse parses a query string under the default limits. It may hold several statements, or none.
func Parse(text string) ([]ast.Statement, error) {
	return ParseWithLimits(text, Limits{})
}

// ParseWithLimits parses a query string. An error is about the whole string: no statement before it is
// returned, as in PostgreSQL.
func ParseWithLimits(text string, lim Limits) ([]ast.Statement, error) {
	if err := guard(text, lim); err != nil {
		return nil, err
	}
	tree, err := grammar(text)
	if err != nil {
		return nil, err
	}
	out := make([]ast.Statement, 0, len(tree.Stmts))
	for _, raw := range tree.Stmts {
		start := int(raw.StmtLocation)
		end := len(text)
		if raw.StmtLen > 0 {
			end = start + int(raw.StmtLen)
		}
		start, end = trim(text, start, end)
		st, err := lowerStmt(raw.Stmt, start, end)
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

// ParseOne parses a text that must hold exactly one statement.
func ParseOne(text string) (ast.Statement, error) {
	sts, err := Parse(text)
	if err != nil {
		return ast.Statement{}, err
	}
	if len(sts) != 1 {
		return ast.Statement{}, pgerr.New(pgerr.SyntaxError, "expected one statement, found %d", len(sts))
	}
	return sts[0], nil
}

// ParseExpr parses a scalar expression, such as a stored default or check. Positions are offsets into
// text.
func ParseExpr(text string) (ast.Expr, error) {
	const prefix = "SELECT ("
	st, err := ParseOne(prefix + text + "\n)")
	if err != nil {
		return nil, shift(err, -len(prefix))
	}
	sel, ok := st.Stmt.(*ast.SelectStmt)
	if !ok || sel.Op != ast.SetNone || len(sel.Targets) != 1 || len(sel.From) > 0 || sel.Where != nil || sel.Targets[0].Name != "" {
		return nil, pgerr.New(pgerr.SyntaxError, "%q is not one expression", text)
	}
	return sel.Targets[0].Expr, nil
}

// ParseType parses a type name, such as "numeric(10,2)[]".
func ParseType(text string) (*ast.TypeName, error) {
	const prefix = "SELECT NULL::"
	st, err := ParseOne(prefix + text)
	if err != nil {
		return nil, shift(err, -len(prefix))
	}
	sel, ok := st.Stmt.(*ast.SelectStmt)
	if ok && sel.Op == ast.SetNone && len(sel.Targets) == 1 && len(sel.From) == 0 && sel.Targets[0].Name == "" {
		if c, ok := sel.Targets[0].Expr.(*ast.TypeCast); ok {
			if k, ok := c.Arg.(*ast.Const); ok && k.Kind == ast.ConstNull {
				return c.Type, nil
			}
		}
	}
	return nil, pgerr.New(pgerr.SyntaxError, "invalid type name %q", text)
}

// shift moves an error's position by n bytes.
func shift(err error, n int) error {
	var e *pgerr.Error
	if errors.As(err, &e) && e.Position > 0 {
		e.Position = max(1, e.Position+n)
	}
	return err
}

// CharPosition turns a position (byte offset plus one, 0 for none) into the number that clients expect: the
// one-based count of characters.
func CharPosition(text string, pos int) int {
	if pos <= 0 || pos > len(text)+1 {
		return pos
	}
	return utf8.RuneCountInString(text[:pos-1]) + 1
}

// grammar runs the grammar library.
func grammar(text string) (tree *pg.ParseResult, err error) {
	defer func() {
		// The library has never been seen to panic; if it does, one statement fails instead of a node.
		if r := recover(); r != nil {
			tree, err = nil, pgerr.New(pgerr.InternalError, "the SQL grammar failed on this statement: %v", r)
		}
	}()
	tree, err = pgparser.ParseToTree(text)
	if err == nil {
		return tree, nil
	}
	var pe *pgparser.Error
	if !errors.As(err, &pe) {
		return nil, pgerr.Wrap(pgerr.SyntaxError, err)
	}
	e := pgerr.New(sqlState(pe), "%s", pe.Message)
	if pe.Message == "missing argument" {
		e = e.WithHint("Use NONE to denote the missing argument of a unary operator.")
	}
	if pe.Cursorpos > 0 {
		e.Position = byteOffset(text, pe.Cursorpos-1) + 1
	}
	return nil, e
}

// byteOffset turns a count of characters into a byte offset.
func byteOffset(text string, chars int) int {
	for i := range text {
		if chars == 0 {
			return i
		}
		chars--
	}
	return len(text)
}

// sqlState gives the SQLSTATE that PostgreSQL's grammar and scanner attach to their messages. Most are
// syntax errors.
func sqlState(e *pgparser.Error) string {
	switch msg := e.Message; {
	case msg == "invalid Unicode escape" && e.Funcname != "str_udeescape":
		return "22025" // invalid_escape_sequence, in E'..'; in U&'..' it is a syntax error
	case strings.HasPrefix(msg, "unrecognized partitioning strategy"):
		return "22023" // invalid_parameter_value
	case strings.HasPrefix(msg, "invalid byte sequence for encoding"):
		return pgerr.CharacterNotInRepertoire
	case strings.HasPrefix(msg, "frame "):
		return "42P20" // windowing_error
	case strings.HasPrefix(msg, "unsafe use of"):
		return "22P06" // nonstandard_use_of_escape_character
	case strings.HasPrefix(msg, "precision for type float"):
		return "22023" // invalid_parameter_value
	case strings.Contains(msg, "not yet implemented"),
		strings.Contains(msg, "constraints cannot be marked"),
		strings.HasPrefix(msg, "current database cannot be changed"),
		strings.HasPrefix(msg, "aggregates cannot have output arguments"),
		strings.HasPrefix(msg, "an ordered-set aggregate with a VARIADIC"):
		return pgerr.FeatureNotSupported
	}
	return pgerr.SyntaxError
}

// lowerStmt lowers one statement.
func lowerStmt(n *pg.Node, start, end int) (st ast.Statement, err error) {
	l := &lowerer{}
	defer func() {
		if r := recover(); r != nil {
			b, ok := r.(bailout)
			if !ok {
				// A tree of a shape that the grammar should not make.
				err = pgerr.New(pgerr.InternalError, "unexpected syntax tree: %v", r)
				return
			}
			err = b.err
		}
	}()
	s := l.stmt(n)
	return ast.Statement{Stmt: s, Start: int32(start), End: int32(end), NumParams: l.numParams}, nil
}

// trim takes white space and comments off both ends of text[start:end].
func trim(text string, start, end int) (int, int) {
	for start < end {
		rest := text[start:end]
		switch {
		case isSpace(rest[0]):
			start++
		case strings.HasPrefix(rest, "--"):
			nl := strings.IndexByte(rest, '\n')
			if nl < 0 {
				return end, end
			}
			start += nl + 1
		case strings.HasPrefix(rest, "/*"):
			start += skipBlockComment(rest)
		default:
			for end > start && isSpace(text[end-1]) {
				end--
			}
			return start, end
		}
	}
	return start, end
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}

// skipBlockComment returns the length of the (nested) comment at the start of s.
func skipBlockComment(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); {
		switch {
		case s[i] == '/' && s[i+1] == '*':
			depth++
			i += 2
		case s[i] == '*' && s[i+1] == '/':
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return len(s)
}

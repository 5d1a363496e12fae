package types

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// A tsquery is kept in its text form, as a tsvector is. TSTree is its tree; nil is the query without lexemes.
type TSTree struct {
	Op          TSOp
	Left, Right *TSTree // Right is the operand of TSNot
	Distance    int     // of TSPhrase
	Word        string  // of TSWord
	Weights     int     // of TSWord: bit w is set if positions of weight w count, 0 for all
	Prefix      bool    // of TSWord
}

// TSOp is the kind of a node. The operators ascend by how strongly they bind.
type TSOp uint8

// The kinds.
const (
	TSWord TSOp = iota
	TSOr
	TSAnd
	TSPhrase
	TSNot
	TSStop // stands for a word that the configuration leaves out, while a query is made
)

// A query is walked recursively: these bound how deep.
const (
	MaxTSWords = 100_000
	maxTSDepth = 5000 // of parentheses and negations
)

// TSQueryTooLarge is the error for a query beyond the bounds.
func TSQueryTooLarge() error { return pgerr.New(pgerr.ProgramLimitExceeded, "tsquery is too large") }

// TSQueryOf returns the tree of a value of type tsquery.
func TSQueryOf(d Datum) *TSTree {
	q, _ := ParseTSQuery(d.Str(), nil)
	return q
}

// NewTSQueryDatum returns q as a value.
func NewTSQueryDatum(q *TSTree) Datum { return NewString(q.String()) }

// String prints q as PostgreSQL does.
func (q *TSTree) String() string {
	var b strings.Builder
	q.print(&b, 0, false)
	return b.String()
}

// print writes q as the operand of an operator that binds with a strength. A phrase that is the right operand of another
// is in parentheses: the operator does not associate.
func (q *TSTree) print(b *strings.Builder, parent TSOp, rightOfPhrase bool) {
	if q == nil {
		return
	}
	if q.Op == TSWord {
		writeLexeme(b, q.Word)
		if q.Weights != 0 || q.Prefix {
			b.WriteByte(':')
			if q.Prefix {
				b.WriteByte('*')
			}
			for w := 3; w >= 0; w-- {
				if q.Weights&(1<<w) != 0 {
					b.WriteByte("DCBA"[w])
				}
			}
		}
		return
	}
	paren := q.Op < parent || q.Op == TSPhrase && rightOfPhrase
	if paren {
		b.WriteString("( ")
	}
	if q.Op == TSNot {
		b.WriteByte('!')
		q.Right.print(b, TSNot, false)
	} else {
		q.Left.print(b, q.Op, false)
		switch {
		case q.Op == TSOr:
			b.WriteString(" | ")
		case q.Op == TSAnd:
			b.WriteString(" & ")
		case q.Distance == 1:
			b.WriteString(" <-> ")
		default:
			b.WriteString(" <" + strconv.Itoa(q.Distance) + "> ")
		}
		q.Right.print(b, q.Op, q.Op == TSPhrase)
	}
	if paren {
		b.WriteString(" )")
	}
}

// Nodes counts the lexemes and operators.
func (q *TSTree) Nodes() int {
	if q == nil {
		return 0
	}
	return 1 + q.Left.Nodes() + q.Right.Nodes()
}

// tsQueryParser reads the text form of a query. value, if it is not nil, makes a node of each word: to_tsquery breaks it up.
type tsQueryParser struct {
	lexemeReader
	value func(word TSTree) (*TSTree, error)
	depth int
	words int
}

// ParseTSQuery parses text. value, which may be nil, says what stands for a word.
func ParseTSQuery(text string, value func(word TSTree) (*TSTree, error)) (*TSTree, error) {
	p := tsQueryParser{lexemeReader: lexemeReader{text: text, rest: text, query: true}, value: value}
	if p.skipSpace(); p.rest == "" {
		return nil, nil
	}
	q, err := p.operand(TSOr)
	if err != nil {
		return nil, err
	}
	if p.skipSpace(); p.rest != "" {
		return nil, p.syntaxError()
	}
	return q, nil
}

// operand reads an expression of operators that bind at least as strongly as least.
func (p *tsQueryParser) operand(least TSOp) (*TSTree, error) {
	left, err := p.primary()
	if err != nil {
		return nil, err
	}
	for {
		p.skipSpace()
		before := p.rest
		op, distance, err := p.operator()
		if err != nil {
			return nil, err
		}
		if op == TSWord || op < least {
			p.rest = before
			return left, nil
		}
		right, err := p.operand(op + 1)
		if err != nil {
			return nil, err
		}
		left = &TSTree{Op: op, Left: left, Right: right, Distance: distance}
	}
}

// operator takes a binary operator; TSWord: there is none.
func (p *tsQueryParser) operator() (TSOp, int, error) {
	if p.rest == "" {
		return TSWord, 0, nil
	}
	switch p.rest[0] {
	case '|':
		p.rest = p.rest[1:]
		return TSOr, 0, nil
	case '&':
		p.rest = p.rest[1:]
		return TSAnd, 0, nil
	case ')':
		return TSWord, 0, nil
	case '<':
		inside, after, ok := strings.Cut(p.rest[1:], ">")
		if !ok {
			return 0, 0, p.syntaxError()
		}
		distance := 1
		if inside != "-" {
			if inside == "" || strings.Trim(inside, "0123456789") != "" {
				return 0, 0, p.syntaxError()
			}
			n, err := strconv.Atoi(inside)
			if err != nil || n > MaxTSPos+1 {
				return 0, 0, BadTSDistance()
			}
			distance = n
		}
		p.rest = after
		return TSPhrase, distance, nil
	}
	return 0, 0, p.syntaxError()
}

// BadTSDistance is the error for the distance of a phrase operator.
func BadTSDistance() error {
	return pgerr.New(pgerr.InvalidParameterValue, "distance in phrase operator must be an integer value between zero and %d inclusive", MaxTSPos+1)
}

func (p *tsQueryParser) primary() (*TSTree, error) {
	if p.depth++; p.depth > maxTSDepth {
		return nil, TSQueryTooLarge()
	}
	defer func() { p.depth-- }()
	p.skipSpace()
	switch {
	case p.rest == "":
		return nil, pgerr.New(pgerr.SyntaxError, "no operand in tsquery: \"%s\"", p.text)
	case p.rest[0] == ':':
		return nil, p.syntaxError()
	case p.rest[0] == '!':
		p.rest = p.rest[1:]
		q, err := p.primary()
		if err != nil {
			return nil, err
		}
		return &TSTree{Op: TSNot, Right: q}, nil
	case p.rest[0] == '(':
		p.rest = p.rest[1:]
		q, err := p.operand(TSOr)
		if err != nil {
			return nil, err
		}
		if p.skipSpace(); !strings.HasPrefix(p.rest, ")") {
			return nil, p.syntaxError()
		}
		p.rest = p.rest[1:]
		return q, nil
	}
	w, err := p.word()
	if err != nil {
		return nil, err
	}
	if p.words++; p.words > MaxTSWords {
		return nil, TSQueryTooLarge()
	}
	if len(w) > maxLexemeBytes && p.value == nil {
		return nil, pgerr.New(pgerr.ProgramLimitExceeded, "word is too long in tsquery: \"%s\"", p.text)
	}
	q := TSTree{Op: TSWord, Word: w}
	if strings.HasPrefix(p.rest, ":") {
		p.rest = p.rest[1:]
	modifiers:
		for p.rest != "" {
			switch p.rest[0] {
			case 'a', 'A':
				q.Weights |= 8
			case 'b', 'B':
				q.Weights |= 4
			case 'c', 'C':
				q.Weights |= 2
			case 'd', 'D':
				q.Weights |= 1
			case '*':
				q.Prefix = true
			default:
				break modifiers
			}
			p.rest = p.rest[1:]
		}
	}
	if c, _ := utf8.DecodeRuneInString(p.rest); p.rest != "" && !unicode.IsSpace(c) && !strings.ContainsRune("&|)<", c) {
		return nil, p.syntaxError()
	}
	if p.value != nil {
		return p.value(q)
	}
	return &q, nil
}

// The codes of operators in the binary form.
var tsOpCodes = map[TSOp]byte{TSNot: 1, TSAnd: 2, TSOr: 3, TSPhrase: 4}

// appendTSQueryBinary writes the nodes in prefix order, right operands first.
func appendTSQueryBinary(buf []byte, q *TSTree) []byte {
	return q.appendBinary(binary.BigEndian.AppendUint32(buf, uint32(q.Nodes())))
}

func (q *TSTree) appendBinary(buf []byte) []byte {
	switch {
	case q == nil:
		return buf
	case q.Op == TSWord:
		prefix := byte(0)
		if q.Prefix {
			prefix = 1
		}
		return append(append(append(buf, 1, byte(q.Weights), prefix), q.Word...), 0)
	}
	buf = append(buf, 2, tsOpCodes[q.Op])
	if q.Op == TSPhrase {
		buf = binary.BigEndian.AppendUint16(buf, uint16(q.Distance))
	}
	return q.Left.appendBinary(q.Right.appendBinary(buf))
}

func parseTSQueryBinary(data []byte, t *T) (Datum, error) {
	r := binaryReader{data: data}
	left := r.uint32()
	var node func(depth int) *TSTree
	node = func(depth int) *TSTree {
		if r.failed || left == 0 || depth > maxTSDepth {
			r.failed = true
			return nil
		}
		left--
		q := &TSTree{}
		switch r.byte() {
		case 1:
			q.Weights, q.Prefix, q.Word = int(r.byte()), r.byte() != 0, r.string()
			r.failed = r.failed || q.Weights > 15 || len(q.Word) > maxLexemeBytes
		case 2:
			code := r.byte()
			for op, c := range tsOpCodes {
				if c == code {
					q.Op = op
				}
			}
			if q.Op == TSWord {
				r.failed = true
				return nil
			}
			if q.Op == TSPhrase {
				q.Distance = int(r.uint16())
				r.failed = r.failed || q.Distance > MaxTSPos+1
			}
			if q.Right = node(depth + 1); q.Op != TSNot {
				q.Left = node(depth + 1)
			}
		default:
			r.failed = true
		}
		return q
	}
	var q *TSTree
	if left > 0 {
		q = node(0)
	}
	if r.failed || left > 0 || len(r.data) > 0 {
		return Null, invalidBinary(t)
	}
	return NewTSQueryDatum(q), nil
}

// compareTSQueries orders as PostgreSQL does: by number of nodes, size in its representation, then node by node.
func compareTSQueries(x, y *TSTree) int {
	if c := x.Nodes() - y.Nodes(); c != 0 {
		return sign(c)
	}
	if c := x.wordBytes() - y.wordBytes(); c != 0 {
		return sign(c)
	}
	return x.compareNodes(y)
}

func (q *TSTree) wordBytes() int {
	switch {
	case q == nil:
		return 0
	case q.Op == TSWord:
		return len(q.Word) + 1
	}
	return q.Left.wordBytes() + q.Right.wordBytes()
}

func (q *TSTree) compareNodes(o *TSTree) int {
	switch {
	case q == nil || o == nil:
		return 0
	case (q.Op == TSWord) != (o.Op == TSWord):
		if q.Op == TSWord {
			return 1
		}
		return -1
	case q.Op == TSWord:
		return strings.Compare(q.Word, o.Word)
	case q.Op != o.Op:
		return sign(int(tsOpCodes[o.Op]) - int(tsOpCodes[q.Op]))
	}
	if c := q.Right.compareNodes(o.Right); c != 0 {
		return c
	}
	if c := q.Left.compareNodes(o.Left); c != 0 {
		return c
	}
	return sign(o.Distance - q.Distance)
}

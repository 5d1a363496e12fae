package parser

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/ast"
)

// Literal is a literal that Normalizer.Scan found in a statement.
type Literal struct {
	Start, End int32 // of its text, quotes included
	// Kind is ConstInt, ConstBigInt, ConstNumeric or ConstString.
	Kind    ast.ConstKind
	Doubled bool  // a string with doubled quotes in it
	Int     int64 // the value of integers, without a sign that may stand before them
}

// Text returns the literal's value: the digits of a number, the contents of a string. It allocates only for
// strings with doubled quotes.
func (l Literal) Text(sql string) string {
	s := sql[l.Start:l.End]
	if l.Kind != ast.ConstString {
		return s
	}
	s = s[1 : len(s)-1]
	if l.Doubled {
		s = strings.ReplaceAll(s, "''", "'")
	}
	return s
}

const (
	maxNormalized = 8 << 10 // bytes of text; longer statements are parsed
	maxLiterals   = 128
	mark          = 0x01 // begins a placeholder in a key; texts that contain it are not normalised
)

// Normalizer makes plan cache keys. Its buffers are reused: Key and Lits are valid until the next Scan.
//
// The key is the text with white space folded and each number or string literal replaced by a placeholder
// with the literal's type (int4, int8, numeric, string). Two texts with one key have the same tree but for
// those literals' values, because nothing else in PostgreSQL's grammar depends on them. Scan gives up, and
// the statement is parsed, on everything that would need more than this to be sure: comments, dollar quotes,
// E” and U&” strings, string continuation, parameters, several statements.
type Normalizer struct {
	Key  []byte
	Lits []Literal
}

// Scan reads a statement. It reports false when the text is not fit for a key.
func (n *Normalizer) Scan(text string) bool {
	n.Key, n.Lits = n.Key[:0], n.Lits[:0]
	if len(text) > maxNormalized {
		return false
	}
	i := 0
	for i < len(text) && isSpace(text[i]) {
		i++
	}
	if !cacheable(text[i:]) {
		return false
	}
	ascii := byte(0)
	space, str := false, false // pending white space; the previous token was a string
	for i < len(text) {
		c := text[i]
		ascii |= c
		class := charClass[c]
		if class == classSpace {
			space = true
			i++
			continue
		}
		if c == ';' {
			// Only at the end.
			for i++; i < len(text); i++ {
				if !isSpace(text[i]) {
					return false
				}
			}
			break
		}
		if space {
			n.Key = append(n.Key, ' ')
			space = false
		}
		switch class {
		case classIdent:
			start := i
			for i < len(text) && charClass[text[i]]&(classIdent|classDigit) != 0 {
				ascii |= text[i]
				i++
			}
			if i < len(text) && (text[i] == '\'' || text[i] == '$' || text[i] == '&' && i+1 < len(text) && text[i+1] == '\'') {
				return false // E'..', B'..', U&'..'
			}
			n.Key = append(n.Key, text[start:i]...)
		case classDigit:
			end := n.number(text, i)
			if end < 0 {
				return false
			}
			i = end
		case classQuote:
			if str {
				return false // 'a' 'b' may be one string
			}
			end := n.quoted(text, i)
			if end < 0 {
				return false
			}
			for _, b := range []byte(text[i:end]) {
				ascii |= b
			}
			i = end
			str = true
			continue
		case classDoubleQuote:
			end := skipQuoted(text, i, '"')
			n.Key = append(n.Key, text[i:end]...)
			for _, b := range []byte(text[i:end]) {
				ascii |= b
				if b == mark {
					return false
				}
			}
			i = end
		case classPlain:
			if c == '-' && i+1 < len(text) && text[i+1] == '-' || c == '/' && i+1 < len(text) && text[i+1] == '*' {
				return false
			}
			if c == '.' && i+1 < len(text) && charClass[text[i+1]] == classDigit {
				return false // .5
			}
			n.Key = append(n.Key, c)
			i++
		default:
			return false
		}
		str = false
	}
	return len(n.Lits) <= maxLiterals && (ascii < 0x80 || utf8.ValidString(text))
}

// cacheable reports whether the first word begins a statement that is planned.
func cacheable(text string) bool {
	if len(text) < 6 {
		return false
	}
	switch text[0] | 0x20 {
	case 's':
		return strings.EqualFold(text[:6], "select")
	case 'i':
		return strings.EqualFold(text[:6], "insert")
	case 'u':
		return strings.EqualFold(text[:6], "update")
	case 'd':
		return strings.EqualFold(text[:6], "delete")
	case 'v':
		return strings.EqualFold(text[:6], "values")
	case 'w':
		return strings.EqualFold(text[:4], "with")
	}
	return false
}

func (n *Normalizer) placeholder(l Literal, class byte) {
	n.Lits = append(n.Lits, l)
	n.Key = append(n.Key, mark, class)
}

// number reads an unsigned number at text[i] and returns its end, -1 to give up.
func (n *Normalizer) number(text string, i int) int {
	start := i
	var v uint64
	integer, overflow := true, false
	for i < len(text) && charClass[text[i]] == classDigit {
		d := uint64(text[i] - '0')
		if v > (math.MaxInt64-d)/10 {
			overflow = true
		} else {
			v = v*10 + d
		}
		i++
	}
	if i < len(text) && text[i] == '.' {
		integer = false
		i++
		for i < len(text) && charClass[text[i]] == classDigit {
			i++
		}
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		j := i + 1
		if j < len(text) && (text[j] == '+' || text[j] == '-') {
			j++
		}
		if j >= len(text) || charClass[text[j]] != classDigit {
			return -1
		}
		integer = false
		for i = j; i < len(text) && charClass[text[i]] == classDigit; i++ {
		}
	}
	if i < len(text) && (charClass[text[i]] == classIdent || text[i] == '.' || text[i] == '$' || text[i] == '\'') {
		return -1 // 0x1F, 1_000, 1..2
	}
	l := Literal{Start: int32(start), End: int32(i)}
	switch {
	case !integer || overflow:
		l.Kind = ast.ConstNumeric
		if integer && i-start == 19 && text[start:i] == "9223372036854775808" {
			// With a minus sign before it this is an int8: part of the key.
			n.Key = append(n.Key, text[start:i]...)
			return i
		}
		n.placeholder(l, 'n')
	case v <= math.MaxInt32:
		l.Kind, l.Int = ast.ConstInt, int64(v)
		n.placeholder(l, 'i')
	case v == math.MaxInt32+1:
		n.Key = append(n.Key, text[start:i]...) // likewise int4
	default:
		l.Kind, l.Int = ast.ConstBigInt, int64(v)
		n.placeholder(l, 'l')
	}
	return i
}

// quoted reads a string literal at text[i] and returns its end, -1 if it has none.
func (n *Normalizer) quoted(text string, i int) int {
	start, doubled := i, false
	for i++; ; i++ {
		j := strings.IndexByte(text[i:], '\'')
		if j < 0 {
			return -1
		}
		i += j
		if i+1 < len(text) && text[i+1] == '\'' {
			doubled = true
			i++
			continue
		}
		break
	}
	n.placeholder(Literal{Start: int32(start), End: int32(i + 1), Kind: ast.ConstString, Doubled: doubled}, 's')
	return i + 1
}

// Classes of bytes; zero makes Scan give up.
const (
	classSpace = 1 << iota
	classIdent
	classDigit
	classQuote
	classDoubleQuote
	classPlain
)

var charClass = func() (t [256]byte) {
	for c := range 256 {
		switch b := byte(c); {
		case isSpace(b):
			t[c] = classSpace
		case isIdentStart(b):
			t[c] = classIdent
		case b >= '0' && b <= '9':
			t[c] = classDigit
		case b == '\'':
			t[c] = classQuote
		case b == '"':
			t[c] = classDoubleQuote
		case isOperator(b), strings.IndexByte("(),.:[]", b) >= 0:
			t[c] = classPlain
		}
	}
	return t
}()

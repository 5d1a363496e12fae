package plpgsql

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// kind of a token.
type kind uint8

const (
	end    kind = iota
	word        // an identifier or keyword; text is folded to lower case
	quoted      // "identifier"
	text        // a string literal; text is its value
	number
	symbol // an operator or punctuation
	param  // $1
)

// token is one word of a body. from and to are its place in the source.
type token struct {
	kind     kind
	text     string
	from, to int
}

func (t token) is(w string) bool  { return t.kind == word && t.text == w }
func (t token) sym(s string) bool { return t.kind == symbol && t.text == s }
func (t token) ident() bool       { return t.kind == word || t.kind == quoted }

// scan splits a body into tokens; comments and space fall away.
func scan(src string) ([]token, error) {
	var out []token
	add := func(k kind, s string, from, to int) { out = append(out, token{k, s, from, to}) }
	for i := 0; i < len(src); {
		c := src[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			i++
		case strings.HasPrefix(src[i:], "--"):
			for i < len(src) && src[i] != '\n' {
				i++
			}
		case strings.HasPrefix(src[i:], "/*"):
			depth, j := 1, i+2
			for depth > 0 {
				switch {
				case j >= len(src):
					return nil, pgerr.New(pgerr.SyntaxError, "unterminated /* comment")
				case strings.HasPrefix(src[j:], "/*"):
					depth, j = depth+1, j+2
				case strings.HasPrefix(src[j:], "*/"):
					depth, j = depth-1, j+2
				default:
					j++
				}
			}
			i = j
		case c == '\'', (c == 'e' || c == 'E') && i+1 < len(src) && src[i+1] == '\'':
			escape := c != '\''
			j := i + 1
			if escape {
				j++
			}
			var b strings.Builder
			for {
				if j >= len(src) {
					return nil, pgerr.New(pgerr.SyntaxError, "unterminated quoted string")
				}
				if src[j] == '\'' {
					if j+1 < len(src) && src[j+1] == '\'' {
						b.WriteByte('\'')
						j += 2
						continue
					}
					break
				}
				if escape && src[j] == '\\' && j+1 < len(src) {
					j++
					b.WriteByte(map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', 'b': '\b', 'f': '\f'}[src[j]])
					if strings.IndexByte("ntrbf", src[j]) < 0 {
						s := b.String()
						b.Reset()
						b.WriteString(s[:len(s)-1])
						b.WriteByte(src[j])
					}
					j++
					continue
				}
				b.WriteByte(src[j])
				j++
			}
			add(text, b.String(), i, j+1)
			i = j + 1
		case c == '"':
			j := i + 1
			var b strings.Builder
			for {
				if j >= len(src) {
					return nil, pgerr.New(pgerr.SyntaxError, "unterminated quoted identifier")
				}
				if src[j] == '"' {
					if j+1 < len(src) && src[j+1] == '"' {
						b.WriteByte('"')
						j += 2
						continue
					}
					break
				}
				b.WriteByte(src[j])
				j++
			}
			add(quoted, b.String(), i, j+1)
			i = j + 1
		case c == '$':
			j := i + 1
			for j < len(src) && src[j] >= '0' && src[j] <= '9' {
				j++
			}
			if j > i+1 {
				add(param, src[i:j], i, j)
				i = j
				break
			}
			for j < len(src) && (wordByte(src[j])) {
				j++
			}
			if j >= len(src) || src[j] != '$' {
				return nil, pgerr.New(pgerr.SyntaxError, "syntax error at or near \"$\"")
			}
			tag := src[i : j+1]
			n := strings.Index(src[j+1:], tag)
			if n < 0 {
				return nil, pgerr.New(pgerr.SyntaxError, "unterminated dollar-quoted string")
			}
			add(text, src[j+1:j+1+n], i, j+1+n+len(tag))
			i = j + 1 + n + len(tag)
		case c >= '0' && c <= '9' || c == '.' && i+1 < len(src) && src[i+1] >= '0' && src[i+1] <= '9':
			j := i
			for j < len(src) && (src[j] >= '0' && src[j] <= '9' || src[j] == '.' && !strings.HasPrefix(src[j:], "..") ||
				(src[j] == 'e' || src[j] == 'E') && j+1 < len(src) && (src[j+1] >= '0' && src[j+1] <= '9' || src[j+1] == '-' || src[j+1] == '+') ||
				(src[j] == '-' || src[j] == '+') && (src[j-1] == 'e' || src[j-1] == 'E')) {
				j++
			}
			add(number, src[i:j], i, j)
			i = j
		case wordByte(c) || c >= utf8.RuneSelf:
			j := i
			for j < len(src) {
				r, n := utf8.DecodeRuneInString(src[j:])
				if !(r < utf8.RuneSelf && (wordByte(byte(r)) || r == '$')) && !(r >= utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r))) {
					break
				}
				j += n
			}
			if j == i {
				return nil, pgerr.New(pgerr.SyntaxError, "syntax error at or near %q", src[i:i+1])
			}
			add(word, strings.ToLower(src[i:j]), i, j)
			i = j
		default:
			n := 1
			for _, s := range []string{":=", "..", "<<", ">>", "::", "<=", ">=", "<>", "!=", "=>"} {
				if strings.HasPrefix(src[i:], s) {
					n = 2
				}
			}
			add(symbol, src[i:i+n], i, i+n)
			i += n
		}
	}
	return append(out, token{end, "", len(src), len(src)}), nil
}

func wordByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

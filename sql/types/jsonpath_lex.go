package types

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/pgerr"
)

type pathTokenKind uint8

const (
	pathEnd     pathTokenKind = iota
	pathSymbol                // text is the operator or character
	pathIdent                 // an unquoted word, keywords included
	pathQuoted                // a string
	pathVar                   // $name
	pathInteger               // digits only
	pathDecimal
)

// pathToken is one token. near is what a syntax error at it quotes: the last piece of input that the scanner
// matched, which for a word is what follows it.
type pathToken struct {
	kind pathTokenKind
	text string
	near string
}

type pathScanner struct {
	s string
	i int
}

func pathSyntaxError(message, near string) error {
	if near == "" {
		return pgerr.New(pgerr.SyntaxError, "%s at end of jsonpath input", message)
	}
	return pgerr.New(pgerr.SyntaxError, "%s at or near \"%s\" of jsonpath input", message, near)
}

func isPathSpecial(c byte) bool { return strings.IndexByte("?%$.[]{}()|&!=<>@#,*:-+/", c) >= 0 }
func isPathBlank(c byte) bool   { return strings.IndexByte(" \t\n\r\f", c) >= 0 }
func isPathOther(c byte) bool {
	return !isPathSpecial(c) && !isPathBlank(c) && c != '"' && c != '\\'
}

func (s *pathScanner) next() (pathToken, error) {
	for s.i < len(s.s) {
		switch {
		case isPathBlank(s.s[s.i]):
			s.i++
			continue
		case strings.HasPrefix(s.s[s.i:], "/*"):
			end := strings.Index(s.s[s.i+2:], "*/")
			if end < 0 {
				return pathToken{}, pathSyntaxError("unexpected end of comment", "")
			}
			s.i += end + 4
			continue
		}
		break
	}
	if s.i >= len(s.s) {
		return pathToken{}, nil
	}
	c, rest := s.s[s.i], s.s[s.i:]
	if isDigit(c) || c == '.' && len(rest) > 1 && isDigit(rest[1]) {
		return s.number()
	}
	switch {
	case c == '"':
		s.i++
		text, err := s.quoted()
		return pathToken{kind: pathQuoted, text: text, near: `"`}, err
	case c == '$' && len(rest) > 1 && rest[1] == '"':
		s.i += 2
		text, err := s.quoted()
		return pathToken{kind: pathVar, text: text, near: `"`}, err
	case c == '$' && len(rest) > 1 && isPathOther(rest[1]):
		n := 1
		for n < len(rest) && isPathOther(rest[n]) {
			n++
		}
		s.i += n
		return pathToken{kind: pathVar, text: rest[1:n], near: rest[:n]}, nil
	case isPathSpecial(c):
		for _, op := range []string{"&&", "||", "**", "==", "!=", "<>", "<=", ">="} {
			if strings.HasPrefix(rest, op) {
				s.i += 2
				return pathToken{kind: pathSymbol, text: op, near: op}, nil
			}
		}
		s.i++
		return pathToken{kind: pathSymbol, text: rest[:1], near: rest[:1]}, nil
	}
	return s.word()
}

func (s *pathScanner) number() (pathToken, error) {
	rest := s.s[s.i:]
	n, kind := 0, pathInteger
	digits := func() bool {
		start := n
		for n < len(rest) && isDigit(rest[n]) {
			n++
		}
		return n > start
	}
	if rest[0] == '0' {
		n = 1
	} else {
		digits()
	}
	if n < len(rest) && rest[n] == '.' {
		n++
		digits()
		kind = pathDecimal
	}
	junk := func() (pathToken, error) {
		_, w := utf8.DecodeRuneInString(rest[n:])
		return pathToken{}, pathSyntaxError("trailing junk after numeric literal", rest[:n+w])
	}
	if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		start := n
		n++
		if n < len(rest) && (rest[n] == '+' || rest[n] == '-') {
			n++
			if n == len(rest) || !isDigit(rest[n]) {
				return pathToken{}, pathSyntaxError("trailing junk after numeric literal", rest[:n])
			}
		}
		if !digits() {
			n = start
			return junk()
		}
		kind = pathDecimal
	}
	if n < len(rest) && (isPathOther(rest[n])) {
		return junk()
	}
	s.i += n
	return pathToken{kind: kind, text: rest[:n], near: rest[:n]}, nil
}

// word reads an unquoted key or keyword, which may hold escapes.
func (s *pathScanner) word() (pathToken, error) {
	var b []byte
	for s.i < len(s.s) {
		c := s.s[s.i]
		if c == '\\' {
			var err error
			if b, err = s.escape(b); err != nil {
				return pathToken{}, err
			}
			continue
		}
		if !isPathOther(c) {
			break
		}
		b = append(b, c)
		s.i++
	}
	n := s.i
	for n < len(s.s) && isPathBlank(s.s[n]) {
		n++
	}
	return pathToken{kind: pathIdent, text: string(b), near: s.s[s.i:n]}, nil
}

func (s *pathScanner) quoted() (string, error) {
	var b []byte
	for s.i < len(s.s) {
		switch c := s.s[s.i]; c {
		case '"':
			s.i++
			return string(b), nil
		case '\\':
			var err error
			if b, err = s.escape(b); err != nil {
				return "", err
			}
		default:
			b = append(b, c)
			s.i++
		}
	}
	return "", pathSyntaxError("unexpected end of quoted string", "")
}

var pathEscapes = map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

func badSurrogate(detail string) error {
	return pgerr.New(pgerr.InvalidTextRepresentation, "invalid input syntax for type %s", "jsonpath").WithDetail("%s", detail)
}

// escape reads one backslash sequence, or a run of Unicode ones, whose surrogates pair up.
func (s *pathScanner) escape(b []byte) ([]byte, error) {
	rest := s.s[s.i:]
	if len(rest) == 1 {
		return nil, pathSyntaxError("unexpected end after backslash", "")
	}
	hexRun := func(from, most int) int {
		n := 0
		for n < most && from+n < len(rest) {
			if _, ok := hexDigit(rest[from+n]); !ok {
				break
			}
			n++
		}
		return n
	}
	switch c := rest[1]; c {
	case 'u':
		code, size, ok := pathUnicode(rest)
		if !ok {
			n := 2
			if n < len(rest) && rest[n] == '{' {
				n++
			}
			n += hexRun(n, 6)
			return nil, pathSyntaxError("invalid unicode sequence", rest[:n])
		}
		s.i += size
		if code == 0 {
			return nil, pgerr.New(pgerr.UntranslatableCharacter, "unsupported Unicode escape sequence").
				WithDetail("\\u0000 cannot be converted to text.")
		}
		if utf16.IsSurrogate(code) {
			low, lowSize, ok := pathUnicode(s.s[s.i:])
			pair := utf16.DecodeRune(code, low)
			if code >= 0xdc00 || !ok || pair == utf8.RuneError {
				if ok && code < 0xdc00 && low >= 0xd800 && low < 0xdc00 {
					return nil, badSurrogate("Unicode high surrogate must not follow a high surrogate.")
				}
				return nil, badSurrogate("Unicode low surrogate must follow a high surrogate.")
			}
			s.i += lowSize
			code = pair
		}
		if code > utf8.MaxRune {
			return nil, pgerr.New(pgerr.UntranslatableCharacter, "could not convert Unicode to server encoding")
		}
		return utf8.AppendRune(b, code), nil
	case 'x':
		if n := hexRun(2, 2); n < 2 {
			return nil, pathSyntaxError("invalid hex character sequence", rest[:2+n])
		}
		v, _ := strconv.ParseUint(rest[2:4], 16, 8)
		s.i += 4
		if v == 0 {
			return nil, pgerr.New(pgerr.UntranslatableCharacter, "unsupported Unicode escape sequence").
				WithDetail("\\u0000 cannot be converted to text.")
		}
		return utf8.AppendRune(b, rune(v)), nil
	default:
		if e, ok := pathEscapes[c]; ok {
			s.i += 2
			return append(b, e), nil
		}
		_, w := utf8.DecodeRuneInString(rest[1:])
		s.i += 1 + w
		return append(b, rest[1:1+w]...), nil
	}
}

// pathUnicode reads \uXXXX or \u{X...}.
func pathUnicode(s string) (code rune, size int, ok bool) {
	if !strings.HasPrefix(s, `\u`) {
		return 0, 0, false
	}
	digits := ""
	if strings.HasPrefix(s, `\u{`) {
		end := strings.IndexByte(s, '}')
		if end < 4 || end > 9 {
			return 0, 0, false
		}
		digits, size = s[3:end], end+1
	} else {
		if len(s) < 6 {
			return 0, 0, false
		}
		digits, size = s[2:6], 6
	}
	v, err := strconv.ParseUint(digits, 16, 32)
	return rune(v), size, err == nil
}

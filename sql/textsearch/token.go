package textsearch

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind is the kind of a token, with PostgreSQL's number.
type Kind uint8

// The kinds.
const (
	ASCIIWord       Kind = 1
	Word            Kind = 2
	NumWord         Kind = 3
	Email           Kind = 4
	URL             Kind = 5
	Host            Kind = 6
	Scientific      Kind = 7
	Version         Kind = 8
	NumPart         Kind = 9 // of a hyphenated word
	Part            Kind = 10
	ASCIIPart       Kind = 11
	Blank           Kind = 12
	Tag             Kind = 13
	Protocol        Kind = 14
	NumHyphenated   Kind = 15
	ASCIIHyphenated Kind = 16
	Hyphenated      Kind = 17
	URLPath         Kind = 18
	File            Kind = 19
	Float           Kind = 20
	Int             Kind = 21
	Uint            Kind = 22
	Entity          Kind = 23
)

// Token is a piece of a text.
type Token struct {
	Kind Kind
	Text string
	Part bool // lies in the token before: of a hyphenated word or a URL
}

// Tokens cuts a text up. Together the tokens that are no parts are the text.
func Tokens(text string) iter.Seq[Token] {
	return func(yield func(Token) bool) {
		blank := 0 // what has been passed
		hyphenated := false
		for at := 0; at < len(text); {
			kind, n := token(text[at:], hyphenated)
			hyphenated = false
			if kind == Blank {
				at += n
				blank += n
				continue
			}
			if blank > 0 && !yield(Token{Blank, text[at-blank : at], false}) {
				return
			}
			blank = 0
			t := Token{kind, text[at : at+n], false}
			if !yield(t) {
				return
			}
			switch kind {
			case URL:
				h := hostLen(t.Text)
				if !yield(Token{Host, t.Text[:h], true}) || !yield(Token{URLPath, t.Text[h:], true}) {
					return
				}
			case ASCIIHyphenated, Hyphenated, NumHyphenated:
				hyphenated = true
				for i, p := range strings.Split(t.Text, "-") {
					if i > 0 && !yield(Token{Blank, "-", true}) {
						return
					}
					k := map[Kind]Kind{ASCIIWord: ASCIIPart, Word: Part}[wordKind(p)]
					if k == 0 {
						k = NumPart
					}
					if !yield(Token{k, p, true}) {
						return
					}
				}
			}
			at += n
		}
		if blank > 0 {
			yield(Token{Blank, text[len(text)-blank:], false})
		}
	}
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isAlnum(c byte) bool  { return isDigit(c) || isLetter(c) }

// token returns the kind and length of the token at the beginning of s. Behind a hyphenated word a hyphen is no sign.
func token(s string, hyphenated bool) (Kind, int) {
	c := s[0]
	switch {
	case c == '<':
		if n := tagLen(s); n > 0 {
			return Tag, n
		}
	case c == '&':
		if n := entityLen(s); n > 0 {
			return Entity, n
		}
	case (c == '-' && !hyphenated || c == '+') && len(s) > 1 && isDigit(s[1]):
		if kind, n := number(s[1:]); n > 0 && kind != Version {
			if kind == Uint {
				kind = Int
			}
			return kind, n + 1
		}
	case c == '/' || c == '.' || c == '~':
		if n := rootedLen(s); n > 0 {
			return File, n
		}
	case isAlnum(c):
		if n := protocolLen(s); n > 0 {
			return Protocol, n
		}
		if n := emailLen(s); n > 0 {
			return Email, n
		}
		if h := hostLen(s); h > 0 {
			n := h
			for n < len(s) && s[n] > ' ' && s[n] < 0x7f && strings.IndexByte("\"<>\\^`{|}", s[n]) < 0 {
				n++
			}
			if n > h+1 && s[h] == '/' {
				return URL, n
			}
			return Host, h
		}
		if n := pathLen(s); n > 0 && isLetter(c) {
			return File, n
		}
		if isDigit(c) {
			if kind, n := number(s); n > 0 {
				return kind, n
			}
		}
	}
	n := wordLen(s)
	if n == 0 {
		_, n = utf8.DecodeRuneInString(s)
		return Blank, n
	}
	if strings.Trim(s[:n], "0123456789") == "" {
		return Uint, n
	}
	whole := n
	for whole < len(s) && s[whole] == '-' {
		m := wordLen(s[whole+1:])
		if m == 0 || isDigit(s[whole+1]) {
			break
		}
		whole += 1 + m
	}
	kind := wordKind(strings.ReplaceAll(s[:whole], "-", ""))
	if whole > n {
		return map[Kind]Kind{ASCIIWord: ASCIIHyphenated, Word: Hyphenated, NumWord: NumHyphenated}[kind], whole
	}
	return kind, n
}

// wordLen is the length of the letters and digits at the beginning of s.
func wordLen(s string) int {
	n := 0
	for n < len(s) {
		c, size := utf8.DecodeRuneInString(s[n:])
		if !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c) {
			break
		}
		n += size
	}
	return n
}

func wordKind(s string) Kind {
	kind := ASCIIWord
	for _, c := range s {
		switch {
		case unicode.IsDigit(c):
			return NumWord
		case c >= utf8.RuneSelf:
			kind = Word
		}
	}
	return kind
}

func digits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

// number reads a version, or a number with a fraction or exponent. A row of digits may begin a word: it is left to that.
func number(s string) (Kind, int) {
	n := digits(s)
	kind, dots := Uint, 0
	for n+1 < len(s) && s[n] == '.' && isDigit(s[n+1]) {
		n += 1 + digits(s[n+1:])
		dots++
	}
	switch {
	case dots > 1:
		return Version, n
	case dots == 1:
		kind = Float
	}
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		m := n + 1
		if m < len(s) && (s[m] == '-' || s[m] == '+') {
			m++
		}
		if d := digits(s[m:]); d > 0 {
			return Scientific, m + d
		}
	}
	if kind == Uint && wordLen(s) > n {
		return 0, 0
	}
	return kind, n
}

// hostLen reads labels joined by dots, the last of which begins with two letters, and a port.
func hostLen(s string) int {
	end, label := 0, 0
	for n := 0; n <= len(s); n++ {
		if n < len(s) && (isAlnum(s[n]) || s[n] == '-' || s[n] == '_') {
			continue
		}
		// A label ends here.
		last := s[label:n]
		if last == "" {
			break
		}
		if trimmed := strings.TrimRight(last, "-_"); label > 0 && len(trimmed) > 1 && isLetter(trimmed[0]) && isLetter(trimmed[1]) {
			end = label + len(trimmed)
		}
		if n == len(s) || s[n] != '.' {
			if end != n {
				break
			}
			if n+1 < len(s) && s[n] == ':' {
				if d := digits(s[n+1:]); d > 0 {
					return n + 1 + d
				}
			}
			break
		}
		label = n + 1
	}
	return end
}

func emailLen(s string) int {
	n := 0
	for n < len(s) && (isAlnum(s[n]) || s[n] == '-' || s[n] == '_' || s[n] == '.') {
		n++
	}
	if n+1 >= len(s) || s[n] != '@' || !isAlnum(s[n+1]) {
		return 0
	}
	h := hostLen(s[n+1:])
	if h == 0 {
		return 0
	}
	return n + 1 + h
}

func protocolLen(s string) int {
	n := 0
	for n < len(s) && isLetter(s[n]) {
		n++
	}
	if n == 0 || !strings.HasPrefix(s[n:], "://") {
		return 0
	}
	return n + 3
}

// rootedLen reads a path that begins with /, ./, ../ or ~/.
func rootedLen(s string) int {
	n := strings.IndexByte(s, '/') + 1
	switch s[:n] {
	case "/", "./", "../", "~/":
		if m := namesLen(s[n:]); m > 0 {
			return n + m
		}
	}
	return 0
}

// pathLen reads names joined by dots and slashes, more than one.
func pathLen(s string) int {
	n := namesLen(s)
	if !strings.ContainsAny(s[:n], "./") {
		return 0
	}
	return n
}

func namesLen(s string) int {
	end := 0
	for n := 0; n < len(s); n++ {
		switch {
		case isAlnum(s[n]) || s[n] == '_' && n > 0:
			end = n + 1
		case (s[n] == '.' || s[n] == '/' || s[n] == '-') && end == n && n > 0:
		default:
			return end
		}
	}
	return end
}

// tagLen reads a tag of XML or HTML, or a comment.
func tagLen(s string) int {
	if strings.HasPrefix(s, "<!--") {
		if n := strings.Index(s[4:], "-->"); n >= 0 {
			return 4 + n + 3
		}
		return 0
	}
	n := 1
	if n < len(s) && strings.IndexByte("/!?", s[n]) >= 0 {
		n++
	}
	if n == len(s) || !isLetter(s[n]) {
		return 0
	}
	quote := byte(0)
	for ; n < len(s); n++ {
		switch c := s[n]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return n + 1
		case c == '<':
			return 0
		}
	}
	return 0
}

func entityLen(s string) int {
	n := 1
	if strings.HasPrefix(s, "&#") {
		n = 2
		if n < len(s) && (s[n] == 'x' || s[n] == 'X') {
			n++
		}
	}
	from := n
	for n < len(s) && (isAlnum(s[n]) || n > from && strings.IndexByte("_:.-", s[n]) >= 0) {
		n++
	}
	if n == from || n == len(s) || s[n] != ';' || from == 2 && digits(s[2:n]) != n-2 || from == 1 && isDigit(s[1]) {
		return 0
	}
	return n + 1
}

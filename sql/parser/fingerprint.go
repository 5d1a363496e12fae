package parser

import (
	"strconv"
	"strings"
)

// maxFingerprint bounds the text that a fingerprint keeps, in bytes.
const maxFingerprint = 4 << 10

// Fingerprint returns a statement's text as people group statements: white space folded, comments left out, and
// every string and number replaced by $1, $2 and so on after the parameters that are there. No value of a
// literal is left in it, passwords included. It takes any text.
func Fingerprint(text string) string {
	if len(text) > maxFingerprint {
		text = text[:maxFingerprint]
	}
	f := fingerprinter{text: text, next: 1 + highestParam(text)}
	f.out.Grow(len(text))
	for f.i < len(text) {
		f.token()
	}
	return strings.TrimRight(f.out.String(), "; ")
}

type fingerprinter struct {
	text string
	i    int
	out  strings.Builder
	last byte // written
	next int
}

func (f *fingerprinter) write(s string) {
	f.out.WriteString(s)
	f.last = s[len(s)-1]
}

func (f *fingerprinter) space() {
	if f.last != ' ' && f.last != 0 {
		f.write(" ")
	}
}

// operatorBefore reports whether what was written last cannot be an operand.
func (f *fingerprinter) operatorBefore() bool {
	s := strings.TrimRight(f.out.String(), " ")
	return s != "" && strings.IndexByte("(,=<>+-*/%", s[len(s)-1]) >= 0
}

func (f *fingerprinter) literal() {
	f.write("$" + strconv.Itoa(f.next))
	f.next++
}

func (f *fingerprinter) token() {
	t, i := f.text, f.i
	switch c := t[i]; {
	case isSpace(c):
		f.i++
		f.space()
	case strings.HasPrefix(t[i:], "--"):
		f.i = endOr(t, i, "\n")
		f.space()
	case strings.HasPrefix(t[i:], "/*"):
		f.i = endOfComment(t, i)
		f.space()
	case c == '\'':
		f.i = endOfQuoted(t, i, '\'', false)
		f.literal()
	case c == '"':
		f.i = endOfQuoted(t, i, '"', false)
		f.write(t[i:f.i])
	case c == '$':
		f.dollar()
	case c == '-' && i+1 < len(t) && isDigit(t[i+1]) && f.operatorBefore():
		f.i++ // the sign is the number's
	case isDigit(c), c == '.' && i+1 < len(t) && isDigit(t[i+1]):
		f.i = endOfNumber(t, i)
		f.literal()
	case isWord(c):
		for f.i < len(t) && (isWord(t[f.i]) || isDigit(t[f.i]) || t[f.i] == '$') {
			f.i++
		}
		word := t[i:f.i]
		if f.i < len(t) && t[f.i] == '\'' && stringPrefix(word) {
			f.i = endOfQuoted(t, f.i, '\'', word == "e" || word == "E")
			f.literal()
			return
		}
		f.write(word)
	case c == 0 || c >= 0x7f:
		f.i++ // no text of a statement outside of quotes
	default:
		f.i++
		f.write(t[i:f.i])
	}
}

// dollar reads a parameter or a dollar-quoted string.
func (f *fingerprinter) dollar() {
	t, i := f.text, f.i
	j := i + 1
	if j < len(t) && isDigit(t[j]) {
		for j < len(t) && isDigit(t[j]) {
			j++
		}
		f.write(t[i:j])
		f.i = j
		return
	}
	for j < len(t) && (isWord(t[j]) || isDigit(t[j])) {
		j++
	}
	if j >= len(t) || t[j] != '$' {
		f.i++
		f.write("$")
		return
	}
	tag := t[i : j+1]
	f.i = endOr(t, j+1, tag)
	f.literal()
}

// endOr returns the index behind the next occurrence of end, or the text's length.
func endOr(t string, from int, end string) int {
	if n := strings.Index(t[from:], end); n >= 0 {
		return from + n + len(end)
	}
	return len(t)
}

func endOfComment(t string, i int) int {
	for depth := 0; i < len(t); i++ {
		switch {
		case strings.HasPrefix(t[i:], "/*"):
			depth++
			i++
		case strings.HasPrefix(t[i:], "*/"):
			i++
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(t)
}

func endOfQuoted(t string, i int, quote byte, escapes bool) int {
	for i++; i < len(t); i++ {
		switch {
		case escapes && t[i] == '\\':
			i++
		case t[i] == quote:
			if i+1 >= len(t) || t[i+1] != quote {
				return i + 1
			}
			i++
		}
	}
	return len(t)
}

func endOfNumber(t string, i int) int {
	for ; i < len(t); i++ {
		if c := t[i]; !isDigit(c) && c != '.' && !isWord(c) && !((c == '+' || c == '-') && (t[i-1] == 'e' || t[i-1] == 'E')) {
			break
		}
	}
	return i
}

func stringPrefix(word string) bool {
	switch strings.ToLower(word) {
	case "e", "b", "x", "n":
		return true
	}
	return false
}

// highestParam returns the largest n of a parameter $n.
func highestParam(t string) int {
	highest := 0
	for i := strings.IndexByte(t, '$'); i >= 0 && i+1 < len(t); {
		n, j := 0, i+1
		for ; j < len(t) && isDigit(t[j]) && n < 1<<16; j++ {
			n = n*10 + int(t[j]-'0')
		}
		highest = max(highest, n)
		next := strings.IndexByte(t[j:], '$')
		if next < 0 {
			break
		}
		i = j + next
	}
	return highest
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

package parser

import (
	"cmp"
	"strings"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/pgerr"
)

const (
	defaultMaxNesting = 200
	// maxPrefixRun bounds prefix operators (NOT, unary minus, ~) that can nest within one another without
	// parentheses, and maxJoins the joins, whose ON clauses may all stand at the end: both make the
	// grammar recurse.
	maxPrefixRun = 1000
	maxJoins     = 2000
)

// guard checks what must not reach the grammar. It knows SQL's quoting, and nothing of its grammar: it may
// count too much, never too little.
func guard(text string, lim Limits) error {
	maxSize := cmp.Or(lim.MaxSizeBytes, DefaultMaxSize)
	if len(text) > maxSize {
		return pgerr.New(pgerr.ProgramLimitExceeded, "statement of %d bytes exceeds the limit of %d bytes", len(text), maxSize).
			WithHint("Send large data as parameters or by COPY.")
	}
	if i := invalidUTF8(text); i >= 0 {
		return invalidEncoding(text, i)
	}
	return (&guardScan{
		text:       text,
		maxTokens:  cmp.Or(lim.MaxTokens, DefaultMaxTokens),
		maxNesting: cmp.Or(lim.MaxNesting, defaultMaxNesting),
	}).run()
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, -1 if there is none. NUL counts:
// PostgreSQL's texts cannot hold it.
func invalidUTF8(text string) int {
	if utf8.ValidString(text) {
		return strings.IndexByte(text, 0)
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if (r == utf8.RuneError && n == 1) || r == 0 {
			return i
		}
		i += n
	}
	return -1
}

// invalidEncoding is PostgreSQL's error, which shows as many bytes as the sequence should have had.
func invalidEncoding(text string, i int) error {
	want := 1
	switch c := text[i]; {
	case c >= 0xf0:
		want = 4
	case c >= 0xe0:
		want = 3
	case c >= 0xc0:
		want = 2
	}
	var b strings.Builder
	for j := i; j < min(i+want, len(text)); j++ {
		const hex = "0123456789abcdef"
		b.WriteString(" 0x")
		b.WriteByte(hex[text[j]>>4])
		b.WriteByte(hex[text[j]&15])
	}
	return pgerr.New(pgerr.CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\":%s", b.String())
}

// guardScan walks over the tokens of a text.
type guardScan struct {
	text       string
	maxTokens  int
	maxNesting int
	tokens     int
	depth      int // parentheses and brackets
	cases      int // open CASEs
	prefixes   int // prefix operators since the last token that ends their nesting
	joins      int
	between    bool // a BETWEEN since then: its AND does not end the nesting
	operand    bool // the previous token can end an operand
}

func (g *guardScan) run() error {
	s := g.text
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case isSpace(c):
			i++
			continue
		case c == '-' && strings.HasPrefix(s[i:], "--"):
			nl := strings.IndexByte(s[i:], '\n')
			if nl < 0 {
				return nil
			}
			i += nl + 1
			continue
		case c == '/' && strings.HasPrefix(s[i:], "/*"):
			i += skipBlockComment(s[i:])
			continue
		}
		if g.tokens++; g.tokens > g.maxTokens {
			return pgerr.New(pgerr.ProgramLimitExceeded, "statement of more than %d words and signs", g.maxTokens).
				WithHint("Send large data as parameters or by COPY.")
		}
		switch {
		case c == '\'':
			i = skipQuoted(s, i, '\'')
			g.operand = true
			continue
		case c == '"':
			i = skipQuoted(s, i, '"')
			g.operand = true
			continue
		case c == '$':
			if n := dollarQuoted(s[i:]); n > 0 {
				i += n
				g.operand = true
				continue
			}
			i++
			g.operand = true
			continue
		case c == '(' || c == '[':
			g.depth++
			g.endRun()
			g.operand = false
			i++
		case c == ')' || c == ']':
			g.depth--
			g.endRun()
			g.operand = true
			i++
		case c == ',' || c == ';':
			if c == ';' {
				g.joins, g.cases = 0, 0
			}
			g.endRun()
			g.operand = false
			i++
		case isIdentStart(c):
			start := i
			for i < len(s) && isIdentPart(s[i]) {
				i++
			}
			// E'..' lets a backslash escape the quote.
			if i == start+1 && (c == 'e' || c == 'E') && i < len(s) && s[i] == '\'' {
				i = skipEscaped(s, i)
				g.operand = true
				continue
			}
			g.word(s[start:i])
		case c >= '0' && c <= '9':
			start := i
			for i < len(s) && (isIdentPart(s[i]) || s[i] == '.') {
				i++
			}
			if err := laterNumber(s[start:i], start); err != nil {
				return err
			}
			g.operand = true
		case isOperator(c):
			for i < len(s) && isOperator(s[i]) && !strings.HasPrefix(s[i:], "--") && !strings.HasPrefix(s[i:], "/*") {
				// Every sign of a run counts by itself: the scanner may split it into several operators.
				if !g.operand {
					g.prefixes++
				}
				i++
			}
			g.operand = false
		default:
			i++ // . : and anything that is not SQL
		}
		if g.depth+g.cases > g.maxNesting || g.prefixes > maxPrefixRun || g.joins > maxJoins {
			return tooComplex(int32(i - 1))
		}
	}
	return nil
}

// laterNumber refuses the ways to write a number that the grammar library knows and PostgreSQL 15 does not: 0x1f,
// 0o17, 0b1, 1_000.
func laterNumber(s string, off int) error {
	i := 1
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	if i == len(s) {
		return nil
	}
	if radix := s[i] | 0x20; s[i] != '_' && (i != 1 || s[0] != '0' || radix != 'x' && radix != 'o' && radix != 'b') {
		return nil
	}
	return pgerr.New(pgerr.SyntaxError, "trailing junk after numeric literal at or near \"%s\"", s).WithPosition(off + 1)
}

func (g *guardScan) endRun() { g.prefixes, g.between = 0, false }

// word looks at an identifier or keyword.
func (g *guardScan) word(w string) {
	g.operand = true
	switch len(w) {
	case 2:
		if strings.EqualFold(w, "or") {
			g.boolean()
		}
	case 3:
		switch {
		case strings.EqualFold(w, "and"):
			g.boolean()
		case strings.EqualFold(w, "not"):
			g.prefixes++
			g.operand = false
		case strings.EqualFold(w, "end"):
			g.cases = max(0, g.cases-1)
		}
	case 4:
		switch {
		case strings.EqualFold(w, "case"):
			g.cases++
		case strings.EqualFold(w, "join"):
			g.joins++
		case strings.EqualFold(w, "zone"):
			// x AT TIME ZONE @ y AT TIME ZONE @ z nests.
			g.prefixes++
			g.operand = false
		}
	case 7:
		if strings.EqualFold(w, "between") {
			g.between = true
		}
	case 8:
		if strings.EqualFold(w, "operator") {
			g.prefixes++
		}
	}
}

func (g *guardScan) boolean() {
	if !g.between {
		g.endRun()
	}
	g.operand = false
}

func isIdentStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func isIdentPart(c byte) bool { return isIdentStart(c) || c >= '0' && c <= '9' || c == '$' }

func isOperator(c byte) bool {
	switch c {
	case '+', '-', '*', '/', '<', '>', '=', '~', '!', '@', '#', '%', '^', '&', '|', '`', '?':
		return true
	}
	return false
}

// skipQuoted returns the offset after the quoted text at s[i], in which a doubled quote stands for itself.
func skipQuoted(s string, i int, q byte) int {
	for i++; i < len(s); i++ {
		if s[i] != q {
			continue
		}
		if i+1 < len(s) && s[i+1] == q {
			i++
			continue
		}
		return i + 1
	}
	return len(s)
}

// skipEscaped is skipQuoted for E'..'.
func skipEscaped(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '\'':
			if i+1 < len(s) && s[i+1] == '\'' {
				i++
				continue
			}
			return i + 1
		}
	}
	return len(s)
}

// dollarQuoted returns the length of the $tag$..$tag$ text at the start of s, 0 if there is none.
func dollarQuoted(s string) int {
	i := 1
	for i < len(s) && isIdentPart(s[i]) && s[i] != '$' {
		if i == 1 && s[i] >= '0' && s[i] <= '9' {
			return 0 // $1
		}
		i++
	}
	if i >= len(s) || s[i] != '$' {
		return 0
	}
	tag := s[:i+1]
	end := strings.Index(s[i+1:], tag)
	if end < 0 {
		return len(s)
	}
	return i + 1 + end + len(tag)
}

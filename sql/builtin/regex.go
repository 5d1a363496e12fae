package builtin

import (
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// PostgreSQL's advanced regular expressions are translated to Go's, whose matching time is linear. Where the
// answer depends on how a pattern matches (groups, non-greedy quantifiers) or that engine cannot hold it (back
// references, look-around), a tree decides, see regex_tree.go. A pattern without non-greedy quantifiers
// matches the longest of the leftmost matches, as POSIX has it.

// regexFlags are the options of a regular expression.
type regexFlags struct {
	icase, expanded, literal   bool
	newlineDot, newlineAnchors bool // . and [^ stop at newlines; ^ and $ match at them
	global                     bool
}

func regexError(what string) error {
	return pgerr.New(pgerr.InvalidRegularExpression, "invalid regular expression: %s", what)
}

const (
	reParen  = "parentheses () not balanced"
	reBrack  = "brackets [] not balanced"
	reQuant  = "quantifier operand invalid"
	reRepeat = "invalid repetition count(s)"
	reEscape = "invalid escape \\ sequence"
	reRange  = "invalid character range"
	reClass  = "invalid character class"
	reBack   = "invalid backreference number"
)

// parseRegexFlags reads an options argument.
func parseRegexFlags(s string) (regexFlags, error) {
	var f regexFlags
	for i, c := range s {
		switch c {
		case 'g':
			f.global = true
		case 'i':
			f.icase = true
		case 'c':
			f.icase = false
		case 'x':
			f.expanded = true
		case 't':
			f.expanded = false
		case 'n', 'm':
			f.newlineDot, f.newlineAnchors = true, true
		case 's':
			f.newlineDot, f.newlineAnchors = false, false
		case 'p':
			f.newlineDot, f.newlineAnchors = true, false
		case 'w':
			f.newlineDot, f.newlineAnchors = false, true
		case 'q':
			f.literal = true
		case 'b', 'e':
		default:
			_, n := utf8.DecodeRuneInString(s[i:])
			return f, pgerr.New(pgerr.InvalidParameterValue, "invalid regular expression option: \"%s\"", s[i:i+n])
		}
	}
	return f, nil
}

type regexKey struct {
	pattern string
	flags   regexFlags
}

// regexCache keeps compiled patterns; it is emptied when full, as the patterns of a workload are few.
type regexCache struct {
	mu sync.RWMutex
	m  map[regexKey]*regexMatcher
}

const maxCachedRegexes = 512

var compiledRegexes = &regexCache{m: map[regexKey]*regexMatcher{}}

// compileRegex translates and compiles a pattern.
func compileRegex(pattern string, flags regexFlags) (*regexMatcher, error) {
	flags.global = false
	key := regexKey{pattern, flags}
	c := compiledRegexes
	c.mu.RLock()
	re := c.m[key]
	c.mu.RUnlock()
	if re != nil {
		return re, nil
	}
	t := &regexTranslator{in: pattern, flags: flags}
	out, err := t.translate()
	if err != nil {
		return nil, err
	}
	re = &regexMatcher{lazy: t.lazy, groups: t.groups, pattern: strings.Clone(pattern), flags: flags}
	if !t.beyond {
		fast, cerr := regexp.Compile(out)
		if cerr != nil {
			return nil, regexError(regexReason(cerr))
		}
		if !t.lazy {
			fast.Longest()
		}
		re.fast = fast
		if parsed, err := syntax.Parse(out, syntax.Perl); err == nil {
			re.nonEmpty = !matchesEmpty(parsed)
		}
	}
	if t.beyond || t.lazy || t.groups > 0 {
		if re.tree, err = parseARE(pattern, flags); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	if len(c.m) >= maxCachedRegexes {
		clear(c.m)
	}
	c.m[regexKey{strings.Clone(pattern), flags}] = re
	c.mu.Unlock()
	return re, nil
}

func regexReason(err error) string {
	s := err.Error()
	switch {
	case strings.Contains(s, "paren"):
		return reParen
	case strings.Contains(s, "]"), strings.Contains(s, "bracket"):
		return reBrack
	case strings.Contains(s, "repeat count"):
		return reRepeat
	case strings.Contains(s, "repetition"):
		return reQuant
	case strings.Contains(s, "range"):
		return reRange
	case strings.Contains(s, "escape"):
		return reEscape
	}
	return "regular expression is too complex"
}

// regexTranslator rewrites one pattern.
type regexTranslator struct {
	in     string
	i      int
	out    strings.Builder
	flags  regexFlags
	lazy   bool
	beyond bool // holds what Go's engine cannot do: the output only serves to check the rest
	groups int  // capturing groups opened so far
	look   int  // depth of look-around, in which parentheses do not capture
}

// prelude reads what may stand before a pattern: a director and embedded options.
func (t *regexTranslator) prelude() error {
	if strings.HasPrefix(t.in, "***=") {
		t.in, t.flags.literal = t.in[4:], true
	} else {
		t.in = strings.TrimPrefix(t.in, "***:")
	}
	return t.embeddedOptions()
}

func (t *regexTranslator) translate() (string, error) {
	if err := t.prelude(); err != nil {
		return "", err
	}
	prefix := "(?"
	if t.flags.icase {
		prefix += "i"
	}
	if !t.flags.newlineDot {
		prefix += "s"
	}
	if t.flags.newlineAnchors {
		prefix += "m"
	}
	if prefix == "(?" {
		prefix = ""
	} else {
		prefix += ")"
	}
	if t.flags.literal {
		return prefix + regexp.QuoteMeta(t.in), nil
	}
	if err := t.alternatives(0); err != nil {
		return "", err
	}
	if t.i < len(t.in) {
		return "", regexError(reParen)
	}
	return prefix + t.out.String(), nil
}

// embeddedOptions reads "(?xyz)" at the start.
func (t *regexTranslator) embeddedOptions() error {
	if !strings.HasPrefix(t.in, "(?") || t.flags.literal {
		return nil
	}
	end := strings.IndexByte(t.in, ')')
	if end < 0 {
		return nil
	}
	opts := t.in[2:end]
	if opts == "" || strings.Trim(opts, "abcdefghijklmnopqrstuvwxyz") != "" {
		return nil
	}
	for _, c := range opts {
		switch c {
		case 'i':
			t.flags.icase = true
		case 'c':
			t.flags.icase = false
		case 'x':
			t.flags.expanded = true
		case 't':
			t.flags.expanded = false
		case 'n', 'm':
			t.flags.newlineDot, t.flags.newlineAnchors = true, true
		case 's':
			t.flags.newlineDot, t.flags.newlineAnchors = false, false
		case 'p':
			t.flags.newlineDot, t.flags.newlineAnchors = true, false
		case 'w':
			t.flags.newlineDot, t.flags.newlineAnchors = false, true
		case 'q':
			t.flags.literal = true
		case 'b', 'e':
		default:
			return regexError("invalid embedded option")
		}
	}
	t.in = t.in[end+1:]
	return nil
}

const maxRegexDepth = 500

func (t *regexTranslator) alternatives(depth int) error {
	if depth > maxRegexDepth {
		return regexError("regular expression is too complex")
	}
	for {
		if err := t.branch(depth); err != nil {
			return err
		}
		if t.i >= len(t.in) || t.in[t.i] != '|' {
			return nil
		}
		t.out.WriteByte('|')
		t.i++
	}
}

func (t *regexTranslator) branch(depth int) error {
	for t.skip() {
		start := t.out.Len()
		quantifiable, err := t.atom(depth)
		if err != nil {
			return err
		}
		if err := t.quantifier(start, quantifiable); err != nil {
			return err
		}
	}
	return nil
}

// skip passes over comments and white space, and reports whether an atom follows.
func (t *regexTranslator) skip() bool {
	for t.i < len(t.in) {
		c := t.in[t.i]
		switch {
		case c == '|' || c == ')':
			return false
		case t.flags.expanded && (c == ' ' || c >= '\t' && c <= '\r'):
			t.i++
		case t.flags.expanded && c == '#':
			for t.i < len(t.in) && t.in[t.i] != '\n' {
				t.i++
			}
		case strings.HasPrefix(t.in[t.i:], "(?#"):
			end := strings.IndexByte(t.in[t.i:], ')')
			if end < 0 {
				return true
			}
			t.i += end + 1
		default:
			return true
		}
	}
	return false
}

func (t *regexTranslator) atom(depth int) (quantifiable bool, err error) {
	c := t.in[t.i]
	switch c {
	case '(':
		t.i++
		switch rest := t.in[t.i:]; {
		case strings.HasPrefix(rest, "?:"):
			t.i += 2
			t.out.WriteString("(?:")
		case strings.HasPrefix(rest, "?=") || strings.HasPrefix(rest, "?!") || strings.HasPrefix(rest, "?<=") || strings.HasPrefix(rest, "?<!"):
			t.beyond = true
			t.i += 2 + strings.Count(rest[:2], "<")
			t.out.WriteString("(?:")
			t.look++
			err := t.alternatives(depth + 1)
			t.look--
			if err == nil && t.i >= len(t.in) {
				err = regexError(reParen)
			}
			t.i++
			t.out.WriteByte(')')
			return false, err
		case strings.HasPrefix(rest, "?"):
			return false, regexError(reQuant)
		case t.look > 0:
			t.out.WriteString("(?:")
		default:
			t.groups++
			t.out.WriteByte('(')
		}
		if err := t.alternatives(depth + 1); err != nil {
			return false, err
		}
		if t.i >= len(t.in) {
			return false, regexError(reParen)
		}
		t.i++
		t.out.WriteByte(')')
		return true, nil
	case '[':
		return true, t.bracket()
	case '\\':
		return t.escape()
	case '*', '+', '?':
		return false, regexError(reQuant)
	case '{':
		if t.i+1 < len(t.in) && t.in[t.i+1] >= '0' && t.in[t.i+1] <= '9' {
			return false, regexError(reQuant)
		}
		t.i++
		t.out.WriteString(`\{`)
		return true, nil
	case '.':
		t.i++
		t.out.WriteByte('.')
		return true, nil
	case '^', '$':
		t.i++
		t.out.WriteByte(c)
		return false, nil
	}
	r, n := utf8.DecodeRuneInString(t.in[t.i:])
	t.i += n
	t.out.WriteString(regexp.QuoteMeta(string(r)))
	return true, nil
}

// quantifier copies a quantifier. start is where its operand begins in the output.
func (t *regexTranslator) quantifier(start int, quantifiable bool) error {
	if t.i >= len(t.in) {
		return nil
	}
	q := ""
	single := false
	switch c := t.in[t.i]; {
	case c == '*' || c == '+' || c == '?':
		q = string(c)
		t.i++
	case c == '{' && t.i+1 < len(t.in) && t.in[t.i+1] >= '0' && t.in[t.i+1] <= '9':
		end := strings.IndexByte(t.in[t.i:], '}')
		if end < 0 {
			return regexError("braces {} not balanced")
		}
		body := t.in[t.i+1 : t.i+end]
		lo, hi, ranged := strings.Cut(body, ",")
		m, err := strconv.Atoi(lo)
		if err != nil || m > 255 {
			return regexError(reRepeat)
		}
		if ranged && hi != "" {
			n, err := strconv.Atoi(hi)
			if err != nil || n > 255 || n < m {
				return regexError(reRepeat)
			}
			single = m == 1 && n == 1
		}
		single = single || !ranged && m == 1
		q = "{" + body + "}"
		t.i += end + 1
	default:
		return nil
	}
	if !quantifiable {
		return regexError(reQuant)
	}
	lazy := t.i < len(t.in) && t.in[t.i] == '?'
	if lazy {
		t.i++
		t.lazy = true
	}
	if t.i < len(t.in) {
		if c := t.in[t.i]; c == '*' || c == '+' || c == '?' {
			return regexError(reQuant)
		}
	}
	if single {
		// x{1,1}? makes what is inside prefer short matches.
		if lazy {
			text := t.out.String()
			t.out.Reset()
			t.out.WriteString(text[:start] + makeLazy(text[start:]))
		}
		return nil
	}
	// a(?:)* and the like would make Go complain of nothing; a group keeps operands of several bytes whole.
	t.out.WriteString(q)
	if lazy {
		t.out.WriteByte('?')
	}
	return nil
}

// makeLazy turns the greedy quantifiers of a translated piece into non-greedy ones.
func makeLazy(s string) string {
	var b strings.Builder
	inClass := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		b.WriteByte(c)
		switch {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case inClass:
			inClass = c != ']'
		case c == '[':
			inClass = true
			if i+1 < len(s) && s[i+1] == ']' {
				i++
				b.WriteByte(']')
			}
		case c == '(' && i+1 < len(s) && s[i+1] == '?':
			i++
			b.WriteByte('?')
		case c == '*' || c == '+' || c == '}' || c == '?':
			if i+1 < len(s) && s[i+1] == '?' {
				i++
			}
			b.WriteByte('?')
		}
	}
	return b.String()
}

// escape translates a backslash sequence outside brackets.
func (t *regexTranslator) escape() (quantifiable bool, err error) {
	if t.i+1 >= len(t.in) {
		return false, regexError(reEscape)
	}
	c := t.in[t.i+1]
	switch c {
	case 'A':
		t.out.WriteString(`\A`)
	case 'Z':
		t.out.WriteString(`\z`)
	case 'm', 'M', 'y':
		t.out.WriteString(`\b`)
	case 'Y':
		t.out.WriteString(`\B`)
	default:
		if c >= '1' && c <= '9' {
			if int(c-'0') > t.groups || t.look > 0 {
				return false, regexError(reBack)
			}
			t.beyond = true
			for t.i += 2; t.i < len(t.in) && isDigitByte(t.in[t.i]); t.i++ {
			}
			t.out.WriteString("(?:)")
			return true, nil
		}
		s, err := t.charEscape()
		if err != nil {
			return false, err
		}
		t.out.WriteString(s)
		return true, nil
	}
	t.i += 2
	return false, nil
}

// charEscape translates an escape that stands for a character or class, in and out of brackets.
func (t *regexTranslator) charEscape() (string, error) {
	if t.i+1 >= len(t.in) {
		return "", regexError(reEscape)
	}
	c := t.in[t.i+1]
	t.i += 2
	char := func(r rune) (string, error) { return `\x{` + strconv.FormatInt(int64(r), 16) + `}`, nil }
	switch c {
	case 'd', 'D', 's', 'S', 'w', 'W':
		return `\` + string(rune(c)), nil
	case 'a':
		return char('\a')
	case 'b':
		return char('\b')
	case 'B':
		return `\\`, nil
	case 'e':
		return char(27)
	case 'f':
		return char('\f')
	case 'n':
		return char('\n')
	case 'r':
		return char('\r')
	case 't':
		return char('\t')
	case 'v':
		return char('\v')
	case '0':
		return char(0)
	case 'c':
		if t.i >= len(t.in) {
			return "", regexError(reEscape)
		}
		t.i++
		return char(rune(t.in[t.i-1] & 31))
	case 'u', 'U', 'x':
		lo, hi := 4, 4
		switch c {
		case 'U':
			lo, hi = 8, 8
		case 'x':
			lo, hi = 1, 255
		}
		n := 0
		for n < hi && t.i+n < len(t.in) && strings.IndexByte("0123456789abcdefABCDEF", t.in[t.i+n]) >= 0 {
			n++
		}
		if n < lo {
			return "", regexError(reEscape)
		}
		v, err := strconv.ParseUint(t.in[t.i:t.i+n], 16, 32)
		if err != nil || v > utf8.MaxRune {
			return "", regexError(reEscape)
		}
		t.i += n
		return char(rune(v))
	}
	if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
		return "", regexError(reEscape)
	}
	r, n := utf8.DecodeRuneInString(t.in[t.i-1:])
	t.i += n - 1
	return regexp.QuoteMeta(string(r)), nil
}

var posixClasses = map[string]bool{"alnum": true, "alpha": true, "blank": true, "cntrl": true, "digit": true, "graph": true,
	"lower": true, "print": true, "punct": true, "space": true, "upper": true, "xdigit": true, "word": true, "ascii": true}

// bracket translates a bracket expression.
func (t *regexTranslator) bracket() error {
	if rest := t.in[t.i:]; strings.HasPrefix(rest, "[[:<:]]") || strings.HasPrefix(rest, "[[:>:]]") {
		t.i += 7
		t.out.WriteString(`\b`)
		return nil
	}
	t.i++
	negated := false
	var b strings.Builder
	if t.i < len(t.in) && t.in[t.i] == '^' {
		negated = true
		t.i++
	}
	for first := true; ; first = false {
		if t.i >= len(t.in) {
			return regexError(reBrack)
		}
		if t.in[t.i] == ']' && !first {
			t.i++
			break
		}
		lo, loText, isClass, err := t.bracketItem()
		if err != nil {
			return err
		}
		if t.i+1 < len(t.in) && t.in[t.i] == '-' && t.in[t.i+1] != ']' {
			if isClass {
				return regexError(reRange)
			}
			t.i++
			hi, hiText, hiClass, err := t.bracketItem()
			if err != nil {
				return err
			}
			if hiClass || hi < lo {
				return regexError(reRange)
			}
			b.WriteString(loText + "-" + hiText)
			continue
		}
		b.WriteString(loText)
	}
	t.out.WriteByte('[')
	if negated {
		t.out.WriteByte('^')
		if t.flags.newlineDot {
			t.out.WriteString(`\n`)
		}
	}
	t.out.WriteString(b.String())
	t.out.WriteByte(']')
	return nil
}

func (t *regexTranslator) bracketItem() (r rune, text string, isClass bool, err error) {
	char := func(r rune) (rune, string, bool, error) {
		return r, `\x{` + strconv.FormatInt(int64(r), 16) + `}`, false, nil
	}
	rest := t.in[t.i:]
	for _, kind := range []string{"[:", "[.", "[="} {
		if !strings.HasPrefix(rest, kind) {
			continue
		}
		end := strings.Index(rest[2:], kind[1:]+"]")
		if end < 0 {
			return 0, "", false, regexError(reBrack)
		}
		name := rest[2 : 2+end]
		t.i += end + 4
		if kind == "[:" {
			if !posixClasses[name] {
				return 0, "", false, regexError(reClass)
			}
			return 0, "[:" + name + ":]", true, nil
		}
		r, n := utf8.DecodeRuneInString(name)
		if n == 0 || n != len(name) {
			return 0, "", false, regexError("invalid collating element")
		}
		return char(r)
	}
	if rest[0] == '\\' {
		start := t.i
		s, err := t.charEscape()
		if err != nil {
			return 0, "", false, err
		}
		switch t.in[start+1] {
		case 'd', 'D', 's', 'S', 'w', 'W':
			return 0, s, true, nil
		}
		if strings.HasPrefix(s, `\x{`) {
			v, _ := strconv.ParseInt(s[3:len(s)-1], 16, 32)
			return char(rune(v))
		}
		r, _ := utf8.DecodeRuneInString(strings.TrimPrefix(s, `\`))
		return char(r)
	}
	r, n := utf8.DecodeRuneInString(rest)
	t.i += n
	return char(r)
}

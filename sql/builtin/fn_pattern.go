package builtin

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func errLikeEscape() error {
	return pgerr.New(pgerr.InvalidEscapeSequence, "LIKE pattern must not end with escape character")
}

// MatchLike matches s against a LIKE pattern with backslash as escape.
func MatchLike(s, pattern string) (bool, error) { return matchLike(s, pattern, true) }

// matchLike goes through the pattern once, returning to the last % on a mismatch. wide says that _ takes
// a whole UTF-8 character.
func matchLike(s, p string, wide bool) (bool, error) {
	i, j := 0, 0
	starP, starS := -1, 0
	for i < len(s) || j < len(p) {
		if j < len(p) {
			switch c := p[j]; c {
			case '%':
				starP, starS = j, i
				j++
				continue
			case '_':
				if i < len(s) {
					n := 1
					if wide {
						_, n = utf8.DecodeRuneInString(s[i:])
					}
					i += n
					j++
					continue
				}
			case '\\':
				if j+1 >= len(p) {
					return false, errLikeEscape()
				}
				if i < len(s) && s[i] == p[j+1] {
					i++
					j += 2
					continue
				}
			default:
				if i < len(s) && s[i] == c {
					i++
					j++
					continue
				}
			}
		}
		if starP < 0 || starS >= len(s) {
			return false, nil
		}
		n := 1
		if wide {
			_, n = utf8.DecodeRuneInString(s[starS:])
		}
		starS += n
		i, j = starS, starP+1
	}
	return true, nil
}

// likeEscape rewrites a pattern with another escape character to one with backslash.
func likeEscape(p, esc string) (string, error) {
	if esc == "" {
		return strings.ReplaceAll(p, `\`, `\\`), nil
	}
	r, n := utf8.DecodeRuneInString(esc)
	if n != len(esc) {
		return "", pgerr.New(pgerr.InvalidEscapeSequence, "invalid escape string").WithHint("Escape string must be empty or one character.")
	}
	if r == '\\' {
		return p, nil
	}
	var b strings.Builder
	after := false
	for _, c := range p {
		switch {
		case c == r && !after:
			b.WriteByte('\\')
			after = true
		case c == '\\':
			b.WriteByte('\\')
			if !after {
				b.WriteByte('\\')
			}
			after = false
		default:
			b.WriteRune(c)
			after = false
		}
	}
	return b.String(), nil
}

func registerPattern(l library) {
	like := func(want, fold bool) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			s, p := a[0].Str(), a[1].Str()
			if fold {
				s, p = strings.ToLower(s), strings.ToLower(p)
			}
			ok, err := matchLike(s, p, true)
			return types.NewBool(ok == want), err
		}
	}
	for _, t := range []string{"text", "name"} {
		l.fn(t+"like", like(true, false))
		l.fn(t+"nlike", like(false, false))
		l.fn(t+"iclike", like(true, true))
		l.fn(t+"icnlike", like(false, true))
	}
	byteaLike := func(want bool) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			ok, err := matchLike(string(a[0].Bytes()), string(a[1].Bytes()), false)
			return types.NewBool(ok == want), err
		}
	}
	l.fn("bytealike", byteaLike(true))
	l.fn("byteanlike", byteaLike(false))
	l.fn("like_escape", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return str(likeEscape(a[0].Str(), a[1].Str())) })
	l.fn("like_escape_bytea", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		p, esc := a[0].Bytes(), a[1].Bytes()
		if len(esc) == 0 {
			return types.NewBytes(bytes.ReplaceAll(p, []byte{'\\'}, []byte(`\\`))), nil
		}
		s, err := likeEscape(string(p), string(esc))
		if err != nil {
			return types.Null, err
		}
		return types.NewBytes([]byte(s)), nil
	})
	match := func(want, fold bool) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			re, err := compileRegex(a[1].Str(), regexFlags{icase: fold})
			if err != nil {
				return types.Null, err
			}
			ok, err := re.MatchString(a[0].Str())
			return types.NewBool(ok == want), err
		}
	}
	for _, t := range []string{"text", "name"} {
		l.fn(t+"regexeq", match(true, false))
		l.fn(t+"regexne", match(false, false))
		l.fn(t+"icregexeq", match(true, true))
		l.fn(t+"icregexne", match(false, true))
	}
	registerRegexp(l)
	similar := func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[0].IsNull() {
			return types.Null, nil
		}
		esc := `\`
		if len(a) > 1 {
			if a[1].IsNull() {
				return types.Null, nil
			}
			esc = a[1].Str()
		}
		return str(similarToRegex(a[0].Str(), esc))
	}
	l.fn("similar_to_escape_1", similar)
	l.fn("similar_to_escape_2", similar)
	l.fn("similar_escape", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		if len(a) > 1 && a[1].IsNull() {
			a = a[:1]
		}
		return similar(c, a)
	})
	// substring(text similar pattern escape esc)
	l.fn("substring(text text text)", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		p, err := similarToRegex(a[1].Str(), a[2].Str())
		if err != nil {
			return types.Null, err
		}
		return regexSubstring(a[0].Str(), p)
	})
	l.fn("textregexsubstr", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return regexSubstring(a[0].Str(), a[1].Str()) })
	registerSplit(l)
}

func regexSubstring(s, pattern string) (types.Datum, error) {
	re, err := compileRegex(pattern, regexFlags{})
	if err != nil {
		return types.Null, err
	}
	m, err := re.Find(s, 0)
	if m == nil || err != nil {
		return types.Null, err
	}
	if len(m) > 2 {
		m = m[2:]
	}
	if m[0] < 0 {
		return types.Null, nil
	}
	return types.NewString(s[m[0]:m[1]]), nil
}

// similarToRegex translates a SQL pattern of SIMILAR TO to a regular expression.
func similarToRegex(p, esc string) (string, error) {
	escR := rune(-1)
	if esc != "" {
		r, n := utf8.DecodeRuneInString(esc)
		if n != len(esc) {
			return "", pgerr.New(pgerr.InvalidEscapeSequence, "invalid escape string").WithHint("Escape string must be empty or one character.")
		}
		escR = r
	}
	var b strings.Builder
	b.WriteString("^(?:")
	after, inClass, quotes := false, false, 0
	for _, c := range p {
		switch {
		case after:
			if c == '"' && !inClass {
				switch quotes {
				case 0:
					b.WriteString("){1,1}?(")
				case 1:
					b.WriteString("){1,1}(?:")
				default:
					return "", pgerr.New(pgerr.InvalidUseOfEscapeCharacter, "SQL regular expression may not contain more than two escape-double-quote separators")
				}
				quotes++
			} else {
				b.WriteByte('\\')
				b.WriteRune(c)
			}
			after = false
		case c == escR:
			after = true
		case inClass:
			if c == '\\' {
				b.WriteByte('\\')
			}
			b.WriteRune(c)
			inClass = c != ']'
		case c == '[':
			b.WriteByte('[')
			inClass = true
		case c == '%':
			b.WriteString(".*")
		case c == '_':
			b.WriteByte('.')
		case c == '(':
			b.WriteString("(?:")
		case c == '\\' || c == '.' || c == '^' || c == '$':
			b.WriteByte('\\')
			b.WriteRune(c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteString(")$")
	return b.String(), nil
}

// runeOffset converts a 1-based character position to a byte offset, past the end for one beyond it.
func runeOffset(s string, start int64) int {
	if start-1 > int64(utf8.RuneCountInString(s)) {
		return len(s) + 1
	}
	return len(s) - len(runeRange(s, int(start-1), len(s)+1))
}

// allMatches finds matches from a byte offset on, each as submatch indexes; limit 0 means all.
func allMatches(re *regexMatcher, s string, from, limit int) ([][]int, error) {
	var out [][]int
	if from > len(s) {
		return nil, nil
	}
	err := re.All(s, from, func(loc []int) bool {
		out = append(out, loc)
		return limit == 0 || len(out) < limit
	})
	return out, err
}

// matchArray is the result of regexp_match: the groups, or the whole match if there are none.
func matchArray(s string, m []int) types.Datum {
	if len(m) > 2 {
		m = m[2:]
	}
	out := make([]types.Datum, 0, len(m)/2)
	for i := 0; i < len(m); i += 2 {
		if m[i] < 0 {
			out = append(out, types.Null)
		} else {
			out = append(out, types.NewString(s[m[i]:m[i+1]]))
		}
	}
	return types.NewArrayOf(types.Text, out)
}

func badPosition(name string, v int64) error {
	return pgerr.New(pgerr.InvalidParameterValue, "invalid value for parameter \"%s\": %d", name, v)
}

func noGlobal(f regexFlags, fn string) error {
	if f.global {
		return pgerr.New(pgerr.InvalidParameterValue, "%s does not support the \"global\" option", fn)
	}
	return nil
}

func registerRegexp(l library) {
	prepare := func(a []types.Datum, flagArg int, fn string) (*regexMatcher, regexFlags, error) {
		var f regexFlags
		var err error
		if flagArg < len(a) {
			if f, err = parseRegexFlags(a[flagArg].Str()); err != nil {
				return nil, f, err
			}
		}
		if fn != "" {
			if err := noGlobal(f, fn); err != nil {
				return nil, f, err
			}
		}
		re, err := compileRegex(a[1].Str(), f)
		return re, f, err
	}
	match := func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		var f regexFlags
		var err error
		if len(a) > 2 {
			if f, err = parseRegexFlags(a[2].Str()); err != nil {
				return types.Null, err
			}
			if f.global {
				return types.Null, pgerr.New(pgerr.InvalidParameterValue, "regexp_match() does not support the \"global\" option").
					WithHint("Use the regexp_matches function instead.")
			}
		}
		re, err := compileRegex(a[1].Str(), f)
		if err != nil {
			return types.Null, err
		}
		m, err := re.Find(a[0].Str(), 0)
		if m == nil || err != nil {
			return types.Null, err
		}
		return matchArray(a[0].Str(), m), nil
	}
	l.fn("regexp_match", match)
	l.fn("regexp_match_no_flags", match)
	matches := func(_ *Ctx, a []types.Datum) (RowIter, error) {
		re, f, err := prepare(a, 2, "")
		if err != nil {
			return nil, err
		}
		limit := 1
		if f.global {
			limit = 0
		}
		var out []types.Datum
		ms, err := allMatches(re, a[0].Str(), 0, limit)
		if err != nil {
			return nil, err
		}
		for _, m := range ms {
			out = append(out, matchArray(a[0].Str(), m))
		}
		return columnList(out), nil
	}
	l.rows("regexp_matches", matches)
	l.rows("regexp_matches_no_flags", matches)
	like := func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		re, _, err := prepare(a, 2, "regexp_like()")
		if err != nil {
			return types.Null, err
		}
		ok, err := re.MatchString(a[0].Str())
		return types.NewBool(ok), err
	}
	l.fn("regexp_like", like)
	l.fn("regexp_like_no_flags", like)
	count := func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		start := int64(1)
		if len(a) > 2 {
			if start = a[2].Int(); start <= 0 {
				return types.Null, badPosition("start", start)
			}
		}
		re, _, err := prepare(a, 3, "regexp_count()")
		if err != nil {
			return types.Null, err
		}
		ms, err := allMatches(re, a[0].Str(), runeOffset(a[0].Str(), start), 0)
		return types.NewInt(int64(len(ms))), err
	}
	l.fn("regexp_count", count)
	l.fn("regexp_count_no_start", count)
	l.fn("regexp_count_no_flags", count)
	instr := func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		p := [7]int64{2: 1, 3: 1}
		names := [7]string{2: "start", 3: "n", 4: "endoption", 6: "subexpr"}
		for _, i := range []int{2, 3, 4, 6} {
			if i < len(a) {
				p[i] = a[i].Int()
			}
		}
		switch {
		case p[2] <= 0:
			return types.Null, badPosition(names[2], p[2])
		case p[3] <= 0:
			return types.Null, badPosition(names[3], p[3])
		case p[4] != 0 && p[4] != 1:
			return types.Null, badPosition(names[4], p[4])
		case p[6] < 0:
			return types.Null, badPosition(names[6], p[6])
		}
		re, _, err := prepare(a, 5, "regexp_instr()")
		if err != nil {
			return types.Null, err
		}
		s := a[0].Str()
		ms, err := allMatches(re, s, runeOffset(s, p[2]), int(min(p[3], 1<<30)))
		if err != nil {
			return types.Null, err
		}
		at := 2*int(min(p[6], 1000)) + int(p[4])
		if int64(len(ms)) < p[3] || at >= len(ms[p[3]-1]) || ms[p[3]-1][at] < 0 {
			return types.NewInt(0), nil
		}
		return types.NewInt(int64(utf8.RuneCountInString(s[:ms[p[3]-1][at]]) + 1)), nil
	}
	for _, n := range []string{"", "_no_start", "_no_n", "_no_endoption", "_no_flags", "_no_subexpr"} {
		l.fn("regexp_instr"+n, instr)
	}
	substr := func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		start, n, sub := int64(1), int64(1), int64(0)
		if len(a) > 2 {
			start = a[2].Int()
		}
		if len(a) > 3 {
			n = a[3].Int()
		}
		if len(a) > 5 {
			sub = a[5].Int()
		}
		switch {
		case start <= 0:
			return types.Null, badPosition("start", start)
		case n <= 0:
			return types.Null, badPosition("n", n)
		case sub < 0:
			return types.Null, badPosition("subexpr", sub)
		}
		re, _, err := prepare(a, 4, "regexp_substr()")
		if err != nil {
			return types.Null, err
		}
		s := a[0].Str()
		ms, err := allMatches(re, s, runeOffset(s, start), int(min(n, 1<<30)))
		if err != nil {
			return types.Null, err
		}
		if int64(len(ms)) < n || 2*sub >= int64(len(ms[n-1])) || ms[n-1][2*sub] < 0 {
			return types.Null, nil
		}
		return types.NewString(s[ms[n-1][2*sub]:ms[n-1][2*sub+1]]), nil
	}
	for _, n := range []string{"", "_no_start", "_no_n", "_no_flags", "_no_subexpr"} {
		l.fn("regexp_substr"+n, substr)
	}
	replace := func(s, pattern, with string, f regexFlags, start int64, n int64) (types.Datum, error) {
		re, err := compileRegex(pattern, f)
		if err != nil {
			return types.Null, err
		}
		limit := int(n)
		ms, err := allMatches(re, s, runeOffset(s, start), limit)
		if err != nil {
			return types.Null, err
		}
		if n > 0 {
			if int64(len(ms)) < n {
				return types.NewString(s), nil
			}
			ms = ms[n-1 : n]
		}
		var b strings.Builder
		at := 0
		for _, m := range ms {
			b.WriteString(s[at:m[0]])
			appendReplacement(&b, with, s, m)
			at = m[1]
			if b.Len() > maxString {
				return types.Null, errTooLong()
			}
		}
		b.WriteString(s[at:])
		return types.NewString(b.String()), nil
	}
	l.fn("textregexreplace_noopt", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return replace(a[0].Str(), a[1].Str(), a[2].Str(), regexFlags{}, 1, 1)
	})
	l.fn("textregexreplace", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		opt := a[3].Str()
		if opt != "" && opt[0] >= '0' && opt[0] <= '9' {
			_, err := parseRegexFlags(opt)
			return types.Null, err.(*pgerr.Error).WithHint("If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly.")
		}
		f, err := parseRegexFlags(opt)
		if err != nil {
			return types.Null, err
		}
		n := int64(1)
		if f.global {
			n = 0
		}
		return replace(a[0].Str(), a[1].Str(), a[2].Str(), f, 1, n)
	})
	extended := func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		start, n := a[3].Int(), int64(1)
		if len(a) > 4 {
			n = a[4].Int()
		}
		if start <= 0 {
			return types.Null, badPosition("start", start)
		}
		if n < 0 {
			return types.Null, badPosition("n", n)
		}
		var f regexFlags
		if len(a) > 5 {
			var err error
			if f, err = parseRegexFlags(a[5].Str()); err != nil {
				return types.Null, err
			}
		}
		return replace(a[0].Str(), a[1].Str(), a[2].Str(), f, start, n)
	}
	l.fn("textregexreplace_extended", extended)
	l.fn("textregexreplace_extended_no_flags", extended)
	l.fn("textregexreplace_extended_no_n", extended)
	pieces := func(a []types.Datum, fn string) ([]types.Datum, error) {
		re, _, err := prepare(a, 2, fn)
		if err != nil {
			return nil, err
		}
		s := a[0].Str()
		var out []types.Datum
		at := 0
		ms, err := allMatches(re, s, 0, 0)
		if err != nil {
			return nil, err
		}
		before := 0
		for _, m := range ms {
			// An empty match at the ends or right behind another splits nothing off.
			degenerate := m[0] >= len(s) || m[1] <= before
			before = m[1]
			if degenerate {
				continue
			}
			out = append(out, types.NewString(s[at:m[0]]))
			at = m[1]
		}
		return append(out, types.NewString(s[at:])), nil
	}
	for _, n := range []string{"", "_no_flags"} {
		l.fn("regexp_split_to_array"+n, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			p, err := pieces(a, "regexp_split_to_array()")
			if err != nil {
				return types.Null, err
			}
			return types.NewArrayOf(types.Text, p), nil
		})
		l.rows("regexp_split_to_table"+n, func(_ *Ctx, a []types.Datum) (RowIter, error) {
			p, err := pieces(a, "regexp_split_to_table()")
			if err != nil {
				return nil, err
			}
			return columnList(p), nil
		})
	}
}

// appendReplacement expands \1 to \9, \& and \\ in a replacement.
func appendReplacement(b *strings.Builder, with, s string, m []int) {
	for i := 0; i < len(with); i++ {
		c := with[i]
		if c != '\\' || i+1 >= len(with) {
			b.WriteByte(c)
			continue
		}
		i++
		g := -1
		switch d := with[i]; {
		case d >= '1' && d <= '9':
			g = int(d - '0')
		case d == '&':
			g = 0
		case d == '\\':
			b.WriteByte('\\')
			continue
		default:
			b.WriteByte('\\')
			b.WriteByte(d)
			continue
		}
		if 2*g < len(m) && m[2*g] >= 0 {
			b.WriteString(s[m[2*g]:m[2*g+1]])
		}
	}
}

// registerSplit adds string_to_array and its relatives, which take NULL for separator and null string.
func registerSplit(l library) {
	split := func(a []types.Datum) ([]types.Datum, bool) {
		if a[0].IsNull() {
			return nil, false
		}
		s := a[0].Str()
		if s == "" {
			return nil, true
		}
		var parts []string
		switch {
		case a[1].IsNull():
			for _, r := range s {
				parts = append(parts, string(r))
			}
		case a[1].Str() == "":
			parts = []string{s}
		default:
			parts = strings.Split(s, a[1].Str())
		}
		out := make([]types.Datum, len(parts))
		for i, p := range parts {
			if len(a) > 2 && !a[2].IsNull() && p == a[2].Str() {
				continue
			}
			out[i] = types.NewString(p)
		}
		return out, true
	}
	toArray := func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		p, ok := split(a)
		if !ok {
			return types.Null, nil
		}
		return types.NewArrayOf(types.Text, p), nil
	}
	toTable := func(_ *Ctx, a []types.Datum) (RowIter, error) {
		p, _ := split(a)
		return columnList(p), nil
	}
	for _, n := range []string{"", "_null"} {
		l.fn("text_to_array"+n, toArray)
		l.rows("text_to_table"+n, toTable)
	}
}

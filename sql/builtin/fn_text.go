package builtin

import (
	"crypto/md5"
	"encoding/hex"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// maxString is the largest string a function may build.
const maxString = 1<<30 - 5

func errTooLong() error {
	return pgerr.New(pgerr.ProgramLimitExceeded, "requested length too large")
}

func text1(f func(s string) string) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewString(f(a[0].Str())), nil }
}

func textInt(f func(s string) int) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewInt(int64(f(a[0].Str()))), nil }
}

func str(s string, err error) (types.Datum, error) {
	if err != nil {
		return types.Null, err
	}
	return types.NewString(s), nil
}

func trimChars(left, right bool) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		s, set := a[0].Str(), " "
		if len(a) > 1 {
			set = a[1].Str()
		}
		if left {
			s = trimLeftSet(s, set)
		}
		if right {
			s = trimRightSet(s, set)
		}
		return types.NewString(s), nil
	}
}

func trimLeftSet(s, set string) string  { return strings.TrimLeftFunc(s, inSet(set)) }
func trimRightSet(s, set string) string { return strings.TrimRightFunc(s, inSet(set)) }

func inSet(set string) func(rune) bool {
	return func(r rune) bool { return strings.ContainsRune(set, r) }
}

// runeRange returns characters [from, to) of s.
func runeRange(s string, from, to int) string {
	if from >= to {
		return ""
	}
	start, n := len(s), 0
	for i := range s {
		if n == from {
			start = i
		}
		if n == to {
			return s[start:i]
		}
		n++
	}
	return s[start:]
}

func substring(s string, from int64, n int64, hasLen bool) (string, error) {
	to := int64(math.MaxInt64)
	if hasLen {
		if n < 0 {
			return "", pgerr.New(pgerr.SubstringError, "negative substring length not allowed")
		}
		to = from + n
	}
	from = max(from, 1)
	if to <= from {
		return "", nil
	}
	return runeRange(s, int(from-1), int(min(to-1, math.MaxInt32))), nil
}

func registerText(l library) {
	l.fn("textlen", textInt(utf8.RuneCountInString))
	l.fn("bpcharlen", textInt(func(s string) int { return utf8.RuneCountInString(strings.TrimRight(s, " ")) }))
	l.fn("textoctetlen", textInt(func(s string) int { return len(s) }))
	l.fn("bpcharoctetlen", textInt(func(s string) int { return len(s) }))
	l.fn("bit_length(text)", textInt(func(s string) int { return 8 * len(s) }))
	l.fn("bit_length(bytea)", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewInt(int64(8 * len(a[0].Bytes()))), nil
	})
	l.fn("lower", text1(strings.ToLower))
	l.fn("upper", text1(strings.ToUpper))
	l.fn("initcap", text1(initcap))
	l.fn("textcat", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return concatStrings(a[0].Str(), a[1].Str()) })
	l.bound("textanycat(text anynonarray)", func(c *Call) (EvalFunc, error) {
		t := c.Args[1]
		return func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			return concatStrings(a[0].Str(), ctx.castText(a[1], t))
		}, nil
	})
	l.bound("anytextcat(anynonarray text)", func(c *Call) (EvalFunc, error) {
		t := c.Args[0]
		return func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			return concatStrings(ctx.castText(a[0], t), a[1].Str())
		}, nil
	})
	l.bound("text_concat", concatArgs(false))
	l.fn("text_regclass", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		return types.ParseText(a[0].Str(), types.Regclass, c.settings())
	})
	l.bound("text_concat_ws", concatArgs(true))
	l.fn("btrim", trimChars(true, true))
	l.fn("btrim1", trimChars(true, true))
	l.fn("ltrim", trimChars(true, false))
	l.fn("ltrim1", trimChars(true, false))
	l.fn("rtrim", trimChars(false, true))
	l.fn("rtrim1", trimChars(false, true))
	l.fn("text_substr", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return str(substring(a[0].Str(), a[1].Int(), a[2].Int(), true))
	})
	l.fn("text_substr_no_len", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return str(substring(a[0].Str(), a[1].Int(), 0, false))
	})
	l.fn("text_left", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		s, n := a[0].Str(), int(a[1].Int())
		if n < 0 {
			n += utf8.RuneCountInString(s)
		}
		return types.NewString(runeRange(s, 0, n)), nil
	})
	l.fn("text_right", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		s, n := a[0].Str(), int(a[1].Int())
		c := utf8.RuneCountInString(s)
		if n == math.MinInt32 {
			return a[0], nil // its negation overflows, and PostgreSQL keeps the string
		}
		from := c - n
		if n < 0 {
			from = -n
		}
		return types.NewString(runeRange(s, max(from, 0), math.MaxInt)), nil
	})
	position := func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		i := strings.Index(a[0].Str(), a[1].Str())
		if i < 0 {
			return types.NewInt(0), nil
		}
		return types.NewInt(int64(utf8.RuneCountInString(a[0].Str()[:i]) + 1)), nil
	}
	l.fn("textpos", position)
	l.fn("lpad", pad(true))
	l.fn("rpad", pad(false))
	l.fn("lpad(text int4)", pad(true))
	l.fn("rpad(text int4)", pad(false))
	l.fn("text_reverse", text1(func(s string) string {
		r := []rune(s)
		for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
			r[i], r[j] = r[j], r[i]
		}
		return string(r)
	}))
	l.fn("repeat", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		s, n := a[0].Str(), max(a[1].Int(), 0)
		if int64(len(s))*n > maxString {
			return types.Null, errTooLong()
		}
		return types.NewString(strings.Repeat(s, int(n))), nil
	})
	l.fn("replace_text", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[1].Str() == "" {
			return a[0], nil
		}
		s, from, to := a[0].Str(), a[1].Str(), a[2].Str()
		if grow := len(to) - len(from); grow > 0 && len(s)+strings.Count(s, from)*grow > maxString {
			return types.Null, errTooLong()
		}
		return types.NewString(strings.ReplaceAll(s, from, to)), nil
	})
	l.fn("translate", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		from, to := []rune(a[1].Str()), []rune(a[2].Str())
		return types.NewString(strings.Map(func(r rune) rune {
			for i, f := range from {
				if f == r {
					if i < len(to) {
						return to[i]
					}
					return -1
				}
			}
			return r
		}, a[0].Str())), nil
	})
	l.fn("split_part", splitPart)
	l.fn("starts_with(text text)", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewBool(strings.HasPrefix(a[0].Str(), a[1].Str())), nil
	})
	l.fn("text_starts_with", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewBool(strings.HasPrefix(a[0].Str(), a[1].Str())), nil
	})
	l.fn("textoverlay", overlay(true))
	l.fn("textoverlay_no_len", overlay(false))
	l.fn("ascii", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		r, n := utf8.DecodeRuneInString(a[0].Str())
		if n == 0 {
			r = 0
		}
		return types.NewInt(int64(r)), nil
	})
	l.fn("chr", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		v := a[0].Int()
		switch {
		case v < 0:
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "character number must be positive")
		case v == 0:
			return types.Null, pgerr.New(pgerr.ProgramLimitExceeded, "null character not permitted")
		case v > 0x10ffff:
			return types.Null, pgerr.New(pgerr.ProgramLimitExceeded, "requested character too large for encoding: %d", v)
		case v >= 0xd800 && v < 0xe000:
			return types.Null, pgerr.New(pgerr.ProgramLimitExceeded, "requested character not valid for encoding: %d", v)
		}
		return types.NewString(string(rune(v))), nil
	})
	l.fn("md5_text", text1(func(s string) string { m := md5.Sum([]byte(s)); return hex.EncodeToString(m[:]) }))
	l.fn("md5_bytea", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		m := md5.Sum(a[0].Bytes())
		return types.NewString(hex.EncodeToString(m[:])), nil
	})
	l.fn("quote_ident", text1(QuoteIdent))
	l.fn("quote_literal", text1(QuoteLiteral))
	l.bound("quote_literal(anyelement)", func(c *Call) (EvalFunc, error) {
		t := c.Args[0]
		return func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			return types.NewString(QuoteLiteral(ctx.castText(a[0], t))), nil
		}, nil
	})
	l.fn("quote_nullable", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[0].IsNull() {
			return types.NewString("NULL"), nil
		}
		return types.NewString(QuoteLiteral(a[0].Str())), nil
	})
	l.bound("quote_nullable(anyelement)", func(c *Call) (EvalFunc, error) {
		t := c.Args[0]
		return func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			if a[0].IsNull() {
				return types.NewString("NULL"), nil
			}
			return types.NewString(QuoteLiteral(ctx.castText(a[0], t))), nil
		}, nil
	})
	l.fn("unicode_normalize_func", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		f, err := normForm(a[1].Str())
		if err != nil {
			return types.Null, err
		}
		return types.NewString(f.String(a[0].Str())), nil
	})
	l.fn("unicode_is_normalized", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		f, err := normForm(a[1].Str())
		if err != nil {
			return types.Null, err
		}
		return types.NewBool(f.IsNormalString(a[0].Str())), nil
	})
	l.bound("text_format", formatFunc)
	l.bound("text_format_nv", formatFunc)
	l.fn("unistr", unistr)
	// The string types convert among themselves without change, but for what the target's length does.
	l.fn("text_name", text1(func(s string) string { return clipName(s) }))
	l.fn("bpchar_name", text1(func(s string) string { return clipName(strings.TrimRight(s, " ")) }))
	l.fn("name_text", text1(func(s string) string { return s }))
	l.fn("name_bpchar", text1(func(s string) string { return s }))
	l.fn("char_text", text1(func(s string) string { return s }))
	l.fn("char_bpchar", text1(func(s string) string { return s }))
	l.fn("text_char", text1(func(s string) string {
		if s == "" {
			return ""
		}
		return s[:1]
	}))
	l.bound("varchar", lengthCoercion(types.Varchar))
	l.bound("bpchar", lengthCoercion(types.BPChar))
	l.fn("booltext", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[0].Bool() {
			return types.NewString("true"), nil
		}
		return types.NewString("false"), nil
	})
	l.fn("pg_char_to_encoding(name)", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if strings.EqualFold(strings.ReplaceAll(a[0].Str(), "-", ""), "utf8") {
			return types.NewInt(6), nil
		}
		return types.NewInt(-1), nil
	})
	l.fn("PG_encoding_to_char", encodingName)
	l.fn("PG_char_to_encoding", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if strings.EqualFold(strings.ReplaceAll(a[0].Str(), "-", ""), "utf8") {
			return types.NewInt(6), nil
		}
		return types.NewInt(-1), nil
	})
}

func encodingName(_ *Ctx, a []types.Datum) (types.Datum, error) {
	names := []string{"SQL_ASCII", "EUC_JP", "EUC_CN", "EUC_KR", "EUC_TW", "EUC_JIS_2004", "UTF8", "MULE_INTERNAL", "LATIN1", "LATIN2"}
	if i := a[0].Int(); i >= 0 && int(i) < len(names) {
		return types.NewString(names[i]), nil
	}
	return types.NewString(""), nil
}

func clipName(s string) string {
	d, _ := types.ParseText(s, types.Name, nil)
	return d.Str()
}

// lengthCoercion is varchar(v, typmod, explicit) and its like.
func lengthCoercion(t *types.T) func(*Call) (EvalFunc, error) {
	return func(*Call) (EvalFunc, error) {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			return types.CoerceTypmod(a[0], t.WithTypmod(int32(a[1].Int())), a[2].Bool())
		}, nil
	}
}

func concatStrings(a, b string) (types.Datum, error) {
	if len(a)+len(b) > maxString {
		return types.Null, errTooLong()
	}
	return types.NewString(a + b), nil
}

func initcap(s string) string {
	inWord := false
	return strings.Map(func(r rune) rune {
		if inWord {
			r2 := unicode.ToLower(r)
			inWord = unicode.IsLetter(r) || unicode.IsDigit(r)
			return r2
		}
		inWord = unicode.IsLetter(r) || unicode.IsDigit(r)
		return unicode.ToUpper(r)
	}, s)
}

func normForm(name string) (norm.Form, error) {
	switch strings.ToUpper(name) {
	case "NFC":
		return norm.NFC, nil
	case "NFD":
		return norm.NFD, nil
	case "NFKC":
		return norm.NFKC, nil
	case "NFKD":
		return norm.NFKD, nil
	}
	return 0, pgerr.New(pgerr.InvalidParameterValue, "invalid normalization form: %s", name)
}

// concatArgs is concat and concat_ws: NULLs are left out, an explicit VARIADIC array is expanded.
func concatArgs(ws bool) func(c *Call) (EvalFunc, error) {
	return func(c *Call) (EvalFunc, error) {
		ts := c.Args
		return func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			sep, first := "", 0
			if ws {
				if a[0].IsNull() {
					return types.Null, nil
				}
				sep, first = a[0].Str(), 1
			}
			vals, vts := ctx.variadic(a, ts, first, c.VariadicCall)
			if vals == nil && c.VariadicCall {
				return types.Null, nil
			}
			var b strings.Builder
			n := 0
			for i, v := range vals {
				if v.IsNull() {
					continue
				}
				if n > 0 {
					b.WriteString(sep)
				}
				b.WriteString(ctx.outText(v, vts[i]))
				n++
			}
			return types.NewString(b.String()), nil
		}, nil
	}
}

// variadic returns the arguments from first on; for a call with VARIADIC the elements of the last one, nil
// if that is NULL.
func (c *Ctx) variadic(a []types.Datum, ts []*types.T, first int, explicit bool) ([]types.Datum, []*types.T) {
	if !explicit {
		return a[first:], ts[first:]
	}
	last := a[len(a)-1]
	if last.IsNull() {
		return nil, nil
	}
	if last.Kind() != types.KindArray {
		return a[first:], ts[first:]
	}
	elems := last.Array().Elems
	out := append(append(make([]types.Datum, 0, len(elems)+1), a[first:len(a)-1]...), elems...)
	vts := append(make([]*types.T, 0, len(out)), ts[first:len(a)-1]...)
	for range elems {
		vts = append(vts, last.Array().Elem)
	}
	return out, vts
}

// outText is a value's text output; castText is its cast to text, which differs for booleans and bpchar.
func (c *Ctx) outText(d types.Datum, t *types.T) string {
	if d.Kind() == types.KindString {
		return d.Str()
	}
	return string(types.AppendText(nil, d, t, c.Settings))
}

func (c *Ctx) castText(d types.Datum, t *types.T) string {
	switch {
	case d.Kind() == types.KindBool && d.Bool():
		return "true"
	case d.Kind() == types.KindBool:
		return "false"
	case t.OID == types.OIDBPChar:
		return strings.TrimRight(d.Str(), " ")
	}
	return c.outText(d, t)
}

func pad(left bool) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		s, n := a[0].Str(), int(max(a[1].Int(), 0))
		fill := " "
		if len(a) > 2 {
			fill = a[2].Str()
		}
		c := utf8.RuneCountInString(s)
		if c >= n || fill == "" {
			return types.NewString(runeRange(s, 0, n)), nil
		}
		if int64(n)*4 > maxString {
			return types.Null, errTooLong()
		}
		need, fc := n-c, utf8.RuneCountInString(fill)
		p := strings.Repeat(fill, need/fc) + runeRange(fill, 0, need%fc)
		if left {
			return types.NewString(p + s), nil
		}
		return types.NewString(s + p), nil
	}
}

func splitPart(_ *Ctx, a []types.Datum) (types.Datum, error) {
	s, sep, n := a[0].Str(), a[1].Str(), int(a[2].Int())
	if n == 0 {
		return types.Null, pgerr.New(pgerr.InvalidParameterValue, "field position must not be zero")
	}
	if s == "" {
		return types.NewString(""), nil
	}
	parts := []string{s}
	if sep != "" {
		parts = strings.Split(s, sep)
	}
	if n < 0 {
		n += len(parts) + 1
	}
	if n < 1 || n > len(parts) {
		return types.NewString(""), nil
	}
	return types.NewString(parts[n-1]), nil
}

func overlay(hasLen bool) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		s, with, from := a[0].Str(), a[1].Str(), a[2].Int()
		n := int64(utf8.RuneCountInString(with))
		if hasLen {
			n = a[3].Int()
		}
		if from <= 0 {
			return types.Null, pgerr.New(pgerr.SubstringError, "negative substring length not allowed")
		}
		if from+n > math.MaxInt32 {
			return types.Null, errOutOfRange(types.Int4)
		}
		before, err := substring(s, 1, from-1, true)
		if err != nil {
			return types.Null, err
		}
		after, err := substring(s, from+n, 0, false)
		if err != nil {
			return types.Null, err
		}
		return types.NewString(before + with + after), nil
	}
}

// QuoteLiteral quotes a string constant as quote_literal does.
func QuoteLiteral(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		q = "E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}

// QuoteIdent quotes an identifier unless it is a plain lower-case one that is no keyword that needs it.
func QuoteIdent(s string) string {
	if q := types.QuoteIdent(s); q != s || !reservedWords[s] {
		return q
	}
	return `"` + s + `"`
}

// formatFunc is format().
func formatFunc(c *Call) (EvalFunc, error) {
	ts := c.Args
	return func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
		if a[0].IsNull() {
			return types.Null, nil
		}
		vals, vts := ctx.variadic(a, ts, 1, c.VariadicCall)
		return formatString(ctx, a[0].Str(), vals, vts)
	}, nil
}

func formatString(ctx *Ctx, f string, vals []types.Datum, ts []*types.T) (types.Datum, error) {
	bad := func(format string, args ...any) (types.Datum, error) {
		return types.Null, pgerr.New(pgerr.InvalidParameterValue, format, args...)
	}
	hint := "For a single \"%\" use \"%%\"."
	unended := func() (types.Datum, error) {
		return types.Null, pgerr.New(pgerr.InvalidParameterValue, "unterminated format() type specifier").WithHint("%s", hint)
	}
	var b strings.Builder
	next := 0
	arg := func(pos int) (types.Datum, *types.T, error) {
		if pos == 0 {
			next++
			pos = next
		} else {
			next = pos
		}
		if pos > len(vals) {
			return types.Null, nil, pgerr.New(pgerr.InvalidParameterValue, "too few arguments for format()")
		}
		return vals[pos-1], ts[pos-1], nil
	}
	for i := 0; i < len(f); i++ {
		if f[i] != '%' {
			b.WriteByte(f[i])
			continue
		}
		i++
		num := func() (int, bool, error) {
			start, n := i, 0
			for i < len(f) && f[i] >= '0' && f[i] <= '9' {
				n = n*10 + int(f[i]-'0')
				if n > math.MaxInt32 {
					return 0, false, pgerr.New(pgerr.NumericValueOutOfRange, "number is out of range")
				}
				i++
			}
			return n, i > start, nil
		}
		end := func() bool { return i >= len(f) }
		if end() {
			return unended()
		}
		if f[i] == '%' {
			b.WriteByte('%')
			continue
		}
		pos, width, left, haveWidth := 0, 0, false, false
		n, ok, err := num()
		if err != nil {
			return types.Null, err
		}
		if ok {
			if end() {
				return unended()
			}
			if f[i] == '$' {
				if n == 0 {
					return bad("format specifies argument 0, but arguments are numbered from 1")
				}
				pos = n
				i++
			} else {
				width, haveWidth = n, true
			}
		}
		if !haveWidth {
			for !end() && f[i] == '-' {
				left = true
				i++
			}
			if !end() && f[i] == '*' {
				i++
				n, ok, err := num()
				if err != nil {
					return types.Null, err
				}
				if ok {
					if end() || f[i] != '$' {
						return bad("width argument position must be ended by \"$\"")
					}
					if n == 0 {
						return bad("format specifies argument 0, but arguments are numbered from 1")
					}
					i++
				}
				w, wt, err := arg(n)
				if err != nil {
					return types.Null, err
				}
				if !w.IsNull() {
					d, err := types.ParseText(ctx.outText(w, wt), types.Int4, nil)
					if err != nil {
						return types.Null, err
					}
					width = int(d.Int())
				}
				if width < 0 {
					left, width = true, -width
				}
			} else if width, _, err = num(); err != nil {
				return types.Null, err
			}
		}
		if end() {
			return unended()
		}
		kind := f[i]
		if kind != 's' && kind != 'I' && kind != 'L' {
			_, w := utf8.DecodeRuneInString(f[i:])
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "unrecognized format() type specifier \"%s\"", f[i:i+w]).WithHint("%s", hint)
		}
		v, t, err := arg(pos)
		if err != nil {
			return types.Null, err
		}
		out := ""
		switch {
		case v.IsNull() && kind == 'I':
			return types.Null, pgerr.New(pgerr.NullValueNotAllowed, "null values cannot be formatted as an SQL identifier")
		case v.IsNull() && kind == 'L':
			out = "NULL"
		case v.IsNull():
		case kind == 'I':
			out = QuoteIdent(ctx.outText(v, t))
		case kind == 'L':
			out = QuoteLiteral(ctx.outText(v, t))
		default:
			out = ctx.outText(v, t)
		}
		if width > maxString/4 {
			return types.Null, errTooLong()
		}
		fill := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(out)))
		if left {
			b.WriteString(out + fill)
		} else {
			b.WriteString(fill + out)
		}
	}
	return types.NewString(b.String()), nil
}

func unistr(_ *Ctx, a []types.Datum) (types.Datum, error) {
	s := a[0].Str()
	var b strings.Builder
	var high rune
	bad := func() (types.Datum, error) {
		return types.Null, pgerr.New(pgerr.SyntaxError, "invalid Unicode escape").WithHint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
	}
	pair := func() error { return pgerr.New(pgerr.SyntaxError, "invalid Unicode surrogate pair") }
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			if high != 0 {
				return types.Null, pair()
			}
			b.WriteByte(s[i])
			i++
			continue
		}
		if i+1 < len(s) && s[i+1] == '\\' {
			if high != 0 {
				return types.Null, pair()
			}
			b.WriteByte('\\')
			i += 2
			continue
		}
		rest := s[i+1:]
		n, skip := 4, 0
		switch {
		case strings.HasPrefix(rest, "+"):
			n, skip = 6, 1
		case strings.HasPrefix(rest, "u"):
			skip = 1
		case strings.HasPrefix(rest, "U"):
			n, skip = 8, 1
		}
		if len(rest) < skip+n {
			return bad()
		}
		v := rune(0)
		for _, c := range []byte(rest[skip : skip+n]) {
			h, err := hex.DecodeString("0" + string(rune(c)))
			if err != nil {
				return bad()
			}
			v = v<<4 | rune(h[0])
		}
		if v < 0 || v > 0x10ffff {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "invalid Unicode code point: %04X", v)
		}
		i += 1 + skip + n
		switch {
		case v >= 0xd800 && v < 0xdc00:
			if high != 0 {
				return types.Null, pair()
			}
			high = v
		case v >= 0xdc00 && v < 0xe000:
			if high == 0 {
				return types.Null, pair()
			}
			b.WriteRune((high-0xd800)<<10 | (v - 0xdc00) + 0x10000)
			high = 0
		default:
			if high != 0 {
				return types.Null, pair()
			}
			b.WriteRune(v)
		}
	}
	if high != 0 {
		return types.Null, pair()
	}
	return types.NewString(b.String()), nil
}

package types

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// JSONKind is the kind of a JSON value.
type JSONKind uint8

const (
	JSONNull JSONKind = iota
	JSONBool
	JSONNumber
	JSONString
	JSONArray
	JSONObject
)

// JSON is a jsonb value: a parsed tree. Object keys are unique and sorted as jsonb sorts them, shorter
// keys first and keys of one length bytewise. A JSON is immutable and may share parts with others.
type JSON struct {
	Kind JSONKind
	Bool bool
	Num  *apd.Decimal
	Str  string
	Keys []string // of an object, beside Vals
	Vals []*JSON  // elements of an array, or values of an object
}

// Shared values without content.
var (
	JSONNullValue  = &JSON{Kind: JSONNull}
	JSONTrueValue  = &JSON{Kind: JSONBool, Bool: true}
	JSONFalseValue = &JSON{Kind: JSONBool}
)

// NewJSONBool, NewJSONNumber, NewJSONString, NewJSONArray and NewJSONObject build values. NewJSONObject
// takes over keys and vals, sorts them and keeps the last value of a repeated key.

func NewJSONBool(b bool) *JSON {
	if b {
		return JSONTrueValue
	}
	return JSONFalseValue
}
func NewJSONNumber(n *apd.Decimal) *JSON { return &JSON{Kind: JSONNumber, Num: n} }
func NewJSONString(s string) *JSON       { return &JSON{Kind: JSONString, Str: s} }
func NewJSONArray(vals []*JSON) *JSON    { return &JSON{Kind: JSONArray, Vals: vals} }

func NewJSONObject(keys []string, vals []*JSON) *JSON {
	order := make([]int, len(keys))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return CompareJSONKeys(keys[a], keys[b]) })
	j := &JSON{Kind: JSONObject}
	for n, i := range order {
		if n+1 < len(order) && keys[order[n+1]] == keys[i] {
			continue
		}
		j.Keys = append(j.Keys, keys[i])
		j.Vals = append(j.Vals, vals[i])
	}
	return j
}

// CompareJSONKeys is the storage order of object keys.
func CompareJSONKeys(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// Get returns the value of an object's key, nil if there is none.
func (j *JSON) Get(key string) *JSON {
	if j.Kind != JSONObject {
		return nil
	}
	if i, ok := slices.BinarySearchFunc(j.Keys, key, CompareJSONKeys); ok {
		return j.Vals[i]
	}
	return nil
}

// Index returns an array's element, counted from the end for a negative index, nil if there is none.
func (j *JSON) Index(i int) *JSON {
	if j.Kind != JSONArray {
		return nil
	}
	if i < 0 {
		i += len(j.Vals)
	}
	if i < 0 || i >= len(j.Vals) {
		return nil
	}
	return j.Vals[i]
}

// maxJSONDepth bounds nesting, so that hostile input cannot exhaust the stack.
const maxJSONDepth = 6400

type jsonParser struct {
	s     string
	i     int
	build bool // false: validate only
	// decode refuses escapes that text cannot hold. What only passes through json keeps them.
	decode bool
}

// ParseJSON parses jsonb input.
func ParseJSON(text string) (*JSON, error) {
	p := &jsonParser{s: text, build: true, decode: true}
	j, err := p.value(0)
	if err != nil {
		return nil, err
	}
	return j, p.end()
}

// ValidateJSON checks json input.
func ValidateJSON(text string) error { return validateJSON(&jsonParser{s: text}) }

// DecodableJSON checks that every string of a json value can be made text.
func DecodableJSON(text string) error { return validateJSON(&jsonParser{s: text, decode: true}) }

func validateJSON(p *jsonParser) error {
	if _, err := p.value(0); err != nil {
		return err
	}
	return p.end()
}

func (p *jsonParser) end() error {
	p.space()
	if p.i < len(p.s) {
		return p.unexpected("Expected end of input, but found \"%s\".")
	}
	return nil
}

func (p *jsonParser) space() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t' || p.s[p.i] == '\n' || p.s[p.i] == '\r') {
		p.i++
	}
}

func (p *jsonParser) fail(detail string) error {
	line := 1 + strings.Count(p.s[:min(p.i, len(p.s))], "\n")
	start := strings.LastIndexByte(p.s[:min(p.i, len(p.s))], '\n') + 1
	end := min(p.i, len(p.s))
	context, pre, post := p.s[start:end], "", ""
	if len(context) > 50 {
		context, pre = context[len(context)-50:], "..."
	}
	if end < len(p.s) && p.s[end] != '\n' && p.s[end] != '\r' {
		post = "..."
	}
	return pgerr.New(pgerr.InvalidTextRepresentation, "invalid input syntax for type json").WithDetail("%s", detail).
		WithWhere("JSON data, line " + strconv.Itoa(line) + ": " + pre + context + post)
}

// token returns the text of the token at the position, for messages, and moves past it.
func (p *jsonParser) token() string {
	start := p.i
	if p.i < len(p.s) {
		c := p.s[p.i]
		switch {
		case c == '"':
			p.i++
			for p.i < len(p.s) && p.s[p.i] != '"' {
				if p.s[p.i] == '\\' {
					p.i++
				}
				p.i++
			}
			p.i = min(p.i+1, len(p.s))
		case isAlnum(c) || c >= 0x80 || c == '_' || c == '-' || c == '+' || c == '.':
			for p.i < len(p.s) && (isAlnum(p.s[p.i]) || p.s[p.i] >= 0x80 || strings.IndexByte("_-+.", p.s[p.i]) >= 0) {
				p.i++
			}
		default:
			p.i++
		}
	}
	return p.s[start:p.i]
}

// unexpected reports the token at the position: as an invalid token if it is none, else in format.
func (p *jsonParser) unexpected(format string) error {
	if p.i >= len(p.s) {
		return p.fail("The input string ended unexpectedly.")
	}
	c := p.s[p.i]
	tok := p.token()
	valid := strings.IndexByte("{}[],:\"", c) >= 0 || tok == "true" || tok == "false" || tok == "null" || isJSONNumber(tok)
	if !valid {
		return p.fail("Token \"" + tok + "\" is invalid.")
	}
	return p.fail(strings.Replace(format, "%s", tok, 1))
}

func isJSONNumber(s string) bool {
	n := scanJSONNumber(s)
	return n > 0 && n == len(s)
}

// scanJSONNumber returns the length of the number s starts with, 0 if it does not.
func scanJSONNumber(s string) int {
	i := 0
	digits := func() bool {
		start := i
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		return i > start
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if !digits() {
		return 0
	}
	if i < len(s) && s[i] == '.' {
		i++
		if !digits() {
			return 0
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return 0
		}
	}
	return i
}

func (p *jsonParser) value(depth int) (*JSON, error) {
	if depth > maxJSONDepth {
		return nil, pgerr.New(pgerr.StatementTooComplex, "stack depth limit exceeded").
			WithHint("JSON values may be nested %d deep.", maxJSONDepth)
	}
	p.space()
	if p.i >= len(p.s) {
		return nil, p.fail("The input string ended unexpectedly.")
	}
	switch c := p.s[p.i]; {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		s, err := p.str()
		if err != nil || !p.build {
			return nil, err
		}
		return NewJSONString(s), nil
	case c == '-' || isDigit(c):
		n := scanJSONNumber(p.s[p.i:])
		rest := p.i + n
		if n == 0 || rest < len(p.s) && (isAlnum(p.s[rest]) || p.s[rest] == '_' || p.s[rest] >= 0x80 || p.s[rest] == '.') {
			tok := p.token()
			return nil, p.fail("Token \"" + tok + "\" is invalid.")
		}
		text := p.s[p.i:rest]
		p.i = rest
		if !p.build {
			return nil, nil
		}
		num, err := ParseNumeric(text)
		if err != nil {
			return nil, err
		}
		return NewJSONNumber(num), nil
	case isAlpha(c):
		save := p.i
		switch p.token() {
		case "true":
			return JSONTrueValue, nil
		case "false":
			return JSONFalseValue, nil
		case "null":
			return JSONNullValue, nil
		}
		p.i = save
	}
	return nil, p.unexpected("Expected JSON value, but found \"%s\".")
}

func (p *jsonParser) object(depth int) (*JSON, error) {
	p.i++
	var keys []string
	var vals []*JSON
	p.space()
	if p.i < len(p.s) && p.s[p.i] == '}' {
		p.i++
		return &JSON{Kind: JSONObject}, nil
	}
	for {
		p.space()
		if p.i >= len(p.s) || p.s[p.i] != '"' {
			if len(keys) == 0 && vals == nil {
				return nil, p.unexpected("Expected string or \"}\", but found \"%s\".")
			}
			return nil, p.unexpected("Expected string, but found \"%s\".")
		}
		k, err := p.str()
		if err != nil {
			return nil, err
		}
		p.space()
		if p.i >= len(p.s) || p.s[p.i] != ':' {
			return nil, p.unexpected("Expected \":\", but found \"%s\".")
		}
		p.i++
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		keys, vals = append(keys, k), append(vals, v)
		p.space()
		if p.i < len(p.s) && p.s[p.i] == ',' {
			p.i++
			continue
		}
		if p.i < len(p.s) && p.s[p.i] == '}' {
			p.i++
			if !p.build {
				return nil, nil
			}
			return NewJSONObject(keys, vals), nil
		}
		return nil, p.unexpected("Expected \",\" or \"}\", but found \"%s\".")
	}
}

func (p *jsonParser) array(depth int) (*JSON, error) {
	p.i++
	var vals []*JSON
	p.space()
	if p.i < len(p.s) && p.s[p.i] == ']' {
		p.i++
		return &JSON{Kind: JSONArray}, nil
	}
	for {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		vals = append(vals, v)
		p.space()
		if p.i < len(p.s) && p.s[p.i] == ',' {
			p.i++
			continue
		}
		if p.i < len(p.s) && p.s[p.i] == ']' {
			p.i++
			return NewJSONArray(vals), nil
		}
		return nil, p.unexpected("Expected \",\" or \"]\", but found \"%s\".")
	}
}

// str reads a string. Unless it decodes, \u0000 and lone surrogates pass, as they do in json.
func (p *jsonParser) str() (string, error) {
	p.i++
	start := p.i
	for p.i < len(p.s) && p.s[p.i] != '"' && p.s[p.i] != '\\' && p.s[p.i] >= 0x20 {
		p.i++
	}
	if p.i < len(p.s) && p.s[p.i] == '"' {
		p.i++
		return p.s[start : p.i-1], nil
	}
	b := []byte(p.s[start:p.i])
	high := rune(-1)
	for p.i < len(p.s) {
		c := p.s[p.i]
		switch {
		case c == '"':
			if high >= 0 {
				return "", p.fail("Unicode low surrogate must follow a high surrogate.")
			}
			p.i++
			return string(b), nil
		case c < 0x20:
			p.i++
			return "", pgerr.New(pgerr.InvalidTextRepresentation, "invalid input syntax for type json").
				WithDetail("Character with value 0x%02x must be escaped.", c)
		case c != '\\':
			if high >= 0 {
				return "", p.fail("Unicode low surrogate must follow a high surrogate.")
			}
			b = append(b, c)
			p.i++
			continue
		}
		if p.i+1 >= len(p.s) {
			break
		}
		c = p.s[p.i+1]
		p.i += 2
		if c != 'u' && high >= 0 {
			return "", p.fail("Unicode low surrogate must follow a high surrogate.")
		}
		switch c {
		case '"', '\\', '/':
			b = append(b, c)
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			if p.i+4 > len(p.s) {
				p.i = len(p.s)
				return "", p.fail("\"\\u\" must be followed by four hexadecimal digits.")
			}
			v, err := strconv.ParseUint(p.s[p.i:p.i+4], 16, 16)
			if err != nil {
				return "", p.fail("\"\\u\" must be followed by four hexadecimal digits.")
			}
			p.i += 4
			r := rune(v)
			switch {
			case !p.decode:
			case r >= 0xD800 && r < 0xDC00:
				if high >= 0 {
					return "", p.fail("Unicode high surrogate must not follow a high surrogate.")
				}
				high = r
			case r >= 0xDC00 && r < 0xE000:
				if high < 0 {
					return "", p.fail("Unicode low surrogate must follow a high surrogate.")
				}
				b = utf8.AppendRune(b, (high-0xD800)<<10|(r-0xDC00)+0x10000)
				high = -1
			case high >= 0:
				return "", p.fail("Unicode low surrogate must follow a high surrogate.")
			case r == 0:
				return "", pgerr.New(pgerr.UntranslatableCharacter, "unsupported Unicode escape sequence").
					WithDetail("\\u0000 cannot be converted to text.")
			default:
				b = utf8.AppendRune(b, r)
			}
		default:
			_, n := utf8.DecodeRuneInString(p.s[p.i-1:])
			return "", p.fail("Escape sequence \"\\" + p.s[p.i-1:p.i-1+n] + "\" is invalid.")
		}
	}
	p.i = len(p.s)
	return "", p.fail("Token \"" + p.s[start-1:] + "\" is invalid.")
}

// AppendJSON prints a value as jsonb_out does.
func AppendJSON(buf []byte, j *JSON) []byte {
	switch j.Kind {
	case JSONNull:
		return append(buf, "null"...)
	case JSONBool:
		return strconv.AppendBool(buf, j.Bool)
	case JSONNumber:
		return AppendNumeric(buf, j.Num)
	case JSONString:
		return AppendJSONString(buf, j.Str)
	case JSONArray:
		buf = append(buf, '[')
		for i, v := range j.Vals {
			if i > 0 {
				buf = append(buf, ", "...)
			}
			buf = AppendJSON(buf, v)
		}
		return append(buf, ']')
	}
	buf = append(buf, '{')
	for i, v := range j.Vals {
		if i > 0 {
			buf = append(buf, ", "...)
		}
		buf = AppendJSONString(buf, j.Keys[i])
		buf = append(buf, ": "...)
		buf = AppendJSON(buf, v)
	}
	return append(buf, '}')
}

// AppendJSONString prints a quoted string with PostgreSQL's escapes.
func AppendJSONString(buf []byte, s string) []byte {
	const hex = "0123456789abcdef"
	buf = append(buf, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			buf = append(buf, '\\', c)
		case '\b':
			buf = append(buf, `\b`...)
		case '\f':
			buf = append(buf, `\f`...)
		case '\n':
			buf = append(buf, `\n`...)
		case '\r':
			buf = append(buf, `\r`...)
		case '\t':
			buf = append(buf, `\t`...)
		default:
			if c < 0x20 {
				buf = append(buf, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			} else {
				buf = append(buf, c)
			}
		}
	}
	return append(buf, '"')
}

// String prints the value.
func (j *JSON) String() string { return string(AppendJSON(nil, j)) }

// jsonRank orders kinds: null, string, number, boolean, array, object.
func jsonRank(k JSONKind) int { return [...]int{0, 3, 2, 1, 4, 5}[k] }

// CompareJSON is jsonb's btree order. A bare scalar sorts before arrays except, by an old accident that
// indexes depend on, the empty one.
func CompareJSON(a, b *JSON) int {
	as, bs := a.Kind < JSONArray, b.Kind < JSONArray
	switch {
	case as && b.Kind == JSONArray:
		if len(b.Vals) == 0 {
			return 1
		}
		return -1
	case bs && a.Kind == JSONArray:
		if len(a.Vals) == 0 {
			return -1
		}
		return 1
	}
	return compareJSONNested(a, b)
}

func compareJSONNested(a, b *JSON) int {
	if a.Kind != b.Kind {
		return sign(jsonRank(a.Kind) - jsonRank(b.Kind))
	}
	switch a.Kind {
	case JSONBool:
		switch {
		case a.Bool == b.Bool:
			return 0
		case a.Bool:
			return 1
		}
		return -1
	case JSONNumber:
		return CompareNumeric(a.Num, b.Num)
	case JSONString:
		return strings.Compare(a.Str, b.Str)
	case JSONArray, JSONObject:
		if c := len(a.Vals) - len(b.Vals); c != 0 {
			return sign(c)
		}
		for i := range a.Vals {
			if a.Kind == JSONObject {
				if c := strings.Compare(a.Keys[i], b.Keys[i]); c != 0 {
					return c
				}
			}
			if c := compareJSONNested(a.Vals[i], b.Vals[i]); c != 0 {
				return c
			}
		}
	}
	return 0
}

package types

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// maxArraySize bounds the number of elements and maxDims the number of dimensions of an array.
const (
	maxArraySize = 134217727
	maxDims      = 6
)

// NewArrayOf returns a one-dimensional array with lower bound 1.
func NewArrayOf(elem *T, elems []Datum) Datum {
	a := &Array{Elem: elem, Elems: elems}
	if len(elems) > 0 {
		a.Dims = []ArrayDim{{Len: int32(len(elems)), Lower: 1}}
	}
	return NewArray(a)
}

func appendArray(buf []byte, a *Array, t *T, s *Settings) []byte {
	if t.OID == OIDInt2Vector || t.OID == OIDOidVector {
		for i, e := range a.Elems {
			if i > 0 {
				buf = append(buf, ' ')
			}
			buf = appendText(buf, e, a.Elem, s)
		}
		return buf
	}
	if len(a.Elems) == 0 {
		return append(buf, "{}"...)
	}
	explicit := false
	for _, d := range a.Dims {
		explicit = explicit || d.Lower != 1
	}
	if explicit {
		for _, d := range a.Dims {
			buf = append(buf, '[')
			buf = strconv.AppendInt(buf, int64(d.Lower), 10)
			buf = append(buf, ':')
			buf = strconv.AppendInt(buf, int64(d.Lower)+int64(d.Len)-1, 10)
			buf = append(buf, ']')
		}
		buf = append(buf, '=')
	}
	elem := a.Elem
	if elem == nil {
		elem = t.Elem
	}
	delim := elem.Delim
	if delim == 0 {
		delim = ','
	}
	next := 0
	var level func(dim int)
	level = func(dim int) {
		buf = append(buf, '{')
		for i := range a.Dims[dim].Len {
			if i > 0 {
				buf = append(buf, delim)
			}
			if dim+1 < len(a.Dims) {
				level(dim + 1)
				continue
			}
			e := a.Elems[next]
			next++
			if e.IsNull() {
				buf = append(buf, "NULL"...)
				continue
			}
			start := len(buf)
			buf = appendText(buf, e, elem, s)
			if needsArrayQuotes(buf[start:], delim) {
				text := string(buf[start:])
				buf = append(buf[:start], '"')
				for j := range len(text) {
					if text[j] == '"' || text[j] == '\\' {
						buf = append(buf, '\\')
					}
					buf = append(buf, text[j])
				}
				buf = append(buf, '"')
			}
		}
		buf = append(buf, '}')
	}
	level(0)
	return buf
}

func needsArrayQuotes(b []byte, delim byte) bool {
	if len(b) == 0 || len(b) == 4 && strings.EqualFold(string(b), "null") {
		return true
	}
	for _, c := range b {
		if c == '"' || c == '\\' || c == '{' || c == '}' || c == delim || isSpace(c) {
			return true
		}
	}
	return false
}

func badArray(text, detail string) error {
	e := pgerr.New(pgerr.InvalidTextRepresentation, "malformed array literal: \"%s\"", text)
	if detail != "" {
		e.Detail = detail
	}
	return e
}

// arrayParser reads an array literal.
type arrayParser struct {
	text  string
	i     int
	elem  *T
	s     *Settings
	delim byte
	elems []Datum
	lens  []int32 // length of each dimension, -1 until known
}

func parseArray(text string, t *T, s *Settings) (Datum, error) {
	if t.OID == OIDInt2Vector || t.OID == OIDOidVector {
		return parseVector(text, t, s)
	}
	if t.Elem == nil {
		return Null, pgerr.New(pgerr.FeatureNotSupported, "cannot accept a value of type %s", TypeName(t))
	}
	elem := t.Elem
	p := &arrayParser{text: text, elem: elem, s: s, delim: elem.Delim}
	if p.delim == 0 {
		p.delim = ','
	}
	p.space()
	bounds, err := p.bounds()
	if err != nil {
		return Null, err
	}
	if p.at() != '{' {
		if bounds != nil {
			return Null, badArray(text, "Array contents must start with \"{\".")
		}
		return Null, badArray(text, "Array value must start with \"{\" or dimension information.")
	}
	start := p.i
	err = p.level(0)
	if err != nil || len(p.lens) > 1 && len(p.elems) == 0 {
		// The shape of the whole is looked at before any element.
		if shape := arrayShape(text, text[start:], p.delim); shape != nil {
			return Null, shape
		}
	}
	if err != nil {
		return Null, err
	}
	p.space()
	if p.i < len(text) {
		return Null, badArray(text, "Junk after closing right brace.")
	}
	a := &Array{Elem: elem.WithTypmod(-1), Elems: p.elems}
	if len(p.elems) > 0 {
		for _, n := range p.lens {
			a.Dims = append(a.Dims, ArrayDim{Len: n, Lower: 1})
		}
	}
	if bounds != nil && (len(p.elems) > 0 || len(p.lens) > 0) {
		if len(bounds) != len(a.Dims) {
			return Null, badArray(text, "Specified array dimensions do not match array contents.")
		}
		for i, b := range bounds {
			if b.Len != a.Dims[i].Len {
				return Null, badArray(text, "Specified array dimensions do not match array contents.")
			}
		}
		a.Dims = bounds
	}
	return NewArray(a), nil
}

// arrayShape finds what is wrong with the braces, quotes and delimiters of a literal, as ArrayCount does
// before PostgreSQL reads the elements.
func arrayShape(text, s string, delim byte) error {
	const (
		noLevel = iota
		levelStarted
		elemStarted
		elemDone
		quotedStarted
		quotedDone
		elemDelimited
		levelDone
		levelDelimited
	)
	is := func(state int, allowed ...int) bool { return slices.Contains(allowed, state) }
	unexpected := func(c byte) error { return badArray(text, fmt.Sprintf("Unexpected \"%c\" character.", c)) }
	state, nest, quoted := noLevel, 0, false
	var count, last [maxDims]int
	for i := range count {
		count[i] = 1
	}
	for i := 0; ; i++ {
		if i >= len(s) {
			return badArray(text, "Unexpected end of input.")
		}
		switch c := s[i]; {
		case c == '\\':
			if !is(state, levelStarted, elemStarted, quotedStarted, elemDelimited) {
				return unexpected(c)
			}
			if state != quotedStarted {
				state = elemStarted
			}
			i++
			if i >= len(s) {
				return badArray(text, "Unexpected end of input.")
			}
		case c == '"':
			if !is(state, levelStarted, quotedStarted, elemDelimited) {
				return badArray(text, "Unexpected array element.")
			}
			quoted = !quoted
			state = quotedDone
			if quoted {
				state = quotedStarted
			}
		case quoted:
		case c == '{':
			if !is(state, noLevel, levelStarted, levelDelimited) {
				return unexpected(c)
			}
			state = levelStarted
			if nest >= maxDims {
				return pgerr.New(pgerr.ProgramLimitExceeded, "number of array dimensions (%d) exceeds the maximum allowed (%d)", nest+1, maxDims)
			}
			nest++
		case c == '}':
			if !is(state, elemStarted, elemDone, quotedDone, levelDone) && !(nest == 1 && state == levelStarted) {
				return unexpected(c)
			}
			state = levelDone
			if nest == 0 {
				return badArray(text, "Unmatched \"}\" character.")
			}
			nest--
			if last[nest] != 0 && count[nest] != last[nest] {
				return badArray(text, "Multidimensional arrays must have sub-arrays with matching dimensions.")
			}
			last[nest], count[nest] = count[nest], 1
			if nest == 0 {
				if trimSpace(s[i+1:]) != "" {
					return badArray(text, "Junk after closing right brace.")
				}
				return nil
			}
		case c == delim:
			if !is(state, elemStarted, elemDone, quotedDone, levelDone) {
				return unexpected(c)
			}
			if state == levelDone {
				state = levelDelimited
			} else {
				state = elemDelimited
			}
			if nest > 0 {
				count[nest-1]++
			}
		case !isSpace(c):
			if !is(state, levelStarted, elemStarted, elemDelimited) {
				return badArray(text, "Unexpected array element.")
			}
			state = elemStarted
		}
	}
}

func (p *arrayParser) at() byte {
	if p.i < len(p.text) {
		return p.text[p.i]
	}
	return 0
}

func (p *arrayParser) space() {
	for p.i < len(p.text) && isSpace(p.text[p.i]) {
		p.i++
	}
}

// bounds reads "[lo:hi][...]=".
func (p *arrayParser) bounds() ([]ArrayDim, error) {
	var dims []ArrayDim
	for p.at() == '[' {
		end := strings.IndexByte(p.text[p.i:], ']')
		if end < 0 {
			return nil, badArray(p.text, "Missing \"]\" after array dimensions.")
		}
		body := p.text[p.i+1 : p.i+end]
		p.i += end + 1
		lo, hi, ok := strings.Cut(body, ":")
		if !ok {
			lo, hi = "1", body
		}
		l, err1 := strconv.ParseInt(trimSpace(lo), 10, 32)
		h, err2 := strconv.ParseInt(trimSpace(hi), 10, 32)
		if err1 != nil || err2 != nil {
			return nil, badArray(p.text, "\"[\" must introduce explicitly-specified array dimensions.")
		}
		if h < l {
			return nil, pgerr.New(pgerr.ArraySubscriptError, "upper bound cannot be less than lower bound")
		}
		if h == math.MaxInt32 {
			return nil, pgerr.New(pgerr.ProgramLimitExceeded, "array lower bound is too large: %d", l)
		}
		if len(dims) >= maxDims {
			return nil, pgerr.New(pgerr.ProgramLimitExceeded, "number of array dimensions (%d) exceeds the maximum allowed (%d)", len(dims)+1, maxDims)
		}
		dims = append(dims, ArrayDim{Len: int32(h - l + 1), Lower: int32(l)})
		p.space()
	}
	if dims != nil {
		if p.at() != '=' {
			return nil, badArray(p.text, "Missing \"=\" after array dimensions.")
		}
		p.i++
		p.space()
	}
	return dims, nil
}

// level reads one braced list at a nesting depth.
func (p *arrayParser) level(depth int) error {
	const mismatch = "Multidimensional arrays must have sub-arrays with matching dimensions."
	if depth >= maxDims {
		return pgerr.New(pgerr.ProgramLimitExceeded, "number of array dimensions (%d) exceeds the maximum allowed (%d)", depth+1, maxDims)
	}
	if len(p.lens) <= depth {
		if len(p.elems) > 0 {
			return badArray(p.text, mismatch)
		}
		p.lens = append(p.lens, -1)
	}
	p.i++ // {
	n := int32(0)
	p.space()
	if p.at() == '}' {
		p.i++
		if depth == 0 {
			p.lens = nil
			return nil
		}
		return p.close(depth, 0)
	}
	for {
		p.space()
		switch {
		case p.i >= len(p.text):
			return badArray(p.text, "Unexpected end of input.")
		case p.at() == '{':
			if n > 0 && len(p.lens) == depth+1 {
				return badArray(p.text, mismatch)
			}
			if err := p.level(depth + 1); err != nil {
				return err
			}
		default:
			if len(p.lens) != depth+1 {
				return badArray(p.text, mismatch)
			}
			if err := p.element(); err != nil {
				return err
			}
		}
		n++
		p.space()
		switch p.at() {
		case p.delim:
			p.i++
		case '}':
			p.i++
			return p.close(depth, n)
		default:
			if p.i >= len(p.text) {
				return badArray(p.text, "Unexpected end of input.")
			}
			if p.at() == '{' {
				return badArray(p.text, "Unexpected \"{\" character.")
			}
			return badArray(p.text, "Unexpected array element.")
		}
	}
}

func (p *arrayParser) close(depth int, n int32) error {
	if p.lens[depth] >= 0 && p.lens[depth] != n {
		return badArray(p.text, "Multidimensional arrays must have sub-arrays with matching dimensions.")
	}
	p.lens[depth] = n
	return nil
}

func (p *arrayParser) element() error {
	var b strings.Builder
	quoted := false
	keep := 0 // length up to which spaces are content
scan:
	for {
		if p.i >= len(p.text) {
			return badArray(p.text, "Unexpected end of input.")
		}
		switch c := p.text[p.i]; {
		case c == '"':
			if quoted || b.Len() > 0 {
				return badArray(p.text, "Unexpected array element.")
			}
			quoted = true
			p.i++
			for {
				if p.i >= len(p.text) {
					return badArray(p.text, "Unexpected end of input.")
				}
				c := p.text[p.i]
				p.i++
				if c == '"' {
					break
				}
				if c == '\\' {
					if p.i >= len(p.text) {
						return badArray(p.text, "Unexpected end of input.")
					}
					c = p.text[p.i]
					p.i++
				}
				b.WriteByte(c)
			}
			keep = b.Len()
			p.space()
			break scan
		case c == '\\':
			p.i++
			if p.i >= len(p.text) {
				return badArray(p.text, "Unexpected end of input.")
			}
			b.WriteByte(p.text[p.i])
			p.i++
			keep = b.Len()
			quoted = quoted || false
		case c == '{':
			return badArray(p.text, "Unexpected \"{\" character.")
		case c == '}' || c == p.delim:
			break scan
		default:
			b.WriteByte(c)
			if !isSpace(c) {
				keep = b.Len()
			}
			p.i++
		}
	}
	text := b.String()[:keep]
	if !quoted {
		if text == "" {
			return badArray(p.text, "Unexpected \""+string(p.at())+"\" character.")
		}
		if strings.EqualFold(text, "null") {
			p.elems = append(p.elems, Null)
			return nil
		}
	}
	d, err := ParseText(text, p.elem, p.s)
	if err != nil {
		return err
	}
	if len(p.elems) >= maxArraySize {
		return pgerr.New(pgerr.ProgramLimitExceeded, "array size exceeds the maximum allowed (%d)", maxArraySize)
	}
	p.elems = append(p.elems, d)
	return nil
}

// parseVector reads int2vector and oidvector: numbers separated by spaces, indexed from 0.
func parseVector(text string, t *T, s *Settings) (Datum, error) {
	a := &Array{Elem: t.Elem}
	for f := range strings.FieldsSeq(text) {
		d, err := ParseText(f, t.Elem, s)
		if err != nil {
			return Null, err
		}
		a.Elems = append(a.Elems, d)
	}
	a.Dims = []ArrayDim{{Len: int32(len(a.Elems)), Lower: 0}}
	return NewArray(a), nil
}

// appendTuple prints a row value: (1,"a b",).
func appendTuple(buf []byte, tu *Tuple, s *Settings) []byte {
	buf = append(buf, '(')
	for i, e := range tu.Elems {
		if i > 0 {
			buf = append(buf, ',')
		}
		if e.IsNull() {
			continue
		}
		start := len(buf)
		buf = appendText(buf, e, tu.Types[i], s)
		quote := len(buf) == start
		for _, c := range buf[start:] {
			quote = quote || c == '"' || c == '\\' || c == '(' || c == ')' || c == ',' || isSpace(c)
		}
		if quote {
			text := string(buf[start:])
			buf = append(buf[:start], '"')
			for j := range len(text) {
				if text[j] == '"' || text[j] == '\\' {
					buf = append(buf, text[j])
				}
				buf = append(buf, text[j])
			}
			buf = append(buf, '"')
		}
	}
	return append(buf, ')')
}

func parseTuple(text string, t *T, s *Settings) (Datum, error) {
	if t.Def == nil {
		return Null, pgerr.New(pgerr.FeatureNotSupported, "input of anonymous composite types is not implemented")
	}
	bad := func(detail string) error {
		return pgerr.New(pgerr.InvalidTextRepresentation, "malformed record literal: \"%s\"", text).WithDetail("%s", detail)
	}
	in := trimSpace(text)
	if in == "" || in[0] != '(' {
		return Null, bad("Missing left parenthesis.")
	}
	out := &Tuple{}
	i := 1
	for n, f := range t.Def.Fields {
		if n > 0 {
			if i >= len(in) || in[i] != ',' {
				return Null, bad("Too few columns.")
			}
			i++
		}
		var b strings.Builder
		quoted, inQuote := false, false
		for {
			if i >= len(in) {
				return Null, bad("Unexpected end of input.")
			}
			c := in[i]
			if !inQuote && (c == ',' || c == ')') {
				break
			}
			i++
			switch {
			case c == '\\':
				if i >= len(in) {
					return Null, bad("Unexpected end of input.")
				}
				b.WriteByte(in[i])
				i++
			case c == '"' && !inQuote:
				inQuote, quoted = true, true
			case c == '"' && i < len(in) && in[i] == '"':
				b.WriteByte('"')
				i++
			case c == '"':
				inQuote = false
			default:
				b.WriteByte(c)
			}
		}
		d := Null
		if b.Len() > 0 || quoted {
			var err error
			if d, err = ParseText(b.String(), f.Type, s); err != nil {
				return Null, err
			}
		}
		out.Elems = append(out.Elems, d)
		out.Types = append(out.Types, f.Type)
		out.Names = append(out.Names, f.Name)
	}
	if i >= len(in) || in[i] != ')' {
		return Null, bad("Too many columns.")
	}
	if trimSpace(in[i+1:]) != "" {
		return Null, bad("Junk after right parenthesis.")
	}
	return NewTuple(out), nil
}

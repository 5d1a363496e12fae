package types

import (
	"math"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// The text and binary forms of ranges and multiranges.

func malformedRange(text, detail string) error {
	return pgerr.New(pgerr.InvalidTextRepresentation, "malformed range literal: \"%s\"", text).WithDetail("%s", detail)
}

func skipSpace(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}

func parseRange(text string, t *T, s *Settings) (*Range, error) {
	bad := func(detail string) (*Range, error) { return nil, malformedRange(text, detail) }
	rest := skipSpace(text)
	if len(rest) >= 5 && strings.EqualFold(rest[:5], "empty") {
		if skipSpace(rest[5:]) != "" {
			return bad("Junk after \"empty\" key word.")
		}
		return EmptyRange(t), nil
	}
	if rest == "" || rest[0] != '[' && rest[0] != '(' {
		return bad("Missing left parenthesis or bracket.")
	}
	lower, upper := Bound{Inc: rest[0] == '[', Lower: true}, Bound{}
	low, lowInf, rest, ok := rangeBoundText(rest[1:])
	if !ok {
		return bad("Unexpected end of input.")
	}
	if rest[0] != ',' {
		return bad("Missing comma after lower bound.")
	}
	high, highInf, rest, ok := rangeBoundText(rest[1:])
	if !ok {
		return bad("Unexpected end of input.")
	}
	if rest[0] == ',' {
		return bad("Too many commas.")
	}
	upper.Inc = rest[0] == ']'
	if skipSpace(rest[1:]) != "" {
		return bad("Junk after right parenthesis or bracket.")
	}
	var err error
	if !lowInf {
		if lower.Value, err = ParseText(low, t.Sub, s); err != nil {
			return nil, err
		}
	}
	if !highInf {
		if upper.Value, err = ParseText(high, t.Sub, s); err != nil {
			return nil, err
		}
	}
	return MakeRange(t, lower, upper)
}

// rangeBoundText reads a bound up to the comma, parenthesis or bracket that ends it, which stays in rest. A bound
// without any text is infinite.
func rangeBoundText(s string) (bound string, infinite bool, rest string, ok bool) {
	if s == "" {
		return "", false, "", false
	}
	if strings.IndexByte(",)]", s[0]) >= 0 {
		return "", true, s, true
	}
	var b strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case !quoted && strings.IndexByte(",)]", c) >= 0:
			return b.String(), false, s[i:], true
		case c == '\\':
			if i++; i == len(s) {
				return "", false, "", false
			}
			b.WriteByte(s[i])
		case c == '"' && quoted && i+1 < len(s) && s[i+1] == '"':
			i++
			b.WriteByte('"')
		case c == '"':
			quoted = !quoted
		default:
			b.WriteByte(c)
		}
	}
	return "", false, "", false
}

func appendRange(buf []byte, r *Range, s *Settings) []byte {
	if r.Empty {
		return append(buf, "empty"...)
	}
	open, end := byte('('), byte(')')
	if r.LowerInc {
		open = '['
	}
	if r.UpperInc {
		end = ']'
	}
	buf = append(buf, open)
	if !r.Lower.IsNull() {
		buf = appendRangeBound(buf, r.Lower, r.Type.Sub, s)
	}
	buf = append(buf, ',')
	if !r.Upper.IsNull() {
		buf = appendRangeBound(buf, r.Upper, r.Type.Sub, s)
	}
	return append(buf, end)
}

func appendRangeBound(buf []byte, d Datum, t *T, s *Settings) []byte {
	text := AppendText(nil, d, t, s)
	quote := len(text) == 0
	for _, c := range text {
		quote = quote || isSpace(c) || strings.IndexByte("\"\\()[],", c) >= 0
	}
	if !quote {
		return append(buf, text...)
	}
	buf = append(buf, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			buf = append(buf, c)
		}
		buf = append(buf, c)
	}
	return append(buf, '"')
}

// Flags of the binary form.
const (
	rangeEmpty = 1 << iota
	rangeLowerInc
	rangeUpperInc
	rangeLowerInf
	rangeUpperInf
)

func rangeFlags(r *Range) (f byte) {
	set := func(on bool, bit byte) {
		if on {
			f |= bit
		}
	}
	if r.Empty {
		return rangeEmpty
	}
	set(r.LowerInc, rangeLowerInc)
	set(r.UpperInc, rangeUpperInc)
	set(r.Lower.IsNull(), rangeLowerInf)
	set(r.Upper.IsNull(), rangeUpperInf)
	return f
}

func appendRangeBinary(buf []byte, r *Range, s *Settings) ([]byte, error) {
	buf = append(buf, rangeFlags(r))
	for _, d := range []Datum{r.Lower, r.Upper} {
		if d.IsNull() {
			continue
		}
		var err error
		if buf, err = appendSized(buf, d, r.Type.Sub, s); err != nil {
			return nil, err
		}
	}
	return buf, nil
}

func parseRangeBinary(data []byte, t *T, s *Settings) (*Range, error) {
	if len(data) == 0 {
		return nil, errShort()
	}
	flags := data[0]
	data = data[1:]
	lower, upper := Bound{Inc: flags&rangeLowerInc != 0, Lower: true}, Bound{Inc: flags&rangeUpperInc != 0}
	bound := func(b *Bound, infinite byte) (err error) {
		if flags&(rangeEmpty|infinite) != 0 {
			return nil
		}
		if b.Value, data, err = parseSized(data, t.Sub, s); err == nil && b.Value.IsNull() {
			err = errLength()
		}
		return err
	}
	if err := bound(&lower, rangeLowerInf); err != nil {
		return nil, err
	}
	if err := bound(&upper, rangeUpperInf); err != nil {
		return nil, err
	}
	switch {
	case len(data) != 0:
		return nil, errLength()
	case flags&rangeEmpty != 0:
		return EmptyRange(t), nil
	}
	return MakeRange(t, lower, upper)
}

func parseMultirange(text string, t *T, s *Settings) (*Multirange, error) {
	bad := func(detail string) (*Multirange, error) {
		return nil, pgerr.New(pgerr.InvalidTextRepresentation, "malformed multirange literal: \"%s\"", text).WithDetail("%s", detail)
	}
	p := skipSpace(text)
	if p == "" || p[0] != '{' {
		return bad("Missing left brace.")
	}
	p = skipSpace(p[1:])
	var ranges []*Range
	for first := true; ; first = false {
		switch {
		case p == "":
			return bad("Unexpected end of input.")
		case p[0] == '}' && first:
		case p[0] == '[' || p[0] == '(':
			n := rangeTextLen(p)
			if n < 0 {
				return bad("Unexpected end of input.")
			}
			r, err := parseRange(p[:n], t.Sub, s)
			if err != nil {
				return nil, err
			}
			ranges, p = append(ranges, r), skipSpace(p[n:])
		case len(p) >= 5 && strings.EqualFold(p[:5], "empty"):
			p = skipSpace(p[5:])
		default:
			return bad("Expected range start.")
		}
		switch {
		case p == "":
			return bad("Unexpected end of input.")
		case p[0] == '}':
			if skipSpace(p[1:]) != "" {
				return bad("Junk after closing right brace.")
			}
			return MakeMultirange(t, ranges)
		case p[0] != ',':
			return bad("Expected comma or end of multirange.")
		}
		p = skipSpace(p[1:])
	}
}

// rangeTextLen is the length of the range literal at the start of s, -1 if it does not end.
func rangeTextLen(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ']' || c == ')'):
			return i + 1
		}
	}
	return -1
}

func appendMultirange(buf []byte, m *Multirange, s *Settings) []byte {
	buf = append(buf, '{')
	for i, r := range m.Ranges {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendRange(buf, r, s)
	}
	return append(buf, '}')
}

func appendMultirangeBinary(buf []byte, m *Multirange, s *Settings) ([]byte, error) {
	buf = be.AppendUint32(buf, uint32(len(m.Ranges)))
	for _, r := range m.Ranges {
		var err error
		if buf, err = appendSized(buf, NewRange(r), r.Type, s); err != nil {
			return nil, err
		}
	}
	return buf, nil
}

func parseMultirangeBinary(data []byte, t *T, s *Settings) (*Multirange, error) {
	if len(data) < 4 {
		return nil, errShort()
	}
	n := be.Uint32(data)
	data = data[4:]
	if n > math.MaxInt32 || int(n) > len(data)/4 {
		return nil, errShort()
	}
	var ranges []*Range
	for range n {
		d, rest, err := parseSized(data, t.Sub, s)
		if err != nil {
			return nil, err
		}
		if d.IsNull() {
			return nil, errLength()
		}
		ranges, data = append(ranges, d.Range()), rest
	}
	if len(data) != 0 {
		return nil, errLength()
	}
	return MakeMultirange(t, ranges)
}

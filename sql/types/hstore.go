package types

import (
	"cmp"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// Hstore is a value of the extension hstore: keys with texts, or NULLs, sorted by the length of the key and then by its
// bytes, each key once. A Datum holds its text, which is the same for equal values.
type Hstore []HstorePair

// HstorePair is a key with its value.
type HstorePair struct {
	Key, Value string
	Null       bool
}

// NewHstore puts pairs in order. Of several with one key the first counts.
func NewHstore(pairs []HstorePair) Hstore {
	slices.SortStableFunc(pairs, func(a, b HstorePair) int { return compareHstoreKeys(a.Key, b.Key) })
	return slices.CompactFunc(pairs, func(a, b HstorePair) bool { return a.Key == b.Key })
}

func compareHstoreKeys(a, b string) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// Find returns the pair of a key.
func (h Hstore) Find(key string) (HstorePair, bool) {
	i, ok := slices.BinarySearchFunc(h, key, func(p HstorePair, key string) int { return compareHstoreKeys(p.Key, key) })
	if !ok {
		return HstorePair{}, false
	}
	return h[i], true
}

// Datum returns the value as what columns hold.
func (h Hstore) Datum() Datum {
	var b strings.Builder
	quote := func(s string) {
		b.WriteByte('"')
		for i := range len(s) {
			if s[i] == '"' || s[i] == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(s[i])
		}
		b.WriteByte('"')
	}
	for i, p := range h {
		if i > 0 {
			b.WriteString(", ")
		}
		quote(p.Key)
		b.WriteString("=>")
		if p.Null {
			b.WriteString("NULL")
		} else {
			quote(p.Value)
		}
	}
	return NewString(b.String())
}

// ParseHstore reads key => value, ... with or without quotes.
func ParseHstore(text string) (Hstore, error) {
	r := hstoreReader{text: text}
	var pairs []HstorePair
	for {
		key, _, ok, err := r.word(true)
		if err != nil {
			return nil, err
		}
		if !ok {
			return NewHstore(pairs), nil
		}
		r.space()
		for _, c := range []byte("=>") {
			if r.at == len(text) {
				return nil, errHstoreEnd()
			}
			if text[r.at] != c {
				return nil, r.unexpected()
			}
			r.at++
		}
		value, quoted, ok, err := r.word(false)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, errHstoreEnd()
		}
		p := HstorePair{Key: key, Value: value, Null: !quoted && strings.EqualFold(value, "null")}
		if p.Null {
			p.Value = ""
		}
		pairs = append(pairs, p)
		r.space()
		if r.at < len(text) {
			if text[r.at] != ',' {
				return nil, r.unexpected()
			}
			r.at++
		}
	}
}

// hstoreReader reads the text of an hstore.
type hstoreReader struct {
	text string
	at   int
}

func errHstoreEnd() error { return pgerr.New(pgerr.SyntaxError, "Unexpected end of string") }

func (r *hstoreReader) unexpected() error {
	c := r.text[r.at:]
	for i := range c {
		if i > 0 {
			c = c[:i] // one character
			break
		}
	}
	return pgerr.New(pgerr.SyntaxError, "Syntax error near \"%s\" at position %d", c, r.at)
}

func (r *hstoreReader) space() {
	for r.at < len(r.text) && strings.IndexByte(" \t\n\v\f\r", r.text[r.at]) >= 0 {
		r.at++
	}
}

// word reads a key or a value; ok is false at the end of the text. A key ends at "=", a value without quotes at a comma.
func (r *hstoreReader) word(key bool) (word string, quoted, ok bool, err error) {
	r.space()
	if r.at == len(r.text) {
		return "", false, false, nil
	}
	if key && r.text[r.at] == '=' {
		return "", false, false, r.unexpected()
	}
	if quoted = r.text[r.at] == '"'; quoted {
		r.at++
	}
	var b strings.Builder
	for first := true; r.at < len(r.text); first = false {
		c := r.text[r.at]
		switch {
		case c == '\\':
			if r.at++; r.at == len(r.text) {
				return "", false, false, errHstoreEnd()
			}
			c = r.text[r.at]
		case quoted && c == '"':
			r.at++
			return b.String(), true, true, nil
		case quoted:
		case key && c == '=', !key && c == ',' && !first, strings.IndexByte(" \t\n\v\f\r", c) >= 0:
			return b.String(), false, true, nil
		}
		b.WriteByte(c)
		r.at++
	}
	if quoted {
		return "", false, false, errHstoreEnd()
	}
	return b.String(), false, true, nil
}

// HstoreOf reads what a Datum holds.
func HstoreOf(d Datum) (Hstore, error) { return ParseHstore(d.Str()) }

// appendHstoreBinary appends the binary form: the number of pairs, and for each the lengths and bytes of key and value.
func appendHstoreBinary(buf []byte, d Datum) ([]byte, error) {
	h, err := HstoreOf(d)
	if err != nil {
		return nil, err
	}
	buf = be.AppendUint32(buf, uint32(len(h)))
	for _, p := range h {
		buf = append(be.AppendUint32(buf, uint32(len(p.Key))), p.Key...)
		if p.Null {
			buf = be.AppendUint32(buf, 1<<32-1)
		} else {
			buf = append(be.AppendUint32(buf, uint32(len(p.Value))), p.Value...)
		}
	}
	return buf, nil
}

func parseHstoreBinary(data []byte, t *T) (Datum, error) {
	number := func() (int, bool) {
		if len(data) < 4 {
			return 0, false
		}
		n := int(int32(be.Uint32(data)))
		data = data[4:]
		return n, true
	}
	text := func(n int) (string, bool) {
		if n < 0 || n > len(data) || checkText(data[:n]) != nil {
			return "", false
		}
		s := string(data[:n])
		data = data[n:]
		return s, true
	}
	n, ok := number()
	if !ok || n < 0 || n > len(data)/8 {
		return Null, invalidBinary(t)
	}
	pairs := make([]HstorePair, n)
	for i := range pairs {
		size, ok := number()
		if !ok {
			return Null, invalidBinary(t)
		}
		if size < 0 {
			return Null, pgerr.New(pgerr.NullValueNotAllowed, "null value not allowed for hstore key")
		}
		if pairs[i].Key, ok = text(size); !ok {
			return Null, invalidBinary(t)
		}
		if size, ok = number(); !ok {
			return Null, invalidBinary(t)
		}
		if pairs[i].Null = size < 0; pairs[i].Null {
			continue
		}
		if pairs[i].Value, ok = text(size); !ok {
			return Null, invalidBinary(t)
		}
	}
	if len(data) > 0 {
		return Null, invalidBinary(t)
	}
	return NewHstore(pairs).Datum(), nil
}

package types

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// A tsvector is kept in its text form, as PostgreSQL prints it: sorted, without duplicates. TSDocument is what functions
// work on.

// TSDocument is a document: its lexemes, sorted by their bytes, each once.
type TSDocument []Lexeme

// Lexeme is a word of a document and where it is. Positions ascend; there may be none.
type Lexeme struct {
	Word string
	Pos  []TSPos
}

// TSPos is a position from 1 to MaxTSPos in the lower 14 bits, and a weight above: 3 for A, 0 for D.
type TSPos uint16

// The limits of PostgreSQL's representation.
const (
	MaxTSPos        = 1<<14 - 1
	maxLexemePos    = 255
	maxLexemeBytes  = 1<<11 - 1
	maxTSVectorSize = 1<<20 - 1
)

// NewTSPos returns a position, which is cut off at MaxTSPos.
func NewTSPos(pos, weight int) TSPos { return TSPos(weight<<14 | min(pos, MaxTSPos)) }

// At is the position without the weight.
func (p TSPos) At() int { return int(p & MaxTSPos) }

// Weight is 0 for D to 3 for A.
func (p TSPos) Weight() int { return int(p >> 14) }

// NewTSVector sorts and merges words in any order. It changes them.
func NewTSVector(words []Lexeme) (TSDocument, error) {
	slices.SortStableFunc(words, func(a, b Lexeme) int { return strings.Compare(a.Word, b.Word) })
	size := 0
	out := words[:0]
	for _, w := range words {
		if len(w.Word) > maxLexemeBytes {
			return nil, pgerr.New(pgerr.ProgramLimitExceeded, "word is too long (%d bytes, max %d bytes)", len(w.Word), maxLexemeBytes)
		}
		if n := len(out); n > 0 && out[n-1].Word == w.Word {
			out[n-1].Pos = append(out[n-1].Pos[:len(out[n-1].Pos):len(out[n-1].Pos)], w.Pos...)
			continue
		}
		out = append(out, w)
	}
	for i := range out {
		out[i].Pos = uniquePositions(out[i].Pos)
		size += len(out[i].Word)
		if n := len(out[i].Pos); n > 0 {
			size += size&1 + 2 + 2*n
		}
	}
	if size > maxTSVectorSize {
		return nil, pgerr.New(pgerr.ProgramLimitExceeded, "string is too long for tsvector (%d bytes, max %d bytes)", size, maxTSVectorSize)
	}
	return TSDocument(out), nil
}

// uniquePositions keeps of equal positions the one with the greatest weight.
func uniquePositions(ps []TSPos) []TSPos {
	slices.SortFunc(ps, func(a, b TSPos) int {
		if a.At() != b.At() {
			return a.At() - b.At()
		}
		return b.Weight() - a.Weight()
	})
	ps = slices.CompactFunc(ps, func(a, b TSPos) bool { return a.At() == b.At() })
	return ps[:min(len(ps), maxLexemePos)]
}

// TSVectorOf returns the lexemes of a value of type tsvector.
func TSVectorOf(d Datum) TSDocument {
	v, _ := parseTSVector(d.Str()) // it has been printed from one
	return v
}

// NewTSVectorDatum returns v as a value.
func NewTSVectorDatum(v TSDocument) Datum { return NewString(v.String()) }

// String prints v as PostgreSQL does.
func (v TSDocument) String() string {
	var b strings.Builder
	for i, w := range v {
		if i > 0 {
			b.WriteByte(' ')
		}
		writeLexeme(&b, w.Word)
		for j, p := range w.Pos {
			b.WriteByte(":,"[min(j, 1)])
			b.WriteString(strconv.Itoa(p.At()))
			if p.Weight() > 0 {
				b.WriteByte("DCBA"[p.Weight()])
			}
		}
	}
	return b.String()
}

func writeLexeme(b *strings.Builder, word string) {
	b.WriteByte('\'')
	for i := range len(word) {
		if word[i] == '\'' || word[i] == '\\' {
			b.WriteByte(word[i])
		}
		b.WriteByte(word[i])
	}
	b.WriteByte('\'')
}

// lexemeReader reads the words of tsvector's and tsquery's text forms.
type lexemeReader struct {
	text, rest string
	query      bool // operators end a word, and nothing has positions
}

func (r *lexemeReader) syntaxError() error {
	if r.query {
		return pgerr.New(pgerr.SyntaxError, "syntax error in tsquery: \"%s\"", r.text)
	}
	return pgerr.New(pgerr.SyntaxError, "syntax error in tsvector: \"%s\"", r.text)
}

func (r *lexemeReader) skipSpace() { r.rest = strings.TrimLeftFunc(r.rest, unicode.IsSpace) }

// word takes the next word, which must be there.
func (r *lexemeReader) word() (string, error) {
	var b strings.Builder
	escaped := func() error {
		if r.rest = r.rest[1:]; r.rest == "" {
			return pgerr.New(pgerr.SyntaxError, "there is no escaped character: \"%s\"", r.text)
		}
		_, n := utf8.DecodeRuneInString(r.rest)
		b.WriteString(r.rest[:n])
		r.rest = r.rest[n:]
		return nil
	}
	if strings.HasPrefix(r.rest, "'") {
		for r.rest = r.rest[1:]; ; {
			switch {
			case r.rest == "":
				return "", r.syntaxError()
			case strings.HasPrefix(r.rest, "''"):
				b.WriteByte('\'')
				r.rest = r.rest[2:]
			case r.rest[0] == '\'':
				r.rest = r.rest[1:]
				if b.Len() == 0 {
					return "", r.syntaxError()
				}
				return b.String(), nil
			case r.rest[0] == '\\':
				if err := escaped(); err != nil {
					return "", err
				}
			default:
				b.WriteByte(r.rest[0])
				r.rest = r.rest[1:]
			}
		}
	}
	for r.rest != "" {
		c, n := utf8.DecodeRuneInString(r.rest)
		if unicode.IsSpace(c) || c == ':' && b.Len() > 0 || r.query && strings.ContainsRune("!&|()<", c) {
			break
		}
		if c == '\\' {
			if err := escaped(); err != nil {
				return "", err
			}
			continue
		}
		b.WriteString(r.rest[:n])
		r.rest = r.rest[n:]
	}
	if b.Len() == 0 {
		return "", r.syntaxError()
	}
	return b.String(), nil
}

func parseTSVector(text string) (TSDocument, error) {
	r := lexemeReader{text: text, rest: text}
	var words []Lexeme
	for r.skipSpace(); r.rest != ""; r.skipSpace() {
		w, err := r.word()
		if err != nil {
			return nil, err
		}
		l := Lexeme{Word: w}
		if strings.HasPrefix(r.rest, ":") {
			if l.Pos, err = r.positions(); err != nil {
				return nil, err
			}
		}
		words = append(words, l)
	}
	return NewTSVector(words)
}

// positions reads :1,2A,... to a space or the end.
func (r *lexemeReader) positions() (ps []TSPos, err error) {
	for {
		r.rest = r.rest[1:] // the colon or comma
		n := 0
		for n < len(r.rest) && r.rest[n] >= '0' && r.rest[n] <= '9' {
			n++
		}
		if n == 0 {
			return nil, r.syntaxError()
		}
		at, err := strconv.Atoi(r.rest[:n])
		if err != nil {
			at = MaxTSPos
		}
		if at == 0 {
			return nil, pgerr.New(pgerr.SyntaxError, "wrong position info in tsvector: \"%s\"", r.text)
		}
		r.rest = r.rest[n:]
		weight := 0
		if r.rest != "" {
			switch r.rest[0] {
			case 'a', 'A', '*':
				weight = 3
			case 'b', 'B':
				weight = 2
			case 'c', 'C':
				weight = 1
			}
			if strings.IndexByte("aA*bBcCdD", r.rest[0]) >= 0 {
				r.rest = r.rest[1:]
			}
		}
		ps = append(ps, NewTSPos(at, weight))
		switch c, _ := utf8.DecodeRuneInString(r.rest); {
		case r.rest == "" || unicode.IsSpace(c):
			return ps, nil
		case c != ',':
			return nil, r.syntaxError()
		}
	}
}

// compareTSVectors orders as PostgreSQL does: by size in its representation first.
func compareTSVectors(x, y TSDocument) int {
	if c := x.storedSize() - y.storedSize(); c != 0 {
		return sign(c)
	}
	if c := len(x) - len(y); c != 0 {
		return sign(c)
	}
	for i := range x {
		a, b := &x[i], &y[i]
		if (len(a.Pos) > 0) != (len(b.Pos) > 0) {
			return sign(len(b.Pos) - len(a.Pos))
		}
		if c := strings.Compare(a.Word, b.Word); c != 0 {
			return c
		}
		if c := len(b.Pos) - len(a.Pos); c != 0 {
			return sign(c)
		}
		for j := range a.Pos {
			if c := b.Pos[j].At() - a.Pos[j].At(); c != 0 {
				return sign(c)
			}
			if c := b.Pos[j].Weight() - a.Pos[j].Weight(); c != 0 {
				return sign(c)
			}
		}
	}
	return 0
}

// storedSize is the size of PostgreSQL's representation, without what all have.
func (v TSDocument) storedSize() int {
	n := 0
	for _, w := range v {
		n += len(w.Word)
		if len(w.Pos) > 0 {
			n += n&1 + 2 + 2*len(w.Pos)
		}
	}
	return n + 4*len(v)
}

// appendTSVectorBinary writes the number of lexemes, then each with its end marked by a zero, and its positions.
func appendTSVectorBinary(buf []byte, v TSDocument) []byte {
	be := binary.BigEndian
	buf = be.AppendUint32(buf, uint32(len(v)))
	for _, w := range v {
		buf = append(append(buf, w.Word...), 0)
		buf = be.AppendUint16(buf, uint16(len(w.Pos)))
		for _, p := range w.Pos {
			buf = be.AppendUint16(buf, uint16(p))
		}
	}
	return buf
}

// binaryReader reads what a client has sent. After a failure everything is zero.
type binaryReader struct {
	data   []byte
	failed bool
}

func (r *binaryReader) take(n int) []byte {
	if r.failed || len(r.data) < n {
		r.failed, r.data = true, nil
		return make([]byte, n)
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *binaryReader) byte() byte     { return r.take(1)[0] }
func (r *binaryReader) uint16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *binaryReader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }

// string takes a text up to a zero.
func (r *binaryReader) string() string {
	n := slices.Index(r.data, 0)
	if n < 0 {
		r.failed, r.data = true, nil
		return ""
	}
	s := string(r.take(n + 1)[:n])
	if checkText([]byte(s)) != nil {
		r.failed = true
	}
	return s
}

func invalidBinary(t *T) error {
	return pgerr.New(pgerr.InvalidBinaryRepresentation, "invalid %s in external representation", t.Name)
}

func parseTSVectorBinary(data []byte, t *T) (Datum, error) {
	r := binaryReader{data: data}
	n := r.uint32()
	var words []Lexeme
	for range n {
		w := Lexeme{Word: r.string()}
		for range r.uint16() {
			if r.failed {
				break
			}
			p := TSPos(r.uint16())
			if p.At() == 0 {
				r.failed = true
			}
			w.Pos = append(w.Pos, p)
		}
		if r.failed || w.Word == "" {
			return Null, invalidBinary(t)
		}
		words = append(words, w)
	}
	if r.failed || len(r.data) > 0 {
		return Null, invalidBinary(t)
	}
	v, err := NewTSVector(words)
	if err != nil {
		return Null, err
	}
	return NewTSVectorDatum(v), nil
}

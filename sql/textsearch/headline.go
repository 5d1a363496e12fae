package textsearch

import (
	"math"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// Headline says how an extract of a text is made. The names are those of ts_headline's options, lengths count words.
type Headline struct {
	Start, Stop, Delimiter                     string
	MaxWords, MinWords, ShortWord, MaxFragment int
	All                                        bool
}

// ParseHeadline reads options as "MaxWords=5, StartSel='<i>'". Errors are 42601 and 22023.
func ParseHeadline(options string) (*Headline, error) {
	h := &Headline{Start: "<b>", Stop: "</b>", Delimiter: " ... ", MaxWords: 35, MinWords: 15, ShortWord: 3}
	list, err := parseOptions(options)
	if err != nil {
		return nil, err
	}
	for _, o := range list {
		number := func(to *int) error {
			n, err := strconv.ParseInt(strings.TrimSpace(o[1]), 10, 32)
			if err != nil {
				return pgerr.New(pgerr.InvalidTextRepresentation, "invalid input syntax for type integer: \"%s\"", o[1])
			}
			*to = int(n)
			return nil
		}
		var err error
		switch strings.ToLower(o[0]) {
		case "maxwords":
			err = number(&h.MaxWords)
		case "minwords":
			err = number(&h.MinWords)
		case "shortword":
			err = number(&h.ShortWord)
		case "maxfragments":
			err = number(&h.MaxFragment)
		case "startsel":
			h.Start = o[1]
		case "stopsel":
			h.Stop = o[1]
		case "fragmentdelimiter":
			h.Delimiter = o[1]
		case "highlightall":
			switch strings.ToLower(o[1]) {
			case "1", "on", "true", "t", "y", "yes":
				h.All = true
			default:
				h.All = false
			}
		default:
			err = pgerr.New(pgerr.InvalidParameterValue, "unrecognized headline parameter: \"%s\"", o[0])
		}
		if err != nil {
			return nil, err
		}
	}
	if !h.All {
		for _, c := range []struct {
			bad  bool
			text string
		}{{h.MinWords >= h.MaxWords, "MinWords should be less than MaxWords"}, {h.MinWords <= 0, "MinWords should be positive"},
			{h.ShortWord < 0, "ShortWord should be >= 0"}, {h.MaxFragment < 0, "MaxFragments should be >= 0"}} {
			if c.bad {
				return nil, pgerr.New(pgerr.InvalidParameterValue, "%s", c.text)
			}
		}
	}
	return h, nil
}

// parseOptions reads pairs NAME = VALUE, apart by commas or blanks. Either may be quoted.
func parseOptions(s string) (out [][2]string, err error) {
	bad := pgerr.New(pgerr.SyntaxError, "invalid parameter list format: \"%s\"", s)
	blanks := func(s string) string { return strings.TrimLeft(s, " \t\n\r") }
	quoted := func(s string) (value, rest string, ok bool) {
		q := s[0]
		var b strings.Builder
		for i := 1; i < len(s); i++ {
			switch {
			case s[i] == '\\' && q == '\'' && i+1 < len(s):
				i++
				b.WriteByte(s[i])
			case s[i] == q && i+1 < len(s) && s[i+1] == q:
				i++
				b.WriteByte(q)
			case s[i] == q:
				return b.String(), s[i+1:], true
			default:
				b.WriteByte(s[i])
			}
		}
		return "", "", false
	}
	item := func(s, stop string) (value, rest string, ok bool) {
		if s == "" {
			return "", "", false
		}
		if s[0] == '"' || s[0] == '\'' {
			return quoted(s)
		}
		n := strings.IndexAny(s, stop)
		if n < 0 {
			n = len(s)
		}
		return s[:n], s[n:], true
	}
	for rest := strings.TrimLeft(s, " \t\n\r,"); rest != ""; rest = strings.TrimLeft(rest, " \t\n\r,") {
		var o [2]string
		var ok bool
		if o[0], rest, ok = item(rest, "= \t\n\r,"); !ok || o[0] == "" {
			return nil, bad
		}
		if rest = blanks(rest); rest == "" || rest[0] != '=' {
			return nil, bad
		}
		if o[1], rest, ok = item(blanks(rest[1:]), ", \t\n\r"); !ok {
			return nil, bad
		}
		out = append(out, o)
	}
	return out, nil
}

// shownWord is a token of the text that an extract is made of.
type shownWord struct {
	Token
	pos      int
	items    []*types.TSTree // words of the query that it matches
	selected bool            // to be highlighted
	in       bool            // to be shown
	skip     bool            // shown by its parts
	replace  bool            // shown as a blank
}

// composite tokens are shown by their parts.
func composite(k Kind) bool {
	return k == URL || k == NumHyphenated || k == ASCIIHyphenated || k == Hyphenated
}

// counts reports whether a token is a word where lengths are concerned.
func (w *shownWord) counts() bool { return w.Kind != Blank && w.Kind != Tag && !composite(w.Kind) }

// extract is a text in the making of its headline.
type extract struct {
	*Headline
	q     *types.TSTree
	words []shownWord
	reach int // the most tokens in which a query is looked for
}

// found is a run of an extract's words as Match's source.
type found []shownWord

func (f found) find(q *types.TSTree, p *places) truth {
	t := no
	for _, w := range f {
		for _, i := range w.items {
			if i.Word == q.Word && i.Prefix == q.Prefix {
				if t = yes; p == nil {
					return t
				}
				p.at = append(p.at, w.pos)
			}
		}
	}
	return t
}

// Headline returns the parts of a text in which the words of a query occur, with those words marked.
func (c *Config) Headline(h *Headline, text string, q *types.TSTree) string {
	e := &extract{Headline: h, q: q, reach: max(h.MaxWords*10, 100)}
	if h.MaxFragment > 0 {
		e.reach *= h.MaxFragment
	}
	var operands []*types.TSTree
	var collect func(q *types.TSTree)
	collect = func(q *types.TSTree) {
		switch {
		case q == nil:
		case q.Op == types.TSWord:
			operands = append(operands, q)
		default:
			collect(q.Right)
			collect(q.Left)
		}
	}
	collect(q)
	pos := 0
	for t := range Tokens(text) {
		w := shownWord{Token: t}
		if lexeme, indexed := c.Lexeme(t); indexed && len(t.Text) <= maxWord {
			pos++
			w.pos = min(pos, types.MaxTSPos)
			for _, o := range operands {
				if lexeme != "" && (lexeme == o.Word || o.Prefix && strings.HasPrefix(lexeme, o.Word)) {
					w.items = append(w.items, o)
				}
			}
		}
		e.words = append(e.words, w)
	}
	switch {
	case h.MaxFragment > 0:
		e.fragments()
	case h.All:
		e.mark(0, len(e.words)-1)
	default:
		e.mark(e.best())
	}
	return e.String()
}

func (e *extract) String() string {
	var b strings.Builder
	fragments, inside := 0, false
	for i := range e.words {
		w := &e.words[i]
		if !w.in {
			inside = false
			continue
		}
		if !inside {
			if inside = true; fragments > 0 {
				b.WriteString(e.Delimiter)
			}
			fragments++
		}
		switch {
		case w.replace:
			b.WriteByte(' ')
		case !w.skip:
			if w.selected && (i == 0 || !e.words[i-1].selected) {
				b.WriteString(e.Start)
			}
			b.WriteString(w.Text)
			if w.selected && (i+1 == len(e.words) || !e.words[i+1].selected) {
				b.WriteString(e.Stop)
			}
		}
	}
	return b.String()
}

func (e *extract) mark(start, end int) {
	for i := start; i <= end; i++ {
		w := &e.words[i]
		w.selected = w.selected || len(w.items) > 0
		w.replace = !e.All && w.Kind == Tag
		w.skip = composite(w.Kind)
		w.in = true
	}
}

func (e *extract) interesting(i int) bool { return len(e.words[i].items) > 0 }

// badEnd reports whether an extract should rather not begin or end with a token.
func (e *extract) badEnd(i int) bool {
	w := &e.words[i]
	switch w.Kind {
	case Scientific, Version, Float, Int, Uint:
	default:
		if w.counts() && len(w.Text) > e.ShortWord {
			return false
		}
	}
	return !e.interesting(i)
}

func (e *extract) nextInteresting(i int) int {
	for ; i < len(e.words); i++ {
		if e.interesting(i) {
			return i
		}
	}
	return -1
}

// cover is the next run of tokens from i that satisfies the query: the shortest from the earliest start.
func (e *extract) cover(i int) (first, last int, ok bool) {
	if e.q == nil {
		return 0, 0, false
	}
	for start := e.nextInteresting(i); start >= 0; start = e.nextInteresting(start + 1) {
		for end := start; end >= 0 && end-start < e.reach; end = e.nextInteresting(end + 1) {
			if matches(found(e.words[start:end+1]), e.q) {
				return start, end, true
			}
		}
	}
	return 0, 0, false
}

// best is the run of tokens to be shown when there is to be one.
func (e *extract) best() (start, end int) {
	start, end = -1, -1
	score, covered := -1, false
	for p, q, ok := e.cover(0); ok; p, q, ok = e.cover(p + 1) {
		length, hits, i := 0, 0, p
		from, to := p, p
		count := func(i int) {
			if e.words[i].counts() {
				length++
			}
			if e.interesting(i) {
				hits++
			}
		}
		for ; i <= q && length < e.MaxWords; i++ {
			count(i)
			to = i
		}
		if length < e.MaxWords {
			// There is room: go on to a good end.
			for i--; i < len(e.words) && length < e.MaxWords; i++ {
				if i > q {
					count(i)
				}
				to = i
				if !e.badEnd(i) && length >= e.MinWords {
					break
				}
			}
			if length < e.MinWords {
				// The text has ended: begin earlier.
				for i = p - 1; i >= 0; i-- {
					count(i)
					if length >= e.MaxWords || !e.badEnd(i) && length >= e.MinWords {
						break
					}
				}
				from = max(i, 0)
			}
		} else {
			for i = min(i, q); length > e.MinWords && e.badEnd(i); i-- {
				if e.words[i].counts() {
					length--
				}
				if e.interesting(i) {
					hits--
				}
				to = i - 1
			}
		}
		whole := from <= p && to >= q
		if whole && !covered || whole == covered && (hits > score || hits == score && !e.badEnd(to) && e.badEnd(end)) {
			start, end, score, covered = from, to, hits, whole
		}
	}
	if score < 0 {
		return 0, e.opening()
	}
	return start, end
}

// opening is the last of the first MinWords words.
func (e *extract) opening() int {
	end := -1
	for i, n := 0, 0; i < len(e.words) && n < e.MinWords; i++ {
		if e.words[i].counts() {
			n++
		}
		end = i
	}
	return end
}

// fragment is a run of tokens that may be shown.
type fragment struct {
	start, end, length, hits int
	used                     bool // is shown, or overlaps one that is
}

// split cuts the next fragment of at most MaxWords off a cover. It begins and ends with words of the query.
func (e *extract) split(start, end int) fragment {
	f := fragment{start: start, end: end}
	for i := start; i <= end; i++ {
		if f.start = i; e.interesting(i) {
			break
		}
	}
	i := f.start
	for ; i <= end && f.length < e.MaxWords; i++ {
		if e.words[i].counts() {
			f.length++
		}
		if e.interesting(i) {
			f.hits++
		}
	}
	if end > i {
		for ; i >= f.start; i-- {
			if f.end = i; e.interesting(i) {
				break
			}
			if e.words[i].counts() {
				f.length--
			}
		}
	}
	return f
}

// stretch adds words on both sides of a fragment while it has room.
func (e *extract) stretch(f *fragment) {
	if f.length >= e.MaxWords {
		return
	}
	count := func(i, by int) int {
		if !e.words[i].counts() {
			return 0
		}
		f.length += by
		return 1
	}
	most, mark := (e.MaxWords-f.length)/2, f.start
	for i, n := f.start-1, 0; i >= 0 && n < most && !e.words[i].in; i-- {
		n += count(i, 1)
		mark = i
	}
	i := mark
	for ; i < f.start && e.badEnd(i); i++ {
		count(i, -1)
	}
	f.start, mark = i, f.end
	for i = f.end + 1; i < len(e.words) && f.length < e.MaxWords && !e.words[i].in; i++ {
		count(i, 1)
		mark = i
	}
	for i = mark; i > f.end && e.badEnd(i); i-- {
		count(i, -1)
	}
	f.end = i
}

// fragments marks the runs to be shown when there may be several.
func (e *extract) fragments() {
	var list []fragment
	for p, q, ok := e.cover(0); ok; p, q, ok = e.cover(p + 1) {
		for start := p; start <= q; {
			f := e.split(start, q)
			list = append(list, f)
			start = f.end + 1
		}
	}
	shown := 0
	for ; shown < e.MaxFragment; shown++ {
		best, hits, length := -1, 0, math.MaxInt
		for i, f := range list {
			if !f.used && (f.hits > hits || f.hits == hits && f.length < length) {
				best, hits, length = i, f.hits, f.length
			}
		}
		if best < 0 {
			break
		}
		f := &list[best]
		f.used = true
		e.stretch(f)
		e.mark(f.start, f.end)
		for i := range list {
			if o := &list[i]; o.start <= f.end && o.end >= f.start {
				o.used = true
			}
		}
	}
	if shown == 0 {
		e.mark(0, e.opening())
	}
}

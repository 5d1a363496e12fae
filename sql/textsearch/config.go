package textsearch

import (
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/types"
)

// Config says what lexemes tokens have. There are two, with the OIDs that PostgreSQL gives them.
type Config struct {
	OID     uint32
	Name    string
	english bool
}

// Configs are the configurations.
var Configs = []*Config{{OID: 3748, Name: "simple"}, {OID: EnglishOID, Name: "english", english: true}}

// EnglishOID is what the initialisation of PostgreSQL 15 gives to the configuration for English.
const EnglishOID = 13164

// ByOID returns a configuration, nil if there is none.
func ByOID(oid uint32) *Config {
	for _, c := range Configs {
		if c.OID == oid {
			return c
		}
	}
	return nil
}

// ByName returns a configuration, nil if there is none.
func ByName(name string) *Config {
	for _, c := range Configs {
		if c.Name == name {
			return c
		}
	}
	return nil
}

var stopWords = func() map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(`i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her
		hers herself it its itself they them their theirs themselves what which who whom this that these those am is are was were be
		been being have has had having do does did doing a an the and but if or because as until while of at by for with about against
		between into through during before after above below to from up down in out on off over under again further then once here
		there when where why how all any both each few more most other some such no nor not only own same so than too very s t can
		will just don should now`) {
		m[w] = true
	}
	return m
}()

// Lexeme returns the lexeme of a token. indexed is false for what is not looked at, as blanks are; "" is a stop word, which
// has a position.
func (c *Config) Lexeme(t Token) (lexeme string, indexed bool) {
	switch t.Kind {
	case Blank, Tag, Protocol, Entity:
		return "", false
	}
	lexeme = strings.ToLower(t.Text)
	if !c.english {
		return lexeme, true
	}
	switch t.Kind {
	case ASCIIWord, Word, ASCIIHyphenated, Hyphenated, ASCIIPart, Part:
		if stopWords[lexeme] {
			return "", true
		}
		if len(lexeme) <= 1000 {
			lexeme = Stem(lexeme)
		}
	}
	return lexeme, true
}

// placed is a lexeme of a text.
type placed struct {
	word string
	pos  int
}

// lexemes returns the lexemes of a text, the first with the position after pos, and the last position. tooLong is told of
// words that are left out.
func (c *Config) lexemes(text string, pos int, tooLong func()) (out []placed, last int) {
	for t := range Tokens(text) {
		if len(t.Text) > maxWord {
			if t.Kind != Blank && tooLong != nil {
				tooLong()
			}
			continue
		}
		w, indexed := c.Lexeme(t)
		if !indexed {
			continue
		}
		pos++
		if w != "" {
			out = append(out, placed{w, pos})
		}
	}
	return out, pos
}

// maxWord is the longest word that is indexed.
const maxWord = 2047

// Document makes a document of texts, between which phrases do not reach. tooLong, which may be nil, is told of words
// that are left out.
func (c *Config) Document(tooLong func(), texts ...string) (types.TSDocument, error) {
	var words []types.Lexeme
	pos := 0
	for _, text := range texts {
		var list []placed
		list, pos = c.lexemes(text, pos, tooLong)
		for _, l := range list {
			words = append(words, types.Lexeme{Word: l.word, Pos: []types.TSPos{types.NewTSPos(l.pos, 0)}})
		}
		if len(list) > 0 {
			pos++
		}
	}
	return types.NewTSVector(words)
}

// words makes a query of a text's words, joined by an operator; places of stop words are marked in it. A text without
// words is TSStop.
func (c *Config) words(text string, op types.TSOp, like types.TSTree, tooLong func()) (*types.TSTree, error) {
	list, _ := c.lexemes(text, 0, tooLong)
	if len(list) > types.MaxTSWords {
		return nil, types.TSQueryTooLarge()
	}
	var q *types.TSTree
	join := func(n *types.TSTree) {
		if q == nil {
			q = n
			return
		}
		q = &types.TSTree{Op: op, Left: q, Right: n}
		if op == types.TSPhrase {
			q.Distance = 1
		}
	}
	pos := 0
	for _, l := range list {
		for pos > 0 && pos+1 < l.pos {
			join(&types.TSTree{Op: types.TSStop})
			pos++
		}
		pos = l.pos
		n := like
		n.Op, n.Word = types.TSWord, l.word
		join(&n)
	}
	if q == nil {
		return &types.TSTree{Op: types.TSStop}, nil
	}
	return q, nil
}

// Query is to_tsquery: text has the form of a query, the words of which are made lexemes. It is nil if nothing is left.
func (c *Config) Query(text string, tooLong func()) (*types.TSTree, error) {
	q, err := types.ParseTSQuery(text, func(w types.TSTree) (*types.TSTree, error) {
		return c.words(w.Word, types.TSPhrase, w, tooLong)
	})
	if err != nil {
		return nil, err
	}
	return withoutStops(q), nil
}

// Plain is plainto_tsquery, with TSPhrase phraseto_tsquery: text is words.
func (c *Config) Plain(text string, op types.TSOp, tooLong func()) (*types.TSTree, error) {
	q, err := c.words(text, op, types.TSTree{}, tooLong)
	return withoutStops(q), err
}

// withoutStops takes what stands for stop words out of a query; the distances of phrases reach over them.
func withoutStops(q *types.TSTree) *types.TSTree {
	if q == nil {
		return nil
	}
	q, _, _ = prune(q)
	return q
}

// prune returns what is left of a query, and by how much distances of phrases on its left and right grow.
func prune(q *types.TSTree) (_ *types.TSTree, left, right int) {
	switch q.Op {
	case types.TSWord:
		return q, 0, 0
	case types.TSStop:
		return nil, 0, 0
	case types.TSNot:
		if q.Right, left, right = prune(q.Right); q.Right == nil {
			return nil, left, right
		}
		return q, left, right
	}
	l, ll, lr := prune(q.Left)
	r, rl, rr := prune(q.Right)
	phrase := q.Op == types.TSPhrase
	switch {
	case l == nil && r == nil:
		if phrase {
			return nil, ll + q.Distance + rl, ll + q.Distance + rl
		}
		return nil, max(ll, rl), max(ll, rl)
	case l == nil && phrase:
		return r, ll + q.Distance + rl, rr
	case l == nil:
		return r, rl, rr
	case r == nil && phrase:
		return l, ll, lr + q.Distance + rr
	case r == nil:
		return l, ll, lr
	}
	q.Left, q.Right = l, r
	if phrase {
		q.Distance += lr + rl
		return q, ll, rr
	}
	return q, 0, 0
}

// Indexable is what of a query an index of words can look up: without negations, and nil if that leaves nothing to go by.
func Indexable(q *types.TSTree) *types.TSTree {
	if q.Op == types.TSWord {
		return q
	}
	if q.Op == types.TSNot {
		return nil
	}
	l, r := Indexable(q.Left), Indexable(q.Right)
	switch {
	case l != nil && r != nil:
		return &types.TSTree{Op: q.Op, Left: l, Right: r, Distance: q.Distance}
	case q.Op == types.TSOr:
		return nil
	case l != nil:
		return l
	}
	return r
}

// Words returns the different words of a query, sorted; each as it is met first.
func Words(q *types.TSTree) []*types.TSTree {
	var out []*types.TSTree
	var walk func(*types.TSTree)
	walk = func(q *types.TSTree) {
		switch {
		case q == nil:
		case q.Op == types.TSWord:
			out = append(out, q)
		default:
			walk(q.Right)
			walk(q.Left)
		}
	}
	walk(q)
	slices.SortStableFunc(out, func(a, b *types.TSTree) int { return strings.Compare(a.Word, b.Word) })
	return slices.CompactFunc(out, func(a, b *types.TSTree) bool { return a.Word == b.Word })
}

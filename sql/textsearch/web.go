package textsearch

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/types"
)

// Web is websearch_to_tsquery: words are joined by and, quoted text is a phrase, or and a minus sign mean what they say.
// Nothing is an error.
func (c *Config) Web(text string, tooLong func()) (*types.TSTree, error) {
	p := webParser{config: c, rest: text, tooLong: tooLong}
	var alternatives, all []*types.TSTree
	for {
		q, err := p.operand()
		if err != nil {
			return nil, err
		}
		if q == nil {
			break
		}
		if p.words++; p.words > types.MaxTSWords {
			return nil, types.TSQueryTooLarge()
		}
		all = append(all, q)
		if p.or() {
			alternatives, all = append(alternatives, chain(types.TSAnd, all)), nil
		}
	}
	if len(all) > 0 {
		alternatives = append(alternatives, chain(types.TSAnd, all))
	}
	return withoutStops(chain(types.TSOr, alternatives)), nil
}

func chain(op types.TSOp, list []*types.TSTree) (q *types.TSTree) {
	for _, n := range list {
		if q == nil {
			q = n
		} else {
			q = &types.TSTree{Op: op, Left: q, Right: n}
		}
	}
	return q
}

type webParser struct {
	config  *Config
	rest    string
	tooLong func()
	words   int
}

// maxNegations bounds the depth of what a row of minus signs makes.
const maxNegations = 1000

// operators are the characters that are operators in a tsquery; they end a word and mean nothing themselves.
const operators = "!&|()<"

// operand reads the next word or phrase, nil if there is none.
func (p *webParser) operand() (q *types.TSTree, err error) {
	negations := 0
	for {
		p.rest = strings.TrimLeftFunc(p.rest, func(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune(operators, c) })
		if !strings.HasPrefix(p.rest, "-") {
			break
		}
		p.rest = p.rest[1:]
		negations++
	}
	switch {
	case p.rest == "" && negations == 0:
		return nil, nil
	case p.rest == "":
		q = &types.TSTree{Op: types.TSStop}
	case p.rest[0] == '"':
		var inside string
		inside, p.rest, _ = strings.Cut(p.rest[1:], `"`)
		q, err = p.config.words(inside, types.TSPhrase, types.TSTree{}, p.tooLong)
	default:
		n := 1 + strings.IndexFunc(p.rest[1:], func(c rune) bool {
			return unicode.IsSpace(c) || c == '"' || c == ':' || strings.ContainsRune(operators, c)
		})
		if n == 0 {
			n = len(p.rest)
		}
		q, err = p.config.words(p.rest[:n], types.TSPhrase, types.TSTree{}, p.tooLong)
		p.rest = p.rest[n:]
	}
	for range min(negations, maxNegations) {
		q = &types.TSTree{Op: types.TSNot, Right: q}
	}
	return q, err
}

// or takes the word or between two operands. Elsewhere it is a word like others.
func (p *webParser) or() bool {
	rest := strings.TrimLeftFunc(p.rest, func(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune(operators, c) })
	if len(rest) < 3 || !strings.EqualFold(rest[:2], "or") {
		return false
	}
	if c, _ := utf8.DecodeRuneInString(rest[2:]); c == '-' || c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) {
		return false
	}
	if strings.TrimSpace(rest[2:]) == "" {
		return false
	}
	p.rest = rest[2:]
	return true
}

package inverted

import (
	"strings"
	"unicode"
)

// Trigram is three characters of a word in lower case, with two blanks before it and one after it.
type Trigram [3]rune

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// WordTrigrams are the trigrams of a text in its order, as pg_trgm makes them. ends has the number of trigrams up to the
// end of each word.
func WordTrigrams(s string) (list []Trigram, ends []int) {
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return !wordRune(r) }) {
		list = appendTrigrams(list, "  "+word+" ")
		ends = append(ends, len(list))
	}
	return list, ends
}

func appendTrigrams(list []Trigram, padded string) []Trigram {
	runes := []rune(strings.ToLower(padded))
	for i := 0; i+3 <= len(runes); i++ {
		list = append(list, Trigram(runes[i:i+3]))
	}
	return list
}

func trigramTerms(list []Trigram) [][]byte {
	out := make([][]byte, len(list))
	for i, t := range list {
		out[i] = []byte(string(t[:]))
	}
	return out
}

// findText is what a text needs to be like a pattern, or similar to a text or a part of it.
func findText(op, arg string) *Query {
	switch op {
	case "~~", "~~*":
		return and(terms(trigramTerms(patternTrigrams(arg)))...)
	}
	list, _ := WordTrigrams(arg)
	if op == "=" {
		return and(terms(trigramTerms(list))...)
	}
	return or(terms(trigramTerms(list))...) // a similarity is above zero
}

// patternTrigrams are the trigrams that every text has which is LIKE a pattern: those of the parts of words that it
// spells out, with blanks where such a part is known to begin or end a word.
func patternTrigrams(pattern string) []Trigram {
	var list []Trigram
	var part strings.Builder
	begins := true // what comes next begins a word
	finish := func(ends bool) {
		if part.Len() == 0 {
			return
		}
		padded := part.String()
		if begins {
			padded = "  " + padded
		}
		if ends {
			padded += " "
		}
		list = appendTrigrams(list, padded)
		part.Reset()
	}
	escaped := false
	for _, r := range pattern {
		switch {
		case !escaped && r == '\\':
			escaped = true
			continue
		case !escaped && (r == '%' || r == '_'):
			finish(false)
			begins = false
		case wordRune(r):
			part.WriteRune(r)
		default:
			finish(true)
			begins = true
		}
		escaped = false
	}
	finish(true)
	return list
}

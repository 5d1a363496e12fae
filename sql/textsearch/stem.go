package textsearch

import "strings"

// Stem cuts the endings off an English word in lower case. It is the Porter2 algorithm in the version that PostgreSQL 15
// has: the same words get the same stems.
func Stem(word string) string {
	s := stemmer{[]rune(word), 0, 0}
	if len(s.w) <= 2 {
		return word
	}
	if stem, ok := stemExceptions[word]; ok {
		return stem
	}
	if s.w[0] == '\'' {
		s.w = s.w[1:]
	}
	// A y that is a consonant is written Y meanwhile.
	for i, c := range s.w {
		if c == 'y' && (i == 0 || isVowel(s.w[i-1])) {
			s.w[i] = 'Y'
		}
	}
	s.regions()
	s.step0()
	s.step1a()
	if !stemsAfterPlural[string(s.w)] {
		s.step1b()
		s.step1c()
		s.step2()
		s.step3()
		s.step4()
		s.step5()
	}
	for i, c := range s.w {
		if c == 'Y' {
			s.w[i] = 'y'
		}
	}
	return string(s.w)
}

// stemExceptions are words with a stem of their own.
var stemExceptions = map[string]string{
	"skis": "ski", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "idly": "idl", "gently": "gentl", "ugly": "ugli",
	"early": "earli", "only": "onli", "singly": "singl",
	"sky": "sky", "news": "news", "howe": "howe", "atlas": "atlas", "cosmos": "cosmos", "bias": "bias", "andes": "andes",
}

// stemsAfterPlural are done once the plural's ending is off.
var stemsAfterPlural = map[string]bool{"inning": true, "outing": true, "canning": true, "herring": true, "earring": true,
	"proceed": true, "exceed": true, "succeed": true}

// stemmer is a word under way. The regions R1 and R2 begin behind the first consonant that follows a vowel, R2 after R1.
type stemmer struct {
	w      []rune
	r1, r2 int
}

func isVowel(c rune) bool { return strings.ContainsRune("aeiouy", c) }

func (s *stemmer) regions() {
	s.r1 = s.after(0)
	for _, p := range []string{"gener", "commun", "arsen"} {
		if strings.HasPrefix(string(s.w), p) {
			s.r1 = len(p)
		}
	}
	s.r2 = s.after(s.r1)
}

func (s *stemmer) after(from int) int {
	for i := from + 1; i < len(s.w); i++ {
		if !isVowel(s.w[i]) && isVowel(s.w[i-1]) {
			return i + 1
		}
	}
	return len(s.w)
}

// suffix returns the longest of the suffixes that ends the word, "" for none.
func (s *stemmer) suffix(list ...string) string {
	best := ""
	for _, e := range list {
		if len(e) > len(best) && s.ends(e) {
			best = e
		}
	}
	return best
}

func (s *stemmer) ends(e string) bool {
	n := len(s.w) - len(e)
	if n < 0 {
		return false
	}
	for i := range len(e) {
		if s.w[n+i] != rune(e[i]) {
			return false
		}
	}
	return true
}

// cut removes n letters and adds others.
func (s *stemmer) cut(n int, add string) { s.w = append(s.w[:len(s.w)-n], []rune(add)...) }

// within tells whether an ending of n letters lies in a region.
func (s *stemmer) within(n, region int) bool { return len(s.w)-n >= region }

func (s *stemmer) hasVowel(end int) bool {
	for _, c := range s.w[:max(end, 0)] {
		if isVowel(c) {
			return true
		}
	}
	return false
}

// shortSyllable tells whether the first n letters end in a short syllable.
func (s *stemmer) shortSyllable(n int) bool {
	switch {
	case n == 2:
		return isVowel(s.w[0]) && !isVowel(s.w[1])
	case n < 2:
		return false
	}
	last := s.w[n-1]
	return !isVowel(last) && last != 'w' && last != 'x' && last != 'Y' && isVowel(s.w[n-2]) && !isVowel(s.w[n-3])
}

func (s *stemmer) step0() { s.cut(len(s.suffix("'", "'s", "'s'")), "") }

func (s *stemmer) step1a() {
	switch e := s.suffix("sses", "ied", "ies", "s", "us", "ss"); e {
	case "sses":
		s.cut(2, "")
	case "ied", "ies":
		if len(s.w) > 4 {
			s.cut(2, "")
		} else {
			s.cut(1, "")
		}
	case "s":
		if s.hasVowel(len(s.w) - 2) {
			s.cut(1, "")
		}
	}
}

func (s *stemmer) step1b() {
	switch e := s.suffix("eed", "eedly", "ed", "edly", "ing", "ingly"); e {
	case "":
	case "eed", "eedly":
		if s.within(len(e), s.r1) {
			s.cut(len(e), "ee")
		}
	default:
		if !s.hasVowel(len(s.w) - len(e)) {
			return
		}
		s.cut(len(e), "")
		switch {
		case s.suffix("at", "bl", "iz") != "":
			s.cut(0, "e")
		case s.suffix("bb", "dd", "ff", "gg", "mm", "nn", "pp", "rr", "tt") != "":
			s.cut(1, "")
		case len(s.w) <= s.r1 && s.shortSyllable(len(s.w)):
			s.cut(0, "e")
		}
	}
}

func (s *stemmer) step1c() {
	if n := len(s.w); n > 2 && (s.w[n-1] == 'y' || s.w[n-1] == 'Y') && !isVowel(s.w[n-2]) {
		s.w[n-1] = 'i'
	}
}

// rule replaces an ending.
type rule struct{ from, to string }

var rules2 = []rule{{"tional", "tion"}, {"enci", "ence"}, {"anci", "ance"}, {"abli", "able"}, {"entli", "ent"}, {"izer", "ize"},
	{"ization", "ize"}, {"ational", "ate"}, {"ation", "ate"}, {"ator", "ate"}, {"alism", "al"}, {"aliti", "al"}, {"alli", "al"},
	{"fulness", "ful"}, {"ousli", "ous"}, {"ousness", "ous"}, {"iveness", "ive"}, {"iviti", "ive"}, {"biliti", "ble"}, {"bli", "ble"},
	{"ogi", "og"}, {"fulli", "ful"}, {"lessli", "less"}, {"li", ""}}

var rules3 = []rule{{"tional", "tion"}, {"ational", "ate"}, {"alize", "al"}, {"icate", "ic"}, {"iciti", "ic"}, {"ical", "ic"},
	{"ful", ""}, {"ness", ""}, {"ative", ""}}

// longest returns the rule with the longest ending that the word has, nil for none.
func (s *stemmer) longest(rules []rule) *rule {
	var best *rule
	for i := range rules {
		if r := &rules[i]; (best == nil || len(r.from) > len(best.from)) && s.ends(r.from) {
			best = r
		}
	}
	return best
}

func (s *stemmer) step2() {
	r := s.longest(rules2)
	if r == nil || !s.within(len(r.from), s.r1) {
		return
	}
	before := rune(0)
	if n := len(s.w) - len(r.from); n > 0 {
		before = s.w[n-1]
	}
	switch {
	case r.from == "ogi" && before != 'l', r.from == "li" && !strings.ContainsRune("cdeghkmnrt", before):
		return
	}
	s.cut(len(r.from), r.to)
}

func (s *stemmer) step3() {
	r := s.longest(rules3)
	if r == nil || !s.within(len(r.from), s.r1) || r.from == "ative" && !s.within(len(r.from), s.r2) {
		return
	}
	s.cut(len(r.from), r.to)
}

func (s *stemmer) step4() {
	e := s.suffix("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ism", "ate", "iti", "ous", "ive", "ize", "ion")
	if e == "" || !s.within(len(e), s.r2) || e == "ion" && !strings.ContainsRune("st", s.w[len(s.w)-4]) {
		return
	}
	s.cut(len(e), "")
}

func (s *stemmer) step5() {
	n := len(s.w)
	switch {
	case s.ends("e"):
		if s.within(1, s.r2) || s.within(1, s.r1) && !s.shortSyllable(n-1) {
			s.cut(1, "")
		}
	case s.ends("l"):
		if s.within(1, s.r2) && n > 1 && s.w[n-2] == 'l' {
			s.cut(1, "")
		}
	}
}

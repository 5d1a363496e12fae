package textsearch

import "strings"

// Dictionary makes lexemes of words. There are two, with the OIDs that PostgreSQL gives them.
type Dictionary struct {
	OID     uint32
	Name    string
	english bool
}

// Dictionaries are the dictionaries.
var Dictionaries = []*Dictionary{{OID: 3765, Name: "simple"}, {OID: 13163, Name: "english_stem", english: true}}

// DictionaryByOID returns a dictionary, nil if there is none.
func DictionaryByOID(oid uint32) *Dictionary {
	for _, d := range Dictionaries {
		if d.OID == oid {
			return d
		}
	}
	return nil
}

// DictionaryByName returns a dictionary, nil if there is none.
func DictionaryByName(name string) *Dictionary {
	for _, d := range Dictionaries {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// Lexize returns the lexemes of a word: none for a stop word.
func (d *Dictionary) Lexize(word string) []string {
	kind := Uint
	if d.english {
		kind = ASCIIWord
	}
	c := &Config{english: d.english}
	if w, _ := c.Lexeme(Token{Kind: kind, Text: strings.ToLower(word)}); w != "" {
		return []string{w}
	}
	return nil
}

// Dictionary is the one that a configuration has for a kind of token, nil if it leaves that kind out.
func (c *Config) Dictionary(k Kind) *Dictionary {
	switch k {
	case Blank, Tag, Protocol, Entity:
		return nil
	case ASCIIWord, Word, ASCIIHyphenated, Hyphenated, ASCIIPart, Part:
		if c.english {
			return Dictionaries[1]
		}
	}
	return Dictionaries[0]
}

package parser

import (
	"regexp"
	"strings"
	"testing"
)

func TestFingerprint(t *testing.T) {
	for text, want := range map[string]string{
		"SELECT 1": "SELECT $1",
		"select  *\n from t where a = 'it''s' and b<-1.5e-3 ;":   "select * from t where a = $1 and b<$2",
		"update t set a = a + -5, b = b - 5, c = (-1), d = c -2": "update t set a = a + $1, b = b - $2, c = ($3), d = c -$4",
		"select $2, 7":                                           "select $2, $3",
		"select E'a\\'b', x, U&'x' from \"T 1\"":                 "select $1, x, U&$2 from \"T 1\"",
		"select /* a /* nested */ 1 */ t1.c2 -- end 5\n from t1": "select t1.c2 from t1",
		"alter role r password 'secret'":                         "alter role r password $1",
		"do $x$ begin secret 'y' end $x$":                        "do $1",
		"select 'open":                                           "select $1",
		"select $q$open":                                         "select $1",
		"/* open":                                                "",
		"select a$b, $":                                          "select a$b, $",
		"select ünïcode = 'ä'":                                   "select ünïcode = $1",
		"select 0x1f, 1_000, .5, 3.":                             "select $1, $2, $3, $4",
		"":                                                       "",
	} {
		if got := Fingerprint(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

var quotedName = regexp.MustCompile(`"[^"]*("|$)`)

// FuzzFingerprint: any text is taken, and no quoted value survives.
func FuzzFingerprint(f *testing.F) {
	f.Add("select 1")
	f.Add("select 'a', E'\\'', $$x$$, /* y */ 3")
	f.Fuzz(func(t *testing.T, text string) {
		got := Fingerprint(text)
		if strings.Contains(quotedName.ReplaceAllString(got, ""), "'") {
			t.Errorf("%q: %q", text, got)
		}
	})
}

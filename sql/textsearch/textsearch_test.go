package textsearch

import (
	"slices"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql/types"
)

// What PostgreSQL answers is in sql/testdata/pg15/textsearch.txt; here are the properties that hold for any text.

func FuzzTokens(f *testing.F) {
	for _, s := range []string{"The quick-brown fox2 <b>a</b> &amp; http://ex.com:80/a?b joe@x.org /usr/lib 1.2.3 -4e5 é-x", "<a 'b", "a-1-é.", "&#x", "-", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var all strings.Builder
		for tok := range Tokens(text) {
			if tok.Text == "" {
				t.Fatalf("%q: an empty token", text)
			}
			if !tok.Part {
				all.WriteString(tok.Text)
			}
		}
		if all.String() != text {
			t.Errorf("the tokens of %q are %q", text, all.String())
		}
		for _, c := range Configs {
			d, err := c.Document(nil, text)
			if err != nil {
				continue
			}
			if back := types.TSVectorOf(types.NewTSVectorDatum(d)); back.String() != d.String() {
				t.Errorf("%q read back as %q", d, back)
			}
			q, err := c.Plain(text, types.TSAnd, nil)
			if err != nil {
				t.Fatal(err)
			}
			if back := types.TSQueryOf(types.NewTSQueryDatum(q)); back.String() != q.String() {
				t.Errorf("%q read back as %q", q, back)
			}
			// A text has all of its own words, and its phrase.
			if p, _ := c.Plain(text, types.TSPhrase, nil); len(d) > 0 && len(text) < 1000 && (!Match(d, q) || !Match(d, p)) {
				t.Errorf("%q does not match itself: %s, %s", text, d, p)
			}
		}
	})
}

// FuzzQuery: any text is a query or an error, for each of the functions, and what is printed means the same.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"a & !(b <-> c:*A) | 'd e'", `"a b" or -c`, "((", "!!!", "a <5> b <-> (c <2> d)", `\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := types.ParseTSQuery(text, nil)
		if err == nil {
			again, err := types.ParseTSQuery(q.String(), nil)
			if err != nil || again.String() != q.String() {
				t.Errorf("%q is %q, then %q (%v)", text, q, again, err)
			}
		}
		c := ByName("english")
		_, _ = c.Query(text, nil)
		if _, err := c.Web(text, nil); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func TestTooLong(t *testing.T) {
	told := 0
	d, err := ByName("simple").Document(func() { told++ }, strings.Repeat("x", maxWord+1)+" ok")
	if err != nil || d.String() != "'ok':1" || told != 1 {
		t.Errorf("%s, %v, told %d times", d, err, told)
	}
	if _, err := ByName("simple").Plain(strings.Repeat("a ", types.MaxTSWords+1), types.TSAnd, nil); err == nil {
		t.Error("a query of too many words")
	}
}

func TestBinary(t *testing.T) {
	for _, c := range []struct {
		t    *types.T
		text string
	}{{types.TSVector, "'a':1A,2 'b'"}, {types.TSQuery, "'a':*A & !'b' <3> 'c' | ( 'd' | 'e' ) <-> 'f'"}} {
		d, err := types.ParseText(c.text, c.t, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := types.AppendBinary(nil, d, c.t, nil)
		if err != nil {
			t.Fatal(err)
		}
		back, err := types.ParseBinary(b, c.t, nil)
		if err != nil || back.Str() != d.Str() {
			t.Errorf("%s read back as %v, %v", d.Str(), back, err)
		}
		for n := range b {
			if _, err := types.ParseBinary(slices.Clone(b[:n]), c.t, nil); err == nil {
				t.Errorf("%s: %d of %d bytes are accepted", c.text, n, len(b))
			}
		}
	}
}

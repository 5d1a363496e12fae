package types

import (
	"testing"

	"github.com/meridian-db/meridian/sql/pgerr"
)

func TestHstoreErrors(t *testing.T) {
	for text, want := range map[string]string{
		"a":          "Unexpected end of string",
		"a=>":        "Unexpected end of string",
		`a=>"x`:      "Unexpected end of string",
		`a\`:         "Unexpected end of string",
		"a=1":        `Syntax error near "1" at position 2`,
		"=>1":        `Syntax error near "=" at position 0`,
		"a=>1 é=>2":  `Syntax error near "é" at position 5`,
		"a b=>2":     `Syntax error near "b" at position 2`,
		`"a" "b"=>2`: `Syntax error near """ at position 4`,
	} {
		if _, err := ParseHstore(text); err == nil || pgerr.Code(err) != pgerr.SyntaxError || err.Error() != want+" (SQLSTATE 42601)" {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// FuzzHstore: what is read prints as a text, and has a binary form, that read as the same value.
func FuzzHstore(f *testing.F) {
	for _, s := range []string{"", `a=>1, b=>NULL, "c d"=>"\"\\", a=>2`, `é=>,x`, "a=>null,"} {
		f.Add(s)
	}
	hstore := &T{OID: 1 << 20, Typmod: -1, Name: "hstore", Kind: KindString, Class: 'b', Size: -1, Hstore: true}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := ParseBinary([]byte(text), hstore, DefaultSettings); err != nil && pgerr.Code(err) == "" {
			t.Errorf("no SQLSTATE: %v", err)
		}
		if checkText([]byte(text)) != nil {
			return
		}
		d, err := ParseText(text, hstore, DefaultSettings)
		if err != nil {
			return
		}
		again, err := ParseText(d.Str(), hstore, DefaultSettings)
		if err != nil || again.Str() != d.Str() {
			t.Errorf("%q prints as %q, which reads as %v %v", text, d.Str(), again, err)
		}
		b, err := AppendBinary(nil, d, hstore, DefaultSettings)
		if err != nil {
			t.Fatal(err)
		}
		if again, err = ParseBinary(b, hstore, DefaultSettings); err != nil || again.Str() != d.Str() {
			t.Errorf("%q has a binary form that reads as %v %v", text, again, err)
		}
	})
}

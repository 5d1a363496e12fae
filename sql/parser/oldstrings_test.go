package parser

import "testing"

func TestEscapedStrings(t *testing.T) {
	for _, c := range []struct {
		in, out, nonstandard string
		unicode              int
	}{
		{`select 'a\\b'`, `select E'a\\b'`, `\\`, -1},
		{`select 'a', 'it\'s', 'x\ny'`, `select 'a', E'it\'s', E'x\ny'`, `\'`, -1},
		{`select 'a\nb'`, `select E'a\nb'`, "escape", -1},
		{`select E'a\'b', 'c'`, `select E'a\'b', 'c'`, "", -1},
		{`select B'101', X'1F', N'x'`, `select B'101', X'1F', N'x'`, "", -1},
		{`select "a\'b", $$ 'x\y' $$, $q$ 'x\y' $q$ -- 'x\y'`, `select "a\'b", $$ 'x\y' $$, $q$ 'x\y' $q$ -- 'x\y'`, "", -1},
		{`select /* 'a\' /* */ */ 'b\t'`, `select /* 'a\' /* */ */ E'b\t'`, "escape", -1},
		{`select U&'d\0061t'`, `select U&'d\0061t'`, "", 7},
		{`select name'a\tb', 'open\`, `select name E'a\tb', E'open\`, "escape", -1},
		{`select a$1'x\y'`, `select a$1 E'x\y'`, "escape", -1},
	} {
		out, nonstandard, unicode := EscapedStrings(c.in)
		if out != c.out || nonstandard != c.nonstandard || unicode != c.unicode {
			t.Errorf("%s: got %s, %q, %d", c.in, out, nonstandard, unicode)
		}
	}
}

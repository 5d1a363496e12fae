package parser

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql/ast"
)

func TestNormalize(t *testing.T) {
	for _, tc := range []struct{ sql, key string }{
		{"select 1", "select #i"},
		{" SELECT abalance  FROM\n\tpgbench_accounts WHERE aid = 123 ; ", "SELECT abalance FROM pgbench_accounts WHERE aid = #i"},
		{"update t set a = a + -12345678901 where b='it''s'", "update t set a = a + -#l where b=#s"},
		{"select 1.5, 1e10, 2147483648, 9223372036854775808, 99999999999999999999, a1, t.b2", "select #n, #n, 2147483648, 9223372036854775808, #n, a1, t.b2"},
		{`select "a 1" from "t""2" where x in (1,2)`, `select "a 1" from "t""2" where x in (#i,#i)`},
		{"select 1 -- c", ""},
		{"select /* c */ 1", ""},
		{"select 1; select 2", ""},
		{"select E'a'", ""},
		{"select U&'a'", ""},
		{"select B'1'", ""},
		{"select $1", ""},
		{"select $$a$$", ""},
		{"select 'a' 'b'", ""},
		{"select 'a\n", ""},
		{"select 0x1f", ""},
		{"select 1_000", ""},
		{"select .5", ""},
		{"select 'a\xff'", ""},
		{"select 'a\x01'", "select #s"},
		{"select \x01i", ""},
		{"begin", ""},
		{"create table t (a int)", ""},
	} {
		var n Normalizer
		key := ""
		if n.Scan(tc.sql) {
			key = strings.ReplaceAll(string(n.Key), "\x01", "#")
		}
		if key != tc.key {
			t.Errorf("%q: got %q, want %q", tc.sql, key, tc.key)
		}
	}
}

// describe shows which literals became parameters.
func describe(t *testing.T, sql string) string {
	t.Helper()
	var n Normalizer
	if !n.Scan(sql) {
		return "not normalised"
	}
	st, err := ParseOne(sql)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := Parameterize(&st, sql, n.Lits)
	var b strings.Builder
	for _, p := range tmpl.Params {
		sign := ""
		if p.Negate {
			sign = "-"
		}
		fmt.Fprintf(&b, "%s%s ", sign, n.Lits[p.Literal].Text(sql))
	}
	b.WriteString("|")
	for _, f := range tmpl.Fixed {
		b.WriteString(" " + f.Text)
	}
	if !tmpl.Match(sql, n.Lits) {
		t.Errorf("%s does not match its own template", sql)
	}
	return b.String()
}

func TestParameterize(t *testing.T) {
	for _, tc := range []struct{ sql, want string }{
		{"select a from t where b = 5 and c = 'x'", "5 x |"},
		{"update t set a = a + -5, b = - 7.5 where c = 6", "-5 -7.5 6 |"},
		{"select a from t order by 1 limit 10 offset 5", "| 1 10 5"},
		{"select a + 1 from t where b = 2 group by a + 1", "2 | 1 1"},
		{"select distinct a + 1 from t order by a + 1", "| 1 1"},
		{"select a + 1 from t order by a + 1", "| 1 1"},
		{"select a from t where d > date '2024-01-01' and e = '1'::int and f = 2", "2 | '2024-01-01' '1'"},
		{"select cast(a as numeric(10,2)) from t where b = 'it''s'", "it's | 10 2"},
		{"insert into t values (1, 'a', -2), (3, 'b', 4)", "1 a -2 3 b 4 |"},
		{"insert into t values (1) on conflict ((a+1)) do update set b = 2 where t.c = 3", "1 2 3 | 1"},
		{"select * from generate_series(1, 10) where exists (select 1 from u where x = 4)", "1 10 4 1 |"},
		{"update t set (a, b) = (1, 2), c = 3", "1 2 3 |"},
		{"select extract(year from a) from t where b = -9223372036854775807", "-9223372036854775807 |"},
		{"select a - 5 from t", "5 |"},
	} {
		if got := describe(t, tc.sql); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.sql, got, tc.want)
		}
	}
}

func TestTemplateMatch(t *testing.T) {
	const a, b, c = "select x from t where y = 1 limit 10", "select x from t where y = 22 limit 10", "select x from t where y = 1 limit 20"
	var n Normalizer
	n.Scan(a)
	key := string(n.Key)
	st, err := ParseOne(a)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := Parameterize(&st, a, n.Lits)
	if !n.Scan(b) || string(n.Key) != key || !tmpl.Match(b, n.Lits) {
		t.Error("b is the same statement with another parameter")
	}
	if n.Lits[tmpl.Params[0].Literal].Int != 22 {
		t.Error("wrong parameter")
	}
	if !n.Scan(c) || string(n.Key) != key || tmpl.Match(c, n.Lits) {
		t.Error("c is another statement")
	}
}

// Statements with one key, that match one's template, have one tree: that of the first with the parameters.
func FuzzNormalize(f *testing.F) {
	for _, q := range accepted(f) {
		f.Add(q, int64(7), "x")
	}
	f.Fuzz(func(t *testing.T, sql string, num int64, str string) {
		var n Normalizer
		if !n.Scan(sql) {
			return
		}
		st, err := ParseOne(sql)
		if err != nil {
			return
		}
		tmpl := Parameterize(&st, sql, n.Lits)
		want := Deparse(st.Stmt)
		// Another text: other values for the parameters, other white space.
		param := map[int]bool{}
		for _, p := range tmpl.Params {
			param[p.Literal] = true
		}
		var b strings.Builder
		last := int32(0)
		for i, l := range n.Lits {
			b.WriteString(sql[last:l.Start])
			last = l.End
			switch {
			case param[i] && l.Kind == ast.ConstInt:
				b.WriteString(strconv.Itoa(int(uint32(num) >> 1)))
			case param[i] && l.Kind == ast.ConstString:
				b.WriteString(QuoteLiteral(strings.ToValidUTF8(strings.ReplaceAll(str, "\x00", ""), "")))
			default:
				b.WriteString(sql[l.Start:l.End])
			}
		}
		b.WriteString(sql[last:] + " ")
		other := b.String()
		key := string(n.Key)
		if len(other) > maxNormalized || !n.Scan(other) {
			return
		}
		if string(n.Key) != key {
			t.Fatalf("keys differ:\n%q\n%q", sql, other)
		}
		st2, err := ParseOne(other)
		if err != nil {
			t.Fatalf("%q parses, %q does not: %v", sql, other, err)
		}
		if !tmpl.Match(other, n.Lits) {
			t.Fatalf("%q does not match the template of %q", other, sql)
		}
		Parameterize(&st2, other, n.Lits)
		if got := Deparse(st2.Stmt); got != want {
			t.Fatalf("one key, two trees:\n%s\n%s", want, got)
		}
	})
}

func TestScanDoesNotAllocate(t *testing.T) {
	var n Normalizer
	const q = "UPDATE pgbench_accounts SET abalance = abalance + -1234 WHERE aid = 98765"
	n.Scan(q)
	if a := testing.AllocsPerRun(100, func() { n.Scan(q) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func BenchmarkScan(b *testing.B) {
	var n Normalizer
	const q = "SELECT abalance FROM pgbench_accounts WHERE aid = 98765"
	for b.Loop() {
		n.Scan(q)
	}
}

package parser

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// accepted lists statements that must parse; they also seed the fuzz test and the round trip.
func accepted(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/accepted.sql")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range strings.Split(string(b), "\n;;\n") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func TestParseAccepted(t *testing.T) {
	for _, q := range accepted(t) {
		sts, err := Parse(q)
		if err != nil {
			t.Errorf("%s\n%v", q, err)
			continue
		}
		for _, st := range sts {
			if u, ok := st.Stmt.(*ast.UnsupportedStmt); ok {
				t.Errorf("%s\nunsupported: %s", q, u.Name)
			}
			if st.Stmt.Tag() == "" {
				t.Errorf("%s: no tag", q)
			}
		}
	}
}

// A literal may be long: it is no more than its bytes.
func TestLongLiteral(t *testing.T) {
	long := strings.Repeat("x", DefaultMaxSize-10)
	st, err := ParseOne("select '" + long + "'")
	if err != nil {
		t.Fatal(err)
	}
	if got := st.Stmt.(*ast.SelectStmt).Targets[0].Expr.(*ast.Const).Str; got != long {
		t.Errorf("a literal of %d bytes has been read as one of %d", len(long), len(got))
	}
}

func TestParseErrors(t *testing.T) {
	nest := func(open, mid, close string, n int) string {
		return "SELECT " + strings.Repeat(open, n) + mid + strings.Repeat(close, n)
	}
	for _, tc := range []struct {
		sql, code, msg string
		pos            int
	}{
		{"selec 1", "42601", `syntax error at or near "selec"`, 1},
		{"select 'ö' frm frm x", "42601", `syntax error at or near "frm"`, 17},
		{"select * from a join b", "42601", "syntax error at end of input", 23},
		{"select 'abc", "42601", `unterminated quoted string at or near "'abc"`, 8},
		{"select 1; select 2 frm 3 x", "42601", `syntax error at or near "3"`, 24},
		{"select 1 \xff", "22021", `invalid byte sequence for encoding "UTF8": 0xff`, 0},
		{"select 'a\x00b'", "22021", `invalid byte sequence for encoding "UTF8": 0x00`, 0},
		{"select '" + strings.Repeat("x", DefaultMaxSize) + "'", "54000", "", 0},
		{"select 1" + strings.Repeat(",1", DefaultMaxTokens/2), "54000", "statement of more than 1048576 words and signs", 0},
		{nest("(", "1", ")", 201), "54001", "stack depth limit exceeded", 208},
		{nest("ARRAY[", "1", "]", 300), "54001", "stack depth limit exceeded", 0},
		{nest("CASE WHEN true THEN ", "1", " END", 300), "54001", "stack depth limit exceeded", 0},
		{nest("NOT ", "true", "", 5000), "54001", "stack depth limit exceeded", 0},
		{nest("- ", "1", "", 5000), "54001", "stack depth limit exceeded", 0},
		{nest("@ a + ", "1", "", 5000), "54001", "stack depth limit exceeded", 0},
		{nest("x AT TIME ZONE @ ", "1", "", 5000), "54001", "stack depth limit exceeded", 0},
		{nest("1 + ", "1", "", 100000), "54001", "stack depth limit exceeded", 0},
		{"SELECT 1 FROM a" + strings.Repeat(" JOIN a", 5000) + strings.Repeat(" ON true", 5000), "54001", "stack depth limit exceeded", 0},
		{"SELECT 1" + strings.Repeat(" UNION SELECT 1", 50000), "54001", "stack depth limit exceeded", 0},
		{`select E'\u061'`, "22025", "invalid Unicode escape", 0},
		{`select U&'\061'`, "42601", "invalid Unicode escape", 0},
		{"select $0", "42P02", "there is no parameter $0", 8},
		{"select sum(x) over (rows between unbounded following and current row) from t", "42P20", "frame start cannot be UNBOUNDED FOLLOWING", 0},
	} {
		_, err := Parse(tc.sql)
		var e *pgerr.Error
		name := tc.sql[:min(len(tc.sql), 40)]
		if !errors.As(err, &e) {
			t.Errorf("%s: no error (%v)", name, err)
			continue
		}
		if e.Code != tc.code || tc.msg != "" && e.Message != tc.msg || tc.pos != 0 && e.Position != tc.pos {
			t.Errorf("%s: got %s %q at %d, want %s %q at %d", name, e.Code, e.Message, e.Position, tc.code, tc.msg, tc.pos)
		}
	}
}

func TestCharPosition(t *testing.T) {
	const q = "select 'ö' frm frm x"
	_, err := Parse(q)
	var e *pgerr.Error
	if !errors.As(err, &e) || CharPosition(q, e.Position) != 16 {
		t.Fatalf("%v", err)
	}
}

func TestStatementRanges(t *testing.T) {
	const q = "  -- a comment\n select 1 ; /* b /* c */ */ update t set a = 1\n;;  commit "
	sts, err := Parse(q)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range sts {
		got = append(got, q[s.Start:s.End])
	}
	want := []string{"select 1", "update t set a = 1", "commit"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Fatalf("got %q", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, q := range accepted(f) {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, q string) {
		sts, err := Parse(q)
		if err != nil {
			var e *pgerr.Error
			if !errors.As(err, &e) || e.Code == "" {
				t.Fatalf("error without SQLSTATE: %v", err)
			}
			if e.Code == pgerr.InternalError {
				t.Fatalf("internal error: %v", err)
			}
		}
		for _, s := range sts {
			if s.Start < 0 || s.End > int32(len(q)) || s.Start > s.End {
				t.Fatalf("bad range %d..%d", s.Start, s.End)
			}
		}
	})
}

package main

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestSplitter(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want []string
		rest string
	}{
		{[]string{"SELECT 1;"}, []string{"SELECT 1;"}, ""},
		{[]string{"SELECT", " 1; SELECT 2", ";"}, []string{"SELECT\n 1;", "SELECT 2;"}, ""},
		{[]string{"SELECT ';' , \"a;b\";"}, []string{"SELECT ';' , \"a;b\";"}, ""},
		{[]string{"SELECT 'it''s;';"}, []string{"SELECT 'it''s;';"}, ""},
		{[]string{`SELECT E'a\';b';`}, []string{`SELECT E'a\';b';`}, ""},
		{[]string{`SELECT 'a\'; SELECT 2;`}, []string{`SELECT 'a\';`, "SELECT 2;"}, ""},
		{[]string{"SELECT $$a;b$$, $x$;$$;$x$;"}, []string{"SELECT $$a;b$$, $x$;$$;$x$;"}, ""},
		{[]string{"SELECT $1;"}, []string{"SELECT $1;"}, ""},
		{[]string{"-- a; comment", "SELECT 1;"}, []string{"-- a; comment\nSELECT 1;"}, ""},
		{[]string{"/* a; /* b; */ c; */ SELECT 1;"}, []string{"/* a; /* b; */ c; */ SELECT 1;"}, ""},
		{[]string{"SELECT (1;", "2);"}, []string{"SELECT (1;\n2);"}, ""},
		{[]string{";;"}, nil, ""},
		{[]string{"SELECT 1"}, nil, "SELECT 1"},
	} {
		var sp splitter
		var got []string
		for _, line := range c.in {
			got = append(got, sp.feed(line+"\n")...)
		}
		if rest := sp.rest(); !reflect.DeepEqual(got, c.want) || rest != c.rest {
			t.Errorf("%q: got %q and rest %q, want %q and %q", c.in, got, rest, c.want, c.rest)
		}
	}
}

func TestPrintAligned(t *testing.T) {
	var b bytes.Buffer
	printAligned(&b, []string{"id", "name"}, []bool{true, false}, [][]string{{"1", "one"}, {"200", "zwölf\nlines"}}, false)
	want := " id  | name  \n-----+-------\n   1 | one\n 200 | zwölf+\n     | lines\n"
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPrintMessage(t *testing.T) {
	var b bytes.Buffer
	sh := &shell{errOut: &b}
	sh.printMessage(&pgconn.PgError{Severity: "ERROR", Message: "no", Position: 12, Detail: "d", Hint: "h"}, "SELECT 1,\n  x FROM t")
	want := "ERROR:  no\nLINE 2:   x FROM t\n         ^\nDETAIL:  d\nHINT:  h\n"
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCopyDirection(t *testing.T) {
	for text, want := range map[string]string{
		"COPY t FROM STDIN;": "from", "copy t (a) from stdin with csv": "from", "COPY (SELECT 1) TO STDOUT;": "to", "SELECT 'copy from stdin'": "",
	} {
		if got := copyDirection(text); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestShellExitCodes(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"--nonsense"}, shellExitError},
		{[]string{"a", "b"}, shellExitError},
		{[]string{"postgres://postgres@127.0.0.1:1/postgres?connect_timeout=1"}, shellExitConnection},
		{[]string{"not a url"}, shellExitConnection},
	} {
		var out, errOut bytes.Buffer
		err := runSQLShell(context.Background(), c.args, env{lookup: func(string) (string, bool) { return "", false }, stdin: strings.NewReader(""), stdout: &out, stderr: &errOut})
		var e *shellError
		if !errors.As(err, &e) || e.ExitCode() != c.code {
			t.Errorf("%v: %v, want exit code %d", c.args, err, c.code)
		}
	}
}

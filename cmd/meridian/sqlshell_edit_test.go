package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestHistory: lines outlive the shell, in order, without repetitions and passwords.
func TestHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	e := env{lookup: func(k string) (string, bool) { return path, k == "MERIDIAN_HISTORY" }}
	h := openHistory(e)
	for _, l := range []string{"select 1;", "select 1;", "", "alter role a password 'x'", "select\t'ü\\';"} {
		h.Add(l)
	}
	h = openHistory(e)
	if h.Len() != 2 || h.At(0) != "select\t'ü\\';" || h.At(1) != "select 1;" {
		t.Errorf("%q", h.lines)
	}
	for range maxHistory {
		h.Add("a")
		h.Add("b")
	}
	if h = openHistory(e); h.Len() != maxHistory || h.At(0) != "b" {
		t.Errorf("%d lines", h.Len())
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
}

// TestKeys: ctrl-C erases the line and says so; all else passes.
func TestKeys(t *testing.T) {
	k := &keys{tty: strings.NewReader("ab\x03c")}
	b, err := io.ReadAll(k)
	if err != nil || string(b) != "ab\x05\x15\rc" || !k.broken {
		t.Errorf("%q %v %t", b, err, k.broken)
	}
}

// TestCompletionOfWords: keywords follow the case typed, the rest of a word is what all candidates share.
func TestCompletionOfWords(t *testing.T) {
	words := []string{"SELECT", "SET", "sessions", "Selling"}
	for word, want := range map[string][]string{"se": {"Selling", "select", "sessions", "set"}, "SEL": {"SELECT", "Selling"}, "x": nil} {
		if got := matches(word, words); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
	if got := commonPrefix([]string{"orders", "order_lines", "ORDER"}); !strings.EqualFold(got, "order") {
		t.Error(got)
	}
}

// TestCutMeta: a backslash command may follow SQL on its line, not within quotes or comments.
func TestCutMeta(t *testing.T) {
	for line, want := range map[string][2]string{
		`select 1 \gx`: {"select 1 ", `\gx`}, `select '\g'`: {`select '\g'`, ""}, `select 1 -- \g`: {`select 1 -- \g`, ""},
		`select $$\g$$ \watch 1`: {`select $$\g$$ `, `\watch 1`}, `select e'\'' \g`: {`select e'\'' `, `\g`},
	} {
		var sp splitter
		if sql, cmd := sp.cutMeta(line); sql != want[0] || cmd != want[1] {
			t.Errorf("%s: %q, %q", line, sql, cmd)
		}
	}
}

func TestPatterns(t *testing.T) {
	for pattern, want := range map[string][]string{"a*": {"^(a.*)$"}, "S.T?": {"^(s)$", "^(t.)$"}, `"A.b".c$`: {`^(A\.b)$`, `^(c\$)$`}} {
		if got := patternParts(pattern); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", pattern, got, want)
		}
	}
}

func TestJSONValue(t *testing.T) {
	for _, c := range []struct {
		oid      uint32
		in, want string
	}{{16, "t", "true"}, {23, "7", "7"}, {701, "NaN", `"NaN"`}, {1700, "1.50", "1.50"}, {3802, `{"a": 1}`, `{"a": 1}`}, {25, "a\"\n", `"a\"\n"`}} {
		if got := jsonValue(c.oid, []byte(c.in)); got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
	if jsonValue(25, nil) != "null" {
		t.Error("NULL is not null")
	}
}

// TestProgress: one line that is replaced, and taken away at the end.
func TestProgress(t *testing.T) {
	var b bytes.Buffer
	p := &progress{w: &b, began: time.Now()}
	p.show("COPY", 0.5, "10.0 MB")
	p.show("x", -1, "")
	p.clear()
	lines := strings.Split(b.String(), "\r")
	if len(lines) != 5 || !strings.HasPrefix(lines[1], "COPY [###############...............] 50 % 10.0 MB ") || len(lines[2]) != len(lines[1]) || strings.TrimSpace(lines[3]) != "" {
		t.Errorf("%q", lines)
	}
}

package extension

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/parser"
)

// Whatever CREATE EXTENSION puts into a catalog must be there to be called, and ByName needs the order.
func TestScripts(t *testing.T) {
	if !slices.IsSortedFunc(All(), func(a, b *Extension) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("extensions are not sorted by name")
	}
	for _, e := range All() {
		stmts, err := parser.Parse(e.Script)
		if err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		names := map[string]bool{}
		for _, s := range stmts {
			f, ok := s.Stmt.(*ast.CreateFunctionStmt)
			if !ok {
				if d, ok := s.Stmt.(*ast.DefineStmt); !ok || d.Object != ast.ObjType {
					t.Errorf("%s: %s in the script", e.Name, s.Stmt.Tag())
				}
				continue
			}
			names[f.Name[len(f.Name)-1]] = true
			for _, o := range f.Options {
				if o.Name != "as" {
					continue
				}
				symbol := o.Arg.Str
				if len(o.Arg.List) > 0 {
					symbol = o.Arg.List[0].Str
				}
				if n := Native(symbol); n.Eval == nil && n.Rows == nil {
					t.Errorf("%s: no function has the symbol %q", e.Name, symbol)
				}
			}
		}
		for op, f := range e.Operators {
			for f := range strings.FieldsSeq(f) {
				if !names[f] {
					t.Errorf("%s: operator %s: no function %s", e.Name, op, f)
				}
			}
		}
	}
}

func TestBcryptStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	// 2^31 rounds would take days.
	if _, err := bcrypt(ctx, []byte("x"), "$2a$31$abcdefghijklmnopqrstuu"); err == nil {
		t.Error("goes on after its context has ended")
	}
}

func FuzzTexts(f *testing.F) {
	f.Add("word", "two words")
	f.Add("\u0130\u0301", "\ufffd\U0010ffff")
	f.Fuzz(func(t *testing.T, a, b string) {
		if s := similarity(a, b); s != similarity(b, a) || s < 0 || s > 1 {
			t.Errorf("similarity(%q, %q) = %v, the other way round %v", a, b, s, similarity(b, a))
		}
		any, err := wordSimilarity(nil, a, b, false)
		if err != nil || any < 0 || any > 1 {
			t.Errorf("wordSimilarity(%q, %q) = %v, %v", a, b, any, err)
		}
		if whole, _ := wordSimilarity(nil, a, b, true); whole > any {
			t.Errorf("wordSimilarity(%q, %q) = %v, more with whole words: %v", a, b, any, whole)
		}
		if plain := unaccent(a); unaccent(plain) != plain {
			t.Errorf("unaccent(%q) = %q, and of that %q", a, plain, unaccent(plain))
		}
		if c := soundex(a); c != "" && len(c) != 4 {
			t.Errorf("soundex(%q) = %q", a, c)
		}
	})
}

package clienttest

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "record what PostgreSQL answers to testdata/backslash.psql")

// TestBackslash runs psql's commands that describe a database, and those that work on queries, over one of
// everything (testdata/schema.sql). testdata/backslash.txt is what they print over PostgreSQL 15; with -rewrite
// it is recorded anew, from PostgreSQL, not from us.
func TestBackslash(t *testing.T) {
	needTools(t, "psql")
	const golden = "testdata/backslash.txt"
	describe := func(env []string) string {
		tool(t, env, nil, "psql", "-qX", "-f", "testdata/schema.sql") // its roles may be there already
		out, problems := tool(t, env, nil, "psql", "-qX", "-f", "testdata/backslash.psql")
		return out + problems
	}
	if *rewrite {
		if err := os.WriteFile(golden, []byte(describe(startPostgres(t))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, _ := tool(t, os.Environ(), nil, "psql", "--version"); !strings.Contains(out, ") 15.") {
		t.Skipf("the recorded output is of psql 15, not of %s", out)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	equalDumps(t, "psql", describe(database(t, "backslash")), string(want))
}

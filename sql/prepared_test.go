package sql

import (
	"context"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// TestPreparedAgain prepares a text anew after what its parameters' types came from has changed: the client is told the
// types of now, and not those of a plan that the cache still has.
func TestPreparedAgain(t *testing.T) {
	ctx := context.Background()
	s := newTestSession(t, newTestServer(t, kvtest.New()))
	told := func(text string) []types.OID {
		t.Helper()
		if err := s.Parse(ctx, "", text, nil); err != nil {
			t.Fatal(err)
		}
		oids, _, err := s.DescribeStatement(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Sync(ctx); err != nil {
			t.Fatal(err)
		}
		return oids
	}
	run := func(text string) {
		t.Helper()
		if out := s.run(text); strings.Contains(out, "ERROR") {
			t.Fatal(out)
		}
	}

	run("CREATE TABLE t (a int4)")
	if got := told("INSERT INTO t VALUES ($1)"); got[0] != 23 {
		t.Errorf("the parameter has type %d", got[0])
	}
	run("ALTER TABLE t ALTER a TYPE bool USING a::bool")
	if got := told("INSERT INTO t VALUES ($1)"); got[0] != 16 {
		t.Errorf("after ALTER TYPE the parameter has type %d", got[0])
	}

	run("CREATE TYPE p AS (x int)")
	before := told("SELECT $1::p")
	run("DROP TYPE p; CREATE TYPE p AS (x int)")
	if after := told("SELECT $1::p"); after[0] == before[0] {
		t.Errorf("a type that was dropped, %d, is that of the parameter", before[0])
	}
}

package sql

import (
	"context"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// TestCustomPlans prepares a query over a skewed column: its plan depends on the value that it is run for.
func TestCustomPlans(t *testing.T) {
	s := newTestSession(t, newTestServer(t, kvtest.New()))
	s.run(`CREATE TABLE t (id int PRIMARY KEY, a int, b text);
		INSERT INTO t SELECT i, CASE WHEN i <= 20 THEN i ELSE 0 END, 'x' FROM generate_series(1, 3000) i;
		CREATE INDEX ta ON t (a)`)
	s.run("ANALYZE t")
	s.run("PREPARE p AS SELECT b FROM t WHERE a = $1")
	explain := func(arg string) string {
		t.Helper()
		out := s.run("EXPLAIN (COSTS OFF) EXECUTE p(" + arg + ")")
		if strings.Contains(out, "ERROR") {
			t.Fatal(out)
		}
		return out
	}
	counts := func() string { return s.run("SELECT generic_plans, custom_plans FROM pg_prepared_statements") }
	if plan := explain("0"); !strings.Contains(plan, "Seq Scan") {
		t.Errorf("plan for the common value:\n%s", plan)
	}
	if plan := explain("7"); !strings.Contains(plan, "Index Scan") {
		t.Errorf("plan for a rare value:\n%s", plan)
	}
	s.run("SET plan_cache_mode = force_generic_plan")
	if a, b := explain("0"), explain("7"); a != b {
		t.Errorf("generic plans differ:\n%s\n%s", a, b)
	}
	if got := counts(); !strings.Contains(got, "2 | 2") {
		t.Errorf("generic and custom plans: %s", got)
	}
	s.run("SET plan_cache_mode = force_custom_plan")
	if plan := explain("7"); !strings.Contains(plan, "Index Scan") {
		t.Errorf("plan for a rare value:\n%s", plan)
	}
	for _, arg := range []string{"0", "7"} {
		want := s.run("SELECT count(*) FROM t WHERE a = " + arg)
		s.run("DEALLOCATE ALL; PREPARE p AS SELECT count(*) FROM t WHERE a = $1; SET plan_cache_mode = auto")
		for range 2 * firstCustom {
			if got := s.run("EXECUTE p(" + arg + ")"); got != want {
				t.Errorf("EXECUTE p(%s):\n%s\nwant:\n%s", arg, got, want)
			}
		}
	}
}

// TestRolesAlternate lets two roles with other policies take turns with one prepared statement: each comes back to its
// own plan, which is made once.
func TestRolesAlternate(t *testing.T) {
	s := newTestSession(t, newTestServer(t, kvtest.New()))
	s.run(`CREATE TABLE t (id int PRIMARY KEY, owner name); INSERT INTO t VALUES (1, 'ann'), (2, 'bob');
		ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (owner = current_user);
		CREATE ROLE ann; CREATE ROLE bob; GRANT SELECT ON t TO ann, bob`)
	ctx := context.Background()
	if err := s.Parse(ctx, "q", "SELECT id, owner FROM t", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	plans := map[string]*plan.Plan{}
	for range 3 {
		for _, role := range []string{"ann", "bob"} {
			s.run("SET ROLE " + role)
			if err := s.Bind(ctx, BindArgs{Statement: "q"}); err != nil {
				t.Fatal(err)
			}
			if err := s.Sync(ctx); err != nil {
				t.Fatal(err)
			}
			p := s.statements["q"].plan
			if p.Secure == nil {
				t.Fatal("the plan depends on no role")
			}
			if before := plans[role]; before != nil && before != p {
				t.Errorf("the statement was planned again for %s", role)
			}
			plans[role] = p
			if out := s.run("SELECT owner FROM t"); !strings.Contains(out, role) || strings.Contains(out, "SELECT 2") {
				t.Errorf("%s reads\n%s", role, out)
			}
		}
	}
	if plans["ann"] == plans["bob"] {
		t.Error("one plan for both roles")
	}
}

package sql

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// accessQueries read %s, which is one of several tables with the same rows; path is what EXPLAIN shows of the way that
// the table of that name is read.
var accessQueries = []struct{ q, table, path string }{
	{"select * from %s order by k, v, id limit 7", "i", "Incremental Sort"},
	{"select * from %s order by k desc, v, id limit 7 offset 3", "i", "Presorted Key: k DESC"},
	{"select * from %s where n = 3 order by n, k desc nulls last, id", "i", ""},
	{"select k, v from %s order by k, v", "i", ""},
	{"select * from %s order by k, id limit 9", "r", "Merge Append"},
	{"select * from %s order by k desc, id desc limit 9", "h", "Merge Append"},
	{"select k, id from %s where n < 4 order by k nulls first, id limit 20", "h", ""},
	{"select * from %s order by id limit 9", "h", "Merge Append"},
	{"select * from %s order by id limit 9", "r", "Index Scan using r1_pkey"},
	{"select * from %s order by id desc limit 200 offset 100", "r", "Index Scan Backward using r1_pkey"},
	{"select id, s from (select id, s, n + 1 as m from %s) x where m > 2 order by id desc limit 40", "r", ""},
	{"select min(k), max(k), min(id), max(id) from %s", "i", "InitPlan 4"},
	{"select max(k) from %s where n = 5", "i", "Index Only Scan Backward"},
	{"select min(k) from %s where n = 5 and k > 100", "i", "Limit"},
	{"select max(id), min(id) from %s where id < 250", "r", "InitPlan 2"},
	{"select max(k) from %s", "h", "Merge Append"},
	{"select min(v) from %s where n > 7", "i", ""},
	{"select id from %s where k = 5 or k in (7, 9) or k = 5 order by id", "i", "Index Cond: (k = ANY"},
	{"select id from %s where k is not null and v < 3 order by id", "i", ""},
	{"select count(*) from %s where k is not null", "i", ""},
	{"select n, id from %s where (n, id) > (3, 150) order by n, id limit 12", "i", "Index Cond: (ROW(n, id) > ROW(3, 150))"},
	{"select n, id from %s where (n, id) >= (3, 150) order by n, id limit 12", "i", ""},
	{"select n, id from %s where (n, id) < (3, 150) order by n desc, id desc limit 12", "i", ""},
	{"select n, id from %s where (n, id) <= (3, 150) and (n, id) > (1, 4) order by n, id", "i", ""},
	{"select n, id from %s where (n, id) >= (3, null::int) order by n, id limit 30", "i", ""},
	{"select n, id from %s where (n, id) <= (3, null::int) order by n desc, id limit 30", "i", ""},
	{"select k, id from %s where (k, n) > (10, 3) order by k, id limit 12", "i", ""},
	{"select k, id from %s where (k, n) < (10, null) order by k, id limit 30", "i", ""},
	{"select distinct n from %s order by n", "i", ""},
	{"select o.id, t.id, t.k from o left join %s t on t.id = o.ref and t.n > 2 order by o.id", "r", "Nested Loop Left Join"},
	{"select o.id, t.id, t.v from o join %s t on t.id = o.ref order by o.id", "h", "Nested Loop"},
	{"select o.id from o where exists (select 1 from %s t where t.id = o.ref and t.k > 5) order by o.id", "r", ""},
	{"select o.id, t.id from o join %s t on t.k = o.ref where o.id < 4 order by 1, 2", "h", "Nested Loop"},
}

// TestAccessPaths: however a table is stored and indexed, queries answer alike.
func TestAccessPaths(t *testing.T) {
	s := newTestSession(t, newTestServer(t, kvtest.New()))
	must := func(text string) string {
		t.Helper()
		out := s.run(text)
		if strings.Contains(out, "ERROR") {
			t.Fatalf("%s:\n%s", text, out)
		}
		return out
	}
	cols := "id int, k int, v int, n int not null, s text"
	must("create table plain (" + cols + ")")
	must("create table i (" + cols + `, primary key (id)); create index i_k on i (k); create index i_nk on i (n, k); create index i_nid on i (n, id)`)
	must("create table r (" + cols + `, primary key (id)) partition by range (id);
		create table r1 partition of r for values from (0) to (100); create table r2 partition of r for values from (100) to (101);
		create table r3 partition of r for values from (101) to (300); create table r4 partition of r for values from (300) to (100000);
		create index on r (k)`)
	must("create table h (" + cols + `, primary key (id)) partition by hash (id);
		create table h1 partition of h for values with (modulus 3, remainder 0); create table h2 partition of h for values with (modulus 3, remainder 1);
		create table h3 partition of h for values with (modulus 3, remainder 2);
		create index on h (k)`)
	must("create table o (id int primary key, ref int)")
	r := rand.New(rand.NewPCG(1, 2))
	var rows []string
	for id := range 600 {
		k, v := fmt.Sprint(r.IntN(40)), fmt.Sprint(r.IntN(1000))
		if r.IntN(8) == 0 {
			k = "null"
		}
		if r.IntN(8) == 0 {
			v = "null"
		}
		rows = append(rows, fmt.Sprintf("(%d, %s, %s, %d, 'row %d')", id, k, v, r.IntN(10), id))
	}
	r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	tables := []string{"plain", "i", "r", "h"}
	for _, table := range tables {
		must("insert into " + table + " values " + strings.Join(rows, ", "))
	}
	must("insert into o values (1, 5), (2, 99), (3, 100), (4, 299), (5, null), (6, 4000), (7, 300), (8, 5)")
	must("analyze")
	for _, a := range accessQueries {
		want := ""
		for i, table := range tables {
			got := must(fmt.Sprintf(a.q, table))
			if i == 0 {
				want = got
			} else if got != want {
				t.Errorf("%s of %s:\n%s\nwant\n%s\n%s", a.q, table, got, want, must("explain "+fmt.Sprintf(a.q, table)))
			}
		}
		if plan := must("explain " + fmt.Sprintf(a.q, a.table)); !strings.Contains(plan, a.path) {
			t.Errorf("%s of %s has no %q:\n%s", a.q, a.table, a.path, plan)
		}
	}
}

// TestExplainJSON: what readers of PostgreSQL's EXPLAIN (ANALYZE, FORMAT JSON) rely on is there in every node.
func TestExplainJSON(t *testing.T) {
	s := newTestSession(t, newTestServer(t, kvtest.New()))
	if out := s.run(`create table t (id int primary key, k int, v int); create index on t (k); create table o (id int primary key, ref int);
		insert into t select i, i % 5, i from generate_series(1, 50) i; insert into o values (1, 3), (2, 4); analyze`); strings.Contains(out, "ERROR") {
		t.Fatal(out)
	}
	type node = map[string]any
	var check func(q string, n node, depth int)
	check = func(q string, n node, depth int) {
		for _, key := range []string{"Node Type", "Parallel Aware", "Async Capable", "Startup Cost", "Total Cost", "Plan Rows", "Plan Width",
			"Actual Startup Time", "Actual Total Time", "Actual Rows", "Actual Loops", "Parent Relationship"} {
			if _, ok := n[key]; !ok && (depth > 0 || key != "Parent Relationship") {
				t.Errorf("%s: %v has no %q", q, n["Node Type"], key)
			}
		}
		kids, _ := n["Plans"].([]any)
		for _, k := range kids {
			check(q, k.(node), depth+1)
		}
	}
	for _, q := range []string{
		"select * from t order by k, v limit 3", "select min(k), max(k) from t", "select k, count(*) from t group by k order by 2",
		"select * from o join t on t.id = o.ref", "select * from o left join t on t.v = o.ref", "select distinct k from t",
		"with x as materialized (select * from o) select * from x a, x b", "select rank() over (order by k) from t", "update o set ref = 1 where id = 1",
		"insert into o values (1, 1) on conflict do nothing", "select * from generate_series(1, 3) g where g > 1", "select 1 union select 2",
	} {
		out := s.run("explain (analyze, buffers, format json) " + q)
		from, to := strings.Index(out, "["), strings.LastIndex(out, "]")
		if from < 0 || to < from {
			t.Fatalf("%s: %s", q, out)
		}
		var doc []struct {
			Plan          node
			PlanningTime  *float64 `json:"Planning Time"`
			ExecutionTime *float64 `json:"Execution Time"`
			Triggers      *[]any
		}
		if err := json.Unmarshal([]byte(out[from:to+1]), &doc); err != nil || len(doc) != 1 {
			t.Fatalf("%s: %v\n%s", q, err, out)
		}
		if doc[0].PlanningTime == nil || doc[0].ExecutionTime == nil || doc[0].Triggers == nil {
			t.Errorf("%s: the document lacks times or triggers:\n%s", q, out)
		}
		check(q, doc[0].Plan, 0)
	}
}

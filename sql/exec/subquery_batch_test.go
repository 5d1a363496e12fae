package exec

import (
	"math"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// correlated are queries with a subquery that can be answered from a table; fails is the SQLSTATE that they end with.
var correlated = []struct{ q, fails string }{
	{"select id, (select max(v) from b where b.k = a.k) from a order by id", ""},
	{"select id, (select count(*) from b where b.k = a.k and b.v > 2) from a order by id", ""},
	{"select id, (select 10 * sum(v) + 1 from b where a.k + 1 = b.k) from a order by id", ""},
	{"select id, (select count(distinct v) filter (where v > 1) from b where b.k = a.k) from a order by id", ""},
	{"select id, (select string_agg(s, ',' order by s desc) from b where b.k = a.k and b.s <> 'r') from a order by id", ""},
	{"select id, (select max(b.v) from b join c on b.id = c.b where b.k = a.k and c.n = a.n) from a order by id", ""},
	{"select id from a where n > 1.05 or exists (select 1 from b where b.k = a.k) order by id", ""},
	{"select id from a where n > 1.05 or not exists (select 1 from b where b.k = a.k and b.v > 1) order by id", ""},
	{"select id, a.n in (select n from c where c.k = a.k) from a order by id", ""},
	{"select id, a.n not in (select n from c where c.k = a.k) from a order by id", ""},
	{"select id, case when id > 2 then (select v from b where b.id = a.id) end from a order by id", ""},
	{"select id, (select v from b where b.k = a.k) from a order by id", pgerr.CardinalityViolation},
	// A group that nobody asks for may be anything.
	{"select id, (select max(10 / (v - 4)) from b where b.k = a.k) from a order by id", ""},
	{"select id, (select max(10 / (v - 1)) from b where b.k = a.k) from a order by id", pgerr.DivisionByZero},
	{"select id, (select max(v) from b where b.k = 4 / (a.id - 3)) from a order by id", pgerr.DivisionByZero},
	{"select id, (select max(v) from b where b.v > 90 and b.k = 4 / (a.id - 3)) from a where a.id <> 3 order by id", ""},
	{"update a set v = (select sum(v) from b where b.k = a.k) where id < 100 returning id, v", ""},
}

// TestCorrelatedBatch: a subquery answered from a table of all answers says what it says when it is run for each row.
func TestCorrelatedBatch(t *testing.T) {
	db := newTestDB(t)
	db.must(`create table a (id int primary key, k int, n numeric, v bigint);
		create table b (id int primary key, k int, v bigint, s text);
		create table c (b int, k bigint, n numeric);
		insert into a values (1, 1, 1.0, 0), (2, 1, 1.00, 0), (3, 2, 1.1, 0), (4, null, 1, 0), (5, 7, null, 0), (6, 2, 2, 0), (7, 0, 1, 0);
		insert into b values (1, 1, 1, 'p'), (2, 1, 3, 'q'), (3, 2, null, 'r'), (4, 2, 5, null), (5, 4, 4, 's'), (6, null, 9, 't');
		insert into c values (1, 1, 1.000), (2, 1, 3), (3, 2, null), (4, 2, 2), (5, null, 1), (4, 2, 2)`)
	for _, test := range correlated {
		var first string
		// Run for each row, for the first ones, and for none.
		for i, after := range []float64{math.Inf(1), 2, 0} {
			st, err := parser.ParseOne(test.q)
			if err != nil {
				t.Fatal(err)
			}
			fc := db.ctx(t.Context())
			p, err := plan.Prepare(t.Context(), st.Stmt, plan.Env{Catalog: db, SearchPath: []string{"public"}, Builtin: fc})
			if err != nil {
				t.Fatalf("%s: %v", test.q, err)
			}
			n := 0
			for _, s := range p.Subqueries {
				if s != nil && s.Batch != nil {
					s.Batch.After = after
					n++
				}
			}
			if n == 0 {
				t.Fatalf("%s: no subquery can be answered from a table", test.q)
			}
			txn := db.begin(kv.TxnOptions{})
			var out strings.Builder
			_, err = Run(t.Context(), p, &Env{Txn: txn, Builtin: fc, Catalog: db}, func(row []types.Datum) error {
				for k, d := range row {
					out.Write(append(types.AppendText(nil, d, p.Columns[k].Type, nil), '|'))
				}
				out.WriteByte('\n')
				return nil
			})
			txn.Rollback(t.Context())
			if pgerr.Code(err) != test.fails && (err != nil || test.fails != "") {
				t.Errorf("%s, from a table after %g: %v, want %q", test.q, after, err, test.fails)
			}
			if i == 0 {
				first = out.String()
			} else if test.fails == "" && out.String() != first {
				t.Errorf("%s, from a table after %g:\n%swant\n%s", test.q, after, out.String(), first)
			}
		}
	}
}

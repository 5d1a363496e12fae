package ddl_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/jobs"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv"
)

// rewrites are statements that rewrite a large table while it is in use, with what holds afterwards for each row.
var rewrites = []struct {
	name, create, alter, wrong string
}{
	{"type", "CREATE TABLE w (id int PRIMARY KEY, v int, u int UNIQUE, s text)", "ALTER TABLE w ALTER v TYPE text", "v <> s"},
	{"type without key", "CREATE TABLE w (id int, v int, u int, s text)", "ALTER TABLE w ALTER v TYPE numeric(12,2)", "v::text <> s || '.00'"},
	{"unique", "CREATE TABLE w (id int PRIMARY KEY, v int, u int UNIQUE, s text)", "ALTER TABLE w ALTER u TYPE bigint USING u * 10::bigint", "u % 10 <> 0 AND id <= 4000 OR v::text <> s"},
	{"default", "CREATE TABLE w (id int PRIMARY KEY, v int, u int UNIQUE, s text)", "ALTER TABLE w ADD n float8 NOT NULL DEFAULT 1 + random()", "n IS NULL OR n < 1 OR v::text <> s"},
	{"serial", "CREATE TABLE w (id int, v int, u int, s text)", "ALTER TABLE w ADD n bigserial", "n IS NULL OR v::text <> s"},
	{"generated", "CREATE TABLE w (id int PRIMARY KEY, v int, u int UNIQUE, s text)", "ALTER TABLE w ADD n text GENERATED ALWAYS AS (v || '!') STORED", "n <> s || '!'"},
	{"key", "CREATE TABLE w (id int, v int, u int, s text)", "ALTER TABLE w ADD PRIMARY KEY (id)", "v::text <> s"},
	{"key beside another", "CREATE TABLE w (id int, v int, u int UNIQUE, s text)", "ALTER TABLE w ADD PRIMARY KEY (id)", "v::text <> s"},
	{"no key", "CREATE TABLE w (id int PRIMARY KEY, v int, u int UNIQUE, s text)", "ALTER TABLE w DROP CONSTRAINT w_pkey", "v::text <> s OR num_nulls(id, rowid) > 0"},
	{"no key of two columns", "CREATE TABLE w (id int UNIQUE, v int, u int UNIQUE, s text, PRIMARY KEY (v, id))", "ALTER TABLE w DROP CONSTRAINT w_pkey", "v::text <> s OR num_nulls(id, rowid) > 0"},
}

// TestRewriteWhileWritten rewrites a large table while others write to it in every way there is: no write is refused, and
// afterwards every row, and every index, is what it would be had it been written at once.
func TestRewriteWhileWritten(t *testing.T) {
	for _, c := range rewrites {
		t.Run(c.name, func(t *testing.T) { rewriteWhileWritten(t, c.create, c.alter, c.wrong) })
	}
}

func rewriteWhileWritten(t *testing.T, create, alter, wrong string) {
	srv := newServer(t)
	s, out := open(t, srv)
	if _, err := do(t, s, out, create, "CREATE INDEX wv ON w (v)", "CREATE INDEX ws ON w (lower(s)) WHERE id % 3 > 0",
		"INSERT INTO w SELECT g, g % 700, g, g % 700 FROM generate_series(1, 4000) g"); err != nil {
		t.Fatal(err)
	}
	keyed := !strings.Contains(create, "id int,") // ON CONFLICT needs a key
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for k := range 3 {
		ws, wo := open(t, srv)
		writers.Add(1)
		go func() {
			defer writers.Done()
			for i := range 100 {
				select {
				case <-stop:
					return
				default:
				}
				id, fresh := (i*37+k*11)%4000+1, 10000*(k+1)+i
				// A literal in quotes is of whichever type v has by then.
				qs := []string{
					fmt.Sprintf("UPDATE w SET s = s WHERE id = %d", id),
					fmt.Sprintf("DELETE FROM w WHERE id = %d", id+1),
					fmt.Sprintf("UPDATE w SET v = '%d', s = '%[1]d' WHERE id = %d", 1000+i, id+2),
					fmt.Sprintf("INSERT INTO w (id, v, u, s) VALUES (%d, '%d', %[1]d0, '%[2]d')", fresh, i),
					fmt.Sprintf("DELETE FROM w WHERE id BETWEEN %d AND %d", id+5, id+9),
					fmt.Sprintf("UPDATE w SET v = '%d', s = '%[1]d' WHERE id BETWEEN %d AND %d", 2000+i, id+20, id+23),
				}
				if keyed {
					qs = append(qs, fmt.Sprintf("INSERT INTO w (id, v, s) VALUES (%d, '7', '7'), (%d, '8', '8') ON CONFLICT (id) DO UPDATE SET v = '9', s = '9'", id+3, fresh),
						fmt.Sprintf("MERGE INTO w USING (VALUES (%d), (%d)) x (i) ON id = i WHEN MATCHED AND i <= 4000 THEN DELETE WHEN MATCHED THEN UPDATE SET s = s WHEN NOT MATCHED THEN INSERT (id, v, s) VALUES (i, '6', '6')", id+4, fresh+500000))
				}
				for _, q := range qs {
					wo.b.Reset()
					if err := ws.SimpleQuery(context.Background(), q); err != nil {
						if strings.Contains(q, "ON CONFLICT") && pgerr.Code(err) == "42P10" && strings.Contains(alter, "DROP CONSTRAINT") {
							return // the key is gone
						}
						t.Errorf("%s: %v", q, err)
						return
					}
				}
			}
		}()
	}
	_, err := do(t, s, out, alter)
	close(stop)
	writers.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if jobs, _ := do(t, s, out, "SELECT kind, state FROM meridian.jobs"); !strings.Contains(jobs, "rewrite table | succeeded") {
		t.Errorf("jobs: %s", jobs)
	}
	checkTable(t, s, out, wrong)
}

// checkTable holds the rows against a condition, and each index against the rows.
func checkTable(t *testing.T, s *sql.Session, out *output, wrong string) {
	t.Helper()
	rows, err := do(t, s, out, "SELECT * FROM w WHERE s <> '' AND ("+wrong+") LIMIT 3")
	if err != nil || !strings.HasPrefix(rows, "SELECT 0") {
		t.Errorf("rows that are not as they should be: %s %v", rows, err)
	}
	for _, q := range []struct{ index, column, where string }{
		{"wv", "v", ">= '0'"},
		{"w_u_key", "u", "> 0"},
		{"ws", "lower(s)", "= '7' AND id % 3 > 0"},
	} {
		if q.index == "w_u_key" {
			if there, _ := do(t, s, out, "SELECT 1 FROM pg_class WHERE relname = 'w_u_key'"); strings.HasPrefix(there, "SELECT 0") {
				continue
			}
		}
		by := fmt.Sprintf("SELECT %s, count(*) FROM w WHERE %[1]s %s GROUP BY 1 ORDER BY 1", q.column, q.where)
		if plan, _ := do(t, s, out, "EXPLAIN (COSTS OFF) "+by); !strings.Contains(plan, q.index) {
			t.Errorf("%s is not used: %s", q.index, plan)
		}
		a, err := do(t, s, out, by)
		if err != nil {
			t.Fatalf("%s: %v", by, err)
		}
		past := fmt.Sprintf("SELECT %s, count(*) FROM w WHERE coalesce(%[1]s, %[1]s) %s GROUP BY 1 ORDER BY 1", q.column, q.where)
		b, err := do(t, s, out, past)
		if err != nil {
			t.Fatalf("%s: %v", past, err)
		}
		if a != b {
			t.Errorf("%s: the index and the rows differ (%d and %d bytes)", q.index, len(a), len(b))
		}
	}
}

// started starts a statement that waits for a job, and returns when the job holds before its first step. The result comes when
// the gate opens.
func (g gate) started(s *sql.Session, q string) chan error {
	answer := make(chan error, 1)
	go func() { answer <- s.SimpleQuery(context.Background(), q) }()
	<-g.begun
	return answer
}

// TestRewriteSeesEveryWrite writes in every way there is while no row has been rewritten yet, while some have, and while all
// have. Each piece of the mirror is needed by one of them: what is written before the job comes to it, the job would write too.
func TestRewriteSeesEveryWrite(t *testing.T) {
	const rows = 2100
	for _, c := range rewrites {
		for _, at := range []struct {
			name string
			txn  int // of the job, with 512 rows each
		}{{"none", 1}, {"some", 3}, {"all", rows/512 + 2}} {
			t.Run(c.name+"/"+at.name, func(t *testing.T) {
				h := &halfway{of: at.txn, at: make(chan struct{}), on: make(chan struct{})}
				srv, _ := newClusterOn(t, func(db kv.DB) kv.DB { h.DB = db; return h }, func(j jobs.Handler) jobs.Handler { return marked{j} })
				s, out := open(t, srv)
				w, wout := open(t, srv)
				if _, err := do(t, s, out, c.create, "CREATE INDEX wv ON w (v)", "CREATE INDEX ws ON w (lower(s)) WHERE id % 3 > 0",
					fmt.Sprintf("INSERT INTO w SELECT g, g %% 700, g, g %% 700 FROM generate_series(1, %d) g", rows)); err != nil {
					t.Fatal(err)
				}
				answer := make(chan error, 1)
				go func() { answer <- s.SimpleQuery(context.Background(), c.alter) }()
				select {
				case <-h.at:
				case err := <-answer:
					t.Fatalf("the job has ended before it was held: %v", err)
				}
				for i, q := range writes {
					q, want := strings.CutPrefix(q, "*")
					if want && strings.Contains(c.create, "id int,") {
						continue // ON CONFLICT (id) needs a key
					}
					if q, want = strings.CutPrefix(q, "+"); want && !strings.Contains(c.create, "UNIQUE") {
						continue
					}
					if _, err := do(t, w, wout, q); err != nil {
						t.Errorf("%d %s: %v", i, q, err)
					}
				}
				before, _ := do(t, w, wout, "SELECT id, s FROM w ORDER BY id")
				close(h.on)
				if err := <-answer; err != nil {
					t.Fatal(err)
				}
				if at.name == "all" && h.n != h.of {
					t.Errorf("the job was held before transaction %d of %d, not before the last", h.of, h.n)
				}
				if after, err := do(t, s, out, "SELECT id, s FROM w ORDER BY id"); after != before {
					t.Errorf("the rows are others: %d bytes, not %d, %v", len(after), len(before), err)
				}
				checkTable(t, s, out, c.wrong)
			})
		}
	}
}

// writes are what TestRewriteSeesEveryWrite does to a table: after * what needs a key of its rows, after + what needs a unique index.
var writes = []string{
	"UPDATE w SET s = s WHERE id = 5",
	"UPDATE w SET v = '7', s = '7' WHERE id = 6",
	"UPDATE w SET v = '8', s = '8' WHERE id BETWEEN 10 AND 20",
	"UPDATE w SET v = '8', s = '8' WHERE id BETWEEN 1014 AND 1034",
	"UPDATE w SET id = 20000, v = '8', s = '8' WHERE id = 30",
	"UPDATE w SET id = 0, v = '8', s = '8' WHERE id = 2050",
	"DELETE FROM w WHERE id = 40",
	"DELETE FROM w WHERE id BETWEEN 41 AND 60",
	"DELETE FROM w WHERE id > 2080",
	"INSERT INTO w (id, v, u, s) VALUES (10000, '1', 100000, '1')",
	"INSERT INTO w (id, v, u, s) VALUES (45, '1', 110000, '1')",
	"INSERT INTO w (id, v, u, s) SELECT 10000 + g, '1', 100000 + 10 * g, '1' FROM generate_series(1, 20) g",
	"INSERT INTO w (id, v, u, s) VALUES (46, '1', 120000, '1'), (47, '2', 120010, '2') RETURNING id",
	"*INSERT INTO w (id, v, s) VALUES (70, '7', '7'), (11000, '8', '8') ON CONFLICT (id) DO UPDATE SET v = '9', s = '9'",
	"*INSERT INTO w (id, v, s) VALUES (71, '7', '7') ON CONFLICT DO NOTHING",
	"*INSERT INTO w (id, v, s) VALUES (72, '7', '7') ON CONFLICT (id) DO UPDATE SET v = '9', s = '9'",
	"*INSERT INTO w (id, v, s) VALUES (73, '7', '7') ON CONFLICT (id) DO UPDATE SET id = 12000, v = '9', s = '9'",
	"+INSERT INTO w (id, v, u, s) VALUES (13000, '7', 74, '7'), (13001, '8', 130000, '8') ON CONFLICT (u) DO UPDATE SET id = excluded.id, v = '9', s = '9'",
	"+INSERT INTO w (id, v, u, s) VALUES (13002, '7', 130000, '7') ON CONFLICT (u) DO UPDATE SET u = 130010, v = '9', s = '9'",
	"+INSERT INTO w (id, v, u, s) VALUES (13003, '7', 130010, '7') ON CONFLICT DO NOTHING",
	"*MERGE INTO w USING (VALUES (80), (11100)) x (i) ON id = i WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, v, s) VALUES (i, '6', '6')",
	"*MERGE INTO w USING (VALUES (81), (11101)) x (i) ON id = i WHEN MATCHED THEN UPDATE SET v = '5', s = '5' WHEN NOT MATCHED THEN INSERT (id, v, s) VALUES (i, '6', '6')",
	"WITH gone AS (DELETE FROM w WHERE id BETWEEN 90 AND 95 RETURNING *) INSERT INTO w (id, v, u, s) SELECT id + 30000, v, u + 900000, s FROM gone",
	"DELETE FROM w WHERE id = 10001",
	"UPDATE w SET v = '77', s = '77' WHERE id = 10002",
}

// TestRewriteThatFails: a row that cannot be converted ends the job and is the statement's error, and so is a write that
// cannot. What is left is the table as it was.
func TestRewriteThatFails(t *testing.T) {
	g := gate{begun: make(chan struct{}), open: make(chan struct{})}
	srv, _ := newCluster(t, g.around)
	s, out := open(t, srv)
	w, wout := open(t, srv)
	if _, err := do(t, s, out, "CREATE TABLE w (id int, v text, u text UNIQUE)", "INSERT INTO w SELECT g, g, g FROM generate_series(1, 3000) g",
		"UPDATE w SET v = 'x' WHERE id = 2500", "INSERT INTO w VALUES (NULL, '1')"); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ alter, code, write string }{
		{"ALTER v TYPE int USING v::int", "22P02", "INSERT INTO w VALUES (9000, 'no', 'a')"},
		{"ALTER v TYPE smallint USING (v || '00')::int", "22003", "INSERT INTO w VALUES (9000, '400', 'a')"},
		{"ALTER u TYPE int USING u::int / 2", pgerr.UniqueViolation, "INSERT INTO w VALUES (9000, '1', 'b')"},
		{"ADD PRIMARY KEY (id)", pgerr.NotNullViolation, "INSERT INTO w VALUES (NULL, '1', '9000')"},
		{"ADD PRIMARY KEY (id)", pgerr.NotNullViolation, "INSERT INTO w VALUES (9000, '1', '9000'), (9001, '1', '5') ON CONFLICT (u) DO UPDATE SET id = 9000"},
		{"ADD n int NOT NULL GENERATED ALWAYS AS (nullif(id, 7)) STORED", pgerr.NotNullViolation, "INSERT INTO w VALUES (7, '1', '9000')"},
	} {
		answer := g.started(s, "ALTER TABLE w "+step.alter)
		if _, err := do(t, w, wout, step.write); err == nil {
			t.Errorf("%s: %s is not refused", step.alter, step.write)
		}
		g.open <- struct{}{}
		if err := <-answer; pgerr.Code(err) != step.code {
			t.Errorf("%s: %v", step.alter, err)
		}
		if _, err := do(t, w, wout, "INSERT INTO w VALUES (9000, 'no', 'a')", "DELETE FROM w WHERE id = 9000"); err != nil {
			t.Errorf("after %s: %v", step.alter, err)
		}
	}
	// A row in the way of a conversion, which has no image, can be changed into one that is not.
	answer := g.started(s, "ALTER TABLE w ALTER v TYPE int USING v::int")
	if _, err := do(t, w, wout, "UPDATE w SET v = '2500' WHERE id = 2500"); err != nil {
		t.Error(err)
	}
	g.open <- struct{}{}
	if err := <-answer; err != nil {
		t.Error(err)
	}
	got, _ := do(t, s, out, "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute WHERE attrelid = 'w'::regclass AND attnum > 0 ORDER BY attnum")
	if want := "id | integer | f\nv | integer | f\nu | text | f\n"; !strings.HasPrefix(got, want) {
		t.Errorf("columns\n%s", got)
	}
}

// halfway is a database that holds a job before a transaction of its.
type halfway struct {
	kv.DB
	n, of  int
	at, on chan struct{}
}

// marked is a handler whose transactions halfway knows by their context.
type marked struct{ jobs.Handler }

type ofJob struct{}

func (m marked) Resume(ctx context.Context, run *jobs.Run) (any, error) {
	return m.Handler.Resume(context.WithValue(ctx, ofJob{}, true), run)
}

func (h *halfway) Begin(ctx context.Context, o kv.TxnOptions) (kv.Txn, error) {
	if ctx.Value(ofJob{}) != nil && o.Name != "sequence" {
		if h.n++; h.n == h.of {
			close(h.at)
			<-h.on
		}
	}
	return h.DB.Begin(ctx, o)
}

// TestRewriteOfDuplicates removes one of two rows that would have the same key, while only the other has been written
// anew: what is left of the two is in the table, and in its indexes, afterwards. The same for an index that is being built.
func TestRewriteOfDuplicates(t *testing.T) {
	for _, alter := range []string{"ALTER TABLE w ADD PRIMARY KEY (k)", "ALTER TABLE w ALTER u TYPE int USING u::int", "CREATE UNIQUE INDEX wk ON w (k)"} {
		h := &halfway{of: 2, at: make(chan struct{}), on: make(chan struct{})}
		srv, _ := newClusterOn(t, func(db kv.DB) kv.DB { h.DB = db; return h }, func(j jobs.Handler) jobs.Handler { return marked{j} })
		s, out := open(t, srv)
		w, wout := open(t, srv)
		if _, err := do(t, s, out, "CREATE TABLE w (id int, k int, u text UNIQUE, s text)", "INSERT INTO w SELECT g, g, g, 'x' FROM generate_series(1, 3000) g",
			"UPDATE w SET k = 5, u = '05' WHERE id = 2900", "UPDATE w SET k = 6, u = '06' WHERE id = 2901"); err != nil {
			t.Fatal(err)
		}
		answer := make(chan error, 1)
		go func() { answer <- s.SimpleQuery(context.Background(), alter) }()
		<-h.at
		if _, err := do(t, w, wout, "DELETE FROM w WHERE id = 2900", "UPDATE w SET k = 2901, u = '2901' WHERE id = 2901"); err != nil {
			t.Errorf("%s: %v", alter, err)
		}
		close(h.on)
		if err := <-answer; err != nil {
			t.Errorf("%s: %v", alter, err)
		}
		got, err := do(t, s, out, "SELECT k, u, id FROM w WHERE k IN (5, 6, 2901) ORDER BY 1")
		if want := "5 | 5 | 5\n6 | 6 | 6\n2901 | 2901 | 2901\nSELECT 3\n"; got != want {
			t.Errorf("%s: rows %s %v", alter, got, err)
		}
		got, err = do(t, s, out, "SELECT count(*) FROM w", "INSERT INTO w VALUES (1, 5, '5', 'y')")
		if !strings.HasPrefix(got, "2999\n") || pgerr.Code(err) != pgerr.UniqueViolation {
			t.Errorf("%s: %s, a duplicate: %v", alter, got, err)
		}
	}
}

// TestRewriteControlled pauses, resumes and cancels a rewrite, and alters and drops its table meanwhile.
func TestRewriteControlled(t *testing.T) {
	g := gate{begun: make(chan struct{}), open: make(chan struct{})}
	srv, _ := newCluster(t, g.around)
	s, out := open(t, srv)
	w, wout := open(t, srv)
	if _, err := do(t, s, out, "CREATE TABLE w (id int PRIMARY KEY, v int)", "INSERT INTO w SELECT g, g FROM generate_series(1, 3000) g"); err != nil {
		t.Fatal(err)
	}
	id := func() string {
		got, _ := do(t, w, wout, "SELECT max(job_id) FROM meridian.jobs")
		n, _, _ := strings.Cut(got, "\n")
		return n
	}
	answer := g.started(s, "ALTER TABLE w ALTER v TYPE text")
	for _, q := range []string{"ALTER TABLE w ADD c int", "ALTER TABLE w DROP v", "TRUNCATE w", "CREATE INDEX wv ON w (v)", "ALTER TABLE w ADD CHECK (v > 0)"} {
		if _, err := do(t, w, wout, q); pgerr.Code(err) != pgerr.ObjectInUse {
			t.Errorf("%s: %v", q, err)
		}
	}
	if _, err := do(t, w, wout, "ALTER TABLE w RENAME TO x", "ALTER TABLE x RENAME TO w", "GRANT SELECT ON w TO public"); err != nil {
		t.Error(err)
	}
	if _, err := do(t, w, wout, "SELECT meridian.pause_job("+id()+")"); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Errorf("the statement of a paused job: %v", err)
	}
	if _, err := do(t, w, wout, "INSERT INTO w VALUES (4000, 4000)", "SELECT meridian.resume_job("+id()+")"); err != nil {
		t.Fatal(err)
	}
	<-g.begun
	if _, err := do(t, w, wout, "SELECT meridian.cancel_job("+id()+")"); err != nil {
		t.Fatal(err)
	}
	for state := ""; !strings.HasPrefix(state, "canceled"); {
		state, _ = do(t, w, wout, "SELECT state FROM meridian.jobs ORDER BY job_id DESC LIMIT 1")
	}
	if typ := typeOf(t, s, out, "v"); typ != "integer" {
		t.Errorf("the type after a rewrite that was canceled: %s", typ)
	}
	answer = g.started(s, "ALTER TABLE w ALTER v TYPE text")
	if _, err := do(t, w, wout, "DROP TABLE w"); err != nil {
		t.Error(err)
	}
	g.open <- struct{}{}
	if err := <-answer; pgerr.Code(err) != pgerr.UndefinedObject {
		t.Errorf("a rewrite of a table that is dropped: %v", err)
	}
}

func typeOf(t *testing.T, s *sql.Session, out *output, column string) string {
	t.Helper()
	got, err := do(t, s, out, "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'w'::regclass AND attname = '"+column+"'")
	if err != nil {
		t.Fatal(err)
	}
	typ, _, _ := strings.Cut(got, "\n")
	return typ
}

package ddl_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/jobs"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/replication"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// keyTables are a table with a primary key that foreign keys rely on, its own and another's.
var keyTables = []string{
	"CREATE TABLE w (id int PRIMARY KEY, v int UNIQUE, up int REFERENCES w)",
	"CREATE TABLE c (id int PRIMARY KEY, w int REFERENCES w)",
	"CREATE INDEX wup ON w (up)",
	"INSERT INTO w SELECT g, g, 1 FROM generate_series(1, 3000) g",
	"INSERT INTO c SELECT g, g FROM generate_series(1, 10) g",
}

// shownKey is what the catalog says about w's key and columns, and about the foreign keys that rely on it.
const shownKey = "SELECT (SELECT string_agg(conrelid::regclass || '.' || conname, ' ' ORDER BY conrelid::regclass || '.' || conname) FROM pg_constraint WHERE conrelid IN ('w'::regclass, 'c'::regclass)), " +
	"(SELECT string_agg(indexrelid::regclass::text || indisprimary, ' ' ORDER BY indexrelid::regclass::text DESC) FROM pg_index WHERE indrelid = 'w'::regclass), " +
	"(SELECT string_agg(attname || attnotnull, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'w'::regclass AND attnum > 0 AND NOT attisdropped)"

const (
	withKey    = "c.c_pkey c.c_w_fkey w.w_pkey w.w_up_fkey w.w_v_key | wupfalse w_v_keyfalse w_pkeytrue | idtrue vfalse upfalse\nSELECT 1\n"
	withoutKey = "c.c_pkey w.w_v_key | wupfalse w_v_keyfalse | idtrue vfalse upfalse\nSELECT 1\n"
)

// TestKeyDrop drops the primary key of a large table: it is there, and holds, as do the foreign keys that rely on it, until
// the job has ended.
func TestKeyDrop(t *testing.T) {
	g := gate{begun: make(chan struct{}), open: make(chan struct{})}
	srv, _ := newCluster(t, g.around)
	s, out := open(t, srv)
	w, wout := open(t, srv)
	if _, err := do(t, s, out, keyTables...); err != nil {
		t.Fatal(err)
	}
	if _, err := do(t, s, out, "ALTER TABLE w DROP CONSTRAINT w_pkey"); pgerr.Code(err) != pgerr.DependentObjectsStillExist {
		t.Fatalf("a key that foreign keys rely on: %v", err)
	}
	answer := g.started(s, "ALTER TABLE w DROP CONSTRAINT w_pkey CASCADE")
	if got, err := do(t, w, wout, shownKey); got != withKey {
		t.Errorf("meanwhile: %s%v", got, err)
	}
	if got, err := do(t, w, wout, "SELECT kind, state FROM meridian.jobs"); !strings.HasPrefix(got, "rewrite table | running\n") {
		t.Errorf("the job: %s%v", got, err)
	}
	for _, q := range []struct{ text, code string }{
		{"INSERT INTO w VALUES (7, 9007)", pgerr.UniqueViolation},
		{"UPDATE w SET id = 7 WHERE id = 2000", pgerr.UniqueViolation},
		{"INSERT INTO w VALUES (NULL, 9007)", pgerr.NotNullViolation},
		{"INSERT INTO w VALUES (9001, 9001, 77777)", pgerr.ForeignKeyViolation},
		{"INSERT INTO c VALUES (11, 77777)", pgerr.ForeignKeyViolation},
		{"DELETE FROM w WHERE id = 5", pgerr.ForeignKeyViolation},
		{"CREATE TABLE d (w int REFERENCES w)", pgerr.ObjectInUse},
		{"ALTER TABLE w DROP CONSTRAINT w_v_key", pgerr.ObjectInUse},
		{"TRUNCATE w CASCADE", pgerr.ObjectInUse},
	} {
		if _, err := do(t, w, wout, q.text); pgerr.Code(err) != q.code {
			t.Errorf("meanwhile %s: %v", q.text, err)
		}
	}
	if got, err := do(t, w, wout, "SELECT * FROM w WHERE id = 3000", "INSERT INTO w VALUES (3001, 3001, 3000) RETURNING *", "SELECT w FROM w WHERE id = 3001"); got !=
		"3000 | 3000 | 1\nSELECT 1\n3001 | 3001 | 3000\nINSERT 0 1\n(3001,3001,3000)\nSELECT 1\n" {
		t.Errorf("rows: %s%v", got, err)
	}
	g.open <- struct{}{}
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	if got, err := do(t, s, out, shownKey); got != withoutKey {
		t.Errorf("afterwards: %s%v", got, err)
	}
	got, err := do(t, s, out, "INSERT INTO w VALUES (7, 9007, 77777), (7, 9008, NULL)", "INSERT INTO c VALUES (11, 77777)", "DELETE FROM w WHERE id = 5", "SELECT count(*), count(id), sum(v) FROM w", "SELECT * FROM w WHERE id = 7 ORDER BY v",
		"SELECT count(*) FROM w WHERE up = 1")
	if want := "INSERT 0 2\nINSERT 0 1\nDELETE 1\n3002 | 3002 | 4522511\nSELECT 1\n7 | 7 | 1\n7 | 9007 | 77777\n7 | 9008 | NULL\nSELECT 3\n2999\nSELECT 1\n"; got != want {
		t.Errorf("afterwards: %s%v", got, err)
	}
	if _, err := do(t, s, out, "INSERT INTO w VALUES (NULL, 9010)"); pgerr.Code(err) != pgerr.NotNullViolation {
		t.Errorf("the columns of a key stay NOT NULL: %v", err)
	}
	if _, err := do(t, s, out, "INSERT INTO w VALUES (9010, 7)"); pgerr.Code(err) != pgerr.UniqueViolation {
		t.Errorf("the other key: %v", err)
	}
}

// TestKeyDropCanceled cancels the job before its first rows, between two parts and before its end: the table has its key, its
// rows and its indexes as if nothing had been, and the key can be dropped after all.
func TestKeyDropCanceled(t *testing.T) {
	const rows = 2100
	for name, at := range map[string]int{"none": 1, "some": 3, "all": rows/512 + 2} {
		t.Run(name, func(t *testing.T) {
			h := &halfway{of: at, at: make(chan struct{}), on: make(chan struct{})}
			srv, _ := newClusterOn(t, func(db kv.DB) kv.DB { h.DB = db; return h }, func(j jobs.Handler) jobs.Handler { return marked{j} })
			s, out := open(t, srv)
			w, wout := open(t, srv)
			if _, err := do(t, s, out, "CREATE TABLE w (id int PRIMARY KEY, v int, u int UNIQUE, s text)", "CREATE INDEX wv ON w (v)", "CREATE INDEX ws ON w (lower(s)) WHERE id % 3 > 0",
				"CREATE TABLE c (id int PRIMARY KEY, w int REFERENCES w)",
				fmt.Sprintf("INSERT INTO w SELECT g, g %% 700, g, g %% 700 FROM generate_series(1, %d) g", rows), "INSERT INTO c VALUES (1, 1500)"); err != nil {
				t.Fatal(err)
			}
			const shown = "SELECT contype, conname FROM pg_constraint WHERE conrelid IN ('w'::regclass, 'c'::regclass) ORDER BY 2"
			constraints, _ := do(t, s, out, shown)
			answer := make(chan error, 1)
			go func() {
				answer <- s.SimpleQuery(context.Background(), "ALTER TABLE w DROP CONSTRAINT w_pkey CASCADE")
			}()
			select {
			case <-h.at:
			case err := <-answer:
				t.Fatalf("the job has ended before it was held: %v", err)
			}
			for _, q := range writes {
				if _, err := do(t, w, wout, strings.TrimLeft(q, "*+")); err != nil {
					t.Errorf("%s: %v", q, err)
				}
			}
			const all = "SELECT *, xmin FROM w ORDER BY id"
			before, _ := do(t, w, wout, all)
			if _, err := do(t, w, wout, "SELECT meridian.cancel_job((SELECT max(job_id) FROM meridian.jobs))"); err != nil {
				t.Fatal(err)
			}
			close(h.on)
			if err := <-answer; err == nil {
				t.Error("a statement whose job was canceled has succeeded")
			}
			if state, err := awaitEnd(t, w, wout); !strings.HasPrefix(state, "canceled") {
				t.Fatalf("the job: %s %v", state, err)
			}
			check := func(when string) {
				t.Helper()
				if after, err := do(t, w, wout, all); after != before {
					t.Errorf("the rows %s: %d bytes, not %d, %v", when, len(after), len(before), err)
				}
				checkTable(t, w, wout, "v::text <> s")
			}
			check("after it was canceled")
			if got, err := do(t, w, wout, shown); got != constraints {
				t.Errorf("constraints %s not %s %v", got, constraints, err)
			}
			if plan, _ := do(t, w, wout, "EXPLAIN (COSTS OFF) SELECT * FROM w WHERE id = 100"); !strings.Contains(plan, "w_pkey") {
				t.Errorf("the key is not used: %s", plan)
			}
			for _, q := range []struct{ text, code string }{
				{"INSERT INTO w VALUES (100, 1, -1, 1)", pgerr.UniqueViolation},
				{"INSERT INTO w VALUES (-1, 1, 100, 1)", pgerr.UniqueViolation},
				{"INSERT INTO c VALUES (2, 77777)", pgerr.ForeignKeyViolation},
				{"DELETE FROM w WHERE id = 1500", pgerr.ForeignKeyViolation},
			} {
				if _, err := do(t, w, wout, q.text); pgerr.Code(err) != q.code {
					t.Errorf("%s: %v", q.text, err)
				}
			}
			got, err := do(t, w, wout, "SELECT attname FROM pg_attribute WHERE attrelid = 'w'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum")
			if got != "id\nv\nu\ns\nSELECT 4\n" {
				t.Errorf("columns: %s %v", got, err)
			}
			if _, err := do(t, w, wout, "SELECT rowid FROM w"); pgerr.Code(err) != pgerr.UndefinedColumn {
				t.Errorf("the row ids of before: %v", err)
			}
			if _, err := do(t, w, wout, "UPDATE w SET v = 3, s = 3 WHERE id = 100", "DELETE FROM w WHERE id = 101", "INSERT INTO w VALUES (101, 5, -2, 5)"); err != nil {
				t.Error(err)
			}
			before, _ = do(t, w, wout, all)
			if _, err := do(t, w, wout, "ALTER TABLE w DROP CONSTRAINT w_pkey CASCADE"); err != nil {
				t.Error(err)
			}
			check("after the second attempt")
			if got, _ := do(t, w, wout, shown); strings.Contains(got, "w_pkey") || strings.Contains(got, "c_w_fkey") {
				t.Errorf("constraints after the second attempt: %s", got)
			}
		})
	}
}

// newNodeWith is a node of a cluster of its own.
func newNodeWith(t *testing.T, db *kvtest.DB, change func(*catalog.Manager, *sql.Config), wrap func(jobs.Handler) jobs.Handler) *sql.Server {
	t.Helper()
	m := newManager(t, db)
	c, err := sql.NewCatalog(sql.CatalogConfig{Manager: m, Providers: &pgcatalog.Providers{}})
	if err != nil {
		t.Fatal(err)
	}
	reg, err := jobs.New(jobs.Config{DB: db, Clock: wallClock{}, Node: 1, Describe: sql.JobError})
	if err != nil {
		t.Fatal(err)
	}
	cfg := sql.Config{DB: db, Catalog: c, Jobs: reg, BackfillRows: 512}
	change(m, &cfg)
	srv, err := sql.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	reg.Handle(sql.KindRewrite, wrap(srv.Rewriter()))
	t.Cleanup(func() { reg.Stop(context.Background()) })
	return srv
}

// TestKeyDropAtOnce: a key is dropped in the transaction where the rows are few, where the statement is part of a block,
// where a node would not know of row ids that rows get, and where an event trigger wants to know.
func TestKeyDropAtOnce(t *testing.T) {
	older := true
	srv := newNodeWith(t, kvtest.New(), func(_ *catalog.Manager, c *sql.Config) { c.KeyDrops = func() bool { return !older } }, func(h jobs.Handler) jobs.Handler { return h })
	s, out := open(t, srv)
	const drop = "ALTER TABLE w DROP CONSTRAINT w_pkey"
	for _, c := range []struct {
		name  string
		rows  int
		older bool
		lines []string
		jobs  int
	}{
		{"few rows", 2000, false, []string{drop}, 0},
		{"in a block", 2001, false, []string{"BEGIN", drop, "COMMIT"}, 0},
		{"older nodes", 2001, true, []string{drop}, 0},
		{"event trigger", 2001, false, []string{"CREATE FUNCTION told() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''gone''; END'",
			"CREATE EVENT TRIGGER e ON sql_drop WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION told()", drop, "ALTER EVENT TRIGGER e DISABLE"}, 0},
		{"many rows", 2001, false, []string{drop}, 1},
	} {
		older = c.older
		got, err := do(t, s, out, "CREATE TABLE w (id int PRIMARY KEY, v int)", fmt.Sprintf("INSERT INTO w SELECT g, g FROM generate_series(1, %d) g", c.rows))
		if err != nil {
			t.Fatal(got, err)
		}
		if got, err := do(t, s, out, c.lines...); err != nil {
			t.Errorf("%s: %s%v", c.name, got, err)
		}
		got, err = do(t, s, out, "SELECT count(*) FROM meridian.jobs", "INSERT INTO w VALUES (1, 1)", "SELECT count(*), sum(id), max(attnum) FROM w, (SELECT max(attnum) attnum FROM pg_attribute WHERE attrelid = 'w'::regclass) x", "DROP TABLE w")
		if want := fmt.Sprintf("%d\nSELECT 1\nINSERT 0 1\n%d | %d | 2\nSELECT 1\nDROP TABLE\n", c.jobs, c.rows+1, c.rows*(c.rows+1)/2+1); got != want {
			t.Errorf("%s: %s%v", c.name, got, err)
		}
	}
}

// TestKeyDropReplicated: a stream of changes has what others write while rows get row ids, and not that they do.
func TestKeyDropReplicated(t *testing.T) {
	for _, identity := range []string{"DEFAULT", "FULL", "NOTHING"} {
		t.Run(identity, func(t *testing.T) {
			h := &halfway{of: 4, at: make(chan struct{}), on: make(chan struct{})}
			db := kvtest.New()
			srv := newNodeWith(t, db, func(m *catalog.Manager, c *sql.Config) {
				h.DB = db
				c.DB = h
				var err error
				if c.Replication, err = replication.NewService(replication.Config{DB: db, Catalog: m, Clock: db}); err != nil {
					t.Fatal(err)
				}
			}, func(j jobs.Handler) jobs.Handler { return marked{j} })
			s, out := open(t, srv)
			w, wout := open(t, srv)
			if _, err := do(t, s, out, "CREATE TABLE w (id int PRIMARY KEY, v int, s text)", "ALTER TABLE w REPLICA IDENTITY "+identity, "INSERT INTO w SELECT g, g, 'x' FROM generate_series(1, 2600) g",
				"SELECT pg_create_logical_replication_slot('slot', 'test_decoding')"); err != nil {
				t.Fatal(err)
			}
			answer := make(chan error, 1)
			go func() { answer <- s.SimpleQuery(context.Background(), "ALTER TABLE w DROP CONSTRAINT w_pkey") }()
			select {
			case <-h.at:
			case err := <-answer:
				t.Fatalf("the job has ended before it was held: %v", err)
			}
			// Of rows that have their row ids, and of rows that have not; the first of each is as it was.
			for _, q := range []string{"UPDATE w SET s = s WHERE id = 5", "UPDATE w SET v = -6 WHERE id = 6", "DELETE FROM w WHERE id = 7", "INSERT INTO w VALUES (8000, 8000, 'y')",
				"UPDATE w SET s = s WHERE id = 2595", "UPDATE w SET v = -6 WHERE id = 2596", "DELETE FROM w WHERE id = 2597", "UPDATE w SET id = 9000 WHERE id = 2598"} {
				if _, err := do(t, w, wout, q); err != nil {
					t.Errorf("%s: %v", q, err)
				}
			}
			close(h.on)
			if err := <-answer; err != nil {
				t.Fatal(err)
			}
			got, err := do(t, s, out, "INSERT INTO w VALUES (8000, 8001, 'z')", "SELECT data FROM pg_logical_slot_get_changes('slot', NULL, NULL) WHERE data LIKE 'table%'")
			if err != nil {
				t.Fatal(err)
			}
			old := func(id, rest string) string {
				switch identity {
				case "FULL":
					return "old-key: id[integer]:" + id + " " + rest + " new-tuple: "
				}
				return ""
			}
			gone := func(id, rest string) string {
				switch identity {
				case "FULL":
					return "id[integer]:" + id + " " + rest
				case "NOTHING":
					return "(no-tuple-data)"
				}
				return "id[integer]:" + id
			}
			want := []string{
				"UPDATE: " + old("5", "v[integer]:5 s[text]:'x'") + "id[integer]:5 v[integer]:5 s[text]:'x'",
				"UPDATE: " + old("6", "v[integer]:6 s[text]:'x'") + "id[integer]:6 v[integer]:-6 s[text]:'x'",
				"DELETE: " + gone("7", "v[integer]:7 s[text]:'x'"),
				"INSERT: id[integer]:8000 v[integer]:8000 s[text]:'y'",
				"UPDATE: " + old("2595", "v[integer]:2595 s[text]:'x'") + "id[integer]:2595 v[integer]:2595 s[text]:'x'",
				"UPDATE: " + old("2596", "v[integer]:2596 s[text]:'x'") + "id[integer]:2596 v[integer]:-6 s[text]:'x'",
				"DELETE: " + gone("2597", "v[integer]:2597 s[text]:'x'"),
				"DELETE: " + gone("2598", "v[integer]:2598 s[text]:'x'"),
				"INSERT: id[integer]:9000 v[integer]:2598 s[text]:'x'",
				"INSERT: id[integer]:8000 v[integer]:8001 s[text]:'z'",
			}
			text := "INSERT 0 1\n"
			for _, l := range want {
				text += "table public.w: " + l + "\n"
			}
			if text += fmt.Sprintf("SELECT %d\n", len(want)); got != text {
				t.Errorf("changes:\n%swant\n%s", got, text)
			}
		})
	}
}

// TestKeyDropRepeated: a node does a part of the work and dies before its checkpoint is stored. The next one does the part again,
// and leaves rows the row ids that they have: their images are there.
func TestKeyDropRepeated(t *testing.T) {
	raw := kvtest.New()
	m := &mortal{DB: raw, of: 3, died: make(chan struct{})}
	cat := newManager(t, raw)
	first, reg := newNode(t, cat, m, cut{raw, m}, 1, wallClock{})
	second, other := newNode(t, cat, raw, raw, 2, laterClock{})
	s, out := open(t, first)
	w, wout := open(t, second)
	if _, err := do(t, s, out, "CREATE TABLE w (id int PRIMARY KEY, v int)", "INSERT INTO w SELECT g, g FROM generate_series(1, 2600) g"); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() { answer <- s.SimpleQuery(context.Background(), "ALTER TABLE w DROP CONSTRAINT w_pkey") }()
	select {
	case <-m.died:
	case err := <-answer:
		t.Fatalf("the job has ended before its node died: %v", err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	reg.Stop(gone) // it gives no lease back
	if err := <-answer; err == nil {
		t.Error("a statement whose node died has succeeded")
	}
	const ids = "SELECT id, rowid FROM w WHERE id <= 1024 ORDER BY id"
	if got, err := do(t, w, wout, "SELECT count(rowid) FROM w"); !strings.HasPrefix(got, "1024\n") {
		t.Fatalf("the first two parts: %s%v", got, err)
	}
	before, err := do(t, w, wout, ids)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.AdoptAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	if state, err := awaitEnd(t, w, wout); err != nil || !strings.Contains(state, "succeeded") {
		t.Fatalf("the job of the dead node: %s %v", state, err)
	}
	if after, _ := do(t, w, wout, ids); after != before {
		t.Errorf("other row ids: %d bytes, not %d", len(after), len(before))
	}
	if got, err := do(t, w, wout, "SELECT count(*), sum(id), count(DISTINCT rowid) FROM w"); got != "2600 | 3381300 | 2600\nSELECT 1\n" {
		t.Errorf("%s%v", got, err)
	}
}

// TestKeyDropChangedByOneself: a statement that calls functions which write the rows that it is about to write does not give a row
// two row ids.
func TestKeyDropChangedByOneself(t *testing.T) {
	h := &halfway{of: 3, at: make(chan struct{}), on: make(chan struct{})}
	srv, _ := newClusterOn(t, func(db kv.DB) kv.DB { h.DB = db; return h }, func(j jobs.Handler) jobs.Handler { return marked{j} })
	s, out := open(t, srv)
	w, wout := open(t, srv)
	if _, err := do(t, s, out, "CREATE TABLE w (id int PRIMARY KEY, v int UNIQUE)", "CREATE TABLE next (id int, other int)", "INSERT INTO next VALUES (2010, 2011), (2014, 2015)", "INSERT INTO w SELECT g, g FROM generate_series(1, 2600) g",
		"CREATE FUNCTION f(i int) RETURNS int LANGUAGE sql AS 'UPDATE w SET v = v + 10000 WHERE id = i; SELECT 1'",
		"CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM f(other) FROM next WHERE id = old.id; RETURN new; END'",
		"CREATE TRIGGER t BEFORE UPDATE ON w FOR EACH ROW EXECUTE FUNCTION t()"); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() { answer <- s.SimpleQuery(context.Background(), "ALTER TABLE w DROP CONSTRAINT w_pkey") }()
	select {
	case <-h.at:
	case err := <-answer:
		t.Fatalf("the job has ended before it was held: %v", err)
	}
	for _, q := range []string{
		"UPDATE w SET v = v + f(id) WHERE id = 2000",
		"UPDATE w SET v = v + f(id) WHERE id BETWEEN 2001 AND 2004",
		"DELETE FROM w WHERE id = 2005 AND f(id) = 1",
		"INSERT INTO w VALUES (2006, 1) ON CONFLICT (id) DO UPDATE SET v = w.v + f(w.id)",
		"INSERT INTO w VALUES (9000, 2007) ON CONFLICT (v) DO UPDATE SET v = w.v + f(w.id)",
		"MERGE INTO w USING (VALUES (2008)) x (i) ON id = i WHEN MATCHED THEN UPDATE SET v = v + f(id)",
		"UPDATE w SET v = -v WHERE id BETWEEN 2009 AND 2012",
	} {
		if _, err := do(t, w, wout, q); pgerr.Code(err) != pgerr.TriggeredDataChangeViolation {
			t.Errorf("%s: %v", q, err)
		}
	}
	if _, err := do(t, w, wout, "UPDATE w SET v = -v WHERE id = 2014", "SELECT f(2016)"); err != nil {
		t.Error(err)
	}
	const all = "SELECT id, v FROM w WHERE v <> id ORDER BY id"
	if got, err := do(t, w, wout, all); got != "2014 | -2014\n2015 | 12015\n2016 | 12016\nSELECT 3\n" {
		t.Errorf("rows: %s%v", got, err)
	}
	before, _ := do(t, w, wout, "SELECT * FROM w ORDER BY id")
	close(h.on)
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	if after, err := do(t, s, out, "SELECT * FROM w ORDER BY id"); after != before {
		t.Errorf("the rows are others: %d bytes, not %d, %v", len(after), len(before), err)
	}
	if got, err := do(t, s, out, "SELECT count(*) FROM w WHERE v > 0", "SELECT count(*) FROM w WHERE abs(v) > 0"); got != "2599\nSELECT 1\n2600\nSELECT 1\n" {
		t.Errorf("by the index and by the rows: %s%v", got, err)
	}
}

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
)

// do runs statements and returns what they answer; the first error ends them.
func do(t *testing.T, s *sql.Session, out *output, lines ...string) (string, error) {
	t.Helper()
	out.b.Reset()
	for _, l := range lines {
		if err := s.SimpleQuery(context.Background(), l); err != nil {
			s.Abort(context.Background())
			return out.b.String(), err
		}
	}
	return out.b.String(), nil
}

func open(t *testing.T, srv *sql.Server) (*sql.Session, *output) {
	t.Helper()
	out := &output{}
	s, err := srv.NewSession(context.Background(), sql.SessionArgs{User: "postgres", Database: "postgres", Output: out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, out
}

// TestIndexWhileWritten builds an index of a large table while others insert, update and delete: no write is refused,
// and afterwards the index says what the table says.
func TestIndexWhileWritten(t *testing.T) {
	srv := newServer(t)
	s, out := open(t, srv)
	if _, err := do(t, s, out, "CREATE TABLE w (id int PRIMARY KEY, v int)", "INSERT INTO w SELECT g, g % 700 FROM generate_series(1, 6000) g"); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for k := range 3 {
		ws, wo := open(t, srv)
		writers.Add(1)
		go func() {
			defer writers.Done()
			for i := range 500 { // no more than that, or on a busy machine the build never gets its turn with this kv.DB
				select {
				case <-stop:
					return
				default:
				}
				id := (i*37+k*11)%6000 + 1
				for _, q := range []string{
					fmt.Sprintf("UPDATE w SET v = v + 1000 WHERE id = %d", id),
					fmt.Sprintf("DELETE FROM w WHERE id = %d", id+1),
					fmt.Sprintf("INSERT INTO w VALUES (%d, %d) ON CONFLICT DO NOTHING", 10000*(k+1)+i, i),
				} {
					wo.b.Reset()
					if err := ws.SimpleQuery(context.Background(), q); err != nil {
						t.Errorf("%s: %v", q, err)
						return
					}
				}
			}
		}()
	}
	_, err := do(t, s, out, "CREATE INDEX wv ON w (v)")
	close(stop)
	writers.Wait()
	if err != nil {
		t.Fatal(err)
	}
	// Through the index and, v+0 not being indexed, past it.
	byIndex, _ := do(t, s, out, "SELECT v, count(*) FROM w WHERE v >= 0 GROUP BY v ORDER BY v")
	byRow, _ := do(t, s, out, "SELECT v + 0, count(*) FROM w WHERE v + 0 >= 0 GROUP BY 1 ORDER BY 1")
	if byIndex != byRow {
		t.Error("the index and the table differ")
	}
	plan, _ := do(t, s, out, "EXPLAIN (COSTS OFF) SELECT v FROM w WHERE v = 5")
	if !strings.Contains(plan, "wv") {
		t.Errorf("the index is not used: %s", plan)
	}
	jobs, _ := do(t, s, out, "SELECT kind, state FROM meridian.jobs")
	if !strings.Contains(jobs, "create index | succeeded") {
		t.Errorf("jobs: %s", jobs)
	}
}

// TestIndexThatFails: an index that finds two rows of one key, past the rows of its first transaction, is not left
// behind, and one is not built inside a block.
func TestIndexThatFails(t *testing.T) {
	srv := newServer(t)
	s, out := open(t, srv)
	if _, err := do(t, s, out, "CREATE TABLE w (id int PRIMARY KEY, v int)", "INSERT INTO w SELECT g, g FROM generate_series(1, 5000) g",
		"UPDATE w SET v = 4000 WHERE id = 4500"); err != nil {
		t.Fatal(err)
	}
	_, err := do(t, s, out, "CREATE UNIQUE INDEX CONCURRENTLY wv ON w (v)")
	if pgerr.Code(err) != pgerr.UniqueViolation || !strings.Contains(err.Error(), "could not create unique index") {
		t.Errorf("error: %v", err)
	}
	left, _ := do(t, s, out, "SELECT count(*) FROM pg_indexes WHERE indexname = 'wv'")
	if !strings.HasPrefix(left, "0\n") {
		t.Errorf("indexes left: %s", left)
	}
	if _, err := do(t, s, out, "UPDATE w SET v = 4500 WHERE id = 4500", "CREATE UNIQUE INDEX wv ON w (v)"); err != nil {
		t.Fatal(err)
	}
	if _, err := do(t, s, out, "INSERT INTO w VALUES (9000, 17)"); pgerr.Code(err) != pgerr.UniqueViolation {
		t.Errorf("duplicate: %v", err)
	}
	if _, err := do(t, s, out, "BEGIN", "CREATE INDEX CONCURRENTLY wc ON w (v)"); pgerr.Code(err) != pgerr.ActiveSQLTransaction {
		t.Errorf("in a block: %v", err)
	}
}

// TestConstraintsOfLargeTables adds and validates constraints of tables that are large enough for jobs: what comes of it
// is what PostgreSQL makes of it.
func TestConstraintsOfLargeTables(t *testing.T) {
	srv := newServer(t)
	s, out := open(t, srv)
	if _, err := do(t, s, out, "CREATE TABLE p (id int PRIMARY KEY)", "INSERT INTO p SELECT generate_series(0, 99)",
		"CREATE TABLE w (id int PRIMARY KEY, v int, u int, n int)", "INSERT INTO w SELECT g, g % 100, g, nullif(g, 2500) FROM generate_series(1, 3000) g"); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ text, code string }{
		{"ADD CONSTRAINT c CHECK (v >= 0)", ""},
		{"ADD CHECK (v < 50)", pgerr.CheckViolation},
		{"ADD CONSTRAINT c CHECK (v >= 0)", pgerr.DuplicateObject},
		{"ADD FOREIGN KEY (v) REFERENCES p", ""},
		{"ADD CONSTRAINT x FOREIGN KEY (id) REFERENCES p", pgerr.ForeignKeyViolation},
		{"ADD UNIQUE (u)", ""},
		{"ADD UNIQUE (v)", pgerr.UniqueViolation},
		{"ADD UNIQUE (id, v) DEFERRABLE", ""},
		{"ALTER u SET NOT NULL", ""},
		{"ALTER n SET NOT NULL", pgerr.NotNullViolation},
		{"ADD CONSTRAINT l CHECK (n < 3000) NOT VALID", ""},
		{"VALIDATE CONSTRAINT l", pgerr.CheckViolation},
		{"VALIDATE CONSTRAINT none", pgerr.UndefinedObject},
	} {
		if _, err := do(t, s, out, "ALTER TABLE w "+step.text); step.code == "" && err != nil || pgerr.Code(err) != step.code {
			t.Errorf("%s: %v", step.text, err)
		}
	}
	if _, err := do(t, s, out, "UPDATE w SET n = 1 WHERE n = 3000", "ALTER TABLE w VALIDATE CONSTRAINT l"); err != nil {
		t.Error(err)
	}
	got, _ := do(t, s, out, "SELECT conname, contype, convalidated FROM pg_constraint WHERE conrelid = 'w'::regclass ORDER BY 1")
	const want = `c | c | t
l | c | t
w_id_v_key | u | t
w_pkey | p | t
w_u_key | u | t
w_v_fkey | f | t
SELECT 6
`
	if got != want {
		t.Errorf("constraints\n%swant\n%s", got, want)
	}
	jobs, _ := do(t, s, out, "SELECT kind, state, count(*) FROM meridian.jobs GROUP BY 1, 2 ORDER BY 1, 2")
	const ran = `create index | failed | 1
create index | succeeded | 1
validate constraint | failed | 4
validate constraint | succeeded | 4
SELECT 4
`
	if jobs != ran {
		t.Errorf("jobs\n%swant\n%s", jobs, ran)
	}
}

// gate is a handler that begins when it may.
type gate struct {
	jobs.Handler
	begun, open chan struct{}
}

func (g gate) around(h jobs.Handler) jobs.Handler {
	g.Handler = h
	return g
}

func (g gate) Resume(ctx context.Context, run *jobs.Run) (any, error) {
	g.begun <- struct{}{}
	select {
	case <-g.open:
		return g.Handler.Resume(ctx, run)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// TestValidationInStretches finds the one row that violates a constraint in whichever stretch of rows it is, by keys of one
// column, of several, and without a key; and others write meanwhile what the constraint allows, and nothing else.
func TestValidationInStretches(t *testing.T) {
	g := gate{begun: make(chan struct{}), open: make(chan struct{})}
	srv, _ := newCluster(t, g.around)
	s, out := open(t, srv)
	w, wout := open(t, srv)
	for _, key := range []string{", PRIMARY KEY (id)", ", PRIMARY KEY (k, id)", ""} {
		if _, err := do(t, s, out, "DROP TABLE IF EXISTS w", "CREATE TABLE w (id int, k text DEFAULT 'it''s', n int"+key+")",
			"INSERT INTO w SELECT g, chr(65 + g % 3), g FROM generate_series(1, 9000) g"); err != nil {
			t.Fatal(err)
		}
		for _, row := range []int{1, 4096, 4097, 9000, 0} {
			if _, err := do(t, s, out, fmt.Sprintf("UPDATE w SET n = NULL WHERE id = %d", row)); err != nil {
				t.Fatal(err)
			}
			answer := make(chan error)
			go func() { answer <- s.SimpleQuery(context.Background(), "ALTER TABLE w ALTER n SET NOT NULL") }()
			<-g.begun
			if _, err := do(t, w, wout, "INSERT INTO w VALUES (10000, 'x', NULL)"); pgerr.Code(err) != pgerr.NotNullViolation {
				t.Errorf("writing what is not to be: %v", err)
			}
			if _, err := do(t, w, wout, "INSERT INTO w VALUES (10000, 'x', 1)", "DELETE FROM w WHERE id = 10000"); err != nil {
				t.Error(err)
			}
			g.open <- struct{}{}
			if err := <-answer; row == 0 && err != nil || row != 0 && pgerr.Code(err) != pgerr.NotNullViolation {
				t.Errorf("key %q, NULL in row %d: %v", key, row, err)
			}
			if _, err := do(t, s, out, fmt.Sprintf("UPDATE w SET n = 0 WHERE id = %d", row)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

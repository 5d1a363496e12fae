package ddl_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/jobs"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// mortal is a node's way to the database, which ends when its job begins so many transactions. What does not belong to
// the job goes on: the node's sessions are those of another one that lives.
type mortal struct {
	kv.DB
	n, of int           // transactions of the job, which run one after the other
	dead  atomic.Bool   // nothing of the job reaches the database any more
	died  chan struct{} // closed then
}

func (d *mortal) Begin(ctx context.Context, o kv.TxnOptions) (kv.Txn, error) {
	if ctx.Value(ofJob{}) == nil || o.Name == "sequence" {
		return d.DB.Begin(ctx, o)
	}
	if d.n++; d.n == d.of {
		d.dead.Store(true)
		close(d.died)
	}
	if d.dead.Load() {
		<-ctx.Done() // it has not the time to find out
		return nil, context.Cause(ctx)
	}
	return d.DB.Begin(ctx, o)
}

// cut is the way of its registry to the database.
type cut struct {
	kv.DB
	m *mortal
}

func (d cut) Begin(ctx context.Context, o kv.TxnOptions) (kv.Txn, error) {
	if d.m.dead.Load() {
		return nil, kv.ErrUnavailable
	}
	return d.DB.Begin(ctx, o)
}

// laterClock has leases of before ended.
type laterClock struct{ wallClock }

func (c laterClock) Now() truetime.Interval {
	n := c.wallClock.Now().Latest.Add(time.Hour)
	return truetime.Interval{Earliest: n, Latest: n}
}

// newManager starts the catalog, which the nodes share: how they learn of changes is no matter here.
func newManager(t *testing.T, db kv.DB) *catalog.Manager {
	t.Helper()
	m, err := catalog.NewManager(catalog.Config{DB: db, Clock: wallClock{}, Node: 1, Virtual: pgcatalog.Relations(), Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Stop(context.Background()) })
	return m
}

// newNode adds a node to a cluster. It does not look for jobs by itself.
func newNode(t *testing.T, m *catalog.Manager, db, jobsDB kv.DB, node uint64, clock jobs.Clock) (*sql.Server, *jobs.Registry) {
	t.Helper()
	c, err := sql.NewCatalog(sql.CatalogConfig{Manager: m, Providers: &pgcatalog.Providers{}})
	if err != nil {
		t.Fatal(err)
	}
	reg, err := jobs.New(jobs.Config{DB: jobsDB, Clock: clock, Node: node, Describe: sql.JobError})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := sql.NewServer(sql.Config{DB: db, Catalog: c, Jobs: reg, BackfillRows: 512})
	if err != nil {
		t.Fatal(err)
	}
	for kind, h := range map[string]jobs.Handler{sql.KindCreateIndex: srv.IndexBuilder(), sql.KindValidate: srv.Validator(), sql.KindRewrite: srv.Rewriter()} {
		reg.Handle(kind, marked{h})
	}
	t.Cleanup(func() { reg.Stop(context.Background()) })
	return srv, reg
}

// resumed are statements that leave their work to a job, with what holds afterwards for each row.
var resumed = append([]struct{ name, create, alter, wrong string }{
	{"index", "CREATE TABLE w (id int PRIMARY KEY, v int, u int UNIQUE, s text)", "CREATE INDEX wx ON w (u, v)", "v::text <> s"},
}, rewrites...)

// TestJobOfNodeThatDies: the node that rewrites a table, or fills an index, dies before the first rows, between two parts, and
// before it would declare the work done. Others write to the table while nobody works, and another node goes on from the
// checkpoint: rows and indexes are what they would be had all been done at once.
func TestJobOfNodeThatDies(t *testing.T) {
	const rows = 2600 // six chunks
	for _, c := range resumed {
		for _, at := range []int{1, 3, 7} {
			t.Run(fmt.Sprintf("%s/%d", c.name, at), func(t *testing.T) {
				raw := kvtest.New()
				m := &mortal{DB: raw, of: at, died: make(chan struct{})}
				cat := newManager(t, raw)
				first, reg := newNode(t, cat, m, cut{raw, m}, 1, wallClock{})
				second, other := newNode(t, cat, raw, raw, 2, laterClock{})
				s, out := open(t, first)
				w, wout := open(t, second)
				if _, err := do(t, s, out, c.create, "CREATE INDEX wv ON w (v)", "CREATE INDEX ws ON w (lower(s)) WHERE id % 3 > 0",
					fmt.Sprintf("INSERT INTO w SELECT g, g %% 700, g, g %% 700 FROM generate_series(1, %d) g", rows)); err != nil {
					t.Fatal(err)
				}
				answer := make(chan error, 1)
				go func() { answer <- s.SimpleQuery(context.Background(), c.alter) }()
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
				before, _ := do(t, w, wout, "SELECT id, s, xmin FROM w ORDER BY id")
				if err := other.AdoptAll(context.Background()); err != nil {
					t.Fatal(err)
				}
				state, err := awaitEnd(t, w, wout)
				if err != nil || !strings.Contains(state, "succeeded") {
					t.Fatalf("the job of the dead node: %s %v", state, err)
				}
				if after, err := do(t, w, wout, "SELECT id, s, xmin FROM w ORDER BY id"); after != before {
					t.Errorf("the rows, or who wrote them, are others: %d bytes, not %d, %v", len(after), len(before), err)
				}
				checkTable(t, w, wout, c.wrong)
			})
		}
	}
}

// awaitEnd returns what the newest job's record says when it has ended.
func awaitEnd(t *testing.T, s *sql.Session, out *output) (string, error) {
	for {
		state, err := do(t, s, out, "SELECT state, error FROM meridian.jobs ORDER BY job_id DESC LIMIT 1")
		if err != nil || !strings.HasPrefix(state, "running") && !strings.HasPrefix(state, "reverting") {
			return state, err
		}
	}
}

// TestWriterThroughRewrite: xmin tells who has written a row, not that the row has been written anew in another shape.
func TestWriterThroughRewrite(t *testing.T) {
	for _, c := range rewrites {
		t.Run(c.name, func(t *testing.T) {
			h := &halfway{of: 4, at: make(chan struct{}), on: make(chan struct{})}
			srv, _ := newClusterOn(t, func(db kv.DB) kv.DB { h.DB = db; return h }, func(j jobs.Handler) jobs.Handler { return marked{j} })
			s, out := open(t, srv)
			w, wout := open(t, srv)
			if _, err := do(t, s, out, c.create, "INSERT INTO w SELECT g, 1, g, 1 FROM generate_series(1, 2600) g",
				"UPDATE w SET v = 2, s = 2 WHERE id % 10 = 3", "UPDATE w SET s = s WHERE id = 2600"); err != nil {
				t.Fatal(err)
			}
			answer := make(chan error, 1)
			go func() { answer <- s.SimpleQuery(context.Background(), c.alter) }()
			select {
			case <-h.at:
			case err := <-answer:
				t.Fatalf("the job has ended before it was held: %v", err)
			}
			// Rows that have been rewritten, and rows that have not.
			for _, id := range []int{7, 2599} {
				got, err := do(t, w, wout, "BEGIN", fmt.Sprintf("UPDATE w SET s = s WHERE id = %d", id), "COMMIT",
					fmt.Sprintf("SELECT 'own', xmin <> (SELECT xmin FROM w WHERE id = 8) FROM w WHERE id = %d", id))
				if err != nil || !strings.Contains(got, "own | t") {
					t.Errorf("row %d, which was written while the table is rewritten: %s %v", id, got, err)
				}
			}
			const all = "SELECT id, xmin FROM w ORDER BY id"
			before, err := do(t, w, wout, all)
			if err != nil {
				t.Fatal(err)
			}
			if who, _ := do(t, w, wout, "SELECT count(DISTINCT xmin::text) FROM w"); !strings.HasPrefix(who, "5\n") {
				t.Errorf("%s have written rows, not 5", who)
			}
			close(h.on)
			if err := <-answer; err != nil {
				t.Fatal(err)
			}
			if after, err := do(t, s, out, all); after != before {
				t.Errorf("other transactions seem to have written the rows: %d bytes, not %d, %v", len(after), len(before), err)
			}
			if got, err := do(t, s, out, "UPDATE w SET s = s WHERE xmin = (SELECT xmin FROM w WHERE id = 2599)"); err != nil || !strings.HasPrefix(got, "UPDATE 1") {
				t.Errorf("optimistic locking afterwards: %s %v", got, err)
			}
		})
	}
}

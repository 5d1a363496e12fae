package ddl_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/meridian-db/meridian/range/placement"
	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/jobs"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// output prints what a session answers: rows, tags and notices.
type output struct {
	b        strings.Builder
	cols     []sql.Column
	settings *types.Settings
}

func (o *output) BeginRows(cols []sql.Column, _ []int16, s *types.Settings, _ bool) {
	o.cols, o.settings = cols, s
}
func (o *output) Row(row []types.Datum) error {
	cells := make([]string, len(row))
	for i, d := range row {
		cells[i] = "NULL"
		if !d.IsNull() {
			cells[i] = string(types.AppendText(nil, d, o.cols[i].Type, o.settings))
		}
	}
	fmt.Fprintln(&o.b, strings.Join(cells, " | "))
	return nil
}
func (o *output) Complete(tag string)               { fmt.Fprintln(&o.b, tag) }
func (o *output) CompleteRows(verb string, n int64) { fmt.Fprintf(&o.b, "%s %d\n", verb, n) }
func (o *output) EmptyQuery()                       {}
func (o *output) Suspended()                        {}
func (o *output) Notice(n *pgerr.Error) {
	fmt.Fprintf(&o.b, "%s: %s\n", n.SeverityOrDefault(), n.Message)
}
func (o *output) Parameter(string, string)                       {}
func (o *output) Notify(int32, string, string)                   {}
func (o *output) BeginCopyOut(int, int16)                        {}
func (o *output) CopyData([]byte) error                          { return nil }
func (o *output) EndCopyOut()                                    {}
func (o *output) Mark() sql.Mark                                 { return sql.Mark{Pos: int64(o.b.Len())} }
func (o *output) Sent(sql.Mark) bool                             { return false }
func (o *output) BeginDigest(bool)                               {}
func (o *output) EndDigest() uint64                              { return 0 }
func (o *output) BeginCopyIn(int, int16) (sql.CopySource, error) { return o, nil }
func (o *output) NextCopyData() ([]byte, error)                  { return nil, io.EOF }
func (o *output) Rewind(m sql.Mark) bool {
	text := o.b.String()[:m.Pos]
	o.b.Reset()
	o.b.WriteString(text)
	return true
}

type wallClock struct{}

func (wallClock) Now() truetime.Interval {
	n := truetime.FromTime(time.Now())
	return truetime.Interval{Earliest: n, Latest: n}
}
func (wallClock) WaitAfter(context.Context, truetime.Timestamp) error { return nil }

func newServer(t *testing.T) *sql.Server {
	srv, _ := newCluster(t)
	return srv
}

// newCluster starts a server; the handlers of jobs are wrapped.
func newCluster(t *testing.T, wrap ...func(jobs.Handler) jobs.Handler) (*sql.Server, kv.DB) {
	t.Helper()
	return newClusterOn(t, func(db kv.DB) kv.DB { return db }, wrap...)
}

// newClusterOn is newCluster with a database of sessions that is made of the cluster's.
func newClusterOn(t *testing.T, of func(kv.DB) kv.DB, wrap ...func(jobs.Handler) jobs.Handler) (*sql.Server, kv.DB) {
	t.Helper()
	db := kvtest.New()
	m, err := catalog.NewManager(catalog.Config{DB: db, Clock: wallClock{}, Node: 1, Virtual: pgcatalog.Relations(), Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Stop(context.Background()) })
	nodes := func(context.Context) ([]pgcatalog.Node, error) {
		return []pgcatalog.Node{{Region: "us-east", Zone: "a"}, {Region: "us-east", Zone: "b"}, {Region: "us-east", Zone: "c"}, {Region: "eu-west", Zone: "a"}, {Region: "ap-south", Zone: "a"}}, nil
	}
	c, err := sql.NewCatalog(sql.CatalogConfig{Manager: m, Providers: &pgcatalog.Providers{Nodes: nodes}})
	if err != nil {
		t.Fatal(err)
	}
	reg, err := jobs.New(jobs.Config{DB: db, Clock: wallClock{}, Node: 1, Describe: sql.JobError})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := sql.NewServer(sql.Config{DB: of(db), Catalog: c, Jobs: reg, BackfillRows: 512})
	if err != nil {
		t.Fatal(err)
	}
	for kind, h := range map[string]jobs.Handler{sql.KindCreateIndex: srv.IndexBuilder(), sql.KindValidate: srv.Validator(), sql.KindRewrite: srv.Rewriter()} {
		for _, w := range wrap {
			h = w(h)
		}
		reg.Handle(kind, h)
	}
	reg.Start()
	t.Cleanup(func() { reg.Stop(context.Background()) })
	return srv, db
}

// policies prints the records that placement reads. Storage ids are shown by the order of their appearance.
func policies(t *testing.T, db kv.DB) string {
	ctx := context.Background()
	tx, err := db.Begin(ctx, kv.TxnOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(ctx)
	start, end := placement.KeySpan()
	sc, err := tx.Scan(ctx, kv.Span{Start: start, End: end}, kv.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer sc.Close()
	var b strings.Builder
	ids := map[string]int{}
	for sc.Next(ctx) {
		p, err := placement.Decode(sc.Pair().Value)
		if err != nil || string(placement.Key(p.Start)) != string(sc.Pair().Key) {
			t.Fatalf("record %x: %v", sc.Pair().Key, err)
		}
		if len(p.Start) == 1 {
			fmt.Fprintf(&b, "everything from %x to %x: %+v\n", p.Start, p.End, p.Policy)
			continue
		}
		id := string(p.Start[1:5])
		if _, ok := ids[id]; !ok {
			ids[id] = len(ids) + 1
		}
		fmt.Fprintf(&b, "storage %d", ids[id])
		if len(p.Start) > 5 {
			fmt.Fprintf(&b, " index %x", p.Start[5:])
		}
		fmt.Fprintf(&b, ": %+v\n", p.Policy)
	}
	if sc.Err() != nil {
		t.Fatal(sc.Err())
	}
	return b.String()
}

// TestDDL runs the golden scripts. Each script has a database of its own; "sql" runs its lines as statements, one
// a line, and shows what they answer.
func TestDDL(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		srv, db := newCluster(t)
		out := &output{}
		ctx := context.Background()
		s, err := srv.NewSession(ctx, sql.SessionArgs{User: "postgres", Database: "postgres", Output: out})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "policies" {
				return policies(t, db)
			}
			for line := range strings.SplitSeq(d.Input, "\n") {
				if err := s.SimpleQuery(ctx, line); err != nil {
					s.Abort(ctx)
					var e *pgerr.Error
					if !errors.As(err, &e) {
						fmt.Fprintf(&out.b, "error: %v\n", err)
						continue
					}
					fmt.Fprintf(&out.b, "%s: %s\n", e.Code, e.Message)
					if e.Hint != "" && strings.HasSuffix(path, "tablespaces.txt") {
						fmt.Fprintf(&out.b, "  hint: %s\n", e.Hint)
					}
					if e.Detail != "" {
						fmt.Fprintf(&out.b, "  detail: %s\n", strings.ReplaceAll(e.Detail, "\n", "\n  "))
					}
				}
			}
			text := out.b.String()
			out.b.Reset()
			return text
		})
	})
}

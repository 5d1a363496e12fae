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

	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
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
	c, err := sql.NewCatalog(sql.CatalogConfig{Manager: m})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := sql.NewServer(sql.Config{DB: db, Catalog: c})
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

// TestDDL runs the golden scripts. Each script has a database of its own; "sql" runs its lines as statements, one
// a line, and shows what they answer.
func TestDDL(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		srv := newServer(t)
		out := &output{}
		ctx := context.Background()
		s, err := srv.NewSession(ctx, sql.SessionArgs{User: "postgres", Database: "postgres", Output: out})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			for line := range strings.SplitSeq(d.Input, "\n") {
				if err := s.SimpleQuery(ctx, line); err != nil {
					s.Abort(ctx)
					var e *pgerr.Error
					if !errors.As(err, &e) {
						fmt.Fprintf(&out.b, "error: %v\n", err)
						continue
					}
					fmt.Fprintf(&out.b, "%s: %s\n", e.Code, e.Message)
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

package sql

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// memOutput prints what a session answers, a line for each message.
type memOutput struct {
	b        strings.Builder
	cols     []Column
	settings *types.Settings
	copyIn   []string
	digest   maphash.Hash
	digests  bool
	discard  bool
	details  bool  // notices with detail and hint
	flushed  int64 // what Sent looks at: a test makes bytes "leave" by raising it
}

func (o *memOutput) BeginRows(cols []Column, _ []int16, s *types.Settings, describe bool) {
	o.cols, o.settings = cols, s
	if describe {
		names := make([]string, len(cols))
		for i, c := range cols {
			names[i] = c.Name
		}
		o.line("columns %s", strings.Join(names, ", "))
	}
}
func (o *memOutput) line(format string, args ...any) {
	at := o.b.Len()
	fmt.Fprintf(&o.b, format+"\n", args...)
	if o.digests {
		text := o.b.String()
		o.digest.WriteString(text[at:])
		if o.discard {
			o.b.Reset()
			o.b.WriteString(text[:at])
		}
	}
}
func (o *memOutput) Row(row []types.Datum) error {
	cells := make([]string, len(row))
	for i, d := range row {
		cells[i] = "NULL"
		if !d.IsNull() {
			cells[i] = string(types.AppendText(nil, d, o.cols[i].Type, o.settings))
		}
	}
	o.line("%s", strings.Join(cells, " | "))
	return nil
}
func (o *memOutput) Complete(tag string)               { o.line("%s", tag) }
func (o *memOutput) CompleteRows(verb string, n int64) { o.line("%s %d", verb, n) }
func (o *memOutput) EmptyQuery()                       { o.line("empty") }
func (o *memOutput) Suspended()                        { o.line("suspended") }
func (o *memOutput) Notice(n *pgerr.Error) {
	if o.details {
		o.b.WriteString(problemText(n))
		return
	}
	o.line("%s %s: %s", n.Severity, n.Code, n.Message)
}

// problem prints an error with detail and hint.
func (o *memOutput) problem(err error) {
	var e *pgerr.Error
	if !errors.As(err, &e) {
		o.line("error %v", err)
		return
	}
	o.b.WriteString(problemText(e))
}
func (o *memOutput) Parameter(name, value string) { o.line("parameter %s = %s", name, value) }
func (o *memOutput) Notify(_ int32, channel, payload string) {
	o.line("notify %s %s", channel, payload)
}
func (o *memOutput) BeginCopyOut(columns int, _ int16) { o.line("copy out %d", columns) }
func (o *memOutput) CopyData(b []byte) error {
	o.line("%s", strings.TrimSuffix(string(b), "\n"))
	return nil
}
func (o *memOutput) EndCopyOut()                                {}
func (o *memOutput) Mark() Mark                                 { return Mark{int64(o.b.Len()), o.flushed} }
func (o *memOutput) Sent(m Mark) bool                           { return o.flushed != m.Flushed }
func (o *memOutput) BeginDigest(discard bool)                   { o.digest.Reset(); o.digests, o.discard = true, discard }
func (o *memOutput) EndDigest() uint64                          { o.digests, o.discard = false, false; return o.digest.Sum64() }
func (o *memOutput) BeginCopyIn(int, int16) (CopySource, error) { return o, nil }
func (o *memOutput) NextCopyData() ([]byte, error) {
	if len(o.copyIn) == 0 {
		return nil, io.EOF
	}
	b := []byte(o.copyIn[0])
	o.copyIn = o.copyIn[1:]
	return b, nil
}
func (o *memOutput) Rewind(m Mark) bool {
	if o.Sent(m) {
		return false
	}
	text := o.b.String()[:m.Pos]
	o.b.Reset()
	o.b.WriteString(text)
	return true
}

// take returns what was answered since the last take.
func (o *memOutput) take() string {
	s := o.b.String()
	o.b.Reset()
	return s
}

type wallClock struct{}

func (wallClock) Now() truetime.Interval {
	n := truetime.FromTime(time.Now())
	return truetime.Interval{Earliest: n, Latest: n}
}
func (wallClock) WaitAfter(context.Context, truetime.Timestamp) error { return nil }

// newTestServer returns a server over db, with a catalog.
func newTestServer(t testing.TB, db kv.DB) *Server {
	t.Helper()
	m, err := catalog.NewManager(catalog.Config{DB: db, Clock: wallClock{}, Node: 1, Virtual: pgcatalog.Relations(), Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Stop(context.Background()) })
	c, err := NewCatalog(CatalogConfig{Manager: m})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := NewServer(Config{DB: db, Catalog: c})
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

// testSession is a session with its output.
type testSession struct {
	*Session
	out *memOutput
}

func newTestSession(t testing.TB, srv *Server) *testSession {
	t.Helper()
	out := &memOutput{}
	s, err := srv.NewSession(context.Background(), SessionArgs{User: "postgres", Database: "postgres", Output: out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return &testSession{s, out}
}

// run runs a simple query and returns its answer, with the error and the status as lines.
func (s *testSession) run(text string) string {
	ctx := context.Background()
	if err := s.SimpleQuery(ctx, text); err != nil {
		s.Abort(ctx)
		s.out.line("%s", errorLine(err))
	}
	s.out.line("%c", s.Status())
	return s.out.take()
}

func errorLine(err error) string {
	var e *pgerr.Error
	if !errors.As(err, &e) {
		return "error " + err.Error()
	}
	line := fmt.Sprintf("%s %s: %s", e.SeverityOrDefault(), e.Code, e.Message)
	if e.Position > 0 {
		line += fmt.Sprintf(" at %d", e.Position)
	}
	if e.Where != "" {
		line += " (" + e.Where + ")"
	}
	return line
}

// TestSessions runs the golden scripts: "run session=a" runs each line of SQL on session a, "copy" gives the
// data for the next COPY FROM, "deliver" sends what a session waits to be told.
func TestSessions(t *testing.T) {
	datadriven.Walk(t, "testdata/session", func(t *testing.T, path string) {
		srv := newTestServer(t, kvtest.New())
		sessions := map[string]*testSession{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			name := "a"
			if d.HasArg("session") {
				d.ScanArgs(t, "session", &name)
			}
			s := sessions[name]
			if s == nil {
				s = newTestSession(t, srv)
				sessions[name] = s
			}
			switch d.Cmd {
			case "run":
				return s.run(d.Input)
			case "each":
				var b strings.Builder
				for line := range strings.SplitSeq(d.Input, "\n") {
					fmt.Fprintf(&b, "> %s\n%s", line, s.run(line))
				}
				return b.String()
			case "deliver":
				s.DeliverNotifications()
				return s.out.take()
			case "copy":
				s.out.copyIn = append(s.out.copyIn, d.Input+"\n")
				return ""
			}
			t.Fatalf("unknown command %s", d.Cmd)
			return ""
		})
	})
}

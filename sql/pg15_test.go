package sql

import (
	"context"
	"flag"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// pg15URL makes TestPostgres15 ask a PostgreSQL 15 instead of a session, so that -rewrite records what
// PostgreSQL answers:
//
//	go test ./sql -run Postgres15 -pg15 postgres://postgres@127.0.0.1:5432/postgres -rewrite
var pg15URL = flag.String("pg15", "", "URL of a PostgreSQL 15 to record testdata/pg15 from")

var namesThenError = regexp.MustCompile(`(?m)^columns .*\n(ERROR )`)

// answerer runs a statement and returns its answer: column names, rows, notices, tag or error.
type answerer func(statement string) string

// TestPostgres15 compares answers with those of PostgreSQL 15. A file is one session on an empty database.
// Each line of its input is a statement; a line that starts with a space continues the one before. The command context prints
// the contexts of errors, too.
func TestPostgres15(t *testing.T) {
	datadriven.Walk(t, "testdata/pg15", func(t *testing.T, path string) {
		ask := askMeridian(t)
		if *pg15URL != "" {
			ask = askPostgres(t)
		}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			keep := ""
			switch d.Cmd {
			case "sql":
			case "context":
				keep = "$0"
			default:
				t.Fatalf("unknown command %s", d.Cmd)
			}
			var b strings.Builder
			text := strings.ReplaceAll(d.Input, "\n ", "\v ")
			for statement := range strings.SplitSeq(text, "\n") {
				statement = strings.ReplaceAll(statement, "\v", "\n")
				// Whether the column names leave before an error depends on when constants are folded.
				fmt.Fprintf(&b, "> %s\n%s", statement, namesThenError.ReplaceAllString(ask(statement), "$1"))
			}
			return strings.ReplaceAll(contextText.ReplaceAllString(b.String(), keep), contextMark, "")
		})
	})
}

func askMeridian(t *testing.T) answerer {
	s := newTestSession(t, newTestServer(t, kvtest.New()))
	s.out.details = true
	s.run("SET timezone = 'UTC'")
	return func(statement string) string {
		ctx := context.Background()
		if err := s.SimpleQuery(ctx, statement); err != nil {
			s.Abort(ctx)
			s.out.problem(err)
		}
		return s.out.take()
	}
}

// askPostgres runs statements in a database made for them.
func askPostgres(t *testing.T) answerer {
	ctx := context.Background()
	connect := func(database string) (*pgconn.PgConn, *strings.Builder) {
		var notices strings.Builder
		cfg, err := pgconn.ParseConfig(*pg15URL)
		if err != nil {
			t.Fatal(err)
		}
		if database != "" {
			cfg.Database = database
		}
		cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notices.WriteString(postgresProblem((*pgconn.PgError)(n))) }
		conn, err := pgconn.ConnectConfig(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(ctx) })
		return conn, &notices
	}
	admin, _ := connect("")
	for _, q := range []string{"DROP DATABASE IF EXISTS meridian_pg15 WITH (FORCE)", "CREATE DATABASE meridian_pg15 TEMPLATE template0 LC_COLLATE 'C'"} {
		if _, err := admin.Exec(ctx, q).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	conn, notices := connect("meridian_pg15")
	conn.Exec(ctx, "SET timezone = 'UTC'").Close()
	return func(statement string) string {
		var b strings.Builder
		results := conn.Exec(ctx, statement)
		for results.NextResult() {
			r := results.ResultReader()
			if fields := r.FieldDescriptions(); fields != nil {
				names := make([]string, len(fields))
				for i, f := range fields {
					names[i] = f.Name
				}
				fmt.Fprintf(&b, "columns %s\n", strings.Join(names, ", "))
			}
			for r.NextRow() {
				cells := make([]string, len(r.Values()))
				for i, v := range r.Values() {
					if cells[i] = string(v); v == nil {
						cells[i] = "NULL"
					}
				}
				fmt.Fprintf(&b, "%s\n", strings.Join(cells, " | "))
			}
			tag, err := r.Close()
			if err != nil {
				break
			}
			b.WriteString(notices.String())
			notices.Reset()
			fmt.Fprintf(&b, "%s\n", tag)
		}
		b.WriteString(notices.String())
		notices.Reset()
		if err := results.Close(); err != nil {
			b.WriteString(postgresProblem(err.(*pgconn.PgError)))
		}
		return b.String()
	}
}

func postgresProblem(e *pgconn.PgError) string {
	return problemText(&pgerr.Error{Severity: e.Severity, Code: e.Code, Message: e.Message, Detail: e.Detail, Hint: e.Hint, Position: int(e.Position),
		Where: e.Where, InternalQuery: e.InternalQuery, InternalPos: int(e.InternalPosition)})
}

// problemText prints an error or notice with all that a user sees of it, but for its context.
func problemText(e *pgerr.Error) string {
	s := fmt.Sprintf("%s %s: %s", e.SeverityOrDefault(), e.Code, e.Message)
	if e.Position > 0 {
		s += fmt.Sprintf(" at %d", e.Position)
	}
	s += "\n"
	for _, f := range [][2]string{{"detail", e.Detail}, {"hint", e.Hint}} {
		if f[1] != "" {
			s += "  " + f[0] + ": " + f[1] + "\n"
		}
	}
	if e.Where != "" || e.InternalQuery != "" {
		s += contextMark
		if e.InternalPos > 0 {
			s += fmt.Sprintf("  query: %s at %d\n", e.InternalQuery, e.InternalPos)
		}
		s += "  context: " + strings.ReplaceAll(e.Where, "\n", "\n    ") + "\n" + contextMark
	}
	return s
}

// contextMark is around the context of a problem, which only tests about contexts keep.
const contextMark = "\x00"

var contextText = regexp.MustCompile(contextMark + "[^" + contextMark + "]*" + contextMark)

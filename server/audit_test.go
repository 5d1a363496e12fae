package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"

	"github.com/meridian-db/meridian/sql/audit"
)

// wholeReceiver is an OTLP collector that keeps everything that is said to it, as text.
type wholeReceiver struct {
	collector.UnimplementedTraceServiceServer
	mu   sync.Mutex
	text strings.Builder
}

func (r *wholeReceiver) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.WriteString(req.String())
	return &collector.ExportTraceServiceResponse{}, nil
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestNoSecretLeaves: passwords, connection strings and values that clients bind are in no log, audit event or trace, whatever
// becomes of their statements; and the same statements are there without them.
func TestNoSecretLeaves(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	traces := &wholeReceiver{}
	tel := exportTo(t, ctx, traces)
	var log syncBuffer
	auditFile := filepath.Join(t.TempDir(), "audit.log")
	s := startNode(t, func(c *Config) {
		c.Insecure, c.AuditLog, c.Telemetry = true, auditFile, tel
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	if err := s.core.SQL.Exec(ctx, "postgres", "alter database postgres set pgaudit.log = 'all'; alter role postgres set log_min_duration_statement = 0", nil); err != nil {
		t.Fatal(err)
	}
	const secret = "x7secretx"
	for _, mode := range []string{"simple_protocol", "exec", "cache_describe"} {
		conn, err := pgx.Connect(ctx, "postgres://postgres:"+secret+"@"+s.SQLAddr()+"/postgres?sslmode=disable&application_name=app&default_query_exec_mode="+mode)
		if err != nil {
			t.Fatal(err)
		}
		for i, q := range []string{
			"create role r%d login password '" + secret + "'",
			"alter role r%d password $$" + secret + "$$ -- " + secret,
			"alter user r%d with encrypted password E'" + secret + "' valid until '" + secret + "'",
			"create role again%d password '" + secret, // does not end
			"select meridian.backup('s3://bucket/x%d?aws_secret_access_key=" + secret + "')",
			"create subscription s%d connection 'password=" + secret + "' publication p",
			"create table if not exists t%d (a text); insert into t values ('" + secret + "')",
			"prepare p%d as select $1::text; execute p0('" + secret + "')",
			"do $$ begin raise exception 'no %%', '" + secret + "'; end $$ /* %d */",
		} {
			_, _ = conn.Exec(ctx, fmt.Sprintf(q, i)) // some fail, which is as good
		}
		var n int
		if err := conn.QueryRow(ctx, "select count(*) from pg_class where relname = $1 or relname = $2", secret, "pg_"+secret).Scan(&n); err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Exec(ctx, "select $1::int", secret)
		conn.Close(ctx)
	}
	if err := s.Stop(); err != nil { // flushes the traces
		t.Fatal(err)
	}
	tel.Close()
	events, err := os.ReadFile(auditFile)
	if err != nil {
		t.Fatal(err)
	}
	traces.mu.Lock()
	defer traces.mu.Unlock()
	for name, text := range map[string]string{"log": log.String(), "audit log": string(events), "traces": traces.text.String()} {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("a secret is in the %s: ...%s", name, text[max(0, i-300):min(len(text), i+50)])
		}
		if !strings.Contains(strings.ToLower(text), "password $1") && !strings.Contains(text, `password $1`) {
			t.Errorf("the %s does not show the statements at all", name)
		}
	}
	for _, want := range []string{"slow statement", "commit_wait=", "trace="} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log", want)
		}
	}
}

// TestAudit: what is recorded follows the settings, by class of statement and by the audit role's privileges.
func TestAudit(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	file := filepath.Join(t.TempDir(), "audit.log")
	s := startNode(t, func(c *Config) { c.Insecure, c.AuditLog = true, file })
	as := func(user string) *pgx.Conn {
		conn, err := pgx.Connect(ctx, "postgres://"+user+"@"+s.SQLAddr()+"/postgres?sslmode=disable&application_name=app")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		return conn
	}
	root := as("postgres")
	for _, q := range []string{"create table accounts (id int primary key, balance int)", "create table notes (id int primary key)",
		"create role clerk login", "grant all on accounts, notes to clerk", "create role auditor", "grant update on accounts to auditor",
		"grant select (balance) on accounts to auditor", "create function twice(int) returns int language sql as 'select 2 * $1'",
		"alter role clerk set pgaudit.log = 'write, misc_set, -write'", "alter role clerk set pgaudit.role = 'auditor'"} {
		execute(t, ctx, root, q)
	}
	read := func() (out []audit.Event) {
		t.Helper()
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var e audit.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			if e.Time.IsZero() || e.Node == 0 {
				t.Errorf("no time or node in %s", line)
			}
			if e.Event != "login" && e.Event != "logout" {
				out = append(out, e)
			}
		}
		return out
	}
	if got := read(); len(got) != 0 {
		t.Errorf("recorded without being told to: %+v", got)
	}
	// expect runs a statement and compares what it has added: event, class, command, object, SQLSTATE.
	expect := func(conn *pgx.Conn, q string, want ...string) {
		t.Helper()
		before := len(read())
		_, _ = conn.Exec(ctx, q)
		var got []string
		for _, e := range read()[before:] {
			got = append(got, strings.TrimRight(strings.Join([]string{e.Event, e.Class, e.Command, e.Object, e.State}, " "), " "))
			if e.User == "" || e.Database != "postgres" || e.Application != "app" || e.Client == "" || e.Statement == "" {
				t.Errorf("%s: %+v", q, e)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: recorded %q, want %q", q, got, want)
		}
	}
	clerk := as("clerk")
	expect(clerk, "select id from accounts")
	expect(clerk, "select balance from accounts where balance > 3", "object READ SELECT public.accounts")
	expect(clerk, "update accounts set balance = 1 where id = 2", "object WRITE UPDATE public.accounts")
	expect(clerk, "insert into accounts values (1, 1)")
	expect(clerk, "select * from notes")
	expect(clerk, "set application_name = 'app'", "session MISC_SET SET")
	expect(clerk, "set pgaudit.log = 'none'", "session MISC_SET SET  42501")
	execute(t, ctx, root, "set pgaudit.log = 'read, role, ddl, function'")
	expect(root, "select * from accounts", "session READ SELECT public.accounts")
	expect(root, "insert into notes values (1)")
	expect(root, "create role x login password 'y'", "session ROLE CREATE ROLE")
	expect(root, "grant select on notes to x", "session ROLE GRANT")
	expect(root, "drop table missing", "session DDL DROP TABLE  42P01")
	expect(root, "create table made (a int)", "session DDL CREATE TABLE")
	execute(t, ctx, root, "set pgaudit.log = 'function'")
	expect(root, "select twice(id) from accounts", "session FUNCTION SELECT public.twice")
	expect(root, "do 'begin end'", "session FUNCTION DO")
	execute(t, ctx, root, "set pgaudit.log = 'read'; set pgaudit.log_relation = on; set pgaudit.log_catalog = off")
	expect(root, "select * from accounts, notes", "session READ SELECT public.accounts", "session READ SELECT public.notes")
	expect(root, "select * from pg_class")
	if code := <-failing(ctx, root, "set pgaudit.log_parameter = on"); code != "0A000" {
		t.Errorf("log_parameter: %s", code)
	}
	if code := <-failing(ctx, root, "set pgaudit.log = 'everything'"); code != "22023" {
		t.Errorf("a class that does not exist: %s", code)
	}
	// Rotation by rename: the next events come in a new file.
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	for ctx.Err() == nil {
		execute(t, ctx, root, "select * from notes")
		if _, err := os.Stat(file); err == nil {
			break
		}
	}
}

package pgwire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

type wallClock struct{}

func (wallClock) Now() truetime.Interval {
	n := truetime.FromTime(time.Now())
	return truetime.Interval{Earliest: n, Latest: n}
}
func (wallClock) WaitAfter(context.Context, truetime.Timestamp) error { return nil }

// startDatabase serves the whole SQL layer over an in-memory kv.
func startDatabase(t testing.TB, cfg Config) string {
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
	if cfg.SQL, err = sql.NewServer(sql.Config{DB: db, Catalog: c}); err != nil {
		t.Fatal(err)
	}
	cfg.Auth = AuthTrust
	_, addr := startServer(t, cfg)
	return addr
}

func connectPgx(t testing.TB, addr string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, "postgres://postgres@"+addr+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func mustExec(t testing.TB, conn *pgx.Conn, text string, args ...any) pgconn.CommandTag {
	t.Helper()
	tag, err := conn.Exec(context.Background(), text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return tag
}

func codeOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestPgxBinaryRoundTrip(t *testing.T) {
	conn := connectPgx(t, startDatabase(t, Config{}))
	ctx := context.Background()
	mustExec(t, conn, `CREATE TABLE v (id int8 PRIMARY KEY, s int2, i int4, f float8, g float4, b bool, t text, y bytea, d date, ts timestamp, tz timestamptz, n numeric, u uuid, a int[], iv interval, j jsonb)`)
	at := time.Date(2024, 2, 29, 12, 34, 56, 789000, time.UTC)
	mustExec(t, conn, `INSERT INTO v VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16)`,
		int64(1)<<40, int16(-7), int32(1<<30), 1.5e300, float32(0.25), true, "grüß", []byte{0, 1, 255}, at, at, at, "123.4500",
		"8c1f1e4e-2f0b-4a6e-9d0e-0f1e2d3c4b5a", []int32{1, 2, 3}, 90*time.Minute, map[string]any{"a": []int{1, 2}})
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		var (
			id      int64
			s       int16
			i       int32
			f       float64
			g       float32
			b       bool
			text    string
			y       []byte
			d, ts   time.Time
			tz      time.Time
			n, u, j string
			a       []int32
			iv      time.Duration
		)
		err := conn.QueryRow(ctx, `SELECT id, s, i, f, g, b, t, y, d, ts, tz, n::text, u::text, a, iv, j::text FROM v WHERE id = $1`, mode, int64(1)<<40).
			Scan(&id, &s, &i, &f, &g, &b, &text, &y, &d, &ts, &tz, &n, &u, &a, &iv, &j)
		if err != nil {
			t.Fatalf("mode %v: %v", mode, err)
		}
		got := fmt.Sprint(id, s, i, f, g, b, text, y, d.Format(time.DateOnly), ts.Format(time.RFC3339Nano), tz.UTC().Format(time.RFC3339Nano), n, u, a, iv, j)
		want := fmt.Sprint(int64(1)<<40, -7, 1<<30, 1.5e300, 0.25, true, "grüß", []byte{0, 1, 255}, "2024-02-29", at.Format(time.RFC3339Nano), at.Format(time.RFC3339Nano),
			"123.4500", "8c1f1e4e-2f0b-4a6e-9d0e-0f1e2d3c4b5a", []int32{1, 2, 3}, 90*time.Minute, `{"a": [1, 2]}`)
		if got != want {
			t.Errorf("mode %v:\ngot  %s\nwant %s", mode, got, want)
		}
	}
}

// A batch is one implicit transaction in one round trip; an error in it undoes all of it.
func TestPgxBatch(t *testing.T) {
	conn := connectPgx(t, startDatabase(t, Config{}))
	ctx := context.Background()
	mustExec(t, conn, `CREATE TABLE t (a int PRIMARY KEY)`)
	b := &pgx.Batch{}
	for i := range 10 {
		b.Queue(`INSERT INTO t VALUES ($1)`, i)
	}
	b.Queue(`SELECT count(*) FROM t`)
	r := conn.SendBatch(ctx, b)
	for range 10 {
		if _, err := r.Exec(); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	if err := r.QueryRow().Scan(&n); err != nil || n != 10 {
		t.Fatalf("count %d, %v", n, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	b = &pgx.Batch{}
	b.Queue(`INSERT INTO t VALUES (100)`)
	b.Queue(`INSERT INTO t VALUES (1)`)
	b.Queue(`INSERT INTO t VALUES (101)`)
	if err := conn.SendBatch(ctx, b).Close(); codeOf(err) != pgerr.UniqueViolation {
		t.Fatalf("batch with a duplicate: %v", err)
	}
	if err := conn.QueryRow(ctx, `SELECT count(*) FROM t`).Scan(&n); err != nil || n != 10 {
		t.Fatalf("count after the failed batch %d, %v", n, err)
	}
}

// Each Sync of a pipeline ends a transaction of its own.
func TestPipelineSyncs(t *testing.T) {
	conn := connectPgx(t, startDatabase(t, Config{}))
	ctx := context.Background()
	mustExec(t, conn, `CREATE TABLE t (a int PRIMARY KEY)`)
	p := conn.PgConn().StartPipeline(ctx)
	for _, v := range []string{"1", "2", "1", "3"} {
		p.SendQueryParams(`INSERT INTO t VALUES ($1)`, [][]byte{[]byte(v)}, nil, nil, nil)
		if err := p.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	var tags []string
	for len(tags) < 8 {
		res, err := p.GetResults()
		switch r := res.(type) {
		case *pgconn.ResultReader:
			tag, err := r.Close()
			tags = append(tags, tag.String()+codeOf(err))
		case *pgconn.PipelineSync:
			tags = append(tags, "sync")
		default:
			if err == nil {
				t.Fatalf("unexpected %T", res)
			}
			tags = append(tags, codeOf(err))
		}
	}
	if err := p.Close(); err != nil && codeOf(err) == "" {
		t.Fatal(err)
	}
	want := "INSERT 0 1 sync INSERT 0 1 sync 23505 sync INSERT 0 1 sync"
	if got := strings.Join(tags, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPgxCopy(t *testing.T) {
	conn := connectPgx(t, startDatabase(t, Config{}))
	ctx := context.Background()
	mustExec(t, conn, `CREATE TABLE t (a int PRIMARY KEY, b text, c float8)`)
	rows := make([][]any, 5000)
	for i := range rows {
		rows[i] = []any{i, fmt.Sprintf("row\t%d\n", i), float64(i) / 4}
	}
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"a", "b", "c"}, pgx.CopyFromRows(rows)) // binary
	if err != nil || n != 5000 {
		t.Fatalf("%d rows, %v", n, err)
	}
	for _, format := range []string{"text", "csv", "binary"} {
		var data bytes.Buffer
		if _, err := conn.PgConn().CopyTo(ctx, &data, "COPY t TO STDOUT (FORMAT "+format+")"); err != nil {
			t.Fatal(err)
		}
		mustExec(t, conn, `DROP TABLE IF EXISTS u`)
		mustExec(t, conn, `CREATE TABLE u (a int PRIMARY KEY, b text, c float8)`)
		if _, err := conn.PgConn().CopyFrom(ctx, &data, "COPY u FROM STDIN (FORMAT "+format+")"); err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		var differ, count int
		if err := conn.QueryRow(ctx, `SELECT count(*) FROM u`).Scan(&count); err != nil || count != 5000 {
			t.Errorf("%s: %d rows, %v", format, count, err)
		}
		if err := conn.QueryRow(ctx, `SELECT count(*) FROM t JOIN u ON t.a = u.a WHERE t.b <> u.b OR t.c <> u.c`).Scan(&differ); err != nil || differ != 0 {
			t.Errorf("%s: %d rows differ, %v", format, differ, err)
		}
	}
	// A failed COPY leaves the connection in order, while the client is still sending.
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"a", "b", "c"}, pgx.CopyFromRows(rows))
	if codeOf(err) != pgerr.UniqueViolation {
		t.Fatalf("duplicate COPY: %v", err)
	}
	_, err = conn.PgConn().CopyFrom(ctx, failingReader{}, "COPY t FROM STDIN")
	if codeOf(err) != pgerr.QueryCanceled {
		t.Fatalf("CopyFail: %v", err)
	}
	mustExec(t, conn, `SELECT 1`)
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("the client changed its mind") }

func TestCancel(t *testing.T) {
	addr := startDatabase(t, Config{})
	holder, waiter := connectPgx(t, addr), connectPgx(t, addr)
	ctx := context.Background()
	mustExec(t, holder, `CREATE TABLE t (a int PRIMARY KEY, b int)`)
	mustExec(t, holder, `INSERT INTO t VALUES (1, 1)`)
	mustExec(t, holder, `BEGIN`)
	mustExec(t, holder, `UPDATE t SET b = 2 WHERE a = 1`)
	done := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(ctx, `UPDATE t SET b = 3 WHERE a = 1`)
		done <- err
	}()
	for ended := false; !ended; {
		// A cancel request may arrive before the statement: it is repeated until it has met it.
		if err := waiter.PgConn().CancelRequest(ctx); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if codeOf(err) != pgerr.QueryCanceled {
				t.Fatalf("canceled statement: %v", err)
			}
			ended = true
		default:
		}
	}
	mustExec(t, holder, `COMMIT`)
	mustExec(t, waiter, `SELECT 1`)
}

func TestStatementTimeout(t *testing.T) {
	addr := startDatabase(t, Config{})
	holder, waiter := connectPgx(t, addr), connectPgx(t, addr)
	mustExec(t, holder, `CREATE TABLE t (a int PRIMARY KEY, b int)`)
	mustExec(t, holder, `INSERT INTO t VALUES (1, 1)`)
	mustExec(t, holder, `BEGIN`)
	mustExec(t, holder, `UPDATE t SET b = 2 WHERE a = 1`)
	mustExec(t, waiter, `SET statement_timeout = '20ms'`)
	if _, err := waiter.Exec(context.Background(), `UPDATE t SET b = 3 WHERE a = 1`); codeOf(err) != pgerr.QueryCanceled || !strings.Contains(err.Error(), "statement timeout") {
		t.Fatalf("statement past its timeout: %v", err)
	}
	mustExec(t, waiter, `SELECT 1`)
}

// A portal is executed in pieces inside a transaction.
func TestPortalRowLimit(t *testing.T) {
	addr := startDatabase(t, Config{})
	r := dialRaw(t, addr)
	r.startup(protocol3, "user", "postgres", "database", "postgres")
	r.untilReady()
	r.write(
		message('P', []byte("\x00SELECT g FROM generate_series(1, 5) g\x00\x00\x00")...),
		message('B', []byte("p\x00\x00\x00\x00\x00\x00\x00\x00")...),
		message('E', []byte("p\x00\x00\x00\x00\x02")...),
		message('E', []byte("p\x00\x00\x00\x00\x02")...),
		message('E', []byte("p\x00\x00\x00\x00\x02")...),
		message('E', []byte("p\x00\x00\x00\x00\x02")...),
		message('S'),
		message('E', []byte("p\x00\x00\x00\x00\x00")...),
		message('S'))
	var got strings.Builder
	for ready := 0; ready < 2; {
		typ := fmt.Sprintf("%T", r.next())
		typ = typ[strings.LastIndexByte(typ, '.')+1:]
		got.WriteString(typ + " ")
		if typ == "ReadyForQuery" {
			ready++
		}
	}
	want := "ParseComplete BindComplete DataRow DataRow PortalSuspended DataRow DataRow PortalSuspended DataRow CommandComplete CommandComplete ReadyForQuery " +
		"ErrorResponse ReadyForQuery "
	if got.String() != want {
		t.Errorf("got  %s\nwant %s", got.String(), want)
	}
}

func TestTerminateBackend(t *testing.T) {
	addr := startDatabase(t, Config{})
	victim, killer := connectPgx(t, addr), connectPgx(t, addr)
	var pid int32
	if err := victim.QueryRow(context.Background(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	if uint32(pid) != victim.PgConn().PID() {
		t.Errorf("pg_backend_pid() = %d, the key data said %d", pid, victim.PgConn().PID())
	}
	var ok bool
	if err := killer.QueryRow(context.Background(), `SELECT pg_terminate_backend($1)`, pid).Scan(&ok); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, err := victim.Exec(context.Background(), `SELECT 1`); err == nil {
		t.Error("the terminated session answers")
	}
}

func TestActivity(t *testing.T) {
	addr := startDatabase(t, Config{})
	conn := connectPgx(t, addr)
	mustExec(t, conn, `SET application_name = 'me'`)
	var app, state, query string
	err := conn.QueryRow(context.Background(), `SELECT application_name, state, query FROM pg_stat_activity WHERE pid = pg_backend_pid()`).Scan(&app, &state, &query)
	if err != nil || app != "me" || state != "active" || !strings.HasPrefix(query, "SELECT application_name") {
		t.Errorf("%q %q %q %v", app, state, query, err)
	}
}

func BenchmarkPointSelect(b *testing.B) {
	conn := connectPgx(b, startDatabase(b, Config{}))
	ctx := context.Background()
	mustExec(b, conn, `CREATE TABLE t (a int PRIMARY KEY, b int)`)
	mustExec(b, conn, `INSERT INTO t SELECT g, g FROM generate_series(1, 1000) g`)
	if _, err := conn.Prepare(ctx, "q", `SELECT b FROM t WHERE a = $1`); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := range b.N {
		r := conn.PgConn().ExecPrepared(ctx, "q", [][]byte{fmt.Append(nil, i%1000+1)}, nil, nil).Read()
		if r.Err != nil || len(r.Rows) != 1 {
			b.Fatal(r.Err)
		}
	}
}

// TestNotificationWhileIdle waits for notifications on a connection that sends nothing, next to one in a
// transaction, which is told only after it.
func TestNotificationWhileIdle(t *testing.T) {
	addr := startDatabase(t, Config{})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	idle, busy, sender := connectPgx(t, addr), connectPgx(t, addr), connectPgx(t, addr)
	for _, c := range []*pgx.Conn{idle, busy} {
		if _, err := c.Exec(ctx, "listen news"); err != nil {
			t.Fatal(err)
		}
	}
	tx, err := busy.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const n = 100
	for i := range n {
		if _, err := sender.Exec(ctx, "select pg_notify('news', $1)", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		if i%10 == 5 { // what the client asks meanwhile is answered as ever
			var v int
			if err := idle.QueryRow(ctx, "select $1::int", i).Scan(&v); err != nil || v != i {
				t.Fatalf("select: %d, %v", v, err)
			}
		}
	}
	expect := func(c *pgx.Conn) {
		t.Helper()
		for i := range n {
			got, err := c.WaitForNotification(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got.Channel != "news" || got.Payload != fmt.Sprint(i) || got.PID != sender.PgConn().PID() {
				t.Fatalf("notification %d is %+v", i, got)
			}
		}
	}
	expect(idle)
	short, stop := context.WithTimeout(ctx, 10*time.Millisecond)
	defer stop()
	if got, err := busy.WaitForNotification(short); err == nil {
		t.Fatalf("%+v inside a transaction", got)
	}
	_ = tx
}

package clienttest

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// TestSubscription lets a PostgreSQL 15 server subscribe to publications of ours: it copies the tables as they are, then
// follows every change, while transactions go on, the subscription is disabled and enabled again, and tables change.
func TestSubscription(t *testing.T) {
	if testing.Short() {
		t.Skip("runs another server; left out with -short")
	}
	pgEnv := startPostgres(t)
	ourEnv := database(t, "publisher")
	ctx := t.Context()
	ours, theirs := connectEnv(t, ctx, ourEnv), connectEnv(t, ctx, pgEnv)
	const schema = `
		create type mood as enum ('sad', 'happy');
		create table acc (id int primary key, bal numeric(12,2), note text, m mood, tags text[], js jsonb, at timestamptz, raw bytea);
		create table log (a int not null, b text not null, c float8);
		create unique index log_a on log (a, b);
		create table bag (x int, y text);
		create table parts (id int primary key, v text) %s;
		create table partly (id int primary key, shown text, hidden text)`
	run(t, ctx, ours, fmt.Sprintf(schema, "partition by range (id)"),
		"create table parts1 partition of parts for values from (0) to (1000)", "create table parts2 partition of parts for values from (1000) to (2000)",
		"alter table log replica identity using index log_a", "alter table bag replica identity full",
		`insert into acc select g, g * 1.5, 'it''s ' || g, case g % 2 when 0 then 'sad' else 'happy' end::mood, array['a', g::text], jsonb_build_object('g', g),
			timestamptz '2026-01-01' + g * interval '1 hour', decode(lpad(to_hex(g), 8, '0'), 'hex') from generate_series(1, 2000) g`,
		"insert into log select g, 'k' || g, g / 3.0 from generate_series(1, 100) g",
		"insert into bag select g % 5, 'y' || g from generate_series(1, 50) g",
		"insert into parts select g, 'p' || g from generate_series(1, 1999, 7) g",
		"create publication pub for table acc, log, bag, parts, partly (id, shown)")
	// A subscriber has no need to divide the table as the publisher does, but is told of the partitions by their names.
	run(t, ctx, theirs, strings.Replace(fmt.Sprintf(schema, "partition by range (id)"), "shown text, hidden text", "shown text", 1),
		"create table parts1 partition of parts for values from (0) to (1000)", "create table parts2 partition of parts for values from (1000) to (2000)",
		"alter table log replica identity using index log_a", "alter table bag replica identity full")
	stop := make(chan struct{})
	var writers sync.WaitGroup
	var written [3]atomic.Int64 // transactions of each writer
	for w := range written {
		writers.Add(1)
		conn := connectEnv(t, ctx, ourEnv)
		go func() {
			defer writers.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				a, b := (i*37+w*11)%2000+1, (i*53+w*7)%2000+1
				_, err := conn.Exec(ctx, fmt.Sprintf(`begin; update acc set bal = bal - 1 where id = %d; update acc set bal = bal + 1 where id = %d;
					insert into parts values (%d, 'new') on conflict (id) do update set v = parts.v || 'x'; commit`, a, b, (i*3+w)%2000))
				if err != nil {
					conn.Exec(ctx, "rollback")
				} else {
					written[w].Add(1)
				}
			}
		}()
	}
	run(t, ctx, theirs, "create subscription sub connection '"+conninfo(ourEnv)+"' publication pub")
	// The writers' turn, beside the copies and after them.
	const behind = "select count(*)::text from pg_subscription_rel where srsubstate not in ('s', 'r')"
	until(t, func() string {
		if n := one(t, ctx, theirs, behind); n != "0" {
			return n + " tables have not been copied"
		}
		return ""
	})
	var before [len(written)]int64
	for w := range written {
		before[w] = written[w].Load()
	}
	until(t, func() string {
		for w := range written {
			if n := written[w].Load() - before[w]; n < 20 {
				return fmt.Sprintf("writer %d has written %d transactions since", w, n)
			}
		}
		return ""
	})
	run(t, ctx, ours,
		"begin; update log set b = b || '!' where a < 10; delete from log where a > 90; commit",
		"update bag set y = 'changed' where x = 2", "delete from bag where x = 3",
		"insert into partly values (1, 'a', 'secret'), (2, 'b', 'secret')", "update partly set shown = 'c' where id = 2")
	close(stop)
	writers.Wait()
	same := func(what string) {
		t.Helper()
		for _, table := range []string{"acc", "log", "bag", "parts", "partly"} {
			columns := "*"
			if table == "partly" {
				columns = "id, shown"
			}
			query := "select coalesce(string_agg(r, E'\\n' order by r), '') from (select q::text as r from (select " + columns + " from " + table + ") q) s"
			want := one(t, ctx, ours, query)
			until(t, func() string {
				got := one(t, ctx, theirs, query)
				if got == want {
					return ""
				}
				return fmt.Sprintf("%s: table %s differs: %d bytes, want %d\n%s", what, table, len(got), len(want), firstDifference(got, want))
			})
		}
	}
	same("after the copy")
	// What happens while the subscriber is away comes when it is back.
	run(t, ctx, theirs, "alter subscription sub disable")
	run(t, ctx, ours, "update acc set note = 'later' where id <= 100", "truncate bag", "insert into bag values (7, 'after')")
	run(t, ctx, theirs, "alter subscription sub enable")
	same("after a pause")
	// A change of the schema, and a table that is published later.
	run(t, ctx, ours, "alter table acc add column extra int", "update acc set extra = id where id < 50", "alter table acc drop column js",
		"insert into acc (id, extra) values (5000, 1)")
	run(t, ctx, theirs, "alter table acc add column extra int")
	query := "select count(*) || ' ' || sum(extra) from acc"
	want := one(t, ctx, ours, query)
	until(t, func() string {
		if got := one(t, ctx, theirs, query); got != want {
			return fmt.Sprintf("after a change of the schema: %s, want %s", got, want)
		}
		return ""
	})
	// A worker of PostgreSQL's that is killed while it makes or drops the slot of its table may leave it behind.
	until(t, func() string {
		if n := one(t, ctx, theirs, "select count(*)::text from pg_subscription_rel where srsubstate <> 'r'"); n != "0" {
			return n + " tables have workers of their own"
		}
		return ""
	})
	run(t, ctx, theirs, "drop subscription sub")
	// The slots of all databases are in one view, and other tests have theirs.
	if n := one(t, ctx, ours, "select string_agg(slot_name, ' ') from pg_replication_slots where database = current_database()"); n != "" {
		t.Errorf("slots are left: %s", n)
	}
}

// TestStreamEnd: when the consumer ends a stream, it is told what PostgreSQL tells it, and may go on with SQL or commands.
func TestStreamEnd(t *testing.T) {
	ctx := t.Context()
	list := database(t, "stream_end")
	conn, err := pgconn.Connect(ctx, conninfo(list)+" replication=database")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	send := func(m pgproto3.FrontendMessage) {
		t.Helper()
		conn.Frontend().Send(m)
		if err := conn.Frontend().Flush(); err != nil {
			t.Fatal(err)
		}
	}
	// answer returns the messages up to one of a kind, without the copied data.
	answer := func(last pgproto3.BackendMessage) string {
		t.Helper()
		var b strings.Builder
		for {
			m, err := conn.ReceiveMessage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			switch m := m.(type) {
			case *pgproto3.CopyData, *pgproto3.RowDescription, *pgproto3.DataRow:
				continue
			case *pgproto3.CommandComplete:
				fmt.Fprintf(&b, "%s; ", m.CommandTag)
			case *pgproto3.ErrorResponse:
				fmt.Fprintf(&b, "%s; ", m.Message)
			default:
				fmt.Fprintf(&b, "%s; ", strings.TrimPrefix(fmt.Sprintf("%T", m), "*pgproto3."))
			}
			if reflect.TypeOf(m) == reflect.TypeOf(last) {
				return b.String()
			}
		}
	}
	check := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	send(&pgproto3.Query{String: "CREATE_REPLICATION_SLOT ends TEMPORARY LOGICAL test_decoding NOEXPORT_SNAPSHOT"})
	check(answer(&pgproto3.ReadyForQuery{}), "CREATE_REPLICATION_SLOT; ReadyForQuery; ")
	send(&pgproto3.Query{String: "START_REPLICATION SLOT ends LOGICAL 0/0"})
	check(answer(&pgproto3.CopyBothResponse{}), "CopyBothResponse; ")
	send(&pgproto3.CopyDone{})
	check(answer(&pgproto3.ReadyForQuery{}), "CopyDone; COPY 0; START_REPLICATION; ReadyForQuery; ")
	send(&pgproto3.Query{String: "DROP_REPLICATION_SLOT ends WAIT"})
	check(answer(&pgproto3.ReadyForQuery{}), "DROP_REPLICATION_SLOT; ReadyForQuery; ")
	send(&pgproto3.Query{String: "select 1"})
	check(answer(&pgproto3.ReadyForQuery{}), "SELECT 1; ReadyForQuery; ")
}

// until asks what is missing, over and over, until nothing is. It fails the test when that takes longer than any load
// of the machine could explain.
func until(t *testing.T, missing func() string) {
	t.Helper()
	limit := time.NewTimer(5 * time.Minute)
	defer limit.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		what := missing()
		if what == "" {
			return
		}
		select {
		case <-again.C:
		case <-limit.C:
			t.Fatal(what)
		}
	}
}

func env(list []string, name string) string {
	for _, kv := range list {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func conninfo(list []string) string {
	return fmt.Sprintf("host=%s port=%s user=%s dbname=%s sslmode=disable", env(list, "PGHOST"), env(list, "PGPORT"), env(list, "PGUSER"), env(list, "PGDATABASE"))
}

func connectEnv(t *testing.T, ctx context.Context, list []string) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig(conninfo(list))
	if err != nil {
		t.Fatal(err)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func run(t *testing.T, ctx context.Context, conn *pgx.Conn, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if _, err := conn.Exec(ctx, text); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
}

func one(t *testing.T, ctx context.Context, conn *pgx.Conn, query string) (s string) {
	t.Helper()
	var v *string
	if err := conn.QueryRow(ctx, query).Scan(&v); err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
	if v != nil {
		s = *v
	}
	return s
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			other := ""
			if i < len(w) {
				other = w[i]
			}
			return fmt.Sprintf("line %d of %d and %d: %q, want %q", i, len(g), len(w), g[i], other)
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

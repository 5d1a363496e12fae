package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// startAlone starts a cluster of one node.
func startAlone(t *testing.T) *Server {
	t.Helper()
	s, err := New(Config{Store: t.TempDir(), Insecure: true, SQLAddr: "127.0.0.1:0", RPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	return s
}

// call calls meridian.backup or meridian.restore and returns its answer.
func call(t *testing.T, ctx context.Context, conn *pgx.Conn, function, location string, options map[string]any) map[string]any {
	t.Helper()
	out, err := tryCall(ctx, conn, function, location, options)
	if err != nil {
		t.Fatalf("meridian.%s(%s): %v", function, location, err)
	}
	return out
}

func tryCall(ctx context.Context, conn *pgx.Conn, function, location string, options map[string]any) (map[string]any, error) {
	if options == nil {
		options = map[string]any{}
	}
	o, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	var text string
	if err := conn.QueryRow(ctx, "select meridian."+function+"($1, $2::text::jsonb)::text", location, string(o)).Scan(&text); err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal([]byte(text), &out)
}

// refused returns SQLSTATE and message of a call that must fail.
func refused(t *testing.T, ctx context.Context, conn *pgx.Conn, function, location string, options map[string]any) (code, message string) {
	t.Helper()
	out, err := tryCall(ctx, conn, function, location, options)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		t.Fatalf("meridian.%s(%s, %v) = %v, %v; want an error of the server", function, location, options, out, err)
	}
	return pg.Code, pg.Message
}

// bankState is the whole bank as text, at a timestamp of the past when one is given.
func bankState(t *testing.T, ctx context.Context, conn *pgx.Conn, at string) string {
	t.Helper()
	if at != "" {
		execute(t, ctx, conn, "begin isolation level repeatable read read only")
		execute(t, ctx, conn, "set transaction snapshot '"+at+"'")
		defer execute(t, ctx, conn, "commit")
	}
	var out string
	if err := conn.QueryRow(ctx, `select coalesce((select string_agg(id || '=' || balance, ' ' order by id) from accounts), '') || ' / ' ||
		coalesce((select string_agg(id || ':' || amount, ' ' order by id) from transfers), '')`).Scan(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func bankTotal(t *testing.T, ctx context.Context, conn *pgx.Conn) (total int64) {
	t.Helper()
	if err := conn.QueryRow(ctx, "select sum(balance) from accounts").Scan(&total); err != nil {
		t.Fatal(err)
	}
	return total
}

const bankSchema = `
create type mood as enum ('sad', 'ok');
create role teller login;
create table accounts (id int primary key, balance bigint not null check (balance > -100000), owner text, mood mood default 'ok');
create index accounts_owner on accounts (owner);
create table transfers (id bigserial primary key, src int references accounts, dst int references accounts, amount int, at timestamptz default now());
create table parts (k int, v text) partition by list (k);
create table parts_1 partition of parts for values in (1);
create table parts_2 partition of parts for values in (2);
create view rich as select id from accounts where balance > 1000;
create sequence tickets start 100;
create function twice(i int) returns int language sql as 'select 2 * i';
grant select, update on accounts to teller;
create schema more; create table more.notes (n int primary key, t text default 'x' || nextval('tickets'));
insert into accounts select i, 1000, 'owner ' || i % 7 from generate_series(1, 200) i;
insert into parts values (1, 'one'), (2, 'two');
insert into more.notes (n) values (1), (2);
analyze accounts;
create table ledger (id int primary key, note text);
insert into ledger select i, 'old' from generate_series(1, 10) i;
alter table ledger enable row level security;
create policy even on ledger to teller using (id % 2 = 0) with check (id < 100);
grant select, insert on ledger to teller;
create database other;`

// bankTrigger goes with bankSchema; its body has semicolons.
const bankTrigger = `create function stamp() returns trigger language plpgsql as $$ begin new.note := 'stamped'; return new; end $$;
create trigger stamps before insert on ledger for each row execute function stamp()`

// ledgerWorks checks that the policies of ledger apply to its rows of bankSchema and that its trigger fires.
func ledgerWorks(t *testing.T, ctx context.Context, conn *pgx.Conn) {
	t.Helper()
	execute(t, ctx, conn, "set role teller")
	var seen, stamped int
	if err := conn.QueryRow(ctx, "select count(*) from ledger").Scan(&seen); err != nil || seen != 5 {
		t.Errorf("teller sees %d rows, %v; the policy shows 5", seen, err)
	}
	if code := <-failing(ctx, conn, "insert into ledger values (200, 'x')"); code != "42501" {
		t.Errorf("teller writes what the policy forbids: %s", code)
	}
	execute(t, ctx, conn, "insert into ledger values (50, 'x')")
	execute(t, ctx, conn, "reset role")
	if err := conn.QueryRow(ctx, "select count(*) from ledger where note = 'stamped'").Scan(&stamped); err != nil || stamped != 1 {
		t.Errorf("%d rows were stamped by the trigger, %v", stamped, err)
	}
}

// TestBackup takes backups of a bank under load, on three nodes, and restores them on one.
func TestBackup(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	d := startDemo(t, t.TempDir())
	defer d.Stop()
	conn := connectTo(t, ctx, d.Servers[0])
	for _, stmt := range strings.Split(bankSchema, ";") {
		execute(t, ctx, conn, stmt)
	}
	execute(t, ctx, conn, bankTrigger)
	load, stop := context.WithCancel(ctx)
	var clients sync.WaitGroup
	var failed sync.Map
	for c := range 4 {
		client := connectTo(t, ctx, d.Servers[c%3])
		clients.Add(1)
		go func() {
			defer clients.Done()
			for i := c; load.Err() == nil; i++ {
				src, dst := i*7%200+1, i*13%200+1
				_, err := client.Exec(ctx, fmt.Sprintf(`begin; update accounts set balance = balance - 1 where id = %d;
					update accounts set balance = balance + 1 where id = %d; insert into transfers (src, dst, amount) values (%d, %d, 1);
					delete from transfers where id = %d; commit`, src, dst, src, dst, i-40))
				var pg *pgconn.PgError
				if errors.As(err, &pg) && pg.Code == "40001" {
					_, err = client.Exec(ctx, "rollback")
				}
				if err != nil {
					failed.Store(c, err)
					return
				}
			}
		}()
	}
	root := t.TempDir()
	at := func(name string) string { return "file://" + filepath.Join(root, name) }
	full := call(t, ctx, conn, "backup", at("full"), map[string]any{"hold": "1h"})
	execute(t, ctx, conn, "create table later (x int primary key); insert into later values (42); alter table accounts add column note text default 'n'; truncate parts_2")
	one := call(t, ctx, conn, "backup", at("one"), map[string]any{"incremental_from": at("full"), "revision_history": true})
	var mid string
	if err := conn.QueryRow(ctx, "select (extract(epoch from clock_timestamp()) * 1000000000)::bigint").Scan(&mid); err != nil {
		t.Fatal(err)
	}
	execute(t, ctx, conn, "delete from accounts where false; drop table later; insert into more.notes (n) values (3)")
	two := call(t, ctx, conn, "backup", at("two"), map[string]any{"incremental_from": at("one"), "revision_history": true})
	stop()
	clients.Wait()
	failed.Range(func(c, err any) bool { t.Errorf("client %v: %v", c, err); return true })
	exact := func(name string) string {
		var out string
		if err := conn.QueryRow(ctx, "select (meridian.backup_show($1)->-1)->>'timestamp'", at(name)).Scan(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	t.Logf("full %v\none %v\ntwo %v", full, one, two)

	type step struct {
		name, from string
		asOf       string
		later      int
		notes      int
	}
	for _, st := range []step{{"full", "full", "", -1, 2}, {"incremental", "two", "", -1, 3}, {"point in time", "two", mid, 1, 2}} {
		t.Run(st.name, func(t *testing.T) {
			s := startAlone(t)
			there := connectTo(t, ctx, s)
			options := map[string]any{}
			when := st.asOf
			if when == "" {
				when = exact(st.from)
			} else {
				options["as_of"] = when
			}
			call(t, ctx, there, "restore", at(st.from), options)
			if total := bankTotal(t, ctx, there); total != 200*1000 {
				t.Errorf("total %d", total)
			}
			if got, want := bankState(t, ctx, there, ""), bankState(t, ctx, conn, when); got != want {
				t.Errorf("restored\n%s\nwant\n%s", got, want)
			}
			check := func(query, want string) {
				t.Helper()
				var got string
				if err := there.QueryRow(ctx, query).Scan(&got); err != nil || got != want {
					t.Errorf("%s: %q, %v, want %q", query, got, err, want)
				}
			}
			check("select count(*)::text from more.notes", fmt.Sprint(st.notes))
			check("select coalesce(to_regclass('later')::text, '')", map[bool]string{true: "later"}[st.later > 0])
			check("select string_agg(v, ',' order by v) from parts", map[bool]string{true: "one,two", false: "one"}[st.from == "full"])
			check("select twice(21)::text", "42")
			check("select (count(*) >= 0)::text from rich", "true")
			check("select has_table_privilege('teller', 'accounts', 'update')::text", "true")
			check("select count(*)::text from accounts where owner = 'owner 3'", "29")
			check("select reltuples::text from pg_class where relname = 'accounts'", "200")
			check("select datname from pg_database where datname = 'other'", "other")
			if st.from != "full" {
				// The rows were written before the column was added, and never touched.
				check("select count(*)::text from accounts where note = 'n'", "200")
			}
			ledgerWorks(t, ctx, there)
			execute(t, ctx, there, "insert into transfers (src, dst, amount) values (1, 2, 3)")
			execute(t, ctx, there, "update accounts set mood = 'sad' where id = 1")
			for _, bad := range []string{"insert into transfers (src, dst) values (999, 1)", "insert into accounts values (1, 1)", "update accounts set balance = -1000000 where id = 1"} {
				if code := <-failing(ctx, there, bad); !strings.HasPrefix(code, "23") {
					t.Errorf("%s: %s", bad, code)
				}
			}
			// What is there is not overwritten.
			if code, msg := refused(t, ctx, there, "restore", at(st.from), options); code != "42P04" {
				t.Errorf("restored onto itself: %s %s", code, msg)
			}
		})
	}

	t.Run("one table, into a running database", func(t *testing.T) {
		execute(t, ctx, conn, "create database copy")
		if code, _ := refused(t, ctx, conn, "restore", at("full"), map[string]any{"table": "accounts", "database": "postgres", "into": "copy"}); code != "42704" {
			t.Errorf("a table whose type is missing: %s", code)
		}
		copied, err := pgx.Connect(ctx, strings.Replace(conn.Config().ConnString(), "/postgres?", "/copy?", 1))
		if err != nil {
			t.Fatal(err)
		}
		defer copied.Close(ctx)
		execute(t, ctx, copied, "create type mood as enum ('sad', 'ok')")
		call(t, ctx, conn, "restore", at("full"), map[string]any{"table": "accounts", "database": "postgres", "into": "copy"})
		if total := bankTotal(t, ctx, copied); total != 200*1000 {
			t.Errorf("total %d", total)
		}
		if code, _ := refused(t, ctx, conn, "restore", at("full"), map[string]any{"table": "accounts", "database": "postgres", "into": "copy"}); code != "42P07" {
			t.Errorf("a table that is there: %s", code)
		}
		call(t, ctx, conn, "restore", at("full"), map[string]any{"table": "ledger", "database": "postgres", "into": "copy"})
		execute(t, ctx, copied, "set role teller")
		var seen int
		if err := copied.QueryRow(ctx, "select count(*) from ledger").Scan(&seen); err != nil || seen != 5 {
			t.Errorf("teller sees %d rows of the restored table, %v; the policy shows 5", seen, err)
		}
		// Its function is the other database's: the trigger stays behind.
		execute(t, ctx, copied, "insert into ledger values (50, 'x')")
		var note string
		if err := copied.QueryRow(ctx, "select note from ledger where id = 50").Scan(&note); err != nil || note != "x" {
			t.Errorf("note %q, %v", note, err)
		}
	})

	t.Run("refusals", func(t *testing.T) {
		if code, _ := refused(t, ctx, conn, "backup", at("full"), nil); code != "42710" {
			t.Errorf("onto a backup: %s", code)
		}
		if code, _ := refused(t, ctx, conn, "backup", "ftp://x", nil); code != "22023" {
			t.Errorf("to no location: %s", code)
		}
		if code, _ := refused(t, ctx, conn, "backup", at("x"), map[string]any{"no": 1}); code != "22023" {
			t.Errorf("unknown option: %s", code)
		}
		if code, _ := refused(t, ctx, conn, "restore", at("nothing"), nil); code != "58P01" {
			t.Errorf("from nothing: %s", code)
		}
		if code, msg := refused(t, ctx, conn, "restore", at("full"), map[string]any{"as_of": "2001-01-01"}); code != "22023" || !strings.Contains(msg, "it can be as of") {
			t.Errorf("as of another time: %s %s", code, msg)
		}
		// A damaged file is named.
		files, err := filepath.Glob(filepath.Join(root, "full", "data", "*"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		victim := files[len(files)-1]
		b, err := os.ReadFile(victim)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(victim, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var text string
		err = conn.QueryRow(ctx, "select meridian.backup_show($1)::text", at("two")).Scan(&text)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "XX001" || !strings.Contains(pg.Message, "data/"+filepath.Base(victim)) {
			t.Errorf("a damaged file: %v", err)
		}
		s := startAlone(t)
		there := connectTo(t, ctx, s)
		if code, msg := refused(t, ctx, there, "restore", at("full"), nil); code != "XX001" || !strings.Contains(msg, filepath.Base(victim)) {
			t.Errorf("restore of a damaged file: %s %s", code, msg)
		}
		var n int
		if err := there.QueryRow(ctx, "select count(*) from pg_class where relname in ('accounts', 'transfers')").Scan(&n); err != nil || n != 0 {
			t.Errorf("%d tables of a restore that failed are visible, %v", n, err)
		}
		var state, message string
		if err := there.QueryRow(ctx, "select state, error from meridian.jobs where kind = 'restore'").Scan(&state, &message); err != nil || state != "failed" || message == "" {
			t.Errorf("the job is %s: %s, %v", state, message, err)
		}
	})
}

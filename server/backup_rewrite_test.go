package server

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A backup taken while a primary key is being dropped has the table with its key: what the rows hold for the job is not restored.
func TestBackupWhileKeyIsDropped(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s := startAlone(t)
	conn, alter, locker := connectTo(t, ctx, s), connectTo(t, ctx, s), connectTo(t, ctx, s)
	execute(t, ctx, conn, "create table t (id int primary key, v int); insert into t select g, g from generate_series(1, 20000) g")
	altered := failing(ctx, alter, "alter table t drop constraint t_pkey")
	awaitRow(t, ctx, conn, "select 1 from meridian.jobs where kind = 'rewrite table'", new(int))
	execute(t, ctx, locker, "begin; select * from t where id = 19999 for update")
	awaitRow(t, ctx, conn, "select 1 from t where rowid is not null limit 1", new(int))
	at := "file://" + filepath.Join(t.TempDir(), "b")
	call(t, ctx, conn, "backup", at, map[string]any{"database": "postgres"})
	var state string
	if err := conn.QueryRow(ctx, "select state || (select count(*) from t where rowid is null and id = 20000) from meridian.jobs where kind = 'rewrite table'").Scan(&state); err != nil || state != "running1" {
		t.Fatalf("the job was to wait for a row: %s %v", state, err)
	}
	execute(t, ctx, locker, "rollback")
	if code := <-altered; code != "<nil>" {
		t.Errorf("dropping the key: %s", code)
	}
	call(t, ctx, conn, "restore", at, map[string]any{"database": "postgres", "into": "copy"})
	copied, err := pgx.Connect(ctx, strings.Replace(conn.Config().ConnString(), "/postgres?", "/copy?", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close(ctx)
	var n, sum, columns int
	if err := copied.QueryRow(ctx, "select count(*), sum(v), (select count(*) from pg_attribute where attrelid = 't'::regclass and attnum > 0 and not attisdropped) from t").Scan(&n, &sum, &columns); err != nil || n != 20000 || sum != 200010000 || columns != 2 {
		t.Errorf("the table that was restored: %d rows, %d, %d columns, %v", n, sum, columns, err)
	}
	for sql, code := range map[string]string{"insert into t values (7, 7)": "23505", "update t set v = 1 where id = 8; delete from t where id = 9": "<nil>", "select rowid from t": "42703"} {
		if got := <-failing(ctx, copied, sql); got != code {
			t.Errorf("%s: %q, want %q", sql, got, code)
		}
	}
	if code := <-failing(ctx, copied, "alter table t drop constraint t_pkey; insert into t values (7, 7)"); code != "<nil>" {
		t.Errorf("dropping the key of the copy: %s", code)
	}
}

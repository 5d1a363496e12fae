// goose: migrations in SQL and in Go, in and outside transactions, under a session's advisory lock.
package main

import (
	"context"
	"database/sql"
	"testing/fstest"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/meridian-db/meridian/server/clienttest/goclients/internal/check"
)

var files = fstest.MapFS{
	"00001_first.sql": {Data: []byte(`-- +goose Up
create table t (id serial primary key, name text);
insert into t (name) values ('a;b');
-- +goose StatementBegin
do $$ begin insert into t (name) values ('from a block'); end $$;
-- +goose StatementEnd
-- +goose Down
drop table t;
`)},
	"00002_index.sql": {Data: []byte(`-- +goose NO TRANSACTION
-- +goose Up
create index concurrently t_name on t (name);
-- +goose Down
drop index concurrently t_name;
`)},
	"00004_fails.sql": {Data: []byte(`-- +goose Up
create table half (id int);
select 1/0;
`)},
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db := check.Must(sql.Open("pgx", check.URL()))
	defer db.Close()
	inGo := goose.NewGoMigration(3, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "update t set name = upper(name)")
		return err
	}}, nil)
	locker := check.Must(lock.NewPostgresSessionLocker())
	p := check.Must(goose.NewProvider(goose.DialectPostgres, db, files, goose.WithGoMigrations(inGo), goose.WithSessionLocker(locker)))
	check.Equal(len(check.Must(p.UpTo(ctx, 3))), 3)
	check.Equal(check.Must(p.GetDBVersion(ctx)), int64(3))
	var n int
	check.OK(db.QueryRow("select count(*) from t where name in ('A;B', 'FROM A BLOCK')").Scan(&n))
	check.Equal(n, 2)
	_, err := p.Up(ctx)
	check.State(err, "22012")
	check.OK(db.QueryRow("select count(*) from pg_class where relname = 'half'").Scan(&n))
	check.Equal(n, 0)
	for _, s := range check.Must(p.Status(ctx)) {
		check.Equal(s.State == goose.StateApplied, s.Source.Version < 4)
	}
	check.Must(p.DownTo(ctx, 0))
	check.OK(db.QueryRow("select count(*) from pg_class where relname = 't'").Scan(&n))
	check.Equal(n, 0)
	check.Done()
}

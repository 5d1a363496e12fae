// golang-migrate, with both of its PostgreSQL drivers: advisory locks, versions, a migration that fails.
package main

import (
	"database/sql"
	"errors"
	"io/fs"
	"strings"
	"testing/fstest"

	"github.com/golang-migrate/migrate/v4"
	_ "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	_ "github.com/golang-migrate/migrate/v4/database/postgres"
	"github.com/golang-migrate/migrate/v4/source/iofs"

	"github.com/meridian-db/meridian/server/clienttest/goclients/internal/check"
)

func steps(table string) fs.FS {
	file := func(text string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(strings.ReplaceAll(text, "TABLE_NAME", table))}
	}
	return fstest.MapFS{
		"1_first.up.sql":    file("create table TABLE_NAME (id int primary key); insert into TABLE_NAME values (1), (2);"),
		"1_first.down.sql":  file("drop table TABLE_NAME;"),
		"2_second.up.sql":   file("begin; alter table TABLE_NAME add column v text default 'x' not null; create index on TABLE_NAME (v); commit;"),
		"2_second.down.sql": file("alter table TABLE_NAME drop column v;"),
		"3_third.up.sql":    file("create table TABLE_NAME_more (id int); select 1/0;"),
		"3_third.down.sql":  file("select 1;"),
	}
}

func main() {
	db := check.Must(sql.Open("pgx/v5", check.URL()))
	defer db.Close()
	for scheme, table := range map[string]string{"postgres": "a", "pgx5": "b"} {
		url := strings.Replace(check.URL(), "postgres://", scheme+"://", 1) + "&x-migrations-table=versions_" + table
		m := check.Must(migrate.NewWithSourceInstance("iofs", check.Must(iofs.New(steps(table), ".")), url))
		check.OK(m.Migrate(2))
		check.Equal(errors.Is(m.Migrate(2), migrate.ErrNoChange), true)
		var n int
		check.OK(db.QueryRow("select count(*) from " + table + " where v = 'x'").Scan(&n))
		check.Equal(n, 2)
		// The third migration is one message of two statements: it fails as a whole, and leaves the version dirty.
		err := m.Up()
		check.Equal(err != nil && strings.Contains(err.Error(), "division by zero"), true)
		version, dirty, err := m.Version()
		check.OK(err)
		check.Equal([]any{version, dirty}, []any{uint(3), true})
		check.OK(db.QueryRow("select count(*) from pg_tables where tablename = $1", table+"_more").Scan(&n))
		check.Equal(n, 0)
		check.OK(m.Force(2))
		check.OK(m.Down())
		check.OK(db.QueryRow("select count(*) from pg_tables where tablename = $1", table).Scan(&n))
		check.Equal(n, 0)
		check.OK(m.Drop())
		source, database := m.Close()
		check.OK(errors.Join(source, database))
	}
	check.Done()
}

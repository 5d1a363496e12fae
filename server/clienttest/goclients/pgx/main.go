// pgx: binary types, batches, COPY, nested transactions, types loaded from the catalog, notifications.
package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/meridian-db/meridian/server/clienttest/goclients/internal/check"
)

type address struct {
	Street string
	Zip    int32
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pool := check.Must(pgxpool.New(ctx, check.URL()))
	defer pool.Close()
	conn := check.Must(pgx.Connect(ctx, check.URL()))
	defer conn.Close(ctx)
	check.Must(conn.Exec(ctx, `
		create type mood as enum ('sad', 'happy');
		create type address as (street text, zip int);
		create table person (id bigint generated always as identity primary key, name text not null unique, feels mood, home address,
			born date, paid numeric(10,2), tags text[], doc jsonb, seen timestamptz, key uuid, raw bytea)`))
	types := check.Must(conn.LoadTypes(ctx, []string{"mood", "address"}))
	conn.TypeMap().RegisterTypes(types)

	now := time.Now().Truncate(time.Microsecond).UTC()
	var id int64
	check.OK(conn.QueryRow(ctx, `insert into person (name, feels, home, born, paid, tags, doc, seen, key, raw)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning id`,
		"ann", "happy", address{"Main", 7}, time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC), "12.50", []string{"a", "b"}, map[string]int{"k": 1}, now,
		pgtype.UUID{Bytes: [16]byte{1, 2}, Valid: true}, []byte{0, 255}).Scan(&id))
	var home address
	var tags []string
	var doc map[string]int
	var seen time.Time
	var paid pgtype.Numeric
	check.OK(conn.QueryRow(ctx, "select home, tags, doc, seen, paid from person where id = $1", id).Scan(&home, &tags, &doc, &seen, &paid))
	check.Equal([]any{home, tags, doc, seen.UTC()}, []any{address{"Main", 7}, []string{"a", "b"}, map[string]int{"k": 1}, now})
	check.Equal(paid.Int.Int64(), int64(1250))

	// Errors and nested transactions.
	check.OK(pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "insert into person (name) values ('ann')")
			return err
		})
		check.State(err, "23505")
		_, err = tx.Exec(ctx, "update person set paid = paid + 1")
		return err
	}))
	_, err := conn.Exec(ctx, "select 1/0")
	check.State(err, "22012")
	tx := check.Must(conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable, AccessMode: pgx.ReadOnly}))
	_, err = tx.Exec(ctx, "delete from person")
	check.State(err, "25006")
	check.OK(tx.Rollback(ctx))

	// Batches, COPY, every way to run a query.
	batch := &pgx.Batch{}
	for i := range 100 {
		batch.Queue("insert into person (name, paid) values ($1, $2)", "p"+string(rune('a'+i%26))+string(rune('a'+i/26)), i)
	}
	batch.Queue("select count(*) from person")
	results := conn.SendBatch(ctx, batch)
	for range 100 {
		check.Must(results.Exec())
	}
	var n int
	check.OK(results.QueryRow().Scan(&n))
	check.Equal(n, 101)
	check.OK(results.Close())
	copied := check.Must(conn.CopyFrom(ctx, pgx.Identifier{"person"}, []string{"name", "feels", "born"}, pgx.CopyFromSlice(1000, func(i int) ([]any, error) {
		return []any{"copied" + time.Duration(i).String(), "sad", now}, nil
	})))
	check.Equal(copied, int64(1000))
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		check.OK(conn.QueryRow(ctx, "select count(*) from person where feels = $1 and id > $2", mode, "sad", 0).Scan(&n))
		check.Equal(n, 1000)
	}

	// Notifications, and a query given up.
	check.Must(conn.Exec(ctx, "listen ch"))
	check.Must(pool.Exec(ctx, "select pg_notify('ch', 'x')"))
	check.Equal(check.Must(conn.WaitForNotification(ctx)).Payload, "x")
	short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	if _, err := pool.Exec(short, "select pg_sleep(100)"); err == nil {
		check.Equal("slept", "cancelled")
	}
	check.OK(pool.QueryRow(ctx, "select 1").Scan(&n))
	check.Done()
}

// lib/pq under database/sql: prepared statements, COPY, listeners, error fields.
package main

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/lib/pq"

	"github.com/meridian-db/meridian/server/clienttest/goclients/internal/check"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db := check.Must(sql.Open("postgres", check.URL()))
	defer db.Close()
	check.Must(db.Exec(`create table account (id serial primary key, owner text not null unique, balance numeric(10,2) check (balance >= 0),
		tags text[], opened timestamptz default now(), raw bytea)`))
	var id int
	check.OK(db.QueryRow("insert into account (owner, balance, tags, raw) values ($1, $2, $3, $4) returning id",
		"ann", 10.5, pq.Array([]string{"a", "b"}), []byte{0, 255}).Scan(&id))
	var owner, balance string
	var tags []string
	var opened time.Time
	var raw []byte
	check.OK(db.QueryRow("select owner, balance, tags, opened, raw from account where id = $1", id).Scan(&owner, &balance, pq.Array(&tags), &opened, &raw))
	check.Equal([]any{owner, balance, tags, raw}, []any{"ann", "10.50", []string{"a", "b"}, []byte{0, 255}})

	tx := check.Must(db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable}))
	check.Must(tx.Exec("savepoint s"))
	_, err := tx.Exec("insert into account (owner) values ('ann')")
	var e *pq.Error
	check.Equal(errors.As(err, &e), true)
	check.Equal([]string{string(e.Code), e.Constraint, e.Table, e.Code.Name()}, []string{"23505", "account_owner_key", "account", "unique_violation"})
	check.Must(tx.Exec("rollback to s"))
	check.Must(tx.Exec("update account set balance = 1"))
	check.OK(tx.Commit())
	for query, code := range map[string]string{"insert into account (owner, balance) values ('x', -1)": "23514", "select 1/0": "22012",
		"select * from nowhere": "42P01", "select 'x'::int": "22P02"} {
		_, err := db.Exec(query)
		check.State(err, code)
	}

	tx = check.Must(db.Begin())
	copying := check.Must(tx.Prepare(pq.CopyIn("account", "owner", "balance")))
	for i := range 500 {
		check.Must(copying.Exec("o"+time.Duration(i).String(), i))
	}
	check.Must(copying.Exec())
	check.OK(copying.Close())
	check.OK(tx.Commit())
	statement := check.Must(db.Prepare("select count(*) from account where balance < $1"))
	for _, want := range []int{11, 101} {
		var n int
		check.OK(statement.QueryRow(want - 1).Scan(&n))
		check.Equal(n, want)
	}
	columns := check.Must(check.Must(db.Query("select id, owner, balance from account limit 1")).ColumnTypes())
	check.Equal([]string{columns[0].DatabaseTypeName(), columns[1].DatabaseTypeName(), columns[2].DatabaseTypeName()}, []string{"INT4", "TEXT", "NUMERIC"})

	listener := pq.NewListener(check.URL(), time.Second, time.Minute, nil)
	check.OK(listener.Listen("ch"))
	check.Must(db.Exec("notify ch, 'x'"))
	select {
	case n := <-listener.Notify:
		check.Equal(n.Extra, "x")
	case <-ctx.Done():
		check.OK(ctx.Err())
	}
	check.OK(listener.Close())
	check.Done()
}

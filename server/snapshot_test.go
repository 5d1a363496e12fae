package server

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestReadThePast: a snapshot that one node exports is good on every node; the past has its own rows and tables; and the
// five forms of staleness choose the timestamps that they promise.
func TestReadThePast(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	d, err := StartDemo(ctx, DemoConfig{SQLAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop()
	var c [3]*pgx.Conn
	for i, s := range d.Servers {
		if c[i], err = pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@%s/postgres", s.SQLAddr())); err != nil {
			t.Fatal(err)
		}
		defer c[i].Close(ctx)
	}
	exec := func(node int, sql string) {
		t.Helper()
		if _, err := c[node].Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	count := func(node int) (n int) {
		t.Helper()
		if err := c[node].QueryRow(ctx, "SELECT count(*) FROM t").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	exec(0, "CREATE TABLE t (a int)")
	exec(0, "INSERT INTO t VALUES (1)")
	exec(0, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	var snapshot string
	if err := c[0].QueryRow(ctx, "SELECT pg_export_snapshot()").Scan(&snapshot); err != nil {
		t.Fatal(err)
	}
	exec(1, "INSERT INTO t VALUES (2)")
	if n := count(0); n != 1 {
		t.Errorf("the exporting transaction sees %d rows", n)
	}
	exec(0, "COMMIT")
	exec(1, "ALTER TABLE t ADD COLUMN b int DEFAULT 7")
	for node := range c {
		exec(node, "BEGIN READ ONLY")
		exec(node, "SET TRANSACTION SNAPSHOT '"+snapshot+"'")
		rows, err := c[node].Query(ctx, "SELECT * FROM t")
		if err != nil {
			t.Fatal(err)
		}
		columns, n := len(rows.FieldDescriptions()), 0
		for rows.Next() {
			n++
		}
		if rows.Err() != nil || columns != 1 || n != 1 {
			t.Errorf("node %d: %d columns, %d rows, %v", node+1, columns, n, rows.Err())
		}
		exec(node, "COMMIT")
	}
	for _, form := range []struct {
		set  string
		want func(n int) bool
	}{
		{"meridian.read_timestamp = '" + snapshot + "'", func(n int) bool { return n == 1 }},
		{"meridian.min_read_timestamp = '" + snapshot + "'", func(n int) bool { return n >= 1 }},
		{"meridian.max_staleness = '1h'", func(n int) bool { return n >= 1 }},
		{"meridian.read_staleness = 'read_timestamp " + snapshot + "'", func(n int) bool { return n == 1 }},
		{"meridian.read_staleness = 'strong'", func(n int) bool { return n == 2 }},
	} {
		exec(2, "SET "+form.set)
		if n := count(2); !form.want(n) {
			t.Errorf("%s: %d rows", form.set, n)
		}
		exec(2, "RESET ALL")
	}
	exec(1, "INSERT INTO t VALUES (3)")
	time.Sleep(600 * time.Millisecond) // real time has to pass for a read half a second ago
	exec(2, "SET meridian.exact_staleness = '500ms'")
	if n := count(2); n != 3 {
		t.Errorf("exact staleness: %d rows", n)
	}
	exec(2, "RESET ALL")
	exec(0, "DROP TABLE t")
	exec(2, "SET meridian.read_timestamp = '"+snapshot+"'")
	exec(2, "BEGIN READ ONLY")
	if n := count(2); n != 1 {
		t.Errorf("after DROP TABLE: %d rows", n)
	}
	exec(2, "COMMIT")
	exec(2, "RESET ALL")
}

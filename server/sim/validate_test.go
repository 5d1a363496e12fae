package sim

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/txn/kv"
)

// Constraints are validated while a transaction has a row of the table locked and others write: nobody waits. What some
// row violates is gone afterwards, and what was to be validated later is not valid yet.
func TestSimConstraintsWithoutLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		c, err := New(ctx, Config{Seed: 6})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, n := range c.Nodes() {
			if err := n.Core().StartSQL(ctx); err != nil {
				t.Fatal(err)
			}
		}
		must := func(n int, text string) string {
			t.Helper()
			out, err := query(ctx, c.Nodes()[n-1], text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			return out
		}
		must(1, "create table p (id int primary key); insert into p select generate_series(0, 99)")
		must(1, "create table t (id int primary key, v int, w int); insert into t select g, g % 100, g from generate_series(1, 3000) g")
		oid, err := strconv.Atoi(must(1, "select 't'::regclass::oid"))
		if err != nil {
			t.Fatal(err)
		}
		db := c.Nodes()[1].Core().DB
		reader, err := db.Begin(ctx, kv.TxnOptions{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := reader.Scan(ctx, catalog.IndexSpan(uint32(oid), 1), kv.ScanOptions{})
		if err != nil || !rows.Next(ctx) {
			t.Fatal(err)
		}
		first := bytes.Clone(rows.Pair().Key)
		rows.Close()
		reader.Rollback(ctx)
		holder, err := db.Begin(ctx, kv.TxnOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer holder.Rollback(ctx)
		if v, err := holder.Get(ctx, first, kv.LockExclusive, kv.WaitBlock); err != nil || v == nil {
			t.Fatal(v, err)
		}
		load, stop := context.WithCancel(ctx)
		defer stop()
		done := make(chan int)
		go func() {
			n := 0
			defer func() { done <- n }()
			for i := 0; load.Err() == nil; i++ {
				if _, err := query(ctx, c.Nodes()[1+i%2], fmt.Sprintf("update t set w = w + 1 where id = %d; insert into t values (%d, 7, 7)", i%2990+2, 10000+i)); err != nil {
					t.Errorf("write: %v", err)
					return
				}
				n++
				time.Sleep(5 * time.Millisecond)
			}
		}()
		alter := func(what string) error {
			_, err := query(ctx, c.Nodes()[0], what)
			return err
		}
		must(1, "alter database postgres set statement_timeout = '20s'")
		for i, step := range [][2]string{
			{"add constraint sensible check (v between 0 and 99)", ""},
			{"add constraint parent foreign key (v) references p", ""},
			{"alter v set not null", ""},
			{"add constraint later check (w > 0) not valid", ""},
			{"validate constraint later", ""},
			{"add constraint late check (id <> 2995) not valid", ""},
			{"validate constraint late", "check constraint \"late\" of relation \"t\" is violated by some row"},
			{"add constraint none check (id <> 2996)", "check constraint \"none\" of relation \"t\" is violated by some row"},
			{"add constraint no_parent foreign key (id) references p", "violates foreign key constraint \"no_parent\""},
			{"add constraint bad check (no_such > 1)", "does not exist"},
			{"add u int", ""},
			{"alter u set not null", "column \"u\" of relation \"t\" contains null values"},
		} {
			if i == 8 { // nobody can insert what this one refuses
				stop()
				if n := <-done; n == 0 {
					t.Error("nothing was written meanwhile")
				}
			}
			switch err := alter("alter table t " + step[0]); {
			case err == nil && step[1] != "", err != nil && (step[1] == "" || !strings.Contains(err.Error(), step[1])):
				t.Errorf("%s: %v", step[0], err)
			}
		}
		holder.Rollback(ctx)
		if err := alter("alter table t add x int, add constraint atomic check (v < 10)"); err == nil || must(2, "select count(*) from pg_attribute where attrelid = 't'::regclass and attname = 'x'") != "0" {
			t.Errorf("a part of a statement: %v", err)
		}
		const want = "late f\nlater t\nparent t\nsensible t\nt_pkey t"
		if got := must(3, "select conname, convalidated from pg_constraint where conrelid = 't'::regclass order by 1"); got != want {
			t.Errorf("constraints\n%s\nwant\n%s", got, want)
		}
		if got := must(3, "select attname from pg_attribute where attrelid = 't'::regclass and attnum > 0 and attnotnull order by 1"); got != "id\nv" {
			t.Errorf("columns that are not null: %s", got)
		}
		for _, bad := range [][2]string{
			{"insert into t values (-1, 100, 1)", "sensible"}, {"update t set v = null where id = 5", "null value in column \"v\""},
			{"delete from p where id = 7", "parent"}, {"update t set w = 0 where id = 2995", "late"},
		} {
			if _, err := query(ctx, c.Nodes()[2], bad[0]); err == nil || !strings.Contains(err.Error(), bad[1]) {
				t.Errorf("%s: %v", bad[0], err)
			}
		}
		if got := must(2, "select count(*) filter (where state = 'succeeded'), count(*) filter (where state = 'failed') from meridian.jobs where kind = 'validate constraint'"); got != "4 4" {
			t.Errorf("jobs: %s\n%s", got, must(2, "select * from meridian.jobs"))
		}
	})
}

package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// textOutput collects the rows of a statement as text.
type textOutput struct {
	cols []sql.Column
	rows strings.Builder
}

func (o *textOutput) BeginRows(cols []sql.Column, _ []int16, _ *types.Settings, _ bool) {
	o.cols = cols
}
func (o *textOutput) Row(row []types.Datum) error {
	for i, d := range row {
		if i > 0 {
			o.rows.WriteByte(' ')
		}
		if !d.IsNull() {
			o.rows.Write(types.AppendText(nil, d, o.cols[i].Type, nil))
		}
	}
	o.rows.WriteByte('\n')
	return nil
}
func (o *textOutput) Complete(string)              {}
func (o *textOutput) CompleteRows(string, int64)   {}
func (o *textOutput) EmptyQuery()                  {}
func (o *textOutput) Suspended()                   {}
func (o *textOutput) Notice(*pgerr.Error)          {}
func (o *textOutput) Parameter(string, string)     {}
func (o *textOutput) Notify(int32, string, string) {}
func (o *textOutput) BeginCopyOut(int, int16)      {}
func (o *textOutput) CopyData([]byte) error        { return nil }
func (o *textOutput) EndCopyOut()                  {}
func (o *textOutput) Mark() sql.Mark               { return sql.Mark{} }
func (o *textOutput) Rewind(sql.Mark) bool         { o.rows.Reset(); return true }
func (o *textOutput) BeginDigest(bool)             {}
func (o *textOutput) EndDigest() uint64            { return 0 }
func (o *textOutput) Sent(sql.Mark) bool           { return false }
func (o *textOutput) BeginCopyIn(int, int16) (sql.CopySource, error) {
	return nil, errors.New("no COPY here")
}

// query runs statements on a node and returns their rows, columns separated by blanks.
func query(ctx context.Context, n *Node, text string) (string, error) {
	core := n.Core()
	if core == nil {
		return "", errors.New("the node is down")
	}
	var out textOutput
	err := core.SQL.Exec(ctx, "postgres", text, &out)
	return strings.TrimSpace(out.rows.String()), err
}

// startSQL starts a cluster whose nodes serve SQL.
func startSQL(t *testing.T, ctx context.Context, cfg Config) *Cluster {
	t.Helper()
	c, err := New(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for _, n := range c.Nodes() {
		if err := n.Core().StartSQL(ctx); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, n := range c.Nodes() {
			if core := n.Core(); core != nil {
				core.StopSQL(context.Background())
			}
		}
	})
	return c
}

// lockRow locks the n-th row of a table, which is named by its oid, in a transaction that goes on.
func lockRow(t *testing.T, ctx context.Context, db kv.DB, table string, n int) kv.Txn {
	t.Helper()
	oid, err := strconv.Atoi(table)
	if err != nil {
		t.Fatal(err)
	}
	holder, err := db.Begin(ctx, kv.TxnOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := holder.Scan(ctx, catalog.IndexSpan(uint32(oid), 1), kv.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n && rows.Next(ctx); i++ {
	}
	key := bytes.Clone(rows.Pair().Key)
	rows.Close()
	holder.Rollback(ctx)
	if holder, err = db.Begin(ctx, kv.TxnOptions{}); err != nil {
		t.Fatal(err)
	}
	if v, err := holder.Get(ctx, key, kv.LockExclusive, kv.WaitBlock); err != nil || v == nil {
		t.Fatal(v, err)
	}
	return holder
}

// The node that builds an index dies in the middle. Another one finishes the build, rows that are written meanwhile
// are in it, and a unique index that cannot be is gone without a trace.
func TestSimIndexBuildSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		c := startSQL(t, ctx, Config{Seed: 5})
		must := func(n int, text string) string {
			t.Helper()
			out, err := query(ctx, c.Nodes()[n-1], text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			return out
		}
		must(1, "create table t (id int primary key, v int); insert into t select g, g % 100 from generate_series(1, 12000) g")
		// The build gets as far as the middle row, which somebody has locked.
		holder := lockRow(t, ctx, c.Nodes()[1].Core().DB, must(2, "select 't'::regclass::oid"), 6000)
		go query(ctx, c.Nodes()[0], "create index tv on t (v)") // its answer is lost with its node
		for must(2, "select count(*) from meridian.jobs where kind = 'create index' and description ~ '[1-9][0-9]* rows'") == "0" {
			time.Sleep(20 * time.Millisecond)
		}
		died := time.Now()
		c.Nodes()[0].Crash()
		holder.Rollback(ctx)
		load, stop := context.WithCancel(ctx)
		done := make(chan int)
		go func() {
			n := 0
			defer func() { done <- n }()
			for i := 1; load.Err() == nil; i++ {
				id := i*37%12000 + 1
				if _, err := query(ctx, c.Nodes()[1+i%2], fmt.Sprintf("update t set v = v + 1000 where id = %d", id)); err != nil {
					t.Errorf("update: %v", err)
					return
				}
				if _, err := query(ctx, c.Nodes()[1+i%2], fmt.Sprintf("insert into t values (%d, 7); delete from t where id = %d", 20000+i, id+1)); err != nil {
					t.Errorf("insert: %v", err)
					return
				}
				n++
				time.Sleep(50 * time.Millisecond)
			}
		}()
		state := ""
		for begun := time.Now(); state != "succeeded"; {
			if time.Since(begun) > 5*time.Minute {
				t.Fatalf("the build is not finished: %s", must(2, "select * from meridian.jobs"))
			}
			time.Sleep(time.Second)
			state = must(2, "select state from meridian.jobs where kind = 'create index'")
		}
		if after := must(2, fmt.Sprintf("select finished > '%s' from meridian.jobs where kind = 'create index'", died.UTC().Format(time.RFC3339Nano))); after != "t" {
			t.Errorf("the build was finished before its node died, at %s: %q %s", died.UTC(), after, must(2, "select * from meridian.jobs"))
		}
		time.Sleep(2 * time.Second)
		stop()
		if n := <-done; n == 0 {
			t.Error("nothing was written meanwhile")
		}
		if plan := must(3, "explain (costs off) select id from t where v = 7"); !strings.Contains(plan, "tv") {
			t.Errorf("the index is not used: %s", plan)
		}
		byIndex := must(3, "set enable_seqscan = off; select count(*), sum(id), sum(v) from t where v >= 0")
		byRow := must(3, "select count(*), sum(id), sum(v) from t where v + 0 >= 0")
		if byIndex != byRow {
			t.Errorf("the index has %s, the table %s", byIndex, byRow)
		}
		if _, err := query(ctx, c.Nodes()[1], "create unique index tu on t (v)"); err == nil || !strings.Contains(err.Error(), "could not create unique index") {
			t.Errorf("a unique index over equal values: %v", err)
		}
		if left := must(2, "select count(*) from pg_class where relname = 'tu'"); left != "0" {
			t.Error("the unique index is left behind")
		}
	})
}

// The node that drops the primary key of a table in use dies in the middle, and the network loses messages. Another node goes
// on with it, and what is written meanwhile, by whatever way and again where nobody knows whether it was, is in the table
// once, and in its index.
func TestSimKeyDropSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		c := startSQL(t, ctx, Config{Seed: 7})
		must := func(n int, text string) string {
			t.Helper()
			for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
				out, err := query(ctx, c.Nodes()[n-1], text)
				if err == nil {
					return out
				}
				if time.Since(begun) > time.Minute {
					t.Fatalf("%s: %v", text, err)
				}
			}
		}
		const rows, middle = 6000, 3000
		must(1, fmt.Sprintf("create table t (id int primary key, v int); create index tv on t (v); insert into t select g, g %% 100 from generate_series(1, %d) g", rows))
		want := map[int]int{}
		for i := range rows {
			want[i+1] = (i + 1) % 100
		}
		// The job gets as far as the middle row, which somebody has locked.
		holder := lockRow(t, ctx, c.Nodes()[1].Core().DB, must(2, "select 't'::regclass::oid"), middle)
		go query(ctx, c.Nodes()[0], "alter table t drop constraint t_pkey") // its answer is lost with its node
		for must(2, "select count(*) from meridian.jobs where kind = 'rewrite table' and description ~ '[1-9][0-9]* rows'") == "0" {
			time.Sleep(20 * time.Millisecond)
		}
		c.Net.SetFaults(Faults{Latency: time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.02, Dup: 0.02})
		load, stop := context.WithCancel(ctx)
		done := make(chan int)
		go func() {
			n := 0
			defer func() { done <- n }()
			// What is done twice is done once.
			write := func(i int, text string) {
				for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
					_, err := query(ctx, c.Nodes()[1+i%2], text)
					if err == nil {
						return
					}
					if strings.Contains(text, "on conflict") && pgerr.Code(err) == "42P10" { // the key is gone
						text = strings.Replace(text, "on conflict (id) do update set v = 9", "", 1)
						text = "delete from t where id = " + text[strings.Index(text, "(")+1:strings.Index(text, ",")] + "; " + text
					}
					if time.Since(begun) > 5*time.Minute || strings.HasPrefix(pgerr.Code(err), "23") {
						t.Errorf("%s: %v", text, err)
						return
					}
				}
			}
			for i := 1; load.Err() == nil; i++ {
				id := func(k int) int { return (i*997+k)%rows + 1 }
				fresh := 20000 + i
				write(i, fmt.Sprintf("update t set v = %d where id = %d", 1000+i, id(0)))
				if _, ok := want[id(0)]; ok {
					want[id(0)] = 1000 + i
				}
				write(i, fmt.Sprintf("delete from t where id = %d; insert into t values (%[1]d, 7)", fresh))
				want[fresh] = 7
				write(i, fmt.Sprintf("delete from t where id = %d", id(1)))
				delete(want, id(1))
				write(i, fmt.Sprintf("insert into t values (%d, 9) on conflict (id) do update set v = 9", id(2)))
				want[id(2)] = 9
				write(i, fmt.Sprintf("update t set id = %d where id = %d", 40000+i, id(3)))
				if v, ok := want[id(3)]; ok {
					want[40000+i] = v
					delete(want, id(3))
				}
				n++
				time.Sleep(20 * time.Millisecond)
			}
		}()
		time.Sleep(time.Second)
		died := time.Now()
		c.Nodes()[0].Crash()
		holder.Rollback(ctx)
		state := ""
		for begun := time.Now(); state != "succeeded"; {
			if time.Since(begun) > 10*time.Minute {
				t.Fatalf("the key is not dropped: %s", must(2, "select * from meridian.jobs"))
			}
			time.Sleep(time.Second)
			state = must(2, "select state from meridian.jobs where kind = 'rewrite table'")
		}
		if after := must(2, fmt.Sprintf("select finished > '%s' from meridian.jobs where kind = 'rewrite table'", died.UTC().Format(time.RFC3339Nano))); after != "t" {
			t.Errorf("the key was dropped before its node died, at %s: %s", died.UTC(), must(2, "select * from meridian.jobs"))
		}
		time.Sleep(time.Second)
		stop()
		n := <-done
		if n == 0 {
			t.Error("nothing was written meanwhile")
		}
		t.Logf("%d rounds of writes until %s after the node died", n, time.Since(died))
		got := map[int]int{}
		for l := range strings.SplitSeq(must(3, "select id, v from t"), "\n") {
			var id, v int
			if _, err := fmt.Sscan(l, &id, &v); err != nil {
				t.Fatal(l, err)
			}
			if _, twice := got[id]; twice {
				t.Errorf("row %d is there twice", id)
			}
			got[id] = v
		}
		if !maps.Equal(got, want) {
			t.Errorf("%d rows, want %d", len(got), len(want))
			for id, v := range want {
				if g, ok := got[id]; !ok || g != v {
					t.Errorf("row %d has %d (%v), want %d", id, g, ok, v)
				}
			}
		}
		if plan := must(3, "explain (costs off) select id from t where v = 7"); !strings.Contains(plan, "tv") {
			t.Errorf("the index is not used: %s", plan)
		}
		byIndex := must(3, "set enable_seqscan = off; select count(*), sum(id), sum(v) from t where v >= 0")
		byRow := must(3, "select count(*), sum(id), sum(v) from t where v + 0 >= 0")
		if byIndex != byRow {
			t.Errorf("the index has %s, the table %s", byIndex, byRow)
		}
		if left := must(3, "select count(*) from pg_constraint where conname = 't_pkey'"); left != "0" {
			t.Error("the constraint is left behind")
		}
	})
}

package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// The node that builds an index dies in the middle. Another one finishes the build, rows that are written meanwhile
// are in it, and a unique index that cannot be is gone without a trace.
func TestSimIndexBuildSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		c, err := New(ctx, Config{Seed: 5})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, n := range c.Nodes() {
			if err := n.Core().StartSQL(ctx); err != nil {
				t.Fatal(err)
			}
		}
		defer func() {
			for _, n := range c.Nodes() {
				if core := n.Core(); core != nil {
					core.StopSQL(context.Background())
				}
			}
		}()
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
		oid, err := strconv.Atoi(must(2, "select 't'::regclass::oid"))
		if err != nil {
			t.Fatal(err)
		}
		holder, err := c.Nodes()[1].Core().DB.Begin(ctx, kv.TxnOptions{})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := holder.Scan(ctx, catalog.IndexSpan(uint32(oid), 1), kv.ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < 6000 && rows.Next(ctx); i++ {
		}
		middle := bytes.Clone(rows.Pair().Key)
		rows.Close()
		holder.Rollback(ctx)
		if holder, err = c.Nodes()[1].Core().DB.Begin(ctx, kv.TxnOptions{}); err != nil {
			t.Fatal(err)
		}
		if v, err := holder.Get(ctx, middle, kv.LockExclusive, kv.WaitBlock); err != nil || v == nil {
			t.Fatal(v, err)
		}
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

package sim

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/range/placement"
	"github.com/meridian-db/meridian/server"
	"github.com/meridian-db/meridian/sql/backup"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/txn/kv"
)

// stepDB takes more than a second for each step of a backup or restore, so that each has its checkpoint, and counts
// them. The node named by stuck never gets past the fifth.
type stepDB struct {
	kv.DB
	what  string
	steps *atomic.Int64
	stuck bool
}

func (d stepDB) Begin(ctx context.Context, o kv.TxnOptions) (kv.Txn, error) {
	if o.Name == d.what {
		n := d.steps.Add(1)
		time.Sleep(1200 * time.Millisecond)
		if d.stuck && n > 5 {
			<-ctx.Done()
		}
	}
	return d.DB.Begin(ctx, o)
}

const restoreTables = 10

// inBackup is a cluster whose node 1 gets stuck in what is named ("backup" or "restore"), with tables in ranges of their own,
// one of them in a tablespace. steps counts what each node did of it.
func inBackup(t *testing.T, what string, f func(ctx context.Context, c *Cluster, dir string, must func(n int, text string) string, steps *[3]atomic.Int64)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var steps [3]atomic.Int64
		c, err := New(ctx, Config{Seed: 9, Tune: func(cc *server.CoreConfig) {
			node := cc.NodeID
			cc.TuneBackup = func(b *backup.Config) {
				b.DB, b.Workers = stepDB{b.DB, what, &steps[node-1], node == 1}, 1
			}
		}})
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
		must(2, "create tablespace two location '' with (leaders='r2')")
		must(2, "create database copy")
		for i := range restoreTables {
			in := ""
			if i == 0 {
				in = " tablespace two"
			}
			must(2, fmt.Sprintf("create table t%d (id int primary key, v text)%s; insert into t%d select g, 'value ' || g from generate_series(1, 200) g", i, in, i))
			oid, err := strconv.Atoi(must(2, fmt.Sprintf("select 't%d'::regclass::oid", i)))
			if err != nil {
				t.Fatal(err)
			}
			split(ctx, t, c, catalog.TableSpan(uint32(oid)).Start)
		}
		f(ctx, c, "file://"+t.TempDir(), must, &steps)
	})
}

// split makes key the first of a range, if it is not already.
func split(ctx context.Context, t *testing.T, c *Cluster, key []byte) {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		for _, n := range c.Nodes() {
			rep, ok := n.Core().Store.ReplicaForKey(key)
			if ok && string(rep.Desc().Start) == string(key) {
				return
			}
			if ok && rep.LeaderHint() == ranges.NodeID(n.ID) {
				_ = rep.Split(ctx, key) // it may be moving
			}
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("no split at %x", key)
		}
	}
}

// awaitEnd waits until the newest job of a kind has ended, and returns its state.
func awaitEnd(t *testing.T, must func(n int, text string) string, kind string) string {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < 10*time.Minute; time.Sleep(time.Second) {
		if state := must(2, "select state from meridian.jobs where kind = '"+kind+"' order by job_id desc limit 1"); state == "succeeded" || state == "failed" || state == "canceled" {
			return state
		}
	}
	return "never: " + must(2, "select * from meridian.jobs")
}

func awaitStuck(steps *atomic.Int64) {
	for steps.Load() <= 5 {
		time.Sleep(100 * time.Millisecond)
	}
}

func contents(n int, must func(n int, text string) string) string {
	var b strings.Builder
	for i := range restoreTables {
		b.WriteString(must(n, fmt.Sprintf("select count(*), sum(id), md5(string_agg(v, ',' order by id)) from t%d", i)) + "\n")
	}
	return b.String()
}

// The node that takes a backup dies in the middle. Another one finishes it without reading again what is written.
func TestSimBackupSurvives(t *testing.T) {
	inBackup(t, "backup", func(ctx context.Context, c *Cluster, dir string, must func(n int, text string) string, steps *[3]atomic.Int64) {
		at := must(1, "select (meridian.backup('"+dir+"/b', '{\"detached\": true}')->>'job_id')::int > 0")
		if at != "t" {
			t.Fatal(at)
		}
		awaitStuck(&steps[0])
		want := contents(2, must)
		must(2, "insert into t3 values (1000, 'too late')")
		c.Nodes()[0].Crash()
		if state := awaitEnd(t, must, "backup"); state != "succeeded" {
			t.Fatalf("the backup is %s", state)
		}
		// One step for the catalog and one for each range; those that were done are not done again.
		if n := steps[1].Load() + steps[2].Load(); n == 0 || n > restoreTables-2 {
			t.Errorf("the other nodes read %d parts", n)
		}
		must(2, "drop table "+tableList())
		must(2, "select meridian.restore('"+dir+"/b')")
		if got := contents(2, must); got != want {
			t.Errorf("restored\n%s\nwant\n%s", got, want)
		}
	})
}

func tableList() string {
	var names []string
	for i := range restoreTables {
		names = append(names, fmt.Sprintf("t%d", i))
	}
	return strings.Join(names, ", ")
}

// policyRecords are the placement policies that are recorded, by tablespace and where its leaders are.
func policyRecords(ctx context.Context, t *testing.T, n *Node) map[string]int {
	t.Helper()
	tx, err := n.Core().DB.Begin(ctx, kv.TxnOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(ctx)
	start, end := placement.KeySpan()
	rows, err := tx.Scan(ctx, kv.Span{Start: start, End: end}, kv.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]int{}
	for rows.Next(ctx) {
		p, err := placement.Decode(rows.Pair().Value)
		if err != nil {
			t.Fatal(err)
		}
		out[p.Policy.Name+" in "+strings.Join(p.Policy.Leaders, ",")]++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// The node that restores dies in the middle. Another one goes on after the last checkpoint, nothing shows before all is
// there, and rows are written where their tablespace wants them from the beginning. One that is canceled leaves no policy.
func TestSimRestoreSurvives(t *testing.T) {
	inBackup(t, "restore", func(ctx context.Context, c *Cluster, dir string, must func(n int, text string) string, steps *[3]atomic.Int64) {
		must(2, "select meridian.backup('"+dir+"/b')")
		want := contents(2, must)
		must(2, "drop table "+tableList())
		if got := policyRecords(ctx, t, c.Nodes()[1]); len(got) != 0 {
			t.Fatalf("policies of dropped tables: %v", got)
		}
		must(1, "select meridian.restore('"+dir+"/b', '{\"detached\": true, \"database\": \"postgres\"}')")
		awaitStuck(&steps[0])
		if got := must(2, "select count(*) from pg_class where relname = 't0'"); got != "0" {
			t.Error("a table is visible before its time")
		}
		if got := policyRecords(ctx, t, c.Nodes()[1]); got["two in r2"] != 1 {
			t.Errorf("policies while rows are written: %v", got)
		}
		// The tablespace changes meanwhile: the end follows.
		must(2, "alter tablespace two set (leaders='r3')")
		c.Nodes()[0].Crash()
		if state := awaitEnd(t, must, "restore"); state != "succeeded" {
			t.Fatalf("the restore is %s: %s", state, must(2, "select error from meridian.jobs where kind = 'restore'"))
		}
		if n := steps[1].Load() + steps[2].Load(); n == 0 || n > restoreTables-2 {
			t.Errorf("the other nodes wrote %d parts", n)
		}
		if got := contents(2, must); got != want {
			t.Errorf("restored\n%s\nwant\n%s", got, want)
		}
		if got := policyRecords(ctx, t, c.Nodes()[1]); fmt.Sprint(got) != "map[two in r3:1]" {
			t.Errorf("policies at the end: %v", got)
		}
		// Back on its feet node 1 gets stuck again, and the restore is canceled.
		if err := c.Nodes()[0].Restart(); err != nil {
			t.Fatal(err)
		}
		if err := c.Nodes()[0].Core().StartSQL(ctx); err != nil {
			t.Fatal(err)
		}
		steps[0].Store(0)
		must(1, "select meridian.restore('"+dir+"/b', '{\"detached\": true, \"database\": \"postgres\", \"into\": \"copy\"}')")
		awaitStuck(&steps[0])
		if got := policyRecords(ctx, t, c.Nodes()[1]); got["two in r3"] != 2 {
			t.Errorf("policies while rows are written: %v", got)
		}
		must(2, "select meridian.cancel_job(max(job_id)) from meridian.jobs")
		if state := awaitEnd(t, must, "restore"); state != "canceled" {
			t.Fatalf("the restore is %s", state)
		}
		if got := policyRecords(ctx, t, c.Nodes()[1]); fmt.Sprint(got) != "map[two in r3:1]" {
			t.Errorf("policies after the cancellation: %v", got)
		}
	})
}

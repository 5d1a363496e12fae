package sql

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// TestStatementStatistics: statements that differ in their literals count as one, through either protocol, with
// rows and failures, and no literal is kept.
func TestStatementStatistics(t *testing.T) {
	srv := newTestServer(t, kvtest.New())
	s := newTestSession(t, srv)
	ctx := context.Background()
	run := func(text string) {
		if err := s.SimpleQuery(ctx, text); err != nil {
			s.Abort(ctx)
			return
		}
	}
	run("create table t (a int primary key, b text)")
	srv.stats.Reset(time.Now())
	run("insert into t values (1, 'secret'), (2, 'x')")
	run("insert into t values (1, 'again'), (3, 'x')")
	run("select * from t where a > 0")
	run("select * from t  where a > 1")
	run("begin; update t set b = 'y' where a = 2; commit")
	if err := s.Parse(ctx, "p", "select b from t where a = $1", nil); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := s.Bind(ctx, BindArgs{Statement: "p", Params: [][]byte{fmt.Append(nil, i)}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Execute(ctx, "", 0, true); err != nil {
			t.Fatal(err)
		}
		if err := s.Sync(ctx); err != nil {
			t.Fatal(err)
		}
	}
	all, _ := srv.Statements().Snapshot()
	var got []string
	for _, st := range all {
		got = append(got, fmt.Sprintf("%s: %d calls, %d failed, %d rows", st.Key.Text, st.Calls, st.Failures, st.Rows))
		if st.Elapsed <= 0 || st.Key.Database == 0 {
			t.Errorf("%s took %s in database %d", st.Key.Text, st.Elapsed, st.Key.Database)
		}
	}
	slices.Sort(got)
	want := []string{
		"begin: 1 calls, 0 failed, 0 rows",
		"commit: 1 calls, 0 failed, 0 rows",
		"insert into t values ($1, $2), ($3, $4): 2 calls, 1 failed, 2 rows",
		"select * from t where a > $1: 2 calls, 0 failed, 3 rows",
		"select b from t where a = $1: 3 calls, 0 failed, 2 rows",
		"update t set b = $1 where a = $2: 1 calls, 0 failed, 1 rows",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

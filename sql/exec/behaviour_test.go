package exec

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

func (db *testDB) begin(o kv.TxnOptions) kv.Txn {
	db.t.Helper()
	txn, err := db.kv.Begin(db.t.Context(), o)
	if err != nil {
		db.t.Fatal(err)
	}
	db.t.Cleanup(func() { txn.Rollback(db.t.Context()) })
	return txn
}

// in runs statements in an open transaction.
func (db *testDB) in(txn kv.Txn, iso kv.Isolation, text string) (*testResult, error) {
	db.txn, db.iso = txn, iso
	defer func() { db.txn, db.iso = nil, kv.Serializable }()
	return db.run(text)
}

// TestMemoryLimit: a statement past its budget fails by itself with 53200.
func TestMemoryLimit(t *testing.T) {
	db := newTestDB(t)
	db.must("create table t (id int primary key, s text)")
	for i := range 50 {
		db.must(fmt.Sprintf("insert into t select g, repeat('x', 100) from generate_series(%d, %d) g", i*100, i*100+99))
	}
	for _, q := range []string{"select * from t order by s, id", "select distinct s, id from t", "select s, id, count(*) from t group by s, id",
		"select * from t a join t b on a.s = b.s and a.id + 0 = b.id + 0", "select array_agg(s order by id) from t", "select row_number() over (order by s) from t"} {
		st, err := parser.ParseOne(q)
		if err != nil {
			t.Fatal(err)
		}
		fc := db.ctx(t.Context())
		p, err := plan.Prepare(t.Context(), st.Stmt, plan.Env{Catalog: db, SearchPath: []string{"public"}, Builtin: fc})
		if err != nil {
			t.Fatal(err)
		}
		txn := db.begin(kv.TxnOptions{ReadOnly: true})
		env := &Env{Txn: txn, ReadOnly: true, Builtin: fc, Catalog: db, MemLimit: 200 << 10}
		if _, err = Run(t.Context(), p, env, func([]types.Datum) error { return nil }); pgerr.Code(err) != pgerr.OutOfMemory {
			t.Errorf("%s: %v, want 53200", q, err)
		}
		env.MemLimit = 64 << 20
		if _, err = Run(t.Context(), p, env, func([]types.Datum) error { return nil }); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
}

// TestReadCommittedRecheck: an UPDATE that finds a row by an old version looks at the newest one before it
// writes, and leaves the row alone if it no longer qualifies.
func TestReadCommittedRecheck(t *testing.T) {
	db := newTestDB(t)
	db.must("create table t (id int primary key, v int, w int); insert into t values (1, 10, 0), (2, 10, 0)")
	txn := db.begin(kv.TxnOptions{Isolation: kv.ReadCommitted})
	if err := txn.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The statement's snapshot is fixed by a read; then another transaction changes both rows.
	if _, err := db.in(txn, kv.ReadCommitted, "select * from t"); err != nil {
		t.Fatal(err)
	}
	db.must("update t set v = 11 where id = 1; update t set w = 5 where id = 2")
	r, err := db.in(txn, kv.ReadCommitted, "update t set w = w + 1 where v = 10 returning id, v, w")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.String(); got != "2|10|6\n" {
		t.Fatalf("updated %q, want row 2 with the other transaction's w", got)
	}
}

// TestReadCommittedMerge: MERGE finds its rows without locks, and does not write by what another transaction has changed
// meanwhile. Whoever runs it does so again.
func TestReadCommittedMerge(t *testing.T) {
	db := newTestDB(t)
	db.must("create table t (id int primary key, v int); create table s (id int); insert into t values (1, 10), (2, 10); insert into s values (1), (2)")
	const merge = "merge into t using s on t.id = s.id when matched and v > 10 then delete when matched then update set v = v + 1"
	txn := db.begin(kv.TxnOptions{Isolation: kv.ReadCommitted})
	if err := txn.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.in(txn, kv.ReadCommitted, "select * from t"); err != nil {
		t.Fatal(err)
	}
	db.must("update t set v = 11 where id = 1")
	if _, err := db.in(txn, kv.ReadCommitted, merge); !errors.Is(err, kv.ErrWriteConflict) {
		t.Fatalf("got %v, want a write conflict", err)
	}
	txn.Rollback(t.Context())
	txn = db.begin(kv.TxnOptions{Isolation: kv.ReadCommitted})
	if _, err := db.in(txn, kv.ReadCommitted, merge); err != nil {
		t.Fatal(err)
	}
	if _, err := txn.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := db.must("select * from t").String(); got != "2|11\n" {
		t.Errorf("the table holds %q", got)
	}
}

// TestSnapshotConflict: under snapshot isolation the same update fails instead.
func TestSnapshotConflict(t *testing.T) {
	db := newTestDB(t)
	db.must("create table t (id int primary key, v int); insert into t values (1, 10)")
	txn := db.begin(kv.TxnOptions{Isolation: kv.Snapshot})
	if _, err := db.in(txn, kv.Snapshot, "select * from t"); err != nil {
		t.Fatal(err)
	}
	db.must("update t set v = 11")
	if _, err := db.in(txn, kv.Snapshot, "update t set v = v + 1"); !errors.Is(err, kv.ErrWriteConflict) {
		t.Fatalf("got %v, want a write conflict", err)
	}
}

// TestNoWaitSkipLocked: neither waits for a locked row.
func TestNoWaitSkipLocked(t *testing.T) {
	for _, iso := range []kv.Isolation{kv.Serializable, kv.ReadCommitted} {
		db := newTestDB(t)
		db.must("create table t (id int primary key, v int); insert into t values (1, 1), (2, 2), (3, 3)")
		holder := db.begin(kv.TxnOptions{})
		if _, err := db.in(holder, kv.Serializable, "select * from t where id = 2 for update"); err != nil {
			t.Fatal(err)
		}
		txn := db.begin(kv.TxnOptions{Isolation: iso})
		r, err := db.in(txn, iso, "select id from t where v < 10 order by id for update skip locked")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(r.String(), "\n", " "); got != "1 3 " {
			t.Errorf("isolation %v: SKIP LOCKED returned %q", iso, got)
		}
		for _, q := range []string{"select id from t where id = 2 for update nowait", "select id from t where v = 2 for update nowait"} {
			if _, err := db.in(txn, iso, q); !errors.Is(err, kv.ErrLockNotAvailable) {
				t.Errorf("isolation %v: %s: %v", iso, q, err)
			}
		}
	}
}

// TestHalloween: an update that moves rows along the index it scans sees each row once.
func TestHalloween(t *testing.T) {
	db := newTestDB(t)
	db.must("create table t (id int primary key, v int); create index tv on t (v); insert into t select g, g from generate_series(1, 600) g")
	if r := db.must("update t set v = v + 1000 where v >= 1"); r.tag != "UPDATE 600" {
		t.Fatal(r.tag)
	}
	if r := db.must("update t set id = id + 10000 where id > 0"); r.tag != "UPDATE 600" {
		t.Fatal(r.tag)
	}
	if r := db.must("insert into t select id + 1, v from t where id % 2 = 0 on conflict do nothing"); r.tag != "INSERT 0 1" {
		t.Fatal(r.tag)
	}
	verifyIndexes(t, db, "t")
}

// TestRowIDsDiffer: rows of tables without a key never share a row id, however fast they come.
func TestRowIDsDiffer(t *testing.T) {
	db := newTestDB(t)
	db.must("create table h (v int)")
	db.must("insert into h select g from generate_series(1, 5000) g")
	if r := db.must("select count(*), count(distinct v) from h"); r.String() != "5000|5000\n" {
		t.Fatal(r.String())
	}
}

// TestInserter: rows that come from outside, with defaults, across batches, and a duplicate among them.
func TestInserter(t *testing.T) {
	db := newTestDB(t)
	db.must("create table t (id int primary key, v int default 7, s text)")
	fc := db.ctx(t.Context())
	rv, err := parser.ParseOne("insert into t default values")
	if err != nil {
		t.Fatal(err)
	}
	table := tableOf(rv)
	p, err := plan.PrepareInsert(t.Context(), table, []string{"id", "s"}, plan.Env{Catalog: db, SearchPath: []string{"public"}, Builtin: fc})
	if err != nil {
		t.Fatal(err)
	}
	load := func(ids ...int64) error {
		txn := db.begin(kv.TxnOptions{})
		w, err := NewInserter(t.Context(), p, &Env{Txn: txn, Builtin: fc, Catalog: db})
		if err != nil {
			return err
		}
		row := make([]types.Datum, 2)
		for _, id := range ids {
			row[0], row[1] = types.NewInt(id), types.NewString(fmt.Sprint("row ", id))
			if err := w.Add(t.Context(), row); err != nil {
				return err
			}
		}
		if _, err := w.Close(t.Context()); err != nil {
			return err
		}
		_, err = txn.Commit(t.Context())
		return err
	}
	ids := make([]int64, 1300)
	for i := range ids {
		ids[i] = int64(i)
	}
	if err := load(ids...); err != nil {
		t.Fatal(err)
	}
	if r := db.must("select count(*), sum(v), max(s) from t"); r.String() != "1300|9100|row 999\n" {
		t.Fatal(r.String())
	}
	if err := load(5000, 5001, 5000); pgerr.Code(err) != pgerr.UniqueViolation {
		t.Fatalf("duplicate within a batch: %v", err)
	}
	if err := load(6000, 7); pgerr.Code(err) != pgerr.UniqueViolation {
		t.Fatalf("duplicate of a stored row: %v", err)
	}
	if r := db.must("select count(*) from t"); r.String() != "1300\n" {
		t.Fatal(r.String())
	}
}

// TestPlanIsShared: one plan executes in many goroutines at once.
func TestPlanIsShared(t *testing.T) {
	db := newTestDB(t)
	db.must("create table t (id int primary key, v int); insert into t select g, g * 2 from generate_series(1, 50) g")
	st, err := parser.ParseOne("select a.v, (select max(v) from t c where c.id <= a.id), count(*) from t a join t b on b.id = a.v where a.id < $1 group by a.v, a.id order by 1")
	if err != nil {
		t.Fatal(err)
	}
	fc := db.ctx(t.Context())
	p, err := plan.Prepare(t.Context(), st.Stmt, plan.Env{Catalog: db, SearchPath: []string{"public"}, NumParams: 1, Builtin: fc})
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	for g := range 8 {
		go func() {
			errs <- func() error {
				txn, err := db.kv.Begin(t.Context(), kv.TxnOptions{ReadOnly: true})
				if err != nil {
					return err
				}
				n := 0
				env := &Env{Txn: txn, ReadOnly: true, Builtin: db.ctx(t.Context()), Catalog: db, Params: []types.Datum{types.NewInt(int64(g + 2))}}
				if _, err = Run(t.Context(), p, env, func(row []types.Datum) error {
					n++
					if row[0].Int() != row[1].Int() {
						return fmt.Errorf("row %v", row)
					}
					return nil
				}); err == nil && n != g+1 {
					err = fmt.Errorf("%d rows for %d", n, g+1)
				}
				return err
			}()
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// TestCancel: a long statement that reads nothing notices that it was cancelled.
func TestCancel(t *testing.T) {
	db := newTestDB(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	st, err := parser.ParseOne("select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b")
	if err != nil {
		t.Fatal(err)
	}
	fc := db.ctx(ctx)
	n := 0
	st2, err := parser.ParseOne("select a from generate_series(1, 1000000) a, generate_series(1, 1000000) b")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []ast.Statement{st2, st} {
		p, err := plan.Prepare(ctx, s.Stmt, plan.Env{Catalog: db, SearchPath: []string{"public"}, Builtin: fc})
		if err != nil {
			t.Fatal(err)
		}
		_, err = Run(ctx, p, &Env{Txn: db.begin(kv.TxnOptions{ReadOnly: true}), ReadOnly: true, Builtin: fc, Catalog: db}, func([]types.Datum) error {
			if n++; n == 5 {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
}

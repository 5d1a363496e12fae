package exec

import (
	"context"
	"fmt"
	"testing"

	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// nullTxn answers every Get with one value: what remains is the cost of SQL.
type nullTxn struct {
	kv.Txn
	val []byte
}

func (t *nullTxn) Get(context.Context, []byte, kv.LockMode, kv.WaitPolicy) ([]byte, error) {
	return t.val, nil
}
func (t *nullTxn) Put(_, _ []byte) error    { return nil }
func (t *nullTxn) Insert(_, _ []byte) error { return nil }
func (t *nullTxn) Delete([]byte) error      { return nil }

// BenchmarkPoint measures an execution of pgbench's statements, prepared, without the transaction layer.
func BenchmarkPoint(b *testing.B) {
	db := newTestDB(b)
	db.must(`create table pgbench_accounts (aid int primary key, bid int, abalance int, filler char(84));
		create table pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
		insert into pgbench_accounts values (1, 1, 0, 'x')`)
	val := rowValue(b, db, "pgbench_accounts")
	for _, q := range []struct{ name, text string }{
		{"select", "SELECT abalance FROM pgbench_accounts WHERE aid = $1"},
		{"update", "UPDATE pgbench_accounts SET abalance = abalance + $2 WHERE aid = $1"},
		{"delete", "DELETE FROM pgbench_accounts WHERE aid = $1"},
		{"insert", "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($2, $2, $1, $2, CURRENT_TIMESTAMP)"},
	} {
		b.Run(q.name, func(b *testing.B) {
			st, err := parser.ParseOne(q.text)
			if err != nil {
				b.Fatal(err)
			}
			ctx := b.Context()
			fc := db.ctx(ctx)
			p, err := plan.Prepare(ctx, st.Stmt, plan.Env{Catalog: db, SearchPath: []string{"public"}, NumParams: st.NumParams, Builtin: fc})
			if err != nil {
				b.Fatal(err)
			}
			env := &Env{Txn: &nullTxn{val: val}, Params: []types.Datum{types.NewInt(1), types.NewInt(5)}, Builtin: fc, Catalog: db, Writes: &Writes{}}
			n := 0
			sink := func([]types.Datum) error { n++; return nil }
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Run(ctx, p, env, sink); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func rowValue(b *testing.B, db *testDB, table string) []byte {
	txn, _ := db.kv.Begin(b.Context(), kv.TxnOptions{ReadOnly: true})
	c := codecOf(db.tables[table])
	sc, err := txn.Scan(b.Context(), kv.Span{Start: c.primary.prefix, End: prefixEnd(c.primary.prefix)}, kv.ScanOptions{})
	if err != nil || !sc.Next(b.Context()) {
		b.Fatal(err)
	}
	return append([]byte(nil), sc.Pair().Value...)
}

// BenchmarkScan measures operators over many rows.
func BenchmarkScan(b *testing.B) {
	db := newTestDB(b)
	db.kv = kvtest.New()
	db.must("create table r (id int primary key, g int, v int, s text)")
	for i := 0; i < 20000; i += 500 {
		text := "insert into r values "
		for j := i; j < i+500; j++ {
			if j > i {
				text += ","
			}
			text += fmt.Sprintf("(%d,%d,%d,'row %d')", j, j%100, j*7%1000, j)
		}
		db.must(text)
	}
	for _, q := range []struct{ name, text string }{
		{"scan", "select id from r where v = -1"},
		{"group", "select g, count(*), sum(v) from r group by g"},
		{"join", "select count(*) from r a join r b on a.id = b.v"},
		{"sort", "select id, s from r order by v, id limit 10"},
	} {
		b.Run(q.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := db.run(q.text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package exec

import (
	"context"
	"math"
	"testing"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/txn/kv"
)

// analyze makes the statistics of a test table.
func (db *testDB) analyze(name string) *catalog.TableStats {
	db.t.Helper()
	ctx := context.Background()
	tx, err := db.kv.Begin(ctx, kv.TxnOptions{ReadOnly: true})
	if err != nil {
		db.t.Fatal(err)
	}
	defer tx.Rollback(ctx)
	st, err := Analyze(ctx, tx, db.tables[name], func(int) int { return -1 })
	if err != nil {
		db.t.Fatal(err)
	}
	return st
}

// TestAnalyze checks statistics against a table whose distribution is known.
func TestAnalyze(t *testing.T) {
	db := newTestDB(t)
	db.must(`CREATE TABLE t (id int PRIMARY KEY, back int NOT NULL, tenth text, gap int, skew int, none text)`)
	// 2000 rows; skew is 7 in half of them and unique in the others.
	db.must(`INSERT INTO t SELECT i, 5000 - i, 'v' || i % 10, CASE WHEN i % 4 = 0 THEN NULL ELSE i % 100 END,
		CASE WHEN i % 2 = 0 THEN 7 ELSE 1000 + i END, NULL FROM generate_series(1, 2000) AS i`)
	st := db.analyze("t")
	if st.Rows != 2000 {
		t.Errorf("rows %v, want 2000", st.Rows)
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 0.02*math.Max(1, math.Abs(want)) {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	id, back, tenth, gap, skew, none := st.Column(1), st.Column(2), st.Column(3), st.Column(4), st.Column(5), st.Column(6)
	near("id n_distinct", id.NDistinct, -1)
	near("id correlation", id.Correlation, 1)
	near("back correlation", back.Correlation, -1)
	if n := len(id.Histogram); n != 101 || id.Histogram[0] != "1" || id.Histogram[100] != "2000" || id.Histogram[50] != "1000" {
		t.Errorf("id histogram of %d bounds: %v", n, id.Histogram)
	}
	if len(id.Common) != 0 {
		t.Errorf("a unique column has common values %v", id.Common)
	}
	near("tenth n_distinct", tenth.NDistinct, 10)
	if len(tenth.Common) != 10 || len(tenth.Histogram) != 0 {
		t.Errorf("tenth: common %v, histogram %v", tenth.Common, tenth.Histogram)
	}
	near("tenth frequency", tenth.CommonFreqs[3], 0.1)
	near("gap null_frac", gap.NullFrac, 0.25)
	near("gap n_distinct", gap.NDistinct, 75)
	if len(skew.Common) != 1 || skew.Common[0] != "7" {
		t.Fatalf("skew: common %v", skew.Common)
	}
	near("skew frequency", skew.CommonFreqs[0], 0.5)
	near("skew distinct", skew.NDistinct, -0.5)
	near("none null_frac", none.NullFrac, 1)
}

// TestAnalyzeSamples checks that of a table larger than the sample all rows are counted and the sample is drawn
// from all of it.
func TestAnalyzeSamples(t *testing.T) {
	db := newTestDB(t)
	db.must(`CREATE TABLE t (id int PRIMARY KEY)`)
	const n = analyzeSample + 20_000
	db.must(`INSERT INTO t SELECT i FROM generate_series(1, 50000) AS i`)
	st := db.analyze("t")
	if st.Rows != n {
		t.Fatalf("rows %v, want %d", st.Rows, n)
	}
	// A sample of the head alone would have its median at 15000.
	var mid int
	for _, c := range st.Column(1).Histogram[50] {
		mid = mid*10 + int(c-'0')
	}
	if mid < 24_000 || mid > 26_000 {
		t.Errorf("the sample's median is %d of %d", mid, n)
	}
}

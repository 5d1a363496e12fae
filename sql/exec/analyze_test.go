package exec

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pushdown"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
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

// TestSampler: a sample is the keys with the least hashes, all are counted, and ranges answer few of them.
func TestSampler(t *testing.T) {
	for _, remote := range []bool{true, false} {
		db := kvtest.New()
		if remote {
			db.Programs = pushdown.NewPrograms()
		}
		tx, err := db.Begin(t.Context(), kv.TxnOptions{})
		if err != nil {
			t.Fatal(err)
		}
		const n, size = 20_000, 100
		var hashes []uint64
		for i := range n {
			key := fmt.Appendf(nil, "k%06d", i)
			if err := tx.Put(key, key[1:]); err != nil {
				t.Fatal(err)
			}
			hashes = append(hashes, pushdown.SampleHash(key))
		}
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		slices.Sort(hashes)
		if tx, err = db.Begin(t.Context(), kv.TxnOptions{ReadOnly: true}); err != nil {
			t.Fatal(err)
		}
		s := &sampler{size: size}
		if err := s.read(t.Context(), tx, kv.Span{Start: []byte("k"), End: []byte("l")}); err != nil {
			t.Fatal(err)
		}
		if s.n != n || len(s.rows) != size {
			t.Errorf("remote %v: %d of %d rows", remote, len(s.rows), s.n)
		}
		var got []uint64
		for i, r := range s.rows {
			if i > 0 && bytes.Compare(s.rows[i-1].key, r.key) >= 0 || string(r.key[1:]) != string(r.value) {
				t.Fatalf("remote %v: %q = %q after %q", remote, r.key, r.value, s.rows[max(0, i-1)].key)
			}
			got = append(got, pushdown.SampleHash(r.key))
		}
		if slices.Sort(got); !slices.Equal(got, hashes[:size]) {
			t.Errorf("remote %v: the sample has other keys", remote)
		}
		if remote && s.sent > n/10 || !remote && s.sent < n {
			t.Errorf("remote %v: %d pairs were sent", remote, s.sent)
		}
		tx.Rollback(t.Context())
	}
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

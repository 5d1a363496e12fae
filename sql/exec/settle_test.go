package exec

import (
	"testing"

	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/txn/kv"
)

// TestSettle: a cursor that was read ahead gives the rows, and then the error, that it would have given; what does not
// fit in memory goes through a scratch file, which is removed at the end.
func TestSettle(t *testing.T) {
	db := newTestDB(t)
	const rows = 60_000
	for _, tc := range []struct {
		name    string
		q       string
		scratch *memScratch
		files   int
		rows    int64
		code    string // of Next's error
		settle  string // of Settle's
	}{
		{"memory", "select g from generate_series(1, 100) g", &memScratch{}, 0, 100, "", ""},
		{"file", "select g, 'some text beside' from generate_series(1, 60000) g", &memScratch{}, 1, rows, "", ""},
		{"failing", "select g, repeat('x', 50), 1 / (50001 - g) from generate_series(1, 60000) g", &memScratch{}, 1, 50000, pgerr.DivisionByZero, ""},
		{"full disk", "select g from generate_series(1, 600000) g", &memScratch{full: true}, 1, 0, "", pgerr.DiskFull},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st, err := parser.ParseOne(tc.q)
			if err != nil {
				t.Fatal(err)
			}
			fc := db.ctx(t.Context())
			p, err := plan.Prepare(t.Context(), st.Stmt, plan.Env{Catalog: db, SearchPath: []string{"public"}, Builtin: fc})
			if err != nil {
				t.Fatal(err)
			}
			c, err := Open(t.Context(), p, &Env{Txn: db.begin(kv.TxnOptions{ReadOnly: true}), ReadOnly: true, Builtin: fc, Catalog: db, Scratch: tc.scratch})
			if err != nil {
				t.Fatal(err)
			}
			var n int64
			next := func() bool {
				row, err := c.Next(t.Context())
				if pgerr.Code(err) != tc.code && err != nil {
					t.Fatal(err)
				}
				if row == nil {
					if n != tc.rows || (err != nil) != (tc.code != "") {
						t.Errorf("%d of %d rows, then %v", n, tc.rows, err)
					}
					return false
				}
				if n++; row[0].Int() != n {
					t.Fatalf("row %d is %d", n, row[0].Int())
				}
				return true
			}
			for range 3 {
				next()
			}
			if err := c.Settle(t.Context()); pgerr.Code(err) != tc.settle && (err != nil || tc.settle != "") {
				t.Fatal(err)
			}
			if err := c.Settle(t.Context()); tc.settle == "" && err != nil {
				t.Fatal(err)
			}
			if tc.settle != "" {
				if row, err := c.Next(t.Context()); row != nil || pgerr.Code(err) != tc.settle {
					t.Errorf("what was lost goes unmentioned: %v, %v", row, err)
				}
			}
			for tc.settle == "" && next() {
			}
			c.Close()
			if tc.scratch.made != tc.files || tc.scratch.open != 0 {
				t.Errorf("%d files made, %d left, want %d and none", tc.scratch.made, tc.scratch.open, tc.files)
			}
		})
	}
}

package exec

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// memScratch keeps scratch files in memory and counts them. full makes writes fail.
type memScratch struct {
	made, open int
	full       bool
}

type memFile struct {
	s *memScratch
	b bytes.Buffer
}

func (s *memScratch) Create() (ScratchFile, error) {
	s.made++
	s.open++
	return &memFile{s: s}, nil
}

func (f *memFile) Write(b []byte) (int, error) {
	if f.s.full {
		return 0, errors.New("no space left on device")
	}
	return f.b.Write(b)
}
func (f *memFile) Reader() (io.Reader, error) { return bytes.NewReader(f.b.Bytes()), nil }
func (f *memFile) Close() error               { f.s.open--; return nil }

// TestSortSpills: a sort past half of its budget goes through scratch files, gives what a sort in memory gives, and
// leaves no file behind; what has no form for a file stays in memory and fails there.
func TestSortSpills(t *testing.T) {
	db := newTestDB(t)
	db.must("create table t (id int primary key, s text, n numeric, d date, b bool, f float8, u uuid)")
	db.must(`insert into t select g, repeat('x', 50) || g % 97, case when g % 5 = 0 then null else g * 1.25 end, date '2020-01-01' + g % 400,
		g % 3 = 0, g / 7.0, ('00000000-0000-0000-0000-' || lpad(g::text, 12, '0'))::uuid from generate_series(1, 3000) g`)
	db.must("insert into t values (0, 'big', 123456789012345678901234567890.5, null, null, null, null)")
	run := func(q string, s Scratch, limit int64) (string, error) {
		st, err := parser.ParseOne(q)
		if err != nil {
			t.Fatal(err)
		}
		fc := db.ctx(t.Context())
		p, err := plan.Prepare(t.Context(), st.Stmt, plan.Env{Catalog: db, SearchPath: []string{"public"}, Builtin: fc})
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		_, err = Run(t.Context(), p, &Env{Txn: db.begin(kv.TxnOptions{ReadOnly: true}), ReadOnly: true, Builtin: fc, Catalog: db, MemLimit: limit, Scratch: s},
			func(row []types.Datum) error {
				for i, d := range row {
					if d.IsNull() {
						out.WriteString("NULL|")
						continue
					}
					out.Write(types.AppendText(nil, d, p.Columns[i].Type, nil))
					out.WriteByte('|')
				}
				out.WriteByte('\n')
				return nil
			})
		return out.String(), err
	}
	for _, q := range []string{"select * from t order by s, n desc, id", "select d, s, u from t order by f desc nulls last", "select b, id from t order by b",
		"select row_number() over (order by s, id), id from (select * from t order by d, id limit 100) x"} {
		want, err := run(q, nil, 64<<20)
		if err != nil {
			t.Fatal(q, err)
		}
		s := &memScratch{}
		got, err := run(q, s, 400<<10)
		if err != nil || got != want {
			t.Errorf("%s: %v, same rows: %v", q, err, got == want)
		}
		if s.open != 0 {
			t.Errorf("%s: %d scratch files left", q, s.open)
		}
		if strings.Contains(q, "limit") {
			continue
		}
		if s.made < 1 {
			t.Errorf("%s: %d scratch files", q, s.made)
		}
		if _, err := run(q, &memScratch{full: true}, 400<<10); pgerr.Code(err) != pgerr.DiskFull {
			t.Errorf("%s: a full disk gives %v", q, err)
		}
	}
	s := &memScratch{}
	if _, err := run("select array[s, s] from t order by 1", s, 400<<10); pgerr.Code(err) != pgerr.OutOfMemory || s.open != 0 {
		t.Errorf("arrays: %v, %d files left", err, s.open)
	}
}

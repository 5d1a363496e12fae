package exec

import (
	"bytes"
	"errors"
	"io"
	"slices"
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
// leaves no file behind.
func TestSortSpills(t *testing.T) {
	db := newTestDB(t)
	db.must("create table t (id int primary key, s text, n numeric, d date, b bool, f float8, u uuid)")
	db.must(`insert into t select g, repeat('x', 50) || g % 97, case when g % 5 = 0 then null else g * 1.25 end, date '2020-01-01' + g % 400,
		g % 3 = 0, g / 7.0, ('00000000-0000-0000-0000-' || lpad(g::text, 12, '0'))::uuid from generate_series(1, 3000) g`)
	db.must("insert into t values (0, 'big', 123456789012345678901234567890.5, null, null, null, null)")
	run := func(q string, s Scratch, limit int64) (string, error) {
		out, err := db.limited(q, s, limit)
		return strings.Join(out, "\n"), err
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
}

// limited runs a query with a budget of memory and scratch files, and returns its rows.
func (db *testDB) limited(q string, s Scratch, limit int64) ([]string, error) {
	return db.pooled(q, s, limit, nil)
}

// pooled is limited with a pool.
func (db *testDB) pooled(q string, s Scratch, limit int64, pool *MemoryPool) ([]string, error) {
	t := db.t
	t.Helper()
	st, err := parser.ParseOne(q)
	if err != nil {
		t.Fatal(q, err)
	}
	fc := db.ctx(t.Context())
	p, err := plan.Prepare(t.Context(), st.Stmt, plan.Env{Catalog: db, SearchPath: []string{"public"}, Builtin: fc, RemoteRows: db.remoteRows})
	if err != nil {
		t.Fatal(q, err)
	}
	var rows []string
	_, err = Run(t.Context(), p, &Env{Txn: db.begin(kv.TxnOptions{ReadOnly: true}), ReadOnly: true, Builtin: fc, Catalog: db, MemLimit: limit, Scratch: s, Pool: pool},
		func(row []types.Datum) error {
			var out strings.Builder
			for i, d := range row {
				if d.IsNull() {
					out.WriteString("NULL|")
					continue
				}
				out.Write(types.AppendText(nil, d, p.Columns[i].Type, nil))
				out.WriteByte('|')
			}
			rows = append(rows, out.String())
			return nil
		})
	return rows, err
}

// TestSpills: hash joins, hash aggregates and DISTINCT give with a small budget what they give in memory, in the order
// that their parents rely on, and leave no file behind.
func TestSpills(t *testing.T) {
	db := newTestDB(t)
	db.must("create table t (id int primary key, k int, s text, n numeric)")
	db.must("create table u (id int primary key, k int, s text)")
	// Keys that match often, once and never, one that is most of the table, and NULLs.
	db.must(`insert into t select g, case when g % 11 = 0 then null when g % 3 = 0 then 7 else g % 1500 end, 'text ' || g % 900, g * 0.5 from generate_series(1, 3000) g`)
	db.must(`insert into u select g, case when g % 13 = 0 then null when g % 50 = 0 then 7 else g % 2200 end, repeat('u', 20) || g from generate_series(1, 3000) g`)
	for _, q := range []string{
		// Aggregates.
		"select id + 0, count(*), max(s) from t group by 1",
		"select s, k, count(*), sum(n), avg(n), min(s) from t group by s, k",
		"select k % 700, count(distinct s), string_agg(s, ',' order by id) from t group by 1",
		"select s, array_agg(id order by id desc), bool_or(k > 3) filter (where id > 100) from t group by s",
		"select k, s, count(*), grouping(k, s) from t group by grouping sets ((k, s), (k), (s), ())",
		"select array[k, id], count(*) from t group by 1",
		"select jsonb_build_object('k', k, 's', s, 'l', jsonb_build_array(n, null, true)), count(*) from t group by 1",
		// DISTINCT.
		"select distinct s, k from t",
		"select count(*) from (select distinct id, n from t) x",
		"select distinct row(k, s) from t",
		// Joins.
		"select t.id, u.id from t join u on t.k = u.k where t.k <> 7",
		"select count(*), sum(u.id) from t join u on t.k = u.k",
		"select t.id, u.s from t left join u on t.k = u.k and u.id % 2 = t.id % 2 where t.k <> 7 or t.k is null",
		"select t.id, u.id from t full join u on t.n = u.k",
		"select t.id from t where exists (select 1 from u where u.k = t.k and u.id <> t.id)",
		"select t.id from t where not exists (select 1 from u where u.k = t.k and u.s > t.s)",
		// The order of an index through a join.
		"select t.id, u.s from t join u on t.k = u.k where t.k <> 7 order by t.id",
		"select t.id, max(u.s) from t left join u on t.k = u.k and u.k <> 7 group by t.id order by t.id",
		// Windows and sorts of everything.
		"select id, sum(n) over (partition by s order by id), rank() over (partition by s order by n) from t",
		"select array[s, null, k::text], row(id, s), jsonb_build_array(s, n) from t order by 1, 2",
		"select jsonb_build_object('a', s, 'n', n), time with time zone '10:00+02', id from t order by 1, 3",
	} {
		want, err := db.limited(q, nil, 256<<20)
		if err != nil {
			t.Fatal(q, err)
		}
		s := &memScratch{}
		got, err := db.limited(q, s, 300<<10)
		if err != nil {
			t.Errorf("%s: %v", q, err)
			continue
		}
		if s.made == 0 {
			t.Errorf("%s: nothing was written out", q)
		}
		if s.open != 0 {
			t.Errorf("%s: %d scratch files left", q, s.open)
		}
		if !strings.Contains(q, "order by t.id") {
			slices.Sort(want)
			slices.Sort(got)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d rows, want %d; other rows, or another order", q, len(got), len(want))
		}
		full := &memScratch{full: true}
		if _, err := db.limited(q, full, 300<<10); pgerr.Code(err) != pgerr.DiskFull || full.open != 0 {
			t.Errorf("%s: a full disk gives %v, and leaves %d files", q, err, full.open)
		}
	}
}

// TestMemoryPool: what executions share bounds them together. They write rows out early when it runs short, fail when it
// is used up, and give back what they had.
func TestMemoryPool(t *testing.T) {
	db := newTestDB(t)
	const q = "select count(*) from (select distinct repeat('x', 400) || g from generate_series(1, 20000) g) x"
	pool := NewMemoryPool(6 << 20)
	for _, tc := range []struct {
		name    string
		scratch *memScratch
		others  int64 // in use by other executions
		spills  bool
		fails   bool
	}{
		{"room", &memScratch{}, -32 << 20, false, false},
		{"short", &memScratch{}, 0, true, false},
		{"short, no files", nil, 0, false, true},
		{"used up", &memScratch{}, 6 << 20, false, true},
	} {
		pool.used.Store(tc.others)
		var s Scratch
		if tc.scratch != nil {
			s = tc.scratch
		}
		_, err := db.pooled(q, s, 256<<20, pool)
		if fails := pgerr.Code(err) == pgerr.OutOfMemory; fails != tc.fails || !fails && err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if tc.scratch != nil && (tc.scratch.made > 0) != tc.spills {
			t.Errorf("%s: %d files", tc.name, tc.scratch.made)
		}
		if used := pool.Used(); used != tc.others {
			t.Errorf("%s: %d bytes in use afterwards, want %d", tc.name, used, tc.others)
		}
	}
}

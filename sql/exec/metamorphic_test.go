package exec

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/meridian-db/meridian/sql/pushdown"
	"github.com/meridian-db/meridian/txn/kv"
)

// TestMetamorphic asks the same questions of two databases with the same rows, one with secondary indexes
// and one without, and of both isolation styles: the answers must not differ. Writes go to both, so that
// index maintenance is compared too.
func TestMetamorphic(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { metamorphic(t, rand.New(rand.NewPCG(seed, 7))) })
	}
}

func metamorphic(t *testing.T, r *rand.Rand) {
	with, without := newTestDB(t), newTestDB(t)
	without.noIndexes = true
	without.iso = kv.ReadCommitted
	metamorphicOver(t, r, with, without, false)
	verifyIndexes(t, with, "t")
	verifyIndexes(t, with, "u")
}

// TestMetamorphicRemote compares a database that runs all it can beside the data with one that runs nothing there. Now
// and then a program fails on its way, as if one of its rows had been bad.
func TestMetamorphicRemote(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 11))
			remote, local := newTestDB(t), newTestDB(t)
			remote.remoteRows, local.remoteRows = 0.1, -1
			programs := &flakyPrograms{Programs: pushdown.NewPrograms(), r: rand.New(rand.NewPCG(seed, 12))}
			remote.kv.Programs = programs
			metamorphicOver(t, r, remote, local, true)
			if programs.finished == 0 || programs.failed == 0 {
				t.Errorf("%d programs ran to their end, %d failed", programs.finished, programs.failed)
			}
		})
	}
}

// flakyPrograms are programs of which some fail, at the start or after some pairs.
type flakyPrograms struct {
	kv.Programs
	mu               sync.Mutex // parts of a scan are read side by side
	r                *rand.Rand
	finished, failed int
}

type flakyEvaluator struct {
	kv.Evaluator
	p    *flakyPrograms
	left int
}

var errFlaky = errors.New("flaky")

func (p *flakyPrograms) Start(ctx context.Context, program []byte) (kv.Evaluator, error) {
	ev, err := p.Programs.Start(ctx, program)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	left := 1 << 30
	if p.r.IntN(8) == 0 {
		left = p.r.IntN(20)
	}
	return &flakyEvaluator{ev, p, left}, nil
}

func (e *flakyEvaluator) Pair(k, v []byte) ([]byte, []byte, bool, error) {
	if e.left--; e.left < 0 {
		e.p.mu.Lock()
		e.p.failed++
		e.p.mu.Unlock()
		return nil, nil, false, errFlaky
	}
	return e.Evaluator.Pair(k, v)
}

func (e *flakyEvaluator) Finish(emit func(k, v []byte)) error {
	e.p.mu.Lock()
	e.p.finished++
	e.p.mu.Unlock()
	return e.Evaluator.Finish(emit)
}

// metamorphicOver asks two databases the same and lets them do the same. With failing some questions are asked that
// fail for some rows, which is the same only if the rows are read in the same way.
func metamorphicOver(t *testing.T, r *rand.Rand, with, without *testDB, failing bool) {
	both := func(text string) (string, string) {
		a, errA := with.run(text)
		b, errB := without.run(text)
		if (errA == nil) != (errB == nil) {
			t.Fatalf("%s\nwith indexes: %v\nwithout: %v", text, errA, errB)
		}
		if errA != nil {
			return errText(errA), errText(errB)
		}
		slices.SortFunc(a.rows, slices.Compare)
		slices.SortFunc(b.rows, slices.Compare)
		return a.String() + a.tag, b.String() + b.tag
	}
	check := func(text string) {
		t.Helper()
		if a, b := both(text); a != b {
			t.Fatalf("%s\nwith indexes:\n%s\nwithout:\n%s", text, a, b)
		}
	}
	check(`create table t (id int primary key, a int, b int, s text, n numeric);
		create table u (x int, y int, z text, primary key (x, y));
		create index ta on t (a); create index tba on t (b desc, a) include (s); create index ts on t (s, id desc);
		create index tn on t (n); create index tp on t (a) where b > 2; create index uy on u (y nulls first, z)`)
	val := func(n int) string {
		if r.IntN(8) == 0 {
			return "null"
		}
		return fmt.Sprint(r.IntN(n))
	}
	str := func() string { return fmt.Sprintf("'%c%c'", 'a'+r.IntN(3), 'a'+r.IntN(3)) }
	row := func(id int) string {
		return fmt.Sprintf("(%d,%s,%s,%s,%s.%d)", id, val(6), val(5), str(), fmt.Sprint(r.IntN(4)), r.IntN(3))
	}
	for i := range 60 {
		check("insert into t values " + row(i))
	}
	for x := range 8 {
		for y := range 5 {
			check(fmt.Sprintf("insert into u values (%d,%d,%s)", x, y, str()))
		}
	}
	cond := func(alias string) string {
		c := func(s string) string { return alias + s }
		switch r.IntN(14) {
		case 0:
			return c("a = ") + fmt.Sprint(r.IntN(6))
		case 1:
			return c("b > ") + fmt.Sprint(r.IntN(5))
		case 2:
			return c("b between 1 and 3")
		case 3:
			return c("s = ") + str()
		case 4:
			return c("s like 'a%'")
		case 5:
			return c("a in (1, 3, null)")
		case 6:
			return c("a is null")
		case 7:
			return c("n >= 1.0") + " and " + c("n < 3")
		case 8:
			return c("id = any(array[1, 5, 77])")
		case 9:
			return "(" + c("a") + ", " + c("id") + ") > (2, 10)"
		case 10:
			return "not (" + c("a = 2") + ")"
		case 11:
			return "(" + c("a = 1") + " or " + c("b = 2") + ")"
		case 12:
			return c("a = 3 and ") + c("b > 2")
		}
		return c("id < ") + fmt.Sprint(r.IntN(60))
	}
	simple := cond
	cond = func(alias string) string {
		c := func(s string) string { return alias + s }
		switch r.IntN(24) {
		case 0:
			return "case when " + c("a") + " > 2 then " + c("b") + " else " + c("id") + " end > 2"
		case 1:
			return "case " + c("a") + " when 1 then true when 2 then " + c("b") + " = 1 end"
		case 2:
			return "coalesce(" + c("a") + ", " + c("b") + ", 3) = 3"
		case 3:
			return "nullif(" + c("a") + ", " + c("b") + ") is not null"
		case 4:
			return "greatest(" + c("a") + ", " + c("b") + ") >= least(3, " + c("id") + ")"
		case 5:
			return c("a") + " is distinct from " + c("b")
		case 6:
			return "upper(" + c("s") + ") <> 'AB' and length(" + c("s") + " || 'x') = 3"
		case 7:
			return "(" + c("a") + " = 1) is not true"
		case 8:
			return c("n") + "::int = 2 or " + c("a") + "::text = '4'"
		case 9:
			return c("a") + " <> all (array[1, 2])"
		case 10:
			return "abs(" + c("a") + " - " + c("b") + ") * 1.5 < 3 and mod(" + c("id") + ", 3) <> 1"
		case 11:
			return c("s") + " ~ '^[ab]' and " + c("s") + " not in ('aa', 'ca')"
		}
		return simple(alias)
	}
	conds := func(alias string) string {
		out := []string{cond(alias)}
		for r.IntN(2) == 0 {
			out = append(out, cond(alias))
		}
		return strings.Join(out, " and ")
	}
	queries := []func() string{
		func() string { return "select * from t where " + conds("") },
		func() string { return "select s, b from t where " + conds("") },
		func() string { return "select count(*), sum(a), max(n) from t where " + conds("") },
		func() string { return "select id from t where " + conds("") + " order by b desc, a, id limit 5" },
		func() string { return "select id from t where " + conds("") + " order by s, id desc limit 4 offset 1" },
		func() string { return "select t.id, u.z from t join u on t.a = u.y where " + conds("t.") },
		func() string {
			return "select t.id, u.z from t left join u on u.x = t.a and u.y = t.b where " + conds("t.")
		},
		func() string {
			return "select t1.id, t2.id from t t1 join t t2 on t1.b = t2.a where " + conds("t1.") + " and " + cond("t2.")
		},
		func() string { return "select * from t full join u on t.id = u.x * 5 + u.y where coalesce(t.a, 1) = 1" },
		func() string { return "select id from t where a in (select y from u where x = b) and " + conds("") },
		func() string {
			return "select id from t where not exists (select 1 from u where u.y = t.a and u.z = t.s)"
		},
		func() string { return "select id, (select max(z) from u where u.y = t.b) from t where " + conds("") },
		func() string { return "select a, count(*), min(s) from t where " + conds("") + " group by a" },
		func() string {
			return "select s, count(*), count(a), sum(n), avg(n), avg(b), min(s), max(n), sum(a), stddev(a), bool_and(b > 1), bit_or(a) from t where " + conds("") + " group by s"
		},
		func() string {
			return "select sum(a::float8), avg(a::float8), var_pop(n), min(s), max(s || 'z'), every(a is null), sum(b) filter (where a > 2), sum(a * interval '1 day') from t where " + conds("")
		},
		func() string { return "select a % 2, upper(s), sum(b) from t group by 1, 2 having count(*) > 2" },
		func() string { return "select count(*) from (select id from t where " + conds("") + " limit 3) x" },
		func() string { return "select distinct s, b from t where " + conds("") },
		func() string { return "select a from t where " + conds("") + " intersect select y from u" },
		func() string {
			return "select t.s, l.z from t, lateral (select z from u where u.y = t.a order by x limit 1) l"
		},
	}
	if failing {
		queries = append(queries,
			func() string { return "select 1 / (a - 1) from t where 1 / (b - 1) >= 0 and " + conds("") },
			func() string { return "select sum(6 / (a - 5)) from t where b <> 0 and " + conds("") })
	}
	writes := []func() string{
		func() string { return "update t set a = a + 1, b = b - 1 where " + conds("") },
		func() string { return "update t set s = s || 'x' where " + conds("") + " returning id, s" },
		func() string { return "delete from t where " + conds("") + " and id % 7 = 3 returning *" },
		func() string {
			return "insert into t values " + row(r.IntN(80)) + " on conflict (id) do update set a = excluded.a, n = t.n + 1 returning *"
		},
		func() string { return "insert into t values " + row(r.IntN(80)) + " on conflict do nothing" },
		func() string { return "update t set id = id + 1000 where id in (select x + 40 from u where y = 1)" },
		func() string { return "update t set b = u.x from u where u.y = t.a and u.z = 'ab' and u.x = 3" },
		func() string {
			return "insert into t select id + 2000, a, b, s, n from t where " + conds("") + " on conflict do nothing"
		},
	}
	for i := range 150 {
		check(queries[r.IntN(len(queries))]())
		if i%3 == 0 {
			check(writes[r.IntN(len(writes))]())
		}
	}
	check("select * from t")
}

// verifyIndexes compares each index's entries with what the rows demand: none missing, none left over.
func verifyIndexes(t *testing.T, db *testDB, name string) {
	t.Helper()
	ctx := t.Context()
	tab := db.tables[name]
	txn, err := db.kv.Begin(ctx, kv.TxnOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Rollback(ctx)
	dump := func(prefix []byte) []string {
		sc, err := txn.Scan(ctx, kv.Span{Start: prefix, End: prefixEnd(prefix)}, kv.ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer sc.Close()
		var out []string
		for sc.Next(ctx) {
			out = append(out, fmt.Sprintf("%x=%x", sc.Pair().Key, sc.Pair().Value))
		}
		return out
	}
	c := codecOf(tab)
	for i, ix := range tab.Indexes {
		have := dump(c.indexes[i].prefix)
		if err := txn.DeleteSpan(ctx, kv.Span{Start: c.indexes[i].prefix, End: prefixEnd(c.indexes[i].prefix)}); err != nil {
			t.Fatal(err)
		}
		if _, err := BuildIndex(ctx, &Env{Txn: txn, Builtin: db.ctx(ctx), Catalog: db}, tab, ix); err != nil {
			t.Fatal(err)
		}
		if want := dump(c.indexes[i].prefix); !slices.Equal(have, want) {
			t.Errorf("index %s has %d entries, its table demands %d:\nhave %v\nwant %v", ix.Name, len(have), len(want), have, want)
		}
	}
}

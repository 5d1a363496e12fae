package exec

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/txn/kv"
)

// TestMetamorphicInverted is TestMetamorphic for what bitmaps find: by inverted indexes, and by several indexes in a
// union. The tables seem large to the planner, so that it takes them.
func TestMetamorphicInverted(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { metamorphicInverted(t, rand.New(rand.NewPCG(seed, 13))) })
	}
}

func metamorphicInverted(t *testing.T, r *rand.Rand) {
	with, without := newTestDB(t), newTestDB(t)
	without.noIndexes = true
	without.iso = kv.ReadCommitted
	check := func(text string) {
		t.Helper()
		a, errA := with.run(text)
		b, errB := without.run(text)
		if errA != nil || errB != nil {
			t.Fatalf("%s\nwith indexes: %v\nwithout: %v", text, errA, errB)
		}
		slices.SortFunc(a.rows, slices.Compare)
		slices.SortFunc(b.rows, slices.Compare)
		if a.String()+a.tag != b.String()+b.tag {
			t.Fatalf("%s\nwith indexes:\n%s\nwithout:\n%s", text, a, b)
		}
	}
	check(`create table t (x int, y text, j jsonb, p jsonb, v int[], w text[], d tsvector, a int, b int, z text, primary key (y, x));
		create index on t using gin (j); create index on t using gin (p jsonb_path_ops); create index on t using gin (v, w);
		create index on t using gin (d) where b > 1; create index on t using gin (z gin_trgm_ops); create index ta on t (a); create index tb on t (b, a desc)`)
	for _, db := range []*testDB{with, without} {
		db.tables["t"].RowCount = 1e6
	}
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	scalar := func() string { return pick("1", "2", "1.0", "true", "null", `"a"`, `"b"`, `"c"`) }
	var json func(depth int) string
	json = func(depth int) string {
		var parts []string
		switch k := r.IntN(4); {
		case k == 0 || depth == 0:
			return scalar()
		case k == 1:
			for range r.IntN(3) {
				parts = append(parts, json(depth-1))
			}
			return "[" + strings.Join(parts, ",") + "]"
		}
		for range r.IntN(3) {
			parts = append(parts, fmt.Sprintf("%q:%s", pick("a", "b", "c", "k"), json(depth-1)))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	array := func(of func() string) string {
		var parts []string
		for range r.IntN(4) {
			parts = append(parts, of())
		}
		return "'{" + strings.Join(parts, ",") + "}'"
	}
	ints := func() string { return array(func() string { return pick("1", "2", "3", "4", "null") }) }
	texts := func() string {
		return array(func() string { return pick("a", "b", "null", strings.Repeat("long", 40), strings.Repeat("long", 41)) })
	}
	words := func() string { return "'" + pick("", "cat", "dog", "cat dog", "cat:1 car:2", "dog:2A cat:3") + "'" }
	val := func(n int) string {
		if r.IntN(8) == 0 {
			return "null"
		}
		return fmt.Sprint(r.IntN(n))
	}
	path := func() string {
		p := "$" + pick("", ".a", ".b", ".*", "[*]", ".a.b", ".**", ".a[0]")
		f := pick("@", "@.a", "@[*]", "@.b", "$.a", "@.a.size()", "@.type()") + pick(" == ", " == ", " != ", " > ") + scalar()
		return p + pick("", " ? ("+f+")", " ? ("+f+" && exists(@.b))", " ? (exists(@.k) || "+f+")", " ? (!("+f+"))")
	}
	letters := func(list ...string) string {
		var b strings.Builder
		for range r.IntN(8) {
			b.WriteString(pick(list...))
		}
		return "'" + b.String() + "'"
	}
	text := func() string { return letters("a", "b", "A", "é", " ", "-", "7", "_") }
	pattern := func() string { return letters("a", "b", "A", "é", " ", "-", "7", "%", "%", "_", "\\_", "ab") }
	cond := func() string {
		switch r.IntN(19) {
		case 0, 1:
			return fmt.Sprintf("j @> '%s'", json(2))
		case 2:
			return fmt.Sprintf("p @> '%s'", json(2))
		case 3:
			return fmt.Sprintf("j ? '%s'", pick("a", "b", "k"))
		case 4:
			return fmt.Sprintf("j %s %s", pick("?|", "?&"), array(func() string { return pick("a", "b", "null", "k") }))
		case 5, 6:
			return fmt.Sprintf("%s @? '%s'", pick("j", "p"), path())
		case 7:
			return fmt.Sprintf("%s @@ '$%s == %s'", pick("j", "p"), pick("", ".a", ".a.b", "[*]", ".*"), scalar())
		case 8, 9:
			return fmt.Sprintf("v %s %s", pick("@>", "<@", "&&", "="), ints())
		case 10:
			return fmt.Sprintf("w %s %s", pick("@>", "<@", "&&", "="), texts())
		case 11, 12:
			return "b > 1 and d @@ '" + pick("cat", "dog & cat", "ca:*", "!dog", "cat <-> dog", "dog:A", "cow | car") + "'::tsquery"
		case 13:
			return "a = " + fmt.Sprint(r.IntN(6))
		case 14:
			return fmt.Sprintf("b = %d and a < %d", r.IntN(5), r.IntN(6))
		case 15, 16:
			return "z " + pick("like ", "ilike ") + pattern()
		case 17:
			return "z = " + text()
		}
		return "(y = 'k1' and x > 3)"
	}
	any := func() string {
		out := []string{cond()}
		for r.IntN(3) > 0 {
			out = append(out, cond())
		}
		return "((" + strings.Join(out, pick(") or (", ") or (", ") and (")) + "))"
	}
	seen := map[string]int{}
	for i := range 300 {
		if i < 60 || i%6 == 0 {
			check(fmt.Sprintf("insert into t values (%d,'k%d','%s','%s',%s,%s,%s,%s,%s,%s) on conflict (y, x) do update set j = excluded.j, v = excluded.v, z = excluded.z",
				r.IntN(100), r.IntN(3), json(3), json(3), ints(), texts(), words(), val(6), val(5), text()))
			continue
		}
		switch i % 12 {
		case 1:
			check(fmt.Sprintf("update t set j = '%s', v = %s where %s", json(3), ints(), any()))
		case 2:
			check(fmt.Sprintf("update t set d = %s, b = %s, x = x + %d where %s and x < 10", words(), val(5), 100*i, any()))
		case 3:
			check(fmt.Sprintf("delete from t where %s and a = 1", any()))
		case 4:
			check("select x, y from t where " + any() + " order by y, x desc limit 3")
		case 5:
			check("select s.x, u.x from t s join t u on s.j @> u.p where s.a = 1 and u.b = 2")
		default:
			text := "select x, y, a from t where " + any() + " and " + pick("true", "b > 0", any())
			check(text)
			r, err := with.run("explain " + text)
			if err != nil {
				t.Fatal(err)
			}
			for _, what := range []string{"Bitmap Heap Scan", "BitmapOr", "Seq Scan"} {
				if strings.Contains(r.String(), what) {
					seen[what]++
				}
			}
		}
	}
	for _, what := range []string{"Bitmap Heap Scan", "BitmapOr", "Seq Scan"} {
		if seen[what] < 10 {
			t.Errorf("%d plans with %s", seen[what], what)
		}
	}
	verifyIndexes(t, with, "t")
}

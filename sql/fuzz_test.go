package sql

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// The statements of testdata/pg15 and the words below, cut into tokens and put together wrongly, must end in
// an answer or in an error that says what is wrong: no panic, no internal error (XX000), no statement that
// runs on after it was cancelled.

// fuzzBase is what every run starts with.
const fuzzBase = `
create table t(a int primary key, b text, c numeric, d timestamptz, e int[], f jsonb);
insert into t select i, 'x' || i, i * 1.5, '2020-01-01'::timestamptz + i * interval '1 day', array[i, i + 1], jsonb_build_object('a', i) from generate_series(1, 20) i;
create table u(a int references t, g bool, h float8, unique (a, g));
insert into u select i, i % 2 = 0, i / 3.0 from generate_series(1, 10) i;
create view v as select t.a, b, g from t join u using (a);
create type mood as enum ('sad', 'ok', 'happy');
create domain pos as int check (value > 0);
create sequence s`

// fuzzQueries add shapes that the recorded statements lack.
const fuzzQueries = `select a, count(*) over (partition by b order by c rows between 1 preceding and current row) from t where a in (select a from u) group by a, b, c having count(*) > 1 order by 1 desc nulls last limit 3 offset 1
with recursive r(n) as (select 1 union all select n + 1 from r where n < 5) select * from r left join t on a = n
insert into t (a, b) values (21, 'q') on conflict (a) do update set b = excluded.b returning *
update t set b = upper(b), c = c + 1 from u where t.a = u.a and g is true returning t.*
delete from t using u where t.a = u.a and h > 2
merge into u using t on t.a = u.a when matched and c > 3 then update set h = c when not matched then insert values (t.a, false, 0)
select f -> 'a', f @> '{"a": 1}', jsonb_path_query(f, '$.a ? (@ > 1)'), e[1:2], e || 5, array_agg(a) filter (where a > 1), string_agg(b, ',' order by a) from t group by f, e
select * from t natural join u cross join lateral (select t.a + u.a as z) l where exists (select 1 from v where v.a = l.z) for update of t
select grouping(a), a, b, sum(c) from t group by grouping sets ((a), rollup (b), ()) order by 1, 2
select case a when 1 then 'x' else b end, coalesce(c, 0), nullif(a, 3), greatest(a, 2), extract(year from d), d at time zone 'UTC', cast(a as text) collate "C", (a, b) < (3, 'x'), a between 2 and 5, b like 'x%' escape '!', b similar to 'x[0-9]+', a = any(e), row(a, b)::text from t
values (1, 'a'), (2, null) union select a, b from t intersect all select 3, 'x' except select 4, 'y' order by 2, 1
alter table t add column z int default 5, drop column f, alter c type int using c::int, add check (a > 0)
create index on t (lower(b), (a + 1)) include (c) where a > 3
select nextval('s'), currval('s'), 'happy'::mood > 'ok', 5::pos, percentile_cont(0.5) within group (order by a), rank() over (order by b) from t
prepare p(int) as select * from t where a = $1
execute p(3)
declare c cursor for select * from t
explain select * from t join u using (a) where b = 'x'
copy t (a, b) to stdout
begin; savepoint x; rollback to x; commit`

var fuzzToken = regexp.MustCompile(`'(?:[^']|'')*'|"(?:[^"]|"")*"|[A-Za-z_][A-Za-z0-9_]*|[0-9]+(?:\.[0-9]+)?|::|:=|=>|<=|>=|<>|!=|\|\||->>?|[-+*/%^~!@#&|<>=]+|[(),;.\[\]{}:$?]`)

type fuzzCorpus struct {
	statements [][]string
	classes    map[byte][]string
}

func tokenClass(tok string) byte {
	switch c := tok[0]; {
	case c == '\'':
		return 's'
	case c >= '0' && c <= '9':
		return 'n'
	case c == '"' || c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		return 'w'
	}
	return 'o'
}

var loadFuzzCorpus = sync.OnceValue(func() *fuzzCorpus {
	c := &fuzzCorpus{classes: map[byte][]string{}}
	lines := strings.Split(fuzzQueries, "\n")
	files, _ := filepath.Glob("testdata/pg15/*.txt")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			panic(err)
		}
		for l := range strings.Lines(string(text)) {
			if s, ok := strings.CutPrefix(l, "> "); ok {
				lines = append(lines, strings.TrimSpace(s))
			}
		}
	}
	for _, l := range lines {
		toks := fuzzToken.FindAllString(l, -1)
		if len(toks) == 0 || len(toks) > 150 {
			continue
		}
		c.statements = append(c.statements, toks)
		for _, t := range toks {
			c.classes[tokenClass(t)] = append(c.classes[tokenClass(t)], t)
		}
	}
	for class, more := range map[byte]string{
		'n': "0 1 -1 2147483647 2147483648 9223372036854775807 1e400 0.5",
		's': "'' 'NaN' 'infinity' '{}' '[1,2]' '2020-02-30' '\\x00' '(1,2)' 'null'",
		'w': "null default distinct all any only lateral values returning with over filter within exists not and or array row cast interval",
	} {
		for range 40 {
			c.classes[class] = append(c.classes[class], strings.Fields(more)...)
		}
	}
	return c
})

// statement makes one statement from one of the corpus by a few changes.
func (c *fuzzCorpus) statement(r *rand.Rand) string {
	toks := append([]string(nil), c.statements[r.IntN(len(c.statements))]...)
	for range 1 + r.IntN(4) {
		if len(toks) == 0 {
			break
		}
		i := r.IntN(len(toks))
		switch r.IntN(7) {
		case 0, 1, 2: // another token of the kind
			pool := c.classes[tokenClass(toks[i])]
			toks[i] = pool[r.IntN(len(pool))]
		case 3: // fewer
			j := min(len(toks), i+1+r.IntN(3))
			toks = append(toks[:i:i], toks[j:]...)
		case 4, 5: // a piece of another statement
			other := c.statements[r.IntN(len(c.statements))]
			from := r.IntN(len(other))
			to := min(len(other), from+1+r.IntN(12))
			toks = append(append(toks[:i:i], other[from:to]...), toks[i:]...)
		case 6: // a subquery or a cast
			if tokenClass(toks[i]) != 'o' {
				wraps := []string{"( select " + toks[i] + " )", toks[i] + " :: text", "( " + toks[i] + " , 1 )", "array [ " + toks[i] + " ]", "- " + toks[i]}
				toks[i] = wraps[r.IntN(len(wraps))]
			}
		}
	}
	return strings.Join(toks, " ")
}

// internalInPostgres is what PostgreSQL answers with XX000, too.
var internalInPostgres = regexp.MustCompile(`cache lookup failed for text search parser|unrecognized weight: |unrecognized object type abbreviation: |expected \d-element float8 array|unsupported jsonb`)

// fuzzRun runs n statements of a seed in a fresh database.
func fuzzRun(t *testing.T, seed uint64, n int) {
	s := newTestSession(t, newTestServer(t, kvtest.New()))
	for q := range strings.SplitSeq(fuzzBase, ";\n") {
		if err := s.SimpleQuery(context.Background(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	c := loadFuzzCorpus()
	r := rand.New(rand.NewPCG(seed, 15))
	for range n {
		q := c.statement(r)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		done := make(chan error, 1)
		go func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("seed %d: panic on %s: %v", seed, q, p)
					done <- nil
				}
			}()
			done <- s.SimpleQuery(ctx, q)
		}()
		var err error
		select {
		case err = <-done:
		case <-time.After(30 * time.Second):
			t.Fatalf("seed %d: does not end when cancelled: %s", seed, q)
		}
		cancel()
		var e *pgerr.Error
		internal := err != nil && (!errors.As(err, &e) || e.Code == pgerr.InternalError) && !errors.Is(err, context.DeadlineExceeded)
		if internal && !internalInPostgres.MatchString(err.Error()) {
			t.Errorf("seed %d: internal error on %s: %v", seed, q, err)
		}
		if err != nil {
			s.Abort(context.Background())
		}
		s.out.take()
	}
}

// TestWrongStatements runs a few seeds; FuzzStatements looks for more.
func TestWrongStatements(t *testing.T) {
	for seed := range uint64(8) {
		fuzzRun(t, seed, 60)
	}
}

func FuzzStatements(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { fuzzRun(t, seed, 60) })
}

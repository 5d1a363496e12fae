package pushdown

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
)

func operator(t testing.TB, name string, l, r plan.Expr) plan.Expr {
	t.Helper()
	call, err := builtin.ResolveOperator(name, l.Type(), r.Type())
	if err != nil {
		t.Fatal(err)
	}
	return &plan.Func{Name: name, Call: call, Args: []plan.Expr{l, r}, T: call.Ret, Form: plan.FormOperator}
}

func aggregate(t testing.TB, name string, args ...plan.Expr) *plan.AggFunc {
	t.Helper()
	var ts []*types.T
	for _, a := range args {
		ts = append(ts, a.Type())
	}
	call, err := builtin.ResolveFunction(name, ts)
	if err != nil {
		t.Fatal(err)
	}
	return &plan.AggFunc{Name: name, Call: call, Args: args, T: call.Ret}
}

// The table of these tests: (id int4 primary key, a int4, s text, n numeric), columns 1 to 4, in slots 10 to 13.
var (
	colID = &plan.Col{Slot: 10, T: types.Int4}
	colA  = &plan.Col{Slot: 11, T: types.Int4}
	colS  = &plan.Col{Slot: 12, T: types.Text}
	colN  = &plan.Col{Slot: 13, T: types.Numeric}
)

func table(p Program) *Program {
	p.Prefix, p.Slots = 2, 4
	p.Keys = []Key{{Slot: 0, T: types.Int4}}
	p.Columns = []Column{{ID: 2, Slot: 1, T: types.Int4}, {ID: 3, Slot: 2, T: types.Text}, {ID: 4, Slot: 3, T: types.Numeric}}
	return &p
}

func encode(t testing.TB, p *Program) []byte {
	t.Helper()
	c := &plan.EvalCtx{Frame: make([]types.Datum, 20), B: &builtin.Ctx{Settings: types.DefaultSettings}}
	f, ok := p.Encode(&Numbering{Slot: func(s plan.Slot) (int, bool) { return s - 10, s >= 10 && s < 14 }})
	if !ok {
		t.Fatal("the program cannot be sent")
	}
	b, ok := f.Bind(nil, c)
	if !ok {
		t.Fatal("the program cannot be sent")
	}
	return b
}

// body is an encoded program without the values of its parameters.
func body(t testing.TB, program []byte) []byte {
	t.Helper()
	_, _, b, err := split(program)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func pair(id int, a types.Datum, s string, n int64) (key, value []byte) {
	key = rowenc.AppendKey([]byte("t/"), types.NewInt(int64(id)), types.Int4, false, false)
	value = rowenc.AppendColumn(nil, 0, 2, a, types.Int4)
	value = rowenc.AppendColumn(value, 2, 3, types.NewString(s), types.Text)
	return key, rowenc.AppendColumn(value, 3, 4, types.SmallNumeric(n, 1), types.Numeric)
}

func programs(t testing.TB) map[string]*Program {
	five := &plan.Const{D: types.NewInt(5), T: types.Int4}
	return map[string]*Program{
		"filter": table(Program{All: true, Filter: []plan.Expr{operator(t, ">", colA, five)}}),
		"narrow": table(Program{Keep: []uint32{3}, Filter: []plan.Expr{&plan.Or{Args: []plan.Expr{
			operator(t, "<", colID, five), &plan.IsNull{Arg: colA}}}}}),
		"groups": table(Program{Grouped: true, Group: []plan.Expr{colS}, Aggs: []*plan.AggFunc{
			aggregate(t, "count"), aggregate(t, "sum", colN), aggregate(t, "max", colS), aggregate(t, "avg", colA)}}),
	}
}

func run(ps *Programs, program []byte) (string, error) {
	ev, err := ps.Start(context.Background(), program)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for id := range 8 {
		a := types.NewInt(int64(id))
		if id == 6 {
			a = types.Null
		}
		k, v := pair(id, a, string(rune('x'+id%2)), int64(10*id+1))
		ok, ov, keep, err := ev.Pair(k, v)
		if err != nil {
			return "", err
		}
		if keep {
			fmt.Fprintf(&out, "%x=%q ", ok[2:], ov)
		}
	}
	err = ev.Finish(func(k, v []byte) { fmt.Fprintf(&out, "group %q=%x ", k, v) })
	return out.String(), err
}

// TestMissingColumn: a column that a pair does not have is its Missing to the conditions.
func TestMissingColumn(t *testing.T) {
	five := &plan.Const{D: types.NewInt(5), T: types.Int4}
	p := table(Program{All: true, Filter: []plan.Expr{operator(t, "=", colA, five)}})
	for _, missing := range []types.Datum{types.NewInt(5), types.NewInt(6), types.Null} {
		p.Columns[0].Missing = missing
		ev, err := NewPrograms().Start(context.Background(), encode(t, p))
		if err != nil {
			t.Fatal(err)
		}
		key, _ := pair(1, types.Null, "", 0)
		_, _, keep, err := ev.Pair(key, rowenc.AppendColumn(nil, 0, 3, types.NewString("s"), types.Text))
		if want := !missing.IsNull() && missing.Int() == 5; err != nil || keep != want {
			t.Errorf("missing %v: kept %v, %v", missing, keep, err)
		}
	}
}

// TestRoundTrip: what is encoded is what is run.
func TestRoundTrip(t *testing.T) {
	want := map[string][]int{"filter": {7}, "narrow": {0, 1, 2, 3, 4, 6}}
	ps := NewPrograms()
	all := programs(t)
	for name, ids := range want {
		p, _, err := decode(body(t, encode(t, all[name])))
		if err != nil {
			t.Fatal(name, err)
		}
		if len(p.Filter) != 1 {
			t.Errorf("%s: %d conditions", name, len(p.Filter))
		}
		got, err := run(ps, encode(t, all[name]))
		if err != nil {
			t.Fatal(name, err)
		}
		var keys []string
		for _, f := range strings.Fields(got) {
			k, _, _ := strings.Cut(f, "=")
			keys = append(keys, k)
		}
		var wantKeys []string
		for _, id := range ids {
			k, _ := pair(id, types.Null, "", 0)
			wantKeys = append(wantKeys, fmt.Sprintf("%x", k[2:]))
		}
		if fmt.Sprint(keys) != fmt.Sprint(wantKeys) {
			t.Errorf("%s: %s, want the keys %v", name, got, wantKeys)
		}
	}
}

// TestParameters: parameters and outer columns travel as values, and one decoded program serves all of them.
func TestParameters(t *testing.T) {
	p := table(Program{Keep: []uint32{}, Filter: []plan.Expr{
		operator(t, ">=", colA, &plan.Param{N: 1, T: types.Int4}),
		operator(t, "<", colID, &plan.Col{Slot: 3, T: types.Int4}),
		operator(t, "<>", colS, &plan.Param{N: 0, T: types.Text})}})
	f, ok := p.Encode(&Numbering{Slot: func(s plan.Slot) (int, bool) { return s - 10, s >= 10 && s < 14 }})
	if !ok {
		t.Fatal("the program cannot be sent")
	}
	ps := NewPrograms()
	for _, test := range []struct {
		from, below int64
		not         string
		want        []int
	}{{2, 5, "x", []int{3}}, {0, 4, "y", []int{0, 2}}, {5, 9, "none", []int{5, 7}}} {
		c := &plan.EvalCtx{Frame: make([]types.Datum, 20), B: &builtin.Ctx{Settings: types.DefaultSettings},
			Params: []types.Datum{types.NewString(test.not), types.NewInt(test.from)}}
		c.Frame[3] = types.NewInt(test.below)
		b, ok := f.Bind(nil, c)
		if !ok {
			t.Fatal("not bound")
		}
		got, err := run(ps, b)
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		for _, id := range test.want {
			k, _ := pair(id, types.Null, "", 0)
			want += fmt.Sprintf("%x=%q ", k[2:], "")
		}
		if got != want {
			t.Errorf("%+v: %s, want %s", test, got, want)
		}
		// Fewer values than parameters, as no gateway sends them.
		if _, err := run(ps, append([]byte{version, 0}, body(t, b)...)); err == nil {
			t.Error("a program without its values is run")
		}
	}
	if len(ps.ready) != 1 {
		t.Errorf("%d programs are kept, want 1", len(ps.ready))
	}
	if _, ok := f.Bind(nil, &plan.EvalCtx{Frame: make([]types.Datum, 20)}); ok {
		t.Error("a parameter without a value is bound")
	}
}

// TestGroups: states travel and finish as the aggregates of all rows.
func TestGroups(t *testing.T) {
	p := programs(t)["groups"]
	ps := NewPrograms()
	merged := map[string][]builtin.Accumulator{}
	g := Groups{Group: []*types.T{types.Text}, Aggs: p.Aggs}
	for page := range 2 {
		ev, err := ps.Start(t.Context(), encode(t, p))
		if err != nil {
			t.Fatal(err)
		}
		for id := 4 * page; id < 4*page+4; id++ {
			k, v := pair(id, types.NewInt(int64(id)), string(rune('x'+id%2)), int64(10*id+1))
			if _, _, _, err := ev.Pair(k, v); err != nil {
				t.Fatal(err)
			}
		}
		err = ev.Finish(func(k, v []byte) {
			var key [1]types.Datum
			if err := g.Key(k, key[:]); err != nil {
				t.Fatal(err)
			}
			accs, err := g.States(v)
			if err != nil {
				t.Fatal(err)
			}
			have, ok := merged[key[0].Str()]
			if !ok {
				merged[strings.Clone(key[0].Str())] = accs
				return
			}
			for i := range accs {
				if err := have[i].(builtin.Merger).Merge(nil, accs[i]); err != nil {
					t.Fatal(err)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for key, want := range map[string]string{"x": "4 12.4 x 3.0000000000000000", "y": "4 16.4 y 4.0000000000000000"} {
		var got []string
		for i, a := range merged[key] {
			d, err := a.Result(nil)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(types.AppendText(nil, d, p.Aggs[i].T, types.DefaultSettings)))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("group %s: %v, want %s", key, got, want)
		}
	}
}

// TestStaysHere: what does not mean the same everywhere is not sent.
func TestStaysHere(t *testing.T) {
	fn := func(name string, args ...plan.Expr) plan.Expr {
		var ts []*types.T
		for _, a := range args {
			ts = append(ts, a.Type())
		}
		call, err := builtin.ResolveFunction(name, ts)
		if err != nil {
			t.Fatal(err)
		}
		return &plan.Func{Name: name, Call: call, Args: args, T: call.Ret}
	}
	enum := &types.T{OID: 70000, Typmod: -1, Name: "mood", Kind: types.KindString, Class: 'e', Def: &types.Def{Labels: []string{"a"}}}
	for name, e := range map[string]plan.Expr{
		"volatile": fn("random"), "stable": fn("now"), "large": fn("repeat", colS, colA), "enum": &plan.Col{Slot: 11, T: enum},
		"subquery": &plan.Subquery{T: types.Bool},
	} {
		p := table(Program{All: true, Filter: []plan.Expr{e}})
		if _, ok := p.Encode(&Numbering{Slot: func(s plan.Slot) (int, bool) { return s - 10, true }}); ok {
			t.Errorf("%s is sent", name)
		}
	}
}

// FuzzProgram: no bytes crash a store (I12).
func FuzzProgram(f *testing.F) {
	for _, p := range programs(f) {
		f.Add(encode(f, p))
	}
	f.Add([]byte{})
	f.Add([]byte{version, 1, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		_, _ = run(NewPrograms(), program)
	})
}

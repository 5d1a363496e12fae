package builtin

import (
	"os"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// The overload that PostgreSQL 15 chooses for each pair of types, told by the type of its result, or the
// SQLSTATE of its refusal: "o op left right answer" for operators, "r name type... answer" for functions.
func TestResolution(t *testing.T) {
	data, err := os.ReadFile("testdata/resolve.tsv")
	if err != nil {
		t.Fatal(err)
	}
	bad, n := 0, 0
	for line := range strings.Lines(string(data)) {
		call, want, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		f := strings.Split(call, "\x1f")
		var ts []*types.T
		for _, name := range f[2:] {
			ts = append(ts, types.ByInternalName(name))
		}
		var c *Call
		var err error
		if f[0] == "o" {
			c, err = ResolveOperator(f[1], ts[0], ts[1])
		} else {
			c, err = ResolveFunction(f[1], ts)
		}
		got := "!" + pgerr.Code(err)
		if err == nil {
			got = types.TypeName(c.Ret)
		}
		n++
		if got == "!"+pgerr.FeatureNotSupported {
			continue // chosen, but there is no code for it
		}
		if got != want {
			if bad++; bad < 60 {
				t.Errorf("%v: got %s, want %s (%v)", f, got, want, err)
			}
		}
	}
	t.Logf("%d of %d wrong", bad, n)
}

func run(t *testing.T, name string, ts []*types.T, rows ...[]types.Datum) string {
	t.Helper()
	c, err := ResolveFunction(name, ts)
	if err != nil {
		t.Fatal(err)
	}
	acc, ctx := c.NewAcc(), &Ctx{}
	for _, r := range rows {
		if err := acc.Add(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	d, err := acc.Result(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d.IsNull() {
		return "NULL"
	}
	return string(types.AppendText(nil, d, c.Ret, nil))
}

func TestAggregates(t *testing.T) {
	ints := func(v ...int64) (rows [][]types.Datum) {
		for _, i := range v {
			rows = append(rows, []types.Datum{types.NewInt(i)})
		}
		return append(rows, []types.Datum{types.Null})
	}
	big := ints(1<<62, 1<<62, 1<<62, -7)
	for _, c := range []struct {
		name, want string
		t          *types.T
		rows       [][]types.Datum
	}{
		{"count", "3", types.Int4, ints(1, 2, 3)}, {"sum", "6", types.Int4, ints(1, 2, 3)}, {"sum", "13835058055282163705", types.Int8, big},
		{"avg", "2.0000000000000000", types.Int4, ints(1, 2, 3)}, {"max", "3", types.Int4, ints(1, 3, 2)}, {"min", "NULL", types.Int4, ints()},
		{"stddev", "1.00000000000000000000", types.Int4, ints(1, 2, 3)}, {"var_pop", "0.66666666666666666667", types.Int4, ints(1, 2, 3)},
		{"bit_or", "7", types.Int4, ints(1, 2, 4)}, {"array_agg", "{1,2,NULL}", types.Int4, ints(1, 2)}, {"json_agg", "[1, null]", types.Int4, ints(1)},
	} {
		if got := run(t, c.name, []*types.T{c.t}, c.rows...); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// Sums and counts allocate nothing for a row; a sum can take back what it added.
func TestSumAllocatesNothingAndInverts(t *testing.T) {
	for _, ty := range []*types.T{types.Int4, types.Int8, types.Numeric} {
		c, err := ResolveFunction("sum", []*types.T{ty})
		if err != nil {
			t.Fatal(err)
		}
		acc, ctx := c.NewAcc(), &Ctx{}
		one, _ := types.ParseText("-5", ty, nil)
		row := []types.Datum{one}
		if n := testing.AllocsPerRun(100, func() { _ = acc.Add(ctx, row) }); n != 0 {
			t.Errorf("sum(%s) allocates %v times a row", ty, n)
		}
		before, _ := acc.Result(ctx)
		text := string(types.AppendText(nil, before, c.Ret, nil))
		_ = acc.Add(ctx, row)
		_ = acc.(Inverter).Remove(ctx, row)
		after, _ := acc.Result(ctx)
		if got := string(types.AppendText(nil, after, c.Ret, nil)); got != text {
			t.Errorf("sum(%s): %s became %s", ty, text, got)
		}
	}
}

package types

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/apd/v3"
)

// TestSmallNumerics compares what numerics held by datums do with the general arithmetic, at the edges of 64 bits
// above all.
func TestSmallNumerics(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	edges := []int64{0, 1, -1, 9, 10, 99, 100, -100, 1e9, 1 << 31, 1<<53 + 1, math.MaxInt64, math.MaxInt64 - 1, -math.MaxInt64, 999999999999999999, 1000000000000000000}
	pick := func() (int64, int) {
		c := edges[rng.IntN(len(edges))]
		if rng.IntN(2) == 0 {
			c = rng.Int64() >> rng.IntN(63)
		}
		if rng.IntN(2) == 0 {
			c = -c
		}
		if c == math.MinInt64 {
			c = 0
		}
		return c, rng.IntN(22)
	}
	text := func(d *apd.Decimal) string { return NumericString(d) }
	inside := 0
	for range 200_000 {
		ac, as := pick()
		bc, bs := pick()
		a, b := SmallNumeric(ac, as), SmallNumeric(bc, bs)
		x, y := apd.New(ac, int32(-as)), apd.New(bc, int32(-bs))
		for name, op := range map[string]struct {
			small func(a, b Datum) (Datum, bool)
			full  func(a, b *apd.Decimal) (*apd.Decimal, error)
		}{"+": {AddSmallNumerics, NumericAdd}, "-": {SubSmallNumerics, NumericSub}, "*": {MulSmallNumerics, NumericMul}} {
			got, ok := op.small(a, b)
			if !ok {
				continue
			}
			inside++
			want, err := op.full(x, y)
			if err != nil || text(got.Numeric()) != text(want) || string(AppendText(nil, got, Numeric, nil)) != text(want) {
				t.Fatalf("%s %s %s = %s, want %s", text(x), name, text(y), AppendText(nil, got, Numeric, nil), text(want))
			}
		}
		if got, want := Compare(Numeric, a, b), sign(CompareNumeric(x, y)); got != want {
			t.Fatalf("compare %s, %s: %d, want %d", text(x), text(y), got, want)
		}
		if Hash(Numeric, 7, a) != hashNumeric(7, x) {
			t.Fatalf("hash of %s differs", text(x))
		}
		if d := NewNumeric(x); d != a {
			t.Fatalf("%s is not held by the datum", text(x))
		}
	}
	if inside < 100_000 {
		t.Errorf("only %d results fitted", inside)
	}
}

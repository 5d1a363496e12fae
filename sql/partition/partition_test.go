package partition

import (
	"math/rand/v2"
	"testing"

	"github.com/meridian-db/meridian/sql/types"
)

// TestHashIsPostgreSQLs holds values against hashint8extended and its kin of PostgreSQL 15, seeded as its hash
// partitioning is.
func TestHashIsPostgreSQLs(t *testing.T) {
	uuid := [16]byte{0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8, 0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11}
	for _, c := range []struct {
		t    *types.T
		d    types.Datum
		want int64
	}{
		{types.Int4, types.NewInt(42), 7363975540656877951},
		{types.Int8, types.NewInt(-7), -7298374200968567817},
		{types.Int8, types.NewInt(123456789012), 1825551100719034884},
		{types.Text, types.NewString("hello"), -2635279551741001039},
		{types.Text, types.NewString("hello world, this is long"), -4983889960940629687},
		{types.Text, types.NewString("elevenchars"), 2083295788762869315},
		{types.ByOID(types.OIDUUID), types.NewUUID(&uuid), 424513190990560493},
		{types.ByOID(types.OIDFloat8), types.NewFloat(1.5), -2826383321045882978},
		{types.ByOID(types.OIDTimestamp), types.NewTimestamp(631152000000000), 3657160485223084264},
	} {
		if got := int64(hashValue(c.t, c.d)); got != c.want {
			t.Errorf("hash of %s %s: %d, PostgreSQL has %d", c.t.Name, types.AppendText(nil, c.d, c.t, nil), got, c.want)
		}
	}
}

func lit(v int64) Value { return Value{D: types.NewInt(v)} }

// randomSet makes a set over two integer columns (one for LIST) without overlaps.
func randomSet(r *rand.Rand) *Set {
	two := []*types.T{types.Int4, types.Int4}
	var bounds []Bound
	if r.IntN(2) == 0 {
		bounds = append(bounds, Bound{Default: true})
	}
	switch r.IntN(3) {
	case 0:
		key := two[:1]
		for range 4 {
			b := Bound{List: []types.Datum{types.NewInt(r.Int64N(8)), types.NewInt(r.Int64N(8))}}
			if r.IntN(4) == 0 {
				b.List = append(b.List, types.Null)
			}
			if NewSet(List, key, bounds).Overlap(&b) < 0 || len(bounds) == 0 {
				bounds = append(bounds, b)
			}
		}
		return NewSet(List, key, bounds)
	case 1:
		any := func() []Value {
			v := []Value{lit(r.Int64N(6)), lit(r.Int64N(6))}
			switch r.IntN(6) {
			case 0:
				v[1] = Value{Kind: MinValue}
			case 1:
				v[1] = Value{Kind: MaxValue}
			case 2:
				v = []Value{{Kind: Kind(1 - 2*r.IntN(2))}, {}}
				v[1] = v[0]
			}
			return v
		}
		for range 6 {
			b := Bound{Lower: any(), Upper: any()}
			s := NewSet(Range, two, bounds)
			if !s.Empty(&b) && s.Overlap(&b) < 0 {
				bounds = append(bounds, b)
			}
		}
		return NewSet(Range, two, bounds)
	}
	bounds = nil
	for i := range 4 {
		if r.IntN(4) > 0 {
			bounds = append(bounds, Bound{Modulus: 4, Remainder: i})
		}
	}
	return NewSet(Hash, two, bounds)
}

func randomCond(r *rand.Rand) Cond {
	var c Cond
	switch r.IntN(4) {
	case 0:
		c.IsIn = true
		for range r.IntN(3) {
			c.In = append(c.In, types.NewInt(r.Int64N(8)))
		}
		if r.IntN(5) == 0 {
			c.In = append(c.In, types.Null)
		}
	case 1, 2:
		if r.IntN(3) > 0 {
			d := types.NewInt(r.Int64N(8))
			c.Lower, c.LowerOpen = &d, r.IntN(2) == 0
		}
		if r.IntN(3) > 0 {
			d := types.NewInt(r.Int64N(8))
			c.Upper, c.UpperOpen = &d, r.IntN(2) == 0
		}
	}
	return c
}

func satisfies(c *Cond, d types.Datum) bool {
	if c.IsIn {
		found := false
		for _, x := range c.In {
			found = found || x.IsNull() && d.IsNull() || !x.IsNull() && !d.IsNull() && x.Int() == d.Int()
		}
		if !found {
			return false
		}
	}
	if d.IsNull() {
		return c.Lower == nil && c.Upper == nil
	}
	if c.Lower != nil && (d.Int() < c.Lower.Int() || c.LowerOpen && d.Int() == c.Lower.Int()) {
		return false
	}
	return c.Upper == nil || d.Int() < c.Upper.Int() || !c.UpperOpen && d.Int() == c.Upper.Int()
}

// TestPruneKeepsEveryRow: whatever the conditions, the partition of a row that satisfies them is kept; and
// pruning does something.
func TestPruneKeepsEveryRow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pruned := 0
	for range 4000 {
		s := randomSet(r)
		if len(s.Bounds) == 0 {
			continue
		}
		conds := make([]Cond, len(s.Types))
		for i := range conds {
			conds[i] = randomCond(r)
		}
		live := s.Prune(conds)
		for _, l := range live {
			if !l {
				pruned++
			}
		}
		row := make([]types.Datum, len(s.Types))
		var each func(int)
		each = func(i int) {
			if i < len(row) {
				row[i] = types.Null
				each(i + 1)
				for v := range int64(9) {
					row[i] = types.NewInt(v)
					each(i + 1)
				}
				return
			}
			for j := range row {
				if !satisfies(&conds[j], row[j]) {
					return
				}
			}
			if at := s.Find(row); at >= 0 && !live[at] {
				t.Fatalf("strategy %c: %v of %+v pruned by %+v", s.Strategy, row, s.Bounds[at], conds)
			}
		}
		each(0)
	}
	if pruned < 1000 {
		t.Errorf("only %d partitions pruned", pruned)
	}
}

// TestPruneIsExact: a key given in full leaves one partition.
func TestPruneIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		s := randomSet(r)
		if len(s.Bounds) == 0 {
			continue
		}
		row := make([]types.Datum, len(s.Types))
		conds := make([]Cond, len(s.Types))
		for i := range row {
			row[i] = types.NewInt(r.Int64N(8))
			conds[i] = Cond{IsIn: true, In: row[i : i+1]}
		}
		for i, l := range s.Prune(conds) {
			if l != (i == s.Find(row)) {
				t.Fatalf("strategy %c: key %v, partition %d: %v", s.Strategy, row, i, l)
			}
		}
	}
}

package rowenc

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/sql/types"
)

// randomDatum draws values that are often close to each other and to the edges.
func randomDatum(r *rand.Rand, t *types.T) types.Datum {
	if r.IntN(12) == 0 {
		return types.Null
	}
	switch t.Kind {
	case types.KindBool:
		return types.NewBool(r.IntN(2) == 0)
	case types.KindInt:
		v := []int64{0, 1, -1, 127, 128, 255, 256, -256, -257, math.MaxInt64, math.MinInt64, int64(r.Uint64()) >> r.IntN(64)}[r.IntN(12)]
		if t.Size == 4 {
			v = int64(int32(v))
		}
		return types.NewInt(v)
	case types.KindFloat:
		return types.NewFloat([]float64{0, math.Copysign(0, -1), 1, -1, math.Inf(1), math.Inf(-1), math.NaN(), r.NormFloat64(), 1e-300}[r.IntN(9)])
	case types.KindDate:
		return types.NewDate([]int64{types.DateInf, types.DateNegInf, 0, -1, int64(r.IntN(20000) - 10000)}[r.IntN(5)])
	case types.KindTimestamp:
		return types.NewTimestamp(int64(r.Uint64()) >> r.IntN(64))
	}
	var text string
	switch t.OID {
	case types.OIDNumeric:
		text = fmt.Sprintf("%se%d", []string{"0", "1", "-1", "1.5", "-1.05", "9.99", "10", "100", "-100", "123456789012345678901234567890",
			"-123456789012345678901234567890.5", "0.001", "-0.00100", "1.50", "99", "9900"}[r.IntN(16)], r.IntN(12)-6)
		if r.IntN(15) == 0 {
			text = []string{"NaN", "Infinity", "-Infinity"}[r.IntN(3)]
		}
	case types.OIDText, types.OIDBPChar, types.OIDVarchar:
		b := make([]byte, r.IntN(5))
		for i := range b {
			b[i] = []byte("ab \xc3\xbf")[r.IntN(3)]
		}
		text = string(b)
	case types.OIDBytea:
		b := make([]byte, r.IntN(5))
		for i := range b {
			b[i] = []byte{0, 1, 0xff, 0xfe, 'a'}[r.IntN(5)]
		}
		return types.NewBytes(b)
	case types.OIDInterval:
		text = fmt.Sprintf("%d mons %d days %d:00", r.IntN(5)-2, r.IntN(80)-40, r.IntN(60)-30)
	case types.OIDTimeTZ:
		text = fmt.Sprintf("%02d:00:00%+03d", r.IntN(24), r.IntN(20)-10)
	case types.OIDUUID:
		u := new([16]byte)
		u[0], u[15] = byte(r.IntN(3)), byte(r.IntN(3))
		return types.NewUUID(u)
	case types.OIDJSONB:
		text = []string{`null`, `true`, `false`, `1`, `1.0`, `-5`, `"a"`, `"ab"`, `""`, `[]`, `{}`, `[1]`, `[1,2]`, `["a"]`, `[[]]`, `[null]`,
			`{"a":1}`, `{"b":1}`, `{"a":1,"b":2}`, `{"aa":1,"b":[1,{"x":"y"}]}`, `{"a":{}}`, `[{}]`}[r.IntN(22)]
	case types.OIDInt4Array:
		text = []string{"{}", "{1}", "{1,2}", "{1,NULL}", "{NULL}", "{{1,2},{3,4}}", "{1,2,3,4}", "[0:1]={1,2}", "{2}"}[r.IntN(9)]
	case types.OIDTextArray:
		text = []string{"{}", "{a}", "{a,b}", `{""}`, "{ab}", "{NULL}"}[r.IntN(6)]
	case types.OIDInet:
		text = []string{"10.0.0.0/8", "10.1.0.0/16", "10.0.0.1", "::1", "192.168.0.1/24"}[r.IntN(5)]
	}
	d, err := types.ParseText(text, t, nil)
	if err != nil {
		panic(fmt.Sprint(t, " ", text, ": ", err))
	}
	return d
}

func testTypes() []*types.T {
	enum := &types.T{OID: 100000, Typmod: -1, Name: "mood", Kind: types.KindString, Class: 'e', Def: &types.Def{Labels: []string{"sad", "ok", "happy"}}}
	num52, _ := types.ParseTypeName("numeric(12,2)")
	char3, _ := types.ParseTypeName("char(6)")
	return []*types.T{types.Bool, types.Int2, types.Int4, types.Int8, types.Float8, types.Numeric, num52, types.Text, types.BPChar, char3, types.Bytea,
		types.Date, types.Timestamp, types.IntervalT, types.TimeTZT, types.UUID, types.JSONB, types.Int4Array, types.TextArray, types.Inet, enum}
}

func draw(r *rand.Rand, t *types.T) types.Datum {
	if t.IsEnum() {
		return types.NewString(t.Def.Labels[r.IntN(3)])
	}
	bare := t.WithTypmod(-1)
	for {
		d := randomDatum(r, bare)
		if c, err := types.CoerceTypmod(d, t, true); err == nil {
			return c
		}
	}
}

// The order of keys is the order of values, NULLs where they were asked to be, and equal values have equal
// keys.
func TestKeyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, typ := range testTypes() {
		for range 4000 {
			a, b := draw(r, typ), draw(r, typ)
			desc, nullsFirst := r.IntN(2) == 0, r.IntN(2) == 0
			want := types.Compare(typ, a, b)
			switch {
			case a.IsNull() != b.IsNull():
				if a.IsNull() == nullsFirst {
					want = -1
				} else {
					want = 1
				}
			case desc:
				want = -want
			}
			ka, kb := AppendKey(nil, a, typ, desc, nullsFirst), AppendKey(nil, b, typ, desc, nullsFirst)
			if got := bytes.Compare(ka, kb); sgn(got) != sgn(want) {
				t.Fatalf("%s desc=%v: %s vs %s: keys compare %d, values %d (%x %x)", typ, desc, show(a, typ), show(b, typ), got, want, ka, kb)
			}
			if len(ka) != len(kb) && (bytes.HasPrefix(ka, kb) || bytes.HasPrefix(kb, ka)) {
				t.Fatalf("%s: one key is a prefix of another: %x %x", typ, ka, kb)
			}
		}
	}
}

func sgn(n int) int { return max(-1, min(1, n)) }

func show(d types.Datum, t *types.T) string {
	if d.IsNull() {
		return "NULL"
	}
	return string(types.AppendText(nil, d, t, nil))
}

// A key decodes to an equal value, and to the very same text unless KeyLossy said otherwise.
func TestKeyRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, typ := range testTypes() {
		for range 2000 {
			d := draw(r, typ)
			desc := r.IntN(2) == 0
			key := append(AppendKey(nil, d, typ, desc, false), "rest"...)
			got, rest, err := DecodeKey(key, typ, desc)
			if err != nil || string(rest) != "rest" {
				t.Fatalf("%s %s desc=%v: %v, rest %q", typ, show(d, typ), desc, err, rest)
			}
			if types.Compare(typ, got, d) != 0 {
				t.Fatalf("%s: %s came back as %s", typ, show(d, typ), show(got, typ))
			}
			if !KeyLossy(typ) && show(got, typ) != show(d, typ) {
				t.Fatalf("%s: %s came back as %s", typ, show(d, typ), show(got, typ))
			}
		}
	}
}

// Values come back exactly, absent columns as their default, unwanted ones are skipped.
func TestRowRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	all := testTypes()
	for range 3000 {
		var buf []byte
		var ids []uint32
		var vals []types.Datum
		var typs []*types.T
		prev, id := uint32(0), uint32(0)
		for range 1 + r.IntN(8) {
			id += 1 + uint32(r.IntN(40))
			typ := all[r.IntN(len(all))]
			d := draw(r, typ)
			buf = AppendColumn(buf, prev, id, d, typ)
			prev = id
			ids, vals, typs = append(ids, id), append(vals, d), append(typs, typ)
		}
		var want []Column
		var expect []string
		for i := range ids {
			if r.IntN(2) == 0 {
				want, expect = append(want, Column{ID: ids[i], Type: typs[i]}), append(expect, show(vals[i], typs[i]))
			}
		}
		want, expect = append(want, Column{ID: id + 5, Type: types.Int4, Default: types.NewInt(7)}), append(expect, "7")
		perm := r.Perm(len(want))
		cols := make([]Column, len(want))
		for i, p := range perm {
			cols[i] = want[p]
		}
		out := make([]types.Datum, len(cols))
		if err := NewDecoder(cols).Decode(buf, out); err != nil {
			t.Fatal(err)
		}
		for i, p := range perm {
			if got := show(out[i], cols[i].Type); got != expect[p] {
				t.Fatalf("column %d %s: got %s want %s", cols[i].ID, cols[i].Type, got, expect[p])
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	buf := make([]byte, 0, 256)
	in, txt := types.NewInt(1<<40), types.NewString(strings.Repeat("x", 40))
	if n := testing.AllocsPerRun(100, func() {
		b := AppendKey(buf, in, types.Int8, false, false)
		b = AppendKey(b, txt, types.Text, false, false)
		b = AppendColumn(b, 0, 1, in, types.Int8)
		AppendColumn(b, 1, 2, txt, types.Text)
	}); n != 0 {
		t.Errorf("encoding allocates %v times", n)
	}
	key := AppendKey(AppendKey(nil, in, types.Int8, false, false), txt, types.Text, false, false)
	val := AppendColumn(AppendColumn(nil, 0, 1, in, types.Int8), 1, 2, txt, types.Text)
	dec := NewDecoder([]Column{{ID: 1, Type: types.Int8}, {ID: 2, Type: types.Text}})
	out := make([]types.Datum, 2)
	if n := testing.AllocsPerRun(100, func() {
		_, rest, _ := DecodeKey(key, types.Int8, false)
		DecodeKey(rest, types.Text, false)
		if dec.Decode(val, out) != nil {
			t.Fail()
		}
	}); n != 0 {
		t.Errorf("decoding allocates %v times", n)
	}
}

func FuzzDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	all := testTypes()
	for i, typ := range all {
		d := draw(r, typ)
		f.Add(byte(i), AppendKey(nil, d, typ, i%2 == 0, false))
		f.Add(byte(i), AppendColumn(nil, 0, 1, d, typ))
	}
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		typ := all[int(which)%len(all)]
		for _, desc := range []bool{false, true} {
			if d, _, err := DecodeKey(data, typ, desc); err == nil {
				show(d, typ)
			}
		}
		out := make([]types.Datum, 1)
		if NewDecoder([]Column{{ID: 1, Type: typ}}).Decode(data, out) == nil {
			show(out[0], typ)
		}
		// Two columns of which the second is read first: damage is found in either step, or the row is sound.
		two := []Column{{ID: 1, Type: typ}, {ID: 3, Type: types.Int8}}
		d := NewDecoder(two)
		d.SetEarly(func(pos int) bool { return pos == 1 })
		var late Late
		var early [2]types.Datum
		err := d.DecodeEarly(data, early[:], &late)
		if err == nil {
			err = d.DecodeLate(early[:], &late)
		}
		var whole [2]types.Datum
		if werr := d.Decode(data, whole[:]); (err == nil) != (werr == nil) {
			t.Errorf("in two steps %v, in one %v", err, werr)
		}
	})
}

// TestDecodeEarly checks that reading a row in two steps gives what one step gives, for every choice of first
// columns, with columns missing that were added after the row was written.
func TestDecodeEarly(t *testing.T) {
	ts := []*types.T{types.Int8, types.Text, types.Numeric, types.Bool, types.Date}
	vals := []types.Datum{types.NewInt(7), types.NewString("seven"), types.SmallNumeric(700, 2), types.NewBool(true), types.NewDate(77)}
	for stored := range 1 << 5 {
		var row []byte
		prev := uint32(0)
		for i := range 5 {
			if stored&(1<<i) != 0 {
				row = AppendColumn(row, prev, uint32(2*i+1), vals[i], ts[i])
				prev = uint32(2*i + 1)
			}
		}
		for wanted := range 1 << 5 {
			cols := make([]Column, 5)
			for i := range 5 {
				if wanted&(1<<i) != 0 {
					cols[i] = Column{ID: uint32(2*i + 1), Type: ts[i], Default: types.NewString("default")}
				}
			}
			want := make([]types.Datum, 5)
			if err := NewDecoder(cols).Decode(row, want); err != nil {
				t.Fatal(err)
			}
			for early := range 1 << 5 {
				d := NewDecoder(cols)
				d.SetEarly(func(pos int) bool { return early&(1<<pos) != 0 })
				got := make([]types.Datum, 5)
				var late Late
				if err := d.DecodeEarly(row, got, &late); err != nil {
					t.Fatal(err)
				}
				for i := range 5 {
					if early&wanted&(1<<i) != 0 && types.Compare(nil, got[i], want[i]) != 0 {
						t.Fatalf("stored %b wanted %b early %b: column %d is not there early", stored, wanted, early, i)
					}
				}
				if err := d.DecodeLate(got, &late); err != nil {
					t.Fatal(err)
				}
				for i := range 5 {
					if got[i].Kind() != want[i].Kind() || types.Compare(nil, got[i], want[i]) != 0 {
						t.Fatalf("stored %b wanted %b early %b: column %d differs", stored, wanted, early, i)
					}
				}
			}
		}
	}
}

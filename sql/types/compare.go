package types

import (
	"bytes"
	"hash/maphash"
	"math"
	"strconv"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// Compare orders two values of type t as its default btree operator class does. NULL is above all values
// and equal to itself, which is what sorting and key encoding want; SQL's three-valued comparison is the
// evaluator's.
func Compare(t *T, a, b Datum) int {
	if a.kind == KindNull || b.kind == KindNull {
		switch {
		case a.kind == b.kind:
			return 0
		case a.kind == KindNull:
			return 1
		}
		return -1
	}
	switch a.kind {
	case KindBool, KindInt, KindDate, KindTime, KindTimestamp, KindTimestampTZ:
		if t != nil && t.Kind == KindInt && (t.OID == OIDXid8 || t.OID == OIDPgLSN) {
			return cmpU64(uint64(a.n), uint64(b.n))
		}
		return cmp64(a.n, b.n)
	case KindFloat:
		return CompareFloat(a.Float(), b.Float())
	case KindNumeric:
		return compareNumerics(a, b)
	case KindString:
		if t != nil {
			switch {
			case t.Fold:
				return strings.Compare(strings.ToLower(a.Str()), strings.ToLower(b.Str()))
			case t.OID == OIDBPChar:
				return strings.Compare(strings.TrimRight(a.Str(), " "), strings.TrimRight(b.Str(), " "))
			case t.Class == 'e' && t.Def != nil:
				return enumIndex(t, a.Str()) - enumIndex(t, b.Str())
			case t.OID == OIDInet || t.OID == OIDCidr:
				return compareInet(a.Str(), b.Str())
			case t.OID == OIDTSVector:
				return compareTSVectors(TSVectorOf(a), TSVectorOf(b))
			case t.OID == OIDTSQuery:
				return compareTSQueries(TSQueryOf(a), TSQueryOf(b))
			}
		}
		return strings.Compare(a.Str(), b.Str())
	case KindBytes:
		return bytes.Compare(a.Bytes(), b.Bytes())
	case KindTimeTZ:
		x, y := a.TimeTZ(), b.TimeTZ()
		if c := cmp64(x.Micros+int64(x.OffsetSecs)*1e6, y.Micros+int64(y.OffsetSecs)*1e6); c != 0 {
			return c
		}
		return cmp64(int64(x.OffsetSecs), int64(y.OffsetSecs))
	case KindInterval:
		return CompareInterval(a.Interval(), b.Interval())
	case KindUUID:
		return bytes.Compare(a.UUID()[:], b.UUID()[:])
	case KindJSON:
		return CompareJSON(a.JSON(), b.JSON())
	case KindArray:
		return compareArray(a.Array(), b.Array())
	case KindTuple:
		return compareTuple(a.Tuple(), b.Tuple())
	case KindRange:
		return a.Range().Compare(b.Range())
	case KindMultirange:
		return a.Multirange().Compare(b.Multirange())
	}
	return 0
}

// Equal reports whether two values of type t are equal; NULL equals NULL, as IS NOT DISTINCT FROM has it.
func Equal(t *T, a, b Datum) bool { return Compare(t, a, b) == 0 }

// CompareFloat orders NaN above all, and equal to itself.
func CompareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	case a == b:
		return 0
	}
	an, bn := math.IsNaN(a), math.IsNaN(b)
	switch {
	case an && bn:
		return 0
	case an:
		return 1
	}
	return -1
}

func cmpU64(a, b uint64) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// compareArray compares element by element, then by length, number of dimensions, lengths and bounds.
func compareArray(a, b *Array) int {
	for i := range min(len(a.Elems), len(b.Elems)) {
		if c := Compare(a.Elem, a.Elems[i], b.Elems[i]); c != 0 {
			return c
		}
	}
	if c := len(a.Elems) - len(b.Elems); c != 0 {
		return sign(c)
	}
	if c := len(a.Dims) - len(b.Dims); c != 0 {
		return sign(c)
	}
	for i := range a.Dims {
		if c := cmp64(int64(a.Dims[i].Len), int64(b.Dims[i].Len)); c != 0 {
			return c
		}
	}
	for i := range a.Dims {
		if c := cmp64(int64(a.Dims[i].Lower), int64(b.Dims[i].Lower)); c != 0 {
			return c
		}
	}
	return 0
}

func compareTuple(a, b *Tuple) int {
	for i := range min(len(a.Elems), len(b.Elems)) {
		var t *T
		if i < len(a.Types) {
			t = a.Types[i]
		}
		if c := Compare(t, a.Elems[i], b.Elems[i]); c != 0 {
			return c
		}
	}
	return sign(len(a.Elems) - len(b.Elems))
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

var hashSeed = maphash.MakeSeed()

// Hash hashes a value of type t into seed so that values that compare equal hash equally, across the
// integer types too. The hash differs from process to process: it must not be stored or sent.
func Hash(t *T, seed uint64, d Datum) uint64 {
	switch d.kind {
	case KindNull:
		return mix(seed, 0x9e3779b97f4a7c15)
	case KindBool, KindInt, KindDate, KindTime, KindTimestamp, KindTimestampTZ:
		return mix(seed, uint64(d.n))
	case KindFloat:
		f := d.Float()
		switch {
		case f == 0:
			f = 0
		case math.IsNaN(f):
			f = math.NaN()
		}
		return mix(seed, math.Float64bits(f))
	case KindNumeric:
		if d.p == nil {
			return hashSmall(seed, d)
		}
		return hashNumeric(seed, d.Numeric())
	case KindString:
		s := d.Str()
		switch {
		case t == nil:
		case t.Fold:
			s = strings.ToLower(s)
		case t.OID == OIDBPChar:
			s = strings.TrimRight(s, " ")
		}
		return mix(seed, maphash.String(hashSeed, s))
	case KindBytes:
		return mix(seed, maphash.Bytes(hashSeed, d.Bytes()))
	case KindTimeTZ:
		z := d.TimeTZ()
		return mix(mix(seed, uint64(z.Micros+int64(z.OffsetSecs)*1e6)), uint64(z.OffsetSecs))
	case KindInterval:
		days, us := intervalCmpValue(d.Interval())
		return mix(mix(seed, uint64(days)), uint64(us))
	case KindUUID:
		return mix(seed, maphash.Bytes(hashSeed, d.UUID()[:]))
	case KindJSON:
		return hashJSON(seed, d.JSON())
	case KindArray:
		a := d.Array()
		for _, e := range a.Elems {
			seed = Hash(a.Elem, seed, e)
		}
		return mix(seed, uint64(len(a.Elems)))
	case KindTuple:
		tu := d.Tuple()
		for i, e := range tu.Elems {
			var et *T
			if i < len(tu.Types) {
				et = tu.Types[i]
			}
			seed = Hash(et, seed, e)
		}
		return mix(seed, uint64(len(tu.Elems)))
	case KindRange:
		return d.Range().hash(seed)
	case KindMultirange:
		for _, r := range d.Multirange().Ranges {
			seed = r.hash(seed)
		}
		return mix(seed, 1)
	}
	return seed
}

func mix(seed, v uint64) uint64 {
	h := seed ^ v*0xff51afd7ed558ccd
	h ^= h >> 32
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 29
	return h + 0x9e3779b97f4a7c15
}

func hashNumeric(seed uint64, d *apd.Decimal) uint64 {
	if r := numRank(d); r != 0 {
		return mix(seed, uint64(r)+7)
	}
	if d.Coeff.IsUint64() {
		c, e := d.Coeff.Uint64(), d.Exponent
		for c != 0 && c%10 == 0 {
			c /= 10
			e++
		}
		if c == 0 {
			e = 0
		}
		if d.Negative {
			e ^= 1 << 20
		}
		return mix(mix(seed, c), uint64(e))
	}
	var tmp [96]byte
	b := d.Coeff.Append(tmp[:0], 10)
	e := d.Exponent
	for b[len(b)-1] == '0' {
		b = b[:len(b)-1]
		e++
	}
	if len(b) <= 20 {
		// The same digits with fewer zeros may be a small coefficient: hash them as one.
		if c, err := strconv.ParseUint(string(b), 10, 64); err == nil {
			return hashNumeric(seed, &apd.Decimal{Coeff: *new(apd.BigInt).SetUint64(c), Exponent: e, Negative: d.Negative})
		}
	}
	h := mix(seed, maphash.Bytes(hashSeed, b))
	if d.Negative {
		e ^= 1 << 20
	}
	return mix(h, uint64(e))
}

func hashJSON(seed uint64, j *JSON) uint64 {
	seed = mix(seed, uint64(j.Kind))
	switch j.Kind {
	case JSONBool:
		if j.Bool {
			seed = mix(seed, 1)
		}
	case JSONNumber:
		seed = hashNumeric(seed, j.Num)
	case JSONString:
		seed = mix(seed, maphash.String(hashSeed, j.Str))
	default:
		for i, v := range j.Vals {
			if j.Kind == JSONObject {
				seed = mix(seed, maphash.String(hashSeed, j.Keys[i]))
			}
			seed = hashJSON(seed, v)
		}
	}
	return seed
}

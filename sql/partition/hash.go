package partition

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/bits"

	"github.com/meridian-db/meridian/sql/types"
)

// seed is HASH_PARTITION_SEED of PostgreSQL.
const seed = 0x7A5B22367996DCFD

// HashKey is the hash of a key: the columns' hashes combined, NULLs left out.
func HashKey(key []*types.T, row []types.Datum) uint64 {
	h := uint64(0)
	for i, d := range row {
		if !d.IsNull() {
			h ^= hashValue(key[i], d) + 0x49a0f4dd15e5a8e3 + h<<54 + h>>7
		}
	}
	return h
}

// hashValue hashes integers, texts, uuids, byte strings, booleans, floats, dates and times as PostgreSQL does. Other
// types have a hash of our own, over their text form.
func hashValue(t *types.T, d types.Datum) uint64 {
	b := t.BaseType()
	switch b.OID {
	case types.OIDInt8, types.OIDTimestamp, types.OIDTimestampTZ, types.OIDTime:
		return hashInt64(d.Int())
	case types.OIDInt2, types.OIDInt4, types.OIDOid, types.OIDDate:
		return hashUint32(uint32(d.Int()))
	case types.OIDBool:
		if d.Bool() {
			return hashUint32(1)
		}
		return hashUint32(0)
	case types.OIDText, types.OIDVarchar, types.OIDName:
		return hashBytes([]byte(d.Str()))
	case types.OIDBytea:
		return hashBytes(d.Bytes())
	case types.OIDUUID:
		u := d.UUID()
		return hashBytes(u[:])
	case types.OIDFloat8, types.OIDFloat4:
		f := d.Float()
		if f == 0 {
			return seed
		}
		var raw [8]byte
		if math.IsNaN(f) {
			f = math.NaN()
		}
		binary.LittleEndian.PutUint64(raw[:], math.Float64bits(f))
		return hashBytes(raw[:])
	}
	f := fnv.New64a()
	f.Write(types.AppendText(nil, d, t, nil))
	return f.Sum64()
}

func hashInt64(v int64) uint64 {
	lo, hi := uint32(v), uint32(v>>32)
	if v < 0 {
		hi = ^hi
	}
	return hashUint32(lo ^ hi)
}

// The functions below are Bob Jenkins's lookup3 in the variant of PostgreSQL's hash_bytes_extended.

func mix(a, b, c uint32) (uint32, uint32, uint32) {
	a -= c
	a ^= bits.RotateLeft32(c, 4)
	c += b
	b -= a
	b ^= bits.RotateLeft32(a, 6)
	a += c
	c -= b
	c ^= bits.RotateLeft32(b, 8)
	b += a
	a -= c
	a ^= bits.RotateLeft32(c, 16)
	c += b
	b -= a
	b ^= bits.RotateLeft32(a, 19)
	a += c
	c -= b
	c ^= bits.RotateLeft32(b, 4)
	b += a
	return a, b, c
}

func final(a, b, c uint32) uint64 {
	c ^= b
	c -= bits.RotateLeft32(b, 14)
	a ^= c
	a -= bits.RotateLeft32(c, 11)
	b ^= a
	b -= bits.RotateLeft32(a, 25)
	c ^= b
	c -= bits.RotateLeft32(b, 16)
	a ^= c
	a -= bits.RotateLeft32(c, 4)
	b ^= a
	b -= bits.RotateLeft32(a, 14)
	c ^= b
	c -= bits.RotateLeft32(b, 24)
	return uint64(b)<<32 | uint64(c)
}

func start(n int) (a, b, c uint32) {
	a = 0x9e3779b9 + uint32(n) + 3923095
	b, c = a, a
	hi, lo := uint64(seed)>>32, uint64(seed)&math.MaxUint32
	a += uint32(hi)
	b += uint32(lo)
	return mix(a, b, c)
}

func hashUint32(k uint32) uint64 {
	a, b, c := start(4)
	return final(a+k, b, c)
}

func hashBytes(k []byte) uint64 {
	a, b, c := start(len(k))
	for len(k) >= 12 {
		a += binary.LittleEndian.Uint32(k)
		b += binary.LittleEndian.Uint32(k[4:])
		c += binary.LittleEndian.Uint32(k[8:])
		a, b, c = mix(a, b, c)
		k = k[12:]
	}
	// The last bytes; the lowest byte of c is kept for the length.
	var tail [12]byte
	copy(tail[:], k)
	a += binary.LittleEndian.Uint32(tail[:])
	b += binary.LittleEndian.Uint32(tail[4:])
	if len(k) > 8 {
		c += binary.LittleEndian.Uint32(tail[8:]) << 8
	}
	return final(a, b, c)
}

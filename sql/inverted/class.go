package inverted

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
)

// Class is an operator class.
type Class uint8

const (
	None Class = iota
	Arrays
	JSONB
	JSONBPath
	TSVectors
	Trigrams
)

var names = [...]string{Arrays: "array_ops", JSONB: "jsonb_ops", JSONBPath: "jsonb_path_ops", TSVectors: "tsvector_ops", Trigrams: "gin_trgm_ops"}

func (c Class) String() string { return names[c] }

// Default returns the class of a type for which none is named, None if it has none.
func Default(t *types.T) Class {
	b := t.BaseType()
	switch {
	case b.OID == types.OIDJSONB:
		return JSONB
	case b.OID == types.OIDTSVector:
		return TSVectors
	case b.Kind == types.KindArray && b.Elem != nil && rowenc.KeyEncodable(b.Elem) == nil:
		return Arrays
	}
	return None
}

// Named returns the class of a name, None if there is no such class.
func Named(name string) Class {
	return Class(max(0, slices.Index(names[1:], name)+1))
}

// Takes reports whether values of a type may be in a column of the class.
func (c Class) Takes(t *types.T) bool {
	if c == Trigrams {
		o := t.BaseType().OID
		return o == types.OIDText || o == types.OIDVarchar
	}
	d := Default(t)
	return c != None && (c == d || c == JSONBPath && d == JSONB)
}

// longTerm is the length above which a term is kept as a hash.
const longTerm = 120

// What a term of an array or of jsonb begins with. A hashed term's tag is one higher.
const (
	tagValue byte = 2 * iota // an element; of jsonb a scalar that is an object's value, or no string
	tagKey                   // of jsonb a key, or a string that is an element or the whole value
	tagNull                  // of an array: it has a NULL
	tagEmpty                 // of an array: it has no elements
)

func tagged(tag byte, b []byte) []byte {
	if len(b) <= longTerm {
		return append([]byte{tag}, b...)
	}
	h := fnv.New128a()
	h.Write(b)
	return h.Sum([]byte{tag + 1})
}

// Terms returns the terms of a value of type t, sorted, each once. NULL has none.
func (c Class) Terms(d types.Datum, t *types.T) [][]byte {
	if d.IsNull() {
		return nil
	}
	var out [][]byte
	switch c {
	case Arrays:
		out = arrayTerms(d.Array(), t)
	case JSONB:
		jsonTerms(d.JSON(), true, func(b []byte) { out = append(out, b) })
	case JSONBPath:
		pathTerms(d.JSON(), pathSeed, func(b []byte) { out = append(out, b) })
	case TSVectors:
		for _, l := range types.TSVectorOf(d) {
			out = append(out, []byte(l.Word))
		}
	case Trigrams:
		list, _ := WordTrigrams(d.Str())
		out = trigramTerms(list)
	}
	slices.SortFunc(out, bytes.Compare)
	return slices.CompactFunc(out, bytes.Equal)
}

func elementTerm(d types.Datum, elem *types.T) []byte {
	if d.IsNull() {
		return []byte{tagNull}
	}
	return tagged(tagValue, rowenc.AppendKey(nil, d, elem, false, false))
}

func arrayTerms(a *types.Array, t *types.T) [][]byte {
	if len(a.Elems) == 0 {
		return [][]byte{{tagEmpty}}
	}
	var out [][]byte
	for _, e := range a.Elems {
		out = append(out, elementTerm(e, t.BaseType().Elem))
	}
	return out
}

// scalarBytes tells scalars apart as jsonb's equality does.
func scalarBytes(j *types.JSON) []byte {
	switch j.Kind {
	case types.JSONString:
		return append([]byte{'s'}, j.Str...)
	case types.JSONNumber:
		if j.Num.IsZero() {
			return []byte("n0")
		}
		n := *j.Num
		n.Reduce(&n)
		return n.Append([]byte{'n'}, 'E')
	case types.JSONBool:
		if j.Bool {
			return []byte{'t'}
		}
		return []byte{'f'}
	}
	return []byte{'0'}
}

func keyTerm(s string) []byte { return tagged(tagKey, []byte(s)) }

func valueTerm(j *types.JSON) []byte { return tagged(tagValue, scalarBytes(j)) }

// jsonTerms are the keys and scalars of a value. element says that the value is an array's element, or the whole:
// strings there count as keys, because the operator ? asks for both.
func jsonTerms(j *types.JSON, element bool, emit func([]byte)) {
	switch j.Kind {
	case types.JSONObject:
		for i, k := range j.Keys {
			emit(keyTerm(k))
			jsonTerms(j.Vals[i], false, emit)
		}
	case types.JSONArray:
		for _, v := range j.Vals {
			jsonTerms(v, true, emit)
		}
	case types.JSONString:
		if element {
			emit(keyTerm(j.Str))
			return
		}
		emit(valueTerm(j))
	default:
		emit(valueTerm(j))
	}
}

// A term of jsonb_path_ops is the hash of a scalar and the keys that lead to it, whatever arrays are on the way.
type pathHash uint64

const (
	pathSeed  pathHash = 14695981039346656037 // FNV-1a
	pathPrime pathHash = 1099511628211
)

func (h pathHash) mix(kind byte, b []byte) pathHash {
	h = (h ^ pathHash(kind)) * pathPrime
	for _, c := range binary.AppendUvarint(nil, uint64(len(b))) {
		h = (h ^ pathHash(c)) * pathPrime
	}
	for _, c := range b {
		h = (h ^ pathHash(c)) * pathPrime
	}
	return h
}

func (h pathHash) key(k string) pathHash { return h.mix('k', []byte(k)) }

func (h pathHash) scalar(j *types.JSON) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(h.mix('v', scalarBytes(j))))
}

func pathTerms(j *types.JSON, h pathHash, emit func([]byte)) {
	switch j.Kind {
	case types.JSONObject:
		for i, k := range j.Keys {
			pathTerms(j.Vals[i], h.key(k), emit)
		}
	case types.JSONArray:
		for _, v := range j.Vals {
			pathTerms(v, h, emit)
		}
	default:
		emit(h.scalar(j))
	}
}

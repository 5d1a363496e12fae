package rowenc

import (
	"math/big"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/types"
)

// A numeric's class comes first; finite nonzero numbers follow with the decimal exponent of their first
// digit and their digits in pairs without trailing zeros. A pair p is the byte 2p+1, or 2p if it is the
// last one: so a number sorts before those that continue with more digits. All of a negative number after
// its class is inverted.
const (
	numNegInf byte = 0x10 + iota
	numNegative
	numZero
	numPositive
	numInf
	numNaN
)

func appendKeyNumeric(buf []byte, d *apd.Decimal) []byte {
	switch {
	case d.Form == apd.NaN || d.Form == apd.NaNSignaling:
		return append(buf, numNaN)
	case d.Form == apd.Infinite && d.Negative:
		return append(buf, numNegInf)
	case d.Form == apd.Infinite:
		return append(buf, numInf)
	case d.Coeff.Sign() == 0:
		return append(buf, numZero)
	}
	class := numPositive
	if d.Negative {
		class = numNegative
	}
	buf = append(buf, class)
	start := len(buf)
	var tmp [64]byte
	digits := d.Coeff.Append(tmp[:0], 10)
	exp := len(digits) + int(d.Exponent)
	for digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	buf = AppendKeyInt(buf, int64(exp))
	for i := 0; i < len(digits); i += 2 {
		p := (digits[i] - '0') * 10
		if i+1 < len(digits) {
			p += digits[i+1] - '0'
		}
		p *= 2
		if i+2 < len(digits) {
			p++
		}
		buf = append(buf, p)
	}
	if d.Negative {
		invert(buf[start:])
	}
	return buf
}

// numeric reads a numeric with the smallest scale that holds it.
func (r *keyReader) numeric() (*apd.Decimal, bool) {
	class, ok := r.byte()
	if !ok {
		return nil, false
	}
	switch class {
	case numNaN:
		return types.NumericNaN, true
	case numNegInf:
		return types.NumericNegInf, true
	case numInf:
		return types.NumericInf, true
	case numZero:
		return types.NumericZero, true
	case numPositive, numNegative:
	default:
		return nil, false
	}
	if class == numNegative {
		r.mask = ^r.mask
		defer func() { r.mask = ^r.mask }()
	}
	exp, ok := r.int()
	if !ok || exp > 200000 || exp < -200000 {
		return nil, false
	}
	var tmp [64]byte
	digits := tmp[:0]
	for {
		c, ok := r.byte()
		if !ok || c > 199 {
			return nil, false
		}
		p := c / 2
		digits = append(digits, '0'+p/10, '0'+p%10)
		if c&1 == 0 {
			break
		}
	}
	if digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	d := &apd.Decimal{Negative: class == numNegative}
	if len(digits) <= 19 {
		var u uint64
		for _, c := range digits {
			u = u*10 + uint64(c-'0')
		}
		d.Coeff.SetUint64(u)
	} else {
		c, ok := new(big.Int).SetString(string(digits), 10)
		if !ok {
			return nil, false
		}
		d.Coeff.SetMathBigInt(c)
	}
	scale := len(digits) - int(exp)
	if scale < 0 {
		// Trailing zeros before the point were dropped.
		c := d.Coeff.MathBigInt()
		d.Coeff.SetMathBigInt(new(big.Int).Mul(c, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-scale)), nil)))
		scale = 0
	}
	d.Exponent = int32(-scale)
	return d, true
}

// jsonb's order: an empty array, then scalars, then arrays, then objects; inside, kinds by rank, arrays and
// objects by size first.
const (
	jsonEmptyArray byte = 0x03 + iota
	jsonNull
	jsonString
	jsonNumber
	jsonFalse
	jsonTrue
	jsonArray
	jsonObject
)

func appendKeyJSON(buf []byte, j *types.JSON, top bool) []byte {
	switch j.Kind {
	case types.JSONNull:
		return append(buf, jsonNull)
	case types.JSONString:
		return appendEscaped(append(buf, jsonString), j.Str)
	case types.JSONNumber:
		return appendKeyNumeric(append(buf, jsonNumber), j.Num)
	case types.JSONBool:
		if j.Bool {
			return append(buf, jsonTrue)
		}
		return append(buf, jsonFalse)
	case types.JSONArray:
		if top && len(j.Vals) == 0 {
			return append(buf, jsonEmptyArray)
		}
		buf = AppendKeyInt(append(buf, jsonArray), int64(len(j.Vals)))
		for _, v := range j.Vals {
			buf = appendKeyJSON(buf, v, false)
		}
		return buf
	}
	buf = AppendKeyInt(append(buf, jsonObject), int64(len(j.Vals)))
	for i, v := range j.Vals {
		buf = appendEscaped(buf, j.Keys[i])
		buf = appendKeyJSON(buf, v, false)
	}
	return buf
}

func (r *keyReader) json(top bool, depth int) (*types.JSON, bool) {
	class, ok := r.byte()
	if !ok || depth > maxDepth {
		return nil, false
	}
	switch class {
	case jsonEmptyArray:
		return types.NewJSONArray(nil), top
	case jsonNull:
		return types.JSONNullValue, true
	case jsonString:
		s, ok := r.text()
		return types.NewJSONString(string(s)), ok
	case jsonNumber:
		n, ok := r.numeric()
		return types.NewJSONNumber(n), ok
	case jsonFalse:
		return types.JSONFalseValue, true
	case jsonTrue:
		return types.JSONTrueValue, true
	case jsonArray, jsonObject:
		n, ok := r.int()
		if !ok || n < 0 || n > int64(len(r.b)) {
			return nil, false
		}
		var keys []string
		var vals []*types.JSON
		for range n {
			if class == jsonObject {
				k, ok := r.text()
				if !ok {
					return nil, false
				}
				keys = append(keys, string(k))
			}
			v, ok := r.json(false, depth+1)
			if !ok {
				return nil, false
			}
			vals = append(vals, v)
		}
		if class == jsonObject {
			return types.NewJSONObject(keys, vals), true
		}
		return types.NewJSONArray(vals), true
	}
	return nil, false
}

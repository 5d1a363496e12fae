package builtin

import (
	"math"
	"strings"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func (x *pathExec) binary(n *types.PathNode, v pathItem, out *pathList) (pathResult, error) {
	left, r, err := x.values(n.Left, v, true)
	if err != nil || r == pathFailed {
		return r, err
	}
	right, r, err := x.values(n.Right, v, true)
	if err != nil || r == pathFailed {
		return r, err
	}
	if len(left) != 1 || !left[0].is(types.JSONNumber) {
		return x.fail(pgerr.SingletonSQLJSONItemRequired, "left operand of jsonpath operator %s is not a single numeric value", n.Op)
	}
	if len(right) != 1 || !right[0].is(types.JSONNumber) {
		return x.fail(pgerr.SingletonSQLJSONItemRequired, "right operand of jsonpath operator %s is not a single numeric value", n.Op)
	}
	f := map[types.PathOp]func(a, b *apd.Decimal) (*apd.Decimal, error){types.PathAdd: types.NumericAdd, types.PathSub: types.NumericSub,
		types.PathMul: types.NumericMul, types.PathDiv: types.NumericDiv, types.PathMod: types.NumericMod}[n.Op]
	num, err := f(left[0].json.Num, right[0].json.Num)
	if err != nil {
		if !x.throw {
			err = nil
		}
		return pathFailed, err
	}
	return x.next(n, pathItem{json: types.NewJSONNumber(num)}, out)
}

func (x *pathExec) sign(n *types.PathNode, v pathItem, out *pathList) (pathResult, error) {
	items, r, err := x.values(n.Left, v, true)
	if err != nil || r == pathFailed {
		return r, err
	}
	res := pathEmpty
	for _, it := range items {
		if !it.is(types.JSONNumber) {
			if out == nil && n.Next == nil {
				continue
			}
			return x.fail(pgerr.SQLJSONNumberNotFound, "operand of unary jsonpath operator %s is not a numeric value", n.Op)
		}
		num := it.json.Num
		if n.Op == types.PathMinus {
			num = types.NumericNeg(num)
		}
		r, err := x.next(n, pathItem{json: types.NewJSONNumber(num)}, out)
		if err != nil || r == pathFailed {
			return r, err
		}
		if r == pathFound {
			if out == nil {
				return pathFound, nil
			}
			res = r
		}
	}
	return res, nil
}

func (v pathItem) typeName() string {
	if v.json == nil {
		return types.TypeName(v.typ)
	}
	return [...]string{"null", "boolean", "number", "string", "array", "object"}[v.json.Kind]
}

func (x *pathExec) method(n *types.PathNode, v pathItem, out *pathList, unwrap bool) (pathResult, error) {
	isArray := v.is(types.JSONArray)
	number := func(num *apd.Decimal) (pathResult, error) {
		return x.next(n, pathItem{json: types.NewJSONNumber(num)}, out)
	}
	switch n.Str {
	case "type":
		return x.next(n, pathItem{json: types.NewJSONString(v.typeName())}, out)
	case "size":
		switch {
		case isArray:
			return number(types.NumericFromInt(int64(len(v.json.Vals))))
		case !x.lax:
			return x.structural(pgerr.SQLJSONArrayNotFound, "jsonpath item method .%s() can only be applied to an array", n.Str)
		}
		return number(types.NumericFromInt(1))
	}
	if unwrap && isArray {
		return x.unwrapArray(n, v, out)
	}
	switch n.Str {
	case "keyvalue":
		return x.keyvalue(n, v, out)
	case "double":
		return x.double(n, v, out)
	}
	if !v.is(types.JSONNumber) {
		return x.fail(pgerr.NonNumericSQLJSONItem, "jsonpath item method .%s() can only be applied to a numeric value", n.Str)
	}
	switch n.Str {
	case "abs":
		return number(types.NumericAbs(v.json.Num))
	case "floor":
		return number(types.NumericFloor(v.json.Num))
	}
	return number(types.NumericCeil(v.json.Num))
}

func (x *pathExec) double(n *types.PathNode, v pathItem, out *pathList) (pathResult, error) {
	var text, kind string
	switch {
	case v.is(types.JSONNumber):
		text, kind = types.NumericString(v.json.Num), "numeric"
	case v.is(types.JSONString):
		text, kind = v.json.Str, "string"
	default:
		return x.fail(pgerr.NonNumericSQLJSONItem, "jsonpath item method .%s() can only be applied to a string or numeric value", n.Str)
	}
	d, err := types.ParseText(text, types.Float8, nil)
	if err != nil || math.IsNaN(d.Float()) || math.IsInf(d.Float(), 0) {
		what := "numeric argument of jsonpath item method .%s() is out of range for type double precision"
		if kind == "string" {
			what = "string argument of jsonpath item method .%s() is not a valid representation of a double precision number"
		}
		return x.fail(pgerr.NonNumericSQLJSONItem, what, n.Str)
	}
	if kind == "numeric" {
		return x.next(n, v, out)
	}
	num, err := types.NumericFromFloat(d.Float(), 15)
	if err != nil {
		return pathFailed, err
	}
	return x.next(n, pathItem{json: types.NewJSONNumber(num)}, out)
}

func (x *pathExec) keyvalue(n *types.PathNode, v pathItem, out *pathList) (pathResult, error) {
	if !v.is(types.JSONObject) {
		return x.fail(pgerr.SQLJSONObjectNotFound, "jsonpath item method .%s() can only be applied to an object", n.Str)
	}
	if len(v.json.Keys) == 0 {
		return pathEmpty, nil
	}
	if n.Next == nil && out == nil {
		return pathFound, nil
	}
	id := v.base.id * 10000000000
	if v.base.doc != nil {
		off, _ := jsonbOffset(v.base.doc, v.json)
		id += int64(off)
	}
	res := pathEmpty
	for i, k := range v.json.Keys {
		obj := types.NewJSONObject([]string{"key", "value", "id"},
			[]*types.JSON{types.NewJSONString(k), v.json.Vals[i], types.NewJSONNumber(types.NumericFromInt(id))})
		item := pathItem{json: obj, base: pathBase{doc: obj, id: x.generated}}
		x.generated++
		r, err := x.next(n, item, out)
		res = r
		if err != nil || r == pathFailed || r == pathFound && out == nil {
			return r, err
		}
	}
	return res, nil
}

// jsonbOffset tells where part would start in PostgreSQL's binary form of doc, whose header is left out.
func jsonbOffset(doc, part *types.JSON) (int, bool) {
	at := -1
	var place func(j *types.JSON, pos int) int // returns the position behind j
	place = func(j *types.JSON, pos int) int {
		align := func() { pos = (pos + 3) &^ 3 }
		switch j.Kind {
		case types.JSONString:
			return pos + len(j.Str)
		case types.JSONNumber:
			align()
			return pos + numericSize(j.Num)
		case types.JSONArray, types.JSONObject:
			align()
			if j == part {
				at = pos
			}
			pos += 4 + 4*len(j.Vals)
			if j.Kind == types.JSONObject {
				pos += 4 * len(j.Keys)
				for _, k := range j.Keys {
					pos += len(k)
				}
			}
			for _, c := range j.Vals {
				pos = place(c, pos)
			}
		}
		return pos
	}
	place(doc, 0)
	return max(at, 0), at >= 0
}

// numericSize is the length of a numeric in PostgreSQL's storage, in groups of four decimal digits.
func numericSize(d *apd.Decimal) int {
	size := 4 + 2
	if d.IsZero() {
		return size
	}
	digits := d.Coeff.String()
	exp := int(d.Exponent)
	for strings.HasSuffix(digits, "0") {
		digits = digits[:len(digits)-1]
		exp++
	}
	last := floorDivInt(exp, 4)
	first := floorDivInt(exp+len(digits)-1, 4)
	if scale := max(0, -int(d.Exponent)); scale > 63 || first > 63 || first < -64 {
		size += 2
	}
	return size + 2*(first-last+1)
}

func floorDivInt(a, b int) int { return int(floorDiv(int64(a), int64(b))) }

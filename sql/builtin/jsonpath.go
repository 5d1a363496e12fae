package builtin

import (
	"math"
	"strings"
	"sync"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// pathResult is what evaluating a step found. pathFailed is an error that the caller asked to be silent.
type pathResult uint8

const (
	pathEmpty pathResult = iota
	pathFound
	pathFailed
)

// pathTruth is the value of a predicate.
type pathTruth uint8

const (
	pathFalse pathTruth = iota
	pathTrue
	pathUnknown
)

// pathItem is one SQL/JSON item: a JSON value or, while a path is evaluated, a date or time.
type pathItem struct {
	json *types.JSON
	date types.Datum // with its type, when json is nil
	typ  *types.T
	zone *int // seconds east that a zoned item was written with
	// base is the object that the item is a part of, for the ids of .keyvalue().
	base pathBase
}

// pathBase identifies a part of a document by where it would lie in PostgreSQL's binary form.
type pathBase struct {
	doc *types.JSON
	id  int64
}

// pathExec evaluates one path. Its methods return an error only when it shall reach the user.
type pathExec struct {
	ctx              *Ctx
	vars             *types.JSON
	root, current    pathItem
	lax              bool
	ignoreStructural bool // a structural error finds nothing instead of failing
	throw            bool
	tz               bool
	arraySize        int // of the innermost array, -1 outside subscripts
	generated        int64
	steps            int
}

// fail is an error that silent mode and predicates swallow.
func (x *pathExec) fail(code, format string, args ...any) (pathResult, error) {
	if x.throw {
		return pathFailed, pgerr.New(code, format, args...)
	}
	return pathFailed, nil
}

// structural is a mismatch between path and document, which lax mode forgives.
func (x *pathExec) structural(code, format string, args ...any) (pathResult, error) {
	if x.ignoreStructural {
		return pathEmpty, nil
	}
	return x.fail(code, format, args...)
}

// list collects items; a nil list asks only whether there are any.
type pathList struct{ items []pathItem }

func runPath(ctx *Ctx, target *types.JSON, p *types.PathExpr, vars *types.JSON, silent, tz bool, out *pathList) (pathResult, error) {
	if vars != nil && vars.Kind != types.JSONObject {
		return pathFailed, pgerr.New(pgerr.InvalidParameterValue, "\"vars\" argument is not an object").
			WithDetail("Jsonpath parameters should be encoded as key-value pairs of \"vars\" object.")
	}
	root := pathItem{json: target, base: pathBase{doc: target}}
	x := &pathExec{ctx: ctx, vars: vars, root: root, current: root, lax: !p.Strict, ignoreStructural: !p.Strict, throw: !silent, tz: tz,
		arraySize: -1, generated: 1}
	if vars != nil {
		x.generated = 2
	}
	if p.Strict && out == nil {
		// Strict mode must look at everything, to find errors.
		all := &pathList{}
		res, err := x.item(p.Root, root, all)
		if err != nil || res == pathFailed {
			return res, err
		}
		return found(len(all.items) > 0), nil
	}
	return x.item(p.Root, root, out)
}

func found(b bool) pathResult {
	if b {
		return pathFound
	}
	return pathEmpty
}

func (x *pathExec) item(n *types.PathNode, v pathItem, out *pathList) (pathResult, error) {
	return x.step(n, v, out, x.lax)
}

// next goes on with the step after n, or takes v as a result.
func (x *pathExec) next(n *types.PathNode, v pathItem, out *pathList) (pathResult, error) {
	if n.Next != nil {
		return x.item(n.Next, v, out)
	}
	if out != nil {
		out.items = append(out.items, v)
	}
	return pathFound, nil
}

func (v pathItem) is(k types.JSONKind) bool { return v.json != nil && v.json.Kind == k }

// part makes a child of v.
func (v pathItem) part(j *types.JSON) pathItem { return pathItem{json: j, base: v.base} }

// step evaluates n for v. unwrap says that an array stands for its elements where a step wants none.
func (x *pathExec) step(n *types.PathNode, v pathItem, out *pathList, unwrap bool) (pathResult, error) {
	// A path over a deep document can ask for very much work.
	if x.steps++; x.steps&1023 == 0 && x.ctx != nil && x.ctx.Context != nil {
		if err := x.ctx.Context.Err(); err != nil {
			return pathFailed, err
		}
	}
	isArray := v.is(types.JSONArray)
	switch n.Op {
	case types.PathOr, types.PathAnd, types.PathNot, types.PathIsUnknown, types.PathExists, types.PathEQ, types.PathNE, types.PathLT,
		types.PathGT, types.PathLE, types.PathGE, types.PathStartsWith, types.PathLikeRegex:
		t, err := x.truth(n, v)
		if err != nil {
			return pathFailed, err
		}
		r := types.JSONNullValue
		if t != pathUnknown {
			r = types.NewJSONBool(t == pathTrue)
		}
		return x.next(n, pathItem{json: r}, out)
	case types.PathKey:
		switch {
		case v.is(types.JSONObject):
			if c := v.json.Get(n.Str); c != nil {
				return x.next(n, v.part(c), out)
			}
			return x.structural(pgerr.SQLJSONMemberNotFound, "JSON object does not contain key \"%s\"", n.Str)
		case unwrap && isArray:
			return x.unwrapArray(n, v, out)
		}
		return x.structural(pgerr.SQLJSONMemberNotFound, "jsonpath member accessor can only be applied to an object")
	case types.PathRoot:
		return x.next(n, x.root, out)
	case types.PathCurrent:
		return x.next(n, x.current, out)
	case types.PathAnyArray:
		switch {
		case isArray:
			return x.each(n.Next, v, out, 1, 1, 1, false, x.lax)
		case x.lax:
			return x.next(n, v, out)
		}
		return x.structural(pgerr.SQLJSONArrayNotFound, "jsonpath wildcard array accessor can only be applied to an array")
	case types.PathIndex:
		return x.index(n, v, out)
	case types.PathLast:
		return x.next(n, pathItem{json: types.NewJSONNumber(types.NumericFromInt(int64(x.arraySize - 1)))}, out)
	case types.PathAnyKey:
		switch {
		case v.is(types.JSONObject):
			return x.each(n.Next, v, out, 1, 1, 1, false, x.lax)
		case unwrap && isArray:
			return x.unwrapArray(n, v, out)
		}
		return x.structural(pgerr.SQLJSONObjectNotFound, "jsonpath wildcard member accessor can only be applied to an object")
	case types.PathAny:
		return x.anyLevel(n, v, out)
	case types.PathFilter:
		if unwrap && isArray {
			return x.unwrapArray(n, v, out)
		}
		saved := x.current
		x.current = v
		t, err := x.truth(n.Left, v)
		x.current = saved
		if err != nil || t != pathTrue {
			return pathEmpty, err
		}
		return x.next(n, v, out)
	case types.PathAdd, types.PathSub, types.PathMul, types.PathDiv, types.PathMod:
		return x.binary(n, v, out)
	case types.PathPlus, types.PathMinus:
		return x.sign(n, v, out)
	case types.PathNull, types.PathBool, types.PathNumber, types.PathString:
		return x.next(n, pathItem{json: pathScalar(n)}, out)
	case types.PathVariable:
		d, err := x.variable(n.Str)
		if err != nil {
			return pathFailed, err
		}
		return x.next(n, d, out)
	case types.PathMethod:
		return x.method(n, v, out, unwrap)
	case types.PathDatetime:
		if unwrap && isArray {
			return x.unwrapArray(n, v, out)
		}
		return x.datetime(n, v, out)
	}
	panic("builtin: unknown jsonpath step")
}

func pathScalar(n *types.PathNode) *types.JSON {
	switch n.Op {
	case types.PathBool:
		return types.NewJSONBool(n.Bool)
	case types.PathNumber:
		return types.NewJSONNumber(n.Num)
	case types.PathString:
		return types.NewJSONString(n.Str)
	}
	return types.JSONNullValue
}

func (x *pathExec) variable(name string) (pathItem, error) {
	var v *types.JSON
	if x.vars != nil {
		v = x.vars.Get(name)
	}
	if v == nil {
		return pathItem{}, pgerr.New(pgerr.UndefinedObject, "could not find jsonpath variable \"%s\"", name)
	}
	return pathItem{json: v, base: pathBase{doc: x.vars, id: 1}}, nil
}

func (x *pathExec) unwrapArray(n *types.PathNode, v pathItem, out *pathList) (pathResult, error) {
	return x.each(n, v, out, 1, 1, 1, false, false)
}

// each applies n (nil: takes the value) to the parts of a container that lie first to last levels below it.
func (x *pathExec) each(n *types.PathNode, v pathItem, out *pathList, level, first, last uint32, lenient, unwrapNext bool) (pathResult, error) {
	res := pathEmpty
	if level > last {
		return res, nil
	}
	for _, c := range v.json.Vals {
		item := v.part(c)
		if level >= first || first == types.PathLastLevel && last == types.PathLastLevel && c.Kind < types.JSONArray {
			switch {
			case n != nil:
				saved := x.ignoreStructural
				if lenient {
					x.ignoreStructural = true
				}
				r, err := x.step(n, item, out, unwrapNext)
				x.ignoreStructural = saved
				res = r
				if err != nil || r == pathFailed || r == pathFound && out == nil {
					return r, err
				}
			case out != nil:
				out.items = append(out.items, item)
				res = pathFound
			default:
				return pathFound, nil
			}
		}
		if level < last && c.Kind >= types.JSONArray {
			r, err := x.each(n, item, out, level+1, first, last, lenient, unwrapNext)
			res = r
			if err != nil || r == pathFailed || r == pathFound && out == nil {
				return r, err
			}
		}
	}
	return res, nil
}

func (x *pathExec) anyLevel(n *types.PathNode, v pathItem, out *pathList) (pathResult, error) {
	res := pathEmpty
	if n.First == 0 {
		saved := x.ignoreStructural
		x.ignoreStructural = true
		r, err := x.next(n, v, out)
		x.ignoreStructural = saved
		res = r
		if err != nil || r == pathFailed || r == pathFound && out == nil {
			return r, err
		}
	}
	if v.json != nil && v.json.Kind >= types.JSONArray {
		return x.each(n.Next, v, out, 1, n.First, n.Last, true, x.lax)
	}
	return res, nil
}

func (x *pathExec) index(n *types.PathNode, v pathItem, out *pathList) (pathResult, error) {
	isArray := v.is(types.JSONArray)
	if !isArray && !x.lax {
		return x.structural(pgerr.SQLJSONArrayNotFound, "jsonpath array accessor can only be applied to an array")
	}
	saved := x.arraySize
	defer func() { x.arraySize = saved }()
	size := 1
	if isArray {
		size = len(v.json.Vals)
	}
	x.arraySize = size
	res := pathEmpty
	for _, s := range n.Subscripts {
		from, r, err := x.subscript(s.From, v)
		if err != nil || r == pathFailed {
			return r, err
		}
		to := from
		if s.To != nil {
			if to, r, err = x.subscript(s.To, v); err != nil || r == pathFailed {
				return r, err
			}
		}
		if !x.ignoreStructural && (from < 0 || from > to || to >= size) {
			return x.fail(pgerr.InvalidSQLJSONSubscript, "jsonpath array subscript is out of bounds")
		}
		for i := max(from, 0); i <= min(to, size-1); i++ {
			item := v
			if isArray {
				item = v.part(v.json.Vals[i])
			}
			if n.Next == nil && out == nil {
				return pathFound, nil
			}
			r, err := x.next(n, item, out)
			res = r
			if err != nil || r == pathFailed || r == pathFound && out == nil {
				return r, err
			}
		}
	}
	return res, nil
}

func (x *pathExec) subscript(n *types.PathNode, v pathItem) (int, pathResult, error) {
	var l pathList
	if r, err := x.item(n, v, &l); err != nil || r == pathFailed {
		return 0, r, err
	}
	if len(l.items) != 1 || !l.items[0].is(types.JSONNumber) {
		r, err := x.fail(pgerr.InvalidSQLJSONSubscript, "jsonpath array subscript is not a single numeric value")
		return 0, r, err
	}
	i, ok := types.NumericToInt64(types.NumericTrunc(l.items[0].json.Num, 0))
	if !ok || i < math.MinInt32 || i > math.MaxInt32 {
		r, err := x.fail(pgerr.InvalidSQLJSONSubscript, "jsonpath array subscript is out of integer range")
		return 0, r, err
	}
	return int(i), pathFound, nil
}

// values evaluates n with arrays replaced by their elements, when unwrap is set in lax mode.
func (x *pathExec) values(n *types.PathNode, v pathItem, unwrap bool) ([]pathItem, pathResult, error) {
	var l pathList
	r, err := x.item(n, v, &l)
	if err != nil || r == pathFailed || !unwrap || !x.lax {
		return l.items, r, err
	}
	var flat []pathItem
	for _, it := range l.items {
		if it.is(types.JSONArray) {
			for _, c := range it.json.Vals {
				flat = append(flat, it.part(c))
			}
		} else {
			flat = append(flat, it)
		}
	}
	return flat, pathFound, nil
}

// quietly is values with errors swallowed.
func (x *pathExec) quietly(n *types.PathNode, v pathItem, unwrap bool) ([]pathItem, pathResult, error) {
	saved := x.throw
	x.throw = false
	defer func() { x.throw = saved }()
	return x.values(n, v, unwrap)
}

func (x *pathExec) truth(n *types.PathNode, v pathItem) (pathTruth, error) {
	switch n.Op {
	case types.PathAnd, types.PathOr:
		decided := pathFalse
		if n.Op == types.PathOr {
			decided = pathTrue
		}
		l, err := x.truth(n.Left, v)
		if err != nil || l == decided {
			return l, err
		}
		r, err := x.truth(n.Right, v)
		if err != nil || r == decided || l != pathUnknown {
			return r, err
		}
		return l, nil
	case types.PathNot:
		t, err := x.truth(n.Left, v)
		if t == pathUnknown || err != nil {
			return t, err
		}
		return pathTrue - t, nil
	case types.PathIsUnknown:
		t, err := x.truth(n.Left, v)
		if t == pathUnknown {
			return pathTrue, err
		}
		return pathFalse, err
	case types.PathExists:
		items, r, err := x.quietly(n.Left, v, false)
		switch {
		case err != nil || r == pathFailed:
			return pathUnknown, err
		case len(items) > 0:
			return pathTrue, nil
		}
		return pathFalse, nil
	case types.PathStartsWith:
		return x.predicate(n, v, false, func(a, b pathItem) (pathTruth, error) {
			if !a.is(types.JSONString) || !b.is(types.JSONString) {
				return pathUnknown, nil
			}
			return truthOf(strings.HasPrefix(a.json.Str, b.json.Str)), nil
		})
	case types.PathLikeRegex:
		re, err := compilePathRegex(n)
		if err != nil {
			return pathUnknown, err
		}
		return x.predicate(n, v, false, func(a, _ pathItem) (pathTruth, error) {
			if !a.is(types.JSONString) {
				return pathUnknown, nil
			}
			ok, err := re.MatchString(a.json.Str)
			return truthOf(ok), err
		})
	}
	return x.predicate(n, v, true, func(a, b pathItem) (pathTruth, error) { return x.compare(n.Op, a, b) })
}

func truthOf(b bool) pathTruth {
	if b {
		return pathTrue
	}
	return pathFalse
}

// predicate holds if it does for some pair of items of its operands. Lax mode stops at the first; strict
// mode looks at all pairs, and one that cannot be decided decides the whole.
func (x *pathExec) predicate(n *types.PathNode, v pathItem, unwrapRight bool, holds func(a, b pathItem) (pathTruth, error)) (pathTruth, error) {
	left, r, err := x.quietly(n.Left, v, true)
	if err != nil || r == pathFailed {
		return pathUnknown, err
	}
	right := []pathItem{{}}
	if n.Right != nil {
		if right, r, err = x.quietly(n.Right, v, unwrapRight); err != nil || r == pathFailed {
			return pathUnknown, err
		}
	}
	unknown, yes := false, false
	for _, a := range left {
		for _, b := range right {
			t, err := holds(a, b)
			if err != nil {
				return pathUnknown, err
			}
			switch t {
			case pathUnknown:
				if !x.lax {
					return pathUnknown, nil
				}
				unknown = true
			case pathTrue:
				if x.lax {
					return pathTrue, nil
				}
				yes = true
			}
		}
	}
	switch {
	case yes:
		return pathTrue, nil
	case unknown:
		return pathUnknown, nil
	}
	return pathFalse, nil
}

func (x *pathExec) compare(op types.PathOp, a, b pathItem) (pathTruth, error) {
	c := 0
	switch {
	case a.json == nil || b.json == nil:
		if a.json == nil && b.json == nil {
			r, ok, err := x.compareDates(a, b)
			if err != nil || !ok {
				return pathUnknown, err
			}
			c = r
			break
		}
		if a.is(types.JSONNull) || b.is(types.JSONNull) {
			return truthOf(op == types.PathNE), nil
		}
		return pathUnknown, nil
	case a.json.Kind != b.json.Kind:
		if a.json.Kind == types.JSONNull || b.json.Kind == types.JSONNull {
			return truthOf(op == types.PathNE), nil
		}
		return pathUnknown, nil
	case a.json.Kind >= types.JSONArray:
		return pathUnknown, nil
	default:
		c = types.CompareJSON(a.json, b.json)
	}
	switch op {
	case types.PathEQ:
		return truthOf(c == 0), nil
	case types.PathNE:
		return truthOf(c != 0), nil
	case types.PathLT:
		return truthOf(c < 0), nil
	case types.PathGT:
		return truthOf(c > 0), nil
	case types.PathLE:
		return truthOf(c <= 0), nil
	}
	return truthOf(c >= 0), nil
}

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
			return x.fail(pgerr.NonNumericSQLJSONItem, "operand of unary jsonpath operator %s is not a numeric value", n.Op)
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

// compilePathRegex compiles the pattern of a like_regex predicate with XQuery's flags.
func compilePathRegex(n *types.PathNode) (*regexMatcher, error) {
	f := regexFlags{icase: n.Flags&types.PathRegexIgnoreCase != 0}
	if n.Flags&types.PathRegexQuote != 0 {
		f.literal = true
	} else {
		f.newlineDot = n.Flags&types.PathRegexDotAll == 0
		f.newlineAnchors = n.Flags&types.PathRegexMultiline != 0
	}
	return compileRegex(n.Str, f)
}

// checkPathRegexes compiles what like_regex predicates hold, as reading a jsonpath does.
func checkPathRegexes(p *types.PathExpr) error {
	return p.Walk(func(n *types.PathNode) error {
		if n.Op != types.PathLikeRegex {
			return nil
		}
		_, err := compilePathRegex(n)
		return err
	})
}

// pathCache keeps the parsed form of the paths that a statement uses again and again.
var pathCache sync.Map

const maxCachedPath = 4096

func parsedPath(text string) (*types.PathExpr, error) {
	if p, ok := pathCache.Load(text); ok {
		return p.(*types.PathExpr), nil
	}
	p, err := types.ParsePath(text)
	if err == nil && len(text) <= maxCachedPath {
		pathCacheAdd(text, p)
	}
	return p, err
}

var pathCacheLen struct {
	sync.Mutex
	n int
}

func pathCacheAdd(text string, p *types.PathExpr) {
	pathCacheLen.Lock()
	defer pathCacheLen.Unlock()
	if pathCacheLen.n++; pathCacheLen.n > maxCachedRegexes {
		pathCache.Clear()
		pathCacheLen.n = 1
	}
	pathCache.Store(strings.Clone(text), p)
}

func registerJSONPath(l library) {
	run := func(ctx *Ctx, a []types.Datum, tz bool, out *pathList) (pathResult, error) {
		p, err := parsedPath(a[1].Str())
		if err != nil {
			return pathFailed, err
		}
		var vars *types.JSON
		silent := true
		if len(a) == 4 {
			vars, silent = a[2].JSON(), a[3].Bool()
		}
		return runPath(ctx, a[0].JSON(), p, vars, silent, tz, out)
	}
	for _, suffix := range []string{"", "_tz", "_opr"} {
		tz := suffix == "_tz"
		l.fn("jsonb_path_exists"+suffix, func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			r, err := run(ctx, a, tz, nil)
			if err != nil || r == pathFailed {
				return types.Null, err
			}
			return types.NewBool(r == pathFound), nil
		})
		l.fn("jsonb_path_match"+suffix, func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			var out pathList
			if _, err := run(ctx, a, tz, &out); err != nil {
				return types.Null, err
			}
			if len(out.items) == 1 {
				switch it := out.items[0]; {
				case it.is(types.JSONBool):
					return types.NewBool(it.json.Bool), nil
				case it.is(types.JSONNull):
					return types.Null, nil
				}
			}
			if len(a) == 4 && !a[3].Bool() {
				return types.Null, pgerr.New(pgerr.SingletonSQLJSONItemRequired, "single boolean result is expected")
			}
			return types.Null, nil
		})
		if suffix == "_opr" {
			continue
		}
		query := func(ctx *Ctx, a []types.Datum) ([]*types.JSON, error) {
			var out pathList
			// An error in silent mode leaves what was found before it.
			if _, err := run(ctx, a, tz, &out); err != nil {
				return nil, err
			}
			vals := make([]*types.JSON, len(out.items))
			for i, it := range out.items {
				vals[i] = it.value(ctx)
			}
			return vals, nil
		}
		l.rows("jsonb_path_query"+suffix, func(ctx *Ctx, a []types.Datum) (RowIter, error) {
			vals, err := query(ctx, a)
			if err != nil {
				return nil, err
			}
			out := make([]types.Datum, len(vals))
			for i, v := range vals {
				out[i] = types.NewJSON(v)
			}
			return columnList(out), nil
		})
		l.fn("jsonb_path_query_array"+suffix, func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			vals, err := query(ctx, a)
			if err != nil {
				return types.Null, err
			}
			return types.NewJSON(types.NewJSONArray(vals)), nil
		})
		l.fn("jsonb_path_query_first"+suffix, func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			vals, err := query(ctx, a)
			if err != nil || len(vals) == 0 {
				return types.Null, err
			}
			return types.NewJSON(vals[0]), nil
		})
	}
}

package builtin

import (
	"math"

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

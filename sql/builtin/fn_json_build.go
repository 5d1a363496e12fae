package builtin

import (
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func registerJSONBuild(l library) {
	toJSON := func(c *Call) (EvalFunc, error) {
		t, ret := c.Args[0], c.Ret
		return func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			b, err := ctx.appendJSONValue(nil, a[0], t, len(a) > 1 && a[1].Bool())
			if err != nil {
				return types.Null, err
			}
			return jsonResult(b, ret)
		}, nil
	}
	for _, n := range []string{"to_json", "to_jsonb", "array_to_json", "array_to_json_pretty", "row_to_json", "row_to_json_pretty"} {
		l.bound(n, toJSON)
	}
	buildArray := func(c *Call) (EvalFunc, error) {
		ts, ret, explicit := c.Args, c.Ret, c.VariadicCall
		return func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			vals, vts := ctx.variadic(a, ts, 0, explicit)
			if vals == nil && explicit {
				return types.Null, nil
			}
			buf := []byte{'['}
			for i, v := range vals {
				if i > 0 {
					buf = append(buf, ", "...)
				}
				var err error
				if buf, err = ctx.appendJSONValue(buf, v, vts[i], false); err != nil {
					return types.Null, err
				}
			}
			return jsonResult(append(buf, ']'), ret)
		}, nil
	}
	buildObject := func(c *Call) (EvalFunc, error) {
		ts, ret, explicit := c.Args, c.Ret, c.VariadicCall
		fn := c.Func.Name
		return func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			vals, vts := ctx.variadic(a, ts, 0, explicit)
			if vals == nil && explicit {
				return types.Null, nil
			}
			if len(vals)%2 != 0 {
				return types.Null, pgerr.New(pgerr.InvalidParameterValue, "argument list must have even number of elements").
					WithHint("The arguments of %s() must consist of alternating keys and values.", fn)
			}
			buf := []byte{'{'}
			for i := 0; i < len(vals); i += 2 {
				if i > 0 {
					buf = append(buf, ", "...)
				}
				arg := i + 1
				var err error
				if ret.Kind == types.KindJSON && vals[i].IsNull() {
					return types.Null, pgerr.New(pgerr.InvalidParameterValue, "argument %d: key must not be null", arg)
				}
				if buf, err = ctx.jsonKey(buf, vals[i], vts[i], arg); err != nil {
					return types.Null, err
				}
				buf = append(buf, " : "...)
				if buf, err = ctx.appendJSONValue(buf, vals[i+1], vts[i+1], false); err != nil {
					return types.Null, err
				}
			}
			return jsonResult(append(buf, '}'), ret)
		}, nil
	}
	for _, p := range []string{"json", "jsonb"} {
		l.bound(p+"_build_array", buildArray)
		l.bound(p+"_build_array_noargs", buildArray)
		l.bound(p+"_build_object", buildObject)
		l.bound(p+"_build_object_noargs", buildObject)
		l.bound(p+"_object", func(c *Call) (EvalFunc, error) {
			ret := c.Ret
			return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				arr := a[0].Array()
				bad := func(msg string) (types.Datum, error) {
					return types.Null, pgerr.New(pgerr.ArraySubscriptError, "%s", msg)
				}
				switch len(dimsOf(arr)) {
				case 0:
				case 1:
					if len(arr.Elems)%2 != 0 {
						return bad("array must have even number of elements")
					}
				case 2:
					if arr.Dims[1].Len != 2 {
						return bad("array must have two columns")
					}
				default:
					return bad("wrong number of array subscripts")
				}
				var keys, vals []types.Datum
				for i := 0; i < len(arr.Elems); i += 2 {
					keys, vals = append(keys, arr.Elems[i]), append(vals, arr.Elems[i+1])
				}
				return objectOf(keys, vals, ret)
			}, nil
		})
		l.bound(p+"_object_two_arg", func(c *Call) (EvalFunc, error) {
			ret := c.Ret
			return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				k, v := a[0].Array(), a[1].Array()
				if len(dimsOf(k)) > 1 || len(dimsOf(k)) != len(dimsOf(v)) {
					return types.Null, pgerr.New(pgerr.ArraySubscriptError, "wrong number of array subscripts")
				}
				if len(k.Elems) != len(v.Elems) {
					return types.Null, pgerr.New(pgerr.ArraySubscriptError, "mismatched array dimensions")
				}
				return objectOf(k.Elems, v.Elems, ret)
			}, nil
		})
	}
}

func objectOf(keys, vals []types.Datum, ret *types.T) (types.Datum, error) {
	buf := []byte{'{'}
	for i, k := range keys {
		if k.IsNull() {
			return types.Null, pgerr.New(pgerr.NullValueNotAllowed, "null value not allowed for object key")
		}
		if i > 0 {
			buf = append(buf, ", "...)
		}
		buf = append(types.AppendJSONString(buf, k.Str()), " : "...)
		if vals[i].IsNull() {
			buf = append(buf, "null"...)
		} else {
			buf = types.AppendJSONString(buf, vals[i].Str())
		}
	}
	return jsonResult(append(buf, '}'), ret)
}

// jsonAgg is json_agg, jsonb_agg and the object forms: text grows, jsonb is parsed at the end.
type jsonAgg struct {
	buf    []byte
	n      int
	object bool
	ret    *types.T
	args   []*types.T
}

func (g *jsonAgg) Add(ctx *Ctx, a []types.Datum) error {
	var err error
	if g.object {
		if g.n == 0 {
			g.buf = append(g.buf, "{ "...)
		} else {
			g.buf = append(g.buf, ", "...)
		}
		if a[0].IsNull() {
			return pgerr.New(pgerr.InvalidParameterValue, "field name must not be null")
		}
		if g.buf, err = ctx.jsonKey(g.buf, a[0], g.args[0], 0); err != nil {
			return err
		}
		g.buf = append(g.buf, " : "...)
		g.buf, err = ctx.appendJSONValue(g.buf, a[1], g.args[1], false)
	} else {
		if g.n == 0 {
			g.buf = append(g.buf, '[')
		} else {
			g.buf = append(g.buf, ", "...)
			if s := shapeOf(g.args[0]); g.ret.Kind != types.KindJSON && (s == shapeArray || s == shapeComposite) && !a[0].IsNull() {
				g.buf = append(g.buf, "\n "...)
			}
		}
		g.buf, err = ctx.appendJSONValue(g.buf, a[0], g.args[0], false)
	}
	g.n++
	if len(g.buf) > maxString {
		return errTooLong()
	}
	return err
}

func (g *jsonAgg) Result(*Ctx) (types.Datum, error) {
	if g.n == 0 {
		return types.Null, nil
	}
	end := "]"
	if g.object {
		end = " }"
	}
	return jsonResult(append(append([]byte(nil), g.buf...), end...), g.ret)
}

func registerJSONAgg(l library) {
	aggFor(l, "json_agg jsonb_agg json_object_agg jsonb_object_agg", func(c *Call) func() Accumulator {
		object := strings.Contains(c.Func.Name, "object")
		return func() Accumulator { return &jsonAgg{object: object, ret: c.Ret, args: c.Args} }
	})
}

package builtin

import (
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func badJSONCall(fn string, k types.JSONKind) error {
	return pgerr.New(pgerr.InvalidParameterValue, "cannot call %s on %s", fn, kindName(k, false))
}

// jsonb and json share most functions; each is written once over an access of its own kind.

func jsonOrNull(j *types.JSON) (types.Datum, error) {
	if j == nil {
		return types.Null, nil
	}
	return types.NewJSON(j), nil
}

func jsonText(j *types.JSON) (types.Datum, error) {
	switch {
	case j == nil || j.Kind == types.JSONNull:
		return types.Null, nil
	case j.Kind == types.JSONString:
		return types.NewString(j.Str), nil
	}
	return types.NewString(j.String()), nil
}

func rawOrNull(n *rawJSON, err error) (types.Datum, error) {
	if n == nil || err != nil {
		return types.Null, err
	}
	return types.NewString(n.text), nil
}

func rawText(n *rawJSON, err error) (types.Datum, error) {
	if n == nil || err != nil {
		return types.Null, err
	}
	s, ok, err := n.scalarText()
	if !ok || err != nil {
		return types.Null, err
	}
	return types.NewString(s), nil
}

// path walks keys and array subscripts; a NULL step finds nothing.
func jsonPathTexts(d types.Datum) ([]string, bool) {
	var out []string
	for _, e := range d.Array().Elems {
		if e.IsNull() {
			return nil, false
		}
		out = append(out, e.Str())
	}
	return out, true
}

func jsonbWalk(j *types.JSON, path []string) *types.JSON {
	for _, p := range path {
		switch {
		case j == nil:
			return nil
		case j.Kind == types.JSONObject:
			j = j.Get(p)
		case j.Kind == types.JSONArray:
			i, err := strconv.ParseInt(strings.TrimSpace(p), 10, 32)
			if err != nil {
				return nil
			}
			j = j.Index(int(i))
		default:
			return nil
		}
	}
	return j
}

func rawWalk(n *rawJSON, path []string) *rawJSON {
	for _, p := range path {
		switch {
		case n == nil:
			return nil
		case n.kind == types.JSONObject:
			n = n.get(p)
		case n.kind == types.JSONArray:
			i, err := strconv.ParseInt(strings.TrimSpace(p), 10, 32)
			if err != nil {
				return nil
			}
			n = n.index(i)
		default:
			return nil
		}
	}
	return n
}

// jsonbIndex is Index, to which a bare scalar is an array of one element.
func jsonbIndex(j *types.JSON, i int) *types.JSON {
	if j.Kind < types.JSONArray && (i == 0 || i == -1) {
		return j
	}
	return j.Index(i)
}

func registerJSON(l library) {
	jb := func(f func(j *types.JSON, a []types.Datum) (types.Datum, error)) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return f(a[0].JSON(), a) }
	}
	js := func(f func(n *rawJSON, a []types.Datum) (types.Datum, error)) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			n, err := parseRaw(a[0].Str())
			if err != nil {
				return types.Null, err
			}
			return f(n, a)
		}
	}
	l.fn("jsonb_object_field", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) { return jsonOrNull(j.Get(a[1].Str())) }))
	l.fn("jsonb_object_field_text", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) { return jsonText(j.Get(a[1].Str())) }))
	l.fn("jsonb_array_element", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		return jsonOrNull(jsonbIndex(j, int(a[1].Int())))
	}))
	l.fn("jsonb_array_element_text", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		return jsonText(jsonbIndex(j, int(a[1].Int())))
	}))
	l.fn("json_object_field", js(func(n *rawJSON, a []types.Datum) (types.Datum, error) { return rawOrNull(n.get(a[1].Str()), nil) }))
	l.fn("json_object_field_text", js(func(n *rawJSON, a []types.Datum) (types.Datum, error) { return rawText(n.get(a[1].Str()), nil) }))
	l.fn("json_array_element", js(func(n *rawJSON, a []types.Datum) (types.Datum, error) { return rawOrNull(n.index(a[1].Int()), nil) }))
	l.fn("json_array_element_text", js(func(n *rawJSON, a []types.Datum) (types.Datum, error) { return rawText(n.index(a[1].Int()), nil) }))
	l.fn("jsonb_extract_path", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		p, ok := jsonPathTexts(a[1])
		if !ok {
			return types.Null, nil
		}
		return jsonOrNull(jsonbWalk(j, p))
	}))
	l.fn("jsonb_extract_path_text", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		p, ok := jsonPathTexts(a[1])
		if !ok {
			return types.Null, nil
		}
		return jsonText(jsonbWalk(j, p))
	}))
	l.fn("json_extract_path", js(func(n *rawJSON, a []types.Datum) (types.Datum, error) {
		p, ok := jsonPathTexts(a[1])
		if !ok {
			return types.Null, nil
		}
		return rawOrNull(rawWalk(n, p), nil)
	}))
	l.fn("json_extract_path_text", js(func(n *rawJSON, a []types.Datum) (types.Datum, error) {
		p, ok := jsonPathTexts(a[1])
		if !ok {
			return types.Null, nil
		}
		return rawText(rawWalk(n, p), nil)
	}))
	typeName := func(k types.JSONKind) string {
		return [...]string{"null", "boolean", "number", "string", "array", "object"}[k]
	}
	l.fn("jsonb_typeof", jb(func(j *types.JSON, _ []types.Datum) (types.Datum, error) {
		return types.NewString(typeName(j.Kind)), nil
	}))
	l.fn("json_typeof", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewString(typeName(scanRaw(a[0].Str()).kind)), nil
	})
	arrayLength := func(k types.JSONKind, n int) (types.Datum, error) {
		switch k {
		case types.JSONArray:
			return types.NewInt(int64(n)), nil
		case types.JSONObject:
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "cannot get array length of a non-array")
		}
		return types.Null, pgerr.New(pgerr.InvalidParameterValue, "cannot get array length of a scalar")
	}
	l.fn("jsonb_array_length", jb(func(j *types.JSON, _ []types.Datum) (types.Datum, error) { return arrayLength(j.Kind, len(j.Vals)) }))
	l.fn("json_array_length", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		n := scanRaw(a[0].Str())
		return arrayLength(n.kind, len(n.vals))
	})
	l.fn("jsonb_exists", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		return types.NewBool(jsonbExists(j, a[1].Str())), nil
	}))
	l.fn("jsonb_exists_any", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		for _, e := range a[1].Array().Elems {
			if !e.IsNull() && jsonbExists(j, e.Str()) {
				return types.NewBool(true), nil
			}
		}
		return types.NewBool(false), nil
	}))
	l.fn("jsonb_exists_all", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		for _, e := range a[1].Array().Elems {
			if !e.IsNull() && !jsonbExists(j, e.Str()) {
				return types.NewBool(false), nil
			}
		}
		return types.NewBool(true), nil
	}))
	l.fn("jsonb_contains", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		return types.NewBool(jsonbContains(j, a[1].JSON(), true)), nil
	}))
	l.fn("jsonb_contained", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		return types.NewBool(jsonbContains(a[1].JSON(), j, true)), nil
	}))
	registerJSONEdit(l, jb)
	registerJSONBuild(l)
	registerJSONRows(l)
	registerJSONCasts(l, jb)
	registerJSONAgg(l)
	strip := func(n *rawJSON, _ []types.Datum) (types.Datum, error) {
		return types.NewStringFromBytes(stripNulls(nil, n)), nil
	}
	l.fn("json_strip_nulls", js(strip))
	l.fn("jsonb_strip_nulls", jb(func(j *types.JSON, _ []types.Datum) (types.Datum, error) {
		return types.NewJSON(stripJSONBNulls(j)), nil
	}))
	l.fn("jsonb_pretty", jb(func(j *types.JSON, _ []types.Datum) (types.Datum, error) {
		return types.NewStringFromBytes(prettyJSON(nil, j, 0)), nil
	}))
}

func jsonbExists(j *types.JSON, key string) bool {
	switch j.Kind {
	case types.JSONObject:
		return j.Get(key) != nil
	case types.JSONArray:
		for _, v := range j.Vals {
			if v.Kind == types.JSONString && v.Str == key {
				return true
			}
		}
	case types.JSONString:
		return j.Str == key
	}
	return false
}

// jsonbContains is @>. An array contains a bare scalar that it has as element, at the top level only.
func jsonbContains(a, b *types.JSON, top bool) bool {
	if a.Kind != b.Kind {
		if top && a.Kind == types.JSONArray && b.Kind < types.JSONArray {
			for _, v := range a.Vals {
				if v.Kind == b.Kind && types.CompareJSON(v, b) == 0 {
					return true
				}
			}
		}
		return false
	}
	switch a.Kind {
	case types.JSONObject:
		for i, k := range b.Keys {
			v := a.Get(k)
			if v == nil || !jsonbContains(v, b.Vals[i], false) {
				return false
			}
		}
		return true
	case types.JSONArray:
		for _, want := range b.Vals {
			found := false
			for _, v := range a.Vals {
				if v.Kind == want.Kind && jsonbContains(v, want, false) {
					found = true
					break
				}
			}
			if !found {
				return false
			}
		}
		return true
	}
	return types.CompareJSON(a, b) == 0
}

func registerJSONCasts(l library, jb func(func(*types.JSON, []types.Datum) (types.Datum, error)) EvalFunc) {
	wrong := func(j *types.JSON, t *types.T) error {
		kind := [...]string{"null", "boolean", "numeric", "string", "array", "object"}[j.Kind]
		return pgerr.New(pgerr.InvalidParameterValue, "cannot cast jsonb %s to type %s", kind, types.TypeName(t))
	}
	l.fn("jsonb_bool", jb(func(j *types.JSON, _ []types.Datum) (types.Datum, error) {
		if j.Kind != types.JSONBool {
			return types.Null, wrong(j, types.Bool)
		}
		return types.NewBool(j.Bool), nil
	}))
	for name, t := range map[string]*types.T{"jsonb_numeric": types.Numeric, "jsonb_int2": types.Int2, "jsonb_int4": types.Int4, "jsonb_int8": types.Int8, "jsonb_float4": types.Float4, "jsonb_float8": types.Float8} {
		l.fn(name, func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			j := a[0].JSON()
			if j.Kind != types.JSONNumber {
				return types.Null, wrong(j, t)
			}
			d := types.NewNumeric(j.Num)
			if t.OID == types.OIDNumeric {
				return d, nil
			}
			c, err := ResolveCast(types.Numeric, t, CastExplicit)
			if err != nil {
				return types.Null, err
			}
			return c.Eval(ctx, d)
		})
	}
}

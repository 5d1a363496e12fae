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
	l.fn("json_typeof", js(func(n *rawJSON, _ []types.Datum) (types.Datum, error) { return types.NewString(typeName(n.kind)), nil }))
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
	l.fn("json_array_length", js(func(n *rawJSON, _ []types.Datum) (types.Datum, error) { return arrayLength(n.kind, len(n.vals)) }))
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

func stripNulls(buf []byte, n *rawJSON) []byte {
	switch n.kind {
	case types.JSONObject:
		buf = append(buf, '{')
		first := true
		for i, v := range n.vals {
			if v.kind == types.JSONNull {
				continue
			}
			if !first {
				buf = append(buf, ',')
			}
			first = false
			buf = append(types.AppendJSONString(buf, n.keys[i]), ':')
			buf = stripNulls(buf, v)
		}
		return append(buf, '}')
	case types.JSONArray:
		buf = append(buf, '[')
		for i, v := range n.vals {
			if i > 0 {
				buf = append(buf, ',')
			}
			buf = stripNulls(buf, v)
		}
		return append(buf, ']')
	}
	return append(buf, n.text...)
}

func stripJSONBNulls(j *types.JSON) *types.JSON {
	if j.Kind < types.JSONArray {
		return j
	}
	out := &types.JSON{Kind: j.Kind}
	for i, v := range j.Vals {
		if j.Kind == types.JSONObject {
			if v.Kind == types.JSONNull {
				continue
			}
			out.Keys = append(out.Keys, j.Keys[i])
		}
		out.Vals = append(out.Vals, stripJSONBNulls(v))
	}
	return out
}

func prettyJSON(buf []byte, j *types.JSON, depth int) []byte {
	if j.Kind < types.JSONArray {
		return types.AppendJSON(buf, j)
	}
	open, end := byte('['), byte(']')
	if j.Kind == types.JSONObject {
		open, end = '{', '}'
	}
	newline := func(d int) {
		buf = append(buf, '\n')
		for range d {
			buf = append(buf, "    "...)
		}
	}
	buf = append(buf, open)
	for i, v := range j.Vals {
		if i > 0 {
			buf = append(buf, ',')
		}
		newline(depth + 1)
		if j.Kind == types.JSONObject {
			buf = append(types.AppendJSONString(buf, j.Keys[i]), ": "...)
		}
		buf = prettyJSON(buf, v, depth+1)
	}
	newline(depth)
	return append(buf, end)
}

// jsonbConcat is ||: objects merge, anything else is joined as arrays.
func jsonbConcat(a, b *types.JSON) *types.JSON {
	if a.Kind == types.JSONObject && b.Kind == types.JSONObject {
		return types.NewJSONObject(append(append([]string(nil), a.Keys...), b.Keys...), append(append([]*types.JSON(nil), a.Vals...), b.Vals...))
	}
	list := func(j *types.JSON) []*types.JSON {
		if j.Kind == types.JSONArray {
			return j.Vals
		}
		return []*types.JSON{j}
	}
	return types.NewJSONArray(append(append([]*types.JSON(nil), list(a)...), list(b)...))
}

// editMode is what jsonb_set and its relatives do at the end of their path.
type editMode struct {
	value         *types.JSON // nil deletes
	create        bool
	insert, after bool
}

// jsonbEdit returns j with the value at path changed.
func jsonbEdit(j *types.JSON, path []types.Datum, level int, m editMode) (*types.JSON, error) {
	last := level == len(path)-1
	if path[level].IsNull() {
		return nil, pgerr.New(pgerr.NullValueNotAllowed, "path element at position %d is null", level+1)
	}
	step := path[level].Str()
	switch j.Kind {
	case types.JSONObject:
		out := &types.JSON{Kind: types.JSONObject, Keys: append([]string(nil), j.Keys...), Vals: append([]*types.JSON(nil), j.Vals...)}
		for i, k := range out.Keys {
			if k != step {
				continue
			}
			switch {
			case !last:
				v, err := jsonbEdit(out.Vals[i], path, level+1, m)
				out.Vals[i] = v
				return out, err
			case m.value == nil:
				out.Keys = append(out.Keys[:i], out.Keys[i+1:]...)
				out.Vals = append(out.Vals[:i], out.Vals[i+1:]...)
			case m.insert:
				return nil, pgerr.New(pgerr.InvalidParameterValue, "cannot replace existing key").WithHint("Try using the function jsonb_set to replace key value.")
			default:
				out.Vals[i] = m.value
			}
			return out, nil
		}
		if last && m.value != nil && (m.create || m.insert) {
			return types.NewJSONObject(append(out.Keys, step), append(out.Vals, m.value)), nil
		}
		return j, nil
	case types.JSONArray:
		i, err := strconv.ParseInt(step, 10, 32)
		if err != nil {
			return nil, pgerr.New(pgerr.InvalidTextRepresentation, "path element at position %d is not an integer: \"%s\"", level+1, step)
		}
		n := int64(len(j.Vals))
		pos := i
		if pos < 0 {
			if pos = n + pos; pos < 0 {
				if m.value == nil || !last {
					return j, nil
				}
				pos = -1
			}
		}
		vals := append([]*types.JSON(nil), j.Vals...)
		if pos >= 0 && pos < n {
			switch {
			case !last:
				v, err := jsonbEdit(vals[pos], path, level+1, m)
				if err != nil {
					return nil, err
				}
				vals[pos] = v
			case m.value == nil:
				vals = append(vals[:pos], vals[pos+1:]...)
			case m.insert:
				at := pos
				if m.after {
					at++
				}
				vals = append(vals[:at], append([]*types.JSON{m.value}, vals[at:]...)...)
			default:
				vals[pos] = m.value
			}
			return types.NewJSONArray(vals), nil
		}
		if last && m.value != nil && (m.create || m.insert) {
			if pos < 0 {
				vals = append([]*types.JSON{m.value}, vals...)
			} else {
				vals = append(vals, m.value)
			}
			return types.NewJSONArray(vals), nil
		}
		return j, nil
	}
	return j, nil
}

func registerJSONEdit(l library, jb func(func(*types.JSON, []types.Datum) (types.Datum, error)) EvalFunc) {
	l.fn("jsonb_concat", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		return types.NewJSON(jsonbConcat(j, a[1].JSON())), nil
	}))
	deleteScalar := func(j *types.JSON) error {
		if j.Kind < types.JSONArray {
			return pgerr.New(pgerr.InvalidParameterValue, "cannot delete from scalar")
		}
		return nil
	}
	deleteKeys := func(j *types.JSON, drop func(string) bool) (types.Datum, error) {
		if err := deleteScalar(j); err != nil {
			return types.Null, err
		}
		out := &types.JSON{Kind: j.Kind}
		for i, v := range j.Vals {
			if j.Kind == types.JSONObject {
				if drop(j.Keys[i]) {
					continue
				}
				out.Keys = append(out.Keys, j.Keys[i])
			} else if v.Kind == types.JSONString && drop(v.Str) {
				continue
			}
			out.Vals = append(out.Vals, v)
		}
		return types.NewJSON(out), nil
	}
	l.fn("jsonb_delete", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		return deleteKeys(j, func(k string) bool { return k == a[1].Str() })
	}))
	l.fn("jsonb_delete_array", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		return deleteKeys(j, func(k string) bool {
			for _, e := range a[1].Array().Elems {
				if !e.IsNull() && e.Str() == k {
					return true
				}
			}
			return false
		})
	}))
	l.fn("jsonb_delete_idx", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		if err := deleteScalar(j); err != nil {
			return types.Null, err
		}
		if j.Kind == types.JSONObject {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "cannot delete from object using integer index")
		}
		r, err := jsonbEdit(j, []types.Datum{types.NewString(strconv.FormatInt(a[1].Int(), 10))}, 0, editMode{})
		if err != nil {
			return types.Null, err
		}
		return types.NewJSON(r), nil
	}))
	edit := func(j *types.JSON, path types.Datum, m editMode, verb string) (types.Datum, error) {
		arr := path.Array()
		if len(arr.Dims) > 1 {
			return types.Null, pgerr.New(pgerr.ArraySubscriptError, "wrong number of array subscripts")
		}
		if j.Kind < types.JSONArray {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "cannot %s in scalar", verb)
		}
		if len(j.Vals) == 0 && (m.value == nil || !m.create && !m.insert) {
			return types.NewJSON(j), nil
		}
		if len(arr.Elems) == 0 {
			return types.NewJSON(j), nil
		}
		r, err := jsonbEdit(j, arr.Elems, 0, m)
		if err != nil {
			return types.Null, err
		}
		return types.NewJSON(r), nil
	}
	l.fn("jsonb_delete_path", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		if j.Kind < types.JSONArray {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "cannot delete path in scalar")
		}
		return edit(j, a[1], editMode{}, "delete path")
	}))
	l.fn("jsonb_set", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		return edit(j, a[1], editMode{value: a[2].JSON(), create: a[3].Bool()}, "set path")
	}))
	l.fn("jsonb_insert", jb(func(j *types.JSON, a []types.Datum) (types.Datum, error) {
		return edit(j, a[1], editMode{value: a[2].JSON(), insert: true, after: a[3].Bool()}, "set path")
	}))
	l.fn("jsonb_set_lax", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[0].IsNull() || a[1].IsNull() || a[3].IsNull() {
			return types.Null, nil
		}
		if a[4].IsNull() {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"")
		}
		j := a[0].JSON()
		if !a[2].IsNull() {
			return edit(j, a[1], editMode{value: a[2].JSON(), create: a[3].Bool()}, "set path")
		}
		switch a[4].Str() {
		case "raise_exception":
			return types.Null, pgerr.New(pgerr.NullValueNotAllowed, "JSON value must not be null").
				WithDetail("Exception was raised because null_value_treatment is \"raise_exception\".").
				WithHint("To avoid, either change the null_value_treatment argument or ensure that an SQL NULL is not passed.")
		case "use_json_null":
			return edit(j, a[1], editMode{value: types.JSONNullValue, create: a[3].Bool()}, "set path")
		case "delete_key":
			return edit(j, a[1], editMode{}, "delete path")
		case "return_target":
			return a[0], nil
		}
		return types.Null, pgerr.New(pgerr.InvalidParameterValue, "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"")
	})
}

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

func registerJSONRows(l library) {
	node := func(a types.Datum) (*rawJSON, error) {
		if a.Kind() == types.KindJSON {
			return parseRaw(a.JSON().String())
		}
		return parseRaw(a.Str())
	}
	// value is a node as json, jsonb or text.
	value := func(n *rawJSON, t *types.T) (types.Datum, error) {
		switch {
		case t.Kind == types.KindJSON:
			return types.ParseText(n.text, t, nil)
		case t.OID == types.OIDText:
			return rawText(n, nil)
		}
		return types.NewString(n.text), nil
	}
	for _, p := range []string{"json", "jsonb"} {
		full := types.JSONText
		if p == "jsonb" {
			full = types.JSONB
		}
		for _, suffix := range []string{"", "_text"} {
			t := full
			if suffix != "" {
				t = types.Text
			}
			elements, each := p+"_array_elements"+suffix, p+"_each"+suffix
			l.rows(elements, func(_ *Ctx, a []types.Datum) (RowIter, error) {
				n, err := node(a[0])
				if err != nil {
					return nil, err
				}
				switch {
				case n.kind == types.JSONObject && p == "jsonb":
					return nil, pgerr.New(pgerr.InvalidParameterValue, "cannot extract elements from an object")
				case n.kind == types.JSONObject:
					return nil, pgerr.New(pgerr.InvalidParameterValue, "cannot call %s on a non-array", elements)
				case n.kind != types.JSONArray && p == "jsonb":
					return nil, pgerr.New(pgerr.InvalidParameterValue, "cannot extract elements from a scalar")
				case n.kind != types.JSONArray:
					return nil, pgerr.New(pgerr.InvalidParameterValue, "cannot call %s on a scalar", elements)
				}
				i := 0
				return columnOf(func() (types.Datum, bool, error) {
					if i >= len(n.vals) {
						return types.Null, false, nil
					}
					i++
					d, err := value(n.vals[i-1], t)
					return d, true, err
				}), nil
			})
			l.rows(each, func(_ *Ctx, a []types.Datum) (RowIter, error) {
				n, err := node(a[0])
				if err != nil {
					return nil, err
				}
				switch {
				case n.kind == types.JSONObject:
				case p == "jsonb":
					return nil, pgerr.New(pgerr.InvalidParameterValue, "cannot call %s on a non-object", each)
				case n.kind == types.JSONArray:
					return nil, pgerr.New(pgerr.InvalidParameterValue, "cannot deconstruct an array as an object")
				default:
					return nil, pgerr.New(pgerr.InvalidParameterValue, "cannot deconstruct a scalar")
				}
				var out [][]types.Datum
				for i, v := range n.vals {
					d, err := value(v, t)
					if err != nil {
						return nil, err
					}
					out = append(out, []types.Datum{types.NewString(n.keys[i]), d})
				}
				return &listIter{out}, nil
			})
		}
		keysName := p + "_object_keys"
		l.rows(keysName, func(_ *Ctx, a []types.Datum) (RowIter, error) {
			n, err := node(a[0])
			if err != nil {
				return nil, err
			}
			if n.kind != types.JSONObject {
				return nil, badJSONCall(keysName, n.kind)
			}
			var out []types.Datum
			for _, k := range n.keys {
				out = append(out, types.NewString(k))
			}
			return columnList(out), nil
		})
		// It returns one row, but like a set-returning function it makes sense only in FROM, where a column
		// definition list tells its row type.
		l.add(p+"_to_record", &impl{rowsOf: func(c *Call) (func(*Ctx, []types.Datum) (RowIter, error), error) {
			c.RetSet = true
			return func(ctx *Ctx, a []types.Datum) (RowIter, error) {
				n, err := node(a[0])
				if err != nil {
					return nil, err
				}
				if n.kind != types.JSONObject {
					return nil, badJSONCall(p+"_to_record", n.kind)
				}
				row, err := ctx.recordFromJSON(n, c.Columns, nil) // the binder sets Columns after this call was bound
				if err != nil {
					return nil, err
				}
				return &listIter{[][]types.Datum{row}}, nil
			}, nil
		}})
		set := func(name string, arg int) {
			l.add(name, &impl{rowsOf: func(c *Call) (func(*Ctx, []types.Datum) (RowIter, error), error) {
				if arg == 1 && len(c.Columns) == 0 {
					if t := c.Args[0].BaseType(); t.Def != nil {
						c.Columns = t.Def.Fields
					}
				}
				return func(ctx *Ctx, a []types.Datum) (RowIter, error) {
					fields := c.Columns
					if a[arg].IsNull() {
						return &listIter{}, nil
					}
					n, err := node(a[arg])
					if err != nil {
						return nil, err
					}
					if n.kind != types.JSONArray {
						return nil, badJSONCall(name, n.kind)
					}
					var defaults []types.Datum
					if arg == 1 && !a[0].IsNull() {
						tu := a[0].Tuple()
						defaults = tu.Elems
						if len(defaults) != len(fields) {
							return nil, rowMismatch().WithDetail("Returned row contains %d attributes, but query expects %d.", len(defaults), len(fields))
						}
						for i, f := range fields {
							if tu.Types[i].OID != f.Type.OID {
								return nil, rowMismatch().WithDetail("Returned type %s at ordinal position %d, but query expects %s.", types.TypeName(tu.Types[i]), i+1, types.TypeName(f.Type))
							}
						}
					}
					var out [][]types.Datum
					for _, v := range n.vals {
						if v.kind != types.JSONObject {
							return nil, pgerr.New(pgerr.InvalidParameterValue, "argument of %s must be an array of objects", name)
						}
						row, err := ctx.recordFromJSON(v, fields, defaults)
						if err != nil {
							return nil, err
						}
						out = append(out, row)
					}
					return &listIter{out}, nil
				}, nil
			}})
		}
		set(p+"_to_recordset", 0)
		set(p+"_populate_recordset", 1)
		l.bound(p+"_populate_record", func(c *Call) (EvalFunc, error) {
			t := c.Args[0].BaseType()
			fields := c.Columns
			if t.Def != nil {
				fields = t.Def.Fields
			}
			return func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
				if a[1].IsNull() {
					return a[0], nil
				}
				fs := fields
				var defaults []types.Datum
				if !a[0].IsNull() {
					tu := a[0].Tuple()
					defaults = tu.Elems
					if fs == nil {
						for i, ft := range tu.Types {
							fs = append(fs, types.Field{Name: fieldName(tu, t, i), Type: ft})
						}
					}
				}
				if fs == nil {
					return types.Null, pgerr.New(pgerr.DatatypeMismatch, "could not determine row type for result of %s", c.Func.Name)
				}
				n, err := node(a[1])
				if err != nil {
					return types.Null, err
				}
				if n.kind != types.JSONObject {
					return types.Null, badJSONCall(c.Func.Name, n.kind)
				}
				row, err := ctx.recordFromJSON(n, fs, defaults)
				if err != nil {
					return types.Null, err
				}
				return rowTuple(row, fs), nil
			}, nil
		})
	}
}

func rowMismatch() *pgerr.Error {
	return pgerr.New(pgerr.DatatypeMismatch, "function return row and query-specified return row do not match")
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

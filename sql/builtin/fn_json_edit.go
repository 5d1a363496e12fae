package builtin

import (
	"strconv"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

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

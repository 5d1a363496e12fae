package plan

import (
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// JSONSet is a jsonb value with the element at a path replaced, created where it is missing:
// SET column['a'][1] = value.
type JSONSet struct {
	Base  Expr
	Path  []Expr // text or int4
	Value Expr   // jsonb
}

func (e *JSONSet) Type() *types.T { return types.JSONB }

func (e *JSONSet) kids(f func(*Expr)) {
	f(&e.Base)
	kidSlice(e.Path, f)
	f(&e.Value)
}

func (e *JSONSet) copy() Expr {
	c := *e
	c.Path = slices.Clone(e.Path)
	return &c
}

func (e *JSONSet) Eval(c *EvalCtx) (types.Datum, error) {
	base, err := e.Base.Eval(c)
	if err != nil {
		return types.Null, err
	}
	path := make([]types.Datum, len(e.Path))
	for i, p := range e.Path {
		if path[i], err = p.Eval(c); err != nil {
			return types.Null, err
		}
		if path[i].IsNull() {
			return types.Null, pgerr.New(pgerr.NullValueNotAllowed, "jsonb subscript in assignment must not be null")
		}
	}
	v, err := e.Value.Eval(c)
	if err != nil {
		return types.Null, err
	}
	val := &types.JSON{Kind: types.JSONNull}
	if !v.IsNull() {
		val = v.JSON()
	}
	var root *types.JSON
	if !base.IsNull() {
		root = base.JSON()
	}
	out, err := setJSON(root, path, 0, val)
	if err != nil {
		return types.Null, err
	}
	return types.NewJSON(out), nil
}

// setJSON returns j with the element at path[at:] set; j is nil where nothing is there yet.
func setJSON(j *types.JSON, path []types.Datum, at int, val *types.JSON) (*types.JSON, error) {
	if at == len(path) {
		return val, nil
	}
	p := path[at]
	if j == nil {
		j = &types.JSON{Kind: types.JSONObject}
		if p.Kind() == types.KindInt {
			j.Kind = types.JSONArray
		}
	}
	switch j.Kind {
	case types.JSONObject:
		key := ""
		if p.Kind() == types.KindInt {
			key = strconv.FormatInt(p.Int(), 10)
		} else {
			key = p.Str()
		}
		i, found := slices.BinarySearchFunc(j.Keys, key, func(a, b string) int {
			if len(a) != len(b) {
				return len(a) - len(b)
			}
			return strings.Compare(a, b)
		})
		var old *types.JSON
		if found {
			old = j.Vals[i]
		}
		child, err := setJSON(old, path, at+1, val)
		if err != nil {
			return nil, err
		}
		out := &types.JSON{Kind: types.JSONObject, Keys: slices.Clone(j.Keys), Vals: slices.Clone(j.Vals)}
		if found {
			out.Vals[i] = child
		} else {
			out.Keys, out.Vals = slices.Insert(out.Keys, i, strings.Clone(key)), slices.Insert(out.Vals, i, child)
		}
		return out, nil
	case types.JSONArray:
		var i int64
		if p.Kind() == types.KindInt {
			i = p.Int()
		} else {
			n, err := strconv.ParseInt(strings.TrimSpace(p.Str()), 10, 32)
			if err != nil {
				return nil, pgerr.New(pgerr.InvalidTextRepresentation, "path element at position %d is not an integer: %q", at+1, p.Str())
			}
			i = n
		}
		n := int64(len(j.Vals))
		if i < 0 {
			if i += n; i < 0 {
				return nil, pgerr.New(pgerr.InvalidParameterValue, "path element at position %d is out of range: %d", at+1, i-n)
			}
		}
		if i > n && i-n > 1<<20 {
			return nil, pgerr.New(pgerr.ProgramLimitExceeded, "array size exceeds the maximum allowed")
		}
		out := &types.JSON{Kind: types.JSONArray, Vals: slices.Clone(j.Vals)}
		for int64(len(out.Vals)) <= i {
			out.Vals = append(out.Vals, nil)
		}
		child, err := setJSON(out.Vals[i], path, at+1, val)
		if err != nil {
			return nil, err
		}
		out.Vals[i] = child
		for k, v := range out.Vals {
			if v == nil {
				out.Vals[k] = &types.JSON{Kind: types.JSONNull}
			}
		}
		return out, nil
	}
	return nil, pgerr.New(pgerr.InvalidParameterValue, "cannot replace existing key").
		WithDetail("The path assumes key is a composite object, but it is a scalar value.")
}

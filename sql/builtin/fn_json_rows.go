package builtin

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

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
				var n *rawJSON
				if t.OID == types.OIDJSON {
					n = scanRaw(a[0].Str())
				} else {
					var err error
					if n, err = node(a[0]); err != nil {
						return nil, err
					}
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
					return nil, badJSONCall("populate_composite", n.kind)
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
					if arg == 1 && fields == nil && a[0].IsNull() {
						return nil, unknownRow(name)
					}
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
			return func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
				if a[1].IsNull() {
					return a[0], nil
				}
				if t.Kind != types.KindTuple && t.OID != types.OIDUnknown {
					return types.Null, pgerr.New(pgerr.DatatypeMismatch, "first argument of %s must be a row type", c.Func.Name)
				}
				fs := c.Columns // of a definition list, known after this call was bound
				if t.Def != nil {
					fs = t.Def.Fields
				}
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
					return types.Null, unknownRow(c.Func.Name)
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

func unknownRow(function string) error {
	return pgerr.Unsupported("could not determine row type for result of %s", function).
		WithHint("Provide a non-null record argument, or call the function in the FROM clause using a column definition list.")
}

func rowMismatch() *pgerr.Error {
	return pgerr.New(pgerr.DatatypeMismatch, "function return row and query-specified return row do not match")
}

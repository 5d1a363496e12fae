package builtin

import (
	"math"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// rawJSON is a node of json text: it keeps the text, the order of keys and repeated keys, as json does.
type rawJSON struct {
	kind types.JSONKind
	text string
	keys []string
	vals []*rawJSON
}

// parseRaw reads json text, which is valid unless it never went through input.
func parseRaw(text string) (*rawJSON, error) {
	if err := types.DecodableJSON(text); err != nil {
		return nil, err
	}
	return scanRaw(text), nil
}

// scanRaw reads json that went through input, whatever its escapes.
func scanRaw(text string) *rawJSON { return (&rawScanner{s: text}).value() }

type rawScanner struct {
	s string
	i int
}

func (r *rawScanner) space() {
	for r.i < len(r.s) && strings.IndexByte(" \t\n\r", r.s[r.i]) >= 0 {
		r.i++
	}
}

func (r *rawScanner) str() string {
	start := r.i
	r.i++
	for r.s[r.i] != '"' {
		if r.s[r.i] == '\\' {
			r.i++
		}
		r.i++
	}
	r.i++
	return r.s[start:r.i]
}

func (r *rawScanner) value() *rawJSON {
	r.space()
	start := r.i
	n := &rawJSON{}
	switch c := r.s[r.i]; c {
	case '{', '[':
		n.kind = types.JSONArray
		end := byte(']')
		if c == '{' {
			n.kind, end = types.JSONObject, '}'
		}
		r.i++
		for {
			r.space()
			if r.s[r.i] == end {
				r.i++
				break
			}
			if r.s[r.i] == ',' {
				r.i++
				continue
			}
			if c == '{' {
				n.keys = append(n.keys, unquoteJSON(r.str()))
				r.space()
				r.i++ // :
			}
			n.vals = append(n.vals, r.value())
		}
	case '"':
		n.kind = types.JSONString
		r.str()
	default:
		for r.i < len(r.s) && strings.IndexByte(" \t\n\r,]}", r.s[r.i]) < 0 {
			r.i++
		}
		switch c {
		case 'n':
			n.kind = types.JSONNull
		case 't', 'f':
			n.kind = types.JSONBool
		default:
			n.kind = types.JSONNumber
		}
	}
	n.text = r.s[start:r.i]
	return n
}

// unquoteJSON decodes a quoted string; a \u0000, which text cannot hold, stays as it is.
func unquoteJSON(q string) string {
	if strings.IndexByte(q, '\\') < 0 {
		return q[1 : len(q)-1]
	}
	j, err := types.ParseJSON(q)
	if err != nil {
		return q[1 : len(q)-1]
	}
	return j.Str
}

// scalarText is ->> of a node: the string itself, or the text of any other kind; false for null.
func (n *rawJSON) scalarText() (string, bool, error) {
	switch n.kind {
	case types.JSONNull:
		return "", false, nil
	case types.JSONString:
		j, err := types.ParseJSON(n.text)
		if err != nil {
			return "", false, err
		}
		return j.Str, true, nil
	}
	return n.text, true, nil
}

// get returns the last value of a key.
func (n *rawJSON) get(key string) *rawJSON {
	if n.kind != types.JSONObject {
		return nil
	}
	for i := len(n.keys) - 1; i >= 0; i-- {
		if n.keys[i] == key {
			return n.vals[i]
		}
	}
	return nil
}

func (n *rawJSON) index(i int64) *rawJSON {
	if n.kind != types.JSONArray {
		return nil
	}
	if i < 0 {
		i += int64(len(n.vals))
	}
	if i < 0 || i >= int64(len(n.vals)) {
		return nil
	}
	return n.vals[i]
}

// jsonShape says how a type becomes JSON.
type jsonShape uint8

const (
	shapeText jsonShape = iota
	shapeBool
	shapeNumber
	shapeDate
	shapeJSON
	shapeArray
	shapeComposite
)

func shapeOf(t *types.T) jsonShape {
	switch t = t.BaseType(); {
	case t.OID == types.OIDJSON || t.Kind == types.KindJSON:
		return shapeJSON
	case t.Kind == types.KindBool:
		return shapeBool
	case t.OID == types.OIDInt2 || t.OID == types.OIDInt4 || t.OID == types.OIDInt8 || t.Kind == types.KindFloat || t.Kind == types.KindNumeric:
		return shapeNumber
	case t.Kind == types.KindDate || t.Kind == types.KindTimestamp || t.Kind == types.KindTimestampTZ:
		return shapeDate
	case t.IsArray() || t.Kind == types.KindArray:
		return shapeArray
	case t.Kind == types.KindTuple:
		return shapeComposite
	}
	return shapeText
}

// isoSettings print dates as ISO 8601 whatever DateStyle says.
func (c *Ctx) isoSettings() *types.Settings {
	s := *c.settings()
	s.DateFormat = types.DateISO
	return &s
}

// appendJSONValue prints a value as to_json does; pretty puts line feeds between elements and fields.
func (c *Ctx) appendJSONValue(buf []byte, d types.Datum, t *types.T, pretty bool) ([]byte, error) {
	if d.IsNull() {
		return append(buf, "null"...), nil
	}
	sep := ","
	if pretty {
		sep = ",\n "
	}
	var err error
	switch shapeOf(t) {
	case shapeBool:
		if d.Bool() {
			return append(buf, "true"...), nil
		}
		return append(buf, "false"...), nil
	case shapeNumber:
		start := len(buf)
		buf = types.AppendText(buf, d, t, c.settings())
		if last := buf[len(buf)-1]; last < '0' || last > '9' || last == 'y' {
			s := string(buf[start:])
			buf = types.AppendJSONString(buf[:start], s)
		}
		return buf, nil
	case shapeDate:
		text := string(types.AppendText(nil, d, t, c.isoSettings()))
		if t.Kind != types.KindDate {
			text = strings.Replace(text, " ", "T", 1)
			if t.Kind == types.KindTimestampTZ && !types.IsInfinite(d.Int()) {
				text = fullZone(text)
			}
		}
		return types.AppendJSONString(buf, text), nil
	case shapeJSON:
		return types.AppendText(buf, d, t, c.settings()), nil
	case shapeArray:
		a := d.Array()
		if len(a.Elems) == 0 {
			return append(buf, "[]"...), nil
		}
		next := 0
		var level func(dim int) error
		level = func(dim int) error {
			buf = append(buf, '[')
			for i := range a.Dims[dim].Len {
				if i > 0 {
					if dim == 0 {
						buf = append(buf, sep...)
					} else {
						buf = append(buf, ',')
					}
				}
				if dim+1 < len(a.Dims) {
					if err := level(dim + 1); err != nil {
						return err
					}
					continue
				}
				if buf, err = c.appendJSONValue(buf, a.Elems[next], a.Elem, false); err != nil {
					return err
				}
				next++
			}
			buf = append(buf, ']')
			return nil
		}
		return buf, level(0)
	case shapeComposite:
		tu := d.Tuple()
		buf = append(buf, '{')
		for i, e := range tu.Elems {
			if i > 0 {
				buf = append(buf, sep...)
			}
			buf = append(types.AppendJSONString(buf, fieldName(tu, t, i)), ':')
			if buf, err = c.appendJSONValue(buf, e, tu.Types[i], false); err != nil {
				return nil, err
			}
		}
		return append(buf, '}'), nil
	}
	return types.AppendJSONString(buf, c.outText(d, t)), nil
}

func fieldName(tu *types.Tuple, t *types.T, i int) string {
	switch {
	case i < len(tu.Names) && tu.Names[i] != "":
		return tu.Names[i]
	case t.Def != nil && i < len(t.Def.Fields):
		return t.Def.Fields[i].Name
	}
	return "f" + formatUint(uint64(i+1), 10)
}

// fullZone writes an offset of whole hours with its minutes, as XML and JSON want it.
func fullZone(text string) string {
	bc := strings.HasSuffix(text, " BC")
	body := strings.TrimSuffix(text, " BC")
	if n := len(body); n > 3 && (body[n-3] == '+' || body[n-3] == '-') {
		body += ":00"
	}
	if bc {
		body += " BC"
	}
	return body
}

// jsonKey prints an object's key.
func (c *Ctx) jsonKey(buf []byte, d types.Datum, t *types.T, argument int) ([]byte, error) {
	if d.IsNull() {
		if argument > 0 {
			return nil, pgerr.New(pgerr.InvalidParameterValue, "argument %d cannot be null", argument).WithHint("Object keys should be text.")
		}
		return nil, pgerr.New(pgerr.InvalidParameterValue, "field name must not be null")
	}
	switch shapeOf(t) {
	case shapeJSON, shapeArray, shapeComposite:
		return nil, pgerr.New(pgerr.InvalidParameterValue, "key value must be scalar, not array, composite, or json")
	}
	s := c.outText(d, t)
	switch shapeOf(t) {
	case shapeBool:
		s = c.castText(d, t)
	case shapeDate:
		b, err := c.appendJSONValue(nil, d, t, false)
		if err != nil {
			return nil, err
		}
		s = string(b[1 : len(b)-1])
	}
	return types.AppendJSONString(buf, s), nil
}

// jsonResult is text as a datum of json or jsonb.
func jsonResult(buf []byte, t *types.T) (types.Datum, error) {
	if t.Kind != types.KindJSON {
		return types.NewStringFromBytes(buf), nil
	}
	j, err := types.ParseJSON(string(buf))
	if err != nil {
		return types.Null, err
	}
	return types.NewJSON(j), nil
}

// fromJSON converts a node to a value of type t, as json_populate_record does.
func (c *Ctx) fromJSON(n *rawJSON, t *types.T) (types.Datum, error) {
	if n == nil || n.kind == types.JSONNull {
		return types.Null, nil
	}
	base := t.BaseType()
	switch shapeOf(base) {
	case shapeJSON:
		return types.ParseText(n.text, base, c.settings())
	case shapeArray:
		if n.kind == types.JSONString {
			break
		}
		if n.kind != types.JSONArray {
			return types.Null, pgerr.New(pgerr.InvalidTextRepresentation, "expected JSON array")
		}
		out := &types.Array{Elem: base.Elem}
		if err := c.fillArray(n, base.Elem, out, 0); err != nil {
			return types.Null, err
		}
		if len(out.Elems) == 0 {
			out.Dims = nil
		}
		return types.NewArray(out), nil
	case shapeComposite:
		if n.kind == types.JSONString {
			break
		}
		if n.kind != types.JSONObject {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "cannot call %s on %s", "populate_composite", kindName(n.kind, false))
		}
		if base.Def == nil {
			return types.Null, pgerr.New(pgerr.DatatypeMismatch, "could not determine row type for result of populate_composite")
		}
		row, err := c.recordFromJSON(n, base.Def.Fields, nil)
		if err != nil {
			return types.Null, err
		}
		return rowTuple(row, base.Def.Fields), nil
	}
	text, _, err := n.scalarText()
	if err != nil {
		return types.Null, err
	}
	return types.ParseText(text, t, c.settings())
}

func rowTuple(row []types.Datum, fields []types.Field) types.Datum {
	tu := &types.Tuple{Elems: append([]types.Datum(nil), row...)}
	for _, f := range fields {
		tu.Types, tu.Names = append(tu.Types, f.Type), append(tu.Names, f.Name)
	}
	return types.NewTuple(tu)
}

func (c *Ctx) fillArray(n *rawJSON, elem *types.T, out *types.Array, depth int) error {
	if depth >= 6 || len(n.vals) > math.MaxInt32 {
		return errArraySize()
	}
	mismatch := func() error {
		return pgerr.New(pgerr.InvalidTextRepresentation, "malformed JSON array").
			WithDetail("Multidimensional arrays must have sub-arrays with matching dimensions.")
	}
	if len(out.Dims) == depth {
		if len(out.Elems) > 0 {
			return mismatch()
		}
		out.Dims = append(out.Dims, types.ArrayDim{Len: int32(len(n.vals)), Lower: 1})
	} else if int(out.Dims[depth].Len) != len(n.vals) {
		return mismatch()
	}
	nested := len(out.Dims) > depth+1
	for i, v := range n.vals {
		if v.kind == types.JSONArray && shapeOf(elem) != shapeJSON && (nested || i == 0) {
			nested = true
			if err := c.fillArray(v, elem, out, depth+1); err != nil {
				return err
			}
			continue
		}
		if nested {
			return pgerr.New(pgerr.InvalidTextRepresentation, "expected JSON array")
		}
		d, err := c.fromJSON(v, elem)
		if err != nil {
			return err
		}
		out.Elems = append(out.Elems, d)
	}
	return nil
}

// recordFromJSON fills a row of fields; a missing key keeps the default row's value.
func (c *Ctx) recordFromJSON(n *rawJSON, fields []types.Field, defaults []types.Datum) ([]types.Datum, error) {
	row := make([]types.Datum, len(fields))
	for i, f := range fields {
		v := n.get(f.Name)
		if v == nil {
			if defaults != nil {
				row[i] = defaults[i]
			}
			continue
		}
		var err error
		if row[i], err = c.fromJSON(v, f.Type); err != nil {
			return nil, err
		}
	}
	return row, nil
}

// kindName names a kind in messages: "a scalar", "an array".
func kindName(k types.JSONKind, bare bool) string {
	article, name := "a ", "scalar"
	switch k {
	case types.JSONArray:
		article, name = "an ", "array"
	case types.JSONObject:
		article, name = "an ", "object"
	}
	if bare {
		return name
	}
	return article + name
}

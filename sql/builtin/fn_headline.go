package builtin

import (
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/textsearch"
	"github.com/meridian-db/meridian/sql/types"
)

// registerHeadline adds what shows and changes texts and queries: headlines, rewriting, and the parser's tokens.
func registerHeadline(l library) {
	options := func(a []types.Datum) (*textsearch.Headline, error) {
		if len(a) < 3 {
			return textsearch.ParseHeadline("")
		}
		return textsearch.ParseHeadline(a[2].Str())
	}
	headline := func(make func(a types.Datum, f func(string) string) (types.Datum, error)) func(*Ctx, *textsearch.Config, []types.Datum) (types.Datum, error) {
		return func(_ *Ctx, c *textsearch.Config, a []types.Datum) (types.Datum, error) {
			h, err := options(a)
			if err != nil {
				return types.Null, err
			}
			q := types.TSQueryOf(a[1])
			return make(a[0], func(text string) string { return c.Headline(h, text, q) })
		}
	}
	texts := headline(func(a types.Datum, f func(string) string) (types.Datum, error) {
		return types.NewString(f(a.Str())), nil
	})
	binary := headline(func(a types.Datum, f func(string) string) (types.Datum, error) {
		return types.NewJSON(mapStrings(a.JSON(), f)), nil
	})
	raw := headline(func(a types.Datum, f func(string) string) (types.Datum, error) {
		n, err := parseRaw(a.Str())
		if err != nil {
			return types.Null, err
		}
		var b strings.Builder
		err = n.mapStrings(&b, f)
		return types.NewString(b.String()), err
	})
	for prefix, f := range map[string]func(*Ctx, *textsearch.Config, []types.Datum) (types.Datum, error){"ts_headline": texts, "ts_headline_jsonb": binary, "ts_headline_json": raw} {
		l.configured(prefix, f)
		l.fn(prefix+"_opt", l[prefix].eval)
		l.fn(prefix+"_byid_opt", l[prefix+"_byid"].eval)
	}
	l.fn("tsquery_rewrite", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewTSQueryDatum(textsearch.Rewrite(types.TSQueryOf(a[0]), types.TSQueryOf(a[1]), types.TSQueryOf(a[2]))), nil
	})
	l.configured("jsonb_to_tsvector", func(_ *Ctx, c *textsearch.Config, a []types.Datum) (types.Datum, error) {
		return jsonDocument(c, a[0].JSON(), a[1].JSON())
	})
	l.configured("json_to_tsvector", func(_ *Ctx, c *textsearch.Config, a []types.Datum) (types.Datum, error) {
		j, err := types.ParseJSON(a[0].Str())
		if err != nil {
			return types.Null, err
		}
		return jsonDocument(c, j, a[1].JSON())
	})
	tokens := func(text string) RowIter {
		var rows [][]types.Datum
		for t := range textsearch.Tokens(text) {
			rows = append(rows, []types.Datum{types.NewInt(int64(t.Kind)), types.NewString(t.Text)})
		}
		return &listIter{rows: rows}
	}
	l.rows("ts_parse_byid", func(_ *Ctx, a []types.Datum) (RowIter, error) {
		if a[0].Int() != textsearch.ParserOID {
			return nil, pgerr.New(pgerr.InternalError, "cache lookup failed for text search parser %d", uint32(a[0].Int()))
		}
		return tokens(a[1].Str()), nil
	})
	l.rows("ts_parse_byname", func(_ *Ctx, a []types.Datum) (RowIter, error) {
		if name := a[0].Str(); strings.TrimPrefix(name, "pg_catalog.") != "default" {
			return nil, pgerr.New(pgerr.UndefinedObject, "text search parser \"%s\" does not exist", name)
		}
		return tokens(a[1].Str()), nil
	})
}

// jsonDocument makes a document of those parts of a value that flags name: strings, numbers, booleans, keys.
func jsonDocument(c *textsearch.Config, j, flags *types.JSON) (types.Datum, error) {
	const hint = "Possible values are: \"string\", \"numeric\", \"boolean\", \"key\", and \"all\"."
	list := []*types.JSON{flags}
	switch flags.Kind {
	case types.JSONArray:
		list = flags.Vals
	case types.JSONObject:
		return types.Null, pgerr.New(pgerr.InvalidParameterValue, "wrong flag type, only arrays and scalars are allowed")
	}
	on := map[string]bool{}
	for _, f := range list {
		if f.Kind != types.JSONString {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "flag array element is not a string").WithHint(hint)
		}
		switch name := strings.ToLower(f.Str); name {
		case "string", "numeric", "boolean", "key":
			on[name] = true
		case "all":
			on["string"], on["numeric"], on["boolean"], on["key"] = true, true, true, true
		default:
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "wrong flag in flag array: \"%s\"", f.Str).WithHint(hint)
		}
	}
	var texts []string
	var walk func(j *types.JSON)
	walk = func(j *types.JSON) {
		switch {
		case j.Kind == types.JSONString && on["string"]:
			texts = append(texts, j.Str)
		case j.Kind == types.JSONNumber && on["numeric"], j.Kind == types.JSONBool && on["boolean"]:
			texts = append(texts, j.String())
		}
		for i, v := range j.Vals {
			if j.Kind == types.JSONObject && on["key"] {
				texts = append(texts, j.Keys[i])
			}
			walk(v)
		}
	}
	walk(j)
	d, err := c.Document(nil, texts...)
	if err != nil {
		return types.Null, err
	}
	return types.NewTSVectorDatum(d), nil
}

// mapStrings returns j with its strings changed, but for keys.
func mapStrings(j *types.JSON, f func(string) string) *types.JSON {
	switch j.Kind {
	case types.JSONString:
		return &types.JSON{Kind: j.Kind, Str: f(j.Str)}
	case types.JSONArray, types.JSONObject:
		c := *j
		c.Vals = make([]*types.JSON, len(j.Vals))
		for i, v := range j.Vals {
			c.Vals[i] = mapStrings(v, f)
		}
		return &c
	}
	return j
}

// mapStrings prints n with its strings changed, but for keys, and without blanks.
func (n *rawJSON) mapStrings(b *strings.Builder, f func(string) string) error {
	quote := func(s string) { b.Write(types.AppendJSON(nil, &types.JSON{Kind: types.JSONString, Str: s})) }
	switch n.kind {
	case types.JSONString:
		s, _, err := n.scalarText()
		quote(f(s))
		return err
	case types.JSONArray, types.JSONObject:
		open, end := "[", "]"
		if n.kind == types.JSONObject {
			open, end = "{", "}"
		}
		b.WriteString(open)
		for i, v := range n.vals {
			if i > 0 {
				b.WriteByte(',')
			}
			if n.kind == types.JSONObject {
				quote(n.keys[i])
				b.WriteByte(':')
			}
			if err := v.mapStrings(b, f); err != nil {
				return err
			}
		}
		b.WriteString(end)
		return nil
	}
	b.WriteString(n.text)
	return nil
}

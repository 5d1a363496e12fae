package builtin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/textsearch"
	"github.com/meridian-db/meridian/sql/types"
)

// textConfig returns the configuration with an OID.
func textConfig(d types.Datum) (*textsearch.Config, error) {
	if c := textsearch.ByOID(uint32(d.Int())); c != nil {
		return c, nil
	}
	return nil, pgerr.New(pgerr.UndefinedObject, "text search configuration with OID %d does not exist", uint32(d.Int()))
}

// currentTextConfig returns the configuration that default_text_search_config names.
func currentTextConfig(ctx *Ctx) (*textsearch.Config, error) {
	name, _ := ctx.session().Setting("default_text_search_config")
	if c := textsearch.ByName(strings.TrimPrefix(name, "pg_catalog.")); c != nil {
		return c, nil
	}
	return nil, pgerr.New(pgerr.UndefinedObject, "text search configuration \"%s\" does not exist", name)
}

func (c *Ctx) notice(code, text string) {
	if c != nil && c.Notice != nil {
		c.Notice("NOTICE", code, text)
	}
}

// configured registers a function for the configuration of its first argument, "_byid", and for the current one.
func (l library) configured(name string, f func(ctx *Ctx, c *textsearch.Config, a []types.Datum) (types.Datum, error)) {
	l.fn(name, func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
		c, err := currentTextConfig(ctx)
		if err != nil {
			return types.Null, err
		}
		return f(ctx, c, a)
	})
	l.fn(name+"_byid", func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
		c, err := textConfig(a[0])
		if err != nil {
			return types.Null, err
		}
		return f(ctx, c, a[1:])
	})
}

func registerTextSearch(l library) {
	tooLong := func(ctx *Ctx) func() {
		return func() {
			ctx.notice(pgerr.ProgramLimitExceeded, "word is too long to be indexed")
		}
	}
	document := func(ctx *Ctx, c *textsearch.Config, list ...string) (types.Datum, error) {
		d, err := c.Document(tooLong(ctx), list...)
		if err != nil {
			return types.Null, err
		}
		return types.NewTSVectorDatum(d), nil
	}
	l.configured("to_tsvector", func(ctx *Ctx, c *textsearch.Config, a []types.Datum) (types.Datum, error) {
		return document(ctx, c, a[0].Str())
	})
	l.configured("jsonb_string_to_tsvector", func(ctx *Ctx, c *textsearch.Config, a []types.Datum) (types.Datum, error) {
		return document(ctx, c, jsonStrings(nil, a[0].JSON())...)
	})
	l.configured("json_string_to_tsvector", func(ctx *Ctx, c *textsearch.Config, a []types.Datum) (types.Datum, error) {
		n, err := parseRaw(a[0].Str())
		if err != nil {
			return types.Null, err
		}
		list, err := rawStrings(nil, n)
		if err != nil {
			return types.Null, err
		}
		return document(ctx, c, list...)
	})
	query := func(ctx *Ctx, text string, q *types.TSTree, err error) (types.Datum, error) {
		switch {
		case err != nil:
			return types.Null, err
		case strings.TrimSpace(text) == "":
			ctx.notice("00000", fmt.Sprintf("text-search query doesn't contain lexemes: \"%s\"", text))
		case q == nil:
			ctx.notice("00000", "text-search query contains only stop words or doesn't contain lexemes, ignored")
		}
		return types.NewTSQueryDatum(q), nil
	}
	l.configured("to_tsquery", func(ctx *Ctx, c *textsearch.Config, a []types.Datum) (types.Datum, error) {
		q, err := c.Query(a[0].Str(), tooLong(ctx))
		return query(ctx, a[0].Str(), q, err)
	})
	l.configured("plainto_tsquery", func(ctx *Ctx, c *textsearch.Config, a []types.Datum) (types.Datum, error) {
		q, err := c.Plain(a[0].Str(), types.TSAnd, tooLong(ctx))
		return query(ctx, a[0].Str(), q, err)
	})
	l.configured("phraseto_tsquery", func(ctx *Ctx, c *textsearch.Config, a []types.Datum) (types.Datum, error) {
		q, err := c.Plain(a[0].Str(), types.TSPhrase, tooLong(ctx))
		return query(ctx, a[0].Str(), q, err)
	})
	l.configured("websearch_to_tsquery", func(ctx *Ctx, c *textsearch.Config, a []types.Datum) (types.Datum, error) {
		q, err := c.Web(a[0].Str(), tooLong(ctx))
		return query(ctx, a[0].Str(), q, err)
	})
	l.fn("get_current_ts_config", func(ctx *Ctx, _ []types.Datum) (types.Datum, error) {
		c, err := currentTextConfig(ctx)
		if err != nil {
			return types.Null, err
		}
		return types.NewInt(int64(c.OID)), nil
	})
	l.rows("ts_token_type_byid", func(_ *Ctx, a []types.Datum) (RowIter, error) {
		if a[0].Int() != textsearch.ParserOID {
			return nil, pgerr.New(pgerr.InternalError, "cache lookup failed for text search parser %d", uint32(a[0].Int()))
		}
		return &tokenKinds{textsearch.Kinds}, nil
	})
	l.rows("ts_token_type_byname", func(_ *Ctx, a []types.Datum) (RowIter, error) {
		if name := a[0].Str(); strings.TrimPrefix(name, "pg_catalog.") != "default" {
			return nil, pgerr.New(pgerr.UndefinedObject, "text search parser \"%s\" does not exist", name)
		}
		return &tokenKinds{textsearch.Kinds}, nil
	})
	registerLexize(l)
	registerTextStatements(l)
	registerTextMatch(l)
	registerTextQuery(l)
	registerTextVector(l)
}

// jsonStrings collects the strings among the values of j, in PostgreSQL's order.
func jsonStrings(out []string, j *types.JSON) []string {
	if j.Kind == types.JSONString {
		return append(out, j.Str)
	}
	for _, v := range j.Vals {
		out = jsonStrings(out, v)
	}
	return out
}

func rawStrings(out []string, n *rawJSON) ([]string, error) {
	if n.kind == types.JSONString {
		s, _, err := n.scalarText()
		return append(out, s), err
	}
	var err error
	for _, v := range n.vals {
		if out, err = rawStrings(out, v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func registerTextMatch(l library) {
	l.fn("ts_match_vq", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewBool(textsearch.Match(types.TSVectorOf(a[0]), types.TSQueryOf(a[1]))), nil
	})
	l.fn("ts_match_qv", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewBool(textsearch.Match(types.TSVectorOf(a[1]), types.TSQueryOf(a[0]))), nil
	})
	match := func(plain bool) EvalFunc {
		return func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			c, err := currentTextConfig(ctx)
			if err != nil {
				return types.Null, err
			}
			d, err := c.Document(nil, a[0].Str())
			if err != nil {
				return types.Null, err
			}
			if !plain {
				return types.NewBool(textsearch.Match(d, types.TSQueryOf(a[1]))), nil
			}
			q, err := c.Plain(a[1].Str(), types.TSAnd, nil)
			return types.NewBool(textsearch.Match(d, q)), err
		}
	}
	l.fn("ts_match_tt", match(true))
	l.fn("ts_match_tq", match(false))
	for name, f := range map[string]func(textsearch.Weights, types.TSDocument, *types.TSTree, textsearch.Norm) float32{
		"ts_rank": textsearch.Rank, "ts_rankcd": textsearch.RankCover} {
		for suffix, shape := range map[string]struct{ weights, norm bool }{"tt": {}, "ttf": {norm: true}, "wtt": {weights: true}, "wttf": {true, true}} {
			l.fn(name+"_"+suffix, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				w := textsearch.DefaultWeights
				if shape.weights {
					var err error
					if w, err = rankWeights(a[0].Array()); err != nil {
						return types.Null, err
					}
					a = a[1:]
				}
				var norm textsearch.Norm
				if shape.norm {
					norm = textsearch.Norm(a[2].Int())
				}
				return types.NewFloat(float64(f(w, types.TSVectorOf(a[0]), types.TSQueryOf(a[1]), norm))), nil
			})
		}
	}
}

// rankWeights reads the weights of D, C, B and A; one below 0 stands for the usual one.
func rankWeights(a *types.Array) (textsearch.Weights, error) {
	w := textsearch.DefaultWeights
	switch {
	case len(a.Dims) > 1:
		return w, pgerr.New(pgerr.ArraySubscriptError, "array of weight must be one-dimensional")
	case len(a.Elems) < len(w):
		return w, pgerr.New(pgerr.ArraySubscriptError, "array of weight is too short")
	}
	for i := range w {
		if a.Elems[i].IsNull() {
			return w, pgerr.New(pgerr.NullValueNotAllowed, "array of weight must not contain nulls")
		}
		if v := float32(a.Elems[i].Float()); v >= 0 {
			w[i] = v
		}
		if w[i] > 1 {
			return w, pgerr.New(pgerr.InvalidParameterValue, "weight out of range")
		}
	}
	return w, nil
}

func registerTextQuery(l library) {
	join := func(op types.TSOp) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			x, y := types.TSQueryOf(a[0]), types.TSQueryOf(a[1])
			switch {
			case x == nil:
				return a[1], nil
			case y == nil:
				return a[0], nil
			}
			distance := 0
			if op == types.TSPhrase {
				distance = 1
				if len(a) > 2 {
					if distance = int(a[2].Int()); distance < 0 || distance > types.MaxTSPos+1 {
						return types.Null, pgerr.New(pgerr.InvalidParameterValue, "distance in phrase operator must be an integer value between zero and %d inclusive", types.MaxTSPos+1)
					}
				}
			}
			return types.NewTSQueryDatum(&types.TSTree{Op: op, Left: x, Right: y, Distance: distance}), nil
		}
	}
	l.fn("tsquery_and", join(types.TSAnd))
	l.fn("tsquery_or", join(types.TSOr))
	l.fn("tsquery_phrase", join(types.TSPhrase))
	l.fn("tsquery_phrase_distance", join(types.TSPhrase))
	l.fn("tsquery_not", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		q := types.TSQueryOf(a[0])
		if q == nil {
			return a[0], nil
		}
		return types.NewTSQueryDatum(&types.TSTree{Op: types.TSNot, Right: q}), nil
	})
	l.fn("tsquery_numnode", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewInt(int64(types.TSQueryOf(a[0]).Nodes())), nil
	})
	l.fn("tsquerytree", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		q := types.TSQueryOf(a[0])
		if q == nil {
			return types.NewString(""), nil
		}
		if q = textsearch.Indexable(q); q == nil {
			return types.NewString("T"), nil
		}
		return types.NewString(q.String()), nil
	})
	contains := func(x, y types.Datum) types.Datum {
		have := textsearch.Words(types.TSQueryOf(x))
		for _, w := range textsearch.Words(types.TSQueryOf(y)) {
			if !slices.ContainsFunc(have, func(h *types.TSTree) bool { return h.Word == w.Word }) {
				return types.NewBool(false)
			}
		}
		return types.NewBool(true)
	}
	l.fn("tsq_mcontains", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return contains(a[0], a[1]), nil })
	l.fn("tsq_mcontained", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return contains(a[1], a[0]), nil })
}

func registerTextVector(l library) {
	change := func(f func(d types.TSDocument, a []types.Datum) (types.TSDocument, error)) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			d, err := f(types.TSVectorOf(a[0]), a)
			if err != nil {
				return types.Null, err
			}
			return types.NewTSVectorDatum(d), nil
		}
	}
	lexemes := func(a *types.Array) ([]string, error) {
		var out []string
		for _, e := range a.Elems {
			switch {
			case e.IsNull():
				return nil, pgerr.New(pgerr.NullValueNotAllowed, "lexeme array may not contain nulls")
			case e.Str() == "":
				return nil, pgerr.New(pgerr.ZeroLengthCharacterString, "lexeme array may not contain empty strings")
			}
			out = append(out, e.Str())
		}
		return out, nil
	}
	l.fn("tsvector_length", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewInt(int64(len(types.TSVectorOf(a[0])))), nil
	})
	l.fn("tsvector_strip", change(func(d types.TSDocument, _ []types.Datum) (types.TSDocument, error) {
		for i := range d {
			d[i].Pos = nil
		}
		return d, nil
	}))
	weigh := func(d types.TSDocument, w int, only []string) types.TSDocument {
		for i := range d {
			if only == nil || slices.Contains(only, d[i].Word) {
				for j, p := range d[i].Pos {
					d[i].Pos[j] = types.NewTSPos(p.At(), w)
				}
			}
		}
		return d
	}
	l.fn("tsvector_setweight", change(func(d types.TSDocument, a []types.Datum) (types.TSDocument, error) {
		w, err := textWeight(a[1].Str(), pgerr.InternalError, "unrecognized weight: %d")
		return weigh(d, w, nil), err
	}))
	l.fn("tsvector_setweight_by_filter", change(func(d types.TSDocument, a []types.Datum) (types.TSDocument, error) {
		w, err := textWeight(a[1].Str(), pgerr.InternalError, "unrecognized weight: %d")
		if err != nil {
			return nil, err
		}
		only := []string{}
		for _, e := range a[2].Array().Elems {
			if e.IsNull() {
				return nil, pgerr.New(pgerr.NullValueNotAllowed, "lexeme array may not contain nulls")
			}
			only = append(only, e.Str())
		}
		return weigh(d, w, only), nil
	}))
	l.fn("tsvector_filter", change(func(d types.TSDocument, a []types.Datum) (types.TSDocument, error) {
		keep := 0
		for _, e := range a[1].Array().Elems {
			if e.IsNull() {
				return nil, pgerr.New(pgerr.NullValueNotAllowed, "weight array may not contain nulls")
			}
			w, err := textWeight(e.Str(), pgerr.InvalidParameterValue, "unrecognized weight: \"%c\"")
			if err != nil {
				return nil, err
			}
			keep |= 1 << w
		}
		out := d[:0]
		for _, x := range d {
			x.Pos = slices.DeleteFunc(x.Pos, func(p types.TSPos) bool { return keep&(1<<p.Weight()) == 0 })
			if len(x.Pos) > 0 {
				out = append(out, x)
			}
		}
		return out, nil
	}))
	without := func(d types.TSDocument, words []string) types.TSDocument {
		return slices.DeleteFunc(d, func(x types.Lexeme) bool { return slices.Contains(words, x.Word) })
	}
	l.fn("tsvector_delete_str", change(func(d types.TSDocument, a []types.Datum) (types.TSDocument, error) {
		return without(d, []string{a[1].Str()}), nil
	}))
	l.fn("tsvector_delete_arr", change(func(d types.TSDocument, a []types.Datum) (types.TSDocument, error) {
		words, err := lexemes(&types.Array{Elems: slices.DeleteFunc(slices.Clone(a[1].Array().Elems), func(e types.Datum) bool { return !e.IsNull() && e.Str() == "" })})
		return without(d, words), err
	}))
	l.fn("tsvector_concat", change(func(d types.TSDocument, a []types.Datum) (types.TSDocument, error) {
		last := 0
		for _, x := range d {
			for _, p := range x.Pos {
				last = max(last, p.At())
			}
		}
		words := slices.Clone(d)
		for _, x := range types.TSVectorOf(a[1]) {
			for j, p := range x.Pos {
				x.Pos[j] = types.NewTSPos(p.At()+last, p.Weight())
			}
			words = append(words, x)
		}
		return types.NewTSVector(words)
	}))
	l.fn("tsvector_to_array", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		var out []types.Datum
		for _, x := range types.TSVectorOf(a[0]) {
			out = append(out, types.NewString(x.Word))
		}
		return types.NewArrayOf(types.Text, out), nil
	})
	l.fn("array_to_tsvector", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		list, err := lexemes(a[0].Array())
		if err != nil {
			return types.Null, err
		}
		var words []types.Lexeme
		for _, w := range list {
			words = append(words, types.Lexeme{Word: w})
		}
		d, err := types.NewTSVector(words)
		if err != nil {
			return types.Null, err
		}
		return types.NewTSVectorDatum(d), nil
	})
	l.rows("tsvector_unnest", func(_ *Ctx, a []types.Datum) (RowIter, error) {
		return &unnestedTSVector{types.TSVectorOf(a[0])}, nil
	})
}

type unnestedTSVector struct{ rest types.TSDocument }

// Next implements RowIter.
func (u *unnestedTSVector) Next() ([]types.Datum, bool, error) {
	if len(u.rest) == 0 {
		return nil, false, nil
	}
	x := u.rest[0]
	u.rest = u.rest[1:]
	row := []types.Datum{types.NewString(x.Word), types.Null, types.Null}
	if len(x.Pos) > 0 {
		var at, weights []types.Datum
		for _, p := range x.Pos {
			at = append(at, types.NewInt(int64(p.At())))
			weights = append(weights, types.NewString("DCBA"[p.Weight():p.Weight()+1]))
		}
		row[1], row[2] = types.NewArrayOf(types.Int2, at), types.NewArrayOf(types.Text, weights)
	}
	return row, true, nil
}

type tokenKinds struct{ rest []textsearch.KindInfo }

// Next implements RowIter.
func (k *tokenKinds) Next() ([]types.Datum, bool, error) {
	if len(k.rest) == 0 {
		return nil, false, nil
	}
	x := k.rest[0]
	k.rest = k.rest[1:]
	return []types.Datum{types.NewInt(int64(x.Kind)), types.NewString(x.Alias), types.NewString(x.Description)}, true, nil
}

// textWeight reads a weight, a value of type "char".
func textWeight(s, code, message string) (int, error) {
	c := byte(0)
	if s != "" {
		c = s[0]
	}
	if w := strings.IndexByte("dcba", c|0x20); w >= 0 {
		return w, nil
	}
	return 0, pgerr.New(code, message, c)
}

package extension

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func init() {
	on := func(symbol string, f func(h types.Hstore, a []types.Datum) (types.Datum, error)) {
		eval(symbol, func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
			h, err := types.HstoreOf(a[0])
			if err != nil {
				return types.Null, err
			}
			return f(h, a)
		})
	}
	onTwo := func(symbol string, f func(a, b types.Hstore) types.Datum) {
		on(symbol, func(h types.Hstore, a []types.Datum) (types.Datum, error) {
			other, err := types.HstoreOf(a[1])
			if err != nil {
				return types.Null, err
			}
			return f(h, other), nil
		})
	}

	eval("hstore_from_text", func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
		if a[0].IsNull() {
			return types.Null, nil
		}
		return types.NewHstore([]types.HstorePair{hstorePair(a[0].Str(), a[1])}).Datum(), nil
	})
	eval("hstore_from_arrays", hstoreFromArrays)
	eval("hstore_from_array", hstoreFromArray)
	eval("hstore_from_record", hstoreFromRecord)

	on("hstore_fetchval", func(h types.Hstore, a []types.Datum) (types.Datum, error) {
		p, ok := h.Find(a[1].Str())
		return hstoreValue(p, ok), nil
	})
	on("hstore_slice_to_array", func(h types.Hstore, a []types.Datum) (types.Datum, error) {
		keys := a[1].Array()
		out := make([]types.Datum, len(keys.Elems))
		for i, k := range keys.Elems {
			if !k.IsNull() {
				p, ok := h.Find(k.Str())
				out[i] = hstoreValue(p, ok)
			}
		}
		return types.NewArray(&types.Array{Elem: types.Text, Dims: keys.Dims, Elems: out}), nil
	})
	on("hstore_slice_to_hstore", func(h types.Hstore, a []types.Datum) (types.Datum, error) {
		var out []types.HstorePair
		for key := range texts(a[1]) {
			if p, ok := h.Find(key); ok {
				out = append(out, p)
			}
		}
		return types.NewHstore(out).Datum(), nil
	})
	on("hstore_exists", func(h types.Hstore, a []types.Datum) (types.Datum, error) {
		_, ok := h.Find(a[1].Str())
		return types.NewBool(ok), nil
	})
	on("hstore_exists_any", func(h types.Hstore, a []types.Datum) (types.Datum, error) {
		for key := range texts(a[1]) {
			if _, ok := h.Find(key); ok {
				return types.NewBool(true), nil
			}
		}
		return types.NewBool(false), nil
	})
	on("hstore_exists_all", func(h types.Hstore, a []types.Datum) (types.Datum, error) {
		for key := range texts(a[1]) {
			if _, ok := h.Find(key); !ok {
				return types.NewBool(false), nil
			}
		}
		return types.NewBool(true), nil
	})
	on("hstore_defined", func(h types.Hstore, a []types.Datum) (types.Datum, error) {
		p, ok := h.Find(a[1].Str())
		return types.NewBool(ok && !p.Null), nil
	})

	without := func(h types.Hstore, drop func(p types.HstorePair) bool) types.Datum {
		return types.Hstore(slices.DeleteFunc(slices.Clone(h), drop)).Datum()
	}
	on("hstore_delete", func(h types.Hstore, a []types.Datum) (types.Datum, error) {
		return without(h, func(p types.HstorePair) bool { return p.Key == a[1].Str() }), nil
	})
	on("hstore_delete_array", func(h types.Hstore, a []types.Datum) (types.Datum, error) {
		keys := map[string]bool{}
		for key := range texts(a[1]) {
			keys[key] = true
		}
		return without(h, func(p types.HstorePair) bool { return keys[p.Key] }), nil
	})
	onTwo("hstore_delete_hstore", func(h, other types.Hstore) types.Datum {
		return without(h, func(p types.HstorePair) bool { q, ok := other.Find(p.Key); return ok && p == q })
	})
	onTwo("hstore_concat", func(h, other types.Hstore) types.Datum {
		return types.NewHstore(slices.Concat(other, h)).Datum() // of two pairs with one key the right one stays
	})
	contains := func(h, part types.Hstore) types.Datum {
		for _, p := range part {
			if q, ok := h.Find(p.Key); !ok || p != q {
				return types.NewBool(false)
			}
		}
		return types.NewBool(true)
	}
	onTwo("hstore_contains", contains)
	onTwo("hstore_contained", func(h, whole types.Hstore) types.Datum { return contains(whole, h) })

	list := func(symbol string, matrix bool, cells func(p types.HstorePair) []types.Datum) {
		on(symbol, func(h types.Hstore, _ []types.Datum) (types.Datum, error) {
			var out []types.Datum
			for _, p := range h {
				out = append(out, cells(p)...)
			}
			array := &types.Array{Elem: types.Text, Elems: out}
			switch {
			case len(h) == 0:
			case matrix:
				array.Dims = []types.ArrayDim{{Len: int32(len(h)), Lower: 1}, {Len: 2, Lower: 1}}
			default:
				array.Dims = []types.ArrayDim{{Len: int32(len(out)), Lower: 1}}
			}
			return types.NewArray(array), nil
		})
	}
	both := func(p types.HstorePair) []types.Datum {
		return []types.Datum{types.NewString(p.Key), hstoreValue(p, true)}
	}
	list("hstore_akeys", false, func(p types.HstorePair) []types.Datum { return []types.Datum{types.NewString(p.Key)} })
	list("hstore_avals", false, func(p types.HstorePair) []types.Datum { return []types.Datum{hstoreValue(p, true)} })
	list("hstore_to_array", false, both)
	list("hstore_to_matrix", true, both)

	rows := func(symbol string, cells func(p types.HstorePair) []types.Datum) {
		natives[symbol] = &builtin.Native{Rows: func(_ *builtin.Ctx, a []types.Datum) (builtin.RowIter, error) {
			if a[0].IsNull() {
				return builtin.ListRows(nil), nil
			}
			h, err := types.HstoreOf(a[0])
			if err != nil {
				return nil, err
			}
			out := make([][]types.Datum, len(h))
			for i, p := range h {
				out[i] = cells(p)
			}
			return builtin.ListRows(out), nil
		}}
	}
	rows("hstore_skeys", func(p types.HstorePair) []types.Datum { return both(p)[:1] })
	rows("hstore_svals", func(p types.HstorePair) []types.Datum { return both(p)[1:] })
	rows("hstore_each", both)

	on("hstore_to_json", func(h types.Hstore, _ []types.Datum) (types.Datum, error) { return hstoreJSON(h, false), nil })
	on("hstore_to_json_loose", func(h types.Hstore, _ []types.Datum) (types.Datum, error) { return hstoreJSON(h, true), nil })
	on("hstore_to_jsonb", func(h types.Hstore, _ []types.Datum) (types.Datum, error) {
		return types.ParseText(hstoreJSON(h, false).Str(), types.JSONB, nil)
	})
	on("hstore_to_jsonb_loose", func(h types.Hstore, _ []types.Datum) (types.Datum, error) {
		return types.ParseText(hstoreJSON(h, true).Str(), types.JSONB, nil)
	})
}

// hstorePair is a key with a value that may be NULL.
func hstorePair(key string, value types.Datum) types.HstorePair {
	if value.IsNull() {
		return types.HstorePair{Key: key, Null: true}
	}
	return types.HstorePair{Key: key, Value: value.Str()}
}

func hstoreValue(p types.HstorePair, ok bool) types.Datum {
	if !ok || p.Null {
		return types.Null
	}
	return types.NewString(p.Value)
}

// texts goes through the elements of an array that are not NULL.
func texts(d types.Datum) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, e := range d.Array().Elems {
			if !e.IsNull() && !yield(e.Str()) {
				return
			}
		}
	}
}

func errNullKey() error {
	return pgerr.New(pgerr.NullValueNotAllowed, "null value not allowed for hstore key")
}

// hstoreFromArrays is hstore(keys, values); without values they are NULL.
func hstoreFromArrays(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
	if a[0].IsNull() {
		return types.Null, nil
	}
	keys := a[0].Array()
	if len(keys.Dims) > 1 {
		return types.Null, pgerr.New(pgerr.ArraySubscriptError, "wrong number of array subscripts")
	}
	values := make([]types.Datum, len(keys.Elems))
	if !a[1].IsNull() {
		given := a[1].Array()
		if len(given.Dims) > 1 {
			return types.Null, pgerr.New(pgerr.ArraySubscriptError, "wrong number of array subscripts")
		}
		if !slices.Equal(given.Dims, keys.Dims) {
			return types.Null, pgerr.New(pgerr.ArraySubscriptError, "arrays must have same bounds")
		}
		values = given.Elems
	}
	out := make([]types.HstorePair, len(values))
	for i, k := range keys.Elems {
		if k.IsNull() {
			return types.Null, errNullKey()
		}
		out[i] = hstorePair(k.Str(), values[i])
	}
	return types.NewHstore(out).Datum(), nil
}

// hstoreFromArray is hstore(array): keys and values take turns, or each row of two columns is a pair.
func hstoreFromArray(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
	array := a[0].Array()
	switch {
	case len(array.Dims) > 2:
		return types.Null, pgerr.New(pgerr.ArraySubscriptError, "wrong number of array subscripts")
	case len(array.Dims) == 2 && array.Dims[1].Len != 2:
		return types.Null, pgerr.New(pgerr.ArraySubscriptError, "array must have two columns")
	case len(array.Elems)%2 != 0:
		return types.Null, pgerr.New(pgerr.ArraySubscriptError, "array must have even number of elements")
	}
	out := make([]types.HstorePair, len(array.Elems)/2)
	for i := range out {
		k := array.Elems[2*i]
		if k.IsNull() {
			return types.Null, errNullKey()
		}
		out[i] = hstorePair(k.Str(), array.Elems[2*i+1])
	}
	return types.NewHstore(out).Datum(), nil
}

// hstoreFromRecord is hstore(record): names of columns with the texts of their values.
func hstoreFromRecord(ctx *builtin.Ctx, a []types.Datum) (types.Datum, error) {
	if a[0].IsNull() {
		return types.Null, nil
	}
	t := a[0].Tuple()
	out := make([]types.HstorePair, len(t.Elems))
	for i, d := range t.Elems {
		name := "f" + strconv.Itoa(i+1)
		if i < len(t.Names) && t.Names[i] != "" {
			name = t.Names[i]
		}
		if out[i] = (types.HstorePair{Key: name, Null: true}); !d.IsNull() {
			out[i] = types.HstorePair{Key: name, Value: string(types.AppendText(nil, d, t.Types[i], ctx.Settings))}
		}
	}
	return types.NewHstore(out).Datum(), nil
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// hstoreJSON is the object of an hstore. When it is loose, what looks like a number or is t or f becomes that.
func hstoreJSON(h types.Hstore, loose bool) types.Datum {
	var b strings.Builder
	b.WriteByte('{')
	for i, p := range h {
		if i > 0 {
			b.WriteString(", ")
		}
		b.Write(types.AppendJSONString(nil, p.Key))
		b.WriteString(": ")
		switch {
		case p.Null:
			b.WriteString("null")
		case loose && p.Value == "t":
			b.WriteString("true")
		case loose && p.Value == "f":
			b.WriteString("false")
		case loose && jsonNumber.MatchString(p.Value):
			b.WriteString(p.Value)
		default:
			b.Write(types.AppendJSONString(nil, p.Value))
		}
	}
	b.WriteByte('}')
	return types.NewString(b.String())
}

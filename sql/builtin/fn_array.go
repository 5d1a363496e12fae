package builtin

import (
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

const maxArrayElems = 134217727

func errArraySize() error {
	return pgerr.New(pgerr.ProgramLimitExceeded, "array size exceeds the maximum allowed (%d)", maxArrayElems)
}

// dimsOf treats an array without elements as having no dimensions.
func dimsOf(a *types.Array) []types.ArrayDim {
	if len(a.Elems) == 0 {
		return nil
	}
	return a.Dims
}

// arrayCat concatenates arrays of one dimensionality, or an array with one of its elements' shape.
func arrayCat(x, y *types.Array) (*types.Array, error) {
	dx, dy := dimsOf(x), dimsOf(y)
	incompatible := func(detail string) error {
		return pgerr.New(pgerr.ArraySubscriptError, "cannot concatenate incompatible arrays").WithDetail("%s", detail)
	}
	switch {
	case len(dx) == 0:
		return y, nil
	case len(dy) == 0:
		return x, nil
	case len(x.Elems)+len(y.Elems) > maxArrayElems:
		return nil, errArraySize()
	}
	out := &types.Array{Elem: x.Elem, Elems: append(append(make([]types.Datum, 0, len(x.Elems)+len(y.Elems)), x.Elems...), y.Elems...)}
	same := func(a, b []types.ArrayDim) bool {
		for i := range a {
			if a[i] != b[i] {
				return false
			}
		}
		return true
	}
	const detail = "Arrays with differing dimensions are not compatible for concatenation."
	switch len(dx) - len(dy) {
	case 0:
		if !same(dx[1:], dy[1:]) {
			return nil, incompatible("Arrays with differing element dimensions are not compatible for concatenation.")
		}
		out.Dims = append([]types.ArrayDim(nil), dx...)
		out.Dims[0].Len += dy[0].Len
	case 1:
		if !same(dx[1:], dy) {
			return nil, incompatible(detail)
		}
		out.Dims = append([]types.ArrayDim(nil), dx...)
		out.Dims[0].Len++
	case -1:
		if !same(dy[1:], dx) {
			return nil, incompatible(detail)
		}
		out.Dims = append([]types.ArrayDim(nil), dy...)
		out.Dims[0].Len++
	default:
		return nil, incompatible("Arrays of " + strconv.Itoa(len(dx)) + " and " + strconv.Itoa(len(dy)) + " dimensions are not compatible for concatenation.")
	}
	return out, nil
}

// arrayPush appends or prepends one element; a NULL array counts as empty.
func arrayPush(elem *types.T, arr, v types.Datum, front bool) (types.Datum, error) {
	if arr.IsNull() || len(arr.Array().Elems) == 0 {
		return types.NewArrayOf(elem, []types.Datum{v}), nil
	}
	a := arr.Array()
	if len(a.Dims) != 1 {
		return types.Null, pgerr.New(pgerr.DataException, "argument must be empty or one-dimensional array")
	}
	out := &types.Array{Elem: a.Elem, Elems: make([]types.Datum, 0, len(a.Elems)+1), Dims: []types.ArrayDim{{Len: a.Dims[0].Len + 1, Lower: a.Dims[0].Lower}}}
	if front {
		out.Elems = append(append(out.Elems, v), a.Elems...)
	} else {
		out.Elems = append(append(out.Elems, a.Elems...), v)
	}
	return types.NewArray(out), nil
}

func contains(outer, inner *types.Array) bool {
	for _, e := range inner.Elems {
		if e.IsNull() {
			return false
		}
		found := false
		for _, o := range outer.Elems {
			if !o.IsNull() && types.Compare(outer.Elem, o, e) == 0 {
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

func overlaps(x, y *types.Array) bool {
	for _, a := range x.Elems {
		for _, b := range y.Elems {
			if !a.IsNull() && !b.IsNull() && types.Compare(x.Elem, a, b) == 0 {
				return true
			}
		}
	}
	return false
}

func registerArray(l library) {
	l.fn("array_cat", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		switch {
		case a[0].IsNull():
			return a[1], nil
		case a[1].IsNull():
			return a[0], nil
		}
		out, err := arrayCat(a[0].Array(), a[1].Array())
		if err != nil {
			return types.Null, err
		}
		return types.NewArray(out), nil
	})
	l.bound("array_append", func(c *Call) (EvalFunc, error) {
		elem := c.Args[1]
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return arrayPush(elem, a[0], a[1], false) }, nil
	})
	l.bound("array_prepend", func(c *Call) (EvalFunc, error) {
		elem := c.Args[0]
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return arrayPush(elem, a[1], a[0], true) }, nil
	})
	two := func(f func(x, y *types.Array) bool) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			return types.NewBool(f(a[0].Array(), a[1].Array())), nil
		}
	}
	l.fn("arrayoverlap", two(overlaps))
	l.fn("arraycontains", two(contains))
	l.fn("arraycontained", two(func(x, y *types.Array) bool { return contains(y, x) }))
	dim := func(f func(d types.ArrayDim) int64) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			dims, n := dimsOf(a[0].Array()), a[1].Int()
			if n < 1 || n > int64(len(dims)) {
				return types.Null, nil
			}
			return types.NewInt(f(dims[n-1])), nil
		}
	}
	l.fn("array_length", dim(func(d types.ArrayDim) int64 { return int64(d.Len) }))
	l.fn("array_lower", dim(func(d types.ArrayDim) int64 { return int64(d.Lower) }))
	l.fn("array_upper", dim(func(d types.ArrayDim) int64 { return int64(d.Lower) + int64(d.Len) - 1 }))
	l.fn("array_ndims", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if n := len(dimsOf(a[0].Array())); n > 0 {
			return types.NewInt(int64(n)), nil
		}
		return types.Null, nil
	})
	l.fn("array_dims", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		dims := dimsOf(a[0].Array())
		if len(dims) == 0 {
			return types.Null, nil
		}
		var b strings.Builder
		for _, d := range dims {
			b.WriteString("[" + strconv.Itoa(int(d.Lower)) + ":" + strconv.Itoa(int(d.Lower+d.Len-1)) + "]")
		}
		return types.NewString(b.String()), nil
	})
	l.fn("array_cardinality", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewInt(int64(len(a[0].Array().Elems))), nil
	})
	registerArraySearch(l)
	registerArrayText(l)
	fill := func(c *Call) (EvalFunc, error) {
		elem := c.Args[0]
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return arrayFill(elem, a) }, nil
	}
	l.bound("array_fill", fill)
	l.bound("array_fill_with_lower_bounds", fill)
	l.fn("trim_array", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		arr, n := a[0].Array(), a[1].Int()
		dims := dimsOf(arr)
		have := int64(0)
		if len(dims) > 0 {
			have = int64(dims[0].Len)
		}
		if n < 0 || n > have {
			return types.Null, pgerr.New(pgerr.ArrayElementError, "number of elements to trim must be between 0 and %d", have)
		}
		if n == have {
			return types.NewArrayOf(arr.Elem, nil), nil
		}
		per := int64(len(arr.Elems)) / have
		out := &types.Array{Elem: arr.Elem, Elems: arr.Elems[:(have-n)*per], Dims: append([]types.ArrayDim(nil), dims...)}
		out.Dims[0].Len -= int32(n)
		for i := range out.Dims {
			out.Dims[i].Lower = 1
		}
		return types.NewArray(out), nil
	})
	l.fn("width_bucket_array", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		arr := a[1].Array()
		if len(arr.Dims) > 1 {
			return types.Null, pgerr.New(pgerr.ArraySubscriptError, "thresholds must be one-dimensional array")
		}
		lo, hi := 0, len(arr.Elems)
		for _, e := range arr.Elems {
			if e.IsNull() {
				return types.Null, pgerr.New(pgerr.NullValueNotAllowed, "thresholds array must not contain NULLs")
			}
		}
		for lo < hi {
			if mid := (lo + hi) / 2; types.Compare(arr.Elem, a[0], arr.Elems[mid]) < 0 {
				hi = mid
			} else {
				lo = mid + 1
			}
		}
		return types.NewInt(int64(lo)), nil
	})
}

func arrayFill(elem *types.T, a []types.Datum) (types.Datum, error) {
	if a[1].IsNull() || len(a) > 2 && a[2].IsNull() {
		return types.Null, pgerr.New(pgerr.NullValueNotAllowed, "dimension array or low bound array cannot be null")
	}
	dims := a[1].Array()
	if len(dims.Dims) > 1 || len(dims.Dims) == 1 && dims.Dims[0].Lower != 1 {
		return types.Null, pgerr.New(pgerr.ArraySubscriptError, "wrong number of array subscripts").WithDetail("Dimension array must be one dimensional.")
	}
	if len(dims.Elems) > 6 {
		return types.Null, pgerr.New(pgerr.ProgramLimitExceeded, "number of dimensions (%d) exceeds the maximum allowed (%d)", len(dims.Elems), 6)
	}
	if len(a) > 2 && len(a[2].Array().Elems) != len(dims.Elems) {
		return types.Null, pgerr.New(pgerr.ArraySubscriptError, "wrong number of array subscripts").WithDetail("Low bound array has different size than dimensions array.")
	}
	out := &types.Array{Elem: elem}
	total := int64(1)
	for i, d := range dims.Elems {
		if d.IsNull() {
			return types.Null, pgerr.New(pgerr.NullValueNotAllowed, "dimension values cannot be null")
		}
		lower := int64(1)
		if len(a) > 2 {
			lb := a[2].Array()
			if lb.Elems[i].IsNull() {
				return types.Null, pgerr.New(pgerr.NullValueNotAllowed, "dimension values cannot be null")
			}
			lower = lb.Elems[i].Int()
		}
		if d.Int() < 0 {
			return types.Null, errArraySize()
		}
		if total *= d.Int(); total > maxArrayElems {
			return types.Null, errArraySize()
		}
		out.Dims = append(out.Dims, types.ArrayDim{Len: int32(d.Int()), Lower: int32(lower)})
	}
	if len(dims.Elems) == 0 || total == 0 {
		return types.NewArrayOf(elem, nil), nil
	}
	if total > 1<<24 {
		return types.Null, errArraySize()
	}
	out.Elems = make([]types.Datum, total)
	for i := range out.Elems {
		out.Elems[i] = a[0]
	}
	return types.NewArray(out), nil
}

func registerArraySearch(l library) {
	oneDim := func(a *types.Array, what string) error {
		if len(a.Dims) > 1 {
			return pgerr.New(pgerr.FeatureNotSupported, "%s", what)
		}
		return nil
	}
	position := func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[0].IsNull() {
			return types.Null, nil
		}
		arr := a[0].Array()
		if err := oneDim(arr, "searching for elements in multidimensional arrays is not supported"); err != nil {
			return types.Null, err
		}
		lower, from := int64(1), int64(1)
		if len(arr.Dims) > 0 {
			lower = int64(arr.Dims[0].Lower)
			from = lower
		}
		if len(a) > 2 {
			if a[2].IsNull() {
				return types.Null, pgerr.New(pgerr.NullValueNotAllowed, "initial position must not be null")
			}
			from = a[2].Int()
		}
		for i, e := range arr.Elems {
			if p := lower + int64(i); p >= from && types.Compare(arr.Elem, e, a[1]) == 0 {
				return types.NewInt(p), nil
			}
		}
		return types.Null, nil
	}
	l.fn("array_position", position)
	l.fn("array_position_start", position)
	l.fn("array_positions", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[0].IsNull() {
			return types.Null, nil
		}
		arr := a[0].Array()
		if err := oneDim(arr, "searching for elements in multidimensional arrays is not supported"); err != nil {
			return types.Null, err
		}
		var out []types.Datum
		for i, e := range arr.Elems {
			if types.Compare(arr.Elem, e, a[1]) == 0 {
				out = append(out, types.NewInt(int64(arr.Dims[0].Lower)+int64(i)))
			}
		}
		return types.NewArrayOf(types.Int4, out), nil
	})
	l.fn("array_remove", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[0].IsNull() {
			return types.Null, nil
		}
		arr := a[0].Array()
		if err := oneDim(arr, "removing elements from multidimensional arrays is not supported"); err != nil {
			return types.Null, err
		}
		var out []types.Datum
		for _, e := range arr.Elems {
			if types.Compare(arr.Elem, e, a[1]) != 0 {
				out = append(out, e)
			}
		}
		if len(out) == len(arr.Elems) {
			return a[0], nil
		}
		r := &types.Array{Elem: arr.Elem, Elems: out}
		if len(out) > 0 {
			r.Dims = []types.ArrayDim{{Len: int32(len(out)), Lower: arr.Dims[0].Lower}}
		}
		return types.NewArray(r), nil
	})
	l.fn("array_replace", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[0].IsNull() {
			return types.Null, nil
		}
		arr := a[0].Array()
		out := &types.Array{Elem: arr.Elem, Dims: arr.Dims, Elems: make([]types.Datum, len(arr.Elems))}
		for i, e := range arr.Elems {
			if types.Compare(arr.Elem, e, a[1]) == 0 {
				e = a[2]
			}
			out.Elems[i] = e
		}
		return types.NewArray(out), nil
	})
}

func registerArrayText(l library) {
	toText := func(c *Ctx, a []types.Datum) (types.Datum, error) {
		if a[0].IsNull() || a[1].IsNull() {
			return types.Null, nil
		}
		arr := a[0].Array()
		var b strings.Builder
		first := true
		for _, e := range arr.Elems {
			s := ""
			switch {
			case !e.IsNull():
				s = c.outText(e, arr.Elem)
			case len(a) > 2 && !a[2].IsNull():
				s = a[2].Str()
			default:
				continue
			}
			if !first {
				b.WriteString(a[1].Str())
			}
			first = false
			b.WriteString(s)
		}
		return types.NewString(b.String()), nil
	}
	l.fn("array_to_text", toText)
	l.fn("array_to_text_null", toText)
}

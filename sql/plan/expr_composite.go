package plan

import (
	"strconv"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// ArrayCtor is ARRAY[...]; with Multi the elements are arrays that become one dimension more.
type ArrayCtor struct {
	Elems []Expr
	T     *types.T
	Multi bool
}

func (e *ArrayCtor) Type() *types.T { return e.T }
func (e *ArrayCtor) Eval(c *EvalCtx) (types.Datum, error) {
	a := &types.Array{Elem: e.T.Elem}
	if !e.Multi {
		if len(e.Elems) == 0 {
			return types.NewArray(a), nil
		}
		a.Elems = make([]types.Datum, len(e.Elems))
		for i, x := range e.Elems {
			d, err := x.Eval(c)
			if err != nil {
				return types.Null, err
			}
			a.Elems[i] = d
		}
		a.Dims = []types.ArrayDim{{Len: int32(len(e.Elems)), Lower: 1}}
		return types.NewArray(a), nil
	}
	for i, x := range e.Elems {
		d, err := x.Eval(c)
		if err != nil {
			return types.Null, err
		}
		var sub types.Array
		if !d.IsNull() {
			sub = *d.Array()
		}
		if i == 0 {
			if len(sub.Dims) > 0 {
				a.Dims = append([]types.ArrayDim{{Len: int32(len(e.Elems)), Lower: 1}}, sub.Dims...)
			}
		} else if !sameDims(a.Dims, sub.Dims) {
			return types.Null, pgerr.New(pgerr.ArraySubscriptError,
				"multidimensional arrays must have array expressions with matching dimensions")
		}
		a.Elems = append(a.Elems, sub.Elems...)
	}
	if len(a.Elems) == 0 {
		a.Dims = nil
	}
	return types.NewArray(a), nil
}
func sameDims(outer, sub []types.ArrayDim) bool {
	if len(outer) == 0 {
		return len(sub) == 0
	}
	if len(outer)-1 != len(sub) {
		return false
	}
	for i := range sub {
		if outer[i+1] != sub[i] {
			return false
		}
	}
	return true
}
func (e *ArrayCtor) kids(f func(*Expr)) { kidSlice(e.Elems, f) }
func (e *ArrayCtor) copy() Expr {
	c := *e
	c.Elems = append([]Expr(nil), e.Elems...)
	return &c
}

// Row is ROW(...), or the whole row of a relation.
type Row struct {
	Elems []Expr
	T     *types.T
	Names []string
	// Whole: a relation's row, which is NULL on the empty side of an outer join. That side has NULL in all
	// columns, as few other rows do.
	Whole bool
}

func (e *Row) Type() *types.T { return e.T }
func (e *Row) Eval(c *EvalCtx) (types.Datum, error) {
	t := &types.Tuple{Names: e.Names, Elems: make([]types.Datum, len(e.Elems)), Types: make([]*types.T, len(e.Elems))}
	null := true
	for i, x := range e.Elems {
		d, err := x.Eval(c)
		if err != nil {
			return types.Null, err
		}
		t.Elems[i], t.Types[i] = d, x.Type()
		null = null && d.IsNull()
	}
	if null && e.Whole && len(e.Elems) > 0 {
		return types.Null, nil
	}
	return types.NewTuple(t), nil
}
func (e *Row) kids(f func(*Expr)) { kidSlice(e.Elems, f) }
func (e *Row) copy() Expr {
	c := *e
	c.Elems = append([]Expr(nil), e.Elems...)
	return &c
}

// Field selects field N of a row value.
type Field struct {
	Arg  Expr
	N    int
	T    *types.T
	Name string
}

func (e *Field) Type() *types.T { return e.T }
func (e *Field) Eval(c *EvalCtx) (types.Datum, error) {
	d, err := e.Arg.Eval(c)
	if err != nil || d.IsNull() || d.Kind() != types.KindTuple {
		return types.Null, err
	}
	if t := d.Tuple(); e.N < len(t.Elems) {
		return t.Elems[e.N], nil
	}
	return types.Null, nil
}
func (e *Field) kids(f func(*Expr)) { f(&e.Arg) }
func (e *Field) copy() Expr         { c := *e; return &c }

// Subscript is arg[i][j] or a slice.
type Subscript struct {
	Arg    Expr
	Lower  []Expr // of slices; a nil element is an omitted bound
	Upper  []Expr
	Slice  bool
	T      *types.T
	isJSON bool
}

func (e *Subscript) Type() *types.T { return e.T }
func (e *Subscript) Eval(c *EvalCtx) (types.Datum, error) {
	d, err := e.Arg.Eval(c)
	if err != nil || d.IsNull() {
		return types.Null, err
	}
	var idx [6]int64
	if e.isJSON {
		return e.evalJSON(c, d)
	}
	a := d.Array()
	if e.Slice {
		return e.evalSlice(c, a)
	}
	for i, x := range e.Upper {
		v, err := x.Eval(c)
		if err != nil || v.IsNull() {
			return types.Null, err
		}
		idx[i] = v.Int()
	}
	if len(e.Upper) != len(a.Dims) {
		return types.Null, nil
	}
	pos := 0
	for i, dim := range a.Dims {
		k := idx[i] - int64(dim.Lower)
		if k < 0 || k >= int64(dim.Len) {
			return types.Null, nil
		}
		pos = pos*int(dim.Len) + int(k)
	}
	return a.Elems[pos], nil
}

func (e *Subscript) evalJSON(c *EvalCtx, d types.Datum) (types.Datum, error) {
	j := d.JSON()
	if j == nil {
		return types.Null, nil
	}
	for _, x := range e.Upper {
		v, err := x.Eval(c)
		if err != nil || v.IsNull() {
			return types.Null, err
		}
		var next *types.JSON
		switch {
		case j.Kind == types.JSONObject:
			name := ""
			if v.Kind() == types.KindInt {
				name = strconv.FormatInt(v.Int(), 10)
			} else {
				name = v.Str()
			}
			for i, k := range j.Keys {
				if k == name {
					next = j.Vals[i]
				}
			}
		case j.Kind == types.JSONArray:
			n := int64(-1 << 40)
			if v.Kind() == types.KindInt {
				n = v.Int()
			} else if k, err := strconv.ParseInt(v.Str(), 10, 32); err == nil {
				n = k
			}
			if n < 0 {
				n += int64(len(j.Vals))
			}
			if n >= 0 && n < int64(len(j.Vals)) {
				next = j.Vals[n]
			}
		}
		if next == nil {
			return types.Null, nil
		}
		j = next
	}
	return types.NewJSON(j), nil
}

func (e *Subscript) evalSlice(c *EvalCtx, a *types.Array) (types.Datum, error) {
	empty := types.NewArray(&types.Array{Elem: a.Elem})
	n := len(e.Upper)
	if len(a.Dims) < n || len(a.Dims) == 0 {
		return empty, nil
	}
	lo, hi := make([]int, len(a.Dims)), make([]int, len(a.Dims))
	for i, dim := range a.Dims {
		lo[i], hi[i] = 0, int(dim.Len)-1
		if i >= n {
			continue
		}
		for k, x := range []Expr{e.Lower[i], e.Upper[i]} {
			if x == nil {
				continue
			}
			v, err := x.Eval(c)
			if err != nil || v.IsNull() {
				return types.Null, err
			}
			p := int(v.Int() - int64(dim.Lower))
			if k == 0 {
				lo[i] = max(lo[i], p)
			} else {
				hi[i] = min(hi[i], p)
			}
		}
		if lo[i] > hi[i] {
			return empty, nil
		}
	}
	out := &types.Array{Elem: a.Elem}
	for i := range a.Dims {
		out.Dims = append(out.Dims, types.ArrayDim{Len: int32(hi[i] - lo[i] + 1), Lower: 1})
	}
	var rec func(dim, base int)
	rec = func(dim, base int) {
		if dim == len(a.Dims) {
			out.Elems = append(out.Elems, a.Elems[base])
			return
		}
		for k := lo[dim]; k <= hi[dim]; k++ {
			rec(dim+1, base*int(a.Dims[dim].Len)+k)
		}
	}
	rec(0, 0)
	return types.NewArray(out), nil
}
func (e *Subscript) kids(f func(*Expr)) {
	f(&e.Arg)
	kidSlice(e.Lower, f)
	kidSlice(e.Upper, f)
}
func (e *Subscript) copy() Expr {
	c := *e
	c.Lower = append([]Expr(nil), e.Lower...)
	c.Upper = append([]Expr(nil), e.Upper...)
	return &c
}

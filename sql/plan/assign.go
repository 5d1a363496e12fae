package plan

import (
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// assignPart builds the new value of a column when an assignment names a part of it: column[2], column[1:3],
// column.field, column[1].field. base is its value before, pos where x stands.
func (s *scope) assignPart(base Expr, tg *ast.Target, x Expr, pos int32) (Expr, error) {
	if base.Type().BaseType().OID == types.OIDJSONB {
		return s.assignJSON(base, tg, x)
	}
	return s.assignSteps(base, tg, tg.Steps, x, pos)
}

func (s *scope) assignSteps(base Expr, tg *ast.Target, steps []ast.IndirectionStep, x Expr, pos int32) (Expr, error) {
	b := s.b
	declared := base.Type()
	t := declared.BaseType()
	if t != declared {
		base = &Cast{Arg: base, C: noopCast, T: t, Form: FormImplicit}
	}
	// A domain's value changes as its base type's does, and is checked as a whole afterwards.
	done := func(e Expr) (Expr, error) {
		if t == declared {
			return e, nil
		}
		return b.domain(e, declared)
	}
	if steps[0].Kind == ast.FieldStep {
		name := steps[0].Name
		if t.Class != 'c' || t.Def == nil {
			return nil, errAt(tg.Off, pgerr.DatatypeMismatch, "cannot assign to field %q of column %q because its type %s is not a composite type",
				name, tg.Name, types.TypeName(t))
		}
		i := slices.IndexFunc(t.Def.Fields, func(f types.Field) bool { return f.Name == name })
		if i < 0 {
			return nil, errAt(tg.Off, pgerr.UndefinedColumn, "cannot assign to field %q of column %q because there is no such column in data type %s",
				name, tg.Name, types.TypeName(t))
		}
		f := t.Def.Fields[i]
		v, err := s.assignRest(&Field{Arg: base, N: i, T: f.Type, Name: name}, tg, steps[1:], x, pos, func(e Expr) error {
			return errAt(tg.Off, pgerr.DatatypeMismatch, "subfield %q is of type %s but expression is of type %s", name, types.TypeName(f.Type), types.TypeName(e.Type())).
				WithHint("You will need to rewrite or cast the expression.")
		})
		if err != nil {
			return nil, err
		}
		return done(&FieldSet{Arg: base, N: i, Value: v, T: t})
	}
	n := 0
	for n < len(steps) && (steps[n].Kind == ast.IndexStep || steps[n].Kind == ast.SliceStep) {
		n++
	}
	part, err := s.subscript(base, steps[:n], tg.Off)
	if err != nil {
		return nil, err
	}
	sub := part.(*Subscript)
	v, err := s.assignRest(sub, tg, steps[n:], x, pos, func(e Expr) error {
		return errAt(tg.Off, pgerr.DatatypeMismatch, "subscripted assignment to %q requires type %s but expression is of type %s",
			tg.Name, types.TypeName(sub.T), types.TypeName(e.Type())).WithHint("You will need to rewrite or cast the expression.")
	})
	if err != nil {
		return nil, err
	}
	return done(&ArraySet{Arr: base, Lower: sub.Lower, Upper: sub.Upper, Slice: sub.Slice, Value: v, T: t})
}

// assignRest makes the value that a part gets: x itself or, when the target names a part of the part, the
// part with that changed.
func (s *scope) assignRest(part Expr, tg *ast.Target, rest []ast.IndirectionStep, x Expr, pos int32, mismatch func(Expr) error) (Expr, error) {
	if len(rest) > 0 {
		return s.assignSteps(part, tg, rest, x, pos)
	}
	if !isUnknown(x) && !builtin.CanCoerce(x.Type(), part.Type(), builtin.CastAssignment) {
		return nil, mismatch(x)
	}
	return s.b.coerce(x, part.Type(), builtin.CastAssignment, pos)
}

// FieldSet is a composite value with one field replaced; NULL counts as a row of NULLs.
type FieldSet struct {
	Arg   Expr
	N     int
	Value Expr
	T     *types.T
}

func (e *FieldSet) Type() *types.T { return e.T }
func (e *FieldSet) Eval(c *EvalCtx) (types.Datum, error) {
	d, err := e.Arg.Eval(c)
	if err != nil {
		return types.Null, err
	}
	v, err := e.Value.Eval(c)
	if err != nil {
		return types.Null, err
	}
	out := &types.Tuple{Elems: make([]types.Datum, len(e.T.Def.Fields))}
	for _, f := range e.T.Def.Fields {
		out.Types, out.Names = append(out.Types, f.Type), append(out.Names, f.Name)
	}
	if !d.IsNull() {
		copy(out.Elems, d.Tuple().Elems)
	}
	out.Elems[e.N] = v
	return types.NewTuple(out), nil
}
func (e *FieldSet) kids(f func(*Expr)) { f(&e.Arg); f(&e.Value) }
func (e *FieldSet) copy() Expr         { c := *e; return &c }

// ArraySet is an array with one element or one slice replaced.
type ArraySet struct {
	Arr          Expr
	Lower, Upper []Expr // as in Subscript
	Slice        bool
	Value        Expr
	T            *types.T
}

func (e *ArraySet) Type() *types.T { return e.T }
func (e *ArraySet) kids(f func(*Expr)) {
	f(&e.Arr)
	for _, l := range [][]Expr{e.Lower, e.Upper} {
		for i := range l {
			if l[i] != nil {
				f(&l[i])
			}
		}
	}
	f(&e.Value)
}
func (e *ArraySet) copy() Expr {
	c := *e
	c.Lower, c.Upper = slices.Clone(e.Lower), slices.Clone(e.Upper)
	return &c
}

const maxArrayElems = 1 << 24

func errArraySize() error {
	return pgerr.New(pgerr.ProgramLimitExceeded, "array size exceeds the maximum allowed (%d)", maxArrayElems)
}

func (e *ArraySet) Eval(c *EvalCtx) (types.Datum, error) {
	old, err := e.Arr.Eval(c)
	if err != nil {
		return types.Null, err
	}
	bound := func(list []Expr) ([]*int64, error) {
		out := make([]*int64, len(list))
		for i, x := range list {
			if x == nil {
				continue
			}
			d, err := x.Eval(c)
			if err != nil {
				return nil, err
			}
			if d.IsNull() {
				return nil, pgerr.New(pgerr.NullValueNotAllowed, "array subscript in assignment must not be null")
			}
			n := d.Int()
			out[i] = &n
		}
		return out, nil
	}
	lower, err := bound(e.Lower)
	if err != nil {
		return types.Null, err
	}
	upper, err := bound(e.Upper)
	if err != nil {
		return types.Null, err
	}
	v, err := e.Value.Eval(c)
	if err != nil {
		return types.Null, err
	}
	a := &types.Array{Elem: e.T.Elem}
	if !old.IsNull() {
		a.Dims, a.Elems = slices.Clone(old.Array().Dims), slices.Clone(old.Array().Elems)
	}
	if !e.Slice {
		at := make([]int64, len(upper))
		for i := range upper {
			at[i] = *upper[i]
		}
		return setElement(a, at, v)
	}
	if v.IsNull() {
		return old, nil
	}
	return setSlice(a, lower, upper, v.Array())
}

func setElement(a *types.Array, at []int64, v types.Datum) (types.Datum, error) {
	if len(a.Dims) == 0 {
		for _, i := range at {
			a.Dims = append(a.Dims, types.ArrayDim{Len: 1, Lower: int32(i)})
		}
		a.Elems = []types.Datum{v}
		return types.NewArray(a), nil
	}
	if len(a.Dims) != len(at) {
		return types.Null, pgerr.New(pgerr.ArraySubscriptError, "wrong number of array subscripts")
	}
	if len(at) == 1 {
		if err := extend(a, at[0], at[0]); err != nil {
			return types.Null, err
		}
	}
	pos := int64(0)
	for i, d := range a.Dims {
		k := at[i] - int64(d.Lower)
		if k < 0 || k >= int64(d.Len) {
			return types.Null, pgerr.New(pgerr.ArraySubscriptError, "array subscript out of range")
		}
		pos = pos*int64(d.Len) + k
	}
	a.Elems[pos] = v
	return types.NewArray(a), nil
}

// extend grows a one-dimensional array with NULLs so that it reaches from lo to hi at least.
func extend(a *types.Array, lo, hi int64) error {
	d := &a.Dims[0]
	first, last := min(lo, int64(d.Lower)), max(hi, int64(d.Lower)+int64(d.Len)-1)
	if last-first >= maxArrayElems {
		return errArraySize()
	}
	if first == int64(d.Lower) && last-first+1 == int64(d.Len) {
		return nil
	}
	elems := make([]types.Datum, last-first+1)
	copy(elems[int64(d.Lower)-first:], a.Elems)
	a.Elems = elems
	*d = types.ArrayDim{Len: int32(last - first + 1), Lower: int32(first)}
	return nil
}

var errSmallSource = pgerr.New(pgerr.ArraySubscriptError, "source array too small")

func setSlice(a *types.Array, lower, upper []*int64, src *types.Array) (types.Datum, error) {
	n := len(upper)
	if len(a.Dims) == 0 {
		size := int64(1)
		for i := range n {
			if lower[i] == nil || upper[i] == nil {
				return types.Null, pgerr.New(pgerr.ArraySubscriptError, "array slice subscript must provide both boundaries").
					WithDetail("When assigning to a slice of an empty array value, slice boundaries must be fully specified.")
			}
			length := *upper[i] - *lower[i] + 1
			if length <= 0 {
				return types.Null, pgerr.New(pgerr.ArraySubscriptError, "upper bound cannot be less than lower bound")
			}
			if size *= length; size > maxArrayElems {
				return types.Null, errArraySize()
			}
			a.Dims = append(a.Dims, types.ArrayDim{Len: int32(length), Lower: int32(*lower[i])})
		}
		if size > int64(len(src.Elems)) {
			return types.Null, errSmallSource
		}
		a.Elems = src.Elems[:size]
		return types.NewArray(a), nil
	}
	if len(a.Dims) < n {
		return types.Null, pgerr.New(pgerr.ArraySubscriptError, "wrong number of array subscripts")
	}
	lo, hi := make([]int64, len(a.Dims)), make([]int64, len(a.Dims))
	size := int64(1)
	for i, d := range a.Dims {
		lo[i], hi[i] = int64(d.Lower), int64(d.Lower)+int64(d.Len)-1
		if i < n && lower[i] != nil {
			lo[i] = *lower[i]
		}
		if i < n && upper[i] != nil {
			hi[i] = *upper[i]
		}
		if lo[i] > hi[i] {
			return types.Null, pgerr.New(pgerr.ArraySubscriptError, "upper bound cannot be less than lower bound")
		}
		if len(a.Dims) > 1 && (lo[i] < int64(d.Lower) || hi[i] >= int64(d.Lower)+int64(d.Len)) {
			return types.Null, pgerr.New(pgerr.ArraySubscriptError, "array subscript out of range")
		}
		if size *= hi[i] - lo[i] + 1; size > maxArrayElems {
			return types.Null, errArraySize()
		}
	}
	if size > int64(len(src.Elems)) {
		return types.Null, errSmallSource
	}
	if len(a.Dims) == 1 {
		if err := extend(a, lo[0], hi[0]); err != nil {
			return types.Null, err
		}
		copy(a.Elems[lo[0]-int64(a.Dims[0].Lower):], src.Elems[:size])
		return types.NewArray(a), nil
	}
	at := slices.Clone(lo)
	for _, v := range src.Elems[:size] {
		pos := int64(0)
		for i, d := range a.Dims {
			pos = pos*int64(d.Len) + at[i] - int64(d.Lower)
		}
		a.Elems[pos] = v
		for i := len(at) - 1; i >= 0; i-- {
			if at[i]++; at[i] <= hi[i] {
				break
			}
			at[i] = lo[i]
		}
	}
	return types.NewArray(a), nil
}

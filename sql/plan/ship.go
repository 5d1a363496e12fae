package plan

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
)

// Expressions that are evaluated beside the data travel in a form of their own (ShipExpr, ReceiveExpr). What may
// travel gives the same value on every node: immutable built-in functions over built-in types. Parameters,
// outer columns and what is the same for all rows become parameters of what travels, so that one form of it, read once,
// serves all values.

// Tags of shipped expressions. They are part of the format: new ones go to the end.
const (
	shipConst byte = iota + 1
	shipCol
	shipFunc
	shipOp
	shipCast
	shipAnd
	shipOr
	shipNot
	shipIsNull
	shipBoolTest
	shipCoalesce
	shipNullIf
	shipMinMax
	shipCase
	shipInList
	shipAnyAll
	shipDistinct
	shipHole
	shipParam
)

// maxShipDepth bounds the nesting of an expression that travels.
const maxShipDepth = 100

// maxShipParams bounds the parameters of what travels together.
const maxShipParams = 1024

// Shipper writes expressions. Slots of columns are numbered anew.
type Shipper struct {
	// Params are the expressions whose values have to travel along, by the numbers they were given.
	Params []Expr
	// Slot numbers the columns that rows have there; false for an outer column.
	Slot func(s Slot) (int, bool)
	// Scratch numbers a slot that evaluation needs besides (CASE with an argument).
	Scratch func(s Slot) int

	scratch map[Slot]*types.T
}

// Append appends e; false when it may not travel.
func (s *Shipper) Append(buf []byte, e Expr) ([]byte, bool) { return s.expr(buf, e, 0) }

// shipType reports whether a type means the same everywhere.
func shipType(t *types.T) bool {
	t = t.BaseType()
	if t.Def != nil || t.Kind == types.KindTuple || t.Kind == types.KindOther || t.Kind == types.KindNull {
		return false
	}
	if t.Elem != nil && !shipType(t.Elem) {
		return false
	}
	return t.Class == 'b' && types.ByOID(t.OID) != nil
}

// AppendType appends a built-in type.
func AppendType(buf []byte, t *types.T) []byte {
	t = t.BaseType()
	return binary.AppendVarint(binary.AppendUvarint(buf, uint64(t.OID)), int64(t.Typmod))
}

func (s *Shipper) expr(buf []byte, e Expr, depth int) ([]byte, bool) {
	if depth > maxShipDepth || !shipType(e.Type()) {
		return buf, false
	}
	depth++
	switch x := e.(type) {
	case *Const:
		return shipValue(buf, x.D, x.T)
	case *Param:
		return s.param(buf, x)
	case *Invariant:
		if hasOuter(x) {
			return buf, false
		}
		return s.param(buf, x)
	case *Col:
		if n, ok := s.Slot(x.Slot); ok {
			return AppendType(binary.AppendUvarint(append(buf, shipCol), uint64(n)), x.T), true
		}
		if t, ok := s.scratch[x.Slot]; ok {
			return AppendType(binary.AppendUvarint(append(buf, shipCol), uint64(s.Scratch(x.Slot))), t), true
		}
		return s.param(buf, x)
	case *Func:
		return s.call(buf, x, depth)
	case *Cast:
		return s.cast(buf, x, depth)
	case *And:
		return s.list(append(buf, shipAnd), x.Args, depth)
	case *Or:
		return s.list(append(buf, shipOr), x.Args, depth)
	case *Not:
		return s.expr(append(buf, shipNot), x.Arg, depth)
	case *IsNull:
		return s.expr(append(buf, shipIsNull, flag(x.Not, 1)), x.Arg, depth)
	case *BoolTest:
		return s.expr(append(buf, shipBoolTest, flag(x.Unknown, 1)|flag(x.Want, 2)|flag(x.Not, 4)), x.Arg, depth)
	case *Coalesce:
		return s.list(AppendType(append(buf, shipCoalesce), x.T), x.Args, depth)
	case *NullIf:
		buf, ok := s.call(append(buf, shipNullIf), x.Eq, depth)
		if !ok {
			return buf, false
		}
		return s.two(buf, x.Left, x.Right, depth)
	case *MinMax:
		return s.list(AppendType(append(buf, shipMinMax, flag(x.Least, 1)), x.T), x.Args, depth)
	case *Case:
		return s.caseExpr(buf, x, depth)
	case *InList:
		buf, ok := s.call(append(buf, shipInList, flag(x.Not, 1)), x.Eq, depth)
		if ok {
			buf, ok = s.expr(buf, x.Left, depth)
		}
		if !ok {
			return buf, false
		}
		return s.list(buf, x.List, depth)
	case *AnyAll:
		buf, ok := s.call(append(buf, shipAnyAll, flag(x.All, 1)), x.Op, depth)
		if !ok {
			return buf, false
		}
		return s.two(buf, x.Left, x.Right, depth)
	case *DistinctFrom:
		buf, ok := s.call(append(buf, shipDistinct, flag(x.Not, 1)), x.Eq, depth)
		if !ok {
			return buf, false
		}
		return s.two(buf, x.Left, x.Right, depth)
	case *Hole:
		return AppendType(append(buf, shipHole), x.T), true
	}
	return buf, false
}

// param appends a parameter that stands for e.
func (s *Shipper) param(buf []byte, e Expr) ([]byte, bool) {
	t := e.Type()
	if t.OID == types.OIDUnknown {
		return buf, false
	}
	n := slices.IndexFunc(s.Params, func(p Expr) bool {
		switch x := e.(type) {
		case *Param:
			y, ok := p.(*Param)
			return ok && y.N == x.N
		case *Col:
			y, ok := p.(*Col)
			return ok && y.Slot == x.Slot && y.T == x.T
		}
		return p == e
	})
	if n < 0 {
		if n = len(s.Params); n >= maxShipParams {
			return buf, false
		}
		s.Params = append(s.Params, e)
	}
	return AppendType(binary.AppendUvarint(append(buf, shipParam), uint64(n)), t), true
}

func flag(b bool, bit byte) byte {
	if b {
		return bit
	}
	return 0
}

func hasOuter(e Expr) bool {
	outer := false
	walkExpr(e, func(x Expr) bool {
		_, is := x.(*Col)
		outer = outer || is
		return !outer
	})
	return outer
}

func (s *Shipper) two(buf []byte, l, r Expr, depth int) ([]byte, bool) {
	buf, ok := s.expr(buf, l, depth)
	if !ok {
		return buf, false
	}
	return s.expr(buf, r, depth)
}

func (s *Shipper) list(buf []byte, es []Expr, depth int) ([]byte, bool) {
	buf = binary.AppendUvarint(buf, uint64(len(es)))
	ok := true
	for _, e := range es {
		if buf, ok = s.expr(buf, e, depth); !ok {
			return buf, false
		}
	}
	return buf, true
}

func (s *Shipper) caseExpr(buf []byte, x *Case, depth int) ([]byte, bool) {
	buf = AppendType(append(buf, shipCase, flag(x.Arg != nil, 1)|flag(x.Else != nil, 2)), x.T)
	ok := true
	if x.Arg != nil {
		if s.Scratch == nil {
			return buf, false
		}
		if s.scratch == nil {
			s.scratch = map[Slot]*types.T{}
		}
		buf = binary.AppendUvarint(buf, uint64(s.Scratch(x.ArgSlot)))
		if buf, ok = s.expr(buf, x.Arg, depth); !ok {
			return buf, false
		}
		s.scratch[x.ArgSlot] = x.Arg.Type()
	}
	if buf, ok = s.list(buf, x.Conds, depth); !ok {
		return buf, false
	}
	if buf, ok = s.list(buf, x.Results, depth); !ok || x.Else == nil {
		return buf, ok
	}
	return s.expr(buf, x.Else, depth)
}

// shipValue appends a constant.
func shipValue(buf []byte, d types.Datum, t *types.T) ([]byte, bool) {
	if !shipType(t) || t.OID == types.OIDUnknown && !d.IsNull() {
		return buf, false
	}
	buf = AppendType(append(buf, shipConst), t)
	return AppendDatum(buf, d, t), true
}

// AppendDatum appends a value of a type that may travel.
func AppendDatum(buf []byte, d types.Datum, t *types.T) []byte {
	var tmp [64]byte
	b := rowenc.AppendColumn(tmp[:0], 0, 1, d, t.BaseType())
	return append(binary.AppendUvarint(buf, uint64(len(b))), b...)
}

// greedy are the immutable functions whose results can be much larger than their arguments: the memory of a statement
// is watched at its gateway.
var greedy = map[string]bool{"repeat": true, "lpad": true, "rpad": true, "array_fill": true, "replace": true,
	"regexp_replace": true, "array_cat": true, "format": true}

// shipCall reports whether a function is the same everywhere.
func shipCall(c *builtin.Call) bool {
	f := c.Func
	if f.User != nil || f.Kind != 'f' || c.Volatility != 'i' || c.RetSet || c.Eval == nil || !builtin.Implemented(f) || greedy[f.Name] ||
		c.Missing != 0 || c.Gathered != 0 || c.VariadicCall || len(c.Order) > 0 || f.Variadic != 0 || len(c.Args) != len(f.Args) {
		return false
	}
	for _, t := range c.Args {
		if !shipType(t) {
			return false
		}
	}
	return shipType(c.Ret) && !settingsMatter(c.Args, c.Ret)
}

// settingsMatter: texts of floats and bytea depend on settings, although PostgreSQL calls these functions immutable.
func settingsMatter(args []*types.T, ret *types.T) bool {
	if ret.BaseType().Kind != types.KindString {
		return false
	}
	for _, t := range args {
		switch t.BaseType().Kind {
		case types.KindString, types.KindInt, types.KindBool, types.KindNumeric:
		default:
			return true
		}
	}
	return false
}

func (s *Shipper) call(buf []byte, x *Func, depth int) ([]byte, bool) {
	if depth > maxShipDepth || !shipCall(x.Call) || len(x.Args) != len(x.Call.Args) {
		return buf, false
	}
	// Is it found again by what is sent of it?
	if again, err := resolveShipped(x.Call.Func.OID, opOID(x.Call), x.Call.Args); err != nil || again.Func != x.Call.Func || again.Ret.OID != x.Call.Ret.OID {
		return buf, false
	}
	if x.Call.Op != nil {
		buf = binary.AppendUvarint(append(buf, shipOp), uint64(x.Call.Op.OID))
	} else {
		buf = binary.AppendUvarint(append(buf, shipFunc), uint64(x.Call.Func.OID))
	}
	buf = append(buf, byte(len(x.Args)))
	for _, t := range x.Call.Args {
		buf = AppendType(buf, t)
	}
	ok := true
	for _, a := range x.Args {
		if buf, ok = s.expr(buf, a, depth+1); !ok {
			return buf, false
		}
	}
	return buf, true
}

func opOID(c *builtin.Call) types.OID {
	if c.Op != nil {
		return c.Op.OID
	}
	return 0
}

// resolveShipped finds a function, or the function of an operator, that was sent.
func resolveShipped(fn, op types.OID, args []*types.T) (*builtin.Call, error) {
	if op != 0 {
		o := builtin.OperatorByOID(op)
		if o == nil || len(args) == 0 || len(args) > 2 {
			return nil, errShipped
		}
		var left *types.T
		if len(args) == 2 {
			left = args[0]
		}
		c, err := builtin.ResolveOperator(o.Name, left, args[len(args)-1])
		if err != nil || c.Op == nil || c.Op.OID != op {
			return nil, errShipped
		}
		return c, nil
	}
	f := builtin.FuncByOID(fn)
	if f == nil {
		return nil, errShipped
	}
	c, err := builtin.ResolveFunction(f.Name, args)
	if err != nil || c.Func != f {
		return nil, errShipped
	}
	return c, nil
}

func (s *Shipper) cast(buf []byte, x *Cast, depth int) ([]byte, bool) {
	from, to := x.C.From.BaseType(), x.C.To.BaseType()
	if x.T.Class == 'd' && x.T.Def != nil || x.C.Volatility != 'i' || !shipType(from) || !shipType(to) || settingsMatter([]*types.T{from}, to) {
		return buf, false
	}
	if x.C.NoOp {
		// The value is right as it is; only its type has another name.
		if from.Kind != to.Kind {
			return buf, false
		}
	} else if c, err := builtin.ResolveCast(from, to, castContext(x.Form)); err != nil || c.Volatility != 'i' || c.NoOp {
		return buf, false
	}
	buf = append(buf, shipCast, flag(x.Form == FormExplicit, 1)|flag(x.C.NoOp, 2))
	return s.expr(AppendType(AppendType(buf, from), to), x.Arg, depth)
}

func castContext(f FuncForm) builtin.CastContext {
	if f == FormExplicit {
		return builtin.CastExplicit
	}
	return builtin.CastImplicit
}

var errShipped = errors.New("plan: malformed expression, or one of another version")

// Receiver reads what a Shipper has written. What it returns cannot read a slot as another type than it has.
type Receiver struct {
	Buf []byte
	// Slots are the types of the row's columns and of the slots that evaluation needs besides, as they become known.
	Slots map[Slot]*types.T
	// Params are the types of the parameters, as they become known.
	Params []*types.T
	// Columns is the number of slots that rows have, which evaluation does not write; MaxSlots bounds all slots.
	Columns, MaxSlots int
	depth             int
}

// Uvarint reads a number.
func (r *Receiver) Uvarint() (uint64, error) {
	v, n := binary.Uvarint(r.Buf)
	if n <= 0 {
		return 0, errShipped
	}
	r.Buf = r.Buf[n:]
	return v, nil
}

// Count reads the length of a list, of which each element takes a byte at least.
func (r *Receiver) Count() (int, error) {
	v, err := r.Uvarint()
	if err != nil || v > uint64(len(r.Buf)) {
		return 0, errShipped
	}
	return int(v), nil
}

// Byte reads a byte.
func (r *Receiver) Byte() (byte, error) {
	if len(r.Buf) == 0 {
		return 0, errShipped
	}
	b := r.Buf[0]
	r.Buf = r.Buf[1:]
	return b, nil
}

// Type reads a type.
func (r *Receiver) Type() (*types.T, error) {
	oid, err := r.Uvarint()
	if err != nil {
		return nil, err
	}
	typmod, n := binary.Varint(r.Buf)
	if n <= 0 || oid > 1<<32-1 || int64(int32(typmod)) != typmod {
		return nil, errShipped
	}
	r.Buf = r.Buf[n:]
	t := types.ByOID(types.OID(oid))
	if t == nil || !shipType(t) {
		return nil, errShipped
	}
	return t.WithTypmod(int32(typmod)), nil
}

// Datum reads a value of a type.
func (r *Receiver) Datum(t *types.T) (types.Datum, error) {
	n, err := r.Count()
	if err != nil {
		return types.Null, err
	}
	b := r.Buf[:n:n]
	r.Buf = r.Buf[n:]
	return rowenc.OneValue(b, t)
}

// Expr reads an expression whose value is of the kind of want; nil takes any.
func (r *Receiver) Expr(want *types.T) (Expr, error) {
	if r.depth++; r.depth > 2*maxShipDepth {
		return nil, errShipped
	}
	e, err := r.expr()
	r.depth--
	if err != nil {
		return nil, err
	}
	if want != nil && e.Type().BaseType().Kind != want.BaseType().Kind {
		return nil, errShipped
	}
	return e, nil
}

// List reads expressions.
func (r *Receiver) List(want *types.T) ([]Expr, error) {
	n, err := r.Count()
	if err != nil {
		return nil, err
	}
	out := make([]Expr, n)
	for i := range out {
		if out[i], err = r.Expr(want); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *Receiver) expr() (Expr, error) {
	tag, err := r.Byte()
	if err != nil {
		return nil, err
	}
	switch tag {
	case shipConst:
		t, err := r.Type()
		if err != nil {
			return nil, err
		}
		d, err := r.Datum(t)
		return &Const{D: types.Detach(d), T: t}, err
	case shipCol:
		n, err := r.Uvarint()
		if err != nil {
			return nil, err
		}
		t, err := r.Type()
		if err != nil {
			return nil, err
		}
		have := r.Slots[Slot(n)]
		if have == nil || have.BaseType().Kind != t.Kind || have.BaseType().Elem != nil && (t.Elem == nil || have.BaseType().Elem.OID != t.Elem.OID) {
			return nil, errShipped
		}
		return &Col{Slot: Slot(n), T: t}, nil
	case shipFunc, shipOp:
		return r.call(tag)
	case shipCast:
		return r.cast()
	case shipAnd, shipOr:
		args, err := r.List(types.Bool)
		if tag == shipAnd {
			return &And{args}, err
		}
		return &Or{args}, err
	case shipNot:
		a, err := r.Expr(types.Bool)
		return &Not{a}, err
	case shipIsNull:
		f, err := r.Byte()
		if err != nil {
			return nil, err
		}
		a, err := r.Expr(nil)
		return &IsNull{Arg: a, Not: f&1 != 0}, err
	case shipBoolTest:
		f, err := r.Byte()
		if err != nil {
			return nil, err
		}
		a, err := r.Expr(types.Bool)
		return &BoolTest{Arg: a, Unknown: f&1 != 0, Want: f&2 != 0, Not: f&4 != 0}, err
	case shipCoalesce:
		t, err := r.Type()
		if err != nil {
			return nil, err
		}
		args, err := r.List(t)
		return &Coalesce{args, t}, err
	case shipMinMax:
		f, err := r.Byte()
		if err != nil {
			return nil, err
		}
		t, err := r.Type()
		if err != nil {
			return nil, err
		}
		args, err := r.List(t)
		return &MinMax{Least: f&1 != 0, Args: args, T: t}, err
	case shipNullIf:
		eq, l, rt, err := r.compared()
		if err != nil || !fits(eq, l.Type(), rt.Type()) {
			return nil, errShipped
		}
		return &NullIf{l, rt, eq}, nil
	case shipDistinct:
		f, err := r.Byte()
		if err != nil {
			return nil, err
		}
		eq, l, rt, err := r.compared()
		if err != nil || !fits(eq, l.Type(), rt.Type()) {
			return nil, errShipped
		}
		return &DistinctFrom{Left: l, Right: rt, Eq: eq, Not: f&1 != 0}, nil
	case shipCase:
		return r.caseExpr()
	case shipInList:
		return r.inList()
	case shipAnyAll:
		f, err := r.Byte()
		if err != nil {
			return nil, err
		}
		op, l, rt, err := r.compared()
		if err != nil || rt.Type().BaseType().Kind != types.KindArray || rt.Type().BaseType().Elem == nil || !fits(op, l.Type(), rt.Type().BaseType().Elem) {
			return nil, errShipped
		}
		return &AnyAll{Left: l, Right: rt, All: f&1 != 0, Op: op}, nil
	case shipHole:
		t, err := r.Type()
		return &Hole{t}, err
	case shipParam:
		n, err := r.Uvarint()
		if err != nil {
			return nil, err
		}
		t, err := r.Type()
		if err != nil {
			return nil, err
		}
		// They are numbered in the order in which they first appear.
		switch {
		case n == uint64(len(r.Params)) && n < maxShipParams:
			r.Params = append(r.Params, t)
		case n >= uint64(len(r.Params)) || r.Params[n].OID != t.OID || r.Params[n].Typmod != t.Typmod:
			return nil, errShipped
		}
		return &Param{N: int(n), T: t}, nil
	}
	return nil, errShipped
}

// compared reads an operator over two Holes and the expressions it is applied to.
func (r *Receiver) compared() (op *Func, left, right Expr, err error) {
	if op, err = r.overHoles(); err != nil {
		return nil, nil, nil, err
	}
	if left, err = r.Expr(nil); err != nil {
		return nil, nil, nil, err
	}
	right, err = r.Expr(nil)
	return op, left, right, err
}

func (r *Receiver) overHoles() (*Func, error) {
	e, err := r.Expr(types.Bool)
	if err != nil {
		return nil, err
	}
	f, ok := e.(*Func)
	if !ok || len(f.Args) != 2 || holeType(f.Args[0]) == nil || holeType(f.Args[1]) == nil {
		return nil, errShipped
	}
	return f, nil
}

// holeType is the type of the Hole below a chain of casts.
func holeType(e Expr) *types.T {
	for {
		switch x := e.(type) {
		case *Hole:
			return x.T
		case *Cast:
			e = x.Arg
		default:
			return nil
		}
	}
}

// fits reports whether an operator over two Holes takes values of these types.
func fits(op *Func, l, r *types.T) bool {
	same := func(h, t *types.T) bool { return h.BaseType().Kind == t.BaseType().Kind }
	return same(holeType(op.Args[0]), l) && same(holeType(op.Args[1]), r)
}

func (r *Receiver) call(tag byte) (Expr, error) {
	oid, err := r.Uvarint()
	if err != nil || oid > 1<<32-1 {
		return nil, errShipped
	}
	n, err := r.Byte()
	if err != nil {
		return nil, err
	}
	ts := make([]*types.T, n)
	for i := range ts {
		if ts[i], err = r.Type(); err != nil {
			return nil, err
		}
	}
	fn, op := types.OID(oid), types.OID(0)
	if tag == shipOp {
		fn, op = 0, types.OID(oid)
	}
	c, err := resolveShipped(fn, op, ts)
	if err != nil || !shipCall(c) || len(c.Args) != len(ts) {
		return nil, errShipped
	}
	f := &Func{Name: c.Func.Name, Call: c, T: c.Ret, Args: make([]Expr, n)}
	for i := range f.Args {
		if f.Args[i], err = r.Expr(c.Args[i]); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (r *Receiver) cast() (Expr, error) {
	f, err := r.Byte()
	if err != nil {
		return nil, err
	}
	from, err := r.Type()
	if err != nil {
		return nil, err
	}
	to, err := r.Type()
	if err != nil {
		return nil, err
	}
	arg, err := r.Expr(from)
	if err != nil {
		return nil, err
	}
	x := &Cast{Arg: arg, T: to, Form: FormImplicit}
	if f&1 != 0 {
		x.Form = FormExplicit
	}
	if f&2 != 0 {
		if from.Kind != to.Kind {
			return nil, errShipped
		}
		x.C = &builtin.Cast{From: from, To: to, NoOp: true, Volatility: 'i'}
		return x, nil
	}
	if x.C, err = builtin.ResolveCast(from, to, castContext(x.Form)); err != nil || x.C.Volatility != 'i' {
		return nil, errShipped
	}
	return x, nil
}

func (r *Receiver) caseExpr() (Expr, error) {
	f, err := r.Byte()
	if err != nil {
		return nil, err
	}
	x := &Case{}
	if x.T, err = r.Type(); err != nil {
		return nil, err
	}
	if f&1 != 0 {
		n, err := r.Uvarint()
		if err != nil || n < uint64(r.Columns) || n >= uint64(r.MaxSlots) {
			return nil, errShipped
		}
		if x.Arg, err = r.Expr(nil); err != nil {
			return nil, err
		}
		if t := r.Slots[Slot(n)]; t != nil && t.BaseType().OID != x.Arg.Type().BaseType().OID {
			return nil, errShipped
		}
		x.ArgSlot = Slot(n)
		r.Slots[x.ArgSlot] = x.Arg.Type()
	}
	if x.Conds, err = r.List(types.Bool); err != nil {
		return nil, err
	}
	if x.Results, err = r.List(x.T); err != nil || len(x.Results) != len(x.Conds) {
		return nil, errShipped
	}
	if f&2 != 0 {
		x.Else, err = r.Expr(x.T)
	}
	return x, err
}

func (r *Receiver) inList() (Expr, error) {
	f, err := r.Byte()
	if err != nil {
		return nil, err
	}
	x := &InList{Not: f&1 != 0}
	if x.Eq, err = r.overHoles(); err != nil {
		return nil, err
	}
	if x.Left, err = r.Expr(nil); err != nil {
		return nil, err
	}
	if x.List, err = r.List(nil); err != nil {
		return nil, err
	}
	for _, e := range x.List {
		if !fits(x.Eq, x.Left.Type(), e.Type()) {
			return nil, errShipped
		}
	}
	return x, nil
}

// Hasten prepares received expressions for being evaluated many times.
func Hasten(es []Expr) {
	h := &hastener{seen: map[Node]bool{}, funcs: map[*Func]bool{}}
	h.list(es)
}

// Columns calls f with each slot that an expression reads.
func Columns(e Expr, f func(Slot)) {
	var used slotSet
	exprSlots(e, &used)
	for _, s := range used.list() {
		f(s)
	}
}

package plan

import (
	"strings"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// noopCast changes the name of a type only.
var noopCast = &builtin.Cast{NoOp: true}

// isUnknown reports whether e is a literal or parameter whose type is still open.
func isUnknown(e Expr) bool { return e.Type().OID == types.OIDUnknown }

// coerce converts e to a type. The modifier is applied for assignments and explicit casts and by
// comparisons ignored, as in PostgreSQL: callers pass a type without modifier there.
func (b *binder) coerce(e Expr, to *types.T, cc builtin.CastContext, pos int32) (Expr, error) {
	from := e.Type()
	if to.OID == types.OIDUnknown {
		return e, nil
	}
	switch x := e.(type) {
	case *Const:
		if from.OID == types.OIDUnknown {
			if x.D.IsNull() {
				return b.domain(&Const{T: to}, to)
			}
			if to.OID == types.OIDAny || to.Class == 'p' && to.OID != types.OIDRecord && to.OID != types.OIDCstring {
				return &Const{D: x.D, T: types.Text}, nil
			}
			if to.OID == types.OIDRecord {
				return nil, errAt(pos, pgerr.FeatureNotSupported, "input of anonymous composite types is not implemented")
			}
			c, err := builtin.ResolveCast(types.Unknown, to, cc)
			if err != nil {
				return nil, at(err, pos)
			}
			if relativeTime(x.D.Str(), to) {
				// A plan outlives the moment: 'now' is read again by each execution.
				return b.domain(&Cast{Arg: x, C: c, T: to, Form: FormExplicit}, to)
			}
			d, err := c.Eval(b.fold, x.D)
			if err != nil {
				return nil, at(err, pos)
			}
			return b.domain(&Const{D: d, T: to}, to)
		}
		if x.D.IsNull() && from.OID != to.OID {
			if !b.canCoerce(from, to, cc) {
				return nil, b.cannotCoerce(from, to, pos)
			}
			return &Const{T: to}, nil
		}
	case *Param:
		if from.OID == types.OIDUnknown {
			if to.OID == types.OIDRecord {
				return nil, errAt(pos, pgerr.FeatureNotSupported, "input of anonymous composite types is not implemented")
			}
			if to.OID == types.OIDAny || to.Class == 'p' {
				to = types.Text
			}
			// The parameter itself takes the type without modifier; a length is applied by a cast.
			x.T = bareType(to)
			if to.Typmod >= 0 && cc != builtin.CastImplicit {
				return b.cast(e, to, cc, pos)
			}
			return b.domain(e, to) // reading the value does not check it
		}
	case *Hole:
		if from.OID == types.OIDUnknown {
			x.T = to
			return e, nil
		}
	case *Row:
		if to.Def != nil && to.Class == 'c' {
			return b.coerceRow(x, to, cc, pos)
		}
	}
	if from.OID == to.OID && (to.Typmod < 0 || to.Typmod == from.Typmod) {
		return e, nil
	}
	if from.OID == to.OID && cc == builtin.CastImplicit {
		return e, nil
	}
	if to.OID == types.OIDAny || to.OID == types.OIDAnyElement || (to.OID == types.OIDRecord && from.Kind == types.KindTuple) {
		return e, nil
	}
	if to.Class == 'p' && to.OID != types.OIDCstring && to.Kind == from.Kind {
		return e, nil
	}
	return b.cast(e, to, cc, pos)
}

// relativeTime reports whether a date or time literal depends on the clock.
func relativeTime(text string, t *types.T) bool {
	switch t.BaseType().Kind {
	case types.KindDate, types.KindTime, types.KindTimeTZ, types.KindTimestamp, types.KindTimestampTZ:
		text = strings.ToLower(text)
		for _, w := range []string{"now", "today", "tomorrow", "yesterday"} {
			if strings.Contains(text, w) {
				return true
			}
		}
	}
	return false
}

func bareType(t *types.T) *types.T {
	if t.Typmod >= 0 {
		return t.WithTypmod(-1)
	}
	return t
}

func (b *binder) coerceRow(x *Row, to *types.T, cc builtin.CastContext, pos int32) (Expr, error) {
	if len(x.Elems) != len(to.Def.Fields) {
		return nil, b.cannotCoerce(x.T, to, pos)
	}
	r := &Row{T: to}
	for i, f := range to.Def.Fields {
		e, err := b.coerce(x.Elems[i], f.Type, cc, pos)
		if err != nil {
			return nil, err
		}
		r.Elems = append(r.Elems, e)
		r.Names = append(r.Names, f.Name)
	}
	return r, nil
}

func (b *binder) cannotCoerce(from, to *types.T, pos int32) error {
	return errAt(pos, pgerr.CannotCoerce, "cannot cast type %s to %s", types.TypeName(from), types.TypeName(to))
}

// cast builds the conversion and folds it when possible.
func (b *binder) cast(e Expr, to *types.T, cc builtin.CastContext, pos int32) (Expr, error) {
	if u := builtin.FindUserCast(b.casts(), e.Type(), to); u != nil {
		return b.userCast(e, u, to, cc, pos)
	}
	c, err := builtin.ResolveCast(e.Type(), to, cc)
	if err != nil {
		return nil, at(err, pos)
	}
	form := FormImplicit
	if cc == builtin.CastExplicit {
		form = FormExplicit
	}
	b.mutable = b.mutable || mutableCast(e, c)
	x := &Cast{Arg: e, C: c, T: to, Form: form}
	if k, ok := e.(*Const); ok && (c.NoOp || c.Volatility == 'i') {
		if k.D.IsNull() || c.NoOp {
			return b.domain(&Const{D: k.D, T: to}, to)
		}
		if d, err := c.Eval(b.fold, k.D); err == nil {
			return b.domain(&Const{D: d, T: to}, to)
		}
	}
	return b.domain(x, to)
}

// domain adds the checks of a domain type to a value that has just been converted to it.
func (b *binder) domain(e Expr, to *types.T) (Expr, error) {
	if to.Kind == types.KindArray && to.Class != 'd' && to.Elem != nil && to.Elem.Class == 'd' && to.Elem.Def != nil {
		return b.domainElems(e, to)
	}
	if to.Class != 'd' || to.Def == nil {
		return e, nil
	}
	return b.domainChecks(e, to)
}

// coerceBool makes a condition of e.
func (b *binder) coerceBool(e Expr, what string, pos int32) (Expr, error) {
	if isUnknown(e) {
		return b.coerce(e, types.Bool, builtin.CastImplicit, pos)
	}
	if e.Type().BaseType().OID != types.OIDBool {
		return nil, errAt(pos, pgerr.DatatypeMismatch, "argument of %s must be type boolean, not type %s", what, types.TypeName(e.Type()))
	}
	return e, nil
}

// settle gives a literal or parameter that nothing else has decided the type text.
func (b *binder) settle(e Expr) Expr {
	switch x := e.(type) {
	case *Const:
		if x.T.OID == types.OIDUnknown {
			return &Const{D: x.D, T: types.Text}
		}
	case *Param:
		if x.T.OID == types.OIDUnknown {
			x.T = types.Text
		}
	}
	return e
}

// assign converts e to a column's type as INSERT and UPDATE do.
func (b *binder) assign(e Expr, col *TableColumn, pos int32) (Expr, error) {
	from := e.Type()
	if from.OID != types.OIDUnknown && !b.canCoerce(from, col.T, builtin.CastAssignment) {
		return nil, errAt(pos, pgerr.DatatypeMismatch, "column %q is of type %s but expression is of type %s",
			col.Name, types.TypeName(col.T), types.TypeName(from)).
			WithHint("You will need to rewrite or cast the expression.")
	}
	return b.coerce(e, col.T, builtin.CastAssignment, pos)
}

// common brings expressions to one type.
func (b *binder) common(es []Expr, what string, pos []int32) (*types.T, error) {
	ts := make([]*types.T, len(es))
	for i, e := range es {
		ts[i] = e.Type()
	}
	p := int32(-1)
	t, err := builtin.CommonType(ts, what)
	if err != nil {
		// PostgreSQL points at the first expression that does not fit.
		for i := 1; i < len(ts) && i < len(pos); i++ {
			if _, e := builtin.CommonType(ts[:i+1], what); e != nil {
				p = pos[i]
				break
			}
		}
		return nil, at(err, p)
	}
	for i, e := range es {
		p = -1
		if i < len(pos) {
			p = pos[i]
		}
		if es[i], err = b.coerce(e, t, builtin.CastImplicit, p); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// holeOp resolves a binary operator over two values that are given at run time.
func (b *binder) holeOp(op string, lt, rt *types.T, pos int32) (*Func, error) {
	call, err := b.resolveOperator("", op, lt, rt)
	if err != nil {
		return nil, at(err, pos)
	}
	l, err := b.coerce(&Hole{T: lt}, call.Args[0], builtin.CastImplicit, pos)
	if err != nil {
		return nil, err
	}
	r, err := b.coerce(&Hole{T: rt}, call.Args[1], builtin.CastImplicit, pos)
	if err != nil {
		return nil, err
	}
	return &Func{Name: op, Call: call, Args: []Expr{l, r}, T: call.Ret, Form: FormOperator}, nil
}

// foldFunc evaluates an immutable call of constants. A call that fails is left for run time, where it may
// never be reached.
func (b *binder) foldFunc(f *Func) Expr {
	if f.Call.Eval == nil || f.Call.Volatility != 'i' || f.Call.RetSet || b.noFold || f.Call.Func != nil && f.Call.Func.User != nil {
		return f
	}
	c := EvalCtx{B: b.fold}
	for _, a := range f.Args {
		k, ok := a.(*Const)
		if !ok {
			return f
		}
		if k.D.IsNull() && f.Call.Strict {
			return &Const{T: f.T}
		}
	}
	d, err := f.Eval(&c)
	if err != nil {
		return f
	}
	return &Const{D: d, T: f.T}
}

// mutableCast says whether a cast's function is not immutable. A cast by way of text is what the types' input and output functions are.
func mutableCast(e Expr, c *builtin.Cast) bool {
	if _, literal := e.(*Const); literal || c.NoOp || c.Volatility == 'i' {
		return false
	}
	from, to := c.From.BaseType(), c.To.BaseType()
	return !(fixedText[from.OID] && fixedText[to.OID])
}

// fixedText are the types whose input and output functions are immutable.
var fixedText = map[types.OID]bool{types.OIDBool: true, types.OIDBytea: true, types.OIDChar: true, types.OIDName: true, types.OIDInt8: true, types.OIDInt2: true,
	types.OIDInt4: true, types.OIDText: true, types.OIDOid: true, types.OIDFloat4: true, types.OIDFloat8: true, types.OIDVarchar: true,
	types.OIDBPChar: true, types.OIDNumeric: true, types.OIDBit: true, types.OIDVarBit: true, types.OIDUUID: true, types.OIDJSON: true,
	types.OIDJSONB: true, types.OIDInet: true, types.OIDCidr: true, types.OIDTSVector: true, types.OIDTSQuery: true, types.OIDPoint: true}

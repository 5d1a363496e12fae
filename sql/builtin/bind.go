package builtin

import (
	"strings"
	"sync"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// impl is the Go side of a pg_proc row. Exactly one of the fields is set. The bind forms see the call with
// its concrete types; the others serve any.
type impl struct {
	eval   EvalFunc
	bind   func(c *Call) (EvalFunc, error)
	rows   func(ctx *Ctx, args []types.Datum) (RowIter, error)
	rowsOf func(c *Call) (func(ctx *Ctx, args []types.Datum) (RowIter, error), error)
	acc    func(c *Call) (func() Accumulator, error)
	window func(ctx *Ctx, w Window) (types.Datum, error)
}

// library maps prosrc names, or "name(oid oid)" where prosrc is no name or is shared by unlike functions,
// to implementations. It is filled by the register functions of the files about each type.
type library map[string]*impl

var (
	implOnce sync.Once
	impls    library
)

func implementations() library {
	implOnce.Do(func() {
		impls = library{}
		for _, register := range []func(library){registerInt, registerFloat, registerNumeric, registerText, registerBit, registerArray, registerJSON, registerJSONPath, registerMoney, registerAddress, registerFormat, registerPattern, registerBytea, registerCompare, registerWindow,
			registerAggregates, registerDatetime, registerSeries, registerSystem, registerSupport, registerRange, registerMultirange, registerGeometry, registerTextSearch, registerHeadline, registerLSN, registerInRange, registerKeywords} {
			register(impls)
		}
	})
	return impls
}

func (l library) add(name string, i *impl) {
	if l[name] != nil {
		panic("builtin: registered twice: " + name)
	}
	l[name] = i
}

func (l library) fn(name string, f EvalFunc) { l.add(name, &impl{eval: f}) }

func (l library) bound(name string, f func(c *Call) (EvalFunc, error)) { l.add(name, &impl{bind: f}) }

// key is the unambiguous name of a pg_proc row.
func (f *Func) key() string {
	var b strings.Builder
	b.WriteString(f.Name)
	b.WriteByte('(')
	for i, a := range f.Args {
		if i > 0 {
			b.WriteByte(' ')
		}
		if t := types.ByOID(a); t != nil {
			b.WriteString(t.Name)
		}
	}
	b.WriteByte(')')
	return b.String()
}

// Signature prints a function as regprocedure does: "length(text)".
func (f *Func) Signature() string {
	var b strings.Builder
	b.WriteString(types.QuoteIdent(f.Name))
	b.WriteByte('(')
	for i, a := range f.Args {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(types.TypeNameOID(a))
	}
	b.WriteByte(')')
	return b.String()
}

func findImpl(fn *Func) *impl {
	l := implementations()
	if i := l[fn.key()]; i != nil {
		return i
	}
	if fn.Kind == 'a' || fn.Src == "" {
		return l[fn.Name+"(*)"]
	}
	return l[fn.Src]
}

// Implemented reports whether a function can be evaluated here without a Hook.
func Implemented(fn *Func) bool { return findImpl(fn) != nil }

// bind makes the call of a chosen candidate.
func bind(c *candidate, actual []*types.T) (*Call, error) {
	fn := c.fn
	args, ret, err := polyResolve(actual, c.args, fn.Ret)
	if err != nil {
		return nil, err
	}
	if fn.Kind == 'a' && (fn.Name == "min" || fn.Name == "max") && actual[0].BaseType().Fold {
		args = []*types.T{bare(actual[0].BaseType())}
		ret = args[0]
	}
	call := &Call{Func: fn, Args: args, Ret: ret, Strict: fn.Strict, Volatility: fn.Volatility, RetSet: fn.RetSet, Op: c.op, VariadicCall: c.variadic}
	if c.op != nil {
		call.Cmp = c.op.Cmp
	}
	call.Columns = outColumns(fn, args)
	if fn.Agg != nil && fn.Agg.Kind == 'h' {
		// The direct arguments are a row like those of the group: each pair gets one type.
		k := len(args) / 2
		for i := range k {
			t, err := CommonType([]*types.T{actual[k+i], actual[i]}, "WITHIN GROUP")
			if err != nil {
				return nil, err
			}
			args[i], args[k+i] = t, t
		}
	}
	if fn.RetType != nil {
		return call, bindUser(call, c)
	}
	im := findImpl(fn)
	if im == nil {
		if fn.Kind != 'f' || fn.RetSet {
			return nil, pgerr.Unsupported("function %s is not supported", fn.Signature())
		}
		im = &impl{eval: hooked(fn)}
	}
	switch {
	case im.acc != nil:
		call.NewAcc, err = im.acc(call)
	case im.window != nil:
		call.Window = im.window
	case im.rows != nil:
		call.Rows = im.rows
	case im.rowsOf != nil:
		call.Rows, err = im.rowsOf(call)
	case im.bind != nil:
		call.Eval, err = im.bind(call)
	default:
		call.Eval = im.eval
	}
	if err != nil {
		return nil, err
	}
	return call, adaptArgs(call, c)
}

// hooked serves a function through Ctx.Hook.
func hooked(fn *Func) EvalFunc {
	return func(ctx *Ctx, args []types.Datum) (types.Datum, error) {
		if ctx != nil && ctx.Hook != nil {
			if f := ctx.Hook(fn); f != nil {
				return f(ctx, args)
			}
		}
		return types.Null, pgerr.Unsupported("function %s is not supported", fn.Signature())
	}
}

// adaptArgs wraps the evaluators of a call whose supplied arguments are not the function's parameters one
// by one: gathered into a VARIADIC array, named, or completed from defaults.
func adaptArgs(call *Call, c *candidate) error {
	fn := c.fn
	np := len(fn.Args)
	var defaults []types.Datum
	missing := c.ndefault
	if c.order != nil {
		missing = len(fn.Defaults)
	}
	if missing > 0 {
		for i, text := range fn.Defaults {
			t := typeByOID(fn.Args[np-len(fn.Defaults)+i])
			d, err := defaultValue(text, t)
			if err != nil {
				return err
			}
			defaults = append(defaults, d)
		}
	}
	var adapt func(args []types.Datum) []types.Datum
	switch {
	case c.order != nil:
		adapt = func(args []types.Datum) []types.Datum {
			out := make([]types.Datum, np)
			copy(out[np-len(defaults):], defaults)
			for i, p := range c.order {
				out[p] = args[i]
			}
			return out
		}
	case c.ndefault > 0:
		adapt = func(args []types.Datum) []types.Datum {
			out := make([]types.Datum, 0, np)
			return append(append(out, args...), defaults[len(defaults)-c.ndefault:]...)
		}
	case c.expanded > 0 && fn.Variadic != types.OIDAny:
		elem := call.Args[len(call.Args)-1]
		adapt = func(args []types.Datum) []types.Datum {
			out := make([]types.Datum, 0, np)
			out = append(out, args[:np-1]...)
			rest := args[np-1:]
			elems := append([]types.Datum(nil), rest...)
			return append(out, types.NewArray(&types.Array{Elem: elem, Dims: []types.ArrayDim{{Len: int32(len(elems)), Lower: 1}}, Elems: elems}))
		}
		// A NULL element is an element; only the fixed arguments make a strict function NULL.
		if call.Strict {
			call.Strict = false
			fixed := np - 1
			if eval := call.Eval; eval != nil {
				call.Eval = func(ctx *Ctx, args []types.Datum) (types.Datum, error) {
					for _, a := range args[:fixed] {
						if a.IsNull() {
							return types.Null, nil
						}
					}
					return eval(ctx, args)
				}
			}
		}
	default:
		return nil
	}
	if eval := call.Eval; eval != nil {
		call.Eval = func(ctx *Ctx, args []types.Datum) (types.Datum, error) { return eval(ctx, adapt(args)) }
	}
	if rows := call.Rows; rows != nil {
		call.Rows = func(ctx *Ctx, args []types.Datum) (RowIter, error) { return rows(ctx, adapt(args)) }
	}
	return nil
}

// defaultValue evaluates one of pg_proc's default expressions, which are all literals.
func defaultValue(text string, t *types.T) (types.Datum, error) {
	if text == "NULL" || strings.HasPrefix(text, "NULL::") {
		return types.Null, nil
	}
	if i := strings.LastIndex(text, "::"); i >= 0 && text[0] == '\'' {
		text = text[:i]
	}
	return types.ParseText(strings.Trim(text, "'"), t, nil)
}

// outColumns are the columns of a function with OUT or TABLE parameters.
func outColumns(fn *Func, args []*types.T) []types.Field {
	var out []types.Field
	for i := range fn.ArgModes {
		if strings.IndexByte("obt", fn.ArgModes[i]) < 0 {
			continue
		}
		t := typeByOID(fn.AllArgs[i])
		if isPolymorphic(t.OID) {
			if _, r, err := polyResolve(args, fn.Args[:len(args)], t.OID); err == nil {
				t = r
			}
		}
		name := ""
		if i < len(fn.ArgNames) {
			name = fn.ArgNames[i]
		}
		out = append(out, types.Field{Name: name, Type: t})
	}
	if len(out) < 2 && fn.Ret != types.OIDRecord {
		return nil
	}
	return out
}

// bindCast makes the step of a cast that pg_cast gives to a function. Such functions may take the target's
// modifier and whether the cast is explicit as second and third argument.
func bindCast(fn *Func, from, to *types.T, cc CastContext) (EvalFunc, error) {
	im := findImpl(fn)
	if im == nil {
		return hooked(fn), nil
	}
	call := &Call{Func: fn, Args: []*types.T{bare(from.BaseType())}, Ret: bare(to), Strict: fn.Strict, Volatility: fn.Volatility}
	eval := im.eval
	if im.bind != nil {
		var err error
		if eval, err = im.bind(call); err != nil {
			return nil, err
		}
	}
	if len(fn.Args) == 1 {
		return eval, nil
	}
	extra := []types.Datum{types.NewInt(int64(to.Typmod)), types.NewBool(cc == CastExplicit)}[:len(fn.Args)-1]
	return func(ctx *Ctx, args []types.Datum) (types.Datum, error) {
		return eval(ctx, append([]types.Datum{args[0]}, extra...))
	}, nil
}

// representationChange is the step between binary coercible types that differ in their Go form.
func representationChange(from, to *types.T) EvalFunc {
	if a, b := types.IsOIDLike(from), types.IsOIDLike(to); a != b && from.Kind == types.KindInt && to.Kind == types.KindInt {
		// int4 and oid share their bits, not their sign.
		return func(_ *Ctx, args []types.Datum) (types.Datum, error) {
			if b {
				return types.NewInt(int64(uint32(args[0].Int()))), nil
			}
			return types.NewInt(int64(int32(args[0].Int()))), nil
		}
	}
	if from.Kind == to.Kind || to.OID == types.OIDAny || isPolymorphic(to.OID) {
		return nil
	}
	return func(ctx *Ctx, args []types.Datum) (types.Datum, error) {
		return types.ParseText(string(types.AppendText(nil, args[0], from, ctx.Settings)), bare(to), ctx.Settings)
	}
}

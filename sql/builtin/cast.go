package builtin

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// path is how one type becomes another, PostgreSQL's find_coercion_pathway. method is 'b' for binary
// coercible, 'f' for a function, 'i' for a detour over text, 'a' for an array whose elements are cast one
// by one, 0 for no way.
type path struct {
	method byte
	fn     types.OID
}

func pathway(from, to *types.T, cc CastContext) path {
	from, to = from.BaseType(), to.BaseType()
	if from.OID == to.OID {
		return path{method: 'b'}
	}
	if from.Fold && (to.OID == types.OIDText || to.OID == types.OIDVarchar || to.OID == types.OIDBPChar && cc >= CastAssignment) {
		return path{method: 'b'}
	}
	if to.Fold && cc >= CastAssignment {
		if c := catalog().casts[[2]types.OID{from.OID, types.OIDText}]; c != nil {
			return path{method: c.Method, fn: c.Func}
		}
	}
	if c := catalog().casts[[2]types.OID{from.OID, to.OID}]; c != nil {
		if c.Context == 'i' || c.Context == 'a' && cc >= CastAssignment || cc == CastExplicit {
			return path{method: c.Method, fn: c.Func}
		}
		return path{}
	}
	if from.Kind == types.KindArray && from.Elem != nil && to.IsArray() {
		p := pathway(from.Elem, to.Elem, cc)
		if p.method == 'b' {
			return p
		}
		if p.method != 0 {
			return path{method: 'a'}
		}
	}
	if from.Kind == types.KindRange && to.Kind == types.KindMultirange && to.Sub != nil && to.Sub.OID == from.OID && cc == CastExplicit {
		return path{method: 'm'}
	}
	if to.OID == types.OIDAnyArray && from.IsArray() || to.OID == types.OIDRecord && from.Kind == types.KindTuple {
		return path{method: 'b'}
	}
	if from.Class == 'p' && from.OID != types.OIDRecord && from.OID != types.OIDCstring && from.OID != types.OIDVoid {
		return path{}
	}
	if to.OID == types.OIDAny || to.OID == types.OIDAnyElement {
		return path{method: 'b'}
	}
	if from.OID == types.OIDRecord && to.Kind == types.KindTuple && to.Class == 'c' && cc >= CastImplicit {
		return path{method: 'r'}
	}
	if cc >= CastAssignment && to.Category == 'S' || cc == CastExplicit && from.Category == 'S' && to.Class != 'p' {
		return path{method: 'i'}
	}
	return path{}
}

// wideningInts are casts that change nothing: all integers are one kind of datum.
var wideningInts = map[string]bool{"i2toi4": true, "int28": true, "int48": true, "oidtoi8": true, "ftod": true}

// IsBinaryCoercible reports whether a value of type from already is one of type to.
func IsBinaryCoercible(from, to *types.T) bool { return pathway(from, to, CastImplicit).method == 'b' }

// ResolveCast finds the way from one type to another, the target's modifier included. From types.Unknown
// the text is parsed as the target type.
func ResolveCast(from, to *types.T, cc CastContext) (*Cast, error) {
	c := &Cast{From: from, To: to, Volatility: 'i'}
	if to.Class == 'd' && to.Def != nil {
		// The constraints of a domain are the binder's: it knows its checks. Here only the base matters.
		base, err := ResolveCast(from, to.Def.Base, cc)
		if err != nil {
			return nil, err
		}
		base.To = to
		return base, nil
	}
	if from.OID == types.OIDUnknown && to.OID != types.OIDUnknown {
		if to.OID == types.OIDText || to.OID == types.OIDAny || to.OID == types.OIDCstring {
			c.NoOp = true
			return c, nil
		}
		c.Volatility = 's'
		explicit := cc == CastExplicit
		c.eval = func(ctx *Ctx, args []types.Datum) (types.Datum, error) {
			return parseLiteral(args[0].Str(), to, ctx.Settings, explicit)
		}
		return c, nil
	}
	p := pathway(from, to, cc)
	var step EvalFunc
	switch p.method {
	case 'b':
		if from.BaseType().OID == to.OID && (to.Typmod < 0 || from.BaseType().Typmod == to.Typmod) {
			c.NoOp = true
			return c, nil
		}
		step = representationChange(from.BaseType(), to)
	case 'm':
		step = func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewMultirange(setOf(a[0])), nil }
	case 'f':
		fn := catalog().funcByOID[p.fn]
		if fn.Src == "i2toi4" && types.IsOIDLike(to) {
			step = func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				return types.NewInt(int64(uint32(a[0].Int()))), nil
			}
			break
		}
		if len(fn.Args) > 1 && from.BaseType().OID == to.OID {
			break // a length coercion: the modifier step below does it
		}
		if wideningInts[fn.Src] && to.Typmod < 0 && (types.IsOIDLike(to) == types.IsOIDLike(from.BaseType()) || to.OID == types.OIDInt8) {
			c.NoOp = true
			return c, nil
		}
		call, err := bindCast(fn, from, to, cc)
		if err != nil {
			return nil, err
		}
		step, c.Volatility = call, fn.Volatility
	case 'i':
		src := from.BaseType()
		c.Volatility = 's'
		step = func(ctx *Ctx, args []types.Datum) (types.Datum, error) {
			if src.Kind == types.KindString && to.Kind == types.KindString && to.Category == 'S' && src.Category == 'S' {
				return args[0], nil
			}
			text := types.AppendText(nil, args[0], src, ctx.Settings)
			return parseLiteral(string(text), bare(to), ctx.Settings, cc == CastExplicit)
		}
	case 'a':
		elem, err := ResolveCast(from.BaseType().Elem, to.Elem, cc)
		if err != nil {
			return nil, err
		}
		c.Volatility = elem.Volatility
		c.eval = func(ctx *Ctx, args []types.Datum) (types.Datum, error) {
			src := args[0].Array()
			out := &types.Array{Elem: bare(to.Elem), Dims: src.Dims, Elems: make([]types.Datum, len(src.Elems))}
			for i, e := range src.Elems {
				if e.IsNull() {
					continue
				}
				d, err := elem.Eval(ctx, e)
				if err != nil {
					return types.Null, err
				}
				out.Elems[i] = d
			}
			return types.NewArray(out), nil
		}
		return c, nil
	case 'r':
		return castRecord(c, from, to, cc)
	default:
		return nil, pgerr.New(pgerr.CannotCoerce, "cannot cast type %s to %s", types.TypeName(from), types.TypeName(to))
	}
	if to.Typmod < 0 {
		if step == nil {
			c.NoOp = true
		}
		c.eval = step
		return c, nil
	}
	explicit := cc == CastExplicit
	c.eval = func(ctx *Ctx, args []types.Datum) (types.Datum, error) {
		d := args[0]
		if step != nil {
			var err error
			if d, err = step(ctx, args); err != nil || d.IsNull() {
				return d, err
			}
		}
		return types.CoerceTypmod(d, to, explicit)
	}
	return c, nil
}

// parseLiteral reads text as a value of type t; an explicit cast truncates where an assignment would fail.
func parseLiteral(text string, t *types.T, s *types.Settings, explicit bool) (types.Datum, error) {
	if t.OID == types.OIDJSONPath {
		p, err := types.ParsePath(text)
		if err == nil {
			err = checkPathRegexes(p)
		}
		if err != nil {
			return types.Null, err
		}
		return types.NewString(p.String()), nil
	}
	if !explicit || t.Typmod < 0 {
		return types.ParseText(text, t, s)
	}
	b := bare(t)
	if t.OID == types.OIDInterval {
		b = t // its modifier says what a bare number means
	}
	d, err := types.ParseText(text, b, s)
	if err != nil {
		return d, err
	}
	return types.CoerceTypmod(d, t, true)
}

func castRecord(c *Cast, from, to *types.T, cc CastContext) (*Cast, error) {
	if to.Def == nil {
		c.NoOp = true
		return c, nil
	}
	fields := to.Def.Fields
	c.Volatility = 's'
	c.eval = func(ctx *Ctx, args []types.Datum) (types.Datum, error) {
		src := args[0].Tuple()
		if len(src.Elems) != len(fields) {
			return types.Null, pgerr.New(pgerr.CannotCoerce, "cannot cast type %s to %s", types.TypeName(from), types.TypeName(to))
		}
		out := &types.Tuple{Elems: make([]types.Datum, len(fields))}
		for i, f := range fields {
			out.Types, out.Names = append(out.Types, f.Type), append(out.Names, f.Name)
			if src.Elems[i].IsNull() {
				continue
			}
			fc, err := ResolveCast(src.Types[i], f.Type, cc)
			if err != nil {
				return types.Null, err
			}
			if out.Elems[i], err = fc.Eval(ctx, src.Elems[i]); err != nil {
				return types.Null, err
			}
		}
		return types.NewTuple(out), nil
	}
	return c, nil
}

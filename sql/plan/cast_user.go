package plan

import (
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/types"
)

// casts are the casts that users have made, nil if there are none.
func (b *binder) casts() builtin.CastSource {
	if c, ok := b.env.Catalog.(interface{ UserCasts() builtin.CastSource }); ok {
		return c.UserCasts()
	}
	return nil
}

// UserCasts are the casts that users have made, nil if there are none.
func (c *SnapshotCatalog) UserCasts() builtin.CastSource {
	if len(c.Snap.Casts()) == 0 {
		return nil
	}
	return c
}

// UserCast implements builtin.CastSource.
func (c *SnapshotCatalog) UserCast(from, to types.OID) *builtin.UserCast {
	d := c.Snap.CastBetween(from, to)
	if d == nil {
		return nil
	}
	u := &builtin.UserCast{Method: d.Method, Context: d.Context}
	if f := c.Snap.FunctionByID(uint32(d.Func)); f != nil {
		u.Func = c.routine(f)
	} else if d.Func != 0 {
		u.Func = builtin.FuncByOID(d.Func)
	}
	return u
}

// canCoerce reports whether there is a cast between two types in a context, a built-in one or a user's.
func (b *binder) canCoerce(from, to *types.T, cc builtin.CastContext) bool {
	if u := builtin.FindUserCast(b.casts(), from, to); u != nil {
		return u.Allows(cc)
	}
	return builtin.CanCoerce(from, to, cc)
}

// userCast converts e by a cast that a user has made.
func (b *binder) userCast(e Expr, u *builtin.UserCast, to *types.T, cc builtin.CastContext, pos int32) (Expr, error) {
	from := e.Type()
	if !u.Allows(cc) {
		return nil, b.cannotCoerce(from, to, pos)
	}
	form := FormImplicit
	if cc == builtin.CastExplicit {
		form = FormExplicit
	}
	base := to.BaseType()
	switch {
	case u.Method == 'b':
		return b.domain(&Cast{Arg: e, C: builtin.SameCast(from, base), T: to, Form: form}, to)
	case u.Method == 'i' || u.Func == nil:
		return b.domain(&Cast{Arg: e, C: builtin.TextCast(from, base), T: to, Form: form}, to)
	}
	fn := u.Func
	param := types.ByOID(fn.Args[0])
	if fn.Types != nil {
		param = fn.Types[0]
	}
	args := []Expr{&Cast{Arg: e, C: builtin.SameCast(from, param), T: param, Form: FormImplicit}}
	if from.OID == param.OID {
		args[0] = e
	}
	ts := []*types.T{param}
	if len(fn.Args) > 1 {
		args, ts = append(args, &Const{D: types.NewInt(int64(to.Typmod)), T: types.Int4}), append(ts, types.Int4)
	}
	if len(fn.Args) > 2 {
		args, ts = append(args, &Const{D: types.NewBool(cc == builtin.CastExplicit), T: types.Bool}), append(ts, types.Bool)
	}
	call, err := builtin.BindFunc(fn, ts)
	if err != nil {
		return nil, at(err, pos)
	}
	if r, ok := fn.User.(*Routine); ok {
		b.uses(fn)
		if r.Desc.ACL != nil {
			b.need(r.Desc.ID, 'X')
		}
		if call.Volatility == 'v' && r.Writes() {
			b.calls = true
		}
	}
	b.mutable = b.mutable || call.Volatility != 'i'
	if call.Volatility == 'v' {
		b.volatile = true
	}
	var x Expr = &Func{Name: fn.Name, Call: call, Args: args, T: to}
	if to.Class != 'd' && call.Ret.OID != to.OID {
		x = &Cast{Arg: &Func{Name: fn.Name, Call: call, Args: args, T: call.Ret}, C: builtin.SameCast(call.Ret, base), T: to, Form: form}
	}
	return b.domain(x, to)
}

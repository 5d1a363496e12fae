package builtin

import "github.com/meridian-db/meridian/sql/types"

// UserCast is a cast that a user has made: pg_cast's method and context. Func is nil but for method 'f'.
type UserCast struct {
	Func            *Func
	Method, Context byte
}

// CastSource finds the casts that users have made; nil where there is none.
type CastSource interface {
	UserCast(from, to types.OID) *UserCast
}

// Allows reports whether the cast may stand in a context.
func (c *UserCast) Allows(cc CastContext) bool {
	return c.Context == 'i' || c.Context == 'a' && cc >= CastAssignment || cc == CastExplicit
}

// FindUserCast finds a user's cast between two types, or the types under domains.
func FindUserCast(s CastSource, from, to *types.T) *UserCast {
	if s == nil || from.OID == types.OIDUnknown || from.BaseType().OID == to.BaseType().OID {
		return nil
	}
	return s.UserCast(from.BaseType().OID, to.BaseType().OID)
}

// userCoercible reports whether a user's implicit cast leads from one type to another.
func userCoercible(s CastSource, from *types.T, to types.OID) bool {
	if s == nil || from.OID == types.OIDUnknown {
		return false
	}
	c := s.UserCast(from.BaseType().OID, to)
	return c != nil && c.Allows(CastImplicit)
}

// TextCast is a cast by way of the text of a value.
func TextCast(from, to *types.T) *Cast {
	src := from.BaseType()
	return &Cast{From: from, To: to, Volatility: 's', eval: func(ctx *Ctx, args []types.Datum) (types.Datum, error) {
		return parseLiteral(string(types.AppendText(nil, args[0], src, ctx.Settings)), to, ctx.Settings, true)
	}}
}

// SameCast is a cast between types whose values look alike.
func SameCast(from, to *types.T) *Cast {
	c := &Cast{From: from, To: to, Volatility: 'i', eval: representationChange(from.BaseType(), to)}
	c.NoOp = c.eval == nil
	return c
}

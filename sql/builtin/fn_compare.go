package builtin

import (
	"strings"

	"github.com/meridian-db/meridian/sql/types"
)

// cmpResult makes a comparison of the result of a three-way one.
func cmpResult(op CmpOp) func(c int) bool {
	switch op {
	case CmpEQ:
		return func(c int) bool { return c == 0 }
	case CmpNE:
		return func(c int) bool { return c != 0 }
	case CmpLT:
		return func(c int) bool { return c < 0 }
	case CmpLE:
		return func(c int) bool { return c <= 0 }
	case CmpGT:
		return func(c int) bool { return c > 0 }
	}
	return func(c int) bool { return c >= 0 }
}

// cmpInts are the comparisons of all kinds that Datum.Int orders.
func cmpInts(op CmpOp) EvalFunc {
	switch op {
	case CmpEQ:
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			return types.NewBool(a[0].Int() == a[1].Int()), nil
		}
	case CmpNE:
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			return types.NewBool(a[0].Int() != a[1].Int()), nil
		}
	case CmpLT:
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewBool(a[0].Int() < a[1].Int()), nil }
	case CmpLE:
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			return types.NewBool(a[0].Int() <= a[1].Int()), nil
		}
	case CmpGT:
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewBool(a[0].Int() > a[1].Int()), nil }
	}
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewBool(a[0].Int() >= a[1].Int()), nil
	}
}

// registerCompare implements every ordinary comparison operator from the operator table: those between
// values of one representation by types.Compare, those between date and time types after conversion.
func registerCompare(l library) {
	for _, op := range catalog().opers {
		if op.Cmp == CmpNone {
			continue
		}
		fn := catalog().funcByOID[op.Proc]
		lt, rt := types.ByOID(op.Left), types.ByOID(op.Right)
		if fn == nil || lt == nil || rt == nil || l[fn.Src] != nil || l[fn.key()] != nil {
			continue
		}
		test := cmpResult(op.Cmp)
		name := fn.Src
		switch {
		case lt.OID == types.OIDXid8 || lt.OID == types.OIDPgLSN:
			l.fn(name, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				return types.NewBool(test(types.Compare(lt, a[0], a[1]))), nil
			})
		case lt.Kind == rt.Kind && lt.Kind <= types.KindInt && lt.Kind != types.KindNull,
			lt.OID == rt.OID && (lt.Kind == types.KindDate || lt.Kind == types.KindTime || lt.Kind == types.KindTimestamp || lt.Kind == types.KindTimestampTZ):
			l.fn(name, cmpInts(op.Cmp))
		case lt.Kind == types.KindString && rt.Kind == types.KindString && lt.OID != types.OIDBPChar && lt.OID != types.OIDInet &&
			lt.OID != types.OIDTSVector && lt.OID != types.OIDTSQuery && !isPolymorphic(lt.OID):
			l.fn(name, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				return types.NewBool(test(strings.Compare(a[0].Str(), a[1].Str()))), nil
			})
		case isPolymorphic(lt.OID) || lt.Kind == types.KindTuple || lt.Kind == types.KindArray:
			l.bound(name, func(c *Call) (EvalFunc, error) {
				t := c.Args[0]
				return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
					return types.NewBool(test(types.Compare(t, a[0], a[1]))), nil
				}, nil
			})
		case lt.Kind == rt.Kind:
			l.fn(name, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				return types.NewBool(test(types.Compare(lt, a[0], a[1]))), nil
			})
		default:
			if conv := dateComparison(lt, rt); conv != nil {
				l.fn(name, func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
					x, y := conv(ctx, a[0], a[1])
					return types.NewBool(test(cmp64(x, y))), nil
				})
			}
		}
	}
	// Row and enum comparisons, and the pattern operators, share names across tables or have no opclass.
	for name, op := range map[string]CmpOp{"text_pattern_lt": CmpLT, "text_pattern_le": CmpLE, "text_pattern_ge": CmpGE, "text_pattern_gt": CmpGT,
		"bpchar_pattern_lt": CmpLT, "bpchar_pattern_le": CmpLE, "bpchar_pattern_ge": CmpGE, "bpchar_pattern_gt": CmpGT} {
		test := cmpResult(op)
		if l[name] == nil {
			l.fn(name, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				return types.NewBool(test(strings.Compare(a[0].Str(), a[1].Str()))), nil
			})
		}
	}
	// Three-way comparisons and the larger and smaller functions of min and max.
	for _, fn := range catalog().funcs {
		if len(fn.Args) != 2 || fn.Args[0] != fn.Args[1] || l[fn.Src] != nil {
			continue
		}
		t := types.ByOID(fn.Args[0])
		if t == nil {
			continue
		}
		switch {
		case fn.Ret == types.OIDInt4 && strings.HasSuffix(fn.Name, "cmp"):
			l.fn(fn.Src, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				return types.NewInt(int64(sgn(types.Compare(t, a[0], a[1])))), nil
			})
		case fn.Ret == fn.Args[0] && (strings.HasSuffix(fn.Name, "larger") || strings.HasSuffix(fn.Name, "smaller")):
			larger := strings.HasSuffix(fn.Name, "larger")
			l.bound(fn.Src, func(c *Call) (EvalFunc, error) {
				t := c.Args[0]
				return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
					if (types.Compare(t, a[0], a[1]) > 0) == larger {
						return a[0], nil
					}
					return a[1], nil
				}, nil
			})
		}
	}
	// Without an operator class, but comparable.
	l.fn("xideq", cmpInts(CmpEQ))
	l.fn("xidneq", cmpInts(CmpNE))
	l.fn("cideq", cmpInts(CmpEQ))
	l.fn("xideqint4", cmpInts(CmpEQ))
	l.fn("xidneqint4", cmpInts(CmpNE))
}

func sgn(c int) int { return max(-1, min(1, c)) }

func cmp64(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// dateComparison returns a conversion of two different date and time types to comparable numbers.
func dateComparison(lt, rt *types.T) func(ctx *Ctx, a, b types.Datum) (int64, int64) {
	side := func(t *types.T, zoned bool) func(ctx *Ctx, d types.Datum) int64 {
		switch t.OID {
		case types.OIDDate, types.OIDTimestamp:
			return func(ctx *Ctx, d types.Datum) int64 {
				v := d.Int()
				if types.IsInfinite(v) {
					return v
				}
				if t.OID == types.OIDDate {
					if v > types.MaxTimestampDay {
						return types.DateInf - 1 // later than any timestamp, but not infinite
					}
					v *= microsPerDay
				}
				if zoned {
					v = types.UTCMicros(ctx.location(), v)
				}
				return v
			}
		case types.OIDTimestampTZ:
			return func(_ *Ctx, d types.Datum) int64 { return d.Int() }
		}
		return nil
	}
	zoned := lt.OID == types.OIDTimestampTZ || rt.OID == types.OIDTimestampTZ
	l, r := side(lt, zoned), side(rt, zoned)
	if l == nil || r == nil {
		return nil
	}
	return func(ctx *Ctx, a, b types.Datum) (int64, int64) { return l(ctx, a), r(ctx, b) }
}

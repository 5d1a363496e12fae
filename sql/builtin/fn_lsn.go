package builtin

import (
	"math/big"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// registerLSN adds the arithmetic of log positions, which are 64 bits without a sign.
func registerLSN(l library) {
	whole := func(d types.Datum) *apd.Decimal {
		return types.NumericFromBig(new(big.Int).SetUint64(uint64(d.Int())), 0)
	}
	toLSN := func(n *apd.Decimal) (types.Datum, error) {
		i, ok := new(big.Int).SetString(types.NumericString(types.NumericRound(n, 0)), 10)
		if !ok || i.Sign() < 0 || !i.IsUint64() {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "pg_lsn out of range")
		}
		return types.NewInt(int64(i.Uint64())), nil
	}
	difference := func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		n, err := types.NumericSub(whole(a[0]), whole(a[1]))
		return types.NewNumeric(n), err
	}
	l.fn("pg_lsn_mi", difference)
	l.fn("pg_wal_lsn_diff", difference)
	shift := func(lsn, n int, verb string, f func(a, b *apd.Decimal) (*apd.Decimal, error)) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			by := a[n].Numeric()
			if by.Form == apd.NaN {
				return types.Null, pgerr.Unsupported("cannot %s pg_lsn", verb)
			} else if !finite(by) {
				return types.Null, pgerr.Unsupported("cannot convert infinity to pg_lsn")
			}
			r, err := f(whole(a[lsn]), by)
			if err != nil {
				return types.Null, err
			}
			return toLSN(r)
		}
	}
	l.fn("pg_lsn_pli", shift(0, 1, "add NaN to", types.NumericAdd))
	l.fn("numeric_pl_pg_lsn(numeric pg_lsn)", shift(1, 0, "add NaN to", types.NumericAdd))
	l.fn("pg_lsn_mii", shift(0, 1, "subtract NaN from", types.NumericSub))
	l.fn("numeric_pg_lsn", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		n := a[0].Numeric()
		if n.Form == apd.NaN {
			return types.Null, pgerr.Unsupported("cannot convert NaN to pg_lsn")
		} else if !finite(n) {
			return types.Null, pgerr.Unsupported("cannot convert infinity to pg_lsn")
		}
		return toLSN(n)
	})
}

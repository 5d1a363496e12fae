package builtin

import (
	"math"

	"github.com/meridian-db/meridian/sql/types"
)

// registerMoney adds the arithmetic of money, which counts cents.
func registerMoney(l library) {
	l.fn("cash_pl", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewInt(a[0].Int() + a[1].Int()), nil })
	l.fn("cash_mi", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewInt(a[0].Int() - a[1].Int()), nil })
	rounded := func(f float64) types.Datum { return types.NewInt(int64(math.RoundToEven(f))) }
	single := func(f float64) float64 { return float64(float32(f)) }
	for _, n := range []string{"2", "4", "8"} {
		times := func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewInt(a[0].Int() * a[1].Int()), nil }
		l.fn("cash_mul_int"+n, times)
		l.fn("int"+n+"_mul_cash", times)
		l.fn("cash_div_int"+n, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			if a[1].Int() == 0 {
				return types.Null, types.ErrDivisionByZero()
			}
			return types.NewInt(a[0].Int() / a[1].Int()), nil
		})
	}
	for _, n := range []string{"4", "8"} {
		as := func(f float64) float64 {
			if n == "4" {
				return single(f)
			}
			return f
		}
		l.fn("cash_mul_flt"+n, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			return rounded(float64(a[0].Int()) * as(a[1].Float())), nil
		})
		l.fn("flt"+n+"_mul_cash", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			return rounded(as(a[0].Float()) * float64(a[1].Int())), nil
		})
		l.fn("cash_div_flt"+n, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			if a[1].Float() == 0 {
				return types.Null, types.ErrDivisionByZero()
			}
			return rounded(float64(a[0].Int()) / as(a[1].Float())), nil
		})
	}
	l.fn("cash_div_cash", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[1].Int() == 0 {
			return types.Null, types.ErrDivisionByZero()
		}
		return types.NewFloat(float64(a[0].Int()) / float64(a[1].Int())), nil
	})
}

package builtin

import (
	"math"
	"strings"

	"github.com/meridian-db/meridian/sql/types"
)

// registerMoney adds the arithmetic of money, which counts cents.
func registerMoney(l library) {
	whole := func(f func(a, b int64) (int64, bool)) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			n, ok := f(a[0].Int(), a[1].Int())
			if !ok {
				return types.Null, errOutOfRange(types.ByOID(types.OIDMoney))
			}
			return types.NewInt(n), nil
		}
	}
	l.fn("cash_pl", whole(addInt))
	l.fn("cash_mi", whole(subInt))
	rounded := func(f float64) (types.Datum, error) {
		f = math.RoundToEven(f)
		if math.IsNaN(f) || f < math.MinInt64 || f >= -math.MinInt64 {
			return types.Null, errOutOfRange(types.ByOID(types.OIDMoney))
		}
		return types.NewInt(int64(f)), nil
	}
	single := func(f float64) float64 { return float64(float32(f)) }
	for _, n := range []string{"2", "4", "8"} {
		l.fn("cash_mul_int"+n, whole(mulInt))
		l.fn("int"+n+"_mul_cash", whole(mulInt))
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
			return rounded(float64(a[0].Int()) * as(a[1].Float()))
		})
		l.fn("flt"+n+"_mul_cash", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			return rounded(as(a[0].Float()) * float64(a[1].Int()))
		})
		l.fn("cash_div_flt"+n, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			if a[1].Float() == 0 {
				return types.Null, types.ErrDivisionByZero()
			}
			return rounded(float64(a[0].Int()) / as(a[1].Float()))
		})
	}
	l.fn("cash_div_cash", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[1].Int() == 0 {
			return types.Null, types.ErrDivisionByZero()
		}
		return types.NewFloat(float64(a[0].Int()) / float64(a[1].Int())), nil
	})
	l.fn("cash_words", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewString(moneyWords(a[0].Int())), nil
	})
}

var (
	smallWords = strings.Fields("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
	tensWords  = strings.Fields("zero ten twenty thirty forty fifty sixty seventy eighty ninety")
)

// hundredsWords spells a number below 1000.
func hundredsWords(n uint64) string {
	tens := n % 100
	var words []string
	if n > 99 {
		words = append(words, smallWords[n/100], "hundred")
	}
	switch {
	case tens == 0 && n > 0:
	case tens%10 == 0 && tens > 10:
		words = append(words, tensWords[tens/10])
	case tens < 20:
		if n > 99 {
			words = append(words, "and")
		}
		words = append(words, smallWords[tens])
	default:
		words = append(words, tensWords[tens/10], smallWords[tens%10])
	}
	return strings.Join(words, " ")
}

// moneyWords spells an amount of cents.
func moneyWords(cents int64) string {
	var b strings.Builder
	n := uint64(cents)
	if cents < 0 {
		n = -n
		b.WriteString("minus ")
	}
	dollars := n / 100
	empty := b.Len()
	for i, unit := range []string{"quadrillion", "trillion", "billion", "million", "thousand"} {
		group := dollars
		for range 5 - i {
			group /= 1000
		}
		if group %= 1000; group > 0 {
			b.WriteString(hundredsWords(group) + " " + unit + " ")
		}
	}
	if dollars%1000 > 0 {
		b.WriteString(hundredsWords(dollars % 1000))
	}
	if b.Len() == empty {
		b.WriteString("zero")
	}
	b.WriteString(map[bool]string{true: " dollar and ", false: " dollars and "}[dollars == 1])
	b.WriteString(hundredsWords(n%100) + map[bool]string{true: " cent", false: " cents"}[n%100 == 1])
	text := b.String()
	return strings.ToUpper(text[:1]) + text[1:]
}

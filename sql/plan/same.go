package plan

import (
	"fmt"
	"strings"

	"github.com/meridian-db/meridian/sql/types"
)

// sameExpr reports whether two expressions are the same computation.
func sameExpr(a, b Expr) bool {
	if a == b {
		return true
	}
	if ca, ok := a.(*Col); ok {
		cb, ok := b.(*Col)
		return ok && ca.Slot == cb.Slot
	}
	var x, y strings.Builder
	return exprKey(&x, a) && exprKey(&y, b) && x.String() == y.String()
}

// exprKey writes a text that is equal for equal expressions; false when there is none.
func exprKey(w *strings.Builder, e Expr) bool {
	switch x := e.(type) {
	case *Col:
		fmt.Fprintf(w, "c%d;", x.Slot)
		return true
	case *Const:
		fmt.Fprintf(w, "k%d/%d:", x.T.OID, x.T.Typmod)
		if x.D.IsNull() {
			w.WriteString("null")
		} else {
			fmt.Fprintf(w, "%q", types.AppendText(nil, x.D, x.T, nil))
		}
		return true
	case *Param:
		fmt.Fprintf(w, "$%d", x.N)
		return true
	case *Hole:
		w.WriteString("_")
		return true
	case *Func:
		if x.Call.Volatility == 'v' {
			fmt.Fprintf(w, "%p", x)
			return true
		}
		fmt.Fprintf(w, "f%d:%s(", x.Call.Func.OID, x.Name)
	case *Cast:
		fmt.Fprintf(w, "::%d/%d(", x.T.OID, x.T.Typmod)
	case *Subquery:
		fmt.Fprintf(w, "q%d", x.ID)
		return true
	case *Grouping:
		fmt.Fprintf(w, "g%p", x.st)
		return true
	case *IsNull:
		fmt.Fprintf(w, "n%v(", x.Not)
	case *BoolTest:
		fmt.Fprintf(w, "t%v%v%v(", x.Not, x.Unknown, x.Want)
	case *DistinctFrom:
		fmt.Fprintf(w, "d%v(", x.Not)
	case *InList:
		fmt.Fprintf(w, "i%v(", x.Not)
	case *AnyAll:
		fmt.Fprintf(w, "a%v%d(", x.All, x.Op.Call.Func.OID)
	case *MinMax:
		fmt.Fprintf(w, "m%v(", x.Least)
	case *RowCompare:
		fmt.Fprintf(w, "r%s%d(", x.Op, len(x.Left))
	case *Field:
		fmt.Fprintf(w, "F%d(", x.N)
	case *Case:
		fmt.Fprintf(w, "C%v%v%d(", x.Arg != nil, x.Else != nil, len(x.Conds))
		if x.Arg != nil {
			// The slot of the tested value differs between equal expressions.
			var in strings.Builder
			ok := true
			x.kids(func(k *Expr) {
				ok = ok && exprKey(&in, *k)
				in.WriteByte(',')
			})
			w.WriteString(strings.ReplaceAll(in.String(), fmt.Sprintf("c%d;", x.ArgSlot), "c@;"))
			return ok
		}
	case *Subscript:
		fmt.Fprintf(w, "S%v%d(", x.Slice, len(x.Upper))
	default:
		fmt.Fprintf(w, "%T(", e)
	}
	ok := true
	e.kids(func(k *Expr) {
		ok = ok && exprKey(w, *k)
		w.WriteByte(',')
	})
	w.WriteByte(')')
	return ok
}

func aggKey(a *AggFunc) string {
	var w strings.Builder
	fmt.Fprintf(&w, "%d %v %v|", a.Call.Func.OID, a.Distinct, a.Star)
	for _, x := range a.Args {
		exprKey(&w, x)
		w.WriteByte(',')
	}
	for _, k := range a.Order {
		fmt.Fprintf(&w, "|%v%v", k.Desc, k.NullsFirst)
		exprKey(&w, k.E)
	}
	if a.Filter != nil {
		w.WriteString("|F")
		exprKey(&w, a.Filter)
	}
	return w.String()
}

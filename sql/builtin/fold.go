package builtin

import (
	"github.com/meridian-db/meridian/sql/types"
)

// foldedOperators are the operators on text that stand for those on a type in which case does not count.
var foldedOperators = map[string]string{
	"~~": "~~*", "!~~": "!~~*", "~": "~*", "!~": "!~*", "~~*": "~~*", "!~~*": "!~~*", "~*": "~*", "!~*": "!~*",
}

// foldedOperator resolves an operator on values of a type in which case does not count (types.T.Fold), nil if it is none.
// One of the operands may be a literal without a type, a pattern may also be text.
func foldedOperator(name string, left, right *types.T) *Call {
	if left == nil {
		return nil
	}
	t := left.BaseType()
	if t.Hstore || right.BaseType().Hstore {
		return hstoreOperator(name, left, right)
	}
	if !t.Fold {
		t = right.BaseType()
	}
	may := func(o *types.T) bool { return o.BaseType().Fold || o.OID == types.OIDUnknown }
	if !t.Fold || !may(left) {
		return nil
	}
	if pattern := foldedOperators[name]; pattern != "" && (may(right) || right.OID == types.OIDText) {
		call, err := ResolveOperator(pattern, types.Text, types.Text)
		if err != nil {
			return nil
		}
		return call
	}
	if !may(right) {
		return nil
	}
	call, err := ResolveOperator(name, types.Text, types.Text)
	if err != nil || call.Cmp == CmpNone {
		return nil
	}
	holds := cmpResult(call.Cmp)
	call.Args = []*types.T{bare(t), bare(t)}
	call.Eval = func(_ *Ctx, args []types.Datum) (types.Datum, error) {
		return types.NewBool(holds(types.Compare(t, args[0], args[1]))), nil
	}
	return call
}

// hstoreOperator resolves = and <> of values of hstore, whose texts are the same when they are.
func hstoreOperator(name string, left, right *types.T) *Call {
	t := left.BaseType()
	if !t.Hstore {
		t = right.BaseType()
	}
	may := func(o *types.T) bool { return o.BaseType().OID == t.OID || o.OID == types.OIDUnknown }
	if !may(left) || !may(right) {
		return nil
	}
	call, err := ResolveOperator(name, types.Text, types.Text)
	if err != nil || call.Cmp != CmpEQ && call.Cmp != CmpNE {
		return nil
	}
	call.Args = []*types.T{bare(t), bare(t)}
	return call
}

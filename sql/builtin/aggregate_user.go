package builtin

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// BindFunc makes the call of a function for arguments of these types, one for each of its parameters.
func BindFunc(fn *Func, args []*types.T) (*Call, error) {
	c := &candidate{fn: fn, args: fn.Args}
	if len(args) != len(fn.Args) {
		return nil, pgerr.New(pgerr.InternalError, "function %s takes %d arguments, not %d", fn.Name, len(fn.Args), len(args))
	}
	return bind(c, args)
}

// bindUserAggregate completes the call of a users' aggregate.
func bindUserAggregate(call *Call, c *candidate) error {
	fn := call.Func
	args := call.Args
	if c.expanded > 0 && fn.Variadic != types.OIDAny {
		last := len(fn.Args) - 1
		t := types.ArrayOf(call.Args[len(call.Args)-1])
		if !isPolymorphic(fn.Args[last]) {
			t = fn.Types[last]
		}
		args = append(args[:last:last], t)
	}
	var state *types.T // as resolved, if it is polymorphic
	var err error
	if isPolymorphic(fn.StateType) {
		if _, state, err = polyResolve(call.Args, c.args, fn.StateType); err != nil {
			return err
		}
	}
	call.NewAcc, err = fn.Accumulate(state, args)
	return err
}

// UserAggregate is an aggregate made of functions.
type UserAggregate struct {
	Trans   *Call
	Final   *Call // nil: the state is the result
	Initial types.Datum
	// Began says that Initial is the state before the first row even if it is NULL: there is no first value to take its place.
	Began bool
	Extra int // arguments of Final besides the state
}

// New makes the state of a group.
func (a *UserAggregate) New() Accumulator {
	return &userAcc{agg: a, state: a.Initial, began: a.Began || !a.Initial.IsNull()}
}

// userAcc calls the functions of a users' aggregate.
type userAcc struct {
	agg   *UserAggregate
	state types.Datum
	began bool
	args  []types.Datum
}

// State is the memory that a state takes, as far as it is known.
func (u *userAcc) Held() types.Datum { return u.state }

// Holder is an Accumulator whose state is one value that may grow.
type Holder interface{ Held() types.Datum }

func (u *userAcc) Add(ctx *Ctx, args []types.Datum) error {
	a := u.agg
	if a.Trans.Strict {
		for _, d := range args {
			if d.IsNull() {
				return nil
			}
		}
		if !u.began {
			u.began = true
			u.state = types.Detach(args[0])
			return nil
		}
		if u.state.IsNull() {
			return nil // it has become NULL, and stays
		}
	}
	u.began = true
	u.args = append(append(u.args[:0], u.state), args...)
	d, err := a.Trans.Eval(ctx, u.args)
	if err != nil {
		return err
	}
	u.state = types.Detach(d)
	return nil
}

// AddKept implements Keeper: what is kept is a copy.
func (u *userAcc) AddKept(ctx *Ctx, args []types.Datum) error { return u.Add(ctx, args) }

func (u *userAcc) Result(ctx *Ctx) (types.Datum, error) {
	f := u.agg.Final
	if f == nil {
		return u.state, nil
	}
	if f.Strict && (u.state.IsNull() || u.agg.Extra > 0) {
		return types.Null, nil
	}
	args := make([]types.Datum, 1+u.agg.Extra)
	args[0] = u.state
	return f.Eval(ctx, args)
}

// Choose finds the function that a definition names: Resolve without what a call needs. params are the types of its
// parameters, one for each argument. The arguments may be of pseudotypes, as those of a polymorphic aggregate are; ret is of one
// then, too. The error says that there is none.
func Choose(r FuncRequest) (fn *Func, params []*types.T, ret *types.T, err error) {
	best, err := choose(functionCandidates(r), r.Args)
	if err != nil || best == nil {
		return nil, nil, nil, pgerr.New(pgerr.UndefinedFunction, "function %s does not exist", signature(r))
	}
	fn = best.fn
	for i, o := range best.args {
		t := typeByOID(o)
		if fn.RetType != nil {
			t = best.typeAt(i)
		}
		params = append(params, t)
	}
	if ret = fn.RetType; ret == nil {
		ret = typeByOID(fn.Ret)
	}
	if isPolymorphic(fn.Ret) {
		if ret, err = polyReturn(r.Args, best.args, fn.Ret); err != nil {
			return nil, nil, nil, err
		}
	}
	return fn, params, ret, nil
}

// IsPolymorphic reports whether a type is one of the pseudotypes that stand for others.
func IsPolymorphic(o types.OID) bool { return isPolymorphic(o) }

// polyReturn is polyResolve for arguments that may be of pseudotypes themselves.
func polyReturn(actual []*types.T, declared []types.OID, ret types.OID) (*types.T, error) {
	open := false
	for i, d := range declared {
		if d == ret {
			return bare(actual[i]), nil
		}
		open = open || isPolymorphic(d) && isPolymorphic(actual[i].OID)
	}
	if !open {
		_, t, err := polyResolve(actual, declared, ret)
		return t, err
	}
	for i, d := range declared {
		if !isPolymorphic(d) || isPolyElem(d) != isPolyElem(ret) {
			continue
		}
		switch a := actual[i]; {
		case isPolymorphic(a.OID):
			return typeByOID(ret), nil
		case (ret == types.OIDAnyArray || ret == types.OIDAnyCompatibleArray) && !a.IsArray():
			return types.ArrayOf(a), nil
		case a.IsArray():
			return a.Elem, nil
		}
	}
	return typeByOID(ret), nil
}

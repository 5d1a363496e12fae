package plan

import (
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// asAggregate makes f, the function of a users' aggregate, one that can be called.
func asAggregate(f *builtin.Func, s *catalog.Snapshot, d *catalog.Function) {
	f.Kind, f.Agg = 'a', &builtin.AggInfo{Kind: d.Agg.Kind, NumDirect: d.Agg.Direct}
	f.StateType = d.Agg.Stage.State.OID
	f.Accumulate = func(state *types.T, args []*types.T) (func() builtin.Accumulator, error) {
		if state == nil {
			state = s.TypeOf(d.Agg.Stage.State)
		}
		return accumulate(s, d, state, args)
	}
}

// FuncByOID returns a function of users or a built-in one, nil if there is none.
func FuncByOID(s *catalog.Snapshot, oid types.OID) *builtin.Func {
	if d := s.FunctionByID(uint32(oid)); d != nil {
		return RoutineFunc(s, d)
	}
	return builtin.FuncByOID(oid)
}

func accumulate(s *catalog.Snapshot, d *catalog.Function, state *types.T, args []*types.T) (func() builtin.Accumulator, error) {
	a := d.Agg
	if f := builtin.SameAggregate(a.Trans, a.Final); f != nil {
		call, err := builtin.BindFunc(f, args[:len(f.Args)])
		if err != nil {
			return nil, err
		}
		return call.NewAcc, nil
	}
	bound := func(id types.OID, args []*types.T) (*builtin.Call, error) {
		f := FuncByOID(s, id)
		if f == nil {
			return nil, pgerr.New(pgerr.UndefinedFunction, "a function of the aggregate %q does not exist", d.Name)
		}
		return builtin.BindFunc(f, args)
	}
	u := &builtin.UserAggregate{}
	var err error
	if u.Trans, err = bound(a.Trans, append([]*types.T{state}, args...)); err != nil {
		return nil, err
	}
	if a.Final != 0 {
		in := []*types.T{state}
		if a.Stage.Extra {
			in, u.Extra = append(in, args...), len(args)
		}
		if u.Final, err = bound(a.Final, in); err != nil {
			return nil, err
		}
	}
	if a.Stage.Init != nil {
		if u.Initial, err = types.ParseText(*a.Stage.Init, state, nil); err != nil {
			return nil, err
		}
	}
	return u.New, nil
}

// uses notes that the plan depends on a users' function, and on those that an aggregate is made of.
func (b *binder) uses(f *builtin.Func) {
	b.tables[uint32(f.OID)] = struct{}{}
	if r, ok := f.User.(*Routine); ok && r.Desc.Agg != nil {
		for _, id := range r.Desc.Agg.Functions() {
			if r.Snap.FunctionByID(uint32(id)) != nil {
				b.tables[uint32(id)] = struct{}{}
			}
		}
	}
}

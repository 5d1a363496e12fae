package builtin

import (
	"errors"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/types"
)

// Partial is a Merger whose state can travel: a part of a group is aggregated where its rows are, and the states are
// merged at the gateway. State holds nothing of the rows that were added beyond the call of Add that follows it.
type Partial interface {
	Merger
	// StateTypes are the types of State's values: always the same for one call of an aggregate.
	StateTypes() []*types.T
	State() []types.Datum
	// SetState gives a fresh accumulator the state of another. The values are of the types of StateTypes, or NULL.
	SetState(st []types.Datum) error
}

// Keeper is an Accumulator that may keep an argument. AddKept is Add for arguments whose memory is used again
// afterwards: what is kept is copied.
type Keeper interface {
	Accumulator
	AddKept(ctx *Ctx, args []types.Datum) error
}

// AddKept implements Keeper.
func (m *extremeAcc) AddKept(_ *Ctx, a []types.Datum) error {
	if d := a[0]; !d.IsNull() && (m.v.IsNull() || types.Compare(m.t, d, m.v)*m.sign > 0) {
		m.v = types.Detach(d)
	}
	return nil
}

// AddKept implements Keeper. Folding makes new values.
func (f *foldAcc) AddKept(ctx *Ctx, a []types.Datum) error {
	if f.v.IsNull() {
		f.v = types.Detach(a[0])
		return nil
	}
	return f.Add(ctx, a)
}

// ErrBadState reports a state that no accumulator of the same aggregate has made.
var ErrBadState = errors.New("builtin: malformed state of an aggregate")

// ints reads the first values of a state as integers.
func stateInts(st []types.Datum, n int, into ...*int64) error {
	if len(st) != n {
		return ErrBadState
	}
	for i, p := range into {
		if st[i].Kind() != types.KindInt {
			return ErrBadState
		}
		*p = st[i].Int()
	}
	return nil
}

func stateFloats(st []types.Datum, into ...*float64) error {
	if len(st) != len(into) {
		return ErrBadState
	}
	for i, p := range into {
		if st[i].Kind() != types.KindFloat {
			return ErrBadState
		}
		*p = st[i].Float()
	}
	return nil
}

func repeatType(t *types.T, n int) []*types.T {
	out := make([]*types.T, n)
	for i := range out {
		out[i] = t
	}
	return out
}

func (c *countAcc) StateTypes() []*types.T          { return []*types.T{types.Int8} }
func (c *countAcc) State() []types.Datum            { return []types.Datum{types.NewInt(c.n)} }
func (c *countAcc) SetState(st []types.Datum) error { return stateInts(st, 1, &c.n) }

func (s *intSum) StateTypes() []*types.T { return repeatType(types.Int8, 3) }
func (s *intSum) State() []types.Datum {
	return []types.Datum{types.NewInt(s.hi), types.NewInt(int64(s.lo)), types.NewInt(s.n)}
}
func (s *intSum) SetState(st []types.Datum) error {
	var lo int64
	err := stateInts(st, 3, &s.hi, &lo, &s.n)
	s.lo = uint64(lo)
	return err
}

func (s *numSum) StateTypes() []*types.T { return append(repeatType(types.Int8, 4), types.Numeric) }
func (s *numSum) State() []types.Datum {
	return []types.Datum{types.NewInt(s.n), types.NewInt(s.nan), types.NewInt(s.posInf), types.NewInt(s.negInf), types.NewNumeric(s.sum())}
}
func (s *numSum) SetState(st []types.Datum) error {
	if err := stateInts(st, 5, &s.n, &s.nan, &s.posInf, &s.negInf); err != nil {
		return err
	}
	if st[4].Kind() != types.KindNumeric {
		return ErrBadState
	}
	d := st[4].Numeric()
	if d.Form != apd.Finite {
		return ErrBadState
	}
	s.scale, s.small, s.big = d.Exponent, 0, d
	return nil
}

func (s *floatSum) StateTypes() []*types.T { return repeatType(types.Float8, 2) }
func (s *floatSum) State() []types.Datum {
	return []types.Datum{types.NewFloat(s.sum), types.NewFloat(float64(s.n))}
}
func (s *floatSum) SetState(st []types.Datum) error {
	var n float64
	err := stateFloats(st, &s.sum, &n)
	s.n = int64(n)
	return err
}

func (s *floatStats) StateTypes() []*types.T { return repeatType(types.Float8, 3) }
func (s *floatStats) State() []types.Datum {
	return []types.Datum{types.NewFloat(s.n), types.NewFloat(s.sx), types.NewFloat(s.sxx)}
}
func (s *floatStats) SetState(st []types.Datum) error { return stateFloats(st, &s.n, &s.sx, &s.sxx) }

func (s *numericStats) StateTypes() []*types.T {
	return append(s.sum.StateTypes(), s.sq.StateTypes()...)
}
func (s *numericStats) State() []types.Datum { return append(s.sum.State(), s.sq.State()...) }
func (s *numericStats) SetState(st []types.Datum) error {
	if len(st) != 10 {
		return ErrBadState
	}
	if err := s.sum.SetState(st[:5]); err != nil {
		return err
	}
	return s.sq.SetState(st[5:])
}

func (s *intervalSum) StateTypes() []*types.T { return repeatType(types.Int8, 4) }
func (s *intervalSum) State() []types.Datum {
	return []types.Datum{types.NewInt(s.months), types.NewInt(s.days), types.NewInt(s.micros), types.NewInt(s.n)}
}
func (s *intervalSum) SetState(st []types.Datum) error {
	return stateInts(st, 4, &s.months, &s.days, &s.micros, &s.n)
}

// Merge implements Merger.
func (s *intervalSum) Merge(_ *Ctx, o Accumulator) error {
	t := o.(*intervalSum)
	var ok bool
	s.months, s.days, s.n = s.months+t.months, s.days+t.days, s.n+t.n
	if s.micros, ok = addInt(s.micros, t.micros); !ok {
		return types.ErrIntervalRange()
	}
	return nil
}

func (m *extremeAcc) StateTypes() []*types.T { return []*types.T{m.t} }
func (m *extremeAcc) State() []types.Datum   { return []types.Datum{m.v} }
func (m *extremeAcc) SetState(st []types.Datum) error {
	if len(st) != 1 || !st[0].IsNull() && st[0].Kind() != m.t.BaseType().Kind {
		return ErrBadState
	}
	m.v = st[0]
	return nil
}

func (f *foldAcc) StateTypes() []*types.T { return []*types.T{f.t} }
func (f *foldAcc) State() []types.Datum   { return []types.Datum{f.v} }
func (f *foldAcc) SetState(st []types.Datum) error {
	if len(st) != 1 || !st[0].IsNull() && st[0].Kind() != f.t.Kind {
		return ErrBadState
	}
	f.v = st[0]
	return nil
}

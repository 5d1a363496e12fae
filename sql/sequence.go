package sql

import (
	"context"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// Values of sequences come from catalog.Sequences, outside the session's transaction; the session remembers
// what it drew, for currval and lastval.

// findSequence returns the sequence with an oid.
func (s *Session) findSequence(oid uint32) (*catalog.Table, error) {
	v, ok := s.txn.catalog.(*catalogView)
	if !ok {
		return nil, pgerr.New(pgerr.InternalError, "no catalog is open")
	}
	t := v.env().Snapshot.TableByID(oid)
	if t == nil {
		return nil, pgerr.New(pgerr.UndefinedTable, "relation with OID %d does not exist", oid)
	}
	if t.Sequence == nil {
		return nil, pgerr.New(pgerr.WrongObjectType, "\"%s\" is not a sequence", t.Name)
	}
	return t, nil
}

// SequenceRow implements exec.SequenceReader: the row of SELECT * FROM sequence.
func (s *Session) SequenceRow(ctx context.Context, id uint32) ([]types.Datum, error) {
	t, err := s.findSequence(id)
	if err != nil {
		return nil, err
	}
	last, called, err := s.srv.sequences.Last(ctx, t)
	if err != nil {
		return nil, err
	}
	var logged int64 // PostgreSQL logs 32 values ahead, and tools expect to see it
	if called {
		logged = 32
	}
	return []types.Datum{types.NewInt(last), types.NewInt(logged), types.NewBool(called)}, nil
}

// changesSequence refuses functions that change a sequence in a read-only transaction, unless it is a temporary one.
func (s *Session) changesSequence(function string, t *catalog.Table) error {
	if (s.txn.readOnly || s.txn.lone) && t.Persistence != 't' {
		return errReadOnly(function)
	}
	return nil
}

// sequenceFunctions are the SQL functions over sequences.
var sequenceFunctions = map[string]builtin.EvalFunc{
	"nextval": onSession(func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		t, err := s.findSequence(uint32(args[0].Int()))
		if err != nil {
			return types.Null, err
		}
		if err := s.changesSequence("nextval()", t); err != nil {
			return types.Null, err
		}
		if err := s.maySequence(t, "Uw"); err != nil {
			return types.Null, err
		}
		v, err := s.srv.sequences.NextVal(ctx, t)
		if err != nil {
			return types.Null, err
		}
		s.sequences.Drawn(t.ID, v, true)
		return types.NewInt(v), nil
	}),
	"setval": onSession(func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		t, err := s.findSequence(uint32(args[0].Int()))
		if err != nil {
			return types.Null, err
		}
		if err := s.changesSequence("setval()", t); err != nil {
			return types.Null, err
		}
		if err := s.maySequence(t, "w"); err != nil {
			return types.Null, err
		}
		called := len(args) < 3 || args[2].Bool()
		if err := s.srv.sequences.SetVal(ctx, t, args[1].Int(), called); err != nil {
			return types.Null, err
		}
		if called {
			s.sequences.Drawn(t.ID, args[1].Int(), false)
		}
		return args[1], nil
	}),
	"currval": onSession(func(s *Session, _ context.Context, args []types.Datum) (types.Datum, error) {
		t, err := s.findSequence(uint32(args[0].Int()))
		if err != nil {
			return types.Null, err
		}
		if err := s.maySequence(t, "Ur"); err != nil {
			return types.Null, err
		}
		v, ok := s.sequences.CurrVal(t.ID)
		if !ok {
			return types.Null, pgerr.New(pgerr.ObjectNotInPrerequisiteState, "currval of sequence \"%s\" is not yet defined in this session", t.Name)
		}
		return types.NewInt(v), nil
	}),
	"pg_trigger_depth": onSession(func(s *Session, _ context.Context, _ []types.Datum) (types.Datum, error) {
		return types.NewInt(int64(s.routines.triggers)), nil
	}),
	"lastval": onSession(func(s *Session, _ context.Context, _ []types.Datum) (types.Datum, error) {
		id, v, ok := s.sequences.LastVal()
		if ok {
			_, err := s.findSequence(id)
			ok = err == nil // it may have been dropped
		}
		if !ok {
			return types.Null, pgerr.New(pgerr.ObjectNotInPrerequisiteState, "lastval is not yet defined in this session")
		}
		return types.NewInt(v), nil
	}),
	"pg_sequence_last_value": onSession(func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		t, err := s.findSequence(uint32(args[0].Int()))
		if err != nil {
			return types.Null, err
		}
		v, called, err := s.srv.sequences.Last(ctx, t)
		if err != nil || !called {
			return types.Null, err
		}
		return types.NewInt(v), nil
	}),
}

// onSession makes a function of one that needs its session.
func onSession(f func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error)) builtin.EvalFunc {
	return func(c *builtin.Ctx, args []types.Datum) (types.Datum, error) {
		s, ok := c.Session.(*Session)
		if !ok {
			return types.Null, pgerr.Unsupported("this function needs a session")
		}
		ctx := c.Context
		if ctx == nil {
			ctx = s.stmtCtx.base
		}
		return f(s, ctx, args)
	}
}

package sql

import (
	"context"
	"errors"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/ddl"
	"github.com/meridian-db/meridian/sql/jobs"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// KindValidate is the kind of the jobs that hold the rows of a table against a constraint (ddl.Validation), while the
// table is in use: in a snapshot, without locks. One that is repeated, or resumed, begins anew.
const KindValidate = "validate constraint"

// deferValidation is ddl.Env.DeferValidation.
func (s *Session) deferValidation(v *catalogView) func(ctx context.Context, t *catalog.Table, name string, val ddl.Validation) error {
	if s.building == nil || s.srv.cfg.Jobs == nil {
		return nil
	}
	list := s.building
	return func(ctx context.Context, t *catalog.Table, name string, val ddl.Validation) error {
		id, err := s.srv.cfg.Jobs.Create(ctx, v.txn.KV(), jobs.Record{Kind: KindValidate, Description: name + " of " + t.Name,
			User: s.user, Database: s.args.Database}, val)
		if err == nil {
			*list = append(*list, id)
		}
		return err
	}
}

// validator handles jobs of KindValidate.
type validator struct{ srv *Server }

// Validator is the handler of KindValidate.
func (srv *Server) Validator() jobs.Handler { return validator{srv} }

// Resume implements jobs.Handler.
func (j validator) Resume(ctx context.Context, run *jobs.Run) (any, error) {
	var val ddl.Validation
	if err := run.Payload(&val); err != nil {
		return nil, err
	}
	s, err := indexBuilder(j).session(ctx, run)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for attempt := 0; ; attempt++ {
		versions, err := s.look(ctx, val)
		if err != nil && retryableAlone(err) && attempt < maxBackfillRetries && ctx.Err() == nil {
			continue // another change of the table wanted it
		}
		if err != nil {
			return nil, err
		}
		done := false
		err = s.changeCatalog(ctx, run.Until, func(ctx context.Context, v *catalogView) error {
			done, err = ddl.Conclude(ctx, &ddl.Env{View: v.txn}, val, versions)
			return err
		})
		if err != nil || done {
			return nil, err
		}
		if attempt >= maxBackfillRetries {
			return nil, pgerr.New(pgerr.ObjectInUse, "the table was altered all the time while a constraint of it was being validated")
		}
	}
}

// look looks for a row that violates a constraint, in a snapshot.
func (s *Session) look(ctx context.Context, val ddl.Validation) (map[uint32]uint64, error) {
	s.startTxn(phaseImplicit)
	defer s.endTxn(ctx, false)
	s.txn.readOnly, s.txn.iso = true, kv.Snapshot
	s.txn.replay.stop()
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.Statement(ctx); err != nil {
		return nil, err
	}
	v, ok := c.(*catalogView)
	if !ok {
		return nil, errors.New("sql: no catalog to read")
	}
	v.refresh()
	return ddl.Look(ctx, &ddl.Env{View: v.txn, Query: func(ctx context.Context, q ast.Stmt, emit func([]types.Datum) error) error {
		_, err := s.runOwn(ctx, q, nil, plan.Security{}, emit)
		return err
	}}, val)
}

// Revert implements jobs.Handler: a constraint that was added and does not hold, or is not to, goes.
func (j validator) Revert(ctx context.Context, run *jobs.Run) error {
	var val ddl.Validation
	if err := run.Payload(&val); err != nil || !val.Added {
		return err
	}
	s, err := indexBuilder(j).session(ctx, run)
	if pgerr.Code(err) == pgerr.UndefinedDatabase {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	return s.changeCatalog(ctx, run.Until, func(ctx context.Context, v *catalogView) error {
		return ddl.Undo(ctx, &ddl.Env{View: v.txn}, val)
	})
}

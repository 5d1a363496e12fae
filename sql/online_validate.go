package sql

import (
	"context"
	"errors"
	"fmt"
	"time"

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
// table is in use: a part of them after the other, each in a snapshot, without locks. It begins anew when the table is
// altered meanwhile.
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
	var st ddl.Looked
	if _, err := run.State(&st); err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		if err := s.lookAtAll(ctx, run, val, &st); err != nil {
			return nil, err
		}
		done := false
		err = s.changeCatalog(ctx, run.Until, func(ctx context.Context, v *catalogView) error {
			done, err = ddl.Conclude(ctx, &ddl.Env{View: v.txn}, val, st.Versions)
			return err
		})
		if err != nil || done {
			return nil, err
		}
		st = ddl.Looked{}
		if attempt >= maxBackfillRetries {
			return nil, pgerr.New(pgerr.ObjectInUse, "the table was altered all the time while a constraint of it was being validated")
		}
	}
}

// lookAtAll goes through the rows, from where st says.
func (s *Session) lookAtAll(ctx context.Context, run *jobs.Run, val ddl.Validation, st *ddl.Looked) error {
	pace := pacer{load: s.clientsActive}
	for retries := 0; !st.Done; {
		began := time.Now()
		next, total, err := s.look(ctx, val, *st)
		if err != nil && retryableAlone(err) && retries < maxBackfillRetries && ctx.Err() == nil {
			retries++
			continue // another change of the table wanted it
		}
		if err != nil {
			return err
		}
		*st, retries = next, 0
		p := jobs.Progress{Detail: fmt.Sprintf("%d rows", st.Rows), Done: st.Rows}
		if total > 0 {
			p.Fraction = min(0.99, float64(st.Rows)/total)
		}
		run.Show(p)
		if st.Done {
			return nil
		}
		if err := run.Checkpoint(ctx, st, false); err != nil {
			return err
		}
		if err := pace.pause(ctx, time.Since(began)); err != nil {
			return err
		}
	}
	return nil
}

// look looks for a row that violates a constraint among the next ones, in a snapshot. total is the number of rows that
// statistics know, 0 if none.
func (s *Session) look(ctx context.Context, val ddl.Validation, st ddl.Looked) (next ddl.Looked, total float64, err error) {
	s.startTxn(phaseImplicit)
	defer s.endTxn(ctx, false)
	s.txn.readOnly, s.txn.iso = true, kv.Snapshot
	s.txn.replay.stop()
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return st, 0, err
	}
	if err := c.Statement(ctx); err != nil {
		return st, 0, err
	}
	v, ok := c.(*catalogView)
	if !ok {
		return st, 0, errors.New("sql: no catalog to read")
	}
	v.refresh()
	next, err = ddl.Look(ctx, &ddl.Env{View: v.txn, Query: func(ctx context.Context, q ast.Stmt, emit func([]types.Datum) error) error {
		_, err := s.runOwn(ctx, q, nil, plan.Security{}, emit)
		return err
	}}, val, st)
	if t := v.snap.TableByID(val.Table); t != nil {
		if stats := v.snap.Stats(t); stats != nil {
			total = stats.Rows
		}
	}
	return next, total, err
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

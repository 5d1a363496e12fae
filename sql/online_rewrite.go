package sql

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/ddl"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/jobs"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
)

// KindRewrite is the kind of the jobs that write the rows of a table anew, in another shape, while it is in use
// (catalog.Rewriting): a part of them after the other, each in a transaction that locks the rows.
const KindRewrite = "rewrite table"

// tableRewrite is the payload of such a job.
type tableRewrite struct {
	Table uint32 `json:"table"`
	Total int64  `json:"total"` // rows, as far as statistics know
}

// deferRewrite is ddl.Env.DeferRewrite.
func (s *Session) deferRewrite(v *catalogView) func(ctx context.Context, t *catalog.Table) (uint64, error) {
	if s.building == nil || s.srv.cfg.Jobs == nil || s.olderNodes() {
		return nil
	}
	list := s.building
	return func(ctx context.Context, t *catalog.Table) (uint64, error) {
		if t.Rewriting.RowIDs(t) != nil {
			if all := s.srv.cfg.KeyDrops; all != nil && !all() {
				return 0, nil
			}
			// An event trigger is told of the key that goes, and may keep it, in the statement's transaction.
			if slices.ContainsFunc(v.snap.EventTriggers(), func(e *catalog.EventTrigger) bool { return firesAt(e, "sql_drop", "ALTER TABLE") }) {
				return 0, nil
			}
		}
		pt, err := v.TableByID(t.ID)
		if err != nil {
			return 0, err
		}
		if steady, err := plan.MirrorIsSteady(ctx, pt, plan.Env{Catalog: v, Builtin: &s.bctx}); err != nil || !steady {
			return 0, err
		}
		r := tableRewrite{Table: t.ID}
		if st := v.snap.Stats(t); st != nil {
			r.Total = int64(st.Rows)
		}
		id, err := s.srv.cfg.Jobs.Create(ctx, v.txn.KV(), jobs.Record{Kind: KindRewrite, Description: t.Name, User: s.user, Database: s.args.Database}, r)
		if err == nil {
			*list = append(*list, id)
		}
		return id, err
	}
}

// rewriter handles jobs of KindRewrite.
type rewriter struct{ srv *Server }

// Rewriter is the handler of KindRewrite.
func (srv *Server) Rewriter() jobs.Handler { return rewriter{srv} }

// Resume implements jobs.Handler.
func (j rewriter) Resume(ctx context.Context, run *jobs.Run) (any, error) {
	var r tableRewrite
	var st fillState
	err := run.Payload(&r)
	if err == nil {
		_, err = run.State(&st)
	}
	if err != nil {
		return nil, err
	}
	s, err := indexBuilder(j).session(ctx, run)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := s.rewriteRows(ctx, run, r, &st); err != nil {
		return nil, err
	}
	err = s.changeCatalog(ctx, run.Until, func(ctx context.Context, v *catalogView) error {
		return ddl.FinishRewrite(ctx, &ddl.Env{View: v.txn}, r.Table, run.ID())
	})
	return map[string]int64{"rows": st.Rows}, err
}

// rewriteRows writes the images of a table's rows, from a checkpoint on.
func (s *Session) rewriteRows(ctx context.Context, run *jobs.Run, r tableRewrite, st *fillState) error {
	return s.fill(ctx, run, st, r.Total, func(ctx context.Context, v *catalogView, limit int) ([]byte, int64, error) {
		d := v.snap.TableByID(r.Table)
		if d == nil || d.Rewriting == nil || d.Rewriting.Job != run.ID() {
			return nil, 0, ddl.RewriteLost()
		}
		t, env, err := s.filled(ctx, v, d)
		if err != nil {
			return nil, 0, err
		}
		next, n, err := exec.MirrorChunk(ctx, env, t, st.After, limit)
		return next, n, ddl.RewriteError(&ddl.Env{View: v.txn}, err, d)
	})
}

// Revert implements jobs.Handler: the table keeps the shape it has.
func (j rewriter) Revert(ctx context.Context, run *jobs.Run) error {
	var r tableRewrite
	if err := run.Payload(&r); err != nil {
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
		return ddl.UndoRewrite(ctx, &ddl.Env{View: v.txn}, r.Table, run.ID())
	})
}

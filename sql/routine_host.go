package sql

import (
	"context"
	"errors"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/plpgsql"
	"github.com/meridian-db/meridian/sql/types"
)

// routineHost implements plpgsql.Host.
type routineHost struct {
	s    *Session
	code *routineCode
	// transactional says that COMMIT and ROLLBACK are allowed.
	transactional bool
}

func (h *routineHost) stmt(q *plpgsql.Query) *routineStmt {
	st := h.code.plans[q]
	if st == nil {
		st = &routineStmt{node: q.Node, text: q.Source, shift: q.Shift}
		h.code.plans[q] = st
	}
	return st
}

func (h *routineHost) Run(ctx context.Context, q *plpgsql.Query, vars []plpgsql.Value, emit func([]plpgsql.Column, []types.Datum) error) (_ plpgsql.Result, err error) {
	defer h.s.enterFrame(queryFrame{q}, &err)()
	if call, ok := q.Node.(*ast.CallStmt); ok {
		_, err := h.s.call(ctx, call, q, vars, h.transactional)
		return plpgsql.Result{}, placedIn(err, q.Source, q.Shift)
	}
	return h.s.runRoutineStmt(ctx, h.code.desc.Volatility, h.stmt(q), q, vars, emit)
}

func (h *routineHost) Eval(ctx context.Context, q *plpgsql.Query, vars []plpgsql.Value) (_ plpgsql.Value, err error) {
	s := h.s
	st := h.stmt(q)
	leave := s.enterFrame(queryFrame{q}, &err)
	p, err := s.planRoutine(ctx, st, q, paramTypes(vars))
	if err != nil {
		leave()
		return plpgsql.Value{}, err
	}
	if len(p.Columns) != 1 {
		return plpgsql.Value{}, pgerr.New(pgerr.SyntaxError, "query returned %d columns", len(p.Columns))
	}
	out := plpgsql.Value{T: p.Columns[0].Type}
	if _, simple := p.Root.(*plan.OneRow); simple && len(p.Subqueries) == 0 {
		leave() // an expression by itself is no query
		if err := s.checkNeeds(p.Needs); err != nil {
			return out, err
		}
		c := plan.EvalCtx{Frame: make([]types.Datum, p.NumSlots), Params: datums(vars), B: &s.bctx}
		s.bctx.Context = ctx
		d, err := p.Output[0].Eval(&c)
		s.bctx.Context = ctx
		out.D = types.Detach(d)
		return out, err
	}
	defer leave()
	n := 0
	_, err = s.runRoutineStmt(ctx, h.code.desc.Volatility, st, q, vars, func(_ []plpgsql.Column, row []types.Datum) error {
		if n++; n > 1 {
			return pgerr.New(pgerr.CardinalityViolation, "query returned more than one row")
		}
		out.D = types.Detach(row[0])
		return nil
	})
	return out, err
}

func (h *routineHost) Dynamic(ctx context.Context, text string, args []plpgsql.Value, emit func([]plpgsql.Column, []types.Datum) error) (res plpgsql.Result, err error) {
	defer h.s.enterFrame(queryFrame{&plpgsql.Query{Source: text}}, &err)()
	sts, err := parser.Parse(text)
	if err != nil {
		return res, placedIn(err, text, 0)
	}
	for i := range sts {
		st := &routineStmt{node: sts[i].Stmt, text: text}
		if _, ok := st.node.(*ast.TransactionStmt); ok {
			return res, pgerr.Unsupported("EXECUTE of transaction commands is not implemented")
		}
		if sel, ok := st.node.(*ast.SelectStmt); ok && sel.Into != nil {
			return res, pgerr.Unsupported("EXECUTE of SELECT ... INTO is not implemented")
		}
		if res, err = h.s.runRoutineStmt(ctx, h.code.desc.Volatility, st, nil, args, emit); err != nil {
			return res, err
		}
	}
	return res, nil
}

func (h *routineHost) Coerce(ctx context.Context, v plpgsql.Value, to *types.T) (types.Datum, error) {
	s := h.s
	if to == nil || v.T == nil {
		return v.D, nil
	}
	if v.T.OID == to.OID && to.Class != 'd' && (to.Typmod < 0 || v.T.Typmod == to.Typmod) {
		return v.D, nil
	}
	if v.D.IsNull() && to.Class != 'd' {
		return types.Null, nil
	}
	if v.T.OID == types.OIDUnknown && v.D.Kind() == types.KindString && to.Class != 'd' {
		return types.ParseText(v.D.Str(), to, s.format)
	}
	k := coercionKey{v.T.OID, to.OID, to.Typmod}
	f := s.routines.casts[k]
	if f == nil || to.Class == 'd' || v.T.OID == types.OIDRecord {
		c, err := s.pinCatalog(ctx)
		if err != nil {
			return types.Null, err
		}
		env := plan.Env{Catalog: c, SearchPath: s.path(), Builtin: &s.bctx}
		if f, err = plan.PrepareCoercion(ctx, v.T, to, env); err != nil {
			// Without a cast the value goes through its text.
			from := v.T
			f = func(*builtin.Ctx, types.Datum) (types.Datum, error) { return types.Null, nil }
			if from.Kind == types.KindTuple || to.Kind == types.KindTuple {
				return v.D, nil
			}
			f = func(_ *builtin.Ctx, d types.Datum) (types.Datum, error) {
				return types.ParseText(string(types.AppendText(nil, d, from, s.format)), to, s.format)
			}
		}
		if s.routines.casts == nil {
			s.routines.casts = map[coercionKey]coercion{}
		}
		s.routines.casts[k] = f
	}
	return f(&s.bctx, v.D)
}

func (h *routineHost) Text(v plpgsql.Value) string {
	return string(types.AppendText(nil, v.D, v.T, h.s.format))
}

func (h *routineHost) Notice(n *pgerr.Error) { h.s.notice(n.Within(h.Context)) }

// Context implements plpgsql.Host.
func (h *routineHost) Context() string { return h.s.callContext(nil) }

// Atomic implements plpgsql.Host: f's changes are undone when it fails. A conflict cannot be caught, as it aborts the
// transaction.
func (h *routineHost) Atomic(ctx context.Context, f func() error) (bool, error) {
	s := h.s
	t := &s.txn
	tx, err := s.kvTxn(ctx)
	if err != nil {
		return false, err
	}
	sp, mark, deferred, settings, depth := tx.Savepoint(), t.catalog.Mark(), t.deferred.Mark(), len(s.vars.undo), s.routines.depth
	portals, caught, frames := s.portalSerial, s.routines.caught, len(s.routines.frames)
	user, super := s.user, s.superuser
	s.routines.caught++
	err = f()
	s.routines.caught = caught
	if err == nil {
		return false, nil
	}
	s.routines.frames = s.routines.frames[:frames]
	s.routines.depth, s.bctx.Context, s.user, s.superuser = depth, ctx, user, super
	if retryable(err) || errors.Is(err, catalog.ErrChanged) || ctx.Err() != nil {
		return false, err
	}
	e := s.inContext(WireError(err))
	if e.Code == pgerr.TRSerializationFailure || e.Code == pgerr.TRDeadlockDetected {
		return false, err
	}
	if rerr := tx.RollbackTo(ctx, sp); rerr != nil {
		return false, rerr
	}
	t.catalog.RollbackTo(mark)
	t.deferred.RollbackTo(deferred)
	s.undoSettings(settings)
	s.dropCursorsAfter(portals)
	return true, e
}

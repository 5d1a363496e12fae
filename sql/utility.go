package sql

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/ddl"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// runUtility runs a statement that does not go through the planner, and completes it. alone says that it is
// the only statement of its message, so that one that cannot run inside a transaction block may run.
func (s *Session) runUtility(ctx context.Context, st *statement, params []types.Datum, formats []int16, describe, alone bool) error {
	switch n := st.node.(type) {
	case nil:
		s.out.EmptyQuery()
		return nil
	case *ast.TransactionStmt:
		return s.runTxnStmt(ctx, n)
	case *ast.SetStmt:
		return s.runSet(n)
	case *ast.ShowStmt:
		return s.runShow(n, formats, describe)
	case *ast.PrepareStmt:
		return s.runPrepare(ctx, st, n)
	case *ast.ExecuteStmt:
		return s.runExecute(ctx, n, formats, describe, alone)
	case *ast.DeallocateStmt:
		return s.runDeallocate(n)
	case *ast.DeclareCursorStmt:
		return s.runDeclare(ctx, st, n, params)
	case *ast.FetchStmt:
		return s.runFetch(ctx, n, formats, describe)
	case *ast.CloseStmt:
		return s.runClose(n)
	case *ast.DiscardStmt:
		return s.runDiscard(ctx, n)
	case *ast.CopyStmt:
		return s.runCopy(ctx, st, n)
	case *ast.ExplainStmt:
		return s.runExplainUtility(ctx, st, n, formats, describe)
	case *ast.LockStmt:
		return s.runLock(ctx, n)
	case *ast.ConstraintsSetStmt:
		return s.runSetConstraints(ctx, n)
	case *ast.CheckpointStmt, *ast.LoadStmt, *ast.ReindexStmt, *ast.ClusterStmt:
		// Their work is done continuously, or not needed, by this storage.
		s.out.Complete(st.node.Tag())
		return nil
	case *ast.VacuumStmt:
		return s.runVacuum(ctx, n, alone)
	case *ast.ListenStmt, *ast.UnlistenStmt, *ast.NotifyStmt:
		return s.runNotify(ctx, n)
	case *ast.AlterSystemStmt:
		return pgerr.Unsupported("ALTER SYSTEM is not supported").WithHint("Use the flags of meridian start.")
	case *ast.UnsupportedStmt:
		return pgerr.Unsupported("%s is not supported", n.Name)
	case *ast.CreateIndexStmt:
		if s.txn.phase == phaseBlock || !alone {
			if n.Concurrently {
				return pgerr.New(pgerr.ActiveSQLTransaction, "CREATE INDEX CONCURRENTLY cannot run inside a transaction block")
			}
		} else if s.txn.pristine() {
			return s.runWithJobs(ctx, st)
		}
	case *ast.AlterTableStmt:
		if s.txn.phase != phaseBlock && alone && s.txn.pristine() && ddl.MayDefer(n) {
			return s.runWithJobs(ctx, st)
		}
	case *ast.CallStmt:
		k := *st
		k.call.formats, k.call.describe = formats, describe
		st = &k
	case *ast.CreateDatabaseStmt, *ast.DropDatabaseStmt:
		if s.txn.phase == phaseBlock || !alone {
			return pgerr.New(pgerr.ActiveSQLTransaction, "%s cannot run inside a transaction block", st.node.Tag())
		}
	}
	if sel, ok := st.node.(*ast.SelectStmt); ok {
		k := *st
		if k.node = selectInto(sel); k.node != nil {
			st = &k
		}
	}
	if cta, ok := st.node.(*ast.CreateTableAsStmt); ok {
		if ex, ok := cta.Query.(*ast.ExecuteStmt); ok {
			// The prepared query takes EXECUTE's place, with the arguments as its parameters.
			target := s.statements[ex.Name]
			if target == nil {
				return pgerr.New(pgerr.InvalidSQLStatementName, "prepared statement \"%s\" does not exist", ex.Name)
			}
			s.openImplicit()
			p, err := s.ensurePlan(ctx, target)
			if err != nil {
				return err
			}
			if params, err = s.evalArgs(ctx, ex.Args, p.ParamTypes); err != nil {
				return err
			}
			as := *cta
			as.Query = target.node
			st = &statement{text: st.text, from: st.from, to: st.to, node: &as}
		}
	}
	if err := s.mayStoreSettings(st.node); err != nil {
		return err
	}
	return s.runDDL(ctx, st, params)
}

// selectInto is the CREATE TABLE AS that SELECT ... INTO means, nil for a query without INTO.
func selectInto(q *ast.SelectStmt) ast.Stmt {
	into := intoOf(q)
	if into == nil {
		return nil
	}
	var without func(q *ast.SelectStmt) *ast.SelectStmt
	without = func(q *ast.SelectStmt) *ast.SelectStmt {
		plain := *q
		plain.Into = nil
		if q.Left != nil {
			plain.Left = without(q.Left)
		}
		return &plain
	}
	return &ast.CreateTableAsStmt{Object: ast.ObjTable, Into: into, Query: without(q), SelectInto: true}
}

// intoOf is the INTO of a query, which the first of several SELECTs has.
func intoOf(q *ast.SelectStmt) *ast.IntoClause {
	for q.Left != nil {
		q = q.Left
	}
	return q.Into
}

// utilityColumns are the result columns of a statement that the planner does not see; nil for none.
func (s *Session) utilityColumns(ctx context.Context, st *statement) ([]Column, error) {
	switch n := st.node.(type) {
	case *ast.ShowStmt:
		return showColumns(n), nil
	case *ast.FetchStmt:
		if p, err := s.findPortal(n.Cursor); err == nil && !n.Move {
			return s.portalColumns(p), nil
		}
	case *ast.ExecuteStmt:
		if target := s.statements[n.Name]; target != nil {
			return s.columnsOf(ctx, target)
		}
	case *ast.CallStmt:
		return s.callColumns(ctx, n, st.declared)
	case *ast.ExplainStmt:
		return []Column{{Name: "QUERY PLAN", Type: types.Text}}, nil
	}
	return nil, nil
}

// runDDL runs a statement that changes the catalog, in the open transaction or in one of its own.
func (s *Session) runDDL(ctx context.Context, st *statement, params []types.Datum) error {
	if s.txn.readOnly && s.txn.phase != phaseIdle || s.txn.phase == phaseIdle && s.vars.cur[idxDefaultReadOnly] == "on" {
		return errReadOnly(st.node.Tag())
	}
	if !s.txn.pristine() {
		return s.runDDLInTxn(ctx, st, params)
	}
	mark := s.out.Mark()
	for attempt := 0; ; attempt++ {
		s.openImplicit()
		s.txn.replay.stop() // repeated as a whole below
		s.routines.client, s.routines.committed = true, false
		tag, err := s.executeDDL(ctx, st, params)
		s.routines.client, s.routines.transactional, s.routines.caught = false, false, 0
		if err == nil {
			err = s.commit(ctx)
		}
		if err == nil {
			s.out.Complete(tag)
			return nil
		}
		if s.routines.committed || !retryableAlone(err) || attempt >= s.maxRetries || ctx.Err() != nil || !s.out.Rewind(mark) {
			return err
		}
		age := s.txn.age
		s.endTxn(ctx, false)
		s.startTxn(phaseImplicit)
		s.txn.age = age
	}
}

// runDDLInTxn runs a statement that changes the catalog inside the open transaction. It is repeated with the
// rest of the transaction after a conflict, as queries are.
func (s *Session) runDDLInTxn(ctx context.Context, st *statement, params []types.Datum) error {
	t := &s.txn
	mark := s.out.Mark()
	for {
		if !t.replay.off {
			s.out.BeginDigest(false)
		}
		tag, err := s.executeDDL(ctx, st, params)
		if err == nil {
			s.out.Complete(tag)
		}
		if t.replay.off {
			if retryable(err) {
				t.dead = true
			}
			return err
		}
		digest := s.out.EndDigest()
		if err == nil {
			t.replay.add(st, params, nil, false, digest)
			return nil
		}
		if !retryable(err) {
			return err
		}
		if !s.out.Rewind(mark) {
			t.dead = true
			return err
		}
		if err := s.retryBlock(ctx, err); err != nil {
			return err
		}
	}
}

func (s *Session) executeDDL(ctx context.Context, st *statement, params []types.Datum) (string, error) {
	s.txn.used = true
	s.bctx.Context = ctx
	tx, err := s.kvTxn(ctx)
	if err != nil {
		return "", err
	}
	if err := tx.Step(ctx); err != nil {
		return "", err
	}
	switch n := st.node.(type) {
	case *ast.DoStmt:
		return "DO", s.runDo(ctx, n)
	case *ast.CallStmt:
		return "CALL", s.runCall(ctx, st, n, params)
	}
	return s.executeWithEvents(ctx, st, func() (string, error) {
		return s.txn.catalog.Execute(ctx, st.node, DDLEnv{Txn: tx, Session: s, Text: st.source(), Params: params})
	})
}

// sendText answers with rows of text columns.
func (s *Session) sendText(cols []Column, rows [][]string, formats []int16, describe bool) error {
	s.out.BeginRows(cols, formats, s.format, describe)
	row := make([]types.Datum, len(cols))
	for _, r := range rows {
		for i := range r {
			row[i] = types.NewString(r[i])
		}
		if err := s.out.Row(row); err != nil {
			return err
		}
	}
	return nil
}

// runPrepare is PREPARE.
func (s *Session) runPrepare(ctx context.Context, src *statement, n *ast.PrepareStmt) error {
	if s.statements[n.Name] != nil {
		return pgerr.New(pgerr.DuplicatePstatement, "prepared statement \"%s\" already exists", n.Name)
	}
	if err := s.mayPrepare(src.text); err != nil {
		return err
	}
	st := &statement{name: n.Name, fromSQL: true, created: s.now(), text: src.text, node: n.Query, from: src.from, to: src.to, numParams: src.numParams}
	own := s.txn.pristine()
	s.openImplicit()
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return err
	}
	for _, tn := range n.Types {
		t, err := c.Type(s.path(), tn)
		if err != nil {
			return err
		}
		st.declared = append(st.declared, t)
	}
	// The largest $n is counted over the whole statement, which is right for its query.
	st.numParams = max(st.numParams, len(st.declared))
	if isPlanned(st.node) {
		if _, err := s.ensurePlan(ctx, st); err != nil {
			return err
		}
	}
	s.statements[n.Name] = st
	if own {
		if err := s.commit(ctx); err != nil {
			return err
		}
	}
	s.out.Complete("PREPARE")
	return nil
}

// runExecute is EXECUTE: its arguments are expressions, converted to the types of the parameters.
func (s *Session) runExecute(ctx context.Context, n *ast.ExecuteStmt, formats []int16, describe, alone bool) error {
	st := s.statements[n.Name]
	if st == nil {
		return pgerr.New(pgerr.InvalidSQLStatementName, "prepared statement \"%s\" does not exist", n.Name)
	}
	if s.txn.phase == phaseFailed && !endsTxn(st.node) {
		return errFailedTxn()
	}
	own := alone && s.txn.pristine()
	s.openImplicit()
	var params []types.Datum
	if isPlanned(st.node) {
		p, err := s.ensurePlan(ctx, st)
		if err != nil {
			return err
		}
		if len(n.Args) != len(p.ParamTypes) {
			return pgerr.New(pgerr.SyntaxError, "wrong number of parameters for prepared statement \"%s\"", n.Name).
				WithDetail("Expected %d parameters but got %d.", len(p.ParamTypes), len(n.Args))
		}
		if params, err = s.evalArgs(ctx, n.Args, p.ParamTypes); err != nil {
			return err
		}
	} else if len(n.Args) > 0 {
		return pgerr.New(pgerr.SyntaxError, "wrong number of parameters for prepared statement \"%s\"", n.Name).
			WithDetail("Expected %d parameters but got %d.", 0, len(n.Args))
	}
	if !isPlanned(st.node) {
		return s.runUtility(ctx, st, params, formats, describe, alone)
	}
	st, err := s.specialize(ctx, st, params)
	if err != nil {
		return err
	}
	if own {
		return s.runOne(ctx, st, params, formats, describe)
	}
	return s.runInTxn(ctx, st, params, formats, describe)
}

// evalArgs evaluates expressions without tables, each converted to its type.
func (s *Session) evalArgs(ctx context.Context, args []ast.Expr, to []*types.T) ([]types.Datum, error) {
	if len(args) == 0 {
		return nil, nil
	}
	sel := &ast.SelectStmt{Pos: ast.Pos{Off: -1}}
	for i, arg := range args {
		name := &ast.TypeName{Names: []string{"pg_catalog", to[i].Name}, Pos: ast.Pos{Off: -1}}
		if to[i].Typmod >= 0 {
			name = typeNameOf(to[i])
		}
		sel.Targets = append(sel.Targets, &ast.Target{Expr: &ast.TypeCast{Arg: arg, Type: name, Pos: ast.Pos{Off: arg.Position()}}, Pos: ast.Pos{Off: arg.Position()}})
	}
	var out []types.Datum
	_, err := s.runOwn(ctx, sel, nil, s.security(), func(row []types.Datum) error {
		out = slices.Clone(row)
		return nil
	})
	if pgerr.Code(err) == pgerr.CannotCoerce {
		e := *WireError(err)
		e.Code, e.Hint = pgerr.DatatypeMismatch, "You will need to rewrite or cast the expression."
		return nil, &e
	}
	return out, err
}

func typeNameOf(t *types.T) *ast.TypeName {
	return &ast.TypeName{Names: []string{"pg_catalog", t.Name}, Pos: ast.Pos{Off: -1}}
}

// runDeallocate is DEALLOCATE.
func (s *Session) runDeallocate(n *ast.DeallocateStmt) error {
	if n.Name == "" {
		clear(s.statements)
	} else if s.statements[n.Name] == nil {
		return pgerr.New(pgerr.InvalidSQLStatementName, "prepared statement \"%s\" does not exist", n.Name)
	} else {
		delete(s.statements, n.Name)
	}
	s.out.Complete(n.Tag())
	return nil
}

// runDiscard is DISCARD.
func (s *Session) runDiscard(ctx context.Context, n *ast.DiscardStmt) error {
	if n.Kind == ast.DiscardAll {
		if s.txn.phase == phaseBlock {
			return pgerr.New(pgerr.ActiveSQLTransaction, "DISCARD ALL cannot run inside a transaction block")
		}
		s.dropAllPortals()
		clear(s.statements)
		s.unnamed = nil
		s.authorized = ""
		s.becomes(s.args.User)
		s.resetAllSettings()
		s.srv.channels.apply(s, []listenAction{{channel: "*", off: true}})
		s.releaseSessionLocks(ctx)
	}
	if n.Kind == ast.DiscardAll || n.Kind == ast.DiscardSequences {
		s.sequences.Reset()
	}
	if n.Kind == ast.DiscardAll || n.Kind == ast.DiscardPlans {
		s.plannerEpoch++
	}
	if n.Kind == ast.DiscardAll || n.Kind == ast.DiscardTemp {
		if err := s.discardTemp(ctx); err != nil {
			return err
		}
	}
	s.endSettingsStatement()
	s.out.Complete(n.Tag())
	return nil
}

// runLock is LOCK TABLE. Rows are locked as they are used, so the weak modes, which keep out nothing but
// schema changes, have nothing to add. The stronger ones lock the span of the rows: SHARE keeps writers out,
// those above it also whoever reads with locks.
func (s *Session) runLock(ctx context.Context, n *ast.LockStmt) error {
	const rowExclusive, share = 3, 5
	if s.txn.phase != phaseBlock {
		return s.needsBlock("LOCK TABLE")
	}
	tx, err := s.kvTxn(ctx)
	if err != nil {
		return err
	}
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return err
	}
	if err := c.Statement(ctx); err != nil {
		return err
	}
	s.txn.replay.stop()
	s.txn.used = true
	lock, wait := kv.LockExclusive, kv.WaitBlock
	if n.Mode <= share {
		lock = kv.LockShared
	}
	if n.NoWait {
		wait = kv.WaitError
	}
	for _, rv := range n.Tables {
		t, err := c.Table(s.path(), rv.Schema, rv.Name)
		if err != nil {
			return err
		}
		if t == nil {
			return pgerr.New(pgerr.UndefinedTable, "relation \"%s\" does not exist", rv.Name).WithPosition(int(ast.PgPos(rv.Off)))
		}
		if err := c.Use(ctx, []uint32{t.ID}); err != nil {
			return err
		}
		if s.txn.readOnly && n.Mode > rowExclusive {
			return errReadOnly("LOCK TABLE")
		}
		if n.Mode < share || t.Kind != plan.BaseTable {
			continue
		}
		err = tx.LockSpan(ctx, catalog.TableSpan(t.StorageID), lock, wait)
		if errors.Is(err, kv.ErrLockNotAvailable) && !errors.Is(err, kv.ErrLockTimeout) {
			return pgerr.New(pgerr.LockNotAvailable, "could not obtain lock on relation \"%s\"", rv.Name)
		}
		if err != nil {
			return err
		}
	}
	s.out.Complete("LOCK TABLE")
	return nil
}

// runSetConstraints is SET CONSTRAINTS.
func (s *Session) runSetConstraints(ctx context.Context, n *ast.ConstraintsSetStmt) error {
	if s.txn.phase != phaseBlock {
		s.warn(pgerr.NoActiveSQLTransaction, "SET CONSTRAINTS can only be used in transaction blocks")
		s.out.Complete(n.Tag())
		return nil
	}
	s.txn.replay.stop()
	var names []string
	for _, rv := range n.Names {
		if err := s.deferrableNamed(ctx, rv); err != nil {
			return err
		}
		names = append(names, rv.Name)
	}
	s.txn.deferred.Set(names, n.Deferred)
	if !n.Deferred {
		if err := s.runDeferred(ctx); err != nil {
			return err
		}
	}
	s.out.Complete(n.Tag())
	return nil
}

// deferrableNamed looks for a constraint that SET CONSTRAINTS names, which must be deferrable.
func (s *Session) deferrableNamed(ctx context.Context, rv *ast.RangeVar) error {
	if _, err := s.pinCatalog(ctx); err != nil {
		return err
	}
	v, ok := s.txn.catalog.(*catalogView)
	if !ok {
		return nil
	}
	schemas := s.path()
	if rv.Schema != "" {
		schemas = []string{rv.Schema}
	}
	found := false
	for _, t := range v.snap.Tables() {
		if !slices.Contains(schemas, v.snap.SchemaName(t.Schema)) {
			continue
		}
		deferrable := func(name string, is bool) bool {
			found = found || name == rv.Name
			return name == rv.Name && is
		}
		for _, fk := range t.FKs {
			if deferrable(fk.Name, fk.Deferrable) {
				return nil
			}
		}
		for _, ix := range t.AllIndexes() {
			if ix.Constraint != 0 && deferrable(ix.Name, ix.Deferrable) {
				return nil
			}
		}
		for _, tr := range t.Triggers {
			if tr.Constraint != 0 && deferrable(tr.Name, tr.Deferrable) {
				return nil
			}
		}
	}
	if found {
		return pgerr.New(pgerr.WrongObjectType, "constraint %q is not deferrable", rv.Name)
	}
	return pgerr.New(pgerr.UndefinedObject, "constraint %q does not exist", rv.Name)
}

// runDeferred checks the constraints that were put off, before the commit or when they become immediate.
func (s *Session) runDeferred(ctx context.Context) error {
	t := &s.txn
	if t.deferred.Empty() {
		return nil
	}
	tx, err := s.kvTxn(ctx)
	if err != nil {
		return err
	}
	if err := tx.Step(ctx); err != nil {
		return err
	}
	s.bctx.Context = ctx
	return t.deferred.Run(ctx, &exec.Env{Txn: tx, Isolation: t.iso, Builtin: &s.bctx, Catalog: t.catalog, RowID: s.srv.cfg.RowID, Anonymous: s.anonymous(), Triggers: s, Writes: &s.writes,
		Virtual: t.catalog.Virtual(), Sequences: s})
}

// runExplainUtility is EXPLAIN of a statement that the planner does not take.
func (s *Session) runExplainUtility(ctx context.Context, st *statement, n *ast.ExplainStmt, formats []int16, describe bool) error {
	switch q := n.Query.(type) {
	case *ast.ExecuteStmt:
		target := s.statements[q.Name]
		if target == nil {
			return pgerr.New(pgerr.InvalidSQLStatementName, "prepared statement \"%s\" does not exist", q.Name)
		}
		s.openImplicit()
		p, err := s.ensurePlan(ctx, target)
		if err != nil {
			return err
		}
		params, err := s.evalArgs(ctx, q.Args, p.ParamTypes)
		if err != nil {
			return err
		}
		explained := &statement{text: st.text, from: st.from, to: st.to, node: &ast.ExplainStmt{Query: target.node, Options: n.Options},
			numParams: target.numParams, declared: p.ParamTypes}
		special, err := s.specialize(ctx, target, params)
		if err == nil && special != target {
			err = s.planWith(ctx, explained, params)
		}
		if err != nil {
			return err
		}
		return s.runInTxn(ctx, explained, params, formats, describe)
	case *ast.CreateTableAsStmt:
		s.openImplicit()
		return s.runInTxn(ctx, &statement{text: st.text, from: st.from, to: st.to, node: &ast.ExplainStmt{Query: q.Query, Options: n.Options}}, nil, formats, describe)
	case *ast.DeclareCursorStmt:
		s.openImplicit()
		return s.runInTxn(ctx, &statement{text: st.text, from: st.from, to: st.to, node: &ast.ExplainStmt{Query: q.Query, Options: n.Options}}, nil, formats, describe)
	}
	if err := s.sendText([]Column{{Name: "QUERY PLAN", Type: types.Text}}, [][]string{{"Utility Statement"}}, formats, describe); err != nil {
		return err
	}
	s.out.Complete("EXPLAIN")
	return nil
}

func itoa(n int) string { return strconv.Itoa(n) }

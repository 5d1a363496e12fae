package sql

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/stmtstats"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// statement is a parsed statement and, once it has been needed, its plan. Both belong to one session; what
// plan points to may be shared.
type statement struct {
	name      string
	text      string   // the whole query string that positions refer to
	node      ast.Stmt // nil: an empty query
	from, to  int32    // the statement's own text
	numParams int
	declared  []*types.T // parameter types given by the client
	fromSQL   bool       // made by PREPARE
	created   time.Time

	plan    *plan.Plan
	version uint64 // of the catalog, when plan was made
	epoch   uint64 // Session.plannerEpoch then
	fixed   bool   // result columns have been described: a new plan must have the same
	plans   customPlans

	// Of a simple query whose literals are parameters: where they are in the text, and their values, which have the types of
	// plan.ParamTypes.
	template *parser.Template
	values   []types.Datum

	call struct { // of CALL, for one execution: how its row is answered
		formats  []int16
		describe bool
	}

	stats *stmtstats.Statement // found at the first execution; shared
}

// source is the statement's own text.
func (st *statement) source() string { return st.text[st.from:st.to] }

// isPlanned reports whether a statement goes through package plan.
func isPlanned(node ast.Stmt) bool {
	switch n := node.(type) {
	case *ast.SelectStmt:
		return intoOf(n) == nil
	case *ast.InsertStmt, *ast.UpdateStmt, *ast.DeleteStmt, *ast.MergeStmt:
		return true
	case *ast.ExplainStmt:
		return isPlanned(n.Query)
	}
	return false
}

// completion is what a statement's CommandComplete says. It is sent after an implicit commit.
type completion struct {
	verb string
	rows int64
	tag  string // instead of verb and rows
}

func (s *Session) complete(c completion) {
	s.cost.rows += c.rows
	if c.tag != "" {
		s.out.Complete(c.tag)
	} else {
		s.out.CompleteRows(c.verb, c.rows)
	}
}

// SimpleQuery runs the statements of one Query message. Several statements form one implicit transaction,
// parts of which BEGIN and COMMIT among them may turn into blocks.
func (s *Session) SimpleQuery(_ context.Context, text string) error {
	ctx, span := s.beginStatement("sql.query", text)
	err := s.guarded(text, func() error {
		if err := s.simpleQuery(ctx, text); err != nil || s.txn.phase != phaseImplicit {
			return err
		}
		return s.commitBlock(ctx)
	})
	return s.endStatement(ctx, span, text, err)
}

// guarded runs f and turns a panic into an error of the statement: a fault in the code that serves one
// statement must not take the node, or even the connection, with it. The transaction is aborted as after any
// error.
func (s *Session) guarded(text string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.out.EndDigest()
			s.cost = costing{}
			s.audit.needs = s.audit.needs[:0]
			s.srv.cfg.Log.Error("statement panicked", "panic", p, "query", parser.Fingerprint(text), "stack", string(debug.Stack()))
			err = pgerr.New(pgerr.InternalError, "internal error: %v", p)
		}
	}()
	return f()
}

func (s *Session) simpleQuery(ctx context.Context, text string) error {
	text, err := s.standardStrings(text)
	if err != nil {
		return err
	}
	s.unnamed = nil
	s.dropPortal("")
	if s.statementRate > 0 {
		if err := s.pace(ctx); err != nil {
			return err
		}
	}
	if s.txn.phase != phaseFailed {
		if st, params, err := s.lookupShared(text); err != nil {
			return err
		} else if st != nil {
			s.beginCost(st)
			err := s.runOne(ctx, st, params, nil, true)
			s.endCost(err)
			return err
		}
	}
	if !utf8.ValidString(text) {
		return errEncoding()
	}
	list, err := parser.Parse(text)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		s.out.EmptyQuery()
		return nil
	}
	for i := range list {
		if i > 0 {
			s.stmtCtx.next(s.statementTimeout)
			if s.statementRate > 0 {
				if err := s.pace(ctx); err != nil {
					return err
				}
			}
		}
		st := &statement{text: text, node: list[i].Stmt, from: list[i].Start, to: list[i].End, numParams: list[i].NumParams}
		if _, prepares := st.node.(*ast.PrepareStmt); st.numParams > 0 && !prepares {
			return pgerr.New(pgerr.UndefinedParameter, "there is no parameter $%d", 1)
		}
		if s.txn.phase == phaseFailed && !endsTxn(st.node) {
			return errFailedTxn()
		}
		if len(list) > 1 {
			s.group(st.node)
		}
		s.beginCost(st)
		switch {
		case isPlanned(st.node) && len(list) == 1:
			if shared, params := s.parseShared(ctx, text, list[i]); shared != nil {
				err = s.runOne(ctx, shared, params, nil, true)
				break
			}
			// Parameterize may have changed the tree: parse again.
			if again, err := parser.Parse(text); err == nil && len(again) == 1 {
				st.node = again[0].Stmt
			}
			err = s.runOne(ctx, st, nil, nil, true)
		case isPlanned(st.node):
			s.openImplicit()
			err = s.runInTxn(ctx, st, nil, nil, true)
		default:
			err = s.runUtility(ctx, st, nil, nil, true, len(list) == 1)
		}
		s.endCost(err)
		if err != nil {
			return err
		}
	}
	return nil
}

func errEncoding() error {
	return pgerr.New(pgerr.CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\"")
}

// group makes a statement part of an implicit transaction that ends with its message, so that none of the
// message's statements, whatever it is, commits by itself.
func (s *Session) group(node ast.Stmt) {
	switch node.(type) {
	case *ast.TransactionStmt, *ast.VacuumStmt, *ast.CreateDatabaseStmt, *ast.DropDatabaseStmt, *ast.DiscardStmt:
		return // these look after themselves
	}
	s.openImplicit()
	s.txn.grouped = true
}

// openImplicit starts an implicit transaction unless a transaction is open.
func (s *Session) openImplicit() {
	if s.txn.phase == phaseIdle {
		s.startTxn(phaseImplicit)
	}
}

// pristine reports whether nothing has happened in the transaction, so that a single statement may still be
// the whole of it.
func (t *txnState) pristine() bool {
	return t.phase == phaseIdle || t.phase == phaseImplicit && t.kv == nil && !t.used && !t.grouped
}

// runOne runs a planned statement: in the open block, or as an implicit transaction of its own.
func (s *Session) runOne(ctx context.Context, st *statement, params []types.Datum, formats []int16, describe bool) error {
	if !s.txn.pristine() {
		return s.runInTxn(ctx, st, params, formats, describe)
	}
	mark := s.out.Mark()
	var age truetime.Timestamp
	for attempt := 0; ; attempt++ {
		s.openImplicit()
		s.txn.age = age
		s.txn.replay.stop() // repeated as a whole below
		s.describing = describe
		done, err := s.runAlone(ctx, st, params, formats)
		age = s.txn.age
		if err == nil {
			err = s.commit(ctx)
		}
		if err == nil {
			s.complete(done)
			return nil
		}
		if !retryableAlone(err) || attempt >= s.maxRetries || ctx.Err() != nil || !s.out.Rewind(mark) {
			return err
		}
		s.srv.metrics.retries.Inc()
		s.undoAdvisory(ctx)
		s.cost.retries++
		s.endTxn(ctx, false)
	}
}

// runAlone runs the only statement of an implicit transaction. One that only reads needs no locks.
func (s *Session) runAlone(ctx context.Context, st *statement, params []types.Datum, formats []int16) (completion, error) {
	for try := 0; ; try++ {
		p, err := s.ensurePlan(ctx, st)
		if err != nil {
			return completion{}, err
		}
		s.txn.lone = p.ReadOnly
		s.txn.oneShot = p.PointKey
		if p.ReadOnly && s.txn.kv == nil && s.stale() {
			// Planned to learn that it reads only; now plan it with the catalog of the time it reads at.
			s.txn.oneShot = false
			if _, err := s.kvTxn(ctx); err != nil {
				return completion{}, err
			}
			if p, err = s.ensurePlan(ctx, st); err != nil {
				return completion{}, err
			}
		}
		done, err := s.runPlan(ctx, p, params, formats)
		if !errors.Is(err, catalog.ErrChanged) || try >= maxReplans {
			return done, err
		}
	}
}

// maxReplans bounds how often a statement is planned again because the catalog changed under it.
const maxReplans = 10

// runInTxn runs a planned statement inside the open transaction and completes it. A conflict is hidden by
// running the transaction's statements again (replay.go).
func (s *Session) runInTxn(ctx context.Context, st *statement, params []types.Datum, formats []int16, describe bool) error {
	t := &s.txn
	mark := s.out.Mark()
	for {
		s.describing = describe
		if t.replay.off {
			err := s.runPlanned(ctx, st, params, formats)
			if retryable(err) {
				t.dead = true
			}
			return err
		}
		s.out.BeginDigest(false)
		err := s.runPlanned(ctx, st, params, formats)
		digest := s.out.EndDigest()
		if err == nil {
			t.replay.add(st, params, formats, describe, digest)
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

// runPlanned plans, runs and completes a statement in the open transaction.
func (s *Session) runPlanned(ctx context.Context, st *statement, params []types.Datum, formats []int16) error {
	for try := 0; ; try++ {
		p, err := s.ensurePlan(ctx, st)
		if err != nil {
			return err
		}
		done, err := s.runPlan(ctx, p, params, formats)
		if err == nil {
			s.complete(done)
			return nil
		}
		if !errors.Is(err, catalog.ErrChanged) || try >= maxReplans {
			return err
		}
	}
}

// ensurePlan returns the statement's plan, made anew when the catalog or the planner's settings changed.
func (s *Session) ensurePlan(ctx context.Context, st *statement) (*plan.Plan, error) {
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return nil, err
	}
	if s.txn.readOnly && s.txn.kv == nil && s.stale() {
		if _, err := s.kvTxn(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.Statement(ctx); err != nil {
		return nil, err
	}
	version := c.Version()
	if st.plan != nil && st.version == version && st.epoch == s.plannerEpoch && s.serves(st.plan) {
		return st.plan, nil
	}
	// A client that changes roles, or the path, back and forth comes back to plans that were made before.
	known := st.fixed && st.plan != nil && s.paramValues == nil
	if known {
		if e := s.lookupParsed(st.text, oidsOf(st.declared)); e != nil && e.version == version && s.serves(e.plan) && sameColumns(st.plan.Columns, e.plan.Columns) && sameTypes(st.plan.ParamTypes, e.plan.ParamTypes) {
			st.plan, st.version, st.epoch = e.plan, version, s.plannerEpoch
			return st.plan, nil
		}
	}
	pctx, span := s.span(ctx, "plan")
	env := s.planEnv(c, st)
	p, err := plan.Prepare(pctx, st.node, env)
	if err == nil && st.plan != nil && (st.fixed || st.template != nil) && !sameTypes(st.plan.ParamTypes, p.ParamTypes) {
		// A column has another type now. The values are of the old ones: a literal can be read again, and what a client
		// sends has the types that it was told. (A client that is just preparing the statement has not been told any: the
		// plan is another session's, or its own of before.)
		if st.template != nil {
			err = s.readAgain(st, p.ParamTypes)
		} else {
			env.ParamTypes, known = st.plan.ParamTypes, false
			p, err = plan.Prepare(pctx, st.node, env)
		}
	}
	endSpan(span, err)
	if err != nil {
		return nil, err
	}
	if st.fixed && st.plan != nil && !sameColumns(st.plan.Columns, p.Columns) {
		e := pgerr.New(pgerr.FeatureNotSupported, "cached plan must not change result type")
		e.Routine = "RevalidateCachedQuery" // by which JDBC's driver knows that it may prepare the statement again
		return nil, e
	}
	st.plan, st.version, st.epoch = p, version, s.plannerEpoch
	if known {
		s.shareParsed(st, oidsOf(st.declared))
	}
	return p, nil
}

// security is whose row-level security policies statements are subject to.
func (s *Session) security() plan.Security {
	v, ok := s.txn.catalog.(*catalogView)
	if !ok {
		return plan.Security{}
	}
	return plan.Security{User: v.env().User, Off: s.setting("row_security") == "off"}
}

// serves reports whether a plan that was made earlier may run for the current user.
func (s *Session) serves(p *plan.Plan) bool { return p.Secure == nil || p.Serves(s.security()) }

func (s *Session) planEnv(c CatalogTxn, st *statement) plan.Env {
	return plan.Env{
		Catalog:    c,
		SearchPath: s.path(),
		ParamTypes: st.declared,
		NumParams:  st.numParams,
		Builtin:    &s.bctx,
		Security:   s.security(),
		Anonymous:  s.anonymous(),

		ParamValues: s.paramValues,
	}
}

func sameTypes(a, b []*types.T) bool {
	return slices.EqualFunc(a, b, func(a, b *types.T) bool {
		return a == b || a != nil && b != nil && a.OID == b.OID && a.Typmod == b.Typmod
	})
}

func sameColumns(a, b []plan.Column) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name || a[i].Type.OID != b[i].Type.OID || a[i].Type.Typmod != b[i].Type.Typmod {
			return false
		}
	}
	return true
}

// runPlan executes a plan to its end and sends its rows.
func (s *Session) runPlan(ctx context.Context, p *plan.Plan, params []types.Datum, formats []int16) (completion, error) {
	env := &s.env
	if err := s.prepareEnv(ctx, env, p, params); err != nil {
		return completion{}, err
	}
	var sink func([]types.Datum) error
	if len(p.Columns) > 0 || p.Verb == "SELECT" {
		sink = s.sink
		if _, constant := p.Root.(*plan.OneRow); constant && s.describing {
			// PostgreSQL computes constants when it plans: a row that fails has no description.
			begun := false
			sink = func(row []types.Datum) error {
				if !begun {
					begun = true
					s.out.BeginRows(p.Columns, formats, s.format, true)
				}
				return s.sink(row)
			}
		} else {
			s.out.BeginRows(p.Columns, formats, s.format, s.describing)
		}
	}
	res, err := exec.Run(ctx, p, env, sink)
	if err != nil {
		return completion{}, err
	}
	if !p.ReadOnly {
		if id := p.Written(); id != 0 {
			s.srv.cfg.Catalog.NoteChanges(id, res.Rows)
		}
	}
	return completionOf(p, res), nil
}

func completionOf(p *plan.Plan, res exec.Result) completion {
	if p.Explain != nil {
		return completion{tag: "EXPLAIN"}
	}
	return completion{verb: p.Verb, rows: res.Rows}
}

// anonymous is exec.Env.Anonymous.
func (s *Session) anonymous() bool {
	all := s.srv.cfg.Writers
	return all != nil && !all()
}

// prepareEnv makes ready what a plan runs in: the transaction, and its next statement.
func (s *Session) prepareEnv(ctx context.Context, env *exec.Env, p *plan.Plan, params []types.Datum) error {
	t := &s.txn
	if err := s.refusesWrite(p); err != nil {
		return err
	}
	t.used = true
	s.bctx.Context = ctx
	*env = exec.Env{
		Isolation: t.iso,
		ReadOnly:  t.readOnly || t.lone,
		Params:    params,
		Builtin:   &s.bctx,
		Catalog:   t.catalog,
		Deferred:  &t.deferred,
		RowID:     s.srv.cfg.RowID,
		Anonymous: s.anonymous(),
		Scratch:   s.srv.cfg.Scratch,
		Pool:      s.pool,
		Triggers:  s,
		Writes:    &s.writes,
		Tally:     (*sessionTally)(s),
	}
	if s.audit.on {
		s.auditPlan(p)
	}
	if err := s.checkNeeds(p.Needs); err != nil {
		return err
	}
	if len(p.Tables) == 0 && p.ReadOnly {
		return nil // touches no table
	}
	env.Virtual, env.Sequences = t.catalog.Virtual(), s
	if err := t.catalog.Use(ctx, p.Tables); err != nil {
		return err
	}
	if !p.ReadOnly {
		if err := s.settleCursors(ctx, p); err != nil {
			return err
		}
	}
	tx, err := s.kvTxn(ctx)
	if err != nil {
		return err
	}
	if err := tx.Step(ctx); err != nil {
		return err
	}
	if env.Txn = tx; t.temp {
		env.ReadOnly = false
		if t.iso == kv.Serializable {
			env.Isolation = kv.Snapshot
		}
	}
	return nil
}

func errReadOnly(verb string) error {
	verb, _, _ = strings.Cut(verb, " 0")
	return pgerr.New(pgerr.ReadOnlySQLTransaction, "cannot execute %s in a read-only transaction", verb)
}

// commitBlock commits a block or a group of statements, running it again when the commit meets a conflict.
func (s *Session) commitBlock(ctx context.Context) error {
	t := &s.txn
	if t.replay.off || t.kv == nil {
		return s.commit(ctx)
	}
	for {
		if err := s.holdCursors(ctx); err != nil {
			s.endTxn(ctx, false)
			return err
		}
		err := s.commitKV(ctx)
		if err == nil {
			s.dropKV()
			s.endTxn(ctx, true)
			return nil
		}
		if retryable(err) {
			if err = s.retryBlock(ctx, err); err == nil {
				continue
			}
		}
		s.endTxn(ctx, false)
		return err
	}
}

// beginStatement starts a message's work: its context with timeout and span, and its place in the views.
func (s *Session) beginStatement(name, text string) (context.Context, statementSpan) {
	now := s.now()
	s.srv.metrics.statements.Inc()
	s.bctx.StmtTime = pgMicros(now)
	s.info.Lock()
	s.info.State, s.info.StateSince = "active", now
	s.info.Query, s.info.StmtStarted = text, now
	s.info.Unlock()
	span := s.rootSpan(name, text)
	return s.stmtCtx.begin(s.timeLeft(now), span.span), span
}

// beginMessage begins a Parse or Bind. With a statement timeout the time that the statement may take counts
// from its first message to the end of Execute, the client's pauses included.
func (s *Session) beginMessage() (context.Context, error) {
	if s.statementTimeout <= 0 {
		return s.stmtCtx.begin(0, nil), nil
	}
	now := s.now()
	if s.statementEnd.IsZero() {
		s.statementEnd = now.Add(s.statementTimeout)
	}
	if err := s.overdue(); err != nil {
		return nil, err
	}
	return s.stmtCtx.begin(s.timeLeft(now), nil), nil
}

// overdue fails when the time of the statement whose messages arrive has run out between them.
func (s *Session) overdue() error {
	if !s.statementEnd.IsZero() && !s.now().Before(s.statementEnd) {
		s.statementEnd = time.Time{}
		return errStatementTimeout()
	}
	return nil
}

// timeLeft is the bound of a statement that runs now, zero for none.
func (s *Session) timeLeft(now time.Time) time.Duration {
	if s.statementEnd.IsZero() {
		return s.statementTimeout
	}
	return max(s.statementEnd.Sub(now), 1)
}

// endStatement ends it and makes its error one for the client.
func (s *Session) endStatement(ctx context.Context, span statementSpan, text string, err error) error {
	if err != nil {
		e := clientError(interrupted(ctx, err), text)
		if len(e.Code) == 5 {
			s.srv.metrics.errors.WithLabelValues(e.Code[:2]).Inc()
		}
		err = e
	}
	s.stmtCtx.end()
	span.end(err)
	state := "idle"
	switch {
	case s.txn.phase == phaseFailed, s.txn.phase == phaseBlock && err != nil:
		state = "idle in transaction (aborted)"
	case s.txn.phase == phaseBlock:
		state = "idle in transaction"
	}
	s.info.Lock()
	s.info.State, s.info.StateSince = state, s.info.StmtStarted
	s.info.Unlock()
	return err
}

// standardStrings rewrites a text that a session without standard_conforming_strings sends. Positions in messages count the letters
// that this adds.
func (s *Session) standardStrings(text string) (string, error) {
	if strings.IndexByte(text, '\\') < 0 || s.setting("standard_conforming_strings") != "off" {
		return text, nil
	}
	out, nonstandard, unicode := parser.EscapedStrings(text)
	if unicode >= 0 {
		return "", pgerr.Unsupported("unsafe use of string constant with Unicode escapes").
			WithDetail("String constants with Unicode escapes cannot be used when standard_conforming_strings is off.").WithPosition(unicode + 1)
	}
	if nonstandard != "" && s.setting("escape_string_warning") == "on" {
		w := pgerr.New(pgerr.NonstandardUseOfEscapeCharacter, "nonstandard use of %s in a string literal", nonstandard).WithSeverity(pgerr.SeverityWarning)
		switch nonstandard {
		case `\\`:
			w = w.WithHint("%s", `Use the escape string syntax for backslashes, e.g., E'\\'.`)
		case `\'`:
			w = w.WithHint("%s", `Use '' to write quotes in strings, or use the escape string syntax (E'...').`)
		default:
			w = w.WithHint("%s", `Use the escape string syntax for escapes, e.g., E'\r\n'.`)
		}
		s.notice(w)
	}
	return out, nil
}

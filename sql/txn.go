package sql

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// txnPhase is where a session stands in its transaction.
//
//	          statement                    BEGIN
//	idle ------------------> implicit ---------------> block --error--> failed
//	  ^                          |                       |                |
//	  +------ end of message ----+------- COMMIT --------+--- ROLLBACK ---+
//
// BEGIN goes from idle to block as well. ROLLBACK TO leads from failed back to block.
type txnPhase uint8

const (
	phaseIdle     txnPhase = iota
	phaseImplicit          // opened by a statement, ended with the message (simple) or at Sync (extended)
	phaseBlock             // opened by BEGIN
	phaseFailed            // a block after an error: only its end or ROLLBACK TO is accepted
)

// txnState is a session's transaction. Zero: none.
type txnState struct {
	phase    txnPhase
	kv       kv.Txn // nil until a statement needs it
	catalog  CatalogTxn
	iso      kv.Isolation
	isoName  string // as the client named it: READ UNCOMMITTED runs as READ COMMITTED
	readOnly bool
	temp     bool // the kv transaction may write, to temporary tables only
	defer_   bool
	snapshot kv.Staleness       // SET TRANSACTION SNAPSHOT
	age      truetime.Timestamp // of the first attempt
	lone     bool               // implicit, one statement that only reads
	oneShot  bool               // lone, and reads with one request
	used     bool               // a statement has run: the modes are fixed
	grouped  bool               // implicit, and more statements of the message belong to it
	dead     bool               // kv was aborted under us: nothing but its end is possible
	settings int                // length of the settings' undo log at the start
	points   []savepoint
	deferred exec.Deferred // checks of deferrable constraints put off to the end
	notify   notifyState
	advisory []advisoryChange   // of session locks
	large    []*largeDescriptor // open large objects, by descriptor; nil: free
	replay   replayLog
	attempts int
}

// savepoint is one SAVEPOINT.
type savepoint struct {
	name     string
	kv       kv.Savepoint
	kvSet    bool // the kv transaction existed when the savepoint was made
	catalog  CatalogMark
	deferred exec.DeferredMark
	portals  uint64 // Session.portalSerial then
	notify   notifyMark
	settings int
	readOnly bool
}

var isolationOf = map[string]kv.Isolation{
	"serializable":     kv.Serializable,
	"repeatable read":  kv.Snapshot,
	"read committed":   kv.ReadCommitted,
	"read uncommitted": kv.ReadCommitted,
}

// pgEpoch is 2000-01-01 in microseconds since 1970.
const pgEpoch = 946684800 * 1_000_000

func pgMicros(t time.Time) int64 { return t.UnixMicro() - pgEpoch }

// startTxn opens a transaction with the session's defaults.
func (s *Session) startTxn(phase txnPhase) {
	t := &s.txn
	s.writes.Forget()
	points, log := t.points[:0], t.replay
	log.reset()
	*t = txnState{phase: phase, settings: len(s.vars.undo), points: points, replay: log}
	t.isoName = s.vars.cur[idxDefaultIsolation]
	t.iso = isolationOf[t.isoName]
	t.readOnly = s.vars.cur[idxDefaultReadOnly] == "on"
	t.defer_ = s.vars.cur[idxDefaultDeferrable] == "on"
	began := s.srv.cfg.Now()
	s.txnTime.Store(began.UnixMicro())
	now := pgMicros(began)
	s.bctx.TxnTime, s.bctx.StmtTime = now, now
}

// pinCatalog takes the catalog version that the transaction works with.
func (s *Session) pinCatalog(ctx context.Context) (CatalogTxn, error) {
	if s.txn.catalog == nil {
		c, err := s.srv.cfg.Catalog.Begin(ctx, s)
		if err != nil {
			return nil, err
		}
		s.txn.catalog = c
	}
	return s.txn.catalog, nil
}

// stale reports whether the transaction would read in the past if it is read-only.
func (s *Session) stale() bool {
	return s.staleness.Kind != kv.Strong || s.txn.snapshot.Kind != kv.Strong
}

// kvTxn returns the kv transaction, begun on first use.
func (s *Session) kvTxn(ctx context.Context) (kv.Txn, error) {
	t := &s.txn
	if t.kv != nil {
		t.kv.SetLockTimeout(s.lockTimeout)
		return t.kv, nil
	}
	opts := s.beginOptions()
	if opts.ReadOnly {
		opts.OneShot = t.oneShot
		opts.Staleness = t.snapshot
		if t.snapshot == (kv.Staleness{}) {
			opts.Staleness = s.readStaleness()
		}
	}
	if _, err := s.pinCatalog(ctx); err != nil {
		return nil, err
	}
	tx, err := s.srv.cfg.DB.Begin(ctx, opts)
	if err != nil {
		return nil, err
	}
	t.kv, t.age = tx, tx.Age()
	s.txnAge.Store(int64(t.age))
	tx.SetLockTimeout(s.lockTimeout)
	if opts.ReadOnly && opts.Staleness.Kind != kv.Strong {
		// The past has its own tables and indexes: one built since has no entries for it.
		if err := t.catalog.AsOf(ctx, tx); err != nil {
			return nil, err
		}
	}
	return tx, nil
}

// commit ends the transaction, whatever the outcome. It is the only place where kv commits.
func (s *Session) commit(ctx context.Context) error {
	t := &s.txn
	if err := s.holdCursors(ctx); err != nil {
		s.endTxn(ctx, false)
		return err
	}
	if t.kv == nil {
		err := s.commitCatalog(ctx)
		s.endTxn(ctx, err == nil)
		return err
	}
	err := s.commitKV(ctx)
	if err == nil {
		s.dropKV()
	}
	s.endTxn(ctx, err == nil)
	return err
}

func (s *Session) commitKV(ctx context.Context) error {
	t := &s.txn
	if err := s.runDeferred(ctx); err != nil {
		return err
	}
	if err := s.checkAdvisory(ctx); err != nil {
		return err
	}
	if err := s.runOnCommit(ctx); err != nil {
		return err
	}
	if t.catalog != nil {
		if err := t.catalog.BeforeCommit(ctx, t.kv); err != nil {
			return err
		}
	}
	return s.commitNotified(ctx)
}

func (s *Session) commitCatalog(ctx context.Context) error {
	if s.txn.catalog == nil || !s.txn.catalog.Changed() {
		return nil
	}
	if _, err := s.kvTxn(ctx); err != nil {
		return err
	}
	return s.commitKV(ctx)
}

// endTxn releases what the transaction holds and goes back to idle.
func (s *Session) endTxn(ctx context.Context, committed bool) {
	t := &s.txn
	if t.phase == phaseIdle && t.kv == nil && t.catalog == nil {
		return
	}
	s.closeTxnPortals(committed)
	s.srv.tables.Ended(s.databaseID, committed, s.written)
	s.written = s.written[:0]
	if t.kv != nil {
		t.kv.Rollback(ctx)
		s.dropKV()
	}
	if t.catalog != nil {
		t.catalog.Release(committed)
		t.catalog = nil
	}
	if len(s.vars.undo) > 0 {
		if committed {
			s.commitSettings()
		} else {
			s.undoSettings(0)
		}
	}
	s.vars.cur[idxIsolation] = s.vars.cur[idxDefaultIsolation]
	s.vars.cur[idxReadOnly] = s.vars.cur[idxDefaultReadOnly]
	s.vars.cur[idxDeferrable] = s.vars.cur[idxDefaultDeferrable]
	if committed {
		s.commitNotifies(ctx)
	}
	t.notify = notifyState{}
	s.releaseXactLocks(ctx)
	t.advisory, t.large = nil, nil
	t.phase = phaseIdle
	s.txnTime.Store(0)
	s.txnAge.Store(0)
	t.points = t.points[:0]
	t.replay.reset()
}

// Abort is called after an error has been decided on: an implicit transaction is rolled back, a block
// fails. Locks go at once unless a savepoint may still be returned to.
func (s *Session) Abort(ctx context.Context) {
	s.statementEnd = time.Time{}
	t := &s.txn
	switch t.phase {
	case phaseImplicit:
		s.endTxn(ctx, false)
	case phaseBlock:
		t.phase = phaseFailed
		s.closeFailedPortals()
		if len(t.points) == 0 || t.dead {
			s.rollbackKV(ctx)
		}
	}
}

func (s *Session) rollbackKV(ctx context.Context) {
	if s.txn.kv != nil {
		s.txn.kv.Rollback(ctx)
		s.dropKV()
	}
}

// Sync ends the implicit transaction of a sequence of extended-protocol messages.
func (s *Session) Sync(ctx context.Context) error {
	s.statementEnd = time.Time{}
	if s.txn.phase != phaseImplicit {
		return nil
	}
	if s.txn.kv == nil && !s.txn.used {
		s.endTxn(ctx, true)
		return nil
	}
	ctx, span := s.beginStatement("sql.sync", "")
	return s.endStatement(ctx, span, "", s.commitBlock(ctx))
}

// TxnID implements builtin.Session: the wound-wait age stands for the transaction.
func (s *Session) TxnID(assign bool) (uint64, bool) {
	if s.txn.kv == nil && assign {
		if _, err := s.kvTxn(s.stmtCtx.base); err != nil {
			return 0, false
		}
	}
	if s.txn.kv == nil {
		return 0, false
	}
	return uint64(s.txn.kv.Age()), true
}

// errFailedTxn refuses statements in a failed block.
func errFailedTxn() *pgerr.Error {
	return pgerr.New(pgerr.InFailedSQLTransaction, "current transaction is aborted, commands ignored until end of transaction block")
}

// endsTxn reports whether a statement is accepted in a failed block.
func endsTxn(stmt ast.Stmt) bool {
	t, ok := stmt.(*ast.TransactionStmt)
	return ok && (t.Kind == ast.TxnCommit || t.Kind == ast.TxnRollback || t.Kind == ast.TxnRollbackTo || t.Kind == ast.TxnPrepare)
}

// runTxnStmt executes BEGIN and its kin and completes it.
func (s *Session) runTxnStmt(ctx context.Context, st *ast.TransactionStmt) error {
	t := &s.txn
	switch st.Kind {
	case ast.TxnBegin, ast.TxnStart:
		switch t.phase {
		case phaseBlock:
			s.warn(pgerr.ActiveSQLTransaction, "there is already a transaction in progress")
			// PostgreSQL still applies the modes.
			if err := s.applyModes(st.Modes); err != nil {
				return err
			}
		default:
			if t.phase == phaseIdle {
				s.startTxn(phaseBlock)
			} else {
				// The statements sent before it in the same message become part of the block.
				t.phase = phaseBlock
			}
			s.syncTxnSettings()
			if err := s.applyModes(st.Modes); err != nil {
				s.endTxn(ctx, false)
				return err
			}
		}
		s.out.Complete(st.Tag())
		return nil
	case ast.TxnCommit:
		return s.runCommit(ctx, st)
	case ast.TxnRollback:
		if t.phase == phaseIdle || t.phase == phaseImplicit {
			s.warn(pgerr.NoActiveSQLTransaction, "there is no transaction in progress")
		}
		modes := s.chainModes()
		chain := st.Chain && (t.phase == phaseBlock || t.phase == phaseFailed)
		if st.Chain && !chain {
			return pgerr.New(pgerr.NoActiveSQLTransaction, "%s can only be used in transaction blocks", "ROLLBACK AND CHAIN")
		}
		s.endTxn(ctx, false)
		if chain {
			s.startChained(modes)
		}
		s.out.Complete("ROLLBACK")
		return nil
	case ast.TxnSavepoint:
		if t.phase != phaseBlock {
			return s.needsBlock("SAVEPOINT")
		}
		sp := savepoint{name: st.Savepoint, settings: len(s.vars.undo), readOnly: t.readOnly, deferred: t.deferred.Mark(), notify: t.notify.mark(), portals: s.portalSerial}
		if t.kv != nil {
			sp.kv, sp.kvSet = t.kv.Savepoint(), true
		}
		if t.catalog != nil {
			sp.catalog = t.catalog.Mark()
		}
		t.points = append(t.points, sp)
		t.replay.stop() // a savepoint's place in the kv transaction does not survive a new attempt
		s.out.Complete(st.Tag())
		return nil
	case ast.TxnRelease:
		if t.phase != phaseBlock {
			return s.needsBlock("RELEASE SAVEPOINT")
		}
		i := s.findSavepoint(st.Savepoint)
		if i < 0 {
			return noSavepoint(st.Savepoint)
		}
		t.readOnly = t.points[i].readOnly // READ ONLY of a subtransaction ends with it
		s.syncTxnSettings()
		t.points = t.points[:i]
		for _, d := range t.large {
			if d != nil {
				d.points = min(d.points, i) // it outlives the savepoint
			}
		}
		s.out.Complete(st.Tag())
		return nil
	case ast.TxnRollbackTo:
		if t.phase != phaseBlock && t.phase != phaseFailed {
			return s.needsBlock("ROLLBACK TO SAVEPOINT")
		}
		return s.rollbackTo(ctx, st)
	}
	return pgerr.Unsupported("two-phase commit by PREPARE TRANSACTION is not supported")
}

func (s *Session) needsBlock(what string) error {
	return pgerr.New(pgerr.NoActiveSQLTransaction, "%s can only be used in transaction blocks", what)
}

func noSavepoint(name string) error {
	return pgerr.New(pgerr.SEInvalidSpecification, "savepoint \"%s\" does not exist", name)
}

func (s *Session) findSavepoint(name string) int {
	for i := len(s.txn.points) - 1; i >= 0; i-- {
		if s.txn.points[i].name == name {
			return i
		}
	}
	return -1
}

func (s *Session) runCommit(ctx context.Context, st *ast.TransactionStmt) error {
	t := &s.txn
	if t.phase == phaseFailed {
		modes := s.chainModes()
		s.endTxn(ctx, false)
		if st.Chain {
			s.startChained(modes)
		}
		s.out.Complete("ROLLBACK")
		return nil
	}
	if t.phase != phaseBlock {
		if st.Chain {
			return pgerr.New(pgerr.NoActiveSQLTransaction, "%s can only be used in transaction blocks", "COMMIT AND CHAIN")
		}
		s.warn(pgerr.NoActiveSQLTransaction, "there is no transaction in progress")
		if t.phase == phaseIdle {
			s.out.Complete("COMMIT")
			return nil
		}
	}
	modes := s.chainModes()
	if err := s.commitBlock(ctx); err != nil {
		return err
	}
	if st.Chain {
		s.startChained(modes)
	}
	s.out.Complete("COMMIT")
	return nil
}

// chained are the modes that AND CHAIN carries over.
type chained struct {
	isoName  string
	readOnly bool
	defer_   bool
}

func (s *Session) chainModes() chained {
	return chained{s.txn.isoName, s.txn.readOnly, s.txn.defer_}
}

func (s *Session) startChained(m chained) {
	s.startTxn(phaseBlock)
	t := &s.txn
	t.isoName, t.iso, t.readOnly, t.defer_ = m.isoName, isolationOf[m.isoName], m.readOnly, m.defer_
	s.syncTxnSettings()
}

// syncTxnSettings makes transaction_isolation and its relatives show the transaction's modes.
func (s *Session) syncTxnSettings() {
	s.vars.cur[idxIsolation] = s.txn.isoName
	s.vars.cur[idxReadOnly] = onOff(s.txn.readOnly)
	s.vars.cur[idxDeferrable] = onOff(s.txn.defer_)
}

// applyModes sets the modes of BEGIN or SET TRANSACTION on the open transaction.
func (s *Session) applyModes(m ast.TxnModes) error {
	t := &s.txn
	if m.Isolation != "" && m.Isolation != t.isoName {
		iso, ok := isolationOf[m.Isolation]
		if !ok {
			return invalidValue("transaction_isolation", m.Isolation)
		}
		if t.used {
			return pgerr.New(pgerr.ActiveSQLTransaction, "SET TRANSACTION ISOLATION LEVEL must be called before any query")
		}
		if len(t.points) > 0 {
			return pgerr.New(pgerr.ActiveSQLTransaction, "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction")
		}
		t.iso, t.isoName = iso, m.Isolation
	}
	if m.ReadOnly != nil && *m.ReadOnly != t.readOnly {
		if !*m.ReadOnly && t.used {
			return pgerr.New(pgerr.ActiveSQLTransaction, "transaction read-write mode must be set before any query")
		}
		t.readOnly = *m.ReadOnly
	}
	if m.Deferrable != nil && *m.Deferrable != t.defer_ {
		if t.used {
			return pgerr.New(pgerr.ActiveSQLTransaction, "SET TRANSACTION [NOT] DEFERRABLE must be called before any query")
		}
		t.defer_ = *m.Deferrable
	}
	s.syncTxnSettings()
	return nil
}

// assignTxnMode follows SET transaction_isolation and its relatives.
func assignTxnMode(s *Session, _ string) {
	t := &s.txn
	if s.starting || t.phase == phaseIdle {
		return
	}
	if name := s.vars.cur[idxIsolation]; name != t.isoName && !t.used {
		t.isoName, t.iso = name, isolationOf[name]
	}
	t.readOnly = s.vars.cur[idxReadOnly] == "on"
	t.defer_ = s.vars.cur[idxDeferrable] == "on"
}

// setSnapshot is SET TRANSACTION SNAPSHOT: an exported snapshot's name, or a timestamp, of a read-only
// transaction that has not read yet.
func (s *Session) setSnapshot(text string) error {
	if err := s.mayImportSnapshot(); err != nil {
		return err
	}
	ts, err := s.parseReadTimestamp(text)
	if err != nil {
		return pgerr.New(pgerr.InvalidParameterValue, "invalid snapshot identifier: \"%s\"", text).
			WithHint("Use a name from pg_export_snapshot() or a timestamp such as '2026-01-31 12:00:00Z'.")
	}
	s.txn.snapshot = kv.Staleness{Kind: kv.ReadTimestamp, At: ts}
	return nil
}

// mayImportSnapshot checks that the transaction's timestamp may still be chosen.
func (s *Session) mayImportSnapshot() error {
	t := &s.txn
	if t.phase != phaseBlock {
		return s.needsBlock("SET TRANSACTION SNAPSHOT")
	}
	if t.used {
		return pgerr.New(pgerr.ActiveSQLTransaction, "SET TRANSACTION SNAPSHOT must be called before any query")
	}
	if t.iso == kv.ReadCommitted {
		return pgerr.New(pgerr.FeatureNotSupported,
			"a snapshot-importing transaction must have isolation level SERIALIZABLE or REPEATABLE READ")
	}
	if !t.readOnly {
		return pgerr.New(pgerr.FeatureNotSupported, "a snapshot can only be imported by a READ ONLY transaction").
			WithHint("Begin the transaction with BEGIN READ ONLY.")
	}
	return nil
}

// parseReadTimestamp reads an exported snapshot (a number of nanoseconds), a timestamp with time zone, or
// a negative duration counted from now.
func (s *Session) parseReadTimestamp(text string) (truetime.Timestamp, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "-") {
		d, err := time.ParseDuration(text[1:])
		if err == nil {
			return truetime.Timestamp(s.srv.cfg.Now().Add(-d).UnixNano()), nil
		}
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && len(text) >= 16 {
		return truetime.Timestamp(n), nil
	}
	d, err := types.ParseText(text, types.TimestampTZ, s.format)
	if err != nil {
		return 0, err
	}
	return truetime.Timestamp((d.Int() + pgEpoch) * 1000), nil
}

// rollbackTo undoes everything since a savepoint.
func (s *Session) rollbackTo(ctx context.Context, st *ast.TransactionStmt) error {
	t := &s.txn
	i := s.findSavepoint(st.Savepoint)
	if i < 0 {
		return noSavepoint(st.Savepoint)
	}
	if t.dead {
		return WireError(kv.ErrRetry).WithDetail("The transaction was aborted by a conflict and cannot return to a savepoint.")
	}
	sp := &t.points[i]
	s.dropPortalsAfter(sp.portals)
	if t.kv != nil {
		if sp.kvSet {
			if err := t.kv.RollbackTo(ctx, sp.kv); err != nil {
				return err
			}
		} else {
			// Nothing was read or written before the savepoint: begin afresh, at the same age.
			t.age = t.kv.Age()
			s.rollbackKV(ctx)
		}
	}
	switch {
	case t.catalog == nil:
	case sp.catalog == nil:
		// Nothing had looked at the catalog before the savepoint.
		t.catalog.Release(false)
		t.catalog = nil
	default:
		t.catalog.RollbackTo(sp.catalog)
	}
	t.deferred.RollbackTo(sp.deferred)
	t.notify.rollbackTo(sp.notify)
	s.closeLarge(func(d *largeDescriptor) bool { return d.points > i })
	s.undoSettings(sp.settings)
	t.readOnly = sp.readOnly
	t.points = t.points[:i+1]
	t.phase = phaseBlock
	s.syncTxnSettings()
	s.out.Complete("ROLLBACK")
	return nil
}

// retryable reports whether a new attempt of the transaction may succeed.
func retryable(err error) bool {
	return errors.Is(err, kv.ErrRetry) || errors.Is(err, kv.ErrWriteConflict)
}

// retryableAlone is retryable for a statement that is a transaction by itself: it may also be planned anew after a
// change of the schema under it.
func retryableAlone(err error) bool {
	return retryable(err) || errors.Is(err, catalog.ErrSchemaChanged)
}

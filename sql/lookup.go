package sql

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// These methods answer questions about the catalog in the open transaction, or through a view of their own
// when none is open.

// withCatalog calls f with the transaction's catalog view.
func (s *Session) withCatalog(f func(CatalogTxn)) error {
	if s.txn.catalog != nil {
		f(s.txn.catalog)
		return nil
	}
	ctx := s.stmtCtx.base
	if ctx == nil {
		ctx = context.Background()
	}
	c, err := s.srv.cfg.Catalog.Begin(ctx, s)
	if err != nil {
		return err
	}
	f(c)
	c.Release(false)
	return nil
}

func (s *Session) schemaExists(name string) (ok bool) {
	if s.withCatalog(func(c CatalogTxn) { ok = c.SchemaExists(name) }) != nil {
		return false
	}
	return ok
}

func (s *Session) roleExists(name string) error {
	ok := false
	if err := s.withCatalog(func(c CatalogTxn) { _, ok = c.RoleExists(name) }); err != nil {
		return err
	}
	if !ok {
		return pgerr.New(pgerr.InvalidParameterValue, "role \"%s\" does not exist", name)
	}
	return nil
}

// resolveType finds a type by OID, nil for none.
func (s *Session) resolveType(oid types.OID) *types.T {
	if t := types.ByOID(oid); t != nil {
		return t
	}
	var t *types.T
	if s.withCatalog(func(c CatalogTxn) { t = c.TypeByOID(oid) }) != nil {
		return nil
	}
	return t
}

// RegName implements types.RegResolver for the output of regclass and its relatives.
func (s *Session) RegName(typ types.OID, oid uint32) (name string, ok bool) {
	if s.withCatalog(func(c CatalogTxn) { name, ok = c.RegName(typ, oid) }) != nil {
		return "", false
	}
	return name, ok
}

// RegLookup implements types.RegResolver.
func (s *Session) RegLookup(typ types.OID, name string) (oid uint32, err error) {
	if cerr := s.withCatalog(func(c CatalogTxn) { oid, err = c.RegLookup(typ, name) }); cerr != nil {
		return 0, cerr
	}
	return oid, err
}

// builtinHook supplies functions that need the session, the catalog or sequences.
func (s *Session) builtinHook(fn *builtin.Func) builtin.EvalFunc {
	if fn.Schema != "" {
		if f := nodeFunctions[fn.Name]; f != nil {
			return f
		}
		return meridianFunctions[fn.Name]
	}
	if f := sequenceFunctions[fn.Name]; f != nil {
		return f
	}
	if f := sessionFunctions[fn.Name]; f != nil {
		return f
	}
	if f := eventFunctions[fn.Name]; f != nil {
		return f
	}
	if f := channelFunctions[fn.Name]; f != nil {
		return f
	}
	if f := advisoryFunctions[fn.Name]; f != nil {
		return f
	}
	if f := largeFunctions[fn.Name]; f != nil {
		return f
	}
	if f := replicationFunctions[fn.Name]; f != nil {
		return f
	}
	if s.txn.catalog == nil {
		return nil
	}
	return s.txn.catalog.Function(fn)
}

// sessionFunctions are the SQL functions about sessions.
var sessionFunctions = map[string]builtin.EvalFunc{
	"pg_cancel_backend": onSession(func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		if int32(args[0].Int()) == s.pid {
			return types.Null, errCanceled()
		}
		return s.signal(ctx, int32(args[0].Int()), SignalCancel)
	}),
	"pg_terminate_backend": onSession(func(s *Session, ctx context.Context, args []types.Datum) (types.Datum, error) {
		if int32(args[0].Int()) == s.pid {
			return types.Null, errTerminated() // at once: the statement must not answer any more
		}
		return s.signal(ctx, int32(args[0].Int()), SignalTerminate)
	}),
	"pg_export_snapshot": onSession(func(s *Session, ctx context.Context, _ []types.Datum) (types.Datum, error) {
		return s.exportSnapshot(ctx)
	}),
}

// signal answers as PostgreSQL does: a PID of nobody is worth a warning only.
func (s *Session) signal(ctx context.Context, pid int32, sig Signal) (types.Datum, error) {
	if err := s.maySignal(ctx, pid, sig); err != nil {
		return types.Null, err
	}
	found, err := s.srv.SignalSession(ctx, pid, sig)
	if err != nil {
		return types.Null, pgerr.New(pgerr.CannotConnectNow, "node %d, where session %d is, cannot be reached", NodeOf(pid), pid).WithCause(err)
	}
	if !found {
		s.warn(pgerr.Warning, "PID %d is not a PostgreSQL server process", pid)
	}
	return types.NewBool(found), nil
}

// maySignal refuses to signal a session of a role whose privileges the user does not have, unless he is in
// pg_signal_backend and the session is no superuser's.
func (s *Session) maySignal(ctx context.Context, pid int32, sig Signal) error {
	v, ok := s.txn.catalog.(*catalogView)
	if !ok || s.superuser {
		return nil
	}
	snap, me := v.env().Snapshot, v.env().User
	list, err := s.CatalogProviders().Activity(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(a pgcatalog.Activity) bool { return a.PID == pid })
	if i < 0 {
		return nil // nobody's
	}
	process, is := "process", "whose process is being terminated"
	verb := "terminate"
	if sig == SignalCancel {
		verb, process, is = "cancel", "query", "whose query is being canceled"
	}
	of := snap.RoleByID(list[i].RoleID)
	switch {
	case snap.HasPrivsOf(me, list[i].RoleID):
	case of == nil || of.Super:
		return pgerr.New(pgerr.InsufficientPrivilege, "must be a superuser to %s superuser %s", verb, process)
	case !snap.HasPrivsOf(me, catalog.SignalBackendRoleID):
		return pgerr.New(pgerr.InsufficientPrivilege, "must be a member of the role %s or member of pg_signal_backend", is)
	}
	return nil
}

// exportSnapshot returns the transaction's read timestamp, which every node accepts in SET TRANSACTION
// SNAPSHOT.
func (s *Session) exportSnapshot(ctx context.Context) (types.Datum, error) {
	if s.txn.phase != phaseBlock {
		return types.Null, s.needsBlock("pg_export_snapshot")
	}
	tx, err := s.kvTxn(ctx)
	if err != nil {
		return types.Null, err
	}
	ts := tx.ReadTimestamp()
	if ts == 0 && (s.txn.readOnly || s.txn.iso == kv.Snapshot) {
		// The first read fixes the timestamp; pg_dump exports before it has read anything. No sequence has this key.
		if _, err := tx.Get(ctx, catalog.SequenceKey(0), kv.LockNone, kv.WaitBlock); err != nil {
			return types.Null, err
		}
		ts = tx.ReadTimestamp()
	}
	if ts == 0 {
		return types.Null, pgerr.New(pgerr.ObjectNotInPrerequisiteState, "only a read-only or repeatable read transaction has a snapshot")
	}
	return types.NewString(itoa(int(ts))), nil
}

package sql

import (
	"context"
	"net"
	"strconv"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/replication"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// mayReplicate checks that the session may read slots, and that there is something to read them with.
func (s *Session) mayReplicate() (*replication.Service, error) {
	svc := s.srv.cfg.Replication
	if svc == nil {
		return nil, pgerr.Unsupported("this server does not replicate")
	}
	c, ok := s.srv.cfg.Catalog.(*nodeCatalog)
	if !ok {
		return nil, pgerr.Unsupported("this server does not replicate")
	}
	if r := c.cfg.Manager.Snapshot(0).RoleByName(s.user); r == nil || !r.Super && !r.Replication {
		return nil, pgerr.New(pgerr.InsufficientPrivilege, "must be superuser or replication role to use replication slots")
	}
	return svc, nil
}

// MayReplicate returns nil when the session may use the replication protocol.
func (s *Session) MayReplicate() error {
	_, err := s.mayReplicate()
	if pgerr.Code(err) == pgerr.InsufficientPrivilege {
		return pgerr.New(pgerr.InsufficientPrivilege, "must be superuser or replication role to start walsender").WithSeverity(pgerr.SeverityFatal)
	}
	return err
}

// ReplicationCommand runs a command of the replication protocol. handled is false when text is none: it is SQL then. The
// answer to START_REPLICATION is a stream, to be run by RunStream.
func (s *Session) ReplicationCommand(_ context.Context, text string) (stream *replication.Stream, handled bool, err error) {
	cmd, err := replication.ParseCommand(text)
	if err == nil && cmd.Verb == replication.NoCommand {
		return nil, false, nil
	}
	ctx, span := s.beginStatement("sql.replication", text)
	if err == nil {
		err = s.guarded(text, func() (err error) {
			stream, err = s.replicationCommand(ctx, cmd)
			return err
		})
	}
	return stream, true, s.endStatement(ctx, span, text, err)
}

func (s *Session) replicationCommand(ctx context.Context, cmd *replication.Command) (*replication.Stream, error) {
	if s.txn.phase == phaseFailed {
		return nil, errFailedTxn()
	}
	svc, err := s.mayReplicate()
	if err != nil {
		return nil, err
	}
	text := func(v string) types.Datum { return types.NewString(v) }
	switch cmd.Verb {
	case replication.IdentifySystem:
		return nil, s.answer("IDENTIFY_SYSTEM", []string{"systemid", "timeline", "xlogpos", "dbname"}, []*types.T{types.Text, types.Int4, types.Text, types.Text},
			text(strconv.FormatUint(systemID, 10)), types.NewInt(1), text(svc.Now().String()), text(s.args.Database))
	case replication.CreateSlot:
		if cmd.Snapshot == replication.SnapshotUse {
			switch t := &s.txn; {
			case t.phase != phaseBlock:
				return nil, pgerr.New(pgerr.InternalError, "%s must be called inside a transaction", "CREATE_REPLICATION_SLOT ... (SNAPSHOT 'use')")
			case t.isoName != "repeatable read":
				return nil, pgerr.New(pgerr.InternalError, "%s must be called in REPEATABLE READ isolation mode transaction", "CREATE_REPLICATION_SLOT ... (SNAPSHOT 'use')")
			case t.used || len(t.points) > 0:
				return nil, pgerr.New(pgerr.InternalError, "%s must be called before any query", "CREATE_REPLICATION_SLOT ... (SNAPSHOT 'use')")
			}
			if err := s.mayImportSnapshot(); err != nil {
				return nil, err
			}
		} else if s.txn.phase == phaseBlock && cmd.Snapshot == replication.SnapshotExport {
			return nil, pgerr.New(pgerr.InternalError, "%s must not be called inside a transaction", "CREATE_REPLICATION_SLOT ... (SNAPSHOT 'export')")
		}
		ts, err := svc.CreateSlot(ctx, cmd.Slot, cmd.Plugin, s.databaseID, s.pid, cmd.Temporary)
		if err != nil {
			return nil, err
		}
		s.temporarySlots = s.temporarySlots || cmd.Temporary
		snapshot := types.Null
		switch cmd.Snapshot {
		case replication.SnapshotExport:
			// A timestamp, which every node accepts for as long as history is kept, and the slot keeps it.
			snapshot = text(strconv.FormatInt(int64(ts), 10))
		case replication.SnapshotUse:
			s.txn.snapshot = kv.Staleness{Kind: kv.ReadTimestamp, At: ts}
		}
		return nil, s.answer("CREATE_REPLICATION_SLOT", []string{"slot_name", "consistent_point", "snapshot_name", "output_plugin"},
			[]*types.T{types.Text, types.Text, types.Text, types.Text},
			text(cmd.Slot), text(replication.EndLSN(ts).String()), snapshot, text(cmd.Plugin))
	case replication.DropSlot:
		drop := svc.Slots.Drop
		if cmd.Wait {
			drop = svc.Slots.DropWhenFree
		}
		if err := drop(ctx, cmd.Slot, s.pid); err != nil {
			return nil, err
		}
		s.out.Complete("DROP_REPLICATION_SLOT")
		return nil, nil
	case replication.ReadSlot:
		row := []types.Datum{types.Null, types.Null, types.Null}
		list, err := svc.Slots.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, sl := range list {
			if sl.Name == cmd.Slot {
				return nil, pgerr.Unsupported("cannot use READ_REPLICATION_SLOT with a logical replication slot")
			}
		}
		return nil, s.answer("READ_REPLICATION_SLOT", []string{"slot_type", "restart_lsn", "restart_tli"}, []*types.T{types.Text, types.Text, types.Int8}, row...)
	case replication.StartReplication:
		if s.txn.phase == phaseBlock {
			return nil, pgerr.New(pgerr.ActiveSQLTransaction, "START_REPLICATION cannot run inside a transaction block")
		}
		args := replication.ReadArgs{Slot: cmd.Slot, Database: s.databaseID, Session: s.pid, Options: cmd.Options, Settings: s.format}
		return svc.Start(ctx, args, cmd.From, s.sender())
	}
	return nil, pgerr.New(pgerr.InternalError, "unknown replication command")
}

// systemID is the answer to IDENTIFY_SYSTEM, by which clients recognise a cluster that they have been connected to.
const systemID = 6_000_000_000_000_000_001

func (s *Session) sender() replication.Sender {
	info := s.Info()
	w := replication.Sender{PID: s.pid, Role: s.roleID, User: info.User, Application: info.Application, Started: info.Started}
	if a, ok := info.Remote.(*net.TCPAddr); ok {
		w.Addr, w.Port = a.IP.String(), a.Port
	}
	return w
}

// answer sends one row.
func (s *Session) answer(tag string, names []string, ts []*types.T, row ...types.Datum) error {
	cols := make([]Column, len(names))
	for i, n := range names {
		cols[i] = Column{Name: n, Type: ts[i]}
	}
	s.out.BeginRows(cols, nil, s.format, true)
	if err := s.out.Row(row); err != nil {
		return err
	}
	s.out.Complete(tag)
	return nil
}

// RunStream runs a stream as a statement of the session, until its end: Cancel and Terminate end it, too.
func (s *Session) RunStream(text string, stream *replication.Stream, client replication.Client) error {
	ctx, span := s.beginStatement("sql.replication", text)
	s.stmtCtx.next(0) // no timeout
	err := s.guarded(text, func() error { return stream.Run(ctx, client) })
	return s.endStatement(ctx, span, text, err)
}

// dropTemporarySlots drops what slots the session leaves behind.
func (s *Session) dropTemporarySlots(ctx context.Context) {
	if s.temporarySlots {
		if err := s.srv.cfg.Replication.Slots.DropTemporary(ctx, s.pid); err != nil {
			s.srv.cfg.Log.Warn("temporary replication slots not dropped", "session", s.pid, "err", err)
		}
	}
}

// replicationFunctions are the SQL functions about slots and positions.
var replicationFunctions = map[string]builtin.EvalFunc{
	"pg_create_logical_replication_slot": onSlots(func(s *Session, svc *replication.Service, ctx context.Context, a []types.Datum) (types.Datum, error) {
		if len(a) > 3 && a[3].Bool() {
			return types.Null, pgerr.Unsupported("two-phase commits are not decoded before they are committed")
		}
		temporary := len(a) > 2 && a[2].Bool()
		ts, err := svc.CreateSlot(ctx, a[0].Str(), a[1].Str(), s.databaseID, s.pid, temporary)
		if err != nil {
			return types.Null, err
		}
		s.temporarySlots = s.temporarySlots || temporary
		return slotAndLSN(a[0].Str(), replication.EndLSN(ts)), nil
	}),
	"pg_drop_replication_slot": onSlots(func(s *Session, svc *replication.Service, ctx context.Context, a []types.Datum) (types.Datum, error) {
		return types.NewString(""), svc.Slots.Drop(ctx, a[0].Str(), s.pid)
	}),
	"pg_replication_slot_advance": onSlots(func(s *Session, svc *replication.Service, ctx context.Context, a []types.Datum) (types.Datum, error) {
		slot, err := svc.Slots.Acquire(ctx, a[0].Str(), s.databaseID, s.pid)
		if err != nil {
			return types.Null, err
		}
		to := min(replication.LSN(a[1].Int()).Through(), s.srv.cfg.Replication.Now().Through())
		if to < slot.Confirmed {
			err = pgerr.New(pgerr.InvalidParameterValue, "cannot advance replication slot to %s, minimum is %s", replication.LSN(a[1].Int()), replication.EndLSN(slot.Confirmed))
			to = slot.Confirmed
		}
		if rerr := svc.Slots.Release(ctx, slot.Name, s.pid, to, false); err == nil {
			err = rerr
		}
		return slotAndLSN(slot.Name, replication.EndLSN(to)), err
	}),
	"pg_logical_slot_get_changes":         slotChanges(true, false),
	"pg_logical_slot_peek_changes":        slotChanges(false, false),
	"pg_logical_slot_get_binary_changes":  slotChanges(true, true),
	"pg_logical_slot_peek_binary_changes": slotChanges(false, true),
	"pg_current_wal_lsn":                  currentLSN,
	"pg_current_wal_flush_lsn":            currentLSN,
	"pg_current_wal_insert_lsn":           currentLSN,
}

func onSlots(f func(s *Session, svc *replication.Service, ctx context.Context, a []types.Datum) (types.Datum, error)) builtin.EvalFunc {
	return onSession(func(s *Session, ctx context.Context, a []types.Datum) (types.Datum, error) {
		svc, err := s.mayReplicate()
		if err != nil {
			return types.Null, err
		}
		return f(s, svc, ctx, a)
	})
}

// currentLSN is the position of everything committed so far.
var currentLSN = onSession(func(s *Session, _ context.Context, _ []types.Datum) (types.Datum, error) {
	if s.srv.cfg.Replication == nil {
		return types.Null, pgerr.Unsupported("this server does not replicate")
	}
	return types.NewInt(int64(s.srv.cfg.Replication.Now())), nil
})

func slotAndLSN(name string, lsn replication.LSN) types.Datum {
	return types.NewTuple(&types.Tuple{Types: []*types.T{types.Name, types.PgLSN}, Names: []string{"slot_name", "lsn"},
		Elems: []types.Datum{types.NewString(name), types.NewInt(int64(lsn))}})
}

// slotChanges reads a slot; package builtin takes its rows as an array of records.
func slotChanges(consume, binary bool) builtin.EvalFunc {
	return onSlots(func(s *Session, svc *replication.Service, ctx context.Context, a []types.Datum) (types.Datum, error) {
		if a[0].IsNull() {
			return types.Null, pgerr.New("22004", "slot name must not be null")
		}
		args := replication.ReadArgs{Slot: a[0].Str(), Database: s.databaseID, Session: s.pid, Settings: s.format, Binary: binary}
		var upTo replication.LSN
		limit := 0
		if !a[1].IsNull() {
			upTo = replication.LSN(a[1].Int())
		}
		if !a[2].IsNull() {
			limit = int(a[2].Int())
		}
		if len(a) > 3 && !a[3].IsNull() {
			list := a[3].Array().Elems
			if len(list)%2 != 0 {
				return types.Null, pgerr.New(pgerr.InvalidParameterValue, "array must have even number of elements")
			}
			for i := 0; i < len(list); i += 2 {
				if list[i].IsNull() || list[i+1].IsNull() {
					return types.Null, pgerr.New("22004", "array must not contain nulls")
				}
				args.Options = append(args.Options, replication.Option{Name: list[i].Str(), Value: list[i+1].Str()})
			}
		}
		messages, err := svc.Changes(ctx, args, upTo, limit, consume)
		if err != nil {
			return types.Null, err
		}
		rows := &types.Array{}
		for _, m := range messages {
			data := types.NewString(string(m.Data))
			if binary {
				data = types.NewBytes(m.Data)
			}
			rows.Elems = append(rows.Elems, types.NewTuple(&types.Tuple{Elems: []types.Datum{
				types.NewInt(int64(m.LSN)), types.NewInt(int64(m.XID)), data}}))
		}
		return types.NewArray(rows), nil
	})
}

// replicationViews adds what the views over slots and senders show.
func (s *Session) replicationViews(p *pgcatalog.Providers) {
	svc := s.srv.cfg.Replication
	if svc == nil {
		return
	}
	p.Slots = func(ctx context.Context) ([]pgcatalog.ReplicationSlot, error) {
		list, err := svc.Slots.List(ctx)
		if err != nil {
			return nil, err
		}
		out := make([]pgcatalog.ReplicationSlot, len(list))
		for i := range list {
			sl := &list[i]
			out[i] = pgcatalog.ReplicationSlot{Name: sl.Name, Plugin: sl.Plugin, Database: sl.Database, Temporary: sl.Temporary,
				ActivePID: svc.ActivePID(sl), Confirmed: uint64(replication.EndLSN(sl.Confirmed)), State: svc.State(sl)}
		}
		return out, nil
	}
	p.Senders = func() []pgcatalog.ReplicationSender {
		var out []pgcatalog.ReplicationSender
		for _, w := range svc.Senders() {
			out = append(out, pgcatalog.ReplicationSender{PID: w.PID, Role: w.Role, User: w.User, Application: w.Application, Addr: w.Addr, Port: w.Port,
				Started: w.Started, Sent: uint64(w.Sent), Write: uint64(w.Status.Write), Flush: uint64(w.Status.Flush), Replay: uint64(w.Status.Apply), Lag: w.Lag})
		}
		return out
	}
}

package pgcatalog

import (
	"time"

	"github.com/meridian-db/meridian/sql/types"
)

// ReplicationSlot is a row of pg_replication_slots.
type ReplicationSlot struct {
	Name, Plugin string
	Database     uint32
	Temporary    bool
	ActivePID    int32  // 0: nobody
	Confirmed    uint64 // LSN
	State        string // wal_status
}

// ReplicationSender is a row of pg_stat_replication.
type ReplicationSender struct {
	PID                        int32
	Role                       uint32
	User, Application, Addr    string
	Port                       int
	Started                    time.Time
	Sent, Write, Flush, Replay uint64 // LSNs, 0: unknown
	Lag                        time.Duration
}

var replicationRows = map[string]generator{
	"pg_catalog.pg_replication_slots": pgReplicationSlots,
	"pg_catalog.pg_stat_replication":  pgStatReplication,
}

func init() { generatorMaps = append(generatorMaps, replicationRows) }

func lsn(v uint64) any {
	if v == 0 {
		return nil
	}
	return types.NewInt(int64(v))
}

func pgReplicationSlots(g *gen) error {
	p := g.providers()
	if p.Slots == nil {
		return nil
	}
	slots, err := p.Slots(g.ctx)
	if err != nil {
		return err
	}
	for _, s := range slots {
		var pid, database any
		if s.ActivePID != 0 {
			pid = s.ActivePID
		}
		if d := g.databaseName(s.Database); d != "" {
			database = d
		}
		if err := g.row("slot_name", s.Name, "plugin", s.Plugin, "slot_type", "logical", "datoid", s.Database, "database", database,
			"temporary", s.Temporary, "active", s.ActivePID != 0, "active_pid", pid, "restart_lsn", lsn(s.Confirmed),
			"confirmed_flush_lsn", lsn(s.Confirmed), "wal_status", s.State, "two_phase", false); err != nil {
			return err
		}
	}
	return nil
}

func (g *gen) databaseName(id uint32) string {
	if d := g.snap.DatabaseByID(id); d != nil {
		return d.Name
	}
	return ""
}

func pgStatReplication(g *gen) error {
	p := g.providers()
	if p.Senders == nil {
		return nil
	}
	for _, s := range p.Senders() {
		lag := types.NewInterval(&types.Interval{Micros: s.Lag.Microseconds()})
		var addr any
		if s.Addr != "" {
			addr = s.Addr
		}
		if err := g.row("pid", s.PID, "usesysid", s.Role, "usename", s.User, "application_name", s.Application, "client_addr", addr, "client_port", s.Port,
			"backend_start", moment(s.Started), "state", "streaming", "sent_lsn", lsn(s.Sent), "write_lsn", lsn(s.Write), "flush_lsn", lsn(s.Flush),
			"replay_lsn", lsn(s.Replay), "flush_lag", lag, "sync_priority", 0, "sync_state", "async"); err != nil {
			return err
		}
	}
	return nil
}

package sql

import (
	"net"
	"time"

	"github.com/meridian-db/meridian/sql/pgcatalog"
)

// These methods give the system views their rows about sessions.

// settingRows are the rows of pg_settings.
func (s *Session) settingRows() []pgcatalog.Setting {
	contexts := [...]string{"user", "superuser", "backend", "sighup", "internal"}
	kinds := [...]string{"bool", "integer", "real", "string", "enum"}
	out := make([]pgcatalog.Setting, 0, len(s.vars.cur))
	for i := range s.vars.cur {
		g := s.vars.def(i)
		row := pgcatalog.Setting{Name: g.name, Value: s.vars.cur[i], Unit: g.unit, Category: "Meridian", Description: g.desc,
			Context: contexts[g.context], Type: kinds[g.kind], Source: "default", Boot: g.def, Reset: s.vars.reset[i], Enum: g.enum}
		if s.vars.cur[i] != g.def {
			row.Source = "session"
		}
		if g.kind == kindInt || g.kind == kindReal {
			row.Min, row.Max = formatNumber(g, g.min), formatNumber(g, g.max)
		}
		out = append(out, row)
	}
	return out
}

// preparedRows are the rows of pg_prepared_statements.
func (s *Session) preparedRows() []pgcatalog.PreparedStatement {
	var out []pgcatalog.PreparedStatement
	for _, st := range s.sortedStatements() {
		row := pgcatalog.PreparedStatement{Name: st.name, Statement: st.text, FromSQL: st.fromSQL, Time: st.created, GenericPlans: st.plans.generic, CustomPlans: st.plans.custom}
		if st.plan != nil {
			for _, t := range st.plan.ParamTypes {
				row.Params = append(row.Params, t.OID)
			}
		}
		out = append(out, row)
	}
	return out
}

// cursorRows are the rows of pg_cursors.
func (s *Session) cursorRows() []pgcatalog.Cursor {
	var out []pgcatalog.Cursor
	for _, p := range s.portals {
		if c := p.declared; c != nil {
			out = append(out, pgcatalog.Cursor{Name: p.name, Statement: p.st.source(), Holdable: c.held, Binary: len(p.formats) > 0,
				Scrollable: !c.noScroll, Created: c.created})
		}
	}
	return out
}

// Activity returns the rows of pg_stat_activity for this node's sessions, by PID.
func (srv *Server) Activity() []pgcatalog.Activity {
	var out []pgcatalog.Activity
	for _, in := range srv.Sessions() {
		row := pgcatalog.Activity{PID: in.PID, DatabaseID: in.DatabaseID, RoleID: in.RoleID, Database: in.Database, Role: in.User,
			Application: in.Application, BackendStart: in.Started, TxnStart: in.TxnStarted, QueryStart: in.StmtStarted,
			TxnAge: in.TxnAge, StateChange: in.StateSince, State: in.State, Query: in.Query, Kind: "client backend", TLS: in.TLS}
		if a, ok := in.Remote.(*net.TCPAddr); ok {
			row.ClientAddr, row.ClientPort = a.IP.String(), a.Port
		}
		if in.AwaitsJob {
			row.WaitType, row.WaitEvent = "IPC", pgcatalog.WaitJob
		}
		if in.State != "active" {
			row.WaitType, row.WaitEvent = "Client", "ClientRead"
		}
		out = append(out, row)
	}
	return out
}

// now is the session's wall clock.
func (s *Session) now() time.Time { return s.srv.cfg.Now() }

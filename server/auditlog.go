package server

import (
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/meridian-db/meridian/pgwire"
	"github.com/meridian-db/meridian/sql/audit"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// auditLog records who comes and goes, at both ports. Statements are recorded by their sessions.
type auditLog struct{ log *audit.Log }

// sqlLogin records an attempt to log in, sqlLogout the end of a session.
func (a auditLog) sqlLogin(l pgwire.LoginEvent) {
	e := a.sqlEvent("login", l)
	if l.Err != nil {
		e.Event = "login_failed"
		var pe *pgerr.Error
		if errors.As(l.Err, &pe) {
			e.State, e.Error = pe.Code, pe.Message
		} else {
			e.Error = "the connection was lost"
		}
	}
	a.log.Write(&e)
}

func (a auditLog) sqlLogout(l pgwire.LoginEvent) {
	e := a.sqlEvent("logout", l)
	a.log.Write(&e)
}

func (a auditLog) sqlEvent(kind string, l pgwire.LoginEvent) audit.Event {
	e := audit.Event{Time: time.Now(), Event: kind, Session: l.PID, User: l.User, Database: l.Database, Application: l.Application, TLS: l.TLS,
		Port: "sql", Method: string(l.Method), Micros: l.Session.Microseconds()}
	if l.Remote != nil {
		e.Client = l.Remote.String()
	}
	return e
}

// httpLogin records a login at the console.
func (a auditLog) httpLogin(r *http.Request, user string, err error) {
	e := audit.Event{Time: time.Now(), Event: "login", User: user, Client: r.RemoteAddr, TLS: r.TLS != nil, Port: "http", Method: "password"}
	if err != nil {
		e.Event, e.Error = "login_failed", err.Error()
	}
	a.log.Write(&e)
}

// metrics of the ports' guards.
func (s *Server) securityMetrics() []prometheus.Collector {
	counter := func(name, help string, f func() uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "meridian", Name: name, Help: help}, func() float64 { return float64(f()) })
	}
	return []prometheus.Collector{
		counter("logins_throttled_total", "Logins refused because of too many failed ones.", s.throttle.Refused),
		counter("audit_events_lost_total", "Audit events that could not be written.", s.audit.log.Lost),
	}
}

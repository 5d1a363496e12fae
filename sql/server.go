package sql

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/meridian-db/meridian/sql/audit"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/jobs"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/replication"
	"github.com/meridian-db/meridian/sql/stmtstats"
	"github.com/meridian-db/meridian/sql/tablestats"
	"github.com/meridian-db/meridian/txn/kv"
)

// Config configures a Server. A zero field takes the default named in its comment.
type Config struct {
	DB      kv.DB            // Required.
	Catalog Catalog          // Required.
	Now     func() time.Time // Wall clock of now() and of the views; default time.Now.
	Seed    func() uint64    // Seeds random(); default crypto/rand.
	RowID   func() int64     // Ids of rows without a primary key; default exec's.
	Version string           // Of Meridian, in version(); default "devel".
	NodeID  int32            // Makes PIDs unique in the cluster. Default 0.
	Log     *slog.Logger     // Default: discards.
	Tracer  trace.Tracer     // nil: no spans.
	Sample  func() bool      // Draws whether a statement is traced that the client has no trace for; default: all are.
	Audit   *audit.Log       // nil: nothing is recorded.
	// Signal sends a signal to a session of another node, and reports whether there is one. nil: there are no other nodes.
	Signal    func(ctx context.Context, node, pid int32, sig Signal) (bool, error)
	NodeAdmin NodeAdmin // What the functions about nodes do. nil: they are refused.
	Notifier  Notifier  // Brings notifications to all nodes. nil: there are no other nodes.

	Jobs        *jobs.Registry       // Long work that outlives sessions and nodes. nil: what needs it is refused, or done at once.
	Replication *replication.Service // nil: there are no replication slots

	// NewCatalog says that every node knows rows without the value of a column that was added later
	// (catalog.Column.Missing), GIN indexes and extensions. Default: yes.
	NewCatalog func() bool
	// Exclusions says that every node knows exclusion constraints. Default: yes.
	Exclusions func() bool
	// Definitions says that every node knows aggregates, operators, casts and event triggers of users. Default: yes.
	Definitions func() bool
	// Hstore says that every node knows the type of the extension hstore. Default: yes.
	Hstore func() bool
	// KeyDrops says that every node gives row ids to the rows of a table whose primary key is being dropped
	// (catalog.Rewriting.RowIDs). Default: yes.
	KeyDrops func() bool
	// Writers says that every node keeps in a row which transaction has written it. Default: yes.
	Writers func() bool

	// Memory is what all statements may hold together; nil: each has only its own budget.
	Memory  *exec.MemoryPool
	Scratch exec.Scratch // Files for sorts that pass their memory budget; nil: they fail with 53200.

	PlanCacheSize int // Entries of the shared plan cache; default 2000.
	MaxStatements int // Fingerprints that statistics are kept of; default 5000.
	MaxSessions   int // Default 10000.
	BackfillRows  int // At most so many rows of a table in one transaction of a job that goes through all; at least 512, default 8192.
}

// Server is one node's SQL layer: what its sessions share. It owns no goroutines.
type Server struct {
	cfg       Config
	plans     planCache
	sequences *catalog.Sequences
	metrics   *metrics
	channels  switchboard
	stats     *stmtstats.Registry
	tables    *tablestats.Registry

	mu struct {
		sync.Mutex
		sessions map[int32]*Session
		tenants  map[uint32]*tenant // by role
		nextPID  int32
	}
}

// sessionsPerNode bounds the part of a PID that counts sessions.
const sessionsPerNode = 1 << 20

// NewServer returns a server without sessions.
func NewServer(cfg Config) (*Server, error) {
	if cfg.DB == nil || cfg.Catalog == nil {
		return nil, errors.New("sql: Config.DB and Config.Catalog are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Seed == nil {
		cfg.Seed = func() uint64 {
			var b [8]byte
			rand.Read(b[:])
			return binary.LittleEndian.Uint64(b[:])
		}
	}
	cfg.Version = cmp.Or(cfg.Version, "devel")
	cfg.PlanCacheSize = cmp.Or(cfg.PlanCacheSize, 2000)
	cfg.MaxSessions = cmp.Or(cfg.MaxSessions, 10000)
	cfg.BackfillRows = max(cmp.Or(cfg.BackfillRows, 8192), minChunk)
	cfg.MaxStatements = cmp.Or(cfg.MaxStatements, 5000)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if _, off := cfg.Tracer.(noop.Tracer); off {
		cfg.Tracer = nil // nothing is spent on spans that nobody sees
	}
	srv := &Server{cfg: cfg, sequences: catalog.NewSequences(cfg.DB, cfg.Now), metrics: newMetrics(),
		stats: stmtstats.New(cfg.MaxStatements, cfg.Now())}
	srv.tables = tablestats.New(cfg.Now, func(table uint32) bool {
		c, ok := cfg.Catalog.(*nodeCatalog)
		return ok && c.cfg.Manager.Snapshot(0).TableByID(table) != nil
	})
	srv.plans.init(cfg.PlanCacheSize)
	srv.mu.sessions = map[int32]*Session{}
	srv.mu.tenants = map[uint32]*tenant{}
	if c, ok := cfg.Catalog.(*nodeCatalog); ok {
		c.cfg.Manager.SetAnalyzer(func(ctx context.Context, id uint32) error { return srv.autoAnalyze(ctx, c, id) })
	}
	return srv, nil
}

// addSession gives a session its PID.
func (srv *Server) addSession(s *Session) error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if len(srv.mu.sessions) >= srv.cfg.MaxSessions {
		return pgerr.New(pgerr.TooManyConnections, "sorry, too many clients already").WithSeverity(pgerr.SeverityFatal)
	}
	for {
		srv.mu.nextPID = srv.mu.nextPID%(sessionsPerNode-1) + 1
		pid := srv.cfg.NodeID*sessionsPerNode + srv.mu.nextPID
		if srv.mu.sessions[pid] == nil {
			s.pid = pid
			srv.mu.sessions[pid] = s
			return nil
		}
	}
}

func (srv *Server) removeSession(s *Session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.mu.sessions, s.pid)
}

// Sessions returns what every session is doing, by PID, for pg_stat_activity.
func (srv *Server) Sessions() []Info {
	srv.mu.Lock()
	list := make([]*Session, 0, len(srv.mu.sessions))
	for _, s := range srv.mu.sessions {
		list = append(list, s)
	}
	srv.mu.Unlock()
	infos := make([]Info, len(list))
	for i, s := range list {
		infos[i] = s.Info()
	}
	slices.SortFunc(infos, func(a, b Info) int { return cmp.Compare(a.PID, b.PID) })
	return infos
}

// Signal is what pg_cancel_backend and pg_terminate_backend do to a session.
type Signal byte

// The signals.
const (
	SignalCancel    Signal = 'c' // of the statement that runs
	SignalTerminate Signal = 't' // of the session
)

// SignalSession sends a signal to a session of any node, which its PID tells, and reports whether there is such a session.
func (srv *Server) SignalSession(ctx context.Context, pid int32, sig Signal) (bool, error) {
	node := NodeOf(pid)
	switch {
	case node != srv.cfg.NodeID && srv.cfg.Signal != nil:
		return srv.cfg.Signal(ctx, node, pid, sig)
	case sig == SignalCancel:
		return srv.CancelSession(pid), nil
	}
	return srv.TerminateSession(pid), nil
}

// NodeOf returns the node of a session.
func NodeOf(pid int32) int32 { return pid / sessionsPerNode }

// CancelSession cancels the statement that a session runs, as pg_cancel_backend does, and reports whether
// there is such a session.
func (srv *Server) CancelSession(pid int32) bool {
	s := srv.session(pid)
	if s != nil {
		s.Cancel()
	}
	return s != nil
}

// TerminateSession ends a session, as pg_terminate_backend does, and reports whether there is such a session.
func (srv *Server) TerminateSession(pid int32) bool {
	s := srv.session(pid)
	if s == nil {
		return false
	}
	s.end(errTerminated())
	return true
}

func errTerminated() *pgerr.Error {
	return pgerr.New(pgerr.AdminShutdown, "terminating connection due to administrator command").WithSeverity(pgerr.SeverityFatal)
}

func (srv *Server) session(pid int32) *Session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.mu.sessions[pid]
}

// Exec runs SQL text on an internal session that is a superuser's, for tests and for the server's own
// statements. Result rows go to out, nowhere if it is nil.
func (srv *Server) Exec(ctx context.Context, database, text string, out Output) error {
	if out == nil {
		out = discard{}
	}
	s, err := srv.NewSession(ctx, SessionArgs{User: "postgres", Database: database, Output: out})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.SimpleQuery(ctx, text); err != nil {
		s.Abort(ctx)
		return err
	}
	return nil
}

package sql

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/tablestats"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// SessionArgs say who opens a session and where its answers go.
type SessionArgs struct {
	User     string
	Database string
	Settings map[string]string // of the start-up packet
	Remote   net.Addr          // nil for internal sessions
	TLS      *pgcatalog.TLS    // nil: the connection is in the clear
	Output   Output            // Required.
	// Interrupt ends the session's connection, whatever it is doing. nil for sessions without one.
	Interrupt func(reason *pgerr.Error)
	// Wake is called when notifications have arrived, by any goroutine: DeliverNotifications is due as soon
	// as the session has no transaction. nil: never.
	Wake func()
}

// Session is one client's state: settings, the transaction, prepared statements, portals. Its methods are
// called by one goroutine, except Cancel, Terminate and Info.
type Session struct {
	srv                *Server
	args               SessionArgs
	out                Output
	pid                int32
	started            time.Time
	user               string // current role; SET ROLE changes it
	authorized         string // by SET SESSION AUTHORIZATION; "": the user who logged in
	superuser          bool
	databaseID, roleID uint32
	starting           bool // settings are being set up: nothing is reported or undone

	vars             settings
	format           *types.Settings // of results; replaced, never changed
	statementTimeout time.Duration
	statementEnd     time.Time // in the extended protocol, of a statement whose first message has come
	lockTimeout      time.Duration
	idleTimeout      time.Duration
	idleTxnTimeout   time.Duration
	maxRetries       int
	statementRate    int // of the role, per second and node; 0: no limit
	tenant           *tenant
	pool             *exec.MemoryPool
	minMessages      int
	planCacheOff     bool
	plannerEpoch     uint64   // counts changes of settings that plans depend on
	searchPath       []string // resolved search_path; nil: not computed since it changed

	txn            txnState
	view           catalogView           // of the open transaction
	statements     map[string]*statement // prepared, by name
	unnamed        *statement
	portals        map[string]*portal
	unnamedP       portal // the unnamed portal, reused
	portalSerial   uint64 // counts portals made
	cursorNames    uint64 // numbers the cursors that functions open without a name
	temporarySlots bool   // the session has made temporary replication slots
	hasTemp        bool   // there are temporary tables, or were
	hasOnCommit    bool   // there may be temporary tables that commits empty or drop
	sequences      catalog.SequenceSession
	advisory       map[advisoryKey]*advisoryLock // held now

	bctx       builtin.Ctx
	routines   routineState
	building   *[]uint64 // jobs that do what the statement leaves to them; nil: it does everything itself
	env        exec.Env
	writes     exec.Writes
	sink       func(row []types.Datum) error // sends a row; made once
	staleness  kv.Staleness                  // of read-only transactions
	describing bool                          // rows begin with their description (simple protocol)
	norm       parser.Normalizer
	keyPrefix  []byte // of the plan cache's keys
	keyEpoch   uint64 // plannerEpoch when keyPrefix was made
	keyBuf     []byte // scratch of the plan cache
	// paramValues gives the planner the literals of the text that is being planned with parameters.
	paramValues func([]*types.T) []types.Datum
	stmtCtx     statementContext
	cost        costing
	audit       auditing
	written     []tablestats.Change // by the open transaction
	sizes       knownSizes
	slowAfter   time.Duration // statements that take as long are logged; negative: none

	info struct { // what other sessions see of this one
		sync.Mutex
		Info
	}
	inbox     inbox        // under srv.channels' lock
	listening bool         // inbox has channels; the session's goroutine's own
	notices   atomic.Int32 // pending notifications
	txnTime   atomic.Int64 // microseconds since 1970 when the transaction began, 0 outside one; for Info
	txnAge    atomic.Int64 // of its kv transaction; for Info
}

// Info is a session's row in pg_stat_activity.
type Info struct {
	PID                int32
	User               string
	Database           string
	DatabaseID, RoleID uint32
	Application        string
	Remote             net.Addr
	TLS                *pgcatalog.TLS
	Started            time.Time
	TxnStarted         time.Time          // zero outside a transaction
	TxnAge             truetime.Timestamp // by which ranges know its transaction; zero: they do not
	StmtStarted        time.Time
	State              string // "active", "idle", "idle in transaction", "idle in transaction (aborted)"
	StateSince         time.Time
	AwaitsJob          bool // its statement does nothing but wait for a job
	Query              string
}

// NewSession opens a session. Errors are what the client is refused with.
func (srv *Server) NewSession(ctx context.Context, args SessionArgs) (*Session, error) {
	s := &Session{
		srv:        srv,
		args:       args,
		out:        args.Output,
		user:       args.User,
		started:    srv.cfg.Now(),
		starting:   true,
		vars:       newSettings(),
		statements: map[string]*statement{},
		portals:    map[string]*portal{},
	}
	s.sink = s.out.Row
	s.bctx = builtin.Ctx{
		Settings: types.DefaultSettings,
		Clock:    srv.cfg.Now,
		Rand:     rand.New(rand.NewPCG(srv.cfg.Seed(), srv.cfg.Seed())),
		Session:  s,
		Notice:   s.builtinNotice,
	}
	s.bctx.CurrentOf = s.currentOf
	s.bctx.Hook = s.builtinHook
	s.bctx.Routine = s.callRoutine
	s.bctx.Query = s.functionQuery
	login, err := srv.cfg.Catalog.Login(ctx, args.User, args.Database)
	if err != nil {
		return nil, err
	}
	s.superuser, s.databaseID, s.roleID = login.Superuser, login.DatabaseID, login.RoleID
	s.setInternal("is_superuser", onOff(login.Superuser))
	s.setInternal("session_authorization", args.User)
	s.setInternal("ssl", onOff(args.TLS != nil))
	s.pool = srv.cfg.Memory
	s.applyStored(login.Settings)
	names := make([]string, 0, len(args.Settings))
	for name := range args.Settings {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := s.setSetting(name, args.Settings[name], false); err != nil {
			return nil, err
		}
	}
	assignFormat(s, "")
	assignTimeouts(s, "")
	assignMinMessages(s, s.setting("client_min_messages"))
	assignStaleness(s, "")
	assignAudit(s, "")
	assignSlow(s, s.setting("log_min_duration_statement"))
	s.starting = false
	// Not ctx, which ends with the login: it has no values, and every layer looks for a span, up to the outermost context.
	s.stmtCtx.init(context.Background())
	if err := srv.addSession(s); err != nil {
		return nil, err
	}
	if err := srv.checkLimits(s, args.User, args.Database, login.Limits); err != nil {
		srv.removeSession(s)
		return nil, err
	}
	s.info.Info = Info{PID: s.pid, User: args.User, Database: args.Database, DatabaseID: s.databaseID, RoleID: s.roleID, Remote: args.Remote, TLS: args.TLS,
		Application: s.setting("application_name"), Started: s.started, State: "idle", StateSince: s.started}
	srv.tables.Connected(s.databaseID)
	return s, nil
}

// setInternal sets a setting that no client may set.
func (s *Session) setInternal(name, value string) {
	i := settingIndex[name]
	s.assignSetting(i, value, false)
}

// ReportParameters sends the settings that clients are told about, as after authentication.
func (s *Session) ReportParameters() {
	for i := range settingTable {
		if settingTable[i].report {
			s.out.Parameter(settingTable[i].name, s.showSetting(i))
		}
	}
}

// PID returns the number that names the session, to pg_cancel_backend and in cancel requests.
func (s *Session) PID() int32 { return s.pid }

// Close ends the session: an open transaction is rolled back.
func (s *Session) Close() {
	s.endTxn(context.WithoutCancel(s.stmtCtx.base), false)
	s.dropAllPortals()
	s.dropTemp()
	s.dropTemporarySlots(context.WithoutCancel(s.stmtCtx.base))
	s.srv.channels.leave(s)
	s.releaseSessionLocks(context.WithoutCancel(s.stmtCtx.base))
	s.stmtCtx.stop()
	s.srv.removeSession(s)
}

// Cancel makes the statement that runs now fail with 57014, and reports whether one runs. Safe for concurrent use.
func (s *Session) Cancel() bool { return s.stmtCtx.interrupt(errCanceled()) }

func errCanceled() *pgerr.Error {
	return pgerr.New(pgerr.QueryCanceled, "canceling statement due to user request")
}

// Terminate makes the statement that runs now fail with reason. Safe for concurrent use.
func (s *Session) Terminate(reason *pgerr.Error) { s.stmtCtx.interrupt(reason) }

// end ends the session and its connection. Safe for concurrent use.
func (s *Session) end(reason *pgerr.Error) {
	if s.args.Interrupt != nil {
		s.args.Interrupt(reason)
	} else {
		s.Terminate(reason)
	}
}

// Status is the transaction status of ReadyForQuery: 'I', 'T' or 'E'.
func (s *Session) Status() byte {
	switch s.txn.phase {
	case phaseBlock:
		return 'T'
	case phaseFailed:
		return 'E'
	}
	return 'I'
}

// IdleTimeout returns how long the session may wait for its client now, 0 for ever, and the error that
// ends it then.
func (s *Session) IdleTimeout() (time.Duration, error) {
	switch {
	case s.txn.phase == phaseIdle && s.idleTimeout > 0:
		return s.idleTimeout, pgerr.New(pgerr.IdleSessionTimeout, "terminating connection due to idle-session timeout").
			WithSeverity(pgerr.SeverityFatal)
	case s.txn.phase != phaseIdle && s.idleTxnTimeout > 0:
		return s.idleTxnTimeout, pgerr.New(pgerr.IdleInTransactionSessionTimeout, "terminating connection due to idle-in-transaction timeout").
			WithSeverity(pgerr.SeverityFatal)
	}
	return 0, nil
}

// The methods of builtin.Session, besides Setting and SetSetting.

// CurrentUser implements builtin.Session.
func (s *Session) CurrentUser() string { return s.user }

// SessionUser implements builtin.Session.
func (s *Session) SessionUser() string { return s.authUser() }

// Database implements builtin.Session.
func (s *Session) Database() string { return s.args.Database }

// BackendPID implements builtin.Session.
func (s *Session) BackendPID() int32 { return s.pid }

// ServerVersion implements builtin.Session.
func (s *Session) ServerVersion() string {
	return builtin.VersionString("Meridian " + s.srv.cfg.Version)
}

// CurrentSchemas implements builtin.Session.
func (s *Session) CurrentSchemas(implicit bool) []string {
	var out []string
	for _, name := range s.path() {
		if !implicit && (name == "pg_catalog" || name == s.tempSchemaName()) && !s.pathNames(name) {
			continue
		}
		if s.schemaExists(name) {
			out = append(out, name)
		}
	}
	return out
}

// path returns search_path as the planner takes it: "$user" replaced, pg_catalog in front unless named.
func (s *Session) path() []string {
	if s.searchPath == nil {
		names, _ := splitIdentifiers(s.setting("search_path"))
		path := make([]string, 0, len(names)+2)
		if s.hasTemp && !slices.Contains(names, "pg_temp") {
			path = append(path, s.tempSchemaName())
		}
		if !slices.Contains(names, "pg_catalog") {
			path = append(path, "pg_catalog")
		}
		for _, name := range names {
			switch name {
			case "$user":
				name = s.user
			case "pg_temp":
				name = s.tempSchemaName()
			}
			path = append(path, name)
		}
		s.searchPath = path
	}
	return s.searchPath
}

// pathNames reports whether search_path itself names a schema that is also searched without being named.
func (s *Session) pathNames(schema string) bool {
	names, _ := splitIdentifiers(s.setting("search_path"))
	return slices.Contains(names, schema) || schema != "pg_catalog" && slices.Contains(names, "pg_temp")
}

// notice sends a notice if client_min_messages lets it through.
func (s *Session) notice(n *pgerr.Error) {
	level := 6
	switch n.Severity {
	case pgerr.SeverityWarning:
		level = 7
	case pgerr.SeverityInfo:
		level = 9
	case pgerr.SeverityDebug:
		level = 0
	case pgerr.SeverityLog:
		level = 5
	}
	if level >= s.minMessages {
		s.out.Notice(n)
	}
}

func (s *Session) warn(code, format string, args ...any) {
	s.notice(pgerr.New(code, format, args...).WithSeverity(pgerr.SeverityWarning))
}

func (s *Session) builtinNotice(severity, code, message string) {
	s.notice(pgerr.New(code, "%s", message).WithSeverity(severity))
}

// Info returns what other sessions see of this one. Safe for concurrent use.
func (s *Session) Info() Info {
	s.info.Lock()
	defer s.info.Unlock()
	info := s.info.Info
	if us := s.txnTime.Load(); us != 0 {
		info.TxnStarted, info.TxnAge = time.UnixMicro(us), truetime.Timestamp(s.txnAge.Load())
	}
	return info
}

// statementContext is the context of a session's statements. One is made for many statements and replaced
// only after an interrupt, so that a statement without trouble pays no more than a lock.
type statementContext struct {
	base context.Context

	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelCauseFunc
	traced context.Context // of the running statement, with its span
	active bool
	timer  *time.Timer // of the statement timeout; made on first use
	serial uint64      // of the timer, so that a late one is recognised
}

func (c *statementContext) init(base context.Context) {
	c.base = base
	c.ctx, c.cancel = context.WithCancelCause(base)
	c.traced = c.ctx
}

// begin starts a statement and returns its context.
func (c *statementContext) begin(timeout time.Duration, span trace.Span) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active = true
	c.bound(timeout)
	c.traced = c.ctx
	if span != nil {
		c.traced = trace.ContextWithSpan(c.ctx, span)
	}
	return c.traced
}

// bound sets the time that the running statement may still take, zero for any. c.mu is held.
func (c *statementContext) bound(timeout time.Duration) {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	c.serial++
	if timeout > 0 {
		serial := c.serial
		c.timer = time.AfterFunc(timeout, func() { c.interruptSerial(serial, errStatementTimeout()) })
	}
}

// next begins another statement of the same message: its time is its own.
func (c *statementContext) next(timeout time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bound(timeout)
}

func errStatementTimeout() *pgerr.Error {
	return pgerr.New(pgerr.QueryCanceled, "canceling statement due to statement timeout")
}

// end ends a statement.
func (c *statementContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active = false
	c.bound(0)
	if c.ctx.Err() != nil {
		c.ctx, c.cancel = context.WithCancelCause(c.base)
	}
}

// interrupt cancels the running statement, if there is one.
func (c *statementContext) interrupt(cause error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active {
		c.cancel(cause)
	}
	return c.active
}

func (c *statementContext) interruptSerial(serial uint64, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active && c.serial == serial {
		c.cancel(cause)
	}
}

func (c *statementContext) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel(context.Canceled)
}

// interrupted replaces the error of a statement that was interrupted by the reason.
func interrupted(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	var reason *pgerr.Error
	if errors.As(context.Cause(ctx), &reason) {
		return reason
	}
	return err
}

// quoteIdent quotes an identifier where SQL needs it.
func quoteIdent(name string) string {
	plain := name != ""
	for i := 0; i < len(name) && plain; i++ {
		b := name[i]
		plain = b >= 'a' && b <= 'z' || b == '_' || i > 0 && b >= '0' && b <= '9'
	}
	if plain {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

var _ builtin.Session = (*Session)(nil)

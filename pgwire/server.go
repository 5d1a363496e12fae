package pgwire

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/meridian-db/meridian/pgwire/hba"
	"github.com/meridian-db/meridian/pgwire/throttle"
	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// AuthMethod says how clients prove who they are.
type AuthMethod uint8

const (
	// AuthSCRAM asks for a password by SCRAM-SHA-256, bound to the TLS channel when there is one.
	AuthSCRAM AuthMethod = iota
	// AuthTrust believes every client. It serves loopback addresses only, unless TrustAnywhere is set.
	AuthTrust
)

// Config configures a Server. A zero field takes the default named in its comment.
type Config struct {
	SQL  *sql.Server // Required.
	Auth AuthMethod  // Default AuthSCRAM.
	// TrustAnywhere lets AuthTrust listen beyond loopback, for networks that are closed by other means.
	TrustAnywhere bool
	// Credentials returns the stored keys of a role, false when it has none or does not exist. Default
	// SQL.Credentials.
	Credentials func(ctx context.Context, user string) (Credentials, bool, error)
	// ForwardCancel takes a cancel request for a session that is not here: clients behind a load balancer may reach
	// another node with it than with their session. Default: such requests are dropped.
	ForwardCancel func(ctx context.Context, pid int32, key []byte)
	TLS           *tls.Config // nil: encryption is refused.
	RequireTLS    bool        // without Rules

	// Rules are the host-based authentication rules in force, asked for with each connection; they come in place of Auth
	// and RequireTLS. nil: there are none.
	Rules func() []hba.Rule
	// MemberOf reports whether a role is a member of another, for rules about groups. nil: never.
	MemberOf func(user, role string) bool
	// VerifyClient checks a client's certificate. nil: clients' certificates count for nothing.
	VerifyClient func(tls.ConnectionState) error
	// Throttle slows down those who guess passwords. nil: nobody.
	Throttle *throttle.Limiter
	// Login is told of every attempt to log in that came as far as naming a user, and Logout of the end of each session.
	Login  func(LoginEvent)
	Logout func(LoginEvent)

	MaxConnections  int           // Authenticated sessions. Default 5000.
	ReservedForRoot int           // Of them, only for superusers. Default 3, less when there are few; negative: none.
	MaxPending      int           // Connections before authentication. Default 256.
	MaxMessageBytes int           // Largest message from an authenticated client. Default 128 MiB.
	AuthTimeout     time.Duration // From accept to the end of authentication. Default 60s.
	Rand            io.Reader     // Of cancel keys. Default crypto/rand.
	Log             *slog.Logger  // Default: discards.
}

const (
	alpnProtocol      = "postgresql"
	fatalWriteTimeout = time.Second
	acceptBackoff     = 50 * time.Millisecond
)

// LoginEvent describes a login, or an attempt.
type LoginEvent struct {
	User, Database, Application string
	Remote                      net.Addr
	TLS                         bool
	Method                      hba.Method // empty: no rule got as far as one
	PID                         int32      // zero when it failed
	Session                     time.Duration
	Err                         error // nil: it succeeded
}

// Server accepts PostgreSQL clients and runs each on a goroutine of its own, which lives until the client
// leaves or Shutdown or Close ends it.
type Server struct {
	cfg     Config
	log     *slog.Logger
	mockKey [32]byte
	workers sync.WaitGroup // one for each connection; waited for by Close

	mu struct { // held for memory only
		sync.Mutex
		listeners map[net.Listener]struct{}
		pending   map[*conn]struct{} // accepted
		conns     map[int32]*conn    // with a session, by its PID
		sessions  int                // admitted: conns and those still authenticating
		closing   bool
		empty     chan struct{} // closed when closing and the last connection is gone; made by Shutdown
	}
}

// New returns a server that does not listen yet.
func New(cfg Config) (*Server, error) {
	if cfg.SQL == nil {
		return nil, errors.New("pgwire: Config.SQL is required")
	}
	if cfg.Credentials == nil {
		cfg.Credentials = cfg.SQL.Credentials
	}
	return newServer(cfg)
}

// newServer returns a server that lets nobody in if it has no database (Starting).
func newServer(cfg Config) (*Server, error) {
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, 5000)
	cfg.ReservedForRoot = max(0, cmp.Or(cfg.ReservedForRoot, min(3, cfg.MaxConnections/10)))
	cfg.MaxPending = cmp.Or(cfg.MaxPending, 256)
	cfg.MaxMessageBytes = cmp.Or(cfg.MaxMessageBytes, 128<<20)
	cfg.AuthTimeout = cmp.Or(cfg.AuthTimeout, time.Minute)
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	s := &Server{cfg: cfg, log: cfg.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if _, err := io.ReadFull(cfg.Rand, s.mockKey[:]); err != nil {
		return nil, fmt.Errorf("pgwire: random key: %w", err)
	}
	s.mu.listeners = map[net.Listener]struct{}{}
	s.mu.pending = map[*conn]struct{}{}
	s.mu.conns = map[int32]*conn{}
	return s, nil
}

// Serve accepts connections on l until Shutdown or Close, and closes l. It returns nil then.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	if s.cfg.Rules == nil && s.cfg.Auth == AuthTrust && !s.cfg.TrustAnywhere && !isLoopback(l.Addr()) {
		return fmt.Errorf("pgwire: trust authentication may listen on loopback only, not on %s", l.Addr())
	}
	s.mu.Lock()
	if s.mu.closing {
		s.mu.Unlock()
		return nil
	}
	s.mu.listeners[l] = struct{}{}
	s.mu.Unlock()
	for {
		nc, err := l.Accept()
		if err != nil {
			s.mu.Lock()
			closing := s.mu.closing
			s.mu.Unlock()
			if closing || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Out of descriptors, most likely: the clients that are there go on, new ones wait.
			s.log.Warn("accept failed", "error", err)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(acceptBackoff):
			}
			continue
		}
		s.ServeConn(ctx, nc)
	}
}

// ServeConn serves one connection on a new goroutine. It takes nc over.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	if s.mu.closing || len(s.mu.pending)-len(s.mu.conns) >= s.cfg.MaxPending {
		s.mu.Unlock()
		nc.Close()
		return
	}
	s.mu.pending[c] = struct{}{}
	s.workers.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.workers.Done()
		defer s.forget(c)
		c.serve(ctx)
	}()
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.pending, c)
	if s.mu.empty != nil && len(s.mu.pending) == 0 {
		close(s.mu.empty)
		s.mu.empty = nil
	}
}

// admitSession counts a session against MaxConnections; releaseSession gives the place back.
func (s *Server) admitSession() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.sessions >= s.cfg.MaxConnections {
		return false
	}
	s.mu.sessions++
	return true
}

// crowded reports whether only the places for superusers are left.
func (s *Server) crowded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.sessions > s.cfg.MaxConnections-s.cfg.ReservedForRoot
}

func (s *Server) releaseSession() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.sessions--
}

// register makes a connection known to cancel requests. It fails on a server that is stopping.
func (s *Server) register(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closing {
		s.mu.sessions--
		return false
	}
	s.mu.conns[c.session.PID()] = c
	return true
}

func (s *Server) unregister(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.conns, c.session.PID())
	s.mu.sessions--
}

func (s *Server) lookup(pid int32) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.conns[pid]
}

// Connections returns the number of clients with a session.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.conns)
}

func (s *Server) shutdownError() *pgerr.Error {
	return pgerr.New(pgerr.AdminShutdown, "terminating connection due to administrator command").
		WithSeverity(pgerr.SeverityFatal)
}

// Shutdown stops accepting. Each client is told (57P01) and dropped as soon as it has no statement running;
// when ctx ends, running statements are interrupted. It returns once every connection is gone.
func (s *Server) Shutdown(ctx context.Context) {
	empty := s.beginShutdown(false)
	select {
	case <-empty:
	case <-ctx.Done():
		s.interruptAll(true)
	}
	s.workers.Wait()
}

// Close is Shutdown without patience.
func (s *Server) Close() {
	s.beginShutdown(true)
	s.workers.Wait()
}

func (s *Server) beginShutdown(now bool) <-chan struct{} {
	empty := make(chan struct{})
	s.mu.Lock()
	s.mu.closing = true
	for l := range s.mu.listeners {
		l.Close()
	}
	clear(s.mu.listeners)
	if len(s.mu.pending) == 0 {
		close(empty)
	} else {
		s.mu.empty = empty
	}
	s.mu.Unlock()
	s.interruptAll(now)
	return empty
}

// interruptAll ends the connections with a session; those still authenticating lose their socket.
func (s *Server) interruptAll(now bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	registered := make(map[*conn]bool, len(s.mu.conns))
	for _, c := range s.mu.conns {
		registered[c] = true
		c.interrupt(s.shutdownError(), now)
	}
	for c := range s.mu.pending {
		if !registered[c] {
			c.net.SetDeadline(time.Unix(1, 0))
		}
	}
}

// Terminate ends the session with the given PID, as pg_terminate_backend does. It reports whether there is one.
func (s *Server) Terminate(pid int32) bool {
	c := s.lookup(pid)
	if c == nil {
		return false
	}
	c.interrupt(s.shutdownError(), true)
	return true
}

package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"

	ranges "github.com/meridian-db/meridian/range"

	"github.com/meridian-db/meridian/pgwire"
	"github.com/meridian-db/meridian/server/rpc"
	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/backup"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/jobs"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/replication"
)

// openSQL makes the catalog and the SQL layer of the core; StartSQL brings them up.
func (c *Core) openSQL() (err error) {
	cfg := &c.cfg
	cc := catalog.Config{DB: c.DB, Clock: cfg.Clock, Node: uint64(cfg.NodeID), Peers: catalogPeers{cfg.Network},
		Virtual: pgcatalog.Relations(), Log: cfg.Logger}
	if cfg.TuneCatalog != nil {
		cfg.TuneCatalog(&cc)
	}
	if c.Catalog, err = catalog.NewManager(cc); err != nil {
		return err
	}
	cfg.Network.Register(rpc.ServiceCatalog, func(ctx context.Context, from ranges.NodeID, payload []byte) ([]byte, error) {
		if !c.sqlStarted.Load() {
			return nil, errors.New("the catalog is not loaded yet")
		}
		return c.Catalog.HandleCall(ctx, uint64(from), payload)
	})
	cat, err := sql.NewCatalog(sql.CatalogConfig{Manager: c.Catalog, Providers: cfg.Providers})
	if err != nil {
		return err
	}
	sc := sql.Config{DB: c.DB, Catalog: cat, Version: Version, NodeID: int32(cfg.NodeID), Log: cfg.Logger, Tracer: cfg.Tracer("sql"), Sample: cfg.Sample, NewCatalog: cfg.NewCatalog, Exclusions: cfg.Exclusions,
		Definitions: cfg.Definitions, Hstore: cfg.Hstore, KeyDrops: cfg.KeyDrops, Writers: cfg.Writers}
	if sc.Replication, err = replication.NewService(replication.Config{DB: c.DB, Catalog: c.Catalog, Clock: cfg.Clock}); err != nil {
		return err
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(sc.Replication)
	}
	// Nothing is delivered before c.SQL is there: notifications come from its sessions, and from the network.
	c.notify = newNotifier(notifierConfig{Self: cfg.NodeID, Clock: cfg.Clock, Network: cfg.Network, Nodes: cfg.Nodes, Log: cfg.Logger,
		Deliver: func(list []sql.Notification) { c.SQL.Deliver(list) }})
	c.onClose(func() error { c.notify.close(); return nil })
	cfg.Network.Register(rpc.ServiceNotify, c.notify.handle)
	sc.Notifier, sc.Signal, sc.NodeAdmin = c.notify, cfg.Signal, cfg.NodeAdmin
	if c.Jobs, err = jobs.New(jobs.Config{DB: c.DB, Clock: cfg.Clock, Node: uint64(cfg.NodeID), Log: cfg.Logger, Describe: sql.JobError}); err != nil {
		return err
	}
	c.onClose(func() error { // when nobody has called StopSQL: the node crashes
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		c.Jobs.Stop(gone)
		return nil
	})
	bc := backup.Config{DB: c.DB, Clock: cfg.Clock, Catalog: c.Catalog, Version: Version, Log: cfg.Logger}
	if cfg.TuneBackup != nil {
		cfg.TuneBackup(&bc)
	}
	c.Jobs.Handle(backup.KindBackup, backup.NewBackup(bc))
	c.Jobs.Handle(backup.KindRestore, backup.NewRestore(bc))
	sc.Jobs = c.Jobs
	sc.Audit = c.cfg.Audit
	sc.Memory = exec.NewMemoryPool(statementMemory(memoryLimit(os.ReadFile)))
	if sc.Scratch, err = newScratch(cfg.FS, cfg.Dir); err != nil {
		return err
	}
	if cfg.TuneSQL != nil {
		cfg.TuneSQL(&sc)
	}
	if c.SQL, err = sql.NewServer(sc); err != nil {
		return err
	}
	c.Jobs.Handle(sql.KindCreateIndex, c.SQL.IndexBuilder())
	c.Jobs.Handle(sql.KindValidate, c.SQL.Validator())
	c.Jobs.Handle(sql.KindRewrite, c.SQL.Rewriter())
	return nil
}

// StartSQL loads the catalog, creating it in a new cluster. The first ranges must be reachable.
func (c *Core) StartSQL(ctx context.Context) error {
	if err := c.Catalog.Start(ctx); err != nil {
		return err
	}
	c.sqlStarted.Store(true)
	c.Jobs.Start()
	return nil
}

// StopSQL gives the catalog's lease back. The sessions have ended.
func (c *Core) StopSQL(ctx context.Context) {
	if c.sqlStarted.Swap(false) {
		c.Jobs.Stop(ctx)
		c.Catalog.Stop(ctx)
	}
}

// catalogPeers carries catalog messages.
type catalogPeers struct{ net Network }

// Call implements catalog.Peers.
func (p catalogPeers) Call(ctx context.Context, node uint64, payload []byte) ([]byte, error) {
	return p.net.Call(ctx, ranges.NodeID(node), rpc.ServiceCatalog, payload)
}

// answerEarly has clients told that the node is starting, until startSQL opens it to them.
func (s *Server) answerEarly() error {
	var tls *tls.Config
	if s.certs != nil {
		tls = s.certs.SQL
	}
	stop, err := pgwire.Starting(s.listeners.SQL, tls, s.log)
	if err != nil {
		return err
	}
	s.stopEarly = stop
	s.onClose("SQL port while starting", func(context.Context) error { stop(); return nil })
	return nil
}

// startSQL loads the catalog and opens the node to clients.
func (s *Server) startSQL(ctx context.Context) error {
	if err := s.core.StartSQL(ctx); err != nil {
		return err
	}
	if err := s.core.SQL.Register(s.reg); err != nil {
		return err
	}
	if s.cfg.PostgresPassword != "" {
		if err := s.setFirstPassword(ctx); err != nil {
			return fmt.Errorf("--postgres-password: %w", err)
		}
	}
	pc := pgwire.Config{SQL: s.core.SQL, Log: s.log, ForwardCancel: s.forwardCancel}
	if s.certs != nil {
		pc.Auth, pc.Credentials, pc.TLS, pc.RequireTLS = pgwire.AuthSCRAM, s.core.SQL.Credentials, s.certs.SQL, true
		pc.VerifyClient = s.certs.VerifyUser
	} else {
		pc.Auth, pc.TrustAnywhere = pgwire.AuthTrust, s.cfg.InsecureListenAnywhere
	}
	pc.Throttle, pc.MemberOf = s.throttle, s.core.SQL.MemberOf
	if s.audit.log != nil {
		pc.Login, pc.Logout = s.audit.sqlLogin, s.audit.sqlLogout
	}
	if s.hba != nil {
		pc.Rules = s.hba.Rules
	}
	wire, err := pgwire.New(pc)
	if err != nil {
		return err
	}
	// Connections live as long as the server, not as long as Start's context.
	base, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.stopEarly()
	go func() {
		defer close(done)
		if err := wire.Serve(base, s.listeners.SQL); err != nil {
			err = fmt.Errorf("SQL port failed: %w", err)
			s.log.Error("cannot serve", "err", err)
			s.fail(err)
		}
	}()
	s.wire = wire
	s.onClose("SQL port", func(context.Context) error {
		wire.Close()
		cancel()
		<-done
		return nil
	})
	return nil
}

// setFirstPassword gives the first superuser a password if it has none.
func (s *Server) setFirstPassword(ctx context.Context) error {
	if _, ok, err := s.core.SQL.Credentials(ctx, "postgres"); ok || err != nil {
		return err
	}
	verifier, err := sql.HashPassword(s.cfg.PostgresPassword)
	if err != nil {
		return err
	}
	// The verifier's alphabet has no quotes.
	return s.core.SQL.Exec(ctx, "postgres", "ALTER ROLE postgres PASSWORD '"+verifier+"'", nil)
}

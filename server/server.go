package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/pgwire"
	"github.com/meridian-db/meridian/pgwire/hba"
	"github.com/meridian-db/meridian/pgwire/throttle"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server/rpc"
	"github.com/meridian-db/meridian/sql/audit"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn"
)

// Server is one node of a cluster, with its sockets. New opens them and checks everything that can be checked
// without a cluster; Start joins or founds the cluster and returns when the node serves; Stop drains and closes.
type Server struct {
	cfg           Config
	log           *slog.Logger
	recent        recentLog
	identity      Identity
	listeners     Listeners
	clock         *truetime.SyncClock
	hostClockOnly bool
	latency       Latency
	certs         *Certs
	hba           *hba.File // nil: the default rules
	throttle      *throttle.Limiter
	fs            vfs.FS // of the database; encrypts if there is a store key
	audit         auditLog
	reg           *prometheus.Registry
	tel           *Telemetry

	registry *registry
	sizes    sizeCache
	rpc      *rpc.Network
	core     *Core
	wire     *pgwire.Server
	admin    *http.Server

	state     atomic.Int32 // nodeState
	failed    atomic.Pointer[error]
	failedc   chan struct{} // closed when failed has been set
	noDrain   atomic.Bool
	leaving   atomic.Bool // decommissioned, and ending for it
	lock      func()      // releases the store's lock
	closers   []closer
	stopOnce  sync.Once
	stopEarly func() // ends answerEarly
	stopErr   error
	bg        sync.WaitGroup
	bgCtx     context.Context
	bgStop    context.CancelFunc
}

// nodeState is how far a node is in its life.
type nodeState int32

const (
	stateNew nodeState = iota
	stateJoining
	stateStarting // a member; ranges and catalog are being reached
	stateServing
	stateDraining
	stateStopped
)

func (s nodeState) String() string {
	return [...]string{"new", "joining", "starting", "serving", "draining", "stopped"}[s]
}

type closer struct {
	name string
	f    func(ctx context.Context) error
}

// New checks cfg, opens the sockets and reads the store's identity. After an error nothing is left open, and the
// store is as it was.
func New(cfg Config) (_ *Server, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, listeners: cfg.Listeners, lock: func() {}, failedc: make(chan struct{})}
	s.log = slog.New(s.recent.tee(cfg.Logger.Handler()))
	s.bgCtx, s.bgStop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			s.bgStop()
			for _, l := range []net.Listener{s.listeners.SQL, s.listeners.RPC, s.listeners.HTTP} {
				if l != nil {
					l.Close()
				}
			}
			s.lock()
			s.audit.log.Close()
		}
	}()
	if s.latency, err = ParseLatency(cfg.SimulatedLatency, cfg.Regions); err != nil {
		return nil, flagErr("simulated-latency", err.Error(), "give off, lan, wan, world or the name of a file")
	}
	if cfg.Certs != "" {
		if s.certs, err = LoadCerts(cfg.Certs); err != nil {
			return nil, flagErr("certs", err.Error(), "give a directory with ca.crt, node.crt and node.key; `meridian cert` makes them")
		}
	}
	if cfg.HBA != "" {
		if s.hba, err = hba.Open(cfg.HBA, s.log); err != nil {
			return nil, flagErr("hba", err.Error(), "give a file as PostgreSQL's pg_hba.conf")
		}
	}
	if cfg.AuditLog != "" {
		if s.audit.log, err = audit.Open(cfg.AuditLog, s.log); err != nil {
			return nil, flagErr("audit-log", err.Error(), "give a file that this user can write")
		}
	}
	s.throttle = throttle.New(throttle.Config{})
	if err := createDir(cfg.FS, cfg.Store); err != nil {
		return nil, flagErr("store", err.Error(), "give a directory that this user can write")
	}
	lock, err := cfg.FS.Lock(cfg.FS.PathJoin(cfg.Store, "LOCK"))
	if err != nil {
		return nil, flagErr("store", fmt.Sprintf("%s is in use by another process (%v)", cfg.Store, err), "end that process, or give this node a directory of its own")
	}
	s.lock = func() { lock.Close() }
	if s.identity, _, err = LoadIdentity(cfg.FS, cfg.Store); err != nil {
		var se *StoreError
		if errors.As(err, &se) {
			return nil, flagErr("store", fmt.Sprintf("%s: %s", se.Dir, se.Reason), "see above, or give another directory")
		}
		return nil, err
	}
	s.registry = newRegistry(cfg.FS, cfg.Store, s.identity.NodeID, s.log)
	s.registry.load()
	if s.registry.member(s.identity.NodeID) == memberDecommissioned {
		return nil, flagErr("store", errDecommissioned{s.identity.NodeID}.Error(), "give an empty directory")
	}
	if err := s.checkVersion(); err != nil {
		return nil, err
	}
	if s.fs, err = openStoreFS(&cfg, s.log.Warn); err != nil {
		return nil, err
	}
	srcs, hostOnly, err := cfg.sources(s.identity.Member())
	if err != nil {
		return nil, err
	}
	s.hostClockOnly = hostOnly
	if n := len(s.registry.list()); hostOnly && n > 1 {
		return nil, flagErr("time-source", fmt.Sprintf("is required, this store belongs to a cluster of %d nodes", n), "give ntp://host:port, better three of them, or kernel")
	}
	for _, l := range []struct {
		flag, addr string
		l          *net.Listener
	}{{"rpc-addr", cfg.RPCAddr, &s.listeners.RPC}, {"sql-addr", cfg.SQLAddr, &s.listeners.SQL}, {"http-addr", cfg.HTTPAddr, &s.listeners.HTTP}} {
		if *l.l != nil {
			continue
		}
		if *l.l, err = net.Listen("tcp", l.addr); err != nil {
			fix := "give an address of this machine"
			if errors.Is(err, syscall.EADDRINUSE) {
				fix = "end the process that uses the port, or give another one"
			}
			return nil, flagErr(l.flag, err.Error(), fix)
		}
	}
	s.clock, err = truetime.New(truetime.Config{Sources: srcs, PollInterval: cfg.ClockPollInterval, MaxUncertainty: cfg.MaxClockUncertainty, Logger: s.log})
	if err != nil {
		return nil, flagErr("time-source", err.Error(), "check the time sources")
	}
	s.reg = prometheus.NewRegistry()
	s.onClose("audit log", func(context.Context) error { return s.audit.log.Close() })
	s.onClose("store lock", func(context.Context) error { s.lock(); return nil })
	s.onClose("clock", func(context.Context) error { s.clock.Close(); return nil })
	s.onClose("listeners", func(context.Context) error {
		for _, l := range []net.Listener{s.listeners.SQL, s.listeners.RPC, s.listeners.HTTP} {
			l.Close() // Those that have been served are closed already.
		}
		return nil
	})
	return s, nil
}

// SQLAddr, HTTPAddr and RPCAddr return where the node listens.
func (s *Server) SQLAddr() string  { return s.listeners.SQL.Addr().String() }
func (s *Server) HTTPAddr() string { return s.listeners.HTTP.Addr().String() }
func (s *Server) RPCAddr() string  { return s.listeners.RPC.Addr().String() }

// NodeID returns the node's id, zero before it is a member.
func (s *Server) NodeID() ranges.NodeID { return s.identity.NodeID }

// ClusterID returns the cluster's id, empty before the node is a member.
func (s *Server) ClusterID() string { return s.identity.ClusterID }

// Clock returns the node's clock.
func (s *Server) Clock() *truetime.SyncClock { return s.clock }

// Core returns the node's database, nil before Start has opened it.
func (s *Server) Core() *Core { return s.core }

// Failed is closed when the node cannot go on; Failure says why. The process should end, and needs no Stop for
// that: a store that has failed is as good as crashed.
func (s *Server) Failed() <-chan struct{} { return s.failedc }

// Failure returns why the node cannot go on, nil while it can.
func (s *Server) Failure() error {
	if p := s.failed.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *Server) fail(err error) {
	if s.failed.CompareAndSwap(nil, &err) {
		close(s.failedc)
	}
}

const replaceStore = "move it away and start the node with an empty store and --join, the other nodes have the data"

// oneLine makes a message of an error that lists several.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", ", ") }

// storeFailed is told that the store has stopped. Clients of this node are sent to others: it cannot even say
// what became of their transactions.
func (s *Server) storeFailed(err error) {
	fix := "see to the disk, then start the node again"
	if errors.Is(err, mvcc.ErrCorrupt) || errors.Is(err, ranges.ErrForgotten) {
		fix = "the store is damaged, or an old copy: " + replaceStore
	}
	s.fail(flagErr("store", oneLine(err), fix))
	s.bgStop()
	if s.serving() {
		s.wire.Close()
	}
}

func (s *Server) serving() bool { return nodeState(s.state.Load()) == stateServing }

func (s *Server) setState(st nodeState) {
	s.state.Store(int32(st))
	s.log.Info("node is " + st.String())
}

func (s *Server) onClose(name string, f func(ctx context.Context) error) {
	s.closers = append(s.closers, closer{name, f})
}

// Start brings the node up and returns when it serves SQL. When it fails, or ctx ends, the node is closed.
func (s *Server) Start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			cctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			s.stop(cctx)
		}
	}()
	s.startAdmin()
	if err := s.answerEarly(); err != nil {
		return err
	}
	if err := s.waitClock(ctx); err != nil {
		return err
	}
	s.setState(stateJoining)
	if err := s.startRPC(ctx); err != nil {
		return err
	}
	s.setState(stateStarting)
	if err := s.startCore(ctx); err != nil {
		return err
	}
	if err := s.startSQL(ctx); err != nil {
		return err
	}
	s.waitReplicated(ctx)
	s.setState(stateServing)
	return nil
}

// waitClock waits for the time sources and says now and then what it waits for.
func (s *Server) waitClock(ctx context.Context) error {
	problem := func(err error) error {
		return flagErr("time-source", err.Error(), "check that the servers run and can be reached by UDP, and that a majority of them agrees")
	}
	for wait := time.Second; ; wait = 10 * time.Second {
		wctx, cancel := context.WithTimeout(ctx, wait)
		err := s.clock.WaitSynced(wctx)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return problem(err)
		}
		s.log.Warn("waiting for the time", "err", problem(err))
	}
}

// record describes this node to the others.
func (s *Server) record() NodeRecord {
	adv := s.cfg.AdvertiseRPCAddr
	if adv == "" {
		adv = s.RPCAddr()
	}
	return NodeRecord{ID: s.identity.NodeID, StoreID: s.identity.StoreID, RPCAddr: adv, SQLAddr: s.SQLAddr(), HTTPAddr: s.HTTPAddr(),
		Region: s.cfg.Region, Zone: s.cfg.Zone, Build: Version, Version: int64(s.clock.Now().Latest),
		OldestVersion: oldestVersion, NewestVersion: newestVersion}
}

// startRPC makes the network and settles who this node is.
func (s *Server) startRPC(ctx context.Context) error {
	rc := rpc.Config{Listener: s.listeners.RPC, Clock: s.clock, Join: s.handleJoin, Logger: s.log,
		Resolve: func(id ranges.NodeID) (string, bool) {
			n, ok := s.registry.get(id)
			return n.RPCAddr, ok
		},
		OnPeer: func(_ ranges.NodeID, up bool) {
			if c := s.core; c != nil && nodeState(s.state.Load()) >= stateStarting {
				c.Store.NodesChanged()
				if up {
					c.notify.peerUp()
				}
			}
		},
		OnLost: func(peer ranges.NodeID) {
			if c := s.core; c != nil && nodeState(s.state.Load()) >= stateStarting {
				c.Participants.GatewayDisconnected(peer)
			}
		},
	}
	if !s.latency.Off() {
		rc.Latency = func(peer ranges.NodeID) time.Duration {
			n, ok := s.registry.get(peer)
			if !ok {
				return 0
			}
			return s.latency.RoundTrip(s.cfg.Region, n.Region) / 2
		}
	}
	if s.certs != nil {
		rc.ServerTLS, rc.ClientTLS = s.certs.RPCServer, s.certs.RPCClient
	}
	net, err := rpc.New(rc)
	if err != nil {
		return err
	}
	s.rpc = net
	id := s.identity
	if id.StoreID == "" {
		id.StoreID = newUUID()
		if err := id.Save(s.cfg.FS, s.cfg.Store); err != nil {
			return err
		}
		s.identity = id
	}
	rec := s.record()
	switch {
	case id.Member():
		// The store's own list of nodes tells where to look; helloLoop corrects it.
	case len(s.cfg.Join) > 0:
		rec.ID = 0
		resp, err := s.join(ctx, net, joinRequest{Record: rec})
		if err != nil {
			return err
		}
		id.ClusterID, id.NodeID = resp.Cluster, resp.ID
		if !id.Member() {
			return errors.New("--join: the answer names no cluster or node")
		}
		if err := id.Save(s.cfg.FS, s.cfg.Store); err != nil {
			return err
		}
		if _, err := s.registry.mergeBytes(resp.Nodes); err != nil {
			return err
		}
	default:
		id = found(id)
		if err := id.Save(s.cfg.FS, s.cfg.Store); err != nil {
			return err
		}
	}
	s.identity = id
	s.registry.self = id.NodeID
	s.log = s.log.With("node", id.NodeID)
	net.SetIdentity(id.NodeID, id.ClusterID)
	return nil
}

// startCore opens the database and starts talking to the other nodes.
func (s *Server) startCore(ctx context.Context) error {
	s.audit.log.SetNode(uint64(s.identity.NodeID))
	s.tel = s.cfg.Telemetry.Node(ctx, fmt.Sprintf("n%d", s.identity.NodeID), s.cfg.Region)
	s.onClose("tracing", func(context.Context) error { return s.tel.Close() })
	cc := CoreConfig{NodeID: s.identity.NodeID, FS: s.fs, Dir: s.cfg.Store, Clock: s.clock, Network: s.rpc,
		Nodes: s.registry, FirstHint: s.registry.firstRange, Logger: s.log, Tracer: s.tel.Tracer, Sample: s.tel.Sample, Metrics: s.reg,
		CacheBytes: s.cfg.CacheBytes, RangeMaxBytes: s.cfg.RangeMaxBytes, Cache: s.cfg.Cache, Nearness: s.nearness, RoundTrip: s.rpc.RTT,
		Providers: s.providers(), Signal: s.signal, NodeAdmin: nodeAdmin{s}, ReplaceAfter: s.cfg.ReplaceAfter, Failed: s.storeFailed,
		Audit: s.audit.log, MayMerge: func() bool { return s.registry.version() >= versionMerges },
		MayCheck:    func() bool { return s.registry.version() >= versionChecks },
		NewCatalog:  func() bool { return s.registry.version() >= versionCatalog },
		Exclusions:  func() bool { return s.registry.version() >= versionExclusions },
		Definitions: func() bool { return s.registry.version() >= versionDefinitions },
		Hstore:      func() bool { return s.registry.version() >= versionHstore },
		KeyDrops:    func() bool { return s.registry.version() >= versionKeyDrops },
		Writers:     func() bool { return s.registry.version() >= versionWriters }}
	if s.cfg.TuneCore != nil {
		s.cfg.TuneCore(&cc)
	}
	core, err := OpenCore(cc)
	if err != nil {
		return flagErr("store", fmt.Sprintf("%s cannot be opened: %s", s.cfg.Store, oneLine(err)), "if it is damaged, "+replaceStore)
	}
	s.core = core
	s.onClose("database", func(context.Context) error { return core.Close() })
	s.registry.first = core.FirstRange
	founding := s.identity.Founding
	if founding {
		if err := core.Bootstrap(); err != nil {
			return err
		}
	}
	s.rpc.Register(rpc.ServiceServer, s.handleServer)
	s.registerMetrics()
	// Closed before the database: what still arrives must not meet closed layers.
	s.onClose("network", func(context.Context) error { s.rpc.Close(); return nil })
	if err := s.rpc.Start(); err != nil {
		return err
	}
	if err := core.Start(); err != nil {
		return err
	}
	rec := s.record()
	s.registry.change = s.membersChanged
	s.registry.now = func() truetime.Timestamp { return s.clock.Now().Latest }
	s.registry.merge([]NodeRecord{rec}, nil)
	s.registry.start(s.rpc)
	s.onClose("registry", func(context.Context) error { s.registry.close(); return nil })
	s.onClose("background", func(context.Context) error {
		s.bgStop()
		core.DB.Close() // A commit goes on looking for its outcome whatever its context says.
		s.bg.Wait()
		return nil
	})
	if founding {
		if err := core.PublishMeta(ctx); err != nil {
			return fmt.Errorf("write the meta records: %w", err)
		}
		if _, _, err := announce(ctx, core.DB, rec); err != nil {
			return fmt.Errorf("record this node: %w", err)
		}
		// Whoever sets a new cluster up need not wait for what its version allows.
		if err := s.finaliseVersion(ctx); err != nil {
			return fmt.Errorf("record the cluster's version: %w", err)
		}
		s.identity.Founding = false
		s.background(s.memberLoop)
		return s.identity.Save(s.cfg.FS, s.cfg.Store)
	}
	s.background(s.memberLoop)
	// Everyone else's record is a correction, which may wait until the ranges can be reached.
	s.background(func() { s.announceLoop(rec) })
	wctx, refused := context.WithCancelCause(ctx)
	defer refused(nil)
	if len(s.cfg.Join) > 0 {
		s.background(func() { s.helloLoop(rec, refused) })
	}
	err = s.waitRanges(wctx)
	if cause := context.Cause(wctx); err != nil && cause != nil && ctx.Err() == nil {
		return cause
	}
	return err
}

func (s *Server) background(f func()) {
	s.bg.Add(1)
	go func() {
		defer s.bg.Done()
		f()
	}()
}

// helloLoop tells the members given by --join where this node is now. A cluster that starts from nothing on new
// addresses finds itself so.
func (s *Server) helloLoop(rec NodeRecord, refused context.CancelCauseFunc) {
	payload, err := json.Marshal(joinRequest{Cluster: s.identity.ClusterID, Record: rec})
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, seed := range s.cfg.Join {
		wg.Add(1)
		go func() {
			defer wg.Done()
			s.hello(seed, payload, refused)
		}()
	}
}

// hello talks to one member until it has answered. All of them are told, as any may be one that cannot find us.
func (s *Server) hello(seed string, payload []byte, refused context.CancelCauseFunc) {
	for wait := 50 * time.Millisecond; s.bgCtx.Err() == nil; wait = min(2*wait, 5*time.Second) {
		resp, err := joinOnce(s.bgCtx, s.rpc, []string{seed}, s.identity.ClusterID, payload)
		switch {
		case err == nil:
			if _, err := s.registry.mergeBytes(resp.Nodes); err == nil {
				return
			}
		case errors.Is(err, errWrongCluster):
			err = flagErr("join", err.Error(), "check that --store and --join belong to the same cluster")
			s.log.Error("refused by the cluster", "err", err)
			s.fail(err)
			refused(err)
			return
		case errors.Is(err, errRefused):
			refused(s.refuse(err))
			return
		}
		select {
		case <-time.After(wait):
		case <-s.bgCtx.Done():
		}
	}
}

// refuse ends the node because the cluster will not have it.
func (s *Server) refuse(err error) error {
	err = flagErr("store", oneLine(err), "the store has not been changed")
	s.log.Error("refused by the cluster", "err", err)
	s.fail(err)
	return err
}

func (s *Server) announceLoop(rec NodeRecord) {
	for s.bgCtx.Err() == nil {
		ctx, cancel := context.WithTimeout(s.bgCtx, 30*time.Second)
		all, members, err := announce(ctx, s.core.DB, rec)
		cancel()
		if err == nil {
			s.registry.merge(all, nil)
			s.registry.mergeMembers(members)
			return
		}
		if errors.Is(err, errRefused) {
			s.refuse(err)
			return
		}
		if s.bgCtx.Err() == nil {
			s.log.Warn("cannot record this node in the database yet", "err", err)
		}
		select {
		case <-time.After(time.Second):
		case <-s.bgCtx.Done():
		}
	}
}

// waitRanges returns when the first ranges answer.
func (s *Server) waitRanges(ctx context.Context) error {
	for n := 0; ; n++ {
		err := s.core.probe(ctx)
		if err == nil {
			return nil
		}
		if n%10 == 9 {
			s.log.Warn("waiting for a quorum of the cluster's nodes", "err", err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the cluster's ranges do not answer: %w", err)
		}
	}
}

// replicatedWithin bounds how long a node that comes up waits for the ranges to be replicated.
const replicatedWithin = 10 * time.Second

// waitReplicated returns when every range has all its voters, if there are nodes enough, or soon anyway. Who
// takes nodes down one after the other waits for each to be ready again: only from here on can the next one go.
func (s *Server) waitReplicated(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, replicatedWithin)
	defer cancel()
	for ctx.Err() == nil && !s.replicated(ctx) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			s.log.Warn("ranges have fewer replicas than they should")
		}
	}
}

// replicated reports whether every range whose leader answers has enough voters that are up, and up to date.
func (s *Server) replicated(ctx context.Context) bool {
	live := map[int64]bool{}
	for _, n := range s.registry.Nodes() {
		if n.Live && !n.Draining {
			live[int64(n.ID)] = true
		}
	}
	if len(live) < replicationFactor {
		return true // Two voters would survive less than one does: ranges wait for the third node.
	}
	rows, err := gather(ctx, s, viewRanges, s.rangeRows)
	if err != nil {
		return false
	}
	led := map[uint64]bool{}
	for _, r := range rows {
		if r.Leader != r.Node {
			continue
		}
		led[r.ID] = true
		up := 0
		for _, n := range r.Replicas {
			if live[n] && !slices.Contains(r.Behind, n) {
				up++
			}
		}
		if up < min(cmp.Or(r.Wanted, replicationFactor), len(live)) || len(r.Learners) > 0 {
			return false
		}
	}
	return led[uint64(firstRangeID)] && led[uint64(firstDataRangeID)]
}

// unmeasured is the distance to a node in another region that has not answered a ping.
const unmeasured = 10 * time.Second

// nearness ranks nodes: same zone, same region, others by the round trip measured last. One that has not been measured
// is farther than any that has.
func (s *Server) nearness(id ranges.NodeID) int {
	n, ok := s.registry.get(id)
	switch {
	case !ok:
		return 1 << 30
	case n.Region == s.cfg.Region && n.Zone == s.cfg.Zone:
		return 1
	case n.Region == s.cfg.Region:
		return txn.FarRank - 1
	}
	if rtt := s.rpc.RTT(id); rtt > 0 {
		return txn.FarRank + int(min(rtt, unmeasured)/time.Microsecond)
	}
	return txn.FarRank + int(unmeasured/time.Microsecond)
}

// handleServer answers requests of other nodes' Servers.
func (s *Server) handleServer(ctx context.Context, from ranges.NodeID, payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return nil, errUnknownOp
	}
	switch payload[0] {
	case opGossip:
		return s.registry.handleGossip(payload[1:])
	case opView:
		return s.handleView(payload[1:])
	case opSignal:
		return s.handleSignal(payload[1:])
	case opCancel:
		return s.handleCancel(payload[1:])
	case opReset:
		return s.handleReset(payload[1:])
	case opDrain:
		s.drain()
		return nil, nil
	case opDebug:
		return s.handleDebug(ctx, payload[1:])
	}
	return nil, errUnknownOp
}

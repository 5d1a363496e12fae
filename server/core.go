package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server/rpc"
	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/audit"
	"github.com/meridian-db/meridian/sql/backup"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/jobs"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/pushdown"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn"
	"github.com/meridian-db/meridian/txn/participant"
	"github.com/meridian-db/meridian/txn/protect"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// Network is what a Core needs of the cluster's network. *rpc.Network is one; simulations bring their own.
type Network interface {
	Ranges() ranges.Transport
	// RegisterRanges and Register are called before the network delivers anything.
	RegisterRanges(s rpc.RangesHandler)
	Register(s rpc.Service, h rpc.Handler)
	Call(ctx context.Context, to ranges.NodeID, s rpc.Service, payload []byte) ([]byte, error)
	Connect(id ranges.NodeID)        // asks for a connection, without waiting
	Connected(id ranges.NodeID) bool // whether there is one
}

// CoreConfig configures a Core. A zero field takes the default named in its comment.
type CoreConfig struct {
	NodeID    ranges.NodeID  // Required.
	FS        vfs.FS         // Required.
	Dir       string         // Required: the store.
	Clock     truetime.Clock // Required.
	Network   Network        // Required.
	Nodes     ranges.NodeLister
	Nearness  func(ranges.NodeID) int           // Rank of other nodes by distance. Default: all alike.
	RoundTrip func(ranges.NodeID) time.Duration // Measured, zero when unknown. Default: always zero.
	FirstHint func() *ranges.Descriptor         // Where the first range is when no replica is here. Default: unknown.
	Rand      *rand.Rand                        // Default: seeded from the runtime.
	Logger    *slog.Logger                      // Default: discards.
	Tracer    func(layer string) trace.Tracer   // nil tracer: off. Default: off.
	Sample    func() bool                       // sql.Config.Sample. Default: all.
	Metrics   prometheus.Registerer             // Default: none.

	Failed            func(error)               // Told when the store has stopped because of its disk. Default: panics.
	CacheBytes        int64                     // Block cache of the state engine. Default 256 MiB.
	Cache             *mvcc.Cache               // Shared by several Cores, instead of CacheBytes.
	ReplicationFactor int                       // Default 3.
	RangeMaxBytes     int64                     // Default 512 MiB.
	MayMerge          func() bool               // Whether ranges may be merged. Default: yes.
	MayCheck          func() bool               // Whether replicas may be compared. Default: yes.
	NewCatalog        func() bool               // sql.Config.NewCatalog. Default: yes.
	Exclusions        func() bool               // sql.Config.Exclusions. Default: yes.
	Definitions       func() bool               // sql.Config.Definitions. Default: yes.
	Hstore            func() bool               // sql.Config.Hstore. Default: yes.
	KeyDrops          func() bool               // sql.Config.KeyDrops. Default: yes.
	Writers           func() bool               // sql.Config.Writers. Default: yes.
	TuneRanges        func(*ranges.Config)      // Tests: last word on the store's configuration.
	TuneParticipant   func(*participant.Config) // Tests.
	TuneTxn           func(*txn.Config)         // Tests.
	TuneCatalog       func(*catalog.Config)     // Tests.
	TuneSQL           func(*sql.Config)         // Tests.
	TuneBackup        func(*backup.Config)      // Tests.
	Providers         *pgcatalog.Providers      // What system views show of the node. Default: nothing.
	// ReplaceAfter is how long a node may be down before its replicas are replaced. Default 5m.
	ReplaceAfter time.Duration
	Audit        *audit.Log    // Default: nothing is recorded.
	NodeAdmin    sql.NodeAdmin // What SQL functions about nodes do. Default: they are refused.
	// Signal reaches sessions of other nodes. Default: there are none.
	Signal func(ctx context.Context, node, pid int32, sig sql.Signal) (bool, error)
}

// Core is one node's database below SQL's sessions, without sockets: engine, store, participants, transactions. It
// is opened, bootstrapped if its cluster is new, started, and closed.
type Core struct {
	cfg          CoreConfig
	Engine       *mvcc.Engine
	Store        *ranges.Store
	Participants *participant.Server
	DB           *txn.DB
	Catalog      *catalog.Manager
	SQL          *sql.Server
	Jobs         *jobs.Registry
	sqlStarted   atomic.Bool
	notify       *notifier
	closers      []func() error // in the order of opening
	started      bool
}

// firstRangeID is the range that holds the meta records and the system keys, firstDataRangeID the first with rows.
const (
	firstRangeID     ranges.RangeID = 1
	firstDataRangeID ranges.RangeID = 2
)

// replicationFactor is how many voters a range gets by default.
const replicationFactor = 3

// initialDescriptors are the ranges of a new cluster, all on its founder.
func initialDescriptors(founder ranges.NodeID) []*ranges.Descriptor {
	one := func(id ranges.RangeID, start, end byte) *ranges.Descriptor {
		return &ranges.Descriptor{ID: id, Start: []byte{start}, End: []byte{end}, NextReplica: 2, Generation: 1,
			Replicas: []ranges.ReplicaDesc{{Node: founder, Replica: 1, Type: ranges.Voter}}}
	}
	return []*ranges.Descriptor{one(firstRangeID, 0x01, 0x03), one(firstDataRangeID, 0x03, 0xff)}
}

// OpenCore opens the store and connects the layers. Handlers are registered with the network; nothing runs yet.
func OpenCore(cfg CoreConfig) (c *Core, err error) {
	switch {
	case cfg.NodeID == 0:
		return nil, errors.New("server: CoreConfig.NodeID is required")
	case cfg.FS == nil || cfg.Dir == "":
		return nil, errors.New("server: CoreConfig.FS and CoreConfig.Dir are required")
	case cfg.Clock == nil || cfg.Network == nil:
		return nil, errors.New("server: CoreConfig.Clock and CoreConfig.Network are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Tracer == nil {
		cfg.Tracer = func(string) trace.Tracer { return nil }
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if cfg.Failed == nil {
		cfg.Failed = func(err error) { panic("server: " + err.Error()) }
	}
	if cfg.FirstHint == nil {
		cfg.FirstHint = func() *ranges.Descriptor { return nil }
	}
	// Layers use their generators under locks of their own, so each gets one.
	fork := func() *rand.Rand { return rand.New(rand.NewPCG(cfg.Rand.Uint64(), cfg.Rand.Uint64())) }
	c = &Core{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
			c = nil
		}
	}()
	var store atomic.Pointer[ranges.Store]
	c.Engine, err = mvcc.Open(mvcc.Config{FS: cfg.FS, Dir: cfg.FS.PathJoin(cfg.Dir, "state"),
		CacheBytes: cfg.CacheBytes, Cache: cfg.Cache, Logger: cfg.Logger,
		OnFailure: func(err error) {
			if s := store.Load(); s != nil {
				s.Fail(err)
			} else {
				go cfg.Failed(err)
			}
		}})
	if err != nil {
		return c, fmt.Errorf("open the state engine: %w", err)
	}
	c.onClose(c.Engine.Close)

	pc := participant.Config{NodeID: cfg.NodeID, Clock: cfg.Clock, Logger: cfg.Logger, Tracer: cfg.Tracer("txn"), Metrics: cfg.Metrics,
		Programs: pushdown.NewPrograms()}
	guard := protect.NewGuard(cfg.Clock, cfg.Logger, func(ctx context.Context) ([]protect.Record, error) { return protect.List(ctx, c.DB) })
	pc.Protected = guard.Limit
	if cfg.TuneParticipant != nil {
		cfg.TuneParticipant(&pc)
	}
	if c.Participants, err = participant.NewServer(pc); err != nil {
		return c, err
	}
	c.onClose(func() error { c.Participants.Close(); return nil })

	tc := txn.Config{NodeID: cfg.NodeID, Clock: cfg.Clock, Local: c.Participants, Sender: &sender{net: cfg.Network},
		Descriptors: routing{c}, Nearness: cfg.Nearness, Logger: cfg.Logger, Tracer: cfg.Tracer("txn"), Rand: fork()}
	if cfg.TuneTxn != nil {
		cfg.TuneTxn(&tc)
	}
	if c.DB, err = txn.New(tc); err != nil {
		return c, err
	}
	c.Participants.SetRouter(c.DB)

	rc := ranges.Config{NodeID: cfg.NodeID, Engine: c.Engine, FS: cfg.FS, Dir: cfg.Dir, Clock: cfg.Clock,
		Transport: cfg.Network.Ranges(), NewMachine: c.Participants.NewMachine, Meta: c.DB, Locate: c.DB.Lookup, Nodes: cfg.Nodes,
		Logger: cfg.Logger, Tracer: cfg.Tracer("range"), Metrics: cfg.Metrics, Rand: fork(), ReplicationFactor: cfg.ReplicationFactor,
		SplitBytes: cfg.RangeMaxBytes, ReplaceAfter: cfg.ReplaceAfter, MayMerge: cfg.MayMerge, MayCheck: cfg.MayCheck, Policies: policyReader{c.DB}, RoundTrip: cfg.RoundTrip, Failed: cfg.Failed}
	if cfg.TuneRanges != nil {
		cfg.TuneRanges(&rc)
	}
	if c.Store, err = ranges.Open(rc); err != nil {
		return c, fmt.Errorf("open the store: %w", err)
	}
	store.Store(c.Store)
	c.onClose(c.Store.Close)
	c.onClose(func() error { c.DB.Close(); return nil })

	cfg.Network.RegisterRanges(c.Store)
	cfg.Network.Register(rpc.ServiceTxn, c.handleTxn)
	if err := c.openSQL(); err != nil {
		return c, err
	}
	return c, nil
}

func (c *Core) onClose(f func() error) { c.closers = append(c.closers, f) }

// Bootstrap founds a cluster: it writes the first ranges into the store, between OpenCore and Start. Repeating it
// after a crash is harmless.
func (c *Core) Bootstrap() error {
	if len(c.Store.Replicas()) > 0 {
		return nil
	}
	if err := c.Store.Bootstrap(initialDescriptors(c.cfg.NodeID)); err != nil {
		return fmt.Errorf("write the first ranges: %w", err)
	}
	return nil
}

// Start starts the store and the transaction layer.
func (c *Core) Start() error {
	if err := c.Store.Start(); err != nil {
		return fmt.Errorf("start the store: %w", err)
	}
	c.DB.Start()
	c.started = true
	return nil
}

// PublishMeta writes the meta records of a new cluster's ranges.
func (c *Core) PublishMeta(ctx context.Context) error {
	return c.DB.UpdateMeta(ctx, nil, initialDescriptors(c.cfg.NodeID))
}

// Drain moves this node's leases to other nodes, as far as they take them before ctx ends.
func (c *Core) Drain(ctx context.Context) error { return c.Store.Drain(ctx) }

// Close closes the layers from the top.
func (c *Core) Close() error {
	var errs []error
	for i := len(c.closers) - 1; i >= 0; i-- {
		errs = append(errs, c.closers[i]())
	}
	c.closers = nil
	return errors.Join(errs...)
}

// routing is the Core as txn's starting point for routes.
type routing struct{ c *Core }

// LocalDescriptor implements txn.Descriptors.
func (r routing) LocalDescriptor(key []byte, before bool) *ranges.Descriptor {
	if before {
		for _, rep := range r.c.Store.Replicas() {
			d := rep.Desc()
			if d != nil && string(d.Start) < string(key) && string(key) <= string(d.End) {
				return d
			}
		}
		return nil
	}
	rep, ok := r.c.Store.ReplicaForKey(key)
	if !ok {
		return nil
	}
	return rep.Desc()
}

// FirstRange implements txn.Descriptors.
func (r routing) FirstRange() *ranges.Descriptor {
	own := r.c.FirstRange()
	hint := r.c.cfg.FirstHint()
	if own == nil || hint != nil && hint.Generation > own.Generation {
		return hint
	}
	return own
}

// FirstRange returns the descriptor of this node's replica of the first range, nil when it has none.
func (c *Core) FirstRange() *ranges.Descriptor {
	if c.Store == nil {
		return nil
	}
	if rep, ok := c.Store.Replica(firstRangeID); ok {
		return rep.Desc()
	}
	return nil
}

// sender carries transaction requests to other nodes.
type sender struct{ net Network }

// Send implements txn.Sender.
func (s *sender) Send(ctx context.Context, to ranges.NodeID, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error) {
	b, err := req.MarshalVT()
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	out, err := s.net.Call(ctx, to, rpc.ServiceTxn, b)
	if err != nil {
		return nil, err
	}
	resp := &txnpb.BatchResponse{}
	if err := resp.UnmarshalVTUnsafe(out); err != nil {
		return nil, fmt.Errorf("decode answer of %s: %w", to, err)
	}
	return resp, nil
}

// handleTxn answers sender on another node.
func (c *Core) handleTxn(ctx context.Context, _ ranges.NodeID, payload []byte) ([]byte, error) {
	req := &txnpb.BatchRequest{}
	if err := req.UnmarshalVTUnsafe(payload); err != nil {
		return nil, fmt.Errorf("decode request: %w", err)
	}
	resp, err := c.Participants.Batch(ctx, req)
	if err != nil {
		return nil, err
	}
	return resp.MarshalVT()
}

// probe reads one key of each of the first ranges: it fails while either has no leader that can be reached.
func (c *Core) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, key := range [][]byte{systemKey('s', 'p'), {0x03, 0, 0, 0, 0}} {
		if err := readKey(ctx, c.DB, key); err != nil {
			return err
		}
	}
	return nil
}

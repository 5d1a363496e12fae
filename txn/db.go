package txn

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// Local answers requests for ranges led or held by this node, without marshalling; participant.Server
// does. A request that was answered is not touched by either side any more, its keys and values may be
// kept. The error is ctx's; all other refusals are in the answer.
type Local interface {
	Batch(ctx context.Context, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error)
}

// Sender sends a request to another node. An error means that no answer came: the request may have been
// executed or not.
type Sender interface {
	Send(ctx context.Context, to ranges.NodeID, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error)
}

// Descriptors is where routing starts.
type Descriptors interface {
	// LocalDescriptor returns the descriptor of this node's replica that holds key or, with before, the keys
	// right below key; nil when there is none.
	LocalDescriptor(key []byte, before bool) *ranges.Descriptor
	// FirstRange returns the best known descriptor of the range that holds the meta records, nil while
	// none is known.
	FirstRange() *ranges.Descriptor
}

// Config configures a DB. A zero field takes the default named in its comment.
type Config struct {
	NodeID      ranges.NodeID  // Required.
	Clock       truetime.Clock // Required.
	Local       Local          // Required.
	Sender      Sender         // Required when the cluster has other nodes.
	Descriptors Descriptors    // Required.

	// Nearness ranks nodes by distance, smaller is nearer; this node's own rank is always the least, and nodes of
	// other regions have FarRank or more. Reads of read-only transactions go to the nearest replica when that
	// spares a region the way to another. Default: all others alike, and near.
	Nearness func(ranges.NodeID) int

	Logger *slog.Logger // Default: discards.
	Tracer trace.Tracer // Default: none.
	Rand   *rand.Rand   // Default: seeded from the runtime. Used under a lock of the DB.

	StageBytes     int           // A transaction stages its buffered writes beyond this. Default 1 MiB.
	MaxBufferBytes int           // Put fails beyond this when nobody calls Flush. Default 256 MiB.
	RetryFor       time.Duration // How long a request looks for a leader before ErrUnavailable. Default 20s.
	CommitTimeout  time.Duration // How long a commit's outcome is sought before ErrAmbiguous. Default 30s.
	HeartbeatEvery time.Duration // Default 1s.
}

// DB begins transactions and routes their requests. It is safe for concurrent use.
type DB struct {
	cfg    Config
	clock  truetime.Clock
	local  Local
	tracer trace.Tracer
	routes routeCache

	ids   atomic.Uint64 // low half of transaction and commit ids
	idsHi uint32        // distinguishes lives of the node that share a clock reading

	active struct {
		sync.Mutex
		txns map[*Txn]struct{} // those that hold locks: to be kept alive
	}

	waits waitGraph

	rand struct {
		sync.Mutex
		*rand.Rand
	}

	stop    context.Context // ends when Close is called
	cancel  context.CancelFunc
	workers sync.WaitGroup

	metrics Metrics
}

var _ kv.DB = (*DB)(nil)
var _ ranges.MetaWriter = (*DB)(nil)

// New returns a DB; Start has to be called before transactions outlive their locks' expiry.
func New(cfg Config) (*DB, error) {
	switch {
	case cfg.NodeID == 0:
		return nil, errors.New("txn: Config.NodeID is required")
	case cfg.Clock == nil:
		return nil, errors.New("txn: Config.Clock is required")
	case cfg.Local == nil:
		return nil, errors.New("txn: Config.Local is required")
	case cfg.Descriptors == nil:
		return nil, errors.New("txn: Config.Descriptors is required")
	}
	if cfg.Nearness == nil {
		cfg.Nearness = func(ranges.NodeID) int { return 1 }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Tracer == nil {
		cfg.Tracer = noop.NewTracerProvider().Tracer("")
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	cfg.StageBytes = cmp.Or(cfg.StageBytes, 1<<20)
	cfg.MaxBufferBytes = cmp.Or(cfg.MaxBufferBytes, 256<<20)
	cfg.RetryFor = cmp.Or(cfg.RetryFor, 20*time.Second)
	cfg.CommitTimeout = cmp.Or(cfg.CommitTimeout, 30*time.Second)
	cfg.HeartbeatEvery = cmp.Or(cfg.HeartbeatEvery, time.Second)
	db := &DB{cfg: cfg, clock: cfg.Clock, local: cfg.Local, tracer: cfg.Tracer}
	db.active.txns = map[*Txn]struct{}{}
	db.rand.Rand = cfg.Rand
	db.idsHi = cfg.Rand.Uint32()
	db.stop, db.cancel = context.WithCancel(context.Background())
	return db, nil
}

// Start begins to send heartbeats.
func (db *DB) Start() {
	db.workers.Add(1)
	go func() {
		defer db.workers.Done()
		db.heartbeatLoop()
	}()
}

// Close ends background work and commits under way, whose outcome is then ambiguous if it is not known.
// Transactions still open are left to expire at their ranges.
func (db *DB) Close() {
	db.cancel()
	db.workers.Wait()
}

// background runs fn with a context that ends with the DB, and makes Close wait for it. It reports false,
// and runs nothing, once the DB is closed.
func (db *DB) background(fn func(ctx context.Context)) bool {
	db.active.Lock()
	if db.stop.Err() != nil {
		db.active.Unlock()
		return false
	}
	db.workers.Add(1)
	db.active.Unlock()
	go func() {
		defer db.workers.Done()
		fn(db.stop)
	}()
	return true
}

// newID returns 16 bytes that no other transaction or commit of any node ever gets: time, then node, the
// node's life, and a counter.
func (db *DB) newID(now truetime.Timestamp) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:], uint64(now))
	n := db.ids.Add(1)
	binary.BigEndian.PutUint16(id[8:], uint16(db.cfg.NodeID))
	binary.BigEndian.PutUint32(id[10:], db.idsHi)
	// The time, at nanosecond resolution and never standing still for 65536 ids, does the rest.
	binary.BigEndian.PutUint16(id[14:], uint16(n))
	return id
}

// Begin implements kv.DB. It sends nothing.
func (db *DB) Begin(ctx context.Context, opts kv.TxnOptions) (kv.Txn, error) {
	if err := db.clock.Health(); err != nil {
		return nil, wrap(kv.ErrClock, err.Error())
	}
	t := &Txn{db: db, opts: opts, age: opts.Age}
	if !opts.ReadOnly {
		now := db.clock.Now().Latest
		if t.age == 0 {
			t.age = now
		}
		t.id = db.newID(now)
		t.began = now
	}
	db.metrics.Begun.Add(1)
	return t, nil
}

// Metrics are counters since the DB was made, for the server's registry.
type Metrics struct {
	Begun, Committed, RolledBack, Aborted atomic.Uint64
	OneRange, TwoPhase, Staged            atomic.Uint64 // commits of each kind; STAGE requests
	LocalCalls, RemoteCalls, Reroutes     atomic.Uint64
	Ambiguous                             atomic.Uint64
	Deadlocks                             atomic.Uint64 // transactions aborted to break a deadlock across ranges
}

// Metrics returns the DB's counters.
func (db *DB) Metrics() *Metrics { return &db.metrics }

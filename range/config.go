package ranges

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
)

// Config configures a Store. A zero field takes the default named in its comment.
type Config struct {
	NodeID    NodeID         // Required.
	Engine    *mvcc.Engine   // Required: the state engine. The store uses it, its opener closes it.
	FS        vfs.FS         // Required: holds the raft log.
	Dir       string         // Required: the raft log is Dir/raftlog, snapshots arrive in Dir/incoming.
	Clock     truetime.Clock // Required.
	Transport Transport      // Required.

	// NewMachine makes the state machine of a replica. It is called before the replica is reachable
	// through the store; the machine may keep r. Required.
	NewMachine func(r *Replica) Machine

	// Meta receives changed descriptors, from the leader of the range, off the critical path and
	// retried until it succeeds. Nil: descriptors are not published.
	Meta MetaWriter
	// Locate returns the descriptor of the range that holds key, as far as is known. It is asked for the neighbour of a
	// range that is to be merged, when this store holds no replica of that. Nil: such ranges are not merged.
	Locate func(ctx context.Context, key []byte) (*Descriptor, error)
	// Nodes lists the cluster for placement. Nil: replicas and leaders are not moved.
	Nodes NodeLister
	// Policies reads the recorded placement policies, on the node that decides. Nil: there are none.
	Policies PolicyReader

	// RoundTrip returns the round trip measured to a node, zero when there is none. It decides how far ahead of now
	// global ranges close time. Nil: all are zero.
	RoundTrip func(NodeID) time.Duration

	Logger  *slog.Logger          // Default: discards.
	Tracer  trace.Tracer          // Default: none.
	Metrics prometheus.Registerer // Default: none.
	Rand    *rand.Rand            // Default: seeded from the runtime. Used under the store's own lock.

	Workers      int // Goroutines that step Raft. Default 4.
	ApplyWorkers int // Goroutines that apply. Default 4.

	TickInterval      time.Duration // Raft heartbeats of active ranges, failure checks. Default 100ms.
	SupportInterval   time.Duration // How often lease votes are renewed. Default 500ms.
	SupportWindow     time.Duration // How far ahead a vote reaches. Default 2s.
	CommitDelay       time.Duration // How long the news of a commit waits for the next entries to go along with. Default 5ms.
	CloseInterval     time.Duration // How often idle ranges publish closed timestamps; a fifth as often after a while. Default 200ms.
	AheadInterval     time.Duration // How often ranges that close time ahead of now do so, and those written to now and then. Default 20ms.
	ElectionTurn      time.Duration // How far apart the voters campaign after support ran out. Default 300ms.
	QueueInterval     time.Duration // How often queues look at a range unasked. Default 1s.
	ReplicationFactor int           // Voters a range should have if its policy does not say. Default 3.
	PlacementInterval time.Duration // How often placement looks at the cluster unasked. Default 5s.
	ReplaceAfter      time.Duration // How long a node may be down before its replicas are replaced. Default 5m.
	UrgentAfter       time.Duration // The same where a range would stop if it lost one more voter. Default 10s.
	SplitBytes        int64         // Ranges larger than this are split. Default 512 MiB; negative: never.
	SplitLoad         float64       // Ranges asked for more requests a second than this are split. Default 150000 for each processor; negative: never.
	MergeAfter        time.Duration // Small neighbours are merged when both have been cold for so long. Default 10m; negative: never.
	MayMerge          func() bool   // Whether every node can read what a merge leaves in the logs. Default: yes.
	SplitStays        time.Duration // A split that somebody asked for stays at least so long. Default 1h.
	LogCacheBytes     int64         // Raft entries kept in memory, all ranges. Default 64 MiB.
	LogTruncateBytes  int64         // A leader's log is truncated when it holds more, a follower's at 8 times that. Default 1 MiB.
	LogKeepBytes      int64         // Log beyond this is truncated even if a follower lags. Default 64 MiB.
	CheckInterval     time.Duration // How often the replicas of a range are compared. Default 24h; negative: never.
	CheckRate         int64         // Bytes that the store reads for that in a second. Default 8 MiB; negative: any number.
	MayCheck          func() bool   // Whether every node can read what a check leaves in the logs. Default: yes.
	SnapshotRate      int64         // Bytes of snapshots that the store sends in a second, all together. Default 32 MiB; negative: any number.
	MaxProposalBytes  int           // Default 64 MiB.
	MaxPending        int           // Proposals in flight per range. Default 8192.
	MaxPendingBytes   int64         // Their size. Default 128 MiB; one is always let through.

	// Failed is told once when the store has stopped because of its disk (Store.Fail): the process, or at
	// least this node, must end. It is called on a goroutine of its own. Default: panics.
	Failed func(err error)

	// TestIgnoreVotes makes the store vote, campaign and use leases whatever was promised. It breaks I4 on
	// purpose: tests use it to show that their checks notice. Never set it otherwise.
	TestIgnoreVotes bool
	// TestNoFreeze lets the right range of a merge go on serving until it is gone. It breaks I5 and I11 on purpose, as
	// above.
	TestNoFreeze bool
	// TestBeforeApply is called before each piece of an apply goroutine's work, without a lock held. Simulations have it take
	// time, as work does where processors are few. Nil: nothing is called.
	TestBeforeApply func()
}

func (c *Config) check() error {
	switch {
	case c.NodeID == 0 || c.NodeID > MaxNodeID:
		return errors.New("range: Config.NodeID is required and at most 65535")
	case c.Engine == nil:
		return errors.New("range: Config.Engine is required")
	case c.FS == nil:
		return errors.New("range: Config.FS is required")
	case c.Dir == "":
		return errors.New("range: Config.Dir is required")
	case c.Clock == nil:
		return errors.New("range: Config.Clock is required")
	case c.Transport == nil:
		return errors.New("range: Config.Transport is required")
	case c.NewMachine == nil:
		return errors.New("range: Config.NewMachine is required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Tracer == nil {
		c.Tracer = noop.NewTracerProvider().Tracer("")
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if c.Failed == nil {
		c.Failed = func(err error) { panic("range: " + err.Error()) }
	}
	c.Workers = cmp.Or(c.Workers, 4)
	c.ApplyWorkers = cmp.Or(c.ApplyWorkers, 4)
	c.SnapshotRate = cmp.Or(c.SnapshotRate, 32<<20)
	c.CheckInterval = cmp.Or(c.CheckInterval, 24*time.Hour)
	c.CheckRate = cmp.Or(c.CheckRate, 8<<20)
	c.TickInterval = cmp.Or(c.TickInterval, 100*time.Millisecond)
	c.SupportInterval = cmp.Or(c.SupportInterval, 500*time.Millisecond)
	c.SupportWindow = cmp.Or(c.SupportWindow, 2*time.Second)
	c.CommitDelay = cmp.Or(c.CommitDelay, 5*time.Millisecond)
	c.CloseInterval = cmp.Or(c.CloseInterval, 200*time.Millisecond)
	c.AheadInterval = cmp.Or(c.AheadInterval, 20*time.Millisecond)
	c.ElectionTurn = cmp.Or(c.ElectionTurn, 300*time.Millisecond)
	c.QueueInterval = cmp.Or(c.QueueInterval, time.Second)
	c.ReplicationFactor = cmp.Or(c.ReplicationFactor, 3)
	c.PlacementInterval = cmp.Or(c.PlacementInterval, 5*time.Second)
	c.ReplaceAfter = cmp.Or(c.ReplaceAfter, 5*time.Minute)
	c.UrgentAfter = cmp.Or(c.UrgentAfter, 10*time.Second)
	c.SplitBytes = cmp.Or(c.SplitBytes, 512<<20)
	// Halves of a range make transactions over both of them dearer, which is worth it only when a node of this size cannot
	// serve the whole.
	c.SplitLoad = cmp.Or(c.SplitLoad, 150_000*float64(runtime.GOMAXPROCS(0)))
	c.MergeAfter = cmp.Or(c.MergeAfter, 10*time.Minute)
	c.SplitStays = cmp.Or(c.SplitStays, time.Hour)
	c.LogCacheBytes = cmp.Or(c.LogCacheBytes, 64<<20)
	c.LogTruncateBytes = cmp.Or(c.LogTruncateBytes, 1<<20)
	c.LogKeepBytes = cmp.Or(c.LogKeepBytes, 64<<20)
	c.MaxProposalBytes = cmp.Or(c.MaxProposalBytes, 64<<20)
	c.MaxPendingBytes = cmp.Or(c.MaxPendingBytes, 128<<20)
	c.MaxPending = cmp.Or(c.MaxPending, 8192)
	return nil
}

// MetaWriter makes the meta range agree with changed descriptors. Meta is a hint for routing: nothing
// here waits for it, and a write is repeated until it succeeds.
type MetaWriter interface {
	// UpdateMeta removes the records of old and writes those of new, in one transaction. It must leave
	// alone a record whose Generation is at least that of the descriptor it would write.
	UpdateMeta(ctx context.Context, old, new []*Descriptor) error
}

// MetaChecker is what a MetaWriter implements besides if it can tell which of many records it would have to write. A node
// that has started leads thousands of ranges a moment later, of which meta knows as a rule.
type MetaChecker interface {
	// StaleMeta returns those of descs, which are in key order, whose records are missing or of a lesser generation.
	StaleMeta(ctx context.Context, descs []*Descriptor) ([]*Descriptor, error)
}

// NodeInfo is what placement knows about a node.
type NodeInfo struct {
	ID           NodeID
	Region, Zone string
	Live         bool // can be reached
	Draining     bool // loses its leases, receives nothing, and comes back
	// Decommissioning gives everything away, for good.
	Decommissioning bool
	// Lost never comes back, at least not with its store.
	Lost bool
}

// NodeLister lists the nodes of the cluster.
type NodeLister interface {
	Nodes() []NodeInfo
}

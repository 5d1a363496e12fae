package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-db/meridian/pgwire"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/range/raftlog"
	"github.com/meridian-db/meridian/server"
	"github.com/meridian-db/meridian/server/rpc"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/participant"
)

// prewriteBytes is less than servers have: the memory that stands for a disk is copied at each sync.
const prewriteBytes = 16 << 10

// Config configures a Cluster. A zero field takes the default named in its comment.
type Config struct {
	Seed       uint64
	Nodes      int           // Default 3, each in a region of its own.
	ClockBound time.Duration // Half the width of every clock's interval. Default 2ms.
	DriftPPM   int64         // How fast clocks drift inside the bound. Default 150.
	SQL        bool          // Nodes serve SQL (Node.Connect).
	Lease      time.Duration // How far ahead lease votes reach. Default: the product's.
	Tune       func(*server.CoreConfig)
	Logger     *slog.Logger // Default: discards.
}

// Cluster is a set of nodes. Its methods are for one goroutine, but for Nodes; the nodes' DBs may be used by many.
type Cluster struct {
	cfg   Config
	Net   *Network
	rng   *rand.Rand
	mu    sync.Mutex
	nodes []*Node // Replaced as a whole.
	lost  []ranges.NodeInfo
}

// Node is one node of a cluster. Its disk and clock outlive a crash.
type Node struct {
	ID    ranges.NodeID
	Clock *truetime.SimClock

	region  string
	cluster *Cluster
	disk    disk
	busy    atomic.Int64   // until when it applies late, by the bubble's time in nanoseconds
	ending  sync.WaitGroup // of a process whose store has stopped because of its disk
	fs      *vfs.MemFS
	mu      sync.Mutex // guards core, which is nil while the node is down
	core    *server.Core
	wire    *pgwire.Server // nil until SQL is up
	net     *Endpoint
}

// New starts a cluster and waits until both of its ranges are replicated on every node.
func New(ctx context.Context, cfg Config) (*Cluster, error) {
	cfg.Nodes = cmp.Or(cfg.Nodes, 3)
	cfg.ClockBound = cmp.Or(cfg.ClockBound, 2*time.Millisecond)
	cfg.DriftPPM = cmp.Or(cfg.DriftPPM, 150)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 1))}
	c.Net = NewNetwork(rand.New(rand.NewPCG(cfg.Seed, 2)))
	c.Net.SetFaults(Faults{Latency: time.Millisecond})
	for i := range cfg.Nodes {
		c.nodes = append(c.nodes, c.newNode(ranges.NodeID(i+1), fmt.Sprintf("r%d", i+1)))
	}
	for i, n := range c.nodes {
		if err := n.start(i == 0); err != nil {
			c.Close()
			return nil, err
		}
	}
	if err := c.nodes[0].core.PublishMeta(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("publish the first ranges: %w", err)
	}
	for _, n := range c.nodes {
		n.core.Store.NodesChanged()
	}
	if err := c.awaitReplication(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) newNode(id ranges.NodeID, region string) *Node {
	offset := time.Duration(c.rng.Int64N(int64(2*c.cfg.ClockBound))) - c.cfg.ClockBound
	return &Node{ID: id, region: region, cluster: c, fs: vfs.NewCrashableMem(),
		Clock: truetime.NewSimClock(truetime.SimConfig{Bound: c.cfg.ClockBound, Offset: offset, DriftPPM: c.cfg.DriftPPM})}
}

// Replace ends a node and its store for good, starts an empty one in its place, and waits until that has the replicas.
func (c *Cluster) Replace(ctx context.Context, n *Node) error {
	n.Crash()
	c.mu.Lock()
	i := slices.Index(c.nodes, n)
	c.lost = append(c.lost, ranges.NodeInfo{ID: n.ID, Region: n.region, Zone: "a", Lost: true})
	fresh := c.newNode(ranges.NodeID(len(c.nodes)+len(c.lost)), n.region)
	c.nodes = slices.Clone(c.nodes)
	c.nodes[i] = fresh
	c.mu.Unlock()
	n.ending.Wait()
	if err := fresh.start(false); err != nil {
		return err
	}
	for _, o := range c.Nodes() {
		if core := o.Core(); core != nil {
			core.Store.NodesChanged()
		}
	}
	try, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := c.awaitReplication(try); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w\n%s", err, describe(c))
	}
	return nil
}

// awaitReplication waits until every range has its voters, all of them on nodes that are there.
func (c *Cluster) awaitReplication(ctx context.Context) error {
	want := min(3, len(c.Nodes()))
	for {
		ready := true
		newest := map[ranges.RangeID]*ranges.Descriptor{}
		there := map[ranges.NodeID]bool{}
		for _, n := range c.Nodes() {
			there[n.ID] = true
			if core := n.Core(); core != nil {
				for _, rep := range core.Store.Replicas() {
					if d := rep.Desc(); newest[rep.ID()] == nil || newest[rep.ID()].Generation < d.Generation {
						newest[rep.ID()] = d
					}
				}
			}
		}
		for _, d := range newest {
			voters := 0
			for _, r := range d.Replicas {
				if r.Type == ranges.Voter && there[r.Node] {
					voters++
				} else {
					ready = false
				}
			}
			ready = ready && voters >= want && !d.Joint()
		}
		if ready {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("ranges were not replicated: %w", ctx.Err())
		}
	}
}

// Nodes lists the nodes. A node that takes another's place has its index.
func (c *Cluster) Nodes() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes
}

// Core returns the node's running core, nil while it is down.
func (n *Node) Core() *server.Core {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.core
}

func (n *Node) start(found bool) error {
	c := n.cluster
	n.net = c.Net.Attach(n.ID)
	cfg := server.CoreConfig{
		NodeID: n.ID, FS: raftlog.PrewriteFS(n.disk.over(n.fs), prewriteBytes), Dir: "store", Failed: n.fail, Clock: n.Clock, Network: n.net, Nodes: lister{c},
		FirstHint: n.firstHint, Rand: rand.New(rand.NewPCG(c.cfg.Seed, 100+uint64(n.ID))),
		Logger: c.cfg.Logger.With("node", n.ID), CacheBytes: 4 << 20,
	}
	if c.cfg.Tune != nil {
		c.cfg.Tune(&cfg)
	}
	// Short logs, so that followers that were away get snapshots.
	tuneRanges := cfg.TuneRanges
	cfg.TuneRanges = func(r *ranges.Config) {
		r.LogTruncateBytes, r.LogKeepBytes = 4<<10, 8<<10
		r.TestBeforeApply = n.beforeApply
		if c.cfg.Lease > 0 {
			r.SupportWindow, r.SupportInterval = c.cfg.Lease, c.cfg.Lease/4
		}
		if tuneRanges != nil {
			tuneRanges(r)
		}
	}
	tune := cfg.TuneParticipant
	cfg.TuneParticipant = func(p *participant.Config) {
		// Contended histories show more when deadlocks across ranges end soon.
		p.WoundPatience = 10 * time.Millisecond
		if tune != nil {
			tune(p)
		}
	}
	n.disk.opening.Store(true)
	core, err := server.OpenCore(cfg)
	n.disk.opening.Store(false)
	if err != nil {
		return fmt.Errorf("open node %d: %w", n.ID, err)
	}
	if found {
		if err := core.Bootstrap(); err != nil {
			return errors.Join(err, core.Close())
		}
	}
	n.net.Open()
	if err := core.Start(); err != nil {
		return errors.Join(err, core.Close())
	}
	n.mu.Lock()
	n.core = core
	n.mu.Unlock()
	if c.cfg.SQL {
		go n.startSQL(core)
	}
	return nil
}

// firstHint stands in for the registry's gossip: some other node's idea of where the first range is.
func (n *Node) firstHint() *ranges.Descriptor {
	var best *ranges.Descriptor
	for _, o := range n.cluster.Nodes() {
		if core := o.Core(); core != nil && o != n {
			if d := core.FirstRange(); d != nil && (best == nil || d.Generation > best.Generation) {
				best = d
			}
		}
	}
	return best
}

// Crash ends a node as a power failure does: of what it wrote without syncing, a random part survives.
func (n *Node) Crash() {
	core := n.Core()
	if core == nil {
		return
	}
	survived := n.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: n.cluster.rng.IntN(101), RNG: rand.New(rand.NewPCG(n.cluster.rng.Uint64(), 3))})
	n.net.Close()
	n.close(gone) // On the old disk, which nobody reads any more.
	n.fs = survived
}

// Stop ends a node in order: its leases go to others first, as far as they take them.
func (n *Node) Stop(ctx context.Context) {
	core := n.Core()
	if core == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_ = core.Drain(ctx)
	n.close(ctx)
	n.net.Close()
}

// busyFor has a node apply what is committed, and install snapshots, late for a while.
func (n *Node) busyFor(d time.Duration) { n.busy.Store(time.Now().Add(d).UnixNano()) }

// beforeApply is what apply goroutines call before each piece of work.
func (n *Node) beforeApply() {
	if time.Now().UnixNano() < n.busy.Load() && n.Core() != nil {
		time.Sleep(time.Duration(n.cluster.Net.random(int64(busyMost))))
	}
}

// busyMost is by how much a busy node applies a piece of work late, at most.
const busyMost = 400 * time.Millisecond

// gone is the context of what has no time left.
var gone = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// fail ends a node as its process ends when the store has stopped because of its disk.
func (n *Node) fail(error) {
	n.ending.Go(func() {
		n.net.Close()
		n.close(gone)
	})
}

// close closes what runs on a node.
func (n *Node) close(ctx context.Context) {
	n.mu.Lock()
	core, wire := n.core, n.wire
	n.core, n.wire = nil, nil
	n.mu.Unlock()
	if wire != nil {
		wire.Close()
	}
	if core != nil {
		core.StopSQL(ctx)
		_ = core.Close()
	}
}

// Restart starts a crashed node again on what its disk kept.
func (n *Node) Restart() error {
	time.Sleep(time.Millisecond) // a store that fails just now has told so then
	n.ending.Wait()
	if n.Core() != nil {
		return nil
	}
	return n.start(false)
}

// Close ends all nodes.
func (c *Cluster) Close() {
	for _, n := range c.Nodes() {
		if n.net != nil {
			n.net.Close()
		}
		n.close(gone)
		n.ending.Wait()
	}
}

// lister is the cluster as placement sees it: every node is there, but for those that were replaced.
type lister struct{ c *Cluster }

func (l lister) Nodes() []ranges.NodeInfo {
	var out []ranges.NodeInfo
	for _, n := range l.c.Nodes() {
		out = append(out, ranges.NodeInfo{ID: n.ID, Region: n.region, Zone: "a", Live: true})
	}
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return append(out, l.c.lost...)
}

// Connect and Connected complete server.Network: the simulated network is always there.

// Connect does nothing.
func (e *Endpoint) Connect(rpc.NodeID) {}

// Connected reports whether a message to the node would pass.
func (e *Endpoint) Connected(id rpc.NodeID) bool { return e.route(id).peer != nil }

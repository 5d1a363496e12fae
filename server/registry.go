package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server/rpc"
	"github.com/meridian-db/meridian/truetime"
)

// NodeRecord is what the cluster knows about a node.
type NodeRecord struct {
	ID       ranges.NodeID `json:"id"`
	StoreID  string        `json:"store"`
	RPCAddr  string        `json:"rpc"`
	SQLAddr  string        `json:"sql"`
	HTTPAddr string        `json:"http"`
	Region   string        `json:"region"`
	Zone     string        `json:"zone"`
	Build    string        `json:"build"`
	// Version orders the records of one node: TrueTime at its last change, by the node itself.
	Version  int64 `json:"version"`
	Draining bool  `json:"draining,omitempty"`
	// The cluster versions that its build knows.
	OldestVersion ClusterVersion `json:"oldest,omitempty"`
	NewestVersion ClusterVersion `json:"newest,omitempty"`
}

func (r NodeRecord) check() error {
	switch {
	case r.ID == 0 || r.ID > ranges.MaxNodeID:
		return fmt.Errorf("node id %d is out of range", r.ID)
	case r.RPCAddr == "" || r.StoreID == "":
		return errors.New("node record without address or store")
	case len(r.RPCAddr)+len(r.SQLAddr)+len(r.HTTPAddr)+len(r.Region)+len(r.Zone)+len(r.StoreID)+len(r.Build) > 4096:
		return errors.New("node record is too long")
	}
	return nil
}

// registry holds the records of all nodes. Changes come from this node, from join answers, and by gossip; the newest
// version of each record wins, so that copies converge whatever the order.
type registry struct {
	fs     vfs.FS
	dir    string
	log    *slog.Logger
	self   ranges.NodeID
	net    Network
	first  func() *ranges.Descriptor // this node's replica of the first range, nil when it has none
	change func()                    // called after records changed, without the lock
	now    func() truetime.Timestamp // for since when a node is down

	saving sync.Mutex // one writer of the NODES file at a time
	mu     struct {
		sync.Mutex
		nodes   map[ranges.NodeID]NodeRecord
		members map[ranges.NodeID]memberState
		version ClusterVersion                       // newest heard of; zero: none
		down    map[ranges.NodeID]truetime.Timestamp // since when a node is known not to be connected
		first   *ranges.Descriptor                   // newest heard of
	}
	stop context.CancelFunc
	wg   sync.WaitGroup
	poke chan struct{}
}

const (
	gossipInterval = 2 * time.Second
	maxGossipBytes = 16 << 20
	maxNodes       = 10000
)

// digest is a gossip message: everything, as there are few nodes and fewer changes.
type digest struct {
	Sum   uint64       `json:"sum"`
	Nodes []NodeRecord `json:"nodes,omitempty"`
	First []byte       `json:"first,omitempty"`
	// Members and Cluster were not there in the first builds.
	Members []memberState  `json:"members,omitempty"`
	Cluster ClusterVersion `json:"cluster,omitempty"`
}

func newRegistry(fs vfs.FS, dir string, self ranges.NodeID, log *slog.Logger) *registry {
	r := &registry{fs: fs, dir: dir, self: self, log: log, poke: make(chan struct{}, 1)}
	r.mu.nodes = map[ranges.NodeID]NodeRecord{}
	r.mu.members = map[ranges.NodeID]memberState{}
	r.mu.down = map[ranges.NodeID]truetime.Timestamp{}
	r.first = func() *ranges.Descriptor { return nil }
	r.change = func() {}
	r.now = func() truetime.Timestamp { return 0 }
	return r
}

// load reads the NODES file. What it says is only a hint where to look for peers, so a damaged one is ignored.
func (r *registry) load() {
	f, err := r.fs.Open(r.fs.PathJoin(r.dir, nodesFile))
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			r.log.Warn("cannot read the list of nodes", "err", err)
		}
		return
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxGossipBytes))
	if err == nil {
		_, err = r.mergeBytes(b)
	}
	if err != nil {
		r.log.Warn("the list of nodes in the store is damaged and ignored", "err", err)
	}
}

// start begins to gossip over net.
func (r *registry) start(net Network) {
	r.net = net
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		r.gossip(ctx)
	}()
	r.changed()
}

func (r *registry) close() {
	if r.stop != nil {
		r.stop()
		r.wg.Wait()
	}
}

// list returns all records by id.
func (r *registry) list() []NodeRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listLocked()
}

func (r *registry) listLocked() []NodeRecord {
	out := make([]NodeRecord, 0, len(r.mu.nodes))
	for _, n := range r.mu.nodes {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b NodeRecord) int { return int(a.ID) - int(b.ID) })
	return out
}

// get returns a node's record.
func (r *registry) get(id ranges.NodeID) (NodeRecord, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.mu.nodes[id]
	return n, ok
}

// firstRange returns the newest known descriptor of the range with the meta records.
func (r *registry) firstRange() *ranges.Descriptor {
	own := r.first()
	r.mu.Lock()
	defer r.mu.Unlock()
	if own != nil && (r.mu.first == nil || own.Generation >= r.mu.first.Generation) {
		r.mu.first = own
	}
	return r.mu.first
}

// merge takes records over that are newer than what is known.
func (r *registry) merge(recs []NodeRecord, first *ranges.Descriptor) (changed bool) {
	r.mu.Lock()
	for _, n := range recs {
		if n.check() != nil {
			continue
		}
		old, ok := r.mu.nodes[n.ID]
		if ok && old.Version >= n.Version || !ok && len(r.mu.nodes) >= maxNodes {
			continue
		}
		r.mu.nodes[n.ID] = n
		changed = true
	}
	if first != nil && (r.mu.first == nil || first.Generation > r.mu.first.Generation) {
		r.mu.first = first
	}
	r.mu.Unlock()
	if changed {
		r.changed()
	}
	return changed
}

func (r *registry) mergeBytes(b []byte) (digest, error) {
	var d digest
	if len(b) > maxGossipBytes {
		return d, errors.New("list of nodes is too long")
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return d, fmt.Errorf("list of nodes: %w", err)
	}
	var first *ranges.Descriptor
	if len(d.First) > 0 {
		var err error
		if first, err = ranges.DecodeDescriptor(d.First); err != nil {
			return d, err
		}
	}
	r.merge(d.Nodes, first)
	r.mergeMembers(d.Members)
	r.mergeVersion(d.Cluster)
	return d, nil
}

// mergeMembers takes over what the cluster has decided about nodes.
func (r *registry) mergeMembers(list []memberState) {
	changed := false
	r.mu.Lock()
	for _, m := range list {
		if m.check() == nil && (m.Version > r.mu.members[m.ID].Version) && (len(r.mu.members) < maxNodes || r.mu.members[m.ID].ID != 0) {
			r.mu.members[m.ID] = m
			changed = true
		}
	}
	r.mu.Unlock()
	if changed {
		r.changed()
	}
}

// mergeVersion takes over the cluster's version, which only grows.
func (r *registry) mergeVersion(v ClusterVersion) bool {
	r.mu.Lock()
	newer := v > r.mu.version
	if newer {
		r.mu.version = v
	}
	r.mu.Unlock()
	if newer {
		r.changed()
	}
	return newer
}

// version returns the cluster's version, zero while it is not known.
func (r *registry) version() ClusterVersion {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.version
}

// member returns what the cluster has decided about a node.
func (r *registry) member(id ranges.NodeID) Membership {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.members[id].State
}

// downSince returns since when this node knows that another is not connected, zero if it is.
func (r *registry) downSince(id ranges.NodeID) truetime.Timestamp {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.down[id]
}

// replaced reports whether another store has taken a node's address over, as when a node whose store was lost is
// started with an empty one: the node does not come back, unless it announces itself from elsewhere.
func (r *registry) replaced(n NodeRecord) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.mu.nodes {
		if o.ID != n.ID && o.RPCAddr == n.RPCAddr && o.StoreID != n.StoreID && o.Version > n.Version {
			return true
		}
	}
	return false
}

// changed persists the records and tells the layers and the peers.
func (r *registry) changed() {
	r.saving.Lock()
	if err := writeFileAtomic(r.fs, r.dir, nodesFile, r.encode()); err != nil {
		r.log.Warn("cannot save the list of nodes", "err", err)
	}
	r.saving.Unlock()
	if r.net != nil {
		for _, n := range r.list() {
			if n.ID != r.self {
				r.net.Connect(n.ID)
			}
		}
	}
	r.change()
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

func (r *registry) encode() []byte {
	first := r.firstRange()
	r.mu.Lock()
	defer r.mu.Unlock()
	d := digest{Nodes: r.listLocked()}
	if first != nil {
		d.First = first.Encode()
	}
	h := fnv.New64a()
	for _, n := range d.Nodes {
		fmt.Fprintf(h, "%d/%d ", n.ID, n.Version)
	}
	if first != nil {
		fmt.Fprintf(h, "%d", first.Generation)
	}
	for _, m := range r.mu.members {
		d.Members = append(d.Members, m)
	}
	slices.SortFunc(d.Members, func(a, b memberState) int { return int(a.ID) - int(b.ID) })
	for _, m := range d.Members {
		fmt.Fprintf(h, " %d=%d", m.ID, m.Version)
	}
	d.Cluster = r.mu.version
	fmt.Fprintf(h, " v%d", d.Cluster)
	d.Sum = h.Sum64()
	b, err := json.Marshal(d)
	if err != nil {
		panic(err) // Plain fields only.
	}
	return b
}

// gossip exchanges records with every connected peer, at once after a change and now and then otherwise. A round
// in which nothing is new costs each peer one small request.
func (r *registry) gossip(ctx context.Context) {
	t := time.NewTicker(gossipInterval)
	defer t.Stop()
	for {
		full := false
		select {
		case <-ctx.Done():
			return
		case <-r.poke:
			full = true
		case <-t.C:
		}
		for _, n := range r.list() {
			if n.ID != r.self && r.net.Connected(n.ID) {
				r.exchange(ctx, n.ID, full)
			}
		}
	}
}

// exchange sends our digest and merges the answer: only the sum unless something may be new.
func (r *registry) exchange(ctx context.Context, peer ranges.NodeID, full bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	msg := r.encode()
	if !full {
		var d digest
		json.Unmarshal(msg, &d)
		msg, _ = json.Marshal(digest{Sum: d.Sum})
	}
	resp, err := r.net.Call(ctx, peer, rpc.ServiceServer, append([]byte{opGossip}, msg...))
	if err != nil || len(resp) == 0 {
		return
	}
	d, err := r.mergeBytes(resp)
	if err != nil {
		r.log.Warn("peer sent a bad list of nodes", "peer", peer, "err", err)
		return
	}
	var mine digest
	json.Unmarshal(r.encode(), &mine)
	if !full && d.Sum != mine.Sum {
		r.exchange(ctx, peer, true)
	}
}

// handleGossip answers exchange: nothing when both know the same.
func (r *registry) handleGossip(payload []byte) ([]byte, error) {
	d, err := r.mergeBytes(payload)
	if err != nil {
		return nil, err
	}
	mine := r.encode()
	var m digest
	if err := json.Unmarshal(mine, &m); err != nil {
		return nil, err
	}
	if m.Sum == d.Sum {
		return nil, nil
	}
	return mine, nil
}

// live counts the nodes that can be reached.
func (r *registry) live() int {
	n := 0
	for _, node := range r.Nodes() {
		if node.Live {
			n++
		}
	}
	return n
}

// Nodes implements ranges.NodeLister. Nodes that have been decommissioned are none any more.
func (r *registry) Nodes() []ranges.NodeInfo {
	recs := r.list()
	out := make([]ranges.NodeInfo, 0, len(recs))
	for _, n := range recs {
		state := r.member(n.ID)
		if state == memberDecommissioned {
			continue
		}
		live := n.ID == r.self || r.net != nil && r.net.Connected(n.ID)
		r.mu.Lock()
		if _, known := r.mu.down[n.ID]; live {
			delete(r.mu.down, n.ID)
		} else if !known {
			r.mu.down[n.ID] = r.now()
		}
		r.mu.Unlock()
		out = append(out, ranges.NodeInfo{ID: n.ID, Region: n.Region, Zone: n.Zone, Live: live, Draining: n.Draining,
			Decommissioning: state == memberDecommissioning, Lost: !live && r.replaced(n)})
	}
	return out
}

// Operations of rpc.ServiceServer: the first byte of a request.
const (
	opGossip byte = 'g'
	opView   byte = 'v'
	opSignal byte = 's' // signal, PID: of pg_cancel_backend and pg_terminate_backend
	opCancel byte = 'c' // PID, key: a cancel request of a client
	opDrain  byte = 'd' // meridian.drain_node
	opReset  byte = 'R' // database: of pg_stat_reset
	opDebug  byte = 'D' // a part of what debug zip collects
)

var errUnknownOp = errors.New("unknown operation")

// systemKey returns a key of the system keyspace.
func systemKey(kind byte, rest ...byte) []byte {
	return bytes.Join([][]byte{{0x02, kind}, rest}, nil)
}

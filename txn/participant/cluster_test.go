package participant

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// testClock is a TrueTime clock over the bubble's virtual time, off by skew and uncertain by eps.
type testClock struct{ skew, eps time.Duration }

func (c testClock) Now() truetime.Interval {
	t := truetime.FromTime(time.Now()).Add(c.skew)
	return truetime.Interval{Earliest: t.Add(-c.eps), Latest: t.Add(c.eps)}
}

func (c testClock) WaitAfter(ctx context.Context, ts truetime.Timestamp) error {
	for {
		now := c.Now()
		if now.After(ts) {
			return nil
		}
		select {
		case <-time.After(ts.Sub(now.Earliest) + 1):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (testClock) Health() error { return nil }

// cluster is a set of nodes with participant servers over replicated logs that are correct by construction:
// what is under test is what stands on top of them.
type cluster struct {
	t      testing.TB
	nodes  map[ranges.NodeID]*node
	groups map[ranges.RangeID]*group

	cfg clusterConfig

	mu     sync.Mutex
	down   map[ranges.NodeID]bool
	drop   func(from ranges.NodeID, req *txnpb.BatchRequest) bool // loses the request, and says so
	mute   func(from ranges.NodeID, req *txnpb.BatchRequest) bool // loses the answer, silently
	trace  func(from ranges.NodeID, req *txnpb.BatchRequest, resp *txnpb.BatchResponse)
	commit uint64
	// merging is called, if set, on the leader of a range that absorbs another, when it has its state and not its locks yet.
	merging func(m *Machine)
}

type node struct {
	c   *cluster
	id  ranges.NodeID
	srv *Server
	eng *mvcc.Engine
}

type clusterConfig struct {
	nodes int
	// What the replicas of this cluster leave out, for tests that must then see an anomaly.
	noPromise, noPreparedFloor bool

	splits []string      // range k holds [splits[k-1], splits[k]); the first starts at 0x02, the last ends at 0xff
	delay  time.Duration // of the log
	eps    time.Duration
	skew   map[int]time.Duration
	config func(*Config)
}

func newCluster(t testing.TB, cfg clusterConfig) *cluster {
	c := &cluster{
		t: t, cfg: cfg, nodes: map[ranges.NodeID]*node{}, groups: map[ranges.RangeID]*group{},
		down: map[ranges.NodeID]bool{},
	}
	for i := 1; i <= cfg.nodes; i++ {
		eng, err := mvcc.Open(mvcc.Config{FS: vfs.NewMem(), Dir: "db", CacheBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		n := &node{c: c, id: ranges.NodeID(i), eng: eng}
		sc := Config{NodeID: n.id, Clock: testClock{skew: cfg.skew[i], eps: cfg.eps}, Router: n}
		if cfg.config != nil {
			cfg.config(&sc)
		}
		if n.srv, err = NewServer(sc); err != nil {
			t.Fatal(err)
		}
		c.nodes[n.id] = n
	}
	bounds := append(append([]string{"\x02"}, cfg.splits...), "\xff")
	for i := range len(bounds) - 1 {
		c.addGroup(ranges.RangeID(i+1), bounds[i], bounds[i+1], cfg.delay, ranges.NodeID(i%cfg.nodes+1))
	}
	return c
}

func (c *cluster) close() {
	for _, g := range c.groups {
		g.stop()
	}
	for _, n := range c.nodes {
		n.srv.Close()
		if err := n.eng.Close(); err != nil {
			c.t.Error(err)
		}
	}
}

// SendToRange implements Router for the servers of node n.
func (n *node) SendToRange(ctx context.Context, rangeID int64, _ []byte, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error) {
	return n.c.send(ctx, n.id, ranges.RangeID(rangeID), req)
}

// SendToNode and Waits: no gateway runs here, so deadlocks across ranges are left to patience.
func (n *node) SendToNode(context.Context, ranges.NodeID, *txnpb.BatchRequest) (*txnpb.BatchResponse, error) {
	return nil, errors.New("no gateway")
}

func (n *node) Waits(context.Context, *txnpb.BatchRequest) *txnpb.BatchResponse {
	return &txnpb.BatchResponse{}
}

func (c *cluster) send(ctx context.Context, from ranges.NodeID, id ranges.RangeID, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error) {
	c.mu.Lock()
	g := c.groups[id]
	c.mu.Unlock()
	to := g.leaderNode()
	c.mu.Lock()
	drop := c.down[from] || c.down[to] || to == 0 || c.drop != nil && c.drop(from, req)
	mute := c.mute != nil && c.mute(from, req)
	trace := c.trace
	c.mu.Unlock()
	if mute {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if drop {
		return nil, fmt.Errorf("no connection from %s to %s", from, to)
	}
	req.RangeId = int64(id)
	// Over the wire and back, as between nodes.
	b, err := req.MarshalVT()
	if err != nil {
		return nil, err
	}
	var over txnpb.BatchRequest
	if err := over.UnmarshalVT(b); err != nil {
		return nil, err
	}
	resp, err := c.nodes[to].srv.Batch(ctx, &over)
	if err == nil && trace != nil {
		trace(from, req, resp)
	}
	return resp, err
}

// rangeOf returns the range that holds key.
func (c *cluster) rangeOf(key string) ranges.RangeID {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(c.groups)) {
		if c.groups[id].descriptor().Contains([]byte(key)) {
			return id
		}
	}
	c.t.Fatalf("no range holds %q", key)
	return 0
}

func (c *cluster) commitID() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commit++
	b := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
	return binary.BigEndian.AppendUint64(b, c.commit)
}

// group is one range's log and replicas. The log is a list; an apply goroutine brings entries to every
// replica that is up, delay after they were proposed.
type group struct {
	c     *cluster
	id    ranges.RangeID
	delay time.Duration

	mu       sync.Mutex
	desc     *ranges.Descriptor
	log      []*entry
	floor    truetime.Timestamp
	term     uint64
	leader   ranges.NodeID
	until    truetime.Timestamp
	replicas map[ranges.NodeID]*fakeReplica
	wake     chan struct{}
	quit     chan struct{}
	done     chan struct{}
}

type entry struct {
	cmd    []byte
	closed truetime.Timestamp
	at     time.Time
	term   uint64
	result any
	ready  chan struct{}
}

type fakeReplica struct {
	g       *group
	n       *node
	m       *Machine
	apply   sync.Mutex // one applies at a time
	mu      sync.Mutex
	applied int
	closed  truetime.Timestamp
	moved   chan struct{}

	beforeSafe func() // called by WaitSafe
	safeErr    error  // what that answers then, if anything
}

func (c *cluster) addGroup(id ranges.RangeID, start, end string, delay time.Duration, leader ranges.NodeID) *group {
	g := &group{
		c: c, id: id, delay: delay,
		desc:     &ranges.Descriptor{ID: id, Start: []byte(start), End: []byte(end), Generation: 1},
		replicas: map[ranges.NodeID]*fakeReplica{},
		wake:     make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	c.mu.Lock()
	c.groups[id] = g
	c.mu.Unlock()
	for nid, n := range c.nodes {
		r := &fakeReplica{g: g, n: n, moved: make(chan struct{})}
		r.m = n.srv.Add(r)
		g.replicas[nid] = r
	}
	go g.applyLoop()
	if leader != 0 {
		g.elect(leader, nil)
	}
	return g
}

// split divides a range at key as the store does: on every replica the descriptor shrinks, the right half appears, and
// heads, layers and, on the leader, locks go over. It is led where the left half is.
func (c *cluster) split(ctx context.Context, id, right ranges.RangeID, key string) error {
	g := c.groups[id]
	leader := g.leaderNode()
	release, err := g.replicas[leader].m.PrepareSplit(ctx, []byte(key))
	if err != nil {
		return err
	}
	g.mu.Lock()
	n := len(g.log)
	g.mu.Unlock()
	for _, r := range g.replicas {
		r.catchUp(n)
		b := r.n.eng.NewBatch()
		if err := r.m.SplitState(b, []byte(key), right); err != nil {
			return err
		}
		if err := b.Commit(false); err != nil {
			return err
		}
		b.Close()
	}
	g.mu.Lock()
	left := *g.desc
	end := string(left.End)
	left.End, left.Generation = []byte(key), left.Generation+1
	g.desc = &left
	floor := g.floor
	g.mu.Unlock()
	rg := c.addGroup(right, key, end, g.delay, 0)
	rg.mu.Lock()
	rg.desc.Generation, rg.floor = left.Generation, floor
	rg.mu.Unlock()
	for id, r := range g.replicas {
		r.m.Split([]byte(key), rg.replicas[id].m)
	}
	release()
	rg.elect(leader, []byte{})
	return nil
}

func (g *group) stop() {
	close(g.quit)
	<-g.done
	for _, r := range g.replicas {
		r.m.Close()
	}
}

func (g *group) descriptor() *ranges.Descriptor {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.desc
}

func (g *group) leaderNode() ranges.NodeID {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.leader
}

func (g *group) applyLoop() {
	defer close(g.done)
	for i := 0; ; i++ {
		g.mu.Lock()
		for i >= len(g.log) {
			g.mu.Unlock()
			select {
			case <-g.wake:
			case <-g.quit:
				return
			}
			g.mu.Lock()
		}
		e := g.log[i]
		g.mu.Unlock()
		if d := time.Until(e.at.Add(g.delay)); d > 0 {
			select {
			case <-time.After(d):
			case <-g.quit:
				return
			}
		}
		g.mu.Lock()
		replicas := g.replicas
		g.mu.Unlock()
		for _, id := range slices.Sorted(maps.Keys(replicas)) {
			g.c.mu.Lock()
			down := g.c.down[id]
			g.c.mu.Unlock()
			if down {
				continue
			}
			replicas[id].catchUp(i + 1)
		}
		close(e.ready)
	}
}

// catchUp applies the log up to n entries.
func (r *fakeReplica) catchUp(n int) {
	r.apply.Lock()
	defer r.apply.Unlock()
	for {
		r.mu.Lock()
		i := r.applied
		r.mu.Unlock()
		if i >= n {
			return
		}
		r.g.mu.Lock()
		e := r.g.log[i]
		r.g.mu.Unlock()
		b := r.n.eng.NewBatch()
		res, err := r.m.Apply(b, uint64(i+1), e.cmd)
		if err != nil {
			r.g.c.t.Errorf("apply: %v", err)
		}
		if err := b.Commit(false); err != nil {
			r.g.c.t.Errorf("commit: %v", err)
		}
		b.Close()
		if r.n.id == r.g.leaderNode() {
			e.result = res
		}
		r.m.Applied(uint64(i+1), e.closed)
		r.mu.Lock()
		r.applied, r.closed = i+1, e.closed
		close(r.moved)
		r.moved = make(chan struct{})
		r.mu.Unlock()
	}
}

// elect makes node the leader, once it has applied the log. Entries in flight are kept.
func (g *group) elect(node ranges.NodeID, handoff []byte) {
	g.mu.Lock()
	old := g.leader
	n := len(g.log)
	r := g.replicas[node]
	g.leader = 0
	g.mu.Unlock()
	if old != 0 && handoff == nil {
		g.replicas[old].m.LeaseLost()
	}
	if n > 0 {
		g.mu.Lock()
		last := g.log[n-1]
		g.mu.Unlock()
		<-last.ready
	}
	r.catchUp(n)
	g.mu.Lock()
	g.term++
	// The new lease starts after the old one, whose promises reached up to its end.
	g.floor = max(g.floor, truetime.FromTime(time.Now()))
	g.until = truetime.MaxTimestamp - 1
	lease := ranges.Lease{Epoch: g.term, Holder: node, Until: g.until}
	g.mu.Unlock()
	if old != 0 && handoff != nil {
		defer g.replicas[old].m.LeaseLost()
	}
	// There is no lease to promise anything under before LeaseAcquired has returned.
	r.m.LeaseAcquired(lease, handoff)
	g.mu.Lock()
	g.leader = node
	g.mu.Unlock()
}

func (r *fakeReplica) ID() ranges.RangeID       { return r.g.id }
func (r *fakeReplica) Desc() *ranges.Descriptor { return r.g.descriptor() }
func (r *fakeReplica) Engine() *mvcc.Engine     { return r.n.eng }

func (r *fakeReplica) Lease() ranges.Lease {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	if r.g.leader != r.n.id {
		return ranges.Lease{Epoch: r.g.term, Holder: r.g.leader}
	}
	return ranges.Lease{Epoch: r.g.term, Holder: r.n.id, Until: r.g.until}
}

func (r *fakeReplica) LeaderHint() ranges.NodeID { return r.g.leaderNode() }

func (r *fakeReplica) SafeTime() truetime.Timestamp {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.g.c.cfg.noPreparedFloor {
		return r.closed
	}
	return min(r.closed, r.m.PreparedFloor()-1)
}

func (r *fakeReplica) BumpFloor(ts truetime.Timestamp) error {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	if r.g.leader != r.n.id {
		return &ranges.NotLeaderError{Range: r.g.id, Hint: r.g.leader}
	}
	if ts >= r.g.until || r.n.srv.cfg.Clock.Now().Latest >= r.g.until {
		return ranges.ErrLeaseExpired
	}
	if !r.g.c.cfg.noPromise {
		r.g.floor = max(r.g.floor, ts)
	}
	return nil
}

func (r *fakeReplica) CountRequest(ranges.NodeID) {}

func (r *fakeReplica) WaitSafe(ctx context.Context, ts truetime.Timestamp) error {
	if r.beforeSafe != nil {
		r.beforeSafe()
	}
	if r.safeErr != nil {
		return r.safeErr
	}
	r.g.mu.Lock()
	r.g.floor = max(r.g.floor, ts)
	n := len(r.g.log)
	r.g.mu.Unlock()
	for {
		r.mu.Lock()
		if r.applied >= n {
			r.closed = max(r.closed, ts)
		}
		moved := r.moved
		r.mu.Unlock()
		if r.SafeTime() >= ts {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type fakePending struct {
	g  *group
	e  *entry
	ts truetime.Timestamp
}

func (r *fakeReplica) Propose(_ context.Context, p ranges.Proposal) (Pending, error) {
	g := r.g
	now := r.n.srv.cfg.Clock.Now().Latest
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leader != r.n.id {
		return nil, &ranges.NotLeaderError{Range: g.id, Hint: g.leader}
	}
	if len(p.Start) > 0 && !g.desc.ContainsSpan(p.Start, p.End) {
		return nil, ranges.ErrRangeKeyMismatch
	}
	ts := g.floor
	if p.Timed {
		ts = max(p.MinTS, g.floor+1, now)
		if ts >= g.until {
			return nil, ranges.ErrLeaseExpired
		}
	}
	cmd := p.Encode(ts)
	if cmd == nil {
		return nil, ranges.ErrDropped
	}
	g.floor = ts
	e := &entry{cmd: cmd, closed: ts, at: time.Now(), term: g.term, ready: make(chan struct{})}
	g.log = append(g.log, e)
	select {
	case g.wake <- struct{}{}:
	default:
	}
	return &fakePending{g: g, e: e, ts: ts}, nil
}

func (p *fakePending) TS() truetime.Timestamp { return p.ts }

func (p *fakePending) Wait(ctx context.Context) (any, error) {
	select {
	case <-p.e.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	if p.e.term != p.g.term {
		return nil, ranges.ErrAmbiguous
	}
	return p.e.result, nil
}

// client runs transactions as a gateway would, from a node.
type client struct {
	c    *cluster
	node ranges.NodeID
}

type testTxn struct {
	cl     client
	id     TxnID
	age    int64
	epochs map[ranges.RangeID]int64
	writes map[ranges.RangeID]*txnpb.BatchRequest
	staged int64
}

func (cl client) begin(n byte) *testTxn {
	return &testTxn{
		cl: cl, id: TxnID{n}, age: int64(n),
		epochs: map[ranges.RangeID]int64{}, writes: map[ranges.RangeID]*txnpb.BatchRequest{},
	}
}

func (x *testTxn) req(kind txnpb.Kind, id ranges.RangeID) *txnpb.BatchRequest {
	return &txnpb.BatchRequest{
		Kind: kind, TxnId: x.id[:], Age: x.age, Gateway: int32(x.cl.node), LockEpoch: x.epochs[id],
	}
}

func (x *testTxn) send(ctx context.Context, id ranges.RangeID, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error) {
	resp, err := x.cl.c.send(ctx, x.cl.node, id, req)
	if err != nil {
		return nil, err
	}
	if resp.LockEpoch != 0 {
		x.epochs[id] = resp.LockEpoch
	}
	if resp.Error != 0 {
		return resp, &Error{Code: resp.Error, Msg: resp.ErrorMessage, Key: resp.ConflictKey}
	}
	return resp, nil
}

// read returns key's value under a lock, "-" when absent.
func (x *testTxn) read(ctx context.Context, key string, lock txnpb.LockMode) (string, error) {
	id := x.cl.c.rangeOf(key)
	req := x.req(txnpb.Kind_READ, id)
	req.Keys, req.Lock = [][]byte{[]byte(key)}, lock
	resp, err := x.send(ctx, id, req)
	if err != nil {
		return "", err
	}
	if resp.Presence[0] == absent {
		return "-", nil
	}
	return string(resp.Values[0]), nil
}

func (x *testTxn) put(key, value string) { x.write(txnpb.WriteOp_WRITE_PUT, key, value) }

func (x *testTxn) write(op txnpb.WriteOp, key, value string) {
	id := x.cl.c.rangeOf(key)
	w := x.writes[id]
	if w == nil {
		w = &txnpb.BatchRequest{}
		x.writes[id] = w
	}
	w.WriteOps = append(w.WriteOps, byte(op))
	w.WriteKeys = append(w.WriteKeys, []byte(key))
	w.WriteValues = append(w.WriteValues, []byte(value))
}

// stage sends the writes buffered so far as staged pieces.
func (x *testTxn) stage(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(x.writes)) {
		req := x.withWrites(txnpb.Kind_STAGE, id)
		req.StageSeq = x.staged
		x.staged += int64(len(req.WriteKeys))
		if _, err := x.send(ctx, id, req); err != nil {
			return err
		}
		delete(x.writes, id)
	}
	return nil
}

func (x *testTxn) withWrites(kind txnpb.Kind, id ranges.RangeID) *txnpb.BatchRequest {
	req := x.req(kind, id)
	if w := x.writes[id]; w != nil {
		req.WriteOps, req.WriteKeys, req.WriteValues = w.WriteOps, w.WriteKeys, w.WriteValues
	}
	return req
}

func (x *testTxn) touched() []ranges.RangeID {
	set := map[ranges.RangeID]bool{}
	for id := range x.epochs {
		set[id] = true
	}
	for id := range x.writes {
		set[id] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// commit commits with one or two phases; the first range written is the coordinator.
func (x *testTxn) commit(ctx context.Context) (truetime.Timestamp, error) {
	return x.commitAs(ctx, x.cl.c.commitID())
}

func (x *testTxn) commitAs(ctx context.Context, commit []byte) (truetime.Timestamp, error) {
	ids := x.touched()
	if len(ids) == 1 {
		req := x.withWrites(txnpb.Kind_COMMIT_ONE, ids[0])
		req.CommitId = commit
		resp, err := x.send(ctx, ids[0], req)
		if err != nil {
			return 0, err
		}
		return truetime.Timestamp(resp.CommitTs), nil
	}
	coord := ids[0]
	for _, id := range ids {
		if x.writes[id] != nil {
			coord = id
			break
		}
	}
	decide := x.withWrites(txnpb.Kind_DECIDE, coord)
	decide.CommitId = commit
	for _, id := range ids {
		if id == coord {
			continue
		}
		req := x.withWrites(txnpb.Kind_PREPARE, id)
		req.CommitId = commit
		req.CoordinatorRange, req.CoordinatorKey = int64(coord), x.cl.c.groups[coord].desc.Start
		resp, err := x.send(ctx, id, req)
		if err != nil {
			x.rollback(ctx, commit)
			return 0, err
		}
		decide.MinTs = max(decide.MinTs, resp.PrepareTs)
		decide.ParticipantRanges = append(decide.ParticipantRanges, int64(id))
		decide.ParticipantKeys = append(decide.ParticipantKeys, x.cl.c.groups[id].desc.Start)
		ro := byte(0)
		if resp.ReadOnly {
			ro = 1
			if decide.MaxTs == 0 || resp.ValidUntil < decide.MaxTs {
				decide.MaxTs = resp.ValidUntil
			}
		}
		decide.ParticipantReadOnly = append(decide.ParticipantReadOnly, ro)
	}
	resp, err := x.send(ctx, coord, decide)
	if err != nil {
		return 0, err
	}
	return truetime.Timestamp(resp.CommitTs), nil
}

func (x *testTxn) rollback(ctx context.Context, commit []byte) {
	for _, id := range x.touched() {
		req := x.req(txnpb.Kind_ROLLBACK, id)
		req.CommitId = commit
		_, _ = x.cl.c.send(ctx, x.cl.node, id, req)
	}
}

// snapshot reads key at ts, or strongly when ts is zero.
func (cl client) snapshot(ctx context.Context, key string, ts truetime.Timestamp) (string, truetime.Timestamp, error) {
	req := &txnpb.BatchRequest{Kind: txnpb.Kind_READ, Keys: [][]byte{[]byte(key)}, ReadTs: int64(ts), Strong: ts == 0}
	resp, err := cl.c.send(ctx, cl.node, cl.c.rangeOf(key), req)
	if err != nil {
		return "", 0, err
	}
	if resp.Error != 0 {
		return "", 0, &Error{Code: resp.Error, Msg: resp.ErrorMessage}
	}
	if resp.Presence[0] == absent {
		return "-", truetime.Timestamp(resp.ReadTs), nil
	}
	return string(resp.Values[0]), truetime.Timestamp(resp.ReadTs), nil
}

func mustEqual[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

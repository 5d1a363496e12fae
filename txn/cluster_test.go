package txn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/participant"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// testClock is true time give or take eps, on the bubble's virtual clock.
type testClock struct {
	eps    time.Duration
	fenced atomic.Bool
}

func (c *testClock) Now() truetime.Interval {
	now := truetime.FromTime(time.Now())
	return truetime.Interval{Earliest: now.Add(-c.eps), Latest: now.Add(c.eps)}
}

func (c *testClock) WaitAfter(ctx context.Context, ts truetime.Timestamp) error {
	for !c.Now().After(ts) {
		timer := time.NewTimer(ts.Sub(c.Now().Earliest) + 1)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	return nil
}

func (c *testClock) Health() error {
	if c.fenced.Load() {
		return errors.New("fenced by the test")
	}
	return nil
}

// testCluster runs real participants and gateways of several nodes over ranges without consensus: a range is a
// queue of commands applied to one engine that all nodes share, so that a lease can move between nodes.
type testCluster struct {
	t      testing.TB
	clock  *testClock
	engine *mvcc.Engine
	nodes  map[ranges.NodeID]*testNode
	logger *slog.Logger

	mu     sync.Mutex
	ranges []*testRange
	nextID ranges.RangeID

	// fault, when set, is asked about every request between nodes, and about local ones too.
	fault atomic.Pointer[faultFunc]
	wg    sync.WaitGroup
}

type faultFunc func(from, to ranges.NodeID, req *txnpb.BatchRequest) fault

// inject sets what happens to requests from now on; nil: nothing.
func (c *testCluster) inject(f faultFunc) {
	if f == nil {
		c.fault.Store(nil)
		return
	}
	c.fault.Store(&f)
}

// fault says what happens to one request.
type fault int

const (
	deliver    fault = iota
	dropBefore       // lost on the way there
	dropAfter        // executed, answer lost
	notFound         // refused: no such range here
)

type testNode struct {
	c      *testCluster
	id     ranges.NodeID
	server *participant.Server
	db     *DB
	down   atomic.Bool
}

// testRange is the part of a range that its replicas share.
type testRange struct {
	c        *testCluster
	id       ranges.RangeID
	desc     atomic.Pointer[ranges.Descriptor]
	leader   atomic.Uint32
	replicas map[ranges.NodeID]*testReplica

	mu     sync.Mutex // proposals
	floor  truetime.Timestamp
	term   atomic.Uint64
	index  uint64
	queue  chan *testPending
	closed atomic.Int64
}

type testReplica struct {
	r    *testRange
	node ranges.NodeID
	m    *participant.Machine
}

type testPending struct {
	ts    truetime.Timestamp
	cmd   []byte
	apply func() // a split, instead of a command
	res   any
	err   error
	done  chan struct{}
}

func (p *testPending) TS() truetime.Timestamp { return p.ts }

func (p *testPending) Wait(ctx context.Context) (any, error) {
	select {
	case <-p.done:
		return p.res, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

const testLease = 3 * time.Second

func (r *testReplica) ID() ranges.RangeID        { return r.r.id }
func (r *testReplica) Desc() *ranges.Descriptor  { return r.r.desc.Load() }
func (r *testReplica) Engine() *mvcc.Engine      { return r.r.c.engine }
func (r *testReplica) LeaderHint() ranges.NodeID { return ranges.NodeID(r.r.leader.Load()) }
func (r *testReplica) leads() bool               { return ranges.NodeID(r.r.leader.Load()) == r.node }

func (r *testReplica) Lease() ranges.Lease {
	l := ranges.Lease{Epoch: r.r.term.Load(), Holder: r.LeaderHint()}
	if r.leads() {
		l.Until = r.r.c.clock.Now().Earliest.Add(testLease)
	}
	return l
}

func (r *testReplica) SafeTime() truetime.Timestamp {
	m := r.r.replicas[ranges.NodeID(r.r.leader.Load())].m
	return min(truetime.Timestamp(r.r.closed.Load()), m.PreparedFloor().Prev())
}

func (r *testReplica) BumpFloor(ts truetime.Timestamp) error {
	if !r.leads() || ts >= r.Lease().Until {
		return ranges.ErrLeaseExpired
	}
	r.r.mu.Lock()
	defer r.r.mu.Unlock()
	r.r.floor = max(r.r.floor, ts)
	return nil
}

// WaitSafe stands in for the question to the leader: it raises the floor and flushes the queue.
func (r *testReplica) CountRequest(ranges.NodeID) {}

func (r *testReplica) WaitSafe(ctx context.Context, ts truetime.Timestamp) error {
	lead := r.r.replicas[r.LeaderHint()]
	if err := lead.BumpFloor(ts); err != nil {
		return err
	}
	p, err := r.r.propose(lead, ranges.Proposal{Encode: func(truetime.Timestamp) []byte { return nil }}, func() {})
	if err != nil {
		return err
	}
	if _, err := p.Wait(ctx); err != nil {
		return err
	}
	for r.SafeTime() < ts {
		if err := r.r.c.clock.WaitAfter(ctx, r.r.c.clock.Now().Latest.Add(time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

func (r *testReplica) Propose(ctx context.Context, p ranges.Proposal) (participant.Pending, error) {
	pending, err := r.r.propose(r, p, nil)
	if err != nil {
		return nil, err
	}
	return pending, nil
}

func (r *testRange) propose(rep *testReplica, p ranges.Proposal, apply func()) (*testPending, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !rep.leads() {
		return nil, &ranges.NotLeaderError{Range: r.id, Hint: rep.LeaderHint()}
	}
	d := r.desc.Load()
	if len(p.Start) > 0 && !d.ContainsSpan(p.Start, p.End) {
		return nil, ranges.ErrRangeKeyMismatch
	}
	ts := r.floor
	if p.Timed {
		ts = max(p.MinTS, r.floor+1, r.c.clock.Now().Latest)
		if ts >= rep.Lease().Until {
			return nil, ranges.ErrLeaseExpired
		}
		r.floor = ts
	}
	pending := &testPending{ts: ts, apply: apply, done: make(chan struct{})}
	if apply == nil {
		pending.cmd = p.Encode(ts)
	}
	r.queue <- pending
	return pending, nil
}

// run applies commands in order, each after a round trip to an imaginary quorum.
func (r *testRange) run() {
	defer r.c.wg.Done()
	for p := range r.queue {
		time.Sleep(time.Millisecond)
		if p.apply != nil {
			p.apply()
		} else {
			// The engine is shared: the followers apply to a batch that is thrown away, for what they keep in memory.
			r.index++
			leader := ranges.NodeID(r.leader.Load())
			apply := func(rep *testReplica) {
				b := r.c.engine.NewIndexedBatch()
				defer b.Close()
				res, err := rep.m.Apply(b, r.index, p.cmd)
				if err == nil && rep.node == leader {
					p.res, err = res, b.Commit(false)
				}
				if err != nil {
					panic(err)
				}
			}
			for _, rep := range r.replicas {
				if rep.node != leader {
					apply(rep)
				}
			}
			apply(r.replicas[leader])
			for _, rep := range r.replicas {
				rep.m.Applied(r.index, p.ts)
			}
		}
		r.closed.Store(int64(p.ts))
		close(p.done)
	}
}

// newTestCluster starts nodes whose ranges are bounded by the given keys; range i is led by node i mod nodes.
func newTestCluster(t testing.TB, nodes int, tune func(*Config), splits ...string) *testCluster {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	e, err := mvcc.Open(mvcc.Config{FS: vfs.NewMem(), Dir: "state", CacheBytes: 8 << 20, MemTableBytes: 8 << 20, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	c := &testCluster{t: t, clock: &testClock{eps: 500 * time.Microsecond}, engine: e, nodes: map[ranges.NodeID]*testNode{}, logger: logger, nextID: 1}
	for i := 1; i <= nodes; i++ {
		n := &testNode{c: c, id: ranges.NodeID(i)}
		n.server, err = participant.NewServer(participant.Config{NodeID: n.id, Clock: c.clock, Logger: logger, Programs: testPrograms{}})
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{NodeID: n.id, Clock: c.clock, Local: n, Sender: n, Descriptors: n, Logger: logger}
		if tune != nil {
			tune(&cfg)
		}
		if n.db, err = New(cfg); err != nil {
			t.Fatal(err)
		}
		n.server.SetRouter(n.db)
		n.db.Start()
		c.nodes[n.id] = n
	}
	bounds := append([]string{"\x01", "\x03"}, splits...)
	bounds = append(bounds, "\xff")
	for i := 0; i+1 < len(bounds); i++ {
		c.addRange([]byte(bounds[i]), []byte(bounds[i+1]), ranges.NodeID(i%nodes+1))
	}
	return c
}

func (c *testCluster) newRange(start, end []byte, gen uint64, leader ranges.NodeID) *testRange {
	r := &testRange{c: c, id: c.nextID, replicas: map[ranges.NodeID]*testReplica{}, queue: make(chan *testPending, 1000)}
	r.term.Store(1)
	c.nextID++
	d := &ranges.Descriptor{ID: r.id, Start: start, End: end, Generation: gen}
	for i := 1; i <= len(c.nodes); i++ {
		d.Replicas = append(d.Replicas, ranges.ReplicaDesc{Node: ranges.NodeID(i), Replica: ranges.ReplicaID(i)})
	}
	d.NextReplica = ranges.ReplicaID(len(c.nodes) + 1)
	r.desc.Store(d)
	r.leader.Store(uint32(leader))
	for id, n := range c.nodes {
		rep := &testReplica{r: r, node: id}
		r.replicas[id] = rep
		rep.m = n.server.Add(rep)
	}
	c.wg.Add(1)
	go r.run()
	return r
}

func (c *testCluster) addRange(start, end []byte, leader ranges.NodeID) {
	r := c.newRange(start, end, 1, leader)
	r.replicas[leader].m.LeaseAcquired(ranges.Lease{Epoch: 1, Holder: leader, Until: c.clock.Now().Latest.Add(testLease)}, nil)
	c.mu.Lock()
	c.ranges = append(c.ranges, r)
	c.mu.Unlock()
}

func (c *testCluster) rangeOf(key string) *testRange {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.ranges {
		if r.desc.Load().Contains([]byte(key)) {
			return r
		}
	}
	return nil
}

// transfer moves the lease of key's range, with the locks if handoff.
func (c *testCluster) transfer(key string, to ranges.NodeID, handoff bool) {
	r := c.rangeOf(key)
	old := r.replicas[ranges.NodeID(r.leader.Load())]
	if old.node == to {
		return
	}
	var data []byte
	if handoff {
		data = old.m.LeaseHandoff()
	}
	// Everything proposed so far is applied by the old leader's machine.
	r.mu.Lock()
	p := &testPending{ts: r.floor, apply: func() {}, done: make(chan struct{})}
	r.queue <- p
	r.mu.Unlock()
	<-p.done
	r.mu.Lock()
	r.leader.Store(uint32(to))
	r.term.Add(1)
	r.floor = max(r.floor, c.clock.Now().Latest)
	r.mu.Unlock()
	old.m.LeaseLost()
	next := r.replicas[to]
	next.m.Reset()
	next.m.LeaseAcquired(ranges.Lease{Epoch: r.term.Load(), Holder: to, Until: next.Lease().Until}, data)
}

// split divides the range of key at key, unless the range is not ready for it (another split is under way).
func (c *testCluster) split(key string) bool {
	c.t.Helper()
	r := c.rangeOf(key)
	lead := r.replicas[ranges.NodeID(r.leader.Load())]
	release, err := lead.m.PrepareSplit(context.Background(), []byte(key))
	if errors.Is(err, ranges.ErrNotReady) {
		return false
	}
	if err != nil {
		c.t.Fatal(err)
	}
	p, err := r.propose(lead, ranges.Proposal{}, func() {
		d := *r.desc.Load()
		left := d
		left.End, left.Generation = []byte(key), d.Generation+1
		c.mu.Lock()
		right := c.newRange([]byte(key), d.End, d.Generation+1, lead.node)
		c.mu.Unlock()
		b := c.engine.NewIndexedBatch()
		if err := lead.m.SplitState(b, []byte(key), right.id); err != nil {
			panic(err)
		}
		if err := b.Commit(false); err != nil {
			panic(err)
		}
		b.Close()
		r.desc.Store(&left)
		for _, rep := range r.replicas {
			right.replicas[rep.node].m.Reset() // it was made before SplitState
			rep.m.Split([]byte(key), right.replicas[rep.node].m)
		}
		right.floor = r.floor
		right.closed.Store(r.closed.Load())
		right.replicas[lead.node].m.LeaseAcquired(ranges.Lease{Epoch: 1, Holder: lead.node, Until: lead.Lease().Until}, []byte{})
		c.mu.Lock()
		c.ranges = append(c.ranges, right)
		c.mu.Unlock()
	})
	if err != nil {
		c.t.Fatal(err)
	}
	<-p.done
	release()
	c.writeMeta()
	return true
}

func (c *testCluster) close() {
	for _, n := range c.nodes {
		n.db.Close()
	}
	for _, r := range c.ranges {
		for _, rep := range r.replicas {
			rep.m.Close()
		}
	}
	for _, n := range c.nodes {
		n.server.Close()
	}
	for _, r := range c.ranges {
		close(r.queue)
	}
	c.wg.Wait()
	if err := c.engine.Close(); err != nil {
		c.t.Error(err)
	}
}

// LocalDescriptor implements Descriptors: nodes hold every range, but routing is to be tested, so only the
// meta range is known.
func (n *testNode) LocalDescriptor(key []byte, before bool) *ranges.Descriptor { return nil }

func (n *testNode) FirstRange() *ranges.Descriptor {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.c.ranges[0].desc.Load()
}

// Batch implements Local.
func (n *testNode) Batch(ctx context.Context, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error) {
	return n.c.deliver(ctx, n.id, n.id, req)
}

// Send implements Sender, through the wire encoding.
func (n *testNode) Send(ctx context.Context, to ranges.NodeID, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error) {
	b, err := req.MarshalVT()
	if err != nil {
		return nil, err
	}
	var copied txnpb.BatchRequest
	if err := copied.UnmarshalVT(b); err != nil {
		return nil, err
	}
	resp, err := n.c.deliver(ctx, n.id, to, &copied)
	if err != nil {
		return nil, err
	}
	if b, err = resp.MarshalVT(); err != nil {
		return nil, err
	}
	out := new(txnpb.BatchResponse)
	return out, out.UnmarshalVT(b)
}

func (c *testCluster) deliver(ctx context.Context, from, to ranges.NodeID, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error) {
	if c.nodes[to].down.Load() {
		return nil, errors.New("connection refused")
	}
	f := deliver
	if fn := c.fault.Load(); fn != nil {
		f = (*fn)(from, to, req)
	}
	if f == dropBefore {
		return nil, errors.New("lost request")
	}
	if f == notFound {
		return &txnpb.BatchResponse{Error: txnpb.ErrorCode_RANGE_NOT_FOUND}, nil
	}
	resp, err := c.nodes[to].server.Batch(ctx, req)
	if f == dropAfter {
		return nil, errors.New("lost answer")
	}
	return resp, err
}

// writeMeta records all ranges, as their leaders would.
func (c *testCluster) writeMeta() {
	c.t.Helper()
	var descs []*ranges.Descriptor
	c.mu.Lock()
	for _, r := range c.ranges {
		descs = append(descs, r.desc.Load())
	}
	c.mu.Unlock()
	if err := c.nodes[1].db.UpdateMeta(context.Background(), nil, descs); err != nil {
		c.t.Fatal(err)
	}
}

// inCluster runs a test in a bubble with a cluster.
func inCluster(t *testing.T, nodes int, tune func(*Config), splits []string, fn func(ctx context.Context, c *testCluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, nodes, tune, splits...)
		defer c.close()
		c.writeMeta()
		fn(t.Context(), c)
	})
}

func (c *testCluster) begin(node ranges.NodeID, opts kv.TxnOptions) *Txn {
	c.t.Helper()
	t, err := c.nodes[node].db.Begin(context.Background(), opts)
	if err != nil {
		c.t.Fatal(err)
	}
	return t.(*Txn)
}

func (c *testCluster) put(node ranges.NodeID, pairs ...string) truetime.Timestamp {
	c.t.Helper()
	t := c.begin(node, kv.TxnOptions{})
	for i := 0; i < len(pairs); i += 2 {
		if err := t.Put([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
			c.t.Fatal(err)
		}
	}
	ts, err := t.Commit(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	return ts
}

func (c *testCluster) get(t kv.Txn, key string) string {
	c.t.Helper()
	v, err := t.Get(context.Background(), []byte(key), kv.LockNone, kv.WaitBlock)
	if err != nil {
		c.t.Fatal(err)
	}
	if v == nil {
		return "<none>"
	}
	return string(v)
}

// dump reads a span as "k=v k=v".
func (c *testCluster) dump(t kv.Txn, start, end string, opts kv.ScanOptions) string {
	c.t.Helper()
	s, err := t.Scan(context.Background(), kv.Span{Start: []byte(start), End: []byte(end)}, opts)
	if err != nil {
		c.t.Fatal(err)
	}
	defer s.Close()
	return drainKV(c.t, s)
}

func drainKV(t testing.TB, s kv.Scanner) string {
	t.Helper()
	var b bytes.Buffer
	for s.Next(context.Background()) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%s", s.Pair().Key, s.Pair().Value)
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// all reads everything at one timestamp on a node.
func (c *testCluster) all(node ranges.NodeID) string {
	t := c.begin(node, kv.TxnOptions{ReadOnly: true})
	defer t.Rollback(context.Background())
	return c.dump(t, "\x03", "\xff", kv.ScanOptions{})
}

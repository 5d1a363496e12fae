package ranges

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
)

// simClock is a TrueTime clock on the bubble's virtual time: it is wrong by skew and admits eps.
type simClock struct {
	skew, eps time.Duration
	sick      atomic.Bool
}

func (c *simClock) Now() truetime.Interval {
	t := truetime.FromTime(time.Now().Add(c.skew))
	return truetime.Interval{Earliest: t.Add(-c.eps), Latest: t.Add(c.eps)}
}

func (c *simClock) WaitAfter(ctx context.Context, ts truetime.Timestamp) error {
	for !c.Now().After(ts) {
		t := time.NewTimer(ts.Next().Sub(c.Now().Earliest))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
	return nil
}

func (c *simClock) Health() error {
	if c.sick.Load() {
		return errors.New("sick")
	}
	return nil
}

// simNet connects stores in memory, with faults. The functions that tests set in it are called with mu held.
type simNet struct {
	mu     sync.Mutex
	rnd    *rand.Rand
	stores map[NodeID]*Store
	within map[*Store]*sync.WaitGroup // what stores are handling: a node ends when that has
	cut    map[[2]NodeID]bool
	loss   float64
	dup    float64
	delay  func() time.Duration // nil: none
	frames map[[2]NodeID]int
	bulks  int
	taps   []func(from, to NodeID, frame []byte)
	refuse func(from NodeID, m Method) bool // calls that fail; nil: none
	// refuseTo is the same for who must know whom a call goes to.
	refuseTo func(from, to NodeID, m Method) bool
	bulk     func(to NodeID) error           // what becomes of a stream; errLost: nobody notices that it goes nowhere
	pause    func(to NodeID) <-chan struct{} // what the next piece waits for; nil: nothing
}

func newSimNet(seed uint64) *simNet {
	return &simNet{rnd: rand.New(rand.NewPCG(seed, 1)), stores: map[NodeID]*Store{}, within: map[*Store]*sync.WaitGroup{}, cut: map[[2]NodeID]bool{}, frames: map[[2]NodeID]int{}}
}

var (
	errCut  = errors.New("sim: unreachable")
	errLost = errors.New("sim: lost")
)

func (n *simNet) reach(from, to NodeID) (*Store, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, ok := n.stores[to]
	return s, ok && n.stores[from] != nil && !n.cut[[2]NodeID{from, to}]
}

// enter is reach for who has the store handle something; leave is to be called then.
func (n *simNet) enter(from, to NodeID) (s *Store, leave func(), ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s = n.stores[to]
	if s == nil || n.stores[from] == nil || n.cut[[2]NodeID{from, to}] {
		return nil, nil, false
	}
	if n.within[s] == nil {
		n.within[s] = new(sync.WaitGroup)
	}
	n.within[s].Add(1)
	return s, n.within[s].Done, true
}

// emptied waits until a store that nobody can reach any more handles nothing.
func (n *simNet) emptied(s *Store) {
	n.mu.Lock()
	wg := n.within[s]
	delete(n.within, s)
	n.mu.Unlock()
	if wg != nil {
		wg.Wait()
	}
}

// isolate cuts a node off, or reconnects it.
func (n *simNet) isolate(id NodeID, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.isolateLocked(id, cut)
}

func (n *simNet) isolateLocked(id NodeID, cut bool) {
	for other := NodeID(1); other <= 16; other++ {
		if other != id {
			n.cut[[2]NodeID{id, other}] = cut
			n.cut[[2]NodeID{other, id}] = cut
		}
	}
}

func (n *simNet) refuses(from, to NodeID, m Method) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.refuse != nil && n.refuse(from, m) || n.refuseTo != nil && n.refuseTo(from, to, m)
}

func (n *simNet) lag() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.delay == nil {
		return 0
	}
	return n.delay()
}

type simTransport struct {
	net  *simNet
	self NodeID
}

func (t simTransport) SendRaft(to NodeID, frame []byte) {
	n := t.net
	n.mu.Lock()
	n.frames[[2]NodeID{t.self, to}]++
	for _, f := range n.taps {
		f(t.self, to, frame)
	}
	times := 1
	if n.loss > 0 && n.rnd.Float64() < n.loss {
		times = 0
	} else if n.dup > 0 && n.rnd.Float64() < n.dup {
		times = 2
	}
	if n.stores[t.self] == nil {
		times = 0 // a crashed node says nothing
	}
	n.mu.Unlock()
	for range times {
		f := bytes.Clone(frame)
		d := n.lag()
		deliver := func() {
			if s, leave, ok := n.enter(t.self, to); ok {
				defer leave()
				s.HandleRaft(t.self, f)
			}
		}
		if d == 0 {
			deliver()
		} else {
			time.AfterFunc(d, deliver)
		}
	}
}

func (t simTransport) Call(ctx context.Context, to NodeID, m Method, payload []byte) ([]byte, error) {
	wait := func() error {
		d := t.net.lag()
		if d == 0 {
			return nil
		}
		tm := time.NewTimer(d)
		select {
		case <-tm.C:
			return nil
		case <-ctx.Done():
			tm.Stop()
			return ctx.Err()
		}
	}
	if err := wait(); err != nil {
		return nil, err
	}
	s, leave, ok := t.net.enter(t.self, to)
	if !ok {
		return nil, errCut
	}
	if t.net.refuses(t.self, to, m) {
		leave()
		return nil, errCut
	}
	ans, err := s.HandleCall(ctx, t.self, m, bytes.Clone(payload))
	leave()
	if err != nil {
		return nil, err
	}
	if err := wait(); err != nil {
		return nil, err
	}
	if _, ok := t.net.reach(to, t.self); !ok {
		return nil, errCut
	}
	return ans, nil
}

type simStream struct {
	in, out chan []byte
	shut    chan struct{}
	once    *sync.Once
	sent    sync.Once
	wait    func() <-chan struct{}
}

func (s *simStream) Send(b []byte) error {
	if s.wait != nil {
		if ch := s.wait(); ch != nil {
			select {
			case <-ch:
			case <-s.shut:
			}
		}
	}
	select {
	case <-s.shut:
		return io.ErrClosedPipe
	case s.out <- bytes.Clone(b):
		return nil
	}
}

func (s *simStream) Recv() ([]byte, error) {
	select {
	case b, ok := <-s.in:
		if !ok {
			return nil, io.EOF
		}
		return b, nil
	case <-s.shut:
		return nil, io.ErrClosedPipe
	}
}

func (s *simStream) CloseSend() error { s.sent.Do(func() { close(s.out) }); return nil }
func (s *simStream) Close() error     { s.once.Do(func() { close(s.shut) }); return nil }

func (t simTransport) OpenBulk(ctx context.Context, to NodeID) (BulkStream, error) {
	s, ok := t.net.reach(t.self, to)
	if !ok {
		return nil, errCut
	}
	t.net.mu.Lock()
	t.net.bulks++
	pause := t.net.pause
	var err error
	if t.net.bulk != nil {
		err = t.net.bulk(to)
	}
	t.net.mu.Unlock()
	if err != nil && err != errLost {
		return nil, err
	}
	a, b, shut, once := make(chan []byte, 4), make(chan []byte, 4), make(chan struct{}), &sync.Once{}
	near := &simStream{in: a, out: b, shut: shut, once: once}
	far := &simStream{in: b, out: a, shut: shut, once: once}
	if pause != nil {
		near.wait = func() <-chan struct{} {
			t.net.mu.Lock()
			defer t.net.mu.Unlock()
			return pause(to)
		}
	}
	if err == errLost {
		return near, nil
	}
	go func() {
		_ = s.HandleBulk(ctx, t.self, far)
		_ = far.CloseSend()
	}()
	return near, nil
}

// register is a machine for tests: a command is a timestamp, a key and a value, which it writes.
type register struct {
	r       *Replica
	mu      sync.Mutex
	events  []string
	applied []uint64
	floor   truetime.Timestamp
	handoff string
	closed  bool
	// unsettled: some transaction was promised something up to the end of the lease.
	unsettled bool
	poison    atomic.Bool // the next command fails to apply
	busy      atomic.Bool // a transaction stays prepared
	// prepared is called when transactions have been held back for a split or a merge.
	prepared atomic.Pointer[func()]
	released atomic.Int32 // how many splits and merges hold nothing back any more
}

func newRegister(r *Replica) Machine { return &register{r: r, floor: truetime.MaxTimestamp} }

func encodePut(ts truetime.Timestamp, key, value string) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(ts))
	b = append(b, byte(len(key)))
	b = append(b, key...)
	return append(b, value...)
}

func (m *register) Apply(b *mvcc.Batch, index uint64, cmd []byte) (any, error) {
	if m.poison.Load() {
		return nil, errors.New("poisoned")
	}
	ts := truetime.Timestamp(binary.BigEndian.Uint64(cmd))
	n := int(cmd[8])
	b.Put(cmd[9:9+n], ts, cmd[9+n:])
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := len(m.applied); k > 0 && m.applied[k-1] >= index {
		panic(fmt.Sprintf("%s: applied %d after %d", m.r.id, index, m.applied[k-1]))
	}
	m.applied = append(m.applied, index)
	return index, nil
}

func (m *register) event(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, fmt.Sprintf(format, args...))
}

func (m *register) Applied(index uint64, closed truetime.Timestamp) {}
func (m *register) LeaseAcquired(l Lease, handoff []byte) {
	if handoff != nil {
		m.event("acquired handoff=%q", handoff)
	} else {
		m.event("acquired")
	}
}
func (m *register) LeaseLost() { m.event("lost") }
func (m *register) LeaseHandoff() []byte {
	m.event("handoff")
	return []byte(m.handoff)
}
func (m *register) LeaseSettled() bool { return !m.unsettled }
func (m *register) PrepareSplit(ctx context.Context, key []byte) (func(), error) {
	if m.busy.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if f := m.prepared.Load(); f != nil {
		(*f)()
	}
	return func() { m.released.Add(1) }, nil
}
func (m *register) PrepareMerge(ctx context.Context, right Machine) (func(), error) {
	return m.PrepareSplit(ctx, nil)
}
func (m *register) MergeState(b *mvcc.Batch, right Machine) error { return nil }
func (m *register) Merge(right Machine)                           { m.event("merged") }
func (m *register) Split(key []byte, right Machine)               { m.event("split %s", key) }
func (m *register) PreparedFloor() truetime.Timestamp {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.floor
}
func (m *register) Reset() {
	m.event("reset")
	m.mu.Lock()
	m.applied = nil
	m.mu.Unlock()
}
func (m *register) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
}

// sim is a cluster on virtual time.
type sim struct {
	t      *testing.T
	net    *simNet
	nodes  map[NodeID]*simNode
	tune   func(c *Config)
	eps    time.Duration
	lister *simNodes
	logger *slog.Logger
	mu     sync.Mutex // guards the nodes' store where several goroutines look at it
}

type simNode struct {
	id       NodeID
	fs       *vfs.MemFS
	wrap     func(fs *vfs.MemFS) vfs.FS // nil: none
	clock    *simClock
	failures []error // what Config.Failed was told; read it when the store is closed
	eng      *mvcc.Engine
	store    *Store
}

type simNodes struct {
	mu   sync.Mutex
	list []NodeInfo
}

func (l *simNodes) Nodes() []NodeInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]NodeInfo{}, l.list...)
}

// newSim makes a cluster of n nodes, inside a synctest bubble.
func newSim(t *testing.T, seed uint64, n int, tune func(c *Config)) *sim {
	c := &sim{t: t, net: newSimNet(seed), nodes: map[NodeID]*simNode{}, tune: tune, eps: time.Millisecond, lister: &simNodes{}}
	c.logger = slog.New(slog.DiscardHandler)
	if os.Getenv("RANGE_TEST_LOG") != "" {
		c.logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	for id := NodeID(1); id <= NodeID(n); id++ {
		c.nodes[id] = &simNode{id: id, fs: vfs.NewCrashableMem(), clock: &simClock{eps: c.eps}}
	}
	return c
}

func (c *sim) close() {
	for _, x := range c.nodes {
		c.stop(x)
	}
}

// runSim runs a test on a cluster of n nodes inside a synctest bubble.
func runSim(t *testing.T, seed uint64, n int, tune func(c *Config), f func(c *sim)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newSim(t, seed, n, tune)
		defer c.close()
		f(c)
	})
}

func (c *sim) open(x *simNode) {
	c.t.Helper()
	var err error
	fs := vfs.FS(x.fs)
	if x.wrap != nil {
		fs = x.wrap(x.fs)
	}
	x.eng, err = mvcc.Open(mvcc.Config{FS: fs, Dir: "state", CacheBytes: 1 << 20, MemTableBytes: 1 << 20, Logger: c.logger,
		OnFailure: func(err error) { x.store.Fail(err) }})
	if err != nil {
		c.t.Fatal(err)
	}
	cfg := Config{
		NodeID: x.id, Engine: x.eng, FS: fs, Dir: "ranges", Clock: x.clock, Transport: simTransport{c.net, x.id},
		NewMachine: newRegister, Rand: rand.New(rand.NewPCG(uint64(x.id), 7)), Workers: 2, ApplyWorkers: 2, Logger: c.logger,
		Nodes: c.lister, Failed: func(err error) { x.failures = append(x.failures, err) },
	}
	if c.tune != nil {
		c.tune(&cfg)
	}
	store, err := Open(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	x.store = store
	c.mu.Unlock()
}

func (c *sim) start(x *simNode) {
	c.t.Helper()
	if err := x.store.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.net.mu.Lock()
	c.net.stores[x.id] = x.store
	c.net.mu.Unlock()
}

// startAll opens all nodes, each bootstrapped with the same ranges, and starts them.
func (c *sim) startAll(descs ...*Descriptor) {
	c.t.Helper()
	for id := NodeID(1); int(id) <= len(c.nodes); id++ {
		x := c.nodes[id]
		c.open(x)
		var mine []*Descriptor
		for _, d := range descs {
			if _, ok := d.ReplicaOn(id); ok {
				mine = append(mine, d)
			}
		}
		if len(mine) > 0 {
			if err := x.store.Bootstrap(mine); err != nil {
				c.t.Fatal(err)
			}
		}
		c.start(x)
	}
}

func (c *sim) stop(x *simNode) {
	if x.store == nil {
		return
	}
	if err := x.store.Close(); err != nil { // whose last words the others are to hear
		c.t.Error(err)
	}
	c.net.mu.Lock()
	delete(c.net.stores, x.id)
	c.net.mu.Unlock()
	c.net.emptied(x.store)
	if err := x.eng.Close(); err != nil {
		c.t.Error(err)
	}
	x.store, x.eng = nil, nil
}

// crash ends a node as a power failure would: of what was not synced, a random part survives.
func (c *sim) crash(x *simNode) {
	c.net.mu.Lock()
	delete(c.net.stores, x.id)
	seed := c.net.rnd.Uint64()
	c.net.mu.Unlock()
	clone := x.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 30, RNG: rand.New(rand.NewPCG(seed, 3))})
	if err := x.store.Close(); err != nil {
		c.t.Error(err)
	}
	c.net.emptied(x.store)
	if err := x.eng.Close(); err != nil {
		c.t.Error(err)
	}
	c.mu.Lock()
	x.fs, x.store, x.eng = clone, nil, nil
	c.mu.Unlock()
}

func (c *sim) restart(x *simNode) {
	c.open(x)
	c.start(x)
}

// desc makes a range on nodes 1..n; replica ids are the node ids.
func desc(id RangeID, start, end string, nodes ...NodeID) *Descriptor {
	d := &Descriptor{ID: id, Start: []byte(start), End: []byte(end), Generation: 1}
	for _, n := range nodes {
		d.Replicas = append(d.Replicas, ReplicaDesc{Node: n, Replica: ReplicaID(n)})
		d.NextReplica = max(d.NextReplica, ReplicaID(n)+1)
	}
	return d
}

// leader waits, in virtual time, until a node holds the lease of the range that holds key.
func (c *sim) leader(key string, within time.Duration, except ...NodeID) *Replica {
	c.t.Helper()
	deadline := time.Now().Add(within)
	for {
		for id := NodeID(1); int(id) <= len(c.nodes); id++ {
			x := c.nodes[id]
			if x.store == nil {
				continue
			}
			r, ok := x.store.ReplicaForKey([]byte(key))
			if !ok {
				continue
			}
			skip := false
			for _, e := range except {
				skip = skip || e == id
			}
			if l := r.Lease(); !skip && l.Until > x.clock.Now().Latest {
				return r
			}
		}
		if time.Now().After(deadline) {
			c.dump()
			c.t.Fatalf("no leader for %q within %s", key, within)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (c *sim) dump() {
	for id := NodeID(1); int(id) <= len(c.nodes); id++ {
		x := c.nodes[id]
		if x.store == nil {
			continue
		}
		for _, st := range x.store.Status() {
			r, _ := x.store.Replica(st.Desc.ID)
			r.mu.Lock()
			f := r.mu.follow
			r.mu.Unlock()
			c.t.Logf("%s %s leader=%s role=%v term=%d lease=%s applied=%d committed=%d last=%d pending=%d follow=%+v",
				id, st.Desc, st.Leader, r.mu.role, st.Term, st.LeaseUntil, st.Applied, st.Committed, st.LastIndex, st.Pending, f)
		}
	}
}

// put writes through a leader and returns the timestamp.
func (c *sim) put(r *Replica, key, value string) (truetime.Timestamp, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	p, err := r.Propose(ctx, Proposal{Timed: true, Start: []byte(key), Encode: func(ts truetime.Timestamp) []byte {
		return encodePut(ts, key, value)
	}})
	if err != nil {
		return 0, err
	}
	if _, err := p.Wait(ctx); err != nil {
		return 0, err
	}
	return p.TS(), nil
}

func (c *sim) mustPut(r *Replica, key, value string) truetime.Timestamp {
	c.t.Helper()
	ts, err := c.put(r, key, value)
	if err != nil {
		c.dump()
		c.t.Fatalf("put %s=%s: %v", key, value, err)
	}
	return ts
}

func (c *sim) get(x *simNode, key string, ts truetime.Timestamp) string {
	c.t.Helper()
	v, _, ok, err := mvcc.Get(x.eng, []byte(key), ts)
	if err != nil {
		c.t.Fatal(err)
	}
	if !ok {
		return "<none>"
	}
	return string(v)
}

// until waits in virtual time for a condition.
func (c *sim) until(within time.Duration, what string, f func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(within)
	for !f() {
		if time.Now().After(deadline) {
			c.dump()
			c.t.Fatalf("not within %s: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

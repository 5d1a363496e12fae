package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server/rpc"
)

// Faults is what the network does to messages. The zero value delivers everything at once.
type Faults struct {
	Latency time.Duration // one way
	Jitter  time.Duration // added, uniformly random; lets Raft frames overtake each other
	Loss    float64       // probability that a Raft frame is lost or a call's connection breaks
	Dup     float64       // probability that a Raft frame arrives twice
}

// Network connects the nodes of a simulated cluster in memory, with seeded faults. It is meant to run inside
// a testing/synctest bubble. Safe for concurrent use.
type Network struct {
	mu     sync.Mutex // held for memory only
	rng    *rand.Rand
	faults Faults
	nodes  map[rpc.NodeID]*Endpoint
	cut    map[[2]rpc.NodeID]bool       // from, to: nothing passes in that direction
	until  map[rpc.NodeID]time.Time     // stalled nodes: what is sent to or by them before then arrives after it
	late   map[rpc.NodeID]time.Duration // by how much requests of a node for transactions may be late
	idle   []courier                    // The last one to have become idle is the first to get work, its stack is warm.
}

// NewNetwork returns a network without faults whose randomness comes from rng.
func NewNetwork(rng *rand.Rand) *Network {
	return &Network{rng: rng, nodes: map[rpc.NodeID]*Endpoint{}, cut: map[[2]rpc.NodeID]bool{}, until: map[rpc.NodeID]time.Time{},
		late: map[rpc.NodeID]time.Duration{}}
}

// SetFaults changes what happens to messages sent from now on.
func (n *Network) SetFaults(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// Cut stops messages from one node to another, in that direction only.
func (n *Network) Cut(from, to rpc.NodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]rpc.NodeID{from, to}] = true
}

// Isolate cuts a node off from all others, both ways.
func (n *Network) Isolate(id rpc.NodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for other := range n.nodes {
		if other != id {
			n.cut[[2]rpc.NodeID{id, other}] = true
			n.cut[[2]rpc.NodeID{other, id}] = true
		}
	}
}

// Stall holds back whatever is sent to or by a node from now on, until then.
func (n *Network) Stall(id rpc.NodeID, until time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.until[id] = until
}

// Delay has every fourth request that a node sends for a transaction take up to most longer to arrive; zero ends that. What
// was sent before or after overtakes it, and the leases that both ends have go on meanwhile.
func (n *Network) Delay(id rpc.NodeID, most time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.late[id] = most
}

// lateness is what Delay adds to a request.
func (n *Network) lateness(id rpc.NodeID, service rpc.Service) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if most := n.late[id]; most > 0 && service == rpc.ServiceTxn && n.rng.IntN(4) == 0 {
		return time.Duration(n.rng.Int64N(int64(most)))
	}
	return 0
}

// stalledLocked returns how long a message between two nodes is held back.
func (n *Network) stalledLocked(a, b rpc.NodeID) time.Duration {
	if len(n.until) == 0 {
		return 0
	}
	until := n.until[a]
	if n.until[b].After(until) {
		until = n.until[b]
	}
	return max(0, time.Until(until))
}

// Heal removes all cuts.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
}

// Attach makes a node's endpoint. A restarted node gets a new one, and what was under way to or from its
// predecessor, which must have been closed, is lost.
func (n *Network) Attach(id rpc.NodeID) *Endpoint {
	ctx, stop := context.WithCancel(context.Background())
	return &Endpoint{net: n, id: id, ctx: ctx, stop: stop, handlers: map[rpc.Service]rpc.Handler{}}
}

// Open begins to deliver, once all handlers are registered.
func (e *Endpoint) Open() {
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	e.net.nodes[e.id] = e
}

// Endpoint is one node's end of the network: what server/rpc's Network is to a real node.
type Endpoint struct {
	net  *Network
	id   rpc.NodeID
	ctx  context.Context // ends when the node crashes or is closed
	stop context.CancelFunc
	wg   sync.WaitGroup // deliveries and handlers

	// Set before the node starts.
	handlers map[rpc.Service]rpc.Handler
	raft     func(from rpc.NodeID, frame []byte)
	bulk     func(ctx context.Context, from rpc.NodeID, s ranges.BulkStream) error
}

// NodeID returns the node's id.
func (e *Endpoint) NodeID() rpc.NodeID { return e.id }

// Register sets the handler of a service.
func (e *Endpoint) Register(s rpc.Service, h rpc.Handler) { e.handlers[s] = h }

// SetRaft sets the receiver of Raft frames, SetBulk that of bulk streams.
func (e *Endpoint) SetRaft(f func(from rpc.NodeID, frame []byte)) { e.raft = f }

// SetBulk sets the receiver of bulk streams.
func (e *Endpoint) SetBulk(f func(ctx context.Context, from rpc.NodeID, s ranges.BulkStream) error) {
	e.bulk = f
}

// RegisterRanges hands a store what arrives for it.
func (e *Endpoint) RegisterRanges(s rpc.RangesHandler) {
	e.SetRaft(s.HandleRaft)
	e.SetBulk(s.HandleBulk)
	e.Register(rpc.ServiceRanges, func(ctx context.Context, from rpc.NodeID, payload []byte) ([]byte, error) {
		return s.HandleCall(ctx, from, ranges.Method(payload[0]), payload[1:])
	})
}

// Ranges returns the endpoint as a store's transport.
func (e *Endpoint) Ranges() ranges.Transport { return rangesTransport{e} }

// Close detaches the node, as a crash does: nothing is delivered to it or from it any more.
func (e *Endpoint) Close() {
	n := e.net
	n.mu.Lock()
	if n.nodes[e.id] == e {
		delete(n.nodes, e.id)
	}
	n.mu.Unlock()
	e.stop()
	e.wg.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.nodes) == 0 { // A bubble ends with its last goroutine.
		for _, c := range n.idle {
			close(c)
		}
		n.idle = nil
	}
}

// route decides the fate of one message.
type route struct {
	peer  *Endpoint // nil: unreachable
	delay time.Duration
	lost  bool
	dup   bool
}

func (e *Endpoint) route(to rpc.NodeID) route {
	n := e.net
	n.mu.Lock()
	defer n.mu.Unlock()
	peer := n.nodes[to]
	if peer == nil || n.cut[[2]rpc.NodeID{e.id, to}] || e.ctx.Err() != nil {
		return route{}
	}
	r := route{peer: peer, delay: n.faults.Latency + n.stalledLocked(e.id, to)}
	if n.faults.Jitter > 0 {
		r.delay += time.Duration(n.rng.Int64N(int64(n.faults.Jitter)))
	}
	r.lost = n.rng.Float64() < n.faults.Loss
	r.dup = n.rng.Float64() < n.faults.Dup
	return r
}

// SendRaft sends one frame, which may be lost, late, doubled or out of order.
func (e *Endpoint) SendRaft(to rpc.NodeID, frame []byte) {
	r := e.route(to)
	if r.peer == nil || r.lost || r.peer.raft == nil {
		return
	}
	e.deliver(r.peer, r.delay, func() { r.peer.raft(e.id, frame) })
	if r.dup {
		again := append([]byte(nil), frame...)
		e.deliver(r.peer, 2*r.delay+time.Millisecond, func() { r.peer.raft(e.id, again) })
	}
}

// silence is how long a caller waits for a peer that does not answer, as rpc's pings do.
const silence = 3 * time.Second

// Call sends a request. An unreachable peer is reported after a while, a broken connection as unavailable
// when the request had not left, else as ambiguous.
func (e *Endpoint) Call(ctx context.Context, to rpc.NodeID, service rpc.Service, payload []byte) ([]byte, error) {
	if to == e.id {
		return e.handle(ctx, e, service, payload)
	}
	r := e.route(to)
	if r.peer == nil {
		return nil, e.hang(ctx, fmt.Errorf("%w: %s", rpc.ErrUnavailable, to))
	}
	r.delay += e.net.lateness(e.id, service)
	if r.lost && e.flip() {
		return nil, rpc.ErrUnavailable
	}
	type answer struct {
		payload []byte
		err     error
	}
	got := make(chan answer, 1)
	var lost atomic.Bool // whether no answer will come
	lost.Store(r.lost)
	request := append([]byte(nil), payload...)
	hctx, cancel := context.WithCancel(ctx) // the values, trace context included, pass to the handler
	defer cancel()
	if !e.deliver(r.peer, r.delay, func() {
		stop := context.AfterFunc(r.peer.ctx, cancel)
		defer stop()
		out, err := r.peer.handle(hctx, e, service, request)
		if r.lost || !r.peer.reply(e, func() { got <- answer{out, err} }) {
			lost.Store(true)
		}
	}) {
		return nil, rpc.ErrUnavailable
	}
	t := time.NewTimer(silence)
	defer t.Stop()
	for {
		select {
		case a := <-got:
			return a.payload, a.err
		case <-t.C:
			// A slow answer is no broken connection: give up only when the peer cannot be reached.
			if back := r.peer.route(e.id); !lost.Load() && back.peer == e && r.peer.ctx.Err() == nil {
				t.Reset(silence)
				continue
			}
			return nil, rpc.ErrAmbiguous
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-e.ctx.Done():
			return nil, rpc.ErrAmbiguous
		}
	}
}

// reply delivers an answer. While the link is cut it is sent again and again, until whoever asked takes the connection
// for broken; it reports whether the answer left.
func (e *Endpoint) reply(to *Endpoint, f func()) bool {
	const again = 250 * time.Millisecond
	for waited := time.Duration(0); ; waited += again {
		if back := e.route(to.id); back.peer == to {
			return e.deliver(to, back.delay, f)
		}
		if waited >= silence || e.ctx.Err() != nil || to.ctx.Err() != nil {
			return false
		}
		pause(e.ctx, again)
	}
}

func (e *Endpoint) flip() bool { return e.net.random(2) == 0 }

// random returns a random number below n.
func (n *Network) random(below int64) int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.Int64N(below)
}

func (e *Endpoint) hang(ctx context.Context, err error) error {
	t := time.NewTimer(silence)
	defer t.Stop()
	select {
	case <-t.C:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-e.ctx.Done():
		return err
	}
}

func (e *Endpoint) handle(ctx context.Context, from *Endpoint, service rpc.Service, payload []byte) ([]byte, error) {
	h := e.handlers[service]
	if h == nil {
		return nil, &rpc.RemoteError{Peer: e.id, Code: rpc.CodeNoService, Text: fmt.Sprintf("no service %d", service)}
	}
	out, err := h(ctx, from.id, payload)
	if err != nil {
		return nil, &rpc.RemoteError{Peer: e.id, Code: rpc.CodeHandler, Text: err.Error()}
	}
	return out, nil
}

// OpenBulk opens a stream; the handler of the other end runs until it returns or either node goes.
func (e *Endpoint) OpenBulk(ctx context.Context, to rpc.NodeID) (ranges.BulkStream, error) {
	r := e.route(to)
	if r.peer == nil || r.peer.bulk == nil {
		return nil, e.hang(ctx, rpc.ErrUnavailable)
	}
	sctx, cancel := context.WithCancel(ctx)
	there, back := make(chan []byte, 4), make(chan []byte, 4)
	near := &bulkStream{ctx: sctx, cancel: cancel, out: there, in: back, link: func() (time.Duration, bool) { now := e.route(to); return now.delay, now.peer == r.peer }}
	far := &bulkStream{ctx: sctx, cancel: cancel, out: back, in: there, link: func() (time.Duration, bool) { back := r.peer.route(e.id); return back.delay, back.peer == e }}
	stop := context.AfterFunc(r.peer.ctx, cancel) // also when the node goes before the stream has reached it
	if !e.deliver(r.peer, r.delay, func() {
		defer stop()
		if err := r.peer.bulk(sctx, e.id, far); err != nil {
			cancel()
			return
		}
		_ = far.CloseSend()
	}) {
		cancel()
		return nil, rpc.ErrUnavailable
	}
	return near, nil
}

// bulkStream is one end of a stream in memory.
type bulkStream struct {
	ctx    context.Context
	cancel context.CancelFunc
	out    chan<- []byte
	in     <-chan []byte
	link   func() (delay time.Duration, ok bool) // how long messages from this end take, and whether they pass
	closed sync.Once
}

var errStream = errors.New("sim: stream broken")

func (s *bulkStream) Send(chunk []byte) error {
	delay, ok := s.link()
	if !ok {
		s.cancel()
	}
	pause(s.ctx, delay)
	select {
	case <-s.ctx.Done():
		return errStream
	case s.out <- append([]byte(nil), chunk...):
		return nil
	}
}

func (s *bulkStream) Recv() ([]byte, error) {
	select {
	case chunk, ok := <-s.in:
		if !ok {
			return nil, io.EOF
		}
		return chunk, nil
	default:
	}
	select {
	case chunk, ok := <-s.in:
		if !ok {
			return nil, io.EOF
		}
		return chunk, nil
	case <-s.ctx.Done():
		return nil, errStream
	}
}

func (s *bulkStream) CloseSend() error {
	s.closed.Do(func() { close(s.out) })
	return nil
}

func (s *bulkStream) Close() error {
	s.cancel()
	return nil
}

// rangesTransport makes an Endpoint a ranges.Transport.
type rangesTransport struct{ *Endpoint }

// Call sends a store's request, its method as the first byte.
func (t rangesTransport) Call(ctx context.Context, to ranges.NodeID, method ranges.Method, payload []byte) ([]byte, error) {
	return t.Endpoint.Call(ctx, to, rpc.ServiceRanges, append([]byte{byte(method)}, payload...))
}

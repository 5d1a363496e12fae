package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/meridian-db/meridian/truetime"
)

// link is the connection of one class to one peer: a loop that dials, runs a session and backs off.
type link struct {
	n       *Network
	peer    NodeID
	class   class
	ctx     context.Context
	stop    context.CancelFunc
	session atomic.Pointer[session] // nil while down
	retry   chan struct{}           // capacity 1: dial now
	via     atomic.Uint32           // the node through which the last request was relayed, zero for none (relay.go)
	noRelay atomic.Int64            // nobody could: not before this time, in nanoseconds
	mu      struct {
		sync.Mutex
		changed chan struct{} // closed and replaced when session or failing changes
		failing bool          // the last attempt failed: callers are refused instead of waiting
		err     error
		since   time.Time
	}
}

// session is one life of a link.
type session struct {
	l     *link
	ctx   context.Context // ends with it
	out   *outbox
	next  atomic.Uint64
	rtt   atomic.Int64
	heard probes
	mu    struct {
		sync.Mutex
		calls map[uint64]*call
		pings map[uint64]sentPing
		down  bool
	}
}

type sentPing struct {
	at    time.Time
	clock truetime.Interval
	ok    bool
}

// call is a request in flight.
type call struct {
	done chan struct{} // capacity 1
	resp []byte
	err  error
}

var callPool = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

func newLink(n *Network, peer NodeID, c class) *link {
	l := &link{n: n, peer: peer, class: c, retry: make(chan struct{}, 1)}
	l.ctx, l.stop = context.WithCancel(n.ctx)
	l.mu.changed = make(chan struct{})
	l.mu.since = time.Now()
	return l
}

// nudge asks for a connection attempt now.
func (l *link) nudge() {
	select {
	case l.retry <- struct{}{}:
	default:
	}
}

// While packets are lost without a trace an attempt ends by time only, and the kernel repeats its SYN ever more rarely. So
// an attempt to connect is short, and the next one is soon: a second after the network is well again the link is up.
const (
	minBackoff = 20 * time.Millisecond
	maxBackoff = 500 * time.Millisecond
)

func (l *link) run() {
	wait := minBackoff
	for l.ctx.Err() == nil {
		start := time.Now()
		err := l.connect()
		if l.ctx.Err() != nil {
			break
		}
		l.setDown(err)
		if time.Since(start) > 2*maxBackoff {
			wait = minBackoff // It had worked for a while.
		}
		t := time.NewTimer(wait/2 + rand.N(wait))
		select {
		case <-t.C:
		case <-l.retry: // it has just connected to us
		case <-l.ctx.Done():
		}
		t.Stop()
		wait = min(2*wait, maxBackoff)
	}
	l.setDown(ErrUnavailable)
}

func (l *link) setDown(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.err == nil || !l.mu.failing {
		l.mu.since = time.Now()
		if l.n.ctx.Err() == nil && l.class == classRequest {
			l.n.cfg.Logger.Info("peer is not reachable", "peer", l.peer, "err", err)
		}
	}
	was := !l.mu.failing
	l.mu.failing, l.mu.err = true, err
	close(l.mu.changed)
	l.mu.changed = make(chan struct{})
	if was && l.class == classRequest && l.n.cfg.OnPeer != nil && l.n.ctx.Err() == nil {
		l.n.cfg.OnPeer(l.peer, false)
	}
}

func (l *link) setUp(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session.Store(s)
	l.mu.failing, l.mu.err, l.mu.since = false, nil, time.Now()
	close(l.mu.changed)
	l.mu.changed = make(chan struct{})
	if l.class == classRequest {
		l.n.cfg.Logger.Info("connected to peer", "peer", l.peer)
		if l.n.cfg.OnPeer != nil {
			l.n.cfg.OnPeer(l.peer, true)
		}
	}
}

// ready waits for a session; it fails at once when the peer is known to be unreachable.
func (l *link) ready(ctx context.Context) (*session, error) {
	for {
		if s := l.session.Load(); s != nil {
			return s, nil
		}
		l.mu.Lock()
		changed, failing, err := l.mu.changed, l.mu.failing, l.mu.err
		l.mu.Unlock()
		if failing {
			return nil, fmt.Errorf("%w: %s: %w", ErrUnavailable, l.peer, err)
		}
		if l.session.Load() != nil {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %s: %w", ErrUnavailable, l.peer, ctx.Err())
		case <-l.ctx.Done():
			return nil, fmt.Errorf("%w: %s", ErrUnavailable, l.peer)
		}
	}
}

// connect dials and serves one session until it breaks.
func (l *link) connect() error {
	addr, ok := l.n.cfg.Resolve(l.peer)
	if !ok {
		return errors.New("no address is known for it")
	}
	c, err := l.n.dial(l.ctx, addr, l.peer, l.class)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	defer c.Close()
	s := &session{l: l, ctx: ctx}
	s.out = newOutbox(l.n.latency(l.peer), c)
	s.mu.calls = map[uint64]*call{}
	s.mu.pings = map[uint64]sentPing{}
	l.setUp(s)
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		defer cancel()
		s.out.run(ctx)
	}()
	s.ping()
	s.heard.restless = l.class == classRequest
	leave := l.n.pulse.join(func() {
		ping, lost := s.heard.beat(s.out.count())
		if lost {
			cancel()
		}
		if ping {
			s.ping()
		}
	})
	err = s.read(c)
	leave()
	l.session.Store(nil)
	cancel()
	s.out.close()
	wg.Wait()
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		err = errors.New("connection lost")
	}
	s.fail(err)
	return err
}

// latency returns the simulated one-way latency to a peer, nil for none.
func (n *Network) latency(peer NodeID) func() time.Duration {
	if n.cfg.Latency == nil {
		return nil
	}
	return func() time.Duration { return n.cfg.Latency(peer) }
}

// read handles what the peer sends until the connection ends.
func (s *session) read(c *conn) error {
	var f frame
	for {
		if err := c.readFrame(&f, maxFrame); err != nil {
			return err
		}
		s.heard.note()
		switch f.kind {
		case frameAnswer, frameFailure:
			c := s.take(f.id)
			if c == nil {
				continue // Its caller has given up.
			}
			if f.kind == frameAnswer {
				c.resp = f.payload
			} else {
				c.err = &RemoteError{Peer: s.l.peer, Code: f.code, Text: string(f.payload)}
			}
			c.done <- struct{}{}
		case framePong:
			s.pong(&f)
		default:
			return fmt.Errorf("%w: kind %d from an accepting node", errFrame, f.kind)
		}
	}
}

func (s *session) take(id uint64) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.mu.calls[id]
	delete(s.mu.calls, id)
	return c
}

// fail answers every call in flight: what has left may have been executed.
func (s *session) fail(err error) {
	s.mu.Lock()
	calls := s.mu.calls
	s.mu.calls, s.mu.down = nil, true
	s.mu.Unlock()
	for _, c := range calls {
		c.err = fmt.Errorf("%w: %s: %w", ErrAmbiguous, s.l.peer, err)
		c.done <- struct{}{}
	}
}

// ping asks for the peer's clock.
func (s *session) ping() {
	n := s.l.n
	p := sentPing{at: time.Now()}
	if n.cfg.Clock != nil {
		p.clock, p.ok = n.cfg.Clock.Peer()
	}
	id := s.next.Add(1)
	s.mu.Lock()
	s.mu.pings[id] = p
	s.mu.Unlock()
	s.out.put(&frame{kind: framePing, id: id})
}

func (s *session) pong(f *frame) {
	s.mu.Lock()
	p, ok := s.mu.pings[f.id]
	delete(s.mu.pings, f.id)
	s.mu.Unlock()
	if !ok {
		return
	}
	s.rtt.Store(int64(time.Since(p.at)))
	if f.valid && p.ok {
		s.l.n.cfg.Clock.ObservePeer(uint64(s.l.peer), f.clock, p.clock)
	}
}

func (l *link) status() Peer {
	p := Peer{ID: l.peer}
	p.Addr, _ = l.n.cfg.Resolve(l.peer)
	l.mu.Lock()
	p.Since = l.mu.since
	if l.mu.err != nil {
		p.Err = l.mu.err.Error()
	}
	l.mu.Unlock()
	if s := l.session.Load(); s != nil {
		p.Connected, p.RTT = true, time.Duration(s.rtt.Load())
		s.mu.Lock()
		p.InFlight = len(s.mu.calls)
		s.mu.Unlock()
	}
	return p
}

// Call sends a request and waits for its answer. payload must not change until Call returns; after ctx has
// ended early, not at all.
func (n *Network) Call(ctx context.Context, to NodeID, service Service, payload []byte) ([]byte, error) {
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(payload))
	}
	if to == n.cfg.NodeID {
		return n.callLocal(ctx, service, payload)
	}
	l := n.link(to, classRequest)
	if l == nil {
		return nil, fmt.Errorf("%w: this node is shutting down", ErrUnavailable)
	}
	if l.session.Load() == nil {
		if _, err := l.ready(ctx); err != nil {
			if resp, rerr, ok := l.relay(ctx, service, payload); ok {
				return resp, rerr
			}
			return nil, err
		}
	}
	return n.call(ctx, l, service, payload)
}

// call sends a request over its peer's own connection.
func (n *Network) call(ctx context.Context, l *link, service Service, payload []byte) ([]byte, error) {
	if l == nil {
		return nil, fmt.Errorf("%w: this node is shutting down", ErrUnavailable)
	}
	to := l.peer
	s := l.session.Load()
	if s == nil {
		return nil, fmt.Errorf("%w: %s: connection lost", ErrUnavailable, to)
	}
	f := frame{kind: frameRequest, id: s.next.Add(1), service: service, payload: payload}
	if d, ok := ctx.Deadline(); ok {
		if f.timeout = time.Until(d); f.timeout < time.Microsecond {
			return nil, context.DeadlineExceeded
		}
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() {
		f.trace = sc
	}
	c := callPool.Get().(*call)
	c.resp, c.err = nil, nil
	s.mu.Lock()
	if s.mu.down {
		s.mu.Unlock()
		callPool.Put(c)
		return nil, fmt.Errorf("%w: %s: connection lost", ErrUnavailable, to)
	}
	s.mu.calls[f.id] = c
	s.mu.Unlock()
	if err := s.out.put(&f); err != nil {
		if s.take(f.id) == nil {
			<-c.done // fail has it already.
		}
		callPool.Put(c)
		return nil, fmt.Errorf("%w: %s: %w", ErrUnavailable, to, err)
	}
	n.m.calls.Inc()
	select {
	case <-c.done:
	case <-ctx.Done():
		if s.take(f.id) != nil {
			s.out.put(&frame{kind: frameCancel, id: f.id})
			callPool.Put(c)
			return nil, ctx.Err()
		}
		<-c.done
	}
	resp, err := c.resp, c.err
	c.resp = nil
	callPool.Put(c)
	return resp, err
}

// callLocal runs a handler of this node: callers need not care who they talk to.
func (n *Network) callLocal(ctx context.Context, service Service, payload []byte) ([]byte, error) {
	h := n.handlers[service]
	if h == nil {
		return nil, &RemoteError{Peer: n.cfg.NodeID, Code: CodeNoService, Text: fmt.Sprintf("no service %d", service)}
	}
	return h(ctx, n.cfg.NodeID, payload)
}

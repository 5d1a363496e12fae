package rpc

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
)

// ProtocolVersion is what both ends of a connection must speak.
const ProtocolVersion = 2

// NodeID names a node.
type NodeID = ranges.NodeID

// Service says which handler a request is for.
type Service uint8

// The services of a node. Calls of package ranges use ServiceRanges plus their method.
const (
	ServiceTxn     Service = 1 // transaction batches
	ServiceCatalog Service = 2 // catalog lease revocation
	ServiceServer  Service = 3 // node registry, cancel requests
	ServiceNotify  Service = 4 // notifications between sessions
	ServiceRelay   Service = 5 // requests for a peer that the sender cannot reach itself (relay.go)
	ServiceRanges  Service = 64
)

// Handler answers a request. payload belongs to the handler. An error reaches the caller as a *RemoteError;
// errors that the caller must tell apart travel in the answer.
type Handler func(ctx context.Context, from NodeID, payload []byte) ([]byte, error)

// Errors of Call. Use errors.Is.
var (
	// ErrUnavailable: the peer could not be reached and the request was not executed. It may be repeated.
	ErrUnavailable = errors.New("peer is unavailable")
	// ErrAmbiguous: the connection was lost after the request left. It may have been executed.
	ErrAmbiguous = errors.New("connection to the peer was lost, the request may have been executed")
	// ErrTooLarge: the payload is larger than MaxPayload. Nothing was sent.
	ErrTooLarge = errors.New("rpc: payload too large")
)

// RemoteError is an error that the peer's handler returned.
type RemoteError struct {
	Peer NodeID
	Code uint64
	Text string
}

// Codes of a RemoteError.
const (
	CodeHandler    = 1 // The handler failed.
	CodeNoService  = 2 // The peer has no handler for the service.
	CodeOverloaded = 3 // Too many requests of this peer are being handled; it was not executed.
	CodePanic      = 4 // The handler broke; the request may have been executed in part.
)

func (e *RemoteError) Error() string { return fmt.Sprintf("%s: %s", e.Peer, e.Text) }

// Is makes a refused request an unavailable peer.
func (e *RemoteError) Is(target error) bool {
	return target == ErrUnavailable && (e.Code == CodeOverloaded || e.Code == CodeNoService)
}

// Clock is the part of truetime that peers compare.
type Clock interface {
	// Peer returns this node's interval, false when it knows nothing.
	Peer() (truetime.Interval, bool)
	// ObservePeer compares a peer's interval, asked for after sent was read.
	ObservePeer(id uint64, theirs, sent truetime.Interval)
}

// Config configures a Network. A zero field takes the default named in its comment.
type Config struct {
	NodeID    NodeID       // Required, unless SetIdentity is called before Start.
	ClusterID string       // Required likewise.
	Listener  net.Listener // Required. The Network closes it.
	// Resolve returns a peer's address. Required.
	Resolve func(NodeID) (addr string, ok bool)
	// ServerTLS and ClientTLS switch on mutual TLS. Default: none, plain TCP.
	ServerTLS, ClientTLS *tls.Config
	Clock                Clock                                                 // Default: clock intervals are not exchanged.
	Latency              func(peer NodeID) time.Duration                       // Simulated one-way latency. Default: none.
	Join                 func(ctx context.Context, req []byte) ([]byte, error) // Answers Join. Default: refuses.
	OnPeer               func(peer NodeID, up bool)                            // Told when a peer's request connection comes or goes. Must not block.
	// OnLost is told when the connection ends by which a peer sends its requests: its process is gone, or it will
	// connect again at once. Must not block.
	OnLost       func(peer NodeID)
	Raft         func(from NodeID, frame []byte) // Receives Raft frames, in order per peer. Must not block long.
	Bulk         func(ctx context.Context, from NodeID, s ranges.BulkStream) error
	Dial         func(ctx context.Context, addr string) (net.Conn, error) // Default: TCP.
	MaxHandlers  int                                                      // Requests of one peer handled at once. Default 16384.
	PingInterval time.Duration                                            // Default 500ms. A peer silent for three of them is disconnected; an accepted connection after one more.
	Logger       *slog.Logger                                             // Default: discards.
}

// Network is this node's end of the cluster's network. It implements ranges.Transport.
type Network struct {
	cfg      Config
	handlers [256]Handler // fixed before Start
	ctx      context.Context
	stop     context.CancelFunc
	wg       sync.WaitGroup
	work     workers
	pulse    pulse
	onBeat   func() // called at every beat, before the pings; must not block; nil for none
	m        metrics
	mu       struct {
		sync.Mutex
		links   map[linkKey]*link
		conns   map[net.Conn]struct{} // accepted
		closed  bool
		started bool
	}
	shaking  atomic.Int64 // connections of strangers
	reqLinks sync.Map     // NodeID -> *link: the request links again, for reading without the lock
}

type linkKey struct {
	peer  NodeID
	class class
}

// class is what a connection carries.
type class uint8

const (
	classRequest class = iota
	classRaft
	classBulk // one for each stream
	classJoin // one for each request to join
)

// linkClasses are those with one lasting connection to each peer.
var linkClasses = [...]class{classRequest, classRaft}

// New makes a Network. Register handlers, then Start.
func New(cfg Config) (*Network, error) {
	if cfg.Listener == nil || cfg.Resolve == nil {
		return nil, errors.New("rpc: Config.Listener and Config.Resolve are required")
	}
	cfg.MaxHandlers = cmp.Or(cfg.MaxHandlers, 16384)
	cfg.PingInterval = cmp.Or(cfg.PingInterval, 500*time.Millisecond)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	n := &Network{cfg: cfg}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.mu.links, n.mu.conns = map[linkKey]*link{}, map[net.Conn]struct{}{}
	n.handlers[ServiceRelay] = n.handleRelay
	n.m.init()
	return n, nil
}

// SetIdentity says who this node is, before Start.
func (n *Network) SetIdentity(id NodeID, clusterID string) {
	n.cfg.NodeID, n.cfg.ClusterID = id, clusterID
}

// NodeID returns this node's id.
func (n *Network) NodeID() NodeID { return n.cfg.NodeID }

// Register sets the handler of a service, before Start.
func (n *Network) Register(s Service, h Handler) { n.handlers[s] = h }

// SetRaft and SetBulk set the receivers of Raft frames and bulk streams, before Start.
func (n *Network) SetRaft(f func(from NodeID, frame []byte)) { n.cfg.Raft = f }

// SetBulk sets the receiver of bulk streams, before Start.
func (n *Network) SetBulk(f func(ctx context.Context, from NodeID, s ranges.BulkStream) error) {
	n.cfg.Bulk = f
}

// Start begins to accept connections.
func (n *Network) Start() error {
	if n.cfg.NodeID == 0 || n.cfg.ClusterID == "" {
		return errors.New("rpc: node id and cluster id are required")
	}
	n.mu.Lock()
	n.mu.started = true
	n.mu.Unlock()
	n.wg.Add(2)
	go func() {
		defer n.wg.Done()
		if n.onBeat != nil {
			defer n.pulse.join(n.onBeat)()
		}
		n.pulse.run(n.cfg.PingInterval, n.ctx.Done())
	}()
	go func() {
		defer n.wg.Done()
		n.accept()
	}()
	return nil
}

// maxAcceptPause bounds the time without accepting connections while the process has no file descriptors to spare.
const maxAcceptPause = time.Second

// accept serves connections until the listener is closed.
func (n *Network) accept() {
	pause := time.Millisecond
	for {
		nc, err := n.cfg.Listener.Accept()
		if err != nil {
			if n.ctx.Err() != nil {
				return
			}
			n.cfg.Logger.Error("node-to-node listener", "err", err)
			if sleepUntil(n.ctx, time.Now().Add(pause)) != nil {
				return
			}
			pause = min(2*pause, maxAcceptPause)
			continue
		}
		pause = time.Millisecond
		n.wg.Add(1)
		go func() {
			defer n.wg.Done()
			n.serve(nc)
		}()
	}
}

// track remembers an accepted connection for Close; false after it.
func (n *Network) track(nc net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.closed {
		return false
	}
	n.mu.conns[nc] = struct{}{}
	return true
}

func (n *Network) untrack(nc net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.mu.conns, nc)
}

// Close ends every connection and waits for all goroutines. Calls in flight fail.
func (n *Network) Close() {
	n.stop()
	n.cfg.Listener.Close()
	n.mu.Lock()
	n.mu.closed = true
	for nc := range n.mu.conns {
		nc.Close()
	}
	n.mu.Unlock()
	n.wg.Wait()
	n.work.wait()
}

// nudge has the connections to a peer that are down try again now: it can be reached, for it has connected to us.
func (n *Network) nudge(peer NodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range linkClasses {
		if l := n.mu.links[linkKey{peer, c}]; l != nil && l.session.Load() == nil {
			l.nudge()
		}
	}
}

// link returns the connection of a class to a peer, made on first use; nil after Close.
func (n *Network) link(peer NodeID, c class) *link {
	if c == classRequest {
		if l, ok := n.reqLinks.Load(peer); ok {
			return l.(*link)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.closed {
		return nil
	}
	key := linkKey{peer, c}
	l := n.mu.links[key]
	if l == nil {
		l = newLink(n, peer, c)
		n.mu.links[key] = l
		if c == classRequest {
			n.reqLinks.Store(peer, l)
		}
		n.wg.Add(1)
		go func() {
			defer n.wg.Done()
			l.run()
		}()
	}
	return l
}

// Connect opens the request connection to a peer, if it is not open, without waiting: clock intervals are
// exchanged with every node, whether or not there is anything to ask.
func (n *Network) Connect(peer NodeID) {
	if peer != n.cfg.NodeID {
		n.link(peer, classRequest)
	}
}

// Disconnect ends the connections to a peer that has left the cluster.
func (n *Network) Disconnect(peer NodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range linkClasses {
		if l := n.mu.links[linkKey{peer, c}]; l != nil {
			l.stop()
			delete(n.mu.links, linkKey{peer, c})
		}
	}
	n.reqLinks.Delete(peer)
}

// SendRaft implements ranges.Transport.
func (n *Network) SendRaft(to NodeID, body []byte) {
	if to == n.cfg.NodeID || len(body) > MaxPayload {
		return
	}
	l := n.link(to, classRaft)
	if l == nil {
		return
	}
	s := l.session.Load()
	if s == nil {
		n.m.raftDropped.Inc()
		return
	}
	if s.out.put(&frame{kind: frameRaft, payload: body}) != nil {
		n.m.raftDropped.Inc()
		return
	}
	n.m.raftSent.Inc()
}

// rangesTransport gives Network's Call the signature that package ranges wants.
type rangesTransport struct{ *Network }

// Call implements ranges.Transport.
func (t rangesTransport) Call(ctx context.Context, to NodeID, m ranges.Method, payload []byte) ([]byte, error) {
	return t.Network.Call(ctx, to, ServiceRanges+Service(m), payload)
}

// Ranges returns the network as package ranges sees it.
func (n *Network) Ranges() ranges.Transport { return rangesTransport{n} }

// RangesHandler is the receiving side of ranges.Transport; *ranges.Store is one.
type RangesHandler interface {
	HandleRaft(from ranges.NodeID, frame []byte)
	HandleCall(ctx context.Context, from ranges.NodeID, method ranges.Method, payload []byte) ([]byte, error)
	HandleBulk(ctx context.Context, from ranges.NodeID, stream ranges.BulkStream) error
	Beat()
}

// RegisterRanges connects a store: every method of its calls, its Raft frames and snapshots, and the beat.
func (n *Network) RegisterRanges(s RangesHandler) {
	n.onBeat = s.Beat
	n.SetRaft(s.HandleRaft)
	n.SetBulk(s.HandleBulk)
	for m := range 256 - int(ServiceRanges) {
		n.Register(ServiceRanges+Service(m), func(ctx context.Context, from NodeID, payload []byte) ([]byte, error) {
			return s.HandleCall(ctx, from, ranges.Method(m), payload)
		})
	}
}

// Peer is one row of Peers.
type Peer struct {
	ID        NodeID
	Addr      string
	Connected bool
	Since     time.Time     // of the last change
	RTT       time.Duration // of the last ping
	InFlight  int
	Err       string // why the last attempt failed
}

// Peers lists the peers this node has connections to, by id.
func (n *Network) Peers() []Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ps []Peer
	for key, l := range n.mu.links {
		if key.class == classRequest {
			ps = append(ps, l.status())
		}
	}
	sort.Slice(ps, func(i, j int) bool { return ps[i].ID < ps[j].ID })
	return ps
}

// Connected reports whether the request connection to a peer is up.
func (n *Network) Connected(peer NodeID) bool {
	l, ok := n.reqLinks.Load(peer)
	return ok && l.(*link).session.Load() != nil
}

// RTT returns the round trip of the last ping to a peer, zero when none has come back.
func (n *Network) RTT(peer NodeID) time.Duration {
	if l, ok := n.reqLinks.Load(peer); ok {
		if s := l.(*link).session.Load(); s != nil {
			return time.Duration(s.rtt.Load())
		}
	}
	return 0
}

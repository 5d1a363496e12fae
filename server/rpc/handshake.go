package rpc

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// preface begins every connection, below TLS if there is any: whatever else connects to the port is told apart by it.
const preface = "MERIDIAN"

// ALPN is the protocol that TLS between nodes names: what another port's TLS accepts is not taken for a node's.
const ALPN = "meridian"

// Bounds of the handshake.
const (
	dialTimeout  = time.Second      // of TCP's part
	helloTimeout = 3 * time.Second  // of that, TLS and ours, at the dialing end
	shakeTimeout = 10 * time.Second // at the accepting end
	maxHello     = 1 << 10
	maxRefusal   = 4 << 10
	// maxShaking bounds the connections whose peer has not said yet who it is, or joins: strangers hold no more than these.
	maxShaking = 512
)

// hello is what a dialing node says first, after the preface.
//
//	block: version  class 1B  from  to  cluster id
//
// Version and node ids are uvarints. The accepting node answers with one block, 0 and its node id, or 1 and why it refuses.
type hello struct {
	version  uint64
	class    class
	from, to NodeID
	cluster  string
}

const (
	helloWelcome = 0
	helloRefused = 1
)

var errHello = errors.New("it does not speak this version of Meridian's protocol between nodes")

func (h *hello) encode() []byte {
	b := binary.AppendUvarint(nil, h.version)
	b = append(b, byte(h.class))
	b = binary.AppendUvarint(b, uint64(h.from))
	b = binary.AppendUvarint(b, uint64(h.to))
	return append(b, h.cluster...)
}

// decodeHello reads no further than the version when it is not ours.
func decodeHello(b []byte) (hello, error) {
	var h hello
	var ok bool
	if h.version, b, ok = uvarint(b); !ok {
		return h, errHello
	}
	if h.version != ProtocolVersion {
		return h, nil
	}
	if len(b) == 0 {
		return h, errHello
	}
	h.class, b = class(b[0]), b[1:]
	for _, id := range []*NodeID{&h.from, &h.to} {
		var v uint64
		if v, b, ok = uvarint(b); !ok || v > 1<<16-1 {
			return h, errHello
		}
		*id = NodeID(v)
	}
	h.cluster = string(b)
	return h, nil
}

// dial connects to addr and greets the node there. A connection to join has no node id to look for.
func (n *Network) dial(ctx context.Context, addr string, to NodeID, cl class) (*conn, error) {
	h := hello{version: ProtocolVersion, class: cl}
	if cl != classJoin {
		h.from, h.to, h.cluster = n.cfg.NodeID, to, n.cfg.ClusterID
	}
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	dial := n.cfg.Dial
	if dial == nil {
		dial = func(ctx context.Context, a string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialTimeout, KeepAliveConfig: keepAlive}).DialContext(ctx, "tcp", a)
		}
	}
	nc, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	c := newConn(nc)
	who, err := n.greet(ctx, c, addr, h)
	switch {
	case !stop():
		err = fmt.Errorf("the node at %s did not answer the greeting: %w", addr, ctx.Err())
	case err != nil:
		err = fmt.Errorf("the node at %s: %w", addr, err)
	case cl != classJoin && who != to:
		err = fmt.Errorf("the node at %s is node %d, not %s", addr, who, to)
	default:
		c.sock.hurry()
		return c, nil
	}
	c.Close()
	return nil, err
}

// Greet connects to the node at addr as one that wants to join does, and leaves it at that: it fails where joining would
// before the node is asked. A nil client stands for plain TCP.
func Greet(ctx context.Context, addr string, client *tls.Config) error {
	c, err := (&Network{cfg: Config{ClientTLS: client}}).dial(ctx, addr, 0, classJoin)
	if err != nil {
		return err
	}
	return c.Close()
}

// keepAlive ends connections that rest and whose other end is gone. Those with frames have pings besides.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 2}

// greet is the dialing end of the handshake, on a connection without readers and TLS so far.
func (n *Network) greet(ctx context.Context, c *conn, addr string, h hello) (NodeID, error) {
	if n.cfg.ClientTLS != nil {
		cfg := n.cfg.ClientTLS.Clone()
		if host, _, err := net.SplitHostPort(addr); err == nil && cfg.ServerName == "" {
			cfg.ServerName = host
		}
		if err := c.secure(ctx, tls.Client(c.sock, cfg)); err != nil {
			return 0, err
		}
	}
	c.r = bufio.NewReaderSize(c.Conn, readBuffer)
	body := h.encode()
	// A write that fails makes the read fail, unless the peer has said before why it does not want us.
	_ = c.write(append(binary.AppendUvarint([]byte(preface), uint64(len(body))), body...))
	b, err := c.readBlock(maxRefusal)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return 0, errors.New("it closed the connection without an answer: it is no node of this version, or one with certificates while this one has none")
	case errors.Is(err, errFrame), err == nil && len(b) == 0:
		return 0, errHello
	case err != nil:
		return 0, err
	}
	switch body := b[1:]; b[0] {
	case helloRefused:
		return 0, errors.New(string(body))
	case helloWelcome:
		id, rest, ok := uvarint(body)
		if !ok || len(rest) > 0 || id > 1<<16-1 {
			return 0, errHello
		}
		return NodeID(id), nil
	}
	return 0, errHello
}

// serve lives through one accepted connection.
func (n *Network) serve(nc net.Conn) {
	if !n.track(nc) {
		nc.Close()
		return
	}
	defer n.untrack(nc)
	defer nc.Close()
	if n.shaking.Add(1) > maxShaking {
		n.shaking.Add(-1)
		n.m.turnedAway.Inc()
		return
	}
	known := sync.OnceFunc(func() { n.shaking.Add(-1) })
	defer known()
	nc.SetDeadline(time.Now().Add(shakeTimeout))
	c := newConn(nc)
	h, err := n.receive(c)
	if err == nil {
		err = n.check(&h)
	}
	if err != nil {
		n.cfg.Logger.Debug("node-to-node connection refused", "remote", nc.RemoteAddr(), "err", err)
		var r *refusal
		if errors.As(err, &r) {
			c.writeBlock(append([]byte{helloRefused}, r.text...))
		}
		c.closeAfterAnswer()
		return
	}
	if err := c.writeBlock(binary.AppendUvarint([]byte{helloWelcome}, uint64(n.cfg.NodeID))); err != nil {
		return
	}
	if h.class == classJoin { // It is no member yet, and counts as a stranger to the end.
		n.answerJoin(c)
		return
	}
	nc.SetDeadline(time.Time{})
	c.sock.hurry()
	known()
	n.nudge(h.from)
	if h.class == classBulk {
		n.acceptBulk(c, h.from)
		return
	}
	n.acceptFrames(c, h.from, h.class)
}

// refusal is an error that the dialing node is told.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

func refuse(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	return &refusal{text[:min(len(text), maxRefusal-1)]}
}

// receive is the accepting end of the handshake, up to the greeting.
func (n *Network) receive(c *conn) (hello, error) {
	if tcp, ok := c.sock.Conn.(*net.TCPConn); ok {
		tcp.SetKeepAliveConfig(keepAlive)
	}
	if n.cfg.ServerTLS != nil {
		ctx, cancel := context.WithTimeout(n.ctx, shakeTimeout)
		defer cancel()
		if err := c.secure(ctx, tls.Server(c.sock, n.cfg.ServerTLS)); err != nil {
			return hello{}, err
		}
	}
	c.r = bufio.NewReaderSize(c.Conn, readBuffer)
	var pre [len(preface)]byte
	if _, err := io.ReadFull(c.r, pre[:]); err != nil {
		return hello{}, err
	}
	if string(pre[:]) != preface {
		return hello{}, errors.New("it does not begin like a connection between nodes")
	}
	b, err := c.readBlock(maxHello)
	if err != nil {
		return hello{}, err
	}
	return decodeHello(b)
}

// check decides whether to talk to the node that says h.
func (n *Network) check(h *hello) error {
	switch {
	case h.version != ProtocolVersion:
		return refuse("node-to-node protocol version %d is not supported, this node speaks %d", h.version, ProtocolVersion)
	case h.class > classJoin:
		return refuse("connections of class %d are not known", h.class)
	case h.class == classJoin:
		return nil
	case h.cluster != n.cfg.ClusterID:
		return refuse("this node belongs to cluster %s, not to %q", n.cfg.ClusterID, h.cluster)
	case h.from == 0:
		return refuse("%d is no node id", h.from)
	case h.to != n.cfg.NodeID:
		return refuse("this is node %d, not %d", n.cfg.NodeID, h.to)
	case h.from == n.cfg.NodeID:
		return refuse("another process claims to be node %d: two processes use copies of one store, or an address is wrong", h.from)
	}
	return nil
}

package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Metadata of the handshake.
const (
	mdVersion = "meridian-version"
	mdCluster = "meridian-cluster"
	mdClass   = "meridian-class"
	mdFrom    = "meridian-from"
	mdTo      = "meridian-to"
)

const (
	serviceName = "meridian.rpc.Node"
	methodJoin  = "/" + serviceName + "/Join"
)

// serviceDesc is written by hand: with our own codec there is nothing to generate.
var serviceDesc = grpc.ServiceDesc{
	ServiceName: serviceName,
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Join", Handler: func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var req message
		if err := dec(&req); err != nil {
			return nil, err
		}
		n := srv.(*Network)
		if n.cfg.Join == nil {
			return nil, status.Error(codes.FailedPrecondition, "this node cannot let others join")
		}
		resp, err := n.cfg.Join(ctx, req.in)
		if err != nil {
			return nil, status.Error(codes.FailedPrecondition, err.Error())
		}
		return &message{out: mem.SliceBuffer(resp)}, nil
	}}},
	Streams: []grpc.StreamDesc{
		{StreamName: "Frames", ServerStreams: true, ClientStreams: true, Handler: func(srv any, st grpc.ServerStream) error { return srv.(*Network).acceptFrames(st) }},
		{StreamName: "Bulk", ServerStreams: true, ClientStreams: true, Handler: func(srv any, st grpc.ServerStream) error { return srv.(*Network).acceptBulk(st) }},
	},
}

func streamIndex(c class) int { return 0 }

func streamName(c class) string { return "/" + serviceName + "/Frames" }

const streamBulk = "/" + serviceName + "/Bulk"

// shake checks the dialing node's half of the handshake and answers with ours.
func (n *Network) shake(st grpc.ServerStream) (NodeID, error) {
	md, _ := metadata.FromIncomingContext(st.Context())
	get := func(k string) string {
		if v := md.Get(k); len(v) == 1 {
			return v[0]
		}
		return ""
	}
	refuse := func(format string, args ...any) (NodeID, error) {
		return 0, status.Errorf(codes.FailedPrecondition, format, args...)
	}
	if v := get(mdVersion); v != strconv.Itoa(ProtocolVersion) {
		return refuse("node-to-node protocol version %q is not supported, this node speaks %d", v, ProtocolVersion)
	}
	if c := get(mdCluster); c != n.cfg.ClusterID {
		return refuse("this node belongs to cluster %s, not to %q", n.cfg.ClusterID, c)
	}
	from, err := strconv.ParseUint(get(mdFrom), 10, 16)
	if err != nil || from == 0 {
		return refuse("%q is no node id", get(mdFrom))
	}
	if to := get(mdTo); to != strconv.FormatUint(uint64(n.cfg.NodeID), 10) {
		return refuse("this is node %d, not %q", n.cfg.NodeID, to)
	}
	if NodeID(from) == n.cfg.NodeID {
		return refuse("another process claims to be node %d: two processes use copies of one store, or an address is wrong", from)
	}
	n.nudge(NodeID(from))
	return NodeID(from), st.SendHeader(metadata.Pairs(mdFrom, strconv.FormatUint(uint64(n.cfg.NodeID), 10)))
}

// acceptFrames serves the accepting end of a frame stream.
func (n *Network) acceptFrames(st grpc.ServerStream) error {
	from, err := n.shake(st)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	stopAfter := context.AfterFunc(st.Context(), cancel)
	defer stopAfter()
	var latency func() time.Duration
	if n.cfg.Latency != nil {
		latency = func() time.Duration { return n.cfg.Latency(from) }
	}
	md, _ := metadata.FromIncomingContext(st.Context())
	requests := slices.Contains(md.Get(mdClass), classRequest.String())
	a := &accepted{n: n, from: from, ctx: ctx, requests: requests, out: newOutbox(latency, func(m *message) error { return st.SendMsg(m) })}
	a.mu.reqs = map[uint64]*reqContext{}
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		a.out.run(ctx)
	}()
	// It reads on a goroutine of its own: a stream ends for its reader when this function returns, and by nothing else
	// that a node could do which hears nothing.
	ended := make(chan error, 1)
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		ended <- a.read(st)
	}()
	err = a.watch(ended)
	if requests && n.cfg.OnLost != nil && n.ctx.Err() == nil {
		n.cfg.OnLost(from)
	}
	cancel()
	a.out.close()
	wg.Wait()
	if errors.Is(err, errFrame) {
		n.m.badFrames.Inc()
		n.cfg.Logger.Warn("peer sent a malformed frame", "peer", from, "err", err)
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// accepted is the accepting end of a frame stream.
type accepted struct {
	n     *Network
	from  NodeID
	ctx   context.Context
	out   *outbox
	heard hearing
	// requests tells the class of the connection.
	requests bool
	mu       struct {
		sync.Mutex
		reqs map[uint64]*reqContext
	}
}

// errSilent ends a connection whose peer does not ping any more.
var errSilent = errors.New("rpc: the peer has gone silent")

// watch returns when the reader has ended, or nothing has been read for a while: the dialing node pings. Where packets are
// lost in one direction only this is how the accepting end learns of it, whose requests are then canceled. The dialing
// end is first to give up, as a rule, and connects again.
func (a *accepted) watch(ended <-chan error) error {
	silent := make(chan struct{}, 1)
	patience := silentPings
	if !a.requests {
		patience += restBeats
	}
	defer a.n.pulse.join(func() {
		if a.heard.silentFor() > patience {
			select {
			case silent <- struct{}{}:
			default:
			}
		}
	})()
	select {
	case err := <-ended:
		return err
	case <-silent:
		return errSilent
	}
}

func (a *accepted) read(st grpc.ServerStream) error {
	var f frame
	for {
		var m message
		if err := st.RecvMsg(&m); err != nil {
			return err
		}
		a.heard.note()
		for rest := m.in; len(rest) > 0; {
			var body []byte
			var err error
			if body, rest, err = nextFrame(rest); err != nil {
				return err
			}
			if err := decodeFrame(body, &f); err != nil {
				return err
			}
			switch f.kind {
			case frameRaft:
				if a.n.cfg.Raft != nil {
					a.n.cfg.Raft(a.from, f.payload)
				}
			case frameRequest:
				a.request(&f)
			case frameCancel:
				a.mu.Lock()
				rc := a.mu.reqs[f.id]
				a.mu.Unlock()
				if rc != nil {
					rc.cancel(context.Canceled)
				}
			case framePing:
				pong := frame{kind: framePong, id: f.id}
				if a.n.cfg.Clock != nil {
					pong.clock, pong.valid = a.n.cfg.Clock.Peer()
				}
				a.out.put(&pong)
			default:
				return fmt.Errorf("%w: kind %d from a dialing node", errFrame, f.kind)
			}
		}
	}
}

func (a *accepted) request(f *frame) {
	h := a.n.handlers[f.service]
	if h == nil {
		a.failure(f.id, CodeNoService, fmt.Sprintf("no service %d", f.service))
		return
	}
	rc := &reqContext{parent: withTrace(a.ctx, f.trace)}
	if f.timeout > 0 {
		rc.deadline = time.Now().Add(f.timeout)
	}
	a.mu.Lock()
	if len(a.mu.reqs) >= a.n.cfg.MaxHandlers {
		a.mu.Unlock()
		a.failure(f.id, CodeOverloaded, "too many requests are being handled for this peer")
		return
	}
	if a.mu.reqs[f.id] != nil {
		a.mu.Unlock()
		a.failure(f.id, CodeHandler, "the request id is in use")
		return
	}
	a.mu.reqs[f.id] = rc
	a.mu.Unlock()
	a.n.work.do(job{a: a, h: h, rc: rc, id: f.id, payload: f.payload})
}

func (a *accepted) failure(id, code uint64, text string) {
	if len(text) > 4096 {
		text = text[:4096]
	}
	a.out.put(&frame{kind: frameFailure, id: id, code: code, payload: []byte(text)})
}

// job is one request on its way through a worker.
type job struct {
	a       *accepted
	h       Handler
	rc      *reqContext
	id      uint64
	payload []byte
}

func (j *job) run() {
	defer func() {
		j.a.mu.Lock()
		delete(j.a.mu.reqs, j.id)
		j.a.mu.Unlock()
		j.rc.cancel(context.Canceled)
		if p := recover(); p != nil {
			j.a.n.cfg.Logger.Error("request handler panicked", "peer", j.a.from, "panic", p, "stack", string(debug.Stack()))
			j.a.n.m.panics.Inc()
			j.a.failure(j.id, CodePanic, fmt.Sprintf("internal error: %v", p))
		}
	}()
	resp, err := j.h(j.rc, j.a.from, j.payload)
	switch {
	case err != nil && j.rc.Err() != nil:
		// Its caller has given up, or does at this moment, and knows why by its own context: an answer that won the race
		// would make a failure of this node of it.
	case err != nil:
		j.a.failure(j.id, CodeHandler, err.Error())
	case len(resp) > MaxPayload:
		j.a.failure(j.id, CodeHandler, fmt.Sprintf("the answer has %d bytes, more than %d", len(resp), MaxPayload))
	default:
		if err := j.a.out.put(&frame{kind: frameAnswer, id: j.id, payload: resp}); errors.Is(err, errOutboxFull) {
			j.a.failure(j.id, CodeHandler, err.Error())
		}
	}
}

// workers run handlers on goroutines that are kept for the next request: a handler's stack grows deep, and
// growing it anew for each request is what a fresh goroutine costs most.
type workers struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	idle []chan job // newest last
}

const maxIdleWorkers = 256

func (w *workers) do(j job) {
	w.mu.Lock()
	if n := len(w.idle); n > 0 {
		c := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		c <- j
		return
	}
	w.wg.Add(1)
	w.mu.Unlock()
	go w.run(j)
}

func (w *workers) run(j job) {
	defer w.wg.Done()
	c := make(chan job, 1)
	ctx := j.a.n.ctx
	for {
		j.run()
		j = job{}
		w.mu.Lock()
		if len(w.idle) >= maxIdleWorkers || ctx.Err() != nil {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, c)
		w.mu.Unlock()
		select {
		case j = <-c:
		case <-ctx.Done():
			// do may have chosen this worker just now.
			w.mu.Lock()
			for i := range w.idle {
				if w.idle[i] == c {
					w.idle = append(w.idle[:i], w.idle[i+1:]...)
					break
				}
			}
			w.mu.Unlock()
			select {
			case j = <-c:
			default:
				return
			}
		}
	}
}

func (w *workers) wait() { w.wg.Wait() }

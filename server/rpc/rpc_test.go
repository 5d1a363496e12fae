package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a few Networks on loopback ports that the kernel chose.
type cluster struct {
	t     testing.TB
	mu    sync.Mutex
	addrs map[NodeID]string
	nets  map[NodeID]*Network
}

func newCluster(t testing.TB) *cluster {
	return &cluster{t: t, addrs: map[NodeID]string{}, nets: map[NodeID]*Network{}}
}

func (c *cluster) add(id NodeID, edit func(*Config, *Network)) *Network {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	cfg := Config{NodeID: id, ClusterID: "c1", Listener: lis, Resolve: func(id NodeID) (string, bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		a, ok := c.addrs[id]
		return a, ok
	}}
	edit(&cfg, nil)
	n, err := New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	edit(&n.cfg, n)
	if err := n.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.addrs[id], c.nets[id] = lis.Addr().String(), n
	c.mu.Unlock()
	c.t.Cleanup(n.Close)
	return n
}

func plain(*Config, *Network) {}

func handle(s Service, h Handler) func(*Config, *Network) {
	return func(_ *Config, n *Network) {
		if n != nil {
			n.Register(s, h)
		}
	}
}

func echo(_ context.Context, from NodeID, p []byte) ([]byte, error) {
	return append([]byte(from.String()+":"), p...), nil
}

func TestCall(t *testing.T) {
	c := newCluster(t)
	a := c.add(1, plain)
	c.add(2, handle(ServiceTxn, echo))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range 20 {
				want := fmt.Sprintf("%d/%d", i, j)
				got, err := a.Call(ctx, 2, ServiceTxn, []byte(want))
				if err != nil || string(got) != "n1:"+want {
					t.Errorf("got %q, %v", got, err)
				}
			}
		}()
	}
	wg.Wait()
	big := bytes.Repeat([]byte("x"), 5<<20)
	if got, err := a.Call(ctx, 2, ServiceTxn, big); err != nil || len(got) != len(big)+3 {
		t.Errorf("5 MiB: %d bytes, %v", len(got), err)
	}
	if _, err := a.Call(ctx, 2, ServiceTxn, make([]byte, MaxPayload+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	var remote *RemoteError
	if _, err := a.Call(ctx, 2, ServiceCatalog, nil); !errors.As(err, &remote) || remote.Code != CodeNoService || !errors.Is(err, ErrUnavailable) {
		t.Errorf("no service: %v", err)
	}
	if _, err := a.Call(ctx, 9, ServiceTxn, nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("unknown node: %v", err)
	}
}

// TestDeadlineCancelTrace: the caller's deadline, cancellation and span reach the handler.
func TestDeadlineCancelTrace(t *testing.T) {
	c := newCluster(t)
	a := c.add(1, plain)
	entered, left := make(chan context.Context, 100), make(chan error, 100)
	c.add(2, handle(ServiceTxn, func(ctx context.Context, _ NodeID, _ []byte) ([]byte, error) {
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		entered <- ctx
		<-child.Done()
		left <- ctx.Err()
		return nil, ctx.Err()
	}))
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	ctx, cancel := context.WithCancel(trace.ContextWithSpanContext(t.Context(), sc))
	go func() {
		<-entered
		cancel()
	}()
	if _, err := a.Call(ctx, 2, ServiceTxn, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled call: %v", err)
	}
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("handler saw %v", err)
	}
	// A call whose time is over before it has left this node reaches no handler: the next has twice the time.
	var hctx context.Context
	for timeout := 30 * time.Millisecond; hctx == nil; timeout *= 2 {
		ctx, cancel := context.WithTimeout(trace.ContextWithSpanContext(t.Context(), sc), timeout)
		defer cancel()
		if _, err := a.Call(ctx, 2, ServiceTxn, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("late call: %v", err)
		}
		select {
		case hctx = <-entered:
		default:
		}
	}
	if got := trace.SpanContextFromContext(hctx); got.TraceID() != sc.TraceID() || got.SpanID() != sc.SpanID() || !got.IsRemote() {
		t.Errorf("handler's span is %v", got)
	}
	if err := <-left; err == nil {
		t.Error("the handler's context did not end")
	}
}

// TestLostConnection: requests in flight when the peer dies are ambiguous, later ones unavailable, and once it
// is back they succeed.
func TestLostConnection(t *testing.T) {
	c := newCluster(t)
	a := c.add(1, plain)
	entered := make(chan struct{})
	block := handle(ServiceTxn, func(ctx context.Context, _ NodeID, _ []byte) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	b := c.add(2, block)
	result := make(chan error)
	go func() {
		_, err := a.Call(context.Background(), 2, ServiceTxn, nil)
		result <- err
	}()
	<-entered
	b.Close()
	if err := <-result; !errors.Is(err, ErrAmbiguous) {
		t.Errorf("in flight: %v", err)
	}
	for {
		_, err := a.Call(context.Background(), 2, ServiceTxn, nil)
		if errors.Is(err, ErrUnavailable) {
			break
		}
		if !errors.Is(err, ErrAmbiguous) {
			t.Fatalf("after the loss: %v", err)
		}
	}
	c.add(2, handle(ServiceTxn, echo))
	l := a.link(2, classRequest)
	for {
		l.mu.Lock()
		changed := l.mu.changed
		l.mu.Unlock()
		if _, err := a.Call(context.Background(), 2, ServiceTxn, nil); err == nil {
			break
		}
		<-changed
	}
}

// TestHandshake: a node of another cluster, another node at the address, and a copy of the node itself are
// refused with a reason.
func TestHandshake(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(cfg *Config, c *cluster)
		to   NodeID
		want string
	}{
		{"other cluster", func(cfg *Config, _ *cluster) { cfg.ClusterID = "c2" }, 2, "cluster c1"},
		{"wrong node", func(cfg *Config, c *cluster) { c.addrs[3] = c.addrs[2] }, 3, "this is node 2"},
		{"same node", func(cfg *Config, c *cluster) { cfg.NodeID = 2; c.addrs[4] = c.addrs[2] }, 4, "node 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t)
			c.add(2, handle(ServiceTxn, echo))
			a := c.add(1, func(cfg *Config, n *Network) {
				if n == nil {
					tc.edit(cfg, c)
				}
			})
			_, err := a.Call(t.Context(), tc.to, ServiceTxn, nil)
			if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one about %q", err, tc.want)
			}
		})
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	c := newCluster(t)
	a := c.add(1, plain)
	c.add(2, handle(ServiceTxn, func(context.Context, NodeID, []byte) ([]byte, error) { panic("broken") }))
	var remote *RemoteError
	if _, err := a.Call(t.Context(), 2, ServiceTxn, nil); !errors.As(err, &remote) || remote.Code != CodePanic {
		t.Errorf("got %v", err)
	}
}

func TestRaftInOrder(t *testing.T) {
	c := newCluster(t)
	got := make(chan string, 100)
	a := c.add(1, plain)
	c.add(2, func(_ *Config, n *Network) {
		if n != nil {
			n.SetRaft(func(from NodeID, f []byte) { got <- from.String() + string(f) })
		}
	})
	l := a.link(2, classRaft)
	if _, err := l.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		a.SendRaft(2, []byte{byte(i)})
	}
	for i := range 100 {
		if g := <-got; g != "n1"+string([]byte{byte(i)}) {
			t.Fatalf("frame %d is %q", i, g)
		}
	}
}

func TestBulk(t *testing.T) {
	c := newCluster(t)
	a := c.add(1, plain)
	c.add(2, func(_ *Config, n *Network) {
		if n == nil {
			return
		}
		n.SetBulk(func(ctx context.Context, from NodeID, s ranges.BulkStream) error {
			var sum int
			for {
				chunk, err := s.Recv()
				if err == io.EOF {
					break
				}
				if err != nil {
					return err
				}
				if string(chunk) == "fail" {
					return errors.New("refused")
				}
				sum += len(chunk)
			}
			return s.Send(fmt.Append(nil, sum))
		})
	})
	s, err := a.OpenBulk(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, ranges.MaxBulkChunk)
	for range 20 {
		if err := s.Send(chunk); err != nil {
			t.Fatal(err)
		}
		clear(chunk)
	}
	if err := s.Send(make([]byte, ranges.MaxBulkChunk+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("oversized chunk: %v", err)
	}
	s.CloseSend()
	if got, err := s.Recv(); err != nil || string(got) != fmt.Sprint(20<<20) {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("end: %v", err)
	}
	s.Close()
	s, err = a.OpenBulk(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Send([]byte("fail"))
	if _, err := s.Recv(); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("failed stream: %v", err)
	}
}

type fakeClock struct {
	seen chan uint64
	iv   truetime.Interval
}

func (f *fakeClock) Peer() (truetime.Interval, bool) { return f.iv, true }
func (f *fakeClock) ObservePeer(id uint64, theirs, sent truetime.Interval) {
	if theirs.Overlaps(sent) {
		panic("the test's clocks do not overlap")
	}
	select {
	case f.seen <- id:
	default:
	}
}

func TestClockIntervalsAreCompared(t *testing.T) {
	c := newCluster(t)
	clock := &fakeClock{seen: make(chan uint64, 1), iv: truetime.Interval{Earliest: 1, Latest: 2}}
	a := c.add(1, func(cfg *Config, _ *Network) { cfg.Clock = clock })
	c.add(2, func(cfg *Config, _ *Network) {
		cfg.Clock = &fakeClock{iv: truetime.Interval{Earliest: 10, Latest: 20}}
	})
	a.Connect(2)
	if id := <-clock.seen; id != 2 {
		t.Errorf("observed peer %d", id)
	}
}

func TestLatency(t *testing.T) {
	c := newCluster(t)
	lat := func(cfg *Config, n *Network) {
		cfg.Latency = func(NodeID) time.Duration { return 15 * time.Millisecond }
		if n != nil {
			n.Register(ServiceTxn, echo)
		}
	}
	a := c.add(1, lat)
	c.add(2, lat)
	if _, err := a.Call(t.Context(), 2, ServiceTxn, nil); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := a.Call(t.Context(), 2, ServiceTxn, nil); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 30*time.Millisecond {
		t.Errorf("a round trip over 15 ms each way took %s", d)
	}
}

func TestJoin(t *testing.T) {
	c := newCluster(t)
	a := c.add(1, plain)
	c.add(2, func(cfg *Config, _ *Network) {
		cfg.Join = func(_ context.Context, req []byte) ([]byte, error) {
			if string(req) == "bad" {
				return nil, errors.New("not you")
			}
			return append(req, '!'), nil
		}
	})
	if got, err := a.Join(t.Context(), c.addrs[2], []byte("hi")); err != nil || string(got) != "hi!" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := a.Join(t.Context(), c.addrs[2], []byte("bad")); err == nil || !strings.Contains(err.Error(), "not you") {
		t.Errorf("refused join: %v", err)
	}
	if _, err := a.Join(t.Context(), c.addrs[1], nil); err == nil {
		t.Error("a node without a Join function answered")
	}
}

func FuzzDecodeFrame(f *testing.F) {
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: 1})
	for _, fr := range []frame{
		{kind: frameRequest, id: 300, service: 4, timeout: time.Second, trace: sc, payload: []byte("p")},
		{kind: frameRequest, id: 1}, {kind: frameAnswer, id: 1, payload: []byte("x")}, {kind: frameFailure, id: 1, code: 2, payload: []byte("t")},
		{kind: frameCancel, id: 7}, {kind: framePing, id: 7}, {kind: framePong, id: 7, valid: true, clock: truetime.Interval{Earliest: 1, Latest: 2}},
		{kind: frameRaft, payload: []byte("r")}, {kind: frameChunk, payload: []byte("c")}, {kind: frameEnd}, {kind: frameBroken, payload: []byte("b")},
	} {
		f.Add(append(fr.appendHead(nil), fr.payload...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var fr, again frame
		if decodeFrame(b, &fr) != nil {
			return
		}
		out := append(fr.appendHead(nil), fr.payload...)
		if err := decodeFrame(out, &again); err != nil {
			t.Fatalf("%x decoded, its encoding %x did not: %v", b, out, err)
		}
		if again.id != fr.id || again.kind != fr.kind || !bytes.Equal(again.payload, fr.payload) {
			t.Fatalf("%+v became %+v", fr, again)
		}
	})
}

// TestHostileFrames sends garbage after a good handshake: the stream ends with an error and the node goes on.
func TestHostileFrames(t *testing.T) {
	c := newCluster(t)
	a := c.add(1, plain)
	c.add(2, handle(ServiceTxn, echo))
	l := a.link(2, classRaft)
	for _, payload := range [][]byte{{0}, {99}, {1, 1}, {6, 1, 1}, bytes.Repeat([]byte{0xff}, 30)} {
		s, err := l.ready(t.Context())
		for errors.Is(err, ErrUnavailable) {
			l.mu.Lock()
			changed := l.mu.changed
			l.mu.Unlock()
			if s = l.session.Load(); s != nil {
				break
			}
			<-changed
			s, err = l.ready(t.Context())
		}
		var of outFrame
		of.body = payload
		s.out.mu.Lock()
		s.out.mu.q = append(s.out.mu.q, of)
		s.out.mu.Unlock()
		s.out.wake <- struct{}{}
		for l.session.Load() == s {
			l.mu.Lock()
			changed := l.mu.changed
			l.mu.Unlock()
			if l.session.Load() == s {
				<-changed
			}
		}
		if _, err := a.Call(t.Context(), 2, ServiceTxn, nil); err != nil {
			t.Fatalf("after %x: %v", payload, err)
		}
	}
}

func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			c := newCluster(b)
			a := c.add(1, plain)
			c.add(2, handle(ServiceTxn, func(_ context.Context, _ NodeID, p []byte) ([]byte, error) { return p, nil }))
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			payload := make([]byte, 200)
			if _, err := a.Call(ctx, 2, ServiceTxn, payload); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			before := cpuTime(b)
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for range callers {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for left.Add(-1) >= 0 {
						if _, err := a.Call(ctx, 2, ServiceTxn, payload); err != nil {
							b.Error(err)
							return
						}
					}
				}()
			}
			wg.Wait()
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpuTime is what the process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestOnLost: a node is told when a peer's requests can reach it no more, also of a peer that it has no connection to.
func TestOnLost(t *testing.T) {
	c := newCluster(t)
	lost := make(chan NodeID, 10)
	c.add(1, func(cfg *Config, n *Network) {
		cfg.OnLost = func(peer NodeID) { lost <- peer }
		handle(ServiceTxn, echo)(cfg, n)
	})
	b := c.add(2, plain)
	if _, err := b.Call(context.Background(), 1, ServiceTxn, nil); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if got := <-lost; got != 2 {
		t.Errorf("lost %s", got)
	}
}

// muteConn is a connection over which nothing is sent any more, and no error tells of it: packets are lost in one direction.
type muteConn struct {
	net.Conn
	mute *atomic.Bool
}

func (c muteConn) Write(b []byte) (int, error) {
	if c.mute.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// Close ends the connection here; the other end does not hear of it.
func (c muteConn) Close() error {
	if c.mute.Load() {
		return c.Conn.SetDeadline(time.Unix(1, 0))
	}
	return c.Conn.Close()
}

// TestOneWay: what a node asks arrives no more, though it hears the other. The accepting node notices by itself: it
// cancels the requests that it is still handling, whose answers nobody would act on, and says that the peer is lost. Both
// ends are connected again soon after the network is well.
func TestOneWay(t *testing.T) {
	c := newCluster(t)
	const interval = 20 * time.Millisecond
	lost, canceled, asked := make(chan NodeID, 10), make(chan struct{}), make(chan struct{})
	c.add(1, func(cfg *Config, n *Network) {
		cfg.PingInterval = interval
		cfg.OnLost = func(peer NodeID) { lost <- peer }
		handle(ServiceTxn, func(ctx context.Context, from NodeID, p []byte) ([]byte, error) {
			if len(p) > 0 {
				return p, nil
			}
			close(asked)
			<-ctx.Done()
			close(canceled)
			return nil, ctx.Err()
		})(cfg, n)
	})
	var mute atomic.Bool
	up := make(chan struct{}, 10)
	b := c.add(2, func(cfg *Config, n *Network) {
		cfg.PingInterval = interval
		cfg.OnPeer = func(_ NodeID, ok bool) {
			if ok {
				up <- struct{}{}
			}
		}
		cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { conn.Close() })
			return muteConn{conn, &mute}, nil
		}
	})
	answer := make(chan error, 1)
	go func() {
		_, err := b.Call(context.Background(), 1, ServiceTxn, nil)
		answer <- err
	}()
	<-asked
	<-up
	mute.Store(true)
	if got := <-lost; got != 2 {
		t.Errorf("lost %s", got)
	}
	<-canceled
	if err := <-answer; !errors.Is(err, ErrAmbiguous) {
		t.Errorf("the call ended with %v", err)
	}
	mute.Store(false)
	<-up
	if _, err := b.Call(context.Background(), 1, ServiceTxn, []byte("x")); err != nil {
		t.Fatal(err)
	}
}

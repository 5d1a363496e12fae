package rpc

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
)

// TestRelay: a request to a node that cannot be reached goes through one that can, if it is about transactions. The
// answer is as if it had come straight; a handler's error is, too.
func TestRelay(t *testing.T) {
	c := newCluster(t)
	var cut [4]atomic.Bool // which node cannot reach node 2
	dial := func(self NodeID) func(*Config, *Network) {
		return func(cfg *Config, n *Network) {
			cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
				c.mu.Lock()
				unreachable := cut[self].Load() && addr == c.addrs[2]
				c.mu.Unlock()
				if unreachable {
					return nil, errors.New("cut")
				}
				return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			}
		}
	}
	handler := func(ctx context.Context, from NodeID, p []byte) ([]byte, error) {
		if len(p) == 0 {
			return nil, errors.New("nothing to echo")
		}
		return append([]byte("2:"), p...), nil
	}
	c.add(2, func(cfg *Config, n *Network) {
		handle(ServiceTxn, handler)(cfg, n)
		handle(ServiceServer, handler)(cfg, n)
	})
	cut[1].Store(true)
	a := c.add(1, dial(1))
	b := c.add(3, dial(3))
	ctx := context.Background()

	// Nobody has a connection to node 2 yet.
	if _, err := a.Call(ctx, 2, ServiceTxn, []byte("x")); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("without a third node: %v", err)
	}
	if _, err := b.Call(ctx, 2, ServiceTxn, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Call(ctx, 3, ServiceTxn, []byte("x")); errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err) // it has no such service, but now there is a connection
	}
	a.link(2, classRequest).noRelay.Store(0)
	if got, err := a.Call(ctx, 2, ServiceTxn, []byte("x")); err != nil || string(got) != "2:x" {
		t.Errorf("%q %v", got, err)
	}
	var remote *RemoteError
	if _, err := a.Call(ctx, 2, ServiceTxn, nil); !errors.As(err, &remote) || remote.Peer != 2 || remote.Text != "nothing to echo" || remote.Code != CodeHandler {
		t.Errorf("an error of the handler: %v", err)
	}
	if _, err := a.Call(ctx, 2, ServiceServer, []byte("x")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("what depends on its sender: %v", err)
	}
	// Through one node, not two: a request goes round in no circle.
	if got, err := b.handleRelay(ctx, 1, []byte{4, byte(ServiceTxn), 'x'}); err != nil || len(got) != 1 || got[0] != relayUnavailable {
		t.Errorf("to a node that nobody knows: %q %v", got, err)
	}
	for _, bad := range [][]byte{nil, {0x80}, {2}, {0, byte(ServiceTxn)}, {0xff, 0xff, 0xff, 0xff, 0x0f, byte(ServiceTxn)}} {
		if _, err := b.handleRelay(ctx, 1, bad); !errors.Is(err, errFrame) {
			t.Errorf("% x: %v", bad, err)
		}
	}
}

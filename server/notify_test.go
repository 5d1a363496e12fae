package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server/rpc"
	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/truetime"
)

// notifyNet connects notifiers, with latency, and can cut nodes off.
type notifyNet struct {
	Network
	self  ranges.NodeID
	nodes map[ranges.NodeID]*notifyNode
	mu    *sync.Mutex
	rng   *rand.Rand
}

type notifyNode struct {
	n    *notifier
	cut  bool
	got  []string // what Deliver received, in order
	self ranges.NodeID

	cutTo  ranges.NodeID                                                      // cannot be called; it can call
	answer func(from ranges.NodeID, req notifyRequest) (time.Duration, error) // nil, or the fate of an answer to this node
}

func (f notifyNet) Connected(id ranges.NodeID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.nodes[id].cut && !f.nodes[f.self].cut && f.nodes[f.self].cutTo != id
}

func (f notifyNet) Call(ctx context.Context, to ranges.NodeID, _ rpc.Service, payload []byte) ([]byte, error) {
	f.mu.Lock()
	d := time.Duration(f.rng.IntN(20)+1) * time.Millisecond
	target, answer := f.nodes[to].n, f.nodes[f.self].answer
	f.mu.Unlock()
	time.Sleep(d)
	if !f.Connected(to) {
		return nil, rpc.ErrUnavailable
	}
	b, err := target.handle(ctx, f.self, payload)
	if answer != nil {
		var req notifyRequest
		if err := json.Unmarshal(payload, &req); err != nil {
			return nil, err
		}
		late, err := answer(to, req)
		if err != nil {
			return nil, err
		}
		d += late
	}
	time.Sleep(d)
	if !f.Connected(to) {
		return nil, errors.New("the answer was lost")
	}
	return b, err
}

// Nodes implements ranges.NodeLister.
func (f notifyNet) Nodes() (list []ranges.NodeInfo) {
	for id := range f.nodes {
		list = append(list, ranges.NodeInfo{ID: id, Live: true})
	}
	return list
}

// skewedClock is a node's clock, off by less than its bound.
type skewedClock struct{ off time.Duration }

const skewBound = 2 * time.Millisecond

func (c skewedClock) Now() truetime.Interval {
	t := truetime.Timestamp(time.Now().Add(c.off).UnixNano())
	return truetime.Interval{Earliest: t.Add(-skewBound), Latest: t.Add(skewBound)}
}

func (c skewedClock) WaitAfter(ctx context.Context, ts truetime.Timestamp) error {
	for !c.Now().After(ts) {
		time.Sleep(100 * time.Microsecond)
	}
	return nil
}

func (c skewedClock) Health() error { return nil }

func newNotifyNodes(t *testing.T, seed uint64) map[ranges.NodeID]*notifyNode {
	nodes := map[ranges.NodeID]*notifyNode{}
	mu, rng := &sync.Mutex{}, rand.New(rand.NewPCG(seed, 1))
	for id := ranges.NodeID(1); id <= 3; id++ {
		nodes[id] = &notifyNode{self: id}
	}
	for id, node := range nodes {
		f := notifyNet{self: id, nodes: nodes, mu: mu, rng: rng}
		clock := skewedClock{time.Duration(int(id)-2) * skewBound * 9 / 10}
		n := newNotifier(notifierConfig{Self: id, Clock: clock, Network: f, Nodes: f, Log: slog.New(slog.DiscardHandler),
			Deliver: func(list []sql.Notification) {
				mu.Lock()
				defer mu.Unlock()
				for _, n := range list {
					node.got = append(node.got, n.Payload)
				}
			}})
		mu.Lock()
		node.n = n
		mu.Unlock()
	}
	return nodes
}

// commit publishes as a session does: the commit takes a while, and its timestamp has passed when it ends.
func (n *notifyNode) commit(ts func() truetime.Timestamp, took time.Duration) <-chan struct{} {
	p := n.n.Begin()
	at := ts()
	n.n.cfg.Clock.WaitAfter(context.Background(), at)
	time.Sleep(took)
	return p.Publish(at, []sql.Notification{{Channel: "c", Payload: fmt.Sprint(int64(at))}})
}

// TestNotifyOrder: transactions commit at the same time on three nodes, some take long to say so; every node
// delivers all of them in the order of commit timestamps.
func TestNotifyOrder(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			nodes := newNotifyNodes(t, seed)
			rng := rand.New(rand.NewPCG(seed, 2))
			var last truetime.Timestamp
			var tsMu sync.Mutex
			var wg sync.WaitGroup
			for i := range 60 {
				node := nodes[ranges.NodeID(1+rng.IntN(3))]
				begin, took := time.Duration(rng.IntN(300))*time.Millisecond, time.Duration(rng.IntN(30))*time.Millisecond
				wg.Add(1)
				go func() {
					defer wg.Done()
					time.Sleep(begin + time.Duration(i))
					<-node.commit(func() truetime.Timestamp { // as leaders choose it: above now, and no two alike
						tsMu.Lock()
						defer tsMu.Unlock()
						last = max(node.n.cfg.Clock.Now().Latest, last+1)
						return last
					}, took)
				}()
			}
			wg.Wait()
			time.Sleep(5 * time.Second)
			want := strings.Join(nodes[1].got, " ")
			for id, node := range nodes {
				if len(node.got) != 60 {
					t.Errorf("seed %d: node %d was given %d of 60", seed, id, len(node.got))
				}
				for i := range node.got[1:] {
					if node.got[i] >= node.got[i+1] {
						t.Errorf("seed %d: node %d: %s before %s", seed, id, node.got[i], node.got[i+1])
					}
				}
				if got := strings.Join(node.got, " "); got != want {
					t.Errorf("seed %d: nodes 1 and %d differ", seed, id)
				}
			}
			for _, node := range nodes {
				node.n.close()
			}
		})
	}
}

// publish ends a commit now, and returns when its notification was given to the sessions of the same node.
func (n *notifyNode) publish(p sql.PendingNotify, ts truetime.Timestamp, text string) {
	<-p.Publish(ts, []sql.Notification{{Channel: "c", Payload: text}})
}

// expectNotified compares what the nodes, from the first on, were given so far.
func expectNotified(t *testing.T, nodes map[ranges.NodeID]*notifyNode, want ...string) {
	t.Helper()
	mu := nodes[1].n.cfg.Network.(notifyNet).mu
	mu.Lock()
	defer mu.Unlock()
	for i, want := range want {
		if got := strings.Join(nodes[ranges.NodeID(i+1)].got, " "); got != want {
			t.Errorf("node %d was given %q, want %q", i+1, got, want)
		}
	}
}

// TestNotifySettled: what a node has published, its sessions have been told when Settled's channel is closed.
func TestNotifySettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := newNotifyNodes(t, 1)
		defer func() {
			for _, node := range nodes {
				node.n.close()
			}
		}()
		node := nodes[2]
		if node.n.Settled() != nil {
			t.Error("something to wait for on a node that has published nothing")
		}
		for i := range 20 {
			node.commit(func() truetime.Timestamp { return node.n.cfg.Clock.Now().Latest }, 0)
			if settled := node.n.Settled(); settled != nil {
				<-settled
			}
			if len(node.got) != i+1 {
				t.Fatalf("%d of %d told", len(node.got), i+1)
			}
		}
	})
}

// TestNotifyCutOff: the others do not wait for a node that is cut off; what it missed, and what was committed through
// it, is exchanged once when it is back. A commit that never ends holds nobody up for long.
func TestNotifyCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := newNotifyNodes(t, 1)
		publish := func(id ranges.NodeID, text string) { nodes[id].publish(nodes[id].n.Begin(), 0, text) }
		cut := func(cut bool) {
			mu := nodes[1].n.cfg.Network.(notifyNet).mu
			mu.Lock()
			nodes[3].cut = cut
			mu.Unlock()
			for _, node := range nodes {
				if !cut {
					node.n.peerUp()
				}
			}
		}
		publish(1, "a")
		time.Sleep(time.Second)
		cut(true)
		publish(1, "b")
		publish(2, "c")
		publish(3, "d")
		time.Sleep(time.Second)
		expectNotified(t, nodes, "a b c", "a b c", "a d")
		cut(false)
		time.Sleep(time.Second)
		expectNotified(t, nodes, "a b c d", "a b c d", "a d b c")

		cut(true)
		stuck := nodes[2].n.Begin()
		begin := time.Now()
		time.AfterFunc(notifyPatience/2, func() { cut(false) }) // node 3 begins to wait later
		publish(1, "e")
		if waited := time.Since(begin); waited < notifyPatience || waited > notifyPatience*5/4 {
			t.Errorf("a commit under way elsewhere was waited for %v", waited)
		}
		time.Sleep(notifyPatience / 4) // node 2 has given up waiting too
		expectNotified(t, nodes, "a b c d e", "a b c d e", "a d b c")
		nodes[2].publish(stuck, stuck.(*pendingNotify).floor.Add(skewBound), "late")
		time.Sleep(time.Second)
		expectNotified(t, nodes, "a b c d e late", "a b c d e late", "a d b c late e")
		nodes[1].n.Begin().Abort()
		for _, node := range nodes {
			node.n.close()
		}
	})
}

// TestNotifyLate: a commit that took longer than the others wait for it is told to them while an answer that lacks it,
// complete up to a later time, is on its way. They ask again.
func TestNotifyLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := newNotifyNodes(t, 1)
		for _, node := range nodes {
			node.answer = func(from ranges.NodeID, req notifyRequest) (time.Duration, error) {
				if from == 2 && !req.Poke {
					return notifyPatience / 2, nil
				}
				return 0, nil
			}
		}
		stuck := nodes[2].n.Begin()
		nodes[1].n.Begin().Publish(0, []sql.Notification{{Channel: "c", Payload: "e"}})
		time.Sleep(notifyPatience * 5 / 4) // the answers have left node 2
		nodes[2].publish(stuck, stuck.(*pendingNotify).floor.Add(skewBound), "late")
		time.Sleep(10 * time.Second)
		expectNotified(t, nodes, "e late", "e late", "e late")
		for _, node := range nodes {
			node.n.close()
		}
	})
}

// TestNotifyRetries: nothing is lost when an answer is, or when a node could not tell another that heard others well.
func TestNotifyRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := newNotifyNodes(t, 1)
		mu := nodes[1].n.cfg.Network.(notifyNet).mu
		lost := 0
		nodes[3].answer = func(_ ranges.NodeID, req notifyRequest) (time.Duration, error) {
			mu.Lock()
			defer mu.Unlock()
			if lost++; lost <= 4 {
				return 0, errors.New("the answer was lost")
			}
			return 0, nil
		}
		nodes[1].publish(nodes[1].n.Begin(), 0, "a")
		time.Sleep(5 * time.Second)
		expectNotified(t, nodes, "a", "a", "a")

		mu.Lock()
		nodes[1].cutTo = 3
		mu.Unlock()
		nodes[1].publish(nodes[1].n.Begin(), 0, "b")
		time.Sleep(time.Second)
		expectNotified(t, nodes, "a b", "a b", "a")
		mu.Lock()
		nodes[1].cutTo = 0
		mu.Unlock()
		nodes[1].n.peerUp()
		time.Sleep(time.Second)
		expectNotified(t, nodes, "a b", "a b", "a b")
		for _, node := range nodes {
			node.n.close()
		}
	})
}

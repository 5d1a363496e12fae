package ranges

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meridian-db/meridian/range/placement"
	"github.com/meridian-db/meridian/truetime"
)

// setNode changes what the lister says of a node.
func (c *sim) setNode(id NodeID, f func(n *NodeInfo)) {
	c.lister.mu.Lock()
	for i := range c.lister.list {
		if c.lister.list[i].ID == id {
			f(&c.lister.list[i])
		}
	}
	c.lister.mu.Unlock()
	for _, x := range c.nodes {
		if x.store != nil {
			x.store.NodesChanged()
		}
	}
}

// placeSim has n nodes and some ranges with their voters on the first nodes.
func (c *sim) placeSim(ranges int, on ...NodeID) {
	c.startAll(c.rangesOn(ranges, on...)...)
	var all []NodeID
	for id := range c.nodes {
		all = append(all, id)
	}
	c.addNodes(all...)
}

func (c *sim) rangesOn(n int, on ...NodeID) []*Descriptor {
	descs := []*Descriptor{desc(1, "\x01", "\x03", on...)}
	for i := range n {
		start, end := fmt.Sprintf("\x03%02d", i), fmt.Sprintf("\x03%02d", i+1)
		if i == 0 {
			start = "\x03"
		}
		if i == n-1 {
			end = "\xff"
		}
		descs = append(descs, desc(RangeID(i+2), start, end, on...))
	}
	return descs
}

// loads is what the nodes hold as the leaders of the ranges see it; nil while some range has no leader.
func (c *sim) loads(ranges int) map[NodeID]NodeLoad {
	out := map[NodeID]NodeLoad{}
	led := 0
	for id, x := range c.nodes {
		if x.store == nil {
			continue
		}
		for _, r := range x.store.Replicas() {
			if r.leading.Load() && r.Lease().Until > x.clock.Now().Latest {
				led++
				l := out[id]
				l.Leaders++
				out[id] = l
				for _, rd := range r.Desc().Replicas {
					l := out[rd.Node]
					l.Replicas++
					out[rd.Node] = l
				}
			}
		}
	}
	if led != ranges {
		return nil
	}
	return out
}

func (c *sim) decisions() (all []Decision) {
	for _, x := range c.nodes {
		if x.store != nil {
			all = append(all, x.store.PlacementLog()...)
		}
	}
	return all
}

// A node that does not come back has its replicas replaced: soon where one more loss would stop the ranges, and not
// before. Nothing is replaced for a node that is back before that.
func TestPlacerReplacesLostNode(t *testing.T) {
	runSim(t, 40, 4, nil, func(c *sim) {
		c.placeSim(4, 1, 2, 3)
		c.setNode(4, func(n *NodeInfo) { n.Region = "region3" }) // in the place of 3, and nothing improves by moving
		c.mustPut(c.leader("\x03a", 5*time.Second), "\x03a", "1")
		c.until(40*time.Second, "balance", func() bool {
			l := c.loads(5)
			return l != nil && l[4].Replicas >= 2
		})
		c.crash(c.nodes[3])
		time.Sleep(8 * time.Second)
		for _, d := range c.decisions() {
			if strings.Contains(d.Reason, "down") {
				t.Fatalf("too early: %+v", d)
			}
		}
		c.restart(c.nodes[3])
		time.Sleep(20 * time.Second)
		c.crash(c.nodes[3])
		c.until(40*time.Second, "the lost replicas are replaced", func() bool {
			l := c.loads(5)
			return l != nil && l[3].Replicas == 0 && l[4].Replicas == 5
		})
		// Now the ranges survive another loss.
		c.crash(c.nodes[1])
		r := c.leader("\x03a", 10*time.Second)
		c.mustPut(r, "\x03a", "2")
		// The node that was away has nothing left, and is of use again.
		c.restart(c.nodes[3])
		c.until(60*time.Second, "replicas on the nodes that live", func() bool {
			l := c.loads(5)
			return l != nil && l[1].Replicas == 0 && l[3].Replicas == 5
		})
		if got := c.get(c.nodes[3], "\x03a", truetime.MaxTimestamp); got != "2" {
			t.Errorf("the new replica has %q", got)
		}
	})
}

// A node that says that it is going is waited for.
func TestPlacerWaitsForRestart(t *testing.T) {
	runSim(t, 41, 4, func(c *Config) { c.ReplaceAfter = time.Minute }, func(c *sim) {
		c.placeSim(3, 1, 2, 3)
		c.setNode(4, func(n *NodeInfo) { n.Region = "region3" })
		time.Sleep(15 * time.Second)
		x := c.nodes[3]
		held := c.loads(4)[3].Replicas
		if err := x.store.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second) // the placer hears of it
		c.crash(x)
		time.Sleep(45 * time.Second)
		if l := c.loads(4); l == nil || l[3].Replicas != held {
			t.Fatalf("%v: the node that drained had %d replicas", l, held)
		}
		c.until(60*time.Second, "it is given up", func() bool {
			l := c.loads(4)
			return l != nil && l[3].Replicas == 0
		})
	})
}

// A node that joins gets its share of replicas and of leaders; then all is quiet.
func TestPlacerBalances(t *testing.T) {
	const n = 20
	runSim(t, 42, 4, nil, func(c *sim) {
		began := c.nodes[1].clock.Now().Earliest
		c.placeSim(n-1, 1, 2, 3)
		for id := range c.nodes {
			c.setNode(id, func(n *NodeInfo) { n.Region = "" })
		}
		even := func(l map[NodeID]NodeLoad) bool {
			for id := range c.nodes {
				if l[id].Replicas < 14 || l[id].Replicas > 16 || l[id].Leaders < 4 || l[id].Leaders > 6 {
					return false
				}
			}
			return true
		}
		c.until(2*time.Minute, "even nodes", func() bool { return even(c.loads(n)) })
		for i := range n - 1 {
			key := fmt.Sprintf("\x03%02dx", i)
			c.mustPut(c.leader(key, 5*time.Second), key, "1")
		}
		// And once settled it stays so.
		time.Sleep(settleTime + 20*time.Second)
		before := len(c.decisions())
		time.Sleep(5 * time.Minute)
		if after := c.decisions(); len(after) != before {
			t.Errorf("%d decisions on a cluster that is even, the last: %+v", len(after)-before, after[len(after)-1])
		}
		if l := c.loads(n); !even(l) {
			t.Errorf("%+v", l)
		}
		transfers := 0
		for _, d := range c.decisions() {
			if d.Kind != placement.TransferLeader.String() {
				continue
			}
			if transfers++; d.Time.Sub(began) < originTime {
				t.Errorf("after %s, before it is known who asks: %s", d.Time.Sub(began), d.Change)
			}
		}
		if transfers == 0 {
			t.Error("no leader was moved")
		}
		// The log is still there when the node that has decided comes back.
		for _, x := range c.nodes {
			if len(x.store.PlacementLog()) > 0 {
				c.crash(x)
				c.restart(x)
				if len(x.store.PlacementLog()) == 0 {
					t.Error("nothing is left of the placement log")
				}
			}
		}
	})
}

// What a range is asked for is expected of its halves too: their leaders stay with the gateway.
func TestPlacerLeavesHalves(t *testing.T) {
	runSim(t, 48, 3, nil, func(c *sim) {
		c.placeSim(1, 1, 2, 3)
		r := c.leader("\x03", 5*time.Second)
		home := r.NodeID()
		for range 30 * 20 {
			for range 5 {
				r.CountRequest(home)
			}
			r.LoadStats().Note([]byte("\x03x"), nil, 5, 5, 0)
			time.Sleep(50 * time.Millisecond)
		}
		for _, i := range []int{8, 4, 12, 2, 6, 10, 14, 1, 3, 5, 7, 9, 11, 13, 15} {
			key := []byte(fmt.Sprintf("\x03%02d", i))
			if err := c.leader(string(key), 5*time.Second).Split(context.Background(), key); err != nil {
				t.Fatal(err)
			}
		}
		right := c.leader("\x0315", 5*time.Second)
		if rates := right.RequestRates(); rates[home] < 1 || rates[home] > 10 || right.Load() < 1 || right.Load() > 10 {
			t.Errorf("a sixteenth has %v, %.1f", rates, right.Load())
		}
		time.Sleep(originTime + 10*time.Second)
		for _, d := range c.decisions() {
			if d.Kind == placement.TransferLeader.String() {
				t.Errorf("%s: %s", d.Change, d.Reason)
			}
		}
		c.until(5*time.Minute, "even leaders when nobody asks any more", func() bool {
			l := c.loads(17)
			return l != nil && l[1].Leaders >= 5 && l[2].Leaders >= 5 && l[3].Leaders >= 5
		})
	})
}

// Decommissioning takes all replicas away, the leaders first, and the placer's own node can go like another.
func TestPlacerDecommission(t *testing.T) {
	for _, leaving := range []NodeID{1, 2, 3} {
		runSim(t, 43, 4, nil, func(c *sim) {
			c.placeSim(6, 1, 2, 3)
			c.leader("\x02", 5*time.Second)
			c.setNode(leaving, func(n *NodeInfo) { n.Decommissioning = true })
			c.until(time.Minute, "nothing is left", func() bool {
				l := c.loads(7)
				return l != nil && l[leaving] == NodeLoad{}
			})
			c.until(10*time.Second, "the placer says so", func() bool {
				for _, x := range c.nodes {
					if l, ok := x.store.NodeLoads(); ok && l[leaving].Replicas == 0 && l[4].Replicas == 7 {
						return true
					}
				}
				return false
			})
			c.until(time.Minute, "the store is empty", func() bool { return len(c.nodes[leaving].store.Replicas()) == 0 })
		})
	}
}

// policies is a PolicyReader of one's own.
type policies struct {
	mu    sync.Mutex
	spans []placement.SpanPolicy
	err   error
}

func (p *policies) ReadPolicies(context.Context) ([]placement.SpanPolicy, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spans, p.err
}

func (p *policies) set(spans ...placement.SpanPolicy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spans, p.err = spans, nil
}

// A change of policy splits ranges where it begins, moves replicas and leaders, and is known on all stores. Without
// policies that can be read, nothing is decided.
func TestPlacerPolicies(t *testing.T) {
	pols := &policies{err: errors.New("not now")}
	runSim(t, 44, 5, func(c *Config) { c.Policies = pols }, func(c *sim) {
		c.placeSim(1, 1, 2, 3)
		for id := range c.nodes {
			c.setNode(id, func(n *NodeInfo) { n.Region = []string{"eu", "us"}[id%2] })
		}
		c.mustPut(c.leader("\x03k", 5*time.Second), "\x03k", "1")
		time.Sleep(20 * time.Second)
		if d := c.decisions(); len(d) != 0 {
			t.Fatalf("decided without policies: %+v", d)
		}
		if _, known := c.nodes[1].store.PolicyAt([]byte("\x03k")); known {
			t.Fatal("policies that nobody has read are known")
		}
		pols.set(placement.SpanPolicy{Start: []byte("\x03k"), End: []byte("\x03p"), Policy: placement.Policy{Name: "home", Regions: []string{"us"}, Leaders: []string{"us"}}})
		c.until(time.Minute, "the span is at home", func() bool {
			r := c.leader("\x03k", 5*time.Second)
			d := r.Desc()
			if string(d.Start) != "\x03k" || string(d.End) != "\x03p" || len(d.Replicas) != 3 || d.Joint() {
				return false
			}
			for _, rd := range d.Replicas {
				if rd.Node%2 != 1 {
					return false
				}
			}
			return r.NodeID()%2 == 1
		})
		c.mustPut(c.leader("\x03k", 5*time.Second), "\x03k", "2")
		for id, x := range c.nodes {
			pol, known := x.store.PolicyAt([]byte("\x03l"))
			if key, _ := x.store.PolicyBoundary([]byte("\x03"), []byte("\xff")); !known || pol.Name != "home" || string(key) != "\x03k" {
				t.Errorf("%s knows %+v, boundary at %q", id, pol, key)
			}
		}
		pols.set()
		c.until(time.Minute, "it spreads again", func() bool {
			d := c.leader("\x03k", 5*time.Second).Desc()
			odd := 0
			for _, rd := range d.Replicas {
				odd += int(rd.Node % 2)
			}
			return len(d.Replicas) == 3 && odd < 3
		})
	})
}

// From one voter to three, to five, and back, while it is written to.
func TestPlacerScales(t *testing.T) {
	pols := &policies{}
	runSim(t, 45, 5, func(c *Config) { c.Policies = pols; c.ReplicationFactor = 1 }, func(c *sim) {
		c.placeSim(2, 1)
		n := 0
		for _, voters := range []int{3, 5, 3, 1} {
			pols.set(placement.SpanPolicy{Start: []byte{1}, End: []byte{0xff}, Policy: placement.Policy{Replicas: voters}})
			c.until(time.Minute, fmt.Sprintf("%d voters", voters), func() bool {
				n++
				c.put(c.leader("\x03k", 5*time.Second), "\x03k", fmt.Sprint(n))
				l := c.loads(3)
				sum := 0
				for _, x := range l {
					sum += x.Replicas
				}
				return sum == 3*voters
			})
		}
		c.mustPut(c.leader("\x03k", 5*time.Second), "\x03k", "last")
	})
}

// What was decided for a range that has changed since is not done.
func TestStaleOrder(t *testing.T) {
	runSim(t, 46, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		o := order{id: 1, generation: r.Desc().Generation, kind: placement.RemoveVoter, voters: []NodeID{r.NodeID()}}
		if err := r.Split(context.Background(), []byte("k")); err != nil {
			t.Fatal(err)
		}
		got, err := decodeOrder(o.encode())
		if err != nil {
			t.Fatal(err)
		}
		if err := r.store.carryOut(context.Background(), got); !errors.Is(err, ErrNotReady) {
			t.Errorf("an old order was answered by %v", err)
		}
		if n := len(r.Desc().Replicas); n != 3 {
			t.Errorf("%d replicas", n)
		}
	})
}

// An idle cluster's placer sends one small request to each node every few seconds.
func TestPlacerIdle(t *testing.T) {
	runSim(t, 47, 3, nil, func(c *sim) {
		c.placeSim(30, 1, 2, 3)
		c.leader("\x02", 5*time.Second)
		time.Sleep(settleTime + time.Minute)
		var calls atomic.Int32
		c.net.mu.Lock()
		c.net.refuse = func(from NodeID, m Method) bool {
			if m == methodReport || m == methodOrder {
				calls.Add(1)
			}
			return false
		}
		c.net.mu.Unlock()
		time.Sleep(time.Minute)
		if n, limit := calls.Load(), int32(2*60/5); n > limit+2 {
			t.Errorf("%d calls in a minute, more than %d", n, limit)
		}
		for _, x := range c.nodes {
			rep := x.store.report()
			rep.same = true
			if n := len(rep.encode()); n > 64 {
				t.Errorf("an answer without news has %d bytes", n)
			}
		}
	})
}

func TestReportEncoding(t *testing.T) {
	rep := &report{draining: true, policies: 7, capacity: 100, free: 50, ranges: []reportRange{
		{desc: desc(3, "a", "b", 1, 2), term: 9, bytes: 1 << 20, load: 2.5, busy: true, from: []nodeLoad{{2, 1.5}}},
		{desc: desc(4, "b", "c", 1)},
	}}
	rep.hash = rep.sum()
	got, err := decodeReport(rep.encode())
	if err != nil || got.sum() != rep.hash || got.hash != rep.hash || got.ranges[0].desc.String() != rep.ranges[0].desc.String() {
		t.Fatalf("%+v, %v", got, err)
	}
	b := rep.encode()
	for n := range b {
		if _, err := decodeReport(b[:n]); err == nil {
			t.Errorf("%d of %d bytes were decoded", n, len(b))
		}
	}
}

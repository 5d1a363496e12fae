package ranges

import (
	"fmt"
	"testing"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

func TestSingleNode(t *testing.T) {
	runSim(t, 1, 1, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1))
		r := c.leader("a", time.Second)
		for i := range 10 {
			c.mustPut(r, fmt.Sprintf("k%d", i), "v")
		}
		if got := c.get(c.nodes[1], "k3", truetime.MaxTimestamp); got != "v" {
			t.Fatal(got)
		}
	})
}

func TestThreeNodes(t *testing.T) {
	runSim(t, 1, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		start := time.Now()
		r := c.leader("a", 5*time.Second)
		t.Logf("leader %s after %s", r.NodeID(), time.Since(start))
		for i := range 100 {
			c.mustPut(r, fmt.Sprintf("k%d", i), "v")
		}
		for _, x := range c.nodes {
			c.until(time.Second, "all replicas apply", func() bool { return c.get(x, "k99", truetime.MaxTimestamp) == "v" })
		}
	})
}

// Service is back well under five seconds after a leader dies, and nothing acknowledged is lost.
func TestLeaderDies(t *testing.T) {
	runSim(t, 2, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		ts := c.mustPut(r, "k", "v1")
		time.Sleep(3 * time.Second) // quiescent
		if !r.quiesced.Load() {
			t.Fatal("an idle leader is not quiescent")
		}
		dead := c.nodes[r.NodeID()]
		c.crash(dead)
		start := time.Now()
		r2 := c.leader("a", 4*time.Second)
		t.Logf("%s leads after %s", r2.NodeID(), time.Since(start))
		ts2 := c.mustPut(r2, "k", "v2")
		if ts2 <= ts {
			t.Fatal("timestamps go backwards")
		}
		c.restart(dead)
		c.until(10*time.Second, "the restarted node catches up", func() bool {
			return c.get(dead, "k", truetime.MaxTimestamp) == "v2" && c.get(dead, "k", ts) == "v1"
		})
	})
}

// A cluster that was stopped in order serves again at once: nobody waits for leases that nobody has.
func TestCleanRestart(t *testing.T) {
	runSim(t, 12, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		ts := c.mustPut(r, "a", "1")
		restart := func() time.Duration {
			for id := NodeID(1); id <= 3; id++ {
				c.stop(c.nodes[id])
			}
			start := time.Now()
			for id := NodeID(1); id <= 3; id++ {
				c.restart(c.nodes[id])
			}
			r = c.leader("a", 10*time.Second)
			return time.Since(start)
		}
		if d := restart(); d > time.Second {
			t.Errorf("back after %s", d)
		}
		if got := c.mustPut(r, "a", "2"); got <= ts {
			t.Error("timestamps go backwards")
		}
		// With a transaction that was told its locks hold until the end of the lease, all wait for that.
		for _, x := range c.nodes {
			r, _ := x.store.Replica(1)
			r.machine.(*register).unsettled = true
		}
		until := r.Lease().Until
		if d := restart(); d < time.Second {
			t.Errorf("back after %s although a promise was out", d)
		}
		if got := c.mustPut(r, "a", "3"); got <= until {
			t.Error("wrote below the end of an earlier lease")
		}
	})
}

// TestFarewell: a leader that is closed without having handed over says that its leases are over, and the others elect
// another one at once. What it has promised beyond its end they wait for.
func TestFarewell(t *testing.T) {
	runSim(t, 5, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		ts := c.mustPut(r, "a", "1")
		successor := func() time.Duration {
			gone := c.nodes[r.NodeID()]
			c.stop(gone)
			start := time.Now()
			r = c.leader("a", 10*time.Second)
			took := time.Since(start)
			c.restart(gone)
			return took
		}
		window := c.nodes[1].store.cfg.SupportWindow
		if d := successor(); d > window/2 {
			t.Errorf("a successor after %s", d)
		}
		if got := c.mustPut(r, "a", "2"); got <= ts {
			t.Error("timestamps go backwards")
		}
		for _, x := range c.nodes {
			r, _ := x.store.Replica(1)
			r.machine.(*register).unsettled = true
		}
		until := r.Lease().Until
		successor()
		if got := c.mustPut(r, "a", "3"); got <= until {
			t.Error("wrote below the end of an earlier lease")
		}
	})
}

// TestNoLeaseAfterTheEnd: once a store has said when its last lease ends, none is used that it had not known of.
func TestNoLeaseAfterTheEnd(t *testing.T) {
	runSim(t, 5, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		end, err := r.store.endLeases()
		if err != nil {
			t.Fatal(err)
		}
		r.lease.mu.Lock()
		r.lease.frozen = false // as in a range that it has come to lead since
		r.lease.changed()
		r.lease.mu.Unlock()
		if until := r.Lease().Until; until > end {
			t.Errorf("a lease until %s after the end, %s", until, end)
		}
	})
}

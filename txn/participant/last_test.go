package participant

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// late runs f with a transaction of ranges 1 (a..) and 2 (m..) that is decided in range 1 while range 2, which has
// prepared it, hears nothing of that until f calls tell. It writes a and m.
func late(t *testing.T, f func(ctx context.Context, t *testing.T, c *cluster, cl client, tell func())) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, clusterConfig{nodes: 3, splits: []string{"m"}, delay: time.Millisecond, eps: 5 * time.Millisecond})
		defer c.close()
		deaf := true
		c.drop = func(_ ranges.NodeID, req *txnpb.BatchRequest) bool { // called under c.mu
			return deaf && (req.Kind == txnpb.Kind_RESOLVE || req.Kind == txnpb.Kind_QUERY)
		}
		cl := client{c, 1}
		time.Sleep(time.Second) // the leases are older than what is committed
		load(context.Background(), t, cl, 1, "n=0")
		x := cl.begin(2)
		x.put("a", "1")
		x.put("m", "1")
		if _, err := x.commit(context.Background()); err != nil {
			t.Fatal(err)
		}
		f(context.Background(), t, c, cl, func() {
			c.mu.Lock()
			deaf = false
			c.mu.Unlock()
		})
	})
}

// awaitValue reads key strongly until it has a value.
func awaitValue(ctx context.Context, t *testing.T, cl client, key, want string) {
	t.Helper()
	for range 1000 {
		v, _, err := cl.snapshot(ctx, key, 0)
		if err == nil && v == want {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%s never became %s", key, want)
}

// TestStrongReadAfterLateOutcome: a new leader learns that a transaction has committed which the last one had prepared.
// What was committed later than that, under the last leader, must go on being seen.
func TestStrongReadAfterLateOutcome(t *testing.T) {
	for _, handoff := range []bool{true, false} {
		late(t, func(ctx context.Context, t *testing.T, c *cluster, cl client, tell func()) {
			load(ctx, t, cl, 3, "n=1")
			g := c.groups[2]
			var locks []byte
			if handoff {
				locks = g.replicas[g.leaderNode()].m.LeaseHandoff()
			}
			g.elect(3, locks)
			tell()
			// The transaction's lock goes with its outcome.
			m := g.replicas[3].m
			for m.lead.Load().table.Unsettled() {
				time.Sleep(time.Millisecond)
			}
			v, _, err := cl.snapshot(ctx, "n", 0)
			if err != nil {
				t.Fatal(err)
			}
			mustEqual(t, "n", v, "1")
			awaitValue(ctx, t, cl, "m", "1")
		})
	}
}

// TestStrongReadAfterLapse: the outcome of a prepared transaction takes effect while the lease has run out, which then
// comes back in the same term.
func TestStrongReadAfterLapse(t *testing.T) {
	late(t, func(ctx context.Context, t *testing.T, c *cluster, cl client, tell func()) {
		g := c.groups[2]
		m := g.replicas[g.leaderNode()].m
		lapse := func(until truetime.Timestamp) {
			g.mu.Lock()
			g.until = until
			g.mu.Unlock()
		}
		logged := func() int {
			g.mu.Lock()
			defer g.mu.Unlock()
			return len(g.log)
		}
		l, before := m.lead.Load(), logged()
		tell()
		for logged() == before {
			time.Sleep(100 * time.Microsecond)
		}
		if !l.table.Unsettled() {
			t.Fatal("the outcome has been applied: the test shows nothing")
		}
		lapse(truetime.FromTime(time.Now()))
		for l.table.Unsettled() {
			time.Sleep(time.Millisecond)
		}
		lapse(truetime.MaxTimestamp - 1)
		v, _, err := cl.snapshot(ctx, "m", 0)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "m", v, "1")
	})
}

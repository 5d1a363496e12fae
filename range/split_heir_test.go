package ranges

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// A range that is split just after its lease was handed over serves on in both halves: the leader has taken over, with the
// lease, what the one before had promised, and takes it along into the right half.
func TestSplitAfterTransfer(t *testing.T) {
	runSim(t, 61, 3, func(c *Config) { c.Nodes = nil }, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "x", "1")
		to := r.NodeID()%3 + 1
		if err := r.TransferLease(context.Background(), to); err != nil {
			t.Fatal(err)
		}
		l := c.leader("a", time.Second, r.NodeID())
		last := c.mustPut(l, "x", "2")
		if err := l.Split(context.Background(), []byte("m")); err != nil {
			t.Fatal(err)
		}
		right := c.leader("x", 100*time.Millisecond)
		if right.NodeID() != to {
			t.Errorf("%s leads the right half, not %s", right.NodeID(), to)
		}
		if ts := c.mustPut(right, "x", "3"); ts <= last {
			t.Errorf("timestamps go backwards")
		}
		if ev := right.machine.(*register).events; len(ev) != 1 || ev[0] != `acquired handoff=""` {
			t.Errorf("the right half's machine was told %q", ev)
		}
	})
}

// A node that is told to go while its ranges are split hands both halves over.
func TestSplitWhileDraining(t *testing.T) {
	for i := range 20 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			runSim(t, uint64(70+i), 3, func(c *Config) { c.Nodes = nil }, func(c *sim) {
				c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
				c.net.mu.Lock()
				c.net.delay = func() time.Duration { return time.Millisecond }
				c.net.mu.Unlock()
				r := c.leader("a", 5*time.Second)
				c.mustPut(r, "x", "1")
				split := make(chan error, 1)
				go func() { split <- r.Split(context.Background(), []byte("m")) }()
				time.Sleep(time.Duration(i) * 500 * time.Microsecond)
				node := c.nodes[r.NodeID()]
				began := time.Now()
				if err := node.store.Drain(context.Background()); err != nil {
					t.Fatal(err)
				}
				if err := <-split; err != nil && !errors.Is(err, ErrNotReady) && !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrDropped) {
					var nl *NotLeaderError
					if !errors.As(err, &nl) {
						t.Fatal(err)
					}
				}
				c.stop(node)
				for _, key := range []string{"a", "x"} {
					c.mustPut(c.leader(key, 500*time.Millisecond), key, "2")
				}
				if d := time.Since(began); d > 500*time.Millisecond {
					t.Errorf("both halves serve after %s", d)
				}
			})
		})
	}
}

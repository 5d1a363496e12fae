package ranges

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/meridian-db/meridian/truetime"
)

// crashPoint ends a node's life at its n-th change of the disk once armed: a copy of the disk is taken, as a
// power failure would leave it, and from that moment on the node says nothing more.
type crashPoint struct {
	net  *simNet
	node NodeID

	mu    sync.Mutex
	armed bool
	left  int
	rnd   *rand.Rand
	clone *vfs.MemFS
}

func (p *crashPoint) wrap(fs *vfs.MemFS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.armed || p.clone != nil {
			return nil
		}
		if p.left--; p.left < 0 {
			p.net.mu.Lock()
			delete(p.net.stores, p.node)
			p.net.mu.Unlock()
			p.clone = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: p.rnd.IntN(101), RNG: p.rnd})
		}
		return nil
	}))
}

func (p *crashPoint) arm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = true
}

func (p *crashPoint) hit() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clone != nil
}

// everyCrashPoint runs a scenario again and again, with n3 crashing one disk operation later each time, until
// the scenario ends before the crash comes.
func everyCrashPoint(t *testing.T, seed uint64, tune func(c *Config), before, during func(c *sim), recovered func(c *sim) bool) {
	n := 0
	for ; ; n++ {
		reached := false
		runSim(t, seed, 3, tune, func(c *sim) {
			x := c.nodes[3]
			p := &crashPoint{net: c.net, node: 3, left: n, rnd: rand.New(rand.NewPCG(uint64(n), seed))}
			x.wrap = p.wrap
			c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
			for c.leader("a", 5*time.Second).NodeID() == 3 {
				_ = c.leader("a", 5*time.Second).TransferLease(context.Background(), 1)
				time.Sleep(50 * time.Millisecond)
			}
			before(c)
			p.arm()
			during(c)
			time.Sleep(500 * time.Millisecond)
			if reached = p.hit(); !reached {
				return
			}
			if err := x.store.Close(); err != nil {
				t.Fatal(err)
			}
			if err := x.eng.Close(); err != nil {
				t.Fatal(err)
			}
			x.wrap, x.fs = nil, p.clone
			c.restart(x)
			c.until(20*time.Second, fmt.Sprintf("the node recovers from crash point %d", n), func() bool { return recovered(c) })
			// It is a member again: with another node gone, its vote is needed.
			other := c.nodes[c.leader("a", 5*time.Second).NodeID()%2+1]
			c.stop(other)
			c.mustPut(c.leader("a", 10*time.Second), "a", "last")
			c.until(5*time.Second, "it follows", func() bool { return c.get(x, "a", truetime.MaxTimestamp) == "last" })
		})
		if !reached || t.Failed() {
			break
		}
	}
	t.Logf("%d crash points", n)
	if n < 5 {
		t.Error("too few")
	}
}

// A crash at any moment of receiving and installing a snapshot leaves the old state or the new one, and
// either leads on to the whole.
func TestSnapshotCrashPoints(t *testing.T) {
	everyCrashPoint(t, 30, func(c *Config) { c.LogTruncateBytes, c.LogKeepBytes = 4<<10, 4<<10 }, func(c *sim) {
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		time.Sleep(time.Second)
		c.net.isolate(3, true)
		for i := range 50 {
			c.mustPut(r, fmt.Sprintf("k%02d", i), string(make([]byte, 500)))
		}
		for id := NodeID(1); id <= 2; id++ {
			if err := c.nodes[id].eng.Flush(); err != nil {
				c.t.Fatal(err)
			}
		}
		c.until(10*time.Second, "the log is truncated", func() bool { return r.truncated.Load() > 30 })
	}, func(c *sim) {
		c.net.isolate(3, false)
		time.Sleep(2 * time.Second)
	}, func(c *sim) bool {
		x := c.nodes[3]
		return c.get(x, "k49", truetime.MaxTimestamp) != "<none>" && c.get(x, "k00", truetime.MaxTimestamp) != "<none>" &&
			c.get(x, "a", truetime.MaxTimestamp) == "1"
	})
}

// A crash at any moment of a split, and of what both halves do right after, loses neither half.
func TestSplitCrashPoints(t *testing.T) {
	everyCrashPoint(t, 31, nil, func(c *sim) {
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		c.mustPut(r, "x", "1")
		time.Sleep(time.Second)
	}, func(c *sim) {
		r := c.leader("a", 5*time.Second)
		if err := r.Split(context.Background(), []byte("m")); err != nil {
			c.t.Fatal(err)
		}
		c.mustPut(c.leader("x", 5*time.Second), "x", "2")
		c.mustPut(r, "a", "2")
		if err := c.nodes[3].eng.Flush(); err != nil {
			c.t.Fatal(err)
		}
		c.mustPut(c.leader("x", 5*time.Second), "x", "3")
	}, func(c *sim) bool {
		x := c.nodes[3]
		return c.get(x, "a", truetime.MaxTimestamp) == "2" && c.get(x, "x", truetime.MaxTimestamp) == "3" && len(x.store.Replicas()) == 2
	})
}

// A crash at any moment of being removed from a range, or of being made a member, is recovered from.
func TestChangeCrashPoints(t *testing.T) {
	everyCrashPoint(t, 32, nil, func(c *sim) {
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		time.Sleep(time.Second)
	}, func(c *sim) {
		r := c.leader("a", 5*time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := r.ChangeReplicas(ctx, []NodeID{1, 2}); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		_ = r.ChangeReplicas(ctx, []NodeID{1, 2, 3}) // fails where the node is down
	}, func(c *sim) bool {
		x := c.nodes[3]
		r := c.leader("a", 5*time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = r.ChangeReplicas(ctx, []NodeID{1, 2, 3})
		rd, ok := r.Desc().ReplicaOn(3)
		return ok && rd.Type == Voter && !r.Desc().Joint() && c.get(x, "a", truetime.MaxTimestamp) == "1"
	})
}

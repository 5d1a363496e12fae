package ranges

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/range/placement"
	"github.com/meridian-db/meridian/truetime"
)

// The tests of this file are about followers that are left behind: whatever has become of a snapshot, or of the replica,
// it catches up within seconds of the moment when nothing is in its way.

func shortLogs(c *Config) {
	c.Nodes, c.LogTruncateBytes, c.LogKeepBytes, c.QueueInterval = nil, 4<<10, 8<<10, 200*time.Millisecond
}

// fill writes until the log no longer reaches back to where it was.
func (c *sim) fill(key string) *Replica {
	c.t.Helper()
	r := c.leader(key, 5*time.Second)
	was := r.pos.bound()
	for i := range 60 {
		c.mustPut(c.leader(key, 5*time.Second), key, fmt.Sprintf("%d-%s", i, strings.Repeat("x", 500)))
	}
	if err := r.Engine().Flush(); err != nil {
		c.t.Fatal(err)
	}
	c.until(20*time.Second, "the log is truncated", func() bool { return r.truncated.Load() > was })
	return r
}

// same reports whether a node has what another has under a key.
func (c *sim) same(x *simNode, key string) func() bool {
	return func() bool {
		r := c.leader(key, 5*time.Second)
		return c.get(x, key, truetime.MaxTimestamp) == c.get(c.nodes[r.NodeID()], key, truetime.MaxTimestamp)
	}
}

// A snapshot is on its way to a process that ends, and nothing tells the sender: the node's next life gets another one.
func TestSnapshotToEarlierLife(t *testing.T) {
	runSim(t, 80, 3, shortLogs, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		lag := c.nodes[r.NodeID()%3+1]
		c.net.isolate(lag.id, true)
		time.Sleep(3 * time.Second)
		c.fill("a")
		var sent atomic.Int32
		c.net.mu.Lock()
		c.net.bulk = func(NodeID) error { sent.Add(1); return errLost }
		c.net.mu.Unlock()
		c.net.isolate(lag.id, false)
		c.until(10*time.Second, "a snapshot is on its way", func() bool { return sent.Load() > 0 })
		c.crash(lag)
		c.net.mu.Lock()
		c.net.bulk = nil
		c.net.mu.Unlock()
		c.restart(lag)
		c.until(5*time.Second, "it has caught up", c.same(lag, "a"))
	})
}

// The same, of a node that cannot be reached for a while, and of one that is there all the time but takes nothing.
func TestSnapshotStalls(t *testing.T) {
	for _, away := range []bool{false, true} {
		runSim(t, 81, 3, shortLogs, func(c *sim) {
			c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
			r := c.leader("a", 5*time.Second)
			lag := c.nodes[r.NodeID()%3+1]
			c.net.isolate(lag.id, true)
			time.Sleep(3 * time.Second)
			c.fill("a")
			var sent atomic.Int32
			c.net.mu.Lock()
			c.net.bulk = func(NodeID) error {
				if sent.Add(1) == 1 {
					return errLost
				}
				return nil
			}
			c.net.mu.Unlock()
			c.net.isolate(lag.id, false)
			c.until(10*time.Second, "a snapshot is on its way", func() bool { return sent.Load() > 0 })
			if !away {
				c.until(snapshotStall+5*time.Second, "it has caught up", c.same(lag, "a"))
				return
			}
			c.net.isolate(lag.id, true)
			time.Sleep(5 * time.Second)
			c.net.isolate(lag.id, false)
			c.until(5*time.Second, "it has caught up", c.same(lag, "a"))
		})
	}
}

// lead hands the lease of a key's range to a node.
func (c *sim) lead(key string, id NodeID) *Replica {
	for l := c.leader(key, 5*time.Second); ; l = c.leader(key, 5*time.Second) {
		if l.NodeID() == id {
			return l
		}
		_ = l.TransferLease(context.Background(), id)
		time.Sleep(50 * time.Millisecond)
	}
}

// A node needs a snapshot, and just then another goes, the leader, so that nothing is committed without the first. Who leads
// next has no lease before an entry of its term is committed, and sends the snapshot all the same.
func TestSnapshotBeforeLease(t *testing.T) {
	runSim(t, 92, 3, shortLogs, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		c.lead("a", 1)
		c.net.isolate(3, true)
		time.Sleep(3 * time.Second)
		c.fill("a")
		next := c.lead("a", 2)
		c.fill("a")
		c.lead("a", 1)
		c.crash(c.nodes[1])
		c.net.isolate(3, false)
		lag, _ := c.nodes[3].store.Replica(1)
		if lag.pos.bound() >= next.truncated.Load() {
			t.Fatal("the log reaches: this shows nothing")
		}
		c.mustPut(c.leader("a", 10*time.Second), "a", "1")
		c.until(5*time.Second, "it has caught up", c.same(c.nodes[3], "a"))
	})
}

// Raft takes the entries that follow a snapshot as soon as it has taken the snapshot, which may be long before it is
// installed. They are there when it is.
func TestEntriesBeforeSnapshotIsInstalled(t *testing.T) {
	runSim(t, 93, 3, shortLogs, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		c.lead("a", 1)
		c.net.isolate(3, true)
		time.Sleep(3 * time.Second)
		c.fill("a")
		lag, _ := c.nodes[3].store.Replica(1)
		install := make(chan struct{})
		lag.queue.push(applyWork{r: lag, fn: func() { <-install }})
		c.net.isolate(3, false)
		c.until(10*time.Second, "a snapshot has been taken", func() bool {
			lag.mu.Lock()
			defer lag.mu.Unlock()
			return lag.mu.installing > 0
		})
		c.lead("a", 2) // who asks what node 3 has, and sends what follows
		c.mustPut(c.leader("a", 5*time.Second), "a", "1")
		time.Sleep(time.Second)
		lag.mu.Lock()
		early := lag.mu.view.last.Index
		lag.mu.Unlock()
		close(install)
		c.until(5*time.Second, "it has caught up", c.same(c.nodes[3], "a"))
		if first := lag.truncated.Load(); early <= first {
			t.Fatalf("nothing has come after %d before it was installed: this shows nothing", first)
		}
	})
}

// The same while a change of the range waits for its entry to be committed, on a leader that has its lease.
func TestSnapshotBesideChange(t *testing.T) {
	runSim(t, 93, 3, shortLogs, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.lead("a", 1)
		c.net.isolate(3, true)
		time.Sleep(3 * time.Second)
		c.fill("a")
		c.crash(c.nodes[2])
		done := make(chan error, 1)
		go func() {
			done <- r.store.carryOut(context.Background(), order{
				id: 1, generation: r.Desc().Generation, kind: placement.SplitRange, key: []byte("m"),
			})
		}()
		c.until(time.Second, "it waits", func() bool { return r.queueBusy.Load() && r.pend.len() > 0 })
		c.net.isolate(3, false)
		c.until(10*time.Second, "it has caught up", c.same(c.nodes[3], "a"))
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A follower that can get no snapshot does not keep another from getting one.
func TestSnapshotsInTurn(t *testing.T) {
	runSim(t, 82, 5, shortLogs, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3, 4, 5))
		r := c.leader("a", 5*time.Second)
		var lag []NodeID
		for id := NodeID(1); len(lag) < 2; id++ {
			if id != r.NodeID() {
				lag = append(lag, id)
			}
		}
		c.net.mu.Lock()
		c.net.bulk = func(to NodeID) error {
			if to == lag[0] {
				return errCut
			}
			return nil
		}
		c.net.mu.Unlock()
		for _, id := range lag {
			c.net.isolate(id, true)
		}
		time.Sleep(3 * time.Second)
		c.fill("a")
		for _, id := range lag {
			c.net.isolate(id, false)
		}
		c.until(5*time.Second, "the second has caught up", c.same(c.nodes[lag[1]], "a"))
		c.net.mu.Lock()
		c.net.bulk = nil
		c.net.mu.Unlock()
		c.until(5*time.Second, "the first has caught up", c.same(c.nodes[lag[0]], "a"))
	})
}

// A node has acknowledged entries of the right half of a split. A crash undoes the split there, and when the node is back,
// a snapshot of the left half passes over it. The leader of the right half takes a replica for up to date that is gone,
// and nobody writes to that range.
func TestReplicaLostWithItsSplit(t *testing.T) {
	for _, write := range []bool{false, true} {
		runSim(t, 83, 3, shortLogs, func(c *sim) {
			c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
			r := c.leader("a", 5*time.Second)
			lag := c.nodes[r.NodeID()%3+1]
			if err := lag.eng.Flush(); err != nil {
				t.Fatal(err)
			}
			if err := r.Split(context.Background(), []byte("m")); err != nil {
				t.Fatal(err)
			}
			right := c.leader("m", 5*time.Second)
			c.mustPut(right, "m", "1")
			c.until(time.Second, "all have it", c.same(lag, "m"))
			time.Sleep(time.Second)
			c.crash(lag)
			time.Sleep(3 * time.Second)
			// A new leader of the left half does not know that the node has the split in its log.
			for third := 6 - r.NodeID() - lag.id; c.leader("a", 5*time.Second).NodeID() != third; time.Sleep(50 * time.Millisecond) {
				_ = c.leader("a", 5*time.Second).TransferLease(context.Background(), third)
			}
			c.fill("a")
			if right.truncated.Load() > initialIndex || c.leader("m", time.Second) != right {
				t.Fatal("the right half has changed: this shows nothing")
			}
			c.restart(lag)
			if _, ok := lag.store.Replica(right.ID()); ok {
				t.Fatal("the split is still there: this shows nothing")
			}
			c.until(5*time.Second, "the left half has caught up", c.same(lag, "a"))
			if write {
				c.mustPut(right, "m", "2")
			}
			c.until(10*time.Second, "the right half is there", func() bool {
				x, ok := lag.store.Replica(right.ID())
				return ok && x.AppliedIndex() == right.AppliedIndex() && c.same(lag, "m")()
			})
			// It counts: the third node may go now.
			c.crash(c.nodes[6-right.NodeID()-lag.id])
			c.mustPut(c.leader("m", 5*time.Second), "m", "3")
			c.until(5*time.Second, "no range is kept awake by that", func() bool { return c.leader("m", time.Second).quiesced.Load() })
		})
	}
}

// A node comes back and applies a split again, which takes its time. A snapshot of the right half that arrives meanwhile,
// for a replica that seems to be missing, must not make that replica a second time.
func TestSnapshotWhileSplitIsApplied(t *testing.T) {
	var right atomic.Uint64 // the range whose replica on node 3 is made slowly
	var made atomic.Int32
	runSim(t, 94, 3, func(c *Config) {
		shortLogs(c)
		c.NewMachine = func(r *Replica) Machine {
			if r.NodeID() == 3 && uint64(r.ID()) == right.Load() && made.Add(1) == 1 {
				time.Sleep(8 * time.Second)
			}
			return newRegister(r)
		}
	}, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.lead("a", 1)
		lag := c.nodes[3]
		if err := lag.eng.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := r.Split(context.Background(), []byte("m")); err != nil {
			t.Fatal(err)
		}
		half := c.lead("m", 1)
		c.mustPut(half, "m", "1")
		c.until(time.Second, "all have it", c.same(lag, "m"))
		c.crash(lag)
		right.Store(uint64(half.ID()))
		c.restart(lag)
		if _, ok := lag.store.Replica(half.ID()); ok {
			t.Fatal("the split is still there: this shows nothing")
		}
		c.mustPut(half, "m", "2")
		time.Sleep(10 * time.Second)
		if made.Load() == 0 {
			t.Fatal("the split has not been applied: this shows nothing")
		}
		c.until(5*time.Second, "it has caught up", c.same(lag, "m"))
		if n := made.Load(); n != 1 {
			t.Errorf("the replica was made %d times", n)
		}
	})
}

// A range is frozen for a merge that never comes, and the range that would have absorbed it is absorbed itself before it
// can be asked. The range serves again all the same.
func TestFateOfAbsorbedRange(t *testing.T) {
	runSim(t, 84, 3, func(c *Config) { c.Nodes = nil }, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		for _, key := range []string{"g", "m"} {
			if err := c.leader(key, 5*time.Second).Split(context.Background(), []byte(key)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		first := c.leader("a", 5*time.Second)
		left := c.leader("g", 5*time.Second)
		right := c.leader("m", 5*time.Second)
		for right.NodeID() == left.NodeID() {
			_ = right.TransferLease(context.Background(), left.NodeID()%3+1)
			right = c.leader("m", 5*time.Second)
		}
		c.net.mu.Lock()
		c.net.refuse = func(_ NodeID, m Method) bool { return m == methodMergeFate }
		c.net.mu.Unlock()
		frozen := right.Desc().clone()
		frozen.Generation++
		frozen.Frozen = &Freeze{Left: left.ID(), LeftGeneration: left.Desc().Generation}
		p, err := right.propose(context.Background(), Proposal{
			Encode: func(truetime.Timestamp) []byte { return frozen.Encode() },
		}, entryFreeze, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := first.Merge(context.Background()); err != nil {
			t.Fatal(err)
		}
		if right.Desc().Frozen == nil {
			t.Fatal("it has been asked: this shows nothing")
		}
		c.net.mu.Lock()
		c.net.refuse = nil
		c.net.mu.Unlock()
		c.mustPut(c.leader("m", 10*time.Second), "m", "2")
		// The other way: what was absorbed before is told so.
		if err := c.leader("a", time.Second).Merge(context.Background()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		ans, err := c.nodes[1].store.askFate(context.Background(), c.leader("a", time.Second), Freeze{Left: left.ID(), LeftGeneration: 1})
		if err != nil || ans != fateCanceled { // of the range itself, which nobody has absorbed
			t.Errorf("answer %d, %v", ans, err)
		}
	})
}

// A node comes back, applies a split again, and takes the leader that the left half has by now for one that the right half
// may have too, in a term which that has never had. It is the only one that can be elected there, and is.
func TestSplitAppliedAgain(t *testing.T) {
	runSim(t, 89, 3, func(c *Config) { c.Nodes = nil }, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.lead("a", 1)
		back := c.nodes[2]
		if err := back.eng.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := r.Split(context.Background(), []byte("m")); err != nil {
			t.Fatal(err)
		}
		right := c.lead("m", 3)
		for _, id := range []NodeID{3, 2, 3, 2, 1} {
			c.lead("a", id)
		}
		c.net.mu.Lock()
		c.net.cut[[2]NodeID{1, 3}], c.net.cut[[2]NodeID{3, 1}] = true, true
		c.net.mu.Unlock()
		c.mustPut(right, "m", "1") // node 1 lacks it
		c.crash(back)
		c.crash(c.nodes[3])
		c.restart(back)
		c.until(10*time.Second, "the split is there again", func() bool { _, ok := back.store.Replica(right.ID()); return ok })
		x, _ := back.store.Replica(right.ID())
		if x.mu.follow.leader != 1 || x.mu.follow.term <= x.termNow.Load() {
			t.Fatalf("it follows %+v in term %d: this shows nothing", x.mu.follow, x.termNow.Load())
		}
		if l := c.leader("m", 20*time.Second); l.NodeID() != back.id {
			t.Errorf("%s leads", l.NodeID())
		}
		if got := c.get(back, "m", truetime.MaxTimestamp); got != "1" {
			t.Errorf("the new leader has %q", got)
		}
	})
}

// halves starts three nodes, of which the first leads both halves of the range, split at "m".
func (c *sim) halves() (left, right *Replica) {
	c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
	if err := c.leader("a", 5*time.Second).Split(context.Background(), []byte("m")); err != nil {
		c.t.Fatal(err)
	}
	for _, key := range []string{"a", "x"} {
		for l := c.leader(key, 5*time.Second); l.NodeID() != 1; l = c.leader(key, 5*time.Second) {
			_ = l.TransferLease(context.Background(), 1)
		}
	}
	return c.leader("a", 5*time.Second), c.leader("x", 5*time.Second)
}

// A range absorbs its neighbour and is split there again, and a node has the log with the merge, but has not applied it, when a
// snapshot of what was split off comes: that would do away with the neighbour's replica, which the merge needs.
func TestSnapshotBeforeMerge(t *testing.T) {
	runSim(t, 91, 3, func(c *Config) { c.Nodes = nil }, func(c *sim) {
		left, right := c.halves()
		c.mustPut(right, "x", "1")
		time.Sleep(time.Second)
		lag := c.nodes[3]
		merged := left.Desc().clone()
		merged.End, merged.Generation = right.Desc().End, max(merged.Generation, right.Desc().Generation+1)+1
		c.net.mu.Lock()
		c.net.taps = []func(from, to NodeID, frame []byte){func(_, to NodeID, frame []byte) {
			if to == 3 && bytes.Contains(frame, merged.Encode()) {
				c.net.isolateLocked(3, true)
			}
		}}
		c.net.mu.Unlock()
		if err := left.Merge(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := left.Split(context.Background(), []byte("m")); err != nil {
			t.Fatal(err)
		}
		again := c.leader("x", 5*time.Second)
		if _, ok := lag.store.Replica(right.ID()); !ok || again.ID() == right.ID() {
			t.Fatal("the node knows of the merge: this shows nothing")
		}
		me, _ := again.Desc().ReplicaOn(3)
		h := snapshotHeader{rng: again.ID(), to: me.Replica, desc: again.Desc()}
		if err := lag.store.claim(h); !errors.Is(err, ErrNotReady) {
			t.Errorf("a snapshot that takes away what the merge needs: %v", err)
		}
		// A merge that came with a snapshot of the left range needs nothing.
		absorbed := left.Desc().clone()
		lagged, _ := lag.store.Replica(left.ID())
		was := lagged.desc.Swap(absorbed)
		if err := lag.store.claim(h); err != nil {
			t.Errorf("a snapshot after one of the left range: %v", err)
		}
		lag.store.unclaim(h.rng)
		lagged.desc.Store(was)
		c.net.mu.Lock()
		c.net.taps = nil
		c.net.mu.Unlock()
		c.net.isolate(3, false)
		c.until(20*time.Second, "the node has all", func() bool {
			x, ok := lag.store.Replica(again.ID())
			_, old := lag.store.Replica(right.ID())
			return ok && !old && x.AppliedIndex() == again.AppliedIndex() && lagged.Desc().Generation == left.Desc().Generation
		})
	})
}

// A node is away while both its replicas are moved elsewhere, one of the ranges absorbs the other and is split there again. When it
// is back and has a replica of the left range again, what it has of the right one is in nobody's way, and goes all the same.
func TestAbsorbedBesideLaterReplica(t *testing.T) {
	runSim(t, 92, 4, func(c *Config) { c.Nodes = nil }, func(c *sim) {
		left, right := c.halves()
		time.Sleep(time.Second)
		c.net.isolate(3, true)
		for _, r := range []*Replica{left, right} {
			if err := r.ChangeReplicas(context.Background(), []NodeID{1, 2, 4}); err != nil {
				t.Fatal(err)
			}
		}
		if err := left.Merge(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := left.Split(context.Background(), []byte("m")); err != nil {
			t.Fatal(err)
		}
		c.net.isolate(3, false)
		away := c.nodes[3].store
		c.until(20*time.Second, "node 3 has the left range again", func() bool {
			_ = left.ChangeReplicas(context.Background(), []NodeID{1, 2, 3, 4})
			x, ok := away.Replica(left.ID())
			return ok && x.Desc().Generation == left.Desc().Generation
		})
		if _, ok := away.Replica(right.ID()); !ok {
			t.Fatal("the absorbed replica is gone: this shows nothing")
		}
		c.until(time.Minute, "the absorbed replica goes", func() bool {
			_, ok := away.Replica(right.ID())
			return !ok
		})
	})
}

// listed is a cluster's nodes for stores of which none decides about placement.
type listed []NodeID

func (l listed) Nodes() (out []NodeInfo) {
	for _, id := range l {
		out = append(out, NodeInfo{ID: id, Live: true})
	}
	return out
}

// A node was away while all replicas of its range went elsewhere, so that none of those it knows of can tell. It learns from
// others that its own has been removed, or that the range has been absorbed, by nodes that are gone as well.
func TestReplicaOfStrangers(t *testing.T) {
	for _, merge := range []bool{false, true} {
		runSim(t, 95, 6, func(c *Config) { c.Nodes = listed{1, 2, 3, 4, 5, 6} }, func(c *sim) {
			c.startAll(desc(7, "\x02", "\xff", 1, 2, 3))
			if err := c.leader("a", 5*time.Second).Split(context.Background(), []byte("m")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			right := c.lead("x", 1)
			c.lead("a", 1)
			c.net.isolate(3, true)
			if merge {
				for _, key := range []string{"a", "x"} {
					if err := c.lead(key, 1).ChangeReplicas(context.Background(), []NodeID{1, 2, 4}); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.lead("a", 1).Merge(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			for _, key := range []string{"a", "x"} {
				if err := c.lead(key, 1).ChangeReplicas(context.Background(), []NodeID{1, 4, 5, 6}); err != nil {
					t.Fatal(err)
				}
				if err := c.lead(key, 4).ChangeReplicas(context.Background(), []NodeID{4, 5, 6}); err != nil {
					t.Fatal(err)
				}
				if merge {
					break // there is one range
				}
			}
			c.net.isolate(4, true) // where it was absorbed
			c.until(10*time.Second, "nodes 1 and 2 have none", func() bool {
				return len(c.nodes[1].store.Replicas())+len(c.nodes[2].store.Replicas()) == 0
			})
			if merge {
				c.stop(c.nodes[1])
				c.stop(c.nodes[2])
			}
			if _, ok := c.nodes[3].store.Replica(right.ID()); !ok {
				t.Fatal("it is gone: this shows nothing")
			}
			c.net.isolate(3, false)
			c.net.mu.Lock()
			c.net.cut[[2]NodeID{3, 4}], c.net.cut[[2]NodeID{4, 3}] = true, true
			c.net.mu.Unlock()
			c.until(time.Minute, "node 3 has none either", func() bool { return len(c.nodes[3].store.Replicas()) == 0 })
		})
	}
}

// A replica of an absorbed range is being removed, which takes a while, when the snapshot of the range that has its keys now has
// arrived. What clears the one's data leaves the other's alone.
func TestSnapshotWhileReplicaGoes(t *testing.T) {
	runSim(t, 94, 4, func(c *Config) { c.Nodes = nil }, func(c *sim) {
		var mu sync.Mutex
		var held chan struct{} // what node 3's log waits for when it is to be written
		c.nodes[3].wrap = func(fs *vfs.MemFS) vfs.FS {
			return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
				mu.Lock()
				ch := held
				mu.Unlock()
				if ch != nil && strings.Contains(op.Path, logDir) && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo) {
					<-ch
				}
				return nil
			}))
		}
		left, right := c.halves()
		c.mustPut(right, "x", "1")
		time.Sleep(time.Second)
		c.net.isolate(3, true)
		for _, r := range []*Replica{left, right} {
			if err := r.ChangeReplicas(context.Background(), []NodeID{1, 2, 4}); err != nil {
				t.Fatal(err)
			}
		}
		if err := left.Merge(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := left.Split(context.Background(), []byte("m")); err != nil {
			t.Fatal(err)
		}
		again := c.leader("x", 5*time.Second)
		arrived, go1 := make(chan struct{}), make(chan struct{})
		pieces := 0
		c.net.mu.Lock()
		c.net.pause = func(NodeID) <-chan struct{} {
			if pieces++; pieces == 2 { // the first is the header
				close(arrived)
				return go1
			}
			return nil
		}
		c.net.mu.Unlock()
		c.net.isolate(3, false)
		done := make(chan error, 1)
		go func() { done <- again.ChangeReplicas(context.Background(), []NodeID{1, 2, 3, 4}) }()
		<-arrived
		time.Sleep(100 * time.Millisecond)
		away := c.nodes[3].store
		gone, ok := away.Replica(right.ID())
		if !ok {
			t.Fatal("the absorbed replica is gone: this shows nothing")
		}
		hold := make(chan struct{})
		mu.Lock()
		held = hold
		mu.Unlock()
		gone.queue.push(applyWork{r: gone, fn: func() { away.removeReplica(gone, gone.Desc()) }})
		c.until(time.Second, "it is going", func() bool { _, ok := away.Replica(right.ID()); return !ok })
		close(go1)
		time.Sleep(200 * time.Millisecond)
		mu.Lock()
		held = nil
		mu.Unlock()
		close(hold)
		if err := <-done; err != nil {
			t.Error(err)
		}
		c.until(10*time.Second, "node 3 has the range", func() bool {
			x, ok := away.Replica(again.ID())
			return ok && x.AppliedIndex() >= again.AppliedIndex()
		})
		if got := c.get(c.nodes[3], "x", truetime.MaxTimestamp); got != "1" {
			t.Errorf("its data is gone: %q", got)
		}
	})
}

// While a snapshot arrives the follower catches up by the log in part: with a merge, which does away with a replica that
// the snapshot would have replaced, and a split, whose right half owns what was that replica's.
func TestSnapshotAfterMergeAndSplit(t *testing.T) {
	runSim(t, 85, 3, func(c *Config) { c.Nodes = nil }, func(c *sim) {
		left, right := c.halves()
		c.mustPut(right, "x", "1")
		time.Sleep(time.Second)
		lag := c.nodes[3]
		// Node 3 is cut off when the first frame with given bytes is sent to it; nothing else is, calls and votes pass.
		cutAt := func(b []byte) {
			c.net.mu.Lock()
			defer c.net.mu.Unlock()
			c.net.taps = []func(from, to NodeID, frame []byte){func(_, to NodeID, frame []byte) {
				if to == 3 && bytes.Contains(frame, b) {
					c.net.isolateLocked(3, true)
				}
			}}
		}
		merged := left.Desc().clone()
		merged.End, merged.Generation = right.Desc().End, max(merged.Generation, right.Desc().Generation+1)+1
		cutAt(merged.Encode())
		if err := left.Merge(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := left.Split(context.Background(), []byte("t")); err != nil {
			t.Fatal(err)
		}
		big := strings.Repeat("y", 200<<10) // one message of its own
		c.mustPut(left, "a", big)
		c.mustPut(left, "b", "last")
		gone, ok := lag.store.Replica(right.ID())
		if !ok {
			t.Fatal("node 3 has heard of the merge: this shows nothing")
		}
		go1 := make(chan struct{})
		pieces := 0
		c.net.mu.Lock()
		c.net.pause = func(NodeID) <-chan struct{} {
			if pieces++; pieces > 1 {
				return go1
			}
			return nil
		}
		c.net.mu.Unlock()
		// The replica on node 3 is reached by the stream, and by the log up to the large entry.
		cutAt([]byte(big[:1000]))
		rd, _ := left.Desc().ReplicaOn(3)
		c.net.isolate(3, false)
		c.net.mu.Lock()
		c.net.cut[[2]NodeID{1, 3}] = false
		c.net.mu.Unlock()
		done := make(chan error, 1)
		go func() { done <- left.sendSnapshot(context.Background(), rd) }()
		c.until(5*time.Second, "the merge and the split have come by the log", func() bool {
			_, ok := lag.store.Replica(right.ID())
			x, there := lag.store.ReplicaForKey([]byte("x"))
			return !ok && there && x.ID() != left.ID()
		})
		if !gone.removed.Load() {
			t.Fatal("the absorbed replica is still there")
		}
		close(go1)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := c.get(lag, "b", truetime.MaxTimestamp); got != "last" {
			t.Fatalf("the snapshot was not installed: %q", got)
		}
		if got := c.get(lag, "x", truetime.MaxTimestamp); got != "1" {
			t.Errorf("the right half's data is gone: %q", got)
		}
	})
}

// TestReshapeBehind: ranges split and merge while nodes crash and are cut off, with logs so short that who was away needs
// snapshots, some of which are lost. Once the faults are over every node has every range, as it is everywhere.
func TestReshapeBehind(t *testing.T) {
	seeds := chaosSeeds(t)
	if os.Getenv("RANGE_SEEDS") == "" {
		seeds = seeds[:min(3, len(seeds))]
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 43))
			runSim(t, seed, 3, shortLogs, func(s *sim) {
				c := newChaos(s, 6)
				c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
				c.leader("k0", 10*time.Second)
				splits, merges := 0, 0
				c.net.mu.Lock()
				c.net.bulk = func(NodeID) error {
					if c.net.rnd.IntN(4) == 0 {
						return errLost
					}
					return nil
				}
				c.net.mu.Unlock()
				c.run(rnd, 30*time.Second, func(stop <-chan struct{}) { c.reshape(stop, rnd, &splits, &merges) })
				c.net.mu.Lock()
				c.net.loss, c.net.delay, c.net.bulk = 0, nil, nil
				clear(c.net.cut)
				c.net.mu.Unlock()
				for _, x := range c.nodes {
					if x.store == nil {
						c.restart(x)
					}
				}
				// A stream that was lost without a trace takes a minute to be given up.
				c.until(snapshotStall+30*time.Second, "every node has every range", c.everywhere)
				for k := range c.keys {
					c.mustPut(c.leader(fmt.Sprintf("k%d", k), 10*time.Second), fmt.Sprintf("k%d", k), "end")
				}
				c.until(10*time.Second, "all replicas agree", func() bool { return c.everywhere() && c.agree() })
				if bad := c.violations(); len(bad) > 0 {
					c.dump()
					t.Fatalf("seed %d: %v", seed, bad)
				}
				c.net.mu.Lock()
				defer c.net.mu.Unlock()
				t.Logf("%d splits, %d merges, %d writes, %d snapshots", splits, merges, c.done, c.net.bulks)
			})
		})
	}
}

// reshape splits and merges, and has nodes fall behind.
func (c *chaos) reshape(stop <-chan struct{}, rnd *rand.Rand, splits, merges *int) {
	var down, cut NodeID
	var since time.Time
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rnd.IntN(400)) * time.Millisecond):
		}
		key := fmt.Sprintf("k%d", 1+rnd.IntN(c.keys-1))
		id := NodeID(rnd.IntN(3) + 1)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		switch n := rnd.IntN(20); {
		case n < 6:
			for _, r := range c.candidates(key) {
				if r.Split(ctx, []byte(key)) == nil {
					*splits++
				}
				break
			}
		case n < 11:
			for _, r := range c.candidates("k0") {
				if r.Merge(ctx) == nil {
					*merges++
				}
				break
			}
		case n < 13: // so that logs can be truncated
			c.net.mu.Lock()
			s := c.net.stores[id]
			c.net.mu.Unlock()
			if s != nil {
				_ = s.Engine().Flush()
			}
		case n < 14:
			for _, r := range c.candidates(key) {
				_ = r.TransferLease(ctx, id)
				break
			}
		case n < 15:
			c.net.mu.Lock()
			c.net.loss = float64(rnd.IntN(3)) * 0.05
			c.net.delay = func() time.Duration { return time.Duration(c.net.rnd.IntN(20)) * time.Millisecond }
			c.net.mu.Unlock()
		case down == 0 && cut == 0 && n < 18:
			since = time.Now()
			if n == 15 {
				c.net.isolate(id, true)
				cut = id
			} else {
				c.crash(c.nodes[id])
				down = id
			}
		case time.Since(since) < time.Second:
		case down != 0:
			c.restart(c.nodes[down])
			down = 0
		case cut != 0:
			c.net.isolate(cut, false)
			cut = 0
		}
		cancel()
	}
}

// everywhere reports whether all nodes hold the same ranges, applied as far.
func (c *sim) everywhere() bool {
	want := ""
	for id := NodeID(1); int(id) <= len(c.nodes); id++ {
		got := ""
		for _, r := range c.nodes[id].store.Replicas() {
			got += fmt.Sprintf("%s at %d, ", r.Desc(), r.AppliedIndex())
			if r.broken.Load() != nil || r.Desc().Frozen != nil || r.pend.len() > 0 {
				return false
			}
		}
		if want == "" {
			want = got
		}
		if got != want {
			return false
		}
	}
	return true
}

// splitWatch notes what state is there while a split is being applied.
type splitWatch struct {
	*register
	note func(r *Replica)
}

func (m splitWatch) Split(key []byte, right Machine) { m.register.Split(key, right) }
func (m splitWatch) SplitState(b *mvcc.Batch, key []byte, right RangeID) error {
	m.note(m.r)
	return nil
}

// Until a split has been applied no state counts it as applied, whatever has come before it in the same message: a crash
// at that moment must not leave a replica that has left the split out.
func TestSplitIsNotAppliedBefore(t *testing.T) {
	var before, after []uint64
	note := func(r *Replica) {
		_, a, err := readState(r.Engine(), r.id)
		if err != nil {
			t.Error(err)
		}
		before = append(before, max(a.index, r.AppliedIndex()))
	}
	runSim(t, 86, 1, func(c *Config) {
		c.Nodes = nil
		c.NewMachine = func(r *Replica) Machine { return splitWatch{newRegister(r).(*register), note} }
	}, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1))
		r := c.leader("a", 5*time.Second)
		for _, key := range []string{"x", "m", "g"} {
			c.mustPut(r, "a", key)
			if err := r.Split(context.Background(), []byte(key)); err != nil {
				t.Fatal(err)
			}
			after = append(after, r.AppliedIndex())
		}
	})
	for i := range after {
		if before[i] != after[i]-1 {
			t.Errorf("the state said %d before entry %d was applied", before[i], after[i])
		}
	}
}

// The proposer of an entry that has no effect hears of it, though nothing comes after.
func TestStaleDescriptorIsAnswered(t *testing.T) {
	runSim(t, 87, 1, func(c *Config) { c.Nodes = nil }, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1))
		r := c.leader("a", 5*time.Second)
		n := r.Desc().clone()
		n.Generation += 7
		p, err := r.propose(context.Background(), Proposal{Encode: func(truetime.Timestamp) []byte { return n.Encode() }}, entryThaw, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := p.Wait(ctx); !errors.Is(err, ErrDropped) {
			t.Errorf("its proposer was told %v", err)
		}
	})
}

// Snapshots leave at the configured rate, all of a store together.
func TestSnapshotRate(t *testing.T) {
	runSim(t, 88, 4, func(c *Config) { c.Nodes, c.SnapshotRate = nil, 256<<10 }, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		if err := c.leader("a", 5*time.Second).Split(context.Background(), []byte("m")); err != nil {
			t.Fatal(err)
		}
		big := make([]byte, 2<<20)
		rng := rand.NewChaCha8([32]byte{})
		_, _ = rng.Read(big)
		for _, key := range []string{"a", "m"} {
			for l := c.leader(key, 5*time.Second); l.NodeID() != 1; l = c.leader(key, 5*time.Second) {
				_ = l.TransferLease(context.Background(), 1)
			}
			c.mustPut(c.leader(key, 5*time.Second), key, string(big))
		}
		start := time.Now()
		done := make(chan error, 2)
		for _, key := range []string{"a", "m"} {
			go func() { done <- c.leader(key, time.Second).ChangeReplicas(context.Background(), []NodeID{1, 2, 3, 4}) }()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		// 4 MiB at 256 KiB a second.
		if d := time.Since(start); d < 15*time.Second || d > 20*time.Second {
			t.Errorf("it took %s", d)
		}
	})
}

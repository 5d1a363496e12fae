package ranges

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meridian-db/meridian/range/placement"
	"github.com/meridian-db/meridian/truetime"
)

// mergeNow has the range of a absorb the one of x, which it tries until it works.
func (c *sim) mergeNow(within time.Duration) {
	c.t.Helper()
	var err error
	c.until(within, "the ranges are merged", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		r := c.leader("a", 10*time.Second)
		if r.Desc().Contains([]byte("x")) {
			return true
		}
		err = r.Merge(ctx)
		return err == nil
	})
}

// writes puts to both sides of m until stop is closed, and returns what was acknowledged.
func (c *sim) writes(rng *rand.Rand, stop <-chan struct{}) (acked func() map[string]string) {
	done := make(chan struct{})
	out := map[string]string{}
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					done <- struct{}{}
					return
				default:
				}
				key := fmt.Sprintf("%c%d-%d", "ax"[w%2], w, i)
				value := fmt.Sprint(i)
				for {
					r := c.anyLeader(key)
					if r != nil {
						ctx, cancel := context.WithTimeout(context.Background(), time.Second)
						p, err := r.Propose(ctx, Proposal{Timed: true, Start: []byte(key), Encode: func(ts truetime.Timestamp) []byte {
							return encodePut(ts, key, value)
						}})
						if err == nil {
							_, err = p.Wait(ctx)
						}
						cancel()
						if err == nil {
							c.mu.Lock()
							out[key] = value
							c.mu.Unlock()
							break
						}
						if !errors.Is(err, ErrRangeKeyMismatch) {
							time.Sleep(time.Millisecond)
						}
					}
					time.Sleep(time.Millisecond)
					select {
					case <-stop:
						done <- struct{}{}
						return
					default:
					}
				}
				time.Sleep(time.Duration(500+i%7*500) * time.Microsecond)
			}
		}()
	}
	return func() map[string]string {
		for range 4 {
			<-done
		}
		return out
	}
}

// anyLeader returns a replica with a lease on key, nil when there is none now.
func (c *sim) anyLeader(key string) *Replica {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.nodes {
		if x.store == nil {
			continue
		}
		if r, ok := x.store.ReplicaForKey([]byte(key)); ok && r.Lease().Until > x.clock.Now().Latest {
			return r
		}
	}
	return nil
}

// lost counts the acknowledged writes that some node does not have.
func (c *sim) lost(acked map[string]string) int {
	n := 0
	for key, value := range acked {
		for _, x := range c.nodes {
			if c.get(x, key, truetime.MaxTimestamp) != value {
				n++
				break
			}
		}
	}
	return n
}

func mergesUnderWrites(t *testing.T, seed uint64, tune func(c *Config)) (lost int) {
	runSim(t, seed, 3, func(c *Config) {
		c.Nodes = nil
		if tune != nil {
			tune(c)
		}
	}, func(c *sim) {
		c.net.delay = func() time.Duration { return time.Duration(c.net.rnd.IntN(3000)) * time.Microsecond }
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		c.leader("a", 5*time.Second)
		stop := make(chan struct{})
		acked := c.writes(rand.New(rand.NewPCG(seed, 5)), stop)
		for range 8 {
			c.until(10*time.Second, "split", func() bool {
				return c.leader("m", 5*time.Second).Split(context.Background(), []byte("m")) == nil
			})
			c.leader("x", 5*time.Second)
			time.Sleep(20 * time.Millisecond)
			c.mergeNow(20 * time.Second)
			time.Sleep(20 * time.Millisecond)
		}
		close(stop)
		out := acked()
		time.Sleep(3 * time.Second)
		if len(out) < 200 {
			t.Fatalf("only %d writes", len(out))
		}
		lost = c.lost(out)
	})
	return lost
}

// No write is lost when ranges are merged under load.
func TestMergeUnderWrites(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		if n := mergesUnderWrites(t, seed, nil); n > 0 {
			t.Errorf("seed %d: %d writes are lost", seed, n)
		}
	}
}

// Without the freeze some are.
func TestMergeFindsMissingFreeze(t *testing.T) {
	for seed := uint64(1); seed <= 10; seed++ {
		if n := mergesUnderWrites(t, seed, func(c *Config) { c.TestNoFreeze = true }); n > 0 {
			return
		}
	}
	t.Error("the right range was not frozen and no write was lost")
}

// What a leader of the right range has promised to readers binds the merged range (I5), also when its clock is ahead.
func TestMergeKeepsPromises(t *testing.T) {
	runSim(t, 3, 3, func(c *Config) { c.Nodes = nil }, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		if err := c.leader("a", 5*time.Second).Split(context.Background(), []byte("m")); err != nil {
			t.Fatal(err)
		}
		left := c.leader("a", 5*time.Second)
		r := c.leader("x", 5*time.Second)
		promised := c.nodes[r.NodeID()].clock.Now().Latest.Add(500 * time.Millisecond)
		c.until(5*time.Second, "promise", func() bool { return r.BumpFloor(promised) == nil })
		if err := left.Merge(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := r.BumpFloor(promised + 1); err == nil {
			t.Error("the right range promises still")
		}
		if ts := c.mustPut(c.leader("x", time.Second), "x", "1"); ts <= promised {
			t.Errorf("written at %s, a reader was promised %s", ts, promised)
		}
		// Another leader keeps the promise, too, whatever its clock.
		if err := c.leader("x", time.Second).TransferLease(context.Background(), left.NodeID()%3+1); err != nil {
			t.Fatal(err)
		}
		if ts := c.mustPut(c.leader("x", 5*time.Second), "x", "2"); ts <= promised {
			t.Errorf("written at %s, a reader was promised %s", ts, promised)
		}
	})
}

// A leader of either side is lost, or cut off, at some moment of a merge. The ranges are merged or they are not; no write
// is lost, nothing stays frozen, and the cluster goes on.
func TestMergeCrashes(t *testing.T) {
	for seed := uint64(1); seed <= 24; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			runSim(t, seed, 3, func(c *Config) { c.Nodes = nil }, func(c *sim) {
				rng := rand.New(rand.NewPCG(seed, 9))
				c.net.delay = func() time.Duration { return time.Duration(500+c.net.rnd.IntN(1000)) * time.Microsecond }
				c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
				if err := c.leader("m", 5*time.Second).Split(context.Background(), []byte("m")); err != nil {
					t.Fatal(err)
				}
				c.leader("x", 5*time.Second)
				if rng.IntN(2) == 0 {
					r := c.leader("x", 5*time.Second)
					_ = r.TransferLease(context.Background(), r.NodeID()%3+1)
					c.leader("x", 5*time.Second)
				}
				stop := make(chan struct{})
				acked := c.writes(rng, stop)
				time.Sleep(50 * time.Millisecond)
				left := c.leader("a", 5*time.Second)
				x := c.nodes[left.NodeID()]
				var merged error
				over := make(chan struct{})
				go func() {
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
					defer cancel()
					merged = left.Merge(ctx)
					close(over)
				}()
				time.Sleep(time.Duration(seed%12) * 700 * time.Microsecond)
				var down []*simNode
				switch seed % 3 {
				case 0: // the driver's node
					down = []*simNode{x}
				case 1: // another
					down = []*simNode{c.nodes[left.NodeID()%3+1]}
				case 2: // all
					down = []*simNode{c.nodes[1], c.nodes[2], c.nodes[3]}
				}
				cut := rng.IntN(2) == 0 && len(down) == 1
				for _, y := range down {
					if cut {
						c.net.isolate(y.id, true)
					} else {
						c.crash(y)
					}
				}
				time.Sleep(time.Duration(rng.IntN(6000)) * time.Millisecond)
				for _, y := range down {
					if cut {
						c.net.isolate(y.id, false)
					} else {
						c.restart(y)
					}
				}
				<-over
				time.Sleep(4 * time.Second)
				close(stop)
				out := acked()
				c.until(20*time.Second, "nothing is frozen and all agree", func() bool {
					list := c.nodes[1].store.Replicas()
					for _, y := range c.nodes {
						other := y.store.Replicas()
						if len(other) != len(list) {
							return false
						}
						for i, r := range other {
							if r.Desc().Frozen != nil || r.Desc().Generation != list[i].Desc().Generation {
								return false
							}
						}
					}
					return true
				})
				t.Logf("cut %v, down %d: Merge answered %v, %d ranges, %d writes", cut, len(down), merged, len(c.nodes[1].store.Replicas()), len(out))
				time.Sleep(3 * time.Second) // the last commits are told late
				if n := c.lost(out); n > 0 {
					t.Errorf("%d of %d writes are lost", n, len(out))
				}
				c.mustPut(c.leader("a", 5*time.Second), "a", "z")
				c.mustPut(c.leader("x", 5*time.Second), "x", "z")
				c.mergeNow(20 * time.Second)
			})
		})
	}
}

// Cold neighbours are merged by themselves, when they have been cold for long and nobody has asked for the split.
func TestMergeCold(t *testing.T) {
	runSim(t, 60, 3, func(c *Config) {
		c.MergeAfter, c.SplitStays, c.SplitLoad, c.Nodes = time.Minute, 10*time.Minute, 100, nil
	}, func(c *sim) {
		c.startAll(desc(1, "\x03", "\xff", 1, 2, 3))
		for _, x := range c.nodes {
			x.store.policies.Store(placement.NewSet(nil))
		}
		began := time.Now()
		count := func() int { return len(c.nodes[1].store.Replicas()) }
		for _, key := range []string{"b", "d"} { // as for size or load
			if err := c.leader(key, 5*time.Second).split(context.Background(), []byte(key), 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.leader("c", 5*time.Second).Split(context.Background(), []byte("c")); err != nil {
			t.Fatal(err)
		}
		// The last one is in use.
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				if r := c.anyLeader("x"); r != nil {
					r.LoadStats().Note([]byte("x"), nil, 1, 0, 0)
				}
			}
		}()
		time.Sleep(50 * time.Second)
		if n := count(); n != 4 {
			t.Fatalf("%d ranges, too soon", n)
		}
		c.until(4*time.Minute, "one merge", func() bool { return count() == 3 })
		if r := c.leader("b", 5*time.Second); string(r.Desc().Start) != "\x03" || string(r.Desc().End) != "c" {
			t.Errorf("merged: %s", r.Desc())
		}
		time.Sleep(3 * time.Minute)
		if n := count(); n != 3 {
			t.Errorf("%d ranges: what was asked for, or is in use, was merged", n)
		}
		c.until(15*time.Minute, "the split has stayed long enough", func() bool { return count() == 2 })
		if d := time.Since(began); d < 10*time.Minute {
			t.Errorf("merged after %s", d)
		}
		close(stop)
		c.until(15*time.Minute, "all is cold", func() bool { return count() == 1 })
	})
}

// Nothing of a merge is logged or asked before every node can read it.
func TestMergeWaitsForVersion(t *testing.T) {
	var may atomic.Bool
	runSim(t, 62, 3, func(c *Config) {
		c.MergeAfter, c.Nodes, c.MayMerge = time.Minute, nil, may.Load
	}, func(c *sim) {
		c.startAll(desc(1, "\x03", "\xff", 1, 2, 3))
		for _, x := range c.nodes {
			x.store.policies.Store(placement.NewSet(nil))
		}
		if err := c.leader("b", 5*time.Second).split(context.Background(), []byte("b"), 0); err != nil {
			t.Fatal(err)
		}
		var asked atomic.Int64
		c.net.mu.Lock()
		c.net.refuse = func(_ NodeID, m Method) bool {
			if m >= methodMergeFate && m <= methodNeighbour {
				asked.Add(1)
			}
			return false
		}
		c.net.mu.Unlock()
		left := c.leader("a", 5*time.Second)
		if err := left.Merge(context.Background()); !errors.Is(err, ErrNotReady) {
			t.Errorf("merge: %v", err)
		}
		time.Sleep(10 * time.Minute)
		if n := asked.Load(); n > 0 || c.leader("b", 5*time.Second).Desc().Generation != left.Desc().Generation {
			t.Errorf("%d questions, %s, %s", n, left.Desc(), c.leader("b", 5*time.Second).Desc())
		}
		may.Store(true)
		c.until(15*time.Minute, "the merge", func() bool { return len(c.nodes[1].store.Replicas()) == 1 })
	})
}

// A machine holds transactions back for a split or a merge as long as it leads. Where its leadership was lost and won again
// before the entry is proposed, nothing is.
func TestLeaseLostWhilePreparing(t *testing.T) {
	runSim(t, 64, 3, func(c *Config) { c.Nodes = nil }, func(c *sim) {
		c.startAll(desc(1, "\x03", "\xff", 1, 2, 3))
		// thereAndBack has the range of key led by another node and then by this one again, once the machine is prepared.
		thereAndBack := func(r *Replica, key string) (undo func()) {
			m, self := r.machine.(*register), r.NodeID()
			f := func() {
				before := r.Lease().Epoch
				for _, to := range []NodeID{self%3 + 1, self} {
					if err := c.leader(key, 5*time.Second).TransferLease(context.Background(), to); err != nil {
						t.Error(err)
					}
					c.until(5*time.Second, "the lease is moved", func() bool { return c.leader(key, 5*time.Second).NodeID() == to })
				}
				if now := r.Lease(); now.Epoch == before || now.Holder != self {
					t.Errorf("lease %+v, it was of epoch %d", now, before)
				}
			}
			m.prepared.Store(&f)
			return func() { m.prepared.Store(nil) }
		}
		r := c.leader("b", 5*time.Second)
		undo := thereAndBack(r, "b")
		if err := r.split(context.Background(), []byte("m"), 0); !errors.Is(err, ErrNotReady) {
			t.Errorf("split: %v", err)
		}
		undo()
		if err := r.split(context.Background(), []byte("m"), 0); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"b", "x"} {
			c.until(20*time.Second, "both are led by one node", func() bool {
				left, right := c.leader("b", 5*time.Second), c.leader("x", 5*time.Second)
				return left.NodeID() == right.NodeID() || left.TransferLease(context.Background(), right.NodeID()) == nil
			})
			left := c.leader("b", 5*time.Second)
			side := c.leader(key, 5*time.Second)
			generation := side.Desc().Generation
			undo := thereAndBack(side, key)
			if err := left.Merge(context.Background()); !errors.Is(err, ErrNotReady) {
				t.Errorf("merge with %q under another lease: %v", key, err)
			}
			undo()
			if key == "x" && side.Desc().Generation != generation {
				t.Errorf("the right range was frozen: %s", side.Desc())
			}
			time.Sleep(5 * time.Second) // what was frozen is thawed
			if c.leader("b", 5*time.Second).Desc().Contains([]byte("x")) {
				t.Fatalf("merged with %q under another lease", key)
			}
		}
		c.mergeNow(time.Minute)
	})
}

// A policy's boundary keeps two cold ranges apart.
func TestMergeColdKeepsPolicies(t *testing.T) {
	runSim(t, 61, 3, func(c *Config) { c.MergeAfter, c.Nodes = time.Minute, nil }, func(c *sim) {
		c.startAll(desc(1, "\x03", "\xff", 1, 2, 3))
		if err := c.leader("b", 5*time.Second).split(context.Background(), []byte("b"), 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if n := len(c.nodes[1].store.Replicas()); n != 2 {
			t.Fatalf("%d ranges: merged while the policies were not known", n)
		}
		for _, x := range c.nodes {
			x.store.policies.Store(placement.NewSet([]placement.SpanPolicy{
				{Start: []byte("b"), End: []byte("c"), Policy: placement.Policy{Name: "home"}}}))
		}
		time.Sleep(5 * time.Minute)
		if n := len(c.nodes[1].store.Replicas()); n != 2 {
			t.Fatalf("%d ranges: merged across a policy's boundary", n)
		}
	})
}

// A range that is asked for too much is split where the load is divided.
func TestSplitByLoad(t *testing.T) {
	runSim(t, 62, 3, func(c *Config) { c.SplitLoad, c.Nodes = 500, nil }, func(c *sim) {
		c.startAll(desc(1, "\x03", "\xff", 1, 2, 3))
		c.leader("b", 5*time.Second)
		for i := range 20000 {
			key := fmt.Sprintf("%c", 'b'+i*7%20)
			if r := c.anyLeader(key); r != nil {
				r.LoadStats().Note([]byte(key), nil, 1, 0, 0)
			}
			time.Sleep(time.Millisecond)
		}
		list := c.nodes[1].store.Replicas()
		if len(list) != 2 {
			t.Fatalf("%d ranges", len(list))
		}
		if k := list[1].Desc().Start; string(k) < "h" || string(k) > "p" {
			t.Errorf("split at %q", k)
		}
		for _, st := range c.leader(string(list[1].Desc().Start), time.Second).Store().Status() {
			if st.IsLeader && (st.Requests < 10 || st.Requests > 1000) {
				t.Errorf("%s: %f requests a second", st.Desc, st.Requests)
			}
		}
	})
}

// A node that was away while two ranges were merged, and whose log does not reach that far back, gets a snapshot of the
// merged range in place of both; and after a crash between the two steps of that the dead one goes at the next start.
func TestMergeMissedByNode(t *testing.T) {
	runSim(t, 70, 3, func(c *Config) {
		c.Nodes, c.LogTruncateBytes, c.LogKeepBytes = nil, 4<<10, 8<<10
	}, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		if err := c.leader("a", 5*time.Second).Split(context.Background(), []byte("m")); err != nil {
			t.Fatal(err)
		}
		c.mustPut(c.leader("x", 5*time.Second), "x", "old")
		time.Sleep(time.Second)
		// The merge needs all three; node 3 has the freeze in its log, and is cut off before it hears of the merge.
		r := c.leader("x", 5*time.Second)
		for r.NodeID() == 3 || c.leader("a", 5*time.Second).NodeID() == 3 {
			for _, key := range []string{"a", "x"} {
				if l := c.leader(key, 5*time.Second); l.NodeID() == 3 {
					_ = l.TransferLease(context.Background(), 1)
				}
			}
			time.Sleep(50 * time.Millisecond)
			r = c.leader("x", 5*time.Second)
		}
		dead := r.ID()
		left := c.leader("a", 5*time.Second)
		// The merge is proposed once the freeze is in every log: node 3 is cut off when the first frame that has it is sent.
		merged := left.Desc().clone()
		merged.End, merged.Generation = r.Desc().End, max(merged.Generation, r.Desc().Generation+1)+1
		entry := merged.Encode()
		c.net.mu.Lock()
		c.net.taps = append(c.net.taps, func(_, _ NodeID, frame []byte) {
			if bytes.Contains(frame, entry) {
				c.net.isolateLocked(3, true)
			}
		})
		c.net.mu.Unlock()
		if err := left.Merge(context.Background()); err != nil {
			t.Fatal(err)
		}
		c.net.mu.Lock()
		c.net.taps = nil
		c.net.mu.Unlock()
		if gone, ok := c.nodes[3].store.Replica(dead); !ok || gone.Desc().ID != dead {
			t.Fatal("node 3 has heard of the merge")
		}
		for i := range 400 {
			c.mustPut(c.leader("x", 5*time.Second), fmt.Sprintf("x%d", i), string(make([]byte, 500)))
		}
		_ = left.Engine().Flush()
		time.Sleep(5 * time.Second)
		c.net.isolate(3, false)
		c.until(30*time.Second, "node 3 has the merged range alone", func() bool {
			list := c.nodes[3].store.Replicas()
			return len(list) == 1 && list[0].Desc().Contains([]byte("x"))
		})
		c.mustPut(c.leader("x", 5*time.Second), "x", "new")
		time.Sleep(2 * time.Second)
		if got := c.get(c.nodes[3], "x399", truetime.MaxTimestamp); len(got) != 500 {
			t.Errorf("node 3 reads %d bytes", len(got))
		}
		if got := c.get(c.nodes[3], "x", truetime.MaxTimestamp); got != "new" {
			t.Errorf("node 3 reads %q", got)
		}
		// What a crash between the snapshot and the removal would leave.
		x := c.nodes[3]
		b := x.eng.NewBatch()
		stale := desc(dead, "m", "\xff", 1, 2, 3)
		putState(b, stale, appliedState{index: initialIndex, term: initialTerm})
		if err := b.Commit(false); err != nil {
			t.Fatal(err)
		}
		if err := x.eng.Flush(); err != nil {
			t.Fatal(err)
		}
		c.stop(x)
		c.restart(x)
		if _, ok := x.store.Replica(dead); ok || len(x.store.Replicas()) != 1 {
			t.Errorf("node 3 has %d replicas", len(x.store.Replicas()))
		}
		time.Sleep(time.Second)
		if got := c.get(x, "x", truetime.MaxTimestamp); got != "new" {
			t.Errorf("node 3 reads %q after a restart", got)
		}
	})
}

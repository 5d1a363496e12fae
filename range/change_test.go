package ranges

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/truetime"
)

func (c *sim) addNodes(ids ...NodeID) {
	c.lister.mu.Lock()
	for _, id := range ids {
		c.lister.list = append(c.lister.list, NodeInfo{ID: id, Region: fmt.Sprintf("region%d", id), Live: true})
	}
	c.lister.mu.Unlock()
	for _, x := range c.nodes {
		if x.store != nil {
			x.store.NodesChanged()
		}
	}
}

// A fresh cluster's ranges have three replicas well under a second after the nodes have joined.
func TestUpReplication(t *testing.T) {
	runSim(t, 3, 3, nil, func(c *sim) {
		c.net.delay = func() time.Duration { return time.Millisecond }
		c.startAll(desc(1, "\x01", "\x03", 1), desc(2, "\x03", "\xff", 1))
		r := c.leader("\x03a", time.Second)
		for i := range 200 {
			c.mustPut(r, fmt.Sprintf("\x03k%d", i), "v")
		}
		start := time.Now()
		c.addNodes(1, 2, 3)
		c.until(time.Second, "three voters everywhere", func() bool {
			for _, x := range c.nodes {
				for _, id := range []RangeID{1, 2} {
					r, ok := x.store.Replica(id)
					if !ok || r.Desc().Joint() || len(r.Desc().Replicas) != 3 || r.Desc().Replicas[2].Type != Voter {
						return false
					}
				}
			}
			return true
		})
		t.Logf("up-replicated after %s", time.Since(start))
		if l := r.Lease(); l.Until <= c.nodes[1].clock.Now().Latest {
			t.Fatal("the lease did not survive the change")
		}
		c.mustPut(r, "\x03z", "after")
		for _, x := range c.nodes {
			c.until(time.Second, "data everywhere", func() bool {
				return c.get(x, "\x03z", truetime.MaxTimestamp) == "after" && c.get(x, "\x03k7", truetime.MaxTimestamp) == "v"
			})
		}
		// The copies are good for more than reading: the founder may die.
		c.crash(c.nodes[1])
		r2 := c.leader("\x03a", 5*time.Second)
		c.mustPut(r2, "\x03z", "later")
	})
}

// A founder that loses everything it had not synced, right after its range got two more voters, does not take itself
// for the only voter when it comes back: it would elect itself while the others have a leader.
func TestCrashedFounder(t *testing.T) {
	for seed := range uint64(5) {
		runSim(t, seed, 3, nil, func(c *sim) {
			c.startAll(desc(1, "\x01", "\xff", 1))
			r := c.leader("a", time.Second)
			c.mustPut(r, "a", "1")
			c.addNodes(1, 2, 3)
			c.until(5*time.Second, "three voters", func() bool {
				d := r.Desc()
				return !d.Joint() && len(d.Replicas) == 3 && d.Replicas[2].Type == Voter
			})
			c.lister.mu.Lock()
			c.lister.list = nil // and nothing brings it back to one
			c.lister.mu.Unlock()
			time.Sleep(20 * time.Millisecond)
			x := c.nodes[1]
			clone := x.fs.CrashClone(vfs.CrashCloneCfg{})
			c.crash(x)
			x.fs = clone
			r2 := c.leader("a", 10*time.Second)
			c.mustPut(r2, "a", "2")
			c.net.isolate(1, true)
			c.restart(x)
			for range 100 {
				time.Sleep(100 * time.Millisecond)
				if back, ok := x.store.Replica(1); ok && back.leading.Load() {
					t.Fatal("it elected itself")
				}
			}
			c.net.isolate(1, false)
			c.until(10*time.Second, "it follows", func() bool { return c.get(x, "a", truetime.MaxTimestamp) == "2" })
		})
	}
}

// A range has left a lost node behind when the power fails everywhere, and one of its nodes does not come back. The others
// are a quorum, and know it.
func TestChangeOutlivesBlackout(t *testing.T) {
	runSim(t, 8, 4, func(c *Config) { c.Nodes = nil }, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		for r.NodeID() == 3 {
			_ = r.TransferLease(context.Background(), 1)
			r = c.leader("a", 5*time.Second)
		}
		c.mustPut(r, "a", "1")
		c.crash(c.nodes[3]) // for good
		if err := r.ChangeReplicas(context.Background(), []NodeID{1, 2, 4}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		for _, id := range []NodeID{1, 2, 4} {
			if x, ok := c.nodes[id].store.Replica(1); !ok || x.Desc().Generation != r.Desc().Generation {
				t.Fatal("the change is not known everywhere: this shows nothing")
			}
		}
		leader := r.NodeID()
		for _, id := range []NodeID{1, 2, 4} {
			c.crash(c.nodes[id])
		}
		c.restart(c.nodes[4])
		c.restart(c.nodes[3-leader]) // the leader does not come back
		c.mustPut(c.leader("a", 10*time.Second), "a", "2")
	})
}

func TestSplit(t *testing.T) {
	runSim(t, 4, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		ts := c.mustPut(r, "a", "1")
		c.mustPut(r, "m", "1")
		start := time.Now()
		if err := r.Split(context.Background(), []byte("m")); err != nil {
			t.Fatal(err)
		}
		right := c.leader("m", time.Second)
		t.Logf("right half leads after %s on %s", time.Since(start), right.NodeID())
		if right.ID() == r.ID() || !bytes.Equal(right.Desc().Start, []byte("m")) {
			t.Fatalf("right half is %s", right.Desc())
		}
		if right.NodeID() != r.NodeID() {
			t.Fatal("the right half is led elsewhere")
		}
		if got := c.mustPut(right, "m", "2"); got <= ts {
			t.Fatal("timestamps go backwards across a split")
		}
		c.mustPut(r, "a", "2")
		if _, err := c.put(r, "m", "x"); err != ErrRangeKeyMismatch {
			t.Fatalf("write of a moved key: %v", err)
		}
		for _, x := range c.nodes {
			c.until(time.Second, "both halves everywhere", func() bool {
				return c.get(x, "a", truetime.MaxTimestamp) == "2" && c.get(x, "m", truetime.MaxTimestamp) == "2" && len(x.store.Replicas()) == 2
			})
		}
		// Everything again after all nodes crash.
		for _, x := range c.nodes {
			c.crash(x)
		}
		for id := NodeID(1); id <= 3; id++ {
			c.restart(c.nodes[id])
		}
		r, right = c.leader("a", 10*time.Second), c.leader("m", 10*time.Second)
		c.mustPut(r, "a", "3")
		c.mustPut(right, "m", "3")
		for _, x := range c.nodes {
			c.until(time.Second, "both halves everywhere", func() bool {
				return c.get(x, "a", truetime.MaxTimestamp) == "3" && c.get(x, "m", truetime.MaxTimestamp) == "3"
			})
		}
	})
}

func TestTransfer(t *testing.T) {
	runSim(t, 5, 3, nil, func(c *sim) {
		c.net.delay = func() time.Duration { return 2 * time.Millisecond }
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		ts := c.mustPut(r, "a", "1")
		r.machine.(*register).handoff = "locks"
		to := r.NodeID()%3 + 1
		start := time.Now()
		if err := r.TransferLease(context.Background(), to); err != nil {
			c.dump()
			t.Fatal(err)
		}
		r2 := c.leader("a", time.Second, r.NodeID())
		t.Logf("%s leads after %s", r2.NodeID(), time.Since(start))
		if r2.NodeID() != to {
			t.Fatalf("%s leads, not %s", r2.NodeID(), to)
		}
		if got := c.mustPut(r2, "a", "2"); got <= ts {
			t.Fatal("timestamps go backwards")
		}
		ev := r2.machine.(*register).events
		if len(ev) != 1 || ev[0] != `acquired handoff="locks"` {
			t.Fatalf("events %q", ev)
		}
		if ev := r.machine.(*register).events; ev[len(ev)-1] != "lost" {
			t.Fatalf("events %q", ev)
		}
		// Drain hands it on once more.
		if err := c.nodes[to].store.Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		if l := c.leader("a", time.Second, to); l.NodeID() == to {
			t.Fatal("drained node leads")
		}
	})
}

// addLearners takes a range's way to other voters as far as their replicas are up to date, and do not vote.
func (c *sim) addLearners(r *Replica, voters []NodeID) {
	c.t.Helper()
	for {
		st := r.Desc().nextStep(voters)
		if err := r.prepareLearners(context.Background(), st.learners); err != nil {
			c.t.Fatal(err)
		}
		if len(st.learners) > 0 {
			return
		}
		if err := r.changeOnce(context.Background(), st); err != nil {
			c.t.Fatal(err)
		}
	}
}

// TestPromisesOutliveChange: a change of voters ends only when the new ones grant the lease for as long as the old ones
// did. Here they have not been asked for a while.
func TestPromisesOutliveChange(t *testing.T) {
	runSim(t, 11, 5, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		voters := []NodeID{r.NodeID(), 4, 5}
		c.addLearners(r, voters)
		silence := r.store.cfg.SupportWindow / 2
		silent := time.Now().Add(silence)
		c.net.mu.Lock()
		c.net.refuseTo = func(_, to NodeID, m Method) bool {
			return m == methodSupport && to >= 4 && time.Now().Before(silent)
		}
		c.net.mu.Unlock()
		time.Sleep(silence * 3 / 4)
		published := r.Lease().Until
		if err := r.ChangeReplicas(context.Background(), voters); err != nil {
			t.Fatal(err)
		}
		if until := r.Lease().Until; until < published {
			t.Fatalf("the lease was to last until %s, and lasts until %s", published, until)
		}
	})
}

// TestPromisesOutliveHandoverAndChange: nor do the new voters know what was promised under a lease that was handed over,
// here to a node that has been given no votes for a while.
func TestPromisesOutliveHandoverAndChange(t *testing.T) {
	runSim(t, 12, 5, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		next := r.NodeID()%3 + 1
		c.addLearners(r, []NodeID{next, 4, 5})
		time.Sleep(time.Second)
		silence := r.store.cfg.SupportWindow / 2
		silent := time.Now().Add(silence)
		c.net.mu.Lock()
		c.net.refuseTo = func(from, _ NodeID, m Method) bool {
			return m == methodSupport && from == next && time.Now().Before(silent)
		}
		c.net.mu.Unlock()
		time.Sleep(silence * 3 / 4)
		promised := r.Lease().Until
		if err := r.TransferLease(context.Background(), next); err != nil {
			t.Fatal(err)
		}
		r = c.leader("a", time.Second, r.NodeID())
		if until := r.Lease().Until; until >= promised {
			t.Fatalf("the lease of %s lasts until %s, longer than the one before it, until %s", r.NodeID(), until, promised)
		}
		if err := r.ChangeReplicas(context.Background(), []NodeID{next, 4, 5}); err != nil {
			t.Fatal(err)
		}
		if until := r.Lease().Until; until < promised {
			t.Fatalf("the lease before was to last until %s, and this one lasts until %s", promised, until)
		}
	})
}

// TestDrainedNodeEnds: a node may end the moment it has drained. Its successor needs nothing more of it, least of all
// the vote that elects it, here while the third node does not hear of the election.
func TestDrainedNodeEnds(t *testing.T) {
	runSim(t, 5, 3, nil, func(c *sim) {
		c.net.delay = func() time.Duration { return 2 * time.Millisecond }
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		old := r.NodeID()
		to, third := old%3+1, (old+1)%3+1
		c.net.isolate(third, true)
		if err := r.TransferLease(context.Background(), to); err != nil {
			t.Fatal(err)
		}
		c.net.isolate(third, false)
		c.net.isolate(old, true)
		next := c.leader("a", 500*time.Millisecond, old)
		if next.NodeID() != to {
			t.Fatalf("%s leads, not %s", next.NodeID(), to)
		}
		c.mustPut(next, "a", "2")
	})
}

// A transfer whose target never hears that it is to campaign is no success: whoever asked for it learns that.
func TestTransferNotHeard(t *testing.T) {
	runSim(t, 5, 3, nil, func(c *sim) {
		c.net.delay = func() time.Duration { return 2 * time.Millisecond }
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		to := r.NodeID()%3 + 1
		var told atomic.Bool
		c.net.mu.Lock()
		c.net.taps = append(c.net.taps, func(_, _ NodeID, frame []byte) {
			for rd := (reader{b: frame[1:]}); frame[0] == frameRaft && len(rd.b) > 0; {
				rm, err := readRaftMsg(&rd)
				if err != nil {
					break
				}
				if rm.m.GetType() == pb.MsgTimeoutNow {
					told.Store(true)
					c.net.isolateLocked(to, true)
				}
			}
		})
		c.net.mu.Unlock()
		if err := r.TransferLease(context.Background(), to); !errors.Is(err, ErrNotReady) {
			t.Errorf("the transfer ended with %v", err)
		}
		if !told.Load() {
			t.Error("the target was not told to campaign")
		}
		c.mustPut(c.leader("a", 10*time.Second), "a", "2")
	})
}

// Whoever gives away the lease of one term does not give away that of a later one.
func TestTransferOfAnotherTerm(t *testing.T) {
	runSim(t, 5, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		self, epoch := r.NodeID(), r.Lease().Epoch
		for _, to := range []NodeID{self%3 + 1, self} {
			if err := c.leader("a", 5*time.Second).TransferLease(context.Background(), to); err != nil {
				t.Fatal(err)
			}
			c.until(5*time.Second, "the lease is moved", func() bool { return c.leader("a", 5*time.Second).NodeID() == to })
		}
		if err := r.transferLease(context.Background(), self%3+1, epoch); !errors.Is(err, ErrNotLeader) {
			t.Errorf("the lease of epoch %d was given away: %v", epoch, err)
		}
		c.mustPut(r, "a", "1")
	})
}

// A follower whose log has been truncated gets a snapshot.
func TestSnapshotToLaggingFollower(t *testing.T) {
	runSim(t, 6, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		lag := c.nodes[r.NodeID()%3+1]
		c.mustPut(r, "a", "1")
		c.net.isolate(lag.id, true)
		time.Sleep(3 * time.Second)
		big := string(make([]byte, 100<<10))
		for i := range 50 {
			c.mustPut(r, fmt.Sprintf("k%02d", i), big)
		}
		if err := c.nodes[r.NodeID()].eng.Flush(); err != nil {
			t.Fatal(err)
		}
		c.until(10*time.Second, "the log is truncated", func() bool { return r.truncated.Load() > 30 })
		c.net.isolate(lag.id, false)
		c.until(10*time.Second, "the follower has the data", func() bool {
			return c.get(lag, "k49", truetime.MaxTimestamp) == big
		})
		lr, _ := lag.store.Replica(1)
		if lr.truncated.Load() < 30 {
			t.Fatal("it did not come by a snapshot")
		}
		c.mustPut(r, "a", "2")
		c.until(time.Second, "replication goes on", func() bool { return c.get(lag, "a", truetime.MaxTimestamp) == "2" })
		c.crash(lag)
		c.restart(lag)
		c.until(10*time.Second, "it is all there after a crash", func() bool {
			return c.get(lag, "a", truetime.MaxTimestamp) == "2" && c.get(lag, "k03", truetime.MaxTimestamp) == big
		})
	})
}

// A split that cannot begin, because a transaction stays prepared, lets others be prepared again after a moment.
func TestSplitGivesUp(t *testing.T) {
	runSim(t, 32, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		m := r.machine.(*register)
		m.busy.Store(true)
		start := time.Now()
		if err := r.Split(context.Background(), []byte("m")); !errors.Is(err, ErrNotReady) {
			t.Fatalf("split: %v", err)
		}
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("others were kept out for %s", d)
		}
		m.busy.Store(false)
		if err := r.Split(context.Background(), []byte("m")); err != nil {
			t.Fatal(err)
		}
	})
}

// A split whose caller has gone may take place all the same: until its fate is known the machine holds transactions back. One
// that it let pass, as the range is whole still, would follow the split in the log, and leave out what it had on the right.
func TestSplitOutlivesItsCaller(t *testing.T) {
	runSim(t, 34, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		m := r.machine.(*register)
		isolate := func(is bool) {
			for id := range c.nodes {
				if id != r.NodeID() {
					c.net.isolate(id, is)
				}
			}
		}
		isolate(true)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := r.Split(ctx, []byte("m")); err == nil {
			t.Fatal("split without a quorum")
		}
		if m.released.Load() > 0 {
			t.Error("transactions may pass, and the split is in the log")
		}
		isolate(false)
		c.until(10*time.Second, "its fate is known", func() bool { return m.released.Load() == 1 })
	})
}

// A node that is away while a range is split gets a replica of each half, although the snapshot of the left one passes over
// the split that would have made the right one. Without it the range has lost a replica for good, and nobody says so.
func TestSplitMissedBySnapshot(t *testing.T) {
	runSim(t, 31, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		away := c.nodes[r.NodeID()%3+1]
		c.mustPut(r, "a", "1")
		c.mustPut(r, "m", "1")
		c.net.isolate(away.id, true)
		time.Sleep(3 * time.Second)
		if err := r.Split(context.Background(), []byte("m")); err != nil {
			t.Fatal(err)
		}
		right := c.leader("m", time.Second)
		c.mustPut(right, "m", "2")
		big := string(make([]byte, 100<<10))
		for i := range 50 {
			c.mustPut(r, fmt.Sprintf("k%02d", i), big)
		}
		if err := c.nodes[r.NodeID()].eng.Flush(); err != nil {
			t.Fatal(err)
		}
		c.until(10*time.Second, "the log is truncated", func() bool { return r.truncated.Load() > 30 })
		if right.truncated.Load() > initialIndex {
			t.Fatal("the right half's log does not go back to its beginning")
		}
		c.net.isolate(away.id, false)
		// Its leader says so meanwhile.
		c.until(time.Second, "the right half's leader knows", func() bool { return slices.Contains(right.Status().Behind, away.id) })
		c.until(5*time.Second, "the right half is there", func() bool {
			return c.get(away, "m", truetime.MaxTimestamp) == "2"
		})
		c.until(time.Second, "nobody is behind", func() bool { return len(right.Status().Behind)+len(r.Status().Behind) == 0 })
		// It counts: the third node may go now.
		for id, x := range c.nodes {
			if id != away.id && id != right.NodeID() {
				c.crash(x)
			}
		}
		c.mustPut(c.leader("m", 5*time.Second), "m", "3")
		c.mustPut(c.leader("a", 5*time.Second), "a", "3")
	})
}

func TestReplaceReplica(t *testing.T) {
	runSim(t, 7, 4, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		var voters []NodeID
		gone := r.NodeID()%3 + 1
		for id := NodeID(1); id <= 4; id++ {
			if id != gone {
				voters = append(voters, id)
			}
		}
		if err := r.ChangeReplicas(context.Background(), voters); err != nil {
			t.Fatal(err)
		}
		c.mustPut(r, "a", "2")
		c.until(time.Second, "the new replica has it", func() bool { return c.get(c.nodes[4], "a", truetime.MaxTimestamp) == "2" })
		c.until(30*time.Second, "the old replica is gone", func() bool {
			_, ok := c.nodes[gone].store.Replica(1)
			return !ok && c.get(c.nodes[gone], "a", truetime.MaxTimestamp) == "<none>"
		})
	})
}

// When all nodes drain at once, as on a shutdown of everything, no lease wanders between them and service
// goes on to the end.
func TestAllDrain(t *testing.T) {
	runSim(t, 23, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\x03", 1, 2, 3), desc(2, "\x03", "\xff", 1, 2, 3))
		c.leader("\x02", 5*time.Second)
		c.leader("a", 5*time.Second)
		start := time.Now()
		errs := make(chan error, 3)
		for _, x := range c.nodes {
			go func() { errs <- x.store.Drain(context.Background()) }()
		}
		for range c.nodes {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("drained after %s", d)
		}
		c.mustPut(c.leader("a", time.Second), "a", "1")
		// Even if the one that leads goes.
		c.stop(c.nodes[c.leader("a", time.Second).NodeID()])
		c.mustPut(c.leader("a", 8*time.Second), "a", "2")
	})
}

// A replica that comes back to a node from which it once was removed is ready as soon as its snapshot is there: what had
// come for the old one does not make the node answer for the new one, before it is there, as if it had been lost.
func TestReplicaComesBack(t *testing.T) {
	o := orphans{of: map[RangeID]*orphan{}}
	for _, step := range []struct {
		to       ReplicaID
		now      truetime.Timestamp
		stranger bool
	}{{2, 0, false}, {2, 20, true}, {3, 21, false}, {2, 22, false}, {3, 40, true}} {
		if got := o.keep(1, inFrame{to: step.to}, step.now, 10); got != step.stranger {
			t.Errorf("a message for %s at %d: stranger %v", step.to, step.now, got)
		}
	}
}

// A learner whose first snapshot takes long to come is answered for as if it had been lost. Raft must not take its word for
// it: it would have nothing left to send to the learner.
func TestLearnerWaitsForItsSnapshot(t *testing.T) {
	runSim(t, 94, 4, shortLogs, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		c.lead("a", 1)
		r := c.fill("a")
		began := time.Now()
		hold := make(chan struct{})
		time.AfterFunc(2*time.Second, func() { close(hold) })
		c.net.mu.Lock()
		c.net.pause = func(NodeID) <-chan struct{} { return hold }
		c.net.mu.Unlock()
		done := make(chan error, 1)
		go func() { done <- r.ChangeReplicas(context.Background(), []NodeID{1, 2, 4}) }()
		time.Sleep(time.Second)
		r.mu.Lock()
		answered, next := len(r.mu.strangers) > 0, r.mu.rn.Status().Progress[4].Next
		r.mu.Unlock()
		if !answered || next <= r.truncated.Load() {
			t.Errorf("answered for: %v, and Raft would send it entry %d", answered, next)
		}
		if err := <-done; err != nil || time.Since(began) > 5*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// A follower that has lost its replica gets one snapshot, and says so.
func TestOneSnapshotIsEnough(t *testing.T) {
	runSim(t, 95, 3, shortLogs, func(c *sim) {
		d := desc(1, "\x02", "\xff", 1, 2, 3)
		for id := NodeID(1); id <= 3; id++ {
			c.open(c.nodes[id])
			if id != 3 {
				if err := c.nodes[id].store.Bootstrap([]*Descriptor{d}); err != nil {
					t.Fatal(err)
				}
			}
			c.start(c.nodes[id])
		}
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		c.until(10*time.Second, "the third has it", c.same(c.nodes[3], "a"))
		time.Sleep(5 * time.Second)
		c.net.mu.Lock()
		defer c.net.mu.Unlock()
		if c.net.bulks != 1 {
			t.Errorf("%d snapshots were sent", c.net.bulks)
		}
	})
}

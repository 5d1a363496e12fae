package participant

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// Each test of this file runs one scenario twice: as built, where the invariant must hold, and with its mechanism
// taken out, where the same scenario must show the anomaly. A test that cannot fail proves nothing.

// TestI5Promise: what a leader has answered at t stays the answer at t.
func TestI5Promise(t *testing.T) {
	changed := func(t *testing.T, cfg clusterConfig) (anomaly bool) {
		synctest.Test(t, func(t *testing.T) {
			cfg.nodes, cfg.delay, cfg.eps = 1, time.Millisecond, time.Millisecond
			c := newCluster(t, cfg)
			defer c.close()
			cl, ctx := client{c, 1}, context.Background()
			// A gateway whose clock is ahead, within its uncertainty, reads at its now.
			ts := truetime.FromTime(time.Now().Add(50 * time.Millisecond))
			before, _, err := cl.snapshot(ctx, "a", ts)
			if err != nil {
				t.Fatal(err)
			}
			x := cl.begin(1)
			x.put("a", "1")
			if _, err := x.commit(ctx); err != nil {
				t.Fatal(err)
			}
			after, _, err := cl.snapshot(ctx, "a", ts)
			if err != nil {
				t.Fatal(err)
			}
			anomaly = before != after
		})
		return anomaly
	}
	if changed(t, clusterConfig{}) {
		t.Error("a read was repeated with another result")
	}
	if !changed(t, clusterConfig{noPromise: true}) {
		t.Error("no anomaly without the promise")
	}
}

// TestI5PreparedFloor: a follower does not answer at or above the prepare timestamp of an undecided transaction.
func TestI5PreparedFloor(t *testing.T) {
	changed := func(t *testing.T, cfg clusterConfig) (anomaly bool) {
		synctest.Test(t, func(t *testing.T) {
			cfg.nodes, cfg.delay, cfg.eps, cfg.splits = 3, time.Millisecond, time.Millisecond, []string{"m"}
			c := newCluster(t, cfg)
			defer c.close()
			cl, ctx := client{c, 1}, context.Background()
			x := cl.begin(1)
			x.put("a", "1")
			x.put("n", "1")
			s := &script{c: c, start: time.Now(), decide: map[string]*txnpb.BatchRequest{}, commits: map[string][]byte{"t1": c.commitID()}}
			s.prepare(ctx, x, "t1", 2)
			// The decision falls, but range 2 does not hear of it, and closes later timestamps.
			deaf := true
			c.drop = func(_ ranges.NodeID, req *txnpb.BatchRequest) bool { return deaf && req.Kind == txnpb.Kind_RESOLVE }
			s.sendDecide(ctx, x, "t1")
			time.Sleep(time.Second)
			y := cl.begin(2)
			y.put("o", "1")
			if _, err := y.commit(ctx); err != nil {
				t.Fatal(err)
			}
			follower := c.groups[2].replicas[3]
			ts := truetime.FromTime(time.Now())
			if safe := follower.SafeTime(); safe < ts {
				ts = safe
			}
			read := func() string {
				req := &txnpb.BatchRequest{Kind: txnpb.Kind_READ, RangeId: 2, Keys: [][]byte{[]byte("n")}, ReadTs: int64(ts), FollowerOk: true}
				resp, err := c.nodes[3].srv.Batch(ctx, req)
				if err != nil || resp.Error != 0 {
					t.Fatal(resp, err)
				}
				if !resp.Follower {
					t.Fatal("not answered by the follower")
				}
				return string(resp.Values[0])
			}
			before := read()
			c.mu.Lock()
			deaf = false
			c.mu.Unlock()
			time.Sleep(time.Second)
			anomaly = before != read()
		})
		return anomaly
	}
	if changed(t, clusterConfig{}) {
		t.Error("a follower's read was repeated with another result")
	}
	if !changed(t, clusterConfig{noPreparedFloor: true}) {
		t.Error("no anomaly without the floor")
	}
}

// TestI6I7CommitWait: when an answer is out, or an effect can be seen, the commit timestamp has passed on every
// clock; so a transaction that begins then, anywhere, commits above it.
func TestI6I7CommitWait(t *testing.T) {
	inverted := func(t *testing.T, cfg func(*Config)) (anomaly bool) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, clusterConfig{
				nodes: 2, splits: []string{"m"}, delay: time.Millisecond, eps: 20 * time.Millisecond, config: cfg,
				skew: map[int]time.Duration{1: 15 * time.Millisecond, 2: -15 * time.Millisecond},
			})
			defer c.close()
			cl, ctx := client{c, 1}, context.Background()
			first := cl.begin(1)
			first.put("a", "1") // led by node 1, whose clock is ahead
			ts1, err := first.commit(ctx)
			if err != nil {
				t.Fatal(err)
			}
			second := cl.begin(2)
			second.put("n", "1") // led by node 2, whose clock is behind
			ts2, err := second.commit(ctx)
			if err != nil {
				t.Fatal(err)
			}
			// A snapshot between the two sees the second without the first, which was over before it began.
			anomaly = ts2 < ts1
		})
		return anomaly
	}
	if inverted(t, nil) {
		t.Error("timestamps do not follow real time")
	}
	if !inverted(t, func(c *Config) { c.TestNoCommitWait = true }) {
		t.Error("no anomaly without commit wait")
	}
}

// TestI7Visibility: a concurrent reader sees no effect before its timestamp has passed.
func TestI7Visibility(t *testing.T) {
	early := func(t *testing.T, cfg func(*Config), read func(ctx context.Context, c *cluster) (string, error)) (anomaly bool) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, clusterConfig{nodes: 2, delay: time.Millisecond, eps: 20 * time.Millisecond, config: cfg})
			defer c.close()
			ctx := context.Background()
			done := make(chan truetime.Timestamp)
			go func() {
				x := client{c, 1}.begin(9)
				x.put("a", "1")
				ts, err := x.commit(ctx)
				if err != nil {
					t.Error(err)
				}
				done <- ts
			}()
			time.Sleep(5 * time.Millisecond) // applied, not yet past
			v, err := read(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			seen := c.nodes[1].srv.cfg.Clock.Now()
			ts := <-done
			anomaly = v == "1" && !seen.After(ts)
		})
		return anomaly
	}
	reads := map[string]func(ctx context.Context, c *cluster) (string, error){
		"locking": func(ctx context.Context, c *cluster) (string, error) {
			return client{c, 1}.begin(1).read(ctx, "a", txnpb.LockMode_LOCK_SHARED)
		},
		"strong": func(ctx context.Context, c *cluster) (string, error) {
			v, _, err := client{c, 1}.snapshot(ctx, "a", 0)
			return v, err
		},
		"follower": func(ctx context.Context, c *cluster) (string, error) {
			req := &txnpb.BatchRequest{Kind: txnpb.Kind_READ, RangeId: 1, Keys: [][]byte{[]byte("a")}, ReadTs: int64(c.nodes[2].srv.cfg.Clock.Now().Latest), FollowerOk: true}
			resp, err := c.nodes[2].srv.Batch(ctx, req)
			if err != nil {
				return "", err
			}
			return string(resp.Values[0]), nil
		},
	}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			if early(t, nil, read) {
				t.Error("an effect was visible before its timestamp had passed")
			}
			if !early(t, func(c *Config) { c.TestNoCommitWait = true }, read) {
				t.Error("no anomaly without commit wait")
			}
		})
	}
}

// TestI8Idempotence: a commit attempt sent again, to this leader or the next, has one outcome.
func TestI8Idempotence(t *testing.T) {
	for _, forget := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, clusterConfig{nodes: 2, delay: time.Millisecond, eps: time.Millisecond})
			defer c.close()
			cl, ctx := client{c, 1}, context.Background()
			x := cl.begin(1)
			x.put("a", "1")
			id := c.commitID()
			ts, err := x.commitAs(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if forget { // the mechanism taken out: no record of the outcome
				for _, n := range c.nodes {
					b := n.eng.NewBatch()
					b.DeleteLocal(localKey(1, outcomeKeys, id))
					if err := b.Commit(false); err != nil {
						t.Fatal(err)
					}
					b.Close()
				}
			}
			c.groups[1].elect(2, nil)
			x.epochs[1] = 0 // as first sent
			again, err := x.commitAs(ctx, id)
			if same := err == nil && again == ts; same == forget {
				t.Errorf("forget=%v: second answer %v %v, first %v", forget, again, err, ts)
			}
			// Two at once: the second waits for the first.
			y := cl.begin(2)
			y.put("b", "1")
			id = c.commitID()
			got := make(chan truetime.Timestamp, 2)
			for range 2 {
				go func() {
					z := *y
					z.epochs = map[ranges.RangeID]int64{}
					ts, err := z.commitAs(ctx, id)
					if err != nil {
						t.Error(err)
					}
					got <- ts
				}()
			}
			mustEqual(t, "timestamp of a repeated commit", <-got, <-got)
		})
	}
}

// TestI8Decided: an outcome never changes. A commit that recovery has aborted cannot be logged later, not even
// when it has been waiting for its locks all the time.
func TestI8Decided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, clusterConfig{nodes: 2, delay: time.Millisecond, eps: time.Millisecond})
		defer c.close()
		cl, ctx := client{c, 1}, context.Background()
		holder := cl.begin(1)
		if _, err := holder.read(ctx, "a", txnpb.LockMode_LOCK_EXCLUSIVE); err != nil {
			t.Fatal(err)
		}
		x := cl.begin(2)
		x.put("a", "2")
		id := c.commitID()
		res := make(chan error, 1)
		go func() {
			_, err := x.commitAs(ctx, id)
			res <- err
		}()
		synctest.Wait()
		q := &txnpb.BatchRequest{Kind: txnpb.Kind_QUERY, CommitId: id, AbortIfUndecided: true}
		resp, err := c.send(ctx, 2, 1, q)
		if err != nil || resp.Outcome != txnpb.Outcome_OUTCOME_ABORTED {
			t.Fatal(resp, err)
		}
		mustEqual(t, "waiting commit", codeOf(<-res), txnpb.ErrorCode_ABORTED)
		holder.rollback(ctx, nil)
		_, err = x.commitAs(ctx, id)
		mustEqual(t, "repeated commit", codeOf(err), txnpb.ErrorCode_ABORTED)
		// Nor by the next leader, who has never heard of it.
		c.groups[1].elect(2, nil)
		x.epochs = map[ranges.RangeID]int64{}
		_, err = x.commitAs(ctx, id)
		mustEqual(t, "commit repeated to the next leader", codeOf(err), txnpb.ErrorCode_ABORTED)
		v, _, err := cl.snapshot(ctx, "a", 0)
		if err != nil || v != "-" {
			t.Fatal(v, err)
		}
	})
}

// TestI8RepeatedPrepare: a PREPARE that comes again after its commit was decided, as a lost request may, finds the
// outcome and does not prepare anything, on this leader and on the next.
func TestI8RepeatedPrepare(t *testing.T) {
	for _, commit := range []bool{true, false} {
		for _, change := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, clusterConfig{nodes: 2, splits: []string{"m"}, delay: time.Millisecond, eps: time.Millisecond})
				defer c.close()
				cl, ctx := client{c, 1}, context.Background()
				x := cl.begin(1)
				x.put("a", "1")
				x.put("n", "1")
				prepare := x.withWrites(txnpb.Kind_PREPARE, 2)
				prepare.CommitId = c.commitID()
				prepare.CoordinatorRange, prepare.CoordinatorKey = 1, []byte{2}
				if resp, err := x.send(ctx, 2, prepare); err != nil || resp.PrepareTs == 0 {
					t.Fatal(resp, err)
				}
				resolve := x.req(txnpb.Kind_RESOLVE, 2)
				resolve.CommitId, resolve.Outcome = prepare.CommitId, txnpb.Outcome_OUTCOME_ABORTED
				if commit {
					resolve.Outcome, resolve.CommitTs = txnpb.Outcome_OUTCOME_COMMITTED, time.Now().Add(time.Second).UnixNano()
				}
				if _, err := x.send(ctx, 2, resolve); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second) // commit wait
				load(ctx, t, cl, 2, "n=2")
				if change {
					c.groups[2].elect(1, nil)
				}
				prepare.LockEpoch = 0 // as first sent
				resp, err := x.send(ctx, 2, prepare)
				if commit && (err != nil || resp.Outcome != txnpb.Outcome_OUTCOME_COMMITTED) || !commit && codeOf(err) != txnpb.ErrorCode_ABORTED {
					t.Errorf("commit %v, change of leaders %v: %v %v", commit, change, resp, err)
				}
				m := c.groups[2].replicas[c.groups[2].leaderNode()].m
				if n := len(m.state.records) + m.lead.Load().table.Len(); n != 0 {
					t.Errorf("commit %v, change of leaders %v: prepared again", commit, change)
				}
				if v, _, err := cl.snapshot(ctx, "n", 0); err != nil || v != "2" {
					t.Errorf("commit %v, change of leaders %v: reads %q %v", commit, change, v, err)
				}
			})
		}
	}
}

// TestI8CommitIsFinal: a decision in the log stands whatever comes behind it in the log: an abort does not undo a commit.
func TestI8CommitIsFinal(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		x := cl.begin(1)
		x.put("a", "1")
		id := c.commitID()
		ts, err := x.commitAs(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		m := c.groups[1].replicas[1].m
		for range 2 {
			// What a leader would log that had not looked for an outcome first.
			res, err := m.logged(ctx, &command{kind: cmdAbort, commit: CommitID(id)})
			if a, _ := res.(applied); err != nil || a.outcome != txnpb.Outcome_OUTCOME_COMMITTED || a.ts != ts {
				t.Fatal(res, err)
			}
		}
		x.epochs[1] = 0
		if again, err := x.commitAs(ctx, id); err != nil || again != ts {
			t.Fatal(again, err)
		}
	})
}

// TestI9Tokens: a transaction that has lost a lock with a leader cannot commit.
func TestI9Tokens(t *testing.T) {
	lost := func(t *testing.T, ignoreToken bool) (anomaly bool) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, clusterConfig{nodes: 2, delay: time.Millisecond, eps: time.Millisecond})
			defer c.close()
			cl, ctx := client{c, 1}, context.Background()
			x, y := cl.begin(1), cl.begin(2)
			if _, err := x.read(ctx, "a", txnpb.LockMode_LOCK_EXCLUSIVE); err != nil {
				t.Fatal(err)
			}
			c.groups[1].elect(2, nil)
			if _, err := y.read(ctx, "a", txnpb.LockMode_LOCK_EXCLUSIVE); err != nil {
				t.Fatal(err)
			}
			y.put("a", "y, having read nothing")
			if _, err := y.commit(ctx); err != nil {
				t.Fatal(err)
			}
			if ignoreToken {
				x.epochs[1] = 0
			}
			x.put("a", "x, having read nothing")
			_, err := x.commit(ctx)
			anomaly = err == nil // a lost update
			if !anomaly {
				mustEqual(t, "refusal", codeOf(err), txnpb.ErrorCode_LOCK_LOST)
			}
		})
		return anomaly
	}
	if lost(t, false) {
		t.Error("an update was lost with a lease")
	}
	if !lost(t, true) {
		t.Error("no anomaly without tokens")
	}
}

// TestTwoPhaseLocking: locks are held to the end, or two transactions that each read what the other writes both
// commit (write skew).
func TestTwoPhaseLocking(t *testing.T) {
	skew := func(t *testing.T, cfg func(*Config)) (anomaly bool) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, clusterConfig{nodes: 1, delay: time.Millisecond, eps: time.Millisecond, config: cfg})
			defer c.close()
			cl, ctx := client{c, 1}, context.Background()
			x, y := cl.begin(1), cl.begin(2)
			if _, err := x.read(ctx, "a", txnpb.LockMode_LOCK_SHARED); err != nil {
				t.Fatal(err)
			}
			if _, err := y.read(ctx, "b", txnpb.LockMode_LOCK_SHARED); err != nil {
				t.Fatal(err)
			}
			x.put("b", "x")
			y.put("a", "y")
			_, xerr := x.commit(ctx)
			_, yerr := y.commit(ctx)
			anomaly = xerr == nil && yerr == nil
		})
		return anomaly
	}
	if skew(t, nil) {
		t.Error("write skew")
	}
	if !skew(t, func(c *Config) { c.TestReleaseEarly = true }) {
		t.Error("no anomaly when locks are released early")
	}
}

// TestI3GC: a read below the threshold is refused, one at it finds everything.
func TestI3GC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, clusterConfig{nodes: 2, delay: time.Millisecond, eps: time.Millisecond})
		defer c.close()
		cl, ctx := client{c, 1}, context.Background()
		var stamps []truetime.Timestamp
		for i := byte(1); i <= 3; i++ {
			x := cl.begin(i)
			x.put("a", string('0'+rune(i)))
			ts, err := x.commit(ctx)
			if err != nil {
				t.Fatal(err)
			}
			stamps = append(stamps, ts)
		}
		m := c.groups[1].replicas[1].m
		if err := m.RaiseGCThreshold(ctx, stamps[1]); err != nil {
			t.Fatal(err)
		}
		for _, r := range c.groups[1].replicas {
			if err := r.m.collect(ctx); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := cl.snapshot(ctx, "a", stamps[0])
		mustEqual(t, "read below the threshold", codeOf(err), txnpb.ErrorCode_BELOW_GC)
		v, _, err := cl.snapshot(ctx, "a", stamps[1])
		if err != nil || v != "2" {
			t.Fatal(v, err)
		}
		for id, n := range c.nodes {
			if _, _, found, _ := mvcc.Get(n.eng, []byte("a"), stamps[0]); found {
				t.Errorf("n%d keeps a dead version", id)
			}
		}
		// The next leader knows, also when it has been restarted, and so does a range that is split off.
		c.groups[1].elect(2, nil)
		_, _, err = cl.snapshot(ctx, "a", stamps[0])
		mustEqual(t, "read below the threshold", codeOf(err), txnpb.ErrorCode_BELOW_GC)
		c.groups[1].replicas[2].m.Reset()
		_, _, err = cl.snapshot(ctx, "a", stamps[0])
		mustEqual(t, "read below the threshold after a restart", codeOf(err), txnpb.ErrorCode_BELOW_GC)
		if err := c.split(ctx, 1, 2, "a"); err != nil {
			t.Fatal(err)
		}
		_, _, err = cl.snapshot(ctx, "a", stamps[0])
		mustEqual(t, "read below the threshold after a split", codeOf(err), txnpb.ErrorCode_BELOW_GC)

		// Right below a version nothing that it hides has gone.
		m = c.groups[2].replicas[2].m
		if err := m.RaiseGCThreshold(ctx, stamps[2]-1); err != nil {
			t.Fatal(err)
		}
		m.dirty.Store(true)
		if err := m.collect(ctx); err != nil {
			t.Fatal(err)
		}
		v, _, err = cl.snapshot(ctx, "a", stamps[2]-1)
		if err != nil || v != "2" {
			t.Fatal(v, err)
		}
	})
}

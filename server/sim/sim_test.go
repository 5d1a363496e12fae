package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server"
	"github.com/meridian-db/meridian/txn/participant"
)

// seeds returns the seeds to run: a few in `make test`, more by MERIDIAN_SIM_SEEDS, one by MERIDIAN_SIM_SEED.
func seeds(t *testing.T) []uint64 {
	if s := os.Getenv("MERIDIAN_SIM_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{n}
	}
	n := 8
	if s := os.Getenv("MERIDIAN_SIM_SEEDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	var out []uint64
	for i := range n {
		out = append(out, uint64(i+1))
	}
	return out
}

// live runs a life in a bubble.
func live(t *testing.T, l Life) (res Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		if res, err = l.Run(); err != nil {
			t.Fatal(err)
		}
	})
	return res
}

// isolateLeaders cuts off whoever leads the first data range, again and again, for long enough that the others elect
// another leader meanwhile.
func isolateLeaders(ctx context.Context, c *Cluster) {
	for ctx.Err() == nil {
		pause(ctx, 500*time.Millisecond)
		for _, n := range c.Nodes() {
			rep, ok := n.Core().Store.ReplicaForKey(listKey(0))
			if ok && rep.Lease().Until > n.Clock.Now().Latest {
				c.Net.Isolate(n.ID)
				break
			}
		}
		pause(ctx, 4*time.Second)
		c.Net.Heal()
	}
}

func report(t *testing.T, seed uint64, r Result) {
	t.Helper()
	commits, reads, unknown := r.Counts()
	t.Logf("seed %d: %d commits, %d read-only, %d of unknown outcome, %d SQL", seed, commits, reads, unknown, r.Statements)
	if commits < 20 {
		t.Errorf("seed %d: only %d commits: the run shows nothing", seed, commits)
	}
	for _, err := range r.Errs {
		t.Errorf("seed %d: %v", seed, err)
	}
}

// TestSimCalm has no faults but skewed clocks.
func TestSimCalm(t *testing.T) {
	report(t, 1, live(t, Life{Seed: 1, Length: 5 * time.Second}))
}

// A node that stops by itself at the moment of its restart is up afterwards.
func TestRestartOfFailingNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(t.Context(), Config{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		n := c.Nodes()[0]
		was := n.Core()
		was.Store.Fail(errors.New("disk full"))
		if err := n.Restart(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if core := n.Core(); core == nil || core == was {
			t.Errorf("node %d is down", n.ID)
		}
	})
}

// A full disk does not stop time: what a node that stops because of it waits for comes. Without that this test never ends.
func TestTimePassesOnFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(disk)
		e, err := mvcc.Open(mvcc.Config{FS: d.over(vfs.NewMem()), Dir: "engine", Logger: slog.New(slog.DiscardHandler), OnFailure: func(error) {}})
		if err != nil {
			t.Fatal(err)
		}
		b := e.NewBatch()
		b.Put([]byte("k"), 1, []byte("v"))
		if err := errors.Join(b.Commit(false), b.Close()); err != nil {
			t.Fatal(err)
		}
		d.full.Store(true)
		if _, err := e.FlushAsync(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		_ = e.Close()
	})
}

// TestSimFaults is the whole promise under crashes, partitions and loss.
func TestSimFaults(t *testing.T) {
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			plan := Plan(seed, 3, 30*time.Second, 1500*time.Millisecond)
			r := live(t, Life{Seed: seed, Schedule: plan})
			report(t, seed, r)
			if len(r.Errs) > 0 {
				t.Logf("schedule:\n%s", plan)
			}
		})
	}
}

// TestSimIsolatedLeaders is the control of TestSimFindsIgnoredVotes.
func TestSimIsolatedLeaders(t *testing.T) {
	for _, seed := range seeds(t) {
		report(t, seed, live(t, Life{Seed: seed, Clients: 12, Length: 20 * time.Second, Aside: isolateLeaders}))
	}
}

// skew drives the nodes' clocks apart inside a wide bound.
func skew(c *Cluster) {
	for _, n := range c.Nodes() {
		n.Clock.SetBound(20 * time.Millisecond)
	}
}

// expectViolation runs seeds until the checker finds something.
func expectViolation(t *testing.T, l Life) {
	t.Helper()
	for seed := uint64(1); seed <= 10; seed++ {
		l.Seed = seed
		if r := live(t, l); len(r.Errs) > 0 {
			t.Logf("seed %d: found: %v", seed, r.Errs[0])
			return
		}
	}
	t.Error("the mechanism was switched off and no violation was found")
}

// TestSimFindsMissingCommitWait: without commit wait, under skewed clocks, external consistency must break.
func TestSimFindsMissingCommitWait(t *testing.T) {
	expectViolation(t, Life{Length: 5 * time.Second, Disturb: skew,
		Tune: func(cfg *server.CoreConfig) {
			cfg.TuneParticipant = func(p *participant.Config) { p.TestNoCommitWait = true }
		}})
}

// TestSimFindsEarlyRelease: when shared locks go before the commit, serializability must break.
func TestSimFindsEarlyRelease(t *testing.T) {
	expectViolation(t, Life{Length: 5 * time.Second,
		Tune: func(cfg *server.CoreConfig) {
			cfg.TuneParticipant = func(p *participant.Config) { p.TestReleaseEarly = true }
		}})
}

// TestSimFindsIgnoredVotes: when nodes vote whatever they have promised, two leases overlap under partitions, and a
// leader that was cut off serves what is no longer true (I4).
func TestSimFindsIgnoredVotes(t *testing.T) {
	expectViolation(t, Life{Clients: 12, Length: 20 * time.Second, Aside: isolateLeaders,
		Tune: func(cfg *server.CoreConfig) {
			cfg.TuneRanges = func(r *ranges.Config) { r.TestIgnoreVotes = true }
		}})
}

// TestSimFindsLyingClock: a clock whose interval misses true time breaks I1, and with it external consistency.
func TestSimFindsLyingClock(t *testing.T) {
	expectViolation(t, Life{Length: 5 * time.Second, Disturb: func(c *Cluster) {
		c.Nodes()[0].Clock.Lie(-200 * time.Millisecond)
	}})
}

// TestSimSQL runs statements through the wire beside the lists, and faults.
func TestSimSQL(t *testing.T) {
	for _, seed := range seeds(t)[:1] {
		plan := Plan(seed, 3, 20*time.Second, 3*time.Second)
		r := live(t, Life{Seed: seed, SQL: true, Clients: 4, Length: 20 * time.Second, Think: 20 * time.Millisecond, Schedule: plan})
		report(t, seed, r)
		if r.Statements < 50 {
			t.Errorf("only %d transactions of SQL", r.Statements)
		}
		if len(r.Errs) > 0 {
			t.Logf("schedule:\n%s", plan)
		}
	}
}

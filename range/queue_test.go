package ranges

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/meridian-db/meridian/truetime"
)

// fakeMeta keeps what it is told, as the meta range would, and fails the first few times.
type fakeMeta struct {
	mu    sync.Mutex
	fails int
	recs  map[string]*Descriptor
}

func (m *fakeMeta) UpdateMeta(ctx context.Context, old, new []*Descriptor) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails > 0 {
		m.fails--
		return errors.New("not now")
	}
	for _, d := range new {
		if have := m.recs[string(d.End)]; have == nil || have.Generation < d.Generation {
			m.recs[string(d.End)] = d
		}
	}
	return nil
}

// A range that grows past the limit splits by itself, again and again, and the meta range hears of it.
func TestSplitBySize(t *testing.T) {
	meta := &fakeMeta{fails: 2, recs: map[string]*Descriptor{}}
	runSim(t, 20, 3, func(c *Config) { c.SplitBytes = 64 << 10; c.Meta = meta }, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		value := string(make([]byte, 1000))
		for i := range 400 {
			key := fmt.Sprintf("k%03d", i)
			for {
				if _, err := c.put(c.leader(key, 5*time.Second), key, value); err == nil {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
		c.until(30*time.Second, "no range is too large", func() bool {
			for _, st := range c.nodes[1].store.Status() {
				if st.SizeBytes > 64<<10 {
					return false
				}
			}
			return true
		})
		n := len(c.nodes[1].store.Replicas())
		if n < 6 || n > 30 {
			t.Fatalf("%d ranges of 400 kB in all", n)
		}
		for i := range 400 {
			if got := c.get(c.nodes[1], fmt.Sprintf("k%03d", i), truetime.MaxTimestamp); got != value {
				t.Fatalf("k%03d is gone", i)
			}
		}
		c.until(10*time.Second, "meta agrees", func() bool {
			for _, r := range c.nodes[1].store.Replicas() {
				meta.mu.Lock()
				d := meta.recs[string(r.Desc().End)]
				meta.mu.Unlock()
				if d == nil || d.Generation != r.Desc().Generation || d.ID != r.ID() {
					return false
				}
			}
			return true
		})
	})
}

// A range that is too large for the versions of its only key rests, and splits when other keys have come. Were it looked
// through again at once, virtual time would stand still here.
func TestSplitOfOneKey(t *testing.T) {
	runSim(t, 22, 3, func(c *Config) { c.SplitBytes = 16 << 10; c.Meta = &fakeMeta{recs: map[string]*Descriptor{}} }, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.leader("k", 5*time.Second)
		value := string(make([]byte, 1000))
		for range 20 {
			c.mustPut(r, "k", value)
		}
		time.Sleep(time.Minute)
		if n := len(c.nodes[1].store.Replicas()); n != 1 {
			t.Fatalf("one key is in %d ranges", n)
		}
		for i := range 8 {
			c.mustPut(c.leader("l", 5*time.Second), fmt.Sprintf("l%d", i), value)
		}
		c.until(30*time.Second, "the range is split", func() bool { return len(c.nodes[1].store.Replicas()) > 1 })
	})
}

// The range of the meta records is not divided among them, and nobody is kept waiting for an attempt.
func TestMetaRangeIsNotSplit(t *testing.T) {
	runSim(t, 28, 1, func(c *Config) { c.Nodes, c.SplitBytes = nil, 16<<10 }, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1))
		r := c.leader("\x01a", 5*time.Second)
		tries := 0
		hook := func() { tries++ }
		r.machine.(*register).prepared.Store(&hook)
		for i := range 40 {
			c.mustPut(r, fmt.Sprintf("\x01k%02d", i), string(make([]byte, 1000)))
		}
		time.Sleep(time.Minute)
		if tries > 0 {
			t.Errorf("%d attempts", tries)
		}
		// Other keys are, once there are more of them.
		for i := range 80 {
			for key := fmt.Sprintf("m%02d", i); ; time.Sleep(100 * time.Millisecond) {
				if _, err := c.put(c.leader(key, 5*time.Second), key, string(make([]byte, 1000))); err == nil {
					break
				}
			}
		}
		c.until(time.Minute, "the other keys have ranges of their own", func() bool { return len(r.store.Replicas()) > 2 })
	})
}

// A machine is asked for reads as soon as it has been made, which is before its replica knows of it.
func TestSafeTimeBeforeMachine(t *testing.T) {
	asked := 0
	runSim(t, 23, 3, func(c *Config) {
		build := c.NewMachine
		c.NewMachine = func(r *Replica) Machine {
			if ts := r.SafeTime(); ts != 0 {
				t.Errorf("a replica without a machine answers up to %s", ts)
			}
			asked++
			return build(r)
		}
	}, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		c.mustPut(c.leader("k", 5*time.Second), "k", "v")
	})
	if asked == 0 {
		t.Error("no machine was made")
	}
}

// A traced proposal leaves a span on every replica that says when the entry was durable and when it was applied, all in one
// trace; others leave none.
func TestTracedProposal(t *testing.T) {
	rec := tracetest.NewSpanRecorder()
	tp := trace.NewTracerProvider(trace.WithSpanProcessor(rec))
	tracer := tp.Tracer("test")
	runSim(t, 21, 3, func(c *Config) { c.Tracer = tracer }, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		time.Sleep(time.Second)
		if n := len(rec.Ended()); n != 0 {
			t.Fatalf("%d spans without a trace", n)
		}
		ctx, root := tracer.Start(context.Background(), "root")
		p, err := r.Propose(ctx, Proposal{Timed: true, Encode: func(ts truetime.Timestamp) []byte { return encodePut(ts, "a", "2") }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		got := map[string]int{}
		for _, s := range rec.Ended() {
			if s.SpanContext().TraceID() != root.SpanContext().TraceID() {
				t.Errorf("%s is in another trace", s.Name())
			}
			got[s.Name()]++
			if s.Name() != "raft.apply" {
				continue
			}
			if e := s.Events(); len(e) != 1 || e[0].Name != "durable" || e[0].Time.Before(s.StartTime()) || e[0].Time.After(s.EndTime()) {
				t.Errorf("a replica's span from %s to %s has %v", s.StartTime(), s.EndTime(), e)
			}
		}
		if got["raft.propose"] != 1 || got["raft.apply"] != 3 {
			t.Errorf("spans %v", got)
		}
	})
}

// A leader whose node loses its clock hands its leases over, with the locks, at once.
func TestSickClockTransfers(t *testing.T) {
	runSim(t, 26, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		r.machine.(*register).handoff = "locks"
		c.nodes[r.NodeID()].clock.sick.Store(true)
		r2 := c.leader("a", 300*time.Millisecond, r.NodeID())
		m := r2.machine.(*register)
		m.mu.Lock()
		defer m.mu.Unlock()
		if got := m.events[len(m.events)-1]; got != `acquired handoff="locks"` {
			t.Errorf("the next leader: %s", got)
		}
	})
}

// Where it cannot hand over, it keeps nobody from being elected once its votes have run out, however long the
// way that a candidate's messages take compared with a heartbeat.
func TestSickClockElection(t *testing.T) {
	for _, delay := range []time.Duration{0, 5 * time.Millisecond, 80 * time.Millisecond} {
		for seed := range uint64(8) {
			runSim(t, seed, 3, nil, func(c *sim) {
				c.net.refuse = func(_ NodeID, m Method) bool { return m == methodHandoff || m == methodReady }
				c.net.delay = func() time.Duration { return delay }
				c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
				r := c.leader("a", 5*time.Second)
				c.mustPut(r, "a", "1")
				time.Sleep(time.Duration(seed) * 300 * time.Millisecond)
				c.nodes[r.NodeID()].clock.sick.Store(true)
				c.mustPut(c.leader("a", 3*time.Second+5*delay, r.NodeID()), "a", "2")
			})
		}
	}
}

// It does not wait to be told: without a good clock and without votes it steps down, and says so to those whose
// proposals wait.
func TestSickClockStepsDown(t *testing.T) {
	runSim(t, 27, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		for _, x := range c.nodes {
			x.clock.sick.Store(true) // nobody can take over
		}
		time.Sleep(r.Lease().Until.Sub(c.nodes[r.NodeID()].clock.Now().Latest) + 250*time.Millisecond)
		if r.leading.Load() {
			t.Error("it leads without a lease that could come back")
		}
		for _, x := range c.nodes {
			x.clock.sick.Store(false)
		}
		c.mustPut(c.leader("a", 2*time.Second), "a", "2")
	})
}

// When a leader gets no more votes, the two nodes that are left take turns: one wins with its first campaign,
// although the third, which still supports itself, is no judge.
func TestVotelessLeader(t *testing.T) {
	for seed := range uint64(8) {
		runSim(t, seed, 3, nil, func(c *sim) {
			c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
			r := c.leader("a", 5*time.Second)
			c.mustPut(r, "a", "1")
			time.Sleep(time.Second + time.Duration(seed)*300*time.Millisecond) // it falls silent
			c.net.mu.Lock()
			c.net.refuse = func(from NodeID, m Method) bool { return from == r.NodeID() && m == methodSupport }
			c.net.mu.Unlock()
			c.mustPut(c.leader("a", 2500*time.Millisecond, r.NodeID()), "a", "2")
		})
	}
}

// A leader whose node loses its clock gives up its leases, and another takes over.
func TestSickClock(t *testing.T) {
	runSim(t, 22, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		c.nodes[r.NodeID()].clock.sick.Store(true)
		r2 := c.leader("a", 5*time.Second, r.NodeID())
		c.mustPut(r2, "a", "2")
		c.until(10*time.Second, "the old leader knows", func() bool { return !r.leading.Load() })
		c.nodes[r.NodeID()].clock.sick.Store(false)
		if err := r2.TransferLease(context.Background(), r.NodeID()); err != nil {
			t.Fatal(err)
		}
		c.mustPut(c.leader("a", 5*time.Second, r2.NodeID()), "a", "3")
	})
}

// A replica that cannot apply goes out of service; the group goes on without it.
func TestBrokenReplica(t *testing.T) {
	runSim(t, 24, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		r.machine.(*register).poison.Store(true)
		_, err := c.put(r, "a", "2")
		if !errors.Is(err, ErrAmbiguous) {
			t.Fatalf("the proposer was told %v", err)
		}
		r2 := c.leader("a", 8*time.Second, r.NodeID())
		c.mustPut(r2, "a", "3")
		if st := r.Status(); st.Failed == nil || st.IsLeader {
			t.Fatalf("%+v", st)
		}
		if got := c.get(c.nodes[r.NodeID()], "a", truetime.MaxTimestamp); got != "1" {
			t.Fatalf("the broken replica applied %q", got)
		}
		// A restart gives it another chance.
		x := c.nodes[r.NodeID()]
		c.stop(x)
		c.restart(x)
		c.until(10*time.Second, "it has caught up", func() bool { return c.get(x, "a", truetime.MaxTimestamp) == "3" })
	})
}

// Past its limits a range refuses proposals instead of piling them up.
func TestOverload(t *testing.T) {
	runSim(t, 25, 3, func(c *Config) { c.MaxPending = 10 }, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.net.isolate(r.NodeID(), true)
		var err error
		var ps []*Pending
		for range 20 {
			var p *Pending
			p, err = r.Propose(context.Background(), Proposal{Timed: true, Encode: func(ts truetime.Timestamp) []byte { return encodePut(ts, "a", "x") }})
			if err != nil {
				break
			}
			ps = append(ps, p)
		}
		if !errors.Is(err, ErrOverloaded) || len(ps) != 10 {
			t.Fatalf("%d proposals, then %v", len(ps), err)
		}
		if _, err := r.Propose(context.Background(), Proposal{Encode: func(truetime.Timestamp) []byte { return make([]byte, 65<<20) }}); !errors.Is(err, ErrProposalTooLarge) {
			t.Fatal(err)
		}
		// Cut off, the leader's proposals end in doubt, within seconds.
		for _, p := range ps {
			if _, err := p.Wait(context.Background()); !errors.Is(err, ErrAmbiguous) {
				t.Fatal(err)
			}
		}
		c.net.isolate(r.NodeID(), false)
		c.mustPut(c.leader("a", 8*time.Second), "a", "y")
	})
}

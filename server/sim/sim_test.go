package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server"
	"github.com/meridian-db/meridian/txn/kv"
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

// workload is a list-append run.
type workload struct {
	keys    int
	clients int
	length  time.Duration
	faults  bool
	trouble func(ctx context.Context, c *Cluster) // in place of the nemesis
	tune    func(*server.CoreConfig)
	disturb func(c *Cluster)                      // before the clients start
	aside   func(ctx context.Context, c *Cluster) // beside the clients
	flush   bool                                  // stage what is written at once, mostly
}

// key i lies in the data range; the lists are spread over both halves of it, so that a split makes two ranges.
func listKey(i int) []byte { return []byte{0x03, 0, 0, byte(1 + i%2), 0, 0, 0, 0, byte(i)} }

// run drives the workload inside a bubble and returns the history and what is wrong with it.
func (w workload) run(t *testing.T, seed uint64) (ops []Op, errs []error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		c, err := New(ctx, Config{Seed: seed, Tune: w.tune})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		rep, ok := c.Nodes()[0].Core().Store.ReplicaForKey(listKey(0))
		if !ok {
			t.Fatal("no replica of the data range")
		}
		if err := rep.Split(ctx, []byte{0x03, 0, 0, 2}); err != nil {
			t.Fatalf("split: %v", err)
		}
		if w.disturb != nil {
			w.disturb(c)
		}
		run, stop := context.WithTimeout(ctx, w.length)
		defer stop()
		h := &recorder{}
		var wg sync.WaitGroup
		for i := range w.clients {
			wg.Add(1)
			go func() {
				defer wg.Done()
				w.client(run, c, i, rand.New(rand.NewPCG(seed, 1000+uint64(i))), h)
			}()
		}
		if w.aside != nil {
			wg.Add(1)
			go func() {
				defer wg.Done()
				w.aside(run, c)
			}()
		}
		if w.faults {
			nemesis(t, run, c, rand.New(rand.NewPCG(seed, 7)))
		}
		if w.trouble != nil {
			w.trouble(run, c)
		}
		wg.Wait()
		// Faults stop, and progress must resume.
		c.Net.Heal()
		c.Net.SetFaults(Faults{Latency: time.Millisecond})
		for _, n := range c.Nodes() {
			if err := n.Restart(); err != nil {
				t.Fatal(err)
			}
		}
		final, differ := w.readAll(t, ctx, c, h.ops)
		ops, errs = h.ops, append(differ, Check(h.ops, final)...)
	})
	return ops, errs
}

// recorder collects the history of all clients.
type recorder struct {
	mu   sync.Mutex
	ops  []Op
	next int
}

func (h *recorder) value() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	return h.next
}

func (h *recorder) add(o Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

func (w workload) client(ctx context.Context, c *Cluster, id int, rng *rand.Rand, h *recorder) {
	for ctx.Err() == nil {
		core := c.Nodes()[rng.IntN(len(c.Nodes()))].Core()
		if core == nil {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		try, cancel := context.WithTimeout(ctx, 8*time.Second)
		o, err := w.once(try, core.DB, id, rng, h)
		cancel()
		if err == nil || o.Unknown {
			h.add(o)
		}
		if err != nil {
			pause(ctx, time.Duration(rng.IntN(20))*time.Millisecond)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// once runs one transaction: reads one to three lists and, unless read-only, appends to one or two of them.
func (w workload) once(ctx context.Context, db kv.DB, id int, rng *rand.Rand, h *recorder) (Op, error) {
	o := Op{Client: id, Begin: time.Now(), ReadOnly: rng.IntN(3) == 0, Reads: map[string][]int{}, Appends: map[string]int{}}
	tx, err := db.Begin(ctx, kv.TxnOptions{ReadOnly: o.ReadOnly})
	if err != nil {
		return o, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	picked := rng.Perm(w.keys)[:1+rng.IntN(3)]
	lock := kv.LockNone
	for i, k := range picked {
		append_ := !o.ReadOnly && (i == 0 || i == 1 && rng.IntN(2) == 0)
		switch {
		case append_:
			lock = kv.LockExclusive
		case !o.ReadOnly:
			lock = kv.LockShared
		}
		key := listKey(k)
		b, err := tx.Get(ctx, key, lock, kv.WaitBlock)
		if err != nil {
			return o, err
		}
		list, err := decodeList(b)
		if err != nil {
			return o, err
		}
		o.Reads[string(key)] = list
		if append_ {
			v := h.value()
			o.Appends[string(key)] = v
			if err := tx.Put(key, encodeList(append(list, v))); err != nil {
				return o, err
			}
			if w.flush && rng.IntN(4) > 0 {
				if err := tx.Flush(ctx); err != nil {
					return o, err
				}
			}
		}
		if rng.IntN(4) == 0 {
			pause(ctx, time.Duration(rng.IntN(5))*time.Millisecond)
		}
	}
	if o.ReadOnly {
		o.TS = tx.ReadTimestamp()
	}
	o.Commit = time.Now()
	ts, err := tx.Commit(ctx)
	o.End = time.Now()
	if err != nil {
		// Anything but a clean abort leaves the outcome open.
		o.Unknown = !o.ReadOnly && !errors.Is(err, kv.ErrRetry)
		return o, err
	}
	if !o.ReadOnly {
		o.TS = ts
	}
	return o, nil
}

func encodeList(list []int) []byte {
	var b strings.Builder
	for _, v := range list {
		fmt.Fprintf(&b, "%d ", v)
	}
	return []byte(b.String())
}

func decodeList(b []byte) ([]int, error) {
	var out []int
	for f := range strings.FieldsSeq(string(b)) {
		v, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// readAll reads every list through every node, one after the other; all must agree. Only what a transaction of unknown
// outcome appended may be there for a later node and not for an earlier one: it can commit as late as that.
func (w workload) readAll(t *testing.T, ctx context.Context, c *Cluster, ops []Op) (final map[string][]int, errs []error) {
	t.Helper()
	unknown := map[int]bool{}
	for _, o := range ops {
		if o.Unknown {
			for _, v := range o.Appends {
				unknown[v] = true
			}
		}
	}
	known := func(v int) bool { return !unknown[v] }
	for _, n := range c.Nodes() {
		lists := map[string][]int{}
		for {
			tx, err := n.Core().DB.Begin(ctx, kv.TxnOptions{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			for i := range w.keys {
				var b []byte
				if b, err = tx.Get(ctx, listKey(i), kv.LockNone, kv.WaitBlock); err != nil {
					break
				}
				if lists[string(listKey(i))], err = decodeList(b); err != nil {
					t.Fatal(err)
				}
			}
			tx.Rollback(ctx)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("node %d does not serve after the faults have stopped: %v\n%s", n.ID, err, describe(c))
			}
			pause(ctx, 100*time.Millisecond)
		}
		if final == nil {
			final = lists
		} else {
			for key, list := range lists {
				before := final[key]
				if k := len(before); len(list) > k && slices.Equal(list[:k], before) && !slices.ContainsFunc(list[k:], known) {
					final[key] = list
				} else if !slices.Equal(list, before) {
					errs = append(errs, fmt.Errorf("node %d reads %v of %x, node 1 %v", n.ID, tail(list), key, tail(final[key])))
				}
			}
		}
	}
	return final, errs
}

// describe prints what every node thinks of its ranges.
func describe(c *Cluster) string {
	var b strings.Builder
	for _, n := range c.Nodes() {
		core := n.Core()
		if core == nil {
			fmt.Fprintf(&b, "node %d is down\n", n.ID)
			continue
		}
		for _, s := range core.Store.Status() {
			fmt.Fprintf(&b, "node %d: %v leader %d (me %v) term %d lease until %s, applied %d committed %d last %d, quiesced %v, safe %s\n",
				n.ID, s.Desc, s.Leader, s.IsLeader, s.Term, s.LeaseUntil, s.Applied, s.Committed, s.LastIndex, s.Quiesced, s.SafeTime)
		}
	}
	return b.String()
}

// nemesis makes trouble until ctx ends: at most one node is down or cut off at a time.
func nemesis(t *testing.T, ctx context.Context, c *Cluster, rng *rand.Rand) {
	for ctx.Err() == nil {
		pause(ctx, time.Duration(500+rng.IntN(1500))*time.Millisecond)
		n := c.Nodes()[rng.IntN(len(c.Nodes()))]
		last := time.Duration(200+rng.IntN(4000)) * time.Millisecond
		switch rng.IntN(5) {
		case 0:
			c.Net.Isolate(n.ID)
			pause(ctx, last)
			c.Net.Heal()
		case 1: // deaf: it sends but does not hear
			for _, o := range c.Nodes() {
				if o != n {
					c.Net.Cut(o.ID, n.ID)
				}
			}
			pause(ctx, last)
			c.Net.Heal()
		case 2, 3:
			n.Crash()
			pause(ctx, last)
			if err := n.Restart(); err != nil {
				t.Errorf("restart node %d: %v", n.ID, err)
				return
			}
		case 4:
			c.Net.SetFaults(Faults{Latency: time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05, Dup: 0.05})
			pause(ctx, last)
			c.Net.SetFaults(Faults{Latency: time.Millisecond})
		}
	}
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

func report(t *testing.T, seed uint64, ops []Op, errs []error) {
	t.Helper()
	values, unknown, reads := 0, 0, 0
	for _, o := range ops {
		switch {
		case o.Unknown:
			unknown++
		case o.ReadOnly:
			reads++
		default:
			values++
		}
	}
	t.Logf("seed %d: %d commits, %d read-only, %d of unknown outcome", seed, values, reads, unknown)
	if values < 20 {
		t.Errorf("seed %d: only %d commits: the run shows nothing", seed, values)
	}
	for _, err := range errs {
		t.Errorf("seed %d: %v", seed, err)
	}
}

// TestSimCalm has no faults but skewed clocks.
func TestSimCalm(t *testing.T) {
	w := workload{keys: 6, clients: 8, length: 5 * time.Second}
	ops, errs := w.run(t, 1)
	report(t, 1, ops, errs)
}

// TestSimFaults is the whole promise under crashes, partitions and loss.
func TestSimFaults(t *testing.T) {
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := workload{keys: 6, clients: 8, length: 30 * time.Second, faults: true}
			ops, errs := w.run(t, seed)
			report(t, seed, ops, errs)
		})
	}
}

// TestSimIsolatedLeaders is the control of TestSimFindsIgnoredVotes.
func TestSimIsolatedLeaders(t *testing.T) {
	for _, seed := range seeds(t) {
		w := workload{keys: 6, clients: 12, length: 20 * time.Second, trouble: isolateLeaders}
		ops, errs := w.run(t, seed)
		report(t, seed, ops, errs)
	}
}

// skew drives the nodes' clocks apart inside a wide bound.
func skew(c *Cluster) {
	for _, n := range c.Nodes() {
		n.Clock.SetBound(20 * time.Millisecond)
	}
}

// expectViolation runs seeds until the checker finds something.
func expectViolation(t *testing.T, w workload) {
	t.Helper()
	for seed := uint64(1); seed <= 10; seed++ {
		if _, errs := w.run(t, seed); len(errs) > 0 {
			t.Logf("seed %d: found: %v", seed, errs[0])
			return
		}
	}
	t.Error("the mechanism was switched off and no violation was found")
}

// TestSimFindsMissingCommitWait: without commit wait, under skewed clocks, external consistency must break.
func TestSimFindsMissingCommitWait(t *testing.T) {
	expectViolation(t, workload{keys: 6, clients: 8, length: 5 * time.Second, disturb: skew,
		tune: func(cfg *server.CoreConfig) {
			cfg.TuneParticipant = func(p *participant.Config) { p.TestNoCommitWait = true }
		}})
}

// TestSimFindsEarlyRelease: when shared locks go before the commit, serializability must break.
func TestSimFindsEarlyRelease(t *testing.T) {
	expectViolation(t, workload{keys: 6, clients: 8, length: 5 * time.Second,
		tune: func(cfg *server.CoreConfig) {
			cfg.TuneParticipant = func(p *participant.Config) { p.TestReleaseEarly = true }
		}})
}

// TestSimFindsIgnoredVotes: when nodes vote whatever they have promised, two leases overlap under partitions, and a
// leader that was cut off serves what is no longer true (I4).
func TestSimFindsIgnoredVotes(t *testing.T) {
	expectViolation(t, workload{keys: 6, clients: 12, length: 20 * time.Second, trouble: isolateLeaders,
		tune: func(cfg *server.CoreConfig) {
			cfg.TuneRanges = func(r *ranges.Config) { r.TestIgnoreVotes = true }
		}})
}

// TestSimFindsLyingClock: a clock whose interval misses true time breaks I1, and with it external consistency.
func TestSimFindsLyingClock(t *testing.T) {
	expectViolation(t, workload{keys: 6, clients: 8, length: 5 * time.Second, disturb: func(c *Cluster) {
		c.Nodes()[0].Clock.Lie(-200 * time.Millisecond)
	}})
}

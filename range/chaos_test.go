package ranges

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
)

// chaos runs clients against a cluster with faults, and checks what they see: an acknowledged write is seen
// by every read that starts later, on whatever node believes it leads; timestamps agree with real time; no
// two nodes hold a lease at once.
type chaos struct {
	*sim
	keys int

	mu    sync.Mutex
	acked map[string]int // key -> newest value acknowledged
	tried map[string]int
	ts    map[string]truetime.Timestamp
	bad   []string
	done  int
	reads int
}

func (c *chaos) fail(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.bad) < 20 {
		c.bad = append(c.bad, fmt.Sprintf(format, args...))
	}
}

func (c *chaos) violations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{}, c.bad...)
}

// candidates returns the replicas that believe they lead the key's range.
func (c *chaos) candidates(key string) []*Replica {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	var out []*Replica
	for id := NodeID(1); int(id) <= len(c.nodes); id++ {
		if s := c.net.stores[id]; s != nil {
			if r, ok := s.ReplicaForKey([]byte(key)); ok && r.leading.Load() {
				out = append(out, r)
			}
		}
	}
	return out
}

func (c *chaos) write(key string, rnd *rand.Rand) {
	rs := c.candidates(key)
	if len(rs) == 0 {
		return
	}
	r := rs[rnd.IntN(len(rs))]
	c.mu.Lock()
	c.tried[key]++
	n, floor := c.tried[key], c.ts[key]
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	p, err := r.Propose(ctx, Proposal{Timed: true, Start: []byte(key), Encode: func(ts truetime.Timestamp) []byte {
		return encodePut(ts, key, strconv.Itoa(n))
	}})
	if err != nil {
		return
	}
	if _, err := p.Wait(ctx); err != nil {
		return
	}
	// Commit wait, which is the transaction layer's: without it a reader with a slower clock reads below.
	if r.Clock().WaitAfter(ctx, p.TS()) != nil {
		return
	}
	if p.TS() <= floor {
		c.fail("%s: write %d got %s, an earlier one had %s", key, n, p.TS(), floor)
	}
	c.mu.Lock()
	c.acked[key], c.ts[key] = max(c.acked[key], n), max(c.ts[key], p.TS())
	c.done++
	c.mu.Unlock()
}

func (c *chaos) read(key string, rnd *rand.Rand) {
	rs := c.candidates(key)
	if len(rs) == 0 {
		return
	}
	r := rs[rnd.IntN(len(rs))]
	c.mu.Lock()
	least := c.acked[key]
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	ts := r.Clock().Now().Latest
	index, err := r.ConfirmSafeTime(ctx, ts)
	if err != nil || r.WaitApplied(ctx, index) != nil || !r.Desc().Contains([]byte(key)) {
		return
	}
	s, leave, ok := c.net.enter(r.NodeID(), r.NodeID())
	if !ok {
		return // it has crashed
	}
	defer leave()
	if s != r.store {
		return // and is back
	}
	v, _, _, err := mvcc.Get(r.Engine(), []byte(key), ts)
	if err != nil {
		c.fail("%s: %v", key, err)
		return
	}
	got, _ := strconv.Atoi(string(v))
	c.mu.Lock()
	most := c.tried[key]
	c.reads++
	c.mu.Unlock()
	if got < least || got > most {
		c.fail("%s: %s read %d, but %d was acknowledged before and %d tried", key, r.NodeID(), got, least, most)
	}
}

// watchLeases looks for two nodes that hold the lease of one range.
func (c *chaos) watchLeases() {
	holders := map[RangeID]NodeID{}
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for id := NodeID(1); int(id) <= len(c.nodes); id++ {
		s := c.net.stores[id]
		if s == nil {
			continue
		}
		now := s.cfg.Clock.Now()
		for _, r := range s.replicaList() {
			if l := r.Lease(); l.Until > now.Latest {
				if other := holders[r.id]; other != 0 {
					c.fail("%s: %s and %s hold the lease", r.id, other, id)
				}
				holders[r.id] = id
			}
		}
	}
}

func (c *chaos) run(rnd *rand.Rand, length time.Duration, faults func(stop <-chan struct{})) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for k := range c.keys {
		key := fmt.Sprintf("k%d", k)
		wr := rand.New(rand.NewPCG(rnd.Uint64(), 1))
		wg.Add(2)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				c.write(key, wr)
				time.Sleep(time.Duration(wr.IntN(40)) * time.Millisecond)
			}
		}()
		rr := rand.New(rand.NewPCG(rnd.Uint64(), 2))
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				c.read(key, rr)
				time.Sleep(time.Duration(rr.IntN(30)) * time.Millisecond)
			}
		}()
	}
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			select {
			case <-stop:
				return
			default:
			}
			c.watchLeases()
			time.Sleep(7 * time.Millisecond)
		}
	}()
	wg.Add(1)
	go func() {
		defer wg.Done()
		faults(stop)
	}()
	time.Sleep(length)
	close(stop)
	wg.Wait()
}

func newChaos(s *sim, keys int) *chaos {
	return &chaos{sim: s, keys: keys, acked: map[string]int{}, tried: map[string]int{}, ts: map[string]truetime.Timestamp{}}
}

func chaosSeeds(t *testing.T) []uint64 {
	n := 6
	if s := os.Getenv("RANGE_SEEDS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	first := uint64(1)
	if s := os.Getenv("RANGE_SEED"); s != "" {
		x, _ := strconv.Atoi(s)
		first, n = uint64(x), 1
	}
	var out []uint64
	for i := range n {
		out = append(out, first+uint64(i))
	}
	return out
}

func TestChaos(t *testing.T) {
	for _, seed := range chaosSeeds(t) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 42))
			nodes := 3 + 2*rnd.IntN(2)
			runSim(t, seed, nodes, func(c *Config) {
				c.Nodes = nil
				if seed%2 == 0 { // short logs, so that who lags needs a snapshot
					c.LogTruncateBytes, c.LogKeepBytes, c.QueueInterval = 2<<10, 8<<10, 200*time.Millisecond
				}
			}, func(s *sim) {
				c := newChaos(s, 4)
				var ids []NodeID
				for id := NodeID(1); int(id) <= nodes; id++ {
					ids = append(ids, id)
					// Clocks that are wrong nearly as far as they admit.
					c.nodes[id].clock.eps = 20 * time.Millisecond
					c.nodes[id].clock.skew = time.Duration(int64(id)*13%41-20) * time.Millisecond
				}
				c.startAll(desc(1, "\x02", "\xff", ids[:3]...))
				c.leader("k0", 10*time.Second)
				c.run(rnd, 40*time.Second, func(stop <-chan struct{}) {
					c.faults(stop, rnd, nodes)
				})
				c.net.mu.Lock()
				c.net.loss, c.net.dup, c.net.delay = 0, 0, nil
				clear(c.net.cut)
				c.net.mu.Unlock()
				for _, id := range ids {
					if c.nodes[id].store == nil {
						c.restart(c.nodes[id])
					}
				}
				for k := range c.keys {
					key := fmt.Sprintf("k%d", k)
					c.until(20*time.Second, "service is back for "+key, func() bool {
						before := c.done
						c.write(key, rnd)
						return c.done > before
					})
					c.read(key, rnd)
				}
				c.until(time.Minute, "all replicas agree", func() bool { return c.agree() })
				if bad := c.violations(); len(bad) > 0 {
					c.dump()
					t.Fatalf("seed %d: %v", seed, bad)
				}
				t.Logf("%d nodes, %d writes, %d reads, %d snapshots", nodes, c.done, c.reads, c.net.bulks)
			})
		})
	}
}

// agree reports whether all replicas of each key's range hold the same versions of it.
func (c *chaos) agree() bool {
	time.Sleep(300 * time.Millisecond)
	for k := range c.keys {
		key := []byte(fmt.Sprintf("k%d", k))
		want := ""
		for id := NodeID(1); int(id) <= len(c.nodes); id++ {
			r, ok := c.nodes[id].store.ReplicaForKey(key)
			if !ok {
				continue
			}
			got := r.Desc().String()
			ts := truetime.MaxTimestamp
			for {
				v, vts, ok, err := mvcc.Get(c.nodes[id].eng, key, ts)
				if err != nil {
					c.t.Fatal(err)
				}
				if !ok {
					break
				}
				got += fmt.Sprintf("%s@%d=%s ", key, vts, v)
				ts = vts - 1
			}
			if want == "" {
				want = got
			} else if got != want {
				return false
			}
		}
	}
	return true
}

func (c *chaos) faults(stop <-chan struct{}, rnd *rand.Rand, nodes int) {
	down := NodeID(0)
	cut := NodeID(0)
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rnd.IntN(2500)) * time.Millisecond):
		}
		id := NodeID(rnd.IntN(nodes) + 1)
		switch rnd.IntN(11) {
		case 0, 1:
			if down != 0 {
				c.restart(c.nodes[down])
				down = 0
			} else {
				c.crash(c.nodes[id])
				down = id
			}
		case 2, 3:
			if cut != 0 {
				c.net.isolate(cut, false)
				cut = 0
			} else {
				c.net.isolate(id, true)
				cut = id
			}
		case 4:
			c.net.mu.Lock()
			c.net.loss, c.net.dup = float64(rnd.IntN(3))*0.1, float64(rnd.IntN(2))*0.1
			c.net.mu.Unlock()
		case 5:
			most := rnd.IntN(50) + 1
			c.net.mu.Lock()
			c.net.delay = nil
			if most > 10 {
				c.net.delay = func() time.Duration { return time.Duration(c.net.rnd.IntN(most)) * time.Millisecond }
			}
			c.net.mu.Unlock()
		case 6, 7:
			for _, r := range c.candidates(fmt.Sprintf("k%d", rnd.IntN(c.keys))) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				_ = r.TransferLease(ctx, id)
				cancel()
				break
			}
		case 9, 10:
			if nodes == 3 {
				continue
			}
			for _, r := range c.candidates(fmt.Sprintf("k%d", rnd.IntN(c.keys))) {
				voters := []NodeID{r.NodeID()}
				for _, i := range rnd.Perm(nodes) {
					if n := NodeID(i + 1); n != r.NodeID() && len(voters) < 3 {
						voters = append(voters, n)
					}
				}
				ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
				_ = r.ChangeReplicas(ctx, voters)
				cancel()
				break
			}
		case 8:
			key := fmt.Sprintf("k%d", rnd.IntN(c.keys))
			for _, r := range c.candidates(key) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				if err := r.Split(ctx, []byte(key)); errors.Is(err, ErrClosed) {
					cancel()
					break
				}
				cancel()
				break
			}
		}
	}
}

// The same checks fail when lease votes are ignored: a leader that is cut off goes on as if it led.
func TestIgnoredVotesAreFound(t *testing.T) {
	runSim(t, 11, 3, func(c *Config) { c.TestIgnoreVotes = true; c.Nodes = nil }, func(s *sim) {
		c := newChaos(s, 2)
		rnd := rand.New(rand.NewPCG(11, 42))
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.leader("k0", 10*time.Second)
		c.run(rnd, 15*time.Second, func(stop <-chan struct{}) {
			time.Sleep(time.Second)
			c.net.isolate(r.NodeID(), true)
		})
		if len(c.violations()) == 0 {
			t.Fatal("two leaders served at once, and no check noticed")
		}
		t.Log(c.violations()[0])
	})
}

package ranges

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// Under load, followers lag by one way of the network and at most a commit wait: not by replication, nor by what their
// leader waits before it tells them of a commit. And those who commit do not pay for it.
func TestFollowersLagByOneWay(t *testing.T) {
	const oneWay = 40 * time.Millisecond
	for _, writers := range []int{1, 3, 30} {
		t.Run(fmt.Sprintf("writers=%d", writers), func(t *testing.T) {
			trip := func(NodeID) time.Duration { return 2 * oneWay }
			runSim(t, 18, 3, func(c *Config) { c.RoundTrip = trip }, func(c *sim) {
				c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
				c.net.mu.Lock()
				c.net.delay = func() time.Duration { return oneWay }
				c.net.mu.Unlock()
				r := c.leader("a", 5*time.Second)
				clock := r.Clock()
				width := clock.Now().Latest.Sub(clock.Now().Earliest)

				var mu sync.Mutex
				var commits []time.Duration
				ctx, stop := context.WithCancel(context.Background())
				var wg sync.WaitGroup
				for i := range writers {
					rng := rand.New(rand.NewPCG(uint64(i), 1))
					wg.Go(func() {
						for ctx.Err() == nil {
							began := time.Now()
							ts := c.mustPut(r, fmt.Sprintf("a%d", i), "v")
							if err := clock.WaitAfter(context.Background(), ts); err != nil {
								t.Error(err)
							}
							mu.Lock()
							commits = append(commits, time.Since(began))
							mu.Unlock()
							time.Sleep(time.Duration(rng.Int64N(int64(60 * time.Millisecond)))) // its next statements
						}
					})
				}
				time.Sleep(5 * time.Second)
				mu.Lock()
				commits = nil
				mu.Unlock()
				var lags []time.Duration
				for range 500 {
					time.Sleep(7300 * time.Microsecond)
					for _, x := range c.nodes {
						if f, _ := x.store.Replica(1); f != r {
							lags = append(lags, x.clock.Now().Earliest.Sub(f.SafeTime()))
						}
					}
				}
				stop()
				wg.Wait()
				slices.Sort(lags)
				slices.Sort(commits)
				if lag := lags[len(lags)/2]; lag > oneWay+width {
					t.Errorf("safe time lags by %s, want at most %s", lag, oneWay+width)
				}
				if took := commits[len(commits)/2]; took > 2*oneWay+time.Millisecond {
					t.Errorf("commits take %s, want a round trip", took)
				}
				t.Logf("lags %s, %s, %s; commits %s, %s", lags[len(lags)/10], lags[len(lags)/2], lags[len(lags)*9/10], commits[len(commits)/2], commits[len(commits)*9/10])
			})
		})
	}
}

// What a follower takes from an entry that is not committed yet holds although another entry may come to its place.
func TestClosedByReplacedEntry(t *testing.T) {
	runSim(t, 19, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		time.Sleep(time.Second)
		// One follower gets an entry that nobody else does.
		var others []NodeID
		for id := range c.nodes {
			if id != r.NodeID() {
				others = append(others, id)
			}
		}
		slices.Sort(others)
		f, _ := c.nodes[others[0]].store.Replica(1)
		before := f.SafeTime()
		c.net.mu.Lock()
		for _, id := range c.allPairs() {
			if id[0] == others[1] || id[1] == others[1] || id[0] == others[0] {
				c.net.cut[id] = true
			}
		}
		c.net.mu.Unlock()
		propose := func(value string) *Pending {
			p, err := r.Propose(context.Background(), Proposal{Timed: true, Start: []byte("a"), Encode: func(ts truetime.Timestamp) []byte { return encodePut(ts, "a", value) }})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
			return p
		}
		p := propose("lost")
		propose("lost, too") // after which all there is below is not known yet
		if got, want := f.SafeTime(), p.TS().Prev(); got != want || got <= before {
			t.Fatalf("safe time is %s, want that of the entry that has come, %s", got, want)
		}
		promised := f.SafeTime()
		// Its leader goes; the two others elect one that may or may not have the entry. What it writes lies above.
		c.crash(c.nodes[r.NodeID()])
		c.net.mu.Lock()
		clear(c.net.cut)
		c.net.mu.Unlock()
		n := c.leader("a", 20*time.Second)
		if ts := c.mustPut(n, "a", "2"); ts <= promised {
			t.Errorf("a new leader wrote at %s, the old one's follower had closed %s", ts, promised)
		}
	})
}

// allPairs are those of nodes that can be cut.
func (c *sim) allPairs() (out [][2]NodeID) {
	for a := range c.nodes {
		for b := range c.nodes {
			if a != b {
				out = append(out, [2]NodeID{a, b})
			}
		}
	}
	return out
}

// Followers hear at once of a commit after which none comes for a while, and that time goes on.
func TestFollowersHearOfLoneCommits(t *testing.T) {
	const oneWay = time.Millisecond // less than Config.CommitDelay
	runSim(t, 20, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x01", "\xff", 1, 2, 3))
		c.net.mu.Lock()
		c.net.delay = func() time.Duration { return oneWay }
		c.net.mu.Unlock()
		r := c.leader("a", 5*time.Second)
		for i := range 20 {
			c.mustPut(r, "a", fmt.Sprint(i))
			committed := r.Clock().Now().Latest.Prev()
			time.Sleep(oneWay + time.Microsecond)
			for _, x := range c.nodes {
				f, _ := x.store.Replica(1)
				if safe := f.SafeTime(); i > 10 && f != r && safe < committed {
					t.Fatalf("safe time of %s is %s behind the commit", x.id, committed.Sub(safe))
				}
			}
			time.Sleep(70 * time.Millisecond)
		}
	})
}

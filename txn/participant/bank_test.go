package participant

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// TestBank moves money between accounts in three ranges while leaders change with and without handoff, messages
// between ranges are lost, and gateways die at any step. Every snapshot, strong or old, on leaders and followers,
// has the same total; at the end nothing is left behind.
func TestBank(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		t.Run(fmt.Sprint("s", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runBank(t, seed) })
		})
	}
}

const (
	accounts = 9
	balance  = 100
)

func account(i int) string { return string([]byte{"anu"[i%3], '0' + byte(i/3)}) }

type bank struct {
	t   *testing.T
	c   *cluster
	mu  sync.Mutex
	rng *rand.Rand
	seq uint32
	ok  int
	// acked is the newest commit timestamp answered, and the count of acknowledged transfers by it.
	acked truetime.Timestamp
}

func (b *bank) n(max int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rng.IntN(max)
}

func runBank(t *testing.T, seed uint64) {
	c := newCluster(t, clusterConfig{
		nodes: 3, splits: []string{"m", "t"}, delay: 2 * time.Millisecond, eps: 3 * time.Millisecond,
		skew: map[int]time.Duration{1: 2 * time.Millisecond, 3: -2 * time.Millisecond},
	})
	defer c.close()
	b := &bank{t: t, c: c, rng: rand.New(rand.NewPCG(seed, 0))}
	ctx := context.Background()
	x := client{c, 9}.begin(1)
	for i := range accounts {
		x.put(account(i), strconv.Itoa(balance))
	}
	if _, err := x.commit(ctx); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // no audit reads below this
	c.mu.Lock()
	c.drop = func(_ ranges.NodeID, req *txnpb.BatchRequest) bool {
		return (req.Kind == txnpb.Kind_RESOLVE || req.Kind == txnpb.Kind_QUERY) && b.n(4) == 0
	}
	c.mu.Unlock()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					b.transfer(ctx)
				}
			}
		})
	}
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(1+b.n(20)) * time.Millisecond):
				b.audit(ctx)
			}
		}
	})
	for range 60 {
		time.Sleep(time.Duration(20+b.n(4000)) * time.Millisecond)
		g := c.groups[ranges.RangeID(1+b.n(3))]
		to := ranges.NodeID(1 + b.n(3))
		from := g.leaderNode()
		if to == from {
			continue
		}
		var handoff []byte
		if b.n(2) == 0 {
			handoff = g.replicas[from].m.LeaseHandoff()
		}
		g.elect(to, handoff)
	}
	close(stop)
	wg.Wait()
	c.mu.Lock()
	c.drop = nil
	c.mu.Unlock()
	time.Sleep(20 * time.Second)
	if b.ok < 100 {
		t.Errorf("only %d transfers", b.ok)
	}
	b.audit(ctx)
	for id, g := range c.groups {
		m := g.replicas[g.leader].m
		if n := m.lead.Load().table.Len(); n != 0 || len(m.state.records)+len(m.state.decisions)+len(m.state.staged) != 0 {
			t.Errorf("%s keeps %d entries, %d records, %d decisions, %d staged: %+v", id, n, len(m.state.records),
				len(m.state.decisions), len(m.state.staged), m.lead.Load().table.Locks(0))
		}
	}
}

// transfer moves one unit, or dies on the way.
func (b *bank) transfer(ctx context.Context) {
	b.mu.Lock()
	b.seq++
	n := b.seq
	b.mu.Unlock()
	cl := client{b.c, ranges.NodeID(9)}
	x := cl.begin(0)
	x.id = TxnID{byte(n), byte(n >> 8), byte(n >> 16), 7}
	x.age = time.Now().UnixNano()
	from, to := b.n(accounts), b.n(accounts)
	if from == to {
		time.Sleep(time.Millisecond)
		return
	}
	dies := b.n(8) == 0
	step := b.n(4)
	tctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if dies {
		var die context.CancelFunc
		tctx, die = context.WithTimeout(ctx, time.Duration(b.n(12_000))*time.Microsecond)
		defer die()
	}
	err := func() error {
		for i, acc := range []int{from, to} {
			v, err := x.read(tctx, account(acc), txnpb.LockMode_LOCK_EXCLUSIVE)
			if err != nil {
				return err
			}
			amount, err := strconv.Atoi(v)
			if err != nil {
				b.t.Errorf("account %d holds %q", acc, v)
				return err
			}
			x.put(account(acc), strconv.Itoa(amount-1+2*i))
		}
		if step == 0 {
			if err := x.stage(tctx); err != nil {
				return err
			}
		}
		id := b.c.commitID()
		ts, err := x.commitAs(tctx, id)
		for i := 0; i < 50 && (codeOf(err) == txnpb.ErrorCode_AMBIGUOUS || codeOf(err) == txnpb.ErrorCode_NOT_LEADER) && !dies && len(x.touched()) == 1; i++ {
			time.Sleep(20 * time.Millisecond)
			ts, err = x.commitAs(tctx, id) // I8: asked again, not guessed
		}
		if err == nil {
			b.mu.Lock()
			b.ok++
			b.acked = max(b.acked, ts)
			b.mu.Unlock()
		}
		return err
	}()
	if err != nil && !dies {
		// What is prepared or may be decided is left to recovery.
		x.rollback(ctx, nil)
		time.Sleep(time.Duration(b.n(5)) * time.Millisecond)
	}
}

// audit adds up all accounts at one timestamp.
func (b *bank) audit(ctx context.Context) {
	b.mu.Lock()
	acked := b.acked
	b.mu.Unlock()
	ts := testClock{eps: 3 * time.Millisecond}.Now().Latest
	follower := b.n(2) == 0
	if follower && b.n(2) == 0 {
		ts = ts.Add(-time.Duration(b.n(50)) * time.Millisecond)
	} else if ts < acked {
		b.t.Errorf("an answered commit at %s lies in the future of %s", acked, ts)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	sum := 0
	for i := range accounts {
		for {
			req := &txnpb.BatchRequest{Kind: txnpb.Kind_READ, Keys: [][]byte{[]byte(account(i))}, ReadTs: int64(ts), FollowerOk: follower}
			id := b.c.rangeOf(account(i))
			req.RangeId = int64(id)
			node := b.c.groups[id].leaderNode()
			if follower {
				node = ranges.NodeID(1 + b.n(3))
			}
			if node == 0 {
				time.Sleep(time.Millisecond)
				continue
			}
			resp, err := b.c.nodes[node].srv.Batch(ctx, req)
			if err != nil {
				b.t.Errorf("audit: account %d at %s on %s, follower=%v: %v", i, ts, node, follower, err)
				return
			}
			if resp.Error != 0 {
				time.Sleep(time.Millisecond)
				continue
			}
			v, err := strconv.Atoi(string(resp.Values[0]))
			if err != nil {
				b.t.Errorf("account %d at %s: %q", i, ts, resp.Values[0])
			}
			sum += v
			break
		}
	}
	if sum != accounts*balance {
		b.t.Errorf("total %d at %s (follower=%v)", sum, ts, follower)
	}
}

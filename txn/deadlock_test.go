package txn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// circle has n transactions, from the oldest to the youngest and each at a gateway of its own, lock key i and then
// key i+1, each in a range of its own, and returns who failed and how long all of it took.
func circle(ctx context.Context, c *testCluster, n int, hold time.Duration) (failed []int, took time.Duration) {
	began := time.Now()
	var wg sync.WaitGroup
	var mu sync.Mutex
	key := func(i int) []byte { return fmt.Appendf(nil, "k%d", i%n) }
	for i := range n {
		tx := c.begin(ranges.NodeID(i+1), kv.TxnOptions{})
		time.Sleep(time.Millisecond)
		wg.Go(func() {
			defer tx.Rollback(ctx)
			err := func() error {
				for _, k := range [][]byte{key(i), key(i + 1)} {
					if _, err := tx.Get(ctx, k, kv.LockExclusive, kv.WaitBlock); err != nil {
						return err
					}
					time.Sleep(hold)
				}
				_ = tx.Put(key(i), []byte("x"))
				_, err := tx.Commit(ctx)
				return err
			}()
			if err == nil {
				return
			}
			if !errors.Is(err, kv.ErrRetry) {
				c.t.Errorf("transaction %d: %v", i, err)
			}
			mu.Lock()
			failed = append(failed, i)
			mu.Unlock()
		})
	}
	wg.Wait()
	return failed, time.Since(began)
}

func splitsFor(n int) (splits []string) {
	for i := range n {
		splits = append(splits, fmt.Sprintf("k%d", i))
	}
	return splits
}

// TestDeadlock: a circle of waits through several ranges and gateways costs its youngest transaction, and no
// other, long before anybody's patience ends.
func TestDeadlock(t *testing.T) {
	for _, n := range []int{2, 3, 7} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inCluster(t, n, nil, splitsFor(n), func(ctx context.Context, c *testCluster) {
				failed, took := circle(ctx, c, n, 20*time.Millisecond)
				if len(failed) != 1 || failed[0] != n-1 || took > 500*time.Millisecond {
					t.Errorf("transactions %v failed after %s, want %d within 500ms", failed, took, n-1)
				}
			})
		})
	}
}

// TestNoDeadlock: transactions that merely wait for each other, for longer than it takes to find a deadlock, all
// commit.
func TestNoDeadlock(t *testing.T) {
	inCluster(t, 4, nil, splitsFor(4), func(ctx context.Context, c *testCluster) {
		var wg sync.WaitGroup
		for i := range 4 {
			tx := c.begin(ranges.NodeID(4-i), kv.TxnOptions{})
			time.Sleep(time.Millisecond)
			wg.Go(func() {
				defer tx.Rollback(ctx)
				// In one order, the younger first: every older one waits for a younger that waits itself.
				time.Sleep(time.Duration(4-i) * 5 * time.Millisecond)
				for k := range 4 {
					if _, err := tx.Get(ctx, fmt.Appendf(nil, "k%d", k), kv.LockExclusive, kv.WaitBlock); err != nil {
						t.Errorf("transaction %d: %v", i, err)
						return
					}
					time.Sleep(60 * time.Millisecond)
				}
				_ = tx.Put([]byte("k0"), []byte("x"))
				if _, err := tx.Commit(ctx); err != nil {
					t.Errorf("transaction %d: %v", i, err)
				}
			})
		}
		wg.Wait()
	})
}

// unheard is a router whose reports of waits get lost.
type unheard struct{ *DB }

func (unheard) SendToNode(context.Context, ranges.NodeID, *txnpb.BatchRequest) (*txnpb.BatchResponse, error) {
	return nil, errors.New("no connection")
}

// TestDeadlockByPatience: what the search for circles misses, wound-wait ends.
func TestDeadlockByPatience(t *testing.T) {
	inCluster(t, 3, nil, splitsFor(3), func(ctx context.Context, c *testCluster) {
		for _, n := range c.nodes {
			n.server.SetRouter(unheard{n.db})
		}
		failed, took := circle(ctx, c, 3, 20*time.Millisecond)
		if len(failed) == 0 || len(failed) == 3 || took < 900*time.Millisecond || took > 3*time.Second {
			t.Errorf("transactions %v failed after %s", failed, took)
		}
		for _, i := range failed {
			if i == 0 {
				t.Error("the oldest transaction was aborted")
			}
		}
	})
}

package txn

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// holdDecisions keeps decisions from their range until it is called.
func (c *testCluster) holdDecisions() (release func()) {
	var held atomic.Bool
	held.Store(true)
	c.inject(func(_, _ ranges.NodeID, req *txnpb.BatchRequest) fault {
		if req.Kind == txnpb.Kind_DECIDE && held.Load() {
			return dropBefore
		}
		return deliver
	})
	return func() { held.Store(false) }
}

// TestReadLocksOfParticipants: a transaction that is prepared in a range, with writes there or without, commits only while
// what it has read there is locked. Its decision is late, and meanwhile the range has another leader, who knows nothing
// of those locks.
func TestReadLocksOfParticipants(t *testing.T) {
	for _, test := range []struct {
		name    string
		use     func(c *testCluster, tx *Txn) // in the first of two ranges
		changes bool                          // of the range's leader
		commits bool
	}{
		{"reads and writes", func(c *testCluster, tx *Txn) { c.get(tx, "a"); put(tx, "b") }, true, false},
		{"scans and writes", func(c *testCluster, tx *Txn) { c.dump(tx, "a", "az", kv.ScanOptions{}); put(tx, "b") }, true, false},
		{"reads", func(c *testCluster, tx *Txn) { c.get(tx, "a") }, true, false},
		{"reads what it writes", func(c *testCluster, tx *Txn) { c.get(tx, "b"); put(tx, "b") }, true, true},
		{"reads and writes, the leader stays", func(c *testCluster, tx *Txn) { c.get(tx, "a"); put(tx, "b") }, false, true},
	} {
		inCluster(t, 3, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
			c.put(1, "a", "0", "b", "0", "y", "0", "z", "0")
			tx := c.begin(1, kv.TxnOptions{})
			test.use(c, tx)
			put(tx, "y")
			put(tx, "z") // the second range decides
			release := c.holdDecisions()
			outcome := make(chan error, 1)
			go func() {
				_, err := tx.Commit(ctx)
				outcome <- err
			}()
			if test.changes {
				time.Sleep(testLease + time.Second)
				c.transfer("a", 3, false)
				if test.name != "reads what it writes" {
					c.put(3, "a", "1")
				}
			}
			release()
			synctest.Wait()
			if err := <-outcome; test.commits && err != nil || !test.commits && !errors.Is(err, kv.ErrRetry) {
				t.Errorf("%s: %v", test.name, err)
			}
		})
	}
}

func put(tx *Txn, key string) {
	if err := tx.Put([]byte(key), []byte("x")); err != nil {
		panic(err)
	}
}

// TestPromiseRenewed: a participant that takes longer than another one's lease lasts does not make the commit fail: the
// promise of the other is renewed before the decision.
func TestPromiseRenewed(t *testing.T) {
	for _, writes := range []bool{false, true} {
		inCluster(t, 3, nil, []string{"h", "p"}, func(ctx context.Context, c *testCluster) {
			c.put(1, "a", "0", "b", "0", "i", "0", "y", "0", "z", "0")
			slow := time.Now().Add(2 * testLease)
			c.inject(func(_, _ ranges.NodeID, req *txnpb.BatchRequest) fault {
				if req.Kind == txnpb.Kind_PREPARE && len(req.WriteKeys) > 0 && string(req.WriteKeys[0]) == "i" && time.Now().Before(slow) {
					return dropBefore
				}
				return deliver
			})
			tx := c.begin(1, kv.TxnOptions{})
			c.get(tx, "a")
			if writes {
				put(tx, "b")
			}
			for _, k := range []string{"i", "y", "z"} {
				put(tx, k)
			}
			if _, err := tx.Commit(ctx); err != nil {
				t.Errorf("writes %v: %v", writes, err)
			}
		})
	}
}

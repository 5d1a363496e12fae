package txn

import (
	"context"
	"testing"

	"github.com/meridian-db/meridian/txn/kv"
)

// TestItemized: costs are told apart by range and node, counted from Itemize on, and come with the clock's interval.
func TestItemized(t *testing.T) {
	inCluster(t, 2, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		c.transfer("a", 1, true)
		c.transfer("n", 2, true)
		c.put(1, "a", "1", "b", "2", "n", "3")
		tx := c.begin(1, kv.TxnOptions{})
		defer tx.Rollback(ctx)
		c.get(tx, "a")
		tx.Itemize()
		c.dump(tx, "a", "zz", kv.ScanOptions{})
		c.get(tx, "n")
		costs, clock := tx.Itemized()
		if clock != c.nodes[1].db.clock.Now() || clock.Latest <= clock.Earliest {
			t.Errorf("the clock's interval is %v", clock)
		}
		if len(costs) != 2 {
			t.Fatalf("%d ranges: %+v", len(costs), costs)
		}
		near, far := costs[0], costs[1]
		if near.Node != 1 || !near.Local || near.Requests != 1 || near.Rows != 2 || near.Bytes != 0 || near.Range != int64(c.rangeOf("a").id) {
			t.Errorf("the gateway's own range: %+v", near)
		}
		if far.Node != 2 || far.Local || far.Requests != 2 || far.Rows != 2 || far.Bytes == 0 || far.Range != int64(c.rangeOf("n").id) {
			t.Errorf("the other node's range: %+v", far)
		}
		if tx.Stats().Ranges != 2 || tx.Stats().RPCs < 2 {
			t.Errorf("what the transaction counts anyway has changed: %+v", tx.Stats())
		}
	})
}

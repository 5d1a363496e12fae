package txn

import (
	"context"
	"testing"

	"github.com/meridian-db/meridian/txn/kv"
)

func TestBasics(t *testing.T) {
	inCluster(t, 3, nil, []string{"g", "p"}, func(ctx context.Context, c *testCluster) {
		s1 := c.put(1, "a", "1")
		s2 := c.put(2, "a", "2", "h", "2", "z", "2") // three ranges
		if s2 <= s1 {
			t.Errorf("commit timestamps %s, %s", s1, s2)
		}
		for n := range c.nodes {
			if got := c.all(n); got != "a=2 h=2 z=2" {
				t.Errorf("node %s reads %q", n, got)
			}
		}
		old := c.begin(3, kv.TxnOptions{ReadOnly: true, Staleness: kv.Staleness{Kind: kv.ReadTimestamp, At: s1}})
		if got := c.dump(old, "a", "zz", kv.ScanOptions{}); got != "a=1" {
			t.Errorf("at the first commit: %q", got)
		}
		tx := c.begin(2, kv.TxnOptions{})
		if got := c.get(tx, "a") + c.get(tx, "b"); got != "2<none>" {
			t.Error(got)
		}
		tx.Rollback(ctx)
	})
}

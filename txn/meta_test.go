package txn

import (
	"bytes"
	"context"
	"slices"
	"testing"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/txn/kv"
)

// StaleMeta names the records that are missing or behind, and no others.
func TestStaleMeta(t *testing.T) {
	inCluster(t, 1, nil, []string{"d", "h", "m", "q"}, func(ctx context.Context, c *testCluster) {
		var descs []*ranges.Descriptor
		for _, r := range c.ranges {
			descs = append(descs, r.desc.Load())
		}
		slices.SortFunc(descs, func(a, b *ranges.Descriptor) int { return bytes.Compare(a.Start, b.Start) })
		db := c.nodes[1].db
		check := func(what string, want ...*ranges.Descriptor) {
			t.Helper()
			got, err := db.StaleMeta(ctx, descs)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		check("all known")
		newer := *descs[2]
		newer.Generation++
		descs[2] = &newer
		check("one behind", descs[2])
		// A range in two: one record is new, one moves.
		n := len(descs)
		left, right := *descs[n-1], *descs[n-1]
		left.End, right.Start = []byte("s"), []byte("s")
		left.Generation, right.Generation = left.Generation+1, right.Generation+1
		right.ID = 99
		descs = append(descs[:n-1:n-1], &left, &right)
		check("split", descs[2], descs[n-1], descs[n])
		if err := db.UpdateMeta(ctx, nil, descs); err != nil {
			t.Fatal(err)
		}
		check("written")
	})
}

// All the replicas that a gateway knows of have gone since it last asked for the range, as their nodes were replaced one
// after the other: it finds those that there are now.
func TestRouteToNodesThatAreGone(t *testing.T) {
	inCluster(t, 3, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "a", "0", "z", "0")
		c.transfer("z", 1, true)
		r := c.rangeOf("z")
		old := r.desc.Load()
		desc := *old
		desc.Generation++
		desc.Replicas = old.Replicas[:2]
		r.desc.Store(&desc)
		c.writeMeta()
		c.nodes[2].db.Forget([]byte("z"))
		gone := *old
		gone.Replicas = old.Replicas[2:]
		c.nodes[2].db.learn(&gone)
		c.nodes[3].down.Store(true)
		c.put(2, "z", "1")
		tx := c.begin(2, kv.TxnOptions{ReadOnly: true})
		if got := c.get(tx, "z"); got != "1" {
			t.Errorf("read %q", got)
		}
		tx.Rollback(ctx)
	})
}

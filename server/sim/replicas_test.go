package sim

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
)

// TestReplicasAreCompared: replicas become equal by themselves, and one byte that only one of them has is found.
func TestReplicasAreCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		c, err := New(ctx, Config{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.compareReplicas(ctx); err != nil {
			t.Fatal(err)
		}
		b := c.Nodes()[2].Core().Engine.NewBatch()
		defer b.Close()
		b.Put(listKey(0), c.Nodes()[0].Clock.Now().Latest, []byte("x"))
		if err := b.Commit(false); err != nil {
			t.Fatal(err)
		}
		if err := c.replicasDiffer(ctx); err == nil || !strings.Contains(err.Error(), "differs on nodes 1 and 3") {
			t.Errorf("found: %v", err)
		}
	})
}

// TestReplace: a node whose store is gone is replaced by an empty one, which has all replicas in the end.
func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		c, err := New(ctx, Config{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		old := c.Nodes()[1]
		if err := c.Replace(ctx, old); err != nil {
			t.Fatal(err)
		}
		fresh := c.Nodes()[1]
		if fresh.ID == old.ID || len(fresh.Core().Store.Replicas()) == 0 {
			t.Errorf("node %d took the place of node %d, with %d replicas", fresh.ID, old.ID, len(fresh.Core().Store.Replicas()))
		}
		if err := c.compareReplicas(ctx); err != nil {
			t.Error(err)
		}
	})
}

package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
)

// settle is how long replicas may take to become equal once the faults have ended.
const settle = 3 * time.Minute

// compareReplicas waits until all replicas of every range are where the range's descriptor says and hold the same
// descriptor, log position and bytes, once garbage has been collected up to the replicated threshold. Leaders answer
// clients from one replica: damage to another shows here long before it shows in a history.
func (c *Cluster) compareReplicas(ctx context.Context) error {
	end := time.Now().Add(settle)
	for {
		err := c.replicasDiffer(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s after the faults have stopped: %w\n%s", settle, err, describe(c))
		}
		pause(ctx, 200*time.Millisecond)
	}
}

// replicasDiffer reports the first difference that is there now.
func (c *Cluster) replicasDiffer(ctx context.Context) error {
	newest := map[ranges.RangeID]*ranges.Descriptor{}
	for _, n := range c.Nodes() {
		for _, rep := range n.Core().Store.Replicas() {
			if d := rep.Desc(); newest[rep.ID()] == nil || newest[rep.ID()].Generation < d.Generation {
				newest[rep.ID()] = d
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(newest)) {
		d := newest[id]
		var first *ranges.Replica
		for _, n := range c.Nodes() {
			member := slices.ContainsFunc(d.Replicas, func(r ranges.ReplicaDesc) bool { return r.Node == n.ID })
			rep, ok := n.Core().Store.Replica(id)
			switch {
			case !member:
				continue // what was moved away is removed when its turn comes
			case !ok:
				return fmt.Errorf("node %d has no replica of %v", n.ID, d)
			case rep.Desc().String() != d.String():
				return fmt.Errorf("node %d knows %v as %v", n.ID, d, rep.Desc())
			}
			if err := n.Core().Participants.Collect(ctx, id); err != nil {
				return fmt.Errorf("node %d: collect garbage of %v: %w", n.ID, d, err)
			}
			if first == nil {
				first = rep
				continue
			}
			at, other := first.AppliedIndex(), rep.AppliedIndex()
			data := mvcc.RangeData{RangeID: uint64(id), Span: mvcc.Span{Start: d.Start, End: d.End}}
			same, where, err := mvcc.EqualData(first.Engine(), rep.Engine(), data)
			switch {
			case err != nil:
				return fmt.Errorf("compare %v on nodes %d and %d: %w", d, first.NodeID(), n.ID, err)
			case at != other:
				return fmt.Errorf("node %d has applied %d of %v, node %d %d", first.NodeID(), at, d, n.ID, other)
			case !same:
				return fmt.Errorf("%v differs on nodes %d and %d at key %x", d, first.NodeID(), n.ID, where)
			}
		}
	}
	return nil
}

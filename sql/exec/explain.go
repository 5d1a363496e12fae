package exec

import (
	"context"
	"time"

	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// runExplain describes a plan and, for ANALYZE, executes it first.
func runExplain(ctx context.Context, p *plan.Plan, env *Env, sink func(row []types.Datum) error) (Result, error) {
	o := p.Explain
	var actual *plan.Actual
	if o.Analyze {
		began := time.Now()
		var before kv.Stats
		if env.Txn != nil {
			before = env.Txn.Stats()
		}
		itemizer, _ := env.Txn.(kv.Itemizer)
		if itemizer != nil {
			itemizer.Itemize()
		}
		inner := o.Inner
		s := newState(inner, env)
		s.pool, s.reserved = env.Pool, freeMem
		s.stats = make([]nodeStats, inner.NumNodes+1)
		root, err := s.build(inner.Root)
		if err != nil {
			return Result{}, err
		}
		c := &Cursor{s: s, root: root, row: make([]types.Datum, max(1, len(inner.Output)))}
		for {
			row, err := c.Next(ctx)
			if err != nil {
				c.Close()
				return Result{}, err
			}
			if row == nil {
				break
			}
		}
		c.Close()
		actual = &plan.Actual{Total: time.Since(began), Nodes: map[int]plan.ActualNode{}}
		for id, st := range s.stats {
			if st.loops > 0 {
				actual.Nodes[id] = plan.ActualNode{Loops: st.loops, Rows: st.rows, Startup: st.startup, Total: st.total,
					Scanned: st.scanned, Remote: st.remote, Wire: st.wire,
					Removed: st.removed, Sorted: st.sorted, Memory: st.memory, Disk: st.disk}
			}
		}
		if env.Txn != nil {
			after := env.Txn.Stats()
			actual.KV = kv.Stats{Ranges: after.Ranges, RPCs: after.RPCs - before.RPCs, LocalReads: after.LocalReads - before.LocalReads,
				LockWait: after.LockWait - before.LockWait, CommitWait: after.CommitWait, Replication: after.Replication - before.Replication,
				Retries: after.Retries, FollowerRead: after.FollowerRead}
			actual.ReadTimestamp = env.Txn.ReadTimestamp()
		}
		if itemizer != nil {
			actual.Ranges, actual.Clock = itemizer.Itemized()
		}
	}
	n := int64(0)
	for _, line := range plan.Describe(o.Inner, o, actual) {
		n++
		if sink == nil {
			continue
		}
		if err := sink([]types.Datum{types.NewString(line)}); err != nil {
			return Result{}, err
		}
	}
	return Result{Verb: "EXPLAIN", Rows: n}, nil
}

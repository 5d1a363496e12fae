package exec

import (
	"context"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/txn/kv"
)

// build makes the operator of a node.
func (s *state) build(n plan.Node) (op, error) {
	o, err := s.make(n)
	if err != nil {
		return nil, err
	}
	if s.stats != nil {
		return &statOp{s: s, id: n.Base().ID, in: o}, nil
	}
	return o, nil
}

func (s *state) make(n plan.Node) (op, error) {
	switch n := n.(type) {
	case *plan.OneRow:
		return &oneRowOp{}, nil
	case *plan.Values:
		return &valuesOp{s: s, n: n}, nil
	case *plan.Scan:
		switch n.Table.Kind {
		case plan.BaseTable:
			return s.newScan(n), nil
		case plan.VirtualTable:
			return &virtualOp{s: s, n: n}, nil
		case plan.Sequence:
			return s.newSequenceScan(n), nil
		}
		return nil, pgerr.New(pgerr.WrongObjectType, "cannot read relation %q", n.Table.Name)
	case *plan.Append:
		return &appendOp{s: s, n: n}, nil
	case *plan.FuncScan:
		return &funcScanOp{s: s, n: n}, nil
	case *plan.Join:
		return s.buildJoin(n)
	case *plan.SetOp:
		return s.buildSetOp(n)
	case *plan.CTEScan:
		return &cteScanOp{s: s, n: n}, nil
	case *plan.With:
		return s.buildWith(n)
	}
	if a, ok := n.(*plan.Agg); ok {
		if p, ok := a.Input.(*plan.Partial); ok {
			return s.newRemoteAgg(a, p), nil
		}
	}
	// Operators with one input.
	var child plan.Node
	if r, ok := n.(*plan.Rules); ok {
		return s.buildRules(r)
	}
	switch n := n.(type) {
	case *plan.Project:
		child = n.Input
	case *plan.Filter:
		child = n.Input
	case *plan.Agg:
		child = n.Input
	case *plan.Sort:
		child = n.Input
	case *plan.Limit:
		child = n.Input
	case *plan.Distinct:
		child = n.Input
	case *plan.ProjectSet:
		child = n.Input
	case *plan.Window:
		child = n.Input
	case *plan.LockRows:
		child = n.Input
	case *plan.Insert:
		child = n.Input
	case *plan.Update:
		child = n.Input
	case *plan.Delete:
		child = n.Input
	case *plan.Merge:
		child = n.Input
	default:
		return nil, pgerr.New(pgerr.InternalError, "no operator for %T", n)
	}
	in, err := s.build(child)
	if err != nil {
		return nil, err
	}
	if o := newInstead(s, n, in); o != nil {
		return o, nil
	}
	switch n := n.(type) {
	case *plan.Project:
		return &projectOp{s: s, n: n, in: in}, nil
	case *plan.Filter:
		return &filterOp{s: s, n: n, in: in}, nil
	case *plan.Agg:
		return s.newAgg(n, in), nil
	case *plan.Sort:
		if n.Prefix > 0 {
			return newPresorted(s, n, in), nil
		}
		return newSort(s, n, in), nil
	case *plan.Limit:
		return &limitOp{s: s, n: n, in: in}, nil
	case *plan.Distinct:
		return newDistinct(s, n, in), nil
	case *plan.ProjectSet:
		return &projectSetOp{s: s, n: n, in: in}, nil
	case *plan.Window:
		return newWindow(s, n, in), nil
	case *plan.LockRows:
		return newLockRows(s, n, in), nil
	case *plan.Insert:
		return insertOf(s, n, in), nil
	case *plan.Update:
		if n.Target.Parts != nil {
			return newPartUpdate(s, n, in), nil
		}
		return newUpdate(s, n, in), nil
	case *plan.Delete:
		if n.Target.Parts != nil {
			return newPartDelete(s, n, in), nil
		}
		return newDelete(s, n, in), nil
	case *plan.Merge:
		if n.Target.Parts != nil {
			return newPartMerge(s, n, in), nil
		}
		return newMerge(s, n, in), nil
	}
	return nil, pgerr.New(pgerr.InternalError, "no operator for %T", n)
}

// nodeStats are what EXPLAIN ANALYZE shows of a node.
type nodeStats struct {
	loops, rows int64
	startup     time.Duration
	total       time.Duration
	removed     int64  // rows that conditions left out
	sorted      string // how a sort went
	memory      int64  // of a sort or hash table, at most
	disk        int64  // bytes written to scratch files
	// Rows that ranges have read for a scan, those of them that they have worked on, and what came from other nodes.
	scanned, remote, wire int64
}

// read counts a page of a scan; its pairs are rows, or groups of them.
func (n *nodeStats) read(p kv.Page, groups bool) {
	n.scanned += p.Scanned
	n.wire += p.Wire
	if p.Computed {
		n.remote += p.Scanned
		if !groups {
			n.removed += p.Scanned - int64(len(p.Keys))
		}
	}
}

// statsOf returns where a node's figures go, nil when nobody asked for them.
func (s *state) statsOf(n plan.Node) *nodeStats {
	if s.stats == nil {
		return nil
	}
	return &s.stats[n.Base().ID]
}

// statOp counts and times an operator.
type statOp struct {
	s     *state
	id    int
	in    op
	first bool
}

func (o *statOp) open(ctx context.Context) error {
	st := &o.s.stats[o.id]
	st.loops++
	o.first = true
	t := time.Now()
	err := o.in.open(ctx)
	st.total += time.Since(t)
	return err
}

func (o *statOp) next(ctx context.Context) (bool, error) {
	st := &o.s.stats[o.id]
	t := time.Now()
	ok, err := o.in.next(ctx)
	st.total += time.Since(t)
	if o.first {
		o.first = false
		if st.loops == 1 {
			st.startup = st.total
		}
	}
	if ok {
		st.rows++
	}
	return ok, err
}

func (o *statOp) close() { o.in.close() }

package exec

import (
	"bytes"
	"context"

	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// lockRowsOp locks the rows its input has found, a batch at a time, and brings them up to date: a row that
// changed since it was read is looked at again, as PostgreSQL's EvalPlanQual does.
type lockRowsOp struct {
	s       *state
	in      op
	targets []lockTarget
	store   *rows
	ready   [][]types.Datum
	pos     int
	done    bool
	size    int
	// recheck are conditions that rows that changed must still satisfy.
	recheck []plan.Expr
}

type lockTarget struct {
	codec *tableCodec
	read  *rowReader
	out   []types.Datum
	mode  kv.LockMode
	wait  kv.WaitPolicy
}

func (s *state) lockTargetOf(sc *plan.Scan, mode kv.LockMode, wait kv.WaitPolicy) lockTarget {
	c := codecOf(sc.Table)
	base := sc.SlotBase()
	var wanted []int
	for _, col := range sc.Cols {
		wanted = append(wanted, col.Ord)
	}
	return lockTarget{codec: c, read: newRowReader(c, c.primary, wanted), out: s.c.Frame[base : base+len(sc.Table.Columns)], mode: mode, wait: wait}
}

func newLockRows(s *state, n *plan.LockRows, in op) op {
	if s.env.ReadOnly {
		return in
	}
	o := &lockRowsOp{s: s, in: in, store: &rows{s: s, slots: n.Keep}, size: 1}
	for _, t := range n.Targets {
		o.targets = append(o.targets, s.lockTargetOf(t.Scan, t.Mode, t.Wait))
		o.recheck = append(o.recheck, t.Scan.Filter...)
		o.recheck = append(o.recheck, t.Scan.IndexConds...)
	}
	return o
}

// lockTarget makes an UPDATE or DELETE lock its rows after they were found, when its scan has not.
func (s *state) lockTarget(in op, a *plan.Access) op {
	if a.Scan == nil || s.lock(a.Scan.Lock, a.Scan.Point) != kv.LockNone || s.env.ReadOnly {
		return in
	}
	o := &lockRowsOp{s: s, in: in, store: &rows{s: s, slots: a.Keep}, size: 16}
	o.targets = []lockTarget{s.lockTargetOf(a.Scan, kv.LockExclusive, kv.WaitBlock)}
	o.recheck = append(append(o.recheck, a.Scan.Filter...), a.Scan.IndexConds...)
	return o
}

func (o *lockRowsOp) open(ctx context.Context) error {
	o.store.reset()
	o.ready, o.pos, o.done = nil, 0, false
	return o.in.open(ctx)
}

func (o *lockRowsOp) next(ctx context.Context) (bool, error) {
	for {
		if o.pos < len(o.ready) {
			o.store.load(o.ready[o.pos])
			o.pos++
			return true, nil
		}
		if o.done {
			return false, nil
		}
		if err := o.fill(ctx); err != nil {
			return false, err
		}
	}
}

// fill reads a batch, locks its rows and keeps those that still qualify.
func (o *lockRowsOp) fill(ctx context.Context) error {
	o.store.reset()
	o.ready, o.pos = o.ready[:0], 0
	keys := make([][][]byte, len(o.targets))
	for len(o.store.data) < o.size {
		ok, err := o.in.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			o.done = true
			break
		}
		if _, err := o.store.save(); err != nil {
			return err
		}
		for i := range o.targets {
			t := &o.targets[i]
			null := false
			for _, k := range t.codec.t.Primary.Keys {
				null = null || t.out[k.Col].IsNull()
			}
			if null {
				keys[i] = append(keys[i], nil) // the NULL side of an outer join
				continue
			}
			keys[i] = append(keys[i], t.codec.appendRowKey(nil, t.out))
		}
	}
	o.size = min(o.size*4, fetchBatch)
	n := len(o.store.data)
	if n == 0 {
		return nil
	}
	drop := make([]bool, n)
	values := make([][][]byte, len(o.targets))
	for i := range o.targets {
		t := &o.targets[i]
		var ask [][]byte
		var at []int
		for r, k := range keys[i] {
			if k != nil && !drop[r] {
				ask, at = append(ask, k), append(at, r)
			}
		}
		values[i] = make([][]byte, n)
		if len(ask) == 0 {
			continue
		}
		vs, skipped, err := o.s.env.Txn.GetBatch(ctx, ask, t.mode, t.wait)
		if err != nil {
			return err
		}
		for j, r := range at {
			values[i][r] = vs[j]
			drop[r] = vs[j] == nil || skipped != nil && skipped[j]
		}
	}
	var enc []byte
	for r, row := range o.store.data {
		if drop[r] {
			continue
		}
		o.store.load(row)
		changed := false
		for i := range o.targets {
			t := &o.targets[i]
			v := values[i][r]
			if v == nil {
				continue
			}
			enc = t.codec.appendRowValue(enc[:0], t.out)
			if bytes.Equal(enc, v) {
				continue
			}
			changed = true
			if err := t.read.read(keys[i][r], v, t.out); err != nil {
				return err
			}
		}
		if changed {
			ok, err := evalAll(&o.s.c, o.recheck)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			for i, sl := range o.store.slots {
				row[i] = cloneDatum(o.s.c.Frame[sl])
			}
		}
		o.ready = append(o.ready, row)
	}
	return nil
}

func (o *lockRowsOp) close() {
	o.in.close()
	o.store.reset()
}

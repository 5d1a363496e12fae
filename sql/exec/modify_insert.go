package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// insertOp is INSERT.
type insertOp struct {
	modifyOp
	n_      *plan.Insert
	exprs   bool
	cw      *writer // for ON CONFLICT DO UPDATE
	touched map[string]bool
	stirred map[string]bool // keys of the batch that functions have changed since it was probed
	read    *rowReader
	pkRead  []*rowReader
	// moved, of a partition, says that a row changed by ON CONFLICT would belong to another.
	moved func(row []types.Datum) (bool, error)
}

// insertOf makes the operator for a table or for a partitioned one.
func insertOf(s *state, n *plan.Insert, in op) op {
	if n.Target.Parts != nil {
		return newPartInsert(s, n, in)
	}
	return newInsert(s, n, in)
}

func newInsert(s *state, n *plan.Insert, in op) op {
	o := &insertOp{n_: n}
	o.modifyOp = modifyOp{s: s, in: in, w: newWriter(s, n.Target), returning: n.Returning, stream: n.Stream, store: &rows{s: s}, keep: n.Keep}
	o.exprs = needFrame(n.Target)
	o.take, o.flush, o.emit = o.takeRow, o.flushRows, o.emitRow
	o.table, o.events = n.Target.Table, catalog.TriggerInsert
	o.fireBefore(o.w, catalog.TriggerInsert, nil)
	if c := n.Conflict; c != nil && c.Update {
		o.events |= catalog.TriggerUpdate
		o.cw = newWriter(s, c.OldTarget)
		o.cw.present = o.w.present
		if o.w.mirror != nil {
			o.cw.mirror.w.present = o.w.mirror.w.present
		}
		ords := map[int]bool{}
		for _, x := range c.Set {
			ords[x.Ord] = true
		}
		for _, g := range n.Target.Generated {
			ords[g.Ord] = true
		}
		o.set = ords
		if !n.Target.Table.HasTrigger(plan.Before, true, catalog.TriggerUpdate) {
			o.cw.limitTo(ords)
		}
		o.touched = map[string]bool{}
		all := make([]int, len(n.Target.Table.Columns))
		for i := range all {
			all[i] = i
		}
		o.read = newRowReader(o.w.codec, o.w.codec.primary, all)
		var pk []int
		for _, k := range n.Target.Table.Primary.Keys {
			pk = append(pk, k.Col)
		}
		for _, x := range o.w.codec.indexes {
			o.pkRead = append(o.pkRead, newRowReader(o.w.codec, x, pk))
		}
	}
	return o
}

// fill brings the new row into the frame: columns from the source, defaults, generated ones.
func (o *insertOp) fill() error {
	c, t := &o.s.c, o.n_.Target
	for _, x := range o.n_.Source {
		d, err := x.E.Eval(c)
		if err != nil {
			return err
		}
		c.Frame[t.New[x.Ord]] = d
	}
	for _, x := range o.n_.Defaults {
		d, err := x.E.Eval(c)
		if err != nil {
			return err
		}
		c.Frame[t.New[x.Ord]] = d
	}
	return nil
}

func (o *insertOp) takeRow(context.Context) error {
	if err := o.fill(); err != nil {
		return err
	}
	if o.n_.Where != nil {
		if ok, err := evalAll(&o.s.c, o.n_.Where); err != nil || !ok {
			return err
		}
	}
	if o.before == nil {
		if err := o.w.complete(); err != nil {
			return err
		}
	}
	row, err := o.saveRow(o.w.newRow())
	if err != nil {
		return err
	}
	kept, err := o.saveKept()
	if err != nil {
		return err
	}
	o.pending = append(o.pending, change{new: row, kept: kept})
	return nil
}

func (o *insertOp) flushRows(ctx context.Context) error {
	w := o.w
	keys := make([][]byte, len(o.pending))
	ents := make([][]entry, len(o.pending))
	for i := range o.pending {
		c := &o.pending[i]
		if o.exprs {
			copy(w.newRow(), c.new)
		}
		keys[i] = w.rowKey(c.new)
		if !w.hidden {
			w.probe(0, keys[i])
		}
		var err error
		if ents[i], err = w.entries(c.new, false); err != nil {
			return err
		}
		for j, e := range ents[i] {
			if e.present && e.distinct {
				w.probe(j+1, e.key)
			}
		}
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	clear(o.stirred)
	for i := range o.pending {
		c := &o.pending[i]
		done := false
		if o.n_.Conflict != nil {
			err := o.restir(ctx)
			if err != nil {
				return err
			}
			if done, err = o.conflict(ctx, c, keys[i], ents[i]); err != nil {
				return err
			}
		}
		if !done {
			if o.exprs {
				copy(w.newRow(), c.new)
			}
			if err := w.insert(ctx, c.new, keys[i], ents[i]); err != nil {
				return err
			}
			if o.touched != nil {
				o.touched[string(keys[i])] = true
			}
			if err := o.s.queueChild(o.n_.Target.Table, nil, c.new); err != nil {
				return err
			}
			if err := o.s.afterRow(o.n_.Target.Table, catalog.TriggerInsert, nil, nil, c.new); err != nil {
				return err
			}
		} else if c.new == nil {
			continue // nothing was done
		}
		o.n++
		if o.returning {
			o.out = append(o.out, *c)
		}
	}
	return nil
}

// conflict handles ON CONFLICT for one row. done says that the row is not to be inserted; c.new is then the
// updated row, or nil when there was nothing to do.
func (o *insertOp) conflict(ctx context.Context, c *change, key []byte, ents []entry) (done bool, err error) {
	w, cf := o.w, o.n_.Conflict
	for _, a := range cf.Arbiters {
		var k []byte
		if a == 0 {
			if w.hidden {
				continue
			}
			k = key
		} else if e := ents[a-1]; e.present && e.distinct {
			k = e.key
		} else {
			continue
		}
		st := w.present[string(k)]
		if st.value == nil {
			continue
		}
		if !cf.Update {
			c.new = nil
			return true, nil
		}
		return true, o.updateExisting(ctx, c, a, k, st)
	}
	if cf.Excluded {
		if done, err = w.excludedBy(ctx, ents, c.new); done {
			c.new = nil
		}
		return done, err
	}
	return false, nil
}

func (o *insertOp) updateExisting(ctx context.Context, c *change, arbiter int, key []byte, st keyState) error {
	w, cf, s := o.w, o.n_.Conflict, o.s
	rowKey, value := key, st.value
	old := frameRow(s, cf.Old)
	if arbiter > 0 {
		if err := o.pkRead[arbiter-1].read(key, st.value, old); err != nil {
			return err
		}
		rowKey = w.codec.appendRowKey(nil, old)
		v, err := s.env.Txn.Get(ctx, rowKey, kv.LockExclusive, kv.WaitBlock)
		if err != nil {
			return err
		}
		value = v
	}
	if o.touched[string(rowKey)] || o.stirred[string(key)] {
		return errConflictTwice()
	}
	if err := o.read.read(rowKey, value, old); err != nil {
		return err
	}
	if !s.claimable(cf.OldTarget, o) {
		return errConflictTwice()
	}
	copy(w.newRow(), c.new) // excluded
	o.loadKept(c)
	ok, err := evalAll(&s.c, cf.Where)
	if err != nil {
		return err
	}
	if !ok {
		c.new = nil
		return nil
	}
	if err := s.checkPolicies(cf.FoundPolicies); err != nil {
		return err
	}
	oldRow, err := o.saveRow(old)
	if err != nil {
		return err
	}
	row := append([]types.Datum(nil), oldRow...)
	for _, x := range cf.Set {
		if row[x.Ord], err = x.E.Eval(&s.c); err != nil {
			return err
		}
	}
	found := []change{{old: oldRow}}
	if err := o.cw.untriggered(ctx, catalog.TriggerUpdate, found); err != nil {
		return err
	}
	if row, err = s.beforeRow(ctx, o.n_.Target.Table, catalog.TriggerUpdate, o.set, oldRow, row); err != nil {
		return err
	}
	if row == nil {
		c.new = nil
		return nil
	}
	copy(w.newRow(), row)
	w.policies = cf.Policies
	err = w.complete()
	w.policies = w.t.Policies
	if err != nil {
		return err
	}
	if row, err = o.saveRow(w.newRow()); err != nil {
		return err
	}
	if o.moved != nil {
		switch away, err := o.moved(row); {
		case err != nil:
			return err
		case away:
			return errMoves()
		}
	}
	o.touched[string(rowKey)] = true
	cw := o.cw
	s.claim(cf.OldTarget, o)
	newKey := cw.rowKey(row)
	oldEnts, err := cw.entries(oldRow, true)
	if err != nil {
		return err
	}
	newEnts, err := cw.entries(row, false)
	if err != nil {
		return err
	}
	if err := cw.checkViews(row); err != nil {
		return err
	}
	if err := o.restir(ctx); err != nil {
		return err
	}
	if cw.disturbed() {
		if err := cw.unchanged(ctx, found, "updated"); err != nil {
			return err
		}
	}
	if err := o.probeChanged(ctx, rowKey, newKey, oldEnts, newEnts); err != nil {
		return err
	}
	if err := cw.update(rowKey, newKey, oldEnts, newEnts, row); err != nil {
		return err
	}
	if err := s.queueChild(o.n_.Target.Table, oldRow, row); err != nil {
		return err
	}
	if err := s.queueParent(o.n_.Target.Table, oldRow, row); err != nil {
		return err
	}
	if err := s.afterRow(o.n_.Target.Table, catalog.TriggerUpdate, o.set, oldRow, row); err != nil {
		return err
	}
	c.new, c.conflict = row, true
	return nil
}

func errConflictTwice() error {
	return pgerr.New(pgerr.CardinalityViolation, "ON CONFLICT DO UPDATE command cannot affect row a second time").
		WithHint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
}

// restir brings what the batch knows about unique keys up to date, when functions that its updates call have written.
func (o *insertOp) restir(ctx context.Context) error {
	if !o.w.stirred() {
		return nil
	}
	changed, err := o.w.refresh(ctx)
	for _, k := range changed {
		if o.stirred == nil {
			o.stirred = map[string]bool{}
		}
		o.stirred[k] = true
	}
	return err
}

// probeChanged reads the unique keys that a single update moves to, keeping what the batch knows.
func (o *insertOp) probeChanged(ctx context.Context, oldKey, newKey []byte, oldEnts, newEnts []entry) error {
	w := o.cw
	get := func(k []byte) error { return w.know(ctx, k) }
	for _, e := range oldEnts {
		if e.own != nil {
			if err := get(e.key); err != nil {
				return err
			}
		}
	}
	if w.mirror != nil {
		m := w.mirror.w
		for _, k := range m.probes {
			if err := m.know(ctx, k); err != nil {
				return err
			}
		}
		m.probes = m.probes[:0]
	}
	if w.pkMoves && string(oldKey) != string(newKey) {
		if err := get(newKey); err != nil {
			return err
		}
	}
	for i, e := range newEnts {
		if e.present && e.distinct && string(e.key) != string(oldEnts[i].key) {
			if err := get(e.key); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *insertOp) emitRow(c *change) {
	copy(o.w.newRow(), c.new)
	o.s.showXMax(o.n_.Conflict, c)
}

// showXMax brings into the frame who changed the row of an INSERT ... ON CONFLICT DO UPDATE.
func (s *state) showXMax(cf *plan.Conflict, c *change) {
	if cf == nil || !cf.Update {
		return
	}
	var xmax uint32
	if c.conflict {
		xmax = 1
		if s.env.Builtin.Session != nil {
			id, _ := s.env.Builtin.Session.TxnID(true)
			xmax = max(uint32(id), plan.FrozenXid+1)
		}
	}
	s.c.Frame[cf.XMax] = types.NewInt(int64(xmax))
}

// insertRow inserts one row.
func (s *state) insertRow(ctx context.Context, w *writer, row []types.Datum, exprs bool) error {
	if exprs {
		copy(w.newRow(), row)
	}
	key := w.rowKey(row)
	if !w.hidden {
		w.probe(0, key)
	}
	ents, err := w.entries(row, false)
	if err != nil {
		return err
	}
	for i, e := range ents {
		if e.present && e.distinct {
			w.probe(i+1, e.key)
		}
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	if err := w.insert(ctx, row, key, ents); err != nil {
		return err
	}
	if err := s.afterRow(w.t.Table, catalog.TriggerInsert, nil, nil, row); err != nil {
		return err
	}
	return s.queueChild(w.t.Table, nil, row)
}

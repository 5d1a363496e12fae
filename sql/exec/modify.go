package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// writeBatch is how many rows are checked and written together.
const writeBatch = 512

// change is one row waiting to be written, or written and waiting to be returned.
type change struct {
	old, new []types.Datum
	kept     []types.Datum
	conflict bool // INSERT that became an UPDATE
	// Of a partitioned table: the partition the row is in, the one it goes to, its place in the statement.
	leaf, to, seq int
}

// modifyOp is the frame that INSERT, UPDATE, DELETE and MERGE share: it reads rows, collects changes,
// writes them in batches and returns them for RETURNING.
type modifyOp struct {
	s         *state
	in        op
	w         *writer
	returning bool
	stream    bool
	store     *rows // memory of pending changes
	keep      []plan.Slot
	pending   []change
	out       []change
	pos       int
	n         int64
	eof       bool
	size      int
	// delayed: the statement is a WITH query whose writes other parts of the statement must not see. What
	// it returns is known before it writes; it writes when the statement ends.
	delayed bool
	// take turns the frame's row into changes; flush writes the pending ones and appends what RETURNING
	// gets to out.
	take  func(ctx context.Context) error
	flush func(ctx context.Context) error
	// before fires BEFORE ROW triggers on a change and completes its row; false: there is nothing to be written.
	before func(ctx context.Context, c *change) (bool, error)
	// table, events and set are what statement triggers are told.
	table  *plan.Table
	events uint8
	set    map[int]bool
	// after restores a returned row into the frame.
	emit func(c *change)
}

func (o *modifyOp) count() int64 { return o.n }

func (o *modifyOp) open(ctx context.Context) error {
	o.size = 16
	o.store.reset()
	o.pending, o.out, o.pos, o.n, o.eof = nil, nil, 0, 0, false
	if o.table != nil && o.table.Triggers != nil {
		if err := o.s.statement(ctx, o.table, o.events, o.set); err != nil {
			return err
		}
	}
	return o.in.open(ctx)
}

func (o *modifyOp) next(ctx context.Context) (bool, error) {
	for {
		if o.pos < len(o.out) {
			c := &o.out[o.pos]
			o.pos++
			o.emit(c)
			return true, nil
		}
		if o.eof {
			return false, nil
		}
		if err := o.step(ctx); err != nil {
			return false, err
		}
	}
}

// step reads one batch, or everything when the writes could disturb the reading, and writes it.
func (o *modifyOp) step(ctx context.Context) error {
	if o.stream {
		o.store.reset()
		o.out, o.pos = o.out[:0], 0
	}
	for !o.stream || len(o.pending) < o.size {
		ok, err := o.in.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			o.eof = true
			break
		}
		if err := o.take(ctx); err != nil {
			return err
		}
	}
	o.size = min(o.size*4, writeBatch)
	if o.delayed {
		o.n += int64(len(o.pending))
		if o.returning {
			o.out = append(o.out, o.pending...)
		}
		o.s.delayed = append(o.s.delayed, func(ctx context.Context) error {
			o.returning = false // returned already
			return o.write(ctx)
		})
		return nil
	}
	return o.write(ctx)
}

// write writes the pending changes in batches.
func (o *modifyOp) write(ctx context.Context) error {
	all := o.pending
	if o.before != nil {
		for i := range all {
			ok, err := o.before(ctx, &all[i])
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			o.pending = all[i : i+1]
			if err := o.flush(ctx); err != nil {
				return err
			}
		}
		all = all[:0]
		o.pending = all
	}
	for len(all) > 0 {
		k := min(len(all), writeBatch)
		o.pending = all[:k]
		if err := o.flush(ctx); err != nil {
			return err
		}
		all = all[k:]
		if len(all) > 0 || !o.eof {
			if err := o.s.env.Txn.Flush(ctx); err != nil {
				return err
			}
		}
	}
	o.pending = o.pending[:0]
	return nil
}

// saveRow copies a row of the frame.
func (o *modifyOp) saveRow(row []types.Datum) ([]types.Datum, error) {
	out := o.store.alloc(len(row))
	n := int64(len(row))*datumSize + 32
	for i, d := range row {
		n += datumBytes(d)
		out[i] = o.store.clone(d)
	}
	o.store.size += n
	return out, o.s.grow(n)
}

// saveKept copies what RETURNING reads besides the row itself.
func (o *modifyOp) saveKept() ([]types.Datum, error) {
	if !o.returning || len(o.keep) == 0 {
		return nil, nil
	}
	out := o.store.alloc(len(o.keep))
	n := int64(len(o.keep)) * datumSize
	for i, sl := range o.keep {
		d := o.s.c.Frame[sl]
		n += datumBytes(d)
		out[i] = o.store.clone(d)
	}
	o.store.size += n
	return out, o.s.grow(n)
}

func (o *modifyOp) loadKept(c *change) {
	for i, d := range c.kept {
		o.s.c.Frame[o.keep[i]] = d
	}
}

func (o *modifyOp) close() {
	o.in.close()
	if !o.delayed {
		o.store.reset()
	}
}

// delay makes a data-modifying WITH query write at the end of the statement. ON CONFLICT cannot: what it
// returns depends on what it finds when it writes.
func delay(x op) {
	if st, ok := x.(*statOp); ok {
		x = st.in
	}
	var m *modifyOp
	switch x := x.(type) {
	case *insertOp:
		if x.n_.Conflict != nil {
			return
		}
		m = &x.modifyOp
	case *updateOp:
		m = &x.modifyOp
	case *deleteOp:
		m = &x.modifyOp
	case *partInsertOp:
		if x.n_.Conflict != nil {
			return
		}
		m = &x.modifyOp
	case *partUpdateOp:
		m = &x.modifyOp
	case *partDeleteOp:
		m = &x.modifyOp
	default:
		return
	}
	if m.before != nil {
		return // what it returns is known when its triggers have run
	}
	m.delayed, m.stream = true, false
}

// needFrame reports whether index entries are computed from the frame.
func needFrame(t *plan.WriteTarget) bool {
	for _, ix := range t.Indexes {
		if ix.KeyNew != nil || ix.KeyOld != nil || ix.WhereNew != nil || ix.WhereOld != nil {
			return true
		}
	}
	return false
}

// insertOp is INSERT.
type insertOp struct {
	modifyOp
	n_      *plan.Insert
	exprs   bool
	cw      *writer // for ON CONFLICT DO UPDATE
	touched map[string]bool
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
	for i := range o.pending {
		c := &o.pending[i]
		done := false
		if o.n_.Conflict != nil {
			var err error
			if done, err = o.conflict(ctx, c, keys[i], ents[i]); err != nil {
				return err
			}
		}
		if !done {
			if o.exprs {
				copy(w.newRow(), c.new)
			}
			if err := w.insert(c.new, keys[i], ents[i]); err != nil {
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
	if o.touched[string(rowKey)] {
		return pgerr.New(pgerr.CardinalityViolation, "ON CONFLICT DO UPDATE command cannot affect row a second time").
			WithHint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
	}
	if err := o.read.read(rowKey, value, old); err != nil {
		return err
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
	if row, err = s.beforeRow(ctx, o.n_.Target.Table, catalog.TriggerUpdate, o.set, oldRow, row); err != nil {
		return err
	}
	if row == nil {
		c.new = nil
		return nil
	}
	copy(w.newRow(), row)
	if err := w.complete(); err != nil {
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
	newKey := cw.rowKey(row)
	oldEnts, err := cw.entries(oldRow, true)
	if err != nil {
		return err
	}
	newEnts, err := cw.entries(row, false)
	if err != nil {
		return err
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

// probeChanged reads the unique keys that a single update moves to, keeping what the batch knows.
func (o *insertOp) probeChanged(ctx context.Context, oldKey, newKey []byte, oldEnts, newEnts []entry) error {
	w := o.cw
	get := func(k []byte) error {
		if _, ok := w.present[string(k)]; ok {
			return nil
		}
		v, err := o.s.env.Txn.Get(ctx, k, kv.LockExclusive, kv.WaitBlock)
		if err == nil {
			w.present[string(k)] = keyState{value: v}
		}
		return err
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
}

// updateOp is UPDATE.
type updateOp struct {
	modifyOp
	n_    *plan.Update
	exprs bool
	seen  map[string]struct{}
	vals  []types.Datum
}

func newUpdate(s *state, n *plan.Update, in op) op {
	o := &updateOp{n_: n}
	in = s.lockTarget(in, &n.Access)
	o.modifyOp = modifyOp{s: s, in: in, w: newWriter(s, n.Target), returning: n.Returning, stream: n.Stream, store: &rows{s: s}, keep: n.Keep}
	ords := map[int]bool{}
	for _, x := range n.Set {
		ords[x.Ord] = true
	}
	for _, g := range n.Target.Generated {
		ords[g.Ord] = true
	}
	o.w.limitTo(ords)
	o.w.set = map[int]bool{}
	for _, x := range n.Set {
		o.w.set[x.Ord] = true
	}
	o.exprs = needFrame(n.Target)
	o.table, o.events, o.set = n.Target.Table, catalog.TriggerUpdate, o.w.set
	o.fireBefore(o.w, catalog.TriggerUpdate, o.set)
	o.vals = make([]types.Datum, len(n.Set))
	o.take, o.flush, o.emit = o.takeRow, o.flushRows, o.emitRow
	return o
}

// setNew computes the new row from the old one in the frame.
func setNew(s *state, w *writer, set []plan.OrdExpr, vals []types.Datum) error {
	for i, x := range set {
		d, err := x.E.Eval(&s.c)
		if err != nil {
			return err
		}
		vals[i] = d
	}
	row := w.newRow()
	copy(row, w.oldRow())
	for i, x := range set {
		row[x.Ord] = vals[i]
	}
	return nil
}

func (o *updateOp) takeRow(context.Context) error {
	w := o.w
	if o.n_.Joined {
		if o.seen == nil {
			o.seen = map[string]struct{}{}
		}
		key := w.codec.appendRowKey(nil, w.oldRow())
		if _, dup := o.seen[string(key)]; dup {
			return nil // a second match of the same row
		}
		o.seen[string(key)] = struct{}{}
	}
	if err := setNew(o.s, w, o.n_.Set, o.vals); err != nil {
		return err
	}
	if o.before == nil {
		if err := w.complete(); err != nil {
			return err
		}
	}
	old, err := o.saveRow(w.oldRow())
	if err != nil {
		return err
	}
	row, err := o.saveRow(w.newRow())
	if err != nil {
		return err
	}
	kept, err := o.saveKept()
	if err != nil {
		return err
	}
	o.pending = append(o.pending, change{old: old, new: row, kept: kept})
	return nil
}

func (o *updateOp) flushRows(ctx context.Context) error {
	if err := o.s.updateRows(ctx, o.w, o.pending, o.exprs); err != nil {
		return err
	}
	o.n += int64(len(o.pending))
	if o.returning {
		o.out = append(o.out, o.pending...)
	}
	return nil
}

// updateRows writes a batch of updates.
func (s *state) updateRows(ctx context.Context, w *writer, list []change, exprs bool) error {
	type keys struct {
		old, new         []byte
		oldEnts, newEnts []entry
	}
	ks := make([]keys, len(list))
	for i := range list {
		c, k := &list[i], &ks[i]
		if exprs {
			copy(w.oldRow(), c.old)
			copy(w.newRow(), c.new)
		}
		k.old = w.rowKey(c.old)
		k.new = k.old
		if w.pkMoves {
			if k.new = w.rowKey(c.new); string(k.new) != string(k.old) {
				w.probe(0, k.new)
			}
		}
		var err error
		if k.oldEnts, err = w.entries(c.old, true); err != nil {
			return err
		}
		if k.newEnts, err = w.entries(c.new, false); err != nil {
			return err
		}
		for j, e := range k.newEnts {
			if e.present && e.distinct && string(e.key) != string(k.oldEnts[j].key) {
				w.probe(j+1, e.key)
			}
		}
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	for i := range list {
		c, k := &list[i], &ks[i]
		if exprs {
			copy(w.newRow(), c.new)
		}
		if err := w.update(k.old, k.new, k.oldEnts, k.newEnts, c.new); err != nil {
			return err
		}
		if err := s.queueChild(w.t.Table, c.old, c.new); err != nil {
			return err
		}
		if err := s.queueParent(w.t.Table, c.old, c.new); err != nil {
			return err
		}
		if err := s.afterRow(w.t.Table, catalog.TriggerUpdate, w.set, c.old, c.new); err != nil {
			return err
		}
	}
	return nil
}

func (o *updateOp) emitRow(c *change) {
	o.loadKept(c)
	copy(o.w.oldRow(), c.old)
	copy(o.w.newRow(), c.new)
}

// deleteOp is DELETE.
type deleteOp struct {
	modifyOp
	n_    *plan.Delete
	exprs bool
	seen  map[string]struct{}
}

func newDelete(s *state, n *plan.Delete, in op) op {
	o := &deleteOp{n_: n}
	in = s.lockTarget(in, &n.Access)
	o.modifyOp = modifyOp{s: s, in: in, w: newWriter(s, n.Target), returning: n.Returning, stream: n.Stream, store: &rows{s: s}, keep: n.Keep}
	o.exprs = needFrame(n.Target)
	o.take, o.flush, o.emit = o.takeRow, o.flushRows, o.emitRow
	o.table, o.events = n.Target.Table, catalog.TriggerDelete
	o.fireBefore(o.w, catalog.TriggerDelete, nil)
	return o
}

func (o *deleteOp) takeRow(context.Context) error {
	w := o.w
	if o.n_.Joined {
		if o.seen == nil {
			o.seen = map[string]struct{}{}
		}
		key := w.codec.appendRowKey(nil, w.oldRow())
		if _, dup := o.seen[string(key)]; dup {
			return nil
		}
		o.seen[string(key)] = struct{}{}
	}
	old, err := o.saveRow(w.oldRow())
	if err != nil {
		return err
	}
	kept, err := o.saveKept()
	if err != nil {
		return err
	}
	o.pending = append(o.pending, change{old: old, kept: kept})
	return nil
}

func (o *deleteOp) flushRows(ctx context.Context) error {
	if err := o.s.deleteRows(o.w, o.pending, o.exprs); err != nil {
		return err
	}
	o.n += int64(len(o.pending))
	if o.returning {
		o.out = append(o.out, o.pending...)
	}
	return nil
}

// deleteRows deletes a batch.
func (s *state) deleteRows(w *writer, list []change, exprs bool) error {
	for i := range list {
		c := &list[i]
		if err := s.removeRow(w, c.old, exprs); err != nil {
			return err
		}
		if err := s.queueParent(w.t.Table, c.old, nil); err != nil {
			return err
		}
		if err := s.afterRow(w.t.Table, catalog.TriggerDelete, nil, c.old, nil); err != nil {
			return err
		}
	}
	return nil
}

// removeRow takes a row and its entries out of a table.
func (s *state) removeRow(w *writer, old []types.Datum, exprs bool) error {
	if exprs {
		copy(w.oldRow(), old)
	}
	ents, err := w.entries(old, true)
	if err != nil {
		return err
	}
	return w.remove(w.rowKey(old), ents)
}

func (o *deleteOp) emitRow(c *change) {
	o.loadKept(c)
	copy(o.w.oldRow(), c.old)
}

// mergeOp is MERGE.
type mergeOp struct {
	modifyOp
	n_    *plan.Merge
	exprs bool
	seen  map[string]struct{}
}

func newMerge(s *state, n *plan.Merge, in op) op {
	o := &mergeOp{n_: n, seen: map[string]struct{}{}}
	o.modifyOp = modifyOp{s: s, in: in, w: newWriter(s, n.Target), store: &rows{s: s}}
	o.exprs = needFrame(n.Target)
	o.table = n.Target.Table
	for _, w := range n.Whens {
		o.events |= map[plan.MergeAction]uint8{plan.MergeInsert: catalog.TriggerInsert, plan.MergeUpdate: catalog.TriggerUpdate, plan.MergeDelete: catalog.TriggerDelete}[w.Action]
	}
	o.fireBefore(o.w, o.events, nil)
	o.take, o.flush, o.emit = o.takeRow, o.flushRows, func(*change) {}
	return o
}

func (o *mergeOp) takeRow(context.Context) error {
	c, w := &o.s.c, o.w
	d, err := o.n_.Present.Eval(c)
	if err != nil {
		return err
	}
	matched := !d.IsNull()
	for _, m := range o.n_.Whens {
		if m.Matched != matched {
			continue
		}
		ok, err := evalAll(c, m.Conds)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if m.Action == plan.MergeNothing {
			return nil
		}
		var ch change
		if matched {
			key := string(w.codec.appendRowKey(nil, w.oldRow()))
			if _, dup := o.seen[key]; dup {
				return pgerr.New(pgerr.CardinalityViolation, "MERGE command cannot affect row a second time").
					WithHint("Ensure that not more than one source row matches any one target row.")
			}
			o.seen[key] = struct{}{}
			if ch.old, err = o.saveRow(w.oldRow()); err != nil {
				return err
			}
		}
		switch m.Action {
		case plan.MergeUpdate:
			if err = setNew(o.s, w, m.Set, make([]types.Datum, len(m.Set))); err == nil && o.before == nil {
				err = w.complete()
			}
		case plan.MergeInsert:
			for _, x := range m.Set {
				v, err := x.E.Eval(c)
				if err != nil {
					return err
				}
				c.Frame[w.t.New[x.Ord]] = v
			}
			if o.before == nil {
				err = w.complete()
			}
		}
		if err != nil {
			return err
		}
		if m.Action != plan.MergeDelete {
			if ch.new, err = o.saveRow(w.newRow()); err != nil {
				return err
			}
		}
		o.pending = append(o.pending, ch)
		return nil
	}
	return nil
}

func (o *mergeOp) flushRows(ctx context.Context) error {
	w := o.w
	for i := range o.pending {
		c := &o.pending[i]
		one := o.pending[i : i+1]
		var err error
		switch {
		case c.old != nil && c.new != nil:
			err = o.s.updateRows(ctx, w, one, o.exprs)
		case c.old != nil:
			err = o.s.deleteRows(w, one, o.exprs)
		default:
			err = o.s.insertRow(ctx, w, c.new, o.exprs)
		}
		if err != nil {
			return err
		}
		o.n++
	}
	return nil
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
	if err := w.insert(row, key, ents); err != nil {
		return err
	}
	if err := s.afterRow(w.t.Table, catalog.TriggerInsert, nil, nil, row); err != nil {
		return err
	}
	return s.queueChild(w.t.Table, nil, row)
}

// Inserter inserts rows that come from outside, in batches.
type Inserter struct {
	s   *state
	ins *modifyOp
	v   *plan.Values
}

func newInserter(ctx context.Context, p *plan.Plan, env *Env) (*Inserter, error) {
	n, ok := p.Root.(*plan.Insert)
	if !ok {
		return nil, pgerr.New(pgerr.InternalError, "not a plan for COPY")
	}
	s := newState(p, env)
	w := &Inserter{s: s, v: n.Input.(*plan.Values)}
	switch o := insertOf(s, n, &oneRowOp{}).(type) {
	case *insertOp:
		w.ins = &o.modifyOp
	case *partInsertOp:
		w.ins = &o.modifyOp
	}
	w.ins.size = writeBatch
	if t := n.Target.Table; t.Triggers != nil {
		if err := s.statement(ctx, t, catalog.TriggerInsert, nil); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Add inserts one row of values in the types of the plan's ParamTypes. The row may be reused after Add.
func (w *Inserter) Add(ctx context.Context, row []types.Datum) error {
	for i, sl := range w.v.Slots {
		w.s.c.Frame[sl] = row[i]
	}
	if err := w.ins.take(ctx); err != nil {
		return err
	}
	if len(w.ins.pending) < writeBatch {
		return nil
	}
	if err := w.write(ctx); err != nil {
		return err
	}
	return w.s.env.Txn.Flush(ctx)
}

func (w *Inserter) write(ctx context.Context) error {
	if len(w.ins.pending) == 0 {
		return nil
	}
	if err := w.ins.write(ctx); err != nil {
		return err
	}
	w.ins.store.reset()
	return nil
}

// Close writes what is left, checks foreign keys and returns the number of rows.
func (w *Inserter) Close(ctx context.Context) (Result, error) {
	if err := w.write(ctx); err != nil {
		return Result{}, err
	}
	if err := w.s.finish(ctx); err != nil {
		return Result{}, err
	}
	return Result{Verb: "COPY", Rows: w.ins.n}, nil
}

package exec

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/partition"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// parted converts rows between a partitioned table and its partitions, and writes to those.
type parted struct {
	s  *state
	t  *plan.WriteTarget
	ws []*writer // by leaf, made when first written to
	// merging is writer.merging of all of them.
	merging bool
}

func newParted(s *state, t *plan.WriteTarget) *parted {
	return &parted{s: s, t: t, ws: make([]*writer, len(t.Parts.Leaves))}
}

func (p *parted) leaf(i int) *plan.LeafTarget { return p.t.Parts.Leaves[i] }

// writer writes to a leaf all columns of rows.
func (p *parted) writer(i int) *writer {
	if p.ws[i] == nil {
		p.ws[i] = newWriter(p.s, p.leaf(i).Target)
		p.ws[i].root, p.ws[i].from, p.ws[i].merging = p.t, p.leaf(i).From, p.merging
	}
	return p.ws[i]
}

// route finds the leaf for the new row of the partitioned table, which is in the frame.
func (p *parted) route() (int, error) {
	for i := range p.t.Within {
		if err := p.s.within(&p.t.Within[i], p.t.Table, func() string { return p.failing() }); err != nil {
			return 0, err
		}
	}
	r := p.t.Parts.Route
	if r.Set.Strategy == partition.Heirs {
		return 0, nil // a table's new rows are its own
	}
	for {
		key, err := evalKeys(&p.s.c, r.Keys)
		if err != nil {
			return 0, err
		}
		at := r.Set.Find(key)
		if at < 0 {
			return 0, p.s.noPartition(r, key)
		}
		if k := r.Kids[at]; k.Sub == nil {
			return k.Leaf, nil
		}
		r = r.Kids[at].Sub
	}
}

func (p *parted) failing() string {
	w := &writer{s: p.s, t: p.t}
	return w.failingRow(frameRow(p.s, p.t.New))
}

func evalKeys(c *plan.EvalCtx, keys []plan.Expr) ([]types.Datum, error) {
	out := make([]types.Datum, len(keys))
	for i, e := range keys {
		d, err := e.Eval(c)
		if err != nil {
			return nil, err
		}
		out[i] = d
	}
	return out, nil
}

// noPartition is the error for a row that no partition takes.
func (s *state) noPartition(r *plan.Route, key []types.Datum) error {
	var names, vals []string
	for i, k := range r.Table.Parts.Keys {
		if k.Col >= 0 {
			names = append(names, types.QuoteIdent(r.Table.Columns[k.Col].Name))
		} else {
			names = append(names, parser.DeparseExpr(k.Expr))
		}
		vals = append(vals, datumText(s, key[i], k.T))
	}
	return pgerr.New(pgerr.CheckViolation, "no partition of relation %q found for row", r.Table.Name).
		WithDetail("Partition key of the failing row contains (%s) = (%s).", strings.Join(names, ", "), strings.Join(vals, ", ")).
		WithTable(r.Table.Schema, r.Table.Name)
}

// within checks that a new row of a partition lies within its bounds.
func (s *state) within(b *plan.BoundCheck, t *plan.Table, failing func() string) error {
	key, err := evalKeys(&s.c, b.Keys)
	if err != nil {
		return err
	}
	if b.Set.Find(key) == b.At {
		return nil
	}
	return pgerr.New(pgerr.CheckViolation, "new row for relation %q violates partition constraint", t.Name).
		WithDetail("%s", failing()).WithTable(t.Schema, t.Name)
}

// newIn brings the partitioned table's new row, which is in the frame, into a leaf's, and completes it. rowID is the
// hidden key that the row keeps, NULL for a new one.
func (p *parted) newIn(i int, rowID types.Datum) error {
	l := p.leaf(i)
	f := p.s.c.Frame
	for j, from := range l.From {
		if from >= 0 {
			f[l.Target.New[j]] = f[p.t.New[from]]
		} else if from < -1 {
			f[l.Target.New[j]] = f[p.t.Parts.OldExtra[-2-from]]
		}
	}
	if l.Hidden >= 0 {
		if rowID.IsNull() {
			rowID = types.NewInt(p.s.c.RowID())
		}
		f[l.Target.New[l.Hidden]] = rowID
	}
	if l.Target.Table.HasTrigger(plan.Before, true, catalog.TriggerInsert|catalog.TriggerUpdate) {
		return nil // completed when its triggers have run
	}
	return p.writer(i).complete()
}

// stays makes sure that a trigger has not changed where a row belongs; the row is in the frame.
func (p *parted) stays(i int) error {
	l := p.leaf(i)
	for j := range l.Bounds {
		if err := p.s.within(&l.Bounds[j], l.Target.Table, func() string { return "" }); err != nil {
			if pgerr.Code(err) != pgerr.CheckViolation {
				return err
			}
			t := l.Target.Table
			return pgerr.New(pgerr.FeatureNotSupported, "moving row to another partition during a BEFORE FOR EACH ROW trigger is not supported").
				WithDetail("Before executing trigger %q, the row was to be in partition \"%s.%s\".", firstBefore(t), t.Schema, t.Name)
		}
	}
	return nil
}

func firstBefore(t *plan.Table) string {
	for _, tr := range t.Triggers {
		if tr.Desc.Timing == plan.Before && tr.Desc.Row {
			return tr.Desc.Name
		}
	}
	return ""
}

// oldIn brings the partitioned table's old row into the leaf's in which it is.
func (p *parted) oldIn(i int) {
	l := p.leaf(i)
	f := p.s.c.Frame
	for j, from := range l.From {
		if from >= 0 {
			f[l.Target.Old[j]] = f[p.t.Old[from]]
		} else if from < -1 {
			f[l.Target.Old[j]] = f[p.t.Parts.OldExtra[-2-from]]
		} else {
			f[l.Target.Old[j]] = f[p.t.Parts.OldRowID]
		}
	}
}

// oldLeaf is the leaf of the old row in the frame.
func (p *parted) oldLeaf() int {
	return p.t.Parts.ByOID[uint32(p.s.c.Frame[p.t.Parts.OldOID].Int())]
}

// show brings a leaf's row into slots of the partitioned table.
func (p *parted) show(i int, row []types.Datum, slots []plan.Slot) {
	f := p.s.c.Frame
	for j, from := range p.leaf(i).From {
		if from >= 0 {
			f[slots[from]] = row[j]
		}
	}
	f[p.t.Parts.NewOID] = types.NewInt(int64(p.leaf(i).Target.Table.ID))
}

// partInsertOp is INSERT into a partitioned table. Each leaf that gets rows has an insertOp of its own.
type partInsertOp struct {
	modifyOp
	n_     *plan.Insert
	p      *parted
	leaves []*insertOp
	fills  *insertOp // computes the row of the partitioned table
	seq    int
}

func newPartInsert(s *state, n *plan.Insert, in op) op {
	o := &partInsertOp{n_: n, p: newParted(s, n.Target), leaves: make([]*insertOp, len(n.Target.Parts.Leaves))}
	o.modifyOp = modifyOp{s: s, in: in, returning: n.Returning, stream: n.Stream, store: &rows{s: s}, keep: n.Keep}
	o.fills = &insertOp{n_: n}
	o.fills.s = s
	o.take, o.flush, o.emit = o.takeRow, o.flushRows, o.emitRow
	o.table, o.events = n.Target.Table, catalog.TriggerInsert
	if n.Conflict != nil && n.Conflict.Update {
		o.events |= catalog.TriggerUpdate
	}
	return o
}

func (o *partInsertOp) leaf(i int) *insertOp {
	if o.leaves[i] == nil {
		l := o.p.leaf(i)
		ins := newInsert(o.s, &plan.Insert{Target: l.Target, Conflict: l.Conflict, Returning: true, Keep: o.keep}, nil).(*insertOp)
		ins.moved = func(row []types.Datum) (bool, error) {
			copy(frameRow(o.s, l.Target.New), row)
			o.p.show(i, row, o.n_.Target.New)
			at, err := o.p.route()
			return at != i, err
		}
		ins.w.root, ins.w.from = o.n_.Target, l.From
		if before := ins.before; before != nil {
			ins.before = func(ctx context.Context, c *change) (bool, error) {
				ok, err := before(ctx, c)
				if err != nil || !ok {
					return ok, err
				}
				copy(frameRow(o.s, l.Target.New), c.new)
				return true, o.p.stays(i)
			}
		}
		o.p.ws[i] = ins.w
		o.leaves[i] = ins
	}
	return o.leaves[i]
}

func (o *partInsertOp) takeRow(context.Context) error {
	if err := o.fills.fill(); err != nil {
		return err
	}
	if o.n_.Where != nil {
		if ok, err := evalAll(&o.s.c, o.n_.Where); err != nil || !ok {
			return err
		}
	}
	i, err := o.p.route()
	if err != nil {
		return err
	}
	o.leaf(i)
	if err := o.p.newIn(i, types.Null); err != nil {
		return err
	}
	row, err := o.saveRow(frameRow(o.s, o.p.leaf(i).Target.New))
	if err != nil {
		return err
	}
	kept, err := o.saveKept()
	if err != nil {
		return err
	}
	o.pending = append(o.pending, change{new: row, kept: kept, leaf: i, seq: o.seq})
	o.seq++
	return nil
}

func (o *partInsertOp) flushRows(ctx context.Context) error {
	var order []int
	for _, c := range o.pending {
		ins := o.leaf(c.leaf)
		if len(ins.pending) == 0 {
			order = append(order, c.leaf)
		}
		ins.pending = append(ins.pending, c)
	}
	from := len(o.out)
	for _, i := range order {
		ins := o.leaves[i]
		before := ins.n
		var err error
		if ins.before != nil {
			err = ins.write(ctx)
		} else {
			err = ins.flushRows(ctx)
		}
		o.n += ins.n - before
		if o.returning {
			o.out = append(o.out, ins.out...)
		}
		ins.pending, ins.out = ins.pending[:0], ins.out[:0]
		if err != nil {
			return err
		}
	}
	slices.SortStableFunc(o.out[from:], func(a, b change) int { return a.seq - b.seq })
	return nil
}

func (o *partInsertOp) emitRow(c *change) {
	o.p.show(c.leaf, c.new, o.n_.Target.New)
	o.s.showXMax(o.n_.Conflict, c)
}

// errMoves is what ON CONFLICT DO UPDATE says when the row would belong elsewhere.
func errMoves() error {
	return pgerr.New(pgerr.FeatureNotSupported, "invalid ON UPDATE specification").
		WithDetail("The result tuple would appear in a different partition than the original tuple.")
}

// partUpdateOp is UPDATE of a partitioned table. A row whose key changes may move to another partition.
type partUpdateOp struct {
	modifyOp
	n_    *plan.Update
	p     *parted
	exprs []bool
	stay  []*writer // by leaf: for rows that stay, knowing which columns change
	moves bool      // the key may change
	seen  map[string]struct{}
	vals  []types.Datum
}

func newPartUpdate(s *state, n *plan.Update, in op) op {
	t := n.Target.Parts
	o := &partUpdateOp{n_: n, p: newParted(s, n.Target), stay: make([]*writer, len(t.Leaves)), exprs: make([]bool, len(t.Leaves))}
	o.modifyOp = modifyOp{s: s, in: in, returning: n.Returning, stream: n.Stream, store: &rows{s: s}, keep: n.Keep}
	for _, x := range n.Set {
		o.moves = o.moves || t.KeyCols[x.Ord]
	}
	for _, l := range t.Leaves {
		for _, g := range l.Target.Generated {
			o.moves = o.moves || l.From[g.Ord] >= 0 && t.KeyCols[l.From[g.Ord]]
		}
	}
	o.vals = make([]types.Datum, len(n.Set))
	o.take, o.flush, o.emit = o.takeRow, o.flushRows, o.emitRow
	o.table, o.events, o.set = n.Target.Table, catalog.TriggerUpdate, map[int]bool{}
	for _, x := range n.Set {
		o.set[x.Ord] = true
	}
	return o
}

// leafSet has the columns that the statement names, as a leaf numbers them.
func (o *partUpdateOp) leafSet(i int) map[int]bool {
	set := map[int]bool{}
	for j, from := range o.p.leaf(i).From {
		if from >= 0 && o.set[from] {
			set[j] = true
		}
	}
	return set
}

// fireBefore fires the BEFORE ROW triggers of an update, which for a row that moves is a deletion and an insertion too.
func (o *partUpdateOp) fireBefore(ctx context.Context, c *change) (bool, error) {
	from, to := o.p.leaf(c.leaf).Target, o.p.leaf(c.to).Target
	if c.leaf == c.to {
		if !from.Table.HasTrigger(plan.Before, true, catalog.TriggerInsert|catalog.TriggerUpdate) {
			return true, nil
		}
		if err := o.p.writer(c.leaf).untriggered(ctx, catalog.TriggerUpdate, []change{*c}); err != nil {
			return false, err
		}
		row, err := o.s.beforeRow(ctx, from.Table, catalog.TriggerUpdate, o.leafSet(c.leaf), c.old, c.new)
		if err != nil || row == nil {
			return false, err
		}
		return true, o.finishRow(c, row)
	}
	if err := o.p.writer(c.leaf).untriggered(ctx, catalog.TriggerDelete, []change{*c}); err != nil {
		return false, err
	}
	if row, err := o.s.beforeRow(ctx, from.Table, catalog.TriggerDelete, nil, c.old, nil); err != nil || row == nil {
		return false, err
	}
	if !to.Table.HasTrigger(plan.Before, true, catalog.TriggerInsert|catalog.TriggerUpdate) {
		return true, nil
	}
	row, err := o.s.beforeRow(ctx, to.Table, catalog.TriggerInsert, nil, nil, c.new)
	if err != nil || row == nil {
		return false, err
	}
	return true, o.finishRow(c, row)
}

// finishRow completes a row that triggers have seen.
func (o *partUpdateOp) finishRow(c *change, row []types.Datum) error {
	w := o.p.writer(c.to)
	copy(w.newRow(), row)
	if err := w.complete(); err != nil {
		return err
	}
	if err := o.p.stays(c.to); err != nil {
		return err
	}
	var err error
	c.new, err = o.saveRow(w.newRow())
	return err
}

// stayer is the writer for rows that stay in a leaf.
func (o *partUpdateOp) stayer(i int) *writer {
	if o.stay[i] == nil {
		l := o.p.leaf(i)
		o.exprs[i] = needFrame(l.Target)
		w := newWriter(o.s, l.Target)
		ords := map[int]bool{}
		for j, from := range l.From {
			for _, x := range o.n_.Set {
				if x.Ord == from {
					ords[j] = true
				}
			}
		}
		for _, g := range l.Target.Generated {
			ords[g.Ord] = true
		}
		if !l.Target.Table.HasTrigger(plan.Before, true, catalog.TriggerUpdate) {
			w.limitTo(ords)
		}
		w.set = o.leafSet(i)
		w.root, w.from, w.merging = o.n_.Target, l.From, o.p.merging
		o.stay[i] = w
	}
	return o.stay[i]
}

func (o *partUpdateOp) takeRow(context.Context) error {
	s := o.s
	i := o.p.oldLeaf()
	o.p.oldIn(i)
	oldSlots := frameRow(s, o.p.leaf(i).Target.Old)
	if !s.claim(o.p.leaf(i).Target, o) {
		return nil
	}
	if o.n_.Joined {
		if dup := o.dup(&o.seen, o.p.writer(i), oldSlots); dup {
			return nil
		}
	}
	to, rowID, err := o.compute(i)
	if err != nil {
		return err
	}
	if err := o.p.newIn(to, rowID); err != nil {
		return err
	}
	old, err := o.saveRow(oldSlots)
	if err != nil {
		return err
	}
	row, err := o.saveRow(frameRow(s, o.p.leaf(to).Target.New))
	if err != nil {
		return err
	}
	kept, err := o.saveKept()
	if err != nil {
		return err
	}
	o.pending = append(o.pending, change{old: old, new: row, kept: kept, leaf: i, to: to})
	return nil
}

// compute brings the partitioned table's new row into the frame, from the old one of a leaf. It returns the leaf where
// it belongs, and the hidden key that it keeps.
func (o *partUpdateOp) compute(i int) (to int, rowID types.Datum, err error) {
	s := o.s
	f := s.c.Frame
	for j, x := range o.n_.Set {
		d, err := x.E.Eval(&s.c)
		if err != nil {
			return 0, types.Null, err
		}
		o.vals[j] = d
	}
	t := o.n_.Target
	for j := range t.New {
		f[t.New[j]] = f[t.Old[j]]
	}
	for j, x := range o.n_.Set {
		f[t.New[x.Ord]] = o.vals[j]
	}
	to = i
	if o.moves {
		if to, err = o.p.route(); err != nil {
			return 0, types.Null, err
		}
	}
	rowID = types.Null
	if to == i && o.p.leaf(i).Hidden >= 0 {
		rowID = f[t.Parts.OldRowID]
	}
	return to, rowID, nil
}

// dup reports whether a joined write has had a row already.
func (o *modifyOp) dup(seen *map[string]struct{}, w *writer, row []types.Datum) bool {
	if *seen == nil {
		*seen = map[string]struct{}{}
	}
	key := string(w.codec.appendRowKey(nil, row))
	if _, dup := (*seen)[key]; dup {
		return true
	}
	(*seen)[key] = struct{}{}
	return false
}

func (o *partUpdateOp) flushRows(ctx context.Context) error {
	if o.n_.Target.Table.RowTriggers() {
		// One by one: each trigger sees the rows before its own.
		kept := o.pending[:0]
		for _, c := range o.pending {
			ok, err := o.fireBefore(ctx, &c)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if c.leaf != c.to {
				err = o.move(ctx, &c)
			} else {
				err = o.s.updateRows(ctx, o.stayer(c.leaf), []change{c}, needFrame(o.p.leaf(c.leaf).Target))
			}
			if err != nil {
				return err
			}
			kept = append(kept, c)
		}
		o.pending = kept
		o.n += int64(len(kept))
		if o.returning {
			o.out = append(o.out, kept...)
		}
		return nil
	}
	for i := 0; i < len(o.pending); {
		c := &o.pending[i]
		if c.leaf != c.to {
			if err := o.move(ctx, c); err != nil {
				return err
			}
			i++
			continue
		}
		n := 1
		for i+n < len(o.pending) && o.pending[i+n].leaf == c.leaf && o.pending[i+n].to == c.leaf {
			n++
		}
		if err := o.s.updateRows(ctx, o.stayer(c.leaf), o.pending[i:i+n], o.exprs[c.leaf] || needFrame(o.p.leaf(c.leaf).Target)); err != nil {
			return err
		}
		i += n
	}
	o.n += int64(len(o.pending))
	if o.returning {
		o.out = append(o.out, o.pending...)
	}
	return nil
}

// move deletes a row from its partition and inserts it into another. To foreign keys that is an update.
func (o *partUpdateOp) move(ctx context.Context, c *change) error {
	s := o.s
	from, to := o.p.leaf(c.leaf), o.p.leaf(c.to)
	s.moving = true
	defer func() { s.moving = false }()
	if err := s.removeRow(ctx, o.p.writer(c.leaf), c.old, needFrame(from.Target)); err != nil {
		return err
	}
	if err := s.afterRow(from.Target.Table, catalog.TriggerDelete, nil, c.old, nil); err != nil {
		return err
	}
	if err := s.insertRow(ctx, o.p.writer(c.to), c.new, needFrame(to.Target)); err != nil {
		return err
	}
	// The new row as the old partition would have it.
	row := make([]types.Datum, len(from.From))
	for j, r := range from.From {
		for k, q := range to.From {
			if r >= 0 && q == r {
				row[j] = c.new[k]
			}
		}
	}
	return s.queueParent(from.Target.Table, c.old, row)
}

func (o *partUpdateOp) emitRow(c *change) {
	o.loadKept(c)
	o.p.show(c.leaf, c.old, o.n_.Target.Old)
	o.p.show(c.to, c.new, o.n_.Target.New)
}

// partDeleteOp is DELETE from a partitioned table.
type partDeleteOp struct {
	modifyOp
	n_   *plan.Delete
	p    *parted
	seen map[string]struct{}
}

func newPartDelete(s *state, n *plan.Delete, in op) op {
	o := &partDeleteOp{n_: n, p: newParted(s, n.Target)}
	o.modifyOp = modifyOp{s: s, in: in, returning: n.Returning, stream: n.Stream, store: &rows{s: s}, keep: n.Keep}
	o.take, o.flush, o.emit = o.takeRow, o.flushRows, o.emitRow
	o.table, o.events = n.Target.Table, catalog.TriggerDelete
	return o
}

func (o *partDeleteOp) takeRow(context.Context) error {
	i := o.p.oldLeaf()
	o.p.oldIn(i)
	row := frameRow(o.s, o.p.leaf(i).Target.Old)
	if !o.s.claim(o.p.leaf(i).Target, o) {
		return nil
	}
	if o.n_.Joined && o.dup(&o.seen, o.p.writer(i), row) {
		return nil
	}
	old, err := o.saveRow(row)
	if err != nil {
		return err
	}
	kept, err := o.saveKept()
	if err != nil {
		return err
	}
	o.pending = append(o.pending, change{old: old, kept: kept, leaf: i})
	return nil
}

func (o *partDeleteOp) flushRows(ctx context.Context) error {
	kept := o.pending[:0]
	for i := range o.pending {
		c := &o.pending[i]
		if t := o.p.leaf(c.leaf).Target.Table; t.Triggers != nil {
			if err := o.p.writer(c.leaf).untriggered(ctx, catalog.TriggerDelete, o.pending[i:i+1]); err != nil {
				return err
			}
			row, err := o.s.beforeRow(ctx, t, catalog.TriggerDelete, nil, c.old, nil)
			if err != nil {
				return err
			}
			if row == nil {
				continue
			}
		}
		kept = append(kept, *c)
		if err := o.s.deleteRows(ctx, o.p.writer(c.leaf), o.pending[i:i+1], needFrame(o.p.leaf(c.leaf).Target)); err != nil {
			return err
		}
	}
	o.n += int64(len(kept))
	if o.returning {
		o.out = append(o.out, kept...)
	}
	return nil
}

func (o *partDeleteOp) emitRow(c *change) {
	o.loadKept(c)
	o.p.show(c.leaf, c.old, o.n_.Target.Old)
	if oid := o.n_.Target.Parts.OldOID; oid >= 0 {
		o.s.c.Frame[oid] = types.NewInt(int64(o.p.leaf(c.leaf).Target.Table.ID))
	}
}

package exec

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// writer keeps a table's rows, index entries and constraints consistent. It works on batches: begin asks
// for all unique keys of a batch at once, then each row is checked and written in order, seeing what the
// rows before it did.
type writer struct {
	s     *state
	t     *plan.WriteTarget
	codec *tableCodec
	// affected says for each secondary index whether the statement can change its entries; nil: all.
	affected []bool
	pkMoves  bool
	// present has what the batch knows about unique keys: the value found, or written since.
	present map[string]keyState
	buf     []byte // arena of keys
	chunk   int
	probes  [][]byte
	hidden  bool // the primary key is a fresh row id
	// lock is what probes take: nothing where no other transaction can write.
	lock kv.LockMode
	// highest is, by index (the primary first), the greatest key written to an index that held nothing and
	// that nobody else writes to; nil where that cannot be said. Greater keys need no probe: rows that come
	// in the order of their new key, as those of a bulk load do, are written without a read.
	highest [][]byte
	// root, for a partition, is the partitioned table that a row was given for: messages show it in its columns.
	root *plan.WriteTarget
	from []int // plan.LeafTarget.From
	// policies are what row-level security asks of a new row.
	policies []plan.PolicyCheck
	// set are the columns that UPDATE names, for triggers; nil: not known.
	set map[int]bool
	// Rows written, until they are told of.
	inserted, updated, deleted int64
	// mirror is set while the rows are being rewritten: it writes them a second time.
	mirror *mirror
	// rowID is the ordinal of the row id that rows get for the mirror's sake (plan.Mirror.RowID), -1 for none.
	rowID int
	// writes is the table's entry in Env.Writes, nil without; seen is the number of the latest execution when present was read.
	writes *tableWrites
	seen   uint64
	// merging says that MERGE writes, which has its own words for a row that is not what it was.
	merging bool
	// unsure says that unique entries of an old row may be another row's, as not all rows have theirs yet: in an index that
	// is being built, or in all where foreign is set. They are asked for with the new ones, and left alone then.
	unsure, foreign bool
}

type keyState struct {
	value []byte // nil: absent
	mine  bool   // written by this statement
}

// entry is a row's entry in one secondary index.
type entry struct {
	key      []byte
	distinct bool
	present  bool // false: excluded by the index's predicate
	// terms are the keys of all the entries in an inverted index, ascending; key is nil then.
	terms [][]byte
	// own is the entry's value where an old row's entry may not be there, or be another row's.
	own []byte
	// image, of an element past those of the indexes, is the row as the mirror writes it.
	image *image
}

// privateSchema holds tables that only their own transaction can see: the new storage of a table that DDL
// rewrites. A million rows need no million locks there.
const privateSchema = "pg_toast"

func newWriter(s *state, t *plan.WriteTarget) *writer {
	w := &writer{s: s, t: t, codec: codecOf(t.Table), present: map[string]keyState{}, lock: kv.LockExclusive, policies: t.Policies, rowID: -1}
	if t.Table.Schema == privateSchema {
		w.ownIndexes()
	}
	w.writes = s.to(t.Table)
	pk := t.Table.Primary.Keys
	w.hidden = len(pk) == 1 && t.Table.Columns[pk[0].Col].Hidden
	w.pkMoves = true
	if s.env.Tally != nil {
		s.written = append(s.written, w)
	}
	for _, ix := range t.Table.Indexes {
		w.unsure = w.unsure || ix.WriteOnly && ix.Unique
	}
	if t.Mirror != nil {
		w.mirror, w.unsure, w.rowID = newMirror(s, t.Mirror), true, t.Mirror.RowID
	}
	return w
}

// limitTo tells the writer which columns an update changes.
func (w *writer) limitTo(ords map[int]bool) {
	t := w.t.Table
	w.pkMoves = false
	for _, k := range t.Primary.Keys {
		w.pkMoves = w.pkMoves || ords[k.Col]
	}
	w.affected = make([]bool, len(t.Indexes))
	for i, ix := range t.Indexes {
		a := w.pkMoves || ix.Where != nil
		for _, k := range ix.Keys {
			a = a || k.Col < 0 || ords[k.Col]
		}
		for _, o := range ix.Include {
			a = a || ords[o]
		}
		w.affected[i] = a
	}
}

func (w *writer) skip(i int) bool { return w.affected != nil && !w.affected[i] }

// alloc carves a key out of the arena.
func (w *writer) carve(build func([]byte) []byte) []byte {
	if cap(w.buf)-len(w.buf) < 256 {
		w.chunk = min(max(w.chunk*4, 512), 16<<10)
		w.buf = make([]byte, 0, w.chunk)
	}
	n := len(w.buf)
	w.buf = build(w.buf)
	return w.buf[n:len(w.buf):len(w.buf)]
}

func (w *writer) rowKey(row []types.Datum) []byte {
	return w.carve(func(b []byte) []byte { return w.codec.appendRowKey(b, row) })
}

// entries computes the secondary entries of a row, whose values are in the frame (old or new side), and its image.
func (w *writer) entries(row []types.Datum, old bool) ([]entry, error) {
	if len(w.codec.indexes) == 0 && w.mirror == nil {
		return nil, nil
	}
	out := make([]entry, len(w.codec.indexes))
	for i, x := range w.codec.indexes {
		if w.skip(i) {
			continue
		}
		ie := &w.t.Indexes[i+1]
		where, keys := ie.WhereNew, ie.KeyNew
		if old {
			where, keys = ie.WhereOld, ie.KeyOld
		}
		if where != nil {
			ok, err := plan.EvalBool(&w.s.c, where)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
		}
		var exprs []types.Datum
		if keys != nil {
			exprs = make([]types.Datum, len(keys))
			for k, e := range keys {
				if e == nil {
					continue
				}
				d, err := e.Eval(&w.s.c)
				if err != nil {
					return nil, err
				}
				exprs[k] = d
			}
		}
		out[i].present = true
		if x.ix.Inverted {
			out[i].terms = w.invertedKeys(x, row, exprs)
			continue
		}
		out[i].key = w.carve(func(b []byte) []byte {
			b, out[i].distinct = x.appendEntryKey(b, w.codec, row, exprs)
			return b
		})
		if old && out[i].distinct && (w.foreign || x.ix.WriteOnly) {
			out[i].own = x.appendEntryValue([]byte{}, w.codec, row)
		}
	}
	if w.mirror != nil {
		im, err := w.mirror.image(old)
		if err != nil {
			return nil, err
		}
		out = append(out, entry{image: im})
	}
	return out, nil
}

// ask probes the entries of an old row that may be another's.
func (w *writer) ask(ents []entry) {
	for i, e := range ents {
		if e.own != nil {
			w.probe(i+1, e.key)
		}
	}
}

// owns reports whether an old row's entry is there and the row's own. The key of one that may not be was probed.
func (w *writer) owns(e *entry) bool {
	return e.own == nil || bytes.Equal(e.own, w.present[string(e.key)].value)
}

// ownIndexes says that the indexes written to are empty, and that no other transaction writes to them.
func (w *writer) ownIndexes() {
	w.lock = kv.LockNone
	w.highest = make([][]byte, 1+len(w.codec.indexes))
}

// probe adds a unique key of index i, 0 for the primary, that begin asks for.
func (w *writer) probe(i int, key []byte) {
	if w.highest != nil && bytes.Compare(key, w.highest[i]) > 0 {
		w.highest[i] = append(w.highest[i][:0], key...)
		return
	}
	w.probes = append(w.probes, key)
}

// begin reads and locks the probed keys.
func (w *writer) begin(ctx context.Context) error {
	if w.mirror != nil {
		if err := w.mirror.w.begin(ctx); err != nil {
			return err
		}
	}
	w.look()
	clear(w.present)
	if len(w.probes) == 0 {
		return nil
	}
	ps := w.probes
	w.probes = w.probes[:0]
	if len(ps) == 1 {
		v, err := w.s.env.Txn.Get(ctx, ps[0], w.lock, kv.WaitBlock)
		if err != nil {
			return err
		}
		w.present[string(ps[0])] = keyState{value: v}
		return nil
	}
	vs, _, err := w.s.env.Txn.GetBatch(ctx, ps, w.lock, kv.WaitBlock)
	if err != nil {
		return err
	}
	for i, p := range ps {
		w.present[string(p)] = keyState{value: vs[i]}
	}
	return nil
}

// know is begin for one key, besides those that are known.
func (w *writer) know(ctx context.Context, key []byte) error {
	if _, ok := w.present[string(key)]; ok {
		return nil
	}
	v, err := w.s.env.Txn.Get(ctx, key, w.lock, kv.WaitBlock)
	if err == nil {
		w.present[string(key)] = keyState{value: v}
	}
	return err
}

func (w *writer) exists(key []byte) bool { return w.present[string(key)].value != nil }

// put writes a unique key so that later rows of the batch see it.
func (w *writer) put(key, value []byte) error {
	w.present[string(key)] = keyState{value: value, mine: true}
	return w.s.env.Txn.Put(key, value)
}

func (w *writer) del(key []byte) error {
	w.present[string(key)] = keyState{}
	return w.s.env.Txn.Delete(key)
}

// insert writes a new row after its unique keys were probed; conflict is the index violated, if any.
func (w *writer) insert(ctx context.Context, row []types.Datum, key []byte, ents []entry) error {
	if err := w.unique(row, key, ents); err != nil {
		return err
	}
	if err := w.checkViews(row); err != nil {
		return err
	}
	if w.stirred() {
		if _, err := w.refresh(ctx); err != nil {
			return err
		}
		if err := w.unique(row, key, ents); err != nil {
			return err
		}
	}
	return w.writeNew(row, key, ents)
}

func (w *writer) unique(row []types.Datum, key []byte, ents []entry) error {
	if !w.hidden && w.exists(key) {
		return w.duplicate(w.t.Table.Primary, row, nil)
	}
	for i, e := range ents {
		if e.present && e.distinct && w.exists(e.key) {
			return w.duplicate(w.t.Table.Indexes[i], row, w.keyValues(i+1, false))
		}
	}
	return nil
}

func (w *writer) writeNew(row []types.Datum, key []byte, ents []entry) error {
	w.inserted++
	w.note()
	val := w.carve(func(b []byte) []byte { return w.codec.appendRowValue(b, row) })
	var err error
	if w.hidden {
		err = w.s.env.Txn.Insert(key, val)
	} else {
		err = w.put(key, val)
	}
	if err != nil {
		return err
	}
	for i, e := range ents {
		if e.present {
			if err := w.putEntry(i, e, row); err != nil {
				return err
			}
		}
	}
	if w.mirror != nil {
		return w.mirror.insert(imageOf(ents))
	}
	return nil
}

func (w *writer) putEntry(i int, e entry, row []types.Datum) error {
	if w.codec.indexes[i].ix.Inverted {
		return w.putTerms(e.terms)
	}
	switch x := w.codec.indexes[i]; {
	case x.ix.Exclude != nil:
		if err := w.queueExclusion(i, x, e.key, row); err != nil {
			return err
		}
	case x.ix.Deferred:
		w.queueUnique(i, x, row)
	}
	val := w.carve(func(b []byte) []byte { return w.codec.indexes[i].appendEntryValue(b, w.codec, row) })
	if e.distinct {
		if val == nil {
			val = []byte{}
		}
		return w.put(e.key, val)
	}
	return w.s.env.Txn.Put(e.key, val)
}

// queueUnique notes a new key of a deferrable unique index. A key with a NULL is never a duplicate.
func (w *writer) queueUnique(i int, x *indexCodec, row []types.Datum) {
	exprs := w.keyValues(i+1, false)
	p := append([]byte(nil), x.prefix...)
	for j, k := range x.ix.Keys {
		var d types.Datum
		if k.Col >= 0 {
			d = row[k.Col]
		} else if j < len(exprs) {
			d = exprs[j]
		}
		if d.IsNull() && !x.ix.NullsNotDistinct {
			return
		}
		p = appendKey(p, d, &x.ix.Keys[j])
	}
	var detail string
	if e, ok := w.duplicate(x.ix, row, exprs).(*pgerr.Error); ok {
		detail = e.Detail
	}
	q := w.s.queue()
	q.uniques = append(q.uniques, uniqueCheck{t: w.t.Table, ix: x.ix, prefix: string(p), detail: detail})
}

// remove deletes a row and its entries.
func (w *writer) remove(key []byte, ents []entry) error {
	w.deleted++
	w.note()
	if err := w.del(key); err != nil {
		return err
	}
	for _, e := range ents {
		if !e.present || !w.owns(&e) {
			continue
		}
		if e.key == nil {
			if err := w.delTerms(e.terms); err != nil {
				return err
			}
			continue
		}
		if err := w.del(e.key); err != nil {
			return err
		}
	}
	if w.mirror != nil {
		return w.mirror.remove(imageOf(ents))
	}
	return nil
}

// update replaces a row.
func (w *writer) update(oldKey, newKey []byte, oldEnts, newEnts []entry, row []types.Datum) error {
	w.updated++
	w.note()
	moved := w.pkMoves && string(oldKey) != string(newKey)
	if moved {
		if w.exists(newKey) {
			return w.duplicate(w.t.Table.Primary, row, nil)
		}
		if err := w.del(oldKey); err != nil {
			return err
		}
	}
	for i := range w.codec.indexes {
		o, n := oldEnts[i], newEnts[i]
		if w.skip(i) {
			continue
		}
		if w.codec.indexes[i].ix.Inverted {
			gone, came := termChanges(o.terms, n.terms)
			if err := w.delTerms(gone); err != nil {
				return err
			}
			if err := w.putTerms(came); err != nil {
				return err
			}
			continue
		}
		same := o.present && n.present && string(o.key) == string(n.key)
		if same {
			// Only what the entry holds besides its key can have changed.
			if n.distinct && w.exists(n.key) && !w.owns(&o) {
				return w.duplicate(w.t.Table.Indexes[i], row, w.keyValues(i+1, false))
			}
			if err := w.putEntry(i, n, row); err != nil {
				return err
			}
			continue
		}
		if n.present && n.distinct && w.exists(n.key) {
			return w.duplicate(w.t.Table.Indexes[i], row, w.keyValues(i+1, false))
		}
		if o.present && w.owns(&o) {
			if err := w.del(o.key); err != nil {
				return err
			}
		}
		if n.present {
			if err := w.putEntry(i, n, row); err != nil {
				return err
			}
		}
	}
	val := w.carve(func(b []byte) []byte { return w.codec.appendRowValue(b, row) })
	var err error
	if moved {
		err = w.put(newKey, val)
	} else {
		err = w.s.env.Txn.Put(newKey, val)
	}
	if err != nil || w.mirror == nil {
		return err
	}
	return w.mirror.update(imageOf(oldEnts), imageOf(newEnts))
}

// keyValues evaluates the expression parts of an index's key for an error message.
func (w *writer) keyValues(i int, old bool) []types.Datum {
	keys := w.t.Indexes[i].KeyNew
	if old {
		keys = w.t.Indexes[i].KeyOld
	}
	if keys == nil {
		return nil
	}
	out := make([]types.Datum, len(keys))
	for k, e := range keys {
		if e != nil {
			out[k], _ = e.Eval(&w.s.c)
		}
	}
	return out
}

// duplicate is the error of a unique violation.
func (w *writer) duplicate(ix *plan.Index, row, exprs []types.Datum) error {
	t := w.t.Table
	var names, vals []string
	for i, k := range ix.Keys {
		var d types.Datum
		if k.Col >= 0 {
			names = append(names, t.Columns[k.Col].Name)
			d = row[k.Col]
		} else {
			names = append(names, parser.DeparseExpr(k.Expr))
			if i < len(exprs) {
				d = exprs[i]
			}
		}
		vals = append(vals, w.text(d, k.T))
	}
	return pgerr.New(pgerr.UniqueViolation, "duplicate key value violates unique constraint %q", ix.Name).
		WithDetail("Key (%s)=(%s) already exists.", strings.Join(names, ", "), strings.Join(vals, ", ")).
		WithTable(t.Schema, t.Name).WithConstraint(ix.Name)
}

func (w *writer) text(d types.Datum, t *types.T) string {
	return datumText(w.s, d, t)
}

func datumText(s *state, d types.Datum, t *types.T) string {
	if d.IsNull() {
		return "null"
	}
	var set *types.Settings
	if s.c.B != nil {
		set = s.c.B.Settings
	}
	return string(types.AppendText(nil, d, t, set))
}

// failingRow is the DETAIL of a constraint violation.
func (w *writer) failingRow(row []types.Datum) string {
	var b strings.Builder
	b.WriteString("Failing row contains (")
	first := true
	t := w.t.Table
	if w.root != nil {
		t = w.root.Table
		given := make([]types.Datum, len(t.Columns))
		for i, from := range w.from {
			if from >= 0 {
				given[from] = row[i]
			}
		}
		row = given
	}
	for i, c := range t.Columns {
		if c.Hidden {
			continue
		}
		if !first {
			b.WriteString(", ")
		}
		first = false
		v := w.text(row[i], c.T)
		if r := []rune(v); len(r) > 64 {
			v = string(r[:64]) + "..."
		}
		b.WriteString(v)
	}
	b.WriteString(").")
	return b.String()
}

// complete computes generated columns and checks the constraints of the new row, which is in the frame.
func (w *writer) complete() error {
	f := w.s.c.Frame
	t := w.t.Table
	if w.codec.writer >= 0 && !w.foreign { // a mirrored row has the writer of the row itself
		f[w.t.New[w.codec.writer]] = w.s.xid()
	}
	w.giveRowID()
	for _, g := range w.t.Generated {
		d, err := g.E.Eval(&w.s.c)
		if err != nil {
			return err
		}
		f[w.t.New[g.Ord]] = d
	}
	if len(w.policies) > 0 {
		if err := w.s.checkPolicies(w.policies); err != nil {
			return err
		}
	}
	for i, c := range t.Columns {
		if (c.NotNull || c.RefusesNull) && f[w.t.New[i]].IsNull() {
			return pgerr.New(pgerr.NotNullViolation, "null value in column %q of relation %q violates not-null constraint", c.Name, t.Name).
				WithDetail("%s", w.failingRow(w.newRow())).WithTable(t.Schema, t.Name).WithColumn(c.Name)
		}
	}
	for _, k := range w.t.Checks {
		d, err := k.E.Eval(&w.s.c)
		if err != nil {
			return err
		}
		if !d.IsNull() && !d.Bool() {
			return pgerr.New(pgerr.CheckViolation, "new row for relation %q violates check constraint %q", t.Name, k.Name).
				WithDetail("%s", w.failingRow(w.newRow())).WithTable(t.Schema, t.Name).WithConstraint(k.Name)
		}
	}
	for i := range w.t.Within {
		if err := w.s.within(&w.t.Within[i], t, func() string { return w.failingRow(w.newRow()) }); err != nil {
			return err
		}
	}
	return nil
}

// checkViews holds a new row against the conditions of views WITH CHECK OPTION. It comes after conflicts have
// been found: a row that is not inserted need not satisfy them.
func (w *writer) checkViews(row []types.Datum) error {
	if len(w.t.ViewChecks) == 0 {
		return nil
	}
	frame := w.newRow()
	saved := slices.Clone(frame)
	copy(frame, row)
	defer copy(frame, saved)
	for _, k := range w.t.ViewChecks {
		d, err := k.E.Eval(&w.s.c)
		if err != nil {
			return err
		}
		if d.IsNull() || !d.Bool() {
			return pgerr.New(pgerr.WithCheckOptionViolation, "new row violates check option for view %q", k.Name).
				WithDetail("%s", w.failingRow(row))
		}
	}
	return nil
}

// newRow and oldRow are the row's part of the frame: slots of a row follow each other by ordinal.
func (w *writer) newRow() []types.Datum { return frameRow(w.s, w.t.New) }
func (w *writer) oldRow() []types.Datum { return frameRow(w.s, w.t.Old) }

func frameRow(s *state, slots []plan.Slot) []types.Datum {
	return s.c.Frame[slots[0] : slots[0]+len(slots)]
}

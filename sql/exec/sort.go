package exec

import (
	"container/heap"
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// keyCompare orders two rows of key values.
func keyCompare(keys []plan.SortKey, a, b []types.Datum) int {
	for i := range keys {
		if c := compareKey(&keys[i], a[i], b[i]); c != 0 {
			return c
		}
	}
	return 0
}

func compareKey(k *plan.SortKey, x, y types.Datum) int {
	switch {
	case x.IsNull() && y.IsNull():
		return 0
	case x.IsNull() != y.IsNull():
		if x.IsNull() == k.NullsFirst {
			return -1
		}
		return 1
	}
	c := types.Compare(k.E.Type(), x, y)
	if k.Desc {
		return -c
	}
	return c
}

// sortOp sorts its input. With a limit it keeps a heap of the first rows only.
type sortOp struct {
	s     *state
	n     *plan.Sort
	in    op
	store *rows
	nkeys int
	data  [][]types.Datum // keys, then kept slots
	pos   int
	limit int // 0: all
	seq   int64
	// runs are sorted files of earlier rows, heads the next row of each; data is the last run. inMemory is set when a
	// row cannot be written out.
	runs     []*scratchRun
	heads    [][]types.Datum
	inMemory bool
}

func newSort(s *state, n *plan.Sort, in op) *sortOp {
	return &sortOp{s: s, n: n, in: in, nkeys: len(n.Keys), store: &rows{s: s, slots: n.Keep}}
}

func (o *sortOp) open(ctx context.Context) error {
	o.store.reset()
	o.dropRuns()
	o.inMemory = o.s.env.Scratch == nil
	o.data, o.pos, o.limit, o.seq = nil, 0, 0, 0
	if o.n.Limit != nil {
		l, null, err := limitValue(&o.s.c, o.n.Limit, "LIMIT", pgerr.InvalidRowCountInLimitClause)
		if err != nil {
			return err
		}
		f, _, err := limitValue(&o.s.c, o.n.Offset, "OFFSET", pgerr.InvalidRowCountInResultOffsetClause)
		if err != nil {
			return err
		}
		if !null && l+f < 1<<20 && l+f >= 0 {
			o.limit = int(l + f)
			if o.limit == 0 {
				return nil
			}
		}
	}
	if err := o.in.open(ctx); err != nil {
		return err
	}
	defer o.in.close()
	key := make([]types.Datum, o.nkeys)
	for {
		ok, err := o.in.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		for i := range o.n.Keys {
			if key[i], err = o.n.Keys[i].E.Eval(&o.s.c); err != nil {
				return err
			}
		}
		if o.limit > 0 && len(o.data) == o.limit && keyCompare(o.n.Keys, key, o.data[0]) >= 0 {
			continue
		}
		row := o.store.alloc(o.nkeys + len(o.n.Keep) + 1)
		n := int64(len(row))*datumSize + 24
		for i, d := range key {
			n += datumBytes(d)
			row[i] = o.store.clone(d)
		}
		for i, sl := range o.n.Keep {
			d := o.s.c.Frame[sl]
			n += datumBytes(d)
			row[o.nkeys+i] = o.store.clone(d)
		}
		o.seq++
		row[len(row)-1] = types.NewInt(o.seq) // keeps equal rows in input order
		if o.limit > 0 && len(o.data) == o.limit {
			o.data[0] = row
			heap.Fix((*topHeap)(o), 0)
			continue
		}
		if o.limit == 0 && !o.inMemory && (o.store.size+n > o.s.max/2 || o.s.tight(o.store.size)) && len(o.data) > 0 {
			if err := o.spill(); err != nil {
				return err
			}
		}
		o.data = append(o.data, row)
		o.store.size += n
		if err := o.s.grow(n); err != nil {
			return err
		}
		if o.limit > 0 && len(o.data) == o.limit {
			heap.Init((*topHeap)(o))
		}
	}
	slices.SortFunc(o.data, o.compare)
	if st := o.s.statsOf(o.n); st != nil {
		st.sorted, st.memory = "quicksort", max(st.memory, o.store.size)
		if o.limit > 0 {
			st.sorted = "top-N heapsort"
		}
		for _, r := range o.runs {
			st.sorted = "external merge"
			st.disk += r.bytes
		}
	}
	o.heads = make([][]types.Datum, len(o.runs))
	for i, r := range o.runs {
		if err := r.rewind(); err != nil {
			return err
		}
		var err error
		if o.heads[i], err = r.read(); err != nil {
			return err
		}
	}
	return nil
}

// spill sorts what is in memory and writes it to a file.
func (o *sortOp) spill() error {
	r, err := newRun(o.s.env.Scratch, len(o.data[0]))
	if err != nil {
		return err
	}
	slices.SortFunc(o.data, o.compare)
	for _, row := range o.data {
		if err = r.write(row); err != nil {
			break
		}
	}
	if err != nil {
		r.close()
		if err == errUnspillable {
			o.inMemory = true
			return nil
		}
		return err
	}
	o.runs = append(o.runs, r)
	o.store.reset()
	o.data = nil
	return nil
}

func (o *sortOp) dropRuns() {
	for _, r := range o.runs {
		r.close()
	}
	o.runs, o.heads = nil, nil
}

// merged returns the smallest row that is left of all runs, nil at the end.
func (o *sortOp) merged() ([]types.Datum, error) {
	from := -1
	var least []types.Datum
	if o.pos < len(o.data) {
		least = o.data[o.pos]
	}
	for i, h := range o.heads {
		if h != nil && (least == nil || o.compare(h, least) < 0) {
			from, least = i, h
		}
	}
	if from < 0 {
		o.pos++
		return least, nil
	}
	var err error
	o.heads[from], err = o.runs[from].read()
	return least, err
}

func (o *sortOp) compare(a, b []types.Datum) int {
	if c := keyCompare(o.n.Keys, a, b); c != 0 {
		return c
	}
	if a[len(a)-1].Int() < b[len(b)-1].Int() {
		return -1
	}
	return 1
}

// topHeap has the largest kept row on top.
type topHeap sortOp

func (h *topHeap) Len() int           { return len(h.data) }
func (h *topHeap) Less(i, j int) bool { return (*sortOp)(h).compare(h.data[i], h.data[j]) > 0 }
func (h *topHeap) Swap(i, j int)      { h.data[i], h.data[j] = h.data[j], h.data[i] }
func (h *topHeap) Push(any)           {}
func (h *topHeap) Pop() any           { return nil }

func (o *sortOp) next(context.Context) (bool, error) {
	var row []types.Datum
	if len(o.runs) > 0 {
		var err error
		if row, err = o.merged(); err != nil || row == nil {
			return false, err
		}
	} else {
		if o.pos >= len(o.data) {
			return false, nil
		}
		row = o.data[o.pos]
		o.pos++
	}
	for i, sl := range o.n.Keep {
		o.s.c.Frame[sl] = row[o.nkeys+i]
	}
	return true, nil
}

func (o *sortOp) close() {
	o.in.close()
	o.store.reset()
	o.dropRuns()
	o.data = nil
}

// hashRow hashes key values; rows that compare equal hash equally.
func hashRow(ts []*types.T, row []types.Datum) uint64 {
	h := uint64(0x9E3779B97F4A7C15)
	for i, d := range row {
		if d.IsNull() {
			h = h*0x9FB21C651E98DF25 + 1
			continue
		}
		h = types.Hash(ts[i], h, d)
	}
	return h
}

func exprTypes(es []plan.Expr) []*types.T {
	out := make([]*types.T, len(es))
	for i, e := range es {
		out[i] = e.Type()
	}
	return out
}

// equalRows compares with NULLs equal to each other.
func equalRows(ts []*types.T, a, b []types.Datum) bool {
	for i := range a {
		if a[i].IsNull() || b[i].IsNull() {
			if a[i].IsNull() != b[i].IsNull() {
				return false
			}
			continue
		}
		if types.Compare(ts[i], a[i], b[i]) != 0 {
			return false
		}
	}
	return true
}

// rowSet is a set of rows of key values with a counter for each.
type rowSet struct {
	ts    []*types.T
	store *rows
	m     map[uint64][]int32
	keys  [][]types.Datum
	count []int64
}

func newRowSet(s *state, ts []*types.T) *rowSet {
	return &rowSet{ts: ts, store: &rows{s: s}, m: map[uint64][]int32{}}
}

// find returns the index of a row, -1 if it is not there, and its hash.
func (r *rowSet) find(key []types.Datum) (int, uint64) {
	h := hashRow(r.ts, key)
	for _, i := range r.m[h] {
		if equalRows(r.ts, r.keys[i], key) {
			return int(i), h
		}
	}
	return -1, h
}

// add returns the index of a row, adding it if it is new.
func (r *rowSet) add(key []types.Datum) (i int, fresh bool, err error) {
	i, h := r.find(key)
	if i >= 0 {
		return i, false, nil
	}
	row := r.store.alloc(len(key))
	n := int64(len(key))*datumSize + 64
	for k, d := range key {
		n += datumBytes(d)
		row[k] = r.store.clone(d)
	}
	i = len(r.keys)
	r.m[h] = append(r.m[h], int32(i))
	r.keys = append(r.keys, row)
	r.count = append(r.count, 0)
	r.store.size += n
	return i, true, r.store.s.grow(n)
}

func (r *rowSet) reset() {
	r.store.reset()
	r.m, r.keys, r.count = map[uint64][]int32{}, nil, nil
}

package exec

import (
	"context"
	"time"

	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

func (s *state) buildJoin(n *plan.Join) (op, error) {
	l, err := s.build(n.Left)
	if err != nil {
		return nil, err
	}
	switch n.Method {
	case plan.HashJoin:
		r, err := s.build(n.Right)
		if err != nil {
			return nil, err
		}
		return newHashJoin(s, n, l, r), nil
	case plan.MergeJoin:
		r, err := s.build(n.Right)
		if err != nil {
			return nil, err
		}
		return newMergeJoin(s, n, l, r), nil
	case plan.LookupJoin:
		if sc, ok := n.Right.(*plan.Scan); ok {
			return newLookupJoin(s, n, l, sc), nil
		}
	}
	if sc, reader := s.spanReader(n); reader != nil {
		return newSpanJoin(s, n, l, sc, reader), nil
	}
	r, err := s.build(n.Right)
	if err != nil {
		return nil, err
	}
	return &loopJoin{s: s, n: n, left: l, right: r, store: &rows{s: s, slots: n.KeepRight}}, nil
}

func (s *state) setNull(slots []plan.Slot) {
	for _, sl := range slots {
		s.c.Frame[sl] = types.Null
	}
}

// loopJoin runs its right side for each left row, or once into memory when it does not depend on the left.
type loopJoin struct {
	s           *state
	n           *plan.Join
	left, right op
	store       *rows
	filled      bool
	pos         int
	haveLeft    bool
	matched     bool
	seen        []bool // right rows that found a match, for FULL
	rest        int    // position in the unmatched right rows, once the left is done
	leftDone    bool
}

func (o *loopJoin) open(ctx context.Context) error {
	o.store.reset()
	o.filled, o.haveLeft, o.leftDone, o.rest, o.seen = false, false, false, 0, nil
	return o.left.open(ctx)
}

func (o *loopJoin) memo() bool { return o.n.Memo || o.n.Kind == plan.FullJoin }

func (o *loopJoin) fill(ctx context.Context) error {
	o.filled = true
	if err := o.right.open(ctx); err != nil {
		return err
	}
	defer o.right.close()
	for {
		ok, err := o.right.next(ctx)
		if err != nil || !ok {
			o.seen = make([]bool, len(o.store.data))
			return err
		}
		if _, err := o.store.save(); err != nil {
			return err
		}
	}
}

func (o *loopJoin) nextRight(ctx context.Context) (bool, error) {
	if !o.memo() {
		return o.right.next(ctx)
	}
	if o.pos >= len(o.store.data) {
		return false, nil
	}
	o.store.load(o.store.data[o.pos])
	o.pos++
	return true, nil
}

func (o *loopJoin) next(ctx context.Context) (bool, error) {
	kind := o.n.Kind
	for {
		if err := o.s.tick(ctx); err != nil {
			return false, err
		}
		if o.leftDone {
			return o.nextUnmatched(), nil
		}
		if !o.haveLeft {
			ok, err := o.left.next(ctx)
			if err != nil {
				return false, err
			}
			if !ok {
				if kind != plan.FullJoin {
					return false, nil
				}
				if !o.filled {
					if err := o.fill(ctx); err != nil {
						return false, err
					}
				}
				o.leftDone = true
				continue
			}
			o.haveLeft, o.matched = true, false
			if o.memo() {
				if !o.filled {
					// Reading the right side leaves the left row's slots alone.
					if err := o.fill(ctx); err != nil {
						return false, err
					}
				}
				o.pos = 0
			} else if err := o.right.open(ctx); err != nil {
				return false, err
			}
		}
		ok, err := o.nextRight(ctx)
		if err != nil {
			return false, err
		}
		if !ok {
			o.haveLeft = false
			if !o.matched && (kind == plan.LeftJoin || kind == plan.FullJoin || kind == plan.AntiJoin) {
				o.s.setNull(o.n.NullRight)
				return true, nil
			}
			continue
		}
		ok, err = evalAll(&o.s.c, o.n.On)
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		o.matched = true
		switch kind {
		case plan.SemiJoin:
			o.haveLeft = false
			return true, nil
		case plan.AntiJoin:
			o.haveLeft = false
			continue
		case plan.FullJoin:
			o.seen[o.pos-1] = true
		}
		return true, nil
	}
}

func (o *loopJoin) nextUnmatched() bool {
	for o.rest < len(o.store.data) {
		i := o.rest
		o.rest++
		if !o.seen[i] {
			o.s.setNull(o.n.NullLeft)
			o.store.load(o.store.data[i])
			return true
		}
	}
	return false
}

func (o *loopJoin) close() {
	o.left.close()
	o.right.close()
	o.store.reset()
}

// hashJoin keeps the right side in a hash table and probes it with the left side's rows.
type hashJoin struct {
	s           *state
	n           *plan.Join
	left, right op
	lts         []*types.T
	store       *rows // key values, then kept slots
	table       map[uint64]int32
	chain       []int32 // next row with the same hash, -1 at the end
	seen        []bool
	built       bool
	key         []types.Datum
	cur         int32 // candidate to look at, -1 for none
	haveLeft    bool
	matched     bool
	leftDone    bool
	rest        int
	nk          int
	grace       *graceJoin // set when the right side did not fit
}

func newHashJoin(s *state, n *plan.Join, l, r op) *hashJoin {
	o := &hashJoin{s: s, n: n, left: l, right: r, lts: exprTypes(n.LeftKeys), nk: len(n.LeftKeys), key: make([]types.Datum, len(n.LeftKeys))}
	o.store = &rows{s: s, slots: n.KeepRight}
	return o
}

func (o *hashJoin) open(ctx context.Context) error {
	o.store.reset()
	o.grace.close()
	o.grace = nil
	o.built, o.haveLeft, o.leftDone, o.rest = false, false, false, 0
	return o.left.open(ctx)
}

// keepsLeft and keepsRight say whether rows of that side without a match are answered, onlyFirst whether a left row is
// done with at its first match.
func (o *hashJoin) keepsLeft() bool {
	return o.n.Kind == plan.LeftJoin || o.n.Kind == plan.FullJoin || o.n.Kind == plan.AntiJoin
}
func (o *hashJoin) keepsRight() bool { return o.n.Kind == plan.FullJoin }
func (o *hashJoin) onlyFirst() bool  { return o.n.Kind == plan.SemiJoin || o.n.Kind == plan.AntiJoin }

func (o *hashJoin) evalKeys(es []plan.Expr) (null bool, err error) {
	for i, e := range es {
		if o.key[i], err = e.Eval(&o.s.c); err != nil {
			return false, err
		}
		null = null || o.key[i].IsNull()
	}
	return null, nil
}

func (o *hashJoin) build(ctx context.Context) error {
	o.built = true
	o.table, o.chain = map[uint64]int32{}, nil
	if err := o.right.open(ctx); err != nil {
		return err
	}
	defer o.right.close()
	var spill *spillParts
	defer func() { spill.close() }()
	for {
		ok, err := o.right.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		null, err := o.evalKeys(o.n.RightKeys)
		if err != nil {
			return err
		}
		if null && !o.keepsRight() {
			continue
		}
		row := o.store.alloc(o.nk + len(o.n.KeepRight))
		size := int64(len(row))*datumSize + 40
		for i, d := range o.key {
			size += datumBytes(d)
			row[i] = o.store.clone(d)
		}
		for i, sl := range o.n.KeepRight {
			d := o.s.c.Frame[sl]
			size += datumBytes(d)
			row[o.nk+i] = o.store.clone(d)
		}
		if spill == nil && o.s.crowded(o.store.size, len(o.store.data)) {
			if st := o.s.statsOf(o.n); st != nil {
				st.memory = max(st.memory, o.store.size)
			}
			if spill, err = o.spillBuild(); err != nil {
				return err
			}
		}
		if spill != nil {
			if err := spill.add(hashRow(o.lts, o.key), row); err != nil {
				return err
			}
			continue
		}
		if err := o.insert(row, size, null); err != nil {
			return err
		}
	}
	o.startSeen()
	if st := o.s.statsOf(o.n); st != nil {
		st.memory = max(st.memory, o.store.size)
	}
	if spill != nil {
		right := spill
		spill = nil
		return o.divide(ctx, right)
	}
	return nil
}

// insert adds a row, its key first, to the hash table.
func (o *hashJoin) insert(row []types.Datum, size int64, null bool) error {
	i := int32(len(o.store.data))
	o.store.data = append(o.store.data, row)
	o.store.size += size
	if err := o.s.grow(size); err != nil {
		return err
	}
	next := int32(-1)
	if !null {
		h := hashRow(o.lts, row[:o.nk])
		if head, ok := o.table[h]; ok {
			next = head
		}
		o.table[h] = i
	}
	o.chain = append(o.chain, next)
	return nil
}

func (o *hashJoin) startSeen() {
	o.seen = nil
	if o.keepsRight() {
		o.seen = make([]bool, len(o.store.data))
	}
}

func (o *hashJoin) load(i int32) {
	row := o.store.data[i]
	for k, sl := range o.n.KeepRight {
		o.s.c.Frame[sl] = row[o.nk+k]
	}
}

func (o *hashJoin) next(ctx context.Context) (bool, error) {
	if !o.built {
		if err := o.build(ctx); err != nil {
			return false, err
		}
		if o.grace != nil {
			if ok, err := o.nextChunk(); err != nil || !ok {
				return false, err
			}
			// The order of the left rows, which files do not keep, is restored where a parent relies on it.
			if o.n.LeftOrdered() {
				if err := o.sort(ctx); err != nil {
					return false, err
				}
			}
		} else if len(o.store.data) == 0 && !o.keepsLeft() {
			return false, nil
		}
	}
	if o.grace != nil && o.grace.out != nil {
		return o.nextSorted()
	}
	return o.step(ctx)
}

// step is next without what spilled rows need.
func (o *hashJoin) step(ctx context.Context) (bool, error) {
	kind := o.n.Kind
	for {
		if err := o.s.tick(ctx); err != nil {
			return false, err
		}
		if o.leftDone {
			for o.rest < len(o.store.data) {
				i := o.rest
				o.rest++
				if !o.seen[i] {
					o.s.setNull(o.n.NullLeft)
					o.load(int32(i))
					return true, nil
				}
			}
			if o.grace == nil {
				return false, nil
			}
			if ok, err := o.nextChunk(); err != nil || !ok {
				return false, err
			}
			o.leftDone = false
		}
		if !o.haveLeft {
			ok, null, err := o.nextLeft(ctx)
			if err != nil {
				return false, err
			}
			if !ok {
				if !o.keepsRight() && o.grace == nil {
					return false, nil
				}
				if !o.keepsRight() {
					o.rest = len(o.store.data)
				}
				o.leftDone = true
				continue
			}
			o.haveLeft, o.matched, o.cur = true, false, -1
			if !null {
				if head, ok := o.table[hashRow(o.lts, o.key)]; ok {
					o.cur = head
				}
			}
		}
		if o.cur < 0 {
			o.haveLeft = false
			matched := o.matched
			if o.grace != nil {
				matched = o.grace.wasMatched(matched)
			}
			if !matched && o.keepsLeft() && (o.grace == nil || !o.grace.more) {
				o.s.setNull(o.n.NullRight)
				return true, nil
			}
			continue
		}
		i := o.cur
		o.cur = o.chain[i]
		if !equalRows(o.lts, o.key, o.store.data[i][:o.nk]) {
			continue
		}
		o.load(i)
		ok, err := evalAll(&o.s.c, o.n.On)
		if err != nil {
			return false, err
		}
		if !ok {
			if st := o.s.statsOf(o.n); st != nil {
				st.removed++
			}
			continue
		}
		o.matched = true
		switch kind {
		case plan.SemiJoin, plan.AntiJoin:
			o.haveLeft = false
			if o.grace != nil {
				o.grace.wasMatched(true)
			}
			if kind == plan.AntiJoin {
				continue
			}
		case plan.FullJoin:
			o.seen[i] = true
		}
		return true, nil
	}
}

// nextLeft brings the next left row into the frame and its key into o.key.
func (o *hashJoin) nextLeft(ctx context.Context) (ok, null bool, err error) {
	if o.grace != nil {
		return o.grace.nextLeft(o)
	}
	if ok, err = o.left.next(ctx); err != nil || !ok {
		return false, false, err
	}
	null, err = o.evalKeys(o.n.LeftKeys)
	return true, null, err
}

func (o *hashJoin) close() {
	o.left.close()
	o.right.close()
	o.store.reset()
	o.grace.close()
	o.table = nil
}

// lookupJoin finds the right row of each left row by a complete unique key, a batch of left rows at a time,
// so that a batch costs as many round trips as it touches ranges.
type lookupJoin struct {
	s     *state
	n     *plan.Join
	left  op
	scan  *scanOp
	store *rows
	vals  [][]byte // row values by left row
	keys  [][]byte
	pos   int
	done  bool
	size  int
}

func newLookupJoin(s *state, n *plan.Join, l op, sc *plan.Scan) *lookupJoin {
	return &lookupJoin{s: s, n: n, left: l, scan: s.newScan(sc), store: &rows{s: s, slots: n.KeepLeft}}
}

func (o *lookupJoin) open(ctx context.Context) error {
	o.store.reset()
	o.vals, o.keys, o.pos, o.done, o.size = nil, nil, 0, false, 8
	return o.left.open(ctx)
}

// fill reads a batch of left rows and looks their right rows up.
func (o *lookupJoin) fill(ctx context.Context) error {
	o.store.reset()
	o.pos = 0
	var keys [][]byte
	var at []int
	for len(o.store.data) < o.size {
		ok, err := o.left.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			o.done = true
			break
		}
		i := len(o.store.data)
		if _, err := o.store.save(); err != nil {
			return err
		}
		o.scan.keys = o.scan.keys[:0]
		if err := o.scan.ranges(); err != nil {
			return err
		}
		for _, k := range o.scan.keys {
			keys, at = append(keys, k), append(at, i)
		}
	}
	o.size = min(o.size*4, fetchBatch)
	o.vals, o.keys = make([][]byte, len(o.store.data)), make([][]byte, len(o.store.data))
	if len(keys) == 0 {
		return nil
	}
	began := time.Time{}
	if o.scan.stats != nil {
		began = time.Now()
	}
	vs, err := o.get(ctx, keys)
	if err != nil {
		return err
	}
	o.scan.counts.scans += int64(len(keys))
	o.scan.counts.noteFound(vs)
	if st := o.scan.stats; st != nil {
		defer func() {
			st.loops += int64(len(o.store.data))
			st.total += time.Since(began)
		}()
	}
	if o.scan.c.row != nil {
		// Entries of a secondary index: on to the rows.
		var pks [][]byte
		var from []int
		for i, v := range vs {
			if v == nil {
				continue
			}
			if err := o.scan.c.pk.read(keys[i], v, o.scan.pkRow); err != nil {
				return err
			}
			pks, from = append(pks, o.scan.c.table.appendRowKey(nil, o.scan.pkRow)), append(from, at[i])
		}
		if keys, at = pks, from; len(keys) == 0 {
			return nil
		}
		o.scan.counts.rows += int64(len(keys))
		if vs, err = o.get(ctx, keys); err != nil {
			return err
		}
	}
	for i, v := range vs {
		o.vals[at[i]], o.keys[at[i]] = v, keys[i]
	}
	return nil
}

func (o *lookupJoin) get(ctx context.Context, keys [][]byte) ([][]byte, error) {
	if len(keys) == 1 {
		v, err := o.s.env.Txn.Get(ctx, keys[0], o.scan.lock, kv.WaitBlock)
		return [][]byte{v}, err
	}
	vs, _, err := o.s.env.Txn.GetBatch(ctx, keys, o.scan.lock, kv.WaitBlock)
	return vs, err
}

func (o *lookupJoin) next(ctx context.Context) (bool, error) {
	for {
		for o.pos >= len(o.store.data) {
			if o.done {
				return false, nil
			}
			if err := o.fill(ctx); err != nil {
				return false, err
			}
		}
		i := o.pos
		o.pos++
		o.store.load(o.store.data[i])
		match := o.vals[i] != nil
		if match {
			rd := o.scan.c.entry
			if o.scan.c.row != nil {
				rd = o.scan.c.row
			}
			if err := rd.read(o.keys[i], o.vals[i], o.scan.out); err != nil {
				return false, err
			}
			ok, err := evalAll(&o.s.c, o.scan.n.Filter)
			if err == nil && ok {
				if o.scan.stats != nil {
					o.scan.stats.rows++
				}
				ok, err = evalAll(&o.s.c, o.n.On)
			}
			if err != nil {
				return false, err
			}
			match = ok
		}
		switch o.n.Kind {
		case plan.InnerJoin, plan.SemiJoin:
			if match {
				return true, nil
			}
		case plan.AntiJoin:
			if !match {
				o.s.setNull(o.n.NullRight)
				return true, nil
			}
		default:
			if !match {
				o.s.setNull(o.n.NullRight)
			}
			return true, nil
		}
	}
}

func (o *lookupJoin) close() {
	o.left.close()
	o.scan.close()
	o.store.reset()
}

package exec

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/types"
)

// A hash join whose right side outgrows its memory divides both sides by the hash of their keys among scratch files,
// and joins file with file (a Grace join). A right file that does not fit is taken in chunks, each of which the left
// file is read for again, so that any budget will do.

// graceJoin is a hash join's state once it has begun to write rows out.
type graceJoin struct {
	right, left [fanOut]*scratchRun // left rows: their key, then kept slots
	part        int                 // files being joined, -1 before the first
	more        bool                // the right file has rows beyond the chunk in memory
	chunk       int                 // number of the chunk in memory, of all parts
	row         int                 // left row being joined, of its file
	matched     []bool              // left rows that found a match in an earlier chunk; nil with a single chunk
	// sorted are the joined rows in files, each by the place of its left row, when the join's order matters; out merges
	// them. seq is the left row's place.
	sorted []*scratchRun
	out    *runMerger
	seq    int64
}

// spillBuild moves the right rows that are in memory to files; later ones follow by add.
func (o *hashJoin) spillBuild() (*spillParts, error) {
	p := &spillParts{s: o.s, width: o.nk + len(o.n.KeepRight)}
	for _, row := range o.store.data {
		if err := p.add(hashRow(o.lts, row[:o.nk]), row); err != nil {
			p.close()
			return nil, err
		}
	}
	o.store.reset()
	o.table, o.chain = nil, nil
	return p, nil
}

// divide reads the left side into files, which makes the join a Grace join.
func (o *hashJoin) divide(ctx context.Context, right *spillParts) error {
	g := &graceJoin{right: right.runs, part: -1}
	o.grace = g
	left := &spillParts{s: o.s, width: o.nk + len(o.n.KeepLeft) + 1}
	defer func() { g.left = left.runs }()
	row := make([]types.Datum, left.width)
	for {
		ok, err := o.left.next(ctx)
		if err != nil || !ok {
			if st := o.s.statsOf(o.n); st != nil {
				st.disk += right.diskUse() + left.diskUse()
			}
			return err
		}
		null, err := o.evalKeys(o.n.LeftKeys)
		if err != nil {
			return err
		}
		g.seq++
		if null && !o.keepsLeft() {
			continue
		}
		copy(row, o.key)
		for i, sl := range o.n.KeepLeft {
			row[o.nk+i] = o.s.c.Frame[sl]
		}
		row[len(row)-1] = types.NewInt(g.seq)
		if err := left.add(hashRow(o.lts, o.key), row); err != nil {
			return err
		}
	}
}

// nextChunk brings the next chunk of right rows into memory and goes to the start of the left rows to be joined with
// it; false at the end.
func (o *hashJoin) nextChunk() (bool, error) {
	g := o.grace
	if !g.more {
		for {
			if g.part >= 0 {
				closeRuns([]*scratchRun{g.left[g.part], g.right[g.part]})
				g.left[g.part], g.right[g.part] = nil, nil
			}
			if g.part++; g.part == fanOut {
				return false, nil
			}
			l, r := g.left[g.part], g.right[g.part]
			if l != nil && (r != nil || o.keepsLeft()) || r != nil && o.keepsRight() {
				break
			}
		}
		g.matched = nil
		if r := g.right[g.part]; r != nil {
			if err := r.rewind(); err != nil {
				return false, err
			}
		}
	}
	if err := o.loadChunk(g.right[g.part]); err != nil {
		return false, err
	}
	g.row = -1
	g.chunk++
	if l := g.left[g.part]; l != nil {
		if g.more && g.matched == nil {
			g.matched = make([]bool, l.rows)
		}
		return true, l.rewind()
	}
	return true, nil
}

// loadChunk makes the hash table of as many right rows as there is room for.
func (o *hashJoin) loadChunk(r *scratchRun) error {
	g := o.grace
	o.store.reset()
	o.table, o.chain, g.more, o.rest = map[uint64]int32{}, nil, false, 0
	if r != nil {
		for r.left > 0 {
			if o.s.crowded(o.store.size, len(o.store.data)) {
				g.more = true
				break
			}
			row, err := r.read()
			if err != nil {
				return err
			}
			size := int64(len(row))*datumSize + 40
			null := false
			for i, d := range row {
				size += datumBytes(d)
				null = null || i < o.nk && d.IsNull()
			}
			if err := o.insert(row, size, null); err != nil {
				return err
			}
		}
	}
	o.startSeen()
	return nil
}

// nextLeft brings the next left row of the chunk into the frame and its key into o.key; null says that the key has a
// NULL.
func (g *graceJoin) nextLeft(o *hashJoin) (ok, null bool, err error) {
	l := g.left[g.part]
	if l == nil {
		return false, false, nil
	}
	for {
		row, err := l.read()
		if err != nil || row == nil {
			return false, false, err
		}
		g.row++
		if g.matched != nil && g.matched[g.row] && o.onlyFirst() {
			continue
		}
		copy(o.key, row)
		for _, d := range o.key {
			null = null || d.IsNull()
		}
		for i, sl := range o.n.KeepLeft {
			o.s.c.Frame[sl] = row[o.nk+i]
		}
		g.seq = row[len(row)-1].Int()
		return true, null, nil
	}
}

// wasMatched reports whether the left row has found a match in this or an earlier chunk.
func (g *graceJoin) wasMatched(now bool) bool {
	if g.matched == nil {
		return now
	}
	g.matched[g.row] = g.matched[g.row] || now
	return g.matched[g.row]
}

// sort joins everything into files that are in the order of the left rows, and begins to merge them.
func (o *hashJoin) sort(ctx context.Context) error {
	g := o.grace
	slots := slices.Concat(o.n.KeepLeft, o.n.KeepRight)
	row := make([]types.Datum, 1+len(slots))
	chunk := -1
	for {
		ok, err := o.step(ctx)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if g.chunk != chunk {
			// The left rows of another chunk begin anew.
			r, err := newRun(o.s.env.Scratch, len(row))
			if err != nil {
				return err
			}
			g.sorted, chunk = append(g.sorted, r), g.chunk
		}
		row[0] = types.NewInt(g.seq)
		for i, sl := range slots {
			row[1+i] = o.s.c.Frame[sl]
		}
		if err := o.s.spilled(g.sorted[len(g.sorted)-1].write(row)); err != nil {
			return err
		}
	}
	o.store.reset()
	var err error
	g.out, err = newRunMerger(g.sorted, func(a, b []types.Datum) bool { return a[0].Int() < b[0].Int() })
	return err
}

// nextSorted brings the next row of sort into the frame.
func (o *hashJoin) nextSorted() (bool, error) {
	row, err := o.grace.out.next()
	if err != nil || row == nil {
		return false, err
	}
	for i, sl := range o.n.KeepLeft {
		o.s.c.Frame[sl] = row[1+i]
	}
	for i, sl := range o.n.KeepRight {
		o.s.c.Frame[sl] = row[1+len(o.n.KeepLeft)+i]
	}
	return true, nil
}

func (g *graceJoin) close() {
	if g == nil {
		return
	}
	closeRuns(g.left[:])
	closeRuns(g.right[:])
	closeRuns(g.sorted)
	g.left, g.right, g.sorted = [fanOut]*scratchRun{}, [fanOut]*scratchRun{}, nil
}

// runMerger merges sorted files.
type runMerger struct {
	runs  []*scratchRun
	heads [][]types.Datum
	less  func(a, b []types.Datum) bool
}

func newRunMerger(runs []*scratchRun, less func(a, b []types.Datum) bool) (*runMerger, error) {
	m := &runMerger{runs: runs, heads: make([][]types.Datum, len(runs)), less: less}
	for i, r := range runs {
		if err := r.rewind(); err != nil {
			return nil, err
		}
		var err error
		if m.heads[i], err = r.read(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// next returns the smallest row left, of equal ones that of the first file, nil at the end.
func (m *runMerger) next() ([]types.Datum, error) {
	from := -1
	for i, h := range m.heads {
		if h != nil && (from < 0 || m.less(h, m.heads[from])) {
			from = i
		}
	}
	if from < 0 {
		return nil, nil
	}
	row := m.heads[from]
	var err error
	m.heads[from], err = m.runs[from].read()
	return row, err
}

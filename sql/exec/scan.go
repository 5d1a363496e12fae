package exec

import (
	"bytes"
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// fetchBatch is how many rows an index scan or a lookup join asks for at once.
const fetchBatch = 128

// maxHint is how many entries a scan below a LIMIT may be going to read to read no more than that ahead.
const maxHint = 2048

// scanCodec is what is derived from a plan.Scan, once for all executions.
type scanCodec struct {
	table *tableCodec
	index *indexCodec
	// entry reads what index entries hold; row, for index scans that are not index-only, the rows.
	entry, row *rowReader
	pk         *rowReader // reads the primary key out of entries
	base       plan.Slot
	width      int
	// lazy: columns that no condition reads are decoded when the conditions hold.
	lazy bool
}

func scanCodecOf(n *plan.Scan) *scanCodec {
	return n.Codec(func() any {
		t := codecOf(n.Table)
		c := &scanCodec{table: t, index: t.index(n.Index), base: n.SlotBase(), width: len(n.Table.Columns)}
		var wanted []int
		for _, col := range n.Cols {
			wanted = append(wanted, col.Ord)
		}
		if c.index == t.primary || n.IndexOnly {
			c.entry = newRowReader(t, c.index, wanted)
			c.lazy = len(n.Filter) > 0 && c.entry.splitBy(n.FilterOrdinals())
			return c
		}
		c.row = newRowReader(t, t.primary, wanted)
		var pk []int
		for _, k := range n.Table.Primary.Keys {
			pk = append(pk, k.Col)
		}
		c.pk = newRowReader(t, c.index, pk)
		return c
	}).(*scanCodec)
}

// scanOp reads a table through an index.
type scanOp struct {
	s     *state
	n     *plan.Scan
	c     *scanCodec
	out   []types.Datum // the scan's part of the frame
	lock  kv.LockMode
	spans []kv.Span
	keys  [][]byte   // complete keys of a unique index, instead of spans, in the order of reading
	sc    kv.Scanner // of the span being read, if its pairs are read one by one
	pages pages      // of the span being read, if it has pages
	page  kv.Page
	at    int // position in page
	// remote is what runs beside the data, program what is sent of it, and computed says that it has been run on the
	// page.
	remote   *remoteScan
	program  []byte
	computed bool
	// entryKey and entryValue are the index entry or row read last.
	entryKey, entryValue []byte
	// Rows fetched ahead: by primary key after index entries, or of keys.
	pending   [][]byte // values, nil for none
	pendKeys  [][]byte
	pos       int
	exhausted bool
	hint      int64
	pkRow     []types.Datum
	batch     int
	// curKey and curValue are the row the frame holds.
	curKey, curValue []byte
	found            int64 // bytes of keys that a bitmap has found
	late             rowenc.Late
	stats            *nodeStats
	counts           readCounts
}

func (s *state) newScan(n *plan.Scan) *scanOp {
	o := &scanOp{s: s, n: n, c: scanCodecOf(n)}
	o.out = s.c.Frame[o.c.base : o.c.base+o.c.width]
	o.lock = s.lock(n.Lock, n.Point)
	o.stats = s.statsOf(n)
	if n.Remote > 0 || n.Narrow {
		o.remote = n.Codec2(func() any { return newRemoteScan(n, o.c, nil) }).(*remoteScan)
	}
	if o.c.pk != nil {
		o.pkRow = make([]types.Datum, o.c.width)
	}
	if s.env.Tally != nil {
		s.scans = append(s.scans, o)
	}
	return o
}

func (o *scanOp) open(ctx context.Context) error {
	o.close()
	o.counts.scans++
	o.spans, o.keys, o.pending, o.pos, o.exhausted, o.hint = o.spans[:0], o.keys[:0], nil, 0, false, 0
	o.batch = 16
	o.program = o.remote.bind(&o.s.c)
	if o.n.LimitHint != nil {
		d, err := o.n.LimitHint.Eval(&o.s.c)
		if err != nil {
			return err
		}
		if !d.IsNull() {
			o.hint = max(1, d.Int())
		}
		if o.program == nil && len(o.n.Filter) > 0 {
			// It counts what the conditions let through.
			if n := 1.5*o.n.PerRow*float64(o.hint) + 8; n < maxHint {
				o.hint = int64(n)
			} else {
				o.hint = 0
			}
		}
	}
	if o.n.Bitmap != nil {
		return o.readBitmap(ctx)
	}
	return o.ranges()
}

// ranges computes the spans or keys to read.
func (o *scanOp) ranges() error {
	n, c := o.n, &o.s.c
	prefix := slices.Clone(o.c.index.prefix)
	keys := o.c.index.ix.Keys
	for i, e := range n.Eq {
		d, err := e.Eval(c)
		if err != nil {
			return err
		}
		if d.IsNull() && !(i < len(n.EqNull) && n.EqNull[i]) {
			return nil
		}
		prefix = rowenc.AppendKey(prefix, d, keys[i].T, keys[i].Desc, keys[i].NullsFirst)
	}
	if n.Point {
		o.keys = append(o.keys, prefix)
		return nil
	}
	if n.In != nil {
		return o.inList(prefix, keys[len(n.Eq)], len(n.Eq)+1 == len(keys) && o.c.index.ix.Unique)
	}
	if !n.Bounded {
		o.spans = append(o.spans, kv.Span{Start: prefix, End: rowenc.PrefixEnd(prefix)})
		return nil
	}
	sp, ok, err := o.bounds(prefix, keys[len(n.Eq):])
	if err != nil || !ok {
		return err
	}
	o.spans = append(o.spans, sp)
	return nil
}

func (o *scanOp) inList(prefix []byte, k plan.IndexKey, unique bool) error {
	var vals []types.Datum
	for _, e := range o.n.In {
		d, err := e.Eval(&o.s.c)
		if err != nil {
			return err
		}
		if d.IsNull() {
			continue
		}
		if o.n.InArray {
			for _, x := range d.Array().Elems {
				if !x.IsNull() {
					vals = append(vals, x)
				}
			}
			continue
		}
		vals = append(vals, d)
	}
	list := make([][]byte, len(vals))
	for i, d := range vals {
		list[i] = rowenc.AppendKey(slices.Clip(prefix), d, k.T, k.Desc, k.NullsFirst)
	}
	slices.SortFunc(list, bytes.Compare)
	list = slices.CompactFunc(list, bytes.Equal)
	if unique {
		o.keys = append(o.keys, list...)
		return nil
	}
	for _, p := range list {
		o.spans = append(o.spans, kv.Span{Start: p, End: rowenc.PrefixEnd(p)})
	}
	return nil
}

// bounds turns value bounds into a span. NULLs satisfy no bound.
func (o *scanOp) bounds(prefix []byte, keys []plan.IndexKey) (kv.Span, bool, error) {
	k := keys[0]
	sp := kv.Span{Start: prefix, End: rowenc.PrefixEnd(prefix)}
	null := rowenc.AppendKey(slices.Clip(prefix), types.Null, k.T, k.Desc, k.NullsFirst)
	if k.NullsFirst {
		sp.Start = rowenc.PrefixEnd(null)
	} else {
		sp.End = null
	}
	add := func(list []plan.RangeBound, low bool) (bool, error) {
		for _, b := range list {
			d, err := b.E.Eval(&o.s.c)
			if err != nil || d.IsNull() {
				return false, err
			}
			key := rowenc.AppendKey(slices.Clip(prefix), d, k.T, k.Desc, k.NullsFirst)
			open := b.Open
			for i, e := range b.More {
				d, err := e.Eval(&o.s.c)
				if err != nil {
					return false, err
				}
				if d.IsNull() {
					open = true // unknown, and not true, where all before is equal
					break
				}
				k := keys[i+1]
				key = rowenc.AppendKey(key, d, k.T, k.Desc, k.NullsFirst)
			}
			if low != k.Desc {
				if open {
					key = rowenc.PrefixEnd(key)
				}
				if bytes.Compare(key, sp.Start) > 0 {
					sp.Start = key
				}
			} else {
				if !open {
					key = rowenc.PrefixEnd(key)
				}
				if bytes.Compare(key, sp.End) < 0 {
					sp.End = key
				}
			}
		}
		return true, nil
	}
	if ok, err := add(o.n.Lower, true); !ok || err != nil {
		return sp, false, err
	}
	if ok, err := add(o.n.Upper, false); !ok || err != nil {
		return sp, false, err
	}
	return sp, bytes.Compare(sp.Start, sp.End) < 0, nil
}

func (o *scanOp) next(ctx context.Context) (bool, error) {
	if o.c.lazy && len(o.keys) == 0 && len(o.pending) == 0 {
		return o.nextLazy(ctx)
	}
	for {
		if err := o.s.tick(ctx); err != nil {
			return false, err
		}
		ok, err := o.fetch(ctx)
		if err != nil || !ok {
			return false, err
		}
		ok, err = evalAll(&o.s.c, o.left())
		if err != nil || ok {
			return ok, err
		}
		if o.stats != nil {
			o.stats.removed++
		}
	}
}

// left are the conditions left to be tested on the row that was fetched.
func (o *scanOp) left() []plan.Expr {
	if o.computed {
		return o.n.Filter[o.n.Remote:]
	}
	return o.n.Filter
}

// nextLazy is next for rows that are read where they are found: conditions are tested on the columns they need
// before the others are decoded.
func (o *scanOp) nextLazy(ctx context.Context) (bool, error) {
	dec := o.c.entry.dec
	for {
		if err := o.s.tick(ctx); err != nil {
			return false, err
		}
		if o.at >= len(o.page.Keys) {
			ok, err := o.entry(ctx)
			if err != nil || !ok {
				o.exhausted = true
				return false, err
			}
		} else {
			o.entryKey, o.entryValue = o.page.Keys[o.at], o.page.Values[o.at]
			o.at++
		}
		if err := o.c.entry.readKey(o.entryKey, o.out); err != nil {
			return false, err
		}
		if err := dec.DecodeEarly(o.entryValue, o.out, &o.late); err != nil {
			return false, err
		}
		ok, err := evalAll(&o.s.c, o.left())
		if err != nil {
			return false, err
		}
		if ok {
			o.curKey, o.curValue = o.entryKey, o.entryValue
			return true, dec.DecodeLate(o.out, &o.late)
		}
		if o.stats != nil {
			o.stats.removed++
		}
	}
}

func evalAll(c *plan.EvalCtx, conds []plan.Expr) (bool, error) {
	for _, f := range conds {
		ok, err := plan.EvalBool(c, f)
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// fetch brings the next row into the frame.
func (o *scanOp) fetch(ctx context.Context) (bool, error) {
	for {
		for o.pos < len(o.pending) {
			v := o.pending[o.pos]
			k := o.pendKeys[o.pos]
			o.pos++
			if v == nil {
				continue
			}
			o.curKey, o.curValue = k, v
			if o.c.row != nil {
				return true, o.c.row.read(k, v, o.out)
			}
			return true, o.c.entry.read(k, v, o.out)
		}
		if len(o.keys) > 0 {
			if err := o.fetchKeys(ctx); err != nil {
				return false, err
			}
			continue
		}
		if o.exhausted {
			return false, nil
		}
		if o.c.row != nil {
			if err := o.fetchByIndex(ctx); err != nil {
				return false, err
			}
			continue
		}
		ok, err := o.entry(ctx)
		if err != nil || !ok {
			o.exhausted = true
			return false, err
		}
		o.curKey, o.curValue = o.entryKey, o.entryValue
		return true, o.c.entry.read(o.curKey, o.curValue, o.out)
	}
}

// entry advances over the spans' entries.
func (o *scanOp) entry(ctx context.Context) (bool, error) {
	for {
		if o.sc == nil && o.pages == nil {
			if len(o.spans) == 0 {
				return false, nil
			}
			i := 0
			if o.n.Reverse {
				i = len(o.spans) - 1
			}
			sp := o.spans[i]
			o.spans = slices.Delete(o.spans, i, i+1)
			if err := o.startSpan(ctx, sp); err != nil {
				return false, err
			}
		}
		if o.pages != nil {
			if o.at < len(o.page.Keys) {
				o.entryKey, o.entryValue = o.page.Keys[o.at], o.page.Values[o.at]
				o.at++
				return true, nil
			}
			p := o.pages.next(ctx)
			if p.err != nil {
				return false, p.err
			}
			o.page, o.at, o.computed = p.Page, 0, p.Computed
			o.counts.entries += max(p.Scanned, int64(len(p.Keys)))
			if o.stats != nil {
				o.stats.read(p.Page, o.remote != nil && o.remote.program.Grouped)
			}
			if len(o.page.Keys) > 0 {
				continue
			}
		} else {
			if o.sc.Next(ctx) {
				p := o.sc.Pair()
				o.counts.entries++
				o.entryKey, o.entryValue = p.Key, p.Value
				return true, nil
			}
			if err := o.sc.Err(); err != nil {
				return false, err
			}
		}
		o.closeSpan()
	}
}

// startSpan begins to read a span. Batches of rows looked up by entries go on while the next entries are fetched, and
// ranges are read side by side. Nothing is fetched ahead where the transaction may write in between.
func (o *scanOp) startSpan(ctx context.Context, sp kv.Span) error {
	tx := o.s.env.Txn
	opts := kv.ScanOptions{Lock: o.lock, Wait: o.n.Wait, Reverse: o.n.Reverse, Limit: o.hint, Program: o.program}
	eager := o.hint == 0 && o.s.env.ReadOnly
	var aside func([]kv.Span) *parallelReader
	if splitter, ok := tx.(kv.SpanSplitter); ok && eager && o.n.Many() {
		aside = func(parts []kv.Span) *parallelReader {
			// Groups may come in any order: a part never waits for its turn then.
			groups := o.remote != nil && o.remote.program.Grouped
			return newParallelReader(parts, groups, func(part kv.Span) (kv.PageScanner, error) {
				sc, err := tx.Scan(ctx, part, opts)
				if err != nil {
					return nil, err
				}
				return sc.(kv.PageScanner), nil
			})
		}
		parts, err := splitter.SplitSpan(ctx, sp, maxParts)
		if err != nil {
			return err
		}
		if len(parts) > 1 {
			if o.n.Reverse {
				slices.Reverse(parts)
			}
			o.pages = aside(parts)
			return nil
		}
	}
	first := opts
	if aside != nil {
		first.Parts = maxParts
	}
	sc, err := tx.Scan(ctx, sp, first)
	if err != nil {
		return err
	}
	if o.pages = newPageReader(sc, eager, aside); o.pages == nil {
		if o.sc = sc; o.program != nil {
			return pgerr.New(pgerr.InternalError, "scan without pages")
		}
	}
	return nil
}

// closeSpan ends the scan of a span.
func (o *scanOp) closeSpan() {
	switch {
	case o.pages != nil:
		o.pages.close()
	case o.sc != nil:
		o.sc.Close()
	}
	o.sc, o.pages, o.page, o.at, o.computed = nil, nil, kv.Page{}, 0, false
}

// fetchKeys reads rows by complete keys of a unique index.
func (o *scanOp) fetchKeys(ctx context.Context) error {
	n := min(len(o.keys), fetchBatch)
	ks := o.keys[:n]
	o.keys = o.keys[n:]
	o.pos = 0
	if len(o.keys) == 0 {
		o.exhausted = true
	}
	if n == 1 {
		v, err := o.s.env.Txn.Get(ctx, ks[0], o.lock, o.n.Wait)
		if err != nil {
			return err
		}
		o.pending, o.pendKeys = append(o.pending[:0], v), append(o.pendKeys[:0], ks[0])
	} else {
		vs, _, err := o.s.env.Txn.GetBatch(ctx, ks, o.lock, o.n.Wait)
		if err != nil {
			return err
		}
		o.pending, o.pendKeys = vs, slices.Clone(ks)
	}
	o.counts.noteFound(o.pending)
	if o.c.row == nil {
		return nil
	}
	// Entries of a unique secondary index: on to the rows.
	var pks [][]byte
	for i, v := range o.pending {
		if v == nil {
			continue
		}
		if err := o.c.pk.read(o.pendKeys[i], v, o.pkRow); err != nil {
			return err
		}
		pks = append(pks, o.c.table.appendRowKey(nil, o.pkRow))
	}
	return o.fetchRows(ctx, pks)
}

// fetchByIndex reads a batch of index entries and the rows they lead to.
func (o *scanOp) fetchByIndex(ctx context.Context) error {
	var pks [][]byte
	size := o.batch
	if o.hint > 0 {
		size = int(min(o.hint, fetchBatch))
	}
	o.batch = min(o.batch*2, fetchBatch)
	for len(pks) < size {
		ok, err := o.entry(ctx)
		if err != nil {
			return err
		}
		if !ok {
			o.exhausted = true
			break
		}
		if err := o.c.pk.read(o.entryKey, o.entryValue, o.pkRow); err != nil {
			return err
		}
		pks = append(pks, o.c.table.appendRowKey(nil, o.pkRow))
	}
	return o.fetchRows(ctx, pks)
}

func (o *scanOp) fetchRows(ctx context.Context, pks [][]byte) error {
	o.pending, o.pendKeys, o.pos = nil, nil, 0
	if len(pks) == 0 {
		return nil
	}
	o.counts.rows += int64(len(pks))
	if len(pks) == 1 {
		v, err := o.s.env.Txn.Get(ctx, pks[0], o.lock, o.n.Wait)
		o.pending, o.pendKeys = [][]byte{v}, pks
		return err
	}
	vs, _, err := o.s.env.Txn.GetBatch(ctx, pks, o.lock, o.n.Wait)
	o.pending, o.pendKeys = vs, pks
	return err
}

func (o *scanOp) close() {
	o.closeSpan()
	o.s.shrink(o.found)
	o.found = 0
}

// virtualOp reads a generated table: its rows are made at once, as they are few.
type virtualOp struct {
	s    *state
	n    *plan.Scan
	data [][]types.Datum
	pos  int
	size int64
	made bool
	out  []types.Datum
}

func (o *virtualOp) open(ctx context.Context) error {
	o.pos = 0
	if o.made {
		return nil
	}
	o.made = true
	base := o.n.SlotBase()
	o.out = o.s.c.Frame[base : base+len(o.n.Table.Columns)]
	if o.n.Table.Rows == nil {
		return pgerr.Unsupported("relation %q cannot be read", o.n.Table.Name)
	}
	return o.n.Table.Rows(ctx, o.s.env.Virtual, func(row []types.Datum) error {
		n := int64(len(row)) * datumSize
		for _, d := range row {
			n += datumBytes(d)
		}
		o.data = append(o.data, slices.Clone(row))
		o.size += n
		return o.s.grow(n)
	})
}

func (o *virtualOp) next(context.Context) (bool, error) {
	for o.pos < len(o.data) {
		copy(o.out, o.data[o.pos])
		o.pos++
		ok, err := evalAll(&o.s.c, o.n.Filter)
		if err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

func (o *virtualOp) close() {}

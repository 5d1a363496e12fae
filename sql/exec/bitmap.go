package exec

import (
	"bytes"
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/inverted"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/txn/kv"
)

// keySet is a set of rows by their primary keys, encoded as they stand in the rows' keys: ascending, each once.
type keySet [][]byte

// keyOverhead is what a key in a set takes besides its bytes.
const keyOverhead = 24

// firstTerms and moreTerms are how many entries of each term are read in the first and second round of finding rows
// that have several: rows of the terms that are rare are then few enough to be tested.
const (
	firstTerms = 512
	moreTerms  = 16384
)

// bitmapReader finds rows in indexes.
type bitmapReader struct {
	s     *state
	codec *tableCodec
	lock  kv.LockMode
	held  int64
}

// readBitmap finds the rows to read.
func (o *scanOp) readBitmap(ctx context.Context) error {
	// What is found in entries is tested on rows, which are locked as the scan wants it.
	r := &bitmapReader{s: o.s, codec: o.c.table, lock: o.s.lock(plan.LockDefault, false)}
	set, all, err := r.read(ctx, o.n.Bitmap)
	o.found = r.held
	if err != nil {
		return err
	}
	prefix := o.c.table.primary.prefix
	if all {
		o.spans = append(o.spans, kv.Span{Start: prefix, End: prefixEnd(prefix)})
		return nil
	}
	for _, k := range set {
		o.keys = append(o.keys, append(slices.Clone(prefix), k...))
	}
	if o.n.Reverse {
		slices.Reverse(o.keys)
	}
	return nil
}

// read returns the rows that a bitmap finds, or all: the indexes say nothing.
func (r *bitmapReader) read(ctx context.Context, b *plan.Bitmap) (set keySet, all bool, err error) {
	switch {
	case b.Kids != nil:
		for _, k := range b.Kids {
			more, all, err := r.read(ctx, k)
			if err != nil || all {
				return nil, all, err
			}
			set = union(set, more)
		}
	case b.Scan != nil:
		set, err = r.ordered(ctx, b.Scan)
	default:
		if set, all, err = r.inverted(ctx, b); all {
			return nil, true, nil
		}
	}
	if st := r.s.statsOf(b); st != nil {
		st.loops++
		st.rows += int64(len(set))
	}
	return set, false, err
}

// ordered reads primary keys by a span of an ordered index.
func (r *bitmapReader) ordered(ctx context.Context, n *plan.Scan) (keySet, error) {
	others := len(r.s.scans)
	sc := r.s.newScan(n)
	if err := sc.open(ctx); err != nil {
		return nil, err
	}
	defer func() {
		sc.close()
		if r.s.scans = r.s.scans[:others]; r.s.env.Tally != nil {
			sc.tell(r.s.env.Tally) // there may be one for each outer row
		}
	}()
	var set keySet
	for {
		ok, err := sc.next(ctx)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		if set, err = r.add(set, r.codec.appendPK(nil, sc.out)); err != nil {
			return nil, err
		}
	}
	return sorted(set), nil
}

func (r *bitmapReader) add(set keySet, key []byte) (keySet, error) {
	n := int64(len(key)) + keyOverhead
	r.held += n
	return append(set, key), r.s.grow(n)
}

// inverted reads primary keys from an inverted index.
func (r *bitmapReader) inverted(ctx context.Context, b *plan.Bitmap) (keySet, bool, error) {
	x := r.codec.index(b.Index)
	var parts []part
	for _, f := range b.Finds {
		d, err := f.Arg.Eval(&r.s.c)
		if err != nil {
			return nil, false, err
		}
		switch q := x.ix.Keys[f.Key].Class.Find(f.Op, d, f.Arg.Type()); q.Op {
		case inverted.All:
		case inverted.Never:
			return nil, false, nil
		case inverted.And:
			for _, k := range q.Kids {
				parts = append(parts, part{key: f.Key, q: k})
			}
		default:
			parts = append(parts, part{key: f.Key, q: q})
		}
	}
	if len(parts) == 0 {
		return nil, true, nil
	}
	set, _, err := r.all(ctx, x, parts, 0)
	return set, false, err
}

// part is a condition on the terms of a key.
type part struct {
	key int
	q   *inverted.Query
}

// all returns rows for which conditions hold, and perhaps others: those of a rare term are not looked for in the lists
// of common ones. limit, if not 0, bounds the entries read of each term; without ok they have not sufficed.
func (r *bitmapReader) all(ctx context.Context, x *indexCodec, parts []part, limit int) (set keySet, ok bool, err error) {
	limits := []int{limit}
	if limit == 0 && len(parts) > 1 {
		limits = []int{firstTerms, moreTerms, 0}
	}
	for _, n := range limits {
		found := false
		for _, p := range parts {
			rows, ok, err := r.one(ctx, x, p, n)
			if err != nil {
				return nil, false, err
			}
			switch {
			case !ok:
				continue
			case !found:
				set, found = rows, true
			default:
				set = intersect(set, rows)
			}
			if len(set) == 0 {
				break
			}
		}
		if found {
			return set, true, nil
		}
	}
	return nil, false, nil
}

// one returns the rows for which a condition holds, as all does.
func (r *bitmapReader) one(ctx context.Context, x *indexCodec, p part, limit int) (set keySet, ok bool, err error) {
	switch p.q.Op {
	case inverted.And:
		parts := make([]part, len(p.q.Kids))
		for i, k := range p.q.Kids {
			parts[i] = part{p.key, k}
		}
		return r.all(ctx, x, parts, limit)
	case inverted.Or:
		for _, k := range p.q.Kids {
			more, ok, err := r.one(ctx, x, part{p.key, k}, limit)
			if err != nil || !ok {
				return nil, false, err
			}
			set = union(set, more)
		}
		return set, true, nil
	}
	span := kv.Span{Start: x.invertedPrefix(nil, p.key, p.q.Term)}
	if p.q.Op == inverted.Prefix {
		span.Start = x.invertedBeginning(nil, p.key, p.q.Term)
	}
	span.End = rowenc.PrefixEnd(span.Start)
	opts := kv.ScanOptions{Lock: r.lock}
	if limit > 0 {
		opts.Limit = int64(limit) + 1
	}
	sc, err := r.s.env.Txn.Scan(ctx, span, opts)
	if err != nil {
		return nil, false, err
	}
	defer sc.Close()
	for sc.Next(ctx) {
		if err := r.s.tick(ctx); err != nil {
			return nil, false, err
		}
		if limit > 0 && len(set) == limit {
			return nil, false, nil
		}
		key, err := x.primaryOf(sc.Pair().Key)
		if err != nil {
			return nil, false, err
		}
		if set, err = r.add(set, slices.Clone(key)); err != nil {
			return nil, false, err
		}
	}
	if p.q.Op == inverted.Prefix {
		set = sorted(set)
	}
	return set, true, sc.Err()
}

func sorted(set keySet) keySet {
	slices.SortFunc(set, bytes.Compare)
	return slices.CompactFunc(set, bytes.Equal)
}

func union(a, b keySet) keySet {
	if len(a) == 0 {
		return b
	}
	out := make(keySet, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := bytes.Compare(a[0], b[0]); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

func intersect(a, b keySet) keySet {
	var out keySet
	for len(a) > 0 && len(b) > 0 {
		switch c := bytes.Compare(a[0], b[0]); {
		case c < 0:
			a = a[1:]
		case c > 0:
			b = b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return out
}

// invertedBeginning is what the keys of entries begin with whose terms begin so.
func (x *indexCodec) invertedBeginning(buf []byte, key int, term []byte) []byte {
	buf = append(append(buf, x.prefix...), byte(key))
	return rowenc.AppendBytesPrefix(buf, term)
}

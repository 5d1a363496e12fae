package exec

import (
	"context"
	"time"

	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/txn/kv"
)

// spanBatch bounds the left rows that a span join reads ahead.
const spanBatch = 256

// spanJoin finds the right rows of each left row in a span of an index, for a batch of left rows at a time: the
// batch costs as many round trips as it touches ranges. It needs a transaction without writes of its own.
type spanJoin struct {
	s      *state
	n      *plan.Join
	left   op
	scan   *scanOp
	reader kv.SpanReader
	store  *rows // left rows
	// of and found are the right rows: those of left row i are found[of[i]:of[i+1]].
	of    []int
	found []pair
	held  int64 // bytes of found
	pos   int   // left row
	at    int   // in found
	ready bool  // the left row at pos is in the frame
	match bool  // it has found a right row
	done  bool  // the left side is used up
	size  int
	late  rowenc.Late
	stats *nodeStats // of the scan, nil unless they are wanted
}

type pair struct{ key, value []byte }

func newSpanJoin(s *state, n *plan.Join, l op, sc *plan.Scan, reader kv.SpanReader) *spanJoin {
	o := &spanJoin{s: s, n: n, left: l, scan: s.newScan(sc), reader: reader, store: &rows{s: s, slots: n.KeepLeft}}
	if s.stats != nil {
		o.stats = &s.stats[sc.Base().ID]
	}
	return o
}

// spanReader returns how spans can be read in batches, nil when they cannot.
func (s *state) spanReader(n *plan.Join) (*plan.Scan, kv.SpanReader) {
	sc, ok := n.Right.(*plan.Scan)
	if !ok || n.Method != plan.NestedLoop || !n.Lateral || !s.env.ReadOnly || n.Kind == plan.FullJoin {
		return nil, nil
	}
	if sc.Table.Kind != plan.BaseTable || sc.In != nil || sc.Point || sc.LimitHint != nil || len(sc.Eq) == 0 {
		return nil, nil
	}
	r, _ := s.env.Txn.(kv.SpanReader)
	return sc, r
}

func (o *spanJoin) open(ctx context.Context) error {
	o.store.reset()
	o.drop()
	o.pos, o.at, o.ready, o.done, o.size = 0, 0, false, false, 8
	return o.left.open(ctx)
}

// drop gives back the right rows.
func (o *spanJoin) drop() {
	o.s.shrink(o.held)
	o.of, o.found, o.held = o.of[:0], o.found[:0], 0
}

// fill reads a batch of left rows and the right rows of all of them.
func (o *spanJoin) fill(ctx context.Context) error {
	o.store.reset()
	o.drop()
	o.pos, o.at, o.ready = 0, 0, false
	var spans []kv.Span
	for len(o.store.data) < o.size {
		ok, err := o.left.next(ctx)
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
		o.scan.spans = o.scan.spans[:0]
		if err := o.scan.ranges(); err != nil {
			return err
		}
		// A NULL key or empty bounds make no span: nothing matches.
		var sp kv.Span
		if len(o.scan.spans) > 0 {
			sp = o.scan.spans[0]
		}
		spans = append(spans, sp)
	}
	o.size = min(o.size*4, spanBatch)
	began := time.Time{}
	if o.stats != nil {
		began = time.Now()
	}
	if err := o.read(ctx, spans); err != nil {
		return err
	}
	if o.stats != nil {
		o.stats.loops += int64(len(spans))
		o.stats.total += time.Since(began)
	}
	return o.s.grow(o.held)
}

func (o *spanJoin) read(ctx context.Context, spans []kv.Span) error {
	found, ok, err := o.reader.ScanSpans(ctx, spans)
	if err != nil {
		return err
	}
	if !ok {
		// Not this transaction: one span after the other.
		found = make([]kv.Pairs, len(spans))
		for i, sp := range spans {
			if err := o.readOne(ctx, sp, &found[i]); err != nil {
				return err
			}
		}
	}
	for i := range found {
		o.of = append(o.of, len(o.found))
		for k, key := range found[i].Keys {
			o.found = append(o.found, pair{key, found[i].Values[k]})
			o.held += int64(len(key)+len(found[i].Values[k])) + 48
		}
	}
	o.of = append(o.of, len(o.found))
	o.scan.counts.scans += int64(len(spans))
	o.scan.counts.entries += int64(len(o.found))
	if o.scan.c.row == nil || len(o.found) == 0 {
		return nil
	}
	// Entries of an index that does not hold all: on to the rows.
	keys := make([][]byte, len(o.found))
	for i, p := range o.found {
		if err := o.scan.c.pk.read(p.key, p.value, o.scan.pkRow); err != nil {
			return err
		}
		keys[i] = o.scan.c.table.appendRowKey(nil, o.scan.pkRow)
	}
	o.scan.counts.rows += int64(len(keys))
	values, _, err := o.s.env.Txn.GetBatch(ctx, keys, o.scan.lock, kv.WaitBlock)
	if err != nil {
		return err
	}
	for i := range o.found {
		o.found[i] = pair{keys[i], values[i]}
		o.held += int64(len(values[i]))
	}
	return nil
}

func (o *spanJoin) readOne(ctx context.Context, sp kv.Span, out *kv.Pairs) error {
	if sp.Start == nil {
		return nil
	}
	sc, err := o.s.env.Txn.Scan(ctx, sp, kv.ScanOptions{Lock: o.scan.lock})
	if err != nil {
		return err
	}
	defer sc.Close()
	for sc.Next(ctx) {
		p := sc.Pair()
		out.Keys, out.Values = append(out.Keys, append([]byte(nil), p.Key...)), append(out.Values, append([]byte(nil), p.Value...))
	}
	return sc.Err()
}

// decode brings a right row into the frame and tests the conditions.
func (o *spanJoin) decode(p pair) (bool, error) {
	if p.value == nil && o.scan.c.row != nil {
		return false, nil // the row is gone
	}
	rd := o.scan.c.entry
	if o.scan.c.row != nil {
		rd = o.scan.c.row
	}
	var ok bool
	var err error
	if o.scan.c.lazy {
		if err := rd.readKey(p.key, o.scan.out); err != nil {
			return false, err
		}
		if err := rd.dec.DecodeEarly(p.value, o.scan.out, &o.late); err != nil {
			return false, err
		}
		if ok, err = evalAll(&o.s.c, o.scan.n.Filter); err != nil || !ok {
			return false, err
		}
		err = rd.dec.DecodeLate(o.scan.out, &o.late)
	} else {
		if err := rd.read(p.key, p.value, o.scan.out); err != nil {
			return false, err
		}
		ok, err = evalAll(&o.s.c, o.scan.n.Filter)
	}
	if err != nil || !ok {
		return false, err
	}
	if o.stats != nil {
		o.stats.rows++
	}
	return evalAll(&o.s.c, o.n.On)
}

func (o *spanJoin) next(ctx context.Context) (bool, error) {
	for {
		if err := o.s.tick(ctx); err != nil {
			return false, err
		}
		for o.pos >= len(o.store.data) {
			if o.done {
				return false, nil
			}
			if err := o.fill(ctx); err != nil {
				return false, err
			}
		}
		if !o.ready {
			o.store.load(o.store.data[o.pos])
			o.ready, o.match, o.at = true, false, o.of[o.pos]
		}
		if o.at >= o.of[o.pos+1] {
			o.pos++
			o.ready = false
			if !o.match && (o.n.Kind == plan.LeftJoin || o.n.Kind == plan.AntiJoin) {
				o.s.setNull(o.n.NullRight)
				return true, nil
			}
			continue
		}
		o.at++
		ok, err := o.decode(o.found[o.at-1])
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		o.match = true
		switch o.n.Kind {
		case plan.SemiJoin:
			o.pos++
			o.ready = false
		case plan.AntiJoin:
			o.pos++
			o.ready = false
			continue
		}
		return true, nil
	}
}

func (o *spanJoin) close() {
	o.left.close()
	o.scan.close()
	o.store.reset()
	o.drop()
}

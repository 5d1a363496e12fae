package exec

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// mirror writes the rows of a table a second time, in the shape that the table is being rewritten into. Nobody reads
// them there before all are.
type mirror struct {
	w *writer
	m *plan.Mirror
}

// image is a row as it is written there. It need not be there: the job may not have come to it yet, and then a row under
// the same key is another's.
type image struct {
	row  []types.Datum
	key  []byte
	own  []byte // of a row that was: the value under key, if it is there
	ents []entry
}

func newMirror(s *state, m *plan.Mirror) *mirror {
	told := s.written
	w := newWriter(s, m.Target)
	s.written = told // a row is one row, however often it is written
	w.unsure, w.foreign = true, true
	return &mirror{w: w, m: m}
}

// image computes the image of the row in the frame, the old or the new one, and has begin ask for its keys. An old row
// that has none, because it cannot be converted or has no row id, is nil: it is not there.
func (x *mirror) image(old bool) (*image, error) {
	im, err := x.compute(old)
	var e *pgerr.Error
	if old && errors.As(err, &e) && strings.HasPrefix(e.Code, "22") {
		return nil, nil
	}
	if err != nil || im == nil {
		return nil, err
	}
	if x.m.Moved {
		x.w.probe(0, im.key)
	}
	for i, e := range im.ents {
		if e.present && e.distinct {
			x.w.probe(i+1, e.key)
		}
	}
	return im, nil
}

func (x *mirror) compute(old bool) (*image, error) {
	exprs, slots := x.m.New, x.w.t.New
	if old {
		exprs, slots = x.m.Old, x.w.t.Old
	}
	frame := frameRow(x.w.s, slots)
	im := &image{row: make([]types.Datum, len(exprs))}
	for i, e := range exprs {
		d, err := e.Eval(&x.w.s.c)
		if err != nil {
			return nil, err
		}
		im.row[i] = d
	}
	copy(frame, im.row)
	if old && x.m.RowID >= 0 && im.row[x.w.t.Table.Primary.Keys[0].Col].IsNull() {
		return nil, nil
	}
	if !old {
		if err := x.w.complete(); err != nil {
			return nil, err
		}
		copy(im.row, frame)
	}
	im.key = x.w.rowKey(im.row)
	if old && x.m.Moved {
		im.own = x.w.codec.appendRowValue([]byte{}, im.row)
	}
	var err error
	im.ents, err = x.w.entries(im.row, old)
	return im, err
}

// insert writes an image after its keys were asked for.
func (x *mirror) insert(im *image) error {
	w := x.w
	copy(w.newRow(), im.row)
	if x.m.Moved && w.exists(im.key) {
		return w.duplicate(w.t.Table.Primary, im.row, nil)
	}
	for i, e := range im.ents {
		if e.present && e.distinct && w.exists(e.key) {
			return w.duplicate(w.t.Table.Indexes[i], im.row, w.keyValues(i+1, false))
		}
	}
	return x.put(im)
}

func (x *mirror) put(im *image) error {
	w := x.w
	val := w.carve(func(b []byte) []byte { return w.codec.appendRowValue(b, im.row) })
	if val == nil {
		val = []byte{}
	}
	if err := w.put(im.key, val); err != nil {
		return err
	}
	for i, e := range im.ents {
		if e.present {
			if err := w.putEntry(i, e, im.row); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove takes an image away, if it is there; nil is not.
func (x *mirror) remove(im *image) error {
	if im == nil || x.m.Moved && !bytes.Equal(im.own, x.w.present[string(im.key)].value) {
		return nil
	}
	return x.w.remove(im.key, im.ents)
}

func (x *mirror) update(old, now *image) error {
	if err := x.remove(old); err != nil {
		return err
	}
	return x.insert(now)
}

// imageOf finds the image among a row's entries.
func imageOf(ents []entry) *image {
	if n := len(ents); n > 0 {
		return ents[n-1].image
	}
	return nil
}

// MirrorChunk writes the images of at most limit rows, those whose keys follow after (nil: from the first), while others
// write to the table, and the images of what they write. next and n are as BackfillChunk's. The rows are locked until the
// images are written. Values that do not fit the new shape, or are there twice where they must not be, fail with the
// errors of a writer. Where images need a row id, rows that have none get one here, and are otherwise as they were: who
// has written them stays.
func MirrorChunk(ctx context.Context, env *Env, t *plan.Table, after []byte, limit int) (next []byte, n int64, err error) {
	p, target, err := plan.PrepareBackfill(ctx, t, plan.Env{Catalog: env.Catalog, Builtin: env.Builtin})
	if err != nil {
		return nil, 0, err
	}
	s := newState(p, env)
	w := newWriter(s, target)
	x := w.mirror
	store := &rows{s: s}
	var images []*image
	var numbered []kv.KeyValue
	lock := kv.LockShared
	if w.rowID >= 0 {
		lock = kv.LockExclusive
	}
	next, n, err = eachLocked(ctx, w, after, limit, lock, func() error {
		frame := w.newRow()
		for i, d := range frame {
			frame[i] = store.clone(d) // the image shares the values
		}
		if w.giveRowID() {
			val := w.carve(func(b []byte) []byte { return w.codec.appendRowValue(b, frame) })
			numbered = append(numbered, kv.KeyValue{Key: w.rowKey(frame), Value: val})
		}
		im, err := x.image(false)
		images = append(images, im)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	for _, p := range numbered {
		if err := env.Txn.Put(p.Key, p.Value); err != nil {
			return nil, 0, err
		}
	}
	if err := x.w.begin(ctx); err != nil {
		return nil, 0, err
	}
	for _, im := range images {
		done, err := x.written(im)
		if err != nil {
			return nil, 0, err
		}
		if done {
			continue
		}
		if err := x.put(im); err != nil {
			return nil, 0, err
		}
	}
	return next, n, s.queue().settleMade(ctx)
}

// written reports whether an image is there, because a write has made it, or an attempt before this one. What is there
// under its keys and is another row's is a duplicate.
func (x *mirror) written(im *image) (bool, error) {
	w := x.w
	copy(w.newRow(), im.row)
	if x.m.Moved && w.exists(im.key) {
		if bytes.Equal(w.codec.appendRowValue([]byte{}, im.row), w.present[string(im.key)].value) {
			return true, nil
		}
		return false, w.duplicate(w.t.Table.Primary, im.row, nil)
	}
	for i, e := range im.ents {
		if !e.present || !e.distinct || !w.exists(e.key) {
			continue
		}
		own := w.codec.indexes[i].appendEntryValue([]byte{}, w.codec, im.row)
		if !bytes.Equal(own, w.present[string(e.key)].value) {
			return false, w.duplicate(w.t.Table.Indexes[i], im.row, w.keyValues(i+1, false))
		}
	}
	return false, nil
}

// giveRowID gives the new row, which is in the frame, the row id that its image is under, if it has none.
func (w *writer) giveRowID() bool {
	if w.rowID < 0 {
		return false
	}
	at := &w.s.c.Frame[w.t.New[w.rowID]]
	if !at.IsNull() {
		return false
	}
	*at = types.NewInt(w.s.c.RowID())
	return true
}

// eachLocked locks at most limit rows whose keys follow after and calls f with each in the frame, as the new row. next is
// where the following rows begin, nil when there are no more.
func eachLocked(ctx context.Context, w *writer, after []byte, limit int, lock kv.LockMode, f func() error) (next []byte, n int64, err error) {
	all := make([]int, len(w.t.Table.Columns))
	for i := range all {
		all[i] = i
	}
	read := newRowReader(w.codec, w.codec.primary, all)
	span := kv.Span{Start: w.codec.primary.prefix, End: prefixEnd(w.codec.primary.prefix)}
	if after != nil {
		span.Start = after
	}
	sc, err := w.s.env.Txn.Scan(ctx, span, kv.ScanOptions{Lock: lock, Limit: int64(limit)})
	if err != nil {
		return nil, 0, err
	}
	defer sc.Close()
	var last []byte
	for int(n) < limit && sc.Next(ctx) {
		pair := sc.Pair()
		last = append(last[:0], pair.Key...)
		n++
		if err := read.read(pair.Key, pair.Value, w.newRow()); err != nil {
			return nil, 0, err
		}
		if err := f(); err != nil {
			return nil, 0, err
		}
	}
	if err := sc.Err(); err != nil || int(n) < limit {
		return nil, n, err
	}
	return append(last, 0), n, nil
}

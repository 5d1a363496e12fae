package exec

import (
	"bytes"
	"context"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// BuildIndex writes the entries of a new index for all rows of a table, in batches within env.Txn, and
// returns their number. t must contain ix among its indexes. Two rows with one key of a unique index fail
// with 23505.
func BuildIndex(ctx context.Context, env *Env, t *plan.Table, ix *plan.Index) (int64, error) {
	p, n, err := plan.PrepareBackfill(ctx, t, plan.Env{Catalog: env.Catalog, Builtin: env.Builtin})
	if err != nil {
		return 0, err
	}
	s := newState(p, env)
	w := newWriter(s, n)
	w.ownIndexes()
	at := -1
	w.affected = make([]bool, len(t.Indexes))
	for i, x := range t.Indexes {
		if x == ix {
			at, w.affected[i] = i, true
		}
	}
	if at < 0 {
		return 0, pgerr.New(pgerr.InternalError, "index %q is not of table %q", ix.Name, t.Name)
	}
	codec := codecOf(t)
	all := make([]int, len(t.Columns))
	for i := range all {
		all[i] = i
	}
	read := newRowReader(codec, codec.primary, all)
	scan := kv.Span{Start: codec.primary.prefix, End: prefixEnd(codec.primary.prefix)}
	sc, err := env.Txn.Scan(ctx, scan, kv.ScanOptions{})
	if err != nil {
		return 0, err
	}
	defer sc.Close()
	count := int64(0)
	type pending struct {
		row []types.Datum
		e   entry
	}
	var batch []pending
	store := &rows{s: s}
	flush := func() error {
		for _, b := range batch {
			if b.e.distinct {
				w.probe(at+1, b.e.key)
			}
		}
		if err := w.begin(ctx); err != nil {
			return err
		}
		for _, b := range batch {
			if b.e.distinct && w.exists(b.e.key) {
				copy(w.newRow(), b.row)
				dup := w.duplicate(ix, b.row, w.keyValues(at+1, false)).(*pgerr.Error)
				e := pgerr.New(pgerr.UniqueViolation, "could not create unique index %q", ix.Name).WithTable(t.Schema, t.Name).WithConstraint(ix.Name)
				return e.WithDetail("%s", duplicated(dup.Detail))
			}
			if err := w.putEntry(at, b.e, b.row); err != nil {
				return err
			}
		}
		batch = batch[:0]
		store.reset()
		return env.Txn.Flush(ctx)
	}
	for sc.Next(ctx) {
		pair := sc.Pair()
		if err := read.read(pair.Key, pair.Value, w.newRow()); err != nil {
			return 0, err
		}
		row := store.alloc(len(t.Columns))
		for i, d := range w.newRow() {
			row[i] = store.clone(d)
		}
		es, err := w.entries(row, false)
		if err != nil {
			return 0, err
		}
		if !es[at].present {
			continue
		}
		count++
		batch = append(batch, pending{row, es[at]})
		if len(batch) >= writeBatch {
			if err := flush(); err != nil {
				return 0, err
			}
		}
	}
	if err := sc.Err(); err != nil {
		return 0, err
	}
	if err := flush(); err != nil || ix.Exclude == nil {
		return count, err
	}
	return count, s.queue().settleMade(ctx)
}

// duplicated turns "Key (a)=(1) already exists." into what CREATE INDEX says.
func duplicated(detail string) string {
	const tail = " already exists."
	if len(detail) > len(tail) {
		return detail[:len(detail)-len(tail)] + " is duplicated."
	}
	return detail
}

func prefixEnd(p []byte) []byte {
	out := append([]byte(nil), p...)
	for i := len(out) - 1; i >= 0; i-- {
		out[i]++
		if out[i] != 0 {
			return out[:i+1]
		}
	}
	return nil
}

// BackfillChunk writes the entries of an index for at most limit rows, those whose keys follow after (nil: from the
// first), while others may write to the table: the index is one that writes maintain and nobody reads. The rows are
// locked, so their entries stay right. next is where the following chunk begins, nil when this was the last; n is the
// number of rows. An entry that is there already is the row's own, unless a unique index finds another row's.
func BackfillChunk(ctx context.Context, env *Env, t *plan.Table, ix *plan.Index, after []byte, limit int) (next []byte, n int64, err error) {
	p, target, err := plan.PrepareBackfill(ctx, t, plan.Env{Catalog: env.Catalog, Builtin: env.Builtin})
	if err != nil {
		return nil, 0, err
	}
	s := newState(p, env)
	w := newWriter(s, target)
	at := -1
	w.affected = make([]bool, len(t.Indexes))
	for i, x := range t.Indexes {
		if x == ix {
			at, w.affected[i] = i, true
		}
	}
	if at < 0 {
		return nil, 0, pgerr.New(pgerr.InternalError, "index %q is not of table %q", ix.Name, t.Name)
	}
	codec := w.codec
	type pending struct {
		row []types.Datum
		e   entry
	}
	var batch []pending
	store := &rows{s: s}
	next, n, err = eachLocked(ctx, w, after, limit, kv.LockShared, func() error {
		row := store.alloc(len(t.Columns))
		for i, d := range w.newRow() {
			row[i] = store.clone(d)
		}
		es, err := w.entries(row, false)
		if err == nil && es[at].present {
			batch = append(batch, pending{row, es[at]})
		}
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	for _, b := range batch {
		if b.e.distinct {
			w.probe(at+1, b.e.key)
		}
	}
	if err := w.begin(ctx); err != nil {
		return nil, 0, err
	}
	for _, b := range batch {
		if b.e.distinct && w.exists(b.e.key) {
			own := codec.indexes[at].appendEntryValue([]byte{}, codec, b.row)
			if bytes.Equal(own, w.present[string(b.e.key)].value) {
				continue // a write has made it
			}
			copy(w.newRow(), b.row)
			dup := w.duplicate(ix, b.row, w.keyValues(at+1, false)).(*pgerr.Error)
			e := pgerr.New(pgerr.UniqueViolation, "could not create unique index %q", ix.Name).WithTable(t.Schema, t.Name).WithConstraint(ix.Name)
			return nil, 0, e.WithDetail("%s", duplicated(dup.Detail))
		}
		if err := w.putEntry(at, b.e, b.row); err != nil {
			return nil, 0, err
		}
	}
	return next, n, nil
}

package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// writeBatch is how many rows are checked and written together.
const writeBatch = 512

// change is one row waiting to be written, or written and waiting to be returned.
type change struct {
	old, new []types.Datum
	kept     []types.Datum
	conflict bool  // INSERT that became an UPDATE
	when     int32 // of MERGE: its WHEN clause
	// Of a partitioned table: the partition the row is in, the one it goes to, its place in the statement.
	leaf, to, seq int
}

// modifyOp is the frame that INSERT, UPDATE, DELETE and MERGE share: it reads rows, collects changes,
// writes them in batches and returns them for RETURNING.
type modifyOp struct {
	s         *state
	in        op
	w         *writer
	returning bool
	stream    bool
	store     *rows // memory of pending changes
	keep      []plan.Slot
	pending   []change
	out       []change
	pos       int
	n         int64
	eof       bool
	size      int
	// delayed: the statement is a WITH query whose writes other parts of the statement must not see. What
	// it returns is known before it writes; it writes when the statement ends.
	delayed bool
	// take turns the frame's row into changes; flush writes the pending ones and appends what RETURNING
	// gets to out.
	take  func(ctx context.Context) error
	flush func(ctx context.Context) error
	// before fires BEFORE ROW triggers on a change and completes its row; false: there is nothing to be written.
	before func(ctx context.Context, c *change) (bool, error)
	// table, events and set are what statement triggers are told.
	table  *plan.Table
	events uint8
	set    map[int]bool
	owed   []triggerEvent // AFTER STATEMENT triggers, until the write has ended
	writes *tableWrites
	// after restores a returned row into the frame.
	emit func(c *change)
}

func (o *modifyOp) count() int64 { return o.n }

func (o *modifyOp) open(ctx context.Context) error {
	o.size = 16
	o.store.reset()
	o.pending, o.out, o.pos, o.n, o.eof = nil, nil, 0, 0, false
	if o.table != nil {
		o.writes = o.s.to(o.table)
	}
	if o.table != nil && o.table.Triggers != nil {
		var err error
		if o.owed, err = o.s.statement(ctx, o.table, o.events, o.set); err != nil {
			return err
		}
	}
	return o.in.open(ctx)
}

func (o *modifyOp) next(ctx context.Context) (bool, error) {
	for {
		if o.pos < len(o.out) {
			c := &o.out[o.pos]
			o.pos++
			o.emit(c)
			return true, nil
		}
		if o.eof {
			return false, nil
		}
		if err := o.step(ctx); err != nil {
			return false, err
		}
	}
}

// step reads one batch, or everything when the writes could disturb the reading, and writes it.
func (o *modifyOp) step(ctx context.Context) error {
	if o.stream {
		o.store.reset()
		o.out, o.pos = o.out[:0], 0
	}
	for !o.stream || len(o.pending) < o.size {
		ok, err := o.in.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			o.eof = true
			o.s.owed = append(o.s.owed, o.owed...)
			break
		}
		if err := o.take(ctx); err != nil {
			return err
		}
		if o.stream && o.hasWriters() {
			break // the function of the next row may change this one
		}
	}
	o.size = min(o.size*4, writeBatch)
	if o.delayed {
		o.n += int64(len(o.pending))
		if o.returning {
			o.out = append(o.out, o.pending...)
		}
		o.s.delayed = append(o.s.delayed, func(ctx context.Context) error {
			o.returning = false // returned already
			return o.write(ctx)
		})
		return nil
	}
	return o.write(ctx)
}

// write writes the pending changes in batches.
func (o *modifyOp) write(ctx context.Context) error {
	all := o.pending
	if o.before != nil {
		for i := range all {
			if err := o.w.untriggered(ctx, eventOf(&all[i]), all[i:i+1]); err != nil {
				return err
			}
			ok, err := o.before(ctx, &all[i])
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			o.pending = all[i : i+1]
			if err := o.flush(ctx); err != nil {
				return err
			}
		}
		all = all[:0]
		o.pending = all
	}
	for len(all) > 0 {
		k := min(len(all), writeBatch)
		o.pending = all[:k]
		if err := o.flush(ctx); err != nil {
			return err
		}
		all = all[k:]
		if len(all) > 0 || !o.eof {
			if err := o.s.env.Txn.Flush(ctx); err != nil {
				return err
			}
		}
	}
	o.pending = o.pending[:0]
	return nil
}

// saveRow copies a row of the frame.
func (o *modifyOp) saveRow(row []types.Datum) ([]types.Datum, error) {
	out := o.store.alloc(len(row))
	n := int64(len(row))*datumSize + 32
	for i, d := range row {
		n += datumBytes(d)
		out[i] = o.store.clone(d)
	}
	o.store.size += n
	return out, o.s.grow(n)
}

// saveKept copies what RETURNING reads besides the row itself.
func (o *modifyOp) saveKept() ([]types.Datum, error) {
	if !o.returning || len(o.keep) == 0 {
		return nil, nil
	}
	out := o.store.alloc(len(o.keep))
	n := int64(len(o.keep)) * datumSize
	for i, sl := range o.keep {
		d := o.s.c.Frame[sl]
		n += datumBytes(d)
		out[i] = o.store.clone(d)
	}
	o.store.size += n
	return out, o.s.grow(n)
}

func (o *modifyOp) loadKept(c *change) {
	for i, d := range c.kept {
		o.s.c.Frame[o.keep[i]] = d
	}
}

func (o *modifyOp) close() {
	o.in.close()
	if !o.delayed {
		o.store.reset()
	}
}

// delay makes a data-modifying WITH query write at the end of the statement. ON CONFLICT cannot: what it
// returns depends on what it finds when it writes.
func delay(x op) {
	if st, ok := x.(*statOp); ok {
		x = st.in
	}
	var m *modifyOp
	switch x := x.(type) {
	case *insertOp:
		if x.n_.Conflict != nil {
			return
		}
		m = &x.modifyOp
	case *updateOp:
		m = &x.modifyOp
	case *deleteOp:
		m = &x.modifyOp
	case *partInsertOp:
		if x.n_.Conflict != nil {
			return
		}
		m = &x.modifyOp
	case *partUpdateOp:
		m = &x.modifyOp
	case *partDeleteOp:
		m = &x.modifyOp
	default:
		return
	}
	if m.before != nil {
		return // what it returns is known when its triggers have run
	}
	m.delayed, m.stream = true, false
}

// needFrame reports whether index entries, or a row's image, are computed from the frame.
func needFrame(t *plan.WriteTarget) bool {
	if t.Mirror != nil {
		return true
	}
	for _, ix := range t.Indexes {
		if ix.KeyNew != nil || ix.KeyOld != nil || ix.WhereNew != nil || ix.WhereOld != nil {
			return true
		}
	}
	return false
}

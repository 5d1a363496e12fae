package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/types"
)

// settleMemory bounds, in bytes, the rows that Cursor.Settle keeps in memory while there are scratch files for more.
const settleMemory = 4 << 20

// readAhead is what is left of a cursor's result, read before it was asked for: first the rows in memory, then those of
// the file, then the error.
type readAhead struct {
	rows [][]types.Datum
	file *scratchRun
	err  error
}

// Settle reads the rest of the cursor's result: it shows nothing of what its transaction writes from now on. An error of
// the query is kept for whoever comes to its place; the error returned is the context's, or the scratch file's.
func (c *Cursor) Settle(ctx context.Context) error {
	if c.done || c.ahead != nil || c.s.p.Explain != nil {
		return nil
	}
	a := &readAhead{}
	err := a.fill(ctx, c)
	if err != nil {
		a.close()
		a = &readAhead{err: err} // rows are lost: nobody may take what comes for all there was
	}
	c.ahead = a
	return err
}

func (a *readAhead) fill(ctx context.Context, c *Cursor) error {
	store := &rows{s: c.s}
	for {
		row, err := c.next(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil || row == nil {
			a.err = err
			break
		}
		if err := a.add(store, row); err != nil {
			return err
		}
	}
	if a.file != nil {
		return a.file.rewind()
	}
	return nil
}

func (a *readAhead) add(store *rows, row []types.Datum) error {
	s := store.s
	if a.file == nil && s.env.Scratch != nil && (store.size > settleMemory || s.crowded(store.size, len(a.rows))) {
		var err error
		if a.file, err = newRun(s.env.Scratch, len(row)); err != nil {
			return err
		}
	}
	if a.file != nil {
		return s.spilled(a.file.write(row))
	}
	kept := store.alloc(len(row))
	n := int64(len(row))*datumSize + 24
	for i, d := range row {
		n += datumBytes(d)
		kept[i] = store.clone(d)
	}
	a.rows = append(a.rows, kept)
	store.size += n
	return s.grow(n)
}

// next is Cursor.next over what was read.
func (a *readAhead) next(context.Context) ([]types.Datum, error) {
	if len(a.rows) > 0 {
		row := a.rows[0]
		a.rows = a.rows[1:]
		return row, nil
	}
	if a.file != nil {
		if row, err := a.file.read(); row != nil || err != nil {
			return row, err
		}
	}
	return nil, a.err
}

func (a *readAhead) close() {
	if a != nil && a.file != nil {
		a.file.close()
		a.file = nil
	}
}

package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
)

func appendKey(buf []byte, d types.Datum, k *plan.IndexKey) []byte {
	return rowenc.AppendKey(buf, d, k.T, k.Desc, k.NullsFirst)
}

// SequenceReader reads a sequence's row (last_value, log_cnt, is_called) for SELECT ... FROM sequence.
type SequenceReader interface {
	SequenceRow(ctx context.Context, id uint32) ([]types.Datum, error)
}

// sequenceScan reads the one row of a sequence.
type sequenceScan struct {
	s    *state
	n    *plan.Scan
	done bool
}

func (s *state) newSequenceScan(n *plan.Scan) op { return &sequenceScan{s: s, n: n} }

func (o *sequenceScan) open(context.Context) error { o.done = false; return nil }

func (o *sequenceScan) next(ctx context.Context) (bool, error) {
	if o.done {
		return false, nil
	}
	o.done = true
	r, ok := o.s.env.Virtual.(SequenceReader)
	if !ok {
		if r, ok = o.s.env.Sequences.(SequenceReader); !ok {
			return false, pgerr.Unsupported("reading a sequence as a table is not supported")
		}
	}
	row, err := r.SequenceRow(ctx, o.n.Table.ID)
	if err != nil {
		return false, err
	}
	for _, c := range o.n.Cols {
		if c.Ord < len(row) {
			o.s.c.Frame[c.Slot] = row[c.Ord]
		}
	}
	return evalAll(&o.s.c, o.n.Filter)
}

func (o *sequenceScan) close() {}

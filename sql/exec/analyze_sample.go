package exec

import (
	"bytes"
	"container/heap"
	"context"
	"math"
	"slices"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/pushdown"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// Analyze makes a table's statistics at the transaction's snapshot. Ranges count all rows and answer a uniform sample,
// of which alone rows are sent and decoded: those whose keys have the least hashes. How small a hash has to be is known
// better the more has been read; ranges are told anew when it is half of what they were told.
func Analyze(ctx context.Context, tx kv.Txn, t *plan.Table, target func(ord int) int) (*catalog.TableStats, error) {
	c := codecOf(t)
	prefix := c.primary.prefix
	s := &sampler{size: analyzeSample}
	if err := s.read(ctx, tx, kv.Span{Start: prefix, End: rowenc.PrefixEnd(prefix)}); err != nil {
		return nil, err
	}
	all := make([]int, len(t.Columns))
	for i := range all {
		all[i] = i
	}
	reader := newRowReader(c, c.primary, all)
	sample := make([][]types.Datum, len(s.rows))
	row := make([]types.Datum, len(t.Columns))
	for i, p := range s.rows {
		if err := reader.read(p.key, p.value, row); err != nil {
			return nil, err
		}
		sample[i] = slices.Clone(row)
		for k, d := range row {
			sample[i][k] = cloneDatum(d)
		}
	}
	st := &catalog.TableStats{Table: t.ID, Storage: t.StorageID, Rows: float64(s.n)}
	values := make([]types.Datum, len(sample))
	for i, col := range t.Columns {
		if col.Hidden || target(i) == 0 || len(sample) == 0 {
			continue
		}
		for k := range sample {
			values[k] = sample[k][i]
		}
		st.Columns = append(st.Columns, columnStats(col, values, float64(s.n), target(i)))
	}
	return st, nil
}

// sampler keeps the pairs with the least hashes of all that it is given, and counts them.
type sampler struct {
	size int
	rows []sampledPair // a heap, the largest hash on top
	n    int64
	sent int64 // pairs that were answered
}

type sampledPair struct {
	hash       uint64
	key, value []byte
}

func (s *sampler) Len() int           { return len(s.rows) }
func (s *sampler) Less(i, j int) bool { return s.rows[i].hash > s.rows[j].hash }
func (s *sampler) Swap(i, j int)      { s.rows[i], s.rows[j] = s.rows[j], s.rows[i] }
func (s *sampler) Push(x any)         { s.rows = append(s.rows, x.(sampledPair)) }
func (s *sampler) Pop() any           { return nil } // nothing is taken out

// below is the hash that a pair must be below to get into the sample.
func (s *sampler) below() uint64 {
	if len(s.rows) < s.size {
		return math.MaxUint64
	}
	return s.rows[0].hash
}

func (s *sampler) add(key, value []byte) {
	h := pushdown.SampleHash(key)
	if h >= s.below() {
		return
	}
	p := sampledPair{h, bytes.Clone(key), bytes.Clone(value)}
	if len(s.rows) < s.size {
		heap.Push(s, p)
		return
	}
	s.rows[0] = p
	heap.Fix(s, 0)
}

// read samples a span; rows are in its order then.
func (s *sampler) read(ctx context.Context, tx kv.Txn, span kv.Span) error {
	for bytes.Compare(span.Start, span.End) < 0 {
		next, err := s.scan(ctx, tx, span)
		if err != nil {
			return err
		}
		if next == nil {
			break
		}
		span.Start = next
	}
	slices.SortFunc(s.rows, func(a, b sampledPair) int { return bytes.Compare(a.key, b.key) })
	return nil
}

// scan reads a span, or as much of it as it takes to know that ranges may send half as much: then it returns where to
// go on.
func (s *sampler) scan(ctx context.Context, tx kv.Txn, span kv.Span) (next []byte, err error) {
	told := s.below()
	var program []byte
	if told != math.MaxUint64 {
		p := &pushdown.Program{Sample: told, All: true}
		if f, ok := p.Encode(&pushdown.Numbering{}); ok {
			program, _ = f.Bind(nil, nil)
		}
	}
	sc, err := tx.Scan(ctx, span, kv.ScanOptions{Program: program})
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	pages, ok := sc.(kv.PageScanner)
	if !ok {
		for ; sc.Next(ctx); s.n++ {
			p := sc.Pair()
			s.add(p.Key, p.Value)
		}
		return nil, sc.Err()
	}
	for {
		page := pages.NextPage(ctx)
		if page.Computed {
			s.n += page.Scanned
		} else {
			s.n += int64(len(page.Keys))
		}
		if len(page.Keys) == 0 {
			return nil, sc.Err()
		}
		s.sent += int64(len(page.Keys))
		for i, k := range page.Keys {
			s.add(k, page.Values[i])
		}
		if s.below() < told/2 {
			return append(bytes.Clone(page.Keys[len(page.Keys)-1]), 0), nil
		}
	}
}

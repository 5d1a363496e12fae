package feed

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// Sink takes transactions. An error ends the reading and is returned.
type Sink interface {
	// Begin opens the transaction committed at ts, Commit ends it. Transactions do not overlap.
	Begin(ctx context.Context, ts truetime.Timestamp) error
	// Change is one change of the open transaction, in the span of that number. It is valid during the call.
	Change(ctx context.Context, span int, c *kv.Diff) error
	Commit(ctx context.Context, ts truetime.Timestamp) error
}

// Config configures a Reader. A zero field takes the default named in its comment.
type Config struct {
	DB          kv.DiffReader // Required.
	BudgetBytes int64         // Changes held at once, in bytes. Default 16 MiB.
	Parallel    int           // Ranges asked at once. Default 8.
}

// Reader reads changes. It keeps no position, and is safe for concurrent use.
type Reader struct{ cfg Config }

// New returns a Reader.
func New(cfg Config) (*Reader, error) {
	if cfg.DB == nil {
		return nil, errors.New("feed: Config.DB is required")
	}
	cfg.BudgetBytes = cmp.Or(cfg.BudgetBytes, 16<<20)
	cfg.Parallel = cmp.Or(cfg.Parallel, 8)
	return &Reader{cfg: cfg}, nil
}

// Read hands on the transactions with after < commit timestamp <= reached that touched spans, whole and in order, and
// returns reached: to, or less when what lies between does not fit into memory. It waits until to has passed. After
// an error the reader begins anew with the transaction after the last that was committed to the sink. previous
// asks for the values before. kv.ErrReadTooOld says that history no longer reaches back to after.
func (r *Reader) Read(ctx context.Context, spans []kv.Span, previous bool, after, to truetime.Timestamp, sink Sink) (reached truetime.Timestamp, err error) {
	if to <= after {
		return after, nil
	}
	parts, err := r.split(ctx, spans)
	if err != nil {
		return after, err
	}
	for {
		b, err := r.collect(ctx, parts, previous, after, to)
		if err != nil {
			return after, err
		}
		if !b.over {
			return to, b.emit(ctx, sink)
		}
		at := slices.Sorted(b.times())
		switch n := len(at); {
		case n > 1:
			to = at[(n-1)/2] // below the last, so this ends
		case to > at[0]:
			to = at[0]
		case after < at[0].Prev():
			to = at[0].Prev()
		default:
			return to, r.stream(ctx, parts, previous, to, sink)
		}
	}
}

// part is the part of a span that lies in one range, as far as is known.
type part struct {
	span kv.Span
	of   int
}

func (r *Reader) split(ctx context.Context, spans []kv.Span) ([]part, error) {
	var parts []part
	for i, s := range spans {
		ss, err := r.cfg.DB.Partition(ctx, s)
		if err != nil {
			return nil, err
		}
		for _, s := range ss {
			parts = append(parts, part{s, i})
		}
	}
	return parts, nil
}

// Classes of changes, in the order in which a transaction's are given: a row that takes over the unique value of another
// finds it free more often than not.
const (
	classDelete = iota
	classUpdate
	classInsert
)

func classOf(c *kv.Diff) int {
	switch {
	case c.Value == nil:
		return classDelete
	case c.Existed:
		return classUpdate
	}
	return classInsert
}

type change struct {
	kv.Diff
	span int
}

// batch is what has been collected.
type batch struct {
	mu      sync.Mutex
	changes []change
	bytes   int64
	over    bool // it does not fit: changes are some of those there are
}

var errOver = errors.New("feed: more changes than fit into memory")

// changeBytes is what a change takes besides keys and values.
const changeBytes = 160

// collect asks all ranges. The batch is over budget, or complete.
func (r *Reader) collect(ctx context.Context, parts []part, previous bool, after, to truetime.Timestamp) (*batch, error) {
	b := &batch{}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan part)
	var wg sync.WaitGroup
	for range min(r.cfg.Parallel, len(parts)) {
		wg.Go(func() {
			for p := range queue {
				err := r.cfg.DB.Diffs(ctx, kv.DiffRequest{Span: p.span, After: after, TS: to, Previous: previous}, func(c *kv.Diff) error {
					return b.add(p.of, c, r.cfg.BudgetBytes)
				})
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, p := range parts {
		select {
		case queue <- p:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(queue)
	wg.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, errOver) {
		return nil, err
	}
	return b, nil
}

func (b *batch) add(span int, c *kv.Diff, budget int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := change{Diff: *c, span: span}
	kept.Key, kept.Value, kept.Previous = bytes.Clone(c.Key), bytes.Clone(c.Value), bytes.Clone(c.Previous)
	b.changes = append(b.changes, kept)
	b.bytes += int64(len(c.Key)+len(c.Value)+len(c.Previous)) + changeBytes
	if b.bytes > budget {
		b.over = true
		return errOver
	}
	return nil
}

// times lists the commit timestamps in the batch.
func (b *batch) times() func(yield func(truetime.Timestamp) bool) {
	return func(yield func(truetime.Timestamp) bool) {
		seen := map[truetime.Timestamp]bool{}
		for i := range b.changes {
			if ts := b.changes[i].TS; !seen[ts] {
				seen[ts] = true
				if !yield(ts) {
					return
				}
			}
		}
	}
}

// emit hands on a complete batch.
func (b *batch) emit(ctx context.Context, sink Sink) error {
	slices.SortFunc(b.changes, func(x, y change) int {
		return cmp.Or(cmp.Compare(x.TS, y.TS), cmp.Compare(classOf(&x.Diff), classOf(&y.Diff)),
			cmp.Compare(x.span, y.span), bytes.Compare(x.Key, y.Key))
	})
	for i := range b.changes {
		c := &b.changes[i]
		if i == 0 || b.changes[i-1].TS != c.TS {
			if err := sink.Begin(ctx, c.TS); err != nil {
				return err
			}
		}
		if err := sink.Change(ctx, c.span, &c.Diff); err != nil {
			return err
		}
		if i == len(b.changes)-1 || b.changes[i+1].TS != c.TS {
			if err := sink.Commit(ctx, c.TS); err != nil {
				return err
			}
		}
	}
	return nil
}

// stream hands on the transaction of one timestamp while it is read, once for each class.
func (r *Reader) stream(ctx context.Context, parts []part, previous bool, ts truetime.Timestamp, sink Sink) error {
	if err := sink.Begin(ctx, ts); err != nil {
		return err
	}
	for class := classDelete; class <= classInsert; class++ {
		for _, p := range parts {
			err := r.cfg.DB.Diffs(ctx, kv.DiffRequest{Span: p.span, After: ts.Prev(), TS: ts, Previous: previous}, func(c *kv.Diff) error {
				if classOf(c) != class {
					return nil
				}
				return sink.Change(ctx, p.of, c)
			})
			if err != nil {
				return err
			}
		}
	}
	return sink.Commit(ctx, ts)
}

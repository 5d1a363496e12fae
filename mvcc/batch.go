package mvcc

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meridian-db/meridian/truetime"
)

const maxTS = truetime.MaxTimestamp

// Batch collects writes that become visible together. Used as a Reader it shows them over the engine's
// latest state. It belongs to one goroutine.
type Batch struct {
	e *Engine
	b *pebble.Batch
	// grown is the number of bytes of versions this batch adds, less what it removes by GC and the
	// like: what a range's size grows by.
	grown int64
}

// NewBatch returns an empty batch. Reading from it builds an index over its writes first, so a batch that
// is only written to stays cheap.
func (e *Engine) NewBatch() *Batch { return &Batch{e: e, b: e.db.NewBatch()} }

// NewIndexedBatch returns a batch whose writes are indexed as they come: better than NewBatch when reads
// and writes alternate.
func (e *Engine) NewIndexedBatch() *Batch { return &Batch{e: e, b: e.db.NewIndexedBatch()} }

func (b *Batch) newIter(o *pebble.IterOptions) (*pebble.Iterator, error) {
	if !b.b.Indexed() {
		if b.b.Empty() {
			// Nothing to show over the engine; and no iterator outlives the writes that follow, for a
			// Batch is read by short calls (a Scanner kept over a write would miss it in either case).
			return b.e.db.NewIter(o)
		}
		if err := b.index(); err != nil {
			return nil, err
		}
	}
	return b.b.NewIter(o)
}

func (b *Batch) index() error {
	indexed := b.e.db.NewIndexedBatch()
	if err := indexed.Apply(b.b, nil); err != nil {
		return err
	}
	if err := b.b.Close(); err != nil {
		return err
	}
	b.b = indexed
	return nil
}

// Put adds the version (key, ts, value). The slices are copied.
func (b *Batch) Put(key []byte, ts Timestamp, value []byte) {
	b.putVersion(key, ts, kindValue, nil, value)
}

// Delete adds a tombstone: reads at or above ts no longer see key, reads below do.
func (b *Batch) Delete(key []byte, ts Timestamp) {
	b.putVersion(key, ts, kindTombstone, nil, nil)
}

func (b *Batch) putVersion(key []byte, ts Timestamp, kind byte, head, payload []byte) {
	mustUserKey(key)
	if ts <= 0 {
		panic(fmt.Sprintf("mvcc: version of %x at timestamp %d", key, int64(ts)))
	}
	op := b.b.SetDeferred(len(key)+1+versionSuffix, valueHeader+len(head)+len(payload))
	n := copy(op.Key, key)
	op.Key[n] = 0
	binary.BigEndian.PutUint64(op.Key[n+1:], uint64(ts))
	op.Key[n+9] = versionSuffix
	fillValue(op.Value, op.Key, kind, head, payload)
	b.finish(op)
	b.grown += int64(len(op.Key) + len(op.Value))
}

func (b *Batch) finish(op *pebble.DeferredBatchOp) {
	// Fails only for two equal positions in one batch, which Pebble numbers apart.
	if err := op.Finish(); err != nil {
		panic(fmt.Sprintf("mvcc: index batch: %v", err))
	}
}

func (b *Batch) remove(engineKey []byte, valueLen int) {
	must(b.b.DeleteSized(engineKey, uint32(valueLen), nil))
}

// must is for Pebble's batch methods, which return errors only for misuse.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("mvcc: %v", err))
	}
}

// ClearSpan removes every version of the user keys of span, for a replica that leaves this store. It does not look
// at timestamps.
func (b *Batch) ClearSpan(span Span) {
	if span.Empty() {
		return
	}
	must(b.b.DeleteRange(appendVersionKey(nil, span.Start, 0), appendVersionKey(nil, span.End, 0), nil))
}

// Apply adds the writes of o, in order, after those of b.
func (b *Batch) Apply(o *Batch) error {
	if o.b.Empty() {
		return nil
	}
	b.grown += o.grown
	return b.b.Apply(o.b, nil)
}

// Empty reports whether the batch holds no write; Len is its size in bytes, Count its number of writes.
func (b *Batch) Empty() bool { return b.b.Empty() }

// Len returns the batch's size in bytes.
func (b *Batch) Len() int { return b.b.Len() }

// Count returns the number of writes.
func (b *Batch) Count() int { return int(b.b.Count()) }

// Grown returns the bytes of versions that the batch adds, less those it removes.
func (b *Batch) Grown() int64 { return b.grown }

// Commit makes the batch visible at once and, with sync, waits until it is on disk, which costs a flush:
// without a WAL there is no cheaper way. The batch may only be closed or reset afterwards.
func (b *Batch) Commit(sync bool) error {
	if err := b.b.Commit(pebble.NoSync); err != nil {
		return err
	}
	if sync {
		return b.e.Flush()
	}
	return nil
}

// Reset empties the batch for reuse.
func (b *Batch) Reset() {
	b.b.Reset()
	b.grown = 0
}

// Close releases the batch, committed or not.
func (b *Batch) Close() error { return b.b.Close() }

package mvcc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/cockroachkvs"
)

// ErrBelowGC reports a read below the range's GC threshold: the versions it would need may be gone (I3).
var ErrBelowGC = errors.New("mvcc: read timestamp is below the garbage collection threshold")

// BelowGCError is the ErrBelowGC of one read.
type BelowGCError struct{ TS, Threshold Timestamp }

func (e *BelowGCError) Error() string {
	return fmt.Sprintf("%v: read at %s, threshold %s", ErrBelowGC, e.TS, e.Threshold)
}

// Is makes every *BelowGCError match ErrBelowGC.
func (e *BelowGCError) Is(target error) bool { return target == ErrBelowGC }

// CheckGC returns a *BelowGCError when a read at ts may not be answered under threshold. A reader calls it
// after it has opened its iterator or snapshot: GC raises the threshold before it removes anything, so a
// reader that finds itself at or above it then has all it needs.
func CheckGC(ts, threshold Timestamp) error {
	if ts < threshold {
		return &BelowGCError{TS: ts, Threshold: threshold}
	}
	return nil
}

func gcThresholdKey(rangeID uint64) []byte { return LocalKey(rangeID, []byte("gc-threshold")) }

// SetGCThreshold records the timestamp below which range rangeID answers no reads. It is applied from the
// log, so all replicas agree on it, and never goes back: a smaller threshold than the stored one is ignored.
func (b *Batch) SetGCThreshold(rangeID uint64, threshold Timestamp) error {
	old, err := GCThreshold(b, rangeID)
	if err != nil {
		return err
	}
	if threshold > old {
		b.PutLocal(gcThresholdKey(rangeID), binary.BigEndian.AppendUint64(nil, uint64(threshold)))
	}
	return nil
}

// GCThreshold returns the range's threshold, zero when none was ever set.
func GCThreshold(r Reader, rangeID uint64) (Timestamp, error) {
	return LocalGCThreshold(LocalOf(r), rangeID)
}

// LocalGCThreshold is GCThreshold, of keys that may be in memory.
func LocalGCThreshold(l LocalReader, rangeID uint64) (Timestamp, error) {
	v, found, err := l.GetLocal(gcThresholdKey(rangeID))
	if err != nil || !found {
		return 0, err
	}
	if len(v) != 8 {
		return 0, &CorruptError{Key: gcThresholdKey(rangeID), Cause: errShortValue}
	}
	return Timestamp(binary.BigEndian.Uint64(v)), nil
}

// GCStats says what a GC pass did.
type GCStats struct {
	Scanned int   // versions looked at
	Removed int   // versions removed
	Bytes   int64 // their size
}

// GC adds to b the removal of every version in span that no read at or above threshold can see: versions
// older than another one at or below threshold, and tombstones at or below it that have become the only
// thing left of their key. It stops after about maxBytes of removed versions (0: no limit) and returns the
// key to go on from, nil at the end. The result depends on the state of span alone, so replicas that apply
// it at the same index make the same batch. No layer of span may have committed at or below threshold and not been
// moved (MoveLayer).
func (b *Batch) GC(span Span, threshold Timestamp, maxBytes int64) (resume []byte, stats GCStats, err error) {
	resume, stats, err = collect(b, span, threshold, sweep{bytes: maxBytes}, func(k []byte, valueLen int) { b.remove(k, valueLen) })
	b.grown -= stats.Bytes
	return resume, stats, err
}

// GC does the same in small batches of its own, for a store that collects on its own time once the raised
// threshold has been applied: what it removes is invisible to every permitted read, so replicas need not
// collect in step. It ends early with ctx's error.
//
// Nobody waits for it, and it begins on all replicas of a range at about the same time: it works for a few milliseconds at a
// time and rests as flushes do (Background).
func (e *Engine) GC(ctx context.Context, span Span, threshold Timestamp) (stats GCStats, err error) {
	batch := sweep{bytes: 1 << 20, versions: 4096}
	for start := span.Start; start != nil; {
		if err := ctx.Err(); err != nil {
			return stats, err
		}
		began := time.Now()
		b := e.NewBatch()
		resume, s, err := collect(e, Span{start, span.End}, threshold, batch, func(k []byte, valueLen int) { b.remove(k, valueLen) })
		if err == nil && !b.Empty() {
			err = b.Commit(false)
		}
		b.Close()
		stats.Scanned += s.Scanned
		stats.Removed += s.Removed
		stats.Bytes += s.Bytes
		if err != nil {
			return stats, err
		}
		if start = resume; start != nil {
			time.Sleep(e.background.rest(gcCategory, time.Since(began)))
		}
	}
	return stats, nil
}

// sweep bounds how far one goes through a span: at the next key after that much it ends. 0: no bound.
type sweep struct {
	bytes    int64 // removed
	versions int   // looked at
}

func (l sweep) over(done GCStats) bool {
	return l.bytes > 0 && done.Bytes >= l.bytes || l.versions > 0 && done.Scanned >= l.versions
}

func collect(r Reader, span Span, threshold Timestamp, limit sweep, remove func(engineKey []byte, valueLen int)) (resume []byte, stats GCStats, err error) {
	return sift(r, span, threshold, limit, remove, nil)
}

// sift tells what garbage is from what is not: it calls remove for each version of the one kind, and keep, unless it is nil,
// for each of the other.
func sift(r Reader, span Span, threshold Timestamp, limit sweep, remove func(engineKey []byte, valueLen int),
	keep func(engineKey, value []byte) error) (resume []byte, stats GCStats, err error) {
	if span.Empty() {
		return nil, stats, nil
	}
	opts := pebble.IterOptions{
		LowerBound: appendVersionKey(nil, span.Start, 0),
		UpperBound: appendVersionKey(nil, span.End, 0),
	}
	if keep == nil {
		// Newer versions neither are garbage nor make any: where there are only such ones there is nothing to do.
		opts.PointKeyFilters = []pebble.BlockPropertyFilter{cockroachkvs.NewMVCCTimeIntervalFilter(1, uint64(max(threshold, 1)))}
	}
	it, err := r.newIter(&opts)
	if err != nil {
		return nil, stats, err
	}
	var (
		last     []byte // the current key
		shadowed bool   // a version at or below threshold was seen: all older ones are dead
	)
	for ok := it.First(); ok; ok = it.Next() {
		k := it.Key()
		key, ts, derr := decodeVersionKey(k)
		if derr != nil {
			err = corrupt(k, derr)
			break
		}
		if last == nil || !bytes.Equal(key, last) {
			if limit.over(stats) {
				resume = bytes.Clone(key)
				break
			}
			last, shadowed = append(last[:0], key...), false
		}
		stats.Scanned++
		if ts > threshold && keep == nil {
			continue
		}
		raw, verr := it.ValueAndErr()
		if verr != nil {
			err = verr
			break
		}
		if ts > threshold || isProvisional(raw) {
			// Provisional versions are not this function's to judge: they count at a later timestamp or not at all, and
			// whoever moves or drops their layer must find the same on every replica.
			if keep != nil {
				if err = keep(k, raw); err != nil {
					break
				}
			}
			continue
		}
		dead := shadowed
		if !shadowed {
			_, kind, verr := openValue(k, raw)
			if verr != nil {
				err = verr
				break
			}
			// A tombstone that is the newest at the threshold reads as "nothing", and so does its
			// absence, as everything below it goes as well.
			dead, shadowed = kind == kindTombstone, true
		}
		if dead {
			remove(k, len(raw))
			stats.Removed++
			stats.Bytes += int64(len(k) + len(raw))
		} else if keep != nil {
			if err = keep(k, raw); err != nil {
				break
			}
		}
	}
	if err == nil {
		err = it.Error()
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return resume, stats, err
}

package catalog

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// CollectGarbage removes the storage of dropped tables and indexes from the newest version of the data. Older
// versions stay readable until they fall below the garbage collection threshold. A failure loses nothing but
// time; several nodes may collect at once. It returns the number of pieces. The manager calls it by itself.
func (m *Manager) CollectGarbage(ctx context.Context) (int, error) {
	keys, err := m.garbage(ctx)
	if err != nil {
		return 0, err
	}
	done := 0
	for _, k := range keys {
		err := m.collect(ctx, k)
		if err != nil && !errors.Is(err, kv.ErrRetry) {
			return done, err
		}
		if err == nil {
			done++
		}
	}
	return done, nil
}

func (m *Manager) garbage(ctx context.Context) ([][]byte, error) {
	tx, err := m.cfg.DB.Begin(ctx, kv.TxnOptions{ReadOnly: true, Name: "catalog garbage"})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx)
	sc, err := tx.Scan(ctx, classSpan(keyGarbage), kv.ScanOptions{})
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	var keys [][]byte
	for sc.Next(ctx) {
		keys = append(keys, append([]byte(nil), sc.Pair().Key...))
	}
	return keys, sc.Err()
}

// garbageRanges is over how many ranges one transaction deletes a span.
const garbageRanges = 16

// collect removes one piece of garbage. A few keys are deleted one by one, which leaves nothing behind but their tombstones.
// More are deleted as spans, for which each range keeps a record until its rows may go (txn/participant, layers): it costs
// a log entry for each range, however many rows there are, and one range deletion in the store at the end.
func (m *Manager) collect(ctx context.Context, key []byte) error {
	var span kv.Span
	switch id := key[3:]; len(id) {
	case 4:
		span = TableSpan(binary.BigEndian.Uint32(id))
	case 6:
		span = IndexSpan(binary.BigEndian.Uint32(id), binary.BigEndian.Uint16(id[4:]))
	default:
		return errors.New("catalog: malformed garbage key")
	}
	large := false
	err := m.collectIn(ctx, key, func(tx kv.Txn) (last bool, err error) {
		keys, err := firstKeys(ctx, tx, span, m.cfg.GarbageKeys+1)
		if large = len(keys) > m.cfg.GarbageKeys; large || err != nil {
			return false, err
		}
		for _, k := range keys {
			if err := tx.Delete(k); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil || !large {
		return err
	}
	parts := []kv.Span{span}
	if p, ok := m.cfg.DB.(kv.Partitioner); ok {
		if parts, err = p.Partition(ctx, span); err != nil {
			return err
		}
	}
	for len(parts) > 0 {
		n := min(len(parts), garbageRanges)
		some := kv.Span{Start: parts[0].Start, End: parts[n-1].End}
		parts = parts[n:]
		err := m.collectIn(ctx, key, func(tx kv.Txn) (last bool, err error) {
			return len(parts) == 0, tx.DeleteSpan(ctx, some)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// collectIn runs f in a transaction that gives way to everybody, unless the garbage behind key has gone meanwhile. With the
// last of the garbage the key goes.
func (m *Manager) collectIn(ctx context.Context, key []byte, f func(kv.Txn) (last bool, err error)) error {
	tx, err := m.cfg.DB.Begin(ctx, kv.TxnOptions{Name: "catalog garbage", Age: truetime.MaxTimestamp})
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	if v, err := tx.Get(ctx, key, kv.LockExclusive, kv.WaitBlock); err != nil || v == nil {
		return err
	}
	last, err := f(tx)
	if err == nil && last {
		err = tx.Delete(key)
	}
	if err == nil {
		_, err = tx.Commit(ctx)
	}
	return err
}

// firstKeys returns the first keys of a span, locked.
func firstKeys(ctx context.Context, tx kv.Txn, span kv.Span, limit int) ([][]byte, error) {
	sc, err := tx.Scan(ctx, span, kv.ScanOptions{Lock: kv.LockExclusive, Limit: int64(limit)})
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	var keys [][]byte
	for len(keys) < limit && sc.Next(ctx) {
		keys = append(keys, append([]byte(nil), sc.Pair().Key...))
	}
	return keys, sc.Err()
}

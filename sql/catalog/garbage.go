package catalog

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

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

// collect removes one piece of garbage, a batch of keys at a time: a dropped table may be large.
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
	for {
		began := time.Now()
		last, err := m.collectBatch(ctx, span, key)
		if err != nil || last == nil {
			return err
		}
		span.Start = append(last, 0)
		// Nobody waits for this: it takes a quarter of the time, so that those who do are served.
		rest := time.NewTimer(min(3*time.Since(began), 200*time.Millisecond))
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
			return ctx.Err()
		}
	}
}

// collectBatch removes the first keys of a span and returns the last of them. When the span is empty it removes
// the garbage key and returns nil.
func (m *Manager) collectBatch(ctx context.Context, span kv.Span, key []byte) ([]byte, error) {
	const batch = 1000
	tx, err := m.cfg.DB.Begin(ctx, kv.TxnOptions{Name: "catalog garbage", Age: truetime.MaxTimestamp})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx)
	sc, err := tx.Scan(ctx, span, kv.ScanOptions{Lock: kv.LockExclusive, Limit: batch})
	if err != nil {
		return nil, err
	}
	var keys [][]byte
	for len(keys) < batch && sc.Next(ctx) {
		keys = append(keys, append([]byte(nil), sc.Pair().Key...))
	}
	err = sc.Err()
	sc.Close()
	if err != nil {
		return nil, err
	}
	var last []byte
	for _, k := range keys {
		if err := tx.Delete(k); err != nil {
			return nil, err
		}
		last = k
	}
	if last == nil {
		if err := tx.Delete(key); err != nil {
			return nil, err
		}
	}
	_, err = tx.Commit(ctx)
	return last, err
}

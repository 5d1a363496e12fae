package catalog

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/meridian-db/meridian/txn/kv"
)

// CollectGarbage removes the storage of dropped tables and indexes from the newest version of the data. Older
// versions stay readable until they fall below the garbage collection threshold. One piece is one transaction,
// so that a failure loses nothing but time; several nodes may collect at once. It returns the number of pieces.
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
	tx, err := m.cfg.DB.Begin(ctx, kv.TxnOptions{Name: "catalog garbage"})
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	if err := tx.DeleteSpan(ctx, span); err != nil {
		return err
	}
	if err := tx.Delete(key); err != nil {
		return err
	}
	_, err = tx.Commit(ctx)
	return err
}

package catalog

import (
	"context"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// VersionSpan holds the one key that every change of the catalog writes: what is committed to it between two timestamps
// tells at which of them the catalog changed.
func VersionSpan() kv.Span {
	k := versionKey()
	return kv.Span{Start: k, End: append(k[:len(k):len(k)], 0)}
}

// HistorySpan holds what SnapshotAt reads.
func HistorySpan() kv.Span { return kv.Span{Start: catKey(0, 0), End: []byte{0x02, 'c' + 1}} }

// SnapshotAt returns the catalog as it was at a timestamp in the past, seen from a database. It fails with
// kv.ErrReadTooOld below the garbage collection threshold.
func (m *Manager) SnapshotAt(ctx context.Context, db uint32, ts truetime.Timestamp) (*Snapshot, error) {
	tx, err := m.cfg.DB.Begin(ctx, kv.TxnOptions{ReadOnly: true, Name: "catalog history",
		Staleness: kv.Staleness{Kind: kv.ReadTimestamp, At: ts}})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx)
	st, err := m.stateAt(ctx, tx)
	if err != nil {
		return nil, err
	}
	return st.inDatabase(db), nil
}

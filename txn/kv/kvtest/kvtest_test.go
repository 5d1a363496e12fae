package kvtest

import (
	"context"
	"errors"
	"testing"

	"github.com/meridian-db/meridian/txn/kv"
)

func begin(t *testing.T, db *DB, o kv.TxnOptions) kv.Txn {
	t.Helper()
	tx, err := db.Begin(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func keys(t *testing.T, tx kv.Txn, o kv.ScanOptions) string {
	t.Helper()
	sc, err := tx.Scan(t.Context(), kv.Span{Start: []byte("a"), End: []byte("z")}, o)
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for sc.Next(context.Background()) {
		out += string(sc.Pair().Key) + "=" + string(sc.Pair().Value) + " "
	}
	if sc.Err() != nil {
		t.Fatal(sc.Err())
	}
	return out
}

func TestTxn(t *testing.T) {
	ctx, db := t.Context(), New()
	w := begin(t, db, kv.TxnOptions{})
	for _, k := range []string{"c", "a", "b"} {
		if err := w.Put([]byte(k), []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	sp := w.Savepoint()
	_ = w.Delete([]byte("b"))
	if got := keys(t, w, kv.ScanOptions{}); got != "a=1 c=1 " {
		t.Fatal(got)
	}
	if err := w.RollbackTo(ctx, sp); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, w, kv.ScanOptions{Reverse: true}); got != "c=1 b=1 a=1 " {
		t.Fatal(got)
	}
	r := begin(t, db, kv.TxnOptions{ReadOnly: true})
	if _, err := w.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, r, kv.ScanOptions{}); got != "" {
		t.Fatalf("snapshot sees a later commit: %q", got)
	}
	if err := r.Put([]byte("a"), nil); !errors.Is(err, kv.ErrReadOnly) {
		t.Fatal(err)
	}
}

func TestWoundAndConflict(t *testing.T) {
	ctx, db := t.Context(), New()
	older, younger := begin(t, db, kv.TxnOptions{}), begin(t, db, kv.TxnOptions{})
	if _, err := younger.Get(ctx, []byte("a"), kv.LockExclusive, kv.WaitBlock); err != nil {
		t.Fatal(err)
	}
	if _, err := older.Get(ctx, []byte("a"), kv.LockExclusive, kv.WaitError); !errors.Is(err, kv.ErrLockNotAvailable) {
		t.Fatal(err)
	}
	if _, err := older.Get(ctx, []byte("a"), kv.LockExclusive, kv.WaitBlock); err != nil {
		t.Fatal(err)
	}
	if _, err := younger.Commit(ctx); !errors.Is(err, kv.ErrRetry) {
		t.Fatal(err)
	}
	snap := begin(t, db, kv.TxnOptions{Isolation: kv.Snapshot})
	if _, err := snap.Get(ctx, []byte("x"), kv.LockNone, kv.WaitBlock); err != nil {
		t.Fatal(err)
	}
	_ = older.Put([]byte("a"), []byte("2"))
	if _, err := older.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := snap.Get(ctx, []byte("a"), kv.LockExclusive, kv.WaitBlock); !errors.Is(err, kv.ErrWriteConflict) {
		t.Fatal(err)
	}
}

package largeobject

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

func begin(t *testing.T, db *kvtest.DB) *Store {
	tx, err := db.Begin(t.Context(), kv.TxnOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &Store{Txn: tx, Database: 5, Lock: kv.LockShared}
}

// TestModel compares an object with a slice of bytes, through random writes, truncations and reads.
func TestModel(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		db := kvtest.New()
		s := begin(t, db)
		const id = 77
		if err := s.Create(t.Context(), id, 10); err != nil {
			t.Fatal(err)
		}
		var want []byte
		resize := func(n int) {
			if n > len(want) {
				want = append(want, make([]byte, n-len(want))...)
			}
		}
		for range 200 {
			off, n := rng.IntN(6*PageSize), rng.IntN(3*PageSize)
			if rng.IntN(3) == 0 { // where pages meet
				off, n = off/PageSize*PageSize, n/PageSize*PageSize
			}
			switch rng.IntN(4) {
			case 0:
				data := make([]byte, n)
				for i := range data {
					data[i] = byte(1 + rng.IntN(255))
				}
				if err := s.Write(t.Context(), id, int64(off), data); err != nil {
					t.Fatal(err)
				}
				if n > 0 {
					resize(off + n)
					copy(want[off:], data)
				}
			case 1:
				if err := s.Truncate(t.Context(), id, int64(off)); err != nil {
					t.Fatal(err)
				}
				resize(off)
				want = want[:off:off]
			case 2:
				got, err := s.Read(t.Context(), id, int64(off), int64(n))
				if from := min(off, len(want)); err != nil || !bytes.Equal(got, want[from:min(from+n, len(want))]) {
					t.Fatalf("seed %d: %d bytes at %d differ, %v", seed, n, off, err)
				}
			case 3:
				if _, err := s.Txn.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
				s = begin(t, db)
			}
			if o, err := s.Get(t.Context(), id); err != nil || o.Size != int64(len(want)) {
				t.Fatalf("seed %d: %+v, %v instead of %d bytes", seed, o, err, len(want))
			}
		}
		s.Txn.Rollback(t.Context())
	}
}

// TestUnlink: of an object that is removed nothing stays, and of its neighbours everything.
func TestUnlink(t *testing.T) {
	db := kvtest.New()
	s := begin(t, db)
	page := bytes.Repeat([]byte("x"), PageSize)
	for id := uint32(1); id <= 3; id++ {
		if err := s.Create(t.Context(), id, 10); err != nil {
			t.Fatal(err)
		}
		for i := range int64(300) {
			if err := s.Write(t.Context(), id, i*PageSize, page); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Create(t.Context(), 2, 10); pgerr.Code(err) != pgerr.UniqueViolation {
		t.Error(err)
	}
	if err := s.Unlink(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := s.Unlink(t.Context(), 2); pgerr.Code(err) != pgerr.UndefinedObject {
		t.Error(err)
	}
	for id, want := range map[uint32]int{1: 300, 2: 0, 3: 300} {
		if n := count(t.Context(), t, s, id); n != want {
			t.Errorf("object %d has %d pages, not %d", id, n, want)
		}
	}
	var ids []uint32
	s.List(t.Context(), func(o Object) error { ids = append(ids, o.ID); return nil })
	if len(ids) != 2 || ids[0] != 1 || ids[1] != 3 {
		t.Error(ids)
	}
}

func count(ctx context.Context, t *testing.T, s *Store, id uint32) (n int) {
	sc, err := s.Txn.Scan(ctx, s.pages(id, 0, -1), kv.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer sc.Close()
	for sc.Next(ctx) {
		n++
	}
	return n
}

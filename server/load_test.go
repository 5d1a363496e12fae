package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/meridian-db/meridian/txn/kv"
)

func accountKey(i int) []byte { return fmt.Appendf(nil, "\x03\x00\x00\x10\x00acct%04d", i) }

func addTo(ctx context.Context, tx kv.Txn, key []byte, d int64) error {
	v, err := tx.Get(ctx, key, kv.LockExclusive, kv.WaitBlock)
	if err != nil {
		return err
	}
	var n int64
	if len(v) == 8 {
		n = int64(binary.BigEndian.Uint64(v))
	}
	return tx.Put(key, binary.BigEndian.AppendUint64(nil, uint64(n+d)))
}

// TestBank moves money between accounts through all nodes at once; the total, read through any of them, stays
// zero at every moment.
func TestBank(t *testing.T) {
	d := startDemo(t, t.TempDir())
	defer d.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	const accounts, transfers = 20, 60
	sum := func(db kv.DB) (total int64, err error) {
		tx, err := db.Begin(ctx, kv.TxnOptions{ReadOnly: true})
		if err != nil {
			return 0, err
		}
		defer tx.Rollback(ctx)
		sc, err := tx.Scan(ctx, kv.Span{Start: accountKey(0), End: accountKey(accounts)}, kv.ScanOptions{})
		if err != nil {
			return 0, err
		}
		defer sc.Close()
		for sc.Next(ctx) {
			total += int64(binary.BigEndian.Uint64(sc.Pair().Value))
		}
		return total, sc.Err()
	}
	var wg sync.WaitGroup
	for i, s := range d.Servers {
		for j := range 3 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				rng := rand.New(rand.NewPCG(uint64(i), uint64(j)))
				for range transfers {
					from, to, amount := rng.IntN(accounts), rng.IntN(accounts), rng.Int64N(100)
					if from == to {
						continue
					}
					err := inTxn(ctx, s.core.DB, "transfer", func(tx kv.Txn) error {
						return errors.Join(addTo(ctx, tx, accountKey(from), -amount), addTo(ctx, tx, accountKey(to), amount))
					})
					if err != nil {
						t.Errorf("node %d: %v", s.NodeID(), err)
						return
					}
					if total, err := sum(s.core.DB); err != nil || total != 0 {
						t.Errorf("node %d: total %d, %v", s.NodeID(), total, err)
						return
					}
				}
			}()
		}
	}
	wg.Wait()
}

// BenchmarkCommit is a read-modify-write of one key of 1000 through node 1.
func BenchmarkCommit(b *testing.B) {
	for _, clients := range []int{1, 8, 32} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			d := startDemo(b, b.TempDir())
			defer d.Stop()
			ctx := context.Background()
			db := d.Servers[0].core.DB
			var wg sync.WaitGroup
			b.ResetTimer()
			for c := range clients {
				wg.Add(1)
				go func() {
					defer wg.Done()
					rng := rand.New(rand.NewPCG(uint64(c), 0))
					for range (b.N + clients - 1) / clients {
						if err := inTxn(ctx, db, "bench", func(tx kv.Txn) error { return addTo(ctx, tx, accountKey(rng.IntN(1000)), 1) }); err != nil {
							b.Error(err)
							return
						}
					}
				}()
			}
			wg.Wait()
		})
	}
}

// BenchmarkRead is a lone strong read of a key through node 1.
func BenchmarkRead(b *testing.B) {
	d := startDemo(b, b.TempDir())
	defer d.Stop()
	ctx := context.Background()
	if err := put(ctx, d.Servers[0].core.DB, string(accountKey(1)), "12345678"); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		if err := readKey(ctx, d.Servers[0].core.DB, accountKey(1)); err != nil {
			b.Fatal(err)
		}
	}
}

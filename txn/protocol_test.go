package txn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// TestWoundWait: an older transaction takes the lock of a younger one, which finds out and may retry.
func TestWoundWait(t *testing.T) {
	inCluster(t, 2, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "k", "0")
		older := c.begin(1, kv.TxnOptions{})
		time.Sleep(time.Millisecond)
		younger := c.begin(2, kv.TxnOptions{})
		if older.Age() >= younger.Age() {
			t.Fatal("ages")
		}
		lock := func(tx *Txn) error {
			_, err := tx.Get(ctx, []byte("k"), kv.LockExclusive, kv.WaitBlock)
			return err
		}
		if err := lock(younger); err != nil {
			t.Fatal(err)
		}
		if err := lock(older); err != nil { // Does not wait for the younger to end.
			t.Fatal(err)
		}
		younger.Put([]byte("k"), []byte("y"))
		_, err := younger.Commit(ctx)
		if !errors.Is(err, kv.ErrRetry) || !errors.Is(err, ErrWounded) {
			t.Fatalf("the wounded commits with %v", err)
		}
		again := c.begin(2, kv.TxnOptions{Age: younger.Age()})
		done := make(chan error)
		go func() {
			if err := lock(again); err != nil {
				done <- err
				return
			}
			again.Put([]byte("k"), []byte("y"))
			_, err := again.Commit(ctx)
			done <- err
		}()
		synctest.Wait() // It waits for the older one.
		older.Put([]byte("k"), []byte("o"))
		if _, err := older.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := c.all(1); got != "k=y" {
			t.Error(got)
		}
	})
}

// TestIsolation: what each level sees of a commit made after its first read, and whether it may overwrite it.
func TestIsolation(t *testing.T) {
	inCluster(t, 2, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		for _, locking := range []bool{false, true} {
			c.put(1, "k", "0", "z", "0")
			snap := c.begin(1, kv.TxnOptions{Isolation: kv.Snapshot})
			rc := c.begin(1, kv.TxnOptions{Isolation: kv.ReadCommitted})
			if got := c.get(snap, "k") + c.get(rc, "k"); got != "00" {
				t.Fatal(got)
			}
			c.put(2, "k", "1", "z", "1")
			if got := c.get(snap, "k") + c.get(rc, "k") + c.get(snap, "z") + c.get(rc, "z"); got != "0000" {
				t.Errorf("within the statement: %s", got)
			}
			rc.Step(ctx)
			snap.Step(ctx)
			if got := c.get(snap, "k") + c.get(rc, "k") + c.get(snap, "z") + c.get(rc, "z"); got != "0101" {
				t.Errorf("next statement: %s", got)
			}
			var err error
			if locking {
				_, err = snap.Get(ctx, []byte("k"), kv.LockExclusive, kv.WaitBlock)
			} else {
				snap.Put([]byte("k"), []byte("s"))
				_, err = snap.Commit(ctx)
			}
			if !errors.Is(err, kv.ErrWriteConflict) {
				t.Errorf("snapshot overwrites a later commit (locking read %v): %v", locking, err)
			}
			snap.Rollback(ctx)
			rc.Put([]byte("k"), []byte("r"))
			if _, err := rc.Commit(ctx); err != nil {
				t.Errorf("read committed: %v", err)
			}
		}
	})
}

// TestCursorKeepsTimestamp: a scanner of READ COMMITTED reads all its pages at the timestamp of the statement
// that opened it.
func TestCursorKeepsTimestamp(t *testing.T) {
	inCluster(t, 2, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "a", "0", "b", "0", "z", "0")
		tx := c.begin(1, kv.TxnOptions{Isolation: kv.ReadCommitted})
		s, err := tx.Scan(ctx, kv.Span{Start: []byte("a"), End: []byte("zz")}, kv.ScanOptions{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c.put(2, "b", "1", "z", "1")
		if err := tx.Step(ctx); err != nil {
			t.Fatal(err)
		}
		if got := c.get(tx, "z"); got != "1" {
			t.Errorf("the next statement reads %s", got)
		}
		if got := drainKV(t, s); got != "a=0 b=0 z=0" {
			t.Errorf("the cursor reads %s", got)
		}
	})
}

// TestWaitPolicies: NOWAIT fails, SKIP LOCKED leaves out, for points, batches and scans.
func TestWaitPolicies(t *testing.T) {
	inCluster(t, 2, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "a", "1", "b", "1", "y", "1", "z", "1")
		holder := c.begin(1, kv.TxnOptions{})
		for _, k := range []string{"a", "z"} {
			if _, err := holder.Get(ctx, []byte(k), kv.LockExclusive, kv.WaitBlock); err != nil {
				t.Fatal(err)
			}
		}
		tx := c.begin(2, kv.TxnOptions{Isolation: kv.ReadCommitted})
		if _, err := tx.Get(ctx, []byte("a"), kv.LockExclusive, kv.WaitError); !errors.Is(err, kv.ErrLockNotAvailable) {
			t.Errorf("NOWAIT: %v", err)
		}
		keys := [][]byte{[]byte("z"), []byte("b"), []byte("a"), []byte("c"), []byte("y")}
		vs, skipped, err := tx.GetBatch(ctx, keys, kv.LockExclusive, kv.WaitSkipLocked)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%q %v", vs, skipped); got != `["" "1" "" "" "1"] [true false true false false]` {
			t.Error(got)
		}
		if got := c.dump(tx, "a", "zz", kv.ScanOptions{Lock: kv.LockExclusive, Wait: kv.WaitSkipLocked}); got != "b=1 y=1" {
			t.Error(got)
		}
		tx.Rollback(ctx)
		holder.Rollback(ctx)
	})
}

// TestLockTimeout: a wait for a lock, of a read or of a write at its commit, ends after the time set, with an error of
// its own; without one it goes on.
func TestLockTimeout(t *testing.T) {
	inCluster(t, 2, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "a", "1", "z", "1")
		holder := c.begin(1, kv.TxnOptions{})
		for _, k := range []string{"a", "z"} {
			if _, err := holder.Get(ctx, []byte(k), kv.LockExclusive, kv.WaitBlock); err != nil {
				t.Fatal(err)
			}
		}
		timedOut := func(what string, began time.Time, err error) {
			t.Helper()
			if !errors.Is(err, kv.ErrLockTimeout) || !errors.Is(err, kv.ErrLockNotAvailable) || errors.Is(err, kv.ErrRetry) {
				t.Errorf("%s: %v", what, err)
			}
			if d := time.Since(began); d != 300*time.Millisecond {
				t.Errorf("%s: after %s", what, d)
			}
		}
		tx := c.begin(2, kv.TxnOptions{})
		tx.SetLockTimeout(300 * time.Millisecond)
		began := time.Now()
		_, err := tx.Get(ctx, []byte("z"), kv.LockShared, kv.WaitBlock)
		timedOut("point", began, err)
		began = time.Now()
		_, _, err = tx.GetBatch(ctx, [][]byte{[]byte("b"), []byte("a")}, kv.LockShared, kv.WaitBlock)
		timedOut("batch", began, err)
		began = time.Now()
		timedOut("span", began, tx.LockSpan(ctx, kv.Span{Start: []byte("a"), End: []byte("zz")}, kv.LockShared, kv.WaitBlock))
		tx.Put([]byte("a"), []byte("2"))
		began = time.Now()
		_, err = tx.Commit(ctx)
		timedOut("commit", began, err)

		patient := c.begin(2, kv.TxnOptions{})
		done := make(chan error)
		go func() {
			_, err := patient.Get(ctx, []byte("a"), kv.LockShared, kv.WaitBlock)
			done <- err
		}()
		time.Sleep(time.Minute)
		holder.Rollback(ctx)
		if err := <-done; err != nil {
			t.Errorf("without a timeout: %v", err)
		}
		patient.Rollback(ctx)
	})
}

// TestLockSpan: LOCK TABLE. A shared lock on a span keeps writers of all its ranges out, rows that do not exist yet
// included, an exclusive one locking readers too; snapshots read on.
func TestLockSpan(t *testing.T) {
	inCluster(t, 2, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "a", "1", "z", "1")
		all := kv.Span{Start: []byte("a"), End: []byte("zz")}
		for _, mode := range []kv.LockMode{kv.LockShared, kv.LockExclusive} {
			tx := c.begin(1, kv.TxnOptions{Isolation: kv.ReadCommitted})
			if err := tx.LockSpan(ctx, all, mode, kv.WaitBlock); err != nil {
				t.Fatal(err)
			}
			other := c.begin(2, kv.TxnOptions{Isolation: kv.ReadCommitted})
			for _, k := range []string{"a", "l", "n", "z"} {
				if _, err := other.Get(ctx, []byte(k), kv.LockExclusive, kv.WaitError); !errors.Is(err, kv.ErrLockNotAvailable) {
					t.Errorf("mode %d, write of %s: %v", mode, k, err)
				}
				if _, err := other.Get(ctx, []byte(k), kv.LockShared, kv.WaitError); errors.Is(err, kv.ErrLockNotAvailable) != (mode == kv.LockExclusive) {
					t.Errorf("mode %d, locking read of %s: %v", mode, k, err)
				}
			}
			if err := other.LockSpan(ctx, all, kv.LockExclusive, kv.WaitError); !errors.Is(err, kv.ErrLockNotAvailable) || errors.Is(err, kv.ErrLockTimeout) {
				t.Errorf("mode %d, NOWAIT: %v", mode, err)
			}
			if got := c.dump(other, "a", "zz", kv.ScanOptions{}); got != "a=1 z=1" {
				t.Errorf("mode %d, snapshot read: %s", mode, got)
			}
			other.Rollback(ctx)
			tx.Rollback(ctx)
			again := c.begin(2, kv.TxnOptions{})
			if err := again.LockSpan(ctx, all, kv.LockExclusive, kv.WaitBlock); err != nil { // Rollback releases behind its caller's back.
				t.Errorf("mode %d, after the end: %v", mode, err)
			}
			again.Rollback(ctx)
		}
	})
}

// TestTransactionList: what a view of the transactions shows: who holds how much where, and who waits for whom.
func TestTransactionList(t *testing.T) {
	inCluster(t, 1, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		holder := c.begin(1, kv.TxnOptions{})
		for _, k := range []string{"a", "b", "z"} {
			if _, err := holder.Get(ctx, []byte(k), kv.LockExclusive, kv.WaitBlock); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Millisecond)
		waiter := c.begin(1, kv.TxnOptions{})
		done := make(chan error)
		go func() {
			_, err := waiter.Get(ctx, []byte("z"), kv.LockShared, kv.WaitBlock)
			done <- err
		}()
		synctest.Wait()
		list := c.nodes[1].server.Transactions()
		if len(list) != 2 {
			t.Fatalf("%+v", list)
		}
		h, w := list[0], list[1]
		if h.ID != holder.id || h.Locks != 3 || len(h.Ranges) != 2 || len(h.Waits) != 0 || h.Gateway != 1 || h.Age != holder.Age() {
			t.Errorf("holder: %+v", h)
		}
		if w.ID != waiter.id || w.Locks != 0 || len(w.Waits) != 1 || string(w.Waits[0].Start) != "z" ||
			len(w.Waits[0].Holders) != 1 || w.Waits[0].Holders[0] != holder.id {
			t.Errorf("waiter: %+v", w)
		}
		holder.Rollback(ctx)
		if err := <-done; err != nil {
			t.Error(err)
		}
		waiter.Rollback(ctx)
		if list := c.nodes[1].server.Transactions(); len(list) != 0 {
			t.Errorf("after the end: %+v", list)
		}
	})
}

// TestLockLost: a lease that moves without its locks aborts the transactions that held some there, and no
// others (I9); one that moves with them aborts none.
func TestLockLost(t *testing.T) {
	for _, handoff := range []bool{false, true} {
		inCluster(t, 3, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
			c.put(1, "a", "0", "z", "0")
			read := func(k string) *Txn {
				tx := c.begin(1, kv.TxnOptions{})
				c.get(tx, k)
				return tx
			}
			here, there := read("a"), read("z")
			c.transfer("a", 3, handoff)
			for tx, lost := range map[*Txn]bool{here: !handoff, there: false} {
				tx.Put([]byte("b"), []byte("1"))
				_, err := tx.Commit(ctx)
				if lost != errors.Is(err, ErrLockLost) || (!lost && err != nil) {
					t.Errorf("handoff %v, lost %v: %v", handoff, lost, err)
				}
			}
		})
	}
}

// TestLostAnswers runs transfers while requests and answers of all kinds get lost. Every commit must have a
// known outcome, and the total must hold (I8).
func TestLostAnswers(t *testing.T) {
	for seed := uint64(0); seed < 10; seed++ {
		inCluster(t, 3, nil, []string{"g", "p"}, func(ctx context.Context, c *testCluster) {
			r := rand.New(rand.NewPCG(seed, 9))
			var mu sync.Mutex
			accounts := []string{"a", "b", "h", "i", "q", "z"}
			for _, a := range accounts {
				c.put(1, a, "100")
			}
			c.inject(func(from, to ranges.NodeID, req *txnpb.BatchRequest) fault {
				if from == to || req.Kind == txnpb.Kind_HEARTBEAT {
					return deliver
				}
				mu.Lock()
				defer mu.Unlock()
				return []fault{dropBefore, dropAfter, deliver, deliver, deliver}[r.IntN(5)]
			})
			var wg sync.WaitGroup
			commits := 0
			for w := 0; w < 6; w++ {
				wg.Add(1)
				go func() {
					defer wg.Done()
					r := rand.New(rand.NewPCG(seed, uint64(w)))
					for i := 0; i < 15; i++ {
						from, to := accounts[r.IntN(6)], accounts[r.IntN(6)]
						var age truetime.Timestamp
						for {
							err := transfer(ctx, c, ranges.NodeID(1+w%3), from, to, &age)
							if err == nil {
								mu.Lock()
								commits++
								mu.Unlock()
								break
							}
							if !errors.Is(err, kv.ErrRetry) {
								t.Errorf("seed %d: %v", seed, err)
								return
							}
						}
					}
				}()
			}
			wg.Wait()
			c.inject(nil)
			total := 0
			for _, p := range strings.Fields(c.all(2)) {
				n, _ := strconv.Atoi(p[strings.Index(p, "=")+1:])
				total += n
			}
			if total != 600 || commits != 90 {
				t.Errorf("seed %d: total %d after %d commits: %s", seed, total, commits, c.all(2))
			}
		})
	}
}

func transfer(ctx context.Context, c *testCluster, node ranges.NodeID, from, to string, age *truetime.Timestamp) error {
	tx := c.begin(node, kv.TxnOptions{Age: *age})
	defer tx.Rollback(ctx)
	*age = tx.Age()
	amount := 7
	for _, k := range []string{from, to} {
		v, err := tx.Get(ctx, []byte(k), kv.LockShared, kv.WaitBlock)
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(string(v))
		amount = -amount
		if err := tx.Put([]byte(k), []byte(strconv.Itoa(n+amount))); err != nil {
			return err
		}
	}
	_, err := tx.Commit(ctx)
	return err
}

// TestAmbiguous: only when the deciding range stays silent past the deadline is an outcome unknown, and then
// it is said so.
func TestAmbiguous(t *testing.T) {
	for _, keys := range [][]string{{"a"}, {"a", "z"}} {
		inCluster(t, 2, func(c *Config) { c.CommitTimeout = 2 * time.Second }, []string{"m"}, func(ctx context.Context, c *testCluster) {
			c.put(1, "a", "0", "z", "0")
			time.Sleep(time.Second)
			c.transfer("a", 2, true)
			c.transfer("z", 2, true)
			var cut atomic.Bool
			c.inject(func(from, to ranges.NodeID, req *txnpb.BatchRequest) fault {
				if from == to {
					return deliver
				}
				if cut.Load() {
					return dropBefore
				}
				if req.Kind == txnpb.Kind_DECIDE || req.Kind == txnpb.Kind_COMMIT_ONE {
					cut.Store(true)
					return dropAfter
				}
				return deliver
			})
			tx := c.begin(1, kv.TxnOptions{})
			for _, k := range keys {
				tx.Put([]byte(k), []byte("1"))
			}
			_, err := tx.Commit(ctx)
			var ambiguous *AmbiguousError
			if !errors.As(err, &ambiguous) || !errors.Is(err, kv.ErrAmbiguous) || ambiguous.CommitID == [16]byte{} {
				t.Fatalf("%v", err)
			}
			tx.Rollback(ctx) // Must not undo what has been decided.
			c.inject(nil)
			if got := c.all(1); !strings.HasPrefix(got, "a=1") {
				t.Errorf("%v: %s", keys, got)
			}
		})
	}
}

// TestAmbiguousElsewhere: the answer to the deciding request is lost, and then the range cannot be found any more for
// a while. To look it up anew and to commit again, or to run the transaction again, would be to commit it twice.
func TestAmbiguousElsewhere(t *testing.T) {
	for _, keys := range [][]string{{"a"}, {"a", "z"}} {
		inCluster(t, 2, func(c *Config) { c.CommitTimeout = 2 * time.Second }, []string{"m"}, func(ctx context.Context, c *testCluster) {
			c.put(1, "a", "0", "z", "0")
			c.transfer("a", 2, true)
			c.transfer("z", 2, true)
			var cut atomic.Bool
			c.inject(func(from, to ranges.NodeID, req *txnpb.BatchRequest) fault {
				switch {
				case cut.Load():
					return notFound
				case to == 2 && (req.Kind == txnpb.Kind_DECIDE || req.Kind == txnpb.Kind_COMMIT_ONE):
					cut.Store(true)
					return dropAfter
				}
				return deliver
			})
			tx := c.begin(1, kv.TxnOptions{})
			for _, k := range keys {
				tx.Put([]byte(k), []byte("1"))
			}
			if _, err := tx.Commit(ctx); !errors.Is(err, kv.ErrAmbiguous) || errors.Is(err, kv.ErrRetry) {
				t.Fatalf("%v: %v", keys, err)
			}
			tx.Rollback(ctx)
			c.inject(nil)
			if got := c.all(1); !strings.HasPrefix(got, "a=1") {
				t.Errorf("%v: %s", keys, got)
			}
		})
	}
}

// TestUnavailable: a range without leader is reported after RetryFor, and nothing is ambiguous about a commit
// that never reached it.
func TestUnavailable(t *testing.T) {
	inCluster(t, 2, func(c *Config) { c.RetryFor, c.CommitTimeout = 2*time.Second, 3*time.Second }, []string{"m"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "a", "0", "z", "0")
		c.transfer("a", 2, true)
		c.nodes[2].down.Store(true)
		tx := c.begin(1, kv.TxnOptions{})
		began := time.Now()
		if _, err := tx.Get(ctx, []byte("a"), kv.LockShared, kv.WaitBlock); !errors.Is(err, kv.ErrUnavailable) {
			t.Errorf("read: %v", err)
		}
		if d := time.Since(began); d < time.Second || d > 4*time.Second {
			t.Errorf("gave up after %s", d)
		}
		c.nodes[2].down.Store(false)
		c.inject(func(from, to ranges.NodeID, req *txnpb.BatchRequest) fault {
			if from != to {
				return dropBefore
			}
			return deliver
		})
		c.nodes[1].db.Forget([]byte("a"))
		w := c.begin(1, kv.TxnOptions{})
		cctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := w.Get(cctx, []byte("a"), kv.LockShared, kv.WaitBlock); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("deadline: %v", err)
		}
		w.Rollback(ctx)
	})
}

// TestLargeTransaction stages far more than the buffer may hold, over several ranges, and commits at one
// timestamp; another one rolls back and leaves nothing.
func TestLargeTransaction(t *testing.T) {
	inCluster(t, 3, func(c *Config) { c.StageBytes = 32 << 10 }, []string{"k3", "k6"}, func(ctx context.Context, c *testCluster) {
		const rows = 20000
		key := func(i int) []byte { return []byte(fmt.Sprintf("k%d-%06d", i%10, i)) }
		for _, commit := range []bool{false, true} {
			tx := c.begin(1, kv.TxnOptions{})
			most := 0
			for i := 0; i < rows; i++ {
				if err := tx.Insert(key(i), []byte(strings.Repeat("v", 20))); err != nil {
					t.Fatal(err)
				}
				if i%100 == 0 {
					if err := tx.Flush(ctx); err != nil {
						t.Fatal(err)
					}
				}
				most = max(most, tx.buf.bytes)
			}
			if most > 64<<10 {
				t.Errorf("%d bytes were buffered", most)
			}
			if c.get(tx, string(key(77))) == "<none>" {
				t.Error("does not see what it has staged")
			}
			if !commit {
				tx.Rollback(ctx)
				time.Sleep(10 * time.Second) // Staged writes are dropped behind the scenes.
				if got := c.all(2); got != "" {
					t.Fatalf("after rollback: %.100s", got)
				}
				continue
			}
			ts, err := tx.Commit(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []truetime.Timestamp{ts.Prev(), ts} {
				r := c.begin(2, kv.TxnOptions{ReadOnly: true, Staleness: kv.Staleness{Kind: kv.ReadTimestamp, At: at}})
				s, err := r.Scan(ctx, kv.Span{Start: []byte("k"), End: []byte("l")}, kv.ScanOptions{})
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				for s.Next(ctx) {
					n++
				}
				if s.Err() != nil {
					t.Fatal(s.Err())
				}
				if want := map[bool]int{true: rows}[at == ts]; n != want {
					t.Errorf("%d rows at commit%+d, want %d", n, at-ts, want)
				}
			}
		}
	})
}

// TestLargeTransactionSplits: ranges split, and change leaders, while a large transaction stages its writes in them and
// right before its commit, which its gateway has not heard of. All rows are there at one timestamp.
func TestLargeTransactionSplits(t *testing.T) {
	for _, transfer := range []bool{false, true} {
		inCluster(t, 3, func(c *Config) { c.StageBytes = 4 << 10 }, []string{"k3"}, func(ctx context.Context, c *testCluster) {
			const rows = 3000
			key := func(i int) string {
				if i > rows-300 {
					return fmt.Sprintf("k0-%06d", i) // the commit has nothing to write to the ranges that split last
				}
				return fmt.Sprintf("k%d-%06d", i%10, i)
			}
			splits := map[int][]string{500: {"k1"}, 1200: {"k5-001000", "k7"}, 1201: {"k6"}, 2000: {"k0-000700"}}
			tx := c.begin(2, kv.TxnOptions{}) // splits are made known by node 1
			for i := 0; i < rows; i++ {
				if err := tx.Put([]byte(key(i)), []byte("value")); err != nil {
					t.Fatal(err)
				}
				if i%100 == 0 {
					if err := tx.Flush(ctx); err != nil {
						t.Fatal(err)
					}
				}
				for _, k := range splits[i] {
					if !c.split(k) {
						t.Fatal("not split")
					}
				}
			}
			if err := tx.land(ctx, nil, nil); err != nil { // no answer is on its way that could tell of a split
				t.Fatal(err)
			}
			for _, k := range []string{"k2", "k4", "k8-000500"} {
				if !c.split(k) {
					t.Fatal("not split")
				}
			}
			if transfer {
				// The left halves have new leaders, who have not seen the split.
				for _, k := range []string{"k1", "k3", "k7"} {
					c.transfer(k, 1+ranges.NodeID(c.rangeOf(k).leader.Load())%3, true)
				}
			}
			ts, err := tx.Commit(ctx)
			if err != nil {
				t.Fatal(err)
			}
			count := func(what string, at truetime.Timestamp, want int) {
				t.Helper()
				for n := range c.nodes {
					r := c.begin(n, kv.TxnOptions{ReadOnly: true, Staleness: kv.Staleness{Kind: kv.ReadTimestamp, At: at}})
					got := strings.Count(c.dump(r, "k", "l", kv.ScanOptions{}), "=value")
					if got != want {
						t.Errorf("%s, transfers %v: %d rows on node %d, want %d", what, transfer, got, n, want)
					}
				}
			}
			count("before", ts.Prev(), 0)
			count("after", ts, rows)
			c.split("k1-000600") // not moved yet
			time.Sleep(10 * time.Minute)
			count("moved", ts, rows)
		})
	}
}

// TestDeleteSpan: a span deletion covers several ranges, what is written after it counts, and it cannot be
// undone by a savepoint.
func TestDeleteSpan(t *testing.T) {
	inCluster(t, 2, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "a", "0", "b", "0", "y", "0", "z", "0")
		tx := c.begin(1, kv.TxnOptions{})
		tx.Put([]byte("c"), []byte("gone"))
		if err := tx.DeleteSpan(ctx, kv.Span{Start: []byte("b"), End: []byte("z")}); err != nil {
			t.Fatal(err)
		}
		sp := tx.Savepoint()
		tx.Put([]byte("d"), []byte("new"))
		tx.Put([]byte("x"), []byte("new"))
		tx.Put([]byte("e"), []byte("undone"))
		if got := c.dump(tx, "a", "zz", kv.ScanOptions{}); got != "a=0 d=new e=undone x=new z=0" {
			t.Errorf("own view: %s", got)
		}
		if err := tx.RollbackTo(ctx, sp); err != nil {
			t.Fatal(err)
		}
		tx.Put([]byte("d"), []byte("new"))
		if _, err := tx.Commit(ctx); err != nil {
			t.Fatal(err)
		}
		if got := c.all(2); got != "a=0 d=new z=0" {
			t.Errorf("committed: %s", got)
		}
		tx = c.begin(1, kv.TxnOptions{})
		sp = tx.Savepoint()
		if err := tx.DeleteSpan(ctx, kv.Span{Start: []byte("a"), End: []byte("zz")}); err != nil {
			t.Fatal(err)
		}
		if err := tx.RollbackTo(ctx, sp); !errors.Is(err, ErrSpanDeleted) {
			t.Errorf("rollback over a span deletion: %v", err)
		}
		if _, err := tx.Commit(ctx); !errors.Is(err, ErrSpanDeleted) {
			t.Errorf("and commit: %v", err)
		}
		tx.Rollback(ctx)
		if got := c.all(2); got != "a=0 d=new z=0" {
			t.Errorf("after all: %s", got)
		}
	})
}

// TestStaleness: each form of a stale read, answered by the replica of the gateway's own node.
func TestStaleness(t *testing.T) {
	inCluster(t, 2, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		s1 := c.put(1, "a", "1", "z", "1")
		time.Sleep(10 * time.Second)
		s2 := c.put(1, "a", "2", "z", "2")
		time.Sleep(2 * time.Second)
		for _, x := range []struct {
			st   kv.Staleness
			want string
		}{
			{kv.Staleness{Kind: kv.ReadTimestamp, At: s2.Prev()}, "a=1 z=1"},
			{kv.Staleness{Kind: kv.ReadTimestamp, At: s2}, "a=2 z=2"},
			{kv.Staleness{Kind: kv.ReadTimestamp, At: s1.Prev()}, ""},
			{kv.Staleness{Kind: kv.ExactStaleness, Age: int64(5 * time.Second)}, "a=1 z=1"},
			{kv.Staleness{Kind: kv.ExactStaleness, Age: int64(time.Second)}, "a=2 z=2"},
			{kv.Staleness{Kind: kv.MaxStaleness, Age: int64(5 * time.Second)}, "a=2 z=2"},
			{kv.Staleness{Kind: kv.MinReadTimestamp, At: s1}, "a=2 z=2"},
			{kv.Staleness{Kind: kv.Strong}, "a=2 z=2"},
		} {
			for n := range c.nodes {
				tx := c.begin(n, kv.TxnOptions{ReadOnly: true, Staleness: x.st})
				if got := c.dump(tx, "a", "zz", kv.ScanOptions{}); got != x.want {
					t.Errorf("%+v on %s: %q, want %q", x.st, n, got, x.want)
				}
				if stale := x.st.Kind != kv.Strong; stale && tx.Stats().RPCs != 0 && x.st.Kind != kv.ReadTimestamp {
					t.Errorf("%+v on %s asked another node", x.st, n)
				}
				if tx.ReadTimestamp() == 0 {
					t.Error("no read timestamp")
				}
			}
		}
		one := c.begin(1, kv.TxnOptions{ReadOnly: true, OneShot: true})
		if got := c.get(one, "z"); got != "2" || one.ReadTimestamp() < s2 {
			t.Errorf("one shot: %s at %s", got, one.ReadTimestamp())
		}
	})
}

// TestStrongReadsSeeFinishedCommits is external consistency for reads: whatever was answered before a strong
// read began is in it, on every node, one-shot or not.
func TestStrongReadsSeeFinishedCommits(t *testing.T) {
	inCluster(t, 3, nil, []string{"g", "p"}, func(ctx context.Context, c *testCluster) {
		r := rand.New(rand.NewPCG(1, 1))
		for i := 1; i < 100; i++ {
			v := strconv.Itoa(i)
			if r.IntN(2) == 0 {
				c.put(ranges.NodeID(1+r.IntN(3)), "a", v, "h", v, "z", v)
			} else {
				for _, k := range []string{"a", "h", "z"} {
					c.put(ranges.NodeID(1+r.IntN(3)), k, v)
				}
			}
			tx := c.begin(ranges.NodeID(1+r.IntN(3)), kv.TxnOptions{ReadOnly: true, OneShot: r.IntN(2) == 0})
			if tx.opts.OneShot {
				if k := []string{"a", "h", "z"}[r.IntN(3)]; c.get(tx, k) != v {
					t.Fatalf("round %d: stale %s", i, k)
				}
			} else if got := c.dump(tx, "a", "zz", kv.ScanOptions{}); got != fmt.Sprintf("a=%s h=%s z=%s", v, v, v) {
				t.Fatalf("round %d: %s", i, got)
			}
		}
	})
}

// TestCommitBefore: the bound holds for writers and for readers under locks.
func TestCommitBefore(t *testing.T) {
	inCluster(t, 2, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		for _, keys := range [][]string{nil, {"a"}, {"a", "z"}} {
			for _, late := range []bool{false, true} {
				tx := c.begin(1, kv.TxnOptions{})
				c.get(tx, "a")
				for _, k := range keys {
					tx.Put([]byte(k), []byte("1"))
				}
				bound := c.clock.Now().Latest.Add(time.Second)
				tx.CommitBefore(bound)
				if late {
					time.Sleep(2 * time.Second)
				}
				ts, err := tx.Commit(ctx)
				if late != errors.Is(err, ErrTooLate) || (!late && (err != nil || ts >= bound)) {
					t.Errorf("%v late=%v: %s %v", keys, late, ts, err)
				}
			}
		}
	})
}

// TestRefusedCommitReleases: a commit that is refused after it has waited for the lock of its only write there, which no
// read had taken, leaves no lock behind, in the range that decides least of all.
func TestRefusedCommitReleases(t *testing.T) {
	for _, test := range []struct{ name, read string }{{"one range", ""}, {"two ranges", "a"}} {
		inCluster(t, 2, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
			c.put(1, "a", "1", "z", "1")
			holder := c.begin(1, kv.TxnOptions{})
			if _, err := holder.Get(ctx, []byte("z"), kv.LockExclusive, kv.WaitBlock); err != nil {
				t.Fatal(err)
			}
			tx := c.begin(2, kv.TxnOptions{})
			if test.read != "" {
				c.get(tx, test.read)
			}
			put(tx, "z")
			tx.CommitBefore(c.clock.Now().Latest.Add(time.Second))
			refused := make(chan error)
			go func() {
				_, err := tx.Commit(ctx)
				refused <- err
			}()
			time.Sleep(2 * time.Second)
			holder.Rollback(ctx)
			if err := <-refused; !errors.Is(err, ErrTooLate) {
				t.Fatalf("%s: %v", test.name, err)
			}
			began := time.Now()
			c.put(1, "z", "2")
			if d := time.Since(began); d > 100*time.Millisecond {
				t.Errorf("%s: the next writer waited %s", test.name, d)
			}
		})
	}
}

// TestRefusals: bad input gets its error and leaves the transaction usable.
func TestRefusals(t *testing.T) {
	inCluster(t, 1, nil, nil, func(ctx context.Context, c *testCluster) {
		tx := c.begin(1, kv.TxnOptions{})
		if err := tx.Put(make([]byte, kv.MaxKeySize+1), nil); !errors.Is(err, kv.ErrTooLarge) {
			t.Error(err)
		}
		if err := tx.Put([]byte("k"), make([]byte, kv.MaxValueSize+1)); !errors.Is(err, kv.ErrTooLarge) {
			t.Error(err)
		}
		for _, k := range []string{"", "\x00x", "\xffx"} {
			if err := tx.Put([]byte(k), nil); err == nil {
				t.Errorf("Put(%q) was taken", k)
			}
		}
		if err := tx.RollbackTo(ctx, kv.Savepoint{Seq: 99}); err == nil {
			t.Error("unknown savepoint")
		}
		if err := tx.Put([]byte("k"), []byte{}); err != nil {
			t.Error(err)
		}
		if v, err := tx.Get(ctx, []byte("k"), kv.LockNone, kv.WaitBlock); v == nil || err != nil {
			t.Error("an empty value reads as none", err)
		}
		if _, err := tx.Commit(ctx); err != nil {
			t.Error(err)
		}
		if v, err := c.begin(1, kv.TxnOptions{ReadOnly: true}).Get(ctx, []byte("k"), kv.LockNone, kv.WaitBlock); v == nil || err != nil {
			t.Error("an empty value reads as none", err)
		}
		if err := tx.Put([]byte("k"), nil); !errors.Is(err, ErrFinished) {
			t.Error(err)
		}
		ro := c.begin(1, kv.TxnOptions{ReadOnly: true})
		if err := errors.Join(ro.Put([]byte("k"), nil), ro.DeleteSpan(ctx, kv.Span{Start: []byte("a"), End: []byte("b")})); !errors.Is(err, kv.ErrReadOnly) {
			t.Error(err)
		}
		c.clock.fenced.Store(true)
		if _, err := c.nodes[1].db.Begin(ctx, kv.TxnOptions{}); !errors.Is(err, kv.ErrClock) {
			t.Error(err)
		}
		w := c.begin2(t)
		_ = w
	})
}

func (c *testCluster) begin2(t *testing.T) *Txn {
	c.clock.fenced.Store(false)
	tx := c.begin(1, kv.TxnOptions{})
	tx.Put([]byte("k"), []byte("v"))
	c.clock.fenced.Store(true)
	if _, err := tx.Commit(context.Background()); !errors.Is(err, kv.ErrClock) {
		t.Errorf("commit on a fenced node: %v", err)
	}
	return tx
}

// TestHeartbeats: locks live as long as their transaction, however slow, and die with its gateway.
func TestHeartbeats(t *testing.T) {
	inCluster(t, 2, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "a", "0", "z", "0")
		slow := c.begin(1, kv.TxnOptions{})
		dead := c.begin(2, kv.TxnOptions{})
		for _, k := range []string{"a", "z"} {
			if _, err := slow.Get(ctx, []byte(k), kv.LockShared, kv.WaitBlock); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := dead.Get(ctx, []byte("b"), kv.LockExclusive, kv.WaitBlock); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		// Its gateway forgets it, as if it had crashed.
		c.nodes[2].db.active.Lock()
		delete(c.nodes[2].db.active.txns, dead)
		c.nodes[2].db.active.Unlock()
		began := time.Now()
		younger := c.begin(1, kv.TxnOptions{})
		if _, err := younger.Get(ctx, []byte("b"), kv.LockExclusive, kv.WaitBlock); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < 2*time.Second || d > 10*time.Second {
			t.Errorf("an abandoned lock was freed after %s", d)
		}
		younger.Rollback(ctx)
		slow.Put([]byte("a"), []byte("1"))
		slow.Put([]byte("z"), []byte("1"))
		if _, err := slow.Commit(ctx); err != nil {
			t.Errorf("a slow transaction: %v", err)
		}
		dead.Put([]byte("b"), []byte("x"))
		if _, err := dead.Commit(ctx); !errors.Is(err, kv.ErrRetry) {
			t.Errorf("an expired transaction commits: %v", err)
		}
	})
}

// TestHeartbeatsFollow: locks stay alive where a split and a lease transfer have taken them, though their gateway
// has not talked to the ranges since.
func TestHeartbeatsFollow(t *testing.T) {
	inCluster(t, 3, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "n", "0", "z", "0")
		tx := c.begin(1, kv.TxnOptions{})
		for _, k := range []string{"n", "z"} {
			if _, err := tx.Get(ctx, []byte(k), kv.LockExclusive, kv.WaitBlock); err != nil {
				t.Fatal(err)
			}
		}
		if !c.split("t") {
			t.Fatal("no split")
		}
		c.transfer("n", 2, true)
		c.transfer("z", 3, true)
		time.Sleep(time.Minute)
		tx.Put([]byte("n"), []byte("1"))
		tx.Put([]byte("z"), []byte("1"))
		if _, err := tx.Commit(ctx); err != nil {
			t.Error(err)
		}
		if got := c.all(2); got != "n=1 z=1" {
			t.Error(got)
		}
	})
}

// TestMeta: routes come from the meta range, later generations win there and in the cache, and a wrong cache
// costs a detour only.
func TestMeta(t *testing.T) {
	inCluster(t, 2, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "a", "1", "z", "1")
		before := c.rangeOf("z").desc.Load()
		if !c.split("t") {
			t.Fatal("no split")
		}
		// An old descriptor arrives late: it must not undo the new ones.
		if err := c.nodes[1].db.UpdateMeta(ctx, nil, []*ranges.Descriptor{before}); err != nil {
			t.Fatal(err)
		}
		for n, node := range c.nodes {
			for _, k := range []string{"a", "n", "z"} {
				node.db.Forget([]byte(k))
			}
			if got := c.all(n); got != "a=1 z=1" {
				t.Errorf("%s: %s", n, got)
			}
			d, err := node.db.Lookup(ctx, []byte("z"))
			if err != nil || d.ID != c.rangeOf("z").id {
				t.Errorf("%s: %v %v", n, d, err)
			}
		}
		r := c.begin(1, kv.TxnOptions{ReadOnly: true})
		if got := c.dump(r, "a", "zz", kv.ScanOptions{Reverse: true}); got != "z=1 a=1" {
			t.Error(got)
		}
	})
}

// TestCloseEndsCommits: a commit that waits for a range which does not answer ends when its gateway closes.
func TestCloseEndsCommits(t *testing.T) {
	inCluster(t, 2, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "a", "0")
		time.Sleep(time.Second)
		c.transfer("a", 2, true)
		c.inject(func(from, to ranges.NodeID, req *txnpb.BatchRequest) fault {
			if from != to && req.Kind == txnpb.Kind_COMMIT_ONE {
				return dropAfter
			}
			if from != to {
				return dropBefore
			}
			return deliver
		})
		tx := c.begin(1, kv.TxnOptions{})
		tx.Put([]byte("a"), []byte("1"))
		began := time.Now()
		done := make(chan error)
		go func() {
			_, err := tx.Commit(ctx)
			done <- err
		}()
		time.Sleep(time.Second)
		c.nodes[1].db.Close()
		err := <-done
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("ended %s after it began", d)
		}
		if !errors.Is(err, kv.ErrAmbiguous) && !errors.Is(err, kv.ErrUnavailable) {
			t.Error(err)
		}
		c.inject(nil)
	})
}

// TestRangesTouched: the statistics count the ranges of reads without locks as well, each once.
func TestRangesTouched(t *testing.T) {
	inCluster(t, 2, nil, []string{"f", "m", "t"}, func(ctx context.Context, c *testCluster) {
		c.put(1, "a", "1", "g", "2", "n", "3", "z", "4")
		for name, opts := range map[string]kv.TxnOptions{"read only": {ReadOnly: true}, "locking": {}} {
			tx := c.begin(1, opts)
			for _, want := range []struct {
				key    string
				ranges int
			}{{"a", 1}, {"b", 1}, {"g", 2}, {"n", 3}, {"a", 3}} {
				c.get(tx, want.key)
				if got := tx.Stats().Ranges; got != want.ranges {
					t.Errorf("%s: %d ranges after a read of %s, want %d", name, got, want.key, want.ranges)
				}
			}
			if c.dump(tx, "a", "zz", kv.ScanOptions{}); tx.Stats().Ranges != 4 {
				t.Errorf("%s: %d ranges after a scan of all four", name, tx.Stats().Ranges)
			}
			tx.Rollback(ctx)
		}
	})
}

// TestGatewayCutOff: the transactions of a gateway wait behind each other for one key when it is cut off, and nobody
// notices that their requests have no one to answer to. Another gateway gets the key after one silence, not one for each.
func TestGatewayCutOff(t *testing.T) {
	inCluster(t, 3, nil, []string{"k"}, func(ctx context.Context, c *testCluster) {
		key := []byte("k")
		const other, cut, leader = 1, 2, 3 // the first leads the meta range
		if c.rangeOf("k").leader.Load() != leader {
			t.Fatal("another node leads the range")
		}
		holder := c.begin(cut, kv.TxnOptions{})
		if _, err := holder.Get(ctx, key, kv.LockExclusive, kv.WaitBlock); err != nil {
			t.Fatal(err)
		}
		var isCut atomic.Bool
		c.inject(func(from, to ranges.NodeID, req *txnpb.BatchRequest) fault {
			switch {
			case from == to || from != cut && to != cut:
				return deliver
			case isCut.Load():
				return dropBefore
			case req.Kind == txnpb.Kind_READ:
				return dropAfter // it is answered when its gateway has been cut off
			}
			return deliver
		})
		var wg sync.WaitGroup
		gone, leave := context.WithCancel(ctx)
		for range 5 {
			tx := c.begin(cut, kv.TxnOptions{})
			wg.Go(func() {
				if _, err := tx.Get(gone, key, kv.LockExclusive, kv.WaitBlock); err == nil {
					t.Error("a gateway that is cut off gets an answer")
				}
			})
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		isCut.Store(true)
		began := time.Now()
		tx := c.begin(other, kv.TxnOptions{})
		if _, err := tx.Get(ctx, key, kv.LockExclusive, kv.WaitBlock); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < 2*time.Second || d > 6*time.Second {
			t.Errorf("the lock of a gateway that is cut off was had after %s", d)
		}
		if _, err := tx.Commit(ctx); err != nil {
			t.Error(err)
		}
		leave()
		wg.Wait()
	})
}

// TestLongWait: a transaction whose first request in a range waits there for far longer than a silence is kept by its
// gateway, whatever the request: a read, a commit in one range or in several, a staged piece.
func TestLongWait(t *testing.T) {
	inCluster(t, 3, nil, []string{"m"}, func(ctx context.Context, c *testCluster) {
		for _, tc := range []struct {
			name string
			run  func(tx *Txn) error
		}{
			{"read", func(tx *Txn) error {
				_, err := tx.Get(ctx, []byte("a"), kv.LockShared, kv.WaitBlock)
				return err
			}},
			{"batch", func(tx *Txn) error {
				_, _, err := tx.GetBatch(ctx, [][]byte{[]byte("a"), []byte("b")}, kv.LockShared, kv.WaitBlock)
				return err
			}},
			{"scan", func(tx *Txn) error {
				s, err := tx.Scan(ctx, kv.Span{Start: []byte("a"), End: []byte("b")}, kv.ScanOptions{Lock: kv.LockShared})
				if err != nil {
					return err
				}
				defer s.Close()
				for s.Next(ctx) {
				}
				return s.Err()
			}},
			{"lock span", func(tx *Txn) error {
				return tx.LockSpan(ctx, kv.Span{Start: []byte("a"), End: []byte("b")}, kv.LockShared, kv.WaitBlock)
			}},
			{"delete span", func(tx *Txn) error { return tx.DeleteSpan(ctx, kv.Span{Start: []byte("a"), End: []byte("b")}) }},
			{"one range", func(tx *Txn) error { return tx.Put([]byte("a"), []byte("1")) }},
			{"two ranges", func(tx *Txn) error {
				return errors.Join(tx.Put([]byte("a"), []byte("1")), tx.Put([]byte("z"), []byte("1")))
			}},
		} {
			holder := c.begin(1, kv.TxnOptions{})
			for _, k := range []string{"a", "z"} {
				if _, err := holder.Get(ctx, []byte(k), kv.LockExclusive, kv.WaitBlock); err != nil {
					t.Fatal(err)
				}
			}
			tx := c.begin(3, kv.TxnOptions{})
			done := make(chan error, 1)
			go func() {
				err := tc.run(tx)
				if err == nil {
					_, err = tx.Commit(ctx)
				}
				tx.Rollback(ctx)
				done <- err
			}()
			time.Sleep(20 * time.Second)
			synctest.Wait()
			holder.Rollback(ctx)
			if err := <-done; err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
		}
	})
}

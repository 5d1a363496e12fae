package history

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// Workload configures the Run functions. A zero field takes the default named in its comment.
type Workload struct {
	DBs     []kv.DB // Required: client i uses gateway i mod len(DBs).
	Clients int     // Default 6.
	Txns    int     // Transactions of each client, retries not counted. Default 50.
	Keys    int     // Lists, or accounts. Default 8.
	MaxOps  int     // Most operations of a list-append transaction. Default 4.
	Prefix  string  // Of all keys; user key space. Default "\x03history/".
	Seed    uint64
	// Now is the clock of the history. Default time.Now.
	Now func() time.Time
	// Timeout bounds one attempt. Default 30s.
	Timeout time.Duration
	// Pause is called between the operations of a transaction: a place to hand over to other clients or
	// to let virtual time pass. Default: nothing.
	Pause func(r *rand.Rand)
	// Snapshot has read-only transactions use this staleness in one of three cases. Default: always strong.
	Stale *kv.Staleness
}

func (w *Workload) fill() {
	w.Clients = cmp.Or(w.Clients, 6)
	w.Txns = cmp.Or(w.Txns, 50)
	w.Keys = cmp.Or(w.Keys, 8)
	w.MaxOps = cmp.Or(w.MaxOps, 4)
	w.Prefix = cmp.Or(w.Prefix, "\x03history/")
	w.Timeout = cmp.Or(w.Timeout, 30*time.Second)
	if w.Now == nil {
		w.Now = time.Now
	}
	if w.Pause == nil {
		w.Pause = func(*rand.Rand) {}
	}
}

func (w *Workload) key(i int) []byte { return fmt.Appendf(nil, "%s%04d", w.Prefix, i) }

// clients runs fn for each client and waits.
func (w *Workload) clients(fn func(i int, db kv.DB, r *rand.Rand)) {
	var wg sync.WaitGroup
	for i := range w.Clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			fn(i, w.DBs[i%len(w.DBs)], rand.New(rand.NewPCG(w.Seed, uint64(i))))
		}()
	}
	wg.Wait()
}

func encodeList(l []int64) []byte {
	var b []byte
	for _, v := range l {
		b = binary.AppendVarint(b, v)
	}
	return b
}

func decodeList(b []byte) ([]int64, error) {
	var l []int64
	for len(b) > 0 {
		v, n := binary.Varint(b)
		if n <= 0 {
			return nil, errors.New("history: malformed list")
		}
		l, b = append(l, v), b[n:]
	}
	return l, nil
}

// attempt is one try at a transaction.
type attempt struct {
	w   *Workload
	rec *Recorder
	t   *Txn
	tx  kv.Txn
	r   *rand.Rand
}

// RunListAppend runs the list-append workload until every client is through or ctx ends, and returns what the
// clients saw. It ends with one strong read of all lists, so that an acknowledged append that got lost shows.
func RunListAppend(ctx context.Context, w Workload) History {
	w.fill()
	rec := NewRecorder(w.Now)
	var values atomic.Int64
	w.clients(func(i int, db kv.DB, r *rand.Rand) {
		name := fmt.Sprint("c", i)
		for n := 0; n < w.Txns && ctx.Err() == nil; n++ {
			var age truetime.Timestamp
			readOnly := r.IntN(4) == 0
			for try := 0; ctx.Err() == nil; try++ {
				opts := kv.TxnOptions{Age: age, ReadOnly: readOnly}
				if readOnly && w.Stale != nil && r.IntN(3) == 0 {
					opts.Staleness = *w.Stale
				}
				again := w.listAppend(ctx, db, rec, name, opts, r, &values, &age)
				if !again || try == 100 {
					break
				}
				w.Pause(r)
			}
		}
	})
	// The last word: without faults by now, as a rule; if it fails the history is checked without it.
	w.listRead(ctx, w.DBs[0], rec)
	return rec.History()
}

func (w *Workload) listAppend(ctx context.Context, db kv.DB, rec *Recorder, name string, opts kv.TxnOptions, r *rand.Rand, values *atomic.Int64, age *truetime.Timestamp) (again bool) {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	t := rec.Begin(name)
	tx, err := db.Begin(ctx, opts)
	if err != nil {
		rec.End(t, Aborted)
		return false
	}
	defer tx.Rollback(ctx)
	*age = tx.Age()
	t.Stale = opts.Staleness.Kind != kv.Strong
	a := attempt{w: w, rec: rec, t: t, tx: tx, r: r}
	for n := 1 + r.IntN(w.MaxOps); n > 0; n-- {
		key := w.key(r.IntN(w.Keys))
		if !opts.ReadOnly && r.IntN(2) == 0 {
			err = a.append(ctx, key, values.Add(1))
		} else {
			err = a.read(ctx, key)
		}
		if err != nil {
			rec.End(t, Aborted)
			return errors.Is(err, kv.ErrRetry)
		}
		w.Pause(r)
	}
	return a.commit(ctx, opts)
}

func (w *Workload) listRead(ctx context.Context, db kv.DB, rec *Recorder) {
	t := rec.Begin("final")
	tx, err := db.Begin(ctx, kv.TxnOptions{ReadOnly: true})
	if err != nil {
		rec.End(t, Aborted)
		return
	}
	defer tx.Rollback(ctx)
	a := attempt{w: w, rec: rec, t: t, tx: tx}
	for i := range w.Keys {
		if err := a.read(ctx, w.key(i)); err != nil {
			rec.End(t, Aborted)
			return
		}
	}
	a.commit(ctx, kv.TxnOptions{ReadOnly: true})
}

func (a *attempt) read(ctx context.Context, key []byte) error {
	lock := kv.LockShared
	v, err := a.tx.Get(ctx, key, lock, kv.WaitBlock)
	if err != nil {
		return err
	}
	l, err := decodeList(v)
	if err != nil {
		return err
	}
	a.t.Ops = append(a.t.Ops, Op{Key: string(key[len(a.w.Prefix):]), List: l})
	return nil
}

func (a *attempt) append(ctx context.Context, key []byte, value int64) error {
	lock := kv.LockExclusive
	if a.r.IntN(2) == 0 {
		lock = kv.LockShared // and an upgrade at commit
	}
	v, err := a.tx.Get(ctx, key, lock, kv.WaitBlock)
	if err != nil {
		return err
	}
	l, err := decodeList(v)
	if err != nil {
		return err
	}
	a.t.Ops = append(a.t.Ops, Op{Key: string(key[len(a.w.Prefix):]), Append: true, Value: value})
	return a.tx.Put(key, encodeList(append(l, value)))
}

func (a *attempt) commit(ctx context.Context, opts kv.TxnOptions) (again bool) {
	ts, err := a.tx.Commit(ctx)
	switch {
	case err == nil:
		if opts.ReadOnly {
			a.t.ReadTS = a.tx.ReadTimestamp()
		} else if a.t.writes() {
			a.t.CommitTS = ts
		}
		a.rec.End(a.t, Committed)
	case errors.Is(err, kv.ErrRetry), errors.Is(err, kv.ErrWriteConflict):
		a.rec.End(a.t, Aborted)
		return true
	default:
		a.rec.End(a.t, Unknown)
	}
	return false
}

// RunBank runs transfers between accounts of 100 each, and reads of all of them, and returns what was seen. An
// error means that the accounts could not be made.
func RunBank(ctx context.Context, w Workload) (*Bank, error) {
	w.fill()
	const initial = 100
	b := &Bank{Initial: map[string]int64{}}
	tx, err := w.DBs[0].Begin(ctx, kv.TxnOptions{})
	if err != nil {
		return nil, err
	}
	for i := range w.Keys {
		b.Initial[string(w.key(i)[len(w.Prefix):])] = initial
		if err := tx.Put(w.key(i), binary.AppendVarint(nil, initial)); err != nil {
			tx.Rollback(ctx)
			return nil, err
		}
	}
	if b.Since, err = tx.Commit(ctx); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	ids := 0
	w.clients(func(i int, db kv.DB, r *rand.Rand) {
		for n := 0; n < w.Txns && ctx.Err() == nil; n++ {
			mu.Lock()
			ids++
			id := ids
			mu.Unlock()
			if r.IntN(3) == 0 {
				if read, ok := w.bankRead(ctx, db, r, id); ok {
					mu.Lock()
					b.Reads = append(b.Reads, read)
					mu.Unlock()
				}
				continue
			}
			from := r.IntN(w.Keys)
			to := (from + 1 + r.IntN(w.Keys-1)) % w.Keys
			var age truetime.Timestamp
			for try := 0; try < 100 && ctx.Err() == nil; try++ {
				t := Transfer{ID: id, From: string(w.key(from)[len(w.Prefix):]), To: string(w.key(to)[len(w.Prefix):]), Amount: int64(1 + r.IntN(9))}
				w.bankTransfer(ctx, db, r, &t, w.key(from), w.key(to), &age)
				if t.Outcome == Aborted {
					w.Pause(r)
					continue
				}
				mu.Lock()
				b.Transfers = append(b.Transfers, t)
				mu.Unlock()
				break
			}
		}
	})
	if read, ok := w.bankRead(ctx, w.DBs[0], nil, ids+1); ok {
		b.Reads = append(b.Reads, read)
	}
	return b, nil
}

func (w *Workload) bankTransfer(ctx context.Context, db kv.DB, r *rand.Rand, t *Transfer, from, to []byte, age *truetime.Timestamp) {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	t.Start, t.Outcome = w.Now(), Aborted
	tx, err := db.Begin(ctx, kv.TxnOptions{Age: *age})
	if err != nil {
		return
	}
	defer tx.Rollback(ctx)
	*age = tx.Age()
	lock := kv.LockMode(1 + r.IntN(2))
	for i, key := range [2][]byte{from, to} {
		v, err := tx.Get(ctx, key, lock, kv.WaitBlock)
		if err != nil {
			return
		}
		n, size := binary.Varint(v)
		if size <= 0 {
			return
		}
		w.Pause(r)
		if i == 0 {
			n -= t.Amount
		} else {
			n += t.Amount
		}
		if err := tx.Put(key, binary.AppendVarint(nil, n)); err != nil {
			return
		}
	}
	ts, err := tx.Commit(ctx)
	switch {
	case err == nil:
		t.Outcome, t.CommitTS, t.End = Committed, ts, w.Now()
	case !errors.Is(err, kv.ErrRetry):
		t.Outcome = Unknown
	}
}

func (w *Workload) bankRead(ctx context.Context, db kv.DB, r *rand.Rand, id int) (Balances, bool) {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	read := Balances{ID: id, Start: w.Now(), Values: map[string]int64{}}
	opts := kv.TxnOptions{ReadOnly: true}
	if r != nil && w.Stale != nil && r.IntN(3) == 0 {
		opts.Staleness, read.Stale = *w.Stale, true
	}
	tx, err := db.Begin(ctx, opts)
	if err != nil {
		return read, false
	}
	defer tx.Rollback(ctx)
	s, err := tx.Scan(ctx, kv.Span{Start: []byte(w.Prefix), End: append([]byte(w.Prefix), 0xff)}, kv.ScanOptions{Reverse: r != nil && r.IntN(2) == 0})
	if err != nil {
		return read, false
	}
	defer s.Close()
	for s.Next(ctx) {
		v, n := binary.Varint(s.Pair().Value)
		if n <= 0 {
			return read, false
		}
		read.Values[string(s.Pair().Key[len(w.Prefix):])] = v
		if r != nil {
			w.Pause(r)
		}
	}
	if s.Err() != nil {
		return read, false
	}
	read.ReadTS, read.End = tx.ReadTimestamp(), w.Now()
	return read, true
}

package catalog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv"
)

// Sequences hands out the values of sequences. A value is drawn by a transaction of its own, so that it is
// never given back and transactions do not wait for one another.
//
// Draws in quick succession take several values at once, twice as many each time, and keep the rest: a
// statement that inserts many rows would otherwise commit once for each. Kept values are used without asking
// for freshTime; after that only if the stored state shows that nobody has drawn or set the sequence since. So
// on one node the values have no gaps, and SetVal on another node is obeyed within freshTime.
//
// It is safe for concurrent use.
type Sequences struct {
	db  kv.DB
	now func() time.Time

	mu   sync.Mutex
	kept map[uint32]*keptValues // by Sequence.State
}

// NewSequences returns the sequences of a database. now is the clock that freshTime is measured by.
func NewSequences(db kv.DB, now func() time.Time) *Sequences {
	return &Sequences{db: db, now: now, kept: map[uint32]*keptValues{}}
}

const (
	freshTime = 100 * time.Millisecond
	maxDraw   = 4096
	// maxKept bounds the sequences for which values are kept.
	maxKept = 10000
)

// keptValues are values that were drawn and not used.
type keptValues struct {
	turn    chan struct{} // holds one when nobody uses them; a mutex would keep those who wait from being cancelled
	left    int64         // how many
	next    int64         // the first of them
	end     int64         // the stored last value that goes with them
	drawn   int64         // how many were drawn the last time
	checked time.Time
}

// seqState is what is stored: the last value, and whether it has been used.
type seqState struct {
	last   int64
	called bool
}

func (s *seqState) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(s.last))
	if s.called {
		return append(b, 1)
	}
	return append(b, 0)
}

// read returns a sequence's stored state, that of a new sequence if there is none.
func (q *Sequences) read(ctx context.Context, tx kv.Txn, def *Sequence, lock kv.LockMode) (seqState, error) {
	b, err := tx.Get(ctx, SequenceKey(def.State), lock, kv.WaitBlock)
	if err != nil {
		return seqState{}, err
	}
	if b == nil {
		return seqState{last: def.Restart}, nil
	}
	if len(b) != 9 {
		return seqState{}, fmt.Errorf("catalog: malformed state of sequence %d", def.State)
	}
	return seqState{int64(binary.BigEndian.Uint64(b)), b[8] != 0}, nil
}

// run runs f in transactions until one commits.
func (q *Sequences) run(ctx context.Context, f func(tx kv.Txn) error) error {
	for attempt := 0; ; attempt++ {
		err := q.once(ctx, f)
		if err == nil || attempt >= 100 || !errors.Is(err, kv.ErrRetry) && !errors.Is(err, kv.ErrWriteConflict) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (q *Sequences) once(ctx context.Context, f func(tx kv.Txn) error) error {
	tx, err := q.db.Begin(ctx, kv.TxnOptions{Name: "sequence"})
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	if err := f(tx); err != nil {
		return err
	}
	_, err = tx.Commit(ctx)
	return err
}

func (q *Sequences) keep(state uint32) *keptValues {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := q.kept[state]
	if k == nil {
		if len(q.kept) >= maxKept {
			clear(q.kept) // the next draws find the stored state ahead: a gap, which is allowed
		}
		k = &keptValues{turn: make(chan struct{}, 1)}
		k.unlock()
		q.kept[state] = k
	}
	return k
}

// lock waits for the values. Its error is ctx's.
func (k *keptValues) lock(ctx context.Context) error {
	select {
	case <-k.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (k *keptValues) unlock() { k.turn <- struct{}{} }

// NextVal draws a value of the sequence t.
func (q *Sequences) NextVal(ctx context.Context, t *Table) (int64, error) {
	def := t.Sequence
	k := q.keep(def.State)
	if err := k.lock(ctx); err != nil {
		return 0, err
	}
	defer k.unlock()
	now := q.now()
	fresh := now.Sub(k.checked) < freshTime
	if k.left > 0 && fresh {
		return k.take(def), nil
	}
	want := int64(1)
	if fresh {
		want = min(2*max(k.drawn, 1), maxDraw)
	}
	want = max(want, def.Cache)
	var st seqState
	var got int64
	reuse := false
	err := q.run(ctx, func(tx kv.Txn) error {
		var err error
		if st, err = q.read(ctx, tx, def, kv.LockExclusive); err != nil {
			return err
		}
		if reuse = k.left > 0 && st.called && st.last == k.end; reuse {
			return nil
		}
		first, n, err := def.advance(t.Name, st, want)
		if err != nil {
			return err
		}
		k.next, got = first, n
		st = seqState{first + (n-1)*def.Increment, true}
		return tx.Put(SequenceKey(def.State), st.encode())
	})
	if err != nil {
		return 0, err
	}
	if !reuse {
		k.left, k.drawn, k.end = got, got, st.last
	}
	k.checked = now
	return k.take(def), nil
}

func (k *keptValues) take(def *Sequence) int64 {
	v := k.next
	k.next += def.Increment
	k.left--
	return v
}

// advance returns the next value and how many of want values in a row there are from it without reaching the
// limit.
func (def *Sequence) advance(name string, st seqState, want int64) (first, n int64, err error) {
	first = st.last
	if st.called {
		switch {
		case def.Increment > 0 && (st.last > def.Max-def.Increment || def.Max < st.last):
			if !def.Cycle {
				return 0, 0, pgerr.New(pgerr.SequenceGeneratorLimitExceeded, "nextval: reached maximum value of sequence %q (%d)", name, def.Max)
			}
			first = def.Min
		case def.Increment < 0 && (st.last < def.Min-def.Increment || def.Min > st.last):
			if !def.Cycle {
				return 0, 0, pgerr.New(pgerr.SequenceGeneratorLimitExceeded, "nextval: reached minimum value of sequence %q (%d)", name, def.Min)
			}
			first = def.Max
		default:
			first = st.last + def.Increment
		}
	}
	// The distance to the limit, unsigned: it may be more than half of the numbers.
	var room uint64
	step := uint64(def.Increment)
	if def.Increment > 0 {
		room = uint64(def.Max) - uint64(first)
	} else {
		room = uint64(first) - uint64(def.Min)
		step = -step
	}
	n = want
	if most := room / step; most < uint64(want) {
		n = int64(most) + 1
	}
	return first, min(n, want), nil
}

// SetVal sets the sequence's last value; called says whether it counts as used.
func (q *Sequences) SetVal(ctx context.Context, t *Table, v int64, called bool) error {
	def := t.Sequence
	if v < def.Min || v > def.Max {
		return pgerr.New(pgerr.NumericValueOutOfRange, "setval: value %d is out of bounds for sequence %q (%d..%d)", v, t.Name, def.Min, def.Max)
	}
	k := q.keep(def.State)
	if err := k.lock(ctx); err != nil {
		return err
	}
	defer k.unlock()
	err := q.run(ctx, func(tx kv.Txn) error {
		st := seqState{v, called}
		return tx.Put(SequenceKey(def.State), st.encode())
	})
	k.left, k.drawn = 0, 0
	return err
}

// Last returns the last value drawn, as seen from this node, and whether it has been used.
func (q *Sequences) Last(ctx context.Context, t *Table) (int64, bool, error) {
	def := t.Sequence
	k := q.keep(def.State)
	if err := k.lock(ctx); err != nil {
		return 0, false, err
	}
	defer k.unlock()
	var st seqState
	err := q.run(ctx, func(tx kv.Txn) error {
		var err error
		st, err = q.read(ctx, tx, def, kv.LockShared)
		return err
	})
	if err == nil && k.left > 0 && st.called && st.last == k.end {
		return k.next - def.Increment, true, nil
	}
	return st.last, st.called, err
}

// SequenceSession is what a session remembers for currval and lastval. It belongs to the session's goroutine.
type SequenceSession struct {
	last   map[uint32]int64 // by the sequence's id
	lastID uint32
}

// Drawn notes a value that nextval returned or setval set.
func (s *SequenceSession) Drawn(id uint32, v int64, next bool) {
	if s.last == nil {
		s.last = map[uint32]int64{}
	}
	s.last[id] = v
	if next {
		s.lastID = id
	}
}

// CurrVal returns the last value drawn in the session.
func (s *SequenceSession) CurrVal(id uint32) (int64, bool) {
	v, ok := s.last[id]
	return v, ok
}

// LastVal returns the last value that nextval returned in the session, and its sequence.
func (s *SequenceSession) LastVal() (id uint32, v int64, ok bool) {
	v, ok = s.last[s.lastID]
	return s.lastID, v, ok
}

// Reset forgets everything (DISCARD SEQUENCES).
func (s *SequenceSession) Reset() { *s = SequenceSession{} }

package locktable

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/RaduBerinde/btreemap"

	"github.com/meridian-db/meridian/truetime"
)

// TxnID names a transaction attempt. A retry takes a fresh one and keeps its age.
type TxnID [16]byte

// Mode is the strength of a lock.
type Mode uint8

const (
	Shared    Mode = 1
	Exclusive Mode = 2
)

func (m Mode) String() string {
	if m == Exclusive {
		return "exclusive"
	}
	return "shared"
}

// Policy says what Acquire does with a conflict.
type Policy uint8

const (
	// Block queues. Press then wounds younger holders.
	Block Policy = iota
	// Try fails with ErrWouldBlock and changes nothing.
	Try
)

// Errors of transactions and requests.
var (
	// ErrWounded: an older transaction took a lock that this one held. It holds nothing any more.
	ErrWounded = errors.New("locktable: wounded by an older transaction")
	// ErrLockLost: the entry that the token names does not exist (I9).
	ErrLockLost = errors.New("locktable: locks lost")
	// ErrExpired: nothing was heard of the transaction for too long; its locks were released.
	ErrExpired = errors.New("locktable: transaction expired")
	// ErrWouldBlock answers Try.
	ErrWouldBlock = errors.New("locktable: lock not available")
	// ErrMoved: the key has left the table by a split while the request waited.
	ErrMoved = errors.New("locktable: key moved to another range")
	// ErrClosed: the table has been closed, its leader lost the lease or is handing it over.
	ErrClosed = errors.New("locktable: closed")
	// ErrCanceled answers a request that Cancel removed.
	ErrCanceled = errors.New("locktable: request canceled")
)

// State is a transaction's state as far as locks are concerned.
type State uint8

const (
	// Active transactions acquire locks and may be wounded.
	Active State = iota
	// Committing transactions have begun to log their commit; the outcome comes by itself.
	Committing
	// Prepared transactions wait for their coordinator's decision.
	Prepared
	// Aborted transactions hold nothing; the entry remembers why until Release or a few sweeps later.
	Aborted
	// Done transactions have been released.
	Done
)

func (s State) String() string {
	return [...]string{"active", "committing", "prepared", "aborted", "done"}[s]
}

// Txn is a transaction's entry in one table. Fields without a comment belong to the table.
type Txn struct {
	ID      TxnID
	Age     int64
	Gateway int32
	Token   int64   // unique for the entry over the history of the range
	others  []int64 // the tokens of entries that were joined to this one

	// Payload belongs to the user of the table.
	Payload any

	state  atomic.Uint32
	err    error              // why, when Aborted; guarded by Table.mu
	ts     truetime.Timestamp // Committing, Prepared: lower bound of the commit timestamp
	points []held
	spans  []*span
	queue  []*Request // requests that wait
	seen   int64      // sweep at which its gateway was last heard of
	change chan struct{}

	pointsBuf [4]held
}

type held struct {
	p    *point
	mode Mode
}

// State returns the current state. Safe for concurrent use; reading it after data was read under a lock
// tells whether the lock was still held.
func (x *Txn) State() State { return State(x.state.Load()) }

// older reports whether x has priority over y.
func (x *Txn) older(y *Txn) bool {
	if c := cmp.Compare(x.Age, y.Age); c != 0 {
		return c < 0
	}
	return bytes.Compare(x.ID[:], y.ID[:]) < 0
}

// point is a locked or awaited key. It exists while it has holders or waiters.
type point struct {
	key     []byte
	excl    *Txn   // the exclusive holder
	shared  []*Txn // the shared holders; excl may be among them after an upgrade
	waiters []*Request
}

// span is a lock held on start <= key < end.
type span struct {
	start, end []byte
	mode       Mode
	txn        *Txn
}

// freed is a point (end nil) or span whose waiters are to be looked at again.
type freed struct{ start, end []byte }

// Request is an acquisition that waits. Done is closed when it has been granted or has failed.
type Request struct {
	txn        *Txn
	start, end []byte // end nil: the point start
	mode       Mode
	seq        uint64
	done       chan struct{}
	err        error
	finished   bool
	pressed    bool // has waited long enough to wound
}

// Done is closed once the request is granted or has failed.
func (r *Request) Done() <-chan struct{} { return r.done }

// Txn returns the transaction whose request it is.
func (r *Request) Txn() *Txn { return r.txn }

// Err returns nil if the request was granted. Valid after Done.
func (r *Request) Err() error { return r.err }

// Stats are counters over the life of a table.
type Stats struct {
	Waits, Wounds, Expired, Deadlocks uint64 // Wounds includes Deadlocks
}

// Table is the lock table of one range. Use New.
type Table struct {
	mu     sync.Mutex
	closed bool
	txns   map[TxnID]*Txn
	points *btreemap.BTreeMap[[]byte, *point]
	spans  []*span // held, ordered by start
	// spanWaiters are the requests on spans that wait, in order of age.
	spanWaiters []*Request
	seq         uint64
	token       int64
	sweep       int64
	// broken holds, for gateways whose connection was lost, the sweep when that was last.
	broken  map[int32]int64
	free    []*point
	stats   Stats
	scratch []*Txn
	// pending are the keys and spans freed by the call in progress; settle looks at who waits for them
	// once the caller's own request has been granted or queued, so that a wounded transaction's lock
	// goes to the one that wounded it.
	pending []freed
	onWound func(victim, by *Txn)

	// unsettled counts the transactions that are Committing or Prepared. Snapshot readers skip the
	// table while it is zero.
	unsettled atomic.Int64
}

// New returns an empty table. Tokens are counted up from firstToken, which must be above every token
// ever issued for keys of this range. onWound, which may be nil, is told of every wounded or expired
// (by == nil) transaction; it is called under the table's mutex and must not call back.
func New(firstToken int64, onWound func(victim, by *Txn)) *Table {
	if onWound == nil {
		onWound = func(_, _ *Txn) {}
	}
	return &Table{
		txns:    make(map[TxnID]*Txn),
		points:  btreemap.New[[]byte, *point](16, bytes.Compare),
		token:   firstToken,
		onWound: onWound,
	}
}

// Begin returns the entry of transaction id, whose gateway it counts as heard of: a request has come. With token 0 the
// entry is made if need be; otherwise it must exist with that token, or the answer is ErrLockLost. An aborted
// entry answers its reason. absorbed are further tokens that the entry must answer to: those of ranges that this one
// has absorbed.
//
// The entry may expire while the request is served or waits: only its gateway keeps it, by Touch. Were the end of a wait
// a sign of life, each of the transactions that wait behind each other would keep its lock for a silence of its own, one
// after the other, when their gateway has long been cut off.
func (t *Table) Begin(id TxnID, age int64, gateway int32, token int64, absorbed ...int64) (*Txn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	x := t.txns[id]
	if x == nil {
		if token != 0 || len(absorbed) > 0 {
			return nil, ErrLockLost
		}
		t.token++
		x = &Txn{ID: id, Age: age, Gateway: gateway, Token: t.token}
		x.points = x.pointsBuf[:0]
		t.txns[id] = x
	} else {
		if x.State() == Aborted {
			return nil, x.err
		}
		if token != 0 && !x.answersTo(token) {
			return nil, ErrLockLost
		}
	}
	for _, token := range absorbed {
		if !x.answersTo(token) {
			return nil, ErrLockLost
		}
	}
	x.seen = t.sweep
	return x, nil
}

// Lookup returns the entry of id, or nil.
func (t *Table) Lookup(id TxnID) *Txn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.txns[id]
}

// Touch notes that the transactions' gateway is alive.
func (t *Table) Touch(ids []TxnID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range ids {
		if x := t.txns[ids[i]]; x != nil {
			x.seen = t.sweep
		}
	}
}

// Acquire takes a lock on the point start, or on the span from start to end when end is not nil. A nil
// Request and nil error mean that it is held now. Under Block a Request means that it waits: the caller
// waits for Done, and calls Cancel if it gives up. The slices are copied.
//
// A transaction's own locks never conflict; one that already covers the request is enough.
func (t *Table) Acquire(x *Txn, start, end []byte, mode Mode, policy Policy) (*Request, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.settle()
	if t.closed {
		return nil, ErrClosed
	}
	if err := t.usable(x); err != nil {
		return nil, err
	}
	if end == nil {
		return t.acquirePoint(x, start, mode, policy)
	}
	return t.acquireSpan(x, start, end, mode, policy)
}

func (t *Table) usable(x *Txn) error {
	switch x.State() {
	case Active:
		return nil
	case Aborted:
		return x.err
	default:
		return ErrLockLost
	}
}

// Cancel withdraws a waiting request. If it was granted meanwhile the lock stays held and the answer is
// its error, nil.
func (t *Table) Cancel(r *Request) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.settle()
	if r.finished {
		return r.err
	}
	t.dequeue(r)
	t.finish(r, ErrCanceled)
	t.freeSpan(r.start, r.end)
	return ErrCanceled
}

// Lock states of commit.

// BeginCommit makes x committing or prepared: from now on it cannot be wounded. It fails with the reason
// when x has been aborted. Snapshot readers at ts or above wait for its exclusive locks from now on.
func (t *Table) BeginCommit(x *Txn, to State, ts truetime.Timestamp) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	if s := x.State(); s != Active && !(s == Prepared && to == Committing) {
		if s == Aborted {
			return x.err
		}
		return ErrLockLost
	}
	if x.State() == Active {
		t.unsettled.Add(1)
	}
	x.state.Store(uint32(to))
	x.ts = ts
	t.changed(x)
	return nil
}

// SetTimestamp raises the lower bound of the commit timestamp of a committing or prepared transaction,
// letting snapshot readers below it pass.
func (t *Table) SetTimestamp(x *Txn, ts truetime.Timestamp) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ts > x.ts {
		x.ts = ts
		t.changed(x)
	}
}

// Reopen makes a committing or prepared transaction active again, after its commit was definitely not
// logged.
func (t *Table) Reopen(x *Txn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.settle()
	if s := x.State(); s != Committing && s != Prepared {
		return
	}
	t.unsettled.Add(-1)
	x.state.Store(uint32(Active))
	x.ts = 0
	t.changed(x)
	// Older requests that waited because x could not be wounded may do so now.
	for _, h := range x.points {
		t.freePoint(h.p)
	}
	for _, s := range x.spans {
		t.freeSpan(s.start, s.end)
	}
}

// Release ends x: all its locks go, waiting requests fail, the entry is forgotten.
func (t *Table) Release(x *Txn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.settle()
	t.release(x)
}

func (t *Table) release(x *Txn) {
	if x.State() == Done {
		return
	}
	t.drop(x, Done, ErrLockLost)
	if t.txns[x.ID] == x {
		delete(t.txns, x.ID)
	}
}

// Abort releases the locks of x, whatever its state, and remembers err as the reason.
func (t *Table) Abort(x *Txn, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.settle()
	if s := x.State(); s != Aborted && s != Done {
		t.drop(x, Aborted, err)
	}
}

func (t *Table) wound(victim, by *Txn) {
	t.stats.Wounds++
	t.onWound(victim, by)
	t.drop(victim, Aborted, ErrWounded)
}

// drop takes everything from x and moves it to state to. Waiters that can go on are granted.
func (t *Table) drop(x *Txn, to State, err error) {
	if s := x.State(); s == Committing || s == Prepared {
		t.unsettled.Add(-1)
	}
	x.state.Store(uint32(to))
	x.err = err
	x.seen = t.sweep
	queue := x.queue
	x.queue = nil
	for _, r := range queue {
		t.unlink(r)
		t.finish(r, err)
	}
	points, spans := x.points, x.spans
	x.points, x.spans = nil, nil
	for _, h := range points {
		h.p.remove(x)
	}
	for _, s := range spans {
		t.removeSpan(s)
	}
	t.changed(x)
	for _, r := range queue {
		t.freeSpan(r.start, r.end)
	}
	for _, h := range points {
		t.freePoint(h.p)
	}
	for _, s := range spans {
		t.freeSpan(s.start, s.end)
	}
}

func (t *Table) changed(x *Txn) {
	if x.change != nil {
		close(x.change)
		x.change = nil
	}
}

func (p *point) remove(x *Txn) {
	if p.excl == x {
		p.excl = nil
	}
	if i := slices.Index(p.shared, x); i >= 0 {
		p.shared = slices.Delete(p.shared, i, i+1)
	}
}

func (t *Table) removeSpan(s *span) {
	if i := slices.Index(t.spans, s); i >= 0 {
		t.spans = slices.Delete(t.spans, i, i+1)
	}
}

// Close fails every waiting request with ErrClosed and refuses new ones. Entries stay for Encode.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	for _, x := range t.txns {
		for _, r := range x.queue {
			t.unlink(r)
			t.finish(r, ErrClosed)
		}
		x.queue = nil
		t.changed(x)
	}
}

// Stats returns the counters.
func (t *Table) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats
}

// silenceBroken is how many sweeps a transaction survives whose gateway's connection was lost. A gateway that lives
// connects again within milliseconds and is heard of within two sweeps.
const silenceBroken = 3

// Disconnected notes that the connection to a gateway was lost: most likely its process is gone, restarted or not,
// and what is not heard of again soon is abandoned.
func (t *Table) Disconnected(gateway int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteBroken(gateway, t.sweep)
}

func (t *Table) noteBroken(gateway int32, at int64) {
	if t.broken == nil {
		t.broken = map[int32]int64{}
	}
	if was, ok := t.broken[gateway]; !ok || was < at {
		t.broken[gateway] = at
	}
}

// Sweep advances the table's clock by one. Active entries not heard of during the last keep sweeps (fewer if their
// gateway's connection was lost since) are aborted with ErrExpired and returned, those that wait with all others, so that
// none of them is granted what another leaves behind. Aborted entries as silent are dropped for good (not returned).
// Prepared ones are returned in silent, untouched.
func (t *Table) Sweep(keep int64) (expired, silent []*Txn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.settle()
	t.sweep++
	for id, x := range t.txns {
		silence := keep
		if at, ok := t.broken[x.Gateway]; ok && x.seen <= at {
			silence = min(keep, silenceBroken)
		}
		if x.seen > t.sweep-silence {
			continue
		}
		switch x.State() {
		case Active:
			t.stats.Expired++
			if len(x.points)+len(x.spans)+len(x.queue) == 0 && x.Payload == nil {
				delete(t.txns, id)
				x.state.Store(uint32(Done))
				continue
			}
			expired = append(expired, x)
		case Prepared:
			silent = append(silent, x)
		case Aborted:
			delete(t.txns, id)
		}
	}
	byID := func(a, b *Txn) int { return bytes.Compare(a.ID[:], b.ID[:]) }
	slices.SortFunc(expired, byID)
	slices.SortFunc(silent, byID)
	for _, x := range expired {
		t.onWound(x, nil)
		t.drop(x, Aborted, ErrExpired)
	}
	return expired, silent
}

// Len returns the number of entries.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.txns)
}

// DropShared releases the shared locks of an active transaction before its end. It breaks two-phase locking
// and exists for tests that show the anomaly.
func (t *Table) DropShared(x *Txn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.settle()
	x.points = slices.DeleteFunc(x.points, func(h held) bool {
		if h.mode != Shared {
			return false
		}
		h.p.remove(x)
		t.freePoint(h.p)
		return true
	})
	x.spans = slices.DeleteFunc(x.spans, func(s *span) bool {
		if s.mode != Shared {
			return false
		}
		t.removeSpan(s)
		t.freeSpan(s.start, s.end)
		return true
	})
}

package participant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/truetime/plant"
	"github.com/meridian-db/meridian/txn/locktable"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// Machine is the transaction layer of one range replica. It implements ranges.Machine and
// ranges.StateSplitter; Server.Batch calls it with requests.
type Machine struct {
	srv *Server
	rep Replica
	id  ranges.RangeID

	// lead is set while this replica leads the range under a lease. frozen is the leadership that has been
	// handed to another replica; what it had in the log still comes to its end.
	lead   atomic.Pointer[leadership]
	frozen atomic.Pointer[leadership]

	// mu guards state. Apply changes it, on every replica in log order.
	mu      sync.RWMutex
	state   *replicated
	leaving []*record // no longer in state, but their removal may not be visible to readers yet
	// movedLayers are no longer in state either, but readers may not find what they have become yet.
	movedLayers []*layer
	// layers is what readers see of state.layers and movedLayers. To be loaded after the timestamp to read at, and
	// the locks that protect the read, are certain.
	layers atomic.Pointer[mvcc.Layers]
	// failed is why the replicated state could not be read; the machine then refuses everything.
	failed error

	// floor is PreparedFloor: the smallest record.floor of state and leaving.
	floor     atomic.Int64
	threshold atomic.Int64 // GC threshold: reads below it are refused (I3)

	newest atomic.Int64 // the newest commit timestamp applied here since the replica was opened

	// scratch is Apply's own, to be reused by the next command.
	scratch struct {
		writes  writeSet
		key     []byte
		outcome [9]byte
	}
	outcomePrefix []byte

	tail atomic.Pointer[tail] // for readers of changes; set and dropped under mu

	dirty     atomic.Bool  // something was written since the last garbage collection
	collected atomic.Int64 // the threshold of that
	closed    atomic.Bool

	stash atomic.Pointer[locktable.Table] // locks that a split moved here, for the range's first lease

	load       *ranges.Load            // nil: nobody wants to know
	mergedInto atomic.Pointer[Machine] // set when the range has been absorbed
}

var (
	_ ranges.Machine       = (*Machine)(nil)
	_ ranges.StateSplitter = (*Machine)(nil)
	_ ranges.LeaseSettler  = (*Machine)(nil)
)

// leadership is a machine's volatile state for the duration of one lease.
type leadership struct {
	lease  ranges.Lease
	table  *locktable.Table
	ctx    context.Context // ends with the lease
	cancel context.CancelFunc

	// lastTS is the newest timestamp at which a commit has finished here (the paper's LastTS): everything
	// at or below it is applied and past its commit wait, or holds locks, and nothing will be added. It is negative, and
	// says nothing, until something newer than its amount has finished, or was read: that is when the lease began, and
	// what earlier leaders have finished lies below. A transaction that they prepared may yet commit below that, too.
	lastTS atomic.Int64

	mu       sync.Mutex
	attempts map[CommitID]*attempt
	seen     seenCommits
	// inflight counts the commits and prepares between their first look at the gate and their apply.
	inflight int
	drops    int // counts the drops of staged writes between theirs
	blocked  gate
	lifted   chan struct{} // closed when blocked changes
	idle     chan struct{} // closed when inflight becomes 0 or a record goes, if somebody waits
	// splitGen and mergeGen are the descriptor generations of the last split and the last merge: those seen under this
	// lease, or for all that is known the one it began with.
	splitGen   uint64
	mergeGen   uint64
	right      [][]byte // encoded descriptors of ranges split off
	pushing    map[CommitID]bool
	recovering map[TxnID]bool // prepared transactions whose coordinator is being asked
	dropping   map[TxnID]bool // whose staged writes are being dropped
	forget     []CommitID     // decisions every participant knows, to be dropped from the state
}

// gate says what may begin while a split or a handoff is under way.
type gate int

const (
	gateOpen     gate = iota
	gatePrepares      // no new prepares: they would outlive the split
	gateAll           // no new commits at all
)

// attempt is a commit attempt in progress on the leader. Its fields are guarded by leadership.mu; the channels are
// made when somebody waits on them, which is rare.
type attempt struct {
	done    chan struct{}
	abort   chan struct{} // closed when a QUERY aborts it before it is logged
	logging bool          // it is being proposed: too late to abort it from outside
	aborted bool
	ended   bool
}

// cutLocked aborts the attempt unless it is being logged.
func (at *attempt) cutLocked() {
	if at != nil && !at.logging && !at.aborted {
		at.aborted = true
		if at.abort != nil {
			close(at.abort)
		}
	}
}

// doneLocked returns a channel that is closed when the attempt ends.
func (at *attempt) doneLocked() <-chan struct{} {
	if at.done == nil {
		at.done = make(chan struct{})
	}
	return at.done
}

// abortion returns a channel that is closed when the attempt is aborted from outside; nil for no attempt.
func (l *leadership) abortion(at *attempt) <-chan struct{} {
	if at == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.abort == nil {
		at.abort = make(chan struct{})
		if at.aborted {
			close(at.abort)
		}
	}
	return at.abort
}

// preloaded is what a Replica implements besides if it may have read its local keys already.
type preloaded interface{ LocalReader() mvcc.LocalReader }

func newMachine(srv *Server, rep Replica) *Machine {
	m := &Machine{srv: srv, rep: rep, id: rep.ID()}
	if x, ok := rep.(loaded); ok {
		m.load = x.LoadStats()
	}
	m.outcomePrefix = localKey(m.id, outcomeKeys, nil)
	m.dirty.Store(true) // for all it knows
	m.Reset()
	return m
}

// Reset reads the replicated state from the engine.
func (m *Machine) Reset() {
	local := mvcc.LocalOf(m.rep.Engine())
	if x, ok := m.rep.(preloaded); ok {
		local = x.LocalReader()
	}
	state, err := loadReplicated(local, m.id)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaving, m.movedLayers = nil, nil
	m.dropTail(m.tail.Load())
	if m.failed = err; err != nil {
		m.srv.cfg.Logger.Error("transaction state unreadable", "range", m.id, "err", err)
		state = &replicated{}
		m.state = state
		m.floor.Store(0) // no safe time either
		return
	}
	if plant.On(plant.BareSnapshot) {
		clear(state.records)
	}
	m.state = state
	m.publishLayersLocked()
	m.threshold.Store(int64(state.threshold))
	// What the state holds was committed by clocks at most as far ahead of this one as it is uncertain, and ahead of those by
	// what leaders add for replication, or for readers in other regions.
	now := m.srv.cfg.Clock.Now()
	m.newest.Store(int64((now.Latest + (now.Latest - now.Earliest)).Add(ranges.MaxLead)))
	m.refloorLocked()
}

func (m *Machine) refloorLocked() {
	floor := int64(math.MaxInt64)
	for _, r := range m.state.records {
		floor = min(floor, int64(r.floor))
	}
	for _, r := range m.leaving {
		floor = min(floor, int64(r.floor))
	}
	m.floor.Store(floor)
}

// PreparedFloor returns the smallest timestamp at which a transaction of this range may still commit
// although later ones have: the smallest prepare timestamp of the undecided (I5).
func (m *Machine) PreparedFloor() truetime.Timestamp { return truetime.Timestamp(m.floor.Load()) }

// LeaseAcquired makes the machine serve as leader.
func (m *Machine) LeaseAcquired(lease ranges.Lease, handoff []byte) {
	now := m.srv.cfg.Clock.Now().Latest
	ctx, cancel := context.WithCancel(m.srv.ctx)
	l := &leadership{
		lease: lease, ctx: ctx, cancel: cancel,
		attempts:   make(map[CommitID]*attempt),
		lifted:     make(chan struct{}),
		pushing:    make(map[CommitID]bool),
		recovering: make(map[TxnID]bool),
		dropping:   make(map[TxnID]bool),
	}
	l.splitGen = m.rep.Desc().Generation
	l.mergeGen = l.splitGen
	m.LeaseLost()
	stash := m.stash.Swap(nil)
	switch {
	case stash != nil && handoff != nil && len(handoff) == 0:
		// The range was split off on this replica, which leads it first: the locks have come along.
		l.table = stash
	default:
		// Leases do not overlap (I4), so tokens that start at the clock are above all earlier ones.
		l.table = locktable.New(int64(now), m.srv.onWound)
	}
	if len(handoff) > 0 {
		if err := l.table.Decode(handoff, decodePart); err != nil {
			// The locks are lost as in an unplanned change of leaders: their owners will be told (I9).
			m.srv.cfg.Logger.Error("lock table handoff refused", "range", m.id, "err", err)
			l.table = locktable.New(int64(now), m.srv.onWound)
		}
	}
	l.seen.since = now
	m.restore(l)
	l.lastTS.Store(-int64(now))
	m.lead.Store(l)
	m.resume(l)
}

// restore locks again what the records of the replicated state protect.
func (m *Machine) restore(l *leadership) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if plant.On(plant.LostPrepare) {
		return
	}
	for id, rec := range m.state.records {
		keys, spans := m.recordLocks(id, rec)
		l.table.Restore(id, rec.cmd.age, rec.cmd.gateway, rec.cmd.token, rec.floor, partOf(&rec.cmd), keys, spans)
	}
}

// maxPointLocks is the number of point locks past which a transaction's writes are locked by spans, which lock
// more than it writes. A restored one gets a single span for what is past it.
const maxPointLocks = 10000

func (m *Machine) recordLocks(id TxnID, rec *record) (keys [][]byte, spans [][2][]byte) {
	w := &rec.cmd.writes
	for i := range w.keys {
		if w.op(i) == txnpb.WriteOp_WRITE_DELETE_SPAN {
			spans = append(spans, [2][]byte{w.keys[i], w.values[i]})
		} else {
			keys = append(keys, w.keys[i])
		}
	}
	if !rec.cmd.staged {
		return keys, spans
	}
	st := m.state.staged[id]
	if st == nil {
		return keys, spans
	}
	for _, d := range st.spans {
		spans = append(spans, [2][]byte{d.Start, d.End})
	}
	desc := m.rep.Desc()
	var first, last []byte
	n := len(keys)
	err := mvcc.LayerKeys(m.rep.Engine(), st.own(id, nil), mvcc.Span{Start: desc.Start, End: desc.End}, func(key []byte) bool {
		if len(keys)-n < maxPointLocks {
			keys = append(keys, bytes.Clone(key))
			return true
		}
		if first == nil {
			first = bytes.Clone(key)
		}
		last = append(last[:0], key...)
		return true
	})
	if err != nil {
		// What cannot be read cannot be locked key by key: lock everything.
		return keys, append(spans, [2][]byte{desc.Start, desc.End})
	}
	if first != nil {
		spans = append(spans, [2][]byte{first, append(last, 0)})
	}
	return keys, spans
}

// resume picks up what the last leader has left unfinished.
func (m *Machine) resume(l *leadership) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for commit, d := range m.state.decisions {
		m.push(l, commit, d)
	}
	for _, x := range l.table.Unresolved() {
		if m.state.records[x.ID] != nil {
			continue
		}
		// Handed over between the apply of its outcome and its end, which comes here.
		ts := l.table.Timestamp(x)
		if x.State() == locktable.Prepared {
			p, _ := x.Payload.(*part)
			if p == nil || p.readOnly {
				continue
			}
			outcome, committed, err := readOutcome(m.rep.Engine(), m.id, p.commit)
			if err != nil || outcome != txnpb.Outcome_OUTCOME_COMMITTED {
				l.end(x)
				continue
			}
			ts = committed
		}
		m.endAfter(l, x.ID, ts)
	}
}

// endAfter ends a transaction that committed here at ts once that has passed (I7).
func (m *Machine) endAfter(l *leadership, id TxnID, ts truetime.Timestamp) {
	if m.srv.cfg.TestNoCommitWait || m.srv.cfg.Clock.Now().After(ts) {
		m.release(l, id, ts)
		return
	}
	m.srv.spawn(func() {
		if m.srv.cfg.Clock.WaitAfter(l.ctx, ts) == nil {
			m.release(l, id, ts)
		}
	})
}

// awaitAttempt waits until no request of this commit is in progress here. The outcome being known, one that still
// waits for locks is cut short.
func (l *leadership) awaitAttempt(ctx context.Context, commit CommitID) error {
	for {
		l.mu.Lock()
		at := l.attempts[commit]
		if at == nil {
			l.mu.Unlock()
			return nil
		}
		at.cutLocked()
		done := at.doneLocked()
		l.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ctx.Done():
			return locktable.ErrClosed
		}
	}
}

// LeaseLost ends the leadership.
func (m *Machine) LeaseLost() {
	if l := m.frozen.Swap(nil); l != nil {
		l.cancel()
	}
	if l := m.lead.Swap(nil); l != nil {
		l.cancel()
		l.table.Close()
		l.mu.Lock()
		l.liftLocked(gateOpen)
		l.mu.Unlock()
	}
}

// handoffPatience bounds how long LeaseHandoff waits for commits in the log to apply.
const handoffPatience = 500 * time.Millisecond

// LeaseHandoff freezes the machine and returns its lock table.
func (m *Machine) LeaseHandoff() []byte {
	l := m.lead.Load()
	if l == nil {
		return locktable.New(0, nil).Encode(nil) // not empty: that stands for a split's locks
	}
	l.mu.Lock()
	l.liftLocked(gateAll)
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(l.ctx, handoffPatience)
	defer cancel()
	_ = l.waitIdle(ctx, func() bool { return l.inflight == 0 })
	// Whatever waits for a lock asks the next leader. Commits that wait out their timestamp go on here as
	// well: their answer needs no lease.
	m.frozen.Store(l)
	m.lead.CompareAndSwap(l, nil)
	l.table.Close()
	return l.table.Encode(encodePart)
}

// LeaseSettled reports, after LeaseHandoff, whether the locks that are left are all on record.
func (m *Machine) LeaseSettled() bool {
	l := m.frozen.Load()
	if l == nil {
		return false
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return l.table.Settled(func(x *locktable.Txn) bool {
		p, _ := x.Payload.(*part)
		return x.State() == locktable.Prepared && m.state.records[x.ID] != nil && p != nil && p.promised.get() == 0
	})
}

// Close ends the machine.
func (m *Machine) Close() {
	m.closed.Store(true)
	m.LeaseLost()
	m.mu.Lock()
	m.dropTail(m.tail.Load())
	m.mu.Unlock()
	m.srv.remove(m)
}

// leader returns the leadership if this replica leads and its lease holds now.
func (m *Machine) leader() (*leadership, error) {
	l := m.lead.Load()
	if l == nil {
		return nil, m.notLeader()
	}
	if m.srv.cfg.Clock.Now().Latest >= m.rep.Lease().Until {
		return nil, &ranges.NotLeaderError{Range: m.id, Hint: 0}
	}
	return l, nil
}

func (m *Machine) notLeader() error {
	hint := m.rep.LeaderHint()
	if hint == m.srv.cfg.NodeID {
		hint = 0 // it leads, but has not settled yet
	}
	return &ranges.NotLeaderError{Range: m.id, Hint: hint}
}

// enter passes the gate; exit must follow once the command has been applied or has failed.
func (l *leadership) enter(ctx context.Context, closedBy gate) error {
	return l.pass(ctx, closedBy, &l.inflight)
}

func (l *leadership) exit() { l.leave(&l.inflight) }

// pass passes the gate and counts in n until leave.
func (l *leadership) pass(ctx context.Context, closedBy gate, n *int) error {
	for {
		l.mu.Lock()
		if l.ctx.Err() != nil {
			l.mu.Unlock()
			return locktable.ErrClosed
		}
		if l.blocked < closedBy {
			*n++
			l.mu.Unlock()
			return nil
		}
		lifted := l.lifted
		l.mu.Unlock()
		select {
		case <-lifted:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ctx.Done():
			return locktable.ErrClosed
		}
	}
}

func (l *leadership) leave(n *int) {
	l.mu.Lock()
	*n--
	l.wakeLocked()
	l.mu.Unlock()
}

func (l *leadership) liftLocked(g gate) {
	l.blocked = g
	close(l.lifted)
	l.lifted = make(chan struct{})
}

// wakeLocked lets waitIdle look again.
func (l *leadership) wakeLocked() {
	if l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// end releases a transaction's locks and forgets it.
func (l *leadership) end(x *locktable.Txn) {
	l.table.Release(x)
	l.mu.Lock()
	l.wakeLocked()
	l.mu.Unlock()
}

// waitIdle waits until ok, called under l.mu, holds.
func (l *leadership) waitIdle(ctx context.Context, ok func() bool) error {
	for {
		l.mu.Lock()
		if ok() {
			l.mu.Unlock()
			return nil
		}
		if l.idle == nil {
			l.idle = make(chan struct{})
		}
		idle := l.idle
		l.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// finished notes that a commit at ts is applied here and past its commit wait.
func (l *leadership) finished(ts truetime.Timestamp) {
	for {
		last := l.lastTS.Load()
		if ts <= truetime.Timestamp(max(last, -last)) || l.lastTS.CompareAndSwap(last, int64(ts)) {
			return
		}
	}
}

// part is what a transaction's lock table entry knows about its commit, as Txn.Payload.
type part struct {
	commit   CommitID
	coord    target
	readOnly bool // prepared in memory only
	promised promised
	// restored: another leader has prepared it, or an earlier lease. There may have been a promise.
	restored bool
}

func partOf(c *command) *part {
	return &part{commit: c.commit, coord: target{id: c.coordRange, key: c.coordKey}, restored: true}
}

func encodePart(x *locktable.Txn) []byte {
	p, _ := x.Payload.(*part)
	if p == nil {
		return nil
	}
	c := command{kind: cmdPrepare, commit: p.commit, coordRange: p.coord.id, coordKey: p.coord.key, staged: p.readOnly}
	return c.encode(nil)
}

func decodePart(x *locktable.Txn, b []byte) error {
	c, err := decodeCommand(append([]byte(nil), b...))
	if err != nil {
		return err
	}
	p := partOf(&c)
	p.readOnly = c.staged
	x.Payload = p
	return nil
}

// beginAttempt registers a commit attempt. When another request of the same commit id is in progress it
// waits for that one. ok is false when the outcome is known already: it is in resp then.
func (m *Machine) beginAttempt(ctx context.Context, l *leadership, commit CommitID, at *attempt, resp *txnpb.BatchResponse) (ok bool, err error) {
	for {
		l.mu.Lock()
		if cur := l.attempts[commit]; cur != nil {
			done := cur.doneLocked()
			l.mu.Unlock()
			select {
			case <-done:
				continue
			case <-ctx.Done():
				return false, ctx.Err()
			case <-l.ctx.Done():
				return false, &Error{Code: txnpb.ErrorCode_AMBIGUOUS, Msg: "leader lost its lease"}
			}
		}
		l.attempts[commit] = at
		fresh := l.seen.add(commit, m.now)
		l.mu.Unlock()
		if fresh {
			return true, nil
		}
		break
	}
	known, err := m.knownOutcome(ctx, commit, false, resp)
	if err != nil || known {
		l.endAttempt(commit, at)
		return false, err
	}
	return true, nil
}

func (l *leadership) endAttempt(commit CommitID, at *attempt) {
	l.mu.Lock()
	if l.attempts[commit] == at {
		delete(l.attempts, commit)
	}
	if !at.ended {
		at.ended = true
		if at.done != nil {
			close(at.done)
		}
	}
	l.mu.Unlock()
}

// startLogging makes the attempt final: from now on only the log decides. It fails when a QUERY has aborted it.
func (l *leadership) startLogging(at *attempt) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.aborted {
		return errAborted
	}
	at.logging = true
	return nil
}

// knownOutcome fills in resp what is on record about a commit attempt. A commit is answered only after its
// timestamp has passed (I7).
//
// Past the horizon "no record" says nothing, except to a participant (see from_participant).
func (m *Machine) knownOutcome(ctx context.Context, commit CommitID, forParticipant bool, resp *txnpb.BatchResponse) (bool, error) {
	outcome, ts, err := readOutcome(m.rep.Engine(), m.id, commit)
	if err != nil || plant.On(plant.DoubleApply) {
		return false, err
	}
	switch outcome {
	case txnpb.Outcome_OUTCOME_COMMITTED:
		if err := m.srv.cfg.Clock.WaitAfter(ctx, ts); err != nil {
			return false, err
		}
		resp.Outcome, resp.CommitTs = outcome, int64(ts)
		return true, nil
	case txnpb.Outcome_OUTCOME_ABORTED:
		resp.Outcome = outcome
		return true, errAborted
	}
	m.mu.RLock()
	horizon := m.state.horizon
	m.mu.RUnlock()
	if commit.time() <= horizon && !forParticipant {
		return false, &Error{Code: txnpb.ErrorCode_AMBIGUOUS, Msg: fmt.Sprintf("outcomes up to %s are no longer kept", horizon)}
	}
	return false, nil
}

var errAborted = &Error{Code: txnpb.ErrorCode_ABORTED, Msg: "commit attempt is aborted"}

// seenCommits remembers the commit attempts that a leader has dealt with lately, so that the outcome of one that
// is certainly new need not be looked for in the engine, which costs more than anything else of a commit
// here. It forgets by generations.
type seenCommits struct {
	since     truetime.Timestamp // every attempt dealt with after it is in one of the maps
	curSince  truetime.Timestamp // and in cur, after this
	cur, prev map[CommitID]struct{}
}

const (
	seenGeneration = 8192
	// seenMargin is more than two clocks can ever differ: an attempt whose id is that much newer than since
	// was begun after it.
	seenMargin = 2 * time.Second
)

// add notes an attempt, and reports whether it was certainly never seen before: neither by this leader nor, being
// younger than its lease, by another.
func (s *seenCommits) add(commit CommitID, now func() truetime.Timestamp) bool {
	if len(s.cur) >= seenGeneration || s.cur == nil {
		s.prev, s.cur = s.cur, make(map[CommitID]struct{})
		if s.prev != nil {
			s.since = s.curSince
		}
		s.curSince = now()
	}
	if _, ok := s.cur[commit]; ok {
		return false
	}
	_, old := s.prev[commit]
	s.cur[commit] = struct{}{}
	return !old && commit.time() > s.since.Add(seenMargin)
}

// errDetached ends a request whose work goes on without it.
var errDetached = errors.New("participant: request canceled, its command is in the log")

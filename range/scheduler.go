package ranges

import (
	"runtime/debug"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/range/raftlog"
)

// scheduler hands replicas with work to a fixed set of workers. A replica is in the queue at most once,
// and with at most one goroutine that steps it (inbox.queued). While no worker has anything to do, whoever brings
// the work does it itself (Store.run): waking another goroutine, often on another processor, costs more than the step.
// Under load work gathers in the queue, and what one pass takes up shares its messages and its fsync.
type scheduler struct {
	mu      sync.Mutex
	cond    sync.Cond
	queue   []*Replica
	running int // replicas being stepped
	closed  bool
}

func newScheduler() *scheduler {
	s := &scheduler{}
	s.cond.L = &s.mu
	return s
}

func (s *scheduler) push(r *Replica) {
	s.mu.Lock()
	s.queue = append(s.queue, r)
	s.mu.Unlock()
	s.cond.Signal()
}

func (s *scheduler) pop() *Replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 && !s.closed {
		s.cond.Wait()
	}
	if s.closed {
		return nil
	}
	r := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.running++
	return r
}

// claim reports whether the caller may step a replica itself; done ends that, and a worker's step.
func (s *scheduler) claim() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 || s.running > 0 || s.closed {
		return false
	}
	s.running++
	return true
}

func (s *scheduler) done() {
	s.mu.Lock()
	s.running--
	if s.closed {
		s.cond.Broadcast()
	}
	s.mu.Unlock()
}

// close ends the workers, and returns when nobody steps a replica any more.
func (s *scheduler) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.cond.Broadcast()
	for s.running > 0 {
		s.cond.Wait()
	}
}

// worker steps replicas until the store closes.
func (s *Store) worker() {
	defer s.wg.Done()
	out := newOutbox(s)
	for {
		r := s.sched.pop()
		if r == nil {
			return
		}
		s.pass(r, out)
	}
}

// run has a replica stepped whose inbox.queued the caller has set: by the caller, if no worker is busy. It does not wait
// for disk or network, and the caller may hold any lock but those of Replica.
func (s *Store) run(r *Replica) {
	if !s.sched.claim() {
		s.sched.push(r)
		return
	}
	defer func() {
		// A worker's panic ends the process. The caller may be a statement's goroutine, which recovers; but a replica
		// that was left half stepped must not go on.
		if p := recover(); p != nil {
			s.fatal("stepping %s panicked: %v\n%s", r.id, p, debug.Stack())
			s.sched.done()
		}
	}()
	out := s.outboxes.Get().(*outbox)
	s.pass(r, out)
	s.outboxes.Put(out)
}

// pass steps a replica once, and sends and writes what comes of it.
func (s *Store) pass(r *Replica, out *outbox) {
	s.process(r, out)
	out.flush()
	s.sched.done()
	if r.inbox.rest() {
		s.sched.push(r)
	}
}

// process steps one replica. Raft panics when it cannot read its log, which is no news once the store has failed.
func (s *Store) process(r *Replica, out *outbox) {
	defer func() {
		if s.failed() {
			_ = recover()
		}
	}()
	r.process(out)
}

// outbox gathers what comes of one pass: above all the Raft messages, so that each peer gets one frame.
type outbox struct {
	s        *Store
	frames   map[NodeID][]byte
	order    []NodeID
	others   []rawFrame
	after    []rawFrame // sent when all else has been
	appended bool       // something was added to Store.appends
	wake     []*Replica // to be stepped; their inbox.queued is set
}

type rawFrame struct {
	to NodeID
	b  []byte
}

// raw adds a whole frame.
func (o *outbox) raw(to NodeID, b []byte) { o.others = append(o.others, rawFrame{to, b}) }

// last adds a frame that makes sense to who has got the others.
func (o *outbox) last(to NodeID, b []byte) { o.after = append(o.after, rawFrame{to, b}) }

func newOutbox(s *Store) *outbox { return &outbox{s: s, frames: make(map[NodeID][]byte)} }

// maxFrame is the size at which a frame leaves without waiting for more.
const maxFrame = 256 << 10

func (o *outbox) add(to NodeID, m raftMsg) {
	f, ok := o.frames[to]
	if !ok {
		o.order = append(o.order, to)
	}
	if f == nil {
		f = append(make([]byte, 0, 512), frameRaft)
	}
	f = appendRaftMsg(f, m)
	if len(f) > maxFrame {
		o.raw(to, f)
		f = nil
	}
	o.frames[to] = f
}

// flush sends everything, then sees to the appends: the followers' way to the disk is longer. The caller holds no lock
// of a replica.
func (o *outbox) flush() {
	silent := o.s.failed()
	for i, f := range o.others {
		if !silent {
			o.s.cfg.Transport.SendRaft(f.to, f.b)
		}
		o.others[i].b = nil
	}
	o.others = o.others[:0]
	for _, to := range o.order {
		if f := o.frames[to]; f != nil && !silent {
			o.s.cfg.Transport.SendRaft(to, f)
		}
		delete(o.frames, to)
	}
	o.order = o.order[:0]
	for i, f := range o.after {
		if !silent {
			o.s.cfg.Transport.SendRaft(f.to, f.b)
		}
		o.after[i].b = nil
	}
	o.after = o.after[:0]
	if o.appended {
		o.appended = false
		o.s.seeToAppends()
	}
	for i, r := range o.wake {
		if len(o.wake) == 1 {
			o.s.run(r)
		} else {
			o.s.sched.push(r)
		}
		o.wake[i] = nil
	}
	o.wake = o.wake[:0]
}

// appendWork is one MsgStorageAppend.
type appendWork struct {
	r *Replica
	m *pb.Message
	// epoch is the support epoch under which this replica followed its leader when the message was
	// made; the answers carry it, however late they leave.
	epoch  uint64
	commit uint64 // known when the message was made
	// settles says that a change of the configuration is known to be committed: that must outlive a crash (stageAppend).
	settles bool
	since   time.Time // set when the message holds entries of a traced proposal
}

// appendQueue collects the appends of all replicas for the append goroutine, or for a goroutine that brings some
// while nobody is at it.
type appendQueue struct {
	mu     sync.Mutex
	cond   sync.Cond
	work   []appendWork
	busy   bool // one goroutine at a time writes, and keeps the order
	closed bool
}

func newAppendQueue() *appendQueue {
	q := &appendQueue{}
	q.cond.L = &q.mu
	return q
}

// add queues one append. The caller holds the replica's mutex, so that the order is Raft's, and sees to it (outbox.flush)
// when it no longer does.
func (q *appendQueue) add(w appendWork) {
	q.mu.Lock()
	q.work = append(q.work, w)
	q.mu.Unlock()
}

// claim returns the queued work for the caller to write, until done, if nobody is at it; otherwise, and always when
// there is a snapshot to install, which takes its time, the append goroutine will.
func (q *appendQueue) claim(inline bool) (mine []appendWork) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.busy || len(q.work) == 0 {
		return nil
	}
	if !inline || q.closed || slices.ContainsFunc(q.work, func(w appendWork) bool { return w.m.Snapshot != nil }) {
		q.cond.Signal()
		return nil
	}
	q.busy = true
	mine, q.work = q.work, nil
	return mine
}

// take waits for work; the caller writes it, until done. It returns nil once the queue is closed.
func (q *appendQueue) take() []appendWork {
	q.mu.Lock()
	defer q.mu.Unlock()
	for (len(q.work) == 0 || q.busy) && !q.closed {
		q.cond.Wait()
	}
	for q.busy {
		q.cond.Wait()
	}
	if q.closed {
		return nil
	}
	q.busy = true
	w := q.work
	q.work = nil
	return w
}

func (q *appendQueue) done() {
	q.mu.Lock()
	q.busy = false
	more := len(q.work) > 0 || q.closed
	q.mu.Unlock()
	if more {
		q.cond.Signal()
	}
}

func (q *appendQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cond.Broadcast()
}

// syncWork is a batch on its way to the disk with the appends it holds. A nil batch needs no fsync of its
// own, but its answers still come after those of earlier batches.
type syncWork struct {
	b     *raftlog.Batch
	work  []appendWork
	start time.Time
}

// seeToAppends has the queued appends written: at once, by the caller, if no fsync is under way. Otherwise there is time to
// gather more.
func (s *Store) seeToAppends() {
	if mine := s.appends.claim(s.unsynced.Load() == 0); mine != nil {
		defer s.appends.done()
		s.writeAppends(mine)
	}
}

// appendLoop writes queued appends.
func (s *Store) appendLoop() {
	defer s.wg.Done()
	defer close(s.syncs)
	for {
		work := s.appends.take()
		if work == nil {
			return
		}
		s.writeAppends(work)
		s.appends.done()
	}
}

// writeAppends writes appends, those of all replicas in one batch, and does not wait for the disk. One goroutine at a
// time does so (appendQueue.busy).
//
// An append that brings no entries and leaves term and vote as they were (a new commit index) promises
// nothing to anyone: as a rule it is not written.
func (s *Store) writeAppends(work []appendWork) {
	b := s.log.NewBatch()
	sync := false
	for i := range work {
		w := &work[i]
		if w.m.Snapshot != nil {
			// What came before must be down first; then the snapshot replaces log and state.
			if err := s.installSnapshot(w.r, w.m, b); err != nil {
				s.fatal("install a snapshot of %s: %w", w.r.id, err)
				break
			}
			b, sync = s.log.NewBatch(), false
		}
		if w.r.stageAppend(b, w) {
			sync = true
		}
	}
	sw := syncWork{work: work, start: time.Now()}
	var err error
	switch {
	case s.failed():
		return // nothing of it may look durable
	case sync:
		sw.b = b
		s.metrics.fsyncs.Inc()
		s.fsyncCount.Add(1)
		err = b.CommitNoWait()
	default:
		err = b.Discard() // there is nothing in it
	}
	if err != nil {
		s.fatal("raft log write: %w", err)
		return
	}
	s.unsynced.Add(1)
	s.syncs <- sw
}

// stageAppend adds what an append message holds to b, and reports whether it must be synced. It runs
// where appends are written, which alone touches Replica.disk.
func (r *Replica) stageAppend(b *raftlog.Batch, w *appendWork) (sync bool) {
	m := w.m
	hs := raftlog.HardState{Term: m.GetTerm(), Vote: m.GetVote(), Commit: m.GetCommit()}
	if n := len(m.Entries); n > 0 {
		b.Append(uint64(r.id), m.Entries, r.disk.last)
		r.disk.last = m.Entries[n-1].GetIndex()
		r.store.metrics.appended.Add(float64(n))
		sync = true
	}
	// A message without a hard state says so by a zero term.
	if hs.Term != 0 {
		sync = sync || hs.Term != r.disk.hard.Term || hs.Vote != r.disk.hard.Vote
		r.disk.hard = hs
	}
	// A commit index alone is not written, but no entry is without the commit index that was known by then: a
	// replica whose log holds the second of two changes of the configuration must know that the first is
	// committed, or it could come back and elect itself by a configuration that is two steps old (change.go).
	//
	// And that the second is committed must be known by itself. A range that nobody writes to would go on without that on any
	// disk: after a power failure of all its nodes, which undoes what was applied, it would be between the two
	// configurations again, and need a quorum of the old one, of which a node may have been replaced for being lost.
	r.disk.hard.Commit = max(r.disk.hard.Commit, w.commit)
	sync = sync || w.settles && r.disk.hard != r.disk.written
	if sync && r.disk.hard != r.disk.written {
		r.disk.written = r.disk.hard
		b.SetHardState(uint64(r.id), r.disk.hard)
	}
	return sync
}

// syncLoop waits for the fsyncs in order and delivers the answers they were waiting for.
func (s *Store) syncLoop() {
	defer s.wg.Done()
	out := newOutbox(s)
	for sw := range s.syncs {
		if sw.b != nil {
			if err := sw.b.SyncWait(); err != nil {
				s.fatal("raft log sync: %w", err)
			}
			s.metrics.fsyncSeconds.Observe(time.Since(sw.start).Seconds())
		}
		s.unsynced.Add(-1)
		if s.failed() {
			continue
		}
		for i := range sw.work {
			w := &sw.work[i]
			if !w.since.IsZero() {
				w.r.traceAppend(w)
			}
			w.r.deliver(w.m.Responses, w.epoch, entriesBytes(w.m.Entries), out)
		}
		out.flush()
	}
}

// deliver hands out the messages that waited for a write: to Raft here, or to other replicas.
// bytes is the size of what was written or applied.
func (r *Replica) deliver(ms []*pb.Message, epoch uint64, bytes int, out *outbox) {
	wake := false
	for _, m := range ms {
		if m.GetTo() == uint64(r.replicaID) {
			r.inbox.local(m)
			wake = wake || !(m.GetType() == pb.MsgStorageApplyResp && r.lateApplied(bytes) || r.lateStable(m, bytes))
			continue
		}
		if d, ok := r.Desc().ByID(ReplicaID(m.GetTo())); ok {
			out.add(d.Node, raftMsg{rng: r.id, m: m, epoch: epoch})
		} else if n, ok := r.nodeOf(ReplicaID(m.GetTo())); ok {
			out.add(n, raftMsg{rng: r.id, m: m, epoch: epoch})
		}
	}
	if wake && r.inbox.wake() {
		out.wake = append(out.wake, r)
	}
}

// applyWork is one MsgStorageApply, or a function that must run between applies.
type applyWork struct {
	r  *Replica
	m  *pb.Message
	fn func()
}

// applyQueue feeds one apply goroutine. Each range always goes to the same one, so its entries stay in
// order.
type applyQueue struct {
	mu     sync.Mutex
	cond   sync.Cond
	work   []applyWork
	closed bool
}

func newApplyQueue() *applyQueue {
	q := &applyQueue{}
	q.cond.L = &q.mu
	return q
}

func (q *applyQueue) push(w applyWork) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.work = append(q.work, w)
	q.mu.Unlock()
	q.cond.Signal()
	return true
}

func (q *applyQueue) take(spare []applyWork) []applyWork {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.work) == 0 && !q.closed {
		q.cond.Wait()
	}
	w := q.work
	q.work = spare[:0]
	return w
}

// close lets the queue drain: functions in it may have others waiting for them.
func (q *applyQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cond.Broadcast()
}

func (s *Store) applyLoop(q *applyQueue) {
	defer s.wg.Done()
	out := newOutbox(s)
	var spare []applyWork
	for {
		work := q.take(spare)
		if len(work) == 0 {
			return
		}
		for i := range work {
			w := &work[i]
			if wait := s.cfg.TestBeforeApply; wait != nil {
				wait()
			}
			w.r.applyMu.Lock()
			switch {
			case w.fn != nil:
				w.fn()
			case w.r.removed.Load() || w.r.broken.Load() != nil || s.closing.Load() || s.failed():
			default:
				changes := w.r.applyEntries(w.m.Entries)
				w.r.deliver(w.m.Responses, 0, entriesBytes(w.m.Entries), out)
				w.r.tell(changes)
			}
			w.r.applyMu.Unlock()
			work[i] = applyWork{}
		}
		out.flush()
		spare = work
	}
}

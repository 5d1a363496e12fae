package ranges

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/range/raftlog"
)

// The queue looks after ranges in the background: it finishes replica changes, sends snapshots
// to followers the log no longer reaches, splits large ranges, truncates logs, publishes descriptors, and
// clears away replicas that were removed while the node was down.

const (
	maxQueueTasks     = 8
	maxQueueSnapshots = 8
	orphanPasses      = 10 // queue passes without a leader before a replica asks whether it was removed
	silentPasses      = 3  // after so many it asks its leader whether it still leads
	queueTaskLimit    = 10 * time.Minute
)

// NodesChanged tells the store that Config.Nodes has news.
func (s *Store) NodesChanged() {
	s.kickQueue()
	s.placer.look()
}

func (s *Store) kickQueue() {
	s.looks.mu.Lock()
	s.looks.all = true
	s.looks.mu.Unlock()
	s.wakeQueue()
}

// kickReplica has the queue look at one range: thousands get leaders in the seconds after a start.
func (s *Store) kickReplica(r *Replica) {
	s.looks.mu.Lock()
	s.looks.list = append(s.looks.list, r)
	s.looks.mu.Unlock()
	s.wakeQueue()
}

// queueLooks is what the queue has been asked to look at: all ranges, or some.
type queueLooks struct {
	mu   sync.Mutex
	all  bool
	list []*Replica
}

func (q *queueLooks) take() (all bool, list []*Replica) {
	q.mu.Lock()
	defer q.mu.Unlock()
	all, list = q.all, q.list
	q.all, q.list = false, nil
	return all, list
}

func (s *Store) wakeQueue() {
	select {
	case s.queueCh <- struct{}{}:
	default:
	}
}

// leaseAcquired is called when a replica here has become fit to serve as leader.
func (s *Store) leaseAcquired(r *Replica) {
	if s.cfg.Meta != nil && r.metaGen.Load() != r.Desc().Generation {
		if _, ok := s.cfg.Meta.(MetaChecker); ok {
			s.checkMeta(r)
		} else {
			s.publish(nil, []*Descriptor{r.Desc()})
		}
	}
	s.kickReplica(r)
	if r.id == placerRange {
		s.placer.look()
	}
}

// queueLine is one of the two lines of the queue's work, each with slots of its own.
//
// Snapshots are one of them: a task waits for what it has proposed, and with one node lost that takes a follower which a
// snapshot may have to bring up to date first. What waits for the snapshot must not be what keeps it from being sent.
type queueLine struct {
	slots chan struct{}
	rest  []*Replica // not looked at yet, as all slots were taken
	next  func(r *Replica) func(ctx context.Context) error
	busy  func(r *Replica) *atomic.Bool
}

func newQueueLines() [2]queueLine {
	return [2]queueLine{
		{
			slots: make(chan struct{}, maxQueueSnapshots),
			next:  (*Replica).nextSnapshot, busy: func(r *Replica) *atomic.Bool { return &r.sending },
		},
		{
			slots: make(chan struct{}, maxQueueTasks),
			next:  (*Replica).nextTask, busy: func(r *Replica) *atomic.Bool { return &r.queueBusy },
		},
	}
}

func (s *Store) queueLoop() {
	tick := time.NewTicker(s.cfg.QueueInterval)
	defer tick.Stop()
	lines := newQueueLines()
	for {
		pass := false
		select {
		case <-s.stop:
			return
		case <-tick.C:
			pass = true
		case <-s.queueCh:
		}
		if pass {
			s.checkDisk()
			s.truncateLogs()
		}
		if s.failed() {
			continue
		}
		all, list := s.looks.take()
		if pass {
			now := time.Now()
			for _, r := range s.replicaList() {
				r.lookForLeader(s)
				r.load.tick(now, s.cfg.SplitLoad)
				r.lookAtUse()
			}
		}
		for i := range lines {
			s.workOn(&lines[i], list, pass || all)
		}
	}
}

// workOn begins what the line has to do for the replicas of list, or for all, as far as there are slots.
func (s *Store) workOn(l *queueLine, list []*Replica, all bool) {
	if all {
		list = s.replicaList()
	} else if len(list) == 0 {
		list = l.rest
	} else {
		list = slices.Concat(list, l.rest)
	}
	l.rest = nil
	for i, r := range list {
		if len(l.slots) == cap(l.slots) {
			l.rest = list[i:] // when a task has ended, or in the next pass
			return
		}
		task, busy := l.next(r), l.busy(r)
		if task == nil || !busy.CompareAndSwap(false, true) {
			continue
		}
		l.slots <- struct{}{} // nobody else takes them
		s.spawn(func() {
			ctx, cancel := context.WithTimeout(s.ctx, queueTaskLimit)
			defer cancel()
			err := task(ctx)
			<-l.slots
			busy.Store(false)
			if err == nil {
				s.kickReplica(r) // there may be more to do; a new right half asks for itself
				return
			}
			s.wakeQueue() // there is a slot
			if errors.Is(err, errSnapshotRefused) || errors.Is(err, ErrNotReady) {
				s.cfg.Logger.Info("range queue", "range", uint64(r.id), "err", err)
			} else if !errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed) {
				s.cfg.Logger.Warn("range queue", "range", uint64(r.id), "err", err)
			}
		})
	}
}

// lookAtUse notes how much has been applied since the last look.
func (r *Replica) lookAtUse() {
	applied := r.applied.Load()
	r.used.Store(applied - r.usedAt)
	r.usedAt = applied
}

// nextSnapshot returns how a follower gets the snapshot that it needs. That takes no lease: a new leader has none before an
// entry of its term is committed, and a frozen range has none; the follower may be the one that a quorum lacks.
func (r *Replica) nextSnapshot() func(ctx context.Context) error {
	if !r.leading.Load() || r.quiesced.Load() || r.sending.Load() { // quiesced: every live follower has all there is
		return nil
	}
	to, ok := r.needsSnapshot()
	if !ok {
		return nil
	}
	return func(ctx context.Context) error {
		if err := r.sendSnapshot(ctx, to); err != nil {
			return err
		}
		// It is installed there; until that is known here it would be sent again.
		return r.poll(ctx, catchUpPolls, nil, func() bool { again, ok := r.needsSnapshot(); return !ok || again.Node != to.Node })
	}
}

// nextTask returns what the leader of a range has to do for it next, snapshots apart.
func (r *Replica) nextTask() func(ctx context.Context) error {
	s := r.store
	if !r.leading.Load() || s.draining.Load() || r.queueBusy.Load() {
		return nil
	}
	d := r.Desc()
	if (d.Frozen != nil || r.isHeld()) && !r.changing.Load() {
		return r.settleFreeze
	}
	task := r.leaderTask(d)
	if task == nil {
		return nil // nearly always: a lease costs more to look at than this
	}
	if _, err := r.checkedLease(); err != nil {
		return nil
	}
	return task
}

// leaderTask is what a range needs that only a leader with a lease may do.
func (r *Replica) leaderTask(d *Descriptor) func(ctx context.Context) error {
	s := r.store
	if slices.ContainsFunc(d.Replicas, func(x ReplicaDesc) bool { return x.Type != Voter }) && (d.Joint() || !r.changing.Load()) {
		// An interrupted change has left the range between two configurations, or learners behind.
		voters, _ := d.voterNodes()
		return func(ctx context.Context) error { return r.ChangeReplicas(ctx, voters) }
	}
	if size := r.size.Load(); s.cfg.SplitBytes > 0 && size > s.cfg.SplitBytes && size-r.wholeAt > r.wholeAt/4 && s.cfg.Clock.Now().Latest >= r.splitAfter {
		return r.splitBySize
	}
	if s.cfg.SplitLoad > 0 && bytes.Compare(d.Start, []byte{0x02}) >= 0 {
		if key := r.load.splitKey(d); key != nil && s.cfg.Clock.Now().Latest >= r.splitAfter {
			return func(ctx context.Context) error { return r.splitOrPause(ctx, key) }
		}
	}
	return r.mergeTask(d)
}

// splitBySize splits the range in the middle of its data.
func (r *Replica) splitBySize(ctx context.Context) error {
	d := r.Desc()
	snap := r.Engine().NewSnapshot()
	defer snap.Close()
	key, err := mvcc.SplitKey(snap, mvcc.Span{Start: d.Start, End: d.End})
	if err != nil {
		return err
	}
	if r.wholeAt = 0; key == nil || bytes.Compare(key, []byte{0x02}) < 0 {
		// Versions of one key, or meta records, which stay in one range. To look for another is to read all of them: not
		// before there is more.
		r.wholeAt = r.size.Load()
		return nil
	}
	return r.splitOrPause(ctx, key)
}

// splitOrPause splits the range, or leaves it alone for a while.
func (r *Replica) splitOrPause(ctx context.Context, key []byte) error {
	err := r.split(ctx, key, 0)
	if errors.Is(err, ErrNotReady) {
		// Each attempt keeps transactions out for a while.
		r.splitAfter = r.store.cfg.Clock.Now().Latest.Add(splitPause)
	}
	return err
}

// splitPause is how long a range that could not be split is left alone.
const splitPause = 10 * splitHold

// needsSnapshot returns a follower that is there but whose next entry has been truncated, or whose replica is missing. A
// learner gets its first one from whoever has made it a learner (prepareLearners).
func (r *Replica) needsSnapshot() (to ReplicaDesc, ok bool) {
	d := r.Desc()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.rn == nil || r.mu.role != raft.StateLeader {
		return to, false
	}
	now := r.store.cfg.Clock.Now()
	r.mu.rn.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if id == uint64(r.replicaID) || ok || pr.Next > r.mu.view.truncated.Index && !r.mu.strangers[ReplicaID(id)] {
			return
		}
		if at, failed := r.mu.refused[ReplicaID(id)]; failed && r.mu.ticks < at+refusedTicks {
			return
		}
		rd, found := d.ByID(ReplicaID(id))
		if found && (rd.Type != Learner || pr.Match > 0) && r.mu.snapshots[rd.Replica] == 0 && r.store.votes.supports(rd.Node, now) {
			to, ok = rd, true
		}
	})
	return to, ok
}

// truncateLogs drops log entries that no one here needs: the state engine holds their effects durably.
func (s *Store) truncateLogs() {
	durable := s.cfg.Engine.Durable()
	total := int64(0)
	for _, r := range s.replicaList() {
		size := r.logBytes.Load()
		total += size
		if s.logCache.used.Load() > s.cfg.LogCacheBytes/2 && r.quiet() {
			// Idle ranges leave the cache to busy ones.
			r.mu.Lock()
			if v := r.mu.view; v != nil && len(v.entries) > 0 && v.last.Index <= r.applied.Load() {
				v.evict(len(v.entries))
			}
			r.mu.Unlock()
		}
		limit := s.cfg.LogTruncateBytes
		if !r.leading.Load() {
			limit *= 8 // it may have to lead
		}
		if size < limit {
			continue
		}
		_, a, err := readState(durable, r.id)
		if err != nil || a.index == 0 {
			continue
		}
		r.truncateTo(a.index)
	}
	if total > s.cfg.LogKeepBytes && total > s.keptBytes+s.cfg.LogKeepBytes/2 {
		// The state engine's memtable holds back truncation.
		s.keptBytes = total
		if _, err := s.cfg.Engine.FlushAsync(); err != nil {
			s.cfg.Logger.Warn("flush", "err", err)
		}
	} else if total < s.keptBytes {
		s.keptBytes = total
	}
}

// quiet reports whether nothing goes on in the range.
func (r *Replica) quiet() bool {
	return r.pend.len() == 0 && (r.quiesced.Load() || r.idle.Load() && r.applied.Load() >= r.pos.bound())
}

// truncateTo truncates the log up to index, or less where a follower that is alive needs more, unless the
// log has become too large for that.
func (r *Replica) truncateTo(index uint64) {
	now := r.store.cfg.Clock.Now()
	d := r.Desc()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.rn == nil || r.mu.installing > 0 {
		return
	}
	index = min(index, r.applied.Load())
	for _, at := range r.mu.snapshots {
		index = min(index, at)
	}
	if r.mu.role == raft.StateLeader && r.mu.view.logBytes < r.store.cfg.LogKeepBytes {
		r.mu.rn.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
			if rd, ok := d.ByID(ReplicaID(id)); ok && id != uint64(r.replicaID) && r.store.votes.supports(rd.Node, now) {
				index = min(index, pr.Match)
			}
		})
	}
	if index <= r.mu.view.truncated.Index || r.store.failed() {
		return
	}
	term, err := r.mu.view.Term(index)
	if err != nil {
		return
	}
	at := raftlog.Position{Index: index, Term: term}
	b := r.store.log.NewBatch()
	b.Truncate(uint64(r.id), at)
	// Unsynced: if it is lost the entries are back, which harms nobody.
	if err := b.Commit(false); err != nil {
		r.store.fatal("truncate the log of %s: %w", r.id, err)
		return
	}
	r.mu.view.truncate(at)
	r.truncated.Store(index)
	r.logBytes.Store(r.mu.view.logBytes)
	r.store.metrics.truncations.Inc()
}

// lookForLeader has a replica that hears from no leader ask the others whether it was removed. A leader
// sends its followers closed timestamps at least, however idle the range.
func (r *Replica) lookForLeader(s *Store) {
	if r.leading.Load() || r.heard.Swap(false) {
		r.leaderless.Store(0)
		return
	}
	n := r.leaderless.Add(1)
	if n == silentPasses {
		r.stir()
	}
	if n%orphanPasses != 0 || !r.queueBusy.CompareAndSwap(false, true) {
		return
	}
	s.spawn(func() {
		defer r.queueBusy.Store(false)
		for _, node := range r.whoMayKnow(int(n / orphanPasses)) {
			d := r.Desc()
			ctx, cancel := context.WithTimeout(s.ctx, time.Second)
			ans, err := s.cfg.Transport.Call(ctx, node, methodReplicaGone, goneQuestion(d))
			cancel()
			if err != nil {
				continue
			}
			if into, n := binary.Uvarint(ans); n == len(ans) {
				if r.absorbedBy(RangeID(into)) {
					return
				}
				continue
			}
			found, err := DecodeDescriptor(ans)
			if err != nil || found.ID != r.id || found.Generation <= r.Desc().Generation || found.NextReplica <= r.replicaID {
				continue
			}
			if _, ok := found.ByID(r.replicaID); !ok {
				r.queue.push(applyWork{r: r, fn: func() {
					if !r.removed.Load() {
						s.removeReplica(r, r.Desc())
					}
				}})
				return
			}
		}
	})
}

// strangersAsked is how many nodes without a replica of the range are asked for it at a time.
const strangersAsked = 3

// whoMayKnow returns the nodes to be asked, the n-th time, what has become of the range: those of its descriptor, which may
// all have gone from it since, and with each time some others.
func (r *Replica) whoMayKnow(n int) []NodeID {
	s := r.store
	var nodes, others []NodeID
	for _, rd := range r.Desc().Replicas {
		if rd.Node != s.cfg.NodeID {
			nodes = append(nodes, rd.Node)
		}
	}
	if s.cfg.Nodes == nil {
		return nodes
	}
	for _, x := range s.cfg.Nodes.Nodes() {
		if x.Live && x.ID != s.cfg.NodeID && !slices.Contains(nodes, x.ID) {
			others = append(others, x.ID)
		}
	}
	slices.Sort(others)
	for i := range min(strangersAsked, len(others)) {
		nodes = append(nodes, others[(n*strangersAsked+i)%len(others)])
	}
	return nodes
}

// goneQuestion asks what has become of a range. Nodes of earlier versions read the id alone.
func goneQuestion(d *Descriptor) []byte {
	b := binary.AppendUvarint(nil, uint64(d.ID))
	b = binary.AppendUvarint(b, d.Generation)
	return append(b, d.Start...)
}

// absorbedBy is told that the range was absorbed by another, of which this node missed the merge, or by one from which that
// was split off. It removes the replica unless one of the range that did it is here and has yet to come past the merge: that
// will need this one to apply it, or replace it by a snapshot. One that has come here since the merge, and was split again,
// does neither.
func (r *Replica) absorbedBy(into RangeID) bool {
	s := r.store
	if left, ok := s.Replica(into); ok && bytes.Compare(left.Desc().End, r.Desc().Start) <= 0 {
		_, past, err := mvcc.GetLocal(left.Engine(), absorbedKey(into, r.id))
		if err != nil || !past {
			return false
		}
	}
	f, err := r.lastFreeze()
	if err != nil {
		return false
	}
	if f != nil && f.Left != into {
		if left, ok := s.Replica(f.Left); ok && left.Desc().Generation <= f.LeftGeneration {
			return false
		}
	}
	r.queue.push(applyWork{r: r, fn: func() {
		if !r.removed.Load() {
			s.removeReplica(r, r.Desc())
		}
	}})
	return true
}

// handleReplicaGone answers with the descriptor that this store's replica has applied: what it does not
// list has been removed for good. Without a replica it answers with the range that has absorbed the other, if it knows: that
// is noted where it happened, and it follows from another range that holds the first key at a later generation, for a range
// keeps that as long as it lives.
func (s *Store) handleReplicaGone(payload []byte) ([]byte, error) {
	rd := reader{b: payload}
	id := RangeID(rd.uvarint())
	if rd.bad {
		return nil, errFrame
	}
	if r, ok := s.Replica(id); ok {
		return r.Desc().Encode(), nil
	}
	if into, err := s.log.MergedInto(uint64(id)); err != nil || into != 0 {
		return binary.AppendUvarint(nil, into), err
	}
	if generation, start := rd.uvarint(), rd.b; !rd.bad {
		if x, ok := s.ReplicaForKey(start); ok {
			if d := x.Desc(); d.ID != id && d.Contains(start) && d.Generation > generation {
				return binary.AppendUvarint(nil, uint64(d.ID)), nil
			}
		}
	}
	return nil, ErrRangeNotFound
}

// metaQueue holds descriptor changes on their way to the meta range, one at a time, in order.
type metaQueue struct {
	mu        sync.Mutex
	list      []metaUpdate
	running   bool
	unchecked []*Replica // whose records have to be looked at
	checking  bool
}

type metaUpdate struct{ old, new []*Descriptor }

// publish has the meta range told that new take the place of old.
func (s *Store) publish(old, new []*Descriptor) {
	if s.cfg.Meta == nil {
		return
	}
	q := &s.meta
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, metaUpdate{old, new})
	if !q.running {
		q.running = s.spawn(s.publishLoop)
	}
}

func (s *Store) publishLoop() {
	q := &s.meta
	for {
		q.mu.Lock()
		if len(q.list) == 0 || s.ctx.Err() != nil {
			q.running = false
			q.mu.Unlock()
			return
		}
		u := q.list[0]
		q.list = q.list[1:]
		q.mu.Unlock()
		for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
			ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
			err := s.cfg.Meta.UpdateMeta(ctx, u.old, u.new)
			cancel()
			if err == nil {
				s.metrics.metaWrites.Inc()
				for _, d := range u.new {
					if r, ok := s.Replica(d.ID); ok {
						r.metaGen.Store(d.Generation)
					}
				}
				break
			}
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-s.stop:
				t.Stop()
			}
			if s.ctx.Err() != nil || s.superseded(u) {
				break
			}
		}
	}
}

const (
	checkPause = time.Second // leases come in crowds
	checkBatch = 512
)

// checkMeta has the record of a range looked at that is led from here now: an earlier leader may not have come to publish
// its last change.
func (s *Store) checkMeta(r *Replica) {
	q := &s.meta
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unchecked = append(q.unchecked, r)
	if !q.checking {
		q.checking = s.spawn(s.checkLoop)
	}
}

func (s *Store) checkLoop() {
	q := &s.meta
	for {
		select {
		case <-time.After(checkPause):
		case <-s.stop:
			return
		}
		q.mu.Lock()
		list := q.unchecked
		if q.unchecked = nil; len(list) == 0 {
			q.checking = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		slices.SortFunc(list, func(a, b *Replica) int { return bytes.Compare(a.Desc().Start, b.Desc().Start) })
		for len(list) > 0 {
			n := min(len(list), checkBatch)
			if !s.checkRecords(list[:n]) {
				q.mu.Lock()
				q.unchecked = append(q.unchecked, list...)
				q.mu.Unlock()
				break
			}
			list = list[n:]
		}
	}
}

// checkRecords publishes those of the ranges whose meta records are behind. It reports whether that could be told.
func (s *Store) checkRecords(list []*Replica) bool {
	descs := make([]*Descriptor, 0, len(list))
	for _, r := range list {
		if r.leading.Load() {
			descs = append(descs, r.Desc())
		}
	}
	if len(descs) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	stale, err := s.cfg.Meta.(MetaChecker).StaleMeta(ctx, descs)
	if err != nil {
		return false
	}
	for _, d := range descs {
		if slices.Contains(stale, d) {
			s.publish(nil, []*Descriptor{d})
		} else if r, ok := s.Replica(d.ID); ok {
			r.metaGen.Store(d.Generation)
		}
	}
	return true
}

// superseded reports whether all descriptors of an update have newer ones here, which will be published
// too.
func (s *Store) superseded(u metaUpdate) bool {
	for _, d := range u.new {
		if r, ok := s.Replica(d.ID); !ok || !r.leading.Load() || r.Desc().Generation <= d.Generation {
			return false
		}
	}
	return len(u.old) == 0
}

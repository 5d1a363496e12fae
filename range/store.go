package ranges

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/range/placement"
	"github.com/meridian-db/meridian/range/raftlog"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/truetime/plant"
)

// A range starts with this position in its log, so that an empty replica, whose log starts at zero, is
// told from one that has the initial state, and gets a snapshot.
const (
	initialIndex = 10
	initialTerm  = 5
)

// logDir is where in the store's directory the raft log is.
const logDir = "raftlog"

// Store runs all replicas of one node on a fixed set of goroutines, which live from Start until Close.
//
//	workers      step Raft; one goroutine at a time owns a replica
//	appender     writes the log appends of all replicas, one batch at a time
//	syncer       waits for the fsyncs in order and delivers the answers
//	appliers     apply committed entries; a range always goes to the same one
//	ticker       ticks replicas that are awake, looks for lapsed support, closes timestamps
//	supporter    exchanges lease votes with other nodes
//	checker      compares the replicas of ranges led here, now and then
//	queue        splits, snapshots, log truncation, meta updates, in the background
//	placer       on the leader of the first range: decides where replicas and leaders go
//
// As long as the workers and the appender have nothing to do, their work is done by the goroutine that brings it.
type Store struct {
	cfg  Config
	log  *raftlog.Log
	boot uint64 // how many times this store has been opened
	// leasesOver is set once this node uses no lease any more that Close has not seen.
	leasesOver atomic.Bool
	ended      truetime.Timestamp // when the leases of all earlier lives end; zero when they did not end in order
	votes      *votes
	metrics    *metrics

	awake       awake
	fresh       []*Replica                 // leaders that are written to now and then (publishClosed); tickLoop's
	ahead       atomic.Pointer[[]*Replica] // replicas of ranges that close time ahead of now
	aheadLayout uint64                     // layout when they were looked for, and one; tickLoop's
	peers       peers

	sched    *scheduler
	appends  *appendQueue
	syncs    chan syncWork
	unsynced atomic.Int32 // sent to syncs, and not on disk yet
	outboxes sync.Pool    // of goroutines that step a replica in passing
	applies  []*applyQueue

	mu struct { // held for memory only
		sync.RWMutex
		replicas map[RangeID]*Replica
		orphans  orphans                 // messages for ranges that a split may be about to create
		creating map[RangeID]*Descriptor // ranges that a snapshot, or a split, is about to create
		leaving  map[RangeID]*departure  // replicas that are being removed, and whose data is still here
	}
	byKey atomic.Pointer[[]*Replica] // sorted by start key; replaced, never changed
	// layout counts the changes of which ranges are here, of where their replicas are, and of their policies: what is
	// made from all of them need not be made again while it stands still. It is raised after the change.
	layout atomic.Uint64

	late       lateCommits
	logCache   cacheBudget
	fsyncCount atomic.Uint64

	randMu sync.Mutex

	ceilings chan struct{} // a token: held while a ceiling is persisted
	// leaseWanted is set while a leader here may wait for a lease.
	leaseWanted atomic.Bool
	beats       atomic.Bool   // Beat is called
	supportCh   chan struct{} // asks for a round of lease votes
	queueCh     chan struct{} // asks the queue to take up looks
	looks       queueLooks
	peerBusy    sync.Map // NodeID -> struct{}: a vote request is under way
	incoming    incomingSnapshots
	sending     pace // bytes of snapshots
	checking    pace // bytes read by checks
	meta        metaQueue
	placer      *placer
	policies    atomic.Pointer[placement.Set] // nil: not heard of yet
	merging     atomic.Bool                   // the queue merges two ranges
	keptBytes   int64                         // of logs, when the state engine was last flushed; the queue's own

	fenced   bool        // the clock was not good at the last tick; the ticker's own
	leaving  atomic.Bool // leases are being handed over because of that
	started  atomic.Bool
	draining atomic.Bool
	closing  atomic.Bool
	shut     atomic.Bool           // Close has been called
	failure  atomic.Pointer[error] // why the store has stopped (Fail)
	gate     gate                  // handlers of what comes from other nodes
	stop     chan struct{}
	ctx      context.Context // ends with the store
	cancel   context.CancelFunc
	wg       sync.WaitGroup // worker, appender, syncer, appliers
	bg       sync.WaitGroup // ticker, supporter, queue, and what spawn starts
	bgMu     sync.Mutex     // orders spawn and Close
}

// Open opens the store's Raft log. Nothing runs before Start.
func Open(cfg Config) (*Store, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Store{
		cfg:       cfg,
		sched:     newScheduler(),
		appends:   newAppendQueue(),
		syncs:     make(chan syncWork, 64),
		ceilings:  make(chan struct{}, 1),
		supportCh: make(chan struct{}, 1),
		queueCh:   make(chan struct{}, 1),
		stop:      make(chan struct{}),
	}
	s.outboxes.New = func() any { return newOutbox(s) }
	s.placer = newPlacer(s)
	s.logCache.limit = cfg.LogCacheBytes
	s.sending.rate = float64(cfg.SnapshotRate)
	s.checking.rate = float64(cfg.CheckRate)
	s.late.delay = cfg.CommitDelay
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.replicas = make(map[RangeID]*Replica)
	s.mu.orphans.of = make(map[RangeID]*orphan)
	s.mu.creating = make(map[RangeID]*Descriptor)
	s.mu.leaving = make(map[RangeID]*departure)
	s.byKey.Store(&[]*Replica{})
	for range cfg.ApplyWorkers {
		s.applies = append(s.applies, newApplyQueue())
	}
	var err error
	if s.metrics, err = newMetrics(s, cfg.Metrics); err != nil {
		return nil, err
	}
	// Snapshots that an earlier life did not finish.
	if err := cfg.FS.RemoveAll(cfg.FS.PathJoin(cfg.Dir, "incoming")); err != nil {
		return nil, err
	}
	s.log, err = raftlog.Open(cfg.FS, cfg.FS.PathJoin(cfg.Dir, logDir), cfg.Logger, s.fatal)
	if err != nil {
		return nil, err
	}
	if err := s.identify(); err != nil {
		return nil, errors.Join(err, s.log.Close())
	}
	return s, nil
}

// identify checks whose store this is, counts its lives, and reads what earlier lives have promised.
func (s *Store) identify() error {
	v, err := s.log.GetStore("node")
	if err != nil {
		return err
	}
	if v == nil {
		// State whose log has gone is no state: what was acknowledged since the last flush is missing.
		if ids, err := s.localRanges(); err != nil {
			return err
		} else if len(ids) > 0 {
			return fmt.Errorf("range: the store in %s holds ranges but its raft log is missing", s.cfg.Dir)
		}
		if err := s.log.SetStore("node", binary.AppendUvarint(nil, uint64(s.cfg.NodeID))); err != nil {
			return err
		}
	} else if id, n := binary.Uvarint(v); n <= 0 || NodeID(id) != s.cfg.NodeID {
		return fmt.Errorf("range: the store in %s belongs to %s, not %s", s.cfg.Dir, NodeID(id), s.cfg.NodeID)
	}
	if v, err = s.log.GetStore("boot"); err != nil {
		return err
	}
	s.boot, _ = binary.Uvarint(v)
	s.boot++
	if err := s.log.SetStore("boot", binary.AppendUvarint(nil, s.boot)); err != nil {
		return err
	}
	s.votes = newVotes(s.cfg.NodeID, s.boot, s.cfg.SupportWindow)
	s.votes.ignore = s.cfg.TestIgnoreVotes || plant.On(plant.LeaseOverlap)
	err = s.log.ScanStore("ceiling/", func(name string, value []byte) error {
		c, n := binary.Uvarint(value)
		peer, err := strconv.ParseUint(strings.TrimPrefix(name, "ceiling/"), 10, 32)
		if n <= 0 || err != nil {
			return raftlog.ErrCorrupt
		}
		s.votes.bar(NodeID(peer), truetime.Timestamp(c))
		return nil
	})
	if err != nil {
		return err
	}
	if v, err = s.log.GetStore("ended"); err != nil {
		return err
	}
	rd := reader{b: v}
	if boot, ts := rd.uvarint(), truetime.Timestamp(rd.uvarint()); !rd.bad && boot+1 == s.boot {
		s.ended = ts
		s.votes.ended(s.cfg.NodeID, s.boot, ts)
	}
	return nil
}

// MetaKey returns the key of the meta record of the range that ends at end. Its value is the encoded
// descriptor.
func MetaKey(end []byte) []byte { return append([]byte{0x01}, end...) }

// Empty reports whether the store has never held a range.
func (s *Store) Empty() (bool, error) {
	ids, err := s.localRanges()
	return len(ids) == 0, err
}

// Bootstrap writes the initial state of ranges, and their meta records, into an empty store: between
// Open and Start, on the first node of a cluster only.
func (s *Store) Bootstrap(descs []*Descriptor) error {
	if empty, err := s.Empty(); err != nil {
		return err
	} else if !empty {
		return fmt.Errorf("range: the store in %s is not empty", s.cfg.Dir)
	}
	b := s.cfg.Engine.NewBatch()
	defer b.Close()
	lb := s.log.NewBatch()
	at := raftlog.Position{Index: initialIndex, Term: initialTerm}
	for _, d := range descs {
		if err := mvcc.ValidateKey(d.Start); err != nil {
			return err
		}
		putState(b, d, appliedState{index: at.Index, term: at.Term})
		b.Put(MetaKey(d.End), 1, d.Encode())
		lb.Reset(uint64(d.ID), at, raftlog.HardState{Term: at.Term, Commit: at.Index})
	}
	if err := lb.Commit(true); err != nil {
		return err
	}
	if err := b.Commit(false); err != nil {
		return err
	}
	return s.cfg.Engine.Flush()
}

// localRanges lists the ranges that the state engine holds.
func (s *Store) localRanges() ([]RangeID, error) {
	var ids []RangeID
	found := errors.New("found")
	end := mvcc.LocalSpan(1<<64 - 1).End
	for next := uint64(0); ; {
		var id uint64
		err := mvcc.ScanLocal(s.cfg.Engine, mvcc.LocalKey(next, nil), end, func(key, _ []byte) error {
			id = binary.BigEndian.Uint64(key[2:])
			return found
		})
		if err == nil {
			return ids, nil
		}
		if err != found {
			return nil, err
		}
		ids = append(ids, RangeID(id))
		next = id + 1
	}
}

// Start loads all replicas and starts the store's goroutines.
func (s *Store) Start() error {
	if err := s.finishMerges(); err != nil {
		return err
	}
	if err := s.loadReplicas(); err != nil {
		return err
	}
	s.mu.Lock()
	s.reindex()
	s.mu.Unlock()
	s.started.Store(true)
	s.wg.Add(s.cfg.Workers + 2 + len(s.applies))
	for range s.cfg.Workers {
		go s.worker()
	}
	go s.appendLoop()
	go s.syncLoop()
	for _, q := range s.applies {
		go s.applyLoop(q)
	}
	s.spawn(s.tickLoop)
	s.spawn(s.supportLoop)
	s.spawn(s.queueLoop)
	if s.cfg.CheckInterval > 0 {
		s.spawn(s.compareLoop)
	}
	if s.cfg.Nodes != nil {
		s.spawn(s.placer.run)
	}
	s.askSupport()
	for _, r := range s.replicaList() {
		r.firstLook()
	}
	return nil
}

// firstLook lets a lone replica lead at once.
func (r *Replica) firstLook() {
	if d := r.Desc(); len(d.Replicas) == 1 {
		r.poke(flagCampaign)
	}
}

// newReplica makes a replica of what the engines hold, and registers it. init, when not nil, completes it
// before anyone sees it.
func (s *Store) newReplica(d *Descriptor, a appliedState, id ReplicaID, init func(r *Replica)) (*Replica, error) {
	st, err := s.recoverLog(d.ID, a)
	if err != nil {
		return nil, err
	}
	return s.addReplica(d, a, id, st, init)
}

// addReplica is newReplica, of a log that agrees with the applied state.
func (s *Store) addReplica(d *Descriptor, a appliedState, id ReplicaID, st raftlog.State, init func(r *Replica)) (*Replica, error) {
	var err error
	r := &Replica{id: d.ID, replicaID: id, store: s}
	r.queue = s.applies[uint64(d.ID)%uint64(len(s.applies))]
	r.desc.Store(d)
	r.applied.Store(a.index)
	r.closed.Store(int64(a.closed))
	r.size.Store(a.size)
	r.apply.term, r.apply.closed, r.apply.size = a.term, a.closed, a.size
	r.seq.floor = a.closed
	r.disk.last, r.disk.hard, r.disk.written = st.Last.Index, st.Hard, st.Hard
	r.mu.logged = raftlog.HardState{Term: st.Hard.Term, Vote: st.Hard.Vote}
	r.truncated.Store(st.Truncated.Index)
	r.committed.Store(st.Hard.Commit)
	r.logBytes.Store(st.Bytes)
	r.pos.last = st.Last.Index
	view := &logView{
		id: uint64(d.ID), log: s.log, budget: &s.logCache,
		hard: st.Hard, conf: d.confState(), truncated: st.Truncated, last: st.Last, logBytes: st.Bytes,
		needSnapshot: func() { s.kickReplica(r) }, failed: s.Fail,
	}
	r.mu.view = view
	r.mu.term = st.Hard.Term
	r.termNow.Store(st.Hard.Term)
	r.mu.campaignAt = graceTicks + r.turn(d, 0)
	if r.mu.rn, err = r.newRawNode(view, a.index); err != nil {
		return nil, fmt.Errorf("%s: %w", d.ID, err)
	}
	r.mu.role = raft.StateFollower
	if init != nil {
		init(r)
	}
	if err := r.recallDamage(); err != nil {
		return nil, err
	}
	r.machine = s.cfg.NewMachine(r)
	r.made.Store(true)
	s.mu.Lock()
	s.mu.replicas[d.ID] = r
	if s.started.Load() {
		s.index(r)
	} // else Start does it, once for all
	s.awake.add(r)
	held := s.mu.orphans.take(d.ID)
	s.mu.Unlock()
	for _, f := range held {
		if f.to == id {
			r.inbox.remote(f.m)
		}
	}
	if s.started.Load() {
		r.poke(flagLook)
	}
	return r, nil
}

// reindex rebuilds byKey. The caller holds mu.
func (s *Store) reindex() {
	list := make([]*Replica, 0, len(s.mu.replicas))
	for _, r := range s.mu.replicas {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *Replica) int { return bytes.Compare(a.Desc().Start, b.Desc().Start) })
	s.byKey.Store(&list)
	s.layout.Add(1)
}

// index adds a replica to byKey: a store of thousands of ranges that splits many of them must not sort them all each
// time. The caller holds mu.
func (s *Store) index(r *Replica) {
	old := s.replicaList()
	start := r.Desc().Start
	i := sort.Search(len(old), func(i int) bool { return bytes.Compare(old[i].Desc().Start, start) >= 0 })
	list := make([]*Replica, 0, len(old)+1)
	list = append(append(append(list, old[:i]...), r), old[i:]...)
	s.byKey.Store(&list)
	s.layout.Add(1)
}

// replicaList returns all replicas in key order. The slice is shared.
func (s *Store) replicaList() []*Replica { return *s.byKey.Load() }

// Replicas returns the store's replicas in key order.
func (s *Store) Replicas() []*Replica { return slices.Clone(s.replicaList()) }

// Replica returns the replica of a range.
func (s *Store) Replica(id RangeID) (*Replica, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, ok := s.mu.replicas[id]
	return r, ok
}

// ReplicaForKey returns the replica whose range holds key.
func (s *Store) ReplicaForKey(key []byte) (*Replica, bool) {
	list := s.replicaList()
	i := sort.Search(len(list), func(i int) bool { return bytes.Compare(list[i].Desc().End, key) > 0 })
	if i == len(list) || !list[i].Desc().Contains(key) {
		return nil, false
	}
	return list[i], true
}

// NodeID returns the store's node.
func (s *Store) NodeID() NodeID { return s.cfg.NodeID }

// Engine returns the state engine.
func (s *Store) Engine() *mvcc.Engine { return s.cfg.Engine }

func (s *Store) randN(n int64) int64 {
	s.randMu.Lock()
	defer s.randMu.Unlock()
	return s.cfg.Rand.Int64N(n)
}

// Close stops the store. Requests under way fail with ErrClosed or ErrAmbiguous. The state engine is
// flushed, so that the next start has little to replay; its opener closes it.
func (s *Store) Close() error {
	if s.shut.Swap(true) {
		return nil
	}
	if s.started.Load() && !s.failed() {
		s.late.fire() // the others learn now what they would have learned in a moment
		if end, err := s.endLeases(); err != nil {
			s.cfg.Logger.Warn("give up leases", "err", err)
		} else {
			s.farewell(end)
		}
	}
	s.bgMu.Lock()
	s.closing.Store(true)
	s.bgMu.Unlock()
	close(s.stop)
	s.cancel()
	s.late.close()
	s.gate.close()
	s.bg.Wait()
	if s.started.Load() {
		s.sched.close()
		s.appends.close()
		for _, q := range s.applies {
			q.close()
		}
		s.wg.Wait()
	}
	for _, r := range s.replicaList() {
		r.shutdown()
	}
	s.placer.log.close()
	err := s.cfg.Engine.Flush()
	return errors.Join(err, s.log.Close())
}

// gate counts those inside, so that Close can wait for them.
type gate struct {
	mu     sync.Mutex
	n      int
	closed bool
	empty  chan struct{}
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.n++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// close lets nobody in any more and waits until all are out.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	var empty chan struct{}
	if g.n > 0 {
		empty = make(chan struct{})
		g.empty = empty
	}
	g.mu.Unlock()
	if empty != nil {
		<-empty
	}
}

// endLeases gives up the leases of this node for good, and returns and records when the last of them ends: farewell tells
// the others, or the node's next life does.
func (s *Store) endLeases() (truetime.Timestamp, error) {
	s.leasesOver.Store(true) // so none is used that the loop does not see, that of a range just split off for instance
	end := s.votes.ownBarrier()
	for _, r := range s.replicaList() {
		end = max(end, r.endLease())
	}
	promised := s.votes.retire()
	end = max(end, 1) // zero would say that it is not known
	promised[s.cfg.NodeID] = end
	select {
	case s.ceilings <- struct{}{}: // and keep it: nothing is persisted after this
	case <-time.After(time.Second):
		return 0, errors.New("a ceiling is still being written")
	}
	for peer, until := range promised {
		if err := s.log.SetStore(ceilingName(peer), binary.AppendUvarint(nil, uint64(until))); err != nil {
			return 0, err
		}
	}
	b := binary.AppendUvarint(nil, s.boot)
	return end, s.log.SetStore("ended", binary.AppendUvarint(b, uint64(end)))
}

// endLease gives up the replica's lease, if it has one, and returns when the last lease it had ends.
func (r *Replica) endLease() truetime.Timestamp {
	r.seq.Lock()
	l := &r.lease
	l.mu.Lock()
	leads, ready := l.term != 0, l.ready && !l.frozen && !l.held
	until := max(l.published, l.last.until)
	if leads {
		l.frozen = true
		l.changed()
	}
	l.mu.Unlock()
	floor := r.seq.floor
	r.seq.Unlock()
	switch {
	case !leads && r.LeaderHint() != 0 && r.LeaderHint() != r.store.cfg.NodeID:
		return 0 // another leads: the lease was handed over, or is over
	case !ready:
		return until
	}
	r.machine.LeaseHandoff()
	if m, ok := r.machine.(LeaseSettler); ok && m.LeaseSettled() {
		return floor
	}
	return until
}

// spawn runs f on a goroutine that Close waits for; it does not once the store closes.
func (s *Store) spawn(f func()) bool {
	s.bgMu.Lock()
	defer s.bgMu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.bg.Add(1)
	go func() {
		defer s.bg.Done()
		f()
	}()
	return true
}

// shutdown ends what waits for the replica.
func (r *Replica) shutdown() {
	r.mu.Lock()
	r.dropTransfer()
	r.mu.Unlock()
	r.lease.mu.Lock()
	r.lease.term, r.lease.ready = 0, false
	r.lease.changed()
	r.lease.mu.Unlock()
	r.leading.Store(false)
	r.pend.failAll(func(p *Pending) error { return ErrAmbiguous })
	r.waits.close()
	r.liftFence()
	r.machine.Close()
}

// HandleRaft takes a frame that another node's store has sent. The store owns frame from then on.
func (s *Store) HandleRaft(from NodeID, frame []byte) {
	if len(frame) == 0 || !s.started.Load() || s.failed() || !s.gate.enter() {
		return
	}
	defer s.gate.leave()
	rd := &reader{b: frame[1:]}
	switch frame[0] {
	case frameRaft:
		for len(rd.b) > 0 {
			rm, err := readRaftMsg(rd)
			if err != nil {
				s.metrics.badFrames.Inc()
				return
			}
			s.route(from, rm)
		}
	case frameClosed:
		for len(rd.b) > 0 {
			u := readClosed(rd)
			if rd.bad {
				break
			}
			if r, ok := s.Replica(u.rng); ok {
				r.closedUpdate(from, u)
			} else if s.missing(u.rng) {
				s.requestWake(from, u.rng)
			}
		}
	case frameWake:
		for len(rd.b) > 0 {
			id := RangeID(rd.uvarint())
			if r, ok := s.Replica(id); ok && !rd.bad {
				r.poke(flagWake)
			}
		}
	case frameQuery, frameReleased:
		for len(rd.b) > 0 {
			n := readLeaseNote(rd)
			r, ok := s.Replica(n.rng)
			switch {
			case rd.bad:
			case ok && frame[0] == frameQuery:
				r.answerQuery(from, n.term)
			case frame[0] == frameQuery:
				// The replica is gone, and what lease it had reaches no further than this.
				n.until = s.cfg.Clock.Now().Latest.Add(2 * s.cfg.SupportWindow)
				s.cfg.Transport.SendRaft(from, appendLeaseNote([]byte{frameReleased}, n))
			case ok:
				r.leaseReleased(from, n)
			}
		}
	default:
		rd.bad = true
	}
	if rd.bad {
		s.metrics.badFrames.Inc()
	}
}

func (s *Store) route(from NodeID, rm raftMsg) {
	r, ok := s.Replica(rm.rng)
	im := inMsg{m: rm.m, from: from, epoch: rm.epoch}
	if !ok {
		now := s.cfg.Clock.Now().Latest
		patience := s.patience()
		s.mu.Lock()
		if _, ok := s.mu.replicas[rm.rng]; ok {
			s.mu.Unlock()
			return // just came; Raft repeats the message
		}
		stranger := s.mu.orphans.keep(rm.rng, inFrame{ReplicaID(rm.m.GetTo()), im}, now, patience) &&
			s.mu.creating[rm.rng] == nil && s.mu.leaving[rm.rng] == nil
		s.mu.Unlock()
		if stranger {
			s.answerStranger(from, rm)
		}
		return
	}
	if ReplicaID(rm.m.GetTo()) != r.replicaID {
		return
	}
	if r.inbox.remote(im) && !r.lateAck(rm.m) && r.inbox.wake() {
		s.run(r)
	}
}

// requestWake asks a leader for a heartbeat.
func (s *Store) requestWake(leader NodeID, id RangeID) {
	s.cfg.Transport.SendRaft(leader, binary.AppendUvarint([]byte{frameWake}, uint64(id)))
}

// HandleCall answers a request that another node's store has sent.
func (s *Store) HandleCall(ctx context.Context, from NodeID, method Method, payload []byte) ([]byte, error) {
	if !s.started.Load() || s.failed() || !s.gate.enter() {
		return nil, ErrClosed
	}
	defer s.gate.leave()
	switch method {
	case methodSupport:
		return s.handleSupport(from, payload)
	case methodSafeTime:
		return s.handleSafeTime(payload)
	case methodHandoff:
		return s.handleHandoff(from, payload)
	case methodReady:
		return s.handleReady(from, payload)
	case methodTransfer:
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
		return s.handleTransfer(ctx, from, payload)
	case methodReport:
		return s.handleReport(payload)
	case methodOrder:
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
		return s.handleOrder(ctx, payload)
	case methodReplicaGone:
		return s.handleReplicaGone(payload)
	case methodNeighbour:
		return s.handleNeighbour(payload)
	case methodCheck:
		return s.handleCheck(payload)
	case methodDamaged:
		return s.handleDamaged(payload)
	case methodMergeFate:
		return s.handleMergeFate(ctx, payload)
	case methodAlign:
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
		return s.handleAlign(ctx, payload)
	}
	return nil, fmt.Errorf("range: unknown method %d", method)
}

func ceilingName(peer NodeID) string { return "ceiling/" + strconv.FormatUint(uint64(peer), 10) }

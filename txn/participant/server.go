package participant

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/truetime/plant"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/locktable"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// Config configures a Server. A zero field takes the default named in its comment.
type Config struct {
	NodeID ranges.NodeID  // Required.
	Clock  truetime.Clock // Required.
	// Router reaches other ranges. Required before the first commit over several ranges; it may be set
	// later by SetRouter, as the router itself needs the Server.
	Router  Router
	Logger  *slog.Logger          // Default: discards.
	Tracer  trace.Tracer          // Default: none.
	Metrics prometheus.Registerer // Default: none.
	// Programs runs what reads bring along over the data. Default: nothing is run, rows are answered as they are.
	Programs kv.Programs

	// SweepInterval is how often lock tables look for silent transactions. Default 1s.
	SweepInterval time.Duration
	// Silence is the number of sweeps without a heartbeat after which a transaction counts as abandoned.
	// Default 5.
	Silence int64
	// WoundPatience is how long an older transaction waits for a younger one before it has it aborted, the
	// prepared ones by their coordinator. Default 1s, as PostgreSQL's deadlock_timeout.
	WoundPatience time.Duration
	// DeadlockDelay is how long a transaction waits for a lock before a circle of waiting transactions is looked
	// for. Default 10ms.
	DeadlockDelay time.Duration
	// ResolveRetry is the pause between two attempts to tell a participant the outcome. Default 100ms.
	ResolveRetry time.Duration
	// ResolveTimeout bounds one such attempt, and one question to a coordinator: an answer can be lost without
	// the connection being so. Default 3s.
	ResolveTimeout time.Duration
	// OutcomeRetention is how long the outcome of a commit attempt can be asked for. Default 5m.
	OutcomeRetention time.Duration
	// GCTTL is how long old versions are kept. Default 1h; negative: for ever.
	GCTTL time.Duration
	// Protected says how far the GC threshold of a range may be raised that is to be raised to threshold; zero: not at
	// all. Default: nothing is protected.
	Protected func(ctx context.Context, start, end []byte, threshold truetime.Timestamp) truetime.Timestamp
	// GCInterval is how often a range collects garbage and trims outcomes. Default 1m.
	GCInterval time.Duration
	// MoveAfter is how long after a large commit its writes begin to be moved to their commit timestamp. Its deletions
	// of spans wait for GCTTL. Default 10m.
	MoveAfter time.Duration

	// The following break the protocol on purpose, for tests that must then see an anomaly.
	TestNoCommitWait  bool // I7: release locks and answer without waiting out the commit timestamp
	TestReadEarly     bool // I7: answer reads at safe time without waiting until what they saw has certainly passed
	TestFeedUnsettled bool // answer DIFF without waiting for what may still be committed, prepared transactions included
	TestReleaseEarly  bool // strict two-phase locking: shared locks go as soon as the read is done
}

// Server holds the machines of one store and dispatches requests to them. Its goroutines, one that sweeps
// and those that finish transactions whose request has gone, end with Close.
type Server struct {
	cfg     Config
	metrics *metrics
	ctx     context.Context
	cancel  context.CancelFunc
	tasks   sync.WaitGroup

	mu       sync.RWMutex
	machines map[ranges.RangeID]*Machine
	merged   struct { // ranges absorbed lately, and by whom
		by    map[ranges.RangeID]ranges.RangeID
		order []ranges.RangeID
	}
	closed bool
	router Router

	tailBytes atomic.Int64 // held by the tails of all machines

	lostMu sync.Mutex
	lost   map[TxnID]int64 // wounded and expired transactions, with the sweep that forgets them
	sweeps int64
}

// NewServer returns a Server that sweeps until Close.
func NewServer(cfg Config) (*Server, error) {
	switch {
	case cfg.NodeID == 0:
		return nil, errors.New("participant: Config.NodeID is required")
	case cfg.Clock == nil:
		return nil, errors.New("participant: Config.Clock is required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.TestNoCommitWait = cfg.TestNoCommitWait || plant.On(plant.NoCommitWait)
	cfg.TestReleaseEarly = cfg.TestReleaseEarly || plant.On(plant.EarlyRelease)
	cfg.SweepInterval = cmp.Or(cfg.SweepInterval, time.Second)
	cfg.Silence = cmp.Or(cfg.Silence, 5)
	cfg.WoundPatience = cmp.Or(cfg.WoundPatience, time.Second)
	cfg.DeadlockDelay = cmp.Or(cfg.DeadlockDelay, 10*time.Millisecond)
	cfg.ResolveRetry = cmp.Or(cfg.ResolveRetry, 100*time.Millisecond)
	cfg.ResolveTimeout = cmp.Or(cfg.ResolveTimeout, 3*time.Second)
	cfg.OutcomeRetention = cmp.Or(cfg.OutcomeRetention, 5*time.Minute)
	cfg.GCTTL = cmp.Or(cfg.GCTTL, time.Hour)
	cfg.GCInterval = cmp.Or(cfg.GCInterval, time.Minute)
	cfg.MoveAfter = cmp.Or(cfg.MoveAfter, 10*time.Minute)
	s := &Server{
		cfg:      cfg,
		metrics:  newMetrics(cfg.Metrics),
		machines: make(map[ranges.RangeID]*Machine),
		router:   cfg.Router,
		lost:     make(map[TxnID]int64),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.spawn(s.sweepLoop)
	s.spawn(s.gcLoop)
	s.spawn(s.moveLoop)
	return s, nil
}

// SetRouter sets or replaces the router.
func (s *Server) SetRouter(r Router) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.router = r
}

func (s *Server) getRouter() Router {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.router
}

// NewMachine makes the machine of a replica: what ranges.Config.NewMachine wants.
func (s *Server) NewMachine(r *ranges.Replica) ranges.Machine { return s.Add(storeReplica{r}) }

// Add makes the machine of a replica and serves it until it is closed.
func (s *Server) Add(rep Replica) *Machine {
	m := newMachine(s, rep)
	s.mu.Lock()
	s.machines[m.id] = m
	s.mu.Unlock()
	return m
}

func (s *Server) remove(m *Machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.machines[m.id] == m {
		delete(s.machines, m.id)
		if m.mergedInto.Load() != nil {
			s.noteMerged(m)
		}
	}
}

// Close refuses further requests, waits for those in progress and ends the server's goroutines. After it nothing
// here touches the engine. Locks are given up first, so that nobody waits for one; what waits for the
// log is answered by the store, which is closed before.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for _, m := range s.all() {
		m.LeaseLost()
	}
	s.cancel()
	s.tasks.Wait()
}

// enter admits a request to a range; s.tasks.Done must follow when it has a machine.
func (s *Server) enter(id ranges.RangeID) *Machine {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil
	}
	m := s.machines[id]
	if m != nil {
		s.tasks.Add(1)
	}
	return m
}

// spawn runs f on a goroutine that Close waits for; f must end when its leadership's or the server's
// context does.
func (s *Server) spawn(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.tasks.Add(1)
	go func() {
		defer s.tasks.Done()
		f()
	}()
}

// Machine returns the machine of a range on this store, nil when there is none.
func (s *Server) Machine(id ranges.RangeID) *Machine {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.machines[id]
}

func (s *Server) all() []*Machine {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*Machine, 0, len(s.machines))
	for _, m := range s.machines {
		out = append(out, m)
	}
	return out
}

// Batch serves one request. Refusals are in the response; the error is ctx's. Slices of req are read during
// the call and, when it ends with an error, until the request's command has been applied: the caller does
// not change them. The response's slices are the caller's, but must not be modified.
func (s *Server) Batch(ctx context.Context, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error) {
	resp := &txnpb.BatchResponse{}
	switch req.Kind {
	case txnpb.Kind_HEARTBEAT:
		s.heartbeat(req, resp)
		return resp, nil
	case txnpb.Kind_SAFE_TIME:
		for _, id := range req.RangeIds {
			ts := truetime.Timestamp(0)
			if m := s.Machine(ranges.RangeID(id)); m != nil {
				ts = m.rep.SafeTime()
			}
			resp.SafeTimes = append(resp.SafeTimes, int64(ts))
		}
		return resp, nil
	case txnpb.Kind_WAITS:
		if router := s.getRouter(); router != nil {
			return router.Waits(ctx, req), nil
		}
		resp.Error = txnpb.ErrorCode_UNAVAILABLE
		return resp, nil
	}
	m := s.enter(ranges.RangeID(req.RangeId))
	if m == nil {
		if into := s.absorbedBy(ranges.RangeID(req.RangeId)); into != nil {
			resp.Error, resp.ErrorMessage = txnpb.ErrorCode_RANGE_MISMATCH, "the range was merged"
			into.describe(resp)
		} else {
			resp.Error = txnpb.ErrorCode_RANGE_NOT_FOUND
		}
		return resp, nil
	}
	defer s.tasks.Done()
	span := s.startSpan(&ctx, req)
	err := m.serve(ctx, req, resp)
	if err == nil && resp.Error == txnpb.ErrorCode_OK {
		m.note(req, resp)
		if m.lead.Load() != nil {
			m.rep.CountRequest(ranges.NodeID(req.Gateway))
		}
	}
	if err == nil && resp.Error == txnpb.ErrorCode_OK && req.DescGeneration != 0 &&
		uint64(req.DescGeneration) < m.rep.Desc().Generation {
		m.describe(resp)
	}
	if span != nil {
		endSpan(span, resp, err)
	}
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (m *Machine) serve(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	err := m.dispatch(ctx, req, resp)
	if err != nil {
		return m.refuse(ctx, resp, err)
	}
	return nil
}

func (m *Machine) dispatch(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) error {
	if err := check(req); err != nil {
		return err
	}
	switch req.Kind {
	case txnpb.Kind_READ:
		return m.read(ctx, req, resp)
	case txnpb.Kind_DIFF:
		return m.diff(ctx, req, resp)
	case txnpb.Kind_STAGE:
		return m.stage(ctx, req, resp)
	case txnpb.Kind_COMMIT_ONE, txnpb.Kind_DECIDE:
		return m.commit(ctx, req, resp)
	case txnpb.Kind_PREPARE:
		return m.prepare(ctx, req, resp)
	case txnpb.Kind_RESOLVE:
		return m.resolve(ctx, req, resp)
	case txnpb.Kind_ROLLBACK:
		return m.rollback(ctx, req, resp)
	case txnpb.Kind_QUERY:
		return m.query(ctx, req, resp)
	}
	return invalid("unknown kind %d", req.Kind)
}

// heartbeat keeps transactions alive and answers those that are lost.
func (s *Server) heartbeat(req *txnpb.BatchRequest, resp *txnpb.BatchResponse) {
	ids := make([]TxnID, 0, len(req.TxnIds))
	for _, id := range req.TxnIds {
		if len(id) == 16 {
			ids = append(ids, TxnID(id))
		}
	}
	for _, m := range s.all() {
		if l := m.lead.Load(); l != nil && l.table.Len() > 0 {
			l.table.Touch(ids)
		}
	}
	s.lostMu.Lock()
	defer s.lostMu.Unlock()
	for i := range ids {
		if _, ok := s.lost[ids[i]]; ok {
			resp.LostTxnIds = append(resp.LostTxnIds, ids[i][:])
		}
	}
}

// GatewayDisconnected says that the connection to a node was lost. If its process is gone, its transactions are
// cleared away sooner than those of a node that is merely silent; if it lives, its next heartbeat keeps them.
func (s *Server) GatewayDisconnected(node ranges.NodeID) {
	for _, m := range s.all() {
		if l := m.lead.Load(); l != nil {
			l.table.Disconnected(int32(node))
		}
	}
}

// onWound is called by lock tables, under their mutex.
func (s *Server) onWound(victim, by *locktable.Txn) {
	if by != nil {
		s.metrics.wounds.Inc()
	} else {
		s.metrics.expired.Inc()
	}
	s.lostMu.Lock()
	s.lost[victim.ID] = s.sweeps + 30
	s.lostMu.Unlock()
}

func (s *Server) sweepLoop() {
	t := time.NewTicker(s.cfg.SweepInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.sweep()
		case <-s.ctx.Done():
			return
		}
	}
}

// sweep looks after what transactions have left behind on every range led here.
func (s *Server) sweep() {
	s.lostMu.Lock()
	s.sweeps++
	idleTails := s.sweeps%tailSweeps == 0
	for id, until := range s.lost {
		if until < s.sweeps {
			delete(s.lost, id)
		}
	}
	s.lostMu.Unlock()
	for _, m := range s.all() {
		if idleTails {
			m.sweepTail()
		}
		m.sweep()
	}
}

// sweep drops transactions whose gateway is silent: the unprepared are aborted, the prepared are recovered
// through their coordinator (I8), staged writes without an owner are dropped.
func (m *Machine) sweep() {
	l := m.lead.Load()
	if l == nil {
		return
	}
	var silent []*locktable.Txn
	if l.table.Len() > 0 {
		_, silent = l.table.Sweep(m.srv.cfg.Silence)
	}
	for _, x := range silent {
		m.recover(l, x)
	}
	m.mu.RLock()
	var orphans []TxnID
	for id := range m.state.staged {
		if m.state.records[id] == nil {
			if x := l.table.Lookup(id); x == nil || x.State() == locktable.Aborted {
				orphans = append(orphans, id)
			}
		}
	}
	m.mu.RUnlock()
	slices.SortFunc(orphans, func(a, b TxnID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range orphans {
		m.dropStaged(l, id)
	}
	m.forgetDecisions(l)
}

// Locks lists the locks held and awaited on the ranges led here, for system views.
func (s *Server) Locks(limit int) map[ranges.RangeID][]locktable.LockInfo {
	out := make(map[ranges.RangeID][]locktable.LockInfo)
	for _, m := range s.all() {
		if l := m.lead.Load(); l != nil && l.table.Len() > 0 {
			if locks := l.table.Locks(limit); len(locks) > 0 {
				out[m.id] = locks
			}
		}
	}
	return out
}

// TxnInfo describes one transaction that holds or awaits locks on ranges led by this node, for system views.
type TxnInfo struct {
	ID      TxnID
	Age     truetime.Timestamp // when its first attempt began: smaller is older, and wins
	Gateway ranges.NodeID
	// State is that in the range where it has come farthest: active, committing, prepared, aborted.
	State  locktable.State
	Ranges []ranges.RangeID // led here, in which it has locks or waits
	Locks  int              // held in them
	Waits  []TxnWait
}

// TxnWait is a lock that a transaction waits for.
type TxnWait struct {
	Range ranges.RangeID
	locktable.WaitInfo
}

// Transactions lists the transactions with locks on the ranges led here, the oldest first. A transaction over
// several nodes is listed by each with what it holds there.
func (s *Server) Transactions() []TxnInfo {
	found := make(map[TxnID]*TxnInfo)
	machines := s.all()
	slices.SortFunc(machines, func(a, b *Machine) int { return cmp.Compare(a.id, b.id) })
	for _, m := range machines {
		l := m.lead.Load()
		if l == nil || l.table.Len() == 0 {
			continue
		}
		for _, x := range l.table.Transactions() {
			info := found[x.Txn]
			if info == nil {
				info = &TxnInfo{ID: x.Txn, Age: truetime.Timestamp(x.Age), Gateway: ranges.NodeID(x.Gateway), State: x.State}
				found[x.Txn] = info
			}
			info.State = max(info.State, x.State)
			info.Locks += x.Locks
			info.Ranges = append(info.Ranges, m.id)
			for _, w := range x.Waits {
				info.Waits = append(info.Waits, TxnWait{m.id, w})
			}
		}
	}
	out := make([]TxnInfo, 0, len(found))
	for _, info := range found {
		out = append(out, *info)
	}
	slices.SortFunc(out, func(a, b TxnInfo) int {
		if c := cmp.Compare(a.Age, b.Age); c != 0 {
			return c
		}
		return slices.Compare(a.ID[:], b.ID[:])
	})
	return out
}

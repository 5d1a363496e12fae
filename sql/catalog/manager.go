package catalog

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// Clock is the part of TrueTime that leases need.
type Clock interface {
	Now() truetime.Interval
	WaitAfter(ctx context.Context, ts truetime.Timestamp) error
}

// Peers carries catalog messages to other nodes. The other side gives them to Manager.HandleCall. A Manager
// never calls its own node.
type Peers interface {
	Call(ctx context.Context, node uint64, payload []byte) ([]byte, error)
}

// Config configures a Manager. A zero field takes the default named in its comment.
type Config struct {
	DB      kv.DB         // Required.
	Clock   Clock         // Required.
	Node    uint64        // Required: this node's id.
	Peers   Peers         // Default: there are no others.
	Virtual []*Table      // Relations of the built-in schemas.
	Lease   time.Duration // How long a lease lasts; a change waits at most that long for a dead node. Default 10s.
	// Grace bounds how long a change waits for transactions that have used a changed object and are
	// idle; then they are doomed. Default 3s.
	Grace time.Duration
	// GarbageEvery is how often the storage of dropped objects is removed. Default 30s.
	GarbageEvery time.Duration
	// GarbageKeys is how many keys of a dropped object are deleted one by one; more are deleted as spans. Default 1000.
	GarbageKeys int
	Log         *slog.Logger // Default: discards.
}

// Manager keeps a node's current snapshot of the catalog and the node's lease on it. It is safe for
// concurrent use.
type Manager struct {
	cfg     Config
	virtual *VirtualSet

	current atomic.Pointer[leased]  // what transactions use; never nil after Start
	frozen  atomic.Pointer[freezer] // a change in progress; nil if none

	mu       sync.Mutex
	active   Txn           // head of the ring of open transactions
	drained  chan struct{} // closed and replaced when a transaction ends while drainers > 0
	drainers int

	loading chan struct{} // holds a token while a load or renewal is going on

	past struct { // versions read at older timestamps, the oldest use first
		sync.Mutex
		states []*state
	}

	ids struct {
		sync.Mutex
		next, end uint32
	}

	bg    context.Context // of the goroutines; ended by stop
	stop  context.CancelFunc
	tasks sync.WaitGroup // resolvers, garbage collection

	stats     statsHolder
	changes   changeCounts
	analyzer  atomic.Pointer[func(context.Context, uint32) error]
	analyzing atomic.Bool

	collecting atomic.Bool
	done       chan struct{}
	wake       chan struct{} // asks the renewer to run now
	closed     sync.Once
}

// leased is a snapshot with the end of the lease under which it may be used.
type leased struct {
	state *state
	until truetime.Timestamp
}

// freezer is a change of the catalog in progress, as the node sees it: no transaction begins until it is resolved, and
// from the moment the node has drained on no statement does.
type freezer struct {
	version  uint64 // that the change will make
	touched  map[uint32]struct{}
	drained  bool          // under Manager.mu: no transaction here can commit any more that has used what is touched
	resolved chan struct{} // closed when the outcome is known
}

// NewManager returns a manager that holds nothing yet.
func NewManager(cfg Config) (*Manager, error) {
	if cfg.DB == nil || cfg.Clock == nil || cfg.Node == 0 {
		return nil, errors.New("catalog: Config.DB, Clock and Node are required")
	}
	cfg.Lease = cmp.Or(cfg.Lease, 10*time.Second)
	cfg.Grace = cmp.Or(cfg.Grace, 3*time.Second)
	cfg.GarbageEvery = cmp.Or(cfg.GarbageEvery, 30*time.Second)
	cfg.GarbageKeys = cmp.Or(cfg.GarbageKeys, 1000)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Manager{cfg: cfg, virtual: NewVirtualSet(cfg.Virtual), drained: make(chan struct{}), wake: make(chan struct{}, 1), loading: make(chan struct{}, 1)}
	m.active.next, m.active.prev = &m.active, &m.active
	return m, nil
}

// Start loads the catalog, creating it in an empty store, takes the first lease and keeps it renewed until
// Stop.
func (m *Manager) Start(ctx context.Context) error {
	for {
		err := m.bootstrap(ctx)
		if err == nil {
			err = m.renew(ctx)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, kv.ErrRetry) && !errors.Is(err, kv.ErrWriteConflict) || ctx.Err() != nil {
			return fmt.Errorf("start catalog: %w", err)
		}
	}
	if err := m.loadStats(ctx); err != nil {
		m.cfg.Log.Info("statistics not loaded", "err", err)
	}
	m.bg, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	m.done = make(chan struct{})
	go m.renewLoop(m.bg)
	return nil
}

// Stop ends the renewals and gives the lease back, so that changes elsewhere need not wait it out. The
// caller has ended all transactions.
func (m *Manager) Stop(ctx context.Context) {
	m.closed.Do(func() {
		if m.stop == nil {
			return
		}
		m.stop()
		<-m.done
		m.tasks.Wait()
		if ctx.Err() != nil {
			return // no time left: others wait the lease out
		}
		tx, err := m.cfg.DB.Begin(ctx, kv.TxnOptions{Name: "catalog lease release"})
		if err != nil {
			return
		}
		defer tx.Rollback(ctx)
		if tx.Delete(leaseKey(m.cfg.Node)) == nil {
			if _, err := tx.Commit(ctx); err != nil {
				m.cfg.Log.Info("catalog lease not given back", "err", err)
			}
		}
	})
}

// renewLoop renews the lease at half its life, and when woken.
func (m *Manager) renewLoop(ctx context.Context) {
	defer close(m.done)
	t := time.NewTimer(m.cfg.Lease / 2)
	defer t.Stop()
	collected := m.cfg.Clock.Now().Latest
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-m.wake:
		}
		if now := m.cfg.Clock.Now().Latest; now.Sub(collected) >= m.cfg.GarbageEvery {
			collected = now
			m.goCollect()
		}
		next := m.cfg.Lease / 2
		if err := m.renew(ctx); err != nil && ctx.Err() == nil {
			m.cfg.Log.Warn("catalog lease not renewed", "err", err)
			next = m.cfg.Lease / 20
		} else if err == nil {
			if err := m.loadStats(ctx); err != nil && ctx.Err() == nil {
				m.cfg.Log.Info("statistics not loaded", "err", err)
			}
			m.goAnalyze()
		}
		t.Reset(next)
	}
}

// goCollect collects garbage in a goroutine that Stop ends, unless one is at it.
func (m *Manager) goCollect() {
	if !m.collecting.CompareAndSwap(false, true) {
		return
	}
	m.tasks.Add(1)
	go func() {
		defer m.tasks.Done()
		defer m.collecting.Store(false)
		if n, err := m.CollectGarbage(m.bg); err != nil && m.bg.Err() == nil {
			m.cfg.Log.Warn("storage of dropped objects not removed yet", "err", err)
		} else if n > 0 {
			m.cfg.Log.Info("storage of dropped objects removed", "objects", n)
		}
	}()
}

// Snapshot returns the current snapshot, seen from a database (0: from none). It carries no promise that it
// stays current; transactions use Begin.
func (m *Manager) Snapshot(db uint32) *Snapshot { return m.current.Load().state.inDatabase(db) }

// renew takes or extends the node's lease, loading the catalog's newest version on the way.
func (m *Manager) renew(ctx context.Context) error {
	select {
	case m.loading <- struct{}{}:
		defer func() { <-m.loading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	// The youngest of all: a renewal must wait for a change, never wound it.
	tx, err := m.cfg.DB.Begin(ctx, kv.TxnOptions{Name: "catalog lease", Age: truetime.MaxTimestamp})
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	// The shared lock keeps changes out until the lease is durable: a change that comes later sees it.
	st, err := m.load(ctx, tx, m.state())
	if err != nil {
		return err
	}
	until := m.cfg.Clock.Now().Latest.Add(m.cfg.Lease)
	if err := tx.Put(leaseKey(m.cfg.Node), binary.BigEndian.AppendUint64(nil, uint64(until))); err != nil {
		return err
	}
	if _, err := tx.Commit(ctx); err != nil {
		return err
	}
	m.install(st, until)
	return nil
}

// state is the current state, nil before the first load.
func (m *Manager) state() *state {
	if l := m.current.Load(); l != nil {
		return l.state
	}
	return nil
}

// install makes a state current if it is at least as new as what is there.
func (m *Manager) install(st *state, until truetime.Timestamp) {
	for {
		old := m.current.Load()
		next := &leased{state: st, until: until}
		if old != nil {
			if old.state.version > st.version {
				next.state = old.state
			} else if old.state.version == st.version {
				next.state = old.state // keep the pointers that caches are keyed by
			}
			next.until = max(old.until, until)
		}
		if m.current.CompareAndSwap(old, next) {
			return
		}
	}
}

// load reads the catalog's newest version, reusing what base already has. The shared lock that tx takes on the
// version key keeps every change from committing, so the rest is read without locks, at one timestamp: it
// neither waits for the descriptors that open transactions have changed nor wounds those transactions.
func (m *Manager) load(ctx context.Context, locker kv.Txn, base *state) (*state, error) {
	version, err := readVersion(ctx, locker, kv.LockShared)
	if err != nil {
		return nil, err
	}
	if base != nil && base.version == version {
		return base, nil
	}
	tx, err := m.cfg.DB.Begin(ctx, kv.TxnOptions{ReadOnly: true, Name: "catalog load"})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx)
	if base != nil && version > base.version {
		if st, err := m.catchUp(ctx, tx, base, version); st != nil || err != nil {
			return st, err
		}
	}
	return m.loadAll(ctx, tx, version)
}

func readVersion(ctx context.Context, tx kv.Txn, lock kv.LockMode) (uint64, error) {
	b, err := tx.Get(ctx, versionKey(), lock, kv.WaitBlock)
	if err != nil {
		return 0, err
	}
	if len(b) != 8 {
		return 0, errors.New("catalog: the store has no catalog")
	}
	return binary.BigEndian.Uint64(b), nil
}

// catchUp applies the log of versions since base. It returns nil when the log does not reach back so far.
func (m *Manager) catchUp(ctx context.Context, tx kv.Txn, base *state, version uint64) (*state, error) {
	const most = 64
	if version-base.version > most {
		return nil, nil
	}
	st := base.clone()
	st.version = version
	changed := map[uint32]struct{}{}
	for v := base.version + 1; v <= version; v++ {
		b, err := tx.Get(ctx, logKey(v), kv.LockNone, kv.WaitBlock)
		if err != nil {
			return nil, err
		}
		if b == nil {
			return nil, nil
		}
		for ; len(b) >= 4; b = b[4:] {
			changed[binary.BigEndian.Uint32(b)] = struct{}{}
		}
	}
	var ids []uint32
	var keys [][]byte
	for id := range changed {
		ids = append(ids, id)
		keys = append(keys, descKey(id))
	}
	values, _, err := tx.GetBatch(ctx, keys, kv.LockNone, kv.WaitBlock)
	if err != nil {
		return nil, err
	}
	var fresh []Descriptor
	for i, b := range values {
		if b == nil {
			st.remove(ids[i])
			continue
		}
		d, err := decodeDescriptor(b)
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, d)
	}
	st.addAll(fresh)
	return st, nil
}

// loadAll reads every descriptor.
func (m *Manager) loadAll(ctx context.Context, tx kv.Txn, version uint64) (*state, error) {
	st := newState(m.virtual)
	st.version, st.stats = version, &m.stats
	sc, err := tx.Scan(ctx, classSpan(keyDescriptor), kv.ScanOptions{})
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	var all []Descriptor
	for sc.Next(ctx) {
		d, err := decodeDescriptor(sc.Pair().Value)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	st.addAll(all)
	return st, nil
}

// addAll adds descriptors that may refer to one another: everything is known by name and id before types
// are resolved, and types before tables. Types may refer to types, so they take as many passes as they
// nest.
func (s *state) addAll(ds []Descriptor) {
	var ts []*Type
	for _, d := range ds {
		s.put(d)
		if t, ok := d.(*Type); ok {
			ts = append(ts, t)
		}
	}
	for range 3 {
		for _, t := range ts {
			s.makeType(t)
		}
	}
	for _, d := range ds {
		if t, ok := d.(*Table); ok {
			s.resolveTypes(t)
		}
	}
}

// allocID returns a fresh object id. Ids are handed out in blocks by transactions of their own, so that
// two changes do not conflict on the counter; unused ones are lost.
func (m *Manager) allocID(ctx context.Context) (uint32, error) {
	m.ids.Lock()
	defer m.ids.Unlock()
	if m.ids.next < m.ids.end {
		m.ids.next++
		return m.ids.next - 1, nil
	}
	const block = 64
	for attempt := 0; ; attempt++ {
		next, err := m.allocBlock(ctx, block)
		if err == nil {
			m.ids.next, m.ids.end = next+1, next+block
			return next, nil
		}
		if attempt > 20 || !errors.Is(err, kv.ErrRetry) && !errors.Is(err, kv.ErrWriteConflict) {
			return 0, fmt.Errorf("allocate object ids: %w", err)
		}
	}
}

// allocPair returns the first of two consecutive fresh ids.
func (m *Manager) allocPair(ctx context.Context) (uint32, error) {
	for {
		a, err := m.allocID(ctx)
		if err != nil {
			return 0, err
		}
		m.ids.Lock()
		ok := m.ids.next == a+1 && m.ids.next < m.ids.end
		if ok {
			m.ids.next++
		}
		m.ids.Unlock()
		if ok {
			return a, nil
		}
	}
}

func (m *Manager) allocBlock(ctx context.Context, n uint32) (uint32, error) {
	key := []byte("\x02icatalog")
	tx, err := m.cfg.DB.Begin(ctx, kv.TxnOptions{Name: "catalog ids"})
	if err != nil {
		return 0, err
	}
	defer tx.Rollback(ctx)
	b, err := tx.Get(ctx, key, kv.LockExclusive, kv.WaitBlock)
	if err != nil {
		return 0, err
	}
	next := uint32(FirstUserID)
	if len(b) == 4 {
		next = binary.BigEndian.Uint32(b)
	}
	if next > next+n {
		return 0, errors.New("catalog: object ids are used up")
	}
	if err := tx.Put(key, binary.BigEndian.AppendUint32(nil, next+n)); err != nil {
		return 0, err
	}
	_, err = tx.Commit(ctx)
	return next, err
}

package catalog

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-db/meridian/txn/kv"
)

// TableStats are what ANALYZE found out about a table. They guide the planner and promise nothing. They are
// not part of the table's descriptor, because a refresh is no change of the schema: nobody waits for it.
type TableStats struct {
	Table   uint32        `json:"t"`
	Storage uint32        `json:"st"` // the rows' storage then: TRUNCATE makes the rest meaningless
	Rows    float64       `json:"rows"`
	At      int64         `json:"at"` // microseconds since 1970
	Auto    bool          `json:"auto,omitempty"`
	Columns []ColumnStats `json:"col,omitempty"`
}

// ColumnStats are one column's, with the meaning of PostgreSQL's view pg_stats. Values are in their text form.
type ColumnStats struct {
	Num         int16     `json:"i"` // attnum
	NullFrac    float64   `json:"nf,omitempty"`
	AvgWidth    float64   `json:"w,omitempty"`
	NDistinct   float64   `json:"nd,omitempty"` // negative: the number as a share of the rows
	Common      []string  `json:"mcv,omitempty"`
	CommonFreqs []float64 `json:"mcf,omitempty"`
	Histogram   []string  `json:"h,omitempty"`
	Correlation float64   `json:"cor,omitempty"`
}

// Column returns the statistics of a column, nil if there are none.
func (s *TableStats) Column(num int16) *ColumnStats {
	if s == nil {
		return nil
	}
	for i := range s.Columns {
		if s.Columns[i].Num == num {
			return &s.Columns[i]
		}
	}
	return nil
}

// statsSet is all statistics as a node knows them. It is immutable.
type statsSet struct {
	version uint64 // of the stored statistics
	epoch   uint64 // counts the sets this node has had
	tables  map[uint32]*TableStats
}

// statsHolder is where a Manager's snapshots find the newest statistics.
type statsHolder struct {
	cur atomic.Pointer[statsSet]
}

var noStats = &statsSet{}

func (h *statsHolder) load() *statsSet {
	if h == nil {
		return noStats
	}
	if s := h.cur.Load(); s != nil {
		return s
	}
	return noStats
}

// Stats returns a table's statistics, nil if there are none for its present rows.
func (s *state) Stats(t *Table) *TableStats {
	st := s.stats.load().tables[t.ID]
	if st == nil || st.Storage != t.StorageID() {
		return nil
	}
	return st
}

// StatsEpoch changes when statistics change: what was planned with others may be planned anew.
func (s *state) StatsEpoch() uint64 { return s.stats.load().epoch }

// SaveStats stores a table's statistics and makes them known on this node; other nodes learn of them with
// their next renewal of the lease.
func (m *Manager) SaveStats(ctx context.Context, st *TableStats) error {
	b, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("encode statistics: %w", err)
	}
	var version uint64
	for attempt := 0; ; attempt++ {
		version, err = m.putStats(ctx, st.Table, b)
		if err == nil {
			break
		}
		if attempt > 20 || !errors.Is(err, kv.ErrRetry) && !errors.Is(err, kv.ErrWriteConflict) {
			return fmt.Errorf("store statistics: %w", err)
		}
	}
	m.changes.reset(st.Table)
	for {
		old := m.stats.cur.Load()
		next := &statsSet{tables: map[uint32]*TableStats{}}
		if old != nil {
			next.version, next.epoch, next.tables = old.version, old.epoch, maps.Clone(old.tables)
		}
		// With a gap between the versions the next renewal loads what other nodes stored.
		if next.version == version-1 {
			next.version = version
		}
		next.epoch++
		next.tables[st.Table] = st
		if m.stats.cur.CompareAndSwap(old, next) {
			return nil
		}
	}
}

func (m *Manager) putStats(ctx context.Context, table uint32, b []byte) (uint64, error) {
	tx, err := m.cfg.DB.Begin(ctx, kv.TxnOptions{Name: "statistics"})
	if err != nil {
		return 0, err
	}
	defer tx.Rollback(ctx)
	old, err := tx.Get(ctx, statsVersionKey(), kv.LockExclusive, kv.WaitBlock)
	if err != nil {
		return 0, err
	}
	version := uint64(1)
	if len(old) == 8 {
		version = binary.BigEndian.Uint64(old) + 1
	}
	if err := tx.Put(statsVersionKey(), binary.BigEndian.AppendUint64(nil, version)); err != nil {
		return 0, err
	}
	if err := tx.Put(statsKey(table), b); err != nil {
		return 0, err
	}
	if err := tx.Delete(statsWritesKey(table)); err != nil {
		return 0, err
	}
	_, err = tx.Commit(ctx)
	return version, err
}

// loadStats brings the node's statistics up to date.
func (m *Manager) loadStats(ctx context.Context) error {
	tx, err := m.cfg.DB.Begin(ctx, kv.TxnOptions{ReadOnly: true, Name: "statistics load"})
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	b, err := tx.Get(ctx, statsVersionKey(), kv.LockNone, kv.WaitBlock)
	if err != nil || len(b) != 8 {
		return err // none was ever stored
	}
	version := binary.BigEndian.Uint64(b)
	old := m.stats.cur.Load()
	if old != nil && old.version == version {
		return nil
	}
	next := &statsSet{version: version, tables: map[uint32]*TableStats{}}
	if old != nil {
		next.epoch = old.epoch
	}
	next.epoch++
	sc, err := tx.Scan(ctx, classSpan(keyStats), kv.ScanOptions{})
	if err != nil {
		return err
	}
	defer sc.Close()
	for sc.Next(ctx) {
		st := &TableStats{}
		if err := json.Unmarshal(sc.Pair().Value, st); err != nil {
			return fmt.Errorf("decode statistics: %w", err)
		}
		next.tables[st.Table] = st
	}
	if err := sc.Err(); err != nil {
		return err
	}
	// Lost to a SaveStats of this node: the next renewal loads again.
	m.stats.cur.CompareAndSwap(old, next)
	return nil
}

// dropStats removes the statistics of tables that are gone.
func (m *Manager) dropStats(ctx context.Context) error {
	set := m.stats.load()
	snap := m.Snapshot(0)
	for id := range set.tables {
		if snap.TableByID(id) != nil {
			continue
		}
		tx, err := m.cfg.DB.Begin(ctx, kv.TxnOptions{Name: "statistics"})
		if err != nil {
			return err
		}
		if err = tx.Delete(statsKey(id)); err == nil {
			err = tx.Delete(statsWritesKey(id))
		}
		if err == nil {
			_, err = tx.Commit(ctx)
		}
		tx.Rollback(ctx)
		if err != nil {
			return err
		}
		for old := m.stats.cur.Load(); old != nil; old = m.stats.cur.Load() {
			next := &statsSet{version: old.version, epoch: old.epoch, tables: maps.Clone(old.tables)}
			delete(next.tables, id)
			if m.stats.cur.CompareAndSwap(old, next) {
				break
			}
		}
	}
	return nil
}

// changeCounts counts the rows of each table that this node has written since its statistics were made.
type changeCounts struct {
	mu   sync.Mutex
	rows map[uint32]int64
	last map[uint32]time.Time // when this node last refreshed a table's statistics
	told map[uint32]toldWrites
}

// toldWrites are those of rows that other nodes were told of, and when they were last.
type toldWrites struct {
	rows int64
	at   time.Time
}

func (c *changeCounts) add(table uint32, n int64) {
	c.mu.Lock()
	if c.rows == nil {
		c.rows = map[uint32]int64{}
	}
	c.rows[table] += n
	c.mu.Unlock()
}

func (c *changeCounts) reset(table uint32) {
	c.mu.Lock()
	delete(c.rows, table)
	delete(c.told, table)
	c.mu.Unlock()
}

// refreshed notes that a table's statistics are being refreshed now.
func (c *changeCounts) refreshed(table uint32, now time.Time) {
	c.mu.Lock()
	if c.last == nil {
		c.last = map[uint32]time.Time{}
	}
	for id, at := range c.last {
		if now.Sub(at) >= analyzeEvery {
			delete(c.last, id)
		}
	}
	c.last[table] = now
	c.mu.Unlock()
}

// NoteChanges tells that a statement of this node has written n rows of a table. After enough of them, here or on all
// nodes together, its statistics are refreshed in the background (SetAnalyzer).
func (m *Manager) NoteChanges(table uint32, n int64) {
	if n > 0 {
		m.changes.add(table, n)
	}
}

// ChangesSinceAnalyze is how many rows of a table this node has written since its statistics were made.
func (m *Manager) ChangesSinceAnalyze(table uint32) int64 {
	m.changes.mu.Lock()
	defer m.changes.mu.Unlock()
	return m.changes.rows[table]
}

// SetAnalyzer says what refreshes a table's statistics: the layer above, which can read rows, calls SaveStats.
// Without it nothing is refreshed by itself.
func (m *Manager) SetAnalyzer(analyze func(ctx context.Context, table uint32) error) {
	m.analyzer.Store(&analyze)
}

// Statistics are refreshed by themselves after this many changed rows, and this share of the rows: PostgreSQL's
// autovacuum_analyze_threshold and autovacuum_analyze_scale_factor.
const (
	analyzeThreshold = 50
	analyzeShare     = 0.1
	// analyzeEvery is how long a table's statistics stay at least: autovacuum_naptime. A small table under load
	// is stale again at once, and whatever refers to it is planned anew after each refresh.
	analyzeEvery = time.Minute
)

// due lists the tables whose statistics have grown stale by this node's own writes, and are not fresh.
func (m *Manager) due(now time.Time) []uint32 {
	set := m.stats.load()
	m.changes.mu.Lock()
	defer m.changes.mu.Unlock()
	var out []uint32
	for id, n := range m.changes.rows {
		limit := analyzeLimit(set.tables[id])
		if at, ok := m.changes.last[id]; ok && now.Sub(at) < analyzeEvery {
			continue
		}
		if float64(n) > limit {
			out = append(out, id)
		}
	}
	return out
}

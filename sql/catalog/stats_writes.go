package catalog

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/meridian-db/meridian/txn/kv"
)

// Nodes add up what each of them has written to a table since its statistics were made, so that they are refreshed when
// all have written enough together. A node tells of its writes when they are a good part of what makes statistics stale;
// the one whose writes are the last straw clears the sum in the same transaction, and refreshes.

const (
	// shareParts is how many parts of the limit a node keeps to itself at most: one.
	shareParts = 8
	// shareEvery is how often a node tells of its writes to one table at most.
	shareEvery = 15 * time.Second
)

// analyzeLimit is how many changed rows make a table's statistics stale.
func analyzeLimit(st *TableStats) float64 {
	limit := float64(analyzeThreshold)
	if st != nil {
		limit += analyzeShare * st.Rows
	}
	return limit
}

// sharedWrites are writes to be told of.
type sharedWrites struct {
	table uint32
	n     int64
	limit float64
}

// unshared lists the writes that it is time to tell of.
func (m *Manager) unshared(now time.Time) []sharedWrites {
	set := m.stats.load()
	c := &m.changes
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []sharedWrites
	for id, n := range c.rows {
		st := set.tables[id]
		limit := analyzeLimit(st)
		told := c.told[id]
		if n -= told.rows; float64(n) < limit/shareParts || now.Sub(told.at) < shareEvery {
			continue
		}
		if st != nil && now.Sub(time.UnixMicro(st.At)) < analyzeEvery {
			continue // fresh, whichever node made them
		}
		out = append(out, sharedWrites{id, n, limit})
	}
	return out
}

// share adds writes to the sum of all nodes, and reports whether this node is to refresh the statistics for it.
func (m *Manager) share(ctx context.Context, w sharedWrites, now time.Time) (refresh bool, err error) {
	for attempt := 0; ; attempt++ {
		if refresh, err = m.addWrites(ctx, w); err == nil {
			break
		}
		if attempt > 20 || !errors.Is(err, kv.ErrRetry) && !errors.Is(err, kv.ErrWriteConflict) {
			return false, err
		}
	}
	c := &m.changes
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.rows[w.table]; ok {
		if c.told == nil {
			c.told = map[uint32]toldWrites{}
		}
		c.told[w.table] = toldWrites{c.told[w.table].rows + w.n, now}
	}
	return refresh, nil
}

func (m *Manager) addWrites(ctx context.Context, w sharedWrites) (refresh bool, err error) {
	tx, err := m.cfg.DB.Begin(ctx, kv.TxnOptions{Name: "statistics"})
	if err != nil {
		return false, err
	}
	defer tx.Rollback(ctx)
	key := statsWritesKey(w.table)
	b, err := tx.Get(ctx, key, kv.LockExclusive, kv.WaitBlock)
	if err != nil {
		return false, err
	}
	sum := w.n
	if len(b) == 8 {
		sum += int64(binary.BigEndian.Uint64(b))
	}
	if refresh = float64(sum) > w.limit; refresh {
		err = tx.Delete(key)
	} else {
		err = tx.Put(key, binary.BigEndian.AppendUint64(nil, uint64(sum)))
	}
	if err == nil {
		_, err = tx.Commit(ctx)
	}
	return refresh, err
}

// goAnalyze refreshes stale statistics in a goroutine that Stop ends, unless one is at it.
func (m *Manager) goAnalyze() {
	f := m.analyzer.Load()
	if f == nil || !m.analyzing.CompareAndSwap(false, true) {
		return
	}
	m.tasks.Add(1)
	go func() {
		defer m.tasks.Done()
		defer m.analyzing.Store(false)
		refresh := func(id uint32) {
			m.changes.reset(id) // also when it fails: it will be tried after as many changes again
			m.changes.refreshed(id, time.Now())
			if m.Snapshot(0).TableByID(id) == nil {
				return
			}
			if err := (*f)(m.bg, id); err != nil && m.bg.Err() == nil {
				m.cfg.Log.Info("statistics not refreshed", "table", id, "err", err)
			}
		}
		for _, id := range m.due(time.Now()) {
			refresh(id)
		}
		for _, w := range m.unshared(time.Now()) {
			due, err := m.share(m.bg, w, time.Now())
			if err != nil && m.bg.Err() == nil {
				m.cfg.Log.Info("writes not told of", "table", w.table, "err", err)
			}
			if due {
				refresh(w.table)
			}
		}
		if err := m.dropStats(m.bg); err != nil && m.bg.Err() == nil {
			m.cfg.Log.Info("statistics of dropped tables not removed", "err", err)
		}
	}()
}

package catalog

import (
	"context"

	"github.com/meridian-db/meridian/txn/kv"
)

// maxPast bounds the old versions that a node keeps for reads at older timestamps.
const maxPast = 8

// AsOf makes the view that of the catalog at tx's read timestamp. It is for read-only transactions at a timestamp
// in the past, and is called before the first statement is planned: an index that was built since, or a column
// that was added, is not in the data at that timestamp. It reads the version key through tx, which fixes the
// timestamp if it was not fixed yet. The view stays as it is from then on; Use has nothing to check.
func (t *Txn) AsOf(ctx context.Context, tx kv.Txn) error {
	st, err := t.m.stateAt(ctx, tx)
	if err != nil {
		return err
	}
	t.past = true
	t.snap = st.inDatabase(t.db)
	t.base = t.snap.version
	return nil
}

// stateAt is the state at a read-only transaction's timestamp.
func (m *Manager) stateAt(ctx context.Context, tx kv.Txn) (*state, error) {
	version, err := readVersion(ctx, tx, kv.LockNone)
	if err != nil {
		return nil, err
	}
	if cur := m.state(); cur.version == version {
		return cur, nil
	}
	m.past.Lock()
	for _, st := range m.past.states {
		if st.version == version {
			m.past.Unlock()
			return st, nil
		}
	}
	m.past.Unlock()
	st, err := m.loadAll(ctx, tx, version)
	if err != nil {
		return nil, err
	}
	m.past.Lock()
	defer m.past.Unlock()
	if len(m.past.states) >= maxPast {
		m.past.states = m.past.states[1:]
	}
	m.past.states = append(m.past.states, st)
	return st, nil
}

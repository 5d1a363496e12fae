package participant

import (
	"context"
	"encoding/binary"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/txn/locktable"
)

// PrepareSplit blocks new prepares and waits until no transaction is prepared here; then it blocks commits too, until
// release. Their records belong to the range id, and a lock of a commit in flight could lie on the other side. Heads
// and layers of large transactions are no obstacle: both sides get them.
//
// Prepares are blocked first and alone, as their end depends on other ranges, which may be splitting too
// and need to get their decisions through here.
func (m *Machine) PrepareSplit(ctx context.Context, _ []byte) (release func(), err error) {
	l, release, err := m.holdPrepares(ctx)
	if err == nil {
		l.mu.Lock()
		l.liftLocked(gateAll)
		l.mu.Unlock()
		err = l.waitIdle(ctx, func() bool { return l.inflight == 0 && !l.table.Unsettled() })
	}
	if err == nil && m.lead.Load() != l {
		err = m.notLeader()
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// holdPrepares blocks new prepares, and drops of staged writes, until release, which is never nil, and waits until no
// transaction is prepared here, and nothing is being dropped.
func (m *Machine) holdPrepares(ctx context.Context) (l *leadership, release func(), err error) {
	l, err = m.leader()
	if err != nil {
		return nil, func() {}, err
	}
	l.mu.Lock()
	if l.blocked != gateOpen {
		l.mu.Unlock()
		return nil, func() {}, ranges.ErrNotReady
	}
	l.liftLocked(gatePrepares)
	l.mu.Unlock()
	release = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.liftLocked(gateOpen)
	}
	quiet := func() bool {
		m.mu.RLock()
		defer m.mu.RUnlock()
		return len(m.state.records)+len(m.leaving) == 0
	}
	return l, release, l.waitIdle(ctx, func() bool { return quiet() && l.table.Prepared() == 0 && l.drops == 0 })
}

// SplitState gives the right-hand range what it starts with of the left: the GC threshold, the outcome horizon, and
// the heads and layers of large transactions. A commit over staged writes that knows of one side only is refused:
// either by the left, which asks for a descriptor at least as new as the split, or by the route to the right.
func (m *Machine) SplitState(b *mvcc.Batch, _ []byte, right ranges.RangeID) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.state.threshold != 0 {
		if err := b.SetGCThreshold(uint64(right), m.state.threshold); err != nil {
			return err
		}
	}
	if m.state.horizon != 0 {
		b.PutLocal(localKey(right, horizonKey, nil), binary.BigEndian.AppendUint64(nil, uint64(m.state.horizon)))
	}
	for id, st := range m.state.staged {
		b.PutLocal(localKey(right, stagedKeys, id[:]), st.encode(id))
	}
	for id, l := range m.state.layers {
		b.PutLocal(localKey(right, layerKeys, id[:]), encodeLayer(&l.Layer, 0, 0, 0))
	}
	// Who asks for an outcome that a merge has brought here names the first key of the range that decided it, which may
	// lie on either side.
	start := localKey(m.id, inheritedKeys, nil)
	return mvcc.ScanLocal(m.rep.Engine(), start, mvcc.PrefixEnd(start), func(k, v []byte) error {
		b.PutLocal(localKey(right, inheritedKeys, k[len(start):]), v)
		return nil
	})
}

// Split moves the locks at and above key to the right-hand machine, which has found what SplitState gave it.
func (m *Machine) Split(key []byte, right ranges.Machine) {
	r := right.(*Machine)
	l := m.lead.Load()
	if l == nil {
		return
	}
	table := locktable.New(0, m.srv.onWound)
	l.table.SplitOff(key, table)
	r.stash.Store(table)
	l.mu.Lock()
	l.splitGen = m.rep.Desc().Generation
	l.right = append(l.right, r.rep.Desc().Encode())
	if len(l.right) > 16 {
		l.right = l.right[1:]
	}
	l.mu.Unlock()
}

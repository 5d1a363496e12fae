package catalog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv"
)

// This file is the node's side of a change of the catalog: freeze, drain, resolve.

// touches reports whether the change is about one of ids.
func (f *freezer) touches(ids []uint32) bool {
	for _, id := range ids {
		if _, ok := f.touched[id]; ok {
			return true
		}
	}
	return false
}

// freeze notes a change in progress. Statements wait from now on. A change replaces an older one's freezer:
// the lock on the version key orders changes, so the older one is over.
func (m *Manager) freeze(version uint64, touched []uint32) *freezer {
	f := &freezer{version: version, touched: make(map[uint32]struct{}, len(touched)), resolved: make(chan struct{})}
	for _, id := range touched {
		f.touched[id] = struct{}{}
	}
	for {
		old := m.frozen.Load()
		if m.frozen.CompareAndSwap(old, f) {
			if old != nil {
				close(old.resolved)
			}
			return f
		}
	}
}

// thaw ends a freeze, unless another change has replaced it.
func (m *Manager) thaw(f *freezer) {
	if m.frozen.CompareAndSwap(f, nil) {
		close(f.resolved)
	}
}

// isDrained reports whether drain has come to its end. A transaction that has listed an object before it asks, and is
// told no, is one that drain is going to see.
func (m *Manager) isDrained(f *freezer) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return f.drained
}

// drain waits until no transaction that has used an object of f can commit any more: those that are
// committing end, those that are open end within the grace time or are doomed. Until then the old version is the only
// one, and open transactions go on using it, objects of f included; it is those that begin that wait.
func (m *Manager) drain(ctx context.Context, f *freezer, except *Txn) error {
	m.mu.Lock()
	m.drainers++
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.drainers--
		m.mu.Unlock()
	}()
	grace := time.NewTimer(m.cfg.Grace)
	defer grace.Stop()
	expired := false
	for {
		m.mu.Lock()
		wait := m.drained
		busy := 0
		for t := m.active.next; t != &m.active; t = t.next {
			if t == except || !t.uses(f) {
				continue
			}
			if expired {
				t.state.CompareAndSwap(int32(txnOpen), int32(txnDoomed))
			}
			if txnState(t.state.Load()) != txnDoomed {
				busy++
			}
		}
		if busy == 0 {
			f.drained = true
		}
		m.mu.Unlock()
		if busy == 0 {
			return nil
		}
		select {
		case <-wait:
		case <-grace.C:
			expired = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wakeDrainers makes those who drain look again.
func (m *Manager) wakeDrainers() {
	m.mu.Lock()
	if m.drainers > 0 {
		close(m.drained)
		m.drained = make(chan struct{})
	}
	m.mu.Unlock()
}

// uses reports whether the transaction has used an object of f.
func (t *Txn) uses(f *freezer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return f.touches(t.used)
}

// await waits for the outcome of a change in progress.
func (m *Manager) await(ctx context.Context, f *freezer) error {
	select {
	case <-f.resolved:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resolve learns the outcome of a change by reading the version key, which waits for the changing
// transaction's lock, and thaws. It is run by the node itself, so nothing depends on the changing node.
func (m *Manager) resolve(ctx context.Context, f *freezer) {
	backoff := 5 * time.Millisecond
	for m.frozen.Load() == f && ctx.Err() == nil {
		err := m.renew(ctx)
		if err == nil {
			m.thaw(f)
			return
		}
		if !errors.Is(err, kv.ErrRetry) {
			m.cfg.Log.Warn("catalog change not resolved yet", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-f.resolved:
		case <-time.After(backoff):
			backoff = min(2*backoff, time.Second)
		}
	}
}

// goResolve resolves in a goroutine that Stop ends.
func (m *Manager) goResolve(f *freezer) {
	m.tasks.Add(1)
	go func() {
		defer m.tasks.Done()
		m.resolve(m.bg, f)
	}()
}

// renewNow renews a lapsed lease on behalf of a statement.
func (m *Manager) renewNow(ctx context.Context) error {
	err := m.renew(ctx)
	for range 20 {
		if err == nil || !errors.Is(err, kv.ErrRetry) {
			break
		}
		err = m.renew(ctx)
	}
	if err != nil {
		return pgerr.Wrap(pgerr.CannotConnectNow, fmt.Errorf("the node has no lease on the catalog: %w", err))
	}
	return nil
}

// The revocation message: version(8), touched ids (4 each). The answer is empty: this node has stopped and
// drained.
func encodeRevoke(version uint64, touched []uint32) []byte {
	b := binary.BigEndian.AppendUint64(nil, version)
	for _, id := range touched {
		b = binary.BigEndian.AppendUint32(b, id)
	}
	return b
}

// maxTouched bounds the objects of one change.
const maxTouched = 1 << 20

func decodeRevoke(b []byte) (uint64, []uint32, error) {
	if len(b) < 8 || (len(b)-8)%4 != 0 || len(b) > 8+4*maxTouched {
		return 0, nil, fmt.Errorf("catalog: malformed revocation of %d bytes", len(b))
	}
	version := binary.BigEndian.Uint64(b)
	var ids []uint32
	for b = b[8:]; len(b) > 0; b = b[4:] {
		ids = append(ids, binary.BigEndian.Uint32(b))
	}
	return version, ids, nil
}

// HandleCall answers another node's Peers.Call.
func (m *Manager) HandleCall(ctx context.Context, _ uint64, payload []byte) ([]byte, error) {
	version, touched, err := decodeRevoke(payload)
	if err != nil {
		return nil, err
	}
	if st := m.state(); st == nil || st.version >= version {
		return nil, nil // no statement runs on an older version here
	}
	f := m.freeze(version, touched)
	m.goResolve(f)
	return nil, m.drain(ctx, f, nil)
}

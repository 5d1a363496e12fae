package catalog

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// This file is the changing transaction's side of I10.

// publish stops the other users of what the transaction has changed, and writes the new version.
func (t *Txn) publish(ctx context.Context) error {
	m := t.m
	version, err := readVersion(ctx, t.kv, kv.LockExclusive)
	if err != nil {
		return err
	}
	next := version + 1
	touched := make([]uint32, 0, len(t.changed))
	for id := range t.changed {
		touched = append(touched, id)
	}
	slices.Sort(touched)
	// Descriptors say the version that changes them; with others in between it is not base+1.
	if next != t.base+1 {
		if err := t.restamp(next, touched); err != nil {
			return err
		}
	}
	if err := t.writePlacement(ctx, version); err != nil {
		return err
	}
	if err := t.checkBetween(ctx, version); err != nil {
		return err
	}
	t.freeze = m.freeze(next, touched)
	t.frozen = true
	if err := m.revokeOthers(ctx, t, next, touched); err != nil {
		return fmt.Errorf("stop other nodes' use of the changed objects: %w", err)
	}
	if err := m.drain(ctx, t.freeze, t); err != nil {
		return err
	}
	log := make([]byte, 0, 4*len(touched))
	for _, id := range touched {
		log = binary.BigEndian.AppendUint32(log, id)
	}
	if err := t.kv.Put(logKey(next), log); err != nil {
		return err
	}
	const keepLog = 1000
	if next > keepLog {
		if err := t.kv.Delete(logKey(next - keepLog)); err != nil {
			return err
		}
	}
	return t.kv.Put(versionKey(), binary.BigEndian.AppendUint64(nil, next))
}

// checkBetween fails when a change between the transaction's base and version, the newest, was about an object
// that the transaction has used. Usually that change has doomed it; not if it went on without this node.
func (t *Txn) checkBetween(ctx context.Context, version uint64) error {
	for v := t.base + 1; v <= version; v++ {
		b, err := t.kv.Get(ctx, logKey(v), kv.LockShared, kv.WaitBlock)
		if err != nil {
			return err
		}
		if b == nil {
			return schemaChanged() // too long ago to tell
		}
		for ; len(b) >= 4; b = b[4:] {
			id := binary.BigEndian.Uint32(b)
			if _, mine := t.changed[id]; !mine && (slices.Contains(t.used, id) || slices.Contains(t.placedBy, id)) {
				return schemaChanged()
			}
		}
	}
	return nil
}

// restamp writes the changed descriptors with their final version.
func (t *Txn) restamp(version uint64, ids []uint32) error {
	for _, id := range ids {
		d, ok := t.snap.byID[id]
		if !ok || d.DescVersion() != t.base+1 {
			continue
		}
		d.setVersion(version)
		b, err := encodeDescriptor(d)
		if err != nil {
			return err
		}
		if err := t.kv.Put(descKey(id), b); err != nil {
			return err
		}
	}
	return nil
}

// revokeOthers asks every other node that holds a lease to stop, and waits out the leases of those that do
// not answer. The exclusive lock on the version key keeps new leases from being granted meanwhile.
func (m *Manager) revokeOthers(ctx context.Context, t *Txn, version uint64, touched []uint32) error {
	leases, err := readLeases(ctx, t.kv)
	if err != nil {
		return err
	}
	now := m.cfg.Clock.Now()
	payload := encodeRevoke(version, touched)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var waitFor truetime.Timestamp
	for _, l := range leases {
		if l.node == m.cfg.Node || now.After(l.until) {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			err := fmt.Errorf("no way to reach node %d", l.node)
			if m.cfg.Peers != nil {
				cctx, cancel := context.WithTimeout(ctx, m.cfg.Grace+m.cfg.Lease)
				_, err = m.cfg.Peers.Call(cctx, l.node, payload)
				cancel()
			}
			if err != nil {
				m.cfg.Log.Warn("node does not answer; waiting for its catalog lease to end", "node", l.node, "until", l.until, "err", err)
				mu.Lock()
				waitFor = max(waitFor, l.until)
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	if waitFor > 0 {
		return m.cfg.Clock.WaitAfter(ctx, waitFor)
	}
	return nil
}

type nodeLease struct {
	node  uint64
	until truetime.Timestamp
}

func readLeases(ctx context.Context, tx kv.Txn) ([]nodeLease, error) {
	sc, err := tx.Scan(ctx, classSpan(keyLease), kv.ScanOptions{Lock: kv.LockShared})
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	var out []nodeLease
	for sc.Next(ctx) {
		p := sc.Pair()
		if len(p.Key) != 11 || len(p.Value) != 8 {
			return nil, fmt.Errorf("catalog: malformed lease at %x", p.Key)
		}
		out = append(out, nodeLease{binary.BigEndian.Uint64(p.Key[3:]), truetime.Timestamp(binary.BigEndian.Uint64(p.Value))})
	}
	return out, sc.Err()
}

// changeDone ends the freeze of this node's own change, after its commit or rollback.
func (m *Manager) changeDone(t *Txn, committed bool) {
	f := t.freeze
	if committed && t.base+1 == f.version {
		// Nothing came between: the transaction's view is the new version.
		st := t.snap.state.clone()
		st.version = f.version
		m.install(st, 0)
		m.thaw(f)
		return
	}
	// Either others came between, or the outcome may be unknown: read it.
	m.goResolve(f)
}

package locktable

import (
	"bytes"
	"cmp"
	"slices"
)

// LockInfo describes one held or awaited lock, for system views and tests.
type LockInfo struct {
	Txn     TxnID
	Age     int64
	Gateway int32
	State   State
	Start   []byte
	End     []byte // nil: a point
	Mode    Mode
	Waiting bool
	Pressed bool // waiting, and wounding younger holders
}

// Locks returns up to limit locks (0 = all), ordered by start key, holders before waiters, then by age.
func (t *Table) Locks(limit int) []LockInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []LockInfo
	info := func(x *Txn, start, end []byte, mode Mode, waiting bool) {
		out = append(out, LockInfo{x.ID, x.Age, x.Gateway, x.State(), bytes.Clone(start), bytes.Clone(end), mode, waiting, false})
	}
	for _, x := range t.txns {
		for _, h := range x.points {
			info(x, h.p.key, nil, h.mode, false)
		}
		for _, s := range x.spans {
			info(x, s.start, s.end, s.mode, false)
		}
		for _, r := range x.queue {
			info(x, r.start, r.end, r.mode, true)
			out[len(out)-1].Pressed = r.pressed
		}
	}
	slices.SortFunc(out, func(a, b LockInfo) int {
		if c := bytes.Compare(a.Start, b.Start); c != 0 {
			return c
		}
		if a.Waiting != b.Waiting {
			if b.Waiting {
				return -1
			}
			return 1
		}
		if a.Age != b.Age {
			if a.Age < b.Age {
				return -1
			}
			return 1
		}
		if c := bytes.Compare(a.Txn[:], b.Txn[:]); c != 0 {
			return c
		}
		return bytes.Compare(a.End, b.End)
	})
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out
}

// Settled reports whether no lock is held but by transactions that durable, given their entry, answers true for:
// the next leader knows of those without being told.
func (t *Table) Settled(durable func(*Txn) bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range t.txns {
		if len(x.points)+len(x.spans) > 0 && !durable(x) {
			return false
		}
	}
	return true
}

// TxnInfo describes one transaction's entry, for system views.
type TxnInfo struct {
	Txn     TxnID
	Age     int64 // its priority: when the first attempt began
	Gateway int32
	State   State
	Locks   int // held
	Waits   []WaitInfo
}

// WaitInfo describes what a transaction waits for.
type WaitInfo struct {
	Start, End []byte // End nil: a point
	Mode       Mode
	// Holders hold locks in the way; with none the request waits behind an older one.
	Holders []TxnID
}

// Transactions returns the entries that hold or await locks, ordered by age, then id.
func (t *Table) Transactions() []TxnInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []TxnInfo
	for _, x := range t.txns {
		info := TxnInfo{Txn: x.ID, Age: x.Age, Gateway: x.Gateway, State: x.State(), Locks: len(x.points) + len(x.spans)}
		for _, r := range x.queue {
			w := WaitInfo{Start: bytes.Clone(r.start), End: bytes.Clone(r.end), Mode: r.mode}
			for _, y := range t.blockers(r, nil) {
				w.Holders = append(w.Holders, y.ID)
			}
			slices.SortFunc(w.Holders, func(a, b TxnID) int { return bytes.Compare(a[:], b[:]) })
			info.Waits = append(info.Waits, w)
		}
		if info.Locks > 0 || len(info.Waits) > 0 {
			out = append(out, info)
		}
	}
	slices.SortFunc(out, func(a, b TxnInfo) int {
		if c := cmp.Compare(a.Age, b.Age); c != 0 {
			return c
		}
		return bytes.Compare(a.Txn[:], b.Txn[:])
	})
	return out
}

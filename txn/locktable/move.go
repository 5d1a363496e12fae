package locktable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/RaduBerinde/btreemap"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/fields"
)

// SplitOff moves every lock at and above key to right, a new table; locks on spans around key are cut in
// two. Transactions with locks on both sides have an entry with the same token in both. Requests
// that wait for something at or above key fail with ErrMoved.
func (t *Table) SplitOff(key []byte, right *Table) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.settle()
	right.mu.Lock()
	defer right.mu.Unlock()

	right.token = max(right.token, t.token)
	for gateway, at := range t.broken {
		right.noteBroken(gateway, right.sweep-(t.sweep-at))
	}
	var moved []*Request
	for _, x := range t.txns {
		for _, r := range slices.Clone(x.queue) {
			if bytes.Compare(r.start, key) >= 0 || r.end != nil && bytes.Compare(r.end, key) > 0 {
				t.dequeue(r)
				t.finish(r, ErrMoved)
				moved = append(moved, r)
			}
		}
	}
	twin := func(x *Txn) *Txn {
		y := right.txns[x.ID]
		if y == nil {
			y = &Txn{ID: x.ID, Age: x.Age, Gateway: x.Gateway, Token: x.Token, others: slices.Clone(x.others), Payload: x.Payload, ts: x.ts,
				seen: right.sweep - (t.sweep - x.seen)}
			y.state.Store(x.state.Load())
			if s := x.State(); s == Committing || s == Prepared {
				right.unsettled.Add(1)
			}
			y.points = y.pointsBuf[:0]
			right.txns[x.ID] = y
		}
		return y
	}
	for _, x := range t.txns {
		x.points = slices.DeleteFunc(x.points, func(h held) bool {
			if bytes.Compare(h.p.key, key) < 0 {
				return false
			}
			h.p.remove(x)
			y := twin(x)
			_, p, _ := right.points.Get(h.p.key)
			right.grantPoint(y, p, h.p.key, h.mode)
			return true
		})
		x.spans = slices.DeleteFunc(x.spans, func(s *span) bool {
			if bytes.Compare(s.end, key) <= 0 {
				return false
			}
			start := s.start
			if bytes.Compare(start, key) < 0 {
				start = bytes.Clone(key)
			}
			right.grantSpan(twin(x), start, s.end, s.mode)
			if bytes.Compare(s.start, key) >= 0 {
				t.removeSpan(s)
				return true
			}
			s.end = bytes.Clone(key)
			return false
		})
	}
	var empty []*point
	for _, p := range t.points.Ascend(btreemap.GE(key), btreemap.Max[[]byte]()) {
		empty = append(empty, p)
	}
	for _, p := range empty {
		t.reap(p)
	}
	for _, r := range moved {
		t.freeSpan(r.start, r.end)
	}
}

// The handoff format: version, token counter, transactions, each with its locks. Everything is
// length-prefixed with uvarints. Version 2 has the other tokens of an entry behind its own; it is written only when some
// entry has any.
const (
	handoffVersion = 1
	handoffJoined  = 2
)

var errHandoff = errors.New("locktable: malformed handoff")

// Encode returns the table's entries for the next leader. payload encodes what belongs to the user in an
// entry; nil means nothing. The table should have been closed.
func (t *Table) Encode(payload func(*Txn) []byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := []byte{handoffVersion}
	b = binary.AppendUvarint(b, uint64(t.token))
	var live []*Txn
	for _, x := range t.txns {
		if s := x.State(); s != Aborted && s != Done {
			live = append(live, x)
		}
	}
	joined := slices.ContainsFunc(live, func(x *Txn) bool { return len(x.others) > 0 })
	if joined {
		b[0] = handoffJoined
	}
	slices.SortFunc(live, func(a, b *Txn) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	b = binary.AppendUvarint(b, uint64(len(live)))
	for _, x := range live {
		b = append(b, x.ID[:]...)
		b = binary.AppendVarint(b, x.Age)
		b = binary.AppendUvarint(b, uint64(uint32(x.Gateway)))
		b = binary.AppendUvarint(b, uint64(x.Token))
		if joined {
			b = binary.AppendUvarint(b, uint64(len(x.others)))
			for _, token := range x.others {
				b = binary.AppendUvarint(b, uint64(token))
			}
		}
		b = append(b, byte(x.State()))
		b = binary.AppendVarint(b, int64(x.ts))
		var pl []byte
		if payload != nil {
			pl = payload(x)
		}
		b = fields.AppendBytes(b, pl)
		b = binary.AppendUvarint(b, uint64(len(x.points)))
		for _, h := range x.points {
			b = append(b, byte(h.mode))
			b = fields.AppendBytes(b, h.p.key)
		}
		b = binary.AppendUvarint(b, uint64(len(x.spans)))
		for _, s := range x.spans {
			b = append(b, byte(s.mode))
			b = fields.AppendBytes(b, s.start)
			b = fields.AppendBytes(b, s.end)
		}
	}
	return b
}

// Decode fills an empty table with what Encode returned. payload decodes what belongs to the user; it is
// called for entries that have a payload. On an error the table is unusable.
func (t *Table) Decode(b []byte, payload func(*Txn, []byte) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := fields.Reader{B: b}
	version := d.Byte()
	if version != handoffVersion && version != handoffJoined {
		return fmt.Errorf("%w: unknown version", errHandoff)
	}
	t.token = max(t.token, int64(d.Uvarint()))
	n := d.Count(20)
	for i := 0; i < n && d.Err == nil; i++ {
		x := &Txn{seen: t.sweep}
		x.points = x.pointsBuf[:0]
		copy(x.ID[:], d.Take(16))
		x.Age = d.Varint()
		x.Gateway = int32(d.Uvarint())
		x.Token = int64(d.Uvarint())
		if version == handoffJoined {
			for j, m := 0, d.Count(1); j < m && d.Err == nil; j++ {
				x.others = append(x.others, int64(d.Uvarint()))
			}
		}
		state := State(d.Byte())
		x.ts = truetime.Timestamp(d.Varint())
		pl := d.Bytes()
		if d.Err != nil {
			break
		}
		if state > Prepared || t.txns[x.ID] != nil {
			return errHandoff
		}
		x.state.Store(uint32(state))
		if state != Active {
			t.unsettled.Add(1)
		}
		if len(pl) > 0 && payload != nil {
			if err := payload(x, pl); err != nil {
				return err
			}
		}
		t.txns[x.ID] = x
		for j, m := 0, d.Count(2); j < m && d.Err == nil; j++ {
			mode, key := Mode(d.Byte()), d.Bytes()
			if d.Err != nil || mode != Shared && mode != Exclusive {
				return errHandoff
			}
			_, p, _ := t.points.Get(key)
			if p != nil && (p.covers(x, mode) || p.excl != nil && p.excl != x) {
				return errHandoff
			}
			t.grantPoint(x, p, key, mode)
		}
		for j, m := 0, d.Count(3); j < m && d.Err == nil; j++ {
			mode, start, end := Mode(d.Byte()), d.Bytes(), d.Bytes()
			if d.Err != nil || mode != Shared && mode != Exclusive || bytes.Compare(start, end) >= 0 {
				return errHandoff
			}
			t.grantSpan(x, bytes.Clone(start), bytes.Clone(end), mode)
		}
	}
	if d.Err != nil || len(d.B) != 0 {
		return errHandoff
	}
	return nil
}

// restoredSilence is for how many sweeps a restored transaction counts as silent already: its gateway has had
// no leader here to send heartbeats to, and its locks have been in the way all the time.
const restoredSilence = 3

// Restore adds a prepared transaction from the range's replicated state, with exclusive locks on keys
// and spans (pairs of start and end), or adds the locks to the entry that a handoff brought.
func (t *Table) Restore(id TxnID, age int64, gateway int32, token int64, ts truetime.Timestamp, payload any, keys [][]byte, spans [][2][]byte) *Txn {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.txns[id]
	if x == nil {
		if token == 0 {
			t.token++
			token = t.token
		}
		x = &Txn{ID: id, Age: age, Gateway: gateway, Token: token, seen: t.sweep - restoredSilence}
		x.points = x.pointsBuf[:0]
		t.txns[id] = x
	}
	if x.State() == Active {
		t.unsettled.Add(1)
	}
	x.state.Store(uint32(Prepared))
	x.ts = ts
	x.Payload = payload
	for _, k := range keys {
		if _, p, ok := t.points.Get(k); !ok || !p.covers(x, Exclusive) {
			t.grantPoint(x, p, k, Exclusive)
		}
	}
	for _, s := range spans {
		if !x.spanCovers(s[0], s[1], Exclusive) {
			t.grantSpan(x, bytes.Clone(s[0]), bytes.Clone(s[1]), Exclusive)
		}
	}
	return x
}

// Package protect keeps garbage collection away from old versions that somebody still has to read: a backup that runs,
// the next incremental one, a change feed that has fallen behind.
//
// A Record in the system keys names a timestamp and spans. A range's leader asks its node's Guard before it raises the
// range's GC threshold, and does not raise it above the timestamp of a record that overlaps the range (I3). The Guard
// reads the records when it is asked, not in the background: an idle cluster does nothing.
//
// A record protects what is not collected yet when it is written. As leaders may look at records that are MaxAge old, a
// timestamp that is at least MaxAge younger than the retention time is certain to stay readable; for an older one the
// reader may get kv.ErrReadTooOld, never a wrong answer.
package protect

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// MaxAge is how old the records are that a Guard goes by at most.
const MaxAge = 10 * time.Second

// readTimeout bounds how long garbage collection waits for the records.
const readTimeout = 5 * time.Second

// Record keeps versions of some spans.
type Record struct {
	ID uint64 `json:"-"`
	// Timestamp stays readable, and everything above it.
	Timestamp truetime.Timestamp `json:"ts"`
	// Expires ends the protection by itself, should its owner be gone for good.
	Expires truetime.Timestamp `json:"exp"`
	Spans   []Span             `json:"spans"`
	Owner   string             `json:"owner"` // shown to operators
}

// Span is the keys k with Start <= k < End.
type Span struct {
	Start []byte `json:"s"`
	End   []byte `json:"e"`
}

func (r *Record) covers(start, end []byte) bool {
	for _, s := range r.Spans {
		if bytes.Compare(s.Start, end) < 0 && bytes.Compare(start, s.End) < 0 {
			return true
		}
	}
	return false
}

// prefix of the records' keys: 0x02 'K' id(8); 'P' has the placement policies.
var prefix = []byte{0x02, 'K'}

func key(id uint64) []byte { return binary.BigEndian.AppendUint64(bytes.Clone(prefix), id) }

// Put writes or replaces a record within tx.
func Put(tx kv.Txn, r Record) error {
	if r.ID == 0 || r.Timestamp <= 0 || r.Expires <= 0 || len(r.Spans) == 0 {
		return errors.New("protect: a record needs an id, a timestamp, an end and spans")
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return tx.Put(key(r.ID), b)
}

// Remove removes a record within tx.
func Remove(tx kv.Txn, id uint64) error { return tx.Delete(key(id)) }

// List reads all records.
func List(ctx context.Context, db kv.DB) ([]Record, error) {
	tx, err := db.Begin(ctx, kv.TxnOptions{ReadOnly: true, OneShot: true, Name: "gc protection"})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx)
	sc, err := tx.Scan(ctx, kv.Span{Start: prefix, End: []byte{0x02, 'K' + 1}}, kv.ScanOptions{})
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	var out []Record
	for sc.Next(ctx) {
		p := sc.Pair()
		var r Record
		if err := json.Unmarshal(p.Value, &r); err != nil || len(p.Key) != len(prefix)+8 {
			return nil, fmt.Errorf("protect: malformed record %x: %w", p.Key, err)
		}
		r.ID = binary.BigEndian.Uint64(p.Key[len(prefix):])
		out = append(out, r)
	}
	return out, sc.Err()
}

// Clock is the part of TrueTime that a Guard needs.
type Clock interface{ Now() truetime.Interval }

// Guard answers for one node how far garbage may be collected. It is safe for concurrent use.
type Guard struct {
	clock Clock
	log   *slog.Logger
	list  func(ctx context.Context) ([]Record, error)

	mu      sync.Mutex
	records []Record
	read    truetime.Timestamp // when the records were read; zero: never
	tried   truetime.Timestamp // when reading them was tried last
}

// NewGuard returns a Guard. list reads the records, as List does.
func NewGuard(clock Clock, log *slog.Logger, list func(ctx context.Context) ([]Record, error)) *Guard {
	return &Guard{clock: clock, log: log, list: list}
}

// Limit returns how far the GC threshold of a range may be raised when it is to be raised to ts. While the records
// cannot be read it is not to be raised at all, and the answer is zero.
func (g *Guard) Limit(ctx context.Context, start, end []byte, ts truetime.Timestamp) truetime.Timestamp {
	now := g.clock.Now().Latest
	records, ok := g.recent(ctx, now)
	if !ok {
		return 0
	}
	for i := range records {
		if r := &records[i]; r.Timestamp < ts && now < r.Expires && r.covers(start, end) {
			ts = r.Timestamp
		}
	}
	return ts
}

// recent returns the records as they were MaxAge before now, or later.
func (g *Guard) recent(ctx context.Context, now truetime.Timestamp) ([]Record, bool) {
	g.mu.Lock()
	within := func(t truetime.Timestamp, age time.Duration) bool { // a clock that was fenced may have been ahead
		return t != 0 && t <= now && now.Sub(t) <= age
	}
	if within(g.read, MaxAge) {
		defer g.mu.Unlock()
		return g.records, true
	}
	if within(g.tried, MaxAge-1) {
		defer g.mu.Unlock()
		return nil, false // it has just failed, or is being tried: not every range of the node waits for it
	}
	g.tried = now
	g.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	records, err := g.list(ctx)
	if err != nil {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			g.log.Warn("garbage is not collected: its protection cannot be read", "err", err)
		}
		return nil, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.records, g.read, g.tried = records, now, 0
	return records, true
}

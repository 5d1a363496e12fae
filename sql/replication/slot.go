package replication

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"strings"
	"time"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/protect"
)

// Slot is a replication slot. Slots belong to the cluster, and read one database.
type Slot struct {
	Name     string `json:"-"`
	Plugin   string `json:"plugin"`
	Database uint32 `json:"db"`
	// Confirmed: the consumer has everything committed at or below it.
	Confirmed truetime.Timestamp `json:"ts"`
	Temporary bool               `json:"tmp,omitempty"` // dropped with Session
	// Session is the PID of the session that uses the slot until Until, longer if it says so; 0: none.
	Session int32              `json:"pid,omitempty"`
	Until   truetime.Timestamp `json:"until,omitempty"`
	Lost    bool               `json:"lost,omitempty"` // the history is gone
	// Protection is the id of the slot's record in package protect.
	Protection uint64 `json:"prot"`
}

// Active returns the session that uses the slot, 0 for none.
func (s *Slot) Active(now truetime.Timestamp) int32 {
	if s.Session != 0 && now <= s.Until {
		return s.Session
	}
	return 0
}

// hold is how long a session keeps a slot without saying so again; renewal is how often it does.
const (
	hold    = 20 * time.Second
	renewal = 5 * time.Second
	// temporaryHold is how long a temporary slot outlives a session that was lost with its node.
	temporaryHold = time.Hour
)

// slotPrefix begins the slots' keys: 0x02 'R' name.
var slotPrefix = []byte{0x02, 'R'}

func slotKey(name string) []byte {
	return append(slotPrefix[:len(slotPrefix):len(slotPrefix)], name...)
}

// Clock is the part of TrueTime that slots need.
type Clock interface {
	Now() truetime.Interval
}

// Slots keeps the slots of the cluster.
type Slots struct {
	db        kv.DB
	clock     Clock
	retention time.Duration
}

// checkSlotName accepts what PostgreSQL accepts.
func checkSlotName(name string) error {
	switch {
	case name == "":
		return pgerr.New(pgerr.InvalidName, "replication slot name %q is too short", name)
	case len(name) > 63:
		return pgerr.New(pgerr.NameTooLong, "replication slot name %q is too long", name)
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "":
		return pgerr.New(pgerr.InvalidName, "replication slot name %q contains invalid character", name).
			WithHint("Replication slot names may only contain lower case letters, numbers, and the underscore character.")
	}
	return nil
}

func noSlot(name string) error {
	return pgerr.New(pgerr.UndefinedObject, "replication slot %q does not exist", name)
}

// Create makes a slot whose stream begins behind s.Confirmed.
func (x *Slots) Create(ctx context.Context, s Slot) error {
	if err := checkSlotName(s.Name); err != nil {
		return err
	}
	h := fnv.New64a()
	h.Write([]byte(s.Name))
	s.Protection = h.Sum64() ^ uint64(s.Confirmed) | 1
	return x.change(ctx, s.Name, func(old *Slot) (*Slot, error) {
		if old != nil {
			if old.Protection == s.Protection && old.Confirmed == s.Confirmed {
				return old, nil // a retry of this
			}
			return nil, pgerr.New(pgerr.DuplicateObject, "replication slot %q already exists", s.Name)
		}
		n := s
		if n.Temporary {
			n.Until = x.clock.Now().Latest.Add(temporaryHold)
		}
		return &n, nil
	})
}

// change reads a slot, nil for none, and writes what fn makes of it, nil for nothing. Both, and the record that keeps its
// history, are one transaction.
func (x *Slots) change(ctx context.Context, name string, fn func(*Slot) (*Slot, error)) error {
	for attempt := 0; ; attempt++ {
		err := x.tryChange(ctx, name, fn)
		if err == nil || attempt > 20 || !errors.Is(err, kv.ErrRetry) && !errors.Is(err, kv.ErrWriteConflict) {
			return err
		}
	}
}

func (x *Slots) tryChange(ctx context.Context, name string, fn func(*Slot) (*Slot, error)) error {
	tx, err := x.db.Begin(ctx, kv.TxnOptions{Name: "replication slot"})
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	b, err := tx.Get(ctx, slotKey(name), kv.LockExclusive, kv.WaitBlock)
	if err != nil {
		return err
	}
	var old *Slot
	if b != nil {
		if old, err = decodeSlot(name, b); err != nil {
			return err
		}
	}
	var copied *Slot
	if old != nil {
		c := *old
		copied = &c
	}
	next, err := fn(copied)
	if err != nil {
		return err
	}
	if next == nil {
		if old == nil {
			return nil
		}
		if err := tx.Delete(slotKey(name)); err != nil {
			return err
		}
		if err := protect.Remove(tx, old.Protection); err != nil {
			return err
		}
	} else {
		if b, err = json.Marshal(next); err != nil {
			return err
		}
		if err := tx.Put(slotKey(name), b); err != nil {
			return err
		}
		if err := protect.Put(tx, x.protection(next)); err != nil {
			return err
		}
	}
	_, err = tx.Commit(ctx)
	return err
}

// protection keeps the history of rows and catalog from the slot's position on, for a time: a slot that nobody reads
// any more does not fill the disks.
func (x *Slots) protection(s *Slot) protect.Record {
	history := catalog.HistorySpan()
	return protect.Record{ID: s.Protection, Timestamp: s.Confirmed, Expires: s.Confirmed.Add(x.retention),
		Spans: []protect.Span{{Start: history.Start, End: history.End}, {Start: []byte{0x03}, End: []byte{0xff}}},
		Owner: "replication slot " + s.Name}
}

func decodeSlot(name string, b []byte) (*Slot, error) {
	s := &Slot{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, pgerr.New(pgerr.InternalError, "replication slot %q: %w", name, err)
	}
	s.Name = name
	return s, nil
}

// List returns all slots by name.
func (x *Slots) List(ctx context.Context) ([]Slot, error) {
	tx, err := x.db.Begin(ctx, kv.TxnOptions{ReadOnly: true, OneShot: true, Name: "replication slots"})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx)
	sc, err := tx.Scan(ctx, kv.Span{Start: slotPrefix, End: []byte{0x02, 'R' + 1}}, kv.ScanOptions{})
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	var out []Slot
	for sc.Next(ctx) {
		p := sc.Pair()
		s, err := decodeSlot(string(p.Key[len(slotPrefix):]), p.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, *s)
	}
	return out, sc.Err()
}

// Drop removes a slot that nobody else uses.
func (x *Slots) Drop(ctx context.Context, name string, session int32) error {
	return x.change(ctx, name, func(s *Slot) (*Slot, error) {
		if s == nil {
			return nil, noSlot(name)
		}
		return nil, x.free(s, session)
	})
}

// freePoll is the time between two looks at a slot that another session uses: it may be the session of any node.
const freePoll = 100 * time.Millisecond

// DropWhenFree removes a slot once nobody else uses it.
func (x *Slots) DropWhenFree(ctx context.Context, name string, session int32) error {
	t := time.NewTicker(freePoll)
	defer t.Stop()
	for {
		if err := x.Drop(ctx, name, session); pgerr.Code(err) != pgerr.ObjectInUse {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// free checks that no other session uses s.
func (x *Slots) free(s *Slot, session int32) error {
	if pid := s.Active(x.clock.Now().Earliest); pid != 0 && pid != session {
		return pgerr.New(pgerr.ObjectInUse, "replication slot %q is active for PID %d", s.Name, pid)
	}
	return nil
}

// Acquire makes the slot the session's until Release, as long as Advance is called every renewal.
func (x *Slots) Acquire(ctx context.Context, name string, database uint32, session int32) (Slot, error) {
	var got Slot
	err := x.change(ctx, name, func(s *Slot) (*Slot, error) {
		if s == nil {
			return nil, noSlot(name)
		}
		if err := x.free(s, session); err != nil {
			return nil, err
		}
		if s.Database != database {
			return nil, pgerr.New(pgerr.ObjectNotInPrerequisiteState, "replication slot %q was not created in this database", name)
		}
		if s.Lost {
			return nil, errLost(name)
		}
		s.Session, s.Until = session, x.clock.Now().Latest.Add(hold)
		got = *s
		return s, nil
	})
	return got, err
}

func errLost(name string) error {
	return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "can no longer get changes from replication slot %q", name).
		WithDetail("The history of rows from its position on has been collected as garbage.").
		WithHint("Drop the slot, create it again and copy the tables anew.")
}

// Advance confirms everything at or below ts and keeps the slot for the session.
func (x *Slots) Advance(ctx context.Context, name string, session int32, ts truetime.Timestamp) error {
	return x.change(ctx, name, func(s *Slot) (*Slot, error) {
		if s == nil || s.Session != session {
			return nil, pgerr.New(pgerr.ObjectInUse, "replication slot %q has been taken over", name)
		}
		s.Confirmed = max(s.Confirmed, ts)
		s.Until = x.clock.Now().Latest.Add(hold)
		return s, nil
	})
}

// Release confirms everything at or below ts and gives the slot back. lost notes that its history is gone.
func (x *Slots) Release(ctx context.Context, name string, session int32, ts truetime.Timestamp, lost bool) error {
	return x.change(ctx, name, func(s *Slot) (*Slot, error) {
		if s == nil || s.Session != session {
			return s, nil
		}
		s.Confirmed, s.Lost = max(s.Confirmed, ts), s.Lost || lost
		if s.Temporary {
			s.Until = x.clock.Now().Latest.Add(temporaryHold)
			return s, nil
		}
		s.Session, s.Until = 0, 0
		return s, nil
	})
}

// DropTemporary removes the temporary slots of a session that ends, and of sessions that are gone.
func (x *Slots) DropTemporary(ctx context.Context, session int32) error {
	list, err := x.List(ctx)
	if err != nil {
		return err
	}
	now := x.clock.Now().Earliest
	for _, s := range list {
		if s.Temporary && (s.Session == session || s.Until < now) {
			if err := x.Drop(ctx, s.Name, s.Session); err != nil {
				return err
			}
		}
	}
	return nil
}

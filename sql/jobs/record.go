package jobs

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// State is where a job is in its life.
type State string

// The states. The last three are final.
const (
	Running   State = "running"
	Paused    State = "paused"
	Reverting State = "reverting" // its effects are being undone
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Canceled  State = "canceled"
)

// Final reports whether a job in that state has ended.
func (s State) Final() bool { return s == Succeeded || s == Failed || s == Canceled }

// Record is a job as it is stored.
type Record struct {
	ID          uint64 `json:"-"`
	Kind        string `json:"kind"`
	Description string `json:"desc"`
	User        string `json:"user,omitempty"`
	Database    string `json:"db,omitempty"`
	// Payload says what is to be done; Checkpoint how far it is. Both are the kind's own.
	Payload    json.RawMessage `json:"payload,omitempty"`
	Checkpoint json.RawMessage `json:"checkpoint,omitempty"`

	State    State  `json:"state"`
	Request  string `json:"req,omitempty"` // "pause" or "cancel", not acted upon yet
	Progress        // for people
	Error    string `json:"error,omitempty"`
	// Code is the SQLSTATE of Error.
	Code        string `json:"code,omitempty"`
	ErrorDetail string `json:"edetail,omitempty"`
	Hint        string `json:"ehint,omitempty"`
	// Result is what a job that succeeded has to say.
	Result json.RawMessage `json:"result,omitempty"`

	Created  truetime.Timestamp `json:"created"`
	Finished truetime.Timestamp `json:"finished,omitempty"`

	Node  uint64             `json:"node,omitempty"` // the owner
	Epoch uint64             `json:"epoch"`          // counts owners
	Until truetime.Timestamp `json:"until"`          // end of the owner's lease
}

// Progress is how far a job is.
type Progress struct {
	Fraction float64 `json:"frac,omitempty"` // 0 to 1
	Detail   string  `json:"detail,omitempty"`
	Done     int64   `json:"done,omitempty"` // in the kind's own unit
}

// The keys: 0x02 'j' 'd' id(8) the record, 0x02 'j' 'a' id(8) empty while the job has not ended, 0x02 'j' 'n' the
// last id given.
func recordKey(id uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{0x02, 'j', 'd'}, id)
}

func activeKey(id uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{0x02, 'j', 'a'}, id)
}

var (
	counterKey = []byte{0x02, 'j', 'n'}
	recordSpan = kv.Span{Start: []byte{0x02, 'j', 'd'}, End: []byte{0x02, 'j', 'd' + 1}}
	activeSpan = kv.Span{Start: []byte{0x02, 'j', 'a'}, End: []byte{0x02, 'j', 'a' + 1}}
)

// ErrNotFound reports that there is no job of that id. Records of ended jobs are dropped after a while.
var ErrNotFound = errors.New("jobs: there is no such job")

func get(ctx context.Context, tx kv.Txn, id uint64, lock kv.LockMode) (*Record, error) {
	b, err := tx.Get(ctx, recordKey(id), lock, kv.WaitBlock)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, ErrNotFound
	}
	return decode(id, b)
}

func decode(id uint64, b []byte) (*Record, error) {
	r := &Record{ID: id}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("jobs: record %d: %w", id, err)
	}
	return r, nil
}

func put(tx kv.Txn, r *Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("jobs: record %d: %w", r.ID, err)
	}
	if r.State.Final() {
		err = tx.Delete(activeKey(r.ID))
	} else {
		err = tx.Put(activeKey(r.ID), []byte{})
	}
	if err != nil {
		return err
	}
	return tx.Put(recordKey(r.ID), b)
}

// nextID draws an id within tx.
func nextID(ctx context.Context, tx kv.Txn) (uint64, error) {
	b, err := tx.Get(ctx, counterKey, kv.LockExclusive, kv.WaitBlock)
	if err != nil {
		return 0, err
	}
	id := uint64(1)
	if len(b) == 8 {
		id = binary.BigEndian.Uint64(b) + 1
	}
	return id, tx.Put(counterKey, binary.BigEndian.AppendUint64(nil, id))
}

// scan reads all pairs of a span without locks.
func scan(ctx context.Context, db kv.DB, span kv.Span, fn func(id uint64, value []byte) error) error {
	tx, err := db.Begin(ctx, kv.TxnOptions{ReadOnly: true, OneShot: true, Name: "jobs"})
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	sc, err := tx.Scan(ctx, span, kv.ScanOptions{})
	if err != nil {
		return err
	}
	defer sc.Close()
	for sc.Next(ctx) {
		p := sc.Pair()
		if len(p.Key) != 11 {
			return fmt.Errorf("jobs: malformed key %x", p.Key)
		}
		if err := fn(binary.BigEndian.Uint64(p.Key[3:]), p.Value); err != nil {
			return err
		}
	}
	return sc.Err()
}

// Package kv is the interface of the transaction layer to the layers above it: ordered keys, read-write
// transactions with locks, and lock-free snapshots. Package txn implements it.
package kv

import (
	"context"
	"errors"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// LockMode says which lock a read takes. Snapshot transactions always read without locks.
type LockMode uint8

const (
	LockNone      LockMode = iota // Snapshot read at the transaction's read timestamp.
	LockShared                    // Held to the end of the transaction; others may read.
	LockExclusive                 // Held to the end of the transaction; for a write that will follow.
)

// WaitPolicy says what a read does when another transaction holds a conflicting lock.
type WaitPolicy uint8

const (
	WaitBlock      WaitPolicy = iota // Wait, or wound a younger holder.
	WaitError                        // NOWAIT: fail with ErrLockNotAvailable.
	WaitSkipLocked                   // SKIP LOCKED: leave the key out of the answer.
)

// Isolation is how a transaction reads.
type Isolation uint8

const (
	// Serializable: reads take locks, strict two-phase locking.
	Serializable Isolation = iota
	// Snapshot: reads at one timestamp fixed by the first read, writes lock and fail with
	// ErrWriteConflict when the row changed after that timestamp (REPEATABLE READ).
	Snapshot
	// ReadCommitted: each statement reads at a fresh timestamp (Txn.Step); locking reads see the latest.
	ReadCommitted
)

// Key and value sizes the layer accepts, in bytes; past them Put fails with ErrTooLarge.
const (
	MaxKeySize   = 16 << 10
	MaxValueSize = 64 << 20
)

// Errors that sql maps to SQLSTATEs. They arrive wrapped; use errors.Is.
var (
	// ErrRetry: the transaction was aborted (wounded, lock lost, conflict) and holds nothing; running
	// it again from its first statement may succeed. 40001.
	ErrRetry = errors.New("transaction aborted, retry")
	// ErrWriteConflict is the ErrRetry of snapshot isolation: "could not serialize access due to
	// concurrent update". 40001.
	ErrWriteConflict = errors.New("could not serialize access due to concurrent update")
	// ErrLockNotAvailable answers WaitError. 55P03.
	ErrLockNotAvailable = errors.New("could not obtain lock")
	// ErrLockTimeout is the ErrLockNotAvailable of a wait that took longer than SetLockTimeout allows. 55P03.
	ErrLockTimeout = errors.New("canceling statement due to lock timeout")
	// ErrAmbiguous: the commit's outcome could not be learned before the deadline. 40003.
	ErrAmbiguous = errors.New("commit outcome unknown")
	// ErrReadTooOld: the read timestamp is below the GC threshold. 72000.
	ErrReadTooOld = errors.New("read timestamp is below the garbage collection threshold")
	// ErrUnavailable: no quorum or no leader could be reached before the deadline. 57P03.
	ErrUnavailable = errors.New("range unavailable")
	// ErrClock: the node has fenced itself because its clock is not trustworthy. 57P03.
	ErrClock = errors.New("clock uncertainty too large")
	// ErrTooLarge: key or value over the limit. 54000.
	ErrTooLarge = errors.New("key or value too large")
	// ErrReadOnly: a write in a read-only transaction. 25006.
	ErrReadOnly = errors.New("cannot write in a read-only transaction")
)

// Staleness chooses a read-only transaction's timestamp, in Spanner's words.
type Staleness struct {
	Kind StalenessKind
	Age  int64              // nanoseconds, for ExactStaleness and MaxStaleness
	At   truetime.Timestamp // for ReadTimestamp and MinReadTimestamp
}

// StalenessKind names the five forms of a read-only transaction's timestamp bound.
type StalenessKind uint8

const (
	Strong StalenessKind = iota
	ExactStaleness
	MaxStaleness
	ReadTimestamp
	MinReadTimestamp
)

// TxnOptions configure a transaction. The zero value is a serializable read-write transaction.
type TxnOptions struct {
	Isolation Isolation
	ReadOnly  bool
	Staleness Staleness // ReadOnly only
	// Age is the wound-wait priority carried over from an aborted attempt, zero on the first (then the
	// transaction's start time is taken). Smaller is older and wins.
	Age truetime.Timestamp
	// OneShot promises that exactly one Get, GetBatch or Scan will be made (ReadOnly, Strong): a read of one
	// range then takes its leader's newest finished timestamp instead of TT.now().latest and never waits.
	OneShot bool
	// Name is shown in system views and traces.
	Name string
}

// DB begins transactions.
type DB interface {
	Begin(ctx context.Context, opts TxnOptions) (Txn, error)
}

// Span is the keys k with Start <= k < End.
type Span struct{ Start, End []byte }

// KeyValue is one pair. The slices are valid until the next call on the object that returned it and
// must not be modified.
type KeyValue struct{ Key, Value []byte }

// ScanOptions configure a scan.
type ScanOptions struct {
	Lock    LockMode
	Wait    WaitPolicy
	Reverse bool
	// Gaps: a scan with a lock locks all of span at every level of isolation, not only the pairs that there are. Under
	// Snapshot it is a write conflict if anything in span has changed since.
	Gaps bool
	// Limit is the number of pairs the caller is going to need, 0 for all: a hint that bounds how much
	// is fetched, and locked, ahead. With a Program it counts what comes of it.
	Limit int64
	// Parts is how many parts Page.Rest may have, 0 for none.
	Parts int
	// Program is to be run over the pairs where they are (Programs), nil for none. Only pages (PageScanner) of a scan
	// with one may be read, as each says whether it was.
	Program []byte
}

// Scanner iterates over pairs in key order. It fetches in bounded batches.
type Scanner interface {
	// Next advances; false at the end or on an error, which Err returns.
	Next(ctx context.Context) bool
	Pair() KeyValue
	Err() error
	Close()
}

// PageScanner is a Scanner that can hand out what it fetches page by page, which spares the reader a call for
// each pair and lets it fetch the next page while it works on one.
type PageScanner interface {
	Scanner
	// NextPage returns the next page, an empty one at the end or on an error, which Err returns; the first may be
	// without pairs and yet have a Rest. Pages stay valid until the transaction ends and must not be modified; NextPage and Next must not both be used.
	NextPage(ctx context.Context) Page
}

// SpanSplitter is a Txn that knows where a span's pairs are.
type SpanSplitter interface {
	// SplitSpan divides span at the bounds of ranges, as they are known, into parts that are best read side by side, in
	// order and most of them at the most. A read-only transaction reads all parts at one timestamp, which is chosen then.
	SplitSpan(ctx context.Context, span Span, most int) ([]Span, error)
}

// Page is a run of pairs of a scan, in its order.
type Page struct {
	Keys, Values [][]byte
	// Computed says that ScanOptions.Program has been run: the pairs are what it made of those of the span. Otherwise,
	// with a program too, they are the span's own: the range could not run it, or the transaction has written there.
	Computed bool
	// Scanned counts the pairs that ranges have read for the page, Wire the bytes of the answers that came from other
	// nodes.
	Scanned, Wire int64
	// Rest, of the first page only, is what the span has left, in order, in parts that are worth being read side by side
	// (Txn.Scan) instead of by the scanner that has returned the page. Two at least, or none when there is too little left.
	Rest []Span
}

// Programs runs programs that the layer above ships to its data. A store is given one (participant.Config); this
// layer carries programs without looking into them. It is safe for concurrent use.
type Programs interface {
	// Start begins to run a program over the pairs of one read. An error says that it cannot be run here (another
	// version made it, or it is malformed): the pairs are answered as they are, and the sender runs it himself.
	Start(ctx context.Context, program []byte) (Evaluator, error)
}

// Evaluator is a program that runs. One goroutine uses it. After an error, which likewise has the pairs answered as
// they are, it is not used any more.
type Evaluator interface {
	// Pair takes the next pair of the scan and says whether to answer one for it, and which. Both pairs are valid
	// until the next call.
	Pair(key, value []byte) (outKey, outValue []byte, keep bool, err error)
	// Held is how many bytes of memory the program keeps; a page ends when it is too much.
	Held() int64
	// Finish emits what is to be answered at the end of a page.
	Finish(emit func(key, value []byte)) error
}

// Pairs are pairs in key order. They stay valid and must not be modified.
type Pairs struct{ Keys, Values [][]byte }

// SpanReader is a Txn that reads many short spans in as few round trips as they touch ranges, as GetBatch does for
// keys.
type SpanReader interface {
	// ScanSpans returns the pairs of each span, read without locks. ok is false when this transaction cannot: it
	// may have writes of its own. Everything that the spans hold is in memory at once, so they should be short.
	ScanSpans(ctx context.Context, spans []Span) (pairs []Pairs, ok bool, err error)
}

// Changes are versions of keys in key order, the newest first for each key. They stay valid and must not be modified.
type Changes struct {
	Keys, Values [][]byte
	Timestamps   []truetime.Timestamp
	Deleted      []bool // such a version has no value
}

// ChangeScanner iterates over what was written in an interval of time, page by page.
type ChangeScanner interface {
	// NextPage returns the next versions; none at the end or on an error, which Err returns. That is ErrReadTooOld
	// when deletions of the interval may have been collected as garbage.
	NextPage(ctx context.Context) Changes
	Err() error
}

// ChangeReader is a read-only Txn that knows what has changed.
type ChangeReader interface {
	// Changes reads what was written in span above after and at or below the transaction's read timestamp: of each
	// key the newest such version or, with all, every one. A deletion of a span shows as one of each of its keys.
	Changes(ctx context.Context, span Span, after truetime.Timestamp, all bool) (ChangeScanner, error)
}

// Partitioner is a DB that tells how keys are spread over ranges.
type Partitioner interface {
	// Partition cuts span where ranges meet, as far as this node knows.
	Partition(ctx context.Context, span Span) ([]Span, error)
}

// Txn is one transaction. It is not safe for concurrent use, except that several Scanners and Gets may
// run at once while no write does. After an error that is ErrRetry or ErrWriteConflict only Rollback
// is allowed. Reads see the transaction's own writes.
type Txn interface {
	// Get returns the value of key, nil when there is none.
	Get(ctx context.Context, key []byte, lock LockMode, wait WaitPolicy) ([]byte, error)
	// GetBatch is Get for many keys in as few round trips as there are ranges. values[i] is nil when
	// keys[i] has none; skipped[i] is set when WaitSkipLocked left it out (skipped may be nil).
	GetBatch(ctx context.Context, keys [][]byte, lock LockMode, wait WaitPolicy) (values [][]byte, skipped []bool, err error)
	// Scan reads span in order.
	Scan(ctx context.Context, span Span, opts ScanOptions) (Scanner, error)
	// Put and Delete buffer a write. Slices are copied. The lock is taken at commit, or earlier when
	// the transaction grows large, unless a read has taken it already.
	Put(key, value []byte) error
	Delete(key []byte) error
	// Insert buffers a write that requires key to be absent, to be called after the key was found
	// absent under LockExclusive or when uniqueness is certain (a fresh row id).
	Insert(key, value []byte) error
	// DeleteSpan deletes every key of span with an exclusive lock on the span (TRUNCATE, DROP).
	DeleteSpan(ctx context.Context, span Span) error
	// LockSpan locks span, shared or exclusive, until the end of the transaction, and reads nothing (LOCK TABLE).
	// Reads without locks go on under it.
	LockSpan(ctx context.Context, span Span, lock LockMode, wait WaitPolicy) error
	// SetLockTimeout bounds how long each later request may wait for locks: it fails with ErrLockTimeout then, as
	// does Commit when a write's lock is taken that late. Zero, as in the beginning: no bound.
	SetLockTimeout(d time.Duration)
	// Flush sends buffered writes past the memory budget to the ranges as staged pieces. Statements
	// that write many rows call it between batches.
	Flush(ctx context.Context) error

	// Step begins a new statement: under ReadCommitted it takes a fresh read timestamp.
	Step(ctx context.Context) error
	// Savepoint marks a point that RollbackTo returns to, undoing buffered writes after it. Locks stay.
	Savepoint() Savepoint
	RollbackTo(ctx context.Context, sp Savepoint) error

	// Commit makes the writes durable and visible and returns the commit timestamp after commit wait.
	Commit(ctx context.Context) (truetime.Timestamp, error)
	// Rollback releases everything. It is idempotent and may be called after any error.
	Rollback(ctx context.Context)
	// CommitBefore adds a bound on the commit timestamp: Commit fails with ErrRetry when it would be later.
	CommitBefore(ts truetime.Timestamp)

	// ReadTimestamp is the snapshot's timestamp, zero for serializable read-write transactions and
	// before a snapshot transaction's first read.
	ReadTimestamp() truetime.Timestamp
	// Age is the wound-wait priority to carry into the next attempt.
	Age() truetime.Timestamp
	// Stats says what the transaction did so far, for EXPLAIN ANALYZE and traces.
	Stats() Stats
}

// Savepoint is a mark in a transaction's write buffer.
type Savepoint struct{ Seq uint64 }

// Stats are a transaction's counters. Durations are nanoseconds.
type Stats struct {
	Ranges       int // distinct ranges touched
	RPCs         int // requests that left this node
	LocalReads   int // requests answered by a replica on this node
	LockWait     int64
	CommitWait   int64
	Replication  int64
	Retries      int
	FollowerRead bool
}

// RangeCost is what a transaction has asked of one range at one node.
type RangeCost struct {
	Range    int64
	Node     uint64
	Local    bool // the node is the transaction's gateway
	Requests int
	Follower int   // requests that a follower has answered by itself
	Rows     int64 // keys that were asked for, and pairs that scans have read
	Bytes    int64 // of answers that came from another node
	LockWait int64 // nanoseconds
	Elapsed  int64 // nanoseconds that reads took, the way there and back included; those at once are counted each
}

// Itemizer is a Txn that can tell what it costs range by range.
type Itemizer interface {
	// Itemize begins to count, from zero.
	Itemize()
	// Itemized returns what was counted since, by node and range, and the clock's interval now.
	Itemized() ([]RangeCost, truetime.Interval)
}

// Diff is what one commit did to one key. The slices are valid during the call that it is handed to.
type Diff struct {
	Key []byte
	TS  truetime.Timestamp
	// Value is what the key has from TS on, nil when it was deleted.
	Value []byte
	// Existed: the key had a value before. Previous is that value, if it was asked for.
	Existed  bool
	Previous []byte
}

// DiffRequest says which diffs are read: those of Span with After < commit timestamp <= TS.
type DiffRequest struct {
	Span      Span
	After, TS truetime.Timestamp
	Previous  bool // with the values before
}

// DiffReader is a DB that can tell what each commit has done.
type DiffReader interface {
	Partitioner
	// Diffs calls fn for each diff. Those of one key come in the order of their timestamps; keys come in order. It
	// waits until TS has passed and nothing at or below it can be committed any more, so a reader that goes on with
	// After = TS misses nothing. It fails with ErrReadTooOld when After is below the GC threshold, and with the
	// error of fn; what fn was called for by then is true, if incomplete. It keeps nothing between calls.
	Diffs(ctx context.Context, req DiffRequest, fn func(*Diff) error) error
}

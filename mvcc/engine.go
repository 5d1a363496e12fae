package mvcc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/cockroachkvs"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Config configures an Engine. A zero field takes the default named in its comment.
type Config struct {
	FS  vfs.FS // Required. vfs.Default for a real disk.
	Dir string // Required. Created when missing.

	CacheBytes        int64  // Block cache. Default 256 MiB. Ignored when Cache is set.
	Cache             *Cache // Shared block cache; the engine takes its own reference.
	MemTableBytes     uint64 // One memtable. Default 64 MiB.
	MaxCompactions    int    // Most compactions at once. Default 2.
	MaxOpenFiles      int    // Default 4096.
	SSTBytes          int64  // Size at which an Ingester starts a new file. Default 64 MiB.
	ReadOnly          bool
	Logger            *slog.Logger                      // Default slog.Default().
	OnFailure         func(err error)                   // Told once when the disk refuses writes or a file is damaged; see Engine. Default panics.
	OnWriteStall      func(stalled bool, reason string) // Told when writes stall and when they resume. Optional.
	TuneOptionsForDev func(opts *pebble.Options)        // Tests: last word on Pebble's options. Optional.
}

// Cache is a block cache that several engines share.
type Cache = pebble.Cache

// NewCache returns a block cache; the caller releases its reference with Unref.
func NewCache(bytes int64) *Cache { return pebble.NewCache(bytes) }

// Engine is one node's versioned state. It is safe for concurrent use.
//
// When the disk refuses a write, be it a flush or a compaction in the background, the engine has failed: it tells
// Config.OnFailure, once and with locks held (so that must neither wait nor call the engine), and nothing
// becomes durable any more. It can only be closed.
type Engine struct {
	db      *pebble.DB
	opts    *pebble.Options
	cfg     Config
	failure *failure
	// background holds flushes and compactions back; who waits for them has them hasten.
	background *Background
}

// failure is whether and why an engine has failed. Pebble reports an error of the background, tries again at
// once and for ever; and it goes on after Fatalf as if nothing had happened.
type failure struct {
	err      atomic.Pointer[error]
	happened chan struct{}
	tell     func(err error)
}

func (f *failure) set(err error) {
	if f.err.CompareAndSwap(nil, &err) {
		close(f.happened)
		f.tell(err)
	}
}

// check makes an error of an operation that the disk may have refused.
func (f *failure) check(err error) error {
	if p := f.err.Load(); err == nil && p != nil {
		return *p
	}
	return err
}

// ErrClosed is returned by operations on a closed engine where Pebble reports it as an error.
var ErrClosed = pebble.ErrClosed

// Open opens the engine in cfg.Dir, creating it when the directory holds none.
func Open(cfg Config) (*Engine, error) {
	switch {
	case cfg.FS == nil:
		return nil, errors.New("mvcc: Config.FS is required")
	case cfg.Dir == "":
		return nil, errors.New("mvcc: Config.Dir is required")
	}
	cfg.CacheBytes = cmp.Or(cfg.CacheBytes, 256<<20)
	cfg.MemTableBytes = cmp.Or(cfg.MemTableBytes, 64<<20)
	cfg.MaxCompactions = cmp.Or(cfg.MaxCompactions, 2)
	cfg.MaxOpenFiles = cmp.Or(cfg.MaxOpenFiles, 4096)
	cfg.SSTBytes = cmp.Or(cfg.SSTBytes, 64<<20)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.OnFailure == nil {
		cfg.OnFailure = func(err error) { panic("mvcc: " + err.Error()) }
	}
	failed := &failure{happened: make(chan struct{}), tell: cfg.OnFailure}
	cache := cfg.Cache
	if cache == nil {
		cache = pebble.NewCache(cfg.CacheBytes)
		defer cache.Unref()
	}
	background := &Background{}
	opts := &pebble.Options{
		FS:                          background.FS(cfg.FS),
		Cache:                       cache,
		Comparer:                    &cockroachkvs.Comparer,
		KeySchema:                   cockroachkvs.KeySchema.Name,
		KeySchemas:                  sstable.MakeKeySchemas(&cockroachkvs.KeySchema),
		BlockPropertyCollectors:     cockroachkvs.BlockPropertyCollectors,
		FormatMajorVersion:          pebble.FormatNewest,
		DisableWAL:                  true,
		ReadOnly:                    cfg.ReadOnly,
		MemTableSize:                cfg.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		// Twice the read amplification of one sublevel must not reach it: the files of a load in key order do not
		// overlap, and may stay where they are.
		L0CompactionThreshold:      4,
		L0StopWritesThreshold:      1000,
		LBaseMaxBytes:              64 << 20,
		MaxOpenFiles:               cfg.MaxOpenFiles,
		CompactionConcurrencyRange: func() (int, int) { return 1, cfg.MaxCompactions },
		Logger:                     engineLogger{cfg.Logger, failed},
	}
	opts.Experimental.CompactionScheduler = CompactionScheduler()
	opts.EventListener = &pebble.EventListener{
		BackgroundError: backgroundError(failed),
		// Whoever met it has an error; but what else the file holds was acknowledged, and is missing from here on.
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			failed.set(&CorruptError{Cause: fmt.Errorf("state engine: %w", info.Details)})
		},
		DiskSlow: func(info pebble.DiskSlowInfo) {
			cfg.Logger.Warn("disk slow", "path", info.Path, "took", info.Duration)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			cfg.Logger.Warn("storage writes stall", "reason", info.Reason)
			if cfg.OnWriteStall != nil {
				cfg.OnWriteStall(true, info.Reason)
			}
		},
		WriteStallEnd: func() {
			if cfg.OnWriteStall != nil {
				cfg.OnWriteStall(false, "")
			}
		},
	}
	for i := range opts.Levels {
		opts.Levels[i].BlockSize = 32 << 10
		opts.Levels[i].IndexBlockSize = 256 << 10
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	// Ingestion "as a flushable" is made durable through the WAL, which this engine does not have: a crash
	// would forget a range that IngestAndExcise has reported as installed.
	opts.Experimental.DisableIngestAsFlushable = func() bool { return true }
	if cfg.TuneOptionsForDev != nil {
		cfg.TuneOptionsForDev(opts)
	}
	opts.EnsureDefaults()
	// Pebble creates a missing directory and syncs its parents: doing it here would lose the sync.
	db, err := pebble.Open(cfg.Dir, opts)
	if err != nil {
		return nil, fmt.Errorf("mvcc: open %s: %w", cfg.Dir, err)
	}
	background.Watch(db)
	return &Engine{db: db, opts: opts, cfg: cfg, failure: failed, background: background}, nil
}

// Close flushes nothing: what is not flushed is in the raft log. All iterators, snapshots and batches
// must have been closed.
func (e *Engine) Close() error {
	defer e.background.Hasten()()
	return e.db.Close()
}

// Flush makes everything committed so far durable.
func (e *Engine) Flush() error {
	defer e.background.Hasten()()
	done, err := e.db.AsyncFlush()
	if err != nil {
		return e.failure.check(err)
	}
	select {
	case <-done:
	case <-e.failure.happened: // then it may never be done
	}
	return e.failure.check(nil)
}

// backgroundError takes what Pebble says of flushes and compactions that have failed. An ingestion cancels those that cross
// its span, which are then begun again; of flushes Pebble tells that as it tells of a disk that fails.
func backgroundError(failed *failure) func(error) {
	return func(err error) {
		if !errors.Is(err, pebble.ErrCancelledCompaction) {
			failed.set(fmt.Errorf("state engine: %w", err))
		}
	}
}

// FlushAsync starts a flush and returns a channel closed when it is done.
func (e *Engine) FlushAsync() (<-chan struct{}, error) { return e.db.AsyncFlush() }

// Compact compacts the engine's keys of span, for tests and after large deletions.
func (e *Engine) Compact(ctx context.Context, span Span) error {
	defer e.background.Hasten()()
	return e.db.Compact(ctx, appendVersionKey(nil, span.Start, 0), appendVersionKey(nil, span.End, 0), false)
}

// Checkpoint writes a consistent copy of the engine to dir, which must not exist, by hard links.
func (e *Engine) Checkpoint(dir string) error {
	defer e.background.Hasten()()
	// With no WAL to copy, what is in memory must reach a file first.
	if err := e.db.Flush(); err != nil {
		return fmt.Errorf("mvcc: checkpoint %s: %w", dir, err)
	}
	if err := e.db.Checkpoint(dir); err != nil {
		return fmt.Errorf("mvcc: checkpoint %s: %w", dir, err)
	}
	return nil
}

// Metrics returns Pebble's counters.
func (e *Engine) Metrics() *pebble.Metrics { return e.db.Metrics() }

// Dir returns the directory the engine lives in, FS the file system.
func (e *Engine) Dir() string { return e.cfg.Dir }

// FS returns the file system the engine lives in.
func (e *Engine) FS() vfs.FS { return e.cfg.FS }

// engineLogger hands Pebble's log lines to slog.
type engineLogger struct {
	log    *slog.Logger
	failed *failure
}

func (l engineLogger) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug(fmt.Sprintf(format, args...), "from", "pebble")
	}
}

func (l engineLogger) Errorf(format string, args ...any) {
	if l.failed.err.Load() == nil { // then all has been said
		l.log.Error(fmt.Sprintf(format, args...), "from", "pebble")
	}
}

func (l engineLogger) Fatalf(format string, args ...any) {
	l.failed.set(fmt.Errorf("state engine: "+format, args...))
}

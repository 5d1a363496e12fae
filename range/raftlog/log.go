package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-db/meridian/mvcc"
)

// Keys. Integers are big endian, so that Pebble's order is theirs.
//
//	'r' range(8) 'e' index(8)   one entry
//	'r' range(8) 'h'            hard state: term, vote, commit
//	'r' range(8) 't'            truncated state: index, term of the entry before the first
//	'r' range(8) 'x'            tombstone: largest replica id that was removed from this store, and the range that
//	                            has absorbed this one, if one has
//	's' name                    a record of the store
//	'm'                         the mark of the last synced write
const (
	prefixRange = 'r'
	prefixStore = 's'

	kindEntry     = 'e'
	kindHard      = 'h'
	kindTruncated = 't'
	kindTombstone = 'x'
)

func rangeKey(id uint64, kind byte) []byte {
	k := make([]byte, 0, 18)
	k = append(k, prefixRange)
	k = binary.BigEndian.AppendUint64(k, id)
	return append(k, kind)
}

func entryKey(id, index uint64) []byte {
	return binary.BigEndian.AppendUint64(rangeKey(id, kindEntry), index)
}

// ErrCorrupt reports a record that does not decode, or a gap in a log.
var ErrCorrupt = errors.New("raftlog: corrupt record")

// Log is the log engine of a store.
type Log struct {
	db         *pebble.DB
	background mvcc.Background
	failed     atomic.Bool
	marks      marks
	fatal      func(format string, args ...any)
}

// ErrFailed reports a write after the disk has refused one. Nothing is durable any more; the log can only be
// opened again.
var ErrFailed = errors.New("raftlog: the disk has failed")

// Open opens or creates the engine in dir. fatal is called, perhaps more than once and with locks held, when the
// disk refuses a write: the store must stop. No write succeeds after that.
func Open(fs vfs.FS, dir string, logger *slog.Logger, fatal func(format string, args ...any)) (*Log, error) {
	l := &Log{fatal: fatal}
	l.marks.turn = make(chan struct{}, 1)
	opts := &pebble.Options{
		FS:                          l.background.FS(fs),
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                32 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		MaxOpenFiles:                512,
		CacheSize:                   16 << 20,
		BytesPerSync:                1 << 20,
		WALBytesPerSync:             0,
		Logger:                      pebbleLogger{l, logger},
		// Pebble tries a failed flush or compaction again, at once and for ever.
		EventListener:              &pebble.EventListener{BackgroundError: func(err error) { l.fail(err) }},
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
	}
	opts.Experimental.CompactionScheduler = mvcc.CompactionScheduler()
	_, fresh := fs.Stat(dir)
	durable := uint64(0)
	if fresh == nil {
		var err error
		if durable, err = claim(fs, dir); err != nil {
			return nil, fmt.Errorf("raftlog: open %s: %w", dir, err)
		}
	}
	db, err := pebble.Open(dir, opts)
	if err == nil && fresh != nil {
		// The first write-ahead log of a new store is in the oldest format, in which damage looks like the end of
		// the log; the next one says how far it had been synced.
		if err = db.Close(); err == nil {
			opts.Experimental.CompactionScheduler = mvcc.CompactionScheduler() // of one engine each
			db, err = pebble.Open(dir, opts)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("raftlog: open %s: %w", dir, err)
	}
	l.db = db
	l.background.Watch(db)
	if err := l.checkMarks(durable); err != nil {
		return nil, errors.Join(fmt.Errorf("raftlog: open %s: %w", dir, err), db.Close())
	}
	return l, nil
}

// Close closes the engine.
func (l *Log) Close() error {
	defer l.background.Hasten()()
	return l.db.Close()
}

// Metrics returns Pebble's own.
func (l *Log) Metrics() *pebble.Metrics { return l.db.Metrics() }

type pebbleLogger struct {
	log *Log
	l   *slog.Logger
}

func (p pebbleLogger) Infof(format string, args ...any) {}
func (p pebbleLogger) Errorf(format string, args ...any) {
	if !p.log.failed.Load() { // then all has been said
		p.l.Error("raft log", "msg", fmt.Sprintf(format, args...))
	}
}

// Fatalf returns, which Pebble does not expect: it goes on as if the write had succeeded. Log.check tells.
func (p pebbleLogger) Fatalf(format string, args ...any) { p.log.fail(fmt.Errorf(format, args...)) }

func (l *Log) fail(err error) {
	l.failed.Store(true)
	l.fatal("raft log: %w", err)
}

// check makes an error of a write that the disk may have refused, and has the log fail for one that it has.
func (l *Log) check(err error) error {
	switch {
	case err != nil:
		l.fail(err)
	case l.failed.Load():
		return ErrFailed
	}
	return err
}

// GetStore returns a record of the store, nil when there is none.
func (l *Log) GetStore(name string) ([]byte, error) {
	return l.get(append([]byte{prefixStore}, name...))
}

// SetStore writes a record of the store durably.
func (l *Log) SetStore(name string, value []byte) error {
	return l.SetStores(map[string][]byte{name: value})
}

// SetStores is SetStore for several records, all or none of which are there after a crash.
func (l *Log) SetStores(records map[string][]byte) error {
	b := l.NewBatch()
	for name, value := range records {
		must(b.b.Set(append([]byte{prefixStore}, name...), value, nil))
	}
	return b.Commit(true)
}

// ScanStore calls fn for each record of the store whose name starts with prefix.
func (l *Log) ScanStore(prefix string, fn func(name string, value []byte) error) error {
	lower := append([]byte{prefixStore}, prefix...)
	upper := append(append([]byte{}, lower...), 0xff)
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err == nil {
			err = fn(string(it.Key()[1:]), v)
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return errors.Join(it.Error(), it.Close())
}

func (l *Log) get(key []byte) ([]byte, error) {
	v, c, err := l.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := append([]byte{}, v...)
	return out, c.Close()
}

// Position is an index of a log with the term of its entry.
type Position struct{ Index, Term uint64 }

// State is what is known of a range's log.
type State struct {
	Exists    bool // something was written for this range
	Hard      HardState
	Truncated Position // the entry before the first one kept
	Last      Position // the last entry, or Truncated when the log is empty
	Bytes     int64    // size of the entries kept
}

// HardState is Raft's, by value.
type HardState struct{ Term, Vote, Commit uint64 }

// Load reads the state of a range's log.
func (l *Log) Load(id uint64) (State, error) {
	var st State
	v, err := l.get(rangeKey(id, kindHard))
	if err != nil {
		return st, err
	}
	if v != nil {
		st.Exists = true
		if st.Hard.Term, st.Hard.Vote, st.Hard.Commit, err = decode3(v); err != nil {
			return st, fmt.Errorf("hard state of range %d: %w", id, err)
		}
	}
	if v, err = l.get(rangeKey(id, kindTruncated)); err != nil {
		return st, err
	}
	if v != nil {
		st.Exists = true
		if st.Truncated.Index, st.Truncated.Term, _, err = decode3(v); err != nil {
			return st, fmt.Errorf("truncated state of range %d: %w", id, err)
		}
	}
	st.Last = st.Truncated
	want := st.Truncated.Index + 1
	err = l.Scan(id, want, 1<<63, func(e *pb.Entry) (bool, error) {
		if e.GetIndex() != want {
			return false, fmt.Errorf("%w: range %d lacks entry %d", ErrCorrupt, id, want)
		}
		want++
		st.Last = Position{e.GetIndex(), e.GetTerm()}
		st.Bytes += int64(len(e.Data))
		return true, nil
	})
	return st, err
}

// Scan calls fn for the entries lo <= index < hi until it answers false. Entries do not alias the engine.
func (l *Log) Scan(id, lo, hi uint64, fn func(e *pb.Entry) (more bool, err error)) error {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: entryKey(id, lo), UpperBound: entryKey(id, hi)})
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(err, it.Close())
		}
		k := it.Key()
		e, err := decodeEntry(binary.BigEndian.Uint64(k[len(k)-8:]), v)
		if err != nil {
			return errors.Join(fmt.Errorf("range %d: %w", id, err), it.Close())
		}
		more, err := fn(e)
		if err != nil {
			return errors.Join(err, it.Close())
		}
		if !more {
			break
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// Tombstone returns the largest replica id of the range that was removed from this store.
func (l *Log) Tombstone(id uint64) (uint64, error) {
	v, err := l.get(rangeKey(id, kindTombstone))
	if err != nil || v == nil {
		return 0, err
	}
	t, _, _, err := decode3(v)
	return t, err
}

// MergedInto returns the range that is known here to have absorbed the range, zero when none is.
func (l *Log) MergedInto(id uint64) (uint64, error) {
	v, err := l.get(rangeKey(id, kindTombstone))
	if err != nil || v == nil {
		return 0, err
	}
	_, into, _, err := decode3(v)
	return into, err
}

func encode3(a, b, c uint64) []byte {
	v := make([]byte, 0, 3*binary.MaxVarintLen64)
	v = binary.AppendUvarint(v, a)
	v = binary.AppendUvarint(v, b)
	return binary.AppendUvarint(v, c)
}

func decode3(v []byte) (a, b, c uint64, err error) {
	for _, p := range []*uint64{&a, &b, &c} {
		x, n := binary.Uvarint(v)
		if n <= 0 {
			return 0, 0, 0, ErrCorrupt
		}
		*p, v = x, v[n:]
	}
	return a, b, c, nil
}

func decodeEntry(index uint64, v []byte) (*pb.Entry, error) {
	if len(v) < 2 {
		return nil, fmt.Errorf("%w: entry %d", ErrCorrupt, index)
	}
	typ := pb.EntryType(v[0])
	term, n := binary.Uvarint(v[1:])
	if n <= 0 || typ > pb.EntryConfChangeV2 || typ < 0 {
		return nil, fmt.Errorf("%w: entry %d", ErrCorrupt, index)
	}
	e := &pb.Entry{Type: typ.Enum(), Term: new(term), Index: new(index)}
	if data := v[1+n:]; len(data) > 0 {
		e.Data = append([]byte{}, data...)
	}
	return e, nil
}

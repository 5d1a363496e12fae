package ranges

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-db/meridian/truetime"
)

// Decision is an entry of the placement log: a change that this store's placer has decided on.
type Decision struct {
	Time    truetime.Timestamp `json:"t"`
	Range   RangeID            `json:"r"`
	Kind    string             `json:"k"`           // as placement.Kind prints
	Change  string             `json:"c"`           // in one line
	Reason  string             `json:"w"`           // in one line
	Outcome string             `json:"o,omitempty"` // "under way", "done", or the error
	Took    time.Duration      `json:"d,omitempty"`
}

const (
	underWay    = "under way"
	interrupted = "unknown: the node stopped meanwhile"
	// maxDecisions are kept in memory, and up to three times as many in the file.
	maxDecisions = 1000
)

// decisionLog is what this store's placer has decided, in memory and, a JSON object a line, in the file placement.log of
// the store's directory. A decision has two lines there: when it was taken, and what became of it. The file is for people and
// is not synced: a power failure may cost its end, and a disk that cannot be written to costs the log only.
type decisionLog struct {
	fs     vfs.FS
	dir    string
	logger *slog.Logger

	mu      sync.Mutex
	list    []Decision // oldest first
	file    vfs.File   // nil until something is written
	lines   int        // in file
	removed bool       // the file cannot be written: nothing more is
}

func openDecisionLog(cfg *Config) *decisionLog {
	l := &decisionLog{fs: cfg.FS, dir: cfg.Dir, logger: cfg.Logger}
	b, err := l.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.logger.Warn("the placement log of earlier is not read", "err", err)
	}
	for line := range bytes.Lines(b) {
		var d Decision
		if json.Unmarshal(line, &d) != nil || d.Time == 0 {
			continue // torn off by a power failure
		}
		l.note(d)
	}
	for i := range l.list {
		if l.list[i].Outcome == underWay {
			l.list[i].Outcome = interrupted
		}
	}
	return l
}

func (l *decisionLog) path() string { return l.fs.PathJoin(l.dir, "placement.log") }

func (l *decisionLog) read() ([]byte, error) {
	f, err := l.fs.Open(l.path())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// note adds a decision, or replaces what was known of it.
func (l *decisionLog) note(d Decision) {
	for i := len(l.list) - 1; i >= 0; i-- {
		if o := &l.list[i]; o.Range == d.Range && o.Time == d.Time {
			*o = d
			return
		}
	}
	if len(l.list) >= maxDecisions {
		l.list = append(l.list[:0:0], l.list[len(l.list)-maxDecisions/2:]...)
	}
	l.list = append(l.list, d)
}

// set adds a decision, or says what has become of it.
func (l *decisionLog) set(d Decision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(d)
	if l.removed {
		return
	}
	if err := l.write(d); err != nil {
		l.logger.Warn("the placement log is not written any more", "err", err)
		l.shut()
		l.removed = true
	}
}

func (l *decisionLog) write(d Decision) error {
	if l.file == nil || l.lines > 3*maxDecisions {
		return l.rewrite()
	}
	b, err := json.Marshal(d)
	if err == nil {
		_, err = l.file.Write(append(b, '\n'))
		l.lines++
	}
	return err
}

// rewrite makes a new file of what is in memory.
func (l *decisionLog) rewrite() error {
	l.shut()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, d := range l.list {
		if err := enc.Encode(d); err != nil {
			return err
		}
	}
	fresh := l.path() + ".new"
	f, err := l.fs.Create(fresh, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = f.Write(b.Bytes()); err == nil {
		err = f.Sync() // before it takes the other's name
	}
	if err == nil {
		err = l.fs.Rename(fresh, l.path())
	}
	if err == nil {
		err = l.syncDir()
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.lines = f, len(l.list)
	return nil
}

func (l *decisionLog) syncDir() error {
	d, err := l.fs.OpenDir(l.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (l *decisionLog) shut() {
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

func (l *decisionLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut()
	l.removed = true
}

// PlacementLog returns what this store's placer has decided, the newest last: at most the last 1000 decisions, those
// before a restart included.
func (s *Store) PlacementLog() []Decision {
	l := s.placer.log
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}
